/* SPDX-License-Identifier: MIT */
/* ice/ice_server.c: checks that are received (RFC 8445 §7.3): answered, then followed back. */
#include "crypto/crypto.h"
#include "ice/ice_priv.h"

/* §7.3.1.1. False: the request is answered with 487. */
static bool repair_role(struct ice_agent *a, const struct ice_check *k)
{
    bool larger = a->tiebreaker >= k->tiebreaker;
    if (k->role == ICE_NO_ROLE || (k->role == ICE_CONTROLLING) != a->config.controlling)
        return true;
    if (larger == a->config.controlling)
        return false; /* we keep ours */
    client_role(a, !a->config.controlling);
    return true;
}

/* Whose check it was: early ones come before anybody has said who the peer is. */
static uint32_t mark_of(sv ufrag)
{
    return crypto_crc32c(0, ufrag.p, ufrag.n);
}

static int local_of(const struct stream *s, unsigned component, uint8_t socket)
{
    for (int i = 0; i < s->locals_n; i++)
        if (s->locals[i].component == component && s->locals[i].socket == socket &&
            (s->locals[i].type == ICE_HOST || s->locals[i].type == ICE_RELAY))
            return i;
    return -1;
}

static int remote_of(const struct stream *s, unsigned component, const struct addr *from)
{
    for (int i = 0; i < s->remotes_n; i++)
        if (s->remotes[i].component == component && addr_equal(&s->remotes[i].addr, from))
            return i;
    return -1;
}

/* §7.3.1.3: an address that nobody named. */
static int learn(struct ice_agent *a, struct stream *s, unsigned component, const struct addr *from,
                 const struct ice_check *k)
{
    unsigned reflexive = 0;
    for (unsigned i = 0; i < s->remotes_n; i++)
        reflexive += s->remotes[i].type == ICE_PRFLX;
    if (s->remotes_n >= ICE_CANDIDATES_MAX || reflexive >= ICE_REFLEXIVE_MAX)
        return -1;
    struct ice_candidate *c = &s->remotes[s->remotes_n];
    *c = (struct ice_candidate){
        .type = ICE_PRFLX,
        .component = (uint8_t)component,
        .addr = *from,
        .priority = k->has_priority ? k->priority : ice_priority(ICE_PRFLX, 0, component)};
    struct buf b; /* different from all others': a blank is in no foundation of a peer's */
    buf_init(&b, c->foundation, sizeof c->foundation);
    buf_char(&b, ' ');
    buf_u64(&b, ++a->reflexive);
    c->foundation_n = (uint8_t)b.n;
    s->remote_of[s->remotes_n] = mark_of(k->theirs);
    return s->remotes_n++;
}

/* §7.3.1.4 */
static void trigger(struct ice_agent *a, struct pair *p, usec now)
{
    if (p->state != PAIR_SUCCEEDED && !p->queued)
        pair_trigger(a, p, now);
}

/* What the stream's way already is needs no more of it: but a peer of RFC 5245 may nominate a better one. */
static bool is_over(const struct ice_agent *a, const struct component *c, const struct ice_check *k)
{
    return c->pair != PAIR_NONE && (a->config.controlling || !k->use_candidate);
}

static void follow(struct ice_agent *a, unsigned stream, unsigned component, uint8_t socket,
                   const struct addr *from, const struct ice_check *k, usec now)
{
    struct stream *s = &a->stream[stream];
    int local = local_of(s, component, socket), remote = remote_of(s, component, from);
    if (s->state == STREAM_FAILED || local < 0 ||
        (s->remote_known && !sv_eq(k->theirs, remote_ufrag(&s->remote))))
        return;
    bool over = is_over(a, &s->component[component - 1], k);
    if (remote < 0 && !over)
        remote = learn(a, s, component, from, k);
    if (remote < 0)
        return;
    struct pair *p = over ? pair_find(a, stream, (unsigned)local, (unsigned)remote)
                          : pair_get(a, stream, (unsigned)local, (unsigned)remote);
    if (!p)
        return;
    p->heard = true;
    if (over)
        return;
    trigger(a, p, now);
    if (!k->use_candidate || a->config.controlling)
        return;
    if (p->state == PAIR_SUCCEEDED) /* §7.3.1.5 */
        client_nominated(a, p, now);
    else
        p->wanted = true;
    client_update(a, stream, now);
}

/* Consent of the peer for the way of before the restart: answered there, and changes nothing. */
static const struct ice_secret *former_of(struct ice_agent *a, const struct component *c,
                                          uint8_t socket, const struct addr *from, sv octets,
                                          struct ice_check *ret_check)
{
    struct ice_check k;
    if (!a->has_former || !c->former || c->way.socket != socket || !addr_equal(&c->way.to, from) ||
        !ice_check_read(octets, &a->former, &k) || k.code)
        return NULL;
    *ret_check = k;
    return &a->former;
}

void server_on_request(struct ice_agent *a, unsigned stream, unsigned component, uint8_t socket,
                       const struct addr *from, sv octets, usec now)
{
    char mem[ICE_CHECK_MAX];
    struct ice_check k;
    struct buf b;
    const struct ice_secret *secret = &a->ours, *former = NULL;
    const struct ice_way back = {socket, *from};
    if (!ice_check_read(octets, secret, &k))
        return;
    if (k.code == STUN_UNAUTHENTICATED)
        former =
            former_of(a, &a->stream[stream].component[component - 1], socket, from, octets, &k);
    if (former)
        secret = former;
    else if (k.code == 0 && !repair_role(a, &k))
        k.code = STUN_ROLE_CONFLICT;
    buf_init(&b, mem, sizeof mem);
    ice_check_answer(&b, &k, from, secret);
    if (!b.rc)
        a->io.send(a->io.arg, stream, component, &back, buf_sv(&b));
    if (k.code == 0 && !former)
        follow(a, stream, component, socket, from, &k, now);
}
