/* SPDX-License-Identifier: MIT */
/* What the streams of a description take of a network, by what it says (b=) and else by what they are. */
#include "offer/offer.h"

/* Bits a second with headers: 50 packets a second with 40 octets of IPv4, UDP and RTP are HEADERS. */
enum {
    HEADERS = 50 * 40 * 8,
    SOUND = 64000 + HEADERS, /* G.711 and G.722; Opus, which has no rate of its own, seldom more */
    VIDEO = 2000000,         /* what browsers send in 720 lines, when nothing says otherwise */
    TEXT = 4000,             /* RFC 4103: four packets a second with two repetitions each */
    FAX = 64000              /* V.17, with repetitions */
};

static uint64_t at_most(uint64_t v, uint64_t most)
{
    return v < most ? v : most;
}

/* RFC 3890 §6.2.2: TIAS is payload alone: headers are on 50 packets a second, or on each 1,200 octets, whichever is
 * more. RFC 3550 §6.2: AS has them. RFC 3890 §6.2.3: TIAS counts when both are there. False: it says neither. */
static bool said(const struct sdp_bandwidth *v, size_t n, uint64_t *ret_bits)
{
    bool found = false;
    for (size_t i = 0; i < n; i++) {
        uint64_t x = at_most(v[i].value, OFFER_BANDWIDTH_MAX);
        if (sv_eq(v[i].type, SV("TIAS"))) {
            *ret_bits = x + (x / 30 > HEADERS ? x / 30 : HEADERS);
            return true;
        }
        if (sv_eq(v[i].type, SV("AS"))) {
            *ret_bits = x * 1000;
            found = true;
        }
    }
    return found;
}

/* The codec that takes most: which of them it will be nobody knows. */
static uint64_t sound_bits(const struct offer_media *m)
{
    uint64_t most = SOUND;
    for (unsigned i = 0; i < m->codecs_n; i++) {
        const struct offer_codec *c = &m->codecs[i];
        uint64_t bits = (uint64_t)16 * c->clock_hz * c->channels + HEADERS;
        if (c->id == CODEC_L16 && bits > most)
            most = bits;
    }
    return most;
}

uint64_t offer_bandwidth(const struct offer_session *s, const struct offer_plan *plan)
{
    uint64_t total = 0, whole = OFFER_BANDWIDTH_MAX, video = VIDEO;
    if (said(s->text->bandwidths, s->text->n_bandwidths, &whole))
        video = whole;
    for (unsigned i = 0; i < s->n; i++) {
        const struct offer_media *m = &s->media[i];
        uint64_t bits = m->kind == OFFER_AUDIO   ? sound_bits(m)
                        : m->kind == OFFER_VIDEO ? video
                        : m->kind == OFFER_TEXT  ? TEXT
                                                 : FAX;
        if (m->refused || m->kind == OFFER_OTHER ||
            (plan && (i >= plan->n || plan->streams[i].refused)))
            continue;
        said(m->text->bandwidths, m->text->n_bandwidths, &bits);
        total += at_most(bits, OFFER_BANDWIDTH_MAX);
    }
    return at_most(total, at_most(whole, OFFER_BANDWIDTH_MAX));
}
