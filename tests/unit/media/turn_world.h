/* SPDX-License-Identifier: MIT */
/* turn_world.h: a TURN machine without a network: what it does is noted, time is a number. For tests. */
#ifndef TURN_WORLD_H
#define TURN_WORLD_H
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "crypto/crypto.h"
#include "turnserver/turnserver.h"

#define REALM   SV("example.test")
#define ACCOUNT SV("alice@example.test")

enum { PORT_FIRST = 20000, PORT_LAST = 20099, RELAYS = 64 };

/* Of one relayed address: what was sent from it last. */
struct relayed {
    struct turnserver_relay *relay;
    struct addr to;
    char octets[2048];
    size_t n;
    unsigned sent;
};

struct world {
    struct ports *ports;
    struct turnserver_shared *shared;
    struct turnserver_core *core;
    struct turnserver_limits limits;
    struct wheel wheel;
    struct stats stats;
    usec now, wall;
    uint64_t chance;
    struct relayed relayed[RELAYS];
    unsigned open;   /* relayed addresses that stand */
    unsigned opened; /* ever */
    unsigned
        taken; /* this many of the next sockets cannot be opened: another program has the port */
    struct addr told4; /* family 0: as it is bound */
    bool no_ipv6, no_account;
    /* credentials that were told of as wrong, last */
    unsigned wrongs;
    enum turnserver_wrong wrong;
    struct addr wrong_from;
    char wrong_user[TURNSERVER_USER_MAX];
    size_t wrong_user_n;
    /* to a client, last */
    struct turnserver_tuple to;
    char answer[4096];
    size_t answer_n;
    unsigned answers;
    struct stunmsg m;                   /* of answer, when it is STUN */
    void (*hook)(void *arg, sv octets); /* may be NULL; of each */
    void *hook_arg;
};

static inline struct addr ip(const char *text, uint16_t port)
{
    struct addr a;
    assert_int_equal(addr_parse_ip(sv_of(text), port, &a), ERR_OK);
    return a;
}

static inline void world_to_client(void *arg, const struct turnserver_tuple *client,
                                   const sv *pieces, size_t n)
{
    struct world *w = arg;
    w->to = *client;
    w->answer_n = 0;
    w->answers++;
    for (size_t i = 0; i < n; i++) {
        assert_true(w->answer_n + pieces[i].n <= sizeof(w->answer));
        if (pieces[i].n > 0)
            memcpy(w->answer + w->answer_n, pieces[i].p, pieces[i].n);
        w->answer_n += pieces[i].n;
    }
    w->m = (struct stunmsg){.method = 0};
    if (stunmsg_is((sv){w->answer, w->answer_n}))
        assert_int_equal(stunmsg_parse((sv){w->answer, w->answer_n}, &w->m), ERR_OK);
    if (w->hook)
        w->hook(w->hook_arg, (sv){w->answer, w->answer_n});
}

static inline bool world_relay_address(void *arg, const struct turnserver_tuple *client,
                                       unsigned family, struct addr *ret_bound,
                                       struct addr *ret_told)
{
    struct world *w = arg;
    (void)client;
    if (family == 6 && w->no_ipv6)
        return false;
    *ret_bound = family == 4 ? ip("198.51.100.1", 0) : ip("2001:db8:ffff::1", 0);
    *ret_told = family == 4 && w->told4.family ? w->told4 : *ret_bound;
    return true;
}

static inline enum err world_relay_open(void *arg, struct turnserver_relay *r)
{
    struct world *w = arg;
    if (w->taken > 0) {
        w->taken--;
        return ERR_BUSY;
    }
    for (unsigned i = 0; i < RELAYS; i++) {
        if (w->relayed[i].relay)
            continue;
        w->relayed[i] = (struct relayed){.relay = r};
        r->io = &w->relayed[i];
        w->open++;
        w->opened++;
        return ERR_OK;
    }
    return ERR_NOMEM;
}

static inline bool world_relay_send(void *arg, struct turnserver_relay *r, const struct addr *to,
                                    sv octets)
{
    struct relayed *x = r->io;
    (void)arg;
    assert_non_null(x);
    assert_true(octets.n <= sizeof(x->octets));
    x->to = *to;
    if (octets.n > 0)
        memcpy(x->octets, octets.p, octets.n);
    x->n = octets.n;
    x->sent++;
    return true;
}

static inline void world_relay_close(void *arg, struct turnserver_relay *r)
{
    struct world *w = arg;
    struct relayed *x = r->io;
    assert_ptr_equal(x->relay, r);
    x->relay = NULL;
    r->io = NULL;
    w->open--;
}

/* This machine: 198.51.100.0/29, 2001:db8:ffff::/64, 10.1.1.1, 127.0.0.1, ::1. */
static inline bool world_is_ours(void *arg, const struct addr *a)
{
    static const char *const ours[] = {"198.51.100.1", "198.51.100.2", "2001:db8:ffff::1",
                                       "10.1.1.1",     "127.0.0.1",    "::1"};
    (void)arg;
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        struct addr o = ip(ours[i], 0);
        if (addr_equal_ip(&o, a))
            return true;
    }
    return false;
}

static inline bool world_has_account(void *arg, sv account)
{
    const struct world *w = arg;
    return !w->no_account && sv_ends(account, SV("@example.test"));
}

static inline void world_wrong(void *arg, const struct turnserver_tuple *client, sv user,
                               enum turnserver_wrong why)
{
    struct world *w = arg;
    assert_true(user.n <= sizeof(w->wrong_user));
    if (user.n > 0)
        memcpy(w->wrong_user, user.p, user.n);
    w->wrong_user_n = user.n;
    w->wrong_from = client->client;
    w->wrong = why;
    w->wrongs++;
}

static inline void world_chance(void *arg, void *p, size_t n)
{
    struct world *w = arg;
    uint8_t *octets = p;
    for (size_t i = 0; i < n; i++) {
        w->chance = w->chance * 6364136223846793005u + 1442695040888963407u;
        octets[i] = (uint8_t)(w->chance >> 56);
    }
}

static const struct turnserver_ops world_ops = {
    .to_client = world_to_client,
    .relay_address = world_relay_address,
    .relay_open = world_relay_open,
    .relay_send = world_relay_send,
    .relay_close = world_relay_close,
    .is_ours = world_is_ours,
    .has_account = world_has_account,
    .wrong = world_wrong,
    .chance = world_chance,
};

static inline struct world *world_new_with(const struct turnserver_ops *ops)
{
    static const uint8_t secret[32] = "of a test, thirty-two octets ..";
    struct world *w = MEM_NEW(struct world);
    assert_non_null(w);
    w->now = 1000 * USEC_S;
    w->wall = 1790000000 * USEC_S;
    w->limits = (struct turnserver_limits){.lifetime = USEC_HOUR, .quota = 10};
    assert_int_equal(ports_new(PORT_FIRST, PORT_LAST, &w->ports), ERR_OK);
    assert_int_equal(turnserver_shared_new(secret, REALM, w->ports, &w->shared), ERR_OK);
    wheel_init(&w->wheel, w->now);
    assert_int_equal(
        turnserver_core_new(w->shared, 5, &w->limits, ops, w, &w->wheel, &w->stats, &w->core),
        ERR_OK);
    return w;
}

static inline struct world *world_new(void)
{
    return world_new_with(&world_ops);
}

/* For cmocka_run_group_tests. */
static inline int world_start(void **state)
{
    (void)state;
    return crypto_start();
}

/* Everything is given back. */
static inline void world_free(struct world *w)
{
    turnserver_core_free(w->core);
    assert_int_equal(w->open, 0);
    assert_int_equal(stat_get(&w->stats, STAT_TURN_ALLOCATIONS), 0);
    turnserver_shared_free(w->shared);
    assert_int_equal(ports_taken(w->ports), 0);
    ports_free(w->ports);
    mem_free(w);
}

static inline void pass(struct world *w, usec by)
{
    w->now += by;
    w->wall += by;
    wheel_advance(&w->wheel, w->now, SIZE_MAX);
}

static inline uint64_t refused(const struct world *w, enum stat_turn why)
{
    return atomic_load(&w->stats.turn[why]);
}

/* ---- a client, written by hand: the machine of media/turn is tested beside this ---- */

enum sign { UNSIGNED, SIGN_MD5, SIGN_SHA256, SIGN_MD5_LISTED };
struct client {
    struct world *w;
    struct turnserver_tuple tuple;
    char user[TURNSERVER_USER_MAX + 1], password[64], nonce[128];
    size_t user_n, password_n, nonce_n;
    enum sign sign;
    uint8_t id[STUN_ID];
    uint32_t ids;
    char mem[4096];
    struct buf b;
    struct stun_out o;
};

static inline void login(struct client *c, sv account, unsigned seconds)
{
    struct buf user, password;
    buf_init(&user, c->user, sizeof(c->user));
    buf_init(&password, c->password, sizeof(c->password));
    assert_int_equal(
        turnserver_credential(c->w->shared, account, c->w->wall, seconds, &user, &password),
        ERR_OK);
    c->user_n = user.n;
    c->password_n = password.n;
}

static inline struct client client_at(struct world *w, const char *from, uint16_t port)
{
    struct client c = {.w = w, .sign = SIGN_SHA256};
    c.tuple.client = ip(from, port);
    c.tuple.server =
        c.tuple.client.family == 4 ? ip("198.51.100.1", 3478) : ip("2001:db8:ffff::1", 3478);
    login(&c, ACCOUNT, 3600);
    return c;
}

static inline void begin(struct client *c, uint16_t method)
{
    memset(c->id, 7, sizeof(c->id));
    c->ids++;
    memcpy(c->id, &c->ids, sizeof(c->ids));
    memcpy(c->id + 4, &c->tuple.client.port, 2);
    buf_init(&c->b, c->mem, sizeof(c->mem));
    c->o = stunmsg_begin(&c->b, method, STUN_REQUEST, c->id);
}

static inline void begin_indication(struct client *c, uint16_t method)
{
    begin(c, method);
    buf_reset(&c->b);
    c->o = stunmsg_begin(&c->b, method, STUN_INDICATION, c->id);
}

static inline void put_peer(struct client *c, const struct addr *a)
{
    struct stun_addr s = {.family = a->family, .port = a->port};
    memcpy(s.ip, a->ip, 16);
    stunmsg_put_xor_address(&c->o, STUN_XOR_PEER_ADDRESS, &s);
}

static inline void sign(struct client *c)
{
    static const uint16_t both[] = {STUN_ALGORITHM_SHA256, STUN_ALGORITHM_MD5};
    uint8_t key[STUN_KEY_MAX];
    bool sha256 = c->sign == SIGN_SHA256;
    if (c->sign == UNSIGNED)
        return;
    stunmsg_put(&c->o, STUN_USERNAME, (sv){c->user, c->user_n});
    stunmsg_put(&c->o, STUN_REALM, REALM);
    stunmsg_put(&c->o, STUN_NONCE, (sv){c->nonce, c->nonce_n});
    if (c->sign != SIGN_MD5) {
        stunmsg_put_algorithms(&c->o, STUN_PASSWORD_ALGORITHMS, both, 2);
        stunmsg_put_algorithms(&c->o, STUN_PASSWORD_ALGORITHM, sha256 ? &both[0] : &both[1], 1);
    }
    size_t n = stun_key(sha256 ? STUN_ALGORITHM_SHA256 : STUN_ALGORITHM_MD5,
                        (sv){c->user, c->user_n}, REALM, (sv){c->password, c->password_n}, key);
    stunmsg_put_integrity(&c->o, sha256 ? STUN_SHA256 : STUN_SHA1, (sv){(char *)key, n});
}

/* What stands in c goes to the machine. */
static inline void deliver(struct client *c)
{
    assert_int_equal(c->b.rc, ERR_OK);
    turnserver_core_receive(c->w->core, &c->tuple, buf_sv(&c->b), c->w->now, c->w->wall);
}

/* The answer's code: 0 of a success; -1: there was none. */
static inline int code_of(struct client *c, unsigned before)
{
    struct stun_attr a;
    unsigned code;
    sv reason;
    if (c->w->answers == before)
        return -1;
    assert_int_equal(c->w->answers, before + 1);
    assert_memory_equal(c->w->m.id, c->id, STUN_ID);
    assert_true(addr_equal(&c->w->to.client, &c->tuple.client));
    if (c->w->m.class == STUN_SUCCESS)
        return 0;
    assert_int_equal(c->w->m.class, STUN_ERROR);
    assert_true(stunmsg_find(&c->w->m, STUN_ERROR_CODE, &a));
    assert_int_equal(stunmsg_error_code(a.value, &code, &reason), ERR_OK);
    return (int)code;
}

static inline int ask(struct client *c)
{
    unsigned before = c->w->answers;
    sign(c);
    deliver(c);
    return code_of(c, before);
}

static inline void take_nonce(struct client *c)
{
    struct stun_attr a;
    assert_true(stunmsg_find(&c->w->m, STUN_NONCE, &a));
    assert_true(a.value.n < sizeof(c->nonce));
    memcpy(c->nonce, a.value.p, a.value.n);
    c->nonce_n = a.value.n;
}

/* The challenge that a first request brings. */
static inline void challenge(struct client *c)
{
    enum sign how = c->sign;
    c->sign = UNSIGNED;
    begin(c, STUN_ALLOCATE);
    stunmsg_put_transport(&c->o, 17);
    assert_int_equal(ask(c), 401);
    take_nonce(c);
    c->sign = how;
}

static inline int allocate(struct client *c)
{
    begin(c, STUN_ALLOCATE);
    stunmsg_put_transport(&c->o, 17);
    return ask(c);
}

static inline struct client allocated(struct world *w, const char *from, uint16_t port)
{
    struct client c = client_at(w, from, port);
    challenge(&c);
    assert_int_equal(allocate(&c), 0);
    return c;
}

static inline struct addr address_in(const struct stunmsg *m, enum stun_type type)
{
    struct stun_attr a;
    struct stun_addr s;
    assert_true(stunmsg_find(m, type, &a));
    assert_int_equal(stunmsg_xor_address(m, a.value, &s), ERR_OK);
    return addr_from_ip(s.ip, s.family == 6 ? 16 : 4, s.port);
}

static inline uint32_t lifetime_in(const struct stunmsg *m)
{
    struct stun_attr a;
    uint32_t v;
    assert_true(stunmsg_find(m, STUN_LIFETIME, &a));
    assert_int_equal(stunmsg_u32(a.value, &v), ERR_OK);
    return v;
}

static inline int permit(struct client *c, const struct addr *peer)
{
    begin(c, STUN_CREATE_PERMISSION);
    put_peer(c, peer);
    return ask(c);
}

static inline int bind_channel(struct client *c, uint16_t number, const struct addr *peer)
{
    begin(c, STUN_CHANNEL_BIND);
    stunmsg_put_channel(&c->o, number);
    put_peer(c, peer);
    return ask(c);
}

static inline int refresh(struct client *c, uint32_t seconds)
{
    begin(c, STUN_REFRESH);
    stunmsg_put_u32(&c->o, STUN_LIFETIME, seconds);
    return ask(c);
}

/* A Send indication. */
static inline void send_to(struct client *c, const struct addr *peer, sv data)
{
    begin_indication(c, STUN_SEND);
    put_peer(c, peer);
    stunmsg_put(&c->o, STUN_DATA, data);
    deliver(c);
}

static inline void send_channel(struct client *c, uint16_t number, sv data)
{
    char head[4] = {(char)(number >> 8), (char)number, (char)(data.n >> 8), (char)data.n};
    buf_init(&c->b, c->mem, sizeof(c->mem));
    buf_mem(&c->b, head, 4);
    buf_put(&c->b, data);
    deliver(c);
}

/* The first relayed address that stands. */
static inline struct relayed *relay_of(struct world *w)
{
    for (unsigned i = 0; i < RELAYS; i++)
        if (w->relayed[i].relay)
            return &w->relayed[i];
    fail_msg("no relayed address stands");
    return NULL;
}

static inline void from_peer(struct world *w, struct relayed *x, const struct addr *peer, sv data)
{
    turnserver_core_relayed(w->core, x->relay, peer, data, w->now);
}

static inline sv answer_of(const struct world *w)
{
    return (sv){w->answer, w->answer_n};
}

#endif
