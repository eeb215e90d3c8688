/* SPDX-License-Identifier: MIT */
/* transport/transport_conn.c: connections of this worker: life, deadlines, caps, reuse.
 *
 *   accepted ─ tls, wss: TLS ─ ws, wss: HTTP, upgrade ─► up ── first valid message ──► proved
 *       └──────────── handshake time each ──┘             └── idle, message begun ── deadlines
 *
 * A record whose stream is NULL is dead: out of the tables, its watches failed, waiting for the end
 * of the turn to be reported (on_flow_gone) and buried. So a handler may end any connection, also
 * the one whose octets are being read.
 *
 * At the cap the oldest connection on trial (accepted, nothing useful came yet) makes room; when there is
 * none, the one longest silent on which nobody is registered. So a crowd that connects, or asks what
 * anybody may ask, shuts out itself, not the phones. */
#include "transport/transport_priv.h"

/* ---- reuse ---- */

/* Text of the name that a certificate must show: name 0 is the address. */
static bool wanted_name(struct sip *s, uint32_t name, const struct addr *to,
                        char mem[static SIP_NAME_MAX], sv *ret_name)
{
    struct buf b;
    if (name)
        return names_text(s->shared, name, mem, ret_name);
    buf_init(&b, mem, SIP_NAME_MAX);
    addr_print_ip(&b, to);
    *ret_name = buf_sv(&b);
    return !b.rc;
}

/* RFC 5923 §8.2: an accepted connection is used for requests only to the address that it named in
 * Via and only to an identity that its certificate shows. */
static bool alias_for(struct sip *s, const struct conn *c, const struct addr *remote, uint32_t name)
{
    char mem[SIP_NAME_MAX];
    sv text;
    return c->alias_port == remote->port && addr_equal_ip(&c->flow.remote, remote) && c->peer &&
           wanted_name(s, name, remote, mem, &text) && tls_peer_is(c->peer, text);
}

/* Who connects from a port has not shown that he is who listens there, so of accepted ones only
 * aliases. And one opened in one name is nobody else's, though the address be the same. */
struct conn *conn_to(struct sip *s, enum sip_transport t, const struct addr *remote, uint32_t name)
{
    HASH_EACH (c, &s->by_remote, sip_addr_hash(s, remote), struct conn, by_remote) {
        if (c->flow.transport != t)
            continue;
        if (c->accepted
                ? alias_for(s, c, remote, name)
                : addr_equal(&c->flow.remote, remote) && (t != SIP_T_TLS || c->name == name))
            return c;
    }
    return NULL;
}

bool conn_is_ours(struct sip *s, const struct flow *f)
{
    if (f->conn == 0)
        return true;
    const struct conn *c = conn_of_flow(s, f);
    return c && !c->accepted;
}

static void learn_alias(struct conn *c, struct rx *rx)
{
    struct sip *s = c->sip;
    const struct sip_via *via;
    sv value;
    if (!c->accepted || c->flow.transport != SIP_T_TLS || !rx->msg.request || !c->peer ||
        !c->peer->verified || hash_linked(&c->by_remote) || sipmsg_via(&rx->msg, &via) ||
        !sip_param(via->params, SV("alias"), &value))
        return;
    struct addr target = c->flow.remote;
    target.port = via->port ? via->port : SIPS_PORT;
    c->alias_port = target.port;
    hash_insert(&s->by_remote, &c->by_remote, sip_addr_hash(s, &target));
}

static bool at_home(const struct conn *c)
{
    return c->flow.worker == c->sip->loop->worker;
}

void conn_proved(struct conn *c, struct rx *rx)
{
    if (!rx->msg.request)
        return;
    c->proved = true;
    list_unlink(&c->by_trial);
    /* What others keep makes room for nobody here. */
    if (c->accepted && c->kept_until <= c->sip->loop->now && at_home(c))
        list_push(&c->sip->spoke, &c->by_trial);
    learn_alias(c, rx);
}

/* ---- life ---- */

/* The pings of a WebSocket tell whether its peer lives (RFC 7118 §6); silence ends only those that
 * never said anything. */
static bool kept_by_pings(const struct conn *c)
{
    return conn_is_websocket(c) && c->proved;
}

static void on_idle(struct timer *t, void *arg)
{
    struct conn *c = arg;
    usec now = c->sip->loop->now, quiet = now - c->active, idle = c->sip->shared->config.idle;
    if (kept_by_pings(c))
        loop_timer(c->sip->loop, t, idle);
    else if (c->kept_until > now)
        loop_timer(c->sip->loop, t, c->kept_until - now);
    else if (quiet >= idle)
        conn_drop(c, false, ERR_TIMEOUT);
    else
        loop_timer(c->sip->loop, t, idle - quiet);
}

static void on_deadline(struct timer *t, void *arg)
{
    struct conn *c = arg;
    struct stats *stats = &c->sip->loop->stats;
    (void)t;
    if (c->phase == CONN_HANDSHAKE)
        stat_refuse(stats, STAT_LIMIT_HANDSHAKE);
    else if (c->in)
        stat_refuse(stats, STAT_LIMIT_MESSAGE_TIME);
    conn_drop(c, false, ERR_TIMEOUT);
}

static struct conn *conn_new(struct sip *s, const struct flow *f, bool accepted)
{
    conn_take_back(s);
    if (s->conns == s->conns_max) {
        stat_refuse(&s->loop->stats, STAT_LIMIT_CONNECTIONS);
        struct link *crowd = list_empty(&s->trial) ? &s->spoke : &s->trial;
        if (list_empty(crowd))
            return NULL;
        conn_drop(CONTAINER(crowd->next, struct conn, by_trial), false, ERR_BUSY);
    }
    struct conn *c = pool_get(s->conn_pool);
    if (!c)
        return NULL;
    uint32_t slot = s->vacant[s->conns_max - ++s->conns];
    c->sip = s;
    c->flow = *f;
    c->flow.conn = (uint64_t)++s->generation[slot] << 32 | (slot + 1);
    c->source = f->remote;
    c->accepted = accepted;
    c->phase = CONN_UP;
    c->active = s->loop->now;
    list_init(&c->watches);
    timer_init(&c->idle, on_idle, c);
    timer_init(&c->deadline, on_deadline, c);
    loop_timer(s->loop, &c->idle, s->shared->config.idle);
    s->conn[slot] = c;
    conn_here(c);
    list_push(&s->live, &c->by_life);
    if (accepted)
        list_push(&s->trial, &c->by_trial);
    else
        hash_insert(&s->by_remote, &c->by_remote, sip_addr_hash(s, &f->remote));
    stat_add(&s->loop->stats, STAT_TCP_CONNECTIONS, 1);
    return c;
}

void conn_end(struct conn *c, enum err why)
{
    struct sip *s = c->sip;
    uint32_t slot = (uint32_t)(c->flow.conn & UINT32_MAX) - 1;
    c->stream = NULL;
    c->http = NULL;
    loop_timer_cancel(s->loop, &c->idle);
    loop_timer_cancel(s->loop, &c->deadline);
    list_unlink(&c->by_trial);
    hash_remove(&s->by_remote, &c->by_remote);
    if (c->counted)
        source_leave(s, &c->source);
    c->counted = false;
    conn_nowhere(c);
    if (at_home(c)) {
        s->conn[slot] = NULL;
        s->vacant[s->conns_max - s->conns--] = slot;
    }
    block_unref(c->in);
    c->in = NULL;
    tls_peer_unref(c->peer);
    c->peer = NULL;
    stat_add(&s->loop->stats, STAT_TCP_CONNECTIONS, -1);
    if (conn_is_websocket(c))
        stat_add(&s->loop->stats, STAT_WEBSOCKETS, -1);
    for (struct link *l; (l = list_pop(&c->watches));)
        watch_fail(s, CONTAINER(l, struct sip_sent, by_pending), why);
    hop_gone(c);
    list_unlink(&c->by_life);
    list_push(&s->dead, &c->by_life);
    loop_defer(s->loop, &s->later);
}

static void close_lower(struct stream *stream, struct http *http, bool flush)
{
    if (http)
        http_close(http, flush);
    else
        stream_close(stream, flush);
}

void conn_drop(struct conn *c, bool flush, enum err why)
{
    struct stream *stream = c->stream;
    struct http *http = c->http;
    if (!stream)
        return;
    conn_end(c, why);
    close_lower(stream, http, flush);
}

void conn_bury(struct conn *c)
{
    struct sip *s = c->sip;
    if (c->stream) { /* the endpoint ends: nobody is told */
        struct stream *stream = c->stream;
        struct http *http = c->http;
        while (list_pop(&c->watches))
            ;
        c->users = 0;
        conn_end(c, ERR_CANCELLED);
        close_lower(stream, http, true);
    }
    list_unlink(&c->by_life);
    if (at_home(c))
        pool_put(s->conn_pool, c);
    else
        conn_give_back(c);
}

/* ---- the stream below ---- */

void conn_up(struct conn *c)
{
    size_t least = c->sip->shared->config.max_message + QUEUE_EXTRA;
    loop_timer_cancel(c->sip->loop, &c->deadline);
    c->phase = CONN_UP;
    /* What a peer that does not read makes us hold; one message of any size fits. */
    c->stream->queue_max = least > QUEUE_MIN ? least : QUEUE_MIN;
}

static void on_open(void *arg)
{
    struct conn *c = arg;
    struct sip *s = c->sip;
    c->active = s->loop->now;
    struct tls_peer *peer = c->stream->tls_peer;
    if (peer && (peer->verified || peer->sip_uris_n || peer->dns_n || peer->ips_n))
        c->peer = tls_peer_ref(peer); /* a certificate was shown */
    if (c->flow.transport == SIP_T_WSS) {
        loop_timer(s->loop, &c->deadline, s->shared->config.handshake);
        conn_await_upgrade(c);
    } else {
        conn_up(c);
    }
}

static void on_data(void *arg, sv octets)
{
    struct conn *c = arg;
    c->active = c->sip->loop->now;
    conn_octets(c, octets);
}

static void on_close(void *arg, enum err why)
{
    conn_end(arg, why ? why : ERR_CLOSED);
}

static const struct stream_handler conn_handler = {
    .on_open = on_open, .on_data = on_data, .on_close = on_close};

/* ---- beginning ---- */

/* stream goes over to c, or is closed. */
static void begin(struct conn *c, struct stream *stream)
{
    struct sip *s = c->sip;
    enum sip_transport t = c->flow.transport;
    c->stream = stream;
    if (t == SIP_T_TCP) {
        stream_handle(stream, &conn_handler, c);
        conn_up(c);
        return;
    }
    c->phase = CONN_HANDSHAKE;
    loop_timer(s->loop, &c->deadline, s->shared->config.handshake);
    if (t == SIP_T_WS) {
        conn_await_upgrade(c);
    } else if (tls_accept(s->tls, stream, &conn_handler, c, &c->stream)) {
        c->stream = stream;
        conn_drop(c, false, ERR_NOMEM);
    }
}

bool from_proxy(const struct sip_listen *l, const struct addr *peer)
{
    for (unsigned i = 0; i < l->proxies_n; i++)
        if (addr_net_has(&l->proxies[i], peer))
            return true;
    return false;
}

static void on_accept(void *arg, struct stream *stream)
{
    struct sip_port *p = arg;
    struct sip *s = p->sip;
    const struct sip_listen *l = &s->shared->config.listen[p->index];
    struct flow f = {.transport = l->transport,
                     .listener = p->index,
                     .worker = (uint8_t)s->loop->worker,
                     .local = stream->local,
                     .remote = stream->peer};
    /* Behind a proxy are many: each counts when it is known. */
    bool counts = l->transport != SIP_T_WS || !from_proxy(l, &f.remote);
    if ((flow_secure(&f) && !s->tls) || (counts && source_enter(s, &f.remote) != SOURCE_ENTERED)) {
        stream_close(stream, false);
        return;
    }
    struct conn *c = conn_new(s, &f, true);
    if (!c) {
        if (counts)
            source_leave(s, &f.remote);
        stream_close(stream, false);
        return;
    }
    c->counted = counts;
    if (addr_is_any(&p->local))
        sip_learn(s, &f.local);
    begin(c, stream);
}

const struct listener_handler sip_listener_handler = {.on_accept = on_accept};

static enum err open_stream(struct conn *c, const struct addr *local)
{
    struct sip *s = c->sip;
    char mem[SIP_NAME_MAX];
    sv name;
    if (c->flow.transport == SIP_T_TCP)
        return stream_connect(s->loop, local, &c->flow.remote, &conn_handler, c, &c->stream);
    if (!s->tls || !wanted_name(s, c->name, &c->flow.remote, mem, &name))
        return ERR_UNREACHABLE;
    return tls_connect(s->tls, s->loop, local, &c->flow.remote, name, true, &conn_handler, c,
                       &c->stream);
}

enum err conn_connect(struct sip *s, enum sip_transport t, const struct addr *to, uint32_t name,
                      struct conn **ret_conn)
{
    struct sip_port *p;
    struct flow f = {.transport = t, .worker = (uint8_t)s->loop->worker, .remote = *to};
    if (!sip_connects(t))
        return ERR_UNREACHABLE;
    TRY(sip_port_for(s, t, to, &p, &f.local));
    f.listener = p->index;
    struct conn *c = conn_new(s, &f, false);
    if (!c)
        return ERR_BUSY;
    c->name = name;
    /* Our end has a port of its own; Via names the listener's. */
    struct addr local = f.local;
    local.port = 0;
    enum err rc = open_stream(c, addr_is_any(&p->local) ? NULL : &local);
    if (rc) {
        conn_end(c, rc);
        conn_bury(c); /* it never was: nobody is told */
        return rc;
    }
    loop_timer(s->loop, &c->deadline, SIP_CONNECT_TIME);
    *ret_conn = c;
    return ERR_OK;
}

void conn_send_octets(struct conn *c, sv octets)
{
    if (sv_eq(octets, SV("\r\n\r\n")) && c->pings < UINT8_MAX)
        c->pings++;
    conn_send(c, octets);
}

void conn_send(struct conn *c, sv octets)
{
    enum err rc = c->http ? ERR_CLOSED : stream_send(c->stream, &octets, 1);
    if (!rc) {
        c->active = c->sip->loop->now;
        return;
    }
    /* A peer that does not read must not make us hold what it will not take. */
    conn_drop(c, false, rc == ERR_TOOBIG ? ERR_BUSY : ERR_CLOSED);
}
