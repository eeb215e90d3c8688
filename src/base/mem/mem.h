/* SPDX-License-Identifier: MIT */
/* mem/mem.h: heap, recycled objects, pools of them, and counted blocks of octets. layer: base
 *
 * Heap    mem_alloc and friends are malloc with accounting and, in tests, failure on demand.
 * Recycle what mem_give brings back stays with its thread, warm, for the next mem_take of about
 *         that size: at steady load nothing of a known size is asked for elsewhere. Beyond that objects and
 *         blocks have memory of their own (mem_depot.c), which stays with the process for their like.
 * Library one that takes its allocator from us gets the heap, behind what its thread freed last.
 * Pool    recycled objects of one size, counted, with a cap on live ones.
 * Block   a counted run of octets with BLOCK_SLACK readable octets beyond n (the parser reads
 *         wide); pooled by size class per worker. A received message lives in one: octets, index,
 *         arena.
 * Threads heap, recycling: any. A pool or block pool belongs to one worker; a block may be unref'd
 *         elsewhere: it goes back to its pool's owner by an atomic list that the owner drains.
 */
#ifndef MEM_MEM_H
#define MEM_MEM_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "err/err.h"

void *mem_alloc(size_t n);                   /* NULL: out of memory; not cleared */
void *mem_calloc(size_t count, size_t size); /* cleared; overflow checked */
void *mem_realloc(void *p, size_t n);
void mem_free(void *p); /* NULL is fine */
#define MEM_NEW(type) ((type *)mem_calloc(1, sizeof(type)))

/* Four classes to each doubling from 64 octets to 64 KiB: 64, 80, 96, 112, 128, 160, ... What is larger comes
 * from the heap. Of a size that the compiler knows it knows the class. */
enum { MEM_SMALLEST = 6, MEM_LARGEST = 16, MEM_CLASSES = (MEM_LARGEST - MEM_SMALLEST) * 4 + 1 };
struct mem_class {
    size_t size;
    unsigned index; /* MEM_CLASSES: none, and size is what was asked for */
};
static inline struct mem_class mem_class_of(size_t n)
{
    if (n <= (size_t)1 << MEM_SMALLEST)
        return (struct mem_class){(size_t)1 << MEM_SMALLEST, 0};
    if (n > (size_t)1 << MEM_LARGEST)
        return (struct mem_class){n, MEM_CLASSES};
    unsigned power = 63 - (unsigned)__builtin_clzll(n - 1);
    unsigned quarter = (unsigned)((n - 1) >> (power - 2)) & 3;
    return (struct mem_class){(size_t)(quarter + 5) << (power - 2),
                              (power - MEM_SMALLEST) * 4 + quarter + 1};
}
void *mem_class_take(struct mem_class c);
void *mem_class_take_cleared(struct mem_class c, size_t n); /* the first n octets */
void mem_class_give(struct mem_class c, void *p);

/* n octets as mem_alloc; both ends know n. */
static inline void *mem_take(size_t n)
{
    return mem_class_take(mem_class_of(n));
}
static inline void *mem_take_cleared(size_t n)
{
    return mem_class_take_cleared(mem_class_of(n), n);
}
/* n: as taken. Any thread: it is kept where it ends. NULL is fine. */
static inline void mem_give(void *p, size_t n)
{
    mem_class_give(mem_class_of(n), p);
}
/* What this thread keeps goes back to the heap; its end does so too. */
void mem_tidy(void);
#define MEM_TAKE(type) ((type *)mem_take_cleared(sizeof(type)))
#define MEM_GIVE(p)    mem_give((p), sizeof(*(p)))

/* malloc, realloc and free for a library: neither counted by mem_live nor refused by mem_fail_after. */
void *mem_lib_alloc(size_t n);
void *mem_lib_realloc(void *p, size_t n);
void mem_lib_free(void *p);

/* One heap for all threads: once, before threads start. */
void mem_settle(void);
/* It grows in large steps from now on: once, when the tables of a fixed size are made. What such a step
 * left unused is cleared, and so touched, by mem_calloc, where fresh memory is left alone. */
void mem_stride(void);
/* Live allocations made through mem_*, without those that this thread keeps for reuse; leak checks
 * in tests. */
size_t mem_live(void);
/* Octets of what lives, of all threads together, touched or not: what is kept for reuse, and what libraries have,
 * is none of it. */
size_t mem_allocated(void);
/* Octets of the regions that objects and blocks are cut from, in use or not: they stay with the process. */
size_t mem_regions(void);
/* Another one will soon be needed: true to one caller, who has mem_region_ahead called by a thread that may take
 * milliseconds. Where nobody asks, a region is made when it is needed. */
bool mem_region_wanted(void);
void mem_region_ahead(void);
/* How often this thread has asked the heap; a steady load does not move it. */
size_t mem_calls(void);
/* The nth allocation from now (1 = next) and all later fail; 0: none. mem_take, pool_get and
 * block_new count as allocations even where they reuse memory. Tests only. */
void mem_fail_after(size_t n);
/* The nth alone: what goes on behind it is seen. */
void mem_fail_once(size_t n);
/* For others that reuse memory: this allocation is to fail. */
bool mem_refuse_now(void);

struct pool;
/* name: static text for metrics. cap: live objects; 0 = no cap. Errors: ERR_NOMEM. */
MUST_USE enum err pool_new(const char *name, size_t object_size, size_t cap,
                           struct pool **ret_pool);
void pool_free(struct pool *p);              /* all objects must be back */
void *pool_get(struct pool *p);              /* cleared; NULL: over the cap */
void pool_put(struct pool *p, void *object); /* NULL is fine */
size_t pool_live(const struct pool *p);
const char *pool_name(const struct pool *p);

enum { BLOCK_SLACK = 64 };

struct block_pool;
struct block {
    char *p;         /* octets */
    uint32_t n, cap; /* used, available; BLOCK_SLACK more are readable beyond cap */
    uint32_t class_; /* size class, of the pool */
    _Atomic uint32_t refs;
    struct block_pool *pool; /* whom it returns to */
    struct block *next;      /* in the pool's free list */
};

/* cap_bytes: live octets of all blocks together; 0 = no cap. */
MUST_USE enum err block_pool_new(size_t cap_bytes, struct block_pool **ret_pool);
/* Blocks still out there stay valid: the pool's memory ends with the last of them. */
void block_pool_free(struct block_pool *bp);
/* A block with room for at least cap octets, n == 0, one reference. NULL: over the cap. Owner
 * thread only. */
struct block *block_new(struct block_pool *bp, size_t cap);
struct block *block_ref(struct block *b);
void block_unref(struct block *b); /* NULL is fine; any thread */
/* Blocks out there. Owner thread only. */
size_t block_pool_live(struct block_pool *bp);

#endif
