/* SPDX-License-Identifier: MIT */
/* What the workers of a process share: allocations of each account, ports in reserve, keys.
 *
 * Two small tables of a fixed size under one lock, in which nothing is allocated or called. An Allocate takes it
 * twice; data never does. */
#include <pthread.h>

#include "turnserver/turnserver_priv.h"

enum { COUNTED = 2 * TURNSERVER_ALLOCATIONS_MAX, MASK = COUNTED - 1 };
_Static_assert((COUNTED & MASK) == 0, "a power of two, and never more than half full");

struct counted {
    struct turnserver_account account;
    uint32_t n; /* 0: free */
};

struct reserved {
    uint64_t token; /* 0: free */
    usec until;
    struct turnserver_relay relay;
};

struct turnserver_shared {
    struct ports *ports;
    uint8_t secret[32];
    uint8_t nonce_key[SIPHASH_KEY], hash_key[SIPHASH_KEY];
    char realm[TURNSERVER_REALM_MAX];
    size_t realm_n;
    struct turnserver *server[LOOP_WORKERS_MAX];
    pthread_mutex_t lock;
    size_t allocations;                                /* LOCK: lock */
    size_t held;                                       /* LOCK: lock; of the next */
    struct reserved reserved[TURNSERVER_RESERVED_MAX]; /* LOCK: lock */
    struct counted counted[COUNTED];                   /* LOCK: lock; open addressing */
};

static void derive(const uint8_t secret[static 32], sv use, uint8_t *to, size_t n)
{
    uint8_t mac[SHA256_LEN];
    crypto_hmac_sha256((sv){(const char *)secret, 32}, &use, 1, mac);
    memcpy(to, mac, n);
    crypto_wipe(mac, sizeof(mac));
}

enum err turnserver_shared_new(const uint8_t secret[static 32], sv realm, struct ports *ports,
                               struct turnserver_shared **ret_shared)
{
    if (realm.n > TURNSERVER_REALM_MAX)
        return ERR_TOOBIG;
    struct turnserver_shared *sh = MEM_NEW(struct turnserver_shared);
    if (!sh)
        return ERR_NOMEM;
    sh->ports = ports;
    derive(secret, SV("credentials"), sh->secret, sizeof(sh->secret));
    derive(secret, SV("nonces"), sh->nonce_key, sizeof(sh->nonce_key));
    derive(secret, SV("tables"), sh->hash_key, sizeof(sh->hash_key));
    if (realm.n > 0)
        memcpy(sh->realm, realm.p, realm.n);
    sh->realm_n = realm.n;
    pthread_mutex_init(&sh->lock, NULL);
    *ret_shared = sh;
    return ERR_OK;
}

void turnserver_shared_free(struct turnserver_shared *sh)
{
    if (!sh)
        return;
    for (size_t i = 0; i < TURNSERVER_RESERVED_MAX; i++)
        if (sh->reserved[i].token)
            ports_give(sh->ports, sh->reserved[i].relay.bound.port, 1);
    pthread_mutex_destroy(&sh->lock);
    crypto_wipe(sh->secret, sizeof(sh->secret));
    crypto_wipe(sh->nonce_key, sizeof(sh->nonce_key));
    mem_free(sh);
}

void turnserver_enroll(struct turnserver_shared *sh, unsigned worker, struct turnserver *t)
{
    sh->server[worker] = t;
}

struct turnserver *turnserver_of(const struct turnserver_shared *sh, unsigned worker)
{
    return worker < LOOP_WORKERS_MAX ? sh->server[worker] : NULL;
}

struct ports *turnserver_ports(const struct turnserver_shared *sh)
{
    return sh->ports;
}

sv turnserver_realm(const struct turnserver_shared *sh)
{
    return (sv){sh->realm, sh->realm_n};
}

uint64_t turnserver_hash(const struct turnserver_shared *sh, const void *p, size_t n)
{
    return crypto_siphash(sh->hash_key, p, n);
}

const uint8_t *turnserver_nonce_key(const struct turnserver_shared *sh)
{
    return sh->nonce_key;
}

void turnserver_password(const struct turnserver_shared *sh, sv user, struct buf *ret_password)
{
    uint8_t mac[SHA256_LEN];
    crypto_hmac_sha256((sv){(const char *)sh->secret, sizeof(sh->secret)}, &user, 1, mac);
    crypto_base64(ret_password, mac, sizeof(mac));
    crypto_wipe(mac, sizeof(mac));
}

/* ---- quotas ---- */

struct turnserver_account turnserver_account_of(const struct turnserver_shared *sh, sv account)
{
    struct turnserver_account a;
    crypto_siphash128_list(sh->hash_key, &account, 1, a.hash);
    return a;
}

static bool same(struct turnserver_account a, struct turnserver_account b)
{
    return a.hash[0] == b.hash[0] && a.hash[1] == b.hash[1];
}

/* Its place, or the free one where it belongs. */
static size_t place_of(const struct turnserver_shared *sh, struct turnserver_account a)
{
    size_t i = a.hash[0] & MASK;
    while (sh->counted[i].n > 0 && !same(sh->counted[i].account, a))
        i = (i + 1) & MASK;
    return i;
}

/* Those behind a place that becomes free move up, where they belong before it. */
static void close_gap(struct turnserver_shared *sh, size_t gap)
{
    for (size_t i = (gap + 1) & MASK; sh->counted[i].n > 0; i = (i + 1) & MASK) {
        size_t home = sh->counted[i].account.hash[0] & MASK;
        if (((i - home) & MASK) < ((i - gap) & MASK))
            continue;
        sh->counted[gap] = sh->counted[i];
        sh->counted[i].n = 0;
        gap = i;
    }
}

/* Those for whom nobody came are given back; a free place, or NULL. Locked. */
static struct reserved *sweep(struct turnserver_shared *sh, usec now)
{
    struct reserved *vacant = sh->held == 0 ? &sh->reserved[0] : NULL;
    for (size_t i = 0; i < TURNSERVER_RESERVED_MAX && sh->held > 0; i++) {
        struct reserved *x = &sh->reserved[i];
        if (x->token && x->until <= now) {
            ports_give(sh->ports, x->relay.bound.port, 1);
            x->token = 0;
            sh->held--;
        }
        vacant = x->token ? vacant : x;
    }
    return vacant;
}

enum err turnserver_enter(struct turnserver_shared *sh, struct turnserver_account a, unsigned quota,
                          usec now)
{
    enum err rc = ERR_OK;
    size_t most = ports_count(sh->ports) / 2; /* calls have the other half */
    if (most > TURNSERVER_ALLOCATIONS_MAX)
        most = TURNSERVER_ALLOCATIONS_MAX;
    pthread_mutex_lock(&sh->lock);
    struct counted *x = &sh->counted[place_of(sh, a)];
    sweep(sh, now);
    if (x->n >= quota) {
        rc = ERR_TOOBIG;
    } else if (sh->allocations >= most) {
        rc = ERR_BUSY;
    } else {
        x->account = a;
        x->n++;
        sh->allocations++;
    }
    pthread_mutex_unlock(&sh->lock);
    return rc;
}

void turnserver_leave(struct turnserver_shared *sh, struct turnserver_account a)
{
    pthread_mutex_lock(&sh->lock);
    size_t i = place_of(sh, a);
    if (sh->counted[i].n > 0) {
        sh->allocations--;
        if (--sh->counted[i].n == 0)
            close_gap(sh, i);
    }
    pthread_mutex_unlock(&sh->lock);
}

/* ---- ports in reserve ---- */

enum err turnserver_reserve(struct turnserver_shared *sh, uint64_t token,
                            const struct turnserver_relay *r, usec now)
{
    pthread_mutex_lock(&sh->lock);
    struct reserved *vacant = sweep(sh, now);
    if (vacant) {
        *vacant = (struct reserved){token, now + TURNSERVER_RESERVED_LIFE, *r};
        sh->held++;
    }
    pthread_mutex_unlock(&sh->lock);
    return vacant ? ERR_OK : ERR_BUSY;
}

bool turnserver_claim(struct turnserver_shared *sh, uint64_t token, usec now,
                      struct turnserver_relay *ret_relay)
{
    bool found = false;
    pthread_mutex_lock(&sh->lock);
    for (size_t i = 0; i < TURNSERVER_RESERVED_MAX && !found && token; i++) {
        struct reserved *x = &sh->reserved[i];
        found = x->token == token && x->until > now;
        if (found) {
            *ret_relay = x->relay;
            x->token = 0;
            sh->held--;
        }
    }
    pthread_mutex_unlock(&sh->lock);
    return found;
}
