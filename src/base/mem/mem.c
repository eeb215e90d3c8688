/* SPDX-License-Identifier: MIT */
/* mem/mem.c: the heap, with accounting. */
#include "mem/mem.h"
#include "mem/mem_priv.h"
#include <stdlib.h>

static _Atomic size_t live;
/* 0: nothing fails. 1: the next fails, and it stays 1. More: counts down. */
static _Atomic size_t fail_in;

void mem_fail_after(size_t n)
{
    atomic_store(&fail_in, n);
}

size_t mem_live(void)
{
    return atomic_load(&live);
}

bool mem_refuse(void)
{
    size_t left = atomic_load_explicit(&fail_in, memory_order_relaxed);
    while (left > 1 && !atomic_compare_exchange_weak(&fail_in, &left, left - 1))
        continue;
    return left == 1;
}

static void *count(void *p)
{
    if (p)
        atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    return p;
}

void *mem_alloc(size_t n)
{
    return mem_refuse() ? NULL : count(malloc(n ? n : 1));
}

void *mem_calloc(size_t n, size_t size)
{
    if ((size && n > SIZE_MAX / size) || mem_refuse())
        return NULL;
    return count(calloc(n ? n : 1, size ? size : 1));
}

void *mem_realloc(void *p, size_t n)
{
    if (!p)
        return mem_alloc(n);
    return mem_refuse() ? NULL : realloc(p, n ? n : 1);
}

void mem_free(void *p)
{
    if (!p)
        return;
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    free(p);
}
