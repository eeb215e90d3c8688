/* SPDX-License-Identifier: MIT */
/* octets/octets.c: the kinds of octets, 64 at a time, by what the processor has. */
#include "octets/octets.h"
#ifdef __x86_64__
#include <immintrin.h>
#endif
#ifdef __aarch64__
#include <arm_neon.h>
#endif

#define IS_CONTROL(c) ((c) < 0x20 || (c) == 0x7f)
#define IS_LETTER(c)  (((c) | 0x20) >= 'a' && ((c) | 0x20) <= 'z' && (c) < 0x80)
#define IS_PLAIN(c)                                                                           \
    (IS_LETTER(c) || ((c) >= '0' && (c) <= '9') || (c) == '!' || (c) == '\'' || (c) == '*' || \
     (c) == '+' || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~')

/* The kinds of 64 octets. */
struct kinds {
    uint64_t control, odd;
};

/* ---- plain C ---- */

enum { CONTROL = 1, ODD = 2 };
#define KIND(c)   ((IS_CONTROL(c) ? CONTROL : 0) | (IS_PLAIN(c) ? 0 : ODD))
#define KIND4(c)  KIND(c), KIND((c) + 1), KIND((c) + 2), KIND((c) + 3)
#define KIND16(c) KIND4(c), KIND4((c) + 4), KIND4((c) + 8), KIND4((c) + 12)
static const uint8_t kind[256] = {
    KIND16(0),   KIND16(16),  KIND16(32),  KIND16(48),  KIND16(64),  KIND16(80),
    KIND16(96),  KIND16(112), KIND16(128), KIND16(144), KIND16(160), KIND16(176),
    KIND16(192), KIND16(208), KIND16(224), KIND16(240),
};

static inline struct kinds kinds_plain(const char *p)
{
    struct kinds k = {0, 0};
    for (unsigned i = 0; i < 64; i++) {
        uint64_t x = kind[(unsigned char)p[i]];
        k.control |= (x & CONTROL) << i;
        k.odd |= (x / ODD) << i;
    }
    return k;
}

/* ---- a class as a table of nibbles: bit r of the entry for low nibble l says whether 16 r + l is
 * of the class. Only octets below 0x80 are of one. ---- */

#define ROWS(IS, l)                                                            \
    (IS(l) | IS(0x10 | (l)) << 1 | IS(0x20 | (l)) << 2 | IS(0x30 | (l)) << 3 | \
     IS(0x40 | (l)) << 4 | IS(0x50 | (l)) << 5 | IS(0x60 | (l)) << 6 | IS(0x70 | (l)) << 7)
#define NIBBLES(IS)                                                                                \
    {                                                                                              \
        ROWS(IS, 0), ROWS(IS, 1), ROWS(IS, 2), ROWS(IS, 3), ROWS(IS, 4), ROWS(IS, 5), ROWS(IS, 6), \
            ROWS(IS, 7), ROWS(IS, 8), ROWS(IS, 9), ROWS(IS, 10), ROWS(IS, 11), ROWS(IS, 12),       \
            ROWS(IS, 13), ROWS(IS, 14), ROWS(IS, 15)                                               \
    }
#if defined __x86_64__ || defined __aarch64__
static const uint8_t control_rows[16] = NIBBLES(IS_CONTROL), plain_rows[16] = NIBBLES(IS_PLAIN),
                     row_bit[16] = {1, 2, 4, 8, 16, 32, 64, 128};
#endif

#ifdef __x86_64__
static inline struct kinds kinds_sse2(const char *p)
{
    const __m128i last = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f);
    const __m128i a = _mm_set1_epi8('a'), letters = _mm_set1_epi8(25), zero = _mm_set1_epi8('0'),
                  digits = _mm_set1_epi8(9), lower = _mm_set1_epi8(0x20);
    struct kinds k = {0, 0};
    for (unsigned i = 0; i < 64; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i control =
            _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(x, last), x), _mm_cmpeq_epi8(x, del));
        __m128i letter = _mm_sub_epi8(_mm_or_si128(x, lower), a), digit = _mm_sub_epi8(x, zero);
        __m128i plain = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(letter, letters), letter),
                                     _mm_cmpeq_epi8(_mm_min_epu8(digit, digits), digit));
        for (const char *mark = "!'*+-._~"; *mark; mark++)
            plain = _mm_or_si128(plain, _mm_cmpeq_epi8(x, _mm_set1_epi8(*mark)));
        k.control |= (uint64_t)(unsigned)_mm_movemask_epi8(control) << i;
        k.odd |= (uint64_t)(~(unsigned)_mm_movemask_epi8(plain) & 0xffff) << i;
    }
    return k;
}

/* The octets at x that are not of a class. */
__attribute__((target("avx2"))) static inline uint64_t others_avx2(__m256i x, __m256i row,
                                                                   const uint8_t rows[16])
{
    const __m256i table =
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)rows));
    __m256i of_class = _mm256_and_si256(_mm256_shuffle_epi8(table, x), row);
    __m256i others = _mm256_cmpeq_epi8(of_class, _mm256_setzero_si256());
    return (uint32_t)_mm256_movemask_epi8(others);
}

__attribute__((target("avx2"))) static inline struct kinds kinds_avx2(const char *p)
{
    const __m256i bits =
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)row_bit));
    const __m256i nibble = _mm256_set1_epi8(0x0f);
    __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)p);
    __m256i y = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));
    __m256i row_x = _mm256_shuffle_epi8(bits, _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble));
    __m256i row_y = _mm256_shuffle_epi8(bits, _mm256_and_si256(_mm256_srli_epi16(y, 4), nibble));
    struct kinds k = {
        .control =
            ~(others_avx2(x, row_x, control_rows) | others_avx2(y, row_y, control_rows) << 32),
        .odd = others_avx2(x, row_x, plain_rows) | others_avx2(y, row_y, plain_rows) << 32};
    return k;
}
#endif

#ifdef __aarch64__
/* Each octet keeps the bit of its place; pairwise sums gather eight of them in one octet. */
static inline uint64_t gather_neon(uint8x16_t set)
{
    static const uint8_t places[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t bits = vandq_u8(set, vld1q_u8(places));
    uint8x8_t sum = vpadd_u8(vget_low_u8(bits), vget_high_u8(bits));
    sum = vpadd_u8(sum, sum);
    sum = vpadd_u8(sum, sum);
    return vget_lane_u16(vreinterpret_u16_u8(sum), 0);
}

static inline struct kinds kinds_neon(const char *p)
{
    const uint8x16_t bits = vld1q_u8(row_bit), controls = vld1q_u8(control_rows),
                     plains = vld1q_u8(plain_rows), nibble = vdupq_n_u8(0x0f);
    struct kinds k = {0, 0};
    for (unsigned i = 0; i < 64; i += 16) {
        uint8x16_t x = vld1q_u8((const uint8_t *)p + i), low = vandq_u8(x, nibble);
        uint8x16_t row = vqtbl1q_u8(bits, vshrq_n_u8(x, 4));
        k.control |= gather_neon(vtstq_u8(vqtbl1q_u8(controls, low), row)) << i;
        k.odd |= gather_neon(vmvnq_u8(vtstq_u8(vqtbl1q_u8(plains, low), row))) << i;
    }
    return k;
}
#endif

/* ---- the walk ---- */

/* Four controls in a row end at each bit of ends, of the 64 octets at p: are they the two line ends of a
 * blank line? */
static bool has_blank_line(const char *p, uint64_t ends)
{
    for (; ends; ends &= ends - 1)
        if (memcmp(p + (unsigned)__builtin_ctzll(ends) - 3, "\r\n\r\n", 4) == 0)
            return true;
    return false;
}

/* What the words before say: where controls were, and where two of them in a row end. */
struct seen {
    uint64_t control, pairs;
};

/* Keeps the kinds of the 64 octets at p; true: the blank line ends among them. */
static inline __attribute__((always_inline)) bool
take(uint64_t *run, uint64_t *odd, struct seen *before, const char *p, struct kinds k)
{
    uint64_t follows = k.control << 1 | before->control >> 63; /* one bit behind each control */
    uint64_t pairs = k.control & follows;
    uint64_t ends = pairs & (pairs << 2 | before->pairs >> 62);
    *run = k.control & ~follows;
    *odd = k.odd;
    *before = (struct seen){k.control, pairs};
    return ends && has_blank_line(p, ends);
}

/* Each way of the processor has its own copy of this, with its kinds_of built in. */
typedef struct kinds kinds_fn(const char *p);
static inline __attribute__((always_inline)) void
walk(const char *p, size_t n, struct octets_bits *ret_bits, kinds_fn *kinds_of)
{
    struct seen before = {0, 0};
    uint64_t *run = ret_bits->runs, *odd = ret_bits->odd;
    bool found = false;
    for (const char *last = p + n / 64 * 64; p < last && !found; p += 64)
        found = take(run++, odd++, &before, p, kinds_of(p));
    if (n % 64 && !found) {
        struct kinds k = kinds_of(p);
        uint64_t behind = ~(uint64_t)0 << n % 64;
        k.control &= ~behind;
        k.odd |= behind;
        found = take(run++, odd++, &before, p, k);
    }
    ret_bits->blank = found;
    ret_bits->words = (size_t)(run - ret_bits->runs);
    *odd = ~(uint64_t)0;
}

static void scan_plain(const char *p, size_t n, struct octets_bits *ret_bits)
{
    walk(p, n, ret_bits, kinds_plain);
}

#ifdef __x86_64__
static void scan_sse2(const char *p, size_t n, struct octets_bits *ret_bits)
{
    walk(p, n, ret_bits, kinds_sse2);
}

__attribute__((target("avx2"))) static uint64_t controls_avx2(const char *p)
{
    return kinds_avx2(p).control;
}

__attribute__((target("avx2"))) static void scan_avx2(const char *p, size_t n,
                                                      struct octets_bits *ret_bits)
{
    walk(p, n, ret_bits, kinds_avx2);
}
#endif

#ifdef __aarch64__
static void scan_neon(const char *p, size_t n, struct octets_bits *ret_bits)
{
    walk(p, n, ret_bits, kinds_neon);
}
#endif

octets_scan_fn *octets_variant(unsigned i)
{
    switch (i) {
    case 0:
        return scan_plain;
#ifdef __x86_64__
    case 1:
        return scan_sse2;
    case 2:
        return __builtin_cpu_supports("avx2") ? scan_avx2 : NULL;
#endif
#ifdef __aarch64__
    case 3:
        return scan_neon;
#endif
    }
    return NULL;
}

uint64_t octets_controls(const char *p)
{
#if defined __x86_64__
    return __builtin_cpu_supports("avx2") ? controls_avx2(p) : kinds_sse2(p).control;
#elif defined __aarch64__
    return kinds_neon(p).control;
#else
    return kinds_plain(p).control;
#endif
}

void octets_scan(const char *p, size_t n, struct octets_bits *ret_bits)
{
#if defined __x86_64__
    if (__builtin_cpu_supports("avx2"))
        scan_avx2(p, n, ret_bits);
    else
        scan_sse2(p, n, ret_bits);
#elif defined __aarch64__
    scan_neon(p, n, ret_bits);
#else
    scan_plain(p, n, ret_bits);
#endif
}

const char *octets_plain_far(const struct octet_map *o, const char *p)
{
    size_t at = (size_t)(p - o->base);
    uint64_t odd = o->odd[at / 64] & ~(uint64_t)0 << at % 64;
    for (at /= 64; !odd; odd = o->odd[at])
        at++;
    return o->base + at * 64 + (unsigned)__builtin_ctzll(odd);
}
