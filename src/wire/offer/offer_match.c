/* SPDX-License-Identifier: MIT */
/* offer/offer_match.c: which codecs of both sides meet, and how each payload type goes on.
 *
 *   caller           callee
 *   offers a  ──►  is offered p (a's payload type, or one that we added)
 *                  answers b (RFC 3264 §6.1: maybe by another payload type)
 *
 * What a side sends it sends with the payload types of what it was told: the caller with those of our answer, which
 * are its own; the callee with p's, though some take their own b's, so both are known.
 * Spec RFC 3264 §6.1, 4733 §2.5.1 and §7.1 (events by clock rate), 4588 §8 (apt), 2198 §5 (red). */
#include "offer/offer.h"

#include "offer/offer_priv.h"

/* ---- pairs ---- */

static bool taken(const struct offer_match *m, const struct offer_codec *p)
{
    for (unsigned i = 0; i < m->n; i++)
        if (m->pair[i].p == p)
            return true;
    return false;
}

/* What the answer took. RFC 3264 §6.1 lets it name formats that were not offered: they mean nothing here. */
static void pair_up(const struct offer_media *offer, const struct offer_media *passed,
                    const struct offer_media *answer, struct offer_match *m)
{
    m->aligned = true;
    for (unsigned i = 0; i < answer->codecs_n; i++) {
        const struct offer_codec *b = &answer->codecs[i];
        const struct offer_codec *p = offer_codec_find(passed->codecs, passed->codecs_n, b);
        if (!p || taken(m, p))
            continue;
        const struct offer_codec *a = offer_codec_pt(offer->codecs, offer->codecs_n, p->pt);
        if (a && !offer_codec_same_name(a, p))
            a = NULL;
        m->pair[m->n++] = (struct offer_pair){a, p, b};
        m->aligned = m->aligned && p->pt == b->pt;
    }
}

unsigned offer_codec_refers(const struct offer_codec *c, uint8_t *ret_pts, unsigned max)
{
    unsigned n = 0;
    uint64_t pt;
    sv rest = c->fmtp, name, value;
    if (c->id == CODEC_RTX) {
        while (n < max && sdp_fmtp_next(&rest, &name, &value))
            if (sv_ieq(name, SV("apt")) && sv_u64(value, 127, &pt) == ERR_OK)
                ret_pts[n++] = (uint8_t)pt;
        return n;
    }
    while (n < max && rest.n > 0) {
        size_t slash = sv_chr(rest, '/');
        if (sv_u64(sv_trim(sv_sub(rest, 0, slash)), 127, &pt) == ERR_OK)
            ret_pts[n++] = (uint8_t)pt;
        rest = sv_sub(rest, slash + 1, rest.n);
    }
    return n;
}

/* What repairs another one names it by payload type, in its fmtp or within its packets: it passes only where these
 * are the same on both sides. */
static bool belongs(const struct offer_match *m, const struct offer_pair *x)
{
    uint8_t pts[OFFER_CODECS_MAX];
    unsigned n = offer_codec_refers(x->p, pts, OFFER_CODECS_MAX);
    if (n == 0)
        return m->aligned;
    for (unsigned i = 0; i < n; i++) {
        bool found = false;
        for (unsigned k = 0; k < m->n; k++)
            found =
                found || (m->pair[k].a && m->pair[k].p->pt == pts[i] && m->pair[k].b->pt == pts[i]);
        if (!found)
            return false;
    }
    return true;
}

/* ---- what the caller hears ---- */

static void hear(struct offer_match *m, const struct offer_codec *a, sv fmtp, uint8_t source_pt)
{
    m->list[m->list_n] = *a;
    m->list[m->list_n].fmtp = fmtp;
    m->source_pt[m->list_n++] = source_pt;
}

const struct offer_codec *offer_companion(const struct offer_codec *list, unsigned n,
                                          enum offer_codec_id id)
{
    const struct offer_codec *first = NULL, *any = NULL;
    for (unsigned i = 0; i < n && !first; i++)
        if (offer_codec_is_main(&list[i]))
            first = &list[i];
    for (unsigned i = 0; i < n; i++) {
        if (list[i].id != id)
            continue;
        if (first && list[i].clock_hz == first->clock_hz)
            return &list[i];
        if (!any)
            any = &list[i];
    }
    return any;
}

static const struct offer_codec *event_of(const struct offer_media *offer,
                                          const struct offer_codec *sound)
{
    struct offer_codec beside[OFFER_CODECS_MAX + 1];
    beside[0] = *sound;
    memcpy(beside + 1, offer->codecs, offer->codecs_n * sizeof *beside);
    const struct offer_codec *event = offer_companion(beside, offer->codecs_n + 1, CODEC_EVENT);
    return event ? &offer->codecs[event - beside - 1] : NULL;
}

/* `turned`: the callee has no events, but keys can be brought to it in another way. */
static void hear_common(struct offer_match *m, const struct offer_media *offer, bool turned)
{
    const struct offer_codec *sound = NULL, *event = NULL;
    for (unsigned i = 0; i < m->n; i++) {
        const struct offer_pair *x = &m->pair[i];
        bool own = x->a && (offer_codec_is_main(x->a) || x->a->id == CODEC_CN ||
                            x->a->id == CODEC_EVENT || belongs(m, x));
        if (!own)
            continue;
        hear(m, x->a, x->b->fmtp, x->b->pt);
        turned = turned && x->a->id != CODEC_EVENT;
        if (!sound && offer_codec_is_main(x->a))
            sound = x->a;
    }
    if (turned && sound)
        event = event_of(offer, sound);
    if (event && m->list_n < OFFER_CODECS_MAX)
        hear(m, event, SV("0-16"), OFFER_NO_PT);
}

/* Its first codec that we can do, and its events, which are in the codec's clock rate if it has such. */
static void hear_transcoded(struct offer_match *m, const struct offer_media *offer)
{
    const struct offer_codec *event = event_of(offer, &m->best_a);
    hear(m, &m->best_a, m->best_a.id == CODEC_OPUS ? SV("useinbandfec=1") : SV_NONE, OFFER_NO_PT);
    if (event)
        hear(m, event, SV("0-16"), OFFER_NO_PT);
}

bool offer_match(const struct offer_media *offer, const struct offer_media *passed,
                 const struct offer_media *answer, const struct offer_policy *p,
                 struct offer_match *ret)
{
    struct offer_match *m = ret;
    *m = (struct offer_match){0};
    pair_up(offer, passed, answer, m);
    for (unsigned i = 0; i < m->n; i++) {
        const struct offer_pair *x = &m->pair[i];
        m->common = m->common || (x->a && offer_codec_is_main(x->a));
        if (!m->can_b && offer_codec_can(x->b)) {
            m->best_b = *x->b;
            m->can_b = true;
        }
        /* what both have is what the caller will use, so it is what is brought to it */
        if (!m->can_a && x->a && offer_codec_can(x->a)) {
            m->best_a = *x->a;
            m->can_a = true;
        }
    }
    for (unsigned i = 0; i < offer->codecs_n && !m->common && !m->can_a; i++) {
        if (offer_codec_can(&offer->codecs[i])) {
            m->best_a = offer->codecs[i];
            m->can_a = true;
        }
    }
    bool audio = offer->kind == OFFER_AUDIO, transcode = p->transcode && audio;
    m->can_a = m->can_a && transcode;
    m->can_b = m->can_b && transcode;
    if (m->common)
        hear_common(m, offer, audio && (m->can_b || p->keys[1].takes_info));
    else if (m->can_a && m->can_b)
        hear_transcoded(m, offer);
    return m->list_n > 0;
}

/* ---- maps ---- */

static bool mapped(const struct offer_stream *s, int way, uint8_t from)
{
    for (unsigned i = 0; i < s->map_n[way]; i++)
        if (s->map[way][i].from == from)
            return true;
    return false;
}

static void map(struct offer_stream *s, int way, const struct offer_codec *in,
                const struct offer_codec *out, bool transcode)
{
    if (s->map_n[way] == OFFER_CODECS_MAX || mapped(s, way, in->pt))
        return;
    s->map[way][s->map_n[way]++] = (struct offer_map){
        .from = in->pt, .to = out->pt, .transcode = transcode, .in = *in, .out = *out};
    s->transcodes = s->transcodes || transcode;
}

/* One side of a map: what it takes. */
struct taker {
    const struct offer_codec *list;
    unsigned n;
    const struct offer_codec *best; /* to be transcoded to; NULL: nothing is */
    enum offer_dtmf dtmf;
};

/* An event for one in this clock rate: of the same, or of the codec that it goes with. */
static const struct offer_codec *event_for(const struct taker *to, uint32_t clock_hz)
{
    for (unsigned i = 0; i < to->n; i++)
        if (to->list[i].id == CODEC_EVENT && to->list[i].clock_hz == clock_hz)
            return &to->list[i];
    return offer_companion(to->list, to->n, CODEC_EVENT);
}

/* A key by an event: one of the same clock rate or of another; else it is taken out, and becomes a tone or INFO. */
static void map_event(struct offer_stream *s, int way, const struct offer_codec *in,
                      const struct taker *to)
{
    const struct offer_codec *event = event_for(to, in->clock_hz);
    if (to->dtmf == OFFER_DTMF_EVENTS && event) {
        map(s, way, in, event, event->clock_hz != in->clock_hz);
    } else if (to->dtmf != OFFER_DTMF_AUTO) {
        struct offer_codec key = to->best ? *to->best : *in;
        key.pt = OFFER_NO_PT;
        map(s, way, in, &key, true);
    }
}

/* like: what it passes as, NULL: nothing. Else sound is transcoded, noise is made there. */
static void map_one(struct offer_stream *s, int way, const struct offer_codec *in,
                    const struct offer_codec *like, const struct taker *to)
{
    if (in->id == CODEC_EVENT && s->kind == OFFER_AUDIO) {
        map_event(s, way, in, to);
    } else if (like) {
        map(s, way, in, like, false);
    } else if (to->best && offer_codec_can(in)) {
        map(s, way, in, to->best, true);
    } else if (to->best && in->id == CODEC_CN) {
        struct offer_codec noise = *to->best;
        noise.pt = OFFER_NO_PT;
        map(s, way, in, &noise, true);
    }
}

static const struct offer_pair *pair_of(const struct offer_match *m, uint8_t caller_pt)
{
    for (unsigned i = 0; i < m->n; i++)
        if (m->pair[i].a && m->pair[i].a->pt == caller_pt)
            return &m->pair[i];
    return NULL;
}

/* ---- keys ---- */

static enum offer_dtmf way_of_keys(const struct offer_policy *p, const struct offer_keys *k,
                                   const struct taker *t, bool event)
{
    static const enum offer_dtmf order[][3] = {
        [OFFER_DTMF_AUTO] = {OFFER_DTMF_EVENTS, OFFER_DTMF_INFO, OFFER_DTMF_TONES},
        [OFFER_DTMF_EVENTS] = {OFFER_DTMF_EVENTS, OFFER_DTMF_TONES, OFFER_DTMF_INFO},
        [OFFER_DTMF_INFO] = {OFFER_DTMF_INFO, OFFER_DTMF_EVENTS, OFFER_DTMF_TONES},
        [OFFER_DTMF_TONES] = {OFFER_DTMF_TONES, OFFER_DTMF_EVENTS, OFFER_DTMF_INFO}};
    const bool can[] = {[OFFER_DTMF_EVENTS] = event,
                        [OFFER_DTMF_INFO] = k->takes_info || k->does_info,
                        [OFFER_DTMF_TONES] = t->best != NULL};
    for (int i = 0; i < 3; i++)
        if (can[order[p->dtmf][i]])
            return order[p->dtmf][i];
    return OFFER_DTMF_AUTO;
}

/* Decoding what passes costs little of G.711 only; whoever speaks more than that has events. */
static bool can_be_heard(const struct offer_match *m)
{
    if (!m->common)
        return m->can_a && m->can_b;
    for (unsigned i = 0; i < m->n; i++)
        if (m->pair[i].a && offer_codec_is_main(m->pair[i].a))
            return m->can_a && m->can_b &&
                   (m->pair[i].a->id == CODEC_PCMU || m->pair[i].a->id == CODEC_PCMA);
    return false;
}

/* Side i is told of keys; from: what the other one sends. Tones of who has events, or INFO, are no keys; those for one
 * that might take INFO are left to be heard. */
static void tell_keys(const struct offer_match *m, const struct offer_policy *p,
                      struct offer_stream *s, int i, const struct taker *from)
{
    struct offer_leg *to = &s->leg[i];
    bool known =
        to->dtmf == OFFER_DTMF_EVENTS || (to->dtmf == OFFER_DTMF_INFO && p->keys[i].does_info);
    to->digits =
        p->keys[!i].gives_info && (to->dtmf == OFFER_DTMF_EVENTS || to->dtmf == OFFER_DTMF_TONES);
    to->listen = known && !p->keys[!i].gives_info && can_be_heard(m) &&
                 !offer_companion(from->list, from->n, CODEC_EVENT);
}

/* The telephone-event and comfort noise that a side takes. */
static void tell_companions(struct offer_leg *leg, const struct taker *t)
{
    const struct offer_codec *event = offer_companion(t->list, t->n, CODEC_EVENT);
    const struct offer_codec *cn = offer_companion(t->list, t->n, CODEC_CN);
    leg->event_pt = event ? event->pt : OFFER_NO_PT;
    leg->event_hz = event ? event->clock_hz : 0;
    leg->cn_pt = cn ? cn->pt : OFFER_NO_PT;
}

void offer_match_maps(const struct offer_match *m, const struct offer_policy *p,
                      struct offer_stream *s)
{
    struct offer_codec theirs[OFFER_CODECS_MAX];
    for (unsigned i = 0; i < m->n; i++)
        theirs[i] = *m->pair[i].b;
    struct taker side[2] = {{m->list, m->list_n, m->can_a ? &m->best_a : NULL, OFFER_DTMF_AUTO},
                            {theirs, m->n, m->can_b ? &m->best_b : NULL, OFFER_DTMF_AUTO}};
    for (int i = 0; i < 2; i++) {
        struct offer_leg *leg = &s->leg[i];
        tell_companions(leg, &side[i]);
        if (s->kind == OFFER_AUDIO)
            side[i].dtmf = leg->dtmf =
                way_of_keys(p, &p->keys[i], &side[i], leg->event_pt != OFFER_NO_PT);
    }
    for (int i = 0; i < 2 && s->kind == OFFER_AUDIO; i++)
        tell_keys(m, p, s, i, &side[!i]);
    for (unsigned i = 0; i < m->list_n; i++) {
        const struct offer_pair *x = m->common ? pair_of(m, m->list[i].pt) : NULL;
        map_one(s, 0, &m->list[i], x ? x->b : NULL, &side[1]);
    }
    for (int own = 0; own < 2; own++) /* first as it was told to send, then as it may send */
        for (unsigned i = 0; i < m->n; i++) {
            const struct offer_pair *x = &m->pair[i];
            struct offer_codec in = *x->p;
            in.pt = own ? x->b->pt : x->p->pt;
            bool same = m->common && x->a && offer_codec_pt(m->list, m->list_n, x->a->pt);
            map_one(s, 1, &in, same ? x->a : NULL, &side[0]);
        }
}
