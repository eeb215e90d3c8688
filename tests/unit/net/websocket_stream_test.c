/* SPDX-License-Identifier: MIT */
/* WebSocket as a stream: writing, time, pauses and ends, real and simulated connections, and what one
 * costs. */
#include "websocket_rig.h"

#include <malloc.h>
#include <time.h>

#include "net_run.h"
#include "sim/sim.h"

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
