/* SPDX-License-Identifier: MIT */
/* sim/sim_priv.h: what the parts of the simulation share.                       layer: net
 *
 * Parts   sim.c       life of hosts and processes, the run
 *         sim_queue.c events and chance        sim_trace.c  the trace
 *         sim_loop.c  turns, mail, jobs        sim_udp.c    addresses and datagrams
 *         sim_dns.c   zones                    sim_stream.c streams
 *         sim_disk.c  disks
 * Memory  the simulation's own bookkeeping never fails (sim_need aborts), so that mem_fail_after
 *         hits the code under test; what a real backend would allocate for a caller comes from
 *         mem_* and may fail.
 * Order   nothing is ordered or hashed by address of memory.
 */
#ifndef SIM_SIM_PRIV_H
#define SIM_SIM_PRIV_H
#include <assert.h>
#include "ds/hash.h"
#include "mem/arena.h"
#include "sim/sim.h"

enum {
    SIM_MAILBOX_MAX = 65536, /* mails on their way to one loop */
    SIM_JOBS_MAX = 4096,     /* jobs of one loop */
    SIM_UNIX_PATH = 108      /* unix(7): sun_path */
};

/* ---- chance (sim_queue.c) ---- */
struct rng {
    uint64_t s[4];
};
uint64_t sim_mix(uint64_t h, uint64_t v);
uint64_t sim_hash(const void *p, size_t n);
void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n);       /* 0..n-1; n == 0 gives 0 */
usec rng_between(struct rng *r, usec min, usec max); /* both included */
bool rng_permille(struct rng *r, unsigned permille);
void rng_fill(struct rng *r, void *p, size_t n);

/* ---- events (sim_queue.c) ---- */
struct sim_loop;
struct sim_conn;
struct sim_query;

enum event_kind {
    EV_WAKE, /* a loop's next timer */
    EV_DATAGRAM,
    EV_UDP_ERROR, /* ICMP reaches the sender */
    EV_MAIL,
    EV_WORK, /* a job's work runs */
    EV_DONE,
    EV_DNS,
    EV_SYN,    /* a connect reaches the listener's host */
    EV_OPEN,   /* its answer reaches the connecting side */
    EV_OCTETS, /* n octets reach the receiving host */
    EV_READ,   /* the receiver reads some of them */
    EV_ACK,    /* n octets leave the sender's window */
    EV_FIN,
    EV_RESET /* an end with a reason: refused, reset, timed out */
};

struct event {
    enum event_kind kind;
    size_t index; /* place in the heap */
    struct event *next_free;
    union {
        struct sim_loop *loop;
        struct {
            struct block *octets;
            struct sim_host *src, *dst;
            struct addr from, to;
        } datagram;
        struct {
            struct sim_host *host;
            unsigned worker;
            enum err why;
            struct addr from, to;
            struct block *quoted; /* the datagram; NULL: none to be had */
        } error;
        struct {
            struct sim_loop *to;
            struct mail *m;
            struct link by_loop;
        } mail;
        struct job *job;
        struct sim_query *query;
        struct {
            struct sim_conn *conn;
            unsigned side; /* whom it reaches */
            unsigned tries;
            enum err why;
            size_t n;
        } stream;
    };
};

struct queue_entry {
    usec at;
    uint64_t key, seq;
    struct event *ev;
};
struct event_slab;
struct queue {
    struct queue_entry *heap;
    size_t n, cap;
    uint64_t seq;
    struct event *free;
    struct event_slab *slabs;
};
void *sim_need(void *p); /* p, or the end of the program when it is NULL */
struct event *sim_event_new(struct sim *s, enum event_kind kind);
void sim_event_free(struct sim *s, struct event *e);
/* Ties in time go by key, then by order of pushing: a shared key is first in, first out. */
void sim_push_keyed(struct sim *s, struct event *e, usec at, uint64_t key);
void sim_push(struct sim *s, struct event *e, usec at);
void sim_unqueue(struct sim *s, struct event *e); /* out of the queue, not freed */
struct event *sim_pop(struct sim *s, usec *ret_at);
void queue_done(struct queue *q);

/* ---- disks (sim_disk.c) ---- */
struct vfile;
struct vnode;
struct vop;
struct sim_disk {
    struct disk disk;
    struct sim_host *host;
    struct rng rng;
    struct vnode *nodes; /* sorted by path: files and folders */
    size_t nodes_n, nodes_cap;
    struct vop *ops; /* changes of names that power loss may still undo, oldest first */
    size_t ops_n, ops_cap;
    struct link handles;
    uint64_t life;    /* handles of an earlier life only fail */
    unsigned fail_in; /* the crash comes inside the nth operation; 0: never */
    bool failed, dead;
};
void sim_disk_init(struct sim_disk *d, struct sim_host *h);
void sim_disk_done(struct sim_disk *d);
void sim_disk_kill(struct sim_disk *d, bool power);
void sim_disk_revive(struct sim_disk *d);

/* ---- hosts, processes, loops ---- */
enum port_kind { PORT_UDP, PORT_TCP, PORT_UNIX };

/* One address of a host that sockets are bound to: at most one socket a worker. */
struct sim_port {
    struct hash_node by_addr;
    struct sim_host *host;
    enum port_kind kind;
    struct addr local;
    char path[SIM_UNIX_PATH];
    size_t path_n;
    unsigned n;
    struct sim_bound *bound[LOOP_WORKERS_MAX];
};
struct sim_bound {
    struct link by_loop;
    struct sim_loop *loop;
    struct sim_port *port; /* NULL: the process is dead */
};
struct sim_udp {
    struct udp udp;
    struct sim_bound bound;
    const struct udp_handler *h;
    void *arg;
};
struct sim_listener {
    struct listener listener;
    struct sim_bound bound;
    const struct listener_handler *h;
    void *arg;
};

struct sim_loop {
    struct loop loop;
    struct sim *sim;
    struct sim_process *proc;
    struct rng rng;
    struct event *wake; /* NULL: none in the queue */
    usec wake_at;
    struct link mails, jobs;
    size_t mails_n, jobs_n;
    usec mail_last[LOOP_WORKERS_MAX + 1]; /* by sending worker; the last: from outside */
    uint64_t mail_key[LOOP_WORKERS_MAX + 1];
    struct link udps, listeners, streams, queries;
};
struct sim_process {
    struct loop_group group;
    struct sim_host *host;
    struct sim_loop *loops;
    bool dead, stopped;
};
struct sim_ip {
    struct hash_node by_ip;
    struct addr ip;
    struct sim_host *host;
};
struct sim_host {
    struct sim *sim;
    unsigned id;
    char name[32];
    struct sim_ip *ips;
    size_t ips_n;
    uint16_t next_port;
    unsigned births; /* processes so far */
    bool down;       /* without power: not even the kernel answers */
    struct sim_process *proc;
    struct sim_disk disk;
};

struct sim {
    uint64_t seed;
    usec now;
    struct rng rng, scenario;
    struct queue queue;
    struct sim_wire wire;
    bool random_steering, running;
    bool fresh; /* something may have been armed outside a turn: a process was set up in a run */
    struct sim_loop *turn; /* whose turn it is; NULL: nobody's */
    struct sim_host **hosts;
    size_t hosts_n, hosts_cap;
    uint32_t (*cuts)[2]; /* partitioned pairs of host ids */
    size_t cuts_n, cuts_cap;
    struct hash by_ip, by_addr;
    struct block_pool *blocks; /* octets of datagrams in flight */
    struct link conns;
    uint64_t conns_born;
    struct arena zone_memory;
    struct hash zone;
    uint64_t trace_hash, trace_count;
    void (*trace_fn)(sv line, void *arg);
    void *trace_arg;
};

/* All grown arrays double. */
#define SIM_GROW(array, n, cap)                                             \
    do {                                                                    \
        if ((n) == (cap)) {                                                 \
            (cap) = (cap) ? 2 * (cap) : 16;                                 \
            (array) = sim_need(realloc((array), (cap) * sizeof(*(array)))); \
        }                                                                   \
    } while (0)

static inline struct sim_loop *sim_loop_of(struct loop *l)
{
    return CONTAINER(l, struct sim_loop, loop);
}
/* Its code may run. */
static inline bool sim_alive(const struct sim_loop *l)
{
    return !l->proc->dead && !l->proc->stopped;
}

/* ---- turns (sim_loop.c) ---- */
extern const struct loop_ops sim_loop_ops;
void sim_loop_init(struct sim_loop *l, struct sim_process *p, unsigned worker);
/* Starts a turn of a living loop: clock and timers. Timers may have closed anything: look things up
 * after it. */
void sim_turn_begin(struct sim_loop *l);
void sim_turn_end(struct sim_loop *l);
void sim_loop_sync(struct sim_loop *l); /* wake is where the wheel wants it */
void sim_loop_unwake(struct sim_loop *l);
/* The remaining jobs and mail, with loop_stopping. */
void sim_loop_drain(struct sim_loop *l);
void sim_on_wake(struct sim *s, struct event *e);
void sim_on_mail(struct sim *s, struct event *e);
void sim_on_work(struct sim *s, struct event *e);
void sim_on_done(struct sim *s, struct event *e);

/* ---- addresses, datagrams (sim_udp.c) ---- */
uint64_t sim_addr_hash(const struct addr *a);
bool sim_host_has(const struct sim_host *h, const struct addr *ip); /* loopback too */
/* The host that ip leads to from h; NULL: none. */
struct sim_host *sim_route(struct sim_host *h, const struct addr *ip);
/* The source address towards to, given the bound one (may be a wildcard). Errors: ERR_UNREACHABLE.
 */
MUST_USE enum err sim_source(struct sim_host *h, const struct addr *bound, const struct addr *to,
                             struct addr *ret_from);
bool sim_cut(const struct sim *s, const struct sim_host *a, const struct sim_host *b);
/* One way, without loss or stalls. */
usec sim_delay(struct sim *s, const struct sim_host *a, const struct sim_host *b);
/* The next port of the host that nothing is bound to; 0: none is left. */
uint16_t sim_free_port(struct sim_host *h, enum port_kind kind, const struct addr *a);
/* Binds; port 0 gets a free one. Errors: as udp_open. */
MUST_USE enum err sim_bind(struct sim_loop *l, enum port_kind kind, const struct addr *a, sv path,
                           struct sim_bound *b);
void sim_unbind(struct sim_bound *b); /* also off its loop's list */
struct sim_port *sim_port_find(struct sim_host *h, enum port_kind kind, const struct addr *a,
                               sv path);
/* The socket of the port that from's traffic goes to. */
struct sim_bound *sim_steer(struct sim *s, struct sim_port *p, const struct addr *from);
enum err sim_udp_open(struct loop *l, const struct addr *bind, unsigned flags,
                      const struct udp_handler *h, void *arg, struct udp **ret_udp);
enum err sim_source_for(struct loop *l, const struct addr *to, struct addr *ret_local);
void sim_udp_kill(struct sim_loop *l);
void sim_udp_free_all(struct sim_loop *l);
void sim_on_datagram(struct sim *s, struct event *e);
void sim_on_udp_error(struct sim *s, struct event *e);

/* ---- streams (sim_stream.c) ---- */
enum err sim_listen(struct loop *l, const struct addr *bind, unsigned flags,
                    const struct listener_handler *h, void *arg, struct listener **ret_listener);
enum err sim_listen_unix(struct loop *l, sv path, unsigned mode, const struct listener_handler *h,
                         void *arg, struct listener **ret_listener);
enum err sim_connect(struct loop *l, const struct addr *local, const struct addr *to,
                     const struct stream_handler *h, void *arg, struct stream **ret_stream);
void sim_streams_kill(struct sim_loop *l, bool power);
void sim_streams_free_all(struct sim_loop *l);
void sim_on_stream(struct sim *s, struct event *e);
void sim_stream_event_drop(struct event *e);

/* ---- names (sim_dns.c) ---- */
enum err sim_dns_query(struct loop *l, sv name, unsigned type, dns_fn *fn, void *arg,
                       struct dns_query **ret_query);
void sim_dns_kill(struct sim_loop *l);
void sim_dns_free_all(struct sim_loop *l);
void sim_on_dns(struct sim *s, struct event *e);

/* ---- trace (sim_trace.c) ---- */
/* Mixes an event into the hash. True: someone wants the line, too. */
bool sim_trace_mix(struct sim *s, uint64_t kind, uint64_t a, uint64_t b, uint64_t c);
struct trace_line {
    struct buf b;
    char mem[1024];
};
void sim_line_begin(struct sim *s, struct trace_line *t, const char *what);
void sim_line_end(struct sim *s, struct trace_line *t);
void sim_trace_addrs(struct sim *s, const char *what, const struct addr *from,
                     const struct addr *to, sv octets, size_t n);
void sim_trace_loop(struct sim *s, const char *what, const struct sim_loop *l);
void sim_trace_host(struct sim *s, const char *what, const struct sim_host *h, sv detail,
                    uint64_t n);

#endif
