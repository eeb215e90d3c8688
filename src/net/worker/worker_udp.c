/* SPDX-License-Identifier: MIT */
/* Datagram sockets: recvmmsg into blocks of the pool, sendmmsg at the end of the turn.
 *
 *   receive   each slot of the batch has a block and, behind it in the same iovec, 64 KiB of
 *             overflow: what fits the block (nearly all) is not copied, longer datagrams are put
 *             together in a block of their size
 *   send      a ring of blocks; flushed when a batch is full or the turn ends; what the kernel
 *             does not take waits until the socket is writable, up to the ring's size
 *   errors    ICMP comes by the error queue (ip(7), IP_RECVERR), names the destination and quotes the
 *             datagram; no error of one destination ever ends the socket or holds up another's
 *             datagrams, and none is laid to the datagram that was being sent when it came */
#include "worker/worker_priv.h"
#include <errno.h>
#include <linux/errqueue.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BATCH = 64,
    RECEIVE_BATCHES = 4,  /* a turn and socket */
    RECEIVE_BLOCK = 2048, /* the pool's smallest class */
    SEND_RING = 1024,     /* datagrams that wait; a power of two */
    SEND_AT = 16,         /* so many leave before the turn's end: the first wait for no more */
    ERRORS_KEPT = 16,     /* of one turn; more are as silent as loss */
    KERNEL_BUFFER = 4 * 1024 * 1024,
    CONTROL = 64, /* fits either pktinfo */
    ERROR_CONTROL = 512,
    QUOTED_MAX = 1280, /* of a refused datagram: routers quote up to 576 or 1280 octets of it */
    SEND_TRIES = 8,    /* of one datagram, each time told of another's ICMP; then it is lost */
    PAYLOAD4_MAX = 65507,
    PAYLOAD6_MAX = 65527,
};
_Static_assert(CMSG_SPACE(sizeof(struct in6_pktinfo)) <= CONTROL, "control buffers hold pktinfo");

union control {
    char octets[CONTROL];
    struct cmsghdr align;
};

/* Scratch of one worker, for all its sockets. */
struct udp_batch {
    struct mmsghdr msg[BATCH];
    struct iovec iov[BATCH][2];
    struct sockaddr_storage name[BATCH];
    union control control[BATCH];
    struct block *block[BATCH];
    bool lacking;   /* a slot found no block: all are looked at again */
    unsigned used;  /* slots from the first that the last call may have changed */
    char *overflow; /* BATCH times UDP_MAX; pages appear when first used */
    struct mmsghdr out[BATCH];
    struct iovec out_iov[BATCH];
    struct sockaddr_storage out_name[BATCH];
    union control out_control[BATCH];
};

struct waiting {
    struct block *b;
    struct addr to, from; /* from.family 0: the kernel chooses */
};

struct refused {
    struct addr to;
    enum err why;
    struct block *octets;
};

struct worker_udp {
    struct udp base;
    struct worker *w;
    uv_poll_t poll;
    int fd;
    const struct udp_handler *h;
    void *arg;
    struct bound *bound;
    bool wildcard, closed;
    bool blocked;     /* the kernel's buffer is full: polled for writing */
    uint32_t dropped; /* by the kernel, as it told last */
    struct link by_worker, by_dirty;
    unsigned head, count; /* of ring */
    unsigned errors;
    struct refused error[ERRORS_KEPT];
    struct waiting ring[SEND_RING];
};

static void mark_dirty(struct worker_udp *u)
{
    if (!list_linked(&u->by_dirty))
        list_push(&u->w->udps_dirty, &u->by_dirty);
}

static void keep_error(struct worker_udp *u, const struct waiting *o, enum err why)
{
    if (u->errors == ERRORS_KEPT)
        return;
    u->error[u->errors++] = (struct refused){o->to, why, block_ref(o->b)};
    mark_dirty(u);
}

/* ---- sending ---- */

/* The local address as control message. */
static size_t put_source(union control *c, const struct addr *from)
{
    struct cmsghdr *h = &c->align;
    memset(c, 0, sizeof(*c));
    if (from->family == 4) {
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, from->ip, 4);
        *h = (struct cmsghdr){CMSG_LEN(sizeof(info)), IPPROTO_IP, IP_PKTINFO};
        memcpy(CMSG_DATA(h), &info, sizeof(info));
        return CMSG_SPACE(sizeof(info));
    }
    struct in6_pktinfo info6 = {.ipi6_ifindex = from->scope};
    memcpy(&info6.ipi6_addr, from->ip, 16);
    *h = (struct cmsghdr){CMSG_LEN(sizeof(info6)), IPPROTO_IPV6, IPV6_PKTINFO};
    memcpy(CMSG_DATA(h), &info6, sizeof(info6));
    return CMSG_SPACE(sizeof(info6));
}

static unsigned fill_batch(struct worker_udp *u)
{
    struct udp_batch *t = u->w->batch;
    unsigned n = u->count < BATCH ? u->count : BATCH;
    for (unsigned i = 0; i < n; i++) {
        struct waiting *o = &u->ring[(u->head + i) % SEND_RING];
        t->out_iov[i] = (struct iovec){o->b->p, o->b->n};
        t->out[i].msg_hdr = (struct msghdr){.msg_name = &t->out_name[i],
                                            .msg_namelen = worker_sockaddr(&o->to, &t->out_name[i]),
                                            .msg_iov = &t->out_iov[i],
                                            .msg_iovlen = 1};
        if (o->from.family) {
            t->out[i].msg_hdr.msg_control = &t->out_control[i];
            t->out[i].msg_hdr.msg_controllen = put_source(&t->out_control[i], &o->from);
        }
    }
    return n;
}

static void drop_sent(struct worker_udp *u, unsigned n)
{
    for (; n > 0; n--) {
        block_unref(u->ring[u->head].b);
        u->head = (u->head + 1) % SEND_RING;
        u->count--;
    }
    if (u->count == 0)
        u->head = 0; /* the next turn finds the same few places warm */
}

static void on_poll(uv_poll_t *h, int status, int events);

static void watch(struct worker_udp *u)
{
    uv_poll_start(&u->poll, UV_READABLE | (u->blocked ? UV_WRITABLE : 0), on_poll);
}

/* The kernel itself knows no way there. Asked apart: the socket's own errors may be ICMP's. */
static bool unroutable(const struct waiting *o)
{
    struct sockaddr_storage to;
    socklen_t n = worker_sockaddr(&o->to, &to);
    int fd;
    if (worker_socket(&o->to, SOCK_DGRAM, &fd))
        return false;
    bool failed = connect(fd, (const struct sockaddr *)&to, n) != 0;
    close(fd);
    return failed;
}

/* e, a second time in a row, is about this datagram, and not what ICMP said of an earlier one: such
 * come by the error queue too, and there they quote whom they mean. */
static bool is_its_own(const struct waiting *o, int e)
{
    switch (e) {
    case ECONNREFUSED:
    case EHOSTDOWN:
    case ENONET:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case EPROTO:
        return false; /* never the kernel's own word of a datagram */
    case EMSGSIZE:
        return o->b->n > (o->to.family == 4 ? PAYLOAD4_MAX : PAYLOAD6_MAX);
    case EACCES:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return unroutable(o);
    default:
        return true;
    }
}

static void flush(struct worker_udp *u)
{
    unsigned tries = 0; /* failures of the oldest datagram */
    while (u->count > 0 && !u->blocked) {
        int sent = sendmmsg(u->fd, u->w->batch->out, fill_batch(u), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            drop_sent(u, (unsigned)sent);
            tries = 0;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            u->blocked = true;
            watch(u);
        } else if (errno != EINTR && ++tries > 1) { /* once: it may be an earlier one's ICMP */
            int e = errno;
            const struct waiting *o = &u->ring[u->head];
            bool own = is_its_own(o, e);
            if (own)
                keep_error(u, o, worker_err(e));
            if (own || tries == SEND_TRIES) {
                drop_sent(u, 1);
                tries = 0;
            }
        }
    }
}

static enum err udp_queue(struct udp *udp, const struct addr *from, const struct addr *to,
                          const sv *pieces, size_t n)
{
    struct worker_udp *u = CONTAINER(udp, struct worker_udp, base);
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].n > UDP_MAX - total)
            return ERR_TOOBIG;
        total += pieces[i].n;
    }
    if (to->family != udp->local.family)
        return ERR_UNREACHABLE;
    struct block *b = u->count < SEND_RING ? block_new(u->w->base.blocks, total) : NULL;
    if (!b) {
        stat_refuse(&u->w->base.stats, STAT_LIMIT_WRITE_QUEUE);
        return ERR_BUSY;
    }
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].n > 0)
            memcpy(b->p + b->n, pieces[i].p, pieces[i].n);
        b->n += (uint32_t)pieces[i].n;
    }
    struct waiting *o = &u->ring[(u->head + u->count++) % SEND_RING];
    *o = (struct waiting){.b = b, .to = *to};
    if (from && u->wildcard && !addr_is_any(from))
        o->from = *from;
    if (u->count >= SEND_AT)
        flush(u);
    mark_dirty(u);
    return ERR_OK;
}

/* A handler may send, and so keep new errors, meanwhile. */
static bool tell_errors(struct worker_udp *u)
{
    struct refused error[ERRORS_KEPT];
    unsigned n = u->errors;
    bool told = false;
    memcpy(error, u->error, sizeof(error));
    u->errors = 0;
    for (unsigned i = 0; i < n; i++) {
        if (!u->closed && u->h->on_error) {
            told = true;
            u->h->on_error(u->arg, &error[i].to, error[i].why, block_sv(error[i].octets));
        }
        block_unref(error[i].octets);
    }
    return told;
}

bool worker_udp_flush(struct worker *w)
{
    struct link dirty;
    bool told = false;
    list_init(&dirty);
    list_splice(&dirty, &w->udps_dirty);
    for (struct link *l; (l = list_pop(&dirty));) {
        struct worker_udp *u = CONTAINER(l, struct worker_udp, by_dirty);
        flush(u);
        list_unlink(&u->by_dirty); /* errors of this flush are told now */
        told |= tell_errors(u);
    }
    return told;
}

/* ---- receiving ---- */

static enum err batch_of(struct worker *w)
{
    if (w->batch)
        return ERR_OK;
    struct udp_batch *t = MEM_NEW(struct udp_batch);
    if (t) {
        t->used = BATCH;
        t->overflow = mem_alloc((size_t)BATCH * UDP_MAX);
    }
    if (!t || !t->overflow) {
        mem_free(t);
        return ERR_NOMEM;
    }
    w->batch = t;
    return ERR_OK;
}

/* A slot without a block (the pool is at its cap) still takes its datagram from the kernel, to drop
 * it. */
static void prepare_batch(struct worker *w)
{
    struct udp_batch *t = w->batch;
    unsigned n = t->lacking ? BATCH : t->used;
    t->lacking = false;
    for (unsigned i = 0; i < n; i++) {
        struct block **b = &t->block[i];
        if (!*b)
            *b = block_new(w->base.blocks, RECEIVE_BLOCK);
        t->lacking |= !*b;
        t->iov[i][0] = (struct iovec){*b ? (*b)->p : NULL, *b ? (*b)->cap : 0};
        t->iov[i][1] = (struct iovec){t->overflow + (size_t)i * UDP_MAX, UDP_MAX};
        t->msg[i].msg_hdr = (struct msghdr){.msg_name = &t->name[i],
                                            .msg_namelen = sizeof(t->name[i]),
                                            .msg_iov = t->iov[i],
                                            .msg_iovlen = 2,
                                            .msg_control = &t->control[i],
                                            .msg_controllen = sizeof(t->control[i])};
    }
}

/* The octets of slot i in one block; the caller's reference. NULL: none to be had. */
static struct block *take_block(struct worker *w, unsigned i)
{
    struct udp_batch *t = w->batch;
    struct block *b = t->block[i];
    size_t n = t->msg[i].msg_len;
    if (!b || n > UDP_MAX)
        return NULL;
    if (n <= b->cap) {
        t->block[i] = NULL;
        b->n = (uint32_t)n;
        return b;
    }
    struct block *whole = block_new(w->base.blocks, n);
    if (!whole)
        return NULL;
    memcpy(whole->p, b->p, b->cap);
    memcpy(whole->p + b->cap, t->iov[i][1].iov_base, n - b->cap);
    whole->n = (uint32_t)n;
    return whole;
}

static struct addr destination(const struct worker_udp *u, struct msghdr *m)
{
    struct addr to = u->base.local;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            /* spec_dst: of a broadcast the address that an answer can leave from */
            to = addr_from_ip((const uint8_t *)&info.ipi_spec_dst, 4, to.port);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            to = addr_from_ip((const uint8_t *)&info.ipi6_addr, 16, to.port);
            if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
                to.scope = info.ipi6_ifindex;
        }
    }
    return to;
}

static void deliver(struct worker_udp *u, unsigned n)
{
    struct udp_batch *t = u->w->batch;
    for (unsigned i = 0; i < n && !u->closed; i++) {
        struct addr from = worker_addr(&t->name[i]);
        struct addr to = destination(u, &t->msg[i].msg_hdr);
        struct block *b = take_block(u->w, i);
        if (b && from.family && from.port) /* port 0 cannot be answered */
            u->h->on_datagram(u->arg, b, &from, &to);
        block_unref(b);
    }
}

static void tell_queued_error(struct worker_udp *u, struct msghdr *m, sv quoted)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
        bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;
        struct sock_extended_err e;
        if (!v4 && !v6)
            continue;
        memcpy(&e, CMSG_DATA(c), sizeof(e));
        struct addr to = worker_addr(m->msg_name);
        /* A changed path MTU refuses nothing: a retransmission goes out in fragments. */
        if (e.ee_errno != EMSGSIZE && to.family && u->h->on_error)
            u->h->on_error(u->arg, &to, worker_err((int)e.ee_errno), quoted);
    }
}

/* Empties the socket's error queue; that also clears the error that poll and the next call would
 * report. */
static void read_errors(struct worker_udp *u)
{
    for (int i = 0; i < BATCH && !u->closed; i++) {
        struct sockaddr_storage name;
        union {
            char octets[ERROR_CONTROL];
            struct cmsghdr align;
        } control;
        char octets[QUOTED_MAX];
        struct iovec iov = {octets, sizeof(octets)};
        struct msghdr m = {.msg_name = &name,
                           .msg_namelen = sizeof(name),
                           .msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(u->fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT);
        if (n < 0)
            return;
        tell_queued_error(u, &m, (sv){octets, (size_t)n});
    }
}

static void receive(struct worker_udp *u)
{
    for (int i = 0; i < RECEIVE_BATCHES && !u->closed; i++) {
        prepare_batch(u->w);
        int n = recvmmsg(u->fd, u->w->batch->msg, BATCH, MSG_DONTWAIT, NULL);
        u->w->batch->used = n > 0 ? (unsigned)n : 1;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            read_errors(u);
        if (n > 0)
            deliver(u, (unsigned)n);
        else if (errno == EAGAIN)
            break;
        if (n >= 0 && n < BATCH)
            break;
    }
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct worker_udp *u = CONTAINER(h, struct worker_udp, poll);
    worker_turn(u->w);
    if (u->closed)
        return;
    if (status < 0) { /* POLLERR: libuv stops polling */
        int e;
        socklen_t n = sizeof(e);
        read_errors(u);
        if (u->closed)
            return;
        getsockopt(u->fd, SOL_SOCKET, SO_ERROR, &e, &n); /* clears what is still pending */
        watch(u);
        events = UV_READABLE | UV_WRITABLE;
    }
    if (u->blocked && (events & UV_WRITABLE)) {
        u->blocked = false;
        flush(u);
        if (!u->blocked)
            watch(u);
    }
    if (events & UV_READABLE)
        receive(u);
}

void worker_udp_look(struct worker *w)
{
    LIST_EACH (u, &w->udps, struct worker_udp, by_worker) {
        uint32_t info[SK_MEMINFO_VARS];
        socklen_t n = sizeof(info);
        if (getsockopt(u->fd, SOL_SOCKET, SO_MEMINFO, info, &n) ||
            n <= SK_MEMINFO_DROPS * sizeof(*info))
            continue;
        stat_add(&w->base.stats, STAT_UDP_DROPPED, info[SK_MEMINFO_DROPS] - u->dropped);
        u->dropped = info[SK_MEMINFO_DROPS];
    }
}

/* ---- opening and closing ---- */

static void on_gone(uv_handle_t *h)
{
    mem_free(CONTAINER((uv_poll_t *)h, struct worker_udp, poll));
}

static void udp_end(struct udp *udp)
{
    struct worker_udp *u = CONTAINER(udp, struct worker_udp, base);
    if (u->closed)
        return;
    flush(u); /* what was sent before the close leaves, unless the kernel has no room */
    drop_sent(u, u->count);
    while (u->errors > 0)
        block_unref(u->error[--u->errors].octets);
    u->closed = true;
    list_unlink(&u->by_dirty);
    list_unlink(&u->by_worker);
    worker_unbind(u->w->g, u->bound);
    uv_close((uv_handle_t *)&u->poll, on_gone);
    close(u->fd);
}

static const struct udp_ops udp_ops = {.send = udp_queue, .close = udp_end};

static void set_int(int fd, int level, int option, int value)
{
    setsockopt(fd, level, option, &value, sizeof(value)); /* best effort */
}

static void set_options(const struct worker_udp *u, uint8_t family)
{
    int fd = u->fd;
    set_int(fd, SOL_SOCKET, SO_RCVBUF, KERNEL_BUFFER); /* up to net.core.rmem_max */
    set_int(fd, SOL_SOCKET, SO_SNDBUF, KERNEL_BUFFER);
    set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, KERNEL_BUFFER); /* beyond it, where we may */
    set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, KERNEL_BUFFER);
    if (family == 4) {
        set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
        /* No DF: a long message is fragmented on the way instead of lost, and forged ICMP cannot
         * shrink the path. */
        set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT);
    } else {
        set_int(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
    }
    if (u->wildcard && family == 4)
        set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
    else if (u->wildcard)
        set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
}

enum err worker_udp_open(struct loop *l, const struct addr *bind, unsigned flags,
                         const struct udp_handler *h, void *arg, struct udp **ret_udp)
{
    struct worker *w = worker_of(l);
    if (l->stopping)
        return ERR_STATE;
    if (flags & SOCK_PRIVATE)
        return worker_port_open(l, bind, h, arg, ret_udp);
    TRY(batch_of(w));
    struct worker_udp *u = MEM_NEW(struct worker_udp);
    if (!u)
        return ERR_NOMEM;
    enum err rc = worker_socket(bind, SOCK_DGRAM, &u->fd);
    if (rc) {
        mem_free(u);
        return rc;
    }
    u->wildcard = addr_is_any(bind);
    set_options(u, bind->family);
    rc = worker_bind(w->g, u->fd, SOCK_DGRAM, bind, flags, &u->bound);
    if (!rc && uv_poll_init(&w->uv, &u->poll, u->fd) != 0)
        rc = ERR_IO;
    if (rc) {
        worker_unbind(w->g, u->bound);
        close(u->fd);
        mem_free(u);
        return rc;
    }
    if (h->steers > 0 && l->group->n > 1)
        worker_steer(u->fd, h->steer, h->steers);
    u->base = (struct udp){.ops = &udp_ops, .loop = l, .local = worker_sockname(u->fd)};
    u->w = w;
    u->h = h;
    u->arg = arg;
    list_push(&w->udps, &u->by_worker);
    watch(u);
    *ret_udp = &u->base;
    return ERR_OK;
}

void worker_udp_done(struct worker *w)
{
    LIST_EACH_SAFE (u, &w->udps, struct worker_udp, by_worker) {
        udp_end(&u->base);
    }
    if (!w->batch)
        return;
    for (unsigned i = 0; i < BATCH; i++)
        block_unref(w->batch->block[i]);
    mem_free(w->batch->overflow);
    mem_free(w->batch);
}
