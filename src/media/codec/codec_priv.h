/* SPDX-License-Identifier: MIT */
/* codec/codec_priv.h: what the codecs share: concealment of gaps.               layer: media
 *
 * A gap is filled by repeating the last pitch period, more and more softly, as G.711 Appendix I describes; unlike
 * there nothing is delayed: the first samples of the gap are bent to begin where the sound ended. */
#ifndef CODEC_CODEC_PRIV_H
#define CODEC_CODEC_PRIV_H
#include "codec/codec.h"

enum {
    GAP_PERIOD_MAX_US = 15000, /* 66 Hz */
    GAP_PERIOD_MIN_US = 2500,  /* 400 Hz */
    GAP_WINDOW_US = 20000,     /* of sound that is compared with itself */
    GAP_HISTORY = CODEC_RATE_MAX / 1000 * (GAP_PERIOD_MAX_US + GAP_WINDOW_US) / 1000,
    GAP_PERIOD_MAX = CODEC_RATE_MAX / 1000 * GAP_PERIOD_MAX_US / 1000
};

struct gap {
    uint32_t rate_hz;
    size_t keep;   /* samples of history at this rate */
    size_t lost;   /* made up since the last true one */
    size_t period; /* of this gap */
    size_t at;     /* within cycle */
    float bend;    /* how far the sound's end lies from where the cycle's would be */
    int16_t cycle[GAP_PERIOD_MAX];
    int16_t history[GAP_HISTORY]; /* the newest at keep - 1 */
};

void gap_init(struct gap *g, uint32_t rate_hz);
/* True sound: remembered, and the end of a gap blended into its begin. */
void gap_hear(struct gap *g, int16_t *pcm, size_t n);
void gap_conceal(struct gap *g, int16_t *pcm, size_t n);

static inline int16_t clip16(float v)
{
    return (int16_t)(v >= 32767 ? 32767 : v <= -32768 ? -32768 : v);
}

#endif
