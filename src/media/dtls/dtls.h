/* SPDX-License-Identifier: MIT */
/* dtls/dtls.h: keys for SRTP by DTLS: a machine that is fed datagrams and time.  layer: media
 *
 * Spec    RFC 6347 (DTLS 1.2), 5764 (use_srtp, keys), 7714 (GCM profiles), 5763 (in SDP), 8122
 *         (fingerprints), 8842 (when an association is a new one). The protocol is OpenSSL's.
 * Shape   a struct dtls is one association: one leg, one pair of addresses. It is fed datagrams and time,
 *         and gives datagrams (send), keys (on_keys) or a reason why there are none (on_failed).
 *
 *           dtls_new ── client: dtls_start ──► shaking ── handshake done ──► held ──► keyed
 *              └─────── server: a ClientHello ──┘  │         fingerprints known: ┘      │
 *                          on_failed ◄── a reason ─┴── a mismatch          on_closed ◄──┘ close_notify
 *
 *         Fingerprints may come before, during or after the handshake (dtls_trust): it goes on without
 *         them (RFC 5763 §5), and keys are given out only once the certificate is the one they name.
 * Rule    Whose datagrams these are is the caller's business: what comes from elsewhere than the leg's one
 *         pair of addresses never reaches dtls_receive. With ICE that is the validated pair. Without
 *         ICE nobody knows the pair before: set `cookies`, have one machine for each source that proved itself
 *         (dtls_hello, few of them, one kept for the address in the description), and take the first
 *         that gives keys: a stranger can make nothing but a machine that fails.
 *         The client's media may arrive before its Finished: hold or drop it until on_keys.
 *         One association for each flow: RTP and RTCP without rtcp-mux are two machines.
 *         A new association is a new machine, made when an offer says so (RFC 8842 §4: other role,
 *         fingerprints, tls-id or, without ICE, addresses). A ClientHello on a keyed machine is ignored.
 * Unproven  Before the handshake is done nothing is proven to come from the peer. Ignored are: what is no
 *         record of DTLS, records of other epochs, application data, ChangeCipherSpecs out of order,
 *         handshake messages of a kind or size that cannot be here, and alerts in the clear: they do
 *         not end it, but once one came it has DTLS_RUMOUR more to go on. Who can write from
 *         the peer's own address a handshake message that is next in turn can still spoil the handshake.
 * Time    is what is passed in: our timers, not OpenSSL's. A flight is sent again after 1, 2, 4, 8 s …
 *         (RFC 6347 §4.2.4.1) and when the peer repeats its own; DTLS_GIVE_UP after its begin (dtls_start, or
 *         the first ClientHello) a handshake has failed. When it is done, what the peer repeats because it missed our
 *         last flight is answered for DTLS_SETTLE (§4.2.4: twice the MSL), or until dtls_settle says that
 *         it did not miss it. No other timer runs then, and none while a server waits for its ClientHello.
 * Chance  is OpenSSL's: keys and nonces differ from run to run, and signatures in length by an octet or two.
 * Memory  see dtls_new and dtls_settle.
 * Limits  DTLS_MTU octets sent in a datagram; DTLS_MESSAGE_MAX octets of one handshake message that we
 *         read, DTLS_HANDSHAKE_MAX of all that are announced, DTLS_RECEIVED_MAX received in all.
 *         Renegotiation, resumption, tickets and compression are off; ECDHE and AEAD only.
 * Threads a struct dtls_shared: any, unchanging. A struct dtls: its loop's.
 */
#ifndef DTLS_DTLS_H
#define DTLS_DTLS_H
#include "clock/clock.h"
#include "stat/stat.h"

enum {
    DTLS_MTU = 1200,
    DTLS_MESSAGE_MAX = 16 * 1024,
    DTLS_HANDSHAKE_MAX = 32 * 1024,
    DTLS_RECEIVED_MAX = 256 * 1024,
    DTLS_DIGEST_MAX = 64,
    DTLS_TRUST_MAX = 16, /* fingerprints of a description that are looked at */
    DTLS_PEER_MAX = 32,
    DTLS_ANSWER_MAX = 64
};
#define DTLS_RETRANSMIT (1 * USEC_S)
#define DTLS_GIVE_UP    (30 * USEC_S)
#define DTLS_RUMOUR     (4 * USEC_S)
#define DTLS_SETTLE     (240 * USEC_S)

/* ---- SRTP's side of it ---- */

enum dtls_suite {
#define DTLS_SUITE(id, wire, name, key, salt) DTLS_##id,
#include "dtls/dtls.def"
    DTLS_SUITES
};
struct dtls_suite_info {
    uint16_t wire;         /* RFC 5764 §4.1.2 */
    const char *name;      /* as OpenSSL writes it */
    uint8_t key_n, salt_n; /* octets */
};
extern const struct dtls_suite_info dtls_suites[DTLS_SUITES];

enum { DTLS_KEY_MAX = 32, DTLS_SALT_MAX = 14 };
struct dtls_key {
    uint8_t key[DTLS_KEY_MAX];   /* the first key_n count */
    uint8_t salt[DTLS_SALT_MAX]; /* the first salt_n count */
};
struct dtls_keys {
    enum dtls_suite suite;
    struct dtls_key ours, theirs; /* what we send with; what the peer does. RFC 5764 §4.2 */
};

enum dtls_why {
#define DTLS_WHY(id, text) DTLS_WHY_##id,
#include "dtls/dtls.def"
    DTLS_WHYS
};
/* Never NULL. */
const char *dtls_why_text(enum dtls_why why);

/* ---- what all machines of a process share ---- */

struct dtls_shared;
struct dtls_shared_config {
    sv certificate, key; /* PEM; SV_NONE: a self-signed P-256 one is made, for this process */
    usec wall;           /* for that one's dates, which nobody looks at */
};
/* Costs 1 ms. Outlives its machines.
 * Errors: ERR_SYNTAX (PEM), ERR_NOMEM, ERR_UNSUPPORTED (an OpenSSL whose timer is out of our reach: 3.2 and later). */
MUST_USE enum err dtls_shared_new(const struct dtls_shared_config *c,
                                  struct dtls_shared **ret_shared);
void dtls_shared_free(struct dtls_shared *s); /* NULL is fine */
/* The value of a=fingerprint: "sha-256 AB:CD:…".                                    RFC 8122 §5 */
sv dtls_shared_fingerprint(const struct dtls_shared *s);

/* ---- a path that nobody has validated ---- */

enum dtls_hello {
    DTLS_HELLO_NONE,   /* no ClientHello that we take: say nothing */
    DTLS_HELLO_ANSWER, /* send the answer back to where this came from, and forget it */
    DTLS_HELLO_PROVEN /* its sender receives what is sent there: feed it to a machine with `cookies` */
};
/* A server's cookie exchange without any state (RFC 6347 §4.2.1, D15). The answer is shorter than what it
 * answers. A ClientHello that is in fragments is none here.
 *   peer        the sender's address in octets, whatever they are; and what else the cookie is to be good for
 *   ret_answer  when DTLS_HELLO_ANSWER
 * Costs 2 µs. */
enum dtls_hello dtls_hello(const struct dtls_shared *s, sv peer, sv datagram, usec now,
                           uint8_t ret_answer[static DTLS_ANSWER_MAX], size_t *ret_n);

/* ---- fingerprints ---- */

struct dtls_fingerprint {
    sv hash; /* its name, any case */
    const uint8_t *digest;
    size_t n;
};
/* "sha-256", "sha-384" and "sha-512" prove something; "sha-1" and "md5" do not, others are not known. */
bool dtls_hash_accepted(sv hash);

/* ---- an association ---- */

struct dtls;
struct dtls_user {
    /* A datagram for the peer; the octets are OpenSSL's. Called inside OpenSSL: no dtls_ function may be
     * called from it. What cannot be sent is lost, as on the way. */
    void (*send)(void *arg, sv octets);
    /* These three come last in a call of dtls_start, dtls_receive, dtls_timer or dtls_trust, each at
     * most once, and never after dtls_close or dtls_free; on_failed and on_keys exclude each
     * other. Any dtls_ function may be called from them, dtls_free too. */
    void (*on_keys)(void *arg, const struct dtls_keys *k);    /* wiped when it returns */
    void (*on_failed)(void *arg, enum dtls_why why, sv text); /* text: with details, for people */
    void (*on_closed)(
        void *arg); /* the peer ended what was keyed: close_notify, or a fatal alert under keys */
};
struct dtls_config {
    bool client;  /* we are active and send the ClientHello. Offered actpass: the caller decides */
    bool cookies; /* of a server: the path is not validated, a cookie must come back first */
    sv peer;      /* with cookies: as dtls_hello; DTLS_PEER_MAX octets */
    unsigned suites;     /* bits 1 << enum dtls_suite; 0: all */
    struct stats *stats; /* the worker's; may be NULL */
};
/* Nothing is sent or called. Costs nothing to speak of; the first datagram makes what is large:
 *   before it 1 kB; from then on 45 kB, until it is settled; then 1 kB. (`dtls_test` prints what it is.)
 * Errors: ERR_NOMEM, ERR_TOOBIG (peer). */
MUST_USE enum err dtls_new(const struct dtls_shared *s, const struct dtls_config *c,
                           const struct dtls_user *user, void *arg, struct dtls **ret_dtls);
/* Wipes. Says nothing to the peer: dtls_close before it does. NULL is fine. */
void dtls_free(struct dtls *d);

/* The client sends its ClientHello (0.05 ms); a server expects one from now on, and gives up if it does not come
 * and go on. A server need not be started: then its time begins with the first ClientHello. */
void dtls_start(struct dtls *d, usec now);
/* Of a path's datagrams those that belong here.                          RFC 7983 §7: [20..63] */
static inline bool dtls_is(sv datagram)
{
    return datagram.n > 0 && (uint8_t)datagram.p[0] >= 20 && (uint8_t)datagram.p[0] <= 63;
}
/* Costs 0.2 ms (a ClientHello) or 0.7 ms (a flight with a certificate: OpenSSL 3.0 takes 0.23 to read one) when it
 * brings the handshake on, 4 µs when it does not: 0.8 ms a handshake on either side. */
void dtls_receive(struct dtls *d, sv datagram, usec now);
/* When dtls_timer is to be called: USEC_NEVER, or a time that may be past. Changes with each call. */
usec dtls_deadline(const struct dtls *d);
void dtls_timer(struct dtls *d, usec now);

/* The fingerprints of the peer's description, which came by a way that the call trusts. Of those with hashes that
 * we accept the strongest kind counts, and one of its kind must be the certificate's (RFC 8122 §5).
 * on_keys or on_failed may come before it returns. After keys: whether the certificate is still one that
 * the (new) description names.
 * Errors: ERR_UNSUPPORTED (no fingerprint with a hash that we accept: nothing has changed, and there will be
 * no keys), ERR_AUTH (keyed, and not the certificate: this is another association), ERR_STATE (failed or closed). */
MUST_USE enum err dtls_trust(struct dtls *d, const struct dtls_fingerprint *f, size_t n, usec now);
/* The handshake is done, and these fingerprints would do: by this, answers of a forked call find their
 * machines (RFC 5763 §6.3, 8842 §8). */
bool dtls_matches(const struct dtls *d, const struct dtls_fingerprint *f, size_t n);

/* The peer's first authentic SRTP packet has come: so it has our last flight, and what was kept to send it again,
 * nearly all of a leg's memory, is given back. The keys stay yours; dtls_close can still say goodbye. Without
 * keys it does nothing. */
void dtls_settle(struct dtls *d);

/* Tells the peer (close_notify; 25 µs), and that is it: nothing is called any more, dtls_free is left to do. */
void dtls_close(struct dtls *d);

enum dtls_state { DTLS_NEW, DTLS_SHAKING, DTLS_HELD, DTLS_KEYED, DTLS_OVER };
enum dtls_state dtls_state(const struct dtls *d);

#endif
