/* SPDX-License-Identifier: MIT */
/* control/control.h: the control API: HTTP/JSON on the Unix socket and on control.http.   layer:
 * app
 *
 * Shape   a table of routes (control_routes in control_api.c); a handler answers at once or later,
 * once, by control_reply. What changes state runs on worker 0; other workers are asked by mail.
 * Login   Unix socket: who can open it (mode 0660, peer credentials noted). HTTP: a bearer token,
 * Host and Origin checked; /healthz, /readyz and, from the loopback, /metrics need none. Limits
 * CONTROL_CONNECTIONS at once, CONTROL_BODY_MAX a request, CONTROL_TIME for one to arrive. Threads
 * worker 0.
 */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H
#include "routing/routing.h"
#include "sock/sock.h"
#include "store/store.h"

enum { CONTROL_CONNECTIONS = 64, CONTROL_BODY_MAX = 1024 * 1024 };
#define CONTROL_TIME (10 * USEC_S)

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
    sv config_file;            /* or SV_NONE */
    /* Answers rq (now or later) with the outcome of a reload. */
    void (*reload)(void *arg, struct control_request *rq, bool rollback);
    void *arg;
};

MUST_USE enum err control_new(struct loop *l, struct control_env *env, sv token,
                              struct control **ret_control);
void control_free(struct control *c);
/* Errors: as stream_listen_unix, stream_listen. */
MUST_USE enum err control_listen_unix(struct control *c, sv path);
MUST_USE enum err control_listen_http(struct control *c, const struct addr *bind);

/* Answers and ends rq. type: e.g. application/json. body is copied. */
void control_reply(struct control_request *rq, unsigned status, sv type, sv body);
/* {"error": text} */
void control_error(struct control_request *rq, unsigned status, const char *text);
struct control_env *control_env_of(struct control_request *rq);
struct loop *control_loop(struct control_request *rq);

#endif
