/* SPDX-License-Identifier: MIT */
/* ds/table.h: sharded table of immutable values, shared by all workers.         layer: base
 *
 * Shape   key octets → value octets with a version. A value is never changed in place: it is read
 *         by copying out and replaced whole by table_swap if its version is still the one that
 *         was read. So an update is: get, compute outside the lock, swap; on ERR_BUSY again.
 * Locks   one short lock a shard; in it there is no allocation, no I/O, no callback, no second
 *         lock.
 * Version rises by at least one with every swap of the key, also across removal (versions come
 *         from one counter per shard), so (key, version) orders all changes of a key.
 * Memory  about 30 octets an entry beside key and value; what one leaves is used again, and a steady
 *         load of replacements calls no allocator.
 * Limits  a key 65,535 octets, a value 2 GiB: ERR_NOMEM beyond.
 * Threads any.
 */
#ifndef DS_TABLE_H
#define DS_TABLE_H
#include "mem/arena.h"
#include "str/sv.h"

struct table;

/* seed: 16 octets for SipHash. cap: entries; 0 = no cap. Errors: ERR_NOMEM. */
MUST_USE enum err table_new(const uint8_t seed[static 16], size_t cap, struct table **ret_table);
void table_free(struct table *t);

/* Copies the value into a.
 *   ret_version  0 when absent (then *ret_value is SV_NONE)
 * Errors: ERR_NOMEM. An absent key is not an error. */
MUST_USE enum err table_get(struct table *t, sv key, struct arena *a, sv *ret_value,
                            uint64_t *ret_version);
bool table_has(struct table *t, sv key);

/* Replaces key's value if its version is still `expected` (0: must be absent); SV_NONE removes.
 *   ret_version  the new version, of a removal too
 * Errors: ERR_BUSY (someone else was first: get again), ERR_NOMEM, ERR_TOOBIG (over cap). */
MUST_USE enum err table_swap(struct table *t, sv key, uint64_t expected, sv value,
                             uint64_t *ret_version);
/* Entries from now on; those above stay. Set-up only. */
void table_set_cap(struct table *t, size_t cap);
/* For recovery: sets key to value at exactly this version if it is higher than what the shard holds
 * for the key; later versions of the shard will be higher. Errors: ERR_NOMEM, ERR_TOOBIG,
 * ERR_EXISTS (not newer). */
MUST_USE enum err table_restore(struct table *t, sv key, uint64_t version, sv value);
/* For recovery: later versions of the shard (less than table_shards) will be higher than version.
 */
void table_raise(struct table *t, unsigned shard, uint64_t version);

size_t table_count(const struct table *t);
unsigned table_shards(const struct table *t);
/* The shard of a key, present or not: it hangs on the seed alone. */
unsigned table_shard_of(const struct table *t, sv key);
/* Where a key stands among all that there may be, present or not: it hangs on the seed alone. */
enum { TABLE_PLACES = 1 << 24 };
uint32_t table_place(const struct table *t, sv key);
/* Calls fn for every entry: what is there from the walk's beginning to its end is met once; what comes,
 * goes or changes meanwhile once or not at all, as it is at some instant. fn is called outside the lock
 * and may use the table; key and value are valid until it returns; false stops the walk. The walk holds
 * copies of some entries at a time. Errors: ERR_NOMEM. */
typedef bool table_each_fn(sv key, sv value, uint64_t version, void *arg);
MUST_USE enum err table_each(struct table *t, table_each_fn *fn, void *arg);
/* Like table_each, for one shard. Errors: ERR_NOMEM, ERR_RANGE.
 *   ret_counter  may be NULL; set before the first call of fn: the highest version that the shard had
 *                given when the walk began, of removals too */
MUST_USE enum err table_each_shard(struct table *t, unsigned shard, table_each_fn *fn, void *arg,
                                   uint64_t *ret_counter);
/* Like table_each, for the keys whose places are from `from` on and before `to` (TABLE_PLACES at most), in
 * the order of their places. Errors: ERR_NOMEM, ERR_RANGE. */
MUST_USE enum err table_each_between(struct table *t, uint32_t from, uint32_t to, table_each_fn *fn,
                                     void *arg);

#endif
