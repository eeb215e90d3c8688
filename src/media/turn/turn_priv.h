/* SPDX-License-Identifier: MIT */
/* turn_priv.h: the parts of turn among themselves.
 *
 *   turn.c        life, requests and their answers: credentials, the allocation
 *   turn_peer.c   permissions, channels, data
 */
#ifndef TURN_PRIV_H
#define TURN_PRIV_H
#include "turn/turn.h"

enum turn_peer_state { TURN_PEER_NONE, TURN_PEER_ASKED, TURN_PEER_OPEN };
struct turn_peer {
    struct addr addr;
    enum turn_peer_state state;
    uint16_t channel; /* its number, from the first */
    bool bound;       /* the channel stands */
    bool plain;       /* the server takes no channel: permissions alone */
    unsigned again;   /* stale nonces in a row */
    usec renew;       /* when it is asked for anew */
    struct stun_txn txn;
};

enum turn_state {
    TURN_IDLE,
    TURN_ALLOCATING,
    TURN_STANDING,
    TURN_STOPPING,
    TURN_OVER,
};

struct turn {
    const struct turn_ops *ops;
    void *arg;
    struct turn_config config;
    enum turn_state state;
    usec now;
    struct stun_txn txn; /* Allocate, Refresh */
    usec renew;          /* of the allocation */
    unsigned again;      /* challenges in a row */
    unsigned ports;      /* tried */
    bool alternate;      /* was followed */
    bool forged;         /* an answer came that was not signed */
    struct addr relayed[2];
    /* credentials */
    char user[TURN_USER_MAX], password[TURN_PASSWORD_MAX];
    char realm[STUN_NONCE_MAX + 1], nonce[STUN_NONCE_MAX + 1], list[64];
    size_t realm_n, nonce_n, list_n;
    uint8_t key[STUN_KEY_MAX];
    size_t key_n; /* 0: not challenged yet */
    enum stun_algorithm algorithm;
    enum stun_integrity sign;
    uint16_t channels; /* given out */
    unsigned peers;
    struct turn_peer peer[TURN_PEERS_MAX];
};

/* ---- turn.c ---- */
void turn_begin(struct turn *t, struct stun_txn *txn);
/* The end of a request: who we are, signed; sent. */
void turn_sign_and_send(struct turn *t, struct stun_out *o);
/* An answer is what it claims to be, or needs no signature. False: as if it had not come. */
bool turn_answer_holds(struct turn *t, const struct stunmsg *m, unsigned code);
/* A 438 (or the first 401): its nonce and realm are ours now. False: it makes no sense, or it asks for less than before. */
bool turn_take_challenge(struct turn *t, const struct stunmsg *m);
void turn_fail(struct turn *t, enum err why, unsigned code);

/* ---- turn_peer.c ---- */
void turn_peers_step(struct turn *t);
usec turn_peers_next(const struct turn *t);
/* False: it is no answer to any of theirs. */
bool turn_peers_answer(struct turn *t, const struct stunmsg *m, unsigned code);
void turn_take_indication(struct turn *t, const struct stunmsg *m);
void turn_take_channel(struct turn *t, sv message);

#endif
