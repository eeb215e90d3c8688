/* SPDX-License-Identifier: MIT */
/* What an idle connection costs: octets of heap for each, over TCP, TLS, WebSocket, both. The clients are in
 * another process, so that only our end is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <malloc.h>
#include <netinet/in.h>
#define ERR_STATE OPENSSL_ERR_STATE /* a type of theirs, a value of ours */
#include <openssl/ssl.h>
#undef ERR_STATE
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "crypto/crypto.h"
#include "transport/transport.h"
#include "worker/worker.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#endif

enum { PEM_MAX = 16 * 1024, WARM = 20, MANY = 200, ALL = WARM + MANY };

/* ---- the clients ---- */

struct line {
    int fd;
    SSL *ssl;
};

static bool put(struct line *l, const char *p, size_t n)
{
    return l->ssl ? SSL_write(l->ssl, p, (int)n) == (int)n
                  : send(l->fd, p, n, MSG_NOSIGNAL) == (ssize_t)n;
}

static bool get(struct line *l)
{
    char octets[4096];
    return l->ssl ? SSL_read(l->ssl, octets, sizeof octets) > 0
                  : recv(l->fd, octets, sizeof octets, 0) > 0;
}

static bool call(struct line *l, uint16_t port, SSL_CTX *tls, bool ws)
{
    static const char upgrade[] =
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: sip\r\n\r\n";
    static const char request[] =
        "OPTIONS sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP x.invalid;branch=z9hG4bKa\r\n"
        "Max-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: c\r\n"
        "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    static const char frame[8] = {(char)0x81, (char)0xfe, (char)((sizeof request - 1) >> 8),
                                  (char)(sizeof request - 1)};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    l->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (l->fd < 0 || connect(l->fd, (struct sockaddr *)&to, sizeof to) != 0)
        return false;
    if (tls) {
        l->ssl = SSL_new(tls);
        SSL_set_fd(l->ssl, l->fd);
        if (SSL_connect(l->ssl) != 1)
            return false;
    }
    if (ws && (!put(l, upgrade, sizeof upgrade - 1) || !get(l) || !put(l, frame, sizeof frame)))
        return false;
    return put(l, request, sizeof request - 1) && get(l);
}

static void be_clients(uint16_t port, bool tls, bool ws)
{
    static struct line lines[ALL];
    SSL_CTX *ctx = tls ? SSL_CTX_new(TLS_client_method()) : NULL;
    for (size_t i = 0; i < ALL; i++)
        if (!call(&lines[i], port, ctx, ws))
            _exit(1);
    for (;;)
        pause();
}

/* ---- the server ---- */

static struct loop_group *group;
static struct loop *at;
static struct sip *s;
static unsigned requests;
static bool late;
static size_t heap_warm, heap_many;
static struct timer look, guard;

static void on_request(void *arg, struct rx *rx)
{
    struct sip_reply r = {.status = 200};
    (void)arg;
    requests++;
    assert_int_equal(sip_reply(s, rx, &r), ERR_OK);
}
static const struct sip_user user = {.on_request = on_request};

static size_t heap(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static void on_look(struct timer *t, void *arg)
{
    (void)arg;
    if (requests >= WARM && !heap_warm)
        heap_warm = heap();
    if (requests == ALL) {
        heap_many = heap();
        worker_group_stop(group);
        return;
    }
    loop_timer(at, t, USEC_MS);
}

static void on_guard(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    late = true;
    worker_group_stop(group);
}

static struct tls *certificates(void)
{
    struct addr ip;
    struct buf ca, ca_key, leaf, key, why;
    struct buf *all[] = {&ca, &ca_key, &leaf, &key, &why};
    sv name = SV("ours.test");
    struct tls *t;
    usec wall = (usec)time(NULL) * USEC_S;
    assert_int_equal(addr_parse_ip(SV("127.0.0.1"), 0, &ip), ERR_OK);
    struct tls_names names = {.dns = &name, .dns_n = 1, .ips = &ip, .ips_n = 1};
    for (size_t i = 0; i < 5; i++)
        buf_init_heap(all[i], PEM_MAX);
    assert_int_equal(tls_make_ca(&names, wall, &ca, &ca_key), ERR_OK);
    assert_int_equal(tls_make_leaf(buf_sv(&ca), buf_sv(&ca_key), &names, wall, &leaf, &key),
                     ERR_OK);
    struct tls_pair pair = {buf_sv(&leaf), buf_sv(&key)};
    struct tls_config c = {.pairs = &pair, .n = 1, .ca = buf_sv(&ca)};
    assert_int_equal(tls_new(&c, &why, &t), ERR_OK);
    for (size_t i = 0; i < 5; i++)
        buf_done(all[i]);
    return t;
}

/* Octets of heap that one of many idle connections takes. */
static size_t cost(enum sip_transport t)
{
    static const uint8_t secret[HOME_SECRET] = "thirty-two octets of a test key.";
    struct sip_shared *shared;
    struct sip_config c = {
        .listen = {{.transport = t}},
        .listeners = 1,
        .max_message = 65536,
        .connections = 2 * ALL,
        .connections_source = 2 * ALL,
        .idle = 60 * USEC_S,
        .message_time = 10 * USEC_S,
        .transactions = 16,
    };
    requests = 0;
    late = false;
    heap_warm = heap_many = 0;
    struct tls *tls = certificates();
    assert_int_equal(addr_parse_ip(SV("127.0.0.1"), 0, &c.listen[0].bind), ERR_OK);
    assert_int_equal(worker_group_new(1, &group), ERR_OK);
    at = group->loop[0];
    assert_int_equal(sip_shared_new(secret, group, &c, &shared), ERR_OK);
    assert_int_equal(sip_new(at, shared, &user, NULL, &s), ERR_OK);
    sip_tls(s, tls);
    assert_int_equal(sip_listen(s, 0), ERR_OK);
    uint16_t port = sip_config(s)->listen[0].bind.port;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        be_clients(port, t == SIP_T_TLS || t == SIP_T_WSS, t == SIP_T_WS || t == SIP_T_WSS);
    timer_init(&look, on_look, NULL);
    timer_init(&guard, on_guard, NULL);
    loop_timer(at, &look, 0);
    loop_timer(at, &guard, 60 * USEC_S);
    assert_int_equal(worker_group_run(group), ERR_OK);
    assert_int_equal(sip_connections(s), ALL);
    assert_false(late);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    sip_free(s);
    sip_shared_free(shared);
    tls_unref(tls);
    worker_group_free(group);
    return (heap_many - heap_warm) / MANY;
}

static void an_idle_connection_costs_little(void **state)
{
    static const struct {
        enum sip_transport t;
        const char *name;
        size_t most;
    } row[] = {{SIP_T_TCP, "TCP", 2048},
               {SIP_T_WS, "WS", 3072},
               {SIP_T_TLS, "TLS", 24 * 1024},
               {SIP_T_WSS, "WSS", 26 * 1024}};
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        size_t octets = cost(row[i].t);
        print_message("SIP_BYTES_IDLE %s %zu\n", row[i].name, octets);
#ifndef WITH_ASAN /* which keeps its own books */
        assert_in_range(octets, 100, row[i].most);
#endif
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_idle_connection_costs_little)};
    return crypto_start() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
