/* SPDX-License-Identifier: MIT */
/* codec/codec.c: which codecs there are; what is asked of each before it sees an octet. */
#include "codec/codec.h"

#include <stddef.h>

#include "mem/mem.h"
#include "sdp/sdp.h"

struct codec_decoder {
    const struct codec *c;
    uint32_t rate_hz;
    _Alignas(max_align_t) char state[];
};

struct codec_encoder {
    const struct codec *c;
    uint32_t rate_hz;
    _Alignas(max_align_t) char state[];
};

static const struct codec *const all[] = {&codec_opus,   &codec_g722,    &codec_pcma,   &codec_pcmu,
                                          &codec_l16_8k, &codec_l16_16k, &codec_l16_48k};
enum { ALL = sizeof(all) / sizeof(*all), PTIME_LEAST_MS = 10 };

const struct codec *codec_find(sv name, uint32_t clock_hz, unsigned channels)
{
    for (size_t i = 0; i < ALL; i++)
        if (sv_ieq(name, sv_of(all[i]->name)) && clock_hz == all[i]->clock_hz &&
            (channels ? channels : 1) == all[i]->channels)
            return all[i];
    return NULL;
}

const struct codec *codec_of_pt(uint8_t pt)
{
    for (size_t i = 0; i < ALL; i++)
        if (pt != CODEC_DYNAMIC && pt == all[i]->pt)
            return all[i];
    return NULL;
}

static uint32_t rate_set(uint32_t rate_hz)
{
    return rate_hz == 8000    ? CODEC_8K
           : rate_hz == 16000 ? CODEC_16K
           : rate_hz == 48000 ? CODEC_48K
                              : 0;
}

bool codec_takes(const struct codec *c, uint32_t rate_hz)
{
    return (c->rates & rate_set(rate_hz)) != 0;
}

static uint32_t highest(uint32_t set)
{
    return set & CODEC_48K ? 48000 : set & CODEC_16K ? 16000 : 8000;
}

uint32_t codec_common_rate(const struct codec *from, const struct codec *to)
{
    return highest(from->rates & to->rates ? from->rates & to->rates : from->rates);
}

uint32_t codec_best_rate(const struct codec *c)
{
    return highest(c->rates);
}

uint32_t codec_ptime(const struct codec *c, uint32_t ms)
{
    /* what it takes to stay below CODEC_PAYLOAD_MAX */
    uint32_t most = c->rates == CODEC_48K ? PTIME_LEAST_MS : c->rates == CODEC_16K ? 40 : 60;
    if (ms > most)
        ms = most;
    while (ms > PTIME_LEAST_MS && c->frame_fits && !c->frame_fits(ms))
        ms--;
    return ms < PTIME_LEAST_MS ? PTIME_LEAST_MS : ms;
}

/* What every codec refuses. */
static enum err check(const struct codec *c, sv payload, uint32_t *ret_ticks)
{
    if (payload.n == 0)
        return ERR_SYNTAX;
    if (payload.n > CODEC_PAYLOAD_MAX)
        return ERR_TOOBIG;
    TRY(c->ticks(payload, ret_ticks));
    return *ret_ticks > c->clock_hz / 1000 * CODEC_MS_MAX ? ERR_TOOBIG : ERR_OK;
}

enum err codec_ticks(const struct codec *c, sv payload, uint32_t *ret_ticks)
{
    uint32_t ticks;
    TRY(check(c, payload, &ticks));
    *ret_ticks = ticks;
    return ERR_OK;
}

/* ---- from octets to sound ---- */

size_t codec_decoder_size(const struct codec *c)
{
    return sizeof(struct codec_decoder) + c->decoder_size();
}

enum err codec_decoder_init(void *mem, const struct codec *c, uint32_t rate_hz,
                            struct codec_decoder **ret_decoder)
{
    struct codec_decoder *d = mem;
    if (!codec_takes(c, rate_hz))
        return ERR_UNSUPPORTED;
    d->c = c;
    d->rate_hz = rate_hz;
    TRY(c->decoder_init(d->state, rate_hz));
    *ret_decoder = d;
    return ERR_OK;
}

enum err codec_decoder_new(const struct codec *c, uint32_t rate_hz,
                           struct codec_decoder **ret_decoder)
{
    size_t n = codec_decoder_size(c);
    void *mem = mem_take(n);
    if (!mem)
        return ERR_NOMEM;
    enum err rc = codec_decoder_init(mem, c, rate_hz, ret_decoder);
    if (rc)
        mem_give(mem, n);
    return rc;
}

void codec_decoder_free(struct codec_decoder *d)
{
    if (d)
        mem_give(d, codec_decoder_size(d->c));
}

enum err codec_decode(struct codec_decoder *d, sv payload, int16_t *pcm, size_t room, size_t *ret_n)
{
    uint32_t ticks;
    TRY(check(d->c, payload, &ticks));
    return d->c->decode(d->state, payload, pcm, room, ret_n);
}

bool codec_decode_fec(struct codec_decoder *d, sv next, int16_t *pcm, size_t n)
{
    uint32_t ticks;
    return d->c->decode_fec && n <= CODEC_SAMPLES_MAX && !check(d->c, next, &ticks) &&
           d->c->decode_fec(d->state, next, pcm, n);
}

void codec_conceal(struct codec_decoder *d, int16_t *pcm, size_t n)
{
    d->c->conceal(d->state, pcm, n > CODEC_SAMPLES_MAX ? CODEC_SAMPLES_MAX : n);
}

/* ---- from sound to octets ---- */

size_t codec_encoder_size(const struct codec *c)
{
    return sizeof(struct codec_encoder) + c->encoder_size();
}

enum err codec_encoder_init(void *mem, const struct codec *c, uint32_t rate_hz,
                            const struct codec_wish *w, struct codec_encoder **ret_encoder)
{
    static const struct codec_wish none = {0};
    struct codec_encoder *e = mem;
    if (!codec_takes(c, rate_hz))
        return ERR_UNSUPPORTED;
    e->c = c;
    e->rate_hz = rate_hz;
    TRY(c->encoder_init(e->state, rate_hz, w ? w : &none));
    *ret_encoder = e;
    return ERR_OK;
}

enum err codec_encoder_new(const struct codec *c, uint32_t rate_hz, const struct codec_wish *w,
                           struct codec_encoder **ret_encoder)
{
    size_t n = codec_encoder_size(c);
    void *mem = mem_take(n);
    if (!mem)
        return ERR_NOMEM;
    enum err rc = codec_encoder_init(mem, c, rate_hz, w, ret_encoder);
    if (rc)
        mem_give(mem, n);
    return rc;
}

void codec_encoder_free(struct codec_encoder *e)
{
    if (e)
        mem_give(e, codec_encoder_size(e->c));
}

enum err codec_encode(struct codec_encoder *e, const int16_t *pcm, size_t n, uint8_t *out,
                      size_t room, size_t *ret_n)
{
    uint32_t per_ms = e->rate_hz / 1000;
    if (n == 0 || n % per_ms || n / per_ms > CODEC_MS_MAX)
        return ERR_RANGE;
    return e->c->encode(e->state, pcm, n, out, room, ret_n);
}

void codec_set_loss(struct codec_encoder *e, unsigned percent)
{
    if (e->c->set_loss)
        e->c->set_loss(e->state, percent);
}

/* ---- what the receiver wishes ---- */

static void wish_number(sv value, uint32_t least, uint32_t most, uint32_t *ret)
{
    uint64_t v;
    if (!sv_u64(value, most, &v) && v >= least)
        *ret = (uint32_t)v;
}

static void wish_flag(sv value, bool *ret)
{
    if (sv_eq(value, SV("1")) || sv_eq(value, SV("0")))
        *ret = value.p[0] == '1';
}

void codec_wish_read(sv fmtp, struct codec_wish *ret_wish)
{
    struct codec_wish w = {0};
    sv name, value;
    while (sdp_fmtp_next(&fmtp, &name, &value)) {
        if (sv_ieq(name, SV("maxaveragebitrate")))
            wish_number(value, 6000, 510000, &w.bitrate);
        else if (sv_ieq(name, SV("maxplaybackrate")))
            wish_number(value, 8000, 48000, &w.playback_hz);
        else if (sv_ieq(name, SV("useinbandfec")))
            wish_flag(value, &w.fec);
        else if (sv_ieq(name, SV("usedtx")))
            wish_flag(value, &w.dtx);
        else if (sv_ieq(name, SV("cbr")))
            wish_flag(value, &w.cbr);
        else if (sv_ieq(name, SV("stereo")))
            wish_flag(value, &w.stereo);
        else if (sv_ieq(name, SV("minptime")))
            wish_number(value, 3, CODEC_MS_MAX, &w.minptime_ms);
    }
    *ret_wish = w;
}
