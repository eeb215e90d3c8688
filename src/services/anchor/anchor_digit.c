/* SPDX-License-Identifier: MIT */
/* Keys that a side presses, by whichever way they come. */
#include "anchor/anchor_priv.h"
#include "dtmf/dtmf.h"
#include "log/log.h"

/* What comes by another way within this time is the same press. */
#define SAME USEC_S

/* 400 that says where (RFC 6086 §4.2.2 leaves a malformed body to RFC 3261 §21.4.1). */
static void malformed(struct rx *rx, unsigned line, struct info_answer *ret)
{
    struct buf b;
    char mem[64];
    buf_init(&b, mem, sizeof(mem));
    if (line > 0)
        buf_printf(&b, "Malformed Key: Line %u of the Body", line);
    else
        buf_str(&b, "Malformed Key: No Signal in the Body");
    *ret = (struct info_answer){.status = 400};
    if (b.rc || sv_dup(&rx->arena, buf_sv(&b), &ret->reason))
        ret->reason = SV_NONE;
}

/* It did not say in its description that it sends keys so; from now on they are looked for here alone. */
static void learn_sender(struct dialog *d, unsigned from, enum dtmf_info form)
{
    struct keys *k = &d->keys[from];
    bool known = k->known.does_info && k->known.gives_info;
    k->known.does_info = k->known.gives_info = true;
    k->form = form;
    if (!known)
        anchor_plan_again(d);
}

/* Too many keys are waiting: RFC 3261 §21.5.4. */
static const struct info_answer busy = {.status = 503, .headers = SV("Retry-After: 2\r\n")};

bool anchor_digit_info(struct dialog *d, unsigned from, struct rx *rx, struct info_answer *ret)
{
    struct keys *k = &d->keys[from];
    struct anchor *a = d->anchor;
    enum dtmf_info form;
    uint8_t event;
    uint32_t ms;
    unsigned line;
    if (!dtmf_info_of(sipmsg_value(&rx->msg, SIP_H_CONTENT_TYPE), &form))
        return false;
    if (dtmf_info_parse(form, sipmsg_body(&rx->msg), &event, &ms, &line)) {
        malformed(rx, line, ret);
        return true;
    }
    char digit = dtmf_char(event);
    learn_sender(d, from, form);
    switch (session_digit(a->sessions, d->session, from, digit, ms, false)) {
    case ERR_OK:
        stat_inc(&a->loop->stats, STAT_MEDIA_KEYS);
        return true;
    case ERR_EXISTS:
        return true;
    case ERR_TOOBIG:
        *ret = busy;
        return true;
    default: /* nothing is made of it here: it goes on as it is */
        k->last = digit;
        k->last_at = loop_now(a->loop);
        return false;
    }
}

/* ---- INFO of ours ---- */

/* These say that it will never take any (RFC 3261 §21.4, 6086 §4.2.3); all else may be a whim. */
static bool never(uint16_t status)
{
    return status == 400 || status == 405 || status == 415 || status == 420 || status == 469 ||
           status == 488 || status == 489 || status == 501 || status == 603;
}

static void put_in(struct dialog *d, unsigned from, char digit, uint32_t ms)
{
    if (session_digit(d->anchor->sessions, d->session, from, digit, ms, true))
        LOG_DEBUG("anchor", "key.lost", F_SV("call", text_sv(&d->call_id)));
}

void anchor_digit_refused(struct dialog *d, unsigned to, uint16_t status, char digit, uint32_t ms)
{
    struct keys *k = &d->keys[to];
    if (!never(status) || d->ended)
        return;
    if (!k->refuses) {
        LOG_INFO("anchor", "keys.refused", F_SV("call", text_sv(&d->call_id)),
                 F_INT("status", status));
        k->refuses = true;
        k->known.takes_info = k->known.does_info = false;
        d->keys[!to].known.gives_info = true; /* so that what was to go by INFO is put in */
        anchor_plan_again(d);
    }
    ctxn_drop(k->asked);
    k->asked = NULL;
    put_in(d, !to, digit, ms);
    for (unsigned i = 0; i < k->waiting_n; i++)
        put_in(d, !to, k->waiting[i].digit, k->waiting[i].ms);
    k->waiting_n = 0;
}

static struct key take_first(struct keys *k)
{
    struct key first = k->waiting[0];
    if (k->waiting_n == 0)
        return (struct key){.digit = 0};
    k->waiting_n--;
    memmove(k->waiting, k->waiting + 1, k->waiting_n * sizeof(k->waiting[0]));
    return first;
}

static void ask(struct keys *k);

static void on_response(void *arg, struct rx *rx)
{
    struct keys *k = arg;
    if (rx->msg.status < 200)
        return;
    ctxn_drop(k->asked);
    k->asked = NULL;
    struct key said = take_first(k);
    if (rx->msg.status >= 300)
        anchor_digit_refused(k->dialog, k->side, rx->msg.status, said.digit, said.ms);
    ask(k);
}

/* No answer: its key is lost. */
static void on_gone(void *arg, enum err why)
{
    struct keys *k = arg;
    (void)why;
    k->asked = NULL;
    (void)take_first(k);
    ask(k);
}

/* One after the other: two on their way might change places, and the later one be refused (RFC 3261 §12.2.2). */
static void ask(struct keys *k)
{
    static const struct ctxn_handler h = {.on_response = on_response, .on_gone = on_gone};
    struct dialog *d = k->dialog;
    char mem[DTMF_INFO_MAX];
    struct buf b;
    uint8_t event;
    while (!k->asked && k->waiting_n > 0) {
        buf_init(&b, mem, sizeof(mem));
        if (dtmf_of_char(k->waiting[0].digit, &event))
            dtmf_info_print(&b, k->form, event, k->waiting[0].ms);
        struct within_request info = {
            .method = SIP_INFO, .type = dtmf_info_type(k->form), .body = buf_sv(&b)};
        enum err rc = b.rc ? b.rc : dialog_send(d, k->side, &info, &h, k, &k->asked);
        if (!rc)
            return;
        LOG_DEBUG("anchor", "key.lost", F_SV("call", text_sv(&d->call_id)), F_ERR(rc));
        (void)take_first(k);
    }
}

void anchor_on_digit(void *arg, struct session_id id, unsigned side, char digit, uint32_t ms)
{
    struct dialog *d = arg;
    struct keys *from = &d->keys[side], *to = &d->keys[!side];
    usec began = loop_now(d->anchor->loop) - (usec)ms * USEC_MS;
    (void)id;
    if (to->way != OFFER_DTMF_INFO)
        return;
    if (from->last == digit && began - from->last_at < SAME) {
        from->last = 0; /* the next one is another press */
        return;
    }
    if (to->waiting_n == sizeof(to->waiting) / sizeof(to->waiting[0]))
        return;
    stat_inc(&d->anchor->loop->stats, STAT_MEDIA_KEYS);
    to->waiting[to->waiting_n++] = (struct key){digit, ms};
    ask(to);
}

void anchor_digit_init(struct dialog *d)
{
    for (unsigned i = 0; i < SIDES; i++) {
        d->keys[i].dialog = d;
        d->keys[i].side = i;
    }
}

void anchor_digit_done(struct dialog *d)
{
    for (unsigned i = 0; i < SIDES; i++) {
        ctxn_drop(d->keys[i].asked);
        d->keys[i].asked = NULL;
    }
}

/* ---- what is known ---- */

void anchor_digit_of(struct rx *rx, struct key *ret)
{
    enum dtmf_info form;
    uint8_t event;
    uint32_t ms;
    unsigned line;
    if (rx->msg.method == SIP_INFO &&
        dtmf_info_of(sipmsg_value(&rx->msg, SIP_H_CONTENT_TYPE), &form) &&
        dtmf_info_parse(form, sipmsg_body(&rx->msg), &event, &ms, &line) == ERR_OK)
        *ret = (struct key){dtmf_char(event), ms};
}

/* One of the values of a list is this, whatever its parameters. */
static bool names(struct rx *rx, enum sip_header h, sv what)
{
    struct sip_walk w = {.m = &rx->msg, .id = h};
    struct sip_item item;
    while (sipmsg_next(&w, &item)) {
        if (sv_ieq(sv_trim(sv_sub(item.text, 0, sv_chr(item.text, ';'))), what))
            return true;
    }
    return false;
}

void anchor_digit_learn(struct dialog *d, unsigned side, struct rx *rx)
{
    struct keys *k = &d->keys[side];
    if (k->refuses)
        return;
    if (names(rx, SIP_H_ALLOW, SV("INFO")))
        k->known.takes_info = true;
    if (k->known.does_info)
        return;
    bool relay = names(rx, SIP_H_ACCEPT, dtmf_info_type(DTMF_INFO_RELAY));
    if (relay || names(rx, SIP_H_ACCEPT, dtmf_info_type(DTMF_INFO_PLAIN))) {
        k->known.does_info = true;
        k->form = relay ? DTMF_INFO_RELAY : DTMF_INFO_PLAIN;
    }
}

void anchor_digit_policy(const struct dialog *d, unsigned offerer, struct offer_policy *p)
{
    p->keys[0] = d->keys[offerer].known;
    p->keys[1] = d->keys[!offerer].known;
}

void anchor_digit_planned(struct dialog *d, unsigned offerer, const struct offer_plan *plan)
{
    for (unsigned i = 0; i < plan->n; i++) {
        const struct offer_stream *s = &plan->streams[i];
        if (s->refused || s->kind != OFFER_AUDIO)
            continue;
        d->keys[offerer].way = s->leg[0].dtmf;
        d->keys[!offerer].way = s->leg[1].dtmf;
        return;
    }
}
