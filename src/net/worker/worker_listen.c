/* SPDX-License-Identifier: MIT */
/* Listeners: TCP with SO_REUSEPORT, one a worker; Unix sockets with mode and peer credentials.
 *
 * Out of descriptors a connection cannot even be refused: it stays in the backlog and poll reports
 * it for ever. So each worker keeps one descriptor in reserve, gives it up to accept and close what
 * waits, and then lets the listener rest for a moment. */
#include "worker/worker_priv.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* So many accepts a turn and listener that a crowd at the door holds up nobody who is inside. */
enum { ACCEPTS_A_TURN = 16, BACKLOG = 1024, SHED_MAX = 64 };
#define REST (100 * USEC_MS)

struct worker_listener {
    struct listener base;
    struct worker *w;
    uv_poll_t poll;
    int fd;
    const struct listener_handler *h;
    void *arg;
    struct bound *bound; /* TCP */
    bool local, closed;  /* local: a Unix socket */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    dev_t dev; /* what we made at path: it is removed only while it is still that */
    ino_t ino;
    struct timer rest;
    struct link by_worker;
};

static void on_poll(uv_poll_t *h, int status, int events);

/* Other threads open descriptors too: one of them may take the reserve's place while it is given up.
 * Then it is taken back at the next chance, or shedding would be over for ever. */
static void reserve(struct worker *w)
{
    if (w->reserve_fd < 0)
        w->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_rested(struct timer *t, void *arg)
{
    struct worker_listener *l = arg;
    (void)t;
    reserve(l->w);
    uv_poll_start(&l->poll, UV_READABLE, on_poll);
}

static void rest(struct worker_listener *l)
{
    uv_poll_stop(&l->poll);
    loop_timer(&l->w->base, &l->rest, REST);
}

static void shed(struct worker_listener *l)
{
    struct worker *w = l->w;
    reserve(w);
    for (int i = 0; i < SHED_MAX && w->reserve_fd >= 0; i++) {
        close(w->reserve_fd);
        int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            stat_refuse(&w->base.stats, STAT_LIMIT_CONNECTIONS);
            close(fd);
        }
        w->reserve_fd = -1;
        reserve(w);
        if (fd < 0)
            break;
    }
}

/* False: no more for now. */
static bool accept_one(struct worker_listener *l)
{
    struct sockaddr_storage sa = {0};
    socklen_t n = sizeof(sa);
    int fd = accept4(l->fd, (struct sockaddr *)&sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        int why = errno;
        bool no_more = why == EMFILE || why == ENFILE;
        if (no_more)
            shed(l);
        if (no_more || why == ENOMEM || why == ENOBUFS)
            rest(l);
        /* Everything else concerns a connection that is gone already: accept(2). */
        return why == EINTR || why == ECONNABORTED || why == EPROTO;
    }
    struct addr peer = worker_addr(&sa);
    if (!l->local && peer.family == 0) {
        close(fd);
        return true;
    }
    struct stream *s = worker_stream_accepted(l->w, fd, l->local ? NULL : &peer, &l->base.local);
    if (s) {
        l->h->on_accept(l->arg, s);
        worker_stream_begin(s);
    }
    return true;
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct worker_listener *l = CONTAINER(h, struct worker_listener, poll);
    (void)events;
    worker_turn(l->w);
    if (l->closed)
        return;
    if (status < 0)
        uv_poll_start(&l->poll, UV_READABLE, on_poll);
    for (int i = 0; i < ACCEPTS_A_TURN && !l->closed && accept_one(l); i++)
        continue;
}

static void on_gone(uv_handle_t *h)
{
    mem_free(CONTAINER((uv_poll_t *)h, struct worker_listener, poll));
}

static void listener_end(struct listener *listener)
{
    struct worker_listener *l = CONTAINER(listener, struct worker_listener, base);
    struct stat st;
    if (l->closed)
        return;
    l->closed = true;
    if (l->local && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
        unlink(l->path);
    loop_timer_cancel(&l->w->base, &l->rest);
    list_unlink(&l->by_worker);
    worker_unbind(l->w->g, l->bound);
    uv_close((uv_handle_t *)&l->poll, on_gone);
    close(l->fd);
}

static const struct listener_ops listener_ops = {.close = listener_end};

/* l has its fd, bound; on failure the caller undoes that. */
static enum err begin(struct worker_listener *l, struct worker *w, const struct listener_handler *h,
                      void *arg)
{
    if (listen(l->fd, BACKLOG) != 0)
        return worker_err(errno);
    if (uv_poll_init(&w->uv, &l->poll, l->fd) != 0)
        return ERR_IO;
    l->base.ops = &listener_ops;
    l->base.loop = &w->base;
    l->w = w;
    l->h = h;
    l->arg = arg;
    timer_init(&l->rest, on_rested, l);
    list_push(&w->listeners, &l->by_worker);
    uv_poll_start(&l->poll, UV_READABLE, on_poll);
    return ERR_OK;
}

enum err worker_listen(struct loop *loop, const struct addr *bind, unsigned flags,
                       const struct listener_handler *h, void *arg, struct listener **ret_listener)
{
    struct worker *w = worker_of(loop);
    if (loop->stopping)
        return ERR_STATE;
    struct worker_listener *l = MEM_NEW(struct worker_listener);
    if (!l)
        return ERR_NOMEM;
    enum err rc = worker_socket(bind, SOCK_STREAM, &l->fd);
    if (rc) {
        mem_free(l);
        return rc;
    }
    worker_tcp_options(l->fd);
    rc = worker_bind(w->g, l->fd, SOCK_STREAM, bind, flags, &l->bound);
    if (!rc) {
        l->base.local = worker_sockname(l->fd);
        rc = begin(l, w, h, arg);
    }
    if (rc) {
        worker_unbind(w->g, l->bound);
        close(l->fd);
        mem_free(l);
        return rc;
    }
    *ret_listener = &l->base;
    return ERR_OK;
}

/* Makes room at the path: a socket that nobody listens on is removed; anything else stays. */
static enum err remove_stale(const struct sockaddr_un *un)
{
    struct stat st;
    if (lstat(un->sun_path, &st) != 0)
        return errno == ENOENT ? ERR_OK : worker_err(errno);
    if (!S_ISSOCK(st.st_mode))
        return ERR_EXISTS;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return worker_err(errno);
    int rc = connect(fd, (const struct sockaddr *)un, sizeof(*un));
    int why = rc == 0 ? 0 : errno;
    close(fd);
    if (why != ECONNREFUSED) /* also EAGAIN: alive, with a full backlog */
        return why == EACCES || why == EPERM ? ERR_DENIED : ERR_BUSY;
    return unlink(un->sun_path) == 0 ? ERR_OK : worker_err(errno);
}

static enum err bind_unix(struct worker_listener *l, sv path, unsigned mode)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct stat st;
    if (path.n >= sizeof(un.sun_path))
        return ERR_TOOBIG;
    if (path.n == 0 || memchr(path.p, 0, path.n))
        return ERR_NOTFOUND;
    memcpy(un.sun_path, path.p, path.n);
    memcpy(l->path, un.sun_path, sizeof(l->path));
    TRY(remove_stale(&un));
    /* The mode of the descriptor is the most that the new socket file gets, so it is never open
     * wider than asked, not even for a moment, and no umask of the whole process is touched. */
    if (fchmod(l->fd, (mode_t)mode) != 0 || bind(l->fd, (struct sockaddr *)&un, sizeof(un)) != 0)
        return worker_err(errno);
    if (chmod(l->path, (mode_t)mode) != 0 || lstat(l->path, &st) != 0) {
        unlink(l->path);
        return ERR_IO;
    }
    l->dev = st.st_dev;
    l->ino = st.st_ino;
    return ERR_OK;
}

enum err worker_listen_unix(struct loop *loop, sv path, unsigned mode,
                            const struct listener_handler *h, void *arg,
                            struct listener **ret_listener)
{
    struct worker *w = worker_of(loop);
    if (loop->stopping)
        return ERR_STATE;
    struct worker_listener *l = MEM_NEW(struct worker_listener);
    if (!l)
        return ERR_NOMEM;
    l->local = true;
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0) {
        mem_free(l);
        return worker_err(errno);
    }
    enum err rc = bind_unix(l, path, mode);
    if (!rc) {
        rc = begin(l, w, h, arg);
        if (rc)
            unlink(l->path);
    }
    if (rc) {
        close(l->fd);
        mem_free(l);
        return rc;
    }
    *ret_listener = &l->base;
    return ERR_OK;
}

void worker_listen_done(struct worker *w)
{
    LIST_EACH_SAFE (l, &w->listeners, struct worker_listener, by_worker) {
        listener_end(&l->base);
    }
}
