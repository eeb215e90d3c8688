/* SPDX-License-Identifier: MIT */
/* rtcpmsg/rtcpmsg.c: reading. RFC 3550 §6, 4585 §6, 5104 §4.
 *
 *    0                   1                   2                   3
 *    V=2|P|  count  |  packet type  |  words of this packet less 1  |
 *    body ...                       | padding | its length          |   with P, in the last packet only
 *
 * A datagram holds one such packet or more, one behind the other. */
#include "rtcpmsg/rtcpmsg.h"

#include "rtcpmsg/rtcpmsg_priv.h"

enum { HAS_PADDING = 0x20, COUNT = 0x1f, VERSION = 2 };

static sv from(sv s, size_t at)
{
    return sv_sub(s, at, s.n);
}

/* ---- the compound packet ---- */

bool rtcpmsg_next(sv datagram, struct rtcp_walk *w, struct rtcpmsg *ret_msg)
{
    size_t at = w->at;
    if (at > datagram.n || datagram.n - at < RTCP_HEADER)
        return false;
    sv left = from(datagram, at);
    uint8_t first = rtcp_u8(left, 0);
    size_t n = 4U * (rtcp_u16(left, 2) + 1U);
    if (first >> 6 != VERSION || n > left.n)
        return false;
    sv body = sv_sub(left, RTCP_HEADER, n);
    if (first & HAS_PADDING) {
        /* §6.4.1: only in the last packet, a multiple of four, the last octet counts itself */
        size_t padding = body.n > 0 ? rtcp_u8(body, body.n - 1) : 0;
        if (n != left.n || padding == 0 || padding % 4 != 0 || padding > body.n)
            return false;
        body.n -= padding;
    }
    *ret_msg = (struct rtcpmsg){rtcp_u8(left, 1), first & COUNT, body, at};
    w->at = at + n;
    return true;
}

enum err rtcpmsg_check(sv datagram, enum rtcp_form form)
{
    struct rtcp_walk w = {0};
    struct rtcpmsg m;
    if (!rtcpmsg_next(datagram, &w, &m))
        return ERR_SYNTAX;
    if (form == RTCP_COMPOUND && m.type != RTCP_SR && m.type != RTCP_RR)
        return ERR_SYNTAX;
    while (rtcpmsg_next(datagram, &w, &m))
        continue;
    return w.at == datagram.n ? ERR_OK : ERR_SYNTAX;
}

uint32_t rtcpmsg_sender(const struct rtcpmsg *m)
{
    return m->body.n >= 4 ? rtcp_u32(m->body, 0) : 0;
}

/* ---- reports ---- */

enum err rtcpmsg_report(const struct rtcpmsg *m, struct rtcp_report *ret_report)
{
    struct rtcp_report r = {.has_sender = m->type == RTCP_SR, .blocks = m->count};
    size_t at = 4 + (r.has_sender ? RTCP_SENDER : 0), n = (size_t)m->count * RTCP_BLOCK;
    if ((m->type != RTCP_SR && m->type != RTCP_RR) || m->body.n < at || m->body.n - at < n)
        return ERR_SYNTAX;
    r.ssrc = rtcp_u32(m->body, 0);
    if (r.has_sender)
        r.sender = (struct rtcp_sender){rtcp_u64(m->body, 4), rtcp_u32(m->body, 12),
                                        rtcp_u32(m->body, 16), rtcp_u32(m->body, 20)};
    r.block_octets = sv_sub(m->body, at, at + n);
    r.extension = from(m->body, at + n);
    *ret_report = r;
    return ERR_OK;
}

struct rtcp_block rtcpmsg_block(const struct rtcp_report *r, unsigned i)
{
    sv s = from(r->block_octets, (size_t)i * RTCP_BLOCK);
    if (s.n < RTCP_BLOCK)
        return (struct rtcp_block){0};
    uint32_t lost = rtcp_u32(s, 4) & 0xffffff;
    return (struct rtcp_block){.ssrc = rtcp_u32(s, 0),
                               .fraction = rtcp_u8(s, 4),
                               .lost = (int32_t)(lost ^ 0x800000) - 0x800000, /* its sign */
                               .highest = rtcp_u32(s, 8),
                               .jitter = rtcp_u32(s, 12),
                               .lsr = rtcp_u32(s, 16),
                               .dlsr = rtcp_u32(s, 20)};
}

/* ---- SDES ---- */

/* §6.5: a list of items ends with a zero, and the chunk at the next whole word. */
bool rtcpmsg_sdes_next(const struct rtcpmsg *m, struct rtcp_sdes_walk *w,
                       struct rtcp_item *ret_item)
{
    sv s = m->body;
    while (m->type == RTCP_SDES && w->at <= s.n) {
        size_t left = s.n - w->at;
        if (!w->within) {
            if (w->chunks >= m->count || left < 4)
                break;
            w->ssrc = rtcp_u32(s, w->at);
            w->at += 4;
            w->chunks++;
            w->within = true;
            continue;
        }
        if (left < 1)
            break;
        if (rtcp_u8(s, w->at) == RTCP_SDES_END) {
            w->at = (w->at + 4) & ~(size_t)3;
            w->within = false;
            continue;
        }
        if (left < 2 || rtcp_u8(s, w->at + 1) > left - 2)
            break;
        size_t n = rtcp_u8(s, w->at + 1);
        *ret_item = (struct rtcp_item){w->ssrc, rtcp_u8(s, w->at), {s.p + w->at + 2, n}};
        w->at += 2 + n;
        return true;
    }
    w->at = SIZE_MAX; /* it stays over */
    return false;
}

bool rtcpmsg_cname(const struct rtcpmsg *m, uint32_t ssrc, sv *ret_cname)
{
    struct rtcp_sdes_walk w = {0};
    for (struct rtcp_item item; rtcpmsg_sdes_next(m, &w, &item);) {
        if (item.ssrc == ssrc && item.type == RTCP_SDES_CNAME) {
            *ret_cname = item.text;
            return true;
        }
    }
    return false;
}

/* ---- BYE, APP ---- */

enum err rtcpmsg_bye(const struct rtcpmsg *m, struct rtcp_bye *ret_bye)
{
    size_t n = 4U * m->count;
    if (m->type != RTCP_BYE || m->body.n < n)
        return ERR_SYNTAX;
    struct rtcp_bye bye = {m->count, sv_sub(m->body, 0, n), SV_NONE};
    sv rest = from(m->body, n);
    if (rest.n > 0) {
        if (rtcp_u8(rest, 0) > rest.n - 1)
            return ERR_SYNTAX;
        bye.reason = sv_sub(rest, 1, 1U + rtcp_u8(rest, 0));
    }
    *ret_bye = bye;
    return ERR_OK;
}

uint32_t rtcpmsg_bye_ssrc(const struct rtcp_bye *bye, unsigned i)
{
    return i < bye->n ? rtcp_u32(bye->ssrcs, 4U * i) : 0;
}

enum err rtcpmsg_app(const struct rtcpmsg *m, struct rtcp_app *ret_app)
{
    if (m->type != RTCP_APP || m->body.n < 8)
        return ERR_SYNTAX;
    *ret_app = (struct rtcp_app){rtcp_u32(m->body, 0), sv_sub(m->body, 4, 8), from(m->body, 8)};
    return ERR_OK;
}

/* ---- feedback ---- */

static enum rtcp_fb kind_of(const struct rtcpmsg *m, sv fci)
{
    if (m->type == RTCP_RTPFB) {
        switch (m->count) {
        case FMT_NACK:
            return RTCP_FB_NACK;
        case FMT_TMMBR:
            return RTCP_FB_TMMBR;
        case FMT_TMMBN:
            return RTCP_FB_TMMBN;
        case FMT_TWCC:
            return RTCP_FB_TWCC;
        }
        return RTCP_FB_OTHER;
    }
    switch (m->count) {
    case FMT_PLI:
        return RTCP_FB_PLI;
    case FMT_SLI:
        return RTCP_FB_SLI;
    case FMT_RPSI:
        return RTCP_FB_RPSI;
    case FMT_FIR:
        return RTCP_FB_FIR;
    case FMT_AFB:
        return sv_starts(fci, SV("REMB")) ? RTCP_FB_REMB : RTCP_FB_OTHER;
    }
    return RTCP_FB_OTHER;
}

/* Octets of an entry; 0: entries are not read here. */
static size_t entry_of(enum rtcp_fb kind)
{
    switch (kind) {
    case RTCP_FB_NACK:
        return RTCP_NACK;
    case RTCP_FB_TMMBR:
    case RTCP_FB_TMMBN:
        return RTCP_TMMB_ENTRY;
    case RTCP_FB_FIR:
        return RTCP_FIR_ENTRY;
    case RTCP_FB_OTHER:
    case RTCP_FB_TWCC:
    case RTCP_FB_PLI:
    case RTCP_FB_SLI:
    case RTCP_FB_RPSI:
    case RTCP_FB_REMB:
        return 0;
    }
    return 0;
}

enum err rtcpmsg_feedback(const struct rtcpmsg *m, struct rtcp_feedback *ret_fb)
{
    if ((m->type != RTCP_RTPFB && m->type != RTCP_PSFB) || m->body.n < RTCP_FEEDBACK)
        return ERR_SYNTAX;
    struct rtcp_feedback fb = {.sender = rtcp_u32(m->body, 0),
                               .media = rtcp_u32(m->body, 4),
                               .fci = from(m->body, RTCP_FEEDBACK)};
    fb.kind = kind_of(m, fb.fci);
    size_t entry = entry_of(fb.kind);
    if (fb.kind == RTCP_FB_PLI && fb.fci.n > 0)
        return ERR_SYNTAX; /* 4585 §6.3.1.2: "the length MUST be 2" */
    if (entry) {
        if (fb.fci.n % entry != 0 || (fb.fci.n == 0 && fb.kind != RTCP_FB_TMMBN))
            return ERR_SYNTAX;
        fb.n = (unsigned)(fb.fci.n / entry);
    }
    *ret_fb = fb;
    return ERR_OK;
}

struct rtcp_nack rtcpmsg_nack(const struct rtcp_feedback *fb, unsigned i)
{
    sv s = from(fb->fci, (size_t)i * RTCP_NACK);
    if (s.n < RTCP_NACK)
        return (struct rtcp_nack){0};
    return (struct rtcp_nack){rtcp_u16(s, 0), rtcp_u16(s, 2)};
}

struct rtcp_fir rtcpmsg_fir(const struct rtcp_feedback *fb, unsigned i)
{
    sv s = from(fb->fci, (size_t)i * RTCP_FIR_ENTRY);
    if (s.n < RTCP_FIR_ENTRY)
        return (struct rtcp_fir){0};
    return (struct rtcp_fir){rtcp_u32(s, 0), rtcp_u8(s, 4)};
}

/* 5104 §4.2.1.1: 6 bits of exponent, 17 of mantissa, 9 of overhead. */
struct rtcp_tmmb rtcpmsg_tmmb(const struct rtcp_feedback *fb, unsigned i)
{
    sv s = from(fb->fci, (size_t)i * RTCP_TMMB_ENTRY);
    if (s.n < RTCP_TMMB_ENTRY)
        return (struct rtcp_tmmb){0};
    uint32_t word = rtcp_u32(s, 4), exponent = word >> 26;
    uint64_t mantissa = word >> 9 & 0x1ffff;
    uint64_t rate = mantissa << exponent;
    if (rate >> exponent != mantissa)
        rate = UINT64_MAX;
    return (struct rtcp_tmmb){rtcp_u32(s, 0), rate, word & 0x1ff};
}
