/* SPDX-License-Identifier: MIT */
/* rtcpmsg/rtcpmsg_xr.c: extended reports (RFC 3611), read; and time as RTCP writes it.
 *
 *    XR packet: header, SSRC, blocks:
 *    block type | type-specific | words of what follows | body ... */
#include "rtcpmsg/rtcpmsg.h"

#include "rtcpmsg/rtcpmsg_priv.h"

bool rtcpmsg_xr_next(const struct rtcpmsg *m, struct rtcp_xr_walk *w,
                     struct rtcp_xr_block *ret_block)
{
    size_t at = w->at ? w->at : 4; /* behind the SSRC */
    if (m->type != RTCP_XR || at > m->body.n || m->body.n - at < RTCP_XR_HEADER)
        return false;
    size_t n = 4U * rtcp_u16(m->body, at + 2);
    if (n > m->body.n - at - RTCP_XR_HEADER)
        return false;
    *ret_block = (struct rtcp_xr_block){
        rtcp_u8(m->body, at), rtcp_u8(m->body, at + 1), {m->body.p + at + RTCP_XR_HEADER, n}};
    w->at = at + RTCP_XR_HEADER + n;
    return true;
}

enum err rtcpmsg_xr_rrtr(const struct rtcp_xr_block *x, uint64_t *ret_ntp)
{
    if (x->type != RTCP_XR_RRTR || x->body.n != RTCP_XR_RRTR_BODY)
        return ERR_SYNTAX;
    *ret_ntp = rtcp_u64(x->body, 0);
    return ERR_OK;
}

unsigned rtcpmsg_xr_dlrrs(const struct rtcp_xr_block *x)
{
    return x->type == RTCP_XR_DLRR ? (unsigned)(x->body.n / RTCP_XR_DLRR_SUB) : 0;
}

struct rtcp_dlrr rtcpmsg_xr_dlrr(const struct rtcp_xr_block *x, unsigned i)
{
    sv s = sv_sub(x->body, (size_t)i * RTCP_XR_DLRR_SUB, x->body.n);
    if (s.n < RTCP_XR_DLRR_SUB)
        return (struct rtcp_dlrr){0};
    return (struct rtcp_dlrr){rtcp_u32(s, 0), rtcp_u32(s, 4), rtcp_u32(s, 8)};
}

/* §4.6: "MUST ignore any Statistics Summary Report Block with a non-zero value in any field flagged
 * as unreported". */
static bool unreported_is_zero(const struct rtcp_summary *s)
{
    return (s->has_lost || s->lost == 0) && (s->has_duplicates || s->duplicates == 0) &&
           (s->has_jitter || !(s->jitter_min | s->jitter_max | s->jitter_mean | s->jitter_dev)) &&
           (s->hops != RTCP_HOPS_NONE || !(s->hops_min | s->hops_max | s->hops_mean | s->hops_dev));
}

enum err rtcpmsg_xr_summary(const struct rtcp_xr_block *x, struct rtcp_summary *ret)
{
    sv v = x->body;
    unsigned hops = x->specific >> 3 & 3;
    if (x->type != RTCP_XR_SUMMARY || v.n != RTCP_XR_SUMMARY_BODY || hops == 3)
        return ERR_SYNTAX;
    struct rtcp_summary s = {.has_lost = x->specific >> 7,
                             .has_duplicates = x->specific >> 6 & 1,
                             .has_jitter = x->specific >> 5 & 1,
                             .hops = (enum rtcp_hops)hops,
                             .ssrc = rtcp_u32(v, 0),
                             .begin_seq = rtcp_u16(v, 4),
                             .end_seq = rtcp_u16(v, 6),
                             .lost = rtcp_u32(v, 8),
                             .duplicates = rtcp_u32(v, 12),
                             .jitter_min = rtcp_u32(v, 16),
                             .jitter_max = rtcp_u32(v, 20),
                             .jitter_mean = rtcp_u32(v, 24),
                             .jitter_dev = rtcp_u32(v, 28),
                             .hops_min = rtcp_u8(v, 32),
                             .hops_max = rtcp_u8(v, 33),
                             .hops_mean = rtcp_u8(v, 34),
                             .hops_dev = rtcp_u8(v, 35)};
    if (!unreported_is_zero(&s))
        return ERR_SYNTAX;
    *ret = s;
    return ERR_OK;
}

/* §4.7.5: "Values other than 127 and the valid range defined above MUST not be sent and MUST be
 * ignored". */
static uint8_t in_range(uint8_t v, uint8_t from, uint8_t to)
{
    return v >= from && v <= to ? v : RTCP_VOIP_UNKNOWN;
}

enum err rtcpmsg_xr_voip(const struct rtcp_xr_block *x, struct rtcp_voip *ret)
{
    sv v = x->body;
    if (x->type != RTCP_XR_VOIP || v.n != RTCP_XR_VOIP_BODY || rtcp_u8(v, 19) == 0)
        return ERR_SYNTAX;
    *ret = (struct rtcp_voip){.ssrc = rtcp_u32(v, 0),
                              .loss_rate = rtcp_u8(v, 4),
                              .discard_rate = rtcp_u8(v, 5),
                              .burst_density = rtcp_u8(v, 6),
                              .gap_density = rtcp_u8(v, 7),
                              .burst_ms = rtcp_u16(v, 8),
                              .gap_ms = rtcp_u16(v, 10),
                              .round_trip_ms = rtcp_u16(v, 12),
                              .end_system_ms = rtcp_u16(v, 14),
                              .signal_dbm = (int8_t)rtcp_u8(v, 16),
                              .noise_dbm = (int8_t)rtcp_u8(v, 17),
                              .rerl_db = rtcp_u8(v, 18),
                              .gmin = rtcp_u8(v, 19),
                              .r_factor = in_range(rtcp_u8(v, 20), 0, 100),
                              .ext_r_factor = in_range(rtcp_u8(v, 21), 0, 100),
                              .mos_lq = in_range(rtcp_u8(v, 22), 10, 50),
                              .mos_cq = in_range(rtcp_u8(v, 23), 10, 50),
                              .rx_config = rtcp_u8(v, 24),
                              .jb_nominal_ms = rtcp_u16(v, 26),
                              .jb_max_ms = rtcp_u16(v, 28),
                              .jb_abs_max_ms = rtcp_u16(v, 30)};
    return ERR_OK;
}

/* ---- time ---- */

uint64_t rtcpmsg_ntp(usec wall)
{
    static const uint64_t unix_epoch = 2208988800U; /* 1970 on NTP's clock, RFC 868 */
    uint64_t us = wall > 0 ? (uint64_t)wall : 0;
    return ((us / USEC_S + unix_epoch) << 32) | ((us % USEC_S) << 32) / USEC_S;
}

uint32_t rtcpmsg_units(usec duration)
{
    enum { LONGEST_S = 65535 };
    if (duration <= 0)
        return 0;
    if (duration / USEC_S > LONGEST_S)
        return UINT32_MAX;
    return (uint32_t)((uint64_t)duration * 65536 / USEC_S);
}

usec rtcpmsg_usec(uint32_t units)
{
    return (usec)((uint64_t)units * USEC_S / 65536);
}
