/* SPDX-License-Identifier: MIT */
/* rtpmsg/rtpmsg.h: RTP packets: what a datagram is, its header, header extensions.   layer: wire
 *
 * Spec    RFC 3550 §5, 8285 (header extensions), 5761 §4 (RTCP beside RTP), 7983 §7 (the others beside
 *         both), 3711 §3.1 (what of an SRTP packet can be read before it is decrypted).
 * Shape   a struct rtpmsg is a set of views into the datagram that it was read from; it owns nothing. The
 *         usual packet (12 octets of header, no extension, no padding) is read without a call. A few
 *         fields can be changed in place: what a relay needs.
 * Life    valid while those octets are.
 * Limits  the format's own: 15 CSRCs, 65535 words of extension, 255 octets of padding. Nothing is kept for each.
 * Errors  ERR_SYNTAX: no RTP, or a length that does not fit.
 * Threads any. No globals. */
#ifndef RTPMSG_RTPMSG_H
#define RTPMSG_RTPMSG_H
#include "str/buf.h"

enum { RTP_HEADER = 12, RTP_CSRCS_MAX = 15, RTP_PT_MAX = 127, RTP_PADDING_MAX = 255 };

/* ---- what a datagram is ---- */

enum rtpmsg_kind {
    RTPMSG_NOTHING, /* to be dropped (RFC 7983 §7: MUST) */
    RTPMSG_STUN,    /* stunmsg_is() says whether it has the cookie */
    RTPMSG_ZRTP,
    RTPMSG_DTLS,
    RTPMSG_TURN_CHANNEL, /* ChannelData, RFC 8656 §12.4 */
    RTPMSG_RTP,          /* or SRTP */
    RTPMSG_RTCP          /* or SRTCP */
};
/* All but the usual case of the next. */
enum rtpmsg_kind rtpmsg_kind_other(sv octets);
/* By the first two octets, and whether the smallest one of its kind fits; nothing else is looked at.
 * RTCP is what has a packet type of 192 to 223 (RFC 5761 §4): on a port for RTP alone, a payload type of 64
 * to 95 with the marker looks the same; nobody may use those where both share a port. */
static inline enum rtpmsg_kind rtpmsg_kind(sv octets)
{
    if (octets.n < RTP_HEADER || ((uint8_t)octets.p[0] & 0xc0) != 0x80)
        return rtpmsg_kind_other(octets);
    return ((uint8_t)octets.p[1] & 0xe0) == 0xc0 ? RTPMSG_RTCP : RTPMSG_RTP;
}

/* ---- fields in place ----
 * p: a packet that was read, or RTP_HEADER octets being written. */

static inline uint16_t rtpmsg_u16(const void *p, size_t at)
{
    const uint8_t *o = (const uint8_t *)p + at;
    return (uint16_t)(o[0] << 8 | o[1]);
}
static inline uint32_t rtpmsg_u32(const void *p, size_t at)
{
    return (uint32_t)rtpmsg_u16(p, at) << 16 | rtpmsg_u16(p, at + 2);
}
static inline bool rtpmsg_marker(const void *p)
{
    return ((const uint8_t *)p)[1] >> 7;
}
static inline uint8_t rtpmsg_pt(const void *p)
{
    return ((const uint8_t *)p)[1] & RTP_PT_MAX;
}
static inline uint16_t rtpmsg_seq(const void *p)
{
    return rtpmsg_u16(p, 2);
}
static inline uint32_t rtpmsg_ts(const void *p)
{
    return rtpmsg_u32(p, 4);
}
static inline uint32_t rtpmsg_ssrc(const void *p)
{
    return rtpmsg_u32(p, 8);
}

static inline void rtpmsg_set_u16(void *p, size_t at, uint16_t v)
{
    uint8_t *o = (uint8_t *)p + at;
    o[0] = (uint8_t)(v >> 8);
    o[1] = (uint8_t)v;
}
static inline void rtpmsg_set_u32(void *p, size_t at, uint32_t v)
{
    rtpmsg_set_u16(p, at, (uint16_t)(v >> 16));
    rtpmsg_set_u16(p, at + 2, (uint16_t)v);
}
static inline void rtpmsg_set_marker(void *p, bool marker)
{
    uint8_t *o = p;
    o[1] = (uint8_t)((o[1] & RTP_PT_MAX) | (marker ? 0x80 : 0));
}
/* The marker stays. */
static inline void rtpmsg_set_pt(void *p, uint8_t pt)
{
    uint8_t *o = p;
    o[1] = (uint8_t)((o[1] & 0x80) | (pt & RTP_PT_MAX));
}
static inline void rtpmsg_set_seq(void *p, uint16_t seq)
{
    rtpmsg_set_u16(p, 2, seq);
}
static inline void rtpmsg_set_ts(void *p, uint32_t ts)
{
    rtpmsg_set_u32(p, 4, ts);
}
static inline void rtpmsg_set_ssrc(void *p, uint32_t ssrc)
{
    rtpmsg_set_u32(p, 8, ssrc);
}

/* How far a is ahead of b on the circle of their numbers; negative: behind. */
static inline int rtpmsg_seq_ahead(uint16_t a, uint16_t b)
{
    return (int16_t)(uint16_t)(a - b);
}
static inline int32_t rtpmsg_ts_ahead(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

/* ---- the whole ---- */

struct rtpmsg {
    sv text;      /* the datagram; when printing: not looked at */
    sv csrcs;     /* 4 octets each, see rtpmsg_csrc() */
    sv extension; /* data of the header extension, whole words; p == NULL: none */
    sv payload;   /* without padding; of SRTP: all that is not header */
    uint32_t ts, ssrc;
    uint16_t seq;
    uint16_t profile; /* of the extension: "defined by profile" */
    uint8_t pt;
    uint8_t padding; /* octets at the end, the one that counts them too; 0: none */
    bool marker;
};

/* The payload begins at this offset of text. */
static inline size_t rtpmsg_payload_at(const struct rtpmsg *m)
{
    return (size_t)(m->payload.p - m->text.p);
}

/* Any header. protected: SRTP before it is decrypted, whose padding is not to be looked at (3711 §3.1). */
MUST_USE enum err rtpmsg_parse_any(sv octets, bool protected, struct rtpmsg *ret_msg);

/* Version 2, no padding, no extension, no CSRC. */
static inline bool rtpmsg_is_usual(sv octets)
{
    return octets.n >= RTP_HEADER && (uint8_t)octets.p[0] == 0x80;
}
static inline void rtpmsg_take_usual(sv octets, struct rtpmsg *ret_msg)
{
    const char *p = octets.p;
    *ret_msg = (struct rtpmsg){.text = octets,
                               .csrcs = {p + RTP_HEADER, 0},
                               .payload = {p + RTP_HEADER, octets.n - RTP_HEADER},
                               .ts = rtpmsg_ts(p),
                               .ssrc = rtpmsg_ssrc(p),
                               .seq = rtpmsg_seq(p),
                               .pt = rtpmsg_pt(p),
                               .marker = rtpmsg_marker(p)};
}

/* A whole datagram that is RTP in the clear, or decrypted SRTP without its tag.
 * A payload may be empty (RFC 6263 §4.1), padding may be all there is (senders probe a path so).
 * Errors: ERR_SYNTAX.                                                       RFC 3550 §5.1, §5.3.1 */
MUST_USE static inline enum err rtpmsg_parse(sv octets, struct rtpmsg *ret_msg)
{
    if (!rtpmsg_is_usual(octets))
        return rtpmsg_parse_any(octets, false, ret_msg);
    rtpmsg_take_usual(octets, ret_msg);
    return ERR_OK;
}
/* A whole datagram that is SRTP: header and extension are readable, the rest is payload. An encrypted
 * extension (RFC 6904) is one of data that nobody can walk.
 * Errors: ERR_SYNTAX.                                                       RFC 3711 §3.1 */
MUST_USE static inline enum err rtpmsg_parse_protected(sv octets, struct rtpmsg *ret_msg)
{
    if (!rtpmsg_is_usual(octets))
        return rtpmsg_parse_any(octets, true, ret_msg);
    rtpmsg_take_usual(octets, ret_msg);
    return ERR_OK;
}

/* i below csrcs.n / 4. */
static inline uint32_t rtpmsg_csrc(const struct rtpmsg *m, size_t i)
{
    return rtpmsg_u32(m->csrcs.p, 4 * i);
}

/* ---- writing ---- */

/* 12 octets: version 2 and these fields, nothing else. */
static inline void rtpmsg_put_header(uint8_t p[static RTP_HEADER], bool marker, uint8_t pt,
                                     uint16_t seq, uint32_t ts, uint32_t ssrc)
{
    p[0] = 0x80;
    p[1] = (uint8_t)((marker ? 0x80 : 0) | (pt & RTP_PT_MAX));
    rtpmsg_set_seq(p, seq);
    rtpmsg_set_ts(p, ts);
    rtpmsg_set_ssrc(p, ssrc);
}
/* Header, CSRCs, extension, payload, padding. Errors are b's: ERR_TOOBIG, ERR_SYNTAX (csrcs or extension of
 * a length that none can have). What is printed parses to the same. */
void rtpmsg_print(struct buf *b, const struct rtpmsg *m);

/* ---- header extensions, RFC 8285 ---- */

enum { RTP_EXT_ONE_BYTE = 0xbede, RTP_EXT_TWO_BYTE = 0x1000 /* and 4 bits of the application */ };

/* One element; id 1 to 14 in the one-byte form, 1 to 255 in the two-byte form. */
struct rtp_ext {
    uint8_t id;
    sv data;
};
/* A walk; zero before the first. */
struct rtp_ext_walk {
    size_t at;
};
/* The next element; false: no more, or what follows does not fit, or the extension is of another kind.
 * Ends at id 15 of the one-byte form and at a length behind id 0 (§4.1.2, §4.2). */
bool rtpmsg_ext_next(const struct rtpmsg *m, struct rtp_ext_walk *w, struct rtp_ext *ret_ext);
/* The first one with this id. */
bool rtpmsg_ext_find(const struct rtpmsg *m, uint8_t id, sv *ret_data);
/* An element behind what b holds: the data of an extension being built. Errors are b's: ERR_SYNTAX: an id or
 * a length that the form (profile) has not. */
void rtpmsg_ext_put(struct buf *b, uint16_t profile, uint8_t id, sv data);
/* Zeros up to whole words: the last of an extension's data, which begins at `from` of b. */
void rtpmsg_ext_pad(struct buf *b, size_t from);

#endif
