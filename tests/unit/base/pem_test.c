/* SPDX-License-Identifier: MIT */
/* pem_test.c: certificates and keys from text, and what is none. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>
#include "pem/pem.h"
#include <openssl/x509.h>

static EVP_PKEY *key;
static X509 *certificate;
static char cert_text[2048], key_text[2048], locked_text[2048];

static void take(BIO *b, char *ret, size_t cap)
{
    int n = BIO_read(b, ret, (int)cap - 1);
    assert_true(n > 0);
    ret[n] = 0;
    BIO_free(b);
}

static int setup(void **state)
{
    static unsigned char word[] = "word";
    (void)state;
    key = EVP_EC_gen("P-256");
    certificate = X509_new();
    assert_true(X509_set_pubkey(certificate, key) == 1);
    assert_true(X509_gmtime_adj(X509_getm_notBefore(certificate), 0) != NULL);
    assert_true(X509_gmtime_adj(X509_getm_notAfter(certificate), 60) != NULL);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    BIO *b = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_X509(b, certificate), 1);
    take(b, cert_text, sizeof(cert_text));
    b = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL), 1);
    take(b, key_text, sizeof(key_text));
    b = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey(b, key, EVP_aes_128_cbc(), word, 4, NULL, NULL), 1);
    take(b, locked_text, sizeof(locked_text));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    EVP_PKEY_free(key);
    X509_free(certificate);
    return 0;
}

static void a_chain_is_read_one_by_one(void **state)
{
    char text[3 * sizeof(cert_text)];
    (void)state;
    int n = snprintf(text, sizeof(text), "%sbetween\n%s%s", cert_text, key_text, cert_text);
    BIO *b = pem_open((sv){text, (size_t)n});
    for (unsigned i = 0; i < 2; i++) {
        X509 *x = pem_next(b);
        assert_non_null(x);
        assert_int_equal(X509_cmp(x, certificate), 0);
        X509_free(x);
    }
    assert_null(pem_next(b));
    assert_null(pem_next(b));
    assert_int_equal(ERR_peek_error(), 0);
    BIO_free(b);
    X509 *first = pem_first((sv){text, (size_t)n});
    EVP_PKEY *found = pem_key((sv){text, (size_t)n}); /* beside others */
    assert_int_equal(X509_cmp(first, certificate), 0);
    assert_int_equal(EVP_PKEY_eq(found, key), 1);
    X509_free(first);
    EVP_PKEY_free(found);
}

/* Each beginning of a text, too; and nobody is asked for a passphrase. */
static void what_is_none_is_none(void **state)
{
    (void)state;
    assert_null(pem_first(SV_NONE));
    assert_null(pem_first(SV("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")));
    assert_null(pem_first(sv_of(key_text)));
    assert_null(pem_key(sv_of(cert_text)));
    assert_null(pem_key(sv_of(locked_text)));
    for (size_t n = 0; n + 2 < strlen(cert_text); n++)
        assert_null(pem_first((sv){cert_text, n}));
    for (size_t n = 0; n + 2 < strlen(key_text); n++)
        assert_null(pem_key((sv){key_text, n}));
    assert_null(pem_open((sv){cert_text, (size_t)INT32_MAX + 1}));
    assert_int_equal(ERR_peek_error(), 0);
}

static void a_fingerprint_is_that_of_its_octets(void **state)
{
    char mem[200], want[200];
    unsigned char *der = NULL, md[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    struct buf b;
    (void)state;
    int n = i2d_X509(certificate, &der);
    assert_true(n > 0 && EVP_Digest(der, (size_t)n, md, &size, EVP_sha256(), NULL) == 1);
    OPENSSL_free(der);
    for (unsigned i = 0; i < size; i++)
        snprintf(want + 3 * i, sizeof(want) - 3 * i, "%02X:", md[i]);
    buf_init(&b, mem, sizeof(mem));
    pem_put_fingerprint(certificate, &b);
    assert_int_equal(b.n, 95);
    assert_memory_equal(mem, want, 95);
    buf_init(&b, mem, 94);
    pem_put_fingerprint(certificate, &b);
    assert_int_not_equal(b.rc, ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_is_read_one_by_one),
        cmocka_unit_test(what_is_none_is_none),
        cmocka_unit_test(a_fingerprint_is_that_of_its_octets),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
