/* SPDX-License-Identifier: MIT */
/* memory/memory_priv.h: what the parts of memory share.
 *
 * Parts   memory.c operations, flush, sync, sweep; memory_set.c sets as octets; memory_flow.c who
 * came over a connection; memory_file.c names, headers, records; memory_recover.c reading them back; memory_compact.c new generation and
 * snapshot. Invariant  a log is written by its worker alone, through `append`; `sync` is a second
 * handle of the same file, used by one helper thread at a time. A log whose append or sync failed
 * is `broken`: its tail is undefined, so nothing is appended to it again. A new generation, with a
 * snapshot of the table, heals it.
 */
#ifndef MEMORY_MEMORY_PRIV_H
#define MEMORY_MEMORY_PRIV_H
#include "ds/table.h"
#include "memory/memory.h"

enum {
    MEMORY_FOLDER_MAX = 3072,
    MEMORY_PATH_MAX = MEMORY_FOLDER_MAX + 64,
    MEMORY_AOR_MAX = 4096,
    MEMORY_SET_MAX = 256 * 1024,
    MEMORY_RECORD_HEAD = 4 + 4, /* length, CRC */
    MEMORY_RECORD_MAX = 8 + 10 + MEMORY_AOR_MAX + MEMORY_SET_MAX,
    MEMORY_HEADER = 8 + 8 + 8 + 4 + 4,
    MEMORY_PIECE = 1024 * 1024, /* of a snapshot, written at once */
};

struct memory;

struct memory_log {
    struct disk_file *append, *sync; /* both or neither */
};

struct memory_worker {
    struct memory *m;
    struct loop *loop;
    struct memory_log log;
    bool broken;
    /* updates of this turn */
    struct buf pending; /* records */
    struct link batch;  /* store_op.by_batch: whose records they are */
    struct deferred flush;
    /* sync */
    struct timer sync_due; /* armed: appended to since the last sync began */
    struct job sync_job;
    bool syncing;
    struct disk_file *sync_file; /* of the job */
    enum err sync_rc;
    /* change of generation; see memory_compact.c for who may touch what when */
    struct memory_log next, old;
    struct mail rotate;
    bool told, moving;
    _Atomic bool moved;
    /* expiry */
    struct timer sweep;
    unsigned shard;
};

enum memory_phase { MEMORY_IDLE, MEMORY_OPENING, MEMORY_MOVING, MEMORY_SNAPSHOT };

struct memory {
    struct store_location base;
    struct table *table;
    struct table *flows; /* memory_flow.c */
    /* By shard of table: before this (wall) none of its sets expires. */
    _Atomic usec *due;
    struct disk *disk;
    char folder[MEMORY_FOLDER_MAX];
    size_t folder_n;
    uint64_t check; /* of the seed: in every header */
    usec sync;
    uint64_t compact_min, epoch;
    unsigned n;
    struct memory_worker *worker;
    _Atomic uint64_t log_bytes, snapshot_bytes;
    _Atomic bool wanted;  /* compaction: asked for and not begun */
    _Atomic bool running; /* phase is not MEMORY_IDLE */
    /* worker 0's */
    enum memory_phase phase;
    uint64_t generation; /* the highest whose files were begun */
    struct job job;      /* OPENING, SNAPSHOT */
    enum err job_rc;
    uint64_t covered, written; /* octets of the logs the snapshot replaces; of the snapshot */
    struct timer tick;         /* MOVING */
    usec retry_at, backoff;
};

/* ---- memory_set.c: a set as octets: latest expiry (8), form, number of bindings, bindings ---- */
/* Errors: ERR_TOOBIG, ERR_RANGE, those of b. */
MUST_USE enum err memory_set_pack(struct buf *b, const struct binding *bindings, size_t n);
/* Those that have not expired at wall, as views into set. Errors: ERR_CORRUPT, ERR_NOMEM. */
MUST_USE enum err memory_set_unpack(sv set, usec wall, struct arena *a,
                                    struct binding **ret_bindings, size_t *ret_n);
/* When the last of them expires. */
usec memory_set_expiry(sv set);

/* ---- memory_flow.c ---- */
/* aor has these bindings now. */
void memory_flow_add(struct memory *m, sv aor, const struct binding *b, size_t n);
/* As store_location_ops.take_flow. */
MUST_USE enum err memory_flow_take(struct memory *m, unsigned worker, uint64_t conn,
                                   struct arena *a, sv **ret_aors, size_t *ret_n);

/* ---- memory_file.c ---- */
enum memory_name { MEMORY_OTHER, MEMORY_LOG, MEMORY_LEFTOVER, MEMORY_SNAP };
enum memory_name memory_name_parse(sv name, uint64_t *ret_generation);
struct memory_path {
    char text[MEMORY_PATH_MAX];
    size_t n;
};
sv memory_path(const struct memory *m, struct memory_path *p, sv name);
sv memory_log_path(const struct memory *m, struct memory_path *p, uint64_t generation,
                   unsigned worker, bool fresh);
void memory_header_put(const struct memory *m, struct buf *b, bool snapshot, uint64_t generation,
                       uint32_t number);
/* Errors: ERR_CORRUPT. */
MUST_USE enum err memory_header_read(const struct memory *m, sv octets, bool snapshot,
                                     uint64_t *ret_generation, uint32_t *ret_number);
struct memory_record {
    uint64_t version;
    sv key, value; /* value: a set; empty: none */
};
/* A record without its value, which the caller appends before sealing. Returns where it begins. */
size_t memory_record_begin(struct buf *b, sv key);
void memory_record_seal(struct buf *b, size_t begin, uint64_t version);
/* The first record of octets. Errors: ERR_MORE (cut short or torn), ERR_CORRUPT.
 *   ret_n  its octets */
MUST_USE enum err memory_record_read(sv octets, struct memory_record *ret_record, size_t *ret_n);
/* The files of a generation for every worker, durable, into worker[].next. Blocks. */
MUST_USE enum err memory_logs_open(struct memory *m, uint64_t generation);
void memory_log_close(struct memory_log *log);

/* ---- memory_recover.c ---- */
MUST_USE enum err memory_recover(struct memory *m, usec wall, struct memory_report *r);

/* ---- memory_compact.c ---- */
/* Any worker: compaction is due. */
void memory_want(struct memory *m, struct loop *l);
/* Worker 0, now and then: begins if it is wanted and may. */
void memory_consider(struct memory *m);
/* The worker's sync job has ended. */
void memory_move_on(struct memory_worker *w);
void memory_compact_init(struct memory *m);
void memory_compact_done(struct memory *m);

#endif
