/* SPDX-License-Identifier: MIT */
/* registrar_sim: phones of one account register and leave at once, through four workers, while
 * the server
 * dies and comes back.
 *
 * Each answer lists the bindings as they were after its operation. There must be one order of all
 * operations, none moved before its request or behind its answer, that explains every list: then
 * the
 * registrar is linearizable. What got no answer, or a refusal, may have happened or not. A look
 * into the
 * store after each restart and at the end is an operation like the others, so an acknowledged
 * binding
 * that is gone, and a removed one that is back, is found.
 *
 * Half of the phones register by instance and reg-id (RFC 5626) and are switched off and on again at any
 * moment, with another Contact each time: none of them is ever bound twice.
 *
 * Power cuts: what was acknowledged longer than the journal's window ago is there.
 *
 * Flows: all phones sit on connections. When one is switched off its binding goes, but never the one
 * that it has made anew meanwhile; when all are off nothing is bound.
 */
#include <stdio.h>
#include <stdlib.h>
#include "support/program.h"
#include "support/world.h"

enum { PHONES = 7, LANES = PHONES + 1, LANE_OPS = 256, VISITED = 1 << 20 };
enum part { PART_STEADY, PART_KILLED, PART_POWER, PART_FLOWS };

/* One that failed may still be on its way: the longest delay of a datagram, and a worker's mail. */
static const usec straggling = USEC_S;
/* Down for longer than a datagram can be on its way: an old one would be a new request to the
 * next process. */
static const usec down_least = 500 * USEC_MS;
/* store.sync, and the time that a sync takes. */
static const usec window = 300 * USEC_MS;

enum kind { ADD, REMOVE, CLEAR, LOOK };

struct op {
    enum kind kind;
    unsigned phone;
    usec from, to;
    uint32_t set; /* the bindings after it: bit a phone */
    bool maybe;   /* not acknowledged */
};

struct lane {
    struct op op[LANE_OPS];
    unsigned n;
    bool busy;
    struct timer think;
    bool flow;       /* it registers by instance and reg-id */
    usec quiet;      /* a request of before may be on its way until then */
    unsigned cycles; /* how often it was switched on */
};

struct scenario {
    struct world w;
    struct lane lane[LANES]; /* the last: looks into the store */
    unsigned want;           /* operations a phone */
    bool pause, stars;
    enum part part;
    uint64_t *visited;
    uint64_t steps;
    unsigned acknowledged, unacknowledged, restarts, cycles;
};

static usec between(struct world *w, usec from, usec to)
{
    return from + (usec)(sim_random(w->sim) % (uint64_t)(to - from + 1));
}

/* ---- is there an order? ---- */

static uint32_t apply(const struct op *op, uint32_t set)
{
    switch (op->kind) {
    case ADD:
        return set | UINT32_C(1) << op->phone;
    case REMOVE:
        return set & ~(UINT32_C(1) << op->phone);
    case CLEAR:
        return 0;
    case LOOK:
        break;
    }
    return set;
}

/* False: this way was tried before. */
static bool visit(struct scenario *sc, const unsigned at[LANES], uint32_t set)
{
    static const uint8_t key[SIPHASH_KEY];
    uint32_t state[LANES + 1] = {[LANES] = set};
    for (unsigned i = 0; i < LANES; i++)
        state[i] = at[i];
    uint64_t h = crypto_siphash(key, state, sizeof(state));
    h |= 1;
    for (unsigned i = 0; i < VISITED; i++) {
        uint64_t *v = &sc->visited[(h + i) % VISITED];
        if (*v == h)
            return false;
        if (*v == 0) {
            *v = h;
            return true;
        }
    }
    world_fail(&sc->w, "the history is too long to be checked");
    return false;
}

static bool explain(struct scenario *sc, unsigned at[LANES], uint32_t set)
{
    usec first_end = USEC_NEVER;
    bool done = true;
    sc->steps++;
    for (unsigned i = 0; i < LANES; i++) {
        struct lane *l = &sc->lane[i];
        if (at[i] == l->n)
            continue;
        done = false;
        if (l->op[at[i]].to < first_end)
            first_end = l->op[at[i]].to;
    }
    if (done)
        return true;
    if (!visit(sc, at, set))
        return false;
    for (unsigned i = 0; i < LANES; i++) {
        struct lane *l = &sc->lane[i];
        struct op *op = at[i] < l->n ? &l->op[at[i]] : NULL;
        if (!op || op->from > first_end)
            continue; /* another one was over before this one began */
        uint32_t after = apply(op, set);
        at[i]++;
        if ((op->maybe || after == op->set) && explain(sc, at, after))
            return true;
        if (op->maybe && explain(sc, at, set))
            return true;
        at[i]--;
    }
    return false;
}

static void print_history(struct scenario *sc)
{
    static const char *const names[] = {"add", "remove", "clear", "look"};
    for (unsigned i = 0; i < LANES; i++) {
        for (unsigned k = 0; k < sc->lane[i].n; k++) {
            const struct op *op = &sc->lane[i].op[k];
            printf("  %9.6f to %9.6f  phone %u %-6s %s %02x\n", (double)op->from / 1e6,
                   (double)op->to / 1e6, i, names[op->kind], op->maybe ? "unknown" : "gives",
                   op->set);
        }
    }
}

static void check_history(struct scenario *sc)
{
    unsigned at[LANES] = {0};
    memset(sc->visited, 0, VISITED * sizeof(*sc->visited));
    if (explain(sc, at, 0) || sc->w.failed)
        return;
    world_fail(&sc->w, "no order of the operations explains the answers");
    print_history(sc);
}

/* ---- operations ---- */

static struct op *last(struct lane *l)
{
    return &l->op[l->n - 1];
}

static void think(struct phone *p)
{
    struct scenario *sc = p->test;
    struct lane *l = &sc->lane[p->index];
    /* After a failure it waits longer: many unknowns make the search long. */
    usec least = l->n && last(l)->maybe ? straggling : 0;
    loop_timer(p->loop, &l->think, between(&sc->w, least, least + 400 * USEC_MS));
}

static void start(struct phone *p)
{
    struct scenario *sc = p->test;
    struct world *w = &sc->w;
    struct lane *l = &sc->lane[p->index];
    unsigned what = (unsigned)(sim_random(w->sim) % 100);
    if (sc->pause || l->n >= sc->want || l->n == LANE_OPS)
        return;
    /* "*" only where the whole order is searched. */
    enum kind kind = what < 60 ? ADD : what < 92 || !sc->stars ? REMOVE : CLEAR;
    l->op[l->n++] =
        (struct op){.kind = kind, .phone = p->index, .from = sim_now(w->sim), .to = USEC_NEVER};
    l->busy = true;
    enum err rc =
        kind == ADD ? useragent_register(p->ua, 3600) : useragent_unregister(p->ua, kind == CLEAR);
    if (rc)
        world_fail(w, "phone %u cannot send REGISTER: %s", p->index, err_text(rc));
}

static void switch_on(struct phone *p)
{
    struct scenario *sc = p->test;
    struct world *w = &sc->w;
    struct lane *l = &sc->lane[p->index];
    struct loop_group *g;
    char instance[32];
    int n = snprintf(instance, sizeof(instance), "<urn:uuid:%u>", p->index);
    struct useragent_config c = {.transport = p->transport,
                                 .bind = p->ip,
                                 .server = w->server_ip,
                                 .user = SV("user0"),
                                 .domain = SV(WORLD_DOMAIN),
                                 .password = SV(WORLD_PASSWORD),
                                 .instance = {instance, (size_t)n},
                                 .reg_id = 1 + p->index};
    c.bind.port = (uint16_t)(5060 + l->cycles++); /* another Contact */
    if (sim_process(p->host, 1, &g))
        abort();
    p->loop = g->loop[0];
    if (useragent_new(p->loop, &c, w->handler, p, &p->ua))
        abort();
}

/* Off, and on again; what it had asked for may happen or not, and its connection ends. */
static void cycle(struct phone *p)
{
    struct scenario *sc = p->test;
    struct world *w = &sc->w;
    struct lane *l = &sc->lane[p->index];
    usec now = sim_now(w->sim);
    if (!l->flow || l->n + 1 >= LANE_OPS)
        return;
    loop_timer_cancel(p->loop, &l->think);
    phone_off(p, false);
    sc->cycles++;
    if (l->busy) {
        last(l)->maybe = true;
        last(l)->to = now + straggling;
        l->busy = false;
        l->quiet = now + straggling;
    }
    usec least = l->quiet > now ? l->quiet - now : 0;
    if (sc->part == PART_FLOWS)
        l->op[l->n++] = (struct op){
            .kind = REMOVE, .phone = p->index, .from = now, .to = now + straggling, .maybe = true};
    switch_on(p);
    loop_timer(p->loop, &l->think, between(w, least, least + 400 * USEC_MS));
}

/* Time goes on, and now and then somebody pulls a plug. */
static void run_cycling(struct scenario *sc, usec duration)
{
    struct world *w = &sc->w;
    usec until = sim_now(w->sim) + duration;
    while (sim_now(w->sim) < until && !w->failed) {
        usec step = between(w, 0, 300 * USEC_MS);
        world_run(w, step < until - sim_now(w->sim) ? step : until - sim_now(w->sim));
        if (sim_random(w->sim) % 3 == 0)
            cycle(&w->phone[sim_random(w->sim) % PHONES]);
    }
}

static void on_think(struct timer *t, void *arg)
{
    (void)t;
    start(arg);
}

/* The phones whose contacts a 200 lists. */
static uint32_t listed(struct world *w, struct rx *rx)
{
    const struct sip_addr *contacts;
    uint32_t set = 0;
    size_t n, ip_n;
    uint8_t ip[16];
    enum err rc = sipmsg_addrs(&rx->msg, SIP_H_CONTACT, &contacts, &n);
    for (size_t i = 0; rc == ERR_OK && i < n; i++) {
        if (uri_host_ip(contacts[i].uri.host, ip, &ip_n) || ip_n != 4 || ip[3] == 0 ||
            ip[3] > PHONES)
            world_fail(w, "a 200 lists an unknown contact " SV_FMT, SV_ARG(contacts[i].text));
        else if (set & UINT32_C(1) << (ip[3] - 1))
            world_fail(w, "phone %u is bound twice", ip[3] - 1);
        else
            set |= UINT32_C(1) << (ip[3] - 1);
    }
    return set;
}

static void on_registered(void *arg, uint16_t status, uint32_t expires_s, struct rx *rx)
{
    struct phone *p = arg;
    struct scenario *sc = p->test;
    struct world *w = &sc->w;
    struct lane *l = &sc->lane[p->index];
    if (!l->busy && l->n < LANE_OPS) {
        /* A retry of the user agent's own after its last operation failed: begun some time ago. */
        l->op[l->n] = (struct op){.kind = ADD, .phone = p->index, .from = last(l)->to};
        l->n++;
    }
    struct op *op = last(l);
    l->busy = false;
    op->to = sim_now(w->sim);
    if (status == 200) {
        op->set = listed(w, rx);
        sc->acknowledged++;
        if ((expires_s > 0) != (op->kind == ADD))
            world_fail(w, "phone %u: bound for %u s after %s", p->index, expires_s,
                       op->kind == ADD ? "registering" : "leaving");
    } else {
        op->maybe = true;
        op->to += straggling;
        sc->unacknowledged++;
        if (status != 408 && status != 503 && status != 500)
            world_fail(w, "phone %u: REGISTER answered %u", p->index, status);
    }
    think(p);
}

static void on_message(void *arg, bool out, const struct addr *peer, sv octets)
{
    (void)peer;
    phone_show(arg, out, octets);
}

static const struct useragent_handler handler = {.on_registered = on_registered,
                                                 .on_message = on_message};

/* ---- the store ---- */

static bool look_at(sv aor, const struct binding *b, size_t n, void *arg)
{
    struct uri u;
    uint32_t *set = arg;
    uint8_t ip[16];
    size_t ip_n;
    (void)aor;
    for (size_t i = 0; i < n; i++) {
        if (uri_parse(b[i].uri, &u, NULL) == ERR_OK && uri_host_ip(u.host, ip, &ip_n) == ERR_OK)
            *set |= UINT32_C(1) << (ip[3] - 1);
    }
    return true;
}

static uint32_t stored(struct scenario *sc)
{
    struct server *s = &sc->w.server;
    uint32_t set = 0;
    if (store_each_aor(s->store, s->group->loop[0]->wall, look_at, &set))
        world_fail(&sc->w, "the store cannot be walked");
    return set;
}

static void look(struct scenario *sc)
{
    struct lane *l = &sc->lane[PHONES];
    usec now = sim_now(sc->w.sim);
    if (l->n < LANE_OPS)
        l->op[l->n++] = (struct op){.kind = LOOK, .from = now, .to = now, .set = stored(sc)};
}

/* ---- courses ---- */

static bool idle(void *arg)
{
    struct scenario *sc = arg;
    for (unsigned i = 0; i < PHONES; i++) {
        if (sc->lane[i].busy || (!sc->pause && sc->lane[i].n < sc->want))
            return false;
    }
    return true;
}

static bool finish(struct scenario *sc)
{
    struct world *w = &sc->w;
    usec until = sim_now(w->sim) + 600 * USEC_S;
    while (!idle(sc) && sim_now(w->sim) < until && !w->failed)
        run_cycling(sc, 500 * USEC_MS);
    if (!idle(sc))
        world_fail(w, "the operations did not end");
    return !w->failed;
}

/* A request under way when the server dies may have happened already, and happens again when the
 * next
 * process gets its repetition. */
static void remember_ghosts(struct scenario *sc)
{
    for (unsigned i = 0; i < PHONES; i++) {
        struct lane *l = &sc->lane[i];
        if (!l->busy || l->n == LANE_OPS)
            continue;
        l->op[l->n] = *last(l);
        last(l)->maybe = true;
        last(l)->to = sim_now(sc->w.sim);
        l->n++;
    }
}

static bool disk_failed(void *arg)
{
    return sim_disk_failed(arg);
}

/* Dies at any moment, now and then in the middle of writing to the disk. */
static void killed(struct scenario *sc)
{
    struct world *w = &sc->w;
    for (unsigned i = 0; i < 3 && !idle(sc) && !w->failed; i++) {
        run_cycling(sc, between(w, 0, 3 * USEC_S));
        if (sim_random(w->sim) % 2) {
            /* A crash inside a disk operation: nothing is done behind it. */
            sim_disk_fail_after(w->server.host, 1 + (unsigned)(sim_random(w->sim) % 12));
            sim_run_when(w->sim, sim_now(w->sim) + USEC_S, disk_failed, w->server.host);
        }
        world_server_kill(w, false);
        remember_ghosts(sc);
        world_run(w, between(w, down_least, 2 * USEC_S));
        world_server_start(w);
        sc->restarts++;
        look(sc);
    }
}

/* What each phone had acknowledged before the window, and has not touched since, must be as it
 * was. */
static void check_after_power(struct scenario *sc, usec cut)
{
    uint32_t set = stored(sc);
    for (unsigned i = 0; i < PHONES; i++) {
        struct lane *l = &sc->lane[i];
        if (l->n == 0)
            continue;
        struct op *op = last(l);
        op->maybe = op->maybe || op->to > cut - window;
        if (op->maybe)
            continue;
        bool there = set >> i & 1;
        if (there != (op->kind == ADD))
            world_fail(&sc->w, "phone %u: %s was acknowledged %lld ms before the power cut", i,
                       there ? "leaving" : "registering", (long long)((cut - op->to) / USEC_MS));
    }
}

static void powerless(struct scenario *sc)
{
    struct world *w = &sc->w;
    for (unsigned i = 0; i < 3 && !idle(sc) && !w->failed; i++) {
        world_run(w, between(w, 0, 4 * USEC_S));
        sc->pause = sim_random(w->sim) % 2;
        if (sc->pause)
            world_run(w, between(w, 0, 1500 * USEC_MS));
        world_server_kill(w, true);
        usec cut = sim_now(w->sim);
        world_run(w, between(w, down_least, USEC_S));
        world_server_start(w);
        sc->restarts++;
        check_after_power(sc, cut);
        sc->pause = false;
        for (unsigned k = 0; k < PHONES; k++) {
            if (!sc->lane[k].busy)
                think(&w->phone[k]);
        }
    }
}

/* RFC 5626 §7: with the last connection the last binding is gone, also that of a REGISTER which was
 * on its way when its connection ended. */
static void all_off(struct scenario *sc)
{
    struct world *w = &sc->w;
    for (unsigned round = 0; round < 6 && !w->failed; round++) {
        for (unsigned i = 0; i < PHONES; i++) {
            struct phone *p = &w->phone[i];
            if (round)
                switch_on(p);
            loop_timer_cancel(p->loop, &sc->lane[i].think);
            phone_register(p, 3600);
        }
        world_run(w, between(w, 0, 500 * USEC_MS));
        for (unsigned i = 0; i < PHONES; i++) {
            loop_timer_cancel(w->phone[i].loop, &sc->lane[i].think);
            phone_off(&w->phone[i], false);
        }
        world_run(w, 10 * USEC_S);
        uint32_t set = stored(sc);
        if (set)
            world_fail(w, "bound without a connection: %02x", set);
    }
}

static void course(struct scenario *sc, enum part part)
{
    struct world *w = &sc->w;
    w->handler = &handler;
    w->accounts = 1;
    world_server_start(w);
    for (unsigned i = 0; i < PHONES; i++) {
        struct phone *p = world_phone(w, 0, part == PART_FLOWS ? SIP_T_TCP : SIP_T_UDP);
        struct lane *l = &sc->lane[i];
        p->test = sc;
        timer_init(&l->think, on_think, p);
        l->flow = part == PART_FLOWS || (part != PART_POWER && i % 2);
        if (l->flow) {
            phone_off(p, false);
            switch_on(p);
        }
        think(p);
    }
    if (part == PART_KILLED)
        killed(sc);
    if (part == PART_POWER)
        powerless(sc);
    if (w->failed || !finish(sc))
        return;
    world_run(w, straggling);
    if (part != PART_POWER) {
        look(sc);
        check_history(sc);
    }
    if (part == PART_FLOWS)
        all_off(sc);
    for (unsigned s = 0; s < 300 && world_server_load(w, NULL); s++)
        world_run(w, USEC_S);
    if (world_server_load(w, NULL))
        world_fail(w, "transactions are left");
}

static bool run(const struct program *p, uint64_t seed, struct result *ret)
{
    struct scenario *sc = calloc(1, sizeof(*sc));
    size_t memory = mem_live();
    if (!sc || !(sc->visited = calloc(VISITED, sizeof(*sc->visited))))
        abort();
    struct world *w = &sc->w;
    world_init(w, &(struct world_config){
                      .seed = seed,
                      .workers = 4,
                      .wire = {.loss_permille = 100,
                               .dup_permille = 50,
                               .delay_min = USEC_MS,
                               .delay_max = 60 * USEC_MS,
                               .reorder_permille = 50,
                               .reorder_by = 300 * USEC_MS},
                      .compact_min = 2 * 1024,
                      .program = p->name,
                      .replay = p->replay,
                      .trace = p->trace,
                  });
    program_tap(p, w->sim);
    sc->want = p->calls;
    sc->stars = p->part != PART_POWER;
    sc->part = (enum part)p->part;
    course(sc, sc->part);
    *ret = (struct result){.hash = sim_trace_hash(w->sim), .events = sim_trace_count(w->sim)};
    program_count(ret, "acknowledged", sc->acknowledged);
    program_count(ret, "not acknowledged", sc->unacknowledged);
    program_count(ret, "restarts", sc->restarts);
    program_count(ret, "phones off and on", sc->cycles);
    program_count(ret, "steps of the search", sc->steps);
    world_done(w);
    if (mem_live() != memory)
        world_fail(w, "%zu allocations are left after everything was freed", mem_live() - memory);
    bool ok = !w->failed;
    free(sc->visited);
    free(sc);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct program_part parts[] = {
        [PART_STEADY] = {.what = "registrar: linearizable",
                         .calls = 12,
                         .seeds = 300,
                         .sanitized_seeds = 12},
        [PART_KILLED] = {.what = "registrar: killed and started again",
                         .calls = 12,
                         .seeds = 300,
                         .sanitized_seeds = 12},
        [PART_POWER] = {.what = "registrar: power cuts",
                        .calls = 12,
                        .seeds = 300,
                        .sanitized_seeds = 12},
        [PART_FLOWS] = {.what = "registrar: flows that end",
                        .calls = 12,
                        .seeds = 300,
                        .sanitized_seeds = 12},
    };
    return program_main(argc, argv, parts, sizeof(parts) / sizeof(parts[0]), run);
}
