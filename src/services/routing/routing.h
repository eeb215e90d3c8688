/* SPDX-License-Identifier: MIT */
/* routing/routing.h: what becomes of a request: the edge of the server.         layer: services
 *
 * Shape   the sip_user of each worker. In this order: what pass one refused is answered; what
 * follows a route set of ours is relayed; what is for us is served (REGISTER, OPTIONS); who it is
 * from is proved (Digest) unless policy says otherwise; where it goes is looked up (accounts,
 * numbers, bindings); the proxy takes it there. Nothing is relayed for strangers. Rule    parse →
 * authenticate → authorise → change state. Spec    RFC 3261 §8.2, §10, §16, §22; threats D1, D5,
 * D6, D7. Threads a struct routing per worker, its own thread.
 */
#ifndef ROUTING_ROUTING_H
#define ROUTING_ROUTING_H
#include "accounting/accounting.h"
#include "anchor/anchor.h"
#include "answer/answer.h"
#include "proxy/proxy.h"
#include "settings/settings.h"
#include "store/store.h"
#include "txn/txn.h"

struct routing;

/* Shared by the workers of a process, RO. */
struct routing_shared {
    struct sip_shared *sip;
    struct store *store;
    struct auth_verifier *verifier;
    struct locate_shared *locate; /* NULL: only numeric targets can be reached */
    struct fetch *fetch;          /* NULL: no phone can be woken */
    struct session_shared *media; /* NULL: media never passes through us */
    /* Requests to ws and wss ports that are no upgrade, on the thread of the worker that they came
     * to; answered by http_reply. NULL: 426. */
    void (*on_http)(void *arg, struct http *h, const struct http_request *rq, const struct flow *f);
    void *http_arg;
};

/* Makes the worker's endpoint (sip_new, txn_start), proxy, accounting. No socket is open yet. set:
 * a reference is taken. Errors: ERR_NOMEM. */
MUST_USE enum err routing_new(struct loop *l, const struct routing_shared *sh, struct settings *set,
                              struct routing **ret_routing);
void routing_free(struct routing *r);
struct sip *routing_sip(struct routing *r);
struct accounting *routing_accounting(struct routing *r);
struct anchor *routing_anchor(struct routing *r); /* NULL: there is none */
struct locate *routing_locate(struct routing *r); /* likewise */
/* How this call's media goes, one JSON object (figures.h). */
void routing_figures(struct routing *r, const struct call_view *c, struct buf *b);
/* Requests in progress: being looked up, or in a response context of the proxy. */
size_t routing_contexts(const struct routing *r);
/* New snapshot; on the worker's own thread. */
void routing_settings(struct routing *r, struct settings *set);
/* Who answers calls that end at this server: an echo, an announcement (TARGET_ECHO, TARGET_PLAY; `codes`).
 * Before it is set they are refused: 501. */
struct routing_media {
    /* call is his from here on: he sets a handler (answer_handle), and answers or rejects it, now or later.
     * payer (the account that its media counts for; empty: none), file, and what else of the settings he wants, is copied.
     * On the worker. */
    void (*on_call)(void *arg, struct answer_call *call, sv payer,
                    const struct settings_target *what);
};
void routing_media(struct routing *r, const struct routing_media *m, void *arg);
struct answer *routing_answer(struct routing *r);
/* No new calls (503 with Retry-After); standing ones go on. On the worker's own thread. */
void routing_drain(struct routing *r);
/* What hangs on this worker while the server ends. */
struct routing_rest {
    size_t calls;   /* that stand or ring */
    size_t ringing; /* INVITEs without a final response, those within calls too */
    size_t relayed; /* calls whose media passes through us, or ends here */
    /* phones that owe us a word: to a BYE, to an INVITE, or an ACK to a refusal or a 200 */
    size_t unanswered;
};
void routing_rest(const struct routing *r, struct routing_rest *ret);
/* The server ends: likewise, calls that ring are given up (proxy_end), and those that cannot go on without us hear BYE; spread
 * over some seconds. The others go on between their phones. left: once, when none is left and the phones have answered: each
 * BYE, each CANCEL or what it was about, each refusal and each 200 by its ACK; never within this call. On the worker's own
 * thread, once. */
void routing_leave(struct routing *r, void (*left)(void *arg), void *arg);
/* Likewise at once, and nobody is waited for: left is not called any more. ret_rest: what is cut off by that. */
void routing_cut(struct routing *r, struct routing_rest *ret_rest);

#endif
