/* SPDX-License-Identifier: MIT */
/* txn/txn.c: the transactions of one endpoint: keys, timers, sending; life. */
#include "txn/txn_priv.h"

enum { HOST_MAX = 256, EXPECTED = 256, ENDS_A_TURN = 16 };
#define TIMER_D_MIN  (32 * USEC_S) /* RFC 6026 §8.4: at least 32 s */
#define T1_USUAL     (500 * USEC_MS)
#define T2_USUAL     (4 * USEC_S)
#define TRYING_AFTER (200 * USEC_MS) /* RFC 3261 §17.2.1 */

/* ---- keys ---- */

uint32_t txn_method(const struct txn_table *tt, enum sip_method m, sv text)
{
    sv pieces[] = {SV("method"), text};
    return m != SIP_EXTENSION ? (uint32_t)m
                              : (uint32_t)home_tag(tt->home, pieces, 2) | UINT32_C(1) << 31;
}

struct txn_key txn_client_key(const struct txn_table *tt, sv branch, uint32_t method)
{
    sv pieces[] = {SV("client"), branch};
    return (struct txn_key){.id = home_list_key(tt->home, pieces, 2), .method = method};
}

/* RFC 3261 §17.2.3: the branch identifies when it begins with the magic cookie; a bare cookie names
 * nothing. */
static bool branch_unique(sv branch)
{
    sv cookie = SV("z9hG4bK");
    return sv_starts(branch, cookie) && branch.n > cookie.n;
}

/* The source belongs to it (D31), and many sources with one branch are not one chain. So does the Call-ID: with
 * another one it is another request, of a client that makes no unique branches. */
static bool key_by_branch(const struct txn_table *tt, const struct sip_via *via, struct rx *rx)
{
    const struct addr *source = &rx->flow.remote;
    const struct home_key *call = sip_call_key(tt->sip, rx);
    char host[HOST_MAX];
    size_t n = via->host.n < HOST_MAX ? via->host.n : HOST_MAX;
    for (size_t i = 0; i < n; i++)
        host[i] = sv_lower(via->host.p[i]);
    struct {
        char use[6];
        uint16_t port;
        struct home_key call;
        uint8_t ip[sizeof source->ip];
    } fixed = {"server", via->port, *call, {0}};
    _Static_assert(sizeof fixed == 40, "no octet of it is unknown");
    memcpy(fixed.ip, source->ip, sizeof fixed.ip);
    sv pieces[] = {{(const char *)&fixed, sizeof fixed}, via->branch, {host, n}};
    rx->match.key = home_list_key(tt->home, pieces, 3);
    return true;
}

/* RFC 3261 §17.2.3, of RFC 2543: Request-URI, tag of From, Call-ID, CSeq, Via; the tag of To besides. */
static bool key_without_branch(const struct txn_table *tt, struct sipmsg *m,
                               const struct sip_via *via, struct rx_match *ret)
{
    const struct sip_addr *from;
    const struct sip_cseq *cseq;
    sv call_id;
    if (sipmsg_from(m, &from) || sipmsg_cseq(m, &cseq) || sipmsg_call_id(m, &call_id))
        return false;
    sv number = {(const char *)&cseq->number, sizeof cseq->number};
    sv pieces[] = {SV("old"), m->uri_text, from->tag, call_id, number, via->text};
    ret->key = home_list_key(tt->home, pieces, 6);
    return true;
}

const struct rx_match *txn_server_match(const struct txn_table *tt, struct rx *rx)
{
    struct sipmsg *m = &rx->msg;
    struct rx_match *match = &rx->match;
    const struct sip_via *via;
    if (match->state == RX_MATCH_UNKNOWN) {
        match->state = RX_MATCH_NONE;
        match->method =
            txn_method(tt, m->method == SIP_ACK ? SIP_INVITE : m->method, m->method_text);
        if (!sipmsg_via(m, &via)) {
            match->old = !branch_unique(via->branch);
            if (match->old ? key_without_branch(tt, m, via, match) : key_by_branch(tt, via, rx))
                match->state = RX_MATCH_KEY;
        }
    }
    return match->state == RX_MATCH_KEY ? match : NULL;
}

/* ---- timers ---- */

bool txn_reliable(const struct txn *t)
{
    const struct dest *d = &t->work->dest;
    enum sip_transport via = d->flow.transport != SIP_T_NONE ? d->flow.transport : d->transport;
    return via != SIP_T_UDP;
}

usec txn_time_of_100(const struct txn_table *tt)
{
    /* RFC 4320 §4.1: when the client's Timer E has reached T2. His T1 and T2 are not ours to lower:
     * with the usual ones it is 3.5 s. */
    usec after = 0, t1 = tt->config->t1 > T1_USUAL ? tt->config->t1 : T1_USUAL;
    usec t2 = tt->config->t2 > T2_USUAL ? tt->config->t2 : T2_USUAL;
    for (usec e = t1; e < t2; e *= 2)
        after += e;
    return after;
}

static void run(struct txn_table *tt, struct txn *t, enum txn_event ev)
{
    if (t->kind == TXN_ICT || t->kind == TXN_NICT)
        ctxn_run(tt, CONTAINER(t, struct ctxn, t), ev, NULL);
    else
        stxn_run(tt, CONTAINER(t, struct stxn, t), ev, NULL);
}

static void on_retry(struct timer *timer, void *arg)
{
    struct txn *t = arg;
    (void)timer;
    run(t->work->table, t, t->work->retry_event);
}

static void leave_queue(struct txn_table *tt, struct txn *t)
{
    struct txn_queue *q = &tt->queue[t->wait];
    list_unlink(&t->by_wait);
    if (list_empty(&q->waiting))
        loop_timer_cancel(tt->loop, &q->timer);
}

/* For the first of q, after so long. What ends at once is not held up. */
static void arm_queue(struct loop *l, struct txn_queue *q, usec delay)
{
    q->due_since = 0;
    if (q->after)
        loop_timer_about(l, &q->timer, delay);
    else
        loop_timer(l, &q->timer, delay);
}

static void enter_queue(struct txn_table *tt, struct txn *t, enum txn_wait wait)
{
    struct loop *l = tt->loop;
    struct txn_queue *q = &tt->queue[wait];
    t->wait = wait & 7;
    t->deadline = l->now + q->after;
    if (wait != TXN_WAIT_EVER && list_empty(&q->waiting))
        arm_queue(l, q, q->after);
    list_push(&q->waiting, &t->by_wait);
}

/* Those of the grid end together, hundreds under load, each in memory that has not been touched for long: messages are
 * served between. But none waits for the next ones of the grid. */
static size_t ends_now(const struct loop *l, usec since)
{
    return l->now - since < l->grid / 2 ? ENDS_A_TURN : SIZE_MAX;
}

/* Of q some have ended; those that are due have waited since then. */
static void arm_rest(struct loop *l, struct txn_queue *q, usec since)
{
    if (list_empty(&q->waiting)) {
        loop_timer_cancel(l, &q->timer);
        return;
    }
    usec at = CONTAINER(q->waiting.next, struct txn, by_wait)->deadline;
    if (at > l->now) {
        arm_queue(l, q, at - l->now);
    } else {
        q->due_since = since;
        loop_timer_next(l, &q->timer);
    }
}

/* Those that are due. What they bring into the queue has its turn later, and is behind the rest. */
static void on_queue(struct timer *timer, void *arg)
{
    struct txn_queue *q = arg;
    struct loop *l = q->table->loop;
    (void)timer;
    usec since = q->due_since ? q->due_since : l->now;
    struct link batch;
    list_init(&batch);
    list_splice(&batch, &q->waiting);
    for (size_t most = ends_now(l, since); most > 0 && !list_empty(&batch); most--) {
        struct txn *t = CONTAINER(batch.next, struct txn, by_wait);
        if (t->deadline > l->now)
            break;
        list_unlink(&t->by_wait);
        enter_queue(q->table, t, TXN_WAIT_EVER);
        run(q->table, t, t->deadline_event); /* it may be gone, and others of the batch too */
    }
    list_splice(&batch, &q->waiting);
    list_splice(&q->waiting, &batch);
    arm_rest(l, q, since);
}

void txn_stop(struct txn_table *tt, struct txn *t, uint32_t todo)
{
    if (todo & TXN_STOP_RETRY && t->work)
        loop_timer_cancel(tt->loop, &t->work->retry);
    if (todo & TXN_STOP_DEADLINE && t->wait != TXN_WAIT_EVER) {
        leave_queue(tt, t);
        enter_queue(tt, t, TXN_WAIT_EVER);
    }
}

static void arm_retry(struct txn *t, enum txn_event ev, usec after)
{
    t->work->interval = after;
    t->work->retry_event = (uint8_t)ev;
    loop_timer(t->work->table->loop, &t->work->retry, after);
}

static void arm_deadline(struct txn *t, enum txn_event ev, enum txn_wait wait)
{
    t->deadline_event = (uint8_t)ev;
    leave_queue(t->work->table, t);
    enter_queue(t->work->table, t, wait);
}

/* The interval that follows when ev's timer goes on: T1 first, then twice the last, at most max. */
static usec doubled(const struct txn *t, enum txn_event ev, usec max)
{
    const struct txn_work *w = t->work;
    usec next = w->interval && w->retry_event == ev ? 2 * w->interval : w->table->config->t1;
    return next < max ? next : max;
}

/* A response for which a connection is being made can still fail, and is to be tried elsewhere. */
static bool still_going(const struct txn *t)
{
    const struct dest *d = &t->work->dest;
    return d->or_connect && !sip_flow_up(t->work->table->sip, &d->flow);
}

/* What is said again, or said when nothing else was. */
static void arm_retries(struct txn_table *tt, struct txn *t, uint32_t todo, bool reliable)
{
    const struct sip_config *c = tt->config;
    if (todo & TXN_ARM_A && !reliable)
        arm_retry(t, TXN_TIMER_A, doubled(t, TXN_TIMER_A, 64 * c->t1));
    if (todo & TXN_ARM_E && !reliable)
        arm_retry(t, TXN_TIMER_E, doubled(t, TXN_TIMER_E, c->t2));
    if (todo & TXN_ARM_E_T2 && !reliable)
        arm_retry(t, TXN_TIMER_E, c->t2);
    if (todo & TXN_ARM_G && !reliable)
        arm_retry(t, TXN_TIMER_G, doubled(t, TXN_TIMER_G, c->t2));
    /* RFC 3261 §13.3.1.4: the 2xx is repeated over every transport. */
    if (todo & TXN_ARM_2XX)
        arm_retry(t, TXN_TIMER_2XX, doubled(t, TXN_TIMER_2XX, c->t2));
    if (todo & TXN_ARM_100)
        arm_retry(t, TXN_TIMER_100, t->kind == TXN_IST ? TRYING_AFTER : txn_time_of_100(tt));
}

static void arm_deadlines(struct txn *t, uint32_t todo, bool reliable)
{
    if (todo & TXN_ARM_B)
        arm_deadline(t, TXN_TIMER_B, TXN_WAIT_64T1);
    if (todo & TXN_ARM_D)
        arm_deadline(t, TXN_TIMER_D, reliable ? TXN_WAIT_NONE : TXN_WAIT_D);
    if (todo & TXN_ARM_F)
        arm_deadline(t, TXN_TIMER_F, TXN_WAIT_64T1);
    if (todo & TXN_ARM_H)
        arm_deadline(t, TXN_TIMER_H, TXN_WAIT_64T1);
    if (todo & TXN_ARM_I)
        arm_deadline(t, TXN_TIMER_I, reliable ? TXN_WAIT_NONE : TXN_WAIT_T4);
    if (todo & TXN_ARM_J)
        arm_deadline(t, TXN_TIMER_J, reliable && !still_going(t) ? TXN_WAIT_NONE : TXN_WAIT_64T1);
    if (todo & TXN_ARM_K)
        arm_deadline(t, TXN_TIMER_K, reliable ? TXN_WAIT_NONE : TXN_WAIT_T4);
    if (todo & TXN_ARM_L)
        arm_deadline(t, TXN_TIMER_L, TXN_WAIT_64T1);
    if (todo & TXN_ARM_M)
        arm_deadline(t, TXN_TIMER_M, TXN_WAIT_64T1);
    if (todo & TXN_ARM_X)
        arm_deadline(t, TXN_TIMER_X, TXN_WAIT_64T1);
}

void txn_arm(struct txn_table *tt, struct txn *t, uint32_t todo)
{
    if (!(todo & (TXN_ARM_RETRY | TXN_ARM_DEADLINE)) ||
        !t->work) /* what stands has its last timer */
        return;
    bool reliable = txn_reliable(t);
    if (todo & TXN_ARM_RETRY)
        arm_retries(tt, t, todo, reliable);
    if (todo & TXN_ARM_DEADLINE)
        arm_deadlines(t, todo, reliable);
}

/* ---- sending ---- */

static void not_taken(struct txn *t)
{
    if (t->kind == TXN_ICT || t->kind == TXN_NICT || !txn_elsewhere(t))
        run(t->work->table, t, TXN_TX_ERROR);
}

/* From the transport: in a turn of its own. */
static void on_fail(void *arg, enum err why)
{
    struct txn *t = arg;
    t->work->fault = why;
    not_taken(t);
}

static void on_later(struct deferred *d, void *arg)
{
    struct txn_table *tt = arg;
    (void)d;
    for (struct link *l; (l = list_pop(&tt->faults));)
        not_taken(CONTAINER(l, struct txn_work, by_fault)->t);
}

void txn_send(struct txn *t, struct block *octets, bool watched)
{
    struct txn_work *w = t->work;
    struct txn_table *tt = w->table;
    enum err rc = sip_send(tt->sip, txn_dest(t), octets, watched ? &w->watch : NULL);
    /* A full queue of datagrams is loss like any other: the timers mend it. */
    if (!rc || (rc == ERR_BUSY && !txn_reliable(t)))
        return;
    w->fault = rc;
    if (!list_linked(&w->by_fault))
        list_push(&tt->faults, &w->by_fault);
    loop_defer(tt->loop, &tt->later);
}

/* ---- life ---- */

static size_t count(const void *table)
{
    const struct txn_table *tt = table;
    return pool_live(tt->clients) + pool_live(tt->servers);
}

/* What only stands counts as an eighth. */
static size_t taken(const struct txn_table *tt)
{
    size_t standing = count(tt) / SIP_STANDING;
    return tt->at_work > standing ? tt->at_work : standing;
}

static unsigned full(const void *table)
{
    const struct txn_table *tt = table;
    size_t n = taken(tt), cap = tt->config->transactions;
    return n < cap ? (unsigned)(n * 100 / cap) : 100;
}

bool txn_full(struct txn_table *tt)
{
    if (taken(tt) < tt->config->transactions)
        return false;
    stat_refuse(&tt->loop->stats, STAT_LIMIT_TRANSACTIONS);
    return true;
}

void txn_init(struct txn *t, struct txn_table *tt, enum txn_kind kind, const struct txn_key *key,
              struct txn_work *w)
{
    t->kind = kind & 3;
    t->key_b = key->id.b;
    t->method = key->method;
    t->work = w;
    w->t = t;
    w->table = tt;
    tt->at_work++;
    timer_init(&w->retry, on_retry, t);
    w->watch.on_fail = on_fail;
    w->watch.arg = t;
    enter_queue(tt, t, TXN_WAIT_EVER);
    bool client = kind == TXN_ICT || kind == TXN_NICT;
    hash_insert(client ? &tt->by_client_key : &tt->by_server_key, &t->by_key, key->id.a);
    stat_add(&tt->loop->stats, STAT_SIP_TXN_LIVE, 1);
}

void txn_work_done(struct txn *t)
{
    struct txn_work *w = t->work;
    loop_timer_cancel(w->table->loop, &w->retry);
    sip_send_cancel(&w->watch);
    list_unlink(&w->by_fault);
    txn_elsewhere_done(t);
    block_unref(w->octets);
    w->table->at_work--;
    t->work = NULL;
}

void txn_done(struct txn_table *tt, struct txn *t)
{
    bool client = t->kind == TXN_ICT || t->kind == TXN_NICT;
    hash_remove(client ? &tt->by_client_key : &tt->by_server_key, &t->by_key);
    leave_queue(tt, t);
    stat_add(&tt->loop->stats, STAT_SIP_TXN_LIVE, -1);
}

static void table_done(struct txn_table *tt)
{
    loop_defer_cancel(&tt->later);
    hash_done(&tt->by_client_key);
    hash_done(&tt->by_server_key);
    hash_done(&tt->by_merge_key);
    pool_free(tt->clients);
    pool_free(tt->servers);
    mem_free(tt);
}

static void table_free(void *table)
{
    struct txn_table *tt = table;
    tt->closing = true; /* handlers cannot begin new ones */
    for (int i = 0; i < TXN_WAITS; i++) {
        while (!list_empty(&tt->queue[i].waiting)) {
            struct txn *t = CONTAINER(tt->queue[i].waiting.next, struct txn, by_wait);
            if (t->kind == TXN_ICT || t->kind == TXN_NICT)
                ctxn_end(tt, CONTAINER(t, struct ctxn, t), ERR_CANCELLED);
            else
                stxn_end(tt, CONTAINER(t, struct stxn, t), ERR_CANCELLED);
        }
    }
    table_done(tt);
}

static const struct sip_txn_ops ops = {
    .on_request = stxn_on_request,
    .on_response = ctxn_on_response,
    .knows = stxn_knows,
    .count = count,
    .full = full,
    .free = table_free,
};

static void queues_init(struct txn_table *tt)
{
    usec t64 = 64 * tt->config->t1;
    const usec after[TXN_WAITS] = {[TXN_WAIT_T4] = tt->config->t4,
                                   [TXN_WAIT_64T1] = t64,
                                   [TXN_WAIT_D] = t64 > TIMER_D_MIN ? t64 : TIMER_D_MIN};
    for (int i = 0; i < TXN_WAITS; i++) {
        struct txn_queue *q = &tt->queue[i];
        q->table = tt;
        q->after = after[i];
        list_init(&q->waiting);
        timer_init(&q->timer, on_queue, q);
    }
}

static enum err table_init(struct txn_table *tt)
{
    TRY(pool_new("client_transactions", sizeof(struct ctxn), 0, &tt->clients));
    TRY(pool_new("server_transactions", sizeof(struct stxn), 0, &tt->servers));
    TRY(hash_init(&tt->by_client_key, EXPECTED));
    TRY(hash_init(&tt->by_server_key, EXPECTED));
    return hash_init(&tt->by_merge_key, EXPECTED);
}

enum err txn_start(struct sip *s)
{
    struct txn_table *tt = MEM_NEW(struct txn_table);
    if (!tt)
        return ERR_NOMEM;
    tt->sip = s;
    tt->loop = sip_loop(s);
    tt->home = sip_home(s);
    tt->config = sip_config(s);
    queues_init(tt);
    list_init(&tt->faults);
    deferred_init(&tt->later, on_later, tt);
    enum err rc = table_init(tt);
    if (rc) {
        table_done(tt);
        return rc;
    }
    sip_set_txns(s, &ops, tt);
    return ERR_OK;
}
