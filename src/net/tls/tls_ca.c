/* SPDX-License-Identifier: MIT */
/* tls/tls_ca.c: our own authority and its leaves (RFC 5280), for when nobody gave a certificate.
 *
 * Who trusts the authority trusts it for our names alone: name constraints (RFC 5280 §4.2.1.10)
 * permit the DNS names and addresses that it was made for. A constraint on one type of name says
 * nothing of the others, so a type without names of ours is shut altogether. */
#include "tls/tls_priv.h"
#include "crypto/crypto.h"
#include "uri/uri.h"

enum {
    NAME_MAX_DNS = 253,
    COMMON_NAME_MAX = 64, /* RFC 5280 appendix A: ub-common-name */
    SERIAL_LEN = 16,
    CA_DAYS = 3652,
};
#define EARLIER USEC_HOUR /* clocks of clients may be behind */

/* ---- names ---- */

static enum err check_names(const struct tls_names *n)
{
    uint8_t ip[16];
    size_t ip_n;
    for (size_t i = 0; i < n->dns_n; i++) {
        sv name = tls_without_dot(n->dns[i]);
        if (name.n > NAME_MAX_DNS || !uri_is_host(name, false) ||
            uri_host_ip(name, ip, &ip_n) == ERR_OK)
            return ERR_SYNTAX;
    }
    for (size_t i = 0; i < n->ips_n; i++)
        if (n->ips[i].family != 4 && n->ips[i].family != 6)
            return ERR_SYNTAX;
    return n->dns_n + n->ips_n > 0 ? ERR_OK : ERR_SYNTAX;
}

/* NULL: no memory. */
static GENERAL_NAME *name_new(int type, const void *p, size_t n)
{
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_STRING *s =
        ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
    if (!g || !s || ASN1_STRING_set(s, p, (int)n) != 1) {
        GENERAL_NAME_free(g);
        ASN1_STRING_free(s);
        return NULL;
    }
    GENERAL_NAME_set0_value(g, type, s);
    return g;
}

static bool add_name(GENERAL_NAMES *to, int type, const void *p, size_t n)
{
    GENERAL_NAME *g = name_new(type, p, n);
    if (g && sk_GENERAL_NAME_push(to, g) > 0)
        return true;
    GENERAL_NAME_free(g);
    return false;
}

static bool add_dns(GENERAL_NAMES *to, sv name)
{
    char uri[sizeof("sip:") + NAME_MAX_DNS];
    struct buf b;
    buf_init(&b, uri, sizeof(uri));
    buf_str(&b, "sip:"); /* RFC 5922 §4.1: the identity of a SIP domain */
    buf_put(&b, name);
    return add_name(to, GEN_DNS, name.p, name.n) && add_name(to, GEN_URI, b.p, b.n);
}

static bool put_names(X509 *x, const struct tls_names *n)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    bool ok = names != NULL;
    for (size_t i = 0; ok && i < n->dns_n; i++)
        ok = add_dns(names, tls_without_dot(n->dns[i]));
    for (size_t i = 0; ok && i < n->ips_n; i++)
        ok = add_name(names, GEN_IPADD, n->ips[i].ip, tls_ip_size(&n->ips[i]));
    ok = ok && X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0) == 1;
    GENERAL_NAMES_free(names);
    return ok;
}

/* ---- constraints ---- */

static bool add_subtree(STACK_OF(GENERAL_SUBTREE) * *to, int type, const void *p, size_t n)
{
    GENERAL_SUBTREE *t = GENERAL_SUBTREE_new();
    GENERAL_NAME *g = name_new(type, p, n);
    if (!*to)
        *to = sk_GENERAL_SUBTREE_new_null();
    if (t && g) {
        GENERAL_NAME_free(t->base);
        t->base = g;
        if (*to && sk_GENERAL_SUBTREE_push(*to, t) > 0)
            return true;
    } else {
        GENERAL_NAME_free(g);
    }
    GENERAL_SUBTREE_free(t);
    return false;
}

/* Addresses as address and mask: of one address, or with bits 0 of all. */
static bool add_ip_subtree(STACK_OF(GENERAL_SUBTREE) * *to, const uint8_t *ip, size_t n,
                           uint8_t mask)
{
    uint8_t both[32];
    memcpy(both, ip, n);
    memset(both + n, mask, n);
    return add_subtree(to, GEN_IPADD, both, 2 * n);
}

/* DEVIATES: URIs are not constrained. A constraint on them is on the host of an authority ("//"),
 * which a sip: URI does not have, and RFC 5280 has verifiers then refuse the certificate. */
static bool put_constraints(X509 *x, const struct tls_names *n)
{
    static const uint8_t zero[16];
    NAME_CONSTRAINTS *c = NAME_CONSTRAINTS_new();
    bool ok = c != NULL;
    for (size_t i = 0; ok && i < n->dns_n; i++) {
        sv name = tls_without_dot(n->dns[i]);
        ok = add_subtree(&c->permittedSubtrees, GEN_DNS, name.p, name.n);
    }
    for (size_t i = 0; ok && i < n->ips_n; i++)
        ok = add_ip_subtree(&c->permittedSubtrees, n->ips[i].ip, tls_ip_size(&n->ips[i]), 0xff);
    if (ok && n->dns_n == 0)
        ok = add_subtree(&c->excludedSubtrees, GEN_DNS, "", 0);
    if (ok && n->ips_n == 0)
        ok = add_ip_subtree(&c->excludedSubtrees, zero, 4, 0) &&
             add_ip_subtree(&c->excludedSubtrees, zero, 16, 0);
    ok = ok && X509_add1_ext_i2d(x, NID_name_constraints, c, 1, 0) == 1;
    NAME_CONSTRAINTS_free(c);
    return ok;
}

/* ---- certificates ---- */

static bool put_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = e && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

/* RFC 5280 §4.1.2.2: positive, not more than 20 octets; CA/B: at least 64 bits of chance. */
static bool put_serial(X509 *x, uint8_t serial[static SERIAL_LEN])
{
    BIGNUM *n;
    if (crypto_random(serial, SERIAL_LEN) != ERR_OK)
        return false;
    serial[0] = (uint8_t)((serial[0] & 0x3f) | 0x40);
    n = BN_bin2bn(serial, SERIAL_LEN, NULL);
    bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
    BN_free(n);
    return ok;
}

static bool put_life(X509 *x, usec wall, usec life)
{
    time_t from = (time_t)((wall - EARLIER) / USEC_S), to = (time_t)((wall + life) / USEC_S);
    return ASN1_TIME_set(X509_getm_notBefore(x), from) && ASN1_TIME_set(X509_getm_notAfter(x), to);
}

static bool put_common_name(X509 *x, sv name)
{
    return X509_NAME_add_entry_by_NID(X509_get_subject_name(x), NID_commonName, MBSTRING_UTF8,
                                      (const unsigned char *)name.p, (int)name.n, -1, 0) == 1;
}

/* The same authority made anew is another one, and must not have the same name. */
static bool put_ca_name(X509 *x, const uint8_t *serial)
{
    char name[COMMON_NAME_MAX];
    struct buf b;
    buf_init(&b, name, sizeof(name));
    buf_str(&b, "Tandem private CA ");
    buf_hex(&b, serial, 4);
    return put_common_name(x, buf_sv(&b));
}

static bool put_leaf_name(X509 *x, const struct tls_names *n)
{
    sv name = n->dns_n > 0 ? tls_without_dot(n->dns[0]) : SV("Tandem");
    return put_common_name(x, name.n <= COMMON_NAME_MAX ? name : SV("Tandem"));
}

static bool put_all_ca(X509 *x, const struct tls_names *n, usec wall)
{
    uint8_t serial[SERIAL_LEN];
    return put_serial(x, serial) && put_life(x, wall, CA_DAYS * USEC_DAY) &&
           put_ca_name(x, serial) && X509_set_issuer_name(x, X509_get_subject_name(x)) == 1 &&
           put_extension(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           put_extension(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           put_extension(x, x, NID_subject_key_identifier, "hash") &&
           put_extension(x, x, NID_authority_key_identifier, "keyid:always") &&
           put_constraints(x, n);
}

static bool put_all_leaf(X509 *x, X509 *ca, const struct tls_names *n, usec wall)
{
    uint8_t serial[SERIAL_LEN];
    return put_serial(x, serial) && put_life(x, wall, TLS_LEAF_LIFE) && put_leaf_name(x, n) &&
           X509_set_issuer_name(x, X509_get_subject_name(ca)) == 1 &&
           put_extension(x, ca, NID_basic_constraints, "critical,CA:FALSE") &&
           put_extension(x, ca, NID_key_usage, "critical,digitalSignature") &&
           put_extension(x, ca, NID_ext_key_usage, "serverAuth,clientAuth") &&
           put_extension(x, ca, NID_subject_key_identifier, "hash") &&
           put_extension(x, ca, NID_authority_key_identifier, "keyid:always") && put_names(x, n);
}

/* ---- as text ---- */

static enum err put_pem(BIO *pem, bool written, struct buf *b)
{
    char *p = NULL;
    long n = pem ? BIO_get_mem_data(pem, &p) : 0;
    if (written && n > 0)
        buf_mem(b, p, (size_t)n);
    BIO_free(pem);
    return written && n > 0 ? b->rc : ERR_NOMEM;
}

static enum err put_cert(X509 *x, struct buf *b)
{
    BIO *pem = BIO_new(BIO_s_mem());
    return put_pem(pem, pem && PEM_write_bio_X509(pem, x) == 1, b);
}

static enum err put_key(EVP_PKEY *key, struct buf *b)
{
    BIO *pem = BIO_new(BIO_s_secmem()); /* wiped when freed */
    return put_pem(pem, pem && PEM_write_bio_PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL) == 1,
                   b);
}

/* A certificate for a new key, which signs itself (ca NULL) or is signed by ca. */
static enum err make(X509 *ca, EVP_PKEY *ca_key, const struct tls_names *n, usec wall,
                     struct buf *ret_cert, struct buf *ret_key)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    enum err rc = ERR_NOMEM;
    if (!key || !x || X509_set_version(x, X509_VERSION_3) != 1 || X509_set_pubkey(x, key) != 1)
        goto out;
    if (!(ca ? put_all_leaf(x, ca, n, wall) : put_all_ca(x, n, wall)) ||
        X509_sign(x, ca ? ca_key : key, EVP_sha256()) <= 0)
        goto out;
    rc = put_cert(x, ret_cert);
    if (!rc)
        rc = put_key(key, ret_key);
out:
    X509_free(x);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return rc;
}

enum err tls_make_ca(const struct tls_names *n, usec wall, struct buf *ret_cert,
                     struct buf *ret_key)
{
    TRY(check_names(n));
    return make(NULL, NULL, n, wall, ret_cert, ret_key);
}

enum err tls_make_leaf(sv ca_cert, sv ca_key, const struct tls_names *n, usec wall,
                       struct buf *ret_chain, struct buf *ret_key)
{
    TRY(check_names(n));
    X509 *ca = pem_first(ca_cert);
    EVP_PKEY *key = pem_key(ca_key);
    enum err rc = ERR_SYNTAX;
    if (ca && key && X509_check_private_key(ca, key) == 1)
        rc = make(ca, key, n, wall, ret_chain, ret_key);
    X509_free(ca);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return rc;
}
