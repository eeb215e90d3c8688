/* SPDX-License-Identifier: MIT */
/* crypto/crypto_siphash.c: SipHash-2-4 (Aumasson and Bernstein, 2012). */
#include "crypto/crypto.h"

struct sip {
    uint64_t v0, v1, v2, v3;
    uint64_t word; /* octets that do not fill a word yet, the first in the low bits */
    size_t n;      /* octets so far */
};

static inline uint64_t rotl(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
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

static inline void sip_word(struct sip *s, uint64_t m)
{
    s->v3 ^= m;
    sip_round(s);
    sip_round(s);
    s->v0 ^= m;
}

static struct sip sip_start(const uint8_t key[static SIPHASH_KEY])
{
    uint64_t k0 = load64(key), k1 = load64(key + 8);
    return (struct sip){
        .v0 = k0 ^ 0x736f6d6570736575u,
        .v1 = k1 ^ 0x646f72616e646f6du,
        .v2 = k0 ^ 0x6c7967656e657261u,
        .v3 = k1 ^ 0x7465646279746573u,
    };
}

static void sip_feed(struct sip *s, const void *p, size_t n)
{
    const uint8_t *at = p, *end = at + n;
    while (at < end) {
        if (s->n % 8 == 0 && end - at >= 8) {
            sip_word(s, load64(at));
            at += 8;
            s->n += 8;
            continue;
        }
        s->word |= (uint64_t)*at++ << (s->n % 8 * 8);
        if (++s->n % 8 == 0) {
            sip_word(s, s->word);
            s->word = 0;
        }
    }
}

static uint64_t sip_end(struct sip *s)
{
    sip_word(s, s->word | (uint64_t)s->n << 56);
    s->v2 ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t crypto_siphash(const uint8_t key[static SIPHASH_KEY], const void *p, size_t n)
{
    struct sip s = sip_start(key);
    if (n)
        sip_feed(&s, p, n);
    return sip_end(&s);
}

uint64_t crypto_siphash_pieces(const uint8_t key[static SIPHASH_KEY], const sv *pieces, size_t n)
{
    struct sip s = sip_start(key);
    for (size_t i = 0; i < n; i++)
        if (pieces[i].n)
            sip_feed(&s, pieces[i].p, pieces[i].n);
    return sip_end(&s);
}
