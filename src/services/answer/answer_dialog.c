/* SPDX-License-Identifier: MIT */
/* The dialog of a call that ends here: RFC 3261 §12.1.1, §12.2. Its Contact is a mark, bound to the Call-ID, and a
 * word that no other URI of ours has. */
#include "answer/answer_priv.h"
#include "location/location.h"
#include "within/within.h"

static const char word[] = "-here";
enum { WORD = sizeof(word) - 1 };

/* ---- our Contact ---- */

static sv transport_param(const struct flow *f, bool sips)
{
    switch (f->transport) {
    case SIP_T_TCP:
        return SV(";transport=tcp");
    case SIP_T_TLS: /* without it a sip URI would say UDP */
        return sips ? SV_NONE : SV(";transport=tls");
    case SIP_T_WS:
    case SIP_T_WSS:
        return SV(";transport=ws");
    default:
        return SV_NONE;
    }
}

/* §12.1.1: sips, when what came asks for it. */
static bool asks_sips(struct rx *rx)
{
    const struct uri *u;
    const struct sip_addr *routes;
    size_t n;
    if (sipmsg_uri(&rx->msg, &u) == ERR_OK && u->scheme == URI_SIPS)
        return true;
    return sipmsg_addrs(&rx->msg, SIP_H_RECORD_ROUTE, &routes, &n) == ERR_OK && n > 0 &&
           routes[0].uri.scheme == URI_SIPS;
}

void answer_dialog_put_contact(const struct answer_call *c, struct buf *b, struct rx *rx)
{
    struct sip *s = c->answer->sip;
    struct home *home = sip_home(s);
    bool sips = asks_sips(rx);
    buf_str(b, sips ? "Contact: <sips:" : "Contact: <sip:");
    home_mark(home, c->slot, home_call(home, c->call_id), b);
    buf_str(b, word);
    buf_char(b, '@');
    sip_put_hostport(s, b, &rx->flow);
    buf_put(b, transport_param(&rx->flow, sips));
    buf_str(b, ">\r\n");
}

bool answer_dialog_is_ours(struct answer *a, struct rx *rx)
{
    const struct uri *u;
    uint64_t was, is;
    if (sipmsg_uri(&rx->msg, &u) || u->user.n != HOME_MARK_LEN + WORD ||
        memcmp(u->user.p + HOME_MARK_LEN, word, WORD) != 0 ||
        !sip_marked(a->sip, rx, u->user, &was) || !sip_is_local(a->sip, u->host, u->port))
        return false;
    is = home_call(sip_home(a->sip), sipmsg_value(&rx->msg, SIP_H_CALL_ID));
    return crypto_equal(&was, &is, sizeof(is));
}

struct answer_call *answer_dialog_find(struct answer *a, struct rx *rx)
{
    const struct sip_addr *from, *to;
    sv call_id;
    if (sipmsg_from(&rx->msg, &from) || sipmsg_to(&rx->msg, &to) ||
        sipmsg_call_id(&rx->msg, &call_id))
        return NULL;
    HASH_EACH (c, &a->calls, sip_call_key(a->sip, rx)->a, struct answer_call, by_call_id) {
        if (sv_eq(c->call_id, call_id) && sv_eq(c->local_tag, to->tag) &&
            sv_eq(c->remote_tag, from->tag))
            return c;
    }
    return NULL;
}

/* ---- the caller's side ---- */

/* The sender stands right behind the flow, or a route set begins there: our requests go back the same way. */
static struct dest place_of(const struct answer_call *c, struct rx *rx)
{
    const struct flow *f = &rx->flow;
    struct dest d = {.flow = *f, .addr = f->remote, .transport = f->transport, .or_connect = true};
    const struct sip_addr *contact;
    const struct sip_via *vias;
    struct dest named;
    size_t n;
    if (c->routes.n || (!sipmsg_vias(&rx->msg, &vias, &n) && n == 1))
        return d;
    if (sipmsg_addrs(&rx->msg, SIP_H_CONTACT, &contact, &n) == ERR_OK && n == 1 &&
        location_dest(&contact->uri, &named) == ERR_OK &&
        location_allowed(c->answer->sip, &named.addr, &f->remote))
        return named;
    return d;
}

static bool set_target(struct answer_call *c, struct rx *rx)
{
    const struct sip_addr *contact;
    size_t n;
    if (sipmsg_addrs(&rx->msg, SIP_H_CONTACT, &contact, &n) || n != 1 || contact->star ||
        contact->uri.text.n > ANSWER_TARGET_MAX)
        return false;
    sv text = contact->uri.text;
    if (sv_eq(text, c->target))
        return true;
    char *p = mem_alloc(text.n + 1);
    if (!p)
        return false;
    memcpy(p, text.p, text.n);
    mem_free((char *)c->target.p);
    c->target = (sv){p, text.n};
    return true;
}

void answer_dialog_heard(struct answer_call *c, struct rx *rx, bool refresh)
{
    if (refresh)
        (void)set_target(c, rx); /* without memory the old one stays */
    c->dest = place_of(c, rx);
}

static sv put(struct buf *b, sv text)
{
    size_t from = b->n;
    buf_put(b, text);
    return sv_sub(buf_sv(b), from, b->n);
}

enum err answer_dialog_learn(struct answer_call *c, struct rx *rx)
{
    const struct sip_addr *from;
    const struct sip_cseq *cseq;
    struct sip_walk w = {.m = &rx->msg, .id = SIP_H_RECORD_ROUTE};
    struct sip_item item;
    struct buf b;
    size_t routes = 0;
    while (sipmsg_next(&w, &item))
        routes += item.text.n + 1;
    if (w.rc || routes > ANSWER_ROUTES_MAX)
        return w.rc ? w.rc : ERR_TOOBIG;
    sv from_text = sipmsg_value(&rx->msg, SIP_H_FROM), to = sipmsg_value(&rx->msg, SIP_H_TO);
    sv call_id = sipmsg_value(&rx->msg, SIP_H_CALL_ID);
    TRY(sipmsg_from(&rx->msg, &from));
    TRY(sipmsg_cseq(&rx->msg, &cseq));
    size_t n = call_id.n + from_text.n + from->tag.n + to.n + routes + 1;
    char *mem = mem_alloc(n);
    if (!mem)
        return ERR_NOMEM;
    buf_init(&b, mem, n);
    c->call_id = put(&b, call_id);
    c->remote = put(&b, from_text);
    c->remote_tag = put(&b, from->tag);
    c->local = put(&b, to);
    size_t at = b.n;
    for (w = (struct sip_walk){.m = &rx->msg, .id = SIP_H_RECORD_ROUTE}; sipmsg_next(&w, &item);) {
        buf_put(&b, item.text);
        buf_char(&b, WITHIN_END);
    }
    c->routes = sv_sub(buf_sv(&b), at, b.n);
    c->invite_cseq = c->remote_cseq = cseq->number;
    c->slot = rx->slot;
    if (!set_target(c, rx))
        return ERR_SYNTAX;
    c->dest = place_of(c, rx);
    return ERR_OK;
}

void answer_dialog_forget(struct answer_call *c)
{
    mem_free((char *)c->call_id.p);
    mem_free((char *)c->target.p);
}

/* ---- our BYE ---- */

void answer_dialog_bye(struct answer_call *c, const struct answer_cause *why)
{
    char mem[WITHIN_REASON_MAX];
    struct buf reason;
    struct within_dialog d = {.call_id = c->call_id,
                              .local = c->local,
                              .local_tag = c->local_tag,
                              .remote = c->remote,
                              .target = c->target,
                              .routes = c->routes,
                              .dest = &c->dest,
                              .slot = c->slot};
    buf_init(&reason, mem, sizeof(mem));
    if (why->cause)
        within_put_reason(&reason, why->cause, why->why);
    struct within_request bye = {.method = SIP_BYE,
                                 .cseq = ++c->local_cseq,
                                 .headers = reason.rc ? SV_NONE : buf_sv(&reason)};
    enum err rc = within_send(c->answer->sip, &d, &bye, NULL, NULL, NULL);
    (void)rc; /* §15.1.1: it is over all the same */
}
