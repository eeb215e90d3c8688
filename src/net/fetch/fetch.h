/* SPDX-License-Identifier: MIT */
/* fetch/fetch.h: HTTP requests of ours to somebody else's server: webhooks.     layer: net
 *
 * Shape   one thread with libcurl for the whole process; a request is copied and queued, and its end
 *         comes back to the loop that asked as a call in one of its turns.
 * Safety  https, or http to the loopback; certificates are verified; no redirects are followed, no
 *         cookies, no proxies of the environment; of the answer only the status is kept.
 * Limits  FETCH_QUEUE requests waiting or under way: ERR_BUSY; `time` for each in all.
 * Life    a request that is cancelled is not called back. fetch_free ends those under way (their
 *         done is not called) and joins the thread: after the loops have stopped.
 * Needs   libcurl.so.4, loaded by fetch_load, else by the first request.
 * Threads fetch_start, fetch_cancel: the loop's. new, free: the main thread. load: any.
 */
#ifndef FETCH_FETCH_H
#define FETCH_FETCH_H
#include "loop/loop.h"

enum { FETCH_QUEUE = 256, FETCH_BODY_MAX = 64 * 1024, FETCH_HEADERS_MAX = 8 };
struct fetch;
struct fetch_call;

/* The library is loaded, unless it is already, and stays: who is going to call hears in time that it is
 * missing. May block. Errors: ERR_UNSUPPORTED (not installed). */
MUST_USE enum err fetch_load(void);
MUST_USE enum err fetch_new(struct fetch **ret_fetch);
void fetch_free(struct fetch *f); /* NULL is fine */

struct fetch_request {
    sv url;
    sv type;                       /* Content-Type */
    sv body;                       /* POSTed */
    sv headers[FETCH_HEADERS_MAX]; /* "Name: value", without CRLF */
    unsigned headers_n;
    usec time;
    /* status: of the answer, with ERR_OK. Errors: ERR_TIMEOUT, ERR_UNREACHABLE (name, connection),
     * ERR_AUTH (certificate). */
    void (*done)(void *arg, enum err rc, unsigned status);
    void *arg;
};
/* Errors: ERR_UNREACHABLE (libcurl is not installed; an earlier call has found out), ERR_BUSY, ERR_NOMEM, ERR_SYNTAX (url, or a header with control octets), ERR_TOOBIG. */
MUST_USE enum err fetch_start(struct fetch *f, struct loop *l, const struct fetch_request *rq,
                              struct fetch_call **ret_call);
void fetch_cancel(struct fetch_call *c); /* NULL is fine */
/* url is one that fetch_start takes. */
bool fetch_allowed(sv url);

#endif
