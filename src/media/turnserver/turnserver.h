/* SPDX-License-Identifier: MIT */
/* turnserver/turnserver.h: a TURN server: addresses of ours that clients receive and send at.   layer: media
 *
 * Spec    RFC 8656 (TURN), RFC 6062 (TCP on the relayed side), RFC 8489 §9.2 (long-term credentials, with
 *         the protection against bidding down of §9.2.1), RFC 7065 (turn: URIs), draft-uberti-behave-turn-rest
 *         (a user name that ends: "EXPIRY:ACCOUNT").
 * Shape   three things. A struct turnserver_shared holds what the workers of a process share: the secret, how many
 *         allocations each account has, ports held in reserve. A struct turnserver_core is one worker's
 *         machine: messages in, effects out, no socket and no clock. A struct turnserver is that machine on a loop's
 *         sockets: UDP, TCP and TLS listeners, and the sockets of the relayed addresses.
 * Order   parse, authenticate, authorise, change state. Before a request is authenticated nothing is kept of it: a nonce
 *         is a time, chance and a MAC.
 * Peers   where a client may send, turnserver_peer_class() says, after every way of writing an address is
 *         undone; asked when a permission or channel is made, when a connection is opened, and again when data
 *         goes out. (D16, D22)
 * Limits  below; each refusal counts, by its reason. UDP toward a client is never queued here; toward a client on TCP
 *         what does not fit the stream's queue is lost, as a datagram would be.
 * Threads shared: any. A core, a turnserver: its loop's.
 */
#ifndef TURNSERVER_TURNSERVER_H
#define TURNSERVER_TURNSERVER_H
#include "ports/ports.h"
#include "sock/sock.h"
#include "stunmsg/stunmsg.h"

struct tls;
struct turnserver_shared;
struct turnserver_core;
struct turnserver;

enum {
    TURNSERVER_LISTENERS_MAX = 16,
    TURNSERVER_PEERS_MAX = 32,         /* networks of `turn.peers` */
    TURNSERVER_USER_MAX = 320,         /* octets of a user name */
    TURNSERVER_REALM_MAX = 127,        /* RFC 8489 §14.9 */
    TURNSERVER_PASSWORD_LEN = 44,      /* base64 of a SHA-256 */
    TURNSERVER_ALLOCATIONS_MAX = 8192, /* of a process, and never more than half of the ports */
    TURNSERVER_PERMISSIONS_MAX = 64,   /* of an allocation */
    TURNSERVER_CHANNELS_MAX = 64,      /* of an allocation */
    TURNSERVER_CONNECTIONS_MAX = 16,   /* TCP connections to peers, of an allocation */
    TURNSERVER_RESERVED_MAX = 256,     /* ports held for a token, of a process */
    TURNSERVER_STREAMS_MAX = 4096,     /* clients on TCP and TLS, of a worker */
    TURNSERVER_ANSWERS_A_SECOND = 50,  /* to one source without credentials, of a worker */
};
#define TURNSERVER_LIFETIME_DEFAULT (10 * USEC_MIN) /* RFC 8656 §2.2 */
#define TURNSERVER_PERMISSION_LIFE  (5 * USEC_MIN)  /* §9 */
#define TURNSERVER_CHANNEL_LIFE     (10 * USEC_MIN) /* §12 */
#define TURNSERVER_RESERVED_LIFE    (30 * USEC_S)   /* §7.2 */
#define TURNSERVER_NONCE_LIFE       USEC_HOUR       /* §5 */
#define TURNSERVER_CREDENTIAL_LIFE  USEC_HOUR       /* at most */
#define TURNSERVER_CONNECT_TIME     (30 * USEC_S)   /* RFC 6062 §5.2 */
#define TURNSERVER_BIND_TIME        (30 * USEC_S)   /* RFC 6062 §5.2, §5.3 */

enum turnserver_transport { TURNSERVER_UDP, TURNSERVER_TCP, TURNSERVER_TLS };

/* What the configuration says; copied. */
struct turnserver_limits {
    usec lifetime;  /* of an allocation, at most; at least TURNSERVER_LIFETIME_DEFAULT */
    unsigned quota; /* allocations of one account */
    struct addr_net peers[TURNSERVER_PEERS_MAX]; /* open although special */
    unsigned peers_n;
};

/* ---- what a process shares ---- */

/* realm: copied. ports: borrowed; relayed addresses have theirs from it. Errors: ERR_NOMEM, ERR_TOOBIG (realm). */
MUST_USE enum err turnserver_shared_new(const uint8_t secret[static 32], sv realm,
                                        struct ports *ports, struct turnserver_shared **ret_shared);
void turnserver_shared_free(struct turnserver_shared *sh); /* NULL is fine; wipes the secret */

/* A user name and its password, for this account (user@domain) and so many seconds from `wall`, an hour at
 * most. Errors: ERR_TOOBIG (the account's name), ERR_RANGE (seconds). */
MUST_USE enum err turnserver_credential(const struct turnserver_shared *sh, sv account, usec wall,
                                        unsigned seconds, struct buf *ret_user,
                                        struct buf *ret_password);
/* "turn:192.0.2.1:3478?transport=udp", "turns:…:5349?transport=tcp" (RFC 7065 §3.1).
 *   host  a name, or an address as a URI writes it */
void turnserver_put_uri(struct buf *b, enum turnserver_transport t, sv host, uint16_t port);

/* ---- whom a client may talk to ---- */

enum turnserver_verdict {
    TURNSERVER_OPEN,
    TURNSERVER_SPECIAL, /* loopback, private, link-local, multicast, unspecified, reserved */
    TURNSERVER_HIDDEN,  /* an IPv4 address written as IPv6, or a tunnel's (RFC 8656 §21.4) */
    TURNSERVER_OURS,    /* of this machine */
    TURNSERVER_TRUSTS   /* of somebody who trusts ours (turnserver_forbid) */
};
/* What an address is, before it is asked whose it is: OPEN, SPECIAL or HIDDEN. NAT64 counts as the address
 * inside.
 *   ret_inside  optional; that address, else a itself */
enum turnserver_verdict turnserver_peer_class(const struct turnserver_limits *l,
                                              const struct addr *a, struct addr *ret_inside);

/* ---- the machine ---- */

/* What is wrong with credentials. */
enum turnserver_wrong {
    TURNSERVER_WRONG_NOTHING,
    TURNSERVER_WRONG_USER, /* nobody was given that name, or its account is gone */
    TURNSERVER_WRONG_REALM,
    TURNSERVER_WRONG_PASSWORD,
    TURNSERVER_WRONG_EXPIRED
};

/* A 5-tuple. */
struct turnserver_tuple {
    struct addr client, server;
    enum turnserver_transport transport;
    void
        *io; /* the performer's: its socket, or the client's stream; no part of the tuple's value */
};
/* A relayed address, while it stands. The core's but for io. */
struct turnserver_relay {
    struct addr bound; /* where its socket is */
    struct addr told;  /* what the client was told of it; another behind a NAT of ours */
    bool tcp;          /* it takes and opens connections (RFC 6062) */
    void *io;          /* the performer's: its socket */
};
/* A connection between a relayed address and a peer (RFC 6062). The core's but for io. */
struct turnserver_peer {
    uint32_t id;      /* CONNECTION-ID: its machine's number above, chance below */
    struct addr addr; /* the peer's */
    void *io;         /* the performer's: its stream, and the client's data connection */
};
enum { TURNSERVER_ID_SHIFT = 26 }; /* of that number */
/* What an answer needs that is given later. */
struct turnserver_answer {
    uint16_t method;
    uint8_t id[STUN_ID];
    bool fingerprint;
    enum stun_integrity sign;
    uint8_t key[STUN_KEY_MAX];
    size_t key_n;
};

/* Effects: called within the calls below, never after turnserver_core_free; none but peer_bind calls the core. */
struct turnserver_ops {
    /* One message to a client; it may be lost. */
    void (*to_client)(void *arg, const struct turnserver_tuple *client, const sv *pieces, size_t n);
    /* The address of this family at which a client of this 5-tuple is relayed (port 0), and what it is
     * told of it. False: we have none. */
    bool (*relay_address)(void *arg, const struct turnserver_tuple *client, unsigned family,
                          struct addr *ret_bound, struct addr *ret_told);
    /* A UDP socket at r->bound; of a TCP relay a listener. Errors: as udp_open, stream_listen. */
    enum err (*relay_open)(void *arg, struct turnserver_relay *r);
    /* False: it could not be sent. */
    bool (*relay_send)(void *arg, struct turnserver_relay *r, const struct addr *to, sv octets);
    void (*relay_close)(void *arg, struct turnserver_relay *r);
    /* a is an address of this machine. */
    bool (*is_ours)(void *arg, const struct addr *a);
    /* There is an account of this name. */
    bool (*has_account)(void *arg, sv account);
    /* May be NULL: this client's credentials are refused. That it is he is sure: he has shown a nonce that only his
     * address was told.
     *   user  as he says; empty: none */
    void (*wrong)(void *arg, const struct turnserver_tuple *client, sv user,
                  enum turnserver_wrong why);
    void (*chance)(void *arg, void *p, size_t n);
    /* A connection from r->bound to p->addr begins; turnserver_core_connected() tells its outcome. */
    enum err (*peer_connect)(void *arg, struct turnserver_relay *r, struct turnserver_peer *p);
    /* A connection of this user's wants to carry the octets of connection id: the performer asks the machine that has it
     * by turnserver_core_claim(), and this one to answer by turnserver_core_answer(). It may do so at once. */
    void (*peer_bind)(void *arg, const struct turnserver_tuple *client, uint32_t id, sv user,
                      const struct turnserver_answer *answer);
    /* The connection to the peer ends, and the client's that is bound to it. */
    void (*peer_close)(void *arg, struct turnserver_peer *p);
};

/* number: of this machine among those that share sh, below LOOP_WORKERS_MAX. wheel: allocations end by it. l: copied.
 * Errors: ERR_NOMEM. */
MUST_USE enum err turnserver_core_new(struct turnserver_shared *sh, unsigned number,
                                      const struct turnserver_limits *l,
                                      const struct turnserver_ops *ops, void *arg,
                                      struct wheel *wheel, struct stats *stats,
                                      struct turnserver_core **ret_core);
/* All allocations end. NULL is fine. */
void turnserver_core_free(struct turnserver_core *c);
/* From now on; permissions and channels that these do not allow carry nothing any more. */
void turnserver_core_limits(struct turnserver_core *c, const struct turnserver_limits *l);
/* From now on no client reaches these, at whatever port, unless `peers` has one alone; connections to them end. They take
 * the place of those of before. Copied. Errors: ERR_NOMEM: as before. */
MUST_USE enum err turnserver_core_forbid(struct turnserver_core *c, const struct addr *list,
                                         size_t n);
size_t turnserver_core_allocations(const struct turnserver_core *c);

/* One datagram, or one message of a stream without its padding, from a client. now, wall: as loop_now,
 * loop_wall. False: it is nothing of ours; a stream that says such things is closed. */
bool turnserver_core_receive(struct turnserver_core *c, const struct turnserver_tuple *from,
                             sv message, usec now, usec wall);
/* A datagram from a peer. */
void turnserver_core_relayed(struct turnserver_core *c, struct turnserver_relay *r,
                             const struct addr *from, sv octets, usec now);
/* The network says that a datagram to this peer was refused (§11.5). */
void turnserver_core_refused(struct turnserver_core *c, struct turnserver_relay *r,
                             const struct addr *to, enum err why, usec now);
/* The connection of a client has ended: its allocation with it. */
void turnserver_core_gone(struct turnserver_core *c, const struct turnserver_tuple *client);
/* A connection to a peer stands (ERR_OK) or has failed; of one that fails nothing more is said. */
void turnserver_core_connected(struct turnserver_core *c, struct turnserver_peer *p, enum err why,
                               usec now);
/* A peer has connected to a TCP relay. NULL: not allowed; the caller closes the connection. */
struct turnserver_peer *turnserver_core_accepted(struct turnserver_core *c,
                                                 struct turnserver_relay *r,
                                                 const struct addr *from, usec now);
/* The connection to the peer, or the client's that was bound to it, has ended: nothing more is said of it. */
void turnserver_core_ended(struct turnserver_core *c, struct turnserver_peer *p);
/* A connection of this user's is to carry it. 0: it does from now on; else the code of the refusal.
 *   ret_peer  set with 0 */
unsigned turnserver_core_claim(struct turnserver_core *c, uint32_t id, sv user,
                               struct turnserver_peer **ret_peer);
/* The answer to a ConnectionBind: success with code 0. */
void turnserver_core_answer(struct turnserver_core *c, const struct turnserver_tuple *client,
                            const struct turnserver_answer *answer, unsigned code);

/* ---- framing of a stream (§12.5, RFC 8489 §6.2.2) ---- */

enum { TURNSERVER_FRAME_MAX = 65536 + 20 };
/* The message that octets begin with.
 *   ret_message  without padding
 *   ret_whole    octets that it takes, padding included
 * Errors: ERR_MORE, ERR_SYNTAX (neither STUN nor ChannelData begins so). */
MUST_USE enum err turnserver_frame(sv octets, sv *ret_message, size_t *ret_whole);

/* ---- the machine on sockets ---- */

struct turnserver_listen {
    enum turnserver_transport transport;
    struct addr bind;
};
/* "udp:192.0.2.1:3478", as `turn.listen` says it. */
void turnserver_put_listen(struct buf *b, const struct turnserver_listen *l);
struct turnserver_config {
    struct turnserver_limits limits;
    struct addr advertise
        [2]; /* IPv4, IPv6: told instead of an address that is not public; family 0: none */
    bool (*has_account)(void *arg, sv account); /* this worker's thread */
    void (*wrong)(void *arg, const struct turnserver_tuple *client, sv user,
                  enum turnserver_wrong why); /* likewise; may be NULL; as the machine's */
    void *arg;
};
/* Errors: ERR_NOMEM. */
MUST_USE enum err turnserver_new(struct loop *l, struct turnserver_shared *sh,
                                 const struct turnserver_config *c, struct turnserver **ret_server);
void turnserver_free(struct turnserver *t); /* NULL is fine */
/* Port 0: any; l->bind has it then, for the other workers. Errors: as udp_open, stream_listen; ERR_TOOBIG. */
MUST_USE enum err turnserver_listen(struct turnserver *t, struct turnserver_listen *l);
/* The certificates of tls listeners from now on; a reference is taken. Without any they refuse everybody. */
void turnserver_tls(struct turnserver *t, struct tls *tls);
void turnserver_limits(struct turnserver *t, const struct turnserver_limits *l);
/* As turnserver_core_forbid. */
MUST_USE enum err turnserver_forbid(struct turnserver *t, const struct addr *list, size_t n);

#endif
