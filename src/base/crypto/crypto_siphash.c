/* SPDX-License-Identifier: MIT */
/* crypto/crypto_siphash.c: SipHash-2-4, its form of 128 bits, and SipHash-1-3 (Aumasson and Bernstein, 2012).
 *
 * Octets are taken a word at a time where they lie. A list is the hash of these words:
 *
 *   length of piece 1 | its octets, the last word filled up with zeros | length of piece 2 | ...
 *
 * which no other list has, so that where one piece ends and the next begins counts. */
#include "crypto/crypto_priv.h"

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static inline uint64_t little64(uint64_t x)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(x);
#else
    return x;
#endif
}

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return little64(x);
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v2 = rotl(s->v2, 32);
}

/* rounds: two in SipHash-2-4, one in 1-3; a constant wherever this is called. */
static inline void sip_word(struct sip *s, uint64_t m, int rounds)
{
    s->v3 ^= m;
#pragma GCC unroll 2
    for (int i = 0; i < rounds; i++)
        sip_round(s);
    s->v0 ^= m;
}

static inline struct sip sip_start(const uint8_t key[static SIPHASH_KEY])
{
    uint64_t k0 = load64(key), k1 = load64(key + 8);
    return (struct sip){
        .v0 = k0 ^ 0x736f6d6570736575u,
        .v1 = k1 ^ 0x646f72616e646f6du,
        .v2 = k0 ^ 0x6c7967656e657261u,
        .v3 = k1 ^ 0x7465646279746573u,
    };
}

/* The n % 8 octets that fill no word, the first in the low bits; never read beyond p + n. */
static inline uint64_t tail(const uint8_t *p, size_t n)
{
    size_t rest = n % 8;
    const uint8_t *end = p + n;
    uint64_t x = 0;
    if (rest == 0)
        return 0;
    if (n >= 8)
        return load64(end - 8) >> (64 - 8 * rest);
    for (size_t i = 0; i < rest; i++)
        x |= (uint64_t)p[i] << (8 * i);
    return x;
}

static inline void sip_whole_words(struct sip *s, const uint8_t *p, size_t n, int rounds)
{
    for (const uint8_t *end = p + n / 8 * 8; p < end; p += 8)
        sip_word(s, load64(p), rounds);
}

/* last: what fills no word; n: octets in all. */
static inline void sip_last(struct sip *s, uint64_t last, size_t n, int rounds)
{
    sip_word(s, last | (uint64_t)n << 56, rounds);
}

static inline uint64_t sip_end(struct sip *s, int rounds)
{
#pragma GCC unroll 4
    for (int i = 0; i < rounds; i++)
        sip_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t crypto_siphash(const uint8_t key[static SIPHASH_KEY], const void *p, size_t n)
{
    struct sip s = sip_start(key);
    if (n > 0)
        sip_whole_words(&s, p, n, 2);
    sip_last(&s, n > 0 ? tail(p, n) : 0, n, 2);
    s.v2 ^= 0xff;
    return sip_end(&s, 4);
}

static inline void sip_list(struct sip *s, const sv *pieces, size_t n, int rounds)
{
    size_t words = n;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = (const uint8_t *)pieces[i].p;
        size_t octets = pieces[i].n;
        sip_word(s, octets, rounds);
        if (octets == 0)
            continue;
        sip_whole_words(s, p, octets, rounds);
        if (octets % 8)
            sip_word(s, tail(p, octets), rounds);
        words += (octets + 7) / 8;
    }
    sip_last(s, 0, words * 8, rounds);
}

static inline void list128(const uint8_t key[static SIPHASH_KEY], const sv *pieces, size_t n,
                           int rounds, int final_rounds, uint64_t ret_hash[static 2])
{
    struct sip s = sip_start(key);
    s.v1 ^= 0xee;
    sip_list(&s, pieces, n, rounds);
    s.v2 ^= 0xee;
    ret_hash[0] = sip_end(&s, final_rounds);
    s.v1 ^= 0xdd;
    ret_hash[1] = sip_end(&s, final_rounds);
}

uint64_t crypto_siphash_list(const uint8_t key[static SIPHASH_KEY], const sv *pieces, size_t n)
{
    struct sip s = sip_start(key);
    sip_list(&s, pieces, n, 2);
    s.v2 ^= 0xff;
    return sip_end(&s, 4);
}

void crypto_siphash128_list(const uint8_t key[static SIPHASH_KEY], const sv *pieces, size_t n,
                            uint64_t ret_hash[static 2])
{
    list128(key, pieces, n, 2, 4, ret_hash);
}

void crypto_table_hash_portable(const struct table_key *key, const sv *pieces, size_t n,
                                uint64_t ret_hash[static 2])
{
    list128(key->octets, pieces, n, 1, 3, ret_hash);
}
