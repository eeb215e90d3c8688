/* SPDX-License-Identifier: MIT */
/* turnserver_test.c: allocations, permissions, channels and data of RFC 8656, in virtual time. */
#include "turn_world.h"

#define PEER ip("203.0.113.7", 40000)

/* ---- Allocate (§7) ---- */

static void an_allocation_is_an_address_a_lifetime_and_ones_own_address(void **state)
{
    struct world *w = world_new();
    struct client c = allocated(w, "192.0.2.77", 5000);
    struct addr relayed = address_in(&w->m, STUN_XOR_RELAYED_ADDRESS);
    struct addr mapped = address_in(&w->m, STUN_XOR_MAPPED_ADDRESS), bound = ip("198.51.100.1", 0);
    (void)state;
    assert_true(addr_equal_ip(&relayed, &bound));
    assert_in_range(relayed.port, PORT_FIRST, PORT_LAST);
    assert_true(addr_equal(&mapped, &c.tuple.client));
    assert_int_equal(lifetime_in(&w->m), 600);
    assert_int_equal(stat_get(&w->stats, STAT_TURN_ALLOCATIONS), 1);
    struct addr here = ip("198.51.100.1", relayed.port);
    assert_true(ports_is_live(w->ports, &here));
    world_free(w);
}

static void a_repeated_allocate_has_the_same_answer(void **state)
{
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000);
    (void)state;
    challenge(&c);
    begin(&c, STUN_ALLOCATE);
    stunmsg_put_transport(&c.o, 17);
    stunmsg_put_even_port(&c.o, true);
    sign(&c);
    deliver(&c);
    struct addr first = address_in(&w->m, STUN_XOR_RELAYED_ADDRESS);
    struct stun_attr token;
    uint64_t value, again;
    assert_true(stunmsg_find(&w->m, STUN_RESERVATION_TOKEN, &token));
    assert_int_equal(stunmsg_u64(token.value, &value), ERR_OK);
    pass(w, USEC_S);
    deliver(&c);
    struct addr second = address_in(&w->m, STUN_XOR_RELAYED_ADDRESS);
    assert_true(addr_equal(&first, &second));
    assert_true(stunmsg_find(&w->m, STUN_RESERVATION_TOKEN, &token));
    assert_int_equal(stunmsg_u64(token.value, &again), ERR_OK);
    assert_true(value == again);
    assert_int_equal(w->opened, 1);
    assert_int_equal(lifetime_in(&w->m), 599);
    world_free(w);
}

static void a_second_allocation_of_a_five_tuple_is_a_mismatch(void **state)
{
    struct world *w = world_new();
    struct client c = allocated(w, "192.0.2.77", 5000), other = c;
    (void)state;
    assert_int_equal(allocate(&c), 437);
    /* another port, another transport, another address of ours: another 5-tuple */
    other.tuple.client.port = 5001;
    assert_int_equal(allocate(&other), 0);
    other.tuple.transport = TURNSERVER_TCP;
    assert_int_equal(allocate(&other), 0);
    other.tuple.server.port = 443;
    assert_int_equal(allocate(&other), 0);
    assert_int_equal(w->open, 4);
    world_free(w);
}

static int ask_for(struct client *c, int transport, int family, int more, int even, bool token)
{
    begin(c, STUN_ALLOCATE);
    if (transport >= 0)
        stunmsg_put_transport(&c->o, (uint8_t)transport);
    if (family == 9)
        stunmsg_put(&c->o, STUN_REQUESTED_ADDRESS_FAMILY, SV("\x09\0\0"));
    else if (family >= 0)
        stunmsg_put_family(&c->o, STUN_REQUESTED_ADDRESS_FAMILY, (uint8_t)family);
    if (more >= 0)
        stunmsg_put_family(&c->o, STUN_ADDITIONAL_ADDRESS_FAMILY, (uint8_t)more);
    if (even >= 0)
        stunmsg_put_even_port(&c->o, even == 1);
    if (token)
        stunmsg_put_u64(&c->o, STUN_RESERVATION_TOKEN, 4711);
    return ask(c);
}

static void what_an_allocate_asks_for_is_checked_in_order(void **state)
{
    static const struct {
        int transport, family, more, even, code;
        bool token;
    } cases[] = {
        {-1, -1, -1, -1, 400, false}, /* step 3 */
        {1, -1, -1, -1, 442, false},  /* neither UDP nor TCP */
        {6, -1, -1, -1, 442, false},  /* TCP, which this machine was not given */
        {17, 4, -1, -1, 400, true},   /* step 5: with a token nothing else is asked for */
        {17, -1, 6, -1, 400, true},   {17, -1, -1, 0, 400, true},
        {17, -1, -1, -1, 508, true}, /* nobody's token */
        {17, 4, 6, -1, 400, false},  /* step 6 */
        {17, -1, 6, 1, 400, false},  /* step 8 */
        {17, -1, 4, -1, 400, false}, /* step 9 */
        {17, 9, -1, -1, 400, false}, /* of three octets */
    };
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000);
    (void)state;
    challenge(&c);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int code = ask_for(&c, cases[i].transport, cases[i].family, cases[i].more, cases[i].even,
                           cases[i].token);
        if (code != cases[i].code)
            fail_msg("case %zu: %d, not %d", i, code, cases[i].code);
    }
    begin(&c, STUN_ALLOCATE);
    stunmsg_put_transport(&c.o, 17);
    stunmsg_put(&c.o, STUN_REQUESTED_ADDRESS_FAMILY, (sv){"\x09\0\0\0", 4});
    assert_int_equal(ask(&c), 440);
    assert_int_equal(w->opened, 0);
    assert_int_equal(ports_taken(w->ports), 0);
    assert_int_equal(turnserver_core_allocations(w->core), 0);
    world_free(w);
}

static void what_is_unknown_is_named(void **state)
{
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000);
    struct stun_attr a;
    uint16_t type;
    (void)state;
    challenge(&c);
    begin(&c, STUN_ALLOCATE);
    stunmsg_put_transport(&c.o, 17);
    stunmsg_put_flag(&c.o, STUN_DONT_FRAGMENT); /* we set no such bit, and say so (step 4) */
    stunmsg_put_u32(&c.o, 0x0021, 1);           /* reserved; was TIMER-VAL */
    stunmsg_put_u32(&c.o, 0xc001, 1);           /* optional */
    assert_int_equal(ask(&c), 420);
    assert_true(stunmsg_find(&w->m, STUN_UNKNOWN_ATTRIBUTES, &a));
    assert_true(stunmsg_unknown_at(a.value, 0, &type));
    assert_int_equal(type, STUN_DONT_FRAGMENT);
    assert_true(stunmsg_unknown_at(a.value, 1, &type));
    assert_int_equal(type, 0x0021);
    assert_false(stunmsg_unknown_at(a.value, 2, &type));
    assert_int_equal(refused(w, STAT_TURN_UNKNOWN_ATTRIBUTE), 1);
    world_free(w);
}

static void both_families_come_together(void **state)
{
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000);
    struct addr peer4 = PEER, peer6 = ip("2001:db8::7", 9);
    (void)state;
    challenge(&c);
    assert_int_equal(ask_for(&c, 17, -1, 6, -1, false), 0);
    assert_int_equal(w->open, 2);
    unsigned found = 0;
    struct stun_walk walk = {0};
    for (struct stun_attr a; stunmsg_next(&w->m, &walk, &a);)
        found += a.type == STUN_XOR_RELAYED_ADDRESS;
    assert_int_equal(found, 2);
    assert_false(stunmsg_has(&w->m, STUN_ADDRESS_ERROR_CODE));
    assert_int_equal(permit(&c, &peer4), 0);
    assert_int_equal(permit(&c, &peer6), 0);
    assert_int_equal(bind_channel(&c, 0x4000, &peer4), 0);
    assert_int_equal(bind_channel(&c, 0x4001, &peer6), 0);
    send_channel(&c, 0x4000, SV("four"));
    send_channel(&c, 0x4001, SV("six"));
    assert_int_equal(w->relayed[0].sent, 1);
    assert_int_equal(w->relayed[1].sent, 1);
    /* one of them goes, with what is its own (§8.1) */
    begin(&c, STUN_REFRESH);
    stunmsg_put_u32(&c.o, STUN_LIFETIME, 0);
    stunmsg_put_family(&c.o, STUN_REQUESTED_ADDRESS_FAMILY, 4);
    assert_int_equal(ask(&c), 0);
    assert_int_equal(w->open, 1);
    send_channel(&c, 0x4000, SV("four"));
    send_channel(&c, 0x4001, SV("six"));
    assert_int_equal(w->relayed[1].sent, 2);
    assert_int_equal(permit(&c, &peer4), 443);
    begin(&c, STUN_REFRESH);
    stunmsg_put_family(&c.o, STUN_REQUESTED_ADDRESS_FAMILY, 4);
    assert_int_equal(ask(&c), 443);
    assert_int_equal(refresh(&c, 0), 0);
    assert_int_equal(w->open, 0);
    assert_int_equal(refresh(&c, 0), 437);
    world_free(w);
}

static void one_family_of_two_is_enough_and_the_others_refusal_is_told(void **state)
{
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000);
    struct stun_attr a;
    uint8_t family;
    unsigned code;
    sv reason;
    (void)state;
    w->no_ipv6 = true;
    challenge(&c);
    assert_int_equal(ask_for(&c, 17, 6, -1, -1, false), 440);
    assert_int_equal(ask_for(&c, 17, -1, 6, -1, false), 0);
    assert_true(stunmsg_find(&w->m, STUN_ADDRESS_ERROR_CODE, &a));
    assert_int_equal(stunmsg_address_error(a.value, &family, &code, &reason), ERR_OK);
    assert_int_equal(family, 6);
    assert_int_equal(code, 440);
    deliver(&c); /* and again to a repetition */
    assert_true(stunmsg_has(&w->m, STUN_ADDRESS_ERROR_CODE));
    struct addr peer6 = ip("2001:db8::7", 9);
    assert_int_equal(permit(&c, &peer6), 443);
    assert_int_equal(bind_channel(&c, 0x4000, &peer6), 443);
    world_free(w);
}

static void a_client_on_ipv6_gets_ipv4_unless_it_asks(void **state)
{
    struct world *w = world_new();
    struct client c = allocated(w, "2001:db8::77", 5000);
    (void)state;
    assert_int_equal(address_in(&w->m, STUN_XOR_RELAYED_ADDRESS).family, 4);
    assert_int_equal(address_in(&w->m, STUN_XOR_MAPPED_ADDRESS).family, 6);
    c.tuple.client.port++;
    assert_int_equal(ask_for(&c, 17, 6, -1, -1, false), 0);
    assert_int_equal(address_in(&w->m, STUN_XOR_RELAYED_ADDRESS).family, 6);
    world_free(w);
}

static uint64_t token_in(const struct stunmsg *m)
{
    struct stun_attr a;
    uint64_t token;
    assert_true(stunmsg_find(m, STUN_RESERVATION_TOKEN, &a));
    assert_int_equal(stunmsg_u64(a.value, &token), ERR_OK);
    return token;
}

static int claim(struct client *c, uint64_t token)
{
    begin(c, STUN_ALLOCATE);
    stunmsg_put_transport(&c->o, 17);
    stunmsg_put_u64(&c->o, STUN_RESERVATION_TOKEN, token);
    return ask(c);
}

static void an_even_port_and_the_next_for_who_has_the_token(void **state)
{
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000), rtcp;
    (void)state;
    challenge(&c);
    assert_int_equal(ask_for(&c, 17, -1, -1, 0, false), 0);
    assert_int_equal(address_in(&w->m, STUN_XOR_RELAYED_ADDRESS).port % 2, 0);
    assert_false(stunmsg_has(&w->m, STUN_RESERVATION_TOKEN));
    c.tuple.client.port++;
    assert_int_equal(ask_for(&c, 17, -1, -1, 1, false), 0);
    uint16_t even = address_in(&w->m, STUN_XOR_RELAYED_ADDRESS).port;
    uint64_t token = token_in(&w->m);
    assert_int_equal(even % 2, 0);
    rtcp = c;
    rtcp.tuple.client.port++;
    assert_int_equal(claim(&rtcp, token), 0);
    assert_int_equal(address_in(&w->m, STUN_XOR_RELAYED_ADDRESS).port, even + 1);
    rtcp.tuple.client.port++;
    assert_int_equal(claim(&rtcp, token), 508); /* once */
    /* it waits for 30 seconds, and then it is anybody's */
    rtcp.tuple.client.port++;
    assert_int_equal(ask_for(&rtcp, 17, -1, -1, 1, false), 0);
    token = token_in(&w->m);
    unsigned taken = ports_taken(w->ports);
    pass(w, TURNSERVER_RESERVED_LIFE);
    rtcp.tuple.client.port++;
    assert_int_equal(claim(&rtcp, token), 508);
    assert_int_equal(ask_for(&rtcp, 17, -1, -1, -1, false), 0);
    assert_int_equal(ports_taken(w->ports), taken); /* the old one was given back */
    world_free(w);
}

static void a_port_that_another_program_has_is_passed_over(void **state)
{
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000);
    (void)state;
    challenge(&c);
    w->taken = 3;
    assert_int_equal(allocate(&c), 0);
    assert_int_equal(ports_taken(w->ports), 1);
    c.tuple.client.port++;
    w->taken = 1000;
    assert_int_equal(allocate(&c), 508);
    assert_int_equal(ports_taken(w->ports), 1);
    world_free(w);
}

/* ---- lifetimes (§7.2, §8) ---- */

static int allocate_for(struct client *c, uint32_t seconds)
{
    begin(c, STUN_ALLOCATE);
    stunmsg_put_transport(&c->o, 17);
    stunmsg_put_u32(&c->o, STUN_LIFETIME, seconds);
    return ask(c);
}

static void lifetimes_have_a_floor_and_a_ceiling(void **state)
{
    static const uint32_t asked[] = {0, 1, 599, 600, 601, 1800, 3600, 3601, 86400, UINT32_MAX};
    static const uint32_t given[] = {600, 600, 600, 600, 601, 1800, 3600, 3600, 3600, 3600};
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000);
    (void)state;
    challenge(&c);
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        assert_int_equal(allocate_for(&c, asked[i]), 0);
        assert_int_equal(lifetime_in(&w->m), given[i]);
        assert_int_equal(refresh(&c, asked[i]), 0);
        assert_int_equal(lifetime_in(&w->m), asked[i] ? given[i] : 0);
        c.tuple.client.port += asked[i] != 0;
        if (i == 8)
            assert_int_equal(refresh(&c, 0), 437);
    }
    world_free(w);
}

static void an_allocation_ends_with_its_time_and_a_refresh_gives_it_more(void **state)
{
    struct world *w = world_new();
    struct client c = allocated(w, "192.0.2.77", 5000);
    (void)state;
    pass(w, 599 * USEC_S);
    assert_int_equal(w->open, 1);
    assert_int_equal(refresh(&c, 900), 0);
    assert_int_equal(lifetime_in(&w->m), 900);
    pass(w, 899 * USEC_S);
    assert_int_equal(w->open, 1);
    pass(w, 2 * USEC_S);
    assert_int_equal(w->open, 0);
    assert_int_equal(ports_taken(w->ports), 0);
    struct addr peer = PEER;
    assert_int_equal(refresh(&c, 900), 437);
    assert_int_equal(permit(&c, &peer), 437);
    assert_int_equal(bind_channel(&c, 0x4000, &peer), 437);
    assert_int_equal(refused(w, STAT_TURN_MISMATCH), 3);
    world_free(w);
}

static void one_that_ends_gives_all_back(void **state)
{
    struct world *w = world_new();
    (void)state;
    for (uint16_t i = 0; i < 200; i++) {
        struct client c = allocated(w, "192.0.2.77", (uint16_t)(5000 + i));
        pass(w, USEC_S); /* the challenges of a source are rationed */
        assert_int_equal(refresh(&c, 0), 0);
        assert_int_equal(lifetime_in(&w->m), 0);
        assert_int_equal(w->open, 0);
    }
    /* a client whose connection ends */
    struct client c = client_at(w, "192.0.2.77", 5000);
    c.tuple.transport = TURNSERVER_TCP;
    challenge(&c);
    assert_int_equal(allocate(&c), 0);
    turnserver_core_gone(w->core, &c.tuple);
    assert_int_equal(w->open, 0);
    turnserver_core_gone(w->core, &c.tuple);
    world_free(w);
}

/* ---- caps ---- */

static void an_account_has_its_quota(void **state)
{
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000), b = client_at(w, "192.0.2.78", 5000);
    (void)state;
    w->limits.quota = 3;
    turnserver_core_limits(w->core, &w->limits);
    challenge(&c);
    for (int i = 0; i < 3; i++, c.tuple.client.port++)
        assert_int_equal(allocate(&c), 0);
    assert_int_equal(allocate(&c), 486);
    assert_int_equal(refused(w, STAT_TURN_QUOTA), 1);
    /* whatever name it was given meanwhile: the account counts */
    login(&c, ACCOUNT, 1800);
    assert_int_equal(allocate(&c), 486);
    login(&b, SV("bob@example.test"), 60);
    challenge(&b);
    assert_int_equal(allocate(&b), 0);
    /* one that ends makes room */
    login(&c, ACCOUNT, 3600);
    c.tuple.client.port = 5000;
    assert_int_equal(refresh(&c, 0), 0);
    assert_int_equal(allocate(&c), 0);
    world_free(w);
}

/* Against a model: accounts come and go in any order, and none pays for another. */
static void quotas_of_many_accounts_do_not_mix(void **state)
{
    enum { ACCOUNTS = 40, QUOTA = 2 };
    struct world *w = world_new();
    struct client c[ACCOUNTS][QUOTA + 1];
    bool has[ACCOUNTS][QUOTA + 1] = {{false}};
    (void)state;
    w->limits.quota = QUOTA;
    turnserver_core_limits(w->core, &w->limits);
    for (int i = 0; i < ACCOUNTS; i++) {
        char name[32];
        struct buf b;
        buf_init(&b, name, sizeof(name));
        buf_printf(&b, "user%d@example.test", i);
        for (int k = 0; k <= QUOTA; k++) {
            c[i][k] = client_at(w, "192.0.2.77", (uint16_t)(5000 + 10 * i + k));
            login(&c[i][k], buf_sv(&b), 3600);
            challenge(&c[i][k]);
            pass(w, 100 * USEC_MS);
        }
    }
    for (unsigned step = 0; step < 4000; step++) {
        uint32_t v;
        world_chance(w, &v, sizeof(v));
        unsigned i = v % ACCOUNTS, k = v / ACCOUNTS % (QUOTA + 1), mine = 0, all = 0;
        for (unsigned x = 0; x < ACCOUNTS; x++)
            for (unsigned y = 0; y <= QUOTA; y++) {
                mine += x == i && has[x][y];
                all += has[x][y];
            }
        if (has[i][k]) {
            assert_int_equal(refresh(&c[i][k], 0), 0);
            has[i][k] = false;
        } else {
            int want = mine == QUOTA ? 486 : all == 50 ? 508 : 0;
            assert_int_equal(allocate(&c[i][k]), want);
            has[i][k] = want == 0;
        }
    }
    world_free(w);
}

static void half_of_the_ports_is_for_calls(void **state)
{
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000);
    (void)state;
    w->limits.quota = 1000;
    turnserver_core_limits(w->core, &w->limits);
    challenge(&c);
    for (int i = 0; i < (PORT_LAST - PORT_FIRST + 1) / 2; i++, c.tuple.client.port++)
        assert_int_equal(allocate(&c), 0);
    assert_int_equal(allocate(&c), 508);
    assert_int_equal(refused(w, STAT_TURN_CAPACITY), 1);
    world_free(w);
}

static void permissions_and_channels_have_a_cap(void **state)
{
    struct world *w = world_new();
    struct client c = allocated(w, "192.0.2.77", 5000);
    (void)state;
    struct addr peer = ip("203.0.113.0", 9);
    for (int i = 0; i < TURNSERVER_PERMISSIONS_MAX; i++, peer.ip[3]++)
        assert_int_equal(permit(&c, &peer), 0);
    assert_int_equal(permit(&c, &peer), 508);
    peer.ip[3] = 0;
    assert_int_equal(permit(&c, &peer), 0); /* one that is there is refreshed */
    for (int i = 0; i < TURNSERVER_CHANNELS_MAX; i++, peer.port++)
        assert_int_equal(bind_channel(&c, (uint16_t)(0x4000 + i), &peer), 0);
    assert_int_equal(bind_channel(&c, 0x4fff, &peer), 508);
    peer.port = 9;
    assert_int_equal(bind_channel(&c, 0x4000, &peer), 0);
    /* what has passed makes room */
    pass(w, TURNSERVER_PERMISSION_LIFE);
    peer = ip("192.0.2.200", 9);
    assert_int_equal(permit(&c, &peer), 0);
    assert_int_equal(refresh(&c, 3600), 0);
    pass(w, TURNSERVER_CHANNEL_LIFE);
    assert_int_equal(bind_channel(&c, 0x4fff, &peer), 0);
    world_free(w);
}

/* ---- permissions (§9, §10) ---- */

static void who_is_not_permitted_is_not_heard_and_not_reached(void **state)
{
    struct world *w = world_new();
    struct client c = allocated(w, "192.0.2.77", 5000);
    struct addr peer = PEER, port = PEER, other = ip("203.0.113.8", 40000);
    struct relayed *x = relay_of(w);
    (void)state;
    port.port = 41000;
    unsigned before = w->answers;
    from_peer(w, x, &peer, SV("early"));
    send_to(&c, &peer, SV("early"));
    assert_int_equal(w->answers, before);
    assert_int_equal(x->sent, 0);
    assert_int_equal(refused(w, STAT_TURN_NO_PERMISSION), 2);
    assert_int_equal(permit(&c, &peer), 0);
    from_peer(w, x, &port, SV("from any port of it"));
    assert_int_equal(w->m.method, STUN_DATA_INDICATION);
    assert_int_equal(w->m.class, STUN_INDICATION);
    struct addr seen = address_in(&w->m, STUN_XOR_PEER_ADDRESS);
    assert_true(addr_equal(&seen, &port));
    struct stun_attr data;
    assert_true(stunmsg_find(&w->m, STUN_DATA, &data));
    assert_true(sv_eq(data.value, SV("from any port of it")));
    send_to(&c, &port, SV("hello"));
    assert_int_equal(x->sent, 1);
    assert_true(addr_equal(&x->to, &port));
    assert_memory_equal(x->octets, "hello", 5);
    assert_int_equal(stat_get(&w->stats, STAT_TURN_RELAYED), 19 + 5);
    before = w->answers;
    from_peer(w, x, &other, SV("x"));
    assert_int_equal(w->answers, before);
    world_free(w);
}

static void a_permission_lasts_five_minutes_and_data_does_not_renew_it(void **state)
{
    struct world *w = world_new();
    struct client c = allocated(w, "192.0.2.77", 5000);
    struct addr peer = PEER;
    struct relayed *x = relay_of(w);
    (void)state;
    assert_int_equal(permit(&c, &peer), 0);
    pass(w, 299 * USEC_S);
    send_to(&c, &peer, SV("x"));
    from_peer(w, x, &peer, SV("x"));
    assert_int_equal(x->sent, 1);
    pass(w, USEC_S);
    unsigned before = w->answers;
    send_to(&c, &peer, SV("x"));
    from_peer(w, x, &peer, SV("x"));
    assert_int_equal(x->sent, 1);
    assert_int_equal(w->answers, before);
    /* a channel renews it as well as another request */
    assert_int_equal(bind_channel(&c, 0x4000, &peer), 0);
    pass(w, 200 * USEC_S);
    assert_int_equal(permit(&c, &peer), 0);
    assert_int_equal(refresh(&c, 600), 0);
    pass(w, 299 * USEC_S);
    send_to(&c, &peer, SV("x"));
    assert_int_equal(x->sent, 2);
    world_free(w);
}

static void requests_for_peers_are_checked(void **state)
{
    struct world *w = world_new();
    struct client c = allocated(w, "192.0.2.77", 5000);
    struct addr peer = PEER, nowhere = ip("203.0.113.7", 0);
    (void)state;
    begin(&c, STUN_CREATE_PERMISSION);
    assert_int_equal(ask(&c), 400); /* none */
    begin(&c, STUN_CREATE_PERMISSION);
    stunmsg_put(&c.o, STUN_XOR_PEER_ADDRESS, (sv){"\0\1\0", 3});
    assert_int_equal(ask(&c), 400);
    begin(&c, STUN_CREATE_PERMISSION);
    put_peer(&c, &peer);
    stunmsg_put(&c.o, STUN_XOR_PEER_ADDRESS, (sv){"\0\1\0\0", 4});
    assert_int_equal(ask(&c), 400); /* one bad one spoils it */
    begin(&c, STUN_CREATE_PERMISSION);
    stunmsg_put(&c.o, STUN_XOR_PEER_ADDRESS, (sv){"\0\7\0\0\0\0\0\0", 8});
    assert_int_equal(ask(&c), 443);
    begin(&c, STUN_CHANNEL_BIND);
    put_peer(&c, &peer);
    assert_int_equal(ask(&c), 400); /* no number */
    begin(&c, STUN_CHANNEL_BIND);
    stunmsg_put_channel(&c.o, 0x4000);
    assert_int_equal(ask(&c), 400); /* no peer */
    static const uint16_t bad[] = {0, 0x3fff, 0x5000, 0x7fff, 0xffff};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(bind_channel(&c, bad[i], &peer), 400);
    assert_int_equal(bind_channel(&c, 0x4000, &nowhere), 400);
    assert_int_equal(bind_channel(&c, 0x4fff, &peer), 0);
    begin(&c, STUN_REFRESH);
    stunmsg_put(&c.o, STUN_LIFETIME, SV("odd"));
    assert_int_equal(ask(&c), 400);
    world_free(w);
}

/* ---- channels (§12) ---- */

static void a_channel_carries_both_ways(void **state)
{
    struct world *w = world_new();
    struct client c = allocated(w, "192.0.2.77", 5000);
    struct addr peer = PEER, port = PEER;
    struct relayed *x = relay_of(w);
    (void)state;
    port.port++;
    assert_int_equal(bind_channel(&c, 0x4abc, &peer), 0);
    send_channel(&c, 0x4abc, SV("sound"));
    assert_true(addr_equal(&x->to, &peer));
    assert_int_equal(x->n, 5);
    send_channel(&c, 0x4abc, SV("")); /* §12.6: an empty datagram is one */
    assert_int_equal(x->sent, 2);
    assert_int_equal(x->n, 0);
    from_peer(w, x, &peer, SV("sound"));
    assert_true(sv_eq(answer_of(w), (sv){"\x4a\xbc\0\5sound", 9})); /* UDP: no padding */
    from_peer(w, x, &port,
              SV("x")); /* the permission is for all of its ports, the channel for one */
    assert_int_equal(w->m.method, STUN_DATA_INDICATION);
    unsigned sent = x->sent;
    send_channel(&c, 0x4abd, SV("x"));
    assert_int_equal(x->sent, sent);
    assert_int_equal(refused(w, STAT_TURN_NO_CHANNEL), 1);
    world_free(w);
}

static void a_channel_of_a_stream_is_padded(void **state)
{
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000);
    struct addr peer = PEER;
    (void)state;
    c.tuple.transport = TURNSERVER_TLS;
    challenge(&c);
    assert_int_equal(allocate(&c), 0);
    assert_int_equal(bind_channel(&c, 0x4000, &peer), 0);
    from_peer(w, relay_of(w), &peer, SV("sound"));
    assert_true(sv_eq(answer_of(w), (sv){"\x40\0\0\5sound\0\0\0", 12}));
    from_peer(w, relay_of(w), &peer, SV("four"));
    assert_int_equal(w->answer_n, 8);
    world_free(w);
}

static void a_channel_is_one_number_and_one_peer(void **state)
{
    struct world *w = world_new();
    struct client c = allocated(w, "192.0.2.77", 5000);
    struct addr peer = PEER, other = ip("203.0.113.8", 9);
    (void)state;
    assert_int_equal(bind_channel(&c, 0x4000, &peer), 0);
    assert_int_equal(bind_channel(&c, 0x4000, &other), 400);
    assert_int_equal(bind_channel(&c, 0x4001, &peer), 400);
    assert_int_equal(bind_channel(&c, 0x4000, &peer), 0); /* as new */
    /* it lasts ten minutes; the permission of its peer half of that */
    assert_int_equal(refresh(&c, 3600), 0);
    pass(w, 599 * USEC_S);
    send_channel(&c, 0x4000, SV("x"));
    assert_int_equal(relay_of(w)->sent, 1);
    unsigned before = w->answers;
    from_peer(w, relay_of(w), &peer, SV("x"));
    assert_int_equal(w->answers, before);
    pass(w, USEC_S);
    send_channel(&c, 0x4000, SV("x"));
    assert_int_equal(relay_of(w)->sent, 1);
    assert_int_equal(bind_channel(&c, 0x4000, &other), 0);
    world_free(w);
}

static void broken_data_is_dropped(void **state)
{
    struct world *w = world_new();
    struct client c = allocated(w, "192.0.2.77", 5000);
    struct addr peer = PEER;
    (void)state;
    assert_int_equal(bind_channel(&c, 0x4000, &peer), 0);
    static const sv broken[] = {
        {"\x40\0\0\5four", 8},                                  /* shorter than it says (§12.6) */
        {"\x40\0\0", 3},       {"\x40", 1}, {"\x50\0\0\1x", 5}, /* reserved */
        {"\x80\0\0\1x", 5},                                     /* RTP */
        {"\x16\xfe\xff\0", 4}, {"", 0},
    };
    unsigned before = w->answers;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        turnserver_core_receive(w->core, &c.tuple, broken[i], w->now, w->wall);
    begin_indication(&c, STUN_SEND); /* no peer */
    stunmsg_put(&c.o, STUN_DATA, SV("x"));
    deliver(&c);
    begin_indication(&c, STUN_SEND); /* no data */
    put_peer(&c, &peer);
    deliver(&c);
    begin_indication(&c, STUN_SEND);
    put_peer(&c, &peer);
    stunmsg_put(&c.o, STUN_DATA, SV("x"));
    stunmsg_put_flag(&c.o, STUN_DONT_FRAGMENT); /* §11.2: we cannot */
    deliver(&c);
    begin_indication(&c, STUN_DATA_INDICATION); /* of servers */
    put_peer(&c, &peer);
    stunmsg_put(&c.o, STUN_DATA, SV("x"));
    deliver(&c);
    assert_int_equal(relay_of(w)->sent, 0);
    assert_int_equal(w->answers, before);
    /* more than it says is fine over UDP */
    turnserver_core_receive(w->core, &c.tuple, (sv){"\x40\0\0\1x\0\0\0", 8}, w->now, w->wall);
    assert_int_equal(relay_of(w)->sent, 1);
    assert_int_equal(relay_of(w)->n, 1);
    send_to(&c, &peer, SV("")); /* an empty DATA is one (§11.2) */
    assert_int_equal(relay_of(w)->sent, 2);
    /* of strangers nothing moves */
    struct client stranger = client_at(w, "192.0.2.99", 5000);
    send_channel(&stranger, 0x4000, SV("x"));
    send_to(&stranger, &peer, SV("x"));
    assert_int_equal(relay_of(w)->sent, 2);
    world_free(w);
}

static void what_the_network_refuses_is_told(void **state)
{
    struct world *w = world_new();
    struct client c = allocated(w, "192.0.2.77", 5000);
    struct addr peer = PEER, other = ip("203.0.113.8", 9);
    struct relayed *x = relay_of(w);
    struct stun_attr a;
    struct stun_icmp icmp;
    (void)state;
    assert_int_equal(bind_channel(&c, 0x4000, &peer), 0);
    turnserver_core_refused(w->core, x->relay, &peer, ERR_REFUSED, w->now);
    assert_int_equal(w->m.method, STUN_DATA_INDICATION); /* §12.5: although there is a channel */
    struct addr seen = address_in(&w->m, STUN_XOR_PEER_ADDRESS);
    assert_true(addr_equal(&seen, &peer));
    assert_true(stunmsg_find(&w->m, STUN_ICMP, &a));
    assert_int_equal(stunmsg_icmp(a.value, &icmp), ERR_OK);
    assert_int_equal(icmp.type, 3);
    assert_int_equal(icmp.code, 3);
    assert_false(stunmsg_has(&w->m, STUN_DATA));
    unsigned before = w->answers;
    turnserver_core_refused(w->core, x->relay, &other, ERR_REFUSED, w->now); /* no permission */
    turnserver_core_refused(w->core, x->relay, &peer, ERR_IO, w->now);
    assert_int_equal(w->answers, before);
    world_free(w);
}

/* ---- as a STUN server ---- */

static void a_binding_is_answered_as_by_any_stun_server(void **state)
{
    struct world *w = world_new();
    struct client c = client_at(w, "192.0.2.77", 5000);
    (void)state;
    c.sign = UNSIGNED;
    begin(&c, STUN_BINDING);
    stunmsg_put_fingerprint(&c.o);
    assert_int_equal(ask(&c), 0);
    struct addr seen = address_in(&w->m, STUN_XOR_MAPPED_ADDRESS);
    assert_true(addr_equal(&seen, &c.tuple.client));
    assert_true(w->m.fingerprint);
    unsigned before = w->answers;
    begin_indication(&c, STUN_BINDING); /* a keep-alive */
    deliver(&c);
    begin(&c, 0x0ee);
    deliver(&c);
    assert_int_equal(w->answers, before);
    world_free(w);
}

/* ---- framing ---- */

static void a_stream_is_cut_into_messages(void **state)
{
    sv m;
    size_t whole;
    char octets[64] = {0};
    (void)state;
    octets[3] = 8; /* STUN with 8 octets of attributes */
    for (size_t n = 0; n < 28; n++)
        assert_int_equal(turnserver_frame((sv){octets, n}, &m, &whole), ERR_MORE);
    assert_int_equal(turnserver_frame((sv){octets, 40}, &m, &whole), ERR_OK);
    assert_int_equal(m.n, 28);
    assert_int_equal(whole, 28);
    octets[3] = 7; /* no length of STUN */
    assert_int_equal(turnserver_frame((sv){octets, 40}, &m, &whole), ERR_SYNTAX);
    octets[0] = 0x4f;
    octets[3] = 5;
    for (size_t n = 0; n < 12; n++)
        assert_int_equal(turnserver_frame((sv){octets, n}, &m, &whole), ERR_MORE);
    assert_int_equal(turnserver_frame((sv){octets, 12}, &m, &whole), ERR_OK);
    assert_int_equal(m.n, 9);
    assert_int_equal(whole, 12);
    octets[3] = 0;
    assert_int_equal(turnserver_frame((sv){octets, 4}, &m, &whole), ERR_OK);
    assert_int_equal(m.n, 4);
    octets[2] = octets[3] = (char)0xff;
    assert_int_equal(turnserver_frame((sv){octets, 64}, &m, &whole), ERR_MORE);
    for (int first = 0x50; first < 0x100; first++) {
        octets[0] = (char)first;
        assert_int_equal(turnserver_frame((sv){octets, 1}, &m, &whole), ERR_SYNTAX);
    }
}

static void uris_are_those_of_rfc_7065(void **state)
{
    char mem[128];
    struct buf b;
    (void)state;
    buf_init(&b, mem, sizeof(mem));
    turnserver_put_uri(&b, TURNSERVER_UDP, SV("192.0.2.1"), 3478);
    assert_true(sv_eq(buf_sv(&b), SV("turn:192.0.2.1:3478?transport=udp")));
    buf_reset(&b);
    turnserver_put_uri(&b, TURNSERVER_TCP, SV("[2001:db8::1]"), 3478);
    assert_true(sv_eq(buf_sv(&b), SV("turn:[2001:db8::1]:3478?transport=tcp")));
    buf_reset(&b);
    turnserver_put_uri(&b, TURNSERVER_TLS, SV("example.test"), 5349);
    assert_true(sv_eq(buf_sv(&b), SV("turns:example.test:5349?transport=tcp")));
}

static void without_memory_nothing_is_kept(void **state)
{
    (void)state;
    for (size_t fail = 1;; fail++) {
        struct world *w = world_new();
        struct client c = client_at(w, "192.0.2.77", 5000);
        struct addr peer = PEER;
        challenge(&c);
        mem_fail_after(fail);
        int a = allocate(&c), p = a ? 437 : permit(&c, &peer), b = bind_channel(&c, 0x4000, &peer);
        mem_fail_after(0);
        assert_true(a == 0 || a == 500 || a == 508);
        assert_true(p == 0 || p == 508 || p == 437);
        bool all = a == 0 && p == 0 && b == 0;
        world_free(w);
        if (all)
            break;
        assert_true(fail < 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_allocation_is_an_address_a_lifetime_and_ones_own_address),
        cmocka_unit_test(a_repeated_allocate_has_the_same_answer),
        cmocka_unit_test(a_second_allocation_of_a_five_tuple_is_a_mismatch),
        cmocka_unit_test(what_an_allocate_asks_for_is_checked_in_order),
        cmocka_unit_test(what_is_unknown_is_named),
        cmocka_unit_test(both_families_come_together),
        cmocka_unit_test(one_family_of_two_is_enough_and_the_others_refusal_is_told),
        cmocka_unit_test(a_client_on_ipv6_gets_ipv4_unless_it_asks),
        cmocka_unit_test(an_even_port_and_the_next_for_who_has_the_token),
        cmocka_unit_test(a_port_that_another_program_has_is_passed_over),
        cmocka_unit_test(lifetimes_have_a_floor_and_a_ceiling),
        cmocka_unit_test(an_allocation_ends_with_its_time_and_a_refresh_gives_it_more),
        cmocka_unit_test(one_that_ends_gives_all_back),
        cmocka_unit_test(an_account_has_its_quota),
        cmocka_unit_test(quotas_of_many_accounts_do_not_mix),
        cmocka_unit_test(half_of_the_ports_is_for_calls),
        cmocka_unit_test(permissions_and_channels_have_a_cap),
        cmocka_unit_test(who_is_not_permitted_is_not_heard_and_not_reached),
        cmocka_unit_test(a_permission_lasts_five_minutes_and_data_does_not_renew_it),
        cmocka_unit_test(requests_for_peers_are_checked),
        cmocka_unit_test(a_channel_carries_both_ways),
        cmocka_unit_test(a_channel_of_a_stream_is_padded),
        cmocka_unit_test(a_channel_is_one_number_and_one_peer),
        cmocka_unit_test(broken_data_is_dropped),
        cmocka_unit_test(what_the_network_refuses_is_told),
        cmocka_unit_test(a_binding_is_answered_as_by_any_stun_server),
        cmocka_unit_test(a_stream_is_cut_into_messages),
        cmocka_unit_test(uris_are_those_of_rfc_7065),
        cmocka_unit_test(without_memory_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, world_start, NULL);
}
