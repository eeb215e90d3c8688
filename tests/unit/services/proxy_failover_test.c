/* SPDX-License-Identifier: MIT */
/* One target, several servers: RFC 3263 §4.3 within one transaction of the caller. */
#include "proxy_rig.h"

#define THERE   "sip:bob@there.example.net"
#define CONTACT "Contact: <sip:alice@192.0.2.11:5060>\r\n"

static int setup(void **state)
{
    struct bench *b = bench_new();
    b->target[0] = (struct proxy_target){.uri = SV(THERE)};
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
    say(&b->rig, ALICE, request(&b->rig, ALICE, method, THERE, TO_BOB, call_id, CONTACT));
    rig_run(&b->rig, 120 * USEC_MS); /* the DNS takes its time */
}

static void ack(struct bench *b, const char *call_id, const char *response)
{
    ack_refusal(&b->rig, THERE, call_id, response);
}

/* BOB, then DESK, then the peer outside. */
static void three_servers(struct bench *b)
{
    zone(b, "there.example.net NAPTR 600 10 10 \"s\" \"SIP+D2U\" \"\" _sip._udp.there.example.net\n"
            "_sip._udp.there.example.net SRV 600 1 0 5060 one.example.net\n"
            "_sip._udp.there.example.net SRV 600 2 0 5060 two.example.net\n"
            "_sip._udp.there.example.net SRV 600 3 0 5060 three.example.net\n"
            "one.example.net A 600 192.0.2.12\n"
            "two.example.net A 600 192.0.2.13\n"
            "three.example.net A 600 203.0.113.9\n");
}

/* The first asks for time, the second is silent, the third answers: the caller sees one call. */
static void test_refuses_silent_answers(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    three_servers(b);
    ask(b, "INVITE", "f1");
    assert_int_equal(heard(r, BOB, "INVITE " THERE), 1);
    assert_int_equal(heard(r, DESK, ""), 0);
    char *first = scratch();
    snprintf(first, MESSAGE, "%s", find_raw(r, BOB, "INVITE"));
    say(r, BOB, reply(first, 503, "b1", "Retry-After: 100\r\n"));
    assert_int_equal(heard(r, BOB, "ACK"), 1);
    assert_int_equal(heard(r, DESK, "INVITE " THERE), 1);
    rig_run(r, 3900 * USEC_MS);
    assert_int_equal(heard(r, STRANGER, ""), 0);
    unsigned sent = heard(r, DESK, "INVITE");
    rig_run(r, 200 * USEC_MS); /* 8*T1 */
    assert_int_equal(heard(r, STRANGER, "INVITE " THERE), 1);
    /* A new branch for each, and who was given up is not asked again. */
    const char *third = find_raw(r, STRANGER, "INVITE"), *second = find_raw(r, DESK, "INVITE");
    assert_string_not_equal(value(third, "Via"), value(second, "Via"));
    assert_string_not_equal(value(second, "Via"), value(first, "Via"));
    say(r, STRANGER, reply(third, 180, "c1", ""));
    rig_run(r, 10 * USEC_S);
    assert_int_equal(heard(r, DESK, "INVITE"), sent);
    say(r, STRANGER, reply(third, 200, "c1", "Contact: <sip:x@203.0.113.9>\r\n"));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 180 "), 1);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 "), 3); /* with the 100 */
    assert_int_equal(failovers(b), 2);
    /* The next call skips both: what is known of them holds for a while. */
    rig_clear(r);
    ask(b, "INVITE", "f2");
    assert_int_equal(heard(r, STRANGER, "INVITE"), 1);
    assert_int_equal(heard(r, BOB, "") + heard(r, DESK, ""), 0);
    third = find_raw(r, STRANGER, "INVITE");
    say(r, STRANGER, reply(third, 486, "c1", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 486 "), 1);
    ack(b, "f2", find_got(r, ALICE, "SIP/2.0 486"));
    /* Until then: 100 s for the one that said so. */
    rig_run(r, 101 * USEC_S);
    rig_clear(r);
    ask(b, "INVITE", "f3");
    assert_int_equal(heard(r, BOB, "INVITE"), 1);
    say(r, BOB, reply(find_raw(r, BOB, "INVITE"), 486, "b1", ""));
    ack(b, "f3", find_got(r, ALICE, "SIP/2.0 486"));
    bench_quiet(b);
    assert_int_equal(b->unreachable, 0);
    assert_int_equal(b->gone, 3);
}

/* A late provisional response of one that was given up gets its CANCEL, and nobody hears of it; its
 * late 2xx is a fork's. */
static void test_late(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    three_servers(b);
    ask(b, "INVITE", "l1");
    const char *first = find_raw(r, BOB, "INVITE");
    rig_run(r, 4100 * USEC_MS);
    const char *second = find_raw(r, DESK, "INVITE");
    assert_true(second[0]);
    say(r, DESK, reply(second, 180, "d1", ""));
    say(r, BOB, reply(first, 180, "b1", ""));
    assert_int_equal(heard(r, BOB, "CANCEL"), 1);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 180 "), 1);
    say(r, BOB, reply(first, 487, "b1", ""));
    assert_int_equal(heard(r, BOB, "ACK"), 1);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 487 "), 0);
    assert_int_equal(heard(r, DESK, "CANCEL"), 0);
    say(r, DESK, reply(second, 200, "d1", "Contact: <sip:x@192.0.2.13>\r\n"));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    bench_quiet(b);
    /* Here it answers before its CANCEL comes: it wins, the other one is cancelled. */
    rig_clear(r);
    rig_run(r, 10 * USEC_MIN);
    ask(b, "INVITE", "l2");
    first = find_raw(r, BOB, "INVITE");
    rig_run(r, 4100 * USEC_MS);
    second = find_raw(r, DESK, "INVITE");
    say(r, DESK, reply(second, 180, "d1", ""));
    say(r, BOB, reply(first, 200, "b1", "Contact: <sip:x@192.0.2.12>\r\n"));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    assert_int_equal(heard(r, DESK, "CANCEL"), 1);
    assert_non_null(strstr(find_got(r, DESK, "CANCEL"), "Call completed elsewhere"));
    /* And both: the caller gets both, and ends one. */
    say(r, DESK, reply(second, 200, "d1", "Contact: <sip:x@192.0.2.13>\r\n"));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 2);
    bench_quiet(b);
}

/* Nobody answers: the sum is 4 + 4 + 32 s; all are in the memory of failures, so all are asked
 * again. */
static void test_nobody(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    three_servers(b);
    ask(b, "INVITE", "n");
    rig_run(r, 39900 * USEC_MS);
    assert_true(heard(r, STRANGER, "INVITE") > 3);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 408 "), 0);
    rig_run(r, 300 * USEC_MS);
    assert_true(heard(r, ALICE, "SIP/2.0 408 ") > 0);
    assert_int_equal(b->unreachable, 1);
    assert_int_equal(b->why, ERR_TIMEOUT);
    ack(b, "n", find_got(r, ALICE, "SIP/2.0 408"));
    bench_quiet(b);
}

/* The caller gives up while the second is asked: the third never is. */
static void test_cancelled(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    three_servers(b);
    ask(b, "INVITE", "c");
    rig_run(r, 4100 * USEC_MS);
    assert_int_equal(heard(r, DESK, "INVITE") > 0, 1);
    say(r, ALICE,
        request(r, ALICE, "CANCEL", THERE, TO_BOB, "c",
                "Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n"));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    const char *second = find_raw(r, DESK, "INVITE");
    say(r, DESK, reply(second, 180, "d1", ""));
    /* RFC 3326: the caller's reason goes with it. */
    assert_non_null(strstr(find_got(r, DESK, "CANCEL"),
                           "Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n"));
    rig_run(r, 10 * USEC_S);
    say(r, DESK, reply(second, 487, "d1", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 487 "), 1);
    assert_int_equal(heard(r, STRANGER, ""), 0);
    ack(b, "c", find_got(r, ALICE, "SIP/2.0 487"));
    bench_quiet(b);
    /* And while the name is looked up. */
    rig_clear(r);
    zone(b, "slow.example.net TIMEOUT\n");
    b->target[0].uri = SV("sip:bob@slow.example.net");
    ask(b, "INVITE", "c2");
    say(r, ALICE, request(r, ALICE, "CANCEL", THERE, TO_BOB, "c2", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 487 "), 1);
    ack(b, "c2", find_got(r, ALICE, "SIP/2.0 487"));
    bench_quiet(b);
}

/* RFC 4320, 4321: the time that the caller waits is divided; the last one's answer is in time. */
static void test_other_than_invite(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    three_servers(b);
    ask(b, "MESSAGE", "m");
    rig_run(r, 4100 * USEC_MS);
    assert_int_equal(heard(r, DESK, "MESSAGE") > 0, 1);
    rig_run(r, 4 * USEC_S);
    assert_int_equal(heard(r, STRANGER, "MESSAGE") > 0, 1);
    unsigned n = heard(r, BOB, "MESSAGE");
    rig_run(r, 23 * USEC_S);
    assert_int_equal(heard(r, BOB, "MESSAGE"), n);
    say(r, STRANGER, reply(find_raw(r, STRANGER, "MESSAGE"), 200, "c1", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    bench_quiet(b);
    /* A late answer of the first is as good. */
    rig_run(r, 10 * USEC_MIN);
    rig_clear(r);
    ask(b, "MESSAGE", "m2");
    rig_run(r, 4100 * USEC_MS);
    assert_int_equal(heard(r, DESK, "MESSAGE") > 0, 1);
    say(r, BOB, reply(find_raw(r, BOB, "MESSAGE"), 200, "b1", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    say(r, DESK, reply(find_raw(r, DESK, "MESSAGE"), 200, "d1", ""));
    assert_int_equal(heard(r, ALICE, "SIP/2.0 200 "), 1);
    bench_quiet(b);
    /* Nobody: silence, and the context ends with the caller's patience. */
    rig_run(r, 10 * USEC_MIN);
    rig_clear(r);
    ask(b, "MESSAGE", "m3");
    rig_run(r, 31700 * USEC_MS);
    assert_int_equal(proxy_contexts(b->proxy), 1);
    rig_run(r, 300 * USEC_MS);
    assert_int_equal(proxy_contexts(b->proxy), 0);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 4") + heard(r, ALICE, "SIP/2.0 5"), 0);
    bench_quiet(b);
}

/* Refused connections and unknown names. */
static void test_unreachable(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    /* BOB has no TCP listener; DESK has. */
    zone(b, "there.example.net NAPTR 600 10 10 \"s\" \"SIP+D2T\" \"\" _sip._tcp.there.example.net\n"
            "_sip._tcp.there.example.net SRV 600 1 0 5060 one.example.net\n"
            "_sip._tcp.there.example.net SRV 600 2 0 5060 two.example.net\n"
            "one.example.net A 600 192.0.2.12\n"
            "two.example.net A 600 192.0.2.13\n"
            "no.example.net NXDOMAIN\n");
    ask(b, "INVITE", "u1");
    rig_run(r, 100 * USEC_MS);
    assert_non_null(strstr(r->stream_got, "INVITE " THERE));
    assert_int_equal(failovers(b), 1);
    bench_quiet(b);
    /* Somebody's name that is not there. */
    rig_clear(r);
    b->target[0].uri = SV("sip:bob@no.example.net");
    ask(b, "INVITE", "u2");
    rig_run(r, 100 * USEC_MS);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 480 "), 1);
    ack(b, "u2", find_got(r, ALICE, "SIP/2.0 480"));
    /* An address that the caller may not name (D16), unless the configuration does. */
    rig_clear(r);
    b->target[0].uri = SV("sip:bob@10.1.2.3");
    ask(b, "INVITE", "u3");
    assert_int_equal(heard(r, ALICE, "SIP/2.0 480 "), 1);
    ack(b, "u3", find_got(r, ALICE, "SIP/2.0 480"));
    zone(b, "in.example.net A 600 10.1.2.3\n");
    rig_clear(r);
    b->target[0].uri = SV("sip:bob@in.example.net");
    ask(b, "INVITE", "u4");
    rig_run(r, 100 * USEC_MS);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 480 "), 1);
    ack(b, "u4", find_got(r, ALICE, "SIP/2.0 480"));
    rig_clear(r);
    b->target[0].trusted = true;
    ask(b, "INVITE", "u5");
    rig_run(r, 100 * USEC_MS);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 480 "), 0);
    bench_quiet(b);
    assert_int_equal(b->unreachable, 5);
}

/* ACKs of 2xx follow a Route that is a name. */
static void test_relay_by_name(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    zone(b, "there.example.net A 600 192.0.2.12\n");
    for (unsigned i = 0; i < 2; i++) { /* looked up, then known */
        say(r, ALICE, request(r, ALICE, "ACK", THERE, TO_BOB, i ? "r2" : "r1", ""));
        rig_run(r, 100 * USEC_MS);
        assert_int_equal(heard(r, BOB, "ACK " THERE), i + 1);
    }
    bench_quiet(b);
    /* The proxy ends while one waits. */
    zone(b, "slow.example.net TIMEOUT\n");
    b->target[0].uri = SV("sip:bob@slow.example.net");
    say(r, ALICE, request(r, ALICE, "ACK", THERE, TO_BOB, "r3", ""));
    assert_int_equal(proxy_contexts(b->proxy), 1);
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_refuses_silent_answers),
        T(test_late),
        T(test_nobody),
        T(test_cancelled),
        T(test_unreachable),
        T(test_other_than_invite),
        T(test_relay_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
