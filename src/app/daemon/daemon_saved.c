/* SPDX-License-Identifier: MIT */
/* The configurations that took effect, kept in the data folder: every file that was read, octet for
 * octet, so that the way back does not hang on what the disk holds by then.
 *
 *   config.last      what holds now
 *   config.previous  what held before, where it differed
 *
 * A file: the head, then for each of the configuration's files "PATH-OCTETS FILE-OCTETS\n", the
 * path, the file. No files at all: the embedded defaults. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/daemon_priv.h"

enum { SAVED_MAX = 64 * 1024 * 1024, SAVED_PATH_MAX = 4096 };
static const sv head = {"tandem configuration 1\n", 23};

static enum err compose(const struct config *c, struct buf *b)
{
    buf_put(b, head);
    for (size_t i = 0; i < c->files_n; i++) {
        const struct config_file *f = &c->files[i];
        buf_printf(b, "%zu %zu\n", f->path.n, f->octets.n);
        buf_put(b, f->path);
        buf_put(b, f->octets);
    }
    return b->rc;
}

static enum err slurp(const char *path, struct buf *b)
{
    char piece[16 * 1024];
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
    while ((n = read(fd, piece, sizeof(piece))) > 0)
        buf_mem(b, piece, (size_t)n);
    close(fd);
    return n < 0 ? ERR_IO : b->rc;
}

enum err saved_keep(const struct daemon *d, const struct config *c)
{
    char last[1200], previous[1200];
    struct buf now, was;
    buf_init_heap(&now, SAVED_MAX);
    buf_init_heap(&was, SAVED_MAX);
    state_path(d, "config.last", last, sizeof(last));
    state_path(d, "config.previous", previous, sizeof(previous));
    enum err rc = compose(c, &now);
    if (!rc) {
        enum err had = slurp(last, &was);
        if (had || !sv_eq(buf_sv(&now), buf_sv(&was))) {
            if (!had && rename(last, previous) != 0)
                rc = ERR_IO;
            if (!rc)
                rc = state_write(last, buf_sv(&now));
        }
    }
    if (now.p)
        crypto_wipe(now.p, now.n);
    if (was.p)
        crypto_wipe(was.p, was.n);
    buf_done(&now);
    buf_done(&was);
    return rc;
}

/* A number that ends with `end`, taken off rest. */
static bool take_number(sv *rest, char end, size_t max, size_t *ret_n)
{
    uint64_t n;
    size_t at = sv_chr(*rest, end);
    if (at == rest->n || sv_u64(sv_sub(*rest, 0, at), max, &n))
        return false;
    *rest = sv_sub(*rest, at + 1, rest->n);
    *ret_n = (size_t)n;
    return true;
}

static enum err parse(struct arena *a, sv text, const struct config_file **ret_files, size_t *ret_n)
{
    struct config_file *files = NULL;
    size_t n = 0, cap = 0;
    if (!sv_starts(text, head))
        return ERR_CORRUPT;
    for (sv rest = sv_sub(text, head.n, text.n); rest.n; n++) {
        size_t path_n, octets_n;
        if (!take_number(&rest, ' ', SAVED_PATH_MAX, &path_n) ||
            !take_number(&rest, '\n', SAVED_MAX, &octets_n) || path_n == 0 || path_n > rest.n ||
            octets_n > rest.n - path_n)
            return ERR_CORRUPT;
        if (n == cap) {
            struct config_file *more = arena_calloc(a, cap = cap ? 2 * cap : 16, sizeof(*more));
            if (!more)
                return ERR_NOMEM;
            if (n)
                memcpy(more, files, n * sizeof(*more));
            files = more;
        }
        TRY(sv_dup(a, sv_sub(rest, 0, path_n), &files[n].path));
        TRY(sv_dup(a, sv_sub(rest, path_n, path_n + octets_n), &files[n].octets));
        rest = sv_sub(rest, path_n + octets_n, rest.n);
    }
    *ret_files = files;
    *ret_n = n;
    return ERR_OK;
}

enum err saved_read(const struct daemon *d, const char *name, struct arena *a,
                    const struct config_file **ret_files, size_t *ret_n)
{
    char path[1200];
    struct buf b;
    buf_init_heap(&b, SAVED_MAX);
    enum err rc = slurp(state_path(d, name, path, sizeof(path)), &b);
    if (!rc)
        rc = parse(a, buf_sv(&b), ret_files, ret_n);
    if (b.p)
        crypto_wipe(b.p, b.n);
    buf_done(&b);
    return rc;
}
