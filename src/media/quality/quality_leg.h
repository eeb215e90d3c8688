/* SPDX-License-Identifier: MIT */
/* quality/quality_leg.h: what one side of a call sends us, what it hears of us, and RTCP either way.   layer: media
 *
 * Spec    RFC 3550 §6.2, §6.3 (when to report; of two-party sessions), §6.4 (SR, RR, round trip), §6.6; 3611 §4.4, §4.5,
 *         §4.7 (round trip of who only receives; VoIP metrics).
 * Shape   one struct for a side and a stream (one m= line): `in` is what arrives from it, measured by us; `out` is what
 *         arrives at it, as its own RTCP says; `rtt` is the round trip between us and it. Time (and the wall's),
 *         chance and octets are passed in; RTCP to be sent is written into a buf. Two ways of use:
 *           relayed    RTP and RTCP pass unchanged between two sides: quality_passed() looks at each RTCP datagram
 *                      (in the clear) that goes from one to the other. We send none of our own.
 *           ended here (transcoding, echo, our own user agent): quality_received() takes what comes, and
 *                      quality_rtcp_… writes what we send.
 * From what, when relayed, for sides A and B:
 *           A.in       RTP from A, counted as it passes: the way from A to us
 *           B.out      blocks that B sends about A's SSRC: the way from A through us to B, all of it
 *           A.rtt      an SR of B passed us to A at t1, the block of A that names it (LSR) passed at t2 and says that
 *                      A kept it for DLSR: t2 - t1 - DLSR, all by our clock. So also with RRTR and DLRR (3611).
 *           A.rtt + B.rtt   the round trip from end to end
 *         Ended here, the SRs are ours and `out` is the way from us to it; else the same.
 * MOS     of an interval and of the whole call, E-model (quality.h): loss (late packets with it), how it clusters, and
 *         a delay of (rtt of both sides) / 2, a packet of 20 ms, and a jitter buffer: what the listener's VoIP metrics
 *         say that it has, else 40 ms or twice the spread (of `out`: the jitter), the larger, 200 ms at most.
 * Trust   whoever may send RTCP may lie in it: figures are bounded, and say what they were told. Blocks about other
 *         SSRCs than the one that goes there are ignored. RTCP is given here when its source is believed (SRTCP:
 *         proved), not before.
 * Life    plain structs; nothing is allocated. texts passed in are not kept.
 * Threads one at a time. No globals. */
#ifndef QUALITY_QUALITY_LEG_H
#define QUALITY_QUALITY_LEG_H
#include "quality/quality.h"
#include "quality/quality_rx.h"

/* What a stretch of time was like. */
struct quality_span {
    usec at;                              /* when it ended */
    uint64_t expected, lost;              /* packets; lost: never came */
    uint64_t late, duplicates, reordered; /* of `out`: late only, from VoIP metrics */
    double loss;                          /* share that could not be played: lost and late */
    double burst;                         /* as quality_figures has it */
    uint32_t jitter_us;                   /* mean; of `out`: of the jitters reported */
    uint32_t spread_us;                   /* of `out`: 0 */
    uint32_t rtt_us;                      /* end to end; 0: not known */
    double rating, mos;                   /* 0: nothing to judge */
};

/* SRs (and RRTRs) that went to this side: when which ntp passed. */
enum { QUALITY_SENT_MAX = 4 };
struct quality_sent {
    uint32_t middle; /* of its ntp; 0: none */
    usec at;
};
/* Heard last, for LSR and DLSR, LRR and DLRR. */
struct quality_heard {
    uint32_t ssrc, middle;
    usec at; /* middle 0: none */
};
/* What it says of what it hears. */
struct quality_theirs {
    bool any, has_voip;
    usec at;          /* the last report */
    uint32_t ssrc;    /* of what it hears */
    uint32_t highest; /* of the last block */
    int32_t lost;
    int64_t all_lost; /* differences, summed */
    uint64_t all_expected;
    double jitter_sum; /* µs, of reports */
    uint32_t reports;
    struct rtcp_voip voip; /* the last VoIP metrics */
};
/* What we send to it, where the stream ends here. */
struct quality_tx {
    uint32_t ssrc, clock_hz, ts; /* clock_hz 0: nothing was sent */
    uint32_t packets, octets;
    uint32_t packets_before
        [2]; /* at the last reports: who sent since the one before the last is a sender */
    usec at; /* of the last packet */
};
struct quality_timer {
    usec next;      /* USEC_NEVER: not started */
    double size;    /* avg_rtcp_size, octets with IP and UDP */
    double rtcp_bw; /* octets a second */
    bool reported;  /* we have sent one */
};

struct quality_leg {
    struct quality_rx in;
    struct quality_theirs out;
    struct quality_tx tx;
    usec rtt; /* between us and it; 0: not known */
    double rtt_sum;
    uint32_t rtt_n;
    bool bye; /* its source has said that it leaves (RFC 3550 §6.6) */
    struct quality_sent sent[QUALITY_SENT_MAX];
    struct quality_heard sr, rrtr;
    /* of the codec that is heard: `in` by whom we send it on to, `out` by it */
    const struct quality_codec *codec_in, *codec_out;
    struct quality_span last_in, worst_in, last_out, worst_out; /* mos 0: none yet */
    /* where the present interval began */
    struct quality_counts before;
    uint64_t before_bad, before_runs;
    double spread_sum;
    uint32_t spread_n;
    unsigned sent_next;
    struct quality_timer timer;
};

/* clock_hz: of what it sends. Codecs: quality_unknown, until set. */
void quality_leg_init(struct quality_leg *l, uint32_t clock_hz);

/* ---- RTCP that comes ---- */

/* A datagram in the clear has passed from one side to the other. Errors: ERR_SYNTAX: it is no RTCP as RFC 3550 A.2 (or
 * 5506) has it; nothing was taken from it. */
enum err quality_passed(struct quality_leg *from, struct quality_leg *to, sv datagram, usec now);
/* One that came to us and went no further. */
enum err quality_received(struct quality_leg *from, sv datagram, usec now);

/* ---- intervals, and the whole call ---- */

/* An interval of what arrives from it ends (5 s are usual): l->last_in, l->worst_in. One without packets
 * has no mos, and is not the worst.
 *   other  who hears it; NULL: we are the end */
void quality_interval(struct quality_leg *l, const struct quality_leg *other, usec now);
/* From the beginning to now, as measured here. */
void quality_in(const struct quality_leg *l, const struct quality_leg *other,
                struct quality_span *ret_span);
/* From the beginning to the last report, as it says. False: it said nothing. */
bool quality_out(const struct quality_leg *l, const struct quality_leg *other,
                 struct quality_span *ret_span);
/* The direction from `from` to `to`. Relayed: what `to` says that it hears, else what arrived here. Ended here (we have
 * sent packets of our own to `to`): what was lost on either way is lost, `expected` is of the first.
 *   ret_worst  the worst interval of the same, of either way; mos 0: none */
void quality_direction(const struct quality_leg *from, const struct quality_leg *to,
                       struct quality_span *ret_span, struct quality_span *ret_worst);
/* The last interval of the same: what it is like now; at 0: none yet; mos 0: nothing came. Returns whether `to` says it, or we alone. */
bool quality_last(const struct quality_leg *from, const struct quality_leg *to,
                  struct quality_span *ret_last);

/* ---- RTCP of ours ---- */

/* A packet of ours has left. octets: of the payload. */
void quality_sent_packet(struct quality_leg *l, uint32_t ssrc, uint32_t clock_hz, uint32_t ts,
                         size_t octets, usec now);

/* What came from `from` and passed to l until now goes on as ours, under its name: the counts of SRs go on, too. */
void quality_sent_passed(struct quality_leg *l, const struct quality_leg *from);

/* RFC 3550 §6.3.1: how long to the next report, steps 1 to 4. Timer reconsideration is left out, as §6.3 allows to two
 * parties, and with it step 5, which makes up for it.
 *   rtcp_bw   octets a second for RTCP of all members; size: avg_rtcp_size
 *   chance    32 random bits: spread over half to one and a half of it */
usec quality_rtcp_interval(unsigned members, unsigned senders, double rtcp_bw, bool we_sent,
                           double size, bool initial, uint32_t chance);
/* Reports are due from now on. bandwidth: of the session's media, octets a second (5 % of it is RTCP's). */
void quality_rtcp_start(struct quality_leg *l, double bandwidth, usec now, uint32_t chance);
/* When the next one is. USEC_NEVER: not started, or over. */
usec quality_rtcp_due(const struct quality_leg *l);
struct quality_rtcp {
    uint32_t ssrc; /* ours */
    sv cname;
    bool voip,
        rrtr; /* VoIP metrics; asking for round trips while we send nothing (RFC 3611 §4.7, §4.4) */
    uint16_t jb_nominal_ms, jb_max_ms, jb_abs_max_ms; /* of our jitter buffer; 0: none */
};
/* Writes the compound packet: SR if we have sent lately, else RR; SDES with CNAME; XR. Sets when the next is due.
 * Errors are b's. wall: 0: not known (NTP timestamps 0, round trips are not measured, §6.4.1). */
void quality_rtcp_put(struct quality_leg *l, struct buf *b, const struct quality_rtcp *r, usec now,
                      usec wall, uint32_t chance);
/* The last one: as above, and a BYE. Nothing when we never sent anything (§6.3.7: MUST NOT). */
void quality_rtcp_bye(struct quality_leg *l, struct buf *b, const struct quality_rtcp *r, sv reason,
                      usec now, usec wall);

#endif
