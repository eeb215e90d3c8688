/* SPDX-License-Identifier: MIT */
/* jitter_test.c: a sender, a network with chance, a listener every 20 ms, and what must hold of them all. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "jitter/jitter.h"
#include "mem/mem.h"

enum { SENT_MAX = 20000, TICKS = 160, FIRST_SEQ = 65500, FIRST_TS = 0xfffff000 };

static uint64_t chance;
static unsigned random_below(unsigned n)
{
    chance = chance * 6364136223846793005U + 1442695040888963407U;
    return (unsigned)(chance >> 33) % n;
}

struct way {
    uint64_t seed;
    unsigned packets;
    unsigned base_ms, jitter_ms; /* of the network */
    unsigned lose, twice;        /* per mille */
    int ppm;                     /* of the sender's clock */
    unsigned pause_every; /* packets of words between silences of half a second; 0: no silence */
    unsigned calm_from;   /* from this packet on there is no jitter */
    bool quiet;
};

struct flight {
    usec at;
    uint16_t seq;
    uint32_t ts;
    unsigned index;
};
static struct flight flights[2 * SENT_MAX];
static bool sent_lost[SENT_MAX], was_played[SENT_MAX];

struct result {
    unsigned sounds, nothings, lost_ms;
    unsigned never_sent; /* really lost */
    struct jitter_stats stats;
    double delay_mean, delay_end; /* ms, of what was played, and of the last 100 */
    double wanted_end;
};

static int by_time(const void *a, const void *b)
{
    const struct flight *x = a, *y = b;
    return x->at != y->at ? (x->at > y->at) - (x->at < y->at) : (int)x->index - (int)y->index;
}

static unsigned fly(const struct way *w, unsigned *ret_lost)
{
    unsigned n = 0;
    double sent = 1e6;
    uint32_t ts = FIRST_TS;
    *ret_lost = 0;
    for (unsigned i = 0; i < w->packets; i++) {
        if (w->pause_every && i && i % w->pause_every == 0) {
            sent += 500e3;
            ts += 4000;
        }
        unsigned jitter = i < w->calm_from && w->jitter_ms ? random_below(w->jitter_ms * 1000) : 0;
        struct flight f = {(usec)sent + w->base_ms * 1000 + jitter, (uint16_t)(FIRST_SEQ + i), ts,
                           i};
        sent_lost[i] = i > 0 && random_below(1000) < w->lose;
        *ret_lost += sent_lost[i];
        was_played[i] = false;
        if (!sent_lost[i])
            flights[n++] = f;
        if (!sent_lost[i] && random_below(1000) < w->twice) {
            f.at += 3000;
            flights[n++] = f;
        }
        sent += 20e3 * (1 - w->ppm * 1e-6);
        ts += TICKS;
    }
    qsort(flights, n, sizeof(*flights), by_time);
    return n;
}

static struct jitter *new_jitter(void)
{
    struct jitter_config c = {.clock_hz = 8000, .payload_max = 4};
    struct jitter *j;
    assert_int_equal(jitter_new(&c, &j), ERR_OK);
    return j;
}

static void put(struct jitter *j, const struct flight *f)
{
    struct rtpmsg p = {
        .seq = f->seq, .ts = f->ts, .ssrc = 1, .payload = {(const char *)&f->index, 4}};
    enum err rc = jitter_put(j, f->at, &p, TICKS);
    assert_true(rc == ERR_OK || rc == ERR_EXISTS || rc == ERR_TIMEOUT);
}

static struct result run(const struct way *w)
{
    struct result r = {0};
    struct jitter *j = new_jitter();
    chance = w->seed;
    unsigned n = fly(w, &r.never_sent), at = 0;
    int64_t last = -1;
    double delays = 0, end = 0;
    usec now = 1000000 + random_below(20000);
    for (; at < n || now < flights[n - 1].at + 500000; now += 20000) {
        while (at < n && flights[at].at <= now)
            put(j, &flights[at++]);
        struct jitter_out o;
        do {
            jitter_get(j, now, w->quiet, &o);
            if (o.what == JITTER_SOUND) {
                unsigned index;
                memcpy(&index, o.payload.p, 4);
                assert_true((int64_t)index > last && !sent_lost[index]); /* in order, once */
                assert_int_equal(o.ticks, TICKS);
                last = index;
                was_played[index] = true;
                r.sounds++;
                delays += jitter_stats(j)->delay_ms;
                if (index >= w->packets - 100)
                    end += jitter_stats(j)->delay_ms / 100.0;
            }
            r.nothings += o.what == JITTER_NOTHING && last >= 0 && at < n;
            r.lost_ms += o.what == JITTER_LOST ? o.ticks / 8 : 0;
        } while (o.what == JITTER_SOUND && o.skip);
    }
    r.stats = *jitter_stats(j);
    r.delay_mean = r.sounds ? delays / r.sounds : 0;
    r.delay_end = end;
    r.wanted_end = r.stats.wanted_ms;
    assert_int_equal(r.stats.played, r.sounds);
    assert_int_equal(r.stats.received, r.sounds + r.stats.discarded);
    jitter_free(j);
    return r;
}

static void on_a_calm_network_nothing_is_added(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct result r = run(&(struct way){.seed = seed, .packets = 2000, .base_ms = 30});
        assert_int_equal(r.sounds, 2000);
        assert_true(r.delay_mean <= 2 * JITTER_MIN_MS && r.nothings == 0 && r.stats.lost == 0);
    }
}

static void the_delay_becomes_what_the_jitter_needs(void **state)
{
    (void)state;
    for (unsigned jitter = 30; jitter <= 150; jitter += 30) {
        for (uint64_t seed = 1; seed <= 20; seed++) {
            struct result r = run(
                &(struct way){.seed = seed, .packets = 4000, .base_ms = 10, .jitter_ms = jitter});
            double in_time = (double)r.sounds / 4000;
            /* who needs less is not made to wait */
            bool too_short = in_time < 0.99 && r.delay_end < jitter * 0.7;
            if (in_time < 0.955 || too_short || r.delay_end > jitter + 70)
                fail_msg("jitter %u, seed %u: %.3f in time, delay %.0f", jitter, (unsigned)seed,
                         in_time, r.delay_end);
            assert_int_equal(r.sounds + r.stats.lost, 4000);
        }
    }
}

static void losses_are_told_as_long_as_they_are(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct result r = run(&(struct way){
            .seed = seed, .packets = 2000, .lose = 20 + (unsigned)seed * 4, .twice = 100});
        assert_true(!sent_lost[1999] ? r.stats.lost == r.never_sent : true);
        /* what is missing while nothing else is there is nothing, until the next one shows that it was lost */
        assert_true(r.lost_ms <= 20 * r.stats.lost &&
                    r.lost_ms / 20 + r.nothings + 3 >= r.stats.lost);
        assert_true(r.delay_end <= 2 * JITTER_MIN_MS); /* but no time is lost by that */
        assert_int_equal(r.sounds, 2000 - r.never_sent);
        assert_true(r.stats.duplicates + r.stats.late > 100);
    }
}

static void when_it_is_calm_again_the_delay_shrinks(void **state)
{
    (void)state;
    for (int quiet = 0; quiet < 2; quiet++) {
        struct result r = run(&(struct way){
            .seed = 3, .packets = 4000, .jitter_ms = 120, .calm_from = 2000, .quiet = quiet});
        assert_true(r.stats.skipped > 0 && r.wanted_end == JITTER_MIN_MS);
        assert_true(r.delay_end <= (quiet ? 45 : 85));
    }
}

/* Within words only a little; in silence without a packet that is skipped. */
static void silence_is_where_the_delay_changes(void **state)
{
    (void)state;
    struct result r = run(&(struct way){
        .seed = 5, .packets = 4000, .jitter_ms = 120, .calm_from = 2000, .pause_every = 100});
    assert_true(r.delay_end <= 45);
    assert_int_equal(r.stats.lost + r.sounds, 4000);
    assert_true(r.stats.lost < 200 && r.stats.skipped < 10);
}

static void clocks_that_drift_are_followed(void **state)
{
    (void)state;
    for (int ppm = -200; ppm <= 200; ppm += 400) {
        for (int quiet = 0; quiet < 2; quiet++) {
            /* 400 s: 80 ms of drift */
            struct result r = run(&(struct way){.seed = 9,
                                                .packets = SENT_MAX,
                                                .jitter_ms = 15,
                                                .calm_from = SENT_MAX,
                                                .ppm = ppm,
                                                .quiet = quiet});
            assert_int_equal(r.stats.lost, 0);
            assert_true(r.delay_end < 100);
            if (ppm > 0) /* the sender is fast */
                assert_in_range(r.stats.skipped, quiet ? 2 : 1, 6);
            else
                assert_in_range(r.nothings, 2, 12);
        }
    }
}

static void a_burst_after_a_standstill_is_caught_up_with(void **state)
{
    (void)state;
    struct jitter *j = new_jitter();
    struct jitter_out o;
    unsigned sounds = 0;
    usec now = 0;
    for (unsigned i = 0; i < 400; i++) {
        now += 20000;
        struct flight f = {now, (uint16_t)i, i * TICKS, i};
        if (i >= 100 && i < 150)
            f.at = 0; /* a second of nothing */
        if (i == 150)
            for (unsigned k = 100; k < 150; k++)
                put(j, &(struct flight){now, (uint16_t)k, k * TICKS, k});
        if (f.at)
            put(j, &f);
        do {
            jitter_get(j, now, false, &o);
            sounds += o.what == JITTER_SOUND && !o.skip;
        } while (o.what == JITTER_SOUND && o.skip);
        if (i > 380)
            assert_true(jitter_stats(j)->delay_ms <= JITTER_MAX_MS + 60);
    }
    assert_true(jitter_stats(j)->discarded >= 30 && sounds > 330);
    jitter_free(j);
}

static void noise_is_told_until_words_begin(void **state)
{
    (void)state;
    struct jitter *j = new_jitter();
    struct jitter_out o;
    struct rtpmsg p = {.seq = 1, .ts = 0, .payload = SV("a")};
    assert_int_equal(jitter_put(j, 0, &p, TICKS), ERR_OK);
    jitter_get(j, 0, false, &o);
    assert_int_equal(o.what, JITTER_NOTHING);
    jitter_get(j, 20000, false, &o);
    assert_true(o.what == JITTER_SOUND && sv_eq(o.payload, SV("a")));
    p = (struct rtpmsg){.seq = 2, .ts = 160, .pt = 13, .payload = SV("n")};
    assert_int_equal(jitter_put(j, 20000, &p, 0), ERR_OK);
    jitter_get(j, 40000, false, &o);
    assert_true(o.what == JITTER_NOISE && sv_eq(o.payload, SV("n")) && o.pt == 13);
    for (usec now = 60000; now < 200000; now += 20000) {
        jitter_get(j, now, false, &o);
        assert_true(o.what == JITTER_NOISE && o.payload.n == 0);
    }
    p = (struct rtpmsg){.seq = 3, .ts = 1600, .marker = true, .payload = SV("b")};
    assert_int_equal(jitter_put(j, 200000, &p, TICKS), ERR_OK);
    jitter_get(j, 200000, false, &o);
    assert_int_equal(o.what, JITTER_NOISE);
    jitter_get(j, 220000, false, &o);
    assert_true(o.what == JITTER_SOUND && sv_eq(o.payload, SV("b")));
    assert_int_equal(jitter_stats(j)->lost + jitter_stats(j)->starved, 0);
    jitter_free(j);
}

static void repair_data_comes_with_the_loss(void **state)
{
    (void)state;
    struct jitter *j = new_jitter();
    struct jitter_out o;
    static const char letters[] = "abcdefgh";
    for (unsigned i = 0; i < 8; i++) {
        struct rtpmsg p = {
            .seq = (uint16_t)i, .ts = i * TICKS, .pt = 96, .payload = {letters + i, 1}};
        if (i != 3 && i != 4)
            assert_int_equal(jitter_put(j, i * 20000, &p, TICKS), ERR_OK);
    }
    for (unsigned i = 0; i < 8; i++) {
        jitter_get(j, 200000 + i * 20000, false, &o);
        bool missing = i == 3 || i == 4;
        assert_int_equal(o.what, missing ? JITTER_LOST : JITTER_SOUND);
        assert_true(o.ts == i * TICKS && o.ticks == TICKS);
        sv want = i == 3 ? SV_NONE : i == 4 ? SV("f") : (sv){letters + i, 1};
        assert_true(sv_eq(o.payload, want));
    }
    struct rtpmsg late = {.seq = 4, .ts = 4 * TICKS, .payload = SV("e")};
    assert_int_equal(jitter_put(j, 400000, &late, TICKS), ERR_TIMEOUT);
    assert_true(jitter_stats(j)->lost == 2 && jitter_stats(j)->late == 1);
    jitter_free(j);
}

static void other_sources_and_numbers_begin_anew(void **state)
{
    (void)state;
    struct jitter *j = new_jitter();
    struct jitter_out o;
    struct rtpmsg p = {.seq = 1, .ts = 0, .ssrc = 1, .payload = SV("a")};
    assert_int_equal(jitter_put(j, 0, &p, TICKS), ERR_OK);
    p = (struct rtpmsg){.seq = 9000, .ts = 77777777, .ssrc = 2, .payload = SV("b")};
    assert_int_equal(jitter_put(j, 0, &p, TICKS), ERR_OK);
    jitter_get(j, 20000, false, &o);
    assert_true(o.what == JITTER_SOUND && sv_eq(o.payload, SV("b")));
    p.seq = 100;
    assert_int_equal(jitter_put(j, 20000, &p, TICKS), ERR_RANGE);
    p.seq = 101;
    assert_int_equal(jitter_put(j, 20000, &p, TICKS), ERR_OK);
    p.seq = 102;
    assert_int_equal(jitter_put(j, 20000, &p, 8001), ERR_RANGE);
    p.payload = SV("12345");
    assert_int_equal(jitter_put(j, 20000, &p, TICKS), ERR_TOOBIG);
    assert_int_equal(jitter_restart(j, 48000), ERR_OK);
    assert_int_equal(jitter_restart(j, 0), ERR_RANGE);
    jitter_get(j, 60000, false, &o);
    assert_int_equal(o.what, JITTER_NOTHING);
    jitter_free(j);
    struct jitter_config c = {.clock_hz = 8000, .min_ms = 300, .max_ms = 200};
    assert_int_equal(jitter_new(&c, &j), ERR_RANGE);
    c = (struct jitter_config){.clock_hz = 8000};
    size_t live = mem_live();
    mem_fail_after(1);
    assert_int_equal(jitter_new(&c, &j), ERR_NOMEM);
    mem_fail_after(0);
    assert_int_equal(mem_live(), live);
}

/* What comes late at the begin is played first, if the ring can hold it beside the newest. */
static void the_begin_may_come_late(void **state)
{
    (void)state;
    static const uint16_t order[] = {100, 99, 160, 90, 97};
    struct jitter *j = new_jitter();
    struct jitter_out o;
    for (unsigned i = 0; i < 5; i++) {
        struct rtpmsg p = {.seq = order[i], .ts = order[i] * 2, .payload = SV("x")};
        assert_int_equal(jitter_put(j, 0, &p, 2), i == 3 ? ERR_TIMEOUT : ERR_OK);
    }
    uint32_t last = 0;
    unsigned sounds = 0;
    for (usec now = 0; now < 2000000; now += 20000) {
        jitter_get(j, now, false, &o);
        if (o.what != JITTER_SOUND)
            continue;
        assert_true(sounds++ == 0 ? o.ts == 97 * 2 : o.ts > last);
        last = o.ts;
    }
    assert_int_equal(sounds, 4);
    jitter_free(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_a_calm_network_nothing_is_added),
        cmocka_unit_test(the_delay_becomes_what_the_jitter_needs),
        cmocka_unit_test(losses_are_told_as_long_as_they_are),
        cmocka_unit_test(when_it_is_calm_again_the_delay_shrinks),
        cmocka_unit_test(silence_is_where_the_delay_changes),
        cmocka_unit_test(clocks_that_drift_are_followed),
        cmocka_unit_test(a_burst_after_a_standstill_is_caught_up_with),
        cmocka_unit_test(noise_is_told_until_words_begin),
        cmocka_unit_test(repair_data_comes_with_the_loss),
        cmocka_unit_test(the_begin_may_come_late),
        cmocka_unit_test(other_sources_and_numbers_begin_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
