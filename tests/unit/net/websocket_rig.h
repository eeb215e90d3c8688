/* SPDX-License-Identifier: MIT */
/* What the tests of WebSocket share: a connection moved by hand, its user, and a client's frames. */
#ifndef WEBSOCKET_RIG_H
#define WEBSOCKET_RIG_H
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "crypto/crypto.h"
#include "puppet.h"
#include "websocket/websocket.h"

enum { MESSAGE_MAX = 65536, HEARD_MAX = 64 };
#define PING         (30 * USEC_S)
#define MESSAGE_TIME (10 * USEC_S)
#define KEY          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define UPGRADE      "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
#define HELLO                                              \
    "GET / HTTP/1.1\r\nHost: example.test\r\n" UPGRADE KEY \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: other, sip\r\n\r\n"

/* What the user of the message stream sees and does. */
struct user {
    struct http *http;
    struct stream *ws;
    struct websocket_config config;
    enum err accepted;
    unsigned messages, drained, closed, ended;
    enum err why;
    struct buf heard;            /* all messages, each followed by '|' */
    unsigned pause_at, close_at; /* the message at which it does that; 0: never */
    bool flush, close_on_close, echo;
};

static inline void on_data(void *arg, sv octets)
{
    struct user *u = arg;
    assert_int_equal(u->closed, 0);
    assert_non_null(octets.p);
    u->messages++;
    buf_put(&u->heard, octets);
    buf_char(&u->heard, '|');
    if (u->echo)
        assert_int_equal(stream_send(u->ws, &octets, 1), ERR_OK);
    if (u->messages == u->pause_at)
        stream_pause(u->ws, true);
    if (u->messages == u->close_at) {
        stream_close(u->ws, u->flush);
        u->ws = NULL;
    }
}

static inline void on_drain(void *arg)
{
    struct user *u = arg;
    u->drained++;
    assert_int_equal(u->ws->queued, 0);
}

static inline void on_close(void *arg, enum err why)
{
    struct user *u = arg;
    u->closed++;
    u->why = why;
    if (u->close_on_close)
        stream_close(u->ws, true);
    u->ws = NULL;
}

static const struct stream_handler messages = {
    .on_data = on_data, .on_drain = on_drain, .on_close = on_close};

static inline void on_request(void *arg, const struct http_request *rq)
{
    struct user *u = arg;
    unsigned before = u->messages;
    u->accepted = websocket_accept(u->http, rq, &u->config, &messages, u, &u->ws);
    if (u->accepted == ERR_OK)
        u->http = NULL;
    else
        assert_null(u->ws);
    assert_int_equal(u->messages, before); /* not inside the call */
    if (u->accepted == ERR_NOMEM)
        http_reply_last(u->http, 503, SV_NONE, SV_NONE, SV_NONE);
}

static inline void on_end(void *arg, enum err why)
{
    struct user *u = arg;
    (void)why;
    u->ended++;
    u->http = NULL;
}

static const struct http_handler http_handler = {.on_request = on_request, .on_end = on_end};
static const struct http_limits limits = {.head_max = 8192,
                                          .body_max = 1024,
                                          .head_time = 10 * USEC_S,
                                          .body_time = 10 * USEC_S,
                                          .idle = 60 * USEC_S};

struct rig {
    struct puppet p;
    struct user u;
    size_t live;
};

static inline void user_init(struct user *u)
{
    memset(u, 0, sizeof(*u));
    u->accepted = ERR_COUNT;
    u->config = (struct websocket_config){.protocol = SV("sip"),
                                          .text = true,
                                          .message_max = MESSAGE_MAX,
                                          .message_time = MESSAGE_TIME,
                                          .ping = PING};
    buf_init_heap(&u->heard, (size_t)1 << 26);
}

static inline void rig_up(struct rig *r)
{
    memset(r, 0, sizeof(*r));
    r->live = mem_live();
    puppet_up(&r->p);
    user_init(&r->u);
    assert_int_equal(http_new(&r->p.loop, &r->p.s, &limits, &http_handler, &r->u, &r->u.http),
                     ERR_OK);
}

static inline void rig_open(struct rig *r)
{
    rig_up(r);
    assert_true(puppet_hear(&r->p, SV(HELLO)));
    assert_int_equal(r->u.accepted, ERR_OK);
    assert_non_null(r->u.ws);
    buf_reset(&r->p.said);
}

/* Another connection of the same rig. */
static inline void rig_again(struct rig *r)
{
    http_close(r->u.http, false);
    stream_close(r->u.ws, false);
    buf_done(&r->u.heard);
    user_init(&r->u);
    puppet_again(&r->p);
    assert_int_equal(http_new(&r->p.loop, &r->p.s, &limits, &http_handler, &r->u, &r->u.http),
                     ERR_OK);
    assert_true(puppet_hear(&r->p, SV(HELLO)));
    assert_int_equal(r->u.accepted, ERR_OK);
    buf_reset(&r->p.said);
}

static inline void rig_down(struct rig *r)
{
    http_close(r->u.http, false);
    stream_close(r->u.ws, false);
    puppet_turn(&r->p, USEC_S);
    buf_done(&r->u.heard);
    puppet_down(&r->p);
    assert_int_equal(mem_live(), r->live);
}

/* ---- frames ---- */

enum {
    TEXT = 0x81,
    BINARY = 0x82,
    CLOSE = 0x88,
    PING_ = 0x89,
    PONG = 0x8a,
    FIRST = 0x01,
    MORE = 0x00,
    LAST = 0x80
};

/* A client's frame. */
static inline void frame(struct buf *b, unsigned first, sv payload)
{
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    buf_char(b, (char)first);
    if (payload.n < 126) {
        buf_char(b, (char)(0x80 | payload.n));
    } else if (payload.n <= UINT16_MAX) {
        buf_char(b, (char)(0x80 | 126));
        buf_char(b, (char)(payload.n >> 8));
        buf_char(b, (char)(payload.n & 0xff));
    } else {
        buf_char(b, (char)(0x80 | 127));
        for (int i = 7; i >= 0; i--)
            buf_char(b, (char)((uint64_t)payload.n >> (8 * i) & 0xff));
    }
    buf_mem(b, mask, 4);
    for (size_t i = 0; i < payload.n; i++)
        buf_char(b, (char)(payload.p[i] ^ mask[i % 4]));
    assert_int_equal(b->rc, ERR_OK);
}

/* One frame of ours off what was said. Ours are whole and unmasked, their lengths as short as can be. */
static inline unsigned said_frame(sv *said, sv *ret_payload)
{
    assert_true(said->n >= 2);
    unsigned first = (uint8_t)said->p[0];
    uint64_t n = (uint8_t)said->p[1];
    size_t at = 2;
    assert_false(n & 0x80);
    if (n >= 126) {
        size_t more = n == 126 ? 2 : 8;
        n = 0;
        for (size_t i = 0; i < more; i++)
            n = n << 8 | (uint8_t)said->p[at++];
        assert_true(more == 2 ? n >= 126 : n > UINT16_MAX);
    }
    assert_true(said->n - at >= n);
    *ret_payload = sv_sub(*said, at, at + (size_t)n);
    *said = sv_sub(*said, at + (size_t)n, said->n);
    return first;
}

/* The code of the Close that was said last; 0: none; 1: one without a code. */
static inline unsigned said_close(struct rig *r)
{
    sv said = buf_sv(&r->p.said), payload;
    unsigned code = 0;
    while (said.n > 0) {
        assert_int_equal(code, 0); /* nothing comes after a Close */
        if (said_frame(&said, &payload) == CLOSE)
            code =
                payload.n < 2 ? 1 : (unsigned)((uint8_t)payload.p[0] << 8 | (uint8_t)payload.p[1]);
    }
    return code;
}

static inline void hear_cut(struct rig *r, sv octets, size_t piece)
{
    for (size_t i = 0; i < octets.n && !r->p.closed; i += piece)
        if (!puppet_hear(&r->p, sv_sub(octets, i, i + piece)))
            break;
}

static inline char *pattern(size_t n)
{
    char *p = malloc(n + 1);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)('a' + i % 26);
    return p;
}

#define O(lit)                  \
    {                           \
        "" lit, sizeof(lit) - 1 \
    }
#define M "\x01\x02\x03\x04" /* a mask; payloads below are under it */

#endif
