/* SPDX-License-Identifier: MIT */
/* accounting/accounting.h: the standing calls of a worker, and a record of each ended one.   layer:
 * services
 *
 * Shape   a call is a dialog followed from outside: Call-ID, caller's tag, then callee's tag, the
 * two legs with the flow that reaches each. In-dialog requests find their leg here, so that they
 * take the flow the phone is known by. Limits  settings.calls_max a worker; at the cap the call
 * that was silent longest is forgotten (its record is written as lost). CALL_BYTES:
 * accounting_bytes() / accounting_count(). Threads the home's worker.
 */
#ifndef ACCOUNTING_ACCOUNTING_H
#define ACCOUNTING_ACCOUNTING_H
#include "session/session.h"
#include "settings/settings.h"
#include "store/store.h"
#include "transport/transport.h"

struct accounting;
struct call;

enum { ACCOUNTING_MEDIA_MAX = 4096 }; /* of what a record says of the media */
enum call_state { CALL_CALLING, CALL_RINGING, CALL_UP, CALL_ENDING };

/* Views, valid until something is told of the call. */
struct call_leg {
    const struct dest *dest; /* how to reach it; dest->transport SIP_T_NONE: not known */
    sv tag;                  /* SV_NONE: not known yet */
    sv contact;              /* remote target, as URI text; may be SV_NONE */
};

/* What others see of it: views valid until the callback returns. */
struct call_view {
    sv call_id, from, to; /* from, to: address of record as URI text without parameters */
    enum call_state state;
    usec since, answered;        /* wall; answered 0: not yet */
    const struct call_leg *legs; /* 0 caller, 1 callee */
    struct session_id session;   /* of a call that is answered here; generation 0: none */
};
/* What the record of a call that ends now says of its media (JSON) goes into ret, at most ACCOUNTING_MEDIA_MAX octets; nothing:
 * there is nothing to say. Must not call accounting. */
typedef void accounting_media_fn(void *arg, const struct call_view *c, struct buf *ret);

MUST_USE enum err accounting_new(struct sip *s, struct store *st, size_t cap,
                                 struct accounting **ret_a);
void accounting_free(struct accounting *a);
void accounting_on_record(struct accounting *a, accounting_media_fn *fn, void *arg);

/* A call begins with this INVITE, which follows no route set of ours. NULL: no memory; the call goes on unseen.
 *   caller  account or empty
 *   phone   it is the caller's own phone that speaks with us, and no server for it */
struct call *accounting_begin(struct accounting *a, struct rx *invite, sv caller, bool phone);
/* One that is over before it began: nobody could be asked. It has a record, and no place among the calls: none gives way
 * to it. status, said: the response's, as below. */
void accounting_refused(struct accounting *a, struct rx *invite, sv caller, uint16_t status,
                        sv said);
/* A response went upstream: 1xx with a tag rings, 2xx makes it stand (the first one; forks beyond
 * are not followed), another final one ends it. said: that one's words, for the record. phone: of the callee, as above. */
void accounting_response(struct accounting *a, struct call *c, struct rx *rx, uint16_t status,
                         sv said, const struct dest *via, bool phone);
/* The standing call of this dialog is over. One that is not in the books: nothing. ended_by, reason: as in
 * records. */
void accounting_ended_dialog(struct accounting *a, sv call_id, sv caller_tag, sv callee_tag,
                             sv ended_by, sv reason);
/* A call that this server answers itself: it stands, its callee has this tag; and it is over. Until
 * accounting_setup_gone it is not forgotten for others. ended_by, reason: as in records. */
void accounting_answered(struct accounting *a, struct call *c, sv tag);
void accounting_ended(struct accounting *a, struct call *c, sv ended_by, sv reason);
void accounting_session(struct call *c, struct session_id id); /* its media */
/* The context that set it up has ended (no final response: it ends too). */
void accounting_setup_gone(struct accounting *a, struct call *c);
/* The call that an in-dialog request belongs to. *ret_leg: the leg it goes TO: 0 or 1. NULL: none.
 */
struct call *accounting_find(struct accounting *a, struct rx *req, unsigned *ret_leg);
struct call_leg accounting_leg(const struct call *c, unsigned leg);
bool accounting_stands(const struct call *c); /* it was answered */
/* An in-dialog request passed: refreshes the sender's flow and contact. */
void accounting_request(struct accounting *a, struct call *c, struct rx *req, unsigned to_leg);
/* Whether an in-dialog request goes to who is at that end, as far as that is known: its Routes behind ours, if any, are the
 * dialog's (RFC 3261 §12.2.1.1), and so is its target, unless it is a phone that we reach ourselves. The target is the last
 * Contact from there, or the one before it until the other end has taken the last, and 64*T1 longer, as what it sent before may
 * come so late. If not, what it is answered says nothing of the call. */
bool accounting_leads(const struct accounting *a, const struct call *c, unsigned leg,
                      const struct uri *target, const struct sip_addr *routes, size_t n);
/* This leg has answered an INVITE or UPDATE within the call with a 2xx: its flow and contact; it has taken the other's. */
void accounting_refreshed(struct accounting *a, struct call *c, unsigned leg, struct rx *rx,
                          const struct dest *via);
/* The call is over by a BYE to this leg, which came at that time (monotonic). */
void accounting_hung_up(struct accounting *a, struct call *c, unsigned leg, usec at);
/* An ACK goes to this leg. */
void accounting_acknowledged(struct accounting *a, struct call *c, unsigned leg);
/* Calls that another one than this server has answered, and whose ACK has not come but still may: the callee waits for it
 * for 64*T1 (RFC 3261 §13.3.1.4). Walks all of them when there is one. */
size_t accounting_unacknowledged(const struct accounting *a);
/* The server is about to end: who is refused by itself from now on was so by "stop". */
void accounting_leave(struct accounting *a);
/* It ends: the calls that are left get their records, as ended by "stop". */
void accounting_stop(struct accounting *a);
size_t accounting_count(const struct accounting *a);
size_t accounting_bytes(const struct accounting *a);
/* Return false to stop. */
void accounting_each(struct accounting *a, bool (*fn)(const struct call_view *c, void *arg),
                     void *arg);

#endif
