/* SPDX-License-Identifier: MIT */
/* session_priv.h: the parts of a session among themselves.
 *
 *   session.c         sessions and their ids, lines, what was agreed on
 *   session_packet.c  the way of a packet from one side to the other
 *   session_source.c  under which SSRC it leaves
 *   session_keys.c    keys: what stands between a port and its packets
 *   session_dtls.c    keys by DTLS
 *   session_ice.c     checks
 *   session_quality.c what each side hears
 *   session_end.c     sessions of one side
 *   session_coder.c   payloads that change on their way, and keys
 *   session_bandwidth.c  what it may take
 *   session_quota.c   what sessions of one account may take
 *   session_form.c    a session in octets */
#ifndef SESSION_PRIV_H
#define SESSION_PRIV_H
#include <stdatomic.h>
#include "crypto/crypto.h"
#include "dtls/dtls.h"
#include "ice/ice_lite.h"
#include "quality/quality_leg.h"
#include "rtpmsg/rtpmsg.h"
#include "session/session.h"
#include "srtp/srtp.h"
#include "transcode/transcode.h"

/* SOURCES: SSRCs that a bundled transport tells apart. EVENTS: payload types of keys, one for each clock. */
enum { SOURCES = 8, PT_NONE = 255, PT_CODED = 254, PAYLOAD_TYPES = 128, TYPES_MAX = 4, EVENTS = 2 };

struct session;
struct playing;

struct session_shared {
    struct ports *ports;
    struct dtls_shared *dtls;
    _Atomic uint64_t reserved; /* bits a second */
    uint8_t payer_key[SIPHASH_KEY];
    struct payer {
        _Atomic uint32_t counted, ports; /* what his calls count for; what their sessions have */
    } payer[SESSION_PAYERS];
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
    struct link tellings; /* events of this turn */
};

/* A fingerprint that the other side's certificate may have. */
struct trusted {
    char hash[16];
    uint8_t hash_n, n, digest[DTLS_DIGEST_MAX];
};

/* A source that leaves toward a side under another SSRC, or with its numbers moved. See session_source.c. */
struct outgoing {
    uint32_t in, out;
    uint16_t ahead; /* added to sequence numbers */
    uint64_t used;  /* the higher the later */
};
enum { OUTGOING = 16 };
struct outgoings {
    uint64_t used;
    unsigned n;
    struct outgoing e[OUTGOING];
};
/* The last packet that our keys refused to send, and how many in order. */
struct stuck {
    uint32_t ssrc;
    uint16_t seq;
    uint8_t n;
};

/* What one side has for one m= line, or for all that are bundled with it. */
struct transport {
    struct relay_transport relay;
    struct session *session;
    uint8_t side, line;
    bool open;
    bool shared; /* by bundled lines: their packets are told apart */
    enum offer_keying keying;
    /* of SDES and DTLS; NULL: no keys yet. RTCP has its own where DTLS made them for its own port */
    struct srtp_context *in[RELAY_COMPONENTS], *out[RELAY_COMPONENTS];
    uint64_t generation; /* of our keys of SDES: made of chance, anew when contexts are dropped */
    struct outgoings *outgoing; /* NULL: all leave as they came */
    struct stuck stuck;

    struct dtls *dtls[RELAY_COMPONENTS];
    struct addr dtls_peer[RELAY_COMPONENTS]; /* whose datagrams are its */
    bool dtls_client;
    bool kept; /* keys of an association whose machine went with the process that had it */
    bool other_certificate; /* and that showed another one than we have */
    struct dtls_hand {
        struct transport *transport;
        enum relay_component component;
    } hand[RELAY_COMPONENTS][2];
    uint8_t mine[RELAY_COMPONENTS]; /* which of the two hands dtls has; a guest has the other */
    /* a handshake of somebody who is not where the side is looked for, or comes second: if it gives keys, it
     * is the side; else nobody hears of it */
    struct dtls_guest {
        struct dtls *dtls; /* NULL: none */
        struct addr peer;
    } guest[RELAY_COMPONENTS];
    struct trusted trust[OFFER_FINGERPRINTS_MAX];
    uint8_t trust_n;

    struct ice_lite *ice; /* NULL: the side has not been told of ours */
    uint64_t ice_theirs;  /* tells their credentials apart; 0: none yet */
    struct timer timer;   /* of DTLS and ICE */

    uint64_t foreign; /* from nobody that is believed */
    uint64_t refused; /* wrong keys, replayed */
    struct {
        uint32_t ssrc;
        uint8_t line;
    } source[SOURCES]; /* of RTP that came, by where it went; only when shared */
    unsigned sources_n;
};

/* A codec that a side may send: what clock and worth it has, and its names, there and where it leaves. */
struct sound_type {
    uint8_t pt;
    uint32_t clock_hz;
    const struct quality_codec *worth;
    char name[SESSION_CODEC_MAX], left_as[SESSION_CODEC_MAX];
};

/* One side of a line. */
struct leg {
    /* what every packet needs stands together: of many streams each finds its own cold */
    struct transport *transport; /* its own, or that of the line it is bundled with; NULL: none */
    bool send, receive;
    bool heard;        /* ssrc is of what came last from it */
    uint8_t type_pt;   /* of the last packet; PT_NONE: none yet */
    uint32_t clock_hz; /* of what comes; 0: quality is not set up */
    uint32_t ssrc;
    uint64_t packets, octets, sent;
    /* of what comes from it, if its payload has to change; NULL: it passes */
    struct transcode *coder;
    struct quality_leg quality; /* of what comes from it, and what it says it hears */
    /* what comes from it leaves on the other side with this payload type; PT_NONE: not at all, PT_CODED: the
     * coder's to say */
    uint8_t to[PAYLOAD_TYPES];

    uint32_t coder_ssrc, coder_hz;
    bool coder_follows; /* it is the sender's stream, but for keys: its RTCP passes */
    bool coder_spoke;   /* the other side has heard its stream */
    bool tells;         /* keys in what comes from it are told to the service */
    struct timer tick;  /* the coder's */
    /* Keys that came from it: as events, ever; the last tone. */
    uint8_t event_pt[EVENTS];
    bool events_heard;
    char tone;
    usec tone_at, digits_at; /* digits_at: when the next key may be told, for their rate */
    struct session *session;
    uint8_t line, side;
    uint64_t lost_told;  /* in the counter already */
    struct timer report; /* RTCP of ours */
    struct sound_type type[TYPES_MAX];
    uint8_t types_n, type_now; /* which of them comes */
    uint8_t xr;                /* enum offer_xr */
};
struct session_line {
    enum offer_kind kind;
    bool refused;
    struct leg leg[SESSION_SIDES];
};

struct session {
    struct sessions *all;
    unsigned lines, planned; /* that it has; of the longest plan that was applied */
    bool applied;
    bool alone;                /* of one side: see below */
    bool handed;               /* its last form is written: who reads that sends from then on */
    uint64_t reserved;         /* its part of what is reserved */
    uint32_t payer;            /* for whom its ports count; 0: nobody */
    uint32_t ports;            /* that it has */
    struct link by_call;       /* sessions that count as one call with it */
    bool answered;             /* and it as one of its own */
    usec heard[SESSION_SIDES]; /* last packet of each side */
    struct session_id id;
    struct session_party party[SESSION_SIDES];
    const struct session_handler *h;
    void *arg;
    uint64_t number, version[SESSION_SIDES]; /* o= */
    struct timer silence, interval;
    char cname[24]; /* of our own streams (RFC 7022 §4.2: by chance) */
    uint8_t cname_n;
    struct session_line stream[OFFER_MEDIA_MAX];
    struct transport *transport[SESSION_SIDES][OFFER_MEDIA_MAX]; /* own ones */
    uint8_t secret[32];                                          /* our keys of SDES come from it */
    struct ice_secret ice[SESSION_SIDES];
    /* of one side alone: what we send is of this SSRC; the codec and what is played in it */
    uint32_t ssrc;
    const struct codec *sound; /* NULL: none */
    struct codec_wish sound_wish;
    uint8_t sound_pt, sound_line;
    struct playing *playing; /* NULL: an echo */
};

/* ---- session.c ---- */
struct session *session_find(const struct sessions *m, struct session_id id); /* or NULL */
void session_tell(struct session *s, enum session_event e, unsigned side, sv why);
void session_tell_digit(struct session *s, unsigned side, char digit, uint32_t ms);
/* Our address there, as the side is told. */
struct addr session_told(const struct session_party *p);
/* One that has nothing yet; NULL: over the cap, no memory. */
struct session *session_blank(struct sessions *m, const struct session_handler *h, void *arg);
/* Ports for a side of a line. port: of RTP; 0: any. */
MUST_USE enum err session_open_transport(struct session *s, unsigned side, unsigned line,
                                         uint16_t port);
/* It has an id. */
MUST_USE enum err session_enter(struct sessions *m, struct session *s);
/* Media flows from here on. */
void session_start(struct session *s);
void session_free(struct session *s); /* has no id (any more) */

/* ---- session_bandwidth.c ---- */
/* It has so much reserved now. False: more than `most` would be; 0: no cap. */
bool session_hold(struct session *s, uint64_t bits, uint64_t most);

/* ---- session_quota.c ---- */
/* Those of one transport more. False: its payer has as many as he may. */
bool session_take_ports(struct session *s);
void session_give_ports(struct session *s);

/* ---- session_packet.c ---- */
extern const struct relay_handler session_packets;
/* A packet of this side in clear, which may be changed, leaves on the other. */
void session_forward(struct session *s, unsigned line, unsigned side, enum relay_component c,
                     struct block *b);

/* ---- session_source.c ---- */
void session_source_done(struct transport *t);
/* Another SSRC than before comes from l, or the first. */
void session_source_heard(struct leg *l, uint32_t ssrc);
/* A packet, in clear, is about to leave: under the SSRC that the side knows. */
void session_source_rename(struct transport *t, bool rtcp, struct block *b);
/* It was refused, as what came with this SSRC and number. True: it may be tried again. */
bool session_source_renew(struct transport *t, bool rtcp, uint32_t ssrc, uint16_t seq,
                          struct block *b);
/* RTCP of the side, in clear, speaks of streams under the SSRC that they came with. */
void session_source_restore(struct transport *t, struct block *b);

/* ---- session_quality.c ---- */
void session_quality_apply(struct session *s, unsigned line, unsigned side,
                           const struct offer_map *map, unsigned n);
/* A packet of another payload type than the last one. */
void session_quality_type(struct session *s, struct leg *l, uint8_t pt);
/* What the side hears that gets what comes from l: struct session_figures' parts of that. */
void session_quality_figures(const struct session *s, const struct leg *l,
                             struct session_figures *ret);
void session_quality_begin(struct session *s);
/* Reports of ours begin on the lines that end here, whether anything is sent there or not. */
void session_quality_reports(struct session *s);
void session_quality_end(struct session *s);
void session_on_interval(struct timer *t, void *arg);
/* RTCP of this side, in clear. True: it goes on to the other. */
bool session_quality_rtcp(struct session *s, unsigned line, unsigned side, sv datagram);
/* RFC 3550 §6.6: a stream of ours toward l has ended, and others may follow; all of the session have. */
void session_quality_left(struct session *s, struct leg *l);
void session_quality_bye(struct session *s);
/* A packet of a stream of ours leaves toward l. */
void session_quality_sent(struct session *s, struct leg *l, const void *rtp, size_t n,
                          uint32_t clock_hz);

/* ---- session_end.c ---- */
void session_echo(struct session *s, unsigned line, struct block *b);
void session_sound_of(struct session *s, const struct offer_plan *plan);
void session_play_done(struct session *s);

/* ---- session_coder.c ---- */
MUST_USE enum err session_coder_apply(struct session *s, unsigned line, unsigned side,
                                      const struct offer_map *map, unsigned n,
                                      const struct offer_leg *to);
/* As it was in another process. Errors: of transcode_new. */
MUST_USE enum err session_coder_resume(struct leg *l, const struct transcode_config *c);
void session_coder_done(struct leg *l);
void session_coder_rtp(struct leg *l, const struct rtpmsg *m);
/* A packet that came from l. */
static inline void session_note_event(struct leg *l, uint8_t pt)
{
    if (pt == l->event_pt[0] || pt == l->event_pt[1])
        l->events_heard = true;
}

/* ---- session_keys.c ---- */
void session_keys_new(struct session *s);
MUST_USE enum err session_keys_ours(struct session *s, unsigned side, unsigned flags,
                                    struct offer_ours *o);
MUST_USE enum err session_keys_apply(struct transport *t, const struct offer_leg *o);
void session_keys_done(struct transport *t);
/* A new context, or new keys for the one that is there. */
MUST_USE enum err session_context(struct transport *t, struct srtp_context **c, enum srtp_role role,
                                  enum srtp_suite suite, sv key, sv salt);
/* In place. False: not from who has the keys; cannot leave. */
bool session_unseal(struct transport *t, enum relay_component c, bool rtcp, struct block *b);
bool session_seal(struct transport *t, bool rtcp, struct block *b);
/* What shares the ports with RTP (RFC 7983). */
void session_on_other(void *arg, struct relay_transport *rt, enum relay_component c,
                      struct block *b, const struct addr *from);
/* Sets the transport's timer for what is due next. */
void session_timer(struct transport *t);
void session_on_timer(struct timer *timer, void *arg);

/* ---- session_dtls.c ---- */
MUST_USE enum err session_dtls_apply(struct transport *t, const struct offer_leg *o);
/* After a session was read: without keys the handshake begins anew. */
MUST_USE enum err session_dtls_resume(struct transport *t);
void session_dtls_done(struct transport *t);
void session_dtls_receive(struct transport *t, enum relay_component c, sv octets,
                          const struct addr *from);
/* The way to the peer is known, perhaps by now. */
void session_dtls_begin(struct transport *t);
usec session_dtls_next(const struct transport *t);
void session_dtls_timer(struct transport *t, usec now);

/* ---- session_ice.c ---- */
MUST_USE enum err session_ice_offer(struct session *s, unsigned side, unsigned flags,
                                    struct offer_ours *o);
void session_ice_apply(struct transport *t, const struct offer_leg *o);
/* A packet of who is believed came from there. */
void session_ice_heard(struct transport *t, enum relay_component c, const struct addr *from);
/* Something has been agreed on. */
void session_ice_watch(struct session *s);
void session_ice_done(struct transport *t);
void session_ice_receive(struct transport *t, enum relay_component c, struct block *b,
                         const struct addr *from);
void session_ice_timer(struct transport *t, usec now);

#endif
