/* SPDX-License-Identifier: MIT */
/* The machine's file system. */
#include "disk/disk.h"
#include "ds/list.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PIECES_AT_ONCE = 64 };

struct real_file {
    struct disk_file base;
    int fd;
    bool broken; /* a sync failed: the kernel may have dropped the pages, so later success means
                    nothing */
};

static enum err from_errno(int e)
{
    switch (e) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOTFOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_DENIED;
    case EEXIST:
        return ERR_EXISTS;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
        return ERR_NOMEM;
    case EFBIG:
    case ENAMETOOLONG:
        return ERR_TOOBIG;
    default:
        return ERR_IO;
    }
}

static enum err to_cstr(sv path, char z[static PATH_MAX])
{
    if (path.n >= PATH_MAX)
        return ERR_TOOBIG;
    if (path.n == 0 || memchr(path.p, 0, path.n))
        return ERR_NOTFOUND;
    memcpy(z, path.p, path.n);
    z[path.n] = 0;
    return ERR_OK;
}

static enum err open_path(sv path, int flags, mode_t mode, int *ret_fd)
{
    char z[PATH_MAX];
    int fd;
    TRY(to_cstr(path, z));
    do
        fd = open(z, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return from_errno(errno);
    *ret_fd = fd;
    return ERR_OK;
}

/* Writes all of iov; shortens it on the way. */
static enum err write_all(int fd, struct iovec *iov, size_t n)
{
    while (n > 0) {
        ssize_t done = writev(fd, iov, (int)n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return from_errno(errno);
        while (n > 0 && (size_t)done >= iov->iov_len) {
            done -= (ssize_t)iov->iov_len;
            iov++;
            n--;
        }
        if (n > 0) {
            iov->iov_base = (char *)iov->iov_base + done;
            iov->iov_len -= (size_t)done;
        }
    }
    return ERR_OK;
}

static enum err real_append(struct disk_file *file, const sv *pieces, size_t n)
{
    struct real_file *f = CONTAINER(file, struct real_file, base);
    if (f->broken)
        return ERR_IO;
    while (n > 0) {
        struct iovec iov[PIECES_AT_ONCE];
        size_t k = 0;
        for (; k < n && k < PIECES_AT_ONCE; k++)
            iov[k] = (struct iovec){(void *)(uintptr_t)pieces[k].p, pieces[k].n};
        TRY(write_all(f->fd, iov, k));
        pieces += k;
        n -= k;
    }
    return ERR_OK;
}

static enum err real_sync(struct disk_file *file)
{
    struct real_file *f = CONTAINER(file, struct real_file, base);
    if (!f->broken && fdatasync(f->fd) == 0)
        return ERR_OK;
    f->broken = true;
    return ERR_IO;
}

static void real_close(struct disk_file *file)
{
    struct real_file *f = CONTAINER(file, struct real_file, base);
    close(f->fd);
    mem_free(f);
}

static enum err real_open(struct disk *d, sv path, bool truncate, struct disk_file **ret_file,
                          uint64_t *ret_size)
{
    int fd;
    struct stat st;
    TRY(open_path(path, O_WRONLY | O_CREAT | O_APPEND | (truncate ? O_TRUNC : 0), 0600, &fd));
    struct real_file *f = MEM_NEW(struct real_file);
    if (!f || fstat(fd, &st) != 0) {
        enum err rc = f ? ERR_IO : ERR_NOMEM;
        mem_free(f);
        close(fd);
        return rc;
    }
    f->base.ops = d->ops;
    f->fd = fd;
    *ret_file = &f->base;
    *ret_size = (uint64_t)st.st_size;
    return ERR_OK;
}

/* Reads up to max + 1 octets, cap never being more, so that a file that grows meanwhile is noticed
 * too. */
static enum err read_fd(int fd, size_t expected, size_t max, char **ret_octets, size_t *ret_n)
{
    size_t n = 0, cap = expected + 1;
    char *p = mem_alloc(cap);
    enum err rc = p ? ERR_OK : ERR_NOMEM;

    while (!rc) {
        if (n == cap) {
            size_t more = cap < max / 2 ? 2 * cap : max + 1;
            char *q = n > max ? NULL : mem_realloc(p, more);
            if (!q) {
                rc = n > max ? ERR_TOOBIG : ERR_NOMEM;
                break;
            }
            p = q;
            cap = more;
        }
        ssize_t got = read(fd, p + n, cap - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            rc = from_errno(errno);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    if (rc) {
        mem_free(p);
        return rc;
    }
    *ret_octets = p;
    *ret_n = n;
    return ERR_OK;
}

static enum err real_read(struct disk *d, sv path, size_t max, char **ret_octets, size_t *ret_n)
{
    int fd;
    struct stat st;
    (void)d;
    TRY(open_path(path, O_RDONLY | O_NONBLOCK, 0, &fd)); /* a FIFO in its place must not hang us */
    enum err rc = ERR_OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        rc = ERR_IO;
    else if ((uint64_t)st.st_size > max)
        rc = ERR_TOOBIG;
    else
        rc = read_fd(fd, (size_t)st.st_size, max, ret_octets, ret_n);
    close(fd);
    return rc;
}

static enum err real_truncate(struct disk *d, sv path, uint64_t size)
{
    char z[PATH_MAX];
    (void)d;
    TRY(to_cstr(path, z));
    return truncate(z, (off_t)size) == 0 ? ERR_OK : from_errno(errno);
}

static enum err real_rename(struct disk *d, sv from, sv to)
{
    char zf[PATH_MAX], zt[PATH_MAX];
    (void)d;
    TRY(to_cstr(from, zf));
    TRY(to_cstr(to, zt));
    return rename(zf, zt) == 0 ? ERR_OK : from_errno(errno);
}

static enum err real_remove(struct disk *d, sv path)
{
    char z[PATH_MAX];
    (void)d;
    TRY(to_cstr(path, z));
    return unlink(z) == 0 ? ERR_OK : from_errno(errno);
}

static enum err real_sync_dir(struct disk *d, sv path)
{
    int fd;
    (void)d;
    TRY(open_path(path, O_RDONLY | O_DIRECTORY, 0, &fd));
    enum err rc = fsync(fd) == 0 ? ERR_OK : ERR_IO;
    close(fd);
    return rc;
}

static enum err real_mkdir(struct disk *d, sv path, unsigned mode)
{
    char z[PATH_MAX];
    struct stat st;
    (void)d;
    TRY(to_cstr(path, z));
    if (mkdir(z, (mode_t)mode) == 0)
        return ERR_OK;
    if (errno != EEXIST)
        return from_errno(errno);
    return stat(z, &st) == 0 && S_ISDIR(st.st_mode) ? ERR_OK : ERR_EXISTS;
}

static int no_folder(const struct dirent *e)
{
    return e->d_type != DT_DIR;
}

static int by_octet(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool is_folder(const char *dir, const struct dirent *e)
{
    char z[PATH_MAX + 256 + 2];
    struct stat st;
    if (e->d_type != DT_UNKNOWN)
        return false; /* folders were filtered already */
    snprintf(z, sizeof(z), "%s/%s", dir, e->d_name);
    return lstat(z, &st) == 0 && S_ISDIR(st.st_mode);
}

static enum err real_list(struct disk *d, sv dir, bool (*fn)(sv name, void *arg), void *arg)
{
    char z[PATH_MAX];
    struct dirent **names;
    bool go_on = true;
    (void)d;
    TRY(to_cstr(dir, z));
    int n = scandir(z, &names, no_folder, by_octet);
    if (n < 0)
        return from_errno(errno);
    for (int i = 0; i < n; i++) {
        if (go_on && !is_folder(z, names[i]))
            go_on = fn(sv_of(names[i]->d_name), arg);
        free(names[i]); /* scandir's, so libc's */
    }
    free(names);
    return ERR_OK;
}

static const struct disk_ops real_ops = {
    .open = real_open,
    .append = real_append,
    .sync = real_sync,
    .close = real_close,
    .read = real_read,
    .truncate = real_truncate,
    .rename = real_rename,
    .remove = real_remove,
    .sync_dir = real_sync_dir,
    .mkdir = real_mkdir,
    .list = real_list,
};

struct disk *disk_real(void)
{
    static struct disk real = {.ops = &real_ops};
    return &real;
}
