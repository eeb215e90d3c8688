/* SPDX-License-Identifier: MIT */
/* websocket/websocket.h: WebSocket, the server's side, as a stream of messages.     layer: net
 *
 * Spec    RFC 6455, strictly (masking, reserved bits, fragments, UTF-8, close codes); no extensions
 *         (no compression). Framing by wslay.
 * Shape   websocket_accept answers an upgrade request and gives a struct stream: each on_data is one
 *         whole message, each stream_send is one message of the kind given. stream_pause,
 *         queue_max and stream_close (which says a Close frame first) work as on others.
 * Alive   a ping after `ping` of silence from the peer, the end with ERR_TIMEOUT when nothing at all
 *         came for another `ping`; none when ping is 0. Pings are answered; while earlier octets are
 *         unwritten, the latest alone.
 * Ends    on_close: ERR_OK after the peer's Close, ERR_CLOSED without one, ERR_SYNTAX: it broke the
 *         protocol (and was told by a Close: 1002, 1007), ERR_TOOBIG, ERR_TIMEOUT, or the lower stream's.
 * Limits  message_max octets a message: else Close 1009 and on_close(ERR_TOOBIG). Each further frame
 *         of a message, and each control frame between them, counts 16 octets against it; a message must
 *         be whole within message_time of its first octet. WEBSOCKET_HELD_MAX octets of a paused stream
 *         that the lower one had in hand. A message may be empty.
 * Threads the loop's.
 */
#ifndef WEBSOCKET_WEBSOCKET_H
#define WEBSOCKET_WEBSOCKET_H
#include "http/http.h"

enum { WEBSOCKET_HELD_MAX = 256 * 1024 };
struct websocket_config {
    sv protocol; /* the sub-protocol that was chosen: "sip" */
    bool text;   /* kind of what we send; what is not UTF-8 goes as binary all the same */
    size_t message_max;
    usec message_time, ping;
};
/* On success h is gone and the stream is its caller's; local, peer, tls_peer are those of the
 * connection. What came behind the request is delivered in a later turn. Errors: ERR_SYNTAX (no
 * upgrade, another version or protocol; it is answered: 400 or 426, and h ends after that),
 * ERR_NOMEM (h and its request stay, to be answered). */
MUST_USE enum err websocket_accept(struct http *h, const struct http_request *rq,
                                   const struct websocket_config *c,
                                   const struct stream_handler *sh, void *arg,
                                   struct stream **ret_stream);

#endif
