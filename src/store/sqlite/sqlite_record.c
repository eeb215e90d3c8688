/* SPDX-License-Identifier: MIT */
/* sqlite/sqlite_record.c: call records: a queue a worker, written a second after the first of
 * them or when there are
 * enough for one transaction. What could not be written stays at the head of the queue. */
#include "sqlite/sqlite_priv.h"

enum { BATCH = 500, PENDING_MAX = 50000, PRUNE_AT_ONCE = 1000, TEXTS = 9 };

static const usec write_every = USEC_S, prune_first = 10 * USEC_S;

struct record {
    struct link by_queue;
    size_t size;
    struct call_record r;
    char octets[]; /* its texts */
};

static void drop(struct sqlite *d, struct link *k)
{
    struct record *e = CONTAINER(k, struct record, by_queue);
    mem_give(e, e->size);
    atomic_fetch_sub_explicit(&d->pending, 1, memory_order_relaxed);
}

/* ---- writing ---- */

/* r as the nth row of s. */
static void bind(struct sqlite *d, enum sqlite_statement s, size_t n, const struct call_record *r)
{
    int at = (int)n * SQLITE_RECORD_VALUES;
    sqlite_bind_sv(d, s, at + 1, r->call_id);
    sqlite_bind_sv(d, s, at + 2, r->from);
    sqlite_bind_sv(d, s, at + 3, r->to);
    sqlite_bind_sv(d, s, at + 4, r->caller);
    sqlite_bind_sv(d, s, at + 5, r->callee);
    sqlite_bind_int(d, s, at + 6, r->start);
    sqlite_bind_int(d, s, at + 7, r->answer);
    sqlite_bind_int(d, s, at + 8, r->end);
    sqlite_bind_int(d, s, at + 9, r->status);
    sqlite_bind_sv(d, s, at + 10, r->ended_by);
    sqlite_bind_sv(d, s, at + 11, r->reason);
    sqlite_bind_sv(d, s, at + 12, r->agent);
    sqlite_bind_sv(d, s, at + 13, r->media);
}

static enum err insert(struct sqlite *d, struct link *batch, size_t n)
{
    size_t whole = n - n % SQLITE_RECORDS, at = 0;
    LIST_EACH (e, batch, struct record, by_queue) {
        bool many = at < whole;
        size_t row = many ? at % SQLITE_RECORDS : 0;
        enum sqlite_statement s = many ? SQL_RECORDS_ADD : SQL_RECORD_ADD;
        bind(d, s, row, &e->r);
        if (!many || row == SQLITE_RECORDS - 1)
            TRY(sqlite_run(d, s, NULL));
        at++;
    }
    return ERR_OK;
}

static enum err write_batch(struct sqlite *d, struct link *batch, size_t n)
{
    pthread_mutex_lock(&d->db_lock);
    enum err rc = sqlite_run(d, SQL_BEGIN, NULL);
    if (!rc)
        rc = insert(d, batch, n);
    rc = sqlite_end(d, rc);
    pthread_mutex_unlock(&d->db_lock);
    return rc;
}

static void take_batch(struct sqlite_worker *w)
{
    for (; w->queued && w->batch_n < BATCH; w->queued--, w->batch_n++)
        list_push(&w->batch, list_pop(&w->queue));
}

/* Written, or back to the head of the queue. */
static void settle_batch(struct sqlite_worker *w, enum err rc)
{
    if (rc) {
        list_splice(&w->batch, &w->queue);
        list_splice(&w->queue, &w->batch);
        w->queued += w->batch_n;
    }
    for (struct link *k; (k = list_pop(&w->batch));)
        drop(w->d, k);
    w->batch_n = 0;
}

static void write_work(struct job *j)
{
    struct sqlite_worker *w = CONTAINER(j, struct sqlite_worker, job);
    w->rc = write_batch(w->d, &w->batch, w->batch_n);
}

static void write_done(struct loop *at, struct job *j);

static void write_start(struct sqlite_worker *w)
{
    take_batch(w);
    w->job = (struct job){.work = write_work, .done = write_done};
    w->writing = true;
    enum err rc = loop_offload(w->loop, &w->job);
    if (!rc)
        return;
    w->writing = false;
    settle_batch(w, rc);
    loop_timer(w->loop, &w->due, write_every);
}

static void write_done(struct loop *at, struct job *j)
{
    struct sqlite_worker *w = CONTAINER(j, struct sqlite_worker, job);
    w->writing = false;
    settle_batch(w, w->rc);
    if (loop_stopping(at) || !w->queued)
        return;
    if (!w->rc && w->queued >= BATCH)
        write_start(w);
    else if (!timer_armed(&w->due))
        loop_timer(at, &w->due, write_every);
}

static void on_due(struct timer *t, void *arg)
{
    struct sqlite_worker *w = arg;
    (void)t;
    if (!w->writing && w->queued) /* else its end sees to the rest */
        write_start(w);
}

/* ---- reading ---- */

enum err sqlite_each_record(struct store_directory *dir, size_t n, store_record_fn *fn, void *arg)
{
    const enum sqlite_statement s = SQL_RECORDS_LAST;
    struct sqlite *d = sqlite_of(dir);
    enum err rc = ERR_OK;
    bool more = true;
    pthread_mutex_lock(&d->db_lock);
    sqlite_bind_int(d, s, 1, (int64_t)n);
    while (more && (rc = sqlite_row(d, s)) == ERR_OK) {
        struct call_record r = {.call_id = sqlite_column(d, s, 0),
                                .from = sqlite_column(d, s, 1),
                                .to = sqlite_column(d, s, 2),
                                .caller = sqlite_column(d, s, 3),
                                .callee = sqlite_column(d, s, 4),
                                .start = sqlite_column_int(d, s, 5),
                                .answer = sqlite_column_int(d, s, 6),
                                .end = sqlite_column_int(d, s, 7),
                                .status = (uint16_t)sqlite_column_int(d, s, 8),
                                .ended_by = sqlite_column(d, s, 9),
                                .reason = sqlite_column(d, s, 10),
                                .agent = sqlite_column(d, s, 11),
                                .media = sqlite_column(d, s, 12)};
        more = fn(&r, arg);
    }
    sqlite_reset(d, s);
    pthread_mutex_unlock(&d->db_lock);
    return !more || rc == ERR_NOTFOUND ? ERR_OK : rc;
}

/* ---- old records ---- */

static void prune_work(struct job *j)
{
    struct sqlite_worker *w = CONTAINER(j, struct sqlite_worker, prune);
    struct sqlite *d = w->d;
    int n = PRUNE_AT_ONCE;
    enum err rc = ERR_OK;
    while (!rc && n == PRUNE_AT_ONCE) { /* in steps: others want the connection too */
        pthread_mutex_lock(&d->db_lock);
        sqlite_bind_int(d, SQL_RECORDS_PRUNE, 1, w->cutoff);
        sqlite_bind_int(d, SQL_RECORDS_PRUNE, 2, PRUNE_AT_ONCE);
        rc = sqlite_run(d, SQL_RECORDS_PRUNE, &n);
        pthread_mutex_unlock(&d->db_lock);
    }
}

static void prune_done(struct loop *at, struct job *j)
{
    (void)at;
    CONTAINER(j, struct sqlite_worker, prune)->pruning = false;
}

static void on_daily(struct timer *t, void *arg)
{
    struct sqlite_worker *w = arg;
    if (!w->pruning) {
        w->cutoff = loop_wall(w->loop) - w->d->records_keep;
        w->prune = (struct job){.work = prune_work, .done = prune_done};
        w->pruning = loop_offload(w->loop, &w->prune) == ERR_OK;
    }
    loop_timer(w->loop, t, w->pruning ? USEC_DAY : USEC_MIN);
}

/* ---- operations ---- */

void sqlite_seen(struct sqlite *d, struct loop *l)
{
    struct sqlite_worker *w = &d->worker[l->worker];
    if (w->loop)
        return;
    w->d = d;
    w->loop = l;
    list_init(&w->queue);
    list_init(&w->batch);
    timer_init(&w->due, on_due, w);
    timer_init(&w->daily, on_daily, w);
    if (l->worker == 0 && d->records_keep > 0)
        loop_timer(l, &w->daily, prune_first);
}

static sv copy(char **at, sv text)
{
    sv s = {*at, text.n};
    if (s.n)
        memcpy(*at, text.p, s.n);
    *at += s.n;
    return s;
}

static struct record *record_new(const struct call_record *r)
{
    sv texts[TEXTS] = {r->call_id,  r->from,   r->to,    r->caller, r->callee,
                       r->ended_by, r->reason, r->agent, {"", 0}};
    size_t n = 0;
    if (r->media.n <= SQLITE_MEDIA_MAX) /* a part of it would be nothing */
        texts[TEXTS - 1] = r->media;
    for (int i = 0; i < TEXTS; i++) {
        if (i < TEXTS - 1)
            texts[i] = sv_sub(texts[i], 0, SQLITE_TEXT_MAX);
        n += texts[i].n;
    }
    struct record *e = mem_take(sizeof *e + n);
    if (!e)
        return NULL;
    e->size = sizeof *e + n;
    char *at = e->octets;
    for (int i = 0; i < TEXTS; i++)
        texts[i] = copy(&at, texts[i]);
    list_init(&e->by_queue);
    e->r = *r;
    e->r.call_id = texts[0];
    e->r.from = texts[1];
    e->r.to = texts[2];
    e->r.caller = texts[3];
    e->r.callee = texts[4];
    e->r.ended_by = texts[5];
    e->r.reason = texts[6];
    e->r.agent = texts[7];
    e->r.media = texts[8];
    return e;
}

void sqlite_record(struct store_directory *dir, struct loop *l, const struct call_record *r)
{
    struct sqlite *d = sqlite_of(dir);
    struct sqlite_worker *w = &d->worker[l->worker];
    sqlite_seen(d, l);
    struct record *e = record_new(r);
    if (!e) {
        stat_refuse(&l->stats, STAT_LIMIT_OFFLOAD);
        return;
    }
    list_push(&w->queue, &e->by_queue);
    w->queued++;
    if (atomic_fetch_add_explicit(&d->pending, 1, memory_order_relaxed) >= PENDING_MAX) {
        drop(d, list_pop(&w->queue)); /* the oldest: the new one if the others wait elsewhere */
        w->queued--;
        stat_refuse(&l->stats, STAT_LIMIT_OFFLOAD);
    }
    if (!w->writing && w->queued >= BATCH && !(w->rc && timer_armed(&w->due)))
        write_start(w);
    else if (!w->writing && !timer_armed(&w->due))
        loop_timer(l, &w->due, write_every);
}

void sqlite_records_close(struct sqlite *d)
{
    for (unsigned i = 0; i < LOOP_WORKERS_MAX; i++) {
        struct sqlite_worker *w = &d->worker[i];
        enum err rc = ERR_OK;
        if (!w->loop)
            continue;
        loop_timer_cancel(w->loop, &w->due);
        loop_timer_cancel(w->loop, &w->daily);
        while (w->queued && !rc) {
            take_batch(w);
            rc = write_batch(d, &w->batch, w->batch_n);
            settle_batch(w, rc);
        }
        for (struct link *k; (k = list_pop(&w->queue));)
            drop(d, k);
    }
}
