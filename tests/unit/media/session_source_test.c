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

/* A later description takes away what had to be transcoded: what was heard as ours goes on under its name and behind
 * its numbers, and what is lost before us is seen. */
static void what_is_ours_goes_on_when_all_passes(void **state)
{
    (void)state;
    struct offer_codec in = {.id = CODEC_PCMA, .pt = 8, .clock_hz = 8000, .channels = 1},
                       out = {.id = CODEC_PCMU, .clock_hz = 8000, .channels = 1};
    in.name = SV("PCMA");
    out.name = SV("PCMU");
    peer_begin(&config, SUITE_AES_CM_128_HMAC_SHA1_80);
    plan->streams[0].map[0][1] =
        (struct offer_map){.from = 8, .to = 0, .transcode = true, .in = in, .out = out};
    for (unsigned spoke = 0; spoke < 2; spoke++) {
        plan->streams[0].map_n[0] = 2;
        assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
        if (spoke)
            phone_sends(5000, 5, PLAIN);
        uint32_t ssrc = heard.ssrc, ssrcs = heard.ssrcs;
        uint16_t seq = heard.seq;
        plan->streams[0].map_n[0] = 1;
        assert_int_equal(session_apply(sessions, id, SESSION_OFFERER, plan), ERR_OK);
        phone_sends((uint16_t)(4000 + 1000 * spoke + 6), 5, PLAIN);
        phone_sends((uint16_t)(4000 + 1000 * spoke + 12), 5, PLAIN);
        assert_int_equal(heard.refused, 0);
        if (!spoke) { /* nobody has heard us: the source has its own name */
            assert_int_equal(heard.ssrc, PLAIN);
            assert_int_equal(heard.seq, 4016);
            continue;
        }
        assert_int_not_equal(ssrc, PLAIN);
        assert_int_equal(heard.ssrc, ssrc);
        assert_int_equal(heard.ssrcs, ssrcs);
        assert_int_equal(heard.seq, (uint16_t)(seq + 11));
    }
    peer_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_begins_anew_is_heard_under_another_name),
        cmocka_unit_test(doubles_are_no_beginning),
        cmocka_unit_test(one_that_plays_over_and_over_is_never_lost),
        cmocka_unit_test(one_that_changes_its_name_without_end_harms_itself_alone),
        cmocka_unit_test(both_sides_with_one_name_hear_another),
        cmocka_unit_test(what_is_ours_goes_on_when_all_passes),
    };
    if (crypto_start() || srtp_init())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
