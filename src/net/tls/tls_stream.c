/* SPDX-License-Identifier: MIT */
/* tls/tls_stream.c: a stream of plain octets over a stream of records.
 *
 *   lower ──on_data──► held ──whole records──► OpenSSL ──► on_data
 *   lower ◄──────── stream_send ◄───────────── OpenSSL ◄── stream_send, or early until it is open
 *
 *   shaking ── handshake done ──► open ── close_notify, error, end below ──► gone (on_close)
 *      └──── refused, broken, end below ──► gone (on_close)
 *
 * OpenSSL reads and writes through a BIO that has no buffer of its own: what it reads is a view of
 * `in`, what it writes goes to the lower stream at once. It is fed whole records only, so that a
 * peer that sends half a record, or half a handshake, costs no more than those octets; before a
 * peer's first whole record there is no SSL at all. A step of the handshake waits for the loop's
 * gate; meanwhile the lower stream is paused. Small sends of one turn share records: they wait in a
 * block, and are sealed at its end.
 *
 * Callbacks are made outside of OpenSSL's functions only, so a handler may close or free anything;
 * the struct itself outlives the outermost of our functions that is on the stack (busy). */
#include "tls/tls_priv.h"

enum {
    SEALED_MORE = 32, /* octets that a record has besides the plain ones */
    STEPS_MAX = 64,   /* of a handshake, each with a whole record at least */
    TURN_OCTETS =
        4096, /* plain ones of a turn that wait for its end; more are sealed with them at once */
};
#define LINGER (5 * USEC_S)

static struct tls_stream *of(struct stream *stream)
{
    return CONTAINER(stream, struct tls_stream, base);
}

/* ---- octets that wait ---- */

static bool octets_add(struct octets *o, sv s)
{
    char *p = mem_realloc(o->p, o->n + s.n);
    if (!p)
        return false;
    memcpy(p + o->n, s.p, s.n);
    o->p = p;
    o->n += s.n;
    return true;
}

static void octets_clear(struct octets *o)
{
    mem_free(o->p);
    *o = (struct octets){0};
}

/* Takes n from the front; what is left gets memory of its size. */
static void octets_take(struct octets *o, size_t n)
{
    if (n == o->n) {
        octets_clear(o);
    } else if (n > 0) {
        o->n -= n;
        memmove(o->p, o->p + n, o->n);
        char *p = mem_realloc(o->p, o->n);
        o->p = p ? p : o->p;
    }
}

static void set_queued(struct tls_stream *s)
{
    s->base.queued = s->early.n + (s->turn ? s->turn->n : 0) + (s->lower ? s->lower->queued : 0);
}

/* ---- the end ---- */

static void release(struct tls_stream *s)
{
    if (!s->gone || s->busy > 0)
        return;
    tls_peer_unref(s->base.tls_peer);
    mem_free(s);
}

static void leave(struct tls_stream *s)
{
    s->busy--;
    release(s);
}

/* All but the struct and the lower stream. */
static void destroy(struct tls_stream *s)
{
    if (s->gone)
        return;
    s->closed = s->gone = true;
    if (s->open)
        stat_add(&s->base.loop->stats, STAT_TLS_CONNECTIONS, -1);
    if (!s->away)
        loop_timer_cancel(s->base.loop, &s->linger);
    loop_defer_cancel(&s->later);
    loop_defer_cancel(&s->sealing);
    tls_gate_leave(&s->wait);
    SSL_free(s->ssl);
    s->ssl = NULL;
    tls_clear_errors();
    tls_unref(s->t);
    octets_clear(&s->held);
    octets_clear(&s->early);
    block_unref(s->turn);
    s->turn = NULL;
    release(s);
}

/* Says goodbye, lets go of the lower stream and of all else. */
static void end(struct tls_stream *s, bool flush)
{
    struct stream *lower = s->lower;
    s->busy++;
    if (lower && s->open && !s->broken && !s->why && tls_write_turn(s) == ERR_OK)
        SSL_shutdown(s->ssl); /* RFC 8446 §6.1: close_notify before closing the write side */
    s->lower = NULL;
    destroy(s);
    stream_close(lower, flush);
    leave(s);
}

/* Tells the user, once. */
static void finish(struct tls_stream *s, enum err why)
{
    if (s->gone)
        return;
    bool told = s->closed;
    s->closed = true;
    s->busy++;
    if (s->connected && !s->open)
        stat_inc(&s->base.loop->stats, STAT_TLS_FAILURES);
    end(s, true); /* an alert or an answer may be on its way out */
    if (!told)
        s->h->on_close(s->arg, why);
    leave(s);
}

/* Not from inside the user's call. */
static void fail_later(struct tls_stream *s, enum err why)
{
    s->why = why;
    loop_defer(s->base.loop, &s->later);
}

/* ---- reading ---- */

/* The lower stream reads while somebody wants its octets. */
static void steer(struct tls_stream *s)
{
    bool pause = list_linked(&s->wait.by_gate) || (s->open && (s->paused || s->closed)) ||
                 list_linked(&s->later.by_loop);
    if (s->gone || !s->lower || pause == s->lower_paused)
        return;
    s->lower_paused = pause;
    stream_pause(s->lower, pause);
}

/* One record's octets for the user. False: no more now. */
static bool read_one(struct tls_stream *s)
{
    char plain[TLS_PLAIN_MAX];
    size_t n = 0;
    tls_clear_errors();
    int rc = SSL_read_ex(s->ssl, plain, sizeof(plain), &n);
    if (rc == 1) {
        s->received += n;
        s->h->on_data(s->arg, (sv){plain, n});
        return true;
    }
    switch (SSL_get_error(s->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        tls_clear_errors();
        break;
    case SSL_ERROR_ZERO_RETURN:
        finish(s, ERR_OK);
        break;
    default:
        finish(s, tls_verdict(s));
    }
    return false;
}

/* Reads the whole records of octets; returns how many octets were used. */
static size_t read_records(struct tls_stream *s, sv octets)
{
    s->in = sv_sub(octets, 0, tls_whole_records(octets));
    while (!s->closed && !s->paused && s->in.n > 0 && read_one(s))
        continue;
    size_t used = s->in.p ? (size_t)(s->in.p - octets.p) : 0;
    s->in = SV_NONE;
    return used;
}

static void read_held(struct tls_stream *s)
{
    if (s->held.n == 0 || s->paused || s->closed)
        return;
    /* The handler may close: the octets must outlive that. */
    struct octets o = s->held;
    s->held = (struct octets){0};
    size_t used = read_records(s, (sv){o.p, o.n});
    if (s->gone) {
        octets_clear(&o);
        return;
    }
    octets_take(&o, used);
    s->held = o;
}

/* ---- the handshake ---- */

static enum err take_peer(struct tls_stream *s)
{
    X509 *x = SSL_get0_peer_certificate(s->ssl);
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(s->ssl);
    if (!x) {
        s->base.tls_peer = tls_peer_nobody();
        return ERR_OK;
    }
    TRY(tls_peer_new(x, s->server || s->verify, &s->base.tls_peer));
    /* Nobody asks for them again. */
    while (chain && sk_X509_num(chain) > 0)
        X509_free(sk_X509_pop(chain));
    return ERR_OK;
}

static void opened(struct tls_stream *s)
{
    struct stats *stats = &s->base.loop->stats;
    enum err rc = take_peer(s);
    if (!rc && s->early.n > 0)
        rc = tls_write_plain(s, s->early.p, s->early.n);
    if (rc) {
        finish(s, rc);
        return;
    }
    s->open = true;
    stat_inc(stats, STAT_TLS_HANDSHAKES);
    stat_inc(stats, STAT_TLS_CONNECTIONS);
    if (SSL_session_reused(s->ssl))
        stat_inc(stats, STAT_TLS_RESUMED);
    bool had = s->early.n > 0;
    octets_clear(&s->early);
    set_queued(s);
    if (s->closed) { /* its user left when this was sent */
        end(s, true);
        return;
    }
    if (s->h->on_open)
        s->h->on_open(s->arg);
    if (!s->closed && had && s->base.queued == 0 && s->h->on_drain)
        s->h->on_drain(s->arg);
}

/* What the next step costs this turn. */
static unsigned step_cost(const struct tls_stream *s)
{
    if (s->server)
        return s->answered && s->t->clients == TLS_CLIENTS_NONE ? TLS_LIGHT : TLS_HEAVY;
    return s->ssl ? TLS_HEAVY : TLS_LIGHT;
}

/* One step with what is held, now or when the gate lets it. */
static void shake(struct tls_stream *s)
{
    size_t whole = tls_whole_records((sv){s->held.p, s->held.n});
    if (whole == 0 && (s->server || s->ssl))
        return;
    if (!s->granted) {
        s->wait.cost = step_cost(s);
        if (++s->steps > STEPS_MAX) {
            finish(s, ERR_CORRUPT);
            return;
        }
        if (!tls_gate_pass(s->base.loop, &s->wait))
            return;
    }
    s->granted = false;
    if (!s->ssl && !tls_ssl_start(s)) {
        finish(s, ERR_NOMEM);
        return;
    }
    s->in = (sv){s->held.p, whole};
    tls_clear_errors();
    int rc = SSL_do_handshake(s->ssl);
    whole -= s->in.n;
    s->in = SV_NONE;
    octets_take(&s->held, whole);
    if (rc == 1) {
        opened(s);
        return;
    }
    if (SSL_get_error(s->ssl, rc) != SSL_ERROR_WANT_READ)
        finish(s, tls_verdict(s));
    tls_clear_errors();
}

/* Goes on with what is held. */
static void go_on(struct tls_stream *s)
{
    if (!s->open && s->connected && !s->gone)
        shake(s);
    if (s->open && !s->gone)
        read_held(s);
    steer(s);
}

static void on_granted(struct tls_wait *w)
{
    struct tls_stream *s = CONTAINER(w, struct tls_stream, wait);
    s->busy++;
    s->granted = true;
    go_on(s);
    leave(s);
}

static void on_later(struct deferred *d, void *arg)
{
    struct tls_stream *s = arg;
    (void)d;
    s->busy++;
    if (s->why)
        finish(s, s->why);
    else
        go_on(s);
    leave(s);
}

static void on_sealing(struct deferred *d, void *arg)
{
    struct tls_stream *s = arg;
    (void)d;
    s->busy++;
    enum err rc = tls_write_turn(s);
    set_queued(s);
    if (rc)
        finish(s, rc);
    else if (s->base.queued == 0 && s->h->on_drain)
        s->h->on_drain(s->arg);
    leave(s);
}

static void on_linger(struct timer *t, void *arg)
{
    (void)t;
    end(arg, false);
}

/* ---- what the lower stream says ---- */

static void on_lower_open(void *arg)
{
    struct tls_stream *s = arg;
    s->busy++;
    s->connected = true;
    s->base.local = s->lower->local;
    go_on(s);
    leave(s);
}

static void on_lower_data(void *arg, sv octets)
{
    struct tls_stream *s = arg;
    s->busy++;
    size_t used = 0;
    if (s->open && s->held.n == 0 && !s->paused) /* the usual case: nothing is copied */
        used = read_records(s, octets);
    sv rest = sv_sub(octets, used, octets.n);
    if (!s->gone && rest.n > 0 && !octets_add(&s->held, rest))
        finish(s, ERR_NOMEM);
    if (!s->gone && used == 0)
        go_on(s);
    steer(s);
    leave(s);
}

static void on_lower_drain(void *arg)
{
    struct tls_stream *s = arg;
    s->busy++;
    set_queued(s);
    if (s->open && !s->closed && s->base.queued == 0 && s->h->on_drain)
        s->h->on_drain(s->arg);
    leave(s);
}

/* An end without close_notify may be anyone's doing on the way: never ERR_OK (RFC 8446 §6.1). */
static void on_lower_close(void *arg, enum err why)
{
    struct tls_stream *s = arg;
    s->busy++;
    s->lower = NULL;
    finish(s, why == ERR_OK ? ERR_CLOSED : why);
    leave(s);
}

static const struct stream_handler lower_handler = {
    .on_open = on_lower_open,
    .on_data = on_lower_data,
    .on_drain = on_lower_drain,
    .on_close = on_lower_close,
};

/* ---- what users call ---- */

static enum err send_op(struct stream *stream, const sv *pieces, size_t n)
{
    struct tls_stream *s = of(stream);
    size_t total = 0;
    if (s->closed || s->why || !s->lower)
        return ERR_CLOSED;
    set_queued(s);
    size_t room = s->base.queued < s->base.queue_max ? s->base.queue_max - s->base.queued : 0;
    for (size_t i = 0; i < n && total <= room; i++)
        total = pieces[i].n > room ? room + 1 : total + pieces[i].n;
    size_t records = (total + TLS_PLAIN_MAX - 1) / TLS_PLAIN_MAX;
    if (total > room || records * SEALED_MORE > room - total) {
        stat_refuse(&s->base.loop->stats, STAT_LIMIT_WRITE_QUEUE);
        return ERR_TOOBIG;
    }
    enum err rc = ERR_OK;
    if (total == 0)
        return ERR_OK;
    if (!s->open) {
        for (size_t i = 0; i < n && !rc; i++)
            rc = pieces[i].n == 0 || octets_add(&s->early, pieces[i]) ? ERR_OK : ERR_NOMEM;
    } else if (sock_turn_put(s->base.loop, &s->turn, pieces, n)) {
        loop_defer(s->base.loop, &s->sealing);
    } else {
        rc = tls_write_turn(s);
        if (!rc)
            rc = tls_write_pieces(s, pieces, n);
    }
    set_queued(s);
    if (rc)
        fail_later(s, rc); /* part of it is out: the stream is of no use now */
    return rc && rc != ERR_NOMEM ? ERR_CLOSED : rc;
}

static void handle_op(struct stream *stream, const struct stream_handler *h, void *arg)
{
    struct tls_stream *s = of(stream);
    s->h = h;
    s->arg = arg;
}

static void pause_op(struct stream *stream, bool on)
{
    struct tls_stream *s = of(stream);
    s->paused = on;
    if (s->gone)
        return;
    if (!on && s->open && s->held.n > 0)
        loop_defer(s->base.loop, &s->later);
    steer(s);
}

/* ---- from loop to loop ---- */

/* Nothing waits to be read, or for its turn. */
static bool at_rest(const struct tls_stream *s)
{
    return s->open && s->lower && !s->closed && !s->why && !s->broken && !s->paused &&
           s->busy == 0 && s->held.n == 0 && !list_linked(&s->later.by_loop) &&
           !list_linked(&s->wait.by_gate);
}

static enum err leave_op(struct stream **stream)
{
    struct tls_stream *s = of(*stream);
    if (!at_rest(s))
        return ERR_BUSY;
    enum err rc = tls_write_turn(s);
    if (rc)
        fail_later(s, rc);
    if (rc || stream_leave(&s->lower) != ERR_OK)
        return ERR_BUSY; /* on_sealing, if it waits, finds nothing to do */
    loop_defer_cancel(&s->sealing);
    stat_add(&s->base.loop->stats, STAT_TLS_CONNECTIONS, -1);
    s->base.loop = NULL;
    s->away = true;
    return ERR_OK;
}

static enum err join_op(struct stream *stream, struct loop *l)
{
    struct tls_stream *s = of(stream);
    TRY(stream_join(s->lower, l));
    s->away = false;
    s->base.loop = l;
    stat_inc(&l->stats, STAT_TLS_CONNECTIONS);
    set_queued(s);
    return ERR_OK;
}

static void close_op(struct stream *stream, bool flush)
{
    struct tls_stream *s = of(stream);
    if (s->closed)
        return;
    if (s->away) { /* in no loop that could say goodbye */
        s->open = false;
        end(s, false);
        return;
    }
    s->closed = true;
    if (!flush || s->open || s->early.n == 0 || s->why || !s->lower || s->base.loop->stopping) {
        end(s, flush);
        return;
    }
    /* What was sent before it was open still has to go: the handshake goes on without a user. */
    loop_timer(s->base.loop, &s->linger, LINGER);
}

static const struct stream_ops stream_ops = {
    .send = send_op,
    .handle = handle_op,
    .pause = pause_op,
    .close = close_op,
    .leave = leave_op,
    .join = join_op,
};

static enum err stream_new(struct tls *t, struct loop *l, sv name, const struct stream_handler *h,
                           void *arg, struct tls_stream **ret_stream)
{
    TRY(tls_gate_open(l));
    struct tls_stream *s = mem_calloc(1, sizeof(*s) + name.n + 1);
    if (!s)
        return ERR_NOMEM;
    s->base = (struct stream){.ops = &stream_ops,
                              .loop = l,
                              .peer_uid = UINT32_MAX,
                              .created = (uint64_t)l->now,
                              .queue_max = STREAM_QUEUE_MAX};
    s->t = tls_ref(t);
    s->h = h;
    s->arg = arg;
    s->wait.go = on_granted;
    list_init(&s->wait.by_gate);
    deferred_init(&s->later, on_later, s);
    deferred_init(&s->sealing, on_sealing, s);
    timer_init(&s->linger, on_linger, s);
    if (name.n > 0)
        memcpy(s->name, name.p, name.n);
    s->name_n = name.n;
    *ret_stream = s;
    return ERR_OK;
}

/* Our cap is queue_max of the stream above. What OpenSSL writes of itself is a handshake, and then an
 * alert or a KeyUpdate for each of the peer's messages, which are few: AFTER_MAX. */
static void stand_on(struct tls_stream *s, struct stream *lower)
{
    s->lower = lower;
    lower->queue_max = SIZE_MAX / 4;
    s->base.local = lower->local;
    s->base.peer = lower->peer;
    s->base.peer_uid = lower->peer_uid;
}

enum err tls_accept(struct tls *t, struct stream *lower, const struct stream_handler *h, void *arg,
                    struct stream **ret_stream)
{
    struct tls_stream *s;
    if (t->n == 0)
        return ERR_STATE;
    TRY(stream_new(t, lower->loop, SV_NONE, h, arg, &s));
    s->server = s->connected = true;
    stand_on(s, lower);
    stream_handle(lower, &lower_handler, s);
    *ret_stream = &s->base;
    return ERR_OK;
}

enum err tls_connect(struct tls *t, struct loop *l, const struct addr *local, const struct addr *to,
                     sv name, bool verify, const struct stream_handler *h, void *arg,
                     struct stream **ret_stream)
{
    struct tls_stream *s;
    struct stream *lower;
    if (verify && name.n == 0)
        return ERR_STATE;
    TRY(stream_new(t, l, name, h, arg, &s));
    s->verify = verify;
    enum err rc = stream_connect(l, local, to, &lower_handler, s, &lower);
    if (rc) {
        destroy(s);
        return rc;
    }
    stand_on(s, lower);
    *ret_stream = &s->base;
    return ERR_OK;
}
