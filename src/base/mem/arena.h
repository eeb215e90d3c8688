/* SPDX-License-Identifier: MIT */
/* mem/arena.h: memory that ends as a whole.                                     layer: base
 *
 * Shape   a first piece given by the caller (may be empty), then recycled chunks (mem_take) up to a
 *         cap.
 * Life    everything allocated ends at arena_reset (first piece is reused) or arena_done.
 * Errors  arena_alloc returns NULL when over the cap or out of memory.
 * Threads one at a time.
 */
#ifndef MEM_ARENA_H
#define MEM_ARENA_H
#include <stddef.h>
#include <stdint.h>
#include "err/err.h"

struct arena_chunk;

struct arena {
    char *p, *end; /* free part of the current piece */
    char *first;   /* caller's piece */
    size_t first_n;
    size_t used, cap; /* octets from the heap so far; cap of them */
    struct arena_chunk *chunks;
};

/* first may be NULL with n == 0; cap bounds heap use beyond it. */
void arena_init(struct arena *a, void *first, size_t first_n, size_t cap);
void arena_reset(struct arena *a);
void arena_done(struct arena *a);
enum { ARENA_ALIGN = 16 };
/* What the current piece has no room for, or n == 0. */
void *arena_alloc_more(struct arena *a, size_t n);
/* n octets aligned to 16, not cleared. NULL: over the cap. n == 0 gives a valid pointer. */
static inline void *arena_alloc(struct arena *a, size_t n)
{
    size_t whole = (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (whole - 1 >= (size_t)((uintptr_t)a->end - (uintptr_t)a->p)) /* none asked for, too: 0 - 1 */
        return arena_alloc_more(a, n);
    void *p = a->p;
    a->p += whole;
    return p;
}
/* Cleared; checks count * size for overflow. */
void *arena_calloc(struct arena *a, size_t count, size_t size);
#define ARENA_NEW(a, type) ((type *)arena_calloc((a), 1, sizeof(type)))

#endif
