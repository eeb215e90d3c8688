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
                     bool convert, sv *ret_why)
{
    bool events;
    if (from->web || to->ice || apart(from, to) || !offer_is_plain(text, &from->source, &events) ||
        (convert && !events))
        return false;
    *ret_why = sv_of(direct);
    return true;
}

/* It has sound that we can convert, and no events in any. */
static bool lacks_events(const struct offer_session *offer)
{
    bool can = false;
    for (unsigned i = 0; i < offer->n; i++) {
        const struct offer_media *m = &offer->media[i];
        if (m->refused || m->kind != OFFER_AUDIO)
            continue;
        if (offer_companion(m->codecs, m->codecs_n, CODEC_EVENT))
            return false;
        for (unsigned k = 0; k < m->codecs_n && m->direction != SDP_INACTIVE; k++)
            can = can || offer_codec_can(&m->codecs[k]);
    }
    return can;
}

enum offer_way offer_way(const struct offer_session *offer, const struct offer_party *from,
                         const struct offer_party *to, bool convert, sv *ret_why)
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
    bool digits = !why && convert && lacks_events(offer);
    *ret_why = digits ? SV("relayed: the caller has no telephone-event for its keys")
                      : sv_of(why ? why : direct);
    return why ? OFFER_RELAY : digits ? OFFER_DIGITS : OFFER_DIRECT;
}
