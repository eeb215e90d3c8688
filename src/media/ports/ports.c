/* SPDX-License-Identifier: MIT */
/* Each port: free, taken, or LIVE + the number of an address. */
#include "ports/ports.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

enum { FREE, TAKEN, LIVE, RUN_MAX = 4 };
_Static_assert(LIVE + PORTS_ADDRESSES <= UINT8_MAX, "a state is an octet");

struct ports {
    _Atomic uint32_t range; /* first << 16 | last */
    _Atomic unsigned taken;
    pthread_mutex_t lock;
    _Atomic unsigned addresses;           /* those below stand; they never change */
    struct addr address[PORTS_ADDRESSES]; /* LOCK: lock, to add; port 0 */
    _Atomic uint8_t state[UINT16_MAX + 1];
};

struct range {
    unsigned first, n;
};
static struct range range_of(const struct ports *p)
{
    uint32_t v = atomic_load_explicit(&((struct ports *)p)->range, memory_order_relaxed);
    return (struct range){v >> 16, (v & UINT16_MAX) - (v >> 16) + 1};
}

enum err ports_new(uint16_t first, uint16_t last, struct ports **ret_ports)
{
    struct ports *p = MEM_NEW(struct ports);
    if (!p)
        return ERR_NOMEM;
    enum err rc = ports_range(p, first, last);
    if (rc) {
        mem_free(p);
        return rc;
    }
    pthread_mutex_init(&p->lock, NULL);
    *ret_ports = p;
    return ERR_OK;
}

void ports_free(struct ports *p)
{
    if (!p)
        return;
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

enum err ports_range(struct ports *p, uint16_t first, uint16_t last)
{
    if (first == 0 || first > last)
        return ERR_RANGE;
    atomic_store(&p->range, (uint32_t)first << 16 | last);
    return ERR_OK;
}

unsigned ports_count(const struct ports *p)
{
    return range_of(p).n;
}

unsigned ports_taken(const struct ports *p)
{
    return atomic_load(&((struct ports *)p)->taken);
}

static bool take_one(struct ports *p, unsigned port)
{
    uint8_t was = FREE;
    return atomic_compare_exchange_strong(&p->state[port], &was, TAKEN);
}

static bool take_run(struct ports *p, unsigned at, unsigned n)
{
    unsigned got = 0;
    while (got < n && take_one(p, at + got))
        got++;
    if (got == n)
        return true;
    while (got > 0)
        atomic_store(&p->state[at + --got], FREE);
    return false;
}

enum err ports_claim(struct ports *p, uint16_t port, unsigned n)
{
    assert(n >= 1 && n <= RUN_MAX);
    if (port == 0 || n > UINT16_MAX - port + 1u || !take_run(p, port, n))
        return ERR_BUSY;
    atomic_fetch_add(&p->taken, n);
    return ERR_OK;
}

enum err ports_take(struct ports *p, unsigned n, bool even, uint32_t chance, uint16_t *ret_port)
{
    struct range r = range_of(p);
    unsigned start = chance % r.n;
    for (unsigned i = 0; i < r.n; i++) {
        unsigned at = (start + i) % r.n, port = r.first + at;
        if (n > r.n - at || (even && port % 2 != 0) || ports_claim(p, (uint16_t)port, n))
            continue;
        *ret_port = (uint16_t)port;
        return ERR_OK;
    }
    return ERR_BUSY;
}

/* The number of this address, port aside; PORTS_ADDRESSES: none. */
static unsigned find(struct ports *p, const struct addr *a)
{
    unsigned n = atomic_load_explicit(&p->addresses, memory_order_acquire);
    for (unsigned i = 0; i < n; i++)
        if (addr_equal_ip(&p->address[i], a))
            return i;
    return PORTS_ADDRESSES;
}

static unsigned add(struct ports *p, const struct addr *a)
{
    pthread_mutex_lock(&p->lock);
    unsigned i = find(p, a), n = atomic_load(&p->addresses);
    if (i == PORTS_ADDRESSES && n < PORTS_ADDRESSES) {
        i = n;
        p->address[i] = *a;
        p->address[i].port = 0;
        atomic_store_explicit(&p->addresses, n + 1, memory_order_release);
    }
    pthread_mutex_unlock(&p->lock);
    return i;
}

void ports_live(struct ports *p, const struct addr *at)
{
    unsigned i = find(p, at);
    if (i == PORTS_ADDRESSES)
        i = add(p, at);
    if (i < PORTS_ADDRESSES && atomic_load(&p->state[at->port]) != FREE)
        atomic_store(&p->state[at->port], (uint8_t)(LIVE + i));
}

void ports_give(struct ports *p, uint16_t port, unsigned n)
{
    assert(n <= UINT16_MAX - port + 1u);
    for (unsigned i = 0; i < n; i++)
        atomic_store(&p->state[port + i], FREE);
    atomic_fetch_sub(&p->taken, n);
}

bool ports_is_live(struct ports *p, const struct addr *a)
{
    unsigned state = atomic_load(&p->state[a->port]);
    if (state < LIVE)
        return false;
    const struct addr *at = &p->address[state - LIVE];
    return at->family == a->family && (addr_is_any(at) || addr_equal_ip(at, a));
}
