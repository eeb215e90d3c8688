/* SPDX-License-Identifier: MIT */
/* transport/transport_priv.h: what the parts of transport share.                layer: sip
 *
 * Parts   transport.c endpoints; _port.c listeners, what is local, our names; _conn.c life of connections;
 *         _move.c where they are, and moving; _stream.c messages framed from octets; _ws.c HTTP and WebSocket; _rx.c messages in, homes;
 *         _send.c messages out, watches, other workers' connections; _flow.c flows as values;
 *         _stun.c STUN keep-alives; _source.c caps per source; _name.c names of TLS peers; _reply.c answers without a
 *         transaction. */
#ifndef TRANSPORT_TRANSPORT_PRIV_H
#define TRANSPORT_TRANSPORT_PRIV_H
#include "ds/hash.h"
#include "transport/transport.h"

enum {
    SIP_PORT = 5060, /* RFC 3261 §18.1.1 */
    SIPS_PORT = 5061,
    SIP_RX_OCTETS = 4 * 1024, /* of the block that holds an rx: an ordinary message needs no heap */
    SIP_RX_ARENA = 256 * 1024, /* heap that one message's typed values may take beyond it */
    SIP_KNOWN = 32,            /* own addresses remembered on wildcard listeners */
    SIP_WAITING = 256,         /* buckets of watches */
    SIP_STUN_SOURCES = 4096,   /* whose rate is known apart, of each worker */
    SIP_NAME_MAX = 256,        /* a host name has 253 octets at most */
    SIP_HOST_TEXT = 64,        /* an address without brackets and port */
    CONN_SLACK = 1024,
    QUEUE_MIN = 64 * 1024, /* octets that may wait for a peer */
    QUEUE_EXTRA = 4 * 1024,
};
#define SIP_CONNECT_TIME (5 * USEC_S)

struct rx_priv {
    uint32_t refs; /* of the worker that it is with */
    struct sip_shared *shared;
    struct block *self, *octets;
    struct mail mail; /* to the home; holds a reference */
};

struct sip_shared {
    struct home *home;
    struct loop_group *group;
    struct sip_config config;               /* RO once listening */
    struct arena memory;                    /* texts of config */
    struct sip *endpoint[LOOP_WORKERS_MAX]; /* RO once running */
    struct sources *sources;
    struct names *names;
    size_t connections; /* of each worker, at most */
    /* by worker and slot: the connection that is there, and who serves it (transport_move.c), or 0; written by
     * who serves it */
    _Atomic uint64_t *place[LOOP_WORKERS_MAX];
};

/* A listener's sockets on this worker. */
struct sip_port {
    struct sip *sip;
    uint8_t index;
    bool open;
    struct udp *udp;
    struct listener *listener;
    struct addr local;
    bool loopback; /* local is such an address */
    /* local, when it is an address, as peers read it: host; a Via of ours up to its branch, and of that the
     * host with brackets and port */
    char host[SIP_HOST_TEXT], via[SIP_HOST_TEXT + 40];
    uint8_t host_n, via_n; /* 0: local is any address */
    sv hostport;
};

enum conn_phase {
    CONN_HANDSHAKE, /* accepted: TLS, then HTTP until the upgrade */
    CONN_UP         /* carries messages; also one that we open, which queues them */
};

struct conn {
    /* opened: its remote address; accepted: the address that it is an alias of, if it is (RFC 5923) */
    struct hash_node by_remote;
    struct link by_life; /* sip.live, then sip.dead */
    /* accepted, and nothing useful came yet: sip.trial, oldest first; or requests came, but nobody is
     * registered on it: sip.spoke, longest silent first */
    struct link by_trial;
    bool proved;           /* a valid request came */
    struct sip *sip;       /* who serves it; flow.worker keeps the record */
    struct stream *stream; /* NULL: dead; the record stays until the turn's end */
    struct http *http;     /* owns the stream; NULL: not before the upgrade */
    struct tls_peer *peer;
    struct flow flow;
    struct addr source;  /* whom it counts for */
    uint32_t name;       /* opened, TLS: whom the certificate had to show */
    uint16_t alias_port; /* by_remote, when accepted */
    uint8_t phase;
    bool accepted, counted;
    uint8_t pings;  /* of ours that were not answered yet */
    uint64_t users; /* bit a worker: has sent through this connection */
    struct link watches;
    /* deadline: of the connect or the handshake, then of a message begun */
    struct timer idle, deadline;
    usec active;
    usec kept_until;  /* silence does not end it before */
    usec moved;       /* when it left a worker last; 0: never */
    struct block *in; /* octets [at, n) are not yet a message */
    size_t at, resume;
    size_t crlf; /* octets of CRLF since the last message or answer */
};

/* It carries messages of one. */
static inline bool conn_is_websocket(const struct conn *c)
{
    return (c->flow.transport == SIP_T_WS || c->flow.transport == SIP_T_WSS) && c->phase == CONN_UP;
}

struct sip {
    struct loop *loop;
    struct sip_shared *shared;
    const struct sip_user *user;
    void *arg;
    struct sip_port port[SIP_LISTENERS_MAX];
    /* by transport and family (4, 6): the one listener of these, bound to an address; NULL: not so simple */
    struct sip_port *only[SIP_T_OTHER + 1][2];
    const struct sip_txn_ops *txn_ops;
    void *txns;

    struct pool *conn_pool;
    struct conn **conn;   /* by slot; NULL: vacant. Also those that others serve */
    uint32_t *generation; /* by slot */
    uint32_t *vacant;     /* stack of slots */
    size_t conns, conns_max;
    /* Slots of those that ended where they were served, as a stack, each + 1; 0: its end */
    _Atomic uint32_t returned;
    uint32_t *returned_next;
    struct hash by_remote;
    struct link live, dead, trial, spoke;
    struct tls *tls; /* NULL: none yet */

    struct link waiting[SIP_WAITING]; /* watches of datagrams and of other workers' connections, by
                                         target */
    struct link failed;               /* watches to be told */
    struct deferred later;            /* tells them, and buries the dead */
    uint64_t watch_id;

    struct deferred spreading; /* lets the connection of spread go; not again before spread_due */
    struct flow spread;
    usec spread_due;

    struct addr known[SIP_KNOWN];
    unsigned known_n;

    usec stun[SIP_STUN_SOURCES]; /* when each may ask a second's worth again */
};

/* ---- transport_port.c ---- */
/* Octets came to this local address, so it is ours. */
void sip_learn(struct sip *s, const struct addr *local);
/* The listener for a request to `to`, and the local address it has towards it. Errors:
 * ERR_UNREACHABLE. */
MUST_USE enum err sip_port_for(struct sip *s, enum sip_transport t, const struct addr *to,
                               struct sip_port **ret_port, struct addr *ret_local);
/* host, without port, is what this listener is called or bound to. */
bool sip_port_is(struct sip *s, unsigned listener, sv host);
/* We can reach others by it; WebSocket is the client's to open. */
static inline bool sip_connects(enum sip_transport t)
{
    return t == SIP_T_UDP || t == SIP_T_TCP || t == SIP_T_TLS;
}

/* ---- transport.c ---- */
uint64_t sip_addr_hash(const struct sip *s, const struct addr *a);

static inline void sip_tap(const struct sip *s, bool out, const struct addr *peer, sv octets)
{
    if (s->user->on_octets)
        s->user->on_octets(s->arg, out, peer, octets);
}

/* ---- transport_source.c ---- */
struct source_limits {
    unsigned connections, rate; /* rate: of new ones a second; 0: any */
};
enum source_verdict { SOURCE_ENTERED, SOURCE_FULL, SOURCE_FAST };
/* Room for so many connections of all workers. Errors: ERR_NOMEM. */
MUST_USE enum err sources_new(size_t connections, struct sources **ret_sources);
void sources_free(struct sources *t);
/* One connection more of this source, if it may; what is refused is counted. */
enum source_verdict source_enter(struct sip *s, const struct addr *source);
void source_leave(struct sip *s, const struct addr *source);

/* ---- transport_name.c ---- */
MUST_USE enum err names_new(struct names **ret_names);
void names_free(struct names *t);
uint32_t names_number(struct sip_shared *sh, sv name); /* as sip_name */
/* False: forgotten. */
bool names_text(struct sip_shared *sh, uint32_t number, char mem[static SIP_NAME_MAX],
                sv *ret_name);

/* ---- transport_rx.c ---- */
extern const struct udp_handler sip_udp_handler;
/* text lies in octets (a reference is taken). c: NULL for datagrams. rc, fault: what framing said;
 * ERR_OK: nothing against it. False: it has no Via and may be no SIP at all. */
bool sip_receive(struct sip *s, struct block *octets, sv text, const struct flow *f, struct conn *c,
                 enum err rc, const struct sipmsg_fault *fault);

/* ---- transport_stun.c ---- */
/* A datagram that may be STUN; false: it is not. */
bool sip_stun(struct sip_port *p, sv octets, const struct addr *from, const struct addr *to);

/* ---- transport_conn.c ---- */
extern const struct listener_handler sip_listener_handler;
/* One that may carry requests to remote: opened to this very address and, over TLS, in this name. */
struct conn *conn_to(struct sip *s, enum sip_transport t, const struct addr *remote, uint32_t name);
/* Requests on this flow go by a connection that we opened or will open. */
bool conn_is_ours(struct sip *s, const struct flow *f);
/* Errors: ERR_BUSY (cap), ERR_NOMEM, ERR_UNREACHABLE (a forgotten name, no certificates yet), as
 * stream_connect and sip_port_for. */
MUST_USE enum err conn_connect(struct sip *s, enum sip_transport t, const struct addr *to,
                               uint32_t name, struct conn **ret_conn);
/* A message that pass one accepts came on it. */
void conn_proved(struct conn *c, struct rx *rx);
/* Writes, or ends the connection: then its watches fail. */
void conn_send(struct conn *c, sv octets);
/* As conn_send, octets that are no message. */
void conn_send_octets(struct conn *c, sv octets);
/* Closes; idempotent. */
void conn_drop(struct conn *c, bool flush, enum err why);
void conn_bury(struct conn *c);
/* For handlers of what it stands on: that is gone, or about to be closed by the caller. */
void conn_end(struct conn *c, enum err why);
/* Whose X-Forwarded-For l believes. */
bool from_proxy(const struct sip_listen *l, const struct addr *peer);
/* It carries messages from now on. */
void conn_up(struct conn *c);

/* ---- transport_move.c ---- */
/* The connection that f speaks of, if this worker serves it. */
struct conn *conn_of_flow(struct sip *s, const struct flow *f);
/* Who serves it, or will at once; of one that is gone, who would know it best. */
unsigned conn_owner(const struct sip *s, const struct flow *f);
/* It is alive, and not here, or not yet. */
bool conn_elsewhere(const struct sip *s, const struct flow *f);
/* This worker serves it, or knows best that it is gone. */
bool conn_is_here(const struct sip *s, const struct flow *f);
/* What all may know: c->sip serves it; it is gone. */
void conn_here(struct conn *c);
void conn_nowhere(const struct conn *c);
/* c has ended, and is not kept here; afterwards it is nobody's but its keeper's. */
void conn_give_back(struct conn *c);
/* What others gave back is vacant again. */
void conn_take_back(struct sip *s);
/* This worker would serve a connection that it often sends on. */
bool conn_may_come(const struct sip *s);
/* To that worker, if it is at rest and may go. Not while its octets are read. */
void conn_move(struct conn *c, unsigned worker);
/* A request came on it that this worker will serve: is this worker busy and another idle, the next will come
 * there. */
void conn_spread(struct conn *c);
void conn_spread_init(struct sip *s);

/* ---- transport_stream.c ---- */
/* Octets of a connection without messages' borders. */
void conn_octets(struct conn *c, sv octets);
/* One whole message of a WebSocket. */
void conn_message(struct conn *c, sv octets);

/* ---- transport_ws.c ---- */
/* Its stream is open: the peer's HTTP request is awaited. */
void conn_await_upgrade(struct conn *c);

/* ---- transport_send.c ---- */
/* w waits for what happens to target. octets: of a datagram, else NULL. */
void watch_wait(struct sip *s, struct sip_sent *w, uint64_t target, struct block *octets);
void watch_fail(struct sip *s, struct sip_sent *w, enum err why);
void watch_fail_target(struct sip *s, uint64_t target, uint64_t id, enum err why);
/* The network refused a datagram to this address that begins like this: the worker that sent it is
 * told. */
void watch_fail_quoted(struct sip *s, const struct addr *to, sv quoted, enum err why);
uint64_t watch_target_conn(unsigned worker, uint64_t conn); /* as flow.worker, flow.conn */
uint64_t watch_target_addr(const struct addr *a);
/* Tells the workers that have sent through c that it is gone. */
void hop_gone(struct conn *c);
void sip_later(struct deferred *d, void *arg);

#endif
