/* SPDX-License-Identifier: MIT */
/* mem/mem_priv.h: what the parts of mem share.                                  layer: base */
#ifndef MEM_MEM_PRIV_H
#define MEM_MEM_PRIV_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include "mem/mem.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#else
#define WITH_ASAN                         0
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)0)
#endif

/* Of mem_fail_after. 0: nothing fails. 1: the next fails, and it stays 1. More: counts down. */
extern _Atomic size_t mem_fail_in;

/* An allocation is about to happen: true when mem_fail_after says that it fails. What reuses memory
 * asks too, so that a torture run meets every place that can be refused, warm or cold. */
static inline bool mem_refuse(void)
{
    return atomic_load_explicit(&mem_fail_in, memory_order_relaxed) && mem_refuse_now();
}

/* Allocations that this thread keeps for reuse. */
size_t mem_kept(void);

/* This thread's end will bring mem_tidy, and mem_allocated knows of its tally. */
bool mem_thread_watched(void);
/* What mem_lib_free kept in this thread goes back to the heap. */
void mem_lib_tidy(void);
/* ---- mem.c: the heap and what lives of it. Who takes from here counts the octets ---- */
void *mem_heap_take(size_t n); /* NULL: no memory, or refused */
void mem_heap_give(void *p);   /* NULL is fine */
void *mem_counted(void *p);    /* p */
void mem_uncounted(void);

/* ---- mem_tally.c: what a thread took less what it gave back, so that nobody waits for another to count. It may
 * be below nothing: a number of octets is only the sum over threads ---- */
struct mem_tally {
    struct mem_tally *next; /* LOCK: of mem_tally.c */
    _Atomic size_t octets;
};
extern _Thread_local struct mem_tally mem_tally;

static inline void mem_took(size_t n)
{
    size_t octets = atomic_load_explicit(&mem_tally.octets, memory_order_relaxed);
    atomic_store_explicit(&mem_tally.octets, octets + n, memory_order_relaxed);
}
static inline void mem_gave(size_t n)
{
    mem_took((size_t)0 - n);
}
void mem_tally_begin(void); /* of this thread, once */
void mem_tally_end(void);

/* ---- mem_depot.c: where objects of one size come from, and wait. Any thread. ---- */
enum { DEPOT_LARGEST = 16 * 1024 }; /* what is larger comes from the heap: it is rare */
struct depot {
    pthread_mutex_t lock;
    struct unused *first; /* LOCK: lock */
};
#define DEPOT_INIT                      \
    {                                   \
        PTHREAD_MUTEX_INITIALIZER, NULL \
    }
void *depot_take(struct depot *d, size_t size); /* NULL: no memory. size: always the same of d */
void depot_give(struct depot *d, void *p);

#endif
