/* SPDX-License-Identifier: MIT */
/* sim/sim_dns.c: one resolver for all hosts, answering from zones in text.
 *
 *   example.com              NAPTR 3600 10 50 "s" "SIP+D2U" "" _sip._udp.example.com
 *   _sip._udp.example.com.   SRV   60   1 100 5060 edge.example.com
 *   edge.example.com         A     60   192.0.2.1
 *   www.example.com          CNAME 60   edge.example.com
 *   slow.example.com         TIMEOUT
 *   gone.example.com         NXDOMAIN
 *
 * A `;` begins a comment. A text replaces all earlier records of the names it has. Queries are lost
 * like datagrams (then ERR_TIMEOUT); records of one type come in seeded order. */
#include "sim/sim_priv.h"
#include "str/scan.h"

enum { NAME_MAX_OCTETS = 255, FIELDS_MAX = 10, CHAIN_MAX = 8, NEGATIVE_TTL_S = 30 };
static const usec timeout = 5 * USEC_S, answer_min = 1 * USEC_MS, answer_max = 30 * USEC_MS;

struct zone_rr {
    struct zone_rr *next;
    struct dns_rr rr;
};
struct zone_name {
    struct hash_node by_name;
    struct zone_name *next; /* within one text */
    sv name;
    enum { ZONE_RECORDS, ZONE_TIMEOUT, ZONE_NXDOMAIN } kind;
    struct zone_rr *rrs, **last;
};

struct sim_query {
    struct dns_query query;
    struct link by_loop;
    struct sim_loop *loop;
    struct event *ev; /* NULL: the process is dead */
    char name[NAME_MAX_OCTETS + 1];
    size_t name_n;
    unsigned type;
    bool lost, called;
    dns_fn *fn;
    void *arg;
};

/* ---- zones ---- */

static struct zone_name *find_in(struct zone_name *list, sv name)
{
    while (list && !sv_eq(list->name, name))
        list = list->next;
    return list;
}

static struct zone_name *find(struct sim *s, sv name)
{
    HASH_EACH (z, &s->zone, sim_hash(name.p, name.n), struct zone_name, by_name) {
        if (sv_eq(z->name, name))
            return z;
    }
    return NULL;
}

/* Lower case, no last dot. */
static enum err canonical(struct arena *a, sv text, sv *ret_name)
{
    if (sv_ends(text, SV(".")))
        text.n--;
    if (text.n > NAME_MAX_OCTETS)
        return ERR_SYNTAX;
    return sv_dup_lower(a, text, ret_name);
}

/* The next field of a line: a word, or text in quotes where \x stands for x. */
static enum err field(struct arena *a, struct scan *c, sv *ret_field)
{
    scan_blanks(c);
    size_t n = 0;
    char *out = arena_alloc(a, (size_t)(c->end - c->p) + 1);
    if (!out)
        return ERR_NOMEM;
    if (scan_char(c, '"')) {
        while (c->p < c->end && *c->p != '"') {
            if (*c->p == '\\' && c->p + 1 < c->end)
                c->p++;
            out[n++] = *c->p++;
        }
        if (!scan_char(c, '"'))
            return ERR_SYNTAX;
    } else {
        while (c->p < c->end && *c->p != ' ' && *c->p != '\t')
            out[n++] = *c->p++;
    }
    scan_blanks(c);
    *ret_field = (sv){out, n};
    return ERR_OK;
}

static enum err number(sv text, uint64_t max, uint64_t *ret_value)
{
    return sv_u64(text, max, ret_value) ? ERR_SYNTAX : ERR_OK;
}

static enum err u16(sv text, uint16_t *ret_value)
{
    uint64_t v;
    TRY(number(text, UINT16_MAX, &v));
    *ret_value = (uint16_t)v;
    return ERR_OK;
}

static enum err address(sv text, uint8_t family, struct dns_rr *rr)
{
    struct addr ip;
    if (addr_parse_ip(text, 0, &ip) || ip.family != family)
        return ERR_SYNTAX;
    rr->type = family == 4 ? DNS_A : DNS_AAAA;
    memcpy(rr->ip, ip.ip, sizeof(rr->ip));
    return ERR_OK;
}

static enum err data(struct arena *a, sv type, const sv *f, size_t n, struct dns_rr *rr)
{
    if (sv_ieq(type, SV("A")) && n == 1)
        return address(f[0], 4, rr);
    if (sv_ieq(type, SV("AAAA")) && n == 1)
        return address(f[0], 6, rr);
    if (sv_ieq(type, SV("CNAME")) && n == 1) {
        rr->type = DNS_CNAME;
        return canonical(a, f[0], &rr->cname);
    }
    if (sv_ieq(type, SV("SRV")) && n == 4) {
        rr->type = DNS_SRV;
        TRY(u16(f[0], &rr->srv.priority));
        TRY(u16(f[1], &rr->srv.weight));
        TRY(u16(f[2], &rr->srv.port));
        return canonical(a, f[3], &rr->srv.target);
    }
    if (sv_ieq(type, SV("NAPTR")) && n == 6) {
        rr->type = DNS_NAPTR;
        TRY(u16(f[0], &rr->naptr.order));
        TRY(u16(f[1], &rr->naptr.preference));
        rr->naptr.flags = f[2];
        rr->naptr.service = f[3];
        rr->naptr.regexp = f[4];
        return canonical(a, f[5], &rr->naptr.replacement);
    }
    return ERR_SYNTAX;
}

static enum err line(struct arena *a, sv text, struct zone_name **list)
{
    struct scan c = scan_of(sv_trim(text));
    sv f[FIELDS_MAX], name;
    size_t n = 0;
    while (!scan_end(&c) && n < FIELDS_MAX)
        TRY(field(a, &c, &f[n++]));
    if (n < 2 || !scan_end(&c))
        return ERR_SYNTAX;
    TRY(canonical(a, f[0], &name));
    struct zone_name *z = find_in(*list, name);
    if (!z) {
        z = ARENA_NEW(a, struct zone_name);
        if (!z)
            return ERR_NOMEM;
        z->name = name;
        z->last = &z->rrs;
        z->next = *list;
        *list = z;
    }
    if (n == 2 && sv_ieq(f[1], SV("TIMEOUT"))) {
        z->kind = ZONE_TIMEOUT;
        return ERR_OK;
    }
    if (n == 2 && sv_ieq(f[1], SV("NXDOMAIN"))) {
        z->kind = ZONE_NXDOMAIN;
        return ERR_OK;
    }
    uint64_t ttl;
    struct zone_rr *r = ARENA_NEW(a, struct zone_rr);
    if (!r)
        return ERR_NOMEM;
    if (n < 3)
        return ERR_SYNTAX;
    TRY(number(f[2], INT32_MAX, &ttl));
    r->rr.name = name;
    r->rr.ttl_s = (uint32_t)ttl;
    TRY(data(a, f[1], f + 3, n - 3, &r->rr));
    *z->last = r;
    z->last = &r->next;
    return ERR_OK;
}

/* Where a comment begins: a `;` outside quotes. */
static size_t comment_at(sv text)
{
    bool quoted = false;
    for (size_t i = 0; i < text.n; i++) {
        if (quoted && text.p[i] == '\\')
            i++;
        else if (text.p[i] == '"')
            quoted = !quoted;
        else if (text.p[i] == ';' && !quoted)
            return i;
    }
    return text.n;
}

enum err sim_zone(struct sim *s, sv text)
{
    struct zone_name *list = NULL;
    while (text.n) {
        size_t end = sv_chr(text, '\n');
        sv one = sv_sub(text, 0, end);
        text = sv_sub(text, end + 1, text.n);
        one = sv_trim(sv_sub(one, 0, comment_at(one)));
        if (one.n)
            TRY(line(&s->zone_memory, one, &list));
    }
    for (struct zone_name *z = list; z; z = z->next) {
        struct zone_name *old = find(s, z->name);
        if (old)
            hash_remove(&s->zone, &old->by_name);
        hash_insert(&s->zone, &z->by_name, sim_hash(z->name.p, z->name.n));
    }
    return ERR_OK;
}

/* ---- queries ---- */

static void free_query(struct sim_query *q)
{
    list_unlink(&q->by_loop);
    mem_free(q);
}

static void cancel_op(struct dns_query *query)
{
    struct sim_query *q = CONTAINER(query, struct sim_query, query);
    if (q->called) /* from inside its own answer */
        return;
    if (q->ev) {
        sim_unqueue(q->loop->sim, q->ev);
        sim_event_free(q->loop->sim, q->ev);
    }
    free_query(q);
}

static const struct dns_query_ops query_ops = {.cancel = cancel_op};

enum err sim_dns_query(struct loop *loop, sv name, unsigned type, dns_fn *fn, void *arg,
                       struct dns_query **ret_query)
{
    struct sim_loop *l = sim_loop_of(loop);
    struct sim *s = l->sim;
    if (!sim_alive(l) || loop->stopping)
        return ERR_STATE;
    if (sv_ends(name, SV(".")))
        name.n--;
    if (name.n > NAME_MAX_OCTETS)
        return ERR_TOOBIG;
    struct sim_query *q = MEM_NEW(struct sim_query);
    if (!q)
        return ERR_NOMEM;
    q->query.ops = &query_ops;
    q->loop = l;
    q->type = type;
    q->fn = fn;
    q->arg = arg;
    for (q->name_n = 0; q->name_n < name.n; q->name_n++)
        q->name[q->name_n] = sv_lower(name.p[q->name_n]);
    const struct zone_name *z = find(s, (sv){q->name, q->name_n});
    q->lost = (z && z->kind == ZONE_TIMEOUT) || rng_permille(&s->rng, s->wire.loss_permille);
    q->ev = sim_event_new(s, EV_DNS);
    q->ev->query = q;
    sim_push(s, q->ev, s->now + (q->lost ? timeout : rng_between(&s->rng, answer_min, answer_max)));
    list_push(&l->queries, &q->by_loop);
    *ret_query = &q->query;
    return ERR_OK;
}

/* The records of name and type, behind the aliases that lead to them. ZONE_TIMEOUT on the way is no
 * answer. */
static enum err answer(struct sim *s, const struct sim_query *q, struct dns_rr *rrs,
                       struct dnsmsg *m)
{
    sv name = {q->name, q->name_n};
    *m = (struct dnsmsg){.response = true, .question = name, .question_type = (uint16_t)q->type};
    m->rrs = rrs;
    for (unsigned hops = 0; hops < CHAIN_MAX; hops++) {
        const struct zone_name *z = find(s, name);
        const struct zone_rr *alias = NULL;
        size_t first = m->n;
        if (z && z->kind == ZONE_TIMEOUT)
            return ERR_TIMEOUT;
        if (!z || z->kind == ZONE_NXDOMAIN) {
            m->rcode = 3;
            break;
        }
        for (const struct zone_rr *r = z->rrs; r && m->n < DNSMSG_RRS_MAX; r = r->next) {
            if ((unsigned)r->rr.type == q->type) {
                rrs[m->n++] = r->rr;
            } else if (r->rr.type == DNS_CNAME) {
                alias = r;
            }
        }
        for (size_t n = m->n - first; n > 1; n--) {
            size_t k = rng_below(&s->rng, n);
            struct dns_rr t = rrs[first + n - 1];
            rrs[first + n - 1] = rrs[first + k];
            rrs[first + k] = t;
        }
        if (m->n > first || !alias || m->n == DNSMSG_RRS_MAX)
            break;
        rrs[m->n++] = alias->rr;
        name = alias->rr.cname;
    }
    if (m->rcode || !m->n)
        m->negative_ttl_s = NEGATIVE_TTL_S;
    return ERR_OK;
}

void sim_on_dns(struct sim *s, struct event *e)
{
    struct sim_query *q = e->query;
    struct sim_loop *l = q->loop;
    if (!sim_alive(l)) {
        q->ev = NULL;
        return;
    }
    struct dns_rr rrs[DNSMSG_RRS_MAX];
    struct dnsmsg m;
    enum err rc = q->lost ? ERR_TIMEOUT : answer(s, q, rrs, &m);
    sim_trace_host(s, "dns", l->proc->host, (sv){q->name, q->name_n}, rc ? 1000u + rc : m.n);
    q->ev = NULL;
    sim_turn_begin(l);
    bool wanted = false; /* a timer of this turn may have cancelled it */
    LIST_EACH (it, &l->queries, struct sim_query, by_loop)
        wanted = wanted || it == q;
    if (wanted) {
        q->called = true;
        q->fn(q->arg, rc, rc ? NULL : &m);
        free_query(q);
    }
    sim_turn_end(l);
}

void sim_dns_kill(struct sim_loop *l)
{
    LIST_EACH (q, &l->queries, struct sim_query, by_loop) {
        if (q->ev) {
            sim_unqueue(l->sim, q->ev);
            sim_event_free(l->sim, q->ev);
        }
        q->ev = NULL;
    }
}

void sim_dns_free_all(struct sim_loop *l)
{
    LIST_EACH_SAFE (q, &l->queries, struct sim_query, by_loop)
        cancel_op(&q->query);
}
