/* SPDX-License-Identifier: MIT */
/* store/store.c: operations, and the two halves of a store behind one handle.
 *
 * The one thing done here beyond dispatch is the removal of an account, which concerns both halves:
 *
 *   directory REMOVE ─► bindings of user@domain ─► update to none ─► the caller's done
 *                         ▲                             │ ERR_BUSY: somebody registered meanwhile
 *                         └─────────────────────────────┘ */
#include "store/store_priv.h"

enum { AOR_MAX = 2 * 1024 + 2, REMOVAL_MEMORY = 1024 * 1024 };

/* Outlives the caller's operation, which may be cancelled at any time. */
struct removal {
    struct link by_worker;
    struct link caller; /* the caller's op hangs here until it is done or cancelled */
    struct store *store;
    struct loop *loop;
    struct store_change change;
    struct store_bindings read;
    struct store_update write;
    struct arena arena;
    char aor[AOR_MAX];
};

/* ---- operations ---- */

static void completed(struct deferred *d, void *arg)
{
    struct store_op *op = CONTAINER(d, struct store_op, event);
    op->done(op, (enum err)(uintptr_t)arg);
}

void store_op_init(struct store_op *op, void (*done)(struct store_op *, enum err), void *arg)
{
    *op = (struct store_op){.done = done, .arg = arg};
    deferred_init(&op->event, completed, NULL);
    list_init(&op->by_batch);
}

void store_op_cancel(struct store_op *op)
{
    loop_defer_cancel(&op->event);
    list_unlink(&op->by_batch);
}

void store_op_complete(struct loop *l, struct store_op *op, enum err rc)
{
    list_unlink(&op->by_batch);
    op->loop = l;
    op->event.arg = (void *)(uintptr_t)rc;
    loop_defer(l, &op->event);
}

/* ---- removal of an account ---- */

static void removal_free(struct removal *r)
{
    store_op_cancel(&r->change.op);
    store_op_cancel(&r->read.op);
    store_op_cancel(&r->write.op);
    list_unlink(&r->by_worker);
    list_pop(&r->caller);
    arena_done(&r->arena);
    mem_free(r);
}

static void removal_end(struct removal *r, enum err rc)
{
    struct link *caller = list_pop(&r->caller);
    if (caller)
        store_op_complete(r->loop, CONTAINER(caller, struct store_op, by_batch), rc);
    removal_free(r);
}

static void removal_read(struct removal *r)
{
    arena_reset(&r->arena);
    r->read.arena = &r->arena;
    r->read.wall = loop_wall(r->loop);
    store_bindings(r->store, r->loop, &r->read);
}

static void on_removed(struct store_op *op, enum err rc)
{
    struct removal *r = op->arg;
    if (rc)
        removal_end(r, rc);
    else
        removal_read(r);
}

static void on_read(struct store_op *op, enum err rc)
{
    struct removal *r = op->arg;
    if (rc || r->read.version == 0) {
        removal_end(r, rc);
        return;
    }
    r->write.version = r->read.version;
    store_update(r->store, r->loop, &r->write);
}

static void on_written(struct store_op *op, enum err rc)
{
    struct removal *r = op->arg;
    if (rc == ERR_BUSY)
        removal_read(r); /* ends: the account is gone, nobody can register for long */
    else
        removal_end(r, rc);
}

static void removal_start(struct store *s, struct loop *l, struct store_change *c)
{
    struct removal *r = MEM_NEW(struct removal);
    if (!r) {
        store_op_complete(l, &c->op, ERR_NOMEM);
        return;
    }
    struct buf aor;
    buf_init(&aor, r->aor, sizeof r->aor);
    buf_put(&aor, c->account.user);
    buf_char(&aor, '@');
    buf_put(&aor, c->account.domain);
    if (aor.rc) { /* longer than any account that was ever added */
        mem_free(r);
        store_op_complete(l, &c->op, ERR_NOTFOUND);
        return;
    }
    r->store = s;
    r->loop = l;
    arena_init(&r->arena, NULL, 0, REMOVAL_MEMORY);
    list_init(&r->caller);
    list_push(&r->caller, &c->op.by_batch);
    list_push(&s->removals[l->worker], &r->by_worker);
    store_op_init(&r->change.op, on_removed, r);
    store_op_init(&r->read.op, on_read, r);
    store_op_init(&r->write.op, on_written, r);
    r->read.aor = r->write.aor = buf_sv(&aor);
    r->change.what = STORE_REMOVE;
    r->change.account.user = sv_sub(r->read.aor, 0, c->account.user.n);
    r->change.account.domain = sv_sub(r->read.aor, c->account.user.n + 1, r->read.aor.n);
    s->dir->ops->change(s->dir, l, &r->change);
}

/* ---- the store ---- */

enum err store_new(struct store_location *loc, struct store_directory *dir,
                   struct store **ret_store)
{
    struct store *s = MEM_NEW(struct store);
    if (!s)
        return ERR_NOMEM;
    s->loc = loc;
    s->dir = dir;
    for (unsigned i = 0; i < LOOP_WORKERS_MAX; i++) {
        list_init(&s->removals[i]);
        list_init(&s->amendments[i]);
    }
    *ret_store = s;
    return ERR_OK;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < LOOP_WORKERS_MAX; i++)
        LIST_EACH_SAFE (r, &s->removals[i], struct removal, by_worker)
            removal_free(r);
    store_amendments_end(s);
    s->dir->ops->close(s->dir);
    s->loc->ops->close(s->loc);
    mem_free(s);
}

void store_find(struct store *s, struct loop *l, struct store_find *f)
{
    s->dir->ops->find(s->dir, l, f);
}

void store_bindings(struct store *s, struct loop *l, struct store_bindings *b)
{
    s->loc->ops->bindings(s->loc, l, b);
}

void store_update(struct store *s, struct loop *l, struct store_update *u)
{
    s->loc->ops->update(s->loc, l, u);
}

void store_record(struct store *s, struct loop *l, const struct call_record *r)
{
    s->dir->ops->record(s->dir, l, r);
}

void store_change(struct store *s, struct loop *l, struct store_change *c)
{
    if (c->what == STORE_REMOVE)
        removal_start(s, l, c);
    else
        s->dir->ops->change(s->dir, l, c);
}

enum err store_each_account(struct store *s, store_account_fn *fn, void *arg)
{
    return s->dir->ops->each(s->dir, fn, arg);
}

enum err store_each_aor(struct store *s, usec wall, store_aor_fn *fn, void *arg)
{
    return s->loc->ops->each(s->loc, wall, fn, arg);
}

uint32_t store_place(const struct store *s, sv aor)
{
    return s->loc->ops->place(s->loc, aor);
}

enum err store_each_between(struct store *s, uint32_t from, uint32_t to, usec wall,
                            store_aor_fn *fn, void *arg)
{
    return s->loc->ops->each_between(s->loc, from, to, wall, fn, arg);
}

size_t store_aors(const struct store *s)
{
    return s->loc->ops->count(s->loc);
}

size_t store_accounts(const struct store *s)
{
    return s->dir->ops->count(s->dir);
}

uint64_t store_epoch(const struct store *s)
{
    return s->loc->ops->epoch(s->loc);
}

enum err store_fact(struct store *s, sv key, struct arena *a, sv *ret_value)
{
    return s->dir->ops->fact(s->dir, key, a, ret_value);
}

enum err store_fact_set(struct store *s, sv key, sv value)
{
    return s->dir->ops->fact_set(s->dir, key, value);
}
