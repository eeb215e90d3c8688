/* SPDX-License-Identifier: MIT */
/* answers_sim: calls that end at the server itself, over a bad network.
 *
 * Phones dial *43. The server answers at once, later or not at all, and hangs up, or waits for the phone to; phones
 * give up, often in the moment of the answer. A tenth of all datagrams is lost, and any worker may get any of them:
 * ACK and BYE find the call by the mark in its Contact alone. What must hold:
 *
 *   - every call ends at its phone, with a status that the server gave, and at the server, once
 *   - both sides hear of the end; an answer without an ACK is rare
 *   - the books have a record of each call that the server took
 *   - afterwards nothing is left: no call, transaction, home, block, memory
 *   - the same seed gives the same trace */
#include <stdio.h>
#include <stdlib.h>
#include "support/program.h"
#include "support/world.h"

static const usec decided_within = 70 * USEC_S;

struct caller {
    struct scenario *sc;
    struct phone *phone;
    struct useragent_call *call; /* NULL: ended */
    struct timer timer;
    usec began;
    bool answered, ended;
};

struct scenario {
    struct world w;
    struct caller *caller;
    unsigned begun, ended, answered, cancelled, refused, lost;
    unsigned taken, acks, over, by_caller, by_us, no_ack, expired;
};

/* The server's side of a call. */
struct desk {
    struct scenario *sc;
    struct loop *loop;
    struct answer_call *call;
    struct timer timer;
    bool said;
};

static usec between(struct world *w, usec from, usec to)
{
    return from + (usec)(sim_random(w->sim) % (uint64_t)(to - from + 1));
}

static bool chance(struct world *w, unsigned percent)
{
    return sim_random(w->sim) % 100 < percent;
}

/* ---- the server ---- */

static void accept_call(struct desk *d)
{
    struct world *w = &d->sc->w;
    d->said = true;
    if (answer_accept(d->call, world_sdp))
        world_fail(w, "a call cannot be answered");
    if (chance(w, 50))
        loop_timer(d->loop, &d->timer, between(w, 0, 12 * USEC_S));
}

static void on_desk_timer(struct timer *t, void *arg)
{
    struct desk *d = arg;
    (void)t;
    if (d->said)
        answer_end(d->call, NULL);
    else
        accept_call(d);
}

static void on_ack(void *arg, struct answer_call *c, sv description)
{
    struct desk *d = arg;
    (void)c;
    (void)description;
    d->sc->acks++;
}

static void on_end(void *arg, struct answer_call *c, enum answer_end why)
{
    struct desk *d = arg;
    struct scenario *sc = d->sc;
    if (c != d->call)
        world_fail(&sc->w, "another call ends");
    sc->over++;
    sc->by_caller += why == ANSWER_BY_CALLER;
    sc->by_us += why == ANSWER_BY_US;
    sc->no_ack += why == ANSWER_NO_ACK;
    sc->expired += why == ANSWER_EXPIRED || why == ANSWER_LOST;
    loop_timer_cancel(d->loop, &d->timer);
    free(d);
}

static const struct answer_handler desk_handler = {.on_ack = on_ack, .on_end = on_end};

static void on_call(void *arg, struct answer_call *call, sv payer,
                    const struct settings_target *what)
{
    (void)payer;
    struct scenario *sc = arg;
    struct world *w = &sc->w;
    struct desk *d = calloc(1, sizeof(*d));
    struct rx *rx = answer_rx(call);
    if (!d)
        abort();
    if (what->kind != TARGET_ECHO || !rx || !sv_eq(answer_offer(call), world_sdp))
        world_fail(w, "the call is not what was dialled");
    sc->taken++;
    /* whose worker this is, the message says */
    unsigned worker = home_worker(sip_home(routing_sip(w->server.routing[0])), rx->slot);
    *d = (struct desk){.sc = sc, .call = call, .loop = w->server.group->loop[worker]};
    timer_init(&d->timer, on_desk_timer, d);
    answer_handle(call, &desk_handler, d);
    unsigned how = (unsigned)(sim_random(w->sim) % 100);
    if (how < 50)
        accept_call(d);
    else if (how < 85)
        loop_timer(d->loop, &d->timer, how < 65 ? 2 * USEC_S : between(w, 0, 4 * USEC_S));
    else
        answer_reject(call, how < 92 ? 486 : 488, SV_NONE);
}
static const struct routing_media media = {.on_call = on_call};

/* ---- the phones ---- */

static void on_timer(struct timer *t, void *arg)
{
    struct caller *a = arg;
    (void)t;
    if (a->call)
        useragent_hangup(a->call);
}

static void on_answered(void *arg, struct useragent_call *c, sv sdp)
{
    struct caller *a = useragent_call_arg(c);
    struct world *w = &a->sc->w;
    (void)arg;
    a->answered = true;
    a->sc->answered++;
    if (!sv_eq(sdp, world_sdp))
        world_fail(w, "the answer is not what was said");
    loop_timer(a->phone->loop, &a->timer, chance(w, 50) ? between(w, 0, 10 * USEC_S) : 40 * USEC_S);
}

static void on_ended(void *arg, struct useragent_call *c, enum useragent_end why, uint16_t status)
{
    struct caller *a = useragent_call_arg(c);
    struct scenario *sc = a->sc;
    struct world *w = &sc->w;
    (void)arg;
    a->call = NULL;
    loop_timer_cancel(a->phone->loop, &a->timer);
    if (a->ended)
        world_fail(w, "a call ends twice");
    if (!a->answered && sim_now(w->sim) - a->began > decided_within)
        world_fail(w, "decided only after %lld s",
                   (long long)((sim_now(w->sim) - a->began) / USEC_S));
    a->ended = true;
    sc->ended++;
    sc->cancelled += why == USERAGENT_CANCELLED;
    sc->refused += why == USERAGENT_REFUSED;
    sc->lost += why == USERAGENT_LOST;
    bool ours = status == 486 || status == 488 || status == 487 || status == 408 ||
                (why == USERAGENT_CANCELLED && status == 407) ||
                ((why == USERAGENT_BY_US || why == USERAGENT_BY_PEER) &&
                 status == 200); /* his CANCEL came too late */
    if (!a->answered && !ours)
        world_fail(w, "ended with %u (%d), which nobody said", status, (int)why);
}

static void on_message(void *arg, bool out, const struct addr *peer, sv octets)
{
    (void)peer;
    phone_show(arg, out, octets);
}

static const struct useragent_handler handler = {.on_registered = phone_on_registered,
                                                 .on_answered = on_answered,
                                                 .on_ended = on_ended,
                                                 .on_message = on_message};

static void begin_call(struct scenario *sc)
{
    struct world *w = &sc->w;
    struct caller *a = &sc->caller[sc->begun++];
    *a = (struct caller){
        .sc = sc, .phone = &w->phone[sim_random(w->sim) % w->phones], .began = sim_now(w->sim)};
    timer_init(&a->timer, on_timer, a);
    enum err rc = useragent_call(a->phone->ua, SV("sip:*43@" WORLD_DOMAIN), world_sdp, a, &a->call);
    if (rc)
        world_fail(w, "phone %u cannot call: %s", a->phone->index, err_text(rc));
    else if (chance(w, 25))
        loop_timer(a->phone->loop, &a->timer,
                   chance(w, 50) ? 2 * USEC_S : between(w, 0, 5 * USEC_S));
}

/* ---- the course ---- */

static void configure(struct settings *set)
{
    set->codes.echo = SV("*43");
}

static size_t remains(struct scenario *sc)
{
    struct world *w = &sc->w;
    size_t n = world_server_load(w, NULL);
    for (unsigned i = 0; i < w->server.group->n; i++)
        n += answer_count(routing_answer(w->server.routing[i]));
    for (unsigned i = 0; i < w->phones; i++)
        n += useragent_remains(w->phone[i].ua);
    return n;
}

static void check_end(struct scenario *sc)
{
    struct world *w = &sc->w;
    uint64_t records = accounts_records(w->server.directory);
    if (remains(sc))
        world_fail(w, "%zu things are left over", remains(sc));
    if (sc->ended != sc->begun)
        world_fail(w, "%u of %u calls have not ended at their phones", sc->begun - sc->ended,
                   sc->begun);
    if (sc->over != sc->taken)
        world_fail(w, "%u of %u calls have not ended at the server", sc->taken - sc->over,
                   sc->taken);
    if (records != sc->taken)
        world_fail(w, "%u calls, %llu records", sc->taken, (unsigned long long)records);
    if (sc->expired)
        world_fail(w, "%u calls ended by themselves", sc->expired);
    if (sc->no_ack > 1 + sc->begun / 500 || sc->lost > 1 + sc->begun / 500)
        world_fail(w, "%u answers got no ACK, %u calls no answer", sc->no_ack, sc->lost);
}

static bool run(const struct program *p, uint64_t seed, struct result *ret)
{
    struct scenario sc = {.begun = 0};
    struct world *w = &sc.w;
    size_t memory = mem_live();
    world_init(w, &(struct world_config){.seed = seed,
                                         .workers = 1 + (unsigned)(seed % 4),
                                         .wire = {.loss_permille = 100,
                                                  .dup_permille = 50,
                                                  .delay_min = USEC_MS,
                                                  .delay_max = 40 * USEC_MS,
                                                  .reorder_permille = 50,
                                                  .reorder_by = 300 * USEC_MS},
                                         .configure = configure,
                                         .program = p->name,
                                         .replay = p->replay,
                                         .trace = p->trace});
    program_tap(p, w->sim);
    sc.caller = calloc(p->calls, sizeof(*sc.caller));
    if (!sc.caller)
        abort();
    w->handler = &handler;
    w->accounts = 3;
    world_server_start(w);
    for (unsigned i = 0; i < w->server.group->n; i++)
        routing_media(w->server.routing[i], &media, &sc);
    for (unsigned i = 0; i < w->accounts; i++)
        world_phone(w, i, chance(w, 30) ? SIP_T_TCP : SIP_T_UDP);
    for (unsigned i = 0; i < p->calls && !w->failed; i++) {
        begin_call(&sc);
        world_run(w, between(w, 0, 1500 * USEC_MS));
    }
    for (unsigned s = 0; s < 400 && remains(&sc) && !w->failed; s++)
        world_run(w, USEC_S);
    if (!w->failed)
        check_end(&sc);
    *ret = (struct result){.hash = sim_trace_hash(w->sim), .events = sim_trace_count(w->sim)};
    program_count(ret, "calls", sc.begun);
    program_count(ret, "answered", sc.answered);
    program_count(ret, "cancelled", sc.cancelled);
    program_count(ret, "refused", sc.refused);
    program_count(ret, "unanswered", sc.lost);
    program_count(ret, "acknowledged", sc.acks);
    program_count(ret, "without ACK", sc.no_ack);
    program_count(ret, "ended by phones", sc.by_caller);
    program_count(ret, "by the server", sc.by_us);
    world_done(w);
    free(sc.caller);
    if (mem_live() != memory)
        world_fail(w, "%zu allocations are left", mem_live() - memory);
    return !w->failed;
}

int main(int argc, char **argv)
{
    static const struct program_part parts[] = {
        {.what = "answers: seeds of 60", .calls = 60, .seeds = 200, .sanitized_seeds = 10},
        {.what = "answers: the same seed, twice",
         .calls = 10,
         .seeds = 4,
         .first = 100,
         .twice = true},
    };
    return program_main(argc, argv, parts, sizeof(parts) / sizeof(parts[0]), run);
}
