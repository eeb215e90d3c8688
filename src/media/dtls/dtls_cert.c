/* SPDX-License-Identifier: MIT */
/* dtls/dtls_cert.c: our certificate. It proves nothing but that we are whom our description means
 * (RFC 5763 §5), so it is signed by itself, says nothing of who we are (§6.1), and lives as long as the process. */
#include "dtls/dtls_priv.h"
#include "pem/pem.h"
#include <openssl/rand.h>
#include <openssl/x509.h>

enum { SERIAL_LEN = 16, LIFE_DAYS = 3652 };
#define NAME "tandem"

static bool fill(X509 *x, EVP_PKEY *key, usec wall)
{
    uint8_t serial[SERIAL_LEN];
    time_t now = (time_t)(wall / USEC_S);
    X509_NAME *name = X509_get_subject_name(x);
    if (RAND_bytes(serial, sizeof(serial)) != 1)
        return false;
    serial[0] &= 0x7f; /* positive: RFC 5280 §4.1.2.2 */
    BIGNUM *n = BN_bin2bn(serial, sizeof(serial), NULL);
    bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
    BN_free(n);
    return ok && X509_set_version(x, X509_VERSION_3) == 1 && X509_set_pubkey(x, key) == 1 &&
           X509_time_adj_ex(X509_getm_notBefore(x), -1, 0, &now) &&
           X509_time_adj_ex(X509_getm_notAfter(x), LIFE_DAYS, 0, &now) &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)NAME, -1, -1, 0) ==
               1 &&
           X509_set_issuer_name(x, name) == 1 && X509_sign(x, key, EVP_sha256()) > 0;
}

static enum err make(usec wall, X509 **ret_x, EVP_PKEY **ret_key)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    if (key && x && fill(x, key, wall)) {
        *ret_x = x;
        *ret_key = key;
        return ERR_OK;
    }
    EVP_PKEY_free(key);
    X509_free(x);
    return ERR_NOMEM;
}

static enum err read_pem(const struct dtls_shared_config *c, X509 **ret_x, EVP_PKEY **ret_key)
{
    X509 *x = pem_first(c->certificate);
    EVP_PKEY *key = pem_key(c->key);
    if (x && key && X509_check_private_key(x, key) == 1) {
        *ret_x = x;
        *ret_key = key;
        return ERR_OK;
    }
    X509_free(x);
    EVP_PKEY_free(key);
    return ERR_SYNTAX;
}

static bool put_fingerprint(struct dtls_shared *s, const X509 *x)
{
    struct buf b;
    buf_init(&b, s->fingerprint, sizeof(s->fingerprint));
    buf_str(&b, "sha-256 ");
    size_t at = b.n;
    pem_put_fingerprint(x, &b);
    s->fingerprint_n = b.n;
    return b.rc == ERR_OK && b.n > at;
}

enum err dtls_cert_use(struct dtls_shared *s, const struct dtls_shared_config *c)
{
    X509 *x;
    EVP_PKEY *key;
    TRY(sv_present(c->certificate) ? read_pem(c, &x, &key) : make(c->wall, &x, &key));
    bool ok = SSL_CTX_use_certificate(s->ctx, x) == 1 && SSL_CTX_use_PrivateKey(s->ctx, key) == 1 &&
              put_fingerprint(s, x);
    X509_free(x);
    EVP_PKEY_free(key);
    return ok ? ERR_OK : ERR_SYNTAX;
}
