/* SPDX-License-Identifier: MIT */
/* memory/memory.c: look-ups, updates, and what a worker does with its log.
 *
 *   update ─► record into pending ─► table_swap ─┬─ lost: record dropped, ERR_BUSY
 *                                                └─ won: version and CRC into the record
 *   end of turn ─► one append of pending ─► done of each operation
 *
 * Others may read a set before it is in the journal. That breaks no promise: what they write on top
 * of it has a higher version and replaces the whole set, so it needs nothing of the lower one to be
 * recovered. */
#include "memory/memory_priv.h"
#include "crypto/crypto.h"

enum { PENDING_MAX = 8 * 1024 * 1024, PENDING_KEEP = 256 * 1024, EACH_MEMORY = 64 * 1024 };

static const usec sweep_every = 250 * USEC_MS; /* one shard */

static struct memory *memory_of(struct store_location *loc)
{
    return CONTAINER(loc, struct memory, base);
}

/* ---- sync ---- */

static void sync_work(struct job *j)
{
    struct memory_worker *w = CONTAINER(j, struct memory_worker, sync_job);
    w->sync_rc = disk_sync(w->sync_file);
}

static void sync_done(struct loop *at, struct job *j)
{
    struct memory_worker *w = CONTAINER(j, struct memory_worker, sync_job);
    w->syncing = false;
    if (loop_stopping(at))
        return;
    if (w->sync_rc && w->sync_file == w->log.sync) {
        w->broken = true;
        memory_want(w->m, at);
    } else if (!w->sync_rc) {
        stat_inc(&at->stats, STAT_JOURNAL_SYNCS);
    }
    memory_move_on(w);
}

static void on_sync_due(struct timer *t, void *arg)
{
    struct memory_worker *w = arg;
    if (!w->syncing) {
        w->sync_job = (struct job){.work = sync_work, .done = sync_done};
        w->sync_file = w->log.sync;
        w->syncing = loop_offload(w->loop, &w->sync_job) == ERR_OK;
        if (w->syncing)
            return;
    }
    loop_timer(w->loop, t, w->m->sync);
}

/* ---- the journal ---- */

static bool outgrown(struct memory *m)
{
    uint64_t snapshot = atomic_load_explicit(&m->snapshot_bytes, memory_order_relaxed);
    uint64_t most = 2 * snapshot > m->compact_min ? 2 * snapshot : m->compact_min;
    return atomic_load_explicit(&m->log_bytes, memory_order_relaxed) > most &&
           !atomic_load_explicit(&m->running, memory_order_relaxed);
}

/* Appends what is pending, completes its operations. */
static void memory_flush(struct memory_worker *w)
{
    struct memory *m = w->m;
    enum err rc = ERR_OK;
    sv piece = buf_sv(&w->pending);
    loop_defer_cancel(&w->flush);
    if (piece.n) {
        rc = w->broken ? ERR_IO : disk_append(w->log.append, &piece, 1);
        if (rc) {
            w->broken = true;
            memory_want(m, w->loop);
        } else {
            stat_add(&w->loop->stats, STAT_JOURNAL_BYTES, (int64_t)piece.n);
            atomic_fetch_add_explicit(&m->log_bytes, piece.n, memory_order_relaxed);
            if (!timer_armed(&w->sync_due))
                loop_timer(w->loop, &w->sync_due, m->sync);
            if (outgrown(m))
                memory_want(m, w->loop);
        }
    }
    for (struct link *k; (k = list_pop(&w->batch));)
        store_op_complete(w->loop, CONTAINER(k, struct store_op, by_batch), rc ? ERR_IO : ERR_OK);
    if (w->pending.cap > PENDING_KEEP) {
        buf_done(&w->pending);
        buf_init_heap(&w->pending, PENDING_MAX);
    }
    buf_reset(&w->pending);
}

static void on_flush(struct deferred *d, void *arg)
{
    (void)d;
    memory_flush(arg);
}

/* ---- operations ---- */

/* A set that expires then is in this shard. Comes after it, so that a walk that has taken the shard's
 * due time away meets the set. */
static void note_expiry(struct memory *m, unsigned shard, usec expiry)
{
    usec due = atomic_load(&m->due[shard]);
    while (expiry < due && !atomic_compare_exchange_weak(&m->due[shard], &due, expiry))
        continue;
}

static void bindings_op(struct store_location *loc, struct loop *l, struct store_bindings *b)
{
    struct memory *m = memory_of(loc);
    sv set;
    b->bindings = NULL;
    b->n = 0;
    enum err rc = table_get(m->table, b->aor, b->arena, &set, &b->version);
    if (!rc && b->version)
        rc = memory_set_unpack(set, b->wall, b->arena, &b->bindings, &b->n);
    store_op_complete(l, &b->op, rc);
}

/* The record of u in pending, without version. Errors: ERR_TOOBIG, ERR_NOMEM, ERR_RANGE; then
 * pending is as it was. */
static enum err put_record(struct memory_worker *w, const struct store_update *u, size_t *ret_begin,
                           sv *ret_value)
{
    struct buf *b = &w->pending;
    size_t before = b->n;
    if (u->aor.n > MEMORY_AOR_MAX)
        return ERR_TOOBIG;
    size_t begin = memory_record_begin(b, u->aor), value = b->n;
    enum err rc = u->n ? memory_set_pack(b, u->bindings, u->n) : b->rc;
    if (rc) {
        b->n = before;
        b->rc = ERR_OK;
        return rc;
    }
    *ret_begin = begin;
    *ret_value = u->n ? (sv){b->p + value, b->n - value} : SV_NONE;
    return ERR_OK;
}

static enum err update(struct memory *m, struct memory_worker *w, struct store_update *u)
{
    size_t begin = 0;
    sv value;
    if (w->broken)
        return ERR_IO;
    enum err rc = put_record(w, u, &begin, &value);
    if (rc == ERR_TOOBIG && w->pending.n) { /* perhaps only because of what waits there */
        memory_flush(w);
        rc = w->broken ? ERR_IO : put_record(w, u, &begin, &value);
    }
    TRY(rc);
    uint64_t before = u->version;
    rc = table_swap(m->table, u->aor, before, value, &u->version);
    if (rc || (before == 0 && u->n == 0)) { /* none before and none now is nothing to remember */
        w->pending.n = begin;
        return rc;
    }
    memory_record_seal(&w->pending, begin, u->version);
    stat_add(&w->loop->stats, STAT_REGISTRATIONS, (before == 0) - (u->n == 0));
    if (u->n)
        note_expiry(m, table_shard_of(m->table, u->aor), memory_set_expiry(value));
    memory_flow_add(m, u->aor, u->bindings, u->n);
    return ERR_OK;
}

static void update_op(struct store_location *loc, struct loop *l, struct store_update *u)
{
    struct memory *m = memory_of(loc);
    struct memory_worker *w = &m->worker[l->worker];
    enum err rc = update(m, w, u);
    if (rc) {
        store_op_complete(l, &u->op, rc);
        return;
    }
    u->op.loop = l;
    list_push(&w->batch, &u->op.by_batch);
    loop_defer(l, &w->flush);
}

struct walk {
    usec wall;
    store_aor_fn *fn;
    void *arg;
    enum err rc;
};

static bool walk_one(sv key, sv value, uint64_t version, void *arg)
{
    struct walk *k = arg;
    struct binding *bindings;
    size_t n;
    struct arena a;
    bool more = true;
    (void)version;
    arena_init(&a, NULL, 0, EACH_MEMORY);
    k->rc = memory_set_unpack(value, k->wall, &a, &bindings, &n);
    if (!k->rc && n)
        more = k->fn(key, bindings, n, k->arg);
    arena_done(&a);
    return more && !k->rc;
}

static enum err each_op(struct store_location *loc, usec wall, store_aor_fn *fn, void *arg)
{
    struct walk k = {wall, fn, arg, ERR_OK};
    TRY(table_each(memory_of(loc)->table, walk_one, &k));
    return k.rc;
}

_Static_assert((int)STORE_PLACES == (int)TABLE_PLACES, "places are the table's");

static uint32_t place_op(const struct store_location *loc, sv aor)
{
    return table_place(CONTAINER(loc, const struct memory, base)->table, aor);
}

static enum err each_between_op(struct store_location *loc, uint32_t from, uint32_t to, usec wall,
                                store_aor_fn *fn, void *arg)
{
    struct walk k = {wall, fn, arg, ERR_OK};
    TRY(table_each_between(memory_of(loc)->table, from, to, walk_one, &k));
    return k.rc;
}

static enum err take_flow_op(struct store_location *loc, unsigned worker, uint64_t conn,
                             struct arena *a, sv **ret_aors, size_t *ret_n)
{
    return memory_flow_take(memory_of(loc), worker, conn, a, ret_aors, ret_n);
}

static size_t count_op(const struct store_location *loc)
{
    return table_count(CONTAINER(loc, const struct memory, base)->table);
}

static uint64_t epoch_op(const struct store_location *loc)
{
    return CONTAINER(loc, const struct memory, base)->epoch;
}

/* ---- expiry ---- */

struct sweep {
    struct memory_worker *w;
    usec next; /* when the first of those that stay expires */
};

/* Expired sets leave the table without a word in the journal: recovery sees their expiry and drops
 * them too, and the next registration of the key has a higher version in any case. Should the clock
 * have been set back meanwhile, a set comes back that is still true by that clock. */
static bool sweep_one(sv key, sv value, uint64_t version, void *arg)
{
    struct sweep *sweep = arg;
    struct memory_worker *w = sweep->w;
    usec expiry = memory_set_expiry(value);
    uint64_t gone;
    if (expiry > loop_wall(w->loop)) {
        sweep->next = expiry < sweep->next ? expiry : sweep->next;
    } else if (table_swap(w->m->table, key, version, SV_NONE, &gone) == ERR_OK) {
        stat_add(&w->loop->stats, STAT_REGISTRATIONS, -1);
    }
    return true;
}

static void sweep_shard(struct memory_worker *w, unsigned shard)
{
    struct memory *m = w->m;
    struct sweep sweep = {w, INT64_MAX};
    if (atomic_load(&m->due[shard]) > loop_wall(w->loop))
        return;
    atomic_store(&m->due[shard], INT64_MAX);
    if (table_each_shard(m->table, shard, sweep_one, &sweep, NULL))
        sweep.next = loop_wall(w->loop); /* no memory for the walk: at its next turn */
    note_expiry(m, shard, sweep.next);
}

static void on_sweep(struct timer *t, void *arg)
{
    struct memory_worker *w = arg;
    struct memory *m = w->m;
    sweep_shard(w, w->shard);
    w->shard += m->n;
    if (w->shard >= table_shards(m->table))
        w->shard = w->loop->worker;
    if (w == &m->worker[0])
        memory_consider(m);
    loop_timer_about(w->loop, t, sweep_every);
}

/* ---- life ---- */

static void close_worker(struct memory_worker *w)
{
    enum err rc = ERR_OK;
    if (!w->loop)
        return;
    loop_timer_cancel(w->loop, &w->sync_due);
    loop_timer_cancel(w->loop, &w->sweep);
    loop_defer_cancel(&w->flush);
    /* Nobody waits for these any more, so an error has nobody to go to. */
    sv piece = buf_sv(&w->pending);
    if (piece.n && w->log.append && !w->broken)
        rc = disk_append(w->log.append, &piece, 1);
    if (!rc && w->log.sync)
        rc = disk_sync(w->log.sync);
    if (w->old.sync)
        rc = disk_sync(w->old.sync);
    (void)rc;
    while (list_pop(&w->batch))
        ;
    memory_log_close(&w->log);
    memory_log_close(&w->old);
    memory_log_close(&w->next);
    buf_done(&w->pending);
}

static void memory_free(struct memory *m)
{
    if (m->worker) {
        if (m->worker[0].loop)
            memory_compact_done(m);
        for (unsigned i = 0; i < m->n; i++)
            close_worker(&m->worker[i]);
    }
    mem_free(m->worker);
    table_free(m->table);
    table_free(m->flows);
    mem_free(m->due);
    mem_free(m);
}

static void close_op(struct store_location *loc)
{
    memory_free(memory_of(loc));
}

static const struct store_location_ops memory_ops = {
    .bindings = bindings_op,
    .update = update_op,
    .each = each_op,
    .place = place_op,
    .each_between = each_between_op,
    .take_flow = take_flow_op,
    .count = count_op,
    .epoch = epoch_op,
    .close = close_op,
};

static void init_worker(struct memory *m, struct memory_worker *w, struct loop *l)
{
    w->m = m;
    w->loop = l;
    w->shard = l->worker;
    buf_init_heap(&w->pending, PENDING_MAX);
    list_init(&w->batch);
    deferred_init(&w->flush, on_flush, w);
    timer_init(&w->sync_due, on_sync_due, w);
    timer_init(&w->sweep, on_sweep, w);
    atomic_init(&w->moved, false);
}

static enum err set_up(struct memory *m, const struct memory_config *c,
                       struct memory_report *ret_report)
{
    m->base.ops = &memory_ops;
    m->disk = c->disk;
    memcpy(m->folder, c->folder.p, c->folder.n);
    m->folder_n = c->folder.n;
    m->check = crypto_siphash(c->seed, "location", 8);
    m->sync = c->sync;
    m->compact_min = c->compact_min;
    m->n = c->group->n;
    m->worker = mem_calloc(m->n, sizeof *m->worker);
    if (!m->worker)
        return ERR_NOMEM;
    for (unsigned i = 0; i < m->n; i++)
        init_worker(m, &m->worker[i], c->group->loop[i]);
    memory_compact_init(m);
    TRY(table_new(c->seed, 0, &m->table)); /* the cap may be lower than what is to be recovered */
    TRY(table_new(c->seed, 0, &m->flows)); /* bounded by the connections that there may be */
    m->due =
        mem_calloc(table_shards(m->table), sizeof *m->due); /* 0: what is recovered is looked at */
    if (!m->due)
        return ERR_NOMEM;
    TRY(memory_recover(m, c->wall, ret_report));
    table_set_cap(m->table, c->cap);
    return ERR_OK;
}

enum err memory_open(const struct memory_config *c, struct store_location **ret_loc,
                     struct memory_report *ret_report)
{
    struct memory_report report = {0};
    struct memory *m = MEM_NEW(struct memory);
    if (!m)
        return ERR_NOMEM;
    enum err rc = c->folder.n && c->folder.n <= sizeof m->folder ? set_up(m, c, &report) : ERR_IO;
    if (rc) {
        memory_free(m);
        return rc;
    }
    for (unsigned i = 0; i < m->n; i++) {
        struct memory_worker *w = &m->worker[i];
        w->log = w->next;
        w->next = (struct memory_log){0};
        loop_timer(w->loop, &w->sweep, sweep_every);
    }
    stat_add(&m->worker[0].loop->stats, STAT_REGISTRATIONS, (int64_t)report.aors);
    *ret_loc = &m->base;
    *ret_report = report;
    return ERR_OK;
}
