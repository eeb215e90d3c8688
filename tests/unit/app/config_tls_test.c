/* SPDX-License-Identifier: MIT */
/* Certificates in the configuration: read, judged, watched for. */
#include "config_load.h"
#include <time.h>
#include "crypto/crypto.h"

enum { PEM_MAX = 64 * 1024 };

static void make(const char *cert, const char *key, const char *name, usec wall)
{
    struct buf ca, ca_key, leaf, leaf_key;
    sv names[] = {sv_of(name)};
    const struct tls_names n = {.dns = names, .dns_n = 1};
    buf_init_heap(&ca, PEM_MAX);
    buf_init_heap(&ca_key, PEM_MAX);
    buf_init_heap(&leaf, PEM_MAX);
    buf_init_heap(&leaf_key, PEM_MAX);
    assert_int_equal(tls_make_ca(&n, wall, &ca, &ca_key), ERR_OK);
    assert_int_equal(tls_make_leaf(buf_sv(&ca), buf_sv(&ca_key), &n, wall, &leaf, &leaf_key),
                     ERR_OK);
    put_octets(cert, leaf.p, leaf.n);
    put_octets(key, leaf_key.p, leaf_key.n);
    assert_int_equal(chmod(path_of(key), 0600), 0);
    put_octets("ca.pem", ca.p, ca.n);
    buf_done(&ca);
    buf_done(&ca_key);
    buf_done(&leaf);
    buf_done(&leaf_key);
}

static usec now(void)
{
    return (usec)time(NULL) * USEC_S;
}

static int with_certificates(void **state)
{
    if (crypto_start() || in_folder(state))
        return -1;
    make("a.pem", "a.key", "example.test", now());
    make("b.pem", "b.key", "other.test", now());
    make("old.pem", "old.key", "example.test", now() - TLS_LEAF_LIFE - USEC_HOUR);
    make("late.pem", "late.key", "example.test", now() - TLS_LEAF_LIFE + 3 * USEC_DAY + USEC_HOUR);
    return 0;
}

#define ONE "domains: [example.test]\n"
#define BELONG \
    "; a PEM file with the certificate, its chain behind it, and the key that belongs to it\n"

static void certificates_are_read(void **state)
{
    (void)state;
    struct config *c =
        good(ONE "tls: {certificate: a.pem, key: a.key, ca: ca.pem, clients: required, sni: "
                 "[{certificate: b.pem, key: file:b.key}]}\n");
    assert_int_equal(c->tls.n, 2);
    assert_true(sv_starts(c->tls.pairs[0].certificate.octets, SV("-----BEGIN CERTIFICATE")));
    assert_true(sv_ends(c->tls.pairs[0].certificate.path, SV("/a.pem")));
    assert_true(sv_ends(c->tls.pairs[1].key.path, SV("/b.key")));
    assert_true(c->tls.pairs[1].key.stamp.size > 0);
    assert_true(sv_present(c->tls.ca.octets));
    assert_int_equal(c->tls.clients, TLS_CLIENTS_REQUIRED);
    struct buf b;
    buf_init_heap(&b, PEM_MAX);
    assert_int_equal(config_print_effective(c, &b), ERR_OK);
    buf_char(&b, 0);
    assert_null(strstr(b.p, "BEGIN"));
    struct config *again = good(b.p);
    assert_int_equal(again->tls.n, 2);
    buf_done(&b);
    config_free(again);
    config_free(c);
}

static void a_key_comes_from_elsewhere(void **state)
{
    (void)state;
    char text[PEM_MAX];
    FILE *f = fopen(path_of("a.key"), "rb");
    assert_non_null(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    setenv("TANDEM_TEST_VALUE", text, 1);
    setenv("CREDENTIALS_DIRECTORY", folder, 1);
    struct config *c = good(ONE "tls: {certificate: a.pem, key: env:TANDEM_TEST_VALUE}\n");
    assert_false(sv_present(c->tls.pairs[0].key.path)); /* nothing to watch */
    config_free(c);
    c = good(ONE "tls: {certificate: a.pem, key: credential:a.key}\n");
    assert_true(sv_ends(c->tls.pairs[0].key.path, SV("/a.key")));
    config_free(c);
    unsetenv("CREDENTIALS_DIRECTORY");
    unsetenv("TANDEM_TEST_VALUE");
    refused(ONE "tls: {certificate: a.pem, key: env:TANDEM_TEST_VALUE}\n",
            "t.yaml:2:32: error: tls.key: the environment has no TANDEM_TEST_VALUE\n");
}

/* Its beginning and its end: the words between are tls's. */
static void refused_about(const char *text, const char *begins, const char *ends)
{
    if (load(text))
        fail_msg("not refused: %s", text);
    size_t n = strlen(said);
    if (strncmp(said, begins, strlen(begins)) != 0 || n < strlen(ends) ||
        strcmp(said + n - strlen(ends), ends) != 0)
        fail_msg("%s", said);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    put("junk.pem", "no certificate\n");
    refused_about(ONE "tls: {certificate: a.pem, key: b.key}\n",
                  "t.yaml:2:20: error: tls.certificate: ", BELONG);
    refused_about(ONE "tls: {certificate: junk.pem, key: a.key}\n",
                  "t.yaml:2:20: error: tls.certificate: ", BELONG);
    refused_about(ONE "tls: {certificate: a.pem, key: a.key, sni: [{certificate: b.pem, key: "
                      "junk.pem}]}\n",
                  "t.yaml:2:59: error: tls.sni[].certificate: ", BELONG);
    refused_about(ONE "tls: {ca: junk.pem}\n", "t.yaml:2:11: error: tls.ca: ",
                  "; a PEM file with the certificates of authorities\n");
    refused("tls: {certificate: a.pem}\n",
            "t.yaml:1:20: error: tls.certificate: has no tls.key; both, or none for a certificate "
            "of our own\n");
    refused("tls: {key: a.key}\n", "t.yaml:1:12: error: tls.key: has no tls.certificate; both, or "
                                   "none for a certificate of our own\n");
    refused("tls: {sni: [{certificate: b.pem}]}\n",
            "t.yaml:1:13: error: tls.sni[]: has no key; such as {certificate: cert.pem, key: "
            "key.pem}\n");
    refused("tls: {sni: [{certificate: b.pem, key: b.key}]}\n",
            "t.yaml:1:13: error: tls.sni: has no tls.certificate; the first certificate stands in "
            "tls.certificate\n");
    refused("tls: {certificate: none.pem, key: a.key}\n",
            "t.yaml:1:20: error: tls.certificate: cannot read none.pem: no such file; relative "
            "paths start at the folder of the file\n");
    if (geteuid() != 0) {
        assert_int_equal(chmod(path_of("junk.pem"), 0), 0);
        refused("tls: {certificate: a.pem, key: junk.pem}\n",
                "t.yaml:1:32: error: tls.key: cannot read junk.pem: no permission; the user that "
                "the server runs as has to read it\n");
    }
}

static void weak_certificates_are_findings(void **state)
{
    (void)state;
    config_free(load(ONE "tls: {certificate: old.pem, key: old.key}\n"));
    assert_string_equal(said, "t.yaml:2:20: finding: tls.certificate: the certificate has expired; "
                              "renew it\n");
    config_free(load(ONE "tls: {clients: optional}\n"));
    assert_string_equal(said, "t.yaml:2:16: finding: tls.clients: has no tls.ca, so every public "
                              "authority of the system's store vouches for who somebody is; ca: "
                              "FILE, with your own authority alone\n");
    config_free(load(ONE "tls: {certificate: late.pem, key: late.key}\n"));
    assert_string_equal(said, "t.yaml:2:20: finding: tls.certificate: the certificate expires in 3 "
                              "days; renew it\n");
    config_free(
        load("domains: [example.test, other.test]\ntls: {certificate: a.pem, key: a.key}\n"));
    assert_string_equal(said,
                        "t.yaml:2:20: finding: tls.certificate: is not for other.test: phones "
                        "and servers that check it will refuse us; a subjectAltName with the "
                        "domain\n");
    config_free(good("domains: [example.test, other.test]\ntls: {certificate: a.pem, key: a.key, "
                     "sni: {certificate: b.pem, key: b.key}}\n"));
    assert_int_equal(chmod(path_of("b.key"), 0644), 0);
    config_free(load("domains: [other.test]\ntls: {certificate: b.pem, key: b.key}\n"));
    assert_string_equal(said, "t.yaml:2:32: finding: tls.key: others can read the private key; "
                              "chmod o-r\n");
    assert_int_equal(chmod(path_of("b.key"), 0600), 0);
}

static void a_file_that_changed_is_a_change(void **state)
{
    (void)state;
    struct buf changed;
    struct config *a = good(ONE "tls: {certificate: a.pem, key: a.key}\n");
    struct config_stamp before = config_stamp_of(a->tls.pairs[0].certificate.path);
    assert_true(config_stamp_same(&before, &a->tls.pairs[0].certificate.stamp));
    char fresh[256];
    make("a.new", "a.key", "example.test", now());
    snprintf(fresh, sizeof(fresh), "%s", path_of("a.new"));
    assert_int_equal(rename(fresh, path_of("a.pem")), 0);
    struct config_stamp after = config_stamp_of(a->tls.pairs[0].certificate.path);
    assert_false(config_stamp_same(&before, &after));
    struct config *b = good(ONE "tls: {certificate: a.pem, key: a.key}\n");
    buf_init_heap(&changed, PEM_MAX);
    config_diff(a, b, &changed, NULL);
    assert_sv(buf_sv(&changed), "tls.certificate: changed\ntls.key: changed\n");
    buf_done(&changed);
    struct config_pem pem = {.path = a->tls.pairs[0].certificate.path};
    assert_int_equal(config_pem_read(&a->arena, &pem), ERR_OK);
    assert_true(sv_eq(pem.octets, b->tls.pairs[0].certificate.octets));
    assert_true(config_stamp_same(&pem.stamp, &after));
    config_free(a);
    config_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_are_read),
        cmocka_unit_test(a_key_comes_from_elsewhere),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(weak_certificates_are_findings),
        cmocka_unit_test(a_file_that_changed_is_a_change),
    };
    return cmocka_run_group_tests(tests, with_certificates, out_of_folder);
}
