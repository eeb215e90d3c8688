/* SPDX-License-Identifier: MIT */
/* What the tests of config share: files in a folder of their own, and what a load of them says. */
#ifndef CONFIG_LOAD_H
#define CONFIG_LOAD_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "config/config.h"
#include "mem/mem.h"

static char folder[64];
static char said[64 * 1024];

static inline const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static inline void put_octets(const char *name, const char *octets, size_t n)
{
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(octets, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static inline void put(const char *name, const char *text)
{
    put_octets(name, text, strlen(text));
}

/* Loads; NULL: refused. said: the report, with the folder's path taken out. */
static inline struct config *load_with(const char *path, const char *const *sets, size_t sets_n)
{
    struct config_source src = {.path = path, .sets = sets, .sets_n = sets_n};
    struct config_report report;
    struct config *c = NULL;
    struct buf b;
    config_report_init(&report);
    enum err rc = config_load(&src, &report, &c);
    assert_true(rc == ERR_OK || rc == ERR_SYNTAX);
    assert_true((rc == ERR_OK) == (report.errors == 0));
    assert_true((rc == ERR_OK) == (c != NULL));
    buf_init_heap(&b, sizeof(said) - 1);
    config_report_print(&report, &b);
    sv text = buf_sv(&b);
    size_t n = 0;
    for (size_t i = 0; i < text.n;) {
        if (sv_starts(sv_sub(text, i, text.n), sv_of(folder)) && text.p[i + strlen(folder)] == '/')
            i += strlen(folder) + 1;
        else
            said[n++] = text.p[i++];
    }
    said[n] = '\0';
    buf_done(&b);
    config_report_done(&report);
    return c;
}

static inline struct config *load(const char *text)
{
    char path[256];
    put("t.yaml", text);
    snprintf(path, sizeof(path), "%s", path_of("t.yaml"));
    return load_with(path, NULL, 0);
}

/* Loads text, which must be fine. */
static inline struct config *good(const char *text)
{
    struct config *c = load(text);
    assert_string_equal(said, "");
    return c;
}

static inline void refused(const char *text, const char *report)
{
    if (load(text))
        fail_msg("not refused: %s", text);
    assert_string_equal(said, report);
}

static inline void assert_sv(sv is, const char *wanted)
{
    char text[512];
    snprintf(text, sizeof(text), SV_FMT, SV_ARG(is));
    assert_string_equal(text, wanted);
}

static inline void assert_addr(const struct addr *a, const char *wanted)
{
    char mem[80];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    addr_print(&b, a);
    assert_sv(buf_sv(&b), wanted);
}

static inline int in_folder(void **state)
{
    (void)state;
    static const char *const names[] = {
        "TANDEM_CONFIG",     "TANDEM_DATA",           "TANDEM_SOCKET",
        "STATE_DIRECTORY",   "RUNTIME_DIRECTORY",     "TANDEM_JOURNAL_MIN",
        "TANDEM_TEST_VALUE", "CREDENTIALS_DIRECTORY", "TANDEM_TEST_WRONG"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unsetenv(names[i]);
    snprintf(folder, sizeof(folder), "/tmp/config_test.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static inline int out_of_folder(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command) == 0 && mem_live() == 0 ? 0 : -1;
}

#endif
