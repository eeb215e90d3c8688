/* SPDX-License-Identifier: MIT */
/* turn_test.c: the client's machine against the server's, back to back, in virtual time; and against answers that no
 * server of ours gives. */
#include "turn/turn.h"
#include "turn_world.h"

#define PEER ip("203.0.113.7", 40000)
#define NEAR ip("192.0.2.1", 5000)

enum { QUEUE = 64, MESSAGE = 2048, EVENTS = 128 };

struct message {
    char octets[MESSAGE];
    size_t n;
};

/* One client, its server, and the wires between. */
struct pair {
    struct world *w;
    struct turn *t;
    struct turnserver_tuple tuple;
    struct message queue[QUEUE]; /* to the client */
    unsigned head, count;
    unsigned sent;       /* by the client */
    unsigned lose;       /* so many of its next messages are lost */
    struct message last; /* of its own */
    bool silent;         /* no server: the test answers */
    struct turn_event event[EVENTS];
    unsigned events;
    struct addr from;
    char data[MESSAGE];
    size_t data_n;
    unsigned datas;
};

static void put(struct message *m, const sv *pieces, size_t n)
{
    m->n = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(m->n + pieces[i].n <= MESSAGE);
        if (pieces[i].n > 0)
            memcpy(m->octets + m->n, pieces[i].p, pieces[i].n);
        m->n += pieces[i].n;
    }
}

static void to_client_wire(void *arg, sv octets)
{
    struct pair *p = arg;
    assert_true(p->count < QUEUE);
    put(&p->queue[(p->head + p->count++) % QUEUE], &octets, 1);
}

static void client_sends(void *arg, const sv *pieces, size_t n)
{
    struct pair *p = arg;
    p->sent++;
    put(&p->last, pieces, n);
    if (p->tuple.transport != TURNSERVER_UDP)
        assert_int_equal(p->last.n % 4, 0); /* §12.5 */
    if (p->silent || (p->lose > 0 && p->lose--))
        return;
    sv message = {p->last.octets, p->last.n};
    size_t whole;
    if (p->tuple.transport != TURNSERVER_UDP) {
        assert_int_equal(turnserver_frame(message, &message, &whole), ERR_OK);
        assert_int_equal(whole, p->last.n);
    }
    turnserver_core_receive(p->w->core, &p->tuple, message, p->w->now, p->w->wall);
}

static void on_data(void *arg, const struct addr *peer, sv octets)
{
    struct pair *p = arg;
    p->from = *peer;
    assert_true(octets.n <= MESSAGE);
    if (octets.n > 0)
        memcpy(p->data, octets.p, octets.n);
    p->data_n = octets.n;
    p->datas++;
}

static void on_event(void *arg, const struct turn_event *e)
{
    struct pair *p = arg;
    assert_true(p->events < EVENTS);
    p->event[p->events++] = *e;
}

static void chance(void *arg, void *to, size_t n)
{
    world_chance(((struct pair *)arg)->w, to, n);
}

static const struct turn_ops ops = {
    .send = client_sends, .on_data = on_data, .on_event = on_event, .chance = chance};

static void pump(struct pair *p)
{
    while (p->count > 0) {
        struct message m = p->queue[p->head];
        p->head = (p->head + 1) % QUEUE;
        p->count--;
        assert_true(turn_receive(p->t, (sv){m.octets, m.n}, p->w->now));
    }
}

/* Time passes; what is due at the client is done when it is due. */
static void run(struct pair *p, usec by)
{
    usec until = p->w->now + by;
    for (unsigned i = 0;; i++) {
        usec next = turn_next(p->t);
        assert_true(i < 10000);
        if (next > until)
            break;
        if (next > p->w->now)
            pass(p->w, next - p->w->now);
        turn_step(p->t, p->w->now);
        pump(p);
    }
    pass(p->w, until - p->w->now);
}

static struct pair *pair_new(enum turnserver_transport transport, const struct turn_config *more)
{
    struct pair *p = MEM_NEW(struct pair);
    char user_mem[TURNSERVER_USER_MAX + 1], password_mem[64];
    struct buf user, password;
    assert_non_null(p);
    p->w = world_new();
    p->w->hook = to_client_wire;
    p->w->hook_arg = p;
    p->tuple = (struct turnserver_tuple){ip("192.0.2.77", 5000), ip("198.51.100.1", 3478),
                                         transport, NULL};
    buf_init(&user, user_mem, sizeof(user_mem));
    buf_init(&password, password_mem, sizeof(password_mem));
    assert_int_equal(
        turnserver_credential(p->w->shared, ACCOUNT, p->w->wall, 3600, &user, &password), ERR_OK);
    struct turn_config c = more ? *more : (struct turn_config){.seconds = 0};
    if (!c.user.p)
        c.user = buf_sv(&user);
    if (!c.password.p)
        c.password = buf_sv(&password);
    c.reliable = transport != TURNSERVER_UDP;
    assert_int_equal(turn_new(&c, &ops, p, &p->t), ERR_OK);
    return p;
}

static void pair_free(struct pair *p)
{
    turn_free(p->t);
    world_free(p->w);
    mem_free(p);
}

static const struct turn_event *last(const struct pair *p)
{
    assert_true(p->events > 0);
    return &p->event[p->events - 1];
}

static struct pair *standing(enum turnserver_transport transport)
{
    struct pair *p = pair_new(transport, NULL);
    turn_start(p->t, p->w->now);
    pump(p);
    assert_int_equal(p->events, 1);
    assert_int_equal(last(p)->kind, TURN_ALLOCATED);
    return p;
}

static void permit_peer(struct pair *p, const struct addr *peer)
{
    unsigned before = p->events;
    assert_int_equal(turn_permit(p->t, peer, p->w->now), ERR_OK);
    pump(p);
    assert_int_equal(p->events, before + 1);
    assert_int_equal(last(p)->kind, TURN_PERMITTED);
}

static void an_allocation_is_made_and_given_back(void **state)
{
    (void)state;
    for (enum turnserver_transport k = TURNSERVER_UDP; k <= TURNSERVER_TLS; k++) {
        struct pair *p = standing(k);
        assert_int_equal(p->sent, 2); /* the first is challenged */
        assert_true(addr_equal(&last(p)->mapped, &p->tuple.client));
        struct addr bound = relay_of(p->w)->relay->bound;
        assert_true(addr_equal(&last(p)->relayed[0], &bound));
        assert_int_equal(last(p)->relayed[1].family, 0);
        turn_stop(p->t, p->w->now);
        pump(p);
        assert_int_equal(last(p)->kind, TURN_STOPPED);
        assert_int_equal(p->w->open, 0);
        assert_true(turn_next(p->t) == USEC_NEVER);
        pair_free(p);
    }
}

static void data_goes_both_ways_through_a_channel(void **state)
{
    (void)state;
    for (enum turnserver_transport k = TURNSERVER_UDP; k <= TURNSERVER_TCP; k++) {
        struct pair *p = standing(k);
        struct addr peer = PEER, stranger = ip("203.0.113.8", 9);
        assert_int_equal(turn_send(p->t, &peer, SV("early")), ERR_STATE);
        permit_peer(p, &peer);
        assert_int_equal(turn_permit(p->t, &peer, p->w->now), ERR_OK); /* it is there */
        assert_int_equal(turn_send(p->t, &peer, SV("sound")), ERR_OK);
        struct relayed *x = relay_of(p->w);
        assert_int_equal(x->sent, 1);
        assert_memory_equal(x->octets, "sound", 5);
        assert_int_equal(p->last.octets[0], 0x40); /* by the channel */
        from_peer(p->w, x, &peer, SV("heard"));
        pump(p);
        assert_int_equal(p->datas, 1);
        assert_true(addr_equal(&p->from, &peer));
        assert_int_equal(p->data_n, 5);
        assert_memory_equal(p->data, "heard", 5);
        struct addr port = peer; /* another port of it comes in an indication */
        port.port++;
        from_peer(p->w, x, &port, SV("beside"));
        pump(p);
        assert_int_equal(p->datas, 2);
        assert_true(addr_equal(&p->from, &port));
        from_peer(p->w, x, &stranger, SV("x"));
        pump(p);
        assert_int_equal(p->datas, 2);
        turn_forget(p->t, &peer);
        assert_int_equal(turn_send(p->t, &peer, SV("x")), ERR_STATE);
        from_peer(p->w, x, &peer, SV("late"));
        pump(p);
        assert_int_equal(p->datas, 2);
        pair_free(p);
    }
}

static void both_families(void **state)
{
    struct turn_config c = {.both = true};
    struct pair *p = pair_new(TURNSERVER_UDP, &c);
    struct addr peer = ip("2001:db8::7", 9);
    (void)state;
    turn_start(p->t, p->w->now);
    pump(p);
    assert_int_equal(last(p)->relayed[0].family, 4);
    assert_int_equal(last(p)->relayed[1].family, 6);
    permit_peer(p, &peer);
    pair_free(p);
    p = standing(TURNSERVER_UDP);
    assert_int_equal(turn_permit(p->t, &peer, p->w->now), ERR_STATE); /* IPv4 alone */
    pair_free(p);
}

/* An hour and a half of a call: allocation, permission, channel and nonces all end in it several times. */
static void all_is_kept_alive(void **state)
{
    struct pair *p = standing(TURNSERVER_UDP);
    struct addr peer = PEER;
    (void)state;
    permit_peer(p, &peer);
    for (int i = 0; i < 90; i++) {
        run(p, USEC_MIN);
        assert_int_equal(turn_send(p->t, &peer, SV("x")), ERR_OK);
        assert_int_equal(relay_of(p->w)->sent, (unsigned)i + 1);
        from_peer(p->w, relay_of(p->w), &peer, SV("y"));
        pump(p);
        assert_int_equal(p->datas, (unsigned)i + 1);
    }
    assert_int_equal(p->w->opened, 1);
    assert_int_equal(p->events, 2);
    assert_true(refused(p->w, STAT_TURN_STALE_NONCE) > 0);
    assert_in_range(p->sent, 90, 160);
    pair_free(p);
}

static void what_is_lost_is_sent_again(void **state)
{
    struct pair *p = pair_new(TURNSERVER_UDP, NULL);
    struct addr peer = PEER;
    (void)state;
    p->lose = 3;
    turn_start(p->t, p->w->now);
    run(p, 10 * USEC_S);
    assert_int_equal(last(p)->kind, TURN_ALLOCATED);
    p->lose = 2;
    assert_int_equal(turn_permit(p->t, &peer, p->w->now), ERR_OK);
    run(p, 10 * USEC_S);
    assert_int_equal(last(p)->kind, TURN_PERMITTED);
    /* nobody there at all */
    p->silent = true;
    run(p, 9 * USEC_MIN + 30 * USEC_S);
    run(p, 60 * USEC_S);
    assert_int_equal(last(p)->kind, TURN_FAILED);
    assert_int_equal(last(p)->why, ERR_TIMEOUT);
    pair_free(p);
    p = pair_new(TURNSERVER_UDP, NULL);
    p->silent = true;
    turn_start(p->t, p->w->now);
    run(p, 39 * USEC_S);
    assert_int_equal(p->events, 0);
    assert_int_equal(p->sent, 7);
    run(p, USEC_S);
    assert_int_equal(last(p)->kind, TURN_FAILED);
    pair_free(p);
}

static void refusals_are_told(void **state)
{
    struct turn_config wrong = {.password = SV("wrong")}, six = {.family = 6};
    struct pair *p = pair_new(TURNSERVER_UDP, &wrong);
    struct addr lan = ip("10.0.0.1", 9), peer = PEER;
    (void)state;
    turn_start(p->t, p->w->now);
    pump(p);
    assert_int_equal(last(p)->kind, TURN_FAILED);
    assert_int_equal(last(p)->why, ERR_AUTH);
    assert_int_equal(last(p)->code, 401);
    assert_int_equal(p->sent, 2);
    pair_free(p);
    p = pair_new(TURNSERVER_UDP, &six);
    p->w->no_ipv6 = true;
    turn_start(p->t, p->w->now);
    pump(p);
    assert_int_equal(last(p)->kind, TURN_FAILED);
    assert_int_equal(last(p)->code, 440);
    pair_free(p);
    p = standing(TURNSERVER_UDP);
    assert_int_equal(turn_permit(p->t, &lan, p->w->now), ERR_OK);
    pump(p);
    assert_int_equal(last(p)->kind, TURN_REFUSED);
    assert_int_equal(last(p)->code, 403);
    assert_true(addr_equal(&last(p)->peer, &lan));
    permit_peer(p, &peer); /* the allocation stands */
    /* the server has forgotten us */
    turnserver_core_gone(p->w->core, &p->tuple);
    struct addr other = ip("203.0.113.9", 9);
    assert_int_equal(turn_permit(p->t, &other, p->w->now), ERR_OK);
    pump(p);
    assert_int_equal(last(p)->kind, TURN_FAILED);
    assert_int_equal(last(p)->code, 437);
    assert_int_equal(turn_send(p->t, &peer, SV("x")), ERR_STATE);
    pair_free(p);
}

static void where_channels_are_full_permissions_do(void **state)
{
    struct pair *p = standing(TURNSERVER_UDP);
    struct addr peer = ip("203.0.113.7", 1000), more = ip("203.0.113.7", 9);
    (void)state;
    /* by another hand, on the same 5-tuple, all channels are taken */
    struct client c = client_at(p->w, "192.0.2.77", 5000);
    p->w->hook = NULL;
    challenge(&c);
    for (int i = 0; i < TURNSERVER_CHANNELS_MAX; i++, peer.port++)
        assert_int_equal(bind_channel(&c, (uint16_t)(0x4800 + i), &peer), 0);
    p->w->hook = to_client_wire;
    permit_peer(p, &more);
    assert_int_equal(turn_send(p->t, &more, SV("hello")), ERR_OK);
    assert_int_equal(p->last.octets[0], 0); /* a Send indication */
    assert_int_equal(relay_of(p->w)->sent, 1);
    from_peer(p->w, relay_of(p->w), &more, SV("there"));
    pump(p);
    assert_int_equal(p->datas, 1);
    run(p, 20 * USEC_MIN); /* and is renewed so */
    assert_int_equal(turn_send(p->t, &more, SV("hello")), ERR_OK);
    assert_int_equal(relay_of(p->w)->sent, 2);
    pair_free(p);
}

static void peers_have_a_cap(void **state)
{
    struct pair *p = standing(TURNSERVER_UDP);
    struct addr peer = ip("203.0.113.0", 9);
    (void)state;
    for (int i = 0; i < TURN_PEERS_MAX; i++, peer.ip[3]++)
        permit_peer(p, &peer);
    assert_int_equal(turn_permit(p->t, &peer, p->w->now), ERR_TOOBIG);
    struct addr first = ip("203.0.113.0", 9);
    turn_forget(p->t, &first);
    assert_int_equal(turn_permit(p->t, &peer, p->w->now), ERR_OK);
    pair_free(p);
}

/* ---- answers of other servers ---- */

struct answer {
    char mem[MESSAGE];
    struct buf b;
    struct stun_out o;
};

/* Begins an answer to what the client sent last. */
static void answer_to(struct pair *p, struct answer *a, enum stun_class class, unsigned code)
{
    struct stunmsg m;
    assert_int_equal(stunmsg_parse((sv){p->last.octets, p->last.n}, &m), ERR_OK);
    buf_init(&a->b, a->mem, sizeof(a->mem));
    a->o = stunmsg_begin(&a->b, m.method, class, m.id);
    if (code)
        stunmsg_put_error(&a->o, code, SV(""));
}

static void give(struct pair *p, const struct answer *a)
{
    assert_int_equal(a->b.rc, ERR_OK);
    assert_true(turn_receive(p->t, buf_sv(&a->b), p->w->now));
}

static sv user(void)
{
    return SV("user");
}
static const struct turn_config plain = {.user = {"user", 4}, .password = {"pass", 4}};

static void sign_answer(struct answer *a, enum stun_integrity how)
{
    uint8_t key[STUN_KEY_MAX];
    size_t n = stun_key(how == STUN_SHA256 ? STUN_ALGORITHM_SHA256 : STUN_ALGORITHM_MD5, user(),
                        REALM, SV("pass"), key);
    stunmsg_put_integrity(&a->o, how, (sv){(char *)key, n});
}

static struct pair *lonely(enum turnserver_transport transport)
{
    struct pair *p = pair_new(transport, &plain);
    p->silent = true;
    turn_start(p->t, p->w->now);
    assert_int_equal(p->sent, 1);
    return p;
}

static void challenge_with(struct pair *p, unsigned code, sv nonce, bool list)
{
    static const uint16_t both[] = {7, STUN_ALGORITHM_SHA256, STUN_ALGORITHM_MD5};
    struct answer a;
    answer_to(p, &a, STUN_ERROR, code);
    stunmsg_put(&a.o, STUN_REALM, REALM);
    stunmsg_put(&a.o, STUN_NONCE, nonce);
    if (list)
        stunmsg_put_algorithms(&a.o, STUN_PASSWORD_ALGORITHMS, both, 3);
    give(p, &a);
}

static void succeed(struct pair *p, enum stun_integrity how)
{
    struct answer a;
    struct addr relayed = ip("198.51.100.1", 20000), mapped = NEAR;
    answer_to(p, &a, STUN_SUCCESS, 0);
    stun_put_xor_addr(&a.o, STUN_XOR_RELAYED_ADDRESS, &relayed);
    stun_put_xor_addr(&a.o, STUN_XOR_MAPPED_ADDRESS, &mapped);
    stunmsg_put_u32(&a.o, STUN_LIFETIME, 600);
    if (how != STUN_UNSIGNED)
        sign_answer(&a, how);
    give(p, &a);
}

#define COOKIE_NONE "obMatJos2AAAA" /* no features */
#define COOKIE_LIST "obMatJos2gAAA" /* password algorithms */

static void old_servers_are_understood(void **state)
{
    struct stunmsg m;
    (void)state;
    struct pair *p = lonely(TURNSERVER_UDP);
    challenge_with(p, 401, SV("any nonce of RFC 5389"), false);
    assert_int_equal(p->sent, 2);
    assert_int_equal(stunmsg_parse((sv){p->last.octets, p->last.n}, &m), ERR_OK);
    assert_int_equal(stunmsg_integrity(&m), STUN_SHA1);
    assert_false(stunmsg_has(&m, STUN_PASSWORD_ALGORITHM));
    succeed(p, STUN_SHA1);
    assert_int_equal(last(p)->kind, TURN_ALLOCATED);
    pair_free(p);
    p = lonely(TURNSERVER_UDP); /* the first that we know of a list with more in it */
    challenge_with(p, 401, SV(COOKIE_LIST "nonce"), true);
    assert_int_equal(stunmsg_parse((sv){p->last.octets, p->last.n}, &m), ERR_OK);
    assert_int_equal(stunmsg_integrity(&m), STUN_SHA256);
    succeed(p, STUN_SHA256);
    assert_int_equal(last(p)->kind, TURN_ALLOCATED);
    pair_free(p);
}

static void nobody_bids_us_down(void **state)
{
    (void)state;
    /* the nonce says there was a list (§9.2.5) */
    struct pair *p = lonely(TURNSERVER_UDP);
    challenge_with(p, 401, SV(COOKIE_LIST "nonce"), false);
    assert_int_equal(p->sent, 1);
    assert_int_equal(last(p)->kind, TURN_FAILED);
    assert_int_equal(last(p)->why, ERR_AUTH);
    pair_free(p);
    /* it was there before */
    p = lonely(TURNSERVER_UDP);
    challenge_with(p, 401, SV(COOKIE_LIST "nonce"), true);
    challenge_with(p, 438, SV(COOKIE_NONE "nonce"), false);
    assert_int_equal(p->sent, 2);
    assert_int_equal(last(p)->kind, TURN_FAILED);
    pair_free(p);
    /* an answer signed by the weaker way */
    p = lonely(TURNSERVER_UDP);
    challenge_with(p, 401, SV(COOKIE_LIST "nonce"), true);
    succeed(p, STUN_SHA1);
    assert_int_equal(p->events, 0);
    succeed(p, STUN_SHA256);
    assert_int_equal(last(p)->kind, TURN_ALLOCATED);
    pair_free(p);
}

static void forged_answers_are_as_if_they_never_came(void **state)
{
    struct answer a;
    (void)state;
    struct pair *p = lonely(TURNSERVER_UDP);
    challenge_with(p, 401, SV("nonce"), false);
    succeed(p, STUN_UNSIGNED);
    answer_to(p, &a, STUN_ERROR, 486);
    give(p, &a);
    answer_to(p, &a, STUN_ERROR, 400); /* unsigned: §9.2.5 */
    give(p, &a);
    answer_to(p, &a, STUN_SUCCESS, 0);
    stunmsg_put_integrity(&a.o, STUN_SHA1, SV("another key"));
    give(p, &a);
    assert_int_equal(p->events, 0);
    run(p, 40 * USEC_S); /* nothing else came: that is what is said */
    assert_int_equal(last(p)->kind, TURN_FAILED);
    assert_int_equal(last(p)->why, ERR_AUTH);
    pair_free(p);
    p = lonely(TURNSERVER_TCP); /* on a stream there is no other answer to wait for */
    challenge_with(p, 401, SV("nonce"), false);
    succeed(p, STUN_UNSIGNED);
    assert_int_equal(last(p)->kind, TURN_FAILED);
    assert_int_equal(last(p)->why, ERR_CORRUPT);
    pair_free(p);
}

static void another_server_is_followed_once_and_only_when_signed(void **state)
{
    struct stun_addr other = {.family = 4, .port = 3478, .ip = {203, 0, 113, 50}};
    struct answer a;
    (void)state;
    struct pair *p;
    for (int i = 0; i < 2; i++) { /* before we know who speaks, whatever it is signed with */
        p = lonely(TURNSERVER_UDP);
        answer_to(p, &a, STUN_ERROR, 300);
        stunmsg_put_address(&a.o, STUN_ALTERNATE_SERVER, &other);
        if (i == 1)
            stunmsg_put_integrity(&a.o, STUN_SHA1, SV("any key"));
        give(p, &a);
        assert_int_equal(last(p)->kind, TURN_FAILED);
        assert_int_equal(last(p)->code, 300);
        pair_free(p);
    }
    p = lonely(TURNSERVER_UDP);
    for (int i = 0; i < 2; i++) {
        challenge_with(p, 401, SV("nonce"), false);
        answer_to(p, &a, STUN_ERROR, 300);
        stunmsg_put_address(&a.o, STUN_ALTERNATE_SERVER, &other);
        sign_answer(&a, STUN_SHA1);
        give(p, &a);
        assert_int_equal(last(p)->kind, i == 0 ? TURN_ALTERNATE : TURN_FAILED);
        if (i == 0) {
            struct addr to = ip("203.0.113.50", 3478);
            assert_true(addr_equal(&last(p)->peer, &to));
            assert_true(turn_next(p->t) == USEC_NEVER);
            turn_start(p->t, p->w->now); /* unsigned again: it is another server */
        }
    }
    pair_free(p);
}

static void a_five_tuple_in_use_asks_for_another(void **state)
{
    struct answer a;
    struct pair *p = lonely(TURNSERVER_UDP);
    (void)state;
    for (int i = 0; i < 3; i++) {
        if (i == 0)
            challenge_with(p, 401, SV("nonce"), false);
        answer_to(p, &a, STUN_ERROR, 437);
        sign_answer(&a, STUN_SHA1);
        give(p, &a);
        assert_int_equal(last(p)->kind, i < 2 ? TURN_ANOTHER_PORT : TURN_FAILED);
        turn_start(p->t, p->w->now);
    }
    assert_int_equal(last(p)->code, 437);
    pair_free(p);
}

static void stale_nonces_have_an_end(void **state)
{
    struct pair *p = lonely(TURNSERVER_UDP);
    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(p->events, 0);
        challenge_with(p, i == 0 ? 401 : 438, SV("nonce"), false);
    }
    assert_int_equal(last(p)->kind, TURN_FAILED);
    assert_int_equal(last(p)->why, ERR_AUTH);
    pair_free(p);
}

static void nonsense_is_ignored(void **state)
{
    struct pair *p = standing(TURNSERVER_UDP);
    struct addr peer = PEER;
    static const sv odd[] = {{"\x40\0\0\5four", 8}, {"\x40", 1}, {"\x4f\xff\0\1x", 5}};
    (void)state;
    permit_peer(p, &peer);
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
        assert_true(turn_receive(p->t, odd[i], p->w->now));
    assert_false(turn_receive(p->t, SV("\x80rtp"), p->w->now));
    assert_false(turn_receive(p->t, SV(""), p->w->now));
    assert_int_equal(p->datas, 0);
    assert_int_equal(p->events, 2);
    pair_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_allocation_is_made_and_given_back),
        cmocka_unit_test(data_goes_both_ways_through_a_channel),
        cmocka_unit_test(both_families),
        cmocka_unit_test(all_is_kept_alive),
        cmocka_unit_test(what_is_lost_is_sent_again),
        cmocka_unit_test(refusals_are_told),
        cmocka_unit_test(where_channels_are_full_permissions_do),
        cmocka_unit_test(peers_have_a_cap),
        cmocka_unit_test(old_servers_are_understood),
        cmocka_unit_test(nobody_bids_us_down),
        cmocka_unit_test(forged_answers_are_as_if_they_never_came),
        cmocka_unit_test(another_server_is_followed_once_and_only_when_signed),
        cmocka_unit_test(a_five_tuple_in_use_asks_for_another),
        cmocka_unit_test(stale_nonces_have_an_end),
        cmocka_unit_test(nonsense_is_ignored),
    };
    return cmocka_run_group_tests(tests, world_start, NULL);
}
