/* SPDX-License-Identifier: MIT */
/* The data folder: made, locked by one process, and what is kept in it from one start to the next.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/daemon_priv.h"

const char *state_path(const struct daemon *d, const char *name, char *mem, size_t n)
{
    struct buf b;
    buf_init(&b, mem, n);
    buf_str(&b, d->data);
    buf_char(&b, '/');
    buf_str(&b, name);
    buf_char(&b, '\0');
    return b.rc ? "" : mem;
}

static int fail(const char *what, const char *path)
{
    LOG_ERROR("daemon", "start.failed", F_STR("what", what), F_STR("path", path),
              F_STR("error", strerror(errno)));
    return 3;
}

/* The number of the process that holds the lock is in the lock file. */
static int locked(const char *path, int fd)
{
    char pid[32] = "";
    ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);
    while (n > 0 && (pid[n - 1] == '\n' || pid[n - 1] == ' '))
        pid[--n] = '\0';
    LOG_ERROR("daemon", "start.failed",
              F_STR("what", "the data folder is in use by another process"), F_STR("path", path),
              F_STR("process", pid));
    close(fd);
    return 3;
}

/* Entries of the folder but . and .. : 0, or more; ours: one of them is our lock. */
static unsigned entries(int fd, bool *ret_ours)
{
    unsigned n = 0;
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    *ret_ours = false;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        n++;
        *ret_ours = *ret_ours || strcmp(e->d_name, "lock") == 0;
    }
    if (dir)
        closedir(dir);
    else if (copy >= 0)
        close(copy);
    return n;
}

/* Root's own folder, from a start without `run_as`, or made just now, goes to whom we become.
 * Nobody
 * else could put anything into it so far, so no link in it leads astray. */
static int hand_over(struct daemon *d, int fd)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct stat st;
        if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            st.st_nlink == 1 && st.st_uid == 0 &&
            fchownat(fd, e->d_name, d->uid, d->gid, AT_SYMLINK_NOFOLLOW) != 0)
            LOG_WARN("daemon", "chown", F_STR("file", e->d_name), F_STR("error", strerror(errno)));
    }
    if (dir)
        closedir(dir);
    else if (copy >= 0)
        close(copy);
    return fchown(fd, d->uid, d->gid) == 0 ? 0 : fail("the data folder cannot be given", d->data);
}

/* Mode 0700, and his who we are. A folder that is not ours to change stays as it is: then it is
 * refused. */
static int own_folder(struct daemon *d, int fd)
{
    struct stat st;
    bool ours;
    if (fstat(fd, &st) != 0)
        return fail("the data folder cannot be read", d->data);
    if (d->uid && st.st_uid == 0 && (st.st_mode & 022) == 0) {
        int code = hand_over(d, fd);
        if (code)
            return code;
        st.st_uid = d->uid;
    }
    int code = user_enter(d);
    if (code)
        return code;
    if (st.st_uid != geteuid()) {
        errno = EPERM;
        return fail("the data folder belongs to another user", d->data);
    }
    if ((st.st_mode & 077) == 0)
        return 0;
    if (entries(fd, &ours) > 0 && !ours) {
        errno = EPERM;
        return fail("the data folder holds something else and is open to others: name another, or "
                    "give it mode 0700",
                    d->data);
    }
    return fchmod(fd, 0700) == 0 ? 0 : fail("the data folder cannot be closed to others", d->data);
}

static int take_lock(struct daemon *d)
{
    char path[1200], pid[32];
    struct buf b;
    state_path(d, "lock", path, sizeof(path));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail("the data folder cannot be written", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return locked(d->data, fd);
    buf_init(&b, pid, sizeof(pid));
    buf_printf(&b, "%ld\n", (long)getpid());
    d->lock_fd = fd;
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, b.n, 0) != (ssize_t)b.n)
        return fail("the data folder cannot be written", path);
    return 0;
}

/* What path stands in. False: it does not fit. */
static bool folder_of(sv path, char *mem, size_t n)
{
    struct buf b;
    while (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    while (path.n > 0 && path.p[path.n - 1] != '/')
        path.n--;
    while (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    buf_init(&b, mem, n);
    buf_put(&b, path.n ? path : SV("."));
    buf_char(&b, '\0');
    return b.rc == ERR_OK;
}

int state_socket_folder(struct daemon *d, sv socket, bool as_root)
{
    char folder[1200], parent[1200];
    struct stat st;
    if (!folder_of(socket, folder, sizeof(folder)) ||
        !folder_of(sv_of(folder), parent, sizeof(parent)) || stat(folder, &st) == 0 ||
        errno != ENOENT)
        return 0; /* there, or control_listen_unix says what is wrong */
    if (stat(parent, &st) != 0)
        return as_root ? 0
                       : fail("the folder of the control socket is missing, and the one that it "
                              "would be in: make it, or name another control.socket",
                              folder);
    /* Where others may write, a link could take its place before it is given away. */
    if (as_root && (d->uid == 0 || st.st_uid != 0 || (st.st_mode & 022) != 0))
        return 0;
    if (mkdir(folder, 0750) != 0 || chmod(folder, 0750) != 0 ||
        (as_root && chown(folder, d->uid, d->gid) != 0))
        return fail("the folder of the control socket is missing and cannot be made: make it, or "
                    "name another control.socket",
                    folder);
    return 0;
}

int state_open(struct daemon *d)
{
    struct buf b;
    buf_init(&b, d->data, sizeof(d->data));
    buf_put(&b, d->config->data);
    buf_char(&b, '\0');
    if (b.rc) {
        errno = ENAMETOOLONG;
        return fail("the data folder's name is too long", "");
    }
    if (mkdir(d->data, 0700) != 0 && errno != EEXIST) {
        char parent[1200];
        bool lost = errno == ENOENT && folder_of(sv_of(d->data), parent, sizeof(parent));
        return lost ? fail("the data folder cannot be made: the folder that it would be in is "
                           "missing",
                           parent)
                    : fail("the data folder cannot be made", d->data);
    }
    int fd = open(d->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail("the data folder cannot be read", d->data);
    int code = own_folder(d, fd);
    close(fd);
    return code ? code : take_lock(d);
}

void state_close(struct daemon *d)
{
    if (d->lock_fd >= 0)
        close(d->lock_fd);
}

static bool write_all(int fd, sv octets)
{
    while (octets.n) {
        ssize_t n = write(fd, octets.p, octets.n);
        if (n < 0 && errno != EINTR)
            return false;
        octets = sv_sub(octets, n < 0 ? 0 : (size_t)n, octets.n);
    }
    return true;
}

/* What was renamed is on the disk, too. */
static bool sync_folder(const char *path)
{
    char folder[1300];
    struct buf b;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] != '/')
        n--;
    buf_init(&b, folder, sizeof(folder));
    buf_put(&b, (sv){path, n});
    buf_char(&b, '\0');
    int fd = b.rc ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

enum err state_write(const char *path, sv octets)
{
    char tmp[1300];
    struct buf b;
    buf_init(&b, tmp, sizeof(tmp));
    buf_str(&b, path);
    buf_str(&b, ".new");
    buf_char(&b, '\0');
    if (b.rc || (unlink(tmp) != 0 && errno != ENOENT))
        return ERR_IO;
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return ERR_IO;
    bool ok = write_all(fd, octets) && fsync(fd) == 0;
    ok = close(fd) == 0 && ok && rename(tmp, path) == 0 && sync_folder(path);
    if (!ok)
        unlink(tmp);
    return ok ? ERR_OK : ERR_IO;
}

/* n octets of a file that is made with random ones at the first start. */
static int random_file(const char *path, uint8_t *to, size_t n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        if (crypto_random(to, n))
            return fail("no random numbers", path);
        return state_write(path, (sv){(const char *)to, n}) ? fail("a secret cannot be kept", path)
                                                            : 0;
    }
    if (fd < 0)
        return fail("a secret cannot be read", path);
    char more;
    bool right = read(fd, to, n) == (ssize_t)n && read(fd, &more, 1) == 0;
    close(fd);
    if (!right) {
        errno = EINVAL;
        return fail("a secret has the wrong length: put back the right file, or remove it and all "
                    "registrations",
                    path);
    }
    return 0;
}

static void derive(const uint8_t secret[static 32], const char *use, void *to, size_t n)
{
    uint8_t mac[SHA256_LEN];
    sv pieces[] = {sv_of(use)};
    crypto_hmac_sha256((sv){(const char *)secret, 32}, pieces, 1, mac);
    memcpy(to, mac, n);
    crypto_wipe(mac, sizeof(mac));
}

/* The ticket key is longer than one MAC: that of the use with a digit behind it, and the next. */
static void derive_long(const uint8_t secret[static 32], uint8_t *to, size_t n)
{
    char use[] = "tickets 0";
    for (; n; use[sizeof(use) - 2]++) {
        size_t piece = n < SHA256_LEN ? n : SHA256_LEN;
        derive(secret, use, to, piece);
        to += piece;
        n -= piece;
    }
}

int state_secrets(struct daemon *d)
{
    char path[1200];
    uint8_t secret[32], token[24];
    int code = random_file(state_path(d, "secret", path, sizeof(path)), secret, sizeof(secret));
    if (code)
        return code;
    derive(secret, "marks", d->secrets.marks, sizeof(d->secrets.marks));
    derive(secret, "nonces", d->secrets.nonces, sizeof(d->secrets.nonces));
    derive(secret, "location", d->secrets.location_seed, sizeof(d->secrets.location_seed));
    derive(secret, "directory", d->secrets.directory_seed, sizeof(d->secrets.directory_seed));
    derive(secret, "names", d->secrets.cache_seed, sizeof(d->secrets.cache_seed));
    derive(secret, "turn", d->secrets.turn, sizeof(d->secrets.turn));
    derive_long(secret, d->secrets.tickets, sizeof(d->secrets.tickets));
    derive(secret, "token", token, sizeof(token));
    crypto_wipe(secret, sizeof(secret));
    struct buf b;
    buf_init(&b, d->token, sizeof(d->token) - 2);
    crypto_base64url(&b, token, sizeof(token));
    crypto_wipe(token, sizeof(token));
    /* Where an operator finds it. */
    d->token[b.n] = '\n';
    enum err rc =
        state_write(state_path(d, "control.token", path, sizeof(path)), (sv){d->token, b.n + 1});
    d->token[b.n] = '\0';
    return rc ? fail("the control token cannot be written", path) : 0;
}

sv state_host_name(char mem[static 256])
{
    bool good = gethostname(mem, 255) == 0 && mem[0] && mem[0] != '-' && mem[0] != '.';
    mem[255] = '\0';
    for (char *c = mem; *c && good; c++) {
        *c = sv_lower(*c);
        good = (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-' || *c == '.';
    }
    return good ? sv_of(mem) : SV("localhost");
}

/* Whose accounts there are, as seen from one domain. */
struct neighbours {
    sv domain;
    bool ours;       /* there is one of it */
    char other[256]; /* the domain of one that is not; empty */
};

static bool note_neighbour(const struct account *a, void *arg)
{
    struct neighbours *n = arg;
    struct buf b;
    n->ours = sv_ieq(a->domain, n->domain);
    if (!n->ours && !n->other[0]) {
        buf_init(&b, n->other, sizeof(n->other));
        buf_put(&b, a->domain);
        buf_char(&b, '\0');
        n->other[b.rc ? 0 : b.n - 1] = '\0';
    }
    return !n->ours;
}

const char *state_doubt(struct daemon *d)
{
    struct neighbours n = {.domain = d->config->settings->domains[0].name};
    struct buf b;
    /* Whoever names a configuration, or has one where it is looked for, meant it. */
    bool beside = !d->config->file.p && access("tandem.yaml", F_OK) == 0;
    if (d->mode != DAEMON_OFFLINE || d->config->domains_given ||
        store_each_account(d->store, note_neighbour, &n))
        return NULL;
    bool strange = !n.ours && n.other[0];
    if (!beside && !strange)
        return NULL;
    buf_init(&b, d->doubt, sizeof(d->doubt));
    buf_printf(&b, "which domain? Without a configuration that names one it is " SV_FMT,
               SV_ARG(n.domain));
    if (strange)
        buf_printf(&b, ", but the accounts that are here are of %s", n.other);
    else
        buf_str(&b, ", and the tandem.yaml in this folder is read only when it is named");
    buf_printf(&b,
               ": name the configuration (--config FILE or $TANDEM_CONFIG), or write NAME@" SV_FMT,
               SV_ARG(n.domain));
    buf_char(&b, '\0');
    return b.rc ? "which domain?" : d->doubt;
}

int state_domain(struct daemon *d)
{
    struct arena a;
    char mem[512], host[256];
    sv name;
    arena_init(&a, mem, sizeof(mem), 4096);
    enum err rc = store_fact(d->store, SV("domain"), &a, &name);
    if (rc == ERR_NOTFOUND) {
        name = state_host_name(host);
        rc = ERR_OK;
        /* The digest realm hangs on it: a host that is renamed later must not void every password.
         */
        if (!d->config->domains_given)
            rc = store_fact_set(d->store, SV("domain"), name);
    }
    bool good = !rc && name.n > 0 && name.n < sizeof(d->domain);
    if (good)
        memcpy(d->domain, name.p, name.n);
    else
        LOG_ERROR("daemon", "start.failed", F_STR("what", "the domain cannot be remembered"),
                  F_ERR(rc ? rc : ERR_CORRUPT));
    arena_done(&a);
    return good ? 0 : 3;
}
