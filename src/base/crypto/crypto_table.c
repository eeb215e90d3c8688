/* SPDX-License-Identifier: MIT */
/* crypto/crypto_table.c: hashes of lists for tables, by rounds of AES (docs/decisions/0012).
 *
 *   state = start;  for each block: state = R4(R3(R2(R1(state xor block))))      R: a round of AES, a secret key each
 *
 * A list is these blocks of 16 octets, which no other list has:
 *
 *   piece's first 8 octets | its length 4 | pieces from here on 4 | its other octets, 16 by 16 | ...
 *
 * Octets that fill no block are read together with some before them that have been read already; a piece
 * shorter than a word as two halves that may overlap. So nothing beside a piece is read, and nothing copied. */
#include "crypto/crypto_priv.h"

void crypto_table_key(sv secret, sv use, struct table_key *ret_key)
{
    uint8_t mac[SHA256_LEN];
    size_t left = sizeof ret_key->octets;
    for (char part = 0; left > 0; part++) {
        size_t n = left < sizeof mac ? left : sizeof mac;
        crypto_hmac_sha256(secret, (sv[]){use, {&part, 1}}, 2, mac);
        memcpy(ret_key->octets + sizeof ret_key->octets - left, mac, n);
        left -= n;
    }
    crypto_wipe(mac, sizeof mac);
}

bool crypto_has_aes(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("aes");
#else
    return false;
#endif
}

#if defined(__x86_64__)
#include <immintrin.h>

#define AES __attribute__((target("aes,sse4.1")))

struct rounds {
    __m128i key[4];
};

/* Four rounds: every difference passes through 25 S-boxes or more. */
AES static inline __m128i absorb(__m128i state, __m128i block, const struct rounds *r)
{
    state = _mm_xor_si128(state, block);
    for (int i = 0; i < 4; i++)
        state = _mm_aesenc_si128(state, r->key[i]);
    return state;
}

AES static inline __m128i load(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static inline uint64_t word(const char *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* All of up to 7 octets: with their number they are known. */
static inline uint64_t short_word(const char *p, size_t n)
{
    uint32_t low, high;
    if (n >= 4) {
        memcpy(&low, p, sizeof low);
        memcpy(&high, p + n - 4, sizeof high);
        return low | (uint64_t)high << 32;
    }
    return n ? (uint8_t)p[0] | (uint64_t)(uint8_t)p[n / 2] << 8 | (uint64_t)(uint8_t)p[n - 1] << 16
             : 0;
}

AES static inline __m128i absorb_piece(__m128i state, sv piece, size_t pieces,
                                       const struct rounds *r)
{
    const char *p = piece.p;
    uint64_t first = piece.n >= 8 ? word(p) : short_word(p, piece.n);
    uint64_t shape = (uint32_t)piece.n | (uint64_t)pieces << 32;
    state = absorb(state, _mm_set_epi64x((long long)shape, (long long)first), r);
    if (piece.n <= 8)
        return state;
    const char *end = p + piece.n;
    for (p += 8; end - p >= 16; p += 16)
        state = absorb(state, load(p), r);
    if (p < end)
        state = absorb(
            state, piece.n >= 16 ? load(end - 16) : _mm_cvtsi64_si128((long long)word(end - 8)), r);
    return state;
}

AES void crypto_table_hash_aes(const struct table_key *key, const sv *pieces, size_t n,
                               uint64_t ret_hash[static 2])
{
    const __m128i *k = (const __m128i *)(const void *)key->octets;
    const struct rounds r = {{k[1], k[2], k[3], k[4]}};
    __m128i state = k[0];
    for (size_t i = 0; i < n; i++)
        state = absorb_piece(state, pieces[i], n - i, &r);
    _mm_storeu_si128((__m128i *)(void *)ret_hash, state);
}
#endif

void crypto_table_hash(const struct table_key *key, const sv *pieces, size_t n,
                       uint64_t ret_hash[static 2])
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("aes")) {
        crypto_table_hash_aes(key, pieces, n, ret_hash);
        return;
    }
#endif
    crypto_table_hash_portable(key, pieces, n, ret_hash);
}
