/* SPDX-License-Identifier: MIT */
/* Certificates and keys written as PEM. */
#include "pem/pem.h"

BIO *pem_open(sv text)
{
    return text.n > INT32_MAX ? NULL : BIO_new_mem_buf(text.p ? text.p : "", (int)text.n);
}

X509 *pem_next(BIO *pem)
{
    X509 *x = PEM_read_bio_X509(pem, NULL, NULL, NULL);
    ERR_clear_error();
    return x;
}

X509 *pem_first(sv text)
{
    BIO *b = pem_open(text);
    X509 *x = b ? pem_next(b) : NULL;
    BIO_free(b);
    return x;
}

/* Nobody is there to be asked. */
static int no_passphrase(char *p, int n, int writing, void *arg)
{
    (void)p;
    (void)n;
    (void)writing;
    (void)arg;
    return -1;
}

EVP_PKEY *pem_key(sv text)
{
    BIO *b = pem_open(text);
    EVP_PKEY *key = b ? PEM_read_bio_PrivateKey(b, NULL, no_passphrase, NULL) : NULL;
    BIO_free(b);
    ERR_clear_error();
    return key;
}

void pem_put_fingerprint(const X509 *x, struct buf *b)
{
    uint8_t md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (X509_digest(x, EVP_sha256(), md, &n) != 1)
        n = 0;
    for (unsigned i = 0; i < n; i++)
        buf_printf(b, "%s%02X", i ? ":" : "", md[i]);
}
