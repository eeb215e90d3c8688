/* SPDX-License-Identifier: MIT */
/* str_test.c: views, the cursor, and building under a cap. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>
#include "mem/arena.h"
#include "str/buf.h"
#include "str/form.h"
#include "str/scan.h"

#define assert_sv(got, want) assert_true(sv_eq((got), (want)))

static void views_compare_by_octet_or_folded(void **state)
{
    (void)state;
    assert_true(sv_eq(SV("abc"), sv_of("abc")));
    assert_false(sv_eq(SV("abc"), SV("abC")));
    assert_true(sv_eq(SV_NONE, SV("")));
    assert_false(sv_present(SV_NONE));
    assert_true(sv_present(SV("")));
    assert_true(sv_ieq(SV("Call-ID"), SV("cALL-id")));
    assert_false(sv_ieq(SV("a["), SV("a{"))); /* differ in bit 5 only, but are no letters */
    assert_false(sv_ieq(SV("ab"), SV("abc")));
    assert_true(sv_cmp(SV("ab"), SV("abc")) < 0);
    assert_true(sv_cmp(SV("b"), SV("abc")) > 0);
    assert_true(sv_cmp(SV("\xff"), SV("a")) > 0);
    assert_int_equal(sv_cmp(SV("x"), SV("x")), 0);
    assert_int_equal(sv_cmp(SV_NONE, SV("")), 0);
}

static void views_are_cut_within_their_bounds(void **state)
{
    (void)state;
    sv s = SV("  a b\r\n\t");
    assert_sv(sv_trim(s), SV("a b"));
    assert_sv(sv_trim(SV(" \t ")), SV(""));
    assert_sv(sv_sub(SV("hello"), 1, 3), SV("el"));
    assert_sv(sv_sub(SV("hello"), 3, 99), SV("lo"));
    assert_int_equal(sv_sub(SV("hello"), 9, 2).n, 0);
    assert_int_equal(sv_sub(SV_NONE, 0, 5).n, 0);
    assert_true(sv_starts(SV("sip:x"), SV("sip:")));
    assert_false(sv_starts(SV("si"), SV("sip:")));
    assert_true(sv_ends(SV("x.sip"), SV(".sip")));
    assert_false(sv_ends(SV("sip"), SV(".sip")));
    assert_int_equal(sv_chr(SV("a@b"), '@'), 1);
    assert_int_equal(sv_chr(SV("ab"), '@'), 2);
    assert_int_equal(sv_chr(SV_NONE, '@'), 0);
}

static void numbers_are_whole_and_bounded(void **state)
{
    (void)state;
    uint64_t v = 7;
    assert_int_equal(sv_u64(SV("0"), 10, &v), ERR_OK);
    assert_int_equal(v, 0);
    assert_int_equal(sv_u64(SV("0010"), 10, &v), ERR_OK);
    assert_int_equal(v, 10);
    assert_int_equal(sv_u64(SV("11"), 10, &v), ERR_RANGE);
    assert_int_equal(sv_u64(SV("18446744073709551615"), UINT64_MAX, &v), ERR_OK);
    assert_true(v == UINT64_MAX);
    assert_int_equal(sv_u64(SV("18446744073709551616"), UINT64_MAX, &v), ERR_RANGE);
    assert_int_equal(sv_u64(SV("99999999999999999999999999"), UINT64_MAX, &v), ERR_RANGE);
    static const char *const wrong[] = {"", "-1", "+1", " 1", "1 ", "0x1", "1a"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(sv_u64(sv_of(wrong[i]), UINT64_MAX, &v), ERR_SYNTAX);
    assert_int_equal(sv_u64(SV_NONE, 9, &v), ERR_SYNTAX);
    assert_true(v == UINT64_MAX); /* failures wrote nothing */
    assert_int_equal(sv_u64(SV("5"), 3, &v), ERR_RANGE);
}

static void copies_end_with_nul_and_keep_absence(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, NULL, 0, 4096);
    sv copy;
    assert_int_equal(sv_dup(&a, SV("AbC"), &copy), ERR_OK);
    assert_sv(copy, SV("AbC"));
    assert_int_equal(copy.p[3], 0);
    assert_int_equal(sv_dup_lower(&a, SV("AbC[\xc3\x84"), &copy), ERR_OK);
    assert_sv(copy, SV("abc[\xc3\x84"));
    assert_int_equal(sv_dup(&a, SV_NONE, &copy), ERR_OK);
    assert_null(copy.p);
    assert_int_equal(sv_dup(&a, SV(""), &copy), ERR_OK);
    assert_non_null(copy.p);
    arena_done(&a);
    arena_init(&a, NULL, 0, 0);
    assert_int_equal(sv_dup(&a, SV("x"), &copy), ERR_NOMEM);
    arena_done(&a);
}

static void the_cursor_moves_only_on_success(void **state)
{
    (void)state;
    bool digit[256] = {0};
    for (int c = '0'; c <= '9'; c++)
        digit[c] = true;
    struct scan c = scan_of(SV("SIP/2.0 12345x:rest"));
    sv run;
    uint64_t v;
    assert_false(scan_char(&c, 'X'));
    assert_false(scan_itext(&c, SV("SIP/2.0 12345x:rest and more")));
    assert_true(scan_itext(&c, SV("sip/")));
    assert_int_equal(scan_offset(&c), 4);
    assert_int_equal(scan_u64(&c, 1, &v), ERR_RANGE);
    assert_int_equal(scan_offset(&c), 4);
    assert_int_equal(scan_u64(&c, 2, &v), ERR_OK);
    assert_true(scan_char(&c, '.') && scan_char(&c, '0'));
    assert_int_equal(scan_u64(&c, 9, &v), ERR_SYNTAX);
    scan_blanks(&c);
    assert_int_equal(scan_set(&c, digit, 4, &run), ERR_TOOBIG);
    assert_int_equal(scan_set(&c, digit, 5, &run), ERR_OK);
    assert_sv(run, SV("12345"));
    assert_int_equal(scan_set(&c, digit, 5, &run), ERR_SYNTAX);
    assert_int_equal(scan_until(&c, ':', 0, &run), ERR_TOOBIG);
    assert_int_equal(scan_until(&c, ':', 1, &run), ERR_OK);
    assert_sv(run, SV("x"));
    assert_true(scan_char(&c, ':'));
    assert_int_equal(scan_until(&c, '!', 4, &run), ERR_MORE);
    assert_int_equal(scan_until(&c, '!', 3, &run), ERR_TOOBIG);
    assert_sv(scan_rest(&c), SV("rest"));
    assert_true(scan_itext(&c, SV("REST")) && scan_end(&c));
    assert_false(scan_char(&c, 't'));
    c = scan_of(SV_NONE);
    assert_true(scan_end(&c));
}

static void a_buffer_is_exact_and_its_error_sticks(void **state)
{
    (void)state;
    char mem[8];
    struct buf b;
    memset(mem, '#', sizeof mem);
    buf_init(&b, mem, 7);
    buf_str(&b, "abc");
    buf_put(&b, SV("defgh")); /* one too many: nothing of it is written */
    assert_int_equal(b.rc, ERR_TOOBIG);
    assert_sv(buf_sv(&b), SV("abc"));
    buf_char(&b, 'x');
    assert_sv(buf_sv(&b), SV("abc"));
    buf_reset(&b);
    buf_put(&b, SV("1234567"));
    assert_int_equal(b.rc, ERR_OK);
    assert_int_equal(mem[7], '#');
    buf_reset(&b);
    buf_put(&b, SV_NONE);
    assert_int_equal(b.rc, ERR_OK);
    buf_done(&b);
    buf_init(&b, NULL, 0);
    assert_non_null(buf_sv(&b).p);
    buf_char(&b, 'x');
    assert_int_equal(b.rc, ERR_TOOBIG);
}

static void a_heap_buffer_grows_to_its_cap(void **state)
{
    (void)state;
    struct buf b;
    size_t live = mem_live();
    buf_init_heap(&b, 1000);
    for (int i = 0; i < 1000; i++)
        buf_char(&b, 'x');
    assert_int_equal(b.rc, ERR_OK);
    assert_int_equal(b.n, 1000);
    buf_char(&b, 'x');
    assert_int_equal(b.rc, ERR_TOOBIG);
    buf_reset(&b);
    mem_fail_after(1);
    for (int i = 0; i < 1000; i++)
        buf_char(&b, 'y'); /* the memory it has is enough */
    assert_int_equal(b.rc, ERR_OK);
    buf_done(&b);
    buf_init_heap(&b, 1000);
    buf_char(&b, 'x');
    mem_fail_after(0);
    assert_int_equal(b.rc, ERR_NOMEM);
    buf_done(&b);
    assert_int_equal(mem_live(), live);
}

static void numbers_and_formats_are_written(void **state)
{
    (void)state;
    char mem[600];
    struct buf b;
    buf_init(&b, mem, sizeof mem);
    buf_u64(&b, 0);
    buf_char(&b, ' ');
    buf_u64(&b, UINT64_MAX);
    buf_char(&b, ' ');
    buf_i64(&b, INT64_MIN);
    buf_char(&b, ' ');
    buf_hex(&b, "\x00\xaf", 2);
    buf_printf(&b, " %d" SV_FMT, -5, SV_ARG(SV("x")));
    assert_sv(buf_sv(&b), SV("0 18446744073709551615 -9223372036854775808 00af -5x"));
    buf_reset(&b);
    buf_printf(&b, "%0300d", 7); /* longer than what buf_printf tries first */
    assert_int_equal(b.n, 300);
    assert_int_equal(mem[299], '7');
    buf_printf(&b, "%0300d", 7);
    assert_int_equal(b.rc, ERR_TOOBIG);
    assert_int_equal(b.n, 300);
    buf_init(&b, mem, 3);
    buf_i64(&b, -123);
    assert_int_equal(b.n, 0);
}

static void check(void (*put)(struct buf *, sv), sv in, sv want)
{
    char mem[256];
    struct buf b;
    buf_init(&b, mem, sizeof mem);
    put(&b, in);
    assert_int_equal(b.rc, ERR_OK);
    if (!sv_eq(buf_sv(&b), want))
        fail_msg("got " SV_FMT ", want " SV_FMT, SV_ARG(buf_sv(&b)), SV_ARG(want));
    /* In every smaller buffer: nothing of it, and never a write past the end (the sanitizer's
     * part). */
    for (size_t cap = 0; cap < want.n; cap++) {
        char *exact = mem_alloc(cap);
        buf_init(&b, exact, cap);
        put(&b, in);
        assert_int_equal(b.rc, ERR_TOOBIG);
        assert_int_equal(b.n, 0);
        mem_free(exact);
    }
}

static void text_is_escaped_for_json(void **state)
{
    (void)state;
    check(buf_json, SV("plain \xc3\xa4\xe2\x82\xac\xf0\x9f\x93\x9e"),
          SV("plain \xc3\xa4\xe2\x82\xac\xf0\x9f\x93\x9e"));
    check(buf_json, SV("\"\\\b\f\n\r\t"), SV("\\\"\\\\\\b\\f\\n\\r\\t"));
    check(buf_json, SV("\0\x1b\x7f\xc2\x85"), SV("\\u0000\\u001b\\u007f\\u0085"));
    check(buf_json, SV("a\xff"), SV("a\\ufffd"));
    check(buf_json, SV("\xc0\xaf"), SV("\\ufffd\\ufffd"));            /* overlong */
    check(buf_json, SV("\xed\xa0\x80"), SV("\\ufffd\\ufffd\\ufffd")); /* surrogate */
    check(buf_json, SV("\xf4\x90\x80\x80"), SV("\\ufffd\\ufffd\\ufffd\\ufffd"));
    check(buf_json, SV("\xe2\x82"), SV("\\ufffd\\ufffd")); /* cut at the end */
    check(buf_json, SV("\xe2\x82z"), SV("\\ufffd\\ufffdz"));
    check(buf_json, SV_NONE, SV(""));
}

static void text_is_escaped_for_a_log_line(void **state)
{
    (void)state;
    check(buf_printable, SV("ok \xc3\xa4"), SV("ok \xc3\xa4"));
    check(buf_printable, SV("a\r\n\x1b[1m\xff\xc2\x9b"), SV("a\\x0d\\x0a\\x1b[1m\\xff\\xc2\\x9b"));
    check(buf_printable, SV("\u200e\u200f\u2028\u202a\u202e\u2066\u2069\u061c"),
          SV("\\xe2\\x80\\x8e\\xe2\\x80\\x8f\\xe2\\x80\\xa8\\xe2\\x80\\xaa\\xe2\\x80\\xae"
             "\\xe2\\x81\\xa6\\xe2\\x81\\xa9\\xd8\\x9c"));
    check(buf_printable, SV("\u200d\u2010\u2027\u202f\u2065\u206a\u061b"),
          SV("\u200d\u2010\u2027\u202f\u2065\u206a\u061b"));
}

static void text_is_quoted_for_sip_without_control_octets(void **state)
{
    (void)state;
    check(buf_quoted, SV("a \"b\"\\\t\xc3\xa4"), SV("a \\\"b\\\"\\\\\t\xc3\xa4"));
    for (int c = 0; c < 256; c++) {
        char text[3] = {'a', (char)c, 'b'}, mem[16];
        struct buf b;
        buf_init(&b, mem, sizeof mem);
        buf_quoted(&b, (sv){text, 3});
        bool control = (c < 0x20 && c != '\t') || c == 0x7f;
        assert_int_equal(b.rc, control ? ERR_SYNTAX : ERR_OK);
        assert_int_equal(b.n > 0, !control);
    }
}

static void a_written_form_is_read_as_far_as_it_is_one(void **state)
{
    char mem[64];
    struct buf b;
    (void)state;
    buf_init(&b, mem, sizeof mem);
    form_put(&b, 0x0102, 2);
    form_put(&b, UINT64_MAX, 8);
    form_put(&b, 1, 1);
    form_put_octets(&b, SV("text"));
    form_put(&b, 7, 1);
    assert_int_equal(b.n, 2 + 8 + 1 + 2 + 4 + 1);
    assert_sv(sv_sub(buf_sv(&b), 0, 2), SV("\x01\x02"));
    struct form_reader r = form_reader(buf_sv(&b));
    assert_int_equal(form_get(&r, 2, 0x0102), 0x0102);
    assert_true(form_get(&r, 8, UINT64_MAX) == UINT64_MAX);
    assert_true(form_get_bool(&r));
    assert_sv(form_get_octets(&r, 4), SV("text"));
    assert_int_equal(form_left(&r), 1);
    assert_false(r.bad);
    assert_int_equal(form_get(&r, 1, 6), 0); /* too large */
    assert_true(r.bad);
    r = form_reader(buf_sv(&b));
    assert_int_equal(form_get(&r, 8, UINT64_MAX) >> 48, 0x0102);
    assert_null(form_get_octets(&r, 64).p); /* a length beyond the end */
    assert_true(r.bad);
    assert_int_equal(form_get(&r, 1, 255), 0);   /* nothing behind what was bad */
    r = form_reader(sv_sub(buf_sv(&b), 11, 14)); /* cut off */
    assert_null(form_get_octets(&r, 64).p);
    r = form_reader(sv_sub(buf_sv(&b), 11, 17));
    assert_null(form_get_octets(&r, 3).p);
    buf_init(&b, mem, sizeof mem);
    form_put_octets(&b, (sv){mem, UINT16_MAX + 1});
    assert_int_equal(b.rc, ERR_TOOBIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_compare_by_octet_or_folded),
        cmocka_unit_test(views_are_cut_within_their_bounds),
        cmocka_unit_test(numbers_are_whole_and_bounded),
        cmocka_unit_test(copies_end_with_nul_and_keep_absence),
        cmocka_unit_test(the_cursor_moves_only_on_success),
        cmocka_unit_test(a_buffer_is_exact_and_its_error_sticks),
        cmocka_unit_test(a_heap_buffer_grows_to_its_cap),
        cmocka_unit_test(numbers_and_formats_are_written),
        cmocka_unit_test(text_is_escaped_for_json),
        cmocka_unit_test(text_is_escaped_for_a_log_line),
        cmocka_unit_test(text_is_quoted_for_sip_without_control_octets),
        cmocka_unit_test(a_written_form_is_read_as_far_as_it_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
