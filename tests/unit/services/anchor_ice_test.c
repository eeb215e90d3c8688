/* SPDX-License-Identifier: MIT */
/* anchor_ice_test.c: phones that speak ICE, with those that do not. */
#include "anchor_rig.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_contact_with_sip_ice_is_offered_it, setup, teardown),
        cmocka_unit_test_setup_teardown(who_offered_ice_is_offered_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_caller_with_sip_ice_is_offered_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
