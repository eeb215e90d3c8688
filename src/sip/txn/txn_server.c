/* SPDX-License-Identifier: MIT */
/* txn/txn_server.c: drives the server machines (RFC 3261 §17.2), matches requests (§17.2.3),
 * answers CANCEL (§9.2). */
#include "txn/txn_priv.h"

enum { SCRATCH = 8 * 1024, SCRATCH_MAX = 256 * 1024, TAG_MAX = 256 };

static void let_go_of_request(struct stxn *t)
{
    rx_unref(t->rx);
    t->rx = NULL;
}

static void server_free(struct stxn *t)
{
    struct txn_table *tt = t->t.table;
    hash_remove(&tt->by_server_key, &t->t.by_key);
    hash_remove(&tt->by_merge_key, &t->by_merge);
    txn_done(&t->t);
    let_go_of_request(t);
    if (t->claimed)
        home_release(tt->home, &t->claim);
    pool_put(tt->servers, t);
}

/* ---- tags ---- */

static uint64_t tag_hash(const struct txn_table *tt, sv tag)
{
    sv pieces[] = {SV("tag"), tag};
    return sv_present(tag) ? home_hash(tt->home, pieces, 2) : 0;
}

/* The To tag of a response of ours, in mem; SV_NONE: it has none. */
static sv response_tag(const struct block *octets, char mem[static TAG_MAX])
{
    char scratch[SCRATCH];
    struct arena a;
    struct sipmsg m;
    const struct sip_addr *to;
    sv tag = SV_NONE;
    arena_init(&a, scratch, sizeof scratch, SCRATCH_MAX);
    if (octets && !sipmsg_parse(block_sv(octets), &a, &m, NULL) && !sipmsg_to(&m, &to) &&
        sv_present(to->tag) && to->tag.n <= TAG_MAX) {
        memcpy(mem, to->tag.p, to->tag.n);
        tag = (sv){mem, to->tag.n};
    }
    arena_done(&a);
    return tag;
}

/* ---- effects ---- */

static void server_send(struct stxn *t)
{
    /* Over datagrams a provisional response that is refused says little: the final one will be
     * sent. */
    if (t->t.octets)
        txn_send(&t->t, t->t.octets, t->final || txn_reliable(&t->t));
}

/* A reply to a long request is short, and kept: in a block of its own size. */
static enum err build_reply(struct stxn *t, struct sip_reply *r, struct block **ret_octets)
{
    struct block *octets, *fit;
    TRY(sip_build_reply(t->t.table->sip, t->rx, r, &octets));
    fit = octets->n <= octets->cap / 2 ? sip_block(t->t.table->sip, octets->n) : NULL;
    if (fit) {
        memcpy(fit->p, octets->p, octets->n);
        fit->n = octets->n;
        block_unref(octets);
    }
    *ret_octets = fit ? fit : octets;
    return ERR_OK;
}

static void send_100(struct stxn *t)
{
    struct sip_reply r = {.status = 100};
    struct block *octets;
    if (build_reply(t, &r, &octets))
        return; /* the request comes again */
    block_unref(t->t.octets);
    t->t.octets = octets;
    server_send(t);
}

static void leave(struct stxn *t, enum err why)
{
    const struct stxn_handler *h = t->h;
    t->h = NULL;
    if (h)
        h->on_gone(t->arg, why);
}

static void tell(struct stxn *t, enum txn_event ev, struct rx *rx)
{
    void *arg;
    const struct sip_user *u;
    if (ev == TXN_RX_CANCEL) {
        if (t->h && t->h->on_cancel)
            t->h->on_cancel(t->arg, rx);
    } else if (ev == TXN_RX_ACK) {
        t->repeat = false;
        u = sip_user_of(t->t.table->sip, &arg);
        u->on_request(arg, rx);
    }
}

void stxn_run(struct stxn *t, enum txn_event ev, struct rx *rx)
{
    struct txn *m = &t->t;
    uint32_t todo = txn_step(m->kind, &m->state, ev);
    if (todo == TXN_BROKEN) {
        txn_broken(m);
        m->state = TXN_GONE;
        todo = TXN_STOP | TXN_LEAVE_ERROR;
    }
    if (ev == TXN_TIMER_G || ev == TXN_TIMER_2XX)
        stat_inc(&m->table->loop->stats, STAT_SIP_RETRANSMITS_TX);
    txn_stop(m, todo);
    if (todo & TXN_SEND)
        server_send(t);
    if (todo & TXN_SEND_100)
        send_100(t);
    txn_arm(m, t->repeat ? todo : todo & ~(uint32_t)TXN_ARM_2XX);
    /* The user last: he may drop t in any of these, which frees it unless it is gone or has a final
     * response. */
    if (todo & TXN_TELL) {
        tell(t, ev, rx);
        return;
    }
    bool gone = m->state == TXN_GONE;
    if (todo & TXN_LEAVE)
        leave(t, ev == TXN_TIMER_L && t->repeat ? ERR_TIMEOUT : ERR_OK);
    if (todo & TXN_LEAVE_TIMEOUT)
        leave(t, ERR_TIMEOUT);
    if (todo & TXN_LEAVE_ERROR) {
        t->final = true; /* nothing more will be said; t stays to absorb the request */
        leave(t, m->fault ? m->fault : ERR_STATE);
    }
    if (gone)
        server_free(t);
    else if (todo & TXN_LEAVE_ERROR)
        let_go_of_request(t);
}

void stxn_end(struct stxn *t, enum err why)
{
    t->t.state = TXN_GONE;
    leave(t, why);
    server_free(t);
}

/* ---- matching ---- */

/* RFC 3261 §17.2.3: for a request of RFC 2543 the To tag must fit, too: an ACK's is that of our
 * response, a CANCEL's and a retransmission's that of the request. */
static bool tag_fits(const struct stxn *t, struct rx *rx)
{
    const struct sip_addr *to;
    if (!t->old)
        return true;
    if (sipmsg_to(&rx->msg, &to))
        return false;
    if (rx->msg.method != SIP_ACK)
        return tag_hash(t->t.table, to->tag) == t->tag;
    char mem[TAG_MAX];
    sv tag = response_tag(t->t.octets, mem);
    return !sv_present(tag) || sv_eq(tag, to->tag);
}

/* any_method: the request that a CANCEL is about (a CANCEL of a CANCEL has been looked for
 * before). */
static struct stxn *server_find(struct txn_table *tt, struct rx *rx, bool any_method)
{
    const struct rx_match *match = txn_server_match(tt, rx);
    if (!match)
        return NULL;
    HASH_EACH (t, &tt->by_server_key, match->key.a, struct stxn, t.by_key) {
        /* The source belongs to it: who has only seen the branch is somebody else (D31). */
        if (home_key_equal(&t->t.key.id, &match->key) && t->old == match->old && tag_fits(t, rx) &&
            addr_equal_ip(&t->t.dest.flow.remote, &rx->flow.remote) &&
            (any_method || t->t.key.method == match->method))
            return t;
    }
    return NULL;
}

bool stxn_knows(void *table, struct rx *rx)
{
    struct txn_table *tt = table;
    return server_find(tt, rx, rx->msg.method == SIP_CANCEL) != NULL;
}

/* RFC 3261 §8.2.2.2: what requests that were merged on the way have in common: tag of From, Call-ID, CSeq.
 * NULL: rx has a tag in To, and is in a dialog; or it cannot be read. */
static const struct home_key *merge_key(const struct txn_table *tt, struct rx *rx)
{
    const struct sip_addr *to, *from;
    const struct sip_cseq *cseq;
    const struct home_key *call = sip_call_key(tt->sip, rx);
    struct rx_match *match = &rx->match;
    if (sipmsg_to(&rx->msg, &to) || sv_present(to->tag) || sipmsg_from(&rx->msg, &from) ||
        sipmsg_cseq(&rx->msg, &cseq))
        return NULL;
    if (!match->merges) {
        sv pieces[] = {SV("merge"),
                       from->tag,
                       {(const char *)call, sizeof *call},
                       {(const char *)&cseq->number, sizeof cseq->number},
                       {(const char *)&match->method, sizeof match->method}};
        match->merge = home_list_key(tt->home, pieces, 5);
        match->merges = true;
    }
    return &match->merge;
}

static struct stxn *server_begin(struct txn_table *tt, struct rx *rx)
{
    const struct rx_match *match = txn_server_match(tt, rx);
    const struct sip_addr *to;
    if (!match || sipmsg_to(&rx->msg, &to))
        return NULL;
    struct stxn *t = pool_get(tt->servers);
    if (!t)
        return NULL;
    enum txn_kind kind = rx->msg.method == SIP_INVITE ? TXN_IST : TXN_NIST;
    txn_init(&t->t, tt, kind);
    t->t.key = (struct txn_key){match->key, match->method};
    t->t.dest = sip_response_dest(rx);
    t->rx = rx_ref(rx);
    t->at = tt->loop->now;
    t->old = match->old;
    t->tag = t->old ? tag_hash(tt, to->tag) : 0;
    if (rx->claimed) {
        t->claim = *sip_call_key(tt->sip, rx);
        t->claimed = true;
        rx->claimed = false;
    }
    hash_insert(&tt->by_server_key, &t->t.by_key, match->key.a);
    /* Of requests that the user serves himself: about others he did not ask (stxn_merged). */
    if (match->merges) {
        t->merge = match->merge;
        hash_insert(&tt->by_merge_key, &t->by_merge, t->merge.a);
    }
    txn_arm(&t->t, txn_begin(kind, &t->t.state));
    return t;
}

/* RFC 3261 §9.1: a CANCEL has the Call-ID, From and CSeq number of what it cancels. */
static bool cancels(struct stxn *target, struct rx *rx)
{
    const struct sip_addr *from, *theirs;
    const struct sip_cseq *cseq, *number;
    sv call_id, id;
    struct rx *of = target->rx;
    if (!of) /* decided long ago: it changes nothing */
        return true;
    return !sipmsg_from(&rx->msg, &from) && !sipmsg_from(&of->msg, &theirs) &&
           !sipmsg_cseq(&rx->msg, &cseq) && !sipmsg_cseq(&of->msg, &number) &&
           !sipmsg_call_id(&rx->msg, &call_id) && !sipmsg_call_id(&of->msg, &id) &&
           sv_eq(from->tag, theirs->tag) && cseq->number == number->number && sv_eq(call_id, id);
}

/* RFC 3261 §9.2: the CANCEL is answered 200 here, whatever becomes of its target, with the To tag
 * that the answers to the target have if they have one. */
static bool on_cancel(struct txn_table *tt, struct rx *rx)
{
    struct stxn *target = server_find(tt, rx, true);
    if (!target || !cancels(target, rx))
        return false;
    char tag[24], mem[TAG_MAX];
    struct sip_reply r = {.status = 200, .to_tag = response_tag(target->t.octets, mem)};
    if (!sv_present(r.to_tag))
        r.to_tag = sip_stateless_tag(tt->sip, rx, tag);
    struct stxn *c = server_begin(tt, rx);
    if (c) {
        if (stxn_reply(c, &r))
            c->t.fault = ERR_NOMEM; /* unanswered it ends here: the CANCEL comes again */
        stxn_drop(c);
    }
    stxn_run(target, TXN_RX_CANCEL, rx);
    return true;
}

bool stxn_on_request(void *table, struct rx *rx)
{
    struct txn_table *tt = table;
    struct stxn *t = server_find(tt, rx, false);
    if (!t)
        return rx->msg.method == SIP_CANCEL && on_cancel(tt, rx);
    if (rx->msg.method == SIP_ACK) {
        stxn_run(t, TXN_RX_ACK, rx);
        return true;
    }
    stat_inc(&tt->loop->stats, STAT_SIP_RETRANSMITS_RX);
    /* The client has come over another connection: that is where it listens now. */
    if (flow_reliable(&rx->flow)) {
        txn_elsewhere_done(&t->t);
        t->t.dest = sip_response_dest(rx);
    }
    stxn_run(t, TXN_RX_REQUEST, rx);
    return true;
}

/* ---- the user's side ---- */

enum err stxn_new(struct sip *s, struct rx *rx, const struct stxn_handler *h, void *arg,
                  struct stxn **ret_txn)
{
    struct txn_table *tt = sip_txns(s);
    if (rx->msg.method == SIP_ACK || tt->closing)
        return ERR_STATE;
    if (txn_full(tt))
        return ERR_NOMEM;
    struct stxn *t = server_begin(tt, rx);
    if (!t)
        return ERR_NOMEM;
    t->h = h;
    t->arg = arg;
    *ret_txn = t;
    return ERR_OK;
}

/* RFC 4320 §4.1, §4.2. */
static bool forbidden(const struct stxn *t, uint16_t status)
{
    if (t->t.kind == TXN_IST)
        return false;
    if (status == 408 || (status > 100 && status < 200))
        return true;
    usec age = t->t.table->loop->now - t->at;
    return status == 100 && !txn_reliable(&t->t) && age < txn_time_of_100(t->t.table);
}

enum err stxn_respond(struct stxn *t, uint16_t status, struct block *octets)
{
    enum txn_event ev = status < 200 ? TXN_TX_1XX : status < 300 ? TXN_TX_2XX : TXN_TX_FAIL;
    if (!txn_allows(t->t.kind, t->t.state, ev) || forbidden(t, status))
        return ERR_STATE;
    block_ref(octets);
    block_unref(t->t.octets);
    t->t.octets = octets;
    t->final = status >= 200;
    stxn_run(t, ev, NULL);
    return ERR_OK;
}

enum err stxn_reply(struct stxn *t, struct sip_reply *r)
{
    struct block *octets;
    TRY(build_reply(t, r, &octets));
    enum err rc = stxn_respond(t, r->status, octets);
    block_unref(octets);
    return rc;
}

void stxn_handle(struct stxn *t, const struct stxn_handler *h, void *arg)
{
    t->h = h;
    t->arg = arg;
}

struct rx *stxn_rx(const struct stxn *t)
{
    return t->rx;
}

bool stxn_final(const struct stxn *t)
{
    return t->final;
}

void stxn_drop(struct stxn *t)
{
    if (!t)
        return;
    t->h = NULL;
    if (t->t.state == TXN_GONE)
        return; /* it ends as soon as the handler returns */
    if (!t->final) {
        server_free(t);
        return;
    }
    stxn_repeat_2xx(t, false);
    let_go_of_request(t);
    if (t->t.state == TXN_ACCEPTED) { /* RFC 6026: it absorbs and sends nothing by itself */
        sip_send_cancel(&t->t.watch);
        block_unref(t->t.octets);
        t->t.octets = NULL;
    }
}

bool stxn_merged(struct sip *s, struct rx *rx)
{
    struct txn_table *tt = sip_txns(s);
    const struct rx_match *match = txn_server_match(tt, rx);
    const struct home_key *merge = match ? merge_key(tt, rx) : NULL;
    if (!merge)
        return false;
    HASH_EACH (t, &tt->by_merge_key, merge->a, struct stxn, by_merge) {
        if (home_key_equal(&t->merge, merge) && !home_key_equal(&t->t.key.id, &match->key))
            return true;
    }
    return false;
}

void stxn_repeat_2xx(struct stxn *t, bool on)
{
    if (t->repeat == on)
        return;
    t->repeat = on;
    if (t->t.kind != TXN_IST || t->t.state != TXN_ACCEPTED)
        return;
    if (on)
        txn_arm(&t->t, TXN_ARM_2XX);
    else
        txn_stop(&t->t, TXN_STOP_RETRY);
}
