/* SPDX-License-Identifier: MIT */
/* ds/hash.c: chains over a power of two of buckets; at most one node a bucket on average. */
#include "ds/hash.h"
#include "mem/mem.h"

enum { BUCKETS_MIN = 16 };

enum err hash_init(struct hash *h, size_t expected)
{
    size_t n = BUCKETS_MIN;
    while (n < expected && n <= SIZE_MAX / 4)
        n *= 2;
    *h = (struct hash){.buckets = mem_calloc(n, sizeof(struct hash_node *)), .mask = n - 1};
    return h->buckets ? ERR_OK : ERR_NOMEM;
}

void hash_done(struct hash *h)
{
    mem_free(h->buckets);
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

/* At the front of its chain: candidates come newest first. The one that was there is not touched. */
static void chain(struct hash_node **bucket, struct hash_node *n)
{
    set_next(n, *bucket);
    *bucket = n;
}

static void grow(struct hash *h)
{
    size_t n = (h->mask + 1) * 2;
    struct hash_node **wider = mem_calloc(n, sizeof(struct hash_node *));
    if (!wider)
        return; /* denser, still right */
    for (size_t i = 0; i <= h->mask; i++) {
        struct hash_node *next, *reversed = NULL;
        /* Reversing first keeps the order of a chain through chain()'s insertion at the front. */
        for (struct hash_node *node = h->buckets[i]; node; node = next) {
            next = next_of(node);
            set_next(node, reversed);
            reversed = node;
        }
        for (struct hash_node *node = reversed; node; node = next) {
            next = next_of(node);
            chain(&wider[node->hash & (n - 1)], node);
        }
    }
    mem_free(h->buckets);
    h->buckets = wider;
    h->mask = n - 1;
}

void hash_insert(struct hash *h, struct hash_node *n, uint64_t hash)
{
    if (h->count > h->mask)
        grow(h);
    n->hash = hash;
    chain(&h->buckets[hash & h->mask], n);
    h->count++;
}

void hash_remove(struct hash *h, struct hash_node *n)
{
    if (!hash_linked(n))
        return;
    struct hash_node **bucket = &h->buckets[n->hash & h->mask];
    if (*bucket == n) {
        *bucket = next_of(n);
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
    return with_hash(h->buckets[hash & h->mask], hash);
}

struct hash_node *hash_next(const struct hash_node *n)
{
    return with_hash(next_of(n), n->hash);
}

bool hash_validate(const struct hash *h)
{
    size_t count = 0;
    for (size_t i = 0; i <= h->mask; i++) {
        for (const struct hash_node *n = h->buckets[i]; n; n = next_of(n)) {
            if (!hash_linked(n) || (n->hash & h->mask) != i || ++count > h->count)
                return false;
        }
    }
    return count == h->count;
}

void hash_walk(struct hash *h, bool (*fn)(struct hash_node *n, void *arg), void *arg)
{
    for (size_t i = 0; i <= h->mask; i++) {
        struct hash_node *next;
        for (struct hash_node *n = h->buckets[i]; n; n = next) {
            next = next_of(n);
            if (!fn(n, arg))
                return;
        }
    }
}
