/* SPDX-License-Identifier: MIT */
/* codec/codec_opus.c: Opus by libopus, which makes and takes sound at each of our rates by itself.
 *
 * RFC 7587 §4.1: the RTP clock counts 48000 a second whatever the rate of the sound is. Two channels are mixed by the
 * decoder. */
#include <opus/opus.h>

#include "codec/codec_priv.h"

enum {
    CLOCK = 48000,
    COMPLEXITY = 5,
    BITRATE_NARROW = 24000, /* telephone sound */
    BITRATE_WIDE = 32000,
    BITRATE_LEAST =
        6000,       /* RFC 7587 §6.1: maxaveragebitrate outside 6000 to 510000 SHOULD be ignored */
    DTX_OCTETS = 2, /* opus_encode: such a packet need not be sent */
    LOSS_MAX = 100
};

struct opus_out {
    bool fec, dtx;
    bool silent;           /* the receiver knows of the silence */
    max_align_t encoder[]; /* an OpusEncoder */
};

static size_t opus_in_size(void)
{
    return (size_t)opus_decoder_get_size(1);
}

static enum err opus_in_init(void *state, uint32_t rate_hz)
{
    return opus_decoder_init(state, (opus_int32)rate_hz, 1) == OPUS_OK ? ERR_OK : ERR_UNSUPPORTED;
}

static enum err error_of(int rc)
{
    return rc == OPUS_BUFFER_TOO_SMALL ? ERR_TOOBIG : ERR_SYNTAX;
}

static enum err opus_in_decode(void *state, sv payload, int16_t *pcm, size_t room, size_t *ret_n)
{
    int n = opus_decode(state, (const unsigned char *)payload.p, (opus_int32)payload.n, pcm,
                        (int)room, 0);
    if (n < 0)
        return error_of(n);
    *ret_n = (size_t)n;
    return ERR_OK;
}

/* Repair data is there (RFC 6716 §4.2.4): of each channel, behind the flags of voice activity of the first frame. */
static bool has_repair(const unsigned char *p, opus_int32 n)
{
    const unsigned char *frame[48];
    opus_int16 size[48];
    if ((p[0] & 0x80) || opus_packet_parse(p, n, NULL, frame, size, NULL) < 1 || size[0] < 1)
        return false; /* the highest bit: CELT alone */
    int parts = opus_packet_get_samples_per_frame(p, CLOCK) / (CLOCK / 50);
    if (parts < 1)
        parts = 1;
    return (frame[0][0] >> (7 - parts) & 1) ||
           (opus_packet_get_nb_channels(p) == 2 && (frame[0][0] >> (6 - 2 * parts) & 1));
}

/* RFC 7587 §3.3: repair data stands in the packet behind the lost one. Longer gaps begin with concealment. */
static bool opus_in_fec(void *state, sv next, int16_t *pcm, size_t n)
{
    const unsigned char *p = (const unsigned char *)next.p;
    return has_repair(p, (opus_int32)next.n) &&
           opus_decode(state, p, (opus_int32)next.n, pcm, (int)n, 1) == (int)n;
}

/* libopus conceals in whole pieces of 2.5 ms, each of its longest frame at most. */
static void opus_in_conceal(void *state, int16_t *pcm, size_t n)
{
    opus_int32 rate = CLOCK;
    opus_decoder_ctl(state, OPUS_GET_SAMPLE_RATE(&rate));
    size_t step = (size_t)rate / 400, whole = n - n % step;
    int made = whole ? opus_decode(state, NULL, 0, pcm, (int)whole, 0) : 0;
    for (size_t i = made > 0 ? (size_t)made : 0; i < n; i++)
        pcm[i] = 0;
}

static size_t opus_out_size(void)
{
    return sizeof(struct opus_out) + (size_t)opus_encoder_get_size(1);
}

static opus_int32 bandwidth(uint32_t hz) /* RFC 7587 Table 1 */
{
    if (hz == 0 || hz > 24000)
        return OPUS_BANDWIDTH_FULLBAND;
    if (hz > 16000)
        return OPUS_BANDWIDTH_SUPERWIDEBAND;
    if (hz > 12000)
        return OPUS_BANDWIDTH_WIDEBAND;
    return hz > 8000 ? OPUS_BANDWIDTH_MEDIUMBAND : OPUS_BANDWIDTH_NARROWBAND;
}

static opus_int32 bitrate(uint32_t rate_hz, const struct codec_wish *w)
{
    uint32_t ours = rate_hz == 8000 ? BITRATE_NARROW : BITRATE_WIDE;
    if (w->playback_hz && w->playback_hz <= 8000)
        ours = BITRATE_NARROW;
    return (opus_int32)(w->bitrate >= BITRATE_LEAST && w->bitrate < ours ? w->bitrate : ours);
}

static enum err opus_out_init(void *state, uint32_t rate_hz, const struct codec_wish *w)
{
    struct opus_out *o = state;
    OpusEncoder *e = (OpusEncoder *)(void *)o->encoder;
    if (opus_encoder_init(e, (opus_int32)rate_hz, 1, OPUS_APPLICATION_VOIP) != OPUS_OK)
        return ERR_UNSUPPORTED;
    o->silent = false;
    o->fec = w->fec;
    o->dtx = w->dtx;
    opus_encoder_ctl(e, OPUS_SET_COMPLEXITY(COMPLEXITY));
    opus_encoder_ctl(e, OPUS_SET_BITRATE(bitrate(rate_hz, w)));
    opus_encoder_ctl(e, OPUS_SET_VBR(!w->cbr));
    opus_encoder_ctl(e, OPUS_SET_DTX(w->dtx));
    opus_encoder_ctl(e, OPUS_SET_SIGNAL(OPUS_SIGNAL_VOICE));
    opus_encoder_ctl(e, OPUS_SET_MAX_BANDWIDTH(bandwidth(w->playback_hz)));
    return ERR_OK;
}

static enum err opus_out_encode(void *state, const int16_t *pcm, size_t n, uint8_t *out,
                                size_t room, size_t *ret_n)
{
    struct opus_out *o = state;
    opus_int32 made =
        opus_encode((OpusEncoder *)(void *)o->encoder, pcm, (int)n, out, (opus_int32)room);
    if (made < 0)
        return made == OPUS_BUFFER_TOO_SMALL ? ERR_TOOBIG : ERR_RANGE;
    bool silent = o->dtx && made <= DTX_OCTETS;
    *ret_n = silent && o->silent ? 0 : (size_t)made; /* the first tells the decoder */
    o->silent = silent;
    return ERR_OK;
}

static void opus_out_loss(void *state, unsigned percent)
{
    struct opus_out *o = state;
    OpusEncoder *e = (OpusEncoder *)(void *)o->encoder;
    opus_int32 loss = (opus_int32)(percent > LOSS_MAX ? LOSS_MAX : percent);
    opus_encoder_ctl(e, OPUS_SET_INBAND_FEC(o->fec && loss > 0));
    opus_encoder_ctl(e, OPUS_SET_PACKET_LOSS_PERC(loss));
}

static enum err opus_ticks(sv payload, uint32_t *ret_ticks)
{
    int n =
        opus_packet_get_nb_samples((const unsigned char *)payload.p, (opus_int32)payload.n, CLOCK);
    if (n <= 0)
        return ERR_SYNTAX;
    *ret_ticks = (uint32_t)n;
    return ERR_OK;
}

static bool opus_frame_fits(uint32_t ms) /* RFC 7587 §4.2, in whole ms and not too small */
{
    return ms == 10 || ms == 20 || ms == 40 || ms == 60;
}

const struct codec codec_opus = {
    .name = "opus",
    .pt = CODEC_DYNAMIC,
    .channels = 2, /* RFC 7587 §7: "the number of channels MUST be 2" */
    .clock_hz = CLOCK,
    .rates = CODEC_8K | CODEC_16K | CODEC_48K,
    .decoder_size = opus_in_size,
    .decoder_init = opus_in_init,
    .decode = opus_in_decode,
    .decode_fec = opus_in_fec,
    .conceal = opus_in_conceal,
    .encoder_size = opus_out_size,
    .encoder_init = opus_out_init,
    .encode = opus_out_encode,
    .set_loss = opus_out_loss,
    .ticks = opus_ticks,
    .frame_fits = opus_frame_fits,
};
