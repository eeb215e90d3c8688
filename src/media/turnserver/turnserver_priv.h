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
struct turn_account {
    uint64_t hash[2];
};
struct turn_account turn_account_of(const struct turnserver_shared *sh, sv account);
/* One more allocation of this account. Errors: ERR_TOOBIG (its quota), ERR_BUSY (all have too many). */
MUST_USE enum err turn_enter(struct turnserver_shared *sh, struct turn_account a, unsigned quota,
                             usec now);
void turn_leave(struct turnserver_shared *sh, struct turn_account a);
/* A taken port is held for who shows the token. Errors: ERR_BUSY (too many are); the port stays the caller's. */
MUST_USE enum err turn_reserve(struct turnserver_shared *sh, uint64_t token,
                               const struct turnserver_relay *r, usec now);
/* It is the caller's now. False: no such token, or it is too late. */
bool turn_claim(struct turnserver_shared *sh, uint64_t token, usec now,
                struct turnserver_relay *ret_relay);
struct ports *turn_ports(const struct turnserver_shared *sh);
sv turn_realm(const struct turnserver_shared *sh);
/* Keyed: for tables and buckets. */
uint64_t turn_hash(const struct turnserver_shared *sh, const void *p, size_t n);
const uint8_t *turn_nonce_key(const struct turnserver_shared *sh);
void turn_password(const struct turnserver_shared *sh, sv user, struct buf *ret_password);

/* ---- turnserver_auth.c ---- */
/* Who a request is from. */
struct turn_login {
    sv user, account; /* views into the message */
    usec expires;     /* wall */
    uint8_t key[STUN_KEY_MAX];
    size_t key_n;
    enum stun_integrity reply; /* what answers are signed with */
};
/* 0: proved; else the code of the refusal. The name's end and its account are not looked at: turn_is_fresh(). */
unsigned turn_authenticate(struct turnserver_core *c, const struct stunmsg *m,
                           const struct turnserver_tuple *from, struct turn_login *ret_login);
void turn_put_nonce(const struct turnserver_core *c, struct buf *b, const struct addr *source);
/* REALM, NONCE, PASSWORD-ALGORITHMS. */
void turn_put_challenge(const struct turnserver_core *c, const struct stun_out *o,
                        const struct addr *source);
/* A source without credentials is answered so often and no more. */
bool turn_may_answer(struct turnserver_core *c, const struct addr *source);

/* ---- turnserver_core.c ---- */
struct turn_permission {
    struct addr ip; /* port 0 */
    usec until;
};
struct turn_channel {
    struct addr peer; /* as the client writes it */
    struct addr to;   /* as it is reached */
    usec until;
    usec checked; /* when it was last asked whether the peer is allowed */
    unsigned generation;
    uint16_t number;
    bool allowed;
};
struct turn_allocation;
struct turn_slot {
    struct turnserver_relay relay;
    struct turn_allocation *of;
    usec until; /* 0: closed */
};
struct turn_allocation {
    struct turnserver_core *core;
    struct hash_node by_tuple;
    struct link by_core;
    struct turnserver_tuple tuple;
    struct timer expiry;
    uint8_t id[STUN_ID];      /* of the Allocate */
    struct turn_slot slot[2]; /* IPv4, IPv6 */
    struct turn_account account;
    uint64_t token; /* of the port in reserve; 0: none */
    uint8_t refused_family;
    uint16_t refused_code; /* why there is no address of that family; 0: it was not asked for */
    struct turn_permission *permission;
    struct turn_channel *channel;
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

struct turn_allocation *turn_find(struct turnserver_core *c, const struct turnserver_tuple *t);
/* Errors: ERR_NOMEM. It has no address yet. */
MUST_USE enum err turn_allocation_new(struct turnserver_core *c, const struct turnserver_tuple *t,
                                      sv user, struct turn_allocation **ret_a);
void turn_allocation_end(struct turn_allocation *a);
/* This address of it, and what belongs to it. */
void turn_slot_close(struct turn_slot *s);
/* The next of its addresses to end. */
void turn_allocation_arm(struct turn_allocation *a);
static inline struct turn_slot *turn_slot_of(struct turn_allocation *a, unsigned family)
{
    struct turn_slot *s = &a->slot[family == 6];
    return s->until > 0 ? s : NULL;
}
struct turn_permission *turn_permission_find(struct turn_allocation *a, const struct addr *ip);
/* Made, or as new. False: there is no room. */
bool turn_permit(struct turn_allocation *a, const struct addr *peer);
struct turn_channel *turn_channel_numbered(struct turn_allocation *a, uint16_t number);
struct turn_channel *turn_channel_to(struct turn_allocation *a, const struct addr *peer);
/* NULL: there is no room. */
struct turn_channel *turn_channel_add(struct turn_allocation *a);

/* Comprehension-required attributes of it that we do not know. */
bool turn_has_unknown(const struct stunmsg *m, uint16_t *ret_types, size_t max, size_t *ret_n);

/* ---- turnserver_request.c ---- */
/* A request to be answered. */
struct turn_request {
    struct turnserver_core *core;
    const struct turnserver_tuple *from;
    const struct stunmsg *m;
    struct turn_login login;
    struct turn_allocation *allocation; /* of the 5-tuple; NULL: none */
};
void turn_serve(struct turn_request *rq);
/* Counts it, and answers with this code; signed when login.key_n > 0. */
void turn_refuse(struct turn_request *rq, unsigned code);
/* What a server without extensions says of an address (RFC 8489 §12). */
void turn_serve_binding(struct turnserver_core *c, const struct turnserver_tuple *from,
                        const struct stunmsg *m);

/* ---- turnserver_data.c ---- */
void turn_serve_send(struct turn_allocation *a, const struct stunmsg *m);
void turn_serve_channel(struct turn_allocation *a, sv message);
void turn_count_dropped(struct turnserver_core *c, enum stat_turn why);
struct stun_addr turn_stun_addr(const struct addr *a);

/* ---- turnserver_peer.c ---- */
/* value of an XOR-PEER-ADDRESS: as it stands there, a mapped IPv4 address too. Errors: ERR_SYNTAX, ERR_UNSUPPORTED. */
MUST_USE enum err turn_peer_read(const struct stunmsg *m, sv value, struct addr *ret_peer);
/* May this relay send there?  ret_to: where that is for our sockets. */
enum turnserver_verdict turn_peer_resolve(struct turnserver_core *c, const struct turn_slot *s,
                                          const struct addr *peer, struct addr *ret_to);

/* ---- turnserver.c, turnserver_stream.c ---- */
struct tls;
enum { TURN_SOURCE_STREAMS = 256 }; /* of one source, of a worker */

/* A listener. */
struct turn_port {
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
    struct turn_port port[TURNSERVER_LISTENERS_MAX];
    unsigned ports;
    struct link clients; /* streams */
    unsigned clients_n;
    uint16_t by_source[TURN_SOURCES]; /* of them; sources that fall together share */
};

extern const struct listener_handler turn_listener_handler; /* arg: a turn_port */
void turn_client_send(void *client, const sv *pieces, size_t n);
/* All of them. */
void turn_clients_close(struct turnserver *t);

#endif
