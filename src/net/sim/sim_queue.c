/* SPDX-License-Identifier: MIT */
/* sim/sim_queue.c: chance from the seed, and the queue of events: a binary heap that knows each
 * event's place, so that a cancelled event leaves at once. Events come from slabs and are used
 * again. */
#include "sim/sim_priv.h"
#include <stdlib.h>

enum { EVENT_SLAB = 256 };

struct event_slab {
    struct event_slab *next;
    struct event events[EVENT_SLAB];
};

void *sim_need(void *p)
{
    if (!p)
        abort();
    return p;
}

/* ---- chance ---- */

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

/* splitmix64's finalizer. */
static uint64_t finish(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t sim_mix(uint64_t h, uint64_t v)
{
    return finish(rotl(h, 23) + v + 0x9e3779b97f4a7c15u);
}

uint64_t sim_hash(const void *p, size_t n)
{
    const char *c = p;
    uint64_t h = 0x243f6a8885a308d3u ^ n, w;
    for (; n >= sizeof(w); c += sizeof(w), n -= sizeof(w)) {
        memcpy(&w, c, sizeof(w));
        h = rotl((h ^ w) * 0x9e3779b97f4a7c15u, 29);
    }
    w = 0;
    if (n)
        memcpy(&w, c, n);
    return finish(h ^ w);
}

void rng_seed(struct rng *r, uint64_t seed)
{
    for (size_t i = 0; i < 4; i++)
        r->s[i] = finish(seed += 0x9e3779b97f4a7c15u);
}

/* xoshiro256**, as its authors describe it. */
uint64_t rng_next(struct rng *r)
{
    uint64_t *s = r->s, x = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return x;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)rng_next(r) * n) >> 64);
}

usec rng_between(struct rng *r, usec min, usec max)
{
    return max > min ? min + (usec)rng_below(r, (uint64_t)(max - min) + 1) : min;
}

bool rng_permille(struct rng *r, unsigned permille)
{
    return permille && rng_below(r, 1000) < permille;
}

void rng_fill(struct rng *r, void *p, size_t n)
{
    char *c = p;
    while (n) {
        uint64_t x = rng_next(r);
        size_t k = n < sizeof(x) ? n : sizeof(x);
        memcpy(c, &x, k);
        c += k;
        n -= k;
    }
}

/* ---- events ---- */

struct event *sim_event_new(struct sim *s, enum event_kind kind)
{
    struct queue *q = &s->queue;
    if (!q->free) {
        struct event_slab *slab = sim_need(malloc(sizeof(*slab)));
        slab->next = q->slabs;
        q->slabs = slab;
        for (size_t i = EVENT_SLAB; i-- > 0;) {
            slab->events[i].next_free = q->free;
            q->free = &slab->events[i];
        }
    }
    struct event *e = q->free;
    q->free = e->next_free;
    memset(e, 0, sizeof(*e));
    e->kind = kind;
    return e;
}

void sim_event_free(struct sim *s, struct event *e)
{
    e->next_free = s->queue.free;
    s->queue.free = e;
}

void queue_done(struct queue *q)
{
    while (q->slabs) {
        struct event_slab *slab = q->slabs;
        q->slabs = slab->next;
        free(slab);
    }
    free(q->heap);
    *q = (struct queue){0};
}

/* ---- heap ---- */

static bool before(const struct queue_entry *a, const struct queue_entry *b)
{
    if (a->at != b->at)
        return a->at < b->at;
    if (a->key != b->key)
        return a->key < b->key;
    return a->seq < b->seq;
}

static void place(struct queue *q, size_t i, struct queue_entry x)
{
    q->heap[i] = x;
    x.ev->index = i;
}

static void sift_up(struct queue *q, size_t i, struct queue_entry x)
{
    while (i) {
        size_t parent = (i - 1) / 2;
        if (!before(&x, &q->heap[parent]))
            break;
        place(q, i, q->heap[parent]);
        i = parent;
    }
    place(q, i, x);
}

static void sift_down(struct queue *q, size_t i, struct queue_entry x)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= q->n)
            break;
        if (child + 1 < q->n && before(&q->heap[child + 1], &q->heap[child]))
            child++;
        if (!before(&q->heap[child], &x))
            break;
        place(q, i, q->heap[child]);
        i = child;
    }
    place(q, i, x);
}

void sim_push_keyed(struct sim *s, struct event *e, usec at, uint64_t key)
{
    struct queue *q = &s->queue;
    SIM_GROW(q->heap, q->n, q->cap);
    q->n++;
    sift_up(q, q->n - 1, (struct queue_entry){at < s->now ? s->now : at, key, q->seq++, e});
}

void sim_push(struct sim *s, struct event *e, usec at)
{
    sim_push_keyed(s, e, at, rng_next(&s->rng));
}

void sim_unqueue(struct sim *s, struct event *e)
{
    struct queue *q = &s->queue;
    size_t i = e->index;
    struct queue_entry last = q->heap[--q->n];
    if (i == q->n)
        return;
    if (i && before(&last, &q->heap[(i - 1) / 2]))
        sift_up(q, i, last);
    else
        sift_down(q, i, last);
}

struct event *sim_pop(struct sim *s, usec *ret_at)
{
    struct queue_entry top = s->queue.heap[0];
    sim_unqueue(s, top.ev);
    *ret_at = top.at;
    return top.ev;
}
