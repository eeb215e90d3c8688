/* SPDX-License-Identifier: MIT */
/* locate/locate.c: what is asked for, queries and their lives, what failed. Spec RFC 3263 §4, §5. */
#include "locate/locate_priv.h"

/* ---- what is asked for ---- */

static sv without_last_dot(sv host)
{
    return sv_ends(host, SV(".")) ? sv_sub(host, 0, host.n - 1) : host;
}

/* A number goes to ip, a name stays. Errors: ERR_UNREACHABLE (a name that no DNS has). */
static enum err goal_host(struct locate_goal *g)
{
    uint8_t ip[16];
    size_t n;
    if (g->host.n > 2 && g->host.p[0] == '[' && g->host.p[g->host.n - 1] == ']')
        g->host = sv_sub(g->host, 1, g->host.n - 1); /* maddr=[...] */
    if (!uri_host_ip(g->host, ip, &n)) {
        g->ip = addr_from_ip(ip, n, 0);
        return ERR_OK;
    }
    g->host = without_last_dot(g->host);
    if (g->host.n == 0 || g->host.n > LOCATE_NAME_MAX || !uri_is_host(g->host, false))
        return ERR_UNREACHABLE;
    sv last = sv_sub(g->host, g->host.n - (g->host.n < 8 ? g->host.n : 8), g->host.n);
    return sv_ieq(last, SV(".invalid")) || sv_ieq(last, SV("invalid")) ? ERR_UNREACHABLE : ERR_OK;
}

static enum err goal_of(const struct locate *l, const struct uri *u, struct locate_goal *ret_goal)
{
    struct locate_goal g = {.host = u->host, .port = u->port, .secure = u->scheme == URI_SIPS};
    uint8_t ip[16];
    size_t n;
    sv text;
    if (u->scheme != URI_SIP && u->scheme != URI_SIPS)
        return ERR_UNREACHABLE;
    if (uri_param(u, SV("transport"), &text)) {
        g.transport = sip_transport_of(text);
        if (g.secure && g.transport == SIP_T_TCP)
            g.transport = SIP_T_TLS; /* RFC 3261 §26.2.2: TLS over TCP */
        /* nobody can be called by WebSocket */
        if (g.transport != SIP_T_TLS &&
            (g.secure || (g.transport != SIP_T_UDP && g.transport != SIP_T_TCP)))
            return ERR_UNREACHABLE;
    }
    /* The domain of the URI, also where maddr leads elsewhere: else whoever writes a URI could say
     * whose certificate will do. */
    if (uri_host_ip(u->host, ip, &n))
        g.domain = without_last_dot(u->host);
    if (g.domain.n > LOCATE_NAME_MAX)
        return ERR_UNREACHABLE;
    if (uri_param(u, SV("maddr"), &text))
        g.host = text;
    TRY(goal_host(&g));
    enum sip_transport t = locate_transport(l, &g);
    bool reachable = g.ip.family ? sip_has_transport(l->sip, t, g.ip.family)
                                 : locate_has(l, t) || (g.transport == SIP_T_NONE && !g.secure);
    if (!reachable)
        return ERR_UNREACHABLE;
    *ret_goal = g;
    return ERR_OK;
}

/* The name is looked up at last: a table that forgets stands behind it. */
static void put_name(struct locate *l, const struct locate_goal *g, struct locate_set *set)
{
    uint32_t name = 0;
    for (unsigned i = 0; i < set->n; i++) {
        if (set->dest[i].transport != SIP_T_TLS || g->domain.n == 0)
            continue;
        if (name == 0)
            name = sip_name(l->sip, g->domain);
        set->dest[i].name = name;
    }
}

enum err locate_numeric(struct locate *l, const struct uri *u, struct locate_set *ret_set)
{
    struct locate_goal g;
    TRY(goal_of(l, u, &g));
    if (g.ip.family == 0)
        return ERR_MORE;
    enum sip_transport t = locate_transport(l, &g);
    ret_set->dest[0] = locate_dest(&g.ip, locate_port(&g, t), t);
    ret_set->n = 1;
    ret_set->until = USEC_NEVER;
    put_name(l, &g, ret_set);
    return ERR_OK;
}

/* ---- failures ---- */

static void leave_out_failed(struct locate *l, struct locate_set *set)
{
    usec now = l->loop->now, until[LOCATE_TARGETS_MAX];
    unsigned up = 0;
    for (unsigned i = 0; i < set->n; i++) {
        until[i] = locate_failed_until(l->shared, &set->dest[i], now);
        if (until[i] <= now)
            set->dest[up++] = set->dest[i];
    }
    if (up > 0) {
        set->n = up;
        return;
    }
    for (unsigned i = 1; i < set->n; i++) {
        struct dest d = set->dest[i];
        usec u = until[i];
        unsigned k = i;
        for (; k > 0 && until[k - 1] > u; k--) {
            set->dest[k] = set->dest[k - 1];
            until[k] = until[k - 1];
        }
        set->dest[k] = d;
        until[k] = u;
    }
}

void locate_failed(struct locate *l, const struct dest *d, usec ttl_left, usec retry_after)
{
    usec now = l->loop->now, lasts;
    if (retry_after > 0)
        lasts = retry_after < LOCATE_RETRY_MAX ? retry_after : LOCATE_RETRY_MAX;
    else if (ttl_left < USEC_S)
        lasts = USEC_S;
    else
        lasts = ttl_left < LOCATE_FAILED_MAX ? ttl_left : LOCATE_FAILED_MAX;
    locate_failed_set(l->shared, d, now + lasts, now);
}

void locate_worked(struct locate *l, const struct dest *d)
{
    locate_failed_set(l->shared, d, 0, l->loop->now);
}

bool locate_is_failed(const struct locate *l, const struct dest *d)
{
    return locate_failed_until(l->shared, d, l->loop->now) > l->loop->now;
}

/* ---- queries ---- */

static void query_free(struct locate_query *q)
{
    for (unsigned i = 0; i < q->slots; i++)
        locate_slot_free(&q->slot[i]);
    loop_timer_cancel(q->l->loop, &q->timer);
    list_unlink(&q->by_ready);
    list_unlink(&q->by_locate);
    pool_put(q->l->query_pool, q);
}

/* Tells; q is gone before it. */
static void finish(struct locate_query *q, const struct locate_work *w, enum err none)
{
    struct locate *l = q->l;
    locate_fn *done = q->done;
    void *arg = q->arg;
    enum err rc = w->set->n > 0 ? ERR_OK : none;
    if (w->refused)
        stat_refuse(&l->loop->stats, STAT_LIMIT_DNS);
    if (!rc) {
        leave_out_failed(l, w->set);
        put_name(l, &q->goal, w->set);
    }
    query_free(q);
    done(arg, rc, rc ? NULL : w->set);
}

/* What the DNS could not do, in the words of the contract. */
static enum err reason(const struct locate_work *w)
{
    if (w->rc == ERR_TIMEOUT || w->rc == ERR_NOMEM || w->rc == ERR_BUSY)
        return w->rc;
    return w->rc ? ERR_UNREACHABLE : ERR_NOTFOUND;
}

static void advance(struct locate_query *q)
{
    struct locate_set set;
    struct locate_work w;
    locate_work_out(q, &w, &set);
    if (w.pending == 0) {
        finish(q, &w, reason(&w));
        return;
    }
    usec left = q->end - q->l->loop->now;
    if (set.n > 0 && !q->impatient && left > LOCATE_PATIENCE) {
        q->impatient = true;
        loop_timer(q->l->loop, &q->timer, LOCATE_PATIENCE);
    }
}

static void on_time(struct timer *t, void *arg)
{
    struct locate_query *q = arg;
    struct locate_set set;
    struct locate_work w;
    (void)t;
    locate_work_out(q, &w, &set);
    if (set.n == 0)
        stat_refuse(&q->l->loop->stats, STAT_LIMIT_DNS);
    finish(q, &w, ERR_TIMEOUT);
}

static void on_later(struct deferred *d, void *arg)
{
    struct locate *l = arg;
    (void)d;
    for (struct link *k; (k = list_pop(&l->ready));)
        advance(CONTAINER(k, struct locate_query, by_ready));
}

void locate_query_ready(struct locate_query *q)
{
    if (list_linked(&q->by_ready))
        return;
    list_push(&q->l->ready, &q->by_ready);
    loop_defer(q->l->loop, &q->l->later);
}

static sv keep_lower(char *mem, sv text)
{
    for (size_t i = 0; i < text.n; i++)
        mem[i] = sv_lower(text.p[i]);
    return (sv){mem, text.n};
}

static enum err query_new(struct locate *l, const struct locate_goal *g,
                          bool (*allowed)(void *arg, const struct addr *a), locate_fn *done,
                          void *arg, struct locate_query **ret_query)
{
    if (pool_live(l->query_pool) >= LOCATE_QUERIES) {
        stat_refuse(&l->loop->stats, STAT_LIMIT_DNS);
        return ERR_BUSY;
    }
    struct locate_query *q = pool_get(l->query_pool);
    if (!q)
        return ERR_NOMEM;
    q->l = l;
    q->allowed = allowed;
    q->done = done;
    q->arg = arg;
    q->goal = *g;
    q->goal.host = keep_lower(q->host, g->host);
    q->goal.domain = keep_lower(q->domain, g->domain);
    q->seed = loop_random(l->loop);
    q->end = l->loop->now + LOCATE_TIME;
    timer_init(&q->timer, on_time, q);
    loop_timer(l->loop, &q->timer, LOCATE_TIME);
    list_push(&l->queries, &q->by_locate);
    locate_query_ready(q);
    *ret_query = q;
    return ERR_OK;
}

enum err locate_start(struct locate *l, const struct uri *u,
                      bool (*allowed)(void *arg, const struct addr *a), locate_fn *done, void *arg,
                      struct locate_query **ret_query)
{
    struct locate_goal g;
    TRY(goal_of(l, u, &g));
    return query_new(l, &g, allowed, done, arg, ret_query);
}

enum err locate_response(struct locate *l, const struct sip_via *via,
                         bool (*allowed)(void *arg, const struct addr *a), locate_fn *done,
                         void *arg, struct locate_query **ret_query)
{
    /* "When this value [TLS] is present, the server MUST use TLS over TCP" */
    struct locate_goal g = {.host = via->host,
                            .port = via->port,
                            .transport = via->transport,
                            .secure = via->transport == SIP_T_TLS};
    if (g.transport != SIP_T_UDP && g.transport != SIP_T_TCP && g.transport != SIP_T_TLS)
        return ERR_UNREACHABLE;
    TRY(goal_host(&g));
    if (g.ip.family ? !sip_has_transport(l->sip, g.transport, g.ip.family)
                    : !locate_has(l, g.transport))
        return ERR_UNREACHABLE;
    if (g.ip.family == 0)
        g.domain = g.host;
    return query_new(l, &g, allowed, done, arg, ret_query);
}

void locate_cancel(struct locate_query *q)
{
    if (q)
        query_free(q);
}

/* ---- beginning and end ---- */

enum err locate_new(struct sip *s, struct locate_shared *sh, struct locate **ret_locate)
{
    struct locate *l = MEM_NEW(struct locate);
    if (!l)
        return ERR_NOMEM;
    l->sip = s;
    l->loop = sip_loop(s);
    l->shared = sh;
    list_init(&l->queries);
    list_init(&l->ready);
    list_init(&l->asked);
    deferred_init(&l->later, on_later, l);
    if (pool_new("locate_query", sizeof(struct locate_query), LOCATE_QUERIES, &l->query_pool) ||
        locate_questions_init(l)) {
        locate_free(l);
        return ERR_NOMEM;
    }
    *ret_locate = l;
    return ERR_OK;
}

void locate_free(struct locate *l)
{
    if (!l)
        return;
    LIST_EACH_SAFE (q, &l->queries, struct locate_query, by_locate) {
        query_free(q);
    }
    locate_questions_free(l);
    loop_defer_cancel(&l->later);
    pool_free(l->query_pool);
    mem_free(l);
}
