/* SPDX-License-Identifier: MIT */
/* Flows as text, names of peers, zones, what we are called, reports of refused datagrams. */
#include "world.h"

static struct addr_net net_of(const char *text)
{
    struct addr_net n;
    assert_int_equal(addr_net_parse(sv_of(text), &n), ERR_OK);
    return n;
}

static struct world *start_as(unsigned workers, void (*configure)(struct sip_config *c))
{
    world_configure = configure;
    struct world *w = world_new(workers, NULL);
    world_configure = NULL;
    return w;
}

/* ---- tokens ---- */

static uint64_t chance;
static uint64_t next_chance(void)
{
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    return chance >> 16;
}

static struct flow some_flow(void)
{
    struct flow f = {.transport = (enum sip_transport)(SIP_T_UDP + next_chance() % 5),
                     .listener = (uint8_t)(next_chance() % SIP_LISTENERS_MAX),
                     .worker = (uint8_t)(next_chance() % LOOP_WORKERS_MAX)};
    struct addr *a[2] = {&f.local, &f.remote};
    bool v6 = next_chance() % 2, scopes = v6 && next_chance() % 2;
    for (int i = 0; i < 2; i++) {
        uint8_t ip[16];
        for (int k = 0; k < 16; k++)
            ip[k] = (uint8_t)next_chance();
        ip[0] = 0x20;
        *a[i] = addr_from_ip(ip, v6 ? 16 : 4, (uint16_t)(next_chance() % 65535 + 1));
        a[i]->scope = scopes ? (uint32_t)next_chance() | 1 : 0;
    }
    if (f.transport != SIP_T_UDP && next_chance() % 4)
        f.conn = next_chance() << 32 | (next_chance() & 0xffff) | 1;
    return f;
}

static void a_flow_is_read_as_it_was_written(void **state)
{
    (void)state;
    chance = 1;
    size_t longest = 0;
    for (int i = 0; i < 2000; i++) {
        struct flow f = some_flow(), g;
        char mem[FLOW_TOKEN_MAX];
        struct buf b;
        buf_init(&b, mem, sizeof mem);
        flow_put(&b, &f);
        assert_int_equal(b.rc, ERR_OK);
        for (size_t k = 0; k < b.n; k++)
            assert_non_null(memchr(
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", mem[k], 64));
        longest = b.n > longest ? b.n : longest;
        assert_int_equal(flow_read(buf_sv(&b), &g), ERR_OK);
        assert_true(flow_equal(&f, &g));
        assert_int_equal(f.worker, g.worker);
        assert_int_equal(f.remote.scope, g.remote.scope);
    }
    assert_true(longest > 60 && longest <= FLOW_TOKEN_MAX);
    struct buf b;
    char mem[FLOW_TOKEN_MAX];
    struct flow none = {0};
    buf_init(&b, mem, sizeof mem);
    flow_put(&b, &none);
    assert_int_equal(b.rc, ERR_SYNTAX);
}

static void what_was_not_written_is_not_read(void **state)
{
    (void)state;
    chance = 2;
    unsigned accepted = 0;
    for (int i = 0; i < 20000; i++) {
        struct flow f = some_flow(), g;
        char mem[FLOW_TOKEN_MAX + 8], again[FLOW_TOKEN_MAX];
        struct buf b;
        buf_init(&b, mem, FLOW_TOKEN_MAX);
        flow_put(&b, &f);
        switch (next_chance() % 4) {
        case 0: /* cut */
            b.n = next_chance() % b.n;
            break;
        case 1: /* longer */
            for (unsigned more = 1 + (unsigned)next_chance() % 8; more; more--)
                mem[b.n++] = 'A';
            break;
        case 2: /* another character somewhere */
            mem[next_chance() % b.n] = (char)next_chance();
            break;
        default: /* chance alone */
            for (size_t k = 0; k < b.n; k++)
                mem[k] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
                    [next_chance() % 64];
        }
        sv token = {mem, b.n};
        if (flow_read(token, &g))
            continue;
        /* What is read is a flow in its only text, within all bounds. */
        accepted++;
        struct buf o;
        buf_init(&o, again, sizeof again);
        flow_put(&o, &g);
        assert_true(sv_eq(buf_sv(&o), token));
        assert_true(g.listener < SIP_LISTENERS_MAX && g.worker < LOOP_WORKERS_MAX);
        assert_true(g.transport >= SIP_T_UDP && g.transport <= SIP_T_WSS);
        assert_int_equal(g.local.family, g.remote.family);
    }
    assert_true(accepted > 100 && accepted < 10000);
    struct flow g;
    assert_int_equal(flow_read(SV(""), &g), ERR_SYNTAX);
    assert_int_equal(flow_read(SV_NONE, &g), ERR_SYNTAX);
    assert_int_equal(flow_read(SV("AAAA"), &g), ERR_SYNTAX);
    char big[4096];
    memset(big, 'A', sizeof big);
    assert_int_equal(flow_read((sv){big, sizeof big}, &g), ERR_SYNTAX);
    /* a connection's number without its place */
    struct flow odd = some_flow();
    odd.transport = SIP_T_TCP;
    odd.conn = (uint64_t)5 << 32;
    char odd_text[FLOW_TOKEN_MAX];
    struct buf o;
    buf_init(&o, odd_text, sizeof odd_text);
    flow_put(&o, &odd);
    assert_int_equal(flow_read(buf_sv(&o), &g), ERR_SYNTAX);
    /* udp, v6 flag, IPv4-mapped addresses: they are IPv4 and written so */
    uint8_t mapped[39] = {1 | 8};
    mapped[3 + 10] = mapped[3 + 11] = mapped[3 + 18 + 10] = mapped[3 + 18 + 11] = 0xff;
    mapped[3 + 17] = mapped[3 + 35] = 1;
    char text[64];
    struct buf b;
    buf_init(&b, text, sizeof text);
    crypto_base64url(&b, mapped, sizeof mapped);
    assert_int_equal(flow_read(buf_sv(&b), &g), ERR_SYNTAX);
}

/* ---- up ---- */

static void keep_request(struct world *w, struct rx *rx)
{
    rx_unref(w->last);
    w->last = rx_ref(rx);
}

static struct flow asked;
static bool answer[WORLD_WORKERS];
static void ask_all(struct world *w)
{
    for (unsigned i = 0; i < w->workers; i++)
        answer[i] = sip_flow_up(w->sip[i], &asked);
}
static void octets_from_other(struct world *w)
{
    unsigned other = (asked.worker + 1) % w->workers;
    assert_int_equal(sip_send_octets(w->sip[other], &asked, SV("\r\n\r\n")), ERR_OK);
}

static void every_worker_knows_whether_a_flow_is_up(void **state)
{
    (void)state;
    struct world *w = start_as(3, NULL);
    w->on_request = keep_request;
    dial(w);
    say_tcp(w, sv_of(request("OPTIONS", "TCP", "z9hG4bKa", "c1", "")));
    run(w, 100 * USEC_MS);
    asked = w->last->flow;
    act(w, w->peer, ask_all);
    assert_true(answer[0] && answer[1] && answer[2]);
    act(w, w->group->loop[0], octets_from_other);
    run(w, 50 * USEC_MS);
    assert_string_equal(w->inbox, "\r\n\r\n");
    struct flow real = asked;
    asked.conn += (uint64_t)1 << 32; /* the next in this place */
    act(w, w->peer, ask_all);
    assert_false(answer[0] || answer[1] || answer[2]);
    asked = real;
    asked.listener = 7;
    act(w, w->peer, ask_all);
    assert_false(answer[0] || answer[1] || answer[2]);
    asked = real;
    asked.remote.port++; /* of its own worker: not that connection */
    act(w, w->peer, ask_all);
    assert_false(answer[asked.worker]);
    asked = real;
    stream_close(w->stream, false);
    w->stream = NULL;
    run(w, 100 * USEC_MS);
    act(w, w->peer, ask_all);
    assert_false(answer[0] || answer[1] || answer[2]);
    asked = (struct flow){.transport = SIP_T_UDP, .remote = address(PEER_IP, PEER_PORT)};
    act(w, w->peer, ask_all);
    assert_true(answer[0] && answer[1] && answer[2]);
    inbox_clear(w);
    act(w, w->group->loop[0], octets_from_other);
    run(w, 50 * USEC_MS);
    assert_int_equal(w->datagrams, 1);
    assert_int_equal(w->inbox_n, 4);
    world_free(w);
}

/* RFC 5923 §9.3: over TCP nobody has proved to be whom he says. */
static void tcp_has_no_aliases(void **state)
{
    (void)state;
    struct world *w = start_as(1, NULL);
    struct flow f;
    w->on_request = keep_request;
    dial(w);
    say_tcp(w, sv_of(request("OPTIONS", "TCP", "z9hG4bKa;alias", "c1", "")));
    run(w, 100 * USEC_MS);
    assert_int_equal(w->requests, 1);
    struct dest d = {.transport = SIP_T_TCP, .addr = address(PEER_IP, 5070)};
    assert_int_equal(sip_flow_for(w->sip[0], &d, &f), ERR_OK);
    assert_int_equal(f.conn, 0);
    d.addr = w->last->flow.remote;
    assert_int_equal(sip_flow_for(w->sip[0], &d, &f), ERR_OK);
    assert_int_equal(f.conn, 0);
    world_free(w);
}

static void ping(struct world *w)
{
    assert_int_equal(sip_send_octets(w->sip[0], &asked, SV("\r\n\r\n")), ERR_OK);
}

static void an_answer_to_our_ping_is_not_answered(void **state)
{
    (void)state;
    struct world *w = start_as(1, NULL);
    w->on_request = keep_request;
    dial(w);
    say_tcp(w, sv_of(request("OPTIONS", "TCP", "z9hG4bKa", "c1", "")));
    run(w, 100 * USEC_MS);
    asked = w->last->flow;
    for (int i = 0; i < 4; i++) {
        act(w, w->group->loop[0], ping);
        run(w, 50 * USEC_MS);
        say_tcp(w, SV("\r\n"));
        run(w, 50 * USEC_MS);
    }
    assert_int_equal(w->inbox_n, 16); /* four pings, nothing else */
    inbox_clear(w);
    say_tcp(w, SV("\r\n\r\n")); /* his own */
    run(w, 50 * USEC_MS);
    assert_string_equal(w->inbox, "\r\n");
    world_free(w);
}

static unsigned taps;
static void count_octets(void *arg, bool out, const struct addr *peer, sv octets)
{
    (void)arg;
    (void)peer;
    (void)octets;
    taps += out;
}

static void keep_alives_are_no_messages(void **state)
{
    (void)state;
    world_user.on_octets = count_octets;
    struct world *w = start_as(2, NULL);
    w->on_request = keep_request;
    dial(w);
    say_tcp(w, sv_of(request("OPTIONS", "TCP", "z9hG4bKa", "c1", "")));
    run(w, 100 * USEC_MS);
    asked = w->last->flow;
    taps = 0;
    act(w, w->group->loop[0], octets_from_other);
    run(w, 50 * USEC_MS);
    assert_int_equal(w->inbox_n, 4);
    assert_int_equal(taps, 0);
    world_user.on_octets = NULL;
    world_free(w);
}

/* A flow that a process before this one wrote down names none of our connections. */
static void numbers_begin_anywhere(void **state)
{
    (void)state;
    struct world *w = start_as(1, NULL);
    w->on_request = keep_request;
    dial(w);
    say_tcp(w, sv_of(request("OPTIONS", "TCP", "z9hG4bKa", "c1", "")));
    run(w, 100 * USEC_MS);
    assert_true(w->last->flow.conn >> 32 > 1000); /* with this seed */
    world_free(w);
}

/* ---- kept ---- */

static usec keep_until;
static unsigned keeper;
static void keep_asked(struct world *w)
{
    sip_flow_keep(w->sip[keeper], &asked, keep_until);
    sip_flow_keep(w->sip[keeper], &asked, keep_until - 500 * USEC_S); /* changes nothing */
}

/* From the worker of the connection, and from another. */
static void silence_does_not_end_what_is_kept(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct world *w = start_as(3, NULL);
        w->on_request = keep_request;
        dial(w);
        say_tcp(w, sv_of(request("OPTIONS", "TCP", "z9hG4bKa", "c1", "")));
        run(w, 100 * USEC_MS);
        asked = w->last->flow;
        keeper = (asked.worker + i) % 3;
        keep_until = w->group->loop[0]->now + 600 * USEC_S; /* ten times the idle time */
        struct flow real = asked;
        act(w, w->group->loop[keeper], keep_asked);
        run(w, 590 * USEC_S);
        assert_false(w->stream_closed);
        run(w, 20 * USEC_S);
        assert_true(w->stream_closed);
        /* Another connection in this place is not kept by it, nor is what names no connection. */
        dial(w);
        asked = real;
        keep_until += 600 * USEC_S;
        act(w, w->group->loop[keeper], keep_asked);
        asked.worker = WORLD_WORKERS - 1;
        act(w, w->group->loop[keeper], keep_asked);
        asked.conn = 0;
        act(w, w->group->loop[keeper], keep_asked);
        run(w, 70 * USEC_S);
        assert_true(w->stream_closed);
        world_free(w);
    }
}

/* ---- names ---- */

static void names_are_numbers_until_forgotten(void **state)
{
    (void)state;
    struct world *w = start_as(2, NULL);
    struct sip *s = w->sip[0];
    uint32_t a = sip_name(s, SV("Example.COM."));
    assert_int_not_equal(a, 0);
    assert_int_equal(sip_name(w->sip[1], SV("example.com")), a);
    assert_int_not_equal(sip_name(s, SV("example.net")), a);
    assert_int_equal(sip_name(s, SV("")), 0);
    assert_int_equal(sip_name(s, SV(".")), 0);
    assert_int_equal(sip_name(s, SV_NONE), 0);
    assert_int_equal(sip_name(s, SV("a b")), 0);
    assert_int_equal(sip_name(s, (sv){"example.com\0.evil.test", 22}), 0);
    char big[300];
    memset(big, 'x', sizeof big);
    assert_int_equal(sip_name(s, (sv){big, sizeof big}), 0);
    assert_int_not_equal(sip_name(s, (sv){big, 253}), 0);
    for (unsigned i = 0; i < 3 * SIP_NAMES; i++) {
        char text[32];
        int n = snprintf(text, sizeof text, "host%u.test", i);
        uint32_t id = sip_name(s, (sv){text, (size_t)n});
        assert_int_not_equal(id, 0);
        assert_int_equal(sip_name(s, (sv){text, (size_t)n}), id);
        assert_int_equal(sip_name(s, SV("example.com")), a); /* who is used stays */
    }
    /* Who was not is another now. */
    assert_int_not_equal(sip_name(s, SV("host1.test")), 0);
    world_free(w);
}

/* ---- zones ---- */

static void two_zones(struct sip_config *c)
{
    c->listen[0].zone = c->listen[1].zone = 0;
    c->listen[2] =
        (struct sip_listen){.transport = SIP_T_UDP, .bind = address("0.0.0.0", 5062), .zone = 1};
    c->listen[3] =
        (struct sip_listen){.transport = SIP_T_UDP, .bind = address("0.0.0.0", 5064), .zone = 2};
    c->listeners = 4;
    c->zone[0] = (struct sip_zone){.name = SV("default")};
    c->zone[1] = (struct sip_zone){
        .name = SV("outside"), .networks = {net_of("192.0.0.0/8")}, .networks_n = 1};
    c->zone[2] = (struct sip_zone){.name = SV("core"),
                                   .networks = {net_of("10.0.0.0/8"), net_of("192.0.2.96/27")},
                                   .networks_n = 2};
    c->zones = 3;
}

static void the_longest_network_chooses_the_listener(void **state)
{
    (void)state;
    struct world *w = start_as(1, two_zones);
    struct sip *s = w->sip[0];
    static const struct {
        const char *to;
        uint16_t port;
        unsigned zone;
    } row[] = {{"192.0.2.99", 5064, 2},
               {"192.0.2.40", 5062, 1},
               {"192.7.7.7", 5062, 1},
               {"10.1.1.1", 5064, 2},
               {"203.0.113.1", 5060, 0}};
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct dest d = {.transport = SIP_T_UDP, .addr = address(row[i].to, 5060)};
        struct flow f;
        assert_int_equal(sip_flow_for(s, &d, &f), ERR_OK);
        assert_int_equal(f.local.port, row[i].port);
        assert_int_equal(sip_zone_of(s, &f), row[i].zone);
    }
    /* No listener of the zone has it: any that suits. */
    struct dest d = {.transport = SIP_T_TCP, .addr = address("10.1.1.1", 5060)};
    struct flow f;
    assert_int_equal(sip_flow_for(s, &d, &f), ERR_OK);
    assert_int_equal(f.listener, 1);
    world_free(w);
}

/* ---- names of ours ---- */

static void advertising(struct sip_config *c)
{
    c->listen[0].advertise = SV("203.0.113.9");
    c->local[0] = net_of("192.0.2.96/27");
    c->local_n = 1;
}

static void only_outside_hears_what_is_advertised(void **state)
{
    (void)state;
    struct world *w = start_as(1, advertising);
    struct sip *s = w->sip[0];
    static const struct {
        const char *to, *name;
    } row[] = {{"192.0.2.99", "192.0.2.1:5060"}, {"192.0.2.7", "203.0.113.9:5060"}};
    for (size_t i = 0; i < 2; i++) {
        struct dest d = {.transport = SIP_T_UDP, .addr = address(row[i].to, 5060)};
        struct flow f;
        char mem[64];
        struct buf b;
        assert_int_equal(sip_flow_for(s, &d, &f), ERR_OK);
        buf_init(&b, mem, sizeof mem);
        sip_put_hostport(s, &b, &f);
        buf_char(&b, 0);
        assert_string_equal(mem, row[i].name);
    }
    /* Both are ours, whoever says them. */
    assert_true(sip_is_local(s, SV("203.0.113.9"), 5060));
    assert_true(sip_is_local(s, SV("192.0.2.1"), 5060));
    world_free(w);
}

static void odd_ports(struct sip_config *c)
{
    c->listen[0].bind.port = 5070;
    c->listen[1].bind.port = 5071;
    c->listen[2] = (struct sip_listen){.transport = SIP_T_WS, .bind = address("0.0.0.0", 80)};
    c->listeners = 3;
}

static void a_default_port_is_the_transports(void **state)
{
    (void)state;
    struct world *w = start_as(1, NULL);
    assert_true(sip_is_local(w->sip[0], SV("192.0.2.1"), 0));
    assert_false(sip_is_local(w->sip[0], SV("192.0.2.1"), 5061));
    world_free(w);
    w = start_as(1, odd_ports);
    assert_true(sip_is_local(w->sip[0], SV("192.0.2.1"), 0)); /* ws on 80 */
    assert_false(sip_is_local(w->sip[0], SV("192.0.2.1"), 5060));
    world_free(w);
}

/* ---- refused datagrams ---- */

struct watched {
    struct sip_sent watch;
    enum err why;
    unsigned fails;
};
static struct watched watched;
static void on_watch_fail(void *arg, enum err why)
{
    struct watched *x = arg;
    x->fails++;
    x->why = why;
}

static void send_there(struct world *w, const char *text, struct sip_sent *watch)
{
    struct dest d = {.transport = SIP_T_UDP, .addr = address(PEER_IP, 9)};
    struct block *b = sip_block(w->sip[0], strlen(text));
    memcpy(b->p, text, strlen(text));
    b->n = (uint32_t)strlen(text);
    assert_int_equal(sip_send(w->sip[0], &d, b, watch), ERR_OK);
    block_unref(b);
}

#define TO_NOBODY(branch)                                                                       \
    "OPTIONS sip:192.0.2.99:9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK" branch \
    ";rport\r\nCSeq: 1 OPTIONS\r\n\r\n"

static void send_watched(struct world *w)
{
    send_there(w, TO_NOBODY("abcdefghijklmnopqrs"), &watched.watch);
}
static void send_other(struct world *w)
{
    send_there(w, TO_NOBODY("abcdefghijklmnopqrz"), NULL);
}

/* An attacker knows our address and the phone's, and can guess all of the message but its branch. */
static void a_report_without_the_branch_is_not_believed(void **state)
{
    (void)state;
    struct world *w = start_as(1, NULL);
    watched = (struct watched){.watch = {.on_fail = on_watch_fail, .arg = &watched}};
    list_init(&watched.watch.by_pending);
    sim_partition(w->sim, w->server, w->other, true);
    act(w, w->group->loop[0], send_watched); /* lost */
    run(w, 50 * USEC_MS);
    sim_partition(w->sim, w->server, w->other, false);
    for (int i = 0; i < 20; i++) {
        act(w, w->group->loop[0], send_other);
        run(w, 50 * USEC_MS);
    }
    assert_int_equal(watched.fails, 0);
    for (int i = 0; i < 20 && !watched.fails; i++) { /* it is sent again, and that is refused */
        act(w, w->group->loop[0], send_watched);
        run(w, 50 * USEC_MS);
    }
    assert_int_equal(watched.fails, 1);
    assert_int_equal(watched.why, ERR_REFUSED);
    world_free(w);
}

/* The kernel gives a report to any socket of the port: each worker's requests to one dead place fail
 * all the same. */
static struct watched by_worker[WORLD_WORKERS];
static unsigned sender;

static void send_marked(struct world *w)
{
    struct sip *s = w->sip[sender];
    struct dest d = {.transport = SIP_T_UDP, .addr = address(PEER_IP, 9)};
    struct block *b = sip_block(s, 1024);
    struct flow f;
    struct buf out;
    sv branch;
    assert_int_equal(sip_flow_for(s, &d, &f), ERR_OK);
    buf_init(&out, b->p, b->cap);
    buf_str(&out, "OPTIONS sip:192.0.2.99:9 SIP/2.0\r\nVia: ");
    sip_put_via(s, &out, &f, home_slot(sip_home(s), sender, 0), SV("x"), &branch);
    buf_str(&out, "\r\nCSeq: 1 OPTIONS\r\n\r\n");
    assert_int_equal(out.rc, ERR_OK);
    b->n = (uint32_t)out.n;
    assert_int_equal(sip_send(s, &d, b, &by_worker[sender].watch), ERR_OK);
    block_unref(b);
}

static void a_report_reaches_the_worker_that_waits_for_it(void **state)
{
    (void)state;
    struct world *w = start_as(WORLD_WORKERS, NULL);
    for (sender = 0; sender < WORLD_WORKERS; sender++) {
        struct watched *x = &by_worker[sender];
        *x = (struct watched){.watch = {.on_fail = on_watch_fail, .arg = x}};
        list_init(&x->watch.by_pending);
        for (int i = 0; i < 20 && !x->fails; i++) { /* the network loses reports, too */
            act(w, w->group->loop[sender], send_marked);
            run(w, 50 * USEC_MS);
        }
        assert_int_equal(x->fails, 1);
        assert_int_equal(x->why, ERR_REFUSED);
    }
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flow_is_read_as_it_was_written),
        cmocka_unit_test(what_was_not_written_is_not_read),
        cmocka_unit_test(every_worker_knows_whether_a_flow_is_up),
        cmocka_unit_test(tcp_has_no_aliases),
        cmocka_unit_test(an_answer_to_our_ping_is_not_answered),
        cmocka_unit_test(keep_alives_are_no_messages),
        cmocka_unit_test(numbers_begin_anywhere),
        cmocka_unit_test(silence_does_not_end_what_is_kept),
        cmocka_unit_test(names_are_numbers_until_forgotten),
        cmocka_unit_test(the_longest_network_chooses_the_listener),
        cmocka_unit_test(only_outside_hears_what_is_advertised),
        cmocka_unit_test(a_default_port_is_the_transports),
        cmocka_unit_test(a_report_without_the_branch_is_not_believed),
        cmocka_unit_test(a_report_reaches_the_worker_that_waits_for_it),
    };
    return crypto_start() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
