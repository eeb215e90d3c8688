/* SPDX-License-Identifier: MIT */
/* mem/mem_recycle.c: what a thread gave back waits, by size class, for its next taker.
 *
 * Four classes to each doubling from 64 octets to 64 KiB: 64, 80, 96, 112, 128, 160, ... What is
 * larger comes from the heap. The last given back is the next taken: it is the warmest. */
#include "mem/mem.h"
#include "mem/mem_priv.h"
#include <string.h>

enum {
    SMALLEST = 6, /* of the classes, as a power of two */
    LARGEST = 16,
    CLASSES = (LARGEST - SMALLEST) * 4 + 1,
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
    size_t n; /* on all shelves */
    bool watched;
} kept;

static struct depot depot[CLASSES] = {[0 ... CLASSES - 1] = DEPOT_INIT};

/* Its destructor is what ends a thread's shelves. */
static pthread_key_t at_thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The class of n octets, and its size; CLASSES: none. */
static unsigned class_of(size_t n, size_t *ret_size)
{
    if (n <= (size_t)1 << SMALLEST) {
        *ret_size = (size_t)1 << SMALLEST;
        return 0;
    }
    if (n > (size_t)1 << LARGEST)
        return CLASSES;
    unsigned power = 63 - (unsigned)__builtin_clzll(n - 1);
    unsigned quarter = (unsigned)((n - 1) >> (power - 2)) & 3;
    *ret_size = (size_t)(quarter + 5) << (power - 2);
    return (power - SMALLEST) * 4 + quarter + 1;
}

static void *fetch(unsigned class, size_t size)
{
    return size <= DEPOT_LARGEST ? depot_take(&depot[class], size) : mem_alloc(size);
}

static void bring_back(unsigned class, size_t size, void *p)
{
    if (size <= DEPOT_LARGEST)
        depot_give(&depot[class], p);
    else
        mem_free(p);
}

static void *take_from(struct shelf *s, size_t size)
{
    struct vacant *v = s->first;
    if (!v)
        return NULL;
    ASAN_UNPOISON_MEMORY_REGION(v + 1, size - sizeof(*v));
    s->first = v->next;
    s->octets -= size;
    kept.n--;
    __builtin_prefetch(s->first, 1); /* it may have lain there for long: the next taker's wait */
    return v;
}

void mem_tidy(void)
{
    for (size_t n = 1; n <= (size_t)1 << LARGEST;) {
        size_t size;
        unsigned c = class_of(n, &size);
        for (void *p; (p = take_from(&kept.shelf[c], size));)
            bring_back(c, size, p);
        n = size + 1;
    }
    mem_lib_tidy();
}

static void end_thread(void *unused)
{
    (void)unused;
    kept.watched = false;
    mem_tidy();
}

static void make_key(void)
{
    (void)pthread_key_create(&at_thread_end, end_thread);
}

bool mem_thread_watched(void)
{
    if (kept.watched)
        return true;
    pthread_once(&once, make_key);
    kept.watched = pthread_setspecific(at_thread_end, &kept) == 0;
    return kept.watched;
}

void *mem_take(size_t n)
{
    size_t size = n;
    unsigned c = class_of(n, &size);
    if (c == CLASSES)
        return mem_alloc(n);
    if (mem_refuse())
        return NULL;
    void *p = take_from(&kept.shelf[c], size);
    return p ? p : fetch(c, size);
}

void *mem_take_cleared(size_t n)
{
    void *p = mem_take(n);
    return p ? memset(p, 0, n) : NULL;
}

void mem_give(void *p, size_t n)
{
    if (!p)
        return;
    size_t size;
    unsigned c = class_of(n, &size);
    if (c == CLASSES) {
        mem_free(p);
        return;
    }
    if (kept.shelf[c].octets + size > KEEP_OCTETS || !mem_thread_watched()) {
        bring_back(c, size, p);
        return;
    }
    struct shelf *s = &kept.shelf[c];
    memset(p, 0xdd, DEAD_OCTETS);
    struct vacant *v = p;
    v->next = s->first;
    s->first = v;
    s->octets += size;
    kept.n++;
    /* Not the link: the leak checker follows it. */
    ASAN_POISON_MEMORY_REGION(v + 1, size - sizeof(*v));
}

size_t mem_kept(void)
{
    return kept.n;
}
