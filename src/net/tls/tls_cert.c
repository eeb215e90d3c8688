/* SPDX-License-Identifier: MIT */
/* tls/tls_cert.c: what certificates say. */
#include "tls/tls_priv.h"
#include <time.h>

usec tls_time_of(const ASN1_TIME *t)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(t, &tm) != 1)
        return 0;
    return (usec)timegm(&tm) * USEC_S;
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
    X509 *x = pem_first(cert);
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
    X509 *x = pem_first(cert);
    if (!x)
        return ERR_SYNTAX;
    pem_put_fingerprint(x, b);
    X509_free(x);
    return b->rc;
}
