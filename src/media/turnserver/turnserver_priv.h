/* SPDX-License-Identifier: MIT */
/* turnserver_priv.h: the parts of turnserver among themselves.
 *
 *   turnserver.c           the machine on a loop's sockets: UDP, relayed addresses
 *   turnserver_stream.c      clients on TCP and TLS, framing
 *   turnserver_splice.c      a client's stream and a peer's, joined, also across workers
 *   turnserver_core.c      allocations: made, found, ended; messages told apart
 *   turnserver_request.c     proof; Refresh, CreatePermission, ChannelBind
 *   turnserver_allocate.c    Allocate
 *   turnserver_data.c        Send, ChannelData, what peers send
 *   turnserver_connect.c     connections to peers: Connect, ConnectionBind, ConnectionAttempt
 *   turnserver_auth.c      credentials, nonces
 *   turnserver_peer.c      whom a client may talk to
 *   turnserver_shared.c    what workers share: quotas, reserved ports
 */
#ifndef TURNSERVER_PRIV_H
#define TURNSERVER_PRIV_H
#include "crypto/crypto.h"
#include "ds/hash.h"
#include "turnserver/turnserver.h"

enum { TURN_SOURCES = 1024, TURN_OUT_MAX = 1024 };

/* ---- turnserver_shared.c ---- */
/* An account, as it is counted. */
struct turnserver_account {
    uint64_t hash[2];
};
struct turnserver_account turnserver_account_of(const struct turnserver_shared *sh, sv account);
/* One more allocation of this account. Errors: ERR_TOOBIG (its quota), ERR_BUSY (all have too many). */
MUST_USE enum err turnserver_enter(struct turnserver_shared *sh, struct turnserver_account a,
                                   unsigned quota, usec now);
void turnserver_leave(struct turnserver_shared *sh, struct turnserver_account a);
/* A taken port is held for who shows the token. Errors: ERR_BUSY (too many are); the port stays the caller's. */
MUST_USE enum err turnserver_reserve(struct turnserver_shared *sh, uint64_t token,
                                     const struct turnserver_relay *r, usec now);
/* It is the caller's now. False: no such token, or it is too late. */
bool turnserver_claim(struct turnserver_shared *sh, uint64_t token, usec now,
                      struct turnserver_relay *ret_relay);
/* The server of each worker; NULL: none. Set-up and teardown, by its own thread or before and after all. */
void turnserver_enroll(struct turnserver_shared *sh, unsigned worker, struct turnserver *t);
struct turnserver *turnserver_of(const struct turnserver_shared *sh, unsigned worker);
struct ports *turnserver_ports(const struct turnserver_shared *sh);
sv turnserver_realm(const struct turnserver_shared *sh);
/* Keyed: for tables and buckets. */
uint64_t turnserver_hash(const struct turnserver_shared *sh, const void *p, size_t n);
const uint8_t *turnserver_nonce_key(const struct turnserver_shared *sh);
void turnserver_password(const struct turnserver_shared *sh, sv user, struct buf *ret_password);

/* ---- turnserver_auth.c ---- */
/* Who a request is from. */
struct turnserver_login {
    sv user, account; /* views into the message */
    usec expires;     /* wall */
    uint8_t key[STUN_KEY_MAX];
    size_t key_n;
    enum stun_integrity reply; /* what answers are signed with */
};
struct turnserver_request;
/* 0: proved, and rq->login is set; else the code of the refusal. The name's end and its account are not looked at. */
unsigned turnserver_authenticate(struct turnserver_request *rq);
void turnserver_put_nonce(const struct turnserver_core *c, struct buf *b,
                          const struct addr *source);
/* REALM, NONCE, PASSWORD-ALGORITHMS. */
void turnserver_put_challenge(const struct turnserver_core *c, const struct stun_out *o,
                              const struct addr *source);
/* A source without credentials is answered so often and no more. */
bool turnserver_may_answer(struct turnserver_core *c, const struct addr *source);

/* ---- turnserver_core.c ---- */
struct turnserver_permission {
    struct addr ip; /* port 0 */
    usec until;
};
struct turnserver_channel {
    struct addr peer; /* as the client writes it */
    struct addr to;   /* as it is reached */
    usec until;
    usec checked; /* when it was last asked whether the peer is allowed */
    unsigned generation;
    uint16_t number;
    bool allowed;
};
struct turnserver_allocation;
struct turnserver_slot {
    struct turnserver_relay relay;
    struct turnserver_allocation *of;
    usec until; /* 0: closed */
};
struct turnserver_allocation {
    struct turnserver_core *core;
    struct hash_node by_tuple;
    struct link by_core;
    struct turnserver_tuple tuple;
    struct timer expiry;
    uint8_t id[STUN_ID];            /* of the Allocate */
    struct turnserver_slot slot[2]; /* IPv4, IPv6 */
    struct link connections;        /* to peers */
    unsigned connections_n;
    struct turnserver_account account;
    uint64_t token; /* of the port in reserve; 0: none */
    uint8_t refused_family;
    uint16_t refused_code; /* why there is no address of that family; 0: it was not asked for */
    struct turnserver_permission *permission;
    struct turnserver_channel *channel;
    uint16_t permissions, permissions_room, channels, channels_room;
    uint16_t user_n;
    char user[];
};

struct turnserver_core {
    struct turnserver_shared *shared;
    unsigned number;
    struct hash by_id; /* connections to peers */
    struct turnserver_limits limits;
    struct addr *forbidden; /* in order; NULL: none */
    size_t forbidden_n;
    unsigned generation; /* of both */
    const struct turnserver_ops *ops;
    void *arg;
    struct wheel *wheel;
    struct stats *stats;
    struct hash by_tuple;
    struct link allocations;
    usec now, wall; /* of this call */
    usec full_at[TURN_SOURCES];
    char scratch[TURNSERVER_FRAME_MAX + 64];
};

struct turnserver_allocation *turnserver_find(struct turnserver_core *c,
                                              const struct turnserver_tuple *t);
/* Errors: ERR_NOMEM. It has no address yet. */
MUST_USE enum err turnserver_allocation_new(struct turnserver_core *c,
                                            const struct turnserver_tuple *t, sv user,
                                            struct turnserver_allocation **ret_a);
void turnserver_allocation_end(struct turnserver_allocation *a);
/* This address of it, and what belongs to it. */
void turnserver_slot_close(struct turnserver_slot *s);
/* The next of its addresses to end. */
void turnserver_allocation_arm(struct turnserver_allocation *a);
static inline struct turnserver_slot *turnserver_slot_of(struct turnserver_allocation *a,
                                                         unsigned family)
{
    struct turnserver_slot *s = &a->slot[family == 6];
    return s->until > 0 ? s : NULL;
}
struct turnserver_permission *turnserver_permission_find(struct turnserver_allocation *a,
                                                         const struct addr *ip);
/* Made, or as new. False: there is no room. */
bool turnserver_permit(struct turnserver_allocation *a, const struct addr *peer);
struct turnserver_channel *turnserver_channel_numbered(struct turnserver_allocation *a,
                                                       uint16_t number);
struct turnserver_channel *turnserver_channel_to(struct turnserver_allocation *a,
                                                 const struct addr *peer);
/* NULL: there is no room. */
struct turnserver_channel *turnserver_channel_add(struct turnserver_allocation *a);

/* Comprehension-required attributes of it that we do not know. */
bool turnserver_has_unknown(const struct stunmsg *m, uint16_t *ret_types, size_t max,
                            size_t *ret_n);

/* ---- turnserver_request.c ---- */
/* A request to be answered. */
struct turnserver_request {
    struct turnserver_core *core;
    const struct turnserver_tuple *from;
    const struct stunmsg *m;
    struct turnserver_login login;
    struct turnserver_allocation *allocation; /* of the 5-tuple; NULL: none */
    enum turnserver_wrong wrong;              /* with the credentials that it has */
    sv claimed;                               /* their user name; empty: none */
    bool challenged; /* their nonce is of this source, which has read what we sent to it */
};
void turnserver_serve(struct turnserver_request *rq);
/* Counts it, and answers with this code; signed when login.key_n > 0. */
void turnserver_refuse(struct turnserver_request *rq, unsigned code);
/* What a server without extensions says of an address (RFC 8489 §12). */
void turnserver_serve_binding(struct turnserver_core *c, const struct turnserver_tuple *from,
                              const struct stunmsg *m);

/* An answer of this class; with what proves it, it is sent. */
struct stun_out turnserver_begin(struct buf *b, char mem[static TURN_OUT_MAX],
                                 const struct turnserver_request *rq, enum stun_class class);
void turnserver_finish(struct turnserver_request *rq, const struct stun_out *o);
/* May this allocation have that peer? 0, or the code.  ret_to: where our socket reaches it. */
unsigned turnserver_check_peer(struct turnserver_request *rq, const struct addr *peer,
                               struct addr *ret_to);

/* ---- turnserver_allocate.c ---- */
void turnserver_serve_allocate(struct turnserver_request *rq);
/* §7.2, §8.2: the least of what is asked for and what we allow, but not less than the default. */
usec turnserver_lifetime(const struct turnserver_request *rq);

/* What an answer to it needs later. */
struct turnserver_answer turnserver_answer_of(const struct turnserver_request *rq);

/* ---- turnserver_connect.c ---- */
void turnserver_serve_connect(struct turnserver_request *rq);
void turnserver_serve_connection_bind(struct turnserver_request *rq);
/* All connections of this allocation's relay of this family. */
void turnserver_connections_end(struct turnserver_allocation *a, unsigned family);
/* Those to peers that may not be reached any more. */
void turnserver_connections_judge(struct turnserver_allocation *a);

/* ---- turnserver_data.c ---- */
void turnserver_serve_send(struct turnserver_allocation *a, const struct stunmsg *m);
void turnserver_serve_channel(struct turnserver_allocation *a, sv message);
void turnserver_count_dropped(struct turnserver_core *c, enum stat_turn why);
struct stun_addr turnserver_stun_addr(const struct addr *a);

/* ---- turnserver_peer.c ---- */
/* The order of addresses, whatever their ports; for qsort. */
int turnserver_by_ip(const void *a, const void *b);
/* value of an XOR-PEER-ADDRESS: as it stands there, a mapped IPv4 address too. Errors: ERR_SYNTAX, ERR_UNSUPPORTED. */
MUST_USE enum err turnserver_peer_read(const struct stunmsg *m, sv value, struct addr *ret_peer);
/* May this relay send there?  ret_to: where that is for our sockets. */
enum turnserver_verdict turnserver_peer_resolve(struct turnserver_core *c,
                                                const struct turnserver_slot *s,
                                                const struct addr *peer, struct addr *ret_to);

/* ---- turnserver.c ---- */
enum { TURN_SOURCE_STREAMS = 256 }; /* of one source, of a worker */

/* A listener. */
struct turnserver_port {
    struct turnserver *server;
    enum turnserver_transport transport;
    struct addr local;
    struct udp *udp;
    struct listener *listener;
};

struct turnserver {
    struct loop *loop;
    struct turnserver_shared *shared;
    struct turnserver_core *core;
    struct turnserver_config config;
    struct tls *tls; /* NULL: none */
    struct turnserver_port port[TURNSERVER_LISTENERS_MAX];
    unsigned ports;
    struct link clients; /* streams */
    unsigned clients_n;
    uint64_t serial;                  /* of the last client */
    uint16_t by_source[TURN_SOURCES]; /* of them; sources that fall together share */
    struct link splices;
    struct link unsent; /* mails to workers whose box was full */
    struct timer again;
};

/* The socket of a relayed address. */
struct turnserver_socket {
    struct turnserver *server;
    struct turnserver_relay *relay;
    struct udp *udp;
    struct listener *listener; /* of a TCP relay */
};

/* ---- turnserver_stream.c ---- */
/* A client on a stream. */
struct turnserver_client {
    struct turnserver *server;
    struct link by_server;
    struct stream *stream;
    struct turnserver_tuple tuple;
    struct timer idle;
    uint64_t serial; /* names it while somebody is asked */
    uint16_t source; /* its place in by_source */
    bool binding;    /* a ConnectionBind waits for its answer: nothing more is read */
    struct turnserver_splice *splice; /* octets go there as they are; NULL: messages */
    char *part;                       /* a message that has begun, mem_take; NULL: none */
    size_t n, room;
};
extern const struct listener_handler turnserver_listener_handler; /* arg: a turnserver_port */
void turnserver_client_send(void *client, const sv *pieces, size_t n);
/* It has waited for the answer to its ConnectionBind: on with what came behind it. */
void turnserver_client_resume(struct turnserver_client *c);
void turnserver_client_close(struct turnserver_client *c);
/* All of them. */
void turnserver_clients_close(struct turnserver *t);

/* ---- turnserver_splice.c ---- */
extern const struct listener_handler turnserver_relay_handler; /* arg: a turnserver_socket */
MUST_USE enum err turnserver_peer_connect(void *arg, struct turnserver_relay *r,
                                          struct turnserver_peer *p);
void turnserver_peer_bind(void *arg, const struct turnserver_tuple *client, uint32_t id, sv user,
                          const struct turnserver_answer *answer);
void turnserver_peer_close(void *arg, struct turnserver_peer *p);
/* The client's octets; false: it cannot take them. */
bool turnserver_splice_take(struct turnserver_splice *s, sv octets);
/* The client has room again; it is gone. */
void turnserver_splice_drained(struct turnserver_splice *s);
void turnserver_splice_gone(struct turnserver_splice *s);
void turnserver_splices_init(struct turnserver *t);
void turnserver_splices_done(struct turnserver *t);

#endif
