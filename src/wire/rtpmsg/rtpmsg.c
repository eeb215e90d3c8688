/* SPDX-License-Identifier: MIT */
/* rtpmsg/rtpmsg.c: what a datagram is; headers other than the usual one; extensions.
 *
 *    0                   1                   2                   3
 *    V=2|P|X|  CC   |M|     PT      |       sequence number         |
 *                           timestamp                               |
 *                             SSRC                                  |
 *                    CSRCs, CC of them                              |
 *    "defined by profile"           |  words of extension           |   with X
 *                    extension                                      |
 *                    payload ...             | padding | its length |   with P
 */
#include "rtpmsg/rtpmsg.h"

enum { EXTENSION_HEADER = 4, RTCP_LEAST = 8, STUN_LEAST = 20, DTLS_LEAST = 13, CHANNEL_LEAST = 4 };
enum { HAS_PADDING = 0x20, HAS_EXTENSION = 0x10, CSRC_COUNT = 0x0f, TWO_BYTE_MASK = 0xfff0 };

static uint8_t octet(sv s, size_t at)
{
    return (uint8_t)s.p[at];
}

/* RFC 7983 §7. */
enum rtpmsg_kind rtpmsg_kind_other(sv octets)
{
    if (octets.n < CHANNEL_LEAST)
        return RTPMSG_NOTHING;
    uint8_t first = octet(octets, 0), second = octet(octets, 1);
    if (first <= 3)
        return octets.n >= STUN_LEAST ? RTPMSG_STUN : RTPMSG_NOTHING;
    if (first >= 16 && first <= 19)
        return octets.n >= RTP_HEADER ? RTPMSG_ZRTP : RTPMSG_NOTHING;
    if (first >= 20 && first <= 63)
        return octets.n >= DTLS_LEAST ? RTPMSG_DTLS : RTPMSG_NOTHING;
    if (first >= 64 && first <= 79)
        return RTPMSG_TURN_CHANNEL;
    if (first < 128 || first > 191)
        return RTPMSG_NOTHING;
    if ((second & 0xe0) == 0xc0)
        return octets.n >= RTCP_LEAST ? RTPMSG_RTCP : RTPMSG_NOTHING;
    return octets.n >= RTP_HEADER ? RTPMSG_RTP : RTPMSG_NOTHING;
}

enum err rtpmsg_parse_any(sv octets, bool protected, struct rtpmsg *ret_msg)
{
    struct rtpmsg m;
    if (octets.n < RTP_HEADER || octet(octets, 0) >> 6 != 2)
        return ERR_SYNTAX;
    rtpmsg_take_usual(octets, &m);
    uint8_t first = octet(octets, 0);
    size_t at = RTP_HEADER + 4U * (first & CSRC_COUNT), left;
    if (at > octets.n)
        return ERR_SYNTAX;
    m.csrcs.n = at - RTP_HEADER;
    if (first & HAS_EXTENSION) {
        if (octets.n - at < EXTENSION_HEADER)
            return ERR_SYNTAX;
        m.profile = rtpmsg_u16(octets.p, at);
        m.extension = (sv){octets.p + at + EXTENSION_HEADER, 4U * rtpmsg_u16(octets.p, at + 2)};
        at += EXTENSION_HEADER;
        if (m.extension.n > octets.n - at)
            return ERR_SYNTAX;
        at += m.extension.n;
    }
    left = octets.n - at;
    if (first & HAS_PADDING && !protected) {
        m.padding = octet(octets, octets.n - 1);
        /* §5.1: the last octet counts itself; what it counts lies behind the header */
        if (m.padding == 0 || m.padding > left)
            return ERR_SYNTAX;
        left -= m.padding;
    }
    m.payload = (sv){octets.p + at, left};
    *ret_msg = m;
    return ERR_OK;
}

/* ---- writing ---- */

static void fail(struct buf *b, enum err rc)
{
    if (!b->rc)
        b->rc = rc;
}

static void put_u16(struct buf *b, uint16_t v)
{
    uint8_t octets[2];
    rtpmsg_set_u16(octets, 0, v);
    buf_mem(b, octets, sizeof octets);
}

void rtpmsg_print(struct buf *b, const struct rtpmsg *m)
{
    static const char zeros[RTP_PADDING_MAX];
    uint8_t header[RTP_HEADER];
    size_t words = m->extension.n / 4;
    if (m->csrcs.n % 4 || m->csrcs.n / 4 > RTP_CSRCS_MAX || m->extension.n % 4 ||
        words > UINT16_MAX) {
        fail(b, ERR_SYNTAX);
        return;
    }
    rtpmsg_put_header(header, m->marker, m->pt, m->seq, m->ts, m->ssrc);
    header[0] |= (uint8_t)(m->csrcs.n / 4 | (m->padding ? HAS_PADDING : 0) |
                           (sv_present(m->extension) ? HAS_EXTENSION : 0));
    buf_mem(b, header, sizeof header);
    buf_put(b, m->csrcs);
    if (sv_present(m->extension)) {
        put_u16(b, m->profile);
        put_u16(b, (uint16_t)words);
        buf_put(b, m->extension);
    }
    buf_put(b, m->payload);
    if (m->padding) {
        buf_mem(b, zeros, m->padding - 1U);
        buf_char(b, (char)m->padding);
    }
}

/* ---- extensions ---- */

static bool is_two_byte(uint16_t profile)
{
    return (profile & TWO_BYTE_MASK) == RTP_EXT_TWO_BYTE; /* RFC 8285 §4.3 */
}

/* The element at `at`, whose first octet is not 0: its id, and where its data lies. */
static bool element_at(const struct rtpmsg *m, size_t at, struct rtp_ext *ret_ext)
{
    sv x = m->extension;
    uint8_t first = octet(x, at++);
    struct rtp_ext e = {.id = first};
    if (is_two_byte(m->profile)) {
        if (at >= x.n)
            return false;
        e.data.n = octet(x, at++);
    } else {
        e.id = first >> 4;
        e.data.n = (first & 15U) + 1;
        /* §4.2: 15 ends the walk; §4.1.2: so does 0 with a length, a single 0 is padding */
        if (e.id == 15 || e.id == 0)
            return false;
    }
    if (e.data.n > x.n - at)
        return false;
    e.data.p = x.p + at;
    *ret_ext = e;
    return true;
}

bool rtpmsg_ext_next(const struct rtpmsg *m, struct rtp_ext_walk *w, struct rtp_ext *ret_ext)
{
    sv x = m->extension;
    if (m->profile != RTP_EXT_ONE_BYTE && !is_two_byte(m->profile))
        return false;
    while (w->at < x.n && octet(x, w->at) == 0)
        w->at++;
    if (w->at >= x.n || !element_at(m, w->at, ret_ext)) {
        w->at = x.n;
        return false;
    }
    w->at = (size_t)(ret_ext->data.p - x.p) + ret_ext->data.n;
    return true;
}

bool rtpmsg_ext_find(const struct rtpmsg *m, uint8_t id, sv *ret_data)
{
    struct rtp_ext_walk w = {0};
    for (struct rtp_ext e; rtpmsg_ext_next(m, &w, &e);) {
        if (e.id == id) {
            *ret_data = e.data;
            return true;
        }
    }
    return false;
}

void rtpmsg_ext_put(struct buf *b, uint16_t profile, uint8_t id, sv data)
{
    bool two = is_two_byte(profile);
    if (id == 0 || (two ? data.n > UINT8_MAX
                        : profile != RTP_EXT_ONE_BYTE || id > 14 || data.n == 0 || data.n > 16)) {
        fail(b, ERR_SYNTAX);
        return;
    }
    uint8_t head[2] = {two ? id : (uint8_t)(id << 4 | (data.n - 1)), (uint8_t)data.n};
    buf_mem(b, head, two ? 2 : 1);
    buf_put(b, data);
}

void rtpmsg_ext_pad(struct buf *b, size_t from)
{
    static const char zeros[3];
    if (!b->rc)
        buf_mem(b, zeros, (4 - (b->n - from) % 4) % 4);
}
