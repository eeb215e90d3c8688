/* SPDX-License-Identifier: MIT */
/* Life of an allocation: asked for, challenged, granted, renewed, given back.
 *
 *   IDLE ─start─► ALLOCATING ─2xx─► STANDING ─stop─► STOPPING ─► OVER
 *                   │ 401, 438: again, signed         (a failure anywhere: OVER)
 *                   │ 300, 437: the caller goes elsewhere and starts again
 *
 * A request is not kept: it is printed again from what it was made of, with its transaction id. */
#include "turn/turn.h"

#include "crypto/crypto.h"
#include "turn/turn_priv.h"

/* Of challenges in a row: a server that only ever says 438 is none. Of ports: RFC 8656 §7.4 says three. */
enum { AGAIN_MAX = 3, PORTS_MAX = 3, PROTOCOL_UDP = 17 };
#define RENEW_BEFORE USEC_MIN /* §8: refreshed a minute before it ends */

enum err turn_new(const struct turn_config *c, const struct turn_ops *ops, void *arg,
                  struct turn **ret_turn)
{
    if (c->user.n > TURN_USER_MAX || c->password.n > TURN_PASSWORD_MAX)
        return ERR_TOOBIG;
    struct turn *t = MEM_NEW(struct turn);
    if (!t)
        return ERR_NOMEM;
    t->ops = ops;
    t->arg = arg;
    t->config = *c;
    if (c->user.n > 0)
        memcpy(t->user, c->user.p, c->user.n);
    if (c->password.n > 0)
        memcpy(t->password, c->password.p, c->password.n);
    t->config.user = (sv){t->user, c->user.n};
    t->config.password = (sv){t->password, c->password.n};
    *ret_turn = t;
    return ERR_OK;
}

void turn_free(struct turn *t)
{
    if (!t)
        return;
    crypto_wipe(t->password, sizeof(t->password));
    crypto_wipe(t->key, sizeof(t->key));
    mem_free(t);
}

static void tell(struct turn *t, const struct turn_event *e)
{
    t->ops->on_event(t->arg, e);
}

void turn_fail(struct turn *t, enum err why, unsigned code)
{
    if (t->state == TURN_OVER)
        return;
    bool stopping = t->state == TURN_STOPPING;
    t->state = TURN_OVER;
    stun_txn_end(&t->txn);
    tell(t, &(struct turn_event){
                .kind = stopping ? TURN_STOPPED : TURN_FAILED, .why = why, .code = code});
}

/* ---- requests ---- */

void turn_begin(struct turn *t, struct stun_txn *txn)
{
    uint8_t id[STUN_ID];
    t->ops->chance(t->arg, id, sizeof(id));
    stun_txn_start(txn, id, t->config.reliable ? &stun_reliable : &stun_udp, t->now);
}

void turn_sign_and_send(struct turn *t, struct stun_out *o)
{
    uint16_t algorithm = (uint16_t)t->algorithm;
    if (t->key_n > 0) {
        stunmsg_put(o, STUN_USERNAME, t->config.user);
        stunmsg_put(o, STUN_REALM, (sv){t->realm, t->realm_n});
        stunmsg_put(o, STUN_NONCE, (sv){t->nonce, t->nonce_n});
        if (t->list_n > 0) { /* RFC 8489 §9.2.5: its list as it came, and which of them we took */
            stunmsg_put(o, STUN_PASSWORD_ALGORITHMS, (sv){t->list, t->list_n});
            stunmsg_put_algorithms(o, STUN_PASSWORD_ALGORITHM, &algorithm, 1);
        }
        stunmsg_put_integrity(o, t->sign, (sv){(const char *)t->key, t->key_n});
    }
    sv message = buf_sv(o->b);
    if (!o->b->rc)
        t->ops->send(t->arg, &message, 1);
}

static void send_allocate(struct turn *t)
{
    char mem[TURN_MESSAGE_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    bool allocate = t->state == TURN_ALLOCATING;
    struct stun_out o =
        stunmsg_begin(&b, allocate ? STUN_ALLOCATE : STUN_REFRESH, STUN_REQUEST, t->txn.id);
    if (allocate) {
        stunmsg_put_transport(&o, PROTOCOL_UDP);
        if (t->config.both)
            stunmsg_put_family(&o, STUN_ADDITIONAL_ADDRESS_FAMILY, 6);
        else if (t->config.family)
            stunmsg_put_family(&o, STUN_REQUESTED_ADDRESS_FAMILY, t->config.family);
    }
    if (t->state == TURN_STOPPING)
        stunmsg_put_u32(&o, STUN_LIFETIME, 0);
    else if (t->config.seconds)
        stunmsg_put_u32(&o, STUN_LIFETIME, t->config.seconds);
    turn_sign_and_send(t, &o);
}

/* ---- credentials (RFC 8489 §9.2.5) ---- */

static bool copy(sv from, char *to, size_t max, size_t *ret_n)
{
    if (from.n > max)
        return false;
    if (from.n > 0)
        memcpy(to, from.p, from.n);
    *ret_n = from.n;
    return true;
}

/* The first algorithm of the list that we have. False: none. */
static bool choose(sv list, enum stun_algorithm *ret_algorithm)
{
    uint16_t algorithm;
    sv parameters;
    while (!stunmsg_algorithm_next(&list, &algorithm, &parameters)) {
        if (algorithm != STUN_ALGORITHM_MD5 && algorithm != STUN_ALGORITHM_SHA256)
            continue;
        *ret_algorithm = (enum stun_algorithm)algorithm;
        return true;
    }
    return false;
}

bool turn_take_challenge(struct turn *t, const struct stunmsg *m)
{
    struct stun_attr realm, nonce, list = {.value = {"", 0}};
    uint32_t features = 0;
    enum stun_algorithm algorithm = STUN_ALGORITHM_MD5;
    bool listed = stunmsg_find(m, STUN_PASSWORD_ALGORITHMS, &list);
    if (!stunmsg_find(m, STUN_REALM, &realm) || !stunmsg_find(m, STUN_NONCE, &nonce))
        return false;
    /* §9.2.1: the nonce says that there was a list, and there is none: somebody took it away. */
    if (stun_nonce_features(nonce.value, &features) && (features & STUN_PASSWORD_ALGORITHMS_BIT) &&
        !listed)
        return false;
    if (listed && !choose(list.value, &algorithm))
        return false;
    if (t->sign == STUN_SHA256 && !listed) /* it was better before */
        return false;
    if (!copy(realm.value, t->realm, sizeof(t->realm), &t->realm_n) ||
        !copy(nonce.value, t->nonce, sizeof(t->nonce), &t->nonce_n) ||
        !copy(listed ? list.value : SV(""), t->list, sizeof(t->list), &t->list_n))
        return false;
    t->algorithm = algorithm;
    t->sign = listed ? STUN_SHA256 : STUN_SHA1;
    t->key_n =
        stun_key(algorithm, t->config.user, (sv){t->realm, t->realm_n}, t->config.password, t->key);
    return true;
}

bool turn_answer_holds(struct turn *t, const struct stunmsg *m, unsigned code)
{
    enum stun_integrity is = stunmsg_integrity(m);
    if (code == STUN_UNAUTHENTICATED || code == STUN_STALE_NONCE || t->key_n == 0)
        return true;
    if (is == STUN_UNSIGNED && code == STUN_BAD_REQUEST)
        return false; /* §9.2.5: as if it were never received */
    bool holds =
        is == t->sign && !stunmsg_verify(m, (sv){(const char *)t->key, t->key_n}, SHA256_LEN);
    t->forged = t->forged || !holds;
    if (!holds && t->config.reliable)
        turn_fail(t, ERR_CORRUPT, 0);
    return holds;
}

/* ---- the allocation ---- */

static void again(struct turn *t, const struct stunmsg *m, unsigned code)
{
    /* A second 401 says that the password is wrong. */
    bool wrong = code == STUN_UNAUTHENTICATED && t->key_n > 0;
    if (wrong || ++t->again > AGAIN_MAX || !turn_take_challenge(t, m))
        turn_fail(t, ERR_AUTH, code);
    else
        turn_begin(t, &t->txn);
}

static void go_elsewhere(struct turn *t, const struct stunmsg *m)
{
    struct turn_event e = {.kind = TURN_ALTERNATE};
    struct stun_attr a;
    struct stun_addr to;
    /* §14.8: only what is signed may lead us away; once, so that nobody is led round. */
    if (t->alternate || t->key_n == 0 || stunmsg_integrity(m) == STUN_UNSIGNED ||
        !stunmsg_find(m, STUN_ALTERNATE_SERVER, &a) || stunmsg_address(a.value, &to)) {
        turn_fail(t, ERR_REFUSED, STUN_TRY_ALTERNATE);
        return;
    }
    e.peer = stun_to_addr(&to);
    t->alternate = true;
    t->state = TURN_IDLE;
    t->key_n = t->again = 0;
    t->sign = STUN_UNSIGNED;
    tell(t, &e);
}

static void another_port(struct turn *t)
{
    if (++t->ports >= PORTS_MAX) {
        turn_fail(t, ERR_REFUSED, STUN_ALLOCATION_MISMATCH);
        return;
    }
    t->state = TURN_IDLE;
    tell(t, &(struct turn_event){.kind = TURN_ANOTHER_PORT, .code = STUN_ALLOCATION_MISMATCH});
}

static void take_refusal(struct turn *t, const struct stunmsg *m, unsigned code)
{
    if (code == STUN_UNAUTHENTICATED || code == STUN_STALE_NONCE)
        again(t, m, code);
    else if (code == STUN_TRY_ALTERNATE)
        go_elsewhere(t, m);
    else if (code == STUN_ALLOCATION_MISMATCH && t->state == TURN_ALLOCATING)
        another_port(t);
    else
        turn_fail(t, ERR_REFUSED, code);
}

/* False: the answer says nothing that we could use. */
static bool take_addresses(struct turn *t, const struct stunmsg *m, struct turn_event *e)
{
    struct stun_walk w = {0};
    for (struct stun_attr a; stunmsg_next(m, &w, &a);) {
        struct stun_addr s;
        if (a.type != STUN_XOR_RELAYED_ADDRESS || stunmsg_xor_address(m, a.value, &s))
            continue;
        struct addr *to = &t->relayed[s.family == 6];
        if (to->family == 0)
            *to = stun_to_addr(&s);
    }
    memcpy(e->relayed, t->relayed, sizeof(e->relayed));
    return (t->relayed[0].family || t->relayed[1].family) &&
           !stun_xor_addr_of(m, STUN_XOR_MAPPED_ADDRESS, &e->mapped);
}

static void set_renewal(struct turn *t, const struct stunmsg *m)
{
    struct stun_attr a;
    uint32_t seconds = TURN_LIFETIME / USEC_S;
    if (stunmsg_find(m, STUN_LIFETIME, &a) && stunmsg_u32(a.value, &seconds))
        seconds = TURN_LIFETIME / USEC_S;
    usec life = (usec)seconds * USEC_S;
    t->renew = t->now + (life > 2 * RENEW_BEFORE ? life - RENEW_BEFORE : life / 2);
}

static void take_success(struct turn *t, const struct stunmsg *m)
{
    struct turn_event e = {.kind = TURN_ALLOCATED};
    t->again = 0;
    if (t->state == TURN_STOPPING) {
        turn_fail(t, ERR_OK, 0);
        return;
    }
    set_renewal(t, m);
    if (t->state != TURN_ALLOCATING)
        return;
    if (!take_addresses(t, m, &e)) {
        turn_fail(t, ERR_REFUSED, 0);
        return;
    }
    t->state = TURN_STANDING;
    tell(t, &e);
}

void turn_start(struct turn *t, usec now)
{
    t->now = now;
    if (t->state != TURN_IDLE)
        return;
    t->state = TURN_ALLOCATING;
    t->again = 0;
    t->forged = false;
    turn_begin(t, &t->txn);
    turn_step(t, now);
}

void turn_stop(struct turn *t, usec now)
{
    t->now = now;
    if (t->state == TURN_STANDING) {
        t->state = TURN_STOPPING;
        turn_begin(t, &t->txn);
        turn_step(t, now);
    } else if (t->state != TURN_OVER && t->state != TURN_STOPPING) {
        t->state = TURN_STOPPING;
        turn_fail(t, ERR_OK, 0);
    }
}

/* ---- what arrives, and time ---- */

static void take_answer(struct turn *t, const struct stunmsg *m)
{
    struct stun_attr a;
    unsigned code = 0;
    sv reason;
    if (m->class == STUN_ERROR &&
        (!stunmsg_find(m, STUN_ERROR_CODE, &a) || stunmsg_error_code(a.value, &code, &reason)))
        return;
    if (!stun_txn_is_of(&t->txn, m)) {
        turn_peers_answer(t, m, code);
        return;
    }
    if (!turn_answer_holds(t, m, code))
        return;
    stun_txn_end(&t->txn);
    if (code)
        take_refusal(t, m, code);
    else
        take_success(t, m);
    turn_step(t, t->now);
}

bool turn_receive(struct turn *t, sv message, usec now)
{
    struct stunmsg m;
    t->now = now;
    if (message.n > 0 && ((uint8_t)message.p[0] & 0xf0) == 0x40) {
        turn_take_channel(t, message);
        return true;
    }
    if (stunmsg_parse(message, &m))
        return false;
    if (m.class == STUN_INDICATION)
        turn_take_indication(t, &m);
    else if (m.class != STUN_REQUEST && t->state != TURN_OVER)
        take_answer(t, &m);
    return true;
}

void turn_step(struct turn *t, usec now)
{
    t->now = now;
    if (t->state == TURN_STANDING && !t->txn.running && now >= t->renew)
        turn_begin(t, &t->txn);
    switch (stun_txn_step(&t->txn, now)) {
    case STUN_TRANSMIT:
        send_allocate(t);
        break;
    case STUN_TIMED_OUT:
        /* §9.2.5: if nothing came but what was forged, that is what is said */
        turn_fail(t, t->forged ? ERR_AUTH : ERR_TIMEOUT, 0);
        break;
    case STUN_WAIT:
        break;
    }
    if (t->state == TURN_STANDING)
        turn_peers_step(t);
}

usec turn_next(const struct turn *t)
{
    usec next = stun_txn_next(&t->txn);
    if (t->state != TURN_STANDING)
        return t->state == TURN_OVER ? USEC_NEVER : next;
    if (!t->txn.running && t->renew < next)
        next = t->renew;
    usec peers = turn_peers_next(t);
    return peers < next ? peers : next;
}
