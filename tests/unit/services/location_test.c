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
        {"sip:a@192.0.2.5;transport=TLS", ERR_UNREACHABLE, SIP_T_NONE, NULL, 0},
        {"sips:a@192.0.2.5", ERR_UNREACHABLE, SIP_T_NONE, NULL, 0},
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dest),
        cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_flow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
