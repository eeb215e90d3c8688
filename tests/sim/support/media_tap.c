/* SPDX-License-Identifier: MIT */
/* What the server sends, seen before the net can lose it: to whom, and under which keys. */
#include "support/media.h"
#include <stdlib.h>
#include <string.h>

enum { SENT_ROOM = 96, TABLE = 1 << 10 };

/* An SRTP packet, and how it was sent again. */
struct sent {
    struct sent *next;
    uint32_t ssrc;
    uint16_t seq;
    size_t n;
    char octets[SENT_ROOM];
};
struct media_named {
    struct media_named *next;
    struct addr addr;
    struct media_end *end; /* for its keys, also when it is gone */
    struct sent *sent[TABLE];
    struct clash *clashes;
};
struct clash {
    struct clash *next;
    const struct sent *a, *b;
    usec at;
};

static struct media_world *tapped;
static const struct loop_ops *plain_loop;
static const struct udp_ops *plain_udp;
static struct loop_ops tapped_loop;
static struct udp_ops tapped_udp;

void media_tap_name(struct media_end *e, const struct addr *a)
{
    struct media_world *w = e->phone->world;
    struct media_named *n = media_take(w, sizeof(*n));
    n->addr = *a;
    n->end = e;
    n->next = w->named;
    w->named = n;
}

static struct media_named *find(struct media_world *w, const struct addr *a)
{
    struct media_named *n = w->named;
    while (n && !addr_equal(&n->addr, a))
        n = n->next;
    return n;
}

/* ---- packets ---- */

static void on_rtp(struct media_world *w, struct media_named *to, sv octets)
{
    uint32_t ssrc = rtpmsg_ssrc(octets.p);
    uint16_t seq = rtpmsg_seq(octets.p);
    struct sent **head = &to->sent[(ssrc * 31 + seq) % TABLE];
    if (octets.n > SENT_ROOM) {
        media_fail(w, "a packet grew", "%zu octets", octets.n);
        return;
    }
    const struct sent *before = NULL;
    for (const struct sent *s = *head; s; s = s->next) {
        if (s->ssrc != ssrc || s->seq != seq)
            continue;
        if (s->n == octets.n && memcmp(s->octets, octets.p, s->n) == 0)
            return;
        before = s;
    }
    struct sent *s = media_take(w, sizeof(*s));
    *s = (struct sent){.next = *head, .ssrc = ssrc, .seq = seq, .n = octets.n};
    memcpy(s->octets, octets.p, octets.n);
    *head = s;
    if (before) {
        struct clash *c = media_take(w, sizeof(*c));
        *c = (struct clash){to->clashes, before, s, sim_now(w->sim)};
        to->clashes = c;
    }
}

static void on_send(const struct addr *from, const struct addr *to, sv octets)
{
    struct media_world *w = tapped;
    enum rtpmsg_kind kind = rtpmsg_kind(octets);
    if (from->port == w->server.port)
        return;
    w->sent++;
    if (addr_equal_ip(to, &w->foe.udp->local)) {
        /* who has shown nothing gets what is smaller than what it sent: a refused check, a cookie */
        if (kind != RTPMSG_STUN && kind != RTPMSG_DTLS)
            media_fail(w, "media is sent to a stranger", "%zu octets", octets.n);
        return;
    }
    struct media_named *n = find(w, to);
    if (!n) {
        media_fail(w, "sent to an address that nobody named", "%u.%u.%u.%u:%u", to->ip[0],
                   to->ip[1], to->ip[2], to->ip[3], to->port);
        return;
    }
    if (kind == RTPMSG_RTP)
        on_rtp(w, n, octets);
}

static enum err send_op(struct udp *u, const struct addr *from, const struct addr *to,
                        const sv *pieces, size_t n)
{
    char mem[2048];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    for (size_t i = 0; i < n; i++)
        buf_put(&b, pieces[i]);
    if (!b.rc)
        on_send(&u->local, to, buf_sv(&b));
    return plain_udp->send(u, from, to, pieces, n);
}

static enum err open_op(struct loop *l, const struct addr *bind, unsigned flags,
                        const struct udp_handler *h, void *arg, struct udp **ret_udp)
{
    TRY(plain_loop->udp_open(l, bind, flags, h, arg, ret_udp));
    plain_udp = (*ret_udp)->ops;
    tapped_udp = *plain_udp;
    tapped_udp.send = send_op;
    tapped_udp.send_block = NULL;
    (*ret_udp)->ops = &tapped_udp;
    return ERR_OK;
}

void media_tap_start(struct media_world *w)
{
    struct loop *l = w->group->loop[0];
    tapped = w;
    plain_loop = l->ops;
    tapped_loop = *plain_loop;
    tapped_loop.udp_open = open_op;
    l->ops = &tapped_loop;
}

void media_tap_stop(struct media_world *w)
{
    w->group->loop[0]->ops = plain_loop;
    tapped = NULL;
}

/* ---- keys ---- */

/* A phone that refuses an offer is asked again, with the same keys. */
static bool same_side(const struct media_end *a, const struct media_end *b)
{
    return a->phone == b->phone && a->call == b->call;
}

void media_tap_key(struct media_end *e, enum srtp_suite suite, const void *key, size_t n)
{
    struct media_world *w = e->phone->world;
    for (const struct media_key *k = w->keys; k; k = k->next) {
        if (k->suite != suite || memcmp(k->octets, key, n) != 0)
            continue;
        if (!same_side(k->end, e))
            media_fail(w, "two sides are told the same key", "phone %u and phone %u",
                       k->end->phone->index, e->phone->index);
        return;
    }
    struct media_key *k = media_take(w, sizeof(*k));
    *k = (struct media_key){.next = w->keys, .suite = suite, .n = (uint8_t)n, .end = e};
    memcpy(k->octets, key, n);
    w->keys = k;
}

static bool opens(struct srtp_engine *engine, const struct media_key *k, const struct sent *s)
{
    struct srtp_context c = {0};
    uint8_t octets[SENT_ROOM];
    size_t n = s->n, key = srtp_suite_info(k->suite)->key;
    memcpy(octets, s->octets, n);
    media_need(srtp_context_init(&c, engine, SRTP_RECEIVER, k->suite, (sv){(char *)k->octets, key},
                                 (sv){(char *)k->octets + key, k->n - key}));
    bool ok = srtp_rtp_unprotect(&c, octets, &n) == ERR_OK;
    srtp_context_done(&c);
    return ok;
}

void media_tap_check(struct media_world *w)
{
    struct srtp_engine *engine;
    media_need(srtp_engine_new(&engine));
    for (const struct media_named *n = w->named; n; n = n->next) {
        for (const struct clash *c = n->clashes; c; c = c->next) {
            for (const struct media_key *k = w->keys; k && !w->failed; k = k->next) {
                if (same_side(k->end, n->end) && opens(engine, k, c->a) && opens(engine, k, c->b))
                    media_fail(w, "a key stream is used twice", "ssrc %08x, number %u, at %lld us",
                               c->a->ssrc, c->a->seq, (long long)c->at);
            }
        }
    }
    srtp_engine_free(engine);
}
