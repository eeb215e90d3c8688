/* SPDX-License-Identifier: MIT */
/* DTLS-SRTP with another at the other end: plain OpenSSL with its own timers, set up as others do it. */
#include "dtls_rig.h"
#include <sys/time.h>
#define ERR_STATE openssl_err_state
#include <openssl/err.h>
#include <openssl/ssl.h>
#undef ERR_STATE

enum { QUEUE = 64, ROUNDS = 50 };

/* The other end. */
struct other {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO_METHOD *method;
    struct packet in[QUEUE]; /* to it */
    size_t in_n, in_at;
    size_t largest; /* of what it sent */
    bool deaf;      /* nothing more reaches it */
    unsigned sent;
    bool client;
    struct timeval *clock;
};
static struct other other;
static struct end *us;

/* What OpenSSL says about a certificate of ours: nothing. */
static int accept_any(X509_STORE_CTX *x, void *arg)
{
    (void)x;
    (void)arg;
    return 1;
}

static int other_read(BIO *b, char *p, int n)
{
    BIO_clear_retry_flags(b);
    if (other.in_at == other.in_n) {
        BIO_set_retry_read(b);
        return -1;
    }
    struct packet *q = &other.in[other.in_at++ % QUEUE];
    assert_true(q->n <= (size_t)n);
    memcpy(p, q->p, q->n);
    return (int)q->n;
}

static int other_write(BIO *b, const char *p, int n)
{
    BIO_clear_retry_flags(b);
    other.sent++;
    if ((size_t)n > other.largest)
        other.largest = (size_t)n;
    if (us->d)
        put(&way, us->me, (sv){p, (size_t)n}, way.now);
    return n;
}

static long other_ctrl(BIO *b, int what, long num, void *p)
{
    (void)b;
    (void)num;
    if (what == BIO_CTRL_DGRAM_SET_NEXT_TIMEOUT)
        other.clock = p;
    return what == BIO_CTRL_FLUSH;
}

static int bake(SSL *ssl, unsigned char *cookie, unsigned *n)
{
    (void)ssl;
    memcpy(cookie, "cookie", 6);
    *n = 6;
    return 1;
}

static int taste(SSL *ssl, const unsigned char *cookie, unsigned n)
{
    (void)ssl;
    return n == 6 && memcmp(cookie, "cookie", 6) == 0;
}

static bool to_other(struct way *w, int from, sv octets)
{
    (void)w;
    if (from != us->me || other.deaf)
        return false;
    assert_true(other.in_n - other.in_at < QUEUE);
    struct packet *q = &other.in[other.in_n++ % QUEUE];
    q->n = octets.n;
    memcpy(q->p, octets.p, octets.n);
    return false; /* it is not for the rig's other end */
}

struct setup {
    bool client; /* the other end is */
    int rsa_bits;
    const char *profiles, *ciphers;
    long mtu;
    int version;
    bool no_certificate, cookies;
};

static void make_certificate(SSL_CTX *ctx, int rsa_bits)
{
    EVP_PKEY *key = rsa_bits ? EVP_RSA_gen((unsigned)rsa_bits) : EVP_EC_gen("P-384");
    X509 *x = X509_new();
    assert_true(key && x);
    X509_set_version(x, X509_VERSION_3);
    X509_set_pubkey(x, key);
    X509_gmtime_adj(X509_getm_notBefore(x), -400 * 86400L); /* long expired: nobody looks */
    X509_gmtime_adj(X509_getm_notAfter(x), -300 * 86400L);
    assert_true(X509_sign(x, key, EVP_sha384()) > 0);
    assert_int_equal(SSL_CTX_use_certificate(ctx, x), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void other_init(const struct setup *s)
{
    SSL_CTX *ctx;
    other = (struct other){.client = s->client};
    ctx = other.ctx = SSL_CTX_new(DTLS_method());
    other.method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "other");
    BIO_meth_set_read(other.method, other_read);
    BIO_meth_set_write(other.method, other_write);
    BIO_meth_set_ctrl(other.method, other_ctrl);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, accept_any, NULL);
    SSL_CTX_set_options(ctx, SSL_OP_NO_QUERY_MTU | (s->cookies ? SSL_OP_COOKIE_EXCHANGE : 0));
    SSL_CTX_set_cookie_generate_cb(ctx, bake);
    SSL_CTX_set_cookie_verify_cb(ctx, taste);
    if (s->ciphers)
        assert_int_equal(SSL_CTX_set_cipher_list(ctx, s->ciphers), 1);
    if (s->profiles)
        assert_int_equal(SSL_CTX_set_tlsext_use_srtp(ctx, s->profiles), 0);
    if (s->version) {
        SSL_CTX_set_security_level(ctx, 0);
        SSL_CTX_set_min_proto_version(ctx, s->version);
        SSL_CTX_set_max_proto_version(ctx, s->version);
    }
    if (!s->no_certificate)
        make_certificate(ctx, s->rsa_bits);
}

static void other_open(const struct setup *s)
{
    BIO *b = BIO_new(other.method);
    other.ssl = SSL_new(other.ctx);
    BIO_set_init(b, 1);
    SSL_set_bio(other.ssl, b, b);
    SSL_set_mtu(other.ssl, s->mtu ? s->mtu : 1400);
    if (s->client)
        SSL_set_connect_state(other.ssl);
    else
        SSL_set_accept_state(other.ssl);
}

static void trust_other(void)
{
    X509 *x = SSL_CTX_get0_certificate(other.ctx);
    uint8_t digest[64] = {0};
    unsigned n = 32;
    if (x)
        X509_digest(x, EVP_sha256(), digest, &n);
    struct dtls_fingerprint f = {SV("sha-256"), digest, n};
    assert_int_equal(dtls_trust(us->d, &f, 1, way.now), ERR_OK);
}

static int go_on(void)
{
    ERR_clear_error();
    return SSL_do_handshake(other.ssl);
}

/* Until nothing moves. What the other's handshake came to. */
static int talk(const struct setup *s)
{
    int rc = -1;
    memset(&way, 0, sizeof(way));
    way.now = 5 * USEC_S;
    way.tap = to_other;
    us = &way.ends[B];
    way.ends[A].way = &way;
    end_init(&way, B, bob,
             &(struct dtls_config){.client = !s->client,
                                   .cookies = s->cookies && s->client,
                                   .peer = SV("its address")});
    other_open(s);
    trust_other();
    dtls_start(us->d, way.now);
    for (int i = 0; i < ROUNDS; i++) {
        int r = go_on();
        rc = r == 1 ? 1 : rc;
        run(&way, USEC_MS);
    }
    return rc;
}

static void assert_same_keys(void)
{
    uint8_t all[2 * (DTLS_KEY_MAX + DTLS_SALT_MAX)];
    assert_true(us->keyed);
    const struct dtls_suite_info *i = &dtls_suites[us->keys.suite];
    size_t k = i->key_n, salt = i->salt_n;
    const SRTP_PROTECTION_PROFILE *p = SSL_get_selected_srtp_profile(other.ssl);
    assert_non_null(p);
    assert_int_equal(p->id, i->wire);
    assert_int_equal(SSL_export_keying_material(other.ssl, all, 2 * (k + salt),
                                                "EXTRACTOR-dtls_srtp", 19, NULL, 0, 0),
                     1);
    const struct dtls_key *client = other.client ? &us->keys.theirs : &us->keys.ours;
    const struct dtls_key *server = other.client ? &us->keys.ours : &us->keys.theirs;
    assert_memory_equal(client->key, all, k); /* RFC 5764 §4.2 */
    assert_memory_equal(server->key, all + k, k);
    assert_memory_equal(client->salt, all + 2 * k, salt);
    assert_memory_equal(server->salt, all + 2 * k + salt, salt);
}

static void other_close(void)
{
    SSL_free(other.ssl);
    other.ssl = NULL;
    dtls_free(us->d);
    us->d = NULL;
}

static void other_done(void)
{
    other_close();
    SSL_CTX_free(other.ctx);
    BIO_meth_free(other.method);
    ERR_clear_error();
}

#define BOTH                                                                                 \
    "SRTP_AES128_CM_SHA1_80:SRTP_AES128_CM_SHA1_32:SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_" \
    "GCM"
#define CM "SRTP_AES128_CM_SHA1_80:SRTP_AES128_CM_SHA1_32"

static void others_agree_on_the_keys(void **state)
{
    (void)state;
    static const struct {
        struct setup s;
        enum dtls_suite suite[2]; /* the server's preference: theirs, ours */
    } rows[] = {
        {{.profiles = BOTH}, {DTLS_AES128_CM_SHA1_80, DTLS_AEAD_AES_128_GCM}},
        {{.profiles = CM, .rsa_bits = 2048}, {DTLS_AES128_CM_SHA1_80, DTLS_AES128_CM_SHA1_80}},
        {{.profiles = "SRTP_AES128_CM_SHA1_32"}, {DTLS_AES128_CM_SHA1_32, DTLS_AES128_CM_SHA1_32}},
        {{.profiles = "SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80"},
         {DTLS_AEAD_AES_256_GCM, DTLS_AEAD_AES_256_GCM}},
        {{.profiles = CM, .mtu = 256, .rsa_bits = 3072},
         {DTLS_AES128_CM_SHA1_80, DTLS_AES128_CM_SHA1_80}},
        {{.profiles = CM, .cookies = true}, {DTLS_AES128_CM_SHA1_80, DTLS_AES128_CM_SHA1_80}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (int client = 0; client < 2; client++) {
            struct setup s = rows[i].s;
            s.client = client;
            other_init(&s);
            if (talk(&s) != 1 || !us->keyed)
                fail_msg("row %zu, client %d: %s", i, client, us->text);
            assert_same_keys();
            assert_int_equal(us->keys.suite, rows[i].suite[client]);
            assert_int_equal(us->big, 0);
            if (s.mtu)
                assert_true(other.largest <= (size_t)s.mtu);
            other_done();
        }
}

static void what_is_not_good_enough_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct setup s;
        enum dtls_why why[2]; /* when it is the server; when it is the client */
    } rows[] = {
        {{.profiles = NULL}, {DTLS_WHY_PROFILE, DTLS_WHY_PROFILE}},
        {{.profiles = CM, .version = DTLS1_VERSION}, {DTLS_WHY_REFUSED, DTLS_WHY_BROKEN}},
        {{.profiles = CM, .ciphers = "ECDHE+AES+SHA1:!AESGCM"},
         {DTLS_WHY_REFUSED, DTLS_WHY_BROKEN}},
        {{.profiles = CM, .ciphers = "DHE+AESGCM", .rsa_bits = 2048},
         {DTLS_WHY_REFUSED, DTLS_WHY_BROKEN}},
        {{.profiles = CM, .ciphers = "kRSA+AESGCM", .rsa_bits = 2048},
         {DTLS_WHY_REFUSED, DTLS_WHY_BROKEN}},
        {{.profiles = CM, .ciphers = "ECDHE+AESGCM", .no_certificate = true},
         {DTLS_WHY_REFUSED, DTLS_WHY_CERTIFICATE}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (int client = 0; client < 2; client++) {
            struct setup s = rows[i].s;
            s.client = client;
            other_init(&s);
            assert_int_not_equal(talk(&s), 1); /* nor does the other think that it went well */
            assert_false(us->keyed);
            run(&way, DTLS_GIVE_UP);
            if (!us->failed || us->why != rows[i].why[client])
                fail_msg("row %zu, client %d: %d %s", i, client, us->why, us->text);
            other_done();
        }
}

/* ---- after the handshake ---- */

static const struct setup plain_client = {.client = true, .profiles = CM};

static void there_is_no_resumption(void **state)
{
    (void)state;
    for (int client = 0; client < 2; client++) {
        struct setup s = {.client = client, .profiles = CM};
        other_init(&s);
        assert_int_equal(talk(&s), 1);
        SSL_SESSION *session = SSL_get1_session(other.ssl);
        unsigned n = 0;
        SSL_SESSION_get_id(session, &n);
        if (client) { /* nothing to resume by */
            assert_int_equal(n, 0);
            assert_false(SSL_SESSION_has_ticket(session));
        }
        SSL_SESSION_free(session);
        other_done();
    }
}

static void renegotiation_is_not_for_us(void **state)
{
    (void)state;
    for (int client = 0; client < 2; client++) {
        struct setup s = {.client = client, .profiles = CM};
        other_init(&s);
        assert_int_equal(talk(&s), 1);
        assert_same_keys();
        unsigned sent = us->sent;
        assert_int_equal(SSL_renegotiate(other.ssl), 1);
        for (int i = 0; i < 5; i++) {
            go_on();
            run(&way, USEC_MS);
        }
        assert_true(us->sent <= sent + 2); /* an alert */
        assert_false(us->failed);
        assert_int_equal(dtls_state(us->d), us->closed ? DTLS_OVER : DTLS_KEYED);
        other_done();
    }
}

static void application_data_is_dropped(void **state)
{
    (void)state;
    other_init(&plain_client);
    assert_int_equal(talk(&plain_client), 1);
    unsigned sent = us->sent;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(SSL_write(other.ssl, "data", 4), 4);
        run(&way, USEC_MS);
    }
    assert_int_equal(us->sent, sent);
    SSL_shutdown(other.ssl);
    run(&way, USEC_MS);
    assert_true(us->closed);
    assert_int_equal(us->sent, sent + 1); /* answered */
    other_done();
}

/* A client that misses our last flight, ever again. OpenSSL has had enough after 12: the keys stand. */
static void who_repeats_for_ever_ends_nothing_but_answers(void **state)
{
    (void)state;
    other_init(&plain_client);
    memset(&way, 0, sizeof(way));
    way.tap = to_other;
    us = &way.ends[B];
    end_init(&way, B, bob, &(struct dtls_config){0});
    other_open(&plain_client);
    trust_other();
    for (int i = 0; i < 10 && !us->keyed; i++) {
        go_on();
        other.deaf = us->sent > 0; /* got the first flight; not the last */
        run(&way, 0);
    }
    assert_true(us->keyed);
    unsigned sent = us->sent;
    for (int i = 0; i < 40; i++) {
        assert_non_null(other.clock);
        *other.clock = (struct timeval){.tv_sec = 1};
        DTLSv1_handle_timeout(other.ssl); /* it gives up after 12, too */
        run(&way, 0);
    }
    assert_true(us->sent > sent);
    assert_in_range(us->sent, sent + 1, sent + 12);
    assert_false(us->failed || us->closed);
    assert_int_equal(dtls_state(us->d), DTLS_KEYED);
    dtls_settle(us->d);
    assert_int_equal(dtls_state(us->d), DTLS_KEYED);
    other_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_agree_on_the_keys),
        cmocka_unit_test(what_is_not_good_enough_is_refused),
        cmocka_unit_test(there_is_no_resumption),
        cmocka_unit_test(renegotiation_is_not_for_us),
        cmocka_unit_test(application_data_is_dropped),
        cmocka_unit_test(who_repeats_for_ever_ends_nothing_but_answers),
    };
    return cmocka_run_group_tests(tests, rig_start, rig_end);
}
