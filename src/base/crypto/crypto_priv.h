/* SPDX-License-Identifier: MIT */
/* crypto/crypto_priv.h: what the parts of crypto and its test share.            layer: base */
#ifndef CRYPTO_CRYPTO_PRIV_H
#define CRYPTO_CRYPTO_PRIV_H
#include "crypto/crypto.h"

/* crypto_crc32c on processors without an instruction for it. */
uint32_t crypto_crc32c_portable(uint32_t crc, const uint8_t *p, size_t n);

/* Both forms of crypto_table_hash. SipHash-1-3 in 128 bits under the first octets of the key; and AES rounds,
 * where the processor has them. */
void crypto_table_hash_portable(const struct table_key *key, const sv *pieces, size_t n,
                                uint64_t ret_hash[static 2]);
bool crypto_has_aes(void);
#if defined(__x86_64__)
void crypto_table_hash_aes(const struct table_key *key, const sv *pieces, size_t n,
                           uint64_t ret_hash[static 2]);
#endif

#endif
