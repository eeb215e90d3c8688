/* SPDX-License-Identifier: MIT */
/* transport/transport.c: endpoints, and what those of one process share. */
#include "transport/transport_priv.h"
#include <assert.h>

enum { DIRECTORY_MIN = 1024, DIRECTORY_MAX = 4 * 1024 * 1024, TEXTS_MAX = 1024 * 1024 };
#define HANDSHAKE_TIME (10 * USEC_S) /* unless the configuration says another */

/* The configuration's texts, in memory of our own. */
static enum err own_texts(struct sip_shared *sh)
{
    struct sip_config *c = &sh->config;
    for (unsigned i = 0; i < c->listeners; i++) {
        struct sip_listen *l = &c->listen[i];
        if (sv_present(l->advertise))
            TRY(sv_dup(&sh->memory, l->advertise, &l->advertise));
        for (unsigned k = 0; k < l->origins_n; k++)
            TRY(sv_dup(&sh->memory, l->origins[k], &l->origins[k]));
    }
    for (unsigned i = 0; i < c->zones; i++)
        if (sv_present(c->zone[i].name))
            TRY(sv_dup(&sh->memory, c->zone[i].name, &c->zone[i].name));
    return ERR_OK;
}

static enum err shared_init(struct sip_shared *sh, const uint8_t secret[static HOME_SECRET])
{
    struct sip_config *c = &sh->config;
    unsigned workers = sh->group->n;
    /* Every transaction may hold a claim, and so may a message that is on its way. */
    size_t each = c->transactions * SIP_STANDING;
    size_t entries = each > DIRECTORY_MAX / workers ? DIRECTORY_MAX : each * workers;
    TRY(own_texts(sh));
    TRY(home_new(secret, workers, entries < DIRECTORY_MIN ? DIRECTORY_MIN : entries, &sh->home));
    TRY(names_new(&sh->names));
    TRY(sources_new(sh->connections * workers, &sh->sources));
    for (unsigned i = 0; i < workers; i++) {
        sh->place[i] = mem_calloc(sh->connections, sizeof *sh->place[i]);
        if (!sh->place[i])
            return ERR_NOMEM;
    }
    return ERR_OK;
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
    sh->connections = c->connections ? c->connections : 1;
    if (sh->connections > SIP_CONNECTIONS_MAX)
        sh->connections = SIP_CONNECTIONS_MAX;
    if (sh->config.handshake == 0)
        sh->config.handshake = HANDSHAKE_TIME;
    arena_init(&sh->memory, NULL, 0, TEXTS_MAX);
    enum err rc = shared_init(sh, secret);
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
    for (unsigned i = 0; i < LOOP_WORKERS_MAX; i++)
        mem_free(sh->place[i]);
    sources_free(sh->sources);
    names_free(sh->names);
    home_free(sh->home);
    arena_done(&sh->memory);
    mem_free(sh);
}

static enum err endpoint_init(struct sip *s)
{
    size_t n = s->conns_max;
    /* Those that ended in this turn are still there besides. */
    TRY(pool_new("sip_connections", sizeof(struct conn), 2 * n + CONN_SLACK, &s->conn_pool));
    s->conn = mem_calloc(n, sizeof *s->conn);
    s->generation = mem_calloc(n, sizeof *s->generation);
    s->vacant = mem_calloc(n, sizeof *s->vacant);
    s->returned_next = mem_calloc(n, sizeof *s->returned_next);
    if (!s->conn || !s->generation || !s->vacant || !s->returned_next)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        s->vacant[i] = (uint32_t)(n - 1 - i);
    /* What a process wrote into bindings and tokens before this one is no connection of ours. */
    uint32_t first = (uint32_t)loop_random(s->loop);
    for (size_t i = 0; i < n; i++)
        s->generation[i] = first;
    return hash_init(&s->by_remote, 64);
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
    s->conns_max = sh->connections;
    list_init(&s->live);
    list_init(&s->trial);
    list_init(&s->spoke);
    list_init(&s->dead);
    list_init(&s->failed);
    for (size_t i = 0; i < SIP_WAITING; i++)
        list_init(&s->waiting[i]);
    deferred_init(&s->later, sip_later, s);
    conn_spread_init(s);
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

/* Those that it serves, and those that it keeps, whoever serves them: all threads have ended. */
static void free_conns(struct sip *s)
{
    for (struct link *l; (l = list_pop(&s->live));)
        conn_bury(CONTAINER(l, struct conn, by_life));
    for (struct link *l; (l = list_pop(&s->dead));)
        conn_bury(CONTAINER(l, struct conn, by_life));
    if (!s->returned_next)
        return;
    conn_take_back(s);
    for (size_t i = 0; i < s->conns_max && s->conns > 0; i++) {
        struct conn *c = s->conn[i];
        if (c && !list_linked(&c->by_life)) { /* it was on its way, and counted nowhere */
            c->sip = s;
            stat_add(&s->loop->stats, STAT_TCP_CONNECTIONS, 1);
            stat_add(&s->loop->stats, STAT_WEBSOCKETS, conn_is_websocket(c));
        }
        if (c)
            conn_bury(c);
    }
    conn_take_back(s);
}

void sip_free(struct sip *s)
{
    if (!s)
        return;
    if (s->txn_ops)
        s->txn_ops->free(s->txns);
    free_conns(s);
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
    loop_defer_cancel(&s->spreading);
    if (s->shared->endpoint[s->loop->worker] == s)
        s->shared->endpoint[s->loop->worker] = NULL;
    hash_done(&s->by_remote);
    pool_free(s->conn_pool);
    mem_free(s->conn);
    mem_free(s->generation);
    mem_free(s->vacant);
    mem_free(s->returned_next);
    tls_unref(s->tls);
    mem_free(s);
}

void sip_tls(struct sip *s, struct tls *t)
{
    struct tls *old = s->tls;
    s->tls = t ? tls_ref(t) : NULL;
    tls_unref(old);
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
    return (size_t)stat_get(&s->loop->stats, STAT_TCP_CONNECTIONS);
}

unsigned sip_transactions_full(const struct sip *s)
{
    return s->txn_ops ? s->txn_ops->full(s->txns) : 0;
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
