/* SPDX-License-Identifier: MIT */
/* The page of a WebSocket listener, asked by a client in the simulation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crypto/crypto.h"
#include "sim/sim.h"
#include "web/web.h"

#define PEM "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

static struct {
    struct sim *sim;
    struct loop *loop;
    struct listener *listener;
    struct http *http; /* the server's end */
    struct stream *client;
    struct buf heard;
    struct web_env env;
    struct addr at;
    size_t live;
} w;

static const struct http_limits limits = {.head_max = 8192,
                                          .body_max = 1024,
                                          .head_time = 10 * USEC_S,
                                          .body_time = 10 * USEC_S,
                                          .idle = 60 * USEC_S};

static void on_request(void *arg, const struct http_request *rq)
{
    (void)arg;
    web_answer(&w.env, w.http, rq);
}

static void on_end(void *arg, enum err why)
{
    (void)arg;
    (void)why;
    w.http = NULL;
}

static const struct http_handler handler = {.on_request = on_request, .on_end = on_end};

static void on_accept(void *arg, struct stream *s)
{
    (void)arg;
    assert_null(w.http);
    assert_int_equal(http_new(w.loop, s, &limits, &handler, NULL, &w.http), ERR_OK);
}

static void on_data(void *arg, sv octets)
{
    (void)arg;
    buf_put(&w.heard, octets);
}

static void on_open(void *arg)
{
    (void)arg;
}

static void on_close(void *arg, enum err why)
{
    (void)arg;
    (void)why;
    w.client = NULL;
}

static const struct listener_handler listening = {.on_accept = on_accept};
static const struct stream_handler client = {
    .on_open = on_open, .on_data = on_data, .on_close = on_close};

static int up(void **state)
{
    static const sv domains[] = {{"example.test", 12}};
    static const sv doors[] = {{"wss://example.test:8443", 23}};
    struct sim_host *host;
    struct loop_group *g;
    struct addr ip;
    (void)state;
    memset(&w, 0, sizeof(w));
    w.live = mem_live();
    assert_int_equal(addr_parse(SV("192.0.2.1:8080"), &w.at), ERR_OK);
    assert_int_equal(addr_parse_ip(SV("192.0.2.1"), 0, &ip), ERR_OK);
    assert_int_equal(sim_new(1, &w.sim), ERR_OK);
    assert_int_equal(sim_host_new(w.sim, "pbx", &ip, 1, &host), ERR_OK);
    assert_int_equal(sim_process(host, 1, &g), ERR_OK);
    w.loop = g->loop[0];
    assert_int_equal(stream_listen(w.loop, &w.at, &listening, NULL, &w.listener), ERR_OK);
    buf_init_heap(&w.heard, 1024 * 1024);
    w.env = (struct web_env){.domains = domains,
                             .domains_n = 1,
                             .doors = doors,
                             .doors_n = 1,
                             .ca = SV(PEM),
                             .ca_fingerprint = SV("AB:CD"),
                             .fingerprint = SV("12:34")};
    return 0;
}

static int down(void **state)
{
    (void)state;
    http_close(w.http, false);
    stream_close(w.client, false);
    listener_close(w.listener);
    sim_free(w.sim);
    buf_done(&w.heard);
    assert_int_equal(mem_live(), w.live);
    return 0;
}

/* The status; the whole answer stays in w.heard, with a NUL behind it. */
static unsigned ask(const char *request)
{
    sv text = sv_of(request);
    stream_close(w.client, false);
    sim_run_until(w.sim, sim_now(w.sim) + USEC_S);
    buf_reset(&w.heard);
    assert_int_equal(stream_connect(w.loop, NULL, &w.at, &client, NULL, &w.client), ERR_OK);
    assert_int_equal(stream_send(w.client, &text, 1), ERR_OK);
    sim_run_until(w.sim, sim_now(w.sim) + USEC_S);
    buf_char(&w.heard, '\0');
    assert_true(w.heard.n > 12);
    uint64_t status = 0;
    assert_int_equal(sv_u64(sv_sub(buf_sv(&w.heard), 9, 12), 999, &status), ERR_OK);
    return (unsigned)status;
}

static bool heard(const char *text)
{
    return strstr(w.heard.p, text) != NULL;
}

static const char *body(void)
{
    const char *p = strstr(w.heard.p, "\r\n\r\n");
    assert_non_null(p);
    return p + 4;
}

#define HOST " HTTP/1.1\r\nHost: example.test:8080\r\n\r\n"

static void the_page_says_where_one_is(void **state)
{
    (void)state;
    assert_int_equal(ask("GET /" HOST), 200);
    assert_true(heard("\r\nContent-Type: text/html; charset=utf-8\r\n"));
    assert_true(heard("<code>example.test</code>"));
    assert_true(heard("<code>wss://example.test:8443</code>"));
    assert_true(heard("<code>AB:CD</code>"));
    assert_true(heard("<code>12:34</code>"));
    assert_true(heard("href=\"/ca.pem\""));
    assert_true(heard("href=\"/ca.crt\""));
    static const char *const systems[] = {"Firefox", "Chromium", "Windows",
                                          "macOS",   "Android",  "iPhone"};
    for (size_t i = 0; i < sizeof(systems) / sizeof(systems[0]); i++)
        assert_true(heard(systems[i]));
    /* of an authority that browsers know there is nothing to trust */
    w.env.ca = w.env.ca_fingerprint = SV_NONE;
    assert_int_equal(ask("GET /?x=1" HOST), 200);
    assert_false(heard("ca.pem"));
    assert_false(heard("Trust"));
    assert_true(heard("<code>12:34</code>"));
    assert_int_equal(ask("GET /ca.pem" HOST), 404);
}

/* The header fields that keep a page harmless; the style is let in by its hash alone. */
static void it_is_harmless(void **state)
{
    (void)state;
    static const char *const requests[] = {"GET /" HOST, "GET /nothing" HOST, "POST /" HOST,
                                           "GET /ca.pem" HOST, "GET / HTTP/1.1\r\n\r\n"};
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        ask(requests[i]);
        assert_true(heard("\r\nContent-Security-Policy: default-src 'none'; style-src 'sha256-"));
        assert_true(heard("frame-ancestors 'none'\r\n"));
        assert_true(heard("\r\nX-Content-Type-Options: nosniff\r\n"));
        assert_true(heard("\r\nReferrer-Policy: no-referrer\r\n"));
        assert_true(heard("\r\nX-Frame-Options: DENY\r\n"));
        assert_false(heard("unsafe"));
        assert_false(heard("\r\nServer:"));
        assert_false(heard("<script"));
        assert_false(heard(" style="));
        assert_false(heard(" onload="));
    }
    ask("GET /" HOST);
    const char *from = strstr(w.heard.p, "<style>") + 7, *to = strstr(from, "</style>");
    sv text = {from, (size_t)(to - from)};
    uint8_t hash[SHA256_LEN];
    char mem[80];
    struct buf b;
    crypto_sha256(&text, 1, hash);
    buf_init(&b, mem, sizeof(mem));
    buf_str(&b, "style-src 'sha256-");
    crypto_base64(&b, hash, sizeof(hash));
    buf_str(&b, "';");
    buf_char(&b, '\0');
    assert_true(heard(mem));
}

static void texts_are_escaped(void **state)
{
    (void)state;
    const sv evil[] = {SV("<script>alert(\"1\")</script>&'\n\x7f")};
    w.env.domains = w.env.doors = evil;
    w.env.ca_fingerprint = w.env.fingerprint = evil[0];
    assert_int_equal(ask("GET /?<script>" HOST), 200);
    assert_false(heard("<script"));
    const char *at = w.heard.p;
    int n = 0;
    while ((at = strstr(at, "<code>&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;  "
                            "</code>"))) {
        at++;
        n++;
    }
    assert_int_equal(n, 4);
    /* nor is anything of the request in the answer */
    assert_int_equal(ask("GET /<b>x HTTP/1.1\r\nHost: <b>y\r\n\r\n"), 404);
    assert_false(heard("<b>"));
}

static void the_authority_is_there_to_take(void **state)
{
    (void)state;
    assert_int_equal(ask("GET /ca.pem" HOST), 200);
    assert_true(heard("\r\nContent-Type: application/x-pem-file\r\n"));
    assert_true(heard("\r\nContent-Disposition: attachment; filename=\"ca.pem\"\r\n"));
    assert_string_equal(body(), PEM);
    assert_int_equal(ask("GET /ca.crt" HOST), 200);
    assert_true(heard("\r\nContent-Type: application/x-x509-ca-cert\r\n"));
    assert_string_equal(body(), PEM);
}

static void paths_and_methods(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned status;
    } row[] = {
        {"GET /" HOST, 200},
        {"HEAD /" HOST, 200},
        {"GET http://example.test/" HOST, 200},
        {"GET https://example.test:8443" HOST, 200},
        {"GET http://example.test/ca.pem?x" HOST, 200},
        {"GET //" HOST, 404},
        {"GET /ca.pem/" HOST, 404},
        {"GET /../ca.pem" HOST, 404},
        {"GET /CA.PEM" HOST, 404},
        {"GET /favicon.ico" HOST, 404},
        {"GET /api/v1/status" HOST, 404},
        {"OPTIONS *" HOST, 405},
        {"POST /" HOST, 405},
        {"DELETE /ca.pem" HOST, 405},
        {"TRACE /" HOST, 405},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        unsigned got = ask(row[i].text);
        if (got != row[i].status)
            fail_msg("%s: %u, not %u", row[i].text, got, row[i].status);
        assert_int_equal(heard("\r\nAllow: GET, HEAD\r\n"), row[i].status == 405);
    }
    ask("HEAD /" HOST);
    assert_string_equal(body(), "");
    assert_false(heard("Content-Length: 0\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_page_says_where_one_is, up, down),
        cmocka_unit_test_setup_teardown(it_is_harmless, up, down),
        cmocka_unit_test_setup_teardown(texts_are_escaped, up, down),
        cmocka_unit_test_setup_teardown(the_authority_is_there_to_take, up, down),
        cmocka_unit_test_setup_teardown(paths_and_methods, up, down),
    };
    if (crypto_start())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
