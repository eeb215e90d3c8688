/* SPDX-License-Identifier: MIT */
/* calls_sim: calls among phones through one server, over a bad network.
 *
 * Several phones ring for one account. They answer, refuse, do not answer, hang up; callers give
 * up, often
 * in the very moment of an answer. A tenth of all datagrams is lost, some come twice, some late;
 * any
 * worker may get any of them. What must hold:
 *
 *   - every INVITE ends in exactly one final response at its caller, of a status that somebody gave
 *   - every confirmed call is torn down on both sides
 *   - nobody rings on when the call is decided, and no call rings beyond Timer C
 *   - every final response is acknowledged (a repeated one by a repeated ACK)
 *   - afterwards nothing is left: no transaction, context, standing call, home, block, memory
 *   - the same seed gives the same trace
 */
#include <stdio.h>
#include <stdlib.h>
#include "ds/hash.h"
#include "support/program.h"
#include "support/world.h"

enum { CALLS_MAX = 100000, REPEATS = 512, REPEATS_MAX = 9 };
static const usec ringing = 30 * USEC_S;
/* Timer C, its CANCEL's 64*T1, and the INVITE's own way through two challenges. */
static const usec decided_within = 130 * USEC_S;
/* Who rings and is not cancelled does so no longer. It counts as a loser that rang on. */
static const usec gives_up = 129 * USEC_S;
/* Its CANCEL waits for a provisional response (§9.1), so it takes longer once in 20,000 times. */
static const usec loser_within = 20 * USEC_S;

struct attempt {
    struct hash_node by_call_id;
    struct scenario *sc;
    struct phone *phone;
    struct useragent_call *call; /* NULL: ended */
    struct timer timer;
    usec began, decided;
    usec give_up, talk; /* 0: never, the other side does */
    unsigned finals, confirmed, torn;
    unsigned to, rung; /* account called; its phones that rang */
    bool answered;
    char call_id[64];
    size_t call_id_n;
};

struct incoming {
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

/* How often one octet-identical final response passed a phone. */
struct repeats {
    uint64_t hash;
    unsigned n;
};

struct scenario {
    struct world w;
    unsigned calls, begun, ended;
    unsigned incoming, incoming_ended;
    unsigned answered, cancelled, refused, lost, no_ack;
    unsigned late_losers;                /* phones that rang on when the call was decided */
    unsigned unrung;                     /* phones that a call should have rung, and did not */
    unsigned phones[WORLD_ACCOUNTS_MAX]; /* of the account */
    struct attempt *attempt;
    struct hash by_call_id;
    struct repeats (*repeats)[REPEATS];
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
    if (a->decided - a->began > decided_within)
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

static bool status_is_somebodys(enum useragent_end why, uint16_t status)
{
    switch (why) {
    case USERAGENT_REFUSED: /* what phones say; 408: nobody answered in time; 487: Timer C */
        return status == 486 || status == 600 || status == 603 || status == 404 || status == 408 ||
               status == 487;
    case USERAGENT_CANCELLED:
        /* 407: he gave up before he could answer the challenge. */
        return status == 487 || status == 407 || status == 408 || status == 486 || status == 600 ||
               status == 603 || status == 404;
    case USERAGENT_LOST:
        return status == 408;
    default:
        return status == 200;
    }
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
    /* Refused by all that ring: nobody was left out. A 6xx ends it for the rest. */
    if (why == USERAGENT_REFUSED && status < 600)
        sc->unrung += sc->phones[a->to] - a->rung;
    if (!status_is_somebodys(why, status))
        world_fail(&sc->w, "call %s: ended with %u (%d), which nobody said", a->call_id, status,
                   (int)why);
}

/* ---- the callee ---- */

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
    case IGNORE: /* no CANCEL: none of what it has said arrived (§9.1) */
        rc = useragent_reject(in->call, 486);
        break;
    }
    if (rc)
        world_fail(&in->sc->w, "phone %u cannot respond: %s", in->phone->index, err_text(rc));
}

static void on_incoming(void *arg, struct useragent_call *c, sv from, sv sdp)
{
    static const uint16_t statuses[] = {486, 600, 603, 404};
    struct phone *p = arg;
    struct scenario *sc = p->test;
    struct world *w = &sc->w;
    struct incoming *in = calloc(1, sizeof(*in));
    if (!in)
        abort();
    (void)from;
    *in = (struct incoming){.sc = sc, .call = c, .phone = p, .began = sim_now(w->sim)};
    in->attempt = attempt_of(sc, useragent_call_id(c));
    timer_init(&in->timer, on_callee_timer, in);
    useragent_call_set_arg(c, in);
    sc->incoming++;
    if (in->attempt)
        in->attempt->rung++;
    else
        world_fail(w, "phone %u rings for a call that nobody makes", p->index);
    if (!sv_eq(sdp, world_sdp))
        world_fail(w, "phone %u: the offer is not what was sent", p->index);
    if (chance(w, 85) && useragent_ring(c) != ERR_OK)
        world_fail(w, "phone %u cannot ring", p->index);
    unsigned what = (unsigned)(sim_random(w->sim) % 100);
    in->plan = what < 55 ? ANSWER : what < 80 ? REFUSE : IGNORE;
    in->status = statuses[sim_random(w->sim) % 4];
    loop_timer(p->loop, &in->timer,
               in->plan == IGNORE ? gives_up
               : chance(w, 40)    ? 2 * USEC_S /* together with others, and with CANCELs */
               : chance(w, 15)    ? 0
                                  : between(w, 0, 8 * USEC_S));
}

static void on_confirmed(void *arg, struct useragent_call *c)
{
    struct phone *p = arg;
    struct incoming *in = useragent_call_arg(c);
    struct world *w = &in->sc->w;
    in->confirmed = true;
    if (in->attempt)
        in->attempt->confirmed++;
    if (chance(w, 50))
        loop_timer(p->loop, &in->timer, between(w, 0, 15 * USEC_S));
}

static void callee_ended(struct incoming *in, enum useragent_end why)
{
    struct scenario *sc = in->sc;
    struct world *w = &sc->w;
    usec now = sim_now(w->sim);
    struct attempt *a = in->attempt;
    sc->incoming_ended++;
    if (why == USERAGENT_NO_ACK)
        sc->no_ack++;
    if (!in->answered && now - in->began > decided_within)
        world_fail(w, "phone %u rang %lld s", in->phone->index,
                   (long long)((now - in->began) / USEC_S));
    if (!in->answered && a && a->decided && now - a->decided > loser_within)
        sc->late_losers++;
    if (in->confirmed && a)
        a->torn++;
    loop_timer_cancel(in->phone->loop, &in->timer);
    free(in);
}

static void on_ended(void *arg, struct useragent_call *c, enum useragent_end why, uint16_t status)
{
    struct phone *p = arg;
    struct scenario *sc = p->test;
    struct attempt *a = attempt_of(sc, useragent_call_id(c));
    if (a && a->call == c)
        caller_ended(a, why, status);
    else
        callee_ended(useragent_call_arg(c), why);
}

/* ---- what passes ---- */

/* A final response of 300 to 699 to an INVITE, no challenge. */
static bool needs_ack(sv octets)
{
    sv head = SV("SIP/2.0 ");
    if (octets.n < 12 || !sv_starts(octets, head) || octets.p[8] < '3' ||
        memcmp(octets.p + 8, "407", 3) == 0 || memcmp(octets.p + 8, "401", 3) == 0)
        return false;
    const char *at = memmem(octets.p, octets.n, "\r\nCSeq: ", 8);
    const char *end = at ? memchr(at + 2, '\r', (size_t)(octets.p + octets.n - at - 2)) : NULL;
    return end && memmem(at, (size_t)(end - at), "INVITE", 6) != NULL;
}

/* Timer G says a final response eleven times in 64*T1 when no ACK comes. With a repeated ACK for
 * each
 * repetition that it takes nine is a chance in ten millions. */
static void on_message(void *arg, bool out, const struct addr *peer, sv octets)
{
    struct phone *p = arg;
    struct scenario *sc = p->test;
    (void)peer;
    phone_show(p, out, octets);
    if (!needs_ack(octets))
        return;
    uint64_t h = crypto_siphash(key, octets.p, octets.n) ^ out;
    struct repeats *r = &sc->repeats[p->index][h % REPEATS];
    if (r->hash != h)
        *r = (struct repeats){.hash = h};
    if (++r->n >= REPEATS_MAX)
        world_fail(&sc->w, "phone %u: a final response was repeated %u times: no ACK for " SV_FMT,
                   p->index, r->n, (int)sv_chr(octets, '\r'), octets.p);
}

static const struct useragent_handler handler = {
    .on_registered = phone_on_registered,
    .on_incoming = on_incoming,
    .on_answered = on_answered,
    .on_confirmed = on_confirmed,
    .on_ended = on_ended,
    .on_message = on_message,
};

/* ---- the course ---- */

static void begin_call(struct scenario *sc)
{
    struct world *w = &sc->w;
    struct attempt *a = &sc->attempt[sc->begun];
    struct phone *p = &w->phone[sim_random(w->sim) % w->phones];
    unsigned to = (unsigned)(sim_random(w->sim) % (w->accounts - 1));
    char mem[64];
    *a = (struct attempt){.sc = sc, .phone = p, .began = sim_now(w->sim)};
    timer_init(&a->timer, on_caller_timer, a);
    a->give_up = chance(w, 25)   ? between(w, 0, 12 * USEC_S)
                 : chance(w, 20) ? between(w, 1900 * USEC_MS, 2200 * USEC_MS)
                                 : 0;
    a->talk = chance(w, 60) ? between(w, 0, 15 * USEC_S) : 40 * USEC_S;
    if (to >= p->account)
        to++;
    a->to = to;
    enum err rc = useragent_call(p->ua, world_uri(to, mem), world_sdp, a, &a->call);
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

static size_t blocks_out(struct world *w)
{
    size_t n = 0;
    for (unsigned i = 0; i < w->server.group->n; i++)
        n += block_pool_live(w->server.group->loop[i]->blocks);
    for (unsigned i = 0; i < w->phones; i++)
        n += block_pool_live(w->phone[i].loop->blocks);
    return n;
}

static size_t remains(struct world *w)
{
    size_t n = world_server_load(w, NULL);
    for (unsigned i = 0; i < w->phones; i++)
        n += useragent_remains(w->phone[i].ua);
    return n;
}

/* Until nothing is under way; longer than any timer of a transaction is a failure. */
static void settle(struct world *w)
{
    char mem[256];
    struct buf b;
    for (unsigned s = 0; s < 300 && remains(w) > 0; s++)
        world_run(w, USEC_S);
    if (remains(w) == 0)
        return;
    buf_init(&b, mem, sizeof(mem));
    world_server_load(w, &b);
    for (unsigned i = 0; i < w->phones; i++) {
        if (useragent_remains(w->phone[i].ua))
            buf_printf(&b, "; phone %u: %zu calls, %zu remains", i, useragent_calls(w->phone[i].ua),
                       useragent_remains(w->phone[i].ua));
    }
    world_fail(w, "left over: " SV_FMT, SV_ARG(buf_sv(&b)));
}

static void populate(struct scenario *sc)
{
    struct world *w = &sc->w;
    w->handler = &handler;
    w->accounts = 4 + (unsigned)(sim_random(w->sim) % 3);
    world_server_start(w);
    for (unsigned i = 0; i < w->accounts; i++) {
        unsigned n = 1 + (unsigned)(sim_random(w->sim) % 3);
        sc->phones[i] = n;
        while (n-- > 0)
            world_phone(w, i, chance(w, 25) ? SIP_T_TCP : SIP_T_UDP)->test = sc;
    }
}

static void check_end(struct scenario *sc, size_t blocks)
{
    struct world *w = &sc->w;
    if (sc->ended != sc->begun)
        world_fail(w, "%u of %u calls have not ended at their callers", sc->begun - sc->ended,
                   sc->begun);
    if (sc->incoming != sc->incoming_ended)
        world_fail(w, "%u of %u calls have not ended at the called phones",
                   sc->incoming - sc->incoming_ended, sc->incoming);
    for (unsigned i = 0; i < sc->begun && !w->failed; i++) {
        struct attempt *a = &sc->attempt[i];
        if (a->finals != 1)
            world_fail(w, "call %s: %u final responses", a->call_id, a->finals);
        if (a->torn != a->confirmed + 1)
            world_fail(w, "call %s: %u sides confirmed it, %u tore it down", a->call_id,
                       a->confirmed + 1, a->torn);
    }
    /* At this loss a request meets nobody in 64*T1 about once in 60,000 times. */
    if (sc->lost > 1 + sc->calls / 2000)
        world_fail(w, "%u calls got no answer at all", sc->lost);
    if (sc->late_losers > 1 + sc->calls / 1000)
        world_fail(w, "%u phones rang on when their call was decided", sc->late_losers);
    if (sc->unrung > 1 + sc->calls / 2000)
        world_fail(w, "%u phones that are registered were not rung", sc->unrung);
    if (sc->no_ack > 1 + sc->calls / 2000)
        world_fail(w, "%u answers got no ACK", sc->no_ack);
    if (blocks_out(w) != blocks)
        world_fail(w, "%zu message buffers were out before, %zu are now", blocks, blocks_out(w));
    uint64_t records = accounts_records(w->server.directory);
    if (records < sc->answered || records > sc->begun)
        world_fail(w, "%u calls, %u answered, but %llu call records", sc->begun, sc->answered,
                   (unsigned long long)records);
}

static void run_calls(struct scenario *sc)
{
    struct world *w = &sc->w;
    for (unsigned i = 0; i < sc->calls && !w->failed; i++) {
        begin_call(sc);
        world_run(w, between(w, 0, 1200 * USEC_MS));
    }
    for (unsigned s = 0; s < 400 && sc->ended < sc->begun && !w->failed; s++)
        world_run(w, USEC_S);
}

static bool run(const struct program *p, uint64_t seed, struct result *ret)
{
    struct scenario sc = {.calls = p->calls};
    struct world *w = &sc.w;
    size_t memory = mem_live();
    world_init(w, &(struct world_config){
                      .seed = seed,
                      .workers = 1 + (unsigned)(seed % 4),
                      .wire = {.loss_permille = 100,
                               .dup_permille = 50,
                               .delay_min = USEC_MS,
                               .delay_max = 40 * USEC_MS,
                               .reorder_permille = 50,
                               .reorder_by = 300 * USEC_MS},
                      .ringing = ringing,
                      .program = p->name,
                      .replay = p->replay,
                      .trace = p->trace,
                  });
    program_tap(p, w->sim);
    sc.attempt = calloc(p->calls, sizeof(*sc.attempt));
    sc.repeats = calloc(WORLD_PHONES_MAX, sizeof(*sc.repeats));
    if (!sc.attempt || !sc.repeats || hash_init(&sc.by_call_id, 1024))
        abort();
    populate(&sc);
    if (!world_register_all(w, 200 * USEC_S))
        world_fail(w, "not all phones are registered after 200 s");
    settle(w);
    size_t blocks = blocks_out(w);
    if (!w->failed)
        run_calls(&sc);
    if (!w->failed)
        settle(w);
    if (!w->failed)
        check_end(&sc, blocks);
    *ret = (struct result){.hash = sim_trace_hash(w->sim), .events = sim_trace_count(w->sim)};
    program_count(ret, "calls", sc.begun);
    program_count(ret, "answered", sc.answered);
    program_count(ret, "cancelled", sc.cancelled);
    program_count(ret, "refused", sc.refused);
    program_count(ret, "unanswered", sc.lost);
    program_count(ret, "without ACK", sc.no_ack);
    program_count(ret, "rung", sc.incoming);
    world_done(w);
    hash_done(&sc.by_call_id);
    free(sc.attempt);
    free(sc.repeats);
    if (mem_live() != memory)
        world_fail(w, "%zu allocations are left after everything was freed", mem_live() - memory);
    return !w->failed;
}

int main(int argc, char **argv)
{
    static const struct program_part parts[] = {
        {.what = "calls: seeds of 100", .calls = 100, .seeds = 1000, .sanitized_seeds = 12},
        {.what = "calls: a long one",
         .calls = 10000,
         .sanitized_calls = 300,
         .seeds = 1,
         .first = 424242},
        {.what = "calls: the same seed, twice",
         .calls = 10,
         .seeds = 4,
         .first = 100,
         .twice = true},
    };
    return program_main(argc, argv, parts, sizeof(parts) / sizeof(parts[0]), run);
}
