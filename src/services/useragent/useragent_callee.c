/* SPDX-License-Identifier: MIT */
/* Calls that come in: RFC 3261 §8.2, §13.3, §14.2, §15.1.2. */
#include "useragent/useragent_priv.h"

enum { HEADERS_MAX = 1024 };

static void on_cancel(void *arg, struct rx *cancel);
static void on_gone(void *arg, enum err why);

static const struct stxn_handler handler = {.on_cancel = on_cancel, .on_gone = on_gone};

static void refuse(struct useragent *ua, struct rx *rx, uint16_t status, sv headers)
{
    struct sip_reply r = {.status = status, .headers = headers};
    useragent_reply(ua, rx, &r);
}

/* A response of the call's server transaction. */
static enum err respond(struct useragent_call *c, uint16_t status)
{
    struct useragent *ua = c->ua;
    char mem[HEADERS_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    bool dialog = status < 300;
    if (dialog) {
        request_put_contact(ua, &b, &stxn_rx(c->server)->flow);
        buf_str(&b, "\r\n" USERAGENT_ALLOW);
    }
    TRY(b.rc);
    bool body = status >= 200 && dialog && c->local_sdp.n;
    struct sip_reply r = {
        .status = status,
        .to_tag = c->local_tag,
        .record_route = dialog, /* §12.1.1 */
        .headers = buf_sv(&b),
        .content_type = body ? SV("application/sdp") : SV_NONE,
        .body = body ? c->local_sdp : SV_NONE,
    };
    return stxn_reply(c->server, &r);
}

static void leave_server(struct useragent_call *c)
{
    stxn_drop(c->server);
    c->server = NULL;
}

/* §13.3.1.4: "The 2xx response is passed to the transport with an interval"; the transaction does.
 */
static enum err accept_it(struct useragent_call *c)
{
    TRY(respond(c, 200));
    stxn_repeat_2xx(c->server, true);
    return ERR_OK;
}

static void on_cancel(void *arg, struct rx *cancel)
{
    struct useragent_call *c = arg;
    (void)cancel;
    if (c->phase != PHASE_INCOMING) {
        /* A re-INVITE is answered at once: nothing is left to cancel. */
        return;
    }
    enum err rc = respond(c, 487);
    (void)rc; /* if it cannot be sent, the caller's transaction ends by itself (§9.1) */
    leave_server(c);
    useragent_finish(c, USERAGENT_CANCELLED, 487);
}

/* The INVITE's transaction has ended without an ACK, or its response cannot be delivered. */
static void on_gone(void *arg, enum err why)
{
    struct useragent_call *c = arg;
    c->server = NULL;
    if (c->ua->closing)
        return;
    if (c->phase == PHASE_INCOMING) {
        useragent_finish(c, USERAGENT_LOST, 503);
    } else if (why != ERR_OK && (c->phase == PHASE_ANSWERED || c->phase == PHASE_UP)) {
        c->no_ack = true;
        dialog_bye(c->dialog);
    }
    useragent_settle(c);
}

void callee_invite(struct useragent *ua, struct rx *rx)
{
    const struct sip_addr *from, *contact;
    const struct sip_cseq *cseq;
    size_t n;
    sv call_id;
    if (sipmsg_from(&rx->msg, &from) || sipmsg_call_id(&rx->msg, &call_id) ||
        sipmsg_cseq(&rx->msg, &cseq) || sipmsg_addrs(&rx->msg, SIP_H_CONTACT, &contact, &n) ||
        n != 1 || contact->star) {
        refuse(ua, rx, 400, SV_NONE); /* §8.1.1.8: exactly one Contact */
        return;
    }
    if (ua->active >= ua->c.calls) {
        refuse(ua, rx, 486, SV_NONE);
        return;
    }
    struct useragent_call *c = useragent_call_new(ua, call_id, false);
    char mem[2048];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_char(&b, '<');
    buf_put(&b, from->uri.text);
    buf_char(&b, '>');
    if (c && !b.rc && useragent_set_text(&c->remote, buf_sv(&b)) &&
        (c->dialog = dialog_new(c, rx)) != NULL &&
        stxn_new(ua->sip, rx, &handler, c, &c->server) == ERR_OK) {
        c->server_cseq = cseq->number;
        if (ua->h->on_incoming)
            ua->h->on_incoming(ua->arg, c, from->uri.text, sipmsg_body(&rx->msg));
        return;
    }
    refuse(ua, rx, b.rc ? 400 : 503, SV_NONE);
    if (c) {
        c->told = true; /* nobody has seen it */
        useragent_finish(c, USERAGENT_LOST, 503);
    }
}

/* §14.2: the session stays as it is: our description again. */
void callee_reinvite(struct dialog *d, struct rx *rx)
{
    struct useragent_call *c = d->call;
    const struct sip_cseq *cseq;
    if (d != c->dialog || c->phase != PHASE_UP || d->over) {
        refuse(c->ua, rx, c->server ? 500 : 481,
               c->server ? SV("Retry-After: 5\r\n") : SV_NONE); /* §14.2: one at a time */
        return;
    }
    if (c->server) {
        refuse(c->ua, rx, 500, SV("Retry-After: 5\r\n"));
        return;
    }
    if (sipmsg_cseq(&rx->msg, &cseq) ||
        stxn_new(c->ua->sip, rx, &handler, c, &c->server) != ERR_OK) {
        refuse(c->ua, rx, 503, SV_NONE);
        return;
    }
    dialog_refresh(d, rx);
    c->server_cseq = cseq->number;
    if (accept_it(c) != ERR_OK)
        leave_server(c);
}

void callee_ack(struct dialog *d, struct rx *rx)
{
    struct useragent_call *c = d->call;
    struct useragent *ua = c->ua;
    const struct sip_cseq *cseq;
    if (!c->server || !stxn_final(c->server) || sipmsg_cseq(&rx->msg, &cseq) ||
        cseq->number != c->server_cseq)
        return;
    leave_server(c);
    if (c->phase == PHASE_ANSWERED) {
        c->phase = PHASE_UP;
        d->confirmed = true;
        if (ua->h->on_confirmed && !c->hangup)
            ua->h->on_confirmed(ua->arg, c);
        if (c->hangup)
            dialog_bye(d); /* §15: not before the ACK */
    }
    useragent_settle(c);
}

void callee_bye(struct dialog *d, struct rx *rx)
{
    struct useragent_call *c = d->call;
    refuse(c->ua, rx, 200, SV_NONE);
    d->over = true;
    if (c->outgoing && d != c->dialog) {
        useragent_settle(c); /* a fork that we do not follow */
        return;
    }
    if (c->server && !stxn_final(c->server)) {
        /* §15.1.2: pending requests in the dialog are answered 487. */
        enum err rc = respond(c, 487);
        (void)rc;
    }
    if (c->server)
        leave_server(c);
    if (c->phase != PHASE_ENDED)
        useragent_finish(c, USERAGENT_BY_PEER, c->phase == PHASE_INCOMING ? 487 : 200);
}

/* ---- the user's side ---- */

enum err useragent_ring(struct useragent_call *c)
{
    return c->phase == PHASE_INCOMING && c->server ? respond(c, 180) : ERR_STATE;
}

enum err useragent_answer(struct useragent_call *c, sv sdp)
{
    if (c->phase != PHASE_INCOMING || !c->server)
        return ERR_STATE;
    if (!useragent_set_text(&c->local_sdp, sdp))
        return ERR_NOMEM;
    TRY(accept_it(c));
    c->phase = PHASE_ANSWERED;
    c->status = 200;
    return ERR_OK;
}

enum err useragent_reject(struct useragent_call *c, uint16_t status)
{
    if (c->phase != PHASE_INCOMING || !c->server || status < 300)
        return ERR_STATE;
    TRY(respond(c, status));
    leave_server(c); /* the transaction waits for the ACK by itself */
    useragent_finish(c, USERAGENT_REFUSED, status);
    return ERR_OK;
}

void callee_hangup(struct useragent_call *c)
{
    if (c->phase == PHASE_INCOMING) {
        if (useragent_reject(c, 486) != ERR_OK) {
            leave_server(c); /* without an answer the caller's INVITE ends by its timer */
            useragent_finish(c, USERAGENT_LOST, 503);
        }
    } else if (c->phase == PHASE_UP) {
        dialog_bye(c->dialog);
    }
}
