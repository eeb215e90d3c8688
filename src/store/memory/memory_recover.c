/* SPDX-License-Identifier: MIT */
/* memory/memory_recover.c: from the files to the table.
 *
 *   snapshot: entries, and per shard the counter below which logs say nothing new
 *   logs, in any order: the highest version of a key wins; removals stay as empty values until all
 * are read, for an older record of the same key may come later, in the log of another worker then
 * the empty and the expired go, and every set that stays is read once: what is served later is
 * sound. */
#include "memory/memory_priv.h"
#include "crypto/crypto.h"
#include "pack/pack.h"

enum { CHECK_MEMORY = 64 * 1024, LOGS_MAX = 100000, LOGS_MANY = 16 };

static const size_t file_max = SIZE_MAX / 4;
static const char end_mark[] = "TANDEMSE";

struct found {
    uint64_t generation;
    char name[64];
    enum memory_name kind;
    bool empty; /* no record in it */
};

struct recovery {
    struct memory *m;
    struct memory_report *report;
    usec wall;
    struct found *files;
    size_t n, cap;
    bool snapshot;
    uint64_t generation, highest; /* of the snapshot; of all files */
    uint64_t *counter;            /* by shard */
    enum err rc;
};

/* ---- finding them ---- */

static bool on_name(sv name, void *arg)
{
    struct recovery *v = arg;
    struct found f = {0};
    f.kind = memory_name_parse(name, &f.generation);
    if (f.kind == MEMORY_OTHER)
        return true;
    if (f.kind == MEMORY_SNAP) {
        v->snapshot = true;
        return true;
    }
    if (name.n >= sizeof f.name)
        return true; /* none of ours is so long */
    memcpy(f.name, name.p, name.n);
    if (v->n == v->cap) {
        size_t cap = v->cap ? 2 * v->cap : 32;
        struct found *wider =
            cap > LOGS_MAX ? NULL : mem_realloc(v->files, cap * sizeof(struct found));
        if (!wider) {
            v->rc = ERR_NOMEM;
            return false;
        }
        v->files = wider;
        v->cap = cap;
    }
    if (f.kind == MEMORY_LOG && f.generation > v->highest)
        v->highest = f.generation;
    v->files[v->n++] = f;
    return true;
}

static enum err remove_file(struct memory *m, const char *name)
{
    struct memory_path p;
    return disk_remove(m->disk, memory_path(m, &p, sv_of(name)));
}

/* ---- the snapshot ---- */

static enum err snapshot_shard(struct recovery *v, unsigned shard, sv octets, size_t *at)
{
    struct unpack u = unpack_of(sv_sub(octets, *at, *at + 8));
    v->counter[shard] = unpack_u64(&u);
    TRY(unpack_end(&u));
    *at += 8;
    for (;;) {
        struct memory_record r;
        size_t n;
        u = unpack_of(sv_sub(octets, *at, *at + 4));
        uint32_t length = unpack_u32(&u);
        TRY(unpack_end(&u));
        if (length == 0)
            break;
        if (memory_record_read(sv_sub(octets, *at, octets.n), &r, &n) || r.value.n == 0 ||
            table_shard_of(v->m->table, r.key) != shard)
            return ERR_CORRUPT;
        enum err rc = table_restore(v->m->table, r.key, r.version, r.value);
        if (rc)
            return rc == ERR_EXISTS ? ERR_CORRUPT : rc;
        v->report->records++;
        *at += n;
    }
    *at += 4;
    table_raise(v->m->table, shard, v->counter[shard]);
    return ERR_OK;
}

static enum err snapshot_octets(struct recovery *v, sv octets)
{
    uint32_t shards, tail = sizeof end_mark - 1 + 4;
    TRY(memory_header_read(v->m, octets, true, &v->generation, &shards));
    if (octets.n < MEMORY_HEADER + tail || shards != table_shards(v->m->table))
        return ERR_CORRUPT;
    sv end = sv_sub(octets, octets.n - tail, octets.n), body = sv_sub(octets, 0, octets.n - tail);
    struct unpack u = unpack_of(end);
    sv mark = unpack_octets(&u, sizeof end_mark - 1);
    if (!sv_eq(mark, sv_of(end_mark)) || unpack_u32(&u) != crypto_crc32c(0, body.p, body.n))
        return ERR_CORRUPT;
    size_t at = MEMORY_HEADER;
    for (unsigned i = 0; i < shards; i++)
        TRY(snapshot_shard(v, i, body, &at));
    return at == body.n ? ERR_OK : ERR_CORRUPT;
}

static enum err read_snapshot(struct recovery *v)
{
    struct memory_path p;
    char *octets;
    size_t n;
    TRY(disk_read(v->m->disk, memory_path(v->m, &p, SV("location.snapshot")), file_max, &octets,
                  &n));
    enum err rc = snapshot_octets(v, (sv){octets, n});
    mem_free(octets);
    if (v->generation > v->highest)
        v->highest = v->generation;
    atomic_store(&v->m->snapshot_bytes, n);
    return rc;
}

/* ---- the logs ---- */

static enum err apply(struct recovery *v, const struct memory_record *r)
{
    v->report->records++;
    if (r->version <= v->counter[table_shard_of(v->m->table, r->key)])
        return ERR_OK;
    sv value = r->value.n ? r->value : SV("");
    enum err rc = table_restore(v->m->table, r->key, r->version, value);
    return rc == ERR_EXISTS ? ERR_OK : rc;
}

static enum err log_octets(struct recovery *v, struct found *f, sv octets, size_t *ret_good)
{
    uint64_t generation;
    uint32_t worker;
    size_t at = MEMORY_HEADER;
    TRY(memory_header_read(v->m, octets, false, &generation, &worker));
    if (generation != f->generation)
        return ERR_CORRUPT;
    while (at < octets.n) {
        struct memory_record r;
        size_t n;
        enum err rc = memory_record_read(sv_sub(octets, at, octets.n), &r, &n);
        if (rc == ERR_MORE)
            break;
        TRY(rc);
        TRY(apply(v, &r));
        at += n;
    }
    f->empty = at == MEMORY_HEADER;
    *ret_good = at;
    return ERR_OK;
}

static enum err read_log(struct recovery *v, struct found *f)
{
    struct memory_path p;
    char *octets;
    size_t n, good = 0;
    sv path = memory_path(v->m, &p, sv_of(f->name));
    TRY(disk_read(v->m->disk, path, file_max, &octets, &n));
    enum err rc = log_octets(v, f, (sv){octets, n}, &good);
    mem_free(octets);
    TRY(rc);
    atomic_fetch_add(&v->m->log_bytes, good - MEMORY_HEADER);
    if (good < n) {
        v->report->cut_files++;
        v->report->cut_octets += n - good;
        memcpy(v->report->cut_name, f->name, sizeof f->name);
        TRY(disk_truncate(v->m->disk, path, good));
    }
    return ERR_OK;
}

/* ---- what stays ---- */

static bool settle(sv key, sv value, uint64_t version, void *arg)
{
    struct recovery *v = arg;
    struct arena a;
    struct binding *bindings;
    size_t n = 0;
    uint64_t gone;
    arena_init(&a, NULL, 0, CHECK_MEMORY);
    if (value.n)
        v->rc = memory_set_unpack(value, v->wall, &a, &bindings, &n);
    arena_done(&a);
    if (v->rc)
        return false;
    if (n == 0) {
        v->rc = table_swap(v->m->table, key, version, SV_NONE, &gone);
    } else {
        v->report->aors++;
        v->report->bindings += n;
    }
    return !v->rc;
}

static enum err read_all(struct recovery *v)
{
    struct memory *m = v->m;
    enum err rc = disk_list(m->disk, (sv){m->folder, m->folder_n}, on_name, v);
    TRY(rc ? rc : v->rc);
    if (v->snapshot)
        TRY(read_snapshot(v));
    for (size_t i = 0; i < v->n; i++)
        if (v->files[i].kind == MEMORY_LOG && v->files[i].generation >= v->generation)
            TRY(read_log(v, &v->files[i]));
    TRY(table_each(m->table, settle, v));
    return v->rc;
}

/* Logs without records, logs that the snapshot covers, and files that never got their name. */
static enum err remove_rest(struct recovery *v)
{
    size_t kept = 0;
    for (size_t i = 0; i < v->n; i++) {
        const struct found *f = &v->files[i];
        if (f->kind == MEMORY_LOG && f->generation >= v->generation && !f->empty) {
            kept++;
            continue;
        }
        enum err rc = remove_file(v->m, f->name);
        if (rc && rc != ERR_NOTFOUND)
            return rc;
    }
    if (kept >= LOGS_MANY) /* a process that restarts often must not pile them up */
        atomic_store(&v->m->wanted, true);
    return ERR_OK;
}

enum err memory_recover(struct memory *m, usec wall, struct memory_report *r)
{
    struct recovery v = {.m = m, .report = r, .wall = wall};
    v.counter = mem_calloc(table_shards(m->table), sizeof *v.counter);
    enum err rc = v.counter ? read_all(&v) : ERR_NOMEM;
    if (!rc) {
        m->generation = m->epoch = v.highest + 1;
        rc =
            memory_logs_open(m, m->generation); /* its sync of the folder also holds the snapshot */
    }
    if (!rc)
        rc = remove_rest(&v);
    mem_free(v.files);
    mem_free(v.counter);
    return rc;
}
