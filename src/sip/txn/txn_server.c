/* SPDX-License-Identifier: MIT */
/* txn/txn_server.c: drives the server machines (RFC 3261 §17.2), matches requests (§17.2.3),
 * answers CANCEL (§9.2). */
#include "txn/txn_priv.h"

static struct server_work *work_of(const struct stxn *t)
{
    return CONTAINER(t->t.work, struct server_work, w);
}

static void let_go_of_request(struct server_work *w)
{
    rx_unref(w->rx);
    w->rx = NULL;
}

static void work_free(struct stxn *t)
{
    if (!t->t.work)
        return;
    struct server_work *w = work_of(t);
    txn_work_done(&t->t);
    let_go_of_request(w);
    MEM_GIVE(w);
}

static void server_free(struct txn_table *tt, struct stxn *t)
{
    work_free(t);
    txn_done(tt, &t->t);
    hash_remove(&tt->by_merge_key, &t->by_merge);
    if (t->t.claimed)
        home_release(tt->home, &t->claim);
    tt->unclaimed -= t->t.unclaimed;
    txn_answer_free(tt, t->answer);
    pool_put(tt->servers, t);
}

/* The user has left and nothing will be said unasked any more: what stands absorbs the request, and has its
 * answer when there is one to give. RFC 2543's is told from others by more than its key; over streams
 * the end is near. */
static void settle(struct stxn *t)
{
    if (!t->t.work || !work_of(t)->left || t->t.old)
        return;
    struct server_work *w = work_of(t);
    bool silent = t->t.state == TXN_CONFIRMED || (t->t.state == TXN_ACCEPTED && !w->repeat);
    bool answered = t->t.kind == TXN_NIST && t->t.state == TXN_COMPLETED && !txn_reliable(&t->t);
    if (answered && !t->answer && w->w.octets)
        t->answer = txn_answer_copy(w->w.table, block_sv(w->w.octets));
    if (silent || (answered && t->answer))
        work_free(t);
}

/* ---- tags ---- */

static uint64_t tag_hash(const struct txn_table *tt, sv tag)
{
    sv pieces[] = {SV("tag"), tag};
    return sv_present(tag) ? home_tag(tt->home, pieces, 2) : 0;
}

/* The To tag of what was answered, in mem; SV_NONE: it has none. */
static sv response_tag(const struct txn_table *tt, const struct stxn *t,
                       char mem[static TXN_TAG_MAX])
{
    const struct block *octets = t->t.work ? t->t.work->octets : NULL;
    return octets      ? txn_octets_tag(octets, mem)
           : t->answer ? txn_answer_tag(t->answer, tt->sip, mem)
                       : SV_NONE;
}

/* ---- effects ---- */

static void server_send(struct txn_table *tt, struct stxn *t, struct rx *rx)
{
    struct txn_work *w = t->t.work;
    /* Over datagrams a provisional response that is refused says little: the final one will be
     * sent. */
    if (w && w->octets)
        txn_send(&t->t, w->octets, work_of(t)->final || txn_reliable(&t->t));
    else if (t->answer && rx)
        txn_answer_send(tt, t->answer, rx);
}

static enum err build_reply(struct stxn *t, struct sip_reply *r, struct block **ret_octets)
{
    struct block *octets, *fit = NULL;
    struct sip *s = t->t.work->table->sip;
    TRY(sip_build_reply(s, work_of(t)->rx, r, &octets));
    /* A refusal of an INVITE is repeated until the ACK: in a block of its own size. */
    if (t->t.kind == TXN_IST && octets->n <= octets->cap / 2)
        fit = sip_block(s, octets->n);
    if (fit) {
        memcpy(fit->p, octets->p, octets->n);
        fit->n = octets->n;
        block_unref(octets);
    }
    *ret_octets = fit ? fit : octets;
    return ERR_OK;
}

/* What is sent again from now on. */
static void set_octets(struct stxn *t, struct block *octets)
{
    block_unref(t->t.work->octets);
    t->t.work->octets = octets;
}

static void send_100(struct stxn *t)
{
    struct sip_reply r = {.status = 100};
    struct block *octets;
    if (build_reply(t, &r, &octets))
        return; /* the request comes again */
    set_octets(t, octets);
    server_send(t->t.work->table, t, NULL);
}

static void leave(struct stxn *t, enum err why)
{
    struct server_work *w = t->t.work ? work_of(t) : NULL;
    if (!w || w->left)
        return;
    w->left = true;
    if (w->h)
        w->h->on_gone(w->arg, why);
}

static void tell(struct txn_table *tt, struct stxn *t, enum txn_event ev, struct rx *rx)
{
    void *arg;
    const struct sip_user *u;
    struct server_work *w = t->t.work ? work_of(t) : NULL;
    if (ev == TXN_RX_CANCEL) {
        if (w && !w->left && w->h && w->h->on_cancel)
            w->h->on_cancel(w->arg, rx);
    } else if (ev == TXN_RX_ACK) {
        if (w)
            w->repeat = false;
        u = sip_user_of(tt->sip, &arg);
        u->on_request(arg, rx);
    }
}

void stxn_run(struct txn_table *tt, struct stxn *t, enum txn_event ev, struct rx *rx)
{
    struct txn *m = &t->t;
    uint32_t todo = txn_step(m->kind, &m->state, ev);
    if (todo == TXN_BROKEN) {
        stat_inc(&tt->loop->stats, STAT_SIP_TXN_BROKEN);
        m->state = TXN_GONE;
        todo = TXN_STOP | TXN_LEAVE_ERROR;
    }
    if (ev == TXN_TIMER_G || ev == TXN_TIMER_2XX)
        stat_inc(&tt->loop->stats, STAT_SIP_RETRANSMITS_TX);
    txn_stop(tt, m, todo);
    if (todo & TXN_SEND)
        server_send(tt, t, rx);
    if (todo & TXN_SEND_100)
        send_100(t);
    bool repeat = m->work && work_of(t)->repeat;
    txn_arm(tt, m, repeat ? todo : todo & ~(uint32_t)TXN_ARM_2XX);
    /* The user last: he may drop t in any of these, which frees it unless it is gone or has a final
     * response. */
    if (todo & TXN_TELL) {
        tell(tt, t, ev, rx);
        return;
    }
    bool gone = m->state == TXN_GONE;
    if (todo & TXN_LEAVE)
        leave(t, ev == TXN_TIMER_L && repeat ? ERR_TIMEOUT : ERR_OK);
    if (todo & TXN_LEAVE_TIMEOUT)
        leave(t, ERR_TIMEOUT);
    if (todo & TXN_LEAVE_ERROR) {
        if (m->work)
            work_of(t)->final = true; /* nothing more will be said; t stays to absorb the request */
        leave(t, m->work && m->work->fault ? m->work->fault : ERR_STATE);
        if (m->work)
            let_go_of_request(work_of(t));
    }
    if (gone)
        server_free(tt, t);
    else
        settle(t);
}

void stxn_end(struct txn_table *tt, struct stxn *t, enum err why)
{
    t->t.state = TXN_GONE;
    leave(t, why);
    server_free(tt, t);
}

/* ---- matching ---- */

/* RFC 3261 §17.2.3: for a request of RFC 2543 the To tag must fit, too: an ACK's is that of our
 * response, a CANCEL's and a retransmission's that of the request. */
static bool tag_fits(const struct txn_table *tt, const struct stxn *t, struct rx *rx)
{
    const struct sip_addr *to;
    if (!t->t.old)
        return true;
    if (sipmsg_to(&rx->msg, &to))
        return false;
    if (rx->msg.method != SIP_ACK)
        return tag_hash(tt, to->tag) == work_of(t)->tag;
    char mem[TXN_TAG_MAX];
    sv tag = response_tag(tt, t, mem);
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
        if (txn_has_key(&t->t, &match->key) && t->t.old == match->old && tag_fits(tt, t, rx) &&
            addr_equal_ip(&t->source, &rx->flow.remote) &&
            (any_method || t->t.method == match->method))
            return t;
    }
    return NULL;
}

bool stxn_knows(void *table, struct rx *rx)
{
    struct txn_table *tt = table;
    return server_find(tt, rx, rx->msg.method == SIP_CANCEL) != NULL;
}

/* No transaction here is rx's, nor was it merged with one's request: nobody held its Call-ID when it came. */
static bool is_alone(const struct txn_table *tt, const struct rx *rx)
{
    return rx->first && tt->unclaimed == 0;
}

/* RFC 3261 §8.2.2.2: rx may have been merged on the way; what has a tag in To is in a dialog. */
static bool may_be_merged(struct rx *rx)
{
    const struct sip_addr *to, *from;
    const struct sip_cseq *cseq;
    return !sipmsg_to(&rx->msg, &to) && !sv_present(to->tag) && !sipmsg_from(&rx->msg, &from) &&
           !sipmsg_cseq(&rx->msg, &cseq);
}

/* What requests that were merged have in common: tag of From, Call-ID, CSeq. Of rx that may be merged. */
static uint64_t merge_key(const struct txn_table *tt, struct rx *rx)
{
    const struct sip_addr *from;
    const struct sip_cseq *cseq;
    const struct home_key *call = sip_call_key(tt->sip, rx);
    struct rx_match *match = &rx->match;
    if (match->merge == 0 && !sipmsg_from(&rx->msg, &from) && !sipmsg_cseq(&rx->msg, &cseq)) {
        sv pieces[] = {SV("merge"),
                       from->tag,
                       {(const char *)call, sizeof *call},
                       {(const char *)&cseq->number, sizeof cseq->number},
                       {(const char *)&match->method, sizeof match->method}};
        match->merge = home_list_key(tt->home, pieces, 5).a;
    }
    return match->merge;
}

/* When its request comes again, the directory may not have known of it; requests that a mark led here are led here
 * again, and a CANCEL claims nothing. */
static bool is_unclaimed(const struct rx *rx)
{
    return !rx->claimed && rx->msg.method != SIP_CANCEL && (!rx->led || rx->match.merges);
}

static struct stxn *server_begin(struct txn_table *tt, struct rx *rx)
{
    const struct rx_match *match = txn_server_match(tt, rx);
    const struct sip_addr *to;
    if (!match || sipmsg_to(&rx->msg, &to))
        return NULL;
    struct server_work *w = MEM_TAKE(struct server_work);
    struct stxn *t = w ? pool_get(tt->servers) : NULL;
    if (!t) {
        MEM_GIVE(w);
        return NULL;
    }
    enum txn_kind kind = rx->msg.method == SIP_INVITE ? TXN_IST : TXN_NIST;
    struct txn_key key = {match->key, match->method};
    txn_init(&t->t, tt, kind, &key, &w->w);
    t->source = rx->flow.remote;
    t->t.old = match->old;
    w->w.dest = sip_response_dest(rx);
    w->rx = rx_ref(rx);
    w->at = tt->loop->now;
    w->tag = match->old ? tag_hash(tt, to->tag) : 0;
    t->t.unclaimed = is_unclaimed(rx);
    tt->unclaimed += t->t.unclaimed;
    if (rx->claimed) {
        t->claim = *sip_call_key(tt->sip, rx);
        t->t.claimed = true;
        rx->claimed = false;
    }
    /* Of requests that the user serves himself: about others he did not ask (stxn_merged). One stands for
     * all that were merged: a chain of equals would have no end. */
    if (match->merges && !hash_first(&tt->by_merge_key, merge_key(tt, rx)))
        hash_insert(&tt->by_merge_key, &t->by_merge, merge_key(tt, rx));
    txn_arm(tt, &t->t, txn_begin(kind, &t->t.state));
    return t;
}

/* RFC 3261 §9.1: a CANCEL has the Call-ID, From and CSeq number of what it cancels. */
static bool cancels(struct stxn *target, struct rx *rx)
{
    const struct sip_addr *from, *theirs;
    const struct sip_cseq *cseq, *number;
    sv call_id, id;
    struct rx *of = target->t.work ? work_of(target)->rx : NULL;
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
    char tag[24], mem[TXN_TAG_MAX];
    struct sip_reply r = {.status = 200, .to_tag = response_tag(tt, target, mem)};
    if (!sv_present(r.to_tag))
        r.to_tag = sip_stateless_tag(tt->sip, rx, tag);
    struct stxn *c = server_begin(tt, rx);
    if (c) {
        enum err rc = stxn_reply(c, &r);
        (void)rc; /* unanswered it ends here: the CANCEL comes again */
        stxn_drop(c);
    }
    stxn_run(tt, target, TXN_RX_CANCEL, rx);
    return true;
}

bool stxn_on_request(void *table, struct rx *rx)
{
    struct txn_table *tt = table;
    struct stxn *t = is_alone(tt, rx) ? NULL : server_find(tt, rx, false);
    if (!t)
        return rx->msg.method == SIP_CANCEL && on_cancel(tt, rx);
    if (rx->msg.method == SIP_ACK) {
        stxn_run(tt, t, TXN_RX_ACK, rx);
        return true;
    }
    stat_inc(&tt->loop->stats, STAT_SIP_RETRANSMITS_RX);
    /* The client has come over another connection: that is where it listens now. */
    if (flow_reliable(&rx->flow) && t->t.work) {
        txn_elsewhere_done(&t->t);
        t->t.work->dest = sip_response_dest(rx);
    }
    stxn_run(tt, t, TXN_RX_REQUEST, rx);
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
    stxn_handle(t, h, arg);
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
    const struct txn_table *tt = t->t.work->table;
    usec age = tt->loop->now - work_of(t)->at;
    return status == 100 && !txn_reliable(&t->t) && age < txn_time_of_100(tt);
}

enum err stxn_respond(struct stxn *t, uint16_t status, struct block *octets)
{
    enum txn_event ev = status < 200 ? TXN_TX_1XX : status < 300 ? TXN_TX_2XX : TXN_TX_FAIL;
    if (!txn_allows(t->t.kind, t->t.state, ev) || forbidden(t, status))
        return ERR_STATE;
    set_octets(t, block_ref(octets));
    work_of(t)->final = status >= 200;
    stxn_run(t->t.work->table, t, ev, NULL);
    return ERR_OK;
}

enum err stxn_reply(struct stxn *t, struct sip_reply *r)
{
    struct block *octets;
    TRY(build_reply(t, r, &octets));
    enum err rc = stxn_respond(t, r->status, octets);
    if (!rc && t->t.state == TXN_COMPLETED && t->t.kind == TXN_NIST && !txn_reliable(&t->t))
        t->answer = txn_answer_of(t->t.work->table, work_of(t)->rx, r);
    block_unref(octets);
    return rc;
}

void stxn_handle(struct stxn *t, const struct stxn_handler *h, void *arg)
{
    struct server_work *w = work_of(t);
    w->h = h;
    w->arg = arg;
}

struct rx *stxn_rx(const struct stxn *t)
{
    return t->t.work ? work_of(t)->rx : NULL;
}

bool stxn_final(const struct stxn *t)
{
    return !t->t.work || work_of(t)->final;
}

void stxn_drop(struct stxn *t)
{
    if (!t || !t->t.work)
        return;
    struct server_work *w = work_of(t);
    w->left = true;
    if (t->t.state == TXN_GONE)
        return; /* it ends as soon as the handler returns */
    if (!w->final) {
        server_free(w->w.table, t);
        return;
    }
    stxn_repeat_2xx(t, false);
    let_go_of_request(w);
    settle(t);
}

bool stxn_merged(struct sip *s, struct rx *rx)
{
    struct txn_table *tt = sip_txns(s);
    const struct rx_match *match;
    rx->match.merges = may_be_merged(rx);
    if (!rx->match.merges || is_alone(tt, rx) || !(match = txn_server_match(tt, rx)))
        return false;
    HASH_EACH (t, &tt->by_merge_key, merge_key(tt, rx), struct stxn, by_merge) {
        if (!txn_has_key(&t->t, &match->key))
            return true;
    }
    return false;
}

static bool is_awaited(struct hash_node *n, void *arg)
{
    const struct txn *t = CONTAINER(n, struct txn, by_key);
    *(size_t *)arg += t->kind == TXN_IST && t->state == TXN_COMPLETED && t->work && !t->work->fault;
    return true;
}

size_t stxn_awaited(struct sip *s)
{
    struct txn_table *tt = sip_txns(s);
    size_t n = 0;
    hash_walk(&tt->by_server_key, is_awaited, &n);
    return n;
}

void stxn_repeat_2xx(struct stxn *t, bool on)
{
    struct server_work *w = work_of(t);
    if (w->repeat == on)
        return;
    w->repeat = on;
    if (t->t.kind != TXN_IST || t->t.state != TXN_ACCEPTED)
        return;
    if (on)
        txn_arm(w->w.table, &t->t, TXN_ARM_2XX);
    else
        txn_stop(w->w.table, &t->t, TXN_STOP_RETRY);
}
