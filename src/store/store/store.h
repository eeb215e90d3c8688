/* SPDX-License-Identifier: MIT */
/* store/store.h: accounts, bindings, call records: one interface, several backends.   layer: store
 *
 * Shape   a struct store joins a directory (accounts, records, remembered facts) and a location
 *         service (bindings). Services see only this header; app/daemon names the backends. Every
 *         call completes by event: the `done` of the operation, embedded in the caller's struct,
 *         runs in a turn of the loop given, never before the call returns; what it returns lives
 *         in the arena given.
 * Promise location: after done(ERR_OK) of an update the change survives the death of the process,
 *         and power loss within `sync`. Updates of one address of record are linearizable over all
 *         workers.
 * Life    an operation in flight must stay where it is; store_op_cancel ends it without done.
 * Threads each call: any worker's own loop.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H
#include "loop/loop.h"
#include "mem/arena.h"
#include "sock/addr.h"

enum { STORE_NUMBERS_MAX = 16, STORE_BINDINGS_MAX = 64 };

struct store;

/* ---- accounts ---- */
struct account {
    sv user, domain; /* user canonical (uri_user_canonical), domain lower case */
    sv realm;        /* the realm its HA1 was made for */
    uint8_t md5[16], sha256[32];
    bool has_md5, has_sha256; /* none: no password yet, nobody can log in */
    sv name;                  /* display name; may be empty */
    sv numbers[STORE_NUMBERS_MAX];
    unsigned numbers_n;
    bool from_file; /* named in the configuration file */
    usec changed;   /* wall */
};

/* ---- bindings ---- */
struct binding {
    sv uri;    /* the contact's URI as it came (without <>) */
    sv params; /* its contact-params as they came, to be given back; expires is ours */
    sv call_id;
    uint32_t cseq;
    uint16_t q;   /* 0..1000 */
    usec expires; /* wall */
    usec since;   /* wall: first registered */
    sv agent;     /* User-Agent, cut at 128 octets */
    sv path;      /* Path values, as one list; may be empty */
    sv instance; /* +sip.instance, without quotes: "<urn:uuid:…>" (RFC 5626 §4.1); empty: none */
    uint32_t reg_id; /* RFC 5626 §4.2; 0: no outbound registration */
    sv push; /* pn-provider, pn-prid, pn-param as they stand in the contact's URI (RFC 8599 §4.1); empty: none */
    sv gruu; /* temporary GRUU's seed, see registrar/gruu (RFC 5627); empty: none */
    /* the flow it came on */
    uint8_t transport; /* enum sip_transport, by number */
    uint8_t listener, worker;
    bool by_flow; /* reach it by the flow, not by the address in its URI: behind a NAT, or a
                     connection */
    uint64_t conn;
    uint64_t epoch; /* of the process that had the connection: another process's conn is dead */
    struct addr local, remote;
};
/* A binding whose connection ended with an earlier process or was seen to end. */
static inline bool binding_conn_dead(const struct binding *b, uint64_t epoch)
{
    return b->conn != 0 && b->epoch != epoch;
}

/* ---- operations ---- */
struct store_op {
    struct deferred event;
    struct link by_batch;
    void (*done)(struct store_op *op, enum err rc);
    void *arg; /* the caller's */
    struct loop *loop;
};
void store_op_init(struct store_op *op, void (*done)(struct store_op *, enum err), void *arg);
void store_op_cancel(struct store_op *op);

/* By user and domain, or by number (user empty). ERR_NOTFOUND; ERR_NOMEM. */
struct store_find {
    struct store_op op;
    struct arena *arena;     /* in */
    sv user, domain, number; /* in */
    struct account account;  /* out */
};
/* Bindings of an address of record, expired ones left out. None is n == 0, ERR_OK. */
struct store_bindings {
    struct store_op op;
    struct arena *arena;      /* in */
    sv aor;                   /* in: user@domain, canonical */
    usec wall;                /* in: now */
    struct binding *bindings; /* out */
    size_t n;
    uint64_t version; /* out: 0 when there is no entry */
};
/* Replaces the whole set if it is still at `version`: ERR_BUSY otherwise (read again). n == 0
 * removes. ERR_TOOBIG (cap of addresses of record, a set over its size), ERR_IO (not written: the
 * change may or may not survive the process), ERR_NOMEM. */
struct store_update {
    struct store_op op;
    sv aor; /* in; must live until done */
    const struct binding *bindings;
    size_t n;
    uint64_t version; /* in: as read; out: the new one */
};
/* One ended call. */
struct call_record {
    sv call_id, from, to, caller, callee; /* caller, callee: account or address */
    usec start, answer, end;              /* wall; answer 0: never */
    uint16_t status;                      /* final status of the INVITE */
    sv ended_by; /* "caller", "callee", "media" (it failed), "stop" (of the server), "lost", "" */
    sv reason;   /* why it was refused, or ended by us, in words; empty */
    sv agent;
    sv media; /* how its media went, JSON; empty: it never stood */
};

void store_find(struct store *s, struct loop *l, struct store_find *f);
void store_bindings(struct store *s, struct loop *l, struct store_bindings *b);
void store_update(struct store *s, struct loop *l, struct store_update *u);
/* Buffered, written in groups; bounded: when the writer is behind, the oldest are dropped and
 * counted. */
void store_record(struct store *s, struct loop *l, const struct call_record *r);

/* ---- changes that nobody waits for ---- */
enum { STORE_AMEND_ARG = 1024 };
/* Changes the *n bindings of b in place; those that stay are the first *n then. False: nothing is to
 * be changed. Called once for each reading: again when another worker was first. */
typedef bool store_amend_fn(struct binding *b, size_t *n, const void *arg);
/* The bindings of aor, as fn says. arg: so many octets, copied; at most STORE_AMEND_ARG. Bindings that
 * go count as STAT_FLOWS_GONE. Where it fails (no memory, ERR_IO) all stays as it was. */
void store_amend(struct store *s, struct loop *l, sv aor, store_amend_fn *fn, const void *arg,
                 size_t arg_n);
/* The same for each address of record that was bound over connection conn of that worker, since the
 * process began; then they are forgotten. A connection's first STORE_FLOW_AORS are known. */
enum { STORE_FLOW_AORS = 64 };
void store_amend_flow(struct store *s, struct loop *l, unsigned worker, uint64_t conn,
                      store_amend_fn *fn, const void *arg, size_t arg_n);

/* Administration: accounts are written to the directory first, then seen by all workers. What is in
 * the struct is copied before the call returns; a cancelled change may still happen. A number that
 * another account has: ERR_EXISTS. Also ERR_TOOBIG (a text over 1024 octets), ERR_IO, ERR_BUSY,
 * ERR_NOMEM. */
struct store_change {
    struct store_op op;
    struct account account; /* in */
    enum {
        STORE_ADD,
        STORE_SET,
        STORE_REMOVE
    } what; /* ADD: ERR_EXISTS; SET: replaces or adds; REMOVE: ERR_NOTFOUND, its bindings go too */
};
void store_change(struct store *s, struct loop *l, struct store_change *c);
/* There is an account of this name (user@domain, canonical): at once, from memory. */
bool store_has_account(const struct store *s, sv aor);
/* All bindings of aor go, as soon as they can be written; nobody waits. Without memory all stays as it
 * was. */
void store_unbind(struct store *s, struct loop *l, sv aor);
/* The same for every address of record without an account, one after the other: a process may have ended
 * between the end of an account and that of its bindings. Once, after a start. */
void store_unbind_strays(struct store *s, struct loop *l);
/* The last n call records that are written, the newest first; blocks for the database: on a helper thread. Return false
 * to stop. Errors: ERR_IO, ERR_CORRUPT. */
typedef bool store_record_fn(const struct call_record *r, void *arg);
MUST_USE enum err store_each_record(struct store *s, size_t n, store_record_fn *fn, void *arg);
/* Walks, at once, on the calling thread, without holding locks across fn. Return false to stop. */
typedef bool store_account_fn(const struct account *a, void *arg);
typedef bool store_aor_fn(sv aor, const struct binding *b, size_t n, void *arg);
MUST_USE enum err store_each_account(struct store *s, store_account_fn *fn, void *arg);
MUST_USE enum err store_each_aor(struct store *s, usec wall, store_aor_fn *fn, void *arg);
/* Every address of record has a place among STORE_PLACES, by its name alone; a walk of those from a place
 * on and before another. */
enum { STORE_PLACES = 1 << 24 };
uint32_t store_place(const struct store *s, sv aor);
MUST_USE enum err store_each_between(struct store *s, uint32_t from, uint32_t to, usec wall,
                                     store_aor_fn *fn, void *arg);
size_t store_aors(
    const struct store *s); /* with at least one binding (expired ones not yet swept included) */
size_t store_accounts(const struct store *s);
uint64_t store_epoch(const struct store *s); /* of this process */
/* Remembered facts (the realm of the first start). Set-up only, blocking. Errors: ERR_NOTFOUND,
 * ERR_IO, ERR_NOMEM. */
MUST_USE enum err store_fact(struct store *s, sv key, struct arena *a, sv *ret_value);
MUST_USE enum err store_fact_set(struct store *s, sv key, sv value);
void store_close(
    struct store *s); /* after the loops have stopped; everything pending is written and synced */

/* ---- for backends ---- */
struct store_location;
struct store_directory;
struct store_location_ops {
    void (*bindings)(struct store_location *loc, struct loop *l, struct store_bindings *b);
    void (*update)(struct store_location *loc, struct loop *l, struct store_update *u);
    enum err (*each)(struct store_location *loc, usec wall, store_aor_fn *fn, void *arg);
    uint32_t (*place)(const struct store_location *loc, sv aor);
    enum err (*each_between)(struct store_location *loc, uint32_t from, uint32_t to, usec wall,
                             store_aor_fn *fn, void *arg);
    /* The addresses of record bound over this connection, in a, and forgets them. NULL: none are
     * ever known. Errors: ERR_NOMEM. */
    enum err (*take_flow)(struct store_location *loc, unsigned worker, uint64_t conn,
                          struct arena *a, sv **ret_aors, size_t *ret_n);
    size_t (*count)(const struct store_location *loc);
    uint64_t (*epoch)(const struct store_location *loc);
    void (*close)(struct store_location *loc);
};
struct store_directory_ops {
    void (*find)(struct store_directory *d, struct loop *l, struct store_find *f);
    bool (*has)(const struct store_directory *d, sv aor);
    void (*change)(struct store_directory *d, struct loop *l, struct store_change *c);
    void (*record)(struct store_directory *d, struct loop *l, const struct call_record *r);
    enum err (*each_record)(struct store_directory *d, size_t n, store_record_fn *fn, void *arg);
    enum err (*each)(struct store_directory *d, store_account_fn *fn, void *arg);
    size_t (*count)(const struct store_directory *d);
    enum err (*fact)(struct store_directory *d, sv key, struct arena *a, sv *ret_value);
    enum err (*fact_set)(struct store_directory *d, sv key, sv value);
    void (*close)(struct store_directory *d);
};
struct store_location {
    const struct store_location_ops *ops;
};
struct store_directory {
    const struct store_directory_ops *ops;
};
/* Errors: ERR_NOMEM. The parts become the store's. */
MUST_USE enum err store_new(struct store_location *loc, struct store_directory *dir,
                            struct store **ret_store);
/* For backends: completes op in this turn's end (or the next turn) with rc. */
void store_op_complete(struct loop *l, struct store_op *op, enum err rc);

#endif
