/* SPDX-License-Identifier: MIT */
/* Two ends of TLS over the loopback, on a real loop. */
#ifndef TLS_ENDS_H
#define TLS_ENDS_H
#include "net_run.h"
#include <stdio.h>
#include <string.h>
#include "tls/tls_priv.h"
#include "tls_pems.h"

static struct pem authority, leaf, other, old, stranger, foreign;
static struct tls *server_tls, *client_tls;
static struct listener *listener;
static struct addr at_server;

/* One end: what it heard, and what it does about it. */
struct end {
    struct stream *s;
    struct buf heard;
    unsigned opened, closed, drained;
    enum err why;
    bool keep; /* what it hears */
    size_t got;
    void (*when_open)(struct end *e);
    void (*when_data)(struct end *e, sv s);
    void (*when_drained)(struct end *e);
    void (*when_closed)(struct end *e);
};
static struct end client, server;
static unsigned stop_after; /* so many ends have closed */
static unsigned workers = 1;

static void on_open(void *arg)
{
    struct end *e = arg;
    assert_non_null(e->s);
    assert_non_null(e->s->tls_peer);
    assert_int_equal(e->opened++, 0);
    if (e->when_open)
        e->when_open(e);
}

static void on_data(void *arg, sv s)
{
    struct end *e = arg;
    assert_true(e->opened == 1 && e->s);
    assert_true(s.n > 0);
    e->got += s.n;
    if (e->keep)
        buf_put(&e->heard, s);
    if (e->when_data)
        e->when_data(e, s);
}

static void on_drain(void *arg)
{
    struct end *e = arg;
    assert_non_null(e->s);
    assert_int_equal(e->s->queued, 0);
    e->drained++;
    if (e->when_drained)
        e->when_drained(e);
}

static void on_close(void *arg, enum err why)
{
    struct end *e = arg;
    assert_non_null(e->s);
    assert_true(e->s->peer.family == 4); /* it can still be looked at */
    stream_close(e->s, true);            /* changes nothing */
    e->s = NULL;
    e->why = why;
    e->closed++;
    if (e->when_closed)
        e->when_closed(e);
    if (client.closed + server.closed == stop_after)
        net_stop();
}

static const struct stream_handler handler = {on_open, on_data, on_drain, on_close};

static void leave(struct end *e)
{
    stream_close(e->s, true);
    e->s = NULL;
}

static inline void leave_hard(struct end *e)
{
    stream_close(e->s, false);
    e->s = NULL;
}

static inline void leave_and_stop(struct end *e)
{
    leave(e);
    net_stop();
}

static void say(struct end *e, sv s)
{
    assert_int_equal(stream_send(e->s, &s, 1), ERR_OK);
}

static void on_accept(void *arg, struct stream *lower)
{
    (void)arg;
    if (server.s || server.closed) {
        stream_close(lower, false);
        return;
    }
    struct addr peer = lower->peer;
    assert_int_equal(tls_accept(server_tls, lower, &handler, &server, &server.s), ERR_OK);
    assert_int_equal(server.opened, 0);
    assert_true(addr_equal(&server.s->peer, &peer));
    assert_true(addr_equal(&server.s->local, &at_server));
    assert_null(server.s->tls_peer);
}

static const struct listener_handler accepting = {on_accept};

static struct tls_pair leaf_pair;

/* Serves leaf; trusts authority. */
static struct tls_config server_config(void)
{
    leaf_pair = pem_pair(&leaf);
    return (struct tls_config){.pairs = &leaf_pair, .n = 1, .ca = buf_sv(&authority.cert)};
}

static struct tls_config client_config(void)
{
    return (struct tls_config){.ca = buf_sv(&authority.cert)};
}

static void start_with(const struct tls_config *s, const struct tls_config *c)
{
    struct addr any;
    memset(&client, 0, sizeof(client));
    memset(&server, 0, sizeof(server));
    client.why = server.why = ERR_COUNT;
    buf_init_heap(&client.heard, 16 * 1024 * 1024);
    buf_init_heap(&server.heard, 16 * 1024 * 1024);
    client.keep = server.keep = true;
    stop_after = 1;
    net_setup(workers);
    server_tls = pem_tls(s);
    client_tls = pem_tls(c);
    any = net_addr("127.0.0.1:0");
    assert_int_equal(stream_listen(at, &any, &accepting, NULL, &listener), ERR_OK);
    at_server = listener->local;
}

static void start(void)
{
    struct tls_config s = server_config(), c = client_config();
    start_with(&s, &c);
}

static void dial_as(const char *name, bool verify)
{
    assert_int_equal(tls_connect(client_tls, at, NULL, &at_server, sv_of(name), verify, &handler,
                                 &client, &client.s),
                     ERR_OK);
    assert_int_equal(client.opened, 0);
}

static void dial(void)
{
    dial_as("example.test", true);
}

static void end(void)
{
    stream_close(client.s, false);
    stream_close(server.s, false);
    listener_close(listener);
    buf_done(&client.heard);
    buf_done(&server.heard);
    tls_unref(server_tls);
    tls_unref(client_tls);
    assert_int_equal(stat_get(&at->stats, STAT_TLS_CONNECTIONS), 0);
    assert_int_equal(ERR_peek_error(), 0); /* nothing is left for the next to trip over */
    net_end();
}

static int64_t stat(enum stat_id id)
{
    return stat_get(&at->stats, id);
}

static void assert_heard(const struct end *e, const char *text)
{
    assert_true(sv_eq(buf_sv(&e->heard), sv_of(text)));
}

enum { PIECE = 50000 };
static char pattern[PIECE];
static struct timer later;

static inline void echo(struct end *e, sv s)
{
    say(e, s);
}

static inline void say_some_and_leave(struct end *e)
{
    say(e, (sv){pattern, PIECE});
    leave(e);
}

static inline int ends_main(const struct CMUnitTest *tests, size_t n)
{
    assert_int_equal(crypto_start(), ERR_OK);
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (char)(i * 2654435761u >> 13);
    sv all[] = {SV("example.test"), SV("other.test")}, one = SV("example.test");
    pem_make_at(&authority, NULL, all, 2, pem_now() - 300 * USEC_DAY);
    pem_make(&foreign, NULL, "example.test");
    pem_make(&leaf, &authority, "example.test");
    pem_make(&other, &authority, "other.test");
    pem_make_at(&old, &authority, &one, 1, pem_now() - 200 * USEC_DAY);
    pem_make(&stranger, &foreign, "example.test");
    int rc = _cmocka_run_group_tests("tls", tests, n, NULL, NULL);
    struct pem *pems[] = {&authority, &foreign, &leaf, &other, &old, &stranger};
    for (size_t i = 0; i < 6; i++)
        pem_done(pems[i]);
    return rc;
}

#endif
