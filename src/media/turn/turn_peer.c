/* SPDX-License-Identifier: MIT */
/* Peers: a permission and a channel for each, kept alive; data both ways. RFC 8656 §9 to §12.
 *
 * A ChannelBind makes and renews both, so it is all that is asked for; where a server refuses channels, permissions. */
#include "turn/turn_priv.h"

enum { CHANNEL_FIRST = 0x4000, CHANNEL_LAST = 0x4fff, CHANNEL_HEADER = 4, AGAIN_MAX = 3 };
#define RENEW (4 * USEC_MIN) /* a permission lasts five (§9) */

static struct turn_peer *find(struct turn *t, const struct addr *addr)
{
    for (unsigned i = 0; i < t->peers; i++)
        if (addr_equal(&t->peer[i].addr, addr))
            return &t->peer[i];
    return NULL;
}

/* §9: a permission is for an address, whatever the port. */
static bool permitted(const struct turn *t, const struct addr *addr)
{
    for (unsigned i = 0; i < t->peers; i++)
        if (addr_equal_ip(&t->peer[i].addr, addr))
            return true;
    return false;
}

static void ask(struct turn *t, struct turn_peer *p)
{
    char mem[TURN_MESSAGE_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    struct stun_out o = stunmsg_begin(&b, p->plain ? STUN_CREATE_PERMISSION : STUN_CHANNEL_BIND,
                                      STUN_REQUEST, p->txn.id);
    if (!p->plain)
        stunmsg_put_channel(&o, p->channel);
    stun_put_xor_addr(&o, STUN_XOR_PEER_ADDRESS, &p->addr);
    turn_sign_and_send(t, &o);
}

static void drop(struct turn *t, struct turn_peer *p)
{
    *p = t->peer[--t->peers];
}

static void refused(struct turn *t, struct turn_peer *p, unsigned code)
{
    struct turn_event e = {.kind = TURN_REFUSED, .peer = p->addr, .code = code};
    drop(t, p);
    t->ops->on_event(t->arg, &e);
}

enum err turn_permit(struct turn *t, const struct addr *peer, usec now)
{
    t->now = now;
    if (t->state != TURN_STANDING || t->relayed[peer->family == 6].family != peer->family)
        return ERR_STATE;
    if (find(t, peer))
        return ERR_OK;
    /* A number is not used twice: what is on its way for the peer of before would reach another (§12). */
    if (t->peers == TURN_PEERS_MAX || t->channels > CHANNEL_LAST - CHANNEL_FIRST)
        return ERR_TOOBIG;
    struct turn_peer *p = &t->peer[t->peers++];
    *p = (struct turn_peer){.addr = *peer,
                            .state = TURN_PEER_ASKED,
                            .channel = (uint16_t)(CHANNEL_FIRST + t->channels++)};
    turn_begin(t, &p->txn);
    turn_peers_step(t);
    return ERR_OK;
}

void turn_forget(struct turn *t, const struct addr *peer)
{
    struct turn_peer *p = find(t, peer);
    if (p)
        drop(t, p);
}

/* ---- answers ---- */

static void take_refusal(struct turn *t, struct turn_peer *p, const struct stunmsg *m,
                         unsigned code)
{
    if (code == STUN_ALLOCATION_MISMATCH) { /* §5: the allocation no longer exists */
        turn_fail(t, ERR_REFUSED, code);
        return;
    }
    bool stale = code == STUN_STALE_NONCE && ++p->again <= AGAIN_MAX && turn_take_challenge(t, m);
    bool no_channel =
        !p->plain && !p->bound && (code == STUN_BAD_REQUEST || code == STUN_INSUFFICIENT_CAPACITY);
    if (!stale && !no_channel) {
        refused(t, p, code);
        return;
    }
    p->plain = p->plain || no_channel;
    turn_begin(t, &p->txn);
}

bool turn_peers_answer(struct turn *t, const struct stunmsg *m, unsigned code)
{
    struct turn_peer *p = NULL;
    for (unsigned i = 0; i < t->peers && !p; i++)
        if (stun_txn_is_of(&t->peer[i].txn, m))
            p = &t->peer[i];
    if (!p)
        return false;
    if (!turn_answer_holds(t, m, code))
        return true;
    stun_txn_end(&p->txn);
    if (code) {
        take_refusal(t, p, m, code);
        turn_step(t, t->now);
        return true;
    }
    struct turn_event e = {.kind = TURN_PERMITTED, .peer = p->addr};
    bool first = p->state == TURN_PEER_ASKED;
    p->state = TURN_PEER_OPEN;
    p->bound = !p->plain;
    p->again = 0;
    p->renew = t->now + RENEW;
    if (first)
        t->ops->on_event(t->arg, &e);
    return true;
}

void turn_peers_step(struct turn *t)
{
    for (unsigned i = 0; i < t->peers && t->state == TURN_STANDING;) {
        struct turn_peer *p = &t->peer[i];
        if (!p->txn.running && p->state == TURN_PEER_OPEN && t->now >= p->renew)
            turn_begin(t, &p->txn);
        enum stun_step step = stun_txn_step(&p->txn, t->now);
        if (step == STUN_TRANSMIT)
            ask(t, p);
        if (step == STUN_TIMED_OUT)
            refused(t, p, 0); /* another has its place now */
        else
            i++;
    }
}

usec turn_peers_next(const struct turn *t)
{
    usec next = USEC_NEVER;
    for (unsigned i = 0; i < t->peers; i++) {
        const struct turn_peer *p = &t->peer[i];
        usec at = p->txn.running               ? stun_txn_next(&p->txn)
                  : p->state == TURN_PEER_OPEN ? p->renew
                                               : USEC_NEVER;
        next = at < next ? at : next;
    }
    return next;
}

/* ---- data ---- */

enum err turn_send(struct turn *t, const struct addr *peer, sv octets)
{
    struct turn_peer *p = find(t, peer);
    if (octets.n > TURN_DATA_MAX)
        return ERR_TOOBIG;
    if (t->state != TURN_STANDING || !p || p->state != TURN_PEER_OPEN)
        return ERR_STATE;
    if (p->bound) {
        char head[CHANNEL_HEADER] = {(char)(p->channel >> 8), (char)p->channel,
                                     (char)(octets.n >> 8), (char)octets.n};
        size_t padding = t->config.reliable ? (4 - octets.n % 4) % 4 : 0;
        sv pieces[] = {{head, sizeof(head)}, octets, {"\0\0\0", padding}};
        t->ops->send(t->arg, pieces, padding ? 3 : 2);
        return ERR_OK;
    }
    struct buf b;
    uint8_t id[STUN_ID];
    buf_init_heap(&b, TURN_DATA_MAX + TURN_MESSAGE_MAX);
    t->ops->chance(t->arg, id, sizeof(id));
    struct stun_out o = stunmsg_begin(&b, STUN_SEND, STUN_INDICATION, id);
    stun_put_xor_addr(&o, STUN_XOR_PEER_ADDRESS, peer);
    stunmsg_put(&o, STUN_DATA, octets);
    sv message = buf_sv(&b);
    enum err rc = b.rc;
    if (!rc)
        t->ops->send(t->arg, &message, 1);
    buf_done(&b);
    return rc;
}

/* Who speaks for a peer that we did not ask for is not heard (§11.4). */
void turn_take_indication(struct turn *t, const struct stunmsg *m)
{
    struct stun_attr data;
    struct addr peer;
    if (t->state != TURN_STANDING || m->method != STUN_DATA_INDICATION ||
        stun_xor_addr_of(m, STUN_XOR_PEER_ADDRESS, &peer) || !stunmsg_find(m, STUN_DATA, &data) ||
        !permitted(t, &peer))
        return;
    t->ops->on_data(t->arg, &peer, data.value);
}

void turn_take_channel(struct turn *t, sv message)
{
    const uint8_t *p = (const uint8_t *)message.p;
    if (t->state != TURN_STANDING || message.n < CHANNEL_HEADER)
        return;
    unsigned number = (unsigned)(p[0] << 8 | p[1]);
    size_t n = (size_t)(p[2] << 8 | p[3]);
    for (unsigned i = 0; i < t->peers && n <= message.n - CHANNEL_HEADER; i++) {
        if (t->peer[i].channel != number || t->peer[i].plain)
            continue;
        struct addr peer = t->peer[i].addr;
        t->ops->on_data(t->arg, &peer, sv_sub(message, CHANNEL_HEADER, CHANNEL_HEADER + n));
        return;
    }
}
