/* SPDX-License-Identifier: MIT */
/* worker/worker_priv.h: what the parts of the real backend share.
 *
 * One struct worker per loop. Its uv loop only waits: the turn (loop.h) is made of
 *
 *   prepare        poll's time-out: 0 when anything is pending, else none, and a timerfd wakes it: at the
 *                  wheel's next deadline, or at one before that has been cancelled meanwhile. Poll's own
 *                  time-out would be set and cleared in the kernel for each datagram
 *   poll           the first callback begins the turn: clock, due timers; then what arrived
 *   check          mail, deferred calls, UDP flush; the turn ends
 */
#ifndef WORKER_WORKER_PRIV_H
#define WORKER_WORKER_PRIV_H
#include <pthread.h>
#include <sys/socket.h>
#include <uv.h>
#include "disk/disk.h"
#include "dns/dns.h"
#include "sock/sock.h"
#include "worker/worker.h"

enum {
    MAILBOX_MAX = 65536,  /* mails that wait for one worker */
    MAILS_A_TURN = 1024,  /* so that mail cannot keep sockets and timers waiting */
    JOBS_MAX = 4096,      /* offloaded jobs of one worker */
    RANDOM_BUFFER = 1024, /* octets asked of the kernel at a time */
    DNS_SERVERS_MAX = 8,
    WORKER_SIGNALS = 4,
    READ_BUFFER = 64 * 1024,
};

struct udp_batch;
struct port_batch;
struct dns_channel;

/* An address that sockets of this process are bound to: see worker_bind. */
struct bound {
    struct link by_group;
    struct addr at;
    int type; /* SOCK_DGRAM or SOCK_STREAM */
    unsigned refs;
};

/* What the routing table said a moment ago: worker_source_for. */
enum { SOURCES_KEPT = 64 };
struct source {
    struct addr to, from;
    usec until;
};

struct worker_group;
struct worker {
    struct loop base;
    struct worker_group *g;
    uv_loop_t uv;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t pending; /* active while poll must not wait */
    uv_poll_t wake;    /* of wake_fd, a timerfd */
    int wake_fd;
    usec wake_at;    /* when wake_fd fires; USEC_NEVER: not at all */
    bool wake_fired; /* it did, and is readable until it is set anew */
    usec wall_ahead; /* of the monotonic clock */
    usec look_due;   /* when the kernel is asked again: for the wall clock, and what it dropped */
    usec ran;        /* processor time of this thread, then */
    uv_async_t async;
    pthread_t thread;
    bool in_turn;

    _Atomic(struct mail *) mailbox; /* newest first; MAILBOX_CLOSED at the end */
    _Atomic uint32_t mails;         /* in mailbox and inbox */
    _Atomic uint32_t mails_refused; /* folded into the counters by the owner */
    _Atomic bool sleeping;          /* may be waiting in poll: mail must wake it */
    struct mail *inbox;             /* taken from the mailbox, oldest first */

    struct pool *jobs;
    struct job ahead; /* memory that will be needed soon */
    bool preparing;   /* ahead is out there */
    uint8_t random[RANDOM_BUFFER];
    size_t random_left;

    struct link udps, udps_dirty; /* dirty: datagrams wait for the end of the turn */
    struct udp_batch *batch;
    struct link ports;
    struct port_batch *ports_batch;
    struct link streams, listeners;
    char *read_buffer;
    int reserve_fd; /* given up to accept and shed a connection when there is no other left */

    struct source source[SOURCES_KEPT];

    struct dns_channel *dns;  /* takes new questions; NULL: none yet */
    struct link dns_channels; /* all */
    unsigned dns_live;
};

struct worker_group {
    struct loop_group base;
    struct worker *worker[LOOP_WORKERS_MAX];
    _Atomic bool stop;
    bool drained;
    uv_signal_t signal[WORKER_SIGNALS];
    unsigned signals;
    worker_signal_fn *on_signal;
    void *on_signal_arg;
    struct addr dns_server[DNS_SERVERS_MAX]; /* RO after set-up */
    size_t dns_servers;
    pthread_mutex_t bound_lock;
    struct link bound; /* LOCK: bound_lock */
};

static inline struct worker *worker_of(struct loop *l)
{
    return CONTAINER(l, struct worker, base);
}

/* ---- worker_loop.c ---- */
MUST_USE enum err worker_init(struct worker *w, struct worker_group *g, unsigned number);
/* Every uv callback that can call a user's code calls this first. */
void worker_turn(struct worker *w);
/* No turn will come any more: takes mail no longer, gives what waits to its handlers, waits for
 * jobs. */
void worker_close_mailbox(struct worker *w);
void worker_drain(struct worker *w);
void worker_done(struct worker *w);

/* ---- worker_addr.c ---- */
enum err worker_err(int e); /* of errno */
socklen_t worker_sockaddr(const struct addr *a, struct sockaddr_storage *ret_sa);
/* Family 0 when it is neither IPv4 nor IPv6. */
struct addr worker_addr(const struct sockaddr_storage *sa);
struct addr worker_sockname(int fd);
/* A nonblocking socket of the family of a, IPv6 only for IPv6. */
MUST_USE enum err worker_socket(const struct addr *a, int type, int *ret_fd);
/* Binds with SO_REUSEPORT. The kernel would let a second process of the same user share the port as
 * silently as the workers do, so the first bind of this process to an address probes whether it is
 * free. Errors: as udp_open. */
MUST_USE enum err worker_bind(struct worker_group *g, int fd, int type, const struct addr *at,
                              unsigned flags, struct bound **ret_bound);
void worker_unbind(struct worker_group *g, struct bound *b);

enum err worker_source_for(struct loop *l, const struct addr *to, struct addr *ret_local);

/* ---- worker_udp.c ---- */
enum err worker_udp_open(struct loop *l, const struct addr *bind, unsigned flags,
                         const struct udp_handler *h, void *arg, struct udp **ret_udp);
/* Sends what waits, tells errors. True: handlers may have left more to do. */
bool worker_udp_flush(struct worker *w);
/* Now and then: what the kernel had no room for is counted. */
void worker_udp_look(struct worker *w);
void worker_udp_done(struct worker *w);

/* ---- worker_port.c ---- */
enum err worker_port_open(struct loop *l, const struct addr *at, const struct udp_handler *h,
                          void *arg, struct udp **ret_udp);
void worker_port_flush(struct worker *w);
void worker_port_done(struct worker *w);

/* ---- worker_steer.c ---- */
/* For the whole reuseport group of this bound socket. Best effort. */
void worker_steer(int fd, const struct udp_steer *rules, size_t n);

/* ---- worker_stream.c ---- */
enum err worker_connect(struct loop *l, const struct addr *local, const struct addr *to,
                        const struct stream_handler *h, void *arg, struct stream **ret_stream);
/* Of a connection to come, and of a listener: what it accepts inherits them (tcp(7)). */
void worker_tcp_options(int fd);
/* Takes fd over, also on failure. peer: NULL for a Unix socket; bound: the listener's address. NULL: no
 * memory. */
struct stream *worker_stream_accepted(struct worker *w, int fd, const struct addr *peer,
                                      const struct addr *bound);
/* The acceptor has returned: reading begins, or the stream ends if nobody took it. */
void worker_stream_begin(struct stream *s);
void worker_stream_done(struct worker *w);

/* ---- worker_listen.c ---- */
enum err worker_listen(struct loop *l, const struct addr *bind, unsigned flags,
                       const struct listener_handler *h, void *arg, struct listener **ret_listener);
enum err worker_listen_unix(struct loop *l, sv path, unsigned mode,
                            const struct listener_handler *h, void *arg,
                            struct listener **ret_listener);
void worker_listen_done(struct worker *w);

/* ---- worker_dns.c ---- */
enum err worker_dns_query(struct loop *l, sv name, unsigned type, dns_fn *fn, void *arg,
                          struct dns_query **ret_query);
void worker_dns_done(struct worker *w);

#endif
