/* SPDX-License-Identifier: MIT */
/* tls/tls.h: TLS as a stream over a stream; certificates and trust as a snapshot.   layer: net
 *
 * Spec    TLS 1.2 and 1.3 (RFC 5246, RFC 8446), SNI (RFC 6066 §3), tickets (RFC 5077, RFC 8446
 *         §4.6.1), names (RFC 5922, RFC 9525), SIP's use of it RFC 3261 §26.
 * Shape   a struct tls is an immutable, counted snapshot of certificates, trust and policy. A
 *         connection keeps the snapshot that it began under, so a new one drops nothing. tls_accept
 *         and tls_connect give a struct stream: its on_open says that the handshake is done (of
 *         accepted ones too), stream_send before it is queued. on_close: ERR_AUTH, the peer's
 *         certificate was refused or missing; ERR_REFUSED, the peer ended it with an alert (ours
 *         was refused, say); ERR_CORRUPT, the peer speaks no TLS or broke it; ERR_CLOSED, it ended
 *         without close_notify: what came may be cut short. `queued` counts octets as sealed, and
 *         is brought up to date by stream_send and on_drain.
 * Memory  no BIO buffers: records go from the lower stream's octets to OpenSSL and from it to the
 *         lower stream; its own buffers are given back when idle (SSL_MODE_RELEASE_BUFFERS). Before
 *         its first whole record a peer costs a few hundred octets. TLS_BYTES_IDLE in the test
 *         prints what one idle connection costs.
 * Turn    at most TLS_HANDSHAKES_TURN handshakes do their expensive step in one turn of a loop; the
 *         others wait for the next, in order: SIP on the same worker goes on meanwhile.
 * Limits  TLS_PAIRS_MAX pairs; TLS_NAMES_MAX names taken from a peer's certificate; renegotiation
 *         and compression are off; the caller guards time.
 * Threads a struct tls: any. Streams: the loop's. A struct tls_peer: any, counted.
 */
#ifndef TLS_TLS_H
#define TLS_TLS_H
#include "mem/arena.h"
#include "sock/sock.h"

enum { TLS_PAIRS_MAX = 32, TLS_NAMES_MAX = 64, TLS_HANDSHAKES_TURN = 1, TLS_TICKET_KEY = 80 };
enum tls_clients { TLS_CLIENTS_NONE, TLS_CLIENTS_OPTIONAL, TLS_CLIENTS_REQUIRED };

struct tls;
struct tls_pair {
    sv certificate; /* PEM, the leaf first, then its chain */
    sv key;         /* PEM */
};
struct tls_config {
    const struct tls_pair *pairs; /* the first answers who asks for no name or an unknown one */
    size_t n;
    sv ca;     /* PEM: whom we trust as peers; SV_NONE: the system's store */
    sv ca_own; /* PEM: trusted besides, our own CA; may be SV_NONE */
    enum tls_clients clients;
    bool only_13;
    /* NULL, or an older snapshot: while ca, ca_own and clients are the same, what was read of them
     * then is shared. Of the system's store that is much: 150 certificates, 30 ms of a processor. */
    const struct tls *before;
    uint8_t ticket_key
        [TLS_TICKET_KEY]; /* the same for all snapshots of a process, so that tickets outlive a swap */
};
/* why: what is wrong with which part, for people. Errors: ERR_SYNTAX (PEM, a key that does not fit,
 * an expired or weak certificate is no error), ERR_NOMEM. */
MUST_USE enum err tls_new(const struct tls_config *c, struct buf *why, struct tls **ret_tls);
struct tls *tls_ref(struct tls *t);
void tls_unref(struct tls *t); /* NULL is fine */
/* Of the first pair: SHA-256 of the leaf as "AB:CD:…" (95 characters), and when the first of all
 * pairs expires, wall time. */
void tls_fingerprint(const struct tls *t, struct buf *b);
usec tls_expires(const struct tls *t);

/* Who the other side is, by its certificate. verified: the chain holds (and, of a connect, the name). */
struct tls_peer {
    _Atomic uint32_t refs;
    bool verified;
    const sv *sip_uris; /* subjectAltName URIs of scheme sip, as text: "sip:example.test",
                           "sip:alice@example.test" */
    unsigned sip_uris_n;
    const sv *dns; /* lower case; of a certificate without any subjectAltName its CN */
    unsigned dns_n;
    const struct addr *ips; /* port 0 */
    unsigned ips_n;
};
struct tls_peer *tls_peer_ref(struct tls_peer *p);
void tls_peer_unref(struct tls_peer *p); /* NULL is fine */
/* RFC 5922 §7: domain is one of the identities of this certificate: a sip URI without user part, or,
 * when there is none, a DNS name. Wildcards never match (§7.2). A numeric address matches an
 * iPAddress name. False while the peer is not verified: anyone can write names into a certificate. */
bool tls_peer_is(const struct tls_peer *p, sv domain);

/* Server side over an accepted stream, which becomes the TLS stream's. The result has local, peer of
 * lower, and tls_peer once open. Errors: ERR_NOMEM, ERR_STATE (no certificate); lower stays the caller's. */
MUST_USE enum err tls_accept(struct tls *t, struct stream *lower, const struct stream_handler *h,
                             void *arg, struct stream **ret_stream);
/* Client side. name: whom the certificate must show, also sent as SNI when it is a host name;
 * SV_NONE: only with verify false. verify false: any certificate will do. We show our own pair when
 * asked. Errors: as stream_connect; later on_close with ERR_AUTH. */
MUST_USE enum err tls_connect(struct tls *t, struct loop *l, const struct addr *local,
                              const struct addr *to, sv name, bool verify,
                              const struct stream_handler *h, void *arg,
                              struct stream **ret_stream);

/* ---- our own authority, when nobody gave a certificate ---- */
/* A CA limited by name constraints to names and addresses of ours, and a leaf for all of them.
 * P-256; the CA for 10 years, a leaf for TLS_LEAF_LIFE. Each b gets PEM. Errors: ERR_NOMEM, ERR_SYNTAX (a
 * name that is none). */
#define TLS_LEAF_LIFE (90 * USEC_DAY)
struct tls_names {
    const sv *dns; /* host names and domains; each also as a sip: URI */
    size_t dns_n;
    const struct addr *ips;
    size_t ips_n;
};
MUST_USE enum err tls_make_ca(const struct tls_names *n, usec wall, struct buf *ret_cert,
                              struct buf *ret_key);
MUST_USE enum err tls_make_leaf(sv ca_cert, sv ca_key, const struct tls_names *n, usec wall,
                                struct buf *ret_chain, struct buf *ret_key);
/* What a PEM chain's first certificate is for and until when. Errors: ERR_SYNTAX. */
MUST_USE enum err tls_cert_covers(sv cert, const struct tls_names *n, bool *ret_covers,
                                  usec *ret_expires);
/* What people are told of a PEM chain's first certificate; texts live in the arena. Errors:
 * ERR_SYNTAX, ERR_NOMEM. */
struct tls_cert_view {
    sv subject, issuer;      /* common names; else the whole name, as RFC 2253 writes it */
    sv names[TLS_NAMES_MAX]; /* host names and addresses of the subjectAltName */
    unsigned names_n;
    usec from, expires; /* wall */
    int strength;       /* of its key, in bits of work: 112 is RSA of 2048 bits, 128 is P-256 */
};
MUST_USE enum err tls_cert_view(sv cert, struct arena *a, struct tls_cert_view *ret_view);
/* "AB:CD:…", SHA-256 of the first certificate. Errors: ERR_SYNTAX. */
MUST_USE enum err tls_cert_fingerprint(sv cert, struct buf *b);

#endif
