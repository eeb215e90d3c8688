/* SPDX-License-Identifier: MIT */
/* offer/offer_attrs.c: attributes of one side, as the other may read them.
 *
 * They pass when nothing here says no: a receiver ignores what it does not know (RFC 8866 §5.13). But a value that shows
 * an address passes never, whatever its name: where a side stands is its own business.
 * Spec RFC 8859 (which attributes are of a transport), 4585 §4.2, 8285 §6. */
#include "offer/offer.h"

#include "offer/offer_priv.h"
#include "uri/uri.h"

enum {
    /* Header extensions of a medium: each of an answer is looked for among those of the offer. */
    EXTENSIONS_MAX = 32,
    /* What a section has of ours beside two for each codec: its name, direction, keys, ICE and RTCP; and the session: its
     * group and ICE. What passes has what that leaves of SDP_ATTRS_MAX: whoever reads us may have the same bound. */
    OURS_MAX = 24,
    SESSION_OURS_MAX = 3
};

/* ---- which pass ---- */

enum fate { PASSES, STAYS, WEB, ALIGNED };

/* RFC 8859 names most of these TRANSPORT, IDENTICAL or of the session: they are of one side only. */
static enum fate fate_of(sv name)
{
#define A(text, fate)                  \
    {                                  \
        {text, sizeof(text) - 1}, fate \
    }
    static const struct {
        sv name;
        enum fate fate;
    } table[] = {
        /* written here */
        A("rtpmap", STAYS),
        A("fmtp", STAYS),
        A("rtcp-fb", STAYS),
        A("sendrecv", STAYS),
        A("sendonly", STAYS),
        A("recvonly", STAYS),
        A("inactive", STAYS),
        A("crypto", STAYS),
        A("fingerprint", STAYS),
        A("setup", STAYS),
        A("candidate", STAYS),
        A("rtcp", STAYS),
        A("rtcp-mux", STAYS),
        A("rtcp-mux-only", STAYS),
        A("rtcp-rsize", STAYS),
        A("mid", STAYS),
        A("group", STAYS),
        /* of the one side's transport, keys, identity, program */
        A("remote-candidates", STAYS),
        A("end-of-candidates", STAYS),
        A("connection", STAYS),
        A("tls-id", STAYS),
        A("dtls-id", STAYS),
        A("bundle-only", STAYS),
        A("identity", STAYS),
        A("key-mgmt", STAYS),
        A("zrtp-hash", STAYS),
        A("cryptoscale", STAYS),
        A("encryption", STAYS),
        A("alt", STAYS),
        A("altc", STAYS),
        A("source-filter", STAYS),
        A("sctp-port", STAYS),
        A("sctpmap", STAYS),
        A("max-message-size", STAYS),
        A("tool", STAYS),
        A("type", STAYS),
        A("nortpproxy", STAYS),
        /* capabilities (RFC 5939): a choice of transports that we do not take part in */
        A("csup", STAYS),
        A("creq", STAYS),
        A("acap", STAYS),
        A("tcap", STAYS),
        A("pcfg", STAYS),
        A("acfg", STAYS),
        /* header extensions, and sources: what is in the packets, between those who both know */
        A("extmap", WEB),
        A("extmap-allow-mixed", WEB),
        A("msid", WEB),
        A("msid-semantic", WEB),
        A("ssrc", WEB),
        A("ssrc-group", WEB),
        A("rid", WEB),
        A("simulcast", WEB),
        /* name payload types */
        A("imageattr", ALIGNED),
        A("framesize", ALIGNED),
        A("depend", ALIGNED),
    };
#undef A
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (sv_ieq(name, table[i].name))
            return table[i].fate;
    return sv_starts(name, SV("ice-")) ? STAYS : PASSES;
}

/* A run of octets that an address is made of, from where *rest begins; its end is the new beginning. */
static sv next_run(sv *rest, const char *octets)
{
    size_t from = 0, to;
    while (from < rest->n && (rest->p[from] == '\0' || !strchr(octets, rest->p[from])))
        from++;
    for (to = from; to < rest->n && rest->p[to] != '\0' && strchr(octets, rest->p[to]);)
        to++;
    sv run = sv_sub(*rest, from, to);
    *rest = sv_sub(*rest, to, rest->n);
    while (run.n > 0 && run.p[run.n - 1] == '.')
        run.n--;
    return run;
}

/* An IP address stands in it. */
static bool shows_address(sv value)
{
    static const char *const kinds[] = {"0123456789.", "0123456789abcdefABCDEF:."};
    uint8_t ip[16];
    size_t n;
    for (size_t k = 0; k < 2; k++)
        for (sv rest = value; rest.n > 0;) {
            sv run = next_run(&rest, kinds[k]);
            if (run.n >= 3 && uri_host_ip(run, ip, &n) == ERR_OK)
                return true;
        }
    return false;
}

/* room: for so many more. */
static void put_attr(struct buf *b, const struct sdp_attr *attr, unsigned *room)
{
    if (*room == 0)
        return;
    --*room;
    buf_str(b, "a=");
    buf_put(b, attr->name);
    if (sv_present(attr->value)) {
        buf_char(b, ':');
        buf_put(b, attr->value);
    }
    buf_str(b, "\r\n");
}

/* The number (and direction) and the URI of an a=extmap, RFC 8285 §5. */
static bool extension(const struct sdp_attr *attr, sv *ret_id, sv *ret_uri)
{
    sv rest = attr->value;
    if (!sdp_word_next(&rest, ret_id) || !sdp_word_next(&rest, ret_uri))
        return false;
    *ret_id = sv_sub(*ret_id, 0, sv_chr(*ret_id, '/'));
    return true;
}

/* RFC 8285 §6: an answer has those that were offered. */
static bool was_offered(const struct offer_media *limit, const struct sdp_attr *attr)
{
    const struct sdp_attr *other = NULL;
    sv id, uri, other_id, other_uri;
    if (!limit)
        return true;
    if (!extension(attr, &id, &uri))
        return false;
    while ((other = sdp_attr_next(&limit->text->attrs, other, SV("extmap"))))
        if (extension(other, &other_id, &other_uri) && sv_eq(uri, other_uri) && sv_eq(id, other_id))
            return true;
    return false;
}

static bool attr_passes(const struct offer_line *l, const struct sdp_attr *attr)
{
    if (l->remade && (sv_eq(attr->name, SV("ptime")) || sv_eq(attr->name, SV("maxptime"))))
        return false;
    switch (fate_of(attr->name)) {
    case STAYS:
        return false;
    case ALIGNED:
        if (!l->aligned)
            return false;
        break;
    case WEB:
        if (!l->web || l->remade)
            return false;
        if (sv_eq(attr->name, SV("extmap")) && !was_offered(l->limit, attr))
            return false;
        break;
    case PASSES:
        break;
    }
    return !shows_address(attr->value) && !shows_address(attr->name);
}

static void put_attrs(struct buf *b, const struct offer_line *l, unsigned *room)
{
    unsigned extensions = 0;
    for (size_t i = 0; l->from && i < l->from->attrs.n; i++) {
        const struct sdp_attr *attr = &l->from->attrs.v[i];
        if (sv_eq(attr->name, SV("extmap")) && ++extensions > EXTENSIONS_MAX)
            continue;
        if (attr_passes(l, attr))
            put_attr(b, attr, room);
    }
}

void offer_put_bandwidths(struct buf *b, const struct sdp_bandwidth *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_str(b, "b=");
        buf_put(b, v[i].type);
        buf_char(b, ':');
        buf_u64(b, v[i].value);
        buf_str(b, "\r\n");
    }
}

/* ---- codecs ---- */

static void put_codec(struct buf *b, const struct offer_codec *c)
{
    buf_printf(b, "a=rtpmap:%u ", c->pt);
    buf_put(b, c->name);
    buf_char(b, '/');
    buf_u64(b, c->clock_hz);
    if (c->id == CODEC_OPUS) { /* RFC 7587 §7: MUST be 2 */
        buf_str(b, "/2");
    } else if (sv_present(c->params)) {
        buf_char(b, '/');
        buf_put(b, c->params);
    } else if (c->channels > 1) { /* of RFC 3551 §6, not said */
        buf_printf(b, "/%u", c->channels);
    }
    buf_str(b, "\r\n");
    if (c->fmtp.n == 0 || shows_address(c->fmtp))
        return;
    buf_printf(b, "a=fmtp:%u ", c->pt);
    buf_put(b, c->fmtp);
    buf_str(b, "\r\n");
}

/* RFC 4585 §4.2: "*" or a payload type, which may have another number here. Feedback about transport-wide numbers is
 * for those whose packets carry them. */
static void put_feedback(struct buf *b, const struct offer_line *l, unsigned *room)
{
    const struct sdp_attr *attr = NULL;
    while (l->from && l->feedback && (attr = sdp_attr_next(&l->from->attrs, attr, SV("rtcp-fb")))) {
        sv rest = attr->value, word;
        uint64_t pt;
        if (!sdp_word_next(&rest, &word) || shows_address(rest))
            continue;
        rest = sv_trim(rest);
        if (rest.n == 0 || (!l->web && sv_starts(rest, SV("transport-cc"))))
            continue;
        if (sv_eq(word, SV("*"))) {
            put_attr(b, attr, room);
            continue;
        }
        if (sv_u64(word, 127, &pt) != ERR_OK)
            continue;
        for (unsigned i = 0; i<l->codecs_n && * room> 0; i++)
            if (l->source_pt[i] == pt) {
                --*room;
                buf_printf(b, "a=rtcp-fb:%u ", l->codecs[i].pt);
                buf_put(b, rest);
                buf_str(b, "\r\n");
            }
    }
    if (l->from && l->feedback && l->web && sdp_attr_find(&l->from->attrs, SV("rtcp-rsize")))
        buf_str(b, "a=rtcp-rsize\r\n");
}

void offer_put_codecs(struct buf *b, const struct offer_line *l)
{
    for (unsigned i = 0; i < l->codecs_n; i++)
        put_codec(b, &l->codecs[i]);
}

void offer_put_passing(struct buf *b, const struct offer_line *l)
{
    unsigned room = SDP_ATTRS_MAX - OURS_MAX - 2 * l->codecs_n;
    put_feedback(b, l, &room);
    put_attrs(b, l, &room);
}

void offer_put_session_passing(struct buf *b, const struct sdp *from, bool web)
{
    struct offer_line as = {.web = web, .aligned = true};
    unsigned room = SDP_ATTRS_MAX - SESSION_OURS_MAX;
    for (size_t i = 0; i < from->attrs.n; i++)
        if (attr_passes(&as, &from->attrs.v[i]))
            put_attr(b, &from->attrs.v[i], &room);
}
