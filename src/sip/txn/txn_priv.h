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

/* How long a transaction waits for its end. The times are the same for all, so those of one kind end in the
 * order in which they began to wait: a queue with one timer, not a timer each. */
enum txn_wait {
    TXN_WAIT_EVER, /* for what others say; no timer */
    TXN_WAIT_NONE, /* next turn */
    TXN_WAIT_T4,
    TXN_WAIT_64T1,
    TXN_WAIT_D,
    TXN_WAITS
};

struct txn_queue {
    struct txn_table *table;
    struct link waiting; /* of txn.by_wait, the first to end in front */
    struct timer timer;  /* for the first one; armed while there is one */
    usec after;
};

struct txn_table {
    struct sip *sip;
    struct loop *loop;
    struct home *home;
    const struct sip_config *config;
    struct pool *clients, *servers;
    struct hash by_client_key, by_server_key, by_merge_key;
    struct txn_queue queue[TXN_WAITS]; /* every transaction is in one */
    /* transport errors met inside a call of the user's: told at the turn's end */
    struct link faults;
    struct deferred later;
    struct locate *locate; /* NULL: responses follow no names */
    bool closing;
};

struct elsewhere;

/* Common to both sides. What a look-up reads comes first, in one cache line. */
struct txn {
    struct hash_node by_key;
    struct txn_key key;
    uint8_t kind, state;
    uint8_t retry_event, deadline_event;
    uint8_t wait; /* enum txn_wait: the queue that it is in */
    struct txn_table *table;
    struct link by_wait;
    usec deadline; /* not in TXN_WAIT_EVER */
    struct timer retry;
    usec interval; /* of retry: doubles */
    /* what is sent again: the request, its ACK; the last response. May be NULL */
    struct block *octets;
    struct elsewhere *elsewhere; /* NULL: dest serves */
    struct sip_sent watch;
    struct dest dest;
    struct link by_fault;
    enum err fault;
};

struct ctxn {
    struct txn t;
    const struct ctxn_handler *h; /* NULL: the user left */
    void *arg;
    struct flow flow; /* over streams; a datagram's is dest's */
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
/* t is cleared. */
void txn_init(struct txn *t, struct txn_table *tt, enum txn_kind kind);
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
