/* SPDX-License-Identifier: MIT */
/* TLS over simulated streams, through a process in the middle that hands octets on one by one, cuts
 * the connection anywhere, or changes an octet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "sim/sim.h"
#include "tls_pems.h"

static struct pem authority, leaf;
static struct tls *server_tls, *client_tls;

enum { SAID = 3000 };
static char said[SAID];

/* One end: says all of `said`, hears that of the other, then leaves if it is the one to. */
struct end {
    struct stream *s;
    size_t heard;
    unsigned opened, closed;
    enum err why;
    bool leaves;
};

/* The middle: what to do to the octets of one direction. */
struct way {
    struct stream *to;
    size_t passed, cut_at, flip_at;
    uint8_t flip;
    bool hard; /* a reset, not an end */
    char wait[16384];
    size_t wait_n;
};

struct scene {
    struct sim *s;
    struct sim_host *host[3];
    struct loop_group *g[3];
    struct listener *at_middle, *at_server;
    struct end client, server;
    struct way up, down; /* towards the server, towards the client */
    struct timer tick;
    bool slow; /* an octet a tick */
};
static struct scene *now;

/* ---- the ends ---- */

static void on_open(void *arg)
{
    struct end *e = arg;
    assert_int_equal(e->opened++, 0);
    assert_int_equal(stream_send(e->s, &(sv){said, SAID}, 1), ERR_OK);
}

static void on_data(void *arg, sv s)
{
    struct end *e = arg;
    assert_true(e->opened == 1 && e->closed == 0);
    assert_true(e->heard + s.n <= SAID);
    assert_memory_equal(said + e->heard, s.p, s.n); /* never anything but what was said */
    e->heard += s.n;
    if (e->heard == SAID && e->leaves) {
        stream_close(e->s, true);
        e->s = NULL;
    }
}

static void on_close(void *arg, enum err why)
{
    struct end *e = arg;
    e->s = NULL;
    e->closed++;
    e->why = why;
}

static const struct stream_handler handler = {
    .on_open = on_open, .on_data = on_data, .on_close = on_close};

static void on_accept(void *arg, struct stream *lower)
{
    (void)arg;
    assert_int_equal(tls_accept(server_tls, lower, &handler, &now->server, &now->server.s), ERR_OK);
}

static const struct listener_handler accepting = {on_accept};

/* ---- the middle ---- */

static struct way *other(struct way *w)
{
    return w == &now->up ? &now->down : &now->up;
}

static void cut(struct way *w)
{
    struct way *ways[] = {w, other(w)};
    for (int i = 0; i < 2; i++) {
        stream_close(ways[i]->to, !ways[i]->hard);
        ways[i]->to = NULL;
        ways[i]->wait_n = 0;
    }
}

/* One octet goes on. */
static void pass(struct way *w, char c)
{
    if (w->passed == w->cut_at) {
        cut(w);
        return;
    }
    if (w->passed++ == w->flip_at)
        c = (char)(c ^ w->flip);
    assert_int_equal(stream_send(w->to, &(sv){&c, 1}, 1), ERR_OK);
}

static void pass_waiting(struct way *w)
{
    if (w->wait_n == 0)
        return;
    char c = w->wait[0];
    memmove(w->wait, w->wait + 1, --w->wait_n);
    pass(w, c);
}

static void on_tick(struct timer *t, void *arg)
{
    (void)arg;
    pass_waiting(&now->up);
    pass_waiting(&now->down);
    if (now->up.wait_n + now->down.wait_n > 0)
        loop_timer(now->g[1]->loop[0], t, USEC_MS);
}

static void on_pass_data(void *arg, sv s)
{
    struct way *w = arg;
    for (size_t i = 0; i < s.n && w->to; i++) {
        if (!now->slow) {
            pass(w, s.p[i]);
            continue;
        }
        assert_true(w->wait_n < sizeof(w->wait));
        w->wait[w->wait_n++] = s.p[i];
        if (!timer_armed(&now->tick))
            loop_timer(now->g[1]->loop[0], &now->tick, USEC_MS);
    }
}

/* The stream that w's octets come from, which is where the other way goes to, has ended. */
static void on_pass_close(void *arg, enum err why)
{
    struct way *w = arg;
    (void)why;
    other(w)->to = NULL;
    while (w->wait_n > 0 && w->to)
        pass_waiting(w);
    stream_close(w->to, true);
    w->to = NULL;
}

static const struct stream_handler passing = {.on_data = on_pass_data, .on_close = on_pass_close};

static void on_middle_accept(void *arg, struct stream *s)
{
    struct addr to;
    (void)arg;
    assert_int_equal(addr_parse(SV("192.0.2.3:5061"), &to), ERR_OK);
    now->down.to = s;
    stream_handle(s, &passing, &now->up);
    assert_int_equal(stream_connect(s->loop, NULL, &to, &passing, &now->down, &now->up.to), ERR_OK);
}

static const struct listener_handler middle_accepting = {on_middle_accept};

/* ---- scenes ---- */

static void scene_start(struct scene *c, uint64_t seed)
{
    static const char *const ip[] = {"192.0.2.1", "192.0.2.2", "192.0.2.3"};
    struct addr a, any;
    now = c;
    memset(c, 0, sizeof(*c));
    c->up.cut_at = c->up.flip_at = c->down.cut_at = c->down.flip_at = SIZE_MAX;
    c->client.leaves = true;
    timer_init(&c->tick, on_tick, NULL);
    assert_int_equal(sim_new(seed, &c->s), ERR_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(addr_parse_ip(sv_of(ip[i]), 0, &a), ERR_OK);
        assert_int_equal(sim_host_new(c->s, ip[i], &a, 1, &c->host[i]), ERR_OK);
        assert_int_equal(sim_process(c->host[i], 1, &c->g[i]), ERR_OK);
    }
    assert_int_equal(addr_parse(SV("0.0.0.0:5061"), &any), ERR_OK);
    assert_int_equal(stream_listen(c->g[1]->loop[0], &any, &middle_accepting, NULL, &c->at_middle),
                     ERR_OK);
    assert_int_equal(stream_listen(c->g[2]->loop[0], &any, &accepting, NULL, &c->at_server),
                     ERR_OK);
}

static void scene_run(struct scene *c)
{
    struct addr to;
    assert_int_equal(addr_parse(SV("192.0.2.2:5061"), &to), ERR_OK);
    assert_int_equal(tls_connect(client_tls, c->g[0]->loop[0], NULL, &to, SV("example.test"), true,
                                 &handler, &c->client, &c->client.s),
                     ERR_OK);
    sim_run_until(c->s, 10 * USEC_MIN);
}

static void scene_end(struct scene *c)
{
    stream_close(c->client.s, false);
    stream_close(c->server.s, false);
    stream_close(c->up.to, false);
    stream_close(c->down.to, false);
    listener_close(c->at_middle);
    listener_close(c->at_server);
    sim_free(c->s);
    now = NULL;
}

/* The server heard an orderly end only after all that the client had said. */
static void assert_whole_or_told(const struct scene *c)
{
    const struct end *e = &c->server;
    assert_true(e->closed <= 1 && c->client.closed <= 1);
    assert_true(!e->s); /* it ended one way or the other, or never began */
    if (e->closed && e->why == ERR_OK)
        assert_int_equal(e->heard, SAID);
    if (c->client.closed)
        assert_int_not_equal(c->client.why, ERR_OK); /* the server never leaves by itself */
}

static void octet_by_octet(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 3; seed++) {
        static struct scene c;
        scene_start(&c, seed);
        struct sim_wire w = {.delay_min = 100, .delay_max = 100};
        sim_set_wire(c.s, &w);
        c.slow = true;
        scene_run(&c);
        assert_int_equal(c.client.heard, SAID);
        assert_int_equal(c.server.heard, SAID);
        assert_int_equal(c.server.why, ERR_OK);
        scene_end(&c);
    }
}

/* How many octets pass each way when nothing is done to them. */
static void measure(size_t *ret_up, size_t *ret_down)
{
    static struct scene c;
    scene_start(&c, 1);
    scene_run(&c);
    assert_int_equal(c.server.why, ERR_OK);
    assert_int_equal(c.client.heard, SAID);
    *ret_up = c.up.passed;
    *ret_down = c.down.passed;
    scene_end(&c);
}

/* Densely where the handshake is, else now and then; every octet with TANDEM_HEAVY. */
static size_t step(size_t at, size_t dense, size_t sparse)
{
    size_t often = getenv("TANDEM_HEAVY") ? 1 : 3;
    return often * (at > 1500 ? sparse : dense);
}

static void cut_anywhere(void **state)
{
    static struct scene c;
    size_t n[2];
    (void)state;
    size_t live = mem_live();
    measure(&n[0], &n[1]);
    assert_true(n[0] > SAID && n[1] > SAID);
    for (int down = 0; down < 2; down++)
        for (size_t at = 0; at < n[down]; at += step(at, 1, 7)) {
            scene_start(&c, at);
            struct way *w = down ? &c.down : &c.up;
            w->cut_at = at;
            w->hard = at & 1;
            scene_run(&c);
            assert_whole_or_told(&c);
            if (!down && at < n[0] - 30 && c.server.closed)
                assert_int_not_equal(c.server.why, ERR_OK);
            scene_end(&c);
            assert_int_equal(mem_live(), live);
        }
}

/* A changed octet is found out, or was one that nobody goes by. */
static void change_anywhere(void **state)
{
    static struct scene c;
    size_t n[2];
    unsigned harmless = 0, found = 0;
    (void)state;
    size_t live = mem_live();
    measure(&n[0], &n[1]);
    for (int down = 0; down < 2; down++)
        for (size_t at = 0; at < n[down]; at += step(at, 2, 19)) {
            scene_start(&c, at);
            struct way *w = down ? &c.down : &c.up;
            w->flip_at = at;
            w->flip = (uint8_t)(1u << at % 8);
            scene_run(&c);
            /* a length that grew waits for octets that never come: the caller's deadline */
            stream_close(c.client.s, true);
            c.client.s = NULL;
            sim_run_until(c.s, 20 * USEC_MIN);
            assert_whole_or_told(&c);
            harmless += c.server.why == ERR_OK && c.client.heard == SAID;
            found += c.server.why != ERR_OK || c.client.closed;
            scene_end(&c);
            assert_int_equal(mem_live(), live);
        }
    assert_true(found > 150);
    assert_true(harmless < 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(octet_by_octet),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(change_anywhere),
    };
    assert_int_equal(crypto_start(), ERR_OK);
    for (size_t i = 0; i < SAID; i++)
        said[i] = (char)(i * 2654435761u >> 13);
    pem_make(&authority, NULL, "example.test");
    pem_make(&leaf, &authority, "example.test");
    struct tls_pair pair = pem_pair(&leaf);
    struct tls_config s = {.pairs = &pair, .n = 1, .ca = buf_sv(&authority.cert)};
    struct tls_config c = {.ca = buf_sv(&authority.cert)};
    server_tls = pem_tls(&s);
    client_tls = pem_tls(&c);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    tls_unref(server_tls);
    tls_unref(client_tls);
    pem_done(&authority);
    pem_done(&leaf);
    return rc;
}
