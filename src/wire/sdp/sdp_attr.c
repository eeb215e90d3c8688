/* SPDX-License-Identifier: MIT */
/* sdp/sdp_attr.c: readers of attribute values. Each takes the whole value or refuses it. */
#include "sdp/sdp.h"

#include "sdp/sdp_priv.h"

/* RFC 3551 §6, tables 4 and 5: payload types that need no a=rtpmap. */
static const struct {
    uint8_t pt;
    const char *encoding;
    uint32_t clock_hz;
    uint16_t channels;
} static_types[] = {
    {0, "PCMU", 8000, 1},   {3, "GSM", 8000, 1},    {4, "G723", 8000, 1},   {5, "DVI4", 8000, 1},
    {6, "DVI4", 16000, 1},  {7, "LPC", 8000, 1},    {8, "PCMA", 8000, 1},   {9, "G722", 8000, 1},
    {10, "L16", 44100, 2},  {11, "L16", 44100, 1},  {12, "QCELP", 8000, 1}, {13, "CN", 8000, 1},
    {14, "MPA", 90000, 1},  {15, "G728", 8000, 1},  {16, "DVI4", 11025, 1}, {17, "DVI4", 22050, 1},
    {18, "G729", 8000, 1},  {25, "CelB", 90000, 1}, {26, "JPEG", 90000, 1}, {28, "nv", 90000, 1},
    {31, "H261", 90000, 1}, {32, "MPV", 90000, 1},  {33, "MP2T", 90000, 1}, {34, "H263", 90000, 1},
};

/* Takes the one word that is left; false: none, or more than one. */
static bool last_word(sv rest, sv *ret_word)
{
    sv more;
    return sdp_word_next(&rest, ret_word) && !sdp_word_next(&rest, &more);
}

/* RFC 8866 §6.6: payload-type SP encoding-name "/" clock-rate [ "/" encoding-params ] */
enum err sdp_rtpmap_read(sv value, struct sdp_rtpmap *ret_map)
{
    struct sdp_rtpmap map = {.channels = 1};
    sv map_text;
    uint64_t v;
    TRY(sdp_word_u64(&value, 127, &v));
    map.pt = (uint8_t)v;
    if (!last_word(value, &map_text))
        return ERR_SYNTAX;
    size_t slash = sv_chr(map_text, '/');
    map.encoding = sv_sub(map_text, 0, slash);
    sv rest = sv_sub(map_text, slash + 1, map_text.n);
    if (!sdp_is_token(map.encoding))
        return ERR_SYNTAX;
    TRY(sdp_digits(&rest, UINT32_MAX, &v));
    if (v == 0)
        return ERR_RANGE;
    map.clock_hz = (uint32_t)v;
    if (rest.n > 0) {
        if (rest.p[0] != '/' || rest.n == 1)
            return ERR_SYNTAX;
        map.params = sv_sub(rest, 1, rest.n);
        /* a number of channels for audio; other parameters are the encoding's own business */
        if (sv_u64(map.params, UINT16_MAX, &v) == ERR_OK && v > 0)
            map.channels = (uint16_t)v;
    }
    *ret_map = map;
    return ERR_OK;
}

static bool same_rtpmap(const struct sdp_rtpmap *a, const struct sdp_rtpmap *b)
{
    return sv_ieq(a->encoding, b->encoding) && a->clock_hz == b->clock_hz &&
           a->channels == b->channels;
}

enum err sdp_rtpmap_find(const struct sdp_media *m, uint8_t pt, struct sdp_rtpmap *ret_map)
{
    struct sdp_rtpmap map, found = {0};
    const struct sdp_attr *attr = NULL;
    while ((attr = sdp_attr_next(&m->attrs, attr, SV("rtpmap")))) {
        sv rest = attr->value;
        uint64_t v;
        if (sdp_word_u64(&rest, 127, &v) != ERR_OK || v != pt)
            continue;
        TRY(sdp_rtpmap_read(attr->value, &map));
        if (sv_present(found.encoding) && !same_rtpmap(&map, &found))
            return ERR_SYNTAX;
        if (!sv_present(found.encoding))
            found = map;
    }
    for (size_t i = 0; i < sizeof static_types / sizeof static_types[0]; i++)
        if (!sv_present(found.encoding) && static_types[i].pt == pt)
            found = (struct sdp_rtpmap){.pt = pt,
                                        .encoding = sv_of(static_types[i].encoding),
                                        .clock_hz = static_types[i].clock_hz,
                                        .channels = static_types[i].channels};
    if (!sv_present(found.encoding))
        return ERR_NOTFOUND;
    *ret_map = found;
    return ERR_OK;
}

/* RFC 8866 §6.15: fmt SP format-specific-params (byte-string) */
enum err sdp_fmtp_read(sv value, struct sdp_fmtp *ret_fmtp)
{
    struct sdp_fmtp fmtp;
    if (!sdp_word_next(&value, &fmtp.format) || !sdp_is_token(fmtp.format))
        return ERR_SYNTAX;
    fmtp.params = sv_trim(value);
    if (fmtp.params.n == 0)
        return ERR_SYNTAX;
    *ret_fmtp = fmtp;
    return ERR_OK;
}

sv sdp_fmtp_find(const struct sdp_media *m, sv format)
{
    const struct sdp_attr *attr = NULL;
    struct sdp_fmtp fmtp;
    while ((attr = sdp_attr_next(&m->attrs, attr, SV("fmtp"))))
        if (sdp_fmtp_read(attr->value, &fmtp) == ERR_OK && sv_eq(fmtp.format, format))
            return fmtp.params;
    return SV_NONE;
}

bool sdp_fmtp_next(sv *rest, sv *ret_name, sv *ret_value)
{
    while (rest->n > 0) {
        size_t end = sv_chr(*rest, ';');
        sv param = sv_trim(sv_sub(*rest, 0, end));
        *rest = sv_sub(*rest, end + 1, rest->n);
        if (param.n == 0)
            continue;
        size_t equals = sv_chr(param, '=');
        *ret_name = sv_trim(sv_sub(param, 0, equals));
        *ret_value = equals < param.n ? sv_trim(sv_sub(param, equals + 1, param.n)) : SV_NONE;
        return true;
    }
    return false;
}

/* non-zero-int-or-real, milliseconds; digits beyond the microsecond are cut. */
enum err sdp_ptime_read(sv value, uint32_t *ret_us)
{
    sv rest = sv_trim(value);
    uint64_t v;
    TRY(sdp_digits(&rest, UINT32_MAX / 1000 - 1, &v));
    uint32_t us = (uint32_t)v * 1000;
    if (rest.n > 0) {
        if (rest.p[0] != '.' || rest.n == 1)
            return ERR_SYNTAX;
        uint32_t unit = 100;
        for (size_t i = 1; i < rest.n; i++, unit /= 10) {
            if (rest.p[i] < '0' || rest.p[i] > '9')
                return ERR_SYNTAX;
            us += (uint32_t)(rest.p[i] - '0') * unit;
        }
    }
    if (us == 0)
        return ERR_RANGE;
    *ret_us = us;
    return ERR_OK;
}

/* port [nettype SP addrtype SP connection-address] */
enum err sdp_rtcp_read(sv value, struct sdp_rtcp *ret_rtcp)
{
    struct sdp_rtcp rtcp = {0};
    uint64_t v;
    sv more;
    TRY(sdp_word_u64(&value, UINT16_MAX, &v));
    rtcp.port = (uint16_t)v;
    rtcp.has_addr = sv_trim(value).n > 0;
    if (rtcp.has_addr) {
        TRY(sdp_conn_take(&value, true, &rtcp.addr));
        if (sdp_word_next(&value, &more))
            return ERR_SYNTAX;
    }
    *ret_rtcp = rtcp;
    return ERR_OK;
}

/* tag 1*WSP crypto-suite 1*WSP key-params *(1*WSP session-param) */
enum err sdp_crypto_read(sv value, struct sdp_crypto *ret_crypto)
{
    struct sdp_crypto c;
    uint64_t v;
    TRY(sdp_word_u64(&value, 999999999, &v));
    c.tag = (uint32_t)v;
    if (!sdp_word_next(&value, &c.suite) || !sdp_word_next(&value, &c.key_params))
        return ERR_SYNTAX;
    if (!sdp_is_token(c.suite) || sv_chr(c.key_params, ':') == c.key_params.n)
        return ERR_SYNTAX;
    c.session_params = sv_trim(value);
    *ret_crypto = c;
    return ERR_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = sv_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* hash-func SP 2UHEX *(":" 2UHEX); lower case is read too. */
enum err sdp_fingerprint_read(sv value, struct sdp_fingerprint *ret_fp)
{
    struct sdp_fingerprint fp = {0};
    sv hex;
    if (!sdp_word_next(&value, &fp.hash) || !sdp_is_token(fp.hash) || !last_word(value, &hex))
        return ERR_SYNTAX;
    if (hex.n % 3 != 2 || hex.n / 3 + 1 > SDP_DIGEST_MAX)
        return ERR_SYNTAX;
    for (size_t i = 0; i < hex.n; i += 3) {
        int high = hex_digit(hex.p[i]), low = hex_digit(hex.p[i + 1]);
        if (high < 0 || low < 0 || (i + 2 < hex.n && hex.p[i + 2] != ':'))
            return ERR_SYNTAX;
        fp.digest[fp.n++] = (uint8_t)(high << 4 | low);
    }
    *ret_fp = fp;
    return ERR_OK;
}

enum err sdp_setup_read(sv value, enum sdp_setup *ret_setup)
{
    static const char *const names[] = {[SDP_ACTIVE] = "active",
                                        [SDP_PASSIVE] = "passive",
                                        [SDP_ACTPASS] = "actpass",
                                        [SDP_HOLDCONN] = "holdconn"};
    for (enum sdp_setup role = SDP_ACTIVE; role <= SDP_HOLDCONN; role++)
        if (sv_eq(sv_trim(value), sv_of(names[role]))) {
            *ret_setup = role;
            return ERR_OK;
        }
    return ERR_SYNTAX;
}

/* The fixed fields up to the port; cand-type and what follows are left in *rest. */
static enum err candidate_head(sv *rest, struct sdp_candidate *c)
{
    uint64_t v;
    if (!sdp_word_next(rest, &c->foundation) || c->foundation.n > 32)
        return ERR_SYNTAX;
    TRY(sdp_word_u64(rest, 256, &v));
    c->component = (uint16_t)v;
    if (!sdp_word_next(rest, &c->transport) || !sdp_is_token(c->transport))
        return ERR_SYNTAX;
    TRY(sdp_word_u64(rest, INT32_MAX, &v));
    c->priority = (uint32_t)v;
    if (c->component == 0 || c->priority == 0)
        return ERR_RANGE;
    if (!sdp_word_next(rest, &c->address))
        return ERR_SYNTAX;
    struct sdp_conn addr;
    TRY(sdp_conn_set(c->address, &addr));
    memcpy(c->ip, addr.ip, sizeof c->ip);
    c->ip_n = addr.ip_n;
    TRY(sdp_word_u64(rest, UINT16_MAX, &v));
    c->port = (uint16_t)v;
    return ERR_OK;
}

/* RFC 8839 §5.1 */
enum err sdp_candidate_read(sv value, struct sdp_candidate *ret_candidate)
{
    struct sdp_candidate c = {0};
    sv rest = value, word, after;
    TRY(candidate_head(&rest, &c));
    if (!sdp_word_next(&rest, &word) || !sv_eq(word, SV("typ")) || !sdp_word_next(&rest, &c.type) ||
        !sdp_is_token(c.type))
        return ERR_SYNTAX;
    after = rest;
    if (sdp_word_next(&after, &word) && sv_eq(word, SV("raddr"))) {
        if (!sdp_word_next(&after, &c.rel_address) || !sdp_is_word(c.rel_address))
            return ERR_SYNTAX;
        rest = after;
    }
    after = rest;
    if (sdp_word_next(&after, &word) && sv_eq(word, SV("rport"))) {
        uint64_t v;
        TRY(sdp_word_u64(&after, UINT16_MAX, &v));
        c.rel_port = (uint16_t)v;
        rest = after;
    }
    c.extensions = sv_trim(rest);
    *ret_candidate = c;
    return ERR_OK;
}

/* min to 256 ice-char */
static enum err ice_text(sv value, size_t min, sv *ret_text)
{
    sv s = sv_trim(value);
    if (s.n > 256)
        return ERR_TOOBIG;
    for (size_t i = 0; i < s.n; i++) {
        char c = sv_lower(s.p[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '+' && c != '/')
            return ERR_SYNTAX;
    }
    if (s.n < min)
        return ERR_SYNTAX;
    *ret_text = s;
    return ERR_OK;
}

enum err sdp_ice_of(const struct sdp *s, const struct sdp_media *m, sv *ret_ufrag, sv *ret_pwd)
{
    const struct sdp_attrs *levels[] = {m ? &m->attrs : &s->attrs, &s->attrs};
    for (size_t i = 0; i < 2; i++) {
        const struct sdp_attr *ufrag = sdp_attr_find(levels[i], SV("ice-ufrag"));
        const struct sdp_attr *pwd = sdp_attr_find(levels[i], SV("ice-pwd"));
        if (!ufrag && !pwd)
            continue;
        if (!ufrag || !pwd)
            return ERR_SYNTAX;
        sv u, p;
        TRY(ice_text(ufrag->value, 4, &u));
        TRY(ice_text(pwd->value, 22, &p));
        *ret_ufrag = u;
        *ret_pwd = p;
        return ERR_OK;
    }
    return ERR_NOTFOUND;
}

/* semantics *(SP identification-tag) */
enum err sdp_group_read(sv value, struct sdp_group *ret_group)
{
    struct sdp_group g;
    if (!sdp_word_next(&value, &g.semantics) || !sdp_is_token(g.semantics))
        return ERR_SYNTAX;
    g.tags = sv_trim(value);
    *ret_group = g;
    return ERR_OK;
}

/* ssrc-id SP attribute-name [":" attribute-value] */
enum err sdp_ssrc_read(sv value, struct sdp_ssrc *ret_ssrc)
{
    struct sdp_ssrc s = {0};
    uint64_t v;
    TRY(sdp_word_u64(&value, UINT32_MAX, &v));
    s.ssrc = (uint32_t)v;
    sv attr = sv_trim(value);
    size_t colon = sv_chr(attr, ':');
    s.name = sv_sub(attr, 0, colon);
    if (colon < attr.n)
        s.value = sv_sub(attr, colon + 1, attr.n);
    if (!sdp_is_token(s.name))
        return ERR_SYNTAX;
    *ret_ssrc = s;
    return ERR_OK;
}
