/* SPDX-License-Identifier: MIT */
/* turnserver_net_test.c: the server's machine on simulated sockets of two workers, with the client's machine beside it on
 * another host, and a peer on a third. */
#include "sim/sim.h"
#include "turn/turn.h"
#include "turn_world.h"

enum { WORKERS = 2 };

struct net {
    struct sim *sim;
    struct sim_host *server_host, *client_host, *peer_host;
    struct loop_group *group, *client, *peer;
    struct ports *ports;
    struct turnserver_shared *shared;
    struct turnserver *server[WORKERS];
    struct udp *echo;
};

/* A client's machine on a socket of its host. */
struct phone {
    struct net *n;
    struct turn *t;
    struct udp *udp;
    struct stream *stream;
    struct timer timer;
    struct addr server;
    char part[4096];
    size_t part_n;
    bool allocated, permitted, failed, closed;
    struct addr relayed;
    char heard[64];
    size_t heard_n;
};

static bool any_account(void *arg, sv account)
{
    (void)arg;
    (void)account;
    return true;
}

static void on_echo(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    struct net *n = arg;
    sv octets = block_sv(b);
    (void)to;
    assert_int_equal(udp_send(n->echo, NULL, from, &octets, 1), ERR_OK);
}

static const struct udp_handler echo_handler = {.on_datagram = on_echo};

static struct net *net_new(void)
{
    static const uint8_t secret[32] = "of a simulated network";
    struct net *n = MEM_NEW(struct net);
    struct addr server = ip("198.51.100.1", 0), client = ip("192.0.2.77", 0),
                peer = ip("203.0.113.7", 9);
    struct turnserver_config c = {.limits = {.lifetime = USEC_HOUR, .quota = 10},
                                  .has_account = any_account};
    struct turnserver_listen udp = {TURNSERVER_UDP, ip("198.51.100.1", 3478)};
    struct turnserver_listen tcp = {TURNSERVER_TCP, ip("198.51.100.1", 3478)};
    assert_int_equal(sim_new(7, &n->sim), ERR_OK);
    assert_int_equal(sim_host_new(n->sim, "server", &server, 1, &n->server_host), ERR_OK);
    assert_int_equal(sim_host_new(n->sim, "client", &client, 1, &n->client_host), ERR_OK);
    assert_int_equal(sim_host_new(n->sim, "peer", &peer, 1, &n->peer_host), ERR_OK);
    assert_int_equal(sim_process(n->server_host, WORKERS, &n->group), ERR_OK);
    assert_int_equal(sim_process(n->client_host, 1, &n->client), ERR_OK);
    assert_int_equal(sim_process(n->peer_host, 1, &n->peer), ERR_OK);
    assert_int_equal(ports_new(PORT_FIRST, PORT_LAST, &n->ports), ERR_OK);
    assert_int_equal(turnserver_shared_new(secret, REALM, n->ports, &n->shared), ERR_OK);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(turnserver_new(n->group->loop[i], n->shared, &c, &n->server[i]), ERR_OK);
        assert_int_equal(turnserver_listen(n->server[i], &udp), ERR_OK);
        assert_int_equal(turnserver_listen(n->server[i], &tcp), ERR_OK);
    }
    assert_int_equal(udp_open(n->peer->loop[0], &peer, &echo_handler, n, &n->echo), ERR_OK);
    return n;
}

static void net_free(struct net *n)
{
    sim_process_stop(n->server_host);
    for (unsigned i = 0; i < WORKERS; i++)
        turnserver_free(n->server[i]);
    assert_int_equal(loop_stat(n->group, STAT_TURN_ALLOCATIONS), 0);
    turnserver_shared_free(n->shared);
    assert_int_equal(ports_taken(n->ports), 0);
    ports_free(n->ports);
    udp_close(n->echo);
    sim_process_stop(n->client_host);
    sim_process_stop(n->peer_host);
    sim_process_free(n->server_host);
    sim_process_free(n->client_host);
    sim_process_free(n->peer_host);
    sim_free(n->sim);
    mem_free(n);
}

static void run(struct net *n, usec by)
{
    sim_run_until(n->sim, sim_now(n->sim) + by);
}

/* ---- the client's side ---- */

static void phone_wait(struct phone *p)
{
    struct loop *l = p->n->client->loop[0];
    usec next = turn_next(p->t);
    if (next == USEC_NEVER)
        loop_timer_cancel(l, &p->timer);
    else
        loop_timer(l, &p->timer, next > loop_now(l) ? next - loop_now(l) : 0);
}

static void on_timer(struct timer *t, void *arg)
{
    struct phone *p = arg;
    (void)t;
    turn_step(p->t, loop_now(p->n->client->loop[0]));
    phone_wait(p);
}

static void phone_send(void *arg, const sv *pieces, size_t n)
{
    struct phone *p = arg;
    if (p->udp)
        assert_int_equal(udp_send(p->udp, NULL, &p->server, pieces, n), ERR_OK);
    else if (p->stream)
        assert_int_equal(stream_send(p->stream, pieces, n), ERR_OK);
}

static void phone_data(void *arg, const struct addr *peer, sv octets)
{
    struct phone *p = arg;
    (void)peer;
    assert_true(octets.n <= sizeof(p->heard));
    memcpy(p->heard, octets.p, octets.n);
    p->heard_n = octets.n;
}

static void phone_event(void *arg, const struct turn_event *e)
{
    struct phone *p = arg;
    p->allocated |= e->kind == TURN_ALLOCATED;
    p->permitted |= e->kind == TURN_PERMITTED;
    p->failed |= e->kind == TURN_FAILED;
    if (e->kind == TURN_ALLOCATED)
        p->relayed = e->relayed[0];
}

static void phone_chance(void *arg, void *to, size_t n)
{
    loop_random_bytes(((struct phone *)arg)->n->client->loop[0], to, n);
}

static const struct turn_ops phone_ops = {
    .send = phone_send, .on_data = phone_data, .on_event = phone_event, .chance = phone_chance};

static void on_datagram(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    struct phone *p = arg;
    (void)to;
    assert_true(addr_equal(from, &p->server)); /* from where it was asked */
    assert_true(turn_receive(p->t, block_sv(b), loop_now(p->n->client->loop[0])));
    phone_wait(p);
}

static const struct udp_handler phone_udp = {.on_datagram = on_datagram};

static void on_data(void *arg, sv octets)
{
    struct phone *p = arg;
    sv message;
    size_t whole;
    assert_true(octets.n <= sizeof(p->part) - p->part_n);
    memcpy(p->part + p->part_n, octets.p, octets.n);
    p->part_n += octets.n;
    while (!turnserver_frame((sv){p->part, p->part_n}, &message, &whole)) {
        assert_true(turn_receive(p->t, message, loop_now(p->n->client->loop[0])));
        memmove(p->part, p->part + whole, p->part_n - whole);
        p->part_n -= whole;
    }
    phone_wait(p);
}

static void on_open(void *arg)
{
    (void)arg;
}

static void on_close(void *arg, enum err why)
{
    struct phone *p = arg;
    (void)why;
    p->stream = NULL;
    p->closed = true;
}

static const struct stream_handler phone_stream = {
    .on_open = on_open, .on_data = on_data, .on_close = on_close};

static struct phone *phone_new(struct net *n, bool tcp)
{
    struct phone *p = MEM_NEW(struct phone);
    struct loop *l = n->client->loop[0];
    struct addr at = ip("192.0.2.77", 0);
    char user_mem[TURNSERVER_USER_MAX], password_mem[64];
    struct buf user, password;
    buf_init(&user, user_mem, sizeof(user_mem));
    buf_init(&password, password_mem, sizeof(password_mem));
    p->n = n;
    p->server = ip("198.51.100.1", 3478);
    assert_int_equal(turnserver_credential(n->shared, ACCOUNT, loop_wall(n->group->loop[0]), 3600,
                                           &user, &password),
                     ERR_OK);
    struct turn_config c = {.user = buf_sv(&user), .password = buf_sv(&password), .reliable = tcp};
    assert_int_equal(turn_new(&c, &phone_ops, p, &p->t), ERR_OK);
    timer_init(&p->timer, on_timer, p);
    if (tcp)
        assert_int_equal(stream_connect(l, NULL, &p->server, &phone_stream, p, &p->stream), ERR_OK);
    else
        assert_int_equal(udp_open(l, &at, &phone_udp, p, &p->udp), ERR_OK);
    return p;
}

static void phone_free(struct phone *p)
{
    loop_timer_cancel(p->n->client->loop[0], &p->timer);
    udp_close(p->udp);
    stream_close(p->stream, false);
    turn_free(p->t);
    mem_free(p);
}

static void phone_start(struct phone *p)
{
    turn_start(p->t, loop_now(p->n->client->loop[0]));
    phone_wait(p);
    run(p->n, USEC_S);
    assert_true(p->allocated);
}

/* ---- tests ---- */

static void phones_hear_a_peer_whichever_worker_has_them(void **state)
{
    struct net *n = net_new();
    struct addr peer = ip("203.0.113.7", 9);
    (void)state;
    for (int i = 0; i < 8; i++) { /* the ports choose the worker */
        struct phone *p = phone_new(n, i % 2);
        run(n, USEC_S);
        phone_start(p);
        assert_int_equal(turn_permit(p->t, &peer, loop_now(n->client->loop[0])), ERR_OK);
        phone_wait(p);
        run(n, USEC_S);
        assert_true(p->permitted);
        for (int minute = 0; minute < 15; minute++) { /* all is renewed meanwhile */
            p->heard_n = 0;
            assert_int_equal(turn_send(p->t, &peer, SV("anybody there?")), ERR_OK);
            run(n, USEC_MIN);
            assert_int_equal(p->heard_n, 14);
            assert_memory_equal(p->heard, "anybody there?", 14);
        }
        assert_int_equal(loop_stat(n->group, STAT_TURN_ALLOCATIONS), 1);
        if (i % 4 < 2) {
            turn_stop(p->t, loop_now(n->client->loop[0]));
            run(n, USEC_S);
            assert_int_equal(loop_stat(n->group, STAT_TURN_ALLOCATIONS), 0);
        }
        phone_free(p);
        run(n, 15 * USEC_MIN); /* who left without a word is forgotten */
        assert_int_equal(loop_stat(n->group, STAT_TURN_ALLOCATIONS), 0);
    }
    assert_true(loop_stat(n->group, STAT_TURN_RELAYED) == 2 * 8 * 15 * 14);
    net_free(n);
}

static void our_own_ports_are_no_peers(void **state)
{
    struct net *n = net_new();
    struct addr ours = ip("198.51.100.1", 3478);
    struct phone *p = phone_new(n, false), *q = phone_new(n, false);
    (void)state;
    phone_start(p);
    phone_start(q);
    assert_int_equal(turn_permit(p->t, &ours, loop_now(n->client->loop[0])), ERR_OK);
    run(n, USEC_S);
    assert_false(p->permitted);
    assert_int_equal(turn_permit(p->t, &q->relayed, loop_now(n->client->loop[0])), ERR_OK);
    assert_int_equal(turn_permit(q->t, &p->relayed, loop_now(n->client->loop[0])), ERR_OK);
    run(n, USEC_S);
    assert_true(p->permitted && q->permitted);
    assert_int_equal(turn_send(p->t, &q->relayed, SV("neighbour")), ERR_OK);
    run(n, USEC_S);
    assert_int_equal(q->heard_n, 9);
    phone_free(p);
    phone_free(q);
    net_free(n); /* while they stand */
}

static void a_connection_that_asks_for_nothing_ends(void **state)
{
    struct net *n = net_new();
    struct phone *idle = phone_new(n, true), *busy = phone_new(n, true);
    (void)state;
    run(n, USEC_S);
    phone_start(busy);
    run(n, 60 * USEC_S);
    assert_true(idle->closed);
    assert_false(busy->closed);
    run(n, 20 * USEC_MIN); /* it renews itself */
    assert_false(busy->closed || busy->failed);
    phone_free(idle);
    phone_free(busy);
    net_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(phones_hear_a_peer_whichever_worker_has_them),
        cmocka_unit_test(our_own_ports_are_no_peers),
        cmocka_unit_test(a_connection_that_asks_for_nothing_ends),
    };
    return cmocka_run_group_tests(tests, world_start, NULL);
}
