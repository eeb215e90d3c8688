/* SPDX-License-Identifier: MIT */
/* relay_test.c: whom a port listens to, where it sends, and which ports there are. */
#include "../net/net_run.h"
#include <string.h>
#include "relay/relay.h"
#include "rtpmsg/rtpmsg.h"

static const struct relay_config config = {.latch = 5 * USEC_S, .dscp = 46};
static struct ports *ports;

static struct addr at_(const char *text)
{
    return net_addr(text);
}

/* A path of somebody who told `told`, signals from `party`; we stand at `mine`. */
static struct relay_path path_of(const char *told, const char *party, bool secure, const char *mine)
{
    struct relay_path p = {.until = 0};
    struct relay_peer peer = {.told = at_(told), .party = at_(party)};
    struct addr me = at_(mine);
    relay_path_set(&p, &peer, secure, config.latch, &me, ports, USEC_S);
    return p;
}

static bool hear(struct relay_path *p, const char *from, uint32_t ssrc, uint16_t seq, usec now)
{
    struct addr a = at_(from);
    return relay_path_hear(p, &a, ssrc, seq, now);
}

static bool sends_to(const struct relay_path *p, const char *to)
{
    struct addr a = at_(to);
    return addr_equal(&p->to, &a);
}

#define ME    "192.0.2.1:5060"
#define PHONE "198.51.100.7:4000"

/* ---- in the open ---- */

static void who_told_his_address_is_heard_there_and_nobody_else(void **state)
{
    struct relay_path p = path_of(PHONE, "198.51.100.7:5060", false, ME);
    (void)state;
    assert_true(sends_to(&p, PHONE));
    for (uint16_t i = 0; i < 100; i++) { /* a sprayer before the phone says anything */
        assert_false(hear(&p, "203.0.113.9:4000", 7, i, USEC_S + i));
        assert_false(hear(&p, "198.51.100.8:4000", 7, i, USEC_S + i));
    }
    assert_true(sends_to(&p, PHONE));
    assert_true(hear(&p, PHONE, 1, 1, 2 * USEC_S));
    for (uint16_t i = 0; i < 100;
         i++) /* another program of the same host, once the phone is there */
        assert_false(hear(&p, "198.51.100.7:4002", 7, i, 2 * USEC_S + i));
    assert_true(hear(&p, PHONE, 1, 2, 30 * USEC_S));
    assert_true(sends_to(&p, PHONE));
}

static void a_sender_with_two_ports_is_heard_but_not_sent_to(void **state)
{
    struct relay_path p = path_of(PHONE, "198.51.100.7:5060", false, ME);
    (void)state;
    usec late = USEC_S + 1500 * USEC_MS;
    for (uint16_t i = 1; i <= 300; i++) /* too early: the one told may come yet */
        assert_false(hear(&p, "198.51.100.7:5000", 3, i, USEC_S));
    assert_true(hear(&p, "198.51.100.7:5000", 3, 301, late));
    assert_true(hear(&p, "198.51.100.7:5000", 3, 302, 60 * USEC_S));
    assert_true(sends_to(&p, PHONE));
}

static void a_second_port_is_given_up_when_the_one_told_speaks(void **state)
{
    struct relay_path p = path_of(PHONE, "198.51.100.7:5060", false, ME);
    (void)state;
    usec late = 3 * USEC_S;
    for (uint16_t i = 1; i < 25; i++) /* half a second of sound, not a handful of packets */
        assert_false(hear(&p, "198.51.100.7:5000", 3, i, late));
    assert_true(hear(&p, "198.51.100.7:5000", 3, 25, late));
    assert_true(hear(&p, PHONE, 1, 1, late));
    assert_false(hear(&p, "198.51.100.7:5000", 3, 26, late));
    assert_true(hear(&p, PHONE, 1, 2, late));
}

/* ---- behind a NAT ---- */

static void behind_a_nat_the_port_is_learned_from_where_the_signalling_comes(void **state)
{
    struct relay_path p = path_of("10.1.0.10:4000", "198.51.100.7:33000", false, ME);
    (void)state;
    assert_int_equal(p.to.family, 0); /* nobody is there from here */
    assert_false(hear(&p, "203.0.113.9:4000", 7, 1, USEC_S));
    assert_false(hear(&p, "203.0.113.9:4000", 7, 2, USEC_S));
    assert_false(hear(&p, "203.0.113.9:4000", 7, 3, USEC_S));
    assert_false(hear(&p, "198.51.100.7:61000", 1, 10, USEC_S));
    assert_false(hear(&p, "198.51.100.7:61000", 1, 11, USEC_S));
    assert_true(hear(&p, "198.51.100.7:61000", 1, 12, USEC_S));
    assert_true(sends_to(&p, "198.51.100.7:61000"));
    assert_false(hear(&p, "198.51.100.7:61002", 1, 13, USEC_S)); /* settled */
    assert_true(sends_to(&p, "198.51.100.7:61000"));
}

static void packets_that_do_not_belong_together_teach_nothing(void **state)
{
    struct relay_path p = path_of("10.1.0.10:4000", "198.51.100.7:33000", false, ME);
    (void)state;
    for (uint32_t i = 0; i < 50; i++) {
        assert_false(hear(&p, "198.51.100.7:61000", i, 10, USEC_S));                  /* sources */
        assert_false(hear(&p, "198.51.100.7:61000", 1, (uint16_t)(i * 997), USEC_S)); /* numbers */
        assert_false(hear(&p, i & 1 ? "198.51.100.7:61001" : "198.51.100.7:61003", 1, 5, USEC_S));
    }
    assert_int_equal(p.to.family, 0);
}

static void who_is_told_again_is_waited_for_again(void **state)
{
    struct relay_path p = path_of("10.1.0.11:4000", "198.51.100.7:5060", false, ME);
    (void)state;
    relay_path_retold(&p, config.latch, 4 * USEC_S);
    for (uint16_t i = 1; i <= 3; i++)
        hear(&p, "198.51.100.7:61000", 1, i, 4 * USEC_S + config.latch - 1);
    assert_true(sends_to(&p, "198.51.100.7:61000"));
    relay_path_retold(&p, config.latch, 20 * USEC_S); /* not who is there */
    for (uint16_t i = 1; i <= 9; i++)
        assert_false(hear(&p, "198.51.100.7:61002", 1, i, 21 * USEC_S));
}

static void after_the_window_nothing_is_learned(void **state)
{
    struct relay_path p = path_of("10.1.0.10:4000", "198.51.100.7:33000", false, ME);
    (void)state;
    for (uint16_t i = 0; i < 10; i++)
        assert_false(hear(&p, "198.51.100.7:61000", 1, i, USEC_S + config.latch));
}

static void the_same_description_again_keeps_what_was_learned_another_one_does_not(void **state)
{
    struct relay_path p = path_of("10.1.0.10:4000", "198.51.100.7:33000", false, ME);
    struct addr me = at_(ME);
    (void)state;
    for (uint16_t i = 0; i < 3; i++)
        hear(&p, "198.51.100.7:61000", 1, i, USEC_S);
    struct relay_peer same = p.peer, other = p.peer;
    relay_path_set(&p, &same, false, config.latch, &me, ports, 100 * USEC_S);
    assert_true(sends_to(&p, "198.51.100.7:61000"));
    assert_false(hear(&p, "198.51.100.7:61002", 1, 9, 100 * USEC_S));
    other.told = at_("10.1.0.11:4002");
    relay_path_set(&p, &other, false, config.latch, &me, ports, 100 * USEC_S);
    assert_int_equal(p.to.family, 0);
    for (uint16_t i = 0; i < 3; i++)
        hear(&p, "198.51.100.7:61002", 1, i, 101 * USEC_S);
    assert_true(sends_to(&p, "198.51.100.7:61002"));
}

/* Its new port comes into use when the answer has reached it; until then the former one speaks, and goes on being heard. */
static void who_moves_is_heard_at_both_places_until_it_has(void **state)
{
    (void)state;
    struct relay_path p = path_of("10.1.0.11:4000", "198.51.100.7:5060", false, ME);
    struct relay_peer moved = p.peer;
    struct addr me = at_(ME);
    for (uint16_t i = 1; i <= 3; i++)
        hear(&p, "198.51.100.7:61000", 1, i, USEC_S);
    moved.told = at_("10.1.0.11:4002");
    relay_path_set(&p, &moved, false, config.latch, &me, ports, 100 * USEC_S);
    for (uint16_t i = 4; i <= 9; i++)
        hear(&p, "198.51.100.7:61000", 1, i, 101 * USEC_S);
    assert_true(sends_to(&p, "198.51.100.7:61000"));
    for (uint16_t i = 10; i <= 12; i++)
        hear(&p, "198.51.100.7:61002", 1, i, 120 * USEC_S);
    assert_true(sends_to(&p, "198.51.100.7:61002"));
    for (uint16_t i = 13; i <= 20;
         i++) /* what comes late from the former one does not bring it back */
        assert_false(hear(&p, "198.51.100.7:61000", 1, i, 120 * USEC_S));
    assert_true(sends_to(&p, "198.51.100.7:61002"));
    /* one that goes back, and without a NAT */
    p = path_of("198.51.100.7:4000", "198.51.100.7:5060", false, ME);
    assert_true(hear(&p, "198.51.100.7:4000", 1, 1, USEC_S));
    moved.told = at_("198.51.100.7:4002");
    relay_path_set(&p, &moved, false, config.latch, &me, ports, 100 * USEC_S);
    assert_true(hear(&p, "198.51.100.7:4000", 1, 2, 101 * USEC_S));
    assert_true(sends_to(&p, "198.51.100.7:4002"));
    assert_true(hear(&p, "198.51.100.7:4002", 1, 3, 101 * USEC_S));
    assert_false(hear(&p, "198.51.100.7:4000", 1, 4, 101 * USEC_S));
    moved.told = at_("198.51.100.7:4000");
    relay_path_set(&p, &moved, false, config.latch, &me, ports, 200 * USEC_S);
    assert_true(hear(&p, "198.51.100.7:4000", 1, 5, 201 * USEC_S));
    assert_false(hear(&p, "198.51.100.7:4002", 1, 6, 201 * USEC_S));
    /* for ever it waits for nobody */
    moved.told = at_("198.51.100.7:4004");
    relay_path_set(&p, &moved, false, config.latch, &me, ports, 300 * USEC_S);
    assert_false(hear(&p, "198.51.100.7:4000", 1, 7, 340 * USEC_S));
}

/* So early that nothing was learned of it: what is learned first may be the place that it leaves. */
static void who_moves_before_it_was_learned_is_followed(void **state)
{
    (void)state;
    struct relay_path p = path_of("10.1.0.11:4000", "198.51.100.7:5060", false, ME);
    struct relay_peer moved = p.peer;
    struct addr me = at_(ME);
    hear(&p, "198.51.100.7:61000", 1, 1, USEC_S);
    moved.told = at_("10.1.0.11:4002");
    relay_path_set(&p, &moved, false, config.latch, &me, ports, USEC_S);
    for (uint16_t i = 2; i <= 6; i++)
        hear(&p, "198.51.100.7:61000", 1, i, 2 * USEC_S);
    assert_true(sends_to(&p, "198.51.100.7:61000"));
    for (uint16_t i = 7; i <= 9; i++)
        hear(&p, "198.51.100.7:61002", 1, i, 20 * USEC_S);
    assert_true(sends_to(&p, "198.51.100.7:61002"));
    for (uint16_t i = 10; i <= 20; i++)
        assert_false(hear(&p, "198.51.100.7:61000", 1, i, 20 * USEC_S));
    /* if it was the new place after all, it stays it */
    p = path_of("10.1.0.11:4000", "198.51.100.7:5060", false, ME);
    relay_path_set(&p, &moved, false, config.latch, &me, ports, USEC_S);
    for (uint16_t i = 1; i <= 6; i++)
        hear(&p, "198.51.100.7:61002", 1, i, 2 * USEC_S);
    assert_true(hear(&p, "198.51.100.7:61002", 1, 7, 60 * USEC_S));
    for (uint16_t i = 1; i <= 6; i++)
        assert_false(hear(&p, "198.51.100.7:61000", 2, i, 60 * USEC_S));
    assert_true(sends_to(&p, "198.51.100.7:61002"));
}

static void who_is_held_before_it_was_learned_hears_what_comes(void **state)
{
    (void)state;
    struct relay_path p = path_of("10.1.0.11:4000", "198.51.100.7:5060", false, ME);
    struct relay_peer same = p.peer;
    struct addr me = at_(ME);
    assert_false(hear(&p, "198.51.100.7:61000", 1, 1, USEC_S));
    assert_int_equal(p.to.family, 0);
    relay_path_set(&p, &same, false, config.latch, &me, ports, USEC_S);
    assert_true(sends_to(&p, "198.51.100.7:61000"));
    /* it was somebody else's */
    for (uint16_t i = 1; i <= 3; i++)
        hear(&p, "198.51.100.7:61002", 2, i, USEC_S);
    assert_true(sends_to(&p, "198.51.100.7:61002"));
    /* rather there than where its description leads, though it might be right */
    p = path_of("10.1.0.11:4000", "10.2.0.7:5060", false, ME);
    hear(&p, "10.2.0.7:61000", 1, 1, USEC_S);
    assert_true(sends_to(&p, "10.1.0.11:4000"));
    same = p.peer;
    relay_path_set(&p, &same, false, config.latch, &me, ports, USEC_S);
    assert_true(sends_to(&p, "10.2.0.7:61000"));
    /* of long ago it says nothing */
    p = path_of("10.1.0.11:4000", "198.51.100.7:5060", false, ME);
    hear(&p, "198.51.100.7:61000", 1, 1, USEC_S);
    relay_path_set(&p, &same, false, config.latch, &me, ports, USEC_S + config.latch);
    assert_int_equal(p.to.family, 0);
}

/* Signalling and media of many a switch are of different hosts, and there is no NAT: what comes late from the former place,
 * of another phone even, does not keep media from where the description says it belongs. */
static void who_moves_to_another_host_gets_media_there(void **state)
{
    static const char *const formers[] = {"203.0.113.5:4000", "198.51.100.7:4000"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct relay_path p = path_of(formers[i], "198.51.100.7:5060", false, ME);
        struct relay_peer moved = p.peer;
        struct addr me = at_(ME);
        assert_true(hear(&p, formers[i], 1, 1, USEC_S));
        moved.told = at_("203.0.113.6:4002");
        relay_path_set(&p, &moved, false, config.latch, &me, ports, 100 * USEC_S);
        for (uint16_t k = 2; k <= 9; k++)
            hear(&p, formers[i], 1, k, 100 * USEC_S);
        assert_true(i == 1 || sends_to(&p, "203.0.113.6:4002"));
        assert_true(hear(&p, "203.0.113.6:4002", 2, 1, 101 * USEC_S));
        assert_true(sends_to(&p, "203.0.113.6:4002"));
        for (uint16_t k = 10; k <= 19; k++)
            assert_false(hear(&p, formers[i], 1, k, 101 * USEC_S));
        assert_true(sends_to(&p, "203.0.113.6:4002"));
    }
}

/* ---- with keys ---- */

static void what_keys_have_proved_teaches_by_itself(void **state)
{
    struct relay_path p = path_of("10.1.0.10:4000", "198.51.100.7:33000", true, ME);
    struct addr stranger = at_("203.0.113.9:4000");
    (void)state;
    assert_true(relay_path_maybe(&p, &stranger, USEC_S)); /* keys will tell */
    assert_true(hear(&p, "203.0.113.50:700", 1, 1, USEC_S));
    assert_true(sends_to(&p, "203.0.113.50:700"));
    /* later only its NAT may choose another port */
    assert_false(relay_path_maybe(&p, &stranger, 60 * USEC_S));
    assert_true(hear(&p, "203.0.113.50:900", 1, 2, 60 * USEC_S));
    assert_true(sends_to(&p, "203.0.113.50:900"));
}

/* ---- what a description has no business to name ---- */

static void nothing_is_sent_where_nobody_may_send_us(void **state)
{
    static const char *const never[] = {
        "127.0.0.1:4000",       "127.9.9.9:4000", "169.254.169.254:80", "224.0.0.1:4000",
        "255.255.255.255:4000", "0.0.0.0:4000",   "10.0.0.1:4000",      "192.168.1.1:4000",
        "100.64.0.1:4000",      "192.0.2.1:20010" /* our own address */};
    (void)state;
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        struct relay_path p = path_of(never[i], "198.51.100.7:5060", false, ME);
        assert_int_equal(p.to.family, 0);
        assert_false(relay_path_send(&p));
    }
    static const char *const never6[] = {"[::1]:4000", "[fe80::1]:4000", "[ff02::1]:4000",
                                         "[::]:4000", "[fc00::1]:4000"};
    for (size_t i = 0; i < sizeof(never6) / sizeof(never6[0]); i++) {
        struct relay_path p = path_of(never6[i], "[2001:db8::7]:5060", false, "[2001:db8::1]:5060");
        assert_int_equal(p.to.family, 0);
    }
    struct relay_path other = path_of("[2001:db8::7]:4000", "198.51.100.7:5060", false, ME);
    assert_int_equal(other.to.family, 0); /* our port is of the other family */
}

static void who_signals_from_such_a_network_may_name_it(void **state)
{
    (void)state;
    struct relay_path p = path_of("127.0.0.2:4000", "127.0.0.1:5060", false, "127.0.0.1:5060");
    assert_true(relay_path_send(&p));
    p = path_of("10.0.0.5:4000", "10.7.0.1:5060", false, "10.0.0.1:5060");
    assert_true(relay_path_send(&p));
    p = path_of("127.0.0.2:4000", "10.7.0.1:5060", false, "10.0.0.1:5060");
    assert_false(relay_path_send(&p));
}

static void a_third_party_that_never_answers_is_left_alone_soon(void **state)
{
    struct relay_path p = path_of("203.0.113.9:4000", "198.51.100.7:5060", false, ME);
    unsigned sent = 0;
    (void)state;
    while (sent < 100000 && relay_path_send(&p))
        sent++;
    assert_in_range(sent, 100, 1000);
    assert_true(hear(&p, "203.0.113.9:4000", 1, 1, 2 * USEC_S)); /* it does answer */
    assert_true(relay_path_send(&p));
    struct relay_path own = path_of(PHONE, "198.51.100.7:5060", false, ME);
    for (sent = 0; sent < 100000; sent++)
        assert_true(relay_path_send(&own));
}

/* One who names a third party again and again, and an address of his own in between. */
static void third_parties_together_get_no_more_than_one(void **state)
{
    struct relay_path p = path_of(PHONE, "198.51.100.7:5060", false, ME);
    struct relay_peer peer = p.peer;
    struct addr me = at_(ME);
    unsigned sent = 0;
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        usec now = (2 + i) * USEC_S;
        peer.told = at_("203.0.113.9:4000");
        peer.told.port = (uint16_t)(4000 + i);
        relay_path_set(&p, &peer, false, config.latch, &me, ports, now);
        for (unsigned k = 0; k < 1000; k++)
            sent += relay_path_send(&p);
        peer.told = at_(PHONE);
        relay_path_set(&p, &peer, false, config.latch, &me, ports, now);
        assert_true(hear(&p, PHONE, 1, (uint16_t)i, now));
        assert_true(relay_path_send(&p));
    }
    assert_in_range(sent, 100, 1000);
}

/* ---- ports ---- */

static unsigned packets, others;
static unsigned heard[RELAY_COMPONENTS];
static void on_other(void *arg, struct relay_transport *t, enum relay_component c, struct block *b,
                     const struct addr *from)
{
    (void)arg, (void)t, (void)c, (void)b, (void)from;
    others++;
}
static void on_packet(void *arg, struct relay_transport *t, enum relay_component c, bool rtcp,
                      struct block *b, const struct addr *from)
{
    struct relay_transport *to = arg;
    (void)from;
    assert_int_equal(rtcp, !t->opaque && rtpmsg_kind(block_sv(b)) == RTPMSG_RTCP);
    packets++;
    if (!relay_path_hear(&t->path[c], from, 1, 1, loop_now(at)))
        return;
    heard[c]++;
    assert_true(relay_send(to, c, block_ref(b)));
}
static const struct relay_handler handler = {on_other, on_packet};

static void got_it(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    unsigned *left = arg;
    (void)to, (void)b, (void)from;
    if (--*left == 0)
        net_stop();
}

static void a_range_is_used_up_and_comes_back(void **state)
{
    struct ports *few;
    struct relay *r;
    struct relay_transport t[3];
    struct addr lo;
    (void)state;
    net_setup(1);
    assert_int_equal(ports_new(27001, 27005, &few), ERR_OK); /* the first pair begins at 27002 */
    assert_int_equal(relay_new(at, few, &config, &r), ERR_OK);
    lo = at_("127.0.0.1:0");
    assert_int_equal(relay_open(r, &lo, &handler, NULL, &t[0]), ERR_OK);
    assert_int_equal(relay_open(r, &lo, &handler, NULL, &t[1]), ERR_OK);
    assert_int_equal(relay_open(r, &lo, &handler, NULL, &t[2]), ERR_BUSY);
    for (int i = 0; i < 2; i++) {
        unsigned port = t[i].port[RELAY_RTP]->local.port;
        assert_int_equal(port % 2, 0);
        assert_in_range(port, 27002, 27004);
        assert_int_equal(t[i].port[RELAY_RTCP]->local.port, port + 1);
    }
    assert_int_equal(at->stats.refusals[STAT_LIMIT_MEDIA_PORTS], 1);
    relay_close(&t[0]);
    assert_int_equal(relay_pairs(r), 1);
    assert_int_equal(relay_open(r, &lo, &handler, NULL, &t[2]), ERR_OK);
    relay_close(&t[1]);
    relay_close(&t[2]);
    relay_free(r);
    assert_int_equal(ports_taken(few), 0);
    ports_free(few);
    net_end();
}

/* Octets of any kind, as T.38's are taken, would be a request of ours to whoever believes our address. */
static void what_is_no_media_goes_to_nobody_who_has_not_spoken(void **state)
{
    sv invite = SV("INVITE sip:+123@trunk SIP/2.0");
    struct relay *r;
    struct relay_transport t;
    struct addr lo = at_("127.0.0.1:0"), third = at_("127.0.0.4:5060");
    struct relay_peer peer = {.told = third, .party = at_("127.0.0.3:5060")};
    (void)state;
    net_setup(1);
    assert_int_equal(relay_new(at, ports, &config, &r), ERR_OK);
    assert_int_equal(relay_open(r, &lo, &handler, NULL, &t), ERR_OK);
    for (int opaque = 0; opaque < 2; opaque++) {
        for (int known = 0; known < 3; known++) {
            struct relay_path *p = &t.path[RELAY_RTP];
            struct relay_peer as = peer;
            *p = (struct relay_path){.until = 0};
            t.opaque = opaque;
            if (known == 2)
                as.party = third;
            relay_path_set(p, &as, false, config.latch, &lo, ports, USEC_S);
            if (known == 1)
                assert_true(relay_path_hear(p, &third, 0, 0, USEC_S));
            struct block *b = block_new(at->blocks, 100);
            memcpy(b->p, invite.p, invite.n);
            b->n = (uint32_t)invite.n;
            assert_int_equal(relay_send(&t, RELAY_RTP, b), !opaque || known);
        }
    }
    relay_close(&t);
    relay_free(r);
    net_end();
}

static void a_packet_goes_through(void **state)
{
    static const uint8_t rtp[172] = {0x80, 0, 0, 1}, rtcp[8] = {0x80, 201, 0, 1}, stun[20] = {0, 1};
    static const struct udp_handler got = {.on_datagram = got_it};
    struct relay *r;
    struct relay_transport a, b;
    struct udp *alice, *alice_rtcp, *bob;
    unsigned left = 2, none = 1000;
    (void)state;
    net_setup(1);
    packets = others = 0;
    struct addr lo = at_("127.0.0.1:0");
    assert_int_equal(relay_new(at, ports, &config, &r), ERR_OK);
    assert_int_equal(relay_open(r, &lo, &handler, &b, &a), ERR_OK);
    assert_int_equal(relay_open(r, &lo, &handler, &a, &b), ERR_OK);
    assert_int_equal(udp_open(at, &lo, &got, &none, &alice), ERR_OK);
    assert_int_equal(udp_open(at, &lo, &got, &none, &alice_rtcp), ERR_OK);
    assert_int_equal(udp_open(at, &lo, &got, &left, &bob), ERR_OK);
    struct relay_peer pa = {.told = alice->local, .party = lo},
                      pb = {.told = bob->local, .party = lo};
    struct addr mine = lo;
    relay_path_set(&a.path[RELAY_RTP], &pa, false, config.latch, &mine, ports, loop_now(at));
    pa.told = alice_rtcp->local;
    relay_path_set(&a.path[RELAY_RTCP], &pa, false, config.latch, &mine, ports, loop_now(at));
    relay_path_set(&b.path[RELAY_RTP], &pb, false, config.latch, &mine, ports, loop_now(at));
    b.mux = true;
    sv piece = {(const char *)rtp, sizeof(rtp)}, control = {(const char *)rtcp, sizeof(rtcp)},
       check = {(const char *)stun, sizeof(stun)};
    assert_int_equal(udp_send(alice, NULL, &a.port[RELAY_RTP]->local, &check, 1), ERR_OK);
    assert_int_equal(udp_send(alice, NULL, &a.port[RELAY_RTP]->local, &piece, 1), ERR_OK);
    /* RTCP reaches the port that bob has for both */
    assert_int_equal(udp_send(alice_rtcp, NULL, &a.port[RELAY_RTCP]->local, &control, 1), ERR_OK);
    net_run();
    assert_int_equal(others, 1);
    assert_int_equal(heard[RELAY_RTP], 1);
    assert_int_equal(heard[RELAY_RTCP], 1);
    assert_int_equal(packets, 2);
    udp_close(alice);
    udp_close(alice_rtcp);
    udp_close(bob);
    relay_close(&a);
    relay_close(&b);
    relay_free(r);
    net_end();
}

static void on_look(struct timer *t, void *arg)
{
    (void)arg;
    if (packets > 100000 || at->stats.v[STAT_MEDIA_FOREIGN] > 0)
        net_stop();
    else
        loop_timer(at, t, 10 * USEC_MS);
}

/* Two that name each other's ports: nobody else is there, and what goes round comes to an end. */
static void a_circle_comes_to_an_end(void **state)
{
    static const uint8_t rtp[172] = {0x80, 0, 0, 1};
    struct relay *r;
    struct relay_transport a, b;
    struct timer look;
    (void)state;
    net_setup(1);
    packets = 0;
    struct addr lo = at_("127.0.0.1:0"), phone = at_("127.0.0.7:5060");
    assert_int_equal(relay_new(at, ports, &config, &r), ERR_OK);
    assert_int_equal(relay_open(r, &lo, &handler, &a, &a), ERR_OK);
    assert_int_equal(relay_open(r, &lo, &handler, &b, &b), ERR_OK);
    struct relay_peer pa = {.told = b.port[0]->local, .party = phone},
                      pb = {.told = a.port[0]->local, .party = phone};
    relay_path_set(&a.path[RELAY_RTP], &pa, false, config.latch, &lo, ports, loop_now(at));
    relay_path_set(&b.path[RELAY_RTP], &pb, false, config.latch, &lo, ports, loop_now(at));
    struct block *first = block_new(at->blocks, sizeof(rtp));
    memcpy(first->p, rtp, sizeof(rtp));
    first->n = sizeof(rtp);
    assert_true(relay_send(&a, RELAY_RTP, first));
    timer_init(&look, on_look, NULL);
    loop_timer(at, &look, 10 * USEC_MS);
    net_run();
    assert_in_range(packets, 100, 100000);
    relay_close(&a);
    relay_close(&b);
    relay_free(r);
    net_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_told_his_address_is_heard_there_and_nobody_else),
        cmocka_unit_test(a_sender_with_two_ports_is_heard_but_not_sent_to),
        cmocka_unit_test(a_second_port_is_given_up_when_the_one_told_speaks),
        cmocka_unit_test(behind_a_nat_the_port_is_learned_from_where_the_signalling_comes),
        cmocka_unit_test(packets_that_do_not_belong_together_teach_nothing),
        cmocka_unit_test(who_is_told_again_is_waited_for_again),
        cmocka_unit_test(after_the_window_nothing_is_learned),
        cmocka_unit_test(the_same_description_again_keeps_what_was_learned_another_one_does_not),
        cmocka_unit_test(who_moves_is_heard_at_both_places_until_it_has),
        cmocka_unit_test(who_moves_before_it_was_learned_is_followed),
        cmocka_unit_test(who_is_held_before_it_was_learned_hears_what_comes),
        cmocka_unit_test(who_moves_to_another_host_gets_media_there),
        cmocka_unit_test(what_keys_have_proved_teaches_by_itself),
        cmocka_unit_test(nothing_is_sent_where_nobody_may_send_us),
        cmocka_unit_test(who_signals_from_such_a_network_may_name_it),
        cmocka_unit_test(a_third_party_that_never_answers_is_left_alone_soon),
        cmocka_unit_test(third_parties_together_get_no_more_than_one),
        cmocka_unit_test(a_range_is_used_up_and_comes_back),
        cmocka_unit_test(what_is_no_media_goes_to_nobody_who_has_not_spoken),
        cmocka_unit_test(a_packet_goes_through),
        cmocka_unit_test(a_circle_comes_to_an_end),
    };
    if (ports_new(20000, 29999, &ports))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ports_free(ports);
    return failed;
}
