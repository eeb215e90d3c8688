/* SPDX-License-Identifier: MIT */
/* transport/transport_send.c: messages out; watches; connections of other workers.
 *
 * A watch lies in one list: of its connection; or, for a datagram and for another worker's
 * connection, in a bucket of `waiting` under its target's hash; or in `failed` until the end of the
 * turn.
 *
 *   this worker            owner of the connection
 *   hop ---- mail ------>  conn_of, conn_send          (the owner remembers who has sent:
 * conn.users) watch_fail_target <--- mail: no such connection (one watch), or it ended (all of its
 * watches)
 *
 * Of a datagram a watch keeps the octets: an ICMP report can be forged by who knows two addresses, so it
 * is believed only when it quotes ours through the branch. One that quotes less is ignored; then
 * the transaction's own timers remain (RFC 3261 §18.4 asks for the report as a courtesy). The kernel
 * gives the report to any of the workers' sockets of the port; the mark in the branch says whose it is. */
#include "transport/transport_priv.h"

enum { BRANCH_WITHIN = 1024 }; /* of what we send */

/* A message on its way to the owner of a connection, or the news of its failure on the way back; or a word
 * about it. */
struct hop {
    struct mail mail;
    struct sip_shared *shared;
    struct block *self, *octets;
    struct dest dest;
    uint64_t conn, watch; /* watch 0: all of the connection */
    unsigned named, from; /* as flow.worker; the sender */
    bool message;
    bool wanted; /* the sender would serve the connection itself */
    enum err why;
    usec until;
};

/* ---- watches ---- */

/* Spreads watches over their lists; no secret is needed: a long list is walked for a failure only, and one
 * destination can have as long a one by itself. */
static uint64_t spread(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t x = (a ^ 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
    x = (x ^ x >> 32 ^ b) * 0xc4ceb9fe1a85ec53u;
    x = (x ^ x >> 32 ^ c) * 0xff51afd7ed558ccdu;
    return x ^ x >> 32;
}

uint64_t watch_target_conn(unsigned worker, uint64_t conn)
{
    return spread(worker, conn, 1);
}

uint64_t watch_target_addr(const struct addr *a)
{
    uint64_t ip[2];
    memcpy(ip, a->ip, sizeof ip);
    return spread(ip[0], ip[1], (uint64_t)a->scope << 32 | (uint64_t)a->port << 16 | 2);
}

void watch_wait(struct sip *s, struct sip_sent *w, uint64_t target, struct block *octets)
{
    w->octets = octets ? block_ref(octets) : NULL;
    w->id = ++s->watch_id;
    w->target = target;
    list_push(&s->waiting[target % SIP_WAITING], &w->by_pending);
}

/* Out of its list. */
static void watch_take(struct sip_sent *w)
{
    list_unlink(&w->by_pending);
    block_unref(w->octets);
    w->octets = NULL;
}

void watch_fail(struct sip *s, struct sip_sent *w, enum err why)
{
    watch_take(w);
    w->why = why;
    list_push(&s->failed, &w->by_pending);
    loop_defer(s->loop, &s->later);
}

void watch_fail_target(struct sip *s, uint64_t target, uint64_t id, enum err why)
{
    LIST_EACH_SAFE (w, &s->waiting[target % SIP_WAITING], struct sip_sent, by_pending) {
        if (w->target == target && (id == 0 || w->id == id))
            watch_fail(s, w, why);
    }
}

/* Where the text of the topmost branch begins, behind its cookie; n: there is none. */
static size_t branch_at(sv text)
{
    sv cookie = SV(";branch=z9hG4bK");
    const char *at =
        memmem(text.p, text.n < BRANCH_WITHIN ? text.n : BRANCH_WITHIN, cookie.p, cookie.n);
    return at ? (size_t)(at - text.p) + cookie.n : text.n;
}

/* Octets of a message of ours up to the end of its topmost branch: nobody off the path knows them. */
static size_t through_branch(sv text)
{
    size_t n = branch_at(text) + HOME_MARK_LEN;
    return n < text.n ? n : text.n;
}

static void fail_quoted_here(struct sip *s, const struct addr *to, sv quoted, enum err why)
{
    uint64_t target = watch_target_addr(to);
    LIST_EACH_SAFE (w, &s->waiting[target % SIP_WAITING], struct sip_sent, by_pending) {
        if (w->target != target || !w->octets)
            continue;
        sv sent = block_sv(w->octets);
        sent.n = through_branch(sent);
        if (sv_starts(quoted, sent))
            watch_fail(s, w, why);
    }
}

void sip_send_cancel(struct sip_sent *watch)
{
    watch_take(watch);
}

void sip_later(struct deferred *d, void *arg)
{
    struct sip *s = arg;
    (void)d;
    for (struct link *l; (l = list_pop(&s->failed));) {
        struct sip_sent *w = CONTAINER(l, struct sip_sent, by_pending);
        w->on_fail(w->arg, w->why);
    }
    for (struct link *l; (l = list_pop(&s->dead));) {
        struct conn *c = CONTAINER(l, struct conn, by_life);
        struct flow gone = c->flow;
        conn_bury(c);
        if (s->user->on_flow_gone)
            s->user->on_flow_gone(s->arg, &gone);
    }
}

/* ---- other workers' connections ---- */

static struct hop *hop_new(struct sip *s, unsigned named, uint64_t conn)
{
    struct block *self = block_new(s->loop->blocks, sizeof(struct hop));
    if (!self)
        return NULL;
    struct hop *h = (struct hop *)(void *)self->p;
    *h = (struct hop){
        .shared = s->shared, .self = self, .conn = conn, .named = named, .from = s->loop->worker};
    return h;
}

static void hop_free(struct hop *h)
{
    block_unref(h->octets);
    block_unref(h->self);
}

static bool hop_mail(struct hop *h, unsigned worker, mail_fn *fn)
{
    h->mail.fn = fn;
    return !loop_mail(h->shared->group->loop[worker], &h->mail);
}

static void on_hop_failed(struct loop *at, struct mail *m)
{
    struct hop *h = CONTAINER(m, struct hop, mail);
    struct sip *s = loop_stopping(at) ? NULL : h->shared->endpoint[at->worker];
    if (s)
        watch_fail_target(s, watch_target_conn(h->named, h->conn), h->watch, h->why);
    hop_free(h);
}

/* The connection is with another worker by now, or not here yet: so this mail goes after it, or is lost on the way
 * as any may be; that is no end of the connection. False: it is for here. */
static bool hop_follows(struct sip *s, struct hop *h)
{
    if (!s || !conn_elsewhere(s, &h->dest.flow))
        return false;
    if (!hop_mail(h, conn_owner(s, &h->dest.flow), h->mail.fn)) {
        stat_refuse(&s->loop->stats, STAT_LIMIT_MAILBOX);
        hop_free(h); /* the sender's own timers remain */
    }
    return true;
}

/* The connection that d asks for; NULL: it is gone, and d names no other way. */
static struct conn *conn_of(struct sip *s, const struct dest *d)
{
    struct conn *c = conn_of_flow(s, &d->flow);
    if (c || !d->or_connect)
        return c;
    c = conn_to(s, d->transport, &d->addr, d->name);
    if (!c && conn_connect(s, d->transport, &d->addr, d->name, &c))
        return NULL;
    return c;
}

static void on_hop(struct loop *at, struct mail *m)
{
    struct hop *h = CONTAINER(m, struct hop, mail);
    struct sip *s = loop_stopping(at) ? NULL : h->shared->endpoint[at->worker];
    if (hop_follows(s, h))
        return;
    /* A connection made here would be another than the one that the watch waits for. */
    struct conn *c = !s ? NULL : h->watch ? conn_of_flow(s, &h->dest.flow) : conn_of(s, &h->dest);
    if (c) {
        c->users |= (uint64_t)1 << h->from;
        /* Failing, it ends the connection: hop_gone tells. */
        if (h->message) {
            sip_tap(s, true, &c->source, block_sv(h->octets));
            conn_send(c, block_sv(h->octets));
            if (h->wanted && h->from != s->loop->worker) /* it may have come back to the sender */
                conn_move(c, h->from);
        } else {
            conn_send_octets(c, block_sv(h->octets));
        }
    } else if (s && h->watch) {
        h->why = ERR_CLOSED;
        if (hop_mail(h, h->from, on_hop_failed))
            return;
    }
    hop_free(h);
}

void hop_gone(struct conn *c)
{
    struct sip *s = c->sip;
    for (unsigned w = 0; c->users && w < s->shared->group->n; w++) {
        struct hop *h = c->users >> w & 1 ? hop_new(s, c->flow.worker, c->flow.conn) : NULL;
        if (!h)
            continue; /* the sender's own timers remain */
        h->why = ERR_CLOSED;
        if (!hop_mail(h, w, on_hop_failed))
            hop_free(h);
    }
}

static void on_refused(struct loop *at, struct mail *m)
{
    struct hop *h = CONTAINER(m, struct hop, mail);
    struct sip *s = loop_stopping(at) ? NULL : h->shared->endpoint[at->worker];
    if (s)
        fail_quoted_here(s, &h->dest.addr, block_sv(h->octets), h->why);
    hop_free(h);
}

void watch_fail_quoted(struct sip *s, const struct addr *to, sv quoted, enum err why)
{
    struct home *home = s->shared->home;
    uint16_t slot;
    bool marked = home_mark_read(home, sv_sub(quoted, branch_at(quoted), quoted.n), &slot);
    unsigned worker = marked ? home_worker(home, slot) : s->loop->worker;
    if (worker == s->loop->worker) {
        fail_quoted_here(s, to, quoted, why);
        return;
    }
    struct hop *h = hop_new(s, worker, 0);
    if (!h)
        return; /* the sender's own timers remain */
    h->octets = sip_block(s, quoted.n);
    h->dest.addr = *to;
    h->why = why;
    if (h->octets) {
        memcpy(h->octets->p, quoted.p, quoted.n);
        h->octets->n = (uint32_t)quoted.n;
    }
    if (!h->octets || !hop_mail(h, worker, on_refused))
        hop_free(h);
}

static enum err send_elsewhere(struct sip *s, const struct dest *d, struct block *octets,
                               bool message, struct sip_sent *watch)
{
    const struct flow *f = &d->flow;
    if (f->worker >= s->shared->group->n)
        return ERR_UNREACHABLE;
    struct hop *h = hop_new(s, f->worker, f->conn);
    if (!h)
        return ERR_BUSY;
    h->octets = block_ref(octets);
    h->dest = *d;
    h->message = message;
    h->wanted = message && conn_may_come(s);
    if (watch) {
        watch_wait(s, watch, watch_target_conn(f->worker, f->conn), NULL);
        h->watch = watch->id;
    }
    if (hop_mail(h, conn_owner(s, f), on_hop)) {
        stat_inc(&s->loop->stats, STAT_SENT_ELSEWHERE);
        return ERR_OK;
    }
    stat_refuse(&s->loop->stats, STAT_LIMIT_MAILBOX);
    hop_free(h);
    if (watch)
        sip_send_cancel(watch);
    return ERR_BUSY;
}

/* ---- sending ---- */

static enum err send_conn(struct sip *s, struct conn *c, struct block *octets,
                          struct sip_sent *watch)
{
    if (!c) {
        if (watch)
            watch_fail(s, watch, ERR_CLOSED);
        return ERR_OK;
    }
    if (watch)
        list_push(&c->watches, &watch->by_pending);
    sip_tap(s, true, &c->source, block_sv(octets));
    conn_send(c, block_sv(octets));
    return ERR_OK;
}

static enum err send_udp(struct sip *s, struct sip_port *p, const struct addr *local,
                         const struct addr *to, struct block *octets, struct sip_sent *watch)
{
    sv piece = block_sv(octets);
    if (!p->udp)
        return ERR_UNREACHABLE;
    sip_tap(s, true, to, piece);
    TRY(udp_send(p->udp, addr_is_any(&p->local) ? local : NULL, to, &piece, 1));
    stat_inc(&s->loop->stats, STAT_SIP_TX_UDP);
    if (watch)
        watch_wait(s, watch, watch_target_addr(to), octets);
    return ERR_OK;
}

enum err sip_send(struct sip *s, const struct dest *d, struct block *octets, struct sip_sent *watch)
{
    const struct flow *f = &d->flow;
    if (watch)
        sip_send_cancel(watch);
    if (f->transport == SIP_T_UDP)
        return f->listener < SIP_LISTENERS_MAX
                   ? send_udp(s, &s->port[f->listener], &f->local, &f->remote, octets, watch)
                   : ERR_UNREACHABLE;
    if (f->transport != SIP_T_NONE && f->conn)
        /* A new connection in the place of one that is gone is made where it is watched. */
        return conn_is_here(s, f) || (d->or_connect && !sip_flow_up(s, f))
                   ? send_conn(s, conn_of(s, d), octets, watch)
                   : send_elsewhere(s, d, octets, true, watch);
    enum sip_transport t = f->transport != SIP_T_NONE ? f->transport : d->transport;
    const struct addr *to = f->transport != SIP_T_NONE ? &f->remote : &d->addr;
    if (t == SIP_T_UDP) {
        struct sip_port *p;
        struct addr local;
        TRY(sip_port_for(s, t, to, &p, &local));
        return send_udp(s, p, &local, to, octets, watch);
    }
    struct conn *c = conn_to(s, t, to, d->name);
    if (!c)
        TRY(conn_connect(s, t, to, d->name, &c));
    return send_conn(s, c, octets, watch);
}

enum err sip_send_octets(struct sip *s, const struct flow *f, sv octets)
{
    struct dest d = {.flow = *f};
    if (f->transport == SIP_T_UDP) {
        struct sip_port *p = f->listener < SIP_LISTENERS_MAX ? &s->port[f->listener] : NULL;
        if (!p || !p->udp)
            return ERR_UNREACHABLE;
        return udp_send(p->udp, addr_is_any(&p->local) ? &f->local : NULL, &f->remote, &octets, 1);
    }
    if (f->conn == 0)
        return ERR_UNREACHABLE;
    if (conn_is_here(s, f)) {
        struct conn *c = conn_of_flow(s, f);
        if (!c)
            return ERR_UNREACHABLE;
        conn_send_octets(c, octets);
        return ERR_OK;
    }
    struct block *b = sip_block(s, octets.n);
    if (!b)
        return ERR_BUSY;
    memcpy(b->p, octets.p, octets.n);
    b->n = (uint32_t)octets.n;
    enum err rc = send_elsewhere(s, &d, b, false, NULL);
    block_unref(b);
    return rc;
}

/* ---- keeping ---- */

static void keep(struct sip *s, const struct flow *f, usec until)
{
    struct conn *c = conn_of_flow(s, f);
    if (!c || until <= c->kept_until)
        return;
    c->kept_until = until;
    list_unlink(&c->by_trial); /* a phone's: it gives way to nobody */
}

static void on_keep(struct loop *at, struct mail *m)
{
    struct hop *h = CONTAINER(m, struct hop, mail);
    struct sip *s = loop_stopping(at) ? NULL : h->shared->endpoint[at->worker];
    if (hop_follows(s, h))
        return;
    if (s)
        keep(s, &h->dest.flow, h->until);
    hop_free(h);
}

void sip_flow_keep(struct sip *s, const struct flow *f, usec until)
{
    if (f->conn == 0 || f->worker >= s->shared->group->n)
        return;
    if (conn_is_here(s, f)) {
        keep(s, f, until);
        return;
    }
    struct hop *h = hop_new(s, f->worker, f->conn);
    if (!h)
        return;
    h->dest.flow = *f;
    h->until = until;
    if (!hop_mail(h, conn_owner(s, f), on_keep)) {
        stat_refuse(&s->loop->stats, STAT_LIMIT_MAILBOX);
        hop_free(h);
    }
}
