/* SPDX-License-Identifier: MIT */
/* fuzz/codec_fuzz.c: any octets as payloads of any codec, in a row, with gaps. The first octet of each chooses codec
 * and rate, the second how long it is. */
#include <stdlib.h>

#include "codec/codec.h"
#include "mem/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static const struct codec *const codecs[] = {&codec_opus, &codec_g722,   &codec_pcma,
                                             &codec_pcmu, &codec_l16_8k, &codec_l16_48k};
enum { CODECS = sizeof(codecs) / sizeof(*codecs), PACKETS_MAX = 6 };

static void one(struct codec_decoder *d, const struct codec *c, uint32_t rate, sv payload, bool gap)
{
    static int16_t pcm[CODEC_SAMPLES_MAX];
    uint32_t ticks = 0;
    size_t n = 0;
    if (gap && !codec_decode_fec(d, payload, pcm, rate / 50))
        codec_conceal(d, pcm, rate / 50);
    enum err counted = codec_ticks(c, payload, &ticks);
    enum err rc = codec_decode(d, payload, pcm, CODEC_SAMPLES_MAX, &n);
    must(!rc || counted || c == &codec_opus); /* Opus may still find that a frame is none */
    must(rc ||
         (n == (size_t)ticks * (rate / 1000) / (c->clock_hz / 1000) && n <= CODEC_SAMPLES_MAX));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t rates[] = {8000, 16000, 48000};
    if (size < 2)
        return 0;
    const struct codec *c = codecs[data[0] % CODECS];
    uint32_t rate = rates[data[1] % 3];
    struct codec_decoder *d;
    if (codec_decoder_new(c, rate, &d))
        return 0;
    struct codec_noise noise;
    codec_noise_init(&noise, data[1]);
    size_t at = 2;
    for (int i = 0; i < PACKETS_MAX && size - at >= 2; i++) {
        bool gap = data[at] & 0x80;
        size_t n = (size_t)(data[at] & 7) << 8 | data[at + 1];
        at += 2;
        n = n < size - at ? n : size - at;
        sv payload = {(const char *)data + at, n};
        one(d, c, rate, payload, gap);
        if (!codec_noise_read(&noise, payload)) {
            int16_t pcm[80];
            codec_noise_make(&noise, pcm, 80);
            must(codec_noise_level(pcm, 80) <= NOISE_LEVEL_MAX);
        }
        at += n;
    }
    struct codec_wish w;
    codec_wish_read((sv){(const char *)data, size}, &w);
    must(w.bitrate <= 510000 && w.playback_hz <= 48000);
    codec_decoder_free(d);
    return 0;
}
