/* SPDX-License-Identifier: MIT */
/* The stateful proxy's driver: RFC 3261 §16.6 to §16.10. What to do is decided in proxy_step.c;
 * here it is done, in one order: cancel, forward, send the best, tell the watcher.
 *
 *        caller ── server transaction ── context ─┬─ branch 0 ── client transaction ── phone
 *                                                 ├─ branch 1 ── …
 *                                                 └─ Timer C each */
#include "proxy/proxy_priv.h"

/* Octets that a message may grow by on its way through. A response is kept for 64·T1, so its
 * block should be no larger than it
 * needs: it loses a Via, and gains at most other branches' challenges. */
enum { REQUEST_ROOM = 4096, RESPONSE_ROOM = 64, CHALLENGES_MAX = 3072, CHALLENGE_LINES_MAX = 16 };
enum { CHALLENGES_ROOM = CHALLENGES_MAX + 2 * CHALLENGE_LINES_MAX };

static const struct stxn_handler server_handler;
static const struct ctxn_handler branch_handler;

enum err proxy_new(struct sip *s, struct proxy **ret_proxy)
{
    struct proxy *p = MEM_NEW(struct proxy);
    if (!p)
        return ERR_NOMEM;
    p->sip = s;
    list_init(&p->contexts);
    *ret_proxy = p;
    return ERR_OK;
}

void proxy_settings(struct proxy *p, struct settings *set)
{
    p->set = set;
}

size_t proxy_contexts(const struct proxy *p)
{
    return p->count;
}

/* ---- the context's life ---- */

static void context_free(struct context *c)
{
    for (unsigned i = 0; i < c->step.n; i++) {
        loop_timer_cancel(sip_loop(c->proxy->sip), &c->branch[i].timer_c);
        ctxn_drop(c->branch[i].txn);
        rx_unref(c->branch[i].final);
    }
    stxn_drop(c->server);
    list_unlink(&c->by_proxy);
    c->proxy->count--;
    if (c->watch && c->watch->on_gone)
        c->watch->on_gone(c->watch_arg);
    rx_unref(c->rx);
    mem_free(c->branch);
    mem_free(c);
}

static void enter(struct context *c)
{
    c->busy++;
}

void proxy_free(struct proxy *p)
{
    if (!p)
        return;
    LIST_EACH_SAFE (c, &p->contexts, struct context, by_proxy)
        context_free(c);
    mem_free(p);
}

/* ---- upstream ---- */

/* A response of a branch goes upstream: our Via off, the rest as it came (§16.7 steps 3, 8, 9). */
static void forward_response(struct context *c, struct rx *rx, uint16_t status,
                             const struct sipedit *e, const struct dest *via)
{
    struct sip *s = c->proxy->sip;
    size_t room = status == 401 || status == 407 ? CHALLENGES_ROOM : 0;
    struct block *out = sip_block(s, rx->msg.text.n + RESPONSE_ROOM + room);
    if (!out)
        return;
    struct buf b;
    buf_init(&b, out->p, out->cap);
    if (sipedit_write(e, &b) == ERR_OK) {
        out->n = (uint32_t)b.n;
        enum err rc = c->server ? stxn_respond(c->server, status, out) : ERR_STATE;
        /* §16.7 step 5: a 2xx goes on even when the transaction has said something else or is gone.
         */
        if (rc == ERR_STATE && status / 100 == 2)
            rc = sip_send(s, &c->upstream, out, NULL);
        if (rc == ERR_OK && c->watch && c->watch->on_response)
            c->watch->on_response(c->watch_arg, rx, status, via);
    }
    block_unref(out);
}

static void edit_top_via(struct sipedit *e, struct rx *rx)
{
    struct sip_walk w = {.m = &rx->msg, .id = SIP_H_VIA};
    struct sip_item item;
    sipedit_init(e, &rx->msg);
    if (sipmsg_next(&w, &item))
        sipedit_remove_item(e, &item);
    /* RFC 3325 §5: an identity asserted by somebody untrusted ends here (D7). */
    sipedit_remove(e, SIP_H_P_ASSERTED_IDENTITY);
}

/* A response of our own. */
static void answer(struct context *c, uint16_t status)
{
    char tag[24];
    if (!c->server)
        return;
    struct sip_reply r = {.status = status, .to_tag = sip_stateless_tag(c->proxy->sip, c->rx, tag)};
    if (status == 503)
        r.headers = SV("Retry-After: 5\r\n");
    if (stxn_reply(c->server, &r) != ERR_OK)
        return;
    if (c->watch && c->watch->on_response)
        c->watch->on_response(c->watch_arg, NULL, status, NULL);
}

/* §16.7 step 7: a 401 or 407 goes up with the challenges of all branches, as far as they fit:
 * what a
 * phone writes must not keep the answer from leaving. */
static void add_challenges(struct context *c, struct sipedit *e, unsigned best)
{
    size_t octets = 0, lines = 0;
    for (unsigned i = 0; i < c->step.n; i++) {
        struct rx *rx = c->branch[i].final;
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

static void send_best(struct context *c)
{
    unsigned i = proxy_best(&c->step);
    const struct step_branch *s = &c->step.branch[i];
    struct branch *b = &c->branch[i];
    uint16_t status = s->status;
    c->step.sent = status;
    if (s->made_up || !b->final) {
        /* §16.7 step 6: a 503 says that this whole server is out of service; that a phone cannot be
         * reached is a 480. */
        answer(c, status == 503 ? 480 : status);
        return;
    }
    struct sipedit e;
    edit_top_via(&e, b->final);
    if (status == 503) {
        status = 500;
        sipedit_status(&e, 500, sv_of(sip_reason(500)));
    }
    if (status == 401 || status == 407)
        add_challenges(c, &e, i);
    forward_response(c, b->final, status, &e, &b->dest);
}

/* ---- effects ---- */

static void perform(struct context *c, struct branch *b, unsigned effects, uint32_t cancel,
                    struct rx *rx)
{
    if (effects & STEP_CANCEL_OTHERS) {
        bool completed = c->step.sent / 100 == 2;
        for (unsigned i = 0; i < c->step.n; i++) {
            if (cancel & (UINT32_C(1) << i)) {
                loop_timer_cancel(sip_loop(c->proxy->sip), &c->branch[i].timer_c);
                /* RFC 3326 §2: phones then do not show a missed call. */
                ctxn_cancel(c->branch[i].txn,
                            completed ? SV("SIP;cause=200;text=\"Call completed elsewhere\"")
                                      : SV_NONE);
            }
        }
    }
    if (effects & STEP_RESET_C && c->step.invite && !c->step.branch[b - c->branch].cancelled)
        loop_timer(sip_loop(c->proxy->sip), &b->timer_c, c->proxy->set->ringing);
    if (effects & STEP_FORWARD) {
        struct sipedit e;
        edit_top_via(&e, rx);
        forward_response(c, rx, rx->msg.status, &e, &b->dest);
    }
    if (effects & STEP_BEST)
        send_best(c);
    if (effects & STEP_SILENCE) {
        stxn_drop(c->server);
        c->server = NULL;
    }
}

static void event(struct context *c, struct branch *b, enum step_event ev, struct rx *rx)
{
    uint32_t cancel;
    unsigned index = b ? (unsigned)(b - c->branch) : 0;
    unsigned effects = proxy_step(&c->step, ev, index, rx ? rx->msg.status : 0, &cancel);
    perform(c, b, effects, cancel, rx);
}

/* ---- from the transactions ---- */

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
 * branches, for which the request is not
 * needed. It is the bulk of what a context holds for the 64·T1 that this lasts. */
static void settle(struct context *c)
{
    stxn_drop(c->server);
    c->server = NULL;
    rx_unref(c->rx);
    c->rx = NULL;
    if (c->watch && c->watch->on_gone)
        c->watch->on_gone(c->watch_arg);
    c->watch = NULL;
}

static void leave(struct context *c)
{
    if (c->busy == 1 && c->server && over(c) && !stxn_final(c->server)) {
        /* What was chosen could not be written or sent. */
        answer(c, 500);
        if (!stxn_final(c->server)) {
            stxn_drop(c->server);
            c->server = NULL;
        }
    }
    if (--c->busy > 0)
        return;
    if (c->server && c->step.invite && c->step.sent / 100 == 2 && stxn_final(c->server))
        settle(c);
    if ((!c->server && c->live == 0) || (over(c) && c->step.sent / 100 != 2) ||
        (over(c) && !c->step.invite))
        context_free(c);
}

static void on_response(void *arg, struct rx *rx)
{
    struct branch *b = arg;
    struct context *c = b->ctx;
    uint16_t status = rx->msg.status;
    if (status == 100)
        return; /* §16.7 step 5: of this hop only; Timer C runs on */
    enter(c);
    /* §16.7 step 3: a response whose only Via is ours was for us: nothing of ours asks for one
     * here. */
    if (sipmsg_count(&rx->msg, SIP_H_VIA) > 1) {
        if (status >= 200)
            loop_timer_cancel(sip_loop(c->proxy->sip), &b->timer_c);
        if (status >= 300 && !b->final)
            b->final = rx_ref(rx);
        event(c, b,
              status < 200   ? STEP_EV_PROVISIONAL
              : status < 300 ? STEP_EV_SUCCESS
                             : STEP_EV_FAILURE,
              rx);
    }
    leave(c);
}

static void on_branch_gone(void *arg, enum err why)
{
    struct branch *b = arg;
    struct context *c = b->ctx;
    enter(c);
    b->txn = NULL;
    c->live--;
    loop_timer_cancel(sip_loop(c->proxy->sip), &b->timer_c);
    /* After a final response the step has nothing more to say. */
    event(c, b, why == ERR_OK || why == ERR_TIMEOUT ? STEP_EV_TIMEOUT : STEP_EV_UNREACHABLE, NULL);
    leave(c);
}

static void on_timer_c(struct timer *t, void *arg)
{
    (void)t;
    struct branch *b = arg;
    struct context *c = b->ctx;
    enter(c);
    event(c, b, STEP_EV_TIMER_C, NULL); /* §16.8 */
    leave(c);
}

static void on_cancel(void *arg, struct rx *cancel)
{
    (void)cancel;
    struct context *c = arg;
    enter(c);
    event(c, NULL, STEP_EV_CANCEL, NULL); /* §16.10 */
    leave(c);
}

static void on_server_gone(void *arg, enum err why)
{
    struct context *c = arg;
    enter(c);
    c->server = NULL;
    /* The caller cannot be reached any more: nobody would take an answer. */
    if (why != ERR_OK && c->step.sent == 0)
        event(c, NULL, STEP_EV_CANCEL, NULL);
    leave(c);
}

static const struct stxn_handler server_handler = {.on_cancel = on_cancel,
                                                   .on_gone = on_server_gone};
static const struct ctxn_handler branch_handler = {.on_response = on_response,
                                                   .on_gone = on_branch_gone};

/* ---- downstream ---- */

static enum err build(struct proxy *p, struct rx *rx, const struct proxy_route *route,
                      const struct proxy_target *t, bool record_route, unsigned breadth,
                      struct block **ret_block)
{
    struct flow out;
    TRY(sip_flow_for(p->sip, &t->dest, &out));
    struct block *block = sip_block(p->sip, rx->msg.text.n + REQUEST_ROOM);
    if (!block)
        return ERR_NOMEM;
    struct buf b;
    buf_init(&b, block->p, block->cap);
    enum err rc = proxy_build(p, rx, route, t, &out, rx->slot, record_route, breadth, &b);
    if (rc) {
        block_unref(block);
        return rc;
    }
    block->n = (uint32_t)b.n;
    *ret_block = block;
    return ERR_OK;
}

static enum err start_branch(struct context *c, unsigned i, const struct proxy_request *r,
                             unsigned breadth)
{
    struct proxy *p = c->proxy;
    struct branch *b = &c->branch[i];
    struct block *block;
    TRY(build(p, c->rx, r->route, &r->targets[i], r->record_route, breadth, &block));
    b->dest = r->targets[i].dest;
    enum err rc = ctxn_new(p->sip, &b->dest, block, c->rx->slot, &branch_handler, b, &b->txn);
    block_unref(block);
    TRY(rc);
    c->live++;
    if (c->step.invite)
        loop_timer(sip_loop(p->sip), &b->timer_c, p->set->ringing); /* §16.6 step 11 */
    return ERR_OK;
}

static struct context *context_new(struct proxy *p, const struct proxy_request *r, unsigned n)
{
    struct context *c = MEM_NEW(struct context);
    struct branch *branches = mem_calloc(n, sizeof(*branches));
    if (!c || !branches) {
        mem_free(c);
        mem_free(branches);
        return NULL;
    }
    c->proxy = p;
    c->server = r->server;
    c->rx = rx_ref(stxn_rx(r->server));
    c->upstream = sip_response_dest(c->rx);
    c->branch = branches;
    c->step.n = n;
    c->step.invite = c->rx->msg.method == SIP_INVITE;
    c->watch = r->watch;
    c->watch_arg = r->watch_arg;
    for (unsigned i = 0; i < n; i++) {
        branches[i].ctx = c;
        timer_init(&branches[i].timer_c, on_timer_c, &branches[i]);
    }
    list_push(&p->contexts, &c->by_proxy);
    p->count++;
    return c;
}

void proxy_forward(struct proxy *p, const struct proxy_request *r)
{
    struct loop *l = sip_loop(p->sip);
    unsigned breadth = p->set->breadth,
             n = r->n < PROXY_TARGETS_MAX ? (unsigned)r->n : PROXY_TARGETS_MAX;
    unsigned most = breadth < PROXY_TARGETS_MAX ? breadth : PROXY_TARGETS_MAX;
    uint32_t asked;
    if (n > most) {
        stat_refuse(&l->stats, STAT_LIMIT_BRANCHES);
        n = most;
    }
    struct context *c = context_new(p, r, n);
    if (!c) {
        struct sip_reply reply = {.status = 503, .headers = SV("Retry-After: 5\r\n")};
        if (stxn_reply(r->server, &reply) == ERR_OK && r->watch && r->watch->on_response)
            r->watch->on_response(r->watch_arg, NULL, 503, NULL);
        stxn_drop(r->server);
        if (r->watch && r->watch->on_gone)
            r->watch->on_gone(r->watch_arg);
        return;
    }
    enter(c);
    stxn_handle(c->server, &server_handler, c);
    /* RFC 5393 §5.3.3: the branches share the breadth that came; too little of it is a 440
     * (D14). */
    if (sipmsg_number(&c->rx->msg, SIP_H_MAX_BREADTH, &asked) == ERR_OK && asked < breadth)
        breadth = asked;
    bool enough = breadth >= n;
    for (unsigned i = 0; i < n; i++) {
        unsigned share = enough ? breadth / n + (i < breadth % n ? 1 : 0) : 0;
        if (!enough)
            event(c, &c->branch[i], STEP_EV_BREADTH, NULL);
        else if (start_branch(c, i, r, share) != ERR_OK)
            event(c, &c->branch[i], STEP_EV_UNREACHABLE, NULL);
    }
    leave(c);
}

void proxy_relay(struct proxy *p, struct rx *rx, const struct proxy_route *route,
                 const struct proxy_target *t)
{
    struct block *block;
    if (build(p, rx, route, t, false, 0, &block) != ERR_OK)
        return;
    /* An ACK that gets lost is asked for again by the 2xx that is repeated. */
    enum err rc = sip_send(p->sip, &t->dest, block, NULL);
    (void)rc;
    block_unref(block);
}
