/* SPDX-License-Identifier: MIT */
/* sock/sock.h: datagram sockets, listeners and streams of a loop.               layer: net
 *
 * Shape   objects of the backend behind one interface. A datagram arrives in a block of the loop's
 *         pool; a stream hands octets over as they come. Handlers are called in turns of the
 *         owning loop, never before the starting call returns, and never after close or a failed
 *         start. They may close or free anything.
 * Threads the owning loop's.
 */
#ifndef SOCK_SOCK_H
#define SOCK_SOCK_H
#include "loop/loop.h"
#include "sock/addr.h"

/* ---- UDP ---- */
enum { UDP_MAX = 65535 };
/* Datagrams may name the worker whom they are for: of those that start with one of the words of four
 * octets in `starts`, the octet behind the first `before` (at least four octets) that begins between the
 * octets first and last is UDP_STEER_FIRST for worker 0, the next for worker 1, and so on. It is a hint:
 * where the kernel cannot follow it, and where nobody is named, the ports choose. */
enum { UDP_STEER_FIRST = 'A', UDP_STEER_BEFORE = 16 /* octets of before, and the name */ };
struct udp_steer {
    const char *starts, *before;
    uint16_t first, last;
};
struct udp_handler {
    /* b is borrowed: block_ref to keep it. to: the local address it was sent to (of a wildcard
     * socket too). */
    void (*on_datagram)(void *arg, struct block *b, const struct addr *from, const struct addr *to);
    /* The kernel says that a datagram to this address was refused (ICMP); may be NULL. RFC 3261
     * §18.4. quoted: the beginning of that datagram as the report tells it, borrowed; anyone can send
     * such a report, so what is not in it is not shown. */
    void (*on_error)(void *arg, const struct addr *to, enum err why, sv quoted);
    /* NULL: none; the same for all sockets of an address. What matters most comes first: the kernel may
     * have room for some of them alone. */
    const struct udp_steer *steer;
    size_t steers;
};
struct udp {
    const struct udp_ops *ops;
    struct loop *loop;
    struct addr local; /* as bound; the port is the real one */
};
struct udp_ops {
    enum err (*send)(struct udp *u, const struct addr *from, const struct addr *to,
                     const sv *pieces, size_t n);
    enum err (*send_block)(struct udp *u, const struct addr *to,
                           struct block *b);   /* NULL: by send */
    void (*mark)(struct udp *u, uint8_t dscp); /* NULL: not marked */
    void (*close)(struct udp *u);
};
/* One socket per worker and address, SO_REUSEPORT within this process. port 0: any; the other
 * workers may then open the port that it got. Errors: ERR_BUSY (port taken by another process),
 * ERR_DENIED, ERR_UNREACHABLE (address not ours), ERR_IO. */
MUST_USE enum err udp_open(struct loop *l, const struct addr *bind, const struct udp_handler *h,
                           void *arg, struct udp **ret_udp);
/* As udp_open. flags:
 *   SOCK_FREEBIND  the address need not be ours yet (IP_FREEBIND, ip(7))
 *   SOCK_PRIVATE   of this loop alone, with one address (no wildcard): thousands of them are cheap. No
 *                  errors are told, nobody is steered to, what is longer than 2,048 octets is
 *                  dropped, and what cannot leave at once is lost. For media. */
enum { SOCK_FREEBIND = 1, SOCK_PRIVATE = 2 };
MUST_USE enum err udp_open_flags(struct loop *l, const struct addr *bind, unsigned flags,
                                 const struct udp_handler *h, void *arg, struct udp **ret_udp);
/* Copies the pieces; the datagram leaves at the end of the turn at the latest. from: NULL or the
 * local address to use on a wildcard socket. Loss later is silent (on_error at best). Errors:
 * ERR_TOOBIG, ERR_BUSY (send queue full), ERR_UNREACHABLE (to is of another family). */
MUST_USE enum err udp_send(struct udp *u, const struct addr *from, const struct addr *to,
                           const sv *pieces, size_t n);
/* As udp_send from where u is bound, without a copy: the caller's reference of b goes over, also on failure,
 * and b's octets stay as they are until it has left. */
MUST_USE enum err udp_send_block(struct udp *u, const struct addr *to, struct block *b);
/* Differentiated services (RFC 2474) of what it sends, of a SOCK_PRIVATE one. Best effort. */
void udp_mark(struct udp *u, uint8_t dscp);
void udp_close(struct udp *u); /* NULL is fine */
/* The local address that the routing table gives octets to `to` (port 0): for Via and Contact on
 * wildcard sockets. Errors: ERR_UNREACHABLE. */
MUST_USE enum err sock_source_for(struct loop *l, const struct addr *to, struct addr *ret_local);

/* ---- streams: TCP and Unix ---- */
struct stream_handler {
    void (*on_open)(void *arg);            /* a connect succeeded; not for accepted streams */
    void (*on_data)(void *arg, sv octets); /* borrowed until return */
    void (*on_drain)(void *arg);           /* the write queue is empty again; may be NULL */
    /* The last call; the stream is gone after it. ERR_OK: orderly end by the peer. */
    void (*on_close)(void *arg, enum err why);
};
struct tls_peer;
struct stream {
    const struct stream_ops *ops;
    struct loop *loop;
    struct addr local, peer;   /* family 0 for Unix */
    uint32_t peer_uid;         /* Unix: from peer credentials; else UINT32_MAX */
    uint64_t created;          /* usec */
    size_t queued;             /* octets waiting to be written */
    size_t queue_max;          /* cap of it; default STREAM_QUEUE_MAX */
    struct tls_peer *tls_peer; /* once open: who the other side is (tls/tls.h); NULL: no TLS */
};
enum { STREAM_QUEUE_MAX = 256 * 1024 };
struct stream_ops {
    enum err (*send)(struct stream *s, const sv *pieces, size_t n);
    void (*handle)(struct stream *s, const struct stream_handler *h, void *arg);
    void (*pause)(struct stream *s, bool on);
    void (*close)(struct stream *s, bool flush);
    enum err (*leave)(struct stream **s); /* NULL: it stays where it is */
    enum err (*join)(struct stream *s, struct loop *l);
};
struct listener_handler {
    /* s is the receiver's: it must call stream_handle or stream_close before returning. */
    void (*on_accept)(void *arg, struct stream *s);
};
struct listener {
    const struct listener_ops *ops;
    struct loop *loop;
    struct addr local;
};
struct listener_ops {
    void (*close)(struct listener *l);
};
/* TCP, SO_REUSEPORT: each worker has its own. Out of descriptors: accepting pauses, a reserve
 * descriptor sheds. Errors: as udp_open. */
MUST_USE enum err stream_listen(struct loop *l, const struct addr *bind,
                                const struct listener_handler *h, void *arg,
                                struct listener **ret_listener);
/* As stream_listen, with flags as udp_open_flags. */
MUST_USE enum err stream_listen_flags(struct loop *l, const struct addr *bind, unsigned flags,
                                      const struct listener_handler *h, void *arg,
                                      struct listener **ret_listener);
/* A Unix socket at path with this mode; a dead one there is replaced, a live one is ERR_BUSY. */
MUST_USE enum err stream_listen_unix(struct loop *l, sv path, unsigned mode,
                                     const struct listener_handler *h, void *arg,
                                     struct listener **ret_listener);
void listener_close(struct listener *l); /* NULL is fine */
/* local: NULL or the address to bind. Sends before on_open are queued. Errors at once:
 * ERR_UNREACHABLE, ERR_BUSY, ERR_IO; later: on_close with ERR_REFUSED, ERR_TIMEOUT,
 * ERR_UNREACHABLE. The caller guards time. */
MUST_USE enum err stream_connect(struct loop *l, const struct addr *local, const struct addr *to,
                                 const struct stream_handler *h, void *arg,
                                 struct stream **ret_stream);
/* Copies the pieces; small ones leave together at the end of the turn. Errors: ERR_TOOBIG (queue_max;
 * nothing was written), ERR_CLOSED. What fails later is told by on_close. */
MUST_USE enum err stream_send(struct stream *s, const sv *pieces, size_t n);
void stream_handle(struct stream *s, const struct stream_handler *h, void *arg);
void stream_pause(struct stream *s, bool on); /* stop or resume reading */
/* No more callbacks. flush: what is queued is still written (bounded by time in the backend). NULL
 * is fine. */
void stream_close(struct stream *s, bool flush);
/* An open stream goes to another loop of its group. It leaves when nothing waits in it, behind what was sent
 * in this turn; *s may be another object then. Until it has joined nobody is told anything, and only join
 * and close may be called, on any one thread; join on that of its new loop, whose turns call the handler from
 * then on, with all that came meanwhile. Not from the stream's own callbacks.
 *   leave  ERR_BUSY: not now, or it is of a kind that stays; nothing has changed
 *   join   ERR_NOMEM, ERR_IO: it has not joined; all that is left to do is to close it */
MUST_USE enum err stream_leave(struct stream **s);
MUST_USE enum err stream_join(struct stream *s, struct loop *l);

/* ---- for what stands behind a stream ---- */
enum { SOCK_TURN = 4096 }; /* octets of a turn that wait for its end */
/* Appends the pieces to what was sent in this turn; *turn is made when it is NULL. False: there is no room
 * for all of them, and none is taken. */
bool sock_turn_put(struct loop *l, struct block **turn, const sv *pieces, size_t n);

#endif
