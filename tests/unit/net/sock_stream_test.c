/* SPDX-License-Identifier: MIT */
/* Streams and listeners over the loopback, on real loops. */
#include "net_run.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* The library's sendmsg resolves to this one: the kernel's, counted. */
static unsigned calls;

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    calls++;
    return syscall(SYS_sendmsg, fd, m, flags);
}

static const struct addr *any_port(const char *ip)
{
    static struct addr a;
    assert_int_equal(addr_parse_ip(sv_of(ip), 0, &a), ERR_OK);
    return &a;
}

static char octets[65536];

static struct listener *listener;
static struct stream *client, *server;
static enum err client_why, server_why;
static unsigned client_closes, server_closes, opens, drains;
static size_t server_n, client_n;
static char first_octets[16];
static void (*server_data)(sv), (*client_data)(sv);
static void (*when_accepted)(void), (*when_open)(void), (*when_closed)(void);

static void on_server_data(void *arg, sv s)
{
    (void)arg;
    if (server_n == 0)
        memcpy(first_octets, s.p, s.n < 15 ? s.n : 15);
    server_n += s.n;
    if (server_data)
        server_data(s);
}

static void on_server_close(void *arg, enum err why)
{
    server_closes++;
    server_why = why;
    if (arg == server)
        server = NULL;
    if (when_closed)
        when_closed();
}

static void on_client_open(void *arg)
{
    (void)arg;
    opens++;
    if (when_open)
        when_open();
}

static void on_client_data(void *arg, sv s)
{
    (void)arg;
    client_n += s.n;
    if (client_data)
        client_data(s);
}

static void on_client_drain(void *arg)
{
    (void)arg;
    assert_int_equal(client->queued, 0);
    drains++;
}

static void on_client_close(void *arg, enum err why)
{
    (void)arg;
    client_closes++;
    client_why = why;
    client = NULL;
    if (when_closed)
        when_closed();
}

static const struct stream_handler server_handler = {.on_data = on_server_data,
                                                     .on_close = on_server_close};
static const struct stream_handler client_handler = {.on_open = on_client_open,
                                                     .on_data = on_client_data,
                                                     .on_drain = on_client_drain,
                                                     .on_close = on_client_close};

static void on_accept(void *arg, struct stream *s)
{
    (void)arg;
    server = s;
    stream_handle(s, &server_handler, s);
    if (when_accepted)
        when_accepted();
}

static const struct listener_handler accept_handler = {.on_accept = on_accept};

static void listener_setup(void)
{
    client = server = NULL;
    client_closes = server_closes = opens = drains = 0;
    client_why = server_why = ERR_COUNT;
    server_n = client_n = 0;
    server_data = client_data = NULL;
    when_accepted = when_open = NULL;
    when_closed = net_stop;
    memset(first_octets, 0, sizeof(first_octets));
    net_setup(1);
    assert_int_equal(stream_listen(at, any_port("127.0.0.1"), &accept_handler, NULL, &listener),
                     ERR_OK);
}

static void streams_setup(void)
{
    listener_setup();
    struct addr to = listener->local;
    assert_int_equal(stream_connect(at, NULL, &to, &client_handler, NULL, &client), ERR_OK);
}

static void streams_end(void)
{
    stream_close(client, false);
    stream_close(server, false);
    listener_close(listener);
    net_end();
}

static void close_client(void)
{
    stream_close(client, true);
    client = NULL;
}

static void stream_opens_carries_and_ends(void **state)
{
    (void)state;
    streams_setup();
    when_open = close_client;
    /* sent before on_open: queued */
    assert_int_equal(stream_send(client, (sv[]){SV("hel"), SV(""), SV("lo")}, 3), ERR_OK);
    assert_int_equal(client->queued, 5);
    struct addr to = listener->local;
    assert_true(addr_equal(&client->peer, &to));
    net_run();
    assert_int_equal(opens, 1);
    assert_string_equal(first_octets, "hello");
    assert_int_equal(server_closes, 1);
    assert_int_equal(server_why, ERR_OK);
    assert_int_equal(client_closes, 0); /* closed by its user: not told */
    streams_end();
}

static void refused_connect_is_told_later(void **state)
{
    (void)state;
    listener_setup();
    struct addr to = listener->local;
    listener_close(listener);
    listener = NULL;
    assert_int_equal(stream_connect(at, NULL, &to, &client_handler, NULL, &client), ERR_OK);
    assert_int_equal(client_closes, 0);
    net_run();
    assert_int_equal(client_closes, 1);
    assert_int_equal(client_why, ERR_REFUSED);
    assert_int_equal(opens, 0);
    streams_end();
}

static void connect_from_an_address(void **state)
{
    struct addr from = *any_port("127.0.0.9"), foreign = *any_port("192.0.2.1");
    (void)state;
    listener_setup();
    struct addr to = listener->local;
    when_open = close_client;
    assert_int_equal(stream_connect(at, &foreign, &to, &client_handler, NULL, &client),
                     ERR_UNREACHABLE);
    assert_int_equal(stream_connect(at, &from, &to, &client_handler, NULL, &client), ERR_OK);
    net_run();
    assert_int_equal(opens, 1);
    streams_end();
}

enum { MUCH = 4 * 1024 * 1024 };
static size_t much_sent;

static void send_much(void)
{
    while (client && much_sent < MUCH) {
        enum err rc = stream_send(client, &(sv){octets, 50000}, 1);
        if (rc == ERR_TOOBIG)
            return;
        assert_int_equal(rc, ERR_OK);
        assert_true(client->queued <= client->queue_max);
        much_sent += 50000;
    }
    close_client();
}

static void on_much_drained(void *arg)
{
    on_client_drain(arg);
    send_much();
}

static void queue_is_bounded_and_drains(void **state)
{
    struct stream_handler h = client_handler;
    (void)state;
    h.on_drain = on_much_drained;
    much_sent = 0;
    streams_setup();
    stream_handle(client, &h, NULL);
    when_open = send_much;
    net_run();
    assert_true(server_n >= MUCH);
    assert_int_equal(server_n, much_sent); /* the close waited for the queue */
    assert_true(drains > 0);
    assert_int_equal(server_why, ERR_OK);
    streams_end();
}

static void over_the_queue_nothing_is_written(void **state)
{
    (void)state;
    streams_setup();
    when_open = close_client;
    client->queue_max = 10;
    assert_int_equal(stream_send(client, &SV("12345"), 1), ERR_OK);
    assert_int_equal(stream_send(client, (sv[]){SV("678"), SV("9ab")}, 2), ERR_TOOBIG);
    assert_int_equal(client->queued, 5);
    assert_int_equal(at->stats.refusals[STAT_LIMIT_WRITE_QUEUE], 1);
    net_run();
    assert_string_equal(first_octets, "12345");
    assert_int_equal(server_n, 5);
    streams_end();
}

static void answer_and_close(sv s)
{
    (void)s;
    assert_int_equal(stream_send(server, &(sv){octets, 30000}, 1), ERR_OK);
    stream_close(server, true);
    server = NULL;
}

/* The client's octets are partly unread when the server answers and closes: the answer must not be
 * lost by a reset. */
static void answer_survives_unread_octets(void **state)
{
    (void)state;
    streams_setup();
    server_data = answer_and_close;
    assert_int_equal(stream_send(client, &(sv){octets, 60000}, 1), ERR_OK);
    assert_int_equal(stream_send(client, &(sv){octets, 60000}, 1), ERR_OK);
    assert_int_equal(stream_send(client, &(sv){octets, 60000}, 1), ERR_OK);
    net_run();
    assert_int_equal(client_n, 30000);
    assert_int_equal(client_why, ERR_OK);
    streams_end();
}

static void close_server_hard(sv s)
{
    (void)s;
    stream_close(server, false);
    server = NULL;
}

static void closing_in_data_is_safe_and_the_peer_hears(void **state)
{
    (void)state;
    streams_setup();
    server_data = close_server_hard;
    assert_int_equal(stream_send(client, &SV("x"), 1), ERR_OK);
    net_run();
    assert_int_equal(client_closes, 1);
    assert_int_equal(server_closes, 0);
    streams_end();
}

static struct timer resume_timer;
static size_t paused_n;

static void on_resume(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    paused_n = server_n;
    stream_pause(server, false);
}

static void pause_server(void)
{
    stream_pause(server, true);
    loop_timer(at, &resume_timer, 30 * USEC_MS);
}

static void paused_stream_reads_later(void **state)
{
    (void)state;
    streams_setup();
    timer_init(&resume_timer, on_resume, NULL);
    when_accepted = pause_server;
    when_open = close_client;
    paused_n = 99;
    assert_int_equal(stream_send(client, &SV("hello"), 1), ERR_OK);
    net_run();
    assert_int_equal(paused_n, 0);
    assert_int_equal(server_n, 5);
    assert_int_equal(server_why, ERR_OK);
    streams_end();
}

static void on_accept_nothing(void *arg, struct stream *s)
{
    (void)arg;
    (void)s;
}

static void stream_that_nobody_takes_is_closed(void **state)
{
    static const struct listener_handler h = {.on_accept = on_accept_nothing};
    (void)state;
    listener_setup();
    listener_close(listener);
    assert_int_equal(stream_listen(at, any_port("127.0.0.1"), &h, NULL, &listener), ERR_OK);
    struct addr to = listener->local;
    assert_int_equal(stream_connect(at, NULL, &to, &client_handler, NULL, &client), ERR_OK);
    net_run();
    assert_int_equal(client_closes, 1);
    streams_end();
}

/* ---- the turn's octets ---- */

static void send_digits(void)
{
    calls = 0;
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(stream_send(client, &(sv){&"0123456789"[i], 1}, 1), ERR_OK);
    assert_int_equal(client->queued, 10);
}

static void a_turn_leaves_at_its_end_in_one_call(void **state)
{
    (void)state;
    streams_setup();
    when_open = send_digits;
    server_data = close_server_hard;
    net_run();
    assert_string_equal(first_octets, "0123456789");
    assert_int_equal(calls, 1);
    assert_int_equal(drains, 1);
    streams_end();
}

static const size_t mixed[] = {100,           SOCK_TURN - 100, 1,     5000,  3, 60000,
                               SOCK_TURN + 1, 60000,           60000, 60000, 7};
static size_t mixed_n;

static void send_mixed(void)
{
    client->queue_max = SIZE_MAX / 4;
    mixed_n = 0;
    for (size_t i = 0; i < sizeof(mixed) / sizeof(mixed[0]); i++) {
        sv s = {octets + mixed_n % 251, mixed[i]};
        size_t third = s.n / 3;
        mixed_n += s.n;
        assert_int_equal(
            stream_send(client, (sv[]){sv_sub(s, 0, third), SV(""), sv_sub(s, third, s.n)}, 3),
            ERR_OK);
    }
    close_client();
}

static void check_order(sv s)
{
    for (size_t i = 0; i < s.n; i++)
        assert_int_equal((uint8_t)s.p[i], (server_n - s.n + i) % 251);
}

/* More than a turn keeps, more than the kernel takes. */
static void octets_of_all_ways_stay_in_order(void **state)
{
    (void)state;
    streams_setup();
    for (size_t i = 0; i < sizeof(octets); i++)
        octets[i] = (char)(i % 251);
    when_open = send_mixed;
    server_data = check_order;
    net_run();
    memset(octets, 0, sizeof(octets));
    assert_int_equal(server_n, mixed_n);
    assert_int_equal(server_why, ERR_OK);
    streams_end();
}

static void send_and_close_hard(void)
{
    assert_int_equal(stream_send(client, &SV("last"), 1), ERR_OK);
    stream_close(client, false);
    client = NULL;
}

static void what_was_sent_before_a_close_leaves(void **state)
{
    (void)state;
    streams_setup();
    when_open = send_and_close_hard;
    net_run();
    assert_string_equal(first_octets, "last");
    assert_int_equal(server_n, 4);
    streams_end();
}

static int raw_peer;
static size_t reset_size;

static void reset_peer(sv s)
{
    struct linger hard = {1, 0};
    (void)s;
    setsockopt(raw_peer, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(raw_peer);
    /* The kernel may notice at once or at the second write: told once and later either way. */
    for (int i = 0; i < 3; i++) {
        enum err rc = stream_send(server, &(sv){octets, reset_size}, 1);
        assert_true(rc == ERR_OK || rc == ERR_CLOSED);
    }
    if (reset_size > SOCK_TURN)
        assert_int_equal(stream_send(server, &SV("x"), 1), ERR_CLOSED);
    assert_int_equal(server_closes, 0);
}

static void reset_with(size_t size)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    reset_size = size;
    listener_setup();
    server_data = reset_peer;
    sa.sin_port = htons(listener->local.port);
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    raw_peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(raw_peer, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(send(raw_peer, "abc", 3, 0), 3);
    net_run();
    assert_int_equal(server_closes, 1);
    assert_int_equal(server_why, ERR_CLOSED);
    streams_end();
}

static void reset_is_told_once(void **state)
{
    (void)state;
    reset_with(1);
    reset_with(SOCK_TURN + 1);
}

/* ---- options ---- */

static int option_of(int fd, int level, int name)
{
    int value = -1;
    socklen_t n = sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &n), 0);
    return value;
}

static unsigned checked;

static void check_options(void)
{
    struct sockaddr_in sa;
    for (int fd = 3; fd < 256; fd++) {
        socklen_t n = sizeof(sa), m = sizeof(sa);
        if (getpeername(fd, (struct sockaddr *)&sa, &n) != 0 || sa.sin_family != AF_INET ||
            getsockname(fd, (struct sockaddr *)&sa, &m) != 0)
            continue;
        checked += ntohs(sa.sin_port) == listener->local.port;
        assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 1);
        assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
        assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
        assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), 15);
        assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), 4);
        assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 30000);
    }
    assert_true(addr_equal(&server->local, &listener->local));
    close_client();
}

/* What is accepted inherits the listener's. */
static void both_ends_have_their_options(void **state)
{
    (void)state;
    streams_setup();
    checked = 0;
    when_accepted = check_options;
    net_run();
    assert_int_equal(checked, 1);
    streams_end();
}

/* ---- out of descriptors ---- */

static struct rlimit files_before;
static int hog[64];
static unsigned hogs;

static void free_hogs(void)
{
    while (hogs > 0)
        close(hog[--hogs]);
    setrlimit(RLIMIT_NOFILE, &files_before);
}

static void shed_seen(void)
{
    /* the client was closed without an answer: shed. Now there is room again. */
    assert_int_equal(opens, 1);
    free_hogs();
    struct addr to = listener->local;
    when_closed = net_stop;
    when_accepted = net_stop;
    assert_int_equal(stream_connect(at, NULL, &to, &client_handler, NULL, &client), ERR_OK);
}

static void out_of_descriptors_sheds_and_recovers(void **state)
{
    struct rlimit low;
    (void)state;
    getrlimit(RLIMIT_NOFILE, &files_before);
    streams_setup();
    when_closed = shed_seen;
    int highest = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(highest);
    low = (struct rlimit){(rlim_t)highest + 8, files_before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &low);
    hogs = 0;
    while (hogs < 64 && (hog[hogs] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        hogs++;
    net_run();
    free_hogs();
    assert_non_null(server);
    assert_true(at->stats.refusals[STAT_LIMIT_CONNECTIONS] >= 1);
    streams_end();
}

static struct timer room;
static struct stream *waits;

static void fill_up(void)
{
    int highest = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(highest);
    struct rlimit low = {(rlim_t)highest + 8, files_before.rlim_max};
    struct addr to = listener->local;
    when_accepted = NULL;
    assert_int_equal(stream_connect(at, NULL, &to, &client_handler, NULL, &waits), ERR_OK);
    setrlimit(RLIMIT_NOFILE, &low);
    while (hogs < 64 && (hog[hogs] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        hogs++;
    when_closed = net_stop;
}

static void make_room(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    assert_null(server); /* still in the backlog */
    setrlimit(RLIMIT_NOFILE, &files_before);
}

/* When it is given up, another thread can take the reserve's place: here, whatever is opened is too
 * much for a while. Accepting goes on when there is room, and so does shedding when there is none
 * again. */
static void a_lost_reserve_is_taken_back(void **state)
{
    struct rlimit none = {3, 0};
    (void)state;
    getrlimit(RLIMIT_NOFILE, &files_before);
    streams_setup();
    none.rlim_max = files_before.rlim_max;
    hogs = 0;
    waits = NULL;
    when_accepted = fill_up;
    timer_init(&room, make_room, NULL);
    loop_timer(at, &room, 250 * USEC_MS);
    setrlimit(RLIMIT_NOFILE, &none);
    net_run();
    free_hogs();
    assert_non_null(server);
    assert_int_equal(client_closes, 1); /* the second was shed, not left waiting */
    assert_int_equal(at->stats.refusals[STAT_LIMIT_CONNECTIONS], 1);
    waits = NULL;
    client = NULL; /* the handler of both says so */
    streams_end();
}

/* ---- a crowd at the door ---- */

enum { CROWD = 200, A_TURN = 16 };
static int knock[CROWD];
static unsigned this_turn, most_a_turn, in_all;
static struct deferred turn_over;

static void on_turn_over(struct deferred *d, void *arg)
{
    (void)d;
    (void)arg;
    most_a_turn = this_turn > most_a_turn ? this_turn : most_a_turn;
    this_turn = 0;
    if (in_all == CROWD)
        net_stop();
}

static void count_accept(void *arg, struct stream *s)
{
    (void)arg;
    this_turn++;
    in_all++;
    loop_defer(at, &turn_over);
    stream_close(s, false);
}
static const struct listener_handler counting = {.on_accept = count_accept};

static void a_turn_accepts_only_so_many(void **state)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    (void)state;
    this_turn = most_a_turn = in_all = 0;
    net_setup(1);
    deferred_init(&turn_over, on_turn_over, NULL);
    assert_int_equal(stream_listen(at, any_port("127.0.0.1"), &counting, NULL, &listener), ERR_OK);
    sa.sin_port = htons(listener->local.port);
    for (unsigned i = 0; i < CROWD; i++) {
        knock[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(knock[i], (struct sockaddr *)&sa, sizeof(sa)), 0);
    }
    net_run();
    for (unsigned i = 0; i < CROWD; i++)
        close(knock[i]);
    assert_int_equal(in_all, CROWD);
    assert_int_equal(most_a_turn, A_TURN);
    listener_close(listener);
    net_end();
}

/* ---- addresses that are not there ---- */

static void an_address_to_come_is_bound_freely(void **state)
{
    struct addr to_come = net_addr("192.0.2.77:0"); /* RFC 5737: nobody's */
    struct listener *l;
    struct udp *u;
    static const struct udp_handler deaf = {0};
    (void)state;
    net_setup(1);
    assert_int_equal(stream_listen(at, &to_come, &accept_handler, NULL, &l), ERR_UNREACHABLE);
    assert_int_equal(udp_open(at, &to_come, &deaf, NULL, &u), ERR_UNREACHABLE);
    assert_int_equal(stream_listen_flags(at, &to_come, SOCK_FREEBIND, &accept_handler, NULL, &l),
                     ERR_OK);
    assert_int_equal(udp_open_flags(at, &to_come, SOCK_FREEBIND, &deaf, NULL, &u), ERR_OK);
    assert_true(addr_equal_ip(&l->local, &to_come));
    /* With a port the address is probed first: that too is free. */
    to_come.port = l->local.port;
    listener_close(l);
    assert_int_equal(stream_listen_flags(at, &to_come, SOCK_FREEBIND, &accept_handler, NULL, &l),
                     ERR_OK);
    listener_close(l);
    udp_close(u);
    net_end();
}

/* ---- Unix sockets ---- */

static char path[108];

static int unix_connect(void)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(un.sun_path, path, sizeof(un.sun_path));
    if (connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0)
        return fd;
    close(fd);
    return -1;
}

static void uid_and_stop(sv s)
{
    (void)s;
    assert_int_equal(server->peer_uid, geteuid());
    assert_int_equal(server->peer.family, 0);
    net_stop();
}

static void unix_socket_with_mode_and_credentials(void **state)
{
    char dir[] = "/tmp/tandem-sock-XXXXXX";
    struct listener *second;
    struct stat st;
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/control", dir);
    listener_setup();
    listener_close(listener);

    /* a dead one is replaced */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    memcpy(un.sun_path, path, sizeof(un.sun_path));
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    close(fd);
    mode_t mask = umask(0077); /* does not narrow what was asked for, nor does umask 0 widen it */
    assert_int_equal(stream_listen_unix(at, sv_of(path), 0660, &accept_handler, NULL, &listener),
                     ERR_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    listener_close(listener);
    assert_int_equal(stat(path, &st), -1);
    umask(0);
    assert_int_equal(stream_listen_unix(at, sv_of(path), 0660, &accept_handler, NULL, &listener),
                     ERR_OK);
    umask(mask);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);

    /* a live one is not, nor a file that is none */
    assert_int_equal(stream_listen_unix(at, sv_of(path), 0600, &accept_handler, NULL, &second),
                     ERR_BUSY);
    assert_int_equal(stream_listen_unix(at, SV("/dev/null"), 0600, &accept_handler, NULL, &second),
                     ERR_EXISTS);
    assert_int_equal(
        stream_listen_unix(at, SV("/no/such/folder"), 0600, &accept_handler, NULL, &second),
        ERR_NOTFOUND);

    fd = unix_connect();
    assert_true(fd >= 0);
    assert_int_equal(send(fd, "hi", 2, 0), 2);
    server_data = uid_and_stop;
    when_closed = NULL; /* the probe for a live listener came and went first */
    net_run();
    assert_string_equal(first_octets, "hi");
    close(fd);
    stream_close(server, false);
    server = NULL;
    listener_close(listener);
    listener = NULL;
    assert_int_equal(stat(path, &st), -1);
    streams_end();
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_opens_carries_and_ends),
        cmocka_unit_test(refused_connect_is_told_later),
        cmocka_unit_test(connect_from_an_address),
        cmocka_unit_test(queue_is_bounded_and_drains),
        cmocka_unit_test(over_the_queue_nothing_is_written),
        cmocka_unit_test(answer_survives_unread_octets),
        cmocka_unit_test(closing_in_data_is_safe_and_the_peer_hears),
        cmocka_unit_test(paused_stream_reads_later),
        cmocka_unit_test(stream_that_nobody_takes_is_closed),
        cmocka_unit_test(a_turn_leaves_at_its_end_in_one_call),
        cmocka_unit_test(octets_of_all_ways_stay_in_order),
        cmocka_unit_test(what_was_sent_before_a_close_leaves),
        cmocka_unit_test(reset_is_told_once),
        cmocka_unit_test(both_ends_have_their_options),
        cmocka_unit_test(out_of_descriptors_sheds_and_recovers),
        cmocka_unit_test(a_lost_reserve_is_taken_back),
        cmocka_unit_test(a_turn_accepts_only_so_many),
        cmocka_unit_test(an_address_to_come_is_bound_freely),
        cmocka_unit_test(unix_socket_with_mode_and_credentials),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
