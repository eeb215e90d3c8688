/* SPDX-License-Identifier: MIT */
/* str/sv.c: comparing, cutting and copying views. Locale is never consulted. */
#include "str/sv.h"
#include "mem/arena.h"
#include "str/scan.h"

/* Eight octets at a time: an octet of ASCII plus 0x3f has its top bit from 'A' on, plus 0x25 from
 * behind 'Z' on; so the two sums differ there in upper-case letters alone. */
static uint64_t lower8(uint64_t x)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x80 * ones;
    uint64_t low = x & ~tops;
    uint64_t upper = ((low + (0x80 - 'A') * ones) ^ (low + (0x7f - 'Z') * ones)) & ~x & tops;
    return x | upper >> 2;
}

static bool ieq(uint64_t x, uint64_t y)
{
    return x == y || (((x ^ y) & ~0x2020202020202020u) == 0 && lower8(x) == lower8(y));
}

static uint64_t load8(const char *p)
{
    uint64_t x;
    memcpy(&x, p, 8);
    return x;
}

/* The first and the last octets of n, so that they cover all of them: four each, or two. */
static uint64_t load4to7(const char *p, size_t n)
{
    uint32_t first, last;
    memcpy(&first, p, 4);
    memcpy(&last, p + n - 4, 4);
    return (uint64_t)last << 32 | first;
}

static uint64_t load2to3(const char *p, size_t n)
{
    uint16_t first, last;
    memcpy(&first, p, 2);
    memcpy(&last, p + n - 2, 2);
    return (uint64_t)last << 32 | first;
}

bool sv_ieq_octets(const char *a, const char *b, size_t n)
{
    if (n >= 8) {
        for (size_t i = 0; n - i > 8; i += 8)
            if (!ieq(load8(a + i), load8(b + i)))
                return false;
        return ieq(load8(a + n - 8), load8(b + n - 8)); /* some of them for the second time */
    }
    if (n >= 4)
        return ieq(load4to7(a, n), load4to7(b, n));
    if (n >= 2)
        return ieq(load2to3(a, n), load2to3(b, n));
    return n == 0 || sv_lower(*a) == sv_lower(*b);
}

int sv_cmp(sv a, sv b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;
    if (order)
        return order;
    return (a.n > b.n) - (a.n < b.n);
}

bool sv_starts(sv s, sv prefix)
{
    return s.n >= prefix.n && sv_eq(sv_sub(s, 0, prefix.n), prefix);
}

bool sv_ends(sv s, sv suffix)
{
    return s.n >= suffix.n && sv_eq(sv_sub(s, s.n - suffix.n, s.n), suffix);
}

size_t sv_chr(sv s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
    return at ? (size_t)(at - s.p) : s.n;
}

static bool is_trimmed(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

sv sv_trim(sv s)
{
    size_t from = 0, to = s.n;
    while (from < to && is_trimmed(s.p[from]))
        from++;
    while (to > from && is_trimmed(s.p[to - 1]))
        to--;
    return sv_sub(s, from, to);
}

enum err sv_u64(sv s, uint64_t max, uint64_t *ret_value)
{
    enum { SAFE = 19 }; /* so many digits always fit */
    uint64_t value = 0;
    size_t i = 0;
    if (s.n <= SAFE) {
        for (unsigned digit; i < s.n && (digit = (unsigned)(unsigned char)s.p[i] - '0') <= 9; i++)
            value = value * 10 + digit;
        if (i == 0)
            return ERR_SYNTAX;
    } else {
        struct scan c = scan_of(s);
        TRY(scan_u64(&c, max, &value));
        i = scan_offset(&c);
    }
    if (value > max)
        return ERR_RANGE;
    if (i < s.n)
        return ERR_SYNTAX;
    *ret_value = value;
    return ERR_OK;
}

static enum err copy(struct arena *a, sv s, bool lower, sv *ret_copy)
{
    if (!s.p) {
        *ret_copy = SV_NONE;
        return ERR_OK;
    }
    char *p = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;
    if (!p)
        return ERR_NOMEM;
    if (lower)
        for (size_t i = 0; i < s.n; i++)
            p[i] = sv_lower(s.p[i]);
    else
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    *ret_copy = (sv){p, s.n};
    return ERR_OK;
}

enum err sv_dup(struct arena *a, sv s, sv *ret_copy)
{
    return copy(a, s, false, ret_copy);
}

enum err sv_dup_lower(struct arena *a, sv s, sv *ret_copy)
{
    return copy(a, s, true, ret_copy);
}
