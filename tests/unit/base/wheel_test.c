/* SPDX-License-Identifier: MIT */
/* wheel_test.c: the timer wheel against a model that looks at every timer.
 *
 * The model knows the header's words only: the deadline step is the deadline rounded up to 1 ms,
 * not before the step at arming; order is by step, then by arming; what a callback arms for the
 * step that fires waits for the next step. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "ds/wheel.h"

enum { TIMERS = 200, OPERATIONS = 100000 };

struct model {
    bool armed;
    bool moved;    /* armed by a callback for the step that fired, now first of the next */
    int64_t step;  /* at which it fires */
    uint64_t turn; /* of arming: breaks ties */
};

struct rig {
    struct wheel wheel;
    struct timer timer[TIMERS];
    struct model model[TIMERS];
    uint64_t random;
    usec now, until; /* of the last advance; of the one going on */
    /* The batch: what was armed for this step before the first of it fired. Between two advances
     * the step is that of the last one. */
    int64_t step;
    uint64_t step_turn;
    uint64_t turns; /* armings so far */
    size_t fired, early_cancels;
};

static uint64_t next_random(struct rig *r)
{
    r->random = r->random * 6364136223846793005u + 1442695040888963407u;
    return r->random >> 33;
}

static int64_t step_up(usec t)
{
    return t / 1000 + (t % 1000 > 0);
}

static void arm(struct rig *r, size_t i, usec at)
{
    int64_t step = step_up(at) > r->step ? step_up(at) : r->step;
    r->model[i] = (struct model){.armed = true, .step = step, .turn = ++r->turns};
    wheel_arm(&r->wheel, &r->timer[i], at);
    assert_true(timer_armed(&r->timer[i]));
}

static void cancel(struct rig *r, size_t i)
{
    r->model[i].armed = false;
    wheel_cancel(&r->wheel, &r->timer[i]);
    assert_false(timer_armed(&r->timer[i]));
}

static bool before(const struct model *a, const struct model *b)
{
    if (a->step != b->step)
        return a->step < b->step;
    if (a->moved != b->moved)
        return a->moved;
    return a->turn < b->turn;
}

static int first_due(const struct rig *r, int64_t target, bool batch_only)
{
    int best = -1;
    for (int i = 0; i < TIMERS; i++) {
        const struct model *m = &r->model[i];
        bool in_batch = m->step == r->step && (m->moved || m->turn <= r->step_turn);
        if (!m->armed || m->step > target || (batch_only && !in_batch))
            continue;
        if (best < 0 || before(m, &r->model[best]))
            best = i;
    }
    return best;
}

/* The timer that the model fires next in this advance, or -1. */
static int next_due(struct rig *r)
{
    int64_t target = r->until / 1000;
    int i = first_due(r, target, true);
    if (i >= 0 || r->step >= target)
        return i;
    for (size_t k = 0; k < TIMERS; k++) {
        struct model *m = &r->model[k];
        if (m->armed && m->step == r->step) {
            m->step++;
            m->moved = true;
        }
    }
    i = first_due(r, target, false);
    r->step = i >= 0 ? r->model[i].step : target;
    r->step_turn = r->turns;
    return i;
}

static usec far_or_near(struct rig *r, usec from)
{
    switch (next_random(r) % 12) {
    case 0:
        return from + (usec)(next_random(r) % 60) * USEC_DAY;
    case 1:
        return next_random(r) % 4 ? from + 40LL * 365 * USEC_DAY : USEC_NEVER;
    case 2:
        return from - (usec)(next_random(r) % 5000);
    case 3:
        return from;
    case 4:
    case 5:
        return from + (usec)(next_random(r) % 3600) * USEC_S;
    case 6:
        return (from / 1000 / 256 + 1 + (usec)(next_random(r) % 3)) * 256 *
               1000; /* a block's edge */
    default:
        return from + (usec)(next_random(r) % 200000);
    }
}

static void meddle(struct rig *r, usec from)
{
    size_t i = next_random(r) % TIMERS;
    if (next_random(r) % 3 == 0) {
        r->early_cancels += r->model[i].armed;
        cancel(r, i);
    } else {
        arm(r, i, far_or_near(r, from));
    }
}

static void on_timer(struct timer *t, void *arg)
{
    struct rig *r = arg;
    int i = (int)(t - r->timer);
    usec at = t->at;
    assert_false(timer_armed(t));
    assert_int_equal(i, next_due(r));
    assert_true(at <= r->until); /* never early */
    r->model[i].armed = false;
    r->fired++;
    for (uint64_t k = next_random(r) % 3; k > 0; k--)
        meddle(r, next_random(r) % 2 ? at : r->until);
    if (next_random(r) % 2)
        arm(r, (size_t)i, far_or_near(r, r->until));
}

static void advance(struct rig *r, usec now)
{
    usec next = wheel_next(&r->wheel);
    size_t fired = r->fired;
    r->until = now;
    r->step_turn = r->turns;
    size_t n = wheel_advance(&r->wheel, now, SIZE_MAX);
    assert_int_equal(n, r->fired - fired);
    assert_int_equal(next_due(r),
                     -1); /* nothing due is left but what the last batch armed for its step */
    assert_int_equal(r->step, now / 1000);
    if (n > 0)
        assert_true(next <= now);
    r->now = now;
    for (size_t i = 0; i < TIMERS; i++)
        assert_int_equal(r->model[i].armed, timer_armed(&r->timer[i]));
    assert_true(wheel_validate(&r->wheel));
}

/* wheel_next is not late: no armed timer is due before it. */
static void check_next(struct rig *r)
{
    usec next = wheel_next(&r->wheel);
    size_t armed = 0;
    for (size_t i = 0; i < TIMERS; i++) {
        if (!r->model[i].armed)
            continue;
        armed++;
        if (r->model[i].step < INT64_MAX / 1000)
            assert_true(next <= r->model[i].step * 1000);
    }
    assert_int_equal(armed, r->wheel.armed);
    assert_int_equal(next == USEC_NEVER, armed == 0);
    assert_true(wheel_validate(&r->wheel));
}

static void run(uint64_t seed, usec start)
{
    struct rig *r = calloc(1, sizeof *r);
    r->random = seed;
    r->now = start;
    r->step = start / 1000;
    wheel_init(&r->wheel, start);
    for (size_t i = 0; i < TIMERS; i++)
        timer_init(&r->timer[i], on_timer, r);
    for (int op = 0; op < OPERATIONS / 4; op++) {
        if (next_random(r) % 4) {
            meddle(r, r->now);
            continue;
        }
        check_next(r);
        usec jump = (usec)(next_random(r) % 20000);
        if (next_random(r) % 50 == 0)
            jump = (usec)(next_random(r) % 100) * USEC_HOUR;
        usec next = wheel_next(&r->wheel);
        bool sleep = next_random(r) % 3 == 0 && next - r->now < 100 * USEC_DAY && next > r->now;
        advance(r, sleep ? next : r->now + jump);
    }
    assert_true(r->fired > 1000 && r->early_cancels > 500);
    for (size_t i = 0; i < TIMERS; i++)
        cancel(r, i);
    assert_int_equal(wheel_next(&r->wheel), USEC_NEVER);
    assert_true(wheel_validate(&r->wheel));
    free(r);
}

static void the_wheel_agrees_with_the_model(void **state)
{
    (void)state;
    run(1, 0);
    run(2, 1234567890123);
    run(3, 999);
    run(4, (usec)((int64_t)255 << 32) * 1000 + 5); /* in the last slot of the top level */
}

static size_t fired_n;
static int fired_order[64];
static void note(struct timer *t, void *arg)
{
    (void)t;
    fired_order[fired_n++ % 64] = *(int *)arg;
}

static void a_timer_fires_at_its_step_and_not_before(void **state)
{
    (void)state;
    static const usec delays[] = {
        0,        1,         999,           1000,           31999,
        32000,    32001,     1024000,       32768000 - 1,   32768000,
        USEC_DAY, USEC_HOUR, 30 * USEC_DAY, 400 * USEC_DAY, 50LL * 365 * USEC_DAY};
    for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
        struct wheel w;
        struct timer t;
        int id = 1;
        usec start = 777123, up = (start + delays[i] + 999) / 1000 * 1000;
        fired_n = 0;
        wheel_init(&w, start);
        timer_init(&t, note, &id);
        wheel_arm(&w, &t, start + delays[i]);
        assert_int_equal(wheel_advance(&w, up - 1, SIZE_MAX), 0);
        assert_int_equal(wheel_advance(&w, up, SIZE_MAX), 1);
        assert_int_equal(fired_n, 1);
        assert_int_equal(wheel_advance(&w, up + USEC_DAY, SIZE_MAX), 0);
    }
}

static void ties_fire_as_they_were_armed_however_far_away(void **state)
{
    (void)state;
    struct wheel w;
    struct timer t[4];
    int id[4] = {0, 1, 2, 3};
    usec at = 5000 * USEC_S;
    wheel_init(&w, 0);
    fired_n = 0;
    for (int i = 0; i < 4; i++)
        timer_init(&t[i], note, &id[i]);
    /* each from a nearer level than the one before */
    wheel_arm(&w, &t[2], at);
    wheel_advance(&w, at - 40 * USEC_S, SIZE_MAX);
    wheel_arm(&w, &t[0], at);
    wheel_advance(&w, at - 100 * USEC_MS, SIZE_MAX);
    wheel_arm(&w, &t[3], at - 500);
    wheel_advance(&w, at - 2 * USEC_MS, SIZE_MAX);
    wheel_arm(&w, &t[1], at);
    assert_int_equal(wheel_advance(&w, at + USEC_S, SIZE_MAX), 4);
    static const int want[4] = {2, 0, 3, 1};
    assert_memory_equal(fired_order, want, sizeof want);
}

static void never_does_not_fire_and_can_be_cancelled(void **state)
{
    (void)state;
    struct wheel w;
    struct timer t;
    int id = 0;
    fired_n = 0;
    wheel_init(&w, 0);
    timer_init(&t, note, &id);
    wheel_cancel(&w, &t);
    wheel_arm(&w, &t, USEC_NEVER);
    assert_int_equal(wheel_advance(&w, 200LL * 365 * USEC_DAY, SIZE_MAX), 0);
    assert_true(wheel_validate(&w));
    wheel_cancel(&w, &t);
    wheel_cancel(&w, &t);
    assert_int_equal(wheel_next(&w), USEC_NEVER);
    /* exactly one turn of the top level ahead: not into the slot of the present */
    wheel_arm(&w, &t, (w.step + ((int64_t)256 << 32)) * USEC_MS);
    assert_true(wheel_validate(&w));
}

static void always_now(struct timer *t, void *arg)
{
    fired_n++;
    wheel_arm(arg, t, 0);
}

static void a_timer_that_rearms_for_the_past_does_not_hold_the_wheel(void **state)
{
    (void)state;
    struct wheel w;
    struct timer t;
    fired_n = 0;
    wheel_init(&w, 0);
    timer_init(&t, always_now, &w);
    wheel_arm(&w, &t, 0);
    assert_int_equal(wheel_advance(&w, 0, SIZE_MAX), 1);
    assert_int_equal(wheel_advance(&w, 0, SIZE_MAX), 1);
    assert_int_equal(wheel_advance(&w, 10 * USEC_MS, SIZE_MAX), 11);
    assert_int_equal(wheel_next(&w), 10 * USEC_MS);
}

static void free_owner(struct timer *t, void *arg)
{
    (void)arg;
    free(t);
}

static void a_callback_may_free_the_owner(void **state)
{
    (void)state;
    struct wheel w;
    wheel_init(&w, 0);
    for (int i = 0; i < 10; i++) {
        struct timer *t = malloc(sizeof *t);
        timer_init(t, free_owner, NULL);
        wheel_arm(&w, t, 5000);
    }
    assert_int_equal(wheel_advance(&w, 5000, SIZE_MAX), 10);
    assert_true(wheel_validate(&w));
}

struct numbered {
    struct timer timer;
    int number;
};
static int order[64], order_n;

static void note_number(struct timer *t, void *arg)
{
    (void)arg;
    order[order_n++] = CONTAINER(t, struct numbered, timer)->number;
}

/* What is left over keeps its place before all others, and may be cancelled and armed anew there. */
static void a_call_fires_no_more_than_it_may(void **state)
{
    (void)state;
    enum { N = 20 };
    struct numbered n[N];
    struct wheel w;
    wheel_init(&w, 0);
    order_n = 0;
    for (int i = 0; i < N; i++) {
        n[i].number = i;
        timer_init(&n[i].timer, note_number, NULL);
        wheel_arm(&w, &n[i].timer, i < N - 2 ? 5 * USEC_MS : 7 * USEC_MS);
    }
    assert_int_equal(wheel_advance(&w, 9 * USEC_MS, 8), 8);
    assert_true(wheel_is_late(&w) && wheel_validate(&w));
    assert_int_equal(wheel_next(&w), 5 * USEC_MS);
    wheel_cancel(&w, &n[10].timer);
    wheel_arm(&w, &n[11].timer, 6 * USEC_MS);
    wheel_arm(&w, &n[0].timer, 0); /* for the present step, behind those that are due */
    assert_true(wheel_validate(&w));
    assert_int_equal(wheel_advance(&w, 9 * USEC_MS, 8), 8);
    assert_true(wheel_next(&w) <= 6 * USEC_MS && wheel_validate(&w));
    assert_int_equal(wheel_advance(&w, 9 * USEC_MS, 0), 0);
    assert_int_equal(wheel_advance(&w, 9 * USEC_MS, SIZE_MAX), 4);
    assert_false(wheel_is_late(&w));
    static const int want[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17, 0, 11, 18, 19};
    assert_int_equal(order_n, sizeof(want) / sizeof(want[0]));
    assert_memory_equal(order, want, sizeof(want));
    assert_int_equal(wheel_next(&w), USEC_NEVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timer_fires_at_its_step_and_not_before),
        cmocka_unit_test(ties_fire_as_they_were_armed_however_far_away),
        cmocka_unit_test(never_does_not_fire_and_can_be_cancelled),
        cmocka_unit_test(a_timer_that_rearms_for_the_past_does_not_hold_the_wheel),
        cmocka_unit_test(a_callback_may_free_the_owner),
        cmocka_unit_test(a_call_fires_no_more_than_it_may),
        cmocka_unit_test(the_wheel_agrees_with_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
