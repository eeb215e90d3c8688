/* SPDX-License-Identifier: MIT */
/* On its way: a call that is watched, requests handed to the proxy, and those that follow a route set
 * of ours. */
#include "routing/routing_priv.h"

bool routing_canonical(struct rx *rx, sv user, sv *ret_user)
{
    if (sv_chr(user, '%') == user.n) {
        *ret_user = user;
        return true;
    }
    char *mem = arena_alloc(&rx->arena, user.n + 1);
    struct buf b;
    if (!mem)
        return false;
    buf_init(&b, mem, user.n + 1);
    if (uri_user_canonical(user, &b) || b.rc)
        return false;
    *ret_user = buf_sv(&b);
    return true;
}

bool routing_aor(struct arena *a, sv user, sv domain, sv *ret_aor)
{
    size_t n = user.n + 1 + domain.n;
    char *mem = arena_alloc(a, n + 1);
    struct buf b;
    if (!mem)
        return false;
    buf_init(&b, mem, n + 1);
    buf_put(&b, user);
    buf_char(&b, '@');
    buf_put(&b, domain);
    *ret_aor = buf_sv(&b);
    return b.rc == ERR_OK;
}

/* ---- what becomes of it ---- */

/* Where a phone of ours is bound: no server that has put itself between. */
static bool is_phone(const struct proxy_target *t)
{
    return t && t->account.n > 0 && t->path.n == 0;
}

static void on_response(void *arg, struct rx *rx, uint16_t status, sv said, const struct dest *via,
                        const struct proxy_target *t)
{
    struct watched *w = arg;
    if (w->call)
        accounting_response(w->r->accounting, w->call, rx, status, said, via, is_phone(t));
}

static void on_redirect(void *arg, struct proxy_redirect *redirect, const struct proxy_target *t,
                        struct rx *rx)
{
    routing_redirected(arg, redirect, t, rx);
}

/* RFC 5626 §7: a flow that failed is no way to its phone any more. */
static void on_unreachable(void *arg, const struct proxy_target *t, enum err why)
{
    struct watched *w = arg;
    if (t->account.n == 0)
        routing_log_unreachable(w->r, t, why);
    /* Silence may be the way's fault. */
    if (why != ERR_TIMEOUT && (t->flow_only || t->path.n) && t->account.n)
        registrar_unreachable(w->r->sip, w->r->shared.store, t->account, t->uri, &t->dest.flow);
}

static void on_held(void *arg, struct proxy_redirect *held, const struct proxy_target *t)
{
    routing_held(arg, held, t);
}

static void on_gone(void *arg)
{
    struct watched *w = arg;
    routing_redirects_end(w);
    routing_wakes_end(w);
    if (w->call)
        accounting_setup_gone(w->r->accounting, w->call);
    rx_unref(w->rx);
    settings_unref(w->set);
    MEM_GIVE(w);
}

static const struct proxy_watch watch = {
    .on_response = on_response,
    .on_redirect = on_redirect,
    .on_held = on_held,
    .on_unreachable = on_unreachable,
    .on_gone = on_gone,
};

/* Who called is one of ours, and his request came straight from him. */
static bool is_callers_phone(const struct pending *p)
{
    return (p->caller.n > 0 || p->anybody) && sipmsg_count(&p->rx->msg, SIP_H_VIA) == 1;
}

static struct watched *watched_new(struct pending *p)
{
    struct rx *rx = p->rx;
    struct watched *w = MEM_TAKE(struct watched);
    if (!w)
        return NULL;
    w->r = p->r;
    w->rx = rx_ref(rx);
    w->set = settings_ref(p->set);
    w->secure = p->to.secure;
    list_init(&w->redirected);
    list_init(&w->wakes);
    if (rx->msg.method == SIP_INVITE) /* whatever tag its To has: nothing of ours leads it */
        w->call = accounting_begin(p->r->accounting, rx, p->caller, is_callers_phone(p));
    return w;
}

/* Media that may pass through us: the request's descriptions are exchanged on their way. known: anchor.h. False: no
 * memory. */
static bool watch_bodies(struct routing *r, struct rx *rx, struct settings *set, sv payer,
                         bool known, struct proxy_request *q)
{
    struct anchor_passage *p = NULL;
    if (r->anchor && anchor_passage(r->anchor, rx, set, payer, known, &p))
        return false;
    q->bodies_arg = p;
    q->bodies = p ? &anchor_bodies : NULL;
    return true;
}

/* ---- to its targets ---- */

static bool forms_dialog(const struct rx *rx)
{
    switch (rx->msg.method) {
    case SIP_INVITE:
    case SIP_SUBSCRIBE:
    case SIP_REFER:
    case SIP_NOTIFY:
        return true;
    default:
        return false;
    }
}

void routing_forward(struct pending *p)
{
    struct routing *r = p->r;
    struct proxy_request q = {
        .server = p->txn,
        .route = &p->route,
        .targets = p->lookup.targets,
        .n = p->lookup.found,
        .record_route = forms_dialog(p->rx),
        .secure = p->to.secure,
        .step_time = p->rule ? p->rule->timeout : 0,
        .identity = routing_identity(p),
        .otherwise = p->lookup.reject,
        .otherwise_reason = p->lookup.reason,
    };
    if (!watch_bodies(r, p->rx, p->set, p->payer, false, &q)) {
        pending_answer(p, 503, NULL, SV("Retry-After: 5\r\n"));
        return;
    }
    q.watch_arg = watched_new(p);
    q.watch = q.watch_arg ? &watch : NULL;
    proxy_forward(r->proxy, &q);
    pending_free(p);
}

/* ---- inside a dialog ---- */

/* The address that the next URI names by number, if this sender may name it. */
static bool by_number(struct routing *r, struct rx *rx, const struct uri *uri, struct dest *ret)
{
    return location_dest(uri, ret) == ERR_OK &&
           location_allowed(r->sip, &ret->addr, &rx->flow.remote);
}

/* A Route behind ours, if there is one, names this place. */
static bool leads_to(const struct uri *next, const struct dest *d)
{
    uint8_t ip[16];
    size_t n;
    if (!next)
        return true;
    if (uri_host_ip(next->host, ip, &n))
        return false;
    struct addr named = addr_from_ip(ip, n, 0);
    return addr_equal_ip(&named, d->flow.transport != SIP_T_NONE ? &d->flow.remote : &d->addr);
}

/* Where a request that follows our route set goes: to the leg that we know; by the flow that our
 * Record-Route carries (RFC 5626 §5.3); else where its URI points, a name being found by the proxy
 * (RFC 3263). So it is for a call of an earlier process, or an early dialog of one fork among
 * several: the mark proves that its route set was made here for this Call-ID. False: nowhere that we
 * can send to. */
static bool next_hop(struct routing *r, struct rx *rx, const struct proxy_route *route,
                     struct call **ret_call, unsigned *ret_leg, struct hop *ret)
{
    const struct uri *uri = route->next ? route->next : route->uri;
    *ret = (struct hop){.flow_only = false};
    *ret_call = accounting_find(r->accounting, rx, ret_leg);
    if (*ret_call) {
        /* Within a call who was in it is asked: a Route that leads elsewhere has to be allowed (D6). */
        const struct dest *leg = accounting_leg(*ret_call, *ret_leg).dest;
        if (leg->transport != SIP_T_NONE && leads_to(route->next, leg)) {
            ret->dest = *leg;
            ret->known = true;
            return true;
        }
    }
    struct dest flow = {.transport = SIP_T_NONE};
    bool same = false;
    bool token = !route->next && proxy_route_flow(r->proxy, rx, route, &flow.flow, &same);
    flow.transport = flow.flow.transport;
    if (token && sip_flow_up(r->sip, &flow.flow)) {
        *ret = (struct hop){.dest = flow, .flow_only = flow_reliable(&flow.flow), .known = same};
        return true;
    }
    if (uri->scheme != URI_SIP && uri->scheme != URI_SIPS)
        return false;
    if (by_number(r, rx, uri, &ret->dest))
        return true;
    if (token) {
        /* There was no other way: 430. */
        *ret = (struct hop){.dest = flow, .flow_only = true, .known = same};
        return true;
    }
    uint8_t ip[16];
    size_t n;
    bool number = uri_host_ip(uri->host, ip, &n) == ERR_OK;
    /* Numbers over TLS are the proxy's to judge: location knows UDP and TCP. */
    ret->dest = (struct dest){.transport = SIP_T_NONE};
    return !number || location_transport(uri) == SIP_T_TLS;
}

/* To the request's own URI. */
static struct proxy_target target_of(const struct hop *h)
{
    return (struct proxy_target){.dest = h->dest, .flow_only = h->flow_only};
}

/* What is awaited of a request within a call. In the request's arena. */
struct inside {
    struct routing *r;
    struct rx *rx;
    bool leads; /* to the other end: what comes back is that one's word */
    bool early; /* there was no call yet, but one that rang */
};

static void on_inside_response(void *arg, struct rx *rx, uint16_t status, sv said,
                               const struct dest *via, const struct proxy_target *t)
{
    const struct inside *in = arg;
    unsigned leg;
    (void)said, (void)t;
    if (!rx || status / 100 != 2 || !in->leads || in->rx->msg.method == SIP_BYE)
        return;
    struct call *call = accounting_find(in->r->accounting, in->rx, &leg);
    if (call)
        accounting_refreshed(in->r->accounting, call, leg, rx, via);
}

/* RFC 3261 §15.1.1, §12.2.1.2: a call is over when its BYE was taken, when the other end knows of no call, and when nobody
 * is there. */
static bool ends(uint16_t status, enum err why)
{
    switch (why) {
    case ERR_OK:
        return status / 100 == 2 || status == 408 || status == 481;
    case ERR_TIMEOUT:
    case ERR_CLOSED:
    case ERR_REFUSED:
    case ERR_UNREACHABLE:
        return true;
    default:
        return false; /* it never left */
    }
}

/* Who refuses it goes on, but who sent it does not (§15.1.1): a call that needs us has no one any more whom it is for. Another
 * one goes on as long as they both want, whatever the BYE was made for; and who is asked to prove himself may. */
static bool we_end(const struct inside *in, uint16_t status, enum err why)
{
    return why == ERR_OK && status != 401 && status != 407 && in->r->anchor &&
           anchor_relays(in->r->anchor, in->rx);
}

static void on_outcome(void *arg, uint16_t status, enum err why)
{
    const struct inside *in = arg;
    struct routing *r = in->r;
    unsigned leg;
    if (in->rx->msg.method != SIP_BYE || !in->leads)
        return;
    bool refused = !ends(status, why);
    if (refused && !we_end(in, status, why))
        return;
    if (in->early &&
        status / 100 != 2) /* what it was about ended by itself; another one may stand by now */
        return;
    struct call *call = accounting_find(r->accounting, in->rx, &leg);
    if (call) /* while its media is known */
        accounting_hung_up(r->accounting, call, leg, in->rx->at);
    if (r->anchor)
        anchor_hung_up(r->anchor, in->rx, refused);
}

static const struct proxy_watch inside_watch = {.on_response = on_inside_response,
                                                .on_outcome = on_outcome};

/* The Routes behind ours, and the target, are those of the call. */
static bool leads(struct routing *r, struct rx *rx, const struct proxy_route *route,
                  const struct call *call, unsigned leg)
{
    const struct sip_addr *routes = NULL;
    size_t n = 0;
    if (sipmsg_has(&rx->msg, SIP_H_ROUTE) && sipmsg_addrs(&rx->msg, SIP_H_ROUTE, &routes, &n))
        return false;
    return accounting_leads(r->accounting, call, leg, route->uri, routes + route->pop,
                            n - route->pop - (route->strict ? 1 : 0));
}

/* call: NULL, or what it belongs to, and the leg that it goes to. */
static void watch_inside(struct routing *r, struct rx *rx, struct call *call, unsigned leg,
                         struct proxy_request *q)
{
    enum sip_method m = rx->msg.method;
    if (m != SIP_BYE && (!call || (m != SIP_INVITE && m != SIP_UPDATE)))
        return;
    struct inside *in = ARENA_NEW(&rx->arena, struct inside);
    if (!in)
        return;
    *in = (struct inside){.r = r,
                          .rx = rx,
                          .leads = !call || leads(r, rx, q->route, call, leg),
                          .early = call && !accounting_stands(call)};
    q->watch = &inside_watch;
    q->watch_arg = in;
}

/* payer: of a call that is not known, but proved. */
static void forward_in_dialog(struct routing *r, struct stxn *txn, struct rx *rx,
                              const struct proxy_route *route, const struct hop *hop,
                              struct call *call, unsigned leg, sv payer)
{
    struct proxy_target target = target_of(hop);
    struct proxy_request q = {
        .server = txn,
        .route = route,
        .targets = &target,
        .n = 1,
        .in_dialog = true,
        .secure = route->uri->scheme == URI_SIPS,
    };
    if (!watch_bodies(r, rx, r->set, payer, call != NULL, &q)) {
        struct sip_reply reply = {.status = 503, .headers = SV("Retry-After: 5\r\n")};
        enum err rc = stxn_reply(txn, &reply);
        (void)rc; /* it is asked for again */
        stxn_drop(txn);
        return;
    }
    watch_inside(r, rx, call, leg, &q);
    proxy_forward(r->proxy, &q);
}

static void on_proved(struct pending *p)
{
    struct call *call;
    struct hop hop;
    unsigned leg = 0;
    if (!next_hop(p->r, p->rx, &p->route, &call, &leg, &hop)) {
        pending_answer(p, 404, NULL, SV_NONE);
    } else if (!hop.known && p->route.next && !routing_may_follow(p, p->route.next)) {
        pending_answer(p, 403, "Relaying Denied", SV_NONE);
    } else {
        if (!p->r->anchor || !anchor_request(p->r->anchor, p->rx, p->txn))
            forward_in_dialog(p->r, p->txn, p->rx, &p->route, &hop, call, leg, p->caller);
        pending_free(p);
    }
}

/* A route set of ours, but of no call that we know: of an earlier process, of a fork that was not
 * followed, or of somebody who has seen a mark. What can only end something may pass; the rest is
 * for who proves his address, within a dialog's methods (D6, D7). */
static void unknown_call(struct routing *r, struct rx *rx, const struct proxy_route *route)
{
    const struct sip_addr *from;
    const struct settings_domain *d = NULL;
    switch (rx->msg.method) {
    case SIP_INVITE:
    case SIP_UPDATE:
    case SIP_INFO:
    case SIP_PRACK:
    case SIP_REFER:
    case SIP_NOTIFY:
    case SIP_SUBSCRIBE:
        if (sipmsg_from(&rx->msg, &from) == ERR_OK)
            d = settings_domain_of(r->set, r->sip, from->uri.host, from->uri.port);
        break;
    default:
        break;
    }
    if (d)
        routing_authenticate(r, rx, route, d, on_proved);
    else
        routing_refuse(r, rx, 481, NULL, SV_NONE);
}

void routing_in_dialog(struct routing *r, struct rx *rx, const struct proxy_route *route)
{
    struct call *call;
    struct stxn *txn;
    unsigned leg = 0;
    struct hop hop;
    bool proved = r->set->authenticate == SETTINGS_AUTH_REGISTER;
    if (!next_hop(r, rx, route, &call, &leg, &hop)) {
        routing_refuse(r, rx, 404, NULL, SV_NONE);
        return;
    }
    if (rx->msg.method == SIP_ACK) {
        struct proxy_target target = target_of(&hop);
        if (call)
            accounting_acknowledged(r->accounting, call, leg);
        struct proxy_body_new as = {.raise = 0};
        if (r->anchor)
            anchor_ack(r->anchor, rx, &as);
        proxy_relay(r->proxy, rx, route, &target, &as);
        return;
    }
    if (!hop.known && rx->msg.method != SIP_BYE && !proved) {
        unknown_call(r, rx, route);
        return;
    }
    if (!routing_transaction(r, rx, NULL, NULL, &txn))
        return;
    if (call)
        accounting_request(r->accounting, call, rx, leg);
    if (!r->anchor || !anchor_request(r->anchor, rx, txn))
        forward_in_dialog(r, txn, rx, route, &hop, call, leg, SV_NONE);
}
