/* SPDX-License-Identifier: MIT */
/* Certificates: whom they name, what they may be used for, our own authority, snapshots of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "tls/tls_priv.h"
#include "tls_pems.h"

static const char *const our_names[] = {"example.test", "pbx.example.test"};

/* ---- whom a certificate names ---- */

static EVP_PKEY *any_key;

/* san, eku, ku: as OpenSSL writes them; NULL: not in it. */
static X509 *craft(const char *cn, const char *san, const char *eku, const char *ku)
{
    const struct {
        int nid;
        const char *value;
    } ext[] = {{NID_subject_alt_name, san}, {NID_ext_key_usage, eku}, {NID_key_usage, ku}};
    X509 *x = X509_new();
    X509V3_CTX ctx;
    X509_set_version(x, X509_VERSION_3);
    X509_set_pubkey(x, any_key);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    if (cn)
        X509_NAME_add_entry_by_NID(X509_get_subject_name(x), NID_commonName, MBSTRING_UTF8,
                                   (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    for (size_t i = 0; i < 3; i++) {
        if (!ext[i].value)
            continue;
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, ext[i].nid, ext[i].value);
        assert_non_null(e);
        X509_add_ext(x, e, -1);
        X509_EXTENSION_free(e);
    }
    assert_true(X509_sign(x, any_key, EVP_sha256()) > 0);
    return x;
}

static bool is(const char *cn, const char *san, const char *domain, bool verified)
{
    struct tls_peer *p;
    X509 *x = craft(cn, san, NULL, NULL);
    assert_int_equal(tls_peer_new(x, verified, &p), ERR_OK);
    bool yes = tls_peer_is(p, sv_of(domain));
    tls_peer_unref(p);
    X509_free(x);
    return yes;
}

/* RFC 5922 §7.1, §7.2 */
static void identities_of_a_certificate(void **state)
{
    static const struct {
        const char *cn, *san, *domain;
        bool yes;
    } row[] = {
        {NULL, "URI:sip:example.test", "example.test", true},
        {NULL, "URI:SIP:Example.TEST", "exAMPLE.test", true},
        {NULL, "URI:sip:example.test", "example.test.", true},
        {NULL, "URI:sip:example.test:5061;transport=tls", "example.test", true},
        {NULL, "URI:sip:example.test", "sub.example.test", false},
        {NULL, "URI:sip:sub.example.test", "example.test", false},
        {NULL, "URI:sip:example.test", "xexample.test", false},
        {NULL, "URI:sips:example.test", "example.test", false},
        {NULL, "URI:http://example.test", "example.test", false},
        {NULL, "URI:sip:alice@example.test", "example.test", false},
        {NULL, "URI:sip:alice@example.test", "alice@example.test", false},
        {NULL, "URI:sip:192.0.2.1", "192.0.2.1", true},
        {NULL, "URI:sip:[2001:db8::1]", "2001:db8:0::1", true},
        {NULL, "DNS:Example.test", "example.TEST", true},
        {NULL, "DNS:other.test, DNS:example.test", "example.test", true},
        {NULL, "DNS:*.example.test", "sub.example.test", false},
        {NULL, "DNS:*.example.test", "*.example.test", true}, /* §7.2 says so itself */
        {NULL, "DNS:.example.test", "sub.example.test", false},
        {NULL, "DNS:example.test", "", false},
        /* DNS only if there is no sip URI; one with a user or of another scheme is none */
        {NULL, "DNS:example.test, URI:sip:other.test", "example.test", false},
        {NULL, "DNS:example.test, URI:sip:other.test", "other.test", true},
        {NULL, "DNS:example.test, URI:sip:alice@other.test", "example.test", true},
        {NULL, "DNS:example.test, URI:sips:other.test", "example.test", true},
        {NULL, "IP:192.0.2.1", "192.0.2.1", true},
        {NULL, "IP:192.0.2.1", "192.0.2.2", false},
        {NULL, "IP:2001:db8::1", "[2001:db8::1]", true},
        {NULL, "IP:192.0.2.1, URI:sip:other.test", "192.0.2.1", true},
        {NULL, "DNS:192.0.2.1", "192.0.2.1", false},
        /* CN if and only if there is no subjectAltName */
        {"example.test", NULL, "example.test", true},
        {"Example.test", NULL, "example.test", true},
        {"example.test", "DNS:other.test", "example.test", false},
        {"example.test", "email:a@example.test", "example.test", false},
        {"Example Test", NULL, "Example Test", false},
        {"192.0.2.1", NULL, "192.0.2.1", false},
        {NULL, NULL, "example.test", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        if (is(row[i].cn, row[i].san, row[i].domain, true) != row[i].yes)
            fail_msg("row %zu: %s for %s", i, row[i].san, row[i].domain);
        assert_false(is(row[i].cn, row[i].san, row[i].domain, false));
    }
}

static void add_raw(GENERAL_NAMES *names, int type, sv text)
{
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_STRING *s = ASN1_STRING_type_new(V_ASN1_IA5STRING);
    ASN1_STRING_set(s, text.p, (int)text.n);
    GENERAL_NAME_set0_value(g, type, s);
    sk_GENERAL_NAME_push(names, g);
}

/* D24: the name before a NUL is not the one that was certified. */
static void names_with_other_octets_are_not_seen(void **state)
{
    static const sv bad[] = {
        {"example.test\0.evil.test", 23}, {"example.test\n", 13}, {"example.test ", 13}, {"", 0},
        {"exam\xc3\xa4ple.test", 14},     {"example.test\0", 13}};
    static const sv bad_uri[] = {{"sip:example.test\0@evil.test", 27}, {"sip:example.test\0", 17}};
    struct tls_peer *p;
    (void)state;
    X509 *x = craft(NULL, NULL, NULL, NULL);
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    for (size_t i = 0; i < 6; i++)
        add_raw(names, GEN_DNS, bad[i]);
    for (size_t i = 0; i < 2; i++)
        add_raw(names, GEN_URI, bad_uri[i]);
    add_raw(names, GEN_DNS, SV("good.test"));
    X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0);
    assert_int_equal(tls_peer_new(x, true, &p), ERR_OK);
    assert_int_equal(p->dns_n, 1);
    assert_int_equal(p->sip_uris_n, 0);
    assert_true(tls_peer_is(p, SV("good.test")));
    assert_false(tls_peer_is(p, SV("example.test")));
    tls_peer_unref(p);
    GENERAL_NAMES_free(names);
    X509_free(x);
}

static void names_are_capped(void **state)
{
    struct tls_peer *p;
    char text[32];
    (void)state;
    X509 *x = craft(NULL, NULL, NULL, NULL);
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    for (int i = 0; i < 100; i++) {
        int n = snprintf(text, sizeof(text), "host%d.test", i);
        add_raw(names, GEN_DNS, (sv){text, (size_t)n});
        n = snprintf(text, sizeof(text), "sip:user%d@a.test", i);
        add_raw(names, GEN_URI, (sv){text, (size_t)n});
    }
    X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0);
    assert_int_equal(tls_peer_new(x, true, &p), ERR_OK);
    assert_int_equal(p->dns_n, TLS_NAMES_MAX);
    assert_int_equal(p->sip_uris_n, TLS_NAMES_MAX);
    assert_true(tls_peer_is(p, SV("host63.test")));
    assert_false(tls_peer_is(p, SV("host64.test")));
    assert_true(sv_eq(p->sip_uris[5], SV("sip:user5@a.test")));
    tls_peer_unref(tls_peer_ref(p));
    tls_peer_unref(p);
    GENERAL_NAMES_free(names);
    X509_free(x);
}

/* RFC 5922 §7.1: extendedKeyUsage MUST be heeded. */
static void uses_of_a_certificate(void **state)
{
    static const struct {
        const char *eku, *ku;
        bool server, client;
    } row[] = {
        {NULL, NULL, true, true},
        {"serverAuth", NULL, true, true},
        {"clientAuth", NULL, false, true},
        {"1.3.6.1.5.5.7.3.20", NULL, true, true}, /* id-kp-sipDomain */
        {"1.3.6.1.5.5.7.3.21", NULL, false, false},
        {"anyExtendedKeyUsage", NULL, true, true},
        {"codeSigning", NULL, false, false},
        {"codeSigning, serverAuth", NULL, true, true},
        {NULL, "digitalSignature", true, true},
        {NULL, "keyEncipherment", false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        STACK_OF(X509) *chain = sk_X509_new_null();
        sk_X509_push(chain, craft("x.test", NULL, row[i].eku, row[i].ku));
        assert_int_equal(tls_peer_may(chain, true), row[i].server);
        assert_int_equal(tls_peer_may(chain, false), row[i].client);
        sk_X509_pop_free(chain, X509_free);
    }
}

/* ---- our own authority ---- */

static struct pem authority, leaf;
static struct addr ips[2];
static sv dns[2];
static struct tls_names ours = {.dns = dns, .dns_n = 2, .ips = ips, .ips_n = 2};

static X509 *read_cert(sv pem)
{
    BIO *b = pem_open(pem);
    X509 *x = pem_next(b);
    BIO_free(b);
    assert_non_null(x);
    return x;
}

/* X509_V_OK, or what is wrong. */
static int verify(sv ca, sv cert)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509 *a = read_cert(ca), *x = read_cert(cert);
    X509_STORE_add_cert(store, a);
    X509_STORE_CTX_init(ctx, store, x, NULL);
    X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
    X509_verify_cert(ctx);
    int error = X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    X509_free(a);
    X509_free(x);
    return error;
}

static int verify_leaf_for(const struct tls_names *n)
{
    struct pem p;
    buf_init_heap(&p.cert, PEM_MAX);
    buf_init_heap(&p.key, PEM_MAX);
    assert_int_equal(tls_make_leaf(buf_sv(&authority.cert), buf_sv(&authority.key), n, pem_now(),
                                   &p.cert, &p.key),
                     ERR_OK);
    int error = verify(buf_sv(&authority.cert), buf_sv(&p.cert));
    pem_done(&p);
    return error;
}

static void leaves_of_our_authority(void **state)
{
    struct tls_peer *p;
    (void)state;
    assert_int_equal(verify(buf_sv(&authority.cert), buf_sv(&leaf.cert)), X509_V_OK);
    X509 *x = read_cert(buf_sv(&leaf.cert)), *ca = read_cert(buf_sv(&authority.cert));
    assert_int_equal(tls_peer_new(x, true, &p), ERR_OK);
    for (size_t i = 0; i < 2; i++)
        assert_true(tls_peer_is(p, dns[i]));
    assert_true(tls_peer_is(p, SV("192.0.2.1")) && tls_peer_is(p, SV("2001:db8::1")));
    assert_int_equal(p->dns_n, 2);
    assert_int_equal(p->sip_uris_n, 2);
    tls_peer_unref(p);
    assert_int_equal(X509_check_ca(ca), 1);
    assert_int_equal(X509_get_pathlen(ca), 0);
    assert_int_equal(X509_check_ca(x), 0);
    assert_int_equal(X509_get_key_usage(ca), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
    assert_int_equal(X509_get_extended_key_usage(x), XKU_SSL_SERVER | XKU_SSL_CLIENT);
    usec from = tls_time_of(X509_get0_notBefore(x)), to = tls_time_of(X509_get0_notAfter(x));
    assert_true(from < pem_now() - 50 * USEC_MIN && from > pem_now() - 70 * USEC_MIN);
    assert_true(to - from >= TLS_LEAF_LIFE && to - from < TLS_LEAF_LIFE + 2 * USEC_HOUR);
    assert_true(ASN1_INTEGER_cmp(X509_get0_serialNumber(x), X509_get0_serialNumber(ca)) != 0);
    assert_true(X509_NAME_cmp(X509_get_subject_name(x), X509_get_subject_name(ca)) != 0);
    X509_free(x);
    X509_free(ca);
}

static void our_authority_is_for_our_names_only(void **state)
{
    static const char *const foreign[] = {"other.test", "test", "xexample.test"};
    struct addr ip[2];
    (void)state;
    assert_int_equal(verify_leaf_for(&ours), X509_V_OK);
    for (size_t i = 0; i < 3; i++) {
        sv name = sv_of(foreign[i]);
        struct tls_names n = {.dns = &name, .dns_n = 1};
        assert_int_equal(verify_leaf_for(&n), X509_V_ERR_PERMITTED_VIOLATION);
    }
    assert_int_equal(addr_parse_ip(SV("192.0.2.2"), 0, &ip[0]), ERR_OK);
    assert_int_equal(addr_parse_ip(SV("2001:db8::2"), 0, &ip[1]), ERR_OK);
    for (size_t i = 0; i < 2; i++) {
        struct tls_names n = {.ips = &ip[i], .ips_n = 1};
        assert_int_equal(verify_leaf_for(&n), X509_V_ERR_PERMITTED_VIOLATION);
    }
}

/* An authority without addresses is for none, one without names for none. */
static void a_kind_without_names_is_shut(void **state)
{
    struct tls_names only_dns = {.dns = dns, .dns_n = 2}, only_ips = {.ips = ips, .ips_n = 2};
    struct tls_names *all[] = {&only_dns, &only_ips};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct pem ca;
        buf_init_heap(&ca.cert, PEM_MAX);
        buf_init_heap(&ca.key, PEM_MAX);
        assert_int_equal(tls_make_ca(all[i], pem_now(), &ca.cert, &ca.key), ERR_OK);
        for (size_t k = 0; k < 2; k++) {
            struct pem p;
            buf_init_heap(&p.cert, PEM_MAX);
            buf_init_heap(&p.key, PEM_MAX);
            assert_int_equal(tls_make_leaf(buf_sv(&ca.cert), buf_sv(&ca.key), all[k], pem_now(),
                                           &p.cert, &p.key),
                             ERR_OK);
            assert_int_equal(verify(buf_sv(&ca.cert), buf_sv(&p.cert)),
                             i == k ? X509_V_OK : X509_V_ERR_EXCLUDED_VIOLATION);
            pem_done(&p);
        }
        pem_done(&ca);
    }
}

static void what_is_no_name_gets_no_certificate(void **state)
{
    char long_name[300];
    struct pem p;
    (void)state;
    memset(long_name, 'a', sizeof(long_name));
    const sv bad[] = {SV(""),           SV("a b"),        SV("192.0.2.1"),
                      SV("*.a.test"),   SV("a.test\n"),   SV("-a.test"),
                      SV("2001:db8::"), {long_name, 300}, {"a.test\0", 7}};
    buf_init_heap(&p.cert, PEM_MAX);
    buf_init_heap(&p.key, PEM_MAX);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct tls_names n = {.dns = &bad[i], .dns_n = 1};
        assert_int_equal(tls_make_ca(&n, pem_now(), &p.cert, &p.key), ERR_SYNTAX);
        assert_int_equal(tls_make_leaf(buf_sv(&authority.cert), buf_sv(&authority.key), &n,
                                       pem_now(), &p.cert, &p.key),
                         ERR_SYNTAX);
    }
    struct tls_names none = {0};
    assert_int_equal(tls_make_ca(&none, pem_now(), &p.cert, &p.key), ERR_SYNTAX);
    assert_int_equal(tls_make_leaf(buf_sv(&authority.cert), buf_sv(&leaf.key), &ours, pem_now(),
                                   &p.cert, &p.key),
                     ERR_SYNTAX); /* not the authority's key */
    assert_int_equal(tls_make_leaf(SV("x"), buf_sv(&leaf.key), &ours, pem_now(), &p.cert, &p.key),
                     ERR_SYNTAX);
    assert_int_equal(p.cert.n + p.key.n, 0);
    sv dot = SV("a.test.");
    struct tls_names dotted = {.dns = &dot, .dns_n = 1};
    bool covers = false;
    usec ends;
    assert_int_equal(tls_make_ca(&dotted, pem_now(), &p.cert, &p.key), ERR_OK);
    buf_reset(&p.cert);
    pem_done(&p);
    pem_make(&p, &authority, "pbx.example.test.");
    sv undotted = SV("pbx.example.test");
    struct tls_names n = {.dns = &undotted, .dns_n = 1};
    assert_int_equal(tls_cert_covers(buf_sv(&p.cert), &n, &covers, &ends), ERR_OK);
    assert_true(covers);
    pem_done(&p);
}

static void what_a_certificate_covers(void **state)
{
    struct addr other_ip;
    bool covers;
    usec ends;
    (void)state;
    assert_int_equal(tls_cert_covers(buf_sv(&leaf.cert), &ours, &covers, &ends), ERR_OK);
    assert_true(covers);
    assert_true(ends > pem_now() + TLS_LEAF_LIFE - USEC_HOUR && ends <= pem_now() + TLS_LEAF_LIFE);
    sv more[] = {dns[0], SV("other.test")};
    struct tls_names n = {.dns = more, .dns_n = 2};
    assert_int_equal(tls_cert_covers(buf_sv(&leaf.cert), &n, &covers, &ends), ERR_OK);
    assert_false(covers);
    assert_int_equal(addr_parse_ip(SV("192.0.2.9"), 0, &other_ip), ERR_OK);
    n = (struct tls_names){.ips = &other_ip, .ips_n = 1};
    assert_int_equal(tls_cert_covers(buf_sv(&leaf.cert), &n, &covers, &ends), ERR_OK);
    assert_false(covers);
    assert_int_equal(tls_cert_covers(SV("no certificate"), &n, &covers, &ends), ERR_SYNTAX);
}

static void a_certificate_in_words(void **state)
{
    struct tls_cert_view v;
    struct arena a;
    (void)state;
    arena_init(&a, NULL, 0, 65536);
    assert_int_equal(tls_cert_view(buf_sv(&leaf.cert), &a, &v), ERR_OK);
    assert_true(sv_eq(v.subject, dns[0]));
    assert_true(sv_starts(v.issuer, SV("Tandem private CA ")));
    assert_int_equal(v.names_n, 4);
    assert_true(sv_eq(v.names[1], dns[1]) && sv_eq(v.names[3], SV("2001:db8::1")));
    assert_true(v.from < pem_now() && v.expires > pem_now());
    assert_int_equal(tls_cert_view(SV("x"), &a, &v), ERR_SYNTAX);
    arena_done(&a);
}

/* ---- snapshots ---- */

static void refused(const struct tls_config *c, const char *words)
{
    struct tls *t = NULL;
    struct buf why;
    buf_init_heap(&why, 256);
    assert_int_equal(tls_new(c, &why, &t), ERR_SYNTAX);
    assert_null(t);
    buf_char(&why, '\0');
    if (!strstr(why.p, words))
        fail_msg("\"%s\" is not in \"%s\"", words, why.p);
    assert_int_equal(ERR_peek_error(), 0);
    buf_done(&why);
}

static const char locked_key[] =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
    "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgAAAAAAAAAAAICCAAw\n"
    "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEAAAAAAAAAAAAAAAAAAAAAA=\n"
    "-----END ENCRYPTED PRIVATE KEY-----\n";

static void snapshots_say_what_is_wrong(void **state)
{
    struct tls_pair many[TLS_PAIRS_MAX + 1], one = pem_pair(&leaf), *pair = many;
    struct tls_config c = {.pairs = pair, .n = 1, .ca = buf_sv(&authority.cert)};
    (void)state;
    for (int i = 0; i <= TLS_PAIRS_MAX; i++)
        many[i] = one;
    pair->certificate = SV("nothing");
    refused(&c, "certificate: no PEM certificate");
    pair->certificate = buf_sv(&leaf.key);
    refused(&c, "certificate: no PEM certificate");
    pair->certificate = one.certificate;
    pair->key = SV_NONE;
    refused(&c, "key: no PEM private key");
    pair->key = sv_of(locked_key);
    refused(&c, "key: no PEM private key");
    pair->key = buf_sv(&authority.key);
    refused(&c, "key: does not belong");
    many[0] = one;
    many[2].key = buf_sv(&authority.key);
    c.n = 3;
    refused(&c, "pair 3 of 3");
    many[2] = one;
    c.n = TLS_PAIRS_MAX + 1;
    refused(&c, "more than 32");
    c.n = 1;
    c.ca = SV("");
    refused(&c, "ca: no certificate");
    c.ca = buf_sv(&authority.cert);
    c.ca_own = SV("x");
    refused(&c, "our own ca: no certificate");
}

static void snapshots_know_their_first_and_their_end(void **state)
{
    struct pem old;
    struct buf a, b;
    (void)state;
    pem_make_at(&old, &authority, dns, 1, pem_now() - 80 * USEC_DAY);
    struct tls_pair pairs[] = {pem_pair(&leaf), pem_pair(&old)};
    struct tls_config c = {.pairs = pairs, .n = 2};
    struct tls *t = pem_tls(&c), *none;
    buf_init_heap(&a, 256);
    buf_init_heap(&b, 256);
    tls_fingerprint(t, &a);
    assert_int_equal(tls_cert_fingerprint(buf_sv(&leaf.cert), &b), ERR_OK);
    assert_int_equal(a.n, 95);
    assert_true(sv_eq(buf_sv(&a), buf_sv(&b)));
    assert_int_equal(tls_cert_fingerprint(SV("x"), &b), ERR_SYNTAX);
    assert_true(tls_expires(t) > pem_now() + 9 * USEC_DAY);
    assert_true(tls_expires(t) <= pem_now() + 10 * USEC_DAY);
    tls_unref(tls_ref(t));
    tls_unref(t);
    c = (struct tls_config){0};
    none = pem_tls(&c);
    assert_true(tls_expires(none) == USEC_NEVER);
    buf_reset(&a);
    tls_fingerprint(none, &a);
    assert_int_equal(a.n, 0);
    tls_unref(none);
    tls_unref(NULL);
    buf_done(&a);
    buf_done(&b);
    pem_done(&old);
}

static void put_weak(struct pem *p)
{
    char *text;
    EVP_PKEY *rsa = EVP_RSA_gen(1024), *before = any_key;
    any_key = rsa;
    X509 *x = craft("weak.test", NULL, NULL, NULL);
    any_key = before;
    X509_sign(x, rsa, EVP_sha1());
    BIO *b = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(b, x);
    long n = BIO_get_mem_data(b, &text);
    buf_init_heap(&p->cert, PEM_MAX);
    buf_mem(&p->cert, text, (size_t)n);
    (void)BIO_reset(b);
    PEM_write_bio_PrivateKey(b, rsa, NULL, NULL, 0, NULL, NULL);
    n = BIO_get_mem_data(b, &text);
    buf_init_heap(&p->key, PEM_MAX);
    buf_mem(&p->key, text, (size_t)n);
    BIO_free(b);
    X509_free(x);
    EVP_PKEY_free(rsa);
}

/* It is the operator's; what it costs him he is told elsewhere. */
static void a_weak_or_old_certificate_is_no_error(void **state)
{
    struct pem weak, old;
    (void)state;
    put_weak(&weak);
    pem_make_at(&old, &authority, dns, 1, pem_now() - 200 * USEC_DAY);
    struct tls_pair pairs[] = {pem_pair(&weak), pem_pair(&old)};
    struct tls_config c = {.pairs = pairs, .n = 2, .ca = buf_sv(&authority.cert)};
    struct tls *t = pem_tls(&c);
    assert_true(tls_expires(t) < pem_now());
    tls_unref(t);
    pem_done(&weak);
    pem_done(&old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identities_of_a_certificate),
        cmocka_unit_test(names_with_other_octets_are_not_seen),
        cmocka_unit_test(names_are_capped),
        cmocka_unit_test(uses_of_a_certificate),
        cmocka_unit_test(leaves_of_our_authority),
        cmocka_unit_test(our_authority_is_for_our_names_only),
        cmocka_unit_test(a_kind_without_names_is_shut),
        cmocka_unit_test(what_is_no_name_gets_no_certificate),
        cmocka_unit_test(what_a_certificate_covers),
        cmocka_unit_test(a_certificate_in_words),
        cmocka_unit_test(snapshots_say_what_is_wrong),
        cmocka_unit_test(snapshots_know_their_first_and_their_end),
        cmocka_unit_test(a_weak_or_old_certificate_is_no_error),
    };
    assert_int_equal(crypto_start(), ERR_OK);
    any_key = EVP_EC_gen("P-256");
    for (size_t i = 0; i < 2; i++)
        dns[i] = sv_of(our_names[i]);
    assert_int_equal(addr_parse_ip(SV("192.0.2.1"), 0, &ips[0]), ERR_OK);
    assert_int_equal(addr_parse_ip(SV("2001:db8::1"), 0, &ips[1]), ERR_OK);
    struct pem *all[] = {&authority, &leaf};
    for (size_t i = 0; i < 2; i++) {
        buf_init_heap(&all[i]->cert, PEM_MAX);
        buf_init_heap(&all[i]->key, PEM_MAX);
    }
    assert_int_equal(tls_make_ca(&ours, pem_now(), &authority.cert, &authority.key), ERR_OK);
    assert_int_equal(tls_make_leaf(buf_sv(&authority.cert), buf_sv(&authority.key), &ours,
                                   pem_now(), &leaf.cert, &leaf.key),
                     ERR_OK);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    pem_done(&authority);
    pem_done(&leaf);
    EVP_PKEY_free(any_key);
    return rc;
}
