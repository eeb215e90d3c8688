/* SPDX-License-Identifier: MIT */
/* quality/quality_priv.h: what the parts of a leg share. */
#ifndef QUALITY_QUALITY_PRIV_H
#define QUALITY_QUALITY_PRIV_H
#include "quality/quality_leg.h"

enum { QUALITY_UNDER = 28 }; /* octets of IP and UDP: counted in intervals (RFC 3550 §6.2) */

/* Rating and MOS of s, whose loss, burst and rtt_us are there.
 *   variation_us  what a jitter buffer must bear
 *   listener      whose buffer it is; NULL: not known */
void quality_judge(struct quality_span *s, const struct quality_codec *codec, double variation_us,
                   const struct quality_leg *listener);
/* The round trip of both sides, as known now. */
usec quality_end_to_end(const struct quality_leg *l, const struct quality_leg *other);
void quality_keep_worst(struct quality_span *worst, const struct quality_span *s);
/* What VoIP metrics know beyond a report: discarded packets, bursts. */
void quality_add_voip(struct quality_span *s, const struct rtcp_voip *v);
/* An SR or RRTR with this ntp went to l. */
void quality_note_sent(struct quality_leg *l, uint64_t ntp, usec now);

#endif
