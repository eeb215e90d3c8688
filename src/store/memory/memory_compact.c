/* SPDX-License-Identifier: MIT */
/* memory/memory_compact.c: a new generation of logs, and a snapshot in place of the old ones.
 *
 *   IDLE ── wanted ──► OPENING   job: the files of the next generation, into worker[].next
 *                      MOVING    each worker, by mail, at a boundary of its turns: log becomes old,
 * next becomes log; `moved` once its sync job is done with the old file SNAPSHOT  job: old files
 * synced and closed; snapshot.new written, synced, renamed; older logs removed
 *
 * All of it is steered by worker 0, so there is never more than one. next is the job's, then, with
 * the mail, the worker's; old is the worker's until `moved`, then the job's. What was swapped in
 * the table before a worker moved is in the snapshot, since its shards are copied after all have
 * moved: so the logs before can go.
 *
 * A failure leaves files that recover to the same state: the logs stay until a later try succeeds.
 */
#include "memory/memory_priv.h"
#include "crypto/crypto.h"
#include "pack/pack.h"

static const usec tick_every = 5 * USEC_MS, retry_first = USEC_S, retry_most = 10 * USEC_S;

/* ---- the snapshot job ---- */

struct writer {
    struct memory *m;
    struct disk_file *file;
    struct buf out;
    uint32_t crc;
    uint64_t written;
    enum err rc;
};

static enum err drain(struct writer *w)
{
    sv piece = buf_sv(&w->out);
    TRY(w->out.rc);
    TRY(disk_append(w->file, &piece, 1));
    w->crc = crypto_crc32c(w->crc, piece.p, piece.n);
    w->written += piece.n;
    buf_reset(&w->out);
    return ERR_OK;
}

struct shard_writer {
    struct writer *w;
    uint64_t counter;
    bool begun;
};

static void begin_shard(struct shard_writer *s)
{
    if (!s->begun)
        pack_u64(&s->w->out, s->counter);
    s->begun = true;
}

static bool write_entry(sv key, sv value, uint64_t version, void *arg)
{
    struct shard_writer *s = arg;
    struct writer *w = s->w;
    begin_shard(s);
    if (w->out.n >= MEMORY_PIECE)
        w->rc = drain(w);
    size_t begin = memory_record_begin(&w->out, key);
    buf_put(&w->out, value);
    if (!w->rc)
        w->rc = w->out.rc;
    if (!w->rc)
        memory_record_seal(&w->out, begin, version);
    return !w->rc;
}

static enum err write_all(struct writer *w, uint64_t generation)
{
    struct memory *m = w->m;
    memory_header_put(m, &w->out, true, generation, table_shards(m->table));
    for (unsigned i = 0; i < table_shards(m->table); i++) {
        struct shard_writer s = {.w = w};
        TRY(table_each_shard(m->table, i, write_entry, &s, &s.counter));
        TRY(w->rc);
        begin_shard(&s);
        pack_u32(&w->out, 0);
    }
    TRY(drain(w));
    uint32_t crc = w->crc;
    buf_str(&w->out, "TANDEMSE");
    pack_u32(&w->out, crc);
    TRY(drain(w));
    return disk_sync(w->file);
}

static enum err write_snapshot(struct memory *m, uint64_t generation, uint64_t *ret_written)
{
    struct memory_path fresh, path;
    struct writer w = {.m = m};
    uint64_t size;
    sv at_fresh = memory_path(m, &fresh, SV("location.snapshot.new"));
    sv at_path = memory_path(m, &path, SV("location.snapshot"));
    TRY(disk_open(m->disk, at_fresh, true, &w.file, &size));
    buf_init_heap(&w.out, MEMORY_PIECE + 2 * (MEMORY_RECORD_HEAD + MEMORY_RECORD_MAX));
    enum err rc = write_all(&w, generation);
    buf_done(&w.out);
    disk_close(w.file);
    TRY(rc);
    TRY(disk_rename(m->disk, at_fresh, at_path));
    TRY(disk_sync_dir(m->disk, (sv){m->folder, m->folder_n}));
    *ret_written = w.written;
    return ERR_OK;
}

struct removal {
    struct memory *m;
    uint64_t below;
    enum err rc;
};

static bool remove_older(sv name, void *arg)
{
    struct removal *r = arg;
    uint64_t generation;
    struct memory_path p;
    if (memory_name_parse(name, &generation) != MEMORY_LOG || generation >= r->below)
        return true;
    r->rc = disk_remove(r->m->disk, memory_path(r->m, &p, name));
    return !r->rc;
}

static void snapshot_work(struct job *j)
{
    struct memory *m = CONTAINER(j, struct memory, job);
    for (unsigned i = 0; i < m->n; i++) {
        struct memory_log *old = &m->worker[i].old;
        /* A failure here is what the snapshot is about to mend. */
        enum err rc = old->sync ? disk_sync(old->sync) : ERR_OK;
        (void)rc;
        memory_log_close(old);
    }
    struct removal r = {.m = m, .below = m->generation};
    m->job_rc = write_snapshot(m, m->generation, &m->written);
    if (!m->job_rc) {
        m->job_rc = disk_list(m->disk, (sv){m->folder, m->folder_n}, remove_older, &r);
        if (!m->job_rc)
            m->job_rc = r.rc;
    }
}

/* ---- worker 0 ---- */

static void end(struct memory *m, enum err rc)
{
    m->phase = MEMORY_IDLE;
    atomic_store(&m->running, false);
    if (!rc) {
        m->backoff = 0;
    } else {
        m->backoff = m->backoff ? 2 * m->backoff : retry_first;
        if (m->backoff > retry_most)
            m->backoff = retry_most;
        m->retry_at = loop_now(m->worker[0].loop) + m->backoff;
        atomic_store(&m->wanted, true);
    }
}

static void snapshot_done(struct loop *at, struct job *j)
{
    struct memory *m = CONTAINER(j, struct memory, job);
    if (!m->job_rc) {
        atomic_store(&m->snapshot_bytes, m->written);
        atomic_fetch_sub(&m->log_bytes, m->covered);
    }
    end(m, m->job_rc);
    if (!loop_stopping(at))
        memory_consider(m);
}

static void on_tick(struct timer *t, void *arg)
{
    struct memory *m = arg;
    struct loop *l = m->worker[0].loop;
    bool all = true;
    for (unsigned i = 0; i < m->n; i++) {
        struct memory_worker *w = &m->worker[i];
        if (!w->told && loop_mail(w->loop, &w->rotate) == ERR_OK)
            w->told = true; /* else its mailbox is full: at the next tick */
        all = all && w->told && atomic_load(&w->moved);
    }
    if (all) {
        m->covered = atomic_load(&m->log_bytes);
        m->job = (struct job){.work = snapshot_work, .done = snapshot_done};
        m->phase = MEMORY_SNAPSHOT;
        if (loop_offload(l, &m->job) == ERR_OK)
            return;
        m->phase = MEMORY_MOVING;
    }
    loop_timer(l, t, tick_every);
}

static void opening_work(struct job *j)
{
    struct memory *m = CONTAINER(j, struct memory, job);
    m->job_rc = memory_logs_open(m, m->generation);
}

static void opening_done(struct loop *at, struct job *j)
{
    struct memory *m = CONTAINER(j, struct memory, job);
    if (loop_stopping(at))
        return; /* close frees what was opened */
    if (m->job_rc) {
        end(m, m->job_rc);
        return;
    }
    m->phase = MEMORY_MOVING;
    for (unsigned i = 0; i < m->n; i++) {
        m->worker[i].told = false;
        atomic_store(&m->worker[i].moved, false);
    }
    on_tick(&m->tick, m);
}

void memory_consider(struct memory *m)
{
    struct loop *l = m->worker[0].loop;
    if (m->phase != MEMORY_IDLE || !atomic_load(&m->wanted) || loop_now(l) < m->retry_at)
        return;
    m->phase = MEMORY_OPENING;
    m->generation++; /* of a try that failed too: its files may have been begun */
    m->job = (struct job){.work = opening_work, .done = opening_done};
    atomic_store(&m->running, true);
    atomic_store(&m->wanted, false);
    enum err rc = loop_offload(l, &m->job);
    if (rc)
        end(m, rc);
}

/* ---- any worker ---- */

struct ask {
    struct mail mail;
    struct memory *m;
};

static void on_ask(struct loop *at, struct mail *mail)
{
    struct ask *a = CONTAINER(mail, struct ask, mail);
    struct memory *m = a->m;
    mem_free(a);
    if (!loop_stopping(at))
        memory_consider(m);
}

void memory_want(struct memory *m, struct loop *l)
{
    if (atomic_exchange(&m->wanted, true))
        return; /* whoever asked first has told worker 0 */
    if (l == m->worker[0].loop) {
        memory_consider(m);
        return;
    }
    struct ask *a = MEM_NEW(struct ask);
    if (!a)
        return; /* worker 0 looks now and then */
    a->mail.fn = on_ask;
    a->m = m;
    if (loop_mail(m->worker[0].loop, &a->mail))
        mem_free(a);
}

void memory_move_on(struct memory_worker *w)
{
    if (!w->moving || w->syncing)
        return;
    w->moving = false;
    atomic_store(&w->moved, true);
}

static void on_rotate(struct loop *at, struct mail *mail)
{
    struct memory_worker *w = CONTAINER(mail, struct memory_worker, rotate);
    if (loop_stopping(at))
        return;
    /* What is pending goes into the new one: the snapshot holds it as well, which does no harm. */
    w->old = w->log;
    w->log = w->next;
    w->next = (struct memory_log){0};
    w->broken = false;
    w->moving = true;
    loop_timer_cancel(at, &w->sync_due); /* the old one is synced by the snapshot's job */
    memory_move_on(w);
}

void memory_compact_init(struct memory *m)
{
    timer_init(&m->tick, on_tick, m);
    for (unsigned i = 0; i < m->n; i++)
        m->worker[i].rotate.fn = on_rotate;
}

void memory_compact_done(struct memory *m)
{
    loop_timer_cancel(m->worker[0].loop, &m->tick);
}

void memory_compact(struct store_location *loc, struct loop *l)
{
    memory_want(CONTAINER(loc, struct memory, base), l);
}
