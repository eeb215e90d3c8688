/* SPDX-License-Identifier: MIT */
/* codec/codec_g711.c: PCMU and PCMA. G.711 Tables 1 and 2: eight segments of sixteen steps, each segment's steps
 * twice as wide as those of the one before.
 *
 * An octet is sign, segment, step. mu-law counts in quarters of a 16-bit unit from a bias of 33 and is sent inverted;
 * A-law counts in sixteenths and is sent with every other bit inverted. */
#include "codec/codec_priv.h"

#include "mem/mem.h"

enum { ULAW_BIAS = 33 << 2, ALAW_MASK = 0x55, SIGN = 0x80 };

/* Tables are written out by the compiler. */
#define ROW_4(f, i)  f(i), f((i) + 1), f((i) + 2), f((i) + 3)
#define ROW_16(f, i) ROW_4(f, i), ROW_4(f, (i) + 4), ROW_4(f, (i) + 8), ROW_4(f, (i) + 12)
#define ROW_64(f, i) ROW_16(f, i), ROW_16(f, (i) + 16), ROW_16(f, (i) + 32), ROW_16(f, (i) + 48)
#define ALL_256(f)   ROW_64(f, 0), ROW_64(f, 64), ROW_64(f, 128), ROW_64(f, 192)

#define ULAW_SIZE(o) (((((~(o)) & 15) << 3) + ULAW_BIAS) << ((~(o) >> 4) & 7))
#define ULAW(o)      (int16_t)((o)&SIGN ? ULAW_SIZE(o) - ULAW_BIAS : ULAW_BIAS - ULAW_SIZE(o))

#define ALAW_STEP(o)    (((o) ^ ALAW_MASK) & 15)
#define ALAW_SEGMENT(o) ((((o) ^ ALAW_MASK) >> 4) & 7)
#define ALAW_SIZE(o)                                                                    \
    (ALAW_SEGMENT(o)                                                                    \
         ? ((ALAW_STEP(o) << 4) + 0x108) << (ALAW_SEGMENT(o) ? ALAW_SEGMENT(o) - 1 : 0) \
         : (ALAW_STEP(o) << 4) + 8)
#define ALAW(o) (int16_t)((o)&SIGN ? ALAW_SIZE(o) : -ALAW_SIZE(o))

static const int16_t ulaw_table[256] = {ALL_256(ULAW)};
static const int16_t alaw_table[256] = {ALL_256(ALAW)};

/* The place of the highest bit; v is over 0. */
static inline unsigned top_bit(unsigned v)
{
    return 31 - (unsigned)__builtin_clz(v);
}

static inline uint8_t ulaw_of(int v)
{
    unsigned sign = v < 0 ? 0 : SIGN;
    unsigned size = (unsigned)(v < 0 ? -v : v) + ULAW_BIAS;
    if (size > 0x7fff)
        size = 0x7fff;
    unsigned segment = top_bit(size) - 7;
    unsigned octet = segment << 4 | (size >> (segment + 3) & 15);
    return (uint8_t)((octet ^ 0x7f) | sign);
}

static inline uint8_t alaw_of(int v)
{
    unsigned sign = v < 0 ? 0 : SIGN;
    unsigned size =
        (unsigned)(v < 0 ? ~v : v); /* decision values belong to the outer step on either side */
    unsigned segment = top_bit(size | 0xff) - 7;
    unsigned octet = segment << 4 | (size >> (segment ? segment + 3 : 4) & 15);
    return (uint8_t)((octet | sign) ^ ALAW_MASK);
}

static size_t g711_decoder_size(void)
{
    return sizeof(struct gap);
}

static enum err g711_decoder_init(void *state, uint32_t rate_hz)
{
    gap_init(state, rate_hz);
    return ERR_OK;
}

static enum err g711_decode(struct gap *g, const int16_t *table, sv payload, int16_t *pcm,
                            size_t room, size_t *ret_n)
{
    if (payload.n > room)
        return ERR_TOOBIG;
    for (size_t i = 0; i < payload.n; i++)
        pcm[i] = table[(uint8_t)payload.p[i]];
    gap_hear(g, pcm, payload.n);
    *ret_n = payload.n;
    return ERR_OK;
}

static enum err ulaw_decode(void *state, sv payload, int16_t *pcm, size_t room, size_t *ret_n)
{
    return g711_decode(state, ulaw_table, payload, pcm, room, ret_n);
}

static enum err alaw_decode(void *state, sv payload, int16_t *pcm, size_t room, size_t *ret_n)
{
    return g711_decode(state, alaw_table, payload, pcm, room, ret_n);
}

static void g711_conceal(void *state, int16_t *pcm, size_t n)
{
    gap_conceal(state, pcm, n);
}

static size_t g711_encoder_size(void)
{
    return 0;
}

static enum err g711_encoder_init(void *state, uint32_t rate_hz, const struct codec_wish *w)
{
    (void)state;
    (void)rate_hz;
    (void)w;
    return ERR_OK;
}

static enum err ulaw_encode(void *state, const int16_t *pcm, size_t n, uint8_t *out, size_t room,
                            size_t *ret_n)
{
    (void)state;
    if (n > room)
        return ERR_TOOBIG;
    for (size_t i = 0; i < n; i++)
        out[i] = ulaw_of(pcm[i]);
    *ret_n = n;
    return ERR_OK;
}

static enum err alaw_encode(void *state, const int16_t *pcm, size_t n, uint8_t *out, size_t room,
                            size_t *ret_n)
{
    (void)state;
    if (n > room)
        return ERR_TOOBIG;
    for (size_t i = 0; i < n; i++)
        out[i] = alaw_of(pcm[i]);
    *ret_n = n;
    return ERR_OK;
}

static enum err g711_ticks(sv payload, uint32_t *ret_ticks)
{
    *ret_ticks = (uint32_t)payload.n;
    return ERR_OK;
}

const struct codec codec_pcmu = {
    .name = "PCMU",
    .pt = 0,
    .channels = 1,
    .clock_hz = 8000,
    .rates = CODEC_8K,
    .decoder_size = g711_decoder_size,
    .decoder_init = g711_decoder_init,
    .decode = ulaw_decode,
    .conceal = g711_conceal,
    .encoder_size = g711_encoder_size,
    .encoder_init = g711_encoder_init,
    .encode = ulaw_encode,
    .ticks = g711_ticks,
};

const struct codec codec_pcma = {
    .name = "PCMA",
    .pt = 8,
    .channels = 1,
    .clock_hz = 8000,
    .rates = CODEC_8K,
    .decoder_size = g711_decoder_size,
    .decoder_init = g711_decoder_init,
    .decode = alaw_decode,
    .conceal = g711_conceal,
    .encoder_size = g711_encoder_size,
    .encoder_init = g711_encoder_init,
    .encode = alaw_encode,
    .ticks = g711_ticks,
};
