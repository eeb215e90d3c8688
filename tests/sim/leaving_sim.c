/* SPDX-License-Identifier: MIT */
/* leaving_sim: a server ends while calls stand and ring, over a bad network.
 *
 * Phones call each other and the echo. Some say of themselves that they are where nobody reaches them, so that their media
 * passes through the server; between the others it is direct. Some are off when the server leaves (routing_leave), some
 * calls are answered while it does. What must hold:
 *
 *   - both phones of each relayed call hear BYE, and so does the one of each echo; the books say that the server ended it
 *   - nobody rings on or waits; a call that rang ends on both sides or stands on both, and the books say that the server ended it
 *   - a direct call goes on
 *   - where nothing is lost and nobody is off it takes no longer than the spread; else no longer than a 200 and a BYE are repeated
 *   - the calls that stood have no media left
 *   - the same seed gives the same trace */
#include <stdio.h>
#include <stdlib.h>
#include "support/media.h"
#include "support/program.h"
#include "support/world.h"

enum { PHONES = 12 };
#define SETTLE     (5 * USEC_S)
#define AT_ONCE    (2500 * USEC_MS)
#define AT_LAST    (70 * USEC_S) /* 64*T1 of a 200 without an ACK, and of its BYE */
#define AFTERWARDS (40 * USEC_S)

struct talk;
struct side {
    struct talk *talk;
    struct phone *phone;
    struct useragent_call *call; /* NULL: ended, or not there yet */
    struct timer late;
    bool up, ended, by_peer;
};

/* A call: caller, callee. */
struct talk {
    struct scenario *sc;
    struct side side[2];
    char call_id[64];
    bool relayed, echo, answered;
    bool rang,
        reached; /* when the server began to leave: the caller had no answer; the callee knew */
};

struct scenario {
    struct world w;
    struct talk *talk;
    unsigned begun, stood, direct, echoes, rang, late, off;
    unsigned left; /* workers */
    usec left_at;
    bool leaving;
};

static usec between(struct world *w, usec from, usec to)
{
    return from + (usec)(sim_random(w->sim) % (uint64_t)(to - from + 1));
}

static bool chance(struct world *w, unsigned percent)
{
    return sim_random(w->sim) % 100 < percent;
}

/* ---- the phones ---- */

/* It says that it is where it is. */
static sv own_sdp(const struct phone *p, char mem[static 256])
{
    struct buf b;
    buf_init(&b, mem, 256);
    buf_printf(&b,
               "v=0\r\no=- 1 1 IN IP4 10.0.1.%u\r\ns=-\r\nc=IN IP4 10.0.1.%u\r\nt=0 0\r\n"
               "m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n",
               p->index + 1, p->index + 1);
    return buf_sv(&b);
}

static void answer(struct side *s)
{
    char mem[256];
    if (!s->call)
        return;
    if (useragent_answer(s->call, own_sdp(s->phone, mem)))
        world_fail(&s->talk->sc->w, "phone %u cannot answer", s->phone->index);
    s->talk->answered = true;
}

static void on_late(struct timer *t, void *arg)
{
    (void)t;
    answer(arg);
}

static struct talk *talk_of(struct scenario *sc, sv call_id)
{
    for (unsigned i = 0; i < sc->begun; i++) {
        if (sv_eq(sv_of(sc->talk[i].call_id), call_id))
            return &sc->talk[i];
    }
    return NULL;
}

static void on_incoming(void *arg, struct useragent_call *c, sv from, sv sdp)
{
    struct phone *p = arg;
    struct scenario *sc = p->test;
    struct talk *t = talk_of(sc, useragent_call_id(c));
    (void)from;
    if (!t) {
        world_fail(&sc->w, "a phone rings for a call that nobody makes");
        return;
    }
    struct side *s = &t->side[1];
    s->call = c;
    useragent_call_set_arg(c, s);
    bool ours = sdp.n > 0 && memmem(sdp.p, sdp.n, "c=IN IP4 10.0.0.1\r\n", 19);
    if (ours != t->relayed)
        world_fail(&sc->w, "a call is %srelayed", t->relayed ? "not " : "");
    if (useragent_ring(c))
        world_fail(&sc->w, "phone %u cannot ring", p->index);
    if (chance(&sc->w, 85))
        answer(s);
}

static void on_answered(void *arg, struct useragent_call *c, sv sdp)
{
    struct side *s = useragent_call_arg(c);
    (void)arg;
    (void)sdp;
    s->up = true;
}

static void on_confirmed(void *arg, struct useragent_call *c)
{
    struct side *s = useragent_call_arg(c);
    (void)arg;
    s->up = true;
}

static void on_ended(void *arg, struct useragent_call *c, enum useragent_end why, uint16_t status)
{
    struct side *s = useragent_call_arg(c);
    struct scenario *sc = s->talk->sc;
    (void)arg;
    (void)status;
    s->call = NULL;
    s->ended = true;
    s->by_peer = why == USERAGENT_BY_PEER;
    loop_timer_cancel(s->phone->loop, &s->late);
    if (!sc->leaving)
        world_fail(&sc->w, "a call ends before the server does");
    else if (s->up && s->talk->side[0].up && !s->talk->relayed && !s->talk->echo)
        world_fail(&sc->w, "a direct call ends with the server");
}

static void on_message(void *arg, bool out, const struct addr *peer, sv octets)
{
    (void)peer;
    phone_show(arg, out, octets);
}

static const struct useragent_handler handler = {.on_registered = phone_on_registered,
                                                 .on_incoming = on_incoming,
                                                 .on_answered = on_answered,
                                                 .on_confirmed = on_confirmed,
                                                 .on_ended = on_ended,
                                                 .on_message = on_message};

static void begin_call(struct scenario *sc)
{
    struct world *w = &sc->w;
    char mem[256], uri[64];
    struct talk *t = &sc->talk[sc->begun];
    unsigned from = (unsigned)(sim_random(w->sim) % PHONES);
    unsigned to = (from + 1 + (unsigned)(sim_random(w->sim) % (PHONES - 1))) % PHONES;
    *t = (struct talk){.sc = sc};
    t->echo = chance(w, 15);
    t->relayed = !t->echo && chance(w, 60);
    for (unsigned i = 0; i < 2; i++) {
        t->side[i] = (struct side){.talk = t, .phone = &w->phone[i ? to : from]};
        timer_init(&t->side[i].late, on_late, &t->side[i]);
    }
    enum err rc = useragent_call(
        w->phone[from].ua, t->echo ? SV("sip:*43@" WORLD_DOMAIN) : world_uri(to, uri),
        t->relayed ? world_sdp : own_sdp(&w->phone[from], mem), &t->side[0], &t->side[0].call);
    if (rc) {
        world_fail(w, "phone %u cannot call: %s", from, err_text(rc));
        return;
    }
    sv id = useragent_call_id(t->side[0].call);
    snprintf(t->call_id, sizeof(t->call_id), SV_FMT, SV_ARG(id));
    sc->begun++;
}

/* ---- the server leaves ---- */

static void on_left(void *arg)
{
    struct scenario *sc = arg;
    sc->left++;
    sc->left_at = sim_now(sc->w.sim);
}

static bool all_left(void *arg)
{
    struct scenario *sc = arg;
    return sc->left == sc->w.server.group->n;
}

/* Both are there. */
static bool stands(const struct talk *t)
{
    bool here = t->side[0].up && !t->side[0].ended;
    return here && (t->echo || (t->side[1].up && !t->side[1].ended));
}

static void leave(struct scenario *sc)
{
    struct world *w = &sc->w;
    sc->leaving = true;
    for (unsigned i = 0; i < sc->begun; i++) {
        struct talk *t = &sc->talk[i];
        sc->stood += stands(t) && t->relayed;
        sc->direct += stands(t) && !t->relayed && !t->echo;
        sc->echoes += stands(t) && t->echo;
        t->rang = !t->echo && !t->side[0].up;
        t->reached = t->side[1].call != NULL;
        sc->rang += t->rang;
        if (t->side[1].call && !t->answered && chance(w, 50)) {
            usec most = chance(w, 50) ? 100 * USEC_MS : 2 * USEC_S; /* while CANCEL is under way */
            loop_timer(t->side[1].phone->loop, &t->side[1].late, between(w, 0, most));
            sc->late++;
        }
    }
    for (unsigned i = 0; i < PHONES && sc->off; i++) {
        if (i % 5 == 1)
            phone_off(&w->phone[i], true);
    }
    usec began = sim_now(w->sim);
    for (unsigned i = 0; i < w->server.group->n; i++)
        routing_leave(w->server.routing[i], on_left, sc);
    if (!sim_run_when(w->sim, began + AT_LAST, all_left, sc))
        world_fail(w, "%u of %u workers do not end", w->server.group->n - sc->left,
                   w->server.group->n);
    usec took = sc->left_at - began;
    if (w->c.wire.loss_permille == 0 && !sc->off && took > AT_ONCE)
        world_fail(w, "it takes %lld ms", (long long)(took / USEC_MS));
}

/* A phone that was switched off knows nothing of its calls. */
static void check_side(struct scenario *sc, const struct talk *t, unsigned side)
{
    const struct side *s = &t->side[side];
    if (!s->phone->loop)
        return;
    if (s->call && !s->up)
        world_fail(&sc->w, "phone %u, %s, hears nothing more of its call", s->phone->index,
                   side ? "callee" : "caller");
    if (!s->up)
        return;
    /* who has answered a caller that was refused hears it, too */
    bool ends = t->relayed || t->echo || !t->side[0].up;
    if (ends ? !s->by_peer : s->ended)
        world_fail(&sc->w, "phone %u, %s of a %s call, %s BYE", s->phone->index,
                   side ? "callee" : "caller",
                   t->echo      ? "echo"
                   : t->relayed ? "relayed"
                                : "direct",
                   s->ended ? "heard" : "heard no");
}

/* It rang: both are up, or neither. */
static void check_ends(struct scenario *sc, const struct talk *t)
{
    bool up[2];
    for (unsigned i = 0; i < 2; i++) {
        if (!t->side[i].phone->loop)
            return;
        up[i] = t->side[i].up && !t->side[i].ended;
    }
    if (t->rang && up[0] != up[1])
        world_fail(&sc->w, "phone %u is in a call with nobody", t->side[up[1]].phone->index);
}

static void check_end(struct scenario *sc)
{
    struct world *w = &sc->w;
    unsigned least = sc->stood + sc->echoes, most = 0;
    for (unsigned i = 0; i < sc->begun; i++) {
        struct talk *t = &sc->talk[i];
        check_side(sc, t, 0);
        check_side(sc, t, 1);
        check_ends(sc, t);
        least += t->rang && t->reached && t->side[0].ended;
        most += t->echo || t->rang || (t->relayed && t->answered);
    }
    uint64_t stopped = accounts_stopped(w->server.directory);
    if (stopped < least || stopped > most)
        world_fail(w, "%llu records say that the server ended the call, %u to %u should",
                   (unsigned long long)stopped, least, most);
    size_t live = 0;
    for (unsigned i = 0; i < w->server.group->n; i++)
        live += sessions_live(anchor_sessions(routing_anchor(w->server.routing[i])));
    if (live > sc->begun - sc->stood - sc->direct - sc->echoes)
        world_fail(w, "%zu calls have media yet", live);
}

/* ---- the course ---- */

static void configure(struct settings *set)
{
    set->codes.echo = SV("*43");
    set->media.silence = 10 * USEC_MIN;
}

static bool run(const struct program *p, uint64_t seed, struct result *ret)
{
    struct scenario sc = {.off = seed % 3 == 0};
    struct world *w = &sc.w;
    size_t memory = mem_live();
    unsigned loss = seed % 4 == 1 ? 0 : 100;
    media_random_seed(seed);
    world_init(w, &(struct world_config){.seed = seed,
                                         .workers = 1 + (unsigned)(seed / 2 % 4),
                                         .wire = {.loss_permille = loss,
                                                  .dup_permille = loss / 2,
                                                  .delay_min = USEC_MS,
                                                  .delay_max = 40 * USEC_MS,
                                                  .reorder_permille = loss / 2,
                                                  .reorder_by = 300 * USEC_MS},
                                         .ringing = 10 * USEC_MIN,
                                         .configure = configure,
                                         .media = true,
                                         .program = p->name,
                                         .replay = p->replay,
                                         .trace = p->trace});
    program_tap(p, w->sim);
    sc.talk = calloc(p->calls, sizeof(*sc.talk));
    if (!sc.talk)
        abort();
    w->handler = &handler;
    w->accounts = PHONES;
    world_server_start(w);
    for (unsigned i = 0; i < PHONES; i++)
        world_phone(w, i, chance(w, 30) ? SIP_T_TCP : SIP_T_UDP)->test = &sc;
    if (!world_register_all(w, 60 * USEC_S))
        world_fail(w, "not all phones register");
    for (unsigned i = 0; i < p->calls && !w->failed; i++) {
        begin_call(&sc);
        world_run(w, between(w, 0, 200 * USEC_MS));
    }
    world_run(w, SETTLE);
    if (!w->failed)
        leave(&sc);
    world_run(w, AFTERWARDS);
    if (!w->failed)
        check_end(&sc);
    *ret = (struct result){.hash = sim_trace_hash(w->sim), .events = sim_trace_count(w->sim)};
    program_count(ret, "calls", sc.begun);
    program_count(ret, "relayed", sc.stood);
    program_count(ret, "direct", sc.direct);
    program_count(ret, "echoes", sc.echoes);
    program_count(ret, "rang", sc.rang);
    program_count(ret, "answered while it leaves", sc.late);
    sc.leaving = true;
    world_server_stop(w);
    world_done(w);
    free(sc.talk);
    if (mem_live() != memory)
        world_fail(w, "%zu allocations are left", mem_live() - memory);
    return !w->failed;
}

int main(int argc, char **argv)
{
    static const struct program_part parts[] = {
        {.what = "leaving: seeds of 60", .calls = 60, .seeds = 100, .sanitized_seeds = 8},
        {.what = "leaving: the same seed, twice",
         .calls = 10,
         .seeds = 4,
         .first = 100,
         .twice = true},
    };
    if (!media_random_start())
        return 3;
    return program_main(argc, argv, parts, sizeof(parts) / sizeof(parts[0]), run);
}
