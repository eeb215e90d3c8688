/* SPDX-License-Identifier: MIT */
/* failover_sim: calls to servers found by name, and to a team in ranks, over a bad network.
 *
 * Three gateways stand behind one name (SRV). They refuse, crash in the middle of a transaction, come
 * back, and can be cut off; the last one of them answers when it is there. A team is two accounts, then
 * a third, then the gateways. What must hold:
 *
 *   - every INVITE ends in exactly one final response at its caller
 *   - a call to the gateways is decided by one of them as long as the last was there all the time
 *   - the second rank rings only when the first has ended, or had its time
 *   - nobody rings on when the call is decided; what was confirmed is torn down, unless its phone died
 *   - afterwards nothing is left: no transaction, context, home, block, memory
 *   - the same seed gives the same trace
 */
#include <stdio.h>
#include <stdlib.h>
#include "ds/hash.h"
#include "support/program.h"
#include "support/world.h"

enum { GATEWAYS = 3, ACCOUNTS = 4, STEPS = 3 };
static const usec step_time = 6 * USEC_S;
/* Three servers of silence, ranks, Timer C, a CANCEL's 64*T1, and two challenges on the way. */
static const usec decided_within = 200 * USEC_S;
/* As long as a caller waits who hears nothing any more. */
static const usec given_up_within = 300 * USEC_S;
static const usec loser_within = 20 * USEC_S;

struct attempt {
    struct hash_node by_call_id;
    struct scenario *sc;
    struct phone *phone;
    struct useragent_call *call; /* NULL: ended */
    struct timer timer;
    usec began, decided;
    usec give_up, talk;
    unsigned finals, confirmed, torn, orphans; /* orphans: sides whose phone died */
    unsigned active[STEPS];                    /* phones of the step that ring */
    bool team, answered;
    bool hurt; /* a gateway went away with this call in hand: its 2xx may be lost for good */
    char call_id[64];
    size_t call_id_n;
};

struct incoming {
    struct link by_phone;
    struct scenario *sc;
    struct useragent_call *call;
    struct attempt *attempt; /* NULL: of nobody */
    struct phone *phone;
    struct timer timer;
    enum { ANSWER, REFUSE, IGNORE, TALK } plan;
    uint16_t status;
    usec began;
    bool answered, confirmed;
};

struct gateway {
    struct phone *phone;
    usec up_since; /* 0: it was never away, and nobody remembers it as failed */
    usec back;     /* when it comes back */
    bool crash, cut;
};

struct scenario {
    struct world w;
    unsigned calls, begun, ended;
    unsigned answered, refused, cancelled, lost, crashes;
    unsigned late_losers, unfound;
    struct gateway gateway[GATEWAYS];
    struct link incoming[WORLD_PHONES_MAX]; /* of the phone */
    struct attempt *attempt;
    struct hash by_call_id;
};

static const uint8_t key[SIPHASH_KEY];

static usec between(struct world *w, usec from, usec to)
{
    return from + (usec)(sim_random(w->sim) % (uint64_t)(to - from + 1));
}

static bool chance(struct world *w, unsigned percent)
{
    return sim_random(w->sim) % 100 < percent;
}

static struct attempt *attempt_of(struct scenario *sc, sv call_id)
{
    HASH_EACH (a, &sc->by_call_id, crypto_siphash(key, call_id.p, call_id.n), struct attempt,
               by_call_id) {
        if (sv_eq((sv){a->call_id, a->call_id_n}, call_id))
            return a;
    }
    return NULL;
}

/* ---- the server's routes ---- */

static void configure(struct settings *set)
{
    struct settings_route *r = arena_calloc(&set->arena, 2, sizeof(*r));
    if (!r)
        abort();
    r[0] = (struct settings_route){.name = SV("team"), .timeout = step_time};
    r[0].when.user[r[0].when.user_n++] = SV("team");
    static const char *const users[] = {"user1", "user2", "user3"};
    for (unsigned i = 0; i < 3; i++)
        r[0].target[r[0].targets_n++] = (struct settings_target){.kind = TARGET_ACCOUNT,
                                                                 .user = sv_of(users[i]),
                                                                 .domain = SV(WORLD_DOMAIN),
                                                                 .step = i == 2};
    r[0].target[r[0].targets_n++] = (struct settings_target){
        .kind = TARGET_SIP, .uri = SV("sip:user0@gw." WORLD_DOMAIN), .step = 2};
    r[1] = (struct settings_route){.name = SV("gateways")};
    r[1].when.user[r[1].when.user_n++] = SV("gw");
    r[1].target[r[1].targets_n++] =
        (struct settings_target){.kind = TARGET_SIP, .uri = SV("sip:user0@gw." WORLD_DOMAIN)};
    set->routes = r;
    set->routes_n = 2;
}

static void make_zone(struct scenario *sc)
{
    char mem[2048];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    for (unsigned i = 0; i < GATEWAYS; i++) {
        buf_printf(&b, "_sip._udp.gw.%s SRV 900 %u 0 5060 gw%u.%s\ngw%u.%s A 900 ", WORLD_DOMAIN,
                   i + 1, i, WORLD_DOMAIN, i, WORLD_DOMAIN);
        addr_print_ip(&b, &sc->gateway[i].phone->ip);
        buf_char(&b, '\n');
    }
    if (b.rc || sim_zone(sc->w.sim, buf_sv(&b)))
        abort();
}

/* ---- the caller ---- */

static void on_caller_timer(struct timer *t, void *arg)
{
    struct attempt *a = arg;
    (void)t;
    if (a->call)
        useragent_hangup(a->call);
}

static void decide(struct attempt *a)
{
    struct world *w = &a->sc->w;
    a->decided = sim_now(w->sim);
    if (++a->finals != 1)
        world_fail(w, "call %s: %u final responses at the caller", a->call_id, a->finals);
    if (a->decided - a->began > (a->hurt ? given_up_within : decided_within))
        world_fail(w, "call %s: decided only after %lld s", a->call_id,
                   (long long)((a->decided - a->began) / USEC_S));
}

static void on_answered(void *arg, struct useragent_call *c, sv sdp)
{
    struct attempt *a = useragent_call_arg(c);
    (void)arg;
    a->answered = true;
    a->sc->answered++;
    decide(a);
    if (!sv_eq(sdp, world_sdp))
        world_fail(&a->sc->w, "call %s: the answer's body is not what was sent", a->call_id);
    loop_timer(a->phone->loop, &a->timer, a->talk);
}

static void caller_ended(struct attempt *a, enum useragent_end why, uint16_t status)
{
    struct scenario *sc = a->sc;
    a->call = NULL;
    loop_timer_cancel(a->phone->loop, &a->timer);
    if (!a->answered)
        decide(a);
    a->torn++;
    sc->ended++;
    sc->cancelled += why == USERAGENT_CANCELLED;
    sc->refused += why == USERAGENT_REFUSED;
    sc->lost += why == USERAGENT_LOST;
    if (why == USERAGENT_REFUSED && !a->team && !a->hurt && status != 486 && status != 603 &&
        sc->gateway[GATEWAYS - 1].up_since == 0) {
        sc->unfound++;
    }
}

/* ---- the callee ---- */

static unsigned step_of(const struct phone *p)
{
    return p->outside ? 2 : p->account == 3 ? 1 : 0;
}

static void on_callee_timer(struct timer *t, void *arg)
{
    struct incoming *in = arg;
    enum err rc = ERR_OK;
    (void)t;
    switch (in->plan) {
    case ANSWER:
        rc = useragent_answer(in->call, world_sdp);
        in->answered = rc == ERR_OK;
        in->plan = TALK;
        break;
    case REFUSE:
        rc = useragent_reject(in->call, in->status);
        break;
    case TALK:
        useragent_hangup(in->call);
        break;
    case IGNORE:
        break;
    }
    if (rc)
        world_fail(&in->sc->w, "phone %u cannot respond: %s", in->phone->index, err_text(rc));
}

/* The first gateway is often busy, the last one never. */
static void plan_gateway(struct scenario *sc, struct incoming *in)
{
    struct world *w = &sc->w;
    unsigned i = 0;
    while (sc->gateway[i].phone != in->phone)
        i++;
    in->plan = chance(w, 75) ? ANSWER : REFUSE;
    in->status = chance(w, 50) ? 486 : 603;
    if (i + 1 < GATEWAYS && chance(w, 25)) {
        in->plan = REFUSE;
        in->status = 503;
    }
    if (chance(w, 12))
        sc->gateway[i].crash = true;
}

static void plan_phone(struct scenario *sc, struct incoming *in)
{
    static const uint16_t statuses[] = {486, 480, 404, 603};
    struct world *w = &sc->w;
    unsigned what = (unsigned)(sim_random(w->sim) % 100);
    in->plan = what < 25 ? ANSWER : what < 75 ? REFUSE : IGNORE;
    in->status = statuses[sim_random(w->sim) % (chance(w, 20) ? 4 : 3)];
}

static void on_incoming(void *arg, struct useragent_call *c, sv from, sv sdp)
{
    struct phone *p = arg;
    struct scenario *sc = p->test;
    struct world *w = &sc->w;
    struct incoming *in = calloc(1, sizeof(*in));
    unsigned step = step_of(p);
    if (!in)
        abort();
    (void)from;
    *in = (struct incoming){.sc = sc, .call = c, .phone = p, .began = sim_now(w->sim)};
    in->attempt = attempt_of(sc, useragent_call_id(c));
    timer_init(&in->timer, on_callee_timer, in);
    list_push(&sc->incoming[p->index], &in->by_phone);
    useragent_call_set_arg(c, in);
    if (!in->attempt)
        world_fail(w, "phone %u rings for a call that nobody makes", p->index);
    if (!sv_eq(sdp, world_sdp))
        world_fail(w, "phone %u: the offer is not what was sent", p->index);
    if (in->attempt && in->attempt->team) {
        for (unsigned s = 0; s < step; s++) {
            if (in->began - in->attempt->began < step_time && in->attempt->active[s])
                world_fail(w, "call %s: step %u begins while %u of step %u ring",
                           in->attempt->call_id, step, in->attempt->active[s], s);
        }
    }
    if (in->attempt)
        in->attempt->active[step]++;
    if (chance(w, 85) && useragent_ring(c) != ERR_OK)
        world_fail(w, "phone %u cannot ring", p->index);
    if (p->outside)
        plan_gateway(sc, in);
    else
        plan_phone(sc, in);
    if (in->plan != IGNORE)
        loop_timer(p->loop, &in->timer, chance(w, 20) ? 0 : between(w, 0, 4 * USEC_S));
}

static void on_confirmed(void *arg, struct useragent_call *c)
{
    struct phone *p = arg;
    struct incoming *in = useragent_call_arg(c);
    in->confirmed = true;
    if (in->attempt)
        in->attempt->confirmed++;
    if (chance(&in->sc->w, 50))
        loop_timer(p->loop, &in->timer, between(&in->sc->w, 0, 10 * USEC_S));
}

static void incoming_free(struct incoming *in)
{
    if (in->attempt)
        in->attempt->active[step_of(in->phone)]--;
    if (in->phone->loop)
        loop_timer_cancel(in->phone->loop, &in->timer);
    list_unlink(&in->by_phone);
    free(in);
}

static void callee_ended(struct incoming *in)
{
    struct scenario *sc = in->sc;
    usec now = sim_now(sc->w.sim);
    struct attempt *a = in->attempt;
    if (!in->answered && a && a->decided && now - a->decided > loser_within)
        sc->late_losers++;
    if (in->confirmed && a)
        a->torn++;
    incoming_free(in);
}

static void on_ended(void *arg, struct useragent_call *c, enum useragent_end why, uint16_t status)
{
    struct phone *p = arg;
    struct scenario *sc = p->test;
    struct attempt *a = attempt_of(sc, useragent_call_id(c));
    if (a && a->call == c)
        caller_ended(a, why, status);
    else
        callee_ended(useragent_call_arg(c));
}

static void on_message(void *arg, bool out, const struct addr *peer, sv octets)
{
    (void)peer;
    phone_show(arg, out, octets);
}

static const struct useragent_handler handler = {
    .on_registered = phone_on_registered,
    .on_incoming = on_incoming,
    .on_answered = on_answered,
    .on_confirmed = on_confirmed,
    .on_ended = on_ended,
    .on_message = on_message,
};

/* ---- gateways die and come back ---- */

static void crash(struct scenario *sc, struct gateway *g)
{
    struct world *w = &sc->w;
    LIST_EACH_SAFE (in, &sc->incoming[g->phone->index], struct incoming, by_phone) {
        if (in->confirmed && in->attempt)
            in->attempt->orphans++;
        if (in->attempt)
            in->attempt->hurt = true;
        incoming_free(in);
    }
    phone_off(g->phone, chance(w, 50));
    g->up_since = sim_now(w->sim);
    g->back = sim_now(w->sim) + between(w, 2 * USEC_S, 60 * USEC_S);
    sc->crashes++;
}

static void cut(struct scenario *sc, struct gateway *g, bool on)
{
    struct world *w = &sc->w;
    g->cut = on;
    LIST_EACH (in, &sc->incoming[g->phone->index], struct incoming, by_phone) {
        if (in->attempt)
            in->attempt->hurt = true;
    }
    sim_partition(w->sim, w->server.host, g->phone->host, on);
    g->up_since = sim_now(w->sim);
    g->back = sim_now(w->sim) + between(w, 2 * USEC_S, 20 * USEC_S);
}

static void fate(struct scenario *sc, bool over)
{
    struct world *w = &sc->w;
    usec now = sim_now(w->sim);
    for (unsigned i = 0; i < GATEWAYS; i++) {
        struct gateway *g = &sc->gateway[i];
        if (!g->phone->loop) {
            if (over || now >= g->back) {
                phone_on(g->phone);
                g->up_since = now;
            }
        } else if (g->cut) {
            if (over || now >= g->back)
                cut(sc, g, false);
        } else if (!over && g->crash) {
            crash(sc, g);
        } else if (!over && sim_random(w->sim) % 1000 < 5) {
            cut(sc, g, true);
        }
        g->crash = false;
    }
}

/* In steps so small that a crash falls into a transaction. */
static void pass(struct scenario *sc, usec time, bool over)
{
    usec until = sim_now(sc->w.sim) + time;
    while (sim_now(sc->w.sim) < until && !sc->w.failed) {
        usec left = until - sim_now(sc->w.sim), step = between(&sc->w, USEC_MS, 300 * USEC_MS);
        world_run(&sc->w, step < left ? step : left);
        fate(sc, over);
    }
}

/* ---- the course ---- */

static void begin_call(struct scenario *sc, bool team)
{
    struct world *w = &sc->w;
    struct attempt *a = &sc->attempt[sc->begun];
    struct phone *p = &w->phone[GATEWAYS]; /* user0's: he is in no team */
    *a = (struct attempt){.sc = sc, .phone = p, .began = sim_now(w->sim), .team = team};
    timer_init(&a->timer, on_caller_timer, a);
    a->give_up = chance(w, 12) ? between(w, 0, 12 * USEC_S) : 0;
    a->talk = between(w, 0, 12 * USEC_S);
    enum err rc =
        useragent_call(p->ua, a->team ? SV("sip:team@" WORLD_DOMAIN) : SV("sip:gw@" WORLD_DOMAIN),
                       world_sdp, a, &a->call);
    if (rc) {
        world_fail(w, "phone %u cannot call: %s", p->index, err_text(rc));
        return;
    }
    sv id = useragent_call_id(a->call);
    a->call_id_n = id.n < sizeof(a->call_id) - 1 ? id.n : sizeof(a->call_id) - 1;
    memcpy(a->call_id, id.p, a->call_id_n);
    hash_insert(&sc->by_call_id, &a->by_call_id, crypto_siphash(key, id.p, id.n));
    sc->begun++;
    if (a->give_up)
        loop_timer(p->loop, &a->timer, a->give_up);
}

/* Transactions and contexts of the server, and all of the phones'. Standing calls are another matter: a
 * side that died, or that the last word did not reach, ends none. */
static size_t remains(struct world *w)
{
    size_t n = 0;
    for (unsigned i = 0; i < w->server.group->n; i++)
        n += sip_transactions(routing_sip(w->server.routing[i])) +
             routing_contexts(w->server.routing[i]);
    for (unsigned i = 0; i < w->phones; i++)
        n += w->phone[i].loop ? useragent_remains(w->phone[i].ua) : 0;
    return n;
}

/* Who was cut off from the end of a call hangs up at last. */
static void hang_up_all(struct scenario *sc)
{
    for (unsigned i = 0; i < sc->w.phones; i++) {
        LIST_EACH_SAFE (in, &sc->incoming[i], struct incoming, by_phone)
            useragent_hangup(in->call);
    }
}

static void settle(struct scenario *sc)
{
    struct world *w = &sc->w;
    unsigned hurt = 0;
    for (unsigned s = 0; s < 300 && remains(w) > 0; s++) {
        if (s == 120)
            hang_up_all(sc);
        pass(sc, USEC_S, true);
    }
    for (unsigned i = 0; i < sc->begun; i++)
        hurt += sc->attempt[i].hurt;
    char mem[256];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    size_t load = world_server_load(w, &b);
    if (remains(w) || load > 2 * hurt) /* a standing call and its home */
        world_fail(w, "%zu left over, %u calls lost a side: " SV_FMT, remains(w), hurt,
                   SV_ARG(buf_sv(&b)));
}

static void populate(struct scenario *sc)
{
    struct world *w = &sc->w;
    w->handler = &handler;
    w->accounts = ACCOUNTS;
    world_server_start(w);
    for (unsigned i = 0; i < WORLD_PHONES_MAX; i++)
        list_init(&sc->incoming[i]);
    for (unsigned i = 0; i < GATEWAYS; i++) {
        struct phone *p = world_phone(w, 0, SIP_T_UDP);
        p->outside = true;
        p->test = sc;
        sc->gateway[i] = (struct gateway){.phone = p};
    }
    for (unsigned i = 0; i < ACCOUNTS; i++)
        world_phone(w, i, chance(w, 25) ? SIP_T_TCP : SIP_T_UDP)->test = sc;
    make_zone(sc);
}

static size_t blocks_out(struct world *w)
{
    size_t n = 0;
    for (unsigned i = 0; i < w->server.group->n; i++)
        n += block_pool_live(w->server.group->loop[i]->blocks);
    return n;
}

static void check_end(struct scenario *sc, size_t blocks)
{
    struct world *w = &sc->w;
    if (sc->ended != sc->begun)
        world_fail(w, "%u of %u calls have not ended at their callers", sc->begun - sc->ended,
                   sc->begun);
    for (unsigned i = 0; i < sc->begun && !w->failed; i++) {
        struct attempt *a = &sc->attempt[i];
        if (a->finals != 1)
            world_fail(w, "call %s: %u final responses", a->call_id, a->finals);
        if (a->torn + a->orphans != a->confirmed + 1)
            world_fail(w, "call %s: %u sides confirmed it, %u tore it down, %u died", a->call_id,
                       a->confirmed + 1, a->torn, a->orphans);
    }
    if (sc->unfound > 1 + sc->calls / 100)
        world_fail(w, "%u calls did not find the gateway that was there", sc->unfound);
    if (sc->late_losers > 1 + sc->calls / 200)
        world_fail(w, "%u phones rang on when their call was decided", sc->late_losers);
    if (sc->lost > 1 + sc->calls / 500)
        world_fail(w, "%u calls got no answer at all", sc->lost);
    if (blocks_out(w) != blocks)
        world_fail(w, "%zu message buffers were out before, %zu are now", blocks, blocks_out(w));
}

static int64_t failovers(struct world *w)
{
    return loop_stat(w->server.group, STAT_FAILOVERS);
}

/* The names are looked up before the wire gets bad: what a lost question to the DNS does is the DNS's
 * own story. */
static const struct sim_wire clean = {.delay_min = USEC_MS, .delay_max = 40 * USEC_MS};
static const struct sim_wire bad = {.loss_permille = 100,
                                    .dup_permille = 50,
                                    .delay_min = USEC_MS,
                                    .delay_max = 40 * USEC_MS,
                                    .reorder_permille = 50,
                                    .reorder_by = 300 * USEC_MS};

static bool run(const struct program *p, uint64_t seed, struct result *ret)
{
    struct scenario sc = {.calls = p->calls};
    struct world *w = &sc.w;
    size_t memory = mem_live();
    world_init(w, &(struct world_config){
                      .seed = seed,
                      .workers = 1 + (unsigned)(seed % 4),
                      .wire = clean,
                      .ringing = 30 * USEC_S,
                      .configure = configure,
                      .program = p->name,
                      .replay = p->replay,
                      .trace = p->trace,
                  });
    program_tap(p, w->sim);
    sc.attempt = calloc(p->calls, sizeof(*sc.attempt));
    if (!sc.attempt || hash_init(&sc.by_call_id, 1024))
        abort();
    populate(&sc);
    if (!world_register_all(w, 200 * USEC_S))
        world_fail(w, "not all phones are registered after 200 s");
    settle(&sc);
    size_t blocks = blocks_out(w);
    begin_call(&sc, false);
    pass(&sc, 10 * USEC_S, true);
    sim_set_wire(w->sim, &bad);
    for (unsigned i = 1; i < sc.calls && !w->failed; i++) {
        begin_call(&sc, chance(w, 50));
        pass(&sc, between(w, 0, 3 * USEC_S), false);
    }
    for (unsigned s = 0; s < 600 && sc.ended < sc.begun && !w->failed; s++)
        pass(&sc, USEC_S, true);
    if (!w->failed)
        settle(&sc);
    if (!w->failed)
        check_end(&sc, blocks);
    *ret = (struct result){.hash = sim_trace_hash(w->sim), .events = sim_trace_count(w->sim)};
    program_count(ret, "calls", sc.begun);
    program_count(ret, "answered", sc.answered);
    program_count(ret, "refused", sc.refused);
    program_count(ret, "cancelled", sc.cancelled);
    program_count(ret, "unanswered", sc.lost);
    program_count(ret, "crashes", sc.crashes);
    program_count(ret, "failovers", (uint64_t)failovers(w));
    program_count(ret, "unfound", sc.unfound);
    for (unsigned i = 0; i < w->phones; i++) {
        LIST_EACH_SAFE (in, &sc.incoming[i], struct incoming, by_phone)
            incoming_free(in);
    }
    world_done(w);
    hash_done(&sc.by_call_id);
    free(sc.attempt);
    if (mem_live() != memory)
        world_fail(w, "%zu allocations are left after everything was freed", mem_live() - memory);
    return !w->failed;
}

int main(int argc, char **argv)
{
    static const struct program_part parts[] = {
        {.what = "failover: seeds of 40", .calls = 40, .seeds = 1000, .sanitized_seeds = 20},
        {.what = "failover: the same seed, twice",
         .calls = 10,
         .seeds = 4,
         .first = 100,
         .twice = true},
    };
    return program_main(argc, argv, parts, sizeof(parts) / sizeof(parts[0]), run);
}
