/* SPDX-License-Identifier: MIT */
/* tls/tls_view.c: a certificate in words, for people. */
#include "tls/tls_priv.h"

enum { NAME_TEXT_MAX = 1024 };

/* The common name; else all of it (RFC 2253). */
static enum err name_text(const X509_NAME *name, struct arena *a, sv *ret_text)
{
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    ASN1_STRING *s = at < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
    unsigned char *utf8 = NULL;
    int n = s ? ASN1_STRING_to_UTF8(&utf8, s) : -1;
    enum err rc;
    if (n >= 0) {
        rc = sv_dup(a, (sv){(const char *)utf8, (size_t)n}, ret_text);
        OPENSSL_free(utf8);
        return rc;
    }
    BIO *b = BIO_new(BIO_s_mem());
    char *p = NULL;
    long all =
        b && X509_NAME_print_ex(b, name, 0, XN_FLAG_RFC2253) >= 0 ? BIO_get_mem_data(b, &p) : -1;
    rc = all < 0
             ? ERR_NOMEM
             : sv_dup(a, (sv){p, (size_t)(all < NAME_TEXT_MAX ? all : NAME_TEXT_MAX)}, ret_text);
    BIO_free(b);
    return rc;
}

static enum err add_name(const GENERAL_NAME *g, struct arena *a, struct tls_cert_view *v)
{
    char mem[80];
    struct buf b;
    const ASN1_STRING *s = g->type == GEN_DNS || g->type == GEN_IPADD ? g->d.ia5 : NULL;
    if (!s || v->names_n == TLS_NAMES_MAX)
        return ERR_OK;
    sv octets = {(const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)};
    if (g->type == GEN_DNS)
        return sv_dup(a, octets, &v->names[v->names_n++]);
    if (octets.n != 4 && octets.n != 16)
        return ERR_OK;
    struct addr ip = addr_from_ip((const uint8_t *)octets.p, octets.n, 0);
    buf_init(&b, mem, sizeof(mem));
    addr_print_ip(&b, &ip);
    return sv_dup(a, buf_sv(&b), &v->names[v->names_n++]);
}

enum err tls_cert_view(sv cert, struct arena *a, struct tls_cert_view *ret_view)
{
    BIO *pem = pem_open(cert);
    X509 *x = pem ? pem_next(pem) : NULL;
    BIO_free(pem);
    *ret_view = (struct tls_cert_view){.names_n = 0};
    if (!x)
        return pem ? ERR_SYNTAX : ERR_NOMEM;
    ret_view->from = tls_time_of(X509_get0_notBefore(x));
    ret_view->expires = tls_time_of(X509_get0_notAfter(x));
    const EVP_PKEY *key = X509_get0_pubkey(x);
    ret_view->strength = key ? EVP_PKEY_get_security_bits(key) : 0;
    enum err rc = name_text(X509_get_subject_name(x), a, &ret_view->subject);
    if (!rc)
        rc = name_text(X509_get_issuer_name(x), a, &ret_view->issuer);
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; !rc && i < sk_GENERAL_NAME_num(names); i++)
        rc = add_name(sk_GENERAL_NAME_value(names, i), a, ret_view);
    GENERAL_NAMES_free(names);
    X509_free(x);
    ERR_clear_error();
    return rc;
}
