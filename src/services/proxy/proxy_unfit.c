/* SPDX-License-Identifier: MIT */
/* A 2xx to an INVITE that the caller cannot be given, since its session description cannot be exchanged, or since he was
 * refused because the server ends. Who sent it is in a call with nobody: we do what a caller does who cannot take an answer (RFC 3261 §13.2.2.4): ACK, then BYE. It comes
 * again until he has the ACK, and from each phone that a server behind us asked too (another To tag).
 * All of it leaves the way that the INVITE took (§8.1.2: a policy of ours): each of these responses could name somebody
 * else in its Contact, who would hear of a call that he has no part in. */
#include "proxy/proxy_priv.h"
#include "within/within.h"

enum { TAGS = 8 };

struct unfit {
    struct proxy *proxy;
    struct link by_proxy;
    struct ctxn *txn;
    struct dest dest;      /* where the INVITE went */
    size_t upstream;       /* Record-Routes that the request came with */
    uint32_t ahead;        /* of the INVITE's number is our BYE's */
    uint16_t slot, status; /* status and why: of our BYE's Reason */
    const char *why;
    unsigned tags_n; /* who was told BYE; beyond TAGS it is said no more */
    uint64_t tags[TAGS];
};

static void unfit_free(struct unfit *u)
{
    list_unlink(&u->by_proxy);
    u->proxy->unfits_n--;
    MEM_GIVE(u);
}

void unfits_free(struct proxy *p)
{
    LIST_EACH_SAFE (u, &p->unfits, struct unfit, by_proxy) {
        ctxn_drop(u->txn);
        unfit_free(u);
    }
}

/* Its sender was told BYE, or is from now on. */
static bool was_told(struct unfit *u, sv tag)
{
    uint64_t h = home_tag(sip_home(u->proxy->sip), &tag, 1);
    for (unsigned i = 0; i < u->tags_n; i++) {
        if (u->tags[i] == h)
            return true;
    }
    if (u->tags_n == TAGS)
        return true;
    u->tags[u->tags_n++] = h;
    return false;
}

/* body: what the ACK answers to an offer. */
static void tell(struct unfit *u, struct rx *rx, sv body)
{
    struct sip *s = u->proxy->sip;
    struct sipmsg *m = &rx->msg;
    char routes[WITHIN_ROUTES_MAX], reason[WITHIN_REASON_MAX];
    struct buf b, why;
    const struct sip_cseq *cseq;
    const struct sip_addr *to;
    buf_init(&b, routes, sizeof(routes));
    buf_init(&why, reason, sizeof(reason));
    within_routes(s, m, u->upstream, &b);
    struct within_dialog d = {.call_id = sipmsg_value(m, SIP_H_CALL_ID),
                              .local = sipmsg_value(m, SIP_H_FROM),
                              .remote = sipmsg_value(m, SIP_H_TO),
                              .target = within_target(m),
                              .routes = buf_sv(&b),
                              .dest = &u->dest,
                              .slot = u->slot};
    if (b.rc || !d.target.n || sipmsg_cseq(m, &cseq) || sipmsg_to(m, &to))
        return; /* nobody could speak to it */
    struct within_request ack = {
        .method = SIP_ACK, .cseq = cseq->number, .type = SV("application/sdp"), .body = body};
    enum err rc = within_send(s, &d, &ack, NULL, NULL, NULL); /* lost: the 2xx comes again */
    if (was_told(u, to->tag))
        return;
    within_put_reason(&why, u->status, sv_of(u->why));
    struct within_request bye = {.method = SIP_BYE,
                                 .cseq = cseq->number + u->ahead,
                                 .headers = why.rc ? SV_NONE : buf_sv(&why)};
    rc = within_send(s, &d, &bye, NULL, NULL, NULL);
    (void)rc;
}

static void on_response(void *arg, struct rx *rx)
{
    const struct sip_via *vias;
    size_t n;
    if (rx->msg.status / 100 == 2 && !sipmsg_vias(&rx->msg, &vias, &n) && n > 1)
        tell(arg, rx, SV_NONE);
}

static void on_gone(void *arg, enum err why)
{
    (void)why;
    unfit_free(arg);
}

static const struct ctxn_handler handler = {.on_response = on_response, .on_gone = on_gone};

static struct unfit *take(struct attempt *a, uint16_t status, const char *why, uint32_t ahead)
{
    struct context *c = a->branch->ctx;
    struct unfit *u = MEM_TAKE(struct unfit);
    if (!u)
        return NULL;
    *u = (struct unfit){.proxy = c->proxy,
                        .txn = a->txn,
                        .dest = a->dest,
                        .upstream = sipmsg_count(&c->rx->msg, SIP_H_RECORD_ROUTE),
                        .ahead = ahead,
                        .slot = c->rx->slot,
                        .status = status,
                        .why = why};
    list_push(&c->proxy->unfits, &u->by_proxy);
    c->proxy->unfits_n++;
    ctxn_handle(a->txn, &handler, u);
    c->live--;
    attempt_free(a);
    return u;
}

bool unfit_new(struct attempt *a, struct rx *rx, const struct judged *told)
{
    uint16_t status = told->to.status >= 400 && told->to.status <= 599 ? told->to.status : 500;
    struct unfit *u = take(a, status, sip_reason(status), 1 + told->to.raise);
    if (u)
        tell(u, rx, told->to.description);
    return u != NULL;
}

void unfit_await(struct attempt *a, uint16_t status, const char *why)
{
    (void)take(a, status, why, 1); /* no memory: it is dropped with its context */
}
