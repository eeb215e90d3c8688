/* SPDX-License-Identifier: MIT */
/* codec/codec_resample.c: from one rate to another, by speexdsp. Between codecs it is seldom needed: all that matter
 * make and take sound at a common rate by themselves. */
#include <speex/speex_resampler.h>

#include "codec/codec.h"
#include "mem/mem.h"

enum { QUALITY = 3, RATE_MIN = 1000, RATE_MAX = 192000 /* of files */ };

struct codec_resampler {
    SpeexResamplerState *state;
    uint32_t from_hz, to_hz;
};

static bool rate_of_ours(uint32_t hz)
{
    return hz == 8000 || hz == 16000 || hz == 48000;
}

enum err codec_resampler_new(uint32_t from_hz, uint32_t to_hz,
                             struct codec_resampler **ret_resampler)
{
    if (from_hz < RATE_MIN || from_hz > RATE_MAX || !rate_of_ours(to_hz))
        return ERR_UNSUPPORTED;
    struct codec_resampler *r = MEM_TAKE(struct codec_resampler);
    int rc = 0;
    if (r)
        r->state = speex_resampler_init(1, from_hz, to_hz, QUALITY, &rc);
    if (!r || !r->state) {
        MEM_GIVE(r);
        return ERR_NOMEM;
    }
    r->from_hz = from_hz;
    r->to_hz = to_hz;
    *ret_resampler = r;
    return ERR_OK;
}

void codec_resampler_free(struct codec_resampler *r)
{
    if (!r)
        return;
    speex_resampler_destroy(r->state);
    MEM_GIVE(r);
}

void codec_resampler_reset(struct codec_resampler *r)
{
    speex_resampler_reset_mem(r->state);
}

size_t codec_resample(struct codec_resampler *r, const int16_t *pcm, size_t n, int16_t *out,
                      size_t room)
{
    size_t made = 0;
    while (n > 0) {
        spx_uint32_t in = (spx_uint32_t)n, fits = (spx_uint32_t)(room - made);
        if (speex_resampler_process_int(r->state, 0, pcm, &in, out + made, &fits) ||
            (in == 0 && fits == 0))
            break;
        pcm += in;
        n -= in;
        made += fits;
    }
    return made;
}
