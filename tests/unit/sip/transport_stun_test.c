/* SPDX-License-Identifier: MIT */
/* STUN on the UDP ports of SIP: who is answered, with what, how often, and who is not. */
#include "stunmsg/stunmsg.h"
#include "world.h"

enum { DATAGRAM_MAX = 2048 };

static const uint8_t id[STUN_ID] = "twelve octet";
static char mem[DATAGRAM_MAX];
static struct buf b;
static struct stunmsg answer;

static struct world *start(unsigned workers)
{
    return world_new(workers, NULL);
}

static void say(struct world *w, sv octets)
{
    struct addr to = address(SERVER_IP, 5060);
    assert_int_equal(udp_send(w->udp, NULL, &to, &octets, 1), ERR_OK);
}

static struct stun_out begin(enum stun_class class, uint16_t method)
{
    buf_init(&b, mem, sizeof mem);
    return stunmsg_begin(&b, method, class, id);
}

static void is_answered(struct world *w, sv octets)
{
    inbox_clear(w);
    say(w, octets);
    run(w, 20 * USEC_MS);
    assert_int_equal(w->datagrams, 1);
    assert_int_equal(stunmsg_parse((sv){w->inbox, w->inbox_n}, &answer), ERR_OK);
    assert_int_equal(answer.method, STUN_BINDING);
    assert_memory_equal(answer.id, id, STUN_ID);
}

static void is_ignored(struct world *w, sv octets)
{
    inbox_clear(w);
    say(w, octets);
    run(w, 20 * USEC_MS);
    assert_int_equal(w->datagrams, 0);
    assert_int_equal(w->icmp, 0);
}

static void names_the_peer(void)
{
    struct stun_attr a;
    struct stun_addr mapped;
    struct addr peer = address(PEER_IP, PEER_PORT);
    assert_int_equal(answer.class, STUN_SUCCESS);
    assert_true(stunmsg_find(&answer, STUN_XOR_MAPPED_ADDRESS, &a));
    assert_int_equal(stunmsg_xor_address(&answer, a.value, &mapped), ERR_OK);
    assert_int_equal(mapped.family, 4);
    assert_int_equal(mapped.port, PEER_PORT);
    assert_memory_equal(mapped.ip, peer.ip, 4);
}

static void a_binding_request_is_answered_with_its_source(void **state)
{
    (void)state;
    struct world *w = start(2);
    begin(STUN_REQUEST, STUN_BINDING);
    for (int i = 0; i < 3; i++) { /* a repetition is answered the same */
        is_answered(w, buf_sv(&b));
        names_the_peer();
        assert_false(answer.fingerprint);
        assert_int_equal(w->inbox_n, 32); /* the address, and nothing else */
    }
    assert_int_equal(stat_of(w, STAT_STUN_ANSWERS), 3);
    assert_int_equal(w->requests, 0);
    assert_int_equal(stat_of(w, STAT_SIP_PARSE_ERRORS), 0);
    world_free(w);
}

static void what_it_understands_changes_nothing(void **state)
{
    (void)state;
    struct world *w = start(1);
    struct stun_out o = begin(STUN_REQUEST, STUN_BINDING);
    stunmsg_put(&o, STUN_SOFTWARE, SV("a phone"));
    stunmsg_put(&o, STUN_USERNAME, SV("alice"));
    stunmsg_put(&o, 0xc001, SV("may be ignored"));
    stunmsg_put(&o, STUN_MESSAGE_INTEGRITY, SV("01234567890123456789"));
    stunmsg_put(&o, 0x0003, SV("does not count here"));
    stunmsg_put_fingerprint(&o);
    is_answered(w, buf_sv(&b));
    names_the_peer();
    assert_true(answer.fingerprint); /* as he does */
    world_free(w);
}

static void what_it_must_understand_and_does_not_is_named(void **state)
{
    struct stun_attr a;
    unsigned code;
    sv reason;
    (void)state;
    struct world *w = start(1);
    struct stun_out o = begin(STUN_REQUEST, STUN_BINDING);
    stunmsg_put(&o, 0x0003, SV("\0\0\0\6"));
    stunmsg_put(&o, STUN_USERNAME, SV("alice"));
    stunmsg_put(&o, 0x0024, SV("abcd"));
    is_answered(w, buf_sv(&b));
    assert_int_equal(answer.class, STUN_ERROR);
    assert_true(stunmsg_find(&answer, STUN_ERROR_CODE, &a));
    assert_int_equal(stunmsg_error_code(a.value, &code, &reason), ERR_OK);
    assert_int_equal(code, 420);
    assert_true(stunmsg_find(&answer, STUN_UNKNOWN_ATTRIBUTES, &a));
    assert_true(sv_eq(a.value, ((sv){"\0\3\0\x24", 4})));
    assert_false(stunmsg_find(&answer, STUN_XOR_MAPPED_ADDRESS, &a));
    /* Any number of them makes no long answer. */
    o = begin(STUN_REQUEST, STUN_BINDING);
    for (uint16_t i = 0; i < 300; i++)
        stunmsg_put(&o, 0x1000 + i, SV(""));
    stunmsg_put_fingerprint(&o);
    is_answered(w, buf_sv(&b));
    assert_true(w->inbox_n < 128);
    world_free(w);
}

static void all_else_is_ignored(void **state)
{
    (void)state;
    struct world *w = start(1);
    for (int class = STUN_INDICATION; class <= STUN_ERROR; class ++) {
        begin((enum stun_class) class, STUN_BINDING);
        is_ignored(w, buf_sv(&b));
    }
    begin(STUN_REQUEST, 3); /* TURN's Allocate */
    is_ignored(w, buf_sv(&b));
    struct stun_out o = begin(STUN_REQUEST, STUN_BINDING);
    stunmsg_put_fingerprint(&o);
    mem[b.n - 1] ^= 1;
    is_ignored(w, buf_sv(&b));
    o = begin(STUN_REQUEST, STUN_BINDING);
    stunmsg_put(&o, STUN_SOFTWARE, SV("cut"));
    is_ignored(w, sv_sub(buf_sv(&b), 0, b.n - 4));
    o = begin(STUN_REQUEST, STUN_BINDING);
    static const char much[1300];
    stunmsg_put(&o, STUN_SOFTWARE, (sv){much, sizeof much});
    is_ignored(w, buf_sv(&b));
    assert_int_equal(stat_of(w, STAT_STUN_ANSWERS), 0);
    assert_int_equal(w->requests, 0);
    assert_int_equal(stat_of(w, STAT_SIP_PARSE_ERRORS), 0);
    /* And a SIP message is a SIP message. */
    say_udp(w, request("OPTIONS", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 20 * USEC_MS);
    assert_int_equal(w->requests, 1);
    world_free(w);
}

/* A victim whose address is forged hears no more of us than this. */
static void a_source_is_answered_at_a_rate(void **state)
{
    (void)state;
    struct world *w = start(1);
    begin(STUN_REQUEST, STUN_BINDING);
    inbox_clear(w);
    for (int i = 0; i < 1000; i++)
        say(w, buf_sv(&b));
    run(w, 20 * USEC_MS);
    assert_in_range(w->datagrams, 200, 206);
    assert_in_range(refused(w, STAT_LIMIT_STUN), 794, 800);
    run(w, USEC_S);
    is_answered(w, buf_sv(&b));
    world_free(w);
}

static void listening_over_ipv6(struct sip_config *c)
{
    c->listen[0].bind = address("::", 5060);
}

static struct addr answered_from;
static void ipv6_datagram(void *arg, struct block *octets, const struct addr *from,
                          const struct addr *to)
{
    answered_from = *from;
    peer_datagram(arg, octets, from, to);
}
static const struct udp_handler ipv6_udp = {.on_datagram = ipv6_datagram};

static void an_ipv6_phone_is_answered_from_where_it_asked(void **state)
{
    struct addr here = address("2001:db8:1:1::1", PEER_PORT), to = address("2001:db8::1", 5060);
    struct stun_attr a;
    struct stun_addr mapped;
    struct udp *udp;
    (void)state;
    world_configure = listening_over_ipv6;
    struct world *w = start(1);
    world_configure = NULL;
    assert_int_equal(udp_open(w->peer, &here, &ipv6_udp, w, &udp), ERR_OK);
    begin(STUN_REQUEST, STUN_BINDING);
    sv octets = buf_sv(&b);
    assert_int_equal(udp_send(udp, NULL, &to, &octets, 1), ERR_OK);
    run(w, 20 * USEC_MS);
    assert_int_equal(w->inbox_n, 44);
    assert_true(addr_equal(&answered_from, &to));
    assert_int_equal(stunmsg_parse((sv){w->inbox, w->inbox_n}, &answer), ERR_OK);
    assert_true(stunmsg_find(&answer, STUN_XOR_MAPPED_ADDRESS, &a));
    assert_int_equal(stunmsg_xor_address(&answer, a.value, &mapped), ERR_OK);
    assert_int_equal(mapped.family, 6);
    assert_memory_equal(mapped.ip, here.ip, 16);
    udp_close(udp);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_binding_request_is_answered_with_its_source),
        cmocka_unit_test(what_it_understands_changes_nothing),
        cmocka_unit_test(what_it_must_understand_and_does_not_is_named),
        cmocka_unit_test(all_else_is_ignored),
        cmocka_unit_test(a_source_is_answered_at_a_rate),
        cmocka_unit_test(an_ipv6_phone_is_answered_from_where_it_asked),
    };
    return crypto_start() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
