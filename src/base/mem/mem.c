/* SPDX-License-Identifier: MIT */
/* mem/mem.c: the heap, with accounting. */
#include "mem/mem.h"
#include "mem/mem_priv.h"
#include <malloc.h>
#include <stdlib.h>

/* What the heap asks of the kernel at a time, and leaves unused at its end before it gives back. */
enum { HEAP_STEP = 1024 * 1024, HEAP_SPARE = 16 * 1024 * 1024 };

_Atomic size_t mem_fail_in;
static _Atomic bool fail_once;
static _Atomic size_t live;
static _Thread_local size_t calls;

void mem_fail_after(size_t n)
{
    atomic_store(&fail_once, false);
    atomic_store(&mem_fail_in, n);
}

void mem_fail_once(size_t n)
{
    atomic_store(&fail_once, true);
    atomic_store(&mem_fail_in, n);
}

void mem_settle(void)
{
    /* A heap of a thread's own grows page by page, each a system call. Little is asked of the heap
     * (mem_recycle.c), so that one for all is not fought for. */
    (void)mallopt(M_ARENA_MAX, 1);
}

void mem_stride(void)
{
    (void)mallopt(M_TOP_PAD, HEAP_STEP);
    (void)mallopt(M_TRIM_THRESHOLD, HEAP_SPARE);
}

size_t mem_live(void)
{
    return atomic_load(&live) - mem_kept();
}

size_t mem_calls(void)
{
    return calls;
}

bool mem_refuse_now(void)
{
    size_t left = atomic_load_explicit(&mem_fail_in, memory_order_relaxed);
    while (left > 1 && !atomic_compare_exchange_weak(&mem_fail_in, &left, left - 1))
        continue;
    if (left == 1 && atomic_load(&fail_once))
        atomic_store(&mem_fail_in, 0);
    return left == 1;
}

void *mem_counted(void *p)
{
    calls++;
    if (!p)
        return NULL;
    atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    (void)mem_thread_watched();
    return p;
}

void mem_uncounted(void)
{
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    (void)mem_thread_watched();
}

void *mem_heap_take(size_t n)
{
    return mem_refuse() ? NULL : mem_counted(malloc(n));
}

void mem_heap_give(void *p)
{
    if (!p)
        return;
    mem_uncounted();
    free(p);
}

void *mem_alloc(size_t n)
{
    void *p = mem_heap_take(n ? n : 1);
    mem_took(malloc_usable_size(p));
    return p;
}

void *mem_calloc(size_t n, size_t size)
{
    if ((size && n > SIZE_MAX / size) || mem_refuse())
        return NULL;
    void *p = mem_counted(calloc(n ? n : 1, size ? size : 1));
    mem_took(malloc_usable_size(p));
    return p;
}

void *mem_realloc(void *p, size_t n)
{
    if (!p)
        return mem_alloc(n);
    if (mem_refuse())
        return NULL;
    calls++;
    size_t before = malloc_usable_size(p);
    void *q = realloc(p, n ? n : 1);
    if (q)
        mem_took(malloc_usable_size(q) - before);
    return q;
}

void mem_free(void *p)
{
    mem_gave(malloc_usable_size(p));
    mem_heap_give(p);
}
