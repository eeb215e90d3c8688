/* SPDX-License-Identifier: MIT */
/* ds/table.c: the sharded table.
 *
 * A shard is an array of slots in the order of their hashes: a slot stands at the place that its hash
 * is of the whole range, or behind it, moved on by those before it. So a look-up reads one or two lines
 * of slots and then the record it wants; a wider array is filled in one pass; and a walk goes on
 * after a hash, whatever happened to the array meanwhile.
 *
 *   slot   hash, 32 bits ─ place of the record (table_priv.h)
 *   ▕ ▏▕12▏▕17▏▕ ▏▕31▏▕33▏▕35▏▕ ▏…
 *
 * Under the lock a reader copies, a writer puts a record that it has made before and frees the old one
 * later: a lock is held for the look-up and one copy, for a batch of a walk, or for moving the slots of
 * one shard into a wider array that was allocated before. */
#include "crypto/crypto.h"
#include "mem/mem.h"
#include "ds/table_priv.h"
#include <stdalign.h>
#include <stdatomic.h>

enum {
    SHARDS = 256,
    LINE = 64,
    SLOTS_FIRST = 16,
    SLOTS_BEYOND = 16, /* behind the last place: no slot goes round to the front */
    COPY = 1024,       /* of a value that a reader copies at once */
    BATCH = 16 * 1024, /* of a walk */
    PLACE_BITS = 24,
};

_Static_assert(1 << PLACE_BITS == TABLE_PLACES, "places are bits of the hash");

struct slot {
    uint32_t hash; /* the bits below the shard's */
    uint32_t at;   /* 0: no record */
};

struct shard {
    alignas(LINE) pthread_mutex_t lock;
    struct slot *slots; /* LOCK: lock, and all that follows */
    uint32_t places;
    _Atomic uint32_t count; /* changed under lock; a glance tells who walks that nobody is there */
    uint64_t version;       /* the highest given so far */
};

struct table {
    struct shard shard[SHARDS];
    void *allocation; /* of which this is the aligned part */
    uint8_t seed[SIPHASH_KEY];
    size_t cap;
    _Atomic size_t count;
    struct heap heap;
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
    heap_init(&t->heap);
    *ret_table = t;
    return ERR_OK;
}

void table_free(struct table *t)
{
    if (!t)
        return;
    for (unsigned i = 0; i < SHARDS; i++) {
        mem_free(t->shard[i].slots);
        pthread_mutex_destroy(&t->shard[i].lock);
    }
    heap_done(&t->heap);
    mem_free(t->allocation);
}

/* ---- a key's place ---- */

struct place {
    struct shard *shard;
    uint32_t hash;
};

static struct place place_of(struct table *t, sv key)
{
    uint64_t hash = crypto_siphash(t->seed, key.p, key.n);
    return (struct place){&t->shard[hash >> 56], (uint32_t)(hash >> 24)};
}

static uint32_t home_of(uint32_t hash, uint32_t places)
{
    return (uint32_t)((uint64_t)hash * places >> 32);
}

static sv record_key(const struct record *r)
{
    return (sv){r->octets, r->key_n};
}

static sv record_value(const struct record *r)
{
    return (sv){r->octets + r->key_n, r->value_n};
}

/* The slot of key, or where it would be put. LOCK: s->lock held. */
static struct slot *find(struct table *t, const struct shard *s, uint32_t hash, sv key,
                         struct record **ret_record)
{
    *ret_record = NULL;
    if (!s->slots)
        return NULL;
    struct slot *at = &s->slots[home_of(hash, s->places)];
    while (at->at && at->hash < hash)
        at++;
    for (; at->at && at->hash == hash; at++) {
        struct record *r = heap_record(&t->heap, at->at);
        if (sv_eq(record_key(r), key)) {
            *ret_record = r;
            break;
        }
    }
    return at;
}

/* ---- readers ---- */

enum err table_get(struct table *t, sv key, struct arena *a, sv *ret_value, uint64_t *ret_version)
{
    struct place p = place_of(t, key);
    char first[COPY], *room = first;
    size_t cap = sizeof first, n = 0;
    for (;;) {
        struct record *r;
        uint64_t version = 0;
        pthread_mutex_lock(&p.shard->lock);
        (void)find(t, p.shard, p.hash, key, &r);
        if (r) {
            n = r->value_n;
            version = r->version;
            if (n <= cap)
                memcpy(room, record_value(r).p, n);
        }
        pthread_mutex_unlock(&p.shard->lock);
        if (n <= cap) {
            *ret_version = version;
            *ret_value = version ? (sv){room, n} : SV_NONE;
            return version && room == first ? sv_dup(a, *ret_value, ret_value) : ERR_OK;
        }
        cap = n;
        room = arena_alloc(a, cap);
        if (!room)
            return ERR_NOMEM;
        n = 0;
    }
}

bool table_has(struct table *t, sv key)
{
    struct place p = place_of(t, key);
    struct record *r;
    pthread_mutex_lock(&p.shard->lock);
    (void)find(t, p.shard, p.hash, key, &r);
    pthread_mutex_unlock(&p.shard->lock);
    return r != NULL;
}

/* ---- writers ---- */

static uint32_t shard_count(const struct shard *s)
{
    return atomic_load_explicit(&s->count, memory_order_relaxed);
}

/* LOCK: s->lock held. */
static void shard_count_add(struct shard *s, int by)
{
    atomic_store_explicit(&s->count, shard_count(s) + (uint32_t)by, memory_order_relaxed);
}

/* Seven of eight places may be taken. */
static bool dense(uint32_t places, uint32_t count)
{
    return (uint64_t)count * 8 > (uint64_t)places * 7;
}

/* Moves all slots of s into wider (its size). False: they do not fit. LOCK: s->lock held. */
static bool move_slots(const struct shard *s, struct slot *wider, uint32_t places)
{
    uint32_t next = 0, end = s->slots ? s->places + SLOTS_BEYOND : 0;
    for (uint32_t i = 0; i < end; i++) {
        if (!s->slots[i].at)
            continue;
        uint32_t home = home_of(s->slots[i].hash, places);
        next = home > next ? home : next;
        if (next + 1 >= places + SLOTS_BEYOND)
            return false;
        wider[next++] = s->slots[i];
    }
    return true;
}

/* Half as many places again, if there are `places` now. Errors: ERR_NOMEM. */
static enum err widen(struct shard *s, uint32_t places)
{
    struct slot *old = NULL;
    bool moved = false;
    for (uint32_t n = places; !moved;) {
        n = n ? n + n / 2 : SLOTS_FIRST;
        struct slot *wider =
            n < UINT32_MAX / 4 ? mem_calloc((size_t)n + SLOTS_BEYOND, sizeof *wider) : NULL;
        if (!wider)
            return ERR_NOMEM;
        old = wider;
        pthread_mutex_lock(&s->lock);
        moved = s->places != places; /* somebody else was first */
        if (!moved && move_slots(s, wider, n)) {
            old = s->slots;
            s->slots = wider;
            s->places = n;
            moved = true;
        }
        pthread_mutex_unlock(&s->lock);
        mem_free(old);
    }
    return ERR_OK;
}

/* Makes at, where the slot belongs, its own. False: no room. LOCK: s->lock held. */
static bool insert(struct shard *s, struct slot *at, struct slot slot)
{
    struct slot *end = at;
    if (!at || dense(s->places, shard_count(s) + 1))
        return false;
    while (end->at)
        end++;
    if (end == &s->slots[s->places + SLOTS_BEYOND - 1]) /* stays empty: every search ends there */
        return false;
    memmove(at + 1, at, (size_t)(end - at) * sizeof *at);
    *at = slot;
    shard_count_add(s, 1);
    return true;
}

/* Those behind it move up, as far as their own places. LOCK: s->lock held. */
static void remove_slot(struct shard *s, struct slot *at)
{
    struct slot *end = at + 1;
    while (end->at && &s->slots[home_of(end->hash, s->places)] < end)
        end++;
    memmove(at, at + 1, (size_t)(end - at - 1) * sizeof *at);
    end[-1] = (struct slot){0};
    shard_count_add(s, -1);
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

static void release(struct table *t)
{
    atomic_fetch_sub_explicit(&t->count, 1, memory_order_relaxed);
}

static enum err record_new(struct table *t, sv key, sv value, uint32_t *ret_at)
{
    *ret_at = 0;
    if (!sv_present(value))
        return ERR_OK;
    if (key.n > UINT16_MAX || value.n > UINT32_MAX / 2)
        return ERR_NOMEM;
    TRY(heap_get(&t->heap, record_size(key.n, value.n), ret_at));
    struct record *r = heap_record(&t->heap, *ret_at);
    r->key_n = (uint16_t)key.n;
    r->value_n = (uint32_t)value.n;
    if (key.n)
        memcpy(r->octets, key.p, key.n);
    if (value.n)
        memcpy(r->octets + key.n, value.p, value.n);
    return ERR_OK;
}

enum mode { SWAP, RESTORE };

/* One writer's change of a key, and what it left to be freed. */
struct change {
    enum mode mode;
    uint64_t version; /* SWAP: what must be there; RESTORE: what the key gets */
    uint32_t fresh;   /* the record it gets; 0: none */
    uint32_t old;
};

/* The change, under the lock. Errors: ERR_BUSY, ERR_EXISTS, ERR_TOOBIG, ERR_MORE (the shard wants to be
 * widened first). */
static enum err apply(struct table *t, struct place p, sv key, struct change *c,
                      uint64_t *ret_version)
{
    struct shard *s = p.shard;
    struct record *r;
    struct slot *at = find(t, s, p.hash, key, &r);
    uint64_t held = r ? r->version : 0, next = c->mode == SWAP ? s->version + 1 : c->version;
    if (c->mode == SWAP && held != c->version)
        return ERR_BUSY;
    if (c->mode == RESTORE && c->version <= held)
        return ERR_EXISTS;
    if (c->fresh)
        heap_record(&t->heap, c->fresh)->version = next;
    if (r) {
        c->old = at->at;
        at->at = c->fresh;
        if (!c->fresh) {
            remove_slot(s, at);
            release(t);
        }
    } else if (c->fresh) {
        if (!reserve(t))
            return ERR_TOOBIG;
        if (!insert(s, at, (struct slot){p.hash, c->fresh})) {
            release(t);
            return ERR_MORE;
        }
    }
    if (next > s->version)
        s->version = next;
    *ret_version = next;
    return ERR_OK;
}

static enum err put(struct table *t, enum mode mode, sv key, uint64_t version, sv value,
                    uint64_t *ret_version)
{
    struct place p = place_of(t, key);
    struct change c = {.mode = mode, .version = version};
    TRY(record_new(t, key, value, &c.fresh));
    for (;;) {
        pthread_mutex_lock(&p.shard->lock);
        enum err rc = apply(t, p, key, &c, ret_version);
        uint32_t places = p.shard->places;
        pthread_mutex_unlock(&p.shard->lock);
        if (rc == ERR_MORE && !(rc = widen(p.shard, places)))
            continue;
        heap_put(&t->heap, rc ? c.fresh : c.old);
        return rc;
    }
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

uint32_t table_place(const struct table *t, sv key)
{
    return (uint32_t)(crypto_siphash(t->seed, key.p, key.n) >> (64 - PLACE_BITS));
}

/* ---- walks ---- */

#define END ((uint64_t)UINT32_MAX + 1) /* behind all hashes */

struct batch {
    char *p;
    size_t n, cap;
};

/* Copies of the records of s from this hash on up to before another, as many as the batch holds, all of one
 * hash or none. Returns the first hash that is left, `to` when none is; n == 0 otherwise: the batch must be
 * wider. LOCK: s->lock held. */
static uint64_t fill(struct table *t, const struct shard *s, uint64_t from, uint64_t to,
                     struct batch *b)
{
    size_t whole = 0; /* up to here all of a hash are in */
    uint64_t last = from;
    b->n = 0;
    if (!s->slots)
        return to;
    const struct slot *at = &s->slots[home_of((uint32_t)from, s->places)];
    const struct slot *end = &s->slots[s->places + SLOTS_BEYOND];
    for (; at < end; at++) {
        if (!at->at || at->hash < from)
            continue;
        if (at->hash >= to)
            break;
        if (at->hash != last)
            whole = b->n;
        last = at->hash;
        const struct record *r = heap_record(&t->heap, at->at);
        size_t n = record_size(r->key_n, r->value_n);
        if (n > b->cap - b->n) {
            b->n = whole;
            return last;
        }
        memcpy(b->p + b->n, r, n);
        b->n += (n + alignof(struct record) - 1) & ~(alignof(struct record) - 1);
    }
    return to;
}

/* Calls fn for what a batch holds. False: it said so. */
static bool give(const struct batch *b, table_each_fn *fn, void *arg)
{
    for (size_t at = 0; at < b->n;) {
        const struct record *r = (const struct record *)(const void *)(b->p + at);
        if (!fn(record_key(r), record_value(r), r->version, arg))
            return false;
        size_t n = record_size(r->key_n, r->value_n);
        at += (n + alignof(struct record) - 1) & ~(alignof(struct record) - 1);
    }
    return true;
}

/* From this hash of s on up to before another. ret_counter may be NULL; *go_on: fn has not said stop. */
static enum err walk(struct table *t, struct shard *s, uint64_t from, uint64_t to,
                     table_each_fn *fn, void *arg, bool *go_on, uint64_t *ret_counter)
{
    struct batch b = {.cap = BATCH};
    pthread_mutex_lock(&s->lock);
    bool empty = shard_count(s) == 0;
    if (ret_counter)
        *ret_counter = s->version;
    pthread_mutex_unlock(&s->lock);
    if (empty)
        return ERR_OK;
    b.p = mem_alloc(b.cap);
    while (b.p && *go_on && from != to) {
        pthread_mutex_lock(&s->lock);
        uint64_t next = fill(t, s, from, to, &b);
        pthread_mutex_unlock(&s->lock);
        if (b.n == 0 && next != to) {
            mem_free(b.p);
            b.cap *= 2;
            b.p = mem_alloc(b.cap);
            continue;
        }
        *go_on = give(&b, fn, arg);
        from = next;
    }
    enum err rc = b.p ? ERR_OK : ERR_NOMEM;
    mem_free(b.p);
    return rc;
}

enum err table_each_shard(struct table *t, unsigned shard, table_each_fn *fn, void *arg,
                          uint64_t *ret_counter)
{
    bool go_on = true;
    return shard < SHARDS ? walk(t, &t->shard[shard], 0, END, fn, arg, &go_on, ret_counter)
                          : ERR_RANGE;
}

enum err table_each(struct table *t, table_each_fn *fn, void *arg)
{
    bool go_on = true;
    for (unsigned i = 0; i < SHARDS && go_on; i++)
        TRY(walk(t, &t->shard[i], 0, END, fn, arg, &go_on, NULL));
    return ERR_OK;
}

enum err table_each_between(struct table *t, uint32_t from, uint32_t to, table_each_fn *fn,
                            void *arg)
{
    enum { IN_SHARD = TABLE_PLACES / SHARDS };
    bool go_on = true;
    if (from > to || to > TABLE_PLACES)
        return ERR_RANGE;
    for (uint32_t next; from < to && go_on; from = next) {
        uint32_t shard = from / IN_SHARD, first = shard * IN_SHARD;
        next = to < first + IN_SHARD ? to : first + IN_SHARD;
        if (shard_count(&t->shard[shard]) == 0)
            continue;
        TRY(walk(t, &t->shard[shard], (uint64_t)(from - first) << (32 + 8 - PLACE_BITS),
                 (uint64_t)(next - first) << (32 + 8 - PLACE_BITS), fn, arg, &go_on, NULL));
    }
    return ERR_OK;
}
