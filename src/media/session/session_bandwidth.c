/* SPDX-License-Identifier: MIT */
/* What sessions of all workers may take together: each reserves its part before it begins. */
#include "session/session_priv.h"

/* One step for all workers: none takes what another one has seen free. most 0: as much as it wants. */
static bool take(_Atomic uint64_t *all, uint64_t more, uint64_t most)
{
    uint64_t now = atomic_load_explicit(all, memory_order_relaxed);
    do {
        if (most > 0 && (now > most || more > most - now))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(all, &now, now + more, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

bool session_hold(struct session *s, uint64_t bits, uint64_t most)
{
    struct sessions *m = s->all;
    if (bits > s->reserved) {
        if (!take(&m->shared->reserved, bits - s->reserved, most))
            return false;
    } else {
        atomic_fetch_sub_explicit(&m->shared->reserved, s->reserved - bits, memory_order_relaxed);
    }
    stat_add(&m->loop->stats, STAT_MEDIA_RESERVED, (int64_t)bits - (int64_t)s->reserved);
    s->reserved = bits;
    return true;
}

enum err session_reserve(struct sessions *m, struct session_id id, uint64_t bits)
{
    struct session *s = session_find(m, id);
    if (!s)
        return ERR_NOTFOUND;
    if (session_hold(s, bits, m->config.bandwidth))
        return ERR_OK;
    stat_refuse(&m->loop->stats, STAT_LIMIT_MEDIA_BANDWIDTH);
    return ERR_BUSY;
}
