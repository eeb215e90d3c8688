/* SPDX-License-Identifier: MIT */
/* mem/mem_block.c: counted blocks by size class.
 *
 *   owner thread                        any other thread
 *   block_new  <- kept[class]           last block_unref -> returned (atomic stack, push only)
 *        when that is empty, takes all of `returned` at once, so there is no ABA
 *   last block_unref -> kept[class]
 *
 * The counts are the owner's alone: what others returned is counted when it is taken from there.
 *
 * The pool outlives block_pool_free until its last block is back: a block that is still queued
 * somewhere at shutdown never points at a freed pool. block_pool_free closes `returned` and adds
 * the blocks still out there to `orphans`; each that ends takes one off; who brings it to zero frees
 * the pool. It may go below zero first, as the closing and the adding are two steps, but zero is
 * reached once. */
#include "mem/mem.h"
#include "mem/mem_priv.h"
#include <assert.h>
#include <string.h>

enum { CLASSES = 7, SINGLE = CLASSES };
/* octets of a class, and how many of it are kept for reuse (512 KiB of each a worker, 1 MiB of
 * the last). The small ones hold what stands for long: answers that are kept to be repeated. */
static const struct {
    uint32_t cap, keep;
} class_of[CLASSES] = {{512, 1024},     {768, 683},     {1024, 512},    {2 * 1024, 256},
                       {4 * 1024, 128}, {8 * 1024, 64}, {64 * 1024, 16}};

enum { STEP = 256, STEPPED = 8 * 1024 / STEP };
/* By the octets that are asked for, in steps: the first class that has room. */
static const uint8_t class_by_step[STEPPED + 1] = {
    [0 ... 2] = 0, [3] = 1, [4] = 2, [5 ... 8] = 3, [9 ... 16] = 4, [17 ... 32] = 5,
};

static uint32_t class_for(size_t cap)
{
    if (cap <= STEPPED * STEP)
        return class_by_step[(cap + STEP - 1) / STEP];
    return cap <= class_of[CLASSES - 1].cap ? CLASSES - 1 : SINGLE;
}

struct block_pool {
    struct block *kept[CLASSES];
    uint32_t kept_n[CLASSES];
    size_t cap, octets, live;         /* of blocks out there */
    _Atomic(const void *) owner;      /* mark of the thread that last called block_new */
    _Atomic(struct block *) returned; /* from other threads; POOL_CLOSED: no owner any more */
    _Atomic int64_t orphans;
};

static struct depot depot[CLASSES] = {[0 ... CLASSES - 1] = DEPOT_INIT};

static struct block closed;
#define POOL_CLOSED (&closed)

/* Its address names the thread. */
static _Thread_local char thread_mark;

enum err block_pool_new(size_t cap_bytes, struct block_pool **ret_pool)
{
    struct block_pool *bp = MEM_NEW(struct block_pool);
    if (!bp)
        return ERR_NOMEM;
    bp->cap = cap_bytes;
    *ret_pool = bp;
    return ERR_OK;
}

static size_t size_of(uint32_t cap)
{
    return sizeof(struct block) + cap + BLOCK_SLACK;
}

static void discard(struct block *b)
{
    if (b->class_ != SINGLE && size_of(b->cap) <= DEPOT_LARGEST)
        depot_give(&depot[b->class_], b);
    else
        mem_heap_give(b);
}

/* b is out there no longer. */
static void take_back(struct block_pool *bp, struct block *b)
{
    uint32_t c = b->class_;
    bp->octets -= b->cap;
    bp->live--;
    if (c == SINGLE || bp->kept_n[c] >= class_of[c].keep) {
        discard(b);
        return;
    }
    b->next = bp->kept[c];
    bp->kept[c] = b;
    bp->kept_n[c]++;
}

/* What others returned; leave: POOL_CLOSED, or NULL. */
static void drain(struct block_pool *bp, struct block *leave)
{
    struct block *b = atomic_exchange_explicit(&bp->returned, leave, memory_order_acq_rel);
    while (b) {
        struct block *next = b->next;
        take_back(bp, b);
        b = next;
    }
}

void block_pool_free(struct block_pool *bp)
{
    if (!bp)
        return;
    atomic_store(&bp->owner, NULL); /* from now on every return is a foreign one */
    drain(bp, POOL_CLOSED);
    for (int c = 0; c < CLASSES; c++) {
        while (bp->kept[c]) {
            struct block *b = bp->kept[c];
            bp->kept[c] = b->next;
            discard(b);
        }
    }
    int64_t live = (int64_t)bp->live;
    if (atomic_fetch_add_explicit(&bp->orphans, live, memory_order_acq_rel) + live == 0)
        mem_free(bp);
}

static struct block *allocate(struct block_pool *bp, uint32_t class, uint32_t cap)
{
    size_t size = size_of(cap);
    struct block *b = class != SINGLE && size <= DEPOT_LARGEST ? depot_take(&depot[class], size)
                                                               : mem_heap_take(size);
    if (!b)
        return NULL;
    b->p = (char *)(b + 1);
    b->cap = cap;
    b->class_ = class;
    b->pool = bp;
    memset(b->p, 0, (size_t)cap + BLOCK_SLACK);
    return b;
}

static bool over_cap(const struct block_pool *bp, uint32_t octets)
{
    return bp->cap && (bp->octets > bp->cap || octets > bp->cap - bp->octets);
}

static struct block *take_kept(struct block_pool *bp, uint32_t class)
{
    struct block *b = bp->kept[class];
    bp->kept[class] = b->next;
    bp->kept_n[class]--;
    __builtin_prefetch(b->next, 1); /* it may have lain there for long: the next taker's wait */
    return b;
}

/* None is kept, or the cap is near: what others returned counts, then the heap. */
__attribute__((noinline)) static struct block *find_block(struct block_pool *bp, uint32_t class,
                                                          uint32_t octets)
{
    drain(bp, NULL);
    if (over_cap(bp, octets))
        return NULL;
    return class != SINGLE && bp->kept[class] ? take_kept(bp, class) : allocate(bp, class, octets);
}

struct block *block_new(struct block_pool *bp, size_t cap)
{
    if (cap > UINT32_MAX - BLOCK_SLACK || mem_refuse())
        return NULL;
    uint32_t c = class_for(cap);
    uint32_t octets = c == SINGLE ? (uint32_t)cap : class_of[c].cap;
    if (atomic_load_explicit(&bp->owner, memory_order_relaxed) != &thread_mark) {
        atomic_store_explicit(&bp->owner, &thread_mark, memory_order_relaxed);
        (void)mem_thread_watched();
    }
    bool at_hand = c != SINGLE && bp->kept[c] && !over_cap(bp, octets);
    struct block *b = at_hand ? take_kept(bp, c) : find_block(bp, c, octets);
    if (!b)
        return NULL;
    b->n = 0;
    b->next = NULL;
    atomic_store_explicit(&b->refs, 1, memory_order_relaxed);
    bp->octets += octets;
    bp->live++;
    mem_took(octets);
    return b;
}

struct block *block_ref(struct block *b)
{
    uint32_t before = atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
    return b;
}

/* False: the pool is closed. */
static bool push_returned(struct block_pool *bp, struct block *b)
{
    struct block *head = atomic_load_explicit(&bp->returned, memory_order_relaxed);
    do {
        if (head == POOL_CLOSED)
            return false;
        b->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&bp->returned, &head, b, memory_order_release,
                                                    memory_order_relaxed));
    return true;
}

static bool last_of(struct block *b)
{
    /* The holder of the only reference need not lock the line: nobody else can take one. */
    uint32_t before = atomic_load_explicit(&b->refs, memory_order_acquire);
    if (before == 1)
        atomic_store_explicit(&b->refs, 0, memory_order_relaxed);
    else
        before = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    return before == 1;
}

void block_unref(struct block *b)
{
    if (!b || !last_of(b))
        return;
    struct block_pool *bp = b->pool;
    mem_gave(b->cap);
    if (atomic_load_explicit(&bp->owner, memory_order_relaxed) == &thread_mark) {
        take_back(bp, b);
        return;
    }
    (void)mem_thread_watched();
    if (!push_returned(bp, b)) {
        discard(b);
        if (atomic_fetch_sub_explicit(&bp->orphans, 1, memory_order_acq_rel) == 1)
            mem_free(bp);
    }
}

size_t block_pool_live(struct block_pool *bp)
{
    drain(bp, NULL);
    return bp->live;
}
