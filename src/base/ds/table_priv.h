/* SPDX-License-Identifier: MIT */
/* table_priv.h: the parts of table among themselves.
 *
 *   table.c       shards: their order, look-ups, writers, walks
 *   table_heap.c  where records lie
 */
#ifndef TABLE_PRIV_H
#define TABLE_PRIV_H
#include <pthread.h>
#include "ds/table.h"

/* A key with its value, as it lies in memory: octets are key_n of the key, then value_n. */
struct record {
    uint64_t version;
    uint32_t value_n;
    uint16_t key_n;
    char octets[];
};
static inline size_t record_size(size_t key_n, size_t value_n)
{
    return offsetof(struct record, octets) + key_n + value_n;
}

/* ---- table_heap.c ----
 * Memory for the records of one table. A place is a number of 32 bits, half of what a pointer takes;
 * what a record leaves is filled by the next of its size. Chunks of 64 KiB hold records of one class of
 * sizes each; a record too large for that has a chunk of its own.
 *
 * Locks   one inside, short, never together with a shard's. Who keeps a record from being freed (a
 *         shard's lock does) may read it. */
enum {
    HEAP_UNIT = 8,
    HEAP_UNITS = 8192, /* of a chunk */
    HEAP_LIST = 1024,  /* chunks of a list */
    HEAP_LISTS = 512,
    HEAP_CLASSES = 144,
};
_Static_assert((uint64_t)HEAP_LISTS *HEAP_LIST *HEAP_UNITS == (uint64_t)UINT32_MAX + 1,
               "every place has a number");

struct heap_chunk {
    uint32_t next,
        prev;        /* numbers; of its class, with room, or (next) of those not in use; 0: none */
    uint16_t class_; /* HEAP_CLASSES: one record */
    uint16_t live;   /* records */
    uint16_t vacant; /* first unit given back + 1; 0: none. There stands the next so */
    uint16_t fresh;  /* units from here on were never given */
};

/* By number: what readers need, apart from what changes. */
struct heap_list {
    char *octets[HEAP_LIST]; /* NULL: not in use */
    struct heap_chunk chunk[HEAP_LIST];
};

struct heap {
    pthread_mutex_t lock;
    struct heap_list *list[HEAP_LISTS]; /* LOCK; each stays once it is there */
    uint32_t chunks;                    /* LOCK: numbers ever given, 0 among them */
    uint32_t unused;                    /* LOCK: first number not in use; 0: none */
    uint32_t roomy[HEAP_CLASSES];       /* LOCK: first with room; 0: none */
};

void heap_init(struct heap *h);
void heap_done(struct heap *h); /* all records end */
/* Room for a record of n octets. Errors: ERR_NOMEM.
 *   ret_at  never 0 */
MUST_USE enum err heap_get(struct heap *h, size_t n, uint32_t *ret_at);
void heap_put(struct heap *h, uint32_t at); /* 0 is fine */

static inline struct record *heap_record(const struct heap *h, uint32_t at)
{
    uint32_t number = at / HEAP_UNITS;
    char *octets = h->list[number / HEAP_LIST]->octets[number % HEAP_LIST];
    return (struct record *)(void *)(octets + (size_t)(at % HEAP_UNITS) * HEAP_UNIT);
}

#endif
