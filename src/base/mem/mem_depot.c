/* SPDX-License-Identifier: MIT */
/* mem/mem_depot.c: memory for objects of fixed sizes, of all threads.
 *
 *   kernel -> region (2 MiB) -> a thread's span (64 KiB) -> objects, side by side
 *
 * What is given back waits in its depot for an object of that size, whichever thread asks; regions
 * never return to the kernel. A process that grows has its regions in huge pages: a page fault is dearer
 * than what is written there, and a worker that has slept finds neither in its caches: neither its objects nor
 * where their pages are. The first region is of small pages, which are there only once they are used: an idle
 * process is no larger.
 *
 * The first touch of a huge page clears it: milliseconds, where the host has to find its memory too. So the next
 * region is made, and touched, ahead by a thread that nobody waits for. */
#include "mem/mem.h"
#include "mem/mem_priv.h"
#if WITH_ASAN
#include <stdlib.h>

/* Each by itself, so that what is read beyond its end or after it is seen. */
void *depot_take(struct depot *d, size_t size)
{
    (void)d;
    return mem_counted(malloc(size));
}

size_t mem_regions(void)
{
    return 0;
}

bool mem_region_wanted(void)
{
    return false;
}

void mem_region_ahead(void)
{
}

void depot_give(struct depot *d, void *p)
{
    (void)d;
    mem_heap_give(p);
}
#else
#include <sys/mman.h>

enum {
    REGION = 2 * 1024 * 1024,
    SMALL_PAGE = 4096,
    SMALL_PAGES = 1,  /* regions */
    LOW = REGION / 2, /* with so much left of a region the next is wanted */
    SPAN = 64 * 1024,
    LARGE = 4 * 1024, /* objects from here on are not cut from spans, which would end in waste */
    ALIGN = 16,
};

struct unused {
    struct unused *next;
};

struct range {
    char *at, *end;
};

enum ahead { AHEAD_ENOUGH, AHEAD_WANTED, AHEAD_BEING_MADE };

static struct {
    pthread_mutex_t lock;
    struct range region; /* LOCK: lock, and all below */
    struct range next;   /* made ahead; empty: none */
    unsigned regions;
    _Atomic int ahead; /* read without the lock, once a turn */
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* What a thread's end leaves of it is lost: workers do not end. */
static _Thread_local struct range span;

static size_t left(const struct range *r)
{
    return (size_t)(r->end - r->at);
}

static void *cut(struct range *r, size_t n)
{
    char *p = r->at;
    r->at += n;
    return p;
}

/* Mapped at a multiple of its size, as huge pages ask. */
static bool map_region(bool huge, struct range *ret_region)
{
    char *map = mmap(NULL, 2 * (size_t)REGION, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return false;
    size_t before = (size_t)(-(uintptr_t)map & (REGION - 1));
    char *region = map + before, *end = region + REGION;
    if (before)
        (void)munmap(map, before);
    (void)munmap(end, REGION - before);
    if (huge)
        (void)madvise(region, REGION, MADV_HUGEPAGE); /* a kernel without them has small ones */
    *ret_region = (struct range){region, end};
    return true;
}

static bool region_new(void)
{
    if (left(&all.next) > 0) {
        all.region = all.next;
        all.next = (struct range){NULL, NULL};
        return true;
    }
    if (!map_region(all.regions >= SMALL_PAGES, &all.region))
        return false;
    all.regions++;
    return true;
}

static void look_ahead(void)
{
    bool low = left(&all.region) < LOW && left(&all.next) == 0;
    int was = low ? AHEAD_ENOUGH : AHEAD_WANTED;
    (void)atomic_compare_exchange_strong(&all.ahead, &was, low ? AHEAD_WANTED : AHEAD_ENOUGH);
}

static void *cut_from_region(size_t n)
{
    pthread_mutex_lock(&all.lock);
    void *p = left(&all.region) >= n || region_new() ? cut(&all.region, n) : NULL;
    look_ahead();
    pthread_mutex_unlock(&all.lock);
    return p;
}

bool mem_region_wanted(void)
{
    int wanted = AHEAD_WANTED;
    return atomic_load_explicit(&all.ahead, memory_order_relaxed) == AHEAD_WANTED &&
           atomic_compare_exchange_strong(&all.ahead, &wanted, AHEAD_BEING_MADE);
}

void mem_region_ahead(void)
{
    struct range r;
    bool made = map_region(true, &r);
    for (size_t i = 0; made && i < REGION; i += SMALL_PAGE)
        ((volatile char *)r.at)[i] = 0;
    pthread_mutex_lock(&all.lock);
    if (made) {
        all.next = r;
        all.regions++;
    }
    atomic_store_explicit(&all.ahead, AHEAD_ENOUGH, memory_order_relaxed);
    pthread_mutex_unlock(&all.lock);
}

static void *fresh(size_t n)
{
    n = (n + ALIGN - 1) / ALIGN * ALIGN;
    if (n >= LARGE)
        return cut_from_region(n);
    if (left(&span) < n) {
        char *p = cut_from_region(SPAN);
        if (!p)
            return NULL;
        span = (struct range){p, p + SPAN};
    }
    return cut(&span, n);
}

void *depot_take(struct depot *d, size_t size)
{
    pthread_mutex_lock(&d->lock);
    struct unused *u = d->first;
    if (u)
        d->first = u->next;
    pthread_mutex_unlock(&d->lock);
    return mem_counted(u ? u : fresh(size));
}

void depot_give(struct depot *d, void *p)
{
    struct unused *u = p;
    mem_uncounted();
    pthread_mutex_lock(&d->lock);
    u->next = d->first;
    d->first = u;
    pthread_mutex_unlock(&d->lock);
}

size_t mem_regions(void)
{
    pthread_mutex_lock(&all.lock);
    size_t n = all.regions;
    pthread_mutex_unlock(&all.lock);
    return n * REGION;
}
#endif
