/* SPDX-License-Identifier: MIT */
/* mem/mem_lib.c: the allocator that a library is given: the heap, behind what this thread freed last.
 *
 * A library asks for the same sizes again and again. What it frees waits in its thread for the next request
 * of that very size: nothing is rounded up, nothing stands in front of it, so that what it keeps is as
 * large as without us. The heap's chunks are 8 octets more than a multiple of 16, and know their size. */
#include "mem/mem.h"
#include "mem/mem_priv.h"
#include <malloc.h>
#include <stdlib.h>

enum {
    GRAIN = 16,
    LARGEST = 20 * 1024, /* with room for a TLS record's buffer */
    SIZES = LARGEST / GRAIN,
    KEEP_OCTETS = 256 * 1024,
};

struct vacant {
    struct vacant *next;
};

static _Thread_local struct {
    struct vacant *first[SIZES]; /* each holds at least 8 octets more than its number of grains */
    size_t octets;
} kept;

void *mem_lib_alloc(size_t n)
{
    size_t grains = n > 8 + GRAIN ? (n - 8 + GRAIN - 1) / GRAIN : 1;
    struct vacant *v = grains < SIZES ? kept.first[grains] : NULL;
    if (!v)
        return malloc(n);
    kept.first[grains] = v->next;
    kept.octets -= grains * GRAIN;
    return v;
}

void *mem_lib_realloc(void *p, size_t n)
{
    return realloc(p, n);
}

void mem_lib_tidy(void)
{
    for (size_t i = 0; kept.octets > 0; i++) {
        for (struct vacant *v; (v = kept.first[i]);) {
            kept.first[i] = v->next;
            kept.octets -= i * GRAIN;
            free(v);
        }
    }
}

void mem_lib_free(void *p)
{
    size_t grains = p ? (malloc_usable_size(p) - 8) / GRAIN : 0;
    if (WITH_ASAN || grains == 0 || grains >= SIZES || !mem_thread_watched()) {
        free(p);
        return;
    }
    /* Sizes of another time, or a peak: what is of use comes again. */
    if (kept.octets > KEEP_OCTETS)
        mem_lib_tidy();
    struct vacant *v = p;
    v->next = kept.first[grains];
    kept.first[grains] = v;
    kept.octets += grains * GRAIN;
}
