/* SPDX-License-Identifier: MIT */
/* TLS streams over the loopback, on real loops. Who misbehaves is made of OpenSSL itself, over a
 * plain stream: struct raw. */
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

static void leave_hard(struct end *e)
{
    stream_close(e->s, false);
    e->s = NULL;
}

static void leave_and_stop(struct end *e)
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

static struct tls_pair leaf_pair, other_pair;

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
    net_setup(1);
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

/* ---- the ordinary ---- */

static void opens_carries_and_ends(void **state)
{
    (void)state;
    start();
    client.when_open = leave;
    dial();
    /* sent before it is open: queued */
    assert_int_equal(stream_send(client.s, (sv[]){SV("hel"), SV(""), SV("lo")}, 3), ERR_OK);
    assert_int_equal(client.s->queued, 5);
    net_run();
    assert_int_equal(client.opened, 1);
    assert_int_equal(server.opened, 1);
    assert_heard(&server, "hello");
    assert_int_equal(server.why, ERR_OK);
    assert_int_equal(client.closed, 0); /* closed by its user: not told */
    assert_int_equal(stat(STAT_TLS_HANDSHAKES), 2);
    assert_int_equal(stat(STAT_TLS_FAILURES), 0);
    assert_int_equal(stat(STAT_TLS_RESUMED), 0);
    end();
}

static void send_and_leave_before_it_is_open(void **state)
{
    (void)state;
    start();
    dial();
    say(&client, SV("goodbye"));
    leave(&client);
    net_run();
    assert_int_equal(client.opened, 0);
    assert_heard(&server, "goodbye");
    assert_int_equal(server.why, ERR_OK);
    end();
}

static void echo(struct end *e, sv s)
{
    say(e, s);
}

static void leave_after_hello(struct end *e, sv s)
{
    (void)s;
    if (e->heard.n == 5)
        leave(e);
}

static void greet(struct end *e)
{
    assert_true(tls_peer_is(e->s->tls_peer, SV("example.test")));
    assert_false(tls_peer_is(e->s->tls_peer, SV("other.test")));
    assert_true(e->s->local.port != 0);
    say(e, SV("hello"));
}

/* A snapshot may go while connections stand on it, and both sides see who the other is. */
static void connections_outlive_their_snapshot(void **state)
{
    (void)state;
    start();
    client.when_open = greet;
    client.when_data = leave_after_hello;
    server.when_data = echo;
    dial();
    tls_unref(client_tls);
    client_tls = NULL;
    net_run();
    assert_heard(&client, "hello");
    assert_int_equal(server.why, ERR_OK);
    end();
}

static void versions(void **state)
{
    (void)state;
    for (int only_13 = 0; only_13 < 2; only_13++) {
        struct tls_config s = server_config(), c = client_config();
        s.only_13 = only_13;
        start_with(&s, &c);
        client.when_open = leave;
        dial();
        net_run();
        assert_int_equal(server.opened, 1);
        end();
    }
}

/* ---- much, and slow readers ---- */

enum { MUCH = 4 * 1024 * 1024, PIECE = 50000 };
static char pattern[PIECE];
static size_t much_sent;

static void send_much(struct end *e)
{
    while (much_sent < MUCH) {
        /* unequal pieces, over and under a record */
        sv pieces[] = {{pattern, 1}, {pattern + 1, 40000}, {pattern + 40001, PIECE - 40001}};
        enum err rc = stream_send(e->s, pieces, 3);
        assert_true(e->s->queued <= e->s->queue_max);
        if (rc == ERR_TOOBIG)
            return;
        assert_int_equal(rc, ERR_OK);
        much_sent += PIECE;
    }
    leave(e);
}

static void queue_is_bounded_and_drains(void **state)
{
    (void)state;
    start();
    much_sent = 0;
    client.when_open = client.when_drained = send_much;
    dial();
    net_run();
    assert_true(much_sent >= MUCH);
    assert_int_equal(server.got, much_sent); /* the close waited for the queue */
    for (size_t i = 0; i < server.heard.n; i += PIECE)
        assert_memory_equal(server.heard.p + i, pattern, PIECE);
    assert_true(client.drained > 0);
    assert_int_equal(server.why, ERR_OK);
    end();
}

static void over_the_queue_nothing_is_written(void **state)
{
    (void)state;
    start();
    client.when_open = leave;
    dial();
    client.s->queue_max = 100;
    assert_int_equal(stream_send(client.s, &SV("12345"), 1), ERR_OK);
    assert_int_equal(stream_send(client.s, (sv[]){SV("678"), {pattern, 90}}, 2), ERR_TOOBIG);
    assert_int_equal(stream_send(client.s, (sv[]){{pattern, SIZE_MAX - 2}, SV("678")}, 2),
                     ERR_TOOBIG);
    assert_int_equal(client.s->queued, 5);
    assert_int_equal(at->stats.refusals[STAT_LIMIT_WRITE_QUEUE], 2);
    net_run();
    assert_heard(&server, "12345");
    end();
}

static void send_many(struct end *e)
{
    for (unsigned i = 0; i < 2000; i++)
        say(e, (sv){pattern + i, 1 + i % 7});
    leave(e);
}

static void many_small_writes(void **state)
{
    size_t n = 0;
    (void)state;
    start();
    client.when_open = send_many;
    dial();
    net_run();
    for (unsigned i = 0; i < 2000; i++) {
        assert_memory_equal(server.heard.p + n, pattern + i, 1 + i % 7);
        n += 1 + i % 7;
    }
    assert_int_equal(server.heard.n, n);
    end();
}

static struct timer later;
static size_t paused_n;

static void on_resume(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    paused_n = server.got;
    stream_pause(server.s, false);
    assert_int_equal(server.got, paused_n); /* not from inside the call */
}

static void pause_for_a_while(struct end *e)
{
    stream_pause(e->s, true);
    loop_timer(at, &later, 30 * USEC_MS);
}

static void pause_in_data(struct end *e, sv s)
{
    (void)s;
    if (e->got < 40000) {
        stream_pause(e->s, true);
        if (!timer_armed(&later))
            loop_timer(at, &later, 5 * USEC_MS);
    }
}

static void say_some_and_leave(struct end *e)
{
    say(e, (sv){pattern, PIECE});
    leave(e);
}

static void paused_stream_reads_later(void **state)
{
    (void)state;
    start();
    timer_init(&later, on_resume, NULL);
    server.when_open = pause_for_a_while;
    client.when_open = say_some_and_leave;
    paused_n = 99;
    dial();
    net_run();
    assert_int_equal(paused_n, 0);
    assert_int_equal(server.got, PIECE);
    assert_int_equal(server.why, ERR_OK);
    end();
}

static void on_resume_again(struct timer *t, void *arg)
{
    (void)arg;
    assert_int_equal(server.got, paused_n + 16384); /* a record, then it was paused */
    paused_n = server.got;
    stream_pause(server.s, false);
    if (server.got < 40000 - 16384)
        loop_timer(at, t, 5 * USEC_MS);
}

static void pausing_between_records(void **state)
{
    (void)state;
    start();
    timer_init(&later, on_resume_again, NULL);
    paused_n = 0;
    server.when_data = pause_in_data;
    client.when_open = say_some_and_leave;
    dial();
    net_run();
    assert_int_equal(paused_n, 32768);
    assert_int_equal(server.got, PIECE);
    assert_memory_equal(server.heard.p, pattern, PIECE);
    assert_int_equal(server.why, ERR_OK);
    end();
}

/* ---- closing wherever one is ---- */

static void leave_in_data(struct end *e, sv s)
{
    (void)s;
    leave(e);
}

static void leave_hard_in_data(struct end *e, sv s)
{
    (void)s;
    leave_hard(e);
}

static void greet_twice(struct end *e)
{
    sv much = {pattern, 20000}; /* two records, and another; the other may have gone already */
    enum err rc = stream_send(e->s, &much, 1);
    assert_true(rc == ERR_OK || rc == ERR_CLOSED);
    rc = stream_send(e->s, &SV("again"), 1);
    assert_true(rc == ERR_OK || rc == ERR_CLOSED);
}

static void closing_in_every_callback(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct end *closes = i & 1 ? &client : &server, *hears = i & 1 ? &server : &client;
        start();
        hears->when_open = greet_twice;
        if (i & 2)
            closes->when_open = i & 4 ? leave_hard : leave;
        else
            closes->when_data = i & 4 ? leave_hard_in_data : leave_in_data;
        dial();
        net_run();
        assert_int_equal(closes->closed, 0);
        assert_int_equal(hears->closed, 1);
        assert_true(closes->got <= 16384); /* nothing after the close */
        end();
    }
}

static void closing_in_drain(void **state)
{
    (void)state;
    start();
    much_sent = 0;
    client.when_open = send_much;
    client.when_drained = leave;
    dial();
    net_run();
    assert_int_equal(server.got, much_sent);
    assert_int_equal(server.why, ERR_OK);
    end();
}

static void close_the_other(struct end *e)
{
    leave_hard(e == &client ? &server : &client);
    stop_after = 0;
    leave_hard(e);
    net_stop();
}

static void closing_both_from_one(void **state)
{
    (void)state;
    start();
    server.when_open = close_the_other;
    dial();
    net_run();
    assert_int_equal(client.closed + server.closed, 0);
    end();
}

/* ---- who is it ---- */

static void names(void **state)
{
    static const struct {
        const char *name;
        bool verify, ok;
    } row[] = {{"example.test", true, true},      {"EXAMPLE.test.", true, true},
               {"127.0.0.1", true, true},         {"127.0.0.2", true, false},
               {"other.test", true, false},       {"sub.example.test", true, false},
               {"other.test", false, true},       {"", false, true},
               {"example.test.evil", true, false}};
    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        start();
        stop_after = row[i].ok ? 1 : 2;
        client.when_open = leave;
        dial_as(row[i].name, row[i].verify);
        net_run();
        assert_int_equal(client.opened, row[i].ok);
        if (!row[i].ok) {
            assert_int_equal(client.why, ERR_AUTH);
            assert_int_equal(server.why, ERR_REFUSED); /* it got an alert */
            assert_true(stat(STAT_TLS_FAILURES) >= 1);
        }
        end();
    }
}

static void a_name_is_needed_to_verify(void **state)
{
    (void)state;
    start();
    assert_int_equal(
        tls_connect(client_tls, at, NULL, &at_server, SV_NONE, true, &handler, &client, &client.s),
        ERR_STATE);
    end();
}

static void unverified_peers_prove_nothing(struct end *e)
{
    const struct tls_peer *p = e->s->tls_peer;
    assert_false(p->verified);
    assert_int_equal(p->dns_n, 1);
    assert_true(sv_eq(p->dns[0], SV("example.test")));
    assert_false(tls_peer_is(p, SV("example.test")));
    leave(e);
}

static void who_is_not_verified_is_nobody(void **state)
{
    (void)state;
    start();
    client.when_open = unverified_peers_prove_nothing;
    dial_as("example.test", false);
    net_run();
    assert_int_equal(client.opened, 1);
    end();
}

static void chains_that_do_not_hold(void **state)
{
    const struct pem *bad[] = {&old, &stranger};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct tls_config s = server_config(), c = client_config();
        leaf_pair = pem_pair(bad[i]);
        start_with(&s, &c);
        stop_after = 2;
        dial();
        net_run();
        assert_int_equal(client.why, ERR_AUTH);
        assert_int_equal(server.why, ERR_REFUSED);
        end();
    }
}

static bool opens_with(const struct pem *served, const struct pem *trusted)
{
    struct tls_config s = server_config(), c = client_config();
    leaf_pair = pem_pair(served);
    c.ca = buf_sv(&trusted->cert);
    start_with(&s, &c);
    stop_after = 2;
    client.when_open = leave_and_stop;
    dial();
    net_run();
    bool opened = client.opened;
    if (!opened)
        assert_int_equal(client.why, ERR_AUTH);
    end();
    return opened;
}

/* Signs itself, for example.test and this use. */
static void pem_for_use(struct pem *p, const char *use)
{
    const struct {
        int nid;
        const char *value;
    } ext[] = {{NID_subject_alt_name, "DNS:example.test"}, {NID_ext_key_usage, use}};
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509V3_CTX ctx;
    char *text;
    X509_set_version(x, X509_VERSION_3);
    X509_set_pubkey(x, key);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    for (size_t i = 0; i < 2; i++) {
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, ext[i].nid, ext[i].value);
        assert_int_equal(X509_add_ext(x, e, -1), 1);
        X509_EXTENSION_free(e);
    }
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    BIO *b = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(b, x);
    PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL);
    long n = BIO_get_mem_data(b, &text);
    buf_init_heap(&p->cert, PEM_MAX);
    buf_mem(&p->cert, text, (size_t)n);
    buf_init_heap(&p->key, PEM_MAX);
    buf_mem(&p->key, text, (size_t)n);
    BIO_free(b);
    X509_free(x);
    EVP_PKEY_free(key);
}

/* RFC 5922 §7.1 */
static void the_use_of_a_certificate_is_heeded(void **state)
{
    static const struct {
        const char *use;
        bool ok;
    } row[] = {{"serverAuth", true}, {"1.3.6.1.5.5.7.3.20", true}, {"clientAuth", false}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct pem p;
        pem_for_use(&p, row[i].use);
        assert_int_equal(opens_with(&p, &p), row[i].ok);
        pem_done(&p);
    }
}

static void what_is_in_ca_is_trusted_as_it_stands(void **state)
{
    (void)state;
    assert_true(opens_with(&leaf, &leaf));
    assert_false(opens_with(&leaf, &stranger));
}

static void our_own_authority_is_trusted_besides(void **state)
{
    struct tls_config s = server_config(), c = client_config();
    (void)state;
    c.ca = buf_sv(&foreign.cert);
    c.ca_own = buf_sv(&authority.cert);
    start_with(&s, &c);
    client.when_open = leave;
    dial();
    net_run();
    assert_int_equal(client.opened, 1);
    end();
}

static void sni_chooses_the_certificate(void **state)
{
    static const char *const name[] = {"other.test", "example.test"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct tls_config s = server_config(), c = client_config();
        struct tls_pair pairs[] = {pem_pair(&leaf), pem_pair(&other)};
        s.pairs = pairs;
        s.n = 2;
        start_with(&s, &c);
        client.when_open = leave;
        dial_as(name[i], true);
        net_run();
        assert_int_equal(client.opened, 1);
        end();
    }
}

static bool server_knows;

static void who_is_the_client(struct end *e)
{
    const struct tls_peer *p = e->s->tls_peer;
    server_knows = p->verified;
    assert_int_equal(tls_peer_is(p, SV("other.test")), server_knows);
    if (server_knows) {
        assert_true(sv_eq(p->sip_uris[0], SV("sip:other.test")));
        assert_int_equal(p->ips_n, 1);
    }
    leave(e);
}

static void certificates_of_clients(void **state)
{
    static const struct {
        enum tls_clients clients;
        const struct pem *shown;
        enum err why;
    } row[] = {
        {TLS_CLIENTS_NONE, &other, ERR_OK},     {TLS_CLIENTS_OPTIONAL, NULL, ERR_OK},
        {TLS_CLIENTS_OPTIONAL, &other, ERR_OK}, {TLS_CLIENTS_OPTIONAL, &stranger, ERR_AUTH},
        {TLS_CLIENTS_OPTIONAL, &old, ERR_AUTH}, {TLS_CLIENTS_REQUIRED, NULL, ERR_AUTH},
        {TLS_CLIENTS_REQUIRED, &other, ERR_OK}, {TLS_CLIENTS_REQUIRED, &stranger, ERR_AUTH},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct tls_config s = server_config(), c = client_config();
        s.clients = row[i].clients;
        if (row[i].shown) {
            other_pair = pem_pair(row[i].shown);
            c.pairs = &other_pair;
            c.n = 1;
        }
        start_with(&s, &c);
        server_knows = false;
        stop_after = row[i].why ? 2 : 1;
        server.when_open = who_is_the_client;
        dial();
        net_run();
        if (row[i].why) {
            assert_int_equal(server.why, row[i].why);
            assert_int_equal(client.why, ERR_REFUSED);
            assert_int_equal(server.opened, 0);
        } else {
            assert_int_equal(client.why, ERR_OK);
            assert_int_equal(server_knows,
                             row[i].shown == &other && row[i].clients != TLS_CLIENTS_NONE);
        }
        end();
    }
}

/* ---- peers that are not as they should be ---- */

/* A peer over a plain stream: it sends what the test says, or is OpenSSL with strange wishes. */
struct raw {
    struct stream *s;
    SSL_CTX *ctx;
    SSL *ssl;
    unsigned shaken, closed;
    bool stops;   /* the test, when it is closed */
    int stops_at; /* or when OpenSSL says this */
    enum err why;
    char said[64];
    void (*when_shaken)(struct raw *r);
};
static struct raw raw;

static void raw_flush(struct raw *r)
{
    char *p;
    long n = BIO_get_mem_data(SSL_get_wbio(r->ssl), &p);
    if (n > 0 && r->s)
        (void)!stream_send(r->s, &(sv){p, (size_t)n}, 1);
    (void)BIO_reset(SSL_get_wbio(r->ssl));
}

static void raw_step(struct raw *r)
{
    size_t n;
    if (!r->shaken && SSL_do_handshake(r->ssl) == 1) {
        r->shaken = 1;
        if (r->when_shaken)
            r->when_shaken(r);
    }
    if (r->shaken && SSL_read_ex(r->ssl, r->said, sizeof(r->said) - 1, &n) == 1)
        r->said[n] = '\0';
    raw_flush(r);
    if (r->stops_at && ERR_GET_REASON(ERR_peek_error()) == r->stops_at)
        net_stop();
    ERR_clear_error();
}

static void on_raw_open(void *arg)
{
    struct raw *r = arg;
    if (r->ssl)
        raw_step(r);
}

static void on_raw_data(void *arg, sv s)
{
    struct raw *r = arg;
    if (!r->ssl)
        return;
    assert_int_equal(BIO_write(SSL_get_rbio(r->ssl), s.p, (int)s.n), (int)s.n);
    raw_step(r);
}

static void on_raw_close(void *arg, enum err why)
{
    struct raw *r = arg;
    r->closed++;
    r->why = why;
    r->s = NULL;
    if (r->stops)
        net_stop();
}

static const struct stream_handler raw_handler = {
    .on_open = on_raw_open, .on_data = on_raw_data, .on_close = on_raw_close};

static void raw_dial(void)
{
    raw.closed = raw.shaken = 0;
    memset(raw.said, 0, sizeof(raw.said));
    assert_int_equal(stream_connect(at, NULL, &at_server, &raw_handler, &raw, &raw.s), ERR_OK);
}

static void raw_ssl(int version, SSL_SESSION *session)
{
    memset(&raw, 0, sizeof(raw));
    raw.ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(raw.ctx, 0);
    SSL_CTX_set_min_proto_version(raw.ctx, version);
    SSL_CTX_set_max_proto_version(raw.ctx, version);
    raw.ssl = SSL_new(raw.ctx);
    SSL_set_bio(raw.ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(raw.ssl);
    if (session)
        SSL_set_session(raw.ssl, session);
    raw_dial();
}

static void raw_end(void)
{
    stream_close(raw.s, false);
    SSL_free(raw.ssl);
    SSL_CTX_free(raw.ctx);
    memset(&raw, 0, sizeof(raw));
    ERR_clear_error();
}

static void what_is_no_tls(void **state)
{
    static const sv said[] = {
        {"OPTIONS sip:example.test SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1\r\n\r\n", 61},
        {"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n", 38},
        {"\x16\x03\x01\x00\x05hello", 10},
        {"\x16\x03\x01\xff\xffhello", 10},
        {"\x17\x03\x03\x00\x05hello", 10},
        {"\x16\x02\x00\x00\x05hello", 10},
        {"\x15\x03\x03\x00\x02\x02\x28", 7}, /* an alert, to begin with */
        {"\x14\x03\x03\x00\x01\x01\x16\x03\x01\x00\x01\x01", 12},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        start();
        memset(&raw, 0, sizeof(raw));
        raw_dial();
        assert_int_equal(stream_send(raw.s, &said[i], 1), ERR_OK);
        net_run();
        assert_int_equal(server.opened, 0);
        assert_int_equal(server.why, ERR_CORRUPT);
        assert_int_equal(stat(STAT_TLS_FAILURES), 1);
        raw_end();
        end();
    }
}

static void on_deadline(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    assert_int_equal(server.closed, 0);
    stream_close(server.s, false);
    server.s = NULL;
    net_stop();
}

static void on_give_up(struct timer *t, void *arg)
{
    (void)t;
    (void)arg;
    net_stop();
}

/* Nothing comes after some of the first record: the caller's deadline ends it. */
static void half_a_handshake_and_silence(void **state)
{
    static const sv said[] = {
        {"", 0}, {"\x16", 1}, {"\x16\x03\x01\x02", 4}, {"\x16\x03\x01\x02\x00\x01", 6}};
    (void)state;
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        start();
        memset(&raw, 0, sizeof(raw));
        raw_dial();
        assert_int_equal(stream_send(raw.s, &said[i], 1), ERR_OK);
        timer_init(&later, on_deadline, NULL);
        loop_timer(at, &later, 20 * USEC_MS);
        net_run();
        assert_int_equal(server.opened, 0);
        raw_end();
        end();
    }
}

static void old_versions_are_refused(void **state)
{
    static const int version[] = {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct tls_config s = server_config(), c = client_config();
        s.only_13 = version[i] == TLS1_2_VERSION;
        start_with(&s, &c);
        raw_ssl(version[i], NULL);
        net_run();
        assert_int_equal(raw.shaken, 0);
        assert_int_equal(server.why, ERR_CORRUPT);
        raw_end();
        end();
    }
}

static void raw_says_bye_and_more(struct raw *r)
{
    SSL_write(r->ssl, "before", 6);
    SSL_shutdown(r->ssl);
    raw_flush(r);
    (void)!stream_send(r->s, &SV("\x17\x03\x03\x00\x20whatever follows is not looked at.."), 1);
}

static void what_follows_close_notify_is_dropped(void **state)
{
    (void)state;
    start();
    raw_ssl(TLS1_3_VERSION, NULL);
    raw.when_shaken = raw_says_bye_and_more;
    net_run();
    assert_heard(&server, "before");
    assert_int_equal(server.why, ERR_OK);
    raw_end();
    end();
}

static void raw_is_cut(struct raw *r)
{
    SSL_write(r->ssl, "before", 6);
    raw_flush(r);
    stream_close(r->s, true);
    r->s = NULL;
}

static void an_end_without_goodbye_is_no_end(void **state)
{
    static const int version[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    (void)state;
    for (int i = 0; i < 2; i++) {
        start();
        raw_ssl(version[i], NULL);
        raw.when_shaken = raw_is_cut;
        net_run();
        assert_heard(&server, "before");
        assert_int_equal(server.why, ERR_CLOSED);
        raw_end();
        end();
    }
}

static unsigned key_updates;

static void raw_updates_keys(struct raw *r)
{
    for (unsigned i = 0; i < key_updates; i++) {
        SSL_key_update(r->ssl, SSL_KEY_UPDATE_REQUESTED);
        SSL_do_handshake(r->ssl);
    }
    SSL_write(r->ssl, "done", 4);
    SSL_shutdown(r->ssl);
}

static void key_updates_are_few(void **state)
{
    (void)state;
    for (int flood = 0; flood < 2; flood++) {
        start();
        key_updates = flood ? 1000 : 20;
        server.when_data = echo;
        raw_ssl(TLS1_3_VERSION, NULL);
        raw.when_shaken = raw_updates_keys;
        net_run();
        assert_int_equal(server.why, flood ? ERR_CORRUPT : ERR_OK);
        assert_heard(&server, flood ? "" : "done");
        raw_end();
        end();
    }
}

static void raw_renegotiates(struct raw *r)
{
    r->stops_at = SSL_R_NO_RENEGOTIATION;
    assert_int_equal(SSL_renegotiate(r->ssl), 1);
    SSL_do_handshake(r->ssl);
}

/* A client that wants to renegotiate is told no, and nothing else happens. */
static void no_renegotiation(void **state)
{
    (void)state;
    start();
    raw_ssl(TLS1_2_VERSION, NULL);
    raw.when_shaken = raw_renegotiates;
    net_run();
    assert_int_equal(server.opened, 1);
    assert_int_equal(stat(STAT_TLS_HANDSHAKES), 1);
    raw_end();
    end();
}

static void alpn(void **state)
{
    static const struct {
        sv offered;
        const char *chosen;
    } row[] = {
        {SV("\5sip/2\10http/1.1"), "http/1.1"},
        {SV("\2h2\5sip/2"), "sip/2"},
        {SV("\2h2"), ""},
        {SV("\10sip/2xxx\5sip/2"), "sip/2"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        const unsigned char *p;
        unsigned n;
        start();
        raw_ssl(TLS1_3_VERSION, NULL);
        SSL_set_alpn_protos(raw.ssl, (const unsigned char *)row[i].offered.p,
                            (unsigned)row[i].offered.n);
        raw.when_shaken = raw_says_bye_and_more;
        net_run();
        assert_int_equal(server.opened, 1);
        SSL_get0_alpn_selected(raw.ssl, &p, &n);
        assert_true(sv_eq((sv){(const char *)p, n}, sv_of(row[i].chosen)));
        raw_end();
        end();
    }
}

/* ---- tickets ---- */

static void raw_waits(struct raw *r)
{
    SSL_write(r->ssl, "hello", 5);
}

static void say_bye_to(struct end *e, sv s)
{
    (void)s;
    say(e, SV("welcome"));
    leave(e);
}

/* One connection to a server of this kind; returns whether the session was resumed. */
static bool visit(int version, const struct tls_config *s, SSL_SESSION **session)
{
    struct tls_config c = client_config();
    start_with(s, &c);
    server.when_data = say_bye_to;
    raw_ssl(version, *session);
    raw.when_shaken = raw_waits;
    raw.stops = true;
    net_run();
    assert_string_equal(raw.said, "welcome");
    assert_int_equal(server.opened, 1);
    bool resumed = stat(STAT_TLS_RESUMED) == 1;
    assert_int_equal(resumed, SSL_session_reused(raw.ssl));
    if (!*session)
        *session = SSL_get1_session(raw.ssl);
    SSL_set_shutdown(raw.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    raw_end();
    end();
    return resumed;
}

static void tickets_outlive_a_snapshot(void **state)
{
    static const int version[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct tls_config s = server_config();
        SSL_SESSION *session = NULL;
        assert_false(visit(version[i], &s, &session));
        assert_true(visit(version[i], &s, &session));
        s.ca_own = buf_sv(&foreign.cert); /* other trust: what was verified then is of no use */
        assert_false(visit(version[i], &s, &session));
        s.ca_own = SV_NONE;
        s.ticket_key[20] ^= 1;
        assert_false(visit(version[i], &s, &session));
        SSL_SESSION_free(session);
    }
}

/* ---- turns ---- */

enum { CROWD = 30 };
static struct end crowd[CROWD], dialer[CROWD];
static struct raw raws[CROWD];
static unsigned crowd_n, flights, flights_in_turn, most_in_turn;
static usec turn_of_flight;

static void note_flight(int write, int version, int type, const void *p, size_t n, SSL *ssl,
                        void *arg)
{
    tls_stream_message(write, version, type, p, n, ssl, arg);
    if (!write || type != SSL3_RT_HANDSHAKE || *(const uint8_t *)p != SSL3_MT_SERVER_HELLO)
        return;
    if (turn_of_flight != loop_now(at))
        flights_in_turn = 0;
    turn_of_flight = loop_now(at);
    flights++;
    if (++flights_in_turn > most_in_turn)
        most_in_turn = flights_in_turn;
}

static unsigned left;

static void leave_the_crowd(struct end *e)
{
    leave(e);
    if (++left == CROWD)
        net_stop();
}

static void on_crowd_accept(void *arg, struct stream *lower)
{
    struct end *e = &crowd[crowd_n++];
    (void)arg;
    assert_int_equal(tls_accept(server_tls, lower, &handler, e, &e->s), ERR_OK);
}

static const struct listener_handler crowd_accepting = {on_crowd_accept};

static void crowd_start(void)
{
    start();
    listener_close(listener);
    struct addr any = net_addr("127.0.0.1:0");
    assert_int_equal(stream_listen(at, &any, &crowd_accepting, NULL, &listener), ERR_OK);
    at_server = listener->local;
    memset(crowd, 0, sizeof(crowd));
    memset(dialer, 0, sizeof(dialer));
    memset(raws, 0, sizeof(raws));
    stop_after = 0;
    left = crowd_n = flights = flights_in_turn = most_in_turn = 0;
}

static void crowd_end(void)
{
    for (int i = 0; i < CROWD; i++) {
        stream_close(raws[i].s, false);
        SSL_free(raws[i].ssl);
        stream_close(dialer[i].s, false);
        stream_close(crowd[i].s, false);
    }
    ERR_clear_error();
    end();
}

/* Thirty ClientHellos at once: each turn answers one. The clients are cheap, so that they are not
 * what spreads them. */
static void a_turn_does_one_expensive_step(void **state)
{
    (void)state;
    crowd_start();
    SSL_CTX_set_msg_callback(server_tls->pair[0].ctx, note_flight);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    for (int i = 0; i < CROWD; i++) {
        raws[i].ssl = SSL_new(ctx);
        SSL_set_bio(raws[i].ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
        SSL_set_connect_state(raws[i].ssl);
        assert_int_equal(stream_connect(at, NULL, &at_server, &raw_handler, &raws[i], &raws[i].s),
                         ERR_OK);
    }
    timer_init(&later, on_give_up, NULL);
    loop_timer(at, &later, 20 * USEC_S);
    for (int i = 0; i < CROWD; i++)
        crowd[i].when_open = leave_the_crowd;
    net_run();
    loop_timer_cancel(at, &later);
    assert_int_equal(flights, CROWD);
    assert_int_equal(most_in_turn, TLS_HANDSHAKES_TURN);
    SSL_CTX_free(ctx);
    crowd_end();
}

/* Whoever stands in line can leave it. */
static void close_all_that_wait(struct end *first)
{
    (void)first;
    for (unsigned i = 0; i < crowd_n; i++)
        if (crowd[i].s && !crowd[i].opened) {
            left++;
            stream_close(crowd[i].s, i & 1);
            crowd[i].s = NULL;
        }
    net_stop();
}

static void leaving_the_line(void **state)
{
    (void)state;
    crowd_start();
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(tls_connect(client_tls, at, NULL, &at_server, SV("example.test"), true,
                                     &handler, &dialer[i], &dialer[i].s),
                         ERR_OK);
    for (int i = 0; i < CROWD; i++)
        crowd[i].when_open = close_all_that_wait;
    net_run();
    assert_true(left > 0);
    crowd_end();
}

/* ---- memory ends ---- */

static size_t memory_left;

static void on_accept_poor(void *arg, struct stream *lower)
{
    (void)arg;
    mem_fail_after(memory_left);
    enum err rc = tls_accept(server_tls, lower, &handler, &server, &server.s);
    if (rc) {
        assert_int_equal(rc, ERR_NOMEM);
        stream_close(lower, false); /* it stayed ours */
    }
}

static void without_memory_it_ends_or_works(void **state)
{
    static const struct listener_handler poor = {on_accept_poor};
    unsigned worked = 0, failed = 0;
    (void)state;
    for (memory_left = 1; memory_left < 60; memory_left++) {
        start();
        listener_close(listener);
        struct addr any = net_addr("127.0.0.1:0");
        assert_int_equal(stream_listen(at, &any, &poor, NULL, &listener), ERR_OK);
        at_server = listener->local;
        client.keep = server.keep = false;
        client.when_open = say_some_and_leave;
        timer_init(&later, on_give_up, NULL);
        loop_timer(at, &later, 200 * USEC_MS);
        dial();
        net_run();
        mem_fail_after(0);
        loop_timer_cancel(at, &later);
        if (server.got == PIECE)
            worked++;
        else
            failed++;
        end();
    }
    assert_true(worked > 0 && failed > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_carries_and_ends),
        cmocka_unit_test(send_and_leave_before_it_is_open),
        cmocka_unit_test(connections_outlive_their_snapshot),
        cmocka_unit_test(versions),
        cmocka_unit_test(queue_is_bounded_and_drains),
        cmocka_unit_test(over_the_queue_nothing_is_written),
        cmocka_unit_test(many_small_writes),
        cmocka_unit_test(paused_stream_reads_later),
        cmocka_unit_test(pausing_between_records),
        cmocka_unit_test(closing_in_every_callback),
        cmocka_unit_test(closing_in_drain),
        cmocka_unit_test(closing_both_from_one),
        cmocka_unit_test(names),
        cmocka_unit_test(a_name_is_needed_to_verify),
        cmocka_unit_test(who_is_not_verified_is_nobody),
        cmocka_unit_test(chains_that_do_not_hold),
        cmocka_unit_test(the_use_of_a_certificate_is_heeded),
        cmocka_unit_test(what_is_in_ca_is_trusted_as_it_stands),
        cmocka_unit_test(our_own_authority_is_trusted_besides),
        cmocka_unit_test(sni_chooses_the_certificate),
        cmocka_unit_test(certificates_of_clients),
        cmocka_unit_test(what_is_no_tls),
        cmocka_unit_test(half_a_handshake_and_silence),
        cmocka_unit_test(old_versions_are_refused),
        cmocka_unit_test(what_follows_close_notify_is_dropped),
        cmocka_unit_test(an_end_without_goodbye_is_no_end),
        cmocka_unit_test(key_updates_are_few),
        cmocka_unit_test(no_renegotiation),
        cmocka_unit_test(alpn),
        cmocka_unit_test(tickets_outlive_a_snapshot),
        cmocka_unit_test(a_turn_does_one_expensive_step),
        cmocka_unit_test(leaving_the_line),
        cmocka_unit_test(without_memory_it_ends_or_works),
    };
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
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    struct pem *all_pems[] = {&authority, &foreign, &leaf, &other, &old, &stranger};
    for (size_t i = 0; i < 6; i++)
        pem_done(all_pems[i]);
    return rc;
}
