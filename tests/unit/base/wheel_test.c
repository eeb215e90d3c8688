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

/* A block that begins because of one timer alone is not waited for without it. */
static void who_is_cancelled_wakes_nobody(void **state)
{
    (void)state;
    static const usec at[] = {3 * USEC_MS, 300 * USEC_MS, 100 * USEC_S};
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        struct wheel w;
        struct timer t, far;
        wheel_init(&w, 0);
        timer_init(&t, note, NULL);
        timer_init(&far, note, NULL);
        wheel_arm(&w, &far, USEC_DAY);
        usec next = wheel_next(&w);
        assert_true(next > at[i]);
        wheel_arm(&w, &t, at[i]);
        assert_true(wheel_next(&w) <= at[i] && wheel_next(&w) > 0);
        wheel_cancel(&w, &t);
        assert_int_equal(wheel_next(&w), next);
        assert_true(wheel_validate(&w));
    }
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

/* ---- many ---- */

enum { MANY = 12000, BLOCK = 65536, MOVED = 32 };
struct member {
    struct timer timer;
    uint64_t turn; /* of arming */
};
static struct {
    struct wheel wheel;
    struct member member[MANY];
    uint64_t random, turns;
    int64_t now, last_step; /* ms */
    uint64_t last_turn;
    size_t fired;
} many;

static uint64_t many_random(void)
{
    many.random = many.random * 6364136223846793005u + 1442695040888963407u;
    return many.random >> 33;
}

static void many_arm(struct member *m)
{
    int64_t at = many.now + 1 + (int64_t)(many_random() % (3 * BLOCK));
    if (many_random() % 4 == 0)
        at = at / 512 * 512 + 512; /* so that many end together */
    m->turn = ++many.turns;
    wheel_arm(&many.wheel, &m->timer, at * USEC_MS);
}

static void on_many(struct timer *t, void *arg)
{
    struct member *m = arg;
    int64_t step = t->at / USEC_MS;
    assert_true(step == many.now);
    assert_true(step > many.last_step || m->turn > many.last_turn);
    many.last_step = step;
    many.last_turn = m->turn;
    many.fired++;
    many_arm(m);
}

/* In the blocks that come next. */
static size_t in_next(void)
{
    size_t n = 0;
    for (int level = 1; level <= 2; level++) {
        int64_t i = (many.now >> 8 * level) + 1;
        const struct link *head = &many.wheel.slot[level][i % WHEEL_SLOTS];
        for (const struct link *l = head->next; l != head; l = l->next)
            n++;
    }
    return n;
}

/* Of a block of many no call places more anew than a few, and it is empty when it begins: those that are armed or
 * cancelled meanwhile change nothing in the order, nor in when they end. */
static void no_call_places_many_anew(void **state)
{
    (void)state;
    size_t in_front = 0;
    wheel_init(&many.wheel, 0);
    for (int i = 0; i < MANY; i++) {
        timer_init(&many.member[i].timer, on_many, &many.member[i]);
        many_arm(&many.member[i]);
    }
    for (many.now = 1; many.now < 5 * BLOCK; many.now++) {
        bool looked = many.now % BLOCK < 200; /* less than a block of the level below */
        const struct link *next = &many.wheel.slot[2][many.now / BLOCK % WHEEL_SLOTS];
        if (many.now % BLOCK == 0)
            assert_true(list_empty(next));
        size_t before = looked ? in_next() : 0;
        wheel_advance(&many.wheel, many.now * USEC_MS, SIZE_MAX);
        if (looked) {
            assert_true(before <= in_next() + MOVED);
            assert_true(wheel_validate(&many.wheel));
        }
        in_front += !list_empty(&many.wheel.slot[2][(many.now / BLOCK + 1) % WHEEL_SLOTS]);
        for (int k = 0; many.now % 3 == 0 && k < 2; k++) {
            struct member *m = &many.member[many_random() % MANY];
            if (many_random() % 4)
                many_arm(m);
            else
                wheel_cancel(&many.wheel, &m->timer);
        }
    }
    assert_true(in_front > 200); /* it was armed for while it was being emptied */
    assert_true(many.fired > MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timer_fires_at_its_step_and_not_before),
        cmocka_unit_test(ties_fire_as_they_were_armed_however_far_away),
        cmocka_unit_test(never_does_not_fire_and_can_be_cancelled),
        cmocka_unit_test(who_is_cancelled_wakes_nobody),
        cmocka_unit_test(a_timer_that_rearms_for_the_past_does_not_hold_the_wheel),
        cmocka_unit_test(a_callback_may_free_the_owner),
        cmocka_unit_test(a_call_fires_no_more_than_it_may),
        cmocka_unit_test(the_wheel_agrees_with_the_model),
        cmocka_unit_test(no_call_places_many_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
