/* SPDX-License-Identifier: MIT */
/* turn/turn.h: a TURN client: an address at a server, and peers reached through it.       layer: media
 *
 * Spec    RFC 8656 (TURN) §7 to §12; RFC 8489 §9.2 (long-term credentials, with the protection of §9.2.1 against
 *         bidding down), §10 (ALTERNATE-SERVER). UDP is relayed; TCP to peers (RFC 6062) is not asked for.
 * Shape   one machine for one 5-tuple: it is fed the messages that arrive and the time, and says what to send, who sent
 *         what, and what has become of it. Over a stream a message is what turnserver_frame() would cut, and what it sends
 *         is padded. Allocation, permissions and channels are kept alive by themselves.
 * Life    turn_new(), turn_start() when the socket is open, turn_stop() to give the allocation back, turn_free() at any
 *         time. After TURN_FAILED and TURN_STOPPED nothing more is said or sent.
 * Peers   turn_permit() asks for a permission and, by a ChannelBind, for a channel of it; data goes by Send indications until
 *         the channel stands. TURN_PEERS_MAX of them; forgotten by turn_forget().
 * Trust   answers count when they are signed as the request was; what else claims to be one is as if it never came (a
 *         stream that says such things fails). Data is taken from peers that were permitted.
 * Threads the caller's; no globals. Callbacks come within turn_receive() and turn_step(), and may call turn_permit(),
 *         turn_send(), turn_forget(), but not turn_free().
 */
#ifndef TURN_TURN_H
#define TURN_TURN_H
#include "stun/stun.h"

enum {
    TURN_PEERS_MAX = 64,
    TURN_USER_MAX = 513,
    TURN_PASSWORD_MAX = 256,
    TURN_MESSAGE_MAX = 1500, /* of a request of ours */
    TURN_DATA_MAX = 65000    /* octets to one peer at once */
};
#define TURN_LIFETIME (10 * USEC_MIN)

struct turn;

struct turn_config {
    sv user, password; /* copied */
    bool reliable; /* to the server over TCP or TLS: nothing is repeated, and messages are padded */
    uint8_t family;   /* of the relayed address: 4, 6; 0: the server's choice, IPv4 */
    bool both;        /* one of each family (ADDITIONAL-ADDRESS-FAMILY); family is 0 then */
    unsigned seconds; /* lifetime that is asked for; 0: the server's default */
};

enum turn_event_kind {
    TURN_ALLOCATED, /* once; relayed, mapped */
    TURN_PERMITTED, /* peer: data goes and comes now */
    TURN_REFUSED,   /* peer: code says why; or 0, it was not answered. It is forgotten */
    TURN_ALTERNATE, /* once: another server is to be used, peer; connect to it, then turn_start() */
    TURN_ANOTHER_PORT, /* the 5-tuple is in use (437); open another local port, then turn_start(); twice */
    TURN_STOPPED, /* the allocation is given back */
    TURN_FAILED   /* why, code of the server or 0: there is no allocation, or no longer */
};
struct turn_event {
    enum turn_event_kind kind;
    struct addr relayed[2]; /* family 0: none */
    struct addr mapped;     /* as the server sees us */
    struct addr peer;
    enum err why; /* TIMEOUT, AUTH, REFUSED, CORRUPT (a stream that is not signed) */
    unsigned code;
};

struct turn_ops {
    void (*send)(void *arg, const sv *pieces, size_t n); /* one message to the server */
    void (*on_data)(void *arg, const struct addr *peer, sv octets);
    void (*on_event)(void *arg, const struct turn_event *e);
    void (*chance)(void *arg, void *p, size_t n); /* that nobody can guess */
};

/* Errors: ERR_NOMEM, ERR_TOOBIG (user, password). */
MUST_USE enum err turn_new(const struct turn_config *c, const struct turn_ops *ops, void *arg,
                           struct turn **ret_turn);
void turn_free(struct turn *t); /* NULL is fine; wipes the password */
/* Asks for the allocation. Anew after ALTERNATE and ANOTHER_PORT. */
void turn_start(struct turn *t, usec now);
/* Gives it back; TURN_STOPPED follows, also when nobody answers. */
void turn_stop(struct turn *t, usec now);

/* Octets that came from the server, one datagram or message. False: they are nothing of this machine's. */
bool turn_receive(struct turn *t, sv message, usec now);
/* What is due is done. */
void turn_step(struct turn *t, usec now);
/* When turn_step() has something to do; USEC_NEVER. */
usec turn_next(const struct turn *t);

/* A peer is to be reached; PERMITTED or REFUSED follows. Again: no more than that it is there. Errors: ERR_STATE (no
 * allocation of its family), ERR_TOOBIG (too many). */
MUST_USE enum err turn_permit(struct turn *t, const struct addr *peer, usec now);
void turn_forget(struct turn *t, const struct addr *peer);
/* Errors: ERR_STATE (not permitted), ERR_TOOBIG. */
MUST_USE enum err turn_send(struct turn *t, const struct addr *peer, sv octets);

#endif
