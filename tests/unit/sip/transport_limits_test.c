/* SPDX-License-Identifier: MIT */
/* How much anyone may hold: connections per source and in all, how fast they come, what waits for whom. */
#include "world.h"

enum { CROWD = 40 };

static struct addr_net net_of(const char *text)
{
    struct addr_net n;
    assert_int_equal(addr_net_parse(sv_of(text), &n), ERR_OK);
    return n;
}

static void answer_200(struct world *w, struct rx *rx)
{
    struct sip_reply r = {.status = rx->rc ? rx->fault.status : 200};
    struct sip *s = w->sip[home_worker(sip_home(w->sip[0]), rx->slot)];
    if (rx->msg.method != SIP_ACK)
        assert_int_equal(sip_reply(s, rx, &r), ERR_OK);
}

static struct world *start_as(unsigned workers, void (*configure)(struct sip_config *c))
{
    world_configure = configure;
    struct world *w = world_new(workers, NULL);
    world_configure = NULL;
    w->on_request = answer_200;
    return w;
}

static void ipv6_too(struct sip_config *c)
{
    c->listen[c->listeners++] =
        (struct sip_listen){.transport = SIP_T_TCP, .bind = address("::", 5060)};
    c->connections = 64;
}

/* ---- many connections ---- */

struct caller {
    struct stream *s;
    size_t got;
};
static struct caller crowd[CROWD];

static void on_open(void *arg)
{
    (void)arg;
}
static void on_data(void *arg, sv octets)
{
    ((struct caller *)arg)->got += octets.n;
}
static void on_close(void *arg, enum err why)
{
    (void)why;
    ((struct caller *)arg)->s = NULL;
}
static const struct stream_handler crowd_handler = {
    .on_open = on_open, .on_data = on_data, .on_close = on_close};

static void come(struct world *w, unsigned i, const char *from)
{
    struct addr to = address(SERVER_IP, 5060), local = from ? address(from, 0) : to;
    crowd[i] = (struct caller){0};
    assert_int_equal(
        stream_connect(w->peer, from ? &local : NULL, &to, &crowd_handler, &crowd[i], &crowd[i].s),
        ERR_OK);
}

static void come_all(struct world *w, unsigned n, const char *from)
{
    for (unsigned i = 0; i < n; i++)
        come(w, i, from);
    run(w, 100 * USEC_MS);
}

static unsigned left(unsigned n)
{
    unsigned there = 0;
    for (unsigned i = 0; i < n; i++)
        there += crowd[i].s != NULL;
    return there;
}

static void leave_all(struct world *w)
{
    for (unsigned i = 0; i < CROWD; i++) {
        stream_close(crowd[i].s, false);
        crowd[i].s = NULL;
    }
    run(w, 100 * USEC_MS);
}

static void say_options(struct world *w, unsigned i)
{
    char id[32];
    snprintf(id, sizeof id, "z9hG4bKc%u", i);
    sv octets = sv_of(request("OPTIONS", "TCP", id, id, ""));
    assert_non_null(crowd[i].s);
    assert_int_equal(stream_send(crowd[i].s, &octets, 1), ERR_OK);
    run(w, 50 * USEC_MS);
}

static size_t connections(const struct world *w)
{
    size_t n = 0;
    for (unsigned i = 0; i < w->workers; i++)
        n += sip_connections(w->sip[i]);
    return n;
}

static void a_source_is_counted_by_all_workers_together(void **state)
{
    (void)state;
    struct world *w = start_as(4, NULL); /* 6 a source, 8 a worker */
    sim_random_steering(w->sim, true);
    come_all(w, 20, NULL);
    assert_int_equal(left(20), 6);
    assert_int_equal(connections(w), 6);
    assert_int_equal(refused(w, STAT_LIMIT_SOURCE_CONNECTIONS), 14);
    leave_all(w);
    assert_int_equal(connections(w), 0);
    come_all(w, 20, NULL);
    assert_int_equal(left(20), 6);
    leave_all(w);
    world_free(w);
}

static void some_trusted(struct sip_config *c)
{
    c->connections = 64;
    c->trusted[0] = net_of("192.0.2.96/27");
    c->trusted_n = 1;
    c->new_connections = 1;
}

static void some_exempt(struct sip_config *c)
{
    c->connections = 64;
    c->exempt[0] = (struct sip_exempt){net_of("192.0.2.0/24"), 3, SIP_LIMIT_DEFAULT};
    c->exempt[1] = (struct sip_exempt){net_of("192.0.2.99/32"), 12, SIP_LIMIT_DEFAULT};
    c->exempt[2] = (struct sip_exempt){net_of("192.0.0.0/16"), 1, SIP_LIMIT_DEFAULT};
    c->exempt_n = 3;
}

static void a_network_of_ipv6_is_one_source(void **state)
{
    (void)state;
    struct world *w = start_as(1, ipv6_too);
    for (unsigned i = 0; i < 12; i++) {
        struct addr to = address("2001:db8::1", 5060), local = address("2001:db8:1:1::1", 0);
        local.ip[15] = (uint8_t)(1 + i % 4);
        local.ip[7] = (uint8_t)(i < 8 ? 1 : 2); /* the last four are of another /64 */
        crowd[i] = (struct caller){0};
        assert_int_equal(
            stream_connect(w->peer, &local, &to, &crowd_handler, &crowd[i], &crowd[i].s), ERR_OK);
    }
    run(w, 100 * USEC_MS);
    assert_int_equal(left(8), 6);
    assert_int_equal(left(12), 10);
    leave_all(w);
    world_free(w);
}

static void others_have_other_limits(void **state)
{
    (void)state;
    struct world *w = start_as(1, some_trusted);
    come_all(w, 30, NULL);
    assert_int_equal(left(30), 30);
    leave_all(w);
    world_free(w);
    w = start_as(1, some_exempt);
    come_all(w, 30, NULL);
    assert_int_equal(left(30), 12); /* the longest network says */
    leave_all(w);
    world_free(w);
}

static void slowly(struct sip_config *c)
{
    c->connections = 64;
    c->connections_source = 64;
    c->new_connections = 5;
}

static void newcomers_come_at_a_rate(void **state)
{
    (void)state;
    struct world *w = start_as(2, slowly);
    come_all(w, 20, NULL);
    assert_int_equal(left(20), 5); /* a second's worth at once */
    assert_int_equal(refused(w, STAT_LIMIT_NEW_CONNECTIONS), 15);
    leave_all(w); /* coming and going is no way round it */
    come_all(w, 20, NULL);
    assert_true(left(20) <= 2);
    leave_all(w);
    run(w, USEC_S);
    come_all(w, 20, NULL);
    assert_int_equal(left(20), 5);
    leave_all(w);
    world_free(w);
}

/* ---- in all ---- */

static void roomy_sources(struct sip_config *c)
{
    c->connections = 8;
    c->connections_source = 100;
}

static void who_proved_useful_stays_at_the_cap(void **state)
{
    (void)state;
    struct world *w = start_as(1, roomy_sources);
    come_all(w, 8, NULL);
    assert_int_equal(left(8), 8);
    say_options(w, 0);
    say_options(w, 1);
    say_options(w, 5);
    assert_int_equal(w->requests, 3);
    /* A crowd that says nothing, or nonsense that cannot be framed yet, shuts out itself. */
    for (unsigned i = 8; i < 30; i++) {
        come(w, i, NULL);
        run(w, 5 * USEC_MS);
    }
    run(w, 100 * USEC_MS);
    assert_int_equal(connections(w), 8);
    assert_non_null(crowd[0].s);
    assert_non_null(crowd[1].s);
    assert_non_null(crowd[5].s);
    for (unsigned i = 25; i < 30; i++)
        assert_non_null(crowd[i].s); /* the oldest went first */
    assert_null(crowd[24].s);
    assert_int_equal(refused(w, STAT_LIMIT_CONNECTIONS), 22);
    assert_int_equal(w->flows_gone, 22);
    /* And a phone that comes now is served. */
    come(w, 30, NULL);
    run(w, 50 * USEC_MS);
    say_options(w, 30);
    assert_true(crowd[30].got > 0);
    leave_all(w);
    world_free(w);
}

/* As the registrar does when somebody has registered. */
static void keep_it(struct world *w, struct rx *rx)
{
    sip_flow_keep(w->sip[0], &rx->flow, w->group->loop[0]->now + USEC_HOUR);
}

/* What anybody may ask holds no place; a registration does. */
static void who_only_asks_gives_way_to_others(void **state)
{
    (void)state;
    struct world *w = start_as(1, roomy_sources);
    void (*asked)(struct world *, struct rx *) = w->on_request;
    come_all(w, 8, NULL);
    w->on_request = keep_it;
    say_options(w, 0);
    w->on_request = asked;
    for (unsigned i = 1; i < 8; i++)
        say_options(w, i);
    say_options(w, 1); /* the longest silent is now 2 */
    come(w, 8, NULL);
    run(w, 50 * USEC_MS);
    assert_non_null(crowd[8].s);
    assert_null(crowd[2].s);
    for (unsigned i = 9; i < 30; i++) {
        come(w, i, NULL);
        run(w, 5 * USEC_MS);
        say_options(w, i);
    }
    assert_non_null(crowd[0].s);
    assert_int_equal(connections(w), 8);
    leave_all(w);
    world_free(w);
}

static void when_all_are_registered_the_newcomer_is_refused(void **state)
{
    (void)state;
    struct world *w = start_as(1, roomy_sources);
    come_all(w, 8, NULL);
    w->on_request = keep_it;
    for (unsigned i = 0; i < 8; i++)
        say_options(w, i);
    come(w, 8, NULL);
    run(w, 50 * USEC_MS);
    assert_null(crowd[8].s);
    assert_int_equal(left(8), 8);
    assert_int_equal(refused(w, STAT_LIMIT_CONNECTIONS), 1);
    leave_all(w);
    world_free(w);
}

static void nonsense_proves_nothing(void **state)
{
    (void)state;
    struct world *w = start_as(1, roomy_sources);
    come_all(w, 8, NULL);
    sv crlf = SV("\r\n\r\n");
    sv bad = SV("OPTIONS sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.99;branch=z9hG4bKb\r\n"
                "From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n"
                "Max-Forwards: many\r\nContent-Length: 0\r\n\r\n");
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(stream_send(crowd[i].s, &crlf, 1), ERR_OK);
        assert_int_equal(stream_send(crowd[i].s, &bad, 1), ERR_OK);
    }
    run(w, 100 * USEC_MS);
    assert_true(crowd[3].got > 100); /* 400 */
    for (unsigned i = 8; i < 16; i++)
        come(w, i, NULL);
    run(w, 100 * USEC_MS);
    assert_int_equal(left(8), 0);
    leave_all(w);
    world_free(w);
}

/* ---- time ---- */

static void a_message_has_its_time(void **state)
{
    (void)state;
    struct world *w = start_as(1, NULL);
    dial(w);
    say_tcp(w, SV("OPTIONS sip:a@192.0.2.1 SIP/2.0\r\n"));
    run(w, 11 * USEC_S);
    assert_true(w->stream_closed);
    assert_int_equal(refused(w, STAT_LIMIT_MESSAGE_TIME), 1);
    dial(w);
    run(w, 61 * USEC_S); /* silence is no refusal */
    assert_true(w->stream_closed);
    assert_int_equal(refused(w, STAT_LIMIT_MESSAGE_TIME), 1);
    assert_int_equal(refused(w, STAT_LIMIT_HANDSHAKE), 0);
    world_free(w);
}

/* ---- who does not read ---- */

static struct rx *stalled;
static void keep_first(struct world *w, struct rx *rx)
{
    if (!stalled)
        stalled = rx_ref(rx);
    else
        answer_200(w, rx);
}

static void flood_stalled(struct world *w)
{
    struct dest d = {.flow = stalled->flow};
    struct block *b = sip_block(w->sip[0], 1000);
    memset(b->p, 'x', 1000);
    b->n = 1000;
    for (int i = 0; i < 50; i++)
        assert_int_equal(sip_send(w->sip[0], &d, b, NULL), ERR_OK);
    block_unref(b);
}

/* RFC 5626 §4.4.1: TCP may cut it anywhere; whole again it is no message that never ends. */
static void a_keep_alive_in_pieces_is_no_message(void **state)
{
    (void)state;
    struct world *w = start_as(1, NULL);
    dial(w);
    say_tcp(w, SV("\r\n\r"));
    run(w, 50 * USEC_MS);
    say_tcp(w, SV("\n"));
    run(w, 11 * USEC_S);
    assert_false(w->stream_closed);
    assert_int_equal(refused(w, STAT_LIMIT_MESSAGE_TIME), 0);
    world_free(w);
}

static void one_who_does_not_read_delays_nobody(void **state)
{
    (void)state;
    struct world *w = start_as(1, NULL);
    usec slowest = 0;
    w->on_request = keep_first;
    come(w, 0, NULL);
    run(w, 50 * USEC_MS);
    say_options(w, 0);
    assert_non_null(stalled);
    stream_pause(crowd[0].s, true);
    dial(w);
    int ended = 0; /* in which round */
    for (int i = 1; i <= 30; i++) {
        char id[32];
        act(w, w->group->loop[0], flood_stalled);
        snprintf(id, sizeof id, "z9hG4bKs%d", i);
        usec asked = sim_now(w->sim);
        inbox_clear(w);
        say_tcp(w, sv_of(request("OPTIONS", "TCP", id, id, "")));
        while (heard(w, "SIP/2.0 200 OK") == 0 && sim_now(w->sim) - asked < USEC_S)
            run(w, USEC_MS);
        if (sim_now(w->sim) - asked > slowest)
            slowest = sim_now(w->sim) - asked;
        if (!ended && !sip_flow_up(w->sip[0], &stalled->flow))
            ended = i;
    }
    assert_true(slowest < 20 * USEC_MS);
    assert_in_range(ended, 1, 4); /* a message's worth may wait besides what the kernel takes */
    assert_true(refused(w, STAT_LIMIT_WRITE_QUEUE) >= 1);
    assert_int_equal(sip_connections(w->sip[0]), 1);
    rx_unref(stalled);
    stalled = NULL;
    leave_all(w);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_source_is_counted_by_all_workers_together),
        cmocka_unit_test(a_network_of_ipv6_is_one_source),
        cmocka_unit_test(others_have_other_limits),
        cmocka_unit_test(newcomers_come_at_a_rate),
        cmocka_unit_test(who_proved_useful_stays_at_the_cap),
        cmocka_unit_test(who_only_asks_gives_way_to_others),
        cmocka_unit_test(when_all_are_registered_the_newcomer_is_refused),
        cmocka_unit_test(nonsense_proves_nothing),
        cmocka_unit_test(a_message_has_its_time),
        cmocka_unit_test(a_keep_alive_in_pieces_is_no_message),
        cmocka_unit_test(one_who_does_not_read_delays_nobody),
    };
    return crypto_start() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
