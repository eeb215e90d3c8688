/* SPDX-License-Identifier: MIT */
/* One phone with several flows (RFC 5626 §7), a phone that sleeps (RFC 8599 §5.6), and an answer that is
 * set for when all have failed. */
#include "proxy_rig.h"

#define BOB_URI "sip:bob@example.com"
#define BOB_AT  "sip:bob@192.0.2.12:5060"
#define DESK_AT "sip:desk@192.0.2.13:5060"
#define CONTACT "Contact: <sip:alice@192.0.2.11:5060>\r\n"

static int setup(void **state)
{
    struct bench *b = bench_new();
    b->target[0] = (struct proxy_target){.uri = SV(BOB_AT)};
    b->target[1] = (struct proxy_target){.uri = SV(DESK_AT)};
    b->next.n = 2;
    b->next.watch = &bench_watch;
    *state = b;
    return 0;
}
static int teardown(void **state)
{
    bench_free(*state);
    return 0;
}

static void ask(struct bench *b, const char *method, const char *call_id)
{
    say(&b->rig, ALICE, request(&b->rig, ALICE, method, BOB_URI, TO_BOB, call_id, CONTACT));
}
static void respond(struct bench *b, int peer, const char *method, unsigned status)
{
    static const char *const tags[] = {"a", "b1", "d1", "c1"};
    struct rig *r = &b->rig;
    say(r, peer, reply(find_raw(r, peer, method), status, tags[peer], status < 300 ? CONTACT : ""));
}

/* Which answers lead to the other flow of the phone, and that it is not rung beside the first. */
static void test_answers(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    static const struct {
        unsigned status;
        bool other;
    } table[] = {{408, true},  {430, true},  {486, false}, {503, false},
                 {404, false}, {302, false}, {480, false}, {603, false}};
    b->next.watch = &bench_watch_plain;
    b->target[1].alternative = true;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char call_id[16];
        snprintf(call_id, sizeof(call_id), "a%zu", i);
        rig_clear(r);
        ask(b, "MESSAGE", call_id);
        assert_int_equal(heard(r, BOB, "MESSAGE " BOB_AT), 1);
        assert_int_equal(heard(r, DESK, ""), 0);
        respond(b, BOB, "MESSAGE", table[i].status);
        assert_int_equal(heard(r, DESK, "MESSAGE " DESK_AT), table[i].other);
        if (table[i].other) {
            respond(b, DESK, "MESSAGE", 200);
            assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
        }
        bench_quiet(b);
    }
}

/* A flow that says nothing at all gives way, too; a late answer of it is passed on. */
static void test_silence(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    b->target[1].alternative = true;
    ask(b, "INVITE", "quiet");
    rig_run(r, 3 * USEC_S);
    assert_int_equal(heard(r, DESK, "INVITE"), 0);
    rig_run(r, 2 * USEC_S);
    assert_int_equal(heard(r, DESK, "INVITE " DESK_AT) > 0, 1);
    assert_int_equal(failovers(b), 1);
    respond(b, DESK, "INVITE", 200);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    bench_quiet(b);
}

/* A phone that is rung is not rung by its other flow. */
static void test_rings(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    b->target[1].alternative = true;
    ask(b, "INVITE", "ring");
    respond(b, BOB, "INVITE", 180);
    rig_run(r, 30 * USEC_S);
    assert_int_equal(heard(r, DESK, "INVITE"), 0);
    respond(b, BOB, "INVITE", 200);
    bench_quiet(b);
    assert_int_equal(heard(r, DESK, "INVITE"), 0);
}

static void test_held(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct proxy_target awake = {.uri = SV(BOB_AT)};
    b->target[0].held = true;
    b->next.n = 1;
    ask(b, "INVITE", "sleep");
    rig_run(r, 10 * USEC_S);
    assert_int_equal(b->holds, 1);
    assert_int_equal(heard(r, BOB, ""), 0);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 100 ") > 0, 1);
    /* awake: the same contact, now to be sent to */
    proxy_redirected(b->held, &awake, 1);
    rig_run(r, 20 * USEC_MS);
    assert_int_equal(heard(r, BOB, "INVITE " BOB_AT), 1);
    respond(b, BOB, "INVITE", 200);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    bench_quiet(b);
}

static void test_sleeps_on(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    b->target[0].held = true;
    b->next.n = 1;
    ask(b, "MESSAGE", "deep");
    proxy_redirected(b->held, NULL, 0);
    rig_run(r, 20 * USEC_MS);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 480 "), 1);
    bench_quiet(b);
}

/* The caller gives up while the phone is woken; another phone rings meanwhile. */
static void test_held_and_cancelled(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    struct proxy_target awake = {.uri = SV(BOB_AT)};
    b->target[0].held = true;
    ask(b, "INVITE", "gone");
    assert_int_equal(heard(r, DESK, "INVITE"), 1);
    respond(b, DESK, "INVITE", 180);
    ask(b, "CANCEL", "gone");
    assert_int_equal(heard(r, DESK, "CANCEL"), 1);
    respond(b, DESK, "INVITE", 487);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 487 "), 1);
    /* It wakes up too late: nobody asks for it any more. */
    proxy_redirected(b->held, &awake, 1);
    rig_run(r, 20 * USEC_MS);
    assert_int_equal(heard(r, BOB, ""), 0);
    bench_quiet(b);
}

static void test_otherwise(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    b->next.otherwise = 486;
    b->next.otherwise_reason = SV("All Busy");
    ask(b, "MESSAGE", "o1");
    respond(b, BOB, "MESSAGE", 404);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 4"), 0);
    respond(b, DESK, "MESSAGE", 480);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 486 All Busy\r\n"), 1);
    bench_quiet(b);
    /* An answer that says more than that nobody took it goes up as it is. */
    rig_clear(r);
    ask(b, "MESSAGE", "o2");
    respond(b, BOB, "MESSAGE", 603);
    respond(b, DESK, "MESSAGE", 480);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 603 "), 1);
    bench_quiet(b);
    rig_clear(r);
    ask(b, "MESSAGE", "o3");
    respond(b, BOB, "MESSAGE", 404);
    respond(b, DESK, "MESSAGE", 200);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    bench_quiet(b);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_answers),   T(test_silence),   T(test_rings),
        T(test_held),      T(test_sleeps_on), T(test_held_and_cancelled),
        T(test_otherwise),
    };
    return cmocka_run_group_tests_name("proxy_phone", tests, NULL, NULL);
}
