/* SPDX-License-Identifier: MIT */
/* Requests: proved, then served. RFC 8656 §5, §8 to §10, §12; Allocate is in turnserver_allocate.c.
 *
 * Of a request without credentials nothing is kept, and its answer is as short as the RFC lets it be: the code
 * without words, realm, nonce, algorithms; no SOFTWARE. A source has so many of them a second. (D15) */
#include "turnserver/turnserver_priv.h"

enum { UNKNOWN_MAX = 16, PEERS_MAX = TURNSERVER_PERMISSIONS_MAX };
enum { CHANNEL_FIRST = 0x4000, CHANNEL_LAST = 0x4fff };

/* ---- answers ---- */

struct stun_out turnserver_begin(struct buf *b, char mem[static TURN_OUT_MAX],
                                 const struct turnserver_request *rq, enum stun_class class)
{
    buf_init(b, mem, TURN_OUT_MAX);
    return stunmsg_begin(b, rq->m->method, class, rq->m->id);
}

void turnserver_finish(struct turnserver_request *rq, const struct stun_out *o)
{
    const struct turnserver_login *l = &rq->login;
    if (l->key_n > 0)
        stunmsg_put_integrity(o, l->reply, (sv){(const char *)l->key, l->key_n});
    if (rq->m->fingerprint)
        stunmsg_put_fingerprint(o);
    sv answer = buf_sv(o->b);
    if (!o->b->rc)
        rq->core->ops->to_client(rq->core->arg, rq->from, &answer, 1);
}

/* Each client's first request has no credentials, by design: it is not counted among those that are wrong. */
static enum stat_turn reason_of(unsigned code, enum turnserver_wrong wrong)
{
    switch (code) {
    case STUN_UNAUTHENTICATED:
        return wrong == TURNSERVER_WRONG_NOTHING   ? STAT_TURN_UNAUTHENTICATED
               : wrong == TURNSERVER_WRONG_EXPIRED ? STAT_TURN_EXPIRED
                                                   : STAT_TURN_WRONG_CREDENTIALS;
    case STUN_FORBIDDEN:
        return STAT_TURN_FORBIDDEN;
    case STUN_UNKNOWN_ATTRIBUTE:
        return STAT_TURN_UNKNOWN_ATTRIBUTE;
    case STUN_ALLOCATION_MISMATCH:
        return STAT_TURN_MISMATCH;
    case STUN_STALE_NONCE:
        return STAT_TURN_STALE_NONCE;
    case STUN_FAMILY_NOT_SUPPORTED:
    case STUN_PEER_FAMILY_MISMATCH:
        return STAT_TURN_FAMILY;
    case STUN_WRONG_CREDENTIALS:
        return STAT_TURN_WRONG_CREDENTIALS;
    case STUN_UNSUPPORTED_TRANSPORT:
        return STAT_TURN_TRANSPORT;
    case STUN_QUOTA_REACHED:
        return STAT_TURN_QUOTA;
    case STUN_INSUFFICIENT_CAPACITY:
        return STAT_TURN_CAPACITY;
    case STUN_CONNECTION_EXISTS:
    case STUN_CONNECTION_FAILED:
        return STAT_TURN_CONNECTION;
    case STUN_SERVER_ERROR:
        return STAT_TURN_SERVER_ERROR;
    default:
        return STAT_TURN_BAD_REQUEST;
    }
}

/* 420: what is unknown. */
static void put_unknown(struct turnserver_request *rq, const struct stun_out *o)
{
    uint16_t unknown[UNKNOWN_MAX];
    size_t n;
    if (turnserver_has_unknown(rq->m, unknown, UNKNOWN_MAX, &n))
        stunmsg_put_unknown(o, unknown, n);
}

void turnserver_refuse(struct turnserver_request *rq, unsigned code)
{
    char mem[TURN_OUT_MAX];
    struct buf b;
    bool proved = rq->login.key_n > 0;
    stat_turn_refuse(rq->core->stats, reason_of(code, rq->wrong));
    struct stun_out o = turnserver_begin(&b, mem, rq, STUN_ERROR);
    if (proved)
        stunmsg_put_error_of(&o, (enum stun_error)code);
    else
        stunmsg_put_error(&o, code, SV(""));
    if (code == STUN_UNAUTHENTICATED || code == STUN_STALE_NONCE)
        turnserver_put_challenge(rq->core, &o, &rq->from->client);
    if (code == STUN_UNKNOWN_ATTRIBUTE)
        put_unknown(rq, &o);
    turnserver_finish(rq, &o);
}

static void succeed(struct turnserver_request *rq)
{
    char mem[TURN_OUT_MAX];
    struct buf b;
    struct stun_out o = turnserver_begin(&b, mem, rq, STUN_SUCCESS);
    turnserver_finish(rq, &o);
}

void turnserver_serve_binding(struct turnserver_core *c, const struct turnserver_tuple *from,
                              const struct stunmsg *m)
{
    struct turnserver_request rq = {.core = c, .from = from, .m = m};
    uint16_t unknown[UNKNOWN_MAX];
    char mem[TURN_OUT_MAX];
    struct buf b;
    size_t n;
    if (!turnserver_may_answer(c, &from->client)) {
        stat_turn_refuse(c->stats, STAT_TURN_RATE);
        return;
    }
    if (turnserver_has_unknown(m, unknown, UNKNOWN_MAX, &n)) {
        turnserver_refuse(&rq, STUN_UNKNOWN_ATTRIBUTE);
        return;
    }
    struct stun_out o = turnserver_begin(&b, mem, &rq, STUN_SUCCESS);
    struct stun_addr mapped = turnserver_stun_addr(&from->client);
    stunmsg_put_xor_address(&o, STUN_XOR_MAPPED_ADDRESS, &mapped);
    turnserver_finish(&rq, &o);
}

/* ---- Refresh (§8.2) ---- */

static void answer_life(struct turnserver_request *rq, usec life)
{
    char mem[TURN_OUT_MAX];
    struct buf b;
    struct stun_out o = turnserver_begin(&b, mem, rq, STUN_SUCCESS);
    stunmsg_put_u32(&o, STUN_LIFETIME, (uint32_t)(life / USEC_S));
    turnserver_finish(rq, &o);
}

static void serve_refresh(struct turnserver_request *rq)
{
    struct turnserver_allocation *a = rq->allocation;
    struct stun_attr attr;
    uint8_t family = 0;
    uint32_t seconds = 1;
    if (stunmsg_find(rq->m, STUN_REQUESTED_ADDRESS_FAMILY, &attr)) {
        enum err rc = stunmsg_family(attr.value, &family);
        if (rc || !turnserver_slot_of(a, family)) {
            turnserver_refuse(rq, rc == ERR_SYNTAX ? STUN_BAD_REQUEST : STUN_PEER_FAMILY_MISMATCH);
            return;
        }
    }
    if (stunmsg_find(rq->m, STUN_LIFETIME, &attr) && stunmsg_u32(attr.value, &seconds)) {
        turnserver_refuse(rq, STUN_BAD_REQUEST);
        return;
    }
    usec life = seconds > 0 ? turnserver_lifetime(rq) : 0;
    for (int i = 0; i < 2; i++) {
        struct turnserver_slot *s = &a->slot[i];
        if (s->until == 0 || (family && (family == 6) != (i == 1)))
            continue;
        if (life > 0)
            s->until = rq->core->now + life;
        else
            turnserver_slot_close(s);
    }
    answer_life(rq, life);
    turnserver_allocation_arm(a); /* ends it when nothing is left */
}

/* ---- CreatePermission, ChannelBind (§10.2, §12.2) ---- */

/* A peer that is asked for: 0, or the code. ret_to: where our socket reaches it. */
unsigned turnserver_check_peer(struct turnserver_request *rq, const struct addr *peer,
                               struct addr *ret_to)
{
    struct turnserver_slot *s = turnserver_slot_of(rq->allocation, peer->family);
    if (!s)
        return STUN_PEER_FAMILY_MISMATCH;
    return turnserver_peer_resolve(rq->core, s, peer, ret_to) == TURNSERVER_OPEN ? 0
                                                                                 : STUN_FORBIDDEN;
}

/* All peers of the request: 0, or the code; then nothing has changed. */
static unsigned read_peers(struct turnserver_request *rq, struct addr *ret_peers, size_t *ret_n)
{
    struct stun_walk w = {0};
    struct addr to;
    unsigned code = 0;
    *ret_n = 0;
    for (struct stun_attr a; stunmsg_next(rq->m, &w, &a) && !code;) {
        if (a.type != STUN_XOR_PEER_ADDRESS)
            continue;
        if (*ret_n == PEERS_MAX)
            return STUN_INSUFFICIENT_CAPACITY;
        struct addr *peer = &ret_peers[(*ret_n)++];
        enum err rc = turnserver_peer_read(rq->m, a.value, peer);
        code = rc == ERR_UNSUPPORTED ? STUN_PEER_FAMILY_MISMATCH
               : rc                  ? STUN_BAD_REQUEST
                                     : turnserver_check_peer(rq, peer, &to);
    }
    return code ? code : *ret_n ? 0 : STUN_BAD_REQUEST;
}

static void serve_create_permission(struct turnserver_request *rq)
{
    struct addr peer[PEERS_MAX];
    size_t n;
    unsigned code = read_peers(rq, peer, &n);
    for (size_t i = 0; i < n && !code; i++)
        if (!turnserver_permit(rq->allocation, &peer[i]))
            code = STUN_INSUFFICIENT_CAPACITY;
    if (code)
        turnserver_refuse(rq, code);
    else
        succeed(rq);
}

/* 0, or the code; then nothing has changed. */
static unsigned bind_channel(struct turnserver_request *rq)
{
    struct turnserver_allocation *a = rq->allocation;
    struct stun_attr number_attr, peer_attr;
    struct addr peer, to;
    uint16_t number;
    if (!stunmsg_find(rq->m, STUN_CHANNEL_NUMBER, &number_attr) ||
        !stunmsg_find(rq->m, STUN_XOR_PEER_ADDRESS, &peer_attr) ||
        stunmsg_channel(number_attr.value, &number) || number < CHANNEL_FIRST ||
        number > CHANNEL_LAST)
        return STUN_BAD_REQUEST;
    enum err rc = turnserver_peer_read(rq->m, peer_attr.value, &peer);
    if (rc)
        return rc == ERR_UNSUPPORTED ? STUN_PEER_FAMILY_MISMATCH : STUN_BAD_REQUEST;
    if (a->slot[0].relay.tcp || a->slot[1].relay.tcp) /* channels are of UDP */
        return STUN_BAD_REQUEST;
    unsigned code = turnserver_check_peer(rq, &peer, &to);
    if (code)
        return code;
    if (peer.port == 0)
        return STUN_BAD_REQUEST;
    struct turnserver_channel *ch = turnserver_channel_numbered(a, number),
                              *other = turnserver_channel_to(a, &peer);
    if (ch != other)
        return STUN_BAD_REQUEST;
    if (!turnserver_permit(a, &peer))
        return STUN_INSUFFICIENT_CAPACITY;
    if (!ch)
        ch = turnserver_channel_add(a);
    if (!ch)
        return STUN_INSUFFICIENT_CAPACITY;
    usec now = rq->core->now;
    *ch = (struct turnserver_channel){
        peer, to, now + TURNSERVER_CHANNEL_LIFE, now, rq->core->generation, number, true};
    return 0;
}

static void serve_channel_bind(struct turnserver_request *rq)
{
    unsigned code = bind_channel(rq);
    if (code)
        turnserver_refuse(rq, code);
    else
        succeed(rq);
}

/* ---- all ---- */

static bool is_served(const struct turnserver_core *c, uint16_t method)
{
    bool tcp = method == STUN_CONNECT || method == STUN_CONNECTION_BIND;
    return method == STUN_ALLOCATE || method == STUN_REFRESH || method == STUN_CREATE_PERMISSION ||
           method == STUN_CHANNEL_BIND || (tcp && c->ops->peer_connect);
}

/* What keeps whom the name stands for from doing this now. An allocation that stands goes on behind the end of its
 * name, so that a call may be longer, and so do its connections (of whose name turnserver_core_claim() is sure); its
 * account must still be there. */
static enum turnserver_wrong outlived(const struct turnserver_request *rq)
{
    const struct turnserver_core *c = rq->core;
    if (!rq->allocation && rq->m->method != STUN_CONNECTION_BIND && rq->login.expires <= c->wall)
        return TURNSERVER_WRONG_EXPIRED;
    return c->ops->has_account(c->arg, rq->login.account) ? TURNSERVER_WRONG_NOTHING
                                                          : TURNSERVER_WRONG_USER;
}

/* 0: go on; else the code. rq->login is there when it is proved. */
static unsigned admit(struct turnserver_request *rq)
{
    uint16_t unknown[1];
    size_t n;
    unsigned code = turnserver_authenticate(rq);
    if (code)
        return code;
    rq->wrong = outlived(rq);
    if (rq->wrong) {
        rq->login.key_n = 0; /* refused as one that is not proved */
        return STUN_UNAUTHENTICATED;
    }
    if (turnserver_has_unknown(rq->m, unknown, 1, &n))
        return STUN_UNKNOWN_ATTRIBUTE;
    const struct turnserver_allocation *a = rq->allocation;
    bool makes = rq->m->method == STUN_ALLOCATE || rq->m->method == STUN_CONNECTION_BIND;
    if (!makes && !a)
        return STUN_ALLOCATION_MISMATCH;
    /* §5: of another's allocation nobody learns more than that it is there. */
    if (a && !sv_eq(rq->login.user, (sv){a->user, a->user_n}))
        return makes ? STUN_ALLOCATION_MISMATCH : STUN_WRONG_CREDENTIALS;
    return 0;
}

/* Not with an address that may be somebody else's: who watches over guesses is not to be turned against him. (D15) */
static void tell_wrong(const struct turnserver_request *rq)
{
    const struct turnserver_core *c = rq->core;
    if (rq->wrong && rq->challenged && c->ops->wrong)
        c->ops->wrong(c->arg, rq->from, rq->claimed, rq->wrong);
}

void turnserver_serve(struct turnserver_request *rq)
{
    if (!is_served(rq->core, rq->m->method))
        return;
    unsigned code = admit(rq);
    bool proved = rq->login.key_n > 0;
    if (code && !proved && !turnserver_may_answer(rq->core, &rq->from->client)) {
        stat_turn_refuse(rq->core->stats, STAT_TURN_RATE);
        return;
    }
    if (code) {
        tell_wrong(rq);
        turnserver_refuse(rq, code);
        return;
    }
    switch (rq->m->method) {
    case STUN_ALLOCATE:
        turnserver_serve_allocate(rq);
        break;
    case STUN_REFRESH:
        serve_refresh(rq);
        break;
    case STUN_CREATE_PERMISSION:
        serve_create_permission(rq);
        break;
    case STUN_CONNECT:
        turnserver_serve_connect(rq);
        break;
    case STUN_CONNECTION_BIND:
        turnserver_serve_connection_bind(rq);
        break;
    default:
        serve_channel_bind(rq);
        break;
    }
}
