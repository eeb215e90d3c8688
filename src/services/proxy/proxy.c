/* SPDX-License-Identifier: MIT */
/* The stateful proxy's driver: RFC 3261 §16.6 to §16.10. What to do is decided in proxy_step.c;
 * here it is done, in one order: cancel, forward, send the best, tell the watcher.
 *
 *        caller ── server transaction ── context ─┬─ branch 0 ─┬─ client transaction ── server
 *                                                 │            └─ one that was given up ── …
 *                                                 ├─ branch 1 ── …
 *                                                 └─ Timer C each */
#include "proxy/proxy_priv.h"

/* Octets that a message may grow by on its way through. A response is kept for 64·T1, so its
 * block should be no larger than it
 * needs: it loses a Via, and gains at most other branches' challenges. */
enum { OC_MAX = 1024, OC_ROOM = 96 };
enum { RESPONSE_ROOM = 64, CHALLENGES_MAX = 3072, CHALLENGE_LINES_MAX = 16 };
enum { SAID_MAX = 1024 };
enum { CHALLENGES_ROOM = CHALLENGES_MAX + 2 * CHALLENGE_LINES_MAX };

static const struct stxn_handler server_handler;

enum err proxy_new(struct sip *s, struct proxy **ret_proxy)
{
    struct proxy *p = MEM_NEW(struct proxy);
    if (!p)
        return ERR_NOMEM;
    p->sip = s;
    p->epoch = loop_random(sip_loop(s));
    list_init(&p->contexts);
    list_init(&p->relays);
    list_init(&p->echoes);
    list_init(&p->unfits);
    *ret_proxy = p;
    return ERR_OK;
}

void proxy_settings(struct proxy *p, struct settings *set)
{
    p->set = set;
}

void proxy_locate(struct proxy *p, struct locate *l)
{
    p->locate = l;
}

void proxy_overload(struct proxy *p, const struct overload *own)
{
    p->own = own;
}

size_t proxy_contexts(const struct proxy *p)
{
    return p->count + p->relays_n + p->echoes_n + p->unfits_n;
}

/* ---- the context's life ---- */

static void context_free(struct context *c)
{
    if (c->bodies)
        bodies_end(c, true);
    for (unsigned i = 0; i < c->step.n; i++)
        branch_free(c->branch[i]);
    loop_timer_cancel(sip_loop(c->proxy->sip), &c->rank_time);
    stxn_drop(c->server);
    list_unlink(&c->by_proxy);
    c->proxy->count--;
    if (c->watch && c->watch->on_gone)
        c->watch->on_gone(c->watch_arg);
    if (c->bodies && c->bodies->on_gone)
        c->bodies->on_gone(c->bodies_arg);
    rx_unref(c->rx);
    MEM_GIVE(c);
}

void context_enter(struct context *c)
{
    c->busy++;
}

void proxy_free(struct proxy *p)
{
    if (!p)
        return;
    LIST_EACH_SAFE (c, &p->contexts, struct context, by_proxy)
        context_free(c);
    relays_free(p);
    echoes_free(p);
    unfits_free(p);
    mem_free(p);
}

/* ---- upstream ---- */

/* RFC 7339 §5.2: how busy we are, for the one above who asked in his Via. */
static size_t edit_oc(struct proxy *p, struct sipedit *e, struct rx *rx, char mem[static OC_MAX])
{
    const struct sip_via *vias;
    struct buf b;
    size_t n;
    buf_init(&b, mem, OC_MAX);
    if (!p->own || sipmsg_vias(&rx->msg, &vias, &n) || n < 2 ||
        !overload_put_via(&b, p->own, &vias[1]))
        return 0;
    sipedit_cut(e, vias[1].text, buf_sv(&b));
    return OC_ROOM;
}

void upstream_edit(struct sipedit *e, struct sipmsg *m)
{
    struct sip_walk w = {.m = m, .id = SIP_H_VIA};
    const struct sip_via *via;
    struct sip_item item;
    sipedit_init(e, m);
    if (!sipmsg_via(m, &via) && via->text.n == sipmsg_value(m, SIP_H_VIA).n) {
        sipedit_remove_field(e, m->first[SIP_H_VIA]); /* nearly always it has a line of its own */
    } else if (sipmsg_next(&w, &item)) {
        if (item.only)
            sipedit_remove_field(e, item.field);
        else
            sipedit_remove_item(e, &item);
    }
    /* RFC 3325 §5: an identity asserted by somebody untrusted ends here (D7). */
    sipedit_remove(e, SIP_H_P_ASSERTED_IDENTITY);
}

struct block *upstream_write(struct proxy *p, const struct upstream *u, struct rx *rx,
                             uint16_t status, struct sipedit *e, size_t more)
{
    char oc[OC_MAX];
    size_t room = more + (status == 401 || status == 407 ? CHALLENGES_ROOM : 0);
    if (u->oc)
        room += edit_oc(p, e, rx, oc);
    if (status / 100 == 2 && u->session.expires)
        room += SESSION_ROOM;
    struct block *out = sip_block(p->sip, rx->msg.text.n + RESPONSE_ROOM + room);
    if (!out)
        return NULL;
    struct buf b;
    buf_init(&b, out->p, out->cap);
    if (sipedit_write(e, &b)) {
        block_unref(out);
        return NULL;
    }
    out->n = (uint32_t)b.n;
    return out;
}

/* Who watches hears of a response that went up. from: NULL: our own. */
static void tell(struct context *c, struct rx *rx, uint16_t status, sv reason, sv warning,
                 const struct branch *from)
{
    char mem[SAID_MAX];
    struct buf said;
    if (!c->watch || !c->watch->on_response)
        return;
    buf_init(&said, mem, sizeof(mem));
    if (status >= 300)
        sip_put_said(&said, status, reason, warning);
    c->watch->on_response(c->watch_arg, rx, status, buf_sv(&said), from ? &from->dest : NULL,
                          from ? from->target : NULL);
}

/* A response of a branch goes upstream (§16.7 steps 3, 8, 9). */
static void forward_response(struct context *c, struct branch *b, struct rx *rx, uint16_t status,
                             struct sipedit *e)
{
    sv warning = SV_NONE;
    size_t more = c->bodies ? body_response(b, rx, status, e, &warning) : 0;
    struct block *out = upstream_write(c->proxy, &c->up, rx, status, e, more);
    if (!out)
        return;
    enum err rc = c->server ? stxn_respond(c->server, status, out) : ERR_STATE;
    /* §16.7 step 5: a 2xx goes on even when the transaction has said something else or is gone. */
    if (rc == ERR_STATE && status / 100 == 2)
        rc = sip_send(c->proxy->sip, &c->up.dest, out, NULL);
    if (rc == ERR_OK)
        tell(c, rx, status, rx->msg.reason,
             warning.n ? warning : sipmsg_value(&rx->msg, SIP_H_WARNING), b);
    block_unref(out);
}

/* A response of our own. warning: a whole line; SV_NONE: none. */
static void answer(struct context *c, uint16_t status, sv reason, sv warning)
{
    char tag[24], mem[256];
    struct buf b;
    if (!c->server)
        return;
    if (status == 480 && c->sips_refused) {
        /* RFC 5630 §5.3: the caller may ask again without sips. */
        buf_init(&b, mem, sizeof(mem));
        sip_put_warning(c->proxy->sip, &b, &c->rx->flow, 380, SV("SIPS Not Allowed"));
        warning = b.rc ? SV_NONE : buf_sv(&b);
    }
    struct sip_reply r = {.status = status,
                          .reason = reason,
                          .to_tag = sip_stateless_tag(c->proxy->sip, c->rx, tag),
                          .headers =
                              status == 503 && !warning.n ? SV("Retry-After: 5\r\n") : warning};
    if (stxn_reply(c->server, &r) == ERR_OK)
        tell(c, NULL, status, reason, warning, NULL);
}

/* §16.7 step 7: a 401 or 407 goes up with the challenges of all branches, as far as they fit:
 * what a
 * phone writes must not keep the answer from leaving. */
static void add_challenges(struct context *c, struct sipedit *e, unsigned best)
{
    size_t octets = 0, lines = 0;
    for (unsigned i = 0; i < c->step.n; i++) {
        struct rx *rx = c->branch[i]->final;
        if (i == best || !rx || (rx->msg.status != 401 && rx->msg.status != 407))
            continue;
        static const enum sip_header ids[] = {SIP_H_WWW_AUTHENTICATE, SIP_H_PROXY_AUTHENTICATE};
        for (unsigned k = 0; k < 2; k++) {
            for (uint16_t f = rx->msg.first[ids[k]]; f != SIPMSG_NONE; f = rx->msg.fields[f].next) {
                sv from = {rx->msg.text.p + rx->msg.fields[f].name, 0};
                sv value = sipmsg_field_value(&rx->msg, f);
                from.n = (size_t)(value.p + value.n - from.p);
                if (octets + from.n > CHALLENGES_MAX || lines == CHALLENGE_LINES_MAX)
                    return;
                octets += from.n;
                lines++;
                sipedit_line_last(e, from);
            }
        }
    }
}

/* What the route says of targets that have all failed. False: nothing. */
static bool answer_otherwise(struct context *c)
{
    if (!c->plan->otherwise || c->step.cancelled || c->step.declined)
        return false;
    c->step.sent = c->plan->otherwise;
    answer(c, c->plan->otherwise, c->plan->otherwise_reason, c->plan->otherwise_headers);
    return true;
}

static void send_best(struct context *c)
{
    unsigned i = proxy_best(&c->step);
    const struct step_branch *s = &c->step.branch[i];
    struct branch *b = c->branch[i];
    uint16_t status = s->status;
    if (b->refusal)
        body_told(c, c->rx, &b->refusal->why);
    if (answer_otherwise(c))
        return;
    c->step.sent = status;
    if (b->refusal) {
        answer(c, status, b->refusal->why.reason, b->refusal->warning);
        return;
    }
    if (s->made_up || !b->final) {
        /* §16.7 step 6: a 503 says that this whole server is out of service; that a phone cannot be
         * reached is a 480. */
        answer(c, status == 503 ? 480 : status, SV_NONE, SV_NONE);
        return;
    }
    struct sipedit e;
    upstream_edit(&e, &b->final->msg);
    if (status == 503) {
        status = 500;
        sipedit_status(&e, 500, sv_of(sip_reason(500)));
    }
    if (status == 401 || status == 407)
        add_challenges(c, &e, i);
    forward_response(c, b, b->final, status, &e);
}

/* ---- effects ---- */

static void begin_rank(struct context *c, uint32_t starting)
{
    if (c->plan->step_time && c->step.invite)
        loop_timer(sip_loop(c->proxy->sip), &c->rank_time, c->plan->step_time);
    context_begin(c, starting);
}

/* The watcher hears what it came to, whoever else does. */
static void tell_outcome(const struct context *c, unsigned effects, const struct rx *rx)
{
    if (c->step.invite || !c->watch || !c->watch->on_outcome)
        return;
    if (effects & STEP_FORWARD && rx->msg.status >= 200) {
        c->watch->on_outcome(c->watch_arg, rx->msg.status, ERR_OK);
    } else if (effects & (STEP_BEST | STEP_SILENCE)) {
        unsigned i = proxy_best(&c->step);
        const struct step_branch *s = &c->step.branch[i];
        enum err why = c->branch[i]->why ? c->branch[i]->why : ERR_DENIED; /* not sent at all */
        c->watch->on_outcome(c->watch_arg, s->status, s->made_up ? why : ERR_OK);
    }
}

static void perform(struct context *c, struct branch *b, unsigned effects, uint32_t cancel,
                    struct rx *rx)
{
    struct loop *l = sip_loop(c->proxy->sip);
    if (effects & STEP_CANCEL_OTHERS) {
        /* RFC 3326 §2: phones then do not show a missed call. What the caller says goes before. */
        sv reason = c->step.sent / 100 == 2 ? SV("SIP;cause=200;text=\"Call completed elsewhere\"")
                                            : c->reason;
        for (unsigned i = 0; i < c->step.n; i++) {
            if (cancel & (UINT32_C(1) << i))
                branch_cancel(c->branch[i], reason);
        }
    }
    if (effects & STEP_RESET_C && c->step.invite && !branch_step(b)->cancelled) {
        usec left = b->began + PROXY_RINGING_MAX - l->now, ringing = c->proxy->set->ringing;
        loop_timer(l, &b->timer_c, left < ringing ? (left > 0 ? left : 0) : ringing);
    }
    if (effects & STEP_FORWARD) {
        struct sipedit e;
        char mem[SESSION_LINE];
        upstream_edit(&e, &rx->msg);
        session_response(&e, &rx->msg, &c->up.session, mem);
        forward_response(c, b, rx, rx->msg.status, &e);
    }
    if (effects & STEP_NEXT)
        branch_next(b);
    if (effects & STEP_REDIRECT)
        redirect_ask(b);
    if (effects & STEP_START)
        begin_rank(c, c->step.starting);
    tell_outcome(c, effects, rx);
    if (effects & STEP_BEST)
        send_best(c);
    if (effects & STEP_SILENCE) {
        stxn_drop(c->server);
        c->server = NULL;
    }
}

/* It ended without an answer from anybody, and not because we wanted it to. */
static bool nobody_there(const struct branch *b, enum step_event ev)
{
    const struct step_branch *s = branch_step(b);
    bool heard = b->current && b->current->heard;
    return s->phase == STEP_FINAL && s->made_up && !s->cancelled && !heard &&
           (ev == STEP_EV_TIMEOUT || ev == STEP_EV_UNREACHABLE || ev == STEP_EV_SILENT);
}

void context_begin(struct context *c, uint32_t starting)
{
    bool enough = branches_share(c, starting);
    for (unsigned i = 0; i < c->step.n; i++) {
        if (!(starting & (UINT32_C(1) << i)))
            continue;
        if (enough)
            branch_begin(c->branch[i]);
        else /* RFC 5393 §5.3.3: too little breadth is a 440 (D14) */
            context_event(c, c->branch[i], STEP_EV_REFUSED, NULL, 440);
    }
}

void context_event(struct context *c, struct branch *b, enum step_event ev, struct rx *rx,
                   uint16_t status)
{
    uint32_t cancel;
    bool was = b && branch_step(b)->phase == STEP_FINAL;
    unsigned effects =
        proxy_step(&c->step, ev, b ? b->index : 0, rx ? rx->msg.status : status, &cancel);
    /* RFC 5626 §5.3: an edge between us and the phone says the same by 430. */
    bool flow_failed = b && rx && rx->msg.status == 430 && branch_step(b)->phase == STEP_FINAL;
    if (b && !was && (flow_failed || nobody_there(b, ev)) && b->target && c->watch &&
        c->watch->on_unreachable)
        c->watch->on_unreachable(c->watch_arg, b->target,
                                 flow_failed ? ERR_CLOSED
                                 : b->why    ? b->why
                                             : ERR_TIMEOUT);
    perform(c, b, effects, cancel, rx);
}

/* ---- the end ---- */

/* Everything has been said that ever will be: but for an INVITE's 2xx, which may come again and
 * from
 * other branches, a final response is the end. The transactions finish alone. */
static bool over(const struct context *c)
{
    if (!proxy_all_final(&c->step))
        return false;
    return !c->step.invite || c->step.sent >= 300 || c->live == 0;
}

/* An INVITE was answered: what is left is to pass on the 2xx that come again and from other
 * branches, for which the request is not needed. */
static void settle(struct context *c)
{
    stxn_drop(c->server);
    c->server = NULL;
    loop_timer_cancel(sip_loop(c->proxy->sip), &c->rank_time);
    for (unsigned i = 0; i < c->step.n; i++) {
        c->branch[i]->target = NULL;
        c->branch[i]->server = NULL;
        c->branch[i]->servers = 0;
        c->branch[i]->alternatives = NULL;
    }
    rx_unref(c->rx);
    c->rx = NULL;
    c->plan = NULL;
    if (c->watch && c->watch->on_gone)
        c->watch->on_gone(c->watch_arg);
    c->watch = NULL;
}

/* Nobody rings any more: the late 2xx find their way without the context, but for who changes them. */
static void fade(struct context *c)
{
    bodies_leave(c);
    bool all = !c->bodies && proxy_all_final(&c->step);
    for (unsigned i = 0; i < c->step.n && all; i++)
        all = attempts_echo(c->branch[i]);
}

void context_leave(struct context *c)
{
    if (c->busy == 1 && c->server && !stxn_final(c->server) && over(c)) {
        /* What was chosen could not be written or sent. */
        answer(c, 500, SV_NONE, SV_NONE);
        if (!stxn_final(c->server)) {
            stxn_drop(c->server);
            c->server = NULL;
        }
    }
    if (c->busy == 1 && c->bodies)
        bodies_end(c, false);
    if (--c->busy > 0)
        return;
    if (!c->step.invite || c->step.sent / 100 != 2) {
        if (over(c))
            context_free(c);
        return;
    }
    if (c->server && stxn_final(c->server))
        settle(c);
    if (!c->server)
        fade(c);
    if (!c->server && c->live == 0 && proxy_all_final(&c->step))
        context_free(c);
}

/* ---- from the transactions and timers ---- */

void context_timer_c(struct timer *t, void *arg)
{
    (void)t;
    struct branch *b = arg;
    struct context *c = b->ctx;
    context_enter(c);
    context_event(c, b, STEP_EV_TIMER_C, NULL, 0); /* §16.8 */
    context_leave(c);
}

static void on_rank_time(struct timer *t, void *arg)
{
    (void)t;
    struct context *c = arg;
    if (c->ending) {
        context_cut(c);
        return;
    }
    context_enter(c);
    context_event(c, NULL, STEP_EV_RANK_TIME, NULL, 0);
    context_leave(c);
}

static void on_cancel(void *arg, struct rx *cancel)
{
    struct context *c = arg;
    context_enter(c);
    /* RFC 3326 §2: why the caller does not want it any more is for the callee. */
    c->reason = sipmsg_value(&cancel->msg, SIP_H_REASON);
    context_event(c, NULL, STEP_EV_CANCEL, NULL, 0); /* §16.10 */
    c->reason = SV_NONE;
    context_leave(c);
}

static void on_server_gone(void *arg, enum err why)
{
    struct context *c = arg;
    context_enter(c);
    c->server = NULL;
    /* The caller cannot be reached any more: nobody would take an answer. */
    if (why != ERR_OK && c->step.sent == 0)
        context_event(c, NULL, STEP_EV_CANCEL, NULL, 0);
    context_leave(c);
}

static const struct stxn_handler server_handler = {.on_cancel = on_cancel,
                                                   .on_gone = on_server_gone};

/* ---- a request ---- */

static struct context *context_new(struct proxy *p, const struct proxy_request *r)
{
    struct context *c =
        mem_class_take_cleared(mem_class_of(sizeof(*c)), offsetof(struct context, step.branch));
    if (!c)
        return NULL;
    c->rx = rx_ref(stxn_rx(r->server));
    c->plan = ARENA_NEW(&c->rx->arena, struct plan);
    if (!c->plan) {
        rx_unref(c->rx);
        MEM_GIVE(c);
        return NULL;
    }
    const struct sip_via *via;
    uint32_t asked;
    *c->plan = (struct plan){.route = *r->route,
                             .record_route = r->record_route,
                             .secure = r->secure,
                             .step_time = r->step_time,
                             .otherwise = r->otherwise,
                             .breadth = p->set->breadth};
    if (!r->in_dialog) {
        proxy_loop_hash(p, c->rx, c->plan->loop_text);
        c->plan->loop = (sv){c->plan->loop_text, PROXY_HASH_LEN};
    }
    if (sipmsg_number(&c->rx->msg, SIP_H_MAX_BREADTH, &asked) == ERR_OK && asked < c->plan->breadth)
        c->plan->breadth = asked;
    session_plan(p->set, &c->rx->msg, &c->up.session);
    c->plan->session = c->up.session;
    c->proxy = p;
    c->server = r->server;
    c->up.dest = sip_response_dest(c->rx);
    c->up.oc = !sipmsg_via(&c->rx->msg, &via) && overload_is_offered(via);
    c->step.invite = c->rx->msg.method == SIP_INVITE;
    c->watch = r->watch;
    c->watch_arg = r->watch_arg;
    c->bodies = r->bodies;
    c->bodies_arg = r->bodies_arg;
    timer_init(&c->rank_time, on_rank_time, c);
    list_push(&p->contexts, &c->by_proxy);
    p->count++;
    return c;
}

/* Those of one rank beyond settings.breadth, and all beyond PROXY_TARGETS_MAX, are left out. */
static void add_targets(struct context *c, const struct proxy_request *r)
{
    struct proxy *p = c->proxy;
    struct branch *b = NULL;
    for (size_t i = 0; i < r->n; i++) {
        unsigned same = 0;
        if (r->targets[i].alternative && b && branch_alternative(b, &r->targets[i]) == ERR_OK)
            continue;
        if (branch_tried(c, &r->targets[i])) {
            b = NULL;
            continue;
        }
        for (unsigned k = 0; k < c->step.n; k++)
            same += c->step.branch[k].rank == r->targets[i].rank;
        b = same < p->set->breadth ? branch_new(c, &r->targets[i]) : NULL;
        if (!b)
            stat_refuse(&sip_loop(p->sip)->stats, STAT_LIMIT_BRANCHES);
    }
}

void proxy_forward(struct proxy *p, const struct proxy_request *r)
{
    struct context *c = context_new(p, r);
    bool copied = !r->identity.n;
    if (c) {
        add_targets(c, r);
        copied = copied || sv_dup(&c->rx->arena, r->identity, &c->plan->identity) == ERR_OK;
        if (r->otherwise_reason.n &&
            sv_dup(&c->rx->arena, r->otherwise_reason, &c->plan->otherwise_reason))
            copied = false;
    }
    if (!c || c->step.n == 0 || !copied) {
        struct sip_reply reply = {.status = 503, .headers = SV("Retry-After: 5\r\n")};
        if (stxn_reply(r->server, &reply) == ERR_OK && r->watch && r->watch->on_response)
            r->watch->on_response(r->watch_arg, NULL, 503, sv_of(sip_reason(503)), NULL, NULL);
        if (c) {
            context_free(c);
            return;
        }
        stxn_drop(r->server);
        if (r->watch && r->watch->on_gone)
            r->watch->on_gone(r->watch_arg);
        if (r->bodies && r->bodies->on_gone)
            r->bodies->on_gone(r->bodies_arg);
        return;
    }
    const struct refusal *none_passes = body_begin(c);
    if (none_passes) {
        body_told(c, c->rx, &none_passes->why);
        if (!answer_otherwise(c))
            answer(c, none_passes->why.status, none_passes->why.reason, none_passes->warning);
        context_free(c);
        return;
    }
    context_enter(c);
    stxn_handle(c->server, &server_handler, c);
    context_event(c, NULL, STEP_EV_START, NULL, 0);
    context_leave(c);
}
