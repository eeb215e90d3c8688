/* SPDX-License-Identifier: MIT */
/* transport/transport_name.c: names of TLS peers as numbers that travel in a struct dest.
 *
 * One table for all workers, of fixed size, under a short lock. A number is a place and how often it was
 * taken; the name used longest ago makes room, and its number means nothing from then on: a
 * connection is never made, nor used, in another's name. */
#include "transport/transport_priv.h"
#include <pthread.h>

enum { PLACE_BITS = 12, NIL = UINT16_MAX };
_Static_assert(SIP_NAMES == 1 << PLACE_BITS, "a number holds a place");

struct name {
    char text[SIP_NAME_MAX];
    uint8_t n;
    uint16_t bucket, next;
    uint16_t older, newer;
    uint32_t taken; /* how often the place was; 0: never */
};

struct names {
    pthread_mutex_t lock;
    struct name name[SIP_NAMES]; /* LOCK: lock, and all below */
    uint16_t bucket[SIP_NAMES];
    uint16_t oldest, newest, used;
};

enum err names_new(struct names **ret_names)
{
    struct names *t = MEM_NEW(struct names);
    if (!t)
        return ERR_NOMEM;
    if (pthread_mutex_init(&t->lock, NULL)) {
        mem_free(t);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < SIP_NAMES; i++)
        t->bucket[i] = NIL;
    t->oldest = t->newest = NIL;
    *ret_names = t;
    return ERR_OK;
}

void names_free(struct names *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}

static void age_unlink(struct names *t, uint16_t i)
{
    struct name *x = &t->name[i];
    if (x->older == NIL)
        t->oldest = x->newer;
    else
        t->name[x->older].newer = x->newer;
    if (x->newer == NIL)
        t->newest = x->older;
    else
        t->name[x->newer].older = x->older;
}

static void age_push(struct names *t, uint16_t i)
{
    struct name *x = &t->name[i];
    x->older = t->newest;
    x->newer = NIL;
    if (t->newest == NIL)
        t->oldest = i;
    else
        t->name[t->newest].newer = i;
    t->newest = i;
}

static void touch(struct names *t, uint16_t i)
{
    age_unlink(t, i);
    age_push(t, i);
}

static uint16_t take_oldest(struct names *t)
{
    uint16_t i = t->oldest;
    uint16_t *at = &t->bucket[t->name[i].bucket];
    age_unlink(t, i);
    while (*at != i)
        at = &t->name[*at].next;
    *at = t->name[i].next;
    return i;
}

static uint32_t number_of(const struct names *t, uint16_t i)
{
    return t->name[i].taken << PLACE_BITS | i;
}

static uint32_t intern(struct names *t, uint16_t bucket, sv text)
{
    for (uint16_t i = t->bucket[bucket]; i != NIL; i = t->name[i].next)
        if (sv_eq((sv){t->name[i].text, t->name[i].n}, text)) {
            touch(t, i);
            return number_of(t, i);
        }
    uint16_t i = t->used < SIP_NAMES ? t->used++ : take_oldest(t);
    struct name *x = &t->name[i];
    memcpy(x->text, text.p, text.n);
    x->n = (uint8_t)text.n;
    x->taken = (x->taken + 1) & (UINT32_MAX >> PLACE_BITS);
    if (x->taken == 0)
        x->taken = 1;
    x->bucket = bucket;
    x->next = t->bucket[bucket];
    t->bucket[bucket] = i;
    age_push(t, i);
    return number_of(t, i);
}

uint32_t names_number(struct sip_shared *sh, sv name)
{
    char mem[SIP_NAME_MAX];
    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n == 0 || name.n >= SIP_NAME_MAX)
        return 0;
    for (size_t i = 0; i < name.n; i++) {
        mem[i] = sv_lower(name.p[i]);
        if (mem[i] <= ' ' || mem[i] == 0x7f)
            return 0;
    }
    sv text = {mem, name.n};
    uint16_t bucket = (uint16_t)(home_hash(sh->home, &text, 1) % SIP_NAMES);
    pthread_mutex_lock(&sh->names->lock);
    uint32_t number = intern(sh->names, bucket, text);
    pthread_mutex_unlock(&sh->names->lock);
    return number;
}

uint32_t sip_name(struct sip *s, sv name)
{
    return names_number(s->shared, name);
}

bool names_text(struct sip_shared *sh, uint32_t number, char mem[static SIP_NAME_MAX], sv *ret_name)
{
    struct names *t = sh->names;
    uint16_t i = (uint16_t)(number & (SIP_NAMES - 1));
    bool there = false;
    pthread_mutex_lock(&t->lock);
    if (number != 0 && t->name[i].taken == number >> PLACE_BITS) {
        memcpy(mem, t->name[i].text, t->name[i].n);
        *ret_name = (sv){mem, t->name[i].n};
        touch(t, i);
        there = true;
    }
    pthread_mutex_unlock(&t->lock);
    return there;
}
