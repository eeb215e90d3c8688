/* SPDX-License-Identifier: MIT */
/* The interval is divided among the parts of the store that are this worker's, a part's time into
 * steps:
 *
 *   |<----------------------------- interval ----------------------------->|
 *   | part w          | part w+workers   | …                               |
 *   | . . . . . . . . | . . . . . . . .  |     . a step: the addresses of record whose
 *                                              names lead to it
 *
 * At the start of a part its phones are collected, each under its step; a timer fires only for steps
 * that have some. */
#include "keepalive/keepalive.h"

enum { STEPS = 128, NONE = UINT32_MAX, FIRST = 64 };

static const usec step_least = 10 * USEC_MS;

struct phone {
    struct flow flow;
    uint32_t next; /* of its step; NONE: the last */
};

struct keepalive {
    struct sip *sip;
    struct store *store;
    struct loop *loop;
    struct timer timer;
    usec interval; /* 0: off */
    bool push;     /* phones that can be woken need not be reached */
    /* the part whose time it is */
    unsigned part;
    usec begun, lasts; /* lasts: a part's time */
    unsigned steps, at;
    uint32_t first[STEPS];
    struct phone *phones;
    uint32_t n, cap;
};

/* ---- collecting ---- */

static bool room(struct keepalive *k)
{
    if (k->n < k->cap)
        return true;
    uint32_t cap = k->cap ? 2 * k->cap : FIRST;
    struct phone *wider =
        cap > KEEPALIVE_PART ? NULL : mem_realloc(k->phones, cap * sizeof(*wider));
    if (!wider)
        return false;
    k->phones = wider;
    k->cap = cap;
    return true;
}

/* Behind a NAT over UDP. Phones with a connection, and those behind other proxies, are their own and
 * the proxies' business. */
static bool needs_it(const struct keepalive *k, const struct binding *b)
{
    return b->transport == SIP_T_UDP && b->by_flow && b->path.n == 0 && !(k->push && b->push.n);
}

static bool collect(sv aor, const struct binding *b, size_t n, void *arg)
{
    struct keepalive *k = arg;
    uint32_t step = (uint32_t)(home_hash(sip_home(k->sip), &aor, 1) % k->steps);
    for (size_t i = 0; i < n; i++) {
        bool again = false; /* several contacts of one phone */
        for (size_t j = 0; j < i; j++)
            again = again || (needs_it(k, &b[j]) && addr_equal(&b[i].remote, &b[j].remote) &&
                              b[i].listener == b[j].listener);
        if (again || !needs_it(k, &b[i]))
            continue;
        if (!room(k))
            return false;
        k->phones[k->n] = (struct phone){.flow = {.transport = SIP_T_UDP,
                                                  .listener = b[i].listener,
                                                  .worker = b[i].worker,
                                                  .local = b[i].local,
                                                  .remote = b[i].remote},
                                         .next = k->first[step]};
        k->first[step] = k->n++;
    }
    return true;
}

static void begin_part(struct keepalive *k)
{
    k->n = 0;
    k->at = 0;
    for (unsigned i = 0; i < STEPS; i++)
        k->first[i] = NONE;
    /* Without memory for the walk the part waits for its next turn. */
    enum err rc = store_each_in(k->store, k->part, loop_wall(k->loop), collect, k);
    (void)rc;
}

/* ---- sending ---- */

static void send_step(struct keepalive *k)
{
    for (uint32_t i = k->first[k->at]; i != NONE; i = k->phones[i].next) {
        /* One that could not be sent now comes again in its turn. */
        enum err rc = sip_send_octets(k->sip, &k->phones[i].flow, SV("\r\n\r\n"));
        (void)rc;
    }
    k->at++;
}

static usec step_at(const struct keepalive *k, unsigned step)
{
    return k->begun + k->lasts * step / k->steps;
}

static void next_part(struct keepalive *k)
{
    unsigned parts = store_slices(k->store), workers = k->loop->group->n;
    k->part += workers;
    if (k->part >= parts)
        k->part = k->loop->worker;
    k->begun += k->lasts;
    if (k->begun + k->lasts < loop_now(k->loop)) /* the process stood still */
        k->begun = loop_now(k->loop);
    begin_part(k);
}

static void arm(struct keepalive *k)
{
    while (k->at < k->steps && k->first[k->at] == NONE)
        k->at++;
    usec at = step_at(k, k->at), now = loop_now(k->loop);
    loop_timer(k->loop, &k->timer, at > now ? at - now : 0);
}

static void on_timer(struct timer *t, void *arg)
{
    struct keepalive *k = arg;
    usec now = loop_now(k->loop);
    (void)t;
    while (k->at < k->steps && step_at(k, k->at) <= now)
        send_step(k);
    if (k->at == k->steps && step_at(k, k->at) <= now)
        next_part(k);
    arm(k);
}

/* ---- life ---- */

static void start(struct keepalive *k)
{
    unsigned parts = store_slices(k->store), workers = k->loop->group->n;
    unsigned mine = parts > k->loop->worker ? (parts - k->loop->worker - 1) / workers + 1 : 0;
    loop_timer_cancel(k->loop, &k->timer);
    if (!k->interval || !mine)
        return;
    k->lasts = k->interval / mine;
    k->steps = k->lasts / step_least < STEPS ? (unsigned)(k->lasts / step_least) : STEPS;
    if (k->steps == 0)
        k->steps = 1;
    k->part = k->loop->worker;
    /* Workers begin at different times. */
    k->begun = loop_now(k->loop) + (usec)(loop_random(k->loop) % (uint64_t)(k->lasts + 1));
    k->n = 0;
    k->at = k->steps;
    k->begun -= k->lasts;
    arm(k);
}

enum err keepalive_new(struct sip *s, struct store *st, const struct settings *set,
                       struct keepalive **ret_keepalive)
{
    struct keepalive *k = MEM_NEW(struct keepalive);
    if (!k)
        return ERR_NOMEM;
    k->sip = s;
    k->store = st;
    k->loop = sip_loop(s);
    timer_init(&k->timer, on_timer, k);
    keepalive_settings(k, set);
    *ret_keepalive = k;
    return ERR_OK;
}

void keepalive_settings(struct keepalive *k, const struct settings *set)
{
    k->push = set->push.url.n > 0;
    if (set->keepalive == k->interval)
        return;
    k->interval = set->keepalive;
    start(k);
}

void keepalive_free(struct keepalive *k)
{
    if (!k)
        return;
    loop_timer_cancel(k->loop, &k->timer);
    mem_free(k->phones);
    mem_free(k);
}
