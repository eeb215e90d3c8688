/* SPDX-License-Identifier: MIT */
/* ds/hash.h: intrusive hash table of one worker; grows by itself.               layer: base
 *
 * Shape   the caller computes the 64-bit hash (keyed, for anything a peer names) and compares keys itself
 *         while walking the candidates of a hash. It grows by a bucket at a time, so no insertion waits for
 *         the whole table; and who is not there is mostly not looked for in memory that others left cold.
 * Errors  hash_insert never fails: when growing fails the table stays denser.
 * Threads one at a time.
 */
#ifndef DS_HASH_H
#define DS_HASH_H
#include <stdint.h>
#include "ds/list.h"
#include "err/err.h"

struct hash_node {
    uintptr_t chain; /* the next of its bucket, and 1; 0: not in a table */
    uint64_t hash;
};

struct hash {
    struct hash_node **buckets; /* room for mask + 1 */
    uint8_t *hints; /* of each bucket: which hashes are in it, by an eighth; of more, perhaps */
    size_t used;    /* buckets in use */
    size_t mask;    /* the least power of two that is not below used, less one */
    size_t count;
};

MUST_USE enum err hash_init(struct hash *h, size_t expected);
void hash_done(struct hash *h); /* nodes are not touched */
void hash_insert(struct hash *h, struct hash_node *n, uint64_t hash);
void hash_remove(struct hash *h, struct hash_node *n); /* idempotent */
static inline bool hash_linked(const struct hash_node *n)
{
    return n->chain != 0;
}
/* First candidate with this hash, then the next; NULL at the end. */
struct hash_node *hash_first(const struct hash *h, uint64_t hash);
struct hash_node *hash_next(const struct hash_node *n);
bool hash_validate(const struct hash *h);
/* Walk of all nodes; the body may remove the node it is given. Stops when fn returns false. */
void hash_walk(struct hash *h, bool (*fn)(struct hash_node *n, void *arg), void *arg);

#define HASH_EACH(it, h, hash_value, type, member)                         \
    for (struct hash_node *it##_n = hash_first((h), (hash_value)); it##_n; \
         it##_n = hash_next(it##_n))                                       \
        for (type *it = CONTAINER(it##_n, type, member); it; it = NULL)

#endif
