/* SPDX-License-Identifier: MIT */
/* Overload: the control, who is refused, what is said in Via and heard of others (RFC 7339). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "overload/overload.h"
#include "proxy_rig.h"

static struct sipmsg msg;
static struct arena arena;
static char octets[2048];

static struct sipmsg *parse(const char *method, const char *uri, const char *to_tag)
{
    size_t n = (size_t)snprintf(octets, sizeof(octets) - BLOCK_SLACK,
                                "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\r\n"
                                "From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>%s\r\n"
                                "Call-ID: c\r\nCSeq: 1 %s\r\nContent-Length: 0\r\n\r\n",
                                method, uri, to_tag, method);
    arena_done(&arena);
    arena_init(&arena, NULL, 0, 1 << 20);
    assert_int_equal(sipmsg_parse((sv){octets, n}, &arena, &msg, NULL), ERR_OK);
    return &msg;
}

/* n intervals of this load. */
static void intervals(struct overload *o, usec *now, unsigned n, usec lag, unsigned full)
{
    while (n--) {
        *now += OVERLOAD_INTERVAL;
        overload_measure(o, *now, lag, full);
    }
}

static void test_control(void **state)
{
    (void)state;
    struct overload o = {0};
    usec now = USEC_S;
    intervals(&o, &now, 20, 5 * USEC_MS, 50);
    assert_int_equal(o.percent, 0);
    /* Late: more is refused with every interval, but never all. */
    intervals(&o, &now, 3, OVERLOAD_LAG_HIGH + 1, 50);
    assert_int_equal(o.percent, 30);
    uint32_t seq = o.seq;
    intervals(&o, &now, 50, OVERLOAD_LAG_HIGH + 1, 50);
    assert_int_equal(o.percent, 95);
    assert_true(o.seq > seq);
    /* Between the marks it holds; below it comes back, slowly. */
    intervals(&o, &now, 5, OVERLOAD_LAG_HIGH, 50);
    assert_int_equal(o.percent, 95);
    intervals(&o, &now, 5, OVERLOAD_LAG_LOW, 50);
    assert_int_equal(o.percent, 70);
    intervals(&o, &now, 5, OVERLOAD_LAG_LOW, 85); /* the table is not empty enough yet */
    assert_int_equal(o.percent, 70);
    intervals(&o, &now, 20, OVERLOAD_LAG_LOW, 50);
    assert_int_equal(o.percent, 0);
    /* A table nearly full: in proportion, at once. */
    intervals(&o, &now, 1, 0, 95);
    assert_int_equal(o.percent, 50);
    intervals(&o, &now, 1, 0, 100);
    assert_int_equal(o.percent, 95);
    /* One hiccup in an interval is no overload; lateness that does not go away is. */
    o = (struct overload){.judged = now, .lag = -1};
    overload_measure(&o, now + 10, 400 * USEC_MS, 0);
    overload_measure(&o, now + 20, 0, 0);
    overload_measure(&o, now + OVERLOAD_INTERVAL, 400 * USEC_MS, 0);
    assert_int_equal(o.percent, 0);
    o = (struct overload){.judged = now, .lag = -1};
    overload_measure(&o, now + 10, 400 * USEC_MS, 0);
    overload_measure(&o, now + 20, 300 * USEC_MS, 0);
    overload_measure(&o, now + OVERLOAD_INTERVAL, 400 * USEC_MS, 0);
    assert_int_equal(o.percent, 10);
    /* After a pause it begins anew. */
    o.percent = 90;
    overload_measure(&o, now + USEC_MIN, 0, 0);
    assert_int_equal(o.percent, 0);
}

static void test_who(void **state)
{
    (void)state;
    static const struct {
        const char *method, *uri, *tag;
        bool sheddable;
    } table[] = {
        {"INVITE", "sip:b@example.com", "", true},
        {"REGISTER", "sip:example.com", "", true},
        {"MESSAGE", "sip:b@example.com", "", true},
        {"INVITE", "sip:b@example.com", ";tag=2", false},
        {"BYE", "sip:b@example.com", "", false},
        {"CANCEL", "sip:b@example.com", "", false},
        {"ACK", "sip:b@example.com", "", false},
        {"PRACK", "sip:b@example.com", "", false},
        {"INVITE", "urn:service:sos", "", false},
        {"INVITE", "URN:service:SOS.fire", "", false},
        {"INVITE", "urn:service:sosfire", "", true},
        {"INVITE", "urn:service:help", "", true},
    };
    struct overload o = {.percent = 40};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct sipmsg *m = parse(table[i].method, table[i].uri, table[i].tag);
        unsigned shed = 0;
        for (unsigned k = 0; k < 100; k++)
            shed += overload_sheds(&o, m, 1000 + k);
        if (shed != (table[i].sheddable ? 40 : 0))
            fail_msg("case %zu: %u", i, shed);
    }
    o.percent = 0;
    assert_false(overload_sheds(&o, parse("INVITE", "sip:b@example.com", ""), 0));
    bool seen[OVERLOAD_RETRY_MAX + 2] = {0};
    for (unsigned k = 0; k < 1000; k++)
        seen[overload_retry_s(k)] = true;
    assert_true(seen[OVERLOAD_RETRY_MIN] && seen[OVERLOAD_RETRY_MAX]);
    assert_false(seen[OVERLOAD_RETRY_MIN - 1] || seen[OVERLOAD_RETRY_MAX + 1]);
}

static void test_via(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } table[] = {
        {"SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKx;oc;oc-algo=\"loss\";rport=7",
         "SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKx;rport=7"
         ";oc=25;oc-algo=\"loss\";oc-validity=1000;oc-seq=8"},
        {"SIP/2.0/TCP a.example.com;OC-ALGO=\"rate, loss\";OC;branch=z9hG4bKx;oc-seq=5;octopus=1",
         "SIP/2.0/TCP a.example.com;branch=z9hG4bKx;octopus=1"
         ";oc=25;oc-algo=\"loss\";oc-validity=1000;oc-seq=8"},
        {"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx;oc;oc-algo=loss",
         "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx;oc=25;oc-algo=\"loss\";oc-validity=1000;oc-seq=8"},
        {"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx;oc;oc-algo=\"rate\"", NULL},
        {"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx;oc=3;oc-algo=\"loss\"", NULL},
        {"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx;oc", NULL},
        {"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx", NULL},
    };
    struct overload o = {.percent = 25, .seq = 8};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char mem[512];
        struct buf b;
        struct sip_via via;
        buf_init(&b, mem, sizeof(mem) - 1);
        assert_int_equal(sip_via_parse(sv_of(table[i].in), &via), ERR_OK);
        bool put = overload_put_via(&b, &o, &via);
        mem[b.n] = 0;
        if (put != (table[i].out != NULL) || strcmp(mem, table[i].out ? table[i].out : ""))
            fail_msg("case %zu: %s", i, mem);
    }
}

static void say_of(struct overload_peers *p, const struct addr *a, usec now, const char *params)
{
    char text[256];
    struct sip_via via;
    snprintf(text, sizeof(text), "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx%s", params);
    assert_int_equal(sip_via_parse(sv_of(text), &via), ERR_OK);
    overload_heard(p, a, &via, now);
}

static unsigned passed(struct overload_peers *p, const struct addr *a, struct sipmsg *m, usec now)
{
    unsigned n = 0;
    for (unsigned k = 0; k < 100; k++)
        n += overload_may_send(p, a, m, now, k);
    return n;
}

static void test_peers(void **state)
{
    (void)state;
    static struct overload_peers p;
    struct addr a = address("192.0.2.7", 5060), other = address("192.0.2.7", 5061);
    usec now = USEC_S;
    assert_int_equal(passed(&p, &a, parse("INVITE", "sip:b@x.example", ""), now), 100);
    say_of(&p, &a, now, ";oc=30;oc-algo=\"loss\";oc-validity=2000;oc-seq=10");
    assert_int_equal(passed(&p, &a, &msg, now), 70);
    assert_int_equal(passed(&p, &other, &msg, now), 100);
    assert_int_equal(passed(&p, &a, parse("BYE", "sip:b@x.example", ";tag=1"), now), 100);
    parse("INVITE", "sip:b@x.example", "");
    /* An older word does not count, one without a number neither. */
    say_of(&p, &a, now, ";oc=90;oc-algo=\"loss\";oc-seq=9");
    say_of(&p, &a, now, ";oc=90;oc-algo=\"loss\"");
    say_of(&p, &a, now, ";oc=90;oc-algo=\"rate\";oc-seq=11");
    say_of(&p, &a, now, ";oc=101;oc-algo=\"loss\";oc-seq=12");
    say_of(&p, &a, now, ";oc;oc-algo=\"loss\";oc-seq=13");
    assert_int_equal(passed(&p, &a, &msg, now), 70);
    /* It lasts as long as said, 500 ms when nothing is; 0 ends it. */
    assert_int_equal(passed(&p, &a, &msg, now + 1999 * USEC_MS), 70);
    assert_int_equal(passed(&p, &a, &msg, now + 2000 * USEC_MS), 100);
    say_of(&p, &a, now, ";oc=100;oc-seq=20");
    assert_int_equal(passed(&p, &a, &msg, now + 499 * USEC_MS), 0);
    assert_int_equal(passed(&p, &a, &msg, now + 500 * USEC_MS), 100);
    say_of(&p, &a, now, ";oc=100;oc-validity=0;oc-seq=21");
    assert_int_equal(passed(&p, &a, &msg, now), 100);
    /* An absurd time is cut, an overflow begun anew. */
    say_of(&p, &a, now, ";oc=50;oc-validity=4000000000;oc-seq=4294967290");
    assert_int_equal(passed(&p, &a, &msg, now + 59 * USEC_S), 50);
    assert_int_equal(passed(&p, &a, &msg, now + 61 * USEC_S), 100);
    say_of(&p, &a, now + USEC_S, ";oc=10;oc-seq=2");
    assert_int_equal(passed(&p, &a, &msg, now + USEC_S), 90);
    /* More servers than are remembered: the one heard of longest ago is forgotten. */
    for (unsigned i = 0; i < OVERLOAD_PEERS; i++) {
        struct addr x = address("198.51.100.1", (uint16_t)(6000 + i));
        say_of(&p, &x, now + USEC_S + (usec)i + 1, ";oc=60;oc-validity=9000;oc-seq=1");
        assert_int_equal(passed(&p, &x, &msg, now + 2 * USEC_S), 40);
    }
    assert_int_equal(passed(&p, &a, &msg, now + USEC_S), 100);
}

/* ---- with the proxy and an endpoint ---- */

#define THERE "sip:bob@there.example.net"

static const struct overload busy = {.percent = 100, .seq = 3};

static void refuse_all(struct bench *b, struct rx *rx, const struct proxy_route *route)
{
    (void)route;
    assert_int_equal(overload_refuse(&busy, b->rig.sip, rx), ERR_OK);
}

static void test_refuse(void **state)
{
    (void)state;
    struct bench *b = bench_new();
    struct rig *r = &b->rig;
    b->on_rx = refuse_all;
    char *text = scratch();
    const char *plain = request(r, ALICE, "INVITE", THERE, TO_BOB, "o", "");
    const char *at = strstr(plain, ";rport");
    say(r, ALICE, plain);
    assert_int_equal(heard(r, ALICE, "SIP/2.0 503 "), 1);
    assert_true(strtol(value(r->peer[ALICE].got[0], "Retry-After"), NULL, 10) >=
                OVERLOAD_RETRY_MIN);
    assert_null(strstr(r->peer[ALICE].got[0], "oc="));
    snprintf(text, MESSAGE, "%.*s;oc;oc-algo=\"loss\"%s", (int)(at - plain), plain, at);
    rig_clear(r);
    say(r, ALICE, text);
    assert_non_null(
        strstr(r->peer[ALICE].got[0], ";oc=100;oc-algo=\"loss\";oc-validity=1000;oc-seq=3\r\n"));
    assert_non_null(strstr(r->peer[ALICE].got[0], ";rport=5060"));
    assert_int_equal(stat_get(&r->group->loop[0]->stats, STAT_SHED), 2);
    bench_quiet(b);
    bench_free(b);
}

/* A server that asks us to hold back is passed over; one that asks us is told. */
static void test_hop(void **state)
{
    (void)state;
    struct bench *b = bench_new();
    struct rig *r = &b->rig;
    static const struct overload own = {.percent = 20, .seq = 6};
    zone(b, "there.example.net NAPTR 600 10 10 \"s\" \"SIP+D2U\" \"\" _sip._udp.there.example.net\n"
            "_sip._udp.there.example.net SRV 600 1 0 5060 one.example.net\n"
            "_sip._udp.there.example.net SRV 600 2 0 5060 two.example.net\n"
            "one.example.net A 600 192.0.2.12\ntwo.example.net A 600 192.0.2.13\n");
    b->target[0].uri = SV(THERE);
    proxy_overload(b->proxy, &own);
    const char *plain = request(r, ALICE, "MESSAGE", THERE, TO_BOB, "h1", "");
    char *text = scratch(), *answer = scratch();
    const char *at = strstr(plain, ";rport");
    snprintf(text, MESSAGE, "%.*s;oc;oc-algo=\"loss\"%s", (int)(at - plain), plain, at);
    say(r, ALICE, text);
    rig_run(r, 150 * USEC_MS);
    assert_int_equal(heard(r, BOB,
                           "MESSAGE " THERE " SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch="
                           "z9hG4bK*;rport;oc;oc-algo=\"loss\"\r\n"),
                     1);
    plain = reply(find_raw(r, BOB, "MESSAGE"), 200, "b", "");
    at = strstr(plain, ";oc;") + 3;
    snprintf(answer, MESSAGE, "%.*s=100;oc-validity=5000;oc-seq=1%s", (int)(at - plain), plain, at);
    say(r, BOB, answer);
    assert_non_null(strstr(find_got(r, ALICE, "SIP/2.0 200"),
                           ";oc=20;oc-algo=\"loss\";oc-validity=1000;oc-seq=6\r\n"));
    rig_clear(r);
    say(r, ALICE, request(r, ALICE, "MESSAGE", THERE, TO_BOB, "h2", ""));
    assert_int_equal(heard(r, BOB, ""), 0);
    assert_int_equal(heard(r, DESK, "MESSAGE"), 1);
    say(r, DESK, reply(find_raw(r, DESK, "MESSAGE"), 200, "d", ""));
    assert_null(strstr(find_got(r, ALICE, "SIP/2.0 200"), "oc="));
    bench_quiet(b);
    bench_free(b);
}

/* The probe: on time in a simulation; no timer without work. */
static void test_probe(void **state)
{
    (void)state;
    struct bench *b = bench_new();
    struct overload_probe p;
    struct loop *l = b->rig.group->loop[0];
    overload_probe_init(&p, l);
    overload_probe_work(&p);
    assert_int_not_equal(p.due, 0);
    overload_probe_work(&p);
    rig_run(&b->rig, 110 * USEC_MS);
    assert_int_not_equal(p.due, 0); /* there was work meanwhile */
    rig_run(&b->rig, 110 * USEC_MS);
    assert_int_equal(p.due, 0);
    /* The loop comes late: that is looked at again soon. */
    overload_probe_work(&p);
    overload_probe_work(&p);
    p.due -= 170 * USEC_MS;
    rig_run(&b->rig, 101 * USEC_MS);
    assert_true(p.look[p.at] >= 170 * USEC_MS);
    /* Again and again, each time within 10 ms: only what lasts is lateness. */
    for (int i = 1; i < OVERLOAD_LOOKS; i++) {
        assert_int_equal(p.lag, 0);
        overload_probe_work(&p);
        p.due -= 300 * USEC_MS;
        rig_run(&b->rig, 11 * USEC_MS);
    }
    assert_true(p.lag >= 170 * USEC_MS);
    overload_probe_work(&p);
    rig_run(&b->rig, 11 * USEC_MS);
    assert_int_equal(p.lag, 0);
    rig_run(&b->rig, 110 * USEC_MS);
    assert_int_equal(p.due, 0);
    overload_probe_work(&p);
    overload_probe_done(&p);
    bench_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_control), cmocka_unit_test(test_who),    cmocka_unit_test(test_via),
        cmocka_unit_test(test_peers),   cmocka_unit_test(test_refuse), cmocka_unit_test(test_hop),
        cmocka_unit_test(test_probe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
