/* SPDX-License-Identifier: MIT */
/* From a contact to the place where it is reached; whose addresses may be named; whose domain is
 * it. */
#include "rig.h"
#include "location/location.h"

static struct uri uri(const char *text)
{
    struct uri u;
    assert_int_equal(uri_parse(sv_of(text), &u, NULL), ERR_OK);
    return u;
}

static void test_dest(void **state)
{
    (void)state;
    static const struct {
        const char *uri;
        enum err rc;
        enum sip_transport transport;
        const char *ip;
        uint16_t port;
    } table[] = {
        {"sip:a@192.0.2.5", ERR_OK, SIP_T_UDP, "192.0.2.5", 5060},
        {"sip:a@192.0.2.5:5062", ERR_OK, SIP_T_UDP, "192.0.2.5", 5062},
        {"sip:a@[2001:db8::1]:5062", ERR_OK, SIP_T_UDP, "2001:db8::1", 5062},
        {"sip:a@192.0.2.5;transport=tcp", ERR_OK, SIP_T_TCP, "192.0.2.5", 5060},
        {"sip:a@192.0.2.5;transport=TLS", ERR_OK, SIP_T_TLS, "192.0.2.5", 5061},
        {"sips:a@192.0.2.5:5062", ERR_OK, SIP_T_TLS, "192.0.2.5", 5062},
        {"sip:a@192.0.2.5;transport=ws", ERR_UNREACHABLE, SIP_T_NONE, NULL, 0},
        {"sip:a@192.0.2.5;transport=carrier-pigeon", ERR_UNREACHABLE, SIP_T_NONE, NULL, 0},
        {"sip:a@192.0.2.5;maddr=192.0.2.6", ERR_OK, SIP_T_UDP, "192.0.2.6", 5060},
        {"sip:a@example.com", ERR_UNREACHABLE, SIP_T_NONE, NULL, 0},
        {"tel:+1", ERR_UNREACHABLE, SIP_T_NONE, NULL, 0},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct uri u = uri(table[i].uri);
        struct dest d;
        if (location_dest(&u, &d) != table[i].rc)
            fail_msg("%s", table[i].uri);
        if (table[i].rc)
            continue;
        struct addr want = address(table[i].ip, table[i].port);
        if (!addr_equal(&d.addr, &want) || d.transport != table[i].transport ||
            d.flow.transport != SIP_T_NONE)
            fail_msg("%s", table[i].uri);
    }
}

static void test_allowed(void **state)
{
    (void)state;
    struct rig *r = rig_new(SETTINGS_AUTH_ALL);
    static const struct {
        const char *named, *peer;
        bool ok;
    } table[] = {
        {"203.0.113.1", "203.0.113.2", true},
        {"203.0.113.1", "10.0.0.1", true},
        {"203.0.113.1", "127.0.0.1", true},
        {"10.0.0.1", "203.0.113.2", false},
        {"10.0.0.1", "192.168.0.9", true},
        {"10.0.0.1", "127.0.0.1", false},
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "10.0.0.1", false},
        {"169.254.169.254", "10.0.0.1", false},
        {"169.254.1.1", "169.254.1.2", true},
        {"224.0.1.75", "224.0.1.75", false},
        {"255.255.255.255", "203.0.113.2", false},
        {"0.0.0.0", "203.0.113.2", false},
        {"::1", "203.0.113.2", false},
        {"::ffff:10.0.0.1", "203.0.113.2", false},
        {"fe80::1", "2001:db8::1", false},
        {"ff02::1", "fe80::1", false},
        {"192.0.2.1", "203.0.113.2", false}, /* ourselves */
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct addr named = address(table[i].named, 5060), peer = address(table[i].peer, 9);
        if (location_allowed(r->sip, &named, &peer) != table[i].ok)
            fail_msg("%s by %s", table[i].named, table[i].peer);
    }
    struct addr other = address("192.0.2.1", 5070), peer = address("203.0.113.2", 9);
    assert_true(location_allowed(r->sip, &other, &peer)); /* our host, but not us */
    rig_free(r);
}

static void test_flow(void **state)
{
    (void)state;
    struct flow udp = {.transport = SIP_T_UDP, .remote = address("192.0.2.9", 5070)};
    struct flow tcp = {.transport = SIP_T_TCP, .conn = 5, .remote = address("192.0.2.9", 40000)};
    struct uri numeric = uri("sip:a@192.0.2.9:5070"), name = uri("sip:a@x.invalid"),
               other = uri("sip:a@192.0.2.8");
    struct dest d;
    assert_false(location_by_flow(&numeric, &udp, false));
    assert_true(location_by_flow(&numeric, &udp, true));
    assert_true(location_by_flow(&name, &udp, false));
    assert_true(location_by_flow(&numeric, &tcp, false));
    assert_false(location_by_flow(&other, &tcp, false));
    assert_int_equal(location_contact(&name, &tcp, true, &d), ERR_OK);
    assert_true(flow_equal(&d.flow, &tcp) && addr_equal(&d.addr, &tcp.remote) &&
                d.transport == SIP_T_TCP);
    assert_int_equal(location_contact(&other, &tcp, false, &d), ERR_OK);
    assert_int_equal(d.flow.transport, SIP_T_NONE);
    /* where its contact says that it listens, should the connection be gone */
    struct flow tls = tcp;
    struct uri listens = uri("sip:a@192.0.2.9:5070;transport=tcp"),
               secure = uri("sip:a@192.0.2.9:5070;transport=tls");
    tls.transport = SIP_T_TLS;
    assert_int_equal(location_contact(&listens, &tcp, true, &d), ERR_OK);
    assert_true(d.or_connect);
    assert_int_equal(location_contact(&secure, &tls, true, &d), ERR_OK);
    assert_false(d.or_connect);
    struct flow none = {.transport = SIP_T_NONE};
    assert_int_equal(location_contact(&numeric, &none, true, &d), ERR_OK);
    assert_true(addr_equal(&d.addr, &udp.remote));
    assert_int_equal(location_contact(&name, &none, true, &d), ERR_UNREACHABLE);

    struct binding b = {.transport = SIP_T_TCP,
                        .listener = 1,
                        .worker = 2,
                        .conn = 5,
                        .epoch = 7,
                        .remote = tcp.remote};
    struct flow f = location_flow(&b, 7);
    assert_true(f.transport == SIP_T_TCP && f.conn == 5 && f.listener == 1 && f.worker == 2 &&
                addr_equal(&f.remote, &tcp.remote));
    assert_int_equal(location_flow(&b, 8).transport, SIP_T_NONE); /* another process's connection */
    b.conn = 0;
    b.transport = SIP_T_UDP;
    assert_int_equal(location_flow(&b, 8).transport, SIP_T_UDP); /* datagrams outlive it */
}

/* ---- a set of bindings as targets ---- */

static struct rig *rig;
static struct binding bound(const char *uri, enum sip_transport t, uint64_t conn, usec expires)
{
    struct binding b = binding_of(rig, uri, 0);
    b.transport = (uint8_t)t;
    b.conn = conn;
    b.by_flow = conn != 0;
    b.expires = expires;
    return b;
}

static struct location_target *targets(struct arena *a, bool secure, bool push,
                                       const struct binding *b, size_t n, size_t *ret_n)
{
    struct location_target *t;
    struct location_query q = {
        .sip = rig->sip, .epoch = store_epoch(rig->store), .secure = secure, .push = push};
    arena_reset(a);
    assert_int_equal(location_targets(&q, b, n, a, &t, ret_n), ERR_OK);
    return t;
}

static void expect_uri(const struct location_target *t, const char *uri)
{
    if (!sv_eq(t->uri, sv_of(uri)))
        fail_msg("%.*s instead of %s", SV_ARG(t->uri), uri);
}

/* RFC 5626 §7: one contact of an instance at a time, the newest first, the rest behind it. */
static void test_one_phone_rings_once(void **state)
{
    (void)state;
    struct arena a;
    size_t n;
    rig = rig_new(SETTINGS_AUTH_ALL);
    arena_init(&a, NULL, 0, 1 << 20);
    struct binding b[6] = {
        bound("sip:old@x.invalid", SIP_T_TCP, 5, 100),
        bound("sip:low@x.invalid", SIP_T_TCP, 6, 900),
        bound("sip:new@x.invalid", SIP_T_TCP, 7, 300),
        bound("sip:plain@192.0.2.11", SIP_T_UDP, 0, 50),
        bound("sip:two@x.invalid", SIP_T_WSS, 8, 10),
        bound("sip:q@x.invalid", SIP_T_TCP, 9, 400),
    };
    b[0].instance = b[1].instance = b[2].instance = SV("<urn:uuid:aa>");
    b[2].instance = SV("<urn:uuid:AA>"); /* the same: UUIDs have no case */
    b[4].instance = SV("<urn:uuid:bb>");
    for (int i = 0; i < 3; i++)
        b[i].reg_id = (uint32_t)i + 1;
    b[1].q = 200;
    b[5].q = 500;
    struct location_target *t = targets(&a, false, false, b, 6, &n);
    static const struct {
        const char *uri;
        uint16_t rank;
        bool alternative, flow_only;
    } want[] = {
        {"sip:new@x.invalid", 1000, false, true}, {"sip:old@x.invalid", 1000, true, true},
        {"sip:low@x.invalid", 1000, true, true},  {"sip:plain@192.0.2.11", 1000, false, false},
        {"sip:two@x.invalid", 1000, false, true}, {"sip:q@x.invalid", 500, false, true},
    };
    assert_int_equal(n, 6);
    for (size_t i = 0; i < n; i++) {
        expect_uri(&t[i], want[i].uri);
        if (t[i].rank != want[i].rank || t[i].alternative != want[i].alternative ||
            t[i].flow_only != want[i].flow_only)
            fail_msg("%s", want[i].uri);
    }
    assert_true(t[0].binding == &b[2]);
    assert_int_equal(t[0].dest.flow.conn, 7);
    arena_done(&a);
    rig_free(rig);
}

/* What hangs on a connection goes with it; who may listen is tried there. */
static void test_dead_connections(void **state)
{
    (void)state;
    struct arena a;
    size_t n;
    rig = rig_new(SETTINGS_AUTH_ALL);
    arena_init(&a, NULL, 0, 1 << 20);
    static const struct {
        const char *uri;
        enum sip_transport transport;
        uint32_t reg_id;
        bool there, hangs;
    } cases[] = {
        {"sip:a@192.0.2.11:5066;transport=tcp", SIP_T_TCP, 0, true, false},
        {"sip:a@192.0.2.11:5066;transport=tcp", SIP_T_TCP, 1, false, true},
        {"sip:a@x.invalid", SIP_T_TCP, 0, false, true},
        {"sip:a@192.0.2.11", SIP_T_TLS, 0, false, true}, /* never in clear what came over TLS */
        {"sip:a@192.0.2.11", SIP_T_WS, 0, false, true},
        {"sip:a@192.0.2.11", SIP_T_WSS, 0, false, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct binding b = bound(cases[i].uri, cases[i].transport, 5, 100);
        b.reg_id = cases[i].reg_id;
        if (location_hangs_on_flow(&b) != cases[i].hangs)
            fail_msg("case %zu", i);
        targets(&a, false, false, &b, 1, &n);
        assert_int_equal(n, 1);
        b.epoch--; /* of an earlier process */
        struct location_target *t = targets(&a, false, false, &b, 1, &n);
        if (n != cases[i].there)
            fail_msg("case %zu: %zu", i, n);
        if (n)
            assert_int_equal(t->dest.flow.transport, SIP_T_NONE);
        b.push = SV("pn-provider=x;pn-prid=y"); /* can be woken, where somebody does */
        targets(&a, false, false, &b, 1, &n);
        assert_int_equal(n, cases[i].there);
        t = targets(&a, false, true, &b, 1, &n);
        assert_int_equal(n, 1);
        assert_true(t->asleep);
    }
    struct binding b = bound("sip:a@x.invalid", SIP_T_TCP, 5, 100);
    b.push = SV("pn-provider=x;pn-prid=y");
    assert_false(targets(&a, false, true, &b, 1, &n)->asleep); /* connected is awake */
    b = bound("sip:a@192.0.2.11", SIP_T_UDP, 0, 100);
    assert_false(targets(&a, false, true, &b, 1, &n)->asleep);
    b.push = SV("pn-provider=x;pn-prid=y");
    assert_true(targets(&a, false, true, &b, 1, &n)->asleep); /* datagrams prove nothing */
    b = bound("sip:a@10.1.1.1", SIP_T_TCP, 0, 100); /* D16: a class that the phone is not in */
    targets(&a, false, false, &b, 1, &n);
    assert_int_equal(n, 0);
    arena_done(&a);
    rig_free(rig);
}

static void test_path_and_sips(void **state)
{
    (void)state;
    struct arena a;
    size_t n;
    rig = rig_new(SETTINGS_AUTH_ALL);
    arena_init(&a, NULL, 0, 1 << 20);
    struct binding b = bound("sip:a@10.1.1.1", SIP_T_TCP, 0, 100);
    b.reg_id = 1;
    b.path = SV("\"e\" <sip:192.0.2.11;lr>, <sips:10.0.0.1;lr;ob>");
    struct location_target *t = targets(&a, false, false, &b, 1, &n);
    assert_int_equal(n, 1);
    assert_true(sv_eq(t->path, b.path));
    assert_true(t->dest.flow.transport == SIP_T_NONE && t->dest.addr.family == 0 && !t->flow_only);
    targets(&a, true, false, &b, 1, &n);
    assert_int_equal(n, 0);
    b.path = SV("<sips:192.0.2.11;lr>");
    targets(&a, true, false, &b, 1, &n);
    assert_int_equal(n, 1);

    static const struct {
        const char *uri;
        enum sip_transport transport;
        bool secure;
        const char *target; /* NULL: none */
    } cases[] = {
        {"sip:a@x.invalid", SIP_T_TCP, true, NULL},
        {"sip:a@x.invalid;transport=ws", SIP_T_WSS, true, "sip:a@x.invalid;transport=ws"},
        {"sip:a@x.invalid", SIP_T_TLS, true, "sip:a@x.invalid"},
        {"sips:a@x.invalid", SIP_T_TLS, true, "sips:a@x.invalid"},
        /* RFC 5630 §5.3: replace the scheme, use TLS all the same */
        {"sips:a@x.invalid;x=1", SIP_T_TLS, false, "sip:a@x.invalid;x=1"},
        {"sips:a@x.invalid", SIP_T_TCP, false, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        b = bound(cases[i].uri, cases[i].transport, 5, 100);
        t = targets(&a, cases[i].secure, false, &b, 1, &n);
        if (n != (cases[i].target != NULL))
            fail_msg("case %zu: %zu", i, n);
        if (n)
            expect_uri(t, cases[i].target);
    }
    arena_done(&a);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dest),
        cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_flow),
        cmocka_unit_test(test_one_phone_rings_once),
        cmocka_unit_test(test_dead_connections),
        cmocka_unit_test(test_path_and_sips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
