/* SPDX-License-Identifier: MIT */
/* err_test.c: every error has a name and a text, and a wrong number has too. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>
#include "err/err.h"

static void every_error_has_a_name_and_its_own_text(void **state)
{
    (void)state;
    for (int a = 0; a < ERR_COUNT; a++) {
        assert_true(strlen(err_name((enum err)a)) > 0);
        assert_true(strlen(err_text((enum err)a)) > 0);
        for (int b = 0; b < a; b++) {
            assert_string_not_equal(err_name((enum err)a), err_name((enum err)b));
            assert_string_not_equal(err_text((enum err)a), err_text((enum err)b));
        }
    }
    assert_int_equal(ERR_OK, 0);
    assert_string_equal(err_name(ERR_NOMEM), "NOMEM");
    assert_string_equal(err_text(ERR_TIMEOUT), "no answer in time");
}

static void a_number_outside_the_list_still_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(err_text(ERR_COUNT), "unknown error");
    assert_string_equal(err_name((enum err) - 1), "UNKNOWN");
}

static enum err tries(enum err rc, int *reached)
{
    TRY(rc);
    *reached = 1;
    return ERR_OK;
}

static void try_returns_at_the_first_error(void **state)
{
    (void)state;
    int reached = 0;
    assert_int_equal(tries(ERR_BUSY, &reached), ERR_BUSY);
    assert_int_equal(reached, 0);
    assert_int_equal(tries(ERR_OK, &reached), ERR_OK);
    assert_int_equal(reached, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_a_name_and_its_own_text),
        cmocka_unit_test(a_number_outside_the_list_still_has_a_text),
        cmocka_unit_test(try_returns_at_the_first_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
