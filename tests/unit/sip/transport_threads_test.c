/* SPDX-License-Identifier: MIT */
/* What the workers of a process share, on real threads: clients come and go while every worker counts them,
 * names peers and asks for flows. Under the thread sanitizer this is the test of the tables' locks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "crypto/crypto.h"
#include "transport/transport.h"
#include "worker/worker.h"

enum { WORKERS = 4, CLIENTS = 4, CALLS = 150 };

static struct loop_group *group;
static struct sip *sip[WORKERS];
static _Atomic unsigned requests, ups;
static _Atomic uint64_t last_conn;
static bool late;
static struct timer look, guard;

/* Connects, asks, is answered, leaves; from a loopback address of its own. */
static void be_client(unsigned n, uint16_t port)
{
    static const char request[] =
        "OPTIONS sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP x.invalid;branch=z9hG4bKa\r\n"
        "Max-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: c%u-%u\r\n"
        "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
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
    assert_int_equal(sip_reply(s, rx, &r), ERR_OK);
}
static const struct sip_user user = {.on_request = on_request};

static void on_look(struct timer *t, void *arg)
{
    (void)arg;
    if (requests == CLIENTS * CALLS && loop_stat(group, STAT_TCP_CONNECTIONS) == 0)
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

static void workers_share_their_tables(void **state)
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
    (void)state;
    assert_int_equal(addr_parse_ip(SV("127.0.0.1"), 0, &c.listen[0].bind), ERR_OK);
    assert_int_equal(worker_group_new(WORKERS, &group), ERR_OK);
    assert_int_equal(sip_shared_new(secret, group, &c, &shared), ERR_OK);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(sip_new(group->loop[i], shared, &user, &sip[i], &sip[i]), ERR_OK);
        assert_int_equal(sip_listen(sip[i], 0), ERR_OK);
    }
    uint16_t port = sip_config(sip[0])->listen[0].bind.port;
    for (unsigned i = 0; i < CLIENTS; i++) {
        child[i] = fork();
        assert_true(child[i] >= 0);
        if (child[i] == 0)
            be_client(i, port);
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
    assert_true(ups > CLIENTS * CALLS / 2); /* he waits for the answer, so his flow is there */
    for (unsigned i = 0; i < WORKERS; i++)
        sip_free(sip[i]);
    sip_shared_free(shared);
    worker_group_free(group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(workers_share_their_tables)};
    return crypto_start() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
