/* SPDX-License-Identifier: MIT */
/* useragent_priv.h: the parts of the user agent among themselves.
 *
 *   useragent.c           life, what comes in, ends of calls
 *   useragent_request.c   requests: building, sending, credentials
 *   useragent_register.c  our binding at the registrar
 *   useragent_dialog.c    dialogs: made from a message, matched, their texts
 *   useragent_caller.c    calls that we make
 *   useragent_callee.c    calls that come in
 */
#ifndef USERAGENT_PRIV_H
#define USERAGENT_PRIV_H
#include "ds/hash.h"
#include "useragent/useragent.h"

enum { TAG_LEN = 16, REALM_MAX = 256 };

#define USERAGENT_ALLOW "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\n"

struct dialog;

/* A request of ours, and what it takes to send it again with credentials. */
struct request {
    struct useragent *ua;
    enum sip_method method;
    struct dialog *dialog;       /* inside this dialog; NULL: outside */
    struct useragent_call *call; /* NULL: REGISTER */
    struct ctxn *txn;            /* NULL: not under way */
    unsigned challenges;         /* answered */
    usec sent;                   /* when */
    bool heard;                  /* something came back */
    bool again;                  /* it was sent again over a new connection */
    bool kept;                   /* an INVITE with a 2xx: it stays for further ones */
    /* Each provisional and final response, a challenge that was answered left out. The first final
     * one ends the request, but for a 2xx to INVITE. rx NULL: there was none; status 408 or 503. */
    void (*on_response)(struct request *r, struct rx *rx, uint16_t status);
    /* After a 2xx to INVITE: no further one will come. */
    void (*on_gone)(struct request *r);
};

/* RFC 3261 §12. Texts are heap copies. */
struct dialog {
    struct link by_call;
    struct useragent_call *call;
    sv remote_tag, remote_target;
    sv route[USERAGENT_ROUTES]; /* values, first hop first */
    unsigned routes;
    uint32_t local_cseq, remote_cseq;
    bool confirmed;
    bool over;         /* a BYE went or came */
    struct block *ack; /* ours to its 2xx, said again when the 2xx is */
    struct dest ack_dest;
    struct request bye;
};

enum call_phase {
    PHASE_CALLING,  /* ours: no final response yet */
    PHASE_INCOMING, /* theirs: not answered yet */
    PHASE_ANSWERED, /* theirs: 200 sent, no ACK yet */
    PHASE_UP,
    PHASE_ENDED, /* why it ended is known */
};

struct useragent_call {
    struct useragent *ua;
    struct hash_node by_call_id;
    struct link by_due; /* on_ended is due, or it may be freed */
    void *arg;
    bool outgoing;
    bool hangup; /* the user wants it over: as soon as it may be */
    bool no_ack; /* BYE because the ACK did not come */
    bool told;   /* on_ended was called */
    enum call_phase phase;
    enum useragent_end why;
    uint16_t status;
    sv call_id, local_tag, local_sdp;
    sv remote;      /* To of ours, From of theirs, without tag: <uri> */
    sv target;      /* Request-URI outside the dialog */
    sv credentials; /* header line of the INVITE, to go with the ACK (§13.2.2.4) */
    uint32_t cseq;  /* of our INVITE */
    struct link dialogs;
    unsigned dialogs_n;
    struct dialog *dialog; /* the one that stands */
    struct request invite; /* ours */
    struct stxn *server;   /* theirs: waiting for an answer or its ACK; a re-INVITE's too */
    uint32_t server_cseq;
    struct timer ringing;
};

struct useragent {
    struct loop *loop;
    struct sip_shared *shared;
    struct sip *sip;
    const struct useragent_handler *h;
    void *arg;
    struct useragent_config c; /* texts: in memory */
    struct arena memory;
    sv local; /* our identity: "name" <sip:user@domain> */
    uint8_t seed[SIPHASH_KEY];
    struct hash calls;
    size_t active; /* that have not ended */
    struct link due;
    struct deferred later;
    bool closing;

    struct request registration;
    sv register_call_id;
    uint32_t register_cseq;
    uint32_t expires_s; /* asked for */
    uint32_t bound_s;   /* granted */
    bool keep;          /* stay registered */
    bool all;           /* Contact: * */
    unsigned failures;
    struct timer refresh;
};

/* ---- useragent.c ---- */
/* Heap copy instead of *at; absent: none. False: no memory. */
bool useragent_set_text(sv *at, sv text);
void useragent_put_tag(struct useragent *ua, struct buf *b);
/* A new call, counted. NULL: no memory. */
struct useragent_call *useragent_call_new(struct useragent *ua, sv call_id, bool outgoing);
/* It has ended: on_ended comes at the end of this turn. Idempotent. */
void useragent_finish(struct useragent_call *c, enum useragent_end why, uint16_t status);
/* Something of it is over: freed at the end of this turn if that was the last. */
void useragent_settle(struct useragent_call *c);
/* An answer through a transaction of its own, which is left to itself. */
void useragent_reply(struct useragent *ua, struct rx *rx, struct sip_reply *r);

/* ---- useragent_request.c ---- */
/* Sends r for the first time. Errors: as ctxn_new; then nothing is under way. */
MUST_USE enum err request_send(struct request *r);
/* The ACK of a 2xx on d, made and sent. */
void request_ack(struct dialog *d);
/* Forgets it; nothing is told any more. */
void request_drop(struct request *r);
/* "Contact: <sip:user@here>" with CRLF. */
void request_put_contact(struct useragent *ua, struct buf *b, const struct flow *f);

/* ---- useragent_register.c ---- */
void register_init(struct useragent *ua);
void register_done(struct useragent *ua);
void register_flow_gone(struct useragent *ua, const struct flow *f);

/* ---- useragent_dialog.c ---- */
/* Early or confirmed, from a response to our INVITE or from their INVITE. NULL: no memory, cap, or
 * it lacks what a dialog needs. */
struct dialog *dialog_new(struct useragent_call *c, struct rx *rx);
/* §13.2.2.4: route set and target anew from the 2xx. False: no memory, malformed. */
bool dialog_learn(struct dialog *d, struct rx *rx);
/* §12.2: the peer's new contact, if it gives one. */
void dialog_refresh(struct dialog *d, struct rx *rx);
void dialog_free(struct dialog *d);
struct dialog *dialog_find(struct useragent_call *c, sv remote_tag);
/* The dialog and call that an incoming request belongs to. NULL: none. */
struct dialog *dialog_match(struct useragent *ua, struct rx *rx);
/* Says BYE on it, once. */
void dialog_bye(struct dialog *d);
/* §12.2.1.1: Request-URI, Route lines and next hop of a request inside d. */
sv dialog_uri(const struct dialog *d);
void dialog_put_routes(const struct dialog *d, struct buf *b);
struct dest dialog_hop(const struct dialog *d);

/* ---- useragent_caller.c, useragent_callee.c ---- */
void caller_init(struct useragent_call *c);
void caller_hangup(struct useragent_call *c);
void callee_invite(struct useragent *ua, struct rx *rx);
void callee_reinvite(struct dialog *d, struct rx *rx);
void callee_ack(struct dialog *d, struct rx *rx);
void callee_bye(struct dialog *d, struct rx *rx);
void callee_hangup(struct useragent_call *c);

#endif
