/* SPDX-License-Identifier: MIT */
/* The part of a loop that is the same behind every backend, over a backend that does nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include "loop/loop.h"

static struct loop loop;
static char trace[64];
static size_t trace_n;

static void note(char c)
{
    assert_true(trace_n < sizeof(trace) - 1);
    trace[trace_n++] = c;
    trace[trace_n] = 0;
}

static void count_up(struct loop *l, void *p, size_t n)
{
    (void)l;
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)p)[i] = (uint8_t)i;
}

static enum err refuse_mail(struct loop *to, struct mail *m)
{
    (void)to;
    (void)m;
    return ERR_BUSY;
}

static enum err refuse_job(struct loop *l, struct job *j)
{
    (void)l;
    (void)j;
    return ERR_STATE;
}

static const struct loop_ops ops = {.random = count_up, .mail = refuse_mail, .offload = refuse_job};

static int setup(void **state)
{
    (void)state;
    trace_n = 0;
    trace[0] = 0;
    return loop_init(&loop, &ops, NULL, 3, 1000, 2000) == ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    loop_done(&loop);
    return 0;
}

static void hands_on_to_the_backend(void **state)
{
    uint8_t octets[3];
    (void)state;
    assert_int_equal(loop_random(&loop), 0x0706050403020100u);
    loop_random_bytes(&loop, octets, sizeof(octets));
    assert_memory_equal(octets, "\0\1\2", 3);
    assert_int_equal(loop_mail(&loop, &(struct mail){0}), ERR_BUSY);
    assert_int_equal(loop_offload(&loop, &(struct job){0}), ERR_STATE);
    assert_int_equal(loop_now(&loop), 1000);
    assert_int_equal(loop_wall(&loop), 2000);
    assert_false(loop_stopping(&loop));
    assert_int_equal(loop.worker, 3);
}

static struct deferred a, b, c;

static void on_deferred(struct deferred *d, void *arg)
{
    const char *name = arg;
    note(*name);
    if (d == &a)
        loop_defer(&loop, &c); /* still in this turn */
}

static void defers_once_in_order(void **state)
{
    (void)state;
    deferred_init(&a, on_deferred, "a");
    deferred_init(&b, on_deferred, "b");
    deferred_init(&c, on_deferred, "c");
    loop_defer(&loop, &a);
    loop_defer(&loop, &b);
    loop_defer(&loop, &a);
    loop_run_deferred(&loop);
    assert_string_equal(trace, "abc");
    loop_run_deferred(&loop);
    assert_string_equal(trace, "abc");
    loop_defer(&loop, &b);
    loop_defer(&loop, &c);
    loop_defer_cancel(&b);
    loop_defer_cancel(&b);
    loop_run_deferred(&loop);
    assert_string_equal(trace, "abcc");
}

static void on_timer(struct timer *t, void *arg)
{
    (void)t;
    note(*(const char *)arg);
}

static void timers_count_from_now(void **state)
{
    struct timer t, u;
    (void)state;
    timer_init(&t, on_timer, "t");
    timer_init(&u, on_timer, "u");
    loop_timer(&loop, &t, 2 * USEC_MS);
    loop_timer(&loop, &u, USEC_MS);
    wheel_advance(&loop.wheel, 1000 + USEC_MS, SIZE_MAX);
    assert_string_equal(trace, "u");
    loop_timer_cancel(&loop, &t);
    wheel_advance(&loop.wheel, 1000 + 5 * USEC_MS, SIZE_MAX);
    assert_string_equal(trace, "u");
}

static void counters_are_summed(void **state)
{
    static struct loop one, two;
    struct loop_group g = {.n = 2, .loop = {&one, &two}};
    (void)state;
    stat_add(&one.stats, STAT_CALLS, 5);
    stat_add(&two.stats, STAT_CALLS, -2);
    assert_int_equal(loop_stat(&g, STAT_CALLS), 3);
    assert_int_equal(loop_stat(&g, STAT_HANDOVERS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hands_on_to_the_backend, setup, teardown),
        cmocka_unit_test_setup_teardown(defers_once_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(timers_count_from_now, setup, teardown),
        cmocka_unit_test_setup_teardown(counters_are_summed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
