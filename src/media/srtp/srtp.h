/* SPDX-License-Identifier: MIT */
/* srtp/srtp.h: SRTP and SRTCP: one direction of one leg, with its keys and all its SSRCs.   layer: media
 *
 * Spec    RFC 3711 without key derivation rates, MKI and f8; RFC 6188 (AES-256), RFC 7714 (AES-GCM); suites of
 *         RFC 4568 §6.2 and RFC 5764 §4.1.2. No session parameter changes anything: what is sent is encrypted and
 *         authenticated, RTCP as well, and nothing else is taken.
 * Shape   a struct srtp_context is a cryptographic context (RFC 3711 §3.2) of a sender or of a receiver, for
 *         whatever SSRCs it meets. Packets are changed in place. An engine holds what the contexts of one worker
 *         share: algorithms, and the ciphers for what is rare (SRTCP, deriving keys), which get their key anew
 *         each time.
 * Order   of a receiver: parse, replay check, authenticate, decrypt, then change state (§3.3). An SSRC gets state
 *         by its first authentic packet. A packet that is refused leaves everything as it was, its octets too.
 * Sender  it remembers what it has sent as a receiver does. Whatever would need an index of an SSRC a second time
 *         is refused: in these suites the same key stream for two texts gives both away, and GCM its
 *         authentication as well (RFC 7714 §8.4). So no SSRC is ever forgotten, and no state is taken for new
 *         that is not: a relay forwards in whatever order packets come, up to SRTP_WINDOW apart.
 * Life    embedded; init or load, then done, which wipes the keys. The engine outlives its contexts.
 * Memory  sizeof(struct srtp_context) and the library's state of one cipher. No packet makes the heap be asked,
 *         but the first ones of a context's 2nd, 3rd, 5th, 9th ... SSRC.
 * Limits  SRTP_SSRCS_MAX SSRCs, SRTP_PACKET_MAX octets, 2^48 packets and 2^31 of SRTCP (RFC 3711 §9.2).
 * Threads an engine and its contexts: one.
 */
#ifndef SRTP_SRTP_H
#define SRTP_SRTP_H
#include "str/buf.h"

enum srtp_suite {
#define X(id, name, profile, key, salt, tag, rtcp_tag, aead) SRTP_##id,
#include "srtp/srtp.def"
#undef X
    SRTP_SUITES
};

enum {
    SRTP_KEY_MAX = 32,
    SRTP_SALT_MAX = 14,
    SRTP_ROOM = 16,          /* a packet of RTP grows by at most this */
    SRTCP_ROOM = 20,         /* a packet of RTCP too */
    SRTP_PACKET_MAX = 65535, /* protected */
    SRTP_WINDOW = 128,       /* packets behind the newest that may still come (RFC 3711 §3.3.2) */
    SRTP_SSRCS_MAX = 256,
    SRTP_SAVED_MAX = 16384, /* octets of a written form: less */
    SRTP_AHEAD = 16384,     /* indices that a form keeps for who wrote it */
};

struct srtp_suite_info {
    sv name;               /* as in a=crypto */
    uint16_t profile;      /* of DTLS-SRTP; 0: none */
    uint8_t key, salt;     /* octets of the master key, of the master salt */
    uint8_t tag, rtcp_tag; /* by so many octets a packet grows; RTCP by 4 more */
    bool aead;
};
const struct srtp_suite_info *srtp_suite_info(enum srtp_suite suite);
/* By its name in a=crypto, by its number in DTLS. Errors: ERR_NOTFOUND. */
MUST_USE enum err srtp_suite_named(sv name, enum srtp_suite *ret_suite);
MUST_USE enum err srtp_suite_of_profile(uint16_t profile, enum srtp_suite *ret_suite);

/* ---- what contexts share ---- */

struct srtp_engine;
/* One per worker. Errors: ERR_NOMEM, ERR_UNSUPPORTED (a library without one of the algorithms). */
MUST_USE enum err srtp_engine_new(struct srtp_engine **ret_engine);
void srtp_engine_free(struct srtp_engine *e); /* its contexts are done; NULL is fine */

/* ---- contexts ---- */

enum srtp_role { SRTP_SENDER, SRTP_RECEIVER };

/* What came, or was sent, of a row of indices. */
struct srtp_window {
    uint64_t top;     /* the newest */
    uint64_t seen[2]; /* bit i of the whole: top - i. All zero: none yet */
};
struct srtp_stream {
    struct srtp_window rtp;  /* indices of 48 bits: ROC and SEQ */
    struct srtp_window rtcp; /* of 31 bits */
    uint32_t ssrc;
    uint32_t rtp_key, rtcp_key; /* the number of the keys that its newest packet had */
    /* of a sender: no index beyond these while a form that says so may be read elsewhere */
    uint64_t rtp_end;
    uint32_t rtcp_end;
    /* nothing has been sent, or taken, since it was read from a form that may be older than the last packet */
    bool rtp_behind, rtcp_behind;
};

struct srtp_hmac {
    uint32_t inner[5], outer[5]; /* SHA-1 behind the padded key (RFC 2104 §4) */
};
/* Session keys, and the master key that they come from (RFC 3711 §4.3). */
struct srtp_keys {
    struct evp_cipher_ctx_st *cipher; /* of RTP */
    uint8_t salt[16];                 /* with zeros behind it */
    struct srtp_hmac hmac;
    uint8_t suite;
    uint32_t number;                /* counts the keys of a context from 1 */
    uint64_t packets, rtcp_packets; /* that they have protected, or opened */
    struct srtp_hmac rtcp_hmac;
    uint8_t rtcp_key[SRTP_KEY_MAX], rtcp_salt[16];
    uint8_t master[SRTP_KEY_MAX + SRTP_SALT_MAX]; /* key, then salt */
};

struct srtp_context {
    struct srtp_engine *engine; /* NULL: not set up */
    struct srtp_keys *old; /* of a receiver after new keys, for what is still under way; or NULL */
    struct srtp_stream *more;
    uint8_t role;
    bool behind;            /* it was read from a form that may be older than the last packet */
    uint16_t streams, room; /* SSRCs; for how many more than the first there is memory */
    uint16_t recent;        /* the SSRC that the newest packet had */
    struct srtp_stream first;
    struct srtp_keys keys; /* what RTP needs of them comes first */
};

/* A context with these keys and no SSRC. Two senders with the same keys must never be: a sender that ends is
 * followed by one with keys of its own, or by its written form.
 *   key, salt   of the suite's lengths; copied
 * Errors: ERR_SYNTAX (other lengths), ERR_NOMEM. c is not set up then. */
MUST_USE enum err srtp_context_init(struct srtp_context *c, struct srtp_engine *e,
                                    enum srtp_role role, enum srtp_suite suite, sv key, sv salt);
/* Wipes. NULL, all zero, and a second time are fine. */
void srtp_context_done(struct srtp_context *c);

/* New keys for the same SSRCs, indices go on (RFC 3711 §3.3.1: the ROC "MUST NOT be reset to zero"); this is for
 * new a=crypto on the same address and for a new DTLS association. Where our address changes as well, and so the
 * peer expects indices from zero (RFC 4568 §7.1.4), done and init are right. A receiver need not know which: it
 * takes packets of a peer that goes on and of one that began anew, and for SRTP_OLD_PACKETS packets more those
 * with the keys before. The keys that are in use already: nothing happens.
 * Errors: ERR_SYNTAX (lengths), ERR_NOMEM; then all is as before. */
MUST_USE enum err srtp_context_rekey(struct srtp_context *c, enum srtp_suite suite, sv key,
                                     sv salt);
enum { SRTP_OLD_PACKETS = 128 };

/* It is time for new keys: lifetime (packets, as in a=crypto; 0: 2^31, which RFC 4568 §6.4.2 sets for all SSRCs
 * together) is used up to fifteen sixteenths, or SRTCP's 2^31 are, or the room for SSRCs is to three quarters. */
bool srtp_context_worn(const struct srtp_context *c, uint64_t lifetime);

/* A receiver takes this SSRC for new from now on, so that what it has received of it could be played to it
 * again: for a peer that is known to have begun anew with the keys it had.
 * Errors: ERR_STATE (a sender), ERR_NOTFOUND. */
MUST_USE enum err srtp_context_forget(struct srtp_context *c, uint32_t ssrc);

/* A sender takes an SSRC, made of chance, for a stream that is new: for one that cannot go on under the SSRC it had.
 * Errors: ERR_STATE (a receiver), ERR_EXISTS (it has that one: another), ERR_NOMEM (none more). */
MUST_USE enum err srtp_context_fresh(struct srtp_context *c, uint32_t ssrc);
/* The sequence number behind the newest of this SSRC, with which its stream may go on. False: it has sent
 * nothing, or may send no more.
 *   ret_behind  it was read from a form ahead (below), and has not sent since */
bool srtp_context_next(struct srtp_context *c, uint32_t ssrc, uint16_t *ret_seq, bool *ret_behind);

/* ---- packets ----
 *
 *   p, n   the packet; n is what it has become, on success only
 *   cap    octets that p may take: n and the room behind it
 *
 * ERR_SYNTAX  no RTP or RTCP of version 2, or cut off; SRTCP that is not encrypted
 * ERR_TOOBIG  more octets than cap or SRTP_PACKET_MAX
 * ERR_EXISTS  received or sent already, or too old to tell; perhaps sent by who wrote this one's form, or by who
 *             has read one of it
 * ERR_AUTH    not of who has the key
 * ERR_STATE   the keys are used up, or the sequence of indices is: nothing goes on without new ones
 * ERR_NOMEM   an SSRC too many, or no memory for another; the octets of a received packet are lost */
MUST_USE enum err srtp_rtp_protect(struct srtp_context *c, uint8_t *p, size_t *n, size_t cap);
MUST_USE enum err srtp_rtp_unprotect(struct srtp_context *c, uint8_t *p, size_t *n);
MUST_USE enum err srtp_rtcp_protect(struct srtp_context *c, uint8_t *p, size_t *n, size_t cap);
MUST_USE enum err srtp_rtcp_unprotect(struct srtp_context *c, uint8_t *p, size_t *n);

/* ---- written form ----
 *
 * A context in octets of our own, with its keys in clear. Of a sender no index may ever be used by two: by who
 * goes on after writing, and by who reads. So there are two forms.
 *
 * The last    its writer sends no more. Who reads it, once, goes on as its writer would have.
 * One ahead   its writer goes on. Up to SRTP_AHEAD indices of each SSRC are its writer's, and of SRTCP as many; beyond
 *             them it gets ERR_EXISTS, until it has written again (and the form before is gone). SSRCs that are new to
 *             it are its as well. Who reads it has the indices behind those, and no SSRC that the form does not
 *             have but by srtp_context_fresh: each stream is to go on at srtp_context_next. A peer finds its
 *             index as long as it is less than 2^15 ahead of the last that came (RFC 3711 §3.3.1). An SSRC made of
 *             chance that both have drawn is what is left: 2^-32 for each pair of them.
 *             Of a receiver, what came after writing could be played to its reader again: but only before the
 *             stream's first packet, which closes the window behind it. */

/* The last. Errors are b's. */
void srtp_context_save(const struct srtp_context *c, struct buf *b);
/* One ahead. Errors are b's; c keeps the bounds then too. */
void srtp_context_save_ahead(struct srtp_context *c, struct buf *b);
/* All of octets. Errors: ERR_CORRUPT (not such a form, or of another version), ERR_NOMEM; c is not set up then. */
MUST_USE enum err srtp_context_load(struct srtp_context *c, struct srtp_engine *e, sv octets);

#endif
