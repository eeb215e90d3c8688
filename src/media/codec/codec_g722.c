/* SPDX-License-Identifier: MIT */
/* codec/codec_g722.c: G.722 at 64 kbit/s, by spandsp. At 8 kHz only its lower band is made: it costs less than the
 * whole and a resampler, and those who speak G.722 hear no difference to a telephone.
 *
 * RFC 3551 §4.5.2: the RTP clock counts 8000 a second although there are 16000 samples: an octet is a tick. */
#define SPANDSP_EXPOSE_INTERNAL_STRUCTURES
#include <spandsp.h>

#include "codec/codec_priv.h"

enum { BITRATE = 64000 };

struct g722_in {
    struct gap gap;
    g722_decode_state_t state;
};

static int options(uint32_t rate_hz)
{
    return rate_hz == 8000 ? G722_SAMPLE_RATE_8000 : 0;
}

static size_t g722_decoder_size(void)
{
    return sizeof(struct g722_in);
}

static enum err g722_decoder_start(void *state, uint32_t rate_hz)
{
    struct g722_in *d = state;
    gap_init(&d->gap, rate_hz);
    return g722_decode_init(&d->state, BITRATE, options(rate_hz)) ? ERR_OK : ERR_UNSUPPORTED;
}

static enum err g722_decode_payload(void *state, sv payload, int16_t *pcm, size_t room,
                                    size_t *ret_n)
{
    struct g722_in *d = state;
    size_t n = payload.n * (d->gap.rate_hz / 8000);
    if (n > room)
        return ERR_TOOBIG;
    int made = g722_decode(&d->state, pcm, (const uint8_t *)payload.p, (int)payload.n);
    if (made < 0)
        return ERR_SYNTAX;
    gap_hear(&d->gap, pcm, (size_t)made);
    *ret_n = (size_t)made;
    return ERR_OK;
}

static void g722_conceal(void *state, int16_t *pcm, size_t n)
{
    struct g722_in *d = state;
    gap_conceal(&d->gap, pcm, n);
}

static size_t g722_encoder_size(void)
{
    return sizeof(g722_encode_state_t);
}

static enum err g722_encoder_start(void *state, uint32_t rate_hz, const struct codec_wish *w)
{
    (void)w;
    return g722_encode_init(state, BITRATE, options(rate_hz)) ? ERR_OK : ERR_UNSUPPORTED;
}

static enum err g722_encode_frame(void *state, const int16_t *pcm, size_t n, uint8_t *out,
                                  size_t room, size_t *ret_n)
{
    if (n > room) /* half of it at 16 kHz */
        return ERR_TOOBIG;
    int made = g722_encode(state, out, pcm, (int)n);
    if (made < 0)
        return ERR_RANGE;
    *ret_n = (size_t)made;
    return ERR_OK;
}

static enum err g722_ticks(sv payload, uint32_t *ret_ticks)
{
    *ret_ticks = (uint32_t)payload.n;
    return ERR_OK;
}

const struct codec codec_g722 = {
    .name = "G722",
    .pt = 9,
    .channels = 1,
    .clock_hz = 8000,
    .rates = CODEC_8K | CODEC_16K,
    .decoder_size = g722_decoder_size,
    .decoder_init = g722_decoder_start,
    .decode = g722_decode_payload,
    .conceal = g722_conceal,
    .encoder_size = g722_encoder_size,
    .encoder_init = g722_encoder_start,
    .encode = g722_encode_frame,
    .ticks = g722_ticks,
};
