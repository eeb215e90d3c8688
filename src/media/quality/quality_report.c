/* SPDX-License-Identifier: MIT */
/* quality/quality_report.c: RTCP of our own, where a stream ends here: what it says, and when (RFC 3550 §6.3). */
#include "quality/quality_leg.h"

#include "quality/quality_priv.h"

/* §6.2: "5%"; "RECOMMENDED value for a fixed minimum interval is 5 seconds", half of it for the first (§6.3.1). */
#define RTCP_SHARE   0.05
#define SENDER_SHARE 0.25
#define LEAST        (5 * USEC_S)
enum { MEMBERS = 2, SIZE_FIRST = 120 };

void quality_sent_packet(struct quality_leg *l, uint32_t ssrc, uint32_t clock_hz, uint32_t ts,
                         size_t octets, usec now)
{
    struct quality_tx *t = &l->tx;
    if (ssrc != t->ssrc) /* §6.4.1: "The count SHOULD be reset if the sender changes its SSRC" */
        *t = (struct quality_tx){.ssrc = ssrc};
    t->clock_hz = clock_hz;
    t->ts = ts;
    t->at = now;
    t->packets++;
    t->octets += (uint32_t)octets;
}

void quality_sent_passed(struct quality_leg *l, const struct quality_leg *from)
{
    const struct quality_rx *q = &from->in;
    uint32_t packets = quality_rx_highest(q) - q->base_seq + 1;
    l->tx = (struct quality_tx){.ssrc = q->ssrc,
                                .clock_hz = q->clock_hz,
                                .ts = q->ts,
                                .packets = packets,
                                .octets = (uint32_t)q->total.octets,
                                .packets_before = {packets, packets},
                                .at = q->heard};
}

/* ---- when ---- */

usec quality_rtcp_interval(unsigned members, unsigned senders, double rtcp_bw, bool we_sent,
                           double size, bool initial, uint32_t chance)
{
    double n = members, least = (double)LEAST / (initial ? 2 : 1);
    if (senders <= members * SENDER_SHARE) {
        rtcp_bw *= we_sent ? SENDER_SHARE : 1 - SENDER_SHARE;
        n = we_sent ? senders : members - senders;
    }
    double t = rtcp_bw > 0 ? n * size / rtcp_bw * (double)USEC_S : least;
    if (!(t >= least))
        t = least;
    if (t > (double)USEC_HOUR)
        t = (double)USEC_HOUR;
    return (usec)(t * (0.5 + (double)chance / 4294967296.0));
}

/* §6.3.8: we have sent since the report before the last. */
static bool we_sent(const struct quality_tx *t)
{
    return t->packets != t->packets_before[1];
}

static usec interval(const struct quality_leg *l, bool initial, uint32_t chance)
{
    unsigned senders = (unsigned)quality_rx_valid(&l->in) + we_sent(&l->tx);
    return quality_rtcp_interval(MEMBERS, senders, l->timer.rtcp_bw, we_sent(&l->tx), l->timer.size,
                                 initial, chance);
}

void quality_rtcp_start(struct quality_leg *l, double bandwidth, usec now, uint32_t chance)
{
    l->timer.rtcp_bw = bandwidth * RTCP_SHARE;
    l->timer.size = SIZE_FIRST + QUALITY_UNDER;
    l->timer.next = now + interval(l, true, chance);
}

usec quality_rtcp_due(const struct quality_leg *l)
{
    return l->timer.next;
}

/* ---- what ---- */

/* The block on what it sends, with LSR and DLSR. False: it sends nothing. */
static bool put_block(struct quality_leg *l, struct rtcp_block *ret, usec now)
{
    if (!quality_rx_block(&l->in, ret))
        return false;
    if (l->sr.middle != 0 && l->sr.ssrc == l->in.ssrc) {
        ret->lsr = l->sr.middle;
        ret->dlsr = rtcpmsg_units(now - l->sr.at);
    }
    return true;
}

/* §6.4.1: "Corresponds to the same time as the NTP timestamp": the stream's clock has gone on since the last packet. */
static uint32_t ts_at(const struct quality_tx *t, usec now)
{
    usec since = now - t->at;
    return t->ts + (uint32_t)((uint64_t)(since > 0 ? since : 0) * t->clock_hz / USEC_S);
}

static uint8_t of_256(double share)
{
    return share >= 1 ? 255 : share > 0 ? (uint8_t)(share * 256) : 0;
}

static uint16_t ms_of(double us)
{
    return us >= 65535e3 ? 65535 : us > 0 ? (uint16_t)(us / 1000) : 0;
}

/* RFC 3611 §4.7, of all that came so far. */
static void put_voip(const struct quality_leg *l, const struct rtcp_xr *x,
                     const struct quality_rtcp *r)
{
    const struct quality_rx *q = &l->in;
    struct quality_burst_figures b;
    struct quality_span s, listening;
    quality_rx_bursts(q, &b);
    quality_in(l, NULL, &s);
    listening = s;
    listening.rtt_us = 0; /* MOS-LQ: "not including the effects of delay" */
    quality_judge(&listening, l->codec_in, 0, NULL);
    double packet_us = q->step * q->us_per_unit;
    struct rtcp_voip v = {.ssrc = q->ssrc,
                          .loss_rate = of_256(s.expected ? (double)s.lost / (double)s.expected : 0),
                          .discard_rate =
                              of_256(s.expected ? (double)s.late / (double)s.expected : 0),
                          .burst_density = of_256(b.burst_density),
                          .gap_density = of_256(b.gap_density),
                          .burst_ms = ms_of(b.burst_packets * packet_us),
                          .gap_ms = ms_of(b.gap_packets * packet_us),
                          .round_trip_ms = ms_of((double)l->rtt),
                          .end_system_ms = r->jb_nominal_ms,
                          .signal_dbm = RTCP_VOIP_UNKNOWN,
                          .noise_dbm = RTCP_VOIP_UNKNOWN,
                          .rerl_db = RTCP_VOIP_UNKNOWN,
                          .gmin = QUALITY_GMIN,
                          .r_factor = (uint8_t)s.rating,
                          .ext_r_factor = RTCP_VOIP_UNKNOWN,
                          .mos_lq = (uint8_t)(10 * listening.mos),
                          .mos_cq = (uint8_t)(10 * s.mos),
                          /* §4.7.6: enhanced concealment; an adaptive buffer, where there is one */
                          .rx_config = r->jb_nominal_ms ? 0xb0 : 0,
                          .jb_nominal_ms = r->jb_nominal_ms,
                          .jb_max_ms = r->jb_max_ms,
                          .jb_abs_max_ms = r->jb_abs_max_ms};
    rtcpmsg_xr_put_voip(x, &v);
}

static void put_xr(struct quality_leg *l, struct buf *b, const struct quality_rtcp *r, bool sr,
                   usec now, usec wall)
{
    bool voip = r->voip && quality_rx_valid(&l->in), rrtr = r->rrtr && !sr && wall;
    if (!voip && !rrtr && l->rrtr.middle == 0)
        return;
    struct rtcp_xr x = rtcpmsg_xr_begin(b, r->ssrc);
    if (rrtr) { /* who sends no SR asks for round trips so */
        rtcpmsg_xr_put_rrtr(&x, rtcpmsg_ntp(wall));
        quality_note_sent(l, rtcpmsg_ntp(wall), now);
    }
    if (l->rrtr.middle != 0) { /* who asks is answered, told or not */
        struct rtcp_dlrr d = {l->rrtr.ssrc, l->rrtr.middle, rtcpmsg_units(now - l->rrtr.at)};
        rtcpmsg_xr_put_dlrr(&x, &d, 1);
    }
    if (voip)
        put_voip(l, &x, r);
}

/* §6.1: a report, SDES with CNAME, then the rest. */
static void put_all(struct quality_leg *l, struct buf *b, const struct quality_rtcp *r, usec now,
                    usec wall)
{
    struct rtcp_block block;
    unsigned n = put_block(l, &block, now);
    bool sr = l->tx.clock_hz > 0 && we_sent(&l->tx);
    if (sr) {
        struct rtcp_sender s = {wall ? rtcpmsg_ntp(wall) : 0, ts_at(&l->tx, now), l->tx.packets,
                                l->tx.octets};
        rtcpmsg_put_sr(b, r->ssrc, &s, &block, n);
        quality_note_sent(l, s.ntp, now);
    } else {
        rtcpmsg_put_rr(b, r->ssrc, &block, n);
    }
    rtcpmsg_put_cname(b, r->ssrc, r->cname);
    put_xr(l, b, r, sr, now, wall);
}

void quality_rtcp_put(struct quality_leg *l, struct buf *b, const struct quality_rtcp *r, usec now,
                      usec wall, uint32_t chance)
{
    size_t before = b->n;
    put_all(l, b, r, now, wall);
    l->timer.size += ((double)(b->n - before) + QUALITY_UNDER - l->timer.size) / 16; /* §6.3.6 */
    l->timer.reported = true;
    l->tx.packets_before[1] = l->tx.packets_before[0];
    l->tx.packets_before[0] = l->tx.packets;
    l->timer.next = now + interval(l, false, chance);
}

void quality_rtcp_bye(struct quality_leg *l, struct buf *b, const struct quality_rtcp *r, sv reason,
                      usec now, usec wall)
{
    l->timer.next = USEC_NEVER;
    if (!l->timer.reported && l->tx.packets == 0)
        return;
    put_all(l, b, r, now, wall);
    rtcpmsg_put_bye(b, &r->ssrc, 1, reason);
}
