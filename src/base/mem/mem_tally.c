/* SPDX-License-Identifier: MIT */
/* mem/mem_tally.c: octets that live, by threads' tallies. */
#include "mem/mem.h"
#include "mem/mem_priv.h"

_Thread_local struct mem_tally mem_tally;

static struct {
    pthread_mutex_t lock;
    struct mem_tally *first; /* LOCK: lock */
    size_t ended;            /* LOCK: lock; of threads that are no more */
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

void mem_tally_begin(void)
{
    pthread_mutex_lock(&all.lock);
    mem_tally.next = all.first;
    all.first = &mem_tally;
    pthread_mutex_unlock(&all.lock);
}

void mem_tally_end(void)
{
    struct mem_tally **at = &all.first;
    pthread_mutex_lock(&all.lock);
    while (*at != &mem_tally)
        at = &(*at)->next;
    *at = mem_tally.next;
    all.ended += atomic_load_explicit(&mem_tally.octets, memory_order_relaxed);
    pthread_mutex_unlock(&all.lock);
}

size_t mem_allocated(void)
{
    pthread_mutex_lock(&all.lock);
    size_t sum = all.ended;
    for (const struct mem_tally *t = all.first; t; t = t->next)
        sum += atomic_load_explicit(&t->octets, memory_order_relaxed);
    pthread_mutex_unlock(&all.lock);
    /* Others go on: of what went from one to another meanwhile the end may be seen and not the beginning. */
    return sum <= SIZE_MAX / 2 ? sum : 0;
}
