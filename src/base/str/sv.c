/* SPDX-License-Identifier: MIT */
/* str/sv.c: comparing, cutting and copying views. Locale is never consulted. */
#include "str/sv.h"
#include "mem/arena.h"
#include "str/scan.h"

bool sv_ieq(sv a, sv b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (sv_lower(a.p[i]) != sv_lower(b.p[i]))
            return false;
    return true;
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
    struct scan c = scan_of(s);
    uint64_t value;
    TRY(scan_u64(&c, max, &value));
    if (!scan_end(&c))
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
