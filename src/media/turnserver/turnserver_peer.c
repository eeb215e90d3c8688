/* SPDX-License-Identifier: MIT */
/* Whom a client may talk to (D16, D22). One order, for every place that asks:
 *
 *   an IPv4 address in the dress of IPv6, a tunnel's address   never
 *   unspecified, multicast, broadcast                          never
 *   a port of ours on which media stands                       yes: another client's relayed address, a call
 *   an address of this machine                                 when `turn.peers` names it alone, not its network
 *   of a server that routes send to, which trusts ours         likewise
 *   what else is special                                       when a network of `turn.peers` has it
 *   the rest                                                   yes
 *
 * An address of NAT64 is judged as the address inside; for that one's sake nothing is opened to it. */
#include "turnserver/turnserver_priv.h"

#include <stdlib.h>

static bool begins(const struct addr *a, const uint8_t *prefix, unsigned octets)
{
    return memcmp(a->ip, prefix, octets) == 0;
}

/* ::1, which lies among the IPv4-compatible addresses. */
static bool is_one(const struct addr *a)
{
    static const uint8_t one[16] = {[15] = 1};
    return a->family == 6 && begins(a, one, 16);
}

/* An IPv4 address that a host, or a tunnel's end, would take out of it. RFC 4291 §2.5.5, RFC 3056, RFC 4380, RFC 5214
 * §6.1; RFC 8656 §21.4: 6to4 and Teredo MUST NOT be accepted. */
static bool is_hidden(const struct addr *a)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}, compatible[12] = {0};
    static const uint8_t translated[12] = {[8] = 0xff, [9] = 0xff}; /* RFC 2765 §2.1 */
    static const uint8_t six_to_four[2] = {0x20, 0x02}, teredo[4] = {0x20, 0x01};
    if (a->family != 6 || is_one(a))
        return false;
    bool isatap = (a->ip[8] & 0xfd) == 0 && a->ip[9] == 0 && a->ip[10] == 0x5e && a->ip[11] == 0xfe;
    return begins(a, mapped, 12) || begins(a, compatible, 12) || begins(a, translated, 12) ||
           begins(a, six_to_four, 2) || begins(a, teredo, 4) || isatap;
}

/* RFC 6052 §2.1: the well-known prefix of NAT64 leads to the address inside. */
static struct addr inside(const struct addr *a)
{
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};
    if (a->family != 6 || !begins(a, nat64, 12))
        return *a;
    return addr_from_ip(a->ip + 12, 4, a->port);
}

static bool never(const struct addr *a)
{
    bool zero = a->family == 4 ? a->ip[0] == 0 : addr_is_any(a); /* 0.0.0.0/8, :: */
    return (a->family != 4 && a->family != 6) || zero || addr_class(a) == ADDR_MULTICAST;
}

static bool opened(const struct turnserver_limits *l, const struct addr *a, bool alone)
{
    struct addr bare = *a;
    bare.scope = 0;
    for (unsigned i = 0; i < l->peers_n; i++) {
        const struct addr_net *n = &l->peers[i];
        bool single = n->bits == (n->base.family == 4 ? 32 : 128);
        if (addr_net_has(n, &bare) && (single || !alone))
            return true;
    }
    return false;
}

enum turnserver_verdict turnserver_peer_class(const struct turnserver_limits *l,
                                              const struct addr *a, struct addr *ret_inside)
{
    struct addr in = inside(a);
    if (ret_inside)
        *ret_inside = in;
    if (never(&in))
        return TURNSERVER_SPECIAL;
    if (is_hidden(&in))
        return TURNSERVER_HIDDEN;
    /* What is open is open under its own name: behind a translator it is another machine's. */
    bool translated = !addr_equal_ip(a, &in);
    if (addr_class(&in) != ADDR_GLOBAL && (translated || !opened(l, &in, false)))
        return TURNSERVER_SPECIAL;
    return TURNSERVER_OPEN;
}

int turnserver_by_ip(const void *a, const void *b)
{
    const struct addr *x = a, *y = b;
    return x->family != y->family ? x->family - y->family
                                  : memcmp(x->ip, y->ip, x->family == 6 ? 16 : 4);
}

static bool trusts(const struct turnserver_core *c, const struct addr *a)
{
    return c->forbidden_n > 0 &&
           bsearch(a, c->forbidden, c->forbidden_n, sizeof(*a), turnserver_by_ip) != NULL;
}

enum err turnserver_peer_read(const struct stunmsg *m, sv value, struct addr *ret_peer)
{
    struct stun_addr a;
    TRY(stunmsg_xor_address(m, value, &a));
    /* Not by addr_from_ip(): who writes ::ffff:10.0.0.1 is to be seen doing it. */
    *ret_peer = (struct addr){.family = a.family, .port = a.port};
    memcpy(ret_peer->ip, a.ip, a.family == 6 ? 16 : 4);
    return ERR_OK;
}

enum turnserver_verdict turnserver_peer_resolve(struct turnserver_core *c,
                                                const struct turnserver_slot *s,
                                                const struct addr *peer, struct addr *ret_to)
{
    struct addr in, to = *peer;
    const struct turnserver_relay *r = &s->relay;
    /* What we are called outside is ours inside. */
    if (addr_equal_ip(&to, &r->told))
        memcpy(to.ip, r->bound.ip, sizeof(to.ip));
    *ret_to = to;
    enum turnserver_verdict v = turnserver_peer_class(&c->limits, &to, &in);
    if (v == TURNSERVER_HIDDEN || never(&in))
        return v;
    if (addr_equal(&in, &to) && ports_is_live(turnserver_ports(c->shared), &in))
        return TURNSERVER_OPEN;
    bool named = addr_equal(&in, &to) && opened(&c->limits, &in, true);
    if (c->ops->is_ours(c->arg, &in))
        return named ? TURNSERVER_OPEN : TURNSERVER_OURS;
    return v == TURNSERVER_OPEN && !named && trusts(c, &in) ? TURNSERVER_TRUSTS : v;
}
