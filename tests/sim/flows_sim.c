/* SPDX-License-Identifier: MIT */
/* flows_sim: phones that are reached by the connections they made (RFC 5626, RFC 7118), while those end.
 *
 * Phones on TCP and WebSocket, with one flow or two, several of one account, call each other, talk,
 * subscribe, and hang up; each part is one kind of misfortune that strikes in the middle: before the
 * 100, while it rings, between 200 and ACK, in the dialog. What must hold:
 *
 *   - an INVITE ends in one final response, in bounded time, of a status that somebody had reason to
 *     give; a response comes by its request's connection
 *   - who is registered and was not struck rings
 *   - a request in a dialog finds its phone and no other, as long as that phone was not struck since it
 *     last told its Contact; a BYE ends the call at both sides
 *   - a binding goes with its connection, unless the phone can be woken; an instance has one binding of
 *     a reg-id; in the end everybody is bound as he registered last
 *   - afterwards nothing is left: no transaction, context, call, home, connection, block, memory
 *   - the same seed gives the same trace
 */
#include <stdio.h>
#include <stdlib.h>
#include "support/flows_scenario.h"
#include "support/program.h"

static const usec ringing = 30 * USEC_S;
static const usec rings_within = 8 * USEC_S;
/* A segment that is lost comes again within a second. */
static const usec noticed_within = 3 * USEC_S;
/* Somebody who was struck so long ago has come back, and the server has found out about the rest. */
static const usec healed_within = 150 * USEC_S;

static bool chance(struct scenario *sc, unsigned permille)
{
    return sim_random(sc->w.sim) % 1000 < permille;
}

static usec between(struct scenario *sc, usec from, usec to)
{
    return from + (usec)(sim_random(sc->w.sim) % (uint64_t)(to - from + 1));
}

static struct scenario *of(const struct handset *h)
{
    return h->test;
}

/* ---- misfortune ---- */

static struct event *plan(struct scenario *sc, enum kind kind, unsigned phone, usec in)
{
    if (sc->events == EVENTS_MAX)
        abort();
    struct event *e = &sc->event[sc->events++];
    *e = (struct event){.at = sim_now(sc->w.sim) + in, .kind = kind, .phone = phone};
    sc->changed = true;
    return e;
}

static enum kind misfortune(struct scenario *sc)
{
    static const enum kind all[] = {CUT, CUT, CUT, CRASH, CRASH, PART, STALL, STALL, KILL};
    static const enum kind own[] = {[PART_CUTS] = CUT,
                                    [PART_CRASHES] = CRASH,
                                    [PART_KILLED] = KILL,
                                    [PART_SLOW] = STALL,
                                    [PART_ALTERNATIVE] = CUT};
    if (sc->part == PART_HALF_OPEN)
        return chance(sc, 600) ? PART : CRASH;
    if (sc->part == PART_ALL || sc->part == PART_TWICE)
        return all[sim_random(sc->w.sim) % (sizeof(all) / sizeof(all[0]))];
    return own[sc->part];
}

/* A moment at which things break, now or in a while: on this very connection, or at another phone. */
static void moment(struct handset *h, unsigned line)
{
    struct scenario *sc = of(h);
    if (sc->calm || !chance(sc, sc->chance))
        return;
    unsigned phone = chance(sc, 800) ? h->index : (unsigned)(sim_random(sc->w.sim) % sc->phones);
    struct event *e =
        plan(sc, misfortune(sc), phone, chance(sc, 400) ? 0 : between(sc, 0, 120 * USEC_MS));
    e->line = phone == h->index ? line : 0;
    e->power = sc->part == PART_HALF_OPEN || chance(sc, 300);
    e->lasts = between(sc, 200 * USEC_MS, e->kind == KILL ? 8 * USEC_S : 30 * USEC_S);
    if (e->kind == CRASH && sc->part == PART_HALF_OPEN)
        e->lasts = between(sc, 0, 2 * USEC_S);
}

static struct attempt *attempt_of(struct scenario *sc, sv call_id)
{
    for (unsigned i = 0; i < sc->calls; i++) {
        if (sv_eq(sv_of(sc->call[i].call_id), call_id))
            return &sc->call[i];
    }
    return NULL;
}

static void strike(struct scenario *sc, unsigned phone)
{
    sc->phone[phone].mishaps++;
    sc->struck[phone] = sim_now(sc->w.sim);
}

static bool healthy(struct scenario *sc, unsigned phone)
{
    const struct handset *h = &sc->phone[phone];
    if (!h->loop || sc->trouble[phone])
        return false;
    for (unsigned i = 0; i < h->lines; i++) {
        if (h->line[i].slow)
            return false;
    }
    return true;
}

static struct handset_bindings look(struct scenario *sc)
{
    struct handset_bindings k;
    handset_look(&sc->w, sc->phones, &k);
    return k;
}

/* ---- checks in the course ---- */

/* Who was registered when the call began, and was not struck since, has rung. */
static void check_rings(struct scenario *sc, struct attempt *a)
{
    if (!a->sound || a->cancelled || sim_now(sc->w.sim) - a->began >= ringing ||
        a->restarts != sc->restarts || !sc->w.server.group ||
        a->mishaps[a->caller] != sc->phone[a->caller].mishaps)
        return;
    for (unsigned i = 0; i < sc->phones; i++) {
        if (a->expected[i] && a->mishaps[i] == sc->phone[i].mishaps && healthy(sc, i) &&
            !a->rung[i])
            world_fail(&sc->w, "call %s: phone %u is registered and does not ring", a->call_id, i);
    }
}

static void check_gone(struct scenario *sc, const struct event *e)
{
    if (!sc->w.server.group || e->restarts != sc->restarts || sc->trouble[e->phone])
        return;
    struct handset_bindings k = look(sc);
    if (k.n[e->phone][e->line] && k.birth[e->phone][e->line] == e->birth &&
        !k.dead[e->phone][e->line])
        world_fail(&sc->w, "phone %u, connection %u.%u ended, and is still bound", e->phone,
                   e->line, e->birth);
    if (k.n[e->phone][e->line] && k.birth[e->phone][e->line] == e->birth &&
        !sc->phone[e->phone].push)
        world_fail(&sc->w, "phone %u, connection %u.%u: bound, though nobody can wake it", e->phone,
                   e->line, e->birth);
}

static void check_torn(struct scenario *sc, const struct event *e)
{
    struct talk *peer = handset_peer(sc->phone, sc->phones, &e->ended);
    if (peer && peer->state == TALK_UP && e->restarts == sc->restarts &&
        sc->phone[e->phone].mishaps == e->own_mishaps &&
        sc->phone[e->other].mishaps == e->other_mishaps && healthy(sc, e->phone) &&
        healthy(sc, e->other))
        world_fail(&sc->w, "call %s: phone %u hung up, phone %u has not heard of it",
                   e->ended.call_id, e->phone, e->other);
}

/* RFC 5626 §7: a phone whose flow dies before it has said anything rings by its other one. */
static void expect_again(struct scenario *sc, struct handset *h, const struct line *l)
{
    for (unsigned i = 0; i < sc->calls; i++) {
        struct attempt *a = &sc->call[i];
        if (!a->expected[h->index] || a->decided || a->said[h->index] ||
            a->mishaps[h->index] + 1 != h->mishaps || !h->line[!l->index].bound ||
            h->line[!l->index].bound_at > a->began)
            continue;
        a->rung[h->index] = false;
        a->mishaps
            [h->index]++; /* the cut, and the end of the connection, which is about to count */
        a->mishaps[h->index]++;
        plan(sc, RINGS, h->index, rings_within)->call = i;
        sc->again++;
    }
}

/* ---- what happens between turns ---- */

static void kill_server(struct scenario *sc, const struct event *e)
{
    struct world *w = &sc->w;
    if (!w->server.group)
        return;
    world_server_kill(w, false);
    sc->restarts++;
    sc->kills++;
    for (unsigned i = 0; i < sc->phones; i++)
        strike(sc, i);
    plan(sc, START, 0, e->lasts);
}

static void happen(struct scenario *sc, const struct event *e)
{
    struct world *w = &sc->w;
    struct handset *h = &sc->phone[e->phone];
    struct line *l = &h->line[e->line];
    switch (e->kind) {
    case CUT:
        if (!h->loop || l->state != LINE_UP)
            return;
        handset_cut(l);
        strike(sc, e->phone);
        sc->cuts++;
        if (!w->server.group)
            return;
        struct event *g = plan(sc, GONE, e->phone, noticed_within);
        g->line = e->line;
        g->birth = l->births;
        g->restarts = sc->restarts;
        if (h->lines > 1)
            expect_again(sc, h, l);
        return;
    case CRASH:
        if (!h->loop)
            return;
        handset_off(h, e->power);
        strike(sc, e->phone);
        sc->crashes++;
        plan(sc, ON, e->phone, e->lasts);
        return;
    case ON:
        handset_on(h);
        strike(sc, e->phone);
        timer_init(&sc->act[e->phone], sc->act[e->phone].fn, h);
        return;
    case PART:
        if (sc->trouble[e->phone])
            return;
        sc->trouble[e->phone] = 1;
        sim_partition(w->sim, w->server.host, h->host, true);
        strike(sc, e->phone);
        sc->parts++;
        plan(sc, JOIN, e->phone, e->lasts)->lasts = e->lasts;
        return;
    case JOIN:
        sim_partition(w->sim, w->server.host, h->host, false);
        strike(sc, e->phone);
        /* TCP tries again after twice the time each time: as late as this. */
        plan(sc, HEALED, e->phone, e->lasts + 2 * USEC_S);
        return;
    case HEALED:
        sc->trouble[e->phone] = 0;
        strike(sc, e->phone);
        return;
    case KILL:
        kill_server(sc, e);
        return;
    case START:
        world_server_start(w);
        return;
    case STALL:
        handset_stall(l, e->lasts);
        strike(sc, e->phone);
        sc->stalls++;
        return;
    case RINGS:
        if (!sc->call[e->call].decided)
            check_rings(sc, &sc->call[e->call]);
        return;
    case GONE:
        check_gone(sc, e);
        return;
    case TORN:
        check_torn(sc, e);
        return;
    }
}

static bool has_changed(void *arg)
{
    return ((struct scenario *)arg)->changed;
}

static void run_for(struct scenario *sc, usec duration)
{
    struct world *w = &sc->w;
    usec until = sim_now(w->sim) + duration;
    while (!w->failed) {
        usec next = until;
        unsigned at = sc->events;
        for (unsigned i = 0; i < sc->events; i++) {
            if (sc->event[i].at < next || (sc->event[i].at == next && at == sc->events)) {
                next = sc->event[i].at;
                at = i;
            }
        }
        sc->changed = false;
        if (next > sim_now(w->sim) && sim_run_when(w->sim, next, has_changed, sc))
            continue;
        if (at == sc->events)
            return;
        struct event e = sc->event[at];
        sc->event[at] = sc->event[--sc->events];
        happen(sc, &e);
    }
}

/* ---- what phones do ---- */

static struct side *side_of(struct talk *t)
{
    if (!t->test && !(t->test = calloc(1, sizeof(struct side))))
        abort();
    return t->test;
}

static void wait_for(struct talk *t, usec least, usec most)
{
    loop_timer(t->handset->loop, &t->plan, between(of(t->handset), least, most));
}

static void on_invite(struct talk *t)
{
    struct handset *h = t->handset;
    struct scenario *sc = of(h);
    struct attempt *a = attempt_of(sc, sv_of(t->call_id));
    struct side *s = side_of(t);
    unsigned what = (unsigned)(sim_random(sc->w.sim) % 100);
    if (!a || h->account != a->to) {
        world_fail(&sc->w, "phone %u rings for a call that nobody made to it", h->index);
        return;
    }
    a->rung[h->index] = true;
    s->plan = what < 65 ? ANSWER : what < 85 ? REFUSE : RING;
    if (h->lines > 1 && chance(sc, 300)) { /* §17.2.1: not before 200 ms */
        s->silent = true;
        wait_for(t, 0, 200 * USEC_MS);
        moment(h, t->invite_line);
        return;
    }
    a->said[h->index] = true;
    handset_respond(t, chance(sc, 900) ? 180 : 100);
    if (s->plan != RING)
        wait_for(t, 0, chance(sc, 300) ? 100 * USEC_MS : 6 * USEC_S);
    moment(h, t->invite_line);
}

static void on_progress(struct talk *t, uint16_t status)
{
    (void)status;
    moment(t->handset, t->line);
}

static bool struck_lately(struct scenario *sc, const struct attempt *a)
{
    for (unsigned i = 0; i < sc->phones; i++) {
        if (sc->phone[i].account == a->to &&
            (!healthy(sc, i) || sc->struck[i] > a->began - healed_within))
            return true;
    }
    return false;
}

static void check_status(struct scenario *sc, const struct attempt *a)
{
    bool fine = false;
    switch (a->status) {
    case 200:
    case 486:
    case 603:
        fine = true;
        break;
    case 487: /* cancelled, or Timer C */
    case 408:
        fine = a->cancelled || struck_lately(sc, a) || a->decided - a->began > ringing;
        break;
    case 430: /* RFC 5626 §5.3.1 */
    case 480:
    case 482: /* by its other flow it rings already */
        fine = struck_lately(sc, a);
        break;
    }
    if (!fine)
        world_fail(&sc->w, "call %s ended with %u, for which there is no reason", a->call_id,
                   a->status);
}

static void on_final(struct talk *t, uint16_t status)
{
    struct scenario *sc = of(t->handset);
    struct attempt *a = attempt_of(sc, sv_of(t->call_id));
    if (!a)
        return;
    a->decided = sim_now(sc->w.sim);
    a->status = status;
    if (status == 0) {
        sc->lost++;
        if (t->handset->mishaps == a->mishaps[a->caller])
            world_fail(&sc->w, "call %s got no answer, and its caller was not struck", a->call_id);
        return;
    }
    sc->answered += status == 200;
    sc->refused += status != 200;
    if (a->mishaps[a->caller] == t->handset->mishaps)
        check_status(sc, a);
    if (status != 200 && status < 600 && !a->cancelled)
        check_rings(sc, a);
    moment(t->handset, t->line);
}

static void on_up(struct talk *t)
{
    struct side *s = side_of(t);
    struct scenario *sc = of(t->handset);
    struct attempt *a = attempt_of(sc, sv_of(t->call_id));
    s->plan = TALK;
    s->restarts = sc->restarts;
    if (a && t->outgoing && a->cancelled) {
        handset_hangup(t);
        return;
    }
    wait_for(t, 0, 5 * USEC_S);
    moment(t->handset, t->line);
}

static void hang_up(struct talk *t)
{
    struct scenario *sc = of(t->handset);
    struct talk *peer = handset_peer(sc->phone, sc->phones, t);
    if (peer && peer->state == TALK_UP && peer->fresh == peer->handset->mishaps &&
        t->state == TALK_UP && t->handset->line[t->line].state == LINE_UP &&
        side_of(t)->restarts == sc->restarts && peer->acked) {
        struct event *e = plan(sc, TORN, t->handset->index, rings_within);
        e->other = peer->handset->index;
        e->own_mishaps = t->handset->mishaps;
        e->other_mishaps = peer->handset->mishaps;
        e->restarts = sc->restarts;
        e->ended = *t;
    }
    handset_hangup(t);
}

/* RFC 5626 §5.2: a token that was given to somebody else, for another dialog, leads nowhere. */
static bool steal(struct talk *t, const struct talk *peer)
{
    struct scenario *sc = of(t->handset);
    unsigned i = (unsigned)(sim_random(sc->w.sim) % sc->phones);
    LIST_EACH (k, &sc->phone[i].talks, struct talk, by_handset) {
        struct talk *whose = handset_peer(sc->phone, sc->phones, k);
        bool fit = whose && whose->handset != t->handset && peer &&
                   whose->handset != peer->handset && k->state == TALK_UP &&
                   strcmp(k->call_id, t->call_id) != 0 && !side_of(k)->thief;
        if (fit && handset_steal(t, k)) {
            sc->thefts++;
            return side_of(t)->thief = true;
        }
    }
    return false;
}

static void in_dialog(struct talk *t)
{
    static const enum sip_method of_calls[] = {SIP_INFO, SIP_MESSAGE, SIP_INVITE, SIP_INVITE};
    struct scenario *sc = of(t->handset);
    struct side *s = side_of(t);
    struct talk *peer = handset_peer(sc->phone, sc->phones, t);
    enum sip_method m = t->subscription ? t->outgoing ? SIP_SUBSCRIBE : SIP_NOTIFY
                                        : of_calls[sim_random(sc->w.sim) % 4];
    s->own = t->handset->mishaps;
    s->others = peer ? peer->handset->mishaps : 0;
    if (t->subscription && chance(sc, 200) && steal(t, peer))
        return;
    if (handset_request(t, m))
        moment(t->handset, t->line);
}

static void on_plan(struct talk *t)
{
    struct scenario *sc = of(t->handset);
    struct side *s = side_of(t);
    struct attempt *a = attempt_of(sc, sv_of(t->call_id));
    if (s->silent) {
        s->silent = false;
        a->said[t->handset->index] = true;
        /* Said in the turn that the cut comes in, before it: nobody is expected to ring again. */
        a->rung[t->handset->index] = true;
        handset_respond(t, 180);
        if (s->plan != RING)
            wait_for(t, 0, 6 * USEC_S);
        return;
    }
    switch (s->plan) {
    case ANSWER:
        s->restarts = sc->restarts;
        handset_respond(t, 200);
        return; /* t may be gone */
    case REFUSE:
        handset_respond(t, chance(sc, 500) ? 486 : 603);
        return;
    case RING: /* the caller has waited long enough */
        if (t->outgoing) {
            a->cancelled = true;
            handset_hangup(t);
        }
        return;
    case TALK:
        if (t->state != TALK_UP)
            return;
        if (sc->calm || chance(sc, 250)) {
            hang_up(t);
            return;
        }
        in_dialog(t);
        wait_for(t, 0, 12 * USEC_S);
        return;
    }
}

static void on_answer(struct talk *t, enum sip_method method, uint16_t status)
{
    struct scenario *sc = of(t->handset);
    struct side *s = side_of(t);
    struct talk *peer = handset_peer(sc->phone, sc->phones, t);
    if (s->thief && status == 200)
        world_fail(&sc->w, "phone %u reaches another by a stolen flow token", t->handset->index);
    /* RFC 5626 §5.3.1: 430 when the flow is gone; nobody has reason to say that we are at fault. */
    if (status >= 500 && t->fresh == t->handset->mishaps && s->restarts == sc->restarts)
        world_fail(&sc->w, "call %s: " SV_FMT " of phone %u is answered %u", t->call_id,
                   SV_ARG(sip_method_name(method)), t->handset->index, status);
    *(status == 200 ? &sc->dialog_ok : &sc->dialog_lost) += 1;
    if (status == 200 || s->thief || (status == 491 && method == SIP_INVITE))
        return;
    if (s->restarts != sc->restarts || s->own != t->handset->mishaps || !peer ||
        peer->state != TALK_UP || t->fresh != t->handset->mishaps ||
        s->others != peer->handset->mishaps || peer->fresh != peer->handset->mishaps ||
        !healthy(sc, peer->handset->index) || !healthy(sc, t->handset->index))
        return;
    world_fail(&sc->w, "call %s: " SV_FMT " of phone %u to phone %u: %u", t->call_id,
               SV_ARG(sip_method_name(method)), t->handset->index, peer->handset->index, status);
}

static void on_end(struct talk *t)
{
    struct attempt *a = attempt_of(of(t->handset), sv_of(t->call_id));
    if (a && t->unsaid)
        a->unsaid = true;
    if (a && a->talk == t) {
        a->talk = NULL;
        if (!a->decided)
            a->decided = sim_now(of(t->handset)->w.sim);
    }
    free(t->test);
    t->test = NULL;
}

/* RFC 5626 §7: one phone, one flow at a time, as long as the first one says something. */
static void on_merged(struct line *l, sv call_id)
{
    struct scenario *sc = of(l->handset);
    struct attempt *a = attempt_of(sc, call_id);
    if (a && a->expected[l->handset->index] && sc->restarts == a->restarts &&
        a->mishaps[l->handset->index] == l->handset->mishaps)
        world_fail(&sc->w, "call %s: phone %u is rung by both of its flows", a->call_id,
                   l->handset->index);
}

static const struct handset_handler handler = {
    .on_invite = on_invite,
    .on_progress = on_progress,
    .on_final = on_final,
    .on_up = on_up,
    .on_answer = on_answer,
    .on_plan = on_plan,
    .on_end = on_end,
    .on_merged = on_merged,
};

/* ---- the course ---- */

static void call(struct scenario *sc, struct handset *h, unsigned to)
{
    struct attempt *a = &sc->call[sc->calls];
    struct talk *t = handset_call(h, to, false);
    if (!t)
        return;
    *a = (struct attempt){.sc = sc,
                          .talk = t,
                          .caller = h->index,
                          .to = to,
                          .began = sim_now(sc->w.sim),
                          .sound = healthy(sc, h->index),
                          .restarts = sc->restarts};
    memcpy(a->call_id, t->call_id, ID_MAX);
    for (unsigned i = 0; i < sc->phones; i++) {
        a->mishaps[i] = sc->phone[i].mishaps;
        a->expected[i] =
            sc->phone[i].account == to && healthy(sc, i) && handset_bound(&sc->phone[i]) > 0;
    }
    plan(sc, RINGS, h->index, rings_within)->call = sc->calls++;
    side_of(t)->plan = RING;
    if (chance(sc, 250))
        wait_for(t, 0, 8 * USEC_S);
    moment(h, t->line);
}

static void on_act(struct timer *timer, void *arg)
{
    struct handset *h = arg;
    struct scenario *sc = of(h);
    unsigned to = (unsigned)(sim_random(sc->w.sim) % (sc->w.accounts - 1));
    (void)timer;
    to += to >= h->account;
    if (sc->part != PART_ALTERNATIVE && chance(sc, 200)) {
        struct talk *t = handset_call(h, to, true);
        if (!t)
            return;
        struct side *s = side_of(t);
        s->plan = TALK;
        s->restarts = sc->restarts;
        sc->subscriptions++;
        wait_for(t, USEC_S, 20 * USEC_S);
    } else if (sc->calls < sc->want) {
        call(sc, h, to);
    }
}

static void populate(struct scenario *sc)
{
    struct world *w = &sc->w;
    w->accounts = 2 + (unsigned)(sim_random(w->sim) % 2);
    world_server_start(w);
    for (unsigned i = 0; i < w->accounts; i++) {
        unsigned n = 1 + (unsigned)(sim_random(w->sim) % 3);
        for (; n > 0; n--) {
            struct handset *h = &sc->phone[sc->phones];
            h->transport = chance(sc, 500) ? SIP_T_WS : SIP_T_TCP;
            h->numeric = h->transport == SIP_T_TCP && chance(sc, 500);
            h->push = chance(sc, 250);
            h->lines = sc->part == PART_ALTERNATIVE || chance(sc, 400) ? 2 : 1;
            h->handler = &handler;
            h->test = sc;
            timer_init(&sc->act[sc->phones], on_act, h);
            handset_init(h, w, sc->phones, i);
            sc->phones++;
        }
    }
}

static bool all_bound(void *arg)
{
    struct scenario *sc = arg;
    for (unsigned i = 0; i < sc->phones; i++) {
        if (handset_bound(&sc->phone[i]) < sc->phone[i].lines)
            return false;
    }
    return true;
}

/* A call whose sides could not say BYE stands on at the server; one for each at most, with its home. */
static size_t ghosts(struct scenario *sc)
{
    size_t standing = 0, unsaid = 0;
    for (unsigned i = 0; i < sc->w.server.group->n; i++)
        standing += accounting_count(routing_accounting(sc->w.server.routing[i]));
    for (unsigned i = 0; i < sc->calls; i++)
        unsaid += sc->call[i].unsaid;
    return standing <= unsaid ? 2 * standing : 0;
}

static size_t under_way(struct scenario *sc)
{
    size_t n = world_server_load(&sc->w, NULL) - ghosts(sc);
    for (unsigned i = 0; i < sc->phones; i++)
        n += handset_remains(&sc->phone[i]);
    return n;
}

static void settle(struct scenario *sc)
{
    struct world *w = &sc->w;
    char mem[512];
    struct buf b;
    for (unsigned s = 0; s < 300 && under_way(sc) > 0 && !w->failed; s++) {
        run_for(sc, USEC_S);
        /* Who was cut off from the end of his call ends it himself. */
        for (unsigned i = 0; s > 20 && i < sc->phones; i++) {
            LIST_EACH (t, &sc->phone[i].talks, struct talk, by_handset) {
                if (t->state == TALK_UP || t->state == TALK_BEGUN) {
                    side_of(t)->plan = t->state == TALK_UP ? TALK : t->outgoing ? RING : REFUSE;
                    if (!timer_armed(&t->plan))
                        loop_timer(sc->phone[i].loop, &t->plan, 0);
                }
            }
        }
    }
    if (under_way(sc) == 0 || w->failed)
        return;
    buf_init(&b, mem, sizeof(mem));
    world_server_load(w, &b);
    for (unsigned i = 0; i < sc->phones; i++) {
        if (handset_remains(&sc->phone[i]))
            buf_printf(&b, "; phone %u: %zu", i, handset_remains(&sc->phone[i]));
    }
    world_fail(w, "left over: " SV_FMT, SV_ARG(buf_sv(&b)));
}

/* What the server holds: connections, and blocks. */
static size_t held(struct scenario *sc, size_t *ret_blocks)
{
    size_t n = 0;
    *ret_blocks = 0;
    for (unsigned i = 0; i < sc->w.server.group->n; i++) {
        n += sip_connections(routing_sip(sc->w.server.routing[i]));
        *ret_blocks += block_pool_live(sc->w.server.group->loop[i]->blocks);
    }
    return n;
}

static void check_line(struct scenario *sc, const struct handset_bindings *k, const struct line *l)
{
    unsigned i = l->handset->index, j = l->index;
    if (!k->n[i][j] || k->dead[i][j] || k->birth[i][j] != l->births)
        world_fail(&sc->w, "phone %u registered by connection %u.%u: %s (.%u)", i, j, l->births,
                   !k->n[i][j]     ? "not bound"
                   : k->dead[i][j] ? "asleep"
                                   : "bound by another",
                   k->birth[i][j]);
}

/* Who registered and was not struck since is bound, at any time. */
static void check_bound(struct scenario *sc)
{
    if (!sc->w.server.group)
        return;
    struct handset_bindings k = look(sc);
    for (unsigned i = 0; i < sc->phones; i++) {
        for (unsigned j = 0; healthy(sc, i) && j < sc->phone[i].lines; j++) {
            const struct line *l = &sc->phone[i].line[j];
            if (l->bound && sc->struck[i] < l->bound_at)
                check_line(sc, &k, l);
        }
    }
}

static void check_end(struct scenario *sc)
{
    struct handset_bindings k = look(sc);
    size_t lines = 0, blocks;
    for (unsigned i = 0; i < sc->phones; i++) {
        for (unsigned j = 0; j < sc->phone[i].lines; j++, lines++)
            check_line(sc, &k, &sc->phone[i].line[j]);
    }
    /* Of a connection whose peer came back by another the server finds out in time. */
    for (usec since = 0; held(sc, &blocks) != lines && since < healed_within; since += USEC_S)
        run_for(sc, USEC_S);
    if (held(sc, &blocks) != lines)
        world_fail(&sc->w, "%zu connections, %zu flows", held(sc, &blocks), lines);
}

/* With the last connection the last binding is gone, or asleep. */
static void all_off(struct scenario *sc)
{
    size_t blocks;
    for (unsigned i = 0; i < sc->phones; i++)
        handset_off(&sc->phone[i], false);
    run_for(sc, 10 * USEC_S);
    struct handset_bindings k = look(sc);
    for (unsigned i = 0; i < sc->phones; i++) {
        for (unsigned j = 0; j < sc->phone[i].lines; j++) {
            if (k.n[i][j] && (!k.dead[i][j] || !sc->phone[i].push))
                world_fail(&sc->w, "phone %u is off, and bound by reg-id %u", i, j + 1);
        }
    }
    if (held(sc, &blocks))
        world_fail(&sc->w, "%zu connections of phones that are off", held(sc, &blocks));
}

static void course(struct scenario *sc)
{
    struct world *w = &sc->w;
    populate(sc);
    size_t before, after;
    held(sc, &before);
    sc->calm = true;
    if (!sim_run_when(w->sim, 100 * USEC_S, all_bound, sc))
        world_fail(w, "not all phones are registered after 100 s");
    sc->calm = false;
    while (sc->calls < sc->want && !w->failed && sim_now(w->sim) < USEC_HOUR) {
        unsigned i = (unsigned)(sim_random(w->sim) % sc->phones);
        if (sc->phone[i].loop)
            loop_timer(sc->phone[i].loop, &sc->act[i], 0);
        run_for(sc, between(sc, 0, 8 * USEC_S));
        check_bound(sc);
    }
    sc->calm = true;
    run_for(sc, 40 * USEC_S); /* the last misfortunes end */
    for (unsigned s = 0; s < 200 && !all_bound(sc) && !w->failed; s++)
        run_for(sc, USEC_S);
    if (!all_bound(sc))
        world_fail(w, "not all phones came back");
    if (!w->failed)
        settle(sc);
    if (!w->failed)
        check_end(sc);
    if (!w->failed)
        all_off(sc);
    if (!w->failed)
        settle(sc);
    held(sc, &after);
    if (!w->failed && after != before)
        world_fail(w, "%zu blocks are still out, %zu were before", after, before);
}

static bool run(const struct program *p, uint64_t seed, struct result *ret)
{
    struct scenario *sc = calloc(1, sizeof(*sc));
    size_t memory = mem_live();
    if (!sc)
        abort();
    struct world *w = &sc->w;
    world_init(w,
               &(struct world_config){
                   .seed = seed,
                   .workers = 1 + (unsigned)(seed % 3),
                   .wire = {.loss_permille = 20, .delay_min = USEC_MS, .delay_max = 40 * USEC_MS},
                   .ringing = ringing,
                   .configure = flows_configure,
                   .program = p->name,
                   .replay = p->replay,
                   .trace = p->trace,
               });
    program_tap(p, w->sim);
    sc->part = (enum part)p->part;
    sc->want = p->calls < CALLS_MAX ? p->calls : CALLS_MAX;
    sc->chance = sc->part == PART_KILLED ? 25 : 60;
    course(sc);
    *ret = (struct result){.hash = sim_trace_hash(w->sim), .events = sim_trace_count(w->sim)};
    program_count(ret, "calls", sc->calls);
    program_count(ret, "answered", sc->answered);
    program_count(ret, "refused", sc->refused);
    program_count(ret, "rung again", sc->again);
    program_count(ret, "in dialogs", sc->dialog_ok);
    program_count(ret, "not answered there", sc->dialog_lost);
    program_count(ret, "tokens stolen", sc->thefts);
    program_count(ret, "cuts", sc->cuts);
    program_count(ret, "crashes", sc->crashes);
    program_count(ret, "partitions", sc->parts);
    program_count(ret, "kills", sc->kills);
    program_count(ret, "stalls", sc->stalls);
    for (unsigned i = 0; i < sc->phones; i++)
        handset_off(&sc->phone[i], false);
    world_done(w);
    if (mem_live() != memory)
        world_fail(w, "%zu allocations are left after everything was freed", mem_live() - memory);
    bool ok = !w->failed;
    free(sc);
    return ok;
}

int main(int argc, char **argv)
{
#define FLOWS_PART(text)                                                  \
    {                                                                     \
        .what = (text), .calls = 20, .seeds = 200, .sanitized_seeds = 12, \
    }
    static const struct program_part parts[] = {
        [PART_CUTS] = FLOWS_PART("flows: connections are cut"),
        [PART_CRASHES] = FLOWS_PART("flows: phones die and come back"),
        [PART_HALF_OPEN] = FLOWS_PART("flows: half-open connections"),
        [PART_KILLED] = FLOWS_PART("flows: the server is killed"),
        [PART_SLOW] = FLOWS_PART("flows: slow readers"),
        [PART_ALL] = FLOWS_PART("flows: all of it"),
        [PART_TWICE] = {.what = "flows: the same seed, twice",
                        .calls = 10,
                        .seeds = 4,
                        .first = 100,
                        .twice = true},
        [PART_ALTERNATIVE] = FLOWS_PART("flows: one phone, one of its flows"),
    };
    return program_main(argc, argv, parts, sizeof(parts) / sizeof(parts[0]), run);
}
