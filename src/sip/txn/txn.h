/* SPDX-License-Identifier: MIT */
/* txn/txn.h: the four transaction machines.                                     layer: sip
 *
 * Spec    RFC 3261 §17 as corrected by RFC 6026 (Accepted, Timers L and M); matching §17.1.3 and
 *         §17.2.3, also of RFC 2543
 *         requests; CANCEL §9; transport errors §17.1.4, §17.2.4; RFC 4320 (non-INVITE: no 408
 *         late, no 1xx before Timer E's T2).
 * Shape   const tables state × event stepped by pure functions (txn_tables.h); this driver
 *         performs the effects in a fixed
 *         order: stop timers, send, arm, then tell the user, who may drop the transaction in
 *         that call.
 * Life    a transaction belongs to its layer. Handlers get on_gone exactly once, last; after it
 *         the pointer is dead.
 *         stxn_drop / ctxn_drop: the user leaves; the machine finishes alone; no handler is
 *         called any more.
 * Limits  sip_config.transactions a worker that have work to do, and SIP_STANDING times as many in all: what
 *         only stands until its last timer (half a minute behind each call) is small. Beyond them ERR_NOMEM and
 *         STAT_LIMIT_TRANSACTIONS.
 * Threads the home's worker.
 */
#ifndef TXN_TXN_H
#define TXN_TXN_H
#include "transport/transport.h"

struct stxn;
struct ctxn;

/* ---- server ---- */
struct stxn_handler {
    /* INVITE only: a CANCEL matched; the layer has answered it 200. Not called after a final
     * response. May be NULL. */
    void (*on_cancel)(void *arg, struct rx *cancel);
    /* ERR_OK: ran its course; ERR_TIMEOUT: no ACK (Timer H); ERR_UNREACHABLE and kin: the
     * response cannot be delivered. */
    void (*on_gone)(void *arg, enum err why);
};
/* Takes rx (a ref, and its claim). INVITE: 100 is sent after 200 ms unless something else was
 * sent (§17.2.1).
 * Errors: ERR_NOMEM, ERR_STATE (ACK). */
MUST_USE enum err stxn_new(struct sip *s, struct rx *rx, const struct stxn_handler *h, void *arg,
                           struct stxn **ret_txn);
/* Sends octets (a whole response to the request) and keeps them for retransmission; takes its
 * own ref. A 2xx to INVITE may follow a 2xx
 * (another fork, a retransmission from downstream). A response that cannot be sent ends in
 * on_gone, in a later turn.
 * Errors: ERR_STATE (after a final response; RFC 4320: to a request other than INVITE a 1xx but
 * 100, a 100 too early over UDP, a 408). */
MUST_USE enum err stxn_respond(struct stxn *t, uint16_t status, struct block *octets);
/* Builds and sends one. to_tag of r is as given. */
MUST_USE enum err stxn_reply(struct stxn *t, struct sip_reply *r);
/* Another handler takes over from here on. */
void stxn_handle(struct stxn *t, const struct stxn_handler *h, void *arg);
struct rx *stxn_rx(const struct stxn *t); /* the request; NULL once it is let go of */
bool stxn_final(const struct stxn *t);    /* a final response was sent */
/* NULL is fine. Without a final response the machine ends at once, silently. With one it lets go
 * of the request: drop early, what remains for half a minute is small. Over datagrams a report that the
 * response was refused changes nothing then: nobody is left to be told. */
void stxn_drop(struct stxn *t);
/* RFC 3261 §8.2.2.2: rx has no To tag, and another live server transaction came from the same
 * request by another way (same From tag,
 * Call-ID and CSeq, another branch), about which this was asked too: answer 482. */
bool stxn_merged(struct sip *s, struct rx *rx);
/* Refusals of INVITEs that wait for their ACK, as far as the caller can be reached. Walks all of them. */
size_t stxn_awaited(struct sip *s);
/* UAS core: retransmit the 2xx until ACK (§13.3.1.4). For user agents; proxies do not. */
void stxn_repeat_2xx(struct stxn *t, bool on);

/* ---- client ---- */
struct ctxn_handler {
    /* Each 1xx but 100 also; every 2xx to INVITE (retransmissions and forks too: Accepted); one
     * other final. rx is borrowed; its topmost Via is ours. */
    void (*on_response)(void *arg, struct rx *rx);
    /* ERR_OK after a final response; ERR_TIMEOUT (B, F, or 64·T1 after a CANCEL); transport
     * errors. */
    void (*on_gone)(void *arg, enum err why);
};
/* What answers to a request of ours are matched by (§17.1.3). */
struct txn_key {
    struct home_key id;
    uint32_t method; /* enum sip_method, or a hash with the top bit set */
};
struct txn_key ctxn_key(struct sip *s, sv branch, enum sip_method m, sv method_text);
/* octets: the whole request with our Via on top; parsed here for an ACK or a CANCEL only. key: its branch
 * and method.
 * Errors: ERR_NOMEM, ERR_STATE (ACK), as sip_send. */
MUST_USE enum err ctxn_new(struct sip *s, const struct dest *d, struct block *octets,
                           const struct txn_key *key, const struct ctxn_handler *h, void *arg,
                           struct ctxn **ret_txn);
/* INVITE: sends CANCEL as soon as a provisional response allows (§9.1); if no final response
 * comes within 64·T1 the transaction ends with
 * ERR_TIMEOUT. reason: a Reason header value or SV_NONE. Nothing after a final response. */
void ctxn_cancel(struct ctxn *t, sv reason);
/* Somebody else has been asked instead (RFC 3263 §4.3): it is not sent again, an INVITE is cancelled as
 * by ctxn_cancel; what still comes of it is told, until Timer B or F at the latest. */
void ctxn_give_up(struct ctxn *t);
/* NULL is fine. An INVITE without a final response is cancelled: nobody would take its 2xx. */
void ctxn_drop(struct ctxn *t);
/* Requests of ours of this method that wait for their final response. Walks all of them. */
size_t ctxn_awaited(struct sip *s, enum sip_method m);
/* Another handler takes over from here on. */
void ctxn_handle(struct ctxn *t, const struct ctxn_handler *h, void *arg);

/* Responses whose connection is gone may follow names by this one (RFC 3263 §5); NULL: no more, before it
 * ends. */
struct locate;
void txn_locate(struct sip *s, struct locate *l);

/* Makes the transaction layer of s and registers it there (sip_set_txns); it ends with sip_free.
 * Before sip_listen. Errors: ERR_NOMEM. */
MUST_USE enum err txn_start(struct sip *s);

#endif
