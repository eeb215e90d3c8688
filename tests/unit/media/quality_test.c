/* SPDX-License-Identifier: MIT */
/* quality_test.c: points of G.107 that anybody can check by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <math.h>
#include <cmocka.h>
#include "quality/quality.h"

#define ASSERT_NEAR(got, want, by) assert_true(fabs((got) - (want)) <= (by))

static double mos(const struct quality_codec *c, double loss, double ms)
{
    struct quality_figures f = {.loss = loss, .burst = 1, .one_way_ms = ms};
    return quality_mos(quality_rating(c, &f));
}

static void default_values_give_the_rating_of_the_standard(void **state)
{
    (void)state;
    struct quality_figures f = {.burst = 1};
    ASSERT_NEAR(quality_rating(&quality_g711, &f), 93.2, 1e-9);
    ASSERT_NEAR(quality_mos(93.2), 4.41, 0.005); /* G.107 Annex B */
    ASSERT_NEAR(quality_mos(50), 2.58, 0.01);    /* Table B.1: "nearly all users dissatisfied" */
    ASSERT_NEAR(quality_mos(70), 3.60, 0.01);
}

static void loss_and_delay_lower_it_and_their_end_raises_it_again(void **state)
{
    (void)state;
    double calm = mos(&quality_g711, 0, 20);
    assert_true(mos(&quality_g711, 0.05, 20) < calm - 0.4);
    assert_true(mos(&quality_g711, 0, 400) < calm - 0.4);
    for (double loss = 0, last = 5; loss <= 1; loss += 0.01) {
        double now = mos(&quality_g711, loss, 20);
        assert_true(now <= last);
        last = now;
    }
    /* 5 % of random loss: 95 * 5 / (5 + 25.1) = 15.8 */
    struct quality_figures f = {.loss = 0.05, .burst = 1};
    ASSERT_NEAR(quality_rating(&quality_g711, &f), 93.2 - 15.78, 0.01);
}

static void bursts_hurt_more_than_single_losses(void **state)
{
    (void)state;
    struct quality_figures single = {.loss = 0.05, .burst = 1}, bursts = {.loss = 0.05, .burst = 4};
    assert_true(quality_rating(&quality_g711, &bursts) < quality_rating(&quality_g711, &single));
}

static void figures_outside_their_range_count_as_its_end(void **state)
{
    (void)state;
    struct quality_figures odd[] = {{-1, -1, -1},
                                    {2, 0, 1e12},
                                    {(double)NAN, (double)NAN, (double)NAN},
                                    {(double)INFINITY, 1, 0}};
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        double r = quality_rating(&quality_unknown, &odd[i]);
        assert_true(r >= 0 && r <= 93.2);
        assert_true(quality_mos(r) >= 1 && quality_mos(r) <= 4.5);
    }
    assert_true(quality_mos(3) >= 1 && quality_mos((double)NAN) >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_values_give_the_rating_of_the_standard),
        cmocka_unit_test(loss_and_delay_lower_it_and_their_end_raises_it_again),
        cmocka_unit_test(bursts_hurt_more_than_single_losses),
        cmocka_unit_test(figures_outside_their_range_count_as_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
