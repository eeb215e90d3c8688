/* SPDX-License-Identifier: MIT */
/* http/http.h: the server's side of HTTP/1.1 on one stream.                     layer: net
 *
 * Spec    RFC 9110, RFC 9112. Read by http-parser, fed with octets; strict where it is not (no blank
 *         in a field name, no folded or bare line ends, one Host at most, one Content-Length).
 * Shape   a struct http owns its stream. on_head sees each request before its body is taken and may
 *         refuse it; on_request has it whole and answers with http_reply, now or later, or gives the
 *         stream away (websocket/websocket.h). One request at a time; no pipelining, no chunked bodies.
 * Life    on_end is the last call, unless http_close came first. Everything in a request lives until
 *         its reply.
 * Limits  by http_limits: sizes, and times for head, body and silence; all enforced here.
 * Threads the loop's.
 */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H
#include "mem/arena.h"
#include "sock/sock.h"

enum { HTTP_FIELDS_MAX = 64, HTTP_TARGET_MAX = 2048 };
struct http;
struct http_field {
    sv name, value;
};
struct http_limits {
    size_t head_max, body_max; /* octets */
    usec head_time,
        body_time;     /* of the head from its first octet, of the body from the head's end */
    usec idle;         /* between requests; before the first: head_time if that is less */
    unsigned requests; /* of one connection; 0: any number */
};
struct http_request {
    sv method, target, path, query; /* path: target without the query */
    const struct http_field *fields;
    size_t n;
    sv body;
    bool websocket; /* asks for the upgrade; websocket_accept checks the rest (RFC 6455 §4.2.1) */
    struct arena *arena;
};
struct http_handler {
    /* 0: go on; else the status that refuses it, after which the connection ends. May be NULL. */
    unsigned (*on_head)(void *arg, const struct http_request *rq);
    void (*on_request)(void *arg, const struct http_request *rq);
    void (*on_end)(void *arg, enum err why);
    /* A request is refused with this status before on_request. http_reply_last may give it words and
     * fields of the user's; if not, or NULL: a line of plain text. */
    void (*on_refuse)(void *arg, unsigned status);
};
/* Value of a field; names compare without case. Absent: SV_NONE. Twice: the first. */
sv http_field(const struct http_request *rq, sv name);
size_t http_field_count(const struct http_request *rq, sv name);
/* Among the comma-separated words of all fields of that name; compared without case. */
bool http_field_has(const struct http_request *rq, sv name, sv word);

/* s becomes the connection's. Errors: ERR_NOMEM; s stays the caller's. */
MUST_USE enum err http_new(struct loop *l, struct stream *s, const struct http_limits *limits,
                           const struct http_handler *h, void *arg, struct http **ret_http);
/* fields: whole lines with CRLF, or SV_NONE. type: Content-Type, SV_NONE: none. Copied. HEAD gets no
 * body. Nothing when there is no request to answer. */
void http_reply(struct http *h, unsigned status, sv fields, sv type, sv body);
/* As http_reply, then the connection ends (on_end, in a later turn or at the end of this one) when it
 * is written. */
void http_reply_last(struct http *h, unsigned status, sv fields, sv type, sv body);
/* No more calls. NULL is fine. */
void http_close(struct http *h, bool flush);
const struct stream *http_stream(const struct http *h);
/* The stream leaves, paused and with our handlers still set; the connection is gone, its request when
 * on_request returns. rest: the octets that came behind an upgrade request; the caller's to
 * buf_done. For websocket.c. */
struct stream *http_give(struct http *h, struct buf *ret_rest);
const char *http_reason(unsigned status);

#endif
