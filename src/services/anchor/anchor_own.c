/* SPDX-License-Identifier: MIT */
/* Requests of ours within a dialog that passes by us, and how it ends by us. Each side takes them for the other one's
 * (RFC 3261 §12.2.1.1): they carry its From, and the next number behind those that it has seen. */
#include "anchor/anchor_priv.h"
#include "log/log.h"

/* A phone whose address changed checks anew from there, or offers again, within LOST_WAIT. */
#define LOST_WAIT (30 * USEC_S)
#define KEY_WAIT  (2 * USEC_S)
/* RFC 3261 §8.1.1.5: numbers are below 2^31. So many of them are ours. */
enum { CSEQ_LAST = INT32_MAX, CSEQ_OURS = 1 << 24 };
/* The refusal of what it asked for goes before. */
#define UNFIT_WAIT (100 * USEC_MS)

/* ---- what is known of a side ---- */

void reach_done(struct reach *r)
{
    text_done(&r->party);
    text_done(&r->target);
    text_done(&r->routes);
}

/* Its name and the way to it are of the dialog's beginning, for good (§12.2.1.1). */
static enum err learn(struct dialog *d, struct reach *r, struct sipmsg *m)
{
    char mem[WITHIN_ROUTES_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    if (m->request)
        d->upstream = (uint16_t)sipmsg_count(m, SIP_H_RECORD_ROUTE);
    within_routes(d->anchor->sip, m, d->upstream, &b);
    TRY(b.rc);
    TRY(text_set(&r->routes, buf_sv(&b)));
    return text_set(&r->party, sipmsg_value(m, m->request ? SIP_H_FROM : SIP_H_TO));
}

void reach_heard(struct dialog *d, unsigned side, struct rx *rx, const struct dest *via)
{
    struct reach *r = &d->reach[side];
    struct sipmsg *m = &rx->msg;
    const struct sip_cseq *cseq;
    enum err rc = r->party.n > 0 ? ERR_OK : learn(d, r, m);
    if (sipmsg_cseq(m, &cseq) || (cseq->method != SIP_INVITE && cseq->method != SIP_UPDATE))
        return;
    sv target = within_target(m);
    if (!rc && target.n > 0 && !sv_eq(target, text_sv(&r->target)))
        rc = text_set(&r->target, target);
    r->dest = within_dest(d->anchor->sip, m, &rx->flow, via, r->routes.n > 0);
    if (rc)
        LOG_WARN("anchor", "memory", F_ERR(rc));
}

/* Who begins, or goes on, where nothing is left behind is the next one for the other side (§12.2.1.1 asks for an order, and
 * for room that he has not left). Where no request is ever ours his numbers are as good as any. */
bool reach_number(struct dialog *d, unsigned side, uint32_t cseq)
{
    struct reach *r = &d->reach[side];
    if (d->direct && r->raise == 0)
        return true;
    if (cseq + r->raise > CSEQ_LAST - CSEQ_OURS) {
        if (cseq < r->said)
            return false;
        r->raise = r->seen + 1 - cseq;
    }
    r->said = cseq > r->said ? cseq : r->said;
    return true;
}

void reach_counts(struct dialog *d, unsigned side, uint32_t number)
{
    struct reach *r = &d->reach[side];
    r->seen = number > r->seen ? number : r->seen;
}

/* ---- requests of ours ---- */

enum err dialog_send(struct dialog *d, unsigned to, struct within_request *r,
                     const struct ctxn_handler *h, void *arg, struct ctxn **ret_txn)
{
    struct reach *there = &d->reach[to], *name = &d->reach[!to];
    if (!d->stands || d->ended || there->target.n == 0 || name->party.n == 0)
        return ERR_STATE;
    if (name->seen >= CSEQ_LAST)
        return ERR_RANGE;
    struct within_dialog w = {.call_id = text_sv(&d->call_id),
                              .local = text_sv(&name->party),
                              .remote = text_sv(&there->party),
                              .target = text_sv(&there->target),
                              .routes = text_sv(&there->routes),
                              .dest = &there->dest,
                              .slot = d->slot};
    r->cseq = ++name->seen;
    name->raise++; /* what it says next is behind ours */
    return within_send(d->anchor->sip, &w, r, h, arg, ret_txn);
}

/* ---- the end ---- */

static const char *const name[SIDES] = {"caller", "callee"};

void dialog_hang_up(struct dialog *d, unsigned whom, uint16_t cause, sv why, sv ended_by)
{
    struct anchor *a = d->anchor;
    char mem[WITHIN_REASON_MAX];
    struct buf reason;
    buf_init(&reason, mem, sizeof(mem));
    within_put_reason(&reason, cause, why);
    for (unsigned to = 0; to < SIDES; to++) {
        struct within_request bye = {.method = SIP_BYE,
                                     .headers = reason.rc ? SV_NONE : buf_sv(&reason)};
        enum err rc = whom >> to & 1 ? dialog_send(d, to, &bye, NULL, NULL, NULL) : ERR_OK;
        if (rc) /* it is over all the same (§15.1.1) */
            LOG_INFO("anchor", "media.bye", F_SV("call", text_sv(&d->call_id)),
                     F_STR("side", name[to]), F_ERR(rc));
    }
    if (a->ended)
        a->ended(a->ended_arg, text_sv(&d->call_id), text_sv(&d->tag[CALLER]),
                 text_sv(&d->tag[CALLEE]), ended_by, why);
    dialog_end(d);
}

void dialog_refused_bye(struct dialog *d, unsigned sender)
{
    static const char *const why[SIDES] = {"the caller has hung up", "the callee has hung up"};
    dialog_hang_up(d, 1u << !sender, 200, sv_of(why[sender]), sv_of(name[sender]));
}

/* ---- what has to be acknowledged ---- */

static bool has_acks(const struct dialog *d)
{
    const struct reach *r = d->reach;
    return r[CALLER].acked >= r[CALLER].answered && r[CALLEE].acked >= r[CALLEE].answered;
}

/* An ACK may bring the answer to what a 2xx offered (§13.2.2.4). */
static bool is_acknowledged(const struct dialog *d)
{
    return has_acks(d) && (d->session.generation == 0 || d->planned);
}

/* It is not begun anew by who offers again: what stands unacknowledged ends. */
void dialog_await_ack(struct dialog *d, unsigned side, uint32_t cseq)
{
    struct anchor *a = d->anchor;
    struct reach *r = &d->reach[side];
    r->answered = cseq + 1 > r->answered ? cseq + 1 : r->answered;
    if (d->session.generation && !d->ended && !is_acknowledged(d) && !timer_armed(&d->ack))
        loop_timer(a->loop, &d->ack, 64 * sip_config(a->sip)->t1);
}

void dialog_acked(struct dialog *d, unsigned side, uint32_t cseq)
{
    struct reach *r = &d->reach[side];
    r->acked = cseq + 1 > r->acked ? cseq + 1 : r->acked;
    if (is_acknowledged(d))
        loop_timer_cancel(d->anchor->loop, &d->ack);
}

/* The callee should say BYE itself (§13.3.1.4, §14.2); who does not would keep ports for good. */
void dialog_on_no_ack(struct timer *t, void *arg)
{
    struct dialog *d = arg;
    (void)t;
    if (d->direct || d->session.generation == 0 || is_acknowledged(d))
        return;
    dialog_hang_up(d, BOTH, 408, has_acks(d) ? SV("no answer to the offer") : SV("no ACK"),
                   SV("media"));
}

/* Something was lost with a side: is it still? */
void dialog_on_late(struct timer *t, void *arg)
{
    static const char *const why[][SIDES] = {
        [LOST_CONSENT] = {"the caller's media is gone: no consent",
                          "the callee's media is gone: no consent"},
        [LOST_KEYS] = {"no keys with the caller: DTLS failed",
                       "no keys with the callee: DTLS failed"},
        [LOST_AGREEMENT] = {"the callee's answer to the offer cannot be used",
                            "the caller's answer to the offer cannot be used"}};
    struct dialog *d = arg;
    struct anchor *a = d->anchor;
    usec heard;
    /* No BYE of ours: the way to its sides may not be known. */
    if (d->loss == LOST_SIGHT || d->direct) {
        dialog_end(d);
        return;
    }
    if (!d->stands) {
        loop_timer(a->loop, t, KEY_WAIT);
        return;
    }
    bool agreement = d->loss == LOST_AGREEMENT;
    if (!agreement &&
        (session_heard(a->sessions, d->session, d->lost, &heard) || heard > d->lost_at))
        return;
    dialog_hang_up(d, agreement ? 1u << d->lost : BOTH, d->loss == LOST_CONSENT ? 408 : 488,
                   sv_of(why[d->loss][d->lost]), SV("media"));
}

static void lose(struct dialog *d, unsigned side, unsigned what, usec wait)
{
    struct anchor *a = d->anchor;
    d->lost = side;
    d->loss = what;
    d->lost_at = loop_now(a->loop);
    loop_timer(a->loop, &d->late, wait);
}

void dialog_unfit(struct dialog *d, unsigned asker)
{
    lose(d, asker, LOST_AGREEMENT, UNFIT_WAIT);
}

void dialog_on_media(struct dialog *d, enum session_event e, unsigned side)
{
    switch (e) {
    case SESSION_SILENT: /* of one that rings only: nothing has to be heard yet; it is told again */
        if (d->stands)
            dialog_hang_up(d, BOTH, 408,
                           side == CALLER   ? SV("no media from the caller")
                           : side == CALLEE ? SV("no media from the callee")
                                            : SV("no media from either side"),
                           SV("media"));
        return;
    case SESSION_KEY_FAULT:
    case SESSION_LOST:
        if (d->anchor->set->media.silence > 0 && !timer_armed(&d->late))
            lose(d, side, e == SESSION_LOST ? LOST_CONSENT : LOST_KEYS,
                 e == SESSION_LOST ? LOST_WAIT : KEY_WAIT);
        return;
    case SESSION_SECURED:
    case SESSION_PLAYED:
        return;
    }
}

/* ---- the end of the server ---- */

struct leaving {
    size_t most, left;
    bool at_once;
};

static bool leave_each(struct hash_node *n, void *arg)
{
    struct dialog *d = CONTAINER(n, struct dialog, by_call_id);
    struct leaving *l = arg;
    if (!d->stands || d->session.generation == 0)
        return true;
    bool may = l->most > 0 && d->confirmed; /* §15: the callee says no BYE before it has the ACK */
    l->left += !may;
    if (!may && !l->at_once)
        return true;
    l->most -= may;
    dialog_hang_up(d, BOTH, 503, SV("the server ends"), SV("stop"));
    return true;
}

size_t anchor_hang_up(struct anchor *a, size_t *most)
{
    struct leaving l = {.most = most ? *most : 0, .at_once = !most};
    hash_walk(&a->dialogs, leave_each, &l);
    if (most)
        *most = l.most;
    return l.left;
}
