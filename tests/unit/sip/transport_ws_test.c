/* SPDX-License-Identifier: MIT */
/* SIP over WebSocket in virtual time: who may come, what a message is, where answers go. */
#include "world.h"

enum { WS_PORT = 5080, FRAME_MAX = 70000 };

static struct addr_net net_of(const char *text)
{
    struct addr_net n;
    assert_int_equal(addr_net_parse(sv_of(text), &n), ERR_OK);
    return n;
}

static void with_ws(struct sip_config *c)
{
    c->listen[c->listeners++] =
        (struct sip_listen){.transport = SIP_T_WS, .bind = address("0.0.0.0", WS_PORT)};
}

static void answer_200(struct world *w, struct rx *rx)
{
    struct sip_reply r = {.status = rx->rc ? rx->fault.status : 200};
    if (rx->msg.method != SIP_ACK)
        assert_int_equal(sip_reply(w->sip[0], rx, &r), ERR_OK);
    rx_unref(w->last);
    w->last = rx_ref(rx);
}

static struct world *start_as(void (*configure)(struct sip_config *c))
{
    world_configure = configure;
    struct world *w = world_new(1, NULL);
    world_configure = NULL;
    w->on_request = answer_200;
    return w;
}

static struct world *start(void)
{
    return start_as(with_ws);
}

/* ---- a client by hand ---- */

#define WITH_SIP "Sec-WebSocket-Protocol: sip\r\n"

static void ask(struct world *w, const char *more)
{
    char text[2048];
    int n = snprintf(text, sizeof text,
                     "GET / HTTP/1.1\r\nHost: pbx.example.test:5080\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                     "Sec-WebSocket-Version: 13\r\n%s\r\n",
                     more);
    assert_true(n > 0 && (size_t)n < sizeof text);
    inbox_clear(w);
    dial_port(w, WS_PORT);
    say_tcp(w, (sv){text, (size_t)n});
    run(w, 50 * USEC_MS);
}

static void open_ws(struct world *w)
{
    ask(w, WITH_SIP);
    assert_int_equal(heard(w, "HTTP/1.1 101 "), 1);
    assert_int_equal(heard(w, "Sec-WebSocket-Protocol: sip\r\n"), 1);
    inbox_clear(w);
}

/* One masked frame. */
static void say_frame(struct world *w, unsigned opcode, sv payload)
{
    static char frame[FRAME_MAX + 14];
    static const char mask[4] = {0x11, 0x22, 0x33, 0x44};
    size_t n = 0;
    assert_true(payload.n <= FRAME_MAX);
    frame[n++] = (char)(0x80 | opcode);
    if (payload.n < 126) {
        frame[n++] = (char)(0x80 | payload.n);
    } else if (payload.n <= UINT16_MAX) {
        frame[n++] = (char)(0x80 | 126);
        frame[n++] = (char)(payload.n >> 8);
        frame[n++] = (char)payload.n;
    } else {
        frame[n++] = (char)(0x80 | 127);
        for (int i = 7; i >= 0; i--)
            frame[n++] = (char)((uint64_t)payload.n >> 8 * i);
    }
    memcpy(frame + n, mask, 4);
    n += 4;
    for (size_t i = 0; i < payload.n; i++)
        frame[n++] = (char)(payload.p[i] ^ mask[i % 4]);
    say_tcp(w, (sv){frame, n});
    run(w, 50 * USEC_MS);
}

static void say_ws(struct world *w, const char *text)
{
    say_frame(w, 1, sv_of(text));
}

/* The inbox is exactly one frame; its payload. */
static sv one_frame(const struct world *w, unsigned opcode)
{
    const uint8_t *p = (const uint8_t *)w->inbox;
    assert_true(w->inbox_n >= 2);
    assert_int_equal(p[0], 0x80 | opcode);
    size_t n = p[1], head = 2;
    assert_true(n < 127);
    if (n == 126) {
        n = (size_t)p[2] << 8 | p[3];
        head = 4;
    }
    assert_int_equal(w->inbox_n, head + n);
    return (sv){w->inbox + head, n};
}

static bool begins(sv s, const char *text)
{
    return sv_starts(s, sv_of(text));
}

/* ---- messages ---- */

static void a_message_is_answered_by_a_message(void **state)
{
    (void)state;
    struct world *w = start();
    open_ws(w);
    say_ws(w, request("OPTIONS", "WS", "z9hG4bKa", "c1", ""));
    assert_true(begins(one_frame(w, 1), "SIP/2.0 200 OK\r\nVia: SIP/2.0/WS 192.0.2.99:5070"));
    assert_int_equal(w->last->flow.transport, SIP_T_WS);
    assert_false(flow_secure(&w->last->flow));
    assert_true(sip_flow_up(w->sip[0], &w->last->flow));
    assert_null(w->last->peer);
    assert_int_equal(stat_of(w, STAT_WEBSOCKETS), 1);
    inbox_clear(w);
    say_frame(w, 2, sv_of(request("OPTIONS", "WS", "z9hG4bKb", "c2", ""))); /* RFC 7118 §4.2 */
    assert_true(begins(one_frame(w, 1), "SIP/2.0 200 OK\r\n"));
    world_free(w);
}

static void a_reply_names_no_address_to_a_browser(void **state)
{
    (void)state;
    struct world *w = start();
    open_ws(w);
    say_ws(w, "OPTIONS sip:bob@192.0.2.1 SIP/2.0\r\n"
              "Via: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bKa\r\n"
              "From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\r\n");
    sv answer = one_frame(w, 1);
    assert_true(begins(answer, "SIP/2.0 200 OK\r\n"));
    assert_null(memmem(answer.p, answer.n, "received=", 9)); /* RFC 7118 §5.3 */
    world_free(w);
}

#define BODY_OF(length, body)                                                               \
    "MESSAGE sip:bob@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/WS 192.0.2.99;branch=z9hG4bK" length \
    "\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: m" length                       \
    "\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\nContent-Length: " length "\r\n\r\n" body

static void a_message_is_one_sip_message(void **state)
{
    (void)state;
    struct world *w = start();
    open_ws(w);
    say_ws(w, BODY_OF("3", "abc"));
    assert_true(begins(one_frame(w, 1), "SIP/2.0 200 "));
    inbox_clear(w);
    say_ws(w, BODY_OF("4", "abc"));
    assert_true(begins(one_frame(w, 1), "SIP/2.0 400 "));
    inbox_clear(w);
    say_ws(w, BODY_OF("2", "abc"));
    assert_true(begins(one_frame(w, 1), "SIP/2.0 400 "));
    inbox_clear(w);
    say_ws(w, BODY_OF("0", "OPTIONS sip:bob@192.0.2.1 SIP/2.0\r\n")); /* nothing is smuggled */
    assert_true(begins(one_frame(w, 1), "SIP/2.0 400 "));
    assert_int_equal(w->requests, 4);
    assert_false(w->stream_closed);
    world_free(w);
}

static void without_content_length_the_message_ends_the_body(void **state)
{
    (void)state;
    struct world *w = start();
    open_ws(w);
    say_ws(w, "MESSAGE sip:bob@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/WS x.invalid;branch=z9hG4bKa\r\n"
              "From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: m\r\nCSeq: 1 MESSAGE\r\n"
              "Content-Type: text/plain\r\n\r\nhello");
    assert_true(begins(one_frame(w, 1), "SIP/2.0 200 "));
    assert_true(sv_eq(sipmsg_body(&w->last->msg), SV("hello")));
    world_free(w);
}

static void keep_alives_are_messages(void **state)
{
    (void)state;
    struct world *w = start();
    open_ws(w);
    say_ws(w, "\r\n\r\n");
    assert_true(sv_eq(one_frame(w, 1), SV("\r\n")));
    inbox_clear(w);
    say_ws(w, "\r\n"); /* an answer to ours */
    say_ws(w, "\r\n");
    say_ws(w, "");
    assert_int_equal(w->inbox_n, 0);
    say_ws(w, "\r\n\r\n");
    assert_true(sv_eq(one_frame(w, 1), SV("\r\n")));
    assert_int_equal(stat_of(w, STAT_SIP_PARSE_ERRORS), 0);
    world_free(w);
}

static void what_is_no_sip_ends_the_connection(void **state)
{
    (void)state;
    struct world *w = start();
    open_ws(w);
    say_ws(w, "{\"hello\": \"world\"}");
    assert_true(w->stream_closed);
    assert_int_equal(w->flows_gone, 1);
    open_ws(w);
    say_frame(w, 1, (sv){(char[FRAME_MAX]){0}, FRAME_MAX}); /* above max_message */
    assert_true(w->stream_closed);
    assert_int_equal(refused(w, STAT_LIMIT_MESSAGE_SIZE), 1);
    assert_int_equal(stat_of(w, STAT_WEBSOCKETS), 0);
    assert_int_equal(sip_connections(w->sip[0]), 0);
    world_free(w);
}

/* ---- sending ---- */

static void send_to_last(struct world *w)
{
    struct dest d = {.flow = w->last->flow};
    struct block *b = sip_block(w->sip[0], 5);
    memcpy(b->p, "hello", 5);
    b->n = 5;
    assert_int_equal(sip_send(w->sip[0], &d, b, NULL), ERR_OK);
    block_unref(b);
    assert_int_equal(sip_send_octets(w->sip[0], &w->last->flow, SV("\r\n\r\n")), ERR_OK);
}

static void requests_go_by_the_flow_and_never_out(void **state)
{
    (void)state;
    struct world *w = start();
    struct sip *s = w->sip[0];
    struct flow f;
    open_ws(w);
    say_ws(w, request("OPTIONS", "WS", "z9hG4bKa", "c1", ""));
    inbox_clear(w);
    act(w, w->group->loop[0], send_to_last);
    run(w, 50 * USEC_MS);
    assert_memory_equal(w->inbox, "\x81\x05hello\x81\x04\r\n\r\n", 13);
    struct dest d = {.transport = SIP_T_WS, .addr = address(PEER_IP, PEER_PORT)};
    struct block *b = sip_block(s, 5);
    assert_int_equal(sip_flow_for(s, &d, &f), ERR_UNREACHABLE);
    assert_int_equal(sip_send(s, &d, b, NULL), ERR_UNREACHABLE);
    d.transport = SIP_T_WSS;
    assert_int_equal(sip_send(s, &d, b, NULL), ERR_UNREACHABLE);
    d = (struct dest){.flow = w->last->flow};
    assert_int_equal(sip_flow_for(s, &d, &f), ERR_OK);
    d.flow.conn = 0; /* the address alone is nothing */
    assert_int_equal(sip_flow_for(s, &d, &f), ERR_UNREACHABLE);
    /* Its answer has nowhere else to go. */
    assert_false(sip_response_dest(w->last).or_connect);
    stream_close(w->stream, false);
    w->stream = NULL;
    run(w, 50 * USEC_MS);
    assert_false(sip_flow_up(s, &w->last->flow));
    assert_int_equal(sip_send_octets(s, &w->last->flow, SV("\r\n\r\n")), ERR_UNREACHABLE);
    assert_int_equal(sip_send(s, &(struct dest){.flow = w->last->flow}, b, NULL), ERR_OK);
    run(w, 50 * USEC_MS);
    assert_int_equal(sip_connections(s), 0);
    block_unref(b);
    world_free(w);
}

static void via_says_ws(void **state)
{
    (void)state;
    struct world *w = start();
    char mem[256];
    struct buf b;
    sv branch;
    open_ws(w);
    say_ws(w, request("OPTIONS", "WS", "z9hG4bKa", "c1", ""));
    buf_init(&b, mem, sizeof mem);
    struct flow f = w->last->flow;
    sip_put_via(w->sip[0], &b, &f, 7, SV_NONE, &branch);
    assert_true(begins(buf_sv(&b), "SIP/2.0/WS 192.0.2.1:5080;branch=z9hG4bK"));
    f.transport = SIP_T_WSS;
    buf_reset(&b);
    sip_put_via(w->sip[0], &b, &f, 7, SV_NONE, &branch);
    assert_true(begins(buf_sv(&b), "SIP/2.0/WSS 192.0.2.1:5080;branch=z9hG4bK"));
    assert_true(sip_is_local(w->sip[0], SV("192.0.2.1"), WS_PORT));
    assert_true(sip_has_transport(w->sip[0], SIP_T_WS, 4));
    assert_false(sip_has_transport(w->sip[0], SIP_T_WS, 6));
    assert_false(sip_has_transport(w->sip[0], SIP_T_WSS, 0));
    world_free(w);
}

/* ---- who may ---- */

static void origin_is(struct world *w, const char *lines, const char *status)
{
    char more[512], line[64];
    snprintf(more, sizeof more, WITH_SIP "%s", lines);
    snprintf(line, sizeof line, "HTTP/1.1 %s ", status);
    ask(w, more);
    assert_int_equal(heard(w, line), 1);
    if (!w->stream_closed) {
        stream_close(w->stream, false);
        w->stream = NULL;
        run(w, 50 * USEC_MS);
    }
}

static void advertised(struct sip_config *c)
{
    with_ws(c);
    c->listen[2].advertise = SV("phone.example.test");
}

static void pages_of_others_are_refused(void **state)
{
    (void)state;
    struct world *w = start_as(advertised);
    origin_is(w, "Origin: http://evil.test\r\n", "403");
    assert_int_equal(refused(w, STAT_LIMIT_ORIGIN), 1);
    origin_is(w, "Origin: null\r\n", "403");
    origin_is(w, "Origin: file://\r\n", "403");
    origin_is(w, "Origin: https://pbx.example.test.evil.test\r\n", "403");
    origin_is(w, "Origin: https://evil.test:5080\r\n", "403");
    origin_is(w, "Origin: https://pbx.example.test\r\nOrigin: https://evil.test\r\n", "403");
    origin_is(w, "Origin: \r\n", "403");
    assert_int_equal(refused(w, STAT_LIMIT_ORIGIN), 7);
    origin_is(w, "Origin: https://pbx.example.test\r\n", "101");
    origin_is(w, "Origin: https://PBX.example.test:8443\r\n", "101");
    origin_is(w, "Origin: http://phone.example.test\r\n", "101");
    origin_is(w, "Origin: http://192.0.2.1:8080\r\n", "101");
    origin_is(w, "Origin: http://192.0.2.99\r\n", "403");
    origin_is(w, "", "101");
    world_free(w);
}

static void listed_origins(struct sip_config *c)
{
    with_ws(c);
    c->listen[2].origins[0] = SV("https://app.example.test");
    c->listen[2].origins[1] = SV("https://other.example.test:8443");
    c->listen[2].origins_n = 2;
}

static void any_origin(struct sip_config *c)
{
    with_ws(c);
    c->listen[2].origins[0] = SV("*");
    c->listen[2].origins_n = 1;
}

static void a_list_of_origins_is_exact(void **state)
{
    (void)state;
    struct world *w = start_as(listed_origins);
    origin_is(w, "Origin: https://app.example.test\r\n", "101");
    origin_is(w, "Origin: https://other.example.test:8443\r\n", "101");
    origin_is(w, "Origin: https://other.example.test\r\n", "403");
    origin_is(w, "Origin: http://app.example.test\r\n", "403");
    origin_is(w, "Origin: https://pbx.example.test\r\n", "403"); /* the list, and nothing else */
    world_free(w);
    w = start_as(any_origin);
    origin_is(w, "Origin: http://evil.test\r\n", "101");
    world_free(w);
}

static void the_sub_protocol_must_be_sip(void **state)
{
    (void)state;
    struct world *w = start();
    ask(w, "");
    assert_int_equal(heard(w, "HTTP/1.1 101"), 0);
    assert_int_equal(heard(w, "HTTP/1.1 400"), 1);
    ask(w, "Sec-WebSocket-Protocol: chat, mqtt\r\n");
    assert_int_equal(heard(w, "HTTP/1.1 101"), 0);
    assert_true(w->stream_closed);
    ask(w, "Sec-WebSocket-Protocol: chat, sip\r\n");
    assert_int_equal(heard(w, "HTTP/1.1 101"), 1);
    world_free(w);
}

static unsigned pages;
static void page(void *arg, struct http *h, const struct http_request *rq, const struct flow *f)
{
    (void)arg;
    assert_int_equal(f->transport, SIP_T_WS);
    assert_true(sv_eq(rq->path, SV("/trust")));
    pages++;
    http_reply(h, 200, SV_NONE, SV("text/plain"), SV("this is it"));
}

static void other_requests_get_the_page(void **state)
{
    (void)state;
    struct world *w = start();
    dial_port(w, WS_PORT);
    say_tcp(w, SV("GET /trust HTTP/1.1\r\nHost: x\r\n\r\n"));
    run(w, 50 * USEC_MS);
    assert_int_equal(heard(w, "HTTP/1.1 426 "), 1);
    assert_int_equal(heard(w, "Upgrade: websocket\r\n"), 1);
    assert_true(w->stream_closed);
    world_user.on_http = page;
    inbox_clear(w);
    dial_port(w, WS_PORT);
    for (pages = 0; pages < 3;) {
        say_tcp(w, SV("GET /trust HTTP/1.1\r\nHost: x\r\n\r\n"));
        run(w, 6 * USEC_S); /* longer in all than a handshake may take */
        assert_false(w->stream_closed);
    }
    assert_int_equal(heard(w, "this is it"), 3);
    world_user.on_http = NULL;
    run(w, 20 * USEC_S);
    assert_true(w->stream_closed);
    assert_int_equal(refused(w, STAT_LIMIT_HANDSHAKE), 0);
    world_free(w);
}

/* ---- phases ---- */

static void each_phase_has_a_deadline(void **state)
{
    (void)state;
    struct world *w = start();
    dial_port(w, WS_PORT);
    run(w, 9 * USEC_S);
    assert_false(w->stream_closed);
    run(w, 2 * USEC_S);
    assert_true(w->stream_closed);
    assert_int_equal(refused(w, STAT_LIMIT_HANDSHAKE), 1);
    dial_port(w, WS_PORT);
    say_tcp(w, SV("GET / HTTP/1.1\r\nHost: x\r\nX: "));
    for (int i = 0; i < 9; i++) { /* dripping does not extend it */
        run(w, USEC_S);
        assert_false(w->stream_closed);
        say_tcp(w, SV("x"));
    }
    run(w, 2 * USEC_S);
    assert_true(w->stream_closed);
    assert_int_equal(refused(w, STAT_LIMIT_HANDSHAKE), 2);
    open_ws(w);
    say_tcp(w, SV("\x81\x90\x01\x02")); /* the beginning of a frame */
    run(w, 9 * USEC_S);
    assert_false(w->stream_closed);
    run(w, 2 * USEC_S);
    assert_true(w->stream_closed);
    assert_int_equal(refused(w, STAT_LIMIT_MESSAGE_TIME), 1);
    world_free(w);
}

/* Answers each ping. */
static void live_on(struct world *w, unsigned seconds)
{
    for (unsigned i = 0; i < seconds; i++) {
        run(w, USEC_S);
        if (w->inbox_n && (w->inbox[0] & 0x0f) == 9 && w->stream)
            say_frame(w, 10, SV(""));
        inbox_clear(w);
    }
}

static void who_answers_pings_stays_once_he_has_spoken(void **state)
{
    (void)state;
    struct world *w = start(); /* idle: 60 s */
    open_ws(w);
    say_ws(w, request("OPTIONS", "WS", "z9hG4bKa", "c1", ""));
    inbox_clear(w);
    live_on(w, 300);
    assert_false(w->stream_closed);
    run(w, 70 * USEC_S); /* two pings go unanswered */
    assert_true(w->stream_closed);
    open_ws(w);
    live_on(w, 70); /* never a word of SIP */
    assert_true(w->stream_closed);
    world_free(w);
}

/* ---- behind a proxy ---- */

static void proxied(struct sip_config *c)
{
    with_ws(c);
    c->listen[2].proxies[0] = net_of("192.0.2.99/32");
    c->listen[2].proxies[1] = net_of("10.0.0.0/8");
    c->listen[2].proxies_n = 2;
    c->connections = 64;
}

static void client_is(struct world *w, const char *lines, const char *client)
{
    char more[512], text[64];
    struct buf b;
    snprintf(more, sizeof more, WITH_SIP "%s", lines);
    ask(w, more);
    assert_int_equal(heard(w, "HTTP/1.1 101 "), 1);
    say_ws(w, request("OPTIONS", "WS", "z9hG4bKa", "c1", ""));
    buf_init(&b, text, sizeof text);
    addr_print_ip(&b, &w->last->source);
    buf_char(&b, 0);
    assert_string_equal(text, client);
    stream_close(w->stream, false);
    w->stream = NULL;
    run(w, 50 * USEC_MS);
    assert_int_equal(w->last->flow.remote.port != 0, 1);
}

static void a_proxy_of_ours_names_the_client(void **state)
{
    (void)state;
    struct world *w = start_as(proxied);
    client_is(w, "X-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7");
    client_is(w, "X-Forwarded-For: 198.51.100.1, 203.0.113.7\r\n", "203.0.113.7");
    client_is(w, "X-Forwarded-For: 203.0.113.7, 10.1.2.3\r\n", "203.0.113.7");
    client_is(w, "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For: 10.1.2.3\r\n", "203.0.113.7");
    client_is(w, "X-Forwarded-For: [2001:db8::1]:4711\r\n", "2001:db8::1");
    client_is(w, "X-Forwarded-For: 203.0.113.7, unknown\r\n", "192.0.2.99");
    client_is(w, "", "192.0.2.99");
    assert_true(addr_equal_ip(&w->last->flow.remote, &w->last->source));
    world_free(w);
    w = start(); /* no proxy of ours: anybody could write it */
    client_is(w, "X-Forwarded-For: 203.0.113.7\r\n", "192.0.2.99");
    world_free(w);
}

static struct stream *crowd[16];
static void quiet_open(void *arg)
{
    (void)arg;
}
static void quiet_data(void *arg, sv octets)
{
    (void)arg;
    (void)octets;
}
static void quiet_close(void *arg, enum err why)
{
    (void)why;
    *(struct stream **)arg = NULL;
}
static const struct stream_handler quiet = {
    .on_open = quiet_open, .on_data = quiet_data, .on_close = quiet_close};

static unsigned crowd_left(struct world *w, const char *client_format)
{
    struct addr to = address(SERVER_IP, WS_PORT);
    unsigned left = 0;
    for (unsigned i = 0; i < 10; i++) {
        char text[512], client[64];
        snprintf(client, sizeof client, client_format, i);
        int n =
            snprintf(text, sizeof text,
                     "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                     "%sX-Forwarded-For: %s\r\n\r\n",
                     WITH_SIP, client);
        sv octets = {text, (size_t)n};
        assert_int_equal(stream_connect(w->peer, NULL, &to, &quiet, &crowd[i], &crowd[i]), ERR_OK);
        assert_int_equal(stream_send(crowd[i], &octets, 1), ERR_OK);
    }
    run(w, 200 * USEC_MS);
    for (unsigned i = 0; i < 10; i++) {
        left += crowd[i] != NULL;
        stream_close(crowd[i], false);
        crowd[i] = NULL;
    }
    run(w, 200 * USEC_MS);
    return left;
}

static void behind_a_proxy_each_client_counts_for_himself(void **state)
{
    (void)state;
    struct world *w = start_as(proxied); /* 6 connections a source */
    assert_int_equal(crowd_left(w, "203.0.113.%u"), 10);
    assert_int_equal(refused(w, STAT_LIMIT_SOURCE_CONNECTIONS), 0);
    assert_int_equal(crowd_left(w, "203.0.113.77"), 6);
    assert_int_equal(refused(w, STAT_LIMIT_SOURCE_CONNECTIONS), 4);
    assert_int_equal(crowd_left(w, "203.0.113.77"), 6); /* what ended counts no more */
    world_free(w);
}

/* ---- from worker to worker ---- */

static unsigned sender;

static void keep_last(struct world *w)
{
    sip_flow_keep(w->sip[sender], &w->last->flow, w->group->loop[sender]->now + USEC_HOUR);
}

static void send_from_it(struct world *w)
{
    struct dest d = {.flow = w->last->flow};
    struct block *b = sip_block(w->sip[sender], 5);
    memcpy(b->p, "hello", 5);
    b->n = 5;
    assert_int_equal(sip_send(w->sip[sender], &d, b, NULL), ERR_OK);
    block_unref(b);
}

static void answer_from_home(struct world *w, struct rx *rx)
{
    struct sip_reply r = {.status = 200};
    assert_int_equal(sip_reply(w->sip[home_worker(sip_home(w->sip[0]), rx->slot)], rx, &r), ERR_OK);
    rx_unref(w->last);
    w->last = rx_ref(rx);
}

/* Two workers, and a WebSocket that a request came on: sender serves it. */
static struct world *two_with_ws(void)
{
    world_configure = with_ws;
    struct world *w = world_new(2, NULL);
    world_configure = NULL;
    w->on_request = answer_from_home;
    open_ws(w);
    say_ws(w, request("OPTIONS", "WS", "z9hG4bKa", "c1", ""));
    sender = w->last->flow.worker;
    return w;
}

static void a_websocket_goes_to_who_sends_on_it(void **state)
{
    (void)state;
    struct world *w = two_with_ws();
    unsigned other = 1 - sender;
    act(w, w->group->loop[sender], keep_last);
    inbox_clear(w);
    run(w, 31 * USEC_S); /* it is asked whether it lives, and goes before it has answered */
    assert_memory_equal(w->inbox, "\x89\x00", 2);
    assert_int_equal(w->inbox_n, 2);
    inbox_clear(w);
    sender = other;
    act(w, w->group->loop[other], send_from_it);
    run(w, 50 * USEC_MS);
    assert_memory_equal(w->inbox, "\x81\x05hello", 7);
    assert_int_equal(sip_connections(w->sip[other]), 1);
    assert_int_equal(stat_get(&w->group->loop[other]->stats, STAT_WEBSOCKETS), 1);
    assert_int_equal(stat_get(&w->group->loop[1 - other]->stats, STAT_WEBSOCKETS), 0);
    run(w, 10 * USEC_S);
    assert_false(w->stream_closed);
    say_frame(w, 10, SV_NONE);
    inbox_clear(w);
    say_ws(w, request("OPTIONS", "WS", "z9hG4bKb", "c2", ""));
    assert_int_equal(w->by_worker[other], 1);
    assert_true(begins(one_frame(w, 1), "SIP/2.0 200 OK\r\n"));
    inbox_clear(w);
    run(w, 31 * USEC_S);
    assert_memory_equal(w->inbox, "\x89\x00", 2);
    run(w, 31 * USEC_S); /* and now it has not */
    assert_true(w->stream_closed);
    world_free(w);
}

static bool on_its_way(void *arg)
{
    struct world *w = arg;
    return sip_connections(w->sip[0]) + sip_connections(w->sip[1]) == 0;
}

static void the_process_ends_with_a_websocket_on_its_way(void **state)
{
    (void)state;
    struct world *w = two_with_ws();
    act(w, w->group->loop[sender], keep_last);
    sender = 1 - sender;
    struct act a = {.w = w, .fn = send_from_it};
    timer_init(&a.timer, act_now, &a);
    wheel_arm(&w->group->loop[sender]->wheel, &a.timer, sim_now(w->sim));
    assert_true(sim_run_when(w->sim, sim_now(w->sim) + USEC_S, on_its_way, w));
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_answered_by_a_message),
        cmocka_unit_test(a_reply_names_no_address_to_a_browser),
        cmocka_unit_test(a_message_is_one_sip_message),
        cmocka_unit_test(without_content_length_the_message_ends_the_body),
        cmocka_unit_test(keep_alives_are_messages),
        cmocka_unit_test(what_is_no_sip_ends_the_connection),
        cmocka_unit_test(requests_go_by_the_flow_and_never_out),
        cmocka_unit_test(via_says_ws),
        cmocka_unit_test(pages_of_others_are_refused),
        cmocka_unit_test(a_list_of_origins_is_exact),
        cmocka_unit_test(the_sub_protocol_must_be_sip),
        cmocka_unit_test(other_requests_get_the_page),
        cmocka_unit_test(each_phase_has_a_deadline),
        cmocka_unit_test(who_answers_pings_stays_once_he_has_spoken),
        cmocka_unit_test(a_proxy_of_ours_names_the_client),
        cmocka_unit_test(behind_a_proxy_each_client_counts_for_himself),
        cmocka_unit_test(a_websocket_goes_to_who_sends_on_it),
        cmocka_unit_test(the_process_ends_with_a_websocket_on_its_way),
    };
    return crypto_start() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
