/* SPDX-License-Identifier: MIT */
/* offer/offer_way.c: whether media may go from one side to the other without us. */
#include "offer/offer_priv.h"

static bool is_source(const uint8_t *ip, uint8_t n, const struct offer_party *from)
{
    return n > 0 && n == from->source.n && memcmp(ip, from->source.ip, n) == 0;
}

/* It says an address that its signalling comes from: no NAT stands there, or it knows what is before it. */
static bool knows_itself(const struct offer_media *m, const struct offer_party *from)
{
    bool found = is_source(m->rtp.ip, m->rtp.n, from);
    for (unsigned i = 0; m->ice && i < m->candidates_n && !found; i++)
        found = is_source(m->candidates[i].ip, m->candidates[i].ip_n, from);
    return found;
}

static const char direct[] = "direct: both sides are alike and reach each other";

/* Why the two need us whatever is offered; NULL: they do not. */
static const char *apart(const struct offer_party *from, const struct offer_party *to)
{
    const char *why = NULL;
    if (from->source.n == 0 || to->source.n == 0)
        why = "relayed: where a side stands is not known";
    else if (from->web != to->web)
        why = "relayed: one side is a browser, the other is none";
    else if (from->source.n != to->source.n)
        why = "relayed: one side has IPv4, the other IPv6";
    else if (from->local != to->local)
        why = "relayed: the sides stand in different networks";
    else if (to->nat)
        why = "relayed: the callee stands behind a NAT";
    return why;
}

bool offer_way_plain(sv text, const struct offer_party *from, const struct offer_party *to,
                     sv *ret_why)
{
    if (from->web || to->ice || apart(from, to) || !offer_is_plain(text, &from->source))
        return false;
    *ret_why = sv_of(direct);
    return true;
}

enum offer_way offer_way(const struct offer_session *offer, const struct offer_party *from,
                         const struct offer_party *to, sv *ret_why)
{
    const char *why = apart(from, to);
    for (unsigned i = 0; i < offer->n && !why; i++) {
        const struct offer_media *m = &offer->media[i];
        if (m->refused)
            continue;
        if (!from->web && m->secure)
            why = "relayed: the callee may not know the SRTP that is offered";
        else if (from->web && !m->dtls_only && m->kind != OFFER_OTHER)
            why = "relayed: a browser needs DTLS-SRTP";
        else if (m->kind <= OFFER_TEXT && !from->web && m->ice != to->ice)
            why = to->ice ? "relayed: the callee speaks ICE, the caller does not"
                          : "relayed: the caller speaks ICE, the callee may not";
        else if (m->kind != OFFER_OTHER && !knows_itself(m, from))
            why = "relayed: the caller stands behind a NAT";
    }
    *ret_why = sv_of(why ? why : direct);
    return why ? OFFER_RELAY : OFFER_DIRECT;
}
