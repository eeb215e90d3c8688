/* SPDX-License-Identifier: MIT */
/* Whom a port listens to and where it sends: a pure machine of one path. See relay.h. */
#include "relay/relay.h"

enum {
    CONSISTENT = 3, /* packets in order, before a source is learned without keys */
    OTHER_CONSISTENT =
        25,        /* and before a second port of a host that is not behind a NAT is heard */
    IN_ORDER = 16, /* sequence numbers that a packet may be ahead of the one before */
    UNPROVED_MAX =
        500, /* packets to public addresses that are not its signalling's, until they answer: in all, since
              * each description may name another one */
};
/* A sender that uses another port than it told is heard if nothing has come from the one told for so long, and until
 * something comes from there: then it is no such sender, and the other port is somebody else's. */
#define OTHER_AFTER (1 * USEC_S)
/* Who is told by a 2xx that it may speak from another place is told so for 64*T1 (RFC 3261 §13.3.1.4). */
#define MOVING (32 * USEC_S)

static bool is_local(enum addr_class c)
{
    return c == ADDR_PRIVATE || c == ADDR_LOOPBACK || c == ADDR_LINK_LOCAL;
}

bool relay_peer_may_name(const struct relay_peer *peer, const struct addr *a,
                         const struct addr *mine, struct ports *ports)
{
    enum addr_class class = addr_class(a);
    if (a->family != mine->family || a->port == 0 || class == ADDR_MULTICAST ||
        class == ADDR_SPECIAL)
        return false;
    if (peer->trusted || addr_equal_ip(a, &peer->party))
        return true;
    if (addr_equal_ip(a, mine)) /* another call's port, or that of a client of our TURN server */
        return ports_is_live(ports, a);
    if (class == ADDR_GLOBAL)
        return true;
    /* a phone in a network like that of its signalling; the loopback is a network of its own */
    return peer->party.family != 0 && addr_class(&peer->party) == class;
}

static bool is_valid(const struct relay_path *p, const struct addr *a)
{
    for (unsigned i = 0; i < p->valid_n; i++) {
        if (addr_equal(&p->valid[i], a))
            return true;
    }
    return false;
}

/* Its own description cannot be reached by what we see of it: there is a NAT, and any port of it may be its. */
static bool behind_nat(const struct relay_path *p)
{
    return p->peer.party.family != 0 && !addr_equal_ip(&p->peer.told, &p->peer.party);
}

/* Who is held before it has said enough may say no more: what it has said must do until more comes. */
static void settle_for(struct relay_path *p, usec now)
{
    bool waits = !p->proved && p->former.family == 0 && now < p->until;
    if (waits && behind_nat(p) && p->candidate.family != 0)
        p->to = p->candidate;
}

void relay_path_set(struct relay_path *p, const struct relay_peer *peer, bool secure, usec latch,
                    const struct addr *mine, struct ports *ports, usec now)
{
    bool same = addr_equal(&p->peer.told, &peer->told) && p->until != 0;
    p->peer = *peer;
    p->secure = secure;
    if (p->ice && !is_valid(p, &p->to))
        p->to = (struct addr){0}; /* until a pair is selected */
    if (same && !p->ice)
        settle_for(p, now);
    if (same || p->ice)
        return;
    if (p->proved)
        p->former = p->to;
    p->unsettled = p->until != 0 && !p->proved;
    p->named = relay_peer_may_name(peer, &peer->told, mine, ports);
    p->to = p->named ? peer->told : (struct addr){0};
    if (addr_equal(&p->to, &p->former)) /* it has come back */
        p->former = (struct addr){0};
    p->other = p->candidate = (struct addr){0};
    p->since = now;
    p->until = now + latch;
    p->proved = false;
    p->consistent = 0;
}

void relay_path_retold(struct relay_path *p, usec latch, usec now)
{
    if (p->until != 0 && !p->proved && now + latch > p->until)
        p->until = now + latch;
}

/* Where it was is where it is, for the time being: not if that was another host than the NAT, and there is a place to send
 * to. A phone that has lost its fork to another one is such a host. */
static bool may_return(const struct relay_path *p, const struct addr *from)
{
    return behind_nat(p) && (p->to.family == 0 || addr_equal_ip(from, &p->peer.party));
}

void relay_path_validate(struct relay_path *p, const struct addr *a, bool selected)
{
    if (!is_valid(p, a)) {
        if (p->valid_n == RELAY_VALID_MAX) { /* the oldest gives way */
            memmove(p->valid, p->valid + 1, sizeof(p->valid) - sizeof(p->valid[0]));
            p->valid_n--;
        }
        p->valid[p->valid_n++] = *a;
    }
    if (selected) {
        p->to = *a;
        p->proved = true;
    }
}

void relay_path_lose(struct relay_path *p)
{
    p->to = (struct addr){0};
}

bool relay_path_maybe(const struct relay_path *p, const struct addr *from, usec now)
{
    if (p->ice)
        return is_valid(p, from);
    if (addr_equal(from, &p->to) || addr_equal(from, &p->peer.told) || addr_equal(from, &p->other))
        return true;
    if (p->secure) /* keys decide; outside of the window only for a NAT that has changed its mind */
        return now < p->until || (p->to.family != 0 && addr_equal_ip(from, &p->to));
    bool moving = p->former.family != 0 && now < p->since + MOVING;
    if (moving && addr_equal(from, &p->former))
        return true;
    if ((now >= p->until && !moving) || p->proved)
        return false;
    return behind_nat(p) ? addr_equal_ip(from, &p->peer.party) : addr_equal_ip(from, &p->peer.told);
}

/* It speaks from where we send to. */
static void prove(struct relay_path *p)
{
    p->other = (struct addr){0};
    if (addr_equal(&p->to, &p->former))
        return; /* and will from elsewhere soon */
    p->proved = true;
    p->former = (struct addr){0};
}

static void learn(struct relay_path *p, const struct addr *from)
{
    p->to = *from;
    prove(p);
}

/* Another packet of the candidate, behind the one before. */
static bool belongs(const struct relay_path *p, const struct addr *from, uint32_t ssrc,
                    uint16_t seq)
{
    uint16_t ahead = (uint16_t)(seq - p->seq);
    return addr_equal(from, &p->candidate) && ssrc == p->ssrc && ahead <= IN_ORDER;
}

bool relay_path_hear(struct relay_path *p, const struct addr *from, uint32_t ssrc, uint16_t seq,
                     usec now)
{
    if (!relay_path_maybe(p, from, now))
        return false;
    if (p->ice)
        return true;
    if (addr_equal(from, &p->to)) {
        prove(p);
        return true;
    }
    if (p->secure) {
        learn(p, from);
        return true;
    }
    if (addr_equal(from, &p->other) || (addr_equal(from, &p->former) && !may_return(p, from)))
        return true;
    if (addr_equal(from, &p->peer.told)) {
        if (p->named && !p->proved) { /* the former place was learned meanwhile */
            learn(p, from);
            return true;
        }
        /* what may not be sent to may still be heard, unless somebody better is there already */
        if (!p->proved)
            p->other = *from;
        return addr_equal(from, &p->other);
    }
    p->consistent = belongs(p, from, ssrc, seq) ? p->consistent + 1 : 1;
    p->candidate = *from;
    p->ssrc = ssrc;
    p->seq = seq;
    if (p->consistent < (behind_nat(p) ? CONSISTENT : OTHER_CONSISTENT))
        return false;
    if (behind_nat(p)) {
        if (p->unsettled) /* this may be where it was, and will be until it knows that we know */
            p->former = *from;
        p->unsettled = false;
        learn(p, from);
        return true;
    }
    /* one host, two ports: what it told stays where it is sent to */
    p->consistent = OTHER_CONSISTENT; /* a count that stays in its octet */
    if (now < p->since + OTHER_AFTER)
        return false;
    p->other = *from;
    return true;
}

/* At a former place it has spoken, too. */
bool relay_path_is_known(const struct relay_path *p)
{
    return p->proved || p->peer.trusted || addr_equal_ip(&p->to, &p->peer.party) ||
           addr_equal(&p->to, &p->former);
}

bool relay_path_send(struct relay_path *p)
{
    if (p->to.family == 0)
        return false;
    if (relay_path_is_known(p))
        return true;
    if (is_local(addr_class(&p->to)))
        return true; /* nobody else's network */
    return p->unproved < UNPROVED_MAX && ++p->unproved > 0;
}
