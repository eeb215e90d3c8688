/* SPDX-License-Identifier: MIT */
/* websocket/websocket.c: a stream of messages over a stream of octets: what is said, its time, its end.
 *
 *   lower's octets ─► websocket_read.c ─► on_data
 *                          └─► Pong, Close ─► lower
 *   stream_send ─► header, pieces ─► lower
 *
 * An idle connection is a struct websocket and no more. What we send are whole unmasked frames, whose
 * header is written here, before the caller's pieces. */
#include "websocket/websocket_priv.h"

enum { PIECES_MAX = 16 }; /* sent without joining them */

/* ---- what we say ---- */

static enum err write_pieces(struct websocket *w, const sv *pieces, size_t n)
{
    if (!w->lower)
        return ERR_CLOSED;
    enum err rc = stream_send(w->lower, pieces, n);
    w->base.queued = w->lower->queued;
    return rc;
}

/* Length of the header of a frame with n octets of payload. */
static size_t header_put(char header[static HEADER_MAX], unsigned opcode, uint64_t n)
{
    unsigned more = n < LENGTH_16 ? 0 : n <= UINT16_MAX ? 2 : 8;
    header[0] = (char)(FIN | opcode);
    header[1] = (char)(more == 0 ? n : more == 2 ? LENGTH_16 : LENGTH_64);
    for (unsigned i = 0; i < more; i++)
        header[2 + i] = (char)(n >> (8 * (more - 1 - i)) & 0xff);
    return 2 + more;
}

/* Beyond queue_max: a control frame is small, and is said once at a time. */
void websocket_say(struct websocket *w, unsigned opcode, sv payload)
{
    char header[HEADER_MAX];
    sv pieces[] = {{header, header_put(header, opcode, payload.n)}, payload};
    if (!w->lower)
        return;
    w->lower->queue_max = w->base.queue_max + 2 * (2 + CONTROL_MAX);
    enum err rc = write_pieces(w, pieces, 2);
    (void)rc; /* the lower stream says it by on_close */
}

static void say_close(struct websocket *w, uint16_t code)
{
    char payload[2] = {(char)(code >> 8), (char)(code & 0xff)};
    websocket_say(w, WSLAY_CONNECTION_CLOSE, (sv){payload, 2});
}

/* RFC 6455 §5.5.3: while pings come faster than pongs leave, the latest is answered alone. */
void websocket_pong(struct websocket *w, sv payload)
{
    if (w->lower->queued == 0) {
        websocket_say(w, WSLAY_PONG, payload);
        return;
    }
    buf_done(&w->pong);
    buf_init_heap(&w->pong, 1 + CONTROL_MAX);
    buf_char(&w->pong, '\0'); /* so that an empty one is owed too */
    buf_put(&w->pong, payload);
}

static void pay_pong(struct websocket *w)
{
    struct buf owed = w->pong;
    if (owed.n == 0)
        return;
    buf_init_heap(&w->pong, 0);
    if (owed.rc == ERR_OK)
        websocket_say(w, WSLAY_PONG, sv_sub(buf_sv(&owed), 1, owed.n));
    buf_done(&owed);
}

/* ---- the end ---- */

static void leave(struct websocket *w)
{
    if (--w->busy > 0 || !w->gone)
        return;
    websocket_drop_frames(w);
    buf_done(&w->held);
    buf_done(&w->pong);
    mem_free(w);
}

/* No call from here on; the memory goes when nobody on the stack looks at it. */
static void detach(struct websocket *w)
{
    w->gone = true;
    w->base.tls_peer = NULL; /* the lower stream's */
    if (!w->base.loop)
        return; /* away: no timer runs */
    loop_timer_cancel(w->base.loop, &w->alive);
    loop_timer_cancel(w->base.loop, &w->whole);
    loop_timer_cancel(w->base.loop, &w->resume);
}

void websocket_end(struct websocket *w, enum err why, bool flush)
{
    struct stream *lower = w->lower;
    if (w->gone)
        return;
    w->busy++;
    w->lower = NULL;
    detach(w);
    stream_close(lower, flush);
    w->h->on_close(w->arg, why);
    leave(w);
}

/* RFC 6455 §7.1.7. The lower stream's lingering reads the peer's own Close and what else it sends. */
void websocket_fail(struct websocket *w, uint16_t code, enum err why)
{
    if (w->gone)
        return;
    if (why == ERR_TOOBIG)
        stat_refuse(&w->base.loop->stats, STAT_LIMIT_MESSAGE_SIZE);
    say_close(w, code);
    websocket_end(w, why, true);
}

static void on_data(void *arg, sv octets)
{
    struct websocket *w = arg;
    w->busy++;
    w->heard = loop_now(w->base.loop);
    w->pinged = false;
    if (w->held.n == 0 && !w->paused) {
        websocket_read(w, octets);
    } else {
        buf_put(&w->held, octets);
        if (w->held.rc)
            websocket_fail(w, WSLAY_CODE_INTERNAL_SERVER_ERROR, w->held.rc);
        else if (!w->paused && !timer_armed(&w->resume))
            websocket_read_held(w);
    }
    leave(w);
}

static void on_drain(void *arg)
{
    struct websocket *w = arg;
    w->busy++;
    w->base.queued = w->lower->queued;
    pay_pong(w);
    if (!w->gone && w->base.queued == 0 && w->h->on_drain)
        w->h->on_drain(w->arg);
    leave(w);
}

/* The peer's end of the connection without a Close first is none in order. */
static void on_close(void *arg, enum err why)
{
    struct websocket *w = arg;
    w->lower = NULL;
    websocket_end(w, why ? why : ERR_CLOSED, false);
}

static const struct stream_handler handler = {
    .on_data = on_data, .on_drain = on_drain, .on_close = on_close};

/* ---- time ---- */

static void on_alive(struct timer *t, void *arg)
{
    struct websocket *w = arg;
    usec now = loop_now(w->base.loop);
    (void)t;
    w->busy++;
    if (w->paused) /* it is we who do not hear */
        w->heard = now;
    usec silent = now - w->heard;
    if (silent >= w->ping && w->pinged) {
        websocket_fail(w, WSLAY_CODE_POLICY_VIOLATION, ERR_TIMEOUT);
    } else {
        if (silent >= w->ping) {
            w->pinged = true;
            websocket_say(w, WSLAY_PING, SV_NONE);
            silent = 0;
        }
        if (!w->gone)
            loop_timer(w->base.loop, &w->alive, w->ping - silent);
    }
    leave(w);
}

static void on_whole(struct timer *t, void *arg)
{
    struct websocket *w = arg;
    (void)t;
    stat_refuse(&w->base.loop->stats, STAT_LIMIT_MESSAGE_TIME);
    websocket_fail(w, WSLAY_CODE_POLICY_VIOLATION, ERR_TIMEOUT);
}

static void on_resume(struct timer *t, void *arg)
{
    struct websocket *w = arg;
    (void)t;
    w->busy++;
    websocket_read_held(w);
    leave(w);
}

/* ---- what users call ---- */

/* How many of the first octets are certainly ASCII: by eights. */
static size_t ascii_run(sv s)
{
    size_t i = 0;
    uint64_t eight;
    for (; i + sizeof(eight) <= s.n; i += sizeof(eight)) {
        memcpy(&eight, s.p + i, sizeof(eight));
        if (eight & UINT64_C(0x8080808080808080))
            break;
    }
    return i;
}

/* Well-formed UTF-8 over all pieces: Unicode table 3-7. */
static bool is_utf8(const sv *pieces, size_t n)
{
    unsigned more = 0;
    uint8_t low = 0x80, high = 0xbf; /* of the next octet, when more follow */
    for (size_t k = 0; k < n; k++) {
        for (size_t i = more > 0 ? 0 : ascii_run(pieces[k]); i < pieces[k].n; i++) {
            uint8_t c = (uint8_t)pieces[k].p[i];
            if (more > 0) {
                if (c < low || c > high)
                    return false;
                more--;
                low = 0x80;
                high = 0xbf;
            } else if (c >= 0x80) {
                if (c < 0xc2 || c > 0xf4)
                    return false;
                more = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
                low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
                high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
            }
        }
    }
    return more == 0;
}

static enum err send_op(struct stream *s, const sv *pieces, size_t n)
{
    struct websocket *w = CONTAINER(s, struct websocket, base);
    char header[HEADER_MAX];
    sv all[1 + PIECES_MAX];
    struct buf joined;
    size_t total = 0;
    if (!w->lower)
        return ERR_CLOSED;
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].n > SIZE_MAX / 2 - total)
            return ERR_TOOBIG;
        total += pieces[i].n;
    }
    /* RFC 7118 §4.2: a message with an octet that is no UTF-8 MUST be binary. */
    unsigned opcode = w->text && is_utf8(pieces, n) ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME;
    all[0] = (sv){header, header_put(header, opcode, total)};
    w->lower->queue_max = w->base.queue_max;
    if (n <= PIECES_MAX) {
        if (n > 0)
            memcpy(all + 1, pieces, n * sizeof(*pieces));
        return write_pieces(w, all, 1 + n);
    }
    buf_init_heap(&joined, total);
    for (size_t i = 0; i < n; i++)
        buf_put(&joined, pieces[i]);
    all[1] = buf_sv(&joined);
    enum err rc = joined.rc;
    if (!rc)
        rc = write_pieces(w, all, 2);
    buf_done(&joined);
    return rc;
}

static void handle_op(struct stream *s, const struct stream_handler *h, void *arg)
{
    struct websocket *w = CONTAINER(s, struct websocket, base);
    w->h = h;
    w->arg = arg;
}

static void pause_op(struct stream *s, bool on)
{
    struct websocket *w = CONTAINER(s, struct websocket, base);
    if (w->gone || w->paused == on)
        return;
    w->paused = on;
    stream_pause(w->lower, on);
    if (on) {
        loop_timer_cancel(w->base.loop, &w->resume);
        loop_timer_cancel(w->base.loop, &w->whole);
        return;
    }
    w->heard = loop_now(w->base.loop);
    if (w->held.n > 0)
        loop_timer(w->base.loop, &w->resume, 0);
    if (websocket_under_way(w))
        loop_timer(w->base.loop, &w->whole, w->message_time);
}

static void close_op(struct stream *s, bool flush)
{
    struct websocket *w = CONTAINER(s, struct websocket, base);
    struct stream *lower = w->lower;
    if (w->gone)
        return;
    w->busy++;
    if (s->loop)
        say_close(w, loop_stopping(s->loop) ? WSLAY_CODE_GOING_AWAY : WSLAY_CODE_NORMAL_CLOSURE);
    w->lower = NULL;
    detach(w);
    stream_close(lower, flush);
    leave(w);
}

/* ---- from loop to loop ---- */

static enum err leave_op(struct stream **s)
{
    struct websocket *w = CONTAINER(*s, struct websocket, base);
    if (w->gone || w->busy > 0 || w->paused || w->pong.n > 0 || websocket_under_way(w))
        return ERR_BUSY;
    TRY(stream_leave(&w->lower));
    w->due = w->alive.at;
    loop_timer_cancel(w->base.loop, &w->alive);
    w->base.loop = NULL;
    return ERR_OK;
}

static enum err join_op(struct stream *s, struct loop *l)
{
    struct websocket *w = CONTAINER(s, struct websocket, base);
    usec now = loop_now(l);
    TRY(stream_join(w->lower, l));
    w->base.loop = l;
    if (w->ping > 0) /* not before: an answer to the last ping may be on its way */
        loop_timer(l, &w->alive, w->due > now ? w->due - now : 0);
    return ERR_OK;
}

static const struct stream_ops ops = {
    .send = send_op,
    .handle = handle_op,
    .pause = pause_op,
    .close = close_op,
    .leave = leave_op,
    .join = join_op,
};

struct websocket *websocket_new(const struct websocket_config *c, const struct stream_handler *h,
                                void *arg)
{
    struct websocket *w = MEM_NEW(struct websocket);
    if (!w)
        return NULL;
    w->h = h;
    w->arg = arg;
    w->text = c->text;
    w->message_max = c->message_max;
    w->message_time = c->message_time;
    w->ping = c->ping;
    w->header_need = 2;
    buf_init_heap(&w->held, WEBSOCKET_HELD_MAX);
    timer_init(&w->alive, on_alive, w);
    timer_init(&w->whole, on_whole, w);
    timer_init(&w->resume, on_resume, w);
    return w;
}

void websocket_free(struct websocket *w)
{
    mem_free(w);
}

struct stream *websocket_start(struct websocket *w, struct stream *lower, struct buf *rest)
{
    w->lower = lower;
    w->base = *lower;
    w->base.ops = &ops;
    w->heard = loop_now(lower->loop);
    buf_done(&w->held);
    w->held = *rest;
    if (w->held.n > 0) {
        loop_timer(lower->loop, &w->resume, 0);
        loop_timer(lower->loop, &w->whole, w->message_time);
    }
    if (w->ping > 0)
        loop_timer(lower->loop, &w->alive, w->ping);
    stream_handle(lower, &handler, w);
    stream_pause(lower, false);
    return &w->base;
}
