/* SPDX-License-Identifier: MIT */
/* HTTP/1.1 for the control API: one request a connection at a time, fed octets by net, parsed by
 * http-parser. */
#include <http_parser.h>
#include <unistd.h>

#include "control/control_priv.h"
#include "crypto/crypto.h"
#include "log/log.h"

enum { TARGET_MAX = 2048, HEADER_MAX = 512, HEADERS_MAX = 64 };

struct connection {
    struct link by_control;
    struct control *control;
    struct stream *stream;
    bool unix_socket;
    struct timer deadline;
    http_parser parser;
    struct control_request *rq; /* being answered */
    char target_mem[TARGET_MAX], field_mem[64], value_mem[HEADER_MAX];
    struct buf target, field, value, body;
    char host[HEADER_MAX], origin[HEADER_MAX], token[HEADER_MAX];
    unsigned headers;
    bool too_big, keep;
};

struct control {
    struct loop *loop;
    struct control_env *env;
    char token[128];
    struct link connections;
    unsigned count;
    struct listener *on_unix, *on_http;
};

struct control_env *control_env_of(struct control_request *rq)
{
    return rq->control->env;
}

struct loop *control_loop(struct control_request *rq)
{
    return rq->control->loop;
}

/* ---- connections ---- */

static void request_reset(struct connection *c)
{
    buf_init(&c->target, c->target_mem, sizeof(c->target_mem));
    buf_init(&c->field, c->field_mem, sizeof(c->field_mem));
    buf_init(&c->value, c->value_mem, sizeof(c->value_mem));
    buf_reset(&c->body);
    c->host[0] = c->origin[0] = c->token[0] = '\0';
    c->headers = 0;
    c->too_big = false;
}

static void connection_free(struct connection *c)
{
    if (c->rq)
        c->rq->conn = NULL; /* answered later, to nobody */
    loop_timer_cancel(c->control->loop, &c->deadline);
    list_unlink(&c->by_control);
    c->control->count--;
    buf_done(&c->body);
    mem_free(c);
}

static void finish(struct connection *c)
{
    stream_close(c->stream, true);
    connection_free(c);
}

static const char *reason(unsigned status)
{
    switch (status) {
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 413:
        return "Content Too Large";
    case 422:
        return "Unprocessable Content";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

static void send_response(struct connection *c, unsigned status, sv type, sv body)
{
    char mem[512];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_printf(&b, "HTTP/1.1 %u %s\r\nContent-Type: " SV_FMT "\r\nContent-Length: %zu\r\n", status,
               reason(status), SV_ARG(type), body.n);
    buf_str(&b, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
    if (status == 401)
        buf_str(&b, "WWW-Authenticate: Bearer\r\n");
    buf_str(&b, c->keep ? "\r\n" : "Connection: close\r\n\r\n");
    sv pieces[] = {buf_sv(&b), body};
    c->stream->queue_max = body.n + STREAM_QUEUE_MAX; /* one answer at a time */
    if (stream_send(c->stream, pieces, 2) != ERR_OK)
        c->keep = false;
}

void control_reply(struct control_request *rq, unsigned status, sv type, sv body)
{
    struct connection *c = rq->conn;
    if (c) {
        c->rq = NULL;
        send_response(c, status, type, body);
        if (c->keep) {
            request_reset(c);
            http_parser_pause(&c->parser, 0);
            stream_pause(c->stream, false);
            loop_timer(c->control->loop, &c->deadline, CONTROL_TIME * 6);
        } else {
            finish(c);
        }
    }
    arena_done(&rq->arena);
    mem_free(rq);
}

void control_error(struct control_request *rq, unsigned status, const char *text)
{
    char mem[1024];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_str(&b, "{\"error\": \"");
    buf_json(&b, sv_of(text));
    buf_str(&b, "\"}\n");
    control_reply(rq, status, SV("application/json"),
                  b.rc ? SV("{\"error\": \"\"}\n") : buf_sv(&b));
}

/* ---- login ---- */

/* Host must name the loopback, or the address that the peer reached; a foreign page's script cannot
 * forge it (DNS rebinding). */
static bool host_ok(struct connection *c)
{
    char mem[80];
    struct buf b;
    sv host = sv_of(c->host);
    buf_init(&b, mem, sizeof(mem));
    addr_print(&b, &c->stream->local);
    if (sv_eq(host, buf_sv(&b)))
        return true;
    buf_reset(&b);
    buf_printf(&b, "localhost:%u", c->stream->local.port);
    return sv_ieq(host, buf_sv(&b));
}

static bool origin_ok(struct connection *c)
{
    sv origin = sv_of(c->origin);
    if (origin.n == 0)
        return true;
    return sv_starts(origin, SV("http://")) && sv_ieq(sv_sub(origin, 7, origin.n), sv_of(c->host));
}

static unsigned login(struct connection *c, sv path)
{
    if (c->unix_socket)
        return 200;
    if (!host_ok(c) || !origin_ok(c))
        return 403;
    if (control_open(path, &c->stream->peer))
        return 200;
    size_t n = strlen(c->control->token);
    if (n == 0 || strlen(c->token) != n || !crypto_equal(c->token, c->control->token, n))
        return 401;
    return 200;
}

bool control_is_owner(const struct control_request *rq)
{
    if (!rq->conn || !rq->conn->unix_socket)
        return false;
    uint32_t uid = rq->conn->stream->peer_uid;
    return uid == 0 || uid == geteuid();
}

/* ---- http-parser's callbacks ---- */

static void header_done(struct connection *c)
{
    sv name = buf_sv(&c->field), value = buf_sv(&c->value);
    char *to = NULL;
    if (sv_ieq(name, SV("host")))
        to = c->host;
    else if (sv_ieq(name, SV("origin")))
        to = c->origin;
    else if (sv_ieq(name, SV("authorization")) && value.n > 7 &&
             sv_ieq(sv_sub(value, 0, 7), SV("bearer ")))
        to = c->token;
    if (to == c->token && to)
        value = sv_sub(value, 7, value.n);
    if (to && value.n < HEADER_MAX) {
        memcpy(to, value.p, value.n);
        to[value.n] = '\0';
    }
    buf_reset(&c->field);
    buf_reset(&c->value);
}

static int on_url(http_parser *p, const char *at, size_t n)
{
    struct connection *c = p->data;
    buf_mem(&c->target, at, n);
    return c->target.rc ? -1 : 0;
}

static int on_field(http_parser *p, const char *at, size_t n)
{
    struct connection *c = p->data;
    if (c->value.n || c->value.rc) {
        header_done(c);
        if (++c->headers > HEADERS_MAX)
            return -1;
    }
    buf_mem(&c->field, at, n); /* one that does not fit is none that we know */
    return 0;
}

static int on_value(http_parser *p, const char *at, size_t n)
{
    struct connection *c = p->data;
    buf_mem(&c->value, at, n);
    return 0;
}

static int on_headers(http_parser *p)
{
    struct connection *c = p->data;
    header_done(c);
    if (p->content_length != UINT64_MAX && p->content_length > CONTROL_BODY_MAX)
        c->too_big = true;
    return 0;
}

static int on_body(http_parser *p, const char *at, size_t n)
{
    struct connection *c = p->data;
    if (!c->too_big)
        buf_mem(&c->body, at, n);
    if (c->body.rc)
        c->too_big = true;
    return c->too_big ? -1 : 0;
}

static int on_complete(http_parser *p)
{
    http_parser_pause(p, 1);
    return 0;
}

static const http_parser_settings callbacks = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_headers,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

static void refuse(struct connection *c, unsigned status)
{
    char mem[64];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_printf(&b, "{\"error\": \"%s\"}\n", reason(status));
    c->keep = false;
    send_response(c, status, SV("application/json"), buf_sv(&b));
    finish(c);
}

static void dispatch(struct connection *c)
{
    sv target = buf_sv(&c->target);
    sv path = sv_sub(target, 0, sv_chr(target, '?'));
    unsigned status = login(c, path);
    if (status != 200) {
        refuse(c, status);
        return;
    }
    struct control_request *rq = MEM_NEW(struct control_request);
    if (!rq) {
        refuse(c, 503);
        return;
    }
    rq->control = c->control;
    rq->conn = c;
    rq->method = sv_of(http_method_str((enum http_method)c->parser.method));
    arena_init(&rq->arena, NULL, 0, 2 * CONTROL_BODY_MAX);
    c->rq = rq;
    loop_timer_cancel(c->control->loop, &c->deadline);
    stream_pause(c->stream, true);
    if (sv_dup(&rq->arena, path, &rq->path) || sv_dup(&rq->arena, buf_sv(&c->body), &rq->body))
        control_error(rq, 503, "out of memory");
    else
        control_route(rq);
}

/* ---- the stream ---- */

static void on_data(void *arg, sv octets)
{
    struct connection *c = arg;
    if (c->rq)
        return; /* pipelining is not offered: the reading was paused */
    size_t n = http_parser_execute(&c->parser, &callbacks, octets.p, octets.n);
    enum http_errno e = HTTP_PARSER_ERRNO(&c->parser);
    if (e == HPE_PAUSED) {
        c->keep = http_should_keep_alive(&c->parser) && n == octets.n;
        dispatch(c);
    } else if (e != HPE_OK || c->parser.upgrade) {
        refuse(c, c->too_big ? 413 : 400);
    }
}

static void on_close(void *arg, enum err why)
{
    (void)why;
    connection_free(arg);
}

static void on_deadline(struct timer *t, void *arg)
{
    (void)t;
    finish(arg);
}

static const struct stream_handler stream_handler = {.on_data = on_data, .on_close = on_close};

static void on_accept(void *arg, struct stream *s)
{
    struct control *c = arg;
    struct connection *conn = c->count < CONTROL_CONNECTIONS ? MEM_NEW(struct connection) : NULL;
    if (!conn) {
        stat_refuse(&c->loop->stats, STAT_LIMIT_CONTROL);
        stream_close(s, false);
        return;
    }
    conn->control = c;
    conn->stream = s;
    conn->unix_socket = s->peer.family == 0;
    http_parser_init(&conn->parser, HTTP_REQUEST);
    conn->parser.data = conn;
    buf_init_heap(&conn->body, CONTROL_BODY_MAX);
    request_reset(conn);
    timer_init(&conn->deadline, on_deadline, conn);
    loop_timer(c->loop, &conn->deadline, CONTROL_TIME);
    list_push(&c->connections, &conn->by_control);
    c->count++;
    stream_handle(s, &stream_handler, conn);
}

static const struct listener_handler listener_handler = {.on_accept = on_accept};

enum err control_new(struct loop *l, struct control_env *env, sv token,
                     struct control **ret_control)
{
    struct control *c = MEM_NEW(struct control);
    if (!c)
        return ERR_NOMEM;
    c->loop = l;
    c->env = env;
    list_init(&c->connections);
    if (token.n < sizeof(c->token))
        memcpy(c->token, token.p, token.n);
    *ret_control = c;
    return ERR_OK;
}

void control_free(struct control *c)
{
    if (!c)
        return;
    listener_close(c->on_unix);
    listener_close(c->on_http);
    LIST_EACH_SAFE (conn, &c->connections, struct connection, by_control) {
        stream_close(conn->stream, false);
        connection_free(conn);
    }
    mem_free(c);
}

enum err control_listen_unix(struct control *c, sv path)
{
    return stream_listen_unix(c->loop, path, 0660, &listener_handler, c, &c->on_unix);
}

enum err control_listen_http(struct control *c, const struct addr *bind)
{
    return stream_listen(c->loop, bind, &listener_handler, c, &c->on_http);
}
