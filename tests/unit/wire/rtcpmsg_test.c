/* SPDX-License-Identifier: MIT */
/* RTCP: borders of compound packets, reports, descriptions, feedback, extended reports; each written and read
 * back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rtcpmsg/rtcpmsg.h"

#define OCTETS(lit) ((sv){"" lit, sizeof(lit) - 1})

#define SSRC "\x12\x34\x56\x78"
#define RR0  "\x80\xc9\x00\x01" SSRC
#define BLOCK                                                                                      \
    "\xaa\xbb\xcc\xdd\x0d\xff\xff\xfe\x00\x01\x02\x03\x00\x00\x00\xa0\x11\x22\x33\x44\x00\x01\x80" \
    "\x00"

/* SR with a block; SDES with CNAME and TOOL; BYE with a reason. */
static const sv compound =
    OCTETS("\x81\xc8\x00\x0c" SSRC "\xe8\x00\x00\x01\x80\x00\x00\x00\x00\x01\x00\x00"
           "\x00\x00\x00\x64\x00\x00\x3e\x80" BLOCK "\x81\xca\x00\x05" SSRC
           "\x01\x06me@abc\x06\x02xy\x00\x00\x00\x00"
           "\x81\xcb\x00\x03" SSRC "\x05"
           "ended\x00\x00");

static char mem[300000];
static struct buf b;
static struct rtcpmsg msg;

static int setup(void **state)
{
    (void)state;
    buf_init(&b, mem, sizeof mem);
    memset(&msg, 0, sizeof msg);
    return 0;
}

/* All of a datagram, by every reader: none may read beyond it. */
static unsigned read_all(sv datagram)
{
    struct rtcp_walk w = {0};
    unsigned n = 0;
    for (struct rtcpmsg m; rtcpmsg_next(datagram, &w, &m); n++) {
        struct rtcp_report report;
        struct rtcp_bye bye;
        struct rtcp_app app;
        struct rtcp_feedback fb;
        struct rtcp_sdes_walk sw = {0};
        struct rtcp_xr_walk xw = {0};
        struct rtcp_summary summary;
        struct rtcp_voip voip;
        uint64_t ntp;
        (void)rtcpmsg_sender(&m);
        if (!rtcpmsg_report(&m, &report))
            for (unsigned i = 0; i < report.blocks; i++)
                (void)rtcpmsg_block(&report, i);
        for (struct rtcp_item item; rtcpmsg_sdes_next(&m, &sw, &item);)
            assert_true(item.text.p + item.text.n <= datagram.p + datagram.n);
        if (!rtcpmsg_bye(&m, &bye))
            for (unsigned i = 0; i < bye.n; i++)
                (void)rtcpmsg_bye_ssrc(&bye, i);
        (void)!rtcpmsg_app(&m, &app);
        if (!rtcpmsg_feedback(&m, &fb)) {
            for (unsigned i = 0; i < fb.n; i++) {
                (void)rtcpmsg_nack(&fb, i);
                (void)rtcpmsg_fir(&fb, i);
                (void)rtcpmsg_tmmb(&fb, i);
            }
        }
        for (struct rtcp_xr_block x; rtcpmsg_xr_next(&m, &xw, &x);) {
            (void)!rtcpmsg_xr_rrtr(&x, &ntp);
            (void)!rtcpmsg_xr_summary(&x, &summary);
            (void)!rtcpmsg_xr_voip(&x, &voip);
            for (unsigned i = 0; i < rtcpmsg_xr_dlrrs(&x); i++)
                (void)rtcpmsg_xr_dlrr(&x, i);
        }
    }
    return n;
}

/* A copy of exactly these octets on the heap: the sanitizer sees who reads on. */
static enum err check_exactly(sv datagram, enum rtcp_form form)
{
    char *copy = malloc(datagram.n + 1);
    assert_non_null(copy);
    memcpy(copy + 1, datagram.p, datagram.n);
    sv exact = {copy + 1, datagram.n};
    enum err rc = rtcpmsg_check(exact, form);
    (void)read_all(exact);
    free(copy);
    return rc;
}

/* The only packet of a datagram, or of what was printed. */
static struct rtcpmsg *only(sv datagram)
{
    struct rtcp_walk w = {0};
    assert_int_equal(rtcpmsg_check(datagram, RTCP_REDUCED), ERR_OK);
    assert_true(rtcpmsg_next(datagram, &w, &msg));
    assert_int_equal(w.at, datagram.n);
    return &msg;
}

static struct rtcpmsg *printed(void)
{
    assert_int_equal(b.rc, ERR_OK);
    return only(buf_sv(&b));
}

/* ---- the compound packet ---- */

static void a_compound_packet_is_walked(void **state)
{
    static const uint8_t types[] = {RTCP_SR, RTCP_SDES, RTCP_BYE};
    struct rtcp_walk w = {0};
    (void)state;
    assert_int_equal(check_exactly(compound, RTCP_COMPOUND), ERR_OK);
    for (size_t i = 0; i < 3; i++) {
        assert_true(rtcpmsg_next(compound, &w, &msg));
        assert_int_equal(msg.type, types[i]);
        assert_int_equal(msg.count, 1);
        assert_int_equal(rtcpmsg_sender(&msg), 0x12345678);
    }
    assert_false(rtcpmsg_next(compound, &w, &msg));
    assert_int_equal(w.at, compound.n);
}

/* A header's length beyond the datagram, and each shorter datagram, ends the walk there. */
static void the_datagram_is_the_border(void **state)
{
    (void)state;
    for (size_t n = 0; n < compound.n; n++) {
        bool whole = n == 52 || n == 76; /* between packets */
        assert_int_equal(check_exactly((sv){compound.p, n}, RTCP_COMPOUND),
                         whole ? ERR_OK : ERR_SYNTAX);
    }
    char copy[128];
    for (unsigned words = 0; words < 65536; words += words < 64 ? 1 : 997) {
        memcpy(copy, compound.p, compound.n);
        copy[2] = (char)(words >> 8);
        copy[3] = (char)words;
        sv datagram = {copy, compound.n};
        if (words != 12)
            assert_true(check_exactly(datagram, RTCP_COMPOUND) == ERR_SYNTAX ||
                        words * 4 + 4 == 76 || words * 4 + 4 == compound.n);
        if (words * 4 + 4 > compound.n)
            assert_int_equal(read_all(datagram), 0);
    }
    /* the same for a NACK: its entries are those that were received */
    assert_int_equal(
        check_exactly(OCTETS("\x81\xcd\xff\xff" SSRC SSRC "\x00\x01\x00\x00"), RTCP_REDUCED),
        ERR_SYNTAX);
}

static void a_compound_packet_begins_with_a_report(void **state)
{
    static const sv pli = OCTETS("\x81\xce\x00\x02" SSRC SSRC);
    (void)state;
    assert_int_equal(rtcpmsg_check(pli, RTCP_COMPOUND), ERR_SYNTAX);
    assert_int_equal(rtcpmsg_check(pli, RTCP_REDUCED), ERR_OK);
    assert_int_equal(rtcpmsg_check(OCTETS(RR0), RTCP_COMPOUND), ERR_OK);
    assert_int_equal(rtcpmsg_check(SV(""), RTCP_REDUCED), ERR_SYNTAX);
    assert_int_equal(rtcpmsg_check(OCTETS("\x40\xc9\x00\x01" SSRC), RTCP_REDUCED), ERR_SYNTAX);
    assert_int_equal(rtcpmsg_check(OCTETS(RR0 "\x00\x00\x00\x00"), RTCP_COMPOUND), ERR_SYNTAX);
}

static void padding_ends_the_last_packet_only(void **state)
{
    (void)state;
    assert_int_equal(
        rtcpmsg_check(OCTETS("\xa0\xc9\x00\x02" SSRC "\x00\x00\x00\x04"), RTCP_COMPOUND), ERR_OK);
    assert_int_equal(only(OCTETS("\xa0\xc9\x00\x02" SSRC "\x00\x00\x00\x04"))->body.n, 4);
    static const sv bad[] = {OCTETS("\xa0\xc9\x00\x02" SSRC "\x00\x00\x00\x00"),
                             OCTETS("\xa0\xc9\x00\x02" SSRC "\x00\x00\x00\x03"),
                             OCTETS("\xa0\xc9\x00\x02" SSRC "\x00\x00\x00\x0c"),
                             OCTETS("\xa0\xc9\x00\x02" SSRC "\x00\x00\x00\xff"),
                             OCTETS("\xa0\xc9\x00\x00"),
                             OCTETS("\xa0\xc9\x00\x02" SSRC "\x00\x00\x00\x04" RR0)};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(check_exactly(bad[i], RTCP_COMPOUND), ERR_SYNTAX);
}

/* ---- reports ---- */

static void assert_block(const struct rtcp_block *got, const struct rtcp_block *want)
{
    assert_int_equal(got->ssrc, want->ssrc);
    assert_int_equal(got->fraction, want->fraction);
    assert_int_equal(got->lost, want->lost);
    assert_int_equal(got->highest, want->highest);
    assert_int_equal(got->jitter, want->jitter);
    assert_int_equal(got->lsr, want->lsr);
    assert_int_equal(got->dlsr, want->dlsr);
}

static void a_sender_report_is_read(void **state)
{
    struct rtcp_walk w = {0};
    struct rtcp_report r;
    static const struct rtcp_block want = {0xaabbccdd, 13,         -2,     0x00010203,
                                           160,        0x11223344, 0x18000};
    (void)state;
    assert_true(rtcpmsg_next(compound, &w, &msg));
    assert_int_equal(rtcpmsg_report(&msg, &r), ERR_OK);
    assert_true(r.has_sender);
    assert_int_equal(r.ssrc, 0x12345678);
    assert_true(r.sender.ntp == 0xe800000180000000);
    assert_int_equal(rtcpmsg_ntp_middle(r.sender.ntp), 0x00018000);
    assert_int_equal(r.sender.ts, 65536);
    assert_int_equal(r.sender.packets, 100);
    assert_int_equal(r.sender.octets, 16000);
    assert_int_equal(r.blocks, 1);
    struct rtcp_block got = rtcpmsg_block(&r, 0);
    assert_block(&got, &want);
    assert_int_equal(r.extension.n, 0);
    assert_int_equal(rtcpmsg_block(&r, 1).ssrc, 0);
}

static void reports_are_written_and_read_back(void **state)
{
    struct rtcp_block blocks[RTCP_COUNT_MAX + 1];
    struct rtcp_report r;
    struct rtcp_sender sender = {UINT64_MAX - 1, 2, 3, UINT32_MAX};
    (void)state;
    for (uint32_t i = 0; i <= RTCP_COUNT_MAX; i++)
        blocks[i] = (struct rtcp_block){i * 0x01010101, (uint8_t)i, (int32_t)(i * 1000) - 15000,
                                        i + 1,          i + 2,      UINT32_MAX - i,
                                        i + 4};
    for (unsigned n = 0; n <= RTCP_COUNT_MAX; n++) {
        for (int with_sender = 0; with_sender < 2; with_sender++) {
            buf_reset(&b);
            if (with_sender)
                rtcpmsg_put_sr(&b, 0xfedcba98, &sender, blocks, n);
            else
                rtcpmsg_put_rr(&b, 0xfedcba98, blocks, n);
            assert_int_equal(rtcpmsg_report(printed(), &r), ERR_OK);
            assert_int_equal(r.ssrc, 0xfedcba98);
            assert_int_equal(r.has_sender, with_sender);
            assert_int_equal(r.blocks, n);
            if (with_sender)
                assert_true(r.sender.ntp == sender.ntp && r.sender.ts == sender.ts &&
                            r.sender.packets == sender.packets && r.sender.octets == sender.octets);
            for (unsigned i = 0; i < n; i++) {
                struct rtcp_block got = rtcpmsg_block(&r, i);
                assert_block(&got, &blocks[i]);
            }
        }
    }
    buf_reset(&b);
    rtcpmsg_put_rr(&b, 1, blocks, RTCP_COUNT_MAX + 1);
    assert_int_equal(b.rc, ERR_TOOBIG);
    assert_int_equal(b.n, 0);
}

/* RFC 3550 A.3: 24 bits, clamped. */
static void the_count_of_lost_packets_is_clamped(void **state)
{
    static const int32_t rows[][2] = {{0, 0},
                                      {-1, -1},
                                      {0x7fffff, 0x7fffff},
                                      {0x800000, 0x7fffff},
                                      {-0x800000, -0x800000},
                                      {-0x800001, -0x800000},
                                      {INT32_MAX, 0x7fffff},
                                      {INT32_MIN, -0x800000}};
    struct rtcp_report r;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rtcp_block block = {.lost = rows[i][0], .fraction = 255};
        buf_reset(&b);
        rtcpmsg_put_rr(&b, 1, &block, 1);
        assert_int_equal(rtcpmsg_report(printed(), &r), ERR_OK);
        assert_int_equal(rtcpmsg_block(&r, 0).lost, rows[i][1]);
        assert_int_equal(rtcpmsg_block(&r, 0).fraction, 255);
    }
}

static void more_blocks_than_fit_are_refused(void **state)
{
    struct rtcp_report r;
    (void)state;
    assert_int_equal(rtcpmsg_report(only(OCTETS("\x81\xc9\x00\x01" SSRC)), &r), ERR_SYNTAX);
    assert_int_equal(rtcpmsg_report(only(OCTETS("\x82\xc9\x00\x07" SSRC BLOCK)), &r), ERR_SYNTAX);
    assert_int_equal(rtcpmsg_report(only(OCTETS("\x80\xc8\x00\x05" SSRC "0123456789abcdef")), &r),
                     ERR_SYNTAX);
    assert_int_equal(rtcpmsg_report(only(OCTETS("\x80\xc9\x00\x00")), &r), ERR_SYNTAX);
    for (uint8_t words = 0; words < 8; words++) {
        char octets[36] = {(char)0x81, (char)0xc9, 0, (char)words};
        assert_int_equal(rtcpmsg_report(only((sv){octets, 4U * words + 4}), &r),
                         words < 7 ? ERR_SYNTAX : ERR_OK);
    }
    assert_int_equal(rtcpmsg_report(only(OCTETS("\x81\xca\x00\x01" SSRC)), &r), ERR_SYNTAX);
    /* what a profile adds stands behind them */
    assert_int_equal(rtcpmsg_report(only(OCTETS("\x81\xc9\x00\x08" SSRC BLOCK "more")), &r),
                     ERR_OK);
    assert_true(sv_eq(r.extension, SV("more")));
}

/* ---- SDES, BYE, APP ---- */

static void descriptions_are_walked(void **state)
{
    static const sv two = OCTETS("\x82\xca\x00\x07" SSRC "\x01\x01"
                                 "a\x00\x11\x11\x11\x11\x08\x02pv\x01\x00\x00\x00"
                                 "\x00\x00\x00\x00\x00\x00\x00\x00");
    struct rtcp_sdes_walk w = {0};
    struct rtcp_item item;
    sv cname;
    (void)state;
    assert_true(rtcpmsg_sdes_next(only(two), &w, &item));
    assert_int_equal(item.ssrc, 0x12345678);
    assert_int_equal(item.type, RTCP_SDES_CNAME);
    assert_true(sv_eq(item.text, SV("a")));
    assert_true(rtcpmsg_sdes_next(&msg, &w, &item));
    assert_int_equal(item.ssrc, 0x11111111);
    assert_int_equal(item.type, RTCP_SDES_PRIV);
    assert_true(rtcpmsg_sdes_next(&msg, &w, &item)); /* an empty CNAME */
    assert_int_equal(item.text.n, 0);
    assert_false(rtcpmsg_sdes_next(&msg, &w, &item));
    assert_false(rtcpmsg_sdes_next(&msg, &w, &item));
    assert_true(rtcpmsg_cname(&msg, 0x12345678, &cname) && sv_eq(cname, SV("a")));
    assert_true(rtcpmsg_cname(&msg, 0x11111111, &cname) && cname.n == 0);
    assert_false(rtcpmsg_cname(&msg, 1, &cname));
    /* a list that ends with a word: a whole one of zeros follows */
    static const sv whole = OCTETS("\x82\xca\x00\x05" SSRC "\x01\x02"
                                   "ab\x00\x00\x00\x00\x11\x11\x11\x11\x01\x01"
                                   "c\x00");
    assert_true(rtcpmsg_cname(only(whole), 0x12345678, &cname) && sv_eq(cname, SV("ab")));
    assert_true(rtcpmsg_cname(&msg, 0x11111111, &cname) && sv_eq(cname, SV("c")));
}

static void items_beyond_the_packet_end_the_walk(void **state)
{
    sv cname;
    (void)state;
    assert_false(rtcpmsg_cname(only(OCTETS("\x81\xca\x00\x02" SSRC "\x01\x03"
                                           "ab")),
                               0x12345678, &cname));
    assert_true(rtcpmsg_cname(only(OCTETS("\x81\xca\x00\x02" SSRC "\x01\x02"
                                          "ab")),
                              0x12345678, &cname));
    assert_false(rtcpmsg_cname(only(OCTETS("\x81\xca\x00\x01" SSRC)), 0x12345678, &cname));
    assert_false(rtcpmsg_cname(only(OCTETS("\x80\xca\x00\x02" SSRC "\x01\x02"
                                           "ab")),
                               0x12345678, &cname));
    assert_false(rtcpmsg_cname(only(OCTETS("\x80\xca\x00\x00")), 0, &cname));
}

static void a_cname_is_written_and_read_back(void **state)
{
    char text[RTCP_TEXT_MAX + 1];
    sv cname;
    (void)state;
    memset(text, 'c', sizeof text);
    for (size_t n = 0; n <= RTCP_TEXT_MAX; n++) {
        buf_reset(&b);
        memset(mem, 0xff, 512);
        rtcpmsg_put_cname(&b, 77, (sv){text, n});
        assert_true(rtcpmsg_cname(printed(), 77, &cname));
        assert_true(sv_eq(cname, (sv){text, n}));
        assert_int_equal(b.n % 4, 0);
        assert_int_equal(mem[b.n - 1],
                         0); /* §6.5: "MUST be terminated by one or more null octets" */
    }
    rtcpmsg_put_cname(&b, 77, (sv){text, RTCP_TEXT_MAX + 1});
    assert_int_equal(b.rc, ERR_TOOBIG);
}

static void a_bye_is_written_and_read_back(void **state)
{
    static const uint32_t ssrcs[RTCP_COUNT_MAX + 1] = {1, 2, 3};
    struct rtcp_bye bye;
    (void)state;
    for (unsigned n = 0; n <= RTCP_COUNT_MAX; n++) {
        buf_reset(&b);
        rtcpmsg_put_bye(&b, ssrcs, n, n % 2 ? SV("bye now") : SV_NONE);
        assert_int_equal(rtcpmsg_bye(printed(), &bye), ERR_OK);
        assert_int_equal(bye.n, n);
        assert_true(n < 3 || rtcpmsg_bye_ssrc(&bye, 2) == 3);
        assert_int_equal(sv_present(bye.reason), n % 2);
        assert_true(n % 2 == 0 || sv_eq(bye.reason, SV("bye now")));
    }
    rtcpmsg_put_bye(&b, ssrcs, RTCP_COUNT_MAX + 1, SV_NONE);
    assert_int_equal(b.rc, ERR_TOOBIG);
    assert_int_equal(rtcpmsg_bye(only(OCTETS("\x82\xcb\x00\x01" SSRC)), &bye), ERR_SYNTAX);
    assert_int_equal(rtcpmsg_bye(only(OCTETS("\x81\xcb\x00\x02" SSRC "\x04"
                                             "abc")),
                                 &bye),
                     ERR_SYNTAX);
    assert_int_equal(rtcpmsg_bye(only(OCTETS("\x81\xcb\x00\x02" SSRC "\xff"
                                             "abc")),
                                 &bye),
                     ERR_SYNTAX);
}

static void an_app_packet_is_read(void **state)
{
    struct rtcp_app app;
    (void)state;
    assert_int_equal(rtcpmsg_app(only(OCTETS("\x85\xcc\x00\x03" SSRC "nameDATA")), &app), ERR_OK);
    assert_int_equal(msg.count, 5);
    assert_true(app.ssrc == 0x12345678 && sv_eq(app.name, SV("name")) &&
                sv_eq(app.data, SV("DATA")));
    assert_int_equal(rtcpmsg_app(only(OCTETS("\x85\xcc\x00\x01" SSRC)), &app), ERR_SYNTAX);
}

/* ---- feedback ---- */

static void feedback_has_a_kind(void **state)
{
    static const struct {
        uint8_t type, fmt;
        enum rtcp_fb kind;
        unsigned n;
        sv fci;
    } rows[] = {
        {205, 1, RTCP_FB_NACK, 2, OCTETS("\x00\x01\x80\x01\xff\xff\x00\x00")},
        {205, 3, RTCP_FB_TMMBR, 1, OCTETS("\x00\x00\x00\x09\x07\xff\xfe\x28")},
        {205, 4, RTCP_FB_TMMBN, 0, OCTETS("")},
        {205, 15, RTCP_FB_TWCC, 0, OCTETS("\x00\x01\x00\x02")},
        {205, 2, RTCP_FB_OTHER, 0, OCTETS("\x00\x01\x00\x02")},
        {206, 1, RTCP_FB_PLI, 0, OCTETS("")},
        {206, 2, RTCP_FB_SLI, 0, OCTETS("\x00\x01\x00\x02")},
        {206, 3, RTCP_FB_RPSI, 0, OCTETS("\xff\xff\x00\x02")},
        {206, 4, RTCP_FB_FIR, 1, OCTETS("\x00\x00\x00\x09\x07\x00\x00\x00")},
        {206, 15, RTCP_FB_REMB, 0, OCTETS("REMB\x01\x02\x03\x04")},
        {206, 15, RTCP_FB_OTHER, 0, OCTETS("REM")},
        {206, 15, RTCP_FB_OTHER, 0, OCTETS("BMER")},
        {206, 31, RTCP_FB_OTHER, 0, OCTETS("")},
    };
    struct rtcp_feedback fb;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char octets[64] = {
            (char)(0x80 | rows[i].fmt), (char)rows[i].type, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2};
        size_t n = (rows[i].fci.n + 3) & ~(size_t)3;
        octets[3] = (char)(2 + n / 4);
        memcpy(octets + 12, rows[i].fci.p, rows[i].fci.n);
        assert_int_equal(rtcpmsg_feedback(only((sv){octets, 12 + n}), &fb), ERR_OK);
        assert_int_equal(fb.kind, rows[i].kind);
        assert_int_equal(fb.sender, 1);
        assert_int_equal(fb.media, 2);
        assert_int_equal(fb.n, rows[i].n);
        switch (fb.kind) {
        case RTCP_FB_NACK:
            assert_int_equal(rtcpmsg_nack(&fb, 0).seq, 1);
            assert_int_equal(rtcpmsg_nack(&fb, 0).following, 0x8001);
            assert_int_equal(rtcpmsg_nack(&fb, 1).seq, 0xffff);
            assert_int_equal(rtcpmsg_nack(&fb, 2).seq, 0);
            break;
        case RTCP_FB_TMMBR: /* exponent 1, mantissa 131071, overhead 40 */
            assert_int_equal(rtcpmsg_tmmb(&fb, 0).ssrc, 9);
            assert_int_equal(rtcpmsg_tmmb(&fb, 0).bits_per_s, 262142);
            assert_int_equal(rtcpmsg_tmmb(&fb, 0).overhead, 40);
            break;
        case RTCP_FB_FIR:
            assert_int_equal(rtcpmsg_fir(&fb, 0).ssrc, 9);
            assert_int_equal(rtcpmsg_fir(&fb, 0).seq, 7);
            break;
        default:
            break;
        }
    }
}

static void feedback_of_a_wrong_length_is_refused(void **state)
{
    static const sv bad[] = {OCTETS("\x81\xcd\x00\x02" SSRC SSRC),        /* NACK without one */
                             OCTETS("\x81\xcd\x00\x01" SSRC),             /* no media SSRC */
                             OCTETS("\x83\xcd\x00\x03" SSRC SSRC "abcd"), /* half a TMMBR */
                             OCTETS("\x83\xcd\x00\x02" SSRC SSRC),        /* TMMBR without one */
                             OCTETS("\x84\xce\x00\x02" SSRC SSRC),        /* FIR without one */
                             OCTETS("\x84\xce\x00\x03" SSRC SSRC "abcd"), /* half a FIR */
                             OCTETS("\x81\xce\x00\x03" SSRC SSRC "abcd"), /* PLI with something */
                             OCTETS("\x80\xc9\x00\x02" SSRC SSRC)};       /* RR */
    struct rtcp_feedback fb;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(rtcpmsg_feedback(only(bad[i]), &fb), ERR_SYNTAX);
}

static void a_bit_rate_beyond_64_bits_is_the_largest(void **state)
{
    struct rtcp_feedback fb;
    (void)state;
    assert_int_equal(
        rtcpmsg_feedback(only(OCTETS("\x83\xcd\x00\x04" SSRC SSRC SSRC "\xff\xff\xff\xff")), &fb),
        ERR_OK);
    assert_true(rtcpmsg_tmmb(&fb, 0).bits_per_s == UINT64_MAX);
}

static void feedback_is_written_and_read_back(void **state)
{
    static const struct rtcp_nack nacks[] = {{65535, 0x8001}, {17, 0}};
    static const struct rtcp_fir firs[] = {{0x80000001, 255}, {2, 0}, {3, 1}};
    struct rtcp_feedback fb;
    (void)state;
    rtcpmsg_put_pli(&b, 5, 6);
    assert_int_equal(rtcpmsg_feedback(printed(), &fb), ERR_OK);
    assert_true(fb.kind == RTCP_FB_PLI && fb.sender == 5 && fb.media == 6);
    buf_reset(&b);
    rtcpmsg_put_nack(&b, 5, 6, nacks, 2);
    assert_int_equal(rtcpmsg_feedback(printed(), &fb), ERR_OK);
    assert_true(fb.kind == RTCP_FB_NACK && fb.n == 2 && fb.media == 6);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(rtcpmsg_nack(&fb, i).seq, nacks[i].seq);
        assert_int_equal(rtcpmsg_nack(&fb, i).following, nacks[i].following);
    }
    buf_reset(&b);
    rtcpmsg_put_fir(&b, 5, firs, 3);
    assert_int_equal(rtcpmsg_feedback(printed(), &fb), ERR_OK);
    assert_true(fb.kind == RTCP_FB_FIR && fb.n == 3 && fb.media == 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(rtcpmsg_fir(&fb, i).ssrc, firs[i].ssrc);
        assert_int_equal(rtcpmsg_fir(&fb, i).seq, firs[i].seq);
    }
    buf_reset(&b);
    rtcpmsg_put_nack(&b, 5, 6, nacks, 0);
    assert_int_equal(b.rc, ERR_SYNTAX);
    buf_reset(&b);
    rtcpmsg_put_fir(&b, 5, firs, 0);
    assert_int_equal(b.rc, ERR_SYNTAX);
}

/* ---- extended reports ---- */

static const struct rtcp_voip voip_sample = {.ssrc = 9,
                                             .loss_rate = 12,
                                             .discard_rate = 13,
                                             .burst_density = 84,
                                             .gap_density = 10,
                                             .burst_ms = 120,
                                             .gap_ms = 520,
                                             .round_trip_ms = 80,
                                             .end_system_ms = 60,
                                             .signal_dbm = -18,
                                             .noise_dbm = 127,
                                             .rerl_db = 45,
                                             .gmin = 16,
                                             .r_factor = 93,
                                             .ext_r_factor = 127,
                                             .mos_lq = 44,
                                             .mos_cq = 43,
                                             .rx_config = 0xf0,
                                             .jb_nominal_ms = 40,
                                             .jb_max_ms = 80,
                                             .jb_abs_max_ms = 65535};

static void extended_reports_are_written_and_read_back(void **state)
{
    static const struct rtcp_dlrr dlrrs[] = {{1, 2, 3}, {0xffffffff, 0x80000000, 65536}};
    struct rtcp_xr_walk w = {0};
    struct rtcp_xr_block x;
    struct rtcp_voip voip;
    uint64_t ntp;
    (void)state;
    struct rtcp_xr out = rtcpmsg_xr_begin(&b, 0xcafe);
    rtcpmsg_xr_put_rrtr(&out, 0x0102030405060708);
    rtcpmsg_xr_put_dlrr(&out, dlrrs, 2);
    rtcpmsg_xr_put_voip(&out, &voip_sample);
    assert_int_equal(rtcpmsg_sender(printed()), 0xcafe);
    assert_true(rtcpmsg_xr_next(&msg, &w, &x));
    assert_int_equal(rtcpmsg_xr_rrtr(&x, &ntp), ERR_OK);
    assert_true(ntp == 0x0102030405060708);
    assert_int_equal(rtcpmsg_xr_dlrrs(&x), 0);
    assert_true(rtcpmsg_xr_next(&msg, &w, &x));
    assert_int_equal(rtcpmsg_xr_dlrrs(&x), 2);
    for (unsigned i = 0; i < 2; i++) {
        struct rtcp_dlrr got = rtcpmsg_xr_dlrr(&x, i);
        assert_memory_equal(&got, &dlrrs[i], sizeof got);
    }
    assert_int_equal(rtcpmsg_xr_rrtr(&x, &ntp), ERR_SYNTAX);
    assert_true(rtcpmsg_xr_next(&msg, &w, &x));
    memset(&voip, 0xee, sizeof voip);
    assert_int_equal(rtcpmsg_xr_voip(&x, &voip), ERR_OK);
    assert_int_equal(voip.signal_dbm, -18);
    assert_int_equal(voip.gap_ms, 520);
    assert_int_equal(voip.jb_abs_max_ms, 65535);
    buf_reset(&b);
    out = rtcpmsg_xr_begin(&b, 0xcafe);
    rtcpmsg_xr_put_voip(&out, &voip);
    char once[64];
    memcpy(once, mem, b.n);
    buf_reset(&b);
    out = rtcpmsg_xr_begin(&b, 0xcafe);
    rtcpmsg_xr_put_voip(&out, &voip_sample);
    assert_memory_equal(mem, once, b.n); /* each field */
    w = (struct rtcp_xr_walk){0};
    assert_true(rtcpmsg_xr_next(printed(), &w, &x));
    assert_false(rtcpmsg_xr_next(&msg, &w, &x));
}

#define ZERO4 "\x00\x00\x00\x00"

static void a_statistics_summary_is_read(void **state)
{
    static const sv all =
        OCTETS("\x06\xe8\x00\x09" SSRC "\x00\x01\x00\x65\x00\x00\x00\x05\x00\x00\x00\x02"
               "\x00\x00\x00\x01\x00\x00\x00\x63\x00\x00\x00\x14\x00\x00\x00\x07\x3c\x40\x3e\x01");
    /* which octet belongs to which flag */
    static const struct {
        uint8_t flag;
        size_t from, to;
    } fields[] = {{0x80, 12, 16}, {0x40, 16, 20}, {0x20, 20, 36}, {0x08, 36, 40}};
    struct rtcp_summary s;
    char octets[48];
    struct rtcp_xr_block x = {6, 0xe8, {all.p + 4, all.n - 4}};
    (void)state;
    assert_int_equal(rtcpmsg_xr_summary(&x, &s), ERR_OK);
    assert_true(s.has_lost && s.has_duplicates && s.has_jitter && s.hops == RTCP_HOPS_TTL);
    assert_true(s.begin_seq == 1 && s.end_seq == 101 && s.lost == 5 && s.duplicates == 2);
    assert_true(s.jitter_min == 1 && s.jitter_max == 99 && s.jitter_mean == 20 &&
                s.jitter_dev == 7);
    assert_true(s.hops_min == 60 && s.hops_max == 64 && s.hops_mean == 62 && s.hops_dev == 1);
    /* §4.6: a field that is not reported is zero, or the block is ignored */
    for (size_t i = 0; i < 4; i++) {
        for (size_t at = fields[i].from; at < fields[i].to; at++) {
            memset(octets, 0, sizeof octets);
            octets[at] = 1;
            x = (struct rtcp_xr_block){6, (uint8_t)(0xe8 & ~fields[i].flag), {octets + 4, 36}};
            assert_int_equal(rtcpmsg_xr_summary(&x, &s), ERR_SYNTAX);
            x.specific = fields[i].flag;
            assert_int_equal(rtcpmsg_xr_summary(&x, &s), ERR_OK);
        }
    }
    x.specific = 0x18; /* "3 is undefined" */
    assert_int_equal(rtcpmsg_xr_summary(&x, &s), ERR_SYNTAX);
    x = (struct rtcp_xr_block){6, 0, {octets, 32}};
    assert_int_equal(rtcpmsg_xr_summary(&x, &s), ERR_SYNTAX);
}

static void what_must_not_be_sent_in_voip_metrics_is_unknown(void **state)
{
    struct rtcp_voip v;
    (void)state;
    for (unsigned value = 0; value < 256; value++) {
        char body[32] = {0};
        body[19] = 16;
        memset(body + 20, (int)value, 4);
        struct rtcp_xr_block x = {7, 0, {body, 32}};
        assert_int_equal(rtcpmsg_xr_voip(&x, &v), ERR_OK);
        assert_int_equal(v.r_factor, value <= 100 ? value : 127);
        assert_int_equal(v.ext_r_factor, value <= 100 ? value : 127);
        assert_int_equal(v.mos_lq, value >= 10 && value <= 50 ? value : 127);
        assert_int_equal(v.mos_cq, value >= 10 && value <= 50 ? value : 127);
        body[19] = 0;
        assert_int_equal(rtcpmsg_xr_voip(&x, &v), ERR_SYNTAX);
    }
}

static void other_blocks_are_walked_over(void **state)
{
    static const sv xr = OCTETS("\x80\xcf\x00\x08" SSRC "\x01\x00\x00\x02"
                                "loss rle"
                                "\xc8\x00\x00\x00"
                                "\x04\x00\x00\x02"
                                "ntp time");
    struct rtcp_xr_walk w = {0};
    struct rtcp_xr_block x;
    uint64_t ntp;
    (void)state;
    assert_true(rtcpmsg_xr_next(only(xr), &w, &x) && x.type == 1);
    assert_true(rtcpmsg_xr_next(&msg, &w, &x) && x.type == 200 && x.body.n == 0);
    assert_true(rtcpmsg_xr_next(&msg, &w, &x) && rtcpmsg_xr_rrtr(&x, &ntp) == ERR_OK);
    assert_false(rtcpmsg_xr_next(&msg, &w, &x));
    w = (struct rtcp_xr_walk){0}; /* a block that says that it is longer than the packet */
    assert_false(rtcpmsg_xr_next(only(OCTETS("\x80\xcf\x00\x03" SSRC "\x04\x00\x00\x02"
                                             "ntp ")),
                                 &w, &x));
    assert_false(rtcpmsg_xr_next(only(OCTETS("\x80\xcf\x00\x00")), &w, &x));
}

static void no_room_is_told_and_nothing_is_written(void **state)
{
    static const uint32_t ssrc = 1;
    (void)state;
    for (size_t room = 0; room < 60; room++) {
        buf_init(&b, mem, room);
        struct rtcp_xr x = rtcpmsg_xr_begin(&b, 1);
        rtcpmsg_xr_put_voip(&x, &voip_sample);
        assert_true(b.n <= room && (b.rc == ERR_OK) == (room >= 44));
        assert_true(b.n == 0 || rtcpmsg_check(buf_sv(&b), RTCP_REDUCED) == ERR_OK);
        buf_init(&b, mem, room);
        rtcpmsg_put_bye(&b, &ssrc, 1, SV("reason"));
        assert_true(b.n == (room >= 16 ? 16 : 0));
    }
}

/* ---- time ---- */

static void time_is_as_ntp_writes_it(void **state)
{
    (void)state;
    assert_true(rtcpmsg_ntp(0) == (uint64_t)2208988800U << 32);
    /* 2023-11-14T22:13:20.5Z */
    assert_true(rtcpmsg_ntp(1700000000500000) ==
                ((uint64_t)(2208988800U + 1700000000U) << 32 | 0x80000000));
    assert_int_equal(rtcpmsg_units(USEC_S), 65536);
    assert_int_equal(rtcpmsg_units(-1), 0);
    assert_int_equal(rtcpmsg_units(USEC_DAY), UINT32_MAX);
    assert_int_equal(rtcpmsg_usec(0x00054000),
                     5250000); /* the example of RFC 3550 §6.4.1, figure 2 */
    for (usec us = 1; us < USEC_HOUR; us = us * 3 + 1) {
        usec back = rtcpmsg_usec(rtcpmsg_units(us));
        assert_true(back <= us && us - back <= 16);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_compound_packet_is_walked, setup),
        cmocka_unit_test_setup(the_datagram_is_the_border, setup),
        cmocka_unit_test_setup(a_compound_packet_begins_with_a_report, setup),
        cmocka_unit_test_setup(padding_ends_the_last_packet_only, setup),
        cmocka_unit_test_setup(a_sender_report_is_read, setup),
        cmocka_unit_test_setup(reports_are_written_and_read_back, setup),
        cmocka_unit_test_setup(the_count_of_lost_packets_is_clamped, setup),
        cmocka_unit_test_setup(more_blocks_than_fit_are_refused, setup),
        cmocka_unit_test_setup(descriptions_are_walked, setup),
        cmocka_unit_test_setup(items_beyond_the_packet_end_the_walk, setup),
        cmocka_unit_test_setup(a_cname_is_written_and_read_back, setup),
        cmocka_unit_test_setup(a_bye_is_written_and_read_back, setup),
        cmocka_unit_test_setup(an_app_packet_is_read, setup),
        cmocka_unit_test_setup(feedback_has_a_kind, setup),
        cmocka_unit_test_setup(feedback_of_a_wrong_length_is_refused, setup),
        cmocka_unit_test_setup(a_bit_rate_beyond_64_bits_is_the_largest, setup),
        cmocka_unit_test_setup(feedback_is_written_and_read_back, setup),
        cmocka_unit_test_setup(extended_reports_are_written_and_read_back, setup),
        cmocka_unit_test_setup(a_statistics_summary_is_read, setup),
        cmocka_unit_test_setup(what_must_not_be_sent_in_voip_metrics_is_unknown, setup),
        cmocka_unit_test_setup(other_blocks_are_walked_over, setup),
        cmocka_unit_test_setup(no_room_is_told_and_nothing_is_written, setup),
        cmocka_unit_test_setup(time_is_as_ntp_writes_it, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
