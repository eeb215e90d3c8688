/* SPDX-License-Identifier: MIT */
/* mem/arena.c: bump allocation over a list of pieces.
 *
 * p..end is the free part of one piece. When it is too small a chunk comes from the heap, and of
 * the two the one with more room left stays current: one large object does not waste the rest of a
 * piece. */
#include "mem/arena.h"
#include "mem/mem.h"
#include <stdalign.h>
#include <string.h>

enum { ALIGN = ARENA_ALIGN };

struct arena_chunk {
    alignas(ALIGN) struct arena_chunk *next;
    size_t size; /* with this head */
};

enum {
    CHUNK_FIRST = 1024 - sizeof(struct arena_chunk),
    CHUNK_MAX = 64 * 1024 - sizeof(struct arena_chunk),
};

static void use_first(struct arena *a)
{
    a->p = a->end = NULL;
    if (!a->first_n)
        return;
    size_t skip = (size_t)(-(uintptr_t)a->first & (ALIGN - 1));
    if (skip < a->first_n) {
        a->p = a->first + skip;
        a->end = a->first + a->first_n;
    }
}

void arena_init(struct arena *a, void *first, size_t first_n, size_t cap)
{
    *a = (struct arena){.first = first, .first_n = first ? first_n : 0, .cap = cap};
    use_first(a);
}

void arena_reset(struct arena *a)
{
    while (a->chunks) {
        struct arena_chunk *chunk = a->chunks;
        a->chunks = chunk->next;
        mem_give(chunk, chunk->size);
    }
    a->used = 0;
    use_first(a);
}

void arena_done(struct arena *a)
{
    arena_reset(a);
    *a = (struct arena){0};
}

static size_t left(const char *p, const char *end)
{
    return p ? (size_t)(end - p) : 0;
}

/* n is a multiple of ALIGN. */
static void *from_new_chunk(struct arena *a, size_t n)
{
    if (n > a->cap - a->used)
        return NULL;
    size_t size = a->used ? a->used : CHUNK_FIRST; /* doubles what the heap gave so far */
    if (size > CHUNK_MAX)
        size = CHUNK_MAX;
    if (size > a->cap - a->used)
        size = a->cap - a->used;
    if (size < n)
        size = n;
    struct arena_chunk *chunk =
        size <= SIZE_MAX - sizeof *chunk ? mem_take(sizeof *chunk + size) : NULL;
    if (!chunk)
        return NULL;
    chunk->next = a->chunks;
    chunk->size = sizeof *chunk + size;
    a->chunks = chunk;
    a->used += size;
    char *p = (char *)(chunk + 1), *end = p + size;
    if (left(p + n, end) > left(a->p, a->end)) {
        a->p = p + n;
        a->end = end;
    }
    return p;
}

void *arena_alloc_more(struct arena *a, size_t n)
{
    if (n > SIZE_MAX - ALIGN)
        return NULL;
    /* Never zero octets: each call's pointer is its own. */
    n = n ? (n + ALIGN - 1) & ~(size_t)(ALIGN - 1) : ALIGN;
    if (n > left(a->p, a->end))
        return from_new_chunk(a, n);
    void *p = a->p;
    a->p += n;
    return p;
}

void *arena_calloc(struct arena *a, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return NULL;
    void *p = arena_alloc(a, count * size);
    if (p)
        memset(p, 0, count * size);
    return p;
}
