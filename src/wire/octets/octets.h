/* SPDX-License-Identifier: MIT */
/* octets/octets.h: what kind each octet of a header section is, as bits.        layer: wire
 *
 * Shape   octets_scan looks at 64 octets at a time, by what the processor has, and leaves one bit for
 *         each in two runs of words: bit i % 64 of word i / 64 stands for octet i.
 *           runs  the first octet of each run of controls (below 0x20, or DEL): line ends, folds, and
 *                 what has no place in a section
 *           odd   all but letters, digits and ! ' * + - . _ ~, the marks that every run of the
 *                 grammar may hold (token, user, parameter of a URI, …)
 *         Values as nearly all are written are runs of plain (not odd) octets between delimiters: a run
 *         is stepped over by one look at the bits (octets_plain_end).
 *         64 octets behind the text (BLOCK_SLACK, mem/mem.h) can be read, and say nothing.
 * Life    struct octet_map refers to the bits and to the octets; it owns neither.
 * Limits  OCTETS_MAX octets.
 * Threads any. No globals.
 */
#ifndef OCTETS_OCTETS_H
#define OCTETS_OCTETS_H
#include "str/sv.h"

enum { OCTETS_MAX = 65535, OCTETS_WORDS = OCTETS_MAX / 64 + 1 };

/* The words of n octets, and one of ones behind them: room that the caller gives. */
#define OCTETS_ROOM(n) ((n) / 64 + 2)

struct octets_bits {
    size_t words;  /* known so far; octets beyond the text are odd and start no run */
    bool blank;    /* CR LF CR LF was found */
    uint64_t *odd; /* OCTETS_ROOM words: a run of plain octets ends in the last of them */
    uint64_t runs[OCTETS_WORDS];
};

/* The kinds of the octets from p up to the first CR LF CR LF, or of all n; ret_bits->odd is the
 * caller's. */
void octets_scan(const char *p, size_t n, struct octets_bits *ret_bits);

/* The controls among the 64 octets at p: bit i for p[i]. */
uint64_t octets_controls(const char *p);

/* One way of doing it; every one says the same of the same octets. */
typedef void octets_scan_fn(const char *p, size_t n, struct octets_bits *ret_bits);
enum { OCTETS_VARIANTS = 4 };
/* The ith of them all, for tests; NULL: this processor has it not. */
octets_scan_fn *octets_variant(unsigned i);

/* A text and its bits, one word of ones behind them. */
struct octet_map {
    const char *base;
    const uint64_t *odd;
};

/* 57 bits or more, from bit at on; above them zeros. */
static inline uint64_t octets_window(const uint64_t *bits, size_t at)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t x;
    memcpy(&x, (const char *)bits + at / 8, 8);
    return x >> at % 8;
#else
    uint64_t x = bits[at / 64] >> at % 64;
    return at % 64 ? x | bits[at / 64 + 1] << (64 - at % 64) : x;
#endif
}

/* The same for a run that goes beyond the window. */
const char *octets_plain_far(const struct octet_map *o, const char *p);

/* The first odd octet from p on. */
static inline const char *octets_plain_end(const struct octet_map *o, const char *p)
{
    uint64_t odd = octets_window(o->odd, (size_t)(p - o->base));
    return odd ? p + __builtin_ctzll(odd) : octets_plain_far(o, p);
}

/* name [ "=" value ], both plain, at p. Returns what it ends with; NULL: it is of another form.
 *   ret_value  without '=': empty, where it would be */
static inline const char *octets_param(const struct octet_map *o, const char *p, sv *ret_name,
                                       sv *ret_value)
{
    const char *stop = octets_plain_end(o, p), *from = stop;
    *ret_name = (sv){p, (size_t)(stop - p)};
    if (*stop == '=') {
        from = stop + 1;
        stop = octets_plain_end(o, from);
        if (stop == from)
            return NULL;
    }
    *ret_value = (sv){from, (size_t)(stop - from)};
    return ret_name->n ? stop : NULL;
}

#endif
