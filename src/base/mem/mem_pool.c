/* SPDX-License-Identifier: MIT */
/* mem/mem_pool.c: objects of one size from slabs; the last returned is the next given. */
#include "mem/mem.h"
#include "mem/mem_priv.h"
#include <assert.h>
#include <stdalign.h>
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

enum {
    ALIGN = 16,
    SLAB_OCTETS = 32 * 1024,
    SLAB_OBJECTS_MIN = 8,
    DEAD_OCTETS = 64, /* of a returned object: stale reads meet 0xdd, at the price of one line */
};

struct slab {
    alignas(ALIGN) struct slab *next;
};
struct vacant {
    struct vacant *next;
};

struct pool {
    const char *name;
    size_t size, cap, live;
    size_t per_slab;
    struct slab *slabs;
    struct vacant *vacant;
    char *fresh; /* objects of the newest slab that were never given out */
    size_t fresh_left;
};

enum err pool_new(const char *name, size_t object_size, size_t cap, struct pool **ret_pool)
{
    struct pool *p = MEM_NEW(struct pool);
    if (!p)
        return ERR_NOMEM;
    size_t size = object_size < sizeof(struct vacant) ? sizeof(struct vacant) : object_size;
    p->name = name;
    p->size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    p->cap = cap;
    p->per_slab = SLAB_OCTETS / p->size;
    if (p->per_slab < SLAB_OBJECTS_MIN)
        p->per_slab = SLAB_OBJECTS_MIN;
    if (cap && p->per_slab > cap)
        p->per_slab = cap;
    *ret_pool = p;
    return ERR_OK;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    assert(p->live == 0);
    while (p->slabs) {
        struct slab *slab = p->slabs;
        p->slabs = slab->next;
        ASAN_UNPOISON_MEMORY_REGION(slab, sizeof *slab + p->per_slab * p->size);
        mem_free(slab);
    }
    mem_free(p);
}

static bool add_slab(struct pool *p)
{
    if (p->size > (SIZE_MAX - sizeof(struct slab)) / p->per_slab)
        return false;
    struct slab *slab = mem_alloc(sizeof *slab + p->per_slab * p->size);
    if (!slab)
        return false;
    slab->next = p->slabs;
    p->slabs = slab;
    p->fresh = (char *)(slab + 1);
    p->fresh_left = p->per_slab;
    ASAN_POISON_MEMORY_REGION(p->fresh, p->per_slab * p->size);
    return true;
}

void *pool_get(struct pool *p)
{
    if ((p->cap && p->live >= p->cap) || mem_refuse())
        return NULL;
    void *object = p->vacant;
    if (!object) {
        if (!p->fresh_left && !add_slab(p))
            return NULL;
        object = p->fresh;
        p->fresh += p->size;
        p->fresh_left--;
    }
    ASAN_UNPOISON_MEMORY_REGION(object, p->size);
    if (object == p->vacant)
        p->vacant = p->vacant->next;
    p->live++;
    return memset(object, 0, p->size);
}

void pool_put(struct pool *p, void *object)
{
    if (!object)
        return;
    assert(p->live > 0);
    p->live--;
    memset(object, 0xdd, p->size < DEAD_OCTETS ? p->size : DEAD_OCTETS);
    struct vacant *v = object;
    v->next = p->vacant;
    p->vacant = v;
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
