/* SPDX-License-Identifier: MIT */
/* media.h: phones of media_sim, which talk and listen, and what is noted of what the server sends; see there.
 *
 *   media_phone.c  their calls
 *   media_desc.c   their descriptions
 *   media_end.c    what stands behind a description: ports, keys, checks, packets
 *   media_tap.c    what the server sends
 *   media_foe.c    who is in no call
 *   media_world.c  failures, chance, memory
 *   media_random.c OpenSSL's chance */
#ifndef SIM_SUPPORT_MEDIA_H
#define SIM_SUPPORT_MEDIA_H
#include "anchor/anchor.h"
#include "crypto/crypto.h"
#include "dtls/dtls.h"
#include "ice/ice_agent.h"
#include "locate/locate.h"
#include "proxy/proxy.h"
#include "rtpmsg/rtpmsg.h"
#include "sim/sim.h"
#include "srtp/srtp.h"
#include "support/program.h"

enum { MEDIA_PHONES = 8, MEDIA_CALLS = 64, MEDIA_ROUTES = 4, MEDIA_MESSAGE = 8192, MEDIA_WAYS = 8 };
enum { MEDIA_FIRST_PORT = 40000, MEDIA_LAST_PORT = 40095 };

enum media_kind {
    MEDIA_PLAIN,
    MEDIA_NAT,      /* plain, and its description names an address that is not what it sends from */
    MEDIA_SDES,     /* nothing but SRTP */
    MEDIA_OPTIONAL, /* SDES where the other side has it */
    MEDIA_DTLS,
    MEDIA_ICE, /* plain, a full agent */
    MEDIA_WEB, /* DTLS and a full agent, as browsers have */
    MEDIA_KINDS
};

struct media_world;
struct media_phone;
struct media_end;
struct media_dialog;

/* ---- calls ---- */

struct media_call {
    unsigned number;
    struct media_phone *caller;
    unsigned callees; /* whom it was sent to, a bit each */
    sv id, tag;
    bool callee_acts; /* who offers anew */
    bool up, over;
    struct ctxn *invite;
    struct media_end *end; /* the caller's */
    struct timer give_up;
};

struct media_dialog {
    struct link by_phone;
    struct media_phone *phone;
    struct media_call *call;
    bool caller;
    sv call_id, local_tag, remote_tag, target, route[MEDIA_ROUTES];
    unsigned routes;
    uint32_t cseq, reinvite_cseq;
    bool answered, confirmed, ended, asking, replied;
    sv ok; /* the body of its 2xx */
    struct block *ack;
    uint32_t acked; /* the CSeq of it */
    struct stxn *server, *reinvite;
    struct timer plan;
    unsigned step;
    struct media_end *end;
    struct media_way *way;
};

struct media_phone {
    struct media_world *world;
    unsigned index;
    enum media_kind kind;
    struct sim_host *host;
    struct loop *loop;
    struct loop_group *group;
    struct addr ip;
    struct sip_shared *shared;
    struct sip *sip;
    struct link dialogs, ends;
    struct dtls_shared *certificate;
    struct srtp_engine *engine;
    uint16_t next_port;
    unsigned serial;
    bool gone;
};

/* ---- media ---- */

/* A key that the server was seen to send with. */
struct media_key {
    struct media_key *next;
    enum srtp_suite suite;
    uint8_t octets[SRTP_KEY_MAX + SRTP_SALT_MAX], n;
    const struct media_end *end;
};

/* Whom an end talks to: a branch of the call has one each. */
struct media_way {
    struct media_end *end;
    struct addr remote[2]; /* RTP, RTCP */
    bool claimed;          /* by a description; else somebody was heard before it came */
    bool live;             /* and its call is */
    bool takes;            /* it wants to hear us */
    enum offer_keying keying;
    struct dtls *dtls;
    bool dtls_client, dtls_failed;
    struct srtp_context *in, *out;
    unsigned heard, heard_rtcp; /* packets, in all */
    bool checked;               /* its description has checks */
};

struct media_end {
    struct link by_phone;
    struct media_phone *phone;
    struct media_call *call;
    struct udp *port[2], *next_port[2]; /* next: offered, not yet answered */
    struct addr told[2];                /* what its description says */
    enum sdp_direction direction, next_direction, wish;
    bool offering; /* an offer of ours waits for its answer */
    bool offered;  /* the last offer was ours */
    bool mux;
    bool picky; /* SRTP, but not offered as plain RTP (RFC 8643) */
    enum offer_suite suite;
    uint8_t key[OFFER_KEY_MAX], next_key[OFFER_KEY_MAX];
    bool passive; /* as an answerer of DTLS */
    uint64_t version;
    struct ice_agent *ice;
    sv ice_peer;    /* the ufrag that it checks */
    bool restarted; /* its credentials are others than those that stand */
    bool lapsed;    /* nobody consented for 30 s: it may send nothing (RFC 7675 §5.1) */
    struct media_way way[MEDIA_WAYS];
    unsigned ways;
    uint32_t number; /* of what was said last */
    uint16_t seq;
    uint8_t life; /* among those of its phone */
    bool closing;
    struct timer talk, tick, linger;
};

struct media_named; /* of the tap */

struct media_foe {
    struct sim_host *host;
    struct loop_group *group;
    struct udp *udp;
    struct timer spray;
    struct dtls_shared *certificate;
    struct dtls *dtls;
    struct addr aim; /* of the handshake */
    bool on;
};

struct media_world {
    uint64_t seed;
    struct sim *sim;
    const struct program *program;
    bool failed;
    unsigned loss; /* of 1000, while the net is bad */
    struct arena memory;
    struct sim_host *host;
    struct loop_group *group;
    struct settings *set;
    struct sip_shared *shared;
    struct sip *sip;
    struct locate_shared *names;
    struct locate *locate;
    struct proxy *proxy;
    struct ports *ports;
    struct session_shared *media;
    struct anchor *anchor;
    struct addr server;
    struct media_phone phone[MEDIA_PHONES];
    struct media_call *call[MEDIA_CALLS];
    unsigned calls;
    struct media_foe foe;
    struct media_named *named;
    struct media_key *keys;
    bool ending;                 /* nothing new begins */
    bool tame;                   /* nobody refuses */
    usec pace;                   /* between two packets */
    unsigned lost[MEDIA_PHONES]; /* of what they sent, on the way to the server */
    unsigned heard, early, hellos, sent, exchanges, answers, handshakes, given_up, forks, unchecked;
    unsigned lapsed; /* consents of calls that stood */
    unsigned reinvites, restarts, refused, judged, silent;
};

void media_fail(struct media_world *w, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void media_need(enum err rc); /* aborts */
bool media_chance(struct media_world *w, unsigned percent);
usec media_between(struct media_world *w, usec from, usec to);
void *media_take(struct media_world *w, size_t n); /* all zero, for the whole seed */
sv media_keep(struct media_world *w, sv text);

/* ---- media_phone.c ---- */
void media_phone_start(struct media_world *w, unsigned i, enum media_kind kind);
/* Its power fails. */
void media_phone_kill(struct media_phone *p);
void media_phone_done(struct media_phone *p);
bool media_phone_free(const struct media_phone *p);
/* A call to those. */
void media_call(struct media_phone *p, unsigned callees);
void media_hang_up(struct media_dialog *d);
/* The other side of it; NULL: gone. */
struct media_dialog *media_other(const struct media_dialog *d);

/* ---- media_desc.c ---- */
sv media_offer(struct media_end *e);
/* SV_NONE: not this one (488). */
sv media_answer(struct media_end *e, sv offer, struct media_way **way);
void media_answered(struct media_end *e, sv answer, struct media_way **way);
/* It was refused: as before. */
void media_unanswered(struct media_end *e);

/* ---- media_end.c ---- */
struct media_end *media_end_new(struct media_phone *p, struct media_call *c);
/* Of this call; NULL: none. */
struct media_end *media_end_of(const struct media_phone *p, const struct media_call *c);
void media_end_ports(struct media_end *e, struct udp *ret_port[2]);
/* No more of it is sent or judged; it stays for a moment. */
void media_end_close(struct media_end *e, usec in);
void media_end_free(struct media_end *e);
struct media_way *media_way(struct media_end *e, const struct addr *remote, bool make);
/* What two descriptions agreed on. */
void media_way_set(struct media_way *way, const struct offer_media *m,
                   const struct offer_key *theirs);
/* Its agent begins, unless there is one. */
void media_end_checks(struct media_end *e, bool controlling, bool peer_lite);
/* Other credentials, for the next offer (RFC 8445 §9). */
void media_end_restart(struct media_end *e);
/* What a direction means to who says it. */
bool media_sends(enum sdp_direction d);
bool media_takes(enum sdp_direction d);
enum srtp_suite media_suite(enum offer_suite s);

/* ---- media_tap.c ---- */
void media_tap_start(struct media_world *w);
void media_tap_stop(struct media_world *w);
/* The server may send there now. */
void media_tap_name(struct media_end *e, const struct addr *a);
/* The server has told, or agreed on, this key to send with. */
void media_tap_key(struct media_end *e, enum srtp_suite suite, const void *key, size_t n);
/* After all: no key was used for two packets. */
void media_tap_check(struct media_world *w);

/* ---- media_foe.c ---- */
void media_foe_start(struct media_world *w);
void media_foe_stop(struct media_world *w);
void media_foe_done(struct media_world *w);

/* ---- media_random.c ---- */
bool media_random_start(void);
void media_random_seed(uint64_t seed);

extern const uint8_t media_secret[HOME_SECRET];

#endif
