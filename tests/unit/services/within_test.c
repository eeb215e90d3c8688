/* SPDX-License-Identifier: MIT */
/* within_test.c: requests of ours within a dialog: what stands in them, and what is learned for them. */
#include "rig.h"
#include "within/within.h"

#define US "<sip:mark@" SERVER_IP ";lr>"

static int setup(void **state)
{
    *state = rig_new(SETTINGS_AUTH_REGISTER);
    return 0;
}
static int teardown(void **state)
{
    rig_free(*state);
    return 0;
}

static struct sipmsg *parse(struct arena *a, const char *start, const char *lines)
{
    static char text[MESSAGE + BLOCK_SLACK];
    static struct sipmsg m;
    int n = snprintf(text, MESSAGE,
                     "%s\r\nVia: SIP/2.0/UDP 192.0.2.12:5060;branch=z9hG4bKx\r\n"
                     "From: <sip:a@x>;tag=1\r\nTo: <sip:b@y>;tag=2\r\nCall-ID: c\r\n"
                     "CSeq: 1 INVITE\r\n%sContent-Length: 0\r\n\r\n",
                     start, lines);
    assert_int_equal(sipmsg_parse((sv){text, (size_t)n}, a, &m, NULL), ERR_OK);
    return &m;
}

static const char *routes_of(struct rig *r, const char *start, const char *lines, size_t upstream)
{
    static char mem[WITHIN_ROUTES_MAX + 1];
    struct arena a;
    struct buf b;
    arena_init(&a, NULL, 0, 1 << 20);
    buf_init(&b, mem, WITHIN_ROUTES_MAX);
    within_routes(r->sip, parse(&a, start, lines), upstream, &b);
    assert_int_equal(b.rc, ERR_OK);
    mem[b.n] = 0;
    for (size_t i = 0; i < b.n; i++)
        mem[i] = mem[i] == WITHIN_END ? '|' : mem[i];
    arena_done(&a);
    return mem;
}

static void route_sets(void **state)
{
    struct rig *r = *state;
    const char *rq = "INVITE sip:b@y SIP/2.0", *ok = "SIP/2.0 200 OK";
    assert_string_equal(routes_of(r, rq, "", 0), "");
    assert_string_equal(routes_of(r, rq, "Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\n", 0),
                        "<sip:p1;lr>|<sip:p2;lr>|");
    /* behind us, the nearest first; ours are one or two, what is before us stays behind them */
    assert_string_equal(
        routes_of(r, ok, "Record-Route: <sip:q1;lr>, <sip:q2>, " US ", <sip:p1;lr>\r\n", 1),
        "<sip:q2>|<sip:q1;lr>|");
    assert_string_equal(
        routes_of(r, ok, "Record-Route: <sip:q1;lr>, " US ", " US ", <sip:p1;lr>\r\n", 1),
        "<sip:q1;lr>|");
    assert_string_equal(routes_of(r, ok, "Record-Route: " US "\r\n", 0), "");
    /* a callee that left out what it should have copied */
    assert_string_equal(routes_of(r, ok, "", 3), "");
    assert_string_equal(routes_of(r, ok, "Record-Route: <sip:q1;lr>\r\n", 3), "");
}

static void what_is_sent(void **state)
{
    struct rig *r = *state;
    struct dest there = {.addr = r->peer[BOB].addr, .transport = SIP_T_UDP};
    struct within_dialog d = {.call_id = SV("c9"),
                              .local = SV("<sip:a@x>"),
                              .local_tag = SV("t"),
                              .remote = SV("\"B\" <sip:b@y>;tag=2"),
                              .target = SV("sip:b@192.0.2.12"),
                              .routes = SV("<sip:q1;lr>\x01<sip:q2>\x01"),
                              .dest = &there};
    struct within_request q = {.method = SIP_INFO,
                               .cseq = 7,
                               .headers = SV("X: y\r\n"),
                               .type = SV("text/plain"),
                               .body = SV("hello")};
    assert_int_equal(within_send(r->sip, &d, &q, NULL, NULL, NULL), ERR_OK);
    rig_run(r, 20 * USEC_MS);
    const char *info = find_raw(r, BOB, "INFO sip:b@192.0.2.12 SIP/2.0\r\n");
    assert_non_null(strstr(info,
                           "\r\nMax-Forwards: 70\r\nRoute: <sip:q1;lr>\r\nRoute: <sip:q2>\r\n"
                           "From: <sip:a@x>;tag=t\r\nTo: \"B\" <sip:b@y>;tag=2\r\nCall-ID: c9\r\n"
                           "CSeq: 7 INFO\r\nX: y\r\nContent-Type: text/plain\r\n"
                           "Content-Length: 5\r\n\r\nhello"));
    say(r, BOB, reply(info, 200, NULL, ""));
    /* a strict router first: its URI on top, the target at the end */
    d.routes = SV("<sip:q2>\x01<sip:q1;lr>\x01");
    d.local = SV("<sip:a@x>;tag=t");
    d.local_tag = SV_NONE;
    q = (struct within_request){.method = SIP_ACK, .cseq = 8};
    assert_int_equal(within_send(r->sip, &d, &q, NULL, NULL, NULL), ERR_OK);
    rig_run(r, 20 * USEC_MS);
    const char *ack = find_raw(r, BOB, "ACK sip:q2 SIP/2.0\r\n");
    assert_non_null(strstr(ack, "\r\nRoute: <sip:q1;lr>\r\nRoute: <sip:b@192.0.2.12>\r\n"
                                "From: <sip:a@x>;tag=t\r\n"));
    assert_non_null(strstr(ack, "\r\nCSeq: 8 ACK\r\nContent-Length: 0\r\n\r\n"));
    rig_run(r, USEC_MIN);
    assert_int_equal(heard(r, BOB, "ACK"), 1); /* once */
    assert_int_equal(sip_transactions(r->sip), 0);
}

static void where_it_goes(void **state)
{
    struct rig *r = *state;
    const char *ok = "SIP/2.0 200 OK", *named = "Contact: <sip:b@192.0.2.13:5070>\r\n";
    struct flow f = {.transport = SIP_T_UDP, .remote = address("192.0.2.12", 5060)};
    struct dest via = {.addr = f.remote, .transport = SIP_T_UDP}, d;
    struct arena a;
    arena_init(&a, NULL, 0, 1 << 20);
    d = within_dest(r->sip, parse(&a, ok, named), &f, &via, false);
    assert_int_equal(d.addr.port, 5070);
    d = within_dest(r->sip, parse(&a, ok, named), &f, &via, true);
    assert_int_equal(d.addr.port, 5060); /* the way that it came, when proxies stand between */
    d = within_dest(r->sip, parse(&a, ok, "Contact: <sip:b@phone.example>\r\n"), &f, &via, false);
    assert_int_equal(d.addr.port, 5060);
    /* nobody makes us send to ourselves, or to a kind of address that he is not in (D16) */
    d = within_dest(r->sip, parse(&a, ok, "Contact: <sip:b@" SERVER_IP ">\r\n"), &f, &via, false);
    assert_true(addr_equal(&d.addr, &via.addr));
    d = within_dest(r->sip, parse(&a, ok, "Contact: <sip:b@10.1.1.1>\r\n"), &f, &via, false);
    assert_true(addr_equal(&d.addr, &via.addr));
    assert_true(within_target(parse(&a, ok, "Contact: *\r\n")).n == 0);
    assert_true(within_target(parse(&a, ok, "")).n == 0);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(route_sets, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(where_it_goes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
