/* SPDX-License-Identifier: MIT */
/* turnserver_shared_test.c: the table of quotas where accounts fall onto each other's places. */
#include "turn_world.h"
#include "turnserver/turnserver_priv.h"

enum { ACCOUNTS = 24, QUOTA = 3, STEPS = 20000, END = 2 * TURNSERVER_ALLOCATIONS_MAX };

/* Crowds around two places, one of which is the last of the table. */
static struct turnserver_account account(unsigned i)
{
    return (struct turnserver_account){{(i % 2 ? END - 1 : 5) + i / 8, i}};
}

static void crowded_places_are_found_and_left(void **state)
{
    struct world *w = world_new();
    unsigned has[ACCOUNTS] = {0};
    (void)state;
    for (unsigned step = 0; step < STEPS; step++) {
        uint32_t v;
        world_chance(w, &v, sizeof(v));
        unsigned i = v % ACCOUNTS, all = 0;
        for (unsigned k = 0; k < ACCOUNTS; k++)
            all += has[k];
        if (v >> 16 & 1) {
            enum err rc = turnserver_enter(w->shared, account(i), QUOTA, w->now);
            enum err want = has[i] == QUOTA ? ERR_TOOBIG : all == 50 ? ERR_BUSY : ERR_OK;
            assert_int_equal(rc, want);
            has[i] += rc == ERR_OK;
        } else if (has[i] > 0) {
            turnserver_leave(w->shared, account(i));
            has[i]--;
        }
    }
    for (unsigned i = 0; i < ACCOUNTS; i++)
        for (; has[i] > 0; has[i]--)
            turnserver_leave(w->shared, account(i));
    for (unsigned i = 0; i < QUOTA; i++)
        assert_int_equal(turnserver_enter(w->shared, account(0), QUOTA, w->now), ERR_OK);
    assert_int_equal(turnserver_enter(w->shared, account(0), QUOTA, w->now), ERR_TOOBIG);
    world_free(w);
}

static void so_many_ports_are_held_and_no_more(void **state)
{
    struct world *w = world_new();
    struct turnserver_relay r = {.bound = ip("198.51.100.1", 0)}, got;
    (void)state;
    for (uint64_t token = 1; token <= TURNSERVER_RESERVED_MAX; token++) {
        r.bound.port = (uint16_t)(40000 + token);
        assert_int_equal(ports_claim(w->ports, r.bound.port, 1), ERR_OK);
        assert_int_equal(turnserver_reserve(w->shared, token, &r, w->now), ERR_OK);
    }
    assert_int_equal(turnserver_reserve(w->shared, 9999, &r, w->now), ERR_BUSY);
    assert_true(turnserver_claim(w->shared, 7, w->now, &got));
    assert_int_equal(got.bound.port, 40007);
    assert_false(turnserver_claim(w->shared, 7, w->now, &got));
    assert_false(turnserver_claim(w->shared, 0, w->now, &got));
    ports_give(w->ports, 40007, 1);
    assert_int_equal(ports_taken(w->ports), TURNSERVER_RESERVED_MAX - 1);
    world_free(w); /* all others are given back */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crowded_places_are_found_and_left),
        cmocka_unit_test(so_many_ports_are_held_and_no_more),
    };
    return cmocka_run_group_tests(tests, world_start, NULL);
}
