/* SPDX-License-Identifier: MIT */
/* bodies_sim: session descriptions that are exchanged on their way, over a bad network.
 *
 * A proxy whose watcher exchanges every description, and refuses some; phones that call through it. Calls
 * fork, to servers of which some are dead; offers stand in INVITE, 200, reliable 18x, PRACK, UPDATE and
 * re-INVITE of either side, answers in what follows them, the ACK among it; some bodies are multipart, some
 * grow so much that they leave over TCP, which not all phones take. A tenth of all datagrams is lost.
 *
 * A phone's description is "s=U<name>"; the watcher makes "s=P<leg>.<name>" of it, with a padding that both
 * tell. What must hold:
 *
 *   - whatever a phone receives was exchanged, is whole, and was meant for it: a leg rings one phone
 *   - a refused one never arrives anywhere
 *   - whom a phone's 488 made ask again, with a higher number, counts on from there, and its caller does not see it
 *   - a 2xx that comes again says the same
 *   - one that was refused never brings a description up, and who said it hears ACK and one BYE, unless the caller has it
 *   - each leg is told gone once, each context too
 *   - afterwards nothing is left: no transaction, context, block, memory
 *   - the same seed gives the same trace */
#include <stdio.h>
#include <stdlib.h>
#include "support/bodies.h"

/* ---- the watcher ---- */

static sv exchange(struct scenario *sc, const struct proxy_passing *m, struct leg *l)
{
    char mem[BODY_MAX];
    sv name, copy;
    if (!bodies_name(m->description, "v=0\r\ns=U", &name)) {
        bodies_fail(sc, "the watcher gets what no phone said", m->description);
        return SV_NONE;
    }
    bodies_need(sv_dup(m->arena, bodies_exchanged((unsigned)(l - sc->leg), name, mem), &copy));
    return copy;
}

static struct leg *leg_of(struct scenario *sc, void **leg)
{
    struct leg *l = *leg;
    if (l)
        return l;
    if (sc->legs == LEGS_MAX)
        abort();
    l = &sc->leg[sc->legs++];
    l->filled = true;
    *leg = l;
    return l;
}

/* By how much the callee with this tag counts further than its caller. */
static uint32_t raise_of(struct scenario *sc, sv tag)
{
    const struct raised *x = sc->raised;
    while (x && !sv_eq(x->tag, tag))
        x = x->next;
    return x ? x->by : 0;
}

static enum proxy_body on_offer(void *arg, void **leg, const struct proxy_passing *m,
                                struct proxy_body_new *ret)
{
    struct scenario *sc = arg;
    struct leg *l = leg_of(sc, leg);
    const struct sip_addr *to;
    if (l->gone || l->refused)
        bodies_fail(sc, "a leg that is over is asked about", m->rx->msg.text);
    bool first = sipmsg_to(&m->rx->msg, &to) == ERR_OK && !to->tag.p;
    l->first = first;
    ret->raise = first ? l->again : to->tag.n ? raise_of(sc, to->tag) : 0;
    if (first && (l - sc->leg) % 10 == 3) {
        l->refused = true;
        sc->refused++;
        ret->status = 488;
        return PROXY_BODY_REFUSE;
    }
    if (!m->description.p)
        return PROXY_BODY_PASS;
    ret->description = exchange(sc, m, l);
    return PROXY_BODY_REPLACE;
}

static void refuse_answer(struct scenario *sc, const struct proxy_passing *m,
                          struct proxy_body_new *ret)
{
    const struct sip_addr *to;
    ret->status = 488;
    ret->raise = 100;
    if (sipmsg_to(&m->rx->msg, &to) || bodies_unfit(sc, to->tag))
        return;
    struct unfit *x = arena_calloc(&sc->memory, 1, sizeof(*x));
    if (!x)
        abort();
    *x = (struct unfit){.next = sc->unfit, .tag = bodies_keep(sc, to->tag)};
    sc->unfit = x;
}

static enum proxy_body on_answer(void *arg, void **leg, const struct proxy_passing *m,
                                 struct proxy_body_new *ret)
{
    struct scenario *sc = arg;
    struct leg *l = leg_of(sc, leg);
    if (l->gone || l->refused)
        bodies_fail(sc, "a leg that is over answers", m->rx->msg.text);
    const struct sip_addr *to;
    if (l->first && l->again && m->status < 300 && sipmsg_to(&m->rx->msg, &to) == ERR_OK &&
        !raise_of(sc, to->tag)) {
        struct raised *x = arena_calloc(&sc->memory, 1, sizeof(*x));
        if (!x)
            abort();
        *x = (struct raised){sc->raised, bodies_keep(sc, to->tag), l->again};
        sc->raised = x;
    }
    if (m->description.p)
        ret->description = exchange(sc, m, l);
    if (l->first && m->status / 100 == 2 && (l - sc->leg) % 5 == 2) {
        refuse_answer(sc, m, ret);
        return PROXY_BODY_REFUSE;
    }
    /* an early one now and then stays behind */
    return m->status < 200 && (l - sc->leg) % 7 == 1 ? PROXY_BODY_REFUSE : PROXY_BODY_REPLACE;
}

static bool on_refused(void *arg, void **leg, uint16_t status)
{
    struct scenario *sc = arg;
    struct leg *l = *leg;
    if (l->gone || l->refused)
        bodies_fail(sc, "a leg that is over is asked about", SV_NONE);
    if (!l->first || status != 488 || bodies_chance(sc, 20))
        return false;
    l->again++;
    sc->asked_again++;
    return true;
}

static void on_leg_gone(void *arg, void *leg)
{
    struct scenario *sc = arg;
    struct leg *l = leg;
    if (l->gone)
        bodies_fail(sc, "a leg is gone twice", SV_NONE);
    l->gone = true;
}

static void on_context_gone(void *arg)
{
    struct scenario *sc = arg;
    sc->contexts_gone++;
}

static const struct proxy_bodies watcher = {.on_request = on_offer,
                                            .on_response = on_answer,
                                            .on_refused = on_refused,
                                            .on_leg_gone = on_leg_gone,
                                            .on_gone = on_context_gone};

/* ---- the server ---- */

static void forward(struct scenario *sc, struct rx *rx, const struct proxy_route *route,
                    const struct proxy_target *targets, unsigned n, bool in_dialog)
{
    struct proxy_request q = {.route = route,
                              .targets = targets,
                              .n = n,
                              .record_route = !in_dialog,
                              .in_dialog = in_dialog,
                              .step_time = 8 * USEC_S,
                              .bodies = &watcher,
                              .bodies_arg = sc};
    if (stxn_new(sc->sip, rx, NULL, NULL, &q.server))
        return;
    sc->contexts++;
    proxy_forward(sc->proxy, &q);
}

static void fork_call(struct scenario *sc, struct rx *rx, const struct proxy_route *route)
{
    struct proxy_target target[PHONES];
    unsigned n = 0, caller = rx->flow.remote.ip[3] - 1u;
    for (unsigned i = 0; i < PHONES; i++) {
        char mem[64];
        struct buf b;
        if (i == caller || bodies_chance(sc, 45))
            continue;
        buf_init(&b, mem, sizeof(mem));
        if (bodies_chance(sc, 30))
            buf_printf(&b, "sip:u%u@s%u.example.test", i, i); /* its first server is dead */
        else
            buf_printf(&b, "sip:u%u@10.0.1.%u:5060", i, i + 1);
        target[n++] = (struct proxy_target){.uri = bodies_keep(sc, buf_sv(&b)),
                                            .rank = bodies_chance(sc, 70) ? 2 : 1,
                                            .trusted = true};
    }
    if (n == 0)
        target[n++] = (struct proxy_target){.uri = SV("sip:nobody@10.0.9.9:5060"), .trusted = true};
    forward(sc, rx, route, target, n, false);
}

static void on_server_request(void *arg, struct rx *rx)
{
    struct scenario *sc = arg;
    struct proxy_route route;
    const struct sip_addr *to;
    struct proxy_target along = {.uri = SV_NONE, .trusted = true};
    if (rx->rc || rx->msg.method == SIP_CANCEL || !proxy_validate(sc->proxy, rx) ||
        proxy_route(sc->proxy, rx, &route) || sipmsg_to(&rx->msg, &to))
        return;
    if (!route.mark_ok || !to->tag.n) {
        if (rx->msg.method == SIP_INVITE)
            fork_call(sc, rx, &route);
        return;
    }
    if (rx->msg.method != SIP_ACK) {
        forward(sc, rx, &route, &along, 1, true);
        return;
    }
    struct sip_description d;
    char mem[BODY_MAX];
    sv name, description = SV_NONE;
    sipmsg_description(&rx->msg, &d);
    if (d.text.p && bodies_name(d.text, "v=0\r\ns=U", &name)) {
        sc->acks++;
        bodies_need(sv_dup(&rx->arena, bodies_exchanged(0, name, mem), &description));
    }
    struct proxy_body_new as = {.description = description, .raise = raise_of(sc, to->tag)};
    proxy_relay(sc->proxy, rx, &route, &along, &as);
}
static const struct sip_user server_user = {.on_request = on_server_request};

/* ---- the world ---- */

static void zones(struct scenario *sc)
{
    char mem[1024];
    for (unsigned i = 0; i < PHONES; i++) {
        snprintf(
            mem, sizeof(mem),
            "s%u.example.test NAPTR 600 10 10 \"s\" \"SIP+D2U\" \"\" _sip._udp.s%u.example.test\n"
            "_sip._udp.s%u.example.test SRV 600 1 0 5060 dead.example.test\n"
            "_sip._udp.s%u.example.test SRV 600 2 0 5060 h%u.example.test\n"
            "dead.example.test A 600 10.0.9.%u\nh%u.example.test A 600 10.0.1.%u\n",
            i, i, i, i, i, i + 1, i, i + 1);
        bodies_need(sim_zone(sc->sim, sv_of(mem)));
    }
}

static void start(struct scenario *sc)
{
    struct sim_wire wire = {.loss_permille = 100,
                            .dup_permille = 50,
                            .delay_min = USEC_MS,
                            .delay_max = 40 * USEC_MS,
                            .reorder_permille = 50,
                            .reorder_by = 300 * USEC_MS};
    bodies_need(sim_new(sc->seed, &sc->sim));
    sim_set_wire(sc->sim, &wire);
    program_tap(sc->program, sc->sim);
    arena_init(&sc->memory, NULL, 0, MEMORY_MAX);
    bodies_need(addr_parse_ip(SV("10.0.0.1"), 0, &sc->server));
    bodies_need(sim_host_new(sc->sim, "server", &sc->server, 1, &sc->host));
    bodies_need(sim_process(sc->host, 1, &sc->group));
    sc->server.port = 5060;
    zones(sc);
    bodies_need(settings_default(SV("example.test"), &sc->set));
    struct sip_config *c = &sc->set->sip;
    c->listen[c->listeners++] = (struct sip_listen){.transport = SIP_T_UDP, .bind = sc->server};
    c->listen[c->listeners++] = (struct sip_listen){.transport = SIP_T_TCP, .bind = sc->server};
    c->connections = 256;
    c->transactions = 8192;
    sc->set->ringing = 20 * USEC_S;
    bodies_need(sip_shared_new(bodies_secret, sc->group, c, &sc->shared));
    bodies_need(sip_new(sc->group->loop[0], sc->shared, &server_user, sc, &sc->sip));
    bodies_need(txn_start(sc->sip));
    bodies_need(locate_shared_new(bodies_secret, 100, &sc->names));
    bodies_need(locate_new(sc->sip, sc->names, &sc->locate));
    bodies_need(proxy_new(sc->sip, &sc->proxy));
    proxy_settings(sc->proxy, sc->set);
    proxy_locate(sc->proxy, sc->locate);
    bodies_need(sip_listen(sc->sip, 0));
    bodies_need(sip_listen(sc->sip, 1));
    for (unsigned i = 0; i < PHONES; i++)
        caller_start(sc, i);
}

static void stop(struct scenario *sc)
{
    sim_process_stop(sc->host);
    proxy_free(sc->proxy);
    sip_free(sc->sip);
    locate_free(sc->locate);
    sip_shared_free(sc->shared);
    locate_shared_free(sc->names);
    if (block_pool_live(sc->group->loop[0]->blocks))
        bodies_fail(sc, "message buffers of the server are out", SV_NONE);
    settings_unref(sc->set);
    sim_process_free(sc->host);
    for (unsigned i = 0; i < PHONES; i++) {
        struct caller *p = &sc->phone[i];
        sim_process_stop(p->host);
        LIST_EACH (d, &p->dialogs, struct bodies_dialog, by_phone)
            block_unref(d->ack);
        sip_free(p->sip);
        sip_shared_free(p->shared);
        sim_process_free(p->host);
    }
    sim_free(sc->sim);
    arena_done(&sc->memory);
}

static unsigned unfits(const struct scenario *sc, bool told)
{
    unsigned n = 0;
    for (const struct unfit *x = sc->unfit; x; x = x->next)
        n += !told || x->told;
    return n;
}

static void check_end(struct scenario *sc)
{
    for (const struct unfit *x = sc->unfit; x; x = x->next) {
        if (!x->up && !(x->acked && x->told))
            bodies_fail(sc, "who answered in vain was not told", x->tag);
    }
    char mem[128];
    unsigned standing = 0;
    for (unsigned i = 1; i < sc->legs; i++)
        standing += sc->leg[i].filled && !sc->leg[i].gone;
    snprintf(mem, sizeof(mem), "%u legs, %u of %u contexts, %zu in the proxy, %zu transactions",
             standing, sc->contexts - sc->contexts_gone, sc->contexts, proxy_contexts(sc->proxy),
             sip_transactions(sc->sip));
    if (standing || sc->contexts != sc->contexts_gone || proxy_contexts(sc->proxy) ||
        sip_transactions(sc->sip))
        bodies_fail(sc, "left over", sv_of(mem));
}

static bool run(const struct program *p, uint64_t seed, struct result *ret)
{
    struct scenario sc = {.seed = seed, .program = p, .legs = 1};
    size_t memory = mem_live();
    sc.leg = calloc(LEGS_MAX, sizeof(*sc.leg));
    if (!sc.leg)
        abort();
    start(&sc);
    for (unsigned i = 0; i < p->calls && !sc.failed; i++) {
        caller_call(&sc, i);
        sim_run_until(sc.sim, sim_now(sc.sim) + bodies_between(&sc, 0, 2 * USEC_S));
    }
    sim_run_until(sc.sim, sim_now(sc.sim) + 10 * USEC_MIN);
    check_end(&sc);
    *ret = (struct result){.hash = sim_trace_hash(sc.sim), .events = sim_trace_count(sc.sim)};
    program_count(ret, "calls", p->calls);
    program_count(ret, "descriptions", sc.bodies);
    program_count(ret, "multipart", sc.multipart);
    program_count(ret, "over TCP", sc.long_ones);
    program_count(ret, "in ACKs", sc.acks);
    program_count(ret, "answers", sc.answers);
    program_count(ret, "again", sc.again);
    program_count(ret, "late", sc.late);
    program_count(ret, "refused", sc.refused);
    program_count(ret, "asked again", sc.asked_again);
    program_count(ret, "unfit", unfits(&sc, false));
    program_count(ret, "of them ended", unfits(&sc, true));
    program_count(ret, "legs", sc.legs - 1);
    stop(&sc);
    free(sc.leg);
    if (mem_live() != memory)
        bodies_fail(&sc, "memory is left", SV_NONE);
    return !sc.failed;
}

int main(int argc, char **argv)
{
    static const struct program_part parts[] = {
        {.what = "descriptions: seeds of 30 calls",
         .calls = 30,
         .seeds = 200,
         .sanitized_seeds = 10},
        {.what = "descriptions: the same seed, twice",
         .calls = 10,
         .seeds = 4,
         .first = 100,
         .twice = true},
    };
    return program_main(argc, argv, parts, sizeof(parts) / sizeof(parts[0]), run);
}
