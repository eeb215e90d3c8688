/* SPDX-License-Identifier: MIT */
/* Downstream: one branch of a context. Its target names a flow, an address, or a URI whose servers are
 * found by RFC 3263; they are asked one after the other, each by a client transaction of its own
 * (§4.3 there). A transaction that was given up stays until it ends: its late 2xx is a fork's. */
#include "location/location.h"
#include "proxy/proxy_priv.h"
#include "str/scan.h"

enum { REQUEST_ROOM = 4096 };
/* In T1: how long a server may say nothing while others are left; the same for TCP that stands in for
 * UDP, where a connection is refused in no time or made in little. */
enum { SILENT_T1 = 8, TCP_T1 = 4, TIMER_F_T1 = 64 };

static const struct ctxn_handler attempt_handler;

static usec t1(const struct proxy *p)
{
    return sip_config(p->sip)->t1;
}

/* ---- life ---- */

static void attempt_free(struct attempt *a)
{
    struct branch *b = a->branch;
    if (b->current == a)
        b->current = NULL;
    list_unlink(&a->by_branch);
    mem_free(a);
}

static void stop_timers(struct branch *b)
{
    struct loop *l = sip_loop(b->ctx->proxy->sip);
    loop_timer_cancel(l, &b->timer_c);
    loop_timer_cancel(l, &b->silence);
}

static void on_silence(struct timer *t, void *arg);

static enum err copy_target(struct arena *a, const struct proxy_target *t,
                            const struct proxy_target **ret)
{
    struct proxy_target *copy = ARENA_NEW(a, struct proxy_target);
    if (!copy)
        return ERR_NOMEM;
    *copy = *t;
    if (t->uri.p)
        TRY(sv_dup(a, t->uri, &copy->uri));
    if (t->path.p)
        TRY(sv_dup(a, t->path, &copy->path));
    if (t->account.p)
        TRY(sv_dup(a, t->account, &copy->account));
    *ret = copy;
    return ERR_OK;
}

struct branch *branch_new(struct context *c, const struct proxy_target *t)
{
    const struct proxy_target *copy;
    if (c->step.n == PROXY_TARGETS_MAX || copy_target(&c->rx->arena, t, &copy))
        return NULL;
    struct branch *b = MEM_NEW(struct branch);
    if (!b)
        return NULL;
    b->ctx = c;
    b->target = copy;
    b->index = (uint8_t)c->step.n;
    list_init(&b->attempts);
    timer_init(&b->timer_c, context_timer_c, b);
    timer_init(&b->silence, on_silence, b);
    c->branch[c->step.n] = b;
    c->step.branch[c->step.n] = (struct step_branch){.phase = STEP_WAITING, .rank = t->rank};
    c->step.n++;
    return b;
}

enum err branch_alternative(struct branch *b, const struct proxy_target *t)
{
    struct arena *a = &b->ctx->rx->arena;
    struct alternative *alt = ARENA_NEW(a, struct alternative), **at = &b->alternatives;
    if (!alt)
        return ERR_NOMEM;
    TRY(copy_target(a, t, &alt->target));
    while (*at)
        at = &(*at)->next;
    *at = alt;
    branch_step(b)->other = true;
    return ERR_OK;
}

void branch_free(struct branch *b)
{
    stop_timers(b);
    LIST_EACH_SAFE (a, &b->attempts, struct attempt, by_branch) {
        ctxn_drop(a->txn);
        attempt_free(a);
    }
    locate_cancel(b->query);
    redirect_forget(b->redirect);
    rx_unref(b->final);
    mem_free(b);
}

/* ---- from the transactions ---- */

static bool seconds(sv text, usec *ret)
{
    struct scan s = scan_of(text);
    uint64_t n;
    if (scan_u64(&s, UINT32_MAX, &n))
        return false;
    *ret = (usec)n * USEC_S;
    return true;
}

/* What the memory of servers learns (RFC 3263 §4.3, RFC 3261 §21.5.4). */
static void remember(struct branch *b, const struct dest *d, bool works, usec retry_after)
{
    struct proxy *p = b->ctx->proxy;
    usec left = b->until - sip_loop(p->sip)->now;
    if (!b->located || !p->locate)
        return;
    if (works)
        locate_worked(p->locate, d);
    else
        locate_failed(p->locate, d, left > 0 ? left : 0, retry_after);
}

static void heard(struct attempt *a, struct rx *rx)
{
    struct branch *b = a->branch;
    struct proxy *p = b->ctx->proxy;
    const struct sip_via *via;
    usec after = 0;
    if (b->located && sipmsg_via(&rx->msg, &via) == ERR_OK)
        overload_heard(&p->peers, &a->dest.addr, via, sip_loop(p->sip)->now);
    if (a == b->current)
        loop_timer_cancel(sip_loop(b->ctx->proxy->sip), &b->silence);
    if (rx->msg.status == 503) {
        if (!seconds(sipmsg_value(&rx->msg, SIP_H_RETRY_AFTER), &after))
            after = 0;
        remember(b, &a->dest, false, after);
    } else if (!a->heard) {
        remember(b, &a->dest, true, 0);
    }
    a->heard = true;
}

static void on_final(struct attempt *a, struct rx *rx)
{
    struct branch *b = a->branch;
    struct context *c = b->ctx;
    bool is_current = a == b->current;
    if (rx->msg.status < 300) {
        b->dest = a->dest;
        if (is_current)
            stop_timers(b);
        context_event(c, b, is_current ? STEP_EV_SUCCESS : STEP_EV_LATE, rx, 0);
        return;
    }
    if (!is_current)
        return; /* it was given up */
    bool follow = redirect_wanted(b, rx);
    loop_timer_cancel(sip_loop(c->proxy->sip), &b->silence);
    b->dest = a->dest;
    b->current = NULL; /* what remains of it only absorbs */
    rx_unref(b->final);
    b->final = rx_ref(rx);
    context_event(c, b, follow ? STEP_EV_REDIRECT : STEP_EV_FAILURE, rx, 0);
    if (branch_step(b)->phase == STEP_FINAL)
        stop_timers(b);
}

static void on_response(void *arg, struct rx *rx)
{
    struct attempt *a = arg;
    struct branch *b = a->branch;
    struct context *c = b->ctx;
    context_enter(c);
    heard(a, rx);
    /* §16.7 step 3: a response whose only Via is ours was for us: nothing of ours asks for one
     * here. */
    if (sipmsg_count(&rx->msg, SIP_H_VIA) > 1) {
        if (rx->msg.status >= 200) {
            on_final(a, rx);
        } else if (rx->msg.status > 100 && a == b->current) {
            /* §16.7 step 5: a 100 is of this hop only; Timer C runs on */
            b->dest = a->dest;
            context_event(c, b, STEP_EV_PROVISIONAL, rx, 0);
        }
    }
    context_leave(c);
}

static void on_attempt_gone(void *arg, enum err why)
{
    struct attempt *a = arg;
    struct branch *b = a->branch;
    struct context *c = b->ctx;
    bool is_current = a == b->current;
    context_enter(c);
    c->live--;
    if (is_current) {
        loop_timer_cancel(sip_loop(c->proxy->sip), &b->silence);
        bool lost = why != ERR_OK && why != ERR_TIMEOUT;
        b->why = why == ERR_OK ? ERR_TIMEOUT : why;
        if (!a->heard || lost)
            remember(b, &a->dest, false, 0);
        /* After a final response the step has nothing more to say. */
        context_event(c, b, lost ? STEP_EV_UNREACHABLE : STEP_EV_TIMEOUT, NULL,
                      lost && b->target && b->target->flow_only ? 430 : 0);
        if (branch_step(b)->phase == STEP_FINAL)
            stop_timers(b);
    }
    attempt_free(a);
    context_leave(c);
}

static const struct ctxn_handler attempt_handler = {.on_response = on_response,
                                                    .on_gone = on_attempt_gone};

static void on_silence(struct timer *t, void *arg)
{
    (void)t;
    struct branch *b = arg;
    struct context *c = b->ctx;
    context_enter(c);
    b->why = ERR_TIMEOUT;
    if (b->current && !b->current->heard)
        remember(b, &b->current->dest, false, 0);
    context_event(c, b, STEP_EV_SILENT, NULL, 0);
    if (branch_step(b)->phase == STEP_FINAL && b->current) {
        struct attempt *a = b->current;
        b->current = NULL;
        stop_timers(b);
        ctxn_give_up(a->txn);
    }
    context_leave(c);
}

void branch_cancel(struct branch *b, sv reason)
{
    struct context *c = b->ctx;
    stop_timers(b);
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

enum err branch_build(struct proxy *p, struct rx *rx, const struct plan *plan,
                      const struct proxy_target *t, const struct dest *d, unsigned breadth,
                      bool server, struct block **ret_block)
{
    struct flow out;
    TRY(sip_flow_for(p->sip, d, &out));
    struct block *block = sip_block(p->sip, rx->msg.text.n + REQUEST_ROOM);
    if (!block)
        return ERR_NOMEM;
    struct buf b;
    buf_init(&b, block->p, block->cap);
    enum err rc = proxy_build(p, rx, plan, t, d, &out, breadth, server, &b);
    if (rc) {
        block_unref(block);
        return rc;
    }
    block->n = (uint32_t)b.n;
    *ret_block = block;
    return ERR_OK;
}

bool branch_too_long(struct proxy *p, const struct dest *d, const struct uri *hop, size_t n)
{
    sv transport;
    return n > sip_config(p->sip)->mtu && d->flow.transport == SIP_T_NONE &&
           d->transport == SIP_T_UDP && hop && !uri_param(hop, SV("transport"), &transport) &&
           sip_has_transport(p->sip, SIP_T_TCP, d->addr.family);
}

enum err branch_hop(const struct proxy_route *route, const struct proxy_target *t,
                    struct uri *ret_uri)
{
    struct sip_addr first;
    if (t->path.n) {
        size_t end = sv_chr(t->path, '>');
        sv one = end < t->path.n ? sv_sub(t->path, 0, end + 1) : t->path;
        TRY(sip_addr_parse(one, false, &first));
        *ret_uri = first.uri;
        return ERR_OK;
    }
    return uri_parse(route->next.p ? route->next : t->uri.p ? t->uri : route->uri, ret_uri, NULL);
}

/* How many have a share of the time that is left: servers of this branch, and ranks that wait. */
static unsigned to_come(const struct branch *b)
{
    const struct step_context *s = &b->ctx->step;
    unsigned n = b->servers - b->next;
    for (unsigned i = 0; i < s->n; i++) {
        bool first = s->branch[i].phase == STEP_WAITING;
        for (unsigned k = 0; first && k < i; k++)
            first = s->branch[k].phase != STEP_WAITING || s->branch[k].rank != s->branch[i].rank;
        n += first;
    }
    return n ? n : 1;
}

/* The INVITE's last server has Timer B; the last of another request what the caller's Timer F
 * leaves. */
static void arm_silence(struct branch *b)
{
    struct context *c = b->ctx;
    struct proxy *p = c->proxy;
    struct loop *l = sip_loop(p->sip);
    usec most = (b->tcp ? TCP_T1 : SILENT_T1) * t1(p);
    if (c->step.invite) {
        if (branch_step(b)->more || branch_step(b)->other)
            loop_timer(l, &b->silence, most);
        return;
    }
    usec left = c->rx->at + TIMER_F_T1 * t1(p) - l->now;
    unsigned n = to_come(b) + (b->tcp ? 1 : 0);
    left = left > 0 ? left / n : 0;
    loop_timer(l, &b->silence, n > 1 && left > most ? most : left);
}

static enum err ask(struct branch *b, const struct dest *d, struct block *octets)
{
    struct context *c = b->ctx;
    struct proxy *p = c->proxy;
    struct attempt *a = MEM_NEW(struct attempt);
    if (!a)
        return ERR_NOMEM;
    a->branch = b;
    a->dest = *d;
    enum err rc = ctxn_new(p->sip, d, octets, c->rx->slot, &attempt_handler, a, &a->txn);
    if (rc) {
        mem_free(a);
        return rc;
    }
    list_push(&b->attempts, &a->by_branch);
    b->current = a;
    b->dest = *d;
    c->live++;
    if (!b->began) {
        b->began = sip_loop(p->sip)->now;
        if (c->step.invite)
            loop_timer(sip_loop(p->sip), &b->timer_c, p->set->ringing); /* §16.6 step 11 */
    }
    arm_silence(b);
    return ERR_OK;
}

/* §18.1.1: a long request goes over TCP first, built for it; then, if nobody takes it there, over
 * UDP all the same. */
static enum err prefer_tcp(struct branch *b, const struct dest *d, struct block **io_octets,
                           struct dest *ret_dest)
{
    struct context *c = b->ctx;
    struct proxy *p = c->proxy;
    struct uri hop;
    struct block *octets;
    *ret_dest = *d;
    b->tcp = false;
    if (b->tcp_off || branch_hop(&c->plan->route, b->target, &hop) ||
        !branch_too_long(p, d, &hop, (*io_octets)->n))
        return ERR_OK;
    struct dest tcp = *d;
    tcp.transport = SIP_T_TCP;
    if (p->locate && locate_is_failed(p->locate, &tcp))
        return ERR_OK;
    TRY(branch_build(p, c->rx, c->plan, b->target, &tcp, b->share, b->located, &octets));
    block_unref(*io_octets);
    *io_octets = octets;
    *ret_dest = tcp;
    b->tcp = true;
    return ERR_OK;
}

/* Asks server b->next. */
static enum err ask_next(struct branch *b)
{
    struct context *c = b->ctx;
    const struct dest *d = &b->server[b->next];
    struct block *octets;
    struct dest to;
    struct loop *l = sip_loop(c->proxy->sip);
    branch_step(b)->more = b->next + 1 < b->servers;
    /* RFC 7339 §5.5: it has asked us to hold back; another one may take it. */
    if (b->located &&
        !overload_may_send(&c->proxy->peers, &d->addr, &c->rx->msg, l->now, loop_random(l)))
        return ERR_BUSY;
    TRY(branch_build(c->proxy, c->rx, c->plan, b->target, d, b->share, b->located, &octets));
    enum err rc = prefer_tcp(b, d, &octets, &to);
    branch_step(b)->more = b->tcp || b->next + 1 < b->servers;
    if (!rc)
        rc = ask(b, &to, octets);
    block_unref(octets);
    if (rc)
        remember(b, &to, false, 0);
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
        stop_timers(b);
}

static void start(struct branch *b)
{
    enum err rc = ask_next(b);
    if (rc)
        unreachable(b, rc, 0);
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
        b->target = b->alternatives->target;
        b->alternatives = b->alternatives->next;
        branch_step(b)->other = b->alternatives != NULL;
        b->tcp_off = false;
        stat_inc(&sip_loop(p->sip)->stats, STAT_FAILOVERS);
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
    return b->target->trusted || location_allowed(c->proxy->sip, a, &c->rx->flow.remote);
}

/* Those that may be used. What asks for sips goes on to a sips URI, over TLS, or not at all (RFC 3261
 * §26.2.2, RFC 5630 §5.3, D24); a sips contact is reached over TLS, whoever asks. */
static enum err take_servers(struct branch *b, const struct dest *d, unsigned n)
{
    struct context *c = b->ctx;
    struct uri uri = {.scheme = URI_OTHER};
    if (b->target->uri.p)
        TRY(uri_parse(b->target->uri, &uri, NULL));
    struct dest *mine = arena_alloc(&c->rx->arena, n * sizeof(*mine));
    if (!mine)
        return ERR_NOMEM;
    bool tls = c->plan->secure || uri.scheme == URI_SIPS;
    b->servers = 0;
    for (unsigned i = 0; i < n; i++) {
        if (!tls || secure(&d[i]))
            mine[b->servers++] = d[i];
    }
    b->server = mine;
    b->next = 0;
    if (b->servers && !(c->plan->secure && uri.scheme == URI_SIP))
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
    enum err rc = branch_hop(&b->ctx->plan->route, b->target, &hop);
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
