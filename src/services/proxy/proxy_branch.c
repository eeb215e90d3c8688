/* SPDX-License-Identifier: MIT */
/* Downstream: one branch of a context. Its target names a flow, an address, or a URI whose servers are
 * found by RFC 3263; they are asked one after the other (§4.3 there). */
#include "location/location.h"
#include "proxy/proxy_priv.h"

enum { REQUEST_ROOM = 4096 };

/* ---- life ---- */

static const struct proxy_target *copy_target(struct arena *a, const struct proxy_target *t)
{
    struct proxy_target *copy = arena_alloc(a, sizeof(*copy));
    if (copy)
        *copy = *t;
    return copy;
}

enum err branch_uri(const struct proxy_route *route, const struct proxy_target *t, struct uri *mem,
                    const struct uri **ret_uri)
{
    if (!t->uri.p || t->parsed) {
        *ret_uri = t->uri.p ? t->parsed : route->uri;
        return ERR_OK;
    }
    TRY(uri_parse(t->uri, mem, NULL));
    *ret_uri = mem;
    return ERR_OK;
}

/* What t says is what b is about from now on; t lives in the request's arena. */
static enum err set_target(struct branch *b, const struct proxy_target *t)
{
    struct context *c = b->ctx;
    bool parse = t->uri.p && !t->parsed;
    struct uri *mem = parse ? arena_alloc(&c->rx->arena, sizeof(*mem)) : NULL;
    if (parse && !mem)
        return ERR_NOMEM;
    TRY(branch_uri(&c->plan->route, t, mem, &b->uri));
    b->target = t;
    return ERR_OK;
}

static void give(struct branch *b)
{
    if (b != &b->ctx->first)
        MEM_GIVE(b);
}

struct branch *branch_new(struct context *c, const struct proxy_target *t)
{
    const struct proxy_target *copy = copy_target(&c->rx->arena, t);
    if (c->step.n == PROXY_TARGETS_MAX || !copy)
        return NULL;
    struct branch *b = c->step.n ? MEM_TAKE(struct branch) : &c->first;
    if (!b)
        return NULL;
    b->ctx = c;
    if (set_target(b, copy)) {
        give(b);
        return NULL;
    }
    b->index = (uint8_t)c->step.n;
    list_init(&b->attempts);
    timer_init(&b->timer_c, context_timer_c, b);
    timer_init(&b->silence, branch_silence, b);
    c->branch[c->step.n] = b;
    c->step.branch[c->step.n] = (struct step_branch){.phase = STEP_WAITING, .rank = t->rank};
    c->step.n++;
    return b;
}

enum err branch_alternative(struct branch *b, const struct proxy_target *t)
{
    struct arena *a = &b->ctx->rx->arena;
    struct alternative *alt = ARENA_NEW(a, struct alternative), **at = &b->alternatives;
    if (!alt || !(alt->target = copy_target(a, t)))
        return ERR_NOMEM;
    while (*at)
        at = &(*at)->next;
    *at = alt;
    branch_step(b)->other = true;
    return ERR_OK;
}

void branch_free(struct branch *b)
{
    branch_stop(b);
    attempts_free(b);
    locate_cancel(b->query);
    redirect_forget(b->redirect);
    rx_unref(b->final);
    give(b);
}

void branch_cancel(struct branch *b, sv reason)
{
    struct context *c = b->ctx;
    branch_stop(b);
    if (b->current) {
        ctxn_cancel(b->current->txn, reason);
        return;
    }
    /* Nobody has been asked: a name was looked up, or a redirection. */
    locate_cancel(b->query);
    b->query = NULL;
    redirect_forget(b->redirect);
    b->redirect = NULL;
    context_event(c, b, STEP_EV_TIMEOUT, NULL, 0);
}

/* ---- the request to one server ---- */

enum err branch_build(struct proxy *p, const struct outgoing *o, struct block **ret_block)
{
    struct flow out;
    TRY(sip_flow_for(p->sip, o->dest, &out));
    size_t more = o->exchange ? body_room(o->exchange) : 0;
    struct block *block = sip_block(p->sip, o->rx->msg.text.n + REQUEST_ROOM + more);
    if (!block)
        return ERR_NOMEM;
    struct buf b;
    buf_init(&b, block->p, block->cap);
    enum err rc = proxy_build(p, o, &out, &b);
    if (rc) {
        block_unref(block);
        return rc;
    }
    block->n = (uint32_t)b.n;
    *ret_block = block;
    return ERR_OK;
}

enum err branch_hop(const struct proxy_route *route, const struct proxy_target *t,
                    const struct uri *uri, struct uri *ret_uri)
{
    struct sip_addr first;
    if (!t->path.n) {
        *ret_uri = route->next ? *route->next : *uri;
        return ERR_OK;
    }
    size_t end = sv_chr(t->path, '>');
    sv one = end < t->path.n ? sv_sub(t->path, 0, end + 1) : t->path;
    TRY(sip_addr_parse(one, false, &first));
    *ret_uri = first.uri;
    return ERR_OK;
}

bool branch_too_long(struct proxy *p, const struct outgoing *o, size_t n)
{
    const struct dest *d = o->dest;
    struct uri hop;
    sv transport;
    return n > sip_config(p->sip)->mtu && d->flow.transport == SIP_T_NONE &&
           d->transport == SIP_T_UDP && !branch_hop(&o->plan->route, o->target, o->uri, &hop) &&
           !uri_param(&hop, SV("transport"), &transport) &&
           sip_has_transport(p->sip, SIP_T_TCP, d->addr.family);
}

/* §18.1.1: a long request goes over TCP first, built for it; then, if nobody takes it there, over
 * UDP all the same. */
static enum err prefer_tcp(struct branch *b, struct outgoing *o, struct dest *tcp,
                           struct block **io_octets)
{
    struct proxy *p = b->ctx->proxy;
    struct block *octets;
    b->tcp = false;
    if (b->tcp_off || !branch_too_long(p, o, (*io_octets)->n))
        return ERR_OK;
    *tcp = *o->dest;
    tcp->transport = SIP_T_TCP;
    if (p->locate && locate_is_failed(p->locate, tcp))
        return ERR_OK;
    o->dest = tcp;
    TRY(branch_build(p, o, &octets));
    block_unref(*io_octets);
    *io_octets = octets;
    b->tcp = true;
    return ERR_OK;
}

/* Asks server b->next. */
static enum err ask_next(struct branch *b)
{
    struct context *c = b->ctx;
    const struct dest *d = &b->server[b->next];
    struct block *octets;
    struct dest tcp;
    struct txn_key key;
    struct loop *l = sip_loop(c->proxy->sip);
    branch_step(b)->more = b->next + 1 < b->servers;
    /* RFC 7339 §5.5: it has asked us to hold back; another one may take it. */
    if (b->located &&
        !overload_may_send(&c->proxy->peers, &d->addr, &c->rx->msg, l->now, loop_random(l)))
        return ERR_BUSY;
    struct outgoing o = {.rx = c->rx,
                         .plan = c->plan,
                         .target = b->target,
                         .uri = b->uri,
                         .dest = d,
                         .breadth = b->share,
                         .server = b->located,
                         .exchange = b->exchange,
                         .raise = b->raise,
                         .ret_key = &key};
    TRY(branch_build(c->proxy, &o, &octets));
    enum err rc = prefer_tcp(b, &o, &tcp, &octets);
    branch_step(b)->more = b->tcp || b->next + 1 < b->servers;
    if (!rc)
        rc = branch_ask(b, &o, octets);
    block_unref(octets);
    if (rc)
        branch_remember(b, o.dest, false, 0);
    return rc;
}

static void unreachable(struct branch *b, enum err why, uint16_t status)
{
    b->why = why;
    context_event(b->ctx, b, STEP_EV_UNREACHABLE, NULL,
                  status                 ? status
                  : b->target->flow_only ? 430
                                         : 0);
    if (branch_step(b)->phase == STEP_FINAL)
        branch_stop(b);
}

/* The same server again, over UDP when TCP failed, gets the same body. */
static void start(struct branch *b)
{
    if (b->ctx->bodies && !b->tcp_off && !body_request(b))
        return;
    enum err rc = ask_next(b);
    if (rc)
        unreachable(b, rc, 0);
}

void branch_again(struct branch *b)
{
    loop_timer_cancel(sip_loop(b->ctx->proxy->sip), &b->silence);
    branch_step(b)->phase = STEP_TRYING; /* nobody has said anything to what is sent now */
    b->again++;
    b->tcp_off = false;
    start(b);
}

void branch_next(struct branch *b)
{
    struct proxy *p = b->ctx->proxy;
    struct attempt *a = b->current;
    b->current = NULL;
    loop_timer_cancel(sip_loop(p->sip), &b->silence);
    if (a && a->txn)
        ctxn_give_up(a->txn);
    if (b->tcp) {
        /* The same server, over UDP; that TCP does not work there is remembered. */
        struct dest tcp = b->server[b->next];
        tcp.transport = SIP_T_TCP;
        if (p->locate)
            locate_failed(p->locate, &tcp, LOCATE_FAILED_MAX, 0);
        b->tcp = false;
        b->tcp_off = true;
    } else if (b->next + 1 >= b->servers && b->alternatives) {
        /* RFC 5626 §7: the same phone by another of its flows. */
        enum err rc = set_target(b, b->alternatives->target);
        b->alternatives = b->alternatives->next;
        b->located = false;
        branch_step(b)->other = b->alternatives != NULL;
        b->tcp_off = false;
        stat_inc(&sip_loop(p->sip)->stats, STAT_FAILOVERS);
        if (rc)
            unreachable(b, rc, 0);
        else
            branch_begin(b);
        return;
    } else {
        b->next++;
        b->tcp_off = false;
        stat_inc(&sip_loop(p->sip)->stats, STAT_FAILOVERS);
    }
    start(b);
}

/* ---- its servers ---- */

static bool secure(const struct dest *d)
{
    return d->flow.transport != SIP_T_NONE ? flow_secure(&d->flow)
                                           : d->transport == SIP_T_TLS || d->transport == SIP_T_WSS;
}

static bool allowed(void *arg, const struct addr *a)
{
    const struct branch *b = arg;
    const struct context *c = b->ctx;
    /* The configuration wrote the target, the caller a Route. */
    bool trusted = b->target->trusted && !c->plan->route.next;
    return trusted || location_allowed(c->proxy->sip, a, &c->rx->flow.remote);
}

/* Those that may be used. What asks for sips goes on to a sips URI, over TLS, or not at all (RFC 3261
 * §26.2.2, RFC 5630 §5.3, D24); a sips contact is reached over TLS, whoever asks. */
static enum err take_servers(struct branch *b, const struct dest *d, unsigned n)
{
    struct context *c = b->ctx;
    enum uri_scheme scheme = b->target->uri.p ? b->uri->scheme : URI_OTHER;
    bool tls = c->plan->secure || scheme == URI_SIPS;
    b->server = d;
    b->servers = n;
    b->next = 0;
    if (d != &b->target->dest || tls) {
        struct dest *mine = arena_alloc(&c->rx->arena, n * sizeof(*mine));
        if (!mine)
            return ERR_NOMEM;
        b->server = mine;
        b->servers = 0;
        for (unsigned i = 0; i < n; i++) {
            if (!tls || secure(&d[i]))
                mine[b->servers++] = d[i];
        }
    }
    if (b->servers && !(c->plan->secure && scheme == URI_SIP))
        return ERR_OK;
    c->sips_refused = c->plan->secure;
    return ERR_UNSUPPORTED;
}

static void found(struct branch *b, enum err rc, const struct locate_set *set)
{
    if (!rc)
        rc = take_servers(b, set->dest, set->n);
    if (!rc)
        b->until = set->until;
    if (rc)
        unreachable(b, rc, rc == ERR_UNSUPPORTED ? 480 : 0);
    else
        start(b);
}

static void on_located(void *arg, enum err rc, const struct locate_set *set)
{
    struct branch *b = arg;
    struct context *c = b->ctx;
    context_enter(c);
    b->query = NULL;
    b->located = true;
    found(b, rc, set);
    context_leave(c);
}

static void locate_hop(struct branch *b)
{
    struct proxy *p = b->ctx->proxy;
    struct locate_set set = {.n = 1};
    struct uri hop;
    enum err rc = branch_hop(&b->ctx->plan->route, b->target, b->uri, &hop);
    /* §16.6 step 7: a sips Request-URI is located as one, whatever a Route on its way says. A sip
     * contact will not do: take_servers tells. */
    if (!rc && b->ctx->plan->secure && hop.scheme == URI_SIP && b->uri->scheme == URI_SIPS)
        hop.scheme = URI_SIPS;
    if (!rc)
        rc = p->locate ? locate_numeric(p->locate, &hop, &set) : location_dest(&hop, &set.dest[0]);
    if (rc == ERR_MORE) {
        rc = locate_start(p->locate, &hop, allowed, on_located, b, &b->query);
        if (!rc)
            return;
    }
    for (unsigned i = 0; !rc && i < set.n; i++)
        rc = allowed(b, &set.dest[i].addr) ? ERR_OK : ERR_DENIED;
    found(b, rc, &set);
}

void branch_begin(struct branch *b)
{
    const struct dest *d = &b->target->dest;
    if (b->target->held) {
        redirect_hold(b);
        return;
    }
    if (d->flow.transport == SIP_T_NONE && d->transport == SIP_T_NONE) {
        locate_hop(b);
        return;
    }
    enum err rc = take_servers(b, d, 1);
    if (rc)
        unreachable(b, rc, rc == ERR_UNSUPPORTED ? 480 : 0);
    else
        start(b);
}

/* RFC 5393 §5.3.3: what is under way at one time shares the breadth that came. Later ranks are
 * thought of as far as there is enough, since one of this rank may still be ending when they
 * begin. */
bool branches_share(struct context *c, uint32_t starting)
{
    unsigned n = 0, later = 0, held = 0;
    for (unsigned i = 0; i < c->step.n; i++) {
        const struct step_branch *s = &c->step.branch[i];
        bool now = starting >> i & 1;
        n += now;
        later += s->phase == STEP_WAITING;
        held += !now && (s->phase == STEP_TRYING || s->phase == STEP_PROCEEDING)
                    ? c->branch[i]->share
                    : 0;
    }
    if (c->plan->breadth < held + n)
        return false;
    unsigned breadth = c->plan->breadth - held, all = n + later, k = 0;
    unsigned each = breadth / all, rest = later ? 0 : breadth % all;
    for (unsigned i = 0; i < c->step.n; i++) {
        if (starting >> i & 1)
            c->branch[i]->share = (uint16_t)(each ? each + (k++ < rest ? 1 : 0) : 1);
    }
    return true;
}
