/* SPDX-License-Identifier: MIT */
/* dtls/dtls_ssl.c: OpenSSL under the machine: its set-up, its turns, its timer.
 *
 * Its timer reads the clock on the wall. Ours is passed in, so its own is set to more than an hour
 * (on_timer), and when ours fires we say that it did: BIO_CTRL_DGRAM_SET_NEXT_TIMEOUT hands the BIO a pointer to
 * the time itself, which dtls_ssl_resend puts into the past. The records of the flight must be
 * written anew by OpenSSL: octets sent twice have numbers that were seen, and are dropped as replayed
 * (RFC 6347 §4.1.2.6). Up to 3.1 the pointer is to the time that counts; from 3.2 on it is to a copy on the
 * stack, so such an OpenSSL is refused (dtls_ssl_setup), and dtls_shared_new tries it out besides. What 3.2 has for
 * it in public (DTLS_set_timer_cb, DTLSv1_get_timeout, SSL_handle_events) only waits for the clock on the wall:
 * no call makes the timer fire. Nor does a timer that always has: OpenSSL looks at it with each read, would send again
 * with each datagram that comes, and gives up after twelve times. */
#include "dtls/dtls_priv.h"
#include <openssl/x509.h>

/* ECDHE and AES-GCM, nothing else: what everybody has (RFC 8827 §6.5). All of them seal a record alike:
 * see dtls_bio.c. */
static const char ciphers[] = "ECDHE+AES128+AESGCM:ECDHE+AESGCM";
static const char groups[] = "X25519:P-256:P-384";
static const char signatures[] = "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:"
                                 "RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:"
                                 "RSA+SHA256:RSA+SHA384:RSA+SHA512";
static const char extractor[] = "EXTRACTOR-dtls_srtp"; /* RFC 5764 §4.2 */

enum {
    STRENGTH = 2,         /* OpenSSL's security level */
    STEPS_MAX = 64,       /* of its state machine in one datagram */
    TIMER_US = INT32_MAX, /* of OpenSSL: never, as far as a handshake is concerned */
};

const struct dtls_suite_info dtls_suites[DTLS_SUITES] = {
#define DTLS_SUITE(id, wire, name, key, salt) [DTLS_##id] = {wire, name, key, salt},
#include "dtls/dtls.def"
};

/* OpenSSL's list of names for a set of suites. */
static void put_suites(unsigned suites, struct buf *b)
{
    for (unsigned i = 0; i < DTLS_SUITES; i++)
        if (suites & 1u << i)
            buf_printf(b, "%s%s", b->n > 0 ? ":" : "", dtls_suites[i].name);
    buf_char(b, '\0');
}

/* ---- what OpenSSL asks ---- */

/* of: what the timer had, 0: a flight begins. */
static unsigned on_timer(SSL *ssl, unsigned of)
{
    struct dtls *d = SSL_get_app_data(ssl);
    if (of == 0) {
        d->flight_new = true;
        d->flight_seq = d->read_seq;
    }
    return TIMER_US;
}

/* Sees every message of the handshake protocol; of the peer's, once it is whole. */
static void on_message(int write, int version, int type, const void *p, size_t n, SSL *ssl,
                       void *arg)
{
    struct dtls *d = SSL_get_app_data(ssl);
    const uint8_t *head = p;
    (void)version;
    (void)arg;
    if (write || type != SSL3_RT_HANDSHAKE || n < DTLS_FRAGMENT_HEAD || !d)
        return;
    d->read_seq = (uint16_t)((head[4] << 8 | head[5]) + 1);
}

/* RFC 5764 §4.1.1: a profile that both know. OpenSSL goes on without one; we are here for nothing else. */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
    struct dtls *d = SSL_get_app_data(ssl);
    const uint8_t *p;
    size_t n;
    (void)arg;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_use_srtp, &p, &n) == 1 && n >= 2) {
        size_t end = 2 + ((size_t)p[0] << 8 | p[1]);
        for (size_t at = 2; at + 2 <= end && at + 2 <= n; at += 2)
            for (unsigned i = 0; i < DTLS_SUITES; i++)
                if ((d->suites & 1u << i) && (p[at] << 8 | p[at + 1]) == dtls_suites[i].wire)
                    return SSL_CLIENT_HELLO_SUCCESS;
    }
    d->why = DTLS_WHY_PROFILE;
    *alert = SSL_AD_HANDSHAKE_FAILURE;
    return SSL_CLIENT_HELLO_ERROR;
}

/* RFC 5763 §5: any certificate will do whose fingerprint is the one that was named; while none is, any. */
static int on_certificate(X509_STORE_CTX *x, void *arg)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct dtls *d = SSL_get_app_data(ssl);
    const X509 *cert = X509_STORE_CTX_get0_cert(x);
    (void)arg;
    if (d->client && !SSL_get_selected_srtp_profile(ssl)) {
        d->why = DTLS_WHY_PROFILE;
        X509_STORE_CTX_set_error(x, X509_V_ERR_APPLICATION_VERIFICATION); /* handshake_failure */
        return 0;
    }
    if (!cert || !dtls_trust_digest(d, cert) || (d->trusted && !dtls_trust_holds(d))) {
        d->why = DTLS_WHY_FINGERPRINT;
        X509_STORE_CTX_set_error(x, X509_V_ERR_CERT_REJECTED); /* bad_certificate: RFC 8122 §6.2 */
        return 0;
    }
    X509_STORE_CTX_set_error(x, X509_V_OK);
    return 1;
}

/* DTLSv1_listen asks about a ClientHello of which dtls_hello has said that it is proven. */
static int on_cookie(SSL *ssl, const unsigned char *cookie, unsigned n)
{
    struct dtls *d = SSL_get_app_data(ssl);
    (void)cookie;
    return d->proven && n == DTLS_COOKIE;
}

static int no_cookie(SSL *ssl, unsigned char *cookie, unsigned *n)
{
    (void)ssl;
    (void)cookie;
    (void)n;
    return 0;
}

/* ---- contexts ---- */

enum err dtls_ssl_setup(struct dtls_shared *s)
{
    if (OPENSSL_version_major() != 3 || OPENSSL_version_minor() > 1)
        return ERR_UNSUPPORTED;
    char names[128];
    struct buf b;
    buf_init(&b, names, sizeof(names));
    put_suites(~0u, &b);
    s->bio = dtls_bio_method();
    SSL_CTX *ctx = s->ctx = SSL_CTX_new(DTLS_method());
    if (!s->bio || !ctx)
        return ERR_NOMEM;
    SSL_CTX_set_options(ctx, SSL_OP_NO_QUERY_MTU | SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_security_level(ctx, STRENGTH);
    SSL_CTX_set_max_cert_list(ctx, DTLS_MESSAGE_MAX);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, on_certificate, NULL);
    SSL_CTX_set_client_hello_cb(ctx, on_client_hello, NULL);
    SSL_CTX_set_msg_callback(ctx, on_message);
    SSL_CTX_set_cookie_verify_cb(ctx, on_cookie);
    SSL_CTX_set_cookie_generate_cb(ctx, no_cookie);
    /* SSL_CTX_set_tlsext_use_srtp: 0 is success */
    bool ok = SSL_CTX_set_min_proto_version(ctx, DTLS1_2_VERSION) == 1 &&
              SSL_CTX_set_max_proto_version(ctx, DTLS1_2_VERSION) == 1 &&
              SSL_CTX_set_max_send_fragment(ctx, DTLS_MTU) == 1 &&
              SSL_CTX_set_cipher_list(ctx, ciphers) == 1 &&
              SSL_CTX_set1_groups_list(ctx, groups) == 1 &&
              SSL_CTX_set1_sigalgs_list(ctx, signatures) == 1 && b.rc == ERR_OK &&
              SSL_CTX_set_tlsext_use_srtp(ctx, names) == 0;
    return ok ? ERR_OK : ERR_UNSUPPORTED;
}

static bool set_suites(struct dtls *d)
{
    char names[128];
    struct buf b;
    if (d->suites == (1u << DTLS_SUITES) - 1)
        return true;
    buf_init(&b, names, sizeof(names));
    put_suites(d->suites, &b);
    return b.rc == ERR_OK && SSL_set_tlsext_use_srtp(d->ssl, names) == 0;
}

bool dtls_ssl_open(struct dtls *d)
{
    SSL *ssl = SSL_new(d->shared->ctx);
    BIO *b = BIO_new(d->shared->bio);
    if (!ssl || !b || SSL_set_app_data(ssl, d) != 1) {
        SSL_free(ssl);
        BIO_free(b);
        ERR_clear_error();
        return false;
    }
    BIO_set_data(b, d);
    BIO_set_init(b, 1);
    SSL_set_bio(ssl, b, b);
    d->ssl = ssl;
    SSL_set_mtu(ssl, DTLS_MTU);
    DTLS_set_timer_cb(ssl, on_timer);
    if (d->client)
        SSL_set_connect_state(ssl);
    else
        SSL_set_accept_state(ssl);
    return set_suites(d);
}

void dtls_ssl_drop(struct dtls *d)
{
    SSL_free(d->ssl);
    d->ssl = NULL;
    d->clock = NULL;
    ERR_clear_error();
}

/* ---- turns ---- */

/* Why OpenSSL gave up. */
static void find_out(struct dtls *d)
{
    unsigned long e = ERR_peek_error();
    int reason = ERR_GET_REASON(e);
    if (d->why != DTLS_WHYS)
        return;
    d->reason = reason;
    if (ERR_GET_LIB(e) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET)
        d->why = DTLS_WHY_REFUSED;
    else if (ERR_GET_LIB(e) == ERR_LIB_SSL && reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        d->why = DTLS_WHY_CERTIFICATE;
    else if (reason == ERR_R_MALLOC_FAILURE)
        d->why = DTLS_WHY_NOMEM;
    else
        d->why = DTLS_WHY_BROKEN;
}

/* What OpenSSL needs only while it reads and writes: 18 kB. It writes without asking whether it has them. */
static bool turn_begin(struct dtls *d, struct dtls_out *out)
{
    ERR_clear_error();
    out->n = 0;
    d->out = out;
    return SSL_alloc_buffers(d->ssl) == 1;
}

static void turn_end(struct dtls *d)
{
    dtls_bio_flush(d);
    d->out = NULL;
    (void)SSL_free_buffers(d->ssl); /* 0: it holds something in them */
    ERR_clear_error();
}

/* Takes the ClientHello with its cookie, and counts on from there. */
static bool listen_to(struct dtls *d)
{
    BIO_ADDR *nobody = BIO_ADDR_new();
    bool heard = nobody && DTLSv1_listen(d->ssl, nobody) == 1;
    BIO_ADDR_free(nobody);
    d->greeted = false;
    return heard;
}

static enum err shake(struct dtls *d)
{
    if (d->greeted && !listen_to(d))
        return ERR_AUTH;
    for (int i = 0; i < STEPS_MAX; i++) {
        d->dry = false;
        ERR_clear_error();
        int rc = SSL_do_handshake(d->ssl);
        if (rc == 1)
            return ERR_OK;
        if (SSL_get_error(d->ssl, rc) == SSL_ERROR_SSL)
            return ERR_AUTH;
        if (d->dry)
            break;
    }
    return ERR_MORE;
}

enum err dtls_ssl_shake(struct dtls *d)
{
    struct dtls_out out;
    enum err rc = turn_begin(d, &out) ? shake(d) : ERR_AUTH;
    if (rc == ERR_AUTH)
        find_out(d);
    turn_end(d);
    return rc;
}

static enum err drain(struct dtls *d)
{
    char none[1]; /* application data does not get this far */
    for (int i = 0; i < STEPS_MAX; i++) {
        d->dry = false;
        ERR_clear_error();
        int n = SSL_read(d->ssl, none, sizeof(none));
        if (SSL_get_shutdown(d->ssl) & SSL_RECEIVED_SHUTDOWN)
            return ERR_CLOSED;
        if (n <= 0 && SSL_get_error(d->ssl, n) == SSL_ERROR_SSL)
            return ERR_CORRUPT;
        if (d->dry)
            break;
    }
    /* in it again: a part of a handshake came, a renegotiation, which there is not */
    return SSL_in_init(d->ssl) ? ERR_CORRUPT : ERR_OK;
}

enum err dtls_ssl_drain(struct dtls *d)
{
    struct dtls_out out;
    enum err rc = turn_begin(d, &out) ? drain(d) : ERR_CORRUPT;
    turn_end(d);
    return rc;
}

bool dtls_ssl_waits(const struct dtls *d)
{
    return d->ssl && d->clock && (d->clock->tv_sec != 0 || d->clock->tv_usec != 0);
}

void dtls_ssl_resend(struct dtls *d)
{
    struct dtls_out out;
    if (!dtls_ssl_waits(d))
        return;
    if (turn_begin(d, &out)) {
        *d->clock = (struct timeval){.tv_sec = 1}; /* in 1970 */
        DTLSv1_handle_timeout(d->ssl);
    }
    turn_end(d);
}

/* RFC 5764 §4.2: client's key, server's key, client's salt, server's salt. */
bool dtls_ssl_keys(struct dtls *d)
{
    const SRTP_PROTECTION_PROFILE *p = SSL_get_selected_srtp_profile(d->ssl);
    uint8_t all[2 * (DTLS_KEY_MAX + DTLS_SALT_MAX)];
    unsigned i = 0;
    while (p && i < DTLS_SUITES && dtls_suites[i].wire != p->id)
        i++;
    if (!p || i == DTLS_SUITES) {
        d->why = DTLS_WHY_PROFILE;
        return false;
    }
    size_t key_n = dtls_suites[i].key_n, salt_n = dtls_suites[i].salt_n;
    if (SSL_export_keying_material(d->ssl, all, 2 * (key_n + salt_n), extractor,
                                   sizeof(extractor) - 1, NULL, 0, 0) != 1) {
        d->why = DTLS_WHY_BROKEN;
        return false;
    }
    struct dtls_key *client = d->client ? &d->keys.ours : &d->keys.theirs;
    struct dtls_key *server = d->client ? &d->keys.theirs : &d->keys.ours;
    memcpy(client->key, all, key_n);
    memcpy(server->key, all + key_n, key_n);
    memcpy(client->salt, all + 2 * key_n, salt_n);
    memcpy(server->salt, all + 2 * key_n + salt_n, salt_n);
    d->keys.suite = (enum dtls_suite)i;
    crypto_wipe(all, sizeof(all));
    return true;
}

void dtls_ssl_say_goodbye(struct dtls *d)
{
    struct dtls_out out;
    if (turn_begin(d, &out))
        SSL_shutdown(d->ssl);
    turn_end(d);
}

void dtls_ssl_keep_goodbye(struct dtls *d)
{
    struct dtls_out out;
    if (turn_begin(d, &out) && SSL_shutdown(d->ssl) >= 0 && out.n <= sizeof(d->goodbye)) {
        memcpy(d->goodbye, out.p, out.n);
        d->goodbye_n = (uint8_t)out.n;
    }
    out.n = 0;
    turn_end(d);
}
