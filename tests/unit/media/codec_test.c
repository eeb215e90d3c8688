/* SPDX-License-Identifier: MIT */
/* codec_test.c: what each codec makes of tones, gaps, noise and nonsense. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include <opus/opus.h>
#include "codec/codec.h"
#include "mem/mem.h"
#include "sound.h"

enum { SECOND = 48000 };

static const struct codec *const codecs[] = {&codec_pcmu,   &codec_pcma,   &codec_g722,
                                             &codec_opus,   &codec_l16_8k, &codec_l16_16k,
                                             &codec_l16_48k};
enum { CODECS = sizeof(codecs) / sizeof(*codecs) };
static const uint32_t rates[] = {8000, 16000, 48000};

static sv octets(const uint8_t *p, size_t n)
{
    return (sv){(const char *)p, n};
}

/* ---- G.711 ---- */

/* G.711 Table 2a: the value of an octet, by its chords: in 1/4 (mu) and 1/16 (A) of a 16-bit unit. */
static int ulaw_value(unsigned octet)
{
    unsigned inverted = ~octet & 0x7f, segment = inverted >> 4, step = inverted & 15;
    int size = (int)(((2 * step + 33) << segment) - 33) * 4;
    return octet & 0x80 ? size : -size;
}

static int alaw_value(unsigned octet)
{
    unsigned even = octet ^ 0x55, segment = even >> 4 & 7, step = even & 15;
    int size = (int)(segment ? (2 * step + 33) << (segment - 1) : 2 * step + 1) * 8;
    return octet & 0x80 ? size : -size;
}

static void g711_values_are_those_of_its_tables(void **state)
{
    (void)state;
    struct codec_decoder *mu, *a;
    assert_int_equal(codec_decoder_new(&codec_pcmu, 8000, &mu), ERR_OK);
    assert_int_equal(codec_decoder_new(&codec_pcma, 8000, &a), ERR_OK);
    for (unsigned o = 0; o < 256; o++) {
        uint8_t octet = (uint8_t)o;
        int16_t v[1];
        size_t n;
        assert_int_equal(codec_decode(mu, octets(&octet, 1), v, 1, &n), ERR_OK);
        assert_int_equal(v[0], ulaw_value(o));
        assert_int_equal(codec_decode(a, octets(&octet, 1), v, 1, &n), ERR_OK);
        assert_int_equal(v[0], alaw_value(o));
    }
    assert_int_equal(ulaw_value(0x80), 32124); /* the ends, as everybody prints them */
    assert_int_equal(ulaw_value(0xff), 0);
    assert_int_equal(alaw_value(0xaa), 32256);
    assert_int_equal(alaw_value(0xd5), 8);
    codec_decoder_free(mu);
    codec_decoder_free(a);
}

/* Every one of the 65,536 values becomes the octet of the step that it lies in (a step belongs to its segment: next to
 * a border another value may be nearer). What is louder than the last step is the last step. */
static void within_its_step(const char *law, int v, unsigned octet, int value, int step)
{
    if (abs(v - value) > step / 2 && abs(v) < 32636)
        fail_msg("%s of %d is %02x, %d, in steps of %d", law, v, octet, value, step);
}

static void g711_octets_are_of_the_step(void **state)
{
    (void)state;
    struct codec_encoder *mu, *a;
    assert_int_equal(codec_encoder_new(&codec_pcmu, 8000, NULL, &mu), ERR_OK);
    assert_int_equal(codec_encoder_new(&codec_pcma, 8000, NULL, &a), ERR_OK);
    for (int v = INT16_MIN; v <= INT16_MAX; v += 8) {
        int16_t pcm[8];
        uint8_t got[8];
        size_t n;
        for (int i = 0; i < 8; i++)
            pcm[i] = (int16_t)(v + i);
        assert_int_equal(codec_encode(mu, pcm, 8, got, 8, &n), ERR_OK);
        for (int i = 0; i < 8; i++)
            within_its_step("mu-law", pcm[i], got[i], ulaw_value(got[i]), 8 << (~got[i] >> 4 & 7));
        assert_int_equal(codec_encode(a, pcm, 8, got, 8, &n), ERR_OK);
        for (int i = 0; i < 8; i++) {
            int segment = (got[i] ^ 0x55) >> 4 & 7;
            within_its_step("A-law", pcm[i], got[i], alaw_value(got[i]),
                            segment ? 16 << (segment - 1) : 16);
        }
    }
    codec_encoder_free(mu);
    codec_encoder_free(a);
}

/* What is decoded and encoded again is what it was; but there are two zeros in mu-law. */
static void g711_octets_come_back(void **state)
{
    (void)state;
    static const struct codec *const laws[] = {&codec_pcmu, &codec_pcma};
    for (int l = 0; l < 2; l++) {
        struct codec_encoder *e;
        assert_int_equal(codec_encoder_new(laws[l], 8000, NULL, &e), ERR_OK);
        for (unsigned o = 0; o < 256; o += 8) {
            int16_t pcm[8];
            uint8_t got[8];
            size_t n;
            for (unsigned i = 0; i < 8; i++)
                pcm[i] = (int16_t)(l ? alaw_value(o + i) : ulaw_value(o + i));
            assert_int_equal(codec_encode(e, pcm, 8, got, 8, &n), ERR_OK);
            for (unsigned i = 0; i < 8; i++)
                assert_int_equal(got[i], l == 0 && o + i == 0x7f ? 0xff : o + i);
        }
        codec_encoder_free(e);
    }
}

/* ---- tones ---- */

/* A second of sound through the codec in frames of ms; every lose-th packet is lost (0: none). Returns samples. */
static size_t through(const struct codec *c, uint32_t rate, uint32_t ms, const int16_t *in,
                      int16_t *out, unsigned lose, bool repair)
{
    struct codec_encoder *e;
    struct codec_decoder *d;
    struct codec_wish w = {.fec = true};
    uint8_t payload[CODEC_PAYLOAD_MAX];
    size_t frame = rate / 1000 * ms, made = 0, n, octets_n;
    unsigned lost = 0;
    assert_int_equal(codec_encoder_new(c, rate, &w, &e), ERR_OK);
    assert_int_equal(codec_decoder_new(c, rate, &d), ERR_OK);
    if (repair)
        codec_set_loss(e, 20);
    for (size_t i = 0; (i + 1) * frame <= rate; i++) {
        uint32_t ticks;
        assert_int_equal(
            codec_encode(e, in + i * frame, frame, payload, sizeof(payload), &octets_n), ERR_OK);
        sv p = octets(payload, octets_n);
        assert_int_equal(codec_ticks(c, p, &ticks), ERR_OK);
        assert_int_equal(ticks, c->clock_hz / 1000 * ms);
        if (lose && i % lose == lose - 1) {
            lost++;
            continue;
        }
        if (lost) {
            if (!repair || !codec_decode_fec(d, p, out + made, frame * lost))
                codec_conceal(d, out + made, frame * lost);
            made += frame * lost;
            lost = 0;
        }
        assert_int_equal(codec_decode(d, p, out + made, CODEC_SAMPLES_MAX, &n), ERR_OK);
        assert_int_equal(n, frame);
        made += n;
    }
    codec_encoder_free(e);
    codec_decoder_free(d);
    return made;
}

static int16_t in[SECOND], out[SECOND + CODEC_SAMPLES_MAX];

static void a_tone_stays_one_through_every_codec_rate_and_frame(void **state)
{
    (void)state;
    static const uint32_t frames[] = {10, 20, 40, 60};
    for (unsigned c = 0; c < CODECS; c++) {
        for (unsigned r = 0; r < 3; r++) {
            if (!codec_takes(codecs[c], rates[r]))
                continue;
            uint32_t rate = rates[r];
            double phase = 0;
            tone(1000, 8000, rate, &phase, in, rate);
            for (unsigned f = 0; f < 4; f++) {
                if (codec_ptime(codecs[c], frames[f]) != frames[f])
                    continue;
                size_t made = through(codecs[c], rate, frames[f], in, out, 0, false);
                size_t half = rate / 2; /* the first half: getting to know it */
                double level = db(power_at(1000, rate, out + made - half, half) / 32e6);
                double pure = purity(1000, rate, out + made - half, half);
                if (fabs(level) > 1 || pure < 20)
                    fail_msg("%s at %u, %u ms: %.2f dB, %.1f dB pure", codecs[c]->name, rate,
                             frames[f], level, pure);
            }
        }
    }
}

static void losses_are_concealed_without_a_click(void **state)
{
    (void)state;
    for (unsigned c = 0; c < CODECS; c++) {
        for (unsigned r = 0; r < 3; r++) {
            if (!codec_takes(codecs[c], rates[r]))
                continue;
            uint32_t rate = rates[r];
            double phase = 0;
            tone(250, 8000, rate, &phase, in, rate);
            uint32_t ms = codec_ptime(codecs[c], 20);
            size_t whole = through(codecs[c], rate, ms, in, out, 0, false);
            int usual = largest_step(out, whole);
            for (unsigned lose = 20; lose >= 5; lose /= 2) {
                size_t made = through(codecs[c], rate, ms, in, out, lose, false);
                int most = largest_step(out, made);
                double level = db(power(out, made) / 32e6);
                /* a click would be a step of the size of the tone, 8,000 */
                if (most > 2 * usual + 400 || level < -3 || level > 1)
                    fail_msg("%s at %u, 1 of %u lost: step %d (usual %d), %.1f dB", codecs[c]->name,
                             rate, lose, most, usual, level);
            }
        }
    }
}

/* No period of a voice is as long as this wave: what is repeated does not fit, and is bent. */
static void a_gap_begins_where_the_sound_was(void **state)
{
    (void)state;
    struct codec_decoder *d;
    struct codec_encoder *e;
    uint8_t payload[160];
    double phase = 0;
    size_t n;
    assert_int_equal(codec_encoder_new(&codec_pcma, 8000, NULL, &e), ERR_OK);
    for (unsigned from = 0; from < 20; from++) {
        assert_int_equal(codec_decoder_new(&codec_pcma, 8000, &d), ERR_OK);
        tone(31, 16000, 8000, &phase, in, 10);
        for (int i = 0; i < 5; i++) {
            tone(31, 16000, 8000, &phase, in, 160);
            assert_int_equal(codec_encode(e, in, 160, payload, 160, &n), ERR_OK);
            assert_int_equal(codec_decode(d, octets(payload, 160), out, 160, &n), ERR_OK);
        }
        codec_conceal(d, out + 160, 160);
        int step = out[160] - out[159];
        if (abs(step) > 1500) /* a step of A-law up there is 512 */
            fail_msg("from %d to %d", out[159], out[160]);
        codec_decoder_free(d);
    }
    codec_encoder_free(e);
}

static void a_long_gap_fades_to_nothing(void **state)
{
    (void)state;
    for (unsigned c = 0; c < CODECS; c++) {
        struct codec_decoder *d;
        uint32_t rate = codec_best_rate(codecs[c]);
        assert_int_equal(codec_decoder_new(codecs[c], rate, &d), ERR_OK);
        double phase = 0;
        tone(300, 8000, rate, &phase, in, rate);
        struct codec_encoder *e;
        assert_int_equal(codec_encoder_new(codecs[c], rate, NULL, &e), ERR_OK);
        size_t frame = rate / 100, n;
        for (size_t i = 0; i < 20; i++) {
            uint8_t payload[CODEC_PAYLOAD_MAX];
            assert_int_equal(codec_encode(e, in + i * frame, frame, payload, sizeof(payload), &n),
                             ERR_OK);
            assert_int_equal(codec_decode(d, octets(payload, n), out, SECOND, &n), ERR_OK);
        }
        for (size_t i = 0; i < 100; i++)
            codec_conceal(d, out, frame);
        assert_true(power(out, frame) < 8000);
        codec_encoder_free(e);
        codec_decoder_free(d);
    }
}

/* What Opus repairs is what was said, where it could only be guessed: a tone begins in the lost packet. */
static void opus_repairs_from_the_next_packet(void **state)
{
    (void)state;
    double error[2] = {0, 0};
    for (int repair = 0; repair < 2; repair++) {
        double phase = 0;
        for (size_t i = 0; i < 50; i++) /* another tone in each packet */
            tone(300 + 100 * (double)(i * 7 % 10), 8000, 16000, &phase, in + i * 320, 320);
        size_t made = through(&codec_opus, 16000, 20, in, out, 5, repair);
        /* what the decoder gives is later than what it got by what both look ahead */
        double best = 1e18;
        for (size_t delay = 0; delay < 200; delay++) {
            double sum = 0;
            for (size_t i = 3200; i + 200 < made; i++)
                sum += pow(out[i + delay] - in[i], 2);
            best = sum < best ? sum : best;
        }
        error[repair] = best;
    }
    assert_true(error[1] < 0.7 * error[0]);
}

static void opus_sends_nothing_in_silence_if_asked(void **state)
{
    (void)state;
    struct codec_wish w = {.dtx = true};
    struct codec_encoder *e;
    unsigned sent[2] = {0, 0}, small = 0;
    for (int dtx = 0; dtx < 2; dtx++) {
        uint8_t payload[CODEC_PAYLOAD_MAX];
        int16_t nothing[160] = {0};
        size_t n;
        assert_int_equal(codec_encoder_new(&codec_opus, 8000, dtx ? &w : NULL, &e), ERR_OK);
        for (int i = 0; i < 100; i++) {
            assert_int_equal(codec_encode(e, nothing, 160, payload, sizeof(payload), &n), ERR_OK);
            sent[dtx] += n > 0;
            small += n > 0 && n <= 2;
        }
        codec_encoder_free(e);
    }
    assert_int_equal(sent[0], 100);
    assert_true(sent[1] < 30 && small > 0);
}

/* ---- nonsense ---- */

static void nonsense_is_refused_and_the_state_survives(void **state)
{
    (void)state;
    static uint8_t large[CODEC_PAYLOAD_MAX + 1];
    uint32_t ticks;
    size_t n;
    for (unsigned c = 0; c < CODECS; c++) {
        struct codec_decoder *d;
        uint32_t rate = codec_best_rate(codecs[c]);
        assert_int_equal(codec_decoder_new(codecs[c], rate, &d), ERR_OK);
        assert_int_equal(codec_decode(d, SV(""), out, SECOND, &n), ERR_SYNTAX);
        assert_int_equal(codec_decode(d, SV_NONE, out, SECOND, &n), ERR_SYNTAX);
        assert_int_equal(codec_decode(d, octets(large, sizeof(large)), out, SECOND, &n),
                         ERR_TOOBIG);
        assert_int_equal(codec_ticks(codecs[c], SV(""), &ticks), ERR_SYNTAX);
        assert_false(codec_decode_fec(d, SV(""), out, 160));
        codec_decoder_free(d);
        if (codec_takes(codecs[c], 8000))
            continue;
        assert_int_equal(codec_decoder_new(codecs[c], 8000, &d), ERR_UNSUPPORTED);
    }
    assert_int_equal(codec_ticks(&codec_pcmu, octets(large, CODEC_PAYLOAD_MAX), &ticks), ERR_OK);
    assert_int_equal(ticks, CODEC_PAYLOAD_MAX); /* 187 ms */
    assert_int_equal(codec_ticks(&codec_l16_8k, octets(large, 3), &ticks), ERR_SYNTAX);
    /* RFC 6716 §3.2.5: 49 frames of 2.5 ms are more than 120 ms; 48 are not */
    uint8_t many[50] = {31 << 3 | 3, 49};
    many[0] = 28 << 3 | 3;
    assert_int_equal(codec_ticks(&codec_opus, octets(many, 50), &ticks), ERR_SYNTAX);
    many[1] = 48;
    assert_int_equal(codec_ticks(&codec_opus, octets(many, 50), &ticks), ERR_OK);
    assert_int_equal(ticks, 5760);
    struct codec_encoder *e;
    uint8_t small[4];
    int16_t pcm[160] = {0};
    assert_int_equal(codec_encoder_new(&codec_pcmu, 8000, NULL, &e), ERR_OK);
    assert_int_equal(codec_encode(e, pcm, 160, small, sizeof(small), &n), ERR_TOOBIG);
    assert_int_equal(codec_encode(e, pcm, 0, large, sizeof(large), &n), ERR_RANGE);
    assert_int_equal(codec_encode(e, pcm, 7, large, sizeof(large), &n), ERR_RANGE);
    codec_encoder_free(e);
}

static void codecs_are_found_by_what_sdp_says(void **state)
{
    (void)state;
    assert_ptr_equal(codec_find(SV("pcmu"), 8000, 0), &codec_pcmu);
    assert_ptr_equal(codec_find(SV("OPUS"), 48000, 2), &codec_opus);
    assert_null(codec_find(SV("opus"), 48000, 1)); /* RFC 7587 §7 */
    assert_ptr_equal(codec_find(SV("G722"), 8000, 1), &codec_g722);
    assert_null(codec_find(SV("G722"), 16000, 1));
    assert_ptr_equal(codec_find(SV("L16"), 16000, 1), &codec_l16_16k);
    assert_null(codec_find(SV("PCM"), 8000, 1));
    assert_ptr_equal(codec_of_pt(8), &codec_pcma);
    assert_ptr_equal(codec_of_pt(9), &codec_g722);
    assert_null(codec_of_pt(CODEC_DYNAMIC));
    assert_int_equal(codec_common_rate(&codec_opus, &codec_pcmu), 8000);
    assert_int_equal(codec_common_rate(&codec_g722, &codec_opus), 16000);
    assert_int_equal(codec_common_rate(&codec_l16_16k, &codec_pcmu), 16000);
    assert_int_equal(codec_ptime(&codec_opus, 30), 20);
    assert_int_equal(codec_ptime(&codec_pcmu, 30), 30);
    assert_int_equal(codec_ptime(&codec_pcmu, 1), 10);
    assert_int_equal(codec_ptime(&codec_l16_48k, 20), 10);
    assert_int_equal(codec_ptime(&codec_opus, 500), 60);
}

static void wishes_are_read(void **state)
{
    (void)state;
    struct codec_wish w;
    codec_wish_read(SV("maxplaybackrate=16000; stereo=1;useinbandfec=1 ; usedtx=0;cbr=1;"
                       "maxaveragebitrate=20000;minptime=10"),
                    &w);
    assert_int_equal(w.playback_hz, 16000);
    assert_int_equal(w.bitrate, 20000);
    assert_int_equal(w.minptime_ms, 10);
    assert_true(w.stereo && w.fec && w.cbr && !w.dtx);
    codec_wish_read(SV("maxaveragebitrate=5999;useinbandfec=2;maxplaybackrate=x;usedtx;=;;"), &w);
    assert_true(w.bitrate == 0 && !w.fec && w.playback_hz == 0 && !w.dtx);
    codec_wish_read(SV_NONE, &w);
    assert_true(w.bitrate == 0 && !w.stereo);
}

static void a_wish_for_less_is_obeyed(void **state)
{
    (void)state;
    size_t sum[2] = {0, 0};
    double phase = 0;
    for (int less = 0; less < 2; less++) {
        struct codec_wish w = {.bitrate = less ? 8000 : 0, .cbr = true};
        struct codec_encoder *e;
        assert_int_equal(codec_encoder_new(&codec_opus, 16000, &w, &e), ERR_OK);
        for (int i = 0; i < 50; i++) {
            uint8_t payload[CODEC_PAYLOAD_MAX];
            size_t n;
            tone(400 + 10 * i, 8000, 16000, &phase, in, 320);
            assert_int_equal(codec_encode(e, in, 320, payload, sizeof(payload), &n), ERR_OK);
            sum[less] += n;
        }
        codec_encoder_free(e);
    }
    assert_int_equal(sum[0], 50 * 80); /* 32 kbit/s */
    assert_int_equal(sum[1], 50 * 20);
}

/* RFC 7587 §7.1: no more bandwidth than the receiver can play; RFC 6716 §3.1 says it in the first octet. */
static void bandwidth_is_what_the_receiver_plays(void **state)
{
    (void)state;
    static const struct {
        uint32_t hz;
        int most;
    } wishes[] = {{8000, OPUS_BANDWIDTH_NARROWBAND},
                  {12000, OPUS_BANDWIDTH_MEDIUMBAND},
                  {16000, OPUS_BANDWIDTH_WIDEBAND},
                  {24000, OPUS_BANDWIDTH_SUPERWIDEBAND}};
    double phase = 0;
    for (int i = 0; i < 4; i++) {
        struct codec_wish w = {.playback_hz = wishes[i].hz};
        struct codec_encoder *e;
        assert_int_equal(codec_encoder_new(&codec_opus, 48000, &w, &e), ERR_OK);
        for (int k = 0; k < 50; k++) {
            uint8_t payload[CODEC_PAYLOAD_MAX];
            size_t n;
            tone(500 + 200 * k, 8000, 48000, &phase, in, 960);
            assert_int_equal(codec_encode(e, in, 960, payload, sizeof(payload), &n), ERR_OK);
            assert_true(opus_packet_get_bandwidth(payload) <= wishes[i].most);
            assert_int_equal(opus_packet_get_nb_channels(payload), 1);
        }
        codec_encoder_free(e);
    }
}

/* RFC 7587 §6.1: "every receiver MUST be able to receive and decode stereo signals". */
static void two_channels_are_mixed(void **state)
{
    (void)state;
    static int16_t both[2 * 960];
    int rc;
    OpusEncoder *e = opus_encoder_create(48000, 2, OPUS_APPLICATION_AUDIO, &rc);
    struct codec_decoder *d;
    double phase = 0;
    size_t made = 0, n;
    assert_non_null(e);
    opus_encoder_ctl(e, OPUS_SET_BITRATE(128000));
    assert_int_equal(codec_decoder_new(&codec_opus, 8000, &d), ERR_OK);
    for (int k = 0; k < 50; k++) {
        uint8_t payload[CODEC_PAYLOAD_MAX];
        tone(1000, 16000, 48000, &phase, in, 960);
        for (size_t i = 0; i < 960; i++)
            both[2 * i] = in[i]; /* the left one alone */
        int size = opus_encode(e, both, 960, payload, sizeof(payload));
        assert_true(size > 0 && opus_packet_get_nb_channels(payload) == 2);
        assert_int_equal(codec_decode(d, octets(payload, (size_t)size), out + made, SECOND, &n),
                         ERR_OK);
        made += n;
    }
    assert_int_equal(made, 8000);
    assert_true(fabs(db(power_at(1000, 8000, out + 4000, 4000) / 32e6)) < 1);
    codec_decoder_free(d);
    opus_encoder_destroy(e);
}

/* ---- noise ---- */

static void noise_has_the_level_that_was_said(void **state)
{
    (void)state;
    for (unsigned level = 20; level <= 70; level += 10) {
        for (unsigned order = 0; order <= 10; order += 5) {
            struct codec_noise n;
            uint8_t payload[11] = {(uint8_t)level, 60, 180, 100, 140, 127, 127, 20, 127, 127, 127};
            codec_noise_init(&n, 1);
            codec_noise_make(&n, out, 100);
            assert_true(power(out, 100) < 1e-9);
            assert_int_equal(codec_noise_read(&n, octets(payload, 1 + order)), ERR_OK);
            codec_noise_make(&n, out, SECOND);
            assert_in_range(codec_noise_level(out + 1000, SECOND - 1000), level - 1, level + 1);
        }
    }
    struct codec_noise n;
    codec_noise_init(&n, 1);
    assert_int_equal(codec_noise_read(&n, SV("")), ERR_SYNTAX);
    int16_t square[2] = {32767, -32768};
    assert_int_equal(codec_noise_level(square, 2), 0); /* RFC 3389 §3.1 */
    int16_t none[2] = {0, 0};
    assert_int_equal(codec_noise_level(none, 2), 127);
}

/* k1 below 0: neighbours are alike, so it is low; above 0: high. */
static void noise_has_the_colour_that_was_said(void **state)
{
    (void)state;
    for (int high = 0; high < 2; high++) {
        struct codec_noise n;
        uint8_t payload[2] = {30, high ? 227 : 27};
        codec_noise_init(&n, 1);
        assert_int_equal(codec_noise_read(&n, octets(payload, 2)), ERR_OK);
        codec_noise_make(&n, out, SECOND);
        double alike = 0;
        for (size_t i = 1; i < SECOND; i++)
            alike += (double)out[i] * out[i - 1];
        alike /= power(out, SECOND) * SECOND;
        double k = 258.0 * 100 / 32768;
        assert_true(fabs(alike - (high ? -k : k)) < 0.02);
    }
}

/* ---- rates ---- */

static void sound_keeps_its_length_and_tone_between_rates(void **state)
{
    (void)state;
    for (unsigned f = 0; f < 3; f++) {
        for (unsigned t = 0; t < 3; t++) {
            struct codec_resampler *r;
            double phase = 0;
            size_t made = 0, piece = rates[f] / 100;
            assert_int_equal(codec_resampler_new(rates[f], rates[t], &r), ERR_OK);
            tone(1000, 8000, rates[f], &phase, in, rates[f]);
            for (size_t i = 0; i < 100; i++)
                made += codec_resample(r, in + i * piece, piece, out + made, rates[t] / 100 + 1);
            assert_int_equal(made, rates[t]);
            assert_true(fabs(db(power_at(1000, rates[t], out + made / 2, made / 2) / 32e6)) < 0.2);
            assert_true(purity(1000, rates[t], out + made / 2, made / 2) > 40);
            codec_resampler_free(r);
        }
    }
    struct codec_resampler *r;
    assert_int_equal(codec_resampler_new(999, 8000, &r), ERR_UNSUPPORTED);
    assert_int_equal(codec_resampler_new(8000, 44100, &r), ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(g711_values_are_those_of_its_tables),
        cmocka_unit_test(g711_octets_are_of_the_step),
        cmocka_unit_test(g711_octets_come_back),
        cmocka_unit_test(a_tone_stays_one_through_every_codec_rate_and_frame),
        cmocka_unit_test(losses_are_concealed_without_a_click),
        cmocka_unit_test(a_gap_begins_where_the_sound_was),
        cmocka_unit_test(a_long_gap_fades_to_nothing),
        cmocka_unit_test(opus_repairs_from_the_next_packet),
        cmocka_unit_test(opus_sends_nothing_in_silence_if_asked),
        cmocka_unit_test(nonsense_is_refused_and_the_state_survives),
        cmocka_unit_test(codecs_are_found_by_what_sdp_says),
        cmocka_unit_test(wishes_are_read),
        cmocka_unit_test(a_wish_for_less_is_obeyed),
        cmocka_unit_test(bandwidth_is_what_the_receiver_plays),
        cmocka_unit_test(two_channels_are_mixed),
        cmocka_unit_test(noise_has_the_level_that_was_said),
        cmocka_unit_test(noise_has_the_colour_that_was_said),
        cmocka_unit_test(sound_keeps_its_length_and_tone_between_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
