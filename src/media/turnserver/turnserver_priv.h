/* SPDX-License-Identifier: MIT */
/* turnserver_priv.h: the parts of turnserver among themselves.
 *
 *   turnserver.c           the machine on a loop's sockets: UDP, relayed addresses
 *   turnserver_stream.c      clients on TCP and TLS, framing
 *   turnserver_core.c      allocations: made, found, ended; messages told apart
 *   turnserver_request.c     Allocate, Refresh, CreatePermission, ChannelBind
 *   turnserver_data.c        Send, ChannelData, what peers send
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
/* 0: proved; else the code of the refusal. The name's end and its account are not looked at: turnserver_is_fresh(). */
unsigned turnserver_authenticate(struct turnserver_core *c, const struct stunmsg *m,
                                 const struct turnserver_tuple *from,
                                 struct turnserver_login *ret_login);
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
    struct turnserver_limits limits;
    unsigned generation; /* of limits */
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
};
void turnserver_serve(struct turnserver_request *rq);
/* Counts it, and answers with this code; signed when login.key_n > 0. */
void turnserver_refuse(struct turnserver_request *rq, unsigned code);
/* What a server without extensions says of an address (RFC 8489 §12). */
void turnserver_serve_binding(struct turnserver_core *c, const struct turnserver_tuple *from,
                              const struct stunmsg *m);

/* ---- turnserver_data.c ---- */
void turnserver_serve_send(struct turnserver_allocation *a, const struct stunmsg *m);
void turnserver_serve_channel(struct turnserver_allocation *a, sv message);
void turnserver_count_dropped(struct turnserver_core *c, enum stat_turn why);
struct stun_addr turnserver_stun_addr(const struct addr *a);

/* ---- turnserver_peer.c ---- */
/* value of an XOR-PEER-ADDRESS: as it stands there, a mapped IPv4 address too. Errors: ERR_SYNTAX, ERR_UNSUPPORTED. */
MUST_USE enum err turnserver_peer_read(const struct stunmsg *m, sv value, struct addr *ret_peer);
/* May this relay send there?  ret_to: where that is for our sockets. */
enum turnserver_verdict turnserver_peer_resolve(struct turnserver_core *c,
                                                const struct turnserver_slot *s,
                                                const struct addr *peer, struct addr *ret_to);

/* ---- turnserver.c, turnserver_stream.c ---- */
struct tls;
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
    uint16_t by_source[TURN_SOURCES]; /* of them; sources that fall together share */
};

extern const struct listener_handler turnserver_listener_handler; /* arg: a turnserver_port */
void turnserver_client_send(void *client, const sv *pieces, size_t n);
/* All of them. */
void turnserver_clients_close(struct turnserver *t);

#endif
