/* SPDX-License-Identifier: MIT */
/* str/sv.h: a borrowed view of octets.                                          layer: base
 *
 * Shape   two words, by value. Not NUL-terminated. p == NULL: absent; n == 0 with p: present,
 *         empty.
 * Life    valid while the octets it points into are.
 * Threads any. No globals.
 */
#ifndef STR_SV_H
#define STR_SV_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "err/err.h"

struct arena;

typedef struct sv {
    const char *p;
    size_t n;
} sv;

#define SV(lit)   ((sv){"" lit, sizeof(lit) - 1})
#define SV_FMT    "%.*s"
#define SV_ARG(s) (int)(s).n, (s).p ? (s).p : ""
#define SV_NONE   ((sv){NULL, 0})

static inline sv sv_of(const char *cstr)
{
    return (sv){cstr, cstr ? strlen(cstr) : 0};
}

static inline bool sv_present(sv s)
{
    return s.p != NULL;
}

/* The octets from..to-1 of s; both are clamped to s. */
static inline sv sv_sub(sv s, size_t from, size_t to)
{
    if (to > s.n)
        to = s.n;
    if (from > to)
        from = to;
    return (sv){s.p ? s.p + from : NULL, to - from};
}

static inline char sv_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}
/* An ASCII letter or digit. */
static inline bool sv_is_alnum(char c)
{
    return (unsigned)((c | 0x20) - 'a') < 26 || (unsigned)(c - '0') < 10;
}

/* Equality by octet; absent equals absent and empty. */
static inline bool sv_eq(sv a, sv b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* n octets at each, with ASCII letters folded. */
bool sv_ieq_octets(const char *a, const char *b, size_t n);

/* Equality with ASCII letters folded (tokens, host names). Most texts differ in length already. */
static inline bool sv_ieq(sv a, sv b)
{
    return a.n == b.n && sv_ieq_octets(a.p, b.p, a.n);
}
/* Order by octet, shorter first among equals: <0, 0, >0. */
int sv_cmp(sv a, sv b);
bool sv_starts(sv s, sv prefix);
bool sv_ends(sv s, sv suffix);
/* Offset of the first c in s, or s.n. */
size_t sv_chr(sv s, char c);
/* s without leading and trailing SP, HTAB, CR, LF. */
sv sv_trim(sv s);
/* All of s as a decimal number at most max. Errors: ERR_SYNTAX (empty, sign, other octets),
 * ERR_RANGE. */
MUST_USE enum err sv_u64(sv s, uint64_t max, uint64_t *ret_value);
/* A copy in a, NUL-terminated beyond n. Errors: ERR_NOMEM. Owner: the arena. */
MUST_USE enum err sv_dup(struct arena *a, sv s, sv *ret_copy);
/* Lower-case copy in a. Errors: ERR_NOMEM. */
MUST_USE enum err sv_dup_lower(struct arena *a, sv s, sv *ret_copy);

#endif
