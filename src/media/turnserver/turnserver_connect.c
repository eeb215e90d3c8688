/* SPDX-License-Identifier: MIT */
/* Connections between a TCP relay and its peers (RFC 6062 §5.2 to §5.5).
 *
 *   Connect ─► CONNECTING ─connected─► WAITING ─claim─► BOUND
 *                                         ▲
 *   a peer connects, with a permission ───┘ (ConnectionAttempt)
 *
 * CONNECTING and WAITING last 30 seconds at most. The end of one, in any state, is the end of its place here. */
#include "turnserver/turnserver_priv.h"

enum state { CONNECTING, WAITING, BOUND };
enum { ID_MASK = (1u << TURNSERVER_ID_SHIFT) - 1 };

struct connection {
    struct turnserver_peer peer;
    enum state state;
    struct turnserver_allocation *of;
    struct link by_allocation;
    struct hash_node by_id;
    struct timer deadline;
    struct turnserver_answer answer; /* of CONNECTING */
};

struct turnserver_answer turnserver_answer_of(const struct turnserver_request *rq)
{
    struct turnserver_answer a = {.method = rq->m->method,
                                  .fingerprint = rq->m->fingerprint,
                                  .sign = rq->login.reply,
                                  .key_n = rq->login.key_n};
    memcpy(a.id, rq->m->id, sizeof(a.id));
    memcpy(a.key, rq->login.key, sizeof(a.key));
    return a;
}

/* The request that an answer is to, as far as answers need it. */
static void respond(struct turnserver_core *c, const struct turnserver_tuple *client,
                    const struct turnserver_answer *a, unsigned code, uint32_t id)
{
    struct stunmsg m = {.method = a->method, .fingerprint = a->fingerprint};
    struct turnserver_request rq = {.core = c, .from = client, .m = &m};
    char mem[TURN_OUT_MAX];
    struct buf b;
    memcpy(m.id, a->id, sizeof(m.id));
    rq.login.reply = a->sign;
    rq.login.key_n = a->key_n;
    memcpy(rq.login.key, a->key, sizeof(a->key));
    if (code) {
        turnserver_refuse(&rq, code);
    } else {
        struct stun_out o = turnserver_begin(&b, mem, &rq, STUN_SUCCESS);
        if (id)
            stunmsg_put_u32(&o, STUN_CONNECTION_ID, id);
        turnserver_finish(&rq, &o);
    }
    crypto_wipe(rq.login.key, sizeof(rq.login.key));
}

void turnserver_core_answer(struct turnserver_core *c, const struct turnserver_tuple *client,
                            const struct turnserver_answer *answer, unsigned code)
{
    respond(c, client, answer, code, 0);
}

/* ---- life ---- */

static struct connection *find(struct turnserver_core *c, uint32_t id)
{
    HASH_EACH (x, &c->by_id, id, struct connection, by_id)
        if (x->peer.id == id)
            return x;
    return NULL;
}

static void forget(struct connection *x)
{
    struct turnserver_core *c = x->of->core;
    wheel_cancel(c->wheel, &x->deadline);
    hash_remove(&c->by_id, &x->by_id);
    list_unlink(&x->by_allocation);
    x->of->connections_n--;
    crypto_wipe(&x->answer, sizeof(x->answer));
    MEM_GIVE(x);
}

static void end(struct connection *x)
{
    struct turnserver_core *c = x->of->core;
    c->ops->peer_close(c->arg, &x->peer);
    forget(x);
}

static void on_deadline(struct timer *t, void *arg)
{
    struct connection *x = arg;
    (void)t;
    if (x->state == CONNECTING) /* §5.2 */
        respond(x->of->core, &x->of->tuple, &x->answer, STUN_CONNECTION_FAILED, 0);
    end(x);
}

/* NULL: there is no room. */
static struct connection *connection_new(struct turnserver_allocation *a, const struct addr *peer,
                                         enum state state)
{
    struct turnserver_core *c = a->core;
    uint32_t id = 0;
    if (a->connections_n >= TURNSERVER_CONNECTIONS_MAX)
        return NULL;
    struct connection *x = MEM_TAKE(struct connection);
    if (!x)
        return NULL;
    while ((id & ID_MASK) == 0 || find(c, id)) {
        c->ops->chance(c->arg, &id, sizeof(id));
        id = (id & ID_MASK) | c->number << TURNSERVER_ID_SHIFT;
    }
    x->peer = (struct turnserver_peer){.id = id, .addr = *peer};
    x->state = state;
    x->of = a;
    timer_init(&x->deadline, on_deadline, x);
    hash_insert(&c->by_id, &x->by_id, id);
    list_push(&a->connections, &x->by_allocation);
    a->connections_n++;
    wheel_arm(c->wheel, &x->deadline,
              c->now + (state == CONNECTING ? TURNSERVER_CONNECT_TIME : TURNSERVER_BIND_TIME));
    return x;
}

void turnserver_connections_end(struct turnserver_allocation *a, unsigned family)
{
    LIST_EACH_SAFE (x, &a->connections, struct connection, by_allocation)
        if (x->peer.addr.family == family)
            end(x);
}

void turnserver_connections_judge(struct turnserver_allocation *a)
{
    struct addr to;
    LIST_EACH_SAFE (x, &a->connections, struct connection, by_allocation) {
        struct turnserver_slot *s = turnserver_slot_of(a, x->peer.addr.family);
        if (!s || turnserver_peer_resolve(a->core, s, &x->peer.addr, &to) != TURNSERVER_OPEN)
            end(x);
    }
}

/* ---- Connect (§5.2) ---- */

static bool has(struct turnserver_allocation *a, const struct addr *peer)
{
    LIST_EACH (x, &a->connections, struct connection, by_allocation)
        if (addr_equal(&x->peer.addr, peer))
            return true;
    return false;
}

/* 0: it begins; else the code. */
static unsigned begin_connect(struct turnserver_request *rq)
{
    struct turnserver_allocation *a = rq->allocation;
    struct turnserver_core *c = rq->core;
    struct stun_attr attr;
    struct addr peer, to;
    if (!stunmsg_find(rq->m, STUN_XOR_PEER_ADDRESS, &attr) ||
        turnserver_peer_read(rq->m, attr.value, &peer) || peer.port == 0)
        return STUN_BAD_REQUEST;
    struct turnserver_slot *s = turnserver_slot_of(a, peer.family);
    if (s && !s->relay.tcp)
        return STUN_BAD_REQUEST;
    unsigned code = turnserver_check_peer(rq, &peer, &to);
    if (code)
        return code;
    if (has(a, &peer))
        return STUN_CONNECTION_EXISTS;
    struct connection *x = connection_new(a, &peer, CONNECTING);
    if (!x)
        return STUN_INSUFFICIENT_CAPACITY;
    x->answer = turnserver_answer_of(rq);
    x->peer.addr = to;
    enum err rc = c->ops->peer_connect(c->arg, &s->relay, &x->peer);
    x->peer.addr = peer;
    if (rc) {
        forget(x);
        return STUN_CONNECTION_FAILED;
    }
    return 0;
}

void turnserver_serve_connect(struct turnserver_request *rq)
{
    unsigned code = begin_connect(rq);
    if (code)
        turnserver_refuse(rq, code);
}

void turnserver_core_connected(struct turnserver_core *c, struct turnserver_peer *p, enum err why,
                               usec now)
{
    struct connection *x = CONTAINER(p, struct connection, peer);
    c->now = now;
    respond(c, &x->of->tuple, &x->answer, why ? STUN_CONNECTION_FAILED : 0, p->id);
    if (why) {
        forget(x);
        return;
    }
    x->state = WAITING;
    wheel_arm(c->wheel, &x->deadline, now + TURNSERVER_BIND_TIME);
}

/* ---- a peer connects (§5.3) ---- */

static void tell_attempt(struct connection *x)
{
    struct turnserver_core *c = x->of->core;
    struct stun_addr from = turnserver_stun_addr(&x->peer.addr);
    char mem[TURN_OUT_MAX];
    uint8_t id[STUN_ID];
    struct buf b;
    c->ops->chance(c->arg, id, sizeof(id));
    buf_init(&b, mem, sizeof(mem));
    struct stun_out o = stunmsg_begin(&b, STUN_CONNECTION_ATTEMPT, STUN_INDICATION, id);
    stunmsg_put_u32(&o, STUN_CONNECTION_ID, x->peer.id);
    stunmsg_put_xor_address(&o, STUN_XOR_PEER_ADDRESS, &from);
    sv message = buf_sv(&b);
    if (!b.rc)
        c->ops->to_client(c->arg, &x->of->tuple, &message, 1);
}

struct turnserver_peer *turnserver_core_accepted(struct turnserver_core *c,
                                                 struct turnserver_relay *r,
                                                 const struct addr *from, usec now)
{
    struct turnserver_slot *s = CONTAINER(r, struct turnserver_slot, relay);
    struct addr to;
    c->now = now;
    if (!turnserver_permission_find(s->of, from)) {
        stat_turn_refuse(c->stats, STAT_TURN_NO_PERMISSION);
        return NULL;
    }
    if (turnserver_peer_resolve(c, s, from, &to) != TURNSERVER_OPEN) {
        stat_turn_refuse(c->stats, STAT_TURN_FORBIDDEN);
        return NULL;
    }
    struct connection *x = connection_new(s->of, from, WAITING);
    if (!x) {
        stat_turn_refuse(c->stats, STAT_TURN_CAPACITY);
        return NULL;
    }
    tell_attempt(x);
    return &x->peer;
}

/* ---- ConnectionBind (§5.4) ---- */

void turnserver_serve_connection_bind(struct turnserver_request *rq)
{
    struct stun_attr attr;
    uint32_t id;
    if (rq->from->transport == TURNSERVER_UDP || rq->allocation ||
        !stunmsg_find(rq->m, STUN_CONNECTION_ID, &attr) || stunmsg_u32(attr.value, &id)) {
        turnserver_refuse(rq, STUN_BAD_REQUEST);
        return;
    }
    struct turnserver_answer a = turnserver_answer_of(rq);
    rq->core->ops->peer_bind(rq->core->arg, rq->from, id, rq->login.user, &a);
    crypto_wipe(&a, sizeof(a));
}

unsigned turnserver_core_claim(struct turnserver_core *c, uint32_t id, sv user,
                               struct turnserver_peer **ret_peer)
{
    struct connection *x = find(c, id);
    if (!x || x->state != WAITING)
        return STUN_BAD_REQUEST;
    /* §4.3: the same credentials as the control connection's */
    if (!sv_eq(user, (sv){x->of->user, x->of->user_n}))
        return STUN_WRONG_CREDENTIALS;
    x->state = BOUND;
    wheel_cancel(c->wheel, &x->deadline);
    *ret_peer = &x->peer;
    return 0;
}

void turnserver_core_ended(struct turnserver_core *c, struct turnserver_peer *p)
{
    (void)c;
    forget(CONTAINER(p, struct connection, peer));
}
