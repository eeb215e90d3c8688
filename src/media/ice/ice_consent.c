/* SPDX-License-Identifier: MIT */
/* ice/ice_consent.c: a selected way is asked again and again whether its peer still wants us (RFC 7675); or, where that
 * is not wanted, kept open (RFC 8445 §11). */
#include "ice/ice_priv.h"

/* PERIOD: 0.8 to 1.2 times 5 seconds. TR_S: of keepalives. */
enum { PERIOD_MIN_MS = 4000, PERIOD_SPREAD_MS = 2000, TR_S = 15 };

static usec period(struct ice_agent *a)
{
    uint32_t chance;
    if (a->config.no_consent)
        return TR_S * USEC_S;
    a->io.random(a->io.arg, &chance, sizeof chance);
    return (PERIOD_MIN_MS + chance % (PERIOD_SPREAD_MS + 1)) * USEC_MS;
}

/* §5.1: the check that proved it was the first consent. */
void consent_start(struct ice_agent *a, struct component *c, usec now)
{
    memset(c->consent, 0, sizeof c->consent);
    c->consent_next = now + period(a);
    c->consent_ends = a->config.no_consent ? USEC_NEVER : now + ICE_CONSENT_S * USEC_S;
}

void consent_lost(struct component *c)
{
    c->lost = c->lost || !c->former;
    c->selected = c->former = false;
    c->ev_selected = false;
    c->ev_lost = true;
    c->consent_next = c->consent_ends = USEC_NEVER;
    memset(c->consent, 0, sizeof c->consent); /* all that are outstanding MUST be discarded */
}

static void ask(struct ice_agent *a, unsigned stream, unsigned component, struct component *c,
                usec now)
{
    char mem[ICE_CHECK_MAX];
    struct buf b;
    const struct stream *s = &a->stream[stream];
    struct asked *asked = &c->consent[c->consent_at++ % CONSENTS];
    buf_init(&b, mem, sizeof mem);
    a->io.random(a->io.arg, asked->id, STUN_ID);
    if (a->config.no_consent) {
        struct stun_out o = stunmsg_begin(&b, STUN_BINDING, STUN_INDICATION, asked->id);
        stunmsg_put_fingerprint(&o);
    } else {
        asked->until = now + ICE_CONSENT_S * USEC_S;
        asked->controlling = a->config.controlling;
        /* Of the pair that is nominated: a lite peer may not have heard it yet. */
        client_put(a, c->former ? &s->former : &s->remote, c->former ? &a->former : &a->ours,
                   asked->id, ice_priority(ICE_PRFLX, 0, component),
                   a->config.controlling && !c->former, &b);
    }
    if (!b.rc)
        a->io.send(a->io.arg, stream, component, &c->way, buf_sv(&b));
}

void consent_step(struct ice_agent *a, unsigned stream, unsigned component, usec now)
{
    struct component *c = &a->stream[stream].component[component - 1];
    if (!c->selected)
        return;
    if (now >= c->consent_ends) {
        consent_lost(c);
        agent_forget_former(a);
    } else if (now >= c->consent_next) {
        ask(a, stream, component, c, now);
        c->consent_next = now + period(a);
    }
}

static struct asked *find(struct component *c, const struct stunmsg *m, usec now)
{
    for (unsigned i = 0; i < CONSENTS; i++)
        if (now < c->consent[i].until && memcmp(c->consent[i].id, m->id, STUN_ID) == 0)
            return &c->consent[i];
    return NULL;
}

bool consent_on_response(struct ice_agent *a, unsigned stream, unsigned component, uint8_t socket,
                         const struct addr *from, const struct stunmsg *m, usec now)
{
    struct stream *s = &a->stream[stream];
    struct component *c = &s->component[component - 1];
    struct asked *asked = find(c, m, now);
    struct stun_attr at;
    unsigned code;
    sv reason;
    if (!asked)
        return false;
    if (!m->fingerprint || c->way.socket != socket || !addr_equal(&c->way.to, from) ||
        stunmsg_integrity(m) != STUN_SHA1 ||
        stunmsg_verify(m, remote_pwd(c->former ? &s->former : &s->remote), STUN_KEY_MAX))
        return true;
    asked->until = 0;
    if (m->class == STUN_SUCCESS) {
        c->consent_ends = now + ICE_CONSENT_S * USEC_S;
    } else if (stunmsg_find(m, STUN_ERROR_CODE, &at) &&
               !stunmsg_error_code(at.value, &code, &reason) && code == STUN_FORBIDDEN) {
        consent_lost(c); /* §5.2: withdrawn */
        agent_forget_former(a);
    }
    return true;
}
