/* SPDX-License-Identifier: MIT */
/* control_priv.h: connections (control.c) and the routes (control_api.c) among themselves. */
#ifndef CONTROL_PRIV_H
#define CONTROL_PRIV_H
#include "control/control.h"

struct control_request {
    struct control *control;
    struct link by_control;
    struct connection *conn; /* NULL: the client has gone */
    sv method, path, query;  /* path: without the query */
    sv body;                 /* may hold a password: wiped with the request */
    sv allow;                /* of a 405 */
    void (*on_end)(void *arg);
    void *on_end_arg;
    struct arena arena;
};

/* Asked over the Unix socket by root or by the user that we run as. */
bool control_is_owner(const struct control_request *rq);
/* Answers rq, now or later. */
void control_route(struct control_request *rq);
/* What follows `before` in the path, with %HH undone, in a. Returns what is wrong with it, or NULL. */
const char *control_rest(const struct control_request *rq, sv before, struct arena *a, sv *ret);
/* A member of a JSON object: "name": "value". */
void control_put_text(struct buf *b, const char *name, sv value);
void control_put_time(struct buf *b, const char *name, usec wall);
/* control_accounts.c */
void control_accounts_list(struct control_request *rq);
void control_accounts_export(struct control_request *rq);
void control_account_add(struct control_request *rq);
void control_account_set(struct control_request *rq);
void control_account_remove(struct control_request *rq);
/* control_cert.c */
void control_certificates(struct control_request *rq);
/* control_records.c */
void control_records(struct control_request *rq);
/* control_turn.c */
void control_turn(struct control_request *rq);
/* No login needed for this path from this peer. */
bool control_open(sv path, const struct addr *peer);

#endif
