/* SPDX-License-Identifier: MIT */
/* transport/transport_conn.c: connections of this worker, and messages framed from their octets.
 *
 * A record whose stream is NULL is dead: out of the tables, its watches failed, waiting for the end
 * of the turn to be reported (on_flow_gone) and buried. So a handler may end any connection, also
 * the one whose octets are being read. */
#include "transport/transport_priv.h"

enum { IN_MIN = 2048, IN_EXTRA = 64 };

struct conn *conn_find(struct sip *s, uint64_t id)
{
    uint64_t slot = (id & UINT32_MAX) - 1;
    if ((id & UINT32_MAX) == 0 || slot >= s->conns_max)
        return NULL;
    struct conn *c = s->conn[slot];
    return c && c->flow.conn == id ? c : NULL;
}

/* One that we opened: who connects from a port has not shown that he is who listens there (RFC
 * 5923). */
struct conn *conn_to(struct sip *s, enum sip_transport t, const struct addr *remote)
{
    HASH_EACH (c, &s->by_remote, sip_addr_hash(s, remote), struct conn, by_remote) {
        if (!c->accepted && c->flow.transport == t && addr_equal(&c->flow.remote, remote))
            return c;
    }
    return NULL;
}

/* ---- life ---- */

/* Whose connections are counted together: an IPv4 address, a /64 of IPv6. */
static struct addr source_of(const struct addr *remote)
{
    struct addr a = *remote;
    a.port = 0;
    if (a.family == 6) {
        memset(a.ip + 8, 0, 8);
        a.scope = 0;
    }
    return a;
}

static bool source_full(struct sip *s, const struct addr *remote)
{
    struct addr source = source_of(remote);
    unsigned n = 0, max = s->shared->config.connections_source;
    HASH_EACH (c, &s->by_source, sip_addr_hash(s, &source), struct conn, by_source) {
        struct addr other = source_of(&c->flow.remote);
        if (addr_equal(&other, &source) && ++n >= max)
            return true;
    }
    return false;
}

static void on_idle(struct timer *t, void *arg)
{
    struct conn *c = arg;
    usec quiet = c->sip->loop->now - c->active, idle = c->sip->shared->config.idle;
    if (quiet >= idle)
        conn_drop(c, false, ERR_TIMEOUT);
    else
        loop_timer(c->sip->loop, t, idle - quiet);
}

static void on_deadline(struct timer *t, void *arg)
{
    (void)t;
    conn_drop(arg, false, ERR_TIMEOUT);
}

static struct conn *conn_new(struct sip *s, const struct flow *f, bool accepted)
{
    struct conn *c = s->conns < s->conns_max ? pool_get(s->conn_pool) : NULL;
    if (!c)
        return NULL;
    uint32_t slot = s->vacant[s->conns_max - ++s->conns];
    c->sip = s;
    c->flow = *f;
    c->flow.conn = (uint64_t)++s->generation[slot] << 32 | (slot + 1);
    c->accepted = accepted;
    c->active = s->loop->now;
    list_init(&c->watches);
    timer_init(&c->idle, on_idle, c);
    timer_init(&c->deadline, on_deadline, c);
    loop_timer(s->loop, &c->idle, s->shared->config.idle);
    s->conn[slot] = c;
    list_push(&s->live, &c->by_life);
    hash_insert(&s->by_remote, &c->by_remote, sip_addr_hash(s, &f->remote));
    if (accepted) {
        struct addr source = source_of(&f->remote);
        hash_insert(&s->by_source, &c->by_source, sip_addr_hash(s, &source));
    }
    stat_add(&s->loop->stats, STAT_TCP_CONNECTIONS, 1);
    return c;
}

/* The stream is gone, or about to be closed by the caller. */
static void conn_end(struct conn *c, enum err why)
{
    struct sip *s = c->sip;
    uint32_t slot = (uint32_t)(c->flow.conn & UINT32_MAX) - 1;
    c->stream = NULL;
    loop_timer_cancel(s->loop, &c->idle);
    loop_timer_cancel(s->loop, &c->deadline);
    hash_remove(&s->by_remote, &c->by_remote);
    hash_remove(&s->by_source, &c->by_source);
    s->conn[slot] = NULL;
    s->vacant[s->conns_max - s->conns--] = slot;
    block_unref(c->in);
    c->in = NULL;
    stat_add(&s->loop->stats, STAT_TCP_CONNECTIONS, -1);
    for (struct link *l; (l = list_pop(&c->watches));)
        watch_fail(s, CONTAINER(l, struct sip_sent, by_pending), why);
    hop_gone(c);
    list_unlink(&c->by_life);
    list_push(&s->dead, &c->by_life);
    loop_defer(s->loop, &s->later);
}

void conn_drop(struct conn *c, bool flush, enum err why)
{
    struct stream *stream = c->stream;
    if (!stream)
        return;
    conn_end(c, why);
    stream_close(stream, flush);
}

void conn_bury(struct conn *c)
{
    struct sip *s = c->sip;
    if (c->stream) { /* the endpoint ends: nobody is told */
        struct stream *stream = c->stream;
        while (list_pop(&c->watches))
            ;
        c->users = 0;
        conn_end(c, ERR_CANCELLED);
        stream_close(stream, true);
    }
    list_unlink(&c->by_life);
    pool_put(s->conn_pool, c);
}

/* ---- octets in ---- */

/* RFC 5626 §4.4.1: the double CRLF of a client is answered with a single one. One answer for all
 * that came in one piece. */
static void on_crlf(struct conn *c, size_t n)
{
    c->crlf += n;
    if (c->crlf >= 4) {
        c->crlf = 0;
        conn_send(c, SV("\r\n"));
    }
}

/* Appends what fits; 0: no memory. */
static size_t append(struct conn *c, sv octets)
{
    struct sip *s = c->sip;
    size_t limit = s->shared->config.max_message + IN_EXTRA;
    size_t held = c->in ? c->in->n - c->at : 0;
    size_t want = held + octets.n < limit ? held + octets.n : limit;
    if (!c->in || c->in->cap < want) {
        size_t cap = c->in && want < 2 * (size_t)c->in->cap ? 2 * (size_t)c->in->cap : want;
        struct block *b = block_new(s->loop->blocks, cap < IN_MIN ? IN_MIN : cap);
        if (!b)
            return 0;
        if (held)
            memcpy(b->p, c->in->p + c->at, held);
        b->n = (uint32_t)held;
        block_unref(c->in);
        c->in = b;
        c->at = 0;
    } else if (c->in->cap - c->in->n < want - held && c->at) {
        memmove(c->in->p, c->in->p + c->at, held);
        c->in->n = (uint32_t)held;
        c->at = 0;
    }
    size_t room = c->in->cap - c->in->n;
    size_t take = octets.n < room ? octets.n : room;
    memcpy(c->in->p + c->in->n, octets.p, take);
    c->in->n += (uint32_t)take;
    return take;
}

/* The first n unread octets are a message: a block of their own, so that what keeps the message
 * keeps no more. */
static void message(struct conn *c, size_t n, enum err rc, const struct sipmsg_fault *fault)
{
    struct sip *s = c->sip;
    struct block *b;
    if (c->at == 0 && n == c->in->n) {
        b = c->in;
        c->in = NULL;
    } else {
        b = block_new(s->loop->blocks, n);
        if (!b) {
            conn_drop(c, false, ERR_NOMEM);
            return;
        }
        memcpy(b->p, c->in->p + c->at, n);
        b->n = (uint32_t)n;
        c->at += n;
    }
    bool is_sip = sip_receive(s, b, block_sv(b), &c->flow, rc, fault);
    block_unref(b);
    if (!is_sip && !rc && c->stream)
        conn_drop(c, true, ERR_SYNTAX);
}

static void let_go_of_buffer(struct conn *c)
{
    block_unref(c->in);
    c->in = NULL;
    c->at = 0;
}

/* One message. False: more octets are needed, or the connection ended. */
static bool next_message(struct conn *c)
{
    struct sip *s = c->sip;
    if (!c->stream || !c->in)
        return false;
    sv rest = {c->in->p + c->at, c->in->n - c->at};
    if (c->resume == 0) {
        size_t n = sipmsg_skip_crlf(rest);
        c->at += n;
        rest = sv_sub(rest, n, rest.n);
        if (n)
            on_crlf(c, n);
        if (!c->stream)
            return false;
    }
    if (rest.n == 0) {
        let_go_of_buffer(c);
        return false;
    }
    struct sipmsg_fault fault = {0};
    size_t n = 0, max = s->shared->config.max_message;
    enum err rc = rest.n == 1 && rest.p[0] == '\r'
                      ? ERR_MORE /* half of a keep-alive */
                      : sipmsg_frame(rest, max, &c->resume, &n, &fault);
    if (rc == ERR_MORE && rest.n <= max) {
        if (!timer_armed(&c->deadline))
            loop_timer(s->loop, &c->deadline, s->shared->config.message_time);
        return false;
    }
    loop_timer_cancel(s->loop, &c->deadline);
    c->resume = 0;
    c->crlf = 0;
    if (rc) {
        /* Where the next message begins is not known any more: the answer is the last that is said.
         */
        if (rc == ERR_MORE)
            rc = ERR_TOOBIG;
        if (rc == ERR_TOOBIG)
            stat_refuse(&s->loop->stats, STAT_LIMIT_MESSAGE_SIZE);
        message(c, rest.n, rc, &fault);
        conn_drop(c, true, rc);
        return false;
    }
    message(c, n, ERR_OK, NULL);
    return true;
}

static void on_data(void *arg, sv octets)
{
    struct conn *c = arg;
    c->active = c->sip->loop->now;
    while (c->stream && octets.n) {
        size_t n = append(c, octets);
        if (n == 0) {
            conn_drop(c, false, ERR_NOMEM);
            return;
        }
        octets = sv_sub(octets, n, octets.n);
        while (next_message(c))
            ;
    }
}

static void on_open(void *arg)
{
    struct conn *c = arg;
    loop_timer_cancel(c->sip->loop, &c->deadline);
    c->active = c->sip->loop->now;
}

static void on_close(void *arg, enum err why)
{
    conn_end(arg, why ? why : ERR_CLOSED);
}

static const struct stream_handler conn_handler = {
    .on_open = on_open, .on_data = on_data, .on_close = on_close};

/* ---- beginning ---- */

static void on_accept(void *arg, struct stream *stream)
{
    struct sip_port *p = arg;
    struct sip *s = p->sip;
    struct flow f = {.transport = SIP_T_TCP,
                     .listener = p->index,
                     .worker = (uint8_t)s->loop->worker,
                     .local = stream->local,
                     .remote = stream->peer};
    bool full = source_full(s, &f.remote);
    struct conn *c = full ? NULL : conn_new(s, &f, true);
    if (!c) {
        stat_refuse(&s->loop->stats, full ? STAT_LIMIT_SOURCE_CONNECTIONS : STAT_LIMIT_CONNECTIONS);
        stream_close(stream, false);
        return;
    }
    if (addr_is_any(&p->local))
        sip_learn(s, &f.local);
    c->stream = stream;
    stream_handle(stream, &conn_handler, c);
}

const struct listener_handler sip_listener_handler = {.on_accept = on_accept};

enum err conn_connect(struct sip *s, enum sip_transport t, const struct addr *to,
                      struct conn **ret_conn)
{
    struct sip_port *p;
    struct flow f = {.transport = t, .worker = (uint8_t)s->loop->worker, .remote = *to};
    TRY(sip_port_for(s, t, to, &p, &f.local));
    f.listener = p->index;
    struct conn *c = conn_new(s, &f, false);
    if (!c) {
        stat_refuse(&s->loop->stats, STAT_LIMIT_CONNECTIONS);
        return ERR_BUSY;
    }
    /* Our end has a port of its own; Via names the listener's. */
    struct addr local = f.local;
    local.port = 0;
    enum err rc = stream_connect(s->loop, addr_is_any(&p->local) ? NULL : &local, to, &conn_handler,
                                 c, &c->stream);
    if (rc) {
        conn_end(c, rc);
        conn_bury(c); /* it never was: nobody is told */
        return rc;
    }
    loop_timer(s->loop, &c->deadline, SIP_CONNECT_TIME);
    *ret_conn = c;
    return ERR_OK;
}

void conn_send(struct conn *c, sv octets)
{
    enum err rc = stream_send(c->stream, &octets, 1);
    if (!rc) {
        c->active = c->sip->loop->now;
        return;
    }
    /* A peer that does not read must not make us hold what it will not take. */
    if (rc == ERR_TOOBIG)
        stat_refuse(&c->sip->loop->stats, STAT_LIMIT_WRITE_QUEUE);
    conn_drop(c, false, rc == ERR_TOOBIG ? ERR_BUSY : ERR_CLOSED);
}
