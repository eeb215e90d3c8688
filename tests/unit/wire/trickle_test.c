/* SPDX-License-Identifier: MIT */
/* trickle_test.c: bodies of trickled candidates, whole and broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "trickle/trickle.h"

#define WHOLE "a=ice-pwd:asd88fgpdd777uzjYhagZg\r\na=ice-ufrag:8hhY\r\n"
#define M1    "m=audio 9 RTP/AVP 0\r\na=mid:1\r\n"
#define C4    "a=candidate:1 1 UDP 2130706431 192.0.2.1 5010 typ host\r\n"

static struct trickle t;
static struct sdp_fault fault;

/* RFC 8840 figure 7. */
static void reads_the_example_of_the_rfc(void **state)
{
    (void)state;
    static const char body[] = WHOLE M1
        "a=candidate:1 1 UDP 2130706432 2001:db8:a0b:12f0::1 5000 typ host\r\n"
        "a=candidate:1 2 UDP 2130706432 2001:db8:a0b:12f0::1 5001 typ host\r\n" C4
        "a=candidate:2 1 UDP 1694498815 192.0.2.3 5010 typ srflx raddr 192.0.2.1 rport 8998\r\n"
        "a=end-of-candidates\r\n"
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nA=MID:2\r\n"
        "a=Candidate:1 1 UDP 2130706432 2001:db8:a0b:12f0::1 6000 typ host\r\n"
        "a=ice-ufrag:own4\r\na=ice-pwd:0123456789012345678901\r\n"
        "a=rtcp-mux\r\na=some-day:x\r\n";
    assert_int_equal(trickle_parse(SV("A=x"), &t, &fault), ERR_SYNTAX);
    char text[sizeof(body)];
    memcpy(text, body, sizeof(body));
    char *upper = strstr(text, "A=MID");
    upper[0] = 'a'; /* the name alone may be in any case */
    assert_int_equal(trickle_parse(sv_of(text), &t, &fault), ERR_OK);
    assert_int_equal(t.n, 2);
    assert_int_equal(t.candidates, 5);
    assert_false(t.end);
    assert_true(sv_eq(t.media[0].mid, SV("1")) && sv_eq(t.media[1].mid, SV("2")));
    assert_true(t.media[0].end);
    assert_false(t.media[1].end);
    assert_int_equal(t.media[0].candidates, 4);
    assert_true(sv_eq(t.media[0].ufrag, SV("8hhY")) && sv_eq(t.media[1].ufrag, SV("own4")));
}

static void what_is_said_of_all_goes_for_each(void **state)
{
    (void)state;
    assert_int_equal(
        trickle_parse(SV(WHOLE "a=end-of-candidates\r\n" M1 C4 "m=x 0 y z\n\r\n"), &t, &fault),
        ERR_OK);
    assert_true(t.end && t.media[0].end && t.media[1].end);
    assert_int_equal(trickle_parse(SV(WHOLE), &t, &fault), ERR_OK);
    assert_int_equal(t.n, 0);
    /* names, TCP, and what may come one day */
    assert_int_equal(
        trickle_parse(SV(WHOLE M1 "a=candidate:1 1 UDP 9 a1b2c3d4-0000.local 5000 typ host\r\n"
                                  "a=candidate:1 1 UDP 9 fe80::1 5000 typ host generation 0\r\n"
                                  "a=candidate:1 1 TCP 9 192.0.2.1 9 typ host tcptype active\r\n"
                                  "a=candidate:1 1 QUIC 9 192.0.2.1 9 typ moon\r\n"),
                      &t, &fault),
        ERR_OK);
    assert_int_equal(t.candidates, 4);
}

static void says_which_line_is_malformed(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum err rc;
        uint32_t line;
    } rows[] = {
        {"", ERR_SYNTAX, 0},
        {M1 C4, ERR_SYNTAX, 0},
        {"a=ice-ufrag:8hhY\r\n" M1, ERR_SYNTAX, 0},
        {WHOLE M1 "a=ice-ufrag:8hhY\r\n", ERR_SYNTAX, 0},
        {WHOLE C4, ERR_SYNTAX, 3},
        {WHOLE "m=audio 9 RTP/AVP 0\r\n" C4, ERR_SYNTAX, 4},
        {WHOLE "a=mid:1\r\n", ERR_SYNTAX, 3},
        {WHOLE M1 "a=mid:2\r\n", ERR_SYNTAX, 5},
        {WHOLE "m=\r\n", ERR_SYNTAX, 3},
        {WHOLE "v=0\r\n", ERR_SYNTAX, 3},
        {WHOLE "a=\r\n", ERR_SYNTAX, 3},
        {WHOLE M1 "a=candidate:1 1 UDP x 192.0.2.1 5010 typ host\r\n", ERR_SYNTAX, 5},
        {WHOLE M1 "a=candidate:\r\n", ERR_SYNTAX, 5},
        {"a=ice-ufrag:8h\r\n", ERR_SYNTAX, 1},
        {"a=ice-ufrag:8hh*\r\n", ERR_SYNTAX, 1},
        {"a=ice-pwd:short\r\n", ERR_SYNTAX, 1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fault = (struct sdp_fault){99, NULL};
        assert_int_equal(trickle_parse(sv_of(rows[i].body), &t, &fault), rows[i].rc);
        assert_int_equal(fault.line, rows[i].line);
        assert_non_null(fault.why);
    }
}

static void everything_has_its_end(void **state)
{
    (void)state;
    static char body[2 * TRICKLE_MAX];
    size_t n = (size_t)snprintf(body, sizeof(body), WHOLE M1);
    for (int i = 0; i <= TRICKLE_CANDIDATES_MAX; i++) {
        assert_int_equal(trickle_parse((sv){body, n}, &t, &fault), ERR_OK);
        n += (size_t)snprintf(body + n, sizeof(body) - n, C4);
    }
    assert_int_equal(trickle_parse((sv){body, n}, &t, &fault), ERR_TOOBIG);
    assert_int_equal(fault.line, 4 + TRICKLE_CANDIDATES_MAX + 1);
    n = (size_t)snprintf(body, sizeof(body), WHOLE);
    for (int i = 0; i <= TRICKLE_MEDIA_MAX; i++) {
        assert_int_equal(trickle_parse((sv){body, n}, &t, &fault), ERR_OK);
        n += (size_t)snprintf(body + n, sizeof(body) - n, M1);
    }
    assert_int_equal(trickle_parse((sv){body, n}, &t, &fault), ERR_TOOBIG);
    memset(body, '\n', sizeof(body));
    assert_int_equal(trickle_parse((sv){body, TRICKLE_MAX + 1}, &t, NULL), ERR_TOOBIG);
}

static void a_type_is_known_by_its_name(void **state)
{
    (void)state;
    assert_true(trickle_is(SV("application/trickle-ice-sdpfrag")));
    assert_true(trickle_is(SV("Application/Trickle-ICE-sdpfrag ; charset=x")));
    assert_false(trickle_is(SV("application/sdp")));
    assert_false(trickle_is(SV("application/trickle-ice-sdpfragment")));
    assert_false(trickle_is(SV_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_example_of_the_rfc),
        cmocka_unit_test(what_is_said_of_all_goes_for_each),
        cmocka_unit_test(says_which_line_is_malformed),
        cmocka_unit_test(everything_has_its_end),
        cmocka_unit_test(a_type_is_known_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
