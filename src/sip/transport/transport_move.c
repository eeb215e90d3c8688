/* SPDX-License-Identifier: MIT */
/* transport/transport_move.c: where a connection is, and how it goes to another worker.
 *
 * A connection is named by the worker that accepted it and a slot there, for ever. That worker keeps its record
 * and its slot; whose thread serves it is said by its place, and may change:
 *
 *   shared.place[worker][slot]   generation 32 | moving 1 | - 1 | owner 6 | slot + 1 24;  0: it is gone
 *
 *   sender            owner                                   sender
 *   message ─ mail ─► sends it; at rest? place: moving ─ mail ─► place: owner; serves it from here on
 *
 * So two phones that talk to each other are served by one thread, after one message that had to wake another.
 * Only what somebody is registered on moves (kept), so that the lists of those that make room hold none from
 * elsewhere, and only by its peer's opening, since who opened one looks for it by its address. A connection moves
 * once in MOVE_AGAIN at most, and to no worker that is busy: there a message costs no waking up. Where so many
 * have gathered that their worker has hardly any rest, one after the other goes to a worker that has.
 *
 * What is sent on it meanwhile follows: whoever gets mail for a connection that is elsewhere sends it on, and to
 * himself again while it is on its way to him. */
#include "transport/transport_priv.h"

enum { OWNER_AT = 24, OWNER_MAX = 63 };
enum {
    IDLE = 250,
    BUSY = 500,
    FULL = 750
}; /* permille: takes what others spread; takes none; spreads */
#define MOVE_AGAIN   (1 * USEC_S)
#define SPREAD_AGAIN (100 * USEC_MS) /* as often as it is measured how busy a worker is */
#define MOVING       ((uint64_t)1 << 31)
#define OWNERS       ((uint64_t)OWNER_MAX << OWNER_AT)
_Static_assert(LOOP_WORKERS_MAX - 1 <= OWNER_MAX, "a place has room for each worker");
_Static_assert(SIP_CONNECTIONS_MAX < 1 << OWNER_AT, "and for each slot");

/* ---- places ---- */

/* 0: there is no such connection. */
static uint64_t place_of(const struct sip_shared *sh, const struct flow *f)
{
    uint64_t slot = (f->conn & UINT32_MAX) - 1;
    if (f->conn == 0 || f->worker >= sh->group->n || slot >= sh->connections)
        return 0;
    uint64_t place = atomic_load_explicit(&sh->place[f->worker][slot], memory_order_acquire);
    return (place & ~(MOVING | OWNERS)) == f->conn ? place : 0;
}

static void place_set(struct sip_shared *sh, const struct conn *c, unsigned owner, uint64_t moving)
{
    uint64_t slot = (c->flow.conn & UINT32_MAX) - 1;
    atomic_store_explicit(&sh->place[c->flow.worker][slot],
                          c->flow.conn | (uint64_t)owner << OWNER_AT | moving,
                          memory_order_release);
}

void conn_here(struct conn *c)
{
    place_set(c->sip->shared, c, c->sip->loop->worker, 0);
}

void conn_nowhere(const struct conn *c)
{
    uint64_t slot = (c->flow.conn & UINT32_MAX) - 1;
    atomic_store_explicit(&c->sip->shared->place[c->flow.worker][slot], 0, memory_order_release);
}

unsigned conn_owner(const struct sip *s, const struct flow *f)
{
    uint64_t place = place_of(s->shared, f);
    return place ? (unsigned)((place & OWNERS) >> OWNER_AT) : f->worker;
}

/* Not of one that is gone. */
static bool is_elsewhere(const struct sip *s, uint64_t place)
{
    return (place & (MOVING | OWNERS)) != (uint64_t)s->loop->worker << OWNER_AT;
}

bool conn_elsewhere(const struct sip *s, const struct flow *f)
{
    uint64_t place = place_of(s->shared, f);
    return place && is_elsewhere(s, place);
}

bool conn_is_here(const struct sip *s, const struct flow *f)
{
    uint64_t place = place_of(s->shared, f);
    return place ? !is_elsewhere(s, place) : f->worker == s->loop->worker;
}

/* Of a record of another worker nothing is touched unless its place is here. That is asked once: one that
 * is elsewhere may end at any time, and what is gone is not elsewhere. */
struct conn *conn_of_flow(struct sip *s, const struct flow *f)
{
    uint64_t place = place_of(s->shared, f);
    if (!place || is_elsewhere(s, place))
        return NULL;
    struct conn *c = s->shared->endpoint[f->worker]->conn[(f->conn & UINT32_MAX) - 1];
    return c->flow.transport == f->transport && addr_equal(&c->flow.remote, &f->remote) ? c : NULL;
}

/* ---- records that come back ---- */

/* A stack that others push to and the owner takes whole. */
void conn_give_back(struct conn *c)
{
    struct sip *home = c->sip->shared->endpoint[c->flow.worker];
    uint32_t slot = (uint32_t)(c->flow.conn & UINT32_MAX) - 1;
    uint32_t head = atomic_load_explicit(&home->returned, memory_order_relaxed);
    do
        home->returned_next[slot] = head;
    while (!atomic_compare_exchange_weak_explicit(&home->returned, &head, slot + 1,
                                                  memory_order_release, memory_order_relaxed));
}

void conn_take_back(struct sip *s)
{
    if (atomic_load_explicit(&s->returned, memory_order_relaxed) == 0)
        return;
    uint32_t next, at = atomic_exchange_explicit(&s->returned, 0, memory_order_acquire);
    for (; at; at = next) {
        uint32_t slot = at - 1;
        next = s->returned_next[slot];
        pool_put(s->conn_pool, s->conn[slot]);
        s->conn[slot] = NULL;
        s->vacant[s->conns_max - s->conns--] = slot;
    }
}

/* ---- moving ---- */

/* A connection on its way. Should the process end meanwhile, its record is still with who keeps it. */
struct move {
    struct mail mail;
    struct block *self;
    struct sip_shared *shared;
    struct conn *conn;
};

/* Into the books of s, but for its place. */
static void enter(struct sip *s, struct conn *c)
{
    c->sip = s;
    list_push(&s->live, &c->by_life);
    loop_timer(s->loop, &c->idle, s->shared->config.idle);
    stat_add(&s->loop->stats, STAT_TCP_CONNECTIONS, 1);
    if (conn_is_websocket(c))
        stat_add(&s->loop->stats, STAT_WEBSOCKETS, 1);
}

/* Out of them; watches of this worker wait for it as those of the others do. */
static void go_out(struct conn *c)
{
    struct sip *s = c->sip;
    uint64_t target = watch_target_conn(c->flow.worker, c->flow.conn);
    for (struct link *l; (l = list_pop(&c->watches));)
        watch_wait(s, CONTAINER(l, struct sip_sent, by_pending), target, NULL);
    c->users |= (uint64_t)1 << s->loop->worker;
    loop_timer_cancel(s->loop, &c->idle);
    list_unlink(&c->by_life);
    stat_add(&s->loop->stats, STAT_TCP_CONNECTIONS, -1);
    if (conn_is_websocket(c))
        stat_add(&s->loop->stats, STAT_WEBSOCKETS, -1);
}

static void arrive(struct sip *s, struct conn *c)
{
    enum err rc = stream_join(c->stream, s->loop);
    enter(s, c);
    conn_here(c);
    if (rc)
        conn_drop(c, false, rc);
}

static void on_move(struct loop *at, struct mail *m)
{
    struct move *mv = CONTAINER(m, struct move, mail);
    struct sip *s = loop_stopping(at) ? NULL : mv->shared->endpoint[at->worker];
    if (s) {
        arrive(s, mv->conn);
        stat_inc(&s->loop->stats, STAT_CONNECTIONS_MOVED);
    }
    block_unref(mv->self);
}

static unsigned busy(const struct loop *l)
{
    return atomic_load_explicit(&l->busy, memory_order_relaxed);
}

bool conn_may_come(const struct sip *s)
{
    return busy(s->loop) < BUSY;
}

static bool may_go(const struct conn *c)
{
    usec now = c->sip->loop->now;
    return c->stream && !c->http && c->accepted && c->phase == CONN_UP && c->kept_until > now &&
           (c->moved == 0 || now - c->moved >= MOVE_AGAIN) && !c->in &&
           !timer_armed(&c->deadline) && !hash_linked(&c->by_remote);
}

void conn_move(struct conn *c, unsigned worker)
{
    struct sip *s = c->sip;
    struct block *self = may_go(c) ? block_new(s->loop->blocks, sizeof(struct move)) : NULL;
    if (!self || stream_leave(&c->stream) != ERR_OK) {
        block_unref(self);
        return;
    }
    struct move *mv = (struct move *)(void *)self->p;
    *mv = (struct move){.mail.fn = on_move, .self = self, .shared = s->shared, .conn = c};
    c->moved = s->loop->now;
    go_out(c);
    place_set(s->shared, c, worker, MOVING);
    if (loop_mail(s->shared->group->loop[worker], &mv->mail)) {
        arrive(s, c);
        block_unref(self);
    }
}

/* ---- spreading ---- */

static void on_spread(struct deferred *d, void *arg)
{
    struct sip *s = arg;
    const struct loop_group *g = s->shared->group;
    struct conn *c = conn_of_flow(s, &s->spread);
    const struct loop *least = s->loop;
    (void)d;
    for (unsigned i = 0; i < g->n; i++)
        least = busy(g->loop[i]) < busy(least) ? g->loop[i] : least;
    if (c && least != s->loop && busy(least) < IDLE)
        conn_move(c, least->worker);
}

void conn_spread_init(struct sip *s)
{
    deferred_init(&s->spreading, on_spread, s);
}

void conn_spread(struct conn *c)
{
    struct sip *s = c->sip;
    if (busy(s->loop) < FULL || s->loop->now < s->spread_due || !may_go(c))
        return;
    s->spread_due = s->loop->now + SPREAD_AGAIN;
    s->spread = c->flow;
    loop_defer(s->loop, &s->spreading); /* its octets are still being read */
}
