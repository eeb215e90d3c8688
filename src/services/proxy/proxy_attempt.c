/* SPDX-License-Identifier: MIT */
/* One server of a branch is asked: a client transaction, what it brings, and how long it may be silent.
 * One that was given up stays until it ends: its late 2xx is a fork's (RFC 3261 §16.7 step 10). */
#include "proxy/proxy_priv.h"
#include "str/scan.h"
#include "within/within.h"

/* In T1: how long a server may say nothing while others are left; the same for TCP that stands in for
 * UDP, where a connection is refused in no time or made in little. */
enum { SILENT_T1 = 8, TCP_T1 = 4, TIMER_F_T1 = 64 };

static usec t1(const struct proxy *p)
{
    return sip_config(p->sip)->t1;
}

static struct attempt *attempt_new(struct branch *b, const struct dest *d)
{
    struct attempt *a = b->only.branch ? mem_take(sizeof(*a)) : &b->only;
    if (a)
        *a = (struct attempt){.branch = b, .dest = *d};
    return a;
}

void attempt_free(struct attempt *a)
{
    struct branch *b = a->branch;
    if (b->current == a)
        b->current = NULL;
    list_unlink(&a->by_branch);
    if (a == &b->only)
        a->branch = NULL;
    else
        MEM_GIVE(a);
}

void attempts_free(struct branch *b)
{
    LIST_EACH_SAFE (a, &b->attempts, struct attempt, by_branch) {
        ctxn_drop(a->txn);
        attempt_free(a);
    }
}

bool attempts_echo(struct branch *b)
{
    struct context *c = b->ctx;
    LIST_EACH_SAFE (a, &b->attempts, struct attempt, by_branch) {
        if (!echo_new(c->proxy, &c->up, a->txn))
            return false;
        c->live--;
        attempt_free(a);
    }
    return true;
}

void branch_stop(struct branch *b)
{
    struct loop *l = sip_loop(b->ctx->proxy->sip);
    loop_timer_cancel(l, &b->timer_c);
    loop_timer_cancel(l, &b->silence);
}

/* ---- from the transactions ---- */

static bool seconds(sv text, usec *ret)
{
    struct scan s = scan_of(text);
    uint64_t n;
    if (scan_u64(&s, UINT32_MAX, &n))
        return false;
    *ret = (usec)n * USEC_S;
    return true;
}

/* What the memory of servers learns (RFC 3263 §4.3, RFC 3261 §21.5.4). */
void branch_remember(struct branch *b, const struct dest *d, bool works, usec retry_after)
{
    struct proxy *p = b->ctx->proxy;
    usec left = b->until - sip_loop(p->sip)->now;
    if (!b->located || !p->locate)
        return;
    if (works)
        locate_worked(p->locate, d);
    else
        locate_failed(p->locate, d, left > 0 ? left : 0, retry_after);
}

static void heard(struct attempt *a, struct rx *rx)
{
    struct branch *b = a->branch;
    struct proxy *p = b->ctx->proxy;
    const struct sip_via *via;
    usec after = 0;
    if (b->located && sipmsg_via(&rx->msg, &via) == ERR_OK)
        overload_heard(&p->peers, &a->dest.addr, via, sip_loop(p->sip)->now);
    if (a == b->current)
        loop_timer_cancel(sip_loop(b->ctx->proxy->sip), &b->silence);
    if (rx->msg.status == 503) {
        if (!seconds(sipmsg_value(&rx->msg, SIP_H_RETRY_AFTER), &after))
            after = 0;
        branch_remember(b, &a->dest, false, after);
    } else if (!a->heard) {
        branch_remember(b, &a->dest, true, 0);
    }
    a->heard = true;
}

/* Its dialog can be known here: as proxy_validate says of requests. */
static bool has_fit_tag(struct rx *rx)
{
    const struct sip_addr *to;
    return sipmsg_to(&rx->msg, &to) == ERR_OK && to->tag.n <= WITHIN_ID_MAX;
}

/* True: the 2xx must not go up. Its branch has ended, or there is nothing to tell its sender with: it comes again. */
static bool unfit(struct attempt *a, struct rx *rx)
{
    static const struct judged unknowable = {.act = PROXY_BODY_REFUSE, .to = {.status = 502}};
    struct branch *b = a->branch;
    struct context *c = b->ctx;
    const struct judged *told = &unknowable;
    bool is_current = a == b->current, fit = !c->step.invite || has_fit_tag(rx);
    if (!c->step.invite || c->step.sent / 100 == 2)
        return !fit;
    if (fit && (!c->bodies || body_fits(b, rx, &told)))
        return false;
    if (!unfit_new(a, rx, told))
        return !fit;
    b->judged = NULL;
    if (is_current) {
        uint16_t status = told->to.status;
        branch_stop(b);
        body_refused(b, &told->to);
        context_event(c, b, STEP_EV_UNFIT, NULL, status >= 400 && status <= 599 ? status : 500);
    }
    return true;
}

static void on_final(struct attempt *a, struct rx *rx)
{
    struct branch *b = a->branch;
    struct context *c = b->ctx;
    bool is_current = a == b->current;
    a->done = rx->msg.status >= 300;
    if (rx->msg.status < 300) {
        b->dest = a->dest;
        if (unfit(a, rx))
            return;
        if (is_current)
            branch_stop(b);
        context_event(c, b, is_current ? STEP_EV_SUCCESS : STEP_EV_LATE, rx, 0);
        b->judged = NULL;
        return;
    }
    if (!is_current)
        return; /* it was given up */
    if (body_again(b, rx)) {
        b->current = NULL;
        branch_again(b);
        return;
    }
    bool follow = redirect_wanted(b, rx);
    loop_timer_cancel(sip_loop(c->proxy->sip), &b->silence);
    b->dest = a->dest;
    b->current = NULL; /* what remains of it only absorbs */
    rx_unref(b->final);
    b->final = rx_ref(rx);
    context_event(c, b, follow ? STEP_EV_REDIRECT : STEP_EV_FAILURE, rx, 0);
    if (branch_step(b)->phase == STEP_FINAL)
        branch_stop(b);
}

static void on_response(void *arg, struct rx *rx)
{
    struct attempt *a = arg;
    struct branch *b = a->branch;
    struct context *c = b->ctx;
    const struct sip_via *vias;
    size_t vias_n;
    context_enter(c);
    heard(a, rx);
    /* §16.7 step 3: a response whose only Via is ours was for us: nothing of ours asks for one
     * here. */
    if (!sipmsg_vias(&rx->msg, &vias, &vias_n) && vias_n > 1) {
        if (rx->msg.status >= 200) {
            on_final(a, rx);
        } else if (rx->msg.status > 100 && a == b->current &&
                   (!c->step.invite || has_fit_tag(rx))) {
            /* §16.7 step 5: a 100 is of this hop only; Timer C runs on */
            b->dest = a->dest;
            context_event(c, b, STEP_EV_PROVISIONAL, rx, 0);
        }
    }
    context_leave(c);
}

static void on_attempt_gone(void *arg, enum err why)
{
    struct attempt *a = arg;
    struct branch *b = a->branch;
    struct context *c = b->ctx;
    bool is_current = a == b->current;
    context_enter(c);
    c->live--;
    if (is_current) {
        loop_timer_cancel(sip_loop(c->proxy->sip), &b->silence);
        bool lost = why != ERR_OK && why != ERR_TIMEOUT;
        b->why = why == ERR_OK ? ERR_TIMEOUT : why;
        if (!a->heard || lost)
            branch_remember(b, &a->dest, false, 0);
        /* After a final response the step has nothing more to say. */
        context_event(c, b, lost ? STEP_EV_UNREACHABLE : STEP_EV_TIMEOUT, NULL,
                      lost && b->target && b->target->flow_only ? 430 : 0);
        if (branch_step(b)->phase == STEP_FINAL)
            branch_stop(b);
    }
    attempt_free(a);
    context_leave(c);
}

static const struct ctxn_handler attempt_handler = {.on_response = on_response,
                                                    .on_gone = on_attempt_gone};

void branch_silence(struct timer *t, void *arg)
{
    (void)t;
    struct branch *b = arg;
    struct context *c = b->ctx;
    context_enter(c);
    b->why = ERR_TIMEOUT;
    if (b->current && !b->current->heard)
        branch_remember(b, &b->current->dest, false, 0);
    context_event(c, b, STEP_EV_SILENT, NULL, 0);
    if (branch_step(b)->phase == STEP_FINAL && b->current) {
        struct attempt *a = b->current;
        b->current = NULL;
        branch_stop(b);
        ctxn_give_up(a->txn);
    }
    context_leave(c);
}

/* How many have a share of the time that is left: servers of this branch, other flows of its phone, and
 * ranks that wait. */
static unsigned to_come(const struct branch *b)
{
    const struct step_context *s = &b->ctx->step;
    unsigned n = b->servers - b->next;
    for (const struct alternative *a = b->alternatives; a; a = a->next)
        n++;
    for (unsigned i = 0; i < s->n; i++) {
        bool first = s->branch[i].phase == STEP_WAITING;
        for (unsigned k = 0; first && k < i; k++)
            first = s->branch[k].phase != STEP_WAITING || s->branch[k].rank != s->branch[i].rank;
        n += first;
    }
    return n ? n : 1;
}

/* The INVITE's last server has Timer B; the last of another request what the caller's Timer F
 * leaves: all of it is our own one's. */
static void arm_silence(struct branch *b)
{
    struct context *c = b->ctx;
    struct proxy *p = c->proxy;
    struct loop *l = sip_loop(p->sip);
    usec most = (b->tcp ? TCP_T1 : SILENT_T1) * t1(p);
    if (c->step.invite) {
        if (branch_step(b)->more || branch_step(b)->other)
            loop_timer(l, &b->silence, most);
        return;
    }
    usec all = TIMER_F_T1 * t1(p), left = c->rx->at + all - l->now;
    unsigned n = to_come(b) + (b->tcp ? 1 : 0);
    if (n == 1 && left >= all)
        return;
    left = left > 0 ? left / n : 0;
    loop_timer(l, &b->silence, n > 1 && left > most ? most : left);
}

enum err branch_ask(struct branch *b, const struct outgoing *o, struct block *octets)
{
    const struct dest *d = o->dest;
    struct context *c = b->ctx;
    struct proxy *p = c->proxy;
    struct attempt *a = attempt_new(b, d);
    if (!a)
        return ERR_NOMEM;
    enum err rc = ctxn_new(p->sip, d, octets, o->ret_key, &attempt_handler, a, &a->txn);
    if (rc) {
        attempt_free(a);
        return rc;
    }
    list_push(&b->attempts, &a->by_branch);
    b->current = a;
    b->dest = *d;
    c->live++;
    if (!b->began) {
        b->began = sip_loop(p->sip)->now;
        if (c->step.invite)
            loop_timer(sip_loop(p->sip), &b->timer_c, p->set->ringing); /* §16.6 step 11 */
    }
    arm_silence(b);
    return ERR_OK;
}
