/* SPDX-License-Identifier: MIT */
/* locate/locate.c: queries, from a URI to a set of targets. Spec RFC 3263 §4, §5.
 *
 *   number ────────────────────────────────────────────────► one address
 *   name:port ───────────────────────────────► A, AAAA ────► addresses
 *   name;transport=t ────────────► SRV of t ─► A, AAAA
 *   name ─► NAPTR ─► SRV it names            ▲
 *             └ none ─► SRV of each ─ none ──┘ of the name, default port
 *
 * A query remembers the answers it has got and is worked out anew from the URI with each that comes:
 * what is missing is asked, what is there gives targets, and when nothing is missing that is the
 * set. The chance that orders SRV records comes from one seed, so every working-out agrees. */
#include "locate/locate_priv.h"

enum { PORT = 5060, PORT_TLS = 5061 };

struct goal {
    sv host;        /* the TARGET: lower case needed, no last dot */
    sv domain;      /* whom TLS must show (RFC 5922 §7.3); absent: the address */
    struct addr ip; /* family 0: a name */
    uint16_t port;
    enum sip_transport transport; /* NONE: not said */
    bool secure;                  /* TLS or nothing */
};

struct locate_query {
    struct locate *l;
    struct link by_locate, by_ready;
    struct timer timer;
    bool (*allowed)(void *arg, const struct addr *a);
    locate_fn *done;
    void *arg;
    struct goal goal; /* its texts are below */
    char host[LOCATE_NAME_MAX + 1], domain[LOCATE_NAME_MAX + 1];
    uint64_t seed;
    usec end;
    bool impatient;
    unsigned slots;
    struct locate_slot slot[LOCATE_QUESTIONS];
};

/* One working-out. */
struct work {
    struct locate_query *q;
    struct locate_set *set;
    uint64_t seed;
    unsigned pending; /* questions under way */
    unsigned waiting; /* names among them that will give targets */
    bool refused;     /* a record, or a limit */
    enum err rc;      /* why the DNS said nothing, first */
};

/* ---- transports ---- */

static bool has(const struct locate *l, enum sip_transport t)
{
    return sip_has_transport(l->sip, t, 4) || sip_has_transport(l->sip, t, 6);
}

/* RFC 3263 §4.1: "the client SHOULD use UDP for a SIP URI, and TCP for a SIPS URI", there under TLS. */
static enum sip_transport transport_of(const struct locate *l, const struct goal *g)
{
    if (g->transport != SIP_T_NONE)
        return g->transport;
    if (g->secure)
        return SIP_T_TLS;
    return has(l, SIP_T_UDP) || !has(l, SIP_T_TCP) ? SIP_T_UDP : SIP_T_TCP;
}

static uint16_t port_of(const struct goal *g, enum sip_transport t)
{
    return g->port ? g->port : t == SIP_T_TLS ? PORT_TLS : PORT;
}

/* ---- what is asked for ---- */

static sv without_last_dot(sv host)
{
    return sv_ends(host, SV(".")) ? sv_sub(host, 0, host.n - 1) : host;
}

/* A number goes to ip, a name stays. Errors: ERR_UNREACHABLE (a name that no DNS has). */
static enum err goal_host(struct goal *g)
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

static enum err goal_of(const struct locate *l, const struct uri *u, struct goal *ret_goal)
{
    struct goal g = {.host = u->host, .port = u->port, .secure = u->scheme == URI_SIPS};
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
    enum sip_transport t = transport_of(l, &g);
    bool reachable = g.ip.family ? sip_has_transport(l->sip, t, g.ip.family)
                                 : has(l, t) || (g.transport == SIP_T_NONE && !g.secure);
    if (!reachable)
        return ERR_UNREACHABLE;
    *ret_goal = g;
    return ERR_OK;
}

static struct dest dest_of(const struct addr *ip, uint16_t port, enum sip_transport t)
{
    struct dest d = {.addr = *ip, .transport = t};
    d.addr.port = port;
    return d;
}

/* The name is looked up at last: a table that forgets stands behind it. */
static void put_name(struct locate *l, const struct goal *g, struct locate_set *set)
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
    struct goal g;
    TRY(goal_of(l, u, &g));
    if (g.ip.family == 0)
        return ERR_MORE;
    enum sip_transport t = transport_of(l, &g);
    ret_set->dest[0] = dest_of(&g.ip, port_of(&g, t), t);
    ret_set->n = 1;
    ret_set->until = USEC_NEVER;
    put_name(l, &g, ret_set);
    return ERR_OK;
}

/* ---- working out ---- */

/* The answer, if it is here; else it is asked, and pending says so. */
static const struct locate_answer *get(struct work *w, sv name, enum dns_type type)
{
    struct locate_query *q = w->q;
    struct locate_slot *slot = NULL;
    for (unsigned i = 0; i < q->slots && !slot; i++)
        if (locate_slot_is(&q->slot[i], name, type))
            slot = &q->slot[i];
    if (!slot) {
        if (q->slots == LOCATE_QUESTIONS) {
            w->refused = true;
            return NULL;
        }
        slot = &q->slot[q->slots];
        slot->query = q;
        list_init(&slot->by_question);
        enum err rc = locate_ask(q->l, name, type, slot);
        if (rc) {
            if (!w->rc && rc != ERR_NOTFOUND)
                w->rc = rc;
            return NULL;
        }
        q->slots++;
    }
    if (!slot->answer) {
        w->pending++;
        return NULL;
    }
    if (slot->answer->rc && slot->answer->rc != ERR_NOTFOUND && !w->rc)
        w->rc = slot->answer->rc;
    return slot->answer->n > 0 ? slot->answer : NULL;
}

static void rests_on(struct work *w, const struct locate_answer *a)
{
    if (a->until < w->set->until)
        w->set->until = a->until;
}

static void add(struct work *w, const struct addr *ip, uint16_t port, enum sip_transport t)
{
    const struct locate_query *q = w->q;
    struct locate_set *set = w->set;
    struct dest d = dest_of(ip, port, t);
    struct flow way;
    if (set->n == LOCATE_TARGETS_MAX || (q->allowed && !q->allowed(q->arg, &d.addr))) {
        w->refused = true;
        return;
    }
    if (!sip_has_transport(q->l->sip, t, d.addr.family) || sip_flow_for(q->l->sip, &d, &way))
        return; /* RFC 6724 §5 rule 1: there is no way to it from here */
    for (unsigned i = 0; i < set->n; i++)
        if (addr_equal(&set->dest[i].addr, &d.addr) && set->dest[i].transport == t)
            return;
    set->dest[set->n++] = d;
}

static void add_record(struct work *w, const struct locate_answer *a, unsigned i, uint16_t port,
                       enum sip_transport t)
{
    if (!a || i >= a->n)
        return;
    struct addr ip = addr_from_ip(a->record[i].ip, a->type == DNS_A ? 4 : 16, port);
    rests_on(w, a);
    add(w, &ip, port, t);
}

/* RFC 7984 §3.1: a dual-stack client looks up both; §4: in the order of one name's addresses alone. */
static void addresses(struct work *w, sv name, uint16_t port, enum sip_transport t)
{
    const struct locate_answer *v6 = NULL, *v4 = NULL;
    unsigned pending = w->pending;
    if (w->set->n + w->waiting >= LOCATE_TARGETS_MAX) {
        w->refused = true;
        return;
    }
    if (sip_has_transport(w->q->l->sip, t, 6))
        v6 = get(w, name, DNS_AAAA);
    if (sip_has_transport(w->q->l->sip, t, 4))
        v4 = get(w, name, DNS_A);
    w->waiting += w->pending > pending;
    for (unsigned i = 0; (v6 && i < v6->n) || (v4 && i < v4->n); i++) {
        add_record(w, v6, i, port, t);
        add_record(w, v4, i, port, t);
    }
}

/* RFC 2782: "A Target of '.' means that the service is decidedly not available at this domain": NEVER. */
enum found { NONE, PENDING, THERE, NEVER };

static enum found servers(struct work *w, sv name, enum sip_transport t)
{
    uint8_t order[LOCATE_RECORDS];
    unsigned pending = w->pending;
    const struct locate_answer *a = get(w, name, DNS_SRV);
    if (!a)
        return w->pending > pending ? PENDING : NONE;
    if (a->n == 1 && a->record[0].name_n == 0)
        return NEVER;
    rests_on(w, a);
    locate_order_srv(a, &w->seed, order);
    for (unsigned i = 0; i < a->n; i++) {
        const struct locate_record *r = &a->record[order[i]];
        if (r->name_n > 0 && r->port > 0)
            addresses(w, locate_record_name(a, r), r->port, t);
        else
            w->refused = true;
    }
    return THERE;
}

/* The SRV records of the host itself for a transport (RFC 3263 §4.2). */
static enum found service(struct work *w, enum sip_transport t)
{
    char mem[LOCATE_NAME_MAX];
    struct buf b;
    if (!has(w->q->l, t))
        return NONE;
    buf_init(&b, mem, sizeof mem);
    buf_str(&b, t == SIP_T_TLS ? "_sips._tcp." : t == SIP_T_TCP ? "_sip._tcp." : "_sip._udp.");
    buf_put(&b, w->q->goal.host);
    return b.rc ? NONE : servers(w, buf_sv(&b), t);
}

static void by_transport(struct work *w, enum sip_transport t)
{
    if (service(w, t) == NONE)
        addresses(w, w->q->goal.host, port_of(&w->q->goal, t), t);
}

/* RFC 3403 §4.1: "once a match is found the Client MUST NOT consider any NAPTRs with a higher value
 * of ORDER". Those of the same order come by preference. */
static bool by_naptr(struct work *w)
{
    const struct locate_query *q = w->q;
    const struct locate_record *first = NULL;
    const struct locate_answer *a = get(w, q->goal.host, DNS_NAPTR);
    if (!a)
        return w->pending > 0;
    for (unsigned i = 0; i < a->n; i++) {
        const struct locate_record *r = &a->record[i];
        enum sip_transport t = (enum sip_transport)r->transport;
        /* RFC 3263 §4.1: "a client resolving a SIPS URI MUST discard any services that do not
         * contain 'SIPS'" */
        if ((q->goal.secure && t != SIP_T_TLS) || !has(q->l, t))
            continue;
        if (!first)
            first = r;
        if (r->order != first->order)
            break;
        rests_on(w, a);
        if (servers(w, locate_record_name(a, r), t) == NONE)
            addresses(w, q->goal.host, port_of(&q->goal, t), t);
    }
    return first != NULL;
}

static void by_name(struct work *w)
{
    if (by_naptr(w))
        return;
    if (w->q->goal.secure) {
        by_transport(w, SIP_T_TLS);
        return;
    }
    /* RFC 3263 §4.1: "does a query for each": so all are asked at once. */
    enum found tls = service(w, SIP_T_TLS);
    if (tls == THERE)
        return;
    enum found udp = service(w, SIP_T_UDP), tcp = service(w, SIP_T_TCP);
    if (tls == PENDING || udp == PENDING || tcp == PENDING || udp == THERE || tcp == THERE)
        return;
    enum sip_transport t = transport_of(w->q->l, &w->q->goal);
    if ((t == SIP_T_UDP ? udp : tcp) == NONE)
        addresses(w, w->q->goal.host, port_of(&w->q->goal, t), t);
}

static void work_out(struct locate_query *q, struct work *w, struct locate_set *set)
{
    *w = (struct work){.q = q, .set = set, .seed = q->seed};
    set->n = 0;
    set->until = USEC_NEVER;
    const struct goal *g = &q->goal;
    enum sip_transport t = transport_of(q->l, g);
    if (g->ip.family)
        add(w, &g->ip, port_of(g, t), t);
    else if (g->port)
        addresses(w, g->host, g->port, t);
    else if (g->transport != SIP_T_NONE)
        by_transport(w, t);
    else
        by_name(w);
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
static void finish(struct locate_query *q, const struct work *w, enum err none)
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
static enum err reason(const struct work *w)
{
    if (w->rc == ERR_TIMEOUT || w->rc == ERR_NOMEM || w->rc == ERR_BUSY)
        return w->rc;
    return w->rc ? ERR_UNREACHABLE : ERR_NOTFOUND;
}

static void advance(struct locate_query *q)
{
    struct locate_set set;
    struct work w;
    work_out(q, &w, &set);
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
    struct work w;
    (void)t;
    work_out(q, &w, &set);
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

static enum err query_new(struct locate *l, const struct goal *g,
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
    struct goal g;
    TRY(goal_of(l, u, &g));
    return query_new(l, &g, allowed, done, arg, ret_query);
}

enum err locate_response(struct locate *l, const struct sip_via *via,
                         bool (*allowed)(void *arg, const struct addr *a), locate_fn *done,
                         void *arg, struct locate_query **ret_query)
{
    /* "When this value [TLS] is present, the server MUST use TLS over TCP" */
    struct goal g = {.host = via->host,
                     .port = via->port,
                     .transport = via->transport,
                     .secure = via->transport == SIP_T_TLS};
    if (g.transport != SIP_T_UDP && g.transport != SIP_T_TCP && g.transport != SIP_T_TLS)
        return ERR_UNREACHABLE;
    TRY(goal_host(&g));
    if (g.ip.family ? !sip_has_transport(l->sip, g.transport, g.ip.family) : !has(l, g.transport))
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
