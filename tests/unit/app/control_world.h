/* SPDX-License-Identifier: MIT */
/* What the tests of control share: a server with its control API in the simulation, clients that
 * speak HTTP to it, and a store of the test's own, which answers late, or never. */
#ifndef CONTROL_WORLD_H
#define CONTROL_WORLD_H
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
    size_t records;  /* of ended calls */
    bool no_records; /* they cannot be read */
};
static struct fake fake;

static inline void keep(struct kept *k, const struct account *a)
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

static inline void fake_change(struct store_directory *d, struct loop *l, struct store_change *c)
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

static inline enum err fake_each(struct store_directory *d, store_account_fn *fn, void *arg)
{
    (void)d;
    for (unsigned i = 0; i < fake.n && fn(&fake.kept[i].a, arg); i++)
        continue;
    return ERR_OK;
}

static inline enum err fake_records(struct store_directory *d, size_t n, store_record_fn *fn,
                                    void *arg)
{
    (void)d;
    if (fake.no_records)
        return ERR_IO;
    for (size_t i = 0; i < n && i < fake.records; i++) {
        struct call_record r = {.call_id = SV("call"),
                                .from = SV("sip:alice@example.test"),
                                .to = SV("sip:bob@example.test"),
                                .start = 1000 * USEC_S,
                                .answer = i % 2 ? 0 : 1001 * USEC_S,
                                .end = 1003 * USEC_S + 999 * USEC_MS,
                                .status = i % 2 ? 486 : 200,
                                .reason = fake.agent,
                                .media = i % 2 ? SV("") : SV("{\"media\": \"direct\"}")};
        if (!fn(&r, arg))
            break;
    }
    return ERR_OK;
}

static inline size_t fake_accounts(const struct store_directory *d)
{
    (void)d;
    return fake.n;
}

static inline void dir_close(struct store_directory *d)
{
    (void)d;
}

static inline enum err fake_aors(struct store_location *loc, usec wall, store_aor_fn *fn, void *arg)
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

static inline uint32_t fake_place(const struct store_location *loc, sv aor)
{
    (void)loc;
    (void)aor;
    return 0;
}

static inline enum err fake_aors_between(struct store_location *loc, uint32_t from, uint32_t to,
                                         usec wall, store_aor_fn *fn, void *arg)
{
    return from == 0 && to > 0 ? fake_aors(loc, wall, fn, arg) : ERR_OK;
}

static inline void fake_bindings(struct store_location *loc, struct loop *l,
                                 struct store_bindings *b)
{
    (void)loc;
    store_op_complete(l, &b->op, ERR_OK); /* none */
}

static inline size_t fake_count(const struct store_location *loc)
{
    (void)loc;
    return fake.aors;
}

static inline uint64_t fake_epoch(const struct store_location *loc)
{
    (void)loc;
    return 2;
}

static inline void loc_close(struct store_location *loc)
{
    (void)loc;
}

static const struct store_location_ops loc_ops = {.bindings = fake_bindings,
                                                  .each = fake_aors,
                                                  .place = fake_place,
                                                  .each_between = fake_aors_between,
                                                  .count = fake_count,
                                                  .epoch = fake_epoch,
                                                  .close = loc_close};
static const struct store_directory_ops dir_ops = {.change = fake_change,
                                                   .each = fake_each,
                                                   .each_record = fake_records,
                                                   .count = fake_accounts,
                                                   .close = dir_close};

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
    struct ports *ports;
    struct sip_shared *sip;
    struct routing *routing[WORKERS];
    struct control_env env;
    struct control *control;
    struct addr http;
    struct control_request *reload; /* one that was handed to us */
    bool rollback;
    size_t live; /* allocations before */
};

static inline void on_reload(void *arg, struct control_request *rq, bool rollback)
{
    struct world *w = arg;
    w->reload = rq;
    w->rollback = rollback;
}

static inline void world_up(struct world *w)
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
    assert_int_equal(ports_new(w->set->media.first_port, w->set->media.last_port, &w->ports),
                     ERR_OK);
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
                                  .boot = w->set,
                                  .ports = w->ports,
                                  .reload = on_reload,
                                  .arg = w};
    assert_int_equal(control_new(w->g->loop[0], &w->env, SV(TOKEN), &w->control), ERR_OK);
    assert_int_equal(control_listen_unix(w->control, SV(SOCK)), ERR_OK);
    assert_int_equal(control_listen_http(w->control, &w->http, &w->env.http), ERR_OK);
}

static inline void world_down(struct world *w)
{
    sim_process_stop(w->host);
    control_free(w->control);
    for (unsigned i = 0; i < WORKERS; i++)
        routing_free(w->routing[i]);
    sip_shared_free(w->sip);
    auth_verifier_free(w->verifier);
    ports_free(w->ports);
    store_close(w->store);
    settings_unref(w->set);
    sim_process_free(w->host);
    sim_free(w->sim);
    assert_int_equal(mem_live(), w->live);
}

static inline void run_for(struct world *w, usec t)
{
    sim_run_until(w->sim, sim_now(w->sim) + t);
}

static inline void client_data(void *arg, sv octets)
{
    struct client *c = arg;
    c->text = realloc(c->text, c->n + octets.n + 1);
    assert_non_null(c->text);
    memcpy(c->text + c->n, octets.p, octets.n);
    c->n += octets.n;
    c->text[c->n] = '\0';
    assert_true(c->n < ANSWER_MAX);
}

static inline void client_open(void *arg)
{
    (void)arg;
}

static inline void client_close(void *arg, enum err why)
{
    struct client *c = arg;
    c->s = NULL;
    c->closed = true;
    c->why = why;
}

static const struct stream_handler client_handler = {
    .on_open = client_open, .on_data = client_data, .on_close = client_close};

static inline void dial(struct world *w, struct client *c, bool over_http)
{
    memset(c, 0, sizeof(*c));
    enum err rc = over_http
                      ? stream_connect(w->g->loop[1], NULL, &w->http, &client_handler, c, &c->s)
                      : sim_connect_unix(w->g->loop[1], SV(SOCK), &client_handler, c, &c->s);
    assert_int_equal(rc, ERR_OK);
}

static inline void say(struct client *c, const char *text)
{
    sv pieces[] = {sv_of(text)};
    c->s->queue_max = 4 * 1024 * 1024;
    assert_int_equal(stream_send(c->s, pieces, 1), ERR_OK);
}

static inline void hang_up(struct client *c)
{
    stream_close(c->s, true);
    free(c->text);
    memset(c, 0, sizeof(*c));
}

static inline unsigned status_of(const struct client *c)
{
    unsigned status = 0;
    if (c->text && sscanf(c->text, "HTTP/1.1 %u ", &status) != 1)
        status = 999;
    return status;
}

static inline const char *body_of(const struct client *c)
{
    const char *end = c->text ? strstr(c->text, "\r\n\r\n") : NULL;
    return end ? end + 4 : "";
}

/* One exchange on a connection of its own; what was said stays in c. */
static inline unsigned exchange(struct world *w, struct client *c, bool over_http,
                                const char *request)
{
    dial(w, c, over_http);
    say(c, request);
    run_for(w, 2 * USEC_S);
    return status_of(c);
}

static inline unsigned ask_status(struct world *w, bool over_http, const char *request)
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
static inline json_t *ask_json(struct world *w, const char *request, unsigned want)
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

static inline unsigned post(struct world *w, const char *method, const char *path, const char *body)
{
    char request[4096];
    int n = snprintf(request, sizeof(request),
                     "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", method, path,
                     strlen(body), body);
    assert_true(n > 0 && (size_t)n < sizeof(request));
    return ask_status(w, false, request);
}

static inline const char *text_of(json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    assert_non_null(s);
    return s;
}

#endif
