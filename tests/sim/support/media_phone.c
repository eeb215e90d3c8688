/* SPDX-License-Identifier: MIT */
/* Calls of media_sim's phones: each has one at a time. */
#include "support/media.h"
#include <stdio.h>
#include <stdlib.h>

/* Behind the end of a call another one does not begin before what was said in it has arrived. */
enum { REINVITES = 4 };

struct ask {
    struct media_phone *phone;
    struct media_call *call;     /* the INVITE that begins it; else NULL */
    struct media_dialog *dialog; /* likewise */
    enum sip_method method;
    uint32_t cseq;
    bool answered;
};

/* ---- dialogs ---- */

static uint32_t number_of(struct rx *rx)
{
    const struct sip_cseq *cseq;
    media_need(sipmsg_cseq(&rx->msg, &cseq));
    return cseq->number;
}

static void on_plan(struct timer *t, void *arg);

static void plan(struct media_dialog *d, usec in)
{
    loop_timer(d->phone->loop, &d->plan, in);
}

static struct media_dialog *dialog_new(struct media_phone *p, struct media_call *c, struct rx *rx,
                                       sv local_tag)
{
    struct media_world *w = p->world;
    struct media_dialog *d = media_take(w, sizeof(*d));
    struct sip_walk walk = {.m = &rx->msg, .id = SIP_H_RECORD_ROUTE};
    const struct sip_addr *remote = NULL, *contact = NULL;
    struct sip_item item;
    size_t total = sipmsg_count(&rx->msg, SIP_H_RECORD_ROUTE), n;
    if (total > MEDIA_ROUTES)
        abort();
    media_need(rx->msg.request ? sipmsg_from(&rx->msg, &remote) : sipmsg_to(&rx->msg, &remote));
    media_need(sipmsg_addrs(&rx->msg, SIP_H_CONTACT, &contact, &n));
    *d = (struct media_dialog){.phone = p,
                               .call = c,
                               .caller = !rx->msg.request,
                               .call_id = c->id,
                               .local_tag = media_keep(w, local_tag),
                               .remote_tag = media_keep(w, remote->tag),
                               .target = media_keep(w, contact->uri.text),
                               .cseq = rx->msg.request ? 100 : 1};
    for (; sipmsg_next(&walk, &item); d->routes++) /* a caller's is reversed (§12.1.2) */
        d->route[rx->msg.request ? d->routes : total - 1 - d->routes] = media_keep(w, item.text);
    timer_init(&d->plan, on_plan, d);
    list_push(&p->dialogs, &d->by_phone);
    return d;
}

static struct media_dialog *dialog_find(struct media_phone *p, sv call_id, sv local, sv remote)
{
    LIST_EACH (d, &p->dialogs, struct media_dialog, by_phone) {
        if (sv_eq(d->call_id, call_id) && sv_eq(d->local_tag, local) &&
            sv_eq(d->remote_tag, remote))
            return d;
    }
    return NULL;
}

struct media_dialog *media_other(const struct media_dialog *d)
{
    struct media_world *w = d->phone->world;
    for (unsigned i = 0; i < MEDIA_PHONES; i++) {
        struct media_dialog *x = dialog_find(&w->phone[i], d->call_id, d->remote_tag, d->local_tag);
        if (x && x != d)
            return x;
    }
    return NULL;
}

static void dialog_end(struct media_dialog *d, usec talk)
{
    if (d->ended)
        return;
    d->ended = true;
    loop_timer_cancel(d->phone->loop, &d->plan);
    if (d->way)
        d->way->live = false;
    bool others = false;
    LIST_EACH (x, &d->phone->dialogs, struct media_dialog, by_phone)
        others = others || (x->end == d->end && !x->ended && x->answered);
    if (d->end && !others)
        media_end_close(d->end, talk);
}

/* ---- requests ---- */

static struct block *build(const struct ask *a, sv body, struct txn_key *ret_key)
{
    struct media_phone *p = a->phone;
    const struct media_dialog *d = a->dialog;
    struct dest hop = {.addr = p->world->server, .transport = SIP_T_UDP};
    struct flow f;
    struct buf b;
    sv branch, method = sip_method_name(a->method);
    media_need(sip_flow_for(p->sip, &hop, &f));
    struct block *octets = sip_block(p->sip, MEDIA_MESSAGE);
    if (!octets)
        abort();
    buf_init(&b, octets->p, octets->cap);
    buf_printf(&b, SV_FMT " " SV_FMT " SIP/2.0\r\nVia: ", SV_ARG(method),
               SV_ARG(d ? d->target : SV("sip:all@example.test")));
    sip_put_via(p->sip, &b, &f, home_slot(sip_home(p->sip), p->loop->worker, loop_random(p->loop)),
                SV_NONE, &branch);
    *ret_key = ctxn_key(p->sip, branch, a->method, method);
    buf_str(&b, "\r\nMax-Forwards: 70\r\n");
    for (unsigned i = 0; d && i < d->routes; i++)
        buf_printf(&b, "Route: " SV_FMT "\r\n", SV_ARG(d->route[i]));
    buf_printf(&b, "From: <sip:u%u@example.test>;tag=" SV_FMT "\r\nTo: <sip:all@example.test>",
               p->index, SV_ARG(d ? d->local_tag : a->call->tag));
    if (d)
        buf_printf(&b, ";tag=" SV_FMT, SV_ARG(d->remote_tag));
    buf_printf(&b, "\r\nCall-ID: " SV_FMT "\r\nCSeq: %u " SV_FMT "\r\n",
               SV_ARG(d ? d->call_id : a->call->id), a->cseq, SV_ARG(method));
    buf_printf(&b, "Contact: <sip:u%u@10.0.1.%u:5060>\r\n", p->index, p->index + 1);
    if (body.n)
        buf_str(&b, "Content-Type: application/sdp\r\n");
    buf_printf(&b, "Content-Length: %zu\r\n\r\n", body.n);
    buf_put(&b, body);
    media_need(b.rc);
    octets->n = (uint32_t)b.n;
    return octets;
}

static void on_response(void *arg, struct rx *rx);
static void on_ask_gone(void *arg, enum err why);
static const struct ctxn_handler ask_handler = {.on_response = on_response, .on_gone = on_ask_gone};

static struct ctxn *ask(struct media_phone *p, struct media_call *c, struct media_dialog *d,
                        enum sip_method m, sv body)
{
    struct ask *a = media_take(p->world, sizeof(*a));
    struct dest hop = {.addr = p->world->server, .transport = SIP_T_UDP};
    struct txn_key key;
    struct ctxn *txn;
    *a = (struct ask){.phone = p, .call = c, .dialog = d, .method = m, .cseq = d ? ++d->cseq : 1};
    struct block *octets = build(a, body, &key);
    media_need(ctxn_new(p->sip, &hop, octets, &key, &ask_handler, a, &txn));
    block_unref(octets);
    return txn;
}

static void acknowledge(struct media_dialog *d, uint32_t cseq)
{
    struct media_phone *p = d->phone;
    struct dest hop = {.addr = p->world->server, .transport = SIP_T_UDP};
    struct txn_key key;
    if (!d->ack || d->acked != cseq) {
        struct ask a = {.phone = p, .dialog = d, .method = SIP_ACK, .cseq = cseq};
        block_unref(d->ack);
        d->ack = build(&a, SV(""), &key);
        d->acked = cseq;
    }
    enum err rc = sip_send(p->sip, &hop, d->ack, NULL);
    (void)rc;
}

void media_hang_up(struct media_dialog *d)
{
    struct media_world *w = d->phone->world;
    if (d->ended || d->phone->gone)
        return;
    ask(d->phone, NULL, d, SIP_BYE, SV(""));
    dialog_end(d, media_chance(w, 40) ? media_between(w, 0, USEC_S) : 0);
}

/* ---- a dialog that stands ---- */

/* Holds, goes on, has other keys, is elsewhere, or says it again. */
static void offer_anew(struct media_dialog *d)
{
    struct media_world *w = d->phone->world;
    struct media_end *e = d->end;
    enum media_kind kind = d->phone->kind;
    switch (sim_random(w->sim) % 5) {
    case 0:
        e->wish = media_chance(w, 50) ? SDP_SENDONLY : SDP_INACTIVE;
        break;
    case 1:
        e->wish = SDP_SENDRECV;
        break;
    case 2:
        loop_random_bytes(d->phone->loop, e->next_key, sizeof(e->next_key));
        break;
    case 3:
        if (kind <= MEDIA_OPTIONAL)
            media_end_ports(e, e->next_port);
        break;
    default:
        break;
    }
    d->asking = true;
    w->reinvites++;
    ask(d->phone, NULL, d, SIP_INVITE, media_offer(e));
}

static void on_plan(struct timer *t, void *arg)
{
    struct media_dialog *d = arg;
    struct media_world *w = d->phone->world;
    (void)t;
    if (d->ended || w->ending)
        return;
    if (d->step-- > 0) {
        if (!d->asking && !d->reinvite && (d->caller || d->confirmed))
            offer_anew(d);
        plan(d, media_between(w, 2 * USEC_S, 6 * USEC_S));
    } else if (d->call->number % 3 == 0) {
        media_hang_up(d);
    }
}

static void stand(struct media_dialog *d)
{
    struct media_world *w = d->phone->world;
    if (d->call->callee_acts == d->caller)
        return;
    d->step = (unsigned)(sim_random(w->sim) % REINVITES);
    plan(d, media_between(w, 0, 5 * USEC_S));
}

/* ---- responses ---- */

static sv body_of(struct rx *rx)
{
    return sipmsg_body(&rx->msg);
}

static void on_begun(struct ask *a, struct rx *rx)
{
    struct media_call *c = a->call;
    struct media_world *w = a->phone->world;
    const struct sip_addr *to;
    if (sipmsg_to(&rx->msg, &to) || !to->tag.n || !sipmsg_has(&rx->msg, SIP_H_CONTACT))
        return;
    struct media_dialog *d = dialog_find(a->phone, c->id, c->tag, to->tag);
    if (!d) {
        d = dialog_new(a->phone, c, rx, c->tag);
        d->end = c->end;
    }
    if (body_of(rx).n && !d->way && !d->end->closing)
        media_answered(d->end, body_of(rx), &d->way);
    if (rx->msg.status < 200)
        return;
    if (d->answered && !sv_eq(d->ok, body_of(rx)))
        media_fail(w, "a 2xx that comes again says something else", SV_FMT, SV_ARG(rx->msg.text));
    acknowledge(d, 1);
    if (d->answered)
        return;
    d->answered = true;
    d->ok = media_keep(w, body_of(rx));
    w->answers++;
    c->invite = NULL;
    if (c->up || c->over || d->end->closing) {
        media_hang_up(d);
        return;
    }
    c->up = true;
    LIST_EACH (x, &a->phone->dialogs, struct media_dialog, by_phone) {
        if (x->call == c && x != d && x->way)
            x->way->live = false;
    }
    stand(d);
}

static void on_again(struct ask *a, struct rx *rx)
{
    struct media_dialog *d = a->dialog;
    bool first = !a->answered;
    a->answered = true;
    if (rx->msg.status < 300)
        acknowledge(d, a->cseq);
    if (!first)
        return;
    d->asking = false;
    if (d->ended || d->end->closing)
        return;
    if (rx->msg.status < 300)
        media_answered(d->end, body_of(rx), &d->way);
    else
        media_unanswered(d->end);
}

static void on_failed(struct media_call *c)
{
    c->over = true;
    c->invite = NULL;
    if (!c->up)
        media_end_close(c->end, 0);
}

static void on_response(void *arg, struct rx *rx)
{
    struct ask *a = arg;
    if (number_of(rx) != a->cseq)
        media_fail(a->phone->world, "a response with another number", SV_FMT, SV_ARG(rx->msg.text));
    if (a->call && rx->msg.status < 300)
        on_begun(a, rx);
    else if (a->call)
        on_failed(a->call);
    else if (a->method == SIP_INVITE && rx->msg.status >= 200)
        on_again(a, rx);
}

static void on_ask_gone(void *arg, enum err why)
{
    struct ask *a = arg;
    if (a->call && why && !a->call->up)
        on_failed(a->call);
    if (!a->call && a->method == SIP_INVITE && why && !a->answered) { /* nobody is there */
        a->dialog->asking = false;
        if (!a->dialog->ended)
            media_unanswered(a->dialog->end);
        media_hang_up(a->dialog);
    }
}

/* ---- the callee ---- */

static void say(struct media_dialog *d, struct stxn *t, uint16_t status, sv body)
{
    char mem[128];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_printf(&b, "Contact: <sip:u%u@10.0.1.%u:5060>\r\n", d->phone->index, d->phone->index + 1);
    struct sip_reply r = {.status = status,
                          .to_tag = d->local_tag,
                          .record_route = status < 300,
                          .headers = buf_sv(&b),
                          .content_type = body.n ? SV("application/sdp") : SV_NONE,
                          .body = body};
    enum err rc = stxn_reply(t, &r);
    (void)rc; /* lost */
}

static void refuse(struct media_phone *p, struct rx *rx, uint16_t status, sv tag)
{
    struct sip_reply r = {.status = status, .to_tag = tag};
    struct stxn *t;
    if (stxn_new(p->sip, rx, NULL, NULL, &t))
        return;
    media_need(stxn_reply(t, &r));
    stxn_drop(t);
}

static void on_ring(struct timer *t, void *arg)
{
    struct media_dialog *d = arg;
    (void)t;
    if (!d->server || d->answered)
        return;
    if (!d->phone->world->tame && media_chance(d->phone->world, 10)) {
        say(d, d->server, 486, SV(""));
        stxn_drop(d->server);
        d->server = NULL;
        dialog_end(d, 0);
        return;
    }
    d->answered = true;
    say(d, d->server, 200, d->ok);
    stxn_repeat_2xx(d->server, true);
    timer_init(&d->plan, on_plan, d);
}

static void on_cancel(void *arg, struct rx *cancel)
{
    struct media_dialog *d = arg;
    (void)cancel;
    if (d->answered || !d->server)
        return;
    say(d, d->server, 487, SV(""));
    stxn_drop(d->server);
    d->server = NULL;
    dialog_end(d, 0);
}

static void on_invite_gone(void *arg, enum err why)
{
    struct media_dialog *d = arg;
    d->server = NULL;
    if (!d->answered)
        dialog_end(d, 0);
    else if (why)
        media_hang_up(d);
}

static void on_reinvite_gone(void *arg, enum err why)
{
    struct media_dialog *d = arg;
    (void)why;
    d->reinvite = NULL;
}

static const struct stxn_handler invite_handler = {.on_cancel = on_cancel,
                                                   .on_gone = on_invite_gone};
static const struct stxn_handler reinvite_handler = {.on_gone = on_reinvite_gone};

static struct media_call *call_of(struct media_world *w, sv id)
{
    for (unsigned i = 0; i < w->calls; i++) {
        if (sv_eq(w->call[i]->id, id))
            return w->call[i];
    }
    return NULL;
}

static void on_invite(struct media_phone *p, struct rx *rx)
{
    struct media_world *w = p->world;
    struct media_call *c = call_of(w, sipmsg_value(&rx->msg, SIP_H_CALL_ID));
    char tag[32];
    struct media_way *way = NULL;
    snprintf(tag, sizeof(tag), "t%u-%u", p->index, ++p->serial);
    if (!media_phone_free(p)) {
        refuse(p, rx, 486, sv_of(tag));
        return;
    }
    struct media_end *e = media_end_new(p, c);
    sv answer = media_answer(e, body_of(rx), &way);
    if (!sv_present(answer)) {
        w->refused++;
        refuse(p, rx, 488, sv_of(tag));
        media_end_free(e);
        return;
    }
    struct media_dialog *d = dialog_new(p, c, rx, sv_of(tag));
    d->end = e;
    d->way = way;
    d->ok = answer;
    if (stxn_new(p->sip, rx, &invite_handler, d, &d->server)) {
        dialog_end(d, 0);
        return;
    }
    timer_init(&d->plan, on_ring, d);
    if (media_chance(w, 50))
        say(d, d->server, 183, answer);
    plan(d, media_between(w, 0, 3 * USEC_S));
}

static void on_ack(struct media_dialog *d, struct rx *rx)
{
    if (d->reinvite && number_of(rx) == d->reinvite_cseq) {
        stxn_drop(d->reinvite);
        d->reinvite = NULL;
    } else if (d->server && d->answered) {
        stxn_drop(d->server);
        d->server = NULL;
        d->confirmed = true;
        stand(d);
    }
}

static void on_reinvite(struct media_dialog *d, struct rx *rx)
{
    struct media_world *w = d->phone->world;
    if (d->reinvite || d->server || stxn_new(d->phone->sip, rx, &reinvite_handler, d, &d->reinvite))
        return;
    d->reinvite_cseq = number_of(rx);
    sv answer = SV_NONE;
    if (!d->ended && !media_chance(w, 15)) {
        if (media_chance(w, 30))
            loop_random_bytes(d->phone->loop, d->end->next_key, sizeof(d->end->next_key));
        answer = media_answer(d->end, body_of(rx), &d->way);
    }
    if (sv_present(answer)) {
        say(d, d->reinvite, 200, answer);
        stxn_repeat_2xx(d->reinvite, true);
        return;
    }
    w->refused++;
    say(d, d->reinvite, 488, SV(""));
    stxn_drop(d->reinvite);
    d->reinvite = NULL;
}

static void on_in_dialog(struct media_dialog *d, struct rx *rx)
{
    struct stxn *t;
    if (rx->msg.method == SIP_ACK) {
        on_ack(d, rx);
    } else if (rx->msg.method == SIP_INVITE) {
        on_reinvite(d, rx);
    } else if (stxn_new(d->phone->sip, rx, NULL, NULL, &t) == ERR_OK) {
        if (rx->msg.method == SIP_BYE) {
            stxn_drop(d->server);
            d->server = NULL;
            dialog_end(d, 0);
        }
        say(d, t, 200, SV(""));
        stxn_drop(t);
    }
}

static void on_request(void *arg, struct rx *rx)
{
    struct media_phone *p = arg;
    const struct sip_addr *from, *to;
    if (rx->rc || sipmsg_from(&rx->msg, &from) || sipmsg_to(&rx->msg, &to)) {
        media_fail(p->world, "a phone gets what it cannot read", SV_FMT, SV_ARG(rx->msg.text));
        return;
    }
    if (!to->tag.n) {
        if (rx->msg.method == SIP_INVITE)
            on_invite(p, rx);
        return;
    }
    struct media_dialog *d =
        dialog_find(p, sipmsg_value(&rx->msg, SIP_H_CALL_ID), to->tag, from->tag);
    if (d) {
        on_in_dialog(d, rx);
    } else if (rx->msg.method != SIP_ACK) {
        struct sip_reply r = {.status = 481};
        enum err rc = sip_reply(p->sip, rx, &r);
        (void)rc;
    }
}

static void on_octets(void *arg, bool out, const struct addr *peer, sv octets)
{
    struct media_phone *p = arg;
    (void)peer;
    if (p->world->program->trace)
        printf("%lld phone%u %s\n" SV_FMT "\n", (long long)sim_now(p->world->sim), p->index,
               out ? "sends" : "gets", SV_ARG(octets));
}
static const struct sip_user phone_user = {.on_request = on_request, .on_octets = on_octets};

/* ---- life ---- */

void media_phone_start(struct media_world *w, unsigned i, enum media_kind kind)
{
    struct media_phone *p = &w->phone[i];
    char name[32], ip[32];
    struct dtls_shared_config certificate = {.wall = 0};
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
    *p = (struct media_phone){.world = w, .index = i, .kind = kind, .next_port = 20000};
    list_init(&p->dialogs);
    list_init(&p->ends);
    snprintf(name, sizeof(name), "phone%u", i);
    snprintf(ip, sizeof(ip), "10.0.1.%u", i + 1);
    media_need(addr_parse_ip(sv_of(ip), 0, &p->ip));
    media_need(sim_host_new(w->sim, name, &p->ip, 1, &p->host));
    media_need(sim_process(p->host, 1, &p->group));
    p->loop = p->group->loop[0];
    config.listen[0] = (struct sip_listen){.transport = SIP_T_UDP, .bind = p->ip};
    config.listen[0].bind.port = 5060;
    config.listeners = 1;
    media_need(sip_shared_new(media_secret, p->group, &config, &p->shared));
    media_need(sip_new(p->loop, p->shared, &phone_user, p, &p->sip));
    media_need(txn_start(p->sip));
    media_need(sip_listen(p->sip, 0));
    media_need(srtp_engine_new(&p->engine));
    if (kind == MEDIA_DTLS || kind == MEDIA_WEB)
        media_need(dtls_shared_new(&certificate, &p->certificate));
}

void media_phone_kill(struct media_phone *p)
{
    p->gone = true;
    sim_process_kill(p->host, true);
}

void media_phone_done(struct media_phone *p)
{
    if (!p->gone)
        sim_process_stop(p->host);
    LIST_EACH_SAFE (e, &p->ends, struct media_end, by_phone)
        media_end_free(e);
    LIST_EACH (d, &p->dialogs, struct media_dialog, by_phone)
        block_unref(d->ack);
    sip_free(p->sip);
    sip_shared_free(p->shared);
    sim_process_free(p->host);
    dtls_shared_free(p->certificate);
    srtp_engine_free(p->engine);
}

bool media_phone_free(const struct media_phone *p)
{
    return !p->gone && list_empty(&p->ends);
}

static void on_give_up(struct timer *t, void *arg)
{
    struct media_call *c = arg;
    (void)t;
    if (c->invite && !c->up)
        ctxn_cancel(c->invite, SV_NONE);
}

void media_call(struct media_phone *p, unsigned callees)
{
    struct media_world *w = p->world;
    struct media_call *c = media_take(w, sizeof(*c));
    char mem[32];
    snprintf(mem, sizeof(mem), "call%u", w->calls);
    *c = (struct media_call){.number = w->calls,
                             .caller = p,
                             .callees = callees,
                             .id = media_keep(w, sv_of(mem)),
                             .tag = SV("caller"),
                             .callee_acts = media_chance(w, 40)};
    w->call[w->calls++] = c;
    c->end = media_end_new(p, c);
    timer_init(&c->give_up, on_give_up, c);
    c->invite = ask(p, c, NULL, SIP_INVITE, media_offer(c->end));
    if (media_chance(w, 10))
        loop_timer(p->loop, &c->give_up, media_between(w, 0, 4 * USEC_S));
}
