/* SPDX-License-Identifier: MIT */
/* anchor_digit_test.c: keys that phones press in calls whose media passes through the server. */
#include "anchor_rig.h"

/* An INFO of a side with this body. */
static const char *info(struct media_rig *m, int from, const char *call, const char *heard,
                        unsigned cseq, const char *type, const char *body)
{
    char *out = scratch();
    const char *rq = from == ALICE ? inside(m, from, "INFO", BOB_AT, DIALOG, call, heard, cseq)
                                   : inside(m, from, "INFO", ALICE_AT, REVERSED, call, heard, cseq);
    const char *end = strstr(rq, "Content-Length: 0\r\n\r\n");
    assert_non_null(end);
    snprintf(out, MESSAGE, "%.*sContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s", (int)(end - rq),
             rq, type, strlen(body), body);
    return out;
}

/* A call that stands; its 200 as alice heard it. */
static void begin(struct media_rig *m, const char *call, char ok[static MESSAGE])
{
    invite(m, call, sdp("192.0.2.11", "0", ""));
    snprintf(ok, MESSAGE, "%s", answer(m, sdp("192.0.2.12", "0", "")));
    say(m->r, ALICE, inside(m, ALICE, "ACK", BOB_AT, DIALOG, call, ok, 1));
    rig_clear(m->r);
}

static void a_malformed_key_is_answered_here(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    begin(m, "d1", ok);
    say(m->r, ALICE,
        info(m, ALICE, "d1", ok, 2, "application/dtmf-relay", "Signal=5\r\nDuration=x\r\n"));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 400 Malformed Key: Line 2 of the Body"), 1);
    say(m->r, BOB, info(m, BOB, "d1", ok, 2, "application/dtmf-relay;x=y", "Duration=100\r\n"));
    assert_int_equal(heard(m->r, BOB, "SIP/2.0 400 Malformed Key: No Signal in the Body"), 1);
    say(m->r, BOB, info(m, BOB, "d1", ok, 3, "application/dtmf", "Q"));
    assert_int_equal(heard(m->r, BOB, "SIP/2.0 400 Malformed Key: Line 1 of the Body"), 1);
    assert_int_equal(heard(m->r, BOB, "INFO"), 0);
    assert_int_equal(heard(m->r, ALICE, "INFO"), 0);
    hang_up(m, "d1", ok);
}

static void other_packages_pass_untouched(void **state)
{
    struct media_rig *m = *state;
    char ok[MESSAGE];
    begin(m, "d2", ok);
    say(m->r, ALICE, info(m, ALICE, "d2", ok, 2, "application/media_control+xml", "<x/>"));
    const char *rq = find_raw(m->r, BOB, "INFO");
    assert_string_equal(body_of(rq), "<x/>");
    say(m->r, BOB, reply(rq, 415, NULL, ""));
    assert_int_equal(heard(m->r, ALICE, "SIP/2.0 415 "), 1);
    hang_up(m, "d2", ok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_malformed_key_is_answered_here, setup, teardown),
        cmocka_unit_test_setup_teardown(other_packages_pass_untouched, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
