/* SPDX-License-Identifier: MIT */
/* mem/mem_block.c: counted blocks by size class.
 *
 *   owner thread                        any other thread
 *   block_new  <- kept[class]           last block_unref -> returned (atomic stack, push only)
 *        when that is empty, takes all of `returned` at once, so there is no ABA
 *   last block_unref -> kept[class]
 *
 * The pool outlives block_pool_free until its last block is back: a block that is still queued
 * somewhere at shutdown never points at a freed pool. */
#include "mem/mem.h"
#include "mem/mem_priv.h"
#include <assert.h>
#include <stdalign.h>
#include <stdbool.h>
#include <string.h>

enum { CLASSES = 5, SINGLE = CLASSES };
/* octets of a class, and how many of it are kept for reuse (512 KiB of each a worker, 1 MiB of
 * the last) */
static const struct {
    uint32_t cap, keep;
} class_of[CLASSES] = {
    {1024, 512}, {2 * 1024, 256}, {4 * 1024, 128}, {8 * 1024, 64}, {64 * 1024, 16}};

struct block_pool {
    struct block *kept[CLASSES]; /* owner only */
    uint32_t kept_n[CLASSES];
    size_t cap;
    _Atomic(const void *) owner;      /* mark of the thread that last called block_new */
    _Atomic(struct block *) returned; /* from other threads */
    _Atomic size_t octets;            /* live */
    _Atomic size_t refs;              /* live blocks, and one for the owner */
};

/* Its address names the thread. */
static _Thread_local char thread_mark;

enum err block_pool_new(size_t cap_bytes, struct block_pool **ret_pool)
{
    struct block_pool *bp = MEM_NEW(struct block_pool);
    if (!bp)
        return ERR_NOMEM;
    bp->cap = cap_bytes;
    atomic_init(&bp->refs, 1);
    *ret_pool = bp;
    return ERR_OK;
}

static void keep(struct block_pool *bp, struct block *b)
{
    uint32_t c = b->class_;
    if (bp->kept_n[c] >= class_of[c].keep) {
        mem_free(b);
        return;
    }
    b->next = bp->kept[c];
    bp->kept[c] = b;
    bp->kept_n[c]++;
}

static void drain(struct block_pool *bp)
{
    struct block *b = atomic_exchange_explicit(&bp->returned, NULL, memory_order_acquire);
    while (b) {
        struct block *next = b->next;
        keep(bp, b);
        b = next;
    }
}

static void drop_pool(struct block_pool *bp)
{
    if (atomic_fetch_sub_explicit(&bp->refs, 1, memory_order_acq_rel) != 1)
        return;
    drain(bp);
    for (int c = 0; c < CLASSES; c++) {
        while (bp->kept[c]) {
            struct block *b = bp->kept[c];
            bp->kept[c] = b->next;
            mem_free(b);
        }
    }
    mem_free(bp);
}

void block_pool_free(struct block_pool *bp)
{
    if (!bp)
        return;
    atomic_store(&bp->owner, NULL); /* from now on every return is a foreign one */
    drop_pool(bp);
}

static struct block *allocate(struct block_pool *bp, uint32_t class, uint32_t cap)
{
    size_t size = sizeof(struct block) + cap + BLOCK_SLACK;
    struct block *b = mem_alloc(size);
    if (!b)
        return NULL;
    b->p = (char *)(b + 1);
    b->cap = cap;
    b->class_ = class;
    b->pool = bp;
    memset(b->p, 0, (size_t)cap + BLOCK_SLACK);
    return b;
}

struct block *block_new(struct block_pool *bp, size_t cap)
{
    if (cap > UINT32_MAX - BLOCK_SLACK || mem_refuse())
        return NULL;
    uint32_t c = 0;
    while (c < CLASSES && class_of[c].cap < cap)
        c++;
    uint32_t octets = c == SINGLE ? (uint32_t)cap : class_of[c].cap;
    if (bp->cap) {
        size_t live = atomic_load_explicit(&bp->octets, memory_order_relaxed);
        if (live > bp->cap || octets > bp->cap - live)
            return NULL;
    }
    atomic_store_explicit(&bp->owner, &thread_mark, memory_order_relaxed);
    struct block *b = NULL;
    if (c != SINGLE) {
        if (!bp->kept[c])
            drain(bp);
        b = bp->kept[c];
    }
    if (b) {
        bp->kept[c] = b->next;
        bp->kept_n[c]--;
    } else if (!(b = allocate(bp, c, octets))) {
        return NULL;
    }
    b->n = 0;
    b->next = NULL;
    atomic_store_explicit(&b->refs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&bp->octets, octets, memory_order_relaxed);
    atomic_fetch_add_explicit(&bp->refs, 1, memory_order_relaxed);
    return b;
}

struct block *block_ref(struct block *b)
{
    uint32_t before = atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
    return b;
}

static void push_returned(struct block_pool *bp, struct block *b)
{
    struct block *head = atomic_load_explicit(&bp->returned, memory_order_relaxed);
    do
        b->next = head;
    while (!atomic_compare_exchange_weak_explicit(&bp->returned, &head, b, memory_order_release,
                                                  memory_order_relaxed));
}

void block_unref(struct block *b)
{
    if (!b)
        return;
    uint32_t before = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before > 1)
        return;
    struct block_pool *bp = b->pool;
    atomic_fetch_sub_explicit(&bp->octets, b->cap, memory_order_relaxed);
    if (b->class_ == SINGLE)
        mem_free(b);
    else if (atomic_load_explicit(&bp->owner, memory_order_relaxed) == &thread_mark)
        keep(bp, b);
    else
        push_returned(bp, b);
    drop_pool(bp);
}

size_t block_pool_live(const struct block_pool *bp)
{
    return atomic_load_explicit(&bp->refs, memory_order_relaxed) - 1;
}
