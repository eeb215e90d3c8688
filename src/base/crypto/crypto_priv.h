/* SPDX-License-Identifier: MIT */
/* crypto/crypto_priv.h: what the parts of crypto and its test share.            layer: base */
#ifndef CRYPTO_CRYPTO_PRIV_H
#define CRYPTO_CRYPTO_PRIV_H
#include <stddef.h>
#include <stdint.h>

/* crypto_crc32c on processors without an instruction for it. */
uint32_t crypto_crc32c_portable(uint32_t crc, const uint8_t *p, size_t n);

#endif
