/* SPDX-License-Identifier: MIT */
/* Streams: nonblocking sockets under uv_poll_t with a bounded write queue of our own.
 *
 * What is sent in a turn waits in one block and leaves at the turn's end, in one call of the kernel; what
 * the kernel does not take then, and what is sent before it is connected, goes to the queue.
 *
 *   connecting ── writable, no error ──► open ── end, error ─────────────► gone (on_close)
 *        └─────── error ──► gone (on_close)  └─ stream_close(flush) ──► lingering ─┐
 *                                               stream_close ──► gone ◄────────────┘
 *
 * Lingering: no user any more. What is queued is written, then our side is shut, and what the peer
 * still sends is read and dropped until it ends too: closing over unread octets would send a reset
 * that can overtake and void the answer just written. Bounded by LINGER.
 *
 * Away: between two loops. It is a new object then: libuv lets go of what it polled only in a later turn of
 * the loop that was left. */
#include "worker/worker_priv.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    READS_A_TURN = 4,   /* of READ_BUFFER each, so that one busy peer does not starve the rest */
    PIECES_MAX = 16,    /* handed to the kernel at once; more go by the queue */
    QUEUE_FIRST = 4096, /* octets of a new queue */
    KEEP_IDLE_S = 60,
    KEEP_INTERVAL_S = 15,
    KEEP_COUNT = 4,
    UNACKED_MS = 30000, /* sent, not acknowledged: then the connection is dead */
};
#define LINGER (5 * USEC_S)

struct worker_stream {
    struct stream base;
    struct worker *w; /* NULL: away */
    uv_poll_t poll;
    int fd;
    const struct stream_handler *h;
    void *arg;
    struct block *turn; /* sent in this turn; NULL: nothing. base.queued is of both */
    char *queue;        /* queue_n octets from queue_at; empty while turn is not NULL */
    size_t queue_at, queue_n, queue_cap;
    int watched; /* events polled for */
    bool connecting, paused;
    bool ended;     /* the peer sends no more */
    bool shut;      /* neither do we */
    bool closed;    /* no callback any more */
    bool lingering; /* closed, but not gone */
    bool gone;
    struct deferred later; /* at the turn's end: failed, or turn leaves */
    enum err why;          /* failed; on_close comes */
    struct timer linger;
    struct link by_worker;
};

static void on_poll(uv_poll_t *h, int status, int events);

/* Polls for what the state asks for. */
static void watch(struct worker_stream *s)
{
    int want = 0;
    if (s->gone)
        return;
    if (s->connecting)
        want = UV_WRITABLE;
    else
        want = (s->queue_n > 0 ? UV_WRITABLE : 0) |
               ((s->lingering || (s->h && !s->paused)) && !s->ended ? UV_READABLE : 0);
    if (want == s->watched)
        return;
    s->watched = want;
    if (want)
        uv_poll_start(&s->poll, want, on_poll);
    else
        uv_poll_stop(&s->poll);
}

static void on_gone(uv_handle_t *h)
{
    mem_free(CONTAINER((uv_poll_t *)h, struct worker_stream, poll));
}

/* The memory lives until uv has let go of it: callers on the stack may still look at the flags. */
static void destroy(struct worker_stream *s)
{
    if (s->gone)
        return;
    s->closed = s->gone = true;
    s->lingering = false;
    loop_timer_cancel(&s->w->base, &s->linger);
    loop_defer_cancel(&s->later);
    list_unlink(&s->by_worker);
    block_unref(s->turn);
    s->turn = NULL;
    mem_free(s->queue);
    s->queue = NULL;
    uv_close((uv_handle_t *)&s->poll, on_gone);
    close(s->fd);
}

/* ---- writing ---- */

static bool queue_reserve(struct worker_stream *s, size_t more)
{
    size_t need = s->queue_n + more, cap = s->queue_cap ? s->queue_cap : QUEUE_FIRST;
    if (s->queue_at > 0 && s->queue_at + need > s->queue_cap) {
        memmove(s->queue, s->queue + s->queue_at, s->queue_n);
        s->queue_at = 0;
    }
    if (s->queue_at + need <= s->queue_cap)
        return true;
    while (cap < need)
        cap *= 2;
    char *q = mem_realloc(s->queue, cap);
    if (!q)
        return false;
    s->queue = q;
    s->queue_cap = cap;
    return true;
}

/* What is behind the first skip octets of the pieces. Errors: ERR_NOMEM. */
static enum err queue_put(struct worker_stream *s, const sv *pieces, size_t n, size_t skip)
{
    for (size_t i = 0; i < n; i++) {
        sv rest = sv_sub(pieces[i], skip, pieces[i].n);
        skip -= pieces[i].n - rest.n;
        if (rest.n == 0)
            continue;
        if (!queue_reserve(s, rest.n))
            return ERR_NOMEM;
        memcpy(s->queue + s->queue_at + s->queue_n, rest.p, rest.n);
        s->queue_n += rest.n;
        s->base.queued += rest.n;
    }
    return ERR_OK;
}

/* Writes what is queued. Errors: of the socket. */
static enum err queue_write(struct worker_stream *s)
{
    while (s->queue_n > 0) {
        ssize_t n = send(s->fd, s->queue + s->queue_at, s->queue_n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? ERR_OK : worker_err(errno);
        s->queue_at += (size_t)n;
        s->queue_n -= (size_t)n;
        s->base.queued -= (size_t)n;
    }
    /* Most connections are idle, and few ever queue: the memory goes with what it held. */
    mem_free(s->queue);
    s->queue = NULL;
    s->queue_at = s->queue_cap = 0;
    return ERR_OK;
}

/* Writes the turn's octets and the pieces behind them; the queue, which is empty, takes what the kernel
 * does not. Errors: of the socket; ERR_NOMEM, part of it is out. */
static enum err write_now(struct worker_stream *s, const sv *pieces, size_t n)
{
    struct iovec iov[1 + PIECES_MAX];
    struct block *turn = s->turn;
    sv all[1 + PIECES_MAX] = {{NULL, 0}};
    size_t k = 0;
    ssize_t done;
    s->turn = NULL;
    if (turn) {
        s->base.queued -= turn->n;
        all[k++] = block_sv(turn);
    }
    for (size_t i = 0; i < n; i++)
        all[k++] = pieces[i];
    for (size_t i = 0; i < k; i++)
        iov[i] = (struct iovec){(void *)(uintptr_t)all[i].p, all[i].n};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = k};
    do
        done = sendmsg(s->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (done < 0 && errno == EINTR);
    enum err rc = done < 0 && errno != EAGAIN ? worker_err(errno)
                                              : queue_put(s, all, k, done < 0 ? 0 : (size_t)done);
    block_unref(turn);
    return rc;
}

/* The turn's octets leave. Errors: as write_now. */
static enum err write_turn(struct worker_stream *s)
{
    return s->turn ? write_now(s, NULL, 0) : ERR_OK;
}

/* ---- the end ---- */

/* Goes on lingering, or is done with it. */
static void linger_step(struct worker_stream *s)
{
    if (s->base.queued == 0 && !s->shut && !s->connecting) {
        s->shut = true;
        shutdown(s->fd, SHUT_WR);
    }
    if (s->shut && s->ended)
        destroy(s);
    else
        watch(s);
}

static void on_linger(struct timer *t, void *arg)
{
    (void)t;
    destroy(arg);
}

static void linger(struct worker_stream *s)
{
    s->closed = s->lingering = true;
    s->h = NULL;
    loop_defer_cancel(&s->later);
    loop_timer(&s->w->base, &s->linger, LINGER);
    linger_step(s);
}

/* Tells the user, once. After the peer's orderly end its answers may still be on their way out. */
static void finish(struct worker_stream *s, enum err why)
{
    if (s->closed) {
        destroy(s);
        return;
    }
    const struct stream_handler *h = s->h;
    void *arg = s->arg;
    if (why == ERR_OK && s->why == ERR_OK)
        s->why = write_turn(s);
    if (s->why) /* a write met the error first and took it: reading then looks like an orderly end
                 */
        why = s->why;
    if (why == ERR_OK && s->base.queued > 0)
        linger(s);
    else
        destroy(s);
    if (h)
        h->on_close(arg, why);
}

static enum err pending_error(int fd)
{
    int e = 0;
    socklen_t n = sizeof(e);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n) != 0)
        e = errno;
    return worker_err(e);
}

/* ---- reading ---- */

static bool may_read(const struct worker_stream *s)
{
    return !s->gone && !s->ended && (s->lingering || (!s->closed && s->h && !s->paused));
}

static void read_some(struct worker_stream *s)
{
    char *buffer = s->w->read_buffer;
    for (int i = 0; i < READS_A_TURN && may_read(s); i++) {
        ssize_t n = recv(s->fd, buffer, READ_BUFFER, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            finish(s, worker_err(errno));
            return;
        }
        if (n == 0) {
            s->ended = true;
            if (s->lingering)
                linger_step(s);
            else
                finish(s, ERR_OK);
            return;
        }
        if (!s->lingering)
            s->h->on_data(s->arg, (sv){buffer, (size_t)n});
        if (n < READ_BUFFER)
            return;
    }
}

/* ---- events ---- */

static void connected(struct worker_stream *s)
{
    enum err why = pending_error(s->fd);
    if (why) {
        finish(s, why);
        return;
    }
    s->connecting = false;
    s->base.local = worker_sockname(s->fd);
    if (!s->closed && s->h->on_open)
        s->h->on_open(s->arg);
}

static void drained(struct worker_stream *s)
{
    if (s->base.queued == 0 && s->h && s->h->on_drain)
        s->h->on_drain(s->arg);
}

static void write_some(struct worker_stream *s)
{
    enum err rc = queue_write(s);
    if (rc)
        finish(s, rc);
    else if (s->lingering)
        linger_step(s);
    else
        drained(s);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct worker_stream *s = CONTAINER(h, struct worker_stream, poll);
    worker_turn(s->w);
    if (s->gone)
        return;
    if (status < 0) { /* POLLERR: libuv stops polling. The calls below meet the error itself. */
        s->watched = 0;
        events = UV_READABLE | UV_WRITABLE;
    }
    if (s->connecting) {
        connected(s);
        if (s->gone || s->connecting)
            return;
        events |= UV_WRITABLE;
    }
    if (events & UV_READABLE) /* first: octets that came before the error */
        read_some(s);
    if (!s->gone && (events & UV_WRITABLE) && s->queue_n > 0)
        write_some(s);
    if (!s->gone && status < 0) {
        enum err why = pending_error(s->fd);
        if (why)
            finish(s, why);
    }
    watch(s);
}

static void on_later(struct deferred *d, void *arg)
{
    struct worker_stream *s = arg;
    (void)d;
    if (!s->why)
        s->why = write_turn(s);
    if (!s->why) {
        watch(s);
        drained(s);
        return;
    }
    if (!s->connecting)
        read_some(s); /* a peer that answered and left is heard first */
    if (!s->closed)
        finish(s, s->why);
}

static void fail(struct worker_stream *s, enum err why)
{
    s->why = why;
    loop_defer(&s->w->base, &s->later);
}

/* ---- what users call ---- */

static enum err stream_write(struct stream *stream, const sv *pieces, size_t n)
{
    struct worker_stream *s = CONTAINER(stream, struct worker_stream, base);
    size_t total = 0;
    enum err rc = ERR_OK;
    if (s->closed || s->why)
        return ERR_CLOSED;
    for (size_t i = 0; i < n; i++) {
        if (s->base.queued + total > s->base.queue_max ||
            pieces[i].n > s->base.queue_max - s->base.queued - total) {
            stat_refuse(&s->w->base.stats, STAT_LIMIT_WRITE_QUEUE);
            return ERR_TOOBIG;
        }
        total += pieces[i].n;
    }
    if (total == 0)
        return ERR_OK;
    if (s->connecting || s->queue_n > 0) {
        rc = queue_put(s, pieces, n, 0);
    } else if (sock_turn_put(&s->w->base, &s->turn, pieces, n)) {
        s->base.queued += total;
        loop_defer(&s->w->base, &s->later);
    } else {
        size_t k = n < PIECES_MAX ? n : PIECES_MAX;
        rc = write_now(s, pieces, k);
        if (!rc)
            rc = queue_put(s, pieces + k, n - k, 0);
    }
    if (rc) {
        fail(s, rc); /* part of it is out: the stream is of no use now */
        return rc == ERR_NOMEM ? rc : ERR_CLOSED;
    }
    watch(s);
    return ERR_OK;
}

static void stream_set_handler(struct stream *stream, const struct stream_handler *h, void *arg)
{
    struct worker_stream *s = CONTAINER(stream, struct worker_stream, base);
    s->h = h;
    s->arg = arg;
    watch(s);
}

static void stream_set_paused(struct stream *stream, bool on)
{
    struct worker_stream *s = CONTAINER(stream, struct worker_stream, base);
    s->paused = on;
    watch(s);
}

static void stream_end(struct stream *stream, bool flush)
{
    struct worker_stream *s = CONTAINER(stream, struct worker_stream, base);
    if (s->closed)
        return;
    if (!s->w) {
        close(s->fd);
        mem_free(s);
        return;
    }
    if (!s->why)
        s->why = write_turn(s); /* what was sent before the close leaves, unless there is no room */
    if (flush && !s->why && (!s->connecting || s->base.queued > 0) && !s->w->base.stopping)
        linger(s);
    else
        destroy(s);
}

/* ---- from loop to loop ---- */

static enum err stream_go(struct stream **stream)
{
    struct worker_stream *s = CONTAINER(*stream, struct worker_stream, base);
    if (s->closed || s->why || s->connecting || s->queue_n > 0)
        return ERR_BUSY;
    s->why = write_turn(s); /* on_later, which waits for the turn's end, tells of a failure */
    if (s->why || s->queue_n > 0)
        return ERR_BUSY;
    struct worker_stream *away = MEM_NEW(struct worker_stream);
    if (!away)
        return ERR_BUSY;
    away->base = s->base;
    away->base.loop = NULL;
    away->fd = s->fd;
    away->h = s->h;
    away->arg = s->arg;
    away->paused = s->paused;
    deferred_init(&away->later, on_later, away);
    timer_init(&away->linger, on_linger, away);
    list_init(&away->by_worker);
    s->closed = s->gone = true;
    loop_defer_cancel(&s->later);
    list_unlink(&s->by_worker);
    uv_close((uv_handle_t *)&s->poll, on_gone); /* epoll forgets the descriptor at once */
    *stream = &away->base;
    return ERR_OK;
}

static enum err stream_come(struct stream *stream, struct loop *l)
{
    struct worker_stream *s = CONTAINER(stream, struct worker_stream, base);
    struct worker *w = worker_of(l);
    if (uv_poll_init(&w->uv, &s->poll, s->fd) != 0)
        return ERR_IO;
    s->w = w;
    s->base.loop = l;
    list_push(&w->streams, &s->by_worker);
    watch(s);
    return ERR_OK;
}

static const struct stream_ops stream_ops = {
    .send = stream_write,
    .handle = stream_set_handler,
    .pause = stream_set_paused,
    .close = stream_end,
    .leave = stream_go,
    .join = stream_come,
};

/* Takes fd over, also on failure. */
static struct worker_stream *stream_new(struct worker *w, int fd)
{
    struct worker_stream *s = MEM_NEW(struct worker_stream);
    if (!s || uv_poll_init(&w->uv, &s->poll, fd) != 0) {
        mem_free(s);
        close(fd);
        return NULL;
    }
    s->base = (struct stream){.ops = &stream_ops,
                              .loop = &w->base,
                              .peer_uid = UINT32_MAX,
                              .created = (uint64_t)w->base.now,
                              .queue_max = STREAM_QUEUE_MAX};
    s->w = w;
    s->fd = fd;
    deferred_init(&s->later, on_later, s);
    timer_init(&s->linger, on_linger, s);
    list_push(&w->streams, &s->by_worker);
    return s;
}

static void set_int(int fd, int level, int option, int value)
{
    setsockopt(fd, level, option, &value, sizeof(value)); /* best effort */
}

void worker_tcp_options(int fd)
{
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S);
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S);
    set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT);
    set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKED_MS);
}

struct stream *worker_stream_accepted(struct worker *w, int fd, const struct addr *peer,
                                      const struct addr *bound)
{
    struct worker_stream *s = stream_new(w, fd);
    if (!s)
        return NULL;
    if (peer) {
        s->base.peer = *peer;
        s->base.local = addr_is_any(bound) ? worker_sockname(fd) : *bound;
    } else {
        struct ucred cred;
        socklen_t n = sizeof(cred);
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0)
            s->base.peer_uid = cred.uid;
    }
    return &s->base;
}

void worker_stream_begin(struct stream *stream)
{
    struct worker_stream *s = CONTAINER(stream, struct worker_stream, base);
    if (!s->closed && !s->h)
        destroy(s);
    else
        watch(s);
}

/* A failure that has a peer's address in it comes by on_close, whether the kernel knows it at once
 * or later. */
static enum err start_connect(int fd, const struct addr *local, const struct addr *to,
                              enum err *ret_later)
{
    struct sockaddr_storage sa;
    *ret_later = ERR_OK;
    if (local) {
        set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        if (local->port != 0)
            set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1); /* beside our own listener there */
        if (bind(fd, (struct sockaddr *)&sa, worker_sockaddr(local, &sa)) != 0)
            return worker_err(errno);
    }
    socklen_t n = worker_sockaddr(to, &sa);
    if (connect(fd, (struct sockaddr *)&sa, n) == 0 || errno == EINPROGRESS)
        return ERR_OK;
    if (errno == ECONNREFUSED || errno == ETIMEDOUT || errno == EHOSTUNREACH) {
        *ret_later = worker_err(errno);
        return ERR_OK;
    }
    /* EADDRNOTAVAIL here: no local port is free */
    return errno == EADDRNOTAVAIL ? ERR_BUSY : worker_err(errno);
}

enum err worker_connect(struct loop *l, const struct addr *local, const struct addr *to,
                        const struct stream_handler *h, void *arg, struct stream **ret_stream)
{
    struct worker *w = worker_of(l);
    int fd;
    enum err later;
    if (l->stopping)
        return ERR_STATE;
    if (local && (local->family != to->family || (addr_is_any(local) && local->port == 0)))
        local = NULL;
    TRY(worker_socket(to, SOCK_STREAM, &fd));
    worker_tcp_options(fd);
    enum err rc = start_connect(fd, local, to, &later);
    if (rc) {
        close(fd);
        return rc;
    }
    struct worker_stream *s = stream_new(w, fd);
    if (!s)
        return ERR_NOMEM;
    s->base.peer = *to;
    s->h = h;
    s->arg = arg;
    s->connecting = true;
    if (later)
        fail(s, later);
    else
        watch(s);
    *ret_stream = &s->base;
    return ERR_OK;
}

void worker_stream_done(struct worker *w)
{
    LIST_EACH_SAFE (s, &w->streams, struct worker_stream, by_worker) {
        (void)(write_turn(s) || (s->lingering && queue_write(s)));
        destroy(s);
    }
}
