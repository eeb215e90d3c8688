/* SPDX-License-Identifier: MIT */
/* Where to: a user of ours by account or number, at all of its bindings; and requests that follow a
 * route set of ours. */
#include "routing/routing_priv.h"

bool routing_canonical(struct rx *rx, sv user, sv *ret_user)
{
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

bool routing_aor(struct rx *rx, sv user, sv domain, sv *ret_aor)
{
    size_t n = user.n + 1 + domain.n;
    char *mem = arena_alloc(&rx->arena, n + 1);
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

/* ---- a watched call ---- */

struct watched {
    struct accounting *accounting;
    struct call *call;
};

static void on_response(void *arg, struct rx *rx, uint16_t status, const struct dest *via)
{
    struct watched *w = arg;
    accounting_response(w->accounting, w->call, rx, status, via);
}

static void on_gone(void *arg)
{
    struct watched *w = arg;
    accounting_setup_gone(w->accounting, w->call);
    mem_free(w);
}

static const struct proxy_watch call_watch = {.on_response = on_response, .on_gone = on_gone};

static struct watched *watch_call(struct routing *r, struct rx *rx, sv caller)
{
    struct watched *w = MEM_NEW(struct watched);
    if (!w)
        return NULL;
    w->accounting = r->accounting;
    w->call = accounting_begin(r->accounting, rx, caller);
    if (!w->call) {
        mem_free(w);
        return NULL;
    }
    return w;
}

/* ---- to a user ---- */

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

static size_t targets_of(struct pending *p, struct proxy_target *t, size_t max)
{
    uint64_t epoch = store_epoch(p->r->shared.store);
    size_t n = 0;
    for (size_t i = 0; i < p->bindings.n && n < max; i++) {
        const struct binding *b = &p->bindings.bindings[i];
        struct flow flow = location_flow(b, epoch);
        struct uri contact;
        if (uri_parse(b->uri, &contact, NULL) ||
            location_contact(&contact, &flow, b->by_flow, &t[n].dest))
            continue;
        /* When the flow is gone what is left is an address that nobody has judged yet (D16). */
        if (t[n].dest.flow.transport == SIP_T_NONE &&
            !location_allowed(p->r->sip, &t[n].dest.addr, &b->remote))
            continue;
        /* §26.2.2, §16.6 step 2: what asks for sips goes on over TLS or not at all (D24). */
        if (p->secure && t[n].dest.transport != SIP_T_TLS && t[n].dest.transport != SIP_T_WSS)
            continue;
        t[n].uri = b->uri;
        t[n].path = b->path.n ? b->path : SV_NONE;
        t[n].rank = b->q;
        n++;
    }
    return n;
}

static void on_bindings(struct store_op *op, enum err rc)
{
    struct pending *p = op->arg;
    struct routing *r = p->r;
    struct proxy_target targets[PROXY_TARGETS_MAX];
    const struct sip_addr *to;
    if (rc) {
        pending_answer(p, 500, NULL, SV_NONE);
        return;
    }
    size_t n = targets_of(p, targets, PROXY_TARGETS_MAX);
    if (n == 0) {
        pending_answer(p, 480, NULL, SV_NONE);
        return;
    }
    struct watched *w = NULL;
    if (p->rx->msg.method == SIP_INVITE && sipmsg_to(&p->rx->msg, &to) == ERR_OK && !to->tag.p)
        w = watch_call(r, p->rx, p->caller);
    struct proxy_request q = {
        .server = p->txn,
        .route = &p->route,
        .targets = targets,
        .n = n,
        .record_route = forms_dialog(p->rx),
        .watch = w ? &call_watch : NULL,
        .watch_arg = w,
    };
    proxy_forward(r->proxy, &q);
    pending_free(p);
}

static void find_bindings(struct pending *p)
{
    if (!routing_aor(p->rx, p->find.account.user, p->find.account.domain, &p->callee)) {
        pending_answer(p, 500, NULL, SV_NONE);
        return;
    }
    p->bindings.arena = &p->rx->arena;
    p->bindings.aor = p->callee;
    p->bindings.wall = loop_wall(p->r->loop);
    store_op_init(&p->bindings.op, on_bindings, p);
    store_bindings(p->r->shared.store, p->r->loop, &p->bindings);
}

static void on_number(struct store_op *op, enum err rc)
{
    struct pending *p = op->arg;
    if (rc == ERR_OK)
        find_bindings(p);
    else if (rc == ERR_NOTFOUND)
        /* A stranger learns nothing from the difference between nobody and nobody there (D1). */
        pending_answer(p, p->caller.p ? 404 : 480, NULL, SV_NONE);
    else
        pending_answer(p, 500, NULL, SV_NONE);
}

static void on_callee(struct store_op *op, enum err rc)
{
    struct pending *p = op->arg;
    if (rc != ERR_NOTFOUND) {
        on_number(op, rc);
        return;
    }
    p->find.number = p->find.user;
    p->find.user = SV_NONE;
    store_op_init(&p->find.op, on_number, p);
    store_find(p->r->shared.store, p->r->loop, &p->find);
}

/* ---- numbers (D42): one form before anything is looked up ---- */

static bool is_number(const struct uri *u)
{
    sv kind;
    return u->scheme == URI_TEL || (uri_param(u, SV("user"), &kind) && sv_ieq(kind, SV("phone")));
}

/* A telephone-subscriber without its parameters and visual separators (RFC 3966 §3). */
static bool canonical_number(struct rx *rx, const struct uri *u, sv *ret_number)
{
    sv text;
    if (!routing_canonical(rx, u->scheme == URI_TEL ? u->opaque : u->user, &text))
        return false;
    text = sv_sub(text, 0, sv_chr(text, ';'));
    char *mem = arena_alloc(&rx->arena, text.n + 1);
    struct buf b;
    if (!mem)
        return false;
    buf_init(&b, mem, text.n + 1);
    for (size_t i = 0; i < text.n; i++) {
        if (sv_chr(SV("-.()"), text.p[i]) == 4)
            buf_char(&b, text.p[i]);
    }
    *ret_number = buf_sv(&b);
    return b.n > 0;
}

/* Whose plan a tel number belongs to: the domain of its context (RFC 3966 §5.1.5), else the
 * caller's, else the first. NULL: not ours. */
static const struct settings_domain *number_domain(struct pending *p, const struct uri *tel)
{
    sv context;
    if (uri_param(tel, SV("phone-context"), &context))
        return settings_domain_of(p->set, NULL, context, 0);
    return p->domain ? p->domain : &p->set->domains[0];
}

void routing_to_user(struct pending *p)
{
    struct routing *r = p->r;
    struct uri uri;
    sv user;
    if (uri_parse(p->route.uri, &uri, NULL)) {
        pending_answer(p, 400, NULL, SV_NONE);
        return;
    }
    p->secure = uri.scheme == URI_SIPS;
    if (uri.scheme == URI_TEL)
        p->target = number_domain(p, &uri);
    else
        p->target = settings_domain_of(p->set, r->sip, uri.host, uri.port);
    if (!p->target || p->route.next.p) {
        /* Another's domain, or a route that somebody else wrote: not ours to carry (D6). */
        pending_answer(p, 403, "Relaying Denied", SV_NONE);
        return;
    }
    if (is_number(&uri) ? !canonical_number(p->rx, &uri, &user)
                        : !routing_canonical(p->rx, uri.user, &user)) {
        pending_answer(p, 404, NULL, SV_NONE);
        return;
    }
    p->find.arena = &p->rx->arena;
    p->find.user = user;
    p->find.domain = p->target->name;
    p->find.number = SV_NONE;
    store_op_init(&p->find.op, on_callee, p);
    store_find(r->shared.store, r->loop, &p->find);
}

/* ---- inside a dialog ---- */

/* Where a request that follows our route set goes: to the leg that we know, else to the address
 * that its URI names. */
static bool next_hop(struct routing *r, struct rx *rx, const struct proxy_route *route,
                     struct call **ret_call, unsigned *ret_leg, struct dest *ret_dest)
{
    struct uri uri;
    *ret_call = accounting_find(r->accounting, rx, ret_leg);
    sv hop = route->next.p ? route->next : route->uri;
    if (*ret_call && !route->next.p) {
        const struct call_leg *leg = accounting_leg(*ret_call, *ret_leg);
        if (leg->dest.transport != SIP_T_NONE) {
            *ret_dest = leg->dest;
            return true;
        }
    }
    /* A call of an earlier process, or an early dialog of one fork among several. The mark proves
     * that its route set was made here for this Call-ID. */
    return uri_parse(hop, &uri, NULL) == ERR_OK && location_dest(&uri, ret_dest) == ERR_OK &&
           location_allowed(r->sip, &ret_dest->addr, &rx->flow.remote);
}

static void forward_in_dialog(struct pending *p)
{
    struct proxy_target target = {.uri = p->route.uri, .dest = p->hop};
    struct proxy_request q = {.server = p->txn, .route = &p->route, .targets = &target, .n = 1};
    proxy_forward(p->r->proxy, &q);
    pending_free(p);
}

static void on_proved(struct pending *p)
{
    struct call *call;
    unsigned leg;
    if (next_hop(p->r, p->rx, &p->route, &call, &leg, &p->hop))
        forward_in_dialog(p);
    else
        pending_answer(p, 404, NULL, SV_NONE);
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
    unsigned leg = 0;
    struct dest hop;
    bool proved = r->set->authenticate == SETTINGS_AUTH_REGISTER;
    if (!next_hop(r, rx, route, &call, &leg, &hop)) {
        routing_refuse(r, rx, 404, NULL, SV_NONE);
        return;
    }
    if (rx->msg.method == SIP_ACK) {
        struct proxy_target target = {.uri = route->uri, .dest = hop};
        proxy_relay(r->proxy, rx, route, &target);
        return;
    }
    if (!call && rx->msg.method != SIP_BYE && !proved) {
        unknown_call(r, rx, route);
        return;
    }
    struct pending *p = pending_new(r, rx, route);
    if (!p)
        return;
    p->hop = hop;
    if (call)
        accounting_request(r->accounting, call, p->rx, leg);
    forward_in_dialog(p);
}
