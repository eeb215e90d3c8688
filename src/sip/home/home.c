/* SPDX-License-Identifier: MIT */
/* home/home.c: marks under a secret, and the directory of Call-IDs.
 *
 *   mark       chance 64 | slot 16, masked | MAC 32   = 14 octets = 19 characters of base64url,
 *              behind a letter for the kernel: which worker it is for
 *   directory  shard (lock) -> bucket -> chain of entries, all allocated at the start; of the buckets so many are
 *              used as there are entries, so that few calls need little of the cache; an octet of hints for each
 *              says of most Call-IDs that are not there that they are not, without a look at what lies cold
 *
 * An entry is known by 128 bits of keyed hash, not by its text: nobody without the secret can make
 * two Call-IDs meet, so equality of keys is equality. */
#include "home/home.h"
#include <assert.h>
#include <pthread.h>
#include "crypto/crypto.h"
#include "sock/sock.h"

enum { LETTERS = 26, MARK_OCTETS = 14, MARK_SIGNED = 10, MARK_MAC = 4 };
enum { SHARDS_MAX = 64, SHARD_ENTRIES_MIN = 64 };
enum { BUCKETS_MIN = 16, SHARDS_PER_WORKER = 8 };
enum { NIL = 0 }; /* nobody's entry; so what was never used is memory that was never touched */

struct entry {
    struct home_key key;
    uint32_t next; /* in the chain or the free list; NIL ends it */
    uint32_t claims;
    uint16_t slot;
};

struct shard {
    pthread_mutex_t lock;
    struct entry *entry; /* LOCK: lock, and all below */
    uint32_t *bucket;
    uint8_t *hints; /* of each bucket: which keys are in it, by an eighth; of more, perhaps */
    /* In use; mask: the least power of two that is not below, less one (linear hashing) */
    uint32_t buckets, mask;
    uint32_t buckets_max;
    uint32_t vacant;
    uint32_t fresh, left; /* entries were used up to here; were not */
    size_t count;
};

struct home {
    uint8_t key_mac[SIPHASH_KEY],
        key_mask[SIPHASH_KEY]; /* RO after home_new, as all but the shards */
    uint8_t key_hash[SIPHASH_KEY], key_tag[SIPHASH_KEY], key_call[SIPHASH_KEY];
    struct table_key key_directory, key_list;
    unsigned workers;
    unsigned shards; /* a power of two */
    struct shard shard[SHARDS_MAX];
};

/* One key for each use, so that no value of one use says anything about another. */
static void derive(const uint8_t secret[static HOME_SECRET], sv use,
                   uint8_t key[static SIPHASH_KEY])
{
    uint8_t mac[SHA256_LEN];
    crypto_hmac_sha256((sv){(const char *)secret, HOME_SECRET}, &use, 1, mac);
    memcpy(key, mac, SIPHASH_KEY);
    crypto_wipe(mac, sizeof mac);
}

static bool shard_init(struct shard *s, size_t entries)
{
    size_t buckets = BUCKETS_MIN;
    while (buckets < entries)
        buckets *= 2;
    s->entry = mem_calloc(entries + 1, sizeof *s->entry);
    s->bucket = mem_calloc(buckets, sizeof *s->bucket);
    s->hints = mem_calloc(buckets, 1);
    if (!s->entry || !s->bucket || !s->hints || pthread_mutex_init(&s->lock, NULL)) {
        mem_free(s->entry);
        mem_free(s->bucket);
        mem_free(s->hints);
        s->entry = NULL;
        return false;
    }
    s->buckets_max = (uint32_t)buckets;
    s->buckets = BUCKETS_MIN;
    s->mask = BUCKETS_MIN - 1;
    s->left = (uint32_t)entries;
    return true;
}

enum err home_new(const uint8_t secret[static HOME_SECRET], unsigned workers, size_t entries,
                  struct home **ret_home)
{
    assert(workers > 0 && workers <= HOME_SLOTS);
    if (entries == 0)
        entries = 1;
    if (entries >= UINT32_MAX)
        return ERR_NOMEM;
    struct home *h = MEM_NEW(struct home);
    if (!h)
        return ERR_NOMEM;
    derive(secret, SV("tandem mark mac"), h->key_mac);
    derive(secret, SV("tandem mark mask"), h->key_mask);
    derive(secret, SV("tandem hash"), h->key_hash);
    derive(secret, SV("tandem tag"), h->key_tag);
    derive(secret, SV("tandem call"), h->key_call);
    sv whole = {(const char *)secret, HOME_SECRET};
    crypto_table_key(whole, SV("tandem directory"), &h->key_directory);
    crypto_table_key(whole, SV("tandem list"), &h->key_list);
    h->workers = workers;
    unsigned shards = 1;
    while (shards < SHARDS_MAX && shards < workers * SHARDS_PER_WORKER &&
           entries / (shards * 2) >= SHARD_ENTRIES_MIN)
        shards *= 2;
    for (; h->shards < shards; h->shards++) {
        if (!shard_init(&h->shard[h->shards], (entries + shards - 1) / shards)) {
            home_free(h);
            return ERR_NOMEM;
        }
    }
    *ret_home = h;
    return ERR_OK;
}

void home_free(struct home *h)
{
    if (!h)
        return;
    for (unsigned i = 0; i < h->shards; i++) {
        pthread_mutex_destroy(&h->shard[i].lock);
        mem_free(h->shard[i].entry);
        mem_free(h->shard[i].bucket);
        mem_free(h->shard[i].hints);
    }
    crypto_wipe(h, sizeof *h);
    mem_free(h);
}

uint16_t home_slot(const struct home *h, unsigned worker, uint64_t chance)
{
    unsigned own = (HOME_SLOTS - worker + h->workers - 1) / h->workers;
    return (uint16_t)(worker + h->workers * (chance % own));
}

unsigned home_worker(const struct home *h, uint16_t slot)
{
    return slot % h->workers;
}

static uint16_t slot_mask(const struct home *h, const uint8_t *random)
{
    return (uint16_t)crypto_siphash(h->key_mask, random, 8);
}

/* What stands behind the signed octets. */
static void mark_mac(const struct home *h, const uint8_t *mark, uint8_t ret_mac[static MARK_MAC])
{
    uint64_t mac = crypto_siphash(h->key_mac, mark, MARK_SIGNED);
    for (int i = 0; i < MARK_MAC; i++)
        ret_mac[i] = (uint8_t)(mac >> (8 * i));
}

void home_mark(const struct home *h, uint16_t slot, uint64_t chance, struct buf *b)
{
    uint8_t mark[MARK_OCTETS];
    memcpy(mark, &chance, sizeof chance);
    uint16_t masked = slot ^ slot_mask(h, mark);
    mark[8] = (uint8_t)(masked >> 8);
    mark[9] = (uint8_t)masked;
    mark_mac(h, mark, mark + MARK_SIGNED);
    unsigned worker = home_worker(h, slot);
    buf_char(b, worker < LETTERS ? (char)(UDP_STEER_FIRST + worker) : '-');
    crypto_base64url(b, mark, sizeof mark);
}

bool home_mark_open(const struct home *h, sv text, uint16_t *ret_slot, uint64_t *ret_chance)
{
    uint8_t mark[MARK_OCTETS];
    size_t n;
    if (text.n < HOME_MARK_LEN ||
        crypto_base64url_decode(sv_sub(text, 1, HOME_MARK_LEN), mark, sizeof mark, &n) ||
        n != sizeof mark)
        return false;
    uint8_t want[MARK_MAC];
    mark_mac(h, mark, want);
    uint16_t slot = (uint16_t)((mark[8] << 8 | mark[9]) ^ slot_mask(h, mark));
    if (!crypto_equal(want, mark + MARK_SIGNED, MARK_MAC) || slot >= HOME_SLOTS)
        return false;
    *ret_slot = slot;
    memcpy(ret_chance, mark, sizeof *ret_chance);
    return true;
}

bool home_mark_read(const struct home *h, sv text, uint16_t *ret_slot)
{
    uint64_t chance;
    return home_mark_open(h, text, ret_slot, &chance);
}

static struct home_key list_key(const struct table_key *key, const sv *pieces, size_t n)
{
    uint64_t hash[2];
    crypto_table_hash(key, pieces, n, hash);
    return (struct home_key){hash[0], hash[1]};
}

struct home_key home_key(const struct home *h, sv call_id)
{
    return list_key(&h->key_directory, &call_id, 1);
}

/* The top bits choose the shard, the low ones the bucket. */
static struct shard *shard_of(const struct home *h, const struct home_key *key)
{
    return (struct shard *)&h->shard[(key->a >> 58) & (h->shards - 1)];
}

static uint32_t bucket_of(const struct shard *s, const struct home_key *key)
{
    uint32_t i = key->a & s->mask;
    return i < s->buckets ? i : i & s->mask >> 1;
}

/* Of bits that choose neither the shard nor the bucket. */
static uint8_t hint_of(const struct home_key *key)
{
    return (uint8_t)(1 << (key->b & 7));
}

/* The link that leads to key's entry; NULL: there is none. */
static uint32_t *chain_find(struct shard *s, const struct home_key *key)
{
    uint32_t i = bucket_of(s, key);
    if (!(s->hints[i] & hint_of(key)))
        return NULL;
    uint32_t *at = &s->bucket[i];
    while (*at != NIL && !home_key_equal(&s->entry[*at].key, key))
        at = &s->entry[*at].next;
    return *at != NIL ? at : NULL;
}

static void chain_put(struct shard *s, uint32_t bucket, uint32_t i)
{
    struct entry *e = &s->entry[i];
    e->next = s->bucket[bucket];
    s->bucket[bucket] = i;
    s->hints[bucket] |= hint_of(&e->key);
}

/* One bucket more: of the entries of the one that it halves it gets those that belong to it. */
static void split(struct shard *s)
{
    if (s->buckets > s->mask)
        s->mask = 2 * s->mask + 1;
    uint32_t made = s->buckets++, halved = made & s->mask >> 1;
    uint32_t next, i = s->bucket[halved];
    s->bucket[halved] = s->bucket[made] = NIL;
    s->hints[halved] = s->hints[made] = 0;
    for (; i != NIL; i = next) {
        next = s->entry[i].next;
        chain_put(s, (s->entry[i].key.a & s->mask) == made ? made : halved, i);
    }
    __builtin_prefetch(&s->entry[s->bucket[s->buckets & s->mask >> 1]]); /* halved next */
}

/* One bucket less: the last goes back to the one that it was split from. */
static void join(struct shard *s)
{
    uint32_t last = --s->buckets, halved = last & s->mask >> 1;
    uint32_t *end = &s->bucket[halved];
    while (*end != NIL)
        end = &s->entry[*end].next;
    *end = s->bucket[last];
    s->bucket[last] = NIL;
    s->hints[halved] |= s->hints[last];
    if (s->buckets == (s->mask >> 1) + 1)
        s->mask >>= 1;
}

/* A new entry; false: there are too many. */
static bool enter(struct shard *s, const struct home_key *key, uint16_t slot)
{
    uint32_t i = s->vacant;
    if (i == NIL && s->left == 0)
        return false;
    if (i != NIL) {
        s->vacant = s->entry[i].next;
    } else {
        i = ++s->fresh;
        s->left--;
    }
    s->entry[i] = (struct entry){.key = *key, .claims = 1, .slot = slot};
    chain_put(s, bucket_of(s, key), i);
    if (++s->count > s->buckets && s->buckets < s->buckets_max)
        split(s);
    return true;
}

enum home_held home_claim(struct home *h, const struct home_key *key, uint16_t slot,
                          uint16_t *ret_slot)
{
    struct shard *s = shard_of(h, key);
    enum home_held held = HOME_NOT_HELD;
    *ret_slot = slot;
    pthread_mutex_lock(&s->lock);
    const uint32_t *at = chain_find(s, key);
    if (at) {
        struct entry *e = &s->entry[*at];
        *ret_slot = e->slot;
        if (e->claims < UINT32_MAX) {
            e->claims++;
            held = HOME_SHARED;
        }
    } else if (enter(s, key, slot)) {
        held = HOME_FIRST;
    }
    pthread_mutex_unlock(&s->lock);
    return held;
}

static void leave(struct shard *s, uint32_t *at)
{
    uint32_t i = *at, bucket = bucket_of(s, &s->entry[i].key);
    *at = s->entry[i].next;
    if (s->bucket[bucket] == NIL)
        s->hints[bucket] = 0; /* with others in it, it may go on naming this one's eighth */
    s->entry[i].next = s->vacant;
    s->vacant = i;
    if (--s->count < s->buckets / 2 && s->buckets > BUCKETS_MIN)
        join(s);
}

void home_release(struct home *h, const struct home_key *key)
{
    struct shard *s = shard_of(h, key);
    pthread_mutex_lock(&s->lock);
    uint32_t *at = chain_find(s, key);
    if (at && --s->entry[*at].claims == 0)
        leave(s, at);
    pthread_mutex_unlock(&s->lock);
}

bool home_find(const struct home *h, const struct home_key *key, uint16_t *ret_slot)
{
    struct shard *s = shard_of(h, key);
    pthread_mutex_lock(&s->lock);
    const uint32_t *at = chain_find(s, key);
    if (at)
        *ret_slot = s->entry[*at].slot;
    pthread_mutex_unlock(&s->lock);
    return at != NULL;
}

size_t home_entries(const struct home *h)
{
    size_t n = 0;
    for (unsigned i = 0; i < h->shards; i++) {
        struct shard *s = (struct shard *)&h->shard[i];
        pthread_mutex_lock(&s->lock);
        n += s->count;
        pthread_mutex_unlock(&s->lock);
    }
    return n;
}

uint64_t home_hash(const struct home *h, const sv *pieces, size_t n)
{
    return crypto_siphash_list(h->key_hash, pieces, n);
}

uint64_t home_call(const struct home *h, sv call_id)
{
    return crypto_siphash(h->key_call, call_id.p, call_id.n);
}

struct home_key home_list_key(const struct home *h, const sv *pieces, size_t n)
{
    return list_key(&h->key_list, pieces, n);
}

uint64_t home_tag(const struct home *h, const sv *pieces, size_t n)
{
    struct home_key key = home_list_key(h, pieces, n);
    return crypto_siphash(h->key_tag, &key, sizeof key);
}
