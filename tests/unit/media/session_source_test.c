/* SPDX-License-Identifier: MIT */
/* session_source_test.c: sources that begin anew, share a name, or change it without end; libsrtp2 listens. */
#include "session_world.h"

enum { PLAIN = 0x1111 };

static void start(void)
{
    peer_begin(&config, SUITE_AES_CM_128_HMAC_SHA1_80);
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
}

static void put32(uint8_t *p, uint32_t v)
{
    rtpmsg_set_u32(p, 0, v);
}

/* SR of `ssrc`, its SDES, BYE: who speaks. */
static size_t speaks(uint8_t *p, uint32_t ssrc)
{
    memset(p, 0, 28 + 12 + 8);
    memcpy(p, (uint8_t[]){0x80, 200, 0, 6}, 4);
    memcpy(p + 28, (uint8_t[]){0x81, 202, 0, 2}, 4);
    memcpy(p + 36, (uint8_t[]){1, 2, 'a', 'b'},
           4); /* ends without a word of zeros: one more octet */
    memcpy(p + 30, (uint8_t[]){0, 3}, 2);
    memcpy(p + 44, (uint8_t[]){0x81, 203, 0, 1}, 4);
    put32(p + 4, ssrc);
    put32(p + 32, ssrc);
    put32(p + 48, ssrc);
    return 52;
}

/* RR, NACK and FIR about `ssrc`, of which `seq` is the highest and is missed. */
static size_t reports(uint8_t *p, uint32_t ssrc, uint16_t seq)
{
    memset(p, 0, 32 + 16 + 20);
    memcpy(p, (uint8_t[]){0x81, 201, 0, 7}, 4);
    put32(p + 4, 0x9999);
    put32(p + 8, ssrc);
    put32(p + 16, seq);
    memcpy(p + 32, (uint8_t[]){0x81, 205, 0, 3}, 4);
    put32(p + 36, 0x9999);
    put32(p + 40, ssrc);
    rtpmsg_set_u16(p, 44, seq);
    memcpy(p + 48, (uint8_t[]){0x84, 206, 0, 4}, 4);
    put32(p + 52, 0x9999);
    put32(p + 60, ssrc);
    return 68;
}

/* RTCP of both sides about the source that is heard under `out`. */
static void rtcp_follows(uint32_t in, uint32_t out, uint16_t seq_in, uint16_t seq_out)
{
    uint8_t p[200];
    unsigned before = heard.rtcp, n0 = got[0].n;
    send_octets(phone[0], 0, p, speaks(p, in));
    run_ms(20);
    assert_int_equal(heard.rtcp, before + 1);
    assert_int_equal(rtpmsg_u32(heard.report, 4), out);
    assert_int_equal(rtpmsg_u32(heard.report, 32), out);
    assert_int_equal(rtpmsg_u32(heard.report, 48), out);
    send_octets(phone[1], 1, p, peer_protect(p, reports(p, out, seq_out), true));
    run_ms(20);
    assert_int_equal(got[0].n, n0 + 1);
    assert_int_equal(got[0].last_n, 68);
    assert_int_equal(rtpmsg_u32(got[0].last, 4), 0x9999);
    assert_int_equal(rtpmsg_u32(got[0].last, 8), in);
    assert_int_equal(rtpmsg_u32(got[0].last, 16), seq_in);
    assert_int_equal(rtpmsg_u32(got[0].last, 40), in);
    assert_int_equal(rtpmsg_u16(got[0].last, 44), seq_in);
    assert_int_equal(rtpmsg_u32(got[0].last, 60), in);
}

static void one_that_begins_anew_is_heard_under_another_name(void **state)
{
    (void)state;
    start();
    phone_sends(5000, 30, PLAIN);
    assert_int_equal(heard.rtp, 30);
    assert_int_equal(heard.ssrc, PLAIN);
    rtcp_follows(PLAIN, PLAIN, 5029, 5029);
    phone_sends(1000, 30, PLAIN); /* the first two are not believed */
    assert_int_equal(heard.rtp, 30 + 28);
    assert_int_not_equal(heard.ssrc, PLAIN);
    assert_int_equal(heard.seq, 1029);
    assert_int_equal(heard.ssrcs, 2);
    rtcp_follows(PLAIN, heard.ssrc, 1029, 1029);
    phone_sends(1030, 30, PLAIN);
    assert_int_equal(heard.rtp, 58 + 30);
    assert_int_equal(heard.ssrcs, 2);
    assert_int_equal(heard.refused, 0);
    peer_end();
}

/* A burst that comes twice, and packets that come very late, are none. */
static void doubles_are_no_beginning(void **state)
{
    (void)state;
    start();
    phone_sends(5000, 200, PLAIN);
    phone_sends(5190, 10, PLAIN); /* a burst again */
    phone_sends(5010, 2, PLAIN);  /* from long ago */
    phone_sends(5200, 10, PLAIN);
    phone_sends(5010, 2, PLAIN);
    phone_sends(5210, 10, PLAIN);
    assert_int_equal(heard.rtp, 220);
    assert_int_equal(heard.ssrcs, 1);
    phone_sends(5170, 40, PLAIN); /* near, but so many */
    assert_int_equal(heard.rtp, 220 + 25);
    assert_int_equal(heard.ssrcs, 2);
    peer_end();
}

/* A file that is played over and over: names are used up, and it is still heard. */
static void one_that_plays_over_and_over_is_never_lost(void **state)
{
    (void)state;
    start();
    for (unsigned i = 0; i < 2 * SRTP_SSRCS_MAX; i++) {
        unsigned before = heard.rtp;
        phone_sends(5000, 20, PLAIN);
        assert_true(heard.rtp - before >= 4);
    }
    assert_in_range(heard.ssrcs, SRTP_SSRCS_MAX / 2, SRTP_SSRCS_MAX * 3 / 4 + 1);
    assert_int_equal(heard.refused, 0);
    /* where its names are used up its numbers are moved */
    rtcp_follows(PLAIN, heard.ssrc, 5019, heard.seq);
    /* there is room for sources with names of their own */
    phone_sends(100, 5, 0x55555);
    assert_int_equal(heard.ssrc, 0x55555);
    /* and the other direction never knew */
    peer_send_rtp(77, 0x2222);
    run_ms(20);
    assert_int_equal(rtpmsg_seq(got[0].last), 77);
    peer_end();
}

/* Each packet from another source, as who wants to use up all memory would send: one that is heard now still is, and
 * the source that comes after all of them. */
static void one_that_changes_its_name_without_end_harms_itself_alone(void **state)
{
    (void)state;
    start();
    phone_sends(5000, 5, PLAIN);
    for (uint32_t i = 0; i < 3 * SRTP_SSRCS_MAX; i++)
        phone_sends(7, 1, 0x10000 + i);
    unsigned before = heard.rtp;
    phone_sends(5005, 10, PLAIN);
    assert_int_equal(heard.rtp, before + 10);
    before = heard.rtp;
    phone_sends(100, 30, 0x77777);
    assert_in_range(heard.rtp - before, 10, 30);
    assert_int_equal(heard.refused, 0);
    peer_end();
}

/* RFC 3550 §8.2. */
static void both_sides_with_one_name_hear_another(void **state)
{
    (void)state;
    start();
    phone_sends(5000, 5, PLAIN);
    peer_send_rtp(77, PLAIN);
    run_ms(20);
    assert_int_not_equal(rtpmsg_ssrc(got[0].last), PLAIN);
    assert_int_equal(rtpmsg_seq(got[0].last), 77);
    phone_sends(5005, 5, PLAIN);
    assert_int_equal(heard.rtp, 10);
    assert_int_not_equal(heard.ssrc, PLAIN);
    rtcp_follows(PLAIN, heard.ssrc, 5009, 5009);
    peer_end();
}

/* ---- what is transcoded at times ---- */

static const struct offer_codec
    ulaw = {.id = CODEC_PCMU, .clock_hz = 8000, .channels = 1, .name = SV("PCMU")},
    alaw = {.id = CODEC_PCMA, .pt = 8, .clock_hz = 8000, .channels = 1, .name = SV("PCMA")},
    opus = {.id = CODEC_OPUS, .pt = 111, .clock_hz = 48000, .channels = 2, .name = SV("opus")};

/* What the first phone sends is to become that. */
static void converts_to(const struct offer_codec *out)
{
    plan->streams[0].map[0][0] =
        (struct offer_map){.to = out->pt, .transcode = out != &ulaw, .in = ulaw, .out = *out};
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
}

static uint32_t paused; /* its clock has gone on for so long without packets */

/* Packets first to last of a stream that has begun at 0; the other side hears their numbers and their time. */
static void heard_as_said(uint32_t ssrc, uint32_t first, uint32_t last)
{
    uint8_t p[400];
    for (uint32_t i = first; i <= last; i++) {
        rtpmsg_put_header(p, false, 0, (uint16_t)i, 160 * i + paused, ssrc);
        memset(p + RTP_HEADER, 0x55, 160);
        send_octets(phone[SESSION_OFFERER], SESSION_OFFERER, p, RTP_HEADER + 160);
        run_ms(20);
    }
    assert_int_equal(heard.refused, 0);
    assert_int_equal(heard.seq, (uint16_t)last);
    assert_int_equal(heard.ts, 160 * last + paused);
}

/* A stream that passes, is transcoded, and passes again is one for who hears it: numbers, time, and the count of how often its
 * numbers have begun anew (RFC 3711 §3.3.1), which libsrtp2 reckons from them. */
static void what_passed_goes_on_when_it_is_transcoded(void **state)
{
    (void)state;
    start();
    heard_as_said(PLAIN, 65000, 65533);
    converts_to(&alaw);
    heard_as_said(PLAIN, 65534, 65540);
    heard_as_said(PLAIN, 65542, 65550); /* one is lost before us: its time is made up */
    converts_to(&ulaw);
    heard_as_said(PLAIN, 65551, 65560);
    heard_as_said(PLAIN, 65562, 65570); /* and here it is seen */
    converts_to(&alaw);
    converts_to(&ulaw);
    converts_to(&alaw);
    heard_as_said(PLAIN, 65571, 65580);
    run_ms(10000); /* it says nothing, and its clock goes on */
    converts_to(&ulaw);
    run_ms(10000);
    paused = 20 * 8000;
    heard_as_said(PLAIN, 65581, 65590);
    run_ms(10000);
    converts_to(&alaw);
    paused += 10 * 8000;
    heard_as_said(PLAIN, 65591, 65600);
    paused = 0;
    assert_int_equal(heard.ssrc, PLAIN);
    assert_int_equal(heard.ssrcs, 1);
    assert_int_equal(heard.rtp, 65600 - 65000 + 1 - 1);
    peer_end();
}

/* Nor does it matter that no more than one packet has passed, of which nobody believes yet that a source begins. */
static void one_packet_that_passed_is_heard(void **state)
{
    (void)state;
    start();
    heard_as_said(PLAIN, 5000, 5000);
    converts_to(&alaw);
    heard_as_said(PLAIN, 5001, 5005);
    converts_to(&ulaw);
    heard_as_said(0x2222, 5006, 5006);
    assert_int_equal(heard.ssrc, PLAIN);
    assert_int_equal(heard.ssrcs, 1);
    peer_end();
}

/* Under the name that it had on the other side. */
static void what_had_another_name_keeps_it_when_it_is_transcoded(void **state)
{
    (void)state;
    start();
    heard_as_said(PLAIN, 5000, 5030);
    heard_as_said(PLAIN, 1000, 1030);
    uint32_t name = heard.ssrc;
    assert_int_not_equal(name, PLAIN);
    converts_to(&alaw);
    heard_as_said(PLAIN, 1031, 1040);
    converts_to(&ulaw);
    heard_as_said(PLAIN, 1041, 1050);
    assert_int_equal(heard.ssrc, name);
    assert_int_equal(heard.ssrcs, 2);
    peer_end();
}

/* Another source, as phones have after a new description: the stream goes on, and its time as ours did. */
static void another_source_goes_on_behind_the_one_that_passed(void **state)
{
    (void)state;
    start();
    heard_as_said(PLAIN, 1000, 1030);
    run_ms(980);
    converts_to(&alaw);
    phone_sends(7000, 10, 0x2222);
    assert_int_equal(heard.ssrc, PLAIN);
    assert_int_equal(heard.seq, 1040);
    assert_in_range(heard.ts, 160 * (1030 + 49 + 9), 160 * (1030 + 49 + 11));
    peer_end();
}

/* RFC 7160 §4.1: "MUST use a different SSRC for each different clock rate". */
static void another_clock_has_another_name(void **state)
{
    (void)state;
    start();
    heard_as_said(PLAIN, 1000, 1030);
    converts_to(&opus);
    phone_sends(1031, 10, PLAIN);
    uint32_t name = heard.ssrc;
    assert_int_not_equal(name, PLAIN);
    assert_int_equal(heard.rtcp, 0); /* what passed was not ours to end */
    converts_to(&alaw);
    phone_sends(1041, 10, PLAIN);
    assert_int_not_equal(heard.ssrc, name);
    assert_int_equal(heard.rtcp, 1);
    assert_int_equal(heard_bye(), name);
    name = heard.ssrc;
    assert_int_equal(heard.ssrcs, 3);
    converts_to(&opus);
    phone_sends(1051, 10, PLAIN);
    assert_int_not_equal(heard.ssrc, name);
    assert_int_equal(heard_bye(), name);
    name = heard.ssrc;
    converts_to(&ulaw); /* nothing is ours in that clock: it passes */
    heard_as_said(PLAIN, 1061, 1070);
    assert_int_equal(heard.ssrc, PLAIN);
    assert_int_equal(heard_bye(), name);
    assert_int_equal(heard.rtcp, 3);
    peer_end();
}

/* A later description takes away what had to be transcoded: what was heard as ours goes on under its name and behind
 * its numbers, and what is lost before us is seen. */
static void what_is_ours_goes_on_when_all_passes(void **state)
{
    (void)state;
    for (unsigned spoke = 0; spoke < 2; spoke++) {
        peer_begin(&config, SUITE_AES_CM_128_HMAC_SHA1_80);
        converts_to(&alaw);
        if (spoke)
            phone_sends(5000, 5, PLAIN);
        uint32_t ssrc = heard.ssrc;
        uint16_t seq = heard.seq;
        converts_to(&ulaw);
        phone_sends(5006, 5, PLAIN);
        phone_sends(5012, 5, PLAIN);
        assert_int_equal(heard.refused, 0);
        assert_int_equal(heard.ssrcs, 1);
        if (spoke) {
            assert_int_not_equal(ssrc, PLAIN);
            assert_int_equal(heard.ssrc, ssrc);
            assert_int_equal(heard.seq, (uint16_t)(seq + 12));
        } else { /* nobody has heard us: the source has its own name */
            assert_int_equal(heard.ssrc, PLAIN);
            assert_int_equal(heard.seq, 5016);
        }
        peer_end();
    }
}

/* Reports of a phone that did not agree to rtcp-mux, from its own port for them to ours for sound. */
static void rtcp_at_the_port_of_rtp_does_not_say_where_rtp_goes(void **state)
{
    static const uint8_t report[] = {0x80, 201, 0, 1, 0, 0, 0x11, 0x11};
    struct offer_leg *l;
    struct addr beside;
    struct udp *rtcp;
    uint8_t p[400];
    (void)state;
    world_begin(&config);
    beside = phone[0]->local;
    beside.port++;
    assert_int_equal(
        udp_open(phone[0]->loop, &beside, &handler, (void *)(uintptr_t)SESSION_SIDES, &rtcp),
        ERR_OK);
    l = &plan->streams[0].leg[0]; /* behind a NAT */
    l->mux = false;
    l->rtp = l->rtcp = (struct offer_ip){.ip = {10, 0, 0, 9}, .n = 4, .port = 4000};
    l->rtcp.port++;
    assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
    for (unsigned i = 0; i < 5; i++)
        send_octets(rtcp, 0, report, sizeof(report));
    run_ms(20);
    phone_sends(1, 3, 0x1111);
    send_octets(phone[1], 1, p, make_rtp(p, 0, 1, 0x2222));
    run_ms(20);
    assert_int_equal(strangers, 0);
    assert_int_equal(got[0].n, 1);
    udp_close(rtcp);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rtcp_at_the_port_of_rtp_does_not_say_where_rtp_goes),
        cmocka_unit_test(one_that_begins_anew_is_heard_under_another_name),
        cmocka_unit_test(doubles_are_no_beginning),
        cmocka_unit_test(one_that_plays_over_and_over_is_never_lost),
        cmocka_unit_test(one_that_changes_its_name_without_end_harms_itself_alone),
        cmocka_unit_test(both_sides_with_one_name_hear_another),
        cmocka_unit_test(what_passed_goes_on_when_it_is_transcoded),
        cmocka_unit_test(one_packet_that_passed_is_heard),
        cmocka_unit_test(what_had_another_name_keeps_it_when_it_is_transcoded),
        cmocka_unit_test(another_source_goes_on_behind_the_one_that_passed),
        cmocka_unit_test(another_clock_has_another_name),
        cmocka_unit_test(what_is_ours_goes_on_when_all_passes),
    };
    if (crypto_start() || srtp_init())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
