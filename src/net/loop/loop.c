/* SPDX-License-Identifier: MIT */
/* What every backend's loop has in common: deferred calls, dispatch, sums of counters. */
#include "loop/loop.h"

/* Live octets of message blocks a worker may hold: beyond it datagrams are dropped. */
enum { LOOP_BLOCKS_MAX = 256 * 1024 * 1024 };

uint64_t loop_random(struct loop *l)
{
    uint64_t v;
    l->ops->random(l, &v, sizeof(v));
    return v;
}

void loop_random_bytes(struct loop *l, void *p, size_t n)
{
    l->ops->random(l, p, n);
}

void loop_defer(struct loop *l, struct deferred *d)
{
    if (!list_linked(&d->by_loop))
        list_push(&l->deferred, &d->by_loop);
}

enum err loop_mail(struct loop *to, struct mail *m)
{
    return to->ops->mail(to, m);
}

enum err loop_offload(struct loop *l, struct job *j)
{
    return l->ops->offload(l, j);
}

int64_t loop_stat(const struct loop_group *g, enum stat_id id)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < g->n; i++)
        sum += stat_get(&g->loop[i]->stats, id);
    return sum;
}

enum err loop_init(struct loop *l, const struct loop_ops *ops, struct loop_group *g,
                   unsigned worker, usec now, usec wall)
{
    *l = (struct loop){.ops = ops, .group = g, .worker = worker, .now = now, .wall = wall};
    wheel_init(&l->wheel, now);
    list_init(&l->deferred);
    return block_pool_new(LOOP_BLOCKS_MAX, &l->blocks);
}

void loop_done(struct loop *l)
{
    if (l->blocks)
        block_pool_free(l->blocks);
    l->blocks = NULL;
    if (l->tls)
        l->tls_free(l->tls);
    l->tls = NULL;
}

void loop_run_deferred(struct loop *l)
{
    struct link *link;
    while ((link = list_pop(&l->deferred))) {
        struct deferred *d = CONTAINER(link, struct deferred, by_loop);
        d->fn(d, d->arg);
    }
}
