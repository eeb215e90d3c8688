/* SPDX-License-Identifier: MIT */
/* http/http.c: a connection: one request at a time, and its answer.
 *
 *   IDLE ── octets ──► HEAD ── on_head ──► BODY ── on_request ──► ASKED ── http_reply ──► WRITING
 *    ▲                  └───────┬───────────┘                       │                        │
 *    │                       refused                        http_reply_last, no keep-alive   │
 *    │                          └─────────────► ENDING ◄────────────┘                        │
 *    └──────────────────────────────────── written, keep-alive ──────────────────────────────┘
 *
 * From ASKED until what was answered is written nothing is read: a client that asks and never reads
 * costs one answer, no more. It also means that a client that leaves is noticed with the next read or
 * write. ENDING waits for the octets to go, then the lower stream lingers over the rest. */
#include "http/http.h"
#include "http/http_priv.h"

enum state { IDLE, HEAD, BODY, ASKED, WRITING, ENDING };
enum { HEAD_OUT_MAX = 512 }; /* of an answer's own lines */

struct http {
    struct loop *loop;
    struct stream *s; /* NULL: gone, or given away */
    struct http_limits limits;
    const struct http_handler *h;
    void *arg;
    struct timer deadline;
    struct deferred ended;
    struct incoming *in;
    enum state state;
    unsigned served;  /* requests answered */
    unsigned busy;    /* calls of ours below on the stack, that look at it afterwards */
    size_t queue_max; /* of the stream, as we got it */
    enum err why;
    bool keep; /* the connection may go on after this request */
    bool gone; /* no call any more */
};

static const struct {
    unsigned status;
    const char *text;
} reasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
};

const char *http_reason(unsigned status)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "Unknown";
}

/* ---- the end ---- */

static void leave(struct http *h)
{
    if (--h->busy == 0 && h->gone) {
        incoming_free(h->in);
        mem_free(h);
    }
}

/* No call from here on; the memory goes when nobody on the stack looks at it. */
static void detach(struct http *h)
{
    h->busy++;
    h->gone = true;
    loop_timer_cancel(h->loop, &h->deadline);
    loop_defer_cancel(&h->ended);
    leave(h);
}

static void end(struct http *h, enum err why, bool flush)
{
    struct stream *s = h->s;
    if (h->gone)
        return;
    h->busy++;
    h->s = NULL;
    detach(h);
    stream_close(s, flush);
    h->h->on_end(h->arg, why);
    leave(h);
}

/* The user is not told inside its own call. */
static void on_ended(struct deferred *d, void *arg)
{
    struct http *h = arg;
    (void)d;
    end(h, h->why, true);
}

void http_close(struct http *h, bool flush)
{
    if (!h || h->gone)
        return;
    struct stream *s = h->s;
    h->s = NULL;
    detach(h);
    stream_close(s, flush);
}

/* ---- answers ---- */

static void next(struct http *h)
{
    h->state = IDLE;
    h->s->queue_max = h->queue_max;
    loop_timer(h->loop, &h->deadline, h->limits.idle);
    stream_pause(h->s, false);
}

/* What was asked is answered, or cannot be. */
static void answered(struct http *h, enum err rc, bool keep)
{
    incoming_free(h->in);
    h->in = NULL;
    if (rc || !keep) {
        h->state = ENDING;
        h->why = rc;
        if (rc || h->s->queued == 0)
            loop_defer(h->loop, &h->ended);
        else
            loop_timer(h->loop, &h->deadline, h->limits.idle);
    } else if (h->s->queued > 0) {
        h->state = WRITING;
        loop_timer(h->loop, &h->deadline, h->limits.idle);
    } else {
        next(h);
    }
}

static void reply(struct http *h, unsigned status, sv fields, sv type, sv body, bool last)
{
    char mem[HEAD_OUT_MAX];
    struct buf b;
    if (h->gone || h->state != ASKED)
        return;
    bool keep = h->keep && !last;
    if (h->limits.requests > 0 && ++h->served >= h->limits.requests)
        keep = false;
    buf_init(&b, mem, sizeof(mem));
    buf_printf(&b, "HTTP/1.1 %u %s\r\nDate: ", status, http_reason(status));
    clock_rfc1123(&b, loop_wall(h->loop)); /* RFC 9110 §6.6.1: an origin server with a clock MUST */
    if (sv_present(type))
        buf_printf(&b, "\r\nContent-Type: " SV_FMT, SV_ARG(type));
    if (status != 204 && status >= 200) /* §8.6 */
        buf_printf(&b, "\r\nContent-Length: %zu", body.n);
    buf_str(&b, keep ? "\r\n" : "\r\nConnection: close\r\n");
    bool bare = h->in->parser.method == HTTP_HEAD || status == 204 || status == 304;
    sv pieces[] = {buf_sv(&b), fields, SV("\r\n"), body};
    h->s->queue_max = h->queue_max + b.n + fields.n + body.n; /* one answer at a time */
    enum err rc = b.rc;
    if (!rc)
        rc = stream_send(h->s, pieces, bare ? 3 : 4);
    answered(h, rc, keep);
}

void http_reply(struct http *h, unsigned status, sv fields, sv type, sv body)
{
    reply(h, status, fields, type, body, false);
}

void http_reply_last(struct http *h, unsigned status, sv fields, sv type, sv body)
{
    reply(h, status, fields, type, body, true);
}

/* Answers what never became a request of the user's. */
static void refuse(struct http *h, unsigned status)
{
    char mem[64];
    struct buf b;
    if (status == 408)
        stat_refuse(&h->loop->stats, STAT_LIMIT_MESSAGE_TIME);
    else if (status == 413 || status == 414 || status == 431)
        stat_refuse(&h->loop->stats, STAT_LIMIT_MESSAGE_SIZE);
    h->state = ASKED;
    h->keep = false;
    loop_timer_cancel(h->loop, &h->deadline);
    stream_pause(h->s, true);
    if (h->h->on_refuse)
        h->h->on_refuse(h->arg, status);
    buf_init(&b, mem, sizeof(mem));
    buf_printf(&b, "%u %s\n", status, http_reason(status));
    reply(h, status, SV_NONE, SV("text/plain"), buf_sv(&b), true); /* if nobody has */
}

/* ---- what arrives ---- */

/* RFC 9110 §10.1.1: a client that asks first waits for this. 0, or the status that refuses it. */
static unsigned expectation(struct http *h, sv octets)
{
    static const sv go_on = {"HTTP/1.1 100 Continue\r\n\r\n", 25};
    sv want = http_field(&h->in->rq, SV("Expect"));
    if (!sv_present(want) || h->in->parser.http_minor == 0)
        return 0;
    if (!sv_ieq(want, SV("100-continue")))
        return 417;
    if (h->in->body_cap == 0 || octets.n > 0)
        return 0;
    return stream_send(h->s, &go_on, 1) ? 503 : 0;
}

/* The head is whole. True: the body may come. */
static bool head_arrived(struct http *h, sv octets)
{
    unsigned status = h->h->on_head ? h->h->on_head(h->arg, &h->in->rq) : 0;
    if (h->gone)
        return false;
    if (!status)
        status = incoming_body_begin(h->in, h->limits.body_max);
    if (!status)
        status = expectation(h, octets);
    if (status) {
        refuse(h, status);
        return false;
    }
    h->state = BODY;
    loop_timer(h->loop, &h->deadline, h->limits.body_time);
    return true;
}

/* The request is whole. What came behind it is not kept: no pipelining; but for what may be the
 * beginning of another protocol. */
static void arrived(struct http *h, sv octets)
{
    struct incoming *in = h->in;
    h->keep = http_should_keep_alive(&in->parser) && octets.n == 0 && !in->parser.upgrade;
    if (in->rq.websocket)
        buf_put(&in->rest, octets);
    if (in->rest.rc) {
        refuse(h, 503);
        return;
    }
    h->state = ASKED;
    loop_timer_cancel(h->loop, &h->deadline);
    stream_pause(h->s, true);
    h->h->on_request(h->arg, &in->rq);
}

static void take(struct http *h, sv octets)
{
    if (h->state == IDLE) {
        h->in = incoming_new(&h->limits);
        if (!h->in) {
            end(h, ERR_NOMEM, false);
            return;
        }
        h->state = HEAD;
        loop_timer(h->loop, &h->deadline, h->limits.head_time);
    }
    if (h->state == HEAD) {
        unsigned status = incoming_head(h->in, &octets);
        if (status) {
            refuse(h, status);
            return;
        }
        if (!h->in->head_done || !head_arrived(h, octets))
            return;
    }
    if (h->state == BODY) {
        if (incoming_body(h->in, &octets))
            arrived(h, octets);
    } else { /* a lower stream that had more in hand when it was paused */
        h->keep = false;
        if (h->state == ASKED && h->in->rq.websocket)
            buf_put(&h->in->rest, octets);
        if (h->state == ASKED && h->in->rest.rc)
            end(h, h->in->rest.rc, false);
    }
}

static void on_data(void *arg, sv octets)
{
    struct http *h = arg;
    h->busy++;
    if (octets.n > 0)
        take(h, octets);
    leave(h);
}

static void on_drain(void *arg)
{
    struct http *h = arg;
    if (h->state == ENDING)
        end(h, h->why, true);
    else if (h->state == WRITING)
        next(h);
}

static void on_close(void *arg, enum err why)
{
    struct http *h = arg;
    h->s = NULL;
    end(h, why, false);
}

static void on_deadline(struct timer *t, void *arg)
{
    struct http *h = arg;
    (void)t;
    h->busy++;
    if (h->state == HEAD || h->state == BODY)
        refuse(h, 408);
    else
        end(h, ERR_TIMEOUT, false);
    leave(h);
}

static const struct stream_handler handler = {
    .on_data = on_data, .on_drain = on_drain, .on_close = on_close};

enum err http_new(struct loop *l, struct stream *s, const struct http_limits *limits,
                  const struct http_handler *handlers, void *arg, struct http **ret_http)
{
    struct http *h = MEM_NEW(struct http);
    if (!h)
        return ERR_NOMEM;
    h->loop = l;
    h->s = s;
    h->limits = *limits;
    h->h = handlers;
    h->arg = arg;
    h->queue_max = s->queue_max;
    timer_init(&h->deadline, on_deadline, h);
    deferred_init(&h->ended, on_ended, h);
    loop_timer(l, &h->deadline,
               limits->head_time < limits->idle ? limits->head_time : limits->idle);
    stream_handle(s, &handler, h);
    *ret_http = h;
    return ERR_OK;
}

const struct stream *http_stream(const struct http *h)
{
    return h->s;
}

struct stream *http_give(struct http *h, struct buf *ret_rest)
{
    struct stream *s = h->s;
    *ret_rest = h->in->rest;
    buf_init_heap(&h->in->rest, 0);
    s->queue_max = h->queue_max;
    h->s = NULL;
    detach(h);
    return s;
}
