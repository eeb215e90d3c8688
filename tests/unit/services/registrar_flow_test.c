/* SPDX-License-Identifier: MIT */
/* Flows that end, and targets that cannot be reached (RFC 5626 §7); a REGISTER all the way through. */
#include "rig.h"
#include "location/location.h"
#include "registrar/registrar.h"
#include "store/store_priv.h"

#define AOR  "bob@example.com"
#define PUSH SV("pn-provider=x;pn-prid=y")

static struct binding on_connection(struct rig *r, const char *uri, uint64_t conn, uint32_t reg_id)
{
    struct binding b = binding_of(r, uri, DESK);
    b.transport = SIP_T_TCP;
    b.conn = conn;
    b.by_flow = true;
    b.reg_id = reg_id;
    if (reg_id)
        b.instance = SV("<urn:uuid:1>");
    return b;
}

static struct flow flow_of(const struct binding *b)
{
    return (struct flow){.transport = (enum sip_transport)b->transport,
                         .worker = b->worker,
                         .conn = b->conn,
                         .local = b->local,
                         .remote = b->remote};
}

static void on_read(struct store_op *op, enum err rc)
{
    assert_int_equal(rc, ERR_OK);
    *(bool *)op->arg = true;
}

/* What is bound now, as the users of the Contacts in alphabetical order; upper case: its connection is
 * dead. */
static const char *users(struct rig *r)
{
    char *out = scratch();
    bool done = false;
    struct arena a;
    size_t at = 0;
    arena_init(&a, NULL, 0, 1 << 20);
    rig_run(r, 20 * USEC_MS); /* what is under way */
    struct store_bindings read = {.arena = &a, .aor = SV(AOR), .wall = r->group->loop[0]->wall};
    store_op_init(&read.op, on_read, &done);
    store_bindings(r->store, r->group->loop[0], &read);
    rig_run(r, 20 * USEC_MS);
    assert_true(done);
    for (char c = 'a'; c <= 'z'; c++) {
        for (size_t i = 0; i < read.n; i++) {
            const struct binding *b = &read.bindings[i];
            if (b->uri.p[sv_chr(b->uri, ':') + 1] == c)
                out[at++] = binding_conn_dead(b, store_epoch(r->store)) ? (char)(c - 32) : c;
        }
    }
    out[at] = 0;
    arena_done(&a);
    return out;
}

static void a_connection_ends(void **state)
{
    (void)state;
    struct rig *r = rig_new(SETTINGS_AUTH_ALL);
    struct binding b[6] = {
        on_connection(r, "sip:a@x.invalid", 5, 1),
        on_connection(r, "sip:b@x.invalid", 6, 2),  /* another flow of it */
        on_connection(r, "sip:c@192.0.2.13", 5, 0), /* may listen there as well */
        on_connection(r, "sip:d@x.invalid", 5, 0),  /* nothing else leads to it */
        on_connection(r, "sip:e@x.invalid", 5, 3),  /* can be woken */
        on_connection(r, "sip:f@x.invalid", 5, 4),  /* another worker's connection */
    };
    b[4].push = PUSH;
    b[5].worker = 1;
    rig_bind(r, AOR, b, 6);
    assert_string_equal(users(r), "abcdef");
    struct flow f = flow_of(&b[0]);
    registrar_flow_gone(r->sip, r->store, &f);
    assert_string_equal(users(r), "bcEf");
    assert_int_equal(stat_get(&r->group->loop[0]->stats, STAT_FLOWS_GONE), 2);
    registrar_flow_gone(r->sip, r->store, &f); /* once */
    assert_string_equal(users(r), "bcEf");
    f.conn = 0; /* a datagram's flow never ends */
    registrar_flow_gone(r->sip, r->store, &f);
    assert_string_equal(users(r), "bcEf");
    rig_free(r);
}

static void a_target_cannot_be_reached(void **state)
{
    (void)state;
    struct rig *r = rig_new(SETTINGS_AUTH_ALL);
    struct binding b[7] = {
        on_connection(r, "sips:a@x.invalid", 5, 1),
        on_connection(r, "sip:b@x.invalid", 5, 2),  /* one connection, two registrations */
        on_connection(r, "sip:c@192.0.2.13", 5, 0), /* no outbound registration */
        binding_of(r, "sip:d@192.0.2.13", DESK),    /* a flow over UDP */
        binding_of(r, "sip:e@10.0.0.1", DESK),      /* behind proxies */
        on_connection(r, "sip:g@x.invalid", 7, 6),  /* came again meanwhile */
        on_connection(r, "sip:h@x.invalid", 5, 7),  /* can be woken */
    };
    b[3].reg_id = 4;
    b[3].by_flow = true;
    b[4].reg_id = 5;
    b[4].path = SV("<sip:192.0.2.13;lr;ob>");
    b[6].push = PUSH;
    rig_bind(r, AOR, b, 7);
    struct flow f = flow_of(&b[0]), none = {.transport = SIP_T_NONE};
    /* the scheme of a Request-URI may be another than the Contact's (RFC 5630 §5.3) */
    registrar_unreachable(r->sip, r->store, SV(AOR), SV("sip:a@x.invalid"), &f);
    assert_string_equal(users(r), "bcdegh");
    registrar_unreachable(r->sip, r->store, SV(AOR), b[2].uri, &f);
    assert_string_equal(users(r), "bcdegh");
    registrar_unreachable(r->sip, r->store, SV(AOR), b[3].uri, &none);
    assert_string_equal(users(r), "bcdegh");
    struct flow udp = flow_of(&b[3]);
    registrar_unreachable(r->sip, r->store, SV(AOR), b[3].uri, &udp);
    assert_string_equal(users(r), "bcegh");
    registrar_unreachable(r->sip, r->store, SV(AOR), b[4].uri, &udp);
    assert_string_equal(users(r), "bcegh");
    registrar_unreachable(r->sip, r->store, SV(AOR), b[4].uri, &none);
    assert_string_equal(users(r), "bcgh");
    registrar_unreachable(r->sip, r->store, SV(AOR), b[5].uri, &f);
    assert_string_equal(users(r), "bcgh");
    registrar_unreachable(r->sip, r->store, SV(AOR), b[6].uri, &f);
    assert_string_equal(users(r), "bcgH");
    registrar_unreachable(r->sip, r->store, SV("nobody@example.com"), b[1].uri, &f);
    assert_string_equal(users(r), "bcgH");
    rig_free(r);
}

/* ---- over the wire ---- */

struct client {
    struct rig *r;
    struct stream *stream;
    char got[16384];
    size_t n;
};

static void client_data(void *arg, sv octets)
{
    struct client *c = arg;
    assert_true(c->n + octets.n < sizeof(c->got));
    memcpy(c->got + c->n, octets.p, octets.n);
    c->n += octets.n;
    c->got[c->n] = 0;
}
static void client_open(void *arg)
{
    (void)arg;
}
static void client_close(void *arg, enum err why)
{
    (void)why;
    ((struct client *)arg)->stream = NULL;
}
static const struct stream_handler client_events = {
    .on_open = client_open, .on_data = client_data, .on_close = client_close};

static void client_send(struct client *c, unsigned cseq, const char *credentials_line,
                        const char *more)
{
    char text[2048];
    int n = snprintf(text, sizeof(text),
                     "REGISTER sip:example.com SIP/2.0\r\n"
                     "Via: SIP/2.0/TCP 10.9.9.9;branch=z9hG4bKr%u\r\nMax-Forwards: 70\r\n"
                     "From: <sip:" AOR ">;tag=1\r\nTo: <sip:" AOR ">\r\nCall-ID: reg\r\n"
                     "CSeq: %u REGISTER\r\n%s%sContent-Length: 0\r\n\r\n",
                     cseq, cseq, credentials_line, more);
    assert_true(n > 0 && (size_t)n < sizeof(text));
    sv piece = {text, (size_t)n};
    c->n = 0;
    assert_int_equal(stream_send(c->stream, &piece, 1), ERR_OK);
}

static void client_register(struct client *c, unsigned cseq, const char *credentials_line,
                            const char *more)
{
    client_send(c, cseq, credentials_line, more);
    rig_run(c->r, 200 * USEC_MS);
}

static void expect_line(const struct client *c, const char *line)
{
    if (!strstr(c->got, line))
        fail_msg("no %s in\n%s", line, c->got);
}

static void a_phone_registers_a_flow_and_goes(void **state)
{
    (void)state;
    struct rig *r = rig_new(SETTINGS_AUTH_ALL);
    struct client c = {.r = r};
    struct addr server = address(SERVER_IP, 5060);
    static const char phone[] =
        "Supported: path, outbound, gruu\r\n"
        "Contact: <sip:a@x.invalid;transport=ws>;+sip.instance=\"<urn:uuid:7>\";reg-id=1\r\n";
    r->set->keepalive = 25 * USEC_S;
    assert_int_equal(
        stream_connect(r->peer_group->loop[0], NULL, &server, &client_events, &c, &c.stream),
        ERR_OK);
    rig_run(r, 50 * USEC_MS);
    client_register(&c, 1, "", phone);
    expect_line(&c, "SIP/2.0 401 ");
    const char *login = scratch();
    login = credentials(c.got, "REGISTER", "sip:example.com", "bob", "secret", 1);
    client_register(&c, 2, login, phone);
    expect_line(&c, "SIP/2.0 200 OK\r\n");
    expect_line(&c, "\r\nRequire: outbound\r\nFlow-Timer: 25\r\n");
    expect_line(&c, ";pub-gruu=\"sip:bob@example.com;gr=urn:uuid:7\";temp-gruu=\"sip:tgruu.");
    assert_string_equal(users(r), "a");
    /* a refusal of RFC 3327 §5.3 names what the phone does not know */
    client_register(&c, 3, "", "Path: <sip:192.0.2.13;lr>\r\nContact: <sip:a@x.invalid>\r\n");
    login = credentials(c.got, "REGISTER", "sip:example.com", "bob", "secret", 1);
    client_register(&c, 4, login, "Path: <sip:192.0.2.13;lr>\r\nContact: <sip:a@x.invalid>\r\n");
    expect_line(&c, "SIP/2.0 420 Bad Extension\r\n");
    expect_line(&c, "\r\nUnsupported: path\r\n");
    assert_string_equal(users(r), "a");
    stream_close(c.stream, false);
    rig_run(r, 200 * USEC_MS);
    assert_string_equal(users(r), "");
    rig_free(r);
}

/* Nothing is said on the connection for an hour; the idle time is a quarter of it. */
static void a_silent_phone_keeps_its_connection_while_it_is_registered(void **state)
{
    (void)state;
    struct rig *r = rig_new(SETTINGS_AUTH_ALL);
    struct client c = {.r = r}, stranger = {.r = r};
    struct addr server = address(SERVER_IP, 5060);
    static const char phone[] = "Expires: 3600\r\nContact: <sip:a@x.invalid>\r\n";
    struct loop *there = r->peer_group->loop[0];
    assert_int_equal(stream_connect(there, NULL, &server, &client_events, &c, &c.stream), ERR_OK);
    assert_int_equal(
        stream_connect(there, NULL, &server, &client_events, &stranger, &stranger.stream), ERR_OK);
    rig_run(r, 50 * USEC_MS);
    client_register(&stranger, 1, "", phone);
    expect_line(&stranger, "SIP/2.0 401 ");
    client_register(&c, 2, "", phone);
    client_register(&c, 3, credentials(c.got, "REGISTER", "sip:example.com", "bob", "secret", 1),
                    phone);
    expect_line(&c, "SIP/2.0 200 OK\r\n");
    rig_run(r, 16 * USEC_MIN);
    assert_null(stranger.stream);
    assert_non_null(c.stream);
    rig_run(r, 43 * USEC_MIN);
    assert_non_null(c.stream);
    assert_string_equal(users(r), "a");
    rig_run(r, 2 * USEC_MIN);
    assert_null(c.stream);
    assert_string_equal(users(r), "");
    rig_free(r);
}

/* A store that takes its time to read. */
static struct {
    const struct store_location_ops *real;
    struct store_location *loc;
    struct store_bindings *held;
    struct timer timer;
} slow;

static void on_slow(struct timer *t, void *arg)
{
    (void)t;
    slow.real->bindings(slow.loc, arg, slow.held);
}

static void slow_bindings(struct store_location *loc, struct loop *l, struct store_bindings *b)
{
    slow.loc = loc;
    slow.held = b;
    timer_init(&slow.timer, on_slow, l);
    loop_timer(l, &slow.timer, 100 * USEC_MS);
}

/* The end of the connection is told before there is a binding on it. */
static void a_connection_ends_while_the_register_is_served(void **state)
{
    (void)state;
    static const char phone[] =
        "Supported: outbound\r\n"
        "Contact: <sip:a@x.invalid>;+sip.instance=\"<urn:uuid:7>\";reg-id=1\r\n";
    struct rig *r = rig_new(SETTINGS_AUTH_ALL);
    struct client c = {.r = r};
    struct addr server = address(SERVER_IP, 5060);
    assert_int_equal(
        stream_connect(r->peer_group->loop[0], NULL, &server, &client_events, &c, &c.stream),
        ERR_OK);
    rig_run(r, 50 * USEC_MS);
    client_register(&c, 1, "", phone);
    const char *login = credentials(c.got, "REGISTER", "sip:example.com", "bob", "secret", 1);
    slow.real = r->store->loc->ops;
    struct store_location_ops ops = *slow.real;
    ops.bindings = slow_bindings;
    r->store->loc->ops = &ops;
    client_send(&c, 2, login, phone);
    rig_run(r, 50 * USEC_MS);
    assert_true(timer_armed(&slow.timer));
    stream_close(c.stream, false);
    rig_run(r, 40 * USEC_MS);
    assert_true(timer_armed(&slow.timer));
    assert_int_equal(sip_connections(r->sip), 0);
    rig_run(r, 10 * USEC_MS);
    r->store->loc->ops = slow.real;
    rig_run(r, USEC_S);
    assert_false(timer_armed(&slow.timer));
    assert_true(stat_get(&r->group->loop[0]->stats, STAT_JOURNAL_BYTES) > 0); /* it was bound */
    assert_string_equal(users(r), "");
    rig_free(r);
}

/* Its removal finds nothing bound: the REGISTER comes to that afterwards. */
static void the_account_goes_while_the_register_is_served(void **state)
{
    (void)state;
    static const char phone[] = "Contact: <sip:a@x.invalid>\r\n";
    struct rig *r = rig_new(SETTINGS_AUTH_ALL);
    struct client c = {.r = r};
    struct addr server = address(SERVER_IP, 5060);
    assert_int_equal(
        stream_connect(r->peer_group->loop[0], NULL, &server, &client_events, &c, &c.stream),
        ERR_OK);
    rig_run(r, 50 * USEC_MS);
    client_register(&c, 1, "", phone);
    const char *login = credentials(c.got, "REGISTER", "sip:example.com", "bob", "secret", 1);
    slow.real = r->store->loc->ops;
    struct store_location_ops ops = *slow.real;
    ops.bindings = slow_bindings;
    r->store->loc->ops = &ops;
    client_send(&c, 2, login, phone);
    rig_run(r, 50 * USEC_MS);
    assert_true(timer_armed(&slow.timer));
    r->store->loc->ops = slow.real;
    r->dir.account[1].user = SV("robert");
    rig_run(r, USEC_S);
    expect_line(&c, "SIP/2.0 404 ");
    assert_true(stat_get(&r->group->loop[0]->stats, STAT_JOURNAL_BYTES) > 0); /* it was bound */
    assert_string_equal(users(r), "");
    stream_close(c.stream, false);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_ends),
        cmocka_unit_test(a_target_cannot_be_reached),
        cmocka_unit_test(a_phone_registers_a_flow_and_goes),
        cmocka_unit_test(a_silent_phone_keeps_its_connection_while_it_is_registered),
        cmocka_unit_test(a_connection_ends_while_the_register_is_served),
        cmocka_unit_test(the_account_goes_while_the_register_is_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
