/* SPDX-License-Identifier: MIT */
/* proxy/proxy.h: the stateful proxy: one response context per request.          layer: services
 *
 * Spec    RFC 3261 §16 (all), §9.2, §13.3.1.4; RFC 5658 (double Record-Route); RFC 5393 (loops);
 * RFC 6026. Shape   proxy_forward takes a request, its targets, and where to report; it owns a
 * response context: the server transaction, a branch for each target with its client transaction
 * and Timer C. What to do with a response is decided by a pure step (proxy_step.h); the driver
 * performs it. Life    a context ends when its server transaction and all branches have ended.
 * Limits  PROXY_TARGETS_MAX branches; settings.breadth rung at once.
 * Threads the home's worker.
 */
#ifndef PROXY_PROXY_H
#define PROXY_PROXY_H
#include "settings/settings.h"
#include "txn/txn.h"

enum { PROXY_TARGETS_MAX = 32 };

struct proxy;
struct proxy_route;

struct proxy_target {
    sv uri;           /* new Request-URI; SV_NONE: as it is */
    struct dest dest; /* where it goes */
    sv path;          /* Route values to put on top (Path of the binding); SV_NONE: none */
    uint16_t q;       /* informational: all are rung together */
};

/* What befell a forwarded request, for dialog tracking and records. All optional. Called in turns
 * of the worker. */
struct proxy_watch {
    /* A response goes upstream (1xx but 100, and the final one; each forked 2xx). rx NULL: made
     * here. via: how its sender is reached. */
    void (*on_response)(void *arg, struct rx *rx, uint16_t status, const struct dest *via);
    /* The context has ended; last call. */
    void (*on_gone)(void *arg);
};

/* per worker. Errors: ERR_NOMEM. */
MUST_USE enum err proxy_new(struct sip *s, struct proxy **ret_proxy);
void proxy_free(struct proxy *p); /* contexts still there end without answers */
size_t proxy_contexts(const struct proxy *p);
void proxy_settings(struct proxy *p,
                    struct settings *set); /* borrowed; the caller keeps the reference */

struct proxy_request {
    /* becomes the context's. Its request: not ACK, not CANCEL; passed proxy_validate */
    struct stxn *server;
    const struct proxy_route *route;    /* from proxy_route */
    const struct proxy_target *targets; /* copied */
    size_t n;                           /* 0: not allowed */
    bool record_route;
    const struct proxy_watch *watch; /* may be NULL */
    void *watch_arg;
};
/* Takes over: transaction, branches, best response. Refusals (no memory, caps) are answered here
 * too. */
void proxy_forward(struct proxy *p, const struct proxy_request *r);

/* A 2xx's ACK: on to the next hop without state (§16.11). */
void proxy_relay(struct proxy *p, struct rx *rx, const struct proxy_route *route,
                 const struct proxy_target *t);

/* §16.3 Request Validation: scheme, Max-Forwards, loop, Proxy-Require. A refusal is answered. True:
 * go on. */
bool proxy_validate(struct proxy *p, struct rx *rx);
/* h, Require or Proxy-Require, asks for no extension; else 420 with what is not supported is
 * answered (§8.2.2.3, §16.3 step 5). No extension is known yet. True: go on. */
bool proxy_check_extensions(struct proxy *p, struct rx *rx, enum sip_header h);

/* §16.4 Route Information Preprocessing.
 *   ret->uri        the Request-URI to route by (the last Route's when a strict router put ours
 * into the Request-URI) ret->routed     a Route of ours was on top (the request follows a route set
 * that we made) ret->mark_ok    that Route, or the strict router's Request-URI, carried a mark of
 * ours that verifies ret->next       the first Route left after ours; SV_NONE: none ret->pop how
 * many Routes on top are ours Errors: ERR_SYNTAX, ERR_NOMEM. */
struct proxy_route {
    sv uri;
    bool routed, mark_ok, strict;
    sv next;
    bool next_loose; /* next carries ;lr */
    unsigned pop;
};
MUST_USE enum err proxy_route(struct proxy *p, struct rx *rx, struct proxy_route *ret);

#endif
