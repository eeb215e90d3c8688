/* SPDX-License-Identifier: MIT */
/* anchor_priv.h: the parts of the anchor among themselves.
 *
 *   anchor.c          dialogs, and what the proxy asks about each message
 *   anchor_offer.c    an offer on its way, and its answer
 *   anchor_refused.c  what a phone refuses, in words
 *   anchor_party.c    what is known of a side, and how offers are put to it
 *   anchor_own.c      requests of ours within a dialog, and how it ends by us
 *   anchor_info.c     INFO that is for us
 *   anchor_digit.c    keys that a side presses
 *   anchor_trickle.c  candidates that a side sends behind its description */
#ifndef ANCHOR_PRIV_H
#define ANCHOR_PRIV_H
#include "anchor/anchor.h"
#include "ds/hash.h"
#include "dtmf/dtmf.h"
#include "log/log.h"
#include "within/within.h"

/* Octets of our own. */
struct text {
    char *p;
    size_t n;
};

enum { CALLER, CALLEE, SIDES };
enum { WHY_MAX = 1024 };    /* octets of reasons that are kept */
enum { REFUSED_MAX = 768 }; /* of what a phone refuses */

/* One offer and its answer (RFC 3264 §5, §6). What comes again on the way of either is exchanged as it was the first time,
 * also when another offer has come since: its transaction holds it. */
struct exchange {
    unsigned users;
    unsigned offerer;
    uint32_t cseq; /* of its request, as that one's sender counts */
    bool answered;
    bool open;                 /* its transaction may still bring the answer */
    bool asks;                 /* it is in a request within the dialog that waits for its answer */
    struct text offer, passed; /* as it came, as it went on */
    struct text answer, told;  /* likewise: the same comes again in every 18x and 2xx */
};

/* What is known of one side of a dialog. */
struct party {
    struct session_party media;
    struct offer_party facts;
    enum offer_profile profile;
    bool profiled; /* by its own description */
};

/* How a side of a dialog is spoken to, in the name of the other one (RFC 3261 §12.2.1.1). */
struct reach {
    struct text party;          /* From or To of it, as the value stands, with its tag */
    struct text target, routes; /* its Contact; route set toward it, as in within.h */
    struct dest dest;
    /* Of its own requests: the highest CSeq that it said; the highest that went on to the other side, as it left; by how
     * much those to come are raised (by 2^32 less what they are lowered), and by how much its last INVITE was, whose number
     * its ACK has. */
    uint32_t said, seen, raise, invite_raise;
    /* Behind its last INVITE that a 2xx answered, and behind the last one that it acknowledged, as it counts; 0: none. */
    uint32_t answered, acked;
};

/* Keys of one side: what wire/offer asks for, and the last one that it said by INFO. */
struct keys {
    struct offer_keys known;
    bool refuses;        /* INFO with keys: it was tried */
    enum dtmf_info form; /* of INFO that it gets */
    enum offer_dtmf way; /* how it gets those of the other side, as was agreed last */
    char last;
    usec last_at;
    /* INFO of ours: keys that wait, the first of which is asked about */
    struct dialog *dialog;
    unsigned side;
    struct ctxn *asked;
    struct key {
        char digit;
        uint32_t ms;
    } waiting[DTMF_QUEUE_MAX];
    unsigned waiting_n;
};

/* A dialog, or what may become one: a branch of a forwarded INVITE. */
struct dialog {
    struct anchor *anchor;
    struct hash_node by_call_id;
    struct link apart;               /* it stands without a session: with no ports of ours */
    struct text call_id, tag[SIDES]; /* n 0: not known yet */
    struct party party[SIDES];
    struct keys keys[SIDES];
    struct session_id session; /* generation 0: none (yet) */
    bool planned;              /* and something was agreed on for it */
    uint64_t agreed;           /* bits a second of what was agreed on last (offer_bandwidth) */
    uint32_t payer;            /* for whom its ports count (session_payer) */
    uint64_t call;             /* the passage that it began in: that of all branches of a fork */
    bool direct;               /* decided: its media does not pass through us */
    bool relay;                /* it has to: directly the callee refused */
    struct reach reach[SIDES];
    uint16_t slot;
    uint16_t upstream; /* Record-Routes that the INVITE came with, at most SIPMSG_LIST_MAX */
    bool stands;       /* a 2xx went up */
    bool confirmed;    /* and its ACK has come */
    /* the last one, and the one before it, whose messages may come again; NULL: none */
    struct exchange *exchange, *before;
    struct exchange
        *first; /* of the INVITE that begins it, as long as that may be answered again */
    /* Asks later about a side whose keys or consent are gone. Ends one that stands apart and says nothing. */
    struct timer late;
    struct timer ack; /* a 2xx to INVITE waits for its ACK, or the offer in it for its answer */
    enum { LOST_CONSENT, LOST_KEYS, LOST_AGREEMENT, LOST_SIGHT } loss;
    unsigned lost; /* the side, and since when */
    usec lost_at;
    sv way;          /* why it is relayed; static */
    struct text why; /* with what was agreed on: lines */
    struct text
        refused;    /* the ways in which the callee refused it, as anchor_refused() says them */
    unsigned users; /* passages and legs that hold it */
    bool ended;
};

/* One request on its way, and what comes back. */
struct anchor_passage {
    struct anchor *anchor;
    struct settings *set;  /* a reference */
    struct party caller;   /* who sends the request, of an initial INVITE */
    struct dialog *dialog; /* it is inside of; NULL: an initial INVITE, each leg has its own */
    unsigned sender;       /* side of the dialog that it comes from */
    enum sip_method method;
    uint32_t cseq, payer;
    uint64_t call;             /* of an initial INVITE: its own number */
    bool offered;              /* the request has a description, which is an offer */
    bool answers;              /* it brings the answer to an offer of another transaction */
    struct exchange *exchange; /* of a request inside of a dialog: the one that it belongs to */
    struct key key;            /* INFO: that it says; digit 0: none */
};

struct anchor {
    struct sip *sip;
    struct loop *loop;
    struct settings *set;
    struct sessions *sessions;
    struct hash dialogs; /* by Call-ID */
    struct link apart;   /* front: silent longest */
    size_t apart_n;
    struct arena scratch; /* of one message's work */
    size_t count;
    uint64_t calls;            /* passages that were numbered */
    struct log_brake refusals; /* media.refused */
    anchor_ended_fn *ended;
    void *ended_arg;
};

/* ---- anchor.c ---- */
/* Copies; an empty one frees. Errors: ERR_NOMEM: as before. */
MUST_USE enum err text_set(struct text *t, sv from);
void text_done(struct text *t);
static inline sv text_sv(const struct text *t)
{
    return (sv){t->p, t->n};
}
/* Its media does not pass through us any more; the dialog goes when nobody holds it. */
void dialog_end(struct dialog *d);

/* It has a session from now on. */
void dialog_has_session(struct dialog *d);
/* It stands, and has none any more. */
void dialog_has_none(struct dialog *d);

/* The dialog of rx, and who of it sent it; NULL: none of ours. */
struct dialog *dialog_of_request(struct anchor *a, struct rx *rx, unsigned *ret_side);

/* ---- anchor_info.c ---- */
/* What an INFO is answered with. */
struct info_answer {
    uint16_t status; /* 200 at first */
    sv reason;       /* SV_NONE: the usual one */
    sv headers;      /* whole lines with CRLF */
};
/* rx is an INFO of this side (RFC 6086). True: it is for us, and answered with *ret; else the next one is asked, and what
 * nobody takes goes on. Texts: static, or in rx's arena. */
typedef bool info_fn(struct dialog *d, unsigned from, struct rx *rx, struct info_answer *ret);

/* ---- anchor_digit.c ---- */
info_fn anchor_digit_info;
void anchor_digit_init(struct dialog *d);
void anchor_digit_done(struct dialog *d);
/* session_handler: a key in what this side sends, for a side that gets them by INFO. */
void anchor_on_digit(void *arg, struct session_id id, unsigned side, char digit, uint32_t ms);
/* An INFO with this key was refused by that side. */
void anchor_digit_refused(struct dialog *d, unsigned to, uint16_t status, char digit, uint32_t ms);
/* The key that a request says; else as it was. */
void anchor_digit_of(struct rx *rx, struct key *ret);
/* What a message of this side says of keys by INFO. */
void anchor_digit_learn(struct dialog *d, unsigned side, struct rx *rx);
/* What this policy is of an offer of that side: what is known of both. */
void anchor_digit_policy(const struct dialog *d, unsigned offerer, struct offer_policy *p);
/* This plan, of an offer of that side, is done from now on. */
void anchor_digit_planned(struct dialog *d, unsigned offerer, const struct offer_plan *plan);

/* ---- anchor_trickle.c ---- */
info_fn anchor_trickle_info;

/* ---- anchor_own.c ---- */
/* A message of this side passed: where it is, and, of one that refreshes it, its Contact (§12.2). via: of a response,
 * how its sender was reached. */
void reach_heard(struct dialog *d, unsigned side, struct rx *rx, const struct dest *via);
/* A request of this side with this number is about to go on: what its numbers are raised by is so that some are left for
 * requests of ours behind it. False: it is out of order (§12.2.2). */
bool reach_number(struct dialog *d, unsigned side, uint32_t cseq);
/* A request of this side has gone on with this number. */
void reach_counts(struct dialog *d, unsigned side, uint32_t number);
void reach_done(struct reach *r);
/* A 2xx to an INVITE of this side with this number goes up: without its ACK the dialog ends after 64*T1 (§13.3.1.4). */
void dialog_await_ack(struct dialog *d, unsigned side, uint32_t cseq);
/* The ACK has come. */
void dialog_acked(struct dialog *d, unsigned side, uint32_t cseq);
void dialog_on_no_ack(struct timer *t, void *arg);
/* A request of ours to this side, in the name of the other one, which has the next higher number; those of the other one
 * go on above it from then on. r: all but cseq. Errors: ERR_STATE: the dialog does not stand, or not enough of it is
 * known; ERR_RANGE: no number is left; else as within_send. */
MUST_USE enum err dialog_send(struct dialog *d, unsigned to, struct within_request *r,
                              const struct ctxn_handler *h, void *arg, struct ctxn **ret_txn);
/* The call ends by us: BYE to these (a mask of sides) with this Reason (RFC 3326), its media is given back. The dialog may
 * be gone then. ended_by: as in records. */
enum { BOTH = 1 << CALLER | 1 << CALLEE };
void dialog_hang_up(struct dialog *d, unsigned whom, uint16_t cause, sv why, sv ended_by);
/* A BYE of this side was refused: the other one hears it from us, behind all that it has seen. */
void dialog_refused_bye(struct dialog *d, unsigned sender);
/* This side's offer was answered by what it cannot be given, and the other one is told BYE: it is, too, in a moment. */
void dialog_unfit(struct dialog *d, unsigned asker);
/* What its session tells. The dialog may be gone then. */
void dialog_on_media(struct dialog *d, enum session_event e, unsigned side);
void dialog_on_late(struct timer *t, void *arg);

/* ---- anchor_party.c ---- */
/* Who sent rx. */
void party_of_sender(struct anchor *a, struct rx *rx, struct party *ret);
/* Who is reached at dest. Errors: ERR_UNREACHABLE. */
MUST_USE enum err party_of_dest(struct anchor *a, const struct settings *set,
                                const struct proxy_target *t, const struct dest *dest,
                                struct party *ret);
/* How this side wants offers to be put, by its own description. */
void party_profile(struct party *p, const struct offer_session *own, enum offer_srtp srtp);
/* Whether it speaks ICE, by its own description. */
void party_ice(struct party *p, const struct offer_session *own);

/* ---- anchor_refused.c ---- */
/* The callee has refused the offer as it was put to it; it is put in another way now. */
void anchor_tried(struct dialog *d);
/* The callee has refused every way that the offer was put to it, by rx at last: a Warning for the caller. */
void anchor_refused(const struct dialog *d, const struct settings *set, struct rx *rx,
                    struct arena *out, struct proxy_body_new *ret);

/* ---- anchor_offer.c ---- */
/* What a message that carries a description of side `from` is to carry to the other side.
 *   slot  where its transaction keeps the exchange
 *   cseq  of the request */
enum proxy_body anchor_offer(struct dialog *d, const struct settings *set, unsigned from, sv text,
                             struct exchange **slot, uint32_t cseq, struct arena *out,
                             struct proxy_body_new *ret);
/*   x     the exchange that it answers; NULL: none */
/* An answer that takes nothing of this offer (RFC 3264 §6); SV_NONE: none can be made. */
sv anchor_decline(struct dialog *d, sv offer, struct arena *out);
/* media.refused: rx is of the call. */
void anchor_log_refused(struct anchor *a, struct rx *rx, const struct proxy_body_new *why);
/* An offer that begins a call, before it goes anywhere: REFUSE: whoever is reached, it takes a session for which there is no
 * room. */
enum proxy_body anchor_room(struct anchor_passage *p, sv text, struct arena *out,
                            struct proxy_body_new *ret);
/* A 2xx to INVITE came without a description: whether its offer was answered before. why: what was there instead. */
enum proxy_body anchor_no_answer(struct dialog *d, const struct exchange *x, const char *why,
                                 struct arena *out, struct proxy_body_new *ret);
enum proxy_body anchor_answer(struct dialog *d, const struct settings *set, unsigned from, sv text,
                              struct exchange *x, struct arena *out, struct proxy_body_new *ret);
/* A message with a description that cannot be taken out of its body, where all have to be judged. */
enum proxy_body anchor_unread(const char *why, struct arena *out, struct proxy_body_new *ret);
/* Nothing more is said to this offer, or its answer stands. */
void anchor_over(struct dialog *d, struct exchange *x);
/* Where no offer waits for its answer what was agreed on is what holds: bandwidth and ports that were taken for more than that
 * are given back. A dialog that stands and has nothing is apart again. */
void anchor_settle(struct dialog *d);
/* *slot is x from now on, which may be NULL. */
void exchange_hold(struct exchange **slot, struct exchange *x);
/* What was agreed on, planned again by what is known now; the sides are told nothing. */
void anchor_plan_again(struct dialog *d);

#endif
