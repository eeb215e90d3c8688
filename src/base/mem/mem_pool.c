/* SPDX-License-Identifier: MIT */
/* mem/mem_pool.c: objects of one size; the last returned is the next given. */
#include "mem/mem.h"
#include "mem/mem_priv.h"
#include <assert.h>
#include <string.h>

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
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)0)
#endif

/* Returned objects are kept for the next, so that a steady load calls no allocator; what a peak
 * needed beyond that goes back, so
 * that one worker's peak does not stay with it when the load has moved to another. */
enum {
    KEEP_OCTETS = 512 * 1024,
    KEEP_MIN = 8,
    DEAD_OCTETS = 64, /* of a returned object: stale reads meet 0xdd, at the price of one line */
};

struct vacant {
    struct vacant *next;
};

struct pool {
    const char *name;
    size_t size, cap, live;
    struct vacant *vacant;
    size_t vacant_n, keep;
};

enum err pool_new(const char *name, size_t object_size, size_t cap, struct pool **ret_pool)
{
    struct pool *p = MEM_NEW(struct pool);
    if (!p)
        return ERR_NOMEM;
    p->name = name;
    p->size = object_size < sizeof(struct vacant) ? sizeof(struct vacant) : object_size;
    p->cap = cap;
    p->keep = KEEP_OCTETS / p->size > KEEP_MIN ? KEEP_OCTETS / p->size : KEEP_MIN;
    *ret_pool = p;
    return ERR_OK;
}

static void *take_vacant(struct pool *p)
{
    struct vacant *v = p->vacant;
    if (!v)
        return NULL;
    ASAN_UNPOISON_MEMORY_REGION(v, p->size);
    p->vacant = v->next;
    p->vacant_n--;
    return v;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    assert(p->live == 0);
    for (void *object; (object = take_vacant(p));)
        mem_free(object);
    mem_free(p);
}

void *pool_get(struct pool *p)
{
    if ((p->cap && p->live >= p->cap) || mem_refuse())
        return NULL;
    void *object = take_vacant(p);
    if (!object && !(object = mem_alloc(p->size)))
        return NULL;
    p->live++;
    return memset(object, 0, p->size);
}

void pool_put(struct pool *p, void *object)
{
    if (!object)
        return;
    assert(p->live > 0);
    p->live--;
    if (p->vacant_n >= p->keep) {
        mem_free(object);
        return;
    }
    memset(object, 0xdd, p->size < DEAD_OCTETS ? p->size : DEAD_OCTETS);
    struct vacant *v = object;
    v->next = p->vacant;
    p->vacant = v;
    p->vacant_n++;
    ASAN_POISON_MEMORY_REGION(object, p->size);
}

size_t pool_live(const struct pool *p)
{
    return p->live;
}

const char *pool_name(const struct pool *p)
{
    return p->name;
}
