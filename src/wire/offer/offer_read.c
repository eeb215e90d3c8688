/* SPDX-License-Identifier: MIT */
/* offer/offer_read.c: one description in our terms.
 *
 * First each m= line by itself, then what a bundle makes them share. Spec RFC 8866 §5.14, 3264 §5, 5763 §5,
 * 8839 §4.2, 9143 §7. */
#include "offer/offer.h"

#include "offer/offer_priv.h"

struct reading {
    const struct sdp *text;
    struct arena *arena;
    const char *why; /* of ERR_SYNTAX */
};

static enum err refuse(struct reading *r, const char *why)
{
    r->why = why;
    return ERR_SYNTAX;
}

/* ---- the m= line ---- */

static const struct {
    const char *name;
    bool secure, feedback, dtls;
} profiles[] = {
    {"RTP/AVP", false, false, false},        {"RTP/AVPF", false, true, false},
    {"RTP/SAVP", true, false, false},        {"RTP/SAVPF", true, true, false},
    {"UDP/TLS/RTP/SAVP", true, false, true}, {"UDP/TLS/RTP/SAVPF", true, true, true},
};

static void read_kind(const struct sdp_media *text, struct offer_media *m)
{
    static const struct {
        const char *type;
        enum offer_kind kind;
    } types[] = {{"audio", OFFER_AUDIO}, {"video", OFFER_VIDEO}, {"text", OFFER_TEXT}};
    m->kind = OFFER_OTHER;
    if (sv_ieq(text->type, SV("image")) && sv_ieq(text->proto, SV("udptl")))
        m->kind = OFFER_T38;
    for (size_t i = 0; i < sizeof profiles / sizeof profiles[0]; i++) {
        if (!sv_ieq(text->proto, sv_of(profiles[i].name)))
            continue;
        m->secure = profiles[i].secure;
        m->feedback = profiles[i].feedback;
        m->dtls_only = profiles[i].dtls;
        for (size_t k = 0; k < sizeof types / sizeof types[0]; k++)
            if (sv_ieq(text->type, sv_of(types[k].type)))
                m->kind = types[k].kind;
    }
}

static bool has_pt(const struct offer_media *m, uint8_t pt)
{
    for (unsigned i = 0; i < m->codecs_n; i++)
        if (m->codecs[i].pt == pt)
            return true;
    return false;
}

/* The payload types that something explains: a=rtpmap or RFC 3551 §6. */
static enum err read_codecs(struct reading *r, struct offer_media *m)
{
    for (size_t i = 0; i < m->text->n_formats; i++) {
        struct sdp_rtpmap map;
        uint64_t pt;
        if (sv_u64(m->text->formats[i], 127, &pt) != ERR_OK || has_pt(m, (uint8_t)pt))
            continue;
        if (m->codecs_n == OFFER_CODECS_MAX) {
            m->codecs_lost++;
            continue;
        }
        enum err rc = sdp_rtpmap_find(m->text, (uint8_t)pt, &map);
        if (rc == ERR_NOTFOUND)
            continue;
        if (rc)
            return refuse(r, "a=rtpmap is malformed or contradicts another");
        struct offer_codec *c = &m->codecs[m->codecs_n++];
        *c = (struct offer_codec){.pt = map.pt,
                                  .channels = map.channels,
                                  .clock_hz = map.clock_hz,
                                  .name = map.encoding,
                                  .params = map.params,
                                  .fmtp = sdp_fmtp_find(m->text, m->text->formats[i])};
        offer_codec_identify(c);
    }
    return ERR_OK;
}

/* ---- addresses ---- */

static bool is_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

/* 0.0.0.0 and :: are nowhere. */
static struct offer_ip place(const struct sdp_conn *c, uint16_t port)
{
    struct offer_ip ip = {.port = port};
    if (c && c->ip_n > 0 && !is_zero(c->ip, c->ip_n)) {
        ip.n = c->ip_n;
        memcpy(ip.ip, c->ip, c->ip_n);
    }
    return ip;
}

static enum err read_addresses(struct reading *r, struct offer_media *m)
{
    const struct sdp_conn *conn = sdp_conn_of(r->text, m->text);
    const struct sdp_attr *attr = sdp_attr_find(&m->text->attrs, SV("rtcp"));
    m->rtp = place(conn, m->text->port);
    m->hold = conn && conn->ip_n > 0 && m->rtp.n == 0;
    m->mux_only = sdp_attr_find(&m->text->attrs, SV("rtcp-mux-only"));
    m->mux = m->mux_only || sdp_attr_find(&m->text->attrs, SV("rtcp-mux"));
    m->rtcp = m->rtp;
    if (attr) { /* RFC 3605 §2.1 */
        struct sdp_rtcp rtcp;
        if (sdp_rtcp_read(attr->value, &rtcp) != ERR_OK)
            return refuse(r, "a=rtcp is malformed");
        if (!m->mux)
            m->rtcp = place(rtcp.has_addr ? &rtcp.addr : conn, rtcp.port);
    } else if (!m->mux) {
        m->rtcp.port++;
    }
    if (m->rtcp.port == 0)
        m->rtcp.n = 0;
    return ERR_OK;
}

/* ---- keys ---- */

static void read_cryptos(struct offer_media *m)
{
    const struct sdp_attr *attr = NULL;
    while ((attr = sdp_attr_next(&m->text->attrs, attr, SV("crypto")))) {
        struct offer_key key;
        if (m->cryptos_n == OFFER_CRYPTOS_MAX || offer_key_read(attr->value, &key) != ERR_OK)
            m->cryptos_lost++;
        else
            m->cryptos[m->cryptos_n++] = key;
    }
}

/* The medium's, or else the session's (RFC 8122 §5). */
static enum err read_fingerprints(struct reading *r, struct offer_media *m)
{
    const struct sdp_attrs *level = &m->text->attrs;
    const struct sdp_attr *attr = NULL;
    struct sdp_fingerprint *list = NULL;
    if (!sdp_attr_find(level, SV("fingerprint")))
        level = &r->text->attrs;
    while ((attr = sdp_attr_next(level, attr, SV("fingerprint"))) &&
           m->fingerprints_n < OFFER_FINGERPRINTS_MAX) {
        if (!list)
            m->fingerprints = list = arena_calloc(r->arena, OFFER_FINGERPRINTS_MAX, sizeof *list);
        if (!list)
            return ERR_NOMEM;
        if (sdp_fingerprint_read(attr->value, &list[m->fingerprints_n]) != ERR_OK)
            return refuse(r, "a=fingerprint is malformed");
        m->fingerprints_n++;
    }
    attr = sdp_attr_of(r->text, m->text, SV("setup"));
    m->setup_said = attr;
    if (attr && sdp_setup_read(attr->value, &m->setup) != ERR_OK)
        return refuse(r, "a=setup is malformed");
    return ERR_OK;
}

/* ---- ICE ---- */

/* One that we could check: UDP, an address, one of the two components. All else is skipped (RFC 8839 §5.1). */
static bool usable(sv value, struct sdp_candidate *c)
{
    return sdp_candidate_read(value, c) == ERR_OK && sv_ieq(c->transport, SV("UDP")) &&
           c->ip_n > 0 && c->port > 0 && c->component <= 2 && !is_zero(c->ip, c->ip_n);
}

static enum err read_candidates(struct reading *r, struct offer_media *m)
{
    const struct sdp_attr *attr = NULL;
    struct sdp_candidate *list = NULL;
    while ((attr = sdp_attr_next(&m->text->attrs, attr, SV("candidate"))) &&
           m->candidates_n < OFFER_CANDIDATES_MAX) {
        if (!list)
            list = arena_calloc(r->arena, OFFER_CANDIDATES_MAX, sizeof *list);
        if (!list)
            return ERR_NOMEM;
        if (usable(attr->value, &list[m->candidates_n]))
            m->candidates_n++;
    }
    m->candidates = list;
    return ERR_OK;
}

static bool lists(const struct sdp *s, const struct sdp_media *m, sv name, sv option)
{
    const struct sdp_attr *attr = sdp_attr_of(s, m, name);
    sv rest = attr ? attr->value : SV_NONE, word;
    while (sdp_word_next(&rest, &word))
        if (sv_eq(word, option))
            return true;
    return false;
}

static enum err read_ice(struct reading *r, struct offer_media *m)
{
    enum err rc = sdp_ice_of(r->text, m->text, &m->ufrag, &m->pwd);
    if (rc != ERR_OK && rc != ERR_NOTFOUND)
        return refuse(r, "a=ice-ufrag and a=ice-pwd are malformed");
    /* RFC 8839 §4.2.5: it understands ICE and does not use it: RFC 3264 instead */
    if (rc == ERR_NOTFOUND || sdp_attr_of(r->text, m->text, SV("ice-mismatch"))) {
        m->ufrag = m->pwd = SV_NONE;
        return ERR_OK;
    }
    m->ice = true;
    m->ice_lite = sdp_attr_find(&r->text->attrs, SV("ice-lite"));
    m->trickle = lists(r->text, m->text, SV("ice-options"), SV("trickle"));
    m->end_of_candidates = sdp_attr_of(r->text, m->text, SV("end-of-candidates"));
    return read_candidates(r, m);
}

/* ---- the whole ---- */

static void settle(struct offer_media *m)
{
    m->keying = m->fingerprints_n > 0 ? OFFER_DTLS : m->cryptos_n > 0 ? OFFER_SDES : OFFER_PLAIN;
    m->web = m->secure && m->feedback && m->fingerprints_n > 0 && m->ice;
    m->hold = m->hold && !m->ice; /* RFC 8839 §4.2.5: a browser without candidates says 0.0.0.0:9 */
}

/* RFC 3611 §5.1: a medium's own "MUST replace a session level specification"; what we do not write is passed over. */
static void read_xr(struct reading *r, struct offer_media *m)
{
    const struct sdp_attr *attr = sdp_attr_of(r->text, m->text, SV("rtcp-xr"));
    sv rest, word;
    if (!attr)
        return;
    m->xr = OFFER_XR_SAID;
    for (rest = attr->value; sdp_word_next(&rest, &word);) {
        if (sv_eq(word, SV("voip-metrics")))
            m->xr |= OFFER_XR_VOIP;
        else if (sv_starts(word, SV("rcvr-rtt=")))
            m->xr |= OFFER_XR_RTT;
    }
}

/* RFC 5888 §4: a token. Of several words, which no group could name, it is none. */
static sv read_mid(const struct sdp_media *text)
{
    const struct sdp_attr *mid = sdp_attr_find(&text->attrs, SV("mid"));
    sv rest = mid ? mid->value : SV_NONE, word;
    return sdp_word_next(&rest, &word) && sv_trim(rest).n == 0 ? word : SV_NONE;
}

static enum err read_media(struct reading *r, const struct sdp_media *text, struct offer_media *m)
{
    *m = (struct offer_media){.text = text, .refused = text->port == 0};
    read_kind(text, m);
    m->mid = read_mid(text);
    m->direction = sdp_direction_of(r->text, text);
    if (m->kind == OFFER_OTHER)
        return ERR_OK;
    TRY(read_addresses(r, m));
    if (m->kind == OFFER_T38)
        return ERR_OK;
    const struct sdp_attr *ptime = sdp_attr_of(r->text, text, SV("ptime"));
    const struct sdp_attr *maxptime = sdp_attr_of(r->text, text, SV("maxptime"));
    if (ptime && sdp_ptime_read(ptime->value, &m->ptime_us) != ERR_OK)
        m->ptime_us = 0;
    if (maxptime && sdp_ptime_read(maxptime->value, &m->maxptime_us) != ERR_OK)
        m->maxptime_us = 0;
    read_xr(r, m);
    TRY(read_codecs(r, m));
    read_cryptos(m);
    TRY(read_fingerprints(r, m));
    TRY(read_ice(r, m));
    settle(m);
    return ERR_OK;
}

/* What m does not say because head says it for all (RFC 9143 §7.1.3). */
static void inherit(struct offer_media *m, const struct offer_media *head)
{
    if (m->text->port == 0) { /* bundle-only */
        m->refused = false;
        m->rtp = head->rtp;
        m->rtcp = head->rtcp;
    }
    m->mux = m->mux || head->mux;
    if (m->mux)
        m->rtcp = m->rtp;
    if (m->fingerprints_n == 0) {
        m->fingerprints = head->fingerprints;
        m->fingerprints_n = head->fingerprints_n;
        m->setup = head->setup;
        m->setup_said = head->setup_said;
    }
    if (!m->ice && head->ice) {
        m->ice = true;
        m->ice_lite = head->ice_lite;
        m->trickle = head->trickle;
        m->ufrag = head->ufrag;
        m->pwd = head->pwd;
        m->candidates = head->candidates;
        m->candidates_n = head->candidates_n;
        m->end_of_candidates = head->end_of_candidates;
    }
    settle(m);
}

/* RFC 5888 §4: a mid is one line's; where it is not, the first one's. */
static struct offer_media *line_of(struct offer_session *s, sv mid)
{
    for (unsigned i = 0; i < s->n; i++)
        if (sv_eq(mid, s->media[i].mid))
            return &s->media[i];
    return NULL;
}

/* RFC 9143 §5: the lines whose mid the group lists. */
static void rank_members(struct offer_session *s, sv tags)
{
    sv tag;
    for (uint8_t rank = 0; rank < UINT8_MAX && sdp_word_next(&tags, &tag); rank++) {
        struct offer_media *m = line_of(s, tag);
        if (!m || m->bundle || m->kind == OFFER_OTHER || m->kind == OFFER_T38)
            continue;
        m->bundle = true;
        m->bundle_rank = rank;
    }
}

static void read_bundle(struct offer_session *s)
{
    const struct sdp_attr *attr = NULL;
    struct sdp_group group = {0};
    while ((attr = sdp_attr_next(&s->text->attrs, attr, SV("group"))))
        if (sdp_group_read(attr->value, &group) == ERR_OK && sv_eq(group.semantics, SV("BUNDLE")))
            break;
    if (!attr)
        return;
    rank_members(s, group.tags);
    struct offer_media *head = NULL;
    for (unsigned i = 0; i < s->n; i++) {
        struct offer_media *m = &s->media[i];
        if (m->bundle && !m->refused && (!head || m->bundle_rank < head->bundle_rank))
            head = m;
    }
    for (unsigned i = 0; head && i < s->n; i++) {
        struct offer_media *m = &s->media[i];
        bool only = m->text->port == 0 && sdp_attr_find(&m->text->attrs, SV("bundle-only"));
        if (!m->bundle || m == head || (m->refused && !only))
            continue;
        m->bundled = true;
        m->bundle_with = (uint8_t)(head - s->media);
        inherit(m, head);
    }
}

enum err offer_read(const struct sdp *text, struct arena *a, struct offer_session *ret,
                    struct sdp_fault *reterr_fault)
{
    struct reading r = {.text = text, .arena = a};
    ret->text = text;
    ret->n = text->n_media < OFFER_MEDIA_MAX ? (unsigned)text->n_media : OFFER_MEDIA_MAX;
    ret->lost = (unsigned)text->n_media - ret->n;
    for (unsigned i = 0; i < ret->n; i++) {
        enum err rc = read_media(&r, &text->media[i], &ret->media[i]);
        if (rc == ERR_SYNTAX && reterr_fault)
            *reterr_fault = (struct sdp_fault){.why = r.why};
        if (rc)
            return rc;
    }
    read_bundle(ret);
    return ERR_OK;
}
