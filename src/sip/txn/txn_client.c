/* SPDX-License-Identifier: MIT */
/* txn/txn_client.c: drives the client machines (RFC 3261 §17.1), builds ACK (§17.1.1.3) and CANCEL
 * (§9.1). */
#include "txn/txn_priv.h"

/* Octets of the parsed request while an ACK or a CANCEL is made from it; the rest of a big one is
 * heap. */
enum { SCRATCH = 8 * 1024, SCRATCH_MAX = 256 * 1024, BUILD_EXTRA = 256, MAX_FORWARDS = 70 };

static struct client_work *work_of(struct ctxn *t)
{
    return CONTAINER(t->t.work, struct client_work, w);
}

/* Nothing will be sent any more: it absorbs, and tells of each 2xx. */
static void stand(struct ctxn *t)
{
    if (!t->t.work)
        return;
    struct client_work *w = work_of(t);
    txn_work_done(&t->t);
    block_unref(w->reason);
    MEM_GIVE(w);
}

static void client_free(struct txn_table *tt, struct ctxn *t)
{
    stand(t);
    txn_done(tt, &t->t);
    pool_put(tt->clients, t);
}

/* ---- requests made from the INVITE ---- */

static void put_line(struct buf *b, sv name, sv value)
{
    buf_put(b, name);
    buf_put(b, SV(": "));
    buf_put(b, value);
    buf_put(b, SV("\r\n"));
}

/* What ACK and CANCEL share: Request-URI, the one Via, From, Call-ID, the CSeq number and the
 * Routes of the INVITE. */
static void put_request(struct buf *b, struct sipmsg *invite, sv method, sv to, sv reason)
{
    const struct sip_via *via;
    const struct sip_cseq *cseq;
    uint32_t hops = MAX_FORWARDS;
    if (sipmsg_via(invite, &via) || sipmsg_cseq(invite, &cseq)) {
        b->rc = ERR_SYNTAX;
        return;
    }
    if (sipmsg_number(invite, SIP_H_MAX_FORWARDS, &hops))
        hops = MAX_FORWARDS;
    buf_put(b, method);
    buf_char(b, ' ');
    buf_put(b, invite->uri_text);
    buf_put(b, SV(" SIP/2.0\r\n"));
    put_line(b, SV("Via"), via->text);
    for (uint16_t f = invite->first[SIP_H_ROUTE]; f != SIPMSG_NONE; f = invite->fields[f].next)
        put_line(b, SV("Route"), sipmsg_field_value(invite, f));
    buf_put(b, SV("Max-Forwards: "));
    buf_u64(b, hops);
    buf_put(b, SV("\r\n"));
    put_line(b, SV("From"), sipmsg_value(invite, SIP_H_FROM));
    put_line(b, SV("To"), to);
    put_line(b, SV("Call-ID"), sipmsg_value(invite, SIP_H_CALL_ID));
    buf_put(b, SV("CSeq: "));
    buf_u64(b, cseq->number);
    buf_char(b, ' ');
    buf_put(b, method);
    buf_put(b, SV("\r\n"));
    if (sv_present(reason))
        put_line(b, SV("Reason"), reason);
    buf_put(b, SV("Content-Length: 0\r\n\r\n"));
}

/* NULL: no memory. to SV_NONE: the INVITE's. */
static struct block *from_invite(struct ctxn *t, sv method, sv to, sv reason)
{
    char scratch[SCRATCH];
    struct arena a;
    struct sipmsg invite;
    struct buf b;
    sv text = block_sv(t->t.work->octets);
    struct block *out = sip_block(t->t.work->table->sip, text.n + to.n + reason.n + BUILD_EXTRA);
    if (!out)
        return NULL;
    arena_init(&a, scratch, sizeof scratch, SCRATCH_MAX);
    buf_init(&b, out->p, out->cap);
    if (sipmsg_parse(text, &a, &invite, NULL))
        b.rc = ERR_SYNTAX;
    else
        put_request(&b, &invite, method, sv_present(to) ? to : sipmsg_value(&invite, SIP_H_TO),
                    reason);
    arena_done(&a);
    out->n = (uint32_t)b.n;
    if (b.rc) {
        block_unref(out);
        return NULL;
    }
    return out;
}

/* ---- effects ---- */

/* The INVITE is not needed any more: its place takes the ACK. */
static void send_ack(struct ctxn *t, struct rx *rx)
{
    struct client_work *c = work_of(t);
    if (!c->acked) {
        struct block *ack =
            from_invite(t, SV("ACK"), rx ? sipmsg_value(&rx->msg, SIP_H_TO) : SV_NONE, SV_NONE);
        if (!ack)
            return; /* the answer comes again, and then we try again */
        block_unref(c->w.octets);
        c->w.octets = ack;
        c->acked = true;
    }
    txn_send(&t->t, c->w.octets, true);
}

static struct ctxn *client_begin(struct txn_table *tt, enum txn_kind kind, const struct dest *d,
                                 const struct txn_key *key, struct block *octets);

/* RFC 3261 §9.1: a transaction of its own, to the same place, with the INVITE's branch. */
static void send_cancel(struct ctxn *t)
{
    struct client_work *w = work_of(t);
    struct txn_table *tt = w->w.table;
    sv reason = w->reason ? block_sv(w->reason) : SV_NONE;
    struct block *octets = from_invite(t, SV("CANCEL"), SV_NONE, reason);
    block_unref(w->reason);
    w->reason = NULL;
    if (!octets)
        return; /* Timer X still ends the INVITE */
    struct txn_key key = {{t->t.by_key.hash, t->t.key_b}, SIP_CANCEL};
    struct ctxn *c = client_begin(tt, TXN_NICT, &w->w.dest, &key, octets);
    block_unref(octets);
    if (c) {
        uint32_t todo = txn_begin(TXN_NICT, &c->t.state);
        txn_send(&c->t, c->t.work->octets, true);
        txn_arm(tt, &c->t, todo);
    }
}

static void leave(struct ctxn *t, enum err why)
{
    const struct ctxn_handler *h = t->h;
    t->h = NULL;
    if (h)
        h->on_gone(t->arg, why);
}

static void tell_end(struct ctxn *t, uint32_t todo)
{
    if (todo & TXN_LEAVE)
        leave(t, ERR_OK);
    if (todo & TXN_LEAVE_TIMEOUT)
        leave(t, ERR_TIMEOUT);
    if (todo & TXN_LEAVE_ERROR)
        leave(t, t->t.work && t->t.work->fault ? t->t.work->fault : ERR_STATE);
}

void ctxn_run(struct txn_table *tt, struct ctxn *t, enum txn_event ev, struct rx *rx)
{
    struct txn *m = &t->t;
    uint32_t todo = txn_step(m->kind, &m->state, ev);
    if (todo == TXN_BROKEN) {
        stat_inc(&tt->loop->stats, STAT_SIP_TXN_BROKEN);
        m->state = TXN_GONE;
        todo = TXN_STOP | TXN_LEAVE_ERROR;
    }
    struct client_work *w = m->work ? work_of(t) : NULL;
    /* The wait of §9.1 is over. */
    if (ev == TXN_RX_1XX && w && w->want_cancel && txn_allows(m->kind, m->state, TXN_CANCEL)) {
        w->want_cancel = false;
        todo |= txn_step(m->kind, &m->state, TXN_CANCEL);
    }
    txn_stop(tt, m, todo);
    if (todo & TXN_SEND) {
        stat_inc(&tt->loop->stats, STAT_SIP_RETRANSMITS_TX);
        txn_send(m, w->w.octets, true);
    }
    if (todo & TXN_SEND_ACK)
        send_ack(t, rx);
    if (todo & TXN_SEND_CANCEL)
        send_cancel(t);
    if (todo & TXN_WANT_CANCEL)
        w->want_cancel = true;
    txn_arm(tt, m, todo);
    if (m->state == TXN_ACCEPTED || (m->kind == TXN_NICT && m->state == TXN_COMPLETED))
        stand(t);
    if (m->state == TXN_GONE) {
        tell_end(t, todo);
        client_free(tt, t);
    } else if (todo & TXN_TELL && t->h) {
        t->h->on_response(t->arg, rx); /* last: he may leave, and then t may be gone */
    }
}

void ctxn_end(struct txn_table *tt, struct ctxn *t, enum err why)
{
    t->t.state = TXN_GONE;
    leave(t, why);
    client_free(tt, t);
}

/* RFC 3261 §17.1.3: branch of the topmost Via (whose sent-by the transport has checked) and CSeq
 * method. */
bool ctxn_on_response(void *table, struct rx *rx)
{
    struct txn_table *tt = table;
    const struct sip_via *via;
    const struct sip_cseq *cseq;
    if (sipmsg_via(&rx->msg, &via) || sipmsg_cseq(&rx->msg, &cseq))
        return false;
    struct txn_key key =
        txn_client_key(tt, via->branch, txn_method(tt, cseq->method, cseq->method_text));
    uint16_t status = rx->msg.status;
    HASH_EACH (t, &tt->by_client_key, key.id.a, struct ctxn, t.by_key) {
        if (!txn_has_key(&t->t, &key.id) || t->t.method != key.method)
            continue;
        ctxn_run(tt, t, status < 200 ? TXN_RX_1XX : status < 300 ? TXN_RX_2XX : TXN_RX_FAIL, rx);
        return true;
    }
    return false;
}

/* ---- the user's side ---- */

static struct ctxn *client_begin(struct txn_table *tt, enum txn_kind kind, const struct dest *d,
                                 const struct txn_key *key, struct block *octets)
{
    struct client_work *w = MEM_TAKE(struct client_work);
    struct ctxn *t = w ? pool_get(tt->clients) : NULL;
    if (!t) {
        MEM_GIVE(w);
        return NULL;
    }
    txn_init(&t->t, tt, kind, key, &w->w);
    w->w.dest = *d;
    w->w.octets = block_ref(octets);
    return t;
}

struct txn_key ctxn_key(struct sip *s, sv branch, enum sip_method m, sv method_text)
{
    const struct txn_table *tt = sip_txns(s);
    return txn_client_key(tt, branch, txn_method(tt, m, method_text));
}

enum err ctxn_new(struct sip *s, const struct dest *d, struct block *octets,
                  const struct txn_key *key, const struct ctxn_handler *h, void *arg,
                  struct ctxn **ret_txn)
{
    struct txn_table *tt = sip_txns(s);
    if (tt->closing || key->method == SIP_ACK)
        return ERR_STATE;
    if (txn_full(tt))
        return ERR_NOMEM;
    enum txn_kind kind = key->method == SIP_INVITE ? TXN_ICT : TXN_NICT;
    struct ctxn *t = client_begin(tt, kind, d, key, octets);
    if (!t)
        return ERR_NOMEM;
    struct txn_work *w = t->t.work;
    bool reliable = txn_reliable(&t->t);
    enum err rc = ERR_OK;
    /* A datagram's way is looked for once, however often it is sent. */
    if (!reliable)
        rc = sip_flow_for(s, d, &w->dest.flow);
    if (!rc)
        rc = sip_send(s, &w->dest, octets, &w->watch);
    if (rc && !(rc == ERR_BUSY && !reliable)) { /* a full queue is loss like any other */
        client_free(tt, t);
        return rc;
    }
    t->h = h;
    t->arg = arg;
    txn_arm(tt, &t->t, txn_begin(kind, &t->t.state));
    *ret_txn = t;
    return ERR_OK;
}

/* What the user asks for is not past. */
static bool may(const struct ctxn *t, enum txn_event ev)
{
    return t->t.work && !t->t.work->table->closing && txn_allows(t->t.kind, t->t.state, ev);
}

void ctxn_cancel(struct ctxn *t, sv reason)
{
    if (!may(t, TXN_CANCEL) || work_of(t)->cancelled)
        return;
    struct client_work *w = work_of(t);
    w->cancelled = true;
    if (sv_present(reason) && (w->reason = sip_block(w->w.table->sip, reason.n))) {
        memcpy(w->reason->p, reason.p, reason.n);
        w->reason->n = (uint32_t)reason.n;
    }
    ctxn_run(w->w.table, t, TXN_CANCEL, NULL);
}

void ctxn_give_up(struct ctxn *t)
{
    if (!may(t, TXN_GIVE_UP) || work_of(t)->cancelled)
        return;
    work_of(t)->cancelled = true;
    ctxn_run(t->t.work->table, t, TXN_GIVE_UP, NULL);
}

void ctxn_drop(struct ctxn *t)
{
    if (!t)
        return;
    t->h = NULL;
    if (t->t.state == TXN_CALLING || t->t.state == TXN_PROCEEDING)
        ctxn_cancel(t, SV_NONE);
}

void ctxn_handle(struct ctxn *t, const struct ctxn_handler *h, void *arg)
{
    t->h = h;
    t->arg = arg;
}

struct awaited {
    uint32_t method;
    size_t n;
};

static bool is_awaited(struct hash_node *n, void *arg)
{
    const struct txn *t = CONTAINER(n, struct txn, by_key);
    struct awaited *a = arg;
    a->n += t->method == a->method && t->work && t->state != TXN_COMPLETED;
    return true;
}

size_t ctxn_awaited(struct sip *s, enum sip_method m)
{
    struct txn_table *tt = sip_txns(s);
    struct awaited a = {.method = m};
    hash_walk(&tt->by_client_key, is_awaited, &a);
    return a.n;
}
