/* SPDX-License-Identifier: MIT */
/* Ports of media (SOCK_PRIVATE) against the kernel: who talks gets a shorter way, and nobody is heard less for it;
 * what a peer or a stranger can do to one of them stays there. */
#include "net_run.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PACKET = 172, TALKED = 200, MANY = 1500, BURST = 100 };
#define PERIOD (5 * USEC_MS)

static char octets[UDP_MAX];

static unsigned descriptors(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* What comes to it goes back to where it came from, by the port itself. */
struct mirror {
    struct udp *u;
    unsigned got, empty;
    struct addr last;
};

static void on_mirror(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    struct mirror *m = arg;
    (void)to;
    m->got++;
    m->empty += b->n == 0;
    m->last = *from;
    assert_int_equal(udp_send_block(m->u, from, block_ref(b)), ERR_OK);
}
static const struct udp_handler mirror_handler = {.on_datagram = on_mirror};

static void open_mirror(struct mirror *m, const char *at_text)
{
    struct addr a = net_addr(at_text);
    *m = (struct mirror){0};
    assert_int_equal(udp_open_flags(at, &a, SOCK_PRIVATE, &mirror_handler, m, &m->u), ERR_OK);
}

/* Sends a datagram each period, until so many were sent; the last is `last` to see. */
struct phone {
    struct udp *u;
    struct addr to;
    struct timer timer;
    unsigned left, got, strange;
    void (*done)(struct phone *p);
};

static void on_phone(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    struct phone *p = arg;
    (void)b, (void)to;
    p->got++;
    p->strange += !addr_equal(from, &p->to);
}
static const struct udp_handler phone_handler = {.on_datagram = on_phone};

static void send_to(struct udp *u, const struct addr *to, size_t n)
{
    sv piece = {octets, n};
    assert_int_equal(udp_send(u, NULL, to, &piece, 1), ERR_OK);
}

static void on_period(struct timer *t, void *arg)
{
    struct phone *p = arg;
    if (p->left-- == 0) {
        p->done(p);
        return;
    }
    send_to(p->u, &p->to, PACKET);
    loop_timer(at, t, PERIOD);
}

static void open_phone(struct phone *p, const char *at_text, const struct addr *to, unsigned n,
                       void (*done)(struct phone *p))
{
    struct addr a = net_addr(at_text);
    *p = (struct phone){.to = *to, .left = n, .done = done};
    assert_int_equal(udp_open(at, &a, &phone_handler, p, &p->u), ERR_OK);
    timer_init(&p->timer, on_period, p);
    loop_timer(at, &p->timer, PERIOD);
}

static void stop(struct phone *p)
{
    (void)p;
    net_stop();
}

/* ---- talk ---- */

static struct mirror port;
static struct phone friend, stranger;
static unsigned before, in_talk;

/* The friend has talked for a second: now somebody else has something to say. */
static void stranger_comes(struct phone *p)
{
    in_talk = descriptors();
    open_phone(&stranger, friend.to.family == 4 ? "127.0.0.3:0" : "[::1]:0", &p->to, 3, stop);
}

static void talk_at(const char *where)
{
    net_setup(1);
    open_mirror(&port, where);
    open_phone(&friend, where, &port.u->local, TALKED, stranger_comes);
    before = descriptors();
    net_run();
    assert_int_equal(in_talk, before + 1); /* there is a socket for the friend */
    assert_int_equal(port.got, TALKED + 3);
    assert_true(addr_equal(&port.last, &stranger.u->local));
    assert_int_equal(friend.got, TALKED);
    assert_int_equal(stranger.got, 3);
    assert_int_equal(friend.strange + stranger.strange, 0); /* all from one port */
    udp_close(port.u);
    udp_close(friend.u);
    udp_close(stranger.u);
    net_end();
}

static void who_talks_has_a_socket_and_strangers_are_heard_beside(void **state)
{
    (void)state;
    talk_at("127.0.0.1:0");
}

static void the_same_over_ipv6(void **state)
{
    (void)state;
    talk_at("[::1]:0");
}

/* The port is nobody else's, also while its peer has a socket of its own: not of a process either that says
 * what it can to share it. */
static void try_to_share(struct phone *p)
{
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(port.u->local.port)};
    struct mirror other;
    struct udp *u;
    int on = 1, fd = socket(AF_INET, SOCK_DGRAM, 0);
    memcpy(&where.sin_addr, port.u->local.ip, 4);
    assert_int_equal(descriptors(), before + 2); /* the peer's, and fd */
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&where, sizeof(where)), -1);
    close(fd);
    assert_int_equal(udp_open_flags(at, &port.u->local, SOCK_PRIVATE, &mirror_handler, &other, &u),
                     ERR_BUSY);
    stop(p);
}

static void a_port_that_talks_is_not_shared(void **state)
{
    (void)state;
    net_setup(1);
    open_mirror(&port, "127.0.0.1:0");
    open_phone(&friend, "127.0.0.1:0", &port.u->local, TALKED, try_to_share);
    before = descriptors();
    net_run();
    udp_close(port.u);
    udp_close(friend.u);
    assert_int_equal(descriptors(), before - 2);
    net_end();
}

/* ---- a peer that has died ---- */

static struct addr grave;
static unsigned sent_there;

/* Goes on sending to where the friend was; a stranger talks meanwhile. */
static void on_send_to_the_dead(struct timer *t, void *arg)
{
    send_to(port.u, &grave, PACKET);
    (void)arg;
    if (++sent_there < TALKED)
        loop_timer(at, t, PERIOD);
}
static struct timer dead_timer;

static void friend_dies(struct phone *p)
{
    assert_int_equal(descriptors(), before + 1);
    grave = p->u->local;
    udp_close(p->u);
    timer_init(&dead_timer, on_send_to_the_dead, NULL);
    on_send_to_the_dead(&dead_timer, NULL);
    open_phone(&stranger, "127.0.0.3:0", &port.u->local, TALKED + 20, stop);
}

static void a_dead_peer_gives_its_socket_back_and_holds_nobody_up(void **state)
{
    (void)state;
    net_setup(1);
    sent_there = 0;
    open_mirror(&port, "127.0.0.1:0");
    open_phone(&friend, "127.0.0.1:0", &port.u->local, TALKED, friend_dies);
    before = descriptors();
    net_run();
    assert_int_equal(sent_there, TALKED);
    assert_int_equal(stranger.got, TALKED + 20);
    /* the friend's two are gone; who was sent to by turns has none */
    assert_int_equal(descriptors(), before);
    udp_close(port.u);
    udp_close(stranger.u);
    net_end();
}

/* ---- what strangers send ---- */

static void end_of_burst(struct timer *t, void *arg)
{
    (void)t, (void)arg;
    net_stop();
}

static void what_is_empty_or_too_long_harms_no_other(void **state)
{
    struct timer t;
    struct udp *u;
    struct addr a = net_addr("127.0.0.1:0");
    (void)state;
    net_setup(1);
    open_mirror(&port, "127.0.0.1:0");
    friend = (struct phone){.to = port.u->local};
    assert_int_equal(udp_open(at, &a, &phone_handler, &friend, &u), ERR_OK);
    send_to(u, &port.u->local, 0);
    send_to(u, &port.u->local, 2049);
    send_to(u, &port.u->local, 65507);
    send_to(u, &port.u->local, 2048);
    timer_init(&t, end_of_burst, NULL);
    loop_timer(at, &t, 100 * USEC_MS);
    net_run();
    assert_int_equal(port.got, 2);
    assert_int_equal(port.empty, 1);
    assert_int_equal(friend.got, 2);
    assert_int_equal(stat_get(&at->stats, STAT_MEDIA_LONG), 2);
    udp_close(port.u);
    udp_close(u);
    net_end();
}

static void a_burst_at_one_port_is_read_whole(void **state)
{
    struct timer t;
    struct udp *u;
    struct addr a = net_addr("127.0.0.1:0");
    (void)state;
    net_setup(1);
    open_mirror(&port, "127.0.0.1:0");
    friend = (struct phone){.to = port.u->local};
    assert_int_equal(udp_open(at, &a, &phone_handler, &friend, &u), ERR_OK);
    for (unsigned i = 0; i < BURST; i++)
        send_to(u, &port.u->local, PACKET);
    timer_init(&t, end_of_burst, NULL);
    loop_timer(at, &t, 200 * USEC_MS);
    net_run();
    assert_int_equal(port.got, BURST);
    assert_int_equal(friend.got, BURST);
    udp_close(port.u);
    udp_close(u);
    net_end();
}

/* Many that stand idle: the one that is used is served as ever, and all are gone in the end. */
static void idle_ports_are_in_nobodys_way(void **state)
{
    static struct mirror idle[MANY];
    (void)state;
    net_setup(1);
    before = descriptors();
    for (unsigned i = 0; i < MANY; i++)
        open_mirror(&idle[i], "127.0.0.1:0");
    open_mirror(&port, "127.0.0.1:0");
    open_phone(&friend, "127.0.0.1:0", &port.u->local, TALKED, stop);
    net_run();
    assert_int_equal(friend.got, TALKED);
    for (unsigned i = 0; i < MANY; i++)
        udp_close(idle[i].u);
    udp_close(port.u);
    udp_close(friend.u);
    assert_int_equal(descriptors(), before);
    net_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_talks_has_a_socket_and_strangers_are_heard_beside),
        cmocka_unit_test(the_same_over_ipv6),
        cmocka_unit_test(a_port_that_talks_is_not_shared),
        cmocka_unit_test(a_dead_peer_gives_its_socket_back_and_holds_nobody_up),
        cmocka_unit_test(what_is_empty_or_too_long_harms_no_other),
        cmocka_unit_test(a_burst_at_one_port_is_read_whole),
        cmocka_unit_test(idle_ports_are_in_nobodys_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
