/* SPDX-License-Identifier: MIT */
/* codec/codec_gap.c: what is heard where a packet is missing. */
#include <math.h>
#include <string.h>

#include "codec/codec_priv.h"

/* G.711 Appendix I: the first 10 ms at full strength, then to nothing over 50 ms. */
enum { FULL_US = 10000, FADE_US = 50000, BLEND_MAX_US = 5000 };

static size_t samples(const struct gap *g, uint32_t us)
{
    return (size_t)g->rate_hz / 1000 * us / 1000;
}

void gap_init(struct gap *g, uint32_t rate_hz)
{
    memset(g, 0, sizeof(*g));
    g->rate_hz = rate_hz;
    g->keep = samples(g, GAP_PERIOD_MAX_US + GAP_WINDOW_US);
}

/* How much the newest part of the history is like that `lag` before it, every step-th sample looked at:
 * a normalised correlation, 0 to 1. */
static float likeness(const struct gap *g, size_t lag, size_t step)
{
    size_t window = samples(g, GAP_WINDOW_US);
    const int16_t *now = g->history + g->keep - window, *then = now - lag;
    float both = 0, a = 1, b = 1;
    for (size_t i = 0; i < window; i += step) {
        float x = now[i], y = then[i];
        both += x * y;
        a += x * x;
        b += y * y;
    }
    return both <= 0 ? 0 : both / sqrtf(a * b);
}

static size_t find_period(const struct gap *g)
{
    size_t least = samples(g, GAP_PERIOD_MIN_US), most = samples(g, GAP_PERIOD_MAX_US);
    size_t step = g->rate_hz / 4000, best = most; /* of what is like nothing, as much as there is */
    float found = 0.3F;
    for (size_t lag = least; lag <= most; lag += step) {
        float l = likeness(g, lag, step);
        if (l > found * 1.02F) { /* of multiples of the period the shortest */
            found = l;
            best = lag;
        }
    }
    size_t from = best - least < step ? least : best - step + 1;
    size_t to = best + step > most ? most : best + step - 1;
    found = 0;
    for (size_t lag = from; lag <= to; lag++) {
        float l = likeness(g, lag, step / 2);
        if (l > found) {
            found = l;
            best = lag;
        }
    }
    return best;
}

/* The last period, its last quarter blended with what came before it: so that its end leads to its begin. */
static void begin_gap(struct gap *g)
{
    g->period = find_period(g);
    g->at = 0;
    const int16_t *end = g->history + g->keep;
    size_t blend = g->period / 4;
    memcpy(g->cycle, end - g->period, g->period * sizeof(*g->cycle));
    for (size_t i = 0; i < blend; i++) {
        float w = (float)(i + 1) / (float)blend;
        g->cycle[g->period - blend + i] =
            clip16((1 - w) * end[(ptrdiff_t)i - (ptrdiff_t)blend] +
                   w * end[(ptrdiff_t)i - (ptrdiff_t)blend - (ptrdiff_t)g->period]);
    }
    g->bend = (float)end[-1] - g->cycle[g->period - 1];
}

static int16_t next_sample(struct gap *g)
{
    size_t full = samples(g, FULL_US), fade = samples(g, FADE_US), bent = g->period / 4;
    float v = g->cycle[g->at];
    if (g->lost < bent)
        v += g->bend * (1 - (float)(g->lost + 1) / (float)bent);
    if (g->lost >= full + fade)
        v = 0;
    else if (g->lost > full)
        v *= 1 - (float)(g->lost - full) / (float)fade;
    g->lost++;
    if (++g->at == g->period)
        g->at = 0;
    return clip16(v);
}

static void remember(struct gap *g, const int16_t *pcm, size_t n)
{
    if (n >= g->keep) {
        memcpy(g->history, pcm + n - g->keep, g->keep * sizeof(*pcm));
        return;
    }
    memmove(g->history, g->history + n, (g->keep - n) * sizeof(*pcm));
    memcpy(g->history + g->keep - n, pcm, n * sizeof(*pcm));
}

void gap_conceal(struct gap *g, int16_t *pcm, size_t n)
{
    if (g->lost == 0 && n > 0)
        begin_gap(g);
    for (size_t i = 0; i < n; i++)
        pcm[i] = next_sample(g);
    remember(g, pcm, n);
}

void gap_hear(struct gap *g, int16_t *pcm, size_t n)
{
    if (g->lost && n > 0) {
        size_t blend = samples(g, BLEND_MAX_US);
        if (blend > n)
            blend = n;
        for (size_t i = 0; i < blend; i++) {
            float w = (float)(i + 1) / (float)(blend + 1);
            pcm[i] = clip16(w * pcm[i] + (1 - w) * next_sample(g));
        }
        g->lost = 0;
    }
    remember(g, pcm, n);
}
