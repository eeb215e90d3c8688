/* SPDX-License-Identifier: MIT */
/* WebSocket: handshakes, messages in all their cuts, hostile frames, and time. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "crypto/crypto.h"
#include "net_run.h"
#include "puppet.h"
#include "sim/sim.h"
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

static void on_data(void *arg, sv octets)
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

static void on_drain(void *arg)
{
    struct user *u = arg;
    u->drained++;
    assert_int_equal(u->ws->queued, 0);
}

static void on_close(void *arg, enum err why)
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

static void on_request(void *arg, const struct http_request *rq)
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

static void on_end(void *arg, enum err why)
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

static void user_init(struct user *u)
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

static void rig_up(struct rig *r)
{
    memset(r, 0, sizeof(*r));
    r->live = mem_live();
    puppet_up(&r->p);
    user_init(&r->u);
    assert_int_equal(http_new(&r->p.loop, &r->p.s, &limits, &http_handler, &r->u, &r->u.http),
                     ERR_OK);
}

static void rig_open(struct rig *r)
{
    rig_up(r);
    assert_true(puppet_hear(&r->p, SV(HELLO)));
    assert_int_equal(r->u.accepted, ERR_OK);
    assert_non_null(r->u.ws);
    buf_reset(&r->p.said);
}

/* Another connection of the same rig. */
static void rig_again(struct rig *r)
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

static void rig_down(struct rig *r)
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
static void frame(struct buf *b, unsigned first, sv payload)
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
static unsigned said_frame(sv *said, sv *ret_payload)
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
static unsigned said_close(struct rig *r)
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

static void hear_cut(struct rig *r, sv octets, size_t piece)
{
    for (size_t i = 0; i < octets.n && !r->p.closed; i += piece)
        if (!puppet_hear(&r->p, sv_sub(octets, i, i + piece)))
            break;
}

/* ---- the handshake ---- */

static void the_key_is_answered(void **state)
{
    (void)state;
    struct rig r;
    rig_up(&r);
    r.p.s.peer_uid = 7;
    assert_int_equal(addr_parse(SV("192.0.2.1:80"), &r.p.s.local), ERR_OK);
    assert_true(puppet_hear(&r.p, SV(HELLO)));
    /* RFC 6455 §1.3 */
    sv want = SV("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                 "Sec-WebSocket-Protocol: sip\r\n\r\n");
    assert_true(sv_eq(buf_sv(&r.p.said), want));
    assert_false(r.p.paused);
    assert_int_equal(r.u.ws->peer_uid, 7);
    assert_int_equal(r.u.ws->local.port, 80);
    assert_ptr_equal(r.u.ws->loop, &r.p.loop);
    assert_int_equal(r.u.ended, 0); /* the HTTP connection left without a word */
    rig_down(&r);
}

static void what_is_no_upgrade_is_refused(void **state)
{
    (void)state;
#define GET_ "GET / HTTP/1.1\r\n"
#define HOST "Host: a\r\n"
#define V13  "Sec-WebSocket-Version: 13\r\n"
#define SIP  "Sec-WebSocket-Protocol: sip\r\n"
    static const struct {
        const char *text;
        unsigned status;
    } row[] = {
        {GET_ HOST UPGRADE KEY V13 SIP, 101},
        {GET_ HOST "upgrade: WebSocket\r\nconnection: UPGRADE\r\n" KEY V13 SIP, 101},
        {GET_ HOST UPGRADE KEY V13 "Sec-WebSocket-Protocol: a\r\n" SIP, 101},
        {GET_ HOST UPGRADE KEY V13 SIP "Sec-WebSocket-Extensions: permessage-deflate\r\n", 101},
        {GET_ HOST UPGRADE KEY V13, 400},
        {GET_ HOST UPGRADE KEY V13 "Sec-WebSocket-Protocol: sips, sip2\r\n", 400},
        {GET_ HOST UPGRADE V13 SIP, 400},
        {GET_ HOST UPGRADE KEY KEY V13 SIP, 400},
        {GET_ HOST UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n" V13 SIP, 400},
        {GET_ HOST UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=a\r\n" V13 SIP, 400},
        {GET_ HOST UPGRADE "Sec-WebSocket-Key: dGhlIHNhbX~sZSBub25jZQ==\r\n" V13 SIP, 400},
        {GET_ HOST UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQaa==\r\n" V13 SIP, 400},
        {GET_ HOST UPGRADE "Sec-WebSocket-Key:\r\n" V13 SIP, 400},
        {GET_ HOST UPGRADE KEY SIP, 400},
        {GET_ HOST UPGRADE KEY "Sec-WebSocket-Version: 8\r\n" SIP, 426},
        {GET_ HOST UPGRADE KEY "Sec-WebSocket-Version: 14\r\n" SIP, 426},
        {GET_ HOST UPGRADE KEY "Sec-WebSocket-Version: 013\r\n" SIP, 426},
        {GET_ UPGRADE KEY V13 SIP, 400},
        {GET_ HOST "Connection: Upgrade\r\n" KEY V13 SIP, 400},
        {GET_ HOST "Upgrade: websocket\r\n" KEY V13 SIP, 400},
        {GET_ HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n" KEY V13 SIP, 400},
        {"POST / HTTP/1.1\r\n" HOST UPGRADE KEY V13 SIP, 400},
        {"GET / HTTP/1.0\r\n" HOST UPGRADE KEY V13 SIP, 400},
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct rig r;
        char text[1024], want[32];
        rig_up(&r);
        int n = snprintf(text, sizeof(text), "%s\r\n", row[i].text);
        hear_cut(&r, (sv){text, (size_t)n}, 7);
        snprintf(want, sizeof(want), "HTTP/1.1 %u ", row[i].status);
        sv said = buf_sv(&r.p.said);
        if (!sv_starts(said, sv_of(want)))
            fail_msg("%s: not %u: " SV_FMT, row[i].text, row[i].status, SV_ARG(said));
        assert_int_equal(r.u.accepted, row[i].status == 101 ? ERR_OK : ERR_SYNTAX);
        buf_char(&r.p.said, '\0');
        assert_int_equal(!!strstr(r.p.said.p, "\r\nSec-WebSocket-Version: 13\r\n"),
                         row[i].status == 426);
        assert_null(strstr(r.p.said.p, "Extensions")); /* none is agreed to */
        rig_down(&r);
    }
}

static void what_came_behind_the_request_comes_later(void **state)
{
    (void)state;
    struct rig r;
    struct buf b;
    rig_up(&r);
    buf_init_heap(&b, 4096);
    buf_put(&b, SV(HELLO));
    frame(&b, TEXT, SV("one"));
    frame(&b, BINARY, SV("two"));
    size_t n = b.n;
    frame(&b, TEXT, SV("three"));
    assert_true(puppet_hear(&r.p, sv_sub(buf_sv(&b), 0, n - 3)));
    assert_int_equal(r.u.messages, 0);
    assert_true(puppet_hear(&r.p, sv_sub(buf_sv(&b), n - 3, b.n))); /* does not overtake */
    puppet_turn(&r.p, USEC_MS);
    puppet_turn(&r.p, USEC_MS);
    assert_int_equal(r.u.messages, 3);
    buf_done(&b);
    rig_down(&r);
}

/* ---- messages ---- */

static void messages_arrive_whole_however_cut(void **state)
{
    (void)state;
    struct buf b;
    struct rig r;
    rig_open(&r);
    buf_init_heap(&b, 4096);
    frame(&b, TEXT, SV("REGISTER sip:\xc3\xa4 SIP/2.0"));
    frame(&b, PING_, SV("are you there"));
    frame(&b, FIRST, SV("in "));
    frame(&b, PING_, SV(""));
    frame(&b, MORE, SV("three\xe2\x82"));
    frame(&b, PONG, SV("unasked"));
    frame(&b, LAST, SV("\xac pieces"));
    frame(&b, BINARY, SV("\xff\x00\xfe"));
    frame(&b, TEXT, SV(""));
    sv want = SV("REGISTER sip:\xc3\xa4 SIP/2.0|in three\xe2\x82\xac pieces|\xff\x00\xfe||");
    for (size_t cut = 0; cut <= b.n; cut++) {
        if (cut > 0)
            rig_again(&r);
        if (cut == 0) {
            hear_cut(&r, buf_sv(&b), 1);
        } else {
            puppet_hear(&r.p, sv_sub(buf_sv(&b), 0, cut));
            puppet_hear(&r.p, sv_sub(buf_sv(&b), cut, b.n));
        }
        assert_int_equal(r.u.messages, 4);
        assert_true(sv_eq(buf_sv(&r.u.heard), want));
        sv said = buf_sv(&r.p.said), payload;
        assert_int_equal(said_frame(&said, &payload), PONG);
        assert_true(sv_eq(payload, SV("are you there")));
        assert_int_equal(said_frame(&said, &payload), PONG);
        assert_int_equal(payload.n, 0);
        assert_int_equal(said.n, 0);
        stream_close(r.u.ws, true);
        r.u.ws = NULL;
        assert_int_equal(said_close(&r), 1000);
        assert_true(r.p.closed && r.p.flush);
    }
    buf_done(&b);
    rig_down(&r);
}

static char *pattern(size_t n)
{
    char *p = malloc(n + 1);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)('a' + i % 26);
    return p;
}

static void sizes_in_and_out(void **state)
{
    (void)state;
    static const size_t size[] = {0, 1, 124, 125, 126, 127, 4095, 4096, 4097, 65535, 65536};
    char *text = pattern(MESSAGE_MAX + 1);
    struct rig r;
    struct buf b;
    rig_open(&r);
    r.u.echo = true;
    buf_init_heap(&b, 2 * MESSAGE_MAX);
    for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
        sv payload;
        buf_reset(&b);
        buf_reset(&r.u.heard);
        buf_reset(&r.p.said);
        frame(&b, i % 2 ? TEXT : BINARY, (sv){text, size[i]});
        hear_cut(&r, buf_sv(&b), 1000);
        assert_int_equal(r.u.messages, i + 1);
        assert_int_equal(r.u.heard.n, size[i] + 1);
        assert_memory_equal(r.u.heard.p, text, size[i]);
        sv said = buf_sv(&r.p.said);
        assert_int_equal(said_frame(&said, &payload), TEXT);
        assert_int_equal(said.n, 0);
        assert_int_equal(payload.n, size[i]);
        assert_memory_equal(payload.p, text, size[i]);
    }
    /* one octet more is too much, and said before it is taken */
    buf_reset(&b);
    frame(&b, TEXT, (sv){text, MESSAGE_MAX + 1});
    puppet_hear(&r.p, sv_sub(buf_sv(&b), 0, 14));
    assert_int_equal(said_close(&r), 1009);
    assert_int_equal(r.u.why, ERR_TOOBIG);
    assert_int_equal(r.u.closed, 1);
    assert_int_equal(atomic_load(&r.p.loop.stats.refusals[STAT_LIMIT_MESSAGE_SIZE]), 1);
    free(text);
    buf_done(&b);
    rig_down(&r);
}

static void fragments_are_counted(void **state)
{
    (void)state;
    char *text = pattern(MESSAGE_MAX);
    struct rig r;
    struct buf b;
    buf_init_heap(&b, 1024 * 1024);
    /* their sum */
    rig_open(&r);
    frame(&b, FIRST, (sv){text, 40000});
    frame(&b, LAST, (sv){text, 40000});
    hear_cut(&r, buf_sv(&b), 4096);
    assert_int_equal(said_close(&r), 1009);
    assert_int_equal(r.u.messages, 0);
    /* empty ones, without end */
    rig_again(&r);
    buf_reset(&b);
    frame(&b, FIRST, SV(""));
    for (int i = 0; i < 5000; i++)
        frame(&b, MORE, SV(""));
    hear_cut(&r, buf_sv(&b), 600);
    assert_int_equal(said_close(&r), 1009);
    assert_int_equal(r.u.why, ERR_TOOBIG);
    /* pings inside a message */
    rig_again(&r);
    buf_reset(&b);
    frame(&b, FIRST, SV("x"));
    for (int i = 0; i < 5000; i++)
        frame(&b, PING_, SV(""));
    hear_cut(&r, buf_sv(&b), 600);
    assert_int_equal(said_close(&r), 1009);
    /* but between messages they are free */
    rig_again(&r);
    buf_reset(&b);
    for (int i = 0; i < 5000; i++)
        frame(&b, PING_, SV(""));
    frame(&b, TEXT, (sv){text, MESSAGE_MAX});
    hear_cut(&r, buf_sv(&b), 600);
    assert_int_equal(r.u.messages, 1);
    /* 64 octets a fragment: what a careful client may do */
    buf_reset(&b);
    for (int i = 0; i < 800; i++)
        frame(&b, i == 0 ? FIRST : i == 799 ? LAST : MORE, (sv){text + 64 * i, 64});
    hear_cut(&r, buf_sv(&b), 600);
    assert_int_equal(r.u.messages, 2);
    free(text);
    buf_done(&b);
    rig_down(&r);
}

/* ---- hostile frames ---- */

#define M    "\x01\x02\x03\x04" /* a mask; payloads below are under it */
#define A    "\x60"             /* a */
#define BAD1 "\xfe"             /* ff */
#define O(lit)                  \
    {                           \
        "" lit, sizeof(lit) - 1 \
    }
static const struct {
    const char *name;
    sv octets;
    unsigned code; /* 0: all is well; 1: a Close without one */
} hostile[] = {
    {"text", O("\x81\x81" M A), 0},
    {"unmasked text",
     O("\x81\x01"
       "a"),
     1002},
    {"unmasked empty text", O("\x81\x00"), 1002},
    {"unmasked ping", O("\x89\x00"), 1002},
    {"unmasked close", O("\x88\x00"), 1002},
    {"RSV1", O("\xc1\x81" M A), 1002},
    {"RSV2", O("\xa1\x81" M A), 1002},
    {"RSV3", O("\x91\x81" M A), 1002},
    {"RSV on a ping", O("\xc9\x80" M), 1002},
    {"RSV on a close", O("\xf8\x80" M), 1002},
    {"RSV on a continuation", O("\x01\x81" M A "\xc0\x81" M A), 1002},
    {"opcode 3", O("\x83\x80" M), 1002},
    {"opcode 4", O("\x84\x81" M A), 1002},
    {"opcode 5", O("\x85\x80" M), 1002},
    {"opcode 6", O("\x86\x80" M), 1002},
    {"opcode 7", O("\x87\x80" M), 1002},
    {"opcode 11", O("\x8b\x80" M), 1002},
    {"opcode 12", O("\x8c\x81" M A), 1002},
    {"opcode 13", O("\x8d\x80" M), 1002},
    {"opcode 14", O("\x8e\x80" M), 1002},
    {"opcode 15", O("\x8f\x80" M), 1002},
    {"opcode 3 inside a message", O("\x01\x81" M A "\x83\x80" M), 1002},
    {"opcode 11 inside a message", O("\x01\x81" M A "\x8b\x80" M), 1002},
    {"ping of 126", O("\x89\xfe\x00\x7e" M), 1002},
    {"close of 126", O("\x88\xfe\x00\x7e" M), 1002},
    {"ping of 2^63", O("\x89\xff\x80\x00\x00\x00\x00\x00\x00\x00" M), 1002},
    {"ping in fragments", O("\x09\x80" M), 1002},
    {"pong in fragments", O("\x0a\x80" M), 1002},
    {"close in fragments", O("\x08\x80" M), 1002},
    {"continuation of nothing", O("\x80\x81" M A), 1002},
    {"open continuation of nothing", O("\x00\x81" M A), 1002},
    {"continuation after the end", O("\x01\x81" M A "\x80\x81" M A "\x80\x81" M A), 1002},
    {"text inside text", O("\x01\x81" M A "\x81\x81" M A), 1002},
    {"binary inside text", O("\x01\x81" M A "\x02\x81" M A), 1002},
    {"text inside binary", O("\x02\x80" M "\x01\x80" M), 1002},
    {"length 5 in two octets", O("\x81\xfe\x00\x05" M), 1002},
    {"length 5 in eight octets", O("\x81\xff\x00\x00\x00\x00\x00\x00\x00\x05" M), 1002},
    {"length 2^63", O("\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00" M), 1002},
    {"length 2^63-1", O("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff" M), 1009},
    {"length 2^32", O("\x82\xff\x00\x00\x00\x01\x00\x00\x00\x00" M), 1009},
    {"length 65537", O("\x82\xff\x00\x00\x00\x00\x00\x01\x00\x01" M), 1009},
    {"continuation of 65536", O("\x02\x81" M A "\x80\xff\x00\x00\x00\x00\x00\x01\x00\x00" M), 1009},
    {"continuation of 2^63-1", O("\x02\x81" M A "\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff" M),
     1009},
    {"text that is no UTF-8", O("\x81\x81" M BAD1), 1007},
    {"the same in binary", O("\x82\x81" M BAD1), 0},
    {"close without a code", O("\x88\x80" M), 1},
    {"close with half a code", O("\x88\x81" M "\x02"), 1002},
    {"close, its reason no UTF-8", O("\x88\x83" M "\x02\xea\xfc"), 1007},
};

static void hostile_frames_are_told_so(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        for (size_t piece = 1; piece <= 64; piece = piece < 4 ? piece + 1 : piece * 4) {
            rig_again(&r);
            hear_cut(&r, hostile[i].octets, piece);
            unsigned code = said_close(&r);
            if (code != hostile[i].code)
                fail_msg("%s, by %zu: %u, not %u", hostile[i].name, piece, code, hostile[i].code);
        }
    }
    rig_down(&r);
}

/* Text in each cut; the same octets in fragments of one; inside a Close. */
static void utf8_is_checked(void **state)
{
    (void)state;
    static const struct {
        sv text;
        bool good;
    } row[] = {
        {O("plain"), true},
        {O("\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"), true},
        {O("\xc2\x80"), true},
        {O("\xdf\xbf"), true},
        {O("\xe0\xa0\x80"), true},
        {O("\xed\x9f\xbf"), true},
        {O("\xee\x80\x80"), true},
        {O("\xef\xbf\xbf"), true},
        {O("\xf0\x90\x80\x80"), true},
        {O("\xf4\x8f\xbf\xbf"), true},
        {O("\x00\x7f"), true},
        {O("\xc1\xbf"), false},         /* overlong */
        {O("\xe0\x9f\xbf"), false},     /* overlong */
        {O("\xf0\x8f\xbf\xbf"), false}, /* overlong */
        {O("\xed\xa0\x80"), false},     /* a surrogate */
        {O("\xed\xbf\xbf"), false},     /* a surrogate */
        {O("\xf4\x90\x80\x80"), false}, /* above U+10FFFF */
        {O("\xf5\x80\x80\x80"), false},
        {O("\x80"), false},
        {O("\xc3"), false}, /* cut by the end */
        {O("abc\xe2\x82"), false},
        {O("\xf0\x9f\x98"), false},
        {O("\xc3\x28"), false},
        {O("\xff"), false},
        {O("\xce\xba\xed\xa0\x80"
           "edited"),
         false},
    };
    struct rig r;
    struct buf b;
    char reason[64] = {0x03, (char)0xe8};
    rig_open(&r);
    buf_init_heap(&b, 4096);
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        for (size_t piece = 1; piece < 40; piece++) {
            rig_again(&r);
            buf_reset(&b);
            frame(&b, TEXT, row[i].text);
            hear_cut(&r, buf_sv(&b), piece);
            assert_int_equal(said_close(&r), row[i].good ? 0 : 1007);
            assert_int_equal(r.u.messages, row[i].good);
            rig_again(&r);
            buf_reset(&b);
            frame(&b, FIRST, SV(""));
            for (size_t k = 0; k < row[i].text.n; k++)
                frame(&b, MORE, sv_sub(row[i].text, k, k + 1));
            frame(&b, LAST, SV(""));
            hear_cut(&r, buf_sv(&b), piece);
            assert_int_equal(said_close(&r), row[i].good ? 0 : 1007);
            rig_again(&r);
            buf_reset(&b);
            memcpy(reason + 2, row[i].text.p, row[i].text.n);
            frame(&b, CLOSE, (sv){reason, 2 + row[i].text.n});
            hear_cut(&r, buf_sv(&b), piece);
            assert_int_equal(said_close(&r), row[i].good ? 1000 : 1007);
        }
        /* what we send of it is text or binary */
        sv said, payload;
        rig_again(&r);
        for (size_t cut = 0; cut <= row[i].text.n; cut++) {
            sv pieces[] = {sv_sub(row[i].text, 0, cut), sv_sub(row[i].text, cut, row[i].text.n)};
            buf_reset(&r.p.said);
            assert_int_equal(stream_send(r.u.ws, pieces, 2), ERR_OK);
            said = buf_sv(&r.p.said);
            assert_int_equal(said_frame(&said, &payload), row[i].good ? TEXT : BINARY);
            assert_true(sv_eq(payload, row[i].text));
        }
        stream_close(r.u.ws, false);
        r.u.ws = NULL;
    }
    /* A wrong octet ends it, whatever would come behind it. */
    rig_again(&r);
    buf_reset(&b);
    frame(&b, TEXT,
          SV("abc\xff"
             "0123456789"));
    puppet_hear(&r.p, sv_sub(buf_sv(&b), 0, 10));
    assert_int_equal(said_close(&r), 1007);
    buf_done(&b);
    rig_down(&r);
}

static void close_codes(void **state)
{
    (void)state;
    static const struct {
        unsigned code;
        bool good;
    } row[] = {{0, false},    {1, false},    {999, false},  {1000, true},  {1001, true},
               {1002, true},  {1003, true},  {1004, false}, {1005, false}, {1006, false},
               {1007, true},  {1008, true},  {1009, true},  {1010, true},  {1011, true},
               {1015, false}, {1016, false}, {1100, false}, {2000, false}, {2999, false},
               {3000, true},  {3999, true},  {4000, true},  {4999, true},  {5000, false},
               {65535, false}};
    struct rig r;
    struct buf b;
    rig_open(&r);
    buf_init_heap(&b, 4096);
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char payload[2] = {(char)(row[i].code >> 8), (char)(row[i].code & 0xff)};
        rig_again(&r);
        buf_reset(&b);
        frame(&b, CLOSE, (sv){payload, 2});
        frame(&b, TEXT, SV("after the end"));
        hear_cut(&r, buf_sv(&b), 1000);
        assert_int_equal(said_close(&r), row[i].good ? row[i].code : 1002);
        assert_int_equal(r.u.why, row[i].good ? ERR_OK : ERR_SYNTAX);
        assert_int_equal(r.u.closed, 1);
        assert_int_equal(r.u.messages, 0);
        assert_true(r.p.closed && r.p.flush);
    }
    /* the peer's end without one */
    rig_again(&r);
    puppet_end(&r.p, ERR_OK);
    assert_int_equal(r.u.why, ERR_CLOSED);
    rig_again(&r);
    puppet_end(&r.p, ERR_TIMEOUT);
    assert_int_equal(r.u.why, ERR_TIMEOUT);
    buf_done(&b);
    rig_down(&r);
}

/* ---- writing ---- */

static void many_pieces_are_one_message(void **state)
{
    (void)state;
    struct rig r;
    sv pieces[40], said, payload;
    rig_open(&r);
    for (unsigned n = 0; n <= 40; n++) {
        for (unsigned i = 0; i < n; i++)
            pieces[i] = SV("piece ");
        buf_reset(&r.p.said);
        r.p.sends = 0;
        assert_int_equal(stream_send(r.u.ws, pieces, n), ERR_OK);
        said = buf_sv(&r.p.said);
        assert_int_equal(said_frame(&said, &payload), TEXT);
        assert_int_equal(payload.n, n * 6);
        assert_int_equal(r.p.sends, 1);
    }
    rig_down(&r);
}

static void the_write_queue_has_its_cap(void **state)
{
    (void)state;
    struct rig r;
    sv one = SV("0123456789");
    rig_open(&r);
    r.p.stalled = true;
    r.u.ws->queue_max = 100;
    unsigned n = 0;
    while (stream_send(r.u.ws, &one, 1) == ERR_OK)
        n++;
    assert_int_equal(n, 8);
    assert_int_equal(r.u.ws->queued, 96);
    assert_int_equal(stream_send(r.u.ws, &one, 1), ERR_TOOBIG);
    /* a peer that is spoken to all the time and never reads */
    struct buf b;
    buf_init_heap(&b, 1024 * 1024);
    for (int i = 0; i < 1000; i++) {
        char text[125];
        memset(text, 'a' + i % 26, sizeof(text));
        frame(&b, PING_, (sv){text, sizeof(text)});
    }
    frame(&b, PING_, SV("last"));
    frame(&b, TEXT, SV("hello"));
    size_t live = mem_live();
    hear_cut(&r, buf_sv(&b), 1460);
    assert_int_equal(r.u.messages, 1);
    assert_int_equal(r.u.ws->queued, 96);
    assert_true(mem_live() <= live + 2); /* what was heard, and a pong */
    buf_reset(&r.p.said);
    puppet_drain(&r.p);
    assert_int_equal(r.u.drained, 1);
    assert_int_equal(r.u.ws->queued, 0);
    sv said = buf_sv(&r.p.said), payload;
    assert_int_equal(said_frame(&said, &payload), PONG);
    assert_true(sv_eq(payload, SV("last")));
    assert_int_equal(said.n, 0);
    /* an empty one is owed too */
    r.p.stalled = true;
    assert_int_equal(stream_send(r.u.ws, &one, 1), ERR_OK);
    buf_reset(&b);
    frame(&b, PING_, SV(""));
    hear_cut(&r, buf_sv(&b), 1460);
    buf_reset(&r.p.said);
    puppet_drain(&r.p);
    said = buf_sv(&r.p.said);
    assert_int_equal(said_frame(&said, &payload), PONG);
    assert_int_equal(payload.n, 0);
    /* a full queue has room for the Close */
    r.p.stalled = true;
    while (stream_send(r.u.ws, &one, 1) == ERR_OK)
        continue;
    buf_reset(&r.p.said);
    stream_close(r.u.ws, true);
    r.u.ws = NULL;
    assert_int_equal(said_close(&r), 1000);
    buf_done(&b);
    rig_down(&r);
}

static void errors_of_the_lower_stream_come_back(void **state)
{
    (void)state;
    struct rig r;
    sv one = SV("x");
    rig_open(&r);
    r.p.send_rc = ERR_CLOSED;
    assert_int_equal(stream_send(r.u.ws, &one, 1), ERR_CLOSED);
    puppet_end(&r.p, ERR_IO);
    assert_int_equal(r.u.closed, 1);
    assert_int_equal(r.u.why, ERR_IO);
    rig_down(&r);
}

/* ---- time ---- */

static void silence_is_asked_then_ended(void **state)
{
    (void)state;
    struct rig r;
    struct buf b;
    sv said, payload;
    rig_open(&r);
    buf_init_heap(&b, 4096);
    puppet_turn(&r.p, PING - USEC_S);
    assert_int_equal(r.p.said.n, 0);
    frame(&b, PONG, SV(""));
    hear_cut(&r, buf_sv(&b), 100); /* any octet is life */
    puppet_turn(&r.p, 2 * USEC_S);
    assert_int_equal(r.p.said.n, 0);
    for (int i = 0; i < 5; i++) { /* one that answers stays */
        puppet_turn(&r.p, PING);
        said = buf_sv(&r.p.said);
        assert_int_equal(said_frame(&said, &payload), PING_);
        assert_int_equal(said.n, 0);
        buf_reset(&r.p.said);
        hear_cut(&r, buf_sv(&b), 100);
    }
    puppet_turn(&r.p, PING);
    puppet_turn(&r.p, PING - USEC_S);
    assert_int_equal(r.u.closed, 0);
    puppet_turn(&r.p, 2 * USEC_S);
    assert_int_equal(r.u.closed, 1);
    assert_int_equal(r.u.why, ERR_TIMEOUT);
    /* it is not the peer's fault when we do not listen */
    rig_again(&r);
    stream_pause(r.u.ws, true);
    for (int i = 0; i < 10; i++)
        puppet_turn(&r.p, PING);
    assert_int_equal(r.u.closed, 0);
    assert_int_equal(r.p.said.n, 0);
    stream_pause(r.u.ws, false);
    puppet_turn(&r.p, PING + USEC_S);
    assert_int_equal(r.u.closed, 0);
    buf_done(&b);
    rig_down(&r);
}

static void a_message_has_its_time(void **state)
{
    (void)state;
    struct rig r;
    struct buf b;
    rig_open(&r);
    buf_init_heap(&b, 4096);
    frame(&b, TEXT, SV("0123456789012345678901234567890123456789"));
    /* at every octet: a header, a payload, and, below, a cut control frame and fragments */
    for (size_t n = 1; n < b.n; n += 3) {
        rig_again(&r);
        puppet_hear(&r.p, sv_sub(buf_sv(&b), 0, n));
        puppet_turn(&r.p, MESSAGE_TIME - USEC_S);
        puppet_hear(&r.p, sv_sub(buf_sv(&b), n, n));
        assert_int_equal(r.u.closed, 0);
        puppet_turn(&r.p, 2 * USEC_S);
        assert_int_equal(r.u.closed, 1);
        assert_int_equal(r.u.why, ERR_TIMEOUT);
        assert_int_equal(said_close(&r), 1008);
    }
    assert_true(atomic_load(&r.p.loop.stats.refusals[STAT_LIMIT_MESSAGE_TIME]) > 10);
    /* a drip of right octets does not move it */
    rig_again(&r);
    for (size_t n = 0; n < b.n && !r.u.closed; n++) {
        puppet_hear(&r.p, sv_sub(buf_sv(&b), n, n + 1));
        puppet_turn(&r.p, USEC_S);
        assert_true(n < 12);
    }
    assert_int_equal(r.u.why, ERR_TIMEOUT);
    static const sv cut[] = {O("\x89\x85" M "ab"), O("\x01\x81" M "a"),
                             O("\x01\x81" M "a"
                               "\x89\x80" M)};
    for (size_t i = 0; i < 3; i++) {
        rig_again(&r);
        puppet_hear(&r.p, cut[i]);
        puppet_turn(&r.p, MESSAGE_TIME + USEC_S);
        assert_int_equal(r.u.why, ERR_TIMEOUT);
    }
    /* each message has its own: pieces that end one and begin the next, for ever */
    rig_again(&r);
    puppet_hear(&r.p, sv_sub(buf_sv(&b), 0, 20));
    for (int i = 0; i < 10; i++) {
        puppet_turn(&r.p, MESSAGE_TIME - USEC_S);
        struct buf two;
        buf_init_heap(&two, 4096);
        buf_put(&two, sv_sub(buf_sv(&b), 20, b.n));
        buf_put(&two, sv_sub(buf_sv(&b), 0, 20));
        puppet_hear(&r.p, buf_sv(&two));
        buf_done(&two);
    }
    assert_int_equal(r.u.messages, 10);
    assert_int_equal(r.u.closed, 0);
    buf_done(&b);
    rig_down(&r);
}

/* ---- pause, close ---- */

static void paused_it_says_nothing(void **state)
{
    (void)state;
    struct rig r;
    struct buf b;
    rig_open(&r);
    buf_init_heap(&b, 4096);
    for (int i = 0; i < 5; i++) {
        char text[2] = {(char)('a' + i), 0};
        frame(&b, TEXT, sv_of(text));
    }
    for (unsigned at = 1; at <= 5; at++) {
        rig_again(&r);
        r.u.pause_at = at;
        puppet_hear(&r.p, buf_sv(&b));
        assert_int_equal(r.u.messages, at);
        assert_true(r.p.paused);
        puppet_turn(&r.p, 5 * MESSAGE_TIME); /* time stands still for the peer */
        assert_int_equal(r.u.messages, at);
        assert_int_equal(r.u.closed, 0);
        stream_pause(r.u.ws, false);
        assert_int_equal(r.u.messages, at); /* not inside the call */
        assert_false(r.p.paused);
        puppet_turn(&r.p, USEC_MS);
        puppet_turn(&r.p, USEC_MS);
        assert_int_equal(r.u.messages, 5);
        assert_true(sv_eq(buf_sv(&r.u.heard), SV("a|b|c|d|e|")));
        stream_close(r.u.ws, false);
        r.u.ws = NULL;
    }
    /* closed while something is held */
    rig_again(&r);
    r.u.pause_at = 1;
    puppet_hear(&r.p, buf_sv(&b));
    stream_pause(r.u.ws, false);
    stream_close(r.u.ws, false);
    r.u.ws = NULL;
    puppet_turn(&r.p, USEC_S);
    assert_int_equal(r.u.messages, 1);
    buf_done(&b);
    rig_down(&r);
}

static void the_user_may_close_anywhere(void **state)
{
    (void)state;
    struct rig r;
    struct buf b;
    rig_open(&r);
    buf_init_heap(&b, 4096);
    for (int i = 0; i < 4; i++) {
        frame(&b, FIRST, SV("a message"));
        frame(&b, PING_, SV("p"));
        frame(&b, LAST, SV(" in two"));
    }
    for (int flush = 0; flush < 2; flush++) {
        for (unsigned at = 1; at <= 4; at++) { /* in on_data */
            rig_again(&r);
            r.u.close_at = at;
            r.u.flush = flush;
            puppet_hear(&r.p, buf_sv(&b));
            assert_int_equal(r.u.messages, at);
            assert_int_equal(r.u.closed, 0);
            assert_int_equal(said_close(&r), 1000);
            assert_true(r.p.closed && r.p.flush == flush);
        }
        for (size_t n = 0; n <= b.n; n++) { /* after each octet; the peer, too */
            rig_again(&r);
            puppet_hear(&r.p, sv_sub(buf_sv(&b), 0, n));
            stream_close(r.u.ws, flush);
            r.u.ws = NULL;
            assert_int_equal(r.u.closed, 0);
            rig_again(&r);
            r.u.close_on_close = flush;
            puppet_hear(&r.p, sv_sub(buf_sv(&b), 0, n));
            puppet_end(&r.p, ERR_IO);
            assert_int_equal(r.u.closed, 1);
        }
    }
    /* in on_close after a broken frame */
    rig_again(&r);
    r.u.close_on_close = true;
    puppet_hear(&r.p, SV("\xff"));
    puppet_hear(&r.p, SV("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"));
    assert_int_equal(r.u.closed, 1);
    /* when the process stops, it goes away */
    rig_again(&r);
    r.p.loop.stopping = true;
    stream_close(r.u.ws, true);
    r.u.ws = NULL;
    assert_int_equal(said_close(&r), 1001);
    buf_done(&b);
    rig_down(&r);
}

static void memory_may_end_anywhere(void **state)
{
    (void)state;
    struct buf b;
    buf_init_heap(&b, 4096);
    buf_put(&b, SV(HELLO));
    frame(&b, FIRST, SV("one "));
    frame(&b, PING_, SV("p"));
    frame(&b, LAST, SV("message"));
    bool through = false;
    for (size_t n = 1; n < 200 && !through; n++) {
        struct rig r;
        rig_up(&r);
        /* what the rig itself needs is there */
        buf_str(&r.p.said,
                "                                                                      ");
        buf_reset(&r.p.said);
        char *room = mem_alloc(4096);
        mem_free(r.p.said.p);
        r.p.said.p = room;
        r.p.said.cap = 4096;
        buf_str(&r.u.heard, "          ");
        buf_reset(&r.u.heard);
        mem_fail_after(n);
        hear_cut(&r, buf_sv(&b), 30);
        puppet_turn(&r.p, USEC_MS);
        mem_fail_after(0);
        through = r.u.messages == 1 && r.u.closed == 0;
        if (!through && r.u.accepted == ERR_OK)
            assert_int_equal(r.u.closed, 1);
        rig_down(&r);
    }
    assert_true(through);
    buf_done(&b);
}

/* ---- over real and simulated streams ---- */

/* A server that echoes, and a client that sends messages in one go and
 * keeps what it hears. */
struct exchange {
    struct user u;
    struct listener *listener;
    struct stream *client;
    struct buf say, heard;
    bool closed;
    struct loop_group *group; /* real: to stop */
};

static void net_accept(void *arg, struct stream *s)
{
    struct exchange *n = arg;
    assert_int_equal(http_new(s->loop, s, &limits, &http_handler, &n->u, &n->u.http), ERR_OK);
}

static void client_open(void *arg)
{
    struct exchange *n = arg;
    sv all = buf_sv(&n->say);
    assert_int_equal(stream_send(n->client, &all, 1), ERR_OK);
}

static void client_data(void *arg, sv octets)
{
    struct exchange *n = arg;
    buf_put(&n->heard, octets);
}

static void client_close(void *arg, enum err why)
{
    struct exchange *n = arg;
    assert_int_equal(why, ERR_OK);
    n->closed = true;
    n->client = NULL;
    if (n->group)
        worker_group_stop(n->group);
}

static const struct listener_handler net_listening = {.on_accept = net_accept};
static const struct stream_handler net_client = {
    .on_open = client_open, .on_data = client_data, .on_close = client_close};

enum { NET_MESSAGES = 40 };

static void net_begin(struct exchange *n, struct loop *l, struct addr *at, char *text)
{
    user_init(&n->u);
    n->u.echo = true;
    n->closed = false;
    buf_init_heap(&n->say, 1024 * 1024);
    buf_init_heap(&n->heard, 1024 * 1024);
    buf_put(&n->say, SV(HELLO));
    for (unsigned i = 0; i < NET_MESSAGES; i++)
        frame(&n->say, i % 2 ? TEXT : BINARY, (sv){text, i * 150});
    frame(&n->say, CLOSE, SV("\x03\xe8"));
    assert_int_equal(stream_listen(l, at, &net_listening, n, &n->listener), ERR_OK);
    *at = n->listener->local;
    assert_int_equal(stream_connect(l, NULL, at, &net_client, n, &n->client), ERR_OK);
}

static void net_check(struct exchange *n, const char *text)
{
    sv said = buf_sv(&n->heard), payload;
    assert_true(n->closed);
    assert_int_equal(n->u.messages, NET_MESSAGES);
    assert_int_equal(n->u.closed, 1);
    assert_int_equal(n->u.why, ERR_OK);
    assert_true(sv_starts(said, SV("HTTP/1.1 101 ")));
    while (said.n && !sv_starts(said, SV("\r\n\r\n")))
        said = sv_sub(said, 1, said.n);
    said = sv_sub(said, 4, said.n);
    for (unsigned i = 0; i < NET_MESSAGES; i++) {
        assert_int_equal(said_frame(&said, &payload), TEXT);
        assert_true(sv_eq(payload, (sv){text, i * 150}));
    }
    assert_int_equal(said_frame(&said, &payload), CLOSE);
    assert_int_equal(said.n, 0);
}

static void net_finish(struct exchange *n)
{
    http_close(n->u.http, false);
    stream_close(n->u.ws, false);
    stream_close(n->client, false);
    listener_close(n->listener);
    buf_done(&n->say);
    buf_done(&n->heard);
    buf_done(&n->u.heard);
}

static void it_works_in_the_simulation(void **state)
{
    (void)state;
    char *text = pattern(NET_MESSAGES * 150);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        size_t live = mem_live();
        struct exchange n = {0};
        struct sim *sim;
        struct sim_host *host;
        struct loop_group *g;
        struct addr ip, at;
        assert_int_equal(addr_parse_ip(SV("192.0.2.1"), 0, &ip), ERR_OK);
        assert_int_equal(addr_parse(SV("192.0.2.1:80"), &at), ERR_OK);
        assert_int_equal(sim_new(seed, &sim), ERR_OK);
        assert_int_equal(sim_host_new(sim, "pbx", &ip, 1, &host), ERR_OK);
        assert_int_equal(sim_process(host, 1, &g), ERR_OK);
        net_begin(&n, g->loop[0], &at, text);
        sim_run_until(sim, 60 * USEC_S);
        net_check(&n, text);
        net_finish(&n);
        sim_free(sim);
        assert_int_equal(mem_live(), live);
    }
    free(text);
}

static void it_works_on_a_real_loop(void **state)
{
    (void)state;
    char *text = pattern(NET_MESSAGES * 150);
    struct exchange n = {0};
    struct addr any = net_addr("127.0.0.1:0");
    net_setup(1);
    n.group = group;
    net_begin(&n, at, &any, text);
    net_run();
    net_check(&n, text);
    net_finish(&n);
    net_end();
    free(text);
}

/* ---- memory and time ---- */

static size_t heap_now(void)
{
    return mallinfo2().uordblks;
}

static void an_idle_connection_costs_little(void **state)
{
    (void)state;
    enum { N = 500 };
    static struct rig r[N];
    struct buf b;
    buf_init_heap(&b, 8192);
    char *text = pattern(1000);
    frame(&b, TEXT, (sv){text, 1000});
    /* the rigs' own memory is not the connections' */
    for (int i = 0; i < N; i++) {
        rig_up(&r[i]);
        buf_done(&r[i].p.said);
        buf_done(&r[i].u.heard);
        http_close(r[i].u.http, false);
        puppet_again(&r[i].p);
    }
    size_t before = heap_now();
    for (int i = 0; i < N; i++)
        assert_int_equal(
            http_new(&r[i].p.loop, &r[i].p.s, &limits, &http_handler, &r[i].u, &r[i].u.http),
            ERR_OK);
    size_t fresh = heap_now();
    for (int i = 0; i < N; i++) {
        puppet_hear(&r[i].p, SV(HELLO));
        hear_cut(&r[i], buf_sv(&b), 300); /* it has been in use */
        assert_int_equal(r[i].u.messages, 1);
        buf_done(&r[i].p.said);
        buf_done(&r[i].u.heard);
    }
    size_t idle = heap_now();
    for (int i = 0; i < N; i++)
        puppet_hear(&r[i].p, sv_sub(buf_sv(&b), 0, 20));
    size_t busy = heap_now();
    printf("bytes of an HTTP connection before its request: %zu\n", (fresh - before) / N);
    printf("bytes of an idle WebSocket connection above its stream: %zu\n", (idle - before) / N);
    printf("bytes of one in the middle of a message: %zu\n", (busy - before) / N);
    assert_true((idle - before) / N < 1024);
    for (int i = 0; i < N; i++) {
        stream_close(r[i].u.ws, false);
        buf_done(&r[i].p.said);
        puppet_down(&r[i].p);
    }
    free(text);
    buf_done(&b);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void what_a_message_costs(void **state)
{
    (void)state;
    enum { N = 20000 };
    struct rig r;
    struct buf b;
    char *text = pattern(700);
    sv one = {text, 700};
    rig_open(&r);
    buf_init_heap(&b, 8192);
    frame(&b, TEXT, one);
    double t0 = seconds();
    for (int i = 0; i < N; i++) {
        puppet_hear(&r.p, buf_sv(&b));
        buf_reset(&r.u.heard);
    }
    double t1 = seconds();
    for (int i = 0; i < N; i++) {
        assert_int_equal(stream_send(r.u.ws, &one, 1), ERR_OK);
        buf_reset(&r.p.said);
    }
    double t2 = seconds();
    assert_int_equal(r.u.messages, N);
    printf("a message of 700 octets: in %.2f us, out %.2f us\n", (t1 - t0) / N * 1e6,
           (t2 - t1) / N * 1e6);
    free(text);
    buf_done(&b);
    rig_down(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_is_answered),
        cmocka_unit_test(what_is_no_upgrade_is_refused),
        cmocka_unit_test(what_came_behind_the_request_comes_later),
        cmocka_unit_test(messages_arrive_whole_however_cut),
        cmocka_unit_test(sizes_in_and_out),
        cmocka_unit_test(fragments_are_counted),
        cmocka_unit_test(hostile_frames_are_told_so),
        cmocka_unit_test(utf8_is_checked),
        cmocka_unit_test(close_codes),
        cmocka_unit_test(many_pieces_are_one_message),
        cmocka_unit_test(the_write_queue_has_its_cap),
        cmocka_unit_test(errors_of_the_lower_stream_come_back),
        cmocka_unit_test(silence_is_asked_then_ended),
        cmocka_unit_test(a_message_has_its_time),
        cmocka_unit_test(paused_it_says_nothing),
        cmocka_unit_test(the_user_may_close_anywhere),
        cmocka_unit_test(memory_may_end_anywhere),
        cmocka_unit_test(it_works_in_the_simulation),
        cmocka_unit_test(it_works_on_a_real_loop),
        cmocka_unit_test(an_idle_connection_costs_little),
        cmocka_unit_test(what_a_message_costs),
    };
    if (crypto_start())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
