/* SPDX-License-Identifier: MIT */
/* Ports of a worker, and what they receive and send. The paths are relay_path.c's. */
#include "relay/relay.h"
#include "rtpmsg/rtpmsg.h"

enum { PROBES = 32 /* of a random place, before all are looked through */ };

struct relay {
    struct loop *loop;
    struct relay_config config;
    size_t pairs;                           /* in use */
    uint64_t used[UINT16_MAX / 2 / 64 + 1]; /* a bit for each even port over two */
};

/* ---- ports ---- */

static bool is_used(const struct relay *r, unsigned pair)
{
    return r->used[pair / 64] >> pair % 64 & 1;
}

static void set_used(struct relay *r, unsigned pair, bool on)
{
    uint64_t bit = (uint64_t)1 << pair % 64;
    if (on)
        r->used[pair / 64] |= bit;
    else
        r->used[pair / 64] &= ~bit;
}

/* Pairs of this worker: every nth of the range, so that workers never try each other's. */
struct share {
    unsigned first, n, step;
};
static struct share share_of(const struct relay *r)
{
    unsigned first = (r->config.first + 1u) / 2, last = (r->config.last - 1u) / 2;
    struct share s = {first + r->loop->worker, 0, r->loop->group ? r->loop->group->n : 1};
    if (r->config.last > r->config.first && s.first <= last)
        s.n = (last - s.first) / s.step + 1;
    return s;
}

static enum err open_pair(struct relay_transport *t, const struct addr *at, unsigned pair);

/* A place by chance: nobody knows the next call's ports. */
static enum err open_any(struct relay_transport *t, const struct addr *at)
{
    struct relay *r = t->relay;
    struct share s = share_of(r);
    enum err rc = ERR_BUSY;
    if (s.n == 0)
        return ERR_BUSY;
    unsigned start = (unsigned)(loop_random(r->loop) % s.n);
    for (unsigned i = 0; i < PROBES + s.n && rc == ERR_BUSY; i++) {
        unsigned k = i < PROBES ? (unsigned)(loop_random(r->loop) % s.n) : (start + i) % s.n;
        unsigned pair = s.first + k * s.step;
        if (!is_used(r, pair))
            rc = open_pair(t, at, pair);
    }
    return rc;
}

/* ---- receiving ---- */

static void receive(struct relay_transport *t, enum relay_component c, struct block *b,
                    const struct addr *from)
{
    switch (t->opaque ? RTPMSG_RTP : rtpmsg_kind(block_sv(b))) {
    case RTPMSG_RTP:
    case RTPMSG_RTCP:
        if (relay_path_maybe(&t->path[t->mux ? RELAY_RTP : c], from, loop_now(t->relay->loop)))
            t->h->on_packet(t->arg, t, c, b, from);
        else
            stat_add(&t->relay->loop->stats, STAT_MEDIA_FOREIGN, 1);
        break;
    case RTPMSG_STUN:
    case RTPMSG_DTLS:
        t->h->on_other(t->arg, t, c, b, from);
        break;
    default:
        stat_add(&t->relay->loop->stats, STAT_MEDIA_FOREIGN, 1);
        break;
    }
}

static void on_rtp(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    (void)to;
    receive(arg, RELAY_RTP, b, from);
}

static void on_rtcp(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    (void)to;
    receive(arg, RELAY_RTCP, b, from);
}

static const struct udp_handler handler[RELAY_COMPONENTS] = {
    [RELAY_RTP] = {.on_datagram = on_rtp}, [RELAY_RTCP] = {.on_datagram = on_rtcp}};

static enum err open_pair(struct relay_transport *t, const struct addr *at, unsigned pair)
{
    struct addr a = *at;
    for (unsigned c = 0; c < RELAY_COMPONENTS; c++) {
        a.port = (uint16_t)(2 * pair + c);
        enum err rc = udp_open_flags(t->relay->loop, &a, SOCK_PRIVATE, &handler[c], t, &t->port[c]);
        if (rc) {
            if (c > 0)
                udp_close(t->port[0]);
            return rc;
        }
        udp_mark(t->port[c], t->relay->config.dscp);
    }
    t->pair = pair;
    set_used(t->relay, pair, true);
    t->relay->pairs++;
    return ERR_OK;
}

/* ---- sending ---- */

bool relay_send(struct relay_transport *t, enum relay_component c, struct block *b)
{
    if (t->mux)
        c = RELAY_RTP;
    struct relay_path *p = &t->path[c];
    if (!relay_path_send(p)) {
        block_unref(b);
        return false;
    }
    return udp_send_block(t->port[c], &p->to, b) == ERR_OK;
}

void relay_send_to(struct relay_transport *t, enum relay_component c, const struct addr *to,
                   sv octets)
{
    if (udp_send(t->port[c], NULL, to, &octets, 1))
        stat_add(&t->relay->loop->stats, STAT_MEDIA_UNSENT, 1);
}

/* ---- life ---- */

enum err relay_open(struct relay *r, const struct addr *at, const struct relay_handler *h,
                    void *arg, struct relay_transport *t)
{
    *t = (struct relay_transport){.relay = r, .h = h, .arg = arg};
    enum err rc = open_any(t, at);
    if (rc == ERR_BUSY)
        stat_refuse(&r->loop->stats, STAT_LIMIT_MEDIA_PORTS);
    return rc;
}

void relay_close(struct relay_transport *t)
{
    for (unsigned c = 0; c < RELAY_COMPONENTS; c++)
        udp_close(t->port[c]);
    set_used(t->relay, t->pair, false);
    t->relay->pairs--;
}

enum err relay_new(struct loop *l, const struct relay_config *c, struct relay **ret_relay)
{
    struct relay *r = MEM_NEW(struct relay);
    if (!r)
        return ERR_NOMEM;
    r->loop = l;
    r->config = *c;
    *ret_relay = r;
    return ERR_OK;
}

void relay_free(struct relay *r)
{
    mem_free(r);
}

void relay_configure(struct relay *r, const struct relay_config *c)
{
    r->config = *c;
}

struct loop *relay_loop(const struct relay *r)
{
    return r->loop;
}

size_t relay_pairs(const struct relay *r)
{
    return r->pairs;
}
