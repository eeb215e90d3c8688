/* SPDX-License-Identifier: MIT */
/* store/store_amend.c: changes of bindings that nobody waits for.
 *
 *   read ─► fn ─► update ─► done
 *    ▲              │ ERR_BUSY: somebody registered meanwhile
 *    └──────────────┘ */
#include "store/store_priv.h"

/* Two workers cannot lose against each other for ever: one of them always wins. */
enum { ROUNDS_MAX = 32, AMEND_MEMORY = 1024 * 1024, FLOW_MEMORY = 512 * 1024 };

struct amendment {
    struct link by_worker;
    struct store *store;
    struct loop *loop;
    store_amend_fn *fn;
    struct store_bindings read;
    struct store_update write;
    struct arena arena;
    unsigned rounds;
    size_t gone;
    char arg[STORE_AMEND_ARG];
    char aor[]; /* behind it */
};

static void amendment_free(struct amendment *m)
{
    store_op_cancel(&m->read.op);
    store_op_cancel(&m->write.op);
    list_unlink(&m->by_worker);
    arena_done(&m->arena);
    mem_free(m);
}

static void amendment_read(struct amendment *m)
{
    arena_reset(&m->arena);
    m->read.arena = &m->arena;
    m->read.wall = loop_wall(m->loop);
    store_bindings(m->store, m->loop, &m->read);
}

static void on_read(struct store_op *op, enum err rc)
{
    struct amendment *m = op->arg;
    size_t n = m->read.n;
    if (rc || n == 0 || !m->fn(m->read.bindings, &n, m->arg)) {
        amendment_free(m);
        return;
    }
    m->gone = m->read.n - n;
    m->write.bindings = m->read.bindings;
    m->write.n = n;
    m->write.version = m->read.version;
    store_update(m->store, m->loop, &m->write);
}

static void on_written(struct store_op *op, enum err rc)
{
    struct amendment *m = op->arg;
    if (rc == ERR_BUSY && ++m->rounds < ROUNDS_MAX) {
        amendment_read(m);
        return;
    }
    if (!rc)
        stat_add(&m->loop->stats, STAT_FLOWS_GONE, (int64_t)m->gone);
    amendment_free(m);
}

void store_amend(struct store *s, struct loop *l, sv aor, store_amend_fn *fn, const void *arg,
                 size_t arg_n)
{
    if (arg_n > STORE_AMEND_ARG || loop_stopping(l))
        return;
    struct amendment *m = mem_calloc(1, sizeof(*m) + aor.n);
    if (!m)
        return;
    m->store = s;
    m->loop = l;
    m->fn = fn;
    if (arg_n)
        memcpy(m->arg, arg, arg_n);
    if (aor.n)
        memcpy(m->aor, aor.p, aor.n);
    arena_init(&m->arena, NULL, 0, AMEND_MEMORY);
    list_push(&s->amendments[l->worker], &m->by_worker);
    store_op_init(&m->read.op, on_read, m);
    store_op_init(&m->write.op, on_written, m);
    m->read.aor = m->write.aor = (sv){m->aor, aor.n};
    amendment_read(m);
}

void store_amend_flow(struct store *s, struct loop *l, unsigned worker, uint64_t conn,
                      store_amend_fn *fn, const void *arg, size_t arg_n)
{
    struct arena a;
    sv *aors;
    size_t n = 0;
    if (!s->loc->ops->take_flow)
        return;
    arena_init(&a, NULL, 0, FLOW_MEMORY);
    enum err rc = s->loc->ops->take_flow(s->loc, worker, conn, &a, &aors, &n);
    for (size_t i = 0; !rc && i < n; i++)
        store_amend(s, l, aors[i], fn, arg, arg_n);
    arena_done(&a);
}

void store_amendments_end(struct store *s)
{
    for (unsigned i = 0; i < LOOP_WORKERS_MAX; i++)
        LIST_EACH_SAFE (m, &s->amendments[i], struct amendment, by_worker)
            amendment_free(m);
}
