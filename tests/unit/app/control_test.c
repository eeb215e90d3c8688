/* SPDX-License-Identifier: MIT */
/* The control API over the simulated network: HTTP as clients good, slow and hostile speak it, the
 * login, the routes, and the end of the server in the middle of an answer. The store is one of the
 * test's own, which answers late, or never. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "control/control.h"
#include "crypto/crypto.h"
#include "sim/sim.h"

enum { ACCOUNTS_MAX = 64, ANSWER_MAX = 8 * 1024 * 1024, WORKERS = 3 };
#define TOKEN "0123456789abcdefghijklmnopqrstuv"
#define SOCK  "/run/control.sock"

/* ---- a store ---- */

struct kept {
    char text[4][512];
    size_t n[4];
    struct account a;
};

struct fake {
    struct store_location loc;
    struct store_directory dir;
    struct kept kept[ACCOUNTS_MAX];
    unsigned n;
    unsigned aors; /* how many registrations the location pretends to have */
    sv aor, agent; /* what they say */
    bool hold;     /* changes are not completed */
    enum err fail;
    struct store_change *held;
    struct loop *held_at;
};
static struct fake fake;

static void keep(struct kept *k, const struct account *a)
{
    const sv from[4] = {a->user, a->domain, a->realm, a->name};
    sv *to[4] = {&k->a.user, &k->a.domain, &k->a.realm, &k->a.name};
    k->a = *a;
    for (int i = 0; i < 4; i++) {
        assert_true(from[i].n < sizeof(k->text[i]));
        if (from[i].n)
            memcpy(k->text[i], from[i].p, from[i].n);
        *to[i] = (sv){k->text[i], from[i].n};
    }
    for (unsigned i = 0; i < a->numbers_n; i++)
        k->a.numbers[i] = SV("101");
}

static void fake_change(struct store_directory *d, struct loop *l, struct store_change *c)
{
    (void)d;
    enum err rc = fake.fail;
    unsigned at = 0;
    if (fake.hold) {
        fake.held = c;
        fake.held_at = l;
        return;
    }
    while (at < fake.n && !(sv_eq(fake.kept[at].a.user, c->account.user) &&
                            sv_eq(fake.kept[at].a.domain, c->account.domain)))
        at++;
    if (!rc && c->what == STORE_ADD && at < fake.n)
        rc = ERR_EXISTS;
    else if (!rc && c->what == STORE_REMOVE && at == fake.n)
        rc = ERR_NOTFOUND;
    else if (!rc && c->what == STORE_REMOVE)
        fake.kept[at] = fake.kept[--fake.n];
    else if (!rc)
        keep(&fake.kept[at], &c->account);
    if (!rc && c->what == STORE_REMOVE && at < fake.n)
        keep(&fake.kept[at], &fake.kept[at].a);
    if (!rc && c->what != STORE_REMOVE && at == fake.n)
        fake.n++;
    store_op_complete(l, &c->op, rc);
}

static enum err fake_each(struct store_directory *d, store_account_fn *fn, void *arg)
{
    (void)d;
    for (unsigned i = 0; i < fake.n && fn(&fake.kept[i].a, arg); i++)
        continue;
    return ERR_OK;
}

static size_t fake_accounts(const struct store_directory *d)
{
    (void)d;
    return fake.n;
}

static void dir_close(struct store_directory *d)
{
    (void)d;
}

static enum err fake_aors(struct store_location *loc, usec wall, store_aor_fn *fn, void *arg)
{
    (void)loc;
    struct binding b = {.uri = SV("sip:alice@192.0.2.7:5060"),
                        .transport = SIP_T_TCP,
                        .q = 500,
                        .conn = 7,
                        .epoch = 1,
                        .agent = fake.agent,
                        .expires = wall + 60 * USEC_S,
                        .since = wall};
    assert_int_equal(addr_parse_ip(SV("192.0.2.7"), 5060, &b.remote), ERR_OK);
    for (unsigned i = 0; i < fake.aors && fn(fake.aor, &b, 1, arg); i++)
        continue;
    return ERR_OK;
}

static void fake_bindings(struct store_location *loc, struct loop *l, struct store_bindings *b)
{
    (void)loc;
    store_op_complete(l, &b->op, ERR_OK); /* none */
}

static size_t fake_count(const struct store_location *loc)
{
    (void)loc;
    return fake.aors;
}

static uint64_t fake_epoch(const struct store_location *loc)
{
    (void)loc;
    return 2;
}

static void loc_close(struct store_location *loc)
{
    (void)loc;
}

static const struct store_location_ops loc_ops = {.bindings = fake_bindings,
                                                  .each = fake_aors,
                                                  .count = fake_count,
                                                  .epoch = fake_epoch,
                                                  .close = loc_close};
static const struct store_directory_ops dir_ops = {
    .change = fake_change, .each = fake_each, .count = fake_accounts, .close = dir_close};

/* ---- a server and its clients ---- */

struct client {
    struct stream *s;
    char *text;
    size_t n;
    bool closed;
    enum err why;
};

struct world {
    struct sim *sim;
    struct sim_host *host;
    struct loop_group *g;
    struct store *store;
    struct settings *set;
    struct auth_verifier *verifier;
    struct sip_shared *sip;
    struct routing *routing[WORKERS];
    struct control_env env;
    struct control *control;
    struct addr http;
    struct control_request *reload; /* one that was handed to us */
    bool rollback;
    size_t live; /* allocations before */
};

static void on_reload(void *arg, struct control_request *rq, bool rollback)
{
    struct world *w = arg;
    w->reload = rq;
    w->rollback = rollback;
}

static void world_up(struct world *w)
{
    static const uint8_t secret[HOME_SECRET] = {1}, nonces[32] = {2};
    struct addr ip;
    memset(w, 0, sizeof(*w));
    memset(&fake, 0, sizeof(fake));
    w->live = mem_live();
    fake.loc.ops = &loc_ops;
    fake.dir.ops = &dir_ops;
    fake.aor = SV("alice@example.test");
    assert_int_equal(addr_parse_ip(SV("192.0.2.1"), 0, &ip), ERR_OK);
    assert_int_equal(addr_parse_ip(SV("127.0.0.1"), 8080, &w->http), ERR_OK);
    assert_int_equal(sim_new(1, &w->sim), ERR_OK);
    assert_int_equal(sim_host_new(w->sim, "pbx", &ip, 1, &w->host), ERR_OK);
    assert_int_equal(sim_process(w->host, WORKERS, &w->g), ERR_OK);
    assert_int_equal(store_new(&fake.loc, &fake.dir, &w->store), ERR_OK);
    assert_int_equal(settings_default(SV("example.test"), &w->set), ERR_OK);
    assert_int_equal(auth_verifier_new(nonces, 1024, &w->verifier), ERR_OK);
    assert_int_equal(sip_shared_new(secret, w->g, &w->set->sip, &w->sip), ERR_OK);
    struct routing_shared sh = {.sip = w->sip, .store = w->store, .verifier = w->verifier};
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(routing_new(w->g->loop[i], &sh, w->set, &w->routing[i]), ERR_OK);
    w->env = (struct control_env){.group = w->g,
                                  .routing = w->routing,
                                  .store = w->store,
                                  .version = "1.2.3",
                                  .started = loop_wall(w->g->loop[0]),
                                  .ready = true,
                                  .reload_ok = true,
                                  .settings = w->set,
                                  .reload = on_reload,
                                  .arg = w};
    assert_int_equal(control_new(w->g->loop[0], &w->env, SV(TOKEN), &w->control), ERR_OK);
    assert_int_equal(control_listen_unix(w->control, SV(SOCK)), ERR_OK);
    assert_int_equal(control_listen_http(w->control, &w->http), ERR_OK);
}

static void world_down(struct world *w)
{
    sim_process_stop(w->host);
    control_free(w->control);
    for (unsigned i = 0; i < WORKERS; i++)
        routing_free(w->routing[i]);
    sip_shared_free(w->sip);
    auth_verifier_free(w->verifier);
    store_close(w->store);
    settings_unref(w->set);
    sim_process_free(w->host);
    sim_free(w->sim);
    assert_int_equal(mem_live(), w->live);
}

static void run_for(struct world *w, usec t)
{
    sim_run_until(w->sim, sim_now(w->sim) + t);
}

static void client_data(void *arg, sv octets)
{
    struct client *c = arg;
    c->text = realloc(c->text, c->n + octets.n + 1);
    assert_non_null(c->text);
    memcpy(c->text + c->n, octets.p, octets.n);
    c->n += octets.n;
    c->text[c->n] = '\0';
    assert_true(c->n < ANSWER_MAX);
}

static void client_open(void *arg)
{
    (void)arg;
}

static void client_close(void *arg, enum err why)
{
    struct client *c = arg;
    c->s = NULL;
    c->closed = true;
    c->why = why;
}

static const struct stream_handler client_handler = {
    .on_open = client_open, .on_data = client_data, .on_close = client_close};

static void dial(struct world *w, struct client *c, bool over_http)
{
    memset(c, 0, sizeof(*c));
    enum err rc = over_http
                      ? stream_connect(w->g->loop[1], NULL, &w->http, &client_handler, c, &c->s)
                      : sim_connect_unix(w->g->loop[1], SV(SOCK), &client_handler, c, &c->s);
    assert_int_equal(rc, ERR_OK);
}

static void say(struct client *c, const char *text)
{
    sv pieces[] = {sv_of(text)};
    c->s->queue_max = 4 * 1024 * 1024;
    assert_int_equal(stream_send(c->s, pieces, 1), ERR_OK);
}

static void hang_up(struct client *c)
{
    stream_close(c->s, true);
    free(c->text);
    memset(c, 0, sizeof(*c));
}

static unsigned status_of(const struct client *c)
{
    unsigned status = 0;
    if (c->text && sscanf(c->text, "HTTP/1.1 %u ", &status) != 1)
        status = 999;
    return status;
}

static const char *body_of(const struct client *c)
{
    const char *end = c->text ? strstr(c->text, "\r\n\r\n") : NULL;
    return end ? end + 4 : "";
}

/* One exchange on a connection of its own; what was said stays in c. */
static unsigned exchange(struct world *w, struct client *c, bool over_http, const char *request)
{
    dial(w, c, over_http);
    say(c, request);
    run_for(w, 2 * USEC_S);
    return status_of(c);
}

static unsigned ask_status(struct world *w, bool over_http, const char *request)
{
    struct client c;
    unsigned status = 0;
    /* A refusal may leave octets unread, and the reset that follows may overtake the answer. */
    for (int i = 0; i < 30 && !status; i++) {
        status = exchange(w, &c, over_http, request);
        assert_true(status || c.closed);
        hang_up(&c);
    }
    return status;
}

/* The body parsed, strictly. */
static json_t *ask_json(struct world *w, const char *request, unsigned want)
{
    struct client c;
    assert_int_equal(exchange(w, &c, false, request), want);
    json_error_t e;
    json_t *o = json_loads(body_of(&c), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    if (!o)
        fail_msg("%s: %s", e.text, body_of(&c));
    hang_up(&c);
    return o;
}

static unsigned post(struct world *w, const char *method, const char *path, const char *body)
{
    char request[4096];
    int n = snprintf(request, sizeof(request),
                     "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", method, path,
                     strlen(body), body);
    assert_true(n > 0 && (size_t)n < sizeof(request));
    return ask_status(w, false, request);
}

static const char *text_of(json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    assert_non_null(s);
    return s;
}

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
    assert_int_equal(control_listen_http(w.control, &w.http), ERR_OK);
    assert_int_equal(ask_status(&w, true,
                                "GET /api/v1/status HTTP/1.1\r\nHost: localhost:8080\r\n"
                                "Authorization: Bearer \r\n\r\n"),
                     401);
    world_down(&w);
}

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
        cmocka_unit_test(accounts_are_added_changed_and_removed),
        cmocka_unit_test(refuses_what_is_no_account),
        cmocka_unit_test(hostile_names_stay_names),
        cmocka_unit_test(registrations_have_their_shape),
        cmocka_unit_test(a_client_may_leave_before_its_answer),
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
