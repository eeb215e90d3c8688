/* SPDX-License-Identifier: MIT */
/* quality/quality.h: what a listener thinks of what arrives, from figures alone.  layer: media
 *
 * Spec    ITU-T G.107 (the E-model, all its other parameters at their defaults), G.113 Appendix I (codecs).
 * Shape   pure functions of one direction's figures.
 * Limits  none: figures outside their range count as its nearer end.
 * Threads any. No globals. */
#ifndef QUALITY_QUALITY_H
#define QUALITY_QUALITY_H
#include <stdint.h>
#include "err/err.h"

/* How a codec sounds, and how it bears loss (G.107 §7.5). */
struct quality_codec {
    double ie;  /* equipment impairment, 0 to 95 */
    double bpl; /* packet-loss robustness, over 0 */
};
/* With concealment of losses (G.113 Appendix I): what passes undecoded is heard by an endpoint that has it. */
extern const struct quality_codec quality_g711, quality_g722, quality_opus, quality_unknown;

/* What one direction was like. */
struct quality_figures {
    double loss;       /* of packets: 0 to 1, those that came too late to be played with them */
    double burst;      /* how much longer losses last than random ones; 1: random */
    double one_way_ms; /* mouth to ear: half of the round trip, and what buffers hold */
};
/* The rating: 0 (worst) to 93.2. */
double quality_rating(const struct quality_codec *c, const struct quality_figures *f);
/* Mean opinion score, 1 to 4.5, of a rating (G.107 Annex B). */
double quality_mos(double rating);

#endif
