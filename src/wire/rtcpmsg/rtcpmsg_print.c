/* SPDX-License-Identifier: MIT */
/* rtcpmsg/rtcpmsg_print.c: packets as octets. The room of a whole packet is taken at once, so none is ever
 * written in part. */
#include "rtcpmsg/rtcpmsg.h"

#include "rtcpmsg/rtcpmsg_priv.h"

enum { VERSION = 0x80 };

/* A place in a buf; p == NULL: there is no room. */
struct out {
    uint8_t *p;
};

static void put_u8(struct out *o, uint8_t v)
{
    *o->p++ = v;
}

static void put_u16(struct out *o, uint16_t v)
{
    put_u8(o, (uint8_t)(v >> 8));
    put_u8(o, (uint8_t)v);
}

static void put_u32(struct out *o, uint32_t v)
{
    put_u16(o, (uint16_t)(v >> 16));
    put_u16(o, (uint16_t)v);
}

static void put_u64(struct out *o, uint64_t v)
{
    put_u32(o, (uint32_t)(v >> 32));
    put_u32(o, (uint32_t)v);
}

static void put_sv(struct out *o, sv s)
{
    if (s.n > 0)
        memcpy(o->p, s.p, s.n);
    o->p += s.n;
}

static void fail(struct buf *b, enum err rc)
{
    if (!b->rc)
        b->rc = rc;
}

/* Room for a packet of n octets (whole words), its header written; false: b has an error. */
static bool begin(struct buf *b, unsigned count, uint8_t type, size_t n, struct out *ret_out)
{
    if (n / 4 - 1 > UINT16_MAX || count > RTCP_COUNT_MAX) {
        fail(b, ERR_TOOBIG);
        return false;
    }
    struct out o = {(uint8_t *)buf_room(b, n)};
    if (!o.p)
        return false;
    b->n += n;
    put_u8(&o, (uint8_t)(VERSION | count));
    put_u8(&o, type);
    put_u16(&o, (uint16_t)(n / 4 - 1));
    *ret_out = o;
    return true;
}

static void put_blocks(struct out *o, const struct rtcp_block *blocks, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct rtcp_block *r = &blocks[i];
        /* A.3: "should be clamped at 0x7fffff for positive loss or 0x800000 for negative loss" */
        int32_t lost = r->lost > 0x7fffff ? 0x7fffff : r->lost < -0x800000 ? -0x800000 : r->lost;
        put_u32(o, r->ssrc);
        put_u32(o, (uint32_t)r->fraction << 24 | ((uint32_t)lost & 0xffffff));
        put_u32(o, r->highest);
        put_u32(o, r->jitter);
        put_u32(o, r->lsr);
        put_u32(o, r->dlsr);
    }
}

void rtcpmsg_put_sr(struct buf *b, uint32_t ssrc, const struct rtcp_sender *sender,
                    const struct rtcp_block *blocks, unsigned n)
{
    struct out o;
    if (!begin(b, n, RTCP_SR, RTCP_HEADER + 4 + RTCP_SENDER + (size_t)n * RTCP_BLOCK, &o))
        return;
    put_u32(&o, ssrc);
    put_u64(&o, sender->ntp);
    put_u32(&o, sender->ts);
    put_u32(&o, sender->packets);
    put_u32(&o, sender->octets);
    put_blocks(&o, blocks, n);
}

void rtcpmsg_put_rr(struct buf *b, uint32_t ssrc, const struct rtcp_block *blocks, unsigned n)
{
    struct out o;
    if (!begin(b, n, RTCP_RR, RTCP_HEADER + 4 + (size_t)n * RTCP_BLOCK, &o))
        return;
    put_u32(&o, ssrc);
    put_blocks(&o, blocks, n);
}

/* Zeros up to the end. */
static void pad(struct out *o, const struct buf *b)
{
    while (o->p < (uint8_t *)b->p + b->n)
        put_u8(o, 0);
}

static bool text_fits(struct buf *b, sv text)
{
    if (text.n > RTCP_TEXT_MAX)
        fail(b, ERR_TOOBIG);
    return text.n <= RTCP_TEXT_MAX;
}

void rtcpmsg_put_cname(struct buf *b, uint32_t ssrc, sv cname)
{
    struct out o;
    size_t chunk = (4 + 2 + cname.n + 4) & ~(size_t)3; /* at least one zero behind the item */
    if (!text_fits(b, cname) || !begin(b, 1, RTCP_SDES, RTCP_HEADER + chunk, &o))
        return;
    put_u32(&o, ssrc);
    put_u8(&o, RTCP_SDES_CNAME);
    put_u8(&o, (uint8_t)cname.n);
    put_sv(&o, cname);
    pad(&o, b);
}

void rtcpmsg_put_bye(struct buf *b, const uint32_t *ssrcs, unsigned n, sv reason)
{
    struct out o;
    size_t text = sv_present(reason) ? (1 + reason.n + 3) & ~(size_t)3 : 0;
    if (!text_fits(b, reason) || !begin(b, n, RTCP_BYE, RTCP_HEADER + 4 * (size_t)n + text, &o))
        return;
    for (unsigned i = 0; i < n; i++)
        put_u32(&o, ssrcs[i]);
    if (text) {
        put_u8(&o, (uint8_t)reason.n);
        put_sv(&o, reason);
        pad(&o, b);
    }
}

/* ---- feedback ---- */

static bool begin_feedback(struct buf *b, uint8_t fmt, uint8_t type, uint32_t sender,
                           uint32_t media, size_t fci, struct out *ret_out)
{
    if (!begin(b, fmt, type, RTCP_HEADER + RTCP_FEEDBACK + fci, ret_out))
        return false;
    put_u32(ret_out, sender);
    put_u32(ret_out, media);
    return true;
}

/* 4585 §6.2.1, 5104 §4.3.1: one or more. */
static bool has_entries(struct buf *b, unsigned n)
{
    if (n == 0)
        fail(b, ERR_SYNTAX);
    return n > 0;
}

void rtcpmsg_put_pli(struct buf *b, uint32_t sender, uint32_t media)
{
    struct out o;
    (void)begin_feedback(b, FMT_PLI, RTCP_PSFB, sender, media, 0, &o);
}

void rtcpmsg_put_nack(struct buf *b, uint32_t sender, uint32_t media, const struct rtcp_nack *nacks,
                      unsigned n)
{
    struct out o;
    if (!has_entries(b, n) ||
        !begin_feedback(b, FMT_NACK, RTCP_RTPFB, sender, media, (size_t)n * RTCP_NACK, &o))
        return;
    for (unsigned i = 0; i < n; i++) {
        put_u16(&o, nacks[i].seq);
        put_u16(&o, nacks[i].following);
    }
}

void rtcpmsg_put_fir(struct buf *b, uint32_t sender, const struct rtcp_fir *firs, unsigned n)
{
    struct out o;
    /* 5104 §4.3.1.2: "the SSRC of the media source is not used and SHALL be set to 0" */
    if (!has_entries(b, n) ||
        !begin_feedback(b, FMT_FIR, RTCP_PSFB, sender, 0, (size_t)n * RTCP_FIR_ENTRY, &o))
        return;
    for (unsigned i = 0; i < n; i++) {
        put_u32(&o, firs[i].ssrc);
        put_u32(&o, (uint32_t)firs[i].seq << 24);
    }
}

/* ---- extended reports ---- */

struct rtcp_xr rtcpmsg_xr_begin(struct buf *b, uint32_t ssrc)
{
    struct rtcp_xr x = {b, b->n};
    struct out o;
    if (begin(b, 0, RTCP_XR, RTCP_HEADER + 4, &o))
        put_u32(&o, ssrc);
    return x;
}

/* Room for a block with a body of n octets; the packet's length says so. */
static bool begin_block(const struct rtcp_xr *x, uint8_t type, size_t n, struct out *ret_out)
{
    struct buf *b = x->b;
    if (b->rc)
        return false;
    size_t whole = b->n - x->at + RTCP_XR_HEADER + n;
    if (whole / 4 - 1 > UINT16_MAX) {
        fail(b, ERR_TOOBIG);
        return false;
    }
    struct out o = {(uint8_t *)buf_room(b, RTCP_XR_HEADER + n)};
    if (!o.p)
        return false;
    b->n += RTCP_XR_HEADER + n;
    struct out length = {(uint8_t *)b->p + x->at + 2};
    put_u16(&length, (uint16_t)(whole / 4 - 1));
    put_u8(&o, type);
    put_u8(&o, 0);
    put_u16(&o, (uint16_t)(n / 4));
    *ret_out = o;
    return true;
}

void rtcpmsg_xr_put_rrtr(const struct rtcp_xr *x, uint64_t ntp)
{
    struct out o;
    if (begin_block(x, RTCP_XR_RRTR, RTCP_XR_RRTR_BODY, &o))
        put_u64(&o, ntp);
}

void rtcpmsg_xr_put_dlrr(const struct rtcp_xr *x, const struct rtcp_dlrr *dlrrs, unsigned n)
{
    struct out o;
    if (!begin_block(x, RTCP_XR_DLRR, (size_t)n * RTCP_XR_DLRR_SUB, &o))
        return;
    for (unsigned i = 0; i < n; i++) {
        put_u32(&o, dlrrs[i].ssrc);
        put_u32(&o, dlrrs[i].lrr);
        put_u32(&o, dlrrs[i].dlrr);
    }
}

void rtcpmsg_xr_put_voip(const struct rtcp_xr *x, const struct rtcp_voip *v)
{
    struct out o;
    if (!begin_block(x, RTCP_XR_VOIP, RTCP_XR_VOIP_BODY, &o))
        return;
    put_u32(&o, v->ssrc);
    put_u8(&o, v->loss_rate);
    put_u8(&o, v->discard_rate);
    put_u8(&o, v->burst_density);
    put_u8(&o, v->gap_density);
    put_u16(&o, v->burst_ms);
    put_u16(&o, v->gap_ms);
    put_u16(&o, v->round_trip_ms);
    put_u16(&o, v->end_system_ms);
    put_u8(&o, (uint8_t)v->signal_dbm);
    put_u8(&o, (uint8_t)v->noise_dbm);
    put_u8(&o, v->rerl_db);
    put_u8(&o, v->gmin);
    put_u8(&o, v->r_factor);
    put_u8(&o, v->ext_r_factor);
    put_u8(&o, v->mos_lq);
    put_u8(&o, v->mos_cq);
    put_u8(&o, v->rx_config);
    put_u8(&o, 0);
    put_u16(&o, v->jb_nominal_ms);
    put_u16(&o, v->jb_max_ms);
    put_u16(&o, v->jb_abs_max_ms);
}
