/* SPDX-License-Identifier: MIT */
/* transport/transport_stun.c: STUN on the UDP ports of SIP: Binding requests are answered with the
 * address that they came from, so that a phone sees its flow stand (RFC 5626 §5.4, §8; RFC 8489).
 *
 * Stateless, one datagram for one, no credentials (RFC 8489 §12). Indications, responses and other methods
 * are ignored: that they came has kept the NAT's binding open.
 *
 * Reflection (D15): of 20 octets come 32, or 44 over IPv6: with their headers 48 for 60 and 68 for 92. It
 * cannot be less, for the address is the answer; so it holds nothing else (no SOFTWARE, and a refusal
 * has no more words than it must), and a source is answered ANSWERS_A_SECOND times by a worker. A
 * thousand phones behind one address that ask twice a minute need 34. */
#include "stunmsg/stunmsg.h"
#include "transport/transport_priv.h"

/* STUN_IN_MAX: what a path carries in one piece (RFC 8489 §6.1); above: nobody's keep-alive.
 * UNKNOWN_MAX: all that differ in a request as large as that would be more than it needs to know. */
enum { STUN_IN_MAX = 1280, STUN_OUT_MAX = 256, UNKNOWN_MAX = 32, ANSWERS_A_SECOND = 200 };

/* The rate as in transport_source.c, but without entries: sources that fall together share. */
static bool may_answer(struct sip *s, const struct addr *source)
{
    struct addr who = {.family = source->family};
    memcpy(who.ip, source->ip, source->family == 6 ? 8 : 4); /* a /64 of IPv6 is one */
    usec *full_at = &s->stun[sip_addr_hash(s, &who) % SIP_STUN_SOURCES], now = s->loop->now;
    usec next = (*full_at > now ? *full_at : now) + USEC_S / ANSWERS_A_SECOND;
    if (next - now > USEC_S) {
        stat_refuse(&s->loop->stats, STAT_LIMIT_STUN);
        return false;
    }
    *full_at = next;
    return true;
}

static void put_answer(struct buf *b, const struct stunmsg *m, const struct addr *from)
{
    uint16_t unknown[UNKNOWN_MAX];
    size_t n = stunmsg_unknown(m, stunmsg_is_basic, unknown, UNKNOWN_MAX);
    struct stun_out o = stunmsg_begin(b, STUN_BINDING, n > 0 ? STUN_ERROR : STUN_SUCCESS, m->id);
    if (n > 0) { /* RFC 8489 §6.3.1 */
        stunmsg_put_error(&o, 420, SV("Unknown"));
        stunmsg_put_unknown(&o, unknown, n);
    } else {
        struct stun_addr mapped = {.family = from->family, .port = from->port};
        memcpy(mapped.ip, from->ip, sizeof mapped.ip);
        stunmsg_put_xor_address(&o, STUN_XOR_MAPPED_ADDRESS, &mapped);
    }
    if (m->fingerprint)
        stunmsg_put_fingerprint(&o);
}

bool sip_stun(struct sip_port *p, sv octets, const struct addr *from, const struct addr *to)
{
    struct stunmsg m;
    struct buf b;
    char mem[STUN_OUT_MAX];
    if (!stunmsg_is(octets))
        return false;
    if (octets.n > STUN_IN_MAX || stunmsg_parse(octets, &m) || m.class != STUN_REQUEST ||
        m.method != STUN_BINDING || !may_answer(p->sip, from))
        return true;
    buf_init(&b, mem, sizeof mem);
    put_answer(&b, &m, from);
    sv answer = buf_sv(&b);
    /* From where it was sent to, to where it came from (§6.3.1.2); one that is lost is asked again. */
    if (!b.rc && !udp_send(p->udp, addr_is_any(&p->local) ? to : NULL, from, &answer, 1))
        stat_inc(&p->sip->loop->stats, STAT_STUN_ANSWERS);
    return true;
}
