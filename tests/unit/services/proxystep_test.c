/* SPDX-License-Identifier: MIT */
/* proxy_step: every order of events for one to three branches, and the choice of the best
 * (§16.7). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "proxy/proxy_step.h"

/* What the driver would have done so far. */
struct world {
    struct step_context c;
    unsigned finals, best, silence, success; /* sent upstream */
    unsigned cancels[3];
    bool ended[3]; /* the branch's transaction has given its final response */
};

static unsigned visits;

static uint16_t status_of(enum step_event ev, bool alternative)
{
    switch (ev) {
    case STEP_EV_PROVISIONAL:
        return 180;
    case STEP_EV_SUCCESS:
        return 200;
    case STEP_EV_FAILURE:
        return alternative ? 603 : 486;
    default:
        return 0;
    }
}

static void check(const struct world *w, unsigned effects, enum step_event ev, unsigned branch)
{
    const struct step_context *c = &w->c;
    /* One final answer other than 2xx at most, none beside silence, none after a 2xx. */
    assert_true(w->best + w->silence <= 1);
    assert_false(w->best && w->success);
    assert_false(w->silence && w->success);
    if (!c->invite)
        assert_true(w->success <= 1);
    for (unsigned i = 0; i < c->n; i++) {
        assert_true(w->cancels[i] <= 1);
        assert_int_equal(w->cancels[i] > 0, c->branch[i].cancelled);
    }
    /* When all have ended, exactly one thing has been said. */
    if (proxy_all_final(c)) {
        assert_true(w->best + w->silence + (w->success > 0) == 1);
        if (w->best)
            assert_int_not_equal(c->branch[proxy_best(c)].status, 0);
    } else {
        assert_int_equal(w->best + w->silence, 0);
    }
    /* Whoever loses a call is told so: nobody rings on after a 2xx, a 6xx or the caller's
     * CANCEL. */
    bool decided = c->invite && (w->success || c->cancelled);
    for (unsigned i = 0; c->invite && i < c->n; i++)
        decided = decided || (c->branch[i].phase == STEP_FINAL && c->branch[i].status >= 600);
    for (unsigned i = 0; decided && i < c->n; i++) {
        if (c->branch[i].phase != STEP_FINAL)
            assert_int_equal(w->cancels[i], 1);
    }
    /* Timer C starts again with each provisional response, and with nothing else. */
    assert_int_equal((effects & STEP_RESET_C) != 0,
                     ev == STEP_EV_PROVISIONAL && c->branch[branch].phase != STEP_FINAL);
    if (effects & STEP_FORWARD)
        assert_true(ev == STEP_EV_PROVISIONAL || ev == STEP_EV_SUCCESS);
    if (ev == STEP_EV_PROVISIONAL && w->success)
        assert_false(effects & STEP_FORWARD);
}

static void walk(const struct world *before, unsigned depth)
{
    visits++;
    if (depth == 0)
        return;
    for (int ev = 0; ev < STEP_EVENTS; ev++) {
        for (unsigned branch = 0; branch < before->c.n; branch++) {
            for (int alternative = 0; alternative < 2; alternative++) {
                struct world w = *before;
                uint32_t cancel;
                bool repeats = w.ended[branch] && ev == STEP_EV_SUCCESS && w.c.invite &&
                               w.c.branch[branch].status / 100 == 2;
                if (alternative && ev != STEP_EV_FAILURE)
                    continue;
                if (ev == STEP_EV_CANCEL &&
                    (branch > 0 || w.c.cancelled || w.c.sent || w.silence || !w.c.invite))
                    continue; /* the server transaction hands it over once, before a final */
                /* A transaction says nothing after its final response but 2xx again; only that
                 * it is
                 * gone, and Timer C may be on its way. */
                if (w.ended[branch] && !repeats && ev != STEP_EV_TIMEOUT &&
                    ev != STEP_EV_UNREACHABLE && ev != STEP_EV_TIMER_C && ev != STEP_EV_CANCEL)
                    continue;
                unsigned effects = proxy_step(&w.c, (enum step_event)ev, branch,
                                              status_of((enum step_event)ev, alternative), &cancel);
                if (ev == STEP_EV_SUCCESS || ev == STEP_EV_FAILURE || ev == STEP_EV_TIMEOUT ||
                    ev == STEP_EV_UNREACHABLE || ev == STEP_EV_BREADTH)
                    w.ended[branch] = true;
                assert_int_equal((effects & STEP_CANCEL_OTHERS) != 0, cancel != 0);
                for (unsigned i = 0; i < 32; i++) {
                    if (cancel & UINT32_C(1) << i) {
                        assert_true(i < w.c.n);
                        assert_int_not_equal(w.c.branch[i].phase, STEP_FINAL);
                        w.cancels[i]++;
                    }
                }
                if (effects & STEP_FORWARD && ev == STEP_EV_SUCCESS)
                    w.success++;
                if (effects & STEP_BEST) {
                    w.best++;
                    w.c.sent = w.c.branch[proxy_best(&w.c)].status; /* as the driver does */
                }
                if (effects & STEP_SILENCE)
                    w.silence++;
                check(&w, effects, (enum step_event)ev, branch);
                walk(&w, depth - 1);
            }
        }
    }
}

static void test_all_orders(void **state)
{
    (void)state;
    static const unsigned depth[] = {0, 6, 5, 4};
    for (int invite = 0; invite < 2; invite++) {
        for (unsigned n = 1; n <= 3; n++) {
            struct world w = {.c = {.n = n, .invite = invite}};
            walk(&w, depth[n]);
        }
    }
    print_message("%u states\n", visits);
    assert_true(visits > 100000);
}

struct choice {
    uint16_t status[3];
    unsigned made_up; /* mask */
    unsigned best;
};

static void test_best(void **state)
{
    (void)state;
    static const struct choice table[] = {
        {{486, 404, 0}, 0, 0},   {{404, 486, 0}, 0, 0},   {{486, 302, 0}, 0, 1},
        {{503, 486, 0}, 0, 1},   {{600, 302, 200}, 0, 0}, {{404, 603, 401}, 0, 1},
        {{404, 401, 0}, 0, 1},   {{404, 407, 480}, 0, 1}, {{420, 404, 0}, 0, 0},
        {{404, 415, 0}, 0, 1},   {{486, 484, 0}, 0, 1},   {{415, 401, 0}, 0, 1},
        {{408, 480, 0}, 0, 1},   {{487, 408, 0}, 0, 1},   {{487, 486, 487}, 0, 1},
        {{487, 500, 0}, 0, 0},   {{503, 500, 0}, 1, 1},   {{408, 408, 0}, 1, 1},
        {{503, 408, 0}, 3, 1},   {{503, 487, 0}, 1, 1},   {{500, 503, 600}, 0, 2},
        {{480, 480, 480}, 0, 0}, {{440, 404, 0}, 1, 1},   {{305, 604, 407}, 0, 1},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct step_context c = {.invite = true};
        for (; c.n < 3 && table[i].status[c.n]; c.n++)
            c.branch[c.n] = (struct step_branch){.phase = STEP_FINAL,
                                                 .status = table[i].status[c.n],
                                                 .made_up = table[i].made_up >> c.n & 1};
        if (proxy_best(&c) != table[i].best)
            fail_msg("case %zu: %u", i, proxy_best(&c));
    }
}

/* What the statuses made here are. */
static void test_made_up(void **state)
{
    (void)state;
    uint32_t cancel;
    struct step_context c = {.n = 2, .invite = true};
    assert_int_equal(proxy_step(&c, STEP_EV_UNREACHABLE, 0, 0, &cancel), 0);
    assert_int_equal(c.branch[0].status, 503);
    assert_int_equal(proxy_step(&c, STEP_EV_TIMEOUT, 1, 0, &cancel), STEP_BEST);
    assert_int_equal(c.branch[1].status, 408);
    assert_true(c.branch[1].made_up);
    /* A branch that the caller cancelled and that stays silent. */
    c = (struct step_context){.n = 1, .invite = true};
    assert_int_equal(proxy_step(&c, STEP_EV_CANCEL, 0, 0, &cancel), STEP_CANCEL_OTHERS);
    assert_int_equal(cancel, 1);
    assert_int_equal(proxy_step(&c, STEP_EV_TIMEOUT, 0, 0, &cancel), STEP_BEST);
    assert_int_equal(c.branch[0].status, 487);
    /* One that Timer C ended. */
    c = (struct step_context){.n = 1, .invite = true};
    assert_int_equal(proxy_step(&c, STEP_EV_TIMER_C, 0, 0, &cancel), STEP_CANCEL_OTHERS);
    assert_int_equal(proxy_step(&c, STEP_EV_TIMER_C, 0, 0, &cancel), 0);
    assert_int_equal(proxy_step(&c, STEP_EV_TIMEOUT, 0, 0, &cancel), STEP_BEST);
    assert_int_equal(c.branch[0].status, 408);
    /* RFC 4320: no 408 to anything but an INVITE; a phone's own 404 is fine. */
    c = (struct step_context){.n = 2};
    assert_int_equal(proxy_step(&c, STEP_EV_TIMEOUT, 0, 0, &cancel), 0);
    assert_int_equal(proxy_step(&c, STEP_EV_FAILURE, 1, 408, &cancel), STEP_SILENCE);
    c = (struct step_context){.n = 2};
    assert_int_equal(proxy_step(&c, STEP_EV_TIMEOUT, 0, 0, &cancel), 0);
    assert_int_equal(proxy_step(&c, STEP_EV_FAILURE, 1, 404, &cancel), STEP_BEST);
    /* No breadth left. */
    c = (struct step_context){.n = 1};
    assert_int_equal(proxy_step(&c, STEP_EV_BREADTH, 0, 0, &cancel), STEP_BEST);
    assert_int_equal(c.branch[0].status, 440);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_orders),
        cmocka_unit_test(test_best),
        cmocka_unit_test(test_made_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
