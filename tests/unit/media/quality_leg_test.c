/* SPDX-License-Identifier: MIT */
/* A side of a call: round trips, what it says that it hears, our reports and when they are due; two parties over a network
 * with known loss and delay, relayed and ended here; MOS that falls and recovers. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <math.h>
#include <stdlib.h>
#include <cmocka.h>
#include "quality/quality_leg.h"

#define ASSERT_NEAR(got, want, by) assert_true(fabs((double)(got) - (double)(want)) <= (by))

enum { SSRC_A = 0xaaaa, SSRC_B = 0xbbbb, SSRC_US = 0xcccc };

static struct quality_leg a, b;
static struct buf out;
static char mem[2000];
static uint64_t chance;

static int setup(void **state)
{
    (void)state;
    chance = 0x9e3779b97f4a7c15;
    quality_leg_init(&a, 8000);
    quality_leg_init(&b, 8000);
    a.codec_in = a.codec_out = b.codec_in = b.codec_out = &quality_g711;
    buf_init(&out, mem, sizeof mem);
    return 0;
}

static uint64_t rnd(void)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return chance;
}

/* n packets of 20 ms from seq on, the first of which is not counted. */
static void feed(struct quality_rx *q, uint32_t ssrc, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        (void)quality_rx_packet(q, ssrc, (uint16_t)i, i * 160, 160, (usec)i * 20 * USEC_MS);
}

static sv sr(uint32_t ssrc, uint64_t ntp, const struct rtcp_block *block)
{
    struct rtcp_sender s = {.ntp = ntp};
    buf_reset(&out);
    rtcpmsg_put_sr(&out, ssrc, &s, block, block ? 1 : 0);
    return buf_sv(&out);
}

static sv rr(uint32_t ssrc, const struct rtcp_block *block)
{
    buf_reset(&out);
    rtcpmsg_put_rr(&out, ssrc, block, 1);
    return buf_sv(&out);
}

/* ---- round trips ---- */

static void the_round_trip_is_between_passing_and_passing_back(void **state)
{
    const uint64_t ntp = 0x0123456789abcdef;
    struct rtcp_block block = {
        .ssrc = SSRC_A, .lsr = 0x456789ab, .dlsr = 65536 * 2, .highest = 100};
    (void)state;
    feed(&a.in, SSRC_A, 100);
    assert_int_equal(quality_passed(&a, &b, sr(SSRC_A, ntp, NULL), 10 * USEC_S), ERR_OK);
    /* B kept it for 2 s and it is back 2.075 s after it passed */
    assert_int_equal(quality_passed(&b, &a, rr(SSRC_B, &block), 12 * USEC_S + 75 * USEC_MS),
                     ERR_OK);
    assert_true(b.rtt == 75 * USEC_MS);
    assert_true(a.rtt == 0);
    /* the other side likewise; together it is the way from end to end */
    feed(&b.in, SSRC_B, 100);
    assert_int_equal(quality_passed(&b, &a, sr(SSRC_B, ntp + 1, NULL), 20 * USEC_S), ERR_OK);
    block.ssrc = SSRC_B;
    block.dlsr = 0;
    assert_int_equal(
        quality_passed(&a, &b, sr(SSRC_A, ntp + 99, &block), 20 * USEC_S + 25 * USEC_MS), ERR_OK);
    assert_true(a.rtt == 25 * USEC_MS);
    struct quality_span s, worst;
    quality_direction(&a, &b, &s, &worst);
    assert_int_equal(s.rtt_us, 100000);
}

static void an_answer_to_nothing_is_no_round_trip(void **state)
{
    struct rtcp_block block = {.ssrc = SSRC_A, .lsr = 0x456789ab, .highest = 100};
    (void)state;
    feed(&a.in, SSRC_A, 100);
    (void)quality_passed(&b, &a, rr(SSRC_B, &block), 5 * USEC_S); /* never sent */
    assert_true(b.rtt == 0 && b.out.any);
    for (uint64_t i = 0; i <= QUALITY_SENT_MAX; i++)
        (void)quality_passed(&a, &b, sr(SSRC_A, 0x0123456789abcdef + (i << 32), NULL), 10 * USEC_S);
    (void)quality_passed(&b, &a, rr(SSRC_B, &block), 10 * USEC_S); /* too many since */
    assert_true(b.rtt == 0);
    block.lsr = 0;
    (void)quality_passed(&a, &b, sr(SSRC_A, 0x1234, NULL), 10 * USEC_S);
    (void)quality_passed(&b, &a, rr(SSRC_B, &block), 10 * USEC_S); /* 0: none was received */
    assert_true(b.rtt == 0);
    (void)quality_passed(&a, &b, sr(SSRC_A, 0x0123456789abcdef, NULL), 10 * USEC_S);
    block.lsr = 0x456789ab;
    block.dlsr = UINT32_MAX; /* longer than it can have been */
    (void)quality_passed(&b, &a, rr(SSRC_B, &block), 11 * USEC_S);
    assert_true(b.rtt == 1);
    block.dlsr = 0; /* hours */
    (void)quality_passed(&b, &a, rr(SSRC_B, &block), 3 * USEC_HOUR);
    assert_true(b.rtt == 1);
    assert_int_equal(quality_passed(&b, &a, SV("no rtcp"), 0), ERR_SYNTAX);
}

/* RFC 3611 §4.4, §4.5: who sends no SR. */
static void who_only_receives_asks_with_rrtr(void **state)
{
    struct rtcp_dlrr d = {SSRC_A, 0x456789ab, 65536};
    (void)state;
    struct rtcp_xr x = rtcpmsg_xr_begin(&out, SSRC_A);
    rtcpmsg_xr_put_rrtr(&x, 0x0123456789abcdef);
    assert_int_equal(quality_passed(&a, &b, buf_sv(&out), 10 * USEC_S), ERR_OK);
    buf_reset(&out);
    x = rtcpmsg_xr_begin(&out, SSRC_B);
    rtcpmsg_xr_put_dlrr(&x, &d, 1);
    assert_int_equal(quality_passed(&b, &a, buf_sv(&out), 11 * USEC_S + 30 * USEC_MS), ERR_OK);
    assert_true(b.rtt == 30 * USEC_MS);
}

/* ---- what it hears ---- */

static void blocks_on_other_streams_are_ignored(void **state)
{
    struct rtcp_block block = {.ssrc = 0x999, .lost = 50, .highest = 99};
    struct quality_span s;
    (void)state;
    (void)quality_passed(&b, &a, rr(SSRC_B, &block), USEC_S); /* nobody sends yet */
    feed(&a.in, SSRC_A, 101);
    (void)quality_passed(&b, &a, rr(SSRC_B, &block), USEC_S);
    assert_false(b.out.any || quality_out(&b, &a, &s));
    block.ssrc = SSRC_A;
    (void)quality_passed(&b, &a, rr(SSRC_B, &block), USEC_S);
    assert_true(quality_out(&b, &a, &s));
    assert_true(s.expected == 100 && s.lost == 50);
    ASSERT_NEAR(s.loss, 0.5, 1e-9);
    /* one that another side sends of itself, to an end of ours */
    (void)quality_received(&a, rr(SSRC_A, &block), USEC_S);
    assert_false(a.out.any);
}

static void reports_are_compared_one_with_the_next(void **state)
{
    struct rtcp_block block = {.ssrc = SSRC_A, .highest = 1000, .lost = 0, .jitter = 80};
    struct quality_span s;
    (void)state;
    feed(&a.in, SSRC_A, 1001);
    (void)quality_passed(&b, &a, rr(SSRC_B, &block), 20 * USEC_S);
    assert_int_equal(b.last_out.expected, 1000);
    assert_int_equal(b.last_out.jitter_us, 10000); /* 80 units of 8000 Hz */
    block.highest += 250;
    block.lost += 50;
    block.jitter = 240;
    (void)quality_passed(&b, &a, rr(SSRC_B, &block), 25 * USEC_S);
    assert_int_equal(b.last_out.expected, 250);
    assert_int_equal(b.last_out.lost, 50);
    ASSERT_NEAR(b.last_out.loss, 0.2, 1e-9);
    assert_true(b.worst_out.mos < 3 && b.worst_out.at == 25 * USEC_S);
    block.highest += 250;
    block.lost -= 10; /* late ones have come */
    (void)quality_passed(&b, &a, rr(SSRC_B, &block), 30 * USEC_S);
    assert_true(b.last_out.loss == 0 && b.last_out.mos > 4.2);
    (void)quality_passed(&b, &a, rr(SSRC_B, &block), 31 * USEC_S); /* nothing new */
    assert_true(b.last_out.at == 30 * USEC_S);
    block.highest = 5; /* begun anew: cannot be compared, is where the next one is */
    block.lost = 0;
    (void)quality_passed(&b, &a, rr(SSRC_B, &block), 35 * USEC_S);
    assert_true(b.last_out.at == 30 * USEC_S);
    assert_true(quality_out(&b, &a, &s));
    assert_int_equal(s.expected, 1500);
    assert_int_equal(s.lost, 40);
    assert_true(b.worst_out.at == 25 * USEC_S);
    ASSERT_NEAR(s.jitter_us, (10000 + 30000 + 30000) / 3.0, 1);
}

static void voip_metrics_say_more(void **state)
{
    struct rtcp_block block = {.ssrc = SSRC_A, .highest = 1000, .lost = 10};
    struct rtcp_voip v = {.ssrc = SSRC_A,
                          .loss_rate = 3,
                          .discard_rate = 26,
                          .burst_density = 128,
                          .gmin = 16,
                          .jb_nominal_ms = 150,
                          .mos_cq = 39,
                          .mos_lq = 40,
                          .r_factor = 80,
                          .ext_r_factor = 127};
    struct quality_span s, without;
    (void)state;
    feed(&a.in, SSRC_A, 1001);
    (void)quality_passed(&b, &a, rr(SSRC_B, &block), 20 * USEC_S);
    assert_true(quality_out(&b, &a, &without));
    buf_reset(&out);
    struct rtcp_xr x = rtcpmsg_xr_begin(&out, SSRC_B);
    v.ssrc = 0x999;
    rtcpmsg_xr_put_voip(&x, &v);
    (void)quality_passed(&b, &a, buf_sv(&out), 20 * USEC_S);
    assert_false(b.out.has_voip);
    v.ssrc = SSRC_A;
    rtcpmsg_xr_put_voip(&x, &v);
    (void)quality_passed(&b, &a, buf_sv(&out), 20 * USEC_S);
    assert_true(b.out.has_voip && b.out.voip.mos_cq == 39);
    assert_true(quality_out(&b, &a, &s));
    ASSERT_NEAR(s.loss, 0.01 + 26 / 256.0, 1e-9);
    assert_int_equal(s.late, 26 * 1000 / 256);
    assert_true(s.burst > 1.5 && s.mos < without.mos);
}

/* ---- our reports ---- */

/* §6.3.1 by hand. */
static void intervals_are_those_of_the_rfc(void **state)
{
    (void)state;
    assert_true(quality_rtcp_interval(2, 2, 400, true, 128, false, 0x80000000) == 5 * USEC_S);
    assert_true(quality_rtcp_interval(2, 2, 400, true, 128, true, 0x80000000) == 2500 * USEC_MS);
    assert_true(quality_rtcp_interval(2, 2, 400, true, 128, false, 0) == 2500 * USEC_MS);
    ASSERT_NEAR(quality_rtcp_interval(2, 2, 400, true, 128, false, UINT32_MAX), 7500 * USEC_MS, 2);
    /* 10 members with 1000 octets each at 500 octets a second: 20 s */
    assert_true(quality_rtcp_interval(10, 5, 500, true, 1000, false, 0x80000000) == 20 * USEC_S);
    /* one of ten sends: it has a quarter of the bandwidth for itself, the nine others have the rest */
    assert_true(quality_rtcp_interval(10, 1, 500, true, 1000, false, 0x80000000) == 8 * USEC_S);
    assert_true(quality_rtcp_interval(10, 1, 500, false, 1000, false, 0x80000000) == 24 * USEC_S);
    assert_true(quality_rtcp_interval(2, 0, 0, false, 128, false, 0x80000000) == 5 * USEC_S);
    assert_true(quality_rtcp_interval(1000000, 0, 1e-9, false, 128, false, UINT32_MAX) <=
                2 * USEC_HOUR);
    assert_true(quality_rtcp_due(&a) == USEC_NEVER);
    quality_rtcp_start(&a, 8000, 100 * USEC_S, 0x80000000);
    assert_true(quality_rtcp_due(&a) == 102500 * USEC_MS);
}

static const struct quality_rtcp ours = {.ssrc = SSRC_US, .cname = {"x@example.test", 14}};

/* The first packet of what was written, and whether the whole is a compound packet. */
static struct rtcp_report written(void)
{
    struct rtcp_walk w = {0};
    struct rtcpmsg m;
    struct rtcp_report r = {0};
    sv cname = SV_NONE;
    assert_int_equal(out.rc, ERR_OK);
    assert_int_equal(rtcpmsg_check(buf_sv(&out), RTCP_COMPOUND), ERR_OK);
    assert_true(rtcpmsg_next(buf_sv(&out), &w, &m) && rtcpmsg_report(&m, &r) == ERR_OK);
    assert_true(rtcpmsg_next(buf_sv(&out), &w, &m) && rtcpmsg_cname(&m, SSRC_US, &cname));
    assert_true(sv_eq(cname, ours.cname));
    return r;
}

static bool has(uint8_t type, struct rtcpmsg *ret)
{
    struct rtcp_walk w = {0};
    while (rtcpmsg_next(buf_sv(&out), &w, ret))
        if (ret->type == type)
            return true;
    return false;
}

static void a_sender_report_says_what_was_sent(void **state)
{
    const usec wall = 1700000000 * USEC_S;
    (void)state;
    feed(&a.in, SSRC_A, 50);
    (void)quality_received(&a, sr(SSRC_A, 0x0123456789abcdef, NULL), USEC_S);
    for (uint32_t i = 0; i < 10; i++)
        quality_sent_packet(&a, SSRC_US, 8000, 1000 + i * 160, 160, USEC_S + i * 20 * USEC_MS);
    buf_reset(&out);
    quality_rtcp_start(&a, 8000, USEC_S, 0);
    quality_rtcp_put(&a, &out, &ours, USEC_S + 230 * USEC_MS, wall, 0x80000000);
    struct rtcp_report r = written();
    assert_true(r.has_sender && r.ssrc == SSRC_US);
    assert_true(r.sender.ntp == rtcpmsg_ntp(wall));
    assert_int_equal(r.sender.ts, 1000 + 9 * 160 + 50 * 8); /* 50 ms after the last */
    assert_int_equal(r.sender.packets, 10);
    assert_int_equal(r.sender.octets, 1600);
    assert_int_equal(r.blocks, 1);
    struct rtcp_block block = rtcpmsg_block(&r, 0);
    assert_true(block.ssrc == SSRC_A && block.lsr == 0x456789ab);
    assert_int_equal(block.dlsr, 230 * 65536 / 1000);
    assert_true(quality_rtcp_due(&a) == USEC_S + 230 * USEC_MS + 5 * USEC_S);
    struct rtcpmsg m;
    assert_false(has(RTCP_XR, &m) || has(RTCP_BYE, &m));
    /* it is answered: the round trip is ours */
    struct rtcp_block answer = {
        .ssrc = SSRC_US, .lsr = rtcpmsg_ntp_middle(rtcpmsg_ntp(wall)), .dlsr = 65536};
    (void)quality_received(&a, rr(SSRC_A, &answer), USEC_S + 230 * USEC_MS + USEC_S + 40 * USEC_MS);
    assert_true(a.rtt == 40 * USEC_MS);
    /* two reports after the last packet of ours we are no sender (§6.4, §6.3.8) */
    for (int i = 0; i < 3; i++) {
        buf_reset(&out);
        quality_rtcp_put(&a, &out, &ours, (10 + i) * USEC_S, wall, 0);
        assert_int_equal(written().has_sender, i == 0);
    }
}

static void who_sends_nothing_writes_receiver_reports(void **state)
{
    struct rtcpmsg m;
    (void)state;
    quality_rtcp_put(&a, &out, &ours, USEC_S, 0, 0);
    struct rtcp_report r = written();
    assert_true(!r.has_sender &&
                r.blocks == 0); /* §6.4.2: "An empty RR packet (RC = 0) MUST be put" */
    feed(&a.in, SSRC_A, 50);
    (void)quality_received(&a, sr(0x999, 0x0123456789abcdef, NULL),
                           USEC_S); /* not whose stream it is */
    buf_reset(&out);
    quality_rtcp_put(&a, &out, &ours, USEC_S, 0, 0);
    r = written();
    assert_int_equal(r.blocks, 1);
    assert_int_equal(rtcpmsg_block(&r, 0).lsr, 0);
    assert_false(has(RTCP_SR, &m));
    /* an SR of a source that is gone is not this one's */
    (void)quality_received(&a, sr(SSRC_A, 0x0123456789abcdef, NULL), USEC_S);
    feed(&a.in, SSRC_B, 50);
    buf_reset(&out);
    quality_rtcp_put(&a, &out, &ours, USEC_S, 0, 0);
    r = written();
    assert_int_equal(rtcpmsg_block(&r, 0).ssrc, SSRC_B);
    assert_int_equal(rtcpmsg_block(&r, 0).lsr, 0);
    /* no wall clock: an NTP timestamp of 0 */
    quality_sent_packet(&a, SSRC_US, 8000, 1, 160, USEC_S);
    buf_reset(&out);
    quality_rtcp_put(&a, &out, &ours, USEC_S, 0, 0);
    r = written();
    assert_true(r.has_sender && r.sender.ntp == 0);
}

static void a_bye_ends_it(void **state)
{
    struct rtcpmsg m;
    struct rtcp_bye bye;
    (void)state;
    quality_rtcp_start(&a, 8000, 0, 0);
    quality_rtcp_bye(&a, &out, &ours, SV("over"), USEC_S, 0); /* never sent anything: MUST NOT */
    assert_int_equal(out.n, 0);
    assert_true(quality_rtcp_due(&a) == USEC_NEVER);
    quality_sent_packet(&a, SSRC_US, 8000, 1, 160, USEC_S);
    quality_rtcp_bye(&a, &out, &ours, SV("over"), USEC_S, 0);
    (void)written();
    assert_true(has(RTCP_BYE, &m) && rtcpmsg_bye(&m, &bye) == ERR_OK);
    assert_true(bye.n == 1 && rtcpmsg_bye_ssrc(&bye, 0) == SSRC_US &&
                sv_eq(bye.reason, SV("over")));
    feed(&b.in, SSRC_US, 10);
    assert_int_equal(quality_received(&b, buf_sv(&out), USEC_S), ERR_OK);
    assert_true(b.bye);
}

static void voip_metrics_are_written(void **state)
{
    struct quality_rtcp with_xr = ours;
    struct rtcpmsg m;
    struct rtcp_xr_walk w = {0};
    struct rtcp_xr_block x;
    struct rtcp_voip v = {0};
    uint64_t ntp = 0;
    unsigned dlrrs = 0;
    (void)state;
    with_xr.voip = with_xr.rrtr = true;
    with_xr.jb_nominal_ms = 60;
    with_xr.jb_max_ms = with_xr.jb_abs_max_ms = 200;
    for (unsigned i = 0; i < 2000;
         i++) /* 20 bursts of 4 within 6, a loss alone between them: of 100 packets 5 */
        if (!(i % 100 >= 10 && i % 100 <= 15 && i % 100 != 12 && i % 100 != 14) && i % 100 != 60)
            (void)quality_rx_packet(&a.in, SSRC_A, (uint16_t)i, i * 160, 160,
                                    (usec)i * 20 * USEC_MS);
    struct rtcp_xr theirs = rtcpmsg_xr_begin(&out, SSRC_A);
    rtcpmsg_xr_put_rrtr(&theirs, 0x0123456789abcdef);
    (void)quality_received(&a, buf_sv(&out), 40 * USEC_S);
    buf_reset(&out);
    a.rtt = 80 * USEC_MS;
    quality_rtcp_put(&a, &out, &with_xr, 41 * USEC_S, 1700000000 * USEC_S, 0);
    (void)written();
    assert_true(has(RTCP_XR, &m));
    while (rtcpmsg_xr_next(&m, &w, &x)) {
        (void)!rtcpmsg_xr_rrtr(&x, &ntp);
        (void)!rtcpmsg_xr_voip(&x, &v);
        if (rtcpmsg_xr_dlrrs(&x) == 1) {
            struct rtcp_dlrr d = rtcpmsg_xr_dlrr(&x, 0);
            assert_true(d.ssrc == SSRC_A && d.lrr == 0x456789ab && d.dlrr == 65536);
            dlrrs++;
        }
    }
    assert_true(ntp == rtcpmsg_ntp(1700000000 * USEC_S));
    assert_int_equal(dlrrs, 1);
    assert_int_equal(v.ssrc, SSRC_A);
    assert_int_equal(v.loss_rate, 12); /* 5 % of 256 */
    assert_int_equal(v.discard_rate, 0);
    assert_int_equal(v.burst_density, 4 * 256 / 6);
    assert_int_equal(v.burst_ms, 120);
    assert_int_equal(v.gap_density, 2); /* 20 of 1879 */
    assert_true(v.gap_ms >= 1780 && v.gap_ms <= 1880);
    assert_int_equal(v.round_trip_ms, 80);
    assert_int_equal(v.gmin, 16);
    assert_true(v.mos_lq >= v.mos_cq && v.mos_cq > 25 && v.mos_lq < 42 && v.r_factor > 40 &&
                v.r_factor < 90);
    assert_true(v.signal_dbm == 127 && v.rerl_db == 127 && v.ext_r_factor == 127 &&
                v.jb_nominal_ms == 60);
}

/* ---- two parties over a network ---- */

enum { PTIME = 20000, WAY_MAX = 600 };

/* RTP or RTCP on its way. */
struct datagram {
    usec at;
    bool rtcp;
    size_t n;
    uint16_t seq;
    uint32_t ts;
    char octets[400];
};
struct way {
    struct datagram d[WAY_MAX];
    unsigned n;
};

static void put_on(struct way *w, const struct datagram *d)
{
    assert_true(w->n < WAY_MAX);
    w->d[w->n++] = *d;
}

/* The next one that has arrived by now. */
static bool take_off(struct way *w, usec now, struct datagram *ret)
{
    unsigned first = w->n;
    for (unsigned i = 0; i < w->n; i++)
        if (w->d[i].at <= now && (first == w->n || w->d[i].at < w->d[first].at))
            first = i;
    if (first == w->n)
        return false;
    *ret = w->d[first];
    w->d[first] = w->d[--w->n];
    return true;
}

/* Someone at the end of a way: what it is to us at the other end, a phone of its own. */
struct party {
    struct quality_leg leg;
    struct quality_rtcp rtcp;
    uint16_t seq;
    uint32_t ts;
};

static struct party x, y;
static struct way ways[4];

static void join(struct party *p, uint32_t ssrc)
{
    *p = (struct party){.rtcp = {.ssrc = ssrc, .cname = SV("p@example.test")},
                        .seq = (uint16_t)rnd(),
                        .ts = (uint32_t)rnd()};
    quality_leg_init(&p->leg, 8000);
    p->leg.codec_in = p->leg.codec_out = &quality_g711;
    quality_rtcp_start(&p->leg, 10000, 0, (uint32_t)rnd());
}

struct condition {
    double loss;
    usec delay, jitter; /* delay ± jitter */
};

/* A tick of 20 ms: a packet of sound, and RTCP when it is due. RTCP is not lost, so that counts can be compared. */
static void speak(struct party *p, struct way *w, const struct condition *c, usec now)
{
    struct datagram d = {.seq = p->seq++, .ts = p->ts += 160};
    quality_sent_packet(&p->leg, p->rtcp.ssrc, 8000, d.ts, 160, now);
    d.at = now + c->delay + (c->jitter ? (usec)(rnd() % (uint64_t)(2 * c->jitter)) - c->jitter : 0);
    if ((double)(rnd() % 1000000) / 1e6 >= c->loss)
        put_on(w, &d);
    if (quality_rtcp_due(&p->leg) > now)
        return;
    struct buf into;
    d = (struct datagram){.at = now + c->delay, .rtcp = true};
    buf_init(&into, d.octets, sizeof d.octets);
    quality_rtcp_put(&p->leg, &into, &p->rtcp, now, now + 1700000000 * USEC_S, (uint32_t)rnd());
    assert_int_equal(into.rc, ERR_OK);
    d.n = into.n;
    put_on(w, &d);
}

static void hear(struct party *p, uint32_t from, struct way *w, usec now)
{
    struct datagram d;
    while (take_off(w, now, &d)) {
        if (d.rtcp)
            assert_int_equal(quality_received(&p->leg, (sv){d.octets, d.n}, d.at), ERR_OK);
        else
            (void)quality_rx_packet(&p->leg.in, from, d.seq, d.ts, 160, d.at);
    }
}

/* A minute each: good, 20 % lost and ± 40 ms, good again. Both say what they measure; MOS falls and recovers. */
static void two_parties_tell_each_other(void **state)
{
    static const struct condition good = {0, 50 * USEC_MS, 0},
                                  bad = {0.2, 50 * USEC_MS, 40 * USEC_MS};
    double mos[36];
    unsigned intervals = 0;
    (void)state;
    ways[0].n = ways[1].n = 0;
    join(&x, SSRC_A);
    join(&y, SSRC_B);
    for (usec now = 0; now < 180 * USEC_S; now += PTIME) {
        const struct condition *c = now >= 60 * USEC_S && now < 120 * USEC_S ? &bad : &good;
        speak(&x, &ways[0], c, now);
        speak(&y, &ways[1], &good, now);
        hear(&y, SSRC_A, &ways[0], now);
        hear(&x, SSRC_B, &ways[1], now);
        if (now % (5 * USEC_S) == 5 * USEC_S - PTIME) {
            quality_interval(&y.leg, NULL, now);
            mos[intervals++] = y.leg.last_in.mos;
        }
    }
    assert_int_equal(intervals, 36);
    for (unsigned i = 1; i < 36;
         i++) { /* the first and the last of a part hold some of the other */
        if (i >= 13 && i < 23)
            assert_true(mos[i] > 1 && mos[i] < 3);
        else if (i < 12 || i > 24)
            assert_true(mos[i] > 4.2);
    }
    assert_true(y.leg.worst_in.mos < 2.9 && y.leg.worst_in.at > 60 * USEC_S &&
                y.leg.worst_in.at <= 125 * USEC_S);
    assert_true(y.leg.last_in.mos > 4.2);
    struct quality_span in, said;
    quality_in(&y.leg, NULL, &in);
    assert_true(quality_out(&x.leg, NULL, &said));
    ASSERT_NEAR(in.loss, 0.2 / 3, 0.1 * 0.2 / 3);
    ASSERT_NEAR(said.loss, in.loss, 0.1 * in.loss);
    assert_true(x.leg.worst_out.loss > 0.12 && x.leg.worst_out.mos < 3 &&
                x.leg.last_out.loss < 0.001);
    assert_true(in.mos < 4.2 && in.mos > y.leg.worst_in.mos);
    /* 50 ms each way, by each one's own clock; ± a unit of DLSR */
    ASSERT_NEAR(x.leg.rtt, 100 * USEC_MS, 16);
    ASSERT_NEAR(y.leg.rtt, 100 * USEC_MS, 16);
    assert_int_equal(in.rtt_us, (uint32_t)(y.leg.rtt_sum / y.leg.rtt_n));
    /* about a report each five seconds */
    assert_true(x.leg.out.reports >= 30 && x.leg.out.reports <= 45);
    /* the other direction was good all the time */
    quality_in(&x.leg, NULL, &in);
    assert_true(in.loss == 0 && in.mos > 4.3 && in.jitter_us == 0 && x.leg.in.jitter < 1);
}

/* The same with us between them: 5 % are lost on the way to us, 10 % of the rest beyond. */
static void a_relay_sees_both_halves(void **state)
{
    static const struct condition to_us = {0.05, 10 * USEC_MS, 0}, from_us = {0.1, 40 * USEC_MS, 0};
    struct datagram d;
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        ways[i].n = 0;
    join(&x, SSRC_A);
    join(&y, SSRC_B);
    for (usec now = 0; now < 300 * USEC_S; now += PTIME) {
        speak(&x, &ways[0], &to_us, now);
        speak(&y, &ways[2], &from_us, now);
        while (take_off(&ways[0], now, &d)) {
            bool lost = !d.rtcp && rnd() % 10 == 0;
            if (d.rtcp)
                (void)quality_passed(&a, &b, (sv){d.octets, d.n}, d.at);
            else
                (void)quality_rx_packet(&a.in, SSRC_A, d.seq, d.ts, 160, d.at);
            d.at += from_us.delay;
            if (!lost)
                put_on(&ways[1], &d);
        }
        while (take_off(&ways[2], now, &d)) {
            if (d.rtcp)
                (void)quality_passed(&b, &a, (sv){d.octets, d.n}, d.at);
            else
                (void)quality_rx_packet(&b.in, SSRC_B, d.seq, d.ts, 160, d.at);
            d.at += to_us.delay;
            put_on(&ways[3], &d);
        }
        hear(&y, SSRC_A, &ways[1], now);
        hear(&x, SSRC_B, &ways[3], now);
        if (now % (5 * USEC_S) == 0) {
            quality_interval(&a, &b, now);
            quality_interval(&b, &a, now);
        }
    }
    ASSERT_NEAR(a.rtt, 20 * USEC_MS, 20);
    ASSERT_NEAR(b.rtt, 80 * USEC_MS, 20);
    struct quality_span s, worst, in;
    quality_in(&a, &b, &in);
    ASSERT_NEAR(in.loss, 0.05, 0.005);
    quality_direction(&a, &b, &s, &worst);
    ASSERT_NEAR(s.loss, 1 - 0.95 * 0.9, 0.1 * 0.145);
    ASSERT_NEAR(s.rtt_us, 100000, 50);
    assert_true(s.mos < in.mos && worst.mos <= s.mos && worst.mos > 0);
    quality_direction(&b, &a, &s, &worst);
    ASSERT_NEAR(s.loss, 0.1, 0.01);
}

/* ---- lies ---- */

static void whatever_rtcp_says_figures_are_bounded(void **state)
{
    (void)state;
    feed(&a.in, SSRC_A, 100);
    feed(&b.in, SSRC_B, 100);
    for (unsigned i = 0; i < 100000; i++) {
        bool wild = rnd() % 10 == 0; /* else such as pass for true */
        struct rtcp_block block = {.ssrc = SSRC_A,
                                   .fraction = (uint8_t)rnd(),
                                   .lost = wild ? (int32_t)rnd() : (int32_t)(rnd() % 60),
                                   .highest =
                                       wild ? (uint32_t)rnd() : i * 50 + (uint32_t)(rnd() % 50),
                                   .jitter = (uint32_t)(rnd() >> rnd() % 64),
                                   .lsr = rnd() % 2 ? 0x456789ab : (uint32_t)rnd(),
                                   .dlsr = (uint32_t)(rnd() >> rnd() % 64)};
        struct rtcp_voip v = {.ssrc = SSRC_A,
                              .loss_rate = (uint8_t)rnd(),
                              .discard_rate = (uint8_t)rnd(),
                              .burst_density = (uint8_t)rnd(),
                              .gmin = 1,
                              .jb_nominal_ms = (uint16_t)rnd()};
        (void)quality_passed(&a, &b, sr(SSRC_A, 0x0123456789abcdef, &block), (usec)i * USEC_S);
        buf_reset(&out);
        rtcpmsg_put_rr(&out, SSRC_B, &block, 1);
        struct rtcp_xr xr = rtcpmsg_xr_begin(&out, SSRC_B);
        rtcpmsg_xr_put_voip(&xr, &v);
        mem[rnd() % out.n] ^= (char)(rnd() % 20 == 0); /* and broken now and then */
        (void)quality_passed(&b, &a, buf_sv(&out), (usec)i * USEC_S + (usec)(rnd() % 1000000));
        struct quality_span s;
        if (!quality_out(&b, &a, &s))
            continue;
        assert_true(s.mos >= 1 && s.mos <= 4.5 && s.loss >= 0 && s.loss <= 1 &&
                    s.lost <= s.expected && s.burst >= 1);
        assert_true(b.rtt >= 0 && b.rtt <= USEC_MIN && b.worst_out.mos >= 1 &&
                    b.last_out.mos <= 4.5);
    }
    assert_true(b.out.reports > 10000 && b.rtt_n > 1000);
}

/* We send a stream of our own on: 10 % are lost before us, 20 % of ours behind us. */
static void ways_that_end_here_are_joined(void **state)
{
    struct rtcp_block block = {.ssrc = SSRC_US, .lost = 200, .highest = 999};
    struct quality_span s, worst;
    (void)state;
    for (uint32_t i = 0; i < 1000; i++)
        if (i % 10 != 5)
            (void)quality_rx_packet(&a.in, SSRC_A, (uint16_t)i, i * 160, 160,
                                    (usec)i * 20 * USEC_MS);
    quality_interval(&a, &b, 20 * USEC_S);
    for (uint32_t i = 0; i < 1000; i++)
        quality_sent_packet(&b, SSRC_US, 8000, i * 160, 160, (usec)i * 20 * USEC_MS);
    quality_direction(&a, &b, &s, &worst);
    ASSERT_NEAR(s.loss, 0.1, 0.001);
    assert_int_equal(worst.lost, 100);
    (void)quality_received(&b, rr(SSRC_B, &block), 20 * USEC_S);
    quality_direction(&a, &b, &s, &worst);
    ASSERT_NEAR(s.loss, 1 - 0.9 * 0.8, 0.001);
    assert_int_equal(s.lost, 300);
    assert_int_equal(worst.lost, 200);
    assert_true(s.mos < worst.mos);
}

/* What comes too late to be played is as good as lost. */
static void late_packets_are_heard_as_lost(void **state)
{
    struct quality_span s;
    (void)state;
    for (uint32_t i = 0; i < 1000; i++)
        (void)quality_rx_packet(&a.in, SSRC_A, (uint16_t)i, i * 160, 160,
                                (usec)i * 20 * USEC_MS + (i % 10 == 9 ? 300 * USEC_MS : 0));
    quality_interval(&a, NULL, 20 * USEC_S);
    quality_in(&a, NULL, &s);
    assert_true(s.lost == 0 && s.late == 100);
    ASSERT_NEAR(s.loss, 0.1, 0.001);
    ASSERT_NEAR(a.last_in.loss, 0.1, 0.001);
    assert_true(s.mos < 3.6 && a.last_in.mos < 3.6);
}

/* What is said of now is not what was: nothing comes any more, whatever was reported before. */
static void who_fell_silent_is_not_heard_well(void **state)
{
    struct rtcp_block block = {.ssrc = SSRC_A, .highest = 249};
    struct quality_span s, worst;
    (void)state;
    for (uint32_t i = 0; i < 250; i++)
        (void)quality_rx_packet(&a.in, SSRC_A, (uint16_t)i, i * 160, 160, (usec)i * 20 * USEC_MS);
    (void)quality_passed(&b, &a, rr(SSRC_B, &block), 4 * USEC_S);
    quality_interval(&a, &b, 5 * USEC_S);
    assert_true(quality_last(&a, &b, &s) && s.expected > 0 && s.mos > 4);
    quality_interval(&a, &b, 10 * USEC_S);
    (void)quality_last(&a, &b, &s);
    assert_true(s.at == 10 * USEC_S && s.expected == 0 && s.mos == 0);
    quality_direction(&a, &b, &s, &worst);
    assert_true(s.mos > 4 && worst.mos > 4); /* of the call, silence says nothing */
}

static void an_empty_call_has_no_quality(void **state)
{
    struct quality_span s, worst;
    (void)state;
    quality_interval(&a, &b, USEC_S);
    quality_direction(&a, &b, &s, &worst);
    assert_true(s.mos == 0 && worst.mos == 0 && s.expected == 0 && s.loss == 0);
    assert_true(sizeof(struct quality_leg) <= 1400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_round_trip_is_between_passing_and_passing_back, setup),
        cmocka_unit_test_setup(an_answer_to_nothing_is_no_round_trip, setup),
        cmocka_unit_test_setup(who_only_receives_asks_with_rrtr, setup),
        cmocka_unit_test_setup(blocks_on_other_streams_are_ignored, setup),
        cmocka_unit_test_setup(reports_are_compared_one_with_the_next, setup),
        cmocka_unit_test_setup(voip_metrics_say_more, setup),
        cmocka_unit_test_setup(intervals_are_those_of_the_rfc, setup),
        cmocka_unit_test_setup(a_sender_report_says_what_was_sent, setup),
        cmocka_unit_test_setup(who_sends_nothing_writes_receiver_reports, setup),
        cmocka_unit_test_setup(a_bye_ends_it, setup),
        cmocka_unit_test_setup(voip_metrics_are_written, setup),
        cmocka_unit_test_setup(two_parties_tell_each_other, setup),
        cmocka_unit_test_setup(a_relay_sees_both_halves, setup),
        cmocka_unit_test_setup(whatever_rtcp_says_figures_are_bounded, setup),
        cmocka_unit_test_setup(ways_that_end_here_are_joined, setup),
        cmocka_unit_test_setup(late_packets_are_heard_as_lost, setup),
        cmocka_unit_test_setup(who_fell_silent_is_not_heard_well, setup),
        cmocka_unit_test_setup(an_empty_call_has_no_quality, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
