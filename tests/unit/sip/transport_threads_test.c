/* SPDX-License-Identifier: MIT */
/* What the workers of a process share, on real threads: clients come and go while every worker counts them,
 * names peers and asks for flows, or sends on them, so that they go from worker to worker. Under the thread
 * sanitizer this is the test of the tables' locks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "crypto/crypto.h"
#include "transport/transport.h"
#include "worker/worker.h"

enum { WORKERS = 4, CLIENTS = 4, CALLS = 150, TALKS = 40, ASKS = 15, LOOKS = 20000 };

static struct loop_group *group;
static struct sip *sip[WORKERS];
static _Atomic unsigned requests, ups;
static _Atomic uint64_t last_conn;
static unsigned wanted; /* requests of all clients */
static bool late;
static struct timer look, guard;

static const char request[] =
    "OPTIONS sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP x.invalid;branch=z9hG4bKa\r\n"
    "Max-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: c%u-%u\r\n"
    "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

/* Connects, asks, is answered, leaves; from a loopback address of its own. */
static void be_client(unsigned n, uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 256 + n % 2)};
    char octets[2048];
    for (unsigned i = 0; i < CALLS; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        int len = snprintf(octets, sizeof octets, request, n, i);
        if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof from) != 0 ||
            connect(fd, (struct sockaddr *)&to, sizeof to) != 0 ||
            send(fd, octets, (size_t)len, MSG_NOSIGNAL) != len ||
            recv(fd, octets, sizeof octets, 0) <= 0)
            _exit(1);
        close(fd);
    }
    _exit(0);
}

/* Hears until the answer is there; what else it is told means nothing to it. */
static bool answered(int fd)
{
    char octets[16384];
    for (size_t n = 0; n < sizeof octets;) {
        ssize_t more = recv(fd, octets + n, sizeof octets - n, 0);
        if (more <= 0)
            return false;
        n += (size_t)more;
        if (memmem(octets, n, "SIP/2.0 200", 11))
            return true;
    }
    return false;
}

/* As be_client, but it asks again and again, and leaves at any time. */
static void be_talker(unsigned n, uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char octets[2048];
    for (unsigned i = 0; i < TALKS; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
            _exit(1);
        for (unsigned k = 0; k < 1 + (i * 7 + n) % ASKS; k++) {
            int len = snprintf(octets, sizeof octets, request, n, i * ASKS + k);
            if (send(fd, octets, (size_t)len, MSG_NOSIGNAL) != len || !answered(fd))
                _exit(1);
        }
        close(fd);
    }
    _exit(0);
}

static pthread_mutex_t spoke_lock = PTHREAD_MUTEX_INITIALIZER;
static struct flow spoke; /* who asked last */
static _Atomic unsigned talks;

static struct flow note(const struct rx *rx)
{
    pthread_mutex_lock(&spoke_lock);
    struct flow before = spoke;
    spoke = rx->flow;
    pthread_mutex_unlock(&spoke_lock);
    return before;
}

static void on_request(void *arg, struct rx *rx)
{
    struct sip *s = *(struct sip **)arg;
    struct sip_reply r = {.status = 200};
    char text[32];
    unsigned n = requests++;
    int len = snprintf(text, sizeof text, "host%u.test", n * 7 % 5000);
    assert_int_not_equal(sip_name(s, (sv){text, (size_t)len}), 0);
    ups += sip_flow_up(s, &rx->flow); /* perhaps another worker's */
    struct flow other = rx->flow;
    other.conn = last_conn;
    other.worker = (uint8_t)((other.worker + 1) % WORKERS);
    (void)sip_flow_up(s, &other);
    last_conn = rx->flow.conn;
    (void)note(rx);
    assert_int_equal(sip_reply(s, rx, &r), ERR_OK);
}
static const struct sip_user user = {.on_request = on_request};

/* Answers, and says something to whoever asked before: his connection comes here. */
static void on_talk(void *arg, struct rx *rx)
{
    struct sip *s = *(struct sip **)arg;
    struct sip_reply r = {.status = 200};
    struct dest d = {.flow = note(rx)};
    sip_loop(s)->busy =
        talks++ % 7 * 150; /* at times it calls them here, at times it spreads them */
    sip_flow_keep(s, &rx->flow, sip_loop(s)->now + USEC_HOUR);
    if (d.flow.conn) {
        struct block *b = sip_block(s, 8);
        memcpy(b->p, "hello \r\n", 8);
        b->n = 8;
        assert_int_equal(sip_send(s, &d, b, NULL), ERR_OK);
        block_unref(b);
    }
    assert_int_equal(sip_reply(s, rx, &r), ERR_OK);
}
static const struct sip_user talker = {.on_request = on_talk};

/* Of a connection that may end under his eyes, on another worker. */
static void look_closely(void)
{
    pthread_mutex_lock(&spoke_lock);
    struct flow f = spoke;
    pthread_mutex_unlock(&spoke_lock);
    for (unsigned i = 0; f.conn && i < LOOKS && sip_flow_up(sip[0], &f); i++)
        continue;
}

static void on_look(struct timer *t, void *arg)
{
    (void)arg;
    look_closely();
    if (requests + talks >= wanted && loop_stat(group, STAT_TCP_CONNECTIONS) == 0)
        worker_group_stop(group);
    else
        loop_timer(group->loop[0], t, USEC_MS);
}

static void on_guard(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    late = true;
    worker_group_stop(group);
}

/* Runs the workers until the clients have done so many requests, and left. */
static void serve(const struct sip_user *u, void (*be)(unsigned n, uint16_t port), unsigned asks)
{
    static const uint8_t secret[HOME_SECRET] = "thirty-two octets of a test key.";
    struct sip_shared *shared;
    pid_t child[CLIENTS];
    struct sip_config c = {
        .listen = {{.transport = SIP_T_TCP}},
        .listeners = 1,
        .max_message = 65536,
        .connections = 64,
        .connections_source = CLIENTS * CALLS, /* a leaked count would reach this */
        .new_connections = 1000000,
        .idle = 60 * USEC_S,
        .message_time = 10 * USEC_S,
        .transactions = 16,
    };
    wanted = asks;
    requests = talks = 0;
    assert_int_equal(addr_parse_ip(SV("127.0.0.1"), 0, &c.listen[0].bind), ERR_OK);
    assert_int_equal(worker_group_new(WORKERS, &group), ERR_OK);
    assert_int_equal(sip_shared_new(secret, group, &c, &shared), ERR_OK);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(sip_new(group->loop[i], shared, u, &sip[i], &sip[i]), ERR_OK);
        assert_int_equal(sip_listen(sip[i], 0), ERR_OK);
    }
    uint16_t port = sip_config(sip[0])->listen[0].bind.port;
    for (unsigned i = 0; i < CLIENTS; i++) {
        child[i] = fork();
        assert_true(child[i] >= 0);
        if (child[i] == 0)
            be(i, port);
    }
    timer_init(&look, on_look, NULL);
    timer_init(&guard, on_guard, NULL);
    loop_timer(group->loop[0], &look, 0);
    loop_timer(group->loop[0], &guard, 60 * USEC_S);
    assert_int_equal(worker_group_run(group), ERR_OK);
    assert_false(late);
    for (unsigned i = 0; i < CLIENTS; i++) {
        int status;
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        sip_free(sip[i]);
    sip_shared_free(shared);
}

static void workers_share_their_tables(void **state)
{
    (void)state;
    serve(&user, be_client, CLIENTS * CALLS);
    assert_true(ups > CLIENTS * CALLS / 2); /* he waits for the answer, so his flow is there */
    worker_group_free(group);
}

static void connections_go_from_worker_to_worker(void **state)
{
    unsigned asks = 0;
    (void)state;
    for (unsigned n = 0; n < CLIENTS; n++)
        for (unsigned i = 0; i < TALKS; i++)
            asks += 1 + (i * 7 + n) % ASKS;
    serve(&talker, be_talker, asks);
    assert_true(loop_stat(group, STAT_CONNECTIONS_MOVED) > 0);
    worker_group_free(group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workers_share_their_tables),
        cmocka_unit_test(connections_go_from_worker_to_worker),
    };
    return crypto_start() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
