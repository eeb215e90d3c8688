/* SPDX-License-Identifier: MIT */
/* A stream and its loop, moved by hand: what the peer says arrives in the pieces that the test wants,
 * and what is written stays unwritten as long as it wants. For tests and fuzzing; aborts on misuse. */
#ifndef PUPPET_H
#define PUPPET_H
#include <stdlib.h>

#include "sock/sock.h"
#include "str/buf.h"

struct puppet {
    struct loop loop;
    struct stream s;
    const struct stream_handler *h;
    void *arg;
    struct buf said; /* by the user of the stream */
    bool stalled;    /* the peer does not read: all is queued */
    bool paused, closed, flush;
    enum err send_rc; /* of every send */
    unsigned sends;
};

static inline void puppet_must(bool holds)
{
    if (!holds)
        abort();
}

static inline struct puppet *puppet_of(struct stream *s)
{
    return CONTAINER(s, struct puppet, s);
}

static inline enum err puppet_send_op(struct stream *s, const sv *pieces, size_t n)
{
    struct puppet *p = puppet_of(s);
    size_t total = 0;
    puppet_must(!p->closed);
    p->sends++;
    if (p->send_rc)
        return p->send_rc;
    for (size_t i = 0; i < n; i++)
        total += pieces[i].n;
    if (p->stalled && total > s->queue_max - s->queued)
        return ERR_TOOBIG;
    for (size_t i = 0; i < n; i++)
        buf_put(&p->said, pieces[i]);
    puppet_must(p->said.rc == ERR_OK);
    if (p->stalled)
        s->queued += total;
    return ERR_OK;
}

static inline void puppet_handle_op(struct stream *s, const struct stream_handler *h, void *arg)
{
    puppet_must(!puppet_of(s)->closed);
    puppet_of(s)->h = h;
    puppet_of(s)->arg = arg;
}

static inline void puppet_pause_op(struct stream *s, bool on)
{
    puppet_must(!puppet_of(s)->closed);
    puppet_of(s)->paused = on;
}

static inline void puppet_close_op(struct stream *s, bool flush)
{
    puppet_must(!puppet_of(s)->closed);
    puppet_of(s)->closed = true;
    puppet_of(s)->flush = flush;
}

static inline void puppet_up(struct puppet *p)
{
    static const struct loop_ops none;
    static const struct stream_ops ops = {.send = puppet_send_op,
                                          .handle = puppet_handle_op,
                                          .pause = puppet_pause_op,
                                          .close = puppet_close_op};
    static struct loop_group alone = {.n = 1};
    memset(p, 0, sizeof(*p));
    puppet_must(loop_init(&p->loop, &none, &alone, 0, 1000 * USEC_S, 1800000000 * USEC_S) ==
                ERR_OK);
    p->s = (struct stream){
        .ops = &ops, .loop = &p->loop, .peer_uid = UINT32_MAX, .queue_max = STREAM_QUEUE_MAX};
    buf_init_heap(&p->said, (size_t)1 << 26);
}

/* A new connection on the same loop. */
static inline void puppet_again(struct puppet *p)
{
    p->h = NULL;
    p->stalled = p->paused = p->closed = p->flush = false;
    p->send_rc = ERR_OK;
    p->s.queued = 0;
    p->s.queue_max = STREAM_QUEUE_MAX;
    buf_reset(&p->said);
}

static inline void puppet_down(struct puppet *p)
{
    buf_done(&p->said);
    loop_done(&p->loop);
}

/* A turn, so much later. */
static inline void puppet_turn(struct puppet *p, usec later)
{
    p->loop.now += later;
    p->loop.wall += later;
    wheel_advance(&p->loop.wheel, p->loop.now, SIZE_MAX);
    loop_run_deferred(&p->loop);
}

/* Octets arrive, in memory of their own that is gone after it. False: nobody reads now. */
static inline bool puppet_hear(struct puppet *p, sv octets)
{
    if (p->closed || p->paused || !p->h)
        return false;
    char *copy = malloc(octets.n ? octets.n : 1);
    puppet_must(copy != NULL);
    if (octets.n)
        memcpy(copy, octets.p, octets.n);
    p->h->on_data(p->arg, (sv){copy, octets.n});
    free(copy);
    loop_run_deferred(&p->loop);
    return true;
}

/* The peer reads again: what was queued is written. */
static inline void puppet_drain(struct puppet *p)
{
    p->stalled = false;
    p->s.queued = 0;
    if (!p->closed && p->h && p->h->on_drain)
        p->h->on_drain(p->arg);
    loop_run_deferred(&p->loop);
}

/* The connection is gone. */
static inline void puppet_end(struct puppet *p, enum err why)
{
    const struct stream_handler *h = p->h;
    if (p->closed || !h)
        return;
    p->closed = true;
    h->on_close(p->arg, why);
    loop_run_deferred(&p->loop);
}

#endif
