/* SPDX-License-Identifier: MIT */
/* A phone that sleeps is called: RFC 8599 §5.6. It is woken, and its part of the request held until it
 * registers, which is looked for every WAKE_LOOK, or until push.hold is over. */
#include "routing/routing_priv.h"

#define WAKE_LOOK (100 * USEC_MS)
/* Requests held at once: of a worker, and for one address of record. Each looks for its phone. */
enum { WAKES_MAX = 512, WAKES_AOR = 20 };

struct wake {
    struct link by_watched, by_routing;
    struct watched *w;
    struct proxy_redirect *held;
    sv aor, uri;      /* in the request's arena */
    sv instance, pns; /* of the binding, in memory of our own; how the phone is known again */
    char *mem;
    bool asked; /* the provider was told */
    usec bound; /* until when it was bound then: later says that it came anew */
    usec until;
    struct timer timer;
    struct arena arena; /* of one look */
    struct store_bindings bindings;
};

static void wake_free(struct wake *k)
{
    loop_timer_cancel(k->w->r->loop, &k->timer);
    store_op_cancel(&k->bindings.op);
    list_unlink(&k->by_watched);
    list_unlink(&k->by_routing);
    k->w->r->wakes_n--;
    arena_done(&k->arena);
    mem_free(k->mem);
    mem_free(k);
}

static void end(struct wake *k, const struct proxy_target *targets, size_t n)
{
    struct proxy_redirect *held = k->held;
    struct arena arena = k->arena; /* the targets' texts are in it */
    arena_init(&k->arena, NULL, 0, 0);
    wake_free(k);
    proxy_redirected(held, targets, n);
    arena_done(&arena);
}

/* Which phone it is, kept from the first look. False: no memory. */
static bool remember(struct wake *k, const struct binding *b)
{
    k->mem = mem_alloc(b->instance.n + b->push.n + 1);
    if (!k->mem)
        return false;
    if (b->instance.n)
        memcpy(k->mem, b->instance.p, b->instance.n);
    if (b->push.n)
        memcpy(k->mem + b->instance.n, b->push.p, b->push.n);
    k->instance = (sv){k->mem, b->instance.n};
    k->pns = (sv){k->mem + b->instance.n, b->push.n};
    return true;
}

static bool is_that_phone(const struct wake *k, const struct binding *b)
{
    return k->instance.n ? location_same_instance(k->instance, b->instance)
                         : sv_eq(k->pns, b->push);
}

/* Asks the provider, once. False: it cannot be woken. */
static bool ask(struct wake *k)
{
    struct watched *w = k->w;
    for (size_t i = 0; i < k->bindings.n && !k->asked; i++) {
        const struct binding *b = &k->bindings.bindings[i];
        if (!sv_eq(b->uri, k->uri) || !push_can_wake(w->r->push, w->set, b))
            continue;
        if (!remember(k, b))
            return false;
        push_wake(w->r->push, w->set, b, k->aor, w->rx);
        k->bound = b->expires;
        k->asked = true;
    }
    return k->asked;
}

/* Where the phone is now, if it is awake. */
static size_t awake(struct wake *k, struct proxy_target *t, size_t max)
{
    struct watched *w = k->w;
    struct location_query q = {
        .sip = w->r->sip,
        .epoch = store_epoch(w->r->shared.store),
        .secure = w->secure,
        .push = true,
    };
    struct location_target *phones;
    size_t n, have = 0;
    if (location_targets(&q, k->bindings.bindings, k->bindings.n, &k->arena, &phones, &n))
        return 0;
    for (size_t i = 0; i < n && have < max; i++) {
        const struct binding *b = phones[i].binding;
        if (!is_that_phone(k, b) || (phones[i].asleep && b->expires <= k->bound))
            continue;
        routing_phone_target(&t[have], &phones[i], k->aor);
        t[have++].held = false;
    }
    return have;
}

static void on_bindings(struct store_op *op, enum err rc)
{
    struct wake *k = op->arg;
    struct loop *l = k->w->r->loop;
    struct proxy_target targets[PROXY_TARGETS_MAX];
    bool can = rc == ERR_OK && (k->asked || ask(k));
    size_t n = can ? awake(k, targets, PROXY_TARGETS_MAX) : 0;
    if (!can || n || loop_now(l) >= k->until)
        end(k, targets, n);
    else
        loop_timer(l, &k->timer, WAKE_LOOK);
}

static void look(struct wake *k)
{
    struct routing *r = k->w->r;
    arena_done(&k->arena);
    arena_init(&k->arena, NULL, 0, 1024 * 1024);
    k->bindings.arena = &k->arena;
    k->bindings.aor = k->aor;
    k->bindings.wall = loop_wall(r->loop);
    store_op_init(&k->bindings.op, on_bindings, k);
    store_bindings(r->shared.store, r->loop, &k->bindings);
}

static void on_timer(struct timer *t, void *arg)
{
    (void)t;
    look(arg);
}

static bool full(struct routing *r, sv aor)
{
    unsigned same = 0;
    LIST_EACH (k, &r->wakes, struct wake, by_routing)
        same += sv_eq(k->aor, aor);
    if (r->wakes_n < WAKES_MAX && same < WAKES_AOR)
        return false;
    stat_refuse(&r->loop->stats, STAT_LIMIT_PUSH);
    return true;
}

void routing_held(struct watched *w, struct proxy_redirect *held, const struct proxy_target *t)
{
    struct wake *k = full(w->r, t->account) ? NULL : MEM_NEW(struct wake);
    if (!k || sv_dup(&w->rx->arena, t->account, &k->aor) ||
        sv_dup(&w->rx->arena, t->uri, &k->uri)) {
        mem_free(k);
        proxy_redirected(held, NULL, 0);
        return;
    }
    k->w = w;
    k->held = held;
    k->until = loop_now(w->r->loop) + w->set->push.hold;
    timer_init(&k->timer, on_timer, k);
    arena_init(&k->arena, NULL, 0, 0);
    list_push(&w->wakes, &k->by_watched);
    list_push(&w->r->wakes, &k->by_routing);
    w->r->wakes_n++;
    look(k);
}

void routing_wakes_end(struct watched *w)
{
    LIST_EACH_SAFE (k, &w->wakes, struct wake, by_watched)
        end(k, NULL, 0); /* an answer is owed always */
}
