/* SPDX-License-Identifier: MIT */
/* jitter_way_test.c: the whole way of sound that is converted: a speaker, a network that loses and delays, the transcoder,
 * which waits for nobody, and a listener with an adaptive buffer: how much of what is heard was made up. */
#include "transcode_rig.h"

#include "jitter/jitter.h"

enum { SECONDS = 30, FRAME_MS = 20, PACKETS = SECONDS * 1000 / FRAME_MS };

struct network {
    uint32_t seed;
    unsigned loss_percent, jitter_ms; /* delays of 0 to twice as much; packets keep their order */
};
struct listening {
    unsigned slots, sounds, made_up; /* of 20 ms, since the first sound */
    double delay_ms;                 /* mean of the buffer's */
};

static uint32_t chance;
static unsigned below(unsigned n)
{
    chance = chance * 1664525 + 1013904223;
    return (unsigned)((uint64_t)chance * n >> 32);
}

static void play(struct jitter *j, usec now, struct listening *l)
{
    struct jitter_out o;
    do {
        jitter_get(j, now, false, &o);
    } while (o.what == JITTER_SOUND && o.skip);
    if (l->sounds == 0 && o.what != JITTER_SOUND)
        return;
    l->slots++;
    l->sounds += o.what == JITTER_SOUND;
    l->made_up += o.what != JITTER_SOUND;
    l->delay_ms += jitter_stats(j)->delay_ms;
}

/* Sound from one codec to the other over this network. Returns what the transcoder made up, a share. */
static double converse(const struct network *n, const struct codec *from, uint8_t from_pt,
                       const struct codec *to, uint8_t to_pt, struct listening *ret)
{
    struct jitter_config c = {.clock_hz = to->clock_hz};
    uint32_t ticks = to->clock_hz / 1000 * FRAME_MS;
    struct jitter *j;
    struct speaker s;
    usec play_at = 25 * USEC_MS, arrival = 0;
    unsigned put = 0;
    *ret = (struct listening){0};
    chance = n->seed;
    speaker_init(&s, from, from_pt, FRAME_MS);
    struct transcode *t = start(from, from_pt, to, to_pt, FRAME_MS, 255);
    assert_int_equal(jitter_new(&c, &j), ERR_OK);
    for (unsigned i = 0; i < PACKETS; i++) {
        struct rtpmsg p = speaker_next(&s, 300 + 60 * (i * 7 % 5), 8000);
        usec at = s.now + (usec)below(2 * n->jitter_ms * 1000 + 1);
        arrival = at > arrival ? at : arrival;
        for (; play_at <= arrival; play_at += FRAME_MS * USEC_MS)
            play(j, play_at, ret);
        if (below(100) < n->loss_percent)
            continue;
        transcode_rtp(t, arrival, &p);
        for (; put < got.n; put++) {
            const struct sent *x = &got.v[put];
            struct rtpmsg out = {.pt = x->pt,
                                 .marker = x->marker,
                                 .seq = x->seq,
                                 .ts = x->timestamp,
                                 .ssrc = SSRC,
                                 .payload = {(const char *)x->payload, x->n}};
            enum err rc = jitter_put(j, arrival, &out, ticks);
            assert_true(rc == ERR_OK || rc == ERR_TIMEOUT);
        }
    }
    const struct transcode_stats *st = transcode_stats(t);
    double made_up = (double)(st->concealed_ms + st->repaired_ms) / (1000.0 * SECONDS);
    ret->delay_ms /= ret->slots;
    jitter_free(j);
    transcode_free(t);
    codec_encoder_free(s.e);
    return made_up;
}

static void sound_goes_on_over_a_bad_network(void **state)
{
    static const struct {
        const struct codec *from;
        const struct codec *to;
        uint8_t from_pt, to_pt;
    } ways[] = {{&codec_opus, &codec_pcma, 96, 8}, {&codec_pcma, &codec_opus, 8, 96}};
    (void)state;
    for (unsigned w = 0; w < 2; w++) {
        for (uint32_t seed = 1; seed <= 3; seed++) {
            struct network bad = {seed, 5, 40};
            struct listening l;
            double made_up =
                converse(&bad, ways[w].from, ways[w].from_pt, ways[w].to, ways[w].to_pt, &l);
            double missing = (double)l.made_up / l.slots;
            /* what was lost the transcoder makes up, and no more; the buffer adds little */
            if (made_up < 0.035 || made_up > 0.065 || missing > 0.03 || l.slots < PACKETS * 0.97 ||
                l.delay_ms > 200)
                fail_msg("%s, seed %u: %.3f made up here, %.3f there, of %u, delay %.0f ms",
                         ways[w].from->name, (unsigned)seed, made_up, missing, l.slots, l.delay_ms);
        }
    }
}

static void a_calm_network_costs_nothing(void **state)
{
    struct network calm = {1, 0, 0};
    struct listening l;
    (void)state;
    assert_true(converse(&calm, &codec_opus, 96, &codec_pcma, 8, &l) == 0);
    assert_in_range(l.made_up, 0, 1);
    if (l.delay_ms >= 60)
        fail_msg("delay %.0f ms", l.delay_ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_goes_on_over_a_bad_network),
        cmocka_unit_test(a_calm_network_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
