/* SPDX-License-Identifier: MIT */
/* What TLS costs: octets of an idle connection, and how long handshakes make others wait. Clients
 * are another process, so that the server's share is seen alone. Nothing timed is asserted. */
#include "net_run.h"
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tls_pems.h"

enum { IDLE = 1000 };

static struct pem authority, leaf;

/* ---- the clients' process ---- */

static struct tls *client_tls;
static unsigned client_opens, client_ends;

static void on_client_open(void *arg)
{
    (void)arg;
    client_opens++;
}

static void on_client_data(void *arg, sv s)
{
    (void)arg;
    (void)s;
}

static void on_client_close(void *arg, enum err why)
{
    (void)arg;
    (void)why;
    client_ends++;
}

static const struct stream_handler client_handler = {
    .on_open = on_client_open, .on_data = on_client_data, .on_close = on_client_close};

static void connect_one(const struct addr *to, bool plain)
{
    struct stream *s;
    enum err rc =
        plain ? stream_connect(at, NULL, to, &client_handler, NULL, &s)
              : tls_connect(client_tls, at, NULL, to, SV_NONE, false, &client_handler, NULL, &s);
    if (rc)
        _exit(2);
}

/* Runs in a process of its own until it is killed. */
static pid_t clients(void (*run)(const struct addr *to), const struct addr *to)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    struct tls_config c = {.ca = buf_sv(&authority.cert)};
    alarm(60);
    if (worker_group_new(1, &group) != ERR_OK)
        _exit(2);
    at = group->loop[0];
    client_tls = pem_tls(&c);
    run(to);
    (void)!worker_group_run(group);
    _exit(0);
}

static void end_clients(pid_t pid)
{
    int status;
    assert_true(pid > 0);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static bool idle_plain, idle_silent;

static void connect_idle(const struct addr *to)
{
    for (int i = 0; i < IDLE; i++)
        connect_one(to, idle_plain || idle_silent);
}

/* ---- the server ---- */

static struct tls *server_tls;
static struct listener *listener;
static struct stream *streams[IDLE];
static unsigned accepted, opened;
static struct timer settled;
static size_t heap_before, heap_after;

static size_t heap(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static void on_server_open(void *arg)
{
    (void)arg;
    if (++opened == IDLE)
        loop_timer(at, &settled, 100 * USEC_MS);
}

static void on_server_close(void *arg, enum err why)
{
    (void)why;
    *(struct stream **)arg = NULL;
}

static const struct stream_handler server_handler = {
    .on_open = on_server_open, .on_data = on_client_data, .on_close = on_server_close};

static void on_accept(void *arg, struct stream *s)
{
    (void)arg;
    assert_true(accepted < IDLE);
    struct stream **slot = &streams[accepted++];
    if (idle_plain) {
        *slot = s;
        stream_handle(s, &server_handler, slot);
        on_server_open(slot);
    } else {
        assert_int_equal(tls_accept(server_tls, s, &server_handler, slot, slot), ERR_OK);
        if (idle_silent)
            on_server_open(slot);
    }
}

static const struct listener_handler accepting = {on_accept};

static void on_settled(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    heap_after = heap();
    net_stop();
}

static size_t idle_cost(bool plain)
{
    struct addr any = net_addr("127.0.0.1:0");
    idle_plain = plain;
    accepted = opened = 0;
    net_setup(1);
    timer_init(&settled, on_settled, NULL);
    assert_int_equal(stream_listen(at, &any, &accepting, NULL, &listener), ERR_OK);
    struct addr to = listener->local;
    struct loop *own = at;
    pid_t pid = clients(connect_idle, &to);
    at = own;
    heap_before = heap();
    net_run();
    assert_int_equal(opened, IDLE);
    for (unsigned i = 0; i < IDLE; i++)
        stream_close(streams[i], false);
    end_clients(pid);
    listener_close(listener);
    net_end();
    return (heap_after - heap_before) / IDLE;
}

static void an_idle_connection_costs(void **state)
{
    struct tls_pair pair = pem_pair(&leaf);
    struct tls_config c = {.pairs = &pair, .n = 1, .ca = buf_sv(&authority.cert)};
    (void)state;
    server_tls = pem_tls(&c);
    idle_cost(false); /* what OpenSSL and malloc set up once */
    size_t plain = idle_cost(true), all = idle_cost(false);
    print_message("TLS_BYTES_IDLE %zu, and %zu of TCP below\n", all - plain, plain);
    idle_silent = true;
    print_message("TLS_BYTES_SILENT %zu (no whole record came yet)\n", idle_cost(false) - plain);
    idle_silent = false;
    tls_unref(server_tls);
}

/* ---- handshakes beside other work ---- */

enum { A_SECOND = 300, EVERY_MS = 10, PINGS_MAX = 4000, LOAD_S = 3 };

static struct timer more;

static void on_more(struct timer *t, void *to)
{
    loop_timer(at, t, EVERY_MS * USEC_MS);
    for (int i = 0; i < A_SECOND * EVERY_MS / 1000; i++)
        connect_one(to, false);
}

static void connect_steadily(const struct addr *to)
{
    static struct addr copy;
    copy = *to;
    timer_init(&more, on_more, &copy);
    loop_timer(at, &more, 0);
}

static void on_busy_open(void *arg)
{
    opened++;
    stream_close(*(struct stream **)arg, true);
    *(struct stream **)arg = NULL;
}

static const struct stream_handler busy_handler = {
    .on_open = on_busy_open, .on_data = on_client_data, .on_close = on_server_close};

static void on_busy_accept(void *arg, struct stream *s)
{
    (void)arg;
    struct stream **slot = &streams[accepted++ % IDLE];
    stream_close(*slot, false);
    assert_int_equal(tls_accept(server_tls, s, &busy_handler, slot, slot), ERR_OK);
}

static const struct listener_handler busy_accepting = {on_busy_accept};

/* Pings from the other worker to the one that shakes hands. */
static struct udp *echo, *pinger;
static struct timer ping;
static usec sent_at, took[PINGS_MAX];
static unsigned pings, load_pings;

static usec clock_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (usec)ts.tv_sec * USEC_S + ts.tv_nsec / 1000;
}

static void on_echo(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    (void)arg;
    (void)to;
    sv s = block_sv(b);
    assert_int_equal(udp_send(echo, NULL, from, &s, 1), ERR_OK);
}

static void on_ping(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    sent_at = clock_now();
    assert_int_equal(udp_send(pinger, NULL, &echo->local, &SV("ping"), 1), ERR_OK);
}

static void on_pong(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    (void)arg;
    (void)b;
    (void)from;
    (void)to;
    took[pings++] = clock_now() - sent_at;
    if (pings == load_pings)
        worker_group_stop(group);
    else
        loop_timer(pinger->loop, &ping, 1 * USEC_MS);
}

static const struct udp_handler echo_handler = {.on_datagram = on_echo};
static const struct udp_handler pong_handler = {.on_datagram = on_pong};

/* Once a turn: what the turn before took of the processor. */
static struct mail each_turn;
static usec cpu_before, turn_longest;
static unsigned turns_long;
static bool watch_turns;

static void on_turn(struct loop *l, struct mail *m)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    usec cpu = (usec)ts.tv_sec * USEC_S + ts.tv_nsec / 1000, turn = cpu - cpu_before;
    if (cpu_before && turn > turn_longest)
        turn_longest = turn;
    turns_long += cpu_before && turn > 1 * USEC_MS;
    cpu_before = cpu;
    if (!loop_stopping(l))
        assert_int_equal(loop_mail(l, m), ERR_OK);
}

static int by_size(const void *a, const void *b)
{
    usec x = *(const usec *)a, y = *(const usec *)b;
    return x < y ? -1 : x > y;
}

static void ping_beside(bool handshakes)
{
    struct addr any = net_addr("127.0.0.1:0");
    accepted = opened = pings = 0;
    load_pings = LOAD_S * 500;
    memset(streams, 0, sizeof(streams));
    net_setup(2);
    assert_int_equal(stream_listen(at, &any, &busy_accepting, NULL, &listener), ERR_OK);
    assert_int_equal(udp_open(at, &any, &echo_handler, NULL, &echo), ERR_OK);
    assert_int_equal(udp_open(group->loop[1], &any, &pong_handler, NULL, &pinger), ERR_OK);
    timer_init(&ping, on_ping, NULL);
    loop_timer(group->loop[1], &ping, 0);
    struct addr to = listener->local;
    struct loop_group *own = group;
    pid_t pid = handshakes ? clients(connect_steadily, &to) : 0;
    group = own;
    at = group->loop[0];
    each_turn.fn = on_turn;
    cpu_before = turn_longest = turns_long = 0;
    if (watch_turns)
        assert_int_equal(loop_mail(at, &each_turn), ERR_OK);
    usec began = clock_now();
    net_run();
    usec ran = clock_now() - began;
    if (handshakes)
        end_clients(pid);
    qsort(took, pings, sizeof(took[0]), by_size);
    print_message("TLS_TURN %u handshakes/s: a ping took %.2f ms at the median, %.2f at p99, "
                  "%.2f at most (%u)\n",
                  (unsigned)(opened * USEC_S / ran), (double)took[pings / 2] / 1000,
                  (double)took[pings - pings / 100 - 1] / 1000, (double)took[pings - 1] / 1000,
                  pings);
    if (watch_turns)
        print_message("TLS_TURN_CPU the longest turn took %.2f ms, %u over 1 ms\n",
                      (double)turn_longest / 1000, turns_long);
    for (unsigned i = 0; i < IDLE; i++)
        stream_close(streams[i], false);
    udp_close(echo);
    udp_close(pinger);
    listener_close(listener);
    net_end();
    assert_int_equal(handshakes, opened > 0);
}

static void handshakes_leave_room_for_others(void **state)
{
    struct tls_pair pair = pem_pair(&leaf);
    struct tls_config c = {.pairs = &pair, .n = 1, .ca = buf_sv(&authority.cert)};
    (void)state;
    server_tls = pem_tls(&c);
    ping_beside(false);
    ping_beside(true);
    watch_turns = true;
    ping_beside(true);
    tls_unref(server_tls);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_idle_connection_costs),
                                       cmocka_unit_test(handshakes_leave_room_for_others)};
    assert_int_equal(crypto_start(), ERR_OK);
    pem_make(&authority, NULL, "example.test");
    pem_make(&leaf, &authority, "example.test");
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    pem_done(&authority);
    pem_done(&leaf);
    return rc;
}
