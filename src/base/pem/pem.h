/* SPDX-License-Identifier: MIT */
/* pem/pem.h: certificates and keys written as PEM; on OpenSSL libcrypto.   layer: base
 *
 * Spec    RFC 7468.
 * Own     what is returned is the caller's to free.
 * Errors  NULL; nothing of them is left in the thread's queue of OpenSSL's.
 * Threads any. */
#ifndef PEM_PEM_H
#define PEM_PEM_H
#include "str/buf.h"
#define ERR_STATE openssl_err_state /* OpenSSL has a type of this name, we a value */
#include <openssl/err.h>
#include <openssl/pem.h>
#undef ERR_STATE

/* Memory to read text from, which stays the caller's. NULL: none left. */
BIO *pem_open(sv text);
/* The next certificate. NULL: at the end of the text, or at what is no PEM. */
X509 *pem_next(BIO *pem);
X509 *pem_first(sv text);
/* NULL: none, or locked by a passphrase. */
EVP_PKEY *pem_key(sv text);
/* SHA-256 over x: "uppercase hexadecimal bytes, separated by colons" (RFC 8122 §5). Nothing: no memory. */
void pem_put_fingerprint(const X509 *x, struct buf *b);

#endif
