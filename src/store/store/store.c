/* SPDX-License-Identifier: MIT */
/* store/store.c: operations, and the two halves of a store behind one handle.
 *
 * The one thing done here beyond dispatch is the removal of an account, which concerns both halves:
 *
 *   directory REMOVE ─► bindings of user@domain ─► update to none ─► the caller's done
 *                         ▲                             │ ERR_BUSY: somebody registered meanwhile
 *                         └─────────────────────────────┘ other errors: after a while, the caller is told
 *
 * Bindings alone go the same way, from the second step on. */
#include "store/store_priv.h"

enum { AOR_MAX = 2 * 1024 + 2, REMOVAL_MEMORY = 1024 * 1024 };
static const usec removal_again = 10 * USEC_S;

/* Outlives the caller's operation, which may be cancelled at any time. */
struct removal {
    struct link by_worker;
    struct link caller; /* the caller's op hangs here until it is done or cancelled */
    struct store *store;
    struct loop *loop;
    struct timer again;
    bool strays;    /* all without an account, one after the other */
    uint32_t place; /* of the one whose turn it is */
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
    loop_timer_cancel(r->loop, &r->again);
    store_op_cancel(&r->change.op);
    store_op_cancel(&r->read.op);
    store_op_cancel(&r->write.op);
    list_unlink(&r->by_worker);
    list_pop(&r->caller);
    arena_done(&r->arena);
    mem_free(r);
}

static void removal_tell(struct removal *r, enum err rc)
{
    struct link *caller = list_pop(&r->caller);
    if (caller)
        store_op_complete(r->loop, CONTAINER(caller, struct store_op, by_batch), rc);
}

static void removal_read(struct removal *r)
{
    arena_reset(&r->arena);
    r->read.arena = &r->arena;
    r->read.wall = loop_wall(r->loop);
    store_bindings(r->store, r->loop, &r->read);
}

static void on_again(struct timer *t, void *arg)
{
    (void)t;
    removal_read(arg);
}

static void next_stray(struct removal *r);

/* What is bound to nobody's name would be rung all the same: an error is not the end of it. */
static void removal_end(struct removal *r, enum err rc)
{
    removal_tell(r, rc);
    if (rc)
        loop_timer(r->loop, &r->again, removal_again);
    else if (r->strays)
        next_stray(r);
    else
        removal_free(r);
}

static void on_removed(struct store_op *op, enum err rc)
{
    struct removal *r = op->arg;
    if (!rc) {
        removal_read(r);
        return;
    }
    removal_tell(r, rc); /* the account stands */
    removal_free(r);
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

static struct removal *removal_new(struct store *s, struct loop *l)
{
    struct removal *r = MEM_NEW(struct removal);
    if (!r)
        return NULL;
    r->store = s;
    r->loop = l;
    timer_init(&r->again, on_again, r);
    arena_init(&r->arena, NULL, 0, REMOVAL_MEMORY);
    list_init(&r->caller);
    list_push(&s->removals[l->worker], &r->by_worker);
    store_op_init(&r->change.op, on_removed, r);
    store_op_init(&r->read.op, on_read, r);
    store_op_init(&r->write.op, on_written, r);
    return r;
}

/* False: it is longer than any that there is. */
static bool removal_name(struct removal *r, sv aor)
{
    if (aor.n > sizeof r->aor)
        return false;
    memcpy(r->aor, aor.p, aor.n);
    r->read.aor = r->write.aor = (sv){r->aor, aor.n};
    return true;
}

static void removal_start(struct store *s, struct loop *l, struct store_change *c)
{
    char mem[AOR_MAX];
    struct buf aor;
    buf_init(&aor, mem, sizeof mem);
    buf_put(&aor, c->account.user);
    buf_char(&aor, '@');
    buf_put(&aor, c->account.domain);
    struct removal *r = aor.rc ? NULL : removal_new(s, l);
    if (!r || !removal_name(r, buf_sv(&aor))) {
        store_op_complete(l, &c->op, aor.rc ? ERR_NOTFOUND : ERR_NOMEM);
        return;
    }
    list_push(&r->caller, &c->op.by_batch);
    r->change.what = STORE_REMOVE;
    r->change.account.user = sv_sub(r->read.aor, 0, c->account.user.n);
    r->change.account.domain = sv_sub(r->read.aor, c->account.user.n + 1, r->read.aor.n);
    s->dir->ops->change(s->dir, l, &r->change);
}

void store_unbind(struct store *s, struct loop *l, sv aor)
{
    struct removal *r = loop_stopping(l) ? NULL : removal_new(s, l);
    if (r && removal_name(r, aor))
        removal_read(r);
    else if (r)
        removal_free(r);
}

/* ---- bindings without an account ---- */

static bool find_stray(sv aor, const struct binding *b, size_t n, void *arg)
{
    struct removal *r = arg;
    (void)b;
    (void)n;
    if (store_has_account(r->store, aor) || !removal_name(r, aor))
        return true;
    r->place = store_place(r->store, aor);
    return false;
}

/* Those before r->place have accounts. */
static void next_stray(struct removal *r)
{
    r->read.aor = SV_NONE;
    enum err rc =
        store_each_between(r->store, r->place, STORE_PLACES, loop_wall(r->loop), find_stray, r);
    if (!rc && r->read.aor.n)
        removal_read(r);
    else
        removal_free(r);
}

void store_unbind_strays(struct store *s, struct loop *l)
{
    struct removal *r = removal_new(s, l);
    if (!r)
        return;
    r->strays = true;
    next_stray(r);
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

bool store_has_account(const struct store *s, sv aor)
{
    return s->dir->ops->has(s->dir, aor);
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

enum err store_each_record(struct store *s, size_t n, store_record_fn *fn, void *arg)
{
    return s->dir->ops->each_record(s->dir, n, fn, arg);
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
