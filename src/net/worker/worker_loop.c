/* SPDX-License-Identifier: MIT */
/* One worker's loop: the turn, mail, jobs, random octets. The order of a turn is in worker_priv.h.
 */
#include "worker/worker_priv.h"
#include <assert.h>
#include <fcntl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "crypto/crypto.h"

/* Rounds of deferred calls and flushing in one turn; what is left then waits for the next. */
enum { ROUNDS_A_TURN = 8 };
enum { TIMERS_A_TURN = 32 };

/* The grid of timers: a server under load has one that ends in nearly every millisecond. */
static const usec timer_grid = 32 * USEC_MS;
/* A wall clock that is set, and dropped datagrams, are noticed as late as this. */
static const usec looked_every = 100 * USEC_MS;

/* In the mailbox's place once nobody will look there again. */
static struct mail mailbox_closed;
#define MAILBOX_CLOSED (&mailbox_closed)

struct job_request {
    uv_work_t req;
    struct job *job;
};

static usec read_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (usec)ts.tv_sec * USEC_S + ts.tv_nsec / 1000;
}

/* ---- random ---- */

static void loop_take_random(struct loop *l, void *p, size_t n)
{
    struct worker *w = worker_of(l);
    char *to = p;
    while (n > 0) {
        if (w->random_left == 0) {
            /* Without random octets no tag, branch or nonce is safe; getrandom fails only before
             * boot has ended. */
            enum err rc = crypto_random(w->random, sizeof(w->random));
            assert(rc == ERR_OK);
            (void)rc;
            w->random_left = sizeof(w->random);
        }
        size_t k = n < w->random_left ? n : w->random_left;
        uint8_t *from = w->random + sizeof(w->random) - w->random_left;
        memcpy(to, from, k);
        crypto_wipe(from, k);
        w->random_left -= k;
        to += k;
        n -= k;
    }
}

/* ---- mail ---- */

static enum err loop_push_mail(struct loop *l, struct mail *m)
{
    struct worker *w = worker_of(l);
    if (atomic_fetch_add_explicit(&w->mails, 1, memory_order_relaxed) >= MAILBOX_MAX) {
        atomic_fetch_sub_explicit(&w->mails, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&w->mails_refused, 1, memory_order_relaxed);
        return ERR_BUSY;
    }
    struct mail *head = atomic_load(&w->mailbox);
    do {
        if (head == MAILBOX_CLOSED) {
            atomic_fetch_sub_explicit(&w->mails, 1, memory_order_relaxed);
            return ERR_STATE;
        }
        m->next = head;
    } while (!atomic_compare_exchange_weak(&w->mailbox, &head, m));
    /* Either this load sees that the receiver sleeps, or the receiver's look at the mailbox, which
     * comes after its store of `sleeping`, sees m: all four are sequentially consistent. Who finds
     * mail there already relies on the one who found none. */
    if (!head && atomic_load(&w->sleeping))
        uv_async_send(&w->async);
    return ERR_OK;
}

static struct mail *oldest_first(struct mail *m)
{
    struct mail *first = NULL;
    while (m) {
        struct mail *next = m->next;
        m->next = first;
        first = m;
        m = next;
    }
    return first;
}

static void deliver_mail(struct worker *w, unsigned most)
{
    unsigned n = 0;
    if (!w->inbox && atomic_load_explicit(&w->mailbox, memory_order_relaxed))
        w->inbox = oldest_first(atomic_exchange(&w->mailbox, NULL));
    for (; n < most && w->inbox; n++) {
        struct mail *m = w->inbox;
        w->inbox = m->next;
        m->fn(&w->base, m); /* owns m */
    }
    if (n > 0)
        atomic_fetch_sub_explicit(&w->mails, n, memory_order_relaxed);
    for (uint32_t k = atomic_exchange_explicit(&w->mails_refused, 0, memory_order_relaxed); k > 0;
         k--)
        stat_refuse(&w->base.stats, STAT_LIMIT_MAILBOX);
}

/* ---- jobs ---- */

static void job_work(uv_work_t *req)
{
    struct job *j = CONTAINER(req, struct job_request, req)->job;
    j->work(j);
    mem_tidy(); /* a helper thread rests for long, and its memory is better kept by workers */
}

static void job_after(uv_work_t *req, int status)
{
    struct job_request *r = CONTAINER(req, struct job_request, req);
    struct job *j = r->job;
    struct worker *w = worker_of(j->loop);
    (void)status; /* never cancelled */
    worker_turn(w);
    pool_put(w->jobs, r);
    j->done(&w->base, j);
}

static enum err loop_push_job(struct loop *l, struct job *j)
{
    struct worker *w = worker_of(l);
    if (l->stopping)
        return ERR_STATE;
    struct job_request *r = pool_get(w->jobs);
    if (!r) {
        stat_refuse(&l->stats, STAT_LIMIT_OFFLOAD);
        return ERR_BUSY;
    }
    r->job = j;
    j->loop = l;
    j->backend = r;
    int rc = uv_queue_work(&w->uv, &r->req, job_work, job_after);
    assert(rc == 0); /* fails only without a work function */
    (void)rc;
    return ERR_OK;
}

static void region_work(struct job *j)
{
    (void)j;
    mem_region_ahead();
}

static void region_done(struct loop *l, struct job *j)
{
    (void)j;
    worker_of(l)->preparing = false;
}

/* The first touch of new memory takes as long as many messages: a helper has it. */
static void prepare_region(struct worker *w)
{
    w->ahead = (struct job){.work = region_work, .done = region_done};
    w->preparing = loop_push_job(&w->base, &w->ahead) == ERR_OK;
    if (!w->preparing)
        mem_region_ahead(); /* nobody else will */
}

/* ---- the turn ---- */

/* What is asked of the kernel now and then. */
static void look(struct worker *w)
{
    usec ran = read_clock(CLOCK_THREAD_CPUTIME_ID);
    usec since =
        w->base.now + looked_every - w->look_due; /* more than looked_every when it slept */
    atomic_store_explicit(&w->base.busy, (unsigned)((ran - w->ran) * 1000 / since),
                          memory_order_relaxed);
    w->ran = ran;
    w->wall_ahead = read_clock(CLOCK_REALTIME) - w->base.now;
    w->look_due = w->base.now + looked_every;
    worker_udp_look(w);
}

static void read_clocks(struct worker *w)
{
    w->base.now = read_clock(CLOCK_MONOTONIC);
    if (w->base.now >= w->look_due)
        look(w);
    w->base.wall = w->base.now + w->wall_ahead;
}

/* Those of the grid end together, thousands under load: messages are served between. But none waits for the next ones: a
 * worker that has more to do than it can do must not have ever more timers. */
static void end_timers(struct worker *w)
{
    struct wheel *wheel = &w->base.wheel;
    bool waits = wheel_is_late(wheel) && w->base.now - wheel_next(wheel) >= timer_grid / 2;
    wheel_advance(wheel, w->base.now, waits ? SIZE_MAX : TIMERS_A_TURN);
}

void worker_turn(struct worker *w)
{
    if (w->in_turn || w->base.stopping)
        return;
    w->in_turn = true;
    atomic_store_explicit(&w->sleeping, false, memory_order_relaxed);
    read_clocks(w);
    end_timers(w);
}

static void on_check(uv_check_t *h)
{
    struct worker *w = CONTAINER(h, struct worker, check);
    worker_turn(w);
    deliver_mail(w, MAILS_A_TURN);
    for (int i = 0; i < ROUNDS_A_TURN; i++) {
        loop_run_deferred(&w->base);
        if (!worker_udp_flush(w))
            break;
    }
    worker_port_flush(w);
    if (!w->preparing && mem_region_wanted())
        prepare_region(w);
    w->in_turn = false;
    if (atomic_load_explicit(&w->g->stop, memory_order_acquire))
        uv_stop(&w->uv);
}

/* The clock of a timerfd is the loop's. It fires once; being set anew makes it unreadable, so it is never
 * read. */
static void set_wake(struct worker *w, usec at)
{
    struct itimerspec when = {0};
    w->wake_at = at;
    w->wake_fired = false;
    if (at != USEC_NEVER) {
        when.it_value.tv_sec = (time_t)(at / USEC_S);
        when.it_value.tv_nsec = (long)(at % USEC_S * 1000) + 1; /* 0 would stop it */
    }
    int rc = timerfd_settime(w->wake_fd, TFD_TIMER_ABSTIME, &when, NULL);
    assert(rc == 0); /* fails only for what is no timerfd and no time */
    (void)rc;
}

static void on_wake(uv_poll_t *h, int status, int events)
{
    struct worker *w = CONTAINER(h, struct worker, wake);
    (void)status, (void)events;
    /* It only bounds poll: the check that follows advances the wheel, and prepare sets it anew. */
    w->wake_at = USEC_NEVER;
    w->wake_fired = true;
}

static void on_async(uv_async_t *h)
{
    (void)h; /* mail is taken by the check that follows */
}

static void on_idle(uv_idle_t *h)
{
    (void)h; /* is only there for poll not to wait */
}

/* Decides how long poll may wait. */
static void on_prepare(uv_prepare_t *h)
{
    struct worker *w = CONTAINER(h, struct worker, prepare);
    usec next = wheel_next(&w->base.wheel);
    bool due = next <= w->base.now; /* left to the next turn */
    bool pending = w->inbox || !list_empty(&w->base.deferred) || !list_empty(&w->udps_dirty) || due;
    atomic_store(&w->sleeping, true);
    pending = pending || atomic_load(&w->mailbox);
    if (pending)
        uv_idle_start(&w->pending, on_idle);
    else
        uv_idle_stop(&w->pending);
    /* One that fires too early, for a timer that was cancelled, is set anew then. */
    if (!due && (next < w->wake_at || w->wake_fired))
        set_wake(w, next);
}

/* ---- life ---- */

static const struct loop_ops worker_ops = {
    .random = loop_take_random,
    .mail = loop_push_mail,
    .offload = loop_push_job,
    .source_for = worker_source_for,
    .udp_open = worker_udp_open,
    .listen = worker_listen,
    .listen_unix = worker_listen_unix,
    .connect = worker_connect,
    .dns_query = worker_dns_query,
};

enum err worker_init(struct worker *w, struct worker_group *g, unsigned number)
{
    w->g = g;
    atomic_init(&w->sleeping, true);
    w->wake_at = USEC_NEVER;
    list_init(&w->udps);
    list_init(&w->udps_dirty);
    list_init(&w->ports);
    list_init(&w->streams);
    list_init(&w->listeners);
    list_init(&w->dns_channels);
    w->reserve_fd = w->wake_fd = -1;
    if (uv_loop_init(&w->uv) != 0)
        return ERR_IO;
    w->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    w->wake_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    uv_prepare_init(&w->uv, &w->prepare);
    uv_check_init(&w->uv, &w->check);
    uv_idle_init(&w->uv, &w->pending);
    uv_prepare_start(&w->prepare, on_prepare);
    uv_check_start(&w->check, on_check);
    enum err rc = loop_init(&w->base, &worker_ops, &g->base, number, read_clock(CLOCK_MONOTONIC),
                            read_clock(CLOCK_REALTIME));
    if (!rc)
        rc = pool_new("jobs", sizeof(struct job_request), JOBS_MAX, &w->jobs);
    if (!rc && !(w->read_buffer = mem_alloc(READ_BUFFER)))
        rc = ERR_NOMEM;
    if (!rc && uv_async_init(&w->uv, &w->async, on_async) != 0)
        rc = ERR_IO;
    if (!rc && (w->wake_fd < 0 || uv_poll_init(&w->uv, &w->wake, w->wake_fd) != 0 ||
                uv_poll_start(&w->wake, UV_READABLE, on_wake) != 0))
        rc = ERR_IO;
    w->base.disk = disk_real();
    w->base.grid = timer_grid;
    if (rc)
        worker_done(w);
    return rc;
}

void worker_close_mailbox(struct worker *w)
{
    w->base.stopping = true;
    struct mail *rest = oldest_first(atomic_exchange(&w->mailbox, MAILBOX_CLOSED));
    struct mail **end = &w->inbox;
    while (*end)
        end = &(*end)->next;
    *end = rest;
}

static void stop_handle(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (uv_is_closing(h))
        return;
    if (h->type == UV_POLL) /* signals are caught until the group is freed */
        uv_poll_stop((uv_poll_t *)h);
}

void worker_drain(struct worker *w)
{
    uv_prepare_stop(&w->prepare);
    uv_check_stop(&w->check);
    uv_idle_stop(&w->pending);
    uv_walk(&w->uv, stop_handle, NULL); /* nothing arrives any more */
    while (w->inbox) {
        struct mail *m = w->inbox;
        w->inbox = m->next;
        m->fn(&w->base, m);
    }
    while (pool_live(w->jobs) > 0)
        uv_run(&w->uv, UV_RUN_ONCE);
}

static void close_handle(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

void worker_done(struct worker *w)
{
    worker_dns_done(w);
    worker_stream_done(w);
    worker_listen_done(w);
    worker_port_done(w);
    worker_udp_done(w);
    uv_walk(&w->uv, close_handle, NULL);
    uv_run(&w->uv, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&w->uv);
    assert(rc == 0); /* everything of ours was closed above */
    (void)rc;
    if (w->jobs)
        pool_free(w->jobs);
    mem_free(w->read_buffer);
    if (w->reserve_fd >= 0)
        close(w->reserve_fd);
    if (w->wake_fd >= 0)
        close(w->wake_fd);
    crypto_wipe(w->random, sizeof(w->random));
    loop_done(&w->base);
}
