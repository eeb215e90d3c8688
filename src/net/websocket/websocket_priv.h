/* SPDX-License-Identifier: MIT */
/* websocket_priv.h: the handshake (websocket_accept.c) and the messages after it (websocket.c). */
#ifndef WEBSOCKET_PRIV_H
#define WEBSOCKET_PRIV_H
#include "websocket/websocket.h"
#include <wslay/wslay.h>

struct websocket;
/* NULL: out of memory. */
struct websocket *websocket_new(const struct websocket_config *c, const struct stream_handler *h,
                                void *arg);
void websocket_free(struct websocket *w); /* one that never started; NULL is fine */
/* lower and rest are w's from here on; w is its stream's. */
struct stream *websocket_start(struct websocket *w, struct stream *lower, struct buf *rest);

#endif
