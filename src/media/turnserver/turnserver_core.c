/* SPDX-License-Identifier: MIT */
/* The machine: allocations by their 5-tuple, and what arrives from clients told apart.
 *
 *   a client's message ─► STUN ─► request ─► turnserver_serve()              turnserver_request.c
 *                           │       indication ─► turnserver_serve_send()     turnserver_data.c
 *                           └► ChannelData ─► turnserver_serve_channel()      turnserver_data.c
 *
 * What an allocation holds ends with it. Permissions and channels have a time and no timer: one that has passed is as
 * good as none, and its place is the next one's. */
#include "turnserver/turnserver_priv.h"

#include <assert.h>
#include <stdlib.h>

enum { GROW_FIRST = 4 };

/* ---- life ---- */

enum err turnserver_core_new(struct turnserver_shared *sh, unsigned number,
                             const struct turnserver_limits *l, const struct turnserver_ops *ops,
                             void *arg, struct wheel *wheel, struct stats *stats,
                             struct turnserver_core **ret_core)
{
    struct turnserver_core *c = MEM_NEW(struct turnserver_core);
    if (!c)
        return ERR_NOMEM;
    if (hash_init(&c->by_tuple, 64) || hash_init(&c->by_id, 16)) {
        hash_done(&c->by_tuple);
        mem_free(c);
        return ERR_NOMEM;
    }
    c->number = number;
    list_init(&c->allocations);
    c->shared = sh;
    c->limits = *l;
    c->ops = ops;
    c->arg = arg;
    c->wheel = wheel;
    c->stats = stats;
    *ret_core = c;
    return ERR_OK;
}

void turnserver_core_free(struct turnserver_core *c)
{
    if (!c)
        return;
    LIST_EACH_SAFE (a, &c->allocations, struct turnserver_allocation, by_core)
        turnserver_allocation_end(a);
    hash_done(&c->by_tuple);
    hash_done(&c->by_id);
    mem_free(c->forbidden);
    mem_free(c);
}

void turnserver_core_limits(struct turnserver_core *c, const struct turnserver_limits *l)
{
    c->limits = *l;
    c->generation++;
}

enum err turnserver_core_forbid(struct turnserver_core *c, const struct addr *list, size_t n)
{
    struct addr *mine = NULL;
    if (n > 0) {
        mine = mem_alloc(n * sizeof(*mine));
        if (!mine)
            return ERR_NOMEM;
        memcpy(mine, list, n * sizeof(*mine));
        qsort(mine, n, sizeof(*mine), turnserver_by_ip);
    }
    mem_free(c->forbidden);
    c->forbidden = mine;
    c->forbidden_n = n;
    c->generation++;
    LIST_EACH (a, &c->allocations, struct turnserver_allocation, by_core)
        turnserver_connections_judge(a);
    return ERR_OK;
}

size_t turnserver_core_allocations(const struct turnserver_core *c)
{
    return c->by_tuple.count;
}

/* ---- allocations ---- */

static uint64_t tuple_hash(const struct turnserver_core *c, const struct turnserver_tuple *t)
{
    uint8_t key[2 * ADDR_KEY + 1];
    addr_key(&t->client, key);
    addr_key(&t->server, key + ADDR_KEY);
    key[2 * ADDR_KEY] = (uint8_t)t->transport;
    return turnserver_hash(c->shared, key, sizeof(key));
}

static bool tuple_equal(const struct turnserver_tuple *a, const struct turnserver_tuple *b)
{
    return a->transport == b->transport && addr_equal(&a->client, &b->client) &&
           addr_equal(&a->server, &b->server);
}

struct turnserver_allocation *turnserver_find(struct turnserver_core *c,
                                              const struct turnserver_tuple *t)
{
    HASH_EACH (a, &c->by_tuple, tuple_hash(c, t), struct turnserver_allocation, by_tuple)
        if (tuple_equal(&a->tuple, t))
            return a;
    return NULL;
}

static void on_expiry(struct timer *t, void *arg)
{
    struct turnserver_allocation *a = arg;
    usec due = t->at;
    for (int i = 0; i < 2; i++)
        if (a->slot[i].until > 0 && a->slot[i].until <= due)
            turnserver_slot_close(&a->slot[i]);
    turnserver_allocation_arm(a);
}

enum err turnserver_allocation_new(struct turnserver_core *c, const struct turnserver_tuple *t,
                                   sv user, struct turnserver_allocation **ret_a)
{
    struct turnserver_allocation *a = mem_take_cleared(sizeof(*a) + user.n);
    if (!a)
        return ERR_NOMEM;
    a->core = c;
    a->tuple = *t;
    a->slot[0].of = a->slot[1].of = a;
    list_init(&a->connections);
    a->user_n = (uint16_t)user.n;
    memcpy(a->user, user.p, user.n);
    timer_init(&a->expiry, on_expiry, a);
    hash_insert(&c->by_tuple, &a->by_tuple, tuple_hash(c, t));
    list_push(&c->allocations, &a->by_core);
    stat_inc(c->stats, STAT_TURN_ALLOCATIONS);
    *ret_a = a;
    return ERR_OK;
}

void turnserver_allocation_end(struct turnserver_allocation *a)
{
    struct turnserver_core *c = a->core;
    for (int i = 0; i < 2; i++)
        turnserver_slot_close(&a->slot[i]);
    wheel_cancel(c->wheel, &a->expiry);
    hash_remove(&c->by_tuple, &a->by_tuple);
    list_unlink(&a->by_core);
    turnserver_leave(c->shared, a->account);
    stat_add(c->stats, STAT_TURN_ALLOCATIONS, -1);
    mem_give(a->permission, a->permissions_room * sizeof(*a->permission));
    mem_give(a->channel, a->channels_room * sizeof(*a->channel));
    mem_give(a, sizeof(*a) + a->user_n);
}

/* §8.1: permissions and channels of its family lead nowhere now; those of the other are not touched. */
void turnserver_slot_close(struct turnserver_slot *s)
{
    struct turnserver_allocation *a = s->of;
    struct turnserver_core *c = a->core;
    if (s->until == 0)
        return;
    s->until = 0;
    turnserver_connections_end(a, s->relay.bound.family); /* RFC 6062 §5.5 */
    c->ops->relay_close(c->arg, &s->relay);
    ports_give(turnserver_ports(c->shared), s->relay.bound.port, 1);
}

void turnserver_allocation_arm(struct turnserver_allocation *a)
{
    usec first = 0;
    for (int i = 0; i < 2; i++)
        if (a->slot[i].until > 0 && (first == 0 || a->slot[i].until < first))
            first = a->slot[i].until;
    if (first == 0)
        turnserver_allocation_end(a);
    else
        wheel_arm(a->core->wheel, &a->expiry, first);
}

/* ---- permissions and channels ---- */

/* Room for one more, up to most. NULL: there is none; *list stays. */
static void *grow(void *list, size_t size, uint16_t *room, unsigned most)
{
    unsigned more = *room ? 2u * *room : GROW_FIRST;
    if (more > most)
        more = most;
    void *p = more > *room ? mem_take_cleared(more * size) : NULL;
    if (!p)
        return NULL;
    if (list)
        memcpy(p, list, *room * size);
    mem_give(list, *room * size);
    *room = (uint16_t)more;
    return p;
}

struct turnserver_permission *turnserver_permission_find(struct turnserver_allocation *a,
                                                         const struct addr *ip)
{
    for (unsigned i = 0; i < a->permissions; i++)
        if (addr_equal_ip(&a->permission[i].ip, ip))
            return a->permission[i].until > a->core->now ? &a->permission[i] : NULL;
    return NULL;
}

static struct turnserver_permission *permission_room(struct turnserver_allocation *a)
{
    for (unsigned i = 0; i < a->permissions; i++)
        if (a->permission[i].until <= a->core->now)
            return &a->permission[i];
    if (a->permissions == a->permissions_room) {
        void *p = grow(a->permission, sizeof(*a->permission), &a->permissions_room,
                       TURNSERVER_PERMISSIONS_MAX);
        if (!p)
            return NULL;
        a->permission = p;
    }
    return &a->permission[a->permissions++];
}

bool turnserver_permit(struct turnserver_allocation *a, const struct addr *peer)
{
    struct turnserver_permission *p = NULL;
    for (unsigned i = 0; i < a->permissions && !p; i++)
        if (addr_equal_ip(&a->permission[i].ip, peer))
            p = &a->permission[i];
    if (!p)
        p = permission_room(a);
    if (!p)
        return false;
    p->ip = *peer;
    p->ip.port = 0;
    p->until = a->core->now + TURNSERVER_PERMISSION_LIFE;
    return true;
}

struct turnserver_channel *turnserver_channel_numbered(struct turnserver_allocation *a,
                                                       uint16_t number)
{
    for (unsigned i = 0; i < a->channels; i++)
        if (a->channel[i].number == number && a->channel[i].until > a->core->now)
            return &a->channel[i];
    return NULL;
}

struct turnserver_channel *turnserver_channel_to(struct turnserver_allocation *a,
                                                 const struct addr *peer)
{
    for (unsigned i = 0; i < a->channels; i++)
        if (addr_equal(&a->channel[i].peer, peer) && a->channel[i].until > a->core->now)
            return &a->channel[i];
    return NULL;
}

struct turnserver_channel *turnserver_channel_add(struct turnserver_allocation *a)
{
    for (unsigned i = 0; i < a->channels; i++)
        if (a->channel[i].until <= a->core->now)
            return &a->channel[i];
    if (a->channels == a->channels_room) {
        void *p = grow(a->channel, sizeof(*a->channel), &a->channels_room, TURNSERVER_CHANNELS_MAX);
        if (!p)
            return NULL;
        a->channel = p;
    }
    return &a->channel[a->channels++];
}

/* ---- messages ---- */

/* DONT-FRAGMENT is one of TURN's that we do not know: we set no such bit (§7.2 step 4). */
static bool knows(uint16_t type)
{
    return stunmsg_is_turn(type) && type != STUN_DONT_FRAGMENT;
}

bool turnserver_has_unknown(const struct stunmsg *m, uint16_t *ret_types, size_t max, size_t *ret_n)
{
    *ret_n = stunmsg_unknown(m, knows, ret_types, max);
    return *ret_n > 0;
}

static void receive_request(struct turnserver_core *c, const struct turnserver_tuple *from,
                            const struct stunmsg *m)
{
    struct turnserver_request rq = {
        .core = c, .from = from, .m = m, .allocation = turnserver_find(c, from)};
    if (m->method == STUN_BINDING)
        turnserver_serve_binding(c, from, m);
    else
        turnserver_serve(&rq);
    crypto_wipe(rq.login.key, sizeof(rq.login.key));
}

static void receive_indication(struct turnserver_core *c, const struct turnserver_tuple *from,
                               const struct stunmsg *m)
{
    struct turnserver_allocation *a = m->method == STUN_SEND ? turnserver_find(c, from) : NULL;
    if (a) /* §5: else it is silently ignored */
        turnserver_serve_send(a, m);
}

bool turnserver_core_receive(struct turnserver_core *c, const struct turnserver_tuple *from,
                             sv message, usec now, usec wall)
{
    struct stunmsg m;
    c->now = now;
    c->wall = wall;
    /* RFC 7983 §7: 0 to 3 STUN, 64 to 79 channels */
    if (message.n > 0 && ((uint8_t)message.p[0] & 0xf0) == 0x40) {
        struct turnserver_allocation *a = turnserver_find(c, from);
        if (a)
            turnserver_serve_channel(a, message);
        return true;
    }
    if (stunmsg_parse(message, &m))
        return false;
    if (m.class == STUN_REQUEST)
        receive_request(c, from, &m);
    else if (m.class == STUN_INDICATION)
        receive_indication(c, from, &m);
    return true;
}

void turnserver_core_gone(struct turnserver_core *c, const struct turnserver_tuple *client)
{
    struct turnserver_allocation *a = turnserver_find(c, client);
    if (a)
        turnserver_allocation_end(a);
}
