/* SPDX-License-Identifier: MIT */
/* stat_test.c: the metric table holds together, counting counts, the histogram puts calls where
 * they belong. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <cmocka.h>
#include "stat/stat.h"

static void metrics_have_names_in_one_form(void **state)
{
    (void)state;
    for (int a = 0; a < STAT_COUNT; a++) {
        const char *name = stat_name((enum stat_id)a);
        assert_memory_equal(name, "tandem_", 7);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_"), strlen(name));
        assert_true(strlen(stat_help((enum stat_id)a)) > 0);
        /* counters, and only they, end in _total */
        size_t n = strlen(name);
        assert_int_equal(n > 6 && strcmp(name + n - 6, "_total") == 0,
                         stat_kind((enum stat_id)a) == STAT_KIND_COUNTER);
        for (int b = 0; b < a; b++)
            assert_string_not_equal(name, stat_name((enum stat_id)b));
    }
    for (int a = 0; a < STAT_LIMIT_COUNT; a++)
        for (int b = 0; b < a; b++)
            assert_string_not_equal(stat_limit_label((enum stat_limit)a),
                                    stat_limit_label((enum stat_limit)b));
    assert_string_equal(stat_limit_label(STAT_LIMIT_CALLS), "calls");
    for (int a = 0; a < STAT_TURN_COUNT; a++)
        for (int b = 0; b < a; b++)
            assert_string_not_equal(stat_turn_label((enum stat_turn)a),
                                    stat_turn_label((enum stat_turn)b));
    assert_string_equal(stat_turn_label(STAT_TURN_QUOTA), "quota");
}

static void counting_counts(void **state)
{
    (void)state;
    static struct stats s;
    stat_inc(&s, STAT_CALLS_TOTAL);
    stat_add(&s, STAT_CALLS, 5);
    stat_add(&s, STAT_CALLS, -7);
    assert_int_equal(stat_get(&s, STAT_CALLS_TOTAL), 1);
    assert_int_equal(stat_get(&s, STAT_CALLS), -2); /* a worker's share may be negative */
    assert_int_equal(stat_get(&s, STAT_REGISTRATIONS), 0);
    stat_refuse(&s, STAT_LIMIT_CALLS);
    stat_refuse(&s, STAT_LIMIT_CALLS);
    assert_int_equal(atomic_load(&s.refusals[STAT_LIMIT_CALLS]), 2);
    assert_int_equal(atomic_load(&s.refusals[STAT_LIMIT_BINDINGS]), 0);
    stat_turn_refuse(&s, STAT_TURN_QUOTA);
    assert_int_equal(atomic_load(&s.turn[STAT_TURN_QUOTA]), 1);
    assert_int_equal(atomic_load(&s.turn[STAT_TURN_FORBIDDEN]), 0);
}

static void a_set_up_time_lands_in_its_bucket(void **state)
{
    (void)state;
    for (int i = 1; i < STAT_SETUP_BUCKETS; i++)
        assert_true(stat_setup_bounds_s[i] > stat_setup_bounds_s[i - 1]);
    assert_true(isinf(stat_setup_bounds_s[STAT_SETUP_BUCKETS - 1]));
    for (int i = 0; i < STAT_SETUP_BUCKETS; i++) {
        struct stats s;
        memset(&s, 0, sizeof s);
        bool open = i == STAT_SETUP_BUCKETS - 1;
        int64_t bound = open ? INT64_MAX : (int64_t)(stat_setup_bounds_s[i] * 1e6 + 0.5);
        stat_setup_time(&s, bound); /* bounds are inclusive: `le` */
        assert_int_equal(atomic_load(&s.setup[i]), 1);
        if (!open) {
            stat_setup_time(&s, bound + 1);
            assert_int_equal(atomic_load(&s.setup[i + 1]), 1);
            assert_int_equal(atomic_load(&s.setup_count), 2);
            assert_int_equal(atomic_load(&s.setup_sum_us), 2 * bound + 1);
        }
    }
    static struct stats s;
    stat_setup_time(&s, -5);
    assert_int_equal(atomic_load(&s.setup[0]), 1);
    assert_int_equal(atomic_load(&s.setup_sum_us), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_have_names_in_one_form),
        cmocka_unit_test(counting_counts),
        cmocka_unit_test(a_set_up_time_lands_in_its_bucket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
