/* SPDX-License-Identifier: MIT */
/* HTTP/1.1 for the control API: one request of a connection at a time, fed octets by net, parsed by
 * http-parser.
 *
 *   idle ── octets ──► arriving ── complete ──► answering ── keep-alive ──► idle
 *                          └─ refused ─► closing ◄─ else ──┘
 *
 * While it answers nothing is read, so a client that leaves is noticed with the next read or write;
 * its request then has no connection and its answer goes nowhere. */
#include <http_parser.h>
#include <unistd.h>

#include "control/control_priv.h"
#include "crypto/crypto.h"
#include "log/log.h"

enum { TARGET_MAX = 2048, HEADER_MAX = 512, HEADERS_MAX = 64 };

/* The headers that we look at. */
enum header { H_HOST, H_ORIGIN, H_AUTHORIZATION, HEADERS };

struct connection {
    struct link by_control;
    struct control *control;
    struct stream *stream;
    bool unix_socket;
    struct timer deadline;
    http_parser parser;
    struct control_request *rq; /* being answered */
    char target_mem[TARGET_MAX], field_mem[64], value_mem[HEADER_MAX];
    struct buf target, field, value;
    char header[HEADERS][HEADER_MAX];
    bool seen[HEADERS];
    unsigned headers;
    bool in_value;   /* the last piece of a header was of its value */
    unsigned status; /* why the request is refused while it arrives; 0: it is not */
    char *body;      /* body_cap octets, wiped when freed */
    size_t body_n, body_cap;
    bool keep, begun, closing;
};

struct control {
    struct loop *loop;
    struct control_env *env;
    char token[128];
    struct link connections, requests;
    unsigned count[2]; /* HTTP, Unix: neither can shut the other out */
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

void control_on_end(struct control_request *rq, void (*fn)(void *arg), void *arg)
{
    rq->on_end = fn;
    rq->on_end_arg = arg;
}

/* ---- requests and connections ---- */

static void request_free(struct control_request *rq)
{
    list_unlink(&rq->by_control);
    if (rq->body.p) {
        crypto_wipe((char *)(uintptr_t)rq->body.p, rq->body.n);
        mem_free((char *)(uintptr_t)rq->body.p);
    }
    arena_done(&rq->arena);
    mem_free(rq);
}

static void body_drop(struct connection *c)
{
    if (c->body)
        crypto_wipe(c->body, c->body_cap);
    mem_free(c->body);
    c->body = NULL;
    c->body_n = c->body_cap = 0;
}

/* Ready for the next request. */
static void connection_reset(struct connection *c)
{
    buf_init(&c->target, c->target_mem, sizeof(c->target_mem));
    buf_init(&c->field, c->field_mem, sizeof(c->field_mem));
    buf_init(&c->value, c->value_mem, sizeof(c->value_mem));
    body_drop(c);
    crypto_wipe(c->header, sizeof(c->header));
    memset(c->seen, 0, sizeof(c->seen));
    c->headers = 0;
    c->in_value = c->begun = false;
    c->status = 0;
}

static void connection_free(struct connection *c)
{
    if (c->rq)
        c->rq->conn = NULL; /* answered later, to nobody */
    loop_timer_cancel(c->control->loop, &c->deadline);
    list_unlink(&c->by_control);
    c->control->count[c->unix_socket]--;
    body_drop(c);
    crypto_wipe(c->header, sizeof(c->header));
    mem_free(c);
}

static void finish(struct connection *c)
{
    stream_close(c->stream, true);
    connection_free(c);
}

/* Ends the connection once what it was answered has been written. */
static void close_written(struct connection *c)
{
    if (c->stream->queued == 0) {
        finish(c);
        return;
    }
    c->closing = true;
    stream_pause(c->stream, true);
    loop_timer(c->control->loop, &c->deadline, CONTROL_IDLE);
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
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 411:
        return "Length Required";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 422:
        return "Unprocessable Content";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

/* False: it could not be sent. */
static bool send_response(struct connection *c, unsigned status, sv type, sv allow, sv body)
{
    char mem[512];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_printf(&b, "HTTP/1.1 %u %s\r\nContent-Type: " SV_FMT "\r\nContent-Length: %zu\r\n", status,
               reason(status), SV_ARG(type), body.n);
    buf_str(&b, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
    if (status == 401)
        buf_str(&b, "WWW-Authenticate: Bearer\r\n");
    if (allow.n) /* RFC 9110 §15.5.6: a 405 MUST have it */
        buf_printf(&b, "Allow: " SV_FMT "\r\n", SV_ARG(allow));
    buf_str(&b, c->keep ? "\r\n" : "Connection: close\r\n\r\n");
    sv pieces[] = {buf_sv(&b), body};
    c->stream->queue_max = body.n + STREAM_QUEUE_MAX; /* one answer at a time */
    return stream_send(c->stream, pieces, c->parser.method == HTTP_HEAD ? 1 : 2) == ERR_OK;
}

void control_reply(struct control_request *rq, unsigned status, sv type, sv body)
{
    struct connection *c = rq->conn;
    if (c) {
        c->rq = NULL;
        bool sent = send_response(c, status, type, rq->allow, body);
        if (!sent) {
            finish(c);
        } else if (c->keep) {
            connection_reset(c);
            http_parser_pause(&c->parser, 0);
            stream_pause(c->stream, false);
            loop_timer(c->control->loop, &c->deadline, CONTROL_IDLE);
        } else {
            close_written(c);
        }
    }
    request_free(rq);
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

/* Answers what never became a request. */
static void refuse(struct connection *c, unsigned status)
{
    char mem[64];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_printf(&b, "{\"error\": \"%s\"}\n", reason(status));
    c->keep = false;
    if (send_response(c, status, SV("application/json"), SV_NONE, buf_sv(&b)))
        close_written(c);
    else
        finish(c);
}

/* ---- login ---- */

/* Host must name the loopback, or the address that the peer reached; a foreign page's script cannot
 * forge it (DNS rebinding). */
static bool host_ok(struct connection *c)
{
    char mem[80];
    struct buf b;
    sv host = sv_of(c->header[H_HOST]);
    const struct addr *local = &c->stream->local;
    char port[8] = "";
    buf_init(&b, port, sizeof(port));
    if (local->port != 80) /* RFC 9110 §4.2.1: the default port may be left out */
        buf_printf(&b, ":%u", local->port);
    sv end = buf_sv(&b);
    if (local->port == 80 && sv_ends(host, SV(":80")))
        host.n -= 3;
    if (!sv_ends(host, end))
        return false;
    host.n -= end.n;
    if (addr_class(local) == ADDR_LOOPBACK && sv_ieq(host, SV("localhost")))
        return true;
    buf_init(&b, mem, sizeof(mem));
    addr_print_host(&b, local);
    return !b.rc && sv_ieq(host, buf_sv(&b));
}

/* No browser's page but our own: RFC 6454 §7. */
static bool origin_ok(struct connection *c)
{
    sv origin = sv_of(c->header[H_ORIGIN]);
    if (!c->seen[H_ORIGIN])
        return true;
    return sv_starts(origin, SV("http://")) &&
           sv_ieq(sv_sub(origin, 7, origin.n), sv_of(c->header[H_HOST]));
}

static bool token_ok(struct connection *c)
{
    static const sv scheme = {"bearer ", 7};
    sv value = sv_of(c->header[H_AUTHORIZATION]);
    size_t n = strlen(c->control->token);
    if (n == 0 || !sv_ieq(sv_sub(value, 0, scheme.n), scheme))
        return false;
    value = sv_trim(sv_sub(value, scheme.n, value.n));
    return value.n == n && crypto_equal(value.p, c->control->token, n);
}

/* 0, or the status that refuses. */
static unsigned login(struct connection *c)
{
    sv target = buf_sv(&c->target);
    if (c->unix_socket)
        return 0;
    if (!host_ok(c) || !origin_ok(c))
        return 403;
    if (control_open(sv_sub(target, 0, sv_chr(target, '?')), &c->stream->peer) || token_ok(c))
        return 0;
    return 401;
}

bool control_is_owner(const struct control_request *rq)
{
    if (!rq->conn || !rq->conn->unix_socket)
        return false;
    uint32_t uid = rq->conn->stream->peer_uid;
    return uid == 0 || uid == geteuid();
}

/* ---- http-parser's callbacks: -1 refuses with c->status ---- */

static int refused(struct connection *c, unsigned status)
{
    c->status = status;
    return -1;
}

/* A header is complete. */
static int header_done(struct connection *c)
{
    static const sv names[HEADERS] = {
        [H_HOST] = {"host", 4},
        [H_ORIGIN] = {"origin", 6},
        [H_AUTHORIZATION] = {"authorization", 13},
    };
    sv value = sv_trim(buf_sv(&c->value));
    /* RFC 9112 §5.1: blanks before the colon MUST be refused; http-parser lets them pass. */
    int rc = sv_chr(buf_sv(&c->field), ' ') < c->field.n ? refused(c, 400) : 0;
    for (int i = 0; i < HEADERS && !c->field.rc; i++) {
        if (!sv_ieq(buf_sv(&c->field), names[i]))
            continue;
        /* Two of them, or one cut short, would say something else to the next reader. RFC 9112
         * §3.2: more than one Host is a 400. */
        if (c->seen[i])
            rc = refused(c, 400);
        else if (c->value.rc || value.n >= HEADER_MAX)
            rc = refused(c, 431);
        else if (value.n)
            memcpy(c->header[i], value.p, value.n);
        c->seen[i] = true;
    }
    buf_reset(&c->field);
    buf_reset(&c->value);
    c->in_value = false;
    return rc;
}

static int on_url(http_parser *p, const char *at, size_t n)
{
    struct connection *c = p->data;
    buf_mem(&c->target, at, n);
    return c->target.rc ? refused(c, 414) : 0;
}

static int on_field(http_parser *p, const char *at, size_t n)
{
    struct connection *c = p->data;
    if (c->in_value && header_done(c))
        return -1;
    if (c->field.n == 0 && !c->field.rc && ++c->headers > HEADERS_MAX)
        return refused(c, 431);
    buf_mem(&c->field, at, n); /* one that does not fit is none that we know */
    return 0;
}

static int on_value(http_parser *p, const char *at, size_t n)
{
    struct connection *c = p->data;
    c->in_value = true; /* also of an empty one */
    buf_mem(&c->value, at, n);
    return 0;
}

static int on_headers(http_parser *p)
{
    struct connection *c = p->data;
    if (c->in_value && header_done(c))
        return -1;
    unsigned status = login(c);
    if (status)
        return refused(c, status);
    if (p->flags & F_CHUNKED)
        return refused(c, 411);
    if (p->content_length == UINT64_MAX || p->content_length == 0)
        return 0;
    if (p->content_length > CONTROL_BODY_MAX)
        return refused(c, 413);
    c->body_cap = (size_t)p->content_length;
    c->body = mem_alloc(c->body_cap);
    return c->body ? 0 : refused(c, 503);
}

static int on_body(http_parser *p, const char *at, size_t n)
{
    struct connection *c = p->data;
    if (n > c->body_cap - c->body_n)
        return refused(c, 413);
    memcpy(c->body + c->body_n, at, n);
    c->body_n += n;
    return 0;
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

static void dispatch(struct connection *c)
{
    sv target = buf_sv(&c->target);
    struct control_request *rq = MEM_NEW(struct control_request);
    if (!rq) {
        refuse(c, 503);
        return;
    }
    rq->control = c->control;
    rq->conn = c;
    rq->method = sv_of(http_method_str((enum http_method)c->parser.method));
    arena_init(&rq->arena, NULL, 0, CONTROL_BODY_MAX);
    list_push(&c->control->requests, &rq->by_control);
    c->rq = rq;
    rq->body = (sv){c->body, c->body_n};
    c->body = NULL;
    c->body_n = c->body_cap = 0;
    stream_pause(c->stream, true);
    loop_timer(c->control->loop, &c->deadline, CONTROL_ANSWER_TIME);
    if (sv_dup(&rq->arena, sv_sub(target, 0, sv_chr(target, '?')), &rq->path))
        control_error(rq, 503, "out of memory");
    else
        control_route(rq);
}

/* ---- the stream ---- */

static void on_data(void *arg, sv octets)
{
    struct connection *c = arg;
    if (!c->begun) {
        c->begun = true;
        loop_timer(c->control->loop, &c->deadline, CONTROL_TIME);
    }
    size_t n = http_parser_execute(&c->parser, &callbacks, octets.p, octets.n);
    enum http_errno e = HTTP_PARSER_ERRNO(&c->parser);
    if (e == HPE_PAUSED) {
        /* What came behind the request is not kept: no pipelining, and no other protocol. */
        c->keep = http_should_keep_alive(&c->parser) && n == octets.n && !c->parser.upgrade;
        dispatch(c);
    } else if (e != HPE_OK || c->parser.upgrade) {
        refuse(c, c->status ? c->status : e == HPE_HEADER_OVERFLOW ? 431 : 400);
    }
}

static void on_drain(void *arg)
{
    struct connection *c = arg;
    if (c->closing)
        finish(c);
}

static void on_close(void *arg, enum err why)
{
    (void)why;
    connection_free(arg);
}

static void on_deadline(struct timer *t, void *arg)
{
    (void)t;
    struct connection *c = arg;
    if (c->rq) {
        c->rq->conn = NULL;
        c->rq = NULL;
        LOG_WARN("control", "answer.late", F_INT("seconds", CONTROL_ANSWER_TIME / USEC_S));
        refuse(c, 503);
    } else if (c->begun && !c->closing) {
        refuse(c, 408);
    } else {
        finish(c);
    }
}

static const struct stream_handler stream_handler = {
    .on_data = on_data, .on_drain = on_drain, .on_close = on_close};

static void on_accept(void *arg, struct stream *s)
{
    struct control *c = arg;
    bool unix_socket = s->peer.family == 0;
    struct connection *conn =
        c->count[unix_socket] < CONTROL_CONNECTIONS ? MEM_NEW(struct connection) : NULL;
    if (!conn) {
        stat_refuse(&c->loop->stats, STAT_LIMIT_CONTROL);
        stream_close(s, false);
        return;
    }
    conn->control = c;
    conn->stream = s;
    conn->unix_socket = unix_socket;
    http_parser_init(&conn->parser, HTTP_REQUEST);
    conn->parser.data = conn;
    connection_reset(conn);
    timer_init(&conn->deadline, on_deadline, conn);
    loop_timer(c->loop, &conn->deadline, CONTROL_TIME);
    list_push(&c->connections, &conn->by_control);
    c->count[unix_socket]++;
    stream_handle(s, &stream_handler, conn);
}

static const struct listener_handler listener_handler = {.on_accept = on_accept};

enum err control_new(struct loop *l, struct control_env *env, sv token,
                     struct control **ret_control)
{
    struct control *c = MEM_NEW(struct control);
    if (!c)
        return ERR_NOMEM;
    if (token.n >= sizeof(c->token)) {
        mem_free(c);
        return ERR_TOOBIG;
    }
    c->loop = l;
    c->env = env;
    list_init(&c->connections);
    list_init(&c->requests);
    if (token.n)
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
    LIST_EACH_SAFE (rq, &c->requests, struct control_request, by_control) {
        if (rq->on_end)
            rq->on_end(rq->on_end_arg);
        request_free(rq);
    }
    crypto_wipe(c->token, sizeof(c->token));
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
