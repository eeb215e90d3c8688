/* SPDX-License-Identifier: MIT */
/* txn/txn_priv.h: what the parts of txn share.                                  layer: sip
 *
 * Parts   txn_tables.c the machines; txn.c the table of transactions, keys, timers, sending;
 * txn_elsewhere.c responses whose connection is gone; txn_answer.c what is said to a request that comes again;
 *         txn_client.c and txn_server.c the two drivers.
 * Life    what a transaction needs to do its work (the request, the octets that are repeated, where they go)
 *         is a piece of its own, which ends when nothing will be said unasked any more: from there to its last
 *         timer, 5 or 32 s, the transaction itself is all that stands, and a server's has its answer.
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
    usec due_since; /* the timer ended, and not all that were due have; 0: they have */
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
    size_t at_work;        /* of all, those that have their work yet */
    size_t unclaimed;      /* servers' for whose requests the directory is no witness */
    size_t answers;        /* octets of what stands to be said again */
    bool closing;
};

struct elsewhere;
struct txn;

/* What a transaction needs until its last word is said; then only the transaction itself stands. */
struct txn_work {
    struct txn *t;
    struct txn_table *table;
    struct timer retry;
    usec interval; /* of retry: doubles */
    uint8_t retry_event;
    enum err fault;
    /* what is sent again: the request, its ACK; the last response. May be NULL */
    struct block *octets;
    struct elsewhere *elsewhere; /* NULL: dest serves */
    struct link by_fault;
    struct sip_sent watch;
    struct dest dest;
};

/* Common to both sides: what stands until the last timer, half a minute behind the work. There are tens of
 * thousands of these: every octet counts, and this is one cache line. */
struct txn {
    struct hash_node by_key; /* under the key's first half */
    uint64_t key_b;          /* its second half */
    uint32_t method;
    uint8_t kind : 2;      /* enum txn_kind */
    uint8_t wait : 3;      /* enum txn_wait: the queue that it is in */
    uint8_t old : 1;       /* server: RFC 2543, matched without a branch */
    uint8_t claimed : 1;   /* server: holds a claim on its Call-ID */
    uint8_t unclaimed : 1; /* server: counted in txn_table.unclaimed */
    uint8_t state, deadline_event;
    struct txn_work *work; /* NULL: it waits for its end */
    struct link by_wait;
    usec deadline; /* not in TXN_WAIT_EVER */
};

struct ctxn {
    struct txn t;
    const struct ctxn_handler *h; /* NULL: the user left */
    void *arg;
};

struct client_work {
    struct txn_work w;
    bool cancelled, want_cancel, acked;
    struct block *reason; /* waits for the CANCEL; NULL: none */
};

struct stxn {
    struct txn t;
    struct addr source; /* by its address: another one's request is another request */
    struct txn_answer
        *answer; /* what the request gets when it comes again; NULL: the work knows, or nothing */
    struct home_key claim;
    struct hash_node by_merge;
};

struct server_work {
    struct txn_work w;
    const struct stxn_handler *h;
    void *arg;
    struct rx *rx; /* NULL: let go of */
    bool final, repeat;
    bool left;    /* the user has: no handler is called any more */
    uint64_t tag; /* old: hash of the To tag of the request */
    usec at;
};

_Static_assert(sizeof(struct txn) == 64, "a cache line");
_Static_assert(sizeof(struct ctxn) == 80 && sizeof(struct stxn) == 128, "size classes of mem_take");

/* ---- txn.c ---- */
uint32_t txn_method(const struct txn_table *tt, enum sip_method m, sv text);
struct txn_key txn_client_key(const struct txn_table *tt, sv branch, uint32_t method);
/* What rx is matched by; NULL: no Via, or what RFC 2543 matches by is missing. */
const struct rx_match *txn_server_match(const struct txn_table *tt, struct rx *rx);
static inline bool txn_has_key(const struct txn *t, const struct home_key *key)
{
    return t->by_key.hash == key->a && t->key_b == key->b;
}
/* t and w are cleared; from here on t is found by key in its table. */
void txn_init(struct txn *t, struct txn_table *tt, enum txn_kind kind, const struct txn_key *key,
              struct txn_work *w);
/* The work is done: out of every list, and what it holds is let go of. Its memory is the driver's. */
void txn_work_done(struct txn *t);
/* Out of the table and its queue. */
void txn_done(struct txn_table *tt, struct txn *t);
bool txn_full(struct txn_table *tt);
bool txn_reliable(const struct txn *t);
void txn_stop(struct txn_table *tt, struct txn *t, uint32_t todo);
void txn_arm(struct txn_table *tt, struct txn *t, uint32_t todo);
/* Sends octets; what fails at once is told at the turn's end. watched: later failures matter,
 * too. */
void txn_send(struct txn *t, struct block *octets, bool watched);

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

/* ---- txn_answer.c: a final response, small ---- */

struct txn_answer;
/* NULL: no memory, there are too many octets of them, or it is too long for its short form. */
struct txn_answer *txn_answer_of(struct txn_table *tt, const struct rx *rx,
                                 const struct sip_reply *r);
/* A response that somebody else wrote: its octets. */
struct txn_answer *txn_answer_copy(struct txn_table *tt, sv octets);
void txn_answer_free(struct txn_table *tt, struct txn_answer *a); /* NULL is fine */
/* To where rx, the request come again, asks for it. One that gets lost is asked for again. */
void txn_answer_send(struct txn_table *tt, const struct txn_answer *a, struct rx *rx);
/* The To tag of a response, in mem; SV_NONE: it has none. */
enum { TXN_TAG_MAX = 256 };
sv txn_answer_tag(const struct txn_answer *a, struct sip *s, char mem[static TXN_TAG_MAX]);
sv txn_octets_tag(const struct block *response, char mem[static TXN_TAG_MAX]);

/* ---- the drivers ---- */
void ctxn_run(struct txn_table *tt, struct ctxn *t, enum txn_event ev, struct rx *rx);
void stxn_run(struct txn_table *tt, struct stxn *t, enum txn_event ev, struct rx *rx);
void ctxn_end(struct txn_table *tt, struct ctxn *t, enum err why);
void stxn_end(struct txn_table *tt, struct stxn *t, enum err why);
bool ctxn_on_response(void *table, struct rx *rx);
bool stxn_on_request(void *table, struct rx *rx);
bool stxn_knows(void *table, struct rx *rx);

#endif
