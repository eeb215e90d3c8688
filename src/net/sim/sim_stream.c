/* SPDX-License-Identifier: MIT */
/* sim/sim_stream.c: listeners and streams: reliable, ordered, with delay, stalls and seeded pieces.
 *
 *   side 0 (connects)                                  side 1 (accepted)
 *   send ─► pipe: queued │ on the wire │ ready ─► read ─► on_data
 *                        └── window ──┘
 *
 * A connection outlives its ends: an end that was closed or died leaves what the kernel would still
 * send. The pipe keeps octets until they are read; events only say how many moved on, so that their
 * order is never the octets' order. */
#include "sim/sim_priv.h"
#include <stdlib.h>

enum { MSS = 1460, WINDOW_MIN = 4096, WINDOW_MAX = 65536, SYN_TRIES = 7, TRIES_MAX = 15 };
static const usec stall_min = 200 * USEC_MS, stall_max = 1 * USEC_S;
static const usec retry_first = 200 * USEC_MS, retry_max = 120 * USEC_S;
static const usec away_gap = 100, read_gap = 300, flush_max = 30 * USEC_S;
static const usec power_notice_min = 5 * USEC_S, power_notice_max = 15 * USEC_S;

struct pipe {
    char *p;
    size_t head, n, cap; /* n octets from head: ready, then on the wire, then queued */
    size_t ready, wire;
    size_t unacked; /* read, but still in the sender's window */
};

struct side {
    struct sim_stream *end; /* NULL: closed, dead, or not there yet */
    struct sim_host *host;
    struct addr addr;
    bool open;             /* the handshake is over for this side */
    bool closed;           /* by its user, or by death */
    bool fin_sent, fin_in; /* fin_in: the other's FIN has arrived here */
    bool reading;          /* a read is in the queue */
    usec flush_until;
    usec last;    /* nothing from here may arrive before this */
    uint64_t key; /* ties of what arrives here: first in, first out */
    struct pipe out;
};

struct sim_conn {
    struct link by_sim;
    struct sim *sim;
    uint64_t id;
    unsigned refs; /* ends and events */
    size_t window;
    char path[SIM_UNIX_PATH]; /* of a Unix connection */
    size_t path_n;
    struct side side[2];
};

struct sim_stream {
    struct stream stream;
    struct link by_loop;
    struct sim_loop *loop; /* when away, the one that it left */
    bool away;
    struct sim_conn *conn; /* NULL: the process is dead */
    unsigned side;
    const struct stream_handler *h;
    void *arg;
    bool paused, drain; /* drain: on_drain is owed */
};

/* ---- pipes ---- */

static size_t queued(const struct pipe *q)
{
    return q->n - q->ready - q->wire;
}

static void pipe_put(struct pipe *q, sv s)
{
    if (!s.n)
        return;
    if (q->head && q->head + q->n + s.n > q->cap) {
        memmove(q->p, q->p + q->head, q->n);
        q->head = 0;
    }
    if (q->n + s.n > q->cap) {
        q->cap = 2 * (q->n + s.n);
        q->p = sim_need(realloc(q->p, q->cap));
    }
    memcpy(q->p + q->head + q->n, s.p, s.n);
    q->n += s.n;
}

static void pipe_take(struct pipe *q, size_t n)
{
    q->head += n;
    q->n -= n;
    q->ready -= n;
    if (!q->n)
        q->head = 0;
}

static void pipe_clear(struct pipe *q)
{
    free(q->p);
    *q = (struct pipe){0};
}

/* ---- connections ---- */

static void unref(struct sim_conn *c)
{
    if (--c->refs)
        return;
    list_unlink(&c->by_sim);
    pipe_clear(&c->side[0].out);
    pipe_clear(&c->side[1].out);
    free(c);
}

static struct sim_conn *conn_new(struct sim *s, struct sim_host *from)
{
    struct sim_conn *c = sim_need(calloc(1, sizeof(*c)));
    c->sim = s;
    c->id = ++s->conns_born;
    c->window = (size_t)rng_between(&s->rng, WINDOW_MIN, WINDOW_MAX);
    c->side[0].host = from;
    c->side[0].key = rng_next(&s->rng);
    c->side[1].key = rng_next(&s->rng);
    list_push(&s->conns, &c->by_sim);
    return c;
}

void sim_stream_event_drop(struct event *e)
{
    unref(e->stream.conn);
}

static struct event *push(struct sim_conn *c, enum event_kind kind, unsigned side, size_t n,
                          enum err why, unsigned tries, usec at)
{
    struct event *e = sim_event_new(c->sim, kind);
    e->stream.conn = c;
    e->stream.side = side;
    e->stream.n = n;
    e->stream.why = why;
    e->stream.tries = tries;
    c->refs++;
    sim_push_keyed(c->sim, e, at, c->side[side].key);
    return e;
}

/* Something leaves for `side` now. Loss is a stall: TCP sends again. */
static void emit(struct sim_conn *c, enum event_kind kind, unsigned side, size_t n, enum err why)
{
    struct sim *s = c->sim;
    const struct side *from = &c->side[!side];
    struct side *to = &c->side[side];
    usec at = s->now + sim_delay(s, from->host, to->host);
    if (from->host != to->host && rng_permille(&s->rng, s->wire.loss_permille))
        at += rng_between(&s->rng, stall_min, stall_max);
    if (at < to->last)
        at = to->last;
    to->last = at;
    push(c, kind, side, n, why, 0, at);
}

static void trace(struct sim_conn *c, const char *what, unsigned side, sv octets)
{
    struct sim *s = c->sim;
    uint64_t digest = sim_hash(octets.p ? octets.p : "", octets.n);
    if (!sim_trace_mix(s, sim_hash(what, strlen(what)), c->id << 1 | side, digest, octets.n))
        return;
    struct trace_line t;
    sim_line_begin(s, &t, what);
    buf_printf(&t.b, " #%llu/%u ", (unsigned long long)c->id, side);
    if (c->path_n)
        buf_put(&t.b, (sv){c->path, c->path_n});
    else
        addr_print(&t.b, &c->side[side].addr);
    buf_printf(&t.b, " %zu %016llx", octets.n, (unsigned long long)digest);
    sim_line_end(s, &t);
}

/* Moves what the window allows from the queue onto the wire; after the last octet of a closed side,
 * its FIN. */
static void pump(struct sim_conn *c, unsigned side)
{
    struct side *me = &c->side[side];
    struct pipe *q = &me->out;
    if (!me->open)
        return;
    size_t used = q->ready + q->wire + q->unacked, n = queued(q);
    size_t room = used < c->window ? c->window - used : 0;
    if (n > room)
        n = room;
    if (n) {
        q->wire += n;
        emit(c, EV_OCTETS, !side, n, ERR_OK);
    }
    if (me->end)
        me->end->stream.queued = queued(q);
    if (me->closed && !me->fin_sent && !queued(q)) {
        me->fin_sent = true;
        emit(c, EV_FIN, !side, 0, ERR_OK);
    }
}

/* The end leaves its connection: nothing queued behind the window will be sent, unless flush. */
static void leave(struct sim_conn *c, unsigned side, bool flush)
{
    struct side *me = &c->side[side], *other = &c->side[!side];
    bool unread = other->out.ready || other->out.wire;
    me->end = NULL;
    me->closed = true;
    if (!flush)
        me->out.n -= queued(&me->out);
    me->flush_until = c->sim->now + flush_max;
    /* RFC 1122 §4.2.2.13: closing with unread octets resets. */
    if (me->open && unread && !me->fin_sent && !queued(&me->out)) {
        me->fin_sent = true;
        emit(c, EV_RESET, !side, 0, ERR_CLOSED);
    }
    other->out.n -= other->out.ready;
    other->out.head += other->out.ready;
    other->out.ready = 0;
    pump(c, side);
    unref(c);
}

static void free_end(struct sim_stream *e)
{
    list_unlink(&e->by_loop);
    mem_free(e);
}

/* The last call to an end's user. */
static void end_with(struct sim_conn *c, unsigned side, enum err why)
{
    struct sim_stream *e = c->side[side].end;
    struct sim_loop *l = e->loop;
    trace(c, err_name(why), side, SV_NONE);
    sim_turn_begin(l);
    if (c->side[side].end == e) {
        const struct stream_handler *h = e->h;
        void *arg = e->arg;
        e->conn = NULL; /* a close from inside on_close changes nothing */
        leave(c, side, false);
        h->on_close(arg, why);
        free_end(e);
    }
    sim_turn_end(l);
}

static bool runs(const struct sim_stream *e)
{
    return e && !e->away && sim_alive(e->loop);
}

/* ---- what arrives ---- */

static usec backoff(unsigned tries)
{
    usec d = retry_first;
    while (tries-- && d < retry_max)
        d *= 2;
    return d < retry_max ? d : retry_max;
}

/* The way to `side` is cut or its host has no power: again later, in the end the sender gives up.
 */
static bool blocked(struct sim_conn *c, struct event *e)
{
    struct sim *s = c->sim;
    unsigned side = e->stream.side;
    const struct side *to = &c->side[side], *from = &c->side[!side];
    if (to->host == from->host)
        return false;
    if (!to->host->down && !(s->cuts_n && sim_cut(s, from->host, to->host)))
        return false;
    if (e->stream.tries < TRIES_MAX) {
        push(c, e->kind, side, e->stream.n, e->stream.why, e->stream.tries + 1,
             s->now + backoff(e->stream.tries));
        return true;
    }
    if (runs(from->end))
        end_with(c, !side, ERR_TIMEOUT);
    return true;
}

static void tell_drained(struct sim_conn *c, unsigned side)
{
    struct side *me = &c->side[side];
    struct sim_stream *e = me->end;
    if (!runs(e) || !e->drain || queued(&me->out))
        return;
    e->drain = false;
    struct sim_loop *l = e->loop;
    sim_turn_begin(l);
    if (me->end == e && e->h->on_drain)
        e->h->on_drain(e->arg);
    sim_turn_end(l);
}

static void connected(struct sim_conn *c, unsigned side)
{
    struct side *me = &c->side[side];
    if (me->open)
        return;
    me->open = true;
    if (runs(me->end)) {
        struct sim_stream *e = me->end;
        struct sim_loop *l = e->loop;
        trace(c, "open", side, SV_NONE);
        sim_turn_begin(l);
        if (me->end == e && e->h->on_open)
            e->h->on_open(e->arg);
        sim_turn_end(l);
    }
    pump(c, side);
    tell_drained(c, side);
}

/* How much of what is ready one read returns. */
static size_t piece(struct sim *s, size_t ready)
{
    size_t n = ready;
    switch (rng_below(&s->rng, 8)) {
    case 0:
        n = MSS;
        break;
    case 1:
        n = (size_t)rng_between(&s->rng, 1, (usec)ready);
        break;
    case 2:
        n = (size_t)rng_between(&s->rng, 1, 8);
        break;
    }
    return n < ready ? n : ready;
}

static void want_read(struct sim_conn *c, unsigned side)
{
    struct side *me = &c->side[side];
    if (me->reading)
        return;
    me->reading = true;
    push(c, EV_READ, side, 0, ERR_OK, 0, c->sim->now + rng_between(&c->sim->rng, 0, read_gap));
}

static void on_read(struct sim_conn *c, unsigned side)
{
    struct side *me = &c->side[side], *from = &c->side[!side];
    struct pipe *q = &from->out;
    struct sim_stream *e = me->end;
    me->reading = false;
    if (!runs(e) || e->paused)
        return;
    if (!q->ready) {
        if (me->fin_in && !q->wire)
            end_with(c, side, ERR_OK);
        return;
    }
    size_t n = piece(c->sim, q->ready);
    /* Its own run of memory: a reader that keeps the view, or reads past it, is caught by ASan. */
    char *copy = sim_need(malloc(n));
    memcpy(copy, q->p + q->head, n);
    pipe_take(q, n);
    trace(c, "data", side, (sv){copy, n});
    if (queued(q)) {
        q->unacked += n;
        emit(c, EV_ACK, !side, n, ERR_OK);
    }
    struct sim_loop *l = e->loop;
    sim_turn_begin(l);
    if (me->end == e)
        e->h->on_data(e->arg, (sv){copy, n});
    sim_turn_end(l);
    free(copy);
    if (me->end && (q->ready || (me->fin_in && !q->wire)))
        want_read(c, side);
}

static void on_octets(struct sim_conn *c, struct event *e)
{
    unsigned side = e->stream.side;
    struct side *me = &c->side[side], *from = &c->side[!side];
    if (blocked(c, e))
        return;
    connected(c, side); /* an answer that overtook the handshake's end implies it */
    size_t n = e->stream.n < from->out.wire ? e->stream.n : from->out.wire;
    from->out.wire -= n;
    from->out.ready += n;
    if (!me->end) { /* nobody reads any more: RFC 9293 §3.10.7.1, a reset */
        pipe_take(&from->out, n);
        if (!me->fin_sent || from->end)
            emit(c, EV_RESET, !side, 0, ERR_CLOSED);
        return;
    }
    want_read(c, side);
}

static void on_ack(struct sim_conn *c, struct event *ev)
{
    unsigned side = ev->stream.side;
    struct side *me = &c->side[side];
    if (blocked(c, ev))
        return;
    me->out.unacked -= ev->stream.n;
    if (!me->end && me->closed && c->sim->now >= me->flush_until)
        me->out.n -= queued(&me->out);
    pump(c, side);
    tell_drained(c, side);
}

static void on_fin(struct sim_conn *c, struct event *e)
{
    if (blocked(c, e))
        return;
    connected(c, e->stream.side);
    c->side[e->stream.side].fin_in = true;
    if (c->side[e->stream.side].end)
        want_read(c, e->stream.side);
}

static void on_reset(struct sim_conn *c, struct event *e)
{
    const struct sim_stream *end = c->side[e->stream.side].end;
    if (blocked(c, e))
        return;
    if (end && end->away) { /* whoever it joins is told */
        push(c, e->kind, e->stream.side, 0, e->stream.why, 0, c->sim->now + away_gap);
        return;
    }
    if (runs(end))
        end_with(c, e->stream.side, e->stream.why);
}

/* ---- connecting ---- */

static struct sim_stream *end_new(struct sim_loop *l, struct sim_conn *c, unsigned side)
{
    struct sim_stream *e = MEM_NEW(struct sim_stream);
    if (!e)
        return NULL;
    e->stream = (struct stream){
        .loop = &l->loop,
        .local = c->side[side].addr,
        .peer = c->side[!side].addr,
        .peer_uid = c->path_n ? 0 : UINT32_MAX,
        .created = (uint64_t)l->sim->now,
        .queue_max = STREAM_QUEUE_MAX,
    };
    e->loop = l;
    e->conn = c;
    e->side = side;
    c->side[side].end = e;
    c->refs++;
    list_push(&l->streams, &e->by_loop);
    return e;
}

static const struct stream_ops stream_ops;

static void accept_at(struct sim_conn *c, struct sim_port *p)
{
    struct sim_loop *l = sim_steer(c->sim, p, &c->side[0].addr)->loop;
    if (!sim_alive(l)) {
        emit(c, EV_RESET, 0, 0, ERR_REFUSED);
        return;
    }
    trace(c, "accept", 1, SV_NONE);
    sim_turn_begin(l);
    /* A timer of this turn may have closed the listener. */
    p = sim_port_find(l->proc->host, c->path_n ? PORT_UNIX : PORT_TCP, &c->side[1].addr,
                      (sv){c->path, c->path_n});
    struct sim_bound *b = p ? p->bound[l->loop.worker] : NULL;
    struct sim_stream *e = b ? end_new(l, c, 1) : NULL;
    if (e) {
        struct sim_listener *li = CONTAINER(b, struct sim_listener, bound);
        e->stream.ops = &stream_ops;
        c->side[1].open = true;
        emit(c, EV_OPEN, 0, 0, ERR_OK);
        li->h->on_accept(li->arg, &e->stream);
        assert(c->side[1].end != e || e->h); /* the handler took it or closed it */
    } else {
        emit(c, EV_RESET, 0, 0, ERR_REFUSED);
    }
    sim_turn_end(l);
}

static void on_syn(struct sim_conn *c, struct event *e)
{
    struct sim *s = c->sim;
    struct side *from = &c->side[0], *to = &c->side[1];
    struct sim_host *dst = c->path_n ? from->host : sim_route(from->host, &to->addr);
    if (from->closed && !from->out.n)
        return;
    if (!dst || dst->down || (s->cuts_n && sim_cut(s, from->host, dst))) {
        if (e->stream.tries < SYN_TRIES) {
            push(c, EV_SYN, 1, 0, ERR_OK, e->stream.tries + 1,
                 s->now + (USEC_S << e->stream.tries));
        } else if (runs(from->end)) {
            end_with(c, 0, ERR_TIMEOUT);
        }
        return;
    }
    to->host = dst;
    struct sim_port *p =
        sim_port_find(dst, c->path_n ? PORT_UNIX : PORT_TCP, &to->addr, (sv){c->path, c->path_n});
    if (p)
        accept_at(c, p);
    else
        emit(c, EV_RESET, 0, 0, ERR_REFUSED);
}

void sim_on_stream(struct sim *s, struct event *e)
{
    (void)s;
    struct sim_conn *c = e->stream.conn;
    switch (e->kind) {
    case EV_SYN:
        on_syn(c, e);
        break;
    case EV_OPEN:
        if (!blocked(c, e))
            connected(c, e->stream.side);
        break;
    case EV_OCTETS:
        on_octets(c, e);
        break;
    case EV_READ:
        on_read(c, e->stream.side);
        break;
    case EV_ACK:
        on_ack(c, e);
        break;
    case EV_FIN:
        on_fin(c, e);
        break;
    default:
        on_reset(c, e);
        break;
    }
    unref(c);
}

/* ---- streams: the caller's side ---- */

static enum err send_op(struct stream *stream, const sv *pieces, size_t n)
{
    struct sim_stream *e = CONTAINER(stream, struct sim_stream, stream);
    if (!e->conn)
        return ERR_CLOSED;
    struct side *me = &e->conn->side[e->side];
    struct pipe *q = &me->out;
    size_t total = 0, used = q->ready + q->wire + q->unacked + queued(q);
    size_t room = me->open && used < e->conn->window ? e->conn->window - used : 0;
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].n > SIZE_MAX / 4 - total)
            return ERR_TOOBIG;
        total += pieces[i].n;
    }
    if (total > room &&
        (stream->queue_max < queued(q) || total - room > stream->queue_max - queued(q))) {
        stat_refuse(&stream->loop->stats, STAT_LIMIT_WRITE_QUEUE);
        return ERR_TOOBIG;
    }
    for (size_t i = 0; i < n; i++)
        pipe_put(q, pieces[i]);
    pump(e->conn, e->side);
    stream->queued = queued(q);
    if (stream->queued)
        e->drain = true;
    return ERR_OK;
}

static void handle_op(struct stream *stream, const struct stream_handler *h, void *arg)
{
    struct sim_stream *e = CONTAINER(stream, struct sim_stream, stream);
    e->h = h;
    e->arg = arg;
}

static void pause_op(struct stream *stream, bool on)
{
    struct sim_stream *e = CONTAINER(stream, struct sim_stream, stream);
    bool was = e->paused;
    e->paused = on;
    if (e->conn && was && !on)
        want_read(e->conn, e->side);
}

static void close_op(struct stream *stream, bool flush)
{
    struct sim_stream *e = CONTAINER(stream, struct sim_stream, stream);
    if (e->conn) {
        leave(e->conn, e->side, flush);
        free_end(e);
    } else if (e->loop->proc->dead) {
        free_end(e);
    }
}

static enum err leave_op(struct stream **stream)
{
    struct sim_stream *e = CONTAINER(*stream, struct sim_stream, stream);
    if (!e->conn || !e->conn->side[e->side].open || e->drain || !sim_alive(e->loop))
        return ERR_BUSY;
    trace(e->conn, "leave", e->side, SV_NONE);
    e->away = true;
    e->stream.loop = NULL;
    list_unlink(&e->by_loop);
    return ERR_OK;
}

static enum err join_op(struct stream *stream, struct loop *loop)
{
    struct sim_stream *e = CONTAINER(stream, struct sim_stream, stream);
    struct sim_loop *l = sim_loop_of(loop);
    if (!e->conn || !sim_alive(l))
        return ERR_IO;
    trace(e->conn, "join", e->side, SV_NONE);
    e->away = false;
    e->loop = l;
    e->stream.loop = loop;
    list_push(&l->streams, &e->by_loop);
    want_read(e->conn, e->side);
    return ERR_OK;
}

static const struct stream_ops stream_ops = {
    .send = send_op,
    .handle = handle_op,
    .pause = pause_op,
    .close = close_op,
    .leave = leave_op,
    .join = join_op,
};

static enum err start(struct sim_loop *l, struct sim_conn *c, const struct stream_handler *h,
                      void *arg, struct stream **ret_stream)
{
    struct sim *s = l->sim;
    struct sim_stream *e = end_new(l, c, 0);
    if (!e) {
        c->refs = 1;
        unref(c);
        return ERR_NOMEM;
    }
    e->stream.ops = &stream_ops;
    e->h = h;
    e->arg = arg;
    struct sim_host *to =
        c->path_n ? c->side[0].host : sim_route(c->side[0].host, &c->side[1].addr);
    c->side[1].host = to ? to : c->side[0].host;
    usec at = s->now + (to ? sim_delay(s, c->side[0].host, to) : 0);
    if (to != c->side[0].host && rng_permille(&s->rng, s->wire.loss_permille))
        at += USEC_S; /* RFC 6298 §2.1: a lost SYN is sent again after one second */
    push(c, EV_SYN, 1, 0, ERR_OK, 0, at);
    *ret_stream = &e->stream;
    return ERR_OK;
}

enum err sim_connect(struct loop *loop, const struct addr *local, const struct addr *to,
                     const struct stream_handler *h, void *arg, struct stream **ret_stream)
{
    struct sim_loop *l = sim_loop_of(loop);
    struct sim_host *host = l->proc->host;
    struct addr from = local ? *local : (struct addr){.family = to->family};
    if (!sim_alive(l) || loop->stopping)
        return ERR_STATE;
    TRY(sim_source(host, &from, to, &from));
    if (!from.port)
        from.port = sim_free_port(host, PORT_TCP, &from);
    if (!from.port)
        return ERR_BUSY;
    struct sim_conn *c = conn_new(l->sim, host);
    c->side[0].addr = from;
    c->side[1].addr = *to;
    return start(l, c, h, arg, ret_stream);
}

enum err sim_connect_unix(struct loop *loop, sv path, const struct stream_handler *h, void *arg,
                          struct stream **ret_stream)
{
    struct sim_loop *l = sim_loop_of(loop);
    if (!sim_alive(l) || loop->stopping)
        return ERR_STATE;
    if (!path.n || path.n >= SIM_UNIX_PATH)
        return ERR_TOOBIG;
    struct sim_conn *c = conn_new(l->sim, l->proc->host);
    memcpy(c->path, path.p, path.n);
    c->path_n = path.n;
    return start(l, c, h, arg, ret_stream);
}

/* ---- listeners ---- */

static void free_listener(struct sim_listener *li)
{
    sim_unbind(&li->bound);
    list_unlink(&li->bound.by_loop);
    mem_free(li);
}

static void close_listener(struct listener *listener)
{
    free_listener(CONTAINER(listener, struct sim_listener, listener));
}

static const struct listener_ops listener_ops = {.close = close_listener};

static enum err listen_on(struct loop *loop, enum port_kind kind, const struct addr *bind, sv path,
                          const struct listener_handler *h, void *arg,
                          struct listener **ret_listener)
{
    struct sim_loop *l = sim_loop_of(loop);
    struct sim_listener *li = MEM_NEW(struct sim_listener);
    if (!li)
        return ERR_NOMEM;
    enum err rc = sim_bind(l, kind, bind, path, &li->bound);
    if (rc) {
        mem_free(li);
        return rc;
    }
    li->listener =
        (struct listener){.ops = &listener_ops, .loop = loop, .local = li->bound.port->local};
    li->h = h;
    li->arg = arg;
    list_push(&l->listeners, &li->bound.by_loop);
    *ret_listener = &li->listener;
    return ERR_OK;
}

enum err sim_listen(struct loop *l, const struct addr *bind, unsigned flags,
                    const struct listener_handler *h, void *arg, struct listener **ret_listener)
{
    (void)flags;
    return listen_on(l, PORT_TCP, bind, SV_NONE, h, arg, ret_listener);
}

enum err sim_listen_unix(struct loop *l, sv path, unsigned mode, const struct listener_handler *h,
                         void *arg, struct listener **ret_listener)
{
    (void)mode; /* there is one user on a simulated host */
    if (!path.n || path.n >= SIM_UNIX_PATH)
        return ERR_TOOBIG;
    return listen_on(l, PORT_UNIX, NULL, path, h, arg, ret_listener);
}

/* ---- death ---- */

void sim_streams_kill(struct sim_loop *l, bool power)
{
    struct sim *s = l->sim;
    LIST_EACH (b, &l->listeners, struct sim_bound, by_loop)
        sim_unbind(b);
    LIST_EACH (e, &l->streams, struct sim_stream, by_loop) {
        struct sim_conn *c = e->conn;
        if (!c)
            continue;
        struct side *me = &c->side[e->side];
        e->conn = NULL;
        if (power && me->open && !me->fin_sent) {
            me->fin_sent = true; /* no FIN: the other side notices some time */
            push(c, EV_RESET, !e->side, 0, ERR_TIMEOUT, 0,
                 s->now + rng_between(&s->rng, power_notice_min, power_notice_max));
        }
        leave(c, e->side, false);
    }
}

void sim_streams_free_all(struct sim_loop *l)
{
    LIST_EACH_SAFE (b, &l->listeners, struct sim_bound, by_loop)
        free_listener(CONTAINER(b, struct sim_listener, bound));
    LIST_EACH_SAFE (e, &l->streams, struct sim_stream, by_loop) {
        if (e->conn)
            leave(e->conn, e->side, false);
        free_end(e);
    }
}
