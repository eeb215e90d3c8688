/* SPDX-License-Identifier: MIT */
/* Calls that end here: begun, answered, ended, and what comes in their dialogs.
 *
 *     ASKED ──answer_accept──► SAID ──ACK──► UP ──BYE, either's──► OVER
 *       └─ CANCEL, answer_reject ──► OVER   └─ no ACK ──► BYE, OVER */
#include "answer/answer_priv.h"

enum { HEADERS_MAX = 1024, SAID_MAX = 512 };

static const struct answer_handler silent = {.on_end = NULL};

static void on_cancel(void *arg, struct rx *cancel);
static void on_invite_gone(void *arg, enum err why);
static const struct stxn_handler invite_handler = {.on_cancel = on_cancel,
                                                   .on_gone = on_invite_gone};

enum err answer_new(struct sip *s, struct accounting *books, size_t cap, struct answer **ret_answer)
{
    struct answer *a = MEM_NEW(struct answer);
    if (!a)
        return ERR_NOMEM;
    a->sip = s;
    a->books = books;
    a->cap = cap;
    if (hash_init(&a->calls, 16)) {
        mem_free(a);
        return ERR_NOMEM;
    }
    *ret_answer = a;
    return ERR_OK;
}

void answer_settings(struct answer *a, const struct settings *set)
{
    a->set = set;
}

size_t answer_count(const struct answer *a)
{
    return a->calls.count;
}

/* ---- a call's life ---- */

static void call_free(struct answer_call *c)
{
    loop_timer_cancel(sip_loop(c->answer->sip), &c->expiry);
    stxn_drop(c->invite);
    hash_remove(&c->answer->calls, &c->by_call_id);
    answer_dialog_forget(c);
    MEM_GIVE(c);
}

static void enter(struct answer_call *c)
{
    c->busy++;
}

/* The last call into it; it may be gone afterwards. */
static void leave(struct answer_call *c)
{
    if (--c->busy == 0 && c->state == ANSWER_OVER)
        call_free(c);
}

static void book_refusal(struct answer_call *c)
{
    char mem[SAID_MAX];
    struct buf said;
    uint16_t status = c->status ? c->status : 500;
    buf_init(&said, mem, sizeof(mem));
    sip_put_said(&said, status, c->reason, c->warning);
    accounting_response(c->answer->books, c->call, NULL, status, buf_sv(&said), NULL, false);
}

/* What there is to say of its end. */
static const struct answer_cause *cause_of(const struct answer_call *c, enum answer_end why)
{
    static const struct answer_cause plain[] = {
        [ANSWER_BY_CALLER] = {.ended_by = SV("caller")},
        [ANSWER_BY_US] = {.ended_by = SV("callee")},
        [ANSWER_NO_ACK] = {.ended_by = SV("lost")},
        [ANSWER_EXPIRED] = {.ended_by = SV("lost")},
        [ANSWER_STOPPED] = {.cause = 503, .why = SV("the server ends"), .ended_by = SV("stop")},
        [ANSWER_LOST] = {.ended_by = SV("lost")}};
    return why == ANSWER_BY_US && c->why ? c->why : &plain[why];
}

static void close_books(struct answer_call *c, enum answer_end why)
{
    struct accounting *books = c->answer->books;
    const struct answer_cause *cause = cause_of(c, why);
    if (!c->call)
        return;
    if (c->state == ANSWER_ASKED)
        book_refusal(c);
    else
        accounting_ended(books, c->call, cause->ended_by, cause->why);
    accounting_setup_gone(books, c->call);
    c->call = NULL;
}

/* Between enter and leave. */
static void over(struct answer_call *c, enum answer_end why)
{
    if (c->state == ANSWER_OVER)
        return;
    close_books(c, why);
    c->state = ANSWER_OVER;
    if (c->h->on_end)
        c->h->on_end(c->arg, c, why);
    c->h = &silent;
}

static bool free_each(struct hash_node *n, void *arg)
{
    struct answer_call *c = CONTAINER(n, struct answer_call, by_call_id);
    (void)arg;
    enter(c);
    if (c->state == ANSWER_SAID || c->state == ANSWER_UP)
        answer_dialog_bye(c, cause_of(c, ANSWER_LOST));
    over(c, ANSWER_LOST);
    leave(c);
    return true;
}

void answer_free(struct answer *a)
{
    if (!a)
        return;
    hash_walk(&a->calls, free_each, NULL);
    hash_done(&a->calls);
    mem_free(a);
}

/* ---- responses ---- */

/* Through a transaction of its own, which is left to itself; without one it is given anew to each repetition. */
static void reply(struct answer *a, struct rx *rx, struct sip_reply *r)
{
    char tag[24];
    struct stxn *t;
    if (!r->to_tag.p)
        r->to_tag = sip_stateless_tag(a->sip, rx, tag);
    enum err rc = stxn_new(a->sip, rx, NULL, NULL, &t);
    if (rc == ERR_OK) {
        rc = stxn_reply(t, r);
        stxn_drop(t);
    } else {
        rc = sip_reply(a->sip, rx, r);
    }
    (void)rc; /* one that is lost is asked for again */
}

static void refuse(struct answer *a, struct rx *rx, uint16_t status, sv headers)
{
    struct sip_reply r = {.status = status, .headers = headers};
    reply(a, rx, &r);
}

/* 200 to an INVITE or UPDATE: Contact, what we do, the session's time. */
static enum err say_ok(struct answer_call *c, struct stxn *t, sv description)
{
    char mem[HEADERS_MAX];
    struct rx *rx = stxn_rx(t);
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    answer_dialog_put_contact(c, &b, rx);
    buf_str(&b, ANSWER_ALLOW "Supported: timer\r\n");
    answer_refresh(c, rx, &b);
    TRY(b.rc);
    struct sip_reply r = {.status = 200,
                          .to_tag = c->local_tag,
                          .record_route = rx->msg.method == SIP_INVITE, /* §12.1.1 */
                          .headers = buf_sv(&b),
                          .content_type = description.n ? SV("application/sdp") : SV_NONE,
                          .body = description.n ? description : SV_NONE};
    TRY(stxn_reply(t, &r));
    if (rx->msg.method == SIP_INVITE)
        stxn_repeat_2xx(t, true); /* §13.3.1.4 */
    return ERR_OK;
}

/* A response that refuses. headers: other lines than the warning; one of both. */
struct refusal {
    uint16_t status;
    sv reason, warning, headers;
};
static const struct refusal terminated = {.status = 487};

static void say(struct answer_call *c, struct stxn *t, const struct refusal *no)
{
    struct sip_reply r = {.status = no->status,
                          .reason = no->reason,
                          .to_tag = c->local_tag,
                          .headers = no->warning.n ? no->warning : no->headers};
    enum err rc = stxn_reply(t, &r);
    (void)rc; /* his transaction ends by itself */
    if (c->state != ANSWER_ASKED)
        return;
    c->status = no->status;
    c->reason = no->reason;
    c->warning = no->warning;
}

static void leave_invite(struct answer_call *c)
{
    stxn_drop(c->invite); /* the transaction waits for an ACK of a refusal by itself */
    c->invite = NULL;
}

/* ---- what is asked for ---- */

/* "Unsupported: …"; empty: all is there. Reliable provisional responses (100rel) are asked of whoever sends
 * provisional ones: none are sent here. */
static void put_unsupported(struct buf *b, const struct sipmsg *m)
{
    struct sip_walk w = {.m = m, .id = SIP_H_REQUIRE};
    struct sip_item item;
    while (sipmsg_next(&w, &item)) {
        if (sv_ieq(item.text, SV("timer")) || sv_ieq(item.text, SV("100rel")))
            continue;
        buf_str(b, b->n ? ", " : "Unsupported: ");
        buf_put(b, item.text);
    }
    if (b->n)
        buf_str(b, "\r\n");
}

/* §8.2.2.3, §8.2.3: the status that refuses it, its header lines; 0: it is understood. */
static uint16_t not_understood(const struct sipmsg *m, struct buf *headers,
                               struct sip_description *ret)
{
    put_unsupported(headers, m);
    if (headers->rc || headers->n)
        return headers->rc ? 400 : 420;
    sipmsg_description(m, ret);
    if (ret->text.p || sipmsg_body(m).n == 0)
        return 0;
    buf_str(headers, "Accept: application/sdp\r\n");
    return 415;
}

struct answer_call *answer_take(struct answer *a, struct stxn *txn, sv caller,
                                const struct answer_handler *h, void *arg)
{
    struct rx *rx = stxn_rx(txn);
    char mem[HEADERS_MAX], tag[24];
    struct sip_description d;
    struct buf headers;
    buf_init(&headers, mem, sizeof(mem));
    uint16_t status = not_understood(&rx->msg, &headers, &d);
    struct answer_call *c = NULL;
    const struct sip_addr *to;
    if (!status && (sipmsg_to(&rx->msg, &to) || to->tag.p))
        status = 481; /* §12.2.2: of a dialog that is none of ours */
    if (!status && a->calls.count >= a->cap) {
        stat_refuse(&sip_loop(a->sip)->stats, STAT_LIMIT_ANSWERED);
        status = 503;
    } else if (!status) {
        c = MEM_TAKE(struct answer_call);
        enum err rc = ERR_NOMEM;
        if (c) {
            c->answer = a;
            rc = answer_dialog_learn(c, rx);
        }
        status = rc == ERR_NOMEM ? 503 : rc == ERR_TOOBIG ? 513 : rc ? 400 : 0;
    }
    if (status) {
        struct sip_reply r = {.status = status,
                              .to_tag = sip_stateless_tag(a->sip, rx, tag),
                              .headers =
                                  status == 503 ? SV("Retry-After: 5\r\n") : buf_sv(&headers)};
        enum err rc = stxn_reply(txn, &r);
        (void)rc;
        stxn_drop(txn);
        if (c) {
            answer_dialog_forget(c);
            MEM_GIVE(c);
        }
        return NULL;
    }
    c->local_tag = sip_random_tag(a->sip, c->tag);
    c->invite = txn;
    c->call = a->books ? accounting_begin(a->books, rx, caller, false) : NULL;
    timer_init(&c->expiry, answer_expired, c);
    answer_handle(c, h, arg);
    hash_insert(&a->calls, &c->by_call_id, sip_call_key(a->sip, rx)->a);
    stxn_handle(txn, &invite_handler, c);
    return c;
}

void answer_handle(struct answer_call *c, const struct answer_handler *h, void *arg)
{
    c->h = h ? h : &silent;
    c->arg = arg;
}

struct rx *answer_rx(const struct answer_call *c)
{
    return c->state == ANSWER_ASKED && c->invite ? stxn_rx(c->invite) : NULL;
}

sv answer_offer(const struct answer_call *c)
{
    struct rx *rx = answer_rx(c);
    struct sip_description d = {.text = SV_NONE};
    if (rx)
        sipmsg_description(&rx->msg, &d);
    return d.text;
}

sv answer_call_id(const struct answer_call *c)
{
    return c->call_id;
}

void answer_session(struct answer_call *c, struct session_id id)
{
    if (c->call)
        accounting_session(c->call, id);
}

/* ---- the user's side ---- */

enum err answer_accept(struct answer_call *c, sv description)
{
    if (c->state != ANSWER_ASKED || !c->invite)
        return ERR_STATE;
    TRY(say_ok(c, c->invite, description));
    c->state = ANSWER_SAID;
    if (c->call)
        accounting_answered(c->answer->books, c->call, c->local_tag);
    return ERR_OK;
}

static void reject(struct answer_call *c, const struct refusal *no)
{
    enter(c);
    if (c->state == ANSWER_ASKED) {
        if (c->invite)
            say(c, c->invite, no);
        leave_invite(c);
        over(c, ANSWER_BY_US);
    }
    leave(c);
}

void answer_reject(struct answer_call *c, uint16_t status, sv reason)
{
    reject(c, &(struct refusal){.status = status, .reason = reason});
}

/* The Warning of a refusal of what t asks, in mem; warning 0: none. */
static sv warn(struct answer_call *c, struct stxn *t, uint16_t warning, sv text,
               char mem[static HEADERS_MAX])
{
    struct buf b;
    buf_init(&b, mem, HEADERS_MAX);
    if (warning)
        sip_put_warning(c->answer->sip, &b, &stxn_rx(t)->flow, warning, text);
    return b.rc ? SV_NONE : buf_sv(&b);
}

void answer_refuse(struct answer_call *c, uint16_t status, uint16_t warning, sv text)
{
    char mem[HEADERS_MAX];
    struct refusal no = {.status = status};
    if (answer_rx(c))
        no.warning = warn(c, c->invite, warning, text, mem);
    reject(c, &no);
}

static void hang_up(struct answer_call *c, enum answer_end why)
{
    if (c->state == ANSWER_OVER)
        return;
    answer_dialog_bye(c, cause_of(c, why));
    if (c->invite && !stxn_final(c->invite)) /* within the question about a re-INVITE */
        say(c, c->invite, &terminated);
    leave_invite(c);
    over(c, why);
}

void answer_end(struct answer_call *c, const struct answer_cause *why)
{
    if (c->state == ANSWER_ASKED) {
        answer_reject(c, 480, SV_NONE);
        return;
    }
    c->why = why;
    enter(c);
    if (c->state == ANSWER_SAID)
        c->hangup = true; /* §15: not before the ACK */
    else
        hang_up(c, ANSWER_BY_US);
    leave(c);
}

struct leaving {
    const struct sip_reply *said;
    size_t most, left;
    bool at_once;
};

static bool leave_each(struct hash_node *n, void *arg)
{
    struct answer_call *c = CONTAINER(n, struct answer_call, by_call_id);
    struct leaving *l = arg;
    if (c->state == ANSWER_OVER)
        return true;
    bool may = l->most > 0 && c->state != ANSWER_SAID;
    l->left += !may;
    if (!may && !l->at_once)
        return true;
    l->most -= may;
    enter(c);
    if (c->state == ANSWER_ASKED)
        reject(c, &(struct refusal){.status = l->said->status,
                                    .reason = l->said->reason,
                                    .headers = l->said->headers});
    else
        hang_up(c, ANSWER_STOPPED);
    leave(c);
    return true;
}

size_t answer_hang_up(struct answer *a, const struct sip_reply *said, size_t *most)
{
    struct leaving l = {.said = said, .most = most ? *most : 0, .at_once = !most};
    hash_walk(&a->calls, leave_each, &l);
    if (most)
        *most = l.most;
    return l.left;
}

void answer_expired(struct timer *t, void *arg)
{
    struct answer_call *c = arg;
    (void)t;
    enter(c);
    hang_up(c, ANSWER_EXPIRED);
    leave(c);
}

/* ---- from the INVITE's transaction ---- */

static void on_cancel(void *arg, struct rx *cancel)
{
    struct answer_call *c = arg;
    (void)cancel;
    if (c->state != ANSWER_ASKED)
        return; /* a re-INVITE is answered at once: nothing is left to cancel */
    enter(c);
    say(c, c->invite, &terminated);
    leave_invite(c);
    over(c, ANSWER_BY_CALLER);
    leave(c);
}

/* Without an ACK, or what we said cannot be delivered. */
static void on_invite_gone(void *arg, enum err why)
{
    struct answer_call *c = arg;
    enter(c);
    c->invite = NULL;
    if (c->state == ANSWER_ASKED || why == ERR_CANCELLED)
        over(c, ANSWER_LOST);
    else if (why != ERR_OK) /* §13.3.1.4, §14.2 */
        hang_up(c, c->hangup ? ANSWER_BY_US : ANSWER_NO_ACK);
    leave(c);
}

/* ---- in the dialog ---- */

static void on_ack(struct answer_call *c, struct rx *rx)
{
    const struct sip_cseq *cseq;
    struct sip_description d;
    if (!c->invite || !stxn_final(c->invite) || sipmsg_cseq(&rx->msg, &cseq) ||
        cseq->number != c->invite_cseq)
        return; /* a repetition */
    leave_invite(c);
    if (c->state == ANSWER_SAID)
        c->state = ANSWER_UP;
    if (c->hangup) {
        hang_up(c, ANSWER_BY_US);
        return;
    }
    sipmsg_description(&rx->msg, &d);
    if (c->h->on_ack)
        c->h->on_ack(c->arg, c, d.text);
}

static void on_bye(struct answer_call *c, struct rx *rx)
{
    refuse(c->answer, rx, 200, SV_NONE);
    if (c->invite && !stxn_final(c->invite)) /* §15.1.2 */
        say(c, c->invite, &terminated);
    leave_invite(c);
    over(c, ANSWER_BY_CALLER);
}

/* A re-INVITE or UPDATE: what the user says to its offer, in t. True: 200. */
static bool answer_offer_in(struct answer_call *c, struct rx *rx, struct stxn *t, sv offer)
{
    struct answer_reply r = {.status = 488};
    bool asks = offer.p || rx->msg.method == SIP_INVITE;
    if (!asks)
        r.status = 0; /* an UPDATE that only refreshes */
    else if (c->h->on_offer) {
        r.status = 0;
        c->h->on_offer(c->arg, c, rx, offer, &r);
    }
    if (c->state == ANSWER_OVER) { /* he ended it */
        if (rx->msg.method == SIP_UPDATE)
            say(c, t, &terminated);
        return false;
    }
    if (!r.status && say_ok(c, t, r.description) == ERR_OK)
        return true;
    char mem[HEADERS_MAX];
    say(c, t,
        &(struct refusal){.status = r.status ? r.status : 500,
                          .warning = warn(c, t, r.warning, r.text, mem)});
    return false;
}

static void on_reinvite(struct answer_call *c, struct rx *rx, sv offer)
{
    const struct sip_cseq *cseq;
    if (c->invite || c->state != ANSWER_UP) { /* §14.2: one at a time */
        refuse(c->answer, rx, 500, SV("Retry-After: 3\r\n"));
        return;
    }
    if (sipmsg_cseq(&rx->msg, &cseq) ||
        stxn_new(c->answer->sip, rx, &invite_handler, c, &c->invite)) {
        refuse(c->answer, rx, 503, SV("Retry-After: 5\r\n"));
        return;
    }
    answer_dialog_heard(c, rx, true);
    c->invite_cseq = cseq->number;
    if (!answer_offer_in(c, rx, c->invite, offer))
        leave_invite(c);
}

static void on_update(struct answer_call *c, struct rx *rx, sv offer)
{
    struct stxn *t;
    if (offer.p && c->invite) { /* RFC 3311 §5.2: another offer is not settled */
        refuse(c->answer, rx, 500, SV("Retry-After: 3\r\n"));
        return;
    }
    if (stxn_new(c->answer->sip, rx, NULL, NULL, &t)) {
        refuse(c->answer, rx, 503, SV("Retry-After: 5\r\n"));
        return;
    }
    answer_dialog_heard(c, rx, true);
    (void)answer_offer_in(c, rx, t, offer);
    stxn_drop(t);
}

static void on_info(struct answer_call *c, struct rx *rx)
{
    uint16_t status = 0;
    if (!c->h->on_info) {
        refuse(c->answer, rx, 405, SV("Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE\r\n"));
        return;
    }
    status = c->h->on_info(c->arg, c, rx);
    refuse(c->answer, rx, status ? status : 200, SV_NONE);
}

/* §12.2.2: a number below the last one is out of order. */
static bool in_order(struct answer_call *c, struct rx *rx)
{
    const struct sip_cseq *cseq;
    if (sipmsg_cseq(&rx->msg, &cseq) || cseq->number < c->remote_cseq)
        return false;
    c->remote_cseq = cseq->number;
    return true;
}

static void on_offering(struct answer_call *c, struct rx *rx)
{
    char mem[HEADERS_MAX];
    struct sip_description d;
    struct buf headers;
    buf_init(&headers, mem, sizeof(mem));
    uint16_t status = not_understood(&rx->msg, &headers, &d);
    if (status)
        refuse(c->answer, rx, status, buf_sv(&headers));
    else if (rx->msg.method == SIP_INVITE)
        on_reinvite(c, rx, d.text);
    else
        on_update(c, rx, d.text);
}

static void in_dialog(struct answer_call *c, struct rx *rx)
{
    if (rx->msg.method == SIP_ACK) {
        on_ack(c, rx);
        return;
    }
    if (!in_order(c, rx)) {
        refuse(c->answer, rx, 500, SV_NONE);
        return;
    }
    answer_dialog_heard(c, rx, false);
    switch (rx->msg.method) {
    case SIP_BYE:
        on_bye(c, rx);
        return;
    case SIP_INVITE:
    case SIP_UPDATE:
        on_offering(c, rx);
        return;
    case SIP_INFO:
        on_info(c, rx);
        return;
    case SIP_OPTIONS:
        refuse(c->answer, rx, 200, SV(ANSWER_ALLOW "Accept: application/sdp\r\n"));
        return;
    case SIP_PRACK: /* RFC 3262 §3: nothing was sent reliably */
        refuse(c->answer, rx, 481, SV_NONE);
        return;
    default:
        refuse(c->answer, rx, rx->msg.method == SIP_EXTENSION ? 501 : 405, SV(ANSWER_ALLOW));
        return;
    }
}

bool answer_request(struct answer *a, struct rx *rx)
{
    if (!answer_dialog_is_ours(a, rx))
        return false;
    struct answer_call *c = answer_dialog_find(a, rx);
    if (c) {
        enter(c);
        in_dialog(c, rx);
        leave(c);
    } else if (rx->msg.method != SIP_ACK) {
        refuse(a, rx, 481, SV_NONE); /* §12.2.2, §15.1.2 */
    }
    return true;
}
