/* SPDX-License-Identifier: MIT */
/* sim/sim_disk.c: a host's disk: what the kernel shows, and what power loss leaves of it.
 *
 *   octets   each file knows how many of its first octets are on the platter (synced). Power loss
 *            cuts the rest at a seeded place and sometimes garbles the end of what is left of it.
 *            A truncation is undone by chance until the next sync.
 *   names    creations, renames and removals are remembered in order until they are durable
 *            (sync_dir of a folder they touch; for a creation also a sync of the file). Power loss
 *            undoes the last few of them.
 *
 * The failing operation of sim_disk_fail_after is a crash in the middle: part of it may have
 * happened. */
#include "sim/sim_priv.h"
#include <stdlib.h>

enum { TORN_MAX = 512, TORN_PERMILLE = 500 };

struct vfile {
    char *p;
    size_t n, cap, synced;
    char *durable; /* before a truncation that is not synced; NULL: the first `synced` of p */
    size_t durable_n;
    unsigned refs; /* nodes, handles, ops */
};
struct vnode {
    char *path;
    size_t n;
    struct vfile *file; /* NULL: a folder */
};
struct vop {
    enum { OP_CREATE, OP_RENAME, OP_REMOVE } kind;
    char *from, *to; /* from: of a rename alone */
    struct vfile *file, *replaced;
};
struct vhandle {
    struct disk_file file;
    struct link by_disk;
    struct sim_disk *d;
    struct vfile *data;
    uint64_t life;
};

static sv node_path(const struct vnode *v)
{
    return (sv){v->path, v->n};
}

/* ---- files ---- */

static void file_unref(struct vfile *f)
{
    if (!f || --f->refs)
        return;
    free(f->p);
    free(f->durable);
    free(f);
}

static void file_reserve(struct vfile *f, size_t n)
{
    if (n <= f->cap)
        return;
    f->cap = 2 * n;
    f->p = sim_need(realloc(f->p, f->cap));
}

static void file_append(struct vfile *f, const char *p, size_t n)
{
    if (!n)
        return;
    file_reserve(f, f->n + n);
    memcpy(f->p + f->n, p, n);
    f->n += n;
}

static void file_cut(struct vfile *f, size_t size)
{
    if (size > f->n) { /* ftruncate(2): a hole of zeros */
        file_reserve(f, size);
        memset(f->p + f->n, 0, size - f->n);
    }
    if (size < f->synced) {
        if (!f->durable) {
            f->durable = sim_need(malloc(f->synced));
            memcpy(f->durable, f->p, f->synced);
            f->durable_n = f->synced;
        }
        f->synced = size;
    }
    f->n = size;
}

static void file_sync(struct vfile *f)
{
    free(f->durable);
    f->durable = NULL;
    f->synced = f->n;
}

/* What power loss does to the octets. */
static void file_crash(struct vfile *f, struct rng *r)
{
    if (f->durable && rng_permille(r, 500)) {
        f->n = 0;
        file_append(f, f->durable, f->durable_n);
    } else if (f->n > f->synced) {
        size_t tail = f->n - f->synced, kept = rng_below(r, tail + 1);
        switch (rng_below(r, 4)) {
        case 0:
            kept = 0;
            break;
        case 1:
            kept = tail;
            break;
        }
        f->n = f->synced + kept;
        if (kept && rng_permille(r, TORN_PERMILLE)) {
            size_t torn = 1 + rng_below(r, kept < TORN_MAX ? kept : TORN_MAX);
            if (rng_permille(r, 500))
                memset(f->p + f->n - torn, 0, torn);
            else
                rng_fill(r, f->p + f->n - torn, torn);
        }
    }
    file_sync(f); /* what is left is what the platter has */
}

/* ---- names ---- */

static char *copy_path(sv path)
{
    char *p = sim_need(malloc(path.n + 1));
    if (path.n)
        memcpy(p, path.p, path.n);
    p[path.n] = 0;
    return p;
}

/* Without slashes at the end. */
static sv clean(sv path)
{
    while (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    return path;
}

static sv parent(sv path)
{
    size_t n = path.n;
    while (n && path.p[n - 1] != '/')
        n--;
    return n == 0 ? SV(".") : n == 1 ? SV("/") : clean((sv){path.p, n});
}

/* Where path is, or would be. */
static size_t place_of(const struct sim_disk *d, sv path)
{
    size_t lo = 0, hi = d->nodes_n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (sv_cmp(node_path(&d->nodes[mid]), path) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct vnode *node_find(const struct sim_disk *d, sv path)
{
    size_t i = place_of(d, path);
    return i < d->nodes_n && sv_eq(node_path(&d->nodes[i]), path) ? &d->nodes[i] : NULL;
}

static struct vfile *file_find(const struct sim_disk *d, sv path)
{
    struct vnode *v = node_find(d, path);
    return v ? v->file : NULL;
}

static bool is_folder(const struct sim_disk *d, sv path)
{
    struct vnode *v = node_find(d, path);
    return v && !v->file;
}

static void node_add(struct sim_disk *d, sv path, struct vfile *f)
{
    size_t i = place_of(d, path);
    SIM_GROW(d->nodes, d->nodes_n, d->nodes_cap);
    memmove(d->nodes + i + 1, d->nodes + i, (d->nodes_n - i) * sizeof(*d->nodes));
    d->nodes[i] = (struct vnode){copy_path(path), path.n, f};
    d->nodes_n++;
    if (f)
        f->refs++;
}

static void node_remove(struct sim_disk *d, sv path)
{
    size_t i = place_of(d, path);
    if (i == d->nodes_n || !sv_eq(node_path(&d->nodes[i]), path))
        return;
    file_unref(d->nodes[i].file);
    free(d->nodes[i].path);
    memmove(d->nodes + i, d->nodes + i + 1, (d->nodes_n - i - 1) * sizeof(*d->nodes));
    d->nodes_n--;
}

/* ---- changes of names not yet durable ---- */

static void op_add(struct sim_disk *d, int kind, sv from, sv to, struct vfile *file,
                   struct vfile *replaced)
{
    SIM_GROW(d->ops, d->ops_n, d->ops_cap);
    struct vop *op = &d->ops[d->ops_n++];
    *op = (struct vop){kind, sv_present(from) ? copy_path(from) : NULL, copy_path(to), file,
                       replaced};
    file->refs++;
    if (replaced)
        replaced->refs++;
}

static void op_done(struct vop *op)
{
    free(op->from);
    free(op->to);
    file_unref(op->file);
    file_unref(op->replaced);
}

static void op_undo(struct sim_disk *d, const struct vop *op)
{
    node_remove(d, sv_of(op->to));
    switch (op->kind) {
    case OP_CREATE:
        break;
    case OP_RENAME:
        node_remove(d, sv_of(op->from));
        node_add(d, sv_of(op->from), op->file);
        if (op->replaced)
            node_add(d, sv_of(op->to), op->replaced);
        break;
    case OP_REMOVE:
        node_add(d, sv_of(op->to), op->file);
        break;
    }
}

static bool touches(const struct vop *op, sv dir)
{
    return sv_eq(parent(sv_of(op->to)), dir) || (op->from && sv_eq(parent(sv_of(op->from)), dir));
}

/* The first n changes that touch dir are durable. */
static void ops_settle(struct sim_disk *d, sv dir, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->ops_n; i++) {
        if (i < n && touches(&d->ops[i], dir))
            op_done(&d->ops[i]);
        else
            d->ops[kept++] = d->ops[i];
    }
    d->ops_n = kept;
}

/* A synced file's creation is durable, and with it what happened to its name before. */
static void creation_settle(struct sim_disk *d, const struct vfile *f)
{
    for (size_t i = 0; i < d->ops_n; i++) {
        if (d->ops[i].kind == OP_CREATE && d->ops[i].file == f) {
            sv to = sv_of(d->ops[i].to);
            char *dir = copy_path(parent(to));
            ops_settle(d, sv_of(dir), i + 1);
            free(dir);
            return;
        }
    }
}

/* ---- operations ---- */

enum gate { GATE_GO, GATE_CRASH, GATE_FAIL };

static struct sim_disk *disk_of(struct disk *d)
{
    return CONTAINER(d, struct sim_disk, disk);
}

/* Counts the operation. GATE_CRASH: it breaks in the middle. */
static enum gate enter(struct sim_disk *d, const char *what, sv path, size_t n)
{
    enum gate g = GATE_GO;
    if (d->dead || d->failed) {
        g = GATE_FAIL;
    } else if (d->fail_in && --d->fail_in == 0) {
        d->failed = true;
        g = GATE_CRASH;
    }
    sim_trace_host(d->host->sim, what, d->host, path, n * 4 + g);
    return g;
}

/* Whether an operation that cannot happen by halves happens. */
static bool happens(struct sim_disk *d, enum gate g)
{
    return g == GATE_GO || (g == GATE_CRASH && rng_permille(&d->rng, 500));
}

static const struct disk_ops disk_ops;

static enum err open_op(struct disk *disk, sv path, bool truncate, struct disk_file **ret_file,
                        uint64_t *ret_size)
{
    struct sim_disk *d = disk_of(disk);
    path = clean(path);
    enum gate g = enter(d, "disk-open", path, truncate);
    if (!happens(d, g))
        return ERR_IO;
    struct vfile *f = file_find(d, path);
    if (!f) {
        if (!is_folder(d, parent(path)))
            return ERR_NOTFOUND;
        if (is_folder(d, path))
            return ERR_DENIED;
        f = sim_need(calloc(1, sizeof(*f)));
        node_add(d, path, f);
        op_add(d, OP_CREATE, SV_NONE, path, f, NULL);
    }
    if (truncate)
        file_cut(f, 0);
    if (g != GATE_GO)
        return ERR_IO;
    struct vhandle *h = MEM_NEW(struct vhandle);
    if (!h)
        return ERR_NOMEM;
    h->file.ops = &disk_ops;
    h->d = d;
    h->data = f;
    h->life = d->life;
    f->refs++;
    list_push(&d->handles, &h->by_disk);
    *ret_file = &h->file;
    *ret_size = f->n;
    return ERR_OK;
}

static struct vhandle *handle_of(struct disk_file *f)
{
    return CONTAINER(f, struct vhandle, file);
}

static enum err append_op(struct disk_file *file, const sv *pieces, size_t n)
{
    struct vhandle *h = handle_of(file);
    struct sim_disk *d = h->d;
    size_t total = 0;
    if (h->life != d->life)
        return ERR_IO;
    for (size_t i = 0; i < n; i++)
        total += pieces[i].n;
    enum gate g = enter(d, "disk-append", SV_NONE, total);
    if (g == GATE_FAIL)
        return ERR_IO;
    size_t left = g == GATE_GO ? total : rng_below(&d->rng, total + 1);
    for (size_t i = 0; i < n; i++) {
        size_t k = pieces[i].n < left ? pieces[i].n : left;
        file_append(h->data, pieces[i].p, k);
        left -= k;
    }
    return g == GATE_GO ? ERR_OK : ERR_IO;
}

static enum err sync_op(struct disk_file *file)
{
    struct vhandle *h = handle_of(file);
    struct sim_disk *d = h->d;
    if (h->life != d->life)
        return ERR_IO;
    enum gate g = enter(d, "disk-sync", SV_NONE, h->data->n);
    if (happens(d, g)) {
        file_sync(h->data);
        creation_settle(d, h->data);
    }
    return g == GATE_GO ? ERR_OK : ERR_IO;
}

static void handle_free(struct vhandle *h)
{
    list_unlink(&h->by_disk);
    file_unref(h->data);
    mem_free(h);
}

static void close_op(struct disk_file *file)
{
    handle_free(handle_of(file));
}

static enum err read_op(struct disk *disk, sv path, size_t max, char **ret_octets, size_t *ret_n)
{
    struct sim_disk *d = disk_of(disk);
    path = clean(path);
    if (enter(d, "disk-read", path, 0) != GATE_GO)
        return ERR_IO;
    struct vfile *f = file_find(d, path);
    if (!f)
        return ERR_NOTFOUND;
    if (f->n > max)
        return ERR_TOOBIG;
    char *p = mem_alloc(f->n ? f->n : 1);
    if (!p)
        return ERR_NOMEM;
    if (f->n)
        memcpy(p, f->p, f->n);
    *ret_octets = p;
    *ret_n = f->n;
    return ERR_OK;
}

static enum err truncate_op(struct disk *disk, sv path, uint64_t size)
{
    struct sim_disk *d = disk_of(disk);
    path = clean(path);
    enum gate g = enter(d, "disk-truncate", path, size);
    struct vfile *f = file_find(d, path);
    if (!happens(d, g))
        return ERR_IO;
    if (!f)
        return ERR_NOTFOUND;
    file_cut(f, size);
    return g == GATE_GO ? ERR_OK : ERR_IO;
}

static enum err rename_op(struct disk *disk, sv from, sv to)
{
    struct sim_disk *d = disk_of(disk);
    from = clean(from);
    to = clean(to);
    enum gate g = enter(d, "disk-rename", to, from.n);
    struct vfile *f = file_find(d, from);
    if (!happens(d, g))
        return ERR_IO;
    if (!f || !is_folder(d, parent(to)))
        return ERR_NOTFOUND;
    if (is_folder(d, to))
        return ERR_DENIED;
    if (!sv_eq(from, to)) {
        op_add(d, OP_RENAME, from, to, f, file_find(d, to));
        node_remove(d, to);
        node_add(d, to, f);
        node_remove(d, from);
    }
    return g == GATE_GO ? ERR_OK : ERR_IO;
}

static enum err remove_op(struct disk *disk, sv path)
{
    struct sim_disk *d = disk_of(disk);
    path = clean(path);
    enum gate g = enter(d, "disk-remove", path, 0);
    struct vfile *f = file_find(d, path);
    if (!happens(d, g))
        return ERR_IO;
    if (!f)
        return ERR_NOTFOUND;
    op_add(d, OP_REMOVE, SV_NONE, path, f, NULL);
    node_remove(d, path);
    return g == GATE_GO ? ERR_OK : ERR_IO;
}

static enum err sync_dir_op(struct disk *disk, sv path)
{
    struct sim_disk *d = disk_of(disk);
    path = clean(path);
    enum gate g = enter(d, "disk-sync-dir", path, 0);
    if (!happens(d, g))
        return ERR_IO;
    if (!is_folder(d, path))
        return ERR_NOTFOUND;
    ops_settle(d, path, d->ops_n);
    return g == GATE_GO ? ERR_OK : ERR_IO;
}

static enum err mkdir_op(struct disk *disk, sv path, unsigned mode)
{
    struct sim_disk *d = disk_of(disk);
    path = clean(path);
    enum gate g = enter(d, "disk-mkdir", path, mode);
    if (!happens(d, g))
        return ERR_IO;
    if (file_find(d, path))
        return ERR_EXISTS;
    if (!is_folder(d, path)) {
        if (!is_folder(d, parent(path)))
            return ERR_NOTFOUND;
        node_add(d, path, NULL);
    }
    return g == GATE_GO ? ERR_OK : ERR_IO;
}

static enum err list_op(struct disk *disk, sv dir, bool (*fn)(sv name, void *arg), void *arg)
{
    struct sim_disk *d = disk_of(disk);
    struct {
        char *path;
        size_t n;
    } *found = NULL;
    size_t n = 0, cap = 0;
    dir = clean(dir);
    if (enter(d, "disk-list", dir, 0) != GATE_GO)
        return ERR_IO;
    if (!is_folder(d, dir))
        return ERR_NOTFOUND;
    /* Copied first: fn may rename and remove. Sorted by path is sorted by name within one folder.
     */
    for (size_t i = 0; i < d->nodes_n; i++) {
        sv path = node_path(&d->nodes[i]);
        if (!d->nodes[i].file || !sv_eq(parent(path), dir))
            continue;
        SIM_GROW(found, n, cap);
        found[n].path = copy_path(path);
        found[n++].n = path.n;
    }
    bool more = true;
    for (size_t i = 0; i < n; i++) {
        size_t k = found[i].n;
        while (k && found[i].path[k - 1] != '/')
            k--;
        more = more && fn((sv){found[i].path + k, found[i].n - k}, arg);
        free(found[i].path);
    }
    free(found);
    return ERR_OK;
}

static const struct disk_ops disk_ops = {
    .open = open_op,
    .append = append_op,
    .sync = sync_op,
    .close = close_op,
    .read = read_op,
    .truncate = truncate_op,
    .rename = rename_op,
    .remove = remove_op,
    .sync_dir = sync_dir_op,
    .mkdir = mkdir_op,
    .list = list_op,
};

/* ---- life ---- */

void sim_disk_init(struct sim_disk *d, struct sim_host *h)
{
    static const char *const folders[] = {".", "/", "/run", "/tmp", "/var", "/var/lib"};
    d->disk.ops = &disk_ops;
    d->host = h;
    rng_seed(&d->rng, sim_mix(sim_mix(h->sim->seed, h->id), 2));
    list_init(&d->handles);
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
        node_add(d, sv_of(folders[i]), NULL);
}

static void power_loss(struct sim_disk *d)
{
    size_t keep = rng_below(&d->rng, d->ops_n + 1);
    while (d->ops_n > keep) {
        struct vop *op = &d->ops[--d->ops_n];
        op_undo(d, op);
        op_done(op);
    }
    while (d->ops_n)
        op_done(&d->ops[--d->ops_n]);
    for (size_t i = 0; i < d->nodes_n; i++)
        if (d->nodes[i].file)
            file_crash(d->nodes[i].file, &d->rng);
}

void sim_disk_kill(struct sim_disk *d, bool power)
{
    if (power)
        power_loss(d);
    d->dead = true;
    d->life++;
}

void sim_disk_revive(struct sim_disk *d)
{
    d->dead = d->failed = false;
    d->fail_in = 0;
}

void sim_disk_done(struct sim_disk *d)
{
    LIST_EACH_SAFE (h, &d->handles, struct vhandle, by_disk)
        handle_free(h);
    while (d->ops_n)
        op_done(&d->ops[--d->ops_n]);
    while (d->nodes_n)
        node_remove(d, node_path(&d->nodes[d->nodes_n - 1]));
    free(d->ops);
    free(d->nodes);
}
