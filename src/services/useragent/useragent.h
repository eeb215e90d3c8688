/* SPDX-License-Identifier: MIT */
/* useragent/useragent.h: a phone without sound: registers, calls, answers.      layer: services
 *
 * Spec    RFC 3261 §8 (cores), §10.2 (registering), §12 (dialogs, route sets), §13, §14.2
 * (answering a re-INVITE), §15; §22 (digest). Session descriptions are the caller's, opaque here.
 * Shape   a struct useragent owns an endpoint (sip/transport, sip/txn) on one loop and one account
 * at one server. Non-blocking: what happens is told through struct useragent_handler. Life    a
 * call is made by useragent_call or told by on_incoming, and ends with on_ended, once; after it the
 * pointer is dead for the user. Limits  useragent_config.calls at a time: beyond it 486 and
 * ERR_BUSY; USERAGENT_FORKS dialogs of one call, USERAGENT_ROUTES routes of one dialog; a call
 * rings USERAGENT_RINGING at most. Threads the loop's. Handlers come in turns, never before the
 * starting call returns; they may start and end calls, but not free the user agent.
 */
#ifndef USERAGENT_USERAGENT_H
#define USERAGENT_USERAGENT_H
#include "auth/auth.h"
#include "txn/txn.h"

enum { USERAGENT_FORKS = 16, USERAGENT_ROUTES = 16 };
#define USERAGENT_RINGING (200 * USEC_S)

struct useragent;
struct useragent_call;

enum useragent_end {
    USERAGENT_REFUSED,   /* a final response of 300 to 699; by us for an incoming call */
    USERAGENT_CANCELLED, /* by the caller, before it was answered */
    USERAGENT_BY_US,     /* our BYE was answered, or nobody answers it */
    USERAGENT_BY_PEER,   /* his BYE came */
    USERAGENT_NO_ACK,    /* answered, but the ACK never came: we said BYE (§13.3.1.4) */
    USERAGENT_LOST,      /* no answer in time, or the server is not reachable: status 408 or 503 */
};

struct useragent_handler {
    /* A REGISTER ended: status of its final response, 408 or 503 when there is none (then rx is
     * NULL). expires_s: how long our contact is bound now; 0: it is not. rx: for its Contact list.
     */
    void (*on_registered)(void *arg, uint16_t status, uint32_t expires_s, struct rx *rx);
    /* from: its URI. The call rings once useragent_ring or useragent_answer says so. */
    void (*on_incoming)(void *arg, struct useragent_call *c, sv from, sv sdp);
    void (*on_provisional)(void *arg, struct useragent_call *c, uint16_t status);
    /* Ours was answered; the ACK is on its way. */
    void (*on_answered)(void *arg, struct useragent_call *c, sv sdp);
    /* Theirs: the ACK of our answer came. */
    void (*on_confirmed)(void *arg, struct useragent_call *c);
    /* Last. status: of the INVITE's final response, sent or received; 408 and 503 also when there
     * was none. */
    void (*on_ended)(void *arg, struct useragent_call *c, enum useragent_end why, uint16_t status);
    /* Every message in and out, repetitions too: for sequence diagrams and traces. */
    void (*on_message)(void *arg, bool out, const struct addr *peer, sv octets);
    /* All optional. */
};

/* Copied, texts and all. */
struct useragent_config {
    enum sip_transport transport; /* SIP_T_UDP or SIP_T_TCP */
    struct addr bind;             /* own address; port 0: any */
    struct addr server;           /* where it registers, and the next hop outside of dialogs */
    sv user, domain;              /* its address of record; user is also the login */
    sv name;                      /* display name; may be empty */
    sv password;                  /* SV_NONE: by ha1 */
    sv realm;                     /* that ha1 was made for */
    struct auth_ha1 ha1;
    /* RFC 5626 §4.1, §4.2: "<urn:…>" and a number from 1; empty and 0: no outbound registration */
    sv instance;
    uint32_t reg_id;
    sv agent;            /* User-Agent; SV_NONE: "Tandem" and its version */
    unsigned calls;      /* at a time; 0: 8 */
    usec t1, t2, t4;     /* 0: RFC 3261's */
    size_t transactions; /* 0: 1024 */
};

/* Opens its listener. Errors: ERR_NOMEM, ERR_UNSUPPORTED (transport), as udp_open. */
MUST_USE enum err useragent_new(struct loop *l, const struct useragent_config *c,
                                const struct useragent_handler *h, void *arg,
                                struct useragent **ret_ua);
/* Says nothing to anybody: unregister and hang up before. No handler comes any more. NULL is fine.
 */
void useragent_free(struct useragent *ua);
struct sip *useragent_sip(struct useragent *ua);
/* Calls that have not ended, and all that is still remembered of calls for their repetitions. */
size_t useragent_calls(const struct useragent *ua);
size_t useragent_remains(const struct useragent *ua);

/* Binds our contact for so long, and keeps it bound: it is refreshed at half of the time granted,
 * after a refusal tried again later and later (RFC 5626 §4.5), and anew when its connection ends.
 * Errors: ERR_STATE (a REGISTER is under way), ERR_NOMEM, as ctxn_new. */
MUST_USE enum err useragent_register(struct useragent *ua, uint32_t expires_s);
/* Takes it away; all: every contact of the account (Contact: *). Errors: as useragent_register. */
MUST_USE enum err useragent_unregister(struct useragent *ua, bool all);

/* A call to target (a SIP URI) with this offer. arg: useragent_call_arg.
 * Errors: ERR_BUSY (cap), ERR_SYNTAX (target), ERR_NOMEM, as ctxn_new. */
MUST_USE enum err useragent_call(struct useragent *ua, sv target, sv sdp, void *arg,
                                 struct useragent_call **ret_call);
void *useragent_call_arg(const struct useragent_call *c);
void useragent_call_set_arg(struct useragent_call *c, void *arg);
sv useragent_call_id(const struct useragent_call *c);
/* 180. Errors: ERR_STATE (answered, or not an incoming call), as stxn_reply. */
MUST_USE enum err useragent_ring(struct useragent_call *c);
/* 200 with this answer, repeated until the ACK comes. Errors: as useragent_ring. */
MUST_USE enum err useragent_answer(struct useragent_call *c, sv sdp);
/* A final response of 300 to 699. Errors: as useragent_ring. */
MUST_USE enum err useragent_reject(struct useragent_call *c, uint16_t status);
/* Ends the call as its state demands: CANCEL, 486, or BYE; BYE as soon as it may be sent (§15: not
 * before the ACK). What comes of it is told by on_ended. */
void useragent_hangup(struct useragent_call *c);

#endif
