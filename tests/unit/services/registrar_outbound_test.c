/* SPDX-License-Identifier: MIT */
/* Instances and flows (RFC 5626 §6), the proxies between (RFC 3327), sips contacts (RFC 5630 §5.2),
 * phones that sleep (RFC 8599). */
#include "registrar_run.h"

#define ONE   ";+sip.instance=\"<urn:uuid:1>\""
#define TWO   ";+sip.instance=\"<urn:uuid:2>\""
#define OB    "Supported: path, outbound, gruu\r\n"
#define VIA   "SIP/2.0/TCP " PEER ":5070"
#define PROXY "SIP/2.0/TCP " PEER ":5060;branch=z9hG4bK0, SIP/2.0/UDP 10.0.0.7:5060"

static void begin_outbound(struct fixture *f)
{
    begin(f);
    f->lim.outbound = true;
    f->flow.transport = SIP_T_TCP;
    f->flow.conn = 5;
}

static void expect(struct fixture *f, uint16_t status, size_t n)
{
    if (f->result.status != status)
        fail_msg("answered %u %s", f->result.status, f->result.why ? f->result.why : "");
    if (status == 200)
        assert_int_equal(f->result.n, n);
}

/* §6: the binding is between the address of record and instance and reg-id, whatever the URI. */
static void a_flow_takes_the_place_of_the_one_before(void **state)
{
    (void)state;
    struct fixture f;
    begin_outbound(&f);
    apply_via(&f, VIA, "c1", 1, OB "Contact: <sip:x1@a.invalid;transport=ws>" ONE ";reg-id=1\r\n");
    expect(&f, 200, 1);
    assert_true(f.result.outbound && f.result.direct);
    assert_int_equal(f.result.bindings[0].reg_id, 1);
    assert_true(sv_eq(f.result.bindings[0].instance, SV("<urn:uuid:1>")));
    assert_true(f.result.bindings[0].by_flow);
    keep(&f);
    f.before[0].since = now - USEC_HOUR;
    /* the same phone anew: other URI, other Call-ID, other connection */
    f.flow.conn = 6;
    apply_via(&f, VIA, "c2", 1, OB "Contact: <sip:x2@b.invalid;transport=ws>" ONE ";reg-id=1\r\n");
    expect(&f, 200, 1);
    assert_true(sv_eq(f.result.bindings[0].uri, SV("sip:x2@b.invalid;transport=ws")));
    assert_int_equal(f.result.bindings[0].conn, 6);
    assert_int_equal(f.result.bindings[0].since, now - USEC_HOUR);
    keep(&f);
    /* its second flow, and another phone with the same reg-id, stand beside it */
    apply_via(&f, VIA, "c3", 1, OB "Contact: <sip:x2@b.invalid;transport=ws>" ONE ";reg-id=2\r\n");
    expect(&f, 200, 2);
    keep(&f);
    apply_via(&f, VIA, "c4", 1, OB "Contact: <sip:x2@b.invalid;transport=ws>" TWO ";reg-id=1\r\n");
    expect(&f, 200, 3);
    keep(&f);
    /* a flow ends by its key, whatever the URI */
    apply_via(&f, VIA, "c5", 1, OB "Contact: <sip:zzz@c.invalid>" ONE ";reg-id=1;expires=0\r\n");
    expect(&f, 200, 2);
    assert_true(f.result.outbound);
    for (size_t i = 0; i < f.result.n; i++)
        assert_false(f.result.bindings[i].reg_id == 1 &&
                     sv_eq(f.result.bindings[i].instance, SV("<urn:uuid:1>")));
    done(&f);
}

/* RFC 3261 §10.3 step 7 holds for flows too. */
static void a_flow_is_renewed_in_order(void **state)
{
    (void)state;
    struct fixture f;
    begin_outbound(&f);
    apply_via(&f, VIA, "c1", 7, OB "Contact: <sip:a@x.invalid>" ONE ";reg-id=1\r\n");
    keep(&f);
    apply_via(&f, VIA, "c1", 6, OB "Contact: <sip:b@x.invalid>" ONE ";reg-id=1\r\n");
    expect(&f, 500, 0);
    apply_via(&f, VIA, "c1", 6, OB "Contact: <sip:b@x.invalid>" ONE ";reg-id=1;expires=0\r\n");
    expect(&f, 500, 0);
    apply_via(&f, VIA, "c1", 6, OB "Contact: <sip:b@x.invalid>" ONE ";reg-id=2\r\n");
    expect(&f, 200, 2);
    apply_via(&f, VIA, "c2", 1, OB "Contact: <sip:b@x.invalid>" ONE ";reg-id=1\r\n");
    expect(&f, 200, 1);
    done(&f);
}

static void phones_with_and_without_flows_live_together(void **state)
{
    (void)state;
    struct fixture f;
#define C "Contact: <sip:a@192.0.2.9:5070>"
    begin_outbound(&f);
    apply_via(&f, VIA, "plain", 1, C "\r\n");
    expect(&f, 200, 1);
    keep(&f);
    /* it has learned outbound: not two of it */
    apply_via(&f, VIA, "flow", 1, OB C ONE ";reg-id=1\r\n");
    expect(&f, 200, 1);
    assert_int_equal(f.result.bindings[0].reg_id, 1);
    keep(&f);
    /* another one without, behind another NAT with the same address */
    apply_via(&f, VIA, "plain", 2, C "\r\n");
    expect(&f, 200, 2);
    apply_via(&f, VIA, "plain", 2, C TWO "\r\n");
    expect(&f, 200, 2);
    /* the same phone forgot outbound */
    apply_via(&f, VIA, "plain", 2, C ONE "\r\n");
    expect(&f, 200, 1);
    assert_int_equal(f.result.bindings[0].reg_id, 0);
    assert_false(f.result.outbound);
    /* by its URI anybody of the account ends it */
    apply_via(&f, VIA, "plain", 2, C ";expires=0\r\n");
    expect(&f, 200, 0);
    apply_via(&f, VIA, "plain", 2, "Contact: *\r\nExpires: 0\r\n");
    expect(&f, 200, 0);
    /* an instance without a reg-id is bound by its URI (§6) */
    apply_via(&f, VIA, "p2", 1, "Contact: <sip:u1@192.0.2.9>" TWO "\r\n");
    keep(&f);
    apply_via(&f, VIA, "p2", 2, "Contact: <sip:u2@192.0.2.9>" TWO "\r\n");
    expect(&f, 200, 3);
    assert_false(f.result.outbound);
    done(&f);
}

struct one {
    const char *what, *via, *lines;
    uint16_t status;
    bool outbound;
    uint32_t reg_id;
};

#define PHONE "Contact: <sip:a@x.invalid>" ONE ";reg-id=3\r\n"
static const struct one table[] = {
    {"first hop", VIA, OB PHONE, 200, true, 3},
    {"not supported by the phone", VIA, PHONE, 200, false, 3},
    {"no instance", VIA, OB "Contact: <sip:a@x.invalid>;reg-id=3\r\n", 200, false, 0},
    {"an instance of no form", VIA,
     OB "Contact: <sip:a@x.invalid>;+sip.instance=\"urn\";reg-id=3\r\n", 200, false, 0},
    {"reg-id 0", VIA, OB "Contact: <sip:a@x.invalid>" ONE ";reg-id=0\r\n", 400, false, 0},
    {"reg-id of letters", VIA, OB "Contact: <sip:a@x.invalid>" ONE ";reg-id=a\r\n", 400, false, 0},
    {"reg-id too large", VIA, OB "Contact: <sip:a@x.invalid>" ONE ";reg-id=2147483648\r\n", 400,
     false, 0},
    {"reg-id at its most", VIA, OB "Contact: <sip:a@x.invalid>" ONE ";reg-id=2147483647\r\n", 200,
     true, 2147483647},
    /* §6: what the first hop must have done */
    {"a proxy without Path", PROXY, OB PHONE, 439, false, 0},
    {"a proxy without ob", PROXY, OB "Path: <sip:" PEER ";lr>\r\n" PHONE, 439, false, 0},
    {"a proxy without ob, a phone without outbound", PROXY,
     "Supported: path\r\nPath: <sip:" PEER ";lr>\r\n" PHONE, 200, false, 0},
    {"a proxy with ob", PROXY, OB "Path: <sip:" PEER ";lr;ob>\r\n" PHONE, 200, true, 3},
    {"two proxies, the first hop with ob", PROXY,
     OB "Path: <sip:" PEER ";lr>, <sip:10.0.0.1;lr;ob>\r\n" PHONE, 200, true, 3},
    {"two proxies, ob where it does not belong", PROXY,
     OB "Path: <sip:" PEER ";lr;ob>\r\nPath: <sip:10.0.0.1;lr>\r\n" PHONE, 439, false, 0},
    {"a proxy, no reg-id", PROXY, OB "Contact: <sip:a@x.invalid>" ONE "\r\n", 200, false, 0},
    /* §6: one lasting Contact */
    {"two with reg-ids", VIA, OB PHONE "Contact: <sip:b@x.invalid>" ONE ";reg-id=4\r\n", 400, false,
     0},
    {"one with, one without", VIA, OB PHONE "Contact: <sip:b@192.0.2.9>\r\n", 400, false, 0},
    {"one comes, one goes", VIA,
     OB PHONE "Contact: <sip:b@x.invalid>" ONE ";reg-id=4;expires=0\r\n", 200, true, 3},
    /* RFC 3327 §5.3 */
    {"Path that the phone does not know", PROXY,
     "Path: <sip:" PEER ";lr>\r\nContact: <sip:a@x.invalid>\r\n", 420, false, 0},
    {"Path of no address", PROXY, OB "Path: <tel:+1>\r\n" PHONE, 400, false, 0},
    /* D15: whom a Path may name */
    {"Path to somebody else", PROXY, OB "Path: <sip:192.0.2.77;lr;ob>\r\n" PHONE, 403, false, 0},
    {"Path to a name", PROXY, OB "Path: <sip:p.example.net;lr;ob>\r\n" PHONE, 403, false, 0},
    /* RFC 5627 §5.1 */
    {"the address of record itself", VIA, OB "Contact: <sip:a@example.com>" ONE "\r\n", 403, false,
     0},
    {"a GRUU of it", VIA, OB "Contact: <sip:a@example.com;gr=urn:uuid:1>" ONE "\r\n", 403, false,
     0},
    {"a temporary GRUU", VIA, OB "Contact: <sip:tgruu.abc@example.com;gr>" ONE "\r\n", 403, false,
     0},
    {"no SIP URI", VIA, OB "Contact: <tel:+1>" ONE "\r\n", 403, false, 0},
};

static void outbound_is_applied_where_the_first_hop_knows_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct fixture f;
        begin_outbound(&f);
        apply_via(&f, table[i].via, "c", 1, table[i].lines);
        if (f.result.status != table[i].status || f.result.outbound != table[i].outbound)
            fail_msg("%s: %u %s, outbound %d", table[i].what, f.result.status,
                     f.result.why ? f.result.why : "", f.result.outbound);
        if (table[i].status == 200 && f.result.bindings[0].reg_id != table[i].reg_id)
            fail_msg("%s: reg-id %u", table[i].what, f.result.bindings[0].reg_id);
        done(&f);
    }
}

static void switched_off_it_is_as_before(void **state)
{
    (void)state;
    struct fixture f;
    begin_outbound(&f);
    f.lim.outbound = false;
    apply_via(&f, VIA, "c1", 1, OB "Contact: <sip:x1@192.0.2.9>" ONE ";reg-id=1\r\n");
    expect(&f, 200, 1);
    assert_false(f.result.outbound);
    assert_int_equal(f.result.bindings[0].reg_id, 0);
    keep(&f);
    apply_via(&f, VIA, "c2", 1, OB "Contact: <sip:x2@192.0.2.9>" ONE ";reg-id=1\r\n");
    expect(&f, 200, 2);
    apply_via(&f, PROXY, "c2", 1, OB PHONE); /* no 439 */
    expect(&f, 200, 2);
    done(&f);
}

static void proxies_between_are_kept_and_given_back(void **state)
{
    (void)state;
    struct fixture f;
    struct settings *set;
    assert_int_equal(settings_default(SV("example.com"), &set), ERR_OK);
    begin_outbound(&f);
    apply_via(&f, PROXY, "c", 1,
              OB "Path: <sip:" PEER ";lr>\r\nPath: \"E\"\r\n <sip:10.0.0.1;lr;ob>;x=1\r\n" PHONE);
    expect(&f, 200, 1);
    const struct binding *b = &f.result.bindings[0];
    assert_true(sv_eq(b->path, SV("<sip:" PEER ";lr>, \"E\"   <sip:10.0.0.1;lr;ob>;x=1")));
    /* the connection is the proxy's: when it ends the phone is still there */
    assert_false(b->by_flow);
    assert_int_equal(b->conn, 0);
    assert_false(f.result.direct);
    const char *text = headers(&f, set);
    assert_non_null(
        strstr(text, "\r\nPath: <sip:" PEER ";lr>\r\nPath: \"E\"   <sip:10.0.0.1;lr;ob>;x=1\r\n"));
    assert_non_null(strstr(text, "\r\nRequire: outbound\r\n"));
    assert_null(strstr(text, "Flow-Timer")); /* of the first hop to say */
    /* a phone on the other side of a proxy may have any address, even one of a private network */
    apply_via(&f, PROXY, "c", 1,
              "Supported: path\r\nPath: <sip:" PEER ";lr>\r\nContact: <sip:a@10.1.2.3>\r\n");
    expect(&f, 200, 1);
    assert_false(f.result.bindings[0].by_flow);
    done(&f);
    settings_unref(set);
}

static void the_200_says_how_often_the_flow_must_be_heard(void **state)
{
    (void)state;
    struct fixture f;
    struct settings *set;
    assert_int_equal(settings_default(SV("example.com"), &set), ERR_OK);
    set->keepalive = 25 * USEC_S;
    begin_outbound(&f);
    apply_via(&f, VIA, "c", 1, OB PHONE);
    const char *text = headers(&f, set);
    assert_non_null(strstr(text, "\r\nRequire: outbound\r\nFlow-Timer: 25\r\n"));
    set->keepalive = 0;
    text = headers(&f, set);
    assert_non_null(strstr(text, "\r\nRequire: outbound\r\n"));
    assert_null(strstr(text, "Flow-Timer"));
    set->keepalive = 25 * USEC_S;
    apply_via(&f, VIA, "c", 1, PHONE);
    text = headers(&f, set);
    assert_null(strstr(text, "Require"));
    assert_null(strstr(text, "Flow-Timer"));
    assert_null(strstr(text, "Service-Route"));
    done(&f);
    settings_unref(set);
}

/* A phone that is told of outbound asks by STUN, over UDP, and is answered (transport). */
static void over_udp_the_flow_counts_too(void **state)
{
    (void)state;
    struct fixture f;
    begin_outbound(&f);
    f.flow.transport = SIP_T_UDP;
    f.flow.conn = 0;
    apply(&f, "c1", 1, OB "Contact: <sip:a@192.0.2.9:5070>" ONE ";reg-id=1\r\n");
    expect(&f, 200, 1);
    assert_true(f.result.outbound);
    assert_true(f.result.bindings[0].by_flow);
    assert_int_equal(f.result.bindings[0].reg_id, 1);
    apply_via(&f, PROXY, "c1", 1, OB "Path: <sip:" PEER ";lr;ob>\r\n" PHONE);
    expect(&f, 200, 1);
    assert_true(f.result.outbound);
    done(&f);
}

/* RFC 5630 §5.2: Request-URI, Path and this hop are all secure, or there is no sips Contact. */
static void a_sips_contact_needs_sips_all_the_way(void **state)
{
    (void)state;
#define SIPS "Contact: <sips:a@x.invalid>\r\n"
    static const struct {
        const char *uri, *via, *lines;
        enum sip_transport transport;
        uint16_t status;
    } cases[] = {
        {"sips:example.com", VIA, SIPS, SIP_T_TLS, 200},
        {"sips:example.com", VIA, SIPS, SIP_T_WSS, 200},
        {"sips:example.com", VIA, SIPS, SIP_T_TCP, 400},
        {"sip:example.com", VIA, SIPS, SIP_T_TLS, 400},
        {"sips:example.com", PROXY, OB "Path: <sips:" PEER ";lr>\r\n" SIPS, SIP_T_TLS, 200},
        {"sips:example.com", PROXY, OB "Path: <sip:" PEER ";lr>\r\n" SIPS, SIP_T_TLS, 400},
        {"sip:example.com", VIA, "Contact: <sip:a@x.invalid>\r\n", SIP_T_TLS, 200},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture f;
        begin_outbound(&f);
        f.flow.transport = cases[i].transport;
        apply_uri(&f, cases[i].uri, cases[i].via, "c", 1, cases[i].lines);
        if (f.result.status != cases[i].status)
            fail_msg("case %zu: %u", i, f.result.status);
        done(&f);
    }
    /* RFC 5630 §5.1.1.1: the second replaces the first. */
    struct fixture f;
    begin_outbound(&f);
    f.flow.transport = SIP_T_TLS;
    apply_uri(&f, "sips:example.com", VIA, "c", 1, SIPS);
    keep(&f);
    apply_via(&f, VIA, "c", 2, "Contact: <sip:a@x.invalid>\r\n");
    expect(&f, 200, 1);
    assert_true(sv_eq(f.result.bindings[0].uri, SV("sip:a@x.invalid")));
    done(&f);
}

#define SLEEPER(prid, more) \
    "Contact: <sip:a@192.0.2.9:5070;pn-provider=acme;pn-prid=" prid ";pn-param=p>" more "\r\n"

/* RFC 8599 */
static void a_phone_that_sleeps_says_how_it_is_woken(void **state)
{
    (void)state;
    struct fixture f;
    struct settings *set;
    assert_int_equal(settings_default(SV("example.com"), &set), ERR_OK);
    set->push.url = SV("https://push.example.com/");
    begin_outbound(&f);
    apply_via(&f, VIA, "c", 1, SLEEPER("one", ""));
    expect(&f, 200, 1);
    assert_true(sv_eq(f.result.bindings[0].push, SV("pn-provider=acme;pn-prid=one;pn-param=p")));
    assert_non_null(strstr(headers(&f, set), "\r\nFeature-Caps: *;+sip.pns=\"acme\"\r\n"));
    keep(&f);
    /* another token is no other binding */
    apply_via(&f, VIA, "c", 2, SLEEPER("two", ";+sip.pnsreg"));
    expect(&f, 200, 1);
    assert_true(sv_eq(f.result.bindings[0].push, SV("pn-provider=acme;pn-prid=two;pn-param=p")));
    assert_non_null(
        strstr(headers(&f, set), "Feature-Caps: *;+sip.pns=\"acme\";+sip.pnsreg=\"130\"\r\n"));
    /* too short to be refreshed by a push (§5.6.1.1) */
    apply_via(&f, VIA, "c", 2, SLEEPER("two", ";expires=120"));
    assert_null(strstr(headers(&f, set), "Feature-Caps"));
    apply_via(&f, VIA, "c", 2, SLEEPER("two", ";expires=125;+sip.pnsreg"));
    assert_non_null(strstr(headers(&f, set), "Feature-Caps: *;+sip.pns=\"acme\"\r\n"));
    /* nobody there to wake */
    apply_via(&f, VIA, "c", 2, SLEEPER("two", ""));
    set->push.url = SV("");
    assert_null(strstr(headers(&f, set), "Feature-Caps"));
    set->push.url = SV("https://push.example.com/");
    /* §4.1.5: a question; §4.1.2: no longer */
    apply_via(&f, VIA, "c", 3, "Contact: <sip:a@192.0.2.9:5070;pn-provider=acme>\r\n");
    expect(&f, 200, 1);
    assert_int_equal(f.result.bindings[0].push.n, 0);
    assert_non_null(strstr(headers(&f, set), "\r\nFeature-Caps: *;+sip.pns=\"acme\"\r\n"));
    apply_via(&f, VIA, "c", 3, "Contact: <sip:a@192.0.2.9:5070>;expires=0\r\n");
    expect(&f, 200, 0);
    /* a proxy before us does it (§5.6.1.1) */
    apply_via(&f, VIA, "c", 3, "Feature-Caps: *;+sip.pns=\"acme\"\r\n" SLEEPER("three", ""));
    expect(&f, 200, 1);
    assert_int_equal(f.result.bindings[0].push.n, 0);
    assert_null(strstr(headers(&f, set), "Feature-Caps"));
    done(&f);
    settings_unref(set);
}

/* RFC 8599 §4.1.1: who wakes up with another address each time is one phone. */
static void a_prid_is_one_phone(void **state)
{
    (void)state;
    struct fixture f;
    begin_outbound(&f);
    for (unsigned i = 0; i < 30; i++) {
        char line[256], call_id[16];
        snprintf(line, sizeof(line),
                 "Contact: <sip:a@192.0.2.9:%u;transport=tcp;pn-provider=acme;pn-prid=one;"
                 "pn-param=p>\r\n",
                 20000 + i);
        snprintf(call_id, sizeof(call_id), "p%u", i);
        f.flow.conn = 10 + i;
        apply_via(&f, VIA, call_id, 1, line);
        expect(&f, 200, 1);
        keep(&f);
    }
    apply_via(&f, VIA, "q", 1,
              "Contact: <sip:a@192.0.2.9:1;pn-provider=acme;pn-prid=two;pn-param=p>\r\n");
    expect(&f, 200, 2);
    done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prid_is_one_phone),
        cmocka_unit_test(a_flow_takes_the_place_of_the_one_before),
        cmocka_unit_test(a_flow_is_renewed_in_order),
        cmocka_unit_test(phones_with_and_without_flows_live_together),
        cmocka_unit_test(outbound_is_applied_where_the_first_hop_knows_it),
        cmocka_unit_test(switched_off_it_is_as_before),
        cmocka_unit_test(proxies_between_are_kept_and_given_back),
        cmocka_unit_test(the_200_says_how_often_the_flow_must_be_heard),
        cmocka_unit_test(over_udp_the_flow_counts_too),
        cmocka_unit_test(a_sips_contact_needs_sips_all_the_way),
        cmocka_unit_test(a_phone_that_sleeps_says_how_it_is_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
