/* SPDX-License-Identifier: MIT */
/* media_sim: calls whose media passes through a whole server, over a bad network.
 *
 * A proxy with its anchor, sessions and ports; phones of seven kinds (plain RTP, behind a NAT, SDES that must be and that
 * may be, DTLS-SRTP, ICE, and both as browsers have them) that call each other, with forks and early media; each
 * call is put on hold, resumed, moved to another port, given other keys, and ended, or its side vanishes. Up to a fifth of all
 * datagrams is lost, others come twice or late. Somebody in no call sends packets, checks and ClientHellos to
 * all ports. Each packet says whose it is. What must hold:
 *
 *   - a phone hears the other phone of its call and nobody else; the one in no call hears no media
 *   - the server sends nothing to an address that no description named and nobody spoke from
 *   - no two sides are told one key, and no key stream is used for two packets
 *   - once the net is good again both sides of each call hear each other, unless one of them does not want to
 *   - what is reported of a lossy network is what it did
 *   - afterwards nothing is left: no session, port, dialog, transaction, block, memory
 *   - the same seed gives the same trace; OpenSSL's chance is the seed's, too */
#include <stdio.h>
#include <stdlib.h>
#include "support/media.h"

enum { MEASURED = 2 }; /* the part that compares what is reported */
enum { MEMORY_MAX = 256 * 1024 * 1024, HEARD_LEAST = 8, BEARABLE = 80 /* of 1000 */ };
#define BAD    (30 * USEC_S) /* how long the net is */
#define BEGIN  (20 * USEC_S) /* how long calls begin */
#define SETTLE (40 * USEC_S) /* what was begun while it was bad has come to its end */
#define JUDGE  (3 * USEC_S)

/* ---- the server ---- */

/* A request on its way; in its arena. */
struct inside {
    struct media_world *world;
    struct rx *rx;
};

/* Whatever it is: nobody refuses a BYE here. */
static void on_outcome(void *arg, uint16_t status, enum err why)
{
    struct media_world *w = ((struct inside *)arg)->world;
    struct rx *rx = ((struct inside *)arg)->rx;
    (void)status, (void)why;
    if (rx->msg.method == SIP_BYE)
        anchor_hung_up(w->anchor, rx, false);
}
static const struct proxy_watch watch = {.on_outcome = on_outcome};

static void forward(struct media_world *w, struct rx *rx, const struct proxy_route *route,
                    const struct proxy_target *targets, unsigned n, bool in_dialog)
{
    struct proxy_request q = {.route = route,
                              .targets = targets,
                              .n = n,
                              .record_route = !in_dialog,
                              .in_dialog = in_dialog,
                              .step_time = 20 * USEC_S};
    if (stxn_new(w->sip, rx, NULL, NULL, &q.server))
        return;
    struct inside *in = ARENA_NEW(&rx->arena, struct inside);
    if (in) {
        *in = (struct inside){w, rx};
        q.watch = &watch;
        q.watch_arg = in;
    }
    struct anchor_passage *p = NULL;
    if (anchor_passage(w->anchor, rx, w->set, SV_NONE, in_dialog, &p)) {
        stxn_drop(q.server);
        return;
    }
    q.bodies_arg = p;
    q.bodies = p ? &anchor_bodies : NULL;
    proxy_forward(w->proxy, &q);
}

static void begin_call(struct media_world *w, struct rx *rx, const struct proxy_route *route)
{
    struct proxy_target target[MEDIA_PHONES];
    sv id = sipmsg_value(&rx->msg, SIP_H_CALL_ID);
    unsigned n = 0, callees = 0;
    for (unsigned i = 0; i < w->calls; i++)
        callees = sv_eq(w->call[i]->id, id) ? w->call[i]->callees : callees;
    for (unsigned i = 0; i < MEDIA_PHONES; i++) {
        char mem[64];
        struct buf b;
        if (!(callees >> i & 1))
            continue;
        buf_init(&b, mem, sizeof(mem));
        buf_printf(&b, "sip:u%u@%s.1.%u:5060", i,
                   w->phone[i].kind == MEDIA_NAT ? "192.168" : "10.0", i + 1);
        target[n] = (struct proxy_target){.uri = media_keep(w, buf_sv(&b))};
        target[n].dest.addr = w->phone[i].ip;
        target[n].dest.addr.port = 5060;
        target[n++].dest.transport = SIP_T_UDP;
    }
    forward(w, rx, route, target, n, false);
}

static void on_request(void *arg, struct rx *rx)
{
    struct media_world *w = arg;
    struct proxy_route route;
    const struct sip_addr *to;
    struct proxy_target along = {.uri = SV_NONE};
    struct proxy_body_new as = {.raise = 0};
    if (rx->rc || rx->msg.method == SIP_CANCEL || !proxy_validate(w->proxy, rx) ||
        proxy_route(w->proxy, rx, &route) || sipmsg_to(&rx->msg, &to))
        return;
    if (!route.mark_ok || !to->tag.n) {
        if (rx->msg.method == SIP_INVITE)
            begin_call(w, rx, &route);
        return;
    }
    if (rx->msg.method != SIP_ACK) {
        forward(w, rx, &route, &along, 1, true);
        return;
    }
    anchor_ack(w->anchor, rx, &as);
    proxy_relay(w->proxy, rx, &route, &along, &as);
}
static const struct sip_user server_user = {.on_request = on_request};

static void server_start(struct media_world *w)
{
    media_need(addr_parse_ip(SV("10.0.0.1"), 0, &w->server));
    media_need(sim_host_new(w->sim, "server", &w->server, 1, &w->host));
    media_need(sim_process(w->host, 1, &w->group));
    w->server.port = 5060;
    media_tap_start(w);
    media_need(settings_default(SV("example.test"), &w->set));
    struct sip_config *c = &w->set->sip;
    c->listen[c->listeners++] = (struct sip_listen){.transport = SIP_T_UDP, .bind = w->server};
    c->connections = 256;
    c->transactions = 8192;
    w->set->ringing = 20 * USEC_S;
    w->set->media.mode = w->seed % 4 || w->program->part == MEASURED ? MEDIA_ALWAYS : MEDIA_AUTO;
    media_need(sip_shared_new(media_secret, w->group, c, &w->shared));
    media_need(sip_new(w->group->loop[0], w->shared, &server_user, w, &w->sip));
    media_need(txn_start(w->sip));
    media_need(locate_shared_new(media_secret, 100, &w->names));
    media_need(locate_new(w->sip, w->names, &w->locate));
    media_need(proxy_new(w->sip, &w->proxy));
    proxy_settings(w->proxy, w->set);
    proxy_locate(w->proxy, w->locate);
    media_need(ports_new(MEDIA_FIRST_PORT, MEDIA_LAST_PORT, &w->ports));
    media_need(session_shared_new(w->ports, &w->media));
    media_need(anchor_new(w->sip, w->media, w->set, &w->anchor));
    media_need(sip_listen(w->sip, 0));
}

static void server_stop(struct media_world *w)
{
    sim_process_stop(w->host);
    proxy_free(w->proxy);
    anchor_free(w->anchor);
    sip_free(w->sip);
    locate_free(w->locate);
    sip_shared_free(w->shared);
    locate_shared_free(w->names);
    session_shared_free(w->media);
    ports_free(w->ports);
    if (block_pool_live(w->group->loop[0]->blocks))
        media_fail(w, "buffers of the server are out", "%zu",
                   block_pool_live(w->group->loop[0]->blocks));
    settings_unref(w->set);
    media_tap_stop(w);
    sim_process_free(w->host);
}

/* ---- the world ---- */

static void set_net(struct media_world *w, unsigned loss)
{
    struct sim_wire wire = {.loss_permille = loss,
                            .dup_permille = loss / 3,
                            .delay_min = USEC_MS,
                            .delay_max = 20 * USEC_MS,
                            .reorder_permille = loss / 2,
                            .reorder_by = 300 * USEC_MS};
    sim_set_wire(w->sim, &wire);
}

static void start(struct media_world *w)
{
    media_random_seed(w->seed);
    media_need(sim_new(w->seed, &w->sim));
    program_tap(w->program, w->sim);
    arena_init(&w->memory, NULL, 0, MEMORY_MAX);
    server_start(w);
    media_foe_start(w);
    for (unsigned i = 0; i < MEDIA_PHONES; i++) {
        enum media_kind any = (enum media_kind)(sim_random(w->sim) % MEDIA_KINDS);
        bool fixed =
            w->program->part == MEASURED && i < 2; /* those whose ports are what they tell */
        media_phone_start(w, i, fixed ? (w->seed >> i & 1 ? MEDIA_SDES : MEDIA_PLAIN) : any);
    }
}

static void stop(struct media_world *w)
{
    media_foe_done(w);
    for (unsigned i = 0; i < MEDIA_PHONES; i++)
        media_phone_done(&w->phone[i]);
    server_stop(w);
    sim_free(w->sim);
    arena_done(&w->memory);
}

static void pass(struct media_world *w, usec duration)
{
    sim_run_until(w->sim, sim_now(w->sim) + duration);
}

/* ---- calls ---- */

/* Somebody who is free calls one, two or three who are. Agents cannot be forked to: one set of checks has one peer. */
static void call_somebody(struct media_world *w)
{
    unsigned from = (unsigned)(sim_random(w->sim) % MEDIA_PHONES), callees = 0, most = 1;
    struct media_phone *p = &w->phone[from];
    if (!media_phone_free(p))
        return;
    if (p->kind != MEDIA_ICE && p->kind != MEDIA_WEB && media_chance(w, 30))
        most = 2 + (unsigned)(sim_random(w->sim) % 2);
    for (unsigned i = 0; i < 8 && most > 0; i++) {
        unsigned to = (unsigned)(sim_random(w->sim) % MEDIA_PHONES);
        if (to == from || (callees >> to & 1) || !media_phone_free(&w->phone[to]))
            continue;
        callees |= 1u << to;
        most--;
    }
    if (!callees)
        return;
    w->forks += (callees & (callees - 1)) != 0;
    media_call(p, callees);
}

typedef void each_fn(struct media_world *w, struct media_dialog *d, struct media_dialog *other);

/* Each dialog that both sides take for standing, once for each side. */
static void each_standing(struct media_world *w, each_fn *fn)
{
    for (unsigned i = 0; i < MEDIA_PHONES; i++) {
        LIST_EACH (d, &w->phone[i].dialogs, struct media_dialog, by_phone) {
            struct media_dialog *other = media_other(d);
            if (d->answered && !d->ended && other && other->answered && !other->ended && d->way &&
                other->way)
                fn(w, d, other);
        }
    }
}

static void begin_judging(struct media_world *w, struct media_dialog *d, struct media_dialog *other)
{
    (void)w;
    (void)other;
    d->way->heard = 0;
}

static void judge(struct media_world *w, struct media_dialog *d, struct media_dialog *other)
{
    bool wanted = media_takes(d->end->direction) && media_sends(other->end->direction);
    if (d->way->dtls_failed || other->way->dtls_failed) /* in a net that lost too much */
        return;
    if (d->end->restarted || other->end->restarted) /* refused: these agents cannot go back */
        return;
    if (wanted && (d->end->lapsed || other->end->lapsed)) /* as many checks were lost in a row */
        return;
    w->judged++;
    w->silent += !wanted;
    if (wanted ? d->way->heard < HEARD_LEAST : d->way->heard > 0)
        media_fail(w, wanted ? "a phone does not hear the other" : "a phone hears what it holds",
                   "phone %u (kind %u) from phone %u (kind %u) in call %u: %u packets",
                   d->phone->index, d->phone->kind, other->phone->index, other->phone->kind,
                   d->call->number, d->way->heard);
}

static void hang_up(struct media_world *w, struct media_dialog *d, struct media_dialog *other)
{
    (void)other;
    if (media_chance(w, 60))
        media_hang_up(d);
}

static void hang_up_rest(struct media_world *w)
{
    for (unsigned i = 0; i < MEDIA_PHONES; i++) {
        LIST_EACH (d, &w->phone[i].dialogs, struct media_dialog, by_phone) {
            if (d->answered && !d->ended)
                media_hang_up(d);
        }
    }
}

static void check_end(struct media_world *w)
{
    struct loop_group *g = w->group;
    size_t sessions = sessions_live(anchor_sessions(w->anchor));
    if (sessions || ports_taken(w->ports) || anchor_count(w->anchor) || proxy_contexts(w->proxy) ||
        sip_transactions(w->sip))
        media_fail(w, "left over",
                   "%zu sessions, %u ports, %zu dialogs, %zu contexts, %zu transactions", sessions,
                   ports_taken(w->ports), anchor_count(w->anchor), proxy_contexts(w->proxy),
                   sip_transactions(w->sip));
    if (loop_stat(g, STAT_MEDIA_SESSIONS) != 0)
        media_fail(w, "the gauge of sessions is wrong", "%lld",
                   (long long)loop_stat(g, STAT_MEDIA_SESSIONS));
    if (loop_stat(g, STAT_MEDIA_FOREIGN) == 0 && w->sent > 0 && !w->tame)
        media_fail(w, "strangers were not counted", "%u sent", w->sent);
    if (w->given_up > 0 && w->loss < BEARABLE)
        media_fail(w, "a handshake fails in a net that loses little", "%u of %u", w->given_up,
                   w->given_up + w->handshakes);
    if (w->lapsed > 0 && w->loss < BEARABLE / 2)
        media_fail(w, "consent is lost in a net that loses little", "%u times", w->lapsed);
    for (unsigned i = 0; i < MEDIA_PHONES; i++) {
        if (!w->phone[i].gone && !media_phone_free(&w->phone[i]))
            media_fail(w, "a phone's call has no end", "phone %u", i);
    }
    media_tap_check(w);
}

static void talk(struct media_world *w)
{
    w->loss = (unsigned)(sim_random(w->sim) % 201);
    set_net(w, w->loss);
    while (sim_now(w->sim) < BEGIN && !w->failed) {
        if (w->calls < w->program->calls)
            call_somebody(w);
        pass(w, media_between(w, 0, 2 * USEC_S));
    }
    sim_run_until(w->sim, BAD);
    w->ending = true;
    set_net(w, 0);
    pass(w, SETTLE);
    each_standing(w, begin_judging);
    pass(w, JUDGE);
    if (!w->failed)
        each_standing(w, judge);
    set_net(w, w->loss);
    if (media_chance(w, 40))
        media_phone_kill(&w->phone[sim_random(w->sim) % MEDIA_PHONES]);
    each_standing(w, hang_up);
    pass(w, 5 * USEC_S);
    hang_up_rest(w);
    media_foe_stop(w);
    pass(w, 25 * USEC_HOUR); /* what counts numbers stays for a day */
}

/* ---- what is reported ---- */

#define STRETCH   (60 * USEC_S)
#define DEVIATION (40 * USEC_MS) /* of delays: so much more or less than the middle */
enum { LOST_OF_1000 = 50 };

/* "SECONDS lost FROM > TO …" */
static void on_lost(sv line, void *arg)
{
    struct media_world *w = arg;
    char mem[64];
    for (unsigned i = 0; i < MEDIA_PHONES; i++) {
        snprintf(mem, sizeof(mem), " lost 10.0.1.%u:2", i + 1);
        sv rest = sv_sub(line, sv_chr(line, ' '), line.n);
        w->lost[i] += sv_starts(rest, sv_of(mem));
    }
}

static bool figures_of(struct media_world *w, const struct media_dialog *d, unsigned side,
                       struct session_figures *ret)
{
    struct session_id id;
    sv why;
    if (anchor_find(w->anchor, d->call_id, d->local_tag, d->remote_tag, &id, &why) &&
        !session_figures(anchor_sessions(w->anchor), id, 0, side, ret))
        return true;
    media_fail(w, "a call has no figures", "side %u", side);
    return false;
}

static bool is_near(double is, double should)
{
    return is > 0.9 * should && is < 1.1 * should;
}

/* One direction at the end of each of three stretches, of which the net was bad in the second. */
static void judge_figures(struct media_world *w, const struct session_figures f[3], unsigned lost)
{
    double reported = (double)(f[1].span.lost - f[0].span.lost);
    double expected = (double)(f[1].span.expected - f[0].span.expected);
    int64_t later = (int64_t)(f[2].span.lost - f[1].span.lost); /* some were still under way */
    if (f[0].span.lost || later > 3 || later < -5 || f[0].span.spread_us > 1000)
        media_fail(w, "a good net is said to lose", "%u, %d, spread %u us",
                   (unsigned)f[0].span.lost, (int)later, f[0].span.spread_us);
    if (!is_near(reported, lost) || !is_near(expected, (double)(STRETCH / w->pace)))
        media_fail(w, "the loss reported is not the net's", "%.0f of %.0f, but %u", reported,
                   expected, lost);
    /* the means are of the call so far, in which there was none before */
    double came = (double)(f[1].span.expected - f[1].span.lost), of = expected - reported;
    double jitter = f[1].span.jitter_us * came / of;
    if (!is_near(f[1].worst.spread_us, DEVIATION) || !is_near(jitter, 0.72 * DEVIATION))
        media_fail(w, "the jitter reported is not the net's", "spread %u us, jitter %.0f us",
                   f[1].worst.spread_us, jitter);
    if (f[0].span.mos < 4 || f[1].span.mos > f[0].span.mos - 0.15 ||
        f[1].worst.mos > f[0].span.mos - 0.5 || f[2].span.mos < f[1].span.mos + 0.05)
        media_fail(w, "the score does not fall and rise", "%.2f, %.2f (%.2f at worst), %.2f",
                   f[0].span.mos, f[1].span.mos, f[1].worst.mos, f[2].span.mos);
}

static void set_even_net(struct media_world *w, bool bad)
{
    struct sim_wire wire = {.loss_permille = bad ? LOST_OF_1000 : 0,
                            .delay_min = bad ? 5 * USEC_MS : 45 * USEC_MS,
                            .delay_max = 45 * USEC_MS + (bad ? DEVIATION : 0)};
    sim_set_wire(w->sim, &wire);
}

/* One call, one minute each: good, with loss and jitter, good. */
static void measure(struct media_world *w)
{
    struct session_figures f[2][3];
    w->tame = w->ending = true;
    w->pace = 20 * USEC_MS;
    media_foe_stop(w);
    sim_trace(w->sim, on_lost, w);
    set_even_net(w, false);
    media_call(&w->phone[0], 1u << 1);
    pass(w, 10 * USEC_S);
    struct media_dialog *d =
        list_empty(&w->phone[0].dialogs)
            ? NULL
            : CONTAINER(w->phone[0].dialogs.next, struct media_dialog, by_phone);
    if (!d || !d->answered) {
        media_fail(w, "nobody answers in a good net", "%u", w->answers);
        return;
    }
    for (unsigned i = 0; i < 3; i++) {
        set_even_net(w, i == 1);
        pass(w, STRETCH);
        for (unsigned side = 0; side < 2; side++) {
            if (!figures_of(w, d, side, &f[side][i]))
                return;
        }
    }
    for (unsigned side = 0; side < 2; side++)
        judge_figures(w, f[side], w->lost[side]);
    media_hang_up(d);
    pass(w, 10 * USEC_MIN);
}

static bool run(const struct program *p, uint64_t seed, struct result *ret)
{
    struct media_world *w = calloc(1, sizeof(*w));
    size_t memory = mem_live();
    if (!w)
        abort();
    w->seed = seed;
    w->program = p;
    w->pace = 100 * USEC_MS;
    start(w);
    if (p->part == MEASURED)
        measure(w);
    else
        talk(w);
    check_end(w);
    *ret = (struct result){.hash = sim_trace_hash(w->sim), .events = sim_trace_count(w->sim)};
    program_count(ret, "calls", w->calls);
    program_count(ret, "forked", w->forks);
    program_count(ret, "answered", w->answers);
    program_count(ret, "descriptions", w->exchanges);
    program_count(ret, "offered anew", w->reinvites);
    program_count(ret, "of them with an ICE restart", w->restarts);
    program_count(ret, "refused", w->refused);
    program_count(ret, "packets heard", w->heard);
    program_count(ret, "before an answer", w->early);
    program_count(ret, "handshakes", w->handshakes);
    program_count(ret, "given up", w->given_up);
    program_count(ret, "consents lost", w->lapsed);
    program_count(ret, "judged", w->judged);
    program_count(ret, "of them silent", w->silent);
    stop(w);
    if (mem_live() != memory)
        media_fail(w, "memory is left", "%zu octets", mem_live() - memory);
    bool ok = !w->failed;
    free(w);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct program_part parts[] = {
        {.what = "media: seeds of 8 calls", .calls = 8, .seeds = 100, .sanitized_seeds = 10},
        {.what = "media: the same seed, twice",
         .calls = 6,
         .seeds = 3,
         .first = 100,
         .twice = true},
        [MEASURED] = {.what = "media: loss and jitter, as reported",
                      .calls = 1,
                      .seeds = 6,
                      .sanitized_seeds = 2},
    };
    if (!media_random_start())
        return 3;
    return program_main(argc, argv, parts, sizeof(parts) / sizeof(parts[0]), run);
}
