/* SPDX-License-Identifier: MIT */
/* transport/transport_stream.c: messages framed from the octets of a connection (RFC 3261 §18.3), keep-alives
 * (RFC 5626 §4.4.1), and the messages of a WebSocket (RFC 7118 §5). */
#include "transport/transport_priv.h"

enum { IN_MIN = 2048, IN_EXTRA = 64 };

/* RFC 5626 §4.4.1: the double CRLF of a client is answered with a single one. One answer for all
 * that came in one piece. */
static void on_crlf(struct conn *c, size_t n)
{
    for (; c->pings > 0 && n >= 2; n -= 2)
        c->pings--; /* the answer to ours, which wants none */
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
    bool is_sip = sip_receive(s, b, block_sv(b), &c->flow, c, rc, fault);
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
        if (n) {
            /* a keep-alive that came in two pieces is whole, and no message has begun */
            loop_timer_cancel(s->loop, &c->deadline);
            on_crlf(c, n);
        }
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

void conn_octets(struct conn *c, sv octets)
{
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

void conn_message(struct conn *c, sv octets)
{
    struct sip *s = c->sip;
    sv text = sv_sub(octets, sipmsg_skip_crlf(octets), octets.n);
    if (text.n == 0) {
        c->crlf = 0; /* each message speaks for itself: one CRLF is the answer to ours */
        c->pings = 0;
        on_crlf(c, octets.n);
        return;
    }
    struct block *b = block_new(s->loop->blocks, text.n);
    if (!b) {
        conn_drop(c, false, ERR_NOMEM);
        return;
    }
    memcpy(b->p, text.p, text.n);
    b->n = (uint32_t)text.n;
    bool is_sip = sip_receive(s, b, block_sv(b), &c->flow, c, ERR_OK, NULL);
    block_unref(b);
    if (!is_sip && c->stream)
        conn_drop(c, true, ERR_SYNTAX);
}
