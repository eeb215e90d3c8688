/* SPDX-License-Identifier: MIT */
/* transport/transport_reply.c: where responses go, and answers without a transaction. */
#include "transport/transport_priv.h"

/* Octets that a reply may add to what it copies from the request. */
enum { REPLY_EXTRA = 1024, TAG_DIGITS = 16 };

struct dest sip_response_dest(const struct rx *rx)
{
    struct dest d = {.flow = rx->flow};
    const struct sip_via *via;
    struct rx *m = (struct rx *)rx; /* typed access remembers what it found */
    if (!sip_connects(rx->flow.transport) || sipmsg_via(&m->msg, &via))
        return d;
    struct addr sent_by = rx->flow.remote;
    sent_by.port = via->port ? via->port : rx->flow.transport == SIP_T_TLS ? SIPS_PORT : SIP_PORT;
    /* RFC 3261 §18.2.2: on the request's connection, or a new one to the source address and the
     * port of sent-by; a
     * datagram to these two; RFC 3581 §4: with rport to the source port.
     * DEVIATES: maddr is not followed. It would let anyone aim our answers at a third party. */
    if (flow_reliable(&rx->flow)) {
        d.addr = sent_by;
        d.transport = rx->flow.transport;
        d.or_connect = true;
        /* Only who has proved a name has it asked for; of anyone else the address must do. */
        if (rx->peer && rx->peer->verified && tls_peer_is(rx->peer, via->host))
            d.name = names_number(rx->priv->shared, via->host);
    } else if (!via->rport) {
        d.flow.remote = sent_by;
    }
    return d;
}

enum err sip_send_response(struct sip *s, const struct rx *rx, struct block *octets)
{
    struct dest d = sip_response_dest(rx);
    return sip_send(s, &d, octets, NULL);
}

/* host is this address as a number. */
static bool names(sv host, const struct addr *a)
{
    uint8_t ip[16];
    size_t n = 0;
    if (uri_host_ip(host, ip, &n))
        return false;
    struct addr named = addr_from_ip(ip, n, 0);
    return addr_equal_ip(&named, a);
}

void sip_reply_via(const struct rx *rx, struct sip_reply *r, char mem[static 64])
{
    const struct sip_via *via;
    struct rx *m = (struct rx *)rx;
    struct buf b;
    if (sipmsg_via(&m->msg, &via))
        return;
    const struct addr *source = &rx->flow.remote;
    /* RFC 7118 §5.3: of a WebSocket it would tell a client the address of a proxy, and help nobody. */
    if (!sip_connects(rx->flow.transport))
        return;
    /* RFC 3261 §18.2.1: added when sent-by is a name or another address; RFC 3581 §4: MUST be with
     * rport, even if equal. */
    if (via->rport || !names(via->host, source)) {
        buf_init(&b, mem, 64);
        addr_print_ip(&b, source);
        r->received = buf_sv(&b);
    }
    if (via->rport)
        r->rport = source->port;
}

struct block *sip_block(struct sip *s, size_t cap)
{
    return block_new(s->loop->blocks, cap);
}

/* Eight digits, all at once: of each nibble an octet, of each octet a digit. */
static void put_hex(char *to, uint32_t v)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t x = v;
    x = (x | x << 16) & 0x0000ffff0000ffffu;
    x = (x | x << 8) & 0x00ff00ff00ff00ffu;
    x = (x | x << 4) & 0x0f * ones;
    uint64_t letters = (x + 6 * ones) >> 4 & ones; /* one where ten or more stands */
    x += '0' * ones + letters * ('a' - '0' - 10);
    memcpy(to, &x, sizeof x);
}

static sv put_tag(char *mem, uint64_t tag)
{
    put_hex(mem, (uint32_t)tag);
    put_hex(mem + TAG_DIGITS / 2, (uint32_t)(tag >> 32));
    return (sv){mem, TAG_DIGITS};
}

/* Of what a retransmission repeats and no other request has, unparsed: one that cannot be read has a tag
 * too. */
sv sip_stateless_tag(struct sip *s, struct rx *rx, char mem[static 24])
{
    const struct sipmsg *m = &rx->msg;
    const struct home_key *call = sip_call_key(s, rx);
    sv pieces[] = {SV("tag"), (sv){(const char *)call, sizeof *call}, sipmsg_value(m, SIP_H_VIA),
                   sipmsg_value(m, SIP_H_FROM), sipmsg_value(m, SIP_H_CSEQ)};
    return put_tag(mem, home_tag(s->shared->home, pieces, sizeof pieces / sizeof pieces[0]));
}

sv sip_random_tag(struct sip *s, char mem[static 24])
{
    return put_tag(mem, loop_random(s->loop));
}

enum err sip_build_reply(struct sip *s, struct rx *rx, struct sip_reply *r,
                         struct block **ret_octets)
{
    char received[64];
    sip_reply_via(rx, r, received);
    size_t cap = rx->msg.text.n + r->headers.n + r->body.n + r->content_type.n + r->reason.n;
    struct block *octets = sip_block(s, cap + REPLY_EXTRA);
    if (!octets)
        return ERR_BUSY;
    struct buf b;
    buf_init(&b, octets->p, octets->cap);
    enum err rc = sipmsg_reply(&b, &rx->msg, r);
    r->received = SV_NONE; /* it pointed into this frame */
    if (rc || b.rc) {
        block_unref(octets);
        return rc ? rc : b.rc;
    }
    octets->n = (uint32_t)b.n;
    *ret_octets = octets;
    return ERR_OK;
}

enum err sip_reply(struct sip *s, struct rx *rx, struct sip_reply *r)
{
    char tag[24];
    struct block *octets;
    if (rx->msg.method == SIP_ACK)
        return ERR_OK;
    bool tagged = sv_present(r->to_tag);
    if (!tagged && r->status > 100)
        r->to_tag = sip_stateless_tag(s, rx, tag);
    enum err rc = sip_build_reply(s, rx, r, &octets);
    if (!tagged)
        r->to_tag = SV_NONE;
    TRY(rc);
    rc = sip_send_response(s, rx, octets);
    block_unref(octets);
    return rc;
}
