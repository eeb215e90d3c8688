/* SPDX-License-Identifier: MIT */
/* log_test.c: the two formats, escaping, levels, and that a line cannot grow or be broken. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "log/log.h"

static char last[16384];
static size_t lines;

static void remember(sv line, void *arg)
{
    assert_ptr_equal(arg, last);
    assert_true(line.n < sizeof last);
    memcpy(last, line.p, line.n);
    last[line.n] = 0;
    lines++;
}

static int setup(void **state)
{
    (void)state;
    log_sink(remember, last);
    log_setup(false, LOG_LEVEL_INFO);
    lines = 0;
    return 0;
}

/* The line without its time, which must have the form of RFC 3339. */
static const char *behind_time(size_t at)
{
    static const char form[] = "0000-00-00T00:00:00.000Z";
    for (size_t i = 0; i < sizeof form - 1; i++) {
        char c = last[at + i];
        assert_int_equal(c >= '0' && c <= '9' ? '0' : c, form[i]);
    }
    return last + at + sizeof form - 1;
}

static void text_lines_quote_what_is_no_word(void **state)
{
    (void)state;
    LOG_INFO("call", "call.start", F_STR("from", "sip:a@b"), F_INT("n", -7), F_SV("none", SV_NONE),
             F_STR("evil", "x\nlevel=error \"q\" \x1b[0m\xff"), F_STR("eq", "a=b"),
             F_ERR(ERR_BUSY));
    assert_string_equal(behind_time(0),
                        " info call call.start from=sip:a@b n=-7 none=\"\" "
                        "evil=\"x\\nlevel=error \\\"q\\\" \\u001b[0m\\ufffd\" eq=\"a=b\" "
                        "error=\"in use or over capacity; try again later\"");
    LOG_WARN("net", "plain");
    assert_string_equal(behind_time(0), " warn net plain");
}

static void json_lines_are_objects(void **state)
{
    (void)state;
    log_setup(true, LOG_LEVEL_DEBUG);
    LOG_DEBUG("daemon", "ready", F_SV("t", SV("a\"\\\0\xc3\xa4\x80")), F_INT("n", INT64_MIN));
    assert_memory_equal(last, "{\"time\":\"", 9);
    assert_string_equal(behind_time(9),
                        "\",\"level\":\"debug\",\"module\":\"daemon\",\"event\":\"ready\","
                        "\"t\":\"a\\\"\\\\\\u0000\xc3\xa4\\ufffd\",\"n\":-9223372036854775808}");
}

static void levels_hold_per_module(void **state)
{
    (void)state;
    LOG_DEBUG("txn", "x");
    assert_int_equal(lines, 0);
    LOG_INFO("txn", "x");
    assert_int_equal(lines, 1);
    assert_int_equal(log_level_set("txn", LOG_LEVEL_DEBUG), ERR_OK);
    assert_true(log_enabled("txn", LOG_LEVEL_DEBUG));
    assert_false(log_enabled("txnx", LOG_LEVEL_DEBUG));
    assert_int_equal(log_level_set("txn", LOG_LEVEL_ERROR), ERR_OK);
    assert_false(log_enabled("txn", LOG_LEVEL_WARN));
    assert_int_equal(log_level_set(NULL, LOG_LEVEL_DEBUG), ERR_OK);
    assert_true(log_enabled("other", LOG_LEVEL_DEBUG));
    assert_false(log_enabled("txn", LOG_LEVEL_WARN));
    char name[] = "module-a";
    int taken = 1;
    for (; log_level_set(name, LOG_LEVEL_INFO) == ERR_OK; name[7]++)
        taken++;
    assert_int_equal(taken, 32);
    assert_int_equal(log_level_set("txn", LOG_LEVEL_INFO), ERR_OK); /* known ones still change */
    assert_int_equal(log_level_set("a-name-that-is-far-too-long-for-any-module", LOG_LEVEL_INFO),
                     ERR_TOOBIG);
}

static void levels_have_names(void **state)
{
    (void)state;
    enum log_level level = LOG_LEVEL_ERROR;
    assert_int_equal(log_level_parse(SV("debug"), &level), ERR_OK);
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_int_equal(log_level_parse(SV("warn"), &level), ERR_OK);
    assert_int_equal(level, LOG_LEVEL_WARN);
    assert_int_equal(log_level_parse(SV("loud"), &level), ERR_SYNTAX);
    assert_int_equal(log_level_parse(SV(""), &level), ERR_SYNTAX);
}

static void a_line_stays_bounded_and_whole(void **state)
{
    (void)state;
    static char big[100000];
    struct log_field fields[20];
    for (int json = 0; json < 2; json++) {
        log_setup(json, LOG_LEVEL_INFO);
        memset(big, 1, sizeof big); /* each octet becomes six */
        for (int i = 0; i < 20; i++)
            fields[i] = F_SV("big", ((sv){big, sizeof big}));
        fields[19] = F_INT("after", 5);
        log_emit(LOG_LEVEL_INFO, "m", "e", fields, 20);
        assert_true(strlen(last) < 8192);
        assert_non_null(
            strstr(last, json ? ",\"after\":5,\"truncated\":true}" : " after=5 truncated=true"));
        size_t quotes = 0;
        for (const char *c = last; *c; c++)
            quotes += *c == '"';
        assert_int_equal(quotes % 2, 0); /* what was left out left no beginning behind */
        memset(big, 'x', sizeof big);
        memcpy(big + 2046, "\xe2\x82\xac", 3); /* the cut falls into a character */
        log_emit(LOG_LEVEL_INFO, "m", "e", fields, 1);
        assert_non_null(strstr(last, "xx...\""));
        assert_null(strstr(last, "fffd"));
    }
}

static void *chatter(void *arg)
{
    for (int i = 0; i < 300; i++)
        LOG_INFO("thread", "says", F_STR("who", arg), F_INT("i", i));
    return NULL;
}

/* Standard error as it really is: lines of several threads through one pipe. */
static void lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    int fd[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(fd), 0);
    log_sink(NULL, NULL);
    dup2(fd[1], STDERR_FILENO);
    pthread_t t[2];
    static char who[2][3] = {"aa", "bb"};
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, chatter, who[i]);
    static char all[65536];
    size_t n = 0, count = 0;
    while (count < 600) {
        ssize_t got = read(fd[0], all + n, sizeof all - n);
        assert_true(got > 0);
        for (ssize_t i = 0; i < got; i++)
            count += all[n + (size_t)i] == '\n';
        n += (size_t)got;
    }
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd[0]);
    close(fd[1]);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    int next[2] = {0, 0};
    sv rest = {all, n};
    while (rest.n > 0) {
        sv line = sv_sub(rest, 0, sv_chr(rest, '\n'));
        rest = sv_sub(rest, line.n + 1, rest.n);
        char want[64];
        int i = !sv_eq(sv_sub(line, 46, 48), SV("aa"));
        struct buf b;
        buf_init(&b, want, sizeof want);
        buf_printf(&b, " info thread says who=%s i=%d", who[i], next[i]++);
        assert_true(sv_eq(sv_sub(line, 24, line.n), buf_sv(&b)));
    }
    assert_int_equal(next[0] + next[1], 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(text_lines_quote_what_is_no_word, setup),
        cmocka_unit_test_setup(json_lines_are_objects, setup),
        cmocka_unit_test_setup(levels_hold_per_module, setup),
        cmocka_unit_test_setup(levels_have_names, setup),
        cmocka_unit_test_setup(a_line_stays_bounded_and_whole, setup),
        cmocka_unit_test_setup(lines_of_threads_do_not_mix, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
