/* SPDX-License-Identifier: MIT */
/* quality/quality_rx.h: what arrives of one stream: lost, doubled, late, out of order, jitter, bursts.   layer: media
 *
 * Spec    RFC 3550 A.1 (which sequence numbers are valid), A.3 (expected and lost), A.8 (jitter); 3611 §4.7.2
 *         (bursts and gaps, Gmin 16); 7160 §4 (a clock that changes).
 * Shape   one struct for what comes from one direction; fed with the header's fields of each packet and the time
 *         that it arrived. A new source (SSRC), and one that jumps in its numbers, is believed
 *         from its second packet in order on (A.1); until then the old one goes on. Totals go on across sources.
 * Terms   expected    numbers from the first to the highest one
 *         received    those of them that came, each counted once: of what is expected and not received is lost.
 *                     (The block for a report counts duplicates as received, as A.3 says.)
 *         reordered   came behind a higher number
 *         late        came QUALITY_LATE or more behind the fastest packet of the last seconds: what an ordinary
 *                     jitter buffer would not have waited for. Received, but as good as lost.
 *         jitter      of A.8: the running mean of |D|, D being how much longer a packet was under way than the one
 *                     before it. mean jitter: the plain mean of |D| over a stretch of time, of packets with a new
 *                     timestamp each (not: several packets of a video frame, or of one key). Where delays are
 *                     independent and packets keep their order, |D| is on average 2/3·a for delays of d ± a,
 *                     spread evenly, and 2/√π = 1.128 σ for normal ones. Packets of 20 ms and ± 40 ms: 0.72·a where they
 *                     overtake one another, 0.46·a where the network holds them back to keep their order.
 *         spread      half of the difference between the slowest and the fastest packet of an interval: a for
 *                     delays of d ± a. It is the figure to compare with what a network was told to do.
 * Gaps    After a second without a packet, and when the timestamp jumps by a second against arrival, comparison of
 *         delays begins anew: such a step is a hold or a new clock, not jitter.
 * Life    plain structs; they own nothing, nothing is allocated.
 * Limits  64 packets back a number is still told as received or doubled; further back it is late and lost.
 * Threads one at a time. No globals. */
#ifndef QUALITY_QUALITY_RX_H
#define QUALITY_QUALITY_RX_H
#include "clock/clock.h"
#include "rtcpmsg/rtcpmsg.h"

#define QUALITY_LATE (200 * USEC_MS)

/* RFC 3550 A.1. */
enum { QUALITY_DROPOUT = 3000, QUALITY_MISORDER = 100 };
enum { QUALITY_GMIN = RTCP_VOIP_GMIN };

/* Of what has passed, in order: bursts, gaps, and how losses cluster. */
struct quality_bursts {
    uint64_t packets;
    uint64_t first, last,
        bad;                /* of the cluster that may still grow: numbers, how many bad; 0: none */
    uint64_t all_bad, runs; /* runs: stretches without a good one between */
    uint64_t bursts, burst_packets, burst_bad, burst_end;
    bool last_bad, burst_first; /* burst_first: the first packet was of one */
};
/* n packets, lost or late (bad) or not. */
void quality_bursts_push(struct quality_bursts *b, bool bad, uint64_t n);
struct quality_burst_figures {
    uint64_t bursts, gaps;
    double burst_density, gap_density; /* 0 to 1: share of bad packets within */
    double burst_packets, gap_packets; /* mean length */
    double ratio; /* 1: losses as single as chance makes them; more: longer runs (G.107 BurstR) */
};
/* As if all ended here. */
void quality_bursts_figures(const struct quality_bursts *b, struct quality_burst_figures *ret);

/* Since the beginning; what happened in between is the difference of two. */
struct quality_counts {
    uint64_t expected, received, duplicates, reordered, late, octets;
    double jitter_sum; /* of |D|, µs */
    uint64_t jitter_n;
};

struct quality_rx {
    struct quality_counts total;
    struct quality_bursts bursts;
    double us_per_unit;             /* of the clock */
    double jitter;                  /* A.8, µs */
    uint64_t seen, good;            /* bit i: number highest - i came; came in time */
    usec began, heard;              /* epoch of delays; last arrival */
    usec delay, delay_fresh;        /* of the last packet; of the last with a new timestamp */
    usec fastest[2], fastest_since; /* of the present stretch of seconds, and of the one before */
    usec slow, fast, spread;        /* of this interval */
    int64_t units;                  /* of the highest packet's timestamp, since began */
    uint32_t ssrc, ts, last_ts, clock_hz;
    uint32_t step; /* of the timestamp from one packet to the next, as seen last; 0: not seen */
    uint32_t next_ssrc, next_ts; /* who may become the source, and where it was */
    uint32_t base_seq, cycles;
    uint32_t received, expected_prior, received_prior; /* A.3: duplicates count */
    uint16_t seq, next_seq; /* highest; what the second packet of a new beginning would be */
    uint8_t window_n;       /* bits of seen that mean something */
    bool valid, next_valid, comparing;
};

/* clock_hz: of the payload; over 0. */
void quality_rx_init(struct quality_rx *q, uint32_t clock_hz);
/* The codec has changed, and its clock with it (RFC 7160 §4.2). */
void quality_rx_clock(struct quality_rx *q, uint32_t clock_hz);

enum quality_packet {
    QUALITY_GOOD,
    QUALITY_LATE_PACKET,
    QUALITY_DUPLICATE,
    QUALITY_UNSURE /* of a source, or with a number, that is not believed yet: counted nowhere */
};
/* octets: of the payload. */
enum quality_packet quality_rx_packet(struct quality_rx *q, uint32_t ssrc, uint16_t seq,
                                      uint32_t ts, size_t octets, usec now);
/* Somebody is there: an SSRC stands in q->ssrc. */
static inline bool quality_rx_valid(const struct quality_rx *q)
{
    return q->valid;
}
/* Of the present source: highest number with its cycles, as in a report block. */
static inline uint32_t quality_rx_highest(const struct quality_rx *q)
{
    return q->cycles + q->seq;
}
/* What came last of ssrc, believed or not: its number and timestamp. False: nothing that is still known. */
bool quality_rx_last(const struct quality_rx *q, uint32_t ssrc, uint16_t *ret_seq,
                     uint32_t *ret_ts);
/* A.8 in units of the clock. */
uint32_t quality_rx_jitter(const struct quality_rx *q);
/* Half of what delays differed by since the last quality_rx_spread_reset; 0: nothing to compare. */
usec quality_rx_spread(const struct quality_rx *q);
void quality_rx_spread_reset(struct quality_rx *q);
/* Bursts and gaps up to now, the last 64 packets included. */
void quality_rx_bursts(const struct quality_rx *q, struct quality_burst_figures *ret);
/* Our report on it: fraction since the last call (A.3). LSR and DLSR are 0: quality_leg.h knows them.
 * False: there is no source. */
bool quality_rx_block(struct quality_rx *q, struct rtcp_block *ret_block);

#endif
