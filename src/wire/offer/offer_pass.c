/* SPDX-License-Identifier: MIT */
/* offer/offer_pass.c: what the caller offered, as the callee is to be offered it.
 *
 * Spec RFC 3264 §5, §8; 8643 §3.1, 4568 §5.1.1, 5763 §5, 8839 §4.2, 9143 §7.2, 5761 §5.1. */
#include "offer/offer.h"

#include <stdio.h>

#include "offer/offer_priv.h"

struct passing {
    struct offer_why why;
    const struct offer_session *offer;
    const struct offer_policy *policy;
    enum offer_profile profile;
    const struct offer_ours *ours;
    struct offer_draft draft;
    bool denied, audio_denied;
    int head;       /* of the BUNDLE group; -1: none yet */
    bool used[128]; /* payload types of the whole offer */
};

static const char *const protos[] = {[OFFER_AVP] = "RTP/AVP",
                                     [OFFER_SAVP] = "RTP/SAVP",
                                     [OFFER_DTLS_AVP] = "UDP/TLS/RTP/SAVP",
                                     [OFFER_WEB] = "UDP/TLS/RTP/SAVPF"};

static bool is_dtls(enum offer_profile p)
{
    return p == OFFER_DTLS_AVP || p == OFFER_WEB;
}

/* ---- codecs ---- */

/* What repairs or carries others is kept when those are kept. */
static bool kept(const struct offer_media *m, const struct offer_codec *c)
{
    uint8_t pts[OFFER_CODECS_MAX];
    if (c->id != CODEC_RTX && c->id != CODEC_RED && c->id != CODEC_FEC)
        return true;
    unsigned n = offer_codec_refers(c, pts, OFFER_CODECS_MAX);
    for (unsigned i = 0; i < n; i++)
        if (!offer_codec_pt(m->codecs, m->codecs_n, pts[i]))
            return false;
    return true;
}

static bool add_codec(struct offer_line *l, const struct offer_codec *c, uint8_t source_pt)
{
    if (l->codecs_n == OFFER_CODECS_MAX)
        return false;
    l->source_pt[l->codecs_n] = source_pt;
    l->codecs[l->codecs_n++] = *c;
    return true;
}

/* A payload type that means nothing in the whole offer: in a bundle they are all one space (RFC 9143 §9.1.1). From
 * above: phones number from below, and may not change what a number means when they add a codec later (RFC 3264
 * §8.3.2). The unassigned ones of RFC 3551 §6 come when the dynamic ones are gone; 64-95 never (RFC 5761 §4). */
static bool free_pt(const struct passing *s, unsigned wanted, uint8_t *ret_pt)
{
    if (wanted < 128 && !s->used[wanted]) {
        *ret_pt = (uint8_t)wanted;
        return true;
    }
    for (unsigned i = 0; i < 32 + 29; i++) {
        unsigned pt = i < 32 ? 127 - i : 63 + 32 - i;
        if (!s->used[pt]) {
            *ret_pt = (uint8_t)pt;
            return true;
        }
    }
    return false;
}

static void append(struct passing *s, struct offer_line *l, struct offer_codec c, unsigned wanted)
{
    if (l->codecs_n < OFFER_CODECS_MAX && free_pt(s, wanted, &c.pt)) {
        s->used[c.pt] = true;
        add_codec(l, &c, OFFER_NO_PT);
    }
}

static struct offer_codec codec_of(enum offer_codec_id id)
{
    static const struct offer_codec ours[] = {
        {.id = CODEC_PCMU, .channels = 1, .clock_hz = 8000, .name = {"PCMU", 4}},
        {.id = CODEC_PCMA, .pt = 8, .channels = 1, .clock_hz = 8000, .name = {"PCMA", 4}},
        {.id = CODEC_G722, .pt = 9, .channels = 1, .clock_hz = 8000, .name = {"G722", 4}},
        {.id = CODEC_OPUS,
         .pt = OFFER_NO_PT,
         .channels = 2,
         .clock_hz = 48000,
         .name = {"opus", 4},
         .fmtp = {"useinbandfec=1", 14},
         .params = {"2", 1}},
        {.id = CODEC_L16, .pt = OFFER_NO_PT, .channels = 1, .clock_hz = 16000, .name = {"L16", 3}},
    };
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (ours[i].id == id)
            return ours[i];
    return (struct offer_codec){.id = CODEC_OTHER};
}

static bool has(const struct offer_line *l, enum offer_codec_id id, uint32_t clock_hz)
{
    for (unsigned i = 0; i < l->codecs_n; i++)
        if (l->codecs[i].id == id && (clock_hz == 0 || l->codecs[i].clock_hz == clock_hz))
            return true;
    return false;
}

/* Those of the policy that we can bring to what the caller has. */
static void append_ours(struct passing *s, struct offer_line *l)
{
    bool can = false, clock8 = false, clock48 = false;
    for (unsigned i = 0; i < l->codecs_n; i++)
        can = can || offer_codec_can(&l->codecs[i]);
    if (!can)
        return;
    const size_t max = sizeof s->policy->codecs / sizeof s->policy->codecs[0];
    for (unsigned i = 0; i < s->policy->codecs_n && i < max; i++) {
        struct offer_codec c = codec_of(s->policy->codecs[i]);
        if (c.id != CODEC_OTHER && !has(l, c.id, 0))
            append(s, l, c, c.pt);
    }
    if (has(l, CODEC_EVENT, 0))
        return;
    /* RFC 4733 §2.5.1: in the clock rate of the sound that they go with */
    for (unsigned i = 0; i < l->codecs_n; i++) {
        bool sound = offer_codec_is_main(&l->codecs[i]);
        clock8 = clock8 || (sound && l->codecs[i].clock_hz == 8000);
        clock48 = clock48 || (sound && l->codecs[i].clock_hz == 48000);
    }
    struct offer_codec event = {
        .id = CODEC_EVENT, .channels = 1, .name = SV("telephone-event"), .fmtp = SV("0-16")};
    event.clock_hz = 48000;
    if (clock48)
        append(s, l, event, 101);
    event.clock_hz = 8000;
    if (clock8)
        append(s, l, event, 101);
}

static void pass_codecs(struct passing *s, const struct offer_media *m, struct offer_line *l)
{
    for (unsigned i = 0; i < m->codecs_n; i++)
        if (kept(m, &m->codecs[i]))
            add_codec(l, &m->codecs[i], m->codecs[i].pt);
    if (m->codecs_lost > 0)
        offer_because(&s->why, "caller: the last %u of its codecs are left out", m->codecs_lost);
    unsigned own = l->codecs_n;
    if (own > 0 && m->kind == OFFER_AUDIO && s->policy->transcode)
        append_ours(s, l);
    if (l->codecs_n > own)
        offer_because(&s->why, "callee: offered " SV_FMT " too, to be transcoded",
                      SV_ARG(offer_codec_names(&s->why, l->codecs + own, l->codecs_n - own)));
}

/* ---- keys, transport ---- */

/* Both sides can do what policy wants. Errors: ERR_DENIED. */
static enum err keys_fit(struct passing *s, const struct offer_media *m,
                         const struct offer_ours_media *mine)
{
    enum offer_srtp srtp = s->policy->srtp;
    const char *why = NULL, *side = "caller";
    if (srtp == OFFER_SRTP_NEVER && m->secure)
        why = "it offers SRTP only, which is not to be used here";
    else if (m->secure && m->keying == OFFER_PLAIN)
        why = "its SRTP has no key or fingerprint that we can use";
    else if (srtp == OFFER_SRTP_REQUIRE && m->keying == OFFER_PLAIN)
        why = "it offers plain RTP, but SRTP is required";
    if (!why) {
        side = "callee";
        if (srtp == OFFER_SRTP_NEVER && s->profile != OFFER_AVP)
            why = "it needs SRTP, which is not to be used here";
        else if (is_dtls(s->profile) && s->ours->fingerprint.n == 0)
            why = "it needs DTLS, for which we have no certificate";
        else if (s->profile == OFFER_SAVP && mine->keys_n == 0)
            why = "it needs SRTP, for which there are no keys";
    }
    if (!why)
        return ERR_OK;
    offer_because(&s->why, "%s: " SV_FMT ": %s", side, SV_ARG(m->text->type), why);
    return ERR_DENIED;
}

/* Phones exist that read the first line alone, and AES_CM_128_HMAC_SHA1_80 is the one that all must know (RFC 4568
 * §6.2.1); old ones know its short tag alone. Each line is some eighty octets of a datagram that should stay whole, so
 * no more are offered; in an answer every suite will do. */
static void offer_keys(struct offer_line *l, const struct offer_ours_media *mine)
{
    static const enum offer_suite order[] = {SUITE_AES_CM_128_HMAC_SHA1_80, SUITE_AEAD_AES_256_GCM,
                                             SUITE_AES_CM_128_HMAC_SHA1_32};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        const struct offer_key *key = offer_key_of(mine, order[i]);
        if (key) {
            l->cryptos[l->cryptos_n] = key;
            l->tags[l->cryptos_n] = l->cryptos_n + 1;
            l->cryptos_n++;
        }
    }
}

static void pass_transport(struct passing *s, const struct offer_media *m,
                           const struct offer_ours_media *mine, struct offer_line *l)
{
    /* RFC 8643 §3.1: keys of both kinds, for a phone that knows one of them */
    bool srtp = s->profile == OFFER_SAVP ||
                (s->profile == OFFER_AVP && s->policy->srtp != OFFER_SRTP_NEVER);
    bool web = s->profile == OFFER_WEB;
    l->proto = sv_of(protos[s->profile]);
    l->rtp = mine->rtp;
    if (mine->rtcp.n > 0 && !web && !offer_ip_equal(&mine->rtcp, &mine->rtp))
        l->rtcp = mine->rtcp;
    l->more = mine->more;
    l->more_n = mine->more_n;
    if (srtp)
        offer_keys(l, mine);
    l->dtls = is_dtls(s->profile) || (srtp && s->ours->fingerprint.n > 0);
    l->setup = SDP_ACTPASS; /* RFC 8842 §5.2 */
    l->ice = s->ours->ufrag.n > 0 && (is_dtls(s->profile) || s->ours->ice_wanted || m->ice);
    l->mux_only = l->rtcp.n == 0;
    l->mux = l->mux_only || is_dtls(s->profile) || m->mux;
}

/* ---- BUNDLE, toward a browser ---- */

static bool mid_taken(const struct offer_session *o, sv mid)
{
    for (unsigned i = 0; i < o->n; i++)
        if (sv_eq(o->media[i].mid, mid))
            return true;
    return false;
}

/* A medium's own, if no earlier one has it too; else a number. */
static void name_line(struct passing *s, unsigned i)
{
    char text[16];
    const struct offer_session *o = s->offer;
    struct offer_line *l = &s->draft.lines[i];
    bool own = o->media[i].mid.n > 0;
    for (unsigned k = 0; k < i; k++)
        own = own && !sv_eq(o->media[k].mid, o->media[i].mid);
    l->mid = o->media[i].mid;
    for (unsigned n = i; !own; n += OFFER_MEDIA_MAX) {
        int len = snprintf(text, sizeof text, "%u", n);
        own = !mid_taken(o, (sv){text, (size_t)len});
        if (own && sv_dup(s->why.arena, (sv){text, (size_t)len}, &l->mid) != ERR_OK)
            s->why.rc = ERR_NOMEM;
    }
}

/* RFC 9143 §9.1.1: a payload type means one codec in all of a bundle. */
static bool collides(const struct offer_line *a, const struct offer_line *b)
{
    for (unsigned i = 0; i < a->codecs_n; i++)
        if (offer_codec_pt(b->codecs, b->codecs_n, a->codecs[i].pt))
            return true;
    return false;
}

static void bundle(struct passing *s, unsigned i)
{
    struct offer_line *l = &s->draft.lines[i];
    for (unsigned k = 0; k < i; k++)
        if (s->draft.lines[k].grouped && collides(&s->draft.lines[k], l))
            return;
    l->grouped = true;
    if (s->head < 0)
        s->head = (int)i;
    else
        l->bundled = offer_ip_equal(&l->rtp, &s->draft.lines[s->head].rtp);
}

/* ---- the whole ---- */

static enum err refused(struct passing *s, const struct offer_media *m, const char *why)
{
    offer_because(&s->why, "caller: " SV_FMT " by " SV_FMT " is refused: %s",
                  SV_ARG(sv_sub(m->text->type, 0, 40)), SV_ARG(sv_sub(m->text->proto, 0, 40)), why);
    return ERR_UNSUPPORTED;
}

static enum sdp_direction direction_of(const struct offer_media *m)
{
    if (!m->hold) /* RFC 3264 §8.4: what c=0.0.0.0 said before there was a word for it */
        return m->direction;
    return m->direction == SDP_SENDRECV   ? SDP_SENDONLY
           : m->direction == SDP_RECVONLY ? SDP_INACTIVE
                                          : m->direction;
}

/* Errors: ERR_UNSUPPORTED, ERR_DENIED: it is refused. */
static enum err pass_line(struct passing *s, unsigned i)
{
    const struct offer_media *m = &s->offer->media[i];
    const struct offer_ours_media *mine = &s->ours->media[i];
    struct offer_line *l = &s->draft.lines[i];
    if (m->kind == OFFER_OTHER)
        return refused(s, m, "we do not relay it");
    if (mine->rtp.n == 0)
        return refused(s, m, "there is no port for it");
    l->from = m->text;
    l->direction = direction_of(m);
    l->aligned = true;
    if (m->kind == OFFER_T38) {
        if (!s->policy->t38)
            return refused(s, m, "fax is not to be used here");
        if (s->profile == OFFER_WEB)
            return refused(s, m, "the callee is a browser");
        if (s->policy->srtp == OFFER_SRTP_REQUIRE)
            return refused(s, m, "SRTP is required");
        l->proto = m->text->proto;
        l->rtp = mine->rtp;
        return ERR_OK;
    }
    TRY(keys_fit(s, m, mine));
    pass_codecs(s, m, l);
    if (l->codecs_n == 0)
        return refused(s, m, "it names no codec");
    pass_transport(s, m, mine, l);
    l->web = m->web && s->profile == OFFER_WEB;
    l->feedback = m->kind != OFFER_AUDIO || s->profile == OFFER_WEB;
    return ERR_OK;
}

static enum err pass_lines(struct passing *s)
{
    for (unsigned i = 0; i < s->offer->n; i++) {
        const struct offer_media *m = &s->offer->media[i];
        struct offer_line *l = &s->draft.lines[i];
        l->like = m->text;
        l->kind = m->kind;
        l->refused = true;
        if (!m->refused) {
            enum err rc = pass_line(s, i);
            l->refused = rc != ERR_OK;
            offer_line_done(&s->why, m->kind, rc);
        }
        if (s->profile == OFFER_WEB) {
            name_line(s, i);
            if (!l->refused)
                bundle(s, i);
        }
    }
    if (s->offer->lost > 0)
        offer_because(&s->why, "caller: the last %u of its media are refused: there are too many",
                      s->offer->lost);
    return offer_lines_done(&s->why);
}

enum err offer_pass(const struct offer_session *offer, const struct offer_policy *p,
                    enum offer_profile profile, const struct offer_ours *ours, struct arena *a,
                    sv *ret_text, struct offer_reasons *ret_why)
{
    struct passing s = {.why = {.arena = a, .reasons = ret_why},
                        .offer = offer,
                        .policy = p,
                        .profile = profile,
                        .ours = ours,
                        .head = -1};
    *ret_why = (struct offer_reasons){0};
    s.draft =
        (struct offer_draft){.ours = ours, .like = offer->text, .from = offer->text, .n = offer->n};
    s.draft.lines = arena_calloc(a, offer->n, sizeof *s.draft.lines);
    if (!s.draft.lines)
        return ERR_NOMEM;
    for (size_t i = 0; i < offer->text->n_media; i++)
        for (size_t k = 0; k < offer->text->media[i].n_formats; k++) {
            uint64_t pt;
            if (sv_u64(offer->text->media[i].formats[k], 127, &pt) == ERR_OK)
                s.used[pt] = true;
        }
    if (p->srtp == OFFER_SRTP_REQUIRE && profile == OFFER_AVP)
        s.profile = OFFER_SAVP;
    enum err rc = pass_lines(&s);
    if (!rc)
        offer_because(&s.why, "callee: offered %s", protos[s.profile]);
    if (s.why.rc)
        return s.why.rc;
    return rc ? rc : offer_print(&s.draft, a, ret_text);
}
