/* SPDX-License-Identifier: MIT */
/* transport/transport.c: endpoints, their listeners, and which addresses are ours. */
#include "transport/transport_priv.h"
#include <assert.h>

enum { DIRECTORY_MIN = 1024, DIRECTORY_MAX = 4 * 1024 * 1024, TEXTS_MAX = 64 * 1024 };

bool flow_equal(const struct flow *a, const struct flow *b)
{
    return a->transport == b->transport && a->listener == b->listener && a->conn == b->conn &&
           (a->conn == 0 || a->worker == b->worker) && addr_equal(&a->local, &b->local) &&
           addr_equal(&a->remote, &b->remote);
}

enum err sip_shared_new(const uint8_t secret[static HOME_SECRET], struct loop_group *g,
                        const struct sip_config *c, struct sip_shared **ret_shared)
{
    assert(c->listeners <= SIP_LISTENERS_MAX);
    struct sip_shared *sh = MEM_NEW(struct sip_shared);
    if (!sh)
        return ERR_NOMEM;
    sh->group = g;
    sh->config = *c;
    arena_init(&sh->memory, NULL, 0, TEXTS_MAX);
    /* Every transaction may hold a claim, and so may a message that is on its way. */
    size_t entries =
        c->transactions > DIRECTORY_MAX / g->n ? DIRECTORY_MAX : c->transactions * g->n;
    enum err rc = ERR_OK;
    for (unsigned i = 0; i < c->listeners && !rc; i++)
        if (sv_present(c->listen[i].advertise))
            rc = sv_dup(&sh->memory, c->listen[i].advertise, &sh->config.listen[i].advertise);
    if (!rc)
        rc = home_new(secret, g->n, entries < DIRECTORY_MIN ? DIRECTORY_MIN : entries, &sh->home);
    if (rc) {
        sip_shared_free(sh);
        return rc;
    }
    *ret_shared = sh;
    return ERR_OK;
}

void sip_shared_free(struct sip_shared *sh)
{
    if (!sh)
        return;
    home_free(sh->home);
    arena_done(&sh->memory);
    mem_free(sh);
}

static enum err endpoint_init(struct sip *s)
{
    size_t n = s->conns_max;
    TRY(pool_new("sip_connections", sizeof(struct conn), n, &s->conn_pool));
    s->conn = mem_calloc(n, sizeof *s->conn);
    s->generation = mem_calloc(n, sizeof *s->generation);
    s->vacant = mem_calloc(n, sizeof *s->vacant);
    if (!s->conn || !s->generation || !s->vacant)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        s->vacant[i] = (uint32_t)(n - 1 - i);
    TRY(hash_init(&s->by_remote, 64));
    return hash_init(&s->by_source, 64);
}

enum err sip_new(struct loop *l, struct sip_shared *sh, const struct sip_user *u, void *arg,
                 struct sip **ret_sip)
{
    struct sip *s = MEM_NEW(struct sip);
    if (!s)
        return ERR_NOMEM;
    s->loop = l;
    s->shared = sh;
    s->user = u;
    s->arg = arg;
    s->conns_max = sh->config.connections ? sh->config.connections : 1;
    list_init(&s->live);
    list_init(&s->dead);
    list_init(&s->failed);
    for (size_t i = 0; i < SIP_WAITING; i++)
        list_init(&s->waiting[i]);
    deferred_init(&s->later, sip_later, s);
    for (unsigned i = 0; i < SIP_LISTENERS_MAX; i++)
        s->port[i] = (struct sip_port){.sip = s, .index = (uint8_t)i};
    enum err rc = endpoint_init(s);
    if (rc) {
        sip_free(s);
        return rc;
    }
    sh->endpoint[l->worker] = s;
    *ret_sip = s;
    return ERR_OK;
}

enum err sip_listen(struct sip *s, unsigned i)
{
    struct sip_listen *c = &s->shared->config.listen[i];
    struct sip_port *p = &s->port[i];
    assert(i < s->shared->config.listeners);
    if (p->open)
        return ERR_STATE;
    if (c->transport == SIP_T_UDP) {
        TRY(udp_open(s->loop, &c->bind, &sip_udp_handler, p, &p->udp));
        p->local = p->udp->local;
    } else if (c->transport == SIP_T_TCP) {
        TRY(stream_listen(s->loop, &c->bind, &sip_listener_handler, p, &p->listener));
        p->local = p->listener->local;
    } else {
        return ERR_UNSUPPORTED;
    }
    p->open = true;
    /* During set-up only: the other workers open the port that the first one found. */
    if (c->bind.port == 0)
        c->bind.port = p->local.port;
    return ERR_OK;
}

void sip_free(struct sip *s)
{
    if (!s)
        return;
    if (s->txn_ops)
        s->txn_ops->free(s->txns);
    for (struct link *l; (l = list_pop(&s->live));)
        conn_bury(CONTAINER(l, struct conn, by_life));
    for (struct link *l; (l = list_pop(&s->dead));)
        conn_bury(CONTAINER(l, struct conn, by_life));
    for (unsigned i = 0; i < SIP_LISTENERS_MAX; i++) {
        udp_close(s->port[i].udp);
        listener_close(s->port[i].listener);
    }
    for (size_t i = 0; i < SIP_WAITING; i++)
        for (struct link *l; (l = list_pop(&s->waiting[i]));)
            sip_send_cancel(CONTAINER(l, struct sip_sent, by_pending));
    while (list_pop(&s->failed))
        ;
    loop_defer_cancel(&s->later);
    if (s->shared->endpoint[s->loop->worker] == s)
        s->shared->endpoint[s->loop->worker] = NULL;
    hash_done(&s->by_remote);
    hash_done(&s->by_source);
    pool_free(s->conn_pool);
    mem_free(s->conn);
    mem_free(s->generation);
    mem_free(s->vacant);
    mem_free(s);
}

struct loop *sip_loop(const struct sip *s)
{
    return s->loop;
}

const struct sip_config *sip_config(const struct sip *s)
{
    return &s->shared->config;
}

struct home *sip_home(const struct sip *s)
{
    return s->shared->home;
}

size_t sip_transactions(const struct sip *s)
{
    return s->txn_ops ? s->txn_ops->count(s->txns) : 0;
}

size_t sip_connections(const struct sip *s)
{
    return s->conns;
}

void sip_set_txns(struct sip *s, const struct sip_txn_ops *ops, void *table)
{
    s->txn_ops = ops;
    s->txns = table;
}

void *sip_txns(struct sip *s)
{
    return s->txns;
}

const struct sip_user *sip_user_of(struct sip *s, void **ret_arg)
{
    *ret_arg = s->arg;
    return s->user;
}

uint64_t sip_addr_hash(const struct sip *s, const struct addr *a)
{
    uint8_t key[ADDR_KEY];
    addr_key(a, key);
    sv piece = {(const char *)key, sizeof key};
    return home_hash(s->shared->home, &piece, 1);
}

/* ---- own addresses ---- */

static bool known(const struct sip *s, const struct addr *ip)
{
    for (unsigned i = 0; i < s->known_n; i++)
        if (addr_equal_ip(&s->known[i], ip))
            return true;
    return false;
}

void sip_learn(struct sip *s, const struct addr *local)
{
    if (s->known_n < SIP_KNOWN && local->family && !addr_is_any(local) && !known(s, local))
        s->known[s->known_n++] = *local;
}

/* ip is an address of this machine: octets came to it, or the routing table says that the way to it
 * starts at it. */
static bool own_ip(struct sip *s, const struct addr *ip)
{
    struct addr from;
    if (known(s, ip))
        return true;
    if (addr_is_any(ip) || addr_class(ip) == ADDR_MULTICAST ||
        sock_source_for(s->loop, ip, &from) || !addr_equal_ip(&from, ip))
        return false;
    sip_learn(s, ip);
    return true;
}

bool sip_is_local(const struct sip *cs, sv host, uint16_t port)
{
    struct sip *s = (struct sip *)cs; /* what is learnt is a cache */
    const struct sip_config *c = &s->shared->config;
    uint8_t ip[16];
    size_t n = 0;
    struct addr a = {0};
    if (port == 0)
        port = SIP_PORT;
    if (!uri_host_ip(host, ip, &n))
        a = addr_from_ip(ip, n, port);
    for (unsigned i = 0; i < c->listeners; i++) {
        const struct sip_port *p = &s->port[i];
        if (!p->open || p->local.port != port)
            continue;
        if (sv_present(c->listen[i].advertise) && sv_ieq(c->listen[i].advertise, host))
            return true;
        if (a.family == 0 || a.family != p->local.family)
            continue;
        if (addr_is_any(&p->local) ? own_ip(s, &a) : addr_equal_ip(&p->local, &a))
            return true;
    }
    return false;
}

/* ---- which listener ---- */

/* How well a listener bound to `local` suits requests to `to`; 0: not at all. */
static int suits(const struct addr *local, const struct addr *source, const struct addr *to)
{
    if (local->family != to->family)
        return 0;
    if (addr_is_any(local))
        return source->family ? 2 : 0;
    if (addr_equal_ip(local, source))
        return 3;
    /* The kernel sends nothing from a loopback address to the outside. */
    return addr_class(local) == ADDR_LOOPBACK && addr_class(to) != ADDR_LOOPBACK ? 0 : 1;
}

enum err sip_port_for(struct sip *s, enum sip_transport t, const struct addr *to,
                      struct sip_port **ret_port, struct addr *ret_local)
{
    struct addr source = {0};
    struct sip_port *best = NULL;
    int best_rank = 0;
    if (sock_source_for(s->loop, to, &source))
        source = (struct addr){0};
    for (unsigned i = 0; i < s->shared->config.listeners; i++) {
        struct sip_port *p = &s->port[i];
        if (!p->open || s->shared->config.listen[i].transport != t)
            continue;
        int rank = suits(&p->local, &source, to);
        if (rank > best_rank) {
            best_rank = rank;
            best = p;
        }
    }
    if (!best)
        return ERR_UNREACHABLE;
    *ret_port = best;
    *ret_local = best->local;
    if (addr_is_any(&best->local)) {
        *ret_local = source;
        ret_local->port = best->local.port;
        sip_learn(s, ret_local);
    }
    return ERR_OK;
}

enum err sip_flow_for(struct sip *s, const struct dest *d, struct flow *ret_flow)
{
    if (d->flow.transport != SIP_T_NONE && (d->flow.conn || !flow_reliable(&d->flow))) {
        *ret_flow = d->flow;
        return ERR_OK;
    }
    bool by_flow = d->flow.transport != SIP_T_NONE;
    const struct addr *to = by_flow ? &d->flow.remote : &d->addr;
    enum sip_transport t = by_flow ? d->flow.transport : d->transport;
    struct conn *c = t == SIP_T_UDP ? NULL : conn_to(s, t, to);
    if (c) {
        *ret_flow = c->flow;
        return ERR_OK;
    }
    struct sip_port *p;
    struct addr local;
    TRY(sip_port_for(s, t, to, &p, &local));
    *ret_flow = (struct flow){.transport = t,
                              .listener = p->index,
                              .worker = (uint8_t)s->loop->worker,
                              .local = local,
                              .remote = *to};
    return ERR_OK;
}

void sip_put_hostport(struct sip *s, struct buf *b, const struct flow *f)
{
    sv advertise = s->shared->config.listen[f->listener].advertise;
    if (sv_present(advertise))
        buf_put(b, advertise);
    else
        addr_print_host(b, &f->local);
    buf_char(b, ':');
    buf_u64(b, f->local.port);
}

void sip_put_via(struct sip *s, struct buf *b, const struct flow *f, uint16_t slot, sv suffix,
                 sv *ret_branch)
{
    buf_put(b, SV("SIP/2.0/"));
    buf_put(b, sip_transport_name(f->transport));
    buf_char(b, ' ');
    sip_put_hostport(s, b, f);
    buf_put(b, SV(";branch="));
    size_t from = b->n;
    buf_put(b, SV("z9hG4bK"));
    home_mark(s->shared->home, slot, loop_random(s->loop), b);
    buf_put(b, suffix);
    size_t to = b->n;
    /* RFC 3581 §3: the client adds rport; over streams the answer comes back on the connection. */
    if (f->transport == SIP_T_UDP)
        buf_put(b, SV(";rport"));
    *ret_branch = sv_sub(buf_sv(b), from, to);
}
