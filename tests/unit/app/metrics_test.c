/* SPDX-License-Identifier: MIT */
/* The metrics page against a strict reader of the Prometheus text format, version 0.0.4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "metrics/metrics.h"
#include "sim/sim.h"

enum { FAMILIES_MAX = 128, SERIES_MAX = 1024 };

struct family {
    sv name, type;
    bool help, ended; /* ended: another family's lines have come since */
};

struct reader {
    struct family family[FAMILIES_MAX];
    unsigned families;
    sv series[SERIES_MAX]; /* name and labels, to find doubles */
    double value[SERIES_MAX];
    unsigned n;
};

static bool name_ok(sv s, bool colon)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool letter =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon && c == ':');
        if (!letter && !(i > 0 && c >= '0' && c <= '9'))
            return false;
    }
    return s.n > 0;
}

static struct family *family_of(struct reader *r, sv name)
{
    for (unsigned i = 0; i < r->families; i++) {
        if (sv_eq(r->family[i].name, name))
            return &r->family[i];
    }
    return NULL;
}

/* "{a="b",c="d"}" at the start of s: its length; 0: wrong. */
static size_t labels_at(sv s)
{
    size_t i = 1;
    for (;;) {
        size_t eq = i + sv_chr(sv_sub(s, i, s.n), '=');
        if (!name_ok(sv_sub(s, i, eq), false) || eq + 1 >= s.n || s.p[eq + 1] != '"')
            return 0;
        for (i = eq + 2; i < s.n && s.p[i] != '"'; i++) {
            if (s.p[i] == '\\' && (++i == s.n || !strchr("\\\"n", s.p[i])))
                return 0;
        }
        if (++i >= s.n)
            return 0;
        if (s.p[i] == '}')
            return i + 1;
        if (s.p[i++] != ',')
            return 0;
    }
}

static const char *comment(struct reader *r, sv line)
{
    bool help = sv_starts(line, SV("# HELP "));
    if (!help && !sv_starts(line, SV("# TYPE ")))
        return "neither HELP nor TYPE";
    sv rest = sv_sub(line, 7, line.n);
    sv name = sv_sub(rest, 0, sv_chr(rest, ' ')), text = sv_sub(rest, name.n + 1, rest.n);
    struct family *f = family_of(r, name);
    if (!name_ok(name, true) || !text.n)
        return "no name, or no text";
    if (help && f)
        return "a second HELP";
    if (help) {
        assert_true(r->families < FAMILIES_MAX);
        for (unsigned i = 0; i < r->families; i++)
            r->family[i].ended = true;
        r->family[r->families++] = (struct family){.name = name, .help = true};
        return NULL;
    }
    if (!f || f->type.p || f->ended)
        return "TYPE without its HELP, or twice";
    if (!sv_eq(text, SV("counter")) && !sv_eq(text, SV("gauge")) && !sv_eq(text, SV("histogram")))
        return "no such type";
    f->type = text;
    return NULL;
}

static const char *sample(struct reader *r, sv line)
{
    size_t n = 0;
    while (n < line.n && line.p[n] != '{' && line.p[n] != ' ')
        n++;
    sv name = sv_sub(line, 0, n), base = name;
    size_t labels = n < line.n && line.p[n] == '{' ? labels_at(sv_sub(line, n, line.n)) : 0;
    if (!name_ok(name, true) || (line.p[n] == '{' && !labels))
        return "a wrong name or label";
    sv series = sv_sub(line, 0, n + labels), number = sv_sub(line, series.n + 1, line.n);
    struct family *f = family_of(r, name);
    static const char *const ends[] = {"_bucket", "_sum", "_count"};
    for (size_t i = 0; i < 3 && !f; i++) {
        if (sv_ends(name, sv_of(ends[i]))) {
            base = sv_sub(name, 0, name.n - strlen(ends[i]));
            f = family_of(r, base);
            if (f && !sv_eq(f->type, SV("histogram")))
                f = NULL;
        }
    }
    if (!f || !f->type.p || f->ended)
        return "no family, or not together with it";
    if (sv_eq(f->type, SV("counter")) && !sv_ends(name, SV("_total")))
        return "a counter without _total";
    char text[64], *end;
    if (line.n <= series.n || line.p[series.n] != ' ' || !number.n || number.n >= sizeof(text))
        return "no value";
    memcpy(text, number.p, number.n);
    text[number.n] = '\0';
    double v = strtod(text, &end);
    if (*end || text[0] == ' ' || (v < 0 && !sv_eq(f->type, SV("gauge"))))
        return "a wrong value";
    for (unsigned i = 0; i < r->n; i++) {
        if (sv_eq(r->series[i], series))
            return "a series twice";
    }
    assert_true(r->n < SERIES_MAX);
    r->series[r->n] = series;
    r->value[r->n++] = v;
    return NULL;
}

static const char *read_page(struct reader *r, sv page)
{
    memset(r, 0, sizeof(*r));
    if (!page.n || page.p[page.n - 1] != '\n')
        return "the last line has no end";
    while (page.n) {
        sv line = sv_sub(page, 0, sv_chr(page, '\n'));
        const char *why = !line.n            ? "an empty line"
                          : line.p[0] == '#' ? comment(r, line)
                                             : sample(r, line);
        if (why)
            return why;
        page = sv_sub(page, line.n + 1, page.n);
    }
    return NULL;
}

static double value_of(const struct reader *r, const char *series)
{
    for (unsigned i = 0; i < r->n; i++) {
        if (sv_eq(r->series[i], sv_of(series)))
            return r->value[i];
    }
    fail_msg("no series %s", series);
    return 0;
}

static void the_reader_is_strict(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "a 1",
        "# HELP a b\na 1\n",
        "# TYPE a gauge\na 1\n",
        "# HELP a b\n# TYPE a gauge\na x\n",
        "# HELP a b\n# TYPE a gauge\na{b=c} 1\n",
        "# HELP a b\n# TYPE a gauge\na{b=\"c\\x\"} 1\n",
        "# HELP a b\n# TYPE a gauge\na 1\na 2\n",
        "# HELP a b\n# TYPE a counter\na 1\n",
        "# HELP a_total b\n# TYPE a_total counter\na_total -1\n",
        "# HELP a b\n# TYPE a gauge\n\na 1\n",
        "# HELP a b\n# TYPE a gauge\n# HELP b b\n# TYPE b gauge\na 1\n",
        "# HELP 1 b\n# TYPE 1 gauge\n",
        "# HELP a b\n# TYPE a gauge\na_bucket{le=\"1\"} 1\n",
        "# HELP a b\n# TYPE a odd\n",
    };
    struct reader r;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_non_null(read_page(&r, sv_of(wrong[i])));
    assert_null(read_page(&r, SV("# HELP a b\n# TYPE a gauge\na{b=\"c\\\"d\",e=\"f\"} -1.5\n")));
}

static void the_page_sums_the_workers(void **state)
{
    (void)state;
    struct sim *sim;
    struct sim_host *host;
    struct loop_group *g;
    struct addr ip;
    assert_int_equal(addr_parse_ip(SV("192.0.2.1"), 0, &ip), ERR_OK);
    assert_int_equal(sim_new(1, &sim), ERR_OK);
    assert_int_equal(sim_host_new(sim, "pbx", &ip, 1, &host), ERR_OK);
    assert_int_equal(sim_process(host, 3, &g), ERR_OK);
    for (unsigned i = 0; i < 3; i++) {
        struct stats *s = &g->loop[i]->stats;
        stat_add(s, STAT_SIP_RX_UDP, 10);
        stat_add(s, STAT_CALLS, i == 0 ? -1 : 2); /* begun on one worker, counted down on another */
        stat_refuse(s, STAT_LIMIT_CONTROL);
        for (unsigned m = 0; m < STAT_METHODS; m++) {
            for (unsigned t = 0; t < STAT_TRANSPORTS; t++)
                atomic_store(&s->requests[m][t], i == 0 ? 2 : 1);
        }
        stat_setup_time(s, 3000);
        stat_setup_time(s, 3 * USEC_S);
        stat_setup_time(s, 100 * USEC_S);
    }
    struct metrics_extra x = {.version = "1.2.3",
                              .reload_ok = true,
                              .started = 1500 * USEC_MS,
                              .certificate_expires = 1800000000 * USEC_S};
    struct buf b;
    static struct reader r;
    buf_init_heap(&b, 1024 * 1024);
    size_t allocated = mem_allocated();
    metrics_print(g, &x, &b);
    assert_int_equal(b.rc, ERR_OK);
    const char *why = read_page(&r, buf_sv(&b));
    if (why)
        fail_msg("%s in:\n%.*s", why, (int)b.n, b.p);
    assert_true(value_of(&r, "tandem_sip_datagrams_received_total") == 30);
    assert_true(value_of(&r, "tandem_calls") == 3);
    assert_true(value_of(&r, "tandem_limit_refusals_total{limit=\"control\"}") == 3);
    assert_true(value_of(&r, "tandem_sip_requests_total{method=\"INVITE\",transport=\"udp\"}") ==
                4);
    assert_true(value_of(&r, "tandem_worker_requests_total{worker=\"0\"}") ==
                2 * STAT_METHODS * STAT_TRANSPORTS);
    assert_true(value_of(&r, "tandem_placement_skew") == 1.5);
    assert_true(value_of(&r, "tandem_config_reload_success") == 1);
    assert_true(value_of(&r, "process_start_time_seconds") == 1.5);
    assert_true(value_of(&r, "tandem_tls_certificate_expiry_timestamp_seconds") == 1800000000);
    assert_true(value_of(&r, "tandem_build_info{version=\"1.2.3\"}") == 1);
    assert_true(value_of(&r, "tandem_memory_allocated_bytes") == (double)allocated);
    /* Buckets add up, the last has all, and so says the count. */
    assert_true(value_of(&r, "tandem_call_setup_seconds_bucket{le=\"0.005\"}") == 3);
    assert_true(value_of(&r, "tandem_call_setup_seconds_bucket{le=\"2.5\"}") == 3);
    assert_true(value_of(&r, "tandem_call_setup_seconds_bucket{le=\"5\"}") == 6);
    assert_true(value_of(&r, "tandem_call_setup_seconds_bucket{le=\"+Inf\"}") == 9);
    assert_true(value_of(&r, "tandem_call_setup_seconds_count") == 9);
    assert_true(value_of(&r, "tandem_call_setup_seconds_sum") > 309 - 0.1);
    buf_done(&b);
    sim_process_stop(host);
    sim_process_free(host);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reader_is_strict),
        cmocka_unit_test(the_page_sums_the_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
