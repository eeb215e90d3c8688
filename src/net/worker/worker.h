/* SPDX-License-Identifier: MIT */
/* worker/worker.h: the real backend: libuv loops, one thread each.              layer: net
 *
 * Shape   worker_group_new makes n loops; the caller sets everything up on them from its own
 *         thread; worker_group_run starts threads for workers 1..n-1 and runs worker 0 on the
 *         calling thread until worker_group_stop.
 * Signals SIGTERM, SIGINT, SIGHUP, SIGUSR1 become calls on worker 0; SIGPIPE is ignored.
 * UDP     recvmmsg and sendmmsg in batches under uv_poll_t; receives into blocks of the pool, no
 *         copy for datagrams up to one block.
 * Threads new, run, free: the main thread. worker_group_stop: any.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H
#include "loop/loop.h"
#include "sock/addr.h"

/* Errors: ERR_NOMEM, ERR_IO. */
MUST_USE enum err worker_group_new(unsigned n, struct loop_group **ret_group);
typedef void worker_signal_fn(int signum, void *arg);
void worker_on_signal(struct loop_group *g, worker_signal_fn *fn, void *arg);
/* Returns after stop, all threads joined, all loops stopping. Errors: ERR_IO (no thread). */
MUST_USE enum err worker_group_run(struct loop_group *g);
void worker_group_stop(struct loop_group *g);
/* After run returned and every user closed its objects. */
void worker_group_free(struct loop_group *g);
/* Cores the cgroup and affinity grant, 1..LOOP_WORKERS_MAX. */
unsigned worker_cores(void);
/* Own addresses of this machine's interfaces, up to max. */
size_t worker_addresses(struct addr *ret_addrs, size_t max);
/* The networks that these interfaces are in, up to max. */
size_t worker_subnets(struct addr_net *ret_nets, size_t max);
/* DNS servers; empty: the system's. Before run. Errors: ERR_SYNTAX. */
MUST_USE enum err worker_dns_servers(struct loop_group *g, const struct addr *servers, size_t n);

#endif
