/* SPDX-License-Identifier: MIT */
/* What the files of media/dtls share. */
#ifndef DTLS_PRIV_H
#define DTLS_PRIV_H
#include <sys/time.h>
#include "crypto/crypto.h"
#include "dtls/dtls.h"
#define ERR_STATE openssl_err_state /* OpenSSL has a type of this name, we a value */
#include <openssl/err.h>
#include <openssl/ssl.h>
#undef ERR_STATE

/* ---- dtls_record.c: what stands in a datagram (RFC 6347 §4.1, §4.2.2) ---- */
enum {
    DTLS_RECORD_HEAD = 13,
    DTLS_FRAGMENT_HEAD = 12,
    DTLS_COOKIE = 16,
    DTLS_MESSAGES = 16, /* message_seq of a handshake: 0 to 7, with a cookie exchange to 8 */
};
enum dtls_content { DTLS_CCS = 20, DTLS_ALERT = 21, DTLS_HANDSHAKE = 22 };
enum dtls_message {
    DTLS_CLIENT_HELLO = 1,
    DTLS_SERVER_HELLO = 2,
    DTLS_HELLO_VERIFY_REQUEST = 3,
    DTLS_CERTIFICATE = 11,
    DTLS_SERVER_KEY_EXCHANGE = 12,
    DTLS_CERTIFICATE_REQUEST = 13,
    DTLS_SERVER_HELLO_DONE = 14,
    DTLS_CERTIFICATE_VERIFY = 15,
    DTLS_CLIENT_KEY_EXCHANGE = 16
};
struct dtls_record {
    uint8_t type;
    uint16_t epoch;
    uint64_t number;
    sv all, body;
};
struct dtls_fragment {
    uint8_t type;
    uint16_t seq;
    uint32_t length, offset; /* of the message; of this piece in it */
    sv body;
};
/* Take the first from *rest. False: there is none, or it is none. */
bool dtls_record_next(sv *rest, struct dtls_record *ret_record);
bool dtls_fragment_next(sv *rest, struct dtls_fragment *ret_fragment);
/* A datagram that begins with a ClientHello, or a part of one: the first of a handshake. */
bool dtls_record_begins(sv datagram);

/* What of a running handshake in the clear has come, and may come (D20): a table of its messages. */
struct dtls_budget {
    uint32_t length[DTLS_MESSAGES]; /* as announced, and 1; 0: not seen */
    uint32_t announced, received;   /* octets */
};
/* Every fragment of this record in the clear is one that the handshake can use; OpenSSL gives up when it is not.
 * ERR_TOOBIG: it is over the budget; ERR_SYNTAX: none of ours. */
MUST_USE enum err dtls_budget_take(struct dtls_budget *b, bool client, sv body);

/* ---- the machine ---- */
enum { DTLS_SHA_256, DTLS_SHA_384, DTLS_SHA_512, DTLS_HASHES };
struct dtls_trusted {
    unsigned hash, n;
    uint8_t digest[DTLS_TRUST_MAX][DTLS_DIGEST_MAX];
};

struct dtls_shared {
    SSL_CTX *ctx;
    BIO_METHOD *bio;
    uint8_t secret[SHA256_LEN]; /* of cookies */
    char fingerprint[128];
    size_t fingerprint_n;
};

/* What OpenSSL writes in a turn: a flight that it sends again comes a message at a time. */
struct dtls_out {
    size_t n;
    uint8_t p[DTLS_MTU];
};

enum { DTLS_GOODBYE_MAX = 64 };
enum { DTLS_TELL_KEYS = 1, DTLS_TELL_FAILED = 2, DTLS_TELL_CLOSED = 4 };

struct dtls {
    const struct dtls_shared *shared;
    const struct dtls_user *user;
    void *arg;
    struct stats *stats;
    enum dtls_state state;
    SSL *ssl;              /* NULL: nothing came yet, or nothing more to say */
    sv in;                 /* records that OpenSSL may read now */
    struct dtls_out *out;  /* in a turn */
    struct timeval *clock; /* OpenSSL's timer: when it fires, on the clock on the wall */
    usec give_up, resend_at, interval;
    usec settle_at; /* once the handshake is done, and there is still an SSL */
    struct dtls_budget budget;
    uint64_t number;     /* of the next record in the clear, as OpenSSL sees it */
    uint16_t read_seq;   /* messages read of the peer's */
    uint16_t flight_seq; /* of these, answered by our last flight */
    uint8_t repeats;     /* of that flight, because the peer repeated its own */
    uint8_t early;       /* records of the next epoch that OpenSSL keeps */
    uint8_t rumour;      /* an alert in the clear, and 1; 0: none */
    bool client;         /* RO */
    bool cookies;        /* RO */
    bool proven;         /* a cookie came back */
    bool greeted;        /* with it, just now: OpenSSL has not seen it yet */
    bool flight_new;     /* we have sent one: the timer begins anew */
    bool repeated;       /* by the peer, in this datagram: its last flight */
    bool dry;            /* OpenSSL asked for more than came */
    bool certified;      /* digest is of the peer's certificate */
    bool closed, dead;
    uint8_t tell;
    unsigned busy;   /* our functions on the stack */
    unsigned suites; /* RO */
    enum dtls_why why;
    int reason; /* OpenSSL's, of why; or an alert, and SSL_AD_REASON_OFFSET */
    uint8_t peer_n, goodbye_n;
    uint8_t peer[DTLS_PEER_MAX];
    uint8_t goodbye[DTLS_GOODBYE_MAX]; /* close_notify under the keys, for when there is no SSL */
    struct dtls_trusted *trusted;      /* NULL: nothing known yet, or no more needed */
    uint8_t digest[DTLS_HASHES][DTLS_DIGEST_MAX];
    struct dtls_keys keys; /* from the end of the handshake to on_keys */
};

/* ---- dtls_trust.c ---- */
/* Errors: ERR_UNSUPPORTED, ERR_NOMEM. */
MUST_USE enum err dtls_trust_set(struct dtls *d, const struct dtls_fingerprint *f, size_t n);
bool dtls_trust_holds(const struct dtls *d);
/* Of the peer's certificate, by every hash that we accept. */
MUST_USE bool dtls_trust_digest(struct dtls *d, const X509 *x);

/* ---- dtls_cert.c: ours ---- */
/* Errors: ERR_SYNTAX, ERR_NOMEM. */
MUST_USE enum err dtls_cert_use(struct dtls_shared *s, const struct dtls_shared_config *c);

/* ---- dtls_bio.c: its wires ---- */
BIO_METHOD *dtls_bio_method(void); /* NULL: no memory */
void dtls_bio_flush(struct dtls *d);

/* ---- dtls_ssl.c: OpenSSL under the machine ---- */
MUST_USE enum err dtls_ssl_setup(struct dtls_shared *s);
/* Makes d->ssl. False: no memory. */
MUST_USE bool dtls_ssl_open(struct dtls *d);
void dtls_ssl_drop(struct dtls *d);
/* Reads d->in and goes on. ERR_OK: the handshake is done; ERR_MORE: not yet; ERR_AUTH: it never will be, and
 * d->why says why. */
MUST_USE enum err dtls_ssl_shake(struct dtls *d);
/* Reads d->in after the handshake. ERR_OK; ERR_CLOSED: the peer has; ERR_CORRUPT: it is of no use any more. */
MUST_USE enum err dtls_ssl_drain(struct dtls *d);
/* The last flight once more, with new record numbers. */
void dtls_ssl_resend(struct dtls *d);
/* A flight of ours waits for its answer. */
bool dtls_ssl_waits(const struct dtls *d);
/* Fills d->keys. */
MUST_USE bool dtls_ssl_keys(struct dtls *d);
/* Writes close_notify; once. */
void dtls_ssl_say_goodbye(struct dtls *d);
/* The same into d->goodbye. */
void dtls_ssl_keep_goodbye(struct dtls *d);

#endif
