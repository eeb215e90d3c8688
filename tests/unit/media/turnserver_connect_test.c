/* SPDX-License-Identifier: MIT */
/* turnserver_connect_test.c: TCP on the relayed side (RFC 6062), as far as the machine goes. */
#include "turn_world.h"

#define PEER ip("203.0.113.7", 4000)

/* What the machine has asked its performer for. One world at a time. */
static struct {
    unsigned connects, closes, binds;
    struct addr to;
    struct turnserver_peer *peer;
    uint32_t id;
    char user[TURNSERVER_USER_MAX];
    size_t user_n;
    struct turnserver_answer answer;
    struct turnserver_tuple client;
    enum err fail;
} did;

static enum err peer_connect(void *arg, struct turnserver_relay *r, struct turnserver_peer *p)
{
    (void)arg;
    assert_true(r->tcp);
    did.connects++;
    did.to = p->addr;
    did.peer = p;
    return did.fail;
}

static void peer_bind(void *arg, const struct turnserver_tuple *client, uint32_t id, sv user,
                      const struct turnserver_answer *answer)
{
    (void)arg;
    did.binds++;
    did.id = id;
    did.client = *client;
    did.answer = *answer;
    memcpy(did.user, user.p, user.n);
    did.user_n = user.n;
}

static void peer_close(void *arg, struct turnserver_peer *p)
{
    (void)arg;
    (void)p;
    did.closes++;
}

static struct turnserver_ops tcp_ops;

static struct world *fresh(void)
{
    memset(&did, 0, sizeof(did));
    tcp_ops = world_ops;
    tcp_ops.peer_connect = peer_connect;
    tcp_ops.peer_bind = peer_bind;
    tcp_ops.peer_close = peer_close;
    return world_new_with(&tcp_ops);
}

static int allocate_tcp(struct client *c)
{
    begin(c, STUN_ALLOCATE);
    stunmsg_put_transport(&c->o, 6);
    return ask(c);
}

static struct client control_of(struct world *w)
{
    struct client c = client_at(w, "192.0.2.77", 5000);
    c.tuple.transport = TURNSERVER_TCP;
    challenge(&c);
    assert_int_equal(allocate_tcp(&c), 0);
    return c;
}

/* -1: it is not answered yet. */
static int connect_to(struct client *c, const struct addr *peer)
{
    begin(c, STUN_CONNECT);
    put_peer(c, peer);
    return ask(c);
}

static uint32_t connection_in(const struct stunmsg *m)
{
    struct stun_attr a;
    uint32_t id;
    assert_true(stunmsg_find(m, STUN_CONNECTION_ID, &a));
    assert_int_equal(stunmsg_u32(a.value, &id), ERR_OK);
    return id;
}

static int bind_to(struct client *c, uint32_t id)
{
    begin(c, STUN_CONNECTION_BIND);
    stunmsg_put_u32(&c->o, STUN_CONNECTION_ID, id);
    return ask(c);
}

static struct client data_of(const struct client *control, uint16_t port)
{
    struct client c = *control;
    c.tuple.client.port = port;
    return c;
}

static sv asked_by(void)
{
    return (sv){did.user, did.user_n};
}

static void what_tcp_is_not_asked_for(void **state)
{
    struct world *w = fresh();
    struct client c = client_at(w, "192.0.2.77", 5000);
    (void)state;
    challenge(&c);
    assert_int_equal(allocate_tcp(&c), 400); /* over UDP */
    c.tuple.transport = TURNSERVER_TLS;
    begin(&c, STUN_ALLOCATE);
    stunmsg_put_transport(&c.o, 6);
    stunmsg_put_even_port(&c.o, false);
    assert_int_equal(ask(&c), 400);
    begin(&c, STUN_ALLOCATE);
    stunmsg_put_transport(&c.o, 6);
    stunmsg_put_u64(&c.o, STUN_RESERVATION_TOKEN, 1);
    assert_int_equal(ask(&c), 400);
    struct addr peer = PEER;
    assert_int_equal(connect_to(&c, &peer), 437);
    assert_int_equal(allocate(&c), 0); /* UDP is no relay to connect from */
    assert_int_equal(connect_to(&c, &peer), 400);
    world_free(w);
}

static void a_connection_is_made_and_bound(void **state)
{
    struct world *w = fresh();
    struct client c = control_of(w), d = data_of(&c, 5001);
    struct addr peer = PEER;
    struct turnserver_peer *p;
    (void)state;
    assert_true(relay_of(w)->relay->tcp);
    assert_int_equal(connect_to(&c, &peer), -1);
    assert_true(addr_equal(&did.to, &peer));
    uint8_t first[STUN_ID];
    memcpy(first, c.id, STUN_ID);
    assert_int_equal(connect_to(&c, &peer), 446); /* under way */
    unsigned before = w->answers;
    turnserver_core_connected(w->core, did.peer, ERR_OK, w->now);
    assert_int_equal(w->answers, before + 1);
    assert_int_equal(w->m.class, STUN_SUCCESS);
    assert_int_equal(w->m.method, STUN_CONNECT);
    assert_memory_equal(w->m.id, first, STUN_ID);
    assert_int_equal(stunmsg_integrity(&w->m), STUN_SHA256);
    uint32_t id = connection_in(&w->m);
    assert_int_equal(id >> TURNSERVER_ID_SHIFT, 5); /* which machine has it */
    assert_int_equal(connect_to(&c, &peer), 446);   /* and still */
    assert_int_equal(bind_to(&d, id), -1);
    assert_int_equal(did.binds, 1);
    assert_int_equal(did.id, id);
    assert_int_equal(turnserver_core_claim(w->core, id, asked_by(), &p), 0);
    assert_ptr_equal(p, did.peer);
    turnserver_core_answer(w->core, &did.client, &did.answer, 0);
    assert_int_equal(w->m.class, STUN_SUCCESS);
    assert_memory_equal(w->m.id, d.id, STUN_ID);
    assert_int_equal(turnserver_core_claim(w->core, id, asked_by(), &p), 400); /* once */
    pass(w, TURNSERVER_BIND_TIME + USEC_S);
    assert_int_equal(did.closes, 0); /* bound, it has no deadline */
    turnserver_core_ended(w->core, p);
    assert_int_equal(connect_to(&c, &peer), -1); /* it may begin anew */
    turnserver_core_connected(w->core, did.peer, ERR_REFUSED, w->now);
    assert_int_equal(w->m.class, STUN_ERROR);
    assert_int_equal(refused(w, STAT_TURN_CONNECTION), 3);
    did.fail = ERR_BUSY;
    assert_int_equal(connect_to(&c, &peer), 447);
    assert_int_equal(did.closes, 0);
    world_free(w);
}

static void peers_are_judged_and_counted(void **state)
{
    struct world *w = fresh();
    struct client c = control_of(w);
    struct addr peer = PEER, lan = ip("10.0.0.1", 80), six = ip("2001:db8::7", 80);
    struct addr none = ip("203.0.113.7", 0);
    (void)state;
    assert_int_equal(connect_to(&c, &lan), 403);
    assert_int_equal(connect_to(&c, &six), 443);
    assert_int_equal(connect_to(&c, &none), 400);
    begin(&c, STUN_CONNECT);
    assert_int_equal(ask(&c), 400);
    for (int i = 0; i < TURNSERVER_CONNECTIONS_MAX; i++, peer.port++)
        assert_int_equal(connect_to(&c, &peer), -1);
    assert_int_equal(connect_to(&c, &peer), 508);
    assert_int_equal(bind_channel(&c, 0x4000, &peer), 400); /* channels are of UDP */
    world_free(w);
    assert_int_equal(did.closes, TURNSERVER_CONNECTIONS_MAX);
}

static void time_runs_out(void **state)
{
    struct world *w = fresh();
    struct client c = control_of(w);
    struct addr peer = PEER;
    struct turnserver_peer *p;
    (void)state;
    assert_int_equal(connect_to(&c, &peer), -1);
    unsigned before = w->answers;
    pass(w, TURNSERVER_CONNECT_TIME);
    assert_int_equal(w->answers, before + 1);
    assert_int_equal(code_of(&c, before), 447);
    assert_int_equal(did.closes, 1);
    assert_int_equal(connect_to(&c, &peer), -1);
    pass(w, TURNSERVER_CONNECT_TIME - USEC_S);
    turnserver_core_connected(w->core, did.peer, ERR_OK, w->now);
    uint32_t id = connection_in(&w->m);
    pass(w, TURNSERVER_BIND_TIME - USEC_S);
    assert_int_equal(did.closes, 1);
    pass(w, USEC_S); /* nobody came for it (§5.2) */
    assert_int_equal(did.closes, 2);
    assert_int_equal(turnserver_core_claim(w->core, id, (sv){c.user, c.user_n}, &p), 400);
    world_free(w);
}

static void a_peer_that_connects_needs_a_permission(void **state)
{
    struct world *w = fresh();
    struct client c = control_of(w);
    struct addr peer = PEER, any = ip("203.0.113.7", 0);
    struct turnserver_relay *r = relay_of(w)->relay;
    (void)state;
    assert_null(turnserver_core_accepted(w->core, r, &peer, w->now));
    assert_int_equal(permit(&c, &any), 0);
    struct turnserver_peer *p = turnserver_core_accepted(w->core, r, &peer, w->now);
    assert_non_null(p);
    assert_int_equal(w->m.method, STUN_CONNECTION_ATTEMPT);
    assert_int_equal(w->m.class, STUN_INDICATION);
    assert_int_equal(connection_in(&w->m), p->id);
    struct addr seen = address_in(&w->m, STUN_XOR_PEER_ADDRESS);
    assert_true(addr_equal(&seen, &peer));
    for (int i = 1; i < TURNSERVER_CONNECTIONS_MAX; i++) {
        peer.port++;
        assert_non_null(turnserver_core_accepted(w->core, r, &peer, w->now));
    }
    peer.port++;
    assert_null(turnserver_core_accepted(w->core, r, &peer, w->now));
    assert_int_equal(refused(w, STAT_TURN_CAPACITY), 1);
    pass(w, TURNSERVER_BIND_TIME);
    assert_int_equal(did.closes, TURNSERVER_CONNECTIONS_MAX);
    /* allowed once, closed since */
    w->limits.peers_n = 0;
    pass(w, TURNSERVER_PERMISSION_LIFE);
    assert_null(turnserver_core_accepted(w->core, r, &peer, w->now));
    world_free(w);
}

static void a_connection_to_who_may_not_be_reached_any_more_ends(void **state)
{
    struct world *w = fresh();
    struct client c = control_of(w);
    struct addr peer = PEER, other = ip("203.0.113.8", 7), any = ip("203.0.113.7", 0);
    (void)state;
    assert_int_equal(permit(&c, &any), 0);
    assert_non_null(turnserver_core_accepted(w->core, relay_of(w)->relay, &peer, w->now));
    assert_int_equal(turnserver_core_forbid(w->core, &other, 1), ERR_OK);
    assert_int_equal(did.closes, 0);
    assert_int_equal(turnserver_core_forbid(w->core, &peer, 1), ERR_OK);
    assert_int_equal(did.closes, 1);
    assert_null(turnserver_core_accepted(w->core, relay_of(w)->relay, &peer, w->now));
    world_free(w);
}

static void a_connection_is_its_users_and_its_allocations(void **state)
{
    struct world *w = fresh();
    struct client c = control_of(w), d = data_of(&c, 5001);
    struct addr peer = PEER, any = ip("203.0.113.7", 0);
    struct turnserver_peer *p, *q;
    (void)state;
    assert_int_equal(permit(&c, &any), 0);
    p = turnserver_core_accepted(w->core, relay_of(w)->relay, &peer, w->now);
    assert_int_equal(turnserver_core_claim(w->core, p->id, SV("1:mallory@example.test"), &q), 441);
    assert_int_equal(turnserver_core_claim(w->core, p->id ^ 1, (sv){c.user, c.user_n}, &q), 400);
    d.tuple.transport = TURNSERVER_UDP;
    assert_int_equal(bind_to(&d, p->id), 400);
    assert_int_equal(bind_to(&c, p->id), 400); /* on the control connection */
    d.tuple.transport = TURNSERVER_TLS;
    begin(&d, STUN_CONNECTION_BIND);
    assert_int_equal(ask(&d), 400); /* which? */
    d.password[0] ^= 1;
    assert_int_equal(bind_to(&d, p->id), 401);
    assert_int_equal(did.binds, 0);
    d.password[0] ^= 1;
    assert_int_equal(bind_to(&d, p->id), -1);
    assert_int_equal(turnserver_core_claim(w->core, did.id, asked_by(), &q), 0);
    assert_int_equal(refresh(&c, 0), 0); /* §5.5 */
    assert_int_equal(did.closes, 1);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_tcp_is_not_asked_for),
        cmocka_unit_test(a_connection_is_made_and_bound),
        cmocka_unit_test(peers_are_judged_and_counted),
        cmocka_unit_test(time_runs_out),
        cmocka_unit_test(a_peer_that_connects_needs_a_permission),
        cmocka_unit_test(a_connection_to_who_may_not_be_reached_any_more_ends),
        cmocka_unit_test(a_connection_is_its_users_and_its_allocations),
    };
    return cmocka_run_group_tests(tests, world_start, NULL);
}
