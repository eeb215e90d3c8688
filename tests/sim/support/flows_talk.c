/* SPDX-License-Identifier: MIT */
/* What phones say over their connections: requests and their answers, dialogs (RFC 3261 §12, §13). */
#include "support/flows_priv.h"
#include <stdio.h>
#include <stdlib.h>

static const usec t64 = 32 * USEC_S;
/* Timer C of the worlds, its CANCEL's 64*T1, the INVITE's own way. */
static const usec decided_within = 130 * USEC_S;
/* How long a second final response is watched for. */
static const usec linger = 40 * USEC_S;

struct ask {
    struct link by_handset;
    struct handset *handset;
    struct talk *talk; /* NULL: nobody cares any more */
    unsigned line, birth;
    enum sip_method method;
    uint32_t cseq;
    char branch[ID_MAX], uri[TALK_TEXT], to_tag[ID_MAX];
    bool first; /* the INVITE or SUBSCRIBE that begins the dialog */
    bool provisional;
    unsigned tries, mishaps; /* of the phone when it was sent */
    uint16_t done;           /* final response; 0: none yet */
    struct timer timeout;
};

const char *method_name(enum sip_method m)
{
    return sip_method_name(m).p;
}

void text_copy(char *to, size_t cap, sv s)
{
    size_t n = s.n < cap - 1 ? s.n : cap - 1;
    memcpy(to, s.p ? s.p : "", n);
    to[n] = 0;
}

static const char *transport_of(const struct handset *h)
{
    return h->transport == SIP_T_WS ? "WS" : "TCP";
}

/* ---- talks ---- */

static void on_plan(struct timer *t, void *arg)
{
    struct talk *k = arg;
    (void)t;
    k->handset->handler->on_plan(k);
}

struct talk *talk_new(struct handset *h, unsigned line)
{
    struct talk *k = calloc(1, sizeof(*k));
    if (!k)
        abort();
    k->handset = h;
    k->line = line;
    k->fresh = h->mishaps;
    timer_init(&k->plan, on_plan, k);
    timer_init(&k->repeat, talk_on_repeat, k);
    snprintf(k->local_tag, ID_MAX, "p%u-%u", h->index, ++h->serial);
    list_push(&h->talks, &k->by_handset);
    return k;
}

static void let_asks_go(struct talk *k)
{
    LIST_EACH (a, &k->handset->asks, struct ask, by_handset) {
        if (a->talk == k)
            a->talk = NULL;
    }
}

void talk_free(struct talk *k, bool tell)
{
    struct handset *h = k->handset;
    let_asks_go(k);
    if (tell && !k->forked)
        h->handler->on_end(k);
    loop_timer_cancel(h->loop, &k->plan);
    loop_timer_cancel(h->loop, &k->repeat);
    list_unlink(&k->by_handset);
    free(k->invite);
    free(k->ok);
    free(k);
}

struct talk *talk_find(struct handset *h, sv call_id, sv local_tag, sv remote_tag)
{
    LIST_EACH (k, &h->talks, struct talk, by_handset) {
        if (sv_eq(sv_of(k->call_id), call_id) && sv_eq(sv_of(k->local_tag), local_tag) &&
            sv_eq(sv_of(k->remote_tag), remote_tag))
            return k;
    }
    return NULL;
}

struct talk *handset_peer(struct handset *list, size_t n, const struct talk *t)
{
    for (size_t i = 0; i < n; i++) {
        struct talk *k =
            talk_find(&list[i], sv_of(t->call_id), sv_of(t->remote_tag), sv_of(t->local_tag));
        if (k && k->handset != t->handset)
            return k;
    }
    return NULL;
}

/* RFC 5626 §4.3: its own flow, or the other one that is registered. */
struct line *talk_line(struct talk *k)
{
    struct handset *h = k->handset;
    if (h->line[k->line].state == LINE_UP)
        return &h->line[k->line];
    for (unsigned i = 0; i < h->lines; i++) {
        if (h->line[i].bound) {
            k->line = i;
            return &h->line[i];
        }
    }
    return NULL;
}

/* ---- requests ---- */

void line_put_contact(struct buf *b, const struct line *l)
{
    const struct handset *h = l->handset;
    buf_printf(b, "<sip:p%u-%u-%u@", h->index, l->index, l->births);
    line_put_host(b, l);
    buf_printf(b, ";transport=%s", h->transport == SIP_T_WS ? "ws" : "tcp");
    if (h->push)
        buf_printf(b, ";pn-provider=test;pn-prid=%u", h->index);
}

static void put_extra(struct buf *b, const struct ask *a, const struct line *l)
{
    const struct handset *h = l->handset;
    switch (a->method) {
    case SIP_REGISTER:
        buf_str(b, "Contact: ");
        line_put_contact(b, l);
        buf_printf(b, ">;+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-%012u>\";reg-id=%u\r\n",
                   h->index, l->index + 1);
        buf_str(b, "Expires: 3600\r\n");
        return;
    case SIP_SUBSCRIBE:
        buf_printf(b, "Event: presence\r\nExpires: %u\r\n",
                   a->talk->state == TALK_ENDING ? 0 : 600);
        break;
    case SIP_NOTIFY:
        buf_printf(b, "Event: presence\r\nSubscription-State: %s\r\n",
                   a->talk->state == TALK_ENDING ? "terminated" : "active;expires=600");
        break;
    case SIP_INVITE:
        break;
    default:
        return;
    }
    buf_str(b, "Contact: ");
    line_put_contact(b, l);
    buf_str(b, ";ob>\r\n");
}

/* §12.2.1.1; an ACK has no ask of its own. */
static void put_request(struct buf *b, const struct ask *a, struct line *l, sv credentials)
{
    const struct talk *k = a->talk;
    sv body = a->method == SIP_INVITE ? world_sdp : SV("");
    buf_printf(b, "%s %s SIP/2.0\r\nVia: SIP/2.0/%s ", method_name(a->method), a->uri,
               transport_of(l->handset));
    line_put_host(b, l);
    buf_printf(b, ";branch=%s;rport\r\nMax-Forwards: 70\r\n", a->branch);
    for (unsigned i = 0; i < k->routes; i++)
        buf_printf(b, "Route: %s\r\n", k->route[i]);
    buf_printf(b, "From: <%s>;tag=%s\r\nTo: <%s>", k->local_uri, k->local_tag, k->remote_uri);
    if (a->to_tag[0])
        buf_printf(b, ";tag=%s", a->to_tag);
    buf_printf(b, "\r\nCall-ID: %s\r\nCSeq: %u %s\r\nSupported: outbound, path\r\n", k->call_id,
               a->cseq, method_name(a->method));
    put_extra(b, a, l);
    buf_put(b, credentials);
    if (body.n)
        buf_str(b, "Content-Type: application/sdp\r\n");
    buf_printf(b, "Content-Length: %zu\r\n\r\n", body.n);
    buf_put(b, body);
}

static bool send_ask(struct ask *a, struct line *l, sv credentials)
{
    char mem[MESSAGE_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    put_request(&b, a, l, credentials);
    if (b.rc)
        abort();
    return line_send(l, buf_sv(&b));
}

static void ask_free(struct ask *a)
{
    loop_timer_cancel(a->handset->loop, &a->timeout);
    list_unlink(&a->by_handset);
    if (a->talk && !a->done)
        a->talk->asking--;
    free(a);
}

/* The final response of a; 0: there is none. a is done with. */
static void tell(struct ask *a, uint16_t status)
{
    struct handset *h = a->handset;
    struct talk *k = a->talk;
    a->done = status ? status : 1;
    if (!k)
        return;
    k->asking--;
    bool ok = status >= 200 && status < 300;
    if (a->first) {
        if (!k->subscription && !k->forked)
            h->handler->on_final(k, status);
        if (!ok)
            talk_free(k, true);
    } else if (a->method == SIP_BYE || k->state == TALK_ENDING) {
        k->unsaid = status == 0 || a->method != SIP_BYE;
        talk_free(k, true);
    } else if (a->method != SIP_CANCEL) {
        h->handler->on_answer(k, a->method, status);
    }
}

static void on_timeout(struct timer *t, void *arg)
{
    struct ask *a = arg;
    struct handset *h = a->handset;
    (void)t;
    /* RFC 4320 §4.2: who does not answer anything but an INVITE leaves it without an answer. */
    if (!a->done && a->method == SIP_INVITE && a->mishaps == h->mishaps)
        world_fail(h->world, "phone %u: no final response to INVITE %s in %lld s", h->index,
                   a->branch, (long long)((a->provisional ? decided_within : t64) / USEC_S));
    if (!a->done && a->method == SIP_REGISTER) {
        handset_registered(&h->line[a->line], 408, NULL); /* the ask ends with the connection */
        return;
    }
    if (!a->done)
        tell(a, 0);
    ask_free(a);
}

static struct ask *ask_new(struct talk *k, struct line *l, enum sip_method method)
{
    struct handset *h = l->handset;
    struct ask *a = calloc(1, sizeof(*a));
    if (!a)
        abort();
    a->handset = h;
    a->mishaps = h->mishaps;
    a->talk = k;
    a->line = l->index;
    a->birth = l->births;
    a->method = method;
    a->cseq = ++k->cseq;
    snprintf(a->branch, ID_MAX, "z9hG4bK-%u.%u.%u-%u", h->index, l->index, l->births, ++h->serial);
    text_copy(a->uri, TALK_TEXT, sv_of(k->target));
    text_copy(a->to_tag, ID_MAX, sv_of(k->remote_tag));
    timer_init(&a->timeout, on_timeout, a);
    list_push(&h->asks, &a->by_handset);
    k->asking++;
    return a;
}

/* False: it could not be written, and is gone. */
static bool ask_start(struct ask *a, struct line *l)
{
    loop_timer(a->handset->loop, &a->timeout, t64 + USEC_S);
    if (send_ask(a, l, SV("")))
        return true;
    ask_free(a);
    return false;
}

static void send_ack(struct talk *k, uint32_t cseq)
{
    struct line *l = talk_line(k);
    struct ask a = {.method = SIP_ACK, .cseq = cseq, .talk = k};
    if (!l)
        return;
    snprintf(a.branch, ID_MAX, "z9hG4bK-%u.%u.%u-%u", l->handset->index, l->index, l->births,
             ++l->handset->serial);
    text_copy(a.uri, TALK_TEXT, sv_of(k->target));
    text_copy(a.to_tag, ID_MAX, sv_of(k->remote_tag));
    (void)!send_ask(&a, l, SV(""));
}

/* §17.1.1.3: the ACK of another final response has the INVITE's branch, and its Routes. */
static void ack_failure(struct ask *a, struct line *l, struct sipmsg *m)
{
    char mem[MESSAGE_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_printf(&b, "ACK %s SIP/2.0\r\nVia: SIP/2.0/%s ", a->uri, transport_of(l->handset));
    line_put_host(&b, l);
    buf_printf(&b, ";branch=%s;rport\r\nMax-Forwards: 70\r\n", a->branch);
    for (unsigned i = 0; a->talk && i < a->talk->routes; i++)
        buf_printf(&b, "Route: %s\r\n", a->talk->route[i]);
    buf_printf(&b,
               "From: " SV_FMT "\r\nTo: " SV_FMT "\r\nCall-ID: " SV_FMT
               "\r\nCSeq: %u ACK\r\nContent-Length: 0\r\n\r\n",
               SV_ARG(sipmsg_value(m, SIP_H_FROM)), SV_ARG(sipmsg_value(m, SIP_H_TO)),
               SV_ARG(sipmsg_value(m, SIP_H_CALL_ID)), a->cseq);
    (void)!line_send(l, buf_sv(&b));
}

static void send_cancel(struct ask *a, struct line *l)
{
    char mem[MESSAGE_MAX];
    struct buf b;
    const struct talk *k = a->talk;
    buf_init(&b, mem, sizeof(mem));
    buf_printf(&b, "CANCEL %s SIP/2.0\r\nVia: SIP/2.0/%s ", a->uri, transport_of(l->handset));
    line_put_host(&b, l);
    buf_printf(&b, ";branch=%s;rport\r\nMax-Forwards: 70\r\n", a->branch);
    buf_printf(&b,
               "From: <%s>;tag=%s\r\nTo: <%s>\r\nCall-ID: %s\r\nCSeq: %u CANCEL\r\n"
               "Content-Length: 0\r\n\r\n",
               k->local_uri, k->local_tag, k->remote_uri, k->call_id, a->cseq);
    (void)!line_send(l, buf_sv(&b));
}

/* ---- dialogs ---- */

void talk_learn_target(struct talk *k, struct sipmsg *m)
{
    const struct sip_addr *contact;
    size_t n;
    if (sipmsg_addrs(m, SIP_H_CONTACT, &contact, &n) == ERR_OK && n == 1)
        text_copy(k->target, TALK_TEXT, contact->uri.text);
}

/* §12.1.1; of a response in reverse order (§12.1.2). */
void talk_learn(struct talk *k, struct sipmsg *m)
{
    struct sip_walk w = {.m = m, .id = SIP_H_RECORD_ROUTE};
    struct sip_item item;
    size_t total = sipmsg_count(m, SIP_H_RECORD_ROUTE), i = 0;
    const struct sip_addr *remote;
    enum err rc = m->request ? sipmsg_from(m, &remote) : sipmsg_to(m, &remote);
    if (rc || total > TALK_ROUTES) {
        world_fail(k->handset->world, "phone %u: a dialog that cannot be read", k->handset->index);
        return;
    }
    text_copy(k->remote_tag, ID_MAX, remote->tag);
    k->routes = (unsigned)total;
    while (sipmsg_next(&w, &item)) {
        size_t at = m->request ? i : total - 1 - i;
        text_copy(k->route[at], TALK_TEXT, item.text);
        i++;
    }
    talk_learn_target(k, m);
}

void talk_end(struct talk *k)
{
    struct line *l = talk_line(k);
    k->state = TALK_ENDING;
    loop_timer_cancel(k->handset->loop, &k->repeat);
    enum sip_method m = !k->subscription ? SIP_BYE : k->outgoing ? SIP_SUBSCRIBE : SIP_NOTIFY;
    if (l && ask_start(ask_new(k, l, m), l))
        return;
    k->unsaid = true;
    talk_free(k, true);
}

/* A second phone answered, too (§13.2.2.4). */
static void forked(const struct ask *a, struct line *l, struct sipmsg *m)
{
    struct talk *k = talk_new(l->handset, l->index);
    const struct sip_addr *to, *from;
    if (sipmsg_to(m, &to) || sipmsg_from(m, &from)) {
        talk_free(k, false);
        return;
    }
    k->forked = k->outgoing = true;
    text_copy(k->call_id, ID_MAX, sipmsg_value(m, SIP_H_CALL_ID));
    text_copy(k->local_tag, ID_MAX, from->tag);
    text_copy(k->local_uri, ID_MAX, from->uri.text);
    text_copy(k->remote_uri, ID_MAX, to->uri.text);
    k->cseq = a->cseq + 100;
    talk_learn(k, m);
    send_ack(k, a->cseq);
    talk_end(k);
}

static void on_invite_ok(struct ask *a, struct line *l, struct sipmsg *m)
{
    struct handset *h = a->handset;
    const struct sip_addr *to;
    struct talk *k = a->talk;
    if (sipmsg_to(m, &to))
        return;
    if (a->done >= 300) {
        world_fail(h->world, "phone %u: 2xx to %s after %u", h->index, a->branch, a->done);
        return;
    }
    if (k && a->first && !a->done) {
        talk_learn(k, m);
        k->state = TALK_UP;
        k->fresh = h->mishaps;
        k->acked = true;
        send_ack(k, a->cseq);
        k->invite_cseq = a->cseq;
        tell(a, m->status);
        h->handler->on_up(k);
    } else if (k && (!a->first || sv_eq(sv_of(k->remote_tag), to->tag))) {
        if (!a->first)
            talk_learn_target(k, m);
        send_ack(k, a->cseq);
        if (!a->done) {
            k->fresh = h->mishaps;
            tell(a, m->status);
        }
    } else if (a->first) {
        const struct sip_addr *from;
        struct talk *other = sipmsg_from(m, &from)
                                 ? NULL
                                 : talk_find(h, sipmsg_value(m, SIP_H_CALL_ID), from->tag, to->tag);
        if (other)
            send_ack(other, a->cseq);
        else
            forked(a, l, m); /* or one that has ended meanwhile: as good as forked */
    }
}

/* ---- responses ---- */

static struct ask *ask_find(struct handset *h, sv branch, enum sip_method method)
{
    LIST_EACH (a, &h->asks, struct ask, by_handset) {
        if (sv_eq(sv_of(a->branch), branch) && a->method == method)
            return a;
    }
    return NULL;
}

static bool challenged(struct ask *a, struct line *l, struct sipmsg *m)
{
    char mem[1024], user[16], cnonce[20];
    struct buf b;
    struct talk *k = a->talk;
    if ((m->status != 401 && m->status != 407) || a->tries++ >= 2 || !k)
        return false;
    buf_init(&b, mem, sizeof(mem));
    snprintf(user, sizeof(user), "user%u", l->handset->account);
    snprintf(cnonce, sizeof(cnonce), "%llx", (unsigned long long)loop_random(l->handset->loop));
    if (auth_answer(&b, m, sip_method_name(a->method), sv_of(a->uri), sv_of(user),
                    SV(WORLD_PASSWORD), sv_of(cnonce), 1))
        return false;
    struct ask *again = ask_new(k, l, a->method);
    again->first = a->first;
    again->tries = a->tries;
    text_copy(again->uri, TALK_TEXT, sv_of(a->uri));
    loop_timer(l->handset->loop, &again->timeout, t64 + USEC_S);
    if (!send_ask(again, l, buf_sv(&b))) {
        ask_free(again);
        return false;
    }
    a->done = m->status;
    k->asking--;
    a->talk = NULL;
    return true;
}

static void on_final(struct ask *a, struct line *l, struct sipmsg *m)
{
    struct handset *h = a->handset;
    bool invite = a->method == SIP_INVITE, ok = m->status < 300;
    if (invite && !ok)
        ack_failure(a, l, m);
    if (a->done) {
        if (!invite || !ok)
            world_fail(h->world, "phone %u: %u to %s after %u", h->index, m->status, a->branch,
                       a->done);
        else
            on_invite_ok(a, l, m);
        return;
    }
    if (!challenged(a, l, m)) {
        if (a->method == SIP_REGISTER) {
            a->done = m->status;
            a->talk->asking--;
            a->talk = NULL;
            ask_free(a);
            handset_registered(l, m->status, m);
            return;
        }
        if (invite && ok) {
            on_invite_ok(a, l, m);
        } else {
            if (a->method == SIP_SUBSCRIBE && ok && a->talk && a->first) {
                talk_learn(a->talk, m);
                a->talk->fresh = h->mishaps;
                a->talk->state = TALK_UP;
            }
            tell(a, m->status);
        }
    }
    loop_timer(h->loop, &a->timeout, linger);
}

void talk_on_response(struct line *l, struct sipmsg *m)
{
    struct handset *h = l->handset;
    const struct sip_via *via;
    const struct sip_cseq *cseq;
    char prefix[ID_MAX];
    if (sipmsg_via(m, &via) || sipmsg_cseq(m, &cseq)) {
        world_fail(h->world, "phone %u: a response that cannot be read", h->index);
        return;
    }
    int n = snprintf(prefix, sizeof(prefix), "z9hG4bK-%u.%u.%u-", h->index, l->index, l->births);
    if (!sv_starts(via->branch, (sv){prefix, (size_t)n})) {
        world_fail(h->world,
                   "phone %u: the response to a request with branch " SV_FMT
                   " came by connection %u.%u",
                   h->index, SV_ARG(via->branch), l->index, l->births);
        return;
    }
    struct ask *a = ask_find(h, via->branch, cseq->method);
    if (!a || cseq->method == SIP_CANCEL)
        return;
    if (m->status >= 200) {
        on_final(a, l, m);
        return;
    }
    if (!a->provisional && a->method == SIP_INVITE && !a->done) {
        a->provisional = true;
        loop_timer(h->loop, &a->timeout, decided_within);
        if (a->talk && a->talk->cancel)
            send_cancel(a, l);
    }
    if (m->status > 100 && a->talk && a->first && !a->done && !a->talk->subscription)
        h->handler->on_progress(a->talk, m->status);
}

/* ---- what the test asks for ---- */

struct talk *handset_call(struct handset *h, unsigned account, bool subscription)
{
    struct talk *k = talk_new(h, (unsigned)(loop_random(h->loop) % h->lines));
    struct line *l = talk_line(k);
    char mem[64];
    if (!l || !l->bound) {
        talk_free(k, false);
        return NULL;
    }
    k->outgoing = true;
    k->subscription = subscription;
    snprintf(k->call_id, ID_MAX, "c%u-%u-%llx@h", h->index, ++h->serial,
             (unsigned long long)loop_random(h->loop));
    text_copy(k->local_uri, ID_MAX, world_uri(h->account, mem));
    text_copy(k->remote_uri, ID_MAX, world_uri(account, mem));
    text_copy(k->target, TALK_TEXT, world_uri(account, mem));
    struct ask *a = ask_new(k, l, subscription ? SIP_SUBSCRIBE : SIP_INVITE);
    a->first = true;
    if (ask_start(a, l))
        return k;
    talk_free(k, false);
    return NULL;
}

bool handset_request(struct talk *k, enum sip_method method)
{
    struct line *l = talk_line(k);
    if (!l || k->state != TALK_UP || k->asking || (!k->subscription && !k->acked))
        return false;
    return ask_start(ask_new(k, l, method), l);
}

/* "<sip:mark.hash.token@…": where the token begins, or 0. */
static size_t token_at(sv route, size_t *ret_end)
{
    size_t dots = 0, at = 0;
    *ret_end = sv_chr(route, '@');
    for (size_t i = 0; i < *ret_end; i++) {
        if (route.p[i] == '.' && ++dots == 2)
            at = i;
    }
    return *ret_end < route.n ? at : 0;
}

bool handset_steal(struct talk *k, const struct talk *from)
{
    char mem[TALK_TEXT];
    struct buf b;
    size_t end, other_end;
    if (!k->routes || !from->routes)
        return false;
    sv own = sv_of(k->route[k->routes - 1]), other = sv_of(from->route[from->routes - 1]);
    size_t at = token_at(own, &end), other_at = token_at(other, &other_end);
    if (!at || !other_at)
        return false;
    buf_init(&b, mem, sizeof(mem) - 1);
    buf_put(&b, sv_sub(own, 0, at));
    buf_put(&b, sv_sub(other, other_at, other_end));
    buf_put(&b, sv_sub(own, end, own.n));
    char before[TALK_TEXT];
    memcpy(before, k->route[k->routes - 1], TALK_TEXT);
    text_copy(k->route[k->routes - 1], TALK_TEXT, buf_sv(&b));
    if (b.rc == ERR_OK && handset_request(k, SIP_MESSAGE))
        return true;
    memcpy(k->route[k->routes - 1], before, TALK_TEXT);
    return false;
}

void handset_hangup(struct talk *k)
{
    struct handset *h = k->handset;
    if (k->state == TALK_ENDING)
        return;
    if (k->state == TALK_UP) {
        talk_end(k);
        return;
    }
    if (k->state == TALK_ANSWERED) {
        talk_end(k); /* §15 would wait for the ACK; a phone that is in a hurry does not */
        return;
    }
    if (!k->outgoing) {
        handset_respond(k, 486);
        return;
    }
    if (k->cancel)
        return;
    k->cancel = true;
    LIST_EACH (a, &h->asks, struct ask, by_handset) {
        if (a->talk == k && a->first && a->provisional && !a->done) {
            send_cancel(a, &h->line[a->line]);
            return;
        }
    }
}

/* ---- registering, and the end of a connection ---- */

void handset_register(struct line *l)
{
    struct handset *h = l->handset;
    struct talk *k = &l->registering;
    char mem[64];
    if (!k->handset) {
        k->handset = h;
        snprintf(k->call_id, ID_MAX, "r%u-%u-%u@h", h->index, l->index, ++h->serial);
        snprintf(k->local_tag, ID_MAX, "p%u-%u", h->index, ++h->serial);
        text_copy(k->local_uri, ID_MAX, world_uri(h->account, mem));
        text_copy(k->remote_uri, ID_MAX, world_uri(h->account, mem));
        text_copy(k->target, TALK_TEXT, SV("sip:" WORLD_DOMAIN));
    }
    (void)!ask_start(ask_new(k, l, SIP_REGISTER), l);
}

void handset_line_lost(struct line *l)
{
    struct handset *h = l->handset;
    struct ask *a;
    do {
        a = NULL;
        LIST_EACH (x, &h->asks, struct ask, by_handset) {
            if (x->line == l->index) {
                a = x;
                break;
            }
        }
        if (!a)
            break;
        if (a->talk == &l->registering) {
            a->talk->asking--;
            a->talk = NULL;
        } else if (!a->done) {
            tell(a, 0);
        }
        ask_free(a);
    } while (true);
    /* A phone with another flow is rung again by that (RFC 5626 §7); one without lets it ring. */
    LIST_EACH_SAFE (k, &h->talks, struct talk, by_handset) {
        if (h->lines > 1 && !k->outgoing && !k->subscription && k->state == TALK_BEGUN &&
            k->invite_line == l->index)
            talk_free(k, true);
    }
}

void handset_forget(struct handset *h)
{
    LIST_EACH_SAFE (a, &h->asks, struct ask, by_handset) {
        loop_timer_cancel(h->loop, &a->timeout);
        list_unlink(&a->by_handset);
        free(a);
    }
    LIST_EACH_SAFE (k, &h->talks, struct talk, by_handset) {
        k->unsaid = k->state != TALK_BEGUN;
        talk_free(k, true);
    }
}

size_t handset_remains(const struct handset *h)
{
    size_t n = 0;
    LIST_EACH (a, &h->asks, struct ask, by_handset)
        n += !a->done;
    LIST_EACH (k, &h->talks, struct talk, by_handset)
        n++;
    return n;
}
