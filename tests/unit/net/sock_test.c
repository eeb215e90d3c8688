/* SPDX-License-Identifier: MIT */
/* Datagrams over the loopback, on real loops. */
#include "net_run.h"
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The library's sendmmsg resolves to this one: the kernel's, unless a test fills the socket's
 * buffer. */
static bool no_room;
static unsigned without_room;
static _Atomic unsigned failures;
static int failure = EPERM;

int sendmmsg(int fd, struct mmsghdr *msg, unsigned n, int flags)
{
    if (no_room) {
        without_room++;
        errno = EAGAIN;
        return -1;
    }
    if (failures > 0) {
        failures--;
        errno = failure;
        return -1;
    }
    return (int)syscall(SYS_sendmmsg, fd, msg, n, flags);
}

static const struct addr *any_port(const char *ip)
{
    static struct addr a;
    assert_int_equal(addr_parse_ip(sv_of(ip), 0, &a), ERR_OK);
    return &a;
}

/* ---- datagrams ---- */

static struct udp *ping, *pong;
static unsigned got;
static enum err told;
static struct addr told_to, seen_from, seen_to;
static char octets[UDP_MAX + 10];

static void pong_datagram(void *arg, struct block *b, const struct addr *from,
                          const struct addr *to)
{
    (void)arg;
    sv piece = block_sv(b);
    seen_to = *to;
    assert_memory_equal(b->p, octets, b->n);
    assert_int_equal(udp_send(pong, to, from, &piece, 1), ERR_OK);
}

static void ping_datagram(void *arg, struct block *b, const struct addr *from,
                          const struct addr *to)
{
    (void)arg;
    (void)to;
    seen_from = *from;
    got = b->n;
    assert_memory_equal(b->p, octets, b->n);
    net_stop();
}

static const struct udp_handler pong_handler = {.on_datagram = pong_datagram};

static void udp_told(void *arg, const struct addr *to, enum err why, sv quoted)
{
    (void)quoted;
    (void)arg;
    told = why;
    told_to = *to;
    net_stop();
}

static const struct udp_handler ping_handler = {.on_datagram = ping_datagram, .on_error = udp_told};

static void echo_of(const char *pong_ip, const char *ping_ip, const char *sent_to, size_t n)
{
    net_setup(2); /* pong has blocks of its own: none that held these octets before */
    assert_int_equal(udp_open(group->loop[1], any_port(pong_ip), &pong_handler, NULL, &pong),
                     ERR_OK);
    assert_int_equal(udp_open(at, any_port(ping_ip), &ping_handler, NULL, &ping), ERR_OK);
    struct addr to = *any_port(sent_to);
    to.port = pong->local.port;
    assert_int_not_equal(to.port, 0);
    for (size_t i = 0; i < n; i++)
        octets[i] = (char)(i * 7 + i / 251);
    got = UINT32_MAX;
    sv pieces[2] = {{octets, n / 3}, {octets + n / 3, n - n / 3}};
    assert_int_equal(udp_send(ping, NULL, &to, pieces, 2), ERR_OK);
    net_run();
    assert_int_equal(got, n);
    /* The answer left from the address that was asked, of a wildcard socket too. */
    assert_true(addr_equal(&seen_from, &to));
    assert_true(addr_equal(&seen_to, &to));
    udp_close(ping);
    udp_close(pong);
    net_end();
}

static void datagrams_of_all_sizes(void **state)
{
    static const size_t size[] = {0, 1, 2047, 2048, 2049, 9000, 65507};
    (void)state;
    for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++)
        echo_of("127.0.0.1", "127.0.0.1", "127.0.0.1", size[i]);
}

static void wildcard_answers_from_the_address_asked(void **state)
{
    (void)state;
    echo_of("0.0.0.0", "127.0.0.1", "127.0.0.77", 100);
    echo_of("0.0.0.0", "0.0.0.0", "127.0.0.3", 100);
}

static void datagrams_over_ipv6(void **state)
{
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    (void)state;
    bool have = fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;
    close(fd);
    if (!have)
        skip();
    echo_of("::1", "::1", "::1", 3000);
    echo_of("::", "::1", "::1", 3000);
}

static void error_of_the_past_costs_no_datagram(void **state)
{
    (void)state;
    failures = 1; /* the kernel tells a pending error to whoever calls next */
    echo_of("127.0.0.1", "127.0.0.1", "127.0.0.1", 10);
    assert_int_equal(failures, 0);

    net_setup(1);
    assert_int_equal(udp_open(at, any_port("127.0.0.1"), &ping_handler, NULL, &ping), ERR_OK);
    struct addr to = net_addr("127.0.0.1:9");
    told = ERR_OK;
    failures = 2;
    assert_int_equal(udp_send(ping, NULL, &to, &SV("x"), 1), ERR_OK);
    net_run();
    assert_int_equal(told, ERR_DENIED);
    assert_true(addr_equal(&told_to, &to));
    udp_close(ping);
    net_end();
}

static void stop_late(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    net_stop();
}

/* Sends one datagram to somebody, and waits for a report of it. */
static void send_for_report(const char *somebody)
{
    struct timer late_timer;
    net_setup(1);
    assert_int_equal(udp_open(at, any_port("0.0.0.0"), &ping_handler, NULL, &ping), ERR_OK);
    struct addr to = net_addr(somebody);
    told = ERR_OK;
    told_to = (struct addr){0};
    assert_int_equal(udp_send(ping, NULL, &to, &SV("x"), 1), ERR_OK);
    timer_init(&late_timer, stop_late, NULL);
    loop_timer(at, &late_timer, 20 * USEC_MS);
    net_run();
    assert_true(told == ERR_OK || addr_equal(&told_to, &to));
    udp_close(ping);
    loop_timer_cancel(at, &late_timer);
    net_end();
}

/* Reports about others, that come while one is being sent, are never laid to it; and one that always
 * meets them is as good as lost. */
static void reports_about_others_are_not_laid_to_the_next(void **state)
{
    static const int codes[] = {ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EACCES, EMSGSIZE, EPROTO};
    (void)state;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        failure = codes[i];
        failures = 3;
        told = ERR_OK;
        echo_of("127.0.0.1", "127.0.0.1", "127.0.0.1", 10);
        assert_int_equal(failures, 0);
        assert_int_equal(told, ERR_OK);
    }
    failures = 8;
    send_for_report("127.0.0.1:9");
    assert_int_equal(failures, 0);
    assert_int_equal(told, ERR_OK);
    /* A broadcast is refused by the kernel itself: that is about this datagram. */
    failure = EPERM;
    send_for_report("255.255.255.255:9");
    assert_int_equal(told, ERR_DENIED);
}

static void too_big_is_told(void **state)
{
    (void)state;
    net_setup(1);
    assert_int_equal(udp_open(at, any_port("127.0.0.1"), &ping_handler, NULL, &ping), ERR_OK);
    struct addr to = ping->local;
    assert_int_equal(udp_send(ping, NULL, &to, &(sv){octets, UDP_MAX + 1}, 1), ERR_TOOBIG);
    assert_int_equal(udp_send(ping, NULL, &to, &(sv){octets, UDP_MAX}, 1), ERR_OK);
    told = ERR_OK;
    net_run(); /* IPv4 carries 65,507 */
    assert_int_equal(told, ERR_TOOBIG);
    struct addr six = *any_port("::1");
    assert_int_equal(udp_send(ping, NULL, &six, &SV("x"), 1), ERR_UNREACHABLE);
    udp_close(ping);
    net_end();
}

static void refused_destination_harms_no_other(void **state)
{
    struct udp *gone;
    (void)state;
    net_setup(1);
    assert_int_equal(udp_open(at, any_port("127.0.0.1"), &pong_handler, NULL, &gone), ERR_OK);
    struct addr closed = gone->local;
    udp_close(gone);
    assert_int_equal(udp_open(at, any_port("127.0.0.1"), &pong_handler, NULL, &pong), ERR_OK);
    assert_int_equal(udp_open(at, any_port("127.0.0.1"), &ping_handler, NULL, &ping), ERR_OK);
    told = ERR_OK;
    assert_int_equal(udp_send(ping, NULL, &closed, &SV("y"), 1), ERR_OK);
    net_run();
    assert_int_equal(told, ERR_REFUSED);
    assert_true(addr_equal(&told_to, &closed));
    udp_close(ping);
    udp_close(pong);
    net_end();
}

enum { BURST = 3000 };
static unsigned refused_told, arrived;
static struct addr live_to, dead_to;

static void burst_told(void *arg, const struct addr *to, enum err why, sv quoted)
{
    unsigned number;
    (void)arg;
    assert_int_equal(quoted.n, sizeof(number)); /* what was sent there comes back */
    memcpy(&number, quoted.p, sizeof(number));
    assert_int_equal(number % 10, 0);
    assert_true(addr_equal(to, &dead_to));
    assert_int_equal(why, ERR_REFUSED);
    refused_told++;
}

static void burst_datagram(void *arg, struct block *b, const struct addr *from,
                           const struct addr *to)
{
    (void)arg;
    (void)from;
    (void)to;
    unsigned number;
    assert_int_equal(b->n, sizeof(number));
    memcpy(&number, b->p, sizeof(number));
    assert_int_equal(number, arrived); /* loopback keeps the order, so should we */
    if (++arrived == BURST)
        net_stop();
}

static const struct udp_handler burst_handler = {.on_datagram = burst_datagram,
                                                 .on_error = burst_told};

static unsigned burst_sent;
static struct timer burst_timer;

static void send_burst(struct timer *t, void *arg)
{
    (void)arg;
    for (int i = 0; i < 100 && burst_sent < BURST; i++, burst_sent++) {
        sv piece = {(const char *)&burst_sent, sizeof(burst_sent)};
        if (i % 10 == 0)
            assert_int_equal(udp_send(ping, NULL, &dead_to, &piece, 1), ERR_OK);
        assert_int_equal(udp_send(ping, NULL, &live_to, &piece, 1), ERR_OK);
    }
    if (burst_sent < BURST)
        loop_timer(at, t, 0);
}

static void burst_arrives_beside_refusals(void **state)
{
    struct udp *gone;
    (void)state;
    arrived = refused_told = burst_sent = 0;
    net_setup(1);
    assert_int_equal(udp_open(at, any_port("127.0.0.1"), &pong_handler, NULL, &gone), ERR_OK);
    assert_int_equal(udp_open(at, any_port("127.0.0.1"), &burst_handler, NULL, &ping), ERR_OK);
    assert_int_equal(udp_open(at, any_port("127.0.0.1"), &burst_handler, NULL, &pong), ERR_OK);
    dead_to = gone->local;
    live_to = pong->local;
    udp_close(gone);
    timer_init(&burst_timer, send_burst, NULL);
    loop_timer(at, &burst_timer, 0);
    net_run();
    assert_int_equal(arrived, BURST);
    assert_true(refused_told > 0);
    udp_close(ping);
    udp_close(pong);
    net_end();
}

enum { RING = 1024 };

static void make_room(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    assert_int_equal(arrived, 0);
    no_room = false;
}

static void stop_at_ring(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    burst_datagram(arg, b, from, to);
    if (arrived == RING)
        net_stop();
}

static void full_kernel_buffer_queues_then_refuses(void **state)
{
    static const struct udp_handler h = {.on_datagram = stop_at_ring};
    unsigned i;
    (void)state;
    arrived = without_room = 0;
    net_setup(1);
    assert_int_equal(udp_open(at, any_port("127.0.0.1"), &ping_handler, NULL, &ping), ERR_OK);
    assert_int_equal(udp_open(at, any_port("127.0.0.1"), &h, NULL, &pong), ERR_OK);
    live_to = pong->local;
    no_room = true;
    for (i = 0; i < RING; i++) {
        sv piece = {(const char *)&i, sizeof(i)};
        assert_int_equal(udp_send(ping, NULL, &live_to, &piece, 1), ERR_OK);
    }
    assert_int_equal(without_room, 1); /* the kernel is asked again when it says so, not before */
    assert_int_equal(udp_send(ping, NULL, &live_to, &SV("over"), 1), ERR_BUSY);
    assert_int_equal(at->stats.refusals[STAT_LIMIT_WRITE_QUEUE], 1);
    timer_init(&burst_timer, make_room, NULL);
    loop_timer(at, &burst_timer, 3 * USEC_MS);
    net_run();
    assert_int_equal(arrived, RING);
    udp_close(ping);
    udp_close(pong);
    net_end();
}

/* Every allocation fails once: an error comes back, nothing is left behind, and the next try works.
 */
static void out_of_memory_leaves_nothing(void **state)
{
    struct addr *a = &live_to;
    (void)state;
    net_setup(1);
    *a = *any_port("127.0.0.1");
    for (unsigned n = 1; n < 10; n++) {
        mem_fail_after(n);
        enum err rc = udp_open(at, a, &pong_handler, NULL, &ping);
        mem_fail_after(0);
        if (!rc)
            udp_close(ping);
        else
            assert_int_equal(rc, ERR_NOMEM);
        mem_fail_after(n);
        rc = stream_listen(at, a, &(struct listener_handler){0}, NULL, &(struct listener *){0});
        mem_fail_after(0);
        assert_true(rc == ERR_OK || rc == ERR_NOMEM);
    }
    assert_int_equal(udp_open(at, a, &pong_handler, NULL, &ping), ERR_OK);
    a->port = ping->local.port;
    mem_fail_after(1);
    assert_int_equal(udp_send(ping, NULL, a, &SV("x"), 1), ERR_BUSY);
    mem_fail_after(0);
    udp_close(ping);
    net_end(); /* closes the listeners too */
}

static void ports_are_shared_in_the_process_only(void **state)
{
    struct loop_group *other;
    struct udp *mine, *second, *theirs;
    (void)state;
    net_setup(2);
    assert_int_equal(worker_group_new(1, &other), ERR_OK);
    assert_int_equal(udp_open(group->loop[0], any_port("127.0.0.1"), &pong_handler, NULL, &mine),
                     ERR_OK);
    struct addr a = mine->local, wild = *any_port("0.0.0.0");
    wild.port = a.port;
    assert_int_equal(udp_open(group->loop[1], &a, &pong_handler, NULL, &second), ERR_OK);
    assert_int_equal(udp_open(other->loop[0], &a, &pong_handler, NULL, &theirs), ERR_BUSY);
    assert_int_equal(udp_open(other->loop[0], &wild, &pong_handler, NULL, &theirs), ERR_BUSY);
    udp_close(mine);
    assert_int_equal(udp_open(other->loop[0], &a, &pong_handler, NULL, &theirs), ERR_BUSY);
    udp_close(second);
    assert_int_equal(udp_open(other->loop[0], &a, &pong_handler, NULL, &theirs), ERR_OK);
    udp_close(theirs);
    udp_close(NULL);
    assert_int_equal(udp_open(at, any_port("192.0.2.1"), &pong_handler, NULL, &mine),
                     ERR_UNREACHABLE);
    worker_group_free(other);
    net_end();
}

static void close_in_datagram(void *arg, struct block *b, const struct addr *from,
                              const struct addr *to)
{
    (void)arg;
    (void)b;
    (void)from;
    (void)to;
    assert_non_null(pong);
    udp_close(pong);
    pong = NULL;
    net_stop();
}

static void closing_in_a_handler_is_safe(void **state)
{
    static const struct udp_handler h = {.on_datagram = close_in_datagram};
    (void)state;
    net_setup(1);
    assert_int_equal(udp_open(at, any_port("127.0.0.1"), &h, NULL, &pong), ERR_OK);
    assert_int_equal(udp_open(at, any_port("127.0.0.1"), &ping_handler, NULL, &ping), ERR_OK);
    struct addr to = pong->local;
    for (int i = 0; i < 10; i++) /* more of the same batch must not reach the closed one */
        assert_int_equal(udp_send(ping, NULL, &to, &SV("x"), 1), ERR_OK);
    udp_close(ping); /* sent before the close: leaves */
    net_run();
    assert_null(pong);
    net_end();
}

enum { FLOOD = 60000 };
static unsigned flood_got;

static void flood_datagram(void *arg, struct block *b, const struct addr *from,
                           const struct addr *to)
{
    (void)arg;
    (void)b;
    (void)from;
    (void)to;
    flood_got++;
}

/* Until each has come or is counted, or the guard ends it. */
static void flood_check(struct timer *t, void *arg)
{
    (void)arg;
    if (flood_got + loop_stat(group, STAT_UDP_DROPPED) == FLOOD)
        net_stop();
    else
        loop_timer(at, t, 10 * USEC_MS);
}

/* They come while nobody reads: more than the kernel has room for. */
static void what_is_not_read_in_time_is_counted(void **state)
{
    (void)state;
    static const struct udp_handler flood_handler = {.on_datagram = flood_datagram};
    struct timer check;
    struct udp *u;
    net_setup(1);
    flood_got = 0;
    assert_int_equal(udp_open(at, any_port("127.0.0.1"), &flood_handler, NULL, &u), ERR_OK);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(u->local.port)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < FLOOD; i++)
        assert_int_equal(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
    close(fd);
    timer_init(&check, flood_check, NULL);
    loop_timer(at, &check, 10 * USEC_MS);
    net_run();
    assert_true(flood_got > 0 && flood_got < FLOOD);
    udp_close(u);
    net_end();
}

static void source_is_what_the_routes_say(void **state)
{
    struct addr from, lo = *any_port("127.0.0.1"), to = *any_port("127.0.0.5"), none = {0};
    (void)state;
    net_setup(1);
    to.port = 5060;
    for (int i = 0; i < 2; i++) { /* asked, and remembered */
        from = none;
        assert_int_equal(sock_source_for(at, &to, &from), ERR_OK);
        assert_true(addr_equal(&from, &lo));
    }
    for (unsigned i = 1; i < 255; i++) { /* more than are remembered: none gets another's */
        to.ip[3] = (uint8_t)i;
        assert_int_equal(sock_source_for(at, &to, &from), ERR_OK);
        assert_true(addr_equal(&from, &lo));
    }
    assert_int_equal(sock_source_for(at, &none, &from), ERR_UNREACHABLE);
    net_end();
}

/* ---- workers that datagrams name ---- */

enum { STEERED = 3, NAMED_ROOM = 600 };
static const struct udp_steer steer_rules[] = {
    {"BE: QU: ", "mark=", 8, 30}, {"WIDE", "abcdefgh", 8, 30}, {"WIDE", "abcdefgh", 31, 50}};
/* What is sent, and who must get it; STEERED: whoever gets what names nobody. */
static struct named {
    const char *starts, *mark;
    size_t at, n; /* where mark stands; the octets in all */
    unsigned worker;
} named[] = {
    {"", "", 0, 0, STEERED},
    {"BE:", "", 0, 3, STEERED},
    {"BE: ", "", 0, 4, STEERED},
    {"BE: ", "", 0, 500, STEERED},
    {"BE: ", "mark=A", 8, 500, 0},
    {"BE: ", "mark=B", 8, 500, 1},
    {"BE: ", "mark=C", 8, 500, 2},
    {"QU: ", "mark=C", 20, 500, 2},
    {"QU: ", "mark=B", 30, 500, 1},
    {"WIDE", "abcdefghC", 17, 500, 2},
    {"WIDE", "abcdefghB", 18, 500, 1},
    {"WIDE", "abcdefghA", 31, 500, 0},
    {"WIDE", "abcdefghC", 50, 500, 2},
    {"WIDE", "abcdefgxB", 18, 500, STEERED}, /* not all of it */
    {"QU: ", "mark=B", 7, 500, STEERED},     /* before the first place */
    {"QU: ", "mark=B", 31, 500, STEERED},    /* behind the last */
    {"ELSE", "mark=B", 20, 500, STEERED},    /* not of those that name */
    {"BE: ", "mark=D", 8, 500, STEERED},     /* no such worker */
    {"BE: ", "mark=+", 8, 500, STEERED},     /* no name */
    {"BE: ", "mark=", 25, 31, STEERED},      /* the end is where the name would be */
};
enum { NAMED = sizeof(named) / sizeof(*named) };
static _Atomic unsigned named_got, named_by[NAMED];

static void steered_datagram(void *arg, struct block *b, const struct addr *from,
                             const struct addr *to)
{
    unsigned i = from->port ? (unsigned)b->n : 0;
    (void)arg, (void)to;
    if (b->n > 4) /* the number is its last octet */
        i = (unsigned)(unsigned char)b->p[b->n - 1];
    else
        i = i ? i - 2 : 0;
    assert_true(i < NAMED);
    named_by[i] = *(unsigned *)arg;
    if (++named_got == NAMED)
        net_stop();
}

static void datagrams_reach_the_worker_they_name(void **state)
{
    static const struct udp_handler handler = {
        .on_datagram = steered_datagram, .steer = steer_rules, .steers = 3};
    static unsigned number[STEERED] = {0, 1, 2};
    struct udp *u[STEERED], *sender;
    char text[NAMED_ROOM];
    (void)state;
    named_got = 0;
    net_setup(STEERED);
    assert_int_equal(udp_open(at, any_port("127.0.0.1"), &handler, &number[0], &u[0]), ERR_OK);
    for (unsigned i = 1; i < STEERED; i++)
        assert_int_equal(udp_open(group->loop[i], &u[0]->local, &handler, &number[i], &u[i]),
                         ERR_OK);
    assert_int_equal(udp_open(at, any_port("127.0.0.1"), &ping_handler, NULL, &sender), ERR_OK);
    for (unsigned i = 0; i < NAMED; i++) {
        const struct named *x = &named[i];
        sv piece = {text, x->n};
        memset(text, '-', sizeof(text));
        memcpy(text, x->starts, strlen(x->starts));
        memcpy(text + x->at, x->mark, strlen(x->mark));
        if (x->n > 4)
            text[x->n - 1] = (char)i;
        assert_int_equal(udp_send(sender, NULL, &u[0]->local, &piece, 1), ERR_OK);
    }
    net_run();
    unsigned by_ports = named_by[0];
    for (unsigned i = 0; i < NAMED; i++)
        assert_int_equal(named_by[i], named[i].worker == STEERED ? by_ports : named[i].worker);
    for (unsigned i = 0; i < STEERED; i++)
        udp_close(u[i]);
    udp_close(sender);
    net_end();
}

/* ---- private ports ---- */

static unsigned cut;

static void mirror_datagram(void *arg, struct block *b, const struct addr *from,
                            const struct addr *to)
{
    struct udp **u = arg;
    (void)to;
    b->p[0] = 'B'; /* it is ours to change, and to send on */
    assert_int_equal(udp_send_block(*u, from, block_ref(b)), ERR_OK);
}

static void mirrored(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    (void)arg, (void)to;
    seen_from = *from;
    got = b->n;
    cut += b->p[0] != 'B';
    net_stop();
}

static void a_private_port_sends_the_block_on_that_it_received(void **state)
{
    static const struct udp_handler mirror = {.on_datagram = mirror_datagram},
                                    other = {.on_datagram = mirrored};
    struct udp *port, *same, *u;
    (void)state;
    net_setup(1);
    cut = 0;
    assert_int_equal(udp_open_flags(at, any_port("127.0.0.1"), SOCK_PRIVATE, &mirror, &port, &port),
                     ERR_OK);
    assert_int_equal(udp_open(at, any_port("127.0.0.1"), &other, NULL, &u), ERR_OK);
    /* nobody shares it, also not another worker */
    assert_int_equal(udp_open_flags(at, &port->local, SOCK_PRIVATE, &mirror, &port, &same),
                     ERR_BUSY);
    memset(octets, 'A', sizeof(octets));
    sv tooth[2] = {{octets, 100}, {octets, 72}}, much = {octets, 3000};
    udp_mark(port, 46);
    /* one that is too long is dropped and nothing else suffers */
    assert_int_equal(udp_send(u, NULL, &port->local, &much, 1), ERR_OK);
    assert_int_equal(udp_send(u, NULL, &port->local, tooth, 2), ERR_OK);
    net_run();
    assert_int_equal(got, 172);
    assert_int_equal(cut, 0);
    assert_true(addr_equal(&seen_from, &port->local));
    udp_close(port);
    udp_close(u);
    net_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_private_port_sends_the_block_on_that_it_received),
        cmocka_unit_test(datagrams_of_all_sizes),
        cmocka_unit_test(wildcard_answers_from_the_address_asked),
        cmocka_unit_test(datagrams_over_ipv6),
        cmocka_unit_test(error_of_the_past_costs_no_datagram),
        cmocka_unit_test(reports_about_others_are_not_laid_to_the_next),
        cmocka_unit_test(too_big_is_told),
        cmocka_unit_test(refused_destination_harms_no_other),
        cmocka_unit_test(burst_arrives_beside_refusals),
        cmocka_unit_test(full_kernel_buffer_queues_then_refuses),
        cmocka_unit_test(out_of_memory_leaves_nothing),
        cmocka_unit_test(ports_are_shared_in_the_process_only),
        cmocka_unit_test(closing_in_a_handler_is_safe),
        cmocka_unit_test(datagrams_reach_the_worker_they_name),
        cmocka_unit_test(what_is_not_read_in_time_is_counted),
        cmocka_unit_test(source_is_what_the_routes_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
