/* SPDX-License-Identifier: MIT */
/* transport/transport_rx.c: a message comes in, and goes to its home.
 *
 *   datagram, frame -> sip_receive -> pass one, check -> refused? the user answers it here
 *                                          |
 *                                          v  mark, own transaction, Call-ID
 *                                    home of another worker? its mailbox -> deliver there
 *                                          v
 *                                       deliver: transactions, else the user */
#include "transport/transport_priv.h"
#include <assert.h>

struct rx_cell {
    struct rx rx;
    struct rx_priv priv;
};

/* All who hold a message are of one worker: it is handed over by the only one there is. */
struct rx *rx_ref(struct rx *rx)
{
    rx->priv->refs++;
    return rx;
}

void rx_unref(struct rx *rx)
{
    if (!rx || --rx->priv->refs > 0)
        return;
    if (rx->claimed)
        home_release(rx->priv->shared->home, &rx->call_key);
    struct block *self = rx->priv->self, *octets = rx->priv->octets;
    arena_done(&rx->arena);
    tls_peer_unref(rx->peer);
    block_unref(octets);
    block_unref(self);
}

const struct home_key *sip_call_key(struct sip *s, struct rx *rx)
{
    if (!rx->has_call_key) {
        rx->call_key = home_key(s->shared->home, sipmsg_value(&rx->msg, SIP_H_CALL_ID));
        rx->has_call_key = true;
    }
    return &rx->call_key;
}

static struct rx *rx_new(struct sip *s, struct block *octets, const struct flow *f,
                         const struct conn *c)
{
    struct block *self = block_new(s->loop->blocks, SIP_RX_OCTETS);
    if (!self)
        return NULL;
    struct rx_cell *cell = (struct rx_cell *)(void *)self->p;
    struct rx *rx = &cell->rx;
    /* The message is begun by whoever parses it: that is next. */
    size_t known = offsetof(struct rx_cell, rx) + offsetof(struct rx, flow);
    memset((char *)cell + known, 0, sizeof *cell - known);
    rx->priv = &cell->priv;
    rx->priv->refs = 1;
    rx->priv->shared = s->shared;
    rx->priv->self = self;
    rx->priv->octets = block_ref(octets);
    rx->flow = *f;
    rx->source = c ? c->source : f->remote;
    rx->peer = c && c->peer ? tls_peer_ref(c->peer) : NULL;
    rx->at = s->loop->now;
    arena_init(&rx->arena, cell + 1, self->cap - sizeof *cell, SIP_RX_ARENA);
    return rx;
}

/* ---- home ---- */

bool sip_marked(const struct sip *s, const struct rx *rx, sv text, uint64_t *ret_chance)
{
    uint16_t slot;
    if (!text.p || text.p != rx->marked)
        return home_mark_open(s->shared->home, text, &slot, ret_chance);
    *ret_chance = rx->mark_chance;
    return text.n >= HOME_MARK_LEN;
}

static bool led_by(struct sip *s, struct rx *rx, const struct uri *u)
{
    if ((u->scheme != URI_SIP && u->scheme != URI_SIPS) || !sv_present(u->user) ||
        !home_mark_open(s->shared->home, u->user, &rx->slot, &rx->mark_chance))
        return false;
    rx->marked = u->user.p;
    return sip_is_local(s, u->host, u->port);
}

static bool request_mark(struct sip *s, struct rx *rx)
{
    const struct sip_addr *routes;
    const struct uri *uri;
    size_t n;
    if (sipmsg_has(&rx->msg, SIP_H_ROUTE) && !sipmsg_addrs(&rx->msg, SIP_H_ROUTE, &routes, &n) &&
        n > 0 && led_by(s, rx, &routes[0].uri))
        return true;
    return !sipmsg_uri(&rx->msg, &uri) && led_by(s, rx, uri);
}

/* ACK and CANCEL begin nothing: they go where their INVITE is, or stay. */
static void find_or_claim(struct sip *s, struct rx *rx)
{
    struct home *h = s->shared->home;
    if (rx->msg.method == SIP_ACK || rx->msg.method == SIP_CANCEL) {
        (void)home_find(h, sip_call_key(s, rx), &rx->slot);
        return;
    }
    enum home_held held = home_claim(h, sip_call_key(s, rx), rx->slot, &rx->slot);
    rx->claimed = held != HOME_NOT_HELD;
    rx->first = held == HOME_FIRST;
    if (!rx->claimed)
        stat_refuse(&s->loop->stats, STAT_LIMIT_DIRECTORY);
}

static void request_home(struct sip *s, struct rx *rx)
{
    rx->led = request_mark(s, rx);
    if (rx->led)
        return;
    uint16_t own = home_slot(s->shared->home, s->loop->worker, loop_random(s->loop));
    rx->slot = own;
    find_or_claim(s, rx);
    /* It stays with a transaction that it belongs to, wherever the Call-ID lives. */
    if (!rx->first && s->txn_ops && s->txn_ops->knows(s->txns, rx))
        rx->slot = own;
}

/* ---- delivery ---- */

/* A response by a branch of ours, that no transaction takes. */
static void stray(struct sip *s, struct rx *rx)
{
    stat_inc(&s->loop->stats, STAT_SIP_STRAY);
    if (s->user->on_stray)
        s->user->on_stray(s->arg, rx);
}

static bool answers(struct sip *s, struct rx *rx)
{
    return s->txn_ops && s->txn_ops->on_response(s->txns, rx);
}

static void deliver(struct sip *s, struct rx *rx)
{
    if (rx->rc) {
        s->user->on_request(s->arg, rx);
    } else if (rx->msg.request) {
        if (!s->txn_ops || !s->txn_ops->on_request(s->txns, rx))
            s->user->on_request(s->arg, rx);
    } else if (!answers(s, rx)) {
        stray(s, rx);
    }
}

static void on_handover(struct loop *at, struct mail *m)
{
    struct rx_priv *priv = CONTAINER(m, struct rx_priv, mail);
    struct rx *rx = &CONTAINER(priv, struct rx_cell, priv)->rx;
    struct sip *s = loop_stopping(at) ? NULL : priv->shared->endpoint[at->worker];
    if (s)
        deliver(s, rx);
    rx_unref(rx);
}

/* With the caller's reference, the only one: rx is not to be touched any more. */
static void hand_over(struct sip *s, struct rx *rx, unsigned worker)
{
    assert(rx->priv->refs == 1);
    rx->priv->mail.fn = on_handover;
    if (loop_mail(s->shared->group->loop[worker], &rx->priv->mail)) {
        stat_refuse(&s->loop->stats, STAT_LIMIT_MAILBOX);
        rx_unref(rx);
        return;
    }
    stat_inc(&s->loop->stats, STAT_HANDOVERS);
}

/* Mostly it answers a transaction of this worker: then nobody asks its mark where it lives. RFC 3261 §18.1.2:
 * a response whose topmost Via is not ours MUST be discarded. False: it is handed over. */
static bool receive_response(struct sip *s, struct rx *rx)
{
    const struct sip_via *via;
    sv cookie = SV("z9hG4bK");
    struct home *h = s->shared->home;
    bool ours = !sipmsg_via(&rx->msg, &via) && sv_present(via->branch) &&
                sv_starts(via->branch, cookie) && sip_is_local(s, via->host, via->port);
    if (ours && answers(s, rx))
        return true;
    if (!ours || !home_mark_read(h, sv_sub(via->branch, cookie.n, via->branch.n), &rx->slot)) {
        stat_inc(&s->loop->stats, STAT_SIP_STRAY);
        return true;
    }
    unsigned worker = home_worker(h, rx->slot);
    if (worker != s->loop->worker) {
        hand_over(s, rx, worker);
        return false;
    }
    stray(s, rx);
    return true;
}

/* False: it is handed over. */
static bool receive_request(struct sip *s, struct rx *rx, struct conn *c)
{
    request_home(s, rx);
    unsigned worker = home_worker(s->shared->home, rx->slot);
    if (worker != s->loop->worker) {
        hand_over(s, rx, worker);
        return false;
    }
    if (c)
        conn_spread(c);
    deliver(s, rx);
    return true;
}

/* ---- refusal ---- */

/* An ACK is never answered, however broken; nor is what has no Via at all and may be no SIP. A
 * request whose Via cannot be read is
 * answered where it came from. */
static bool answerable(struct rx *rx)
{
    const struct sip_cseq *cseq;
    return rx->msg.request && rx->msg.method != SIP_ACK && rx->fault.status >= 300 &&
           sipmsg_has(&rx->msg, SIP_H_VIA) &&
           (sipmsg_cseq(&rx->msg, &cseq) != ERR_OK || cseq->method != SIP_ACK);
}

static void count_request(struct sip *s, const struct rx *rx)
{
    _Atomic uint64_t *v = &s->loop->stats.requests[rx->msg.method][rx->flow.transport];
    atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* RFC 7118 §5: a WebSocket message is one SIP message, no more. */
static enum err nothing_behind(struct rx *rx, sv text)
{
    if ((rx->flow.transport != SIP_T_WS && rx->flow.transport != SIP_T_WSS) ||
        rx->msg.text.n == text.n)
        return ERR_OK;
    rx->fault = (struct sipmsg_fault){
        .status = 400, .at = (uint32_t)rx->msg.text.n, .why = "Octets behind the body"};
    return ERR_SYNTAX;
}

bool sip_receive(struct sip *s, struct block *octets, sv text, const struct flow *f, struct conn *c,
                 enum err rc, const struct sipmsg_fault *fault)
{
    bool is_sip = true, stays = true;
    sip_tap(s, false, c ? &c->source : &f->remote, text);
    struct rx *rx = rx_new(s, octets, f, c);
    if (!rx)
        return true; /* over the cap of blocks: as if lost on the way */
    rx->rc = sipmsg_parse(text, &rx->arena, &rx->msg, &rx->fault);
    if (!rx->rc)
        rx->rc = nothing_behind(rx, text);
    if (!rx->rc && !rc)
        rx->rc = sipmsg_check(&rx->msg, &rx->fault);
    if (rc) {
        rx->rc = rc;
        rx->fault = *fault;
        if (rx->fault.status < 300)
            rx->fault.status = rc == ERR_TOOBIG ? 513 : 400;
    }
    if (rx->msg.request && rx->msg.method_text.n > 0)
        count_request(s, rx);
    if (!rx->rc && c)
        conn_proved(c, rx);
    if (rx->rc) {
        stat_inc(&s->loop->stats, STAT_SIP_PARSE_ERRORS);
        is_sip = sipmsg_has(&rx->msg, SIP_H_VIA);
        if (answerable(rx))
            deliver(s, rx);
    } else {
        stays = rx->msg.request ? receive_request(s, rx, c) : receive_response(s, rx);
    }
    if (stays)
        rx_unref(rx);
    return is_sip;
}

/* ---- datagrams ---- */

/* What keeps a NAT's binding open, and is no message and no STUN: CRLFs, four zero octets. */
static bool keep_alive(sv d)
{
    static const char zeros[4];
    return d.n == 0 || (d.n == 4 && memcmp(d.p, zeros, 4) == 0);
}

static void on_datagram(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    struct sip_port *p = arg;
    struct sip *s = p->sip;
    stat_inc(&s->loop->stats, STAT_SIP_RX_UDP);
    sv text = block_sv(b);
    text = sv_sub(text, sipmsg_skip_crlf(text), text.n);
    if (keep_alive(text) || sip_stun(p, text, from, to))
        return;
    struct flow f = {.transport = SIP_T_UDP,
                     .listener = p->index,
                     .worker = (uint8_t)s->loop->worker,
                     .local = *to,
                     .remote = *from};
    f.local.port = p->local.port;
    if (addr_is_any(&p->local))
        sip_learn(s, &f.local);
    struct sipmsg_fault fault = {.status = 513, .why = "Message Too Large"};
    bool big = text.n > s->shared->config.max_message;
    if (big)
        stat_refuse(&s->loop->stats, STAT_LIMIT_MESSAGE_SIZE);
    sip_receive(s, b, text, &f, NULL, big ? ERR_TOOBIG : ERR_OK, &fault);
}

static void on_error(void *arg, const struct addr *to, enum err why, sv quoted)
{
    struct sip *s = ((struct sip_port *)arg)->sip;
    watch_fail_quoted(s, to, quoted, why);
}

/* Where a mark of ours stands in nearly all responses, and in what follows in a call: in our Via, which is
 * the first, and in the Route that was our Record-Route. A re-INVITE is handed over: to look for a Route in
 * each INVITE would cost more. */
static const struct udp_steer steer[] = {
    {"SIP/", "hG4bK", 48, 107}, /* by itself it finds room everywhere */
    {"SIP/", "hG4bK", 108, 199},
    {"ACK BYE INFOPRACREFENOTIUPDA", "oute: <sip:", 20, 559},
};
const struct udp_handler sip_udp_handler = {.on_datagram = on_datagram,
                                            .on_error = on_error,
                                            .steer = steer,
                                            .steers = sizeof(steer) / sizeof(*steer)};
