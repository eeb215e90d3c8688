/* SPDX-License-Identifier: MIT */
/* What sessions of one payer may take of the ports, of all workers. A call counts once, however many phones ring: as the
 * largest of its sessions; those that were answered are calls of their own. So what rings beside it costs its payer
 * nothing, and all that he has is bounded once more: it leaves some to the others. */
#include "ports/ports.h"
#include "session/session_priv.h"

_Static_assert((SESSION_PAYERS & (SESSION_PAYERS - 1)) == 0, "a mask finds a payer's place");

enum { SHARE = 2 };

static uint32_t share(const struct sessions *m)
{
    unsigned n = ports_count(m->shared->ports) / SHARE;
    return n < SESSION_QUOTA_LEAST ? SESSION_QUOTA_LEAST : n;
}

static uint32_t quota(const struct sessions *m)
{
    return m->config.quota > 0 ? m->config.quota : share(m);
}

/* A quota that is more than the share is meant so. */
static uint32_t most_ports(const struct sessions *m)
{
    return quota(m) > share(m) ? quota(m) : share(m);
}

static struct payer *payer_of(const struct sessions *m, uint32_t payer)
{
    return &m->shared->payer[(payer - 1) & (SESSION_PAYERS - 1)];
}

/* One step for all workers, as of the bandwidth. */
static bool take(_Atomic uint32_t *count, uint32_t n, uint32_t most)
{
    uint32_t now = atomic_load_explicit(count, memory_order_relaxed);
    do {
        if (n > 0 && (now > most || n > most - now))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(count, &now, now + n, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

static void give(_Atomic uint32_t *count, uint32_t n)
{
    atomic_fetch_sub_explicit(count, n, memory_order_relaxed);
}

/* What s and the others of its call count for. */
static uint32_t cost(const struct session *s)
{
    uint32_t largest = s->ports, answered = s->answered ? s->ports : 0;
    LIST_EACH (o, &s->by_call, const struct session, by_call) {
        largest = o->ports > largest ? o->ports : largest;
        answered += o->answered ? o->ports : 0;
    }
    return answered > largest ? answered : largest;
}

bool session_take_ports(struct session *s)
{
    struct sessions *m = s->all;
    struct payer *p = s->payer ? payer_of(m, s->payer) : NULL;
    uint32_t before = cost(s);
    s->ports += RELAY_COMPONENTS;
    if (!p)
        return true;
    if (take(&p->ports, RELAY_COMPONENTS, most_ports(m))) {
        if (take(&p->counted, cost(s) - before, quota(m)))
            return true;
        give(&p->ports, RELAY_COMPONENTS);
    }
    s->ports -= RELAY_COMPONENTS;
    stat_refuse(&m->loop->stats, STAT_LIMIT_MEDIA_QUOTA);
    return false;
}

void session_give_ports(struct session *s)
{
    uint32_t before = cost(s);
    s->ports -= RELAY_COMPONENTS;
    if (!s->payer)
        return;
    struct payer *p = payer_of(s->all, s->payer);
    give(&p->ports, RELAY_COMPONENTS);
    give(&p->counted, before - cost(s));
}

uint32_t session_payer(const struct sessions *m, sv account)
{
    if (account.n == 0)
        return 0;
    uint64_t h = crypto_siphash(m->shared->payer_key, account.p, account.n);
    return (uint32_t)(h & (SESSION_PAYERS - 1)) + 1;
}

enum err session_pay(struct sessions *m, struct session_id id, uint32_t payer,
                     struct session_id with)
{
    struct session *s = session_find(m, id), *other = session_find(m, with);
    if (!s)
        return ERR_NOTFOUND;
    if (s->ports > 0)
        return ERR_STATE;
    s->payer = payer;
    list_unlink(&s->by_call);
    if (other && other != s && other->payer == payer)
        list_push(&other->by_call, &s->by_call);
    return ERR_OK;
}

static bool fits(_Atomic uint32_t *count, uint32_t n, uint32_t most)
{
    uint32_t now = atomic_load_explicit(count, memory_order_relaxed);
    return now <= most && n <= most - now;
}

enum err session_room(const struct sessions *m, uint32_t payer, unsigned lines)
{
    uint32_t n = lines * SESSION_SIDES * RELAY_COMPONENTS;
    struct payer *p = payer ? payer_of(m, payer) : NULL;
    unsigned all = ports_count(m->shared->ports), taken = ports_taken(m->shared->ports);
    if (p && (!fits(&p->counted, n, quota(m)) || !fits(&p->ports, n, most_ports(m))))
        return ERR_DENIED;
    return taken > all || n > all - taken ? ERR_BUSY : ERR_OK;
}

void session_answered(struct sessions *m, struct session_id id)
{
    struct session *s = session_find(m, id);
    if (!s)
        return;
    uint32_t before = cost(s);
    s->answered = true;
    if (s->payer) /* it stands: that is beyond what can be refused */
        atomic_fetch_add_explicit(&payer_of(m, s->payer)->counted, cost(s) - before,
                                  memory_order_relaxed);
}
