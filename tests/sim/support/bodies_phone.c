/* SPDX-License-Identifier: MIT */
/* Phones of bodies_sim: requests, responses, dialogs; what comes in is checked first. */
#include "support/bodies.h"
#include <stdio.h>
#include <stdlib.h>

const uint8_t bodies_secret[HOME_SECRET] = "thirty-two octets for a proxy..";

void bodies_fail(struct scenario *sc, const char *what, sv text)
{
    if (sc->failed)
        return;
    sc->failed = true;
    printf("FAILED at seed %llu, %lld us: %s: " SV_FMT
           "\n  replay: bodies_sim --seeds %llu --trace\n",
           (unsigned long long)sc->seed, (long long)sim_now(sc->sim), what, SV_ARG(text),
           (unsigned long long)sc->seed);
}

void bodies_need(enum err rc)
{
    if (rc) {
        fprintf(stderr, "bodies_sim: %s\n", err_text(rc));
        abort();
    }
}

bool bodies_chance(struct scenario *sc, unsigned percent)
{
    return sim_random(sc->sim) % 100 < percent;
}

usec bodies_between(struct scenario *sc, usec from, usec to)
{
    return from + (usec)(sim_random(sc->sim) % (uint64_t)(to - from + 1));
}

static void *take(struct scenario *sc, size_t n)
{
    void *p = arena_calloc(&sc->memory, 1, n);
    if (!p)
        abort();
    return p;
}

sv bodies_keep(struct scenario *sc, sv text)
{
    sv copy;
    bodies_need(sv_dup(&sc->memory, text, &copy));
    return copy;
}

struct unfit *bodies_unfit(struct scenario *sc, sv tag)
{
    struct unfit *x = sc->unfit;
    while (x && !sv_eq(x->tag, tag))
        x = x->next;
    return x;
}

/* ---- descriptions ---- */

sv bodies_exchanged(unsigned leg, sv name, char mem[static BODY_MAX])
{
    static const uint8_t key[SIPHASH_KEY];
    uint64_t h = crypto_siphash(key, name.p, name.n) + leg;
    size_t pad = h % 4 ? h % 200 : 1000 + h % 2000;
    struct buf b;
    buf_init(&b, mem, BODY_MAX);
    buf_printf(&b, "v=0\r\ns=P%u." SV_FMT "\r\na=", leg, SV_ARG(name));
    while (pad-- > 0)
        buf_char(&b, 'x');
    buf_str(&b, "\r\n");
    bodies_need(b.rc);
    return buf_sv(&b);
}

bool bodies_name(sv description, const char *begins, sv *ret)
{
    if (!sv_starts(description, sv_of(begins)))
        return false;
    sv rest = sv_sub(description, strlen(begins), description.n);
    *ret = sv_sub(rest, 0, sv_chr(rest, '\r'));
    return ret->n > 0;
}

/* What is in a message that a phone gets; its leg, or -1: no description. */
static int64_t check_body(struct caller *p, struct rx *rx)
{
    struct scenario *sc = p->sc;
    struct sip_description d;
    char mem[BODY_MAX];
    sv name;
    uint64_t leg;
    sipmsg_description(&rx->msg, &d);
    if (d.why)
        bodies_fail(sc, d.why, rx->msg.text);
    if (!d.text.p) {
        const struct sip_addr *to;
        bool unfit = !sipmsg_to(&rx->msg, &to) && bodies_unfit(sc, to->tag); /* its other parts */
        if (sipmsg_body(&rx->msg).n && !unfit)
            bodies_fail(sc, "a body without a description", rx->msg.text);
        return -1;
    }
    sc->bodies++;
    sc->multipart += d.part.p || sipmsg_body(&rx->msg).n != d.text.n;
    sc->long_ones += rx->flow.transport == SIP_T_TCP;
    if (!bodies_name(d.text, "v=0\r\ns=P", &name)) {
        bodies_fail(sc, "a description that was not exchanged", rx->msg.text);
        return -1;
    }
    size_t dot = sv_chr(name, '.');
    if (sv_u64(sv_sub(name, 0, dot), LEGS_MAX, &leg) ||
        !sv_eq(d.text, bodies_exchanged((unsigned)leg, sv_sub(name, dot + 1, name.n), mem)))
        bodies_fail(sc, "a description that is not whole", rx->msg.text);
    return (int64_t)leg;
}

/* A description of a phone's own, so often in a multipart body; its Content-Type in *ret_type. */
static sv describe(struct caller *p, unsigned percent, sv *ret_type)
{
    char mem[512];
    struct buf b;
    struct scenario *sc = p->sc;
    bool parts = bodies_chance(sc, percent);
    buf_init(&b, mem, sizeof(mem));
    *ret_type = parts ? SV("multipart/mixed;boundary=b") : SV("application/sdp");
    if (parts)
        buf_str(&b, "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\nContent-Type: "
                    "application/sdp\r\n\r\n");
    buf_printf(&b, "v=0\r\ns=U%u-%u\r\n", p->index, ++sc->serial);
    if (parts)
        buf_str(&b, "\r\n--b--\r\n");
    return bodies_keep(sc, buf_sv(&b));
}

/* ---- what phones write ---- */

static uint32_t number_of(struct rx *rx)
{
    const struct sip_cseq *cseq;
    bodies_need(sipmsg_cseq(&rx->msg, &cseq));
    return cseq->number;
}

static struct bodies_dialog *dialog_new(struct caller *p, struct rx *rx, sv local_tag)
{
    struct scenario *sc = p->sc;
    struct bodies_dialog *d = take(sc, sizeof(*d));
    struct sip_walk w = {.m = &rx->msg, .id = SIP_H_RECORD_ROUTE};
    const struct sip_addr *remote = NULL, *contact = NULL;
    struct sip_item item;
    size_t total = sipmsg_count(&rx->msg, SIP_H_RECORD_ROUTE), n;
    if (total > ROUTES)
        abort();
    bodies_need(rx->msg.request ? sipmsg_from(&rx->msg, &remote) : sipmsg_to(&rx->msg, &remote));
    bodies_need(sipmsg_addrs(&rx->msg, SIP_H_CONTACT, &contact, &n));
    d->phone = p;
    d->call_id = bodies_keep(sc, sipmsg_value(&rx->msg, SIP_H_CALL_ID));
    d->local_tag = bodies_keep(sc, local_tag);
    d->remote_tag = bodies_keep(sc, remote->tag);
    d->target = bodies_keep(sc, contact->uri.text);
    d->cseq = rx->msg.request ? 100 : 1;
    d->invite_cseq = number_of(rx);
    for (; sipmsg_next(&w, &item); d->routes++) /* a caller's is reversed (§12.1.2) */
        d->route[rx->msg.request ? d->routes : total - 1 - d->routes] = bodies_keep(sc, item.text);
    list_push(&p->dialogs, &d->by_phone);
    return d;
}

static struct bodies_dialog *dialog_find(struct caller *p, sv call_id, sv local_tag, sv remote_tag)
{
    LIST_EACH (d, &p->dialogs, struct bodies_dialog, by_phone) {
        if (sv_eq(d->call_id, call_id) && sv_eq(d->local_tag, local_tag) &&
            sv_eq(d->remote_tag, remote_tag))
            return d;
    }
    return NULL;
}

/* A request as this phone writes it, with a body of its own or none. */
static struct block *build(const struct ask *a, const char *headers, bool body,
                           struct txn_key *ret_key)
{
    struct caller *p = a->phone;
    const struct bodies_dialog *d = a->dialog;
    struct dest hop = {.addr = p->sc->server, .transport = SIP_T_UDP};
    struct flow f;
    struct buf b;
    sv branch, type = SV_NONE, text = body ? describe(p, 20, &type) : SV("");
    bodies_need(sip_flow_for(p->sip, &hop, &f));
    struct block *octets = sip_block(p->sip, MESSAGE_ROOM);
    if (!octets)
        abort();
    buf_init(&b, octets->p, octets->cap);
    buf_put(&b, sip_method_name(a->method));
    buf_printf(&b,
               " " SV_FMT " SIP/2.0\r\nVia: ", SV_ARG(d ? d->target : SV("sip:all@example.test")));
    sip_put_via(p->sip, &b, &f, home_slot(sip_home(p->sip), p->loop->worker, loop_random(p->loop)),
                SV_NONE, &branch);
    *ret_key = ctxn_key(p->sip, branch, a->method, sip_method_name(a->method));
    buf_str(&b, "\r\nMax-Forwards: 70\r\n");
    for (unsigned i = 0; d && i < d->routes; i++)
        buf_printf(&b, "Route: " SV_FMT "\r\n", SV_ARG(d->route[i]));
    buf_printf(&b, "From: <sip:u%u@example.test>;tag=" SV_FMT "\r\nTo: <sip:all@example.test>",
               p->index, SV_ARG(d ? d->local_tag : a->call->tag));
    if (d)
        buf_printf(&b, ";tag=" SV_FMT, SV_ARG(d->remote_tag));
    buf_printf(&b, "\r\nCall-ID: " SV_FMT "\r\nCSeq: %u ", SV_ARG(d ? d->call_id : a->call->id),
               a->cseq);
    buf_put(&b, sip_method_name(a->method));
    buf_printf(&b, "\r\nContact: <sip:u%u@10.0.1.%u:5060>\r\n%s", p->index, p->index + 1, headers);
    if (body)
        buf_printf(&b, "%s: " SV_FMT "\r\n", bodies_chance(p->sc, 50) ? "Content-Type" : "c",
                   SV_ARG(type));
    if (!body || bodies_chance(p->sc, 70)) /* over UDP it may be missing */
        buf_printf(&b, "Content-Length: %zu\r\n", text.n);
    buf_str(&b, "\r\n");
    buf_put(&b, text);
    bodies_need(b.rc);
    octets->n = (uint32_t)b.n;
    return octets;
}

static void on_response(void *arg, struct rx *rx);
static void on_ask_gone(void *arg, enum err why);
static const struct ctxn_handler ask_handler = {.on_response = on_response, .on_gone = on_ask_gone};

static void ask(struct caller *p, struct call *c, struct bodies_dialog *d, enum sip_method m,
                const char *headers, bool body)
{
    struct ask *a = take(p->sc, sizeof(*a));
    struct dest hop = {.addr = p->sc->server, .transport = SIP_T_UDP};
    struct txn_key key;
    struct ctxn *txn;
    *a = (struct ask){.phone = p, .call = c, .dialog = d, .method = m, .cseq = d ? ++d->cseq : 1};
    struct block *octets = build(a, headers, body, &key);
    bodies_need(ctxn_new(p->sip, &hop, octets, &key, &ask_handler, a, &txn));
    block_unref(octets);
    if (c && bodies_chance(p->sc, 15)) /* gives up in the moment when others answer */
        c->decided = true;
    if (c && c->decided)
        ctxn_cancel(txn, SV_NONE);
}

static void acknowledge(struct bodies_dialog *d, uint32_t cseq, bool body, bool again)
{
    struct caller *p = d->phone;
    struct dest hop = {.addr = p->sc->server, .transport = SIP_T_UDP};
    struct txn_key key;
    if (!again || !d->ack) {
        struct ask a = {.phone = p, .dialog = d, .method = SIP_ACK, .cseq = cseq};
        block_unref(d->ack);
        d->ack = build(&a, "", body, &key);
    }
    enum err rc = sip_send(p->sip, &hop, d->ack, NULL);
    (void)rc;
}

/* ---- the caller ---- */

static void on_plan(struct timer *t, void *arg);

static void plan(struct bodies_dialog *d, usec in)
{
    loop_timer(d->phone->loop, &d->plan, in);
}

/* A 1xx or 2xx of the INVITE. */
static struct bodies_dialog *dialog_of(struct ask *a, struct rx *rx)
{
    const struct sip_addr *to;
    if (sipmsg_to(&rx->msg, &to) || !to->tag.n || !sipmsg_has(&rx->msg, SIP_H_CONTACT))
        return NULL;
    struct bodies_dialog *d = dialog_find(a->phone, a->call->id, a->call->tag, to->tag);
    if (d)
        return d;
    d = dialog_new(a->phone, rx, a->call->tag);
    d->call = a->call;
    d->offerless = a->call->offerless;
    timer_init(&d->plan, on_plan, d);
    return d;
}

static void on_early(struct ask *a, struct rx *rx, bool body)
{
    struct bodies_dialog *d = dialog_of(a, rx);
    uint64_t rseq;
    char headers[64];
    if (!d || !sipmsg_has(&rx->msg, SIP_H_RSEQ) ||
        sv_u64(sipmsg_value(&rx->msg, SIP_H_RSEQ), UINT32_MAX, &rseq) || d->pracked == rseq)
        return;
    d->pracked = (uint32_t)rseq;
    snprintf(headers, sizeof(headers), "RAck: %u %u INVITE\r\n", (unsigned)rseq, a->cseq);
    ask(a->phone, NULL, d, SIP_PRACK, headers,
        (a->call->offerless && body) || bodies_chance(a->phone->sc, 30));
}

static void on_ok(struct ask *a, struct rx *rx)
{
    struct scenario *sc = a->phone->sc;
    struct bodies_dialog *d = dialog_of(a, rx);
    if (!d)
        return;
    struct unfit *unfit = bodies_unfit(sc, d->remote_tag);
    struct sip_description said;
    sipmsg_description(&rx->msg, &said);
    if (unfit && (unfit->told || said.text.p))
        bodies_fail(sc, "a 2xx that was refused", rx->msg.text);
    if (unfit)
        unfit->up = true;
    sc->again += d->answered;
    if (d->answered && !sv_eq(d->ok, sipmsg_body(&rx->msg)))
        bodies_fail(sc, "a 2xx that comes again says something else", rx->msg.text);
    acknowledge(d, 1, d->offerless, d->answered);
    if (d->answered)
        return;
    d->answered = true;
    d->ok = bodies_keep(sc, sipmsg_body(&rx->msg));
    sc->answers++;
    sc->late += a->call->up > 0;
    /* the first stands for a while, the others end */
    d->step = a->call->up++ ? 3 : 0;
    plan(d, d->step ? 0 : bodies_between(sc, 0, 3 * USEC_S));
}

static void on_response(void *arg, struct rx *rx)
{
    struct ask *a = arg;
    bool body = check_body(a->phone, rx) >= 0;
    if (number_of(rx) != a->cseq)
        bodies_fail(a->phone->sc, "a response with another number", rx->msg.text);
    if (a->call && rx->msg.status < 200)
        on_early(a, rx, body);
    else if (a->call && rx->msg.status < 300)
        on_ok(a, rx);
    else if (a->method == SIP_INVITE && rx->msg.status >= 200 && rx->msg.status < 300)
        acknowledge(a->dialog, a->cseq, false, false);
}

static void on_ask_gone(void *arg, enum err why)
{
    (void)arg;
    (void)why;
}

/* ---- either side of a dialog ---- */

static void say(struct bodies_dialog *d, struct stxn *t, uint16_t status, const char *headers,
                bool body)
{
    char mem[256];
    struct buf b;
    sv type = SV_NONE, text = SV_NONE;
    buf_init(&b, mem, sizeof(mem));
    buf_printf(&b, "Contact: <sip:u%u@10.0.1.%u:5060>\r\n%s", d->phone->index, d->phone->index + 1,
               headers);
    bool early = body && status < 200; /* one description for all of its 18x */
    if (body && !(early && d->early.p))
        text = describe(d->phone, early ? 0 : 20, &type);
    if (early) {
        d->early = text.p ? text : d->early;
        text = d->early;
        type = SV("application/sdp");
    }
    struct sip_reply r = {.status = status,
                          .to_tag = d->local_tag,
                          .record_route = status < 300,
                          .headers = buf_sv(&b),
                          .content_type = type,
                          .body = text};
    enum err rc = stxn_reply(t, &r);
    (void)rc; /* lost */
}

static void bye(struct bodies_dialog *d)
{
    if (d->ended)
        return;
    d->ended = true;
    ask(d->phone, NULL, d, SIP_BYE, "", false);
}

static void answer_call(struct bodies_dialog *d)
{
    say(d, d->server, 200, "", true);
    stxn_repeat_2xx(d->server, true);
    d->answered = true;
}

/* The callee before its answer: rings, rings reliably, answers or refuses. */
static void ring(struct bodies_dialog *d)
{
    struct scenario *sc = d->phone->sc;
    char headers[64];
    unsigned what = (unsigned)(sim_random(sc->sim) % 100);
    if (d->rseq && d->pracked != d->rseq && d->repeats++ < 4) { /* RFC 3262 §3: until PRACK */
        snprintf(headers, sizeof(headers), "Require: 100rel\r\nRSeq: %u\r\n", d->rseq);
        say(d, d->server, 183, headers, true);
        plan(d, 500 * USEC_MS);
        return;
    }
    if (d->step++ < 2 && what < 70) {
        if (what < 20)
            say(d, d->server, 180, "", false);
        else if (what < 40 && !d->offerless)
            say(d, d->server, 183, "", true);
        else
            d->rseq = d->rseq ? d->rseq : 1 + what;
        plan(d, bodies_between(sc, 0, 2 * USEC_S));
        return;
    }
    if (what % 10 < 6) {
        answer_call(d);
    } else if (what % 10 < 9) {
        say(d, d->server, 486, "", false);
        stxn_drop(d->server);
        d->server = NULL;
    } /* else nobody is there */
}

/* What happens in a dialog that stands: three exchanges, then its end. */
static void on_plan(struct timer *t, void *arg)
{
    struct bodies_dialog *d = arg;
    struct scenario *sc = d->phone->sc;
    (void)t;
    if (d->server && !d->answered) {
        ring(d);
        return;
    }
    if (!d->answered || d->ended)
        return;
    if (d->step++ < 3) {
        enum sip_method m = bodies_chance(sc, 50) ? SIP_UPDATE : SIP_INVITE;
        ask(d->phone, NULL, d, m, "", m == SIP_UPDATE || bodies_chance(sc, 80));
        plan(d, bodies_between(sc, USEC_S, 4 * USEC_S));
        return;
    }
    bye(d);
}

/* ---- the callee ---- */

static void on_cancel(void *arg, struct rx *cancel)
{
    struct bodies_dialog *d = arg;
    (void)cancel;
    if (d->answered || !d->server)
        return;
    loop_timer_cancel(d->phone->loop, &d->plan);
    if (bodies_chance(d->phone->sc, 30)) { /* it was just answering */
        d->late = true;
        answer_call(d);
        return;
    }
    say(d, d->server, 487, "", false);
    stxn_drop(d->server);
    d->server = NULL;
}

static void on_invite_gone(void *arg, enum err why)
{
    struct bodies_dialog *d = arg;
    d->server = NULL;
    if (why && d->answered)
        bye(d);
}

static void on_reinvite_gone(void *arg, enum err why)
{
    struct bodies_dialog *d = arg;
    (void)why;
    d->reinvite = NULL;
}

static const struct stxn_handler invite_handler = {.on_cancel = on_cancel,
                                                   .on_gone = on_invite_gone};
static const struct stxn_handler reinvite_handler = {.on_gone = on_reinvite_gone};

static void on_invite(struct caller *p, struct rx *rx, int64_t leg)
{
    struct scenario *sc = p->sc;
    char tag[32];
    snprintf(tag, sizeof(tag), "t%u-%u", p->index, ++sc->serial);
    if (leg >= 0) {
        struct leg *l = &sc->leg[leg];
        if (l->refused)
            bodies_fail(sc, "a refused INVITE arrives", rx->msg.text);
        if (l->phone && l->phone != p->index + 1)
            bodies_fail(sc, "one leg rings two phones", rx->msg.text);
        l->phone = p->index + 1;
    }
    if (bodies_chance(sc, 15)) { /* a description that it does not like */
        struct sip_reply no = {.status = 488, .to_tag = sv_of(tag)};
        struct stxn *t;
        if (stxn_new(p->sip, rx, NULL, NULL, &t))
            return;
        bodies_need(stxn_reply(t, &no));
        stxn_drop(t);
        return;
    }
    struct bodies_dialog *d = dialog_new(p, rx, sv_of(tag));
    d->offerless = leg < 0;
    timer_init(&d->plan, on_plan, d);
    if (stxn_new(p->sip, rx, &invite_handler, d, &d->server))
        return;
    plan(d, bodies_between(sc, 0, USEC_S));
}

static void on_ack(struct bodies_dialog *d, struct rx *rx)
{
    uint32_t number = number_of(rx);
    struct unfit *unfit = d->call ? NULL : bodies_unfit(d->phone->sc, d->local_tag);
    if (unfit)
        unfit->acked = true;
    if (!d->call && number < d->invite_cseq)
        bodies_fail(d->phone->sc, "an ACK below its INVITE", rx->msg.text);
    if (d->reinvite && number == d->reinvite_cseq) {
        stxn_drop(d->reinvite);
        d->reinvite = NULL;
    } else if (d->server && d->answered) {
        stxn_drop(d->server);
        d->server = NULL;
        d->step = (unsigned)(sim_random(d->phone->sc->sim) % 4);
        plan(d, bodies_between(d->phone->sc, 0, 6 * USEC_S));
    }
}

static void on_in_dialog(struct caller *p, struct rx *rx, struct bodies_dialog *d, bool body)
{
    struct stxn *t;
    uint64_t rseq, of;
    if (!d->call && number_of(rx) <= d->invite_cseq)
        bodies_fail(p->sc, "a request not above its INVITE", rx->msg.text);
    if (rx->msg.method == SIP_INVITE) {
        if (d->reinvite || d->server || stxn_new(p->sip, rx, &reinvite_handler, d, &d->reinvite))
            return;
        d->reinvite_cseq = number_of(rx);
        say(d, d->reinvite, 200, "", true);
        stxn_repeat_2xx(d->reinvite, true);
        return;
    }
    if (stxn_new(p->sip, rx, NULL, NULL, &t))
        return;
    if (rx->msg.method == SIP_PRACK) {
        sv rack = sipmsg_value(&rx->msg, SIP_H_RACK);
        size_t blank = sv_chr(rack, ' ');
        sv rest = sv_sub(rack, blank + 1, rack.n);
        if (sv_u64(sv_sub(rack, 0, blank), UINT32_MAX, &rseq) == ERR_OK)
            d->pracked = (uint32_t)rseq;
        if (sv_u64(sv_sub(rest, 0, sv_chr(rest, ' ')), UINT32_MAX, &of) || of != d->invite_cseq)
            bodies_fail(p->sc, "a PRACK of another INVITE", rx->msg.text);
    }
    struct unfit *unfit = d->call ? NULL : bodies_unfit(p->sc, d->local_tag);
    if (rx->msg.method == SIP_BYE && unfit && sipmsg_has(&rx->msg, SIP_H_REASON)) {
        if (unfit->told)
            bodies_fail(p->sc, "a second BYE", rx->msg.text);
        unfit->told = true;
    }
    if (rx->msg.method == SIP_BYE)
        d->ended = true;
    say(d, t, 200, "", body);
    stxn_drop(t);
}

static void on_request(void *arg, struct rx *rx)
{
    struct caller *p = arg;
    const struct sip_addr *from, *to;
    if (rx->rc || sipmsg_from(&rx->msg, &from) || sipmsg_to(&rx->msg, &to)) {
        bodies_fail(p->sc, "a phone gets what it cannot read", rx->msg.text);
        return;
    }
    int64_t leg = check_body(p, rx);
    if (!to->tag.n) {
        if (rx->msg.method == SIP_INVITE)
            on_invite(p, rx, leg);
        return;
    }
    struct bodies_dialog *d =
        dialog_find(p, sipmsg_value(&rx->msg, SIP_H_CALL_ID), to->tag, from->tag);
    if (d && rx->msg.method == SIP_ACK) {
        on_ack(d, rx);
    } else if (d) {
        on_in_dialog(p, rx, d, leg >= 0);
    } else if (rx->msg.method != SIP_ACK) {
        struct sip_reply r = {.status = 481};
        enum err rc = sip_reply(p->sip, rx, &r);
        (void)rc;
    }
}

static void on_octets(void *arg, bool out, const struct addr *peer, sv octets)
{
    struct caller *p = arg;
    (void)peer;
    if (p->sc->program->trace)
        printf("%lld phone%u %s\n" SV_FMT "\n", (long long)sim_now(p->sc->sim), p->index,
               out ? "sends" : "gets", SV_ARG(octets));
}
static const struct sip_user phone_user = {.on_request = on_request, .on_octets = on_octets};

void caller_start(struct scenario *sc, unsigned i)
{
    struct caller *p = &sc->phone[i];
    char name[32], ip[32];
    struct sip_config config = {.t1 = 500 * USEC_MS,
                                .t2 = 4 * USEC_S,
                                .t4 = 5 * USEC_S,
                                .max_message = 64 * 1024,
                                .mtu = 65000,
                                .connections = 64,
                                .connections_source = 64,
                                .idle = USEC_HOUR,
                                .message_time = 10 * USEC_S,
                                .transactions = 4096};
    *p = (struct caller){.sc = sc, .index = i};
    list_init(&p->dialogs);
    snprintf(name, sizeof(name), "phone%u", i);
    snprintf(ip, sizeof(ip), "10.0.1.%u", i + 1);
    bodies_need(addr_parse_ip(sv_of(ip), 0, &p->ip));
    bodies_need(sim_host_new(sc->sim, name, &p->ip, 1, &p->host));
    bodies_need(sim_process(p->host, 1, &p->group));
    p->loop = p->group->loop[0];
    p->ip.port = 5060;
    config.listen[config.listeners++] = (struct sip_listen){.transport = SIP_T_UDP, .bind = p->ip};
    if (i % 2)
        config.listen[config.listeners++] =
            (struct sip_listen){.transport = SIP_T_TCP, .bind = p->ip};
    bodies_need(sip_shared_new(bodies_secret, p->group, &config, &p->shared));
    bodies_need(sip_new(p->loop, p->shared, &phone_user, p, &p->sip));
    bodies_need(txn_start(p->sip));
    for (unsigned k = 0; k < config.listeners; k++)
        bodies_need(sip_listen(p->sip, k));
}

void caller_call(struct scenario *sc, unsigned i)
{
    struct call *c = take(sc, sizeof(*c));
    struct caller *p = &sc->phone[sim_random(sc->sim) % PHONES];
    char mem[32];
    snprintf(mem, sizeof(mem), "call%u", i);
    c->from = p;
    c->id = bodies_keep(sc, sv_of(mem));
    c->tag = bodies_keep(sc, SV("caller"));
    c->offerless = bodies_chance(sc, 25);
    ask(p, c, NULL, SIP_INVITE, "Supported: 100rel\r\n", !c->offerless);
}
