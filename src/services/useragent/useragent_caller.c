/* SPDX-License-Identifier: MIT */
/* Calls that we make: RFC 3261 §13.2, §9.1, §15. */
#include "useragent/useragent_priv.h"

enum { TARGET_MAX = 2048 };

static void learn_early(struct useragent_call *c, struct rx *rx, sv tag)
{
    /* Without memory, or over the cap, the 2xx makes the dialog. */
    if (tag.p && !dialog_find(c, tag))
        (void)dialog_new(c, rx);
}

/* The call stands; or, when there is one already or the user gave up, it is torn down at once
 * (§13.2.2.4, §9.1). */
static void confirmed(struct useragent_call *c, struct dialog *d, struct rx *rx)
{
    struct useragent *ua = c->ua;
    bool first = !c->dialog;
    loop_timer_cancel(ua->loop, &c->ringing);
    if (first) {
        c->dialog = d;
        c->status = rx->msg.status;
    }
    if (first && d->over) {
        /* His BYE overtook the 2xx. */
        useragent_finish(c, USERAGENT_BY_PEER, c->status);
        return;
    }
    if (!first || c->hangup || c->phase == PHASE_ENDED) {
        dialog_bye(d);
        return;
    }
    c->phase = PHASE_UP;
    if (ua->h->on_answered)
        ua->h->on_answered(ua->arg, c, sipmsg_body(&rx->msg));
}

static void on_2xx(struct useragent_call *c, struct rx *rx)
{
    const struct sip_addr *to;
    struct dialog *d = NULL;
    if (sipmsg_to(&rx->msg, &to) == ERR_OK) {
        d = dialog_find(c, to->tag);
        if (d && d->confirmed) {
            request_ack(d); /* each repetition of the 2xx is answered by the same ACK */
            return;
        }
        if (d && !dialog_learn(d, rx))
            d = NULL;
        else if (!d)
            d = dialog_new(c, rx);
    }
    /* A 2xx that makes no dialog cannot be acknowledged: its sender will give up (§13.3.1.4). */
    if (!d || !d->remote_target.p) {
        if (!c->dialog)
            useragent_finish(c, USERAGENT_LOST, rx->msg.status);
        return;
    }
    d->confirmed = true;
    request_ack(d);
    confirmed(c, d, rx);
}

static void on_response(struct request *r, struct rx *rx, uint16_t status)
{
    struct useragent_call *c = r->call;
    struct useragent *ua = c->ua;
    const struct sip_addr *to;
    if (status < 200) {
        if (status == 100 || c->phase != PHASE_CALLING || sipmsg_to(&rx->msg, &to))
            return;
        learn_early(c, rx, to->tag);
        if (ua->h->on_provisional)
            ua->h->on_provisional(ua->arg, c, status);
        return;
    }
    if (status < 300) {
        on_2xx(c, rx);
        return;
    }
    useragent_finish(c,
                     c->hangup ? USERAGENT_CANCELLED
                     : rx      ? USERAGENT_REFUSED
                               : USERAGENT_LOST,
                     status);
}

/* No further 2xx can come. */
static void on_gone(struct request *r)
{
    useragent_settle(r->call);
}

/* §13.2.1 has the caller decide how long it rings. */
static void on_ringing(struct timer *t, void *arg)
{
    (void)t;
    useragent_hangup(arg);
}

enum err useragent_call(struct useragent *ua, sv target, sv sdp, void *arg,
                        struct useragent_call **ret_call)
{
    char mem[TARGET_MAX + 2], id[2 * TAG_LEN];
    struct buf b, call_id;
    struct uri u;
    if (ua->active >= ua->c.calls || ua->closing)
        return ERR_BUSY;
    TRY(uri_parse(target, &u, NULL));
    buf_init(&b, mem, sizeof(mem));
    buf_char(&b, '<');
    buf_put(&b, target);
    buf_char(&b, '>');
    TRY(b.rc);
    buf_init(&call_id, id, sizeof(id));
    useragent_put_tag(ua, &call_id);
    useragent_put_tag(ua, &call_id);
    struct useragent_call *c = useragent_call_new(ua, buf_sv(&call_id), true);
    if (!c)
        return ERR_NOMEM;
    c->arg = arg;
    c->invite = (struct request){
        .ua = ua, .method = SIP_INVITE, .call = c, .on_response = on_response, .on_gone = on_gone};
    timer_init(&c->ringing, on_ringing, c);
    enum err rc = ERR_NOMEM;
    if (useragent_set_text(&c->target, target) && useragent_set_text(&c->remote, buf_sv(&b)) &&
        useragent_set_text(&c->local_sdp, sdp))
        rc = request_send(&c->invite);
    if (rc) {
        c->told = true; /* it never was */
        useragent_finish(c, USERAGENT_LOST, 503);
        return rc;
    }
    loop_timer(ua->loop, &c->ringing, USERAGENT_RINGING);
    *ret_call = c;
    return ERR_OK;
}

void caller_hangup(struct useragent_call *c)
{
    if (c->phase == PHASE_CALLING) {
        loop_timer_cancel(c->ua->loop, &c->ringing);
        ctxn_cancel(c->invite.txn, SV_NONE);
    } else if (c->phase == PHASE_UP) {
        dialog_bye(c->dialog);
    }
}
