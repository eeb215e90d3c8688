/* SPDX-License-Identifier: MIT */
/* Allocate: what is asked for, checked in the order of RFC 8656 §7.2, and what is given. RFC 6062 §5.1. */
#include "turnserver/turnserver_priv.h"

enum { PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 };
enum { OPEN_TRIES = 8 }; /* ports that another program has */

/* ---- what is asked for ---- */

struct asked {
    uint8_t family; /* REQUESTED-ADDRESS-FAMILY; 0: absent */
    bool both;      /* ADDITIONAL-ADDRESS-FAMILY */
    bool even, reserve, tcp;
    uint64_t token; /* 0: absent */
    usec life;
};

/* §7.2: the least of what is asked for and what we allow, but not less than the default. */
usec turnserver_lifetime(const struct turnserver_request *rq)
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
    *q = (struct asked){.life = turnserver_lifetime(rq)};
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

/* ---- what is given ---- */

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
    struct stun_out o = turnserver_begin(&b, mem, rq, STUN_SUCCESS);
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
    turnserver_finish(rq, &o);
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

void turnserver_serve_allocate(struct turnserver_request *rq)
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
