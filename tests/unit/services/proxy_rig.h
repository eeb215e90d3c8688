/* SPDX-License-Identifier: MIT */
/* proxy_rig.h: the proxy alone, with names: what comes is forwarded to the targets that a test sets.
 * Peers as in rig.h; server processes of zones in text. */
#ifndef TESTS_SERVICES_PROXY_RIG_H
#define TESTS_SERVICES_PROXY_RIG_H
#include "rig.h"

struct bench {
    struct rig rig;
    struct locate_shared *names;
    struct locate *locate;
    struct proxy *proxy;
    struct proxy_request next; /* how the next request is forwarded */
    struct proxy_target target[PROXY_TARGETS_MAX + 2];
    /* what the watcher saw */
    unsigned responses, unreachable, redirects, gone;
    enum err why;
    struct proxy_redirect *redirect; /* to be answered later */
    void (*on_redirect)(struct bench *b, struct proxy_redirect *redirect, struct rx *rx);
    struct proxy_redirect *held; /* likewise */
    unsigned holds;
    void (*on_rx)(struct bench *b, struct rx *rx, const struct proxy_route *route); /* instead */
    sv ack;      /* the session description of ACKs; SV_NONE: as it came */
    bool marked; /* the last request followed a route set of ours */
    struct flow token;
};

static void bench_response(void *arg, struct rx *rx, uint16_t status, sv said,
                           const struct dest *via, const struct proxy_target *t)
{
    struct bench *b = arg;
    assert_true((rx != NULL) == (via != NULL));
    assert_true(via || !t);
    assert_true(said.n > 0 ? status >= 300 : status < 300);
    b->responses++;
}
static void bench_redirect(void *arg, struct proxy_redirect *redirect, const struct proxy_target *t,
                           struct rx *rx)
{
    struct bench *b = arg;
    assert_non_null(t);
    b->redirects++;
    b->on_redirect(b, redirect, rx);
}
static void bench_held(void *arg, struct proxy_redirect *held, const struct proxy_target *t)
{
    struct bench *b = arg;
    assert_true(t->held);
    b->holds++;
    b->held = held;
}
static void bench_unreachable(void *arg, const struct proxy_target *t, enum err why)
{
    struct bench *b = arg;
    assert_non_null(t);
    b->unreachable++;
    b->why = why;
}
static void bench_gone(void *arg)
{
    struct bench *b = arg;
    b->gone++;
}
static const struct proxy_watch bench_watch = {.on_response = bench_response,
                                               .on_redirect = bench_redirect,
                                               .on_held = bench_held,
                                               .on_unreachable = bench_unreachable,
                                               .on_gone = bench_gone};
static const struct proxy_watch bench_watch_plain = {
    .on_response = bench_response, .on_unreachable = bench_unreachable, .on_gone = bench_gone};

static void bench_request(void *arg, struct rx *rx)
{
    struct bench *b = arg;
    struct proxy_route route;
    struct stxn *txn;
    if (rx->rc || !proxy_validate(b->proxy, rx) || rx->msg.method == SIP_CANCEL)
        return;
    enum err rc = proxy_route(b->proxy, rx, &route);
    if (rc == ERR_NOMEM) /* as where a test takes the memory away */
        return;
    assert_int_equal(rc, ERR_OK);
    if (b->on_rx) {
        b->on_rx(b, rx, &route);
        return;
    }
    struct proxy_request q = b->next;
    struct proxy_target along = {.uri = SV_NONE};
    bool same;
    b->marked = route.mark_ok;
    if (!proxy_route_flow(b->proxy, rx, &route, &b->token, &same))
        b->token = (struct flow){.transport = SIP_T_NONE};
    if (route.mark_ok) {
        if (b->token.transport != SIP_T_NONE) {
            along.dest = (struct dest){
                .flow = b->token, .addr = b->token.remote, .transport = b->token.transport};
            along.flow_only = true;
        }
        q.targets = &along;
        q.n = 1;
        q.record_route = false;
    }
    if (rx->msg.method == SIP_ACK) {
        struct proxy_body_new as = {.description = b->ack};
        proxy_relay(b->proxy, rx, &route, &q.targets[0], &as);
        return;
    }
    rc = stxn_new(b->rig.sip, rx, NULL, NULL, &txn);
    if (rc == ERR_NOMEM)
        return;
    assert_int_equal(rc, ERR_OK);
    q.server = txn;
    q.route = &route;
    q.watch_arg = b;
    proxy_forward(b->proxy, &q);
}
static const struct sip_user bench_user = {.on_request = bench_request};

static struct bench *bench_new(void)
{
    static const char *const ips[PEERS] = {"192.0.2.11", "192.0.2.12", "192.0.2.13", "203.0.113.9"};
    static const uint8_t secret[HOME_SECRET] = "thirty-two octets for one test.";
    struct bench *b = MEM_NEW(struct bench);
    struct rig *r = &b->rig;
    struct addr server = address(SERVER_IP, 5060), outside[PEERS];
    assert_non_null(b);
    assert_int_equal(crypto_start(), ERR_OK);
    assert_int_equal(sim_new(11, &r->sim), ERR_OK);
    for (int i = 0; i < PEERS; i++)
        outside[i] = r->peer[i].addr = address(ips[i], 5060);
    assert_int_equal(sim_host_new(r->sim, "server", &server, 1, &r->host), ERR_OK);
    assert_int_equal(sim_host_new(r->sim, "outside", outside, PEERS, &r->outside), ERR_OK);
    assert_int_equal(sim_process(r->host, 1, &r->group), ERR_OK);
    assert_int_equal(sim_process(r->outside, 1, &r->peer_group), ERR_OK);
    struct loop *l = r->peer_group->loop[0];
    for (int i = 0; i < PEERS; i++)
        assert_int_equal(udp_open(l, &outside[i], &peer_handler, &r->peer[i], &r->peer[i].udp),
                         ERR_OK);
    assert_int_equal(stream_listen(l, &outside[DESK], &accept_events, r, &r->listener), ERR_OK);
    assert_int_equal(settings_default(SV("example.com"), &r->set), ERR_OK);
    r->set->sip.listen[0] = (struct sip_listen){.transport = SIP_T_UDP, .bind = server};
    r->set->sip.listen[1] = (struct sip_listen){.transport = SIP_T_TCP, .bind = server};
    r->set->sip.listeners = 2;
    assert_int_equal(sip_shared_new(secret, r->group, &r->set->sip, &r->shared), ERR_OK);
    struct loop *own = r->group->loop[0];
    assert_int_equal(sip_new(own, r->shared, &bench_user, b, &r->sip), ERR_OK);
    assert_int_equal(txn_start(r->sip), ERR_OK);
    assert_int_equal(locate_shared_new(secret, 100, &b->names), ERR_OK);
    assert_int_equal(locate_new(r->sip, b->names, &b->locate), ERR_OK);
    assert_int_equal(proxy_new(r->sip, &b->proxy), ERR_OK);
    proxy_settings(b->proxy, r->set);
    proxy_locate(b->proxy, b->locate);
    assert_int_equal(sip_listen(r->sip, 0), ERR_OK);
    assert_int_equal(sip_listen(r->sip, 1), ERR_OK);
    b->next = (struct proxy_request){
        .targets = b->target, .n = 1, .record_route = true, .watch = &bench_watch_plain};
    return b;
}

static void bench_free(struct bench *b)
{
    struct rig *r = &b->rig;
    struct loop *l = r->group->loop[0];
    sim_process_stop(r->host);
    sim_process_stop(r->outside);
    for (int i = 0; i < PEERS; i++)
        udp_close(r->peer[i].udp);
    listener_close(r->listener);
    stream_close(r->stream, false);
    proxy_free(b->proxy);
    sip_free(r->sip);
    locate_free(b->locate);
    assert_int_equal(stat_get(&l->stats, STAT_SIP_TXN_LIVE), 0);
    assert_int_equal(block_pool_live(l->blocks), 0);
    sip_shared_free(r->shared);
    locate_shared_free(b->names);
    settings_unref(r->set);
    sim_process_free(r->host);
    sim_process_free(r->outside);
    sim_free(r->sim);
    mem_free(b);
}

/* Nothing is under way any more. */
static void bench_quiet(struct bench *b)
{
    rig_run(&b->rig, 5 * USEC_MIN);
    assert_int_equal(proxy_contexts(b->proxy), 0);
    assert_int_equal(sip_transactions(b->rig.sip), 0);
}

static void zone(struct bench *b, const char *text)
{
    assert_int_equal(sim_zone(b->rig.sim, sv_of(text)), ERR_OK);
}

static int64_t failovers(const struct bench *b)
{
    return stat_get(&b->rig.group->loop[0]->stats, STAT_FAILOVERS);
}

#endif
