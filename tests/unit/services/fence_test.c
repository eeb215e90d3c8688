/* SPDX-License-Identifier: MIT */
/* fence_test.c: which addresses the servers of routes close to TURN clients, by number and by name. */
#include "fence/fence.h"

#include "proxy_rig.h"
#include "turnserver/turnserver_priv.h"

struct world {
    struct bench *b;
    struct ports *ports;
    struct turnserver_shared *shared;
    struct turnserver *turn;
    struct fence *fence;
};

static struct settings_route routes[FENCE_SERVERS / SETTINGS_TARGETS_MAX + 1];

/* Routes of one target each. */
static void route(struct world *w, unsigned n, const char *const uri[])
{
    struct settings *set = w->b->rig.set;
    memset(routes, 0, sizeof(routes));
    for (unsigned i = 0; i < n; i++) {
        routes[i].targets_n = 1;
        routes[i].target[0] = (struct settings_target){.kind = TARGET_SIP, .uri = sv_of(uri[i])};
    }
    set->routes = routes;
    set->routes_n = n;
}

static int setup(void **state)
{
    static const uint8_t secret[32] = "thirty-two octets for one test.";
    struct turnserver_config none = {.limits.quota = 1};
    struct world *w = MEM_NEW(struct world);
    w->b = bench_new();
    assert_int_equal(ports_new(20000, 20099, &w->ports), ERR_OK);
    assert_int_equal(turnserver_shared_new(secret, SV("example.com"), w->ports, &w->shared),
                     ERR_OK);
    assert_int_equal(turnserver_new(w->b->rig.group->loop[0], w->shared, &none, &w->turn), ERR_OK);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    sim_process_stop(w->b->rig.host);
    fence_free(w->fence);
    turnserver_free(w->turn);
    turnserver_shared_free(w->shared);
    ports_free(w->ports);
    bench_free(w->b);
    mem_free(w);
    return 0;
}

static void begin(struct world *w)
{
    assert_int_equal(
        fence_new(w->b->rig.group->loop[0], w->b->locate, w->turn, w->b->rig.set, &w->fence),
        ERR_OK);
}

static bool closed(struct world *w, const char *ip)
{
    struct turnserver_slot slot = {.of = NULL};
    struct addr a = address(ip, 5060), to;
    return turnserver_peer_resolve(w->turn->core, &slot, &a, &to) == TURNSERVER_TRUSTS;
}

static void a_number_is_closed_from_the_first_moment(void **state)
{
    struct world *w = *state;
    static const char *const uri[] = {"sip:gate@203.0.113.5:5080;transport=tcp", "sip:203.0.113.4",
                                      "sip:x.example.net;maddr=203.0.113.6"};
    route(w, 3, uri);
    routes[3] =
        (struct settings_route){.action = ACTION_REDIRECT, /* others send there */
                                .target = {{.kind = TARGET_SIP, .uri = SV("sip:203.0.113.7")}},
                                .targets_n = 1};
    w->b->rig.set->routes_n = 4;
    begin(w);
    assert_true(closed(w, "203.0.113.5"));
    assert_true(closed(w, "203.0.113.4"));
    assert_true(closed(w, "203.0.113.6"));
    assert_false(closed(w, "203.0.113.7"));
    assert_false(closed(w, "203.0.113.8"));
    route(w, 1, uri + 1);
    assert_int_equal(fence_settings(w->fence, w->b->rig.set), ERR_OK);
    assert_false(closed(w, "203.0.113.5"));
    assert_true(closed(w, "203.0.113.4"));
}

static void what_a_name_leads_to_is_closed(void **state)
{
    struct world *w = *state;
    static const char *const uri[] = {"sip:gate.example.net", "sip:+1@late.example.net"};
    route(w, 2, uri);
    zone(w->b, "_sip._udp.gate.example.net SRV 60 1 0 5060 one.example.net\n"
               "_sip._udp.gate.example.net SRV 60 2 0 5060 two.example.net\n"
               "one.example.net A 60 203.0.113.1\n"
               "two.example.net A 60 203.0.113.2\n"
               "two.example.net AAAA 60 2001:db8::2\n"
               "late.example.net TIMEOUT\n");
    begin(w);
    rig_run(&w->b->rig, 30 * USEC_S);
    assert_true(closed(w, "203.0.113.1"));
    assert_true(closed(w, "203.0.113.2"));
    assert_false(closed(w, "203.0.113.3"));
    /* The DNS is asked again when its answer ends, and where there was none. */
    zone(w->b, "one.example.net A 60 203.0.113.3\n"
               "two.example.net TIMEOUT\n"
               "late.example.net A 60 203.0.113.4\n");
    rig_run(&w->b->rig, 3 * USEC_MIN);
    assert_true(closed(w, "203.0.113.1")); /* it was there once */
    assert_true(closed(w, "203.0.113.2"));
    assert_true(closed(w, "203.0.113.3"));
    assert_true(closed(w, "203.0.113.4"));
}

static void a_reload_opens_nothing_that_stays_and_the_rest(void **state)
{
    struct world *w = *state;
    static const char *const uri[] = {"sip:one.example.net", "sip:two.example.net",
                                      "sip:three.example.net"};
    route(w, 2, uri);
    zone(w->b, "one.example.net A 60 203.0.113.1\n"
               "two.example.net A 60 203.0.113.2\n"
               "three.example.net A 60 203.0.113.3\n");
    begin(w);
    rig_run(&w->b->rig, 5 * USEC_S);
    assert_true(closed(w, "203.0.113.1"));
    route(w, 2, uri + 1);
    assert_int_equal(fence_settings(w->fence, w->b->rig.set), ERR_OK);
    assert_false(closed(w, "203.0.113.1"));
    assert_true(closed(w, "203.0.113.2")); /* before the DNS has said anything */
    rig_run(&w->b->rig, 5 * USEC_S);
    assert_true(closed(w, "203.0.113.3"));
    /* and while it is asked */
    zone(w->b, "slow.example.net TIMEOUT\n");
    static const char *const slow[] = {"sip:slow.example.net"};
    route(w, 1, slow);
    assert_int_equal(fence_settings(w->fence, w->b->rig.set), ERR_OK);
    rig_run(&w->b->rig, 10 * USEC_MS);
    route(w, 0, NULL);
    assert_int_equal(fence_settings(w->fence, w->b->rig.set), ERR_OK);
    assert_false(closed(w, "203.0.113.3"));
}

/* A name that leads elsewhere each time, and more servers than there is room for. */
static void there_is_an_end_to_it(void **state)
{
    struct world *w = *state;
    static char text[FENCE_SERVERS + SETTINGS_TARGETS_MAX][64];
    static const char *const uri[] = {"sip:moves.example.net"};
    char line[64];
    route(w, 1, uri);
    for (unsigned i = 0; i < FENCE_ADDRESSES + 1; i++) {
        snprintf(line, sizeof(line), "moves.example.net A 1 203.0.113.%u\n", i + 1);
        zone(w->b, line);
        if (i == 0)
            begin(w);
        rig_run(&w->b->rig, 12 * USEC_S);
    }
    assert_false(closed(w, "203.0.113.1"));
    assert_true(closed(w, "203.0.113.2"));
    snprintf(line, sizeof(line), "203.0.113.%u", FENCE_ADDRESSES + 1);
    assert_true(closed(w, line));
    for (unsigned i = 0; i < FENCE_SERVERS + SETTINGS_TARGETS_MAX; i++) {
        struct settings_route *r = &routes[i / SETTINGS_TARGETS_MAX];
        snprintf(text[i], sizeof(text[i]), "sip:198.51.%u.%u", i / 200, i % 200);
        r->target[i % SETTINGS_TARGETS_MAX] =
            (struct settings_target){.kind = TARGET_SIP, .uri = sv_of(text[i])};
        r->targets_n = i % SETTINGS_TARGETS_MAX + 1;
    }
    w->b->rig.set->routes_n = sizeof(routes) / sizeof(routes[0]);
    assert_int_equal(fence_settings(w->fence, w->b->rig.set), ERR_OK);
    assert_true(closed(w, "198.51.0.0"));
    assert_true(closed(w, "198.51.5.23"));
    assert_false(closed(w, "198.51.5.24"));
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_number_is_closed_from_the_first_moment),
        T(what_a_name_leads_to_is_closed),
        T(a_reload_opens_nothing_that_stays_and_the_rest),
        T(there_is_an_end_to_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
