/* SPDX-License-Identifier: MIT */
/* Requests: proved, then served. RFC 8656 §7 to §10, §12.
 *
 * Of a request without credentials nothing is kept, and its answer is as short as the RFC lets it be: the code
 * without words, realm, nonce, algorithms; no SOFTWARE. A source has so many of them a second. (D15) */
#include "turnserver/turnserver_priv.h"

enum { UNKNOWN_MAX = 16, PEERS_MAX = TURNSERVER_PERMISSIONS_MAX };
enum { PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 };
enum { CHANNEL_FIRST = 0x4000, CHANNEL_LAST = 0x4fff };
enum { OPEN_TRIES = 8 }; /* ports that another program has */

/* ---- answers ---- */

static struct stun_out begin(struct buf *b, char mem[static TURN_OUT_MAX],
                             struct turnserver_request *rq, enum stun_class class)
{
    buf_init(b, mem, TURN_OUT_MAX);
    return stunmsg_begin(b, rq->m->method, class, rq->m->id);
}

static void finish(struct turnserver_request *rq, const struct stun_out *o)
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

static enum stat_turn reason_of(unsigned code)
{
    switch (code) {
    case STUN_UNAUTHENTICATED:
        return STAT_TURN_UNAUTHENTICATED;
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
    stat_turn_refuse(rq->core->stats, reason_of(code));
    struct stun_out o = begin(&b, mem, rq, STUN_ERROR);
    if (proved)
        stunmsg_put_error_of(&o, (enum stun_error)code);
    else
        stunmsg_put_error(&o, code, SV(""));
    if (code == STUN_UNAUTHENTICATED || code == STUN_STALE_NONCE)
        turnserver_put_challenge(rq->core, &o, &rq->from->client);
    if (code == STUN_UNKNOWN_ATTRIBUTE)
        put_unknown(rq, &o);
    finish(rq, &o);
}

static void succeed(struct turnserver_request *rq)
{
    char mem[TURN_OUT_MAX];
    struct buf b;
    struct stun_out o = begin(&b, mem, rq, STUN_SUCCESS);
    finish(rq, &o);
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
    struct stun_out o = begin(&b, mem, &rq, STUN_SUCCESS);
    struct stun_addr mapped = turnserver_stun_addr(&from->client);
    stunmsg_put_xor_address(&o, STUN_XOR_MAPPED_ADDRESS, &mapped);
    finish(&rq, &o);
}

/* ---- Allocate: what is asked for (§7.2) ---- */

struct asked {
    uint8_t family; /* REQUESTED-ADDRESS-FAMILY; 0: absent */
    bool both;      /* ADDITIONAL-ADDRESS-FAMILY */
    bool even, reserve, tcp;
    uint64_t token; /* 0: absent */
    usec life;
};

/* §7.2: the least of what is asked for and what we allow, but not less than the default. */
static usec lifetime(const struct turnserver_request *rq)
{
    const struct turnserver_limits *l = &rq->core->limits;
    struct stun_attr a;
    uint32_t seconds = 0;
    usec life = 0;
    if (stunmsg_find(rq->m, STUN_LIFETIME, &a) && !stunmsg_u32(a.value, &seconds))
        life = (usec)seconds * USEC_S;
    if (life > l->lifetime)
        life = l->lifetime;
    return life > TURNSERVER_LIFETIME_DEFAULT ? life : TURNSERVER_LIFETIME_DEFAULT;
}

/* REQUESTED-TRANSPORT (step 3; RFC 6062 §5.1). 0: fine, else the code. */
static unsigned read_transport(struct turnserver_request *rq, struct asked *q)
{
    struct stun_attr a;
    uint8_t protocol;
    if (!stunmsg_find(rq->m, STUN_REQUESTED_TRANSPORT, &a) || stunmsg_transport(a.value, &protocol))
        return STUN_BAD_REQUEST;
    q->tcp = protocol == PROTOCOL_TCP;
    if (protocol != PROTOCOL_UDP && (!q->tcp || !rq->core->ops->peer_connect))
        return STUN_UNSUPPORTED_TRANSPORT;
    return q->tcp && rq->from->transport == TURNSERVER_UDP ? STUN_BAD_REQUEST : 0;
}

/* The families (steps 5 to 7, 9). 0: fine, else the code. */
static unsigned read_families(struct turnserver_request *rq, struct asked *q)
{
    struct stun_attr a, b;
    bool one = stunmsg_find(rq->m, STUN_REQUESTED_ADDRESS_FAMILY, &a);
    bool more = stunmsg_find(rq->m, STUN_ADDITIONAL_ADDRESS_FAMILY, &b);
    uint8_t family = 0;
    if (q->token && (one || more))
        return STUN_BAD_REQUEST;
    if (one && more)
        return STUN_BAD_REQUEST;
    if (one) {
        enum err rc = stunmsg_family(a.value, &q->family);
        return rc == ERR_UNSUPPORTED ? STUN_FAMILY_NOT_SUPPORTED : rc ? STUN_BAD_REQUEST : 0;
    }
    if (more && (stunmsg_family(b.value, &family) || family != 6 || q->reserve))
        return STUN_BAD_REQUEST;
    q->both = more;
    return 0;
}

static unsigned read_allocate(struct turnserver_request *rq, struct asked *q)
{
    struct stun_attr a;
    *q = (struct asked){.life = lifetime(rq)};
    unsigned code = read_transport(rq, q);
    if (code)
        return code;
    if (stunmsg_find(rq->m, STUN_RESERVATION_TOKEN, &a) &&
        (stunmsg_u64(a.value, &q->token) || !q->token))
        return stunmsg_u64(a.value, &q->token) ? STUN_BAD_REQUEST : STUN_INSUFFICIENT_CAPACITY;
    if (stunmsg_find(rq->m, STUN_EVEN_PORT, &a)) {
        q->even = true;
        if (q->token || stunmsg_even_port(a.value, &q->reserve))
            return STUN_BAD_REQUEST;
    }
    if (q->tcp && (q->even || q->token)) /* RFC 6062 §5.1 */
        return STUN_BAD_REQUEST;
    return read_families(rq, q);
}

/* ---- Allocate: what is given ---- */

static uint32_t chance32(struct turnserver_core *c)
{
    uint32_t v;
    c->ops->chance(c->arg, &v, sizeof(v));
    return v;
}

static unsigned code_of(enum err rc)
{
    return rc == ERR_NOMEM || rc == ERR_IO || rc == ERR_STATE ? STUN_SERVER_ERROR
                                                              : STUN_INSUFFICIENT_CAPACITY;
}

/* The socket of a relay whose port is taken; on failure the port stays taken. */
static enum err open_relay(struct turnserver_slot *s, const struct asked *q)
{
    struct turnserver_core *c = s->of->core;
    s->relay.tcp = q->tcp;
    TRY(c->ops->relay_open(c->arg, &s->relay));
    s->until = c->now + q->life;
    if (!q->tcp)
        ports_live(turnserver_ports(c->shared), &s->relay.bound);
    return ERR_OK;
}

/* The port behind this one waits for who shows the token. */
static enum err keep_next(struct turnserver_slot *s)
{
    struct turnserver_core *c = s->of->core;
    struct turnserver_relay next = s->relay;
    uint64_t token = 0;
    next.bound.port++;
    next.told.port++;
    next.io = NULL;
    while (!token)
        c->ops->chance(c->arg, &token, sizeof(token));
    TRY(turnserver_reserve(c->shared, token, &next, c->now));
    s->of->token = token;
    return ERR_OK;
}

/* An address of this family: 0, or the code. A port that another program has is passed over. */
static unsigned give(struct turnserver_allocation *a, unsigned family, const struct asked *q)
{
    struct turnserver_core *c = a->core;
    struct turnserver_slot *s = &a->slot[family == 6];
    unsigned n = q->reserve ? 2 : 1;
    struct addr bound, told;
    if (!c->ops->relay_address(c->arg, &a->tuple, family, &bound, &told))
        return STUN_FAMILY_NOT_SUPPORTED;
    for (int i = 0; i < OPEN_TRIES; i++) {
        uint16_t port;
        if (ports_take(turnserver_ports(c->shared), n, q->even, chance32(c), &port))
            return STUN_INSUFFICIENT_CAPACITY;
        s->relay = (struct turnserver_relay){.bound = bound, .told = told};
        s->relay.bound.port = s->relay.told.port = port;
        enum err rc = open_relay(s, q);
        if (!rc && q->reserve && keep_next(s)) {
            ports_give(turnserver_ports(c->shared), (uint16_t)(port + 1), 1);
            turnserver_slot_close(s);
            return STUN_INSUFFICIENT_CAPACITY;
        }
        if (!rc)
            return 0;
        ports_give(turnserver_ports(c->shared), port, n);
        if (rc != ERR_BUSY && rc != ERR_DENIED)
            return code_of(rc);
    }
    return STUN_INSUFFICIENT_CAPACITY;
}

static unsigned give_reserved(struct turnserver_allocation *a, const struct asked *q)
{
    struct turnserver_core *c = a->core;
    struct turnserver_relay r;
    if (!turnserver_claim(c->shared, q->token, c->now, &r))
        return STUN_INSUFFICIENT_CAPACITY;
    struct turnserver_slot *s = &a->slot[r.bound.family == 6];
    s->relay = r;
    if (!open_relay(s, q))
        return 0;
    ports_give(turnserver_ports(c->shared), r.bound.port, 1);
    return STUN_INSUFFICIENT_CAPACITY;
}

/* Step 9: of two one is enough, and the other's refusal is told. */
static unsigned give_all(struct turnserver_allocation *a, const struct asked *q)
{
    if (q->token)
        return give_reserved(a, q);
    if (!q->both)
        return give(a, q->family ? q->family : 4, q);
    unsigned code4 = give(a, 4, q), code6 = give(a, 6, q);
    a->refused_family = code4 ? 4 : 6;
    a->refused_code = (uint16_t)(code4 ? code4 : code6);
    if (code4 && code6)
        return code4 == code6 ? code4 : STUN_INSUFFICIENT_CAPACITY;
    return 0;
}

/* §7.2, also of a repetition. */
static void answer_allocate(struct turnserver_request *rq, const struct turnserver_allocation *a)
{
    char mem[TURN_OUT_MAX];
    struct buf b;
    struct stun_out o = begin(&b, mem, rq, STUN_SUCCESS);
    usec until = 0;
    for (int i = 0; i < 2; i++) {
        if (a->slot[i].until == 0)
            continue;
        struct stun_addr relayed = turnserver_stun_addr(&a->slot[i].relay.told);
        stunmsg_put_xor_address(&o, STUN_XOR_RELAYED_ADDRESS, &relayed);
        until = a->slot[i].until;
    }
    stunmsg_put_u32(&o, STUN_LIFETIME, (uint32_t)((until - rq->core->now) / USEC_S));
    struct stun_addr mapped = turnserver_stun_addr(&rq->from->client);
    stunmsg_put_xor_address(&o, STUN_XOR_MAPPED_ADDRESS, &mapped);
    if (a->token)
        stunmsg_put_u64(&o, STUN_RESERVATION_TOKEN, a->token);
    if (a->refused_code)
        stunmsg_put_address_error(&o, a->refused_family, a->refused_code, SV(""));
    finish(rq, &o);
}

/* 0, or the code: then there is no allocation. */
static unsigned make(struct turnserver_request *rq, const struct asked *q)
{
    struct turnserver_core *c = rq->core;
    struct turnserver_allocation *a;
    struct turnserver_account account = turnserver_account_of(c->shared, rq->login.account);
    enum err rc = turnserver_enter(c->shared, account, c->limits.quota, c->now);
    if (rc)
        return rc == ERR_TOOBIG ? STUN_QUOTA_REACHED : STUN_INSUFFICIENT_CAPACITY;
    if (turnserver_allocation_new(c, rq->from, rq->login.user, &a)) {
        turnserver_leave(c->shared, account);
        return STUN_SERVER_ERROR;
    }
    a->account = account;
    memcpy(a->id, rq->m->id, STUN_ID);
    unsigned code = give_all(a, q);
    if (code) {
        turnserver_allocation_end(a);
        return code;
    }
    turnserver_allocation_arm(a);
    rq->allocation = a;
    return 0;
}

static void serve_allocate(struct turnserver_request *rq)
{
    struct turnserver_allocation *a = rq->allocation;
    struct asked q;
    if (a && memcmp(a->id, rq->m->id, STUN_ID) == 0) {
        answer_allocate(rq, a); /* its answer was lost (§7.2, note) */
        return;
    }
    unsigned code = a ? STUN_ALLOCATION_MISMATCH : read_allocate(rq, &q);
    if (!code)
        code = make(rq, &q);
    if (code)
        turnserver_refuse(rq, code);
    else
        answer_allocate(rq, rq->allocation);
}

/* ---- Refresh (§8.2) ---- */

static void answer_life(struct turnserver_request *rq, usec life)
{
    char mem[TURN_OUT_MAX];
    struct buf b;
    struct stun_out o = begin(&b, mem, rq, STUN_SUCCESS);
    stunmsg_put_u32(&o, STUN_LIFETIME, (uint32_t)(life / USEC_S));
    finish(rq, &o);
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
    usec life = seconds > 0 ? lifetime(rq) : 0;
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
static unsigned check_peer(struct turnserver_request *rq, const struct addr *peer,
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
    size_t n = 0;
    unsigned code = 0;
    for (struct stun_attr a; stunmsg_next(rq->m, &w, &a) && !code;) {
        if (a.type != STUN_XOR_PEER_ADDRESS)
            continue;
        if (n == PEERS_MAX)
            return STUN_INSUFFICIENT_CAPACITY;
        enum err rc = turnserver_peer_read(rq->m, a.value, &ret_peers[n]);
        code = rc == ERR_UNSUPPORTED ? STUN_PEER_FAMILY_MISMATCH
               : rc                  ? STUN_BAD_REQUEST
                                     : check_peer(rq, &ret_peers[n], &to);
        n++;
    }
    *ret_n = n;
    return code ? code : n ? 0 : STUN_BAD_REQUEST;
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
    unsigned code = check_peer(rq, &peer, &to);
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

static bool is_served(uint16_t method)
{
    return method == STUN_ALLOCATE || method == STUN_REFRESH || method == STUN_CREATE_PERMISSION ||
           method == STUN_CHANNEL_BIND;
}

/* Whom the name stands for may do this now. An allocation that stands goes on behind the end of its name, so that a
 * call may be longer; its account must still be there. */
static bool is_fresh(const struct turnserver_request *rq)
{
    const struct turnserver_core *c = rq->core;
    if (!rq->allocation && rq->login.expires <= c->wall)
        return false;
    return c->ops->has_account(c->arg, rq->login.account);
}

/* 0: go on; else the code. rq->login is there when it is proved. */
static unsigned admit(struct turnserver_request *rq)
{
    struct turnserver_login l;
    uint16_t unknown[1];
    size_t n;
    unsigned code = turnserver_authenticate(rq->core, rq->m, rq->from, &l);
    if (code)
        return code;
    rq->login = l;
    crypto_wipe(l.key, sizeof(l.key));
    if (!is_fresh(rq)) {
        stat_turn_refuse(rq->core->stats, STAT_TURN_EXPIRED);
        rq->login.key_n = 0; /* as of one that is wrong */
        return STUN_UNAUTHENTICATED;
    }
    if (turnserver_has_unknown(rq->m, unknown, 1, &n))
        return STUN_UNKNOWN_ATTRIBUTE;
    const struct turnserver_allocation *a = rq->allocation;
    if (rq->m->method != STUN_ALLOCATE && !a)
        return STUN_ALLOCATION_MISMATCH;
    /* §5: of another's allocation nobody learns more than that it is there. */
    if (a && !sv_eq(rq->login.user, (sv){a->user, a->user_n}))
        return rq->m->method == STUN_ALLOCATE ? STUN_ALLOCATION_MISMATCH : STUN_WRONG_CREDENTIALS;
    return 0;
}

void turnserver_serve(struct turnserver_request *rq)
{
    if (!is_served(rq->m->method))
        return;
    unsigned code = admit(rq);
    bool proved = rq->login.key_n > 0;
    if (code && !proved && !turnserver_may_answer(rq->core, &rq->from->client)) {
        stat_turn_refuse(rq->core->stats, STAT_TURN_RATE);
        return;
    }
    if (code) {
        turnserver_refuse(rq, code);
        return;
    }
    switch (rq->m->method) {
    case STUN_ALLOCATE:
        serve_allocate(rq);
        break;
    case STUN_REFRESH:
        serve_refresh(rq);
        break;
    case STUN_CREATE_PERMISSION:
        serve_create_permission(rq);
        break;
    default:
        serve_channel_bind(rq);
        break;
    }
}
