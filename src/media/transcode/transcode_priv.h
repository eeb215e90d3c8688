/* SPDX-License-Identifier: MIT */
/* transcode/transcode_priv.h: the state of a direction.                         layer: media
 *
 * Time on the line counts in 1/48000 s: every clock and every rate divides it. The line holds, from left to right:
 *
 *      sent | waiting in pcm, pcm_n samples | at: what comes next, by the sender's clock next_ts
 */
#ifndef TRANSCODE_TRANSCODE_PRIV_H
#define TRANSCODE_TRANSCODE_PRIV_H
#include "transcode/transcode.h"

enum { LINE_HZ = 48000, RATES = 3 };

/* Who makes the sound when nothing comes. */
enum quiet { QUIET_NOT, QUIET_NOISE, QUIET_DECODER };

struct transcode {
    struct transcode_handler h;
    void *arg;
    struct transcode_config c;
    struct transcode_stats stats;

    /* in */
    const struct transcode_format *format; /* of the last sound; NULL: none yet */
    struct codec_decoder *decoder;         /* in decoder_mem */
    void *decoder_mem;
    size_t decoder_room;
    uint32_t decoder_hz;
    struct codec_resampler
        *resampler[RATES]; /* from each rate that is not ours; NULL: not needed */
    bool begun;
    uint32_t in_ssrc, next_ts,
        next_hz; /* of the sound behind the last, and its clock; next_hz 0: unknown */
    uint16_t next_seq, odd_seq;
    bool sound_last; /* the last packet held sound: a gap behind it is one of sound */
    usec due;        /* when the next one would come at the pace of the last */

    /* between */
    int64_t at;
    uint32_t rate_hz; /* of pcm and the encoder */
    size_t frame;     /* samples of an outgoing packet */
    int16_t *pcm;
    size_t pcm_n, pcm_room;
    usec credit, credited; /* sound that may still come; when that was reckoned */

    /* silence */
    enum quiet quiet;
    struct codec_noise noise;
    usec quiet_since;
    int64_t quiet_at; /* `at` at quiet_since */

    /* out */
    struct codec_encoder *encoder;
    uint16_t seq;
    bool marker;
};

static inline int64_t line_of(uint32_t hz, int64_t n)
{
    return n * (LINE_HZ / (int64_t)hz);
}

#endif
