/* SPDX-License-Identifier: MIT */
/* sim/sim.h: the simulated backend: hosts, wires, disks and names in virtual time.  layer: net
 *
 * Shape   one seeded event queue on one thread. A host has addresses, a disk, and at most one
 *         process: a loop_group of one to four workers. All chance (loss, delay, which worker gets
 *         a datagram, order of mail) comes from the seed: the same seed and the same program give
 *         the same trace, octet for octet.
 * Time    starts at 0; the wall clock at 2026-01-01. A turn takes no time, the next turn of the
 *         same loop's timers comes a microsecond later at the earliest.
 * Order   events at one instant run in seeded order across loops, first in first out within a
 *         stream and from one worker to another.
 * Errors  the simulation's own bookkeeping aborts when memory ends; what a real backend would
 *         allocate for a caller (sockets, streams, queries, blocks) fails with ERR_NOMEM.
 * Threads one. sim_run_* is never called from inside a callback.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H
#include "disk/disk.h"
#include "dns/dns.h"
#include "sock/sock.h"

struct sim;
struct sim_host;

struct sim_wire {
    unsigned loss_permille, dup_permille;
    usec delay_min, delay_max; /* uniform: so datagrams overtake each other */
    unsigned reorder_permille; /* of datagrams get up to reorder_by more */
    usec reorder_by;
    unsigned mtu; /* datagrams above are lost; 0: no limit */
};

MUST_USE enum err sim_new(uint64_t seed, struct sim **ret_sim);
/* Hosts and processes too; their users must have closed or be dead. */
void sim_free(struct sim *s);
usec sim_now(const struct sim *s);
uint64_t sim_random(struct sim *s); /* for the scenario's own choices */
/* Between different hosts; datagrams and, as delay and stalls, streams; loss of DNS queries too.
 * Before the first call: no loss, 0.2 to 2 ms. */
void sim_set_wire(struct sim *s, const struct sim_wire *w);
/* Nothing passes between a and b while on. */
void sim_partition(struct sim *s, struct sim_host *a, struct sim_host *b, bool on);
/* RANDOM: any worker of the process may get any datagram or connection; else by hash of the
 * addresses, as SO_REUSEPORT does. */
void sim_random_steering(struct sim *s, bool on);

/* Loopback addresses are every host's own. name is copied, up to 31 octets. */
MUST_USE enum err sim_host_new(struct sim *s, const char *name, const struct addr *ips, size_t n,
                               struct sim_host **ret_host);
/* A new process on the host. Errors: ERR_STATE (there is one), ERR_NOMEM. */
MUST_USE enum err sim_process(struct sim_host *h, unsigned workers, struct loop_group **ret_group);
/* Orderly: pending mail and jobs are delivered with loop_stopping, then the caller frees its
 * things (what it still sends leaves), then sim_process_free. */
void sim_process_stop(struct sim_host *h);
/* kill -9: written octets stay. power: unsynced octets are cut, some torn. Jobs and mail in flight
 * are handed to their handlers inside this call, with loop_stopping and a disk that fails, to be
 * freed. No callback runs after it; every call on the dead loops is a quiet no-op or ERR_STATE
 * (streams: ERR_CLOSED, disk: ERR_IO), so that the caller can free its memory. Peers' streams end
 * after a delay. Not from inside a callback of this very process; from others' is fine. */
void sim_process_kill(struct sim_host *h, bool power);
/* After stop or kill, when the users' memory is freed. Closes what they left open. */
void sim_process_free(struct sim_host *h);
/* Outlives processes. Folders there from the start: . / /run /tmp /var /var/lib */
struct disk *sim_disk(struct sim_host *h);
/* The nth disk operation from now fails, and all after it, until the process is freed: a crash
 * inside it, so part of it may have happened. 0: never. */
void sim_disk_fail_after(struct sim_host *h, unsigned n);
/* That operation has come: time to kill the process. */
bool sim_disk_failed(const struct sim_host *h);
/* Records: "name TYPE ttl data" a line, as in a zone file's short form: A, AAAA, SRV, NAPTR,
 * CNAME; "name TIMEOUT" and "name NXDOMAIN" alone on their line. Replaces what earlier texts said
 * of the names in this one. Errors: ERR_SYNTAX (nothing changes), ERR_NOMEM. */
MUST_USE enum err sim_zone(struct sim *s, sv text);
/* A client of stream_listen_unix on the same host. Errors: ERR_STATE, ERR_TOOBIG (path),
 * ERR_NOMEM; later as stream_connect. */
MUST_USE enum err sim_connect_unix(struct loop *l, sv path, const struct stream_handler *h,
                                   void *arg, struct stream **ret_stream);

/* Runs what happens until virtual time t; then it is t (with USEC_NEVER: the last event's). */
void sim_run_until(struct sim *s, usec t);
/* Runs while there is something to do, at most to t, until pred. True: pred held. */
bool sim_run_when(struct sim *s, usec t, bool (*pred)(void *arg), void *arg);
/* Events so far, and a 64-bit hash over the whole trace. fn also gets every line (may be NULL). */
uint64_t sim_trace_hash(const struct sim *s);
uint64_t sim_trace_count(const struct sim *s);
void sim_trace(struct sim *s, void (*fn)(sv line, void *arg), void *arg);
/* A line into the trace by the scenario or by code under test. */
void sim_note(struct sim *s, sv line);

#endif
