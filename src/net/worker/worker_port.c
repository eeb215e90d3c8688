/* SPDX-License-Identifier: MIT */
/* Datagram sockets of one worker alone, of which there are many: media's ports.
 *
 * Such a socket has no queue and nothing of its own beyond what poll needs. What it receives lies in a
 * block of the pool; a user may change the octets there and send that very block on. What all of
 * them send in a turn waits in one list of the worker's, so that a turn first empties its sockets and
 * then wakes the receivers. A datagram that the kernel does not take at once is lost, as one that
 * comes too late would be. */
#include "worker/worker_priv.h"
#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

enum {
    PORT_BATCH = 16,   /* datagrams of a socket at a time */
    PORT_BATCHES = 2,  /* a turn and socket: a flood at one port holds up nobody else */
    PORT_BLOCK = 2048, /* longer datagrams are not media's, and are cut off and dropped */
    PORT_OUT = 64,     /* that wait to leave; more leave at once */
    PORT_SEND_TRIES = 2
};

struct leaving {
    int fd;
    socklen_t to_n;
    struct block *b;
    struct sockaddr_storage to;
};

/* Scratch of one worker, for all its ports. */
struct port_batch {
    struct mmsghdr msg[PORT_BATCH];
    struct iovec iov[PORT_BATCH];
    struct sockaddr_storage name[PORT_BATCH];
    struct block *block[PORT_BATCH];
    unsigned out_n;
    struct leaving out[PORT_OUT];
};

struct worker_port {
    struct udp base;
    struct worker *w;
    uv_poll_t poll;
    int fd;
    const struct udp_handler *h;
    void *arg;
    bool closed;
    struct link by_worker;
};

/* ---- sending ---- */

/* ICMP of an earlier datagram may end a call to send; the next one is about this datagram. */
static bool leave(const struct leaving *o)
{
    for (int i = 0; i < PORT_SEND_TRIES; i++) {
        ssize_t sent = sendto(o->fd, o->b->p, o->b->n, MSG_DONTWAIT | MSG_NOSIGNAL,
                              (const struct sockaddr *)&o->to, o->to_n);
        if (sent >= 0)
            return true;
        if (errno == EAGAIN || errno == EMSGSIZE)
            return false;
    }
    return false;
}

void worker_port_flush(struct worker *w)
{
    struct port_batch *t = w->ports_batch;
    if (!t || t->out_n == 0)
        return;
    unsigned lost = 0;
    for (unsigned i = 0; i < t->out_n; i++) {
        lost += !leave(&t->out[i]);
        block_unref(t->out[i].b);
    }
    t->out_n = 0;
    if (lost > 0)
        stat_add(&w->base.stats, STAT_MEDIA_UNSENT, lost);
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
        worker_port_flush(u->w);
    struct leaving *o = &t->out[t->out_n++];
    o->fd = u->fd;
    o->b = b;
    o->to_n = worker_sockaddr(to, &o->to);
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

/* The first n slots: what a call used is made ready again, mostly that is one. */
static void prepare(struct worker *w, struct port_batch *t, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct block *b = t->block[i];
        if (!b)
            b = t->block[i] = block_new(w->base.blocks, PORT_BLOCK);
        t->iov[i].iov_base = b ? b->p : NULL;
        t->iov[i].iov_len =
            b ? b->cap : 0; /* without a block it is taken from the kernel, to drop it */
        t->msg[i].msg_hdr = (struct msghdr){.msg_name = &t->name[i],
                                            .msg_namelen = sizeof(t->name[i]),
                                            .msg_iov = &t->iov[i],
                                            .msg_iovlen = 1};
    }
}

static void deliver(struct worker_port *u, struct port_batch *t, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct block *b = t->block[i];
        struct addr from = worker_addr(&t->name[i]);
        t->block[i] = NULL;
        if (b && !u->closed && from.family && from.port &&
            !(t->msg[i].msg_hdr.msg_flags & MSG_TRUNC)) {
            b->n = t->msg[i].msg_len;
            u->h->on_datagram(u->arg, b, &from, &u->base.local);
        }
        block_unref(b);
    }
}

static void receive(struct worker_port *u)
{
    struct worker *w = u->w;
    struct port_batch *t = w->ports_batch;
    for (int i = 0; i < PORT_BATCHES && !u->closed; i++) {
        int n = recvmmsg(u->fd, t->msg, PORT_BATCH, MSG_DONTWAIT, NULL);
        if (n <= 0)
            return;
        deliver(u, t, (unsigned)n);
        prepare(w, t, (unsigned)n);
        if (n < PORT_BATCH)
            return;
    }
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct worker_port *u = CONTAINER(h, struct worker_port, poll);
    (void)events;
    worker_turn(u->w);
    if (u->closed)
        return;
    if (status < 0) { /* POLLERR: libuv stops polling */
        int e;
        socklen_t n = sizeof(e);
        getsockopt(u->fd, SOL_SOCKET, SO_ERROR, &e, &n); /* clears it */
        uv_poll_start(&u->poll, UV_READABLE, on_poll);
    }
    receive(u);
}

/* ---- opening and closing ---- */

static void on_gone(uv_handle_t *h)
{
    struct worker_port *u = CONTAINER((uv_poll_t *)h, struct worker_port, poll);
    MEM_GIVE(u);
}

static void port_close(struct udp *udp)
{
    struct worker_port *u = CONTAINER(udp, struct worker_port, base);
    if (u->closed)
        return;
    worker_port_flush(u->w); /* its descriptor will soon be another's */
    u->closed = true;
    list_unlink(&u->by_worker);
    uv_close((uv_handle_t *)&u->poll, on_gone);
    close(u->fd);
}

static void port_mark(struct udp *udp, uint8_t dscp)
{
    struct worker_port *u = CONTAINER(udp, struct worker_port, base);
    int tos = dscp << 2;
    if (udp->local.family == 4)
        setsockopt(u->fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos)); /* best effort */
    else
        setsockopt(u->fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
}

static const struct udp_ops port_ops = {
    .send = port_send, .send_block = port_send_block, .mark = port_mark, .close = port_close};

static enum err scratch_of(struct worker *w)
{
    if (w->ports_batch)
        return ERR_OK;
    w->ports_batch = MEM_NEW(struct port_batch);
    if (!w->ports_batch)
        return ERR_NOMEM;
    prepare(w, w->ports_batch, PORT_BATCH);
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
    else if (uv_poll_init(&w->uv, &u->poll, fd) != 0)
        rc = ERR_IO;
    if (rc) {
        close(fd);
        if (u)
            MEM_GIVE(u);
        return rc;
    }
    u->base = (struct udp){.ops = &port_ops, .loop = l, .local = worker_sockname(fd)};
    u->w = w;
    u->fd = fd;
    u->h = h;
    u->arg = arg;
    list_push(&w->ports, &u->by_worker);
    uv_poll_start(&u->poll, UV_READABLE, on_poll);
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
    for (unsigned i = 0; i < PORT_BATCH; i++)
        block_unref(w->ports_batch->block[i]);
    mem_free(w->ports_batch);
}
