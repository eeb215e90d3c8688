/* SPDX-License-Identifier: MIT */
/* What arrives of one stream: numbers (RFC 3550 A.1, A.3), jitter (A.8), bursts (RFC 3611 §4.7.2), each beside a slow
 * and plain way of finding the same; and what is reported of a network that loses and delays by a known amount. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <math.h>
#include <stdlib.h>
#include <cmocka.h>
#include "quality/quality_rx.h"

#define ASSERT_NEAR(got, want, by) assert_true(fabs((double)(got) - (double)(want)) <= (by))
#define SSRC                       0x1234

static struct quality_rx q;
static uint64_t chance;

static int setup(void **state)
{
    (void)state;
    chance = 0x9e3779b97f4a7c15;
    quality_rx_init(&q, 8000);
    return 0;
}

static uint64_t rnd(void)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return chance;
}

/* 0 to 1. */
static double even(void)
{
    return (double)(rnd() >> 11) / 9007199254740992.0;
}

/* The next packet of a stream of 20 ms at 8000 Hz that nothing happens to. */
static enum quality_packet on_time(uint16_t seq, uint32_t n)
{
    return quality_rx_packet(&q, SSRC, seq, n * 160, 160, (usec)n * 20 * USEC_MS);
}

/* ---- numbers ---- */

static void a_source_is_believed_from_its_second_packet(void **state)
{
    struct rtcp_block r;
    (void)state;
    assert_false(quality_rx_valid(&q));
    assert_int_equal(on_time(100, 0), QUALITY_UNSURE);
    assert_int_equal(on_time(200, 1), QUALITY_UNSURE);
    assert_int_equal(on_time(199, 2), QUALITY_UNSURE);
    assert_false(quality_rx_valid(&q) || quality_rx_block(&q, &r));
    assert_int_equal(on_time(200, 3), QUALITY_GOOD);
    assert_true(quality_rx_valid(&q) && q.ssrc == SSRC);
    assert_int_equal(q.total.expected, 1);
    assert_int_equal(q.total.received, 1);
    assert_int_equal(q.total.octets, 160);
    assert_true(quality_rx_block(&q, &r));
    assert_true(r.ssrc == SSRC && r.highest == 200 && r.lost == 0 && r.fraction == 0);
}

static void begin(uint16_t seq)
{
    (void)on_time((uint16_t)(seq - 1), 0);
    assert_int_equal(on_time(seq, 1), QUALITY_GOOD);
}

static void numbers_wrap(void **state)
{
    (void)state;
    begin(65530);
    for (uint32_t i = 1; i < 200000; i++)
        assert_int_equal(on_time((uint16_t)(65530 + i), 1 + i), QUALITY_GOOD);
    assert_int_equal(quality_rx_highest(&q), 65530 + 199999);
    assert_int_equal(q.total.expected, 200000);
    assert_int_equal(q.total.received, 200000);
}

/* A.1: MAX_DROPOUT, MAX_MISORDER, and two in a row after a jump. */
static void jumps_are_believed_from_the_second_packet(void **state)
{
    struct rtcp_block r;
    (void)state;
    begin(1000);
    assert_int_equal(on_time(1000 + QUALITY_DROPOUT - 1, 2), QUALITY_GOOD);
    assert_int_equal(q.total.expected, QUALITY_DROPOUT);
    uint16_t now = 1000 + QUALITY_DROPOUT - 1;
    assert_int_equal(on_time((uint16_t)(now + QUALITY_DROPOUT), 3), QUALITY_UNSURE);
    assert_int_equal(on_time((uint16_t)(now - QUALITY_MISORDER - 1), 4), QUALITY_UNSURE);
    assert_int_equal(on_time((uint16_t)(now - QUALITY_MISORDER), 5),
                     QUALITY_GOOD); /* two in a row */
    assert_true(quality_rx_block(&q, &r));
    assert_int_equal(r.highest, now - QUALITY_MISORDER);
    assert_int_equal(r.lost, 0);
    assert_int_equal(q.total.expected, QUALITY_DROPOUT + 1); /* totals go on */
    now = (uint16_t)r.highest;
    assert_int_equal(on_time((uint16_t)(now - QUALITY_MISORDER + 1), 6), QUALITY_LATE_PACKET);
}

static void one_packet_of_a_stranger_changes_nothing(void **state)
{
    (void)state;
    begin(1000);
    struct quality_rx before = q;
    assert_int_equal(quality_rx_packet(&q, 0x666, 5, 77, 99, USEC_S), QUALITY_UNSURE);
    assert_true(q.total.received == before.total.received && q.ssrc == SSRC && q.seq == before.seq);
    for (uint16_t i = 1; i < 100; i++) {
        assert_int_equal(on_time((uint16_t)(1000 + i), 1 + i), QUALITY_GOOD);
        (void)quality_rx_packet(&q, 0x666, (uint16_t)(7 * i), 77, 99, USEC_S);
    }
    assert_int_equal(q.ssrc, SSRC);
    assert_int_equal(q.total.received, 100);
    /* two in a row are a source; what was missing stays missing, totals go on */
    (void)on_time(1102, 103); /* 1100, 1101 lost */
    (void)quality_rx_packet(&q, 0x777, 5, 77, 99, 3 * USEC_S);
    assert_int_equal(quality_rx_packet(&q, 0x777, 6, 237, 99, 3 * USEC_S), QUALITY_GOOD);
    assert_int_equal(q.ssrc, 0x777);
    assert_int_equal(q.total.expected, 104);
    assert_int_equal(q.total.received, 102);
    assert_int_equal(q.bursts.all_bad, 2);
}

static void duplicates_and_order_are_told(void **state)
{
    struct rtcp_block r;
    (void)state;
    begin(10);
    assert_int_equal(on_time(12, 3), QUALITY_GOOD);
    assert_int_equal(on_time(12, 3), QUALITY_DUPLICATE);
    assert_int_equal(on_time(11, 2), QUALITY_GOOD);
    assert_int_equal(on_time(11, 2), QUALITY_DUPLICATE);
    assert_int_equal(on_time(10, 1), QUALITY_DUPLICATE);
    assert_int_equal(on_time(9, 0), QUALITY_LATE_PACKET); /* before the first */
    assert_true(q.total.expected == 3 && q.total.received == 3 && q.total.duplicates == 3 &&
                q.total.reordered == 2);
    assert_true(quality_rx_block(&q, &r));
    assert_int_equal(r.lost, -4); /* A.3: "includes any which are late or duplicates" */
    assert_int_equal(r.fraction, 0);
}

/* A number 64 back and more is late and stays lost. */
static void the_window_has_an_end(void **state)
{
    (void)state;
    for (unsigned back = 1; back < QUALITY_MISORDER; back++) {
        quality_rx_init(&q, 8000);
        begin(1000);
        for (uint16_t i = 1; i < 100; i++)
            assert_int_equal(on_time((uint16_t)(1000 + i), 1U + i), QUALITY_GOOD);
        assert_int_equal(on_time((uint16_t)(1099 + back + 1), 101 + back), QUALITY_GOOD);
        uint64_t lost = q.total.expected - q.total.received;
        assert_int_equal(lost, back);
        /* the first one missing */
        enum quality_packet is =
            quality_rx_packet(&q, SSRC, 1100, 101 * 160, 160, (usec)(101 + back) * 20 * USEC_MS);
        assert_int_equal(is, back < 10 ? QUALITY_GOOD : QUALITY_LATE_PACKET); /* 200 ms are late */
        assert_int_equal(q.total.expected - q.total.received, back < 64 ? back - 1 : back);
    }
}

/* A.3's fraction: since the last report. */
static void the_fraction_is_of_the_interval(void **state)
{
    struct rtcp_block r;
    uint32_t n = 1;
    (void)state;
    begin(0);
    for (uint16_t i = 1; i < 100; i++, n++)
        if (i % 4 != 3)
            (void)on_time(i, n);
    assert_true(quality_rx_block(&q, &r)); /* the highest is 98; 24 of 99 lost */
    assert_int_equal(r.highest, 98);
    assert_int_equal(r.lost, 24);
    assert_int_equal(r.fraction, 24 * 256 / 99);
    for (uint16_t i = 99; i < 199; i++, n++)
        (void)on_time(i, n);
    assert_true(quality_rx_block(&q, &r));
    assert_int_equal(r.lost, 24);
    assert_int_equal(r.fraction, 0);
    assert_true(quality_rx_block(&q, &r)); /* nothing in between */
    assert_int_equal(r.fraction, 0);
}

/* ---- beside a plain way of counting ---- */

enum { PACKETS = 3000 };

static void counts_are_those_of_a_plain_count(void **state)
{
    static uint8_t came[PACKETS];
    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        uint16_t first = (uint16_t)rnd();
        uint64_t duplicates = 0, received = 0;
        uint32_t highest = 0;
        quality_rx_init(&q, 8000);
        (void)on_time((uint16_t)(first - 1), 0);
        memset(came, 0, sizeof came);
        for (uint32_t i = 0; i < PACKETS; i++) {
            /* lost in runs, swapped by up to five, doubled */
            uint32_t k =
                i > 8 && i < PACKETS - 1 && rnd() % 10 == 0 ? i - (uint32_t)(rnd() % 6) : i;
            if (i > 0 && rnd() % 100 < (i / 300 % 2 ? 30 : 2) && i < PACKETS - 1)
                continue;
            enum quality_packet is = on_time((uint16_t)(first + k), 1 + k);
            if (i == 0)
                assert_int_equal(is, QUALITY_GOOD);
            assert_int_equal(is == QUALITY_DUPLICATE, came[k] > 0);
            duplicates += came[k] > 0;
            received += came[k] == 0;
            came[k] = 1;
            highest = k > highest ? k : highest;
        }
        assert_int_equal(q.total.expected, highest + 1);
        assert_int_equal(q.total.received, received);
        assert_int_equal(q.total.duplicates, duplicates);
        /* the bursts have seen each number once, as it was */
        struct quality_bursts plain = {0};
        for (uint32_t k = 0; k <= highest; k++)
            quality_bursts_push(&plain, !came[k], 1);
        struct quality_burst_figures a, b;
        quality_rx_bursts(&q, &a);
        quality_bursts_figures(&plain, &b);
        assert_memory_equal(&a, &b, sizeof a);
        assert_int_equal(q.bursts.packets + q.window_n, highest + 1);
    }
}

/* A run that is longer than the window. */
static void a_long_loss_is_one_burst(void **state)
{
    struct quality_burst_figures f;
    (void)state;
    for (unsigned run = 60; run < 200; run++) {
        quality_rx_init(&q, 8000);
        begin(0);
        for (uint32_t i = 1; i < 1000; i++)
            if (i < 100 || i >= 100 + run)
                assert_int_equal(on_time((uint16_t)i, 1 + i), QUALITY_GOOD);
        quality_rx_bursts(&q, &f);
        assert_true(f.bursts == 1 && f.gaps == 2 && f.burst_density == 1);
        ASSERT_NEAR(f.burst_packets, run, 1e-9);
        ASSERT_NEAR(f.gap_packets, (1000 - run) / 2.0, 1e-9);
        assert_int_equal(q.total.expected - q.total.received, run);
    }
}

/* ---- bursts ---- */

static void push_pattern(struct quality_bursts *b, const char *pattern)
{
    for (; *pattern; pattern++)
        quality_bursts_push(b, *pattern != '1', 1);
}

/* The example of RFC 3611 §4.7.2. Its gap duration is the sum of both, which the text defines as the mean. */
static void the_example_of_the_rfc(void **state)
{
    struct quality_bursts b = {0};
    struct quality_burst_figures f;
    (void)state;
    push_pattern(&b, "11110111111111111111111X111X1011110111111111111111111X111111111");
    quality_bursts_figures(&b, &f);
    assert_int_equal(f.bursts, 1);
    assert_int_equal(f.gaps, 2);
    ASSERT_NEAR(f.burst_packets, 12, 1e-9);
    ASSERT_NEAR(f.burst_density, 4 / 12.0, 1e-9);
    ASSERT_NEAR(f.gap_packets, (63 - 12) / 2.0, 1e-9);
    ASSERT_NEAR(f.gap_density, 2 / 51.0, 1e-9);
    assert_int_equal((int)(f.gap_density * 256), 10);
}

/* By the definition, from all packets at once: a bad packet is of a burst when another is within Gmin of it. */
static void bursts_are_those_of_the_definition(void **state)
{
    static bool bad[2000];
    (void)state;
    for (unsigned round = 0; round < 500; round++) {
        unsigned n = 1 + (unsigned)(rnd() % 2000), percent = (unsigned)(rnd() % 30);
        struct quality_bursts b = {0};
        for (unsigned i = 0; i < n; i++) {
            bad[i] = rnd() % 100 < percent;
            quality_bursts_push(&b, bad[i], 1);
        }
        uint64_t bursts = 0, in_bursts = 0, bad_in_bursts = 0, all_bad = 0, runs = 0, gaps = 0;
        unsigned gap_from = 0;
        for (unsigned i = 0; i < n; i++) {
            all_bad += bad[i];
            runs += bad[i] && (i == 0 || !bad[i - 1]);
        }
        for (unsigned i = 0; i < n;) {
            unsigned last = i, count = 1;
            if (!bad[i]) {
                i++;
                continue;
            }
            for (unsigned k = i + 1; k < n && k - last - 1 < QUALITY_GMIN; k++) {
                if (bad[k]) {
                    last = k;
                    count++;
                }
            }
            if (count > 1) {
                bursts++;
                in_bursts += last - i + 1;
                bad_in_bursts += count;
                gaps += i > gap_from;
                gap_from = last + 1;
            }
            i = last + 1;
        }
        gaps += n > gap_from;
        struct quality_burst_figures f;
        quality_bursts_figures(&b, &f);
        assert_int_equal(f.bursts, bursts);
        assert_int_equal(f.gaps, gaps);
        ASSERT_NEAR(f.burst_packets, bursts ? (double)in_bursts / (double)bursts : 0, 1e-9);
        ASSERT_NEAR(f.burst_density, in_bursts ? (double)bad_in_bursts / (double)in_bursts : 0,
                    1e-9);
        ASSERT_NEAR(f.gap_density,
                    n > in_bursts ? (double)(all_bad - bad_in_bursts) / (double)(n - in_bursts) : 0,
                    1e-9);
        ASSERT_NEAR(f.gap_packets, gaps ? (double)(n - in_bursts) / (double)gaps : 0, 1e-9);
        double ratio = runs ? (double)all_bad / (double)runs * (1 - (double)all_bad / n) : 1;
        ASSERT_NEAR(f.ratio, ratio > 1 ? ratio : 1, 1e-9);
    }
}

static void random_losses_have_a_ratio_of_one_runs_have_more(void **state)
{
    struct quality_burst_figures f;
    struct quality_bursts single = {0}, runs = {0};
    (void)state;
    for (unsigned i = 0; i < 200000; i++)
        quality_bursts_push(&single, rnd() % 20 == 0, 1);
    quality_bursts_figures(&single, &f);
    ASSERT_NEAR(f.ratio, 1, 0.03);
    for (unsigned i = 0; i < 20000; i++) {
        quality_bursts_push(&runs, true, 4);
        quality_bursts_push(&runs, false, 76);
    }
    quality_bursts_figures(&runs, &f);
    ASSERT_NEAR(f.ratio, 4 * 0.95, 1e-6);
}

/* ---- jitter ---- */

struct arrival {
    usec at;
    uint32_t n;
};

static int by_time(const void *a, const void *b)
{
    const struct arrival *x = a, *y = b;
    return x->at != y->at ? (x->at > y->at) - (x->at < y->at) : (x->n > y->n) - (x->n < y->n);
}

static struct arrival arrivals[60000];

/* A.8 as its code is written, in units of the clock and with floating point. */
static double plain_jitter(size_t n, uint32_t hz, uint32_t units_each)
{
    double s_transit = 0, s_jitter = 0;
    for (size_t i = 0; i < n; i++) {
        double arrival = (double)arrivals[i].at * hz / 1e6;
        double transit = arrival - (double)arrivals[i].n * units_each;
        double d = i ? fabs(transit - s_transit) : 0;
        s_transit = transit;
        s_jitter += i ? (1. / 16.) * (d - s_jitter) : 0;
    }
    return s_jitter;
}

static void jitter_is_that_of_the_rfc(void **state)
{
    static const uint32_t clocks[] = {8000, 48000, 90000};
    (void)state;
    for (size_t c = 0; c < 3; c++) {
        uint32_t units = clocks[c] / 50, ts0 = (uint32_t)rnd();
        size_t n = 4000;
        for (uint32_t i = 0; i < n;
             i++) /* delays of 0 to 120 ms: six packets out of order at most */
            arrivals[i] = (struct arrival){(usec)i * 20000 + (usec)(even() * 120000), i};
        qsort(arrivals, n, sizeof arrivals[0], by_time);
        for (size_t upto = 100; upto <= n; upto += 650) {
            quality_rx_init(&q, clocks[c]);
            (void)quality_rx_packet(&q, SSRC, 0xffff, 0, 0,
                                    0); /* so that the next in order begins it */
            q.next_seq = (uint16_t)arrivals[0].n;
            for (size_t i = 0; i < upto; i++)
                (void)quality_rx_packet(&q, SSRC, (uint16_t)arrivals[i].n,
                                        ts0 + arrivals[i].n * units, 160,
                                        arrivals[i].at + 777 * USEC_HOUR);
            ASSERT_NEAR(quality_rx_jitter(&q), plain_jitter(upto, clocks[c], units), 1.01);
        }
    }
}

/* ---- what a network does, and what is said of it ---- */

struct network {
    double loss; /* 0 to 1 */
    double a_us; /* delays of d ± a, evenly; 0: normal */
    double sigma_us;
    bool in_order; /* a packet waits for those before it */
};

/* What a network does to n packets of 20 ms: their arrivals, in order of time; how many. */
static size_t through(const struct network *w, uint32_t n, uint32_t spacing_us)
{
    size_t count = 0;
    usec last = 0;
    for (uint32_t i = 0; i < n; i++) {
        double gauss = sqrt(-2 * log(1 - even())) * cos(6.283185307179586 * even());
        double delay = 200e3 + (w->a_us > 0 ? (2 * even() - 1) * w->a_us : gauss * w->sigma_us);
        usec at = (usec)i * spacing_us + (usec)delay;
        if (i > 1 && even() < w->loss)
            continue;
        if (w->in_order && at < last)
            at = last;
        last = at;
        arrivals[count++] = (struct arrival){at, i};
    }
    qsort(arrivals, count, sizeof arrivals[0], by_time);
    return count;
}

struct said {
    double loss, jitter_us, spread_us;
};

/* What is said of it: intervals of 250 packets, spread as their mean. */
static struct said report(size_t n, uint32_t hz, uint32_t spacing_us)
{
    uint32_t units = (uint32_t)((uint64_t)hz * spacing_us / 1000000);
    double spreads = 0;
    unsigned intervals = 0;
    quality_rx_init(&q, hz);
    (void)quality_rx_packet(&q, SSRC, 0xffff, 0, 0, 0);
    q.next_seq = (uint16_t)arrivals[0].n;
    for (size_t i = 0; i < n; i++) {
        (void)quality_rx_packet(&q, SSRC, (uint16_t)arrivals[i].n, arrivals[i].n * units, 160,
                                arrivals[i].at);
        if (i % 250 == 249) {
            spreads += (double)quality_rx_spread(&q);
            intervals++;
            quality_rx_spread_reset(&q);
        }
    }
    return (struct said){1 - (double)q.total.received / (double)q.total.expected,
                         q.total.jitter_sum / (double)q.total.jitter_n, spreads / intervals};
}

#define ASSERT_WITHIN_10_PERCENT(got, want) ASSERT_NEAR(got, want, 0.1 * (want))

/* 5 % of loss and ± 40 ms. Packets of 100 ms keep their order by themselves: delays are independent, and the mean of |D|
 * is 2/3 of 40 ms. With 20 ms they overtake one another, or are delayed further so that order is kept: it is
 * 0.72 or 0.46 of 40 ms then (found by trying, in another language); the spread is 40 ms still. */
static void loss_and_jitter_are_those_of_the_network(void **state)
{
    static const uint32_t clocks[] = {8000, 48000, 90000};
    const struct network apart = {.loss = 0.05, .a_us = 40e3};
    const struct network kept = {.loss = 0.05, .a_us = 40e3, .in_order = true};
    const struct network normal = {.loss = 0.05, .sigma_us = 40e3 * sqrt(3.14159265) / 2};
    (void)state;
    for (size_t c = 0; c < 3; c++) {
        for (unsigned seed = 1; seed <= 5; seed++) {
            chance = seed * 0x9e3779b97f4a7c15;
            struct said s = report(through(&apart, 15000, 100000), clocks[c], 100000);
            ASSERT_WITHIN_10_PERCENT(s.loss, 0.05);
            ASSERT_WITHIN_10_PERCENT(s.jitter_us, 40e3 * 2 / 3);
            ASSERT_WITHIN_10_PERCENT(s.spread_us, 40e3);
            s = report(through(&kept, 15000, 20000), clocks[c], 20000);
            ASSERT_WITHIN_10_PERCENT(s.loss, 0.05);
            ASSERT_WITHIN_10_PERCENT(s.jitter_us, 0.46 * 40e3);
            ASSERT_WITHIN_10_PERCENT(s.spread_us, 40e3);
            s = report(through(&apart, 15000, 20000), clocks[c], 20000);
            ASSERT_WITHIN_10_PERCENT(s.loss, 0.05);
            ASSERT_WITHIN_10_PERCENT(s.jitter_us, 0.72 * 40e3);
            ASSERT_WITHIN_10_PERCENT(s.spread_us, 40e3);
            /* σ such that the mean of |D| is 40 ms; packets 400 ms apart stay in order */
            s = report(through(&normal, 15000, 400000), clocks[c], 400000);
            ASSERT_WITHIN_10_PERCENT(s.jitter_us, 40e3);
        }
    }
}

/* Clocks that are 200 ppm apart are no jitter, nor lateness. */
static void clocks_drift(void **state)
{
    (void)state;
    begin(0);
    for (uint32_t i = 1; i < 180000; i++) { /* an hour */
        usec at = (usec)(((double)i + 1) * 20000 * 1.0002);
        assert_int_equal(quality_rx_packet(&q, SSRC, (uint16_t)i, (i + 1) * 160, 160, at),
                         QUALITY_GOOD);
        if (i % 250 == 0) {
            assert_true(quality_rx_spread(&q) <= 2 * USEC_MS);
            quality_rx_spread_reset(&q);
        }
    }
    assert_true(q.total.jitter_sum / (double)q.total.jitter_n < 10);
    assert_int_equal(q.total.late, 0);
}

static void what_comes_too_late_is_late(void **state)
{
    (void)state;
    begin(0);
    for (uint32_t i = 1; i < 1000; i++) {
        usec late = i % 100 == 50   ? QUALITY_LATE + USEC_MS
                    : i % 100 == 51 ? QUALITY_LATE - 25 * USEC_MS
                                    : 0;
        enum quality_packet is = quality_rx_packet(&q, SSRC, (uint16_t)i, (i + 1) * 160, 160,
                                                   (usec)(i + 1) * 20000 + late);
        assert_int_equal(is, i % 100 == 50 ? QUALITY_LATE_PACKET : QUALITY_GOOD);
    }
    assert_int_equal(q.total.late, 10);
    assert_int_equal(q.total.received, q.total.expected);
    assert_int_equal(q.total.reordered, 0);
    struct quality_burst_figures f;
    quality_rx_bursts(&q, &f);
    assert_int_equal(f.bursts, 0);
    ASSERT_NEAR(f.gap_density, 0.01, 1e-9);
}

/* A key of 400 ms: its packets have one timestamp each. The jitter of A.8 sees them (RFC 4733 §2.5.2.2), lateness and the
 * mean do not. */
static void packets_with_one_timestamp_are_not_late(void **state)
{
    (void)state;
    begin(0);
    for (uint32_t i = 1; i < 500; i++) {
        uint32_t ts = i >= 100 && i < 120 ? 101 : i + 1;
        assert_int_equal(
            quality_rx_packet(&q, SSRC, (uint16_t)i, ts * 160, 160, (usec)(i + 1) * 20000),
            QUALITY_GOOD);
        if (i == 119)
            assert_true(q.jitter > 10e3);
    }
    assert_true(q.total.jitter_sum < 1);
    assert_int_equal(quality_rx_spread(&q), 0);
}

/* Held and resumed, with a timestamp that stood still; another clock; a new source: all no jitter. */
static void steps_are_no_jitter(void **state)
{
    usec now;
    uint32_t ts = 160;
    uint16_t seq = 1;
    (void)state;
    begin(0);
    now = 20000;
    for (unsigned part = 0; part < 5; part++) {
        for (unsigned i = 0; i < 200; i++) {
            uint32_t hz = part < 3 ? 8000 : 48000;
            now += 20000;
            ts += hz / 50;
            assert_int_equal(quality_rx_packet(&q, part < 4 ? SSRC : 9, seq, ts, 160, now),
                             part == 4 && i == 0 ? QUALITY_UNSURE : QUALITY_GOOD);
            seq++;
        }
        if (part == 0)
            now += USEC_MIN; /* hold */
        if (part == 1) {
            ts += 0x7fff1234; /* the timestamp jumps */
            /* silence for a good second, of which the timestamp has seen a part */
            now += 1200 * USEC_MS;
            ts += 2400;
            assert_int_equal(quality_rx_packet(&q, SSRC, seq++, ts, 160, now), QUALITY_GOOD);
            now += 1200 * USEC_MS;
            ts += 2400;
        }
        if (part == 2)
            quality_rx_clock(&q, 48000);
    }
    assert_true(q.jitter < 1 && q.total.jitter_sum < 1);
    assert_int_equal(quality_rx_spread(&q), 0);
    assert_int_equal(q.total.late, 0);
    assert_int_equal(q.total.expected, q.total.received);
}

/* Anything at all: no count runs away, nothing is undefined. */
static void any_packets_at_all(void **state)
{
    usec now = 0;
    struct rtcp_block r;
    struct quality_burst_figures f;
    (void)state;
    for (unsigned round = 0; round < 50; round++) {
        quality_rx_init(&q, round % 2 ? 1 : UINT32_MAX);
        uint64_t fed = 0;
        for (unsigned i = 0; i < 20000; i++, fed++) {
            uint64_t x = rnd();
            now += (usec)(x % 3000000) - 100; /* back now and then */
            (void)quality_rx_packet(&q, x >> 20 & 1,
                                    (uint16_t)((round % 3 ? i : 0) + (x >> 22 & 127)),
                                    (uint32_t)(x >> 32), SIZE_MAX, now);
            if (x % 100 == 0)
                (void)quality_rx_block(&q, &r);
            if (x % 1000 == 0)
                quality_rx_spread_reset(&q);
        }
        assert_true(q.total.received + q.total.duplicates <= fed &&
                    q.total.received <= q.total.expected);
        quality_rx_bursts(&q, &f);
        assert_true(f.burst_density <= 1 && f.gap_density <= 1 && f.ratio >= 1);
        assert_true(quality_rx_spread(&q) >= 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_source_is_believed_from_its_second_packet, setup),
        cmocka_unit_test_setup(numbers_wrap, setup),
        cmocka_unit_test_setup(jumps_are_believed_from_the_second_packet, setup),
        cmocka_unit_test_setup(one_packet_of_a_stranger_changes_nothing, setup),
        cmocka_unit_test_setup(duplicates_and_order_are_told, setup),
        cmocka_unit_test_setup(the_window_has_an_end, setup),
        cmocka_unit_test_setup(the_fraction_is_of_the_interval, setup),
        cmocka_unit_test_setup(counts_are_those_of_a_plain_count, setup),
        cmocka_unit_test_setup(a_long_loss_is_one_burst, setup),
        cmocka_unit_test_setup(the_example_of_the_rfc, setup),
        cmocka_unit_test_setup(bursts_are_those_of_the_definition, setup),
        cmocka_unit_test_setup(random_losses_have_a_ratio_of_one_runs_have_more, setup),
        cmocka_unit_test_setup(jitter_is_that_of_the_rfc, setup),
        cmocka_unit_test_setup(loss_and_jitter_are_those_of_the_network, setup),
        cmocka_unit_test_setup(clocks_drift, setup),
        cmocka_unit_test_setup(what_comes_too_late_is_late, setup),
        cmocka_unit_test_setup(packets_with_one_timestamp_are_not_late, setup),
        cmocka_unit_test_setup(steps_are_no_jitter, setup),
        cmocka_unit_test_setup(any_packets_at_all, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
