/* SPDX-License-Identifier: MIT */
/* session_priv.h: the parts of a session among themselves.
 *
 *   session.c         sessions and their ids, lines, what was agreed on
 *   session_packet.c  the way of a packet from one side to the other
 *   session_keys.c    keys, DTLS, ICE: what stands between a port and its packets */
#ifndef SESSION_PRIV_H
#define SESSION_PRIV_H
#include "session/session.h"
#include "srtp/srtp.h"

enum {
    SOURCES = 8 /* SSRCs that a bundled transport tells apart */,
    PT_NONE = 255,
    PAYLOAD_TYPES = 128
};

struct session;

struct session_shared {
    struct ports *ports;
};

struct slot {
    struct session *session; /* NULL: free */
    uint32_t generation, next_free;
};
struct sessions {
    struct loop *loop;
    struct session_shared *shared;
    struct session_config config;
    struct relay *relay;
    struct srtp_engine *engine;
    struct slot *slot;
    uint32_t slots, first_free; /* first_free == slots: none */
    size_t live;
};

/* What one side has for one m= line, or for all that are bundled with it. */
struct transport {
    struct relay_transport relay;
    struct session *session;
    uint8_t side, line;
    bool open;
    bool shared; /* by bundled lines: their packets are told apart */
    enum offer_keying keying;
    struct srtp_context *in, *out; /* of SDES and DTLS; NULL: no keys yet */
    uint64_t foreign;              /* from nobody that is believed */
    uint64_t refused;              /* wrong keys, replayed */
    struct {
        uint32_t ssrc;
        uint8_t line;
    } source[SOURCES]; /* of RTP that came, by where it went; only when shared */
    unsigned sources_n;
};

/* One side of a stream. */
struct leg {
    struct transport *transport; /* its own, or that of the line it is bundled with; NULL: none */
    bool send, receive;
    uint8_t to
        [PAYLOAD_TYPES]; /* what comes from it leaves on the other side with this payload type; PT_NONE: not at all */
    uint64_t packets, octets, sent;
};
struct session_line {
    enum offer_kind kind;
    bool refused;
    struct leg leg[SESSION_SIDES];
};

struct session {
    struct sessions *all;
    struct session_id id;
    struct session_party party[SESSION_SIDES];
    const struct session_handler *h;
    void *arg;
    unsigned lines;
    bool applied;
    uint64_t number, version[SESSION_SIDES]; /* o= */
    usec heard;                              /* last packet of either side */
    struct timer silence;
    struct session_line stream[OFFER_MEDIA_MAX];
    struct transport *transport[SESSION_SIDES][OFFER_MEDIA_MAX]; /* own ones */
    uint8_t secret[32];                                          /* our keys of SDES come from it */
};

/* ---- session_packet.c ---- */
extern const struct relay_handler session_packets;

/* ---- session_keys.c ---- */
MUST_USE enum err session_keys_new(struct session *s);
void session_keys_ours(struct session *s, unsigned side, unsigned flags, struct offer_ours *o);
MUST_USE enum err session_keys_apply(struct transport *t, const struct offer_leg *o);
void session_keys_done(struct transport *t);
/* In place. False: not from who has the keys; cannot leave. */
bool session_unseal(struct transport *t, bool rtcp, struct block *b);
bool session_seal(struct transport *t, bool rtcp, struct block *b);
void session_on_other(void *arg, struct relay_transport *rt, enum relay_component c,
                      struct block *b, const struct addr *from);

#endif
