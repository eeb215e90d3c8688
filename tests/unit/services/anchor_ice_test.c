/* SPDX-License-Identifier: MIT */
/* anchor_ice_test.c: phones that speak ICE, with those that do not. */
#include "anchor_rig.h"
#include "../media/ice_peer.h"
#include "ice/ice.h"

#define ICE_OF(mark)                                                           \
    "a=ice-ufrag:frag" mark "\r\na=ice-pwd:passwordpasswordpasswo" mark "\r\n" \
    "a=candidate:1 1 UDP 2130706431 192.0.2.11 4000 typ host\r\n"

static bool speaks_ice(const char *message)
{
    const char *body = body_of(message);
    return strstr(body, "\r\na=ice-ufrag:") && strstr(body, " typ host\r\n") &&
           strstr(body, "\r\na=ice-lite\r\n");
}

/* bob's phone registers with these contact parameters. */
static void bob_says(struct media_rig *m, const char *params)
{
    struct binding b = binding_of(m->r, BOB_AT, BOB);
    b.params = sv_of(params);
    rig_bind(m->r, "bob@example.com", &b, 1);
    m->r->set->media.mode = MEDIA_AUTO;
}

/* RFC 5768: what stays silent without checks gets them, wherever it might be reached directly. */
static void a_contact_with_sip_ice_is_offered_it(void **state)
{
    struct media_rig *m = *state;
    static const struct {
        const char *params;
        bool ice;
    } rows[] = {{";+sip.ice", true},
                {";q=0.5;+sip.ice=\"TRUE\";x=y", true},
                {";+sip.ice=\"FALSE\"", false},
                {";+sip.icebox", false},
                {"", false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *call = scratch(), *body = sdp("192.0.2.11", "0", "");
        snprintf((char *)call, MESSAGE, "i1.%zu", i);
        bob_says(m, rows[i].params);
        invite(m, call, body);
        const char *rq = find_raw(m->r, BOB, "INVITE");
        assert_int_equal(speaks_ice(rq), rows[i].ice);
        assert_int_equal(strcmp(body_of(rq), body) == 0, !rows[i].ice);
        say(m->r, BOB, reply(rq, 486, "b", ""));
        rig_quiet(m->r);
    }
}

/* Who has shown that he speaks it is spoken to so from then on, whoever offers. */
static void who_offered_ice_is_offered_it(void **state)
{
    struct media_rig *m = *state;
    bob_says(m, "");
    invite(m, "i2", sdp("192.0.2.11", "0", ICE_OF("0")));
    our_port(find_raw(m->r, BOB, "INVITE")); /* it is not known that he does */
    char ok[MESSAGE];
    snprintf(ok, sizeof(ok), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    assert_true(speaks_ice(ok));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "i2", ok, 1));
    rig_clear(m->r);
    say(m->r, BOB,
        with(inside(m, BOB, "INVITE", ALICE_AT, REVERSED, "i2", ok, 2),
             sdp("192.0.2.12", "0", "")));
    const char *again = find_raw(m->r, ALICE, "INVITE");
    assert_true(speaks_ice(again));
    say(m->r, ALICE, with(reply(again, 200, NULL, CONTACT), sdp("192.0.2.11", "0", ICE_OF("0"))));
    assert_false(speaks_ice(find_raw(m->r, BOB, "SIP/2.0 200 ")));
    say(m->r, BOB, inside(m, BOB, "ACK", ALICE_AT, REVERSED, "i2", ok, 2));
    hang_up(m, "i2", ok);
}

/* The Contact of a caller who offers nothing yet. */
static void a_caller_with_sip_ice_is_offered_it(void **state)
{
    struct media_rig *m = *state;
    bob_says(m, "");
    rig_clear(m->r);
    say(m->r, ALICE,
        request(m->r, ALICE, "INVITE", "sip:bob@example.com", TO_BOB, "i3",
                "Contact: <sip:alice@192.0.2.11:5060>;+sip.ice\r\n"));
    char ok[MESSAGE];
    snprintf(ok, sizeof(ok), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    assert_true(speaks_ice(ok));
    say(m->r, ALICE,
        with(inside(m, ALICE, "ACK", BOB_AT, DIALOG, "i3", ok, 1),
             sdp("192.0.2.11", "0", ICE_OF("0"))));
    assert_false(speaks_ice(find_raw(m->r, BOB, "ACK")));
    hang_up(m, "i3", ok);
}

/* ---- checks ---- */

/* What is ours toward a side, by the last message that it got. */
static struct ice_secret ours_in(const char *message)
{
    struct ice_secret s = {.ufrag = ""};
    const char *ufrag = strstr(message, "a=ice-ufrag:"), *pwd = strstr(message, "a=ice-pwd:");
    assert_non_null(ufrag);
    assert_non_null(pwd);
    memcpy(s.ufrag, ufrag + 12, sizeof(s.ufrag));
    memcpy(s.pwd, pwd + 10, sizeof(s.pwd));
    assert_int_equal(ufrag[12 + sizeof(s.ufrag)], '\r');
    assert_int_equal(pwd[10 + sizeof(s.pwd)], '\r');
    return s;
}

/* A check from this port; the code that it is answered with, 0: success, 1: not at all. */
static unsigned check(struct media_rig *m, struct media_port *from, uint16_t port,
                      const struct ice_secret *to, bool use)
{
    char mem[512];
    struct buf b;
    struct addr at = address(SERVER_IP, port);
    struct stunmsg answer;
    struct stun_attr a;
    unsigned n = from->n, code = 0;
    sv reason;
    buf_init(&b, mem, sizeof(mem));
    struct peer_check c = {
        .ufrag = ice_ufrag(to), .pwd = ice_pwd(to), .from = "frag", .priority = 1, .use = use};
    sv piece = peer_check(&c, &b);
    assert_int_equal(udp_send(from->udp, NULL, &at, &piece, 1), ERR_OK);
    rig_run(m->r, 20 * USEC_MS);
    if (from->n == n)
        return 1;
    assert_int_equal(stunmsg_parse((sv){(char *)from->last, from->size}, &answer), ERR_OK);
    if (stunmsg_find(&answer, STUN_ERROR_CODE, &a))
        assert_int_equal(stunmsg_error_code(a.value, &code, &reason), ERR_OK);
    return code;
}

/* A packet of bob's arrives there. */
static bool bob_is_heard(struct media_rig *m, uint16_t at_bob, const struct media_port *where)
{
    static uint16_t seq;
    unsigned n = where->n;
    say_rtp(m, BOB, at_bob, 0, ++seq);
    return where->n == n + 1;
}

static bool alice_is_heard(struct media_rig *m, uint16_t at_alice)
{
    static uint16_t seq;
    unsigned n = m->port[BOB].n;
    say_rtp(m, ALICE, at_alice, 0, ++seq);
    return m->port[BOB].n == n + 1;
}

/* A call of alice, who speaks ICE, with bob, who does not; her 200. */
static void begin(struct media_rig *m, const char *call, char ok[static MESSAGE])
{
    invite(m, call, sdp("192.0.2.11", "0", ICE_OF("0")));
    snprintf(ok, MESSAGE, "%s", answer(m, sdp("192.0.2.12", "0", "")));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, call, ok, 1));
}

/* She offers anew; what she is answered. */
static void offers(struct media_rig *m, const char *call, const char *heard, unsigned cseq,
                   const char *more, char again[static MESSAGE])
{
    rig_clear(m->r);
    say(m->r, ALICE,
        with(inside(m, ALICE, "INVITE", BOB_AT, DIALOG, call, heard, cseq),
             sdp("192.0.2.11", "0", more)));
    const char *rq = find_raw(m->r, BOB, "INVITE");
    say(m->r, BOB,
        with(reply(rq, 200, NULL, "Contact: <" BOB_AT ">\r\n"), sdp("192.0.2.12", "0", "")));
    snprintf(again, MESSAGE, "%s", find_raw(m->r, ALICE, "SIP/2.0 200 "));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, call, heard, cseq));
}

/* RFC 8839 §4.4.2.1: new credentials of hers, new ones of ours; media goes on by the old way until there is a new one. */
static void a_restart_is_answered_with_one(void **state)
{
    struct media_rig *m = *state;
    struct media_port *alice = &m->port[ALICE], moved = {.n = 0};
    struct addr a = m->r->peer[ALICE].addr;
    char ok[MESSAGE], again[MESSAGE];
    a.port = 4002;
    assert_int_equal(udp_open(m->r->peer_group->loop[0], &a, &media_handler, &moved, &moved.udp),
                     ERR_OK);
    begin(m, "i4", ok);
    uint16_t at_bob = our_port(find_raw(m->r, BOB, "INVITE")), at_alice = our_port(ok);
    struct ice_secret first = ours_in(ok), second, third;
    struct ice_secret at_first = ours_in(find_raw(m->r, BOB, "INVITE"));
    assert_false(bob_is_heard(m, at_bob, alice));
    assert_int_equal(check(m, alice, at_alice, &first, true), 0);
    assert_true(bob_is_heard(m, at_bob, alice));
    assert_true(alice_is_heard(m, at_alice));
    /* the same again is none */
    offers(m, "i4", ok, 2, ICE_OF("0"), again);
    second = ours_in(again);
    assert_memory_equal(&first, &second, sizeof(first));

    offers(m, "i4", ok, 3, ICE_OF("1"), again);
    assert_int_equal(our_port(again), at_alice);
    second = ours_in(again);
    assert_memory_not_equal(first.ufrag, second.ufrag, sizeof(first.ufrag));
    assert_memory_not_equal(first.pwd, second.pwd, sizeof(first.pwd));
    third = ours_in(find_raw(m->r, BOB, "INVITE")); /* the restart is hers alone */
    assert_memory_equal(&at_first, &third, sizeof(third));
    assert_true(bob_is_heard(m, at_bob, alice));
    assert_true(alice_is_heard(m, at_alice));
    assert_int_equal(check(m, alice, at_alice, &first, false), 0);
    assert_int_equal(check(m, &moved, at_alice, &first, true), 401);
    assert_int_equal(check(m, &moved, at_alice, &second, false), 0);
    assert_true(bob_is_heard(m, at_bob, alice));
    assert_int_equal(check(m, &moved, at_alice, &second, true), 0);
    assert_true(bob_is_heard(m, at_bob, &moved));
    assert_int_equal(check(m, alice, at_alice, &first, false), 401);
    assert_true(alice_is_heard(m, at_alice)); /* where she was a moment ago is hers, too */

    /* bob's offers are none */
    rig_clear(m->r);
    say(m->r, BOB,
        with(inside(m, BOB, "INVITE", ALICE_AT, REVERSED, "i4", ok, 2),
             sdp("192.0.2.12", "0", "")));
    const char *rq = find_raw(m->r, ALICE, "INVITE");
    third = ours_in(rq);
    assert_memory_equal(&second, &third, sizeof(second));
    say(m->r, ALICE, with(reply(rq, 200, NULL, CONTACT), sdp("192.0.2.11", "0", ICE_OF("1"))));
    say(m->r, BOB, inside(m, BOB, "ACK", ALICE_AT, REVERSED, "i4", ok, 2));
    assert_true(bob_is_heard(m, at_bob, &moved));
    hang_up(m, "i4", ok);
    udp_close(moved.udp);
}

/* Agents tell each other at once what they have chosen. Whose offer comes second hears so, and the first is answered. */
static void offers_that_cross_are_kept_apart(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE], first[MESSAGE];
    begin(m, "i9", ok);
    uint16_t at_bob = our_port(find_raw(m->r, BOB, "INVITE")), at_alice = our_port(ok);
    struct ice_secret ours = ours_in(ok);
    assert_int_equal(check(m, &m->port[ALICE], at_alice, &ours, true), 0);
    rig_clear(m->r);
    say(m->r, BOB,
        with(inside(m, BOB, "INVITE", ALICE_AT, REVERSED, "i9", ok, 2),
             sdp("192.0.2.12", "0", "")));
    snprintf(first, sizeof(first), "%s", find_raw(m->r, ALICE, "INVITE"));
    say(m->r, ALICE,
        with(inside(m, ALICE, "INVITE", BOB_AT, DIALOG, "i9", ok, 2),
             sdp("192.0.2.11", "0", ICE_OF("0"))));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 491 "), 1);
    assert_int_equal(heard(m->r, BOB, "INVITE"), 0);
    say(m->r, ALICE, with(reply(first, 200, NULL, CONTACT), sdp("192.0.2.11", "0", ICE_OF("0"))));
    our_port(find_raw(m->r, BOB, "SIP/2.0 200 "));
    say(m->r, BOB, inside(m, BOB, "ACK", ALICE_AT, REVERSED, "i9", ok, 2));
    /* one that is refused stands in nobody's way */
    rig_clear(m->r);
    say(m->r, BOB,
        with(inside(m, BOB, "INVITE", ALICE_AT, REVERSED, "i9", ok, 3),
             sdp("192.0.2.12", "0", "")));
    say(m->r, ALICE, reply(find_raw(m->r, ALICE, "INVITE"), 491, NULL, ""));
    offers(m, "i9", ok, 3, ICE_OF("0"), first);
    our_port(first);
    assert_true(bob_is_heard(m, at_bob, &m->port[ALICE]));
    assert_true(alice_is_heard(m, at_alice));
    hang_up(m, "i9", ok);
}

/* RFC 8445 §19.5: who falls silent is sent nothing any more, who speaks is never cut off. */
static void who_falls_silent_is_sent_nothing(void **state)
{
    struct media_rig *m = *state;
    struct media_port *alice = &m->port[ALICE];
    char ok[MESSAGE], again[MESSAGE];
    begin(m, "i5", ok);
    uint16_t at_bob = our_port(find_raw(m->r, BOB, "INVITE")), at_alice = our_port(ok);
    struct ice_secret ours = ours_in(ok);
    assert_int_equal(check(m, alice, at_alice, &ours, true), 0);
    for (int i = 0; i < 10; i++) { /* she repeats no check */
        rig_run(m->r, 10 * USEC_S);
        assert_true(alice_is_heard(m, at_alice));
        assert_true(bob_is_heard(m, at_bob, alice));
    }
    for (int i = 0; i < 2; i++) {
        rig_run(m->r, 14 * USEC_S);
        assert_true(bob_is_heard(m, at_bob, alice));
    }
    rig_run(m->r, 3 * USEC_S);
    assert_false(bob_is_heard(m, at_bob, alice));
    assert_true(alice_is_heard(m, at_alice));
    assert_true(bob_is_heard(m, at_bob, alice));
    /* on hold she need not speak */
    offers(m, "i5", ok, 2, ICE_OF("0") "a=inactive\r\n", again);
    for (int i = 0; i < 5; i++) {
        rig_run(m->r, 20 * USEC_S);
        say_rtp(m, BOB, at_bob, 0, 1000);
    }
    offers(m, "i5", ok, 3, ICE_OF("0"), again);
    assert_true(bob_is_heard(m, at_bob, alice));
    /* a check is a sign of life, too */
    rig_run(m->r, 20 * USEC_S);
    assert_int_equal(check(m, alice, at_alice, &ours, false), 0);
    rig_run(m->r, 20 * USEC_S);
    assert_true(bob_is_heard(m, at_bob, alice));
    hang_up(m, "i5", ok);
}

/* A description without ICE is the end of it (RFC 8839 §4.4.2.2 leaves the rest to RFC 3264): nobody owes checks then. */
static void who_gives_ice_up_goes_on_without(void **state)
{
    struct media_rig *m = *state;
    struct media_port *alice = &m->port[ALICE];
    char ok[MESSAGE], again[MESSAGE];
    begin(m, "i7", ok);
    uint16_t at_bob = our_port(find_raw(m->r, BOB, "INVITE")), at_alice = our_port(ok);
    struct ice_secret ours = ours_in(ok);
    assert_int_equal(check(m, alice, at_alice, &ours, true), 0);
    assert_true(alice_is_heard(m, at_alice));
    offers(m, "i7", ok, 2, "", again);
    assert_false(speaks_ice(again));
    for (int i = 0; i < 10; i++) {
        rig_run(m->r, 10 * USEC_S);
        assert_true(alice_is_heard(m, at_alice));
        assert_true(bob_is_heard(m, at_bob, alice));
    }
    /* and comes back to it */
    offers(m, "i7", ok, 3, ICE_OF("1"), again);
    ours = ours_in(again);
    assert_int_equal(check(m, alice, at_alice, &ours, true), 0);
    assert_true(alice_is_heard(m, at_alice));
    assert_true(bob_is_heard(m, at_bob, alice));
    hang_up(m, "i7", ok);
}

/* A browser that shows no address: mDNS names, and what none but its neighbours reach. Its checks say where it is. */
static void candidates_that_lead_nowhere_do_no_harm(void **state)
{
    struct media_rig *m = *state;
    static const char body[] =
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
        "a=ice-options:trickle\r\nm=audio 9 RTP/AVP 0\r\na=ice-ufrag:frag0\r\n"
        "a=ice-pwd:passwordpasswordpasswo0\r\n"
        "a=candidate:1 1 UDP 2113937151 3d2c4f4e-62a5-4b6e-a6d7-7b1d3f1c9a11.local 4000 typ "
        "host\r\n"
        "a=candidate:2 1 UDP 2113939711 fe80::1 4000 typ host\r\n"
        "a=candidate:3 1 TCP 1518280447 fe80::1%eth0 9 typ host tcptype active\r\n";
    char ok[MESSAGE];
    bob_says(m, ";+sip.ice"); /* who could be reached directly if she could */
    invite(m, "i8", body);
    uint16_t at_bob = our_port(find_raw(m->r, BOB, "INVITE"));
    assert_null(strstr(find_raw(m->r, BOB, "INVITE"), ".local"));
    snprintf(ok, sizeof(ok), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    uint16_t at_alice = our_port(ok);
    struct ice_secret ours = ours_in(ok);
    assert_null(strstr(body_of(ok), "trickle"));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "i8", ok, 1));
    assert_int_equal(check(m, &m->port[ALICE], at_alice, &ours, true), 0);
    assert_true(bob_is_heard(m, at_bob, &m->port[ALICE]));
    assert_true(alice_is_heard(m, at_alice));
    hang_up(m, "i8", ok);
}

/* ---- trickled candidates ---- */

static const char *trickled(struct media_rig *m, const char *call, const char *heard, unsigned cseq,
                            const char *body)
{
    char *out = scratch();
    const char *rq = inside(m, ALICE, "INFO", BOB_AT, DIALOG, call, heard, cseq);
    const char *end = strstr(rq, "Content-Length: 0\r\n\r\n");
    assert_non_null(end);
    snprintf(out, MESSAGE,
             "%.*sInfo-Package: trickle-ice\r\nContent-Disposition: Info-Package\r\n"
             "Content-Type: application/trickle-ice-sdpfrag\r\nContent-Length: %zu\r\n\r\n%s",
             (int)(end - rq), rq, strlen(body), body);
    return out;
}

/* RFC 8840: her ICE is with us. */
static void trickled_candidates_are_answered_here(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    static const char body[] = "a=ice-ufrag:frag0\r\na=ice-pwd:passwordpasswordpasswo0\r\n"
                               "m=audio 9 RTP/AVP 0\r\na=mid:0\r\n"
                               "a=candidate:1 1 UDP 1 192.0.2.11 4000 typ host\r\n";
    begin(m, "i6", ok);
    rig_clear(m->r);
    say(m->r, ALICE, trickled(m, "i6", ok, 2, body));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 200 "), 1);
    say(m->r, ALICE, trickled(m, "i6", ok, 3, "a=ice-ufrag:frag0\r\nv=0\r\n"));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 400 Malformed Candidates: Line 2: "), 1);
    assert_int_equal(heard(m->r, BOB, "INFO"), 0);
    hang_up(m, "i6", ok);
    /* where we are not between them, they are for him */
    bob_says(m, ";+sip.ice");
    begin(m, "i7", ok);
    struct session_id none;
    sv why;
    assert_false(anchor_find(m->anchor, SV("i7"), SV("a1"), SV("b"), &none, &why));
    rig_clear(m->r);
    say(m->r, ALICE, trickled(m, "i7", ok, 2, body));
    assert_string_equal(body_of(find_raw(m->r, BOB, "INFO")), body);
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INFO"), 200, NULL, ""));
    hang_up(m, "i7", ok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_contact_with_sip_ice_is_offered_it, setup, teardown),
        cmocka_unit_test_setup_teardown(who_offered_ice_is_offered_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_caller_with_sip_ice_is_offered_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restart_is_answered_with_one, setup, teardown),
        cmocka_unit_test_setup_teardown(offers_that_cross_are_kept_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(who_falls_silent_is_sent_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(who_gives_ice_up_goes_on_without, setup, teardown),
        cmocka_unit_test_setup_teardown(candidates_that_lead_nowhere_do_no_harm, setup, teardown),
        cmocka_unit_test_setup_teardown(trickled_candidates_are_answered_here, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
