/* SPDX-License-Identifier: MIT */
/* The edge: what kind of request is this, and who deals with it. */
#include "figures/figures.h"
#include "log/log.h"
#include "routing/routing_priv.h"

void routing_log(const struct rx *rx, uint16_t status, const char *why)
{
    char mem[64];
    struct buf b;
    if (!log_enabled("routing", LOG_LEVEL_DEBUG))
        return;
    buf_init(&b, mem, sizeof(mem));
    addr_print(&b, &rx->flow.remote);
    LOG_DEBUG("routing", "request.answered", F_INT("status", status),
              F_STR("why", why ? why : sip_reason(status)), F_SV("method", rx->msg.method_text),
              F_SV("uri", rx->msg.uri_text), F_SV("source", buf_sv(&b)));
}

void routing_log_unreachable(struct routing *r, const struct proxy_target *t, enum err why)
{
    if (!log_may(&r->unreachable, loop_now(r->loop)))
        return;
    LOG_WARN("routing", "target.unreachable", F_SV("uri", t->uri), F_ERR(why),
             F_INT("left_out", r->unreachable.left_out));
    r->unreachable.left_out = 0;
}

void routing_refuse(struct routing *r, struct rx *rx, uint16_t status, const char *why, sv headers)
{
    if (rx->msg.method == SIP_ACK)
        return;
    struct sip_reply reply = {
        .status = status, .reason = why ? sv_of(why) : SV_NONE, .headers = headers};
    routing_log(rx, status, why);
    /* Stateless: an answer that is lost is asked for again. */
    enum err rc = sip_reply(r->sip, rx, &reply);
    (void)rc;
}

/* ---- for us ---- */

static void on_registered(struct pending *p)
{
    registrar_request(p->r->sip, p->r->shared.store, p->set, p->txn, p->caller);
    pending_free(p);
}

static void serve_register(struct routing *r, struct rx *rx, const struct proxy_route *route)
{
    const struct sip_addr *to;
    /* §8.2.2.2, of a user agent server alone: through a proxy one request may well come twice, to
     * several addresses. What else we serve has no transaction that it could be merged with. */
    if (stxn_merged(r->sip, rx)) {
        routing_refuse(r, rx, 482, "Merged Request", SV_NONE);
        return;
    }
    if (!proxy_check_extensions(r->proxy, rx, SIP_H_REQUIRE))
        return;
    if (sipmsg_to(&rx->msg, &to) || to->uri.user.n == 0) {
        routing_refuse(r, rx, 400, "To Names No Address of Record", SV_NONE);
        return;
    }
    const struct settings_domain *d =
        settings_domain_of(r->set, r->sip, to->uri.host, to->uri.port);
    if (!d) {
        routing_refuse(r, rx, 404, NULL, SV_NONE); /* §10.3 step 5 */
        return;
    }
    routing_authenticate(r, rx, route, d, on_registered);
}

static void serve_us(struct routing *r, struct rx *rx, const struct proxy_route *route)
{
    switch (rx->msg.method) {
    case SIP_REGISTER:
        serve_register(r, rx, route);
        return;
    case SIP_OPTIONS:
        /* §11.2 */
        if (proxy_check_extensions(r->proxy, rx, SIP_H_REQUIRE))
            routing_refuse(r, rx, 200, NULL,
                           SV(ROUTING_ALLOW "Accept: application/sdp\r\nAccept-Language: en\r\n"));
        return;
    case SIP_EXTENSION:
        routing_refuse(r, rx, 501, NULL, SV(ROUTING_ALLOW));
        return;
    default:
        routing_refuse(r, rx, 405, NULL, SV("Allow: REGISTER, OPTIONS\r\n"));
        return;
    }
}

/* ---- through us ---- */

/* RFC 3323 §5: who asks for a privacy that we do not give, and for nothing less, is refused. */
static bool privacy_given(struct rx *rx)
{
    sv rest = sipmsg_value(&rx->msg, SIP_H_PRIVACY);
    bool critical = false, more = false;
    while (rest.n) {
        size_t end = sv_chr(rest, ';');
        sv word = sv_trim(sv_sub(rest, 0, end));
        critical = critical || sv_ieq(word, SV("critical"));
        more = more || sv_ieq(word, SV("header")) || sv_ieq(word, SV("session")) ||
               sv_ieq(word, SV("user"));
        rest = sv_sub(rest, end + 1, rest.n);
    }
    return !(critical && more);
}

static void through_us(struct routing *r, struct rx *rx, const struct proxy_route *route)
{
    const struct settings_domain *claimed = routing_claimed(r, rx);
    if (r->draining && rx->msg.method == SIP_INVITE) {
        routing_refuse(r, rx, routing_gone.status, routing_gone.reason.p, routing_gone.headers);
        return;
    }
    if (!privacy_given(rx)) {
        routing_refuse(r, rx, 500, "Privacy Service Not Available", SV_NONE);
        return;
    }
    if (claimed && r->set->require_tls && !flow_secure(&rx->flow)) {
        routing_refuse(r, rx, 403, "TLS Required", SV_NONE);
        return;
    }
    if (claimed && r->set->authenticate == SETTINGS_AUTH_ALL) {
        routing_authenticate(r, rx, route, claimed, routing_outside);
        return;
    }
    /* Nobody we know: unless a route says more, at most a local user is rung, and nothing leaves
     * (D6); refused without state. */
    struct destination to;
    bool read = destination_read(r, r->set, rx, route->uri, NULL, &to);
    if (!(read && routing_strangers_route(r, rx, &to)) &&
        (!read || !to.ours || (!claimed && r->set->strangers == SETTINGS_STRANGERS_REFUSE))) {
        routing_refuse(r, rx, 403, NULL, SV_NONE);
        return;
    }
    struct pending *p = pending_new(r, rx, route);
    if (!p)
        return;
    p->anybody = claimed != NULL;
    p->domain = claimed;
    if (route->uri->scheme != URI_TEL) /* whose a number is hangs on the caller */
        p->to = to;
    routing_outside(p);
}

/* New work is refused before it costs anything, what goes on never is. */
static bool overloaded(struct routing *r, struct rx *rx)
{
    overload_probe_work(&r->probe);
    overload_measure(&r->overload, loop_now(r->loop), r->probe.lag, sip_transactions_full(r->sip));
    if (r->overload.percent == 0 || !overload_sheds(&r->overload, &rx->msg, loop_random(r->loop)))
        return false;
    enum err rc = overload_refuse(&r->overload, r->sip, rx);
    (void)rc; /* an answer that is lost is asked for again */
    return true;
}

static void on_request(void *arg, struct rx *rx)
{
    struct routing *r = arg;
    struct proxy_route route;
    const struct sip_addr *to;
    if (rx->rc) {
        routing_refuse(r, rx, rx->fault.status ? rx->fault.status : 400, rx->fault.why, SV_NONE);
        return;
    }
    if (overloaded(r, rx) || !proxy_validate(r->proxy, rx) || answer_request(r->answer, rx))
        return;
    if (proxy_route(r->proxy, rx, &route)) {
        routing_refuse(r, rx, 400, NULL, SV_NONE);
        return;
    }
    if (rx->msg.method == SIP_CANCEL) {
        /* DEVIATES: §16.10 would send it on without state. All that can be cancelled has state
         * here. */
        routing_refuse(r, rx, 481, NULL, SV_NONE);
        return;
    }
    /* A route set of ours opens nothing to a request that begins something new. */
    if (route.mark_ok && rx->msg.method != SIP_REGISTER && rx->msg.method != SIP_PUBLISH &&
        sipmsg_to(&rx->msg, &to) == ERR_OK && to->tag.n) {
        routing_in_dialog(r, rx, &route);
        return;
    }
    if (rx->msg.method == SIP_ACK)
        return; /* of a challenge or another stateless answer, or astray */
    const struct uri *uri = route.uri;
    bool nobody = uri->user.n == 0 && uri->scheme != URI_TEL;
    bool ours = (nobody || rx->msg.method == SIP_REGISTER) &&
                settings_domain_of(r->set, r->sip, uri->host, uri->port) != NULL;
    if (ours && nobody)
        serve_us(r, rx, &route);
    else if (ours)
        routing_refuse(r, rx, 400, "Request-URI of REGISTER Has a User", SV_NONE); /* §10.2 */
    else
        through_us(r, rx, &route);
}

/* ---- life ---- */

static void on_flow_gone(void *arg, const struct flow *f)
{
    struct routing *r = arg;
    registrar_flow_gone(r->sip, r->shared.store, f);
}

static void on_http(void *arg, struct http *h, const struct http_request *rq, const struct flow *f)
{
    struct routing *r = arg;
    if (r->shared.on_http)
        r->shared.on_http(r->shared.http_arg, h, rq, f);
    else
        http_reply(h, 426, SV("Upgrade: websocket\r\n"), SV_NONE, SV_NONE);
}

static const struct sip_user user = {
    .on_request = on_request, .on_flow_gone = on_flow_gone, .on_http = on_http};

static void on_announce(void *arg, struct answer_call *call, sv payer,
                        const struct settings_target *what)
{
    announce_call(arg, call, payer, what);
}
static const struct routing_media announcing = {.on_call = on_announce};

/* A relayed call that we ended: the anchor has said BYE to both. */
static void on_ended(void *arg, sv call_id, sv caller_tag, sv callee_tag, sv ended_by, sv why)
{
    struct routing *r = arg;
    accounting_ended_dialog(r->accounting, call_id, caller_tag, callee_tag, ended_by, why);
}

static void put_figures(struct routing *r, const struct call_view *c, bool live, struct buf *b)
{
    buf_char(b, '{');
    figures_put(b, r->anchor, r->set, c, live);
    buf_char(b, '}');
}

void routing_figures(struct routing *r, const struct call_view *c, struct buf *b)
{
    put_figures(r, c, true, b);
}

static void on_record(void *arg, const struct call_view *c, struct buf *ret)
{
    put_figures(arg, c, false, ret);
}

enum err routing_new(struct loop *l, const struct routing_shared *sh, struct settings *set,
                     struct routing **ret_routing)
{
    struct routing *r = MEM_NEW(struct routing);
    if (!r)
        return ERR_NOMEM;
    r->loop = l;
    r->shared = *sh;
    r->set = settings_ref(set);
    list_init(&r->pending);
    list_init(&r->wakes);
    timer_init(&r->leave, routing_on_leave, r);
    overload_probe_init(&r->probe, l);
    enum err rc = sip_new(l, sh->sip, &user, r, &r->sip);
    if (!rc)
        rc = hash_init(&r->unproved, 64);
    if (!rc)
        rc = txn_start(r->sip);
    if (!rc)
        rc = proxy_new(r->sip, &r->proxy);
    if (!rc && sh->locate)
        rc = locate_new(r->sip, sh->locate, &r->locate);
    if (!rc)
        rc = push_new(l, sh->fetch, &r->push);
    if (!rc)
        rc = keepalive_new(r->sip, sh->store, set, &r->keepalive);
    if (!rc)
        rc = accounting_new(r->sip, sh->store, set->calls_max, &r->accounting);
    if (!rc)
        accounting_on_record(r->accounting, on_record, r);
    if (!rc && sh->media)
        rc = anchor_new(r->sip, sh->media, set, &r->anchor);
    if (!rc && r->anchor) {
        anchor_on_ended(r->anchor, on_ended, r);
        rc = announce_new(l, r->anchor, set, &r->announce);
    }
    if (!rc && r->announce)
        routing_media(r, &announcing, r->announce);
    if (!rc)
        rc = answer_new(r->sip, r->accounting, set->calls_max, &r->answer);
    if (rc) {
        routing_free(r);
        return rc;
    }
    proxy_settings(r->proxy, set);
    answer_settings(r->answer, set);
    proxy_overload(r->proxy, &r->overload);
    if (r->locate) {
        proxy_locate(r->proxy, r->locate);
        txn_locate(r->sip, r->locate);
    }
    *ret_routing = r;
    return ERR_OK;
}

void routing_free(struct routing *r)
{
    if (!r)
        return;
    loop_timer_cancel(r->loop, &r->leave);
    LIST_EACH_SAFE (p, &r->pending, struct pending, by_routing) {
        stxn_drop(p->txn);
        pending_free(p);
    }
    if (r->accounting)
        accounting_stop(r->accounting); /* while their media is known */
    proxy_free(r->proxy);
    answer_free(r->answer);
    announce_free(r->announce);
    anchor_free(r->anchor);
    push_free(r->push);
    keepalive_free(r->keepalive);
    overload_probe_done(&r->probe);
    if (r->locate)
        txn_locate(r->sip, NULL);
    locate_free(r->locate);
    if (r->sip)
        sip_free(r->sip); /* ends the registrar's transactions */
    accounting_free(r->accounting);
    hash_done(&r->unproved);
    settings_unref(r->set);
    mem_free(r);
}

struct sip *routing_sip(struct routing *r)
{
    return r->sip;
}

struct accounting *routing_accounting(struct routing *r)
{
    return r->accounting;
}

struct anchor *routing_anchor(struct routing *r)
{
    return r->anchor;
}

struct locate *routing_locate(struct routing *r)
{
    return r->locate;
}

size_t routing_contexts(const struct routing *r)
{
    size_t n = proxy_contexts(r->proxy);
    for (const struct link *l = r->pending.next; l != &r->pending; l = l->next)
        n++;
    return n;
}

void routing_settings(struct routing *r, struct settings *set)
{
    struct settings *old = r->set;
    r->set = settings_ref(set);
    proxy_settings(r->proxy, set);
    answer_settings(r->answer, set);
    keepalive_settings(r->keepalive, set);
    if (r->anchor)
        anchor_settings(r->anchor, set);
    if (r->announce)
        announce_settings(r->announce, set);
    settings_unref(old);
}

void routing_media(struct routing *r, const struct routing_media *m, void *arg)
{
    r->media = m;
    r->media_arg = arg;
}

struct answer *routing_answer(struct routing *r)
{
    return r->answer;
}

void routing_drain(struct routing *r)
{
    r->draining = true;
}
