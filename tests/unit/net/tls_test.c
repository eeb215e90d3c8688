/* SPDX-License-Identifier: MIT */
/* TLS streams over the loopback, on real loops. */
#include "tls_ends.h"

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

enum { MUCH = 14 * 1024 * 1024 }; /* more than the kernel takes of it at once */
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

static const size_t mixed[] = {100, SOCK_TURN - 100, 1, 5000, 3, 30000, SOCK_TURN + 1, 7};

static void send_mixed(struct end *e)
{
    size_t n = 0;
    for (size_t i = 0; i < sizeof(mixed) / sizeof(mixed[0]); i++) {
        sv s = {pattern + n, mixed[i]};
        assert_int_equal(
            stream_send(e->s, (sv[]){sv_sub(s, 0, s.n / 3), SV(""), sv_sub(s, s.n / 3, s.n)}, 3),
            ERR_OK);
        n += s.n;
    }
    leave(e);
}

static void octets_of_all_ways_stay_in_order(void **state)
{
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i < sizeof(mixed) / sizeof(mixed[0]); i++)
        n += mixed[i];
    start();
    client.when_open = send_mixed;
    dial();
    net_run();
    assert_int_equal(server.heard.n, n);
    assert_memory_equal(server.heard.p, pattern, n);
    end();
}

static unsigned records;

static void count_record(struct end *e, sv s)
{
    records++;
    leave(e);
    (void)s;
}

static void send_some(struct end *e)
{
    for (unsigned i = 0; i < 10; i++)
        say(e, (sv){pattern + i, 1});
    assert_true(e->s->queued >= 10);
}

static void sends_of_a_turn_share_a_record(void **state)
{
    (void)state;
    records = 0;
    start();
    stop_after = 1;
    client.when_open = send_some;
    server.when_data = count_record;
    dial();
    net_run();
    assert_int_equal(server.got, 10);
    assert_int_equal(records, 1);
    assert_true(client.drained > 0);
    end();
}

/* Closed without waiting for the queue: what was sent before it leaves, and the goodbye behind it. */
static void say_and_leave_hard(struct end *e)
{
    say(e, SV("last"));
    leave_hard(e);
}

static void what_was_sent_before_a_close_leaves(void **state)
{
    (void)state;
    start();
    stop_after = 1;
    client.when_open = say_and_leave_hard;
    dial();
    net_run();
    assert_heard(&server, "last");
    assert_int_equal(server.why, ERR_OK);
    end();
}

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

/* A client that comes after another one, with the trust of that. */
static bool opens_after(sv ca_before, const struct pem *trusted, bool *ret_shared)
{
    struct tls_config s = server_config(), old_client = {.ca = ca_before}, c = client_config();
    start_with(&s, &old_client);
    c.ca = buf_sv(&trusted->cert);
    c.before = client_tls;
    struct tls *now = pem_tls(&c);
    *ret_shared = now->store == client_tls->store;
    tls_unref(client_tls); /* what is shared outlives it */
    client_tls = now;
    stop_after = 2;
    client.when_open = leave_and_stop;
    dial();
    net_run();
    bool opened = client.opened;
    end();
    return opened;
}

static void trust_that_is_the_same_is_shared(void **state)
{
    bool shared;
    (void)state;
    assert_true(opens_after(buf_sv(&authority.cert), &authority, &shared));
    assert_true(shared);
    assert_false(opens_after(buf_sv(&authority.cert), &foreign, &shared));
    assert_false(shared);
    assert_true(opens_after(buf_sv(&foreign.cert), &authority, &shared));
    assert_false(shared);
    assert_true(opens_after(SV_NONE, &authority, &shared)); /* the system's */
    assert_false(shared);
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
    struct tls_pair other_pair;
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
        cmocka_unit_test(octets_of_all_ways_stay_in_order),
        cmocka_unit_test(sends_of_a_turn_share_a_record),
        cmocka_unit_test(what_was_sent_before_a_close_leaves),
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
        cmocka_unit_test(trust_that_is_the_same_is_shared),
        cmocka_unit_test(our_own_authority_is_trusted_besides),
        cmocka_unit_test(sni_chooses_the_certificate),
        cmocka_unit_test(certificates_of_clients),
    };
    return ends_main(tests, sizeof(tests) / sizeof(tests[0]));
}
