/* SPDX-License-Identifier: MIT */
/* websocket/websocket_read.c: octets become messages.
 *
 * wslay reads frames: masking, reserved bits, opcodes, fragments, UTF-8, close codes. Its context is
 * 8.5 kB, so it lives only while a frame or a message is under way. It is given no octet beyond the
 * frame that it reads, so that nothing of the next is in it when a message is delivered: the user may
 * pause or close there, and what a ping makes us hold is one pong. */
#include "websocket/websocket_priv.h"

enum { FRAME_COST = 16 }; /* what each further frame of a message counts against message_max */

void websocket_drop_frames(struct websocket *w)
{
    wslay_event_context_free(w->frames);
    w->frames = NULL;
    buf_done(&w->message);
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
        websocket_pong(w, payload);
    } else if (wslay_event_get_close_received(w->frames)) { /* §5.5.1: its code goes back */
        websocket_say(w, WSLAY_CONNECTION_CLOSE, payload);
        websocket_end(w, ERR_OK, true);
    } else {
        w->fail = payload.n < 2 ? WSLAY_CODE_PROTOCOL_ERROR
                                : (uint16_t)((uint8_t)payload.p[0] << 8 | (uint8_t)payload.p[1]);
    }
}

/* Octets of one frame. */
static void read_frame(struct websocket *w, sv octets)
{
    if (w->too_big) {
        websocket_fail(w, WSLAY_CODE_MESSAGE_TOO_BIG, ERR_TOOBIG);
        return;
    }
    if (!w->frames && !frames_new(w)) {
        websocket_fail(w, WSLAY_CODE_INTERNAL_SERVER_ERROR, ERR_NOMEM);
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
        websocket_fail(w, w->fail,
                       w->fail == WSLAY_CODE_INTERNAL_SERVER_ERROR ? ERR_NOMEM : ERR_SYNTAX);
    else if (!w->gone && w->complete)
        deliver(w);
}

bool websocket_under_way(const struct websocket *w)
{
    return w->begun || w->header_n > 0 || w->held.n > 0;
}

/* Nothing is kept of what is over; what has begun has its time. */
static void settle(struct websocket *w)
{
    if (w->gone)
        return;
    if (!w->begun && w->header_n == 0)
        websocket_drop_frames(w);
    if (!websocket_under_way(w) || w->paused)
        loop_timer_cancel(w->base.loop, &w->whole);
    else if (!timer_armed(&w->whole))
        loop_timer(w->base.loop, &w->whole, w->message_time);
}

void websocket_read(struct websocket *w, sv octets)
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
            websocket_fail(w, WSLAY_CODE_INTERNAL_SERVER_ERROR, w->held.rc);
    }
    settle(w);
}

void websocket_read_held(struct websocket *w)
{
    struct buf held = w->held;
    buf_init_heap(&w->held, WEBSOCKET_HELD_MAX);
    websocket_read(w, buf_sv(&held));
    buf_done(&held);
}
