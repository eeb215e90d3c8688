/* SPDX-License-Identifier: MIT */
/* Ports of a worker, and what they receive and send. The paths are relay_path.c's. */
#include "relay/relay.h"
#include "rtpmsg/rtpmsg.h"

/* TRIES: of a pair that another process may have. OWN_MAX: packets a second from ports of ours, as many as no call has. */
enum { TRIES = 32, OWN_MAX = 4000 };

struct relay {
    struct loop *loop;
    struct ports *ports;
    struct relay_config config;
    size_t pairs; /* in use */
};

/* ---- receiving ---- */

/* Another call's media, or a client's of our TURN server, comes from a port of ours; but descriptions and checks that name
 * our ports in a circle would have packets go round as fast as we can. */
static bool may_circle(struct relay_transport *t, const struct addr *from)
{
    usec now = loop_now(t->relay->loop);
    if (!ports_is_live(t->relay->ports, from))
        return false;
    if (t->own_at < now - USEC_S)
        t->own_at = now - USEC_S;
    if (t->own_at >= now)
        return true;
    t->own_at += USEC_S / OWN_MAX;
    return false;
}

static void receive(struct relay_transport *t, enum relay_component c, struct block *b,
                    const struct addr *from)
{
    enum rtpmsg_kind kind = t->opaque ? RTPMSG_RTP : rtpmsg_kind(block_sv(b));
    switch (kind) {
    case RTPMSG_RTP:
    case RTPMSG_RTCP:
        if (relay_path_maybe(&t->path[t->mux ? RELAY_RTP : c], from, loop_now(t->relay->loop)) &&
            !may_circle(t, from))
            t->h->on_packet(t->arg, t, c, kind == RTPMSG_RTCP, b, from);
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

static enum err open_pair(struct relay_transport *t, const struct addr *at)
{
    struct relay *r = t->relay;
    struct addr a = *at;
    for (unsigned c = 0; c < RELAY_COMPONENTS; c++) {
        a.port = (uint16_t)(t->first + c);
        enum err rc = udp_open_flags(r->loop, &a, SOCK_PRIVATE, &handler[c], t, &t->port[c]);
        if (rc) {
            if (c > 0)
                udp_close(t->port[0]);
            return rc;
        }
        udp_mark(t->port[c], r->config.dscp);
    }
    for (unsigned c = 0; c < RELAY_COMPONENTS; c++)
        ports_live(r->ports, &t->port[c]->local);
    r->pairs++;
    return ERR_OK;
}

/* ---- sending ---- */

bool relay_send(struct relay_transport *t, enum relay_component c, struct block *b)
{
    if (t->mux)
        c = RELAY_RTP;
    struct relay_path *p = &t->path[c];
    if ((t->opaque && !relay_path_is_known(p)) || !relay_path_send(p)) {
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
    enum err rc = ERR_BUSY;
    *t = (struct relay_transport){.relay = r, .h = h, .arg = arg};
    for (unsigned i = 0; i < TRIES && rc == ERR_BUSY; i++) {
        /* by chance: nobody knows the next call's ports */
        if (ports_take(r->ports, RELAY_COMPONENTS, true, (uint32_t)loop_random(r->loop), &t->first))
            break;
        rc = open_pair(t, at);
        if (rc)
            ports_give(r->ports, t->first, RELAY_COMPONENTS);
    }
    if (rc == ERR_BUSY)
        stat_refuse(&r->loop->stats, STAT_LIMIT_MEDIA_PORTS);
    return rc;
}

enum err relay_open_at(struct relay *r, const struct addr *at, const struct relay_handler *h,
                       void *arg, struct relay_transport *t)
{
    *t = (struct relay_transport){.relay = r, .h = h, .arg = arg, .first = at->port};
    TRY(ports_claim(r->ports, at->port, RELAY_COMPONENTS));
    enum err rc = open_pair(t, at);
    if (rc)
        ports_give(r->ports, at->port, RELAY_COMPONENTS);
    return rc;
}

void relay_close(struct relay_transport *t)
{
    for (unsigned c = 0; c < RELAY_COMPONENTS; c++)
        udp_close(t->port[c]);
    ports_give(t->relay->ports, t->first, RELAY_COMPONENTS);
    t->relay->pairs--;
}

enum err relay_new(struct loop *l, struct ports *ports, const struct relay_config *c,
                   struct relay **ret_relay)
{
    struct relay *r = MEM_NEW(struct relay);
    if (!r)
        return ERR_NOMEM;
    r->loop = l;
    r->ports = ports;
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
