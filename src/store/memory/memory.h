/* SPDX-License-Identifier: MIT */
/* memory/memory.h: bindings in memory with a durable journal.                   layer: store
 *
 * Shape   the bindings of an address of record are one immutable value of a sharded table
 *         (ds/table.h); an update swaps it and appends one record (whole set, key, version) to the
 *         journal of the worker that made it; the operation is done when the turn's records have
 *         been written, in one write for the turn. Each worker has its own file, so workers never
 *         wait for one another; the version orders the records of one key over all files.
 * Files   location.<generation>.<worker>.log: header, then records (length, CRC-32C, version, key,
 *         expiry, set). location.snapshot: header with its generation, for each shard its version
 *         counter and entries, as they were then or after it, end mark, CRC. A log record counts if its version is above the
 *         snapshot's counter of the key's shard; the highest version of a key wins; an empty set
 *         is a removal.
 * Tail    a record that is cut short or fails its CRC ends its file: the tail is cut and reported.
 * Compaction  when the logs outgrow the snapshot (twice its size and `compact_min`): every worker
 *         starts a log of the next generation, then a helper thread writes location.snapshot.new
 *         from the table, syncs, renames, syncs the folder, removes the older logs. A crash at any
 *         point leaves files that recover to the same state. A log that could not be written or
 *         synced is healed the same way; until then the updates of its worker end with ERR_IO.
 * Sync    every `sync` a helper thread syncs the logs that grew: the power-loss window.
 * Limits  an address of record 4096 octets, its set 256 KiB packed.
 * Threads open: set-up; the rest as store.h.
 */
#ifndef MEMORY_MEMORY_H
#define MEMORY_MEMORY_H
#include "disk/disk.h"
#include "store/store.h"

struct memory_config {
    struct disk *disk;
    sv folder;                /* existing */
    uint8_t seed[16];         /* kept by the caller over restarts: shards hang on it */
    usec sync;                /* 100 ms */
    uint64_t compact_min;     /* octets of logs before compaction is thought of; 4 MiB */
    size_t cap;               /* addresses of record; 0 = none */
    struct loop_group *group; /* the workers that will use it */
    usec wall;                /* now: expired bindings are dropped */
};
struct memory_report {
    uint64_t records, aors, bindings; /* read, restored */
    uint64_t cut_octets;              /* of torn tails */
    unsigned cut_files;
    char cut_name[64]; /* one of them */
};
/* Recovers (blocking). Errors: ERR_IO, ERR_NOMEM, ERR_CORRUPT (a snapshot or header that fails its
 * checks: nothing is thrown away). */
MUST_USE enum err memory_open(const struct memory_config *c, struct store_location **ret_loc,
                              struct memory_report *ret_report);
/* Starts compaction now (tests). */
void memory_compact(struct store_location *loc, struct loop *l);

#endif
