/* SPDX-License-Identifier: MIT */
/* answer/answer.h: calls that end here: the user agent server on the server's own endpoint.   layer: services
 *
 * Spec    RFC 3261 §8.2, §12 (dialogs), §13.3 (2xx repeated until the ACK), §14.2 (re-INVITE), §15; RFC 3311 §5.2
 *         (UPDATE); RFC 4028 §9, §10 (session timers, as far as the caller refreshes).
 * Shape   answer_take turns an INVITE's server transaction into a call; its user answers it, now or later, with a
 *         session description of his. Descriptions are opaque here: offers that come later are asked about.
 *         Requests of the dialog find it by answer_request, which routing asks before it looks at routes of its own: our
 *         Contact carries a mark that leads them to the worker, bound to the Call-ID.
 *         BYE leaves by the flow that the caller last spoke by, when a route set or he himself stands behind it, else
 *         to his Contact. DEVIATES: RFC 3261 §12.2.1.1 follows the route set by its URIs; the first of them is who
 *         sent us the INVITE.
 * Life    a call ends with on_end, once; after it the pointer is dead for its user. It may come within answer_end
 *         and answer_reject, never within answer_take.
 * Limits  `cap` calls a worker: beyond it 503 and STAT_LIMIT_ANSWERED; ANSWER_ROUTES_MAX octets of a route set and
 *         ANSWER_TARGET_MAX of a Contact: beyond them 513 to the INVITE, a new Contact is not taken.
 * Threads the worker's. */
#ifndef ANSWER_ANSWER_H
#define ANSWER_ANSWER_H
#include "accounting/accounting.h"
#include "settings/settings.h"
#include "txn/txn.h"

enum { ANSWER_ROUTES_MAX = 4096, ANSWER_TARGET_MAX = 2048 };

struct answer;
struct answer_call;

enum answer_end {
    ANSWER_BY_CALLER, /* CANCEL or BYE */
    ANSWER_BY_US,     /* answer_reject, answer_end */
    ANSWER_NO_ACK,    /* §13.3.1.4: answered, but the ACK never came: we said BYE */
    ANSWER_EXPIRED,   /* RFC 4028 §10: nobody refreshed the session: we said BYE */
    ANSWER_STOPPED,   /* answer_hang_up */
    ANSWER_LOST,      /* the answer cannot be delivered, or the server has ended */
};

/* What becomes of an offer within the call. */
struct answer_reply {
    uint16_t
        status; /* 0: 200 with `description`; else a refusal (488, 500, …), and the session stays as it is */
    sv description; /* lives as long as the request's arena */
    /* of a refusal: warn-code (RFC 3261 §20.43), 0: none; and its text, which lives as long */
    uint16_t warning;
    sv text;
};
/* Why we end a call: what the Reason of our BYE says (RFC 3326; cause 0: there is none), and the record. Static. */
struct answer_cause {
    uint16_t cause;
    sv why, ended_by;
};
/* All optional. In turns of the worker; they may end the call. */
struct answer_handler {
    /* The ACK of our answer came. description: of the session, in it; SV_NONE: none. */
    void (*on_ack)(void *arg, struct answer_call *c, sv description);
    /* A re-INVITE or UPDATE with an offer; an empty one of a re-INVITE asks for ours (its ACK brings the answer:
     * on_ack). NULL: 488. */
    void (*on_offer)(void *arg, struct answer_call *c, struct rx *rx, sv offer,
                     struct answer_reply *ret);
    /* An INFO in the call (RFC 6086): what is answered; 0: 200. NULL: 405. */
    uint16_t (*on_info)(void *arg, struct answer_call *c, struct rx *rx);
    void (*on_end)(void *arg, struct answer_call *c, enum answer_end why); /* last */
};

/* per worker. books: what calls are told to; may be NULL. Errors: ERR_NOMEM. */
MUST_USE enum err answer_new(struct sip *s, struct accounting *books, size_t cap,
                             struct answer **ret_answer);
/* Before the endpoint and the books. Calls end with ANSWER_LOST, those that stand with a BYE that is sent
 * once. NULL is fine. */
void answer_free(struct answer *a);
/* A new snapshot; borrowed. Before the first call. */
void answer_settings(struct answer *a, const struct settings *set);
size_t answer_count(const struct answer *a);

/* The call of this INVITE, whose transaction becomes its own. Who asks for what we do not have is refused (§8.2.2).
 *   caller  account or empty, for the books
 * NULL: refused and answered. */
struct answer_call *answer_take(struct answer *a, struct stxn *txn, sv caller,
                                const struct answer_handler *h, void *arg);
/* Another handler takes over from here on. */
void answer_handle(struct answer_call *c, const struct answer_handler *h, void *arg);
/* The INVITE, until it is answered; and the session description in it, SV_NONE: none. */
struct rx *answer_rx(const struct answer_call *c);
sv answer_offer(const struct answer_call *c);
sv answer_call_id(const struct answer_call *c); /* as long as the call */
/* Its media, for the books. */
void answer_session(struct answer_call *c, struct session_id id);
/* 200 with this description, repeated until the ACK comes. Errors: ERR_STATE (answered before), as stxn_reply. */
MUST_USE enum err answer_accept(struct answer_call *c, sv description);
/* A final response of 300 to 699 instead. */
void answer_reject(struct answer_call *c, uint16_t status, sv reason);
/* Likewise, with a Warning (RFC 3261 §20.43) of this warn-code. */
void answer_refuse(struct answer_call *c, uint16_t status, uint16_t warning, sv text);
/* Ends it as its state demands: 480; BYE, as soon as it may be sent (§15: not before the ACK). why: of the BYE; NULL: as
 * phones do it, who have nothing to say. */
void answer_end(struct answer_call *c, const struct answer_cause *why);

/* The server ends: calls that stand hear BYE, those that are not answered yet `said`; *most of them, which is less by those
 * that did. How many are left: the others, and those whose ACK has not come yet (§15). most NULL: these hear it too. */
size_t answer_hang_up(struct answer *a, const struct sip_reply *said, size_t *most);

/* rx follows our Contact: it is answered here. False: it does not. */
bool answer_request(struct answer *a, struct rx *rx);

#endif
