/* SPDX-License-Identifier: MIT */
/* Descriptions in the terms of offer/offer.h: what is read of them, what is skipped, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "offer/offer.h"

#define HEAD  "v=0\r\no=- 1 2 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
#define KEY30 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd"

static struct arena arena;
static struct offer_session session;
static struct sdp_fault fault;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 0, 4 << 20);
    fault = (struct sdp_fault){0};
    memset(&session, 0xa5, sizeof session); /* nothing may be left unwritten */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static enum err try_read(const char *text)
{
    struct sdp *sdp = ARENA_NEW(&arena, struct sdp);
    enum err rc = sdp_parse(sv_of(text), &arena, sdp, &fault);
    if (rc)
        fail_msg("line %u: %s\n%s", (unsigned)fault.line, fault.why, text);
    return offer_read(sdp, &arena, &session, &fault);
}

static const struct offer_media *read_first(const char *text)
{
    assert_int_equal(try_read(text), ERR_OK);
    return &session.media[0];
}

static void assert_sv(sv got, const char *want)
{
    if (!sv_eq(got, sv_of(want)) || !sv_present(got))
        fail_msg("got \"" SV_FMT "\", want \"%s\"", SV_ARG(got), want);
}

static void assert_codec(const struct offer_codec *c, enum offer_codec_id id, uint8_t pt,
                         uint32_t clock_hz)
{
    assert_int_equal(c->id, id);
    assert_int_equal(c->pt, pt);
    assert_int_equal(c->clock_hz, clock_hz);
}

static void reads_a_plain_phone(void **state)
{
    (void)state;
    const struct offer_media *m =
        read_first(HEAD "m=audio 4000 RTP/AVP 0 8 9 13 18 101 97\r\n"
                        "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n"
                        "a=rtpmap:97 OPUS/48000/2\r\na=ptime:30\r\na=maxptime:60\r\n");
    assert_int_equal(session.n, 1);
    assert_int_equal(m->kind, OFFER_AUDIO);
    assert_false(m->refused || m->secure || m->feedback || m->dtls_only || m->web || m->hold);
    assert_false(m->mux || m->ice || m->bundled || m->bundle || m->setup_said);
    assert_int_equal(m->keying, OFFER_PLAIN);
    assert_int_equal(m->direction, SDP_SENDRECV);
    assert_int_equal(m->rtp.n, 4);
    assert_memory_equal(m->rtp.ip, ((uint8_t[]){192, 0, 2, 1}), 4);
    assert_int_equal(m->rtp.port, 4000);
    assert_int_equal(m->rtcp.port, 4001);
    assert_int_equal(m->codecs_n, 7);
    assert_codec(&m->codecs[0], CODEC_PCMU, 0, 8000);
    assert_codec(&m->codecs[1], CODEC_PCMA, 8, 8000);
    assert_codec(&m->codecs[2], CODEC_G722, 9, 8000);
    assert_codec(&m->codecs[3], CODEC_CN, 13, 8000);
    assert_codec(&m->codecs[4], CODEC_OTHER, 18, 8000);
    assert_codec(&m->codecs[5], CODEC_EVENT, 101, 8000);
    assert_sv(m->codecs[5].fmtp, "0-16");
    assert_codec(&m->codecs[6], CODEC_OPUS, 97, 48000);
    assert_int_equal(m->codecs[6].channels, 2);
    assert_sv(m->codecs[6].params, "2");
    assert_false(sv_present(m->codecs[6].fmtp));
    assert_int_equal(m->ptime_us, 30000);
    assert_int_equal(m->maxptime_us, 60000);
}

static void reads_what_a_line_is(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum offer_kind kind;
        bool secure, feedback, dtls_only;
    } rows[] = {
        {"audio 9 RTP/AVPF 0", OFFER_AUDIO, false, true, false},
        {"audio 9 RTP/SAVP 0", OFFER_AUDIO, true, false, false},
        {"video 9 RTP/SAVPF 31", OFFER_VIDEO, true, true, false},
        {"text 9 UDP/TLS/RTP/SAVP 0", OFFER_TEXT, true, false, true},
        {"video 9 UDP/TLS/RTP/SAVPF 31", OFFER_VIDEO, true, true, true},
        {"image 9 udptl t38", OFFER_T38, false, false, false},
        {"image 9 UDPTL t38", OFFER_T38, false, false, false},
        {"image 9 RTP/AVP 99", OFFER_OTHER, false, false, false},
        {"audio 9 TCP/TLS/RTP/SAVP 0", OFFER_OTHER, false, false, false},
        {"application 9 UDP/DTLS/SCTP webrtc-datachannel", OFFER_OTHER, false, false, false},
        {"message 9 TCP/MSRP *", OFFER_OTHER, false, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, HEAD "m=%s\r\n", rows[i].line);
        const struct offer_media *m = read_first(text);
        assert_int_equal(m->kind, rows[i].kind);
        assert_int_equal(m->secure, rows[i].secure);
        assert_int_equal(m->feedback, rows[i].feedback);
        assert_int_equal(m->dtls_only, rows[i].dtls_only);
    }
}

static void reads_which_reports_are_wanted(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint8_t xr;
    } rows[] = {
        {HEAD "m=audio 9 RTP/AVP 0\r\n", 0},
        {HEAD "m=audio 9 RTP/AVP 0\r\na=rtcp-xr:voip-metrics\r\n", OFFER_XR_SAID | OFFER_XR_VOIP},
        {HEAD
         "m=audio 9 RTP/AVP 0\r\na=rtcp-xr:pkt-loss-rle=20 rcvr-rtt=sender:100 voip-metrics\r\n",
         OFFER_XR_SAID | OFFER_XR_VOIP | OFFER_XR_RTT},
        /* a medium's own replaces the session's, though it is empty */
        {HEAD "a=rtcp-xr:voip-metrics\r\nm=audio 9 RTP/AVP 0\r\n", OFFER_XR_SAID | OFFER_XR_VOIP},
        {HEAD "a=rtcp-xr:voip-metrics\r\nm=audio 9 RTP/AVP 0\r\na=rtcp-xr:\r\n", OFFER_XR_SAID},
        {HEAD "m=audio 9 RTP/AVP 0\r\na=rtcp-xr\r\n", OFFER_XR_SAID},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(read_first(rows[i].text)->xr, rows[i].xr);
}

static void reads_addresses(void **state)
{
    (void)state;
    const struct offer_media *m =
        read_first(HEAD "m=audio 4000 RTP/AVP 0\r\na=rtcp:5001\r\n"
                        "m=audio 4000 RTP/AVP 0\r\n"
                        "a=rtcp:5001 IN IP6 2001:db8::7\r\n"
                        "m=audio 4000 RTP/AVP 0\r\na=rtcp-mux\r\n"
                        "a=rtcp:5001\r\n"
                        "m=audio 4000 RTP/AVP 0\r\nc=IN IP6 2001:db8::8\r\n"
                        "a=rtcp-mux-only\r\n"
                        "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 pbx.example\r\n"
                        "m=audio 65535 RTP/AVP 0\r\n");
    assert_int_equal(m[0].rtcp.port, 5001);
    assert_int_equal(m[0].rtcp.n, 4);
    assert_int_equal(m[1].rtcp.n, 16);
    assert_int_equal(m[1].rtcp.ip[15], 7);
    assert_true(m[2].mux && !m[2].mux_only);
    assert_int_equal(m[2].rtcp.port, 4000);
    assert_true(m[3].mux && m[3].mux_only);
    assert_int_equal(m[3].rtp.n, 16);
    assert_int_equal(m[3].rtcp.port, 4000);
    assert_int_equal(m[4].rtp.n, 0);
    assert_false(m[4].hold);
    assert_int_equal(m[5].rtcp.n, 0); /* no port behind the last */
}

/* RFC 3264 §8.4, RFC 8839 §4.2.5: nowhere is a hold, but not for who has ICE */
static void nowhere_is_a_hold(void **state)
{
    (void)state;
    const struct offer_media *m =
        read_first(HEAD "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n"
                        "m=audio 4000 RTP/AVP 0\r\nc=IN IP6 ::\r\n"
                        "m=audio 9 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n"
                        "a=ice-pwd:0123456789012345678901\r\na=ice-options:ice2 trickle\r\n");
    assert_true(m[0].hold && m[0].rtp.n == 0);
    assert_true(m[1].hold && m[1].rtp.n == 0);
    assert_true(!m[2].hold && m[2].rtp.n == 0 && m[2].ice && m[2].trickle);
}

static void reads_crypto_lines_that_can_be_done(void **state)
{
    (void)state;
    const struct offer_media *m = read_first(
        HEAD
        "m=audio 4000 RTP/SAVP 0\r\n"
        "a=crypto:1 F8_128_HMAC_SHA1_80 inline:" KEY30 "\r\n"
        "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|2^31|1:1\r\n"
        "a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 " KDR=1\r\n"
        "a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 " UNENCRYPTED_SRTCP\r\n"
        "a=crypto:5 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "AA\r\n"
        "a=crypto:6 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 "|2^x\r\n"
        "a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:" KEY30 ";inline:" KEY30 "\r\n"
        "a=crypto:8 AES_CM_128_HMAC_SHA1_32 inline:" KEY30 "|2^20 WSH=128 -NEW=1\r\n"
        "a=crypto:9 AEAD_AES_128_GCM inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw==|1000\r\n"
        "a=crypto:10 AES_256_CM_HMAC_SHA1_80 inline:////////////////////////////////"
        "/////////////////////////////w==\r\n"
        "a=crypto:11 AEAD_AES_256_GCM inline:++++++++++++++++++++++++++++++++"
        "++++++++++++++++++++++++++8\r\n"
        "a=crypto:12 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaG-_d\r\n"
        "a=crypto:13\r\n");
    assert_int_equal(m->keying, OFFER_SDES);
    assert_int_equal(m->cryptos_n, 4);
    assert_int_equal(m->cryptos_lost, 9);
    assert_int_equal(m->cryptos[0].tag, 8);
    assert_int_equal(m->cryptos[0].suite, SUITE_AES_CM_128_HMAC_SHA1_32);
    assert_true(m->cryptos[0].key_n == 16 && m->cryptos[0].salt_n == 14);
    for (uint8_t i = 0; i < 30; i++)
        assert_int_equal(m->cryptos[0].key[i], i);
    assert_int_equal(m->cryptos[1].suite, SUITE_AEAD_AES_128_GCM);
    assert_int_equal(m->cryptos[1].key_n + m->cryptos[1].salt_n, 28);
    assert_int_equal(m->cryptos[2].suite, SUITE_AES_256_CM_HMAC_SHA1_80);
    assert_int_equal(m->cryptos[2].key[45], 0xff);
    assert_int_equal(m->cryptos[3].suite, SUITE_AEAD_AES_256_GCM);
    assert_int_equal(m->cryptos[3].key[0], 0xfb);
}

#define BROWSER_TAIL                                                              \
    "a=ice-ufrag:Ab+/\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n" \
    "a=fingerprint:sha-256 AA:BB\r\n"

static void reads_a_browser(void **state)
{
    (void)state;
    const struct offer_media *m = read_first(
        HEAD "a=group:LS x\r\na=group:BUNDLE 0 1 2\r\n"
             "m=audio 5000 UDP/TLS/RTP/SAVPF 111 63\r\na=mid:0\r\n" BROWSER_TAIL
             "a=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n"
             "a=rtcp-mux\r\na=fingerprint:sha-1 01:02\r\n"
             "a=candidate:1 1 udp 2113937151 192.0.2.1 5000 typ host generation 0\r\n"
             "a=candidate:2 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active\r\n"
             "a=candidate:3 1 udp 2113937151 8c1b1cf6.local 5000 typ host\r\n"
             "a=candidate:4 1 udp 2113937151 192.0.2.1 0 typ host\r\n"
             "a=candidate:5 3 udp 2113937151 192.0.2.1 5000 typ host\r\n"
             "a=candidate:rubbish\r\na=end-of-candidates\r\n"
             "m=video 0 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\na=bundle-only\r\n"
             "a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
             "m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\n"
             "m=audio 6000 UDP/TLS/RTP/SAVPF 0\r\na=mid:3\r\na=fingerprint:sha-256 CC\r\n");
    assert_int_equal(m->keying, OFFER_DTLS);
    assert_true(m->web && m->ice && m->mux && !m->ice_lite && !m->trickle && m->end_of_candidates);
    assert_sv(m->ufrag, "Ab+/");
    assert_int_equal(m->candidates_n, 1);
    assert_int_equal(m->fingerprints_n, 2);
    assert_int_equal(m->fingerprints[1].digest[1], 2);
    assert_true(m->setup_said && m->setup == SDP_ACTPASS);
    assert_int_equal(m->codecs[1].id, CODEC_RED);
    assert_true(m->bundle && !m->bundled);
    assert_false(m[1].refused);
    assert_true(m[1].bundle && m[1].bundled && m[1].bundle_with == 0 && m[1].mux && m[1].web);
    assert_int_equal(m[1].keying, OFFER_DTLS);
    assert_int_equal(m[1].rtp.port, 5000);
    assert_sv(m[1].ufrag, "Ab+/");
    assert_int_equal(m[1].codecs[1].id, CODEC_RTX);
    assert_true(m[2].refused && !m[2].bundled); /* no bundle-only: gone */
    assert_true(!m[3].bundle && !m[3].ice && m[3].fingerprints_n == 1);
}

/* RFC 9143 §7.1.3: an answer says it once; the rest has it too */
static void a_bundle_shares_what_its_head_says(void **state)
{
    (void)state;
    const struct offer_media *m = read_first(
        HEAD "a=group:BUNDLE a v\r\na=ice-lite\r\n"
             "m=audio 5000 UDP/TLS/RTP/SAVPF 0\r\na=mid:a\r\na=rtcp-mux\r\n"
             "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:passive\r\n"
             "a=fingerprint:sha-256 AA\r\na=candidate:1 1 UDP 5 192.0.2.1 5000 typ host\r\n"
             "m=video 5000 UDP/TLS/RTP/SAVPF 31\r\na=mid:v\r\n");
    assert_true(m[1].bundled && m[1].ice && m[1].ice_lite && m[1].mux);
    assert_int_equal(m[1].candidates_n, 1);
    assert_int_equal(m[1].fingerprints_n, 1);
    assert_int_equal(m[1].setup, SDP_PASSIVE);
    assert_int_equal(m[1].rtcp.port, 5000);
}

/* RFC 8839 §4.2.5 */
static void a_mismatch_is_no_ice(void **state)
{
    (void)state;
    const struct offer_media *m =
        read_first(HEAD "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
                        "m=audio 4000 RTP/AVP 0\r\na=ice-mismatch\r\nm=audio 4002 RTP/AVP 0\r\n");
    assert_false(m[0].ice);
    assert_false(sv_present(m[0].ufrag));
    assert_true(m[1].ice);
}

static void skips_formats_that_nothing_explains(void **state)
{
    (void)state;
    const struct offer_media *m =
        read_first(HEAD "m=audio 4000 RTP/AVP 98 0 0 128 x 8\r\na=ptime:0\r\n");
    assert_int_equal(m->codecs_n, 2);
    assert_int_equal(m->codecs[1].pt, 8);
    assert_int_equal(m->ptime_us, 0);
}

/* What has another clock rate or more channels than the codec that we know is not that codec. */
static void names_alone_are_no_codec(void **state)
{
    (void)state;
    const struct offer_media *m =
        read_first(HEAD "m=audio 4000 RTP/AVP 96 97 98 99 100\r\na=rtpmap:96 PCMU/16000\r\n"
                        "a=rtpmap:97 PCMA/8000/2\r\na=rtpmap:98 opus/16000\r\n"
                        "a=rtpmap:99 opus/48000\r\na=rtpmap:100 pcmu/8000\r\n");
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(m->codecs[i].id, CODEC_OTHER);
    assert_int_equal(m->codecs[3].id, CODEC_OPUS);
    assert_int_equal(m->codecs[4].id, CODEC_PCMU);
}

static void what_is_over_a_limit_is_counted(void **state)
{
    (void)state;
    char text[8192];
    size_t n = (size_t)snprintf(text, sizeof text, HEAD "m=audio 4000 RTP/AVP");
    for (int pt = 96; pt < 126; pt++)
        n += (size_t)snprintf(text + n, sizeof text - n, " %d", pt);
    for (int pt = 96; pt < 126; pt++)
        n += (size_t)snprintf(text + n, sizeof text - n, "\r\na=rtpmap:%d X%d/8000", pt, pt);
    for (int i = 0; i < 40; i++)
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "\r\na=candidate:%d 1 UDP 5 192.0.2.1 %d typ host", i, i + 1);
    n += (size_t)snprintf(text + n, sizeof text - n,
                          "\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n");
    for (int i = 0; i < 6; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "a=fingerprint:sha-256 0%d\r\n", i);
    for (int i = 0; i < 9; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "m=audio 4000 RTP/AVP 0\r\n");
    const struct offer_media *m = read_first(text);
    assert_int_equal(m->codecs_n, OFFER_CODECS_MAX);
    assert_int_equal(m->codecs_lost, 6);
    assert_int_equal(m->codecs[OFFER_CODECS_MAX - 1].pt, 96 + OFFER_CODECS_MAX - 1);
    assert_int_equal(m->candidates_n, OFFER_CANDIDATES_MAX);
    assert_int_equal(m->fingerprints_n, OFFER_FINGERPRINTS_MAX);
    assert_int_equal(session.n, OFFER_MEDIA_MAX);
    assert_int_equal(session.lost, 2);
}

static void refuses_what_decides_and_is_broken(void **state)
{
    (void)state;
    static const char *const tails[] = {
        "a=rtpmap:0 \r\n",
        "a=rtpmap:0 PCMU/8000\r\na=rtpmap:0 PCMA/8000\r\n",
        "a=fingerprint:sha-256 xy\r\n",
        "a=setup:maybe\r\n",
        "a=rtcp:x\r\n",
        "a=ice-ufrag:abcd\r\n",
        "a=ice-ufrag:ab\r\na=ice-pwd:0123456789012345678901\r\n",
    };
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        char text[512];
        fault = (struct sdp_fault){.line = 9};
        snprintf(text, sizeof text, HEAD "m=audio 4000 RTP/AVP 0\r\n%s", tails[i]);
        assert_int_equal(try_read(text), ERR_SYNTAX);
        assert_true(fault.why && fault.line == 0);
    }
}

/* ---- bandwidth ---- */

#define HEAD_B(b)  "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\n" b "t=0 0\n"
#define SOUND_B(b) "m=audio 4000 RTP/AVP 0 9\n" b
#define VIDEO_B(b) "m=video 4002 RTP/AVP 96\n" b "a=rtpmap:96 VP8/90000\n"

static void bandwidth_is_what_it_says_or_is(void **state)
{
    static const struct {
        const char *text;
        uint64_t bits;
    } all[] = {
        {HEAD_B("") SOUND_B(""), 80000},
        {HEAD_B("") "m=audio 4000 RTP/AVP 96\na=rtpmap:96 opus/48000/2\n", 80000},
        {HEAD_B("") "m=audio 4000 RTP/AVP 96 0\na=rtpmap:96 L16/16000\n", 16 * 16000 + 16000},
        {HEAD_B("") SOUND_B("b=AS:40\n"), 40000},
        {HEAD_B("") SOUND_B("b=AS:40\nb=TIAS:12200\n"), 12200 + 16000}, /* RFC 3890 6.2.3 */
        {HEAD_B("") SOUND_B("b=RS:40\nb=CT:7\n"), 80000},
        {HEAD_B("") SOUND_B("") VIDEO_B(""), 2080000},
        {HEAD_B("") SOUND_B("") VIDEO_B("b=TIAS:3000000\n"), 80000 + 3100000},
        {HEAD_B("b=AS:5000\n") SOUND_B("") VIDEO_B(""), 5000000}, /* of all together */
        {HEAD_B("b=AS:5000\n") SOUND_B(""), 80000},
        {HEAD_B("b=AS:50\n") SOUND_B(""), 50000},
        {HEAD_B("") "m=audio 0 RTP/AVP 0\n" VIDEO_B("b=AS:300\n"), 300000},
        {HEAD_B("") "m=text 4000 RTP/AVP 98\na=rtpmap:98 t140/1000\n", 4000},
        {HEAD_B("") "m=image 4000 udptl t38\n", 64000},
        {HEAD_B("") "m=application 4000 UDP/DTLS/SCTP webrtc-datachannel\nb=AS:900\n", 0},
        {HEAD_B("") SOUND_B("b=AS:18446744073709551615\n") VIDEO_B("b=TIAS:18446744073709551615\n"),
         OFFER_BANDWIDTH_MAX},
        {HEAD_B("b=TIAS:18446744073709551615\n") VIDEO_B(""), OFFER_BANDWIDTH_MAX},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        assert_int_equal(try_read(all[i].text), ERR_OK);
        uint64_t bits = offer_bandwidth(&session, NULL);
        if (bits != all[i].bits)
            fail_msg("%llu instead of %llu of\n%s", (unsigned long long)bits,
                     (unsigned long long)all[i].bits, all[i].text);
    }
}

static void what_was_refused_takes_nothing(void **state)
{
    struct offer_plan *plan = ARENA_NEW(&arena, struct offer_plan);
    (void)state;
    assert_int_equal(try_read(HEAD_B("") SOUND_B("") VIDEO_B("")), ERR_OK);
    plan->n = 2;
    assert_int_equal(offer_bandwidth(&session, plan), 2080000);
    plan->streams[1].refused = true;
    assert_int_equal(offer_bandwidth(&session, plan), 80000);
    plan->n = 0;
    assert_int_equal(offer_bandwidth(&session, plan), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_a_plain_phone, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_what_a_line_is, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_which_reports_are_wanted, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(nowhere_is_a_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_crypto_lines_that_can_be_done, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_a_browser, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bundle_shares_what_its_head_says, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mismatch_is_no_ice, setup, teardown),
        cmocka_unit_test_setup_teardown(skips_formats_that_nothing_explains, setup, teardown),
        cmocka_unit_test_setup_teardown(names_alone_are_no_codec, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_over_a_limit_is_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_what_decides_and_is_broken, setup, teardown),
        cmocka_unit_test_setup_teardown(bandwidth_is_what_it_says_or_is, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_refused_takes_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
