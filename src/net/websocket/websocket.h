/* SPDX-License-Identifier: MIT */
/* websocket/websocket.h: WebSocket, the server's side, as a stream of messages.     layer: net
 *
 * Spec    RFC 6455, strictly (masking, reserved bits, fragments, UTF-8, close codes); no extensions
 *         (no compression). Framing by wslay.
 * Shape   websocket_accept answers an upgrade request and gives a struct stream: each on_data is one
 *         whole message, each stream_send is one message of the kind given. stream_pause,
 *         queue_max and stream_close (which says a Close frame first) work as on others.
 * Alive   a ping after `ping` of silence from the peer, the end with ERR_TIMEOUT when nothing at all
 *         came for another `ping`. Pings are answered, at most so many unwritten pongs are held.
 * Limits  message_max octets a message: else Close 1009 and on_close(ERR_TOOBIG). Fragments and
 *         control frames are counted against it; a message must be whole within message_time.
 * Threads the loop's.
 */
#ifndef WEBSOCKET_WEBSOCKET_H
#define WEBSOCKET_WEBSOCKET_H
#include "http/http.h"

struct websocket_config {
    sv protocol; /* the sub-protocol that was chosen: "sip" */
    bool text;   /* kind of what we send */
    size_t message_max;
    usec message_time, ping;
};
/* On success h is gone and the stream is its caller's; local, peer, tls_peer are those of the
 * connection. What came behind the request is delivered in a later turn. Errors: ERR_SYNTAX (the request is no upgrade;
 * h and its request stay), ERR_NOMEM. */
MUST_USE enum err websocket_accept(struct http *h, const struct http_request *rq,
                                   const struct websocket_config *c,
                                   const struct stream_handler *sh, void *arg,
                                   struct stream **ret_stream);

#endif
