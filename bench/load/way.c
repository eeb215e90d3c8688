/* SPDX-License-Identifier: MIT */
/* way.c: UDP sockets and connections of callers and callees, non-blocking, on one epoll. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "load.h"

enum { BATCH = 32, STREAM_BUFFER = 262144, SOCKET_BUFFER = 4 << 20 };

struct way {
    enum { DATAGRAMS, STREAM, BROKEN, ENDED } kind; /* broken: by the server */
    int fd;
    SSL *ssl; /* NULL: plain */
    bool fresh, wants_out;
    struct sockaddr_in local;
    size_t in_n, out_n;
    char *in, *out; /* of a stream, STREAM_BUFFER each */
    struct way *next_ended;
};

static int poller;
static struct way *callers[WAYS_MAX], *callees[WAYS_MAX], *ended;
static SSL_CTX *tls; /* NULL: none */

uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void watch(struct way *w, int how, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = w};
    if (epoll_ctl(poller, how, w->fd, &e) != 0)
        die("epoll_ctl");
}

static struct way *way_new(int kind, int fd, uint32_t events)
{
    struct way *w = calloc(1, sizeof(*w));
    if (!w)
        die("memory");
    w->kind = kind;
    w->fd = fd;
    socklen_t n = sizeof(w->local);
    getsockname(fd, (struct sockaddr *)&w->local, &n);
    if (kind == STREAM) {
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        w->in = malloc(STREAM_BUFFER);
        w->out = malloc(STREAM_BUFFER);
        if (!w->in || !w->out)
            die("memory");
    }
    watch(w, EPOLL_CTL_ADD, events);
    return w;
}

static int bound(int type, struct in_addr ip, in_port_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = port, .sin_addr = ip};
    int one = 1, size = SOCKET_BUFFER;
    int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (type == SOCK_DGRAM) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one));
    }
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0)
        die("bind");
    return fd;
}

static struct way *datagrams(struct in_addr ip, in_port_t port)
{
    int fd = bound(SOCK_DGRAM, ip, port);
    if (connect(fd, (struct sockaddr *)&plan.server, sizeof(plan.server)) != 0)
        die("connect");
    return way_new(DATAGRAMS, fd, EPOLLIN);
}

static struct way *connection(struct in_addr ip, in_port_t port)
{
    int fd = bound(SOCK_STREAM, ip, port);
    if (connect(fd, (struct sockaddr *)&plan.server, sizeof(plan.server)) != 0 &&
        errno != EINPROGRESS)
        die("connect");
    struct way *w = way_new(STREAM, fd, EPOLLIN | EPOLLOUT);
    w->wants_out = true;
    if (tls) {
        w->ssl = SSL_new(tls);
        SSL_set_fd(w->ssl, fd);
        SSL_set_connect_state(w->ssl);
    }
    return w;
}

static struct way *open_way(struct in_addr ip, in_port_t port)
{
    return plan.transport == UDP ? datagrams(ip, port) : connection(ip, port);
}

void ways_open(bool with_callees)
{
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (plan.transport == TLS) {
        tls = SSL_CTX_new(TLS_client_method());
        if (!tls)
            die("TLS");
        SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_mode(tls, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_ENABLE_PARTIAL_WRITE);
    }
    for (unsigned i = 0; i < plan.ports; i++) {
        uint16_t port = (uint16_t)(ntohs(plan.callee.sin_port) + i);
        if (with_callees)
            callees[i] = open_way(plan.callee.sin_addr, htons(port));
        if (plan.kind != REGISTER && !plan.fresh)
            callers[i] = open_way(plan.caller, 0);
    }
}

struct way *way_of_callee(uint32_t user)
{
    return callees[user % plan.ports];
}

struct way *way_of_caller(uint32_t serial)
{
    if (!plan.fresh)
        return callers[serial % plan.ports];
    struct way *w = connection(plan.caller, 0);
    w->fresh = true;
    return w;
}

struct sockaddr_in way_local(const struct way *w)
{
    return w->local;
}

/* ---- streams ---- */

/* Freed once no event of this round can name it. */
static void end(struct way *w)
{
    if (w->kind == ENDED)
        return;
    w->kind = ENDED;
    if (w->ssl) {
        SSL_shutdown(w->ssl);
        SSL_free(w->ssl);
    }
    close(w->fd);
    w->next_ended = ended;
    ended = w;
}

static void free_ended(void)
{
    while (ended) {
        struct way *w = ended;
        ended = w->next_ended;
        free(w->in);
        free(w->out);
        free(w);
    }
}

/* A fresh connection belongs to its operation, which will time out. */
static void lost(struct way *w)
{
    for (unsigned i = 0; i < plan.ports; i++)
        if (callers[i] == w || callees[i] == w)
            die("the server closed a connection");
    epoll_ctl(poller, EPOLL_CTL_DEL, w->fd, NULL);
    w->kind = BROKEN;
}

/* Bytes moved; 0: not now; -1: the connection has ended. */
static ssize_t moved(struct way *w, ssize_t n)
{
    if (n > 0)
        return n;
    if (w->ssl) {
        int why = SSL_get_error(w->ssl, (int)n);
        ERR_clear_error();
        return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN) ? 0 : -1;
}

static void flush(struct way *w)
{
    while (w->out_n > 0) {
        ssize_t n = moved(w, w->ssl ? SSL_write(w->ssl, w->out, (int)w->out_n)
                                    : send(w->fd, w->out, w->out_n, MSG_NOSIGNAL));
        if (n < 0) {
            lost(w);
            return;
        }
        if (n == 0)
            break;
        w->out_n -= (size_t)n;
        memmove(w->out, w->out + n, w->out_n);
    }
    bool wants = w->out_n > 0 && !(w->ssl && SSL_want_read(w->ssl));
    if (wants != w->wants_out)
        watch(w, EPOLL_CTL_MOD, EPOLLIN | (wants ? EPOLLOUT : 0));
    w->wants_out = wants;
}

void way_send(struct way *w, const char *text, size_t n)
{
    if (w->kind == DATAGRAMS) {
        if (send(w->fd, text, n, MSG_NOSIGNAL) < 0 && errno != ECONNREFUSED && errno != EAGAIN)
            die("send");
    } else if (w->kind == STREAM) {
        if (w->out_n + n > STREAM_BUFFER)
            die("the server does not read");
        memcpy(w->out + w->out_n, text, n);
        w->out_n += n;
        flush(w);
    }
}

void way_release(struct way *w)
{
    if (w->fresh)
        end(w);
}

/* Hands on the whole messages of w->in. */
static void cut(struct way *w)
{
    size_t at = 0;
    for (;;) {
        while (at < w->in_n && (w->in[at] == '\r' || w->in[at] == '\n'))
            at++;
        char *start = w->in + at, *blank = memmem(start, w->in_n - at, "\r\n\r\n", 4);
        if (!blank)
            break;
        *blank = 0;
        const char *length = strcasestr(start, "\nContent-Length:");
        *blank = '\r';
        size_t n = (size_t)(blank - start) + 4 + (length ? strtoul(length + 16, NULL, 10) : 0);
        if (at + n > w->in_n)
            break;
        char after = start[n]; /* in_n stays below the buffer's size */
        start[n] = 0;
        talk_take(w, start, n, 0);
        if (w->kind != STREAM)
            return;
        start[n] = after;
        at += n;
    }
    w->in_n -= at;
    memmove(w->in, w->in + at, w->in_n);
}

static void read_stream(struct way *w)
{
    for (;;) {
        size_t room = STREAM_BUFFER - 1 - w->in_n;
        if (room == 0)
            die("a message is too long");
        ssize_t n = moved(w, w->ssl ? SSL_read(w->ssl, w->in + w->in_n, (int)room)
                                    : recv(w->fd, w->in + w->in_n, room, 0));
        if (n < 0) {
            lost(w);
            return;
        }
        if (n == 0)
            return;
        w->in_n += (size_t)n;
        cut(w);
        if (w->kind != STREAM)
            return;
    }
}

/* ---- datagrams ---- */

static uint64_t stamp(struct msghdr *m)
{
    struct timespec t;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
            continue;
        memcpy(&t, CMSG_DATA(c), sizeof(t));
        return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
    }
    return 0;
}

static void read_datagrams(struct way *w)
{
    static char text[BATCH][MESSAGE_MAX], control[BATCH][64];
    struct mmsghdr m[BATCH];
    struct iovec v[BATCH];
    for (int i = 0; i < BATCH; i++) {
        v[i] = (struct iovec){text[i], MESSAGE_MAX - 1};
        m[i].msg_hdr = (struct msghdr){.msg_iov = &v[i],
                                       .msg_iovlen = 1,
                                       .msg_control = control[i],
                                       .msg_controllen = sizeof(control[i])};
    }
    int n = recvmmsg(w->fd, m, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++) {
        text[i][m[i].msg_len] = 0;
        talk_take(w, text[i], m[i].msg_len, stamp(&m[i].msg_hdr));
    }
}

void ways_wait(uint64_t until)
{
    struct epoll_event events[64];
    uint64_t at = now(), left = until > at ? until - at : 0;
    struct timespec t = {(time_t)(left / SECOND), (long)(left % SECOND)};
    int n = epoll_pwait2(poller, events, 64, &t, NULL);
    for (int i = 0; i < n; i++) {
        struct way *w = events[i].data.ptr;
        if (w->kind == DATAGRAMS) {
            read_datagrams(w);
        } else if (w->kind == STREAM) {
            read_stream(w);
            if (w->kind == STREAM)
                flush(w);
        }
    }
    free_ended();
}
