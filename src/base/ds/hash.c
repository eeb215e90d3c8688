/* SPDX-License-Identifier: MIT */
/* ds/hash.c: chains over as many buckets as there have been nodes (linear hashing).
 *
 * A look-up for what is not there reads an octet of hints, which stay in the cache, and neither the bucket nor a
 * node: those may not have been touched for half a minute. */
#include "ds/hash.h"
#include "mem/mem.h"

enum { BUCKETS_MIN = 16 };

enum err hash_init(struct hash *h, size_t expected)
{
    size_t n = BUCKETS_MIN;
    while (n < expected && n <= SIZE_MAX / 4)
        n *= 2;
    *h = (struct hash){.buckets = mem_calloc(n, sizeof(struct hash_node *)),
                       .hints = mem_calloc(n, 1),
                       .used = n,
                       .mask = n - 1};
    if (h->buckets && h->hints)
        return ERR_OK;
    hash_done(h);
    return ERR_NOMEM;
}

void hash_done(struct hash *h)
{
    mem_free(h->buckets);
    mem_free(h->hints);
    *h = (struct hash){0};
}

static struct hash_node *next_of(const struct hash_node *n)
{
    return (struct hash_node *)(n->chain & ~(uintptr_t)1);
}

static void set_next(struct hash_node *n, const struct hash_node *next)
{
    n->chain = (uintptr_t)next | 1;
}

static size_t bucket_of(const struct hash *h, uint64_t hash)
{
    size_t i = hash & h->mask;
    return i < h->used ? i : i & h->mask >> 1;
}

/* Of the high bits, which do not choose the bucket. */
static uint8_t hint_of(uint64_t hash)
{
    return (uint8_t)(1 << (hash >> 61));
}

/* Room for twice as many buckets. False: no memory. */
static bool widen(struct hash *h)
{
    size_t n = h->mask + 1;
    if (n > SIZE_MAX / 2 / sizeof(struct hash_node *))
        return false;
    struct hash_node **buckets = mem_realloc(h->buckets, 2 * n * sizeof(struct hash_node *));
    if (!buckets)
        return false;
    h->buckets = buckets;
    uint8_t *hints = mem_realloc(h->hints, 2 * n);
    if (!hints)
        return false; /* the wider buckets do no harm */
    h->hints = hints;
    h->mask = 2 * h->mask + 1;
    return true;
}

/* One bucket more: of the nodes of the one that it halves it gets those that belong to it, in their order. */
static void split(struct hash *h)
{
    if (h->used > h->mask && !widen(h))
        return; /* denser, still right */
    size_t made = h->used++, halved = made & h->mask >> 1;
    struct hash_node *end[2] = {NULL, NULL}, *first[2] = {NULL, NULL};
    uint8_t hints[2] = {0, 0};
    for (struct hash_node *node = h->buckets[halved]; node; node = next_of(node)) {
        bool moves = (node->hash & h->mask) == made;
        if (end[moves])
            set_next(end[moves], node);
        else
            first[moves] = node;
        end[moves] = node;
        hints[moves] |= hint_of(node->hash);
    }
    for (int i = 0; i < 2; i++) {
        size_t bucket = i ? made : halved;
        if (end[i])
            set_next(end[i], NULL);
        h->buckets[bucket] = first[i];
        h->hints[bucket] = hints[i];
    }
    __builtin_prefetch(h->buckets[h->used & h->mask >> 1]); /* the next to be halved */
}

/* At the front of its chain: candidates come newest first. The one that was there is not touched. */
void hash_insert(struct hash *h, struct hash_node *n, uint64_t hash)
{
    if (h->count >= h->used)
        split(h);
    size_t i = bucket_of(h, hash);
    n->hash = hash;
    set_next(n, h->buckets[i]);
    h->buckets[i] = n;
    h->hints[i] |= hint_of(hash);
    h->count++;
}

void hash_remove(struct hash *h, struct hash_node *n)
{
    if (!hash_linked(n))
        return;
    size_t i = bucket_of(h, n->hash);
    struct hash_node **bucket = &h->buckets[i];
    if (*bucket == n) {
        *bucket = next_of(n);
        if (!*bucket)
            h->hints[i] = 0; /* with others in it, it may go on naming n's eighth */
    } else {
        struct hash_node *before = *bucket;
        while (next_of(before) != n)
            before = next_of(before);
        before->chain = n->chain;
    }
    n->chain = 0;
    h->count--;
}

static struct hash_node *with_hash(struct hash_node *n, uint64_t hash)
{
    while (n && n->hash != hash)
        n = next_of(n);
    return n;
}

struct hash_node *hash_first(const struct hash *h, uint64_t hash)
{
    size_t i = bucket_of(h, hash);
    return h->hints[i] & hint_of(hash) ? with_hash(h->buckets[i], hash) : NULL;
}

struct hash_node *hash_next(const struct hash_node *n)
{
    return with_hash(next_of(n), n->hash);
}

bool hash_validate(const struct hash *h)
{
    size_t count = 0;
    for (size_t i = 0; i < h->used; i++) {
        for (const struct hash_node *n = h->buckets[i]; n; n = next_of(n)) {
            if (!hash_linked(n) || bucket_of(h, n->hash) != i || ++count > h->count ||
                !(h->hints[i] & hint_of(n->hash)))
                return false;
        }
    }
    return count == h->count;
}

void hash_walk(struct hash *h, bool (*fn)(struct hash_node *n, void *arg), void *arg)
{
    for (size_t i = 0; i < h->used; i++) {
        struct hash_node *next;
        for (struct hash_node *n = h->buckets[i]; n; n = next) {
            next = next_of(n);
            if (!fn(n, arg))
                return;
        }
    }
}
