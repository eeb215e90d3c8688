/* SPDX-License-Identifier: MIT */
/* session_report_test.c: who reports to whom where streams are made anew here. The first phone speaks in the clear and
 * PCMU, the second with keys and PCMA. */
#include "session_world.h"

enum { FIRST = 0x1111, SECOND = 0x2222 };

/* What one of our reports said. */
static struct {
    unsigned n, blocks_on, voip_on; /* blocks about FIRST */
    uint32_t from;
    int32_t lost;
    bool sr, rrtr, dlrr;
} said;

static void note(sv datagram)
{
    struct rtcp_walk w = {0};
    struct rtcp_report r;
    struct rtcp_voip voip;
    uint64_t ntp;
    assert_int_equal(rtcpmsg_check(datagram, RTCP_COMPOUND), ERR_OK);
    said.n++;
    for (struct rtcpmsg m; rtcpmsg_next(datagram, &w, &m);) {
        struct rtcp_xr_walk x = {0};
        if (rtcpmsg_report(&m, &r) == ERR_OK) {
            said.sr = r.has_sender;
            said.from = r.ssrc;
            for (unsigned i = 0; i < r.blocks; i++) {
                struct rtcp_block b = rtcpmsg_block(&r, i);
                said.blocks_on += b.ssrc == FIRST;
                said.lost = b.ssrc == FIRST ? b.lost : said.lost;
            }
        }
        for (struct rtcp_xr_block b; rtcpmsg_xr_next(&m, &x, &b);) {
            said.voip_on += rtcpmsg_xr_voip(&b, &voip) == ERR_OK && voip.ssrc == FIRST;
            said.rrtr |= rtcpmsg_xr_rrtr(&b, &ntp) == ERR_OK;
            said.dlrr |= rtcpmsg_xr_dlrrs(&b) > 0;
        }
    }
}

static void on_first(unsigned side, uint8_t *p, size_t n)
{
    sv datagram = {(char *)p, n};
    if (side == SESSION_OFFERER && rtpmsg_kind(datagram) == RTPMSG_RTCP)
        note(datagram);
    else
        peer_got(side, p, n);
}

/* xr: what the first phone's description says of reports. */
static void begin(uint8_t xr)
{
    struct offer_codec law[] = {
        {.id = CODEC_PCMU, .pt = 0, .clock_hz = 8000, .channels = 1, .name = SV("PCMU")},
        {.id = CODEC_PCMA, .pt = 8, .clock_hz = 8000, .channels = 1, .name = SV("PCMA")}};
    memset(&said, 0, sizeof(said));
    peer_begin(&config, SUITE_AES_CM_128_HMAC_SHA1_80);
    on_got = on_first;
    for (unsigned i = 0; i < SESSION_SIDES; i++)
        plan->streams[0].map[i][0] = (struct offer_map){
            .from = law[i].pt, .to = law[!i].pt, .transcode = true, .in = law[i], .out = law[!i]};
    plan->streams[0].transcodes = true;
    plan->streams[0].leg[SESSION_OFFERER].xr = xr;
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
}

/* It speaks for eight seconds, and asks for the round trip meanwhile; the twentieth packet is lost. */
static void speak(bool asks)
{
    uint8_t p[200];
    struct buf b;
    phone_sends(1, 19, FIRST);
    if (asks) {
        buf_init(&b, p, sizeof(p));
        rtcpmsg_put_rr(&b, FIRST, NULL, 0);
        rtcpmsg_put_cname(&b, FIRST, SV("first"));
        struct rtcp_xr x = rtcpmsg_xr_begin(&b, FIRST);
        rtcpmsg_xr_put_rrtr(&x, (uint64_t)0x1234567 << 16);
        assert_int_equal(b.rc, ERR_OK);
        send_octets(phone[SESSION_OFFERER], SESSION_OFFERER, p, b.n);
    }
    phone_sends(21, 380, FIRST);
}

/* RFC 3550 §6.4: who receives reports, whether it sends or not; and the other side gets reports under the name of the
 * stream that we make for it, never those of the first. */
static void who_only_listens_is_reported_on_and_by(void **state)
{
    (void)state;
    begin(0);
    speak(false);
    assert_in_range(said.n, 1, 4);
    assert_int_equal(said.blocks_on, said.n);
    assert_int_equal(said.lost, 1);
    assert_false(said.sr);
    assert_int_equal(said.voip_on, 0);
    assert_false(said.rrtr || said.dlrr);
    assert_in_range(heard.rtcp, 1, 4);
    assert_int_equal(heard.refused, 0);
    assert_int_not_equal(heard.ssrc, FIRST);
    assert_int_equal(rtpmsg_u32(heard.report, 4), heard.ssrc);
    assert_int_equal(heard.report[1], RTCP_SR);
    peer_end();
}

/* RFC 3611 §5.1: what a description names is written; §4.5: who asks is answered. */
static void extended_reports_are_those_that_are_wanted(void **state)
{
    (void)state;
    begin(OFFER_XR_SAID | OFFER_XR_VOIP | OFFER_XR_RTT);
    speak(false);
    assert_int_equal(said.voip_on, said.n);
    assert_true(said.rrtr && !said.dlrr);
    peer_end();
    begin(OFFER_XR_SAID);
    speak(true);
    assert_int_equal(said.voip_on, 0);
    assert_true(!said.rrtr && said.dlrr);
    peer_end();
}

/* Back to what passes as it is: the phones' own reports pass, ours end. */
static void all_passes(bool passes)
{
    for (unsigned i = 0; i < SESSION_SIDES; i++)
        plan->streams[0].map[i][0].transcode = !passes;
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
}

/* A stream of ours that the receiver has heard goes on when all passes, and so do its reports. */
static void reports_of_ours_are_there_as_long_as_a_stream_of_ours(void **state)
{
    (void)state;
    begin(0);
    all_passes(true);
    unsigned n = said.n;
    phone_sends(1, 600, FIRST);
    assert_int_equal(said.n, n);
    all_passes(false);
    phone_sends(1001, 400, FIRST);
    assert_true(said.n > n);
    n = said.n;
    all_passes(true);
    phone_sends(1401, 400, FIRST);
    assert_true(said.n > n);
    peer_end();
}

/* What passed goes on as ours: so do the reports of who speaks. Their clock is that of what is heard, and their counts are not
 * below what was sent under that name. */
static void reports_go_on_with_what_passed(void **state)
{
    (void)state;
    begin(0);
    all_passes(true);
    phone_sends(1, 400, FIRST);
    assert_int_equal(heard.rtcp, 0);
    all_passes(false);
    phone_sends(401, 400, FIRST);
    assert_true(heard.rtcp > 0);
    const uint8_t *sr = heard.report;
    assert_int_equal(sr[1], RTCP_SR);
    assert_int_equal(heard.ssrc, FIRST);
    assert_int_equal(heard.ssrcs, 1);
    assert_int_equal(rtpmsg_u32(sr, 4), FIRST);
    uint32_t back = heard.ts - rtpmsg_u32(sr, 16), packets = rtpmsg_u32(sr, 20);
    assert_in_range(back, 0, 8 * 8000);
    assert_in_range(packets + back / 160, 798, 799); /* A.1: it begins with the second */
    assert_int_equal(rtpmsg_u32(sr, 24), 160 * packets);
    peer_end();
}

/* RFC 3550 §6.6; §6.3.7: "A participant which never sent an RTP or RTCP packet MUST NOT send a BYE packet". */
static void a_stream_of_ours_says_that_it_ends(void **state)
{
    static char mem[SESSION_SAVED_MAX];
    struct buf form;
    (void)state;
    for (unsigned handed = 0; handed < 2; handed++) {
        begin(0);
        speak(false);
        assert_int_equal(heard_bye(), 0);
        unsigned reports = heard.rtcp, first = said.n;
        buf_init(&form, mem, sizeof(mem));
        if (handed) /* then another goes on with it, and with its keys: nothing more leaves here */
            assert_int_equal(session_save(sessions, id, SESSION_LAST, &form), ERR_OK);
        session_end(sessions, id);
        run_ms(20);
        assert_int_equal(heard.rtcp, reports + !handed);
        assert_int_equal(said.n, first + !handed);
        assert_int_equal(heard_bye(), handed ? 0 : heard.ssrc);
        assert_int_equal(heard.refused, 0);
        peer_end();
    }
    begin(0);
    session_end(sessions, id); /* nobody has heard of it */
    run_ms(20);
    assert_int_equal(heard.rtcp + said.n, 0);
    peer_end();
    begin(0);
    all_passes(true);
    phone_sends(1, 400, FIRST);
    session_end(sessions, id); /* what passes is not ours to end */
    run_ms(20);
    assert_int_equal(heard.rtcp + said.n, 0);
    peer_end();
}

static int library(void **state)
{
    (void)state;
    return crypto_start() || srtp_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_only_listens_is_reported_on_and_by),
        cmocka_unit_test(extended_reports_are_those_that_are_wanted),
        cmocka_unit_test(reports_of_ours_are_there_as_long_as_a_stream_of_ours),
        cmocka_unit_test(reports_go_on_with_what_passed),
        cmocka_unit_test(a_stream_of_ours_says_that_it_ends),
    };
    return cmocka_run_group_tests(tests, library, NULL);
}
