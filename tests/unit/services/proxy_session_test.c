/* SPDX-License-Identifier: MIT */
/* Session timers: the proxy's part (RFC 4028 §8); extensions that are asked for (RFC 3261 §16.3). */
#include "proxy_rig.h"

#define BOB_URI "sip:bob@example.com"
#define BOB_AT  "sip:bob@192.0.2.12:5060"
#define CONTACT "Contact: <sip:alice@192.0.2.11:5060>\r\n"

static int setup(void **state)
{
    struct bench *b = bench_new();
    b->target[0] = (struct proxy_target){.uri = SV(BOB_AT)};
    b->rig.set->session_timer = 1800 * USEC_S;
    b->rig.set->min_se = 120 * USEC_S;
    *state = b;
    return 0;
}
static int teardown(void **state)
{
    bench_free(*state);
    return 0;
}

/* out: the request's lines as they leave; refused: 422. back: what the caller gets of a 200 without
 * them. */
static void test_table(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    static const struct {
        const char *method, *more, *expires, *min_se;
        unsigned refused;
        const char *back;
    } table[] = {
        {"INVITE", "Supported: timer\r\n", "1800", "", 0, "1800;refresher=uac"},
        {"INVITE", "k: 100rel, Timer\r\n", "1800", "", 0, "1800;refresher=uac"},
        {"UPDATE", "Supported: timer\r\n", "1800", "", 0, "1800;refresher=uac"},
        {"INVITE", "", "", "", 0, ""}, /* he would not refresh, and cannot be told to */
        {"INFO", "Supported: timer\r\n", "", "", 0, ""},
        /* accepted as it is; reduced, never below his minimum; the refresher stays */
        {"INVITE", "Supported: timer\r\nSession-Expires: 600;refresher=uas\r\n",
         "600;refresher=uas", "", 0, "600;refresher=uac"},
        {"INVITE", "Supported: timer\r\nx: 7200 ;refresher=uas\r\n", "1800 ;refresher=uas", "", 0,
         "1800;refresher=uac"},
        {"INVITE", "Supported: timer\r\nSession-Expires: 7200\r\nMin-SE: 3600\r\n", "3600", "3600",
         0, "3600;refresher=uac"},
        {"INVITE", "Supported: timer\r\nMin-SE: 3600\r\n", "3600", "3600", 0, "3600;refresher=uac"},
        {"INVITE", "Session-Expires: 7200\r\n", "1800", "", 0, ""},
        /* too small: refused when he understands that, else raised for him */
        {"INVITE", "Supported: timer\r\nSession-Expires: 119\r\n", "", "", 422, ""},
        {"UPDATE", "Supported: timer\r\nSession-Expires: 100;refresher=uac\r\n", "", "", 422, ""},
        {"INVITE", "Supported: timer\r\nSession-Expires: 120\r\n", "120", "", 0,
         "120;refresher=uac"},
        {"INVITE", "Session-Expires: 100\r\n", "120", "120", 0, ""},
        {"INVITE", "Session-Expires: 100\r\nMin-SE: 95\r\n", "120", "120", 0, ""},
        {"INVITE", "Session-Expires: 100\r\nMin-SE: 130\r\n", "130", "130", 0, ""},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char call[8], more[256];
        snprintf(call, sizeof(call), "t%zu", i);
        snprintf(more, sizeof(more), CONTACT "%s", table[i].more);
        rig_clear(r);
        say(r, ALICE, request(r, ALICE, table[i].method, BOB_URI, TO_BOB, call, more));
        if (table[i].refused) {
            assert_int_equal(heard(r, BOB, ""), 0);
            assert_int_equal(heard(r, ALICE, "SIP/2.0 422 "), 1);
            assert_string_equal(value(r->peer[ALICE].got[0], "Min-SE"), "120");
            continue;
        }
        char *got = scratch();
        snprintf(got, MESSAGE, "%s", find_got(r, BOB, table[i].method));
        char *compact = strstr(got, "\r\nx: ");
        const char *expires = value(got, compact ? "x" : "Session-Expires");
        if (strcmp(expires, table[i].expires) || strcmp(value(got, "Min-SE"), table[i].min_se))
            fail_msg("case %zu: %s", i, got);
        say(r, BOB, reply(r->peer[BOB].raw[0], 200, "b", "Require: x\r\n"));
        const char *back = find_got(r, ALICE, "SIP/2.0 200");
        if (strcmp(value(back, "Session-Expires"), table[i].back))
            fail_msg("case %zu: %s", i, back);
        assert_int_equal(strstr(back, "Require: timer\r\n") != NULL, table[i].back[0] != 0);
        assert_non_null(strstr(back, "Require: x\r\n"));
    }
    bench_quiet(b);
}

/* What the callee says stands; late 2xx of forks are told as well; failures say nothing. */
static void test_responses(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    const char *more = CONTACT "Supported: timer\r\n";
    say(r, ALICE, request(r, ALICE, "INVITE", BOB_URI, TO_BOB, "r1", more));
    const char *in = find_raw(r, BOB, "INVITE");
    say(r, BOB, reply(in, 180, "b1", ""));
    assert_string_equal(value(find_got(r, ALICE, "SIP/2.0 180"), "Session-Expires"), "");
    say(r, BOB,
        reply(in, 200, "b1", CONTACT "Session-Expires: 900;refresher=uas\r\nRequire: timer\r\n"));
    const char *back = find_got(r, ALICE, "SIP/2.0 200");
    assert_string_equal(value(back, "Session-Expires"), "900;refresher=uas");
    assert_ptr_equal(strstr(back, "Require: timer"), strstr(back, "Require:"));
    rig_clear(r);
    say(r, BOB, reply(in, 200, "b2", CONTACT)); /* the context has let go of the request */
    assert_string_equal(value(find_got(r, ALICE, "SIP/2.0 200"), "Session-Expires"),
                        "1800;refresher=uac");
    bench_quiet(b);
    /* No timer of ours: what comes passes. */
    rig_clear(r);
    r->set->session_timer = 0;
    say(r, ALICE, request(r, ALICE, "INVITE", BOB_URI, TO_BOB, "r2", more));
    assert_string_equal(value(find_got(r, BOB, "INVITE"), "Session-Expires"), "");
    say(r, BOB, reply(find_raw(r, BOB, "INVITE"), 200, "b1", CONTACT));
    assert_string_equal(value(find_got(r, ALICE, "SIP/2.0 200"), "Session-Expires"), "");
    bench_quiet(b);
}

static void test_extensions(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    static const struct {
        const char *more, *unsupported;
    } table[] = {
        {"Proxy-Require: path\r\n", NULL},
        {"Proxy-Require: TIMER, gruu\r\nProxy-Require: outbound\r\n", NULL},
        {"Proxy-Require: path, foo, timer,bar\r\n", "foo, bar"},
        {"Proxy-Require: privacy\r\n", "privacy"},
        {"Require: foo, 100rel\r\n", NULL}, /* the callee's business */
    };
    r->set->outbound = true;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char call[8];
        snprintf(call, sizeof(call), "e%zu", i);
        rig_clear(r);
        say(r, ALICE, request(r, ALICE, "MESSAGE", BOB_URI, TO_BOB, call, table[i].more));
        assert_int_equal(heard(r, BOB, "MESSAGE"), !table[i].unsupported);
        if (table[i].unsupported)
            assert_string_equal(value(find_got(r, ALICE, "SIP/2.0 420"), "Unsupported"),
                                table[i].unsupported);
    }
    rig_clear(r);
    r->set->outbound = false;
    say(r, ALICE,
        request(r, ALICE, "MESSAGE", BOB_URI, TO_BOB, "no", "Proxy-Require: outbound\r\n"));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 420 "), 1);
    bench_quiet(b);
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_table), T(test_responses), T(test_extensions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
