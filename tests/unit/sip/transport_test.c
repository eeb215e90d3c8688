/* SPDX-License-Identifier: MIT */
/* Messages in and out of an endpoint, over datagrams and streams, and to their homes. */
#include "world.h"

static void answer_200(struct world *w, struct rx *rx)
{
    struct sip_reply r = {.status = rx->rc ? rx->fault.status : 200};
    if (rx->msg.method == SIP_ACK)
        return;
    assert_int_equal(sip_reply(w->sip[0], rx, &r), ERR_OK);
}

static struct world *start(void)
{
    struct world *w = world_new(1, NULL);
    w->on_request = answer_200;
    return w;
}

/* ---- datagrams ---- */

static void a_datagram_is_answered(void **state)
{
    (void)state;
    struct world *w = start();
    say_udp(w, request("OPTIONS", "UDP", "z9hG4bKa", "c1", ""));
    run(w, 50 * USEC_MS);
    assert_int_equal(w->requests, 1);
    assert_int_equal(heard(w, "SIP/2.0 200 OK\r\n"), 1);
    assert_int_equal(heard(w, "To: <sip:bob@example.com>;tag="), 1);
    assert_int_equal(heard(w, "received="), 0);
    assert_int_equal(stat_of(w, STAT_SIP_RX_UDP), 1);
    assert_int_equal(stat_of(w, STAT_SIP_TX_UDP), 1);
    assert_int_equal(w->group->loop[0]->stats.requests[SIP_OPTIONS][SIP_T_UDP], 1);
    world_free(w);
}

static void a_retransmission_gets_the_same_tag(void **state)
{
    (void)state;
    struct world *w = start();
    char first[1024];
    const char *text = request("OPTIONS", "UDP", "z9hG4bKa", "c1", "");
    say_udp(w, text);
    run(w, 50 * USEC_MS);
    assert_true(w->inbox_n < sizeof first);
    memcpy(first, w->inbox, w->inbox_n + 1);
    inbox_clear(w);
    say_udp(w, text);
    run(w, 50 * USEC_MS);
    assert_string_equal(first, w->inbox);
    world_free(w);
}

static void rport_and_received_tell_the_source(void **state)
{
    (void)state;
    struct world *w = start();
    say_udp(w, "OPTIONS sip:a@192.0.2.1 SIP/2.0\r\n"
               "Via: SIP/2.0/UDP 10.0.0.1:9999;rport;branch=z9hG4bKb\r\n"
               "From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\r\n");
    run(w, 50 * USEC_MS);
    assert_int_equal(w->datagrams, 1); /* RFC 3581: to the source port, not 9999 */
    assert_int_equal(heard(w, "rport=5070"), 1);
    assert_int_equal(heard(w, "received=192.0.2.99"), 1);
    world_free(w);
}

static void without_rport_the_answer_goes_to_sent_by_port_of_the_source(void **state)
{
    (void)state;
    struct world *w = start();
    /* maddr is not followed, nor is the address of sent-by. */
    say_udp(w, "OPTIONS sip:a@192.0.2.1 SIP/2.0\r\n"
               "Via: SIP/2.0/UDP 10.0.0.1:9999;maddr=203.0.113.9;branch=z9hG4bKb\r\n"
               "From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\r\n");
    run(w, 50 * USEC_MS);
    assert_int_equal(w->datagrams, 0);
    say_udp(w, "OPTIONS sip:a@192.0.2.1 SIP/2.0\r\n"
               "Via: SIP/2.0/UDP example.com:5070;branch=z9hG4bKc\r\n"
               "From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\r\n");
    run(w, 50 * USEC_MS);
    assert_int_equal(w->datagrams, 1);
    assert_int_equal(heard(w, "received=192.0.2.99"), 1);
    world_free(w);
}

static void keep_alives_are_silent(void **state)
{
    (void)state;
    struct world *w = start();
    struct addr to = address(SERVER_IP, 5060);
    static const char stun[20] = {0, 0x11, 0, 0, 0x21, 0x12, (char)0xa4, 0x42}; /* an indication */
    sv pieces[] = {SV("\r\n"), SV("\r\n\r\n"), {"\0\0\0\0", 4}, {stun, 20}, {"", 0}};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(udp_send(w->udp, NULL, &to, &pieces[i], 1), ERR_OK);
    run(w, 50 * USEC_MS);
    assert_int_equal(w->datagrams, 0);
    assert_int_equal(w->requests, 0);
    assert_int_equal(stat_of(w, STAT_SIP_PARSE_ERRORS), 0);
    assert_int_equal(stat_of(w, STAT_SIP_RX_UDP), 5);
    world_free(w);
}

static void refused_requests_reach_the_user_but_acks_and_garbage_do_not(void **state)
{
    (void)state;
    struct world *w = start();
    say_udp(w, request("OPTIONS", "UDP", "z9hG4bKa", "c1", "Max-Forwards: 3\r\n"));
    run(w, 50 * USEC_MS);
    assert_int_equal(w->requests, 1);
    assert_int_equal(heard(w, "SIP/2.0 400 "), 1);
    say_udp(w, request("ACK", "UDP", "z9hG4bKa", "c1", "Max-Forwards: 3\r\n"));
    say_udp(w, "this is not SIP\r\n\r\n");
    say_udp(w, "OPTIONS sip:a@b SIP/2.0\r\nCall-ID: no-via\r\n\r\n");
    say_udp(w, "SIP/2.0 200 OK\r\nCall-ID: no-via\r\n\r\n");
    run(w, 50 * USEC_MS);
    assert_int_equal(w->requests, 1);
    assert_int_equal(w->datagrams, 1);
    assert_int_equal(stat_of(w, STAT_SIP_PARSE_ERRORS), 5);
    world_free(w);
}

static void responses_that_are_not_ours_are_strays(void **state)
{
    (void)state;
    struct world *w = start();
    say_udp(w, "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKforeign\r\n"
               "From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>;tag=2\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n"
               "Content-Length: 0\r\n\r\n");
    run(w, 50 * USEC_MS);
    assert_int_equal(stat_of(w, STAT_SIP_STRAY), 1);
    assert_int_equal(w->strays, 0);
    world_free(w);
}

/* ---- streams ---- */

static void a_stream_is_answered_on_the_same_connection(void **state)
{
    (void)state;
    struct world *w = start();
    dial(w);
    say_tcp(w, sv_of(request("OPTIONS", "TCP", "z9hG4bKa", "c1", "")));
    run(w, 50 * USEC_MS);
    assert_int_equal(heard(w, "SIP/2.0 200 OK\r\n"), 1);
    assert_int_equal(w->datagrams, 0);
    assert_int_equal(sip_connections(w->sip[0]), 1);
    assert_int_equal(stat_of(w, STAT_TCP_CONNECTIONS), 1);
    world_free(w);
}

static void messages_come_in_any_pieces(void **state)
{
    (void)state;
    struct world *w = start();
    char all[20000];
    size_t n = 0;
    dial(w);
    for (int i = 0; i < 5; i++) {
        char body[2000];
        memset(body, 'x', sizeof body);
        n += (size_t)snprintf(all + n, sizeof all - n,
                              "\r\n\r\nMESSAGE sip:bob@192.0.2.1 SIP/2.0\r\n"
                              "Via: SIP/2.0/TCP 192.0.2.99:5070;branch=z9hG4bK%d\r\n"
                              "From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: m%d\r\n"
                              "CSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\n"
                              "Content-Length: %d\r\n\r\n%.*s",
                              i, i, i * 400, i * 400, body);
    }
    for (size_t step = 1; step < 4000; step = step * 3 + 1) {
        inbox_clear(w);
        w->requests = 0;
        for (size_t at = 0; at < n; at += step) {
            say_tcp(w, sv_sub((sv){all, n}, at, at + step));
            if (step > 1)
                run(w, 5 * USEC_MS);
        }
        run(w, 2 * USEC_S);
        assert_int_equal(w->requests, 5);
        assert_int_equal(heard(w, "SIP/2.0 200 OK\r\n"), 5);
    }
    assert_false(w->stream_closed);
    world_free(w);
}

static void a_double_crlf_is_answered_with_one(void **state)
{
    (void)state;
    struct world *w = start();
    dial(w);
    say_tcp(w, SV("\r\n"));
    run(w, 50 * USEC_MS);
    assert_int_equal(w->inbox_n, 0);
    say_tcp(w, SV("\r\n"));
    run(w, 50 * USEC_MS);
    assert_string_equal(w->inbox, "\r\n");
    say_tcp(w, SV("\r\n\r"));
    run(w, 50 * USEC_MS);
    say_tcp(w, SV("\n"));
    run(w, 50 * USEC_MS);
    assert_string_equal(w->inbox, "\r\n\r\n");
    world_free(w);
}

static void bad_framing_is_answered_and_ends_the_connection(void **state)
{
    (void)state;
    struct world *w = start();
    dial(w);
    say_tcp(w,
            SV("OPTIONS sip:a@192.0.2.1 SIP/2.0\r\n"
               "Via: SIP/2.0/TCP 192.0.2.99:5070;branch=z9hG4bKb\r\n"
               "From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\r\n"));
    run(w, 100 * USEC_MS);
    assert_int_equal(heard(w, "SIP/2.0 400 "), 1);
    assert_true(w->stream_closed);
    assert_int_equal(sip_connections(w->sip[0]), 0);
    inbox_clear(w);
    dial(w);
    say_tcp(w, SV("OPTIONS sip:a@192.0.2.1 SIP/2.0\r\n"
                  "Via: SIP/2.0/TCP 192.0.2.99:5070;branch=z9hG4bKb\r\n"
                  "From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n"
                  "Content-Length: 70000\r\n\r\n"));
    run(w, 100 * USEC_MS);
    assert_int_equal(heard(w, "SIP/2.0 513 "), 1);
    assert_true(w->stream_closed);
    assert_int_equal(refused(w, STAT_LIMIT_MESSAGE_SIZE), 1);
    inbox_clear(w);
    dial(w);
    say_tcp(w, SV("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    run(w, 100 * USEC_MS);
    assert_int_equal(w->inbox_n, 0);
    assert_true(w->stream_closed);
    assert_int_equal(w->flows_gone, 3);
    world_free(w);
}

static void endless_headers_end_the_connection(void **state)
{
    (void)state;
    struct world *w = start();
    char chunk[1000];
    memset(chunk, 'h', sizeof chunk);
    dial(w);
    say_tcp(
        w,
        SV("OPTIONS sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.99:5070;branch=z9hG4bKb\r\n"
           "X: "));
    for (int i = 0; i < 200 && !w->stream_closed; i++) {
        if (w->stream)
            say_tcp(w, (sv){chunk, sizeof chunk});
        run(w, 5 * USEC_MS);
    }
    assert_true(w->stream_closed);
    assert_int_equal(refused(w, STAT_LIMIT_MESSAGE_SIZE), 1);
    world_free(w);
}

static void half_a_message_has_a_deadline_and_silence_another(void **state)
{
    (void)state;
    struct world *w = start();
    dial(w);
    say_tcp(w, SV("OPTIONS sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP"));
    for (int i = 0; i < 9; i++) { /* dripping does not extend it */
        run(w, USEC_S);
        assert_false(w->stream_closed);
        say_tcp(w, SV("x"));
    }
    run(w, 2 * USEC_S);
    assert_true(w->stream_closed);
    dial(w);
    run(w, 40 * USEC_S);
    say_tcp(w, SV("\r\n\r\n")); /* traffic */
    run(w, 40 * USEC_S);
    assert_false(w->stream_closed);
    run(w, 30 * USEC_S);
    assert_true(w->stream_closed);
    world_free(w);
}

struct dials {
    struct stream *s[16];
    bool closed[16];
};
static struct dials dials;
static void dials_close(void *arg, enum err why)
{
    (void)why;
    size_t i = (size_t)((struct stream **)arg - dials.s);
    dials.s[i] = NULL;
    dials.closed[i] = true;
}
static void dials_open(void *arg)
{
    (void)arg;
}
static void dials_data(void *arg, sv octets)
{
    (void)arg;
    (void)octets;
}
static const struct stream_handler dials_handler = {
    .on_open = dials_open, .on_data = dials_data, .on_close = dials_close};

static void connections_are_capped_per_source(void **state)
{
    (void)state;
    struct world *w = start();
    struct addr to = address(SERVER_IP, 5060);
    memset(&dials, 0, sizeof dials);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(
            stream_connect(w->peer, NULL, &to, &dials_handler, &dials.s[i], &dials.s[i]), ERR_OK);
    run(w, 100 * USEC_MS);
    assert_int_equal(sip_connections(w->sip[0]), 6);
    assert_int_equal(refused(w, STAT_LIMIT_SOURCE_CONNECTIONS), 4);
    for (size_t i = 0; i < 10; i++) {
        stream_close(dials.s[i], false);
        dials.s[i] = NULL;
    }
    run(w, 100 * USEC_MS);
    assert_int_equal(sip_connections(w->sip[0]), 0);
    dial(w); /* and what ended counts no more */
    world_free(w);
}

/* ---- sending ---- */

struct watched {
    struct sip_sent watch;
    enum err why;
    unsigned fails;
};
static struct watched watched;
static void on_watch_fail(void *arg, enum err why)
{
    struct watched *x = arg;
    x->fails++;
    x->why = why;
}
static void watch_start(void)
{
    if (list_linked(&watched.watch.by_pending))
        sip_send_cancel(&watched.watch);
    watched = (struct watched){.watch = {.on_fail = on_watch_fail, .arg = &watched}};
    list_init(&watched.watch.by_pending);
}

static void send_text(struct world *w, struct sip *s, const struct dest *d, const char *text)
{
    struct block *b = sip_block(s, strlen(text));
    (void)w;
    memcpy(b->p, text, strlen(text));
    b->n = (uint32_t)strlen(text);
    assert_int_equal(sip_send(s, d, b, &watched.watch), ERR_OK);
    assert_int_equal(watched.fails, 0); /* never from within */
    block_unref(b);
}

static void send_tcp_to_peer(struct world *w)
{
    struct dest d = {.transport = SIP_T_TCP, .addr = address(PEER_IP, PEER_PORT)};
    watch_start();
    send_text(w, w->sip[0], &d, "hello ");
}

static void a_connection_is_made_and_used_again(void **state)
{
    (void)state;
    struct world *w = start();
    act(w, w->group->loop[0], send_tcp_to_peer);
    run(w, 50 * USEC_MS);
    act(w, w->group->loop[0], send_tcp_to_peer);
    run(w, 50 * USEC_MS);
    assert_string_equal(w->inbox, "hello hello ");
    assert_int_equal(sip_connections(w->sip[0]), 1);
    assert_int_equal(watched.fails, 0);
    stream_close(w->stream, false);
    w->stream = NULL;
    run(w, 50 * USEC_MS);
    assert_int_equal(watched.fails, 1);
    assert_int_equal(watched.why, ERR_CLOSED);
    assert_int_equal(w->flows_gone, 1);
    world_free(w);
}

static void a_connection_that_cannot_be_made_fails_the_watch(void **state)
{
    (void)state;
    struct world *w = start();
    listener_close(w->listener);
    w->listener = NULL;
    act(w, w->group->loop[0], send_tcp_to_peer);
    run(w, 50 * USEC_MS);
    assert_int_equal(watched.fails, 1);
    assert_int_equal(watched.why, ERR_REFUSED);
    sim_partition(w->sim, w->server, w->other, true);
    act(w, w->group->loop[0], send_tcp_to_peer);
    run(w, 4 * USEC_S);
    assert_int_equal(watched.fails, 0);
    run(w, 2 * USEC_S);
    assert_int_equal(watched.fails, 1);
    assert_int_equal(watched.why, ERR_TIMEOUT);
    world_free(w);
}

static void send_udp_to_nobody(struct world *w)
{
    struct dest d = {.transport = SIP_T_UDP, .addr = address(PEER_IP, 9)};
    watch_start();
    send_text(w, w->sip[0], &d, "hello");
}

static void an_icmp_error_fails_the_watch(void **state)
{
    (void)state;
    struct world *w = start();
    watch_start();
    for (int i = 0; i < 10 && !watched.fails; i++) {
        act(w, w->group->loop[0], send_udp_to_nobody);
        run(w, 50 * USEC_MS);
    }
    assert_int_equal(watched.fails, 1);
    assert_int_equal(watched.why, ERR_REFUSED);
    world_free(w);
}

static void keep_request(struct world *w, struct rx *rx)
{
    rx_unref(w->last);
    w->last = rx_ref(rx);
}

static void send_on_last_flow(struct world *w)
{
    struct dest d = {.flow = w->last->flow};
    unsigned other = (w->last->flow.worker + 1) % w->workers;
    watch_start();
    send_text(w, w->sip[other], &d, "across ");
}

static void another_workers_connection_is_used_and_its_end_is_told(void **state)
{
    (void)state;
    struct world *w = world_new(2, NULL);
    w->on_request = keep_request;
    dial(w);
    say_tcp(w, sv_of(request("OPTIONS", "TCP", "z9hG4bKa", "c1", "")));
    run(w, 100 * USEC_MS);
    assert_non_null(w->last);
    unsigned other = (w->last->flow.worker + 1) % 2;
    act(w, w->group->loop[other], send_on_last_flow);
    run(w, 50 * USEC_MS);
    assert_string_equal(w->inbox, "across ");
    assert_int_equal(stat_of(w, STAT_SENT_ELSEWHERE), 1);
    assert_int_equal(watched.fails, 0);
    stream_close(w->stream, false);
    w->stream = NULL;
    run(w, 50 * USEC_MS);
    assert_int_equal(watched.fails, 1);
    assert_int_equal(watched.why, ERR_CLOSED);
    act(w, w->group->loop[other], send_on_last_flow); /* it is gone already */
    run(w, 50 * USEC_MS);
    assert_int_equal(watched.fails, 1);
    assert_int_equal(watched.why, ERR_CLOSED);
    world_free(w);
}

/* As to a phone whose connection is gone, but which listens at its port, or does not. */
static uint16_t listens_at;
static void send_where_it_listens(struct world *w)
{
    struct dest d = {.flow = w->last->flow,
                     .addr = address(PEER_IP, listens_at),
                     .transport = SIP_T_TCP,
                     .or_connect = true};
    unsigned other = (w->last->flow.worker + 1) % w->workers;
    watch_start();
    send_text(w, w->sip[other], &d, "anew ");
}

static void a_connection_in_the_place_of_another_workers_is_watched(void **state)
{
    (void)state;
    struct world *w = world_new(2, NULL);
    w->on_request = keep_request;
    dial(w);
    say_tcp(w, sv_of(request("OPTIONS", "TCP", "z9hG4bKa", "c1", "")));
    run(w, 100 * USEC_MS);
    unsigned other = (w->last->flow.worker + 1) % 2;
    stream_close(w->stream, false);
    w->stream = NULL;
    run(w, 50 * USEC_MS);
    inbox_clear(w);
    listens_at = 9; /* nobody */
    act(w, w->group->loop[other], send_where_it_listens);
    run(w, 50 * USEC_MS);
    assert_int_equal(watched.fails, 1);
    assert_int_equal(watched.why, ERR_REFUSED);
    listens_at = PEER_PORT;
    act(w, w->group->loop[other], send_where_it_listens);
    run(w, 50 * USEC_MS);
    assert_string_equal(w->inbox, "anew ");
    assert_int_equal(watched.fails, 0);
    stream_close(w->stream, false);
    w->stream = NULL;
    run(w, 50 * USEC_MS);
    assert_int_equal(watched.fails, 1);
    world_free(w);
}

static unsigned reply_from;
static void reply_to_last(struct world *w)
{
    struct sip_reply r = {.status = 200};
    assert_int_equal(sip_reply(w->sip[reply_from], w->last, &r), ERR_OK);
}

/* RFC 3261 §18.2.2. */
static void an_answer_whose_connection_died_goes_to_sent_by(void **state)
{
    (void)state;
    struct world *w = world_new(2, NULL);
    w->on_request = keep_request;
    for (unsigned k = 0; k < 2; k++) {
        dial(w);
        say_tcp(w, sv_of(request("OPTIONS", "TCP", "z9hG4bKa", "c1", "")));
        run(w, 100 * USEC_MS);
        assert_non_null(w->last);
        stream_close(w->stream, false);
        w->stream = NULL;
        run(w, 50 * USEC_MS);
        inbox_clear(w);
        reply_from = (w->last->flow.worker + k) % 2; /* its owner, then the other */
        act(w, w->group->loop[reply_from], reply_to_last);
        run(w, 50 * USEC_MS);
        assert_int_equal(heard(w, "SIP/2.0 200 OK"), 1);
        stream_close(w->stream, false);
        w->stream = NULL;
        run(w, 50 * USEC_MS);
    }
    world_free(w);
}

static void a_datagram_over_the_limit_is_refused(void **state)
{
    (void)state;
    world_max_message = 600;
    struct world *w = start();
    char more[700];
    memset(more, 'x', sizeof more);
    memcpy(more, "X: ", 3);
    memcpy(more + 500, "\r\n", 3);
    say_udp(w, request("OPTIONS", "UDP", "z9hG4bKa", "c1", more));
    run(w, 50 * USEC_MS);
    assert_int_equal(heard(w, "SIP/2.0 513 "), 1);
    assert_int_equal(refused(w, STAT_LIMIT_MESSAGE_SIZE), 1);
    world_free(w);
    world_max_message = 65536;
}

static void flood_last_flow(struct world *w)
{
    struct dest d = {.flow = w->last->flow};
    static char big[60000];
    memset(big, 'b', sizeof big - 1);
    watch_start();
    for (int i = 0; i < 12; i++) {
        struct block *b = sip_block(w->sip[0], sizeof big);
        memcpy(b->p, big, sizeof big);
        b->n = sizeof big;
        assert_int_equal(sip_send(w->sip[0], &d, b, i == 0 ? &watched.watch : NULL), ERR_OK);
        block_unref(b);
    }
    assert_int_equal(watched.fails, 0);
}

static void a_stalled_peer_is_dropped(void **state)
{
    (void)state;
    struct world *w = start();
    w->on_request = keep_request;
    dial(w);
    say_tcp(w, sv_of(request("OPTIONS", "TCP", "z9hG4bKa", "c1", "")));
    run(w, 100 * USEC_MS);
    stream_pause(w->stream, true);
    watch_start();
    for (int i = 0; i < 5 && !watched.fails; i++) {
        act(w, w->group->loop[0], flood_last_flow);
        run(w, 50 * USEC_MS);
    }
    assert_int_equal(watched.fails, 1);
    assert_true(refused(w, STAT_LIMIT_WRITE_QUEUE) >= 1);
    assert_int_equal(sip_connections(w->sip[0]), 0);
    world_free(w);
}

/* ---- homes ---- */

static unsigned alone(const struct world *w)
{
    unsigned home = WORLD_WORKERS, n = 0;
    for (unsigned i = 0; i < w->workers; i++)
        if (w->by_worker[i]) {
            home = i;
            n++;
        }
    assert_int_equal(n, 1);
    return home;
}

static void one_call_id_has_one_home_while_it_lives(void **state)
{
    (void)state;
    struct world *w = world_new(4, NULL);
    char branch[32];
    w->on_request = keep_request;
    sim_random_steering(w->sim, true);
    say_udp(w, request("INVITE", "UDP", "z9hG4bKfirst", "one-call", ""));
    run(w, 100 * USEC_MS);
    w->on_request = NULL;
    for (int i = 0; i < 40; i++) {
        snprintf(branch, sizeof branch, "z9hG4bK-%d", i);
        say_udp(w, request(i % 2 ? "INFO" : "ACK", "UDP", branch, "one-call", ""));
        run(w, 50 * USEC_MS);
    }
    assert_int_equal(w->requests, 41);
    alone(w);
    assert_true(stat_of(w, STAT_HANDOVERS) > 10);
    assert_true(w->last->claimed);
    assert_int_equal(home_entries(sip_home(w->sip[0])), 1);
    rx_unref(w->last);
    w->last = NULL;
    assert_int_equal(home_entries(sip_home(w->sip[0])), 0);
    world_free(w);
}

static void a_mark_in_the_route_leads_home(void **state)
{
    (void)state;
    struct world *w = world_new(4, NULL);
    sim_random_steering(w->sim, true);
    for (unsigned worker = 0; worker < 4; worker++) {
        char mem[64], line[256], branch[32];
        struct buf b;
        buf_init(&b, mem, sizeof mem);
        struct home *h = sip_home(w->sip[0]);
        home_mark(h, home_slot(h, worker, 17), 99 + worker, &b);
        snprintf(line, sizeof line, "Route: <sip:%.*s@192.0.2.1:5060;lr>\r\n", (int)b.n, b.p);
        memset(w->by_worker, 0, sizeof w->by_worker);
        for (int i = 0; i < 20; i++) {
            snprintf(branch, sizeof branch, "z9hG4bK-%u-%d", worker, i);
            say_udp(w, request("BYE", "UDP", branch, "other", line));
        }
        run(w, 100 * USEC_MS);
        assert_int_equal(alone(w), worker);
        /* On another host's Route the mark is only a name. */
        memset(w->by_worker, 0, sizeof w->by_worker);
        snprintf(line, sizeof line, "Route: <sip:%.*s@192.0.2.7:5060;lr>\r\n", (int)b.n, b.p);
        for (int i = 0; i < 20; i++) {
            char call_id[32];
            snprintf(call_id, sizeof call_id, "z-%u-%d", worker, i);
            say_udp(w, request("BYE", "UDP", call_id, call_id, line));
        }
        run(w, 100 * USEC_MS);
        assert_true(w->by_worker[0] && w->by_worker[1] && w->by_worker[2] && w->by_worker[3]);
    }
    assert_int_equal(home_entries(sip_home(w->sip[0])), 0);
    world_free(w);
}

static void the_answer_leaves_from_the_home_over_the_flow_it_came_by(void **state)
{
    (void)state;
    struct world *w = world_new(4, NULL);
    char branch[32];
    w->on_request = keep_request;
    sim_random_steering(w->sim, true);
    say_udp(w, request("INVITE", "UDP", "z9hG4bKfirst", "one-call", ""));
    run(w, 100 * USEC_MS);
    unsigned home = alone(w);
    for (int i = 0; i < 10; i++) {
        struct sip_reply r = {.status = 200};
        struct rx *held = rx_ref(w->last); /* the call's claim lasts */
        dial(w);
        snprintf(branch, sizeof branch, "z9hG4bK-%d", i);
        say_tcp(w, sv_of(request("INFO", "TCP", branch, "one-call", "")));
        run(w, 100 * USEC_MS);
        inbox_clear(w);
        assert_int_equal(sip_reply(w->sip[home], w->last, &r), ERR_OK);
        rx_unref(held);
        run(w, 100 * USEC_MS);
        assert_int_equal(heard(w, "SIP/2.0 200 OK"), 1);
        stream_close(w->stream, false);
        w->stream = NULL;
    }
    world_free(w);
}

/* ---- names of ours ---- */

static void what_is_ours_is_known(void **state)
{
    (void)state;
    struct world *w = start();
    struct sip *s = w->sip[0];
    assert_true(sip_is_local(s, SV("192.0.2.1"), 0));
    assert_true(sip_is_local(s, SV("192.0.2.1"), 5060));
    assert_false(sip_is_local(s, SV("192.0.2.1"), 5061));
    assert_false(sip_is_local(s, SV("192.0.2.99"), 5060));
    assert_false(sip_is_local(s, SV("example.com"), 5060));
    assert_false(sip_is_local(s, SV("0.0.0.0"), 5060));
    world_free(w);
}

static void via_names_the_listener(void **state)
{
    (void)state;
    struct world *w = start();
    struct sip *s = w->sip[0];
    struct dest d = {.transport = SIP_T_UDP, .addr = address(PEER_IP, 5070)};
    struct flow f;
    char mem[256];
    struct buf b;
    sv branch;
    uint16_t slot;
    assert_int_equal(sip_flow_for(s, &d, &f), ERR_OK);
    buf_init(&b, mem, sizeof mem);
    sip_put_via(s, &b, &f, 77, SV(".7"), &branch);
    buf_char(&b, 0);
    assert_int_equal(b.rc, ERR_OK);
    assert_int_equal(strncmp(mem, "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK", 41), 0);
    assert_non_null(strstr(mem, ".7;rport"));
    assert_true(home_mark_read(sip_home(s), sv_sub(branch, 7, branch.n), &slot));
    assert_int_equal(slot, 77);
    d.transport = SIP_T_TCP;
    assert_int_equal(sip_flow_for(s, &d, &f), ERR_OK);
    buf_reset(&b);
    sip_put_via(s, &b, &f, 77, SV_NONE, &branch);
    buf_char(&b, 0);
    assert_int_equal(strncmp(mem, "SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK", 41), 0);
    assert_null(strstr(mem, "rport"));
    d.addr = address("2001:db8::1", 5060);
    assert_int_equal(sip_flow_for(s, &d, &f), ERR_UNREACHABLE);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_datagram_is_answered),
        cmocka_unit_test(a_retransmission_gets_the_same_tag),
        cmocka_unit_test(rport_and_received_tell_the_source),
        cmocka_unit_test(without_rport_the_answer_goes_to_sent_by_port_of_the_source),
        cmocka_unit_test(keep_alives_are_silent),
        cmocka_unit_test(refused_requests_reach_the_user_but_acks_and_garbage_do_not),
        cmocka_unit_test(responses_that_are_not_ours_are_strays),
        cmocka_unit_test(a_stream_is_answered_on_the_same_connection),
        cmocka_unit_test(messages_come_in_any_pieces),
        cmocka_unit_test(a_double_crlf_is_answered_with_one),
        cmocka_unit_test(bad_framing_is_answered_and_ends_the_connection),
        cmocka_unit_test(endless_headers_end_the_connection),
        cmocka_unit_test(half_a_message_has_a_deadline_and_silence_another),
        cmocka_unit_test(connections_are_capped_per_source),
        cmocka_unit_test(a_connection_is_made_and_used_again),
        cmocka_unit_test(a_connection_that_cannot_be_made_fails_the_watch),
        cmocka_unit_test(an_icmp_error_fails_the_watch),
        cmocka_unit_test(another_workers_connection_is_used_and_its_end_is_told),
        cmocka_unit_test(a_connection_in_the_place_of_another_workers_is_watched),
        cmocka_unit_test(an_answer_whose_connection_died_goes_to_sent_by),
        cmocka_unit_test(a_datagram_over_the_limit_is_refused),
        cmocka_unit_test(a_stalled_peer_is_dropped),
        cmocka_unit_test(one_call_id_has_one_home_while_it_lives),
        cmocka_unit_test(a_mark_in_the_route_leads_home),
        cmocka_unit_test(the_answer_leaves_from_the_home_over_the_flow_it_came_by),
        cmocka_unit_test(what_is_ours_is_known),
        cmocka_unit_test(via_names_the_listener),
    };
    return crypto_start() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
