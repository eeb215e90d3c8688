/* SPDX-License-Identifier: MIT */
/* websocket/websocket.c: messages over a stream.
 *
 *   lower's octets ─► one frame at a time ─► wslay ─► message ─► on_data
 *                                              └─► Pong, Close ─► lower
 *   stream_send ─► header, pieces ─► lower
 *
 * wslay reads frames: masking, reserved bits, opcodes, fragments, UTF-8, close codes. Its context is
 * 8.5 kB, so it lives only while a frame or a message is under way: an idle connection is a struct
 * websocket and no more. It is given no octet beyond the frame that it reads, so that nothing of the
 * next is in it when a message is delivered; the user may pause or close there, and what a ping makes
 * us hold is one pong. What we send are whole unmasked frames, whose header is written here. */
#include "websocket/websocket_priv.h"

enum {
    CONTROL_MAX = 125, /* octets in a control frame: RFC 6455 §5.5 */
    FRAME_COST = 16,   /* what each further frame of a message counts against message_max */
    HEADER_MAX = 14,   /* octets of a frame's header, with its mask */
    PIECES_MAX = 16,   /* sent without joining them */
    FIN = 0x80,
    RESERVED = 0x70,
    MASK = 0x80,
    OPCODE = 0x0f,
    CONTROL = 0x08,  /* of the opcode: §5.5 */
    LENGTH_16 = 126, /* §5.2: two octets of length follow */
    LENGTH_64 = 127,
};

struct websocket {
    struct stream base;
    struct stream *lower; /* NULL: gone */
    const struct stream_handler *h;
    void *arg;
    size_t message_max;
    usec message_time, ping, heard;
    struct timer alive, whole, resume;
    wslay_event_context_ptr frames; /* NULL: between messages */
    struct buf message;             /* what came of the present one */
    struct buf held;                /* octets that wslay has not had */
    struct buf pong;                /* owed, while the peer does not read; the latest */
    sv feed;                        /* octets for wslay, inside wslay_event_recv */
    struct buf *reply;              /* of wslay, inside wslay_event_send */
    /* the frame under way: octets of its header so far, how many those will be, payload to come */
    uint8_t header[HEADER_MAX];
    uint8_t header_n, header_need;
    uint64_t left;
    size_t cost;   /* of the further frames of this message */
    uint16_t fail; /* close code, decided inside wslay_event_recv */
    uint8_t busy;  /* calls of ours below on the stack, that look at it afterwards */
    bool text;     /* what we send is text */
    bool begun;    /* a message has begun */
    bool data;     /* the frame under way is one of a message */
    bool complete; /* the message is whole */
    bool too_big;  /* it would be, with this frame */
    bool paused, pinged, gone;
};

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
static void say_control(struct websocket *w, unsigned opcode, sv payload)
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
    say_control(w, WSLAY_CONNECTION_CLOSE, (sv){payload, 2});
}

/* RFC 6455 §5.5.3: while pings come faster than pongs leave, the latest is answered alone. */
static void say_pong(struct websocket *w, sv payload)
{
    if (w->lower->queued == 0) {
        say_control(w, WSLAY_PONG, payload);
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
        say_control(w, WSLAY_PONG, sv_sub(buf_sv(&owed), 1, owed.n));
    buf_done(&owed);
}

/* ---- the end ---- */

static void frames_drop(struct websocket *w)
{
    wslay_event_context_free(w->frames);
    w->frames = NULL;
    buf_done(&w->message);
}

static void leave(struct websocket *w)
{
    if (--w->busy > 0 || !w->gone)
        return;
    frames_drop(w);
    buf_done(&w->held);
    buf_done(&w->pong);
    mem_free(w);
}

/* No call from here on; the memory goes when nobody on the stack looks at it. */
static void detach(struct websocket *w)
{
    w->gone = true;
    w->base.tls_peer = NULL; /* the lower stream's */
    loop_timer_cancel(w->base.loop, &w->alive);
    loop_timer_cancel(w->base.loop, &w->whole);
    loop_timer_cancel(w->base.loop, &w->resume);
}

static void end(struct websocket *w, enum err why, bool flush)
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
static void fail(struct websocket *w, uint16_t code, enum err why)
{
    if (w->gone)
        return;
    if (why == ERR_TOOBIG)
        stat_refuse(&w->base.loop->stats, STAT_LIMIT_MESSAGE_SIZE);
    say_close(w, code);
    end(w, why, true);
}

/* ---- wslay's callbacks ---- */

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *p, size_t cap, int flags, void *arg)
{
    struct websocket *w = arg;
    size_t n = w->feed.n < cap ? w->feed.n : cap;
    (void)flags;
    if (n == 0) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(p, w->feed.p, n);
    w->feed = sv_sub(w->feed, n, w->feed.n);
    return (ssize_t)n;
}

static void on_chunk(wslay_event_context_ptr ctx,
                     const struct wslay_event_on_frame_recv_chunk_arg *c, void *arg)
{
    struct websocket *w = arg;
    (void)ctx;
    if (!w->data || w->fail)
        return;
    buf_mem(&w->message, c->data, c->data_length);
    if (w->message.rc)
        w->fail = WSLAY_CODE_INTERNAL_SERVER_ERROR;
}

static void on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *m,
                       void *arg)
{
    struct websocket *w = arg;
    (void)ctx;
    if (!wslay_is_ctrl_frame(m->opcode))
        w->complete = true;
    else if (m->opcode == WSLAY_CONNECTION_CLOSE && m->msg_length == 1)
        w->fail = WSLAY_CODE_PROTOCOL_ERROR; /* §5.5.1: a body begins with two octets of code */
}

/* What wslay answers: a pong or a Close. */
static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *p, size_t n, int flags,
                       void *arg)
{
    struct websocket *w = arg;
    (void)ctx;
    (void)flags;
    buf_mem(w->reply, p, n);
    return (ssize_t)n;
}

static bool frames_new(struct websocket *w)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv,
        .send_callback = on_send,
        .on_frame_recv_chunk_callback = on_chunk,
        .on_msg_recv_callback = on_message,
    };
    if (wslay_event_context_server_init(&w->frames, &callbacks, w) != 0) {
        w->frames = NULL;
        return false;
    }
    wslay_event_config_set_no_buffering(w->frames, 1); /* the message is collected here */
    buf_init_heap(&w->message, w->message_max);
    return true;
}

/* ---- what arrives ---- */

/* A control frame is given to wslay whole: cut, it would overlook part of a Close's UTF-8. */
static bool is_cut_control(const struct websocket *w, sv octets)
{
    if (w->header_n > 0 || !(octets.p[0] & CONTROL))
        return false;
    if (octets.n < 2)
        return true;
    size_t n = (uint8_t)octets.p[1] & 0x7f, mask = (uint8_t)octets.p[1] & 0x80 ? 4 : 0;
    return n <= CONTROL_MAX && octets.n < 2 + mask + n;
}

/* §5.2 */
static size_t header_length(uint8_t second)
{
    unsigned length = second & 0x7f;
    return 2 + (length == LENGTH_64 ? 8 : length == LENGTH_16 ? 2 : 0) + (second & MASK ? 4 : 0);
}

static uint64_t payload_length(const uint8_t header[static HEADER_MAX])
{
    uint64_t n = header[1] & 0x7f;
    unsigned more = n == LENGTH_64 ? 8 : n == LENGTH_16 ? 2 : 0;
    for (unsigned i = 0; i < more; i++)
        n = (i ? n << 8 : 0) | header[2 + i];
    return n;
}

/* wslay refuses the frame under way by its header, perhaps with the first octet of payload only. */
static bool is_disorderly(const struct websocket *w)
{
    unsigned first = w->header[0], opcode = first & OPCODE;
    unsigned length = w->header[1] & 0x7f;
    if ((first & RESERVED) || !(w->header[1] & MASK))
        return true;
    if ((length == LENGTH_16 && w->left < LENGTH_16) ||
        (length == LENGTH_64 && (w->left <= UINT16_MAX || w->left > INT64_MAX)))
        return true; /* §5.2: as short as can be, and no sign */
    if (opcode & CONTROL)
        return opcode > WSLAY_PONG || !(first & FIN) || w->left > CONTROL_MAX;
    return opcode > WSLAY_BINARY_FRAME || (opcode == WSLAY_CONTINUATION_FRAME) != w->begun;
}

/* A header is whole: what the frame adds to its message. */
static void frame_begins(struct websocket *w)
{
    w->left = payload_length(w->header);
    w->data = !(w->header[0] & CONTROL);
    w->cost = w->begun ? w->cost + FRAME_COST : 0;
    size_t sum = w->cost + w->message.n;
    w->too_big =
        !is_disorderly(w) && (sum > w->message_max || (w->data && w->left > w->message_max - sum));
    w->begun = w->begun || w->data;
}

/* How many of the octets are of the frame under way, which may end with them. */
static size_t of_frame(struct websocket *w, sv octets)
{
    size_t n = 0;
    while (w->header_n < w->header_need && n < octets.n) {
        w->header[w->header_n++] = (uint8_t)octets.p[n++];
        if (w->header_n == 2)
            w->header_need = (uint8_t)header_length(w->header[1]);
        if (w->header_n == w->header_need)
            frame_begins(w);
    }
    if (w->header_n < w->header_need)
        return n;
    size_t more = octets.n - n < w->left ? octets.n - n : (size_t)w->left;
    w->left -= more;
    if (w->left == 0) {
        w->header_n = 0;
        w->header_need = 2;
    }
    return n + more;
}

static void deliver(struct websocket *w)
{
    w->complete = w->begun = false;
    w->h->on_data(w->arg, buf_sv(&w->message));
    buf_reset(&w->message);
}

/* wslay wants to say something. */
static void answer(struct websocket *w)
{
    char mem[2 + CONTROL_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    w->reply = &b;
    int rc = wslay_event_send(w->frames);
    w->reply = NULL;
    sv payload = sv_sub(buf_sv(&b), 2, b.n);
    if (rc != 0 || b.rc || b.n < 2) {
        w->fail = WSLAY_CODE_INTERNAL_SERVER_ERROR;
    } else if ((mem[0] & OPCODE) == WSLAY_PONG) {
        say_pong(w, payload);
    } else if (wslay_event_get_close_received(w->frames)) { /* §5.5.1: its code goes back */
        say_control(w, WSLAY_CONNECTION_CLOSE, payload);
        end(w, ERR_OK, true);
    } else {
        w->fail = payload.n < 2 ? WSLAY_CODE_PROTOCOL_ERROR
                                : (uint16_t)((uint8_t)payload.p[0] << 8 | (uint8_t)payload.p[1]);
    }
}

/* Octets of one frame. */
static void read_frame(struct websocket *w, sv octets)
{
    if (w->too_big) {
        fail(w, WSLAY_CODE_MESSAGE_TOO_BIG, ERR_TOOBIG);
        return;
    }
    if (!w->frames && !frames_new(w)) {
        fail(w, WSLAY_CODE_INTERNAL_SERVER_ERROR, ERR_NOMEM);
        return;
    }
    w->feed = octets;
    int rc = wslay_event_recv(w->frames);
    w->feed = SV_NONE;
    if (rc != 0 && !w->fail)
        w->fail =
            rc == WSLAY_ERR_NOMEM ? WSLAY_CODE_INTERNAL_SERVER_ERROR : WSLAY_CODE_PROTOCOL_ERROR;
    if (!w->fail && wslay_event_want_write(w->frames))
        answer(w);
    if (w->fail)
        fail(w, w->fail, w->fail == WSLAY_CODE_INTERNAL_SERVER_ERROR ? ERR_NOMEM : ERR_SYNTAX);
    else if (!w->gone && w->complete)
        deliver(w);
}

static bool under_way(const struct websocket *w)
{
    return w->begun || w->header_n > 0 || w->held.n > 0;
}

/* Nothing is kept of what is over; what has begun has its time. */
static void settle(struct websocket *w)
{
    if (w->gone)
        return;
    if (!w->begun && w->header_n == 0)
        frames_drop(w);
    if (!under_way(w) || w->paused)
        loop_timer_cancel(w->base.loop, &w->whole);
    else if (!timer_armed(&w->whole))
        loop_timer(w->base.loop, &w->whole, w->message_time);
}

static void read_frames(struct websocket *w, sv octets)
{
    while (octets.n > 0 && !w->gone && !w->paused && !is_cut_control(w, octets)) {
        size_t n = of_frame(w, octets);
        read_frame(w, sv_sub(octets, 0, n));
        octets = sv_sub(octets, n, octets.n);
        if (!w->begun && w->header_n == 0) /* the next one's time is its own */
            loop_timer_cancel(w->base.loop, &w->whole);
    }
    if (octets.n > 0 && !w->gone) {
        buf_put(&w->held, octets);
        if (w->held.rc)
            fail(w, WSLAY_CODE_INTERNAL_SERVER_ERROR, w->held.rc);
    }
    settle(w);
}

static void read_held(struct websocket *w)
{
    struct buf held = w->held;
    buf_init_heap(&w->held, WEBSOCKET_HELD_MAX);
    read_frames(w, buf_sv(&held));
    buf_done(&held);
}

static void on_data(void *arg, sv octets)
{
    struct websocket *w = arg;
    w->busy++;
    w->heard = loop_now(w->base.loop);
    w->pinged = false;
    if (w->held.n == 0 && !w->paused) {
        read_frames(w, octets);
    } else {
        buf_put(&w->held, octets);
        if (w->held.rc)
            fail(w, WSLAY_CODE_INTERNAL_SERVER_ERROR, w->held.rc);
        else if (!w->paused && !timer_armed(&w->resume))
            read_held(w);
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
    end(w, why ? why : ERR_CLOSED, false);
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
        fail(w, WSLAY_CODE_POLICY_VIOLATION, ERR_TIMEOUT);
    } else {
        if (silent >= w->ping) {
            w->pinged = true;
            say_control(w, WSLAY_PING, SV_NONE);
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
    fail(w, WSLAY_CODE_POLICY_VIOLATION, ERR_TIMEOUT);
}

static void on_resume(struct timer *t, void *arg)
{
    struct websocket *w = arg;
    (void)t;
    w->busy++;
    read_held(w);
    leave(w);
}

/* ---- what users call ---- */

/* Well-formed UTF-8 over all pieces: Unicode table 3-7. */
static bool is_utf8(const sv *pieces, size_t n)
{
    unsigned more = 0;
    uint8_t low = 0x80, high = 0xbf; /* of the next octet, when more follow */
    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; i < pieces[k].n; i++) {
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
    if (under_way(w))
        loop_timer(w->base.loop, &w->whole, w->message_time);
}

static void close_op(struct stream *s, bool flush)
{
    struct websocket *w = CONTAINER(s, struct websocket, base);
    struct stream *lower = w->lower;
    if (w->gone)
        return;
    w->busy++;
    say_close(w, loop_stopping(s->loop) ? WSLAY_CODE_GOING_AWAY : WSLAY_CODE_NORMAL_CLOSURE);
    w->lower = NULL;
    detach(w);
    stream_close(lower, flush);
    leave(w);
}

static const struct stream_ops ops = {
    .send = send_op, .handle = handle_op, .pause = pause_op, .close = close_op};

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
