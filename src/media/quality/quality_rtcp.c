/* SPDX-License-Identifier: MIT */
/* quality/quality_rtcp.c: what RTCP that comes says.
 *
 *    A                      us                      B
 *    |                      |<------ SR (ntp) ------|   t1: A.sent
 *    |<---------------------|                       |
 *    |-- RR (lsr, dlsr) --->|                       |   t2: A.rtt = t2 - t1 - dlsr
 *    |                      |---------------------->|   the block is about B's SSRC: A.out */
#include "quality/quality_leg.h"

#include "quality/quality_priv.h"

/* More numbers between two reports than any stream has: the receiver has begun anew. */
enum { PACKETS_BETWEEN_MAX = 1000000 };
#define RTT_MAX USEC_MIN

/* ---- round trips ---- */

void quality_note_sent(struct quality_leg *l, uint64_t ntp, usec now)
{
    uint32_t middle = rtcpmsg_ntp_middle(ntp);
    if (middle == 0)
        return;
    l->sent[l->sent_next] = (struct quality_sent){middle, now};
    l->sent_next = (l->sent_next + 1) % QUALITY_SENT_MAX;
}

/* It says that it got the one with this middle, and kept it for units before it answered (§6.4.1, figure 2). */
static void note_answer(struct quality_leg *l, uint32_t middle, uint32_t units, usec now)
{
    for (unsigned i = 0; middle != 0 && i < QUALITY_SENT_MAX; i++) {
        if (l->sent[i].middle != middle)
            continue;
        usec rtt = now - l->sent[i].at - rtcpmsg_usec(units);
        if (rtt > RTT_MAX)
            return;
        /* the unit of DLSR, and clocks that are not quite one another's */
        l->rtt = rtt > 0 ? rtt : 1;
        l->rtt_sum += (double)l->rtt;
        l->rtt_n++;
        return;
    }
}

/* ---- what it hears ---- */

void quality_add_voip(struct quality_span *s, const struct rtcp_voip *v)
{
    double discarded = v->discard_rate / 256.0;
    s->late = (uint64_t)(discarded * (double)s->expected);
    s->loss = s->loss + discarded < 1 ? s->loss + discarded : 1;
    /* how much longer losses last than by chance, when within a burst each is followed by another as often as its
     * density says */
    double all = (v->loss_rate + v->discard_rate) / 256.0, burst = v->burst_density / 256.0;
    double longer = (1 - all) / (1 - (burst < 0.9 ? burst : 0.9));
    if (all > 0 && longer > 1)
        s->burst = longer;
}

/* The stream that goes to l: who sends it, its clock, and how much of it went there. */
struct stream {
    uint32_t ssrc, clock_hz;
    uint64_t packets;
    bool known;
};

static struct stream stream_to(const struct quality_leg *l, const struct quality_leg *other)
{
    if (!other)
        return (struct stream){l->tx.ssrc, l->tx.clock_hz, l->tx.packets, l->tx.clock_hz > 0};
    return (struct stream){other->in.ssrc, other->in.clock_hz, other->in.received,
                           quality_rx_valid(&other->in)};
}

/* What happened between two reports; false: they cannot be compared. */
static bool difference(const struct quality_theirs *t, const struct rtcp_block *r,
                       const struct stream *s, uint64_t *ret_expected, int64_t *ret_lost)
{
    if (!t->any || t->ssrc != s->ssrc) { /* the first: of all that went there, as it may be */
        *ret_expected = s->packets;
        *ret_lost = r->lost;
    } else {
        uint32_t numbers = r->highest - t->highest;
        if (numbers > PACKETS_BETWEEN_MAX)
            return false;
        *ret_expected = numbers;
        *ret_lost = (int64_t)r->lost - t->lost;
    }
    return *ret_lost <= (int64_t)*ret_expected;
}

static void take_block(struct quality_leg *l, const struct quality_leg *other,
                       const struct rtcp_block *r, const struct stream *s, usec now)
{
    struct quality_theirs *t = &l->out;
    uint64_t expected;
    int64_t lost;
    bool comparable = difference(t, r, s, &expected, &lost);
    double jitter_us = (double)r->jitter * USEC_S / (s->clock_hz ? s->clock_hz : 1);
    t->any = true;
    t->at = now;
    t->ssrc = s->ssrc;
    t->highest = r->highest;
    t->lost = r->lost;
    note_answer(l, r->lsr, r->dlsr, now);
    if (!comparable || expected == 0)
        return;
    if (jitter_us > (double)RTT_MAX)
        jitter_us = (double)RTT_MAX;
    t->all_expected += expected;
    t->all_lost += lost;
    t->jitter_sum += jitter_us;
    t->reports++;
    struct quality_span span = {.at = now,
                                .expected = expected,
                                .lost = lost > 0 ? (uint64_t)lost : 0,
                                .burst = 1,
                                .jitter_us = (uint32_t)jitter_us,
                                .rtt_us = (uint32_t)quality_end_to_end(l, other)};
    span.loss = (double)span.lost / (double)expected;
    quality_judge(&span, l->codec_out, 2 * jitter_us, l);
    l->last_out = span;
    quality_keep_worst(&l->worst_out, &span);
}

static void take_report(struct quality_leg *from, struct quality_leg *to, const struct rtcpmsg *m,
                        const struct stream *s, usec now)
{
    struct rtcp_report r;
    if (rtcpmsg_report(m, &r))
        return;
    /* of streams that share the port, only this one's */
    if (r.has_sender && (!quality_rx_valid(&from->in) || r.ssrc == from->in.ssrc)) {
        from->sr = (struct quality_heard){r.ssrc, rtcpmsg_ntp_middle(r.sender.ntp), now};
        if (to)
            quality_note_sent(to, r.sender.ntp, now);
    }
    for (unsigned i = 0; s->known && i < r.blocks; i++) {
        struct rtcp_block b = rtcpmsg_block(&r, i);
        if (b.ssrc == s->ssrc)
            take_block(from, to, &b, s, now);
    }
}

/* Whoever sent the RRTR may send no RTP, so its SSRC is not known: what it asked is. */
static void take_dlrr(struct quality_leg *from, const struct rtcp_xr_block *x, usec now)
{
    unsigned n = rtcpmsg_xr_dlrrs(x);
    for (unsigned i = 0; i < n && i < RTCP_COUNT_MAX; i++) {
        struct rtcp_dlrr d = rtcpmsg_xr_dlrr(x, i);
        note_answer(from, d.lrr, d.dlrr, now);
    }
}

static void take_xr(struct quality_leg *from, struct quality_leg *to, const struct rtcpmsg *m,
                    const struct stream *s, usec now)
{
    struct rtcp_xr_walk w = {0};
    struct rtcp_voip voip;
    uint64_t ntp;
    for (struct rtcp_xr_block x; rtcpmsg_xr_next(m, &w, &x);) {
        if (!rtcpmsg_xr_rrtr(&x, &ntp)) {
            from->rrtr = (struct quality_heard){rtcpmsg_sender(m), rtcpmsg_ntp_middle(ntp), now};
            if (to)
                quality_note_sent(to, ntp, now);
        }
        take_dlrr(from, &x, now);
        if (!rtcpmsg_xr_voip(&x, &voip) && s->known && voip.ssrc == s->ssrc) {
            from->out.voip = voip;
            from->out.has_voip = true;
        }
    }
}

static enum err take(struct quality_leg *from, struct quality_leg *to, sv datagram, usec now)
{
    struct rtcp_walk w = {0};
    struct rtcp_bye bye;
    struct stream s = stream_to(from, to);
    TRY(rtcpmsg_check(datagram, RTCP_REDUCED));
    for (struct rtcpmsg m; rtcpmsg_next(datagram, &w, &m);) {
        take_report(from, to, &m, &s, now);
        take_xr(from, to, &m, &s, now);
        if (!rtcpmsg_bye(&m, &bye))
            for (unsigned i = 0; i < bye.n; i++)
                from->bye = from->bye || rtcpmsg_bye_ssrc(&bye, i) == from->in.ssrc;
    }
    from->timer.size += ((double)datagram.n + QUALITY_UNDER - from->timer.size) / 16; /* §6.3.3 */
    return ERR_OK;
}

enum err quality_passed(struct quality_leg *from, struct quality_leg *to, sv datagram, usec now)
{
    return take(from, to, datagram, now);
}

enum err quality_received(struct quality_leg *from, sv datagram, usec now)
{
    return take(from, NULL, datagram, now);
}
