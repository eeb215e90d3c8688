/* SPDX-License-Identifier: MIT */
/* tls/tls_ssl.c: OpenSSL under a stream: its BIO, its callbacks, its errors. */
#include "tls/tls_priv.h"
#include <pthread.h>

enum {
    RECORD_HEAD = 5,
    RECORD_MAX = TLS_PLAIN_MAX + 2048, /* what a header may announce: RFC 5246 §6.2.3 */
    /* Handshake messages after the handshake: KeyUpdates, tickets, attempts to renegotiate. So many
     * at most, and one more for each so many octets of data. */
    AFTER_MAX = 32,
    AFTER_OCTETS = 1024 * 1024,
};

/* Octets of a record whose head is this. */
static size_t record_length(const uint8_t head[static RECORD_HEAD])
{
    return RECORD_HEAD + ((size_t)head[3] << 8 | head[4]);
}

size_t tls_whole_records(sv s)
{
    size_t at = 0;
    while (s.n - at >= RECORD_HEAD) {
        const uint8_t *head = (const uint8_t *)s.p + at;
        size_t n = record_length(head);
        if (head[0] < SSL3_RT_CHANGE_CIPHER_SPEC || head[0] > SSL3_RT_APPLICATION_DATA ||
            head[1] != SSL3_VERSION_MAJOR || n > RECORD_HEAD + RECORD_MAX)
            return s.n;
        if (s.n - at < n)
            break;
        at += n;
    }
    return at;
}

/* ---- what OpenSSL reads and writes ---- */

/* OpenSSL asks for all there is and gets a record at a time: one call for its head and body, and nothing
 * of the next that we would not know of. */
static int bio_read(BIO *b, char *p, int n)
{
    struct tls_stream *s = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (s->flooding || n <= 0)
        return -1;
    if (s->in.n == 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    size_t k = (size_t)n < s->in.n ? (size_t)n : s->in.n;
    if (k > RECORD_HEAD) {
        size_t record = record_length((const uint8_t *)s->in.p);
        k = record < k ? record : k;
    }
    memcpy(p, s->in.p, k);
    s->in = sv_sub(s->in, k, s->in.n);
    return (int)k;
}

static int bio_write(BIO *b, const char *p, int n)
{
    struct tls_stream *s = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (n <= 0)
        return 0;
    if (!s->lower)
        return -1;
    if (stream_send(s->lower, &(sv){p, (size_t)n}, 1) != ERR_OK)
        return -1;
    return n;
}

static long bio_ctrl(BIO *b, int what, long num, void *p)
{
    (void)b;
    (void)num;
    (void)p;
    return what == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void bio_start(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    if (m && BIO_meth_set_read(m, bio_read) && BIO_meth_set_write(m, bio_write) &&
        BIO_meth_set_ctrl(m, bio_ctrl))
        bio_method = m;
}

bool tls_ssl_start(struct tls_stream *s)
{
    pthread_once(&bio_once, bio_start);
    SSL *ssl = SSL_new(s->server ? s->t->pair[0].ctx : s->t->client);
    BIO *b = bio_method ? BIO_new(bio_method) : NULL;
    struct addr ip;
    if (!ssl || !b || SSL_set_app_data(ssl, s) != 1) {
        SSL_free(ssl);
        BIO_free(b);
        ERR_clear_error();
        return false;
    }
    BIO_set_data(b, s);
    BIO_set_init(b, 1);
    SSL_set_bio(ssl, b, b);
    s->ssl = ssl;
    if (s->server) {
        SSL_set_accept_state(ssl);
        return true;
    }
    SSL_set_connect_state(ssl);
    if (s->verify)
        SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    /* RFC 6066 §3: literal addresses are not permitted there. */
    return s->name_n == 0 || addr_parse_ip((sv){s->name, s->name_n}, 0, &ip) == ERR_OK ||
           SSL_set_tlsext_host_name(ssl, s->name) == 1;
}

enum err tls_verdict(struct tls_stream *s)
{
    unsigned long e = ERR_peek_error();
    int reason = ERR_GET_REASON(e);
    ERR_clear_error();
    s->broken = true;
    if (s->refused)
        return ERR_AUTH;
    if (s->flooding)
        return ERR_CORRUPT;
    if (ERR_GET_LIB(e) == ERR_LIB_SSL) {
        if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
            return ERR_AUTH;
        if (reason > SSL_AD_REASON_OFFSET)
            return ERR_REFUSED;
    }
    if (reason == ERR_R_MALLOC_FAILURE)
        return ERR_NOMEM;
    return e == 0 ? ERR_CLOSED : ERR_CORRUPT; /* no error: the lower stream took no more */
}

/* ---- callbacks of OpenSSL ---- */

int tls_stream_verify(X509_STORE_CTX *x, void *arg)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_stream *s = SSL_get_app_data(ssl);
    struct tls_peer *peer = NULL;
    (void)arg;
    if (!s->server && !s->verify)
        return 1;
    bool ok = X509_verify_cert(x) > 0;
    if (ok && !tls_peer_may(X509_STORE_CTX_get0_chain(x), !s->server)) {
        X509_STORE_CTX_set_error(x, X509_V_ERR_INVALID_PURPOSE);
        ok = false;
    }
    if (ok && !s->server) {
        ok = tls_peer_new(X509_STORE_CTX_get0_cert(x), true, &peer) == ERR_OK &&
             tls_peer_is(peer, (sv){s->name, s->name_n});
        if (!ok)
            X509_STORE_CTX_set_error(x, X509_V_ERR_HOSTNAME_MISMATCH);
        tls_peer_unref(peer);
    }
    s->refused = !ok;
    return ok;
}

/* Sees every message of the handshake protocol. */
void tls_stream_message(int write, int version, int type, const void *p, size_t n, SSL *ssl,
                        void *arg)
{
    struct tls_stream *s;
    (void)version;
    (void)arg;
    if (type != SSL3_RT_HANDSHAKE || n == 0) /* of each record, too, it is told twice */
        return;
    if (!(s = SSL_get_app_data(ssl)))
        return;
    uint8_t message = *(const uint8_t *)p;
    if (write && (message == SSL3_MT_FINISHED || message == SSL3_MT_SERVER_DONE))
        s->answered = true;
    if (!write && s->open && ++s->after > AFTER_MAX + s->received / AFTER_OCTETS)
        s->flooding = true;
}
