/* SPDX-License-Identifier: MIT */
/* What the files of net/tls share. */
#ifndef TLS_PRIV_H
#define TLS_PRIV_H
#include "tls/tls.h"
#define ERR_STATE openssl_err_state /* OpenSSL has a type of this name, we a value */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#undef ERR_STATE

struct tls_served {
    SSL_CTX *ctx;
    X509 *leaf;
};

struct tls {
    _Atomic uint32_t refs;
    struct tls_served pair[TLS_PAIRS_MAX];
    size_t n;
    SSL_CTX *client;
    enum tls_clients clients;
    usec expires;
};

/* ---- tls.c: certificates as text ---- */
/* NULL at the end of the text or at what is no PEM. The caller frees. */
X509 *tls_pem_next(BIO *pem);
/* NULL: none, or locked by a passphrase. */
EVP_PKEY *tls_pem_key(sv pem);
/* Memory to read PEM from; NULL: none left. */
BIO *tls_pem_open(sv pem);
/* Wall time; 0: unreadable. */
usec tls_time_of(const ASN1_TIME *t);
void tls_put_fingerprint(const X509 *x, struct buf *b);

/* ---- tls_peer.c ---- */
/* Of who showed no certificate; counted as any. */
struct tls_peer *tls_peer_nobody(void);
/* Errors: ERR_NOMEM. */
MUST_USE enum err tls_peer_new(X509 *x, bool verified, struct tls_peer **ret_peer);
/* Every certificate of the chain may be used as this side of TLS. RFC 5280 §4.2.1.12, RFC 5924. */
bool tls_peer_may(const STACK_OF(X509) * chain, bool server);

/* ---- tls_stream.c: callbacks of OpenSSL that need the stream ---- */
int tls_stream_verify(X509_STORE_CTX *x, void *arg);
void tls_stream_message(int write, int version, int type, const void *p, size_t n, SSL *ssl,
                        void *arg);

/* ---- tls_gate.c: who may do an expensive step in this turn ---- */
/* What a step costs; a turn has TLS_HANDSHAKES_TURN heavy ones' worth. */
enum { TLS_LIGHT = 1, TLS_HEAVY = 4 };
struct tls_wait {
    struct link by_gate;
    unsigned cost;
    void (*go)(struct tls_wait *w); /* in a later turn; may free w and others */
};
/* Errors: ERR_NOMEM. */
MUST_USE enum err tls_gate_open(struct loop *l);
/* True: go on now. False: w waits, and go will be called, unless tls_gate_leave is. */
bool tls_gate_pass(struct loop *l, struct tls_wait *w);
static inline void tls_gate_leave(struct tls_wait *w)
{
    list_unlink(&w->by_gate);
}

#endif
