/* SPDX-License-Identifier: MIT */
/* codec/codec_l16.c: uncompressed sound in network order (RFC 3551 §4.5.11), one channel. */
#include "codec/codec_priv.h"

static size_t l16_decoder_size(void)
{
    return sizeof(struct gap);
}

static enum err l16_decoder_init(void *state, uint32_t rate_hz)
{
    gap_init(state, rate_hz);
    return ERR_OK;
}

static enum err l16_ticks(sv payload, uint32_t *ret_ticks)
{
    if (payload.n % 2)
        return ERR_SYNTAX;
    *ret_ticks = (uint32_t)payload.n / 2;
    return ERR_OK;
}

static enum err l16_decode(void *state, sv payload, int16_t *pcm, size_t room, size_t *ret_n)
{
    size_t n = payload.n / 2;
    if (n > room)
        return ERR_TOOBIG;
    for (size_t i = 0; i < n; i++)
        pcm[i] = (int16_t)((uint8_t)payload.p[2 * i] << 8 | (uint8_t)payload.p[2 * i + 1]);
    gap_hear(state, pcm, n);
    *ret_n = n;
    return ERR_OK;
}

static void l16_conceal(void *state, int16_t *pcm, size_t n)
{
    gap_conceal(state, pcm, n);
}

static size_t l16_encoder_size(void)
{
    return 0;
}

static enum err l16_encoder_init(void *state, uint32_t rate_hz, const struct codec_wish *w)
{
    (void)state;
    (void)rate_hz;
    (void)w;
    return ERR_OK;
}

static enum err l16_encode(void *state, const int16_t *pcm, size_t n, uint8_t *out, size_t room,
                           size_t *ret_n)
{
    (void)state;
    if (2 * n > room)
        return ERR_TOOBIG;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = (uint8_t)((uint16_t)pcm[i] >> 8);
        out[2 * i + 1] = (uint8_t)pcm[i];
    }
    *ret_n = 2 * n;
    return ERR_OK;
}

#define L16(hz, set)                                                                              \
    {                                                                                             \
        .name = "L16", .pt = CODEC_DYNAMIC, .channels = 1, .clock_hz = (hz), .rates = (set),      \
        .decoder_size = l16_decoder_size, .decoder_init = l16_decoder_init, .decode = l16_decode, \
        .conceal = l16_conceal, .encoder_size = l16_encoder_size,                                 \
        .encoder_init = l16_encoder_init, .encode = l16_encode, .ticks = l16_ticks,               \
    }

const struct codec codec_l16_8k = L16(8000, CODEC_8K);
const struct codec codec_l16_16k = L16(16000, CODEC_16K);
const struct codec codec_l16_48k = L16(48000, CODEC_48K);
