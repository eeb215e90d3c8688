/* SPDX-License-Identifier: MIT */
/* Data: Send and ChannelData to peers, Data and ChannelData to clients. RFC 8656 §11, §12.
 *
 * Nothing is allocated here. A channel carries without asking again whether its peer is allowed for RECHECK: the
 * addresses of this machine change, and so does the configuration. */
#include "turnserver/turnserver_priv.h"

enum { CHANNEL_HEADER = 4 };
#define RECHECK (2 * USEC_S)

struct stun_addr turnserver_stun_addr(const struct addr *a)
{
    struct stun_addr s = {.family = a->family, .port = a->port};
    memcpy(s.ip, a->ip, sizeof(s.ip));
    return s;
}

void turnserver_count_dropped(struct turnserver_core *c, enum stat_turn why)
{
    stat_turn_refuse(c->stats, why);
}

static void to_peer(struct turnserver_slot *s, const struct addr *to, sv octets)
{
    struct turnserver_core *c = s->of->core;
    if (c->ops->relay_send(c->arg, &s->relay, to, octets))
        stat_add(c->stats, STAT_TURN_RELAYED, (int64_t)octets.n);
    else
        turnserver_count_dropped(c, STAT_TURN_NOT_SENT);
}

/* ---- from clients ---- */

/* §13: between families it is ignored; else what we cannot do makes the indication an unknown one (§11.2). */
static bool must_not_fragment(const struct turnserver_allocation *a, const struct stunmsg *m,
                              const struct addr *peer)
{
    return stunmsg_has(m, STUN_DONT_FRAGMENT) && peer->family == 4 && a->tuple.client.family == 4;
}

static bool knows(uint16_t type)
{
    return stunmsg_is_turn(type);
}

void turnserver_serve_send(struct turnserver_allocation *a, const struct stunmsg *m)
{
    struct turnserver_core *c = a->core;
    struct stun_attr peer_attr, data;
    struct addr peer, to;
    uint16_t unknown[1];
    if (!stunmsg_find(m, STUN_XOR_PEER_ADDRESS, &peer_attr) || !stunmsg_find(m, STUN_DATA, &data) ||
        turnserver_peer_read(m, peer_attr.value, &peer) ||
        stunmsg_unknown(m, knows, unknown, 1) > 0 || must_not_fragment(a, m, &peer))
        return;
    struct turnserver_slot *s = turnserver_slot_of(a, peer.family);
    if (!s || s->relay.tcp || peer.port == 0)
        return;
    if (!turnserver_permission_find(a, &peer))
        turnserver_count_dropped(c, STAT_TURN_NO_PERMISSION);
    else if (turnserver_peer_resolve(c, s, &peer, &to) != TURNSERVER_OPEN)
        turnserver_count_dropped(c, STAT_TURN_FORBIDDEN);
    else
        to_peer(s, &to, data.value);
}

/* The channel's peer may be sent to. */
static bool still_allowed(struct turnserver_slot *s, struct turnserver_channel *ch)
{
    struct turnserver_core *c = s->of->core;
    if (ch->generation == c->generation && c->now - ch->checked < RECHECK)
        return ch->allowed;
    ch->generation = c->generation;
    ch->checked = c->now;
    ch->allowed = turnserver_peer_resolve(c, s, &ch->peer, &ch->to) == TURNSERVER_OPEN;
    return ch->allowed;
}

void turnserver_serve_channel(struct turnserver_allocation *a, sv message)
{
    struct turnserver_core *c = a->core;
    if (message.n < CHANNEL_HEADER)
        return;
    const uint8_t *p = (const uint8_t *)message.p;
    size_t n = (size_t)(p[2] << 8 | p[3]);
    struct turnserver_channel *ch = turnserver_channel_numbered(a, (uint16_t)(p[0] << 8 | p[1]));
    struct turnserver_slot *s = ch ? turnserver_slot_of(a, ch->peer.family) : NULL;
    if (n > message.n - CHANNEL_HEADER) /* §12.6 */
        return;
    if (!s)
        turnserver_count_dropped(c, STAT_TURN_NO_CHANNEL);
    else if (!still_allowed(s, ch))
        turnserver_count_dropped(c, STAT_TURN_FORBIDDEN);
    else
        to_peer(s, &ch->to, sv_sub(message, CHANNEL_HEADER, CHANNEL_HEADER + n));
}

/* ---- to clients ---- */

static void put_channel(struct turnserver_allocation *a, uint16_t number, sv octets)
{
    struct turnserver_core *c = a->core;
    char head[CHANNEL_HEADER] = {(char)(number >> 8), (char)number, (char)(octets.n >> 8),
                                 (char)octets.n};
    size_t padding = a->tuple.transport == TURNSERVER_UDP ? 0 : (4 - octets.n % 4) % 4; /* §12.5 */
    sv pieces[] = {{head, sizeof(head)}, octets, {"\0\0\0", padding}};
    c->ops->to_client(c->arg, &a->tuple, pieces, padding ? 3 : 2);
}

static struct stun_out begin_data(struct turnserver_allocation *a, struct buf *b,
                                  const struct addr *peer)
{
    struct turnserver_core *c = a->core;
    struct stun_addr from = turnserver_stun_addr(peer);
    uint8_t id[STUN_ID];
    c->ops->chance(c->arg, id, sizeof(id));
    buf_init(b, c->scratch, sizeof(c->scratch));
    struct stun_out o = stunmsg_begin(b, STUN_DATA_INDICATION, STUN_INDICATION, id);
    stunmsg_put_xor_address(&o, STUN_XOR_PEER_ADDRESS, &from);
    return o;
}

static void put_data(struct turnserver_allocation *a, const struct addr *peer, sv octets)
{
    struct buf b;
    struct stun_out o = begin_data(a, &b, peer);
    stunmsg_put(&o, STUN_DATA, octets);
    sv message = buf_sv(&b);
    if (!b.rc)
        a->core->ops->to_client(a->core->arg, &a->tuple, &message, 1);
}

/* Who sends from an address of ours is called as the client knows it. */
static struct addr shown(const struct turnserver_relay *r, const struct addr *from)
{
    struct addr a = *from;
    if (addr_equal_ip(from, &r->bound))
        memcpy(a.ip, r->told.ip, sizeof(a.ip));
    return a;
}

void turnserver_core_relayed(struct turnserver_core *c, struct turnserver_relay *r,
                             const struct addr *from, sv octets, usec now)
{
    struct turnserver_slot *s = CONTAINER(r, struct turnserver_slot, relay);
    struct addr peer = shown(r, from);
    c->now = now;
    peer.scope = 0;
    if (!turnserver_permission_find(s->of, &peer)) { /* §9: by address, whatever the port */
        turnserver_count_dropped(c, STAT_TURN_NO_PERMISSION);
        return;
    }
    const struct turnserver_channel *ch = turnserver_channel_to(s->of, &peer);
    stat_add(c->stats, STAT_TURN_RELAYED, (int64_t)octets.n);
    if (ch)
        put_channel(s->of, ch->number, octets);
    else
        put_data(s->of, &peer, octets);
}

/* Of what the network says the kernel's verdict is left. RFC 792, RFC 4443 §3.1. */
static bool icmp_of(enum err why, unsigned family, struct stun_icmp *ret_icmp)
{
    bool six = family == 6;
    *ret_icmp = (struct stun_icmp){.type = six ? 1 : 3};
    switch ((int)why) {
    case ERR_REFUSED:
        ret_icmp->code = six ? 4 : 3; /* port unreachable */
        return true;
    case ERR_UNREACHABLE:
        ret_icmp->code = six ? 0 : 1; /* no route; host unreachable */
        return true;
    case ERR_DENIED:
        ret_icmp->code = six ? 1 : 13; /* prohibited */
        return true;
    default:
        return false;
    }
}

void turnserver_core_refused(struct turnserver_core *c, struct turnserver_relay *r,
                             const struct addr *to, enum err why, usec now)
{
    struct turnserver_slot *s = CONTAINER(r, struct turnserver_slot, relay);
    struct addr peer = shown(r, to);
    struct stun_icmp icmp;
    struct buf b;
    c->now = now;
    peer.scope = 0;
    if (!icmp_of(why, peer.family, &icmp) || !turnserver_permission_find(s->of, &peer))
        return;
    struct stun_out o = begin_data(s->of, &b, &peer);
    stunmsg_put_icmp(&o, &icmp);
    sv message = buf_sv(&b);
    if (!b.rc)
        c->ops->to_client(c->arg, &s->of->tuple, &message, 1);
}
