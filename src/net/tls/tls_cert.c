/* SPDX-License-Identifier: MIT */
/* tls/tls_cert.c: certificates as PEM: reading them, and what they say. */
#include "tls/tls_priv.h"
#include <time.h>

BIO *tls_pem_open(sv pem)
{
    return pem.n > INT32_MAX ? NULL : BIO_new_mem_buf(pem.p ? pem.p : "", (int)pem.n);
}

X509 *tls_pem_next(BIO *pem)
{
    X509 *x = PEM_read_bio_X509(pem, NULL, NULL, NULL);
    ERR_clear_error();
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

EVP_PKEY *tls_pem_key(sv pem)
{
    BIO *b = tls_pem_open(pem);
    EVP_PKEY *key = b ? PEM_read_bio_PrivateKey(b, NULL, no_passphrase, NULL) : NULL;
    BIO_free(b);
    ERR_clear_error();
    return key;
}

usec tls_time_of(const ASN1_TIME *t)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(t, &tm) != 1)
        return 0;
    return (usec)timegm(&tm) * USEC_S;
}

void tls_put_fingerprint(const X509 *x, struct buf *b)
{
    uint8_t md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (X509_digest(x, EVP_sha256(), md, &n) != 1)
        n = 0;
    for (unsigned i = 0; i < n; i++)
        buf_printf(b, "%s%02X", i ? ":" : "", md[i]);
}

X509 *tls_pem_first(sv pem)
{
    BIO *b = tls_pem_open(pem);
    X509 *x = b ? tls_pem_next(b) : NULL;
    BIO_free(b);
    return x;
}

bool tls_plain(const ASN1_STRING *a, sv *ret_text)
{
    sv s = {(const char *)ASN1_STRING_get0_data(a), (size_t)ASN1_STRING_length(a)};
    if (s.n == 0 || s.n > TLS_NAME_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~')
            return false;
    *ret_text = s;
    return true;
}

enum err tls_cert_covers(sv cert, const struct tls_names *n, bool *ret_covers, usec *ret_expires)
{
    X509 *x = tls_pem_first(cert);
    bool covers = true;
    if (!x)
        return ERR_SYNTAX;
    for (size_t i = 0; covers && i < n->dns_n; i++) {
        sv name = tls_without_dot(n->dns[i]);
        covers = name.n > 0 &&
                 X509_check_host(x, name.p, name.n, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1;
    }
    for (size_t i = 0; covers && i < n->ips_n; i++)
        covers = X509_check_ip(x, n->ips[i].ip, tls_ip_size(&n->ips[i]), 0) == 1;
    *ret_covers = covers;
    *ret_expires = tls_time_of(X509_get0_notAfter(x));
    X509_free(x);
    ERR_clear_error();
    return ERR_OK;
}

enum err tls_cert_fingerprint(sv cert, struct buf *b)
{
    X509 *x = tls_pem_first(cert);
    if (!x)
        return ERR_SYNTAX;
    tls_put_fingerprint(x, b);
    X509_free(x);
    return b->rc;
}
