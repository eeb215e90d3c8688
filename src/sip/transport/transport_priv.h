/* SPDX-License-Identifier: MIT */
/* transport/transport_priv.h: what the parts of transport share.                layer: sip
 *
 * Parts   transport.c endpoints, listeners, what is local; transport_rx.c messages in, homes;
 * transport_conn.c connections and framing; transport_send.c messages out, watches, other workers'
 * connections; transport_reply.c answers without a transaction. */
#ifndef TRANSPORT_TRANSPORT_PRIV_H
#define TRANSPORT_TRANSPORT_PRIV_H
#include "ds/hash.h"
#include "transport/transport.h"

enum {
    SIP_PORT = 5060,          /* RFC 3261 §18.1.1 */
    SIP_RX_OCTETS = 4 * 1024, /* of the block that holds an rx: an ordinary message needs no heap */
    SIP_RX_ARENA = 256 * 1024, /* heap that one message's typed values may take beyond it */
    SIP_KNOWN = 32,            /* own addresses remembered on wildcard listeners */
    SIP_WAITING = 256,         /* buckets of watches */
};
#define SIP_CONNECT_TIME (5 * USEC_S)

struct rx_priv {
    _Atomic uint32_t refs;
    struct sip_shared *shared;
    struct block *self, *octets;
    struct home_key key; /* of the claim */
    struct mail mail;    /* to the home; holds a reference */
};

struct sip_shared {
    struct home *home;
    struct loop_group *group;
    struct sip_config config;               /* RO once listening */
    struct arena memory;                    /* texts of config */
    struct sip *endpoint[LOOP_WORKERS_MAX]; /* RO once running */
};

/* A listener's sockets on this worker. */
struct sip_port {
    struct sip *sip;
    uint8_t index;
    bool open;
    struct udp *udp;
    struct listener *listener;
    struct addr local;
};

struct conn {
    struct hash_node by_remote, by_source;
    struct link by_life; /* sip.live, then sip.dead */
    struct sip *sip;
    struct stream *stream; /* NULL: dead; the record stays until the turn's end */
    struct flow flow;
    bool accepted;
    uint64_t users; /* bit a worker: has sent through this connection */
    struct link watches;
    struct timer idle, deadline; /* deadline: of the connect, then of a message begun */
    usec active;
    struct block *in; /* octets [at, n) are not yet a message */
    size_t at, resume;
    size_t crlf; /* octets of CRLF since the last message or answer */
};

struct sip {
    struct loop *loop;
    struct sip_shared *shared;
    const struct sip_user *user;
    void *arg;
    struct sip_port port[SIP_LISTENERS_MAX];
    const struct sip_txn_ops *txn_ops;
    void *txns;

    struct pool *conn_pool;
    struct conn **conn;   /* by slot; NULL: vacant */
    uint32_t *generation; /* by slot */
    uint32_t *vacant;     /* stack of slots */
    size_t conns, conns_max;
    struct hash by_remote, by_source;
    struct link live, dead;

    struct link waiting[SIP_WAITING]; /* watches of datagrams and of other workers' connections, by
                                         target */
    struct link failed;               /* watches to be told */
    struct deferred later;            /* tells them, and buries the dead */
    uint64_t watch_id;

    struct addr known[SIP_KNOWN];
    unsigned known_n;
};

/* ---- transport.c ---- */
/* Octets came to this local address, so it is ours. */
void sip_learn(struct sip *s, const struct addr *local);
/* The listener for a request to `to`, and the local address it has towards it. Errors:
 * ERR_UNREACHABLE. */
MUST_USE enum err sip_port_for(struct sip *s, enum sip_transport t, const struct addr *to,
                               struct sip_port **ret_port, struct addr *ret_local);
uint64_t sip_addr_hash(const struct sip *s, const struct addr *a);

static inline void sip_tap(const struct sip *s, bool out, const struct addr *peer, sv octets)
{
    if (s->user->on_octets)
        s->user->on_octets(s->arg, out, peer, octets);
}

/* ---- transport_rx.c ---- */
extern const struct udp_handler sip_udp_handler;
/* text lies in octets (a reference is taken). rc, fault: what framing said; ERR_OK: nothing against
 * it. False: it has no Via and may be no SIP at all. */
bool sip_receive(struct sip *s, struct block *octets, sv text, const struct flow *f, enum err rc,
                 const struct sipmsg_fault *fault);

/* ---- transport_conn.c ---- */
extern const struct listener_handler sip_listener_handler;
struct conn *conn_find(struct sip *s, uint64_t id);
struct conn *conn_to(struct sip *s, enum sip_transport t, const struct addr *remote);
/* Errors: ERR_BUSY (cap), ERR_NOMEM, as stream_connect and sip_port_for. */
MUST_USE enum err conn_connect(struct sip *s, enum sip_transport t, const struct addr *to,
                               struct conn **ret_conn);
/* Writes, or ends the connection: then its watches fail. */
void conn_send(struct conn *c, sv octets);
/* Closes; idempotent. */
void conn_drop(struct conn *c, bool flush, enum err why);
void conn_bury(struct conn *c);

/* ---- transport_send.c ---- */
void watch_fail(struct sip *s, struct sip_sent *w, enum err why);
void watch_fail_target(struct sip *s, uint64_t target, uint64_t id, enum err why);
/* The network refused a datagram to target that begins like this. */
void watch_fail_quoted(struct sip *s, uint64_t target, sv quoted, enum err why);
uint64_t watch_target_conn(const struct sip *s, unsigned worker, uint64_t conn);
uint64_t watch_target_addr(const struct sip *s, const struct addr *a);
/* Tells the workers that have sent through c that it is gone. */
void hop_gone(struct conn *c);
void sip_later(struct deferred *d, void *arg);

#endif
