/* SPDX-License-Identifier: MIT */
/* fuzz/websocket_fuzz.c: any octets behind a handshake; messages and our answers must be the same however
 * the octets are cut, messages within their limit, and text UTF-8 where it claims to be. The first
 * octet says how the user behaves. */
#include "puppet.h"
#include "websocket/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAUSES = 1, CLOSES = 2, STALLS = 4, ECHOES = 8, MESSAGE_MAX = 300 };

struct user {
    struct http *http;
    struct stream *ws;
    struct buf heard;
    unsigned messages, closed, how;
};

static void on_data(void *arg, sv octets)
{
    struct user *u = arg;
    puppet_must(!u->closed && octets.n <= MESSAGE_MAX);
    u->messages++;
    buf_put(&u->heard, octets);
    buf_char(&u->heard, '|');
    if (u->how & ECHOES)
        puppet_must(stream_send(u->ws, &octets, 1) == ERR_OK);
    if ((u->how & PAUSES) && u->messages % 2)
        stream_pause(u->ws, true);
    if ((u->how & CLOSES) && u->messages == 3) {
        stream_close(u->ws, true);
        u->ws = NULL;
    }
}

static void on_close(void *arg, enum err why)
{
    struct user *u = arg;
    (void)why;
    puppet_must(u->closed++ == 0);
    u->ws = NULL;
}

static void on_request(void *arg, const struct http_request *rq)
{
    static const struct stream_handler messages = {.on_data = on_data, .on_close = on_close};
    static const struct websocket_config config = {.protocol = {"sip", 3},
                                                   .text = true,
                                                   .message_max = MESSAGE_MAX,
                                                   .message_time = 10 * USEC_S,
                                                   .ping = 30 * USEC_S};
    struct user *u = arg;
    puppet_must(websocket_accept(u->http, rq, &config, &messages, u, &u->ws) == ERR_OK);
}

static void on_end(void *arg, enum err why)
{
    (void)arg;
    (void)why;
    abort(); /* the connection was given away */
}

static void run(sv octets, unsigned how, size_t piece, struct buf *ret)
{
    static const struct http_handler handler = {.on_request = on_request, .on_end = on_end};
    static const struct http_limits limits = {
        .head_max = 1024, .head_time = USEC_S, .body_time = USEC_S, .idle = USEC_S};
    const sv hello =
        SV("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Protocol: sip\r\n\r\n");
    struct puppet p;
    struct user u = {.how = how};
    size_t live = mem_live();
    puppet_up(&p);
    buf_init_heap(&u.heard, 1024 * 1024);
    puppet_must(http_new(&p.loop, &p.s, &limits, &handler, &u, &u.http) == ERR_OK);
    puppet_must(puppet_hear(&p, hello) && u.ws);
    buf_reset(&p.said);
    p.stalled = how & STALLS;
    for (size_t i = 0; i < octets.n && !p.closed; i += piece) {
        while (p.paused && !p.closed) {
            stream_pause(u.ws, false);
            puppet_turn(&p, USEC_MS);
        }
        if (!p.closed)
            puppet_hear(&p, sv_sub(octets, i, i + piece));
    }
    while (p.paused && !p.closed) {
        stream_pause(u.ws, false);
        puppet_turn(&p, USEC_MS);
    }
    if (p.stalled)
        puppet_drain(&p);
    buf_put(ret, buf_sv(&u.heard));
    buf_put(ret, buf_sv(&p.said));
    puppet_turn(&p, 100 * USEC_S);
    stream_close(u.ws, false);
    puppet_must(p.closed);
    buf_done(&u.heard);
    puppet_down(&p);
    puppet_must(mem_live() == live + (ret->p != NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, cut;
    if (size < 1 || size > 4096)
        return 0;
    sv octets = {(const char *)data + 1, size - 1};
    buf_init_heap(&whole, 4 * 1024 * 1024);
    run(octets, data[0] & 15, size, &whole);
    for (size_t piece = 1; piece < 20; piece = piece * 2 + 1) {
        buf_init_heap(&cut, 4 * 1024 * 1024);
        run(octets, data[0] & 15, piece, &cut);
        puppet_must(sv_eq(buf_sv(&whole), buf_sv(&cut)));
        buf_done(&cut);
    }
    buf_done(&whole);
    return 0;
}
