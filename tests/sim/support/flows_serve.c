/* SPDX-License-Identifier: MIT */
/* What phones are asked over their connections, and what they say to it (RFC 3261 §8.2, §13.3). */
#include "support/flows_priv.h"
#include <stdio.h>
#include <stdlib.h>

static const usec t1 = 500 * USEC_MS, t2 = 4 * USEC_S, t64 = 32 * USEC_S;

static sv reply(struct buf *b, const struct line *l, struct sipmsg *m, uint16_t status, sv tag)
{
    char mem[TALK_TEXT];
    struct buf headers;
    bool dialog =
        (m->method == SIP_INVITE || m->method == SIP_SUBSCRIBE) && status > 100 && status < 300;
    buf_init(&headers, mem, sizeof(mem));
    if (dialog) {
        buf_str(&headers, "Contact: ");
        line_put_contact(&headers, l);
        buf_str(&headers, ";ob>\r\n");
        if (m->method == SIP_SUBSCRIBE)
            buf_str(&headers, "Expires: 600\r\n");
    }
    struct sip_reply r = {.status = status,
                          .to_tag = status > 100 ? tag : SV_NONE,
                          .record_route = dialog,
                          .headers = buf_sv(&headers)};
    if (m->method == SIP_INVITE && status >= 200 && status < 300) {
        r.content_type = SV("application/sdp");
        r.body = world_sdp;
    }
    if (sipmsg_reply(b, m, &r))
        abort();
    return buf_sv(b);
}

static void answer(struct line *l, struct sipmsg *m, uint16_t status, sv tag)
{
    char mem[MESSAGE_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    (void)!line_send(l, reply(&b, l, m, status, tag));
}

/* §13.3.1.4: the 2xx is repeated until the ACK comes; without it the call ends. */
void talk_on_repeat(struct timer *t, void *arg)
{
    struct talk *k = arg;
    struct handset *h = k->handset;
    struct line *l = talk_line(k);
    if (sim_now(h->world->sim) >= k->repeat_until) {
        talk_end(k);
        return;
    }
    if (l)
        (void)!line_send(l, (sv){k->ok, k->ok_n});
    k->repeat_gap = 2 * k->repeat_gap < t2 ? 2 * k->repeat_gap : t2;
    loop_timer(h->loop, t, k->repeat_gap);
}

static void begin_repeating(struct talk *k, sv octets)
{
    struct handset *h = k->handset;
    free(k->ok);
    k->ok = malloc(octets.n);
    if (!k->ok)
        abort();
    memcpy(k->ok, octets.p, octets.n);
    k->ok_n = octets.n;
    k->acked = false;
    k->repeat_gap = t1;
    k->repeat_until = sim_now(h->world->sim) + t64;
    loop_timer(h->loop, &k->repeat, t1);
}

void handset_respond(struct talk *k, uint16_t status)
{
    struct handset *h = k->handset;
    struct line *l = &h->line[k->invite_line];
    struct arena a;
    struct sipmsg m;
    char mem[MESSAGE_MAX];
    struct buf b;
    if (l->state != LINE_UP || l->births != k->invite_birth)
        l = talk_line(k); /* §18.2.2: as good as a new connection to the sent-by */
    if (l) {
        arena_init(&a, NULL, 0, 64 * 1024);
        if (sipmsg_parse((sv){k->invite, k->invite_n}, &a, &m, NULL))
            abort();
        buf_init(&b, mem, sizeof(mem));
        sv octets = reply(&b, l, &m, status, sv_of(k->local_tag));
        (void)!line_send(l, octets);
        if (status >= 200 && status < 300)
            begin_repeating(k, octets);
        arena_done(&a);
    } else if (status >= 200 && status < 300) {
        status = 480; /* nowhere to be said */
    }
    if (status >= 300) {
        talk_free(k, true);
    } else if (status >= 200) {
        k->state = TALK_ANSWERED;
        k->fresh = h->mishaps;
    }
}

/* A new talk of a request that makes one. */
static struct talk *incoming(struct line *l, struct sipmsg *m)
{
    struct handset *h = l->handset;
    const struct sip_addr *from, *to;
    const struct sip_via *via;
    const struct sip_cseq *cseq;
    if (sipmsg_from(m, &from) || sipmsg_to(m, &to) || sipmsg_via(m, &via) || sipmsg_cseq(m, &cseq))
        return NULL;
    struct talk *k = talk_new(h, l->index);
    text_copy(k->call_id, ID_MAX, sipmsg_value(m, SIP_H_CALL_ID));
    text_copy(k->local_uri, ID_MAX, to->uri.text);
    text_copy(k->remote_uri, ID_MAX, from->uri.text);
    text_copy(k->invite_branch, TALK_TEXT, via->branch);
    k->invite_line = l->index;
    k->invite_birth = l->births;
    k->invite_cseq = cseq->number;
    k->invite = calloc(1, m->text.n + BLOCK_SLACK);
    if (!k->invite)
        abort();
    memcpy(k->invite, m->text.p, m->text.n);
    k->invite_n = m->text.n;
    talk_learn(k, m);
    return k;
}

/* §8.2.2.2: the same request by another way. */
static bool merged(struct handset *h, struct sipmsg *m)
{
    const struct sip_addr *from;
    if (sipmsg_from(m, &from))
        return false;
    LIST_EACH (k, &h->talks, struct talk, by_handset) {
        if (!k->outgoing && sv_eq(sv_of(k->call_id), sipmsg_value(m, SIP_H_CALL_ID)) &&
            sv_eq(sv_of(k->remote_tag), from->tag))
            return true;
    }
    return false;
}

static void on_outside(struct line *l, struct sipmsg *m)
{
    struct handset *h = l->handset;
    char own[ID_MAX];
    const struct uri *uri;
    int n = snprintf(own, sizeof(own), "p%u-%u-%u", h->index, l->index, l->births);
    if (sipmsg_uri(m, &uri) || !sv_eq(uri->user, (sv){own, (size_t)n})) {
        world_fail(h->world, "connection %s: %s for " SV_FMT, own, method_name(m->method),
                   SV_ARG(m->uri_text));
        return;
    }
    if (m->method != SIP_INVITE && m->method != SIP_SUBSCRIBE) {
        answer(l, m, m->method == SIP_OPTIONS ? 200 : 481, SV("none"));
        return;
    }
    if (merged(h, m)) {
        if (h->handler->on_merged)
            h->handler->on_merged(l, sipmsg_value(m, SIP_H_CALL_ID));
        answer(l, m, 482, SV("merged"));
        return;
    }
    struct talk *k = incoming(l, m);
    if (!k)
        return;
    if (m->method == SIP_INVITE) {
        h->handler->on_invite(k);
        return;
    }
    k->subscription = true;
    k->state = TALK_UP;
    answer(l, m, 200, sv_of(k->local_tag));
    (void)!handset_request(k, SIP_NOTIFY); /* RFC 6665 §4.2.1.2: at once */
}

static void on_ack(struct talk *k)
{
    if (k->acked)
        return;
    k->acked = true;
    loop_timer_cancel(k->handset->loop, &k->repeat);
    if (k->state == TALK_ANSWERED) {
        k->state = TALK_UP;
        k->handset->handler->on_up(k);
    }
}

static void on_reinvite(struct line *l, struct talk *k, struct sipmsg *m)
{
    char mem[MESSAGE_MAX];
    struct buf b;
    if (k->state != TALK_UP || k->asking || !k->acked) {
        answer(l, m, 491, SV("none")); /* §14.2 */
        return;
    }
    talk_learn_target(k, m);
    buf_init(&b, mem, sizeof(mem));
    sv octets = reply(&b, l, m, 200, SV_NONE);
    (void)!line_send(l, octets);
    begin_repeating(k, octets);
    k->line = l->index;
}

static void on_inside(struct line *l, struct sipmsg *m, sv local, sv remote)
{
    struct handset *h = l->handset;
    char prefix[ID_MAX];
    int n = snprintf(prefix, sizeof(prefix), "p%u-", h->index);
    if (!sv_starts(local, (sv){prefix, (size_t)n}) && !sv_eq(local, SV("none")) &&
        !sv_eq(local, SV("merged"))) {
        world_fail(h->world, "phone %u: %s of a dialog of " SV_FMT, h->index,
                   method_name(m->method), SV_ARG(local));
        return;
    }
    struct talk *k = talk_find(h, sipmsg_value(m, SIP_H_CALL_ID), local, remote);
    if (m->method == SIP_ACK) {
        if (k)
            on_ack(k);
        return;
    }
    if (!k) {
        answer(l, m, 481, SV_NONE);
        return;
    }
    bool ends =
        m->method == SIP_BYE ||
        (k->subscription &&
         (m->method == SIP_SUBSCRIBE
              ? sv_eq(sipmsg_value(m, SIP_H_EXPIRES), SV("0"))
              : sv_starts(sipmsg_value_named(m, SV("Subscription-State")), SV("terminated"))));
    if (m->method == SIP_INVITE) {
        on_reinvite(l, k, m);
        return;
    }
    answer(l, m, 200, SV_NONE);
    if (ends)
        talk_free(k, true);
}

static void on_cancel(struct line *l, struct sipmsg *m)
{
    struct handset *h = l->handset;
    const struct sip_via *via;
    if (sipmsg_via(m, &via))
        return;
    LIST_EACH (k, &h->talks, struct talk, by_handset) {
        if (k->outgoing || !sv_eq(sv_of(k->invite_branch), via->branch))
            continue;
        answer(l, m, 200, sv_of(k->local_tag));
        if (k->state == TALK_BEGUN)
            handset_respond(k, 487);
        return;
    }
    answer(l, m, 481, SV("none"));
}

void handset_message(struct line *l, sv octets)
{
    struct handset *h = l->handset;
    struct arena a;
    struct sipmsg m;
    const struct sip_addr *from, *to;
    char mem[4096];
    arena_init(&a, mem, sizeof(mem), 256 * 1024);
    if (sipmsg_parse(octets, &a, &m, NULL) || sipmsg_check(&m, NULL) || sipmsg_from(&m, &from) ||
        sipmsg_to(&m, &to))
        world_fail(h->world, "phone %u: a message that cannot be read", h->index);
    else if (!m.request)
        talk_on_response(l, &m);
    else if (m.method == SIP_CANCEL)
        on_cancel(l, &m);
    else if (to->tag.n)
        on_inside(l, &m, to->tag, from->tag);
    else
        on_outside(l, &m);
    arena_done(&a);
}
