/* SPDX-License-Identifier: MIT */
/* A connection to a peer, and the client's data connection that carries its octets (RFC 6062 §3, §5.4, §5.5).
 *
 * Each side is read only as fast as the other is written: what a reader is given goes into the other's queue, and above
 * HIGH the reader rests until that queue is empty. Before it is bound a peer is not read at all: what it sends waits in the
 * kernel, whose window tells it so.
 *
 * The client's connection comes to any worker, the allocation is one worker's. Then the connection to the peer, which is
 * never TLS, goes to the client's:
 *
 *   client's worker ── CLAIM (id, user) ──► allocation's worker
 *                   ◄── CLAIMED (stream, or why not) ──
 *                   ── ENDED (id) ──►   it has ended          ◄── CLOSE (id) ──   the allocation has
 */
#include "turnserver/turnserver_priv.h"

enum { HIGH = 64 * 1024, QUEUE_MAX = 256 * 1024 };
#define AGAIN (10 * USEC_MS)

struct turnserver_splice {
    struct turnserver *server;
    struct link by_server;
    uint32_t id;
    struct turnserver_peer *peer; /* of this worker's machine; NULL: another's */
    struct stream *stream;        /* to the peer; NULL: it has gone to worker `away` */
    unsigned away;
    struct turnserver_client *client; /* NULL: not bound */
};

enum kind { CLAIM, CLAIMED, ENDED, CLOSE };
struct splice_mail {
    struct mail mail;
    struct link by_server; /* while it is not sent */
    struct turnserver_shared *shared;
    enum kind kind;
    unsigned from, to; /* workers */
    uint32_t id;
    uint64_t serial;       /* of the client */
    struct stream *stream; /* CLAIMED */
    unsigned code;
    struct turnserver_answer answer;
    uint16_t user_n;
    char user[TURNSERVER_USER_MAX];
};

/* ---- mails ---- */

static void take_mail(struct loop *at, struct mail *m);

static struct splice_mail *mail_new(struct turnserver *t, enum kind kind, unsigned to, uint32_t id)
{
    struct splice_mail *m = MEM_NEW(struct splice_mail);
    if (!m)
        return NULL;
    m->mail.fn = take_mail;
    m->shared = t->shared;
    m->kind = kind;
    m->from = t->loop->worker;
    m->to = to;
    m->id = id;
    return m;
}

static void mail_free(struct splice_mail *m)
{
    if (m->stream)
        stream_close(m->stream, false);
    crypto_wipe(&m->answer, sizeof(m->answer));
    mem_free(m);
}

/* A full box is tried again. NULL: there was no memory for it; what it was to say is lost. */
static void mail_send(struct turnserver *t, struct splice_mail *m)
{
    if (!m || loop_mail(t->loop->group->loop[m->to], &m->mail) == ERR_OK)
        return;
    list_push(&t->unsent, &m->by_server);
    if (!timer_armed(&t->again))
        loop_timer(t->loop, &t->again, AGAIN);
}

static void on_again(struct timer *timer, void *arg)
{
    struct turnserver *t = arg;
    struct link all;
    (void)timer;
    list_init(&all);
    list_splice(&all, &t->unsent);
    for (struct link *l; (l = list_pop(&all));)
        mail_send(t, CONTAINER(l, struct splice_mail, by_server));
}

/* ---- life ---- */

static struct turnserver_splice *splice_new(struct turnserver *t, uint32_t id)
{
    struct turnserver_splice *s = MEM_TAKE(struct turnserver_splice);
    if (!s)
        return NULL;
    s->server = t;
    s->id = id;
    list_push(&t->splices, &s->by_server);
    return s;
}

static void splice_free(struct turnserver_splice *s)
{
    list_unlink(&s->by_server);
    MEM_GIVE(s);
}

/* Both sides end, what is queued is still written; nobody is told. */
static void close_sides(struct turnserver_splice *s)
{
    struct turnserver_client *c = s->client;
    s->client = NULL;
    if (s->stream)
        stream_close(s->stream, true);
    s->stream = NULL;
    if (c) {
        c->splice = NULL;
        turnserver_client_close(c);
    }
}

/* It has ended here: its machine is told, wherever that is. */
static void splice_end(struct turnserver_splice *s)
{
    struct turnserver *t = s->server;
    close_sides(s);
    if (s->peer)
        turnserver_core_ended(t->core, s->peer);
    else
        mail_send(t, mail_new(t, ENDED, s->id >> TURNSERVER_ID_SHIFT, s->id));
    splice_free(s);
}

static struct turnserver_splice *find(struct turnserver *t, uint32_t id, bool ours)
{
    LIST_EACH (s, &t->splices, struct turnserver_splice, by_server)
        if (s->id == id && (s->peer != NULL) == ours)
            return s;
    return NULL;
}

/* ---- octets ---- */

static bool pump(struct stream *from, struct stream *to, sv octets)
{
    if (stream_send(to, &octets, 1))
        return false;
    if (to->queued > HIGH)
        stream_pause(from, true);
    return true;
}

static void on_peer_data(void *arg, sv octets)
{
    struct turnserver_splice *s = arg;
    if (!s->client || !pump(s->stream, s->client->stream, octets))
        splice_end(s);
    else
        stat_add(&s->server->loop->stats, STAT_TURN_RELAYED, (int64_t)octets.n);
}

bool turnserver_splice_take(struct turnserver_splice *s, sv octets)
{
    stat_add(&s->server->loop->stats, STAT_TURN_RELAYED, (int64_t)octets.n);
    return pump(s->client->stream, s->stream, octets);
}

static void on_peer_drain(void *arg)
{
    struct turnserver_splice *s = arg;
    if (s->client)
        stream_pause(s->client->stream, false);
}

void turnserver_splice_drained(struct turnserver_splice *s)
{
    if (s->stream)
        stream_pause(s->stream, false);
}

void turnserver_splice_gone(struct turnserver_splice *s)
{
    s->client = NULL;
    splice_end(s);
}

static void on_peer_close(void *arg, enum err why)
{
    struct turnserver_splice *s = arg;
    (void)why;
    s->stream = NULL;
    splice_end(s);
}

static void on_peer_open(void *arg)
{
    struct turnserver_splice *s = arg;
    stream_pause(s->stream, true);
    turnserver_core_connected(s->server->core, s->peer, ERR_OK, loop_now(s->server->loop));
}

/* One that never stood: its machine answers the Connect, and forgets it. */
static void on_connect_failed(void *arg, enum err why)
{
    struct turnserver_splice *s = arg;
    struct turnserver_peer *p = s->peer;
    struct turnserver *t = s->server;
    splice_free(s);
    turnserver_core_connected(t->core, p, why ? why : ERR_CLOSED, loop_now(t->loop));
}

static const struct stream_handler peer_handler = {.on_open = on_peer_open,
                                                   .on_data = on_peer_data,
                                                   .on_drain = on_peer_drain,
                                                   .on_close = on_peer_close};

static void on_connect_open(void *arg)
{
    struct turnserver_splice *s = arg;
    stream_handle(s->stream, &peer_handler, s);
    on_peer_open(s);
}

static const struct stream_handler connect_handler = {
    .on_open = on_connect_open, .on_data = on_peer_data, .on_close = on_connect_failed};

/* ---- peers come and are asked to ---- */

enum err turnserver_peer_connect(void *arg, struct turnserver_relay *r, struct turnserver_peer *p)
{
    struct turnserver *t = arg;
    struct turnserver_splice *s = splice_new(t, p->id);
    if (!s)
        return ERR_NOMEM;
    s->peer = p;
    enum err rc = stream_connect(t->loop, &r->bound, &p->addr, &connect_handler, s, &s->stream);
    if (rc) {
        splice_free(s);
        return rc;
    }
    s->stream->queue_max = QUEUE_MAX;
    p->io = s;
    return ERR_OK;
}

static void on_accept(void *arg, struct stream *stream)
{
    struct turnserver_socket *io = arg;
    struct turnserver *t = io->server;
    struct addr from = stream->peer;
    from.scope = 0;
    struct turnserver_peer *p =
        turnserver_core_accepted(t->core, io->relay, &from, loop_now(t->loop));
    struct turnserver_splice *s = p ? splice_new(t, p->id) : NULL;
    if (!s) {
        stream_close(stream, false);
        if (p)
            turnserver_core_ended(t->core, p);
        return;
    }
    s->peer = p;
    s->stream = stream;
    p->io = s;
    stream->queue_max = QUEUE_MAX;
    stream_handle(stream, &peer_handler, s);
    stream_pause(stream, true);
}

const struct listener_handler turnserver_relay_handler = {.on_accept = on_accept};

void turnserver_peer_close(void *arg, struct turnserver_peer *p)
{
    struct turnserver *t = arg;
    struct turnserver_splice *s = p->io;
    p->io = NULL;
    if (!s)
        return;
    if (!s->stream)
        mail_send(t, mail_new(t, CLOSE, s->away, s->id));
    close_sides(s);
    splice_free(s);
}

/* ---- ConnectionBind ---- */

/* The answer first, then octets. code 0: s is its splice. */
static void bind_end(struct turnserver_client *c, const struct turnserver_answer *answer,
                     unsigned code, struct turnserver_splice *s)
{
    c->binding = false;
    turnserver_core_answer(c->server->core, &c->tuple, answer, code);
    if (!code) {
        c->splice = s;
        s->client = c;
        c->stream->queue_max = QUEUE_MAX;
        stream_pause(s->stream, false);
    }
    stream_pause(c->stream, false);
}

static void ask(struct turnserver_client *c, uint32_t id, sv user,
                const struct turnserver_answer *answer)
{
    struct turnserver *t = c->server;
    struct splice_mail *m = mail_new(t, CLAIM, id >> TURNSERVER_ID_SHIFT, id);
    if (!m) {
        turnserver_core_answer(t->core, &c->tuple, answer, STUN_SERVER_ERROR);
        return;
    }
    m->serial = c->serial;
    m->answer = *answer;
    m->user_n = (uint16_t)user.n;
    memcpy(m->user, user.p, user.n);
    c->binding = true;
    stream_pause(c->stream, true);
    mail_send(t, m);
}

void turnserver_peer_bind(void *arg, const struct turnserver_tuple *client, uint32_t id, sv user,
                          const struct turnserver_answer *answer)
{
    struct turnserver *t = arg;
    struct turnserver_client *c = client->io;
    unsigned worker = id >> TURNSERVER_ID_SHIFT;
    struct turnserver_peer *p = NULL;
    if (worker != t->loop->worker && worker < t->loop->group->n) {
        ask(c, id, user, answer);
        return;
    }
    unsigned code = turnserver_core_claim(t->core, id, user, &p);
    bind_end(c, answer, code, code ? NULL : p->io);
}

/* ---- between workers ---- */

static void claim(struct turnserver *t, struct splice_mail *m)
{
    struct turnserver_peer *p;
    m->code = turnserver_core_claim(t->core, m->id, (sv){m->user, m->user_n}, &p);
    struct turnserver_splice *s = m->code ? NULL : p->io;
    if (s && stream_leave(&s->stream)) {
        m->code = STUN_SERVER_ERROR;
        splice_end(s);
    } else if (s) {
        m->stream = s->stream;
        s->stream = NULL;
        s->away = m->from;
    }
    m->kind = CLAIMED;
    m->to = m->from;
    m->from = t->loop->worker;
    mail_send(t, m);
}

static struct turnserver_client *client_of(struct turnserver *t, uint64_t serial)
{
    LIST_EACH (c, &t->clients, struct turnserver_client, by_server)
        if (c->serial == serial && c->binding)
            return c;
    return NULL;
}

static void claimed(struct turnserver *t, struct splice_mail *m)
{
    struct turnserver_client *c = client_of(t, m->serial);
    struct turnserver_splice *s = m->stream && c ? splice_new(t, m->id) : NULL;
    struct stream *stream = m->stream;
    bool stands = s && !stream_join(stream, t->loop);
    if (stands) {
        m->stream = NULL;
        s->stream = stream;
        stream_handle(stream, &peer_handler, s);
    } else if (m->stream) {
        mail_send(t, mail_new(t, ENDED, m->from, m->id));
        if (s)
            splice_free(s);
    }
    if (c) {
        bind_end(c, &m->answer, stands ? 0 : m->code ? m->code : STUN_SERVER_ERROR, s);
        turnserver_client_resume(c);
    }
    mail_free(m);
}

static void take_mail(struct loop *at, struct mail *mail)
{
    struct splice_mail *m = CONTAINER(mail, struct splice_mail, mail);
    struct turnserver *t = loop_stopping(at) ? NULL : turnserver_of(m->shared, at->worker);
    struct turnserver_splice *s;
    if (t && m->kind == CLAIM) {
        claim(t, m);
        return;
    }
    if (t && m->kind == CLAIMED) {
        claimed(t, m);
        return;
    }
    if (t && m->kind == ENDED && (s = find(t, m->id, true))) {
        turnserver_core_ended(t->core, s->peer);
        splice_free(s);
    } else if (t && m->kind == CLOSE && (s = find(t, m->id, false))) {
        close_sides(s);
        splice_free(s);
    }
    mail_free(m);
}

void turnserver_splices_init(struct turnserver *t)
{
    list_init(&t->splices);
    list_init(&t->unsent);
    timer_init(&t->again, on_again, t);
}

void turnserver_splices_done(struct turnserver *t)
{
    LIST_EACH_SAFE (s, &t->splices, struct turnserver_splice, by_server) {
        close_sides(s);
        splice_free(s);
    }
    for (struct link *l; (l = list_pop(&t->unsent));)
        mail_free(CONTAINER(l, struct splice_mail, by_server));
    loop_timer_cancel(t->loop, &t->again);
}
