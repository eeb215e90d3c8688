/* SPDX-License-Identifier: MIT */
/* locate/locate_shared.c: what all workers know: answers by TTL, and who did not answer.
 *
 *   cache      hash -> set of 8 references to counted, immutable answers
 *   failures   hash -> set of 8 (address, port, transport) with an end
 *
 * Both are of fixed size. Under a lock there is a walk of one set and an exchange; answers are made
 * before it and freed after it. */
#include "locate/locate_priv.h"
#include <pthread.h>

enum { WAYS = 8, LOCKS = 64, FAILED_KEY = ADDR_KEY + 1 };

struct set {
    struct locate_answer *way[WAYS]; /* LOCK: the set's */
};

struct failed {
    uint8_t key[FAILED_KEY];
    usec until; /* 0: vacant */
};

struct locate_shared {
    uint8_t seed[SIPHASH_KEY]; /* RO, as mask */
    size_t mask;
    struct set *set;
    pthread_mutex_t lock[LOCKS];
    pthread_mutex_t failed_lock[LOCKS];
    struct failed failed[LOCATE_FAILED_SETS][LOCATE_FAILED_WAYS]; /* LOCK: the set's */
    _Atomic usec failed_until; /* no entry lasts longer: most of the time nobody has failed */
};

enum err locate_shared_new(const uint8_t seed[static 16], size_t cache,
                           struct locate_shared **ret_shared)
{
    struct locate_shared *sh = MEM_NEW(struct locate_shared);
    size_t sets = 1;
    if (!sh)
        return ERR_NOMEM;
    while (sets * WAYS < cache)
        sets *= 2;
    sh->set = mem_calloc(sets, sizeof *sh->set);
    if (!sh->set) {
        mem_free(sh);
        return ERR_NOMEM;
    }
    sh->mask = sets - 1;
    memcpy(sh->seed, seed, sizeof sh->seed);
    for (unsigned i = 0; i < LOCKS; i++) {
        pthread_mutex_init(&sh->lock[i], NULL);
        pthread_mutex_init(&sh->failed_lock[i], NULL);
    }
    *ret_shared = sh;
    return ERR_OK;
}

void locate_shared_free(struct locate_shared *sh)
{
    if (!sh)
        return;
    for (size_t i = 0; i <= sh->mask; i++)
        for (unsigned k = 0; k < WAYS; k++)
            locate_answer_unref(sh->set[i].way[k]);
    for (unsigned i = 0; i < LOCKS; i++) {
        pthread_mutex_destroy(&sh->lock[i]);
        pthread_mutex_destroy(&sh->failed_lock[i]);
    }
    mem_free(sh->set);
    mem_free(sh);
}

/* ---- the cache ---- */

void locate_answer_unref(struct locate_answer *a)
{
    if (a && atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) == 1)
        mem_free(a);
}

uint64_t locate_hash(const struct locate_shared *sh, sv name, enum dns_type type)
{
    char t = (char)type;
    return crypto_siphash_list(sh->seed, (sv[]){{&t, 1}, name}, 2);
}

static bool same(const struct locate_answer *a, uint64_t hash, sv name, enum dns_type type)
{
    return a && a->hash == hash && a->type == type && sv_eq(a->name, name);
}

struct locate_answer *locate_cache_get(struct locate_shared *sh, uint64_t hash, sv name,
                                       enum dns_type type, usec now)
{
    size_t at = hash & sh->mask;
    struct locate_answer *found = NULL, *over = NULL;
    pthread_mutex_lock(&sh->lock[at % LOCKS]);
    for (unsigned k = 0; k < WAYS; k++) {
        struct locate_answer **way = &sh->set[at].way[k];
        if (!same(*way, hash, name, type))
            continue;
        if ((*way)->until > now) {
            found = locate_answer_ref(*way);
        } else {
            over = *way;
            *way = NULL;
        }
        break;
    }
    pthread_mutex_unlock(&sh->lock[at % LOCKS]);
    locate_answer_unref(over);
    return found;
}

/* The way that a new answer takes: its own, a vacant one, or the one that ends first. */
static struct locate_answer **way_for(struct set *set, const struct locate_answer *a)
{
    struct locate_answer **best = NULL;
    for (unsigned k = 0; k < WAYS; k++) {
        struct locate_answer **way = &set->way[k];
        if (same(*way, a->hash, a->name, a->type))
            return way;
        if (!best || (*best && (!*way || (*way)->until < (*best)->until)))
            best = way;
    }
    return best;
}

void locate_cache_put(struct locate_shared *sh, struct locate_answer *a, usec now)
{
    size_t at = a->hash & sh->mask;
    if (a->until <= now)
        return;
    locate_answer_ref(a);
    pthread_mutex_lock(&sh->lock[at % LOCKS]);
    struct locate_answer **way = way_for(&sh->set[at], a), *old = *way;
    *way = a;
    pthread_mutex_unlock(&sh->lock[at % LOCKS]);
    locate_answer_unref(old);
}

/* ---- failures ---- */

static size_t failed_key(const struct locate_shared *sh, const struct dest *d,
                         uint8_t key[static FAILED_KEY])
{
    addr_key(&d->addr, key);
    key[ADDR_KEY] = (uint8_t)d->transport;
    return crypto_siphash(sh->seed, key, FAILED_KEY) % LOCATE_FAILED_SETS;
}

usec locate_failed_until(struct locate_shared *sh, const struct dest *d, usec now)
{
    uint8_t key[FAILED_KEY];
    usec until = 0;
    if (atomic_load_explicit(&sh->failed_until, memory_order_relaxed) <= now)
        return 0;
    size_t at = failed_key(sh, d, key);
    pthread_mutex_lock(&sh->failed_lock[at % LOCKS]);
    for (unsigned k = 0; k < LOCATE_FAILED_WAYS; k++)
        if (memcmp(sh->failed[at][k].key, key, FAILED_KEY) == 0)
            until = sh->failed[at][k].until;
    pthread_mutex_unlock(&sh->failed_lock[at % LOCKS]);
    return until;
}

/* The entry with this key; when it is to be made: a vacant one, or the one that ends first. */
static struct failed *failed_entry(struct failed *set, const uint8_t *key, bool make)
{
    struct failed *best = NULL;
    for (unsigned k = 0; k < LOCATE_FAILED_WAYS; k++) {
        if (memcmp(set[k].key, key, FAILED_KEY) == 0)
            return &set[k];
        if (!best || set[k].until < best->until)
            best = &set[k];
    }
    return make ? best : NULL;
}

void locate_failed_set(struct locate_shared *sh, const struct dest *d, usec until, usec now)
{
    uint8_t key[FAILED_KEY];
    usec last = atomic_load_explicit(&sh->failed_until, memory_order_relaxed);
    if (until == 0 && last <= now)
        return;
    while (last < until && !atomic_compare_exchange_weak(&sh->failed_until, &last, until))
        continue;
    size_t at = failed_key(sh, d, key);
    pthread_mutex_lock(&sh->failed_lock[at % LOCKS]);
    struct failed *f = failed_entry(sh->failed[at], key, until > 0);
    if (f) {
        memcpy(f->key, key, FAILED_KEY);
        f->until = until;
    }
    pthread_mutex_unlock(&sh->failed_lock[at % LOCKS]);
}
