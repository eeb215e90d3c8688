/* SPDX-License-Identifier: MIT */
/* The next hop: which transport takes a long request (RFC 3261 §18.1.1), how what is reached by its flow
 * alone stays reachable (RFC 5626 §5.3), sips (RFC 5630 §5.3), and who may be named (RFC 3325). */
#include "proxy/proxy_priv.h"
#include "proxy_rig.h"

#define BOB_URI "sip:bob@example.com"
#define BOB_AT  "sip:bob@192.0.2.12:5060"
#define DESK_AT "sip:desk@192.0.2.13:5060"
#define CONTACT "Contact: <sip:alice@192.0.2.11:5060>\r\n"
#define LONG_AT 1400

static int setup(void **state)
{
    struct bench *b = bench_new();
    b->target[0] = (struct proxy_target){.uri = SV(BOB_AT)};
    *state = b;
    return 0;
}
static int teardown(void **state)
{
    bench_free(*state);
    return 0;
}

static void invite(struct bench *b, const char *uri, const char *call_id, const char *more)
{
    say(&b->rig, ALICE, request(&b->rig, ALICE, "INVITE", uri, TO_BOB, call_id, more));
}

/* A line that makes a request long. */
static const char *padding(void)
{
    static char line[LONG_AT];
    memset(line, 'x', sizeof(line) - 1);
    memcpy(line, CONTACT "X-Long: ", sizeof(CONTACT "X-Long: ") - 1);
    memcpy(line + sizeof(line) - 3, "\r\n", 2);
    return line;
}

/* ---- §18.1.1 ---- */

static void test_long_over_tcp(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    /* DESK listens on TCP. */
    b->target[0].uri = SV(DESK_AT);
    invite(b, BOB_URI, "l1", padding());
    rig_run(r, 100 * USEC_MS);
    assert_non_null(strstr(r->stream_got,
                           "INVITE " DESK_AT " SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1:"
                           "5060;branch=z9hG4bK*\r\n"
                           "Record-Route: <sip:*@192.0.2.1:5060;transport=tcp;lr>\r\n"
                           "Record-Route: <sip:*@192.0.2.1:5060;lr>\r\n"));
    assert_int_equal(heard(r, DESK, ""), 0);
    /* Its ACK takes the connection that is there, if it is as long. */
    r->stream_n = 0;
    say(r, ALICE, request(r, ALICE, "ACK", BOB_URI, TO_BOB, "l1", padding()));
    rig_run(r, 100 * USEC_MS);
    assert_non_null(strstr(r->stream_got, "ACK " DESK_AT " SIP/2.0\r\nVia: SIP/2.0/TCP "));
    bench_quiet(b);
    /* A short one, and one to a contact that says UDP: UDP. */
    rig_clear(r);
    invite(b, BOB_URI, "l2", CONTACT);
    b->target[0].uri = SV(DESK_AT ";transport=udp");
    invite(b, BOB_URI, "l3", padding());
    assert_int_equal(heard(r, DESK, "INVITE"), 2);
    bench_quiet(b);
    /* To a flow: nothing else leads there. */
    rig_clear(r);
    b->target[0].uri = SV(DESK_AT);
    b->target[0].dest = (struct dest){.flow = {.transport = SIP_T_UDP,
                                               .local = address(SERVER_IP, 5060),
                                               .remote = r->peer[DESK].addr}};
    invite(b, BOB_URI, "l4", padding());
    assert_int_equal(heard(r, DESK, "INVITE"), 1);
    bench_quiet(b);
}

static void test_long_falls_back(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    /* BOB refuses TCP: UDP at once, built for UDP; the next time nobody tries. */
    invite(b, BOB_URI, "f1", padding());
    rig_run(r, 100 * USEC_MS);
    assert_int_equal(heard(r, BOB,
                           "INVITE " BOB_AT " SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch="
                           "z9hG4bK*;rport\r\nRecord-Route: <sip:*@192.0.2.1:5060;lr>\r\nVia: "),
                     1);
    assert_int_equal(failovers(b), 0);
    bench_quiet(b);
    rig_clear(r);
    invite(b, BOB_URI, "f2", padding());
    assert_int_equal(heard(r, BOB, "INVITE"), 1);
    bench_quiet(b);
    /* An ACK without a connection goes as it can. */
    rig_clear(r);
    say(r, ALICE, request(r, ALICE, "ACK", BOB_URI, TO_BOB, "f3", padding()));
    assert_int_equal(heard(r, BOB, "ACK"), 1);
    bench_quiet(b);
    /* Without a memory of servers it is tried each time, and once. */
    rig_clear(r);
    proxy_locate(b->proxy, NULL);
    b->target[0].dest = (struct dest){.addr = r->peer[BOB].addr, .transport = SIP_T_UDP};
    invite(b, BOB_URI, "f5", padding());
    rig_run(r, 100 * USEC_MS);
    assert_int_equal(heard(r, BOB, "INVITE"), 1);
    b->target[0].dest.transport = SIP_T_NONE;
    proxy_locate(b->proxy, b->locate);
    bench_quiet(b);
    /* Nothing comes back of TCP at all: 4*T1, then UDP. */
    rig_clear(r);
    struct addr there = address("198.51.100.7", 5060), here[1] = {there};
    struct sim_host *host;
    struct loop_group *g;
    struct udp *udp;
    assert_int_equal(sim_host_new(r->sim, "silent", here, 1, &host), ERR_OK);
    assert_int_equal(sim_process(host, 1, &g), ERR_OK);
    assert_int_equal(udp_open(g->loop[0], &there, &peer_handler, &r->peer[BOB], &udp), ERR_OK);
    sim_partition(r->sim, r->host, host, true);
    b->target[0].uri = SV("sip:bob@198.51.100.7");
    invite(b, BOB_URI, "f4", padding());
    rig_run(r, 1900 * USEC_MS);
    sim_partition(r->sim, r->host, host, false);
    assert_int_equal(heard(r, BOB, ""), 0);
    rig_run(r, 200 * USEC_MS);
    assert_int_equal(heard(r, BOB, "INVITE sip:bob@198.51.100.7 SIP/2.0\r\nVia: SIP/2.0/UDP"), 1);
    bench_quiet(b);
    sim_process_stop(host);
    udp_close(udp);
    sim_process_free(host);
}

/* ---- flow tokens ---- */

/* Route header of who got this Record-Route, in his order. */
static void routes_of(const char *raw, bool reverse, char out[static 1024])
{
    char one[480] = "", two[480] = "";
    const char *p = strstr(raw, "\r\nRecord-Route: ");
    if (p) {
        snprintf(one, sizeof(one), "%.*s", (int)strcspn(p + 16, "\r"), p + 16);
        p = strstr(p + 16, "\r\nRecord-Route: ");
    }
    if (p)
        snprintf(two, sizeof(two), "%.*s", (int)strcspn(p + 16, "\r"), p + 16);
    if (two[0])
        snprintf(out, 1024, "Route: %s\r\nRoute: %s\r\n", reverse ? two : one, reverse ? one : two);
    else
        snprintf(out, 1024, "Route: %s\r\n", one);
}

#define IN_DIALOG "From: <sip:alice@example.com>;tag=a1\r\nTo: <" BOB_URI ">;tag=b1\r\n"
#define BACK      "From: <" BOB_URI ">;tag=b1\r\nTo: <sip:alice@example.com>;tag=a1\r\n"

/* Both sides behind NATs: in both directions what nobody follows finds its way. */
static void test_token(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    char routes[1024];
    b->target[0] = (struct proxy_target){.uri = SV("sip:bob@10.7.7.7:5060"),
                                         .dest = {.flow = {.transport = SIP_T_UDP,
                                                           .local = address(SERVER_IP, 5060),
                                                           .remote = r->peer[BOB].addr}}};
    say(r, ALICE,
        request(r, ALICE, "SUBSCRIBE", BOB_URI, TO_BOB, "t",
                "X-Nat: 1\r\nContact: <sip:alice@10.9.9.9:5060>\r\n"));
    const char *in = find_raw(r, BOB, "SUBSCRIBE");
    assert_non_null(strstr(find_got(r, BOB, "SUBSCRIBE"),
                           "Record-Route: <sip:*+@192.0.2.1:5060;lr>\r\n"
                           "Record-Route: <sip:*+@192.0.2.1:5060;lr>"));
    routes_of(in, false, routes);
    say(r, BOB, request(r, BOB, "NOTIFY", "sip:alice@10.9.9.9:5060", BACK, "t", routes));
    assert_int_equal(heard(r, ALICE, "NOTIFY sip:alice@10.9.9.9:5060"), 1);
    assert_null(strstr(find_raw(r, ALICE, "NOTIFY"), "\r\nRoute: "));
    routes_of(in, true, routes);
    rig_clear(r);
    say(r, ALICE, request(r, ALICE, "SUBSCRIBE", "sip:bob@10.7.7.7:5060", IN_DIALOG, "t", routes));
    assert_int_equal(heard(r, BOB, "SUBSCRIBE sip:bob@10.7.7.7:5060"), 1);
    /* Another call's, or a changed one: no flow. */
    say(r, ALICE, request(r, ALICE, "BYE", "sip:bob@192.0.2.13:5060", IN_DIALOG, "other", routes));
    assert_false(b->marked);
    char *token = strrchr(routes, '@') - 1;
    *token = *token == 'A' ? 'B' : 'A';
    say(r, ALICE, request(r, ALICE, "BYE", "sip:bob@192.0.2.13:5060", IN_DIALOG, "t", routes));
    assert_true(b->marked);
    assert_int_equal(b->token.transport, SIP_T_NONE);
    assert_int_equal(heard(r, DESK, "BYE"), 1);
    bench_quiet(b);
}

/* Phones on the same network over UDP need none: one short Record-Route. Only the side that needs one
 * has one; a request that came through another proxy is not answered along its flow. */
static void test_token_where_needed(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    invite(b, BOB_URI, "n1", CONTACT);
    assert_non_null(
        strstr(find_got(r, BOB, "INVITE"), "Record-Route: <sip:*@192.0.2.1:5060;lr>\r\nVia: "));
    rig_clear(r);
    invite(b, BOB_URI, "n2", "X-Nat: 1\r\n" CONTACT);
    assert_non_null(strstr(find_got(r, BOB, "INVITE"),
                           "Record-Route: <sip:*@192.0.2.1:5060;lr>\r\n"
                           "Record-Route: <sip:*+@192.0.2.1:5060;lr>\r\n"));
    rig_clear(r);
    invite(b, BOB_URI, "n3",
           "X-Nat: 1\r\nVia: SIP/2.0/UDP 10.1.1.1:5060;branch=z9hG4bKnext\r\n" CONTACT);
    assert_non_null(
        strstr(find_got(r, BOB, "INVITE"), "Record-Route: <sip:*@192.0.2.1:5060;lr>\r\nVia: "));
    /* From the side without one nothing but the URI leads back. */
    char routes[1024];
    rig_clear(r);
    invite(b, BOB_URI, "n4", "X-Nat: 1\r\n" CONTACT);
    routes_of(find_raw(r, BOB, "INVITE"), true, routes);
    say(r, ALICE, request(r, ALICE, "INFO", BOB_AT, IN_DIALOG, "n4", routes));
    assert_int_equal(heard(r, BOB, "INFO " BOB_AT), 1);
    assert_int_equal(b->token.transport, SIP_T_NONE);
    bench_quiet(b);
}

/* A connection's flow ends with it, and with the process: 430. */
static void test_flow_failed(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    char routes[1024];
    struct addr to = address(SERVER_IP, 5060);
    assert_int_equal(
        stream_connect(r->peer_group->loop[0], NULL, &to, &stream_events, r, &r->stream), ERR_OK);
    rig_run(r, 20 * USEC_MS);
    char *text = scratch();
    snprintf(text, MESSAGE, "%s", request(r, ALICE, "REFER", BOB_URI, TO_BOB, "c", CONTACT));
    memcpy(strstr(text, "/UDP"), "/TCP", 4);
    sv piece = sv_of(text);
    assert_int_equal(stream_send(r->stream, &piece, 1), ERR_OK);
    rig_run(r, 20 * USEC_MS);
    routes_of(find_raw(r, BOB, "REFER"), false, routes);
    say(r, BOB, request(r, BOB, "NOTIFY", "sip:alice@192.0.2.11:5060", BACK, "c", routes));
    rig_run(r, 20 * USEC_MS);
    assert_non_null(strstr(r->stream_got, "NOTIFY sip:alice@192.0.2.11:5060"));
    stream_close(r->stream, true);
    r->stream = NULL;
    rig_run(r, 100 * USEC_MS);
    rig_clear(r);
    say(r, BOB, request(r, BOB, "NOTIFY", "sip:alice@192.0.2.11:5060", BACK, "c", routes));
    rig_run(r, 20 * USEC_MS);
    assert_int_equal(heard(r, BOB, "SIP/2.0 430 Flow Failed"), 1);
    assert_int_equal(b->why, ERR_CLOSED);
    bench_quiet(b);
}

/* ---- sips ---- */

static void test_sips(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    b->next.secure = true;
    static const char *const uris[] = {BOB_AT, "sips:bob@192.0.2.12;transport=udp",
                                       "sip:bob@192.0.2.12;transport=tls"};
    for (unsigned i = 0; i < 3; i++) {
        char call[8];
        snprintf(call, sizeof(call), "s%u", i);
        rig_clear(r);
        b->target[0].uri = sv_of(uris[i]);
        invite(b, "sips:bob@example.com", call, CONTACT);
        assert_int_equal(heard(r, BOB, ""), 0);
        assert_int_equal(heard(r, ALICE, "SIP/2.0 480 "), 1);
        if (i == 0) /* for the others nothing of ours speaks TLS */
            assert_non_null(strstr(find_got(r, ALICE, "SIP/2.0 480"),
                                   "Warning: 380 192.0.2.1:5060 \"SIPS Not Allowed\"\r\n"));
    }
    /* A sip contact will not do, even where TLS leads (RFC 5630 §5.3). */
    rig_clear(r);
    b->target[0] = (struct proxy_target){.uri = SV("sip:bob@192.0.2.12"),
                                         .dest = {.flow = {.transport = SIP_T_TLS,
                                                           .conn = 7,
                                                           .local = address(SERVER_IP, 5060),
                                                           .remote = r->peer[BOB].addr}}};
    invite(b, "sips:bob@example.com", "s4", CONTACT);
    assert_non_null(strstr(find_got(r, ALICE, "SIP/2.0 480"), "Warning: 380 "));
    bench_quiet(b);
}

/* What each side sees of us (§16.6 step 4), and what becomes of a sips contact (RFC 5630 §5.3): built
 * for flows of which the simulation knows nothing. */
static const struct hop_case {
    enum sip_transport in, out;
    const char *uri, *contact, *line, *routes;
} hop_cases[] = {
    {SIP_T_TLS, SIP_T_TLS, "sips:bob@example.com", "sips:bob@192.0.2.12",
     "INVITE sips:bob@192.0.2.12 SIP/2.0\r\nVia: SIP/2.0/TLS ",
     "Record-Route: <sips:*+@192.0.2.1:5060;lr>\r\n"
     "Record-Route: <sips:*+@192.0.2.1:5060;lr>\r\n"},
    {SIP_T_WSS, SIP_T_TLS, "sips:bob@example.com", "sips:bob@192.0.2.12",
     "INVITE sips:bob@192.0.2.12 SIP/2.0\r\nVia: SIP/2.0/TLS ",
     "Record-Route: <sips:*+@192.0.2.1:5060;lr>\r\n"
     "Record-Route: <sips:*+@192.0.2.1:5060;transport=ws;lr>\r\n"},
    {SIP_T_UDP, SIP_T_TLS, "sip:bob@example.com", "sips:bob@192.0.2.12;x=1",
     "INVITE sip:bob@192.0.2.12;x=1 SIP/2.0\r\nVia: SIP/2.0/TLS ",
     "Record-Route: <sip:*+@192.0.2.1:5060;transport=tls;lr>\r\n"
     "Record-Route: <sip:*@192.0.2.1:5060;lr>\r\n"},
    {SIP_T_TCP, SIP_T_WS, "sip:bob@example.com", "sip:x@y.invalid;transport=ws",
     "INVITE sip:x@y.invalid;transport=ws SIP/2.0\r\nVia: SIP/2.0/WS ",
     "Record-Route: <sip:*+@192.0.2.1:5060;transport=ws;lr>\r\n"
     "Record-Route: <sip:*+@192.0.2.1:5060;transport=tcp;lr>\r\n"},
};

static void build_hop(struct bench *b, struct rx *rx, const struct proxy_route *route)
{
    const struct hop_case *h = &hop_cases[b->redirects];
    struct rig *r = &b->rig;
    struct flow in = rx->flow;
    rx->flow.transport = h->in;
    rx->flow.conn = h->in != SIP_T_UDP;
    struct plan plan = {
        .route = *route, .record_route = true, .secure = strncmp(h->uri, "sips", 4) == 0};
    struct proxy_target t = {.uri = sv_of(h->contact)};
    struct outgoing o = {.rx = rx, .plan = &plan, .target = &t, .breadth = 5};
    struct uri uri;
    struct dest d = {.flow = {.transport = h->out,
                              .conn = 7,
                              .local = address(SERVER_IP, 5060),
                              .remote = r->peer[BOB].addr}};
    struct buf out;
    char mem[MESSAGE];
    buf_init(&out, mem, sizeof(mem));
    o.dest = &d;
    assert_int_equal(branch_uri(route, &t, &uri, &o.uri), ERR_OK);
    assert_int_equal(proxy_build(b->proxy, &o, &d.flow, &out), ERR_OK);
    put_plain(r->stream_got, buf_sv(&out));
    rx->flow = in;
}

static void test_sips_record_route(void **state)
{
    struct bench *b = *state;
    b->on_rx = build_hop;
    for (b->redirects = 0; b->redirects < 4; b->redirects++) {
        const struct hop_case *h = &hop_cases[b->redirects];
        char call[8];
        snprintf(call, sizeof(call), "h%u", b->redirects);
        invite(b, h->uri, call, CONTACT);
        const char *got = b->rig.stream_got;
        if (strncmp(got, h->line, strlen(h->line)) || !strstr(got, h->routes))
            fail_msg("case %u: %s", b->redirects, got);
    }
}

/* ---- identity (RFC 3325 §5, §7) ---- */

static void test_identity(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    static const struct {
        const char *more;
        bool named;
    } table[] = {{"", true},
                 {"Privacy: none\r\n", true},
                 {"Privacy: id\r\n", false},
                 {"Privacy: user;ID;critical\r\n", false},
                 {"Privacy: header; identity\r\n", true}};
    b->next.identity = SV("P-Asserted-Identity: \"Alice\" <sip:alice@example.com>\r\n"
                          "P-Asserted-Identity: <tel:+15550101>\r\n");
    for (unsigned i = 0; i < 5; i++) {
        char call[8], more[256];
        snprintf(call, sizeof(call), "i%u", i);
        snprintf(more, sizeof(more),
                 "%s" CONTACT "P-Asserted-Identity: <sip:evil@example.com>\r\n"
                 "P-Preferred-Identity: <sip:evil@example.com>\r\n"
                 "Remote-Party-ID: <sip:evil@example.com>\r\n",
                 table[i].more);
        rig_clear(r);
        invite(b, BOB_URI, call, more);
        const char *got = find_got(r, BOB, "INVITE");
        assert_true(got[0]);
        assert_null(strstr(got, "evil"));
        bool one =
            strstr(got, "P-Asserted-Identity: \"Alice\" <sip:alice@example.com>\r\n") != NULL;
        bool two = strstr(got, "\r\nP-Asserted-Identity: <tel:+15550101>\r\n") != NULL;
        if (one != table[i].named || two != table[i].named)
            fail_msg("%s%s", table[i].more, got);
        assert_true(!table[i].more[0] || strstr(got, table[i].more)); /* passes on */
    }
    bench_quiet(b);
}

/* What is not ours passes octet for octet, whatever the method. */
static void test_passes(void **state)
{
    struct bench *b = *state;
    struct rig *r = &b->rig;
    static const char *const methods[] = {"PRACK", "UPDATE", "INFO", "FROBNICATE"};
    static const char rest[] =
        "Supported: 100rel , foo\r\nRAck: 776656 1 INVITE\r\nSession-ID: "
        "ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000\r\n"
        "Reason: Q.850;cause=16\r\nx-WHAT :\tever ,;=\r\n folded\r\nContent-Type: "
        "application/x\r\n";
    b->next.record_route = false;
    for (unsigned i = 0; i < 4; i++) {
        char *text = scratch(), call[8];
        snprintf(call, sizeof(call), "p%u", i);
        const char *head = request(r, ALICE, methods[i], BOB_URI, TO_BOB, call, rest);
        size_t n = strlen(head) - strlen("Content-Length: 0\r\n\r\n");
        snprintf(text, MESSAGE, "%.*sContent-Length: 12\r\n\r\n\r\nVia: x\r\n\r\n", (int)n, head);
        rig_clear(r);
        say(r, ALICE, text);
        const char *got = r->peer[BOB].got[0];
        assert_int_equal(heard(r, BOB, methods[i]), 1);
        assert_non_null(strstr(got, rest));
        assert_non_null(strstr(got, "\r\n\r\n\r\nVia: x\r\n\r\n"));
        say(r, BOB,
            reply(r->peer[BOB].raw[0], 200, "b",
                  "X-Y: z \r\nReason: SIP;cause=200\r\nSession-ID: a;remote=b\r\n"));
        assert_non_null(strstr(find_got(r, ALICE, "SIP/2.0 200"),
                               "X-Y: z \r\nReason: SIP;cause=200\r\nSession-ID: a;remote=b\r\n"));
    }
    bench_quiet(b);
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_long_over_tcp),      T(test_long_falls_back), T(test_token),
        T(test_token_where_needed), T(test_flow_failed),     T(test_sips),
        T(test_sips_record_route),  T(test_identity),        T(test_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
