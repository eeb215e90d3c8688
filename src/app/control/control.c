/* SPDX-License-Identifier: MIT */
/* Connections of the control API: net/http reads them and answers; who may ask is decided here, with
 * the head and before a body is taken.
 *
 * A request lives until its answer, which may come after the client has left: it then has no
 * connection, and its answer goes nowhere. */
#include <unistd.h>

#include "control/control_priv.h"
#include "crypto/crypto.h"
#include "http/http.h"
#include "log/log.h"

enum { HEAD_MAX = 16 * 1024, VALUE_MAX = 512 };

struct connection {
    struct link by_control;
    struct control *control;
    struct http *http;
    bool unix_socket;
    struct timer late;
    struct control_request *rq; /* being answered */
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

static void connection_free(struct connection *c)
{
    if (c->rq)
        c->rq->conn = NULL; /* answered later, to nobody */
    loop_timer_cancel(c->control->loop, &c->late);
    list_unlink(&c->by_control);
    c->control->count[c->unix_socket]--;
    mem_free(c);
}

/* ---- answers ---- */

#define FIELDS "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"

void control_reply(struct control_request *rq, unsigned status, sv type, sv body)
{
    struct connection *c = rq->conn;
    if (c) {
        char mem[256];
        struct buf fields;
        buf_init(&fields, mem, sizeof(mem));
        buf_str(&fields, FIELDS);
        if (rq->allow.n) /* RFC 9110 §15.5.6: a 405 MUST have it */
            buf_printf(&fields, "Allow: " SV_FMT "\r\n", SV_ARG(rq->allow));
        c->rq = NULL;
        loop_timer_cancel(c->control->loop, &c->late);
        http_reply(c->http, status, buf_sv(&fields), type, body);
    }
    request_free(rq);
}

static void put_error(struct buf *b, const char *text)
{
    buf_str(b, "{\"error\": \"");
    buf_json(b, sv_of(text));
    buf_str(b, "\"}\n");
}

void control_error(struct control_request *rq, unsigned status, const char *text)
{
    char mem[1024];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    put_error(&b, text);
    control_reply(rq, status, SV("application/json"),
                  b.rc ? SV("{\"error\": \"\"}\n") : buf_sv(&b));
}

/* Answers what is no request of the API's, or is none any more. */
static void on_refuse(void *arg, unsigned status)
{
    struct connection *c = arg;
    char mem[128];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    put_error(&b, http_reason(status));
    http_reply_last(c->http, status,
                    status == 401 ? SV(FIELDS "WWW-Authenticate: Bearer\r\n") : SV(FIELDS),
                    SV("application/json"), buf_sv(&b));
}

/* ---- login ---- */

/* Host must name the loopback, or the address that the peer reached; a foreign page's script cannot
 * forge it (DNS rebinding). */
static bool host_ok(const struct addr *local, sv host)
{
    char mem[80];
    struct buf b;
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
static bool origin_ok(sv origin, sv host)
{
    return !sv_present(origin) ||
           (sv_starts(origin, SV("http://")) && sv_ieq(sv_sub(origin, 7, origin.n), host));
}

static bool token_ok(const struct control *c, sv value)
{
    static const sv scheme = {"bearer ", 7};
    size_t n = strlen(c->token);
    if (n == 0 || !sv_ieq(sv_sub(value, 0, scheme.n), scheme))
        return false;
    value = sv_trim(sv_sub(value, scheme.n, value.n));
    return value.n == n && crypto_equal(value.p, c->token, n);
}

/* 0, or the status that refuses. */
static unsigned on_head(void *arg, const struct http_request *rq)
{
    static const sv once[] = {{"Host", 4}, {"Origin", 6}, {"Authorization", 13}};
    struct connection *c = arg;
    const struct stream *s = http_stream(c->http);
    sv value[3];
    for (int i = 0; i < 3; i++) {
        value[i] = http_field(rq, once[i]);
        if (http_field_count(rq, once[i]) > 1) /* the next reader may take the other */
            return 400;
        if (value[i].n >= VALUE_MAX)
            return 431;
    }
    if (c->unix_socket)
        return 0;
    if (!host_ok(&s->local, value[0]) || !origin_ok(value[1], value[0]))
        return 403;
    return control_open(rq->path, &s->peer) || token_ok(c->control, value[2]) ? 0 : 401;
}

bool control_is_owner(const struct control_request *rq)
{
    if (!rq->conn || !rq->conn->unix_socket)
        return false;
    uint32_t uid = http_stream(rq->conn->http)->peer_uid;
    return uid == 0 || uid == geteuid();
}

/* ---- requests ---- */

/* Copies what it needs: it may outlive the connection. */
static bool request_fill(struct control_request *rq, const struct http_request *from)
{
    if (sv_dup(&rq->arena, from->path, &rq->path) || sv_dup(&rq->arena, from->query, &rq->query) ||
        sv_dup(&rq->arena, from->method, &rq->method))
        return false;
    if (from->body.n == 0)
        return true;
    char *body = mem_alloc(from->body.n);
    if (!body)
        return false;
    memcpy(body, from->body.p, from->body.n);
    rq->body = (sv){body, from->body.n};
    return true;
}

static void on_request(void *arg, const struct http_request *from)
{
    struct connection *c = arg;
    struct control_request *rq = MEM_NEW(struct control_request);
    if (!rq) {
        on_refuse(c, 503);
        return;
    }
    rq->control = c->control;
    rq->conn = c;
    arena_init(&rq->arena, NULL, 0, CONTROL_BODY_MAX);
    list_push(&c->control->requests, &rq->by_control);
    c->rq = rq;
    loop_timer(c->control->loop, &c->late, CONTROL_ANSWER_TIME);
    if (request_fill(rq, from))
        control_route(rq);
    else
        control_error(rq, 503, "out of memory");
}

static void on_late(struct timer *t, void *arg)
{
    struct connection *c = arg;
    (void)t;
    c->rq->conn = NULL;
    c->rq = NULL;
    LOG_WARN("control", "answer.late", F_INT("seconds", CONTROL_ANSWER_TIME / USEC_S));
    on_refuse(c, 503);
}

static void on_end(void *arg, enum err why)
{
    (void)why;
    connection_free(arg);
}

static const struct http_handler http_handler = {
    .on_head = on_head, .on_request = on_request, .on_end = on_end, .on_refuse = on_refuse};
static const struct http_limits http_limits = {.head_max = HEAD_MAX,
                                               .body_max = CONTROL_BODY_MAX,
                                               .head_time = CONTROL_TIME,
                                               .body_time = CONTROL_TIME,
                                               .idle = CONTROL_IDLE};

static void on_accept(void *arg, struct stream *s)
{
    struct control *c = arg;
    bool unix_socket = s->peer.family == 0;
    struct connection *conn =
        c->count[unix_socket] < CONTROL_CONNECTIONS ? MEM_NEW(struct connection) : NULL;
    if (!conn || http_new(c->loop, s, &http_limits, &http_handler, conn, &conn->http)) {
        stat_refuse(&c->loop->stats, STAT_LIMIT_CONTROL);
        mem_free(conn);
        stream_close(s, false);
        return;
    }
    conn->control = c;
    conn->unix_socket = unix_socket;
    timer_init(&conn->late, on_late, conn);
    list_push(&c->connections, &conn->by_control);
    c->count[unix_socket]++;
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
        http_close(conn->http, false);
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

enum err control_listen_http(struct control *c, const struct addr *bind, struct addr *ret_local)
{
    TRY(stream_listen(c->loop, bind, &listener_handler, c, &c->on_http));
    *ret_local = c->on_http->local;
    return ERR_OK;
}
