/* SPDX-License-Identifier: MIT */
/* transcode_rig.h: a sender, a direction, and a receiver that puts what it hears on a line of time. */
#ifndef TRANSCODE_RIG_H
#define TRANSCODE_RIG_H
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>
#include "sound.h"
#include "transcode/transcode.h"

enum {
    SENT_MAX = 4000,
    LINE = 48000 * 8,
    FIRST_TS = 0xfffff000,
    FIRST_SEQ = 0xfff0,
    SSRC = 7,
    CN = 13,
    EVENT_IN = 101,
    EVENT_OUT = 110
};

struct sent {
    uint8_t pt;
    bool marker;
    uint16_t seq;
    uint32_t timestamp;
    uint8_t payload[CODEC_PAYLOAD_MAX];
    size_t n;
};

/* What comes out, in order. */
static struct {
    struct sent v[SENT_MAX];
    unsigned n;
} got;

static inline void take(void *arg, const struct rtpmsg *p)
{
    (void)arg;
    assert_true(got.n < SENT_MAX && p->payload.n <= CODEC_PAYLOAD_MAX && p->payload.n > 0);
    assert_int_equal(p->ssrc, SSRC);
    struct sent *s = &got.v[got.n++];
    *s = (struct sent){.pt = p->pt, .marker = p->marker, .seq = p->seq, .timestamp = p->ts};
    memcpy(s->payload, p->payload.p, p->payload.n);
    s->n = p->payload.n;
}

/* Who sends. */
struct speaker {
    const struct codec *c;
    uint8_t pt;
    uint32_t rate, ms;
    struct codec_encoder *e;
    double phase;
    uint16_t seq;
    uint32_t timestamp, ssrc;
    usec now;
};

static inline void speaker_init(struct speaker *s, const struct codec *c, uint8_t pt, uint32_t ms)
{
    struct codec_wish w = {.fec = true};
    *s = (struct speaker){.c = c, .pt = pt, .rate = codec_best_rate(c), .ms = ms};
    if (c == &codec_opus) /* of a voice as telephones hear it: only that can be repaired */
        s->rate = 16000;
    s->seq = 65530; /* both wrap soon */
    s->timestamp = 0xffffff00;
    s->ssrc = 99;
    assert_int_equal(codec_encoder_new(c, s->rate, &w, &s->e), ERR_OK);
    codec_set_loss(s->e, 20);
}

static inline struct rtpmsg speaker_next(struct speaker *s, double hz, double amplitude)
{
    static uint8_t payload[CODEC_PAYLOAD_MAX];
    int16_t pcm[CODEC_SAMPLES_MAX];
    size_t frame = s->rate / 1000 * s->ms, n;
    tone(hz, amplitude, s->rate, &s->phase, pcm, frame);
    assert_int_equal(codec_encode(s->e, pcm, frame, payload, sizeof(payload), &n), ERR_OK);
    struct rtpmsg p = {.pt = s->pt,
                       .seq = s->seq++,
                       .ts = s->timestamp,
                       .ssrc = s->ssrc,
                       .payload = {(const char *)payload, n}};
    s->timestamp += s->c->clock_hz / 1000 * s->ms;
    s->now += (usec)s->ms * 1000;
    return p;
}

static char digits[64];
static uint32_t digit_ms[64];
static unsigned digits_n;

static inline void on_digit(void *arg, char digit, uint32_t ms)
{
    (void)arg;
    digits[digits_n] = digit;
    digit_ms[digits_n++] = ms;
    digits[digits_n] = 0;
    assert_true(digits_n < 60);
}

static inline struct transcode_config config(const struct codec *from, uint8_t from_pt,
                                             const struct codec *to, uint8_t to_pt, uint32_t ms,
                                             uint8_t cn)
{
    return (struct transcode_config){
        .in = {{.pt = from_pt, .codec = from},
               {.pt = 0, .codec = &codec_pcmu},
               {.pt = 9, .codec = &codec_g722}},
        .in_n = 3,
        .in_cn = CN,
        .in_event = {{.pt = EVENT_IN}, {.pt = EVENT_IN + 1, .hz = 48000}},
        .in_event_n = 2,
        .out = {.pt = to_pt, .codec = to},
        .out_cn = cn,
        .out_event = EVENT_OUT,
        .ptime_ms = ms,
        .ssrc = SSRC,
        .ts = FIRST_TS,
        .seq = FIRST_SEQ};
}

static inline struct transcode *start_with(const struct transcode_config *c)
{
    struct transcode_handler h = {.send = take, .on_digit = on_digit};
    struct transcode *t;
    got.n = digits_n = 0;
    digits[0] = 0;
    assert_int_equal(transcode_new(c, &h, NULL, 0, &t), ERR_OK);
    return t;
}

static inline struct transcode *start(const struct codec *from, uint8_t from_pt,
                                      const struct codec *to, uint8_t to_pt, uint32_t ms,
                                      uint8_t cn)
{
    struct transcode_config c = config(from, from_pt, to, to_pt, ms, cn);
    return start_with(&c);
}

/* Who hears: sound of `to` at its best rate, each packet where its timestamp says. */
static int16_t heard[LINE];
static size_t heard_end;

static inline void listen_to(const struct codec *to, uint8_t pt, uint32_t ms, bool markers)
{
    struct codec_decoder *d;
    uint32_t rate = codec_best_rate(to);
    assert_int_equal(codec_decoder_new(to, rate, &d), ERR_OK);
    memset(heard, 0, sizeof(heard));
    heard_end = 0;
    for (unsigned i = 0; i < got.n; i++) {
        const struct sent *s = &got.v[i];
        assert_int_equal(s->seq, (uint16_t)(FIRST_SEQ + i));
        if (s->pt != pt)
            continue;
        size_t at = (size_t)(uint32_t)(s->timestamp - FIRST_TS) / (to->clock_hz / 1000) *
                    (rate / 1000),
               n;
        assert_true(at >= heard_end && at + CODEC_SAMPLES_MAX < LINE);
        assert_int_equal(codec_decode(d, (sv){(const char *)s->payload, s->n}, heard + at,
                                      CODEC_SAMPLES_MAX, &n),
                         ERR_OK);
        assert_int_equal(n, rate / 1000 * codec_ptime(to, ms));
        if (markers)
            assert_int_equal(s->marker, at != heard_end || i == 0);
        heard_end = at + n;
    }
    codec_decoder_free(d);
}

static inline void listen(const struct codec *to, uint8_t pt, uint32_t ms)
{
    listen_to(to, pt, ms, true);
}

/* Where events stand between: sound goes on behind them without a marker. */
static inline void listen_from(const struct codec *to, uint8_t pt, uint32_t ms)
{
    listen_to(to, pt, ms, false);
}

static const struct {
    uint8_t pt;
    const struct codec *codec;
} codecs[] = {{111, &codec_opus},   {9, &codec_g722},      {8, &codec_pcma},     {0, &codec_pcmu},
              {112, &codec_l16_8k}, {113, &codec_l16_16k}, {114, &codec_l16_48k}};
enum { CODECS = sizeof(codecs) / sizeof(*codecs) };

#endif
