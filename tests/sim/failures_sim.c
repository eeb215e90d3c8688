/* SPDX-License-Identifier: MIT */
/* failures_sim: calls while hosts die, cables are cut and the server starts again.
 *
 * Each part is one misfortune, over many seeds: phones on UDP and TCP in all combinations, one
 * to four
 * workers, some loss. Whatever happens, both sides come to an end in bounded time, and the server
 * forgets the call. */
#include <stdio.h>
#include <stdlib.h>
#include "support/program.h"
#include "support/world.h"

static const usec ringing = 30 * USEC_S;
static const usec t64 = 32 * USEC_S;

struct side {
    struct phone *phone;
    struct useragent_call *call; /* NULL: none, or ended */
    bool incoming, answered, confirmed, ended;
    enum useragent_end why;
    uint16_t status;
};

struct scenario {
    struct world w;
    struct side caller, callee;
    bool answer; /* the callee answers at once; else it rings */
};

static usec between(struct world *w, usec from, usec to)
{
    return from + (usec)(sim_random(w->sim) % (uint64_t)(to - from + 1));
}

static struct side *side_of(struct phone *p)
{
    struct scenario *sc = p->test;
    return p == sc->caller.phone ? &sc->caller : &sc->callee;
}

static void on_incoming(void *arg, struct useragent_call *c, sv from, sv sdp)
{
    struct phone *p = arg;
    struct scenario *sc = p->test;
    struct side *s = side_of(p);
    (void)from;
    (void)sdp;
    s->incoming = true;
    s->call = c;
    if (useragent_ring(c) || (sc->answer && useragent_answer(c, world_sdp)))
        world_fail(p->world, "phone %u cannot respond", p->index);
}

static void on_answered(void *arg, struct useragent_call *c, sv sdp)
{
    (void)c;
    (void)sdp;
    side_of(arg)->answered = true;
}

static void on_confirmed(void *arg, struct useragent_call *c)
{
    (void)c;
    side_of(arg)->confirmed = true;
}

static void on_ended(void *arg, struct useragent_call *c, enum useragent_end why, uint16_t status)
{
    struct side *s = side_of(arg);
    (void)c;
    s->call = NULL;
    s->ended = true;
    s->why = why;
    s->status = status;
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

/* ---- steps ---- */

static bool is_ringing(void *arg)
{
    return ((struct scenario *)arg)->callee.incoming;
}

static bool is_up(void *arg)
{
    struct scenario *sc = arg;
    return sc->caller.answered && sc->callee.confirmed;
}

static bool caller_ended(void *arg)
{
    return ((struct scenario *)arg)->caller.ended;
}

static bool callee_ended(void *arg)
{
    return ((struct scenario *)arg)->callee.ended;
}

static bool both_ended(void *arg)
{
    return caller_ended(arg) && callee_ended(arg);
}

static bool both_bound(void *arg)
{
    struct scenario *sc = arg;
    return sc->caller.phone->bound_s && sc->callee.phone->bound_s;
}

/* Waits; false: it did not come, which is a failure. */
static bool until(struct scenario *sc, bool (*pred)(void *arg), usec within, const char *what)
{
    struct world *w = &sc->w;
    if (sim_run_when(w->sim, sim_now(w->sim) + within, pred, sc))
        return true;
    world_fail(w, "not within %lld s: %s", (long long)(within / USEC_S), what);
    return false;
}

static bool call(struct scenario *sc)
{
    char mem[64];
    struct side *s = &sc->caller;
    enum err rc = useragent_call(s->phone->ua, world_uri(sc->callee.phone->account, mem), world_sdp,
                                 NULL, &s->call);
    if (rc)
        world_fail(&sc->w, "the call cannot be sent: %s", err_text(rc));
    return rc == ERR_OK;
}

static bool call_up(struct scenario *sc)
{
    sc->answer = true;
    return call(sc) && until(sc, is_up, 10 * USEC_S, "a call stands");
}

static bool call_rings(struct scenario *sc)
{
    sc->answer = false;
    return call(sc) && until(sc, is_ringing, 10 * USEC_S, "a phone rings") &&
           (world_run(&sc->w, USEC_S), true);
}

static void hang_up(struct side *s)
{
    if (s->call)
        useragent_hangup(s->call);
}

static struct side *either(struct scenario *sc)
{
    return sim_random(sc->w.sim) % 2 ? &sc->caller : &sc->callee;
}

static void off(struct side *s, bool power)
{
    s->call = NULL;
    phone_off(s->phone, power);
}

static void check_ended(struct scenario *sc, const struct side *s, enum useragent_end why)
{
    if (s->ended && s->why != why)
        world_fail(&sc->w, "phone %u: the call ended with %u (%d)", s->phone->index, s->status,
                   (int)s->why);
}

static void check_forgotten(struct scenario *sc)
{
    struct world *w = &sc->w;
    char mem[256];
    struct buf b;
    for (unsigned s = 0; s < 200 && world_server_load(w, NULL) && !w->failed; s++)
        world_run(w, USEC_S);
    buf_init(&b, mem, sizeof(mem));
    if (world_server_load(w, &b))
        world_fail(w, "the server still has " SV_FMT, SV_ARG(buf_sv(&b)));
}

static void restart(struct scenario *sc)
{
    struct world *w = &sc->w;
    bool power = sim_random(w->sim) % 4 == 0;
    /* what was acknowledged within store.sync may go (architecture: the power-loss window) */
    if (power)
        world_run(w, 300 * USEC_MS);
    world_server_kill(w, power);
    world_run(w, between(w, 0, 8 * USEC_S));
    world_server_start(w);
}

/* ---- misfortunes ---- */

/* The other side hangs up; the dead one's BYE is answered by nobody. */
static void callee_dies_in_a_call(struct scenario *sc)
{
    if (!call_up(sc))
        return;
    off(&sc->callee, sim_random(sc->w.sim) % 2);
    world_run(&sc->w, between(&sc->w, 0, 5 * USEC_S));
    hang_up(&sc->caller);
    if (until(sc, caller_ended, t64 + 5 * USEC_S, "the caller's BYE ends the call"))
        check_ended(sc, &sc->caller, USERAGENT_BY_US);
}

/* Timer C ends what nobody will answer. */
static void callee_dies_ringing(struct scenario *sc)
{
    if (!call_rings(sc))
        return;
    off(&sc->callee, sim_random(sc->w.sim) % 2);
    if (until(sc, caller_ended, ringing + t64 + 5 * USEC_S, "the caller hears a final response"))
        check_ended(sc, &sc->caller, USERAGENT_REFUSED);
}

/* Nobody will CANCEL: Timer C does. */
static void caller_dies_ringing(struct scenario *sc)
{
    if (!call_rings(sc))
        return;
    off(&sc->caller, sim_random(sc->w.sim) % 2);
    if (until(sc, callee_ended, ringing + t64 + 5 * USEC_S, "the phone stops ringing"))
        check_ended(sc, &sc->callee, USERAGENT_CANCELLED);
}

/* Nobody acknowledges: the callee says BYE after 64*T1, and ends (§13.3.1.4). */
static void caller_dies_before_the_answer(struct scenario *sc)
{
    if (!call_rings(sc))
        return;
    off(&sc->caller, sim_random(sc->w.sim) % 2);
    if (useragent_answer(sc->callee.call, world_sdp))
        world_fail(&sc->w, "the callee cannot answer");
    if (until(sc, callee_ended, 2 * t64 + 5 * USEC_S, "the callee gives up"))
        check_ended(sc, &sc->callee, USERAGENT_NO_ACK);
}

/* A call outlives a cut cable, and is torn down on both sides when it is whole again. The cut is
 * shorter than what a stream's message may take (10 s): a longer one can end a connection in the
 * middle of a message, and then only session timers (RFC 4028) would tell the far side. */
static void cable_is_cut(struct scenario *sc)
{
    struct world *w = &sc->w;
    struct side *s = either(sc);
    if (!call_up(sc))
        return;
    sim_partition(w->sim, w->server.host, s->phone->host, true);
    if (sim_random(w->sim) % 2) /* says BYE into the gap; it is repeated for 64*T1 */
        hang_up(&sc->caller);
    world_run(w, between(w, USEC_S, 8 * USEC_S));
    sim_partition(w->sim, w->server.host, s->phone->host, false);
    hang_up(&sc->caller);
    if (!until(sc, both_ended, t64 + 5 * USEC_S, "both sides are told of the end"))
        return;
    check_ended(sc, &sc->caller, USERAGENT_BY_US);
    check_ended(sc, &sc->callee, USERAGENT_BY_PEER);
}

/* The new process knows nothing of the call; but its marks and hashes verify, so the BYE goes
 * on. */
static void server_restarts_in_a_call(struct scenario *sc)
{
    struct world *w = &sc->w;
    struct side *s = either(sc), *other = s == &sc->caller ? &sc->callee : &sc->caller;
    if (!call_up(sc))
        return;
    world_run(w, between(w, 0, 3 * USEC_S));
    restart(sc);
    world_run(w, between(w, 0, 3 * USEC_S));
    hang_up(s);
    if (!until(sc, both_ended, t64 + 5 * USEC_S, "the BYE reaches the other side"))
        return;
    check_ended(sc, s, USERAGENT_BY_US);
    check_ended(sc, other, USERAGENT_BY_PEER);
}

/* Registered phones are reached after a restart; those on TCP come back by themselves. */
static void phones_are_reached_after_a_restart(struct scenario *sc)
{
    struct world *w = &sc->w;
    restart(sc);
    if (sc->callee.phone->transport == SIP_T_TCP) {
        sc->callee.phone->bound_s = 0;
        if (!until(sc, both_bound, 100 * USEC_S, "the phone on TCP registers anew"))
            return;
    }
    world_run(w, between(w, 0, 3 * USEC_S));
    if (!call_up(sc))
        return;
    hang_up(either(sc));
    until(sc, both_ended, t64 + 5 * USEC_S, "the call ends");
}

/* The transaction is gone with the process: both sides find out, each in its time. */
static void server_restarts_ringing(struct scenario *sc)
{
    if (!call_rings(sc))
        return;
    restart(sc);
    if (sc->callee.call && useragent_answer(sc->callee.call, world_sdp))
        world_fail(&sc->w, "the callee cannot answer");
    if (!until(sc, callee_ended, 2 * t64 + 5 * USEC_S, "the callee gives up"))
        return;
    hang_up(&sc->caller);
    until(sc, caller_ended, t64 + 5 * USEC_S, "the caller gives up");
}

static void (*const courses[])(struct scenario *sc) = {
    callee_dies_in_a_call,
    callee_dies_ringing,
    caller_dies_ringing,
    caller_dies_before_the_answer,
    cable_is_cut,
    server_restarts_in_a_call,
    phones_are_reached_after_a_restart,
    server_restarts_ringing,
};

static void populate(struct scenario *sc)
{
    struct world *w = &sc->w;
    w->handler = &handler;
    w->accounts = 2;
    world_server_start(w);
    for (unsigned i = 0; i < 2; i++) {
        struct phone *p = world_phone(w, i, sim_random(w->sim) % 2 ? SIP_T_TCP : SIP_T_UDP);
        p->test = sc;
        *(i == 0 ? &sc->caller : &sc->callee) = (struct side){.phone = p};
    }
    if (!world_register_all(w, 100 * USEC_S))
        world_fail(w, "the phones are not registered after 100 s");
}

static bool run(const struct program *p, uint64_t seed, struct result *ret)
{
    struct scenario *sc = calloc(1, sizeof(*sc));
    size_t memory = mem_live();
    if (!sc)
        abort();
    struct world *w = &sc->w;
    world_init(w, &(struct world_config){
                      .seed = seed,
                      .workers = 1 + (unsigned)(seed % 4),
                      .wire = {.loss_permille = 20,
                               .dup_permille = 20,
                               .delay_min = USEC_MS,
                               .delay_max = 40 * USEC_MS,
                               .reorder_permille = 20,
                               .reorder_by = 100 * USEC_MS},
                      .ringing = ringing,
                      .program = p->name,
                      .replay = p->replay,
                      .trace = p->trace,
                  });
    program_tap(p, w->sim);
    populate(sc);
    if (!w->failed)
        courses[p->part](sc);
    if (!w->failed)
        check_forgotten(sc);
    *ret = (struct result){.hash = sim_trace_hash(w->sim), .events = sim_trace_count(w->sim)};
    world_done(w);
    if (mem_live() != memory)
        world_fail(w, "%zu allocations are left after everything was freed", mem_live() - memory);
    bool ok = !w->failed;
    free(sc);
    return ok;
}

int main(int argc, char **argv)
{
#define PART(text)                                          \
    {                                                       \
        .what = (text), .seeds = 200, .sanitized_seeds = 16 \
    }
    static const struct program_part parts[] = {
        PART("callee dies in a call"),
        PART("callee dies ringing"),
        PART("caller dies ringing"),
        PART("caller dies before the answer"),
        PART("cable is cut in a call"),
        PART("server restarts in a call"),
        PART("phones are reached after a restart"),
        PART("server restarts ringing"),
    };
    return program_main(argc, argv, parts, sizeof(parts) / sizeof(parts[0]), run);
}
