/* SPDX-License-Identifier: MIT */
/* The data folder: made, locked by one process, and what is kept in it from one start to the next.
 */
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

int state_open(struct daemon *d)
{
    char path[1200];
    struct buf b;
    d->lock_fd = -1;
    buf_init(&b, d->data, sizeof(d->data));
    buf_put(&b, d->config->data);
    buf_char(&b, '\0');
    if (b.rc)
        return fail("the data folder's name is too long", "");
    if (mkdir(d->data, 0700) != 0 && errno != EEXIST)
        return fail("the data folder cannot be made", d->data);
    state_path(d, "lock", path, sizeof(path));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail("the data folder cannot be written", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return locked(d->data, fd);
    char pid[32];
    buf_init(&b, pid, sizeof(pid));
    buf_printf(&b, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, b.n, 0) != (ssize_t)b.n) {
        close(fd);
        return fail("the data folder cannot be written", path);
    }
    d->lock_fd = fd;
    return 0;
}

void state_close(struct daemon *d)
{
    if (d->lock_fd >= 0)
        close(d->lock_fd);
}

/* n octets of a file that is made with random ones at the first start. */
static int random_file(const char *path, uint8_t *to, size_t n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        char tmp[1300];
        struct buf b;
        buf_init(&b, tmp, sizeof(tmp));
        buf_str(&b, path);
        buf_str(&b, ".new");
        buf_char(&b, '\0');
        if (crypto_random(to, n))
            return fail("no random numbers", path);
        fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, to, n) != (ssize_t)n || fsync(fd) != 0 || rename(tmp, path) != 0) {
            if (fd >= 0)
                close(fd);
            return fail("a secret cannot be kept", path);
        }
        close(fd);
        return 0;
    }
    if (fd < 0)
        return fail("a secret cannot be read", path);
    ssize_t got = read(fd, to, n);
    close(fd);
    if (got != (ssize_t)n) {
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
    derive(secret, "token", token, sizeof(token));
    crypto_wipe(secret, sizeof(secret));
    struct buf b;
    buf_init(&b, d->token, sizeof(d->token) - 1);
    crypto_base64url(&b, token, sizeof(token));
    /* Where an operator finds it. */
    state_path(d, "control.token", path, sizeof(path));
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, d->token, b.n) != (ssize_t)b.n || write(fd, "\n", 1) != 1) {
        if (fd >= 0)
            close(fd);
        return fail("the control token cannot be written", path);
    }
    close(fd);
    return 0;
}

int state_domain(struct daemon *d)
{
    if (d->config->domains_given)
        return 0;
    struct arena a;
    char mem[512];
    sv name;
    arena_init(&a, mem, sizeof(mem), 4096);
    enum err rc = store_fact(d->store, SV("domain"), &a, &name);
    if (rc == ERR_NOTFOUND) {
        /* The digest realm hangs on it: a host that is renamed later must not void every password.
         */
        char host[256] = "";
        if (gethostname(host, sizeof(host) - 1) != 0 || !host[0])
            memcpy(host, "localhost", sizeof("localhost"));
        name = sv_of(host);
        rc = store_fact_set(d->store, SV("domain"), name);
    }
    if (rc || name.n == 0 || name.n >= sizeof(d->domain)) {
        LOG_ERROR("daemon", "start.failed", F_STR("what", "the domain cannot be remembered"),
                  F_ERR(rc));
        return 3;
    }
    for (size_t i = 0; i < name.n; i++)
        d->domain[i] = sv_lower(name.p[i]);
    arena_done(&a);
    return 0;
}
