/* SPDX-License-Identifier: MIT */
/* str/buf.c: bounded building. What does not fit goes through room(), the only place that makes some. */
#include "str/buf.h"
#include <stdio.h>

enum { HEAP_FIRST = 256 };

void buf_init(struct buf *b, void *mem, size_t cap)
{
    *b = (struct buf){.p = mem, .cap = cap, .cap_max = cap};
}

void buf_init_heap(struct buf *b, size_t cap_max)
{
    *b = (struct buf){.cap_max = cap_max, .heap = true};
}

void buf_done(struct buf *b)
{
    if (b->heap) {
        mem_free(b->p);
        b->p = NULL;
        b->cap = 0;
    }
    b->n = 0;
}

void buf_reset(struct buf *b)
{
    b->n = 0;
    b->rc = ERR_OK;
}

/* Makes b->p[b->n .. b->n + n) writable, or sets the sticky error. */
static bool room(struct buf *b, size_t n)
{
    if (b->rc)
        return false;
    if (n <= b->cap - b->n)
        return true;
    if (n > b->cap_max - b->n) {
        b->rc = ERR_TOOBIG;
        return false;
    }
    size_t need = b->n + n;
    size_t cap = b->cap ? b->cap : HEAP_FIRST;
    while (cap < need)
        cap = cap > b->cap_max / 2 ? b->cap_max : cap * 2;
    if (cap > b->cap_max)
        cap = b->cap_max;
    char *p = mem_realloc(b->p, cap);
    if (!p) {
        b->rc = ERR_NOMEM;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

char *buf_room(struct buf *b, size_t n)
{
    return room(b, n) ? b->p + b->n : NULL;
}

void buf_grow_mem(struct buf *b, const void *p, size_t n)
{
    if (!room(b, n))
        return;
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void buf_str(struct buf *b, const char *cstr)
{
    buf_mem(b, cstr, cstr ? strlen(cstr) : 0);
}

void buf_u64(struct buf *b, uint64_t v)
{
    enum { MOST = 20 };
    unsigned n = 1;
    for (uint64_t more = 10; n < MOST && v >= more; more *= 10)
        n++;
    char *to = buf_room(b, n);
    if (!to)
        return;
    b->n += n;
    do
        to[--n] = (char)('0' + v % 10);
    while (v /= 10);
}

void buf_i64(struct buf *b, int64_t v)
{
    size_t before = b->n;
    uint64_t size = (uint64_t)v;
    if (v < 0) {
        buf_char(b, '-');
        size = 0 - size;
    }
    buf_u64(b, size);
    if (b->rc)
        b->n = before;
}

static const char hex_digit[16] = "0123456789abcdef";

void buf_hex(struct buf *b, const void *p, size_t n)
{
    const uint8_t *octets = p;
    if (n > SIZE_MAX / 2) {
        if (!b->rc)
            b->rc = ERR_TOOBIG;
        return;
    }
    if (n == 0 || !room(b, n * 2))
        return;
    char *to = b->p + b->n;
    b->n += n * 2;
    for (size_t i = 0; i < n; i++) {
        *to++ = hex_digit[octets[i] >> 4];
        *to++ = hex_digit[octets[i] & 15];
    }
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    char small[256];
    va_list ap, again;
    if (b->rc)
        return;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->rc = ERR_SYNTAX;
    } else if ((size_t)n < sizeof small) {
        buf_mem(b, small, (size_t)n);
    } else if (room(b, (size_t)n + 1)) { /* one more: vsnprintf ends with NUL */
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
}

/* Octets of the UTF-8 character at p, 0 when there is no well-formed one (Unicode table 3-7: no
 * overlong forms, no surrogates, nothing above U+10FFFF). */
static size_t utf8_at(const uint8_t *p, size_t n)
{
    static const struct {
        uint8_t first, last, low, high; /* first octet from..to, then the second's range */
        uint8_t n;
    } form[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    if (p[0] < 0x80)
        return 1;
    for (size_t f = 0; f < sizeof form / sizeof form[0]; f++) {
        if (p[0] < form[f].first || p[0] > form[f].last)
            continue;
        if (n < form[f].n || p[1] < form[f].low || p[1] > form[f].high)
            return 0;
        for (size_t i = 2; i < form[f].n; i++)
            if ((p[i] & 0xc0) != 0x80)
                return 0;
        return form[f].n;
    }
    return 0;
}

/* C0, DEL and C1: what a terminal may obey. */
static bool is_control(const uint8_t *p, size_t n)
{
    return (n == 1 && (p[0] < 0x20 || p[0] == 0x7f)) || (n == 2 && p[0] == 0xc2 && p[1] < 0xa0);
}

/* What turns the text around it, or breaks its line: U+061C, U+200E, U+200F, U+2028 to U+202E, U+2066 to U+2069. */
static bool is_turning(const uint8_t *p, size_t n)
{
    if (n == 2)
        return p[0] == 0xd8 && p[1] == 0x9c;
    if (n != 3 || p[0] != 0xe2)
        return false;
    return (p[1] == 0x80 && ((p[2] >= 0xa8 && p[2] <= 0xae) || p[2] == 0x8e || p[2] == 0x8f)) ||
           (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9);
}

static void json_char(struct buf *b, const uint8_t *p, size_t n)
{
    static const char plain[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    const char *short_form = n == 1 && p[0] ? strchr(plain, p[0]) : NULL;
    if (n == 0) {
        buf_str(b, "\\ufffd");
    } else if (short_form) {
        buf_char(b, '\\');
        buf_char(b, letter[short_form - plain]);
    } else if (is_control(p, n)) {
        buf_str(b, "\\u00");
        buf_hex(b, p + n - 1, 1); /* U+0080..9f is C2 80..9f: the last octet is the code point */
    } else {
        buf_mem(b, p, n);
    }
}

static void printable_char(struct buf *b, const uint8_t *p, size_t n)
{
    if (n > 0 && !is_control(p, n) && !is_turning(p, n)) {
        buf_mem(b, p, n);
        return;
    }
    for (size_t i = 0; i < (n ? n : 1); i++) {
        buf_str(b, "\\x");
        buf_hex(b, p + i, 1);
    }
}

/* Gives each character of s to one() (n == 0: an octet that is no UTF-8); all or nothing. */
/* How many octets from p on are ASCII that needs no escape in either form: mostly all. */
static size_t plain_run(const uint8_t *p, size_t n)
{
    size_t i = 0;
    while (i < n && p[i] >= ' ' && p[i] < 0x7f && p[i] != '"' && p[i] != '\\')
        i++;
    return i;
}

static void each_char(struct buf *b, sv s, void (*one)(struct buf *, const uint8_t *, size_t))
{
    size_t before = b->n;
    const uint8_t *p = (const uint8_t *)s.p;
    for (size_t i = 0; i < s.n && !b->rc;) {
        size_t run = plain_run(p + i, s.n - i);
        buf_mem(b, p + i, run);
        i += run;
        if (i == s.n)
            break;
        size_t n = utf8_at(p + i, s.n - i);
        one(b, p + i, n);
        i += n ? n : 1;
    }
    if (b->rc)
        b->n = before;
}

void buf_json(struct buf *b, sv s)
{
    each_char(b, s, json_char);
}

void buf_printable(struct buf *b, sv s)
{
    each_char(b, s, printable_char);
}

void buf_quoted(struct buf *b, sv s)
{
    size_t before = b->n;
    for (size_t i = 0; i < s.n && !b->rc; i++) {
        char c = s.p[i];
        /* RFC 3261 §25.1: qdtext is LWS, 21, 23-5B, 5D-7E and UTF8-NONASCII; of the LWS we write SP
         * and HTAB. */
        if (((uint8_t)c < 0x20 && c != '\t') || c == 0x7f)
            b->rc = ERR_SYNTAX;
        if (c == '"' || c == '\\')
            buf_char(b, '\\');
        buf_char(b, c);
    }
    if (b->rc)
        b->n = before;
}
