/* SPDX-License-Identifier: MIT */
/* The simulated backend: streams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "sim/sim.h"

/* One end of a stream: what it heard, and what it does about it. */
struct end {
    struct stream *s;
    struct buf heard;
    unsigned opened, pieces, drained, closed;
    enum err why;
    bool close_on_open, close_on_data, echo;
};

static void on_open(void *arg)
{
    struct end *e = arg;
    e->opened++;
    if (e->close_on_open) {
        stream_close(e->s, false);
        e->s = NULL;
    }
}

static void on_data(void *arg, sv octets)
{
    struct end *e = arg;
    e->pieces++;
    buf_put(&e->heard, octets);
    if (e->echo)
        assert_int_equal(stream_send(e->s, &octets, 1), ERR_OK);
    if (e->close_on_data) {
        stream_close(e->s, false);
        e->s = NULL;
    }
}

static void on_drain(void *arg)
{
    struct end *e = arg;
    e->drained++;
    assert_int_equal(e->s->queued, 0);
}

static void on_close(void *arg, enum err why)
{
    struct end *e = arg;
    e->closed++;
    e->why = why;
    e->s = NULL;
}

static const struct stream_handler handler = {on_open, on_data, on_drain, on_close};

enum { ENDS = 64 };
struct net {
    struct sim *s;
    struct sim_host *ha, *hb;
    struct loop_group *ga, *gb;
    struct listener *li[4];
    struct end a, b[ENDS]; /* b: accepted, in order */
    unsigned accepted, by_worker[4];
    bool refuse, close_on_data, echo;
};

static struct net *net_now; /* of the running test */

static void on_accept(void *arg, struct stream *s)
{
    struct net *n = net_now;
    if (n->refuse) {
        stream_close(s, false);
        return;
    }
    assert_true(n->accepted < ENDS);
    struct end *e = &n->b[n->accepted++];
    n->by_worker[s->loop->worker]++;
    assert_int_equal(s->loop->worker, (unsigned)((struct listener **)arg - n->li));
    buf_init_heap(&e->heard, 64 * 1024 * 1024);
    e->s = s;
    e->close_on_data = n->close_on_data;
    e->echo = n->echo;
    stream_handle(s, &handler, e);
}

static const struct listener_handler accepting = {on_accept};
static struct addr server;

static void start(struct net *n, uint64_t seed, unsigned workers)
{
    *n = (struct net){0};
    net_now = n;
    assert_int_equal(sim_new(seed, &n->s), ERR_OK);
    struct addr a, b, any;
    assert_int_equal(addr_parse_ip(SV("2001:db8::1"), 0, &a), ERR_OK);
    assert_int_equal(addr_parse_ip(SV("2001:db8::2"), 0, &b), ERR_OK);
    assert_int_equal(addr_parse(SV("[::]:5060"), &any), ERR_OK);
    assert_int_equal(addr_parse(SV("[2001:db8::2]:5060"), &server), ERR_OK);
    assert_int_equal(sim_host_new(n->s, "a", &a, 1, &n->ha), ERR_OK);
    assert_int_equal(sim_host_new(n->s, "b", &b, 1, &n->hb), ERR_OK);
    assert_int_equal(sim_process(n->ha, 1, &n->ga), ERR_OK);
    assert_int_equal(sim_process(n->hb, workers, &n->gb), ERR_OK);
    for (unsigned i = 0; i < workers; i++)
        assert_int_equal(stream_listen(n->gb->loop[i], &any, &accepting, &n->li[i], &n->li[i]),
                         ERR_OK);
    buf_init_heap(&n->a.heard, 64 * 1024 * 1024);
}

static void stop(struct net *n)
{
    stream_close(n->a.s, false);
    for (unsigned i = 0; i < ENDS; i++) {
        stream_close(n->b[i].s, false);
        if (n->b[i].heard.heap)
            buf_done(&n->b[i].heard);
    }
    for (unsigned i = 0; i < 4; i++)
        listener_close(n->li[i]);
    buf_done(&n->a.heard);
    sim_free(n->s);
}

static void dial(struct net *n)
{
    n->a.opened = n->a.closed = 0;
    assert_int_equal(stream_connect(n->ga->loop[0], NULL, &server, &handler, &n->a, &n->a.s),
                     ERR_OK);
    assert_int_equal(n->a.opened, 0);
}

static char pattern(size_t i)
{
    return (char)(i * 2654435761u >> 13);
}

static void assert_pattern(const struct buf *b, size_t n)
{
    assert_int_equal(b->n, n);
    for (size_t i = 0; i < n; i++)
        if (b->p[i] != pattern(i))
            fail_msg("octet %zu differs", i);
}

static void octets_arrive_in_order_in_other_pieces(void **state)
{
    (void)state;
    unsigned fewer = 0, more = 0;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct net n;
        start(&n, seed, 1);
        struct sim_wire w = {.loss_permille = 100, .delay_min = 1000, .delay_max = 20000};
        sim_set_wire(n.s, &w);
        dial(&n);
        size_t sent = 0;
        unsigned writes = 0;
        while (sent < 200000) {
            char mem[4000];
            size_t k = 1 + (size_t)(sim_random(n.s) % sizeof(mem));
            for (size_t i = 0; i < k; i++)
                mem[i] = pattern(sent + i);
            sv pieces[2] = {{mem, k / 2}, {mem + k / 2, k - k / 2}};
            assert_int_equal(stream_send(n.a.s, pieces, 2), ERR_OK);
            sent += k;
            writes++;
            sim_run_until(n.s, sim_now(n.s) + (usec)(sim_random(n.s) % 20000));
        }
        sim_run_until(n.s, sim_now(n.s) + USEC_MIN);
        assert_int_equal(n.a.opened, 1);
        assert_pattern(&n.b[0].heard, sent);
        fewer += n.b[0].pieces < writes;
        more += n.b[0].pieces > writes;
        stop(&n);
    }
    assert_true(fewer + more > 20);
}

static void small_writes_merge_and_split(void **state)
{
    (void)state;
    struct net n;
    start(&n, 77, 1);
    dial(&n);
    sim_run_until(n.s, USEC_S);
    for (unsigned i = 0; i < 200; i++) {
        char mem[20];
        for (unsigned k = 0; k < 20; k++)
            mem[k] = pattern(i * 20 + k);
        sv piece = {mem, 20};
        assert_int_equal(stream_send(n.a.s, &piece, 1), ERR_OK);
    }
    sim_run_until(n.s, 2 * USEC_S);
    assert_pattern(&n.b[0].heard, 4000);
    assert_true(n.b[0].pieces > 1 && n.b[0].pieces < 200);
    stop(&n);
}

static void both_ends_hear_the_orderly_end(void **state)
{
    (void)state;
    unsigned split = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct net n;
        start(&n, seed, 1);
        dial(&n);
        sv piece = SV("last words");
        assert_int_equal(stream_send(n.a.s, &piece, 1), ERR_OK); /* before on_open: queued */
        assert_int_equal(n.a.s->queued, piece.n);
        stream_close(n.a.s, true);
        n.a.s = NULL;
        sim_run_until(n.s, USEC_S);
        assert_int_equal(n.a.opened + n.a.closed, 0); /* nothing after close */
        assert_true(sv_eq(buf_sv(&n.b[0].heard), piece));
        assert_int_equal(n.b[0].closed, 1);
        assert_int_equal(n.b[0].why, ERR_OK);
        split += n.b[0].pieces > 1;
        stop(&n);
    }
    assert_in_range(split, 1, 15); /* one write, now and then in several pieces */
}

static void out_of_memory_is_an_error(void **state)
{
    (void)state;
    struct net n;
    start(&n, 8, 1);
    struct stream *s;
    struct listener *li;
    struct addr any = {.family = 6};
    mem_fail_after(1);
    assert_int_equal(stream_connect(n.ga->loop[0], NULL, &server, &handler, &n.a, &s), ERR_NOMEM);
    assert_int_equal(stream_listen(n.ga->loop[0], &any, &accepting, &n.li[0], &li), ERR_NOMEM);
    mem_fail_after(0);
    dial(&n);
    mem_fail_after(1);
    sim_run_until(n.s, USEC_S);
    mem_fail_after(0);
    assert_int_equal(n.accepted, 0); /* nobody could take it */
    assert_int_equal(n.a.why, ERR_REFUSED);
    stop(&n);
}

static void close_without_flush_drops_the_queue(void **state)
{
    (void)state;
    struct net n;
    start(&n, 1, 1);
    dial(&n);
    sim_run_until(n.s, USEC_S);
    static char big[200000];
    sv piece = {big, sizeof(big)};
    assert_int_equal(stream_send(n.a.s, &piece, 1), ERR_OK);
    assert_true(n.a.s->queued > 100000);
    stream_close(n.a.s, false);
    n.a.s = NULL;
    sim_run_until(n.s, USEC_MIN);
    assert_in_range(n.b[0].heard.n, 1, 99999);
    assert_int_equal(n.b[0].closed, 1);
    stop(&n);
}

static void refused_without_a_listener(void **state)
{
    (void)state;
    struct net n;
    start(&n, 2, 1);
    listener_close(n.li[0]);
    n.li[0] = NULL;
    dial(&n);
    sim_run_until(n.s, 10 * USEC_S);
    assert_int_equal(n.a.opened, 0);
    assert_int_equal(n.a.closed, 1);
    assert_int_equal(n.a.why, ERR_REFUSED);
    stop(&n);
}

static void partition_stalls_or_times_out(void **state)
{
    (void)state;
    struct net n;
    start(&n, 3, 1);
    sim_partition(n.s, n.ha, n.hb, true);
    dial(&n);
    sim_run_until(n.s, 100 * USEC_S);
    assert_int_equal(n.a.closed, 0);
    sim_run_until(n.s, 200 * USEC_S);
    assert_int_equal(n.a.closed, 1);
    assert_int_equal(n.a.why, ERR_TIMEOUT);

    sim_partition(n.s, n.ha, n.hb, false);
    dial(&n);
    sim_run_until(n.s, 201 * USEC_S);
    assert_int_equal(n.a.opened, 1);
    sim_partition(n.s, n.ha, n.hb, true);
    sv piece = SV("patience");
    assert_int_equal(stream_send(n.a.s, &piece, 1), ERR_OK);
    sim_run_until(n.s, 220 * USEC_S);
    assert_int_equal(n.b[0].heard.n, 0);
    sim_partition(n.s, n.ha, n.hb, false);
    sim_run_until(n.s, 260 * USEC_S);
    assert_true(sv_eq(buf_sv(&n.b[0].heard), piece));

    sim_partition(n.s, n.ha, n.hb, true);
    assert_int_equal(stream_send(n.a.s, &piece, 1), ERR_OK);
    sim_run_until(n.s, USEC_HOUR);
    assert_int_equal(n.a.closed, 1); /* the sender gives up, the other side knows nothing */
    assert_int_equal(n.a.why, ERR_TIMEOUT);
    assert_int_equal(n.b[0].closed, 0);
    sim_partition(n.s, n.ha, n.hb, false);
    assert_int_equal(stream_send(n.b[0].s, &piece, 1), ERR_OK);
    sim_run_until(n.s, USEC_HOUR + USEC_MIN);
    assert_int_equal(n.b[0].closed, 1); /* until it speaks: reset */
    assert_int_equal(n.b[0].why, ERR_CLOSED);
    stop(&n);
}

static void write_queue_is_capped_and_drains(void **state)
{
    (void)state;
    struct net n;
    start(&n, 4, 1);
    dial(&n);
    sim_run_until(n.s, USEC_S);
    stream_pause(n.b[0].s, true);
    static char mem[10000];
    sv piece = {mem, sizeof(mem)};
    size_t sent = 0;
    n.a.s->queue_max = 50000;
    while (stream_send(n.a.s, &piece, 1) == ERR_OK)
        sent += piece.n;
    assert_true(n.a.s->queued <= 50000 && n.a.s->queued > 40000);
    assert_true(sent > 50000);
    size_t before = n.a.s->queued;
    assert_int_equal(stream_send(n.a.s, &piece, 1), ERR_TOOBIG);
    assert_int_equal(n.a.s->queued, before); /* nothing was written */
    sim_run_until(n.s, USEC_MIN);
    assert_int_equal(n.b[0].heard.n, 0); /* paused */
    assert_int_equal(n.a.drained, 0);
    stream_pause(n.b[0].s, false);
    sim_run_until(n.s, 2 * USEC_MIN);
    assert_int_equal(n.b[0].heard.n, sent);
    assert_int_equal(n.a.drained, 1);
    assert_int_equal(n.a.s->queued, 0);
    stop(&n);
}

static void flush_ends_even_if_nobody_reads(void **state)
{
    (void)state;
    struct net n;
    start(&n, 5, 1);
    dial(&n);
    sim_run_until(n.s, USEC_S);
    stream_pause(n.b[0].s, true);
    static char big[200000];
    sv piece = {big, sizeof(big)};
    assert_int_equal(stream_send(n.a.s, &piece, 1), ERR_OK);
    stream_close(n.a.s, true);
    n.a.s = NULL;
    sim_run_until(n.s, 5 * USEC_MIN);
    assert_int_equal(n.b[0].closed, 0); /* a paused reader does not see the end */
    stream_pause(n.b[0].s, false);
    sim_run_until(n.s, 6 * USEC_MIN);
    assert_int_equal(n.b[0].closed, 1);
    assert_in_range(n.b[0].heard.n, 1, sizeof(big) - 1);
    stop(&n);
}

static void handlers_may_close(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct net n;
        start(&n, seed, 1);
        n.close_on_data = true;
        dial(&n);
        sv piece = SV("one two three four five six seven");
        assert_int_equal(stream_send(n.a.s, &piece, 1), ERR_OK);
        sim_run_until(n.s, USEC_MIN);
        assert_int_equal(n.b[0].pieces, 1);
        assert_int_equal(n.b[0].closed, 0);
        assert_int_equal(n.a.closed, 1);
        n.a.close_on_open = true;
        dial(&n);
        sim_run_until(n.s, 2 * USEC_MIN);
        assert_null(n.a.s);
        assert_int_equal(n.a.closed, 0);
        assert_int_equal(n.b[1].closed, 1);
        n.a.close_on_open = false;
        n.refuse = true;
        dial(&n);
        sim_run_until(n.s, 3 * USEC_MIN);
        assert_int_equal(n.a.closed, 1);
        stop(&n);
    }
}

static void workers_share_the_accepting(void **state)
{
    (void)state;
    struct net n;
    start(&n, 6, 4);
    n.echo = true;
    struct end more[40] = {0};
    for (unsigned i = 0; i < 40; i++) {
        buf_init_heap(&more[i].heard, 1000);
        assert_int_equal(
            stream_connect(n.ga->loop[0], NULL, &server, &handler, &more[i], &more[i].s), ERR_OK);
        sv piece = SV("echo");
        assert_int_equal(stream_send(more[i].s, &piece, 1), ERR_OK);
    }
    sim_run_until(n.s, USEC_S);
    assert_int_equal(n.accepted, 40);
    for (unsigned i = 0; i < 4; i++)
        assert_in_range(n.by_worker[i], 3, 20);
    for (unsigned i = 0; i < 40; i++) {
        assert_true(sv_eq(buf_sv(&more[i].heard), SV("echo")));
        assert_true(addr_equal(&more[i].s->peer, &server));
        stream_close(more[i].s, false);
        buf_done(&more[i].heard);
    }
    stop(&n);
}

static void death_ends_the_peers_streams(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct net n;
        start(&n, seed, 2);
        dial(&n);
        sim_run_until(n.s, USEC_S);
        static char mem[3000];
        sv piece = {mem, sizeof(mem)};
        assert_int_equal(stream_send(n.b[0].s, &piece, 1), ERR_OK);
        if (seed & 2)
            assert_int_equal(stream_send(n.a.s, &piece, 1), ERR_OK);
        sim_process_kill(n.hb, seed & 1);
        assert_int_equal(n.a.closed, 0);
        assert_int_equal(stream_send(n.b[0].s, &piece, 1), ERR_CLOSED);
        struct stream *s;
        assert_int_equal(stream_connect(n.gb->loop[0], NULL, &server, &handler, &n.b[1], &s),
                         ERR_STATE);
        stream_pause(n.b[0].s, true);
        sim_run_until(n.s, 2 * USEC_S);
        if (!(seed & 1)) {
            assert_int_equal(n.a.closed, 1);
            assert_true(n.a.why == ERR_OK || n.a.why == ERR_CLOSED);
        }
        sim_run_until(n.s, USEC_MIN);
        assert_int_equal(n.a.closed, 1);
        assert_int_equal(n.b[0].closed, 0);
        if (seed & 4) { /* closing dead things is fine, and so is leaving them */
            stream_close(n.b[0].s, true);
            listener_close(n.li[0]);
            listener_close(n.li[1]);
        }
        n.b[0].s = NULL;
        n.li[0] = n.li[1] = NULL;
        sim_process_free(n.hb);
        stop(&n);
    }
}

static void unix_sockets_connect_by_path(void **state)
{
    (void)state;
    struct net n;
    start(&n, 7, 1);
    struct listener *li, *twice;
    struct loop *l = n.gb->loop[0];
    n.echo = true;
    assert_int_equal(stream_listen_unix(l, SV("/run/tandem.sock"), 0600, &accepting, &n.li[0], &li),
                     ERR_OK);
    assert_int_equal(
        stream_listen_unix(l, SV("/run/tandem.sock"), 0600, &accepting, &n.li[0], &twice),
        ERR_BUSY);
    assert_int_equal(sim_connect_unix(l, SV("/run/tandem.sock"), &handler, &n.a, &n.a.s), ERR_OK);
    sv piece = SV("status");
    assert_int_equal(stream_send(n.a.s, &piece, 1), ERR_OK);
    sim_run_until(n.s, USEC_S);
    assert_true(sv_eq(buf_sv(&n.a.heard), piece));
    assert_int_equal(n.b[0].s->peer.family, 0);
    stream_close(n.a.s, false);
    listener_close(li);
    assert_int_equal(sim_connect_unix(l, SV("/run/tandem.sock"), &handler, &n.a, &n.a.s), ERR_OK);
    sim_run_until(n.s, 2 * USEC_S);
    assert_int_equal(n.a.why, ERR_REFUSED);
    stop(&n);
}

static uint64_t chatter(uint64_t seed)
{
    struct net n;
    start(&n, seed, 3);
    struct sim_wire w = {.loss_permille = 50, .delay_min = 100, .delay_max = 3000};
    sim_set_wire(n.s, &w);
    n.echo = true;
    dial(&n);
    for (unsigned i = 0; i < 20; i++) {
        sv piece = SV("some text that comes back");
        assert_int_equal(stream_send(n.a.s, &piece, 1), ERR_OK);
        sim_run_until(n.s, sim_now(n.s) + 5 * USEC_MS);
    }
    sim_run_until(n.s, sim_now(n.s) + 10 * USEC_S);
    assert_int_equal(n.a.heard.n, 20 * 25);
    uint64_t h = sim_trace_hash(n.s);
    stop(&n);
    return h;
}

static void same_seed_same_trace(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        assert_true(chatter(seed) == chatter(seed));
        assert_true(chatter(seed) != chatter(seed + 100));
    }
}

/* ---- from loop to loop ---- */

static void what_comes_meanwhile_is_heard_by_the_next_loop(void **state)
{
    (void)state;
    struct net n;
    for (uint64_t seed = 0; seed < 20; seed++) {
        start(&n, seed, 2);
        dial(&n);
        sim_run_until(n.s, sim_now(n.s) + 10 * USEC_S);
        unsigned from = n.b[0].s->loop->worker;
        assert_int_equal(stream_send(n.a.s, &SV("one "), 1), ERR_OK);
        assert_int_equal(stream_send(n.b[0].s, &SV("back"), 1), ERR_OK);
        assert_int_equal(stream_leave(&n.b[0].s), ERR_OK);
        sim_run_until(n.s, sim_now(n.s) + 10 * USEC_S);
        assert_int_equal(n.a.heard.n, 4);
        assert_int_equal(stream_send(n.a.s, &SV("two"), 1), ERR_OK);
        stream_close(n.a.s, true);
        n.a.s = NULL;
        sim_run_until(n.s, sim_now(n.s) + 10 * USEC_S);
        assert_int_equal(n.b[0].heard.n, 0);
        assert_int_equal(n.b[0].closed, 0);
        assert_int_equal(stream_join(n.b[0].s, n.gb->loop[1 - from]), ERR_OK);
        assert_ptr_equal(n.b[0].s->loop, n.gb->loop[1 - from]);
        sim_run_until(n.s, sim_now(n.s) + 10 * USEC_S);
        assert_true(sv_eq(buf_sv(&n.b[0].heard), SV("one two")));
        assert_int_equal(n.b[0].closed, 1);
        assert_int_equal(n.b[0].why, ERR_OK);
        stop(&n);
    }
}

static void a_reset_on_the_way_is_told_by_the_next_loop(void **state)
{
    (void)state;
    struct net n;
    start(&n, 1, 2);
    dial(&n);
    sim_run_until(n.s, sim_now(n.s) + 10 * USEC_S);
    unsigned from = n.b[0].s->loop->worker;
    assert_int_equal(stream_leave(&n.b[0].s), ERR_OK);
    sim_process_kill(n.ha, true); /* without a word */
    sim_run_until(n.s, sim_now(n.s) + 60 * USEC_S);
    assert_int_equal(n.b[0].closed, 0);
    assert_int_equal(stream_join(n.b[0].s, n.gb->loop[1 - from]), ERR_OK);
    sim_run_until(n.s, sim_now(n.s) + 60 * USEC_S);
    assert_int_equal(n.b[0].closed, 1);
    assert_int_equal(n.b[0].why, ERR_TIMEOUT);
    stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(octets_arrive_in_order_in_other_pieces),
        cmocka_unit_test(small_writes_merge_and_split),
        cmocka_unit_test(both_ends_hear_the_orderly_end),
        cmocka_unit_test(out_of_memory_is_an_error),
        cmocka_unit_test(close_without_flush_drops_the_queue),
        cmocka_unit_test(refused_without_a_listener),
        cmocka_unit_test(partition_stalls_or_times_out),
        cmocka_unit_test(write_queue_is_capped_and_drains),
        cmocka_unit_test(flush_ends_even_if_nobody_reads),
        cmocka_unit_test(handlers_may_close),
        cmocka_unit_test(workers_share_the_accepting),
        cmocka_unit_test(death_ends_the_peers_streams),
        cmocka_unit_test(unix_sockets_connect_by_path),
        cmocka_unit_test(same_seed_same_trace),
        cmocka_unit_test(what_comes_meanwhile_is_heard_by_the_next_loop),
        cmocka_unit_test(a_reset_on_the_way_is_told_by_the_next_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
