/* SPDX-License-Identifier: MIT */
/* mem/mem_pool.c: recycled objects of one size, counted. */
#include "mem/mem.h"
#include <assert.h>

struct pool {
    const char *name;
    struct mem_class class_;
    size_t size, cap, live;
};

enum err pool_new(const char *name, size_t object_size, size_t cap, struct pool **ret_pool)
{
    struct pool *p = MEM_NEW(struct pool);
    if (!p)
        return ERR_NOMEM;
    *p = (struct pool){
        .name = name, .class_ = mem_class_of(object_size), .size = object_size, .cap = cap};
    *ret_pool = p;
    return ERR_OK;
}

void pool_free(struct pool *p)
{
    assert(!p || p->live == 0);
    mem_free(p);
}

void *pool_get(struct pool *p)
{
    if (p->cap && p->live >= p->cap)
        return NULL;
    void *object = mem_class_take_cleared(p->class_, p->size);
    if (object)
        p->live++;
    return object;
}

void pool_put(struct pool *p, void *object)
{
    if (!object)
        return;
    assert(p->live > 0);
    p->live--;
    mem_class_give(p->class_, object);
}

size_t pool_live(const struct pool *p)
{
    return p->live;
}

const char *pool_name(const struct pool *p)
{
    return p->name;
}
