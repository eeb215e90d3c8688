/* SPDX-License-Identifier: MIT */
/* What the files of net/tls share. */
#ifndef TLS_PRIV_H
#define TLS_PRIV_H
#include "crypto/crypto.h"
#include "pem/pem.h"
#include "tls/tls.h"
#define ERR_STATE openssl_err_state /* OpenSSL has a type of this name, we a value */
#include <openssl/err.h>
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
    X509_STORE *store;         /* of whom we trust; may be shared with other snapshots */
    uint8_t trust[SHA256_LEN]; /* what was asked for: equal, equal trust */
    enum tls_clients clients;
    usec expires;
};

/* Empties the thread's queue of OpenSSL's errors. It nearly always is empty, and to see that costs a tenth of
 * clearing it. */
static inline void tls_clear_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* ---- tls_cert.c ---- */
enum { TLS_NAME_MAX = 4096 }; /* octets of a name in a certificate */
/* Wall time; 0: unreadable. */
usec tls_time_of(const ASN1_TIME *t);
/* A name as it stands. One with octets that no name has is not seen at all: what comes before a NUL
 * is not the name that was certified (D24). */
bool tls_plain(const ASN1_STRING *a, sv *ret_text);
static inline sv tls_without_dot(sv name)
{
    return name.n > 1 && name.p[name.n - 1] == '.' ? sv_sub(name, 0, name.n - 1) : name;
}
static inline size_t tls_ip_size(const struct addr *a)
{
    return a->family == 4 ? 4 : 16;
}

/* ---- tls_peer.c ---- */
/* Of who showed no certificate; counted as any. */
struct tls_peer *tls_peer_nobody(void);
/* Errors: ERR_NOMEM. */
MUST_USE enum err tls_peer_new(X509 *x, bool verified, struct tls_peer **ret_peer);
/* Every certificate of the chain may be used as this side of TLS. RFC 5280 §4.2.1.12, RFC 5924. */
bool tls_peer_may(const STACK_OF(X509) * chain, bool server);

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

/* ---- tls_stream.c ---- */
enum { TLS_PLAIN_MAX = 16384 }; /* octets in a record */

struct octets {
    char *p;
    size_t n;
};

struct tls_stream {
    struct stream base;
    struct tls *t;
    SSL *ssl;             /* NULL: nothing came yet */
    struct stream *lower; /* NULL: it has ended */
    const struct stream_handler *h;
    void *arg;
    sv in;               /* what OpenSSL may read now */
    struct octets held;  /* came, and not read yet: part of a record, or paused, or waiting */
    struct octets early; /* sent by the user before it was open */
    struct block *turn;  /* sent in this turn, to be sealed at its end; NULL: nothing */
    struct tls_wait wait;
    struct deferred later;   /* failed, or goes on reading */
    struct deferred sealing; /* of turn */
    struct timer linger;
    enum err why;      /* failed; on_close comes */
    unsigned busy;     /* our functions on the stack */
    uint64_t received; /* plain octets */
    unsigned after;    /* handshake messages after the handshake */
    uint8_t steps;     /* of the handshake */
    bool server;       /* RO */
    bool verify;       /* RO: of a client: chain and name must hold */
    bool connected;    /* the lower stream is open */
    bool granted;      /* the gate let this step pass */
    bool answered;     /* our first flight is out */
    bool refused;      /* the peer's certificate */
    bool flooding;     /* by the peer */
    bool open, broken; /* broken: OpenSSL wants no more calls */
    bool paused;       /* by the user */
    bool lower_paused;
    bool closed; /* no callback any more */
    bool gone;
    bool away; /* between two loops */
    size_t name_n;
    char name[]; /* whom the certificate must show */
};

/* ---- tls_write.c: what is sent becomes records ---- */
/* Errors: as tls_verdict. */
MUST_USE enum err tls_write_plain(struct tls_stream *s, const char *p, size_t n);
/* Seals what was sent in this turn. */
MUST_USE enum err tls_write_turn(struct tls_stream *s);
/* Small pieces share records. */
MUST_USE enum err tls_write_pieces(struct tls_stream *s, const sv *pieces, size_t n);

/* ---- tls_ssl.c: OpenSSL under a stream ---- */
/* How many octets of s are whole records. What is no record counts as whole: OpenSSL says what is
 * wrong with it. */
size_t tls_whole_records(sv s);
/* Makes s->ssl. False: no memory. */
MUST_USE bool tls_ssl_start(struct tls_stream *s);
/* What the failure of a call to OpenSSL means. Drains the thread's errors: one that is left there
 * would be taken for the next connection's. */
enum err tls_verdict(struct tls_stream *s);
int tls_stream_verify(X509_STORE_CTX *x, void *arg);
void tls_stream_message(int write, int version, int type, const void *p, size_t n, SSL *ssl,
                        void *arg);

#endif
