/* SPDX-License-Identifier: MIT */
/* The socket functions hand on to the backend of the loop. */
#include "sock/sock.h"

enum err udp_open(struct loop *l, const struct addr *bind, const struct udp_handler *h, void *arg,
                  struct udp **ret_udp)
{
    return l->ops->udp_open(l, bind, 0, h, arg, ret_udp);
}

enum err udp_open_flags(struct loop *l, const struct addr *bind, unsigned flags,
                        const struct udp_handler *h, void *arg, struct udp **ret_udp)
{
    return l->ops->udp_open(l, bind, flags, h, arg, ret_udp);
}

enum err udp_send(struct udp *u, const struct addr *from, const struct addr *to, const sv *pieces,
                  size_t n)
{
    return u->ops->send(u, from, to, pieces, n);
}

enum err udp_send_block(struct udp *u, const struct addr *to, struct block *b)
{
    if (u->ops->send_block)
        return u->ops->send_block(u, to, b);
    sv octets = {b->p, b->n};
    enum err rc = u->ops->send(u, NULL, to, &octets, 1);
    block_unref(b);
    return rc;
}

void udp_mark(struct udp *u, uint8_t dscp)
{
    if (u->ops->mark)
        u->ops->mark(u, dscp);
}

void udp_close(struct udp *u)
{
    if (u)
        u->ops->close(u);
}

enum err sock_source_for(struct loop *l, const struct addr *to, struct addr *ret_local)
{
    return l->ops->source_for(l, to, ret_local);
}

enum err stream_listen(struct loop *l, const struct addr *bind, const struct listener_handler *h,
                       void *arg, struct listener **ret_listener)
{
    return l->ops->listen(l, bind, 0, h, arg, ret_listener);
}

enum err stream_listen_flags(struct loop *l, const struct addr *bind, unsigned flags,
                             const struct listener_handler *h, void *arg,
                             struct listener **ret_listener)
{
    return l->ops->listen(l, bind, flags, h, arg, ret_listener);
}

enum err stream_listen_unix(struct loop *l, sv path, unsigned mode,
                            const struct listener_handler *h, void *arg,
                            struct listener **ret_listener)
{
    return l->ops->listen_unix(l, path, mode, h, arg, ret_listener);
}

void listener_close(struct listener *l)
{
    if (l)
        l->ops->close(l);
}

enum err stream_connect(struct loop *l, const struct addr *local, const struct addr *to,
                        const struct stream_handler *h, void *arg, struct stream **ret_stream)
{
    return l->ops->connect(l, local, to, h, arg, ret_stream);
}

enum err stream_send(struct stream *s, const sv *pieces, size_t n)
{
    return s->ops->send(s, pieces, n);
}

void stream_handle(struct stream *s, const struct stream_handler *h, void *arg)
{
    s->ops->handle(s, h, arg);
}

void stream_pause(struct stream *s, bool on)
{
    s->ops->pause(s, on);
}

void stream_close(struct stream *s, bool flush)
{
    if (s)
        s->ops->close(s, flush);
}

enum err stream_leave(struct stream **s)
{
    return (*s)->ops->leave ? (*s)->ops->leave(s) : ERR_BUSY;
}

enum err stream_join(struct stream *s, struct loop *l)
{
    return s->ops->join(s, l);
}

bool sock_turn_put(struct loop *l, struct block **turn, const sv *pieces, size_t n)
{
    size_t total = 0;
    for (size_t i = 0; i < n && total <= SOCK_TURN; i++)
        total = pieces[i].n > SOCK_TURN ? SOCK_TURN + 1 : total + pieces[i].n;
    if (!*turn && total <= SOCK_TURN)
        *turn = block_new(l->blocks, SOCK_TURN);
    struct block *b = *turn;
    if (!b || total > SOCK_TURN - b->n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].n > 0)
            memcpy(b->p + b->n, pieces[i].p, pieces[i].n);
        b->n += (uint32_t)pieces[i].n;
    }
    return true;
}
