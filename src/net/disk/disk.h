/* SPDX-License-Identifier: MIT */
/* disk/disk.h: the few file operations that durable state needs.                layer: net
 *
 * Shape   plain calls that may block: from set-up, from jobs on helper threads (loop_offload),
 *         and, for disk_append alone, from a worker: it copies into the page cache and waits for
 *         no device.
 * Promise appended octets survive the death of the process; synced ones survive power loss. A
 *         rename or removal survives power loss after disk_sync_dir.
 * Simulated: unsynced tails are cut or torn by a seeded crash; the nth operation can be the crash.
 * Threads any; one file, one user at a time.
 */
#ifndef DISK_DISK_H
#define DISK_DISK_H
#include "str/buf.h"

struct disk;
struct disk_file;
struct disk_ops {
    enum err (*open)(struct disk *d, sv path, bool truncate, struct disk_file **ret_file,
                     uint64_t *ret_size);
    enum err (*append)(struct disk_file *f, const sv *pieces, size_t n);
    enum err (*sync)(struct disk_file *f);
    void (*close)(struct disk_file *f);
    enum err (*read)(struct disk *d, sv path, size_t max, char **ret_octets, size_t *ret_n);
    enum err (*truncate)(struct disk *d, sv path, uint64_t size);
    enum err (*rename)(struct disk *d, sv from, sv to);
    enum err (*remove)(struct disk *d, sv path);
    enum err (*sync_dir)(struct disk *d, sv path);
    enum err (*mkdir)(struct disk *d, sv path, unsigned mode);
    enum err (*list)(struct disk *d, sv dir, bool (*fn)(sv name, void *arg), void *arg);
};
struct disk {
    const struct disk_ops *ops;
};
struct disk_file {
    const struct disk_ops *ops;
};

struct disk *disk_real(void); /* the machine's file system; static */

/* For appending; created 0600 when missing. Errors: ERR_NOTFOUND (folder), ERR_DENIED, ERR_IO. */
MUST_USE enum err disk_open(struct disk *d, sv path, bool truncate, struct disk_file **ret_file,
                            uint64_t *ret_size);
/* All or an error; after an error the tail is undefined (readers cut it). Errors: ERR_IO, ERR_NOMEM
 * (disk full). */
MUST_USE enum err disk_append(struct disk_file *f, const sv *pieces, size_t n);
MUST_USE enum err disk_sync(struct disk_file *f);
void disk_close(struct disk_file *f);
/* Whole file; octets from mem_alloc, the caller's to free. Errors: ERR_NOTFOUND, ERR_TOOBIG (max),
 * ERR_IO, ERR_NOMEM. */
MUST_USE enum err disk_read(struct disk *d, sv path, size_t max, char **ret_octets, size_t *ret_n);
MUST_USE enum err disk_truncate(struct disk *d, sv path, uint64_t size);
MUST_USE enum err disk_rename(struct disk *d, sv from, sv to); /* replaces */
MUST_USE enum err disk_remove(struct disk *d, sv path);        /* ERR_NOTFOUND */
MUST_USE enum err disk_sync_dir(struct disk *d, sv path);
MUST_USE enum err disk_mkdir(struct disk *d, sv path, unsigned mode); /* there already: ERR_OK */
/* Names in dir, not its sub-folders, sorted. */
MUST_USE enum err disk_list(struct disk *d, sv dir, bool (*fn)(sv name, void *arg), void *arg);

#endif
