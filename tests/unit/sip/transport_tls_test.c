/* SPDX-License-Identifier: MIT */
/* SIP over TLS and secure WebSocket on real loops: whose certificate, whose connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <time.h>
#include "crypto/crypto.h"
#include "transport/transport.h"
#include "worker/worker.h"

enum { PEM_MAX = 16 * 1024, INBOX = 16 * 1024, L_TLS = 0, L_WSS, L_TCP, LISTENERS };

/* ---- certificates ---- */

struct pem {
    struct buf cert, key;
};
static struct pem ca, stranger_ca, ours, peers, others, strangers;
/* ours: the server's; server_tls asks for certificates. */
static struct tls *server_tls, *server_new_tls, *peer_tls, *both_tls, *stranger_tls, *bare_tls;

static void make(struct pem *p, const struct pem *by, const sv *names, size_t n, bool with_ip)
{
    struct addr ip;
    assert_int_equal(addr_parse_ip(SV("127.0.0.1"), 0, &ip), ERR_OK);
    struct tls_names all = {.dns = names, .dns_n = n, .ips = &ip, .ips_n = with_ip};
    usec wall = (usec)time(NULL) * USEC_S;
    buf_init_heap(&p->cert, PEM_MAX);
    buf_init_heap(&p->key, PEM_MAX);
    if (by)
        assert_int_equal(
            tls_make_leaf(buf_sv(&by->cert), buf_sv(&by->key), &all, wall, &p->cert, &p->key),
            ERR_OK);
    else
        assert_int_equal(tls_make_ca(&all, wall, &p->cert, &p->key), ERR_OK);
}

static struct tls *snapshot(const struct pem *own, enum tls_clients clients)
{
    struct tls_pair pair;
    struct tls_config c = {.ca = buf_sv(&ca.cert), .clients = clients};
    struct tls *t;
    struct buf why;
    if (own) {
        pair = (struct tls_pair){buf_sv(&own->cert), buf_sv(&own->key)};
        c.pairs = &pair;
        c.n = 1;
    }
    buf_init_heap(&why, 1024);
    assert_int_equal(tls_new(&c, &why, &t), ERR_OK);
    buf_done(&why);
    return t;
}

static int make_all(void **state)
{
    static const sv all[] = {{"ours.test", 9}, {"peer.test", 9}, {"other.test", 10}};
    (void)state;
    make(&ca, NULL, all, 3, true);
    make(&stranger_ca, NULL, all, 3, true);
    make(&ours, &ca, all, 1, true);
    make(&peers, &ca, all + 1, 1, false);
    make(&others, &ca, all + 1, 2, false);
    make(&strangers, &stranger_ca, all + 1, 1, true);
    server_tls = snapshot(&ours, TLS_CLIENTS_OPTIONAL);
    server_new_tls = snapshot(&others, TLS_CLIENTS_OPTIONAL);
    peer_tls = snapshot(&peers, TLS_CLIENTS_NONE);
    both_tls = snapshot(&others, TLS_CLIENTS_NONE);
    stranger_tls = snapshot(&strangers, TLS_CLIENTS_NONE);
    bare_tls = snapshot(NULL, TLS_CLIENTS_NONE);
    return 0;
}

static int free_all(void **state)
{
    struct pem *p[] = {&ca, &stranger_ca, &ours, &peers, &others, &strangers};
    struct tls *t[] = {server_tls, server_new_tls, peer_tls, both_tls, stranger_tls, bare_tls};
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        buf_done(&p[i]->cert);
        buf_done(&p[i]->key);
        tls_unref(t[i]);
    }
    return 0;
}

/* ---- streams of the other side ---- */

struct end {
    struct stream *stream;
    struct tls *tls;
    bool open, closed;
    enum err why;
    char in[INBOX];
    size_t in_n;
};
static struct end client, accepted[4];
static unsigned accepted_n;
static struct listener *peer_listener;
static struct tls *peer_shows;

static void end_open(void *arg)
{
    ((struct end *)arg)->open = true;
}
static void end_data(void *arg, sv octets)
{
    struct end *e = arg;
    assert_true(e->in_n + octets.n < INBOX);
    memcpy(e->in + e->in_n, octets.p, octets.n);
    e->in_n += octets.n;
}
static void end_close(void *arg, enum err why)
{
    struct end *e = arg;
    e->stream = NULL;
    e->closed = true;
    e->why = why;
}
static const struct stream_handler end_handler = {
    .on_open = end_open, .on_data = end_data, .on_close = end_close};

static bool has(const struct end *e, const char *text)
{
    return memmem(e->in, e->in_n, text, strlen(text)) != NULL;
}

static void peer_accept(void *arg, struct stream *lower)
{
    struct end *e = &accepted[accepted_n];
    (void)arg;
    assert_true(accepted_n < 4);
    accepted_n++;
    assert_int_equal(tls_accept(peer_shows, lower, &end_handler, e, &e->stream), ERR_OK);
}
static const struct listener_handler peer_handler = {.on_accept = peer_accept};

static void say(struct end *e, const char *text)
{
    sv octets = sv_of(text);
    assert_non_null(e->stream);
    assert_int_equal(stream_send(e->stream, &octets, 1), ERR_OK);
}

/* ---- our side ---- */

static struct loop_group *group;
static struct loop *at;
static struct sip_shared *shared;
static struct sip *s;
static struct rx *last;
static unsigned requests, flows_gone;

static void on_request(void *arg, struct rx *rx)
{
    struct sip_reply r = {.status = 200};
    (void)arg;
    requests++;
    rx_unref(last);
    last = rx_ref(rx);
    assert_int_equal(sip_reply(s, rx, &r), ERR_OK);
}
static void on_flow_gone(void *arg, const struct flow *f)
{
    (void)arg;
    (void)f;
    flows_gone++;
}
static const struct sip_user user = {.on_request = on_request, .on_flow_gone = on_flow_gone};

static struct sip_sent watch;
static unsigned fails;
static enum err fail_why;
static void on_fail(void *arg, enum err why)
{
    (void)arg;
    fails++;
    fail_why = why;
}

static void send_to(const struct addr *to, const char *name, const char *text)
{
    struct dest d = {
        .transport = SIP_T_TLS, .addr = *to, .name = name ? sip_name(s, sv_of(name)) : 0};
    struct block *b = sip_block(s, strlen(text));
    memcpy(b->p, text, strlen(text));
    b->n = (uint32_t)strlen(text);
    assert_int_equal(sip_send(s, &d, b, &watch), ERR_OK);
    block_unref(b);
}

static uint16_t port_of(unsigned listener)
{
    return sip_config(s)->listen[listener].bind.port;
}

static struct addr loopback(uint16_t port)
{
    struct addr a;
    assert_int_equal(addr_parse_ip(SV("127.0.0.1"), port, &a), ERR_OK);
    return a;
}

static void dial(struct end *e, unsigned listener, struct tls *t)
{
    struct addr to = loopback(port_of(listener));
    *e = (struct end){0};
    assert_int_equal(tls_connect(t, at, NULL, &to, SV_NONE, false, &end_handler, e, &e->stream),
                     ERR_OK);
}

/* ---- scripts: a function that is called every millisecond and goes on where it waited ---- */

static int line;
static bool done, late;
static struct timer tick, guard;
static void (*script)(void);

#define BEGIN       \
    switch (line) { \
    case 0:
#define AWAIT(cond)                   \
    do {                              \
        line = __LINE__;              \
        __attribute__((fallthrough)); \
    case __LINE__:                    \
        if (!(cond))                  \
            return;                   \
    } while (0)
#define END      \
    }            \
    done = true; \
    worker_group_stop(group);

static void on_tick(struct timer *t, void *arg)
{
    (void)arg;
    script();
    if (!done)
        loop_timer(at, t, USEC_MS);
}

static void on_guard(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    late = true;
    worker_group_stop(group);
}

static void play(void (*fn)(void), struct tls *first, usec handshake)
{
    static const uint8_t secret[HOME_SECRET] = "thirty-two octets of a test key.";
    struct addr any = loopback(0);
    struct sip_config c = {
        .listen = {[L_TLS] = {.transport = SIP_T_TLS, .bind = any},
                   [L_WSS] = {.transport = SIP_T_WSS, .bind = any},
                   [L_TCP] = {.transport = SIP_T_TCP, .bind = any}},
        .listeners = LISTENERS,
        .max_message = 65536,
        .connections = 64,
        .connections_source = 64,
        .handshake = handshake,
        .idle = 60 * USEC_S,
        .message_time = 10 * USEC_S,
        .transactions = 16,
    };
    line = 0;
    done = late = false;
    requests = flows_gone = fails = accepted_n = 0;
    memset(accepted, 0, sizeof accepted);
    client = (struct end){0};
    peer_shows = peer_tls;
    assert_int_equal(worker_group_new(1, &group), ERR_OK);
    at = group->loop[0];
    assert_int_equal(sip_shared_new(secret, group, &c, &shared), ERR_OK);
    assert_int_equal(sip_new(at, shared, &user, NULL, &s), ERR_OK);
    for (unsigned i = 0; i < LISTENERS; i++)
        assert_int_equal(sip_listen(s, i), ERR_OK);
    if (first)
        sip_tls(s, first);
    assert_int_equal(stream_listen(at, &any, &peer_handler, NULL, &peer_listener), ERR_OK);
    watch = (struct sip_sent){.on_fail = on_fail};
    list_init(&watch.by_pending);
    script = fn;
    timer_init(&tick, on_tick, NULL);
    timer_init(&guard, on_guard, NULL);
    loop_timer(at, &tick, 0);
    loop_timer(at, &guard, 30 * USEC_S);
    assert_int_equal(worker_group_run(group), ERR_OK);
    assert_false(late);
    sip_send_cancel(&watch);
    rx_unref(last);
    last = NULL;
    stream_close(client.stream, false);
    for (unsigned i = 0; i < 4; i++)
        stream_close(accepted[i].stream, false);
    listener_close(peer_listener);
    sip_free(s);
    assert_int_equal(block_pool_live(at->blocks), 0);
    assert_int_equal(stat_get(&at->stats, STAT_TCP_CONNECTIONS), 0);
    assert_int_equal(stat_get(&at->stats, STAT_WEBSOCKETS), 0);
    sip_shared_free(shared);
    worker_group_free(group);
}

#define OPTIONS(transport, sent_by, more)                                                        \
    "OPTIONS sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/" transport " " sent_by                   \
    ";branch=z9hG4bKa" more "\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\n" \
    "Call-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"

/* ---- coming in ---- */

static void a_request_comes_over_tls_script(void)
{
    BEGIN
    dial(&client, L_TLS, bare_tls);
    AWAIT(client.open);
    say(&client, "\r\n\r\n");
    say(&client, OPTIONS("TLS", "phone.test", ""));
    AWAIT(has(&client, "SIP/2.0 200 OK\r\n"));
    assert_memory_equal(client.in, "\r\n", 2); /* the keep-alive's answer */
    assert_int_equal(last->flow.transport, SIP_T_TLS);
    assert_true(flow_secure(&last->flow));
    assert_true(sip_flow_up(s, &last->flow));
    assert_int_equal(last->flow.local.port, port_of(L_TLS));
    assert_null(last->peer);
    assert_int_equal(accepted_n, 0);
    END
}

static void a_request_comes_over_tls(void **state)
{
    (void)state;
    play(a_request_comes_over_tls_script, server_tls, 0);
}

static void a_client_with_a_certificate_is_known_script(void)
{
    BEGIN
    dial(&client, L_TLS, peer_tls);
    AWAIT(client.open);
    say(&client, OPTIONS("TLS", "peer.test", ""));
    AWAIT(requests == 1);
    assert_non_null(last->peer);
    assert_true(tls_peer_is(last->peer, SV("peer.test")));
    assert_false(tls_peer_is(last->peer, SV("other.test")));
    /* The request outlives its connection, and so does who sent it. */
    stream_close(client.stream, false);
    client.stream = NULL;
    AWAIT(flows_gone == 1);
    assert_true(tls_peer_is(last->peer, SV("peer.test")));
    END
}

static void a_client_with_a_certificate_is_known(void **state)
{
    (void)state;
    play(a_client_with_a_certificate_is_known_script, server_tls, 0);
}

static void before_certificates_nothing_is_accepted_script(void)
{
    BEGIN
    dial(&client, L_TLS, bare_tls);
    AWAIT(client.closed);
    dial(&client, L_WSS, bare_tls);
    AWAIT(client.closed);
    assert_int_equal(sip_connections(s), 0);
    struct addr to = peer_listener->local;
    struct dest d = {.transport = SIP_T_TLS, .addr = to};
    struct block *b = sip_block(s, 1);
    assert_int_equal(sip_send(s, &d, b, NULL), ERR_UNREACHABLE);
    block_unref(b);
    sip_tls(s, server_tls);
    dial(&client, L_TLS, bare_tls);
    AWAIT(client.open);
    END
}

static void before_certificates_nothing_is_accepted(void **state)
{
    (void)state;
    play(before_certificates_nothing_is_accepted_script, NULL, 0);
}

static void new_certificates_drop_nobody_script(void)
{
    static struct end second;
    BEGIN
    dial(&client, L_TLS, bare_tls);
    AWAIT(client.open);
    assert_true(client.stream->tls_peer->dns_n == 1);
    sip_tls(s, server_new_tls);
    dial(&second, L_TLS, bare_tls);
    AWAIT(second.open);
    assert_int_equal(second.stream->tls_peer->dns_n, 2);
    say(&client, OPTIONS("TLS", "phone.test", ""));
    AWAIT(has(&client, "SIP/2.0 200 OK\r\n"));
    stream_close(second.stream, false);
    END
}

static void new_certificates_drop_nobody(void **state)
{
    (void)state;
    play(new_certificates_drop_nobody_script, server_tls, 0);
}

static struct stream *silent;
static bool silent_closed;
static void silent_open(void *arg)
{
    (void)arg;
}
static void silent_data(void *arg, sv octets)
{
    (void)arg;
    (void)octets;
}
static void silent_close(void *arg, enum err why)
{
    (void)arg;
    (void)why;
    silent = NULL;
    silent_closed = true;
}
static const struct stream_handler silent_handler = {
    .on_open = silent_open, .on_data = silent_data, .on_close = silent_close};

static void handshakes_have_a_deadline_script(void)
{
    struct addr to = loopback(port_of(L_TLS));
    BEGIN
    silent_closed = false;
    assert_int_equal(stream_connect(at, NULL, &to, &silent_handler, NULL, &silent), ERR_OK);
    dial(&client, L_WSS, bare_tls); /* TLS, and then no word of HTTP */
    AWAIT(silent_closed && client.closed);
    assert_true(client.open);
    assert_int_equal(at->stats.refusals[STAT_LIMIT_HANDSHAKE], 2);
    assert_int_equal(sip_connections(s), 0);
    END
}

static void handshakes_have_a_deadline(void **state)
{
    (void)state;
    play(handshakes_have_a_deadline_script, server_tls, 300 * USEC_MS);
}

static void a_websocket_comes_over_tls_script(void)
{
    static const char hello[] = "\x81\x84\0\0\0\0\r\n\r\n";
    BEGIN
    dial(&client, L_WSS, peer_tls);
    AWAIT(client.open);
    say(&client,
        "GET / HTTP/1.1\r\nHost: ours.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Origin: https://ours.test\r\nSec-WebSocket-Protocol: sip\r\n\r\n");
    AWAIT(has(&client, "\r\n\r\n"));
    assert_true(has(&client, "HTTP/1.1 101 "));
    client.in_n = 0;
    assert_int_equal(stream_send(client.stream, &(sv){hello, sizeof hello - 1}, 1), ERR_OK);
    AWAIT(client.in_n == 4);
    assert_memory_equal(client.in, "\x81\x02\r\n", 4);
    /* A message, masked with zeros. */
    static const char text[] = OPTIONS("WSS", "x.invalid", "");
    char head[8] = {(char)0x81, (char)0xfe, (char)((sizeof text - 1) >> 8),
                    (char)(sizeof text - 1)};
    sv pieces[] = {{head, 8}, {text, sizeof text - 1}};
    assert_int_equal(stream_send(client.stream, pieces, 2), ERR_OK);
    AWAIT(has(&client, "SIP/2.0 200 OK\r\nVia: SIP/2.0/WSS x.invalid"));
    assert_int_equal(last->flow.transport, SIP_T_WSS);
    assert_true(flow_secure(&last->flow));
    assert_true(tls_peer_is(last->peer, SV("peer.test")));
    assert_int_equal(stat_get(&at->stats, STAT_WEBSOCKETS), 1);
    stream_close(client.stream, false);
    client.stream = NULL;
    AWAIT(flows_gone == 1);
    END
}

static void a_websocket_comes_over_tls(void **state)
{
    (void)state;
    play(a_websocket_comes_over_tls_script, server_tls, 0);
}

/* ---- going out ---- */

static void the_name_decides_script(void)
{
    struct addr to = peer_listener->local;
    BEGIN
    send_to(&to, "peer.test", "one ");
    AWAIT(accepted_n == 1 && accepted[0].in_n == 4);
    assert_int_equal(sip_connections(s), 1);
    send_to(&to, "Peer.Test.", "two ");
    AWAIT(accepted[0].in_n == 8);
    assert_int_equal(accepted_n, 1);
    /* The same address in another name: its certificate does not show it. Nothing goes out on the
     * connection that is there (GHSA-8hcp-hm38-mfph). */
    send_to(&to, "other.test", "secret ");
    AWAIT(fails == 1);
    assert_int_equal(fail_why, ERR_AUTH);
    assert_int_equal(accepted_n, 2);
    assert_int_equal(accepted[1].in_n, 0);
    assert_int_equal(accepted[0].in_n, 8);
    /* In no name: the address itself must be shown, and it is not. */
    send_to(&to, NULL, "secret ");
    AWAIT(fails == 2);
    assert_int_equal(fail_why, ERR_AUTH);
    /* A stranger's certificate shows the name, but nobody vouches for him. */
    stream_close(accepted[0].stream, false);
    accepted[0].stream = NULL;
    AWAIT(sip_connections(s) == 0);
    peer_shows = stranger_tls;
    send_to(&to, "peer.test", "secret ");
    AWAIT(fails == 3);
    assert_int_equal(fail_why, ERR_AUTH);
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(accepted[i].in_n, 0);
    END
}

static void the_name_decides(void **state)
{
    (void)state;
    play(the_name_decides_script, server_tls, 0);
}

static void each_name_has_its_connection_script(void)
{
    struct addr to = peer_listener->local;
    struct flow f;
    BEGIN
    peer_shows = both_tls; /* both names at one address */
    send_to(&to, "peer.test", "one ");
    AWAIT(accepted_n == 1 && accepted[0].in_n == 4);
    send_to(&to, "other.test", "two ");
    AWAIT(accepted_n == 2 && accepted[1].in_n == 4);
    assert_int_equal(sip_connections(s), 2);
    send_to(&to, "peer.test", "three ");
    AWAIT(accepted[0].in_n == 10);
    send_to(&to, "other.test", "four ");
    AWAIT(accepted[1].in_n == 9);
    struct dest d = {.transport = SIP_T_TLS, .addr = to, .name = sip_name(s, SV("peer.test"))};
    assert_int_equal(sip_flow_for(s, &d, &f), ERR_OK);
    assert_int_not_equal(f.conn, 0);
    uint64_t first = f.conn;
    d.name = sip_name(s, SV("other.test"));
    assert_int_equal(sip_flow_for(s, &d, &f), ERR_OK);
    assert_int_not_equal(f.conn, first);
    d.name = 0;
    assert_int_equal(sip_flow_for(s, &d, &f), ERR_OK);
    assert_int_equal(f.conn, 0);
    assert_int_equal(fails, 0);
    END
}

static void each_name_has_its_connection(void **state)
{
    (void)state;
    play(each_name_has_its_connection_script, server_tls, 0);
}

static void a_forgotten_name_is_nobodys_script(void)
{
    struct addr to = peer_listener->local;
    BEGIN;
    struct dest d = {.transport = SIP_T_TLS, .addr = to, .name = sip_name(s, SV("peer.test"))};
    for (unsigned i = 0; i < SIP_NAMES; i++) {
        char text[32];
        int n = snprintf(text, sizeof text, "host%u.test", i);
        assert_int_not_equal(sip_name(s, (sv){text, (size_t)n}), d.name);
    }
    struct block *b = sip_block(s, 1);
    assert_int_equal(sip_send(s, &d, b, NULL), ERR_UNREACHABLE);
    block_unref(b);
    assert_int_equal(sip_connections(s), 0);
    END;
}

static void a_forgotten_name_is_nobodys(void **state)
{
    (void)state;
    play(a_forgotten_name_is_nobodys_script, server_tls, 0);
}

static void an_address_proves_itself_script(void)
{
    struct addr to = loopback(port_of(L_TLS));
    BEGIN
    send_to(&to, NULL, OPTIONS("TLS", "127.0.0.1", "")); /* to ourselves: ours.test and 127.0.0.1 */
    AWAIT(requests == 1);
    assert_true(tls_peer_is(last->peer, SV("ours.test")));
    assert_int_equal(fails, 0);
    END
}

static void an_address_proves_itself(void **state)
{
    (void)state;
    play(an_address_proves_itself_script, server_tls, 0);
}

/* ---- aliases (RFC 5923) ---- */

enum { ALIAS_PORT = 5099 };

/* Where a request to the client would go: his connection, or a new one (0). */
static uint64_t way_to(uint16_t port, const char *name)
{
    struct dest d = {.transport = SIP_T_TLS,
                     .addr = loopback(port),
                     .name = name ? sip_name(s, sv_of(name)) : 0};
    struct flow f;
    assert_int_equal(sip_flow_for(s, &d, &f), ERR_OK);
    return f.conn;
}

static void an_alias_is_used_backwards_script(void)
{
    struct addr back = loopback(ALIAS_PORT);
    BEGIN
    dial(&client, L_TLS, peer_tls);
    AWAIT(client.open);
    assert_int_equal(way_to(ALIAS_PORT, "peer.test"), 0);
    say(&client, OPTIONS("TLS", "peer.test:5099", ";alias"));
    AWAIT(has(&client, "SIP/2.0 200 OK\r\n"));
    assert_int_equal(way_to(ALIAS_PORT, "peer.test"), last->flow.conn);
    /* Another name, another port, the port it came from, no name: not this one. */
    assert_int_equal(way_to(ALIAS_PORT, "other.test"), 0);
    assert_int_equal(way_to(ALIAS_PORT + 1, "peer.test"), 0);
    assert_int_equal(way_to(last->flow.remote.port, "peer.test"), 0);
    assert_int_equal(way_to(ALIAS_PORT, NULL), 0);
    client.in_n = 0;
    send_to(&back, "peer.test", "back ");
    AWAIT(client.in_n == 5);
    assert_int_equal(sip_connections(s), 1);
    stream_close(client.stream, false);
    client.stream = NULL;
    AWAIT(fails == 1);
    assert_int_equal(way_to(ALIAS_PORT, "peer.test"), 0);
    END
}

static void an_alias_is_used_backwards(void **state)
{
    (void)state;
    play(an_alias_is_used_backwards_script, server_tls, 0);
}

static void an_alias_without_a_port_is_5061_script(void)
{
    BEGIN
    dial(&client, L_TLS, peer_tls);
    AWAIT(client.open);
    say(&client, OPTIONS("TLS", "peer.test", ";alias"));
    AWAIT(requests == 1);
    assert_int_equal(way_to(5061, "peer.test"), last->flow.conn);
    END
}

static void an_alias_without_a_port_is_5061(void **state)
{
    (void)state;
    play(an_alias_without_a_port_is_5061_script, server_tls, 0);
}

static struct tls *alias_client;
static const char *alias_request;
static void no_alias_script(void)
{
    BEGIN
    dial(&client, L_TLS, alias_client);
    AWAIT(client.open || client.closed);
    if (client.stream) /* whom nobody vouches for may be gone already */
        say(&client, alias_request);
    AWAIT(requests == 1 || client.closed);
    assert_int_equal(way_to(ALIAS_PORT, "peer.test"), 0);
    assert_int_equal(way_to(client.stream ? last->flow.remote.port : 1, "peer.test"), 0);
    END
}

static void who_proves_nothing_is_no_alias(void **state)
{
    (void)state;
    alias_request = OPTIONS("TLS", "peer.test:5099", ";alias");
    alias_client = bare_tls; /* no certificate: as if the parameter were not there (§9.2) */
    play(no_alias_script, server_tls, 0);
    alias_client = stranger_tls; /* one that nobody vouches for */
    play(no_alias_script, server_tls, 0);
    alias_client = peer_tls; /* did not ask for it */
    alias_request = OPTIONS("TLS", "peer.test:5099", "");
    play(no_alias_script, server_tls, 0);
}

/* ---- answers whose connection is gone ---- */

static void answers_follow_only_a_proved_name_script(void)
{
    struct dest d;
    BEGIN
    dial(&client, L_TLS, peer_tls);
    AWAIT(client.open);
    say(&client, OPTIONS("TLS", "peer.test:5099", ""));
    AWAIT(requests == 1);
    d = sip_response_dest(last);
    assert_true(d.or_connect);
    assert_int_equal(d.addr.port, 5099);
    assert_int_equal(d.name, sip_name(s, SV("peer.test")));
    say(&client, OPTIONS("TLS", "other.test", ";x"));
    AWAIT(requests == 2);
    d = sip_response_dest(last);
    assert_int_equal(d.addr.port, 5061);
    assert_int_equal(d.name, 0); /* the address would have to prove itself */
    END
}

static void answers_follow_only_a_proved_name(void **state)
{
    (void)state;
    play(answers_follow_only_a_proved_name_script, server_tls, 0);
}

static void via_offers_an_alias_script(void)
{
    char mem[256];
    struct buf b;
    struct flow f;
    sv branch;
    BEGIN
    dial(&client, L_TLS, bare_tls);
    AWAIT(client.open);
    say(&client, OPTIONS("TLS", "peer.test:5099", ""));
    AWAIT(requests == 1);
    buf_init(&b, mem, sizeof mem);
    sip_put_via(s, &b, &last->flow, 7, SV_NONE, &branch);
    assert_true(sv_starts(buf_sv(&b), SV("SIP/2.0/TLS 127.0.0.1:")));
    assert_false(sv_ends(buf_sv(&b), SV(";alias")));
    struct dest d = {.transport = SIP_T_TLS, .addr = loopback(9)};
    assert_int_equal(sip_flow_for(s, &d, &f), ERR_OK);
    buf_reset(&b);
    sip_put_via(s, &b, &f, 7, SV_NONE, &branch);
    assert_true(sv_ends(buf_sv(&b), SV(";alias")));
    assert_true(sv_starts(branch, SV("z9hG4bK")));
    END
}

static void via_offers_an_alias(void **state)
{
    (void)state;
    play(via_offers_an_alias_script, server_tls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_comes_over_tls),
        cmocka_unit_test(a_client_with_a_certificate_is_known),
        cmocka_unit_test(before_certificates_nothing_is_accepted),
        cmocka_unit_test(new_certificates_drop_nobody),
        cmocka_unit_test(handshakes_have_a_deadline),
        cmocka_unit_test(a_websocket_comes_over_tls),
        cmocka_unit_test(the_name_decides),
        cmocka_unit_test(each_name_has_its_connection),
        cmocka_unit_test(a_forgotten_name_is_nobodys),
        cmocka_unit_test(an_address_proves_itself),
        cmocka_unit_test(an_alias_is_used_backwards),
        cmocka_unit_test(an_alias_without_a_port_is_5061),
        cmocka_unit_test(who_proves_nothing_is_no_alias),
        cmocka_unit_test(answers_follow_only_a_proved_name),
        cmocka_unit_test(via_offers_an_alias),
    };
    return crypto_start() ? 1 : cmocka_run_group_tests(tests, make_all, free_all);
}
