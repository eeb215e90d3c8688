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
/* n octets aligned to 16, not cleared. NULL: over the cap. n == 0 gives a valid pointer. */
void *arena_alloc(struct arena *a, size_t n);
/* Cleared; checks count * size for overflow. */
void *arena_calloc(struct arena *a, size_t count, size_t size);
#define ARENA_NEW(a, type) ((type *)arena_calloc((a), 1, sizeof(type)))

#endif
