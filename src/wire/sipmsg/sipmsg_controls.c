/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_controls.c: where the control octets are, 64 octets at a time, by what the processor
 * has. All of pass one that depends on it is here. */
#include "sipmsg/sipmsg_priv.h"
#ifdef __x86_64__
#include <immintrin.h>
#endif
#ifdef __ARM_NEON
#include <arm_neon.h>
#endif

/* Eight octets a step. An octet below 0x80 plus 0x60 has its top bit set from 0x20 on, plus 0x01 only
 * for DEL; the multiplication gathers the lowest bits of eight octets in the topmost one. */
static uint64_t controls_plain(const char *p)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x80 * ones;
    uint64_t found = 0;
    for (unsigned i = 0; i < 64; i += 8) {
        uint64_t x;
        memcpy(&x, p + i, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        x = __builtin_bswap64(x);
#endif
        uint64_t low = x & ~tops;
        uint64_t control = (~(low + 0x60 * ones) | (low + ones)) & ~x & tops;
        found |= (control >> 7) * 0x0102040810204080u >> 56 << i;
    }
    return found;
}

#ifdef __x86_64__
static uint64_t controls_sse2(const char *p)
{
    const __m128i last = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f);
    uint64_t found = 0;
    for (unsigned i = 0; i < 64; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i control =
            _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(x, last), x), _mm_cmpeq_epi8(x, del));
        found |= (uint64_t)(unsigned)_mm_movemask_epi8(control) << i;
    }
    return found;
}

__attribute__((target("avx2"))) static uint64_t controls_avx2(const char *p)
{
    const __m256i last = _mm256_set1_epi8(0x1f), del = _mm256_set1_epi8(0x7f);
    uint64_t found = 0;
    for (unsigned i = 0; i < 64; i += 32) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(p + i));
        __m256i control = _mm256_or_si256(_mm256_cmpeq_epi8(_mm256_min_epu8(x, last), x),
                                          _mm256_cmpeq_epi8(x, del));
        found |= (uint64_t)(unsigned)_mm256_movemask_epi8(control) << i;
    }
    return found;
}
#endif

#ifdef __ARM_NEON
/* Each octet keeps the bit of its place; pairwise sums gather eight of them in one octet. */
static uint64_t controls_neon(const char *p)
{
    static const uint8_t places[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t place = vld1q_u8(places), space = vdupq_n_u8(0x20), del = vdupq_n_u8(0x7f);
    uint64_t found = 0;
    for (unsigned i = 0; i < 64; i += 16) {
        uint8x16_t x = vld1q_u8((const uint8_t *)p + i);
        uint8x16_t bits = vandq_u8(vorrq_u8(vcltq_u8(x, space), vceqq_u8(x, del)), place);
        uint8x8_t sum = vpadd_u8(vget_low_u8(bits), vget_high_u8(bits));
        sum = vpadd_u8(sum, sum);
        sum = vpadd_u8(sum, sum);
        found |= (uint64_t)vget_lane_u16(vreinterpret_u16_u8(sum), 0) << i;
    }
    return found;
}
#endif

sip_controls_fn *sip_controls_variant(unsigned i)
{
    switch (i) {
    case 0:
        return controls_plain;
#ifdef __x86_64__
    case 1:
        return controls_sse2;
    case 2:
        return __builtin_cpu_supports("avx2") ? controls_avx2 : NULL;
#endif
#ifdef __ARM_NEON
    case 3:
        return controls_neon;
#endif
    }
    return NULL;
}

sip_controls_fn *sip_controls(void)
{
#if defined __x86_64__
    return __builtin_cpu_supports("avx2") ? controls_avx2 : controls_sse2;
#elif defined __ARM_NEON
    return controls_neon;
#else
    return controls_plain;
#endif
}
