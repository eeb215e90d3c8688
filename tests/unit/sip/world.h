/* SPDX-License-Identifier: MIT */
/* world.h: one server of a few workers and one raw peer, in virtual time: for the tests of sip. */
#ifndef TESTS_SIP_WORLD_H
#define TESTS_SIP_WORLD_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "crypto/crypto.h"
#include "sim/sim.h"
#include "transport/transport.h"

#define SERVER_IP "192.0.2.1"
#define PEER_IP   "192.0.2.99"
enum { WORLD_WORKERS = 4, INBOX = 512 * 1024, PEER_PORT = 5070 };

struct world {
    struct sim *sim;
    struct sim_host *server, *other;
    struct loop_group *group, *peer_group;
    struct sip_config config;
    struct sip_shared *shared;
    struct sip *sip[WORLD_WORKERS];
    unsigned workers;
    /* what the server's user saw */
    void (*on_request)(struct world *w, struct rx *rx);
    struct rx *last; /* kept */
    unsigned requests, strays, flows_gone;
    unsigned by_worker[WORLD_WORKERS];
    /* the peer */
    struct loop *peer;
    struct udp *udp;
    struct listener *listener;
    struct stream *stream;
    bool stream_open, stream_closed;
    char inbox[INBOX];
    size_t inbox_n;
    unsigned datagrams, icmp;
    usec at[256]; /* when datagrams came */
};

static inline struct addr address(const char *ip, uint16_t port)
{
    struct addr a = {0};
    assert_int_equal(addr_parse_ip(sv_of(ip), port, &a), ERR_OK);
    return a;
}

/* ---- the server's user ---- */

struct endpoint_arg {
    struct world *w;
    unsigned worker;
};
static struct endpoint_arg endpoint_args[WORLD_WORKERS];

static inline void world_request(void *arg, struct rx *rx)
{
    struct endpoint_arg *e = arg;
    struct world *w = e->w;
    w->requests++;
    w->by_worker[e->worker]++;
    if (w->on_request)
        w->on_request(w, rx);
}

static inline void world_stray(void *arg, struct rx *rx)
{
    (void)rx;
    ((struct endpoint_arg *)arg)->w->strays++;
}

static inline void world_flow_gone(void *arg, const struct flow *f)
{
    (void)f;
    ((struct endpoint_arg *)arg)->w->flows_gone++;
}

/* Worlds begin with a user like this; a test may give it more. */
static struct sip_user world_user = {
    .on_request = world_request, .on_stray = world_stray, .on_flow_gone = world_flow_gone};

/* ---- the peer ---- */

static inline void inbox_put(struct world *w, sv octets)
{
    assert_true(w->inbox_n + octets.n < INBOX);
    memcpy(w->inbox + w->inbox_n, octets.p, octets.n);
    w->inbox_n += octets.n;
    w->inbox[w->inbox_n] = 0;
}

static inline void peer_datagram(void *arg, struct block *b, const struct addr *from,
                                 const struct addr *to)
{
    struct world *w = arg;
    (void)from;
    (void)to;
    if (w->datagrams < 256)
        w->at[w->datagrams] = w->peer->now;
    w->datagrams++;
    inbox_put(w, block_sv(b));
}

static inline void peer_icmp(void *arg, const struct addr *to, enum err why, sv quoted)
{
    (void)quoted;
    (void)to;
    (void)why;
    ((struct world *)arg)->icmp++;
}

static inline void peer_open(void *arg)
{
    ((struct world *)arg)->stream_open = true;
}

static inline void peer_data(void *arg, sv octets)
{
    inbox_put(arg, octets);
}

static inline void peer_close(void *arg, enum err why)
{
    struct world *w = arg;
    (void)why;
    w->stream = NULL;
    w->stream_closed = true;
}

static const struct udp_handler peer_udp = {.on_datagram = peer_datagram, .on_error = peer_icmp};
static const struct stream_handler peer_stream = {
    .on_open = peer_open, .on_data = peer_data, .on_close = peer_close};

static inline void peer_accept(void *arg, struct stream *s)
{
    struct world *w = arg;
    stream_close(w->stream, false);
    w->stream = s;
    stream_handle(s, &peer_stream, w);
}

static const struct listener_handler peer_listener = {.on_accept = peer_accept};

/* ---- beginning and end ---- */

static size_t world_transactions = 100, world_max_message = 65536;
static void (*world_configure)(struct sip_config *c); /* more listeners, other limits; or NULL */

static inline struct world *world_new(unsigned workers, void (*start)(struct sip *s))
{
    static const uint8_t secret[HOME_SECRET] = "thirty-two octets of a test key.";
    struct world *w = MEM_NEW(struct world);
    struct addr server[2] = {address(SERVER_IP, 5060), address("2001:db8::1", 5060)};
    struct addr any = address("0.0.0.0", 5060), peer = address(PEER_IP, PEER_PORT), peers[9];
    size_t peers_n = 0;
    peers[peers_n++] = peer;
    for (unsigned i = 0; i < 8; i++) { /* two networks of four addresses */
        peers[peers_n] = address("2001:db8:1:1::1", 0);
        peers[peers_n].ip[15] = (uint8_t)(1 + i % 4);
        peers[peers_n++].ip[7] = (uint8_t)(1 + i / 4);
    }
    assert_non_null(w);
    w->workers = workers;
    assert_int_equal(sim_new(7, &w->sim), ERR_OK);
    assert_int_equal(sim_host_new(w->sim, "server", server, 2, &w->server), ERR_OK);
    assert_int_equal(sim_host_new(w->sim, "peer", peers, peers_n, &w->other), ERR_OK);
    assert_int_equal(sim_process(w->server, workers, &w->group), ERR_OK);
    assert_int_equal(sim_process(w->other, 1, &w->peer_group), ERR_OK);
    w->config = (struct sip_config){
        .listen = {{.transport = SIP_T_UDP, .bind = any}, {.transport = SIP_T_TCP, .bind = any}},
        .listeners = 2,
        .t1 = 500 * USEC_MS,
        .t2 = 4 * USEC_S,
        .t4 = 5 * USEC_S,
        .max_message = world_max_message,
        .mtu = 1300,
        .connections = 8,
        .connections_source = 6,
        .idle = 60 * USEC_S,
        .message_time = 10 * USEC_S,
        .transactions = world_transactions,
    };
    if (world_configure)
        world_configure(&w->config);
    assert_int_equal(sip_shared_new(secret, w->group, &w->config, &w->shared), ERR_OK);
    for (unsigned i = 0; i < workers; i++) {
        endpoint_args[i] = (struct endpoint_arg){w, i};
        assert_int_equal(
            sip_new(w->group->loop[i], w->shared, &world_user, &endpoint_args[i], &w->sip[i]),
            ERR_OK);
        if (start)
            start(w->sip[i]);
        for (unsigned k = 0; k < w->config.listeners; k++)
            assert_int_equal(sip_listen(w->sip[i], k), ERR_OK);
    }
    w->peer = w->peer_group->loop[0];
    assert_int_equal(udp_open(w->peer, &peer, &peer_udp, w, &w->udp), ERR_OK);
    assert_int_equal(stream_listen(w->peer, &peer, &peer_listener, w, &w->listener), ERR_OK);
    return w;
}

/* Everything ends, and nothing is left. */
static inline void world_end(struct world *w, bool kill)
{
    if (kill)
        sim_process_kill(w->server, false);
    else
        sim_process_stop(w->server);
    sim_process_stop(w->other);
    udp_close(w->udp);
    listener_close(w->listener);
    stream_close(w->stream, false);
    rx_unref(w->last);
    for (unsigned i = 0; i < w->workers; i++)
        sip_free(w->sip[i]);
    for (unsigned i = 0; i < w->workers; i++) {
        assert_int_equal(block_pool_live(w->group->loop[i]->blocks), 0);
        assert_int_equal(stat_get(&w->group->loop[i]->stats, STAT_SIP_TXN_LIVE), 0);
        assert_int_equal(stat_get(&w->group->loop[i]->stats, STAT_TCP_CONNECTIONS), 0);
        assert_int_equal(w->group->loop[i]->wheel.armed, 0);
    }
    sip_shared_free(w->shared);
    sim_process_free(w->server);
    sim_process_free(w->other);
    sim_free(w->sim);
    mem_free(w);
}

static inline void world_free(struct world *w)
{
    world_end(w, false);
}

/* ---- moving on ---- */

static inline void run(struct world *w, usec by)
{
    sim_run_until(w->sim, sim_now(w->sim) + by);
}

struct act {
    struct timer timer;
    struct world *w;
    void (*fn)(struct world *w);
};
static inline void act_now(struct timer *t, void *arg)
{
    struct act *a = arg;
    (void)t;
    a->fn(a->w);
}
/* fn runs in a turn of the loop, now; a millisecond passes. */
static inline void act(struct world *w, struct loop *l, void (*fn)(struct world *w))
{
    struct act a = {.w = w, .fn = fn};
    timer_init(&a.timer, act_now, &a);
    wheel_arm(&l->wheel, &a.timer, sim_now(w->sim));
    run(w, USEC_MS);
    assert_false(timer_armed(&a.timer));
}

static inline void say_udp(struct world *w, const char *text)
{
    struct addr to = address(SERVER_IP, 5060);
    sv piece = sv_of(text);
    assert_int_equal(udp_send(w->udp, NULL, &to, &piece, 1), ERR_OK);
}

static inline void dial_port(struct world *w, uint16_t port)
{
    struct addr to = address(SERVER_IP, port);
    w->stream_open = w->stream_closed = false;
    assert_int_equal(stream_connect(w->peer, NULL, &to, &peer_stream, w, &w->stream), ERR_OK);
    run(w, 10 * USEC_MS);
    assert_true(w->stream_open);
}

static inline void dial(struct world *w)
{
    dial_port(w, 5060);
}

static inline void say_tcp(struct world *w, sv octets)
{
    assert_non_null(w->stream);
    assert_int_equal(stream_send(w->stream, &octets, 1), ERR_OK);
}

static inline void inbox_clear(struct world *w)
{
    w->inbox_n = 0;
    w->inbox[0] = 0;
    w->datagrams = 0;
}

/* How often text stands in what the peer got. */
static inline unsigned heard(const struct world *w, const char *text)
{
    unsigned n = 0;
    for (const char *p = w->inbox; (p = strstr(p, text)) != NULL; p++)
        n++;
    return n;
}

static inline int64_t stat_of(const struct world *w, enum stat_id id)
{
    return loop_stat(w->group, id);
}

static inline uint64_t refused(const struct world *w, enum stat_limit id)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < w->workers; i++)
        n += w->group->loop[i]->stats.refusals[id];
    return n;
}

/* A request as the peer would send it; more: whole lines. Four live at a time. */
static inline const char *request(const char *method, const char *transport, const char *branch,
                                  const char *call_id, const char *more)
{
    static char text[4][4096];
    static unsigned turn;
    char *out = text[turn++ % 4];
    int n = snprintf(out, sizeof text[0],
                     "%s sip:bob@" SERVER_IP " SIP/2.0\r\n"
                     "Via: SIP/2.0/%s " PEER_IP ":5070;branch=%s\r\n"
                     "Max-Forwards: 70\r\n"
                     "From: <sip:alice@example.com>;tag=a1\r\n"
                     "To: <sip:bob@example.com>\r\n"
                     "Call-ID: %s\r\n"
                     "CSeq: 1 %s\r\n"
                     "%sContent-Length: 0\r\n\r\n",
                     method, transport, branch, call_id, method, more);
    assert_true(n > 0 && (size_t)n < sizeof text[0]);
    return out;
}

#endif
