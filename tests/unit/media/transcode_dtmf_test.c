/* SPDX-License-Identifier: MIT */
/* transcode_dtmf_test.c: keys through a direction, by every way in and every way out. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "dtmf/dtmf.h"
#include "tones/tones.h"
#include "transcode_rig.h"

static const char keys[] = "0123456789*#ABCD";

/* A key of events for so long, as telephones send it: each 20 ms, the last three times. lose: these are lost. */
static void press(struct transcode *t, struct speaker *s, char key, uint32_t ms, uint32_t hz,
                  uint32_t lose)
{
    struct dtmf_tx tx;
    struct dtmf_out o;
    uint8_t event;
    uint32_t clock = s->c->clock_hz, begun = s->timestamp;
    unsigned i = 0;
    assert_true(dtmf_of_char(key, &event));
    dtmf_tx_init(&tx, hz, 20);
    assert_int_equal(dtmf_tx_play(&tx, event, 10, ms), ERR_OK);
    for (; dtmf_tx_busy(&tx); i++) {
        uint8_t payload[DTMF_EVENT];
        /* timestamps are of the sound's clock, durations of the events' */
        assert_true(dtmf_tx_tick(&tx, i * hz / 50, &o));
        dtmf_put(payload, &o.event);
        struct rtpmsg p = {.pt = EVENT_IN,
                           .marker = o.marker,
                           .seq = s->seq++,
                           .ts = begun + o.ts / (hz / 1000) * (clock / 1000),
                           .ssrc = s->ssrc,
                           .payload = {(const char *)payload, DTMF_EVENT}};
        s->now += 20000;
        s->timestamp += clock / 50;
        if (i >= 32 || !(lose >> i & 1))
            transcode_rtp(t, s->now, &p);
        else
            transcode_tick(t, s->now);
    }
}

static void speak(struct transcode *t, struct speaker *s, unsigned packets, double amplitude)
{
    for (unsigned i = 0; i < packets; i++) {
        struct rtpmsg p = speaker_next(s, 300, amplitude);
        transcode_tick(t, s->now);
        transcode_rtp(t, s->now, &p);
    }
}

/* The events that went out: each by what it says at its end. */
static unsigned events_out(const struct codec *to, uint32_t hz, char *ret_keys, uint32_t *ret_ms)
{
    struct dtmf_rx rx = {0};
    unsigned n = 0, ended = 0;
    (void)to;
    for (unsigned i = 0; i < got.n; i++) {
        struct dtmf_news news[DTMF_NEWS_MAX * DTMF_EVENTS_MAX];
        if (got.v[i].pt != EVENT_OUT)
            continue;
        /* timestamps of another clock than the events' are of no use to this machine but as names */
        unsigned k = dtmf_rx_payload(&rx, got.v[i].timestamp, got.v[i].marker,
                                     (sv){(const char *)got.v[i].payload, got.v[i].n}, i, news);
        for (unsigned j = 0; j < k; j++) {
            if (news[j].what == DTMF_BEGINS)
                assert_true(got.v[i].marker);
            if (news[j].what != DTMF_ENDED)
                continue;
            assert_false(news[j].lost_end);
            ret_keys[n] = dtmf_char(news[j].event);
            ret_ms[n++] = news[j].duration / (hz / 1000);
        }
        ended += (got.v[i].payload[1] & 0x80) != 0;
    }
    ret_keys[n] = 0;
    assert_true(n == 0 || ended == 3 * n); /* RFC 4733 §2.5.1.4 */
    return n;
}

/* What a detector hears in what went out. */
static unsigned tones_out(const struct codec *to, uint8_t pt, char *ret_keys, uint32_t *ret_ms)
{
    struct tones_detector *d;
    struct tones_news news[TONES_NEWS_MAX];
    uint32_t rate = codec_best_rate(to);
    uint64_t from = 0;
    unsigned n = 0;
    listen_from(to, pt, 20);
    assert_int_equal(tones_detector_new(rate, &d), ERR_OK);
    for (size_t at = 0; at < heard_end + rate / 10; at += rate / 50) {
        unsigned k = tones_detect(d, heard + at, rate / 50, news);
        for (unsigned i = 0; i < k; i++) {
            if (news[i].down) {
                from = news[i].at;
                ret_keys[n] = news[i].digit;
            } else {
                ret_ms[n++] = (uint32_t)((news[i].at - from) * 1000 / rate);
            }
        }
    }
    ret_keys[n] = 0;
    tones_detector_free(d);
    return n;
}

static void near_ms(const char *what, const uint32_t *ms, unsigned n, uint32_t want)
{
    for (unsigned i = 0; i < n; i++)
        if (ms[i] + 20 < want || ms[i] > want + 20)
            fail_msg("%s: key %u lasted %u ms, not %u", what, i, ms[i], want);
}

static void events_pass_into_the_other_clock(void **state)
{
    (void)state;
    static const uint32_t clocks[][2] = {{8000, 8000}, {48000, 8000}, {8000, 48000}};
    for (unsigned k = 0; k < 3; k++) {
        bool opus_in = clocks[k][0] == 48000, opus_out = clocks[k][1] == 48000;
        struct transcode_config c =
            config(opus_in ? &codec_opus : &codec_pcmu, opus_in ? 111 : 0,
                   opus_out ? &codec_opus : &codec_pcma, opus_out ? 111 : 8, 20, 255);
        struct transcode *t;
        struct speaker s;
        char sent[64];
        uint32_t ms[64];
        c.in_event[0].hz = clocks[k][0];
        c.out_event_hz = clocks[k][1];
        t = start_with(&c);
        speaker_init(&s, c.in[0].codec, c.in[0].pt, 20);
        for (const char *key = keys; *key; key++) {
            speak(t, &s, 4, 4000);
            press(t, &s, *key, 100, clocks[k][0], 0);
        }
        speak(t, &s, 10, 4000);
        assert_int_equal(events_out(c.out.codec, clocks[k][1], sent, ms), 16);
        assert_string_equal(sent, keys);
        assert_string_equal(digits, keys);
        near_ms("events", ms, 16, 100);
        near_ms("told", digit_ms, 16, 100);
        listen_from(c.out.codec, c.out.pt, 20);
        uint32_t rate = codec_best_rate(c.out.codec);
        /* the whole time has passed here too: 16 keys of 7 packets */
        assert_in_range(heard_end, rate / 1000 * (16 * 220 + 180), rate / 1000 * (16 * 220 + 220));
        assert_int_equal(transcode_stats(t)->concealed_ms, 0);
        transcode_free(t);
        codec_encoder_free(s.e);
    }
}

/* One packet may say eight segments of a minute each, in a clock that is slower than ours: they are not made sooner than
 * they could have lasted. */
static void an_event_passes_no_faster_than_time(void **state)
{
    (void)state;
    struct transcode_config c = config(&codec_pcmu, 0, &codec_opus, 111, 20, 255);
    struct transcode *t;
    uint8_t payload[DTMF_EVENTS_MAX * DTMF_EVENT];
    const struct dtmf_event whole = {.event = 5, .volume = 10, .duration = DTMF_DURATION_MAX};
    usec now = USEC_S;
    c.in_event[0].hz = 1000;
    c.out_event_hz = 48000;
    t = start_with(&c);
    for (unsigned i = 0; i < DTMF_EVENTS_MAX; i++)
        dtmf_put(payload + i * (size_t)DTMF_EVENT, &whole);
    struct rtpmsg p = {
        .pt = EVENT_IN, .ssrc = 99, .payload = {(const char *)payload, sizeof(payload)}};
    for (unsigned i = 0; i < 50; i++, now += 20 * USEC_MS) {
        transcode_rtp(t, now, &p);
        p.seq++;
        p.ts += DTMF_EVENTS_MAX * (uint32_t)DTMF_DURATION_MAX;
    }
    transcode_tick(t, now + 10 * USEC_S); /* and its lost end */
    assert_in_range(got.n, 0, 100);
    transcode_free(t);
}

/* A browser knows events of two clocks, and keeps the sound's timestamps or not. */
static void events_of_either_clock_are_known(void **state)
{
    (void)state;
    for (int odd = 0; odd < 2; odd++) {
        struct transcode_config c = config(&codec_opus, 111, &codec_pcma, 8, 20, 255);
        struct transcode *t = start_with(&c);
        struct speaker s;
        speaker_init(&s, &codec_opus, 111, 20);
        for (unsigned k = 0; k < 6; k++) {
            uint32_t shift = odd ? 0x40000000 : 0;
            speak(t, &s, 5, 1000);
            for (unsigned i = 0; i < 6; i++) { /* a key of 100 ms, its end twice */
                unsigned units = k % 2 ? 960 : 160;
                uint8_t payload[DTMF_EVENT];
                struct dtmf_event e = {(uint8_t)k, i >= 4, 10,
                                       (uint16_t)((i < 4 ? i + 1 : 5) * units)};
                dtmf_put(payload, &e);
                struct rtpmsg p = {.pt = (uint8_t)(EVENT_IN + k % 2),
                                   .marker = i == 0,
                                   .seq = s.seq++,
                                   .ts = s.timestamp + shift,
                                   .ssrc = s.ssrc,
                                   .payload = {(const char *)payload, DTMF_EVENT}};
                s.now += 20000;
                transcode_rtp(t, s.now, &p);
            }
            s.timestamp += 4800;
        }
        speak(t, &s, 5, 1000);
        assert_string_equal(digits, "012345");
        near_ms("told", digit_ms, 6, 100);
        for (unsigned i = 0; i < got.n; i++) /* the end twice is enough for this once */
            assert_true(got.v[i].pt == 8 || got.v[i].pt == EVENT_OUT);
        listen_from(&codec_pcma, 8, 20);
        assert_in_range(heard_end, 8 * (6 * 200 + 60), 8 * (6 * 200 + 140));
        transcode_free(t);
        codec_encoder_free(s.e);
    }
}

static void a_long_key_has_segments_in_a_faster_clock(void **state)
{
    (void)state;
    struct transcode_config c = config(&codec_pcmu, 0, &codec_opus, 111, 20, 255);
    c.out_event_hz = 48000;
    struct transcode *t = start_with(&c);
    struct speaker s;
    unsigned segments = 0, full = 0;
    uint32_t last_ts = 0;
    speaker_init(&s, &codec_pcmu, 0, 20);
    press(t, &s, '5', 4000, 8000, 0); /* 192,000 units there: two whole segments and a part */
    for (unsigned i = 0; i < got.n; i++) {
        const uint8_t *e = got.v[i].payload;
        segments += i == 0 || got.v[i].timestamp != last_ts;
        assert_int_equal(got.v[i].marker, i == 0);
        full += (e[2] << 8 | e[3]) == 0xffff;
        last_ts = got.v[i].timestamp;
    }
    assert_int_equal(segments, 3);
    assert_true(full >= 2);
    const uint8_t *end = got.v[got.n - 1].payload;
    assert_true((end[1] & 0x80) && (end[2] << 8 | end[3]) == 192000 - 2 * 65535);
    assert_int_equal(last_ts - FIRST_TS, 2 * 65535);
    assert_int_equal(digits_n, 1);
    transcode_free(t);
    codec_encoder_free(s.e);
}

static void events_become_tones(void **state)
{
    (void)state;
    for (unsigned o = 0; o < 4; o++) {
        for (int lossy = 0; lossy < 2; lossy++) {
            struct transcode_config c =
                config(&codec_pcmu, 0, codecs[o].codec, codecs[o].pt, 20, 255);
            struct speaker s;
            char sent[64];
            uint32_t ms[64];
            c.dtmf = TRANSCODE_DTMF_TONES;
            struct transcode *t = start_with(&c);
            speaker_init(&s, &codec_pcmu, 0, 20);
            for (const char *key = keys; *key; key++) {
                speak(t, &s, 6, 300);
                press(t, &s, *key, 120, 8000, lossy ? 0x14 : 0);
            }
            speak(t, &s, 10, 300);
            unsigned n = tones_out(codecs[o].codec, codecs[o].pt, sent, ms);
            if (n != 16 || strcmp(sent, keys) != 0)
                fail_msg("%s: %s", codecs[o].codec->name, sent);
            near_ms(codecs[o].codec->name, ms, 16, 120);
            assert_string_equal(digits, keys);
            for (unsigned i = 0; i < got.n; i++)
                assert_int_not_equal(got.v[i].pt, EVENT_OUT);
            transcode_free(t);
            codec_encoder_free(s.e);
        }
    }
}

/* Sound of a key, as a gateway's line has it. */
static void play_key(struct transcode *t, struct speaker *s, char key, uint32_t ms)
{
    struct tones tone;
    static uint8_t payload[CODEC_PAYLOAD_MAX];
    assert_true(tones_digit(&tone, s->rate, key, ms, 8));
    for (uint32_t i = 0; i < (ms + 100) / 20; i++) {
        int16_t pcm[CODEC_SAMPLES_MAX];
        size_t n;
        tones_make(&tone, pcm, s->rate / 50);
        assert_int_equal(codec_encode(s->e, pcm, s->rate / 50, payload, sizeof(payload), &n),
                         ERR_OK);
        struct rtpmsg p = {.pt = s->pt,
                           .seq = s->seq++,
                           .ts = s->timestamp,
                           .ssrc = s->ssrc,
                           .payload = {(const char *)payload, n}};
        s->timestamp += s->c->clock_hz / 50;
        s->now += 20000;
        transcode_rtp(t, s->now, &p);
    }
}

static void tones_become_events(void **state)
{
    (void)state;
    for (unsigned f = 0; f < 4; f++) {
        struct transcode_config c = config(codecs[f].codec, codecs[f].pt, &codec_pcma, 8, 20, 255);
        struct speaker s;
        char sent[64];
        uint32_t ms[64];
        c.listen = true;
        struct transcode *t = start_with(&c);
        speaker_init(&s, codecs[f].codec, codecs[f].pt, 20);
        speak(t, &s, 20, 3000);
        for (const char *key = keys; *key; key++)
            play_key(t, &s, *key, 120);
        speak(t, &s, 20, 3000);
        assert_int_equal(events_out(&codec_pcma, 8000, sent, ms), 16);
        assert_string_equal(sent, keys);
        assert_string_equal(digits, keys);
        near_ms("events", ms, 16, 120);
        near_ms("told", digit_ms, 16, 120);
        assert_int_equal(tones_out(&codec_pcma, 8, sent, ms), 0); /* not twice */
        transcode_free(t);
        codec_encoder_free(s.e);
    }
}

static void tones_that_may_stay_are_told_only(void **state)
{
    (void)state;
    struct transcode_config c = config(&codec_pcmu, 0, &codec_pcma, 8, 20, 255);
    struct speaker s;
    char sent[64];
    uint32_t ms[64];
    c.listen = true;
    c.dtmf = TRANSCODE_DTMF_TONES;
    struct transcode *t = start_with(&c);
    speaker_init(&s, &codec_pcmu, 0, 20);
    for (const char *key = keys; *key; key++)
        play_key(t, &s, *key, 100);
    assert_string_equal(digits, keys);
    assert_int_equal(tones_out(&codec_pcma, 8, sent, ms), 16);
    assert_string_equal(sent, keys);
    transcode_free(t);
    codec_encoder_free(s.e);
}

/* INFO: whether sound flows or not. */
static void digits_from_elsewhere_go_out(void **state)
{
    (void)state;
    for (int tones = 0; tones < 2; tones++) {
        for (int flows = 0; flows < 3; flows++) { /* no sound, sound, sound that ends within */
            struct transcode_config c = config(&codec_pcmu, 0, &codec_g722, 9, 20, 255);
            struct speaker s;
            char sent[64];
            uint32_t ms[64];
            if (tones)
                c.dtmf = TRANSCODE_DTMF_TONES;
            struct transcode *t = start_with(&c);
            speaker_init(&s, &codec_pcmu, 0, 20);
            speak(t, &s, 10, 1000);
            for (const char *key = keys; *key; key++)
                assert_int_equal(transcode_send_digit(t, s.now, *key, 100), ERR_OK);
            assert_int_equal(transcode_send_digit(t, s.now, 'x', 100), ERR_RANGE);
            if (flows)
                speak(t, &s, flows == 1 ? 220 : 50, 1000);
            for (usec next; (next = transcode_next(t)) != USEC_NEVER;) {
                assert_true(next < s.now + 5 * USEC_S);
                transcode_tick(t, next);
            }
            unsigned n = tones ? tones_out(&codec_g722, 9, sent, ms)
                               : events_out(&codec_g722, 8000, sent, ms);
            if (n != 16 || strcmp(sent, keys) != 0)
                fail_msg("tones %d, flows %d: %s", tones, flows, sent);
            near_ms("given", ms, 16, 100);
            assert_int_equal(digits_n, 0);
            transcode_free(t);
            codec_encoder_free(s.e);
        }
    }
    struct transcode_config c = config(&codec_pcmu, 0, &codec_g722, 9, 20, 255);
    c.dtmf = TRANSCODE_DTMF_TOLD;
    struct transcode *t = start_with(&c);
    struct speaker s;
    speaker_init(&s, &codec_pcmu, 0, 20);
    assert_int_equal(transcode_send_digit(t, 0, '1', 100), ERR_UNSUPPORTED);
    speak(t, &s, 5, 1000);
    press(t, &s, '7', 100, 8000, 0);
    speak(t, &s, 5, 1000);
    assert_string_equal(digits, "7");
    for (unsigned i = 0; i < got.n; i++)
        assert_int_not_equal(got.v[i].pt, EVENT_OUT);
    transcode_free(t);
    codec_encoder_free(s.e);
}

/* Given by INFO, then said as an event, which begins while what was given goes out, or behind it. */
static void an_event_that_was_given_goes_out_once(void **state)
{
    (void)state;
    for (int tones = 0; tones < 2; tones++) {
        for (unsigned wait = 0; wait < 45; wait += 4) {
            struct transcode_config c = config(&codec_pcmu, 0, &codec_g722, 9, 20, 255);
            struct speaker s;
            char sent[64];
            uint32_t ms[64];
            if (tones)
                c.dtmf = TRANSCODE_DTMF_TONES;
            struct transcode *t = start_with(&c);
            speaker_init(&s, &codec_pcmu, 0, 20);
            speak(t, &s, 10, 1000);
            assert_int_equal(transcode_send_digit(t, s.now, '4', 100), ERR_OK);
            transcode_given(t, s.now, '4');
            speak(t, &s, wait, 1000);
            press(t, &s, '4', 300, 8000, 0);
            press(t, &s, '4', 100, 8000, 0); /* another one */
            speak(t, &s, 20, 1000);
            unsigned n = tones ? tones_out(&codec_g722, 9, sent, ms)
                               : events_out(&codec_g722, 8000, sent, ms);
            if (n != 2 || strcmp(sent, "44") != 0)
                fail_msg("tones %d, %u ms behind: %s", tones, 20 * wait, sent);
            near_ms("both", ms, 2, 100);
            assert_string_equal(digits, "44");
            transcode_free(t);
            codec_encoder_free(s.e);
        }
    }
}

/* Whatever is lost of an event, it is one; without any end, silence ends it. */
static void events_survive_loss(void **state)
{
    (void)state;
    for (uint32_t lose = 0; lose < 0x7f; lose++) { /* of seven packets */
        struct transcode_config c = config(&codec_pcmu, 0, &codec_pcma, 8, 20, 255);
        struct transcode *t = start_with(&c);
        struct speaker s;
        speaker_init(&s, &codec_pcmu, 0, 20);
        speak(t, &s, 5, 1000);
        press(t, &s, '9', 100, 8000, lose);
        for (usec next; (next = transcode_next(t)) != USEC_NEVER && next < s.now + USEC_S;)
            transcode_tick(t, next);
        s.now += 400000;
        s.timestamp += 3200;
        speak(t, &s, 5, 1000);
        assert_string_equal(digits, "9");
        unsigned ends = 0;
        for (unsigned i = 0; i < got.n; i++)
            ends += got.v[i].pt == EVENT_OUT && (got.v[i].payload[1] & 0x80);
        assert_true(ends >= 1 && ends <= 3);
        transcode_free(t);
        codec_encoder_free(s.e);
    }
}

/* RFC 4733 §2.5.2.2: a sender may send both. */
static void sound_beside_an_event_is_not_heard(void **state)
{
    (void)state;
    struct transcode_config c = config(&codec_pcmu, 0, &codec_pcma, 8, 20, 255);
    c.listen = true;
    struct transcode *t = start_with(&c);
    struct speaker s;
    struct tones tone;
    speaker_init(&s, &codec_pcmu, 0, 20);
    speak(t, &s, 5, 1000);
    uint32_t begun = s.timestamp;
    tones_digit(&tone, 8000, '3', 0, 8);
    for (unsigned i = 0; i < 12; i++) {
        int16_t pcm[160];
        uint8_t payload[160], event[DTMF_EVENT];
        size_t n;
        struct dtmf_event e = {3, i >= 9, 10, (uint16_t)(160 * (i < 9 ? i + 1 : 10))};
        dtmf_put(event, &e);
        struct rtpmsg p = {.pt = EVENT_IN,
                           .marker = i == 0,
                           .seq = s.seq++,
                           .ts = begun,
                           .ssrc = s.ssrc,
                           .payload = {(const char *)event, DTMF_EVENT}};
        s.now += 20000;
        transcode_rtp(t, s.now, &p);
        if (i < 10) {
            tones_make(&tone, pcm, 160);
            assert_int_equal(codec_encode(s.e, pcm, 160, payload, 160, &n), ERR_OK);
            p = (struct rtpmsg){.pt = 0,
                                .seq = s.seq++,
                                .ts = s.timestamp,
                                .ssrc = s.ssrc,
                                .payload = {(const char *)payload, 160}};
            s.timestamp += 160;
            if (i < 9)
                transcode_rtp(t, s.now, &p);
        }
    }
    speak(t, &s, 5, 1000);
    assert_string_equal(digits, "3");
    char sent[64];
    uint32_t ms[64];
    assert_int_equal(tones_out(&codec_pcma, 8, sent, ms), 0);
    transcode_free(t);
    codec_encoder_free(s.e);
}

/* A direction in which all passes as payload type 5 but keys: of a codec of ours, or of another one. */
static struct transcode_config following(const struct codec *c, uint8_t pt)
{
    struct transcode_config x = config(c ? c : &codec_pcmu, pt, c ? c : &codec_pcmu, 5, 20, 255);
    x.in[0] = (struct transcode_format){
        .pt = pt, .codec = c, .pass = true, .as = 5, .clock_hz = c ? c->clock_hz : 8000};
    x.out.pt = c ? 5 : TRANSCODE_NO_PT;
    x.follow = true;
    x.ssrc = SSRC + 1; /* nobody's: until the first packet */
    return x;
}

/* One packet passes: what came out for it is it, but for its payload type. */
static void passes(struct transcode *t, struct speaker *s, int16_t shift)
{
    struct rtpmsg p = speaker_next(s, 300, 1000);
    unsigned n = got.n;
    transcode_tick(t, s->now);
    assert_int_equal(got.n, n);
    transcode_rtp(t, s->now, &p);
    assert_int_equal(got.n, n + 1);
    assert_int_equal(got.v[n].pt, 5);
    assert_int_equal(got.v[n].seq, (uint16_t)(p.seq + shift));
    assert_int_equal(got.v[n].timestamp, p.ts);
    assert_int_equal(got.v[n].marker, p.marker);
    assert_memory_equal(got.v[n].payload, p.payload.p, p.payload.n);
}

static void a_key_goes_into_what_passes(void **state)
{
    (void)state;
    static const struct {
        const struct codec *c;
        uint32_t ms;
        enum transcode_dtmf dtmf;
    } rows[] = {{&codec_pcmu, 20, TRANSCODE_DTMF_EVENTS}, {&codec_pcmu, 20, TRANSCODE_DTMF_TONES},
                {&codec_g722, 20, TRANSCODE_DTMF_EVENTS}, {&codec_opus, 20, TRANSCODE_DTMF_EVENTS},
                {&codec_opus, 20, TRANSCODE_DTMF_TONES},  {NULL, 20, TRANSCODE_DTMF_EVENTS}};
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        const struct codec *c = rows[row].c;
        struct transcode_config x = following(c, 9);
        struct speaker s;
        char sent[64];
        uint32_t ms[64];
        x.dtmf = rows[row].dtmf;
        x.out_event_hz = x.out.codec->clock_hz;
        struct transcode *t = start_with(&x);
        speaker_init(&s, c ? c : &codec_pcmu, 9, rows[row].ms);
        s.ssrc = SSRC;
        for (int i = 0; i < 10; i++)
            passes(t, &s, 0);
        (void)speaker_next(&s, 300, 1000); /* lost: the receiver sees it */
        passes(t, &s, 0);
        assert_int_equal(transcode_send_digit(t, s.now, '7', 100), ERR_OK);
        assert_int_equal(transcode_send_digit(t, s.now, '#', 100), ERR_OK);
        unsigned first = got.n;
        speak(t, &s, 25, 1000);
        for (unsigned i = first; i < got.n; i++) { /* each in the place of one */
            assert_true(got.v[i].pt == 5 || got.v[i].pt == EVENT_OUT);
            assert_int_equal(got.v[i].seq, (uint16_t)(got.v[i - 1].seq + 1));
        }
        if (rows[row].dtmf == TRANSCODE_DTMF_EVENTS)
            assert_int_equal(events_out(x.out.codec, x.out_event_hz, sent, ms), 2);
        else
            assert_int_equal(got.n - first, 25);
        if (rows[row].dtmf == TRANSCODE_DTMF_EVENTS) {
            assert_string_equal(sent, "7#");
            near_ms("a key in what passes", ms, 2, 100);
        }
        /* and it goes on, where it was (what its own pauses sent may stand before it) */
        int16_t shift = (int16_t)(got.v[got.n - 1].seq - (uint16_t)(s.seq - 1));
        for (int i = 0; i < 5; i++)
            passes(t, &s, shift);
        assert_int_equal(digits_n, 0); /* it was not the sender's */
        transcode_free(t);
        codec_encoder_free(s.e);
    }
}

/* Nobody speaks: a key goes out all the same. */
static void a_key_goes_out_alone(void **state)
{
    (void)state;
    for (int foreign = 0; foreign < 2; foreign++) {
        struct transcode_config x = following(foreign ? NULL : &codec_pcma, 9);
        char sent[64];
        uint32_t ms[64];
        x.ssrc = SSRC;
        x.dtmf = TRANSCODE_DTMF_EVENTS;
        struct transcode *t = start_with(&x);
        assert_int_equal(transcode_send_digit(t, 0, '4', 100), ERR_OK);
        for (usec next; (next = transcode_next(t)) != USEC_NEVER && next < USEC_S;)
            transcode_tick(t, next);
        assert_int_equal(events_out(x.out.codec, 8000, sent, ms), 1);
        assert_string_equal(sent, "4");
        for (unsigned i = 0; i < got.n; i++)
            assert_true(got.v[i].pt == EVENT_OUT || (!foreign && got.v[i].pt == 5));
        transcode_free(t);
    }
}

/* What passes is listened to: it stays as it is, but for tones. */
static void tones_in_what_passes_are_keys(void **state)
{
    (void)state;
    struct transcode_config x = following(&codec_pcmu, 9);
    struct speaker s;
    struct tones tone;
    char sent[64];
    uint32_t ms[64];
    x.dtmf = TRANSCODE_DTMF_TOLD;
    x.listen = true;
    struct transcode *t = start_with(&x);
    speaker_init(&s, &codec_pcmu, 9, 20);
    s.ssrc = SSRC;
    for (int i = 0; i < 20; i++)
        passes(t, &s, 0);
    for (const char *key = "16D"; *key; key++) {
        tones_digit(&tone, 8000, *key, 120, 8);
        for (int i = 0; i < 6; i++) {
            int16_t pcm[160];
            uint8_t payload[160];
            size_t n;
            tones_make(&tone, pcm, 160);
            assert_int_equal(codec_encode(s.e, pcm, 160, payload, 160, &n), ERR_OK);
            struct rtpmsg p = {.pt = 9,
                               .seq = s.seq++,
                               .ts = s.timestamp,
                               .ssrc = s.ssrc,
                               .payload = {(const char *)payload, n}};
            s.now += 20000;
            s.timestamp += 160;
            transcode_rtp(t, s.now, &p);
        }
        if (*key == 'D') { /* and nothing more comes for a while: it was let go */
            assert_string_equal(digits, "16");
            assert_true(transcode_next(t) < s.now + USEC_S / 2);
            transcode_tick(t, transcode_next(t));
            break;
        }
        for (int i = 0; i < 10; i++)
            speak(t, &s, 1, 1000);
    }
    assert_string_equal(digits, "16D");
    for (unsigned i = 0; i < got.n; i++)
        assert_int_equal(got.v[i].pt, 5);
    for (unsigned i = 0; i < got.n; i++) {
        got.v[i].seq = (uint16_t)(FIRST_SEQ + i); /* as tones_out wants them */
        got.v[i].timestamp = FIRST_TS + 160 * i;
    }
    assert_int_equal(tones_out(&codec_pcmu, 5, sent, ms), 0); /* none is left */
    transcode_free(t);
    codec_encoder_free(s.e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_pass_into_the_other_clock),
        cmocka_unit_test(an_event_passes_no_faster_than_time),
        cmocka_unit_test(events_of_either_clock_are_known),
        cmocka_unit_test(a_long_key_has_segments_in_a_faster_clock),
        cmocka_unit_test(events_become_tones),
        cmocka_unit_test(tones_become_events),
        cmocka_unit_test(tones_that_may_stay_are_told_only),
        cmocka_unit_test(digits_from_elsewhere_go_out),
        cmocka_unit_test(an_event_that_was_given_goes_out_once),
        cmocka_unit_test(events_survive_loss),
        cmocka_unit_test(sound_beside_an_event_is_not_heard),
        cmocka_unit_test(a_key_goes_into_what_passes),
        cmocka_unit_test(a_key_goes_out_alone),
        cmocka_unit_test(tones_in_what_passes_are_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
