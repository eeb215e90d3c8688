/* SPDX-License-Identifier: MIT */
/* The routes of the control API: accounts, lists, late answers, and the end of the server in the middle
 * of one. */
#include "control_world.h"

/* ---- accounts ---- */

static void accounts_are_added_changed_and_removed(void **state)
{
    (void)state;
    struct world w;
    world_up(&w);
    assert_int_equal(post(&w, "POST", "/api/v1/accounts",
                          "{\"user\": \"alice\", \"password\": \"correct horse\", \"name\": \"A\","
                          " \"numbers\": [\"101\"]}"),
                     201);
    struct auth_ha1 ha1;
    auth_ha1(SV("alice"), SV("example.test"), SV("correct horse"), &ha1);
    assert_int_equal(fake.n, 1);
    assert_memory_equal(fake.kept[0].a.md5, ha1.md5, sizeof(ha1.md5));
    assert_memory_equal(fake.kept[0].a.sha256, ha1.sha256, sizeof(ha1.sha256));
    assert_int_equal(post(&w, "POST", "/api/v1/accounts",
                          "{\"user\": \"alice@example.test\", \"password\": \"correct horse\"}"),
                     409);
    json_t *list = ask_json(&w, "GET /api/v1/accounts HTTP/1.1\r\n\r\n", 200);
    json_t *a = json_array_get(list, 0);
    assert_string_equal(text_of(a, "user"), "alice");
    assert_string_equal(text_of(a, "origin"), "directory");
    assert_true(json_is_true(json_object_get(a, "password")));
    assert_null(json_object_get(a, "ha1_md5"));
    json_decref(list);
    list = ask_json(&w, "GET /api/v1/accounts/export HTTP/1.1\r\n\r\n", 200);
    assert_int_equal(strlen(text_of(json_array_get(list, 0), "ha1_sha256")), 64);
    json_decref(list);
    /* Another name does not touch the password, nor the realm that it was made for. */
    fake.kept[0].a.realm = SV("old.test");
    assert_int_equal(post(&w, "PUT", "/api/v1/accounts/alice%40example.test", "{\"name\": \"B\"}"),
                     200);
    assert_memory_equal(fake.kept[0].a.md5, ha1.md5, sizeof(ha1.md5));
    assert_true(sv_eq(fake.kept[0].a.realm, SV("old.test")));
    assert_int_equal(
        post(&w, "PUT", "/api/v1/accounts/alice", "{\"password\": \"another secret\"}"), 200);
    assert_true(sv_eq(fake.kept[0].a.realm, SV("example.test")));
    assert_memory_not_equal(fake.kept[0].a.md5, ha1.md5, sizeof(ha1.md5));
    /* An imported MD5 hash does not leave the old SHA-256 behind. */
    assert_int_equal(post(&w, "PUT", "/api/v1/accounts/alice",
                          "{\"ha1_md5\": \"00112233445566778899aabbccddeeff\"}"),
                     200);
    assert_true(fake.kept[0].a.has_md5);
    assert_false(fake.kept[0].a.has_sha256);
    assert_int_equal(post(&w, "DELETE", "/api/v1/accounts/alice", ""), 200);
    assert_int_equal(fake.n, 0);
    assert_int_equal(post(&w, "DELETE", "/api/v1/accounts/alice", ""), 404);
    assert_int_equal(post(&w, "PUT", "/api/v1/accounts/alice", "{}"), 404);
    world_down(&w);
}

/* The error of a request with this body. */
static void assert_refused(struct world *w, const char *method, const char *path, const char *body,
                           unsigned status, const char *want)
{
    char request[1024];
    snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nContent-Length: %zu\r\n\r\n%s", method,
             path, strlen(body), body);
    json_t *o = ask_json(w, request, status);
    assert_string_equal(text_of(o, "error"), want);
    json_decref(o);
}

static void a_refusal_says_what_is_in_the_way(void **state)
{
    (void)state;
    struct world w;
    world_up(&w);
    const char *path = "/api/v1/accounts";
    assert_int_equal(post(&w, "POST", path, "{\"user\": \"alice\", \"numbers\": [\"101\"]}"), 201);
    assert_refused(&w, "POST", path, "{\"user\": \"alice\"}", 409,
                   "the account alice is there already: alice@example.test");
    fake.fail = ERR_EXISTS;
    assert_refused(&w, "POST", path, "{\"user\": \"bob\", \"numbers\": [\"7\", \"101\"]}", 409,
                   "the number 101 is there already: alice@example.test");
    assert_refused(&w, "POST", path, "{\"user\": \"101\"}", 409,
                   "the name 101 is there already: alice@example.test");
    fake.kept[0].a.user = SV("102");
    assert_refused(&w, "POST", path, "{\"user\": \"bob\", \"numbers\": [\"102\"]}", 409,
                   "the number 102 is there already: 102@example.test");
    fake.kept[0].a.user = SV("alice");
    /* A number is one account's in all domains, a name is not. */
    fake.kept[0].a.domain = SV("old.test");
    assert_refused(&w, "POST", path, "{\"user\": \"alice\", \"numbers\": [\"101\"]}", 409,
                   "the number 101 is there already: alice@old.test");
    assert_refused(&w, "POST", path, "{\"user\": \"101\"}", 409,
                   "the account, or one of its numbers, is there already");
    fake.kept[0].a.domain = SV("example.test");
    assert_refused(&w, "PUT", "/api/v1/accounts/alice", "{\"name\": \"A\"}", 409,
                   "the account, or one of its numbers, is there already");
    fake.fail = ERR_OK;
    assert_refused(&w, "POST", path, "{\"user\": \"bob\", \"password\": \"short\"}", 422,
                   "the password is too short: at least 12 characters "
                   "(security.passwords.minimum)");
    world_down(&w);
}

/* Nobody said which: an account of the wrong one could not register. */
static void an_account_of_a_doubtful_domain_is_not_touched(void **state)
{
    (void)state;
    struct world w;
    world_up(&w);
    const char *path = "/api/v1/accounts", *made = "{\"user\": \"alice@example.test\"}";
    w.env.doubt = "say which";
    assert_refused(&w, "POST", path, "{\"user\": \"alice\"}", 422, "say which");
    assert_int_equal(fake.n, 0);
    char request[256];
    snprintf(request, sizeof(request), "POST %s HTTP/1.1\r\nContent-Length: %zu\r\n\r\n%s", path,
             strlen(made), made);
    json_t *o = ask_json(&w, request, 201);
    assert_string_equal(text_of(o, "account"), "alice@example.test");
    json_decref(o);
    assert_refused(&w, "DELETE", "/api/v1/accounts/alice", "", 422, "say which");
    assert_int_equal(post(&w, "DELETE", "/api/v1/accounts/alice@example.test", ""), 200);
    w.env.doubt = NULL;
    world_down(&w);
}

/* The configuration has its domain no more: it can be looked after all the same. */
static void an_account_of_a_domain_that_is_gone(void **state)
{
    (void)state;
    struct world w;
    world_up(&w);
    assert_int_equal(post(&w, "POST", "/api/v1/accounts", "{\"user\": \"alice\"}"), 201);
    fake.kept[0].a.domain = SV("old.test");
    fake.kept[0].a.realm = SV("old realm");
    fake.kept[0].a.from_file = true;
    assert_int_equal(post(&w, "PUT", "/api/v1/accounts/alice@other.test", "{}"), 404);
    assert_int_equal(
        post(&w, "PUT", "/api/v1/accounts/alice@old.test", "{\"password\": \"another secret\"}"),
        200);
    struct auth_ha1 ha1;
    auth_ha1(SV("alice"), SV("old realm"), SV("another secret"), &ha1);
    assert_memory_equal(fake.kept[0].a.sha256, ha1.sha256, sizeof(ha1.sha256));
    assert_int_equal(post(&w, "DELETE", "/api/v1/accounts/alice", ""), 404);
    assert_int_equal(post(&w, "DELETE", "/api/v1/accounts/alice@old.test", ""), 200);
    assert_int_equal(fake.n, 0);
    world_down(&w);
}

static void the_status_names_what_waits_for_a_restart(void **state)
{
    (void)state;
    struct world w;
    world_up(&w);
    json_t *o = ask_json(&w, "GET /api/v1/status HTTP/1.1\r\n\r\n", 200);
    assert_int_equal(json_array_size(json_object_get(o, "needs_restart")), 0);
    assert_true(json_is_array(json_object_get(o, "needs_restart")));
    json_decref(o);
    w.env.restart = SV("listen: udp:1 -> udp:2\nworkers: auto -> 3\n");
    o = ask_json(&w, "GET /api/v1/status HTTP/1.1\r\n\r\n", 200);
    json_t *keys = json_object_get(o, "needs_restart");
    assert_int_equal(json_array_size(keys), 2);
    assert_string_equal(json_string_value(json_array_get(keys, 0)), "listen");
    assert_string_equal(json_string_value(json_array_get(keys, 1)), "workers");
    json_decref(o);
    world_down(&w);
}

static void the_status_names_turn_and_media_ports(void **state)
{
    (void)state;
    struct world w;
    world_up(&w);
    json_t *o = ask_json(&w, "GET /api/v1/status HTTP/1.1\r\n\r\n", 200);
    assert_true(json_is_array(json_object_get(o, "turn")));
    assert_int_equal(json_array_size(json_object_get(o, "turn")), 0);
    assert_string_equal(json_string_value(json_object_get(o, "media_ports")), "20000-29999");
    assert_int_equal(json_integer_value(json_object_get(o, "media_ports_used")), 0);
    assert_string_equal(json_string_value(json_array_get(json_object_get(o, "http"), 0)),
                        "127.0.0.1:8080");
    json_decref(o);
    struct turnserver_shared *turn;
    static const uint8_t secret[32] = {3};
    assert_int_equal(turnserver_shared_new(secret, SV("example.test"), w.ports, &turn), ERR_OK);
    struct settings_turn *t = &w.set->turn;
    t->listen[0] = (struct turnserver_listen){.transport = TURNSERVER_UDP, .bind = w.http};
    t->listen[1] = (struct turnserver_listen){.transport = TURNSERVER_TLS, .bind = w.http};
    t->listeners = 2;
    w.env.turn = turn;
    uint16_t port;
    assert_int_equal(ports_take(w.ports, 4, true, 7, &port), ERR_OK);
    o = ask_json(&w, "GET /api/v1/status HTTP/1.1\r\n\r\n", 200);
    json_t *where = json_object_get(o, "turn");
    assert_int_equal(json_array_size(where), 2);
    assert_string_equal(json_string_value(json_array_get(where, 0)), "udp:127.0.0.1:8080");
    assert_string_equal(json_string_value(json_array_get(where, 1)), "tls:127.0.0.1:8080");
    assert_int_equal(json_integer_value(json_object_get(o, "media_ports_used")), 4);
    json_decref(o);
    ports_give(w.ports, port, 4);
    w.env.turn = NULL;
    turnserver_shared_free(turn);
    world_down(&w);
}

static void refuses_what_is_no_account(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",
        "[]",
        "null",
        "{",
        "{\"user\": 1}",
        "{\"user\": \"\"}",
        "{}",
        "{\"user\": \"a@other.test\"}",
        "{\"user\": \"a\", \"user\": \"b\"}",
        "{\"user\": \"a b\"}",
        "{\"user\": \"a@b@c\"}",
        "{\"user\": \"a\\u0000b\"}",
        "{\"user\": \"a\\r\\nb\"}",
        "{\"user\": \"<a>\"}",
        "{\"user\": \"a\", \"password\": \"short\"}",
        "{\"user\": \"a\", \"password\": 123456789012}",
        "{\"user\": \"a\", \"password\": \"with a\\ttab in it\"}",
        "{\"user\": \"a\", \"numbers\": \"101\"}",
        "{\"user\": \"a\", \"numbers\": [101]}",
        "{\"user\": \"a\", \"numbers\": [\"\"]}",
        "{\"user\": \"a\", \"numbers\": [\"1+1\"]}",
        "{\"user\": \"a\", \"numbers\": "
        "[\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\",\"1\","
        "\"1\",\"1\",\"1\",\"1\",\"1\",\"1\"]}",
        "{\"user\": \"a\", \"ha1_md5\": \"00\"}",
        "{\"user\": \"a\", \"ha1_md5\": \"zz112233445566778899aabbccddeeff\"}",
        "{\"user\": \"a\", \"name\": \"\xff\xfe\"}",
        "{\"user\": \"a\", \"name\": \"x\\u001b[31m\"}",
        "{\"user\": \"a\", \"name\": \"x\\u009b31m\"}",
        "{\"user\": \"a\", \"name\": \"x\\u007f\"}",
        "{\"user\": \"a\", \"name\": \"line\\nline\"}",
    };
    static const char *const paths[] = {"%",   "%4",  "%zz", "a%00", "a%0d%0aX: y",
                                        "%ff", "a%2", "@",   "a@",   "@x"};
    struct world w;
    world_up(&w);
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        unsigned got = post(&w, "POST", "/api/v1/accounts", bodies[i]);
        if (got != 422)
            fail_msg("%s: %u", bodies[i], got);
    }
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        char path[128];
        snprintf(path, sizeof(path), "/api/v1/accounts/%s", paths[i]);
        unsigned got = post(&w, "DELETE", path, "");
        if (got != 422 && got != 400)
            fail_msg("%s: %u", paths[i], got);
    }
    assert_int_equal(fake.n, 0);
    world_down(&w);
}

/* What people and phones are called goes into JSON and comes out as it was. */
static void hostile_names_stay_names(void **state)
{
    (void)state;
    static const char *const names[] = {
        "'\";--",
        "`${IFS}`",
        "{a=b}",
        "\\",
        "\"}, {\"user\": \"root",
        "</script><script>alert(1)</script>",
        "%s%n%x",
        "../../etc/passwd",
        "=cmd|'/c calc'!A1",
        "\xe2\x80\xae evil",
        "Zo\xc3\xab",
    };
    struct world w;
    world_up(&w);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        fake.n = 0;
        json_t *o = json_pack("{s:s, s:s, s:s}", "user", "a", "password", "a long password", "name",
                              names[i]);
        char *text = json_dumps(o, 0);
        assert_int_equal(post(&w, "POST", "/api/v1/accounts", text), 201);
        free(text);
        json_decref(o);
        json_t *list = ask_json(&w, "GET /api/v1/accounts HTTP/1.1\r\n\r\n", 200);
        assert_int_equal(json_array_size(list), 1);
        assert_string_equal(text_of(json_array_get(list, 0), "name"), names[i]);
        json_decref(list);
        fake.agent = sv_of(names[i]);
        fake.aors = 1;
        list = ask_json(&w, "GET /api/v1/registrations HTTP/1.1\r\n\r\n", 200);
        json_t *contact = json_array_get(json_object_get(json_array_get(list, 0), "contacts"), 0);
        assert_string_equal(text_of(contact, "agent"), names[i]);
        json_decref(list);
    }
    /* A phone's own words may be no UTF-8 at all. */
    fake.agent = SV("a\xff\x1b[31m\r\n\0z");
    json_t *list = ask_json(&w, "GET /api/v1/registrations HTTP/1.1\r\n\r\n", 200);
    json_decref(list);
    world_down(&w);
}

static void registrations_have_their_shape(void **state)
{
    (void)state;
    struct world w;
    world_up(&w);
    fake.aors = 1;
    fake.agent = SV("Tester");
    json_t *list = ask_json(&w, "GET /api/v1/registrations HTTP/1.1\r\n\r\n", 200);
    json_t *row = json_array_get(list, 0), *c = json_array_get(json_object_get(row, "contacts"), 0);
    assert_string_equal(text_of(row, "account"), "alice@example.test");
    assert_string_equal(text_of(c, "uri"), "sip:alice@192.0.2.7:5060");
    assert_string_equal(text_of(c, "transport"), "tcp");
    assert_string_equal(text_of(c, "source"), "192.0.2.7:5060");
    assert_int_equal(json_integer_value(json_object_get(c, "expires")), 60);
    assert_true(json_is_false(json_object_get(c, "connected")));
    json_decref(list);
    list = ask_json(&w, "GET /api/v1/calls HTTP/1.1\r\n\r\n", 200);
    assert_true(json_is_array(list) && json_array_size(list) == 0);
    json_decref(list);
    world_down(&w);
}

static size_t records_of(struct world *w, const char *query, unsigned status)
{
    char request[128];
    snprintf(request, sizeof(request), "GET /api/v1/records%s HTTP/1.1\r\n\r\n", query);
    json_t *list = ask_json(w, request, status);
    size_t n = json_array_size(list);
    json_decref(list);
    return n;
}

static void records_have_their_shape(void **state)
{
    static const char *const wrong[] = {"?last=0",  "?last=1001", "?last=",   "?last=-1",
                                        "?last=1x", "?first=1",   "?last=1&", "?x"};
    (void)state;
    struct world w;
    world_up(&w);
    assert_int_equal(records_of(&w, "", 200), 0);
    fake.records = 2000;
    fake.agent = SV("Busy \"Here\"\xff\x1b");
    json_t *list = ask_json(&w, "GET /api/v1/records?last=2 HTTP/1.1\r\n\r\n", 200);
    json_t *taken = json_array_get(list, 0), *refused = json_array_get(list, 1);
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(text_of(taken, "state"), "ended");
    assert_string_equal(text_of(taken, "since"), "1970-01-01T00:16:40.000Z");
    assert_string_equal(text_of(taken, "answered"), "1970-01-01T00:16:41.000Z");
    assert_string_equal(text_of(taken, "ended"), "1970-01-01T00:16:43.999Z");
    assert_int_equal(json_integer_value(json_object_get(taken, "duration")), 2);
    assert_string_equal(text_of(json_object_get(taken, "quality"), "media"), "direct");
    assert_int_equal(json_integer_value(json_object_get(refused, "status")), 486);
    assert_null(json_object_get(refused, "duration"));
    assert_null(json_object_get(refused, "answered"));
    assert_true(json_is_object(json_object_get(refused, "quality")));
    json_decref(list);
    assert_int_equal(records_of(&w, "", 200), 20);
    assert_int_equal(records_of(&w, "?last=1000", 200), 1000);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        records_of(&w, wrong[i], 422);
    fake.no_records = true;
    records_of(&w, "", 503);
    world_down(&w);
}

/* ---- late answers, and the end ---- */

static const char add_alice[] = "POST /api/v1/accounts HTTP/1.1\r\nContent-Length: 48\r\n\r\n"
                                "{\"user\": \"alice\", \"password\": \"correct horse\"}  ";

static void a_client_may_leave_before_its_answer(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    for (int flush = 0; flush < 2; flush++) {
        world_up(&w);
        fake.hold = true;
        dial(&w, &c, false);
        say(&c, add_alice);
        run_for(&w, USEC_S);
        assert_non_null(fake.held);
        stream_close(c.s, flush);
        c.s = NULL;
        run_for(&w, USEC_S);
        store_op_complete(fake.held_at, &fake.held->op, ERR_OK);
        run_for(&w, USEC_S);
        hang_up(&c);
        assert_int_equal(ask_status(&w, false, "GET /healthz HTTP/1.1\r\n\r\n"), 200);
        world_down(&w);
    }
}

/* Its machine loses power: the connection breaks while the answer is awaited. */
static void a_connection_may_break_before_the_answer(void **state)
{
    (void)state;
    struct world w;
    struct client c = {0};
    struct sim_host *far;
    struct loop_group *g;
    struct addr ip;
    world_up(&w);
    assert_int_equal(addr_parse_ip(SV("192.0.2.2"), 0, &ip), ERR_OK);
    assert_int_equal(sim_host_new(w.sim, "far", &ip, 1, &far), ERR_OK);
    assert_int_equal(sim_process(far, 1, &g), ERR_OK);
    assert_int_equal(addr_parse_ip(SV("192.0.2.1"), 8080, &w.http), ERR_OK);
    control_free(w.control);
    assert_int_equal(control_new(w.g->loop[0], &w.env, SV(TOKEN), &w.control), ERR_OK);
    assert_int_equal(control_listen_http(w.control, &w.http, &w.env.http), ERR_OK);
    fake.hold = true;
    assert_int_equal(stream_connect(g->loop[0], NULL, &w.http, &client_handler, &c, &c.s), ERR_OK);
    say(&c, "DELETE /api/v1/accounts/a HTTP/1.1\r\nHost: 192.0.2.1:8080\r\n"
            "Authorization: Bearer " TOKEN "\r\n\r\n");
    fake.n = 1;
    fake.kept[0].a =
        (struct account){.user = SV("a"), .domain = SV("example.test"), .name = SV("")};
    run_for(&w, USEC_S);
    assert_int_equal(status_of(&c), 0);
    sim_process_kill(far, true);
    sim_process_free(far);
    run_for(&w, 60 * USEC_S);
    store_op_complete(fake.held_at, &fake.held->op, ERR_NOTFOUND); /* heard by nobody */
    run_for(&w, USEC_S);
    world_down(&w);
    free(c.text);
}

static void an_answer_that_never_comes_is_a_503(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    world_up(&w);
    fake.hold = true;
    dial(&w, &c, false);
    say(&c, add_alice);
    run_for(&w, CONTROL_ANSWER_TIME - USEC_S);
    assert_int_equal(status_of(&c), 0);
    run_for(&w, 2 * USEC_S);
    assert_int_equal(status_of(&c), 503);
    assert_true(c.closed);
    hang_up(&c);
    store_op_complete(fake.held_at, &fake.held->op, ERR_OK); /* late all the same */
    run_for(&w, USEC_S);
    world_down(&w);
}

static void the_end_frees_what_was_not_answered(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    world_up(&w);
    fake.hold = true;
    dial(&w, &c, false);
    say(&c, add_alice);
    run_for(&w, USEC_S);
    assert_non_null(fake.held);
    world_down(&w);
    free(c.text);
}

static void store_failures_are_told(void **state)
{
    (void)state;
    static const struct {
        enum err rc;
        unsigned status;
    } row[] = {{ERR_EXISTS, 409}, {ERR_NOTFOUND, 404}, {ERR_TOOBIG, 422},
               {ERR_BUSY, 503},   {ERR_NOMEM, 503},    {ERR_IO, 500}};
    struct world w;
    world_up(&w);
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        fake.fail = row[i].rc;
        assert_int_equal(ask_status(&w, false, add_alice), row[i].status);
    }
    world_down(&w);
}

/* The server stops at every event of the round over the workers. */
static void a_round_of_calls_survives_the_end_at_any_point(void **state)
{
    (void)state;
    bool answered = false;
    for (usec at = 0; !answered; at += 20) {
        struct world w;
        struct client c;
        world_up(&w);
        dial(&w, &c, false);
        say(&c, "GET /api/v1/calls HTTP/1.1\r\n\r\n");
        run_for(&w, at);
        answered = status_of(&c) == 200;
        world_down(&w);
        free(c.text);
        assert_true(at < 10 * USEC_MS);
    }
}

static void kill_dash_nine(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    world_up(&w);
    dial(&w, &c, false);
    say(&c, "GET /api/v1/calls HTTP/1.1\r\n\r\n");
    run_for(&w, 500);
    sim_process_kill(w.host, false);
    world_down(&w);
    free(c.text);
}

static void reload_and_rollback_reach_the_daemon(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    world_up(&w);
    exchange(&w, &c, false, "POST /api/v1/reload HTTP/1.1\r\n\r\n");
    assert_non_null(w.reload);
    assert_false(w.rollback);
    control_error(w.reload, 503, "a \"quoted\" \x1b reason");
    run_for(&w, USEC_S);
    assert_int_equal(status_of(&c), 503);
    json_t *o = json_loads(body_of(&c), 0, NULL);
    assert_string_equal(text_of(o, "error"), "a \"quoted\" \x1b reason");
    json_decref(o);
    hang_up(&c);
    exchange(&w, &c, false, "POST /api/v1/rollback HTTP/1.1\r\n\r\n");
    assert_true(w.rollback);
    hang_up(&c);
    assert_int_equal(ask_status(&w, false, "GET /api/v1/reload HTTP/1.1\r\n\r\n"), 405);
    world_down(&w); /* the second is never answered */
}

static void readyz_follows_the_server(void **state)
{
    (void)state;
    struct world w;
    world_up(&w);
    assert_int_equal(ask_status(&w, false, "GET /readyz HTTP/1.1\r\n\r\n"), 200);
    w.env.draining = true;
    assert_int_equal(ask_status(&w, false, "GET /readyz HTTP/1.1\r\n\r\n"), 503);
    assert_int_equal(ask_status(&w, false, "GET /healthz HTTP/1.1\r\n\r\n"), 200);
    w.env.draining = w.env.ready = false;
    assert_int_equal(ask_status(&w, false, "GET /readyz HTTP/1.1\r\n\r\n"), 503);
    world_down(&w);
}

/* Memory ends at each allocation in turn: an answer or a closed connection, never a leak. */
static void out_of_memory_anywhere(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "GET /api/v1/status HTTP/1.1\r\n\r\n",
        "GET /api/v1/calls HTTP/1.1\r\n\r\n",
        "GET /api/v1/registrations HTTP/1.1\r\n\r\n",
        "GET /api/v1/records HTTP/1.1\r\n\r\n",
        "GET /metrics HTTP/1.1\r\n\r\n",
        add_alice,
        "DELETE /api/v1/accounts/alice HTTP/1.1\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        unsigned good = 0;
        for (size_t n = 1; n < 60 && good < 2; n++) {
            struct world w;
            struct client c;
            world_up(&w);
            fake.aors = 3;
            if (i + 1 == sizeof(requests) / sizeof(requests[0]))
                assert_int_equal(ask_status(&w, false, add_alice), 201);
            dial(&w, &c, false);
            say(&c, requests[i]);
            mem_fail_after(n);
            run_for(&w, 2 * USEC_S);
            mem_fail_after(0);
            unsigned status = status_of(&c);
            assert_true(status == 200 || status == 201 || status == 503 || status == 422 ||
                        c.closed);
            good += status == 200 || status == 201;
            hang_up(&c);
            world_down(&w);
        }
        assert_true(good > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accounts_are_added_changed_and_removed),
        cmocka_unit_test(a_refusal_says_what_is_in_the_way),
        cmocka_unit_test(an_account_of_a_doubtful_domain_is_not_touched),
        cmocka_unit_test(an_account_of_a_domain_that_is_gone),
        cmocka_unit_test(the_status_names_what_waits_for_a_restart),
        cmocka_unit_test(the_status_names_turn_and_media_ports),
        cmocka_unit_test(refuses_what_is_no_account),
        cmocka_unit_test(hostile_names_stay_names),
        cmocka_unit_test(registrations_have_their_shape),
        cmocka_unit_test(records_have_their_shape),
        cmocka_unit_test(a_client_may_leave_before_its_answer),
        cmocka_unit_test(a_connection_may_break_before_the_answer),
        cmocka_unit_test(an_answer_that_never_comes_is_a_503),
        cmocka_unit_test(the_end_frees_what_was_not_answered),
        cmocka_unit_test(store_failures_are_told),
        cmocka_unit_test(a_round_of_calls_survives_the_end_at_any_point),
        cmocka_unit_test(kill_dash_nine),
        cmocka_unit_test(reload_and_rollback_reach_the_daemon),
        cmocka_unit_test(readyz_follows_the_server),
        cmocka_unit_test(out_of_memory_anywhere),
    };
    if (crypto_start())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
