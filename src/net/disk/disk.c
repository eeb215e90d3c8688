/* SPDX-License-Identifier: MIT */
/* File operations go to the disk that was given: the machine's or a simulated host's. */
#include "disk/disk.h"

enum err disk_open(struct disk *d, sv path, bool truncate, struct disk_file **ret_file,
                   uint64_t *ret_size)
{
    return d->ops->open(d, path, truncate, ret_file, ret_size);
}

enum err disk_append(struct disk_file *f, const sv *pieces, size_t n)
{
    return f->ops->append(f, pieces, n);
}

enum err disk_sync(struct disk_file *f)
{
    return f->ops->sync(f);
}

void disk_close(struct disk_file *f)
{
    if (f)
        f->ops->close(f);
}

enum err disk_read(struct disk *d, sv path, size_t max, char **ret_octets, size_t *ret_n)
{
    return d->ops->read(d, path, max, ret_octets, ret_n);
}

enum err disk_truncate(struct disk *d, sv path, uint64_t size)
{
    return d->ops->truncate(d, path, size);
}

enum err disk_rename(struct disk *d, sv from, sv to)
{
    return d->ops->rename(d, from, to);
}

enum err disk_remove(struct disk *d, sv path)
{
    return d->ops->remove(d, path);
}

enum err disk_sync_dir(struct disk *d, sv path)
{
    return d->ops->sync_dir(d, path);
}

enum err disk_mkdir(struct disk *d, sv path, unsigned mode)
{
    return d->ops->mkdir(d, path, mode);
}

enum err disk_list(struct disk *d, sv dir, bool (*fn)(sv name, void *arg), void *arg)
{
    return d->ops->list(d, dir, fn, arg);
}
