/* SPDX-License-Identifier: MIT */
/* Every way of finding the kinds of octets agrees with their definition, wherever an octet stands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "octets/octets.h"

enum { SLACK = 64 };
static uint64_t odd[OCTETS_ROOM(512)];
static struct octets_bits bits = {.odd = odd};

static bool is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

static bool is_plain(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!'*+-._~", c));
}

static bool bit(const uint64_t *words, size_t i)
{
    return words[i / 64] >> i % 64 & 1;
}

/* text[0..n) says what scan must find of it, whatever stands behind; nothing is read beyond the slack. */
static void agrees(octets_scan_fn *scan, const char *text, size_t n)
{
    char *copy = malloc(n + SLACK);
    assert_non_null(copy);
    memcpy(copy, text, n);
    memset(copy + n, n % 2 ? '\n' : 'a', SLACK);
    memset(bits.runs, 0x5a, sizeof(bits.runs));
    memset(odd, 0x5a, sizeof(odd));
    scan(copy, n, &bits);
    const char *blank = n < 4 ? NULL : memmem(text, n, "\r\n\r\n", 4);
    size_t seen = blank ? (size_t)(blank - text) + 4 : n;
    assert_int_equal(bits.words, (seen + 63) / 64);
    for (size_t i = 0; i < bits.words * 64; i++) {
        bool run = i < n && is_control((unsigned char)text[i]) &&
                   (i == 0 || !is_control((unsigned char)text[i - 1]));
        bool plain = i < n && is_plain((unsigned char)text[i]);
        if (bit(bits.runs, i) != run || bit(bits.odd, i) == plain)
            fail_msg("octet %zu of %zu", i, n);
    }
    assert_int_equal(bits.blank, blank != NULL);
    for (size_t at = 0; at + 64 <= n; at += 13) {
        uint64_t controls = 0;
        for (unsigned i = 0; i < 64; i++)
            controls |= (uint64_t)is_control((unsigned char)text[at + i]) << i;
        assert_true(octets_controls(copy + at) == controls);
    }
    assert_true(bits.odd[bits.words] == ~(uint64_t)0);
    if (bits.words + 1 < OCTETS_ROOM(512)) /* not beyond its room */
        assert_true(odd[bits.words + 1] == 0x5a5a5a5a5a5a5a5a);
    free(copy);
}

static void each_variant(const char *text, size_t n)
{
    unsigned variants = 0;
    for (unsigned v = 0; v < OCTETS_VARIANTS; v++) {
        octets_scan_fn *scan = octets_variant(v);
        if (scan)
            agrees(scan, text, n);
        variants += scan != NULL;
    }
    agrees(octets_scan, text, n);
    assert_true(variants > 0);
#ifdef __x86_64__
    assert_true(variants >= 2);
#endif
}

static void every_octet_at_every_place(void **state)
{
    (void)state;
    char text[192];
    for (unsigned octet = 0; octet < 256; octet++) {
        for (unsigned at = 0; at < 130; at++) {
            memset(text, at % 2 ? 'x' : 0xff, sizeof(text));
            text[at] = (char)octet;
            each_variant(text, 129 + at % 64);
            memset(text, at % 2 ? 0x7f : 0, sizeof(text));
            text[at] = (char)octet;
            each_variant(text, 129 + at % 64);
        }
    }
}

static void a_blank_line_ends_it_wherever_it_stands(void **state)
{
    (void)state;
    char text[320];
    for (size_t at = 0; at + 4 <= 260; at++) {
        memset(text, 'a', sizeof(text));
        memcpy(text + at, "\r\n\r\n", 4);
        each_variant(text, 300);
        each_variant(text, at + 4);
        each_variant(text, at + 3); /* not whole: no end */
        memcpy(text + at, "\r\n\t\t", 4);
        each_variant(text, 300);
    }
    memset(text, '\r', sizeof(text));
    memcpy(text + 201, "\n\r\n", 3); /* at the end of a long run of controls */
    each_variant(text, 300);
    each_variant("", 0);
}

static void runs_are_stepped_over(void **state)
{
    (void)state;
    char text[400 + SLACK];
    for (size_t from = 0; from < 70; from++) {
        for (size_t n = 0; n < 300; n += n < 8 ? 1 : 13) {
            memset(text, ';', sizeof(text));
            memset(text + from, 'k', n);
            octets_scan(text, sizeof(text) - SLACK, &bits);
            struct octet_map o = {text, bits.odd};
            assert_ptr_equal(octets_plain_end(&o, text + from), text + from + n);
            octets_scan(text, from + n, &bits); /* a run ends with the text */
            assert_ptr_equal(octets_plain_end(&o, text + from), text + from + n);
        }
    }
}

static void parameters_are_names_with_values(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name, *value; /* name NULL: another form */
    } all[] = {{"lr>", "lr", ""},
               {"a=b;c", "a", "b"},
               {"branch=z9hG4bK-1.~x,", "branch", "z9hG4bK-1.~x"},
               {"=b;", NULL, NULL},
               {"a=;", NULL, NULL},
               {"a =b;", "a", ""},
               {"a=b c", "a", "b"},
               {";a", NULL, NULL},
               {"a=\"b\"", NULL, NULL},
               {"a=b%41", "a", "b"},
               {"x", "x", ""}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        sv name, value;
        char text[32 + SLACK] = {0};
        memcpy(text, all[i].text, strlen(all[i].text));
        octets_scan(text, strlen(text), &bits);
        struct octet_map o = {text, bits.odd};
        const char *stop = octets_param(&o, text, &name, &value);
        assert_int_equal(stop != NULL, all[i].name != NULL);
        if (!stop)
            continue;
        assert_true(sv_eq(name, sv_of(all[i].name)) && sv_eq(value, sv_of(all[i].value)));
        assert_ptr_equal(stop, value.p + value.n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_octet_at_every_place),
        cmocka_unit_test(a_blank_line_ends_it_wherever_it_stands),
        cmocka_unit_test(runs_are_stepped_over),
        cmocka_unit_test(parameters_are_names_with_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
