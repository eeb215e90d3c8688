/* SPDX-License-Identifier: MIT */
/* codec/codec_noise.c: comfort noise (RFC 3389): white noise through a lattice of the reflection coefficients.
 *
 *   f[i-1] = f[i] - k[i] b[i-1]z^-1        A(z) of order 1 is 1 + k z^-1, as in G.711 Appendix II
 *   b[i]   = b[i-1]z^-1 + k[i] f[i-1]
 *
 * What comes out is stronger than what goes in by 1 / prod(1 - k^2), which the gain takes back. */
#include <math.h>
#include <string.h>

#include "codec/codec_priv.h"

/* 0 dBov is a square wave at the overload point (RFC 3389 §3.1). */
#define OVERLOAD 32768.0F
/* A uniform number in -1..1 has a third of the power of such a wave. */
#define UNIFORM_GAIN 1.7320508F

void codec_noise_init(struct codec_noise *n, uint32_t seed)
{
    memset(n, 0, sizeof(*n));
    n->chance = seed | 1;
}

static void set(struct codec_noise *n, unsigned level)
{
    float left = 1;
    for (unsigned i = 0; i < n->order; i++)
        left *= 1 - n->k[i] * n->k[i];
    n->gain = level >= NOISE_LEVEL_MAX
                  ? 0
                  : OVERLOAD * powf(10, -(float)level / 20) * sqrtf(left) * UNIFORM_GAIN;
}

enum err codec_noise_read(struct codec_noise *n, sv payload)
{
    if (payload.n == 0)
        return ERR_SYNTAX;
    unsigned order = payload.n - 1 > NOISE_ORDER_MAX ? NOISE_ORDER_MAX : (unsigned)payload.n - 1;
    if (order != n->order)
        memset(n->b, 0, sizeof(n->b));
    n->order = order;
    for (unsigned i = 0; i < order; i++) {
        int index = (uint8_t)payload.p[1 + i];
        n->k[i] = index == 255 ? 0 : (float)(258 * (index - 127)) / 32768; /* §3.2; 255: reserved */
    }
    set(n, (uint8_t)payload.p[0] & 0x7f);
    return ERR_OK;
}

void codec_noise_set(struct codec_noise *n, unsigned level)
{
    n->order = 0;
    set(n, level);
}

static float uniform(struct codec_noise *n)
{
    uint32_t x = n->chance; /* xorshift: noise, not chance that matters */
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    n->chance = x;
    return (float)(int32_t)x / 2147483648.0F;
}

void codec_noise_make(struct codec_noise *n, int16_t *pcm, size_t count)
{
    for (size_t s = 0; s < count; s++) {
        float f = uniform(n) * n->gain;
        for (unsigned i = n->order; i-- > 0;) {
            f -= n->k[i] * n->b[i];
            if (i + 1 < n->order)
                n->b[i + 1] = n->b[i] + n->k[i] * f;
        }
        n->b[0] = f;
        pcm[s] = clip16(f);
    }
}

unsigned codec_noise_level(const int16_t *pcm, size_t count)
{
    float power = 0;
    for (size_t i = 0; i < count; i++)
        power += (float)pcm[i] * pcm[i];
    if (count == 0 || power <= 0)
        return NOISE_LEVEL_MAX;
    float db = -10 * log10f(power / (float)count / (OVERLOAD * OVERLOAD));
    return db <= 0 ? 0 : db >= NOISE_LEVEL_MAX ? NOISE_LEVEL_MAX : (unsigned)(db + 0.5F);
}
