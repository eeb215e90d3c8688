/* SPDX-License-Identifier: MIT */
/* routing_tag_test.c: an INVITE that says it is of a dialog, and is of none of ours. In a whole server. */
#include "anchor_rig.h"
#include "within/within.h"

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

/* Nobody could tell such a dialog from others later on: it does not begin. */
static void a_dialog_that_cannot_be_known_is_refused(void **state)
{
    static const char *const reason[] = {"SIP/2.0 400 Call-ID Too Long\r\n",
                                         "SIP/2.0 400 From Tag Too Long\r\n",
                                         "SIP/2.0 400 To Tag Too Long\r\n"};
    struct media_rig *m = *state;
    char text[WITHIN_ID_MAX + 2] = {0}, parties[MESSAGE];
    memset(text, 'x', sizeof(text) - 1);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(parties, sizeof(parties),
                 "From: <sip:alice@example.com>;tag=%s\r\nTo: <sip:bob@example.com>%s%s\r\n",
                 i == 1 ? text : "a1", i == 2 ? ";tag=" : "", i == 2 ? text : "");
        const char *rq = request(m->r, ALICE, "INVITE", "sip:bob@example.com", parties,
                                 i == 0 ? text : "ids", CONTACT);
        say(m->r, ALICE, with(rq, sdp("192.0.2.11", "0", "")));
        assert_int_equal(heard(m->r, ALICE, reason[i]), 1);
    }
    assert_int_equal(heard(m->r, BOB, "INVITE"), 0);
}

/* Whatever cannot be allocated: what must be looked at was, or it does not leave. */
static void what_there_is_no_memory_to_judge_does_not_pass(void **state)
{
    unsigned through = 0, refused = 0;
    for (unsigned n = 1; n < 60; n++) {
        struct media_rig *m = *state;
        struct addr to = address(SERVER_IP, 5060);
        const char *rq =
            request(m->r, ALICE, "INVITE", "sip:bob@example.com", TO_BOB, "short", CONTACT);
        sv piece = sv_of(with(rq, sdp("192.0.2.11", "0", "")));
        assert_int_equal(udp_send(m->r->peer[ALICE].udp, NULL, &to, &piece, 1), ERR_OK);
        mem_fail_once(n);
        rig_run(m->r, 20 * USEC_MS);
        mem_fail_after(0);
        if (heard(m->r, BOB, "INVITE")) {
            (void)our_port(find_raw(m->r, BOB, "INVITE"));
            through++;
        } else {
            refused++;
        }
        teardown(state);
        setup(state);
    }
    assert_true(through > 0 && refused > 0);
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_tag_makes_no_dialog),
        T(what_must_not_pass_does_not_by_a_tag),
        T(nor_does_the_route_set_of_an_ended_call),
        T(a_dialog_that_cannot_be_known_is_refused),
        T(what_there_is_no_memory_to_judge_does_not_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
