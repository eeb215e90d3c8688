/* SPDX-License-Identifier: MIT */
/* mem/mem_recycle.c: what a thread gave back waits, by size class, for its next taker. The last given back is
 * the next taken: it is the warmest. */
#include "mem/mem.h"
#include "mem/mem_priv.h"
#include <string.h>

enum {
    CLASSES = MEM_CLASSES,
    /* Kept of each class: what a peak needed beyond that goes back to the class's depot, so that one
     * worker's peak does not stay with it when the load has moved to another. */
    KEEP_OCTETS = 512 * 1024,
    DEAD_OCTETS = 64, /* of what is given back: stale reads meet 0xdd, at the price of one line */
};

struct vacant {
    struct vacant *next;
};

struct shelf {
    struct vacant *first;
    size_t octets;
};

static _Thread_local struct {
    struct shelf shelf[CLASSES];
    bool watched, ended;
} kept;

static struct depot depot[CLASSES] = {[0 ... CLASSES - 1] = DEPOT_INIT};

/* Its destructor is what ends a thread's shelves. */
static pthread_key_t at_thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool has_depot(struct mem_class c)
{
    return c.index < CLASSES && c.size <= DEPOT_LARGEST;
}

static void bring_back(struct mem_class c, void *p)
{
    if (has_depot(c))
        depot_give(&depot[c.index], p);
    else
        mem_heap_give(p);
}

static void *take_from(struct shelf *s, size_t size)
{
    struct vacant *v = s->first;
    if (!v)
        return NULL;
    ASAN_UNPOISON_MEMORY_REGION(v + 1, size - sizeof(*v));
    s->first = v->next;
    s->octets -= size;
    __builtin_prefetch(s->first, 1); /* it may have lain there for long: the next taker's wait */
    return v;
}

void mem_tidy(void)
{
    for (struct mem_class c = mem_class_of(1); c.index < CLASSES; c = mem_class_of(c.size + 1)) {
        for (void *p; (p = take_from(&kept.shelf[c.index], c.size));)
            bring_back(c, p);
    }
    mem_lib_tidy();
}

static void end_thread(void *unused)
{
    (void)unused;
    kept.watched = false;
    kept.ended = true;
    mem_tidy();
    mem_tally_end();
}

static void make_key(void)
{
    (void)pthread_key_create(&at_thread_end, end_thread);
}

bool mem_thread_watched(void)
{
    if (kept.watched || kept.ended)
        return kept.watched;
    pthread_once(&once, make_key);
    kept.watched = pthread_setspecific(at_thread_end, &kept) == 0;
    if (kept.watched)
        mem_tally_begin();
    return kept.watched;
}

void *mem_class_take(struct mem_class c)
{
    if (c.index == CLASSES)
        return mem_alloc(c.size);
    if (mem_refuse())
        return NULL;
    void *p = take_from(&kept.shelf[c.index], c.size);
    if (!p)
        p = has_depot(c) ? depot_take(&depot[c.index], c.size) : mem_heap_take(c.size);
    if (p)
        mem_took(c.size);
    return p;
}

void *mem_class_take_cleared(struct mem_class c, size_t n)
{
    void *p = mem_class_take(c);
    return p ? memset(p, 0, n) : NULL;
}

void mem_class_give(struct mem_class c, void *p)
{
    if (c.index == CLASSES) {
        mem_free(p);
        return;
    }
    if (!p)
        return;
    bool keeps = kept.watched || mem_thread_watched();
    mem_gave(c.size);
    if (!keeps || kept.shelf[c.index].octets + c.size > KEEP_OCTETS) {
        bring_back(c, p);
        return;
    }
    struct shelf *s = &kept.shelf[c.index];
    memset(p, 0xdd, DEAD_OCTETS);
    struct vacant *v = p;
    v->next = s->first;
    s->first = v;
    s->octets += c.size;
    /* Not the link: the leak checker follows it. */
    ASAN_POISON_MEMORY_REGION(v + 1, c.size - sizeof(*v));
}

size_t mem_kept(void)
{
    size_t n = 0;
    for (struct mem_class c = mem_class_of(1); c.index < CLASSES; c = mem_class_of(c.size + 1))
        n += kept.shelf[c.index].octets / c.size;
    return n;
}
