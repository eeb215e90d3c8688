/* SPDX-License-Identifier: MIT */
/* txn/txn_priv.h: what the parts of txn share.                                  layer: sip
 *
 * Parts   txn_tables.c the machines; txn.c the table of transactions, keys, timers, sending;
 * txn_elsewhere.c responses whose connection is gone;
 *         txn_client.c and txn_server.c the two drivers.
 * Keys    a home_key of what RFC 3261 §17.1.3 and §17.2.3 match by, and the method beside it: the texts
 *         need not be kept. */
#ifndef TXN_TXN_PRIV_H
#define TXN_TXN_PRIV_H
#include "ds/hash.h"
#include "txn/txn.h"
#include "txn/txn_tables.h"

struct txn_table {
    struct sip *sip;
    struct loop *loop;
    struct home *home;
    const struct sip_config *config;
    struct pool *clients, *servers;
    struct hash by_client_key, by_server_key, by_merge_key;
    struct link live;
    /* transport errors met inside a call of the user's: told at the turn's end */
    struct link faults;
    struct deferred later;
    struct locate *locate; /* NULL: responses follow no names */
    bool closing;
};

struct elsewhere;

/* Common to both sides. */
struct txn {
    struct txn_table *table;
    struct hash_node by_key;
    struct link by_life, by_fault;
    struct txn_key key;
    uint8_t kind, state;
    uint8_t retry_event, deadline_event;
    enum err fault;
    struct timer retry, deadline;
    usec interval; /* of retry: doubles */
    /* what is sent again: the request, its ACK; the last response. May be NULL */
    struct block *octets;
    struct dest dest;
    struct elsewhere *elsewhere; /* NULL: dest serves */
    struct sip_sent watch;
};

struct ctxn {
    struct txn t;
    const struct ctxn_handler *h; /* NULL: the user left */
    void *arg;
    struct flow flow;
    bool cancelled, want_cancel, acked;
    struct block *reason; /* waits for the CANCEL; NULL: none */
};

struct stxn {
    struct txn t;
    const struct stxn_handler *h;
    void *arg;
    struct rx *rx; /* NULL: let go of */
    struct hash_node by_merge;
    struct home_key merge, claim;
    bool claimed;
    bool old; /* RFC 2543: matched without a branch */
    bool final, repeat;
    uint64_t tag; /* old: hash of the To tag of the request, of the response once there is one */
    usec at;
};

/* ---- txn.c ---- */
uint64_t txn_method(const struct txn_table *tt, enum sip_method m, sv text);
struct txn_key txn_client_key(const struct txn_table *tt, sv branch, uint64_t method);
/* What rx is matched by; NULL: no Via, or what RFC 2543 matches by is missing. */
const struct rx_match *txn_server_match(const struct txn_table *tt, struct rx *rx);
void txn_init(struct txn *t, struct txn_table *tt, enum txn_kind kind, timer_fn *on_retry,
              timer_fn *on_deadline, void *arg);
/* Out of every list; frees what the common part holds. */
void txn_done(struct txn *t);
bool txn_full(struct txn_table *tt);
bool txn_reliable(const struct txn *t);
void txn_stop(struct txn *t, uint32_t todo);
void txn_arm(struct txn *t, uint32_t todo);
/* Sends t->octets; what fails at once is told at the turn's end. watched: later failures matter,
 * too. */
void txn_send(struct txn *t, struct block *octets, bool watched);
void txn_broken(struct txn *t);

/* ---- txn_elsewhere.c ---- */
/* A response was not taken. True: it is on its way to somebody else, or somebody is looked for. */
bool txn_elsewhere(struct txn *t);
/* Where to send now. */
const struct dest *txn_dest(const struct txn *t);
/* It is over with, or the client has come again. */
void txn_elsewhere_done(struct txn *t);
/* ---- txn.c ---- */
/* The time after which a request other than INVITE may be answered 100 (RFC 4320 §4.1). */
usec txn_time_of_100(const struct txn_table *tt);

/* ---- the drivers ---- */
void ctxn_run(struct ctxn *t, enum txn_event ev, struct rx *rx);
void stxn_run(struct stxn *t, enum txn_event ev, struct rx *rx);
void ctxn_end(struct ctxn *t, enum err why);
void stxn_end(struct stxn *t, enum err why);
bool ctxn_on_response(void *table, struct rx *rx);
bool stxn_on_request(void *table, struct rx *rx);
bool stxn_knows(void *table, struct rx *rx);

#endif
