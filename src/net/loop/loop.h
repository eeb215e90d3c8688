/* SPDX-License-Identifier: MIT */
/* loop/loop.h: a worker's view of the outside: time, timers, chance, mail, jobs.  layer: net
 *
 * Shape   one struct loop per worker; the real backend (net/worker) and the simulated one
 *         (net/sim) stand behind the same functions. Sockets: sock/sock.h. Names: dns/dns.h.
 *         Files: disk/disk.h.
 * Turn    a turn is: read the clock once; timers that are due; what arrived; deferred calls; then
 *         the datagrams of the turn go out in batches. Code runs only inside a turn, except during
 *         set-up and teardown.
 * Threads everything belongs to the loop's thread, but loop_mail and what says so.
 */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H
#include "ds/wheel.h"
#include "mem/mem.h"
#include "stat/stat.h"
#include "str/sv.h"

enum { LOOP_WORKERS_MAX = 64 };

struct loop;
struct loop_ops;
struct disk;
struct loop_group;

/* Runs in a later turn of the receiving loop, on its thread; owns m (usually frees it). Also called
 * at teardown when the loop will not run again: then loop_stopping() is true and the handler only
 * frees. */
struct mail;
typedef void mail_fn(struct loop *at, struct mail *m);
struct mail {
    struct mail *next;
    mail_fn *fn;
};

/* work runs on a helper thread (simulated: at once, at a seeded later time) and touches only the
 * job; done runs on the loop that offloaded it, always, also when the loop is stopping. */
struct job;
typedef void job_work_fn(struct job *j);
typedef void job_done_fn(struct loop *at, struct job *j);
struct job {
    struct link by_queue;
    job_work_fn *work;
    job_done_fn *done;
    struct loop *loop;
    void *backend;
};

/* Runs once at the end of this turn (or, when called from a deferred call, still in this turn). */
struct deferred;
typedef void deferred_fn(struct deferred *d, void *arg);
struct deferred {
    struct link by_loop;
    deferred_fn *fn;
    void *arg;
};

struct loop {
    const struct loop_ops *ops;
    struct loop_group *group; /* RO: the workers of this process */
    unsigned worker;          /* RO: own number, 0.. */
    usec now;                 /* monotonic, as read at the start of the turn */
    usec wall;                /* since 1970, as read at the start of the turn */
    _Atomic unsigned busy;    /* permille of the time that its thread ran lately; read by any */
    struct wheel wheel;
    usec grid; /* RO: at which timers fire that need not be exact; 0: exactly */
    struct link deferred;
    struct stats stats;        /* written here, read by anyone */
    struct block_pool *blocks; /* message buffers of this worker */
    struct disk *disk;         /* RO */
    void *tls;                 /* net/tls: its queue of handshakes; made on first use */
    void (*tls_free)(void *tls);
    bool stopping;
};

/* The workers of one process (simulated: of one host's process). RO after set-up. */
struct loop_group {
    unsigned n;
    struct loop *loop[LOOP_WORKERS_MAX];
};

static inline usec loop_now(const struct loop *l)
{
    return l->now;
}
static inline usec loop_wall(const struct loop *l)
{
    return l->wall;
}
static inline bool loop_stopping(const struct loop *l)
{
    return l->stopping;
}
/* (Re)arms t to fire delay from now or, at the loop's grid, a little later: what ends at about one time
 * is one wake-up. */
static inline void loop_timer_about(struct loop *l, struct timer *t, usec delay)
{
    usec at = l->now + delay;
    if (l->grid > 0 && at < USEC_NEVER - l->grid)
        at += l->grid - 1 - (at - 1) % l->grid;
    wheel_arm(&l->wheel, t, at);
}
/* (Re)arms t to fire delay from now. delay 0 fires in the next turn. Delays of LOOP_LONG and more
 * need not be exact. */
enum { LOOP_LONG = 1000000 };
static inline void loop_timer(struct loop *l, struct timer *t, usec delay)
{
    if (delay >= LOOP_LONG)
        loop_timer_about(l, t, delay);
    else
        wheel_arm(&l->wheel, t, l->now + delay);
}
/* (Re)arms t for the next turn, which is not waited for: what a turn leaves to the next. */
static inline void loop_timer_next(struct loop *l, struct timer *t)
{
    wheel_arm(&l->wheel, t, 0);
}
static inline void loop_timer_cancel(struct loop *l, struct timer *t)
{
    wheel_cancel(&l->wheel, t);
}
/* For a machine that says when it wants to be called again: at that time, which may be past; USEC_NEVER: not at all. */
static inline void loop_timer_at(struct loop *l, struct timer *t, usec at)
{
    if (at == USEC_NEVER)
        loop_timer_cancel(l, t);
    else
        loop_timer(l, t, at > l->now ? at - l->now : 0);
}
/* Seeded in the simulation, the kernel's in the real backend: fit for tags, branches and nonces. */
uint64_t loop_random(struct loop *l);
void loop_random_bytes(struct loop *l, void *p, size_t n);

static inline void deferred_init(struct deferred *d, deferred_fn *fn, void *arg)
{
    *d = (struct deferred){.fn = fn, .arg = arg};
    list_init(&d->by_loop);
}
void loop_defer(struct loop *l, struct deferred *d); /* idempotent while pending */
static inline void loop_defer_cancel(struct deferred *d)
{
    list_unlink(&d->by_loop);
}

/* Any thread of the group. On success the mail belongs to the receiver.
 * Errors: ERR_BUSY (mailbox over its cap), ERR_STATE (stopping); m stays the caller's. */
MUST_USE enum err loop_mail(struct loop *to, struct mail *m);
/* Errors: ERR_BUSY (over the cap of queued jobs), ERR_STATE. */
MUST_USE enum err loop_offload(struct loop *l, struct job *j);

/* Sums over the group's workers. */
int64_t loop_stat(const struct loop_group *g, enum stat_id id);

/* ---- for backends only ---- */
struct udp;
struct stream;
struct listener;
struct dns_query;
struct addr;
struct udp_handler;
struct stream_handler;
struct listener_handler;
struct dnsmsg;
typedef void dns_fn(void *arg, enum err rc, const struct dnsmsg *answer); /* see dns/dns.h */

struct loop_ops {
    void (*random)(struct loop *l, void *p, size_t n);
    enum err (*mail)(struct loop *to, struct mail *m);
    enum err (*offload)(struct loop *l, struct job *j);
    enum err (*source_for)(struct loop *l, const struct addr *to, struct addr *ret_local);
    enum err (*udp_open)(struct loop *l, const struct addr *bind, unsigned flags,
                         const struct udp_handler *h, void *arg, struct udp **ret_udp);
    enum err (*listen)(struct loop *l, const struct addr *bind, unsigned flags,
                       const struct listener_handler *h, void *arg, struct listener **ret_listener);
    enum err (*listen_unix)(struct loop *l, sv path, unsigned mode,
                            const struct listener_handler *h, void *arg,
                            struct listener **ret_listener);
    enum err (*connect)(struct loop *l, const struct addr *local, const struct addr *to,
                        const struct stream_handler *h, void *arg, struct stream **ret_stream);
    enum err (*dns_query)(struct loop *l, sv name, unsigned type, dns_fn *fn, void *arg,
                          struct dns_query **ret_query);
};
/* Common part of a loop, for backends. Errors: ERR_NOMEM. */
MUST_USE enum err loop_init(struct loop *l, const struct loop_ops *ops, struct loop_group *g,
                            unsigned worker, usec now, usec wall);
void loop_done(struct loop *l);
/* Runs what was deferred until nothing is. */
void loop_run_deferred(struct loop *l);

#endif
