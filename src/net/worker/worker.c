/* SPDX-License-Identifier: MIT */
/* The group of workers: threads, signals, the end. */
#include "worker/worker.h"
#include "worker/worker_priv.h"
#include <ares.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static const uint64_t short_slice = 100 * 1000; /* ns; the shortest that Linux gives */
static const int caught[WORKER_SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

/* sched_setattr(2) in its first size; the C library has no name for it yet, and its header hides the kernel's. */
struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period; /* ns */
};
enum { RESET_ON_FORK = 1 }; /* SCHED_FLAG_RESET_ON_FORK */

static struct worker_group *group_of(struct loop_group *g)
{
    return CONTAINER(g, struct worker_group, base);
}

enum err worker_group_new(unsigned n, struct loop_group **ret_group)
{
    struct worker_group *g = MEM_NEW(struct worker_group);
    enum err rc = ERR_OK;
    if (!g)
        return ERR_NOMEM;
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
        mem_free(g);
        return ERR_NOMEM;
    }
    mem_settle();
    signal(SIGPIPE, SIG_IGN); /* a peer that is gone is an error of the write */
    pthread_mutex_init(&g->bound_lock, NULL);
    list_init(&g->bound);
    if (n == 0)
        n = 1;
    for (unsigned i = 0; !rc && i < n && i < LOOP_WORKERS_MAX; i++) {
        struct worker *w = MEM_NEW(struct worker);
        rc = w ? worker_init(w, g, i) : ERR_NOMEM;
        if (rc) {
            mem_free(w);
            break;
        }
        g->worker[i] = w;
        g->base.loop[i] = &w->base;
        g->base.n = i + 1;
    }
    if (rc) {
        worker_group_free(&g->base);
        return rc;
    }
    *ret_group = &g->base;
    return ERR_OK;
}

static void on_uv_signal(uv_signal_t *h, int signum)
{
    struct worker_group *g = h->data;
    if (g->worker[0]->base.stopping) /* it ends already, and must not die of being told so again */
        return;
    worker_turn(g->worker[0]);
    g->on_signal(signum, g->on_signal_arg);
}

void worker_on_signal(struct loop_group *group, worker_signal_fn *fn, void *arg)
{
    struct worker_group *g = group_of(group);
    g->on_signal = fn;
    g->on_signal_arg = arg;
    while (g->signals < WORKER_SIGNALS) {
        uv_signal_t *s = &g->signal[g->signals];
        uv_signal_init(&g->worker[0]->uv, s);
        s->data = g;
        uv_signal_start(s, on_uv_signal, caught[g->signals++]);
    }
}

/* Where cores are busy, Linux (6.12 and newer; older ones take no notice) lets a thread that wakes go before
 * those that run in longer slices: a worker's turns are short, a helper thread's are not, and it must not wait
 * for one. Helpers, which threads like this one begin, have the usual slices. */
static void ask_short_slices(void)
{
    struct scheduling a = {.size = sizeof(a)};
    if (syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0) == 0 && a.policy == SCHED_OTHER) {
        a.flags |= RESET_ON_FORK;
        a.runtime = short_slice;
        syscall(SYS_sched_setattr, 0, &a, 0); /* best effort */
    }
}

static void run_loop(struct worker *w)
{
    ask_short_slices();
    uv_run(&w->uv, UV_RUN_DEFAULT);
}

static void *run_worker(void *arg)
{
    struct worker *w = arg;
    char name[16];
    snprintf(name, sizeof(name), "tandem/%u", w->base.worker);
    pthread_setname_np(pthread_self(), name);
    run_loop(w);
    return NULL;
}

/* The caught signals are left to worker 0's thread. */
static bool start_thread(struct worker *w)
{
    sigset_t ours, before;
    sigemptyset(&ours);
    for (int i = 0; i < WORKER_SIGNALS; i++)
        sigaddset(&ours, caught[i]);
    pthread_sigmask(SIG_BLOCK, &ours, &before);
    bool ok = pthread_create(&w->thread, NULL, run_worker, w) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

/* All threads but this one have ended. No mailbox is open when the first handler runs, so that none
 * can send on. */
static void drain_group(struct worker_group *g)
{
    if (g->drained)
        return;
    g->drained = true;
    for (unsigned i = 0; i < g->base.n; i++)
        worker_close_mailbox(g->worker[i]);
    for (unsigned i = 0; i < g->base.n; i++)
        worker_drain(g->worker[i]);
}

enum err worker_group_run(struct loop_group *group)
{
    struct worker_group *g = group_of(group);
    unsigned started = 1;
    enum err rc = ERR_OK;
    mem_stride();
    while (started < group->n && start_thread(g->worker[started]))
        started++;
    if (started < group->n)
        rc = ERR_IO;
    else
        run_loop(g->worker[0]);
    worker_group_stop(group);
    for (unsigned i = 1; i < started; i++)
        pthread_join(g->worker[i]->thread, NULL);
    drain_group(g);
    return rc;
}

void worker_group_stop(struct loop_group *group)
{
    struct worker_group *g = group_of(group);
    atomic_store_explicit(&g->stop, true, memory_order_release);
    for (unsigned i = 0; i < group->n; i++)
        uv_async_send(&g->worker[i]->async);
}

void worker_group_free(struct loop_group *group)
{
    if (!group)
        return;
    struct worker_group *g = group_of(group);
    drain_group(g);
    for (unsigned i = 0; i < group->n; i++) {
        worker_done(g->worker[i]);
        mem_free(g->worker[i]);
    }
    pthread_mutex_destroy(&g->bound_lock);
    ares_library_cleanup();
    mem_free(g);
}

enum err worker_dns_servers(struct loop_group *group, const struct addr *servers, size_t n)
{
    struct worker_group *g = group_of(group);
    if (n > DNS_SERVERS_MAX)
        return ERR_SYNTAX;
    for (size_t i = 0; i < n; i++)
        if (servers[i].family == 0 || addr_is_any(&servers[i]))
            return ERR_SYNTAX;
    for (size_t i = 0; i < n; i++)
        g->dns_server[i] = servers[i];
    g->dns_servers = n;
    return ERR_OK;
}
