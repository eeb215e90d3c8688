/* SPDX-License-Identifier: MIT */
/* turnserver_peer_test.c: whom a client may talk to: every special address, in every dress (D16, D22). */
#include "turn_world.h"
#include "turnserver/turnserver_priv.h"

/* An address as the wire has it: IPv6 octets are not made IPv4. */
static struct addr raw(const char *text, uint16_t port)
{
    struct addr a = ip(text, port);
    sv s = sv_of(text);
    if (a.family == 4 && sv_chr(s, ':') < s.n) { /* ::ffff:a.b.c.d was canonicalised */
        struct addr six = {.family = 6, .port = port, .ip = {[10] = 0xff, [11] = 0xff}};
        memcpy(six.ip + 12, a.ip, 4);
        return six;
    }
    return a;
}

static const struct {
    const char *text;
    enum turnserver_verdict is;
} table[] = {
    {"203.0.113.7", TURNSERVER_OPEN}, /* documentation is nobody's */
    {"8.8.8.8", TURNSERVER_OPEN},
    {"192.0.2.1", TURNSERVER_OPEN},
    {"2001:db8::1", TURNSERVER_OPEN},
    {"2a00:1450::1", TURNSERVER_OPEN},
    {"64:ff9b::808:808", TURNSERVER_OPEN}, /* NAT64 of 8.8.8.8 */
    /* IPv4 */
    {"127.0.0.1", TURNSERVER_SPECIAL},
    {"127.255.255.255", TURNSERVER_SPECIAL},
    {"10.0.0.1", TURNSERVER_SPECIAL},
    {"172.16.0.1", TURNSERVER_SPECIAL},
    {"172.31.255.255", TURNSERVER_SPECIAL},
    {"192.168.1.1", TURNSERVER_SPECIAL},
    {"100.64.0.1", TURNSERVER_SPECIAL},
    {"169.254.0.1", TURNSERVER_SPECIAL},
    {"169.254.169.254", TURNSERVER_SPECIAL}, /* metadata */
    {"0.0.0.0", TURNSERVER_SPECIAL},
    {"0.1.2.3", TURNSERVER_SPECIAL},
    {"192.0.0.8", TURNSERVER_SPECIAL},
    {"198.18.0.1", TURNSERVER_SPECIAL},
    {"224.0.0.1", TURNSERVER_SPECIAL},
    {"239.255.255.255", TURNSERVER_SPECIAL},
    {"240.0.0.1", TURNSERVER_SPECIAL},
    {"255.255.255.255", TURNSERVER_SPECIAL},
    /* IPv6 */
    {"::", TURNSERVER_SPECIAL},
    {"::1", TURNSERVER_SPECIAL},
    {"fe80::1", TURNSERVER_SPECIAL},
    {"fec0::1", TURNSERVER_SPECIAL},
    {"fc00::1", TURNSERVER_SPECIAL},
    {"fd00:ec2::254", TURNSERVER_SPECIAL}, /* metadata */
    {"ff02::1", TURNSERVER_SPECIAL},
    {"100::1", TURNSERVER_SPECIAL},
    {"64:ff9b:1::1", TURNSERVER_SPECIAL},
    /* IPv4 in IPv6 */
    {"::ffff:127.0.0.1", TURNSERVER_HIDDEN},
    {"::ffff:10.0.0.1", TURNSERVER_HIDDEN},
    {"::ffff:169.254.169.254", TURNSERVER_HIDDEN},
    {"::ffff:0.0.0.0", TURNSERVER_HIDDEN},
    {"::ffff:8.8.8.8", TURNSERVER_HIDDEN},
    {"::127.0.0.1", TURNSERVER_HIDDEN},
    {"::10.0.0.1", TURNSERVER_HIDDEN},
    {"::8.8.8.8", TURNSERVER_HIDDEN},
    {"::ffff:0:127.0.0.1", TURNSERVER_HIDDEN},
    {"64:ff9b::7f00:1", TURNSERVER_SPECIAL},
    {"64:ff9b::a00:1", TURNSERVER_SPECIAL},
    {"64:ff9b::a9fe:a9fe", TURNSERVER_SPECIAL},
    {"64:ff9b::", TURNSERVER_SPECIAL},
    {"64:ff9b::e000:1", TURNSERVER_SPECIAL},
    /* tunnels: RFC 8656 §21.4 */
    {"2002:7f00:1::", TURNSERVER_HIDDEN},
    {"2002:a00:1::1", TURNSERVER_HIDDEN},
    {"2002:808:808::1", TURNSERVER_HIDDEN},
    {"2001::1", TURNSERVER_HIDDEN},
    {"2001:0:4136:e378:8000:63bf:3fff:fdd2", TURNSERVER_HIDDEN},
    {"2001:db8::5efe:7f00:1", TURNSERVER_HIDDEN},
    {"2001:db8::200:5efe:a00:1", TURNSERVER_HIDDEN},
    {"2001:10::1", TURNSERVER_SPECIAL},
};

static void addresses_are_what_they_are_in_every_dress(void **state)
{
    struct turnserver_limits none = {.quota = 1};
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct addr a = raw(table[i].text, 9);
        enum turnserver_verdict v = turnserver_peer_class(&none, &a, NULL);
        if (v != table[i].is)
            fail_msg("%s: %d, not %d", table[i].text, v, table[i].is);
    }
}

/* The same through the protocol: 403, and nothing goes there. */
static void what_is_special_is_refused_everywhere(void **state)
{
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000);
    (void)state;
    challenge(&c);
    begin(&c, STUN_ALLOCATE);
    stunmsg_put_transport(&c.o, 17);
    stunmsg_put_family(&c.o, STUN_ADDITIONAL_ADDRESS_FAMILY, 6);
    assert_int_equal(ask(&c), 0);
    assert_int_equal(w->open, 2);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct addr a = raw(table[i].text, 9);
        bool open = table[i].is == TURNSERVER_OPEN;
        unsigned sent = w->relayed[0].sent + w->relayed[1].sent;
        if (permit(&c, &a) != (open ? 0 : 403))
            fail_msg("%s: permission", table[i].text);
        if (bind_channel(&c, (uint16_t)(0x4000 + i), &a) != (open ? 0 : 403))
            fail_msg("%s: channel", table[i].text);
        send_to(&c, &a, SV("x"));
        send_channel(&c, (uint16_t)(0x4000 + i), SV("x"));
        if (w->relayed[0].sent + w->relayed[1].sent != sent + (open ? 2 : 0))
            fail_msg("%s: sent", table[i].text);
    }
    assert_true(refused(w, STAT_TURN_FORBIDDEN) > 50);
    world_free(w);
}

static void one_bad_address_spoils_a_request(void **state)
{
    struct world *w = world_new();
    struct client c = allocated(w, "192.0.2.77", 5000);
    struct addr good = ip("203.0.113.7", 9), bad = ip("10.0.0.1", 9);
    (void)state;
    begin(&c, STUN_CREATE_PERMISSION);
    put_peer(&c, &good);
    put_peer(&c, &bad);
    assert_int_equal(ask(&c), 403);
    send_to(&c, &good, SV("x"));
    assert_int_equal(relay_of(w)->sent, 0);
    world_free(w);
}

static void our_own_addresses_are_refused(void **state)
{
    static const char *const ours[] = {"198.51.100.1", "198.51.100.2"};
    struct world *w = world_new();
    struct client c = allocated(w, "192.0.2.77", 5000);
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct addr sip = ip(ours[i], 5060), free = ip(ours[i], PORT_FIRST + 50);
        if (ports_is_live(w->ports, &free))
            free.port++;
        assert_int_equal(permit(&c, &sip), 403);
        assert_int_equal(bind_channel(&c, 0x4000, &sip), 403);
        assert_int_equal(permit(&c, &free), 403);
    }
    /* as IPv6, through a translator */
    begin(&c, STUN_REFRESH);
    stunmsg_put_u32(&c.o, STUN_LIFETIME, 0);
    assert_int_equal(ask(&c), 0);
    begin(&c, STUN_ALLOCATE);
    stunmsg_put_transport(&c.o, 17);
    stunmsg_put_family(&c.o, STUN_REQUESTED_ADDRESS_FAMILY, 6);
    assert_int_equal(ask(&c), 0);
    struct addr nat64 = raw("64:ff9b::c633:6401", 5060); /* 198.51.100.1 */
    assert_int_equal(permit(&c, &nat64), 403);
    struct addr six = ip("2001:db8:ffff::1", 5060);
    assert_int_equal(permit(&c, &six), 403);
    world_free(w);
}

static void another_clients_relayed_address_is_open_and_no_other_port_of_it(void **state)
{
    struct world *w = world_new();
    struct client a = allocated(w, "192.0.2.77", 5000);
    struct addr at_a = address_in(&w->m, STUN_XOR_RELAYED_ADDRESS);
    struct client b = allocated(w, "192.0.2.78", 5000);
    struct addr at_b = address_in(&w->m, STUN_XOR_RELAYED_ADDRESS);
    (void)state;
    assert_int_equal(permit(&a, &at_b), 0);
    assert_int_equal(bind_channel(&b, 0x4000, &at_a), 0);
    send_to(&a, &at_b, SV("over here"));
    assert_int_equal(w->relayed[0].sent, 1);
    assert_true(addr_equal(&w->relayed[0].to, &at_b));
    /* the permission is for the address; what is sent is looked at with its port */
    struct addr sip = at_b;
    sip.port = 5060;
    send_to(&a, &sip, SV("INVITE"));
    assert_int_equal(w->relayed[0].sent, 1);
    /* what it brings comes as from there */
    from_peer(w, &w->relayed[1], &at_a, SV("over here"));
    assert_int_equal(w->answer[0], 0x40);
    assert_true(addr_equal(&w->to.client, &b.tuple.client));
    /* when it is gone it is an address of ours again */
    assert_int_equal(refresh(&a, 0), 0);
    pass(w, 3 * USEC_S);
    send_channel(&b, 0x4000, SV("x"));
    assert_int_equal(w->relayed[1].sent, 0);
    world_free(w);
}

static struct addr_net net(const char *text)
{
    struct addr_net n;
    assert_int_equal(addr_net_parse(sv_of(text), &n), ERR_OK);
    return n;
}

static void peers_open_what_is_special_but_ours_only_by_name(void **state)
{
    struct world *w = world_new();
    struct client c = allocated(w, "192.0.2.77", 5000);
    struct addr lan = ip("10.0.0.1", 9), ours = ip("10.1.1.1", 9), loop = ip("127.0.0.1", 9);
    struct addr zero = ip("0.0.0.0", 9), group = ip("224.0.0.1", 9), far = ip("192.168.0.1", 9);
    (void)state;
    assert_int_equal(permit(&c, &lan), 403);
    w->limits.peers[0] = net("10.0.0.0/8");
    w->limits.peers[1] = net("127.0.0.0/8");
    w->limits.peers_n = 2;
    turnserver_core_limits(w->core, &w->limits);
    assert_int_equal(permit(&c, &lan), 0);
    assert_int_equal(permit(&c, &ours), 403); /* in an open network, but ours */
    assert_int_equal(permit(&c, &loop), 403);
    assert_int_equal(permit(&c, &far), 403);
    w->limits.peers[2] = net("10.1.1.1");
    w->limits.peers[3] = net("127.0.0.1");
    w->limits.peers[4] = net("0.0.0.0/0");
    w->limits.peers_n = 5;
    turnserver_core_limits(w->core, &w->limits);
    assert_int_equal(permit(&c, &ours), 0);
    assert_int_equal(permit(&c, &loop), 0);
    assert_int_equal(permit(&c, &far), 0);
    assert_int_equal(permit(&c, &zero), 403); /* whatever is open */
    struct addr translated = raw("64:ff9b::a00:1", 9), in;
    assert_int_equal(turnserver_peer_class(&w->limits, &translated, &in), TURNSERVER_SPECIAL);
    assert_true(addr_equal(&in, &lan));
    assert_int_equal(permit(&c, &group), 403);
    /* closed again, it carries nothing, whatever was bound */
    assert_int_equal(bind_channel(&c, 0x4001, &lan), 0);
    send_channel(&c, 0x4001, SV("x"));
    send_to(&c, &lan, SV("x"));
    assert_int_equal(relay_of(w)->sent, 2);
    w->limits.peers_n = 0;
    turnserver_core_limits(w->core, &w->limits);
    send_channel(&c, 0x4001, SV("x"));
    send_to(&c, &lan, SV("x"));
    assert_int_equal(relay_of(w)->sent, 2);
    world_free(w);
}

/* Servers that take calls from our address, which is the clients', too. */
static void who_trusts_us_is_refused_whatever_the_port(void **state)
{
    struct world *w = world_new();
    struct client c = allocated(w, "192.0.2.77", 5000);
    struct addr list[] = {ip("203.0.113.9", 5060), ip("10.0.0.1", 5060), ip("203.0.113.5", 0),
                          ip("203.0.113.9", 5061)};
    struct addr media = ip("203.0.113.5", 9), lan = ip("10.0.0.1", 9), next = ip("203.0.113.6", 9);
    struct addr translated = raw("64:ff9b::cb00:7105", 9), to; /* 203.0.113.5 */
    struct turnserver_slot six = {.of = NULL};
    (void)state;
    assert_int_equal(bind_channel(&c, 0x4001, &media), 0);
    send_channel(&c, 0x4001, SV("x"));
    send_to(&c, &media, SV("x"));
    assert_int_equal(relay_of(w)->sent, 2);
    assert_int_equal(turnserver_core_forbid(w->core, list, 4), ERR_OK);
    send_channel(&c, 0x4001, SV("x"));
    send_to(&c, &media, SV("x"));
    assert_int_equal(relay_of(w)->sent, 2); /* whatever was bound */
    assert_int_equal(permit(&c, &media), 403);
    assert_int_equal(bind_channel(&c, 0x4001, &media), 403);
    assert_int_equal(turnserver_peer_resolve(w->core, &six, &translated, &to), TURNSERVER_TRUSTS);
    assert_int_equal(permit(&c, &next), 0);
    /* an open network opens none of them; what stands there alone does */
    w->limits.peers[0] = net("10.0.0.0/8");
    w->limits.peers[1] = net("203.0.113.9");
    w->limits.peers_n = 2;
    turnserver_core_limits(w->core, &w->limits);
    assert_int_equal(permit(&c, &lan), 403);
    assert_int_equal(permit(&c, &list[0]), 0);
    /* the next ones take their place */
    assert_int_equal(turnserver_core_forbid(w->core, &next, 1), ERR_OK);
    assert_int_equal(permit(&c, &media), 0);
    assert_int_equal(permit(&c, &next), 403);
    assert_int_equal(turnserver_core_forbid(w->core, NULL, 0), ERR_OK);
    assert_int_equal(permit(&c, &next), 0);
    world_free(w);
}

static void behind_a_nat_of_ours_the_outer_address_leads_inside(void **state)
{
    struct world *w = world_new();
    w->told4 = ip("203.0.113.200", 0);
    struct client a = allocated(w, "192.0.2.77", 5000);
    struct addr at_a = address_in(&w->m, STUN_XOR_RELAYED_ADDRESS);
    struct client b = allocated(w, "192.0.2.78", 5000);
    struct addr at_b = address_in(&w->m, STUN_XOR_RELAYED_ADDRESS);
    (void)state;
    struct addr bare = at_a;
    bare.port = 0;
    assert_true(addr_equal(&bare, &w->told4));
    assert_int_equal(permit(&a, &at_b), 0);
    assert_int_equal(permit(&b, &at_a), 0);
    send_to(&a, &at_b, SV("x"));
    struct addr inner = ip("198.51.100.1", at_b.port);
    assert_true(addr_equal(&w->relayed[0].to, &inner));
    struct addr from = ip("198.51.100.1", at_a.port);
    from_peer(w, &w->relayed[1], &from, SV("x"));
    struct addr seen = address_in(&w->m, STUN_XOR_PEER_ADDRESS);
    assert_true(addr_equal(&seen, &at_a));
    struct addr sip = w->told4;
    sip.port = 5060;
    assert_int_equal(permit(&a, &sip), 403);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_what_they_are_in_every_dress),
        cmocka_unit_test(what_is_special_is_refused_everywhere),
        cmocka_unit_test(one_bad_address_spoils_a_request),
        cmocka_unit_test(our_own_addresses_are_refused),
        cmocka_unit_test(another_clients_relayed_address_is_open_and_no_other_port_of_it),
        cmocka_unit_test(peers_open_what_is_special_but_ours_only_by_name),
        cmocka_unit_test(who_trusts_us_is_refused_whatever_the_port),
        cmocka_unit_test(behind_a_nat_of_ours_the_outer_address_leads_inside),
    };
    return cmocka_run_group_tests(tests, world_start, NULL);
}
