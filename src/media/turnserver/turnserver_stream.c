/* SPDX-License-Identifier: MIT */
/* Clients on TCP and TLS: a stream of messages, each as long as its second pair of octets says. RFC 8656 §2.1, §12.5.
 *
 * A connection without an allocation has IDLE to get one. What a client does not read beyond its stream's queue is lost,
 * as it would be over UDP: nobody waits for it, and nothing piles up. */
#include "tls/tls.h"
#include "turnserver/turnserver_priv.h"

enum { HEADER = 4, ROOM_FIRST = 2048, QUEUE_MAX = 128 * 1024 };
#define IDLE (30 * USEC_S)

/* ---- framing ---- */

enum err turnserver_frame(sv octets, sv *ret_message, size_t *ret_whole)
{
    const uint8_t *p = (const uint8_t *)octets.p;
    if (octets.n == 0)
        return ERR_MORE;
    unsigned first = p[0] & 0xc0;
    if (first != 0 && first != 0x40)
        return ERR_SYNTAX;
    if (first == 0x40 && (p[0] & 0xf0) != 0x40) /* RFC 8656 §12: 0x5000 on is reserved */
        return ERR_SYNTAX;
    if (octets.n < HEADER)
        return ERR_MORE;
    size_t n = (size_t)(p[2] << 8 | p[3]) + (first == 0 ? (size_t)STUN_HEADER : HEADER);
    size_t whole = (n + 3) & ~(size_t)3;
    if (first == 0 && n % 4 != 0)
        return ERR_SYNTAX;
    if (octets.n < whole)
        return ERR_MORE;
    *ret_message = sv_sub(octets, 0, n);
    *ret_whole = whole;
    return ERR_OK;
}

/* ---- a client ---- */

static void client_free(struct turnserver_client *c)
{
    struct turnserver *t = c->server;
    struct turnserver_splice *splice = c->splice;
    c->splice = NULL;
    if (splice)
        turnserver_splice_gone(splice);
    turnserver_core_gone(t->core, &c->tuple);
    loop_timer_cancel(t->loop, &c->idle);
    list_unlink(&c->by_server);
    t->clients_n--;
    t->by_source[c->source]--;
    mem_give(c->part, c->room);
    MEM_GIVE(c);
}

void turnserver_client_close(struct turnserver_client *c)
{
    stream_close(c->stream, true);
    client_free(c);
}

void turnserver_client_send(void *client, const sv *pieces, size_t n)
{
    struct turnserver_client *c = client;
    if (stream_send(c->stream, pieces, n))
        stat_turn_refuse(&c->server->loop->stats, STAT_TURN_NOT_SENT);
}

/* Room for n octets. False: no memory. */
static bool make_room(struct turnserver_client *c, size_t n)
{
    size_t room = c->room ? c->room : ROOM_FIRST;
    while (room < n)
        room *= 2;
    if (room == c->room)
        return true;
    char *p = mem_take(room);
    if (!p)
        return false;
    if (c->n > 0)
        memcpy(p, c->part, c->n);
    mem_give(c->part, c->room);
    c->part = p;
    c->room = room;
    return true;
}

/* Whole messages at the beginning of octets are served. False: it speaks something else. */
static bool serve(struct turnserver_client *c, sv octets, size_t *ret_used)
{
    struct turnserver *t = c->server;
    size_t used = 0, whole;
    sv message;
    enum err rc = ERR_MORE;
    while (!c->binding && !c->splice &&
           !(rc = turnserver_frame(sv_sub(octets, used, octets.n), &message, &whole))) {
        if (!turnserver_core_receive(t->core, &c->tuple, message, loop_now(t->loop),
                                     loop_wall(t->loop)))
            return false;
        used += whole;
    }
    *ret_used = used;
    return rc != ERR_SYNTAX;
}

/* What came behind a ConnectionBind, if there is one now. False: the connection is to end. */
static bool pass_on(struct turnserver_client *c)
{
    bool good = !c->splice || c->n == 0 || turnserver_splice_take(c->splice, (sv){c->part, c->n});
    if (c->splice || c->n == 0) {
        mem_give(c->part, c->room);
        c->part = NULL;
        c->n = c->room = 0;
    }
    return good;
}

/* False: the connection is to end. */
static bool take(struct turnserver_client *c, sv octets)
{
    size_t used;
    if (c->splice)
        return turnserver_splice_take(c->splice, octets);
    if (c->n == 0) {
        if (!serve(c, octets, &used))
            return false;
        octets = sv_sub(octets, used, octets.n);
    }
    while (octets.n > 0) {
        size_t n = octets.n < TURNSERVER_FRAME_MAX ? octets.n : TURNSERVER_FRAME_MAX;
        if (!make_room(c, c->n + n))
            return false;
        memcpy(c->part + c->n, octets.p, n);
        c->n += n;
        octets = sv_sub(octets, n, octets.n);
        if (!serve(c, (sv){c->part, c->n}, &used))
            return false;
        memmove(c->part, c->part + used, c->n - used);
        c->n -= used;
    }
    return pass_on(c);
}

void turnserver_client_resume(struct turnserver_client *c)
{
    size_t used;
    bool good = serve(c, (sv){c->part ? c->part : "", c->n}, &used);
    if (good && used > 0) {
        memmove(c->part, c->part + used, c->n - used);
        c->n -= used;
    }
    if (!good || !pass_on(c))
        turnserver_client_close(c);
}

static void on_data(void *arg, sv octets)
{
    if (!take(arg, octets))
        turnserver_client_close(arg);
}

static void on_close(void *arg, enum err why)
{
    (void)why;
    client_free(arg);
}

static void on_open(void *arg)
{
    (void)arg; /* TLS is up */
}

static void on_drain(void *arg)
{
    struct turnserver_client *c = arg;
    if (c->splice)
        turnserver_splice_drained(c->splice);
}

static const struct stream_handler client_handler = {
    .on_open = on_open, .on_data = on_data, .on_drain = on_drain, .on_close = on_close};

static void on_idle(struct timer *timer, void *arg)
{
    struct turnserver_client *c = arg;
    (void)timer;
    if (c->splice || turnserver_find(c->server->core, &c->tuple))
        loop_timer(c->server->loop, &c->idle, IDLE);
    else
        turnserver_client_close(c);
}

/* ---- coming ---- */

static uint16_t place_of(const struct turnserver *t, const struct addr *a)
{
    struct addr who = {.family = a->family};
    uint8_t key[ADDR_KEY];
    memcpy(who.ip, a->ip, a->family == 6 ? 8 : 4);
    addr_key(&who, key);
    return (uint16_t)(turnserver_hash(t->shared, key, sizeof(key)) % TURN_SOURCES);
}

/* NULL: too many are here. */
static struct turnserver_client *client_new(struct turnserver_port *p, const struct stream *s)
{
    struct turnserver *t = p->server;
    uint16_t source = place_of(t, &s->peer);
    if (t->clients_n >= TURNSERVER_STREAMS_MAX || t->by_source[source] >= TURN_SOURCE_STREAMS)
        return NULL;
    struct turnserver_client *c = MEM_TAKE(struct turnserver_client);
    if (!c)
        return NULL;
    c->server = t;
    c->serial = ++t->serial;
    c->source = source;
    c->tuple = (struct turnserver_tuple){s->peer, s->local, p->transport, c};
    timer_init(&c->idle, on_idle, c);
    list_push(&t->clients, &c->by_server);
    t->clients_n++;
    t->by_source[source]++;
    loop_timer(t->loop, &c->idle, IDLE);
    return c;
}

static void on_accept(void *arg, struct stream *s)
{
    struct turnserver_port *p = arg;
    struct turnserver *t = p->server;
    struct turnserver_client *c = client_new(p, s);
    if (!c) {
        stat_turn_refuse(&t->loop->stats, STAT_TURN_STREAMS);
        stream_close(s, false);
        return;
    }
    c->stream = s;
    if (p->transport == TURNSERVER_TCP) {
        stream_handle(s, &client_handler, c);
    } else if (!t->tls || tls_accept(t->tls, s, &client_handler, c, &c->stream)) {
        stream_close(s, false);
        client_free(c);
        return;
    }
    c->stream->queue_max = QUEUE_MAX;
}

const struct listener_handler turnserver_listener_handler = {.on_accept = on_accept};

void turnserver_clients_close(struct turnserver *t)
{
    LIST_EACH_SAFE (c, &t->clients, struct turnserver_client, by_server) {
        stream_close(c->stream, false);
        client_free(c);
    }
}
