/* SPDX-License-Identifier: MIT */
/* TLS with peers that misbehave, come in crowds or come again. They are made of OpenSSL itself, over
 * a plain stream: struct raw. */
#include "tls_ends.h"

/* ---- peers that are not as they should be ---- */

/* A peer over a plain stream: it sends what the test says, or is OpenSSL with strange wishes. */
struct raw {
    struct stream *s;
    SSL_CTX *ctx;
    SSL *ssl;
    unsigned shaken, closed;
    bool stops;   /* the test, when it is closed */
    int stops_at; /* or when OpenSSL says this */
    enum err why;
    char said[64];
    void (*when_shaken)(struct raw *r);
};
static struct raw raw;

static void raw_flush(struct raw *r)
{
    char *p;
    long n = BIO_get_mem_data(SSL_get_wbio(r->ssl), &p);
    if (n > 0 && r->s)
        (void)!stream_send(r->s, &(sv){p, (size_t)n}, 1);
    (void)BIO_reset(SSL_get_wbio(r->ssl));
}

static void raw_step(struct raw *r)
{
    size_t n;
    if (!r->shaken && SSL_do_handshake(r->ssl) == 1) {
        r->shaken = 1;
        if (r->when_shaken)
            r->when_shaken(r);
    }
    if (r->shaken && SSL_read_ex(r->ssl, r->said, sizeof(r->said) - 1, &n) == 1)
        r->said[n] = '\0';
    raw_flush(r);
    if (r->stops_at && ERR_GET_REASON(ERR_peek_error()) == r->stops_at)
        net_stop();
    ERR_clear_error();
}

static void on_raw_open(void *arg)
{
    struct raw *r = arg;
    if (r->ssl)
        raw_step(r);
}

static void on_raw_data(void *arg, sv s)
{
    struct raw *r = arg;
    if (!r->ssl)
        return;
    assert_int_equal(BIO_write(SSL_get_rbio(r->ssl), s.p, (int)s.n), (int)s.n);
    raw_step(r);
}

static void on_raw_close(void *arg, enum err why)
{
    struct raw *r = arg;
    r->closed++;
    r->why = why;
    r->s = NULL;
    if (r->stops)
        net_stop();
}

static const struct stream_handler raw_handler = {
    .on_open = on_raw_open, .on_data = on_raw_data, .on_close = on_raw_close};

static void raw_dial(void)
{
    raw.closed = raw.shaken = 0;
    memset(raw.said, 0, sizeof(raw.said));
    assert_int_equal(stream_connect(at, NULL, &at_server, &raw_handler, &raw, &raw.s), ERR_OK);
}

static void raw_ssl(int version, SSL_SESSION *session)
{
    memset(&raw, 0, sizeof(raw));
    raw.ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(raw.ctx, 0);
    SSL_CTX_set_min_proto_version(raw.ctx, version);
    SSL_CTX_set_max_proto_version(raw.ctx, version);
    raw.ssl = SSL_new(raw.ctx);
    SSL_set_bio(raw.ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(raw.ssl);
    if (session)
        SSL_set_session(raw.ssl, session);
    raw_dial();
}

static void raw_end(void)
{
    stream_close(raw.s, false);
    SSL_free(raw.ssl);
    SSL_CTX_free(raw.ctx);
    memset(&raw, 0, sizeof(raw));
    ERR_clear_error();
}

static void what_is_no_tls(void **state)
{
    static const sv said[] = {
        {"OPTIONS sip:example.test SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1\r\n\r\n", 61},
        {"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n", 38},
        {"\x16\x03\x01\x00\x05hello", 10},
        {"\x16\x03\x01\xff\xffhello", 10},
        {"\x17\x03\x03\x00\x05hello", 10},
        {"\x16\x02\x00\x00\x05hello", 10},
        {"\x15\x03\x03\x00\x02\x02\x28", 7}, /* an alert, to begin with */
        {"\x14\x03\x03\x00\x01\x01\x16\x03\x01\x00\x01\x01", 12},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        start();
        memset(&raw, 0, sizeof(raw));
        raw_dial();
        assert_int_equal(stream_send(raw.s, &said[i], 1), ERR_OK);
        net_run();
        assert_int_equal(server.opened, 0);
        assert_int_equal(server.why, ERR_CORRUPT);
        assert_int_equal(stat(STAT_TLS_FAILURES), 1);
        raw_end();
        end();
    }
}

static void on_deadline(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    assert_int_equal(server.closed, 0);
    stream_close(server.s, false);
    server.s = NULL;
    net_stop();
}

static void on_give_up(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    net_stop();
}

/* Nothing comes after some of the first record: the caller's deadline ends it. */
static void half_a_handshake_and_silence(void **state)
{
    static const sv said[] = {
        {"", 0}, {"\x16", 1}, {"\x16\x03\x01\x02", 4}, {"\x16\x03\x01\x02\x00\x01", 6}};
    (void)state;
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        start();
        memset(&raw, 0, sizeof(raw));
        raw_dial();
        assert_int_equal(stream_send(raw.s, &said[i], 1), ERR_OK);
        timer_init(&later, on_deadline, NULL);
        loop_timer(at, &later, 20 * USEC_MS);
        net_run();
        assert_int_equal(server.opened, 0);
        raw_end();
        end();
    }
}

static void old_versions_are_refused(void **state)
{
    static const int version[] = {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct tls_config s = server_config(), c = client_config();
        s.only_13 = version[i] == TLS1_2_VERSION;
        start_with(&s, &c);
        raw_ssl(version[i], NULL);
        net_run();
        assert_int_equal(raw.shaken, 0);
        assert_int_equal(server.why, ERR_CORRUPT);
        raw_end();
        end();
    }
}

static void raw_says_bye_and_more(struct raw *r)
{
    SSL_write(r->ssl, "before", 6);
    SSL_shutdown(r->ssl);
    raw_flush(r);
    (void)!stream_send(r->s, &SV("\x17\x03\x03\x00\x20whatever follows is not looked at.."), 1);
}

static void what_follows_close_notify_is_dropped(void **state)
{
    (void)state;
    start();
    raw_ssl(TLS1_3_VERSION, NULL);
    raw.when_shaken = raw_says_bye_and_more;
    net_run();
    assert_heard(&server, "before");
    assert_int_equal(server.why, ERR_OK);
    raw_end();
    end();
}

static void raw_is_cut(struct raw *r)
{
    SSL_write(r->ssl, "before", 6);
    raw_flush(r);
    stream_close(r->s, true);
    r->s = NULL;
}

static void an_end_without_goodbye_is_no_end(void **state)
{
    static const int version[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    (void)state;
    for (int i = 0; i < 2; i++) {
        start();
        raw_ssl(version[i], NULL);
        raw.when_shaken = raw_is_cut;
        net_run();
        assert_heard(&server, "before");
        assert_int_equal(server.why, ERR_CLOSED);
        raw_end();
        end();
    }
}

static unsigned key_updates;

static void raw_updates_keys(struct raw *r)
{
    for (unsigned i = 0; i < key_updates; i++) {
        SSL_key_update(r->ssl, SSL_KEY_UPDATE_REQUESTED);
        SSL_do_handshake(r->ssl);
    }
    SSL_write(r->ssl, "done", 4);
    SSL_shutdown(r->ssl);
}

static void key_updates_are_few(void **state)
{
    (void)state;
    for (int flood = 0; flood < 2; flood++) {
        start();
        key_updates = flood ? 1000 : 20;
        server.when_data = echo;
        raw_ssl(TLS1_3_VERSION, NULL);
        raw.when_shaken = raw_updates_keys;
        net_run();
        assert_int_equal(server.why, flood ? ERR_CORRUPT : ERR_OK);
        assert_heard(&server, flood ? "" : "done");
        raw_end();
        end();
    }
}

static void raw_renegotiates(struct raw *r)
{
    r->stops_at = SSL_R_NO_RENEGOTIATION;
    assert_int_equal(SSL_renegotiate(r->ssl), 1);
    SSL_do_handshake(r->ssl);
}

/* A client that wants to renegotiate is told no, and nothing else happens. */
static void no_renegotiation(void **state)
{
    (void)state;
    start();
    raw_ssl(TLS1_2_VERSION, NULL);
    raw.when_shaken = raw_renegotiates;
    net_run();
    assert_int_equal(server.opened, 1);
    assert_int_equal(stat(STAT_TLS_HANDSHAKES), 1);
    raw_end();
    end();
}

static void alpn(void **state)
{
    static const struct {
        sv offered;
        const char *chosen;
    } row[] = {
        {SV("\5sip/2\10http/1.1"), "http/1.1"},
        {SV("\2h2\5sip/2"), "sip/2"},
        {SV("\2h2"), ""},
        {SV("\10sip/2xxx\5sip/2"), "sip/2"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        const unsigned char *p;
        unsigned n;
        start();
        raw_ssl(TLS1_3_VERSION, NULL);
        SSL_set_alpn_protos(raw.ssl, (const unsigned char *)row[i].offered.p,
                            (unsigned)row[i].offered.n);
        raw.when_shaken = raw_says_bye_and_more;
        net_run();
        assert_int_equal(server.opened, 1);
        SSL_get0_alpn_selected(raw.ssl, &p, &n);
        assert_true(sv_eq((sv){(const char *)p, n}, sv_of(row[i].chosen)));
        raw_end();
        end();
    }
}

/* ---- tickets ---- */

static void raw_waits(struct raw *r)
{
    SSL_write(r->ssl, "hello", 5);
}

static void say_bye_to(struct end *e, sv s)
{
    (void)s;
    say(e, SV("welcome"));
    leave(e);
}

/* One connection to a server of this kind; returns whether the session was resumed. */
static bool visit(int version, const struct tls_config *s, SSL_SESSION **session)
{
    struct tls_config c = client_config();
    start_with(s, &c);
    server.when_data = say_bye_to;
    raw_ssl(version, *session);
    raw.when_shaken = raw_waits;
    raw.stops = true;
    net_run();
    assert_string_equal(raw.said, "welcome");
    assert_int_equal(server.opened, 1);
    bool resumed = stat(STAT_TLS_RESUMED) == 1;
    assert_int_equal(resumed, SSL_session_reused(raw.ssl));
    if (!*session)
        *session = SSL_get1_session(raw.ssl);
    SSL_set_shutdown(raw.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    raw_end();
    end();
    return resumed;
}

static void tickets_outlive_a_snapshot(void **state)
{
    static const int version[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct tls_config s = server_config();
        SSL_SESSION *session = NULL;
        assert_false(visit(version[i], &s, &session));
        assert_true(visit(version[i], &s, &session));
        s.ca_own = buf_sv(&foreign.cert); /* other trust: what was verified then is of no use */
        assert_false(visit(version[i], &s, &session));
        s.ca_own = SV_NONE;
        s.ticket_key[20] ^= 1;
        assert_false(visit(version[i], &s, &session));
        SSL_SESSION_free(session);
    }
}

/* ---- turns ---- */

enum { CROWD = 30 };
static struct end crowd[CROWD], dialer[CROWD];
static struct raw raws[CROWD];
static unsigned crowd_n, flights, flights_in_turn, most_in_turn;
static usec turn_of_flight;

static void note_flight(int write, int version, int type, const void *p, size_t n, SSL *ssl,
                        void *arg)
{
    tls_stream_message(write, version, type, p, n, ssl, arg);
    if (!write || type != SSL3_RT_HANDSHAKE || *(const uint8_t *)p != SSL3_MT_SERVER_HELLO)
        return;
    if (turn_of_flight != loop_now(at))
        flights_in_turn = 0;
    turn_of_flight = loop_now(at);
    flights++;
    if (++flights_in_turn > most_in_turn)
        most_in_turn = flights_in_turn;
}

static unsigned left;

static void leave_the_crowd(struct end *e)
{
    leave(e);
    if (++left == CROWD)
        net_stop();
}

static void on_crowd_accept(void *arg, struct stream *lower)
{
    struct end *e = &crowd[crowd_n++];
    (void)arg;
    assert_int_equal(tls_accept(server_tls, lower, &handler, e, &e->s), ERR_OK);
}

static const struct listener_handler crowd_accepting = {on_crowd_accept};

static void crowd_start(void)
{
    start();
    listener_close(listener);
    struct addr any = net_addr("127.0.0.1:0");
    assert_int_equal(stream_listen(at, &any, &crowd_accepting, NULL, &listener), ERR_OK);
    at_server = listener->local;
    memset(crowd, 0, sizeof(crowd));
    memset(dialer, 0, sizeof(dialer));
    memset(raws, 0, sizeof(raws));
    stop_after = 0;
    left = crowd_n = flights = flights_in_turn = most_in_turn = 0;
}

static void crowd_end(void)
{
    for (int i = 0; i < CROWD; i++) {
        stream_close(raws[i].s, false);
        SSL_free(raws[i].ssl);
        stream_close(dialer[i].s, false);
        stream_close(crowd[i].s, false);
    }
    ERR_clear_error();
    end();
}

/* Thirty ClientHellos at once: each turn answers one. The clients are cheap, so that they are not
 * what spreads them. */
static void a_turn_does_one_expensive_step(void **state)
{
    (void)state;
    crowd_start();
    SSL_CTX_set_msg_callback(server_tls->pair[0].ctx, note_flight);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    for (int i = 0; i < CROWD; i++) {
        raws[i].ssl = SSL_new(ctx);
        SSL_set_bio(raws[i].ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
        SSL_set_connect_state(raws[i].ssl);
        assert_int_equal(stream_connect(at, NULL, &at_server, &raw_handler, &raws[i], &raws[i].s),
                         ERR_OK);
    }
    timer_init(&later, on_give_up, NULL);
    loop_timer(at, &later, 20 * USEC_S);
    for (int i = 0; i < CROWD; i++)
        crowd[i].when_open = leave_the_crowd;
    net_run();
    loop_timer_cancel(at, &later);
    assert_int_equal(flights, CROWD);
    assert_int_equal(most_in_turn, TLS_HANDSHAKES_TURN);
    SSL_CTX_free(ctx);
    crowd_end();
}

/* Whoever stands in line can leave it. */
static void close_all_that_wait(struct end *first)
{
    (void)first;
    for (unsigned i = 0; i < crowd_n; i++)
        if (crowd[i].s && !crowd[i].opened) {
            left++;
            stream_close(crowd[i].s, i & 1);
            crowd[i].s = NULL;
        }
    net_stop();
}

static void leaving_the_line(void **state)
{
    (void)state;
    crowd_start();
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(tls_connect(client_tls, at, NULL, &at_server, SV("example.test"), true,
                                     &handler, &dialer[i], &dialer[i].s),
                         ERR_OK);
    for (int i = 0; i < CROWD; i++)
        crowd[i].when_open = close_all_that_wait;
    net_run();
    assert_true(left > 0);
    crowd_end();
}

/* ---- memory ends ---- */

static size_t memory_left;

static void on_accept_poor(void *arg, struct stream *lower)
{
    (void)arg;
    mem_fail_after(memory_left);
    enum err rc = tls_accept(server_tls, lower, &handler, &server, &server.s);
    if (rc) {
        assert_int_equal(rc, ERR_NOMEM);
        stream_close(lower, false); /* it stayed ours */
    }
}

static void without_memory_it_ends_or_works(void **state)
{
    static const struct listener_handler poor = {on_accept_poor};
    unsigned worked = 0, failed = 0;
    (void)state;
    for (memory_left = 1; memory_left < 60; memory_left++) {
        start();
        listener_close(listener);
        struct addr any = net_addr("127.0.0.1:0");
        assert_int_equal(stream_listen(at, &any, &poor, NULL, &listener), ERR_OK);
        at_server = listener->local;
        client.keep = server.keep = false;
        client.when_open = say_some_and_leave;
        timer_init(&later, on_give_up, NULL);
        loop_timer(at, &later, 200 * USEC_MS);
        dial();
        net_run();
        mem_fail_after(0);
        loop_timer_cancel(at, &later);
        if (server.got == PIECE)
            worked++;
        else
            failed++;
        end();
    }
    assert_true(worked > 0 && failed > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_tls),
        cmocka_unit_test(half_a_handshake_and_silence),
        cmocka_unit_test(old_versions_are_refused),
        cmocka_unit_test(what_follows_close_notify_is_dropped),
        cmocka_unit_test(an_end_without_goodbye_is_no_end),
        cmocka_unit_test(key_updates_are_few),
        cmocka_unit_test(no_renegotiation),
        cmocka_unit_test(alpn),
        cmocka_unit_test(tickets_outlive_a_snapshot),
        cmocka_unit_test(a_turn_does_one_expensive_step),
        cmocka_unit_test(leaving_the_line),
        cmocka_unit_test(without_memory_it_ends_or_works),
    };
    return ends_main(tests, sizeof(tests) / sizeof(tests[0]));
}
