/* SPDX-License-Identifier: MIT */
/* What sessions of one payer may take of the ports, of all workers: one takes no more than leaves some to the others. */
#include "ports/ports.h"
#include "session/session_priv.h"

_Static_assert((SESSION_PAYERS & (SESSION_PAYERS - 1)) == 0, "a mask finds a payer's place");

enum { SHARE = 2 };

static uint32_t quota(const struct sessions *m)
{
    unsigned share = ports_count(m->shared->ports) / SHARE;
    if (m->config.quota > 0)
        return m->config.quota;
    return share < SESSION_QUOTA_LEAST ? SESSION_QUOTA_LEAST : share;
}

static _Atomic uint32_t *place(const struct sessions *m, uint32_t payer)
{
    return &m->shared->held[(payer - 1) & (SESSION_PAYERS - 1)];
}

/* One step for all workers, as of the bandwidth. */
static bool take(struct sessions *m, uint32_t payer, uint32_t n)
{
    uint32_t most = quota(m), now;
    if (payer == 0)
        return true;
    _Atomic uint32_t *held = place(m, payer);
    now = atomic_load_explicit(held, memory_order_relaxed);
    do {
        if (now > most || n > most - now) {
            stat_refuse(&m->loop->stats, STAT_LIMIT_MEDIA_QUOTA);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(held, &now, now + n, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

static void give(struct sessions *m, uint32_t payer, uint32_t n)
{
    if (payer > 0)
        atomic_fetch_sub_explicit(place(m, payer), n, memory_order_relaxed);
}

bool session_take_ports(struct session *s)
{
    return take(s->all, s->payer, RELAY_COMPONENTS);
}

void session_give_ports(struct session *s)
{
    give(s->all, s->payer, RELAY_COMPONENTS);
}

uint32_t session_payer(const struct sessions *m, sv account)
{
    if (account.n == 0)
        return 0;
    uint64_t h = crypto_siphash(m->shared->payer_key, account.p, account.n);
    return (uint32_t)(h & (SESSION_PAYERS - 1)) + 1;
}

enum err session_pay(struct sessions *m, struct session_id id, uint32_t payer)
{
    struct session *s = session_find(m, id);
    uint32_t n = 0;
    if (!s)
        return ERR_NOTFOUND;
    for (unsigned side = 0; side < SESSION_SIDES; side++) {
        for (unsigned i = 0; i < OFFER_MEDIA_MAX; i++)
            n += s->transport[side][i] ? RELAY_COMPONENTS : 0;
    }
    if (!take(m, payer, n))
        return ERR_DENIED;
    give(m, s->payer, n);
    s->payer = payer;
    return ERR_OK;
}
