/* SPDX-License-Identifier: MIT */
/* transcode_test.c: a sender, a direction, a receiver that puts what it hears on a line of time. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "mem/mem.h"
#include "transcode_rig.h"

static void a_tone_through_every_pair(void **state)
{
    (void)state;
    for (unsigned f = 0; f < CODECS; f++) {
        for (unsigned o = 0; o < CODECS; o++) {
            struct speaker s;
            uint32_t ms = codec_ptime(codecs[f].codec, 20);
            speaker_init(&s, codecs[f].codec, codecs[f].pt, ms);
            struct transcode *t =
                start(codecs[f].codec, codecs[f].pt, codecs[o].codec, codecs[o].pt, 20, 255);
            for (uint32_t i = 0; i < 1000 / ms; i++) {
                struct rtpmsg p = speaker_next(&s, 1000, 8000);
                transcode_rtp(t, s.now, &p);
                assert_int_equal(transcode_next(t), USEC_NEVER);
            }
            listen(codecs[o].codec, codecs[o].pt, 20);
            uint32_t rate = codec_best_rate(codecs[o].codec);
            assert_in_range(heard_end, rate / 100 * 98, rate); /* a resampler keeps some */
            double level = db(power_at(1000, rate, heard + rate / 4, rate / 2) / 32e6);
            double pure = purity(1000, rate, heard + rate / 4, rate / 2);
            if (fabs(level) > 1.5 || pure < 20)
                fail_msg("%s to %s: %.2f dB, %.1f dB pure", codecs[f].codec->name,
                         codecs[o].codec->name, level, pure);
            assert_int_equal(transcode_stats(t)->in, 1000 / ms);
            assert_int_equal(transcode_stats(t)->out, got.n);
            assert_int_equal(transcode_stats(t)->concealed_ms + transcode_stats(t)->odd, 0);
            transcode_free(t);
            codec_encoder_free(s.e);
        }
    }
}

static void frames_of_any_length_become_any_other(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {10, 20, 30, 40, 60};
    for (unsigned f = 0; f < 5; f++) {
        for (unsigned o = 0; o < 5; o++) {
            struct speaker s;
            speaker_init(&s, &codec_pcma, 8, lengths[f]);
            struct transcode *t = start(&codec_pcma, 8, &codec_opus, 111, lengths[o], 255);
            for (uint32_t i = 0; i < 1200 / lengths[f]; i++) {
                struct rtpmsg p = speaker_next(&s, 1000, 8000);
                transcode_rtp(t, s.now, &p);
            }
            listen(&codec_opus, 111, lengths[o]);
            uint32_t wait = codec_ptime(&codec_opus, lengths[o]); /* only an unfilled frame waits */
            assert_true(heard_end >= 48 * (1200 - wait));
            assert_true(fabs(db(power_at(1000, 48000, heard + 24000, 24000) / 32e6)) < 1.5);
            transcode_free(t);
            codec_encoder_free(s.e);
        }
    }
}

/* Loss of one in `of`, at random; a tone that changes, as Opus repairs only what it takes for a voice. */
static void losses_are_bridged(void **state)
{
    (void)state;
    for (unsigned f = 0; f < 4; f++) {
        for (unsigned of = 5; of <= 20; of *= 2) {
            struct speaker s;
            uint32_t ms = codecs[f].codec == &codec_pcmu ? 10 : 20;
            speaker_init(&s, codecs[f].codec, codecs[f].pt, ms);
            struct transcode *t = start(codecs[f].codec, codecs[f].pt, &codec_pcma, 8, 20, 255);
            unsigned lost = 0;
            srand(of);
            for (unsigned i = 0; i < 200; i++) {
                struct rtpmsg p = speaker_next(&s, 300 + 60 * (i * 7 % 5), 8000);
                if (i > 0 && i < 199 && (unsigned)rand() % of == 0)
                    lost++;
                else
                    transcode_rtp(t, s.now, &p);
            }
            listen(&codec_pcma, 8, 20);
            const struct transcode_stats *st = transcode_stats(t);
            assert_int_equal(heard_end, 200 * 8 * ms); /* in time, no gap */
            assert_int_equal(st->concealed_ms + st->repaired_ms, ms * lost);
            if (codecs[f].codec == &codec_opus && st->repaired_ms == 0)
                fail_msg("1 of %u: %u ms of %u packets repaired", of, (unsigned)st->repaired_ms,
                         lost);
            double level = db(power(heard, heard_end) / 32e6);
            int step = largest_step(heard, heard_end); /* of these tones: up to 3,400 */
            int allowed = codecs[f].codec == &codec_opus ? 16000 : 5500; /* its own affair */
            if (level < -2 || level > 0.7 || step > allowed)
                fail_msg("%s, 1 of %u lost: %.1f dB, step %d", codecs[f].codec->name, of, level,
                         step);
            transcode_free(t);
            codec_encoder_free(s.e);
        }
    }
}

static void what_comes_twice_or_late_is_not_heard_again(void **state)
{
    (void)state;
    struct speaker s;
    speaker_init(&s, &codec_pcmu, 0, 20);
    struct transcode *t = start(&codec_pcmu, 0, &codec_pcma, 8, 20, 255);
    struct rtpmsg held = {0};
    uint8_t copy[160];
    for (unsigned i = 0; i < 100; i++) {
        struct rtpmsg p = speaker_next(&s, 400, 8000);
        if (i % 10 == 3) {
            held = p;
            memcpy(copy, p.payload.p, 160);
            held.payload.p = (const char *)copy;
            continue;
        }
        transcode_rtp(t, s.now, &p);
        if (i % 10 == 4) /* one behind the other */
            transcode_rtp(t, s.now, &held);
        if (i % 10 == 7)
            transcode_rtp(t, s.now, &p);
    }
    listen(&codec_pcma, 8, 20);
    assert_int_equal(heard_end, 2 * 8000);
    assert_int_equal(transcode_stats(t)->late, 20);
    assert_int_equal(transcode_stats(t)->concealed_ms, 200);
    transcode_free(t);
    codec_encoder_free(s.e);
}

/* A gap that is longer than can be concealed, and silence that the sender did not send, are time on both sides. */
static void time_that_passes_is_time(void **state)
{
    (void)state;
    for (int silence = 0; silence < 2; silence++) {
        struct speaker s;
        speaker_init(&s, &codec_opus, 111, 20);
        struct transcode *t = start(&codec_opus, 111, &codec_pcmu, 0, 30, 255);
        for (unsigned i = 0; i < 100; i++) {
            struct rtpmsg p = speaker_next(&s, 1000, 8000);
            if (i >= 50 && i < 75) {
                s.seq = (uint16_t)(s.seq - silence);
                continue;
            }
            transcode_rtp(t, s.now, &p);
        }
        listen(&codec_pcmu, 0, 30);
        assert_true(heard_end >= 8 * 1970 && heard_end <= 8 * 2040);
        assert_true(power(heard + 8 * 1210, 8 * 250) < 1000); /* nobody spoke */
        double late = power_at(1000, 8000, heard + 8 * 1600, 8 * 200);
        assert_true(fabs(db(late / 32e6)) < 1.5);
        assert_int_equal(transcode_stats(t)->concealed_ms, silence ? 0 : TRANSCODE_CONCEAL_MS);
        unsigned markers = 0;
        for (unsigned i = 0; i < got.n; i++)
            markers += got.v[i].marker;
        assert_int_equal(markers, 2);
        transcode_free(t);
        codec_encoder_free(s.e);
    }
}

static void the_sender_may_change_its_codec(void **state)
{
    (void)state;
    struct speaker s, other;
    speaker_init(&s, &codec_opus, 111, 20);
    speaker_init(&other, &codec_pcmu, 0, 20);
    struct transcode *t = start(&codec_opus, 111, &codec_g722, 9, 20, 255);
    for (unsigned i = 0; i < 150; i++) {
        bool now = i >= 50 && i < 100;
        struct rtpmsg p = speaker_next(now ? &other : &s, 1000, 8000);
        p.seq = (uint16_t)(1000 + i);
        /* the clock is another one, and its value too: RFC 7160 leaves that to the sender */
        transcode_rtp(t, (usec)i * 20000, &p);
    }
    listen(&codec_g722, 9, 20);
    assert_true(heard_end >= 16 * 2900 && heard_end <= 16 * 3100);
    for (unsigned third = 0; third < 3; third++) {
        double level = db(power_at(1000, 16000, heard + 16 * (1000 * third + 400), 8000) / 32e6);
        assert_true(fabs(level) < 1.5);
    }
    transcode_free(t);
    codec_encoder_free(s.e);
    codec_encoder_free(other.e);
}

static void another_source_goes_on_in_our_time(void **state)
{
    (void)state;
    struct speaker s;
    speaker_init(&s, &codec_pcmu, 0, 20);
    struct transcode *t = start(&codec_pcmu, 0, &codec_pcma, 8, 20, 255);
    for (unsigned i = 0; i < 100; i++) {
        if (i == 50) { /* after half a second */
            s.now += 500000;
            s.ssrc = 5;
            s.seq = 20000;
            s.timestamp = 0x80000000;
        }
        if (i == 75) { /* the same source, but begun anew */
            s.seq = 50000;
            s.timestamp = 1;
        }
        struct rtpmsg p = speaker_next(&s, 1000, 8000);
        transcode_rtp(t, s.now, &p);
    }
    listen(&codec_pcma, 8, 20);
    assert_true(heard_end >= 8 * 2480 && heard_end <= 8 * 2560);
    assert_int_equal(transcode_stats(t)->odd, 1); /* the first of the new numbers is not believed */
    transcode_free(t);
    codec_encoder_free(s.e);
}

/* Another direction takes over while sound waits for a full packet, and then nobody speaks for a second: what comes next has
 * its place in time all the same. */
static void who_takes_over_knows_the_place(void **state)
{
    (void)state;
    struct speaker s;
    speaker_init(&s, &codec_pcmu, 0, 20);
    struct transcode_config c = config(&codec_pcmu, 0, &codec_pcma, 8, 40, 255);
    struct transcode *t = start_with(&c), *next;
    struct transcode_handler h = {.send = take};
    for (unsigned i = 0; i < 5; i++) {
        struct rtpmsg p = speaker_next(&s, 1000, 8000);
        if (i == 3) {
            transcode_position(t, &c.seq, &c.ts);
            assert_int_equal(transcode_new(&c, &h, NULL, s.now, &next), ERR_OK);
            transcode_succeed(next, t);
            transcode_free(t);
            t = next;
            s.timestamp += 8000;
            p.ts += 8000;
        }
        transcode_rtp(t, s.now, &p);
    }
    assert_int_equal(got.n, 2);
    assert_int_equal(got.v[1].seq, (uint16_t)(FIRST_SEQ + 1));
    assert_int_equal(got.v[1].timestamp, (uint32_t)(FIRST_TS + 3 * 160 + 8000));
    transcode_free(t);
    codec_encoder_free(s.e);
}

/* ---- silence ---- */

static struct rtpmsg noise_packet(struct speaker *s, unsigned level)
{
    static char payload;
    payload = (char)level;
    return (struct rtpmsg){
        .pt = CN, .seq = s->seq++, .ts = s->timestamp, .ssrc = s->ssrc, .payload = {&payload, 1}};
}

/* 20 packets of sound, a CN, nothing for 600 ms but ticks, sound again. */
static void speak_pause_speak(struct transcode *t, struct speaker *s)
{
    for (unsigned i = 0; i < 20; i++) {
        struct rtpmsg p = speaker_next(s, 1000, 8000);
        transcode_rtp(t, s->now, &p);
    }
    struct rtpmsg cn = noise_packet(s, 50);
    usec begun = s->now + 20000;
    transcode_rtp(t, begun, &cn);
    usec next;
    while ((next = transcode_next(t)) < begun + 580000)
        transcode_tick(t, next + 300); /* nobody is exact */
    s->timestamp += s->c->clock_hz / 1000 * 600;
    s->now += 600000;
    for (unsigned i = 0; i < 20; i++) {
        struct rtpmsg p = speaker_next(s, 1000, 8000);
        transcode_rtp(t, s->now, &p);
        assert_int_equal(transcode_next(t), USEC_NEVER);
    }
}

static void noise_is_made_where_the_other_side_has_no_word_for_it(void **state)
{
    (void)state;
    for (unsigned o = 0; o < 4; o++) {
        struct speaker s;
        speaker_init(&s, &codec_pcmu, 0, 20);
        struct transcode *t = start(&codec_pcmu, 0, codecs[o].codec, codecs[o].pt, 20, 255);
        speak_pause_speak(t, &s);
        listen(codecs[o].codec, codecs[o].pt, 20);
        size_t ms = codec_best_rate(codecs[o].codec) / 1000;
        assert_int_equal(heard_end, 1400 * ms); /* without a gap: listen() saw the markers */
        unsigned level = codec_noise_level(heard + 500 * ms, 400 * ms);
        assert_in_range(level, 45, 55);
        assert_true(fabs(db(power_at(1000, 1000.0 * ms, heard + 1100 * ms, 200 * ms) / 32e6)) <
                    1.5);
        transcode_free(t);
        codec_encoder_free(s.e);
    }
}

static void noise_is_told_where_it_can_be(void **state)
{
    (void)state;
    struct speaker s;
    speaker_init(&s, &codec_pcmu, 0, 20);
    struct transcode *t = start(&codec_pcmu, 0, &codec_pcma, 8, 30, CN);
    speak_pause_speak(t, &s);
    unsigned told = 0;
    for (unsigned i = 0; i < got.n; i++) {
        if (got.v[i].pt != CN)
            continue;
        told++;
        assert_true(got.v[i].n == 1 && got.v[i].payload[0] == 50 && !got.v[i].marker);
        assert_true(i > 0 && got.v[i - 1].timestamp + 240 == got.v[i].timestamp);
        assert_true(got.v[i + 1].marker); /* RFC 3551 §4.1 */
    }
    assert_int_equal(told, 1);
    listen(&codec_pcma, 8, 30);
    assert_in_range(heard_end, 8 * 1370, 8 * 1430);
    transcode_free(t);
    codec_encoder_free(s.e);
}

static void silence_of_opus_is_noise_or_told(void **state)
{
    (void)state;
    for (int cn = 0; cn < 2; cn++) {
        struct speaker s;
        speaker_init(&s, &codec_opus, 111, 20);
        struct transcode *t = start(&codec_opus, 111, &codec_pcmu, 0, cn ? 50 : 20, cn ? CN : 255);
        struct rtpmsg p;
        for (unsigned i = 0; i < 20; i++) {
            p = speaker_next(&s, 1000, 8000);
            transcode_rtp(t, s.now, &p);
        }
        p = speaker_next(&s, 1000, 8000);
        p.payload = sv_sub(p.payload, 0, 1); /* nothing but how the rest was coded */
        transcode_rtp(t, s.now, &p);
        unsigned sound = got.n;
        for (usec next; (next = transcode_next(t)) < s.now + 400000;)
            transcode_tick(t, next);
        assert_int_equal(got.n - sound, cn ? 0 : 19);
        assert_int_equal(got.v[sound - 1].pt, cn ? CN : 0);
        s.timestamp += 48 * 400;
        s.now += 400000;
        for (unsigned i = 0; i < 20; i++) {
            p = speaker_next(&s, 1000, 8000);
            transcode_rtp(t, s.now, &p);
        }
        listen(&codec_pcmu, 0, cn ? 50 : 20);
        /* with frames of 50 ms the last but one and the last wait to be full */
        assert_in_range(heard_end, 8 * (1220 - (cn ? 50 : 0)), 8 * (1220 + (cn ? 50 : 0)));
        for (unsigned i = 1; i < got.n; i++) /* nothing of before is behind the word of silence */
            assert_true((int32_t)(got.v[i].timestamp - got.v[i - 1].timestamp) > 0);
        assert_int_equal(transcode_stats(t)->concealed_ms, 0);
        transcode_free(t);
        codec_encoder_free(s.e);
    }
}

/* ---- what passes ---- */

static void what_the_receiver_takes_passes(void **state)
{
    (void)state;
    struct transcode_config c = config(&codec_opus, 111, &codec_pcmu, 0, 20, 255);
    c.in[1] = (struct transcode_format){.pt = 18, .pass = true, .as = 28, .clock_hz = 8000};
    c.in[2] = (struct transcode_format){.pt = 0, .codec = &codec_pcmu, .pass = true, .as = 0};
    struct transcode *t = start_with(&c);
    struct speaker s, mu;
    speaker_init(&s, &codec_opus, 111, 20);
    speaker_init(&mu, &codec_pcmu, 0, 20);
    for (unsigned i = 0; i < 60; i++) {
        struct rtpmsg p = speaker_next(i < 20 ? &s : &mu, 400, 8000);
        p.seq = (uint16_t)(100 + i);
        if (i >= 40)
            p.pt = 18;
        transcode_rtp(t, (usec)i * 20000, &p);
        if (i >= 20) {
            assert_int_equal(got.n, i + 1);
            assert_int_equal(got.v[i].pt, i >= 40 ? 28 : 0);
            assert_int_equal(got.v[i].n, 160);
            assert_memory_equal(got.v[i].payload, p.payload.p, 160);
            assert_int_equal(got.v[i].timestamp, (uint32_t)(FIRST_TS + i * 160));
        }
    }
    transcode_free(t);
    codec_encoder_free(s.e);
    codec_encoder_free(mu.e);
}

/* What waited for a full frame came before what was lost, and goes out before it. */
static void what_waits_goes_before_a_gap_of_what_passes(void **state)
{
    (void)state;
    struct transcode_config c = config(&codec_opus, 111, &codec_pcmu, 0, 40, 255);
    c.in[1] = (struct transcode_format){.pt = 18, .pass = true, .as = 28, .clock_hz = 8000};
    struct transcode *t = start_with(&c);
    struct speaker s;
    speaker_init(&s, &codec_opus, 111, 20);
    struct rtpmsg p = speaker_next(&s, 400, 8000);
    transcode_rtp(t, 0, &p);
    assert_int_equal(got.n, 0);
    p = speaker_next(&s, 400, 8000);
    p.pt = 18;
    p.seq = (uint16_t)(p.seq + 2);
    transcode_rtp(t, 20 * USEC_MS, &p);
    assert_int_equal(got.n, 2);
    assert_true(got.v[0].pt == 0 && got.v[1].pt == 28);
    assert_int_equal(got.v[0].seq, FIRST_SEQ);
    assert_int_equal(got.v[1].seq, FIRST_SEQ + 3);
    transcode_free(t);
    codec_encoder_free(s.e);
}

static struct offer_codec offered(enum offer_codec_id id, const char *name, uint8_t pt, uint32_t hz,
                                  uint16_t channels, const char *fmtp)
{
    return (struct offer_codec){.id = id,
                                .pt = pt,
                                .channels = channels,
                                .clock_hz = hz,
                                .name = sv_of(name),
                                .fmtp = sv_of(fmtp)};
}

static void a_plan_becomes_a_configuration(void **state)
{
    (void)state;
    struct offer_codec opus = offered(CODEC_OPUS, "opus", 111, 48000, 2, "useinbandfec=1"),
                       mu = offered(CODEC_PCMU, "PCMU", 0, 8000, 1, NULL),
                       e8 = offered(CODEC_EVENT, "telephone-event", 101, 8000, 1, "0-15"),
                       e48 = offered(CODEC_EVENT, "telephone-event", 110, 48000, 1, NULL),
                       g729 = offered(CODEC_OTHER, "G729", 18, 8000, 1, NULL);
    struct offer_map map[] = {{.from = 0, .to = 111, .transcode = true, .in = mu, .out = opus},
                              {.from = 18, .to = 18, .in = g729, .out = g729},
                              {.from = 101, .to = 110, .transcode = true, .in = e8, .out = e48}};
    struct offer_leg to = {.ptime_us = 40000,
                           .event_pt = 110,
                           .event_hz = 48000,
                           .cn_pt = OFFER_NO_PT,
                           .dtmf = OFFER_DTMF_EVENTS};
    struct transcode_config c = {.ssrc = 9, .seq = 8, .ts = 7};
    assert_int_equal(transcode_config_of(map, 3, &to, false, &c), ERR_OK);
    assert_true(c.in_n == 2 && c.in[0].codec == &codec_pcmu && !c.in[0].pass && c.in[1].pass);
    assert_true(c.out.codec == &codec_opus && c.out.pt == 111 && c.wish.fec && c.ptime_ms == 40);
    assert_true(c.in_event_n == 1 && c.in_event[0].pt == 101 && c.in_event[0].hz == 8000 &&
                c.out_event == 110 && c.out_event_hz == 48000 && !c.listen && !c.follow &&
                c.dtmf == TRANSCODE_DTMF_EVENTS);
    assert_true(c.in_cn == TRANSCODE_NO_PT && c.out_cn == TRANSCODE_NO_PT);
    assert_true(c.ssrc == 9 && c.seq == 8 && c.ts == 7);
    to.listen = true;
    assert_int_equal(transcode_config_of(map, 2, &to, false, &c), ERR_OK);
    assert_true(c.listen && c.in_event_n == 0);
    to.listen = false;
    map[2].to = to.event_pt = OFFER_NO_PT;
    to.dtmf = OFFER_DTMF_TONES;
    assert_int_equal(transcode_config_of(map, 3, &to, false, &c), ERR_OK);
    assert_true(c.dtmf == TRANSCODE_DTMF_TONES && !c.listen);
    to.dtmf = OFFER_DTMF_INFO;
    assert_int_equal(transcode_config_of(map, 3, &to, false, &c), ERR_OK);
    assert_true(c.dtmf == TRANSCODE_DTMF_TOLD);
    assert_int_equal(transcode_config_of(map + 1, 1, &to, false, &c), ERR_NOTFOUND);
    /* what was ours goes on as ours, though all passes now; where its clock is not known it cannot */
    assert_int_equal(transcode_config_of(map + 1, 1, &to, true, &c), ERR_OK);
    assert_true(!c.follow && c.in_n == 1 && c.in[0].pass);
    assert_int_equal(transcode_config_of(map, 0, &to, true, &c), ERR_NOTFOUND);
    to.dtmf =
        OFFER_DTMF_EVENTS; /* of what only passes, keys alone are to change: its clock is enough */
    to.digits = true;
    assert_int_equal(transcode_config_of(map + 1, 1, &to, false, &c), ERR_OK);
    assert_true(c.follow && c.out.pt == TRANSCODE_NO_PT && c.out.codec->clock_hz == 8000);
    to.dtmf = OFFER_DTMF_TONES; /* but for a tone it is not */
    assert_int_equal(transcode_config_of(map + 1, 1, &to, false, &c), ERR_NOTFOUND);
    map[0] = (struct offer_map){.from = 0, .to = 5, .in = mu, .out = mu};
    assert_int_equal(transcode_config_of(map, 2, &to, false, &c), ERR_OK);
    assert_true(c.follow && c.out.pt == 5 && c.out.codec == &codec_pcmu && c.in[0].pass);
    assert_int_equal(transcode_config_of(map, 3, &to, false, &c), ERR_OK);
    struct transcode_handler h = {.send = take};
    struct transcode *t;
    assert_int_equal(transcode_new(&c, &h, NULL, 0, &t), ERR_OK);
    transcode_free(t);
    c.in[1].clock_hz = 44100;
    assert_int_equal(transcode_new(&c, &h, NULL, 0, &t), ERR_UNSUPPORTED);
}

/* ---- abuse ---- */

static void more_than_can_be_heard_is_dropped(void **state)
{
    (void)state;
    struct speaker s;
    speaker_init(&s, &codec_opus, 111, 60);
    struct transcode *t = start(&codec_opus, 111, &codec_pcmu, 0, 20, 255);
    for (unsigned i = 0; i < 600; i++) { /* 36 s of sound within one */
        struct rtpmsg p = speaker_next(&s, 1000, 8000);
        transcode_rtp(t, (usec)i * 1666, &p);
    }
    assert_in_range(got.n * 20, 1500, 2700);
    assert_in_range(transcode_stats(t)->over, 540, 600);
    transcode_free(t);
    /* one gap after the other */
    t = start(&codec_opus, 111, &codec_pcmu, 0, 20, 255);
    for (unsigned i = 0; i < 600; i++) {
        struct rtpmsg p = speaker_next(&s, 1000, 8000);
        p.seq = (uint16_t)(p.seq + i * 10);
        transcode_rtp(t, (usec)i * 1666, &p);
    }
    assert_true(got.n * 20 < 2700);
    transcode_free(t);
    /* short packets are paid for as such */
    t = start(&codec_pcmu, 0, &codec_pcma, 8, 20, 255);
    struct rtpmsg p = {.pt = 0, .payload = SV("x")};
    for (unsigned i = 0; i < 10000; i++, p.seq++, p.ts++)
        transcode_rtp(t, (usec)i * 100, &p);
    assert_in_range(transcode_stats(t)->over, 7500, 9000);
    transcode_free(t);
    /* and so is the frame that each leap of time completes */
    t = start(&codec_pcmu, 0, &codec_opus, 111, 60, 255);
    p = (struct rtpmsg){.pt = 0, .payload = SV("x")};
    for (unsigned i = 0; i < 2000; i++, p.seq++, p.ts += 8000)
        transcode_rtp(t, (usec)i * 500, &p);
    assert_in_range(got.n * 60, 500, 2500);
    transcode_free(t);
    codec_encoder_free(s.e);
}

static void nonsense_changes_nothing(void **state)
{
    (void)state;
    struct speaker s;
    speaker_init(&s, &codec_pcmu, 0, 20);
    struct transcode *t = start(&codec_pcmu, 0, &codec_pcma, 8, 20, 255);
    for (unsigned i = 0; i < 50; i++) {
        struct rtpmsg p = speaker_next(&s, 1000, 8000), odd = p;
        transcode_rtp(t, s.now, &p);
        odd.pt = 77;
        transcode_rtp(t, s.now, &odd);
    }
    listen(&codec_pcma, 8, 20);
    assert_int_equal(heard_end, 8000);
    assert_int_equal(transcode_stats(t)->odd, 50);
    transcode_free(t);
    codec_encoder_free(s.e);
    struct transcode_config c = {.in_n = 0};
    struct transcode_handler h = {.send = take};
    assert_int_equal(transcode_new(&c, &h, NULL, 0, &t), ERR_RANGE);
}

static void memory_that_is_refused_leaves_nothing(void **state)
{
    (void)state;
    struct transcode_config c = {.in = {{.pt = 113, .codec = &codec_l16_16k}},
                                 .in_n = 1,
                                 .out = {.pt = 0, .codec = &codec_pcmu},
                                 .ssrc = SSRC};
    struct transcode_handler h = {.send = take};
    struct transcode *t;
    size_t live = mem_live();
    for (size_t fail = 1; fail < 6; fail++) {
        mem_fail_after(fail);
        enum err rc = transcode_new(&c, &h, NULL, 0, &t);
        mem_fail_after(0);
        assert_true(rc == (fail < 6 ? ERR_NOMEM : ERR_OK));
        assert_int_equal(mem_live(), live);
    }
    assert_int_equal(transcode_new(&c, &h, NULL, 0, &t), ERR_OK);
    size_t calls = mem_calls();
    struct speaker s;
    speaker_init(&s, &codec_l16_16k, 113, 20);
    calls = mem_calls();
    for (unsigned i = 0; i < 50; i++) {
        struct rtpmsg p = speaker_next(&s, 1000, 8000);
        transcode_rtp(t, s.now, &p);
    }
    assert_int_equal(mem_calls(), calls); /* nothing for a packet */
    transcode_free(t);
    codec_encoder_free(s.e);
    assert_int_equal(mem_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tone_through_every_pair),
        cmocka_unit_test(frames_of_any_length_become_any_other),
        cmocka_unit_test(losses_are_bridged),
        cmocka_unit_test(what_comes_twice_or_late_is_not_heard_again),
        cmocka_unit_test(time_that_passes_is_time),
        cmocka_unit_test(the_sender_may_change_its_codec),
        cmocka_unit_test(another_source_goes_on_in_our_time),
        cmocka_unit_test(who_takes_over_knows_the_place),
        cmocka_unit_test(noise_is_made_where_the_other_side_has_no_word_for_it),
        cmocka_unit_test(noise_is_told_where_it_can_be),
        cmocka_unit_test(silence_of_opus_is_noise_or_told),
        cmocka_unit_test(what_the_receiver_takes_passes),
        cmocka_unit_test(what_waits_goes_before_a_gap_of_what_passes),
        cmocka_unit_test(a_plan_becomes_a_configuration),
        cmocka_unit_test(more_than_can_be_heard_is_dropped),
        cmocka_unit_test(nonsense_changes_nothing),
        cmocka_unit_test(memory_that_is_refused_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
