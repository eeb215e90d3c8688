/* SPDX-License-Identifier: MIT */
/* transport/transport_source.c: how many connections each source has, and how fast they come.
 *
 * One table for all workers, of fixed size: shard (short lock) -> bucket -> chain of entries. A source with
 * connections has an entry; one without keeps it only as long as its rate is remembered, and gives
 * it up when another needs it. There is room for every connection to have a source of its own.
 *
 * The rate is a bucket of one second's worth, as the time when it will be full again (GCRA): a
 * newcomer may come while that is less than a second ahead, and pushes it on by 1/rate s. */
#include "transport/transport_priv.h"
#include <pthread.h>

enum { SHARDS = 16, SHARD_SLACK = 64 };
enum { NIL = 0 }; /* nobody's entry; so what was never used is memory that was never touched */

struct entry {
    uint8_t key[ADDR_KEY];
    usec full_at;
    uint32_t count;
    uint32_t next;         /* in the chain or the free list; NIL ends it */
    uint32_t older, newer; /* among those without connections */
    uint32_t bucket;
};

struct shard {
    pthread_mutex_t lock;
    struct entry *entry; /* LOCK: lock, and all below */
    uint32_t *bucket;
    uint32_t mask, vacant, oldest, newest;
    uint32_t fresh, left; /* entries were used up to here; were not */
};

struct sources {
    struct shard shard[SHARDS];
};

static bool shard_init(struct shard *s, size_t entries)
{
    size_t buckets = 16;
    while (buckets < entries)
        buckets *= 2;
    s->entry = mem_calloc(entries + 1, sizeof *s->entry);
    s->bucket = mem_calloc(buckets, sizeof *s->bucket);
    if (!s->entry || !s->bucket || pthread_mutex_init(&s->lock, NULL)) {
        mem_free(s->entry);
        mem_free(s->bucket);
        s->entry = NULL;
        return false;
    }
    s->mask = (uint32_t)buckets - 1;
    s->left = (uint32_t)entries;
    return true;
}

enum err sources_new(size_t connections, struct sources **ret_sources)
{
    struct sources *t = MEM_NEW(struct sources);
    if (!t)
        return ERR_NOMEM;
    for (size_t i = 0; i < SHARDS; i++) {
        /* A keyed hash spreads them: twice the mean is more than chance will ever ask for. */
        if (!shard_init(&t->shard[i], 2 * connections / SHARDS + SHARD_SLACK)) {
            sources_free(t);
            return ERR_NOMEM;
        }
    }
    *ret_sources = t;
    return ERR_OK;
}

void sources_free(struct sources *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < SHARDS && t->shard[i].entry; i++) {
        pthread_mutex_destroy(&t->shard[i].lock);
        mem_free(t->shard[i].entry);
        mem_free(t->shard[i].bucket);
    }
    mem_free(t);
}

/* Whose connections are counted together: an IPv4 address, a /64 of IPv6. */
static void source_key(const struct addr *a, uint8_t key[static ADDR_KEY])
{
    struct addr source = {.family = a->family};
    memcpy(source.ip, a->ip, a->family == 6 ? 8 : 4);
    addr_key(&source, key);
}

/* ---- one shard, locked ---- */

static void idle_unlink(struct shard *s, uint32_t i)
{
    struct entry *e = &s->entry[i];
    if (e->older == NIL)
        s->oldest = e->newer;
    else
        s->entry[e->older].newer = e->newer;
    if (e->newer == NIL)
        s->newest = e->older;
    else
        s->entry[e->newer].older = e->older;
}

static void idle_push(struct shard *s, uint32_t i)
{
    struct entry *e = &s->entry[i];
    e->older = s->newest;
    e->newer = NIL;
    if (s->newest == NIL)
        s->oldest = i;
    else
        s->entry[s->newest].newer = i;
    s->newest = i;
}

/* Without connections, and in no idle list. */
static void forget(struct shard *s, uint32_t i)
{
    uint32_t *at = &s->bucket[s->entry[i].bucket];
    while (*at != i)
        at = &s->entry[*at].next;
    *at = s->entry[i].next;
    s->entry[i].next = s->vacant;
    s->vacant = i;
}

static uint32_t find(const struct shard *s, uint32_t bucket, const uint8_t key[static ADDR_KEY])
{
    uint32_t i = s->bucket[bucket];
    while (i != NIL && memcmp(s->entry[i].key, key, ADDR_KEY) != 0)
        i = s->entry[i].next;
    return i;
}

/* NIL: every entry has connections. */
static uint32_t make(struct shard *s, uint32_t bucket, const uint8_t key[static ADDR_KEY])
{
    if (s->vacant == NIL && !s->left && s->oldest != NIL) {
        uint32_t old = s->oldest;
        idle_unlink(s, old);
        forget(s, old);
    }
    uint32_t i = s->vacant;
    if (i == NIL && !s->left)
        return NIL;
    if (i != NIL) {
        s->vacant = s->entry[i].next;
    } else {
        i = ++s->fresh;
        s->left--;
    }
    struct entry *e = &s->entry[i];
    *e = (struct entry){.next = s->bucket[bucket], .bucket = bucket};
    memcpy(e->key, key, ADDR_KEY);
    s->bucket[bucket] = i;
    idle_push(s, i);
    return i;
}

static enum source_verdict enter(struct shard *s, uint32_t bucket,
                                 const uint8_t key[static ADDR_KEY],
                                 const struct source_limits *limits, usec now)
{
    uint32_t i = find(s, bucket, key);
    if (i == NIL)
        i = make(s, bucket, key);
    if (i == NIL)
        return SOURCE_FULL;
    struct entry *e = &s->entry[i];
    if (limits->rate > 0) {
        usec full_at = e->full_at > now ? e->full_at : now;
        usec next = full_at + USEC_S / (usec)limits->rate;
        if (next - now > USEC_S)
            return SOURCE_FAST;
        e->full_at = next; /* refused ones for their number count too: they cost as much */
    }
    if (e->count >= limits->connections)
        return SOURCE_FULL;
    if (e->count++ == 0)
        idle_unlink(s, i);
    return SOURCE_ENTERED;
}

static void leave(struct shard *s, uint32_t bucket, const uint8_t key[static ADDR_KEY], usec now)
{
    uint32_t i = find(s, bucket, key);
    if (i == NIL || s->entry[i].count == 0 || --s->entry[i].count > 0)
        return;
    if (s->entry[i].full_at > now)
        idle_push(s, i);
    else
        forget(s, i);
}

/* ---- for connections ---- */

static struct shard *shard_of(struct sip *s, const struct addr *source,
                              uint8_t key[static ADDR_KEY], uint32_t *ret_bucket)
{
    source_key(source, key);
    sv piece = {(const char *)key, ADDR_KEY};
    uint64_t h = home_hash(s->shared->home, &piece, 1);
    struct shard *shard = &s->shared->sources->shard[h % SHARDS];
    *ret_bucket = (uint32_t)(h >> 32) & shard->mask;
    return shard;
}

static struct source_limits limits_of(const struct sip_config *c, const struct addr *source)
{
    struct source_limits l = {c->connections_source, c->new_connections};
    int longest = -1;
    for (unsigned i = 0; i < c->exempt_n; i++) {
        const struct sip_exempt *x = &c->exempt[i];
        if (!addr_net_has(&x->from, source) || x->from.bits <= longest)
            continue;
        longest = x->from.bits;
        l.connections =
            x->connections == SIP_LIMIT_DEFAULT ? c->connections_source : x->connections;
        l.rate = x->new_connections == SIP_LIMIT_DEFAULT ? c->new_connections : x->new_connections;
    }
    for (unsigned i = 0; i < c->trusted_n; i++)
        if (addr_net_has(&c->trusted[i], source))
            l = (struct source_limits){UINT32_MAX, 0};
    return l;
}

enum source_verdict source_enter(struct sip *s, const struct addr *source)
{
    uint8_t key[ADDR_KEY];
    uint32_t bucket;
    struct source_limits limits = limits_of(&s->shared->config, source);
    struct shard *shard = shard_of(s, source, key, &bucket);
    pthread_mutex_lock(&shard->lock);
    enum source_verdict v = enter(shard, bucket, key, &limits, s->loop->now);
    pthread_mutex_unlock(&shard->lock);
    if (v == SOURCE_FULL)
        stat_refuse(&s->loop->stats, STAT_LIMIT_SOURCE_CONNECTIONS);
    else if (v == SOURCE_FAST)
        stat_refuse(&s->loop->stats, STAT_LIMIT_NEW_CONNECTIONS);
    return v;
}

void source_leave(struct sip *s, const struct addr *source)
{
    uint8_t key[ADDR_KEY];
    uint32_t bucket;
    struct shard *shard = shard_of(s, source, key, &bucket);
    pthread_mutex_lock(&shard->lock);
    leave(shard, bucket, key, s->loop->now);
    pthread_mutex_unlock(&shard->lock);
}
