/* SPDX-License-Identifier: MIT */
/* Session descriptions that a watcher exchanges on their way (proxy.h). A context without one comes by
 * here never. */
#include "proxy/proxy_priv.h"

/* What a message gains besides the text: Content-Length and Content-Type, which it may have lacked. */
enum { LINES_ROOM = 128, WARNING_MAX = 1024 };

void body_edit(struct sipedit *e, const struct exchange *x)
{
    if (x->was.text.p)
        sipedit_description(e, &x->was, x->description);
    else
        sipedit_body(e, x->type, x->description);
}

size_t body_room(const struct exchange *x)
{
    return x->description.n + x->type.n + LINES_ROOM;
}

/* False: there is nothing to exchange it for, and no place to put it. */
static bool exchange_of(struct exchange *x, const struct sipmsg *m, const struct proxy_body_new *to)
{
    x->description = to->description;
    x->type = to->type.p ? to->type : SV("application/sdp");
    if (!x->was.text.p && x->was.why && to->description.n == 0) {
        x->type = SV_NONE; /* one that cannot be told from the rest takes the rest with it */
        return true;
    }
    return x->was.text.p || (sipmsg_body(m).n == 0 && to->description.n > 0);
}

bool body_exchange(struct exchange *x, const struct sipmsg *m, sv description)
{
    struct proxy_body_new to = {.description = description};
    sipmsg_description(m, &x->was);
    return exchange_of(x, m, &to);
}

/* ---- downstream ---- */

/* The Warning, if it fits. */
static sv warning_line(struct context *c, const struct proxy_body_new *why)
{
    char mem[WARNING_MAX];
    struct buf b;
    sv line = SV_NONE;
    if (!why->warning)
        return SV_NONE;
    buf_init(&b, mem, sizeof(mem));
    sip_put_warning(c->proxy->sip, &b, &c->rx->flow, why->warning, why->warning_text);
    return b.rc || sv_dup(&c->rx->arena, buf_sv(&b), &line) ? SV_NONE : line;
}

/* Its texts are the request's. NULL: no memory. */
static const struct refusal *refusal_new(struct context *c, const struct proxy_body_new *why)
{
    struct arena *a = &c->rx->arena;
    struct refusal *r = ARENA_NEW(a, struct refusal);
    if (!r)
        return NULL;
    r->why.status = why->status >= 400 && why->status <= 599 ? why->status : 500;
    r->why.warning = why->warning;
    r->warning = warning_line(c, why);
    if ((why->reason.n && sv_dup(a, why->reason, &r->why.reason)) ||
        (why->warning && sv_dup(a, why->warning_text, &r->why.warning_text)))
        return NULL;
    return r;
}

void body_refused(struct branch *b, const struct proxy_body_new *why)
{
    b->refusal = refusal_new(b->ctx, why);
}

void body_told(struct context *c, struct rx *rx, const struct proxy_body_new *why)
{
    if (c->bodies && c->bodies->on_told)
        c->bodies->on_told(c->bodies_arg, rx, why);
}

const struct refusal *body_begin(struct context *c)
{
    struct sip_description was;
    struct proxy_body_new to = {.status = 500};
    if (!c->bodies || !c->bodies->on_begin || !c->step.invite)
        return NULL;
    sipmsg_description(&c->rx->msg, &was);
    struct proxy_passing m = {
        .rx = c->rx, .description = was.text, .why = was.why, .arena = &c->rx->arena};
    if (c->bodies->on_begin(c->bodies_arg, &m, &to) != PROXY_BODY_REFUSE)
        return NULL;
    return refusal_new(c, &to);
}

static void refuse(struct branch *b, const struct proxy_body_new *why)
{
    struct context *c = b->ctx;
    body_refused(b, why);
    context_event(c, b, STEP_EV_REFUSED, NULL,
                  why->status >= 400 && why->status <= 599 ? why->status : 500);
    if (branch_step(b)->phase == STEP_FINAL)
        branch_stop(b);
}

bool body_request(struct branch *b)
{
    struct context *c = b->ctx;
    struct arena *a = &c->rx->arena;
    struct exchange *x = ARENA_NEW(a, struct exchange);
    struct proxy_body_new to = {.status = 500};
    enum proxy_body answer = PROXY_BODY_PASS;
    b->exchange = NULL;
    if (!x) {
        refuse(b, &to);
        return false;
    }
    if (!c->bodies->on_request)
        return true;
    sipmsg_description(&c->rx->msg, &x->was);
    struct proxy_passing m = {.rx = c->rx,
                              .description = x->was.text,
                              .why = x->was.why,
                              .target = b->target,
                              .dest = &b->server[b->next],
                              .arena = a};
    answer = c->bodies->on_request(c->bodies_arg, &b->leg, &m, &to);
    if (answer == PROXY_BODY_REPLACE && to.description.n > PROXY_DESCRIPTION_MAX) {
        to = (struct proxy_body_new){.status = 513};
        answer = PROXY_BODY_REFUSE;
    }
    if (answer == PROXY_BODY_REPLACE && exchange_of(x, &c->rx->msg, &to))
        b->exchange = x;
    if (answer == PROXY_BODY_REFUSE)
        refuse(b, &to);
    const struct sip_cseq *cseq;
    if (to.raise && sipmsg_cseq(&c->rx->msg, &cseq) == ERR_OK) {
        b->raise = to.raise;
        b->cseq = cseq->number;
    }
    return answer != PROXY_BODY_REFUSE;
}

bool body_again(struct branch *b, const struct rx *rx)
{
    struct context *c = b->ctx;
    return c->bodies && c->bodies->on_refused && b->leg && b->again < PROXY_AGAIN_MAX &&
           !branch_step(b)->cancelled && !c->step.cancelled && b->server &&
           c->bodies->on_refused(c->bodies_arg, &b->leg, rx->msg.status);
}

/* ---- upstream ---- */

/* The caller's own number, whatever the callee was told. */
static void edit_cseq(const struct branch *b, struct rx *rx, struct sipedit *e)
{
    const struct sip_cseq *cseq;
    char mem[64];
    struct buf text;
    sv line;
    buf_init(&text, mem, sizeof(mem));
    if (!b->cseq || sipmsg_cseq(&rx->msg, &cseq))
        return;
    buf_u64(&text, b->cseq);
    buf_char(&text, ' ');
    buf_put(&text, cseq->method_text);
    if (!text.rc && sv_dup(&rx->arena, buf_sv(&text), &line) == ERR_OK)
        sipedit_value(e, rx->msg.first[SIP_H_CSEQ], line);
}

static void judge(struct branch *b, struct rx *rx, uint16_t status, struct judged *ret)
{
    struct context *c = b->ctx;
    *ret = (struct judged){.act = PROXY_BODY_PASS};
    sipmsg_description(&rx->msg, &ret->was);
    if (!c->bodies->on_response)
        return;
    struct proxy_passing m = {.rx = rx,
                              .description = ret->was.text,
                              .why = ret->was.why,
                              .status = status,
                              .dest = &b->dest,
                              .arena = &rx->arena};
    ret->act = c->bodies->on_response(c->bodies_arg, &b->leg, &m, &ret->to);
}

bool body_fits(struct branch *b, struct rx *rx, const struct judged **ret_told)
{
    struct judged *told = ARENA_NEW(&rx->arena, struct judged);
    if (!told)
        return true; /* asked later */
    judge(b, rx, rx->msg.status, told);
    b->judged = told;
    *ret_told = told;
    return told->act != PROXY_BODY_REFUSE;
}

static size_t add_warning(struct sipedit *e, sv line)
{
    if (!line.n)
        return 0;
    sipedit_line_last(e, sv_sub(line, 0, line.n - 2)); /* without CRLF */
    return line.n;
}

size_t body_response(struct branch *b, struct rx *rx, uint16_t status, struct sipedit *e,
                     sv *ret_warning)
{
    struct judged now;
    const struct judged *told = b->judged ? b->judged : &now;
    struct proxy_body_new to;
    struct exchange x;
    edit_cseq(b, rx, e);
    if (!b->judged)
        judge(b, rx, status, &now);
    to = told->to;
    x.was = told->was;
    *ret_warning = SV_NONE;
    if (told->act == PROXY_BODY_PASS && status >= 300)
        *ret_warning = warning_line(b->ctx, &to);
    if (told->act == PROXY_BODY_PASS)
        return add_warning(e, *ret_warning);
    if (told->act == PROXY_BODY_REFUSE)
        body_told(b->ctx, rx, &to);
    if (told->act == PROXY_BODY_REFUSE || to.description.n > PROXY_DESCRIPTION_MAX)
        to.description = SV_NONE;
    if (!exchange_of(&x, &rx->msg, &to))
        return 0;
    body_edit(e, &x);
    return body_room(&x);
}

/* ---- the end ---- */

/* A 2xx may still come, or come again. */
static bool may_answer(const struct branch *b)
{
    if (b->ctx->step.branch[b->index].phase != STEP_FINAL)
        return true;
    LIST_EACH (a, &b->attempts, struct attempt, by_branch) {
        if (!a->done && b->ctx->step.invite)
            return true;
    }
    return false;
}

void bodies_end(struct context *c, bool all)
{
    for (unsigned i = 0; i < c->step.n; i++) {
        struct branch *b = c->branch[i];
        void *leg = b->leg;
        if (!leg || (!all && may_answer(b)))
            continue;
        b->leg = NULL;
        if (c->bodies->on_leg_gone)
            c->bodies->on_leg_gone(c->bodies_arg, leg);
    }
}

void bodies_leave(struct context *c)
{
    if (!c->bodies || !proxy_all_final(&c->step))
        return;
    for (unsigned i = 0; i < c->step.n; i++) {
        if (c->branch[i]->leg)
            return;
    }
    if (c->bodies->on_gone)
        c->bodies->on_gone(c->bodies_arg);
    c->bodies = NULL;
}
