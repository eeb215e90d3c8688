/* SPDX-License-Identifier: MIT */
/* The full agent against itself and the lite one in a thousand worlds: where there is a way, both end on the same. */
#include "ice_world.h"

static bool hopeless(const struct house *a, const struct house *b)
{
    if (a->nat == b->nat && a->kind != OPEN && b->kind != OPEN && !a->only_ipv6 && !b->only_ipv6)
        return false;
    if ((a->ipv6 || a->only_ipv6) && (b->ipv6 || b->only_ipv6))
        return false;
    if (a->only_ipv6 || b->only_ipv6)
        return true;
    if (a->relay || b->relay)
        return false;
    return (a->kind == SYMMETRIC && b->kind >= PORT_RESTRICTED) ||
           (b->kind == SYMMETRIC && a->kind >= PORT_RESTRICTED);
}

static struct house any_house(int peer)
{
    struct house h = {.kind = (enum nat_kind)chance(NAT_KINDS),
                      .nat = peer,
                      .ipv6 = chance(3) == 0,
                      .relay = chance(2) == 0};
    return h;
}

static void one_seed(uint64_t seed)
{
    clear(seed * 0x1234567 + 99);
    bool lite = chance(5) == 0;
    components = chance(3) == 0 ? 2 : 1;
    streams = lite || chance(3) ? 1 : 2;
    struct house a = any_house(0), b = any_house(1);
    if (lite)
        b = (struct house){.kind = OPEN, .nat = 1, .ipv6 = chance(2) == 0};
    else if (chance(6) == 0)
        b.nat = 0, b.kind = a.kind; /* one house */
    nats[a.nat].kind = a.kind;
    if (b.nat != a.nat)
        nats[b.nat].kind = b.kind;
    furnish(0, &a);
    furnish(1, &b);
    loss = (unsigned)chance(3) * (unsigned)chance(100);
    twice = (unsigned)chance(100);
    forging = chance(2) ? 200 : 0;
    slow = chance(4) ? 0 : (unsigned)chance(1000);
    bool conflict = !lite && chance(4) == 0;
    make_agent(0, conflict ? chance(2) : true, lite);
    if (lite)
        make_lite(1);
    else
        make_agent(1, conflict ? ice_agent_controlling(peers[0].ice) : false, false);
    usec spread = chance(2) ? (usec)chance(8000) * USEC_MS : 0;
    usec offered = now + (usec)chance(1000) * USEC_MS;
    signal(0, offered, spread);
    signal(1, offered + (usec)chance(3000) * USEC_MS, chance(2) ? spread : 0);

    usec until = now + 120 * USEC_S;
    run(until, settled);
    if (hopeless(&a, &b)) {
        assert_false(settled());
        return;
    }
    assert_true(settled());
    roles_differ();
    if (loss > 30)
        loss = 30;
    run(now + 3 * USEC_S, never); /* what is still under way */
    ways_are_one();
    run(now + 40 * USEC_S, never);
    assert_int_equal(peers[0].lost + peers[1].lost, 0);
    ways_are_one();
    if (chance(2) == 0)
        return;

    /* A restart, in the middle of it all. */
    ice_agent_restart(peers[0].ice, now);
    usec heard = now + (usec)(1 + chance(2000)) * USEC_MS;
    plan(heard, RESTART, 1, 0, 0);
    run(heard, never);
    peers[0].completed = peers[1].completed = 0;
    signal(0, now, spread);
    signal(1, now + (usec)chance(1000) * USEC_MS, spread);
    until = now + 120 * USEC_S;
    while (now < until && !settled()) {
        run(now + USEC_S, settled);
        assert_true(all_selected(0) && all_selected(1)); /* data always has a way */
    }
    assert_true(settled());
    roles_differ();
    run(now + 3 * USEC_S, never);
    ways_are_one();
    assert_int_equal(peers[0].lost + peers[1].lost, 0);
}

static void a_thousand_seeds_end_in_one_way(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 1000; seed++)
        one_seed(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_thousand_seeds_end_in_one_way, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
