/* SPDX-License-Identifier: MIT */
/* tones_test.c: what is made has its frequencies, levels and cadence; what is heard is what was made. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "mem/mem.h"
#include "sound.h"
#include "tones/tones.h"

static const uint32_t rates[] = {8000, 16000, 48000};
static int16_t pcm[48000 * 10];

/* dBm0 of a power: the largest sine is +3.14. */
static double dbm0(double p)
{
    return db(p / (32767.0 * 32767.0 / 2)) + 3.14;
}

static void progress_is_that_of_the_country(void **state)
{
    (void)state;
    struct tones t;
    for (int r = 0; r < 3; r++) {
        size_t ms = rates[r] / 1000;
        tones_progress(&t, rates[r], tones_country(SV("ch")), TONES_RINGBACK);
        assert_true(tones_make(&t, pcm, 7000 * ms));
        assert_true(fabs(dbm0(power_at(425, rates[r], pcm + 100 * ms, 800 * ms)) + 13) < 0.2);
        assert_true(purity(425, rates[r], pcm + 100 * ms, 800 * ms) > 50);
        assert_true(power(pcm + 1000 * ms, 4000 * ms) < 0.1);
        assert_true(fabs(dbm0(power(pcm + 5100 * ms, 800 * ms)) + 13) < 0.2);
        tones_progress(&t, rates[r], tones_country(SV("US")), TONES_BUSY);
        tones_make(&t, pcm, 1000 * ms);
        assert_true(fabs(dbm0(power_at(480, rates[r], pcm + 50 * ms, 400 * ms)) + 16) < 0.3);
        assert_true(fabs(dbm0(power_at(620, rates[r], pcm + 50 * ms, 400 * ms)) + 16) < 0.3);
        assert_true(power(pcm + 500 * ms, 500 * ms) < 0.1);
        tones_progress(&t, rates[r], tones_country(SV("GB")), TONES_RINGBACK);
        tones_make(&t, pcm, 4000 * ms);
        assert_true(power(pcm + 401 * ms, 198 * ms) < 0.1 && power(pcm + 610 * ms, 380 * ms) > 1e6);
        assert_true(power(pcm + 1001 * ms, 1998 * ms) < 0.1 &&
                    power(pcm + 3010 * ms, 380 * ms) > 1e6);
        tones_progress(&t, rates[r], TONES_DE, TONES_DIAL);
        assert_true(tones_make(&t, pcm, 10000 * ms));
        assert_true(power(pcm + 9000 * ms, 1000 * ms) > 1e6);
    }
    assert_int_equal(tones_country(SV("XX")), TONES_COUNTRIES);
    assert_int_equal(tones_country(SV_NONE), TONES_COUNTRIES);
}

static void a_sine_ends_without_a_click(void **state)
{
    (void)state;
    struct tones t;
    tones_sine(&t, 8000, 1000, 100, 0);
    assert_true(tones_make(&t, pcm, 799));
    assert_false(tones_make(&t, pcm + 799, 801));
    assert_true(fabs(dbm0(power_at(1000, 8000, pcm + 80, 640))) < 0.1);
    assert_true(abs(pcm[0]) < 2000 && abs(pcm[799]) < 2000 && power(pcm + 800, 800) < 0.1);
    tones_silence(&t, 8000);
    assert_false(tones_make(&t, pcm, 100));
    assert_true(power(pcm, 100) < 0.1);
    assert_false(tones_digit(&t, 8000, 'x', 100, 10));
    assert_false(tones_make(&t, pcm, 100));
}

static void digits_that_are_made_are_recognised(void **state)
{
    (void)state;
    static const char keys[] = "0123456789*#ABCD";
    static const unsigned lengths[] = {50, 80, 120, 400};
    for (int r = 0; r < 3; r++) {
        size_t ms = rates[r] / 1000;
        for (unsigned l = 0; l < 4; l++) {
            struct tones_detector *d;
            struct tones_news news[TONES_NEWS_MAX];
            assert_int_equal(tones_detector_new(rates[r], &d), ERR_OK);
            for (const char *k = keys; *k; k++) {
                struct tones t;
                uint64_t down = 0, up = 0;
                unsigned downs = 0, ups = 0;
                assert_true(tones_digit(&t, rates[r], *k, lengths[l], 10));
                for (unsigned i = 0; i < lengths[l] / 20 + 5; i++) {
                    tones_make(&t, pcm, 20 * ms);
                    unsigned n = tones_detect(d, pcm, 20 * ms, news);
                    for (unsigned j = 0; j < n; j++) {
                        assert_int_equal(news[j].digit, *k);
                        *(news[j].down ? &down : &up) = news[j].at;
                        news[j].down ? downs++ : ups++;
                    }
                }
                assert_true(downs == 1 && ups == 1);
                double lasted = (double)(up - down) / (double)ms;
                if (fabs(lasted - lengths[l]) > 20)
                    fail_msg("%c of %u ms lasted %.1f ms", *k, lengths[l], lasted);
            }
            tones_detector_free(d);
        }
    }
    struct tones_detector *d;
    assert_int_equal(tones_detector_new(44100, &d), ERR_UNSUPPORTED);
}

static void noise_and_single_tones_are_no_digits(void **state)
{
    (void)state;
    struct tones_detector *d;
    struct tones_news news[TONES_NEWS_MAX];
    assert_int_equal(tones_detector_new(8000, &d), ERR_OK);
    srand(1);
    for (unsigned i = 0; i < 500; i++) {
        for (size_t k = 0; k < 160; k++)
            pcm[k] = (int16_t)(rand() % 20000 - 10000);
        assert_int_equal(tones_detect(d, pcm, 160, news), 0);
    }
    struct tones t;
    for (double hz = 300; hz < 3000; hz += 50) {
        tones_sine(&t, 8000, hz, 0, 6);
        for (unsigned i = 0; i < 10; i++) {
            tones_make(&t, pcm, 160);
            assert_int_equal(tones_detect(d, pcm, 160, news), 0);
        }
    }
    tones_progress(&t, 8000, TONES_US, TONES_DIAL);
    for (unsigned i = 0; i < 100; i++) {
        tones_make(&t, pcm, 160);
        assert_int_equal(tones_detect(d, pcm, 160, news), 0);
    }
    tones_detector_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress_is_that_of_the_country),
        cmocka_unit_test(a_sine_ends_without_a_click),
        cmocka_unit_test(digits_that_are_made_are_recognised),
        cmocka_unit_test(noise_and_single_tones_are_no_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
