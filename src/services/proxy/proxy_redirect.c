/* SPDX-License-Identifier: MIT */
/* Redirections that are followed: RFC 3261 §16.7 step 4. The watcher says where they may lead; what
 * was asked in this context already is not asked again (§16.5), so that a loop ends. */
#include "proxy/proxy_priv.h"

struct proxy_redirect {
    struct branch *branch; /* NULL: it has ended */
};

/* RFC 5630 §5.3: between sip and sips nobody is led but by his own phone. */
static bool schemes_agree(const struct context *c, struct rx *rx)
{
    const struct sip_addr *contacts;
    size_t n;
    if (sipmsg_addrs(&rx->msg, SIP_H_CONTACT, &contacts, &n))
        return false;
    for (size_t i = 0; i < n; i++) {
        if ((contacts[i].uri.scheme == URI_SIPS) != c->plan->secure)
            return false;
    }
    return n > 0;
}

bool redirect_wanted(const struct branch *b, struct rx *rx)
{
    const struct proxy_watch *w = b->ctx->watch;
    uint16_t status = rx->msg.status;
    /* 305 and 380 are for the caller: they ask for more than another address. */
    return status >= 300 && status <= 302 && w && w->on_redirect && b->target &&
           b->redirects < PROXY_REDIRECTS && b->ctx->step.n < PROXY_TARGETS_MAX &&
           schemes_agree(b->ctx, rx);
}

void redirect_forget(struct proxy_redirect *redirect)
{
    if (redirect)
        redirect->branch = NULL;
}

/* It is the branch's final response after all; of a target that was held, nobody is there. */
static void refuse(struct branch *b)
{
    if (b->target && b->target->held) {
        context_event(b->ctx, b, STEP_EV_UNREACHABLE, NULL, 480);
        return;
    }
    context_event(b->ctx, b, STEP_EV_FAILURE, b->final, 0);
}

/* NULL: no memory, the branch has ended. */
static struct proxy_redirect *redirect_new(struct branch *b)
{
    struct proxy_redirect *redirect = MEM_TAKE(struct proxy_redirect);
    if (!redirect) {
        refuse(b);
        return NULL;
    }
    redirect->branch = b;
    b->redirect = redirect;
    return redirect;
}

void redirect_hold(struct branch *b)
{
    struct context *c = b->ctx;
    struct proxy_redirect *held = redirect_new(b);
    if (held)
        c->watch->on_held(c->watch_arg, held, b->target);
}

void redirect_ask(struct branch *b)
{
    struct context *c = b->ctx;
    struct proxy_redirect *redirect = redirect_new(b);
    if (!redirect)
        return;
    loop_timer_cancel(sip_loop(c->proxy->sip), &b->timer_c); /* nobody rings */
    c->watch->on_redirect(c->watch_arg, redirect, b->target, b->final);
}

bool branch_tried(const struct context *c, const struct proxy_target *t)
{
    struct uri a;
    if (!t->uri.p || c->step.n == 0 || uri_parse(t->uri, &a, NULL))
        return false;
    for (unsigned i = 0; i < c->step.n; i++) {
        const struct branch *other = c->branch[i];
        if (other->target->held)
            continue;
        bool same = t->dest.flow.transport == SIP_T_NONE ||
                    flow_equal(&other->target->dest.flow, &t->dest.flow);
        if (same && uri_equal(&a, other->uri))
            return true;
    }
    return false;
}

/* The watcher's texts end with his call. */
static enum err own_texts(struct context *c, struct proxy_target *t)
{
    struct arena *a = &c->rx->arena;
    t->parsed = NULL;
    if (t->uri.p)
        TRY(sv_dup(a, t->uri, &t->uri));
    if (t->path.p)
        TRY(sv_dup(a, t->path, &t->path));
    return t->account.p ? sv_dup(a, t->account, &t->account) : ERR_OK;
}

/* Adds what was not tried yet; the mask of the new ones of the highest rank. */
static uint32_t add(struct branch *b, const struct proxy_target *targets, size_t n)
{
    struct context *c = b->ctx;
    struct branch *next = NULL;
    unsigned before = c->step.n;
    int top = -1;
    uint32_t mask = 0;
    for (size_t i = 0; i < n; i++) {
        struct proxy_target t = targets[i];
        bool other_way = t.alternative && next;
        if (!other_way && (t.held || branch_tried(c, &t))) {
            next = NULL;
            continue;
        }
        bool owned = own_texts(c, &t) == ERR_OK;
        if (other_way && owned && branch_alternative(next, &t) == ERR_OK)
            continue;
        next = owned && !other_way ? branch_new(c, &t) : NULL;
        if (!next) {
            stat_refuse(&sip_loop(c->proxy->sip)->stats, STAT_LIMIT_BRANCHES);
            break;
        }
        next->redirects = b->redirects + 1;
        if (t.rank > top)
            top = t.rank;
    }
    for (unsigned i = before; i < c->step.n; i++) {
        if (c->step.branch[i].rank == top)
            mask |= UINT32_C(1) << i;
    }
    return mask;
}

void proxy_redirected(struct proxy_redirect *redirect, const struct proxy_target *targets, size_t n)
{
    struct branch *b = redirect->branch;
    MEM_GIVE(redirect);
    if (!b)
        return;
    struct context *c = b->ctx;
    b->redirect = NULL;
    context_enter(c);
    uint32_t mask = add(b, targets, n);
    if (mask) {
        for (unsigned i = 0; i < c->step.n; i++) {
            if (mask >> i & 1)
                c->step.branch[i].phase = STEP_TRYING;
        }
        b->share = 0; /* it goes to those that come */
        context_event(c, b, STEP_EV_GAVE_WAY, NULL, 0);
        context_begin(c, mask);
    } else {
        refuse(b);
    }
    context_leave(c);
}
