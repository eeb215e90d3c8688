/* SPDX-License-Identifier: MIT */
/* control/control.h: the control API: HTTP/JSON on a Unix socket and on control.http.  layer: app
 *
 * Spec    RFC 9110, 9112; RFC 6750 (bearer token).
 * Shape   a table of routes (control_api.c); a handler answers at once or later, once, by
 *         control_reply. What changes state runs on worker 0; other workers are asked by mail.
 * Login   Unix socket: who can open it (mode 0660, peer credentials noted). HTTP: a bearer token,
 *         Host and Origin checked; /healthz, /readyz and, from the loopback, /metrics need none.
 *         All of it before a body is taken.
 * Limits  CONTROL_CONNECTIONS at once on each of the two, CONTROL_BODY_MAX a request,
 *         CONTROL_TIME for its head and for its body, CONTROL_ANSWER_TIME for its answer. No
 *         chunked bodies, no pipelining.
 * Life    a request lives until its answer; those that have none when the control ends are freed
 *         with it, after control_on_end's function.
 * Threads worker 0.
 */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H
#include "routing/routing.h"
#include "sock/sock.h"
#include "store/store.h"

enum { CONTROL_CONNECTIONS = 64, CONTROL_BODY_MAX = 1024 * 1024 };
#define CONTROL_TIME        (10 * USEC_S)
#define CONTROL_IDLE        (60 * USEC_S)  /* between two requests of a connection */
#define CONTROL_ANSWER_TIME (120 * USEC_S) /* then 503 */

struct control;
struct control_request;

/* What the API speaks for; the daemon owns all of it and outlives the control. */
struct control_env {
    struct loop_group *group;
    struct routing *const *routing; /* one a worker */
    struct store *store;
    const char *version;
    usec started; /* wall */
    bool ready, draining, reload_ok;
    struct settings *settings; /* current; the daemon swaps it */
    const char
        *doubt; /* why an account is named with its domain; NULL: it may be the first of settings */
    const struct settings *boot;          /* that the listeners were opened under */
    struct addr http;                     /* where control.http is; family 0: nowhere */
    const struct ports *ports;            /* of media.ports */
    const struct turnserver_shared *turn; /* NULL: no TURN server */
    sv turn_uris;                         /* where it is: lines "turn:…" */
    sv config_file;                       /* or SV_NONE */
    sv restart;                           /* lines "key: …": what waits for a restart */
    /* PEM: the certificate that is shown first, and our own authority's; empty: none */
    sv certificate, ca;
    const sv *sni; /* PEM: the certificates for other names */
    unsigned sni_n;
    sv fingerprint;           /* of the certificate */
    usec certificate_expires; /* wall: the first of all; 0: there is none */
    /* Answers rq (now or later) with the outcome of a reload. */
    void (*reload)(void *arg, struct control_request *rq, bool rollback);
    void *arg;
};

/* token: of HTTP; empty: nobody has it. Errors: ERR_NOMEM, ERR_TOOBIG (token). */
MUST_USE enum err control_new(struct loop *l, struct control_env *env, sv token,
                              struct control **ret_control);
/* Connections end; fn of control_on_end runs for what is not answered. NULL is fine. After the
 * loops have delivered their mail and jobs, or before they ran. */
void control_free(struct control *c);
/* Errors: as stream_listen_unix, stream_listen. */
MUST_USE enum err control_listen_unix(struct control *c, sv path);
/*   ret_local  bind, with the port that it has */
MUST_USE enum err control_listen_http(struct control *c, const struct addr *bind,
                                      struct addr *ret_local);

/* Answers and frees rq. The client may have gone: then nobody hears it. type: e.g.
 * application/json. body is copied. */
void control_reply(struct control_request *rq, unsigned status, sv type, sv body);
/* {"error": text} */
void control_error(struct control_request *rq, unsigned status, const char *text);
/* For a handler that answers later: fn(arg) is called when the control ends before the answer. It
 * frees what the handler holds; rq is freed after it. */
void control_on_end(struct control_request *rq, void (*fn)(void *arg), void *arg);
struct control_env *control_env_of(struct control_request *rq);
struct loop *control_loop(struct control_request *rq);

#endif
