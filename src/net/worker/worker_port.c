/* SPDX-License-Identifier: MIT */
/* Datagram sockets of one worker alone, of which there are many: media's ports.
 *
 * Such a port has no queue and nothing of its own beyond what poll needs. What it receives lies in a
 * block of the pool; a user may change the octets there and send that very block on. What all of
 * them send in a turn waits in one list of the worker's, so that a turn first empties its sockets and
 * then wakes the receivers. A datagram that the kernel does not take at once is lost, as one that
 * comes too late would be.
 *
 * Mostly one datagram waits at a port, so one is read; poll tells of a second one in the next turn, and
 * who is ready twice in a row is emptied.
 *
 * A port that talks with one peer gets a second socket at the same address, connected to that peer: the
 * kernel then looks for no route, and has less to look for on the way in. It is nothing but a shorter
 * way: all others are heard by the first socket as ever, and where it fails it is closed. */
#include "worker/worker_priv.h"
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    PORT_BATCH = 32,   /* a turn and socket: a flood at one port holds up nobody else */
    PORT_BLOCK = 2048, /* longer datagrams are not media's, and are cut off and dropped */
    PORT_OUT = 64,     /* that wait to leave; more leave at once */
    PORT_SEND_TRIES = 2,
    TALK = 32 /* datagrams in a row to one address are talk */
};
/* ... if they did not take longer: RTCP is none. */
static const usec talk_within = 4 * USEC_S;

struct leaving {
    struct worker_port *port;
    struct block *b;
    bool to_peer;
    struct addr to;
};

/* Scratch of one worker, for all its ports. */
struct port_batch {
    struct block *block; /* for the next datagram; NULL: none yet */
    unsigned turn;
    int fd_most; /* connected sockets have no higher one: they take none from those who need it */
    unsigned out_n;
    struct leaving out[PORT_OUT];
};

/* EVERYBODY stands as long as the port. */
enum { EVERYBODY, PEER, SOCKETS };
struct port_socket {
    uv_poll_t poll;
    struct worker_port *port;
    int fd;      /* -1: closed */
    bool polled; /* poll is libuv's until it says that it has gone */
};

struct worker_port {
    struct link by_worker;
    struct port_socket socket[SOCKETS];
    struct udp base;
    struct worker *w;
    const struct udp_handler *h;
    void *arg;
    bool closed;
    uint8_t dscp;
    unsigned ready;   /* the turn in which it was ready last */
    struct addr peer; /* who was sent to last, or is talked with */
    unsigned talk;    /* datagrams to it since `since` */
    unsigned strays;  /* in a row to others, while there is a socket for the peer */
    usec since;
};

/* ---- sockets ---- */

static void free_when_gone(struct worker_port *u)
{
    if (u->closed && !u->socket[EVERYBODY].polled && !u->socket[PEER].polled)
        MEM_GIVE(u);
}

static void on_gone(uv_handle_t *h)
{
    struct port_socket *s = CONTAINER((uv_poll_t *)h, struct port_socket, poll);
    s->polled = false;
    free_when_gone(s->port);
}

static void close_socket(struct port_socket *s)
{
    if (s->fd < 0)
        return;
    uv_close((uv_handle_t *)&s->poll, on_gone);
    close(s->fd);
    s->fd = -1;
}

static void hang_up(struct worker_port *u)
{
    close_socket(&u->socket[PEER]);
    u->talk = u->strays = 0;
    u->since = u->w->base.now;
}

static void on_poll(uv_poll_t *h, int status, int events);

/* Takes fd over, also on failure. */
static bool poll_socket(struct worker_port *u, struct port_socket *s, int fd)
{
    if (uv_poll_init(&u->w->uv, &s->poll, fd) != 0) {
        close(fd);
        return false;
    }
    s->port = u;
    s->fd = fd;
    s->polled = true;
    uv_poll_start(&s->poll, UV_READABLE, on_poll);
    return true;
}

static void set_int(int fd, int level, int name, int value)
{
    setsockopt(fd, level, name, &value, sizeof(value)); /* best effort */
}

static void set_dscp(int fd, unsigned family, uint8_t dscp)
{
    if (family == 4)
        set_int(fd, IPPROTO_IP, IP_TOS, dscp << 2);
    else
        set_int(fd, IPPROTO_IPV6, IPV6_TCLASS, dscp << 2);
}

/* Binds where the port is and connects. Between the two it may get what is for everybody, which is why
 * what comes by it is asked for its sender too. The port is shared for that moment only: a process
 * beside us could take it with us else. */
static bool join(struct worker_port *u, int fd)
{
    struct sockaddr_storage here, there;
    socklen_t n = worker_sockaddr(&u->base.local, &here);
    int all = u->socket[EVERYBODY].fd;
    set_int(all, SOL_SOCKET, SO_REUSEADDR, 1);
    set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    bool joined = bind(fd, (const struct sockaddr *)&here, n) == 0;
    set_int(all, SOL_SOCKET, SO_REUSEADDR, 0);
    set_int(fd, SOL_SOCKET, SO_REUSEADDR, 0);
    n = worker_sockaddr(&u->peer, &there);
    return joined && connect(fd, (const struct sockaddr *)&there, n) == 0;
}

/* The peer gets a socket of its own, if there is one to be had. */
static void call_up(struct worker_port *u)
{
    struct worker *w = u->w;
    struct port_batch *t = w->ports_batch;
    int fd;
    bool talks = w->base.now - u->since <= talk_within;
    u->talk = 0;
    u->since = w->base.now;
    if (!talks || u->socket[PEER].polled || worker_socket(&u->base.local, SOCK_DGRAM, &fd))
        return;
    if (fd > t->fd_most || !join(u, fd)) {
        close(fd);
        return;
    }
    if (u->dscp)
        set_dscp(fd, u->base.local.family, u->dscp);
    poll_socket(u, &u->socket[PEER], fd);
}

/* ---- sending ---- */

/* False: it must go by the other socket. */
static bool leave_to_peer(struct worker_port *u, const struct block *b, bool *ret_sent)
{
    *ret_sent = send(u->socket[PEER].fd, b->p, b->n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
    if (*ret_sent || errno == EAGAIN || errno == EMSGSIZE)
        return true;
    hang_up(u); /* nobody is there (ICMP), or the route has gone */
    return false;
}

/* ICMP of an earlier datagram may end a call to send; the next one is about this datagram. */
static bool leave(const struct leaving *o)
{
    struct worker_port *u = o->port;
    struct sockaddr_storage to;
    bool sent = false;
    if (o->to_peer && u->socket[PEER].fd >= 0 && leave_to_peer(u, o->b, &sent))
        return sent;
    socklen_t n = worker_sockaddr(&o->to, &to);
    for (int i = 0; i < PORT_SEND_TRIES; i++) {
        if (sendto(u->socket[EVERYBODY].fd, o->b->p, o->b->n, MSG_DONTWAIT | MSG_NOSIGNAL,
                   (const struct sockaddr *)&to, n) >= 0)
            return true;
        if (errno == EAGAIN || errno == EMSGSIZE)
            return false;
    }
    return false;
}

static void leave_all(struct worker *w)
{
    struct port_batch *t = w->ports_batch;
    unsigned lost = 0;
    for (unsigned i = 0; i < t->out_n; i++) {
        lost += !leave(&t->out[i]);
        block_unref(t->out[i].b);
    }
    t->out_n = 0;
    if (lost > 0)
        stat_add(&w->base.stats, STAT_MEDIA_UNSENT, lost);
}

void worker_port_flush(struct worker *w)
{
    struct port_batch *t = w->ports_batch;
    if (!t)
        return;
    t->turn++;
    if (t->out_n > 0)
        leave_all(w);
}

/* Whether it goes to who is talked with. Now and then a datagram is for others, as a check of ICE is. */
static bool is_talk(struct worker_port *u, const struct addr *to)
{
    if (addr_equal(to, &u->peer)) {
        u->talk++;
        u->strays = 0;
        return true;
    }
    if (u->socket[PEER].fd < 0 || ++u->strays == TALK) {
        hang_up(u);
        u->peer = *to;
    }
    return false;
}

static enum err port_send_block(struct udp *udp, const struct addr *to, struct block *b)
{
    struct worker_port *u = CONTAINER(udp, struct worker_port, base);
    struct port_batch *t = u->w->ports_batch;
    if (to->family != udp->local.family || u->closed) {
        block_unref(b);
        return ERR_UNREACHABLE;
    }
    if (t->out_n == PORT_OUT)
        leave_all(u->w);
    t->out[t->out_n++] = (struct leaving){.port = u, .b = b, .to_peer = is_talk(u, to), .to = *to};
    return ERR_OK;
}

static enum err port_send(struct udp *udp, const struct addr *from, const struct addr *to,
                          const sv *pieces, size_t n)
{
    size_t total = 0;
    (void)from; /* it is bound to one address */
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].n > UDP_MAX - total)
            return ERR_TOOBIG;
        total += pieces[i].n;
    }
    struct block *b = block_new(udp->loop->blocks, total);
    if (!b)
        return ERR_BUSY;
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].n > 0)
            memcpy(b->p + b->n, pieces[i].p, pieces[i].n);
        b->n += (uint32_t)pieces[i].n;
    }
    return port_send_block(udp, to, b);
}

/* ---- receiving ---- */

static void deliver(struct worker_port *u, struct port_socket *s, struct block *b,
                    const struct addr *from)
{
    if (s == &u->socket[EVERYBODY] && u->talk >= TALK && u->socket[PEER].fd < 0 &&
        addr_equal(from, &u->peer))
        call_up(u);
    u->h->on_datagram(u->arg, b, from, &u->base.local);
}

/* One datagram. False: there is none. */
static bool receive(struct worker_port *u, struct port_socket *s)
{
    struct port_batch *t = u->w->ports_batch;
    struct sockaddr_storage name;
    socklen_t name_n = sizeof(name);
    if (!t->block)
        t->block = block_new(u->w->base.blocks, PORT_BLOCK);
    struct block *b = t->block;
    /* Without a block it is taken from the kernel, to drop it. */
    ssize_t n = recvfrom(s->fd, b ? b->p : NULL, b ? b->cap : 0, MSG_DONTWAIT | MSG_TRUNC,
                         (struct sockaddr *)&name, &name_n);
    if (n < 0)
        return false;
    if (!b || (size_t)n > b->cap) {
        stat_add(&u->w->base.stats, b ? STAT_MEDIA_LONG : STAT_MEDIA_UNREAD, 1);
        return true;
    }
    struct addr from = worker_addr(&name);
    t->block = NULL;
    b->n = (uint32_t)n;
    if (from.family && from.port)
        deliver(u, s, b, &from);
    block_unref(b);
    return true;
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct port_socket *s = CONTAINER(h, struct port_socket, poll);
    struct worker_port *u = s->port;
    struct port_batch *t = u->w->ports_batch;
    (void)events;
    worker_turn(u->w);
    if (s->fd < 0)
        return;
    if (status < 0 && s == &u->socket[PEER]) { /* nobody is there (ICMP) */
        hang_up(u);
        return;
    }
    if (status < 0) { /* POLLERR: libuv stops polling */
        int e;
        socklen_t n = sizeof(e);
        getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &e, &n); /* clears it */
        uv_poll_start(&s->poll, UV_READABLE, on_poll);
    }
    bool again = t->turn - u->ready <= 1;
    u->ready = t->turn;
    for (int i = again ? PORT_BATCH : 1; i > 0 && s->fd >= 0 && receive(u, s); i--)
        ;
}

/* ---- opening and closing ---- */

static void port_close(struct udp *udp)
{
    struct worker_port *u = CONTAINER(udp, struct worker_port, base);
    if (u->closed)
        return;
    leave_all(u->w); /* nothing that waits may name it */
    u->closed = true;
    list_unlink(&u->by_worker);
    close_socket(&u->socket[PEER]);
    close_socket(&u->socket[EVERYBODY]);
}

static void port_mark(struct udp *udp, uint8_t dscp)
{
    struct worker_port *u = CONTAINER(udp, struct worker_port, base);
    u->dscp = dscp;
    for (unsigned i = 0; i < SOCKETS; i++) {
        if (u->socket[i].fd >= 0)
            set_dscp(u->socket[i].fd, udp->local.family, dscp);
    }
}

static const struct udp_ops port_ops = {
    .send = port_send, .send_block = port_send_block, .mark = port_mark, .close = port_close};

static enum err scratch_of(struct worker *w)
{
    struct rlimit files;
    if (w->ports_batch)
        return ERR_OK;
    w->ports_batch = MEM_NEW(struct port_batch);
    if (!w->ports_batch)
        return ERR_NOMEM;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        w->ports_batch->fd_most =
            files.rlim_cur / 2 < INT_MAX ? (int)(files.rlim_cur / 2) : INT_MAX;
    return ERR_OK;
}

enum err worker_port_open(struct loop *l, const struct addr *at, const struct udp_handler *h,
                          void *arg, struct udp **ret_udp)
{
    struct worker *w = worker_of(l);
    struct sockaddr_storage sa;
    int fd;
    if (l->stopping)
        return ERR_STATE;
    TRY(scratch_of(w));
    TRY(worker_socket(at, SOCK_DGRAM, &fd));
    socklen_t n = worker_sockaddr(at, &sa);
    struct worker_port *u = NULL;
    enum err rc = ERR_OK;
    if (bind(fd, (const struct sockaddr *)&sa, n) != 0)
        rc = worker_err(errno);
    else if (!(u = MEM_TAKE(struct worker_port)))
        rc = ERR_NOMEM;
    if (rc) {
        close(fd);
        return rc;
    }
    u->base = (struct udp){.ops = &port_ops, .loop = l, .local = worker_sockname(fd)};
    u->w = w;
    u->h = h;
    u->arg = arg;
    u->ready = w->ports_batch->turn - 2; /* not in the turn before */
    u->socket[PEER].fd = -1;
    u->socket[PEER].port = u;
    if (!poll_socket(u, &u->socket[EVERYBODY], fd)) {
        MEM_GIVE(u);
        return ERR_IO;
    }
    list_push(&w->ports, &u->by_worker);
    *ret_udp = &u->base;
    return ERR_OK;
}

void worker_port_done(struct worker *w)
{
    LIST_EACH_SAFE (u, &w->ports, struct worker_port, by_worker) {
        port_close(&u->base);
    }
    if (!w->ports_batch)
        return;
    block_unref(w->ports_batch->block);
    mem_free(w->ports_batch);
}
