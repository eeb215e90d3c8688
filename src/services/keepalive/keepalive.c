/* SPDX-License-Identifier: MIT */
/* Of the places that an address of record may have in the store a worker serves a run; when within the
 * interval it comes to one hangs on that place alone. The run is walked window by window, a window's time
 * divided into steps:
 *
 *   |<------------------------------ interval ------------------------------>|
 *   | window          | window    | …                                        |
 *   | . . . . . . . . | . . . . . |      . a step: the phones of some places
 *
 * At the start of a window its phones are collected, each under its step; a timer fires only for steps
 * that have some. A window is a second, less where that would be more phones than a turn should walk. */
#include "keepalive/keepalive.h"

enum { STEPS = 128, NONE = UINT32_MAX, FIRST = 64 };

static const usec step_least = 10 * USEC_MS, window_most = USEC_S;

struct phone {
    struct flow flow;
    uint32_t next; /* of its step; NONE: the last */
};

struct keepalive {
    struct sip *sip;
    struct store *store;
    struct loop *loop;
    struct timer timer;
    usec interval;         /* 0: off */
    bool push;             /* phones that can be woken need not be reached */
    uint32_t first, after; /* this worker's places, up to before `after` */
    usec round;            /* when the time of `first` is, or was last */
    /* the window whose time it is */
    uint32_t from, to;
    unsigned steps, at;
    uint32_t step[STEPS]; /* the first phone of each; NONE: it has none */
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
        cap > KEEPALIVE_WINDOW ? NULL : mem_realloc(k->phones, cap * sizeof(*wider));
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
    uint64_t behind = store_place(k->store, aor) - k->from;
    uint32_t step = (uint32_t)(behind * k->steps / (k->to - k->from));
    for (size_t i = 0; i < n; i++) {
        bool again = false; /* several contacts of one phone */
        for (size_t j = 0; j < i; j++)
            again = again || (needs_it(k, &b[j]) && addr_equal(&b[i].remote, &b[j].remote) &&
                              b[i].listener == b[j].listener);
        if (again || !needs_it(k, &b[i]))
            continue;
        if (!room(k)) {
            stat_refuse(&k->loop->stats, STAT_LIMIT_KEEPALIVE);
            continue;
        }
        k->phones[k->n] = (struct phone){.flow = {.transport = SIP_T_UDP,
                                                  .listener = b[i].listener,
                                                  .worker = b[i].worker,
                                                  .local = b[i].local,
                                                  .remote = b[i].remote},
                                         .next = k->step[step]};
        k->step[step] = k->n++;
    }
    return true;
}

/* When the time of a place is, in this round. */
static usec time_of(const struct keepalive *k, uint32_t place)
{
    return k->round +
           (usec)((uint64_t)(place - k->first) * (uint64_t)k->interval / (k->after - k->first));
}

/* So many places from k->from on are a window: of all of the worker's, in equal parts. */
static uint32_t window(const struct keepalive *k)
{
    uint64_t mine = k->after - k->first, left = k->after - k->from, aors = store_aors(k->store);
    uint64_t by_time = (uint64_t)(k->interval / window_most);
    uint64_t by_number = mine * aors / STORE_PLACES / KEEPALIVE_WALK + 1;
    uint64_t most = (uint64_t)(k->interval / step_least) + 1;
    uint64_t n = by_time > by_number ? by_time : by_number;
    n = n > most ? most : n;
    uint64_t size = (mine + n - 1) / n;
    return (uint32_t)(size < left ? size : left);
}

static void begin_window(struct keepalive *k)
{
    k->to = k->from + window(k);
    usec lasts = time_of(k, k->to) - time_of(k, k->from);
    k->steps = lasts / step_least < STEPS ? (unsigned)(lasts / step_least) : STEPS;
    k->steps = k->steps ? k->steps : 1;
    k->n = 0;
    k->at = 0;
    for (unsigned i = 0; i < k->steps; i++)
        k->step[i] = NONE;
    /* Without memory for the walk the window waits for its next turn. */
    if (store_each_between(k->store, k->from, k->to, loop_wall(k->loop), collect, k))
        stat_refuse(&k->loop->stats, STAT_LIMIT_KEEPALIVE);
}

/* ---- sending ---- */

static void send_step(struct keepalive *k)
{
    for (uint32_t i = k->step[k->at]; i != NONE; i = k->phones[i].next) {
        /* One that could not be sent now comes again in its turn. */
        enum err rc = sip_send_octets(k->sip, &k->phones[i].flow, SV("\r\n\r\n"));
        (void)rc;
    }
    k->at++;
}

static usec step_at(const struct keepalive *k, unsigned step)
{
    return time_of(k, k->from + (uint32_t)((uint64_t)(k->to - k->from) * step / k->steps));
}

static void next_window(struct keepalive *k)
{
    k->from = k->to;
    if (k->from == k->after) {
        k->from = k->first;
        k->round += k->interval;
    }
    usec late = loop_now(k->loop) - time_of(k, k->from);
    if (late > window_most) /* the process stood still */
        k->round += late;
    begin_window(k);
}

static void arm(struct keepalive *k)
{
    if (k->n == 0)
        k->at = k->steps;
    while (k->at < k->steps && k->step[k->at] == NONE)
        k->at++;
    usec at = step_at(k, k->at), now = loop_now(k->loop);
    loop_timer_about(k->loop, &k->timer, at > now ? at - now : 0);
}

static void on_timer(struct timer *t, void *arg)
{
    struct keepalive *k = arg;
    usec now = loop_now(k->loop);
    (void)t;
    while (k->at < k->steps && step_at(k, k->at) <= now)
        send_step(k);
    if (k->at == k->steps && step_at(k, k->at) <= now)
        next_window(k);
    arm(k);
}

/* ---- life ---- */

static void start(struct keepalive *k)
{
    uint32_t w = k->loop->worker, workers = k->loop->group->n;
    loop_timer_cancel(k->loop, &k->timer);
    if (!k->interval)
        return;
    k->first = (uint32_t)((uint64_t)STORE_PLACES * w / workers);
    k->after = (uint32_t)((uint64_t)STORE_PLACES * (w + 1) / workers);
    /* Workers begin at different times, with nobody in the window before. */
    k->round = loop_now(k->loop) + (usec)(loop_random(k->loop) % (uint64_t)window_most);
    k->from = k->to = k->first;
    k->steps = k->at = 1;
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
