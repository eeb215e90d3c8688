/* SPDX-License-Identifier: MIT */
/* transcoding: what a stream costs that is transcoded, beside libopus alone.
 *
 *   transcoding [SECONDS]
 *
 * The same frames with the same settings, a second by libopus and a second by us, in turns: the load of the machine meets
 * both. Printed are microseconds of CPU for 20 ms of sound, and the median of the seconds' ratios. The sound is made:
 * syllables of a voice, with pauses. */
#include <math.h>
#include <opus/opus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "transcode/transcode.h"

enum { SECONDS_MAX = 600, FRAMES = 50, WIDE = 960, NARROW = 160 };

/* Twice over: packets that came, and what libopus gets of them. */
static int16_t wide[FRAMES][WIDE], narrow[FRAMES][NARROW];
static uint8_t ulaw[FRAMES][NARROW], opus[FRAMES][CODEC_PAYLOAD_MAX];
static size_t opus_n[FRAMES];
static volatile unsigned sink;

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* ---- a voice ---- */

static double noise(void)
{
    return (double)rand() / RAND_MAX * 2 - 1;
}

/* Pulses of the throat, or breath, through three resonances that wander: syllables of 200 ms. */
static void speak(int16_t *pcm, size_t n)
{
    static double y[3][2], at, phase;
    static const double formants[5][3] = {{730, 1090, 2440},
                                          {270, 2290, 3010},
                                          {300, 870, 2240},
                                          {530, 1840, 2480},
                                          {570, 840, 2410}};
    for (size_t i = 0; i < n; i++, at += 1.0 / 48000) {
        unsigned syllable = (unsigned)(at * 5);
        const double *f = formants[syllable * 7 % 5];
        double within = at * 5 - syllable, loud = syllable % 9 > 6 ? 0 : sin(M_PI * within);
        double hz = 110 + 30 * sin(at * 3) + 10 * sin(at * 17);
        phase += hz / 48000;
        double x = syllable % 4 == 3 ? 0.05 * noise() : phase >= 1 ? 1 : 0.002 * noise();
        phase -= phase >= 1;
        for (int k = 0; k < 3; k++) {
            double r = exp(-M_PI * 90 / 48000), c = 2 * r * cos(2 * M_PI * f[k] / 48000);
            double v = x + c * y[k][0] - r * r * y[k][1];
            y[k][1] = y[k][0];
            y[k][0] = v;
            x = v * 0.08;
        }
        double v = x * loud * 3e6 + 20 * noise();
        pcm[i] = (int16_t)(v > 32000 ? 32000 : v < -32000 ? -32000 : v);
    }
}

/* ---- both ways ---- */

static OpusEncoder *encoder(int hz, int complexity)
{
    int rc;
    OpusEncoder *e = opus_encoder_create(hz, 1, OPUS_APPLICATION_VOIP, &rc);
    if (!e)
        exit(1);
    opus_encoder_ctl(e, OPUS_SET_COMPLEXITY(complexity));
    opus_encoder_ctl(e, OPUS_SET_BITRATE(hz == 8000 ? 24000 : 32000));
    opus_encoder_ctl(e, OPUS_SET_SIGNAL(OPUS_SIGNAL_VOICE));
    return e;
}

static void take(void *arg, const struct rtpmsg *p)
{
    (void)arg;
    sink += (unsigned)p->payload.n + (uint8_t)p->payload.p[0];
}

static struct transcode *direction(const struct codec *from, const struct codec *to)
{
    struct transcode_config c = {.in = {{.pt = 96, .codec = from}},
                                 .in_n = 1,
                                 .in_cn = TRANSCODE_NO_PT,
                                 .out = {.pt = 97, .codec = to},
                                 .out_cn = TRANSCODE_NO_PT,
                                 .out_event = TRANSCODE_NO_PT};
    struct transcode_handler h = {.send = take};
    struct transcode *t;
    if (transcode_new(&c, &h, NULL, 0, &t))
        exit(1);
    return t;
}

/* A second of packets into t. */
static double ours(struct transcode *t, uint32_t clock_hz, unsigned second, const uint8_t *p,
                   size_t stride, const size_t *n)
{
    double from = cpu_us();
    for (unsigned i = 0; i < FRAMES; i++) {
        unsigned at = second * FRAMES + i;
        struct rtpmsg in = {.pt = 96,
                            .seq = (uint16_t)at,
                            .ts = at * (clock_hz / 50),
                            .payload = {(const char *)p + i * stride, n ? n[i] : stride}};
        transcode_rtp(t, (usec)at * 20000, &in);
    }
    return (cpu_us() - from) / FRAMES;
}

static double theirs_encode(OpusEncoder *e)
{
    uint8_t out[CODEC_PAYLOAD_MAX];
    double from = cpu_us();
    for (unsigned i = 0; i < FRAMES; i++)
        sink += (unsigned)opus_encode(e, narrow[i], NARROW, out, sizeof(out));
    return (cpu_us() - from) / FRAMES;
}

static double theirs_decode(OpusDecoder *d, int samples)
{
    int16_t pcm[WIDE];
    double from = cpu_us();
    for (unsigned i = 0; i < FRAMES; i++)
        sink += (unsigned)opus_decode(d, opus[i], (opus_int32)opus_n[i], pcm, samples, 0);
    return (cpu_us() - from) / FRAMES;
}

struct line {
    const char *what;
    double theirs[SECONDS_MAX], ours[SECONDS_MAX];
};
static struct line to_opus = {.what = "PCMU to Opus"}, from_opus = {.what = "Opus to PCMU"},
                   wideband = {.what = "Opus to G722"}, cheap = {.what = "PCMU to G722"};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *v, unsigned n)
{
    double sorted[SECONDS_MAX];
    memcpy(sorted, v, n * sizeof(*v));
    qsort(sorted, n, sizeof(*sorted), by_value);
    return sorted[n / 2];
}

static void print(const struct line *l, unsigned n)
{
    double ratio[SECONDS_MAX];
    for (unsigned i = 0; i < n; i++)
        ratio[i] = l->theirs[i] > 0 ? l->ours[i] / l->theirs[i] : 0;
    printf("%-14s libopus %7.1f us   tandem %7.1f us   ratio %.3f\n", l->what, median(l->theirs, n),
           median(l->ours, n), median(ratio, n));
}

static void next_second(OpusEncoder *browser, struct codec_resampler *r, struct codec_encoder *mu)
{
    size_t n;
    for (unsigned i = 0; i < FRAMES; i++) {
        int16_t more[NARROW + 1] = {0};
        speak(wide[i], WIDE);
        codec_resample(r, wide[i], WIDE, more, NARROW + 1);
        if (codec_encode(mu, more, NARROW, ulaw[i], NARROW, &n))
            exit(1);
        opus_n[i] = (size_t)opus_encode(browser, wide[i], WIDE, opus[i], CODEC_PAYLOAD_MAX);
    }
}

/* What libopus is to encode is what comes out of the octets that we get. */
static void decode_ulaw(struct codec_decoder *d)
{
    size_t n;
    for (unsigned i = 0; i < FRAMES; i++)
        if (codec_decode(d, (sv){(const char *)ulaw[i], NARROW}, narrow[i], NARROW, &n))
            exit(1);
}

static void by_complexity(unsigned seconds, struct codec_resampler *r, struct codec_encoder *mu,
                          struct codec_decoder *d)
{
    OpusEncoder *browser = encoder(48000, 9), *e[11];
    double cost[11][SECONDS_MAX];
    for (int c = 0; c <= 10; c++)
        e[c] = encoder(8000, c);
    for (unsigned s = 0; s < seconds; s++) {
        next_second(browser, r, mu);
        decode_ulaw(d);
        for (int c = 0; c <= 10; c++)
            cost[c][s] = theirs_encode(e[c]);
    }
    printf("encoding 8 kHz at complexity");
    for (int c = 0; c <= 10; c++) {
        printf("  %d: %.0f us", c, median(cost[c], seconds));
        opus_encoder_destroy(e[c]);
    }
    printf("\n");
    opus_encoder_destroy(browser);
}

int main(int argc, char **argv)
{
    uint64_t asked = 20;
    int rc;
    if ((argc > 1 && sv_u64(sv_of(argv[1]), SECONDS_MAX, &asked)) || asked < 1) {
        fprintf(stderr, "usage: transcoding [SECONDS], 1 to %d\n", SECONDS_MAX);
        return 2;
    }
    unsigned seconds = (unsigned)asked;
    struct codec_resampler *r;
    struct codec_encoder *mu;
    struct codec_decoder *d;
    if (codec_resampler_new(48000, 8000, &r) || codec_encoder_new(&codec_pcmu, 8000, NULL, &mu) ||
        codec_decoder_new(&codec_pcmu, 8000, &d))
        return 1;
    OpusEncoder *browser = encoder(48000, 9), *alone = encoder(8000, 5);
    OpusDecoder *narrowband = opus_decoder_create(8000, 1, &rc),
                *wide_d = opus_decoder_create(16000, 1, &rc);
    struct transcode *a = direction(&codec_pcmu, &codec_opus),
                     *b = direction(&codec_opus, &codec_pcmu),
                     *c = direction(&codec_opus, &codec_g722),
                     *e = direction(&codec_pcmu, &codec_g722);
    if (!narrowband || !wide_d)
        return 1;
    for (unsigned s = 0; s < seconds; s++) {
        next_second(browser, r, mu);
        decode_ulaw(d);
        to_opus.theirs[s] = theirs_encode(alone);
        to_opus.ours[s] = ours(a, 8000, s, ulaw[0], NARROW, NULL);
        from_opus.theirs[s] = theirs_decode(narrowband, NARROW);
        from_opus.ours[s] = ours(b, 48000, s, opus[0], CODEC_PAYLOAD_MAX, opus_n);
        wideband.theirs[s] = theirs_decode(wide_d, 2 * NARROW);
        wideband.ours[s] = ours(c, 48000, s, opus[0], CODEC_PAYLOAD_MAX, opus_n);
        cheap.ours[s] = ours(e, 8000, s, ulaw[0], NARROW, NULL);
    }
    print(&to_opus, seconds);
    print(&from_opus, seconds);
    print(&wideband, seconds);
    print(&cheap, seconds);
    double both[2] = {median(to_opus.theirs, seconds) + median(from_opus.theirs, seconds),
                      median(to_opus.ours, seconds) + median(from_opus.ours, seconds)};
    printf("a call, PCMU to Opus and back: %.3f of libopus\n", both[1] / both[0]);
    by_complexity(seconds < 10 ? seconds : 10, r, mu, d);
    transcode_free(a);
    transcode_free(b);
    transcode_free(c);
    transcode_free(e);
    opus_encoder_destroy(browser);
    opus_encoder_destroy(alone);
    opus_decoder_destroy(narrowband);
    opus_decoder_destroy(wide_d);
    codec_resampler_free(r);
    codec_encoder_free(mu);
    codec_decoder_free(d);
    return 0;
}
