/* SPDX-License-Identifier: MIT */
/* routing_tag_test.c: an INVITE that says it is of a dialog, and is of none of ours. In a whole server. */
#include "anchor_rig.h"

/* Bob has heard of our ports alone, and so does alice; the call is in the books until it ends. */
static void is_judged(struct media_rig *m, const char *call)
{
    (void)our_port(find_raw(m->r, BOB, "INVITE"));
    const char *ok = answer(m, sdp("192.0.2.12", "0", ""));
    (void)our_port(ok);
    assert_int_equal(sessions_live(anchor_sessions(m->anchor)), 1);
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, call, ok, 1));
    hang_up(m, call, ok);
}

/* RFC 3261 §12.2.2: whoever it is meant for may take it, as one that has restarted does. */
static void a_tag_makes_no_dialog(void **state)
{
    struct media_rig *m = *state;
    const char *rq = request(m->r, ALICE, "INVITE", "sip:bob@example.com", DIALOG, "tag", CONTACT);
    say(m->r, ALICE, with(rq, sdp("192.0.2.11", "0", "")));
    assert_int_equal(accounting_count(routing_accounting(m->r->routing)), 1);
    is_judged(m, "tag");
    assert_int_equal(m->r->dir.records, 1);
}

/* It must be encrypted, and is not. */
static void what_must_not_pass_does_not_by_a_tag(void **state)
{
    struct media_rig *m = *state;
    m->r->set->media.mode = MEDIA_AUTO;
    m->r->set->media.srtp = MEDIA_SRTP_REQUIRE;
    const char *rq =
        request(m->r, ALICE, "INVITE", "sip:bob@example.com", DIALOG, "plain", CONTACT);
    say(m->r, ALICE, with(rq, sdp("192.0.2.11", "0", "")));
    assert_int_equal(heard(m->r, BOB, "INVITE"), 0);
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 488 "), 1);
}

/* Nor does a route set of ours that is of a call which is over: its Call-ID again, and another tag. */
static void nor_does_the_route_set_of_an_ended_call(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    invite(m, "again", sdp("192.0.2.11", "0", ""));
    snprintf(ok, sizeof(ok), "%s", answer(m, sdp("192.0.2.12", "0", "")));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, "again", ok, 1));
    hang_up(m, "again", ok);
    rig_clear(m->r);
    const char *rq = inside(m, ALICE, "INVITE", BOB_AT,
                            "From: <sip:alice@example.com>;tag=a2\r\n"
                            "To: <sip:bob@example.com>;tag=b\r\n",
                            "again", ok, 2);
    say(m->r, ALICE, with(rq, sdp("192.0.2.11", "0", "")));
    (void)our_port(find_raw(m->r, BOB, "INVITE"));
    say(m->r, BOB, reply(find_raw(m->r, BOB, "INVITE"), 486, NULL, ""));
    rig_quiet(m->r);
    assert_int_equal(sessions_live(anchor_sessions(m->anchor)), 0);
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_tag_makes_no_dialog),
        T(what_must_not_pass_does_not_by_a_tag),
        T(nor_does_the_route_set_of_an_ended_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
