/* SPDX-License-Identifier: MIT */
/* clock_test.c: wall times as text, against known dates and against the C library. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "clock/clock.h"

static void expect(usec wall, const char *rfc3339, const char *rfc1123)
{
    char mem[64];
    struct buf b;
    buf_init(&b, mem, sizeof mem);
    clock_rfc3339(&b, wall);
    buf_char(&b, 0);
    assert_string_equal(mem, rfc3339);
    buf_reset(&b);
    clock_rfc1123(&b, wall);
    buf_char(&b, 0);
    assert_string_equal(mem, rfc1123);
}

static void known_dates_are_written(void **state)
{
    (void)state;
    expect(0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT");
    expect(-1, "1969-12-31T23:59:59.999Z", "Wed, 31 Dec 1969 23:59:59 GMT");
    expect(951782399 * USEC_S, "2000-02-28T23:59:59.000Z", "Mon, 28 Feb 2000 23:59:59 GMT");
    expect(951782399 * USEC_S + 999999, "2000-02-28T23:59:59.999Z",
           "Mon, 28 Feb 2000 23:59:59 GMT");
    expect(951782400 * USEC_S, "2000-02-29T00:00:00.000Z", "Tue, 29 Feb 2000 00:00:00 GMT");
    expect(4107542400 * USEC_S, "2100-03-01T00:00:00.000Z", "Mon, 01 Mar 2100 00:00:00 GMT");
    /* RFC 3261 §20.17's example */
    expect(1289690940 * USEC_S, "2010-11-13T23:29:00.000Z", "Sat, 13 Nov 2010 23:29:00 GMT");
}

static void every_day_agrees_with_the_c_library(void **state)
{
    (void)state;
    char want[64], mem[64];
    for (int64_t day = -40000; day < 80000; day++) {
        time_t t = (time_t)(day * 86400 + (day * 7919 % 86400 + 86400) % 86400);
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(want, sizeof want, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        struct buf b;
        buf_init(&b, mem, sizeof mem);
        clock_rfc1123(&b, (usec)t * USEC_S);
        assert_true(sv_eq(buf_sv(&b), sv_of(want)));
    }
}

static void the_farthest_times_still_have_a_text(void **state)
{
    (void)state;
    char mem[64];
    struct buf b;
    buf_init(&b, mem, sizeof mem);
    clock_rfc3339(&b, INT64_MAX);
    assert_true(sv_starts(buf_sv(&b), SV("294247-01-10T04:00:54.775Z")));
    buf_reset(&b);
    clock_rfc1123(&b, INT64_MIN);
    assert_int_equal(b.rc, ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_dates_are_written),
        cmocka_unit_test(every_day_agrees_with_the_c_library),
        cmocka_unit_test(the_farthest_times_still_have_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
