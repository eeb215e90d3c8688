/* SPDX-License-Identifier: MIT */
/* transport/transport_ws.c: from an HTTP request to SIP over WebSocket (RFC 7118), or to a page.
 *
 *   upgrade? ─ no ─► the user's on_http, 426
 *      └─ Origin allowed (D23: a page in somebody's browser must not use his phone), the client
 *         behind a proxy counted, sub-protocol "sip" offered (§4.1) ─► 101, messages */
#include "transport/transport_priv.h"
#include "websocket/websocket.h"

enum { HEAD_MAX = 8 * 1024, BODY_MAX = 4 * 1024, REQUESTS_MAX = 100 };
#define PING (30 * USEC_S) /* before a proxy's or NAT's minute of patience ends */

/* ---- who may ---- */

/* Host without port, brackets and all; port 0: none. */
static sv split_port(sv hostport, sv *ret_port)
{
    size_t end = hostport.n;
    *ret_port = SV_NONE;
    for (size_t i = hostport.n; i > 0; i--) {
        char ch = hostport.p[i - 1];
        if (ch == ':') {
            *ret_port = sv_sub(hostport, i, hostport.n);
            end = i - 1;
        }
        if (ch < '0' || ch > '9')
            break;
    }
    return sv_sub(hostport, 0, end);
}

static sv unbracketed(sv host)
{
    return host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']' ? sv_sub(host, 1, host.n - 1)
                                                                       : host;
}

/* The page came from this server: by the name that the request has, or by one of ours. The port may
 * be another: a page comes from 443, the phone's listener is elsewhere. */
static bool own_origin(struct conn *c, const struct http_request *rq, sv origin)
{
    sv rest = SV_NONE, port;
    if (sv_starts(origin, SV("https://")))
        rest = sv_sub(origin, 8, origin.n);
    else if (sv_starts(origin, SV("http://")))
        rest = sv_sub(origin, 7, origin.n);
    if (rest.n == 0)
        return false; /* "null" and files: nobody's */
    sv host = split_port(rest, &port);
    sv asked = split_port(http_field(rq, SV("Host")), &port);
    const struct sip_config *config = &c->sip->shared->config;
    for (unsigned i = 0; i < config->names_n; i++)
        if (sv_ieq(host, config->names[i]))
            return true;
    if (sip_port_is(c->sip, c->flow.listener, unbracketed(host)))
        return true;
    /* A page of anybody's can lead its own name to the loopback (DNS rebinding); over TLS the browser
     * would find the wrong certificate. */
    bool rebound = c->flow.transport == SIP_T_WS && addr_class(&c->flow.local) == ADDR_LOOPBACK &&
                   !sv_ieq(host, SV("localhost"));
    return host.n > 0 && sv_ieq(host, asked) && !rebound;
}

static bool origin_allowed(struct conn *c, const struct http_request *rq)
{
    const struct sip_listen *l = &c->sip->shared->config.listen[c->flow.listener];
    size_t origins = http_field_count(rq, SV("Origin"));
    sv origin = http_field(rq, SV("Origin"));
    if (origins != 1)
        return origins == 0; /* no browser */
    if (l->origins_n == 0)
        return own_origin(c, rq, origin);
    for (unsigned i = 0; i < l->origins_n; i++)
        if (sv_eq(l->origins[i], SV("*")) || sv_ieq(l->origins[i], origin))
            return true;
    return false;
}

/* ---- for whom ---- */

static bool address_of(sv item, struct addr *ret_addr)
{
    return !addr_parse_ip(item, 0, ret_addr) || !addr_parse(item, ret_addr);
}

/* Each proxy appends whom it heard; what stands before the first that is none of ours, anybody may have
 * written. */
static struct addr client_of(const struct conn *c, const struct http_request *rq)
{
    const struct sip_listen *l = &c->sip->shared->config.listen[c->flow.listener];
    struct addr found = c->flow.remote;
    for (size_t i = rq->n; i > 0; i--) {
        sv rest = rq->fields[i - 1].value;
        if (!sv_ieq(rq->fields[i - 1].name, SV("X-Forwarded-For")))
            continue;
        while (rest.n > 0) {
            size_t from = rest.n;
            while (from > 0 && rest.p[from - 1] != ',')
                from--;
            struct addr a;
            if (!address_of(sv_trim(sv_sub(rest, from, rest.n)), &a))
                return found;
            found = a;
            if (!from_proxy(l, &a))
                return found;
            rest = sv_sub(rest, 0, from ? from - 1 : 0);
        }
    }
    return found;
}

/* Of a connection from a proxy the client counts. False: it has too many. */
static bool counted(struct conn *c, const struct http_request *rq)
{
    if (c->counted)
        return true;
    struct addr client = client_of(c, rq);
    if (source_enter(c->sip, &client) != SOURCE_ENTERED)
        return false;
    c->source = client;
    c->counted = true;
    return true;
}

/* ---- messages ---- */

static void on_message(void *arg, sv octets)
{
    struct conn *c = arg;
    c->active = c->sip->loop->now;
    conn_message(c, octets);
}

static void on_close(void *arg, enum err why)
{
    conn_end(arg, why ? why : ERR_CLOSED);
}

static const struct stream_handler ws_handler = {.on_data = on_message, .on_close = on_close};

/* ---- requests ---- */

static void upgrade(struct conn *c, const struct http_request *rq)
{
    struct sip *s = c->sip;
    const struct sip_config *config = &s->shared->config;
    struct websocket_config ws = {.protocol = SV("sip"),
                                  .text = true,
                                  .message_max = config->max_message,
                                  .message_time = config->message_time,
                                  .ping = PING};
    struct stream *stream;
    enum err rc = websocket_accept(c->http, rq, &ws, &ws_handler, c, &stream);
    if (rc == ERR_SYNTAX)
        return; /* it is answered; on_end comes */
    if (rc) {
        conn_drop(c, false, rc);
        return;
    }
    c->http = NULL;
    c->stream = stream;
    conn_up(c);
    stat_add(&s->loop->stats, STAT_WEBSOCKETS, 1);
}

static void on_request(void *arg, const struct http_request *rq)
{
    struct conn *c = arg;
    struct sip *s = c->sip;
    c->active = s->loop->now;
    if (!counted(c, rq)) {
        http_reply_last(c->http, 503, SV("Retry-After: 60\r\n"), SV_NONE, SV_NONE);
    } else if (!rq->websocket) {
        /* Somebody who reads: http's own limits will do. */
        loop_timer_cancel(s->loop, &c->deadline);
        if (s->user->on_http)
            s->user->on_http(s->arg, c->http, rq, &c->flow);
        else
            http_reply_last(c->http, 426, SV("Upgrade: websocket\r\n"), SV_NONE, SV_NONE);
    } else if (!origin_allowed(c, rq)) {
        stat_refuse(&s->loop->stats, STAT_LIMIT_ORIGIN);
        http_reply_last(c->http, 403, SV_NONE, SV_NONE, SV_NONE);
    } else {
        upgrade(c, rq);
    }
}

static void on_end(void *arg, enum err why)
{
    struct conn *c = arg;
    if (why == ERR_TIMEOUT && timer_armed(&c->deadline))
        stat_refuse(&c->sip->loop->stats, STAT_LIMIT_HANDSHAKE);
    conn_end(c, why ? why : ERR_CLOSED);
}

static const struct http_handler http_handler = {.on_request = on_request, .on_end = on_end};

void conn_await_upgrade(struct conn *c)
{
    struct sip *s = c->sip;
    usec most = s->shared->config.handshake;
    struct http_limits limits = {.head_max = HEAD_MAX,
                                 .body_max = BODY_MAX,
                                 .head_time = most,
                                 .body_time = most,
                                 .idle = most,
                                 .requests = REQUESTS_MAX};
    if (http_new(s->loop, c->stream, &limits, &http_handler, c, &c->http))
        conn_drop(c, false, ERR_NOMEM);
}
