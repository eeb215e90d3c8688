/* SPDX-License-Identifier: MIT */
/* ds/table.c: the sharded table.
 *
 * An entry is immutable and counted. Under the lock a reader only takes a reference; it copies and
 * calls back outside. A writer prepares its entry before the lock and frees the old one after it.
 * So a lock is held for a walk of one short chain, or for moving one shard to a wider bucket array
 * that was allocated before. */
#include "ds/table.h"
#include "crypto/crypto.h"
#include "mem/mem.h"
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

enum { SHARDS = 256, BUCKETS_FIRST = 8, LINE = 64 };

struct entry {
    struct entry *next; /* LOCK: the shard's */
    _Atomic uint32_t refs;
    uint64_t hash, version; /* version: LOCK, set when it enters; RO from then on */
    size_t key_n, value_n;
    char octets[]; /* key, then value */
};

struct shard {
    alignas(LINE) pthread_mutex_t lock;
    struct entry **buckets; /* LOCK: lock, and all that follows */
    size_t mask, count;
    uint64_t version; /* the highest given so far */
};

struct table {
    struct shard shard[SHARDS];
    void *allocation; /* of which this is the aligned part */
    uint8_t seed[SIPHASH_KEY];
    size_t cap;
    _Atomic size_t count;
};

enum err table_new(const uint8_t seed[static 16], size_t cap, struct table **ret_table)
{
    void *allocation = mem_calloc(1, sizeof(struct table) + LINE);
    if (!allocation)
        return ERR_NOMEM;
    uintptr_t at = ((uintptr_t)allocation + LINE - 1) & ~(uintptr_t)(LINE - 1);
    struct table *t = (struct table *)at;
    t->allocation = allocation;
    t->cap = cap;
    memcpy(t->seed, seed, sizeof t->seed);
    for (unsigned i = 0; i < SHARDS; i++)
        pthread_mutex_init(&t->shard[i].lock, NULL);
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &t->shard[i];
        s->buckets = mem_calloc(BUCKETS_FIRST, sizeof *s->buckets);
        s->mask = BUCKETS_FIRST - 1;
        if (!s->buckets) {
            table_free(t);
            return ERR_NOMEM;
        }
    }
    *ret_table = t;
    return ERR_OK;
}

static void entry_unref(struct entry *e)
{
    if (e && atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) == 1)
        mem_free(e);
}

void table_free(struct table *t)
{
    if (!t)
        return;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &t->shard[i];
        for (size_t k = 0; s->buckets && k <= s->mask; k++) {
            while (s->buckets[k]) {
                struct entry *e = s->buckets[k];
                s->buckets[k] = e->next;
                entry_unref(e);
            }
        }
        mem_free(s->buckets);
        pthread_mutex_destroy(&s->lock);
    }
    mem_free(t->allocation);
}

static sv entry_key(const struct entry *e)
{
    return (sv){e->octets, e->key_n};
}

static sv entry_value(const struct entry *e)
{
    return (sv){e->octets + e->key_n, e->value_n};
}

static enum err entry_new(sv key, sv value, uint64_t hash, struct entry **ret_entry)
{
    struct entry *e = NULL;
    if (key.n <= SIZE_MAX / 4 && value.n <= SIZE_MAX / 4)
        e = mem_alloc(sizeof *e + key.n + value.n);
    if (!e)
        return ERR_NOMEM;
    *e = (struct entry){.hash = hash, .key_n = key.n, .value_n = value.n};
    atomic_init(&e->refs, 1);
    if (key.n)
        memcpy(e->octets, key.p, key.n);
    if (value.n)
        memcpy(e->octets + key.n, value.p, value.n);
    *ret_entry = e;
    return ERR_OK;
}

static struct shard *shard_of(struct table *t, uint64_t hash)
{
    return &t->shard[hash >> 56];
}

/* Where the entry of key hangs, or the end of its chain. LOCK: s->lock held. */
static struct entry **find(struct shard *s, uint64_t hash, sv key)
{
    struct entry **at = &s->buckets[hash & s->mask];
    while (*at && !((*at)->hash == hash && sv_eq(entry_key(*at), key)))
        at = &(*at)->next;
    return at;
}

static struct entry *find_ref(struct table *t, sv key)
{
    uint64_t hash = crypto_siphash(t->seed, key.p, key.n);
    struct shard *s = shard_of(t, hash);
    pthread_mutex_lock(&s->lock);
    struct entry *e = *find(s, hash, key);
    if (e)
        atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&s->lock);
    return e;
}

enum err table_get(struct table *t, sv key, struct arena *a, sv *ret_value, uint64_t *ret_version)
{
    struct entry *e = find_ref(t, key);
    enum err rc = ERR_OK;
    if (!e) {
        *ret_value = SV_NONE;
        *ret_version = 0;
        return ERR_OK;
    }
    sv copy;
    rc = sv_dup(a, entry_value(e), &copy);
    if (!rc) {
        *ret_value = copy;
        *ret_version = e->version;
    }
    entry_unref(e);
    return rc;
}

bool table_has(struct table *t, sv key)
{
    uint64_t hash = crypto_siphash(t->seed, key.p, key.n);
    struct shard *s = shard_of(t, hash);
    pthread_mutex_lock(&s->lock);
    bool has = *find(s, hash, key) != NULL;
    pthread_mutex_unlock(&s->lock);
    return has;
}

/* Doubles a shard's buckets. Not having the memory is no failure: chains are longer then. */
static void widen(struct shard *s, size_t mask)
{
    size_t n = (mask + 1) * 2;
    struct entry **wider = mem_calloc(n, sizeof *wider), **old = wider;
    if (!wider)
        return;
    pthread_mutex_lock(&s->lock);
    if (s->mask == mask) { /* else somebody else was first */
        for (size_t i = 0; i <= mask; i++) {
            while (s->buckets[i]) {
                struct entry *e = s->buckets[i];
                s->buckets[i] = e->next;
                e->next = wider[e->hash & (n - 1)];
                wider[e->hash & (n - 1)] = e;
            }
        }
        old = s->buckets;
        s->buckets = wider;
        s->mask = n - 1;
    }
    pthread_mutex_unlock(&s->lock);
    mem_free(old);
}

/* Takes one place of the cap. The count may pass it for an instant, a place is never given beyond
 * it. */
static bool reserve(struct table *t)
{
    size_t before = atomic_fetch_add_explicit(&t->count, 1, memory_order_relaxed);
    if (!t->cap || before < t->cap)
        return true;
    atomic_fetch_sub_explicit(&t->count, 1, memory_order_relaxed);
    return false;
}

/* Puts fresh (NULL: nothing) in place of what hangs at *at. LOCK: s->lock held.
 *   ret_old  what was there, to be unref'd outside the lock */
static enum err replace(struct table *t, struct shard *s, struct entry **at, struct entry *fresh,
                        struct entry **ret_old)
{
    struct entry *old = *at;
    if (!old && fresh && !reserve(t))
        return ERR_TOOBIG;
    if (fresh) {
        fresh->next = old ? old->next : NULL;
        *at = fresh;
    } else if (old) {
        *at = old->next;
    }
    s->count = s->count + (fresh != NULL) - (old != NULL);
    if (old && !fresh)
        atomic_fetch_sub_explicit(&t->count, 1, memory_order_relaxed);
    *ret_old = old;
    return ERR_OK;
}

enum mode { SWAP, RESTORE };

/* Both writers. version: SWAP, what must be there; RESTORE, what the key gets. */
static enum err put(struct table *t, enum mode mode, sv key, uint64_t version, sv value,
                    uint64_t *ret_version)
{
    uint64_t hash = crypto_siphash(t->seed, key.p, key.n);
    struct shard *s = shard_of(t, hash);
    struct entry *fresh = NULL, *old = NULL;
    if (sv_present(value))
        TRY(entry_new(key, value, hash, &fresh));

    pthread_mutex_lock(&s->lock);
    struct entry **at = find(s, hash, key);
    uint64_t held = *at ? (*at)->version : 0, next = mode == SWAP ? s->version + 1 : version;
    enum err rc = ERR_OK;
    if (mode == SWAP && held != version)
        rc = ERR_BUSY;
    else if (mode == RESTORE && version <= held)
        rc = ERR_EXISTS;
    else
        rc = replace(t, s, at, fresh, &old);
    if (!rc) {
        if (fresh)
            fresh->version = next;
        if (next > s->version)
            s->version = next;
    }
    size_t mask = s->mask;
    bool dense = s->count > mask + 1;
    pthread_mutex_unlock(&s->lock);

    if (rc) {
        entry_unref(fresh);
        return rc;
    }
    entry_unref(old);
    if (dense)
        widen(s, mask);
    *ret_version = next;
    return ERR_OK;
}

enum err table_swap(struct table *t, sv key, uint64_t expected, sv value, uint64_t *ret_version)
{
    return put(t, SWAP, key, expected, value, ret_version);
}

enum err table_restore(struct table *t, sv key, uint64_t version, sv value)
{
    uint64_t set;
    return put(t, RESTORE, key, version, value, &set);
}

void table_raise(struct table *t, unsigned shard, uint64_t version)
{
    struct shard *s = &t->shard[shard % SHARDS];
    pthread_mutex_lock(&s->lock);
    if (s->version < version)
        s->version = version;
    pthread_mutex_unlock(&s->lock);
}

void table_set_cap(struct table *t, size_t cap)
{
    t->cap = cap;
}

size_t table_count(const struct table *t)
{
    return atomic_load_explicit(&t->count, memory_order_relaxed);
}

unsigned table_shards(const struct table *t)
{
    (void)t;
    return SHARDS;
}

unsigned table_shard_of(const struct table *t, sv key)
{
    return (unsigned)(crypto_siphash(t->seed, key.p, key.n) >> 56);
}

/* References to all entries of s at one instant, *ret_n of them, and its counter then.
 * Errors: ERR_NOMEM. */
static enum err snapshot(struct shard *s, struct entry ***ret_entries, size_t *ret_n,
                         uint64_t *ret_counter)
{
    struct entry **list = NULL;
    for (size_t cap = 0;;) {
        size_t n = 0;
        pthread_mutex_lock(&s->lock);
        size_t count = s->count;
        uint64_t counter = s->version;
        for (size_t i = 0; count <= cap && i <= s->mask; i++) {
            for (struct entry *e = s->buckets[i]; e; e = e->next) {
                atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
                list[n++] = e;
            }
        }
        pthread_mutex_unlock(&s->lock);
        if (count <= cap) {
            *ret_entries = list;
            *ret_n = n;
            *ret_counter = counter;
            return ERR_OK;
        }
        mem_free(list);
        cap = count + count / 8 + 8; /* room for what comes between the two locks */
        list = mem_alloc(cap * sizeof(struct entry *));
        if (!list)
            return ERR_NOMEM;
    }
}

static enum err walk(struct shard *s, table_each_fn *fn, void *arg, bool *go_on,
                     uint64_t *ret_counter)
{
    struct entry **list;
    size_t n;
    uint64_t counter;
    TRY(snapshot(s, &list, &n, &counter));
    if (ret_counter)
        *ret_counter = counter;
    for (size_t i = 0; i < n; i++) {
        if (*go_on)
            *go_on = fn(entry_key(list[i]), entry_value(list[i]), list[i]->version, arg);
        entry_unref(list[i]);
    }
    mem_free(list);
    return ERR_OK;
}

enum err table_each_shard(struct table *t, unsigned shard, table_each_fn *fn, void *arg,
                          uint64_t *ret_counter)
{
    bool go_on = true;
    return shard < SHARDS ? walk(&t->shard[shard], fn, arg, &go_on, ret_counter) : ERR_RANGE;
}

enum err table_each(struct table *t, table_each_fn *fn, void *arg)
{
    bool go_on = true;
    for (unsigned i = 0; i < SHARDS && go_on; i++)
        TRY(walk(&t->shard[i], fn, arg, &go_on, NULL));
    return ERR_OK;
}
