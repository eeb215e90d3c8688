/* SPDX-License-Identifier: MIT */
/* The control API as HTTP: clients good, slow and hostile, and the login. */
#include "control_world.h"

/* ---- HTTP ---- */

static void answers_a_request_however_it_is_cut(void **state)
{
    (void)state;
    static const char request[] = "GET /api/v1/status?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct world w;
    struct client c;
    world_up(&w);
    dial(&w, &c, false);
    for (const char *p = request; *p; p++) {
        char one[2] = {*p, 0};
        assert_int_equal(status_of(&c), 0);
        say(&c, one);
        run_for(&w, 50 * USEC_MS);
    }
    assert_int_equal(status_of(&c), 200);
    json_t *o = json_loads(body_of(&c), 0, NULL);
    assert_string_equal(text_of(o, "version"), "1.2.3");
    assert_string_equal(text_of(o, "state"), "ready");
    assert_int_equal(json_integer_value(json_object_get(o, "workers")), WORKERS);
    assert_true(json_is_null(json_object_get(o, "config")));
    json_decref(o);
    hang_up(&c);
    world_down(&w);
}

static void keeps_a_connection_alive(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    world_up(&w);
    dial(&w, &c, false);
    for (int i = 0; i < 3; i++) {
        c.n = 0;
        say(&c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        run_for(&w, USEC_S);
        assert_int_equal(status_of(&c), 200);
        assert_null(strstr(c.text, "Connection: close"));
        assert_false(c.closed);
        run_for(&w, 30 * USEC_S); /* longer than one may take to arrive, shorter than idle */
    }
    run_for(&w, CONTROL_IDLE);
    assert_true(c.closed);
    hang_up(&c);
    dial(&w, &c, false);
    say(&c, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    run_for(&w, USEC_S);
    assert_true(c.closed);
    assert_string_equal(body_of(&c), "ok\n");
    hang_up(&c);
    world_down(&w);
}

static void answers_one_of_two_pipelined_and_closes(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    world_up(&w);
    exchange(&w, &c, false,
             "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nDELETE /api/v1/accounts/a HTTP/1.1\r\n\r\n");
    assert_int_equal(status_of(&c), 200);
    assert_true(c.closed);
    assert_non_null(strstr(c.text, "Connection: close"));
    assert_string_equal(body_of(&c), "ok\n");
    hang_up(&c);
    world_down(&w);
}

static char *with_headers(int n, const char *more)
{
    char *text = malloc(64 * 1024);
    int at = snprintf(text, 1024, "GET /healthz HTTP/1.1\r\n");
    for (int i = 0; i < n; i++)
        at += snprintf(text + at, 64, "X-%d: v\r\n", i);
    snprintf(text + at, 1024, "%s\r\n", more);
    return text;
}

static char *with_target(int n)
{
    char *text = malloc(64 * 1024);
    int at = snprintf(text, 1024, "GET /healthz?");
    memset(text + at, 'a', (size_t)n - 9);
    snprintf(text + 4 + n, 1024, " HTTP/1.1\r\n\r\n");
    return text;
}

static void holds_its_limits(void **state)
{
    (void)state;
    struct world w;
    world_up(&w);
    struct {
        char *text;
        unsigned status;
    } sized[] = {
        {with_headers(64, ""), 200}, {with_headers(65, ""), 431}, {with_headers(1000, ""), 431},
        {with_target(2048), 200},    {with_target(2049), 414},    {with_target(9000), 414},
    };
    for (size_t i = 0; i < sizeof(sized) / sizeof(sized[0]); i++) {
        assert_int_equal(ask_status(&w, false, sized[i].text), sized[i].status);
        free(sized[i].text);
    }
    static const struct {
        const char *text;
        unsigned status;
    } fixed[] = {
        {"POST /api/v1/reload HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n", 413},
        {"POST /api/v1/reload HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400},
        {"POST /api/v1/reload HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
        {"POST /api/v1/reload HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
        {"POST /api/v1/reload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411},
        {"POST /x HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        {"GET /healthz HTTP/1.1\r\nBad Header: a\r\n\r\n", 400},
        {"FROB /healthz HTTP/1.1\r\n\r\n", 400},
        {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400},
        {"GET http://evil.test/api/v1/status HTTP/1.1\r\n\r\n", 404},
        {"GET /api/v1/nothing HTTP/1.1\r\n\r\n", 404},
        {"GET / HTTP/1.1\r\n\r\n", 404},
    };
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
        assert_int_equal(ask_status(&w, false, fixed[i].text), fixed[i].status);
    assert_null(w.reload);
    world_down(&w);
}

static void a_body_of_the_most_is_taken(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    char *body = malloc(CONTROL_BODY_MAX + 1);
    memset(body, ' ', CONTROL_BODY_MAX);
    body[CONTROL_BODY_MAX] = '\0';
    world_up(&w);
    dial(&w, &c, false);
    say(&c, "POST /api/v1/accounts HTTP/1.1\r\nContent-Length: 1048576\r\n\r\n");
    say(&c, body);
    run_for(&w, 5 * USEC_S);
    assert_int_equal(status_of(&c), 422);
    hang_up(&c);
    free(body);
    world_down(&w);
}

static void slow_clients_are_let_go(void **state)
{
    (void)state;
    struct world w;
    struct client silent, half, dripping;
    world_up(&w);
    dial(&w, &silent, false);
    dial(&w, &half, false);
    say(&half, "POST /api/v1/reload HTTP/1.1\r\nContent-Length: 10\r\n\r\n12345");
    run_for(&w, CONTROL_TIME - USEC_S);
    assert_false(silent.closed || half.closed);
    run_for(&w, 2 * USEC_S);
    assert_true(silent.closed && half.closed);
    assert_int_equal(status_of(&half), 408);
    assert_int_equal(status_of(&silent), 0);
    hang_up(&silent);
    hang_up(&half);
    /* A drip of right octets does not move the deadline. */
    dial(&w, &dripping, false);
    static const char request[] = "GET /healthz HTTP/1.1\r\n";
    for (int i = 0; request[i] && !dripping.closed; i++) {
        char one[2] = {request[i], 0};
        say(&dripping, one);
        run_for(&w, USEC_S);
        assert_true(i < 12);
    }
    assert_int_equal(status_of(&dripping), 408);
    hang_up(&dripping);
    world_down(&w);
}

static void strangers_on_http_do_not_shut_out_the_socket(void **state)
{
    (void)state;
    struct world w;
    static struct client c[CONTROL_CONNECTIONS + 1];
    world_up(&w);
    for (int i = 0; i <= CONTROL_CONNECTIONS; i++)
        dial(&w, &c[i], true);
    run_for(&w, USEC_S);
    unsigned closed = 0;
    for (int i = 0; i <= CONTROL_CONNECTIONS; i++)
        closed += c[i].closed;
    assert_int_equal(closed, 1);
    assert_int_equal(atomic_load(&w.g->loop[0]->stats.refusals[STAT_LIMIT_CONTROL]), 1);
    assert_int_equal(ask_status(&w, false, "GET /healthz HTTP/1.1\r\n\r\n"), 200);
    for (int i = 0; i <= CONTROL_CONNECTIONS; i++)
        hang_up(&c[i]);
    run_for(&w, USEC_S);
    assert_int_equal(ask_status(&w, true, "GET /healthz HTTP/1.1\r\nHost: localhost:8080\r\n\r\n"),
                     200);
    world_down(&w);
}

static void methods(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    world_up(&w);
    assert_int_equal(exchange(&w, &c, false, "POST /api/v1/status HTTP/1.1\r\n\r\n"), 405);
    assert_non_null(strstr(c.text, "\r\nAllow: GET\r\n"));
    hang_up(&c);
    assert_int_equal(exchange(&w, &c, false, "PATCH /api/v1/accounts HTTP/1.1\r\n\r\n"), 405);
    assert_non_null(strstr(c.text, "\r\nAllow: GET, POST\r\n"));
    hang_up(&c);
    assert_int_equal(exchange(&w, &c, false, "HEAD /healthz HTTP/1.1\r\n\r\n"), 200);
    assert_non_null(strstr(c.text, "\r\nContent-Length: 3\r\n"));
    assert_string_equal(body_of(&c), "");
    c.n = 0; /* and the connection is still in step */
    say(&c, "GET /healthz HTTP/1.1\r\n\r\n");
    run_for(&w, USEC_S);
    assert_string_equal(body_of(&c), "ok\n");
    hang_up(&c);
    assert_int_equal(ask_status(&w, false, "CONNECT evil.test:443 HTTP/1.1\r\n\r\n"), 404);
    assert_int_equal(exchange(&w, &c, false,
                              "GET /healthz HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: "
                              "websocket\r\n\r\n"),
                     200);
    assert_true(c.closed); /* no other protocol begins */
    hang_up(&c);
    world_down(&w);
}

static void a_large_answer_arrives_whole(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    world_up(&w);
    fake.aors = 20000;
    dial(&w, &c, false);
    say(&c, "GET /api/v1/registrations HTTP/1.1\r\nConnection: close\r\n\r\n");
    run_for(&w, 30 * USEC_S);
    assert_int_equal(status_of(&c), 200);
    assert_true(c.n > 2 * STREAM_QUEUE_MAX);
    assert_true(c.closed);
    json_t *o = json_loads(body_of(&c), 0, NULL);
    assert_int_equal(json_array_size(o), 20000);
    json_decref(o);
    hang_up(&c);
    world_down(&w);
}

/* ---- login ---- */

static void http_wants_host_origin_and_token(void **state)
{
    (void)state;
    static const char bearer[] = "Authorization: Bearer " TOKEN "\r\n";
    static const struct {
        const char *path, *headers;
        bool token;
        unsigned status;
    } row[] = {
        {"/api/v1/status", "Host: 127.0.0.1:8080\r\n", true, 200},
        {"/api/v1/status", "Host: localhost:8080\r\n", true, 200},
        {"/api/v1/status", "Host: LOCALHOST:8080 \r\n", true, 200},
        {"/api/v1/status", "Host: 127.0.0.1:8080\r\n", false, 401},
        {"/api/v1/status", "Host: 127.0.0.1:8080\r\nAuthorization: Bearer x\r\n", false, 401},
        {"/api/v1/status", "Host: 127.0.0.1:8080\r\nAuthorization: Basic " TOKEN "\r\n", false,
         401},
        {"/api/v1/status", "Host: 127.0.0.1:8080\r\nAuthorization: Bearer " TOKEN "x\r\n", false,
         401},
        {"/api/v1/status", "Host: 127.0.0.1:8080\r\nAuthorization: Bearer\r\n", false, 401},
        /* DNS rebinding: the page's own name */
        {"/api/v1/status", "Host: evil.test:8080\r\n", true, 403},
        {"/healthz", "Host: evil.test:8080\r\n", false, 403},
        {"/api/v1/status", "Host: 127.0.0.1\r\n", true, 403},
        {"/api/v1/status", "Host: 127.0.0.1:80\r\n", true, 403},
        {"/api/v1/status", "Host: 127.0.0.1:8080.evil.test\r\n", true, 403},
        {"/api/v1/status", "Host: evil.test#127.0.0.1:8080\r\n", true, 403},
        {"/api/v1/status", "Host: localhost.evil.test:8080\r\n", true, 403},
        {"/api/v1/status", "Host:\r\n", true, 403},
        {"/api/v1/status", "", true, 403},
        /* another page's script */
        {"/api/v1/status", "Host: localhost:8080\r\nOrigin: http://localhost:8080\r\n", true, 200},
        {"/api/v1/status", "Host: localhost:8080\r\nOrigin: http://evil.test\r\n", true, 403},
        {"/api/v1/status", "Host: localhost:8080\r\nOrigin: null\r\n", true, 403},
        {"/api/v1/status", "Host: localhost:8080\r\nOrigin: https://localhost:8080\r\n", true, 403},
        {"/api/v1/status", "Host: localhost:8080\r\nOrigin:\r\n", true, 403},
        {"/api/v1/status", "Host: localhost:8080\r\nX-Empty:\r\nOrigin: http://evil.test\r\n", true,
         403},
        {"/api/v1/status",
         "Host: localhost:8080\r\nOrigin: http://localhost:8080\r\nOrigin: http://evil.test\r\n",
         true, 400},
        /* probes need none, the counters only the loopback */
        {"/healthz", "Host: localhost:8080\r\n", false, 200},
        {"/readyz", "Host: localhost:8080\r\n", false, 200},
        {"/metrics", "Host: localhost:8080\r\n", false, 200},
        {"/healthz/../api/v1/status", "Host: localhost:8080\r\n", false, 401},
        {"/healthzz", "Host: localhost:8080\r\n", false, 401},
        {"//healthz", "Host: localhost:8080\r\n", false, 401},
        /* hashes go to the socket alone */
        {"/api/v1/accounts", "Host: localhost:8080\r\n", true, 200},
        {"/api/v1/accounts/export", "Host: localhost:8080\r\n", true, 403},
    };
    struct world w;
    world_up(&w);
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char request[1024];
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n%s%s\r\n", row[i].path,
                 row[i].headers, row[i].token ? bearer : "");
        unsigned got = ask_status(&w, true, request);
        if (got != row[i].status)
            fail_msg("%s: %u, not %u", request, got, row[i].status);
    }
    world_down(&w);
}

/* A header that is longer than what is kept of it must not be taken for its beginning. */
static void a_long_origin_is_not_cut_short(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    char tail[700];
    world_up(&w);
    memset(tail, 'x', sizeof(tail) - 1);
    tail[sizeof(tail) - 1] = '\0';
    dial(&w, &c, true);
    say(&c, "GET /api/v1/status HTTP/1.1\r\nHost: localhost:8080\r\n"
            "Authorization: Bearer " TOKEN "\r\nOrigin: http://localhost:8080");
    run_for(&w, 100 * USEC_MS); /* so that it is a piece of its own */
    say(&c, tail);
    say(&c, "\r\n\r\n");
    run_for(&w, USEC_S);
    assert_int_equal(status_of(&c), 431);
    hang_up(&c);
    /* Nor is a long name for a short one that it begins with. */
    dial(&w, &c, true);
    say(&c, "GET /healthz HTTP/1.1\r\nHost: localhost:8080\r\nOrigin");
    run_for(&w, 100 * USEC_MS);
    say(&c, tail);
    say(&c, ": http://evil.test\r\n\r\n");
    run_for(&w, USEC_S);
    assert_int_equal(status_of(&c), 200);
    hang_up(&c);
    world_down(&w);
}

/* A stranger's body is not waited for. */
static void login_comes_before_the_body(void **state)
{
    (void)state;
    struct world w;
    world_up(&w);
    assert_int_equal(ask_status(&w, true,
                                "POST /api/v1/accounts HTTP/1.1\r\nHost: localhost:8080\r\n"
                                "Content-Length: 1000000\r\n\r\n"),
                     401);
    world_down(&w);
}

static void no_token_opens_nothing(void **state)
{
    (void)state;
    struct world w;
    world_up(&w);
    control_free(w.control);
    assert_int_equal(control_new(w.g->loop[0], &w.env, SV_NONE, &w.control), ERR_OK);
    assert_int_equal(control_listen_http(w.control, &w.http, &w.env.http), ERR_OK);
    assert_int_equal(ask_status(&w, true,
                                "GET /api/v1/status HTTP/1.1\r\nHost: localhost:8080\r\n"
                                "Authorization: Bearer \r\n\r\n"),
                     401);
    world_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_a_request_however_it_is_cut),
        cmocka_unit_test(keeps_a_connection_alive),
        cmocka_unit_test(answers_one_of_two_pipelined_and_closes),
        cmocka_unit_test(holds_its_limits),
        cmocka_unit_test(a_body_of_the_most_is_taken),
        cmocka_unit_test(slow_clients_are_let_go),
        cmocka_unit_test(strangers_on_http_do_not_shut_out_the_socket),
        cmocka_unit_test(methods),
        cmocka_unit_test(a_large_answer_arrives_whole),
        cmocka_unit_test(http_wants_host_origin_and_token),
        cmocka_unit_test(a_long_origin_is_not_cut_short),
        cmocka_unit_test(login_comes_before_the_body),
        cmocka_unit_test(no_token_opens_nothing),
    };
    if (crypto_start())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
