/* SPDX-License-Identifier: MIT */
/* The messages of tests/torture against the parser: each has its verdict whole, none breaks
 * anything when cut at any octet, and a stream delivers it the same way whatever the pieces are.
 * Spec: RFC 4475, RFC 5118; the columns of verdicts.tsv stand in tests/torture/README.md.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mem/mem.h"
#include "sipmsg/sipmsg.h"

enum { ROWS_MAX = 1000, LINE_MAX_N = 1000, CUT_ALL_MAX = 1500, CUTS_MAX = 400 };
enum { ARENA_CAP = 4 << 20, STREAM_MAX = 65536 };

struct row {
    char line[LINE_MAX_N];
    const char *file, *kind, *verdict, *udp, *tcp;
};

static struct row rows[ROWS_MAX];
static size_t row_count;

/* The file's octets at the end of a heap block of their own, so that reading beyond the slack
 * shows. */
static char *octets_of(const char *file, size_t *ret_n)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/tests/torture/%s", TANDEM_SOURCE_DIR, file);
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s: cannot be opened", path);
    fseek(f, 0, SEEK_END);
    size_t n = (size_t)ftell(f);
    rewind(f);
    char *p = calloc(1, n + BLOCK_SLACK);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, n, f), n);
    fclose(f);
    *ret_n = n;
    return p;
}

static int load(void **state)
{
    (void)state;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/tests/torture/verdicts.tsv", TANDEM_SOURCE_DIR);
    FILE *f = fopen(path, "r");
    if (!f)
        return -1;
    char head[LINE_MAX_N];
    if (!fgets(head, sizeof head, f))
        return -1;
    while (row_count < ROWS_MAX && fgets(rows[row_count].line, LINE_MAX_N, f)) {
        struct row *r = &rows[row_count++];
        char *rest = r->line;
        const char *column[7] = {0};
        for (unsigned i = 0; i < 7; i++)
            column[i] = strsep(&rest, "\t");
        r->file = column[0];
        r->kind = column[3];
        r->verdict = column[4];
        r->udp = column[5];
        r->tcp = column[6];
        if (!rest)
            return -1;
    }
    fclose(f);
    return row_count > 0 ? 0 : -1;
}

/* Parse and check as a server does. What is nothing but CRLFs is a keep-alive, no message. */
static enum err judge(sv text, struct arena *a, struct sipmsg *m, struct sipmsg_fault *fault)
{
    *fault = (struct sipmsg_fault){0};
    text = sv_sub(text, sipmsg_skip_crlf(text), text.n);
    if (text.n == 0)
        return ERR_MORE;
    enum err rc = sipmsg_parse(text, a, m, fault);
    return rc ? rc : sipmsg_check(m, fault);
}

static bool lists_status(const char *answers, unsigned status)
{
    char text[16];
    snprintf(text, sizeof text, "%u", status);
    return strstr(answers, text) != NULL;
}

static void has_its_verdict(void **state)
{
    (void)state;
    size_t wrong = 0;
    for (size_t i = 0; i < row_count; i++) {
        const struct row *r = &rows[i];
        size_t n;
        char *p = octets_of(r->file, &n);
        struct arena a;
        arena_init(&a, NULL, 0, ARENA_CAP);
        struct sipmsg m;
        struct sipmsg_fault fault;
        enum err rc = judge((sv){p, n}, &a, &m, &fault);
        const char *got = rc ? "invalid" : "valid";
        bool right = strcmp(r->verdict, "either") == 0 || strcmp(r->verdict, got) == 0;
        if (!right)
            print_error("%s: %s demanded, found %s: %s %s at %u\n", r->file, r->verdict, got,
                        err_name(rc), fault.why ? fault.why : "", fault.at);
        /* What the parser proposes as the answer is one that the table allows the server. */
        if (rc && right && strcmp(r->kind, "request") == 0 && fault.status &&
            strcmp(r->verdict, "invalid") == 0 && !lists_status(r->udp, fault.status) &&
            strcmp(r->udp, "none") != 0) {
            print_error("%s: %s demanded, proposed %u %s\n", r->file, r->udp, fault.status,
                        fault.why ? fault.why : "");
            right = false;
        }
        if (!rc && right && m.request != (strcmp(r->kind, "request") == 0)) {
            print_error("%s: is a %s\n", r->file, r->kind);
            right = false;
        }
        wrong += !right;
        arena_done(&a);
        free(p);
    }
    assert_int_equal(wrong, 0);
}

static bool within(sv part, sv whole)
{
    return !part.p || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

/* A datagram may end anywhere. The octets end where the allocation's slack begins. */
static void survives_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < row_count; i++) {
        size_t n;
        char *p = octets_of(rows[i].file, &n);
        size_t step = n <= CUT_ALL_MAX ? 1 : n / CUTS_MAX + 1;
        for (size_t cut = 0; cut < n; cut += step) {
            char *piece = malloc(cut + BLOCK_SLACK);
            assert_non_null(piece);
            memcpy(piece, p, cut);
            /* What follows a datagram in its block is left over from others. */
            memset(piece + cut, '5', BLOCK_SLACK);
            struct arena a;
            arena_init(&a, NULL, 0, ARENA_CAP);
            struct sipmsg m;
            struct sipmsg_fault fault;
            sv text = {piece, cut};
            enum err rc = judge(text, &a, &m, &fault);
            if (!rc) {
                assert_true(within(m.text, text));
                assert_true(m.body_at <= m.text.n);
                assert_true(within(m.method_text, text) && within(m.uri_text, text));
            } else if (rc == ERR_SYNTAX) {
                assert_true(fault.at <= cut);
            }
            arena_done(&a);
            free(piece);
        }
        free(p);
    }
}

/* Frames text as it comes in pieces of `piece` octets. */
static enum err frame_in_pieces(sv text, size_t piece, size_t *ret_n)
{
    size_t resume = 0;
    enum err rc = ERR_MORE;
    for (size_t have = piece; rc == ERR_MORE; have += piece) {
        bool all = have >= text.n;
        rc = sipmsg_frame(sv_sub(text, 0, have), STREAM_MAX, &resume, ret_n, NULL);
        if (all)
            break;
    }
    return rc;
}

static void frames_alike_in_any_pieces(void **state)
{
    (void)state;
    size_t wrong = 0;
    for (size_t i = 0; i < row_count; i++) {
        const struct row *r = &rows[i];
        size_t n;
        char *p = octets_of(r->file, &n);
        sv text = {p, n};
        text = sv_sub(text, sipmsg_skip_crlf(text), n);
        size_t whole_n = 0, piece_n = 0, resume = 0;
        enum err whole = sipmsg_frame(text, STREAM_MAX, &resume, &whole_n, NULL);
        enum err pieces = frame_in_pieces(text, 1, &piece_n);
        bool right = whole == pieces && whole_n == piece_n && whole_n <= text.n;
        if (strcmp(r->tcp, "=") == 0 && strcmp(r->verdict, "valid") == 0)
            right = right && whole == ERR_OK;
        if (strcmp(r->tcp, "wait") == 0)
            right = right && whole == ERR_MORE;
        if (strcmp(r->tcp, "400+close") == 0)
            right = right && whole && whole != ERR_MORE;
        if (!right) {
            print_error("%s: %s with %zu octets, %s with %zu by single octets\n", r->file,
                        err_name(whole), whole_n, err_name(pieces), piece_n);
            wrong++;
        }
        free(p);
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_its_verdict),
        cmocka_unit_test(survives_every_cut),
        cmocka_unit_test(frames_alike_in_any_pieces),
    };
    return cmocka_run_group_tests_name("torture", tests, load, NULL);
}
