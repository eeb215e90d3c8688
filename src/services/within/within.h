/* SPDX-License-Identifier: MIT */
/* within/within.h: a request of ours within a dialog, whoever's dialog it is.         layer: services
 *
 * Spec    RFC 3261 §12.2.1.1 (Request-URI, Route, From, To, CSeq), §13.2.2.4 (ACK), §15.1.1 (BYE), §20.42; RFC 3326 (Reason).
 * Shape   a struct within_dialog is a dialog as one of its ends knows it: of a call that ends here it is our own, of one
 *         that passes by us it is put together from what passed, and we speak in the name of the other end.
 * Life    views, needed until the call returns.
 * Limits  WITHIN_ROUTES_MAX octets of a route set; WITHIN_ID_MAX of a Call-ID or tag: the proxy lets no dialog begin with a longer
 *         one, so that whoever has to know a dialog can.
 * Threads the home's worker. */
#ifndef WITHIN_WITHIN_H
#define WITHIN_WITHIN_H
#include "txn/txn.h"

enum { WITHIN_ROUTES_MAX = 4096, WITHIN_ID_MAX = 2048 };
enum { WITHIN_END = 1 }; /* of a route: an octet that no header has */

struct within_dialog {
    sv call_id;
    sv local;     /* From, as its value stands in the dialog */
    sv local_tag; /* SV_NONE: it stands there already */
    sv remote;    /* To, with its tag */
    sv target;    /* the other end's Contact, as URI text */
    sv routes; /* route set: values of Route in the order of the way, each with WITHIN_END behind it */
    const struct dest *dest; /* where it leaves to */
    uint16_t slot;           /* the call's */
};
struct within_request {
    enum sip_method method;
    uint32_t cseq;
    sv headers;    /* further lines with CRLF; SV_NONE: none */
    sv type, body; /* SV_NONE: none */
};
/* Sends it. ret_txn NULL: what comes of it is nobody's; h and arg then mean nothing. Of an ACK there is no transaction:
 * it is sent once.
 * Errors: as sip_flow_for and ctxn_new; ERR_NOMEM, ERR_TOOBIG. */
MUST_USE enum err within_send(struct sip *s, const struct within_dialog *d,
                              const struct within_request *r, const struct ctxn_handler *h,
                              void *arg, struct ctxn **ret_txn);

/* "Reason: SIP;cause=408;text="…"" with CRLF (RFC 3326 §2), for a BYE. */
enum { WITHIN_WORDS = 160, WITHIN_REASON_MAX = WITHIN_WORDS + 64 }; /* words beyond are left out */
void within_put_reason(struct buf *b, uint16_t cause, sv why);

/* The route set toward the sender of m, as routes above, into b: of a request all Record-Routes (§12.1.1); of a response,
 * for who stands in the midst, those that were added behind us, the nearest first.
 *   upstream  how many the request came to us with (of a response). Ours follow them. */
void within_routes(struct sip *s, struct sipmsg *m, size_t upstream, struct buf *b);
/* Where the sender of m is reached: with a route set between us by the way that it came; else by its Contact's numeric
 * address or the flow, as location_sender says.
 *   flow  what it came on
 *   via   of a response: how its sender was reached; NULL: m is a request */
struct dest within_dest(struct sip *s, struct sipmsg *m, const struct flow *flow,
                        const struct dest *via, bool routed);
/* The Contact of m as URI text; SV_NONE: there is no such one. */
sv within_target(struct sipmsg *m);

#endif
