/* SPDX-License-Identifier: MIT */
/* crypto/crypto.h: hashes, MACs, comparison, encodings; on OpenSSL libcrypto.   layer: base
 *
 * Errors  hashing cannot fail once the process has started (crypto_start checks the algorithms).
 * Threads any. The random generator here is the kernel's; seeded randomness is the loop's (net).
 */
#ifndef CRYPTO_CRYPTO_H
#define CRYPTO_CRYPTO_H
#include "str/buf.h"

enum { MD5_LEN = 16, SHA1_LEN = 20, SHA256_LEN = 32, SIPHASH_KEY = 16 };

/* Once per process before threads start. Errors: ERR_UNSUPPORTED (no MD5, SHA-1 or SHA-256 in this
 * libcrypto). */
MUST_USE enum err crypto_start(void);

/* Hash of the concatenation of n pieces. */
void crypto_md5(const sv *pieces, size_t n, uint8_t ret_digest[static MD5_LEN]);
void crypto_sha256(const sv *pieces, size_t n, uint8_t ret_digest[static SHA256_LEN]);
/* SHA-1 where a protocol names no other (STUN, SRTP): as a MAC it still holds. */
void crypto_hmac_sha1(sv key, const sv *pieces, size_t n, uint8_t ret_mac[static SHA1_LEN]);
void crypto_hmac_sha256(sv key, const sv *pieces, size_t n, uint8_t ret_mac[static SHA256_LEN]);
/* SipHash-2-4. */
uint64_t crypto_siphash(const uint8_t key[static SIPHASH_KEY], const void *p, size_t n);
/* The same over a list: where one piece ends and the next begins counts. With 128 bits nobody without the
 * key can make two lists meet, so that equal values are equal lists. */
uint64_t crypto_siphash_list(const uint8_t key[static SIPHASH_KEY], const sv *pieces, size_t n);
void crypto_siphash128_list(const uint8_t key[static SIPHASH_KEY], const sv *pieces, size_t n,
                            uint64_t ret_hash[static 2]);

/* A list's hash for tables of this process: nobody who does not know the key can make two lists meet, so that
 * equal values are equal lists. Nobody may see the values: they are no MAC, and differ from one kind of
 * processor to another (docs/decisions/0012). */
struct table_key {
    _Alignas(16) uint8_t octets[80];
};
/* Derived from a secret, for one use. */
void crypto_table_key(sv secret, sv use, struct table_key *ret_key);
void crypto_table_hash(const struct table_key *key, const sv *pieces, size_t n,
                       uint64_t ret_hash[static 2]);
uint32_t crypto_crc32c(uint32_t crc, const void *p, size_t n); /* start with 0 */
/* Time independent of where a and b differ; lengths are public. */
bool crypto_equal(const void *a, const void *b, size_t n);
void crypto_wipe(void *p, size_t n);
/* From the kernel. Errors: ERR_IO. */
MUST_USE enum err crypto_random(void *p, size_t n);
/* Base64 (RFC 4648 §4) and its URL alphabet without padding (§5). */
void crypto_base64(struct buf *b, const void *p, size_t n);
void crypto_base64url(struct buf *b, const void *p, size_t n);
MUST_USE enum err crypto_base64url_decode(sv text, void *p, size_t cap, size_t *ret_n);
/* Hex, both cases. Errors: ERR_SYNTAX, ERR_TOOBIG. */
MUST_USE enum err crypto_unhex(sv text, void *p, size_t cap, size_t *ret_n);

#endif
