/* SPDX-License-Identifier: MIT */
/* The full agent, one thing at a time: NATs, pace, patience, roles, consent, restart, nominations of RFC 5245. */
#include "ice_world.h"

static void houses(enum nat_kind a, enum nat_kind b, bool relay)
{
    nats[0].kind = a;
    nats[1].kind = b;
    furnish(0, &(struct house){.kind = a, .nat = 0, .relay = relay});
    furnish(1, &(struct house){.kind = b, .nat = 1, .relay = relay});
}

static void each_kind_of_nat_against_each(void **state)
{
    (void)state;
    for (int a = OPEN; a < NAT_KINDS; a++) {
        for (int b = OPEN; b < NAT_KINDS; b++) {
            for (int relay = 0; relay < 2; relay++) {
                bool hard = (a == SYMMETRIC && b >= PORT_RESTRICTED) ||
                            (b == SYMMETRIC && a >= PORT_RESTRICTED);
                clear((uint64_t)(a * 100 + b * 10 + relay));
                houses((enum nat_kind)a, (enum nat_kind)b, relay);
                make_agent(0, true, false);
                make_agent(1, false, false);
                signal(0, now, 0);
                signal(1, now + 100 * USEC_MS, 0);
                usec began = now;
                run(now + 90 * USEC_S, settled);
                assert_int_equal(settled(), relay || !hard);
                if (settled()) {
                    ways_are_one();
                    assert_true(now - began < 6 * USEC_S);
                } else {
                    run(now + 60 * USEC_S, never);
                    assert_int_equal(peers[0].failed, 1);
                    assert_int_equal(peers[1].failed, 1);
                }
                if (!hard || !relay)
                    continue;
                bool relayed = false;
                for (int i = 0; i < 2; i++) {
                    struct ice_way w = way_of(i, 0, 1);
                    relayed = relayed || w.socket == 2;
                }
                assert_true(relayed);
            }
        }
    }
}

static void what_is_direct_is_found_at_once(void **state)
{
    (void)state;
    houses(OPEN, OPEN, true);
    make_agent(0, true, false);
    make_agent(1, false, false);
    signal(0, now, 0);
    signal(1, now, 0);
    usec began = now;
    run(now + 5 * USEC_S, settled);
    assert_true(settled());
    assert_true(now - began < 800 * USEC_MS);
    assert_int_equal(way_of(0, 0, 1).socket, 0);
    assert_int_equal(peers[0].selected, 1); /* regular nomination: once */
    assert_int_equal(peers[1].selected, 1);
}

static void checks_are_paced_and_repeated_as_said(void **state)
{
    (void)state;
    houses(OPEN, OPEN, false);
    make_agent(0, true, false);
    make_lite(1);
    loss = 1000; /* nobody hears it */
    signal(0, now, 0);
    plan(now, CREDENTIALS, 0, 0, 0);
    plan(now, REMOTE, 0, 0, 0);
    plan(now, REMOTE_END, 0, 0, 0);
    usec began = now;
    run(now + 39400 * USEC_MS, never);
    assert_int_equal(sent_n, STUN_RC);
    assert_int_equal(peers[0].failed, 0);
    run(now + 200 * USEC_MS, never);
    assert_int_equal(peers[0].failed, 1);
    assert_true(now - began < 40 * USEC_S);
    assert_int_equal(ice_agent_next(peers[0].ice), USEC_NEVER);
}

/* RFC 8863: without a candidate of the peer, and with ends on both sides, 39.5 s; without the end never. */
static void it_fails_after_the_end_and_patience(void **state)
{
    (void)state;
    for (int end = 0; end < 2; end++) {
        clear(2);
        houses(OPEN, OPEN, false);
        make_agent(0, true, false);
        make_agent(1, false, false);
        plan(now, LOCAL, 0, 0, 0);
        plan(now, LOCAL_END, 0, 0, 0);
        plan(now, CREDENTIALS, 0, 0, 0);
        if (end)
            plan(now, REMOTE_END, 0, 0, 0);
        run(now + 39 * USEC_S, never);
        assert_int_equal(peers[0].failed, 0);
        run(now + USEC_S, never);
        assert_int_equal(peers[0].failed, end);
        if (end)
            assert_int_equal(ice_agent_add_remote(peers[0].ice, 0, &peers[1].candidate[0], now),
                             ERR_STATE);
        else
            assert_int_equal(ice_agent_add_remote(peers[0].ice, 0, &peers[1].candidate[0], now),
                             ERR_OK);
        run(now + 60 * USEC_S, never);
    }
}

static void both_in_one_role_agree(void **state)
{
    (void)state;
    for (int controlling = 0; controlling < 2; controlling++) {
        for (uint64_t seed = 0; seed < 20; seed++) {
            clear(seed * 77 + 3);
            houses(OPEN, RESTRICTED, false);
            make_agent(0, controlling, false);
            make_agent(1, controlling, false);
            signal(0, now, 0);
            signal(1, now + 50 * USEC_MS, 0);
            run(now + 60 * USEC_S, settled);
            assert_true(settled());
            roles_differ();
            ways_are_one();
        }
    }
}

/* Consent: 30 s after the last answer it is over; the peer's silence is no failure before that. */
static void a_silent_way_is_left(void **state)
{
    (void)state;
    houses(FULL_CONE, RESTRICTED, false);
    make_agent(0, true, false);
    make_agent(1, false, false);
    signal(0, now, 0);
    signal(1, now, 0);
    run(now + 60 * USEC_S, settled);
    assert_true(settled());
    unsigned before = sent_n;
    usec began = now;
    run(now + 600 * USEC_S, never);
    assert_int_equal(peers[0].lost + peers[1].lost, 0);
    /* 4 to 6 seconds: each of both asks 100 to 150 times, each is answered */
    assert_true(sent_n - before >= 2 * 2 * 100 && sent_n - before <= 2 * 2 * 151);
    ways_are_one();
    loss = 1000;
    began = now;
    run(now + 23 * USEC_S, never);
    assert_int_equal(peers[0].lost + peers[1].lost, 0);
    run(began + 31 * USEC_S, never);
    assert_int_equal(peers[0].lost, 1);
    assert_int_equal(peers[1].lost, 1);
    struct ice_way way;
    assert_false(ice_agent_valid(peers[0].ice, 0, 1, &way));
    before = sent_n;
    loss = 0;
    run(now + 60 * USEC_S, never);
    assert_int_equal(sent_n, before); /* nothing more is sent there: a restart is needed */
    ice_agent_restart(peers[0].ice, now);
    ice_agent_restart(peers[1].ice, now);
    peers[0].completed = peers[1].completed = 0;
    signal(0, now, 0);
    signal(1, now, 0);
    run(now + 60 * USEC_S, settled);
    assert_true(settled());
    ways_are_one();
}

/* Without consent: an indication each 15 s, with a FINGERPRINT and nothing else (§11); nobody is lost. */
static void without_consent_the_way_is_kept_open(void **state)
{
    (void)state;
    houses(OPEN, OPEN, false);
    no_consent = true;
    make_agent(0, true, false);
    make_agent(1, false, false);
    signal(0, now, 0);
    signal(1, now, 0);
    run(now + 60 * USEC_S, settled);
    assert_true(settled());
    run(now + USEC_S, never);
    unsigned before = sent_n;
    loss = 1000;
    run(now + 300 * USEC_S, never);
    assert_int_equal(sent_n - before, 2 * 300 / 15);
    assert_int_equal(peers[0].lost + peers[1].lost, 0);
    loss = 0;
    flights_n = 0;
    while (flights_n == 0) {
        now = next_time();
        due();
    }
    struct stunmsg m;
    assert_int_equal(stunmsg_parse((sv){flights[0].octets, flights[0].n}, &m), ERR_OK);
    assert_int_equal(m.class, STUN_INDICATION);
    assert_true(m.fingerprint);
    assert_int_equal(flights[0].n, STUN_HEADER + 8);
}

/* 403 ends it at once (RFC 7675 §5.2), if it is proven. */
static void consent_may_be_withdrawn(void **state)
{
    char mem[ICE_CHECK_MAX];
    struct buf b;
    (void)state;
    houses(OPEN, OPEN, false);
    make_agent(0, true, false);
    make_agent(1, false, false);
    signal(0, now, 0);
    signal(1, now, 0);
    run(now + 60 * USEC_S, settled);
    assert_true(settled());
    for (int proven = 0; proven < 2; proven++) {
        struct stunmsg m;
        flights_n = 0;
        while (flights_n == 0 || stunmsg_parse((sv){flights[0].octets, flights[0].n}, &m) ||
               m.class != STUN_REQUEST || !addr_equal(&flights[0].from, &socks[0].addr)) {
            flights_n = 0;
            now = next_time();
            due();
        }
        struct flight f = flights[0];
        flights_n = 0;
        assert_int_equal(stunmsg_parse((sv){f.octets, f.n}, &m), ERR_OK);
        buf_init(&b, mem, sizeof mem);
        struct stun_out o = stunmsg_begin(&b, STUN_BINDING, STUN_ERROR, m.id);
        stunmsg_put_error_of(&o, STUN_FORBIDDEN);
        stunmsg_put_integrity(&o, STUN_SHA1, proven ? pwd_of(1) : SV("no password of anybody"));
        stunmsg_put_fingerprint(&o);
        ice_agent_on_datagram(peers[0].ice, 0, 1, 0, &f.to, buf_sv(&b), now);
        take_events(&peers[0]);
        assert_int_equal(peers[0].lost, proven);
    }
}

static void data_goes_on_through_a_restart(void **state)
{
    (void)state;
    houses(RESTRICTED, FULL_CONE, false);
    make_agent(0, true, false);
    make_agent(1, false, false);
    signal(0, now, 0);
    signal(1, now, 0);
    run(now + 60 * USEC_S, settled);
    assert_true(settled());
    char old[ICE_UFRAG_LEN];
    memcpy(old, ice_ufrag(ice_agent_secret(peers[0].ice)).p, sizeof old);
    ice_agent_restart(peers[0].ice, now);
    assert_memory_not_equal(old, ice_ufrag(ice_agent_secret(peers[0].ice)).p, sizeof old);
    ways_are_one();                /* the peer has not even heard of it */
    run(now + 50 * USEC_S, never); /* nor does it for long: the old way keeps its consent */
    assert_int_equal(peers[0].lost + peers[1].lost, 0);
    ways_are_one();
    ice_agent_restart(peers[1].ice, now);
    ways_are_one();
    peers[0].completed = peers[1].completed = 0;
    signal(0, now, 0);
    signal(1, now + USEC_S, 0);
    run(now + 60 * USEC_S, settled);
    assert_true(settled());
    ways_are_one();
    run(now + 60 * USEC_S, never);
    assert_int_equal(peers[0].lost + peers[1].lost, 0);
}

/* A peer of RFC 5245 that nominates with every check: the highest priority is used in the end (§8.1.1). */
static void of_many_nominations_the_highest_counts(void **state)
{
    static const struct ice_secret theirs = {"remoteuf", "passwordOfTheRemote12345"};
    static const uint32_t priority[] = {500, 900, 700};
    (void)state;
    houses(OPEN, OPEN, false);
    make_agent(0, false, false);
    signal(0, now, 0);
    make_lite(1);
    peers[1].lite.ours = theirs;
    plain = true;
    plan(now, CREDENTIALS, 0, 0, 0);
    run(now, never);
    for (size_t i = 0; i < 3; i++) {
        char mem[ICE_CHECK_MAX], name[32];
        struct buf b;
        struct sock *s = open_socket(1, 0, 1, (uint8_t)(20 + i), at("198.51.100.77:1"), -1);
        s->addr.port = (uint16_t)(1000 + i);
        buf_init(&b, mem, sizeof mem);
        memcpy(name, ufrag_of(0).p, 8);
        memcpy(name + 8, ":remoteuf", 9);
        struct stun_out o =
            stunmsg_begin(&b, STUN_BINDING, STUN_REQUEST, (const uint8_t *)"another id..");
        stunmsg_put(&o, STUN_USERNAME, (sv){name, 17});
        stunmsg_put_u32(&o, STUN_PRIORITY, priority[i]);
        stunmsg_put_flag(&o, STUN_USE_CANDIDATE);
        stunmsg_put_u64(&o, STUN_ICE_CONTROLLING, 1);
        stunmsg_put_integrity(&o, STUN_SHA1, pwd_of(0));
        stunmsg_put_fingerprint(&o);
        ice_agent_on_datagram(peers[0].ice, 0, 1, 0, &s->addr, buf_sv(&b), now);
        run(now + 300 * USEC_MS, never); /* its triggered check is answered by the lite one there */
        assert_int_equal(way_of(0, 0, 1).to.port, i == 0 ? 1000 : 1001);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_kind_of_nat_against_each, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_direct_is_found_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(checks_are_paced_and_repeated_as_said, setup, teardown),
        cmocka_unit_test_setup_teardown(it_fails_after_the_end_and_patience, setup, teardown),
        cmocka_unit_test_setup_teardown(both_in_one_role_agree, setup, teardown),
        cmocka_unit_test_setup_teardown(a_silent_way_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(without_consent_the_way_is_kept_open, setup, teardown),
        cmocka_unit_test_setup_teardown(consent_may_be_withdrawn, setup, teardown),
        cmocka_unit_test_setup_teardown(data_goes_on_through_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(of_many_nominations_the_highest_counts, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
