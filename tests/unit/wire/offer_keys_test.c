/* SPDX-License-Identifier: MIT */
/* The rules of the media decision one by one: keys, roles, policy, ICE, rtcp-mux, bundles. */
#include "offer_rules.h"

/* ---- keys ---- */

static void keys_are_offered_in_our_order(void **state)
{
    (void)state;
    pass(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_SAVP);
    assert_holds(passed, "m=audio 30000 RTP/SAVP 0 ");
    assert_holds(passed, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:YmJi");
    assert_holds(passed, "a=crypto:2 AEAD_AES_256_GCM inline:YmJi");
    assert_holds(passed, "a=crypto:3 AES_CM_128_HMAC_SHA1_32 inline:YmJi");
    assert_lacks(passed, "a=crypto:4");
    assert_lacks(passed, "|");
    assert_holds(passed, "a=fingerprint:");
    assert_holds(passed, "a=setup:actpass");
    answer(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_SAVP, /* baresip with DTLS alone */
           HEAD "m=audio 5000 RTP/SAVP 0\na=setup:active\n" DTLS);
    assert_int_equal(plan.streams[0].leg[1].keying, OFFER_DTLS);
    ours[1]->media[0].keys_n = 1;
    pass(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_AVP);
    assert_holds(passed, "a=crypto:1 AES_CM_128_HMAC_SHA1_80");
    assert_lacks(passed, "a=crypto:2");
}

static void the_callers_first_suite_is_taken_with_its_tag(void **state)
{
    (void)state;
    answer(HEAD "m=audio 4000 RTP/SAVP 0\n" CRYPTO("4", "F8_128_HMAC_SHA1_80", KEY_A)
               CRYPTO("5", CM32, KEY_A) CRYPTO("6", CM80, KEY_A),
           OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 0\n");
    assert_holds(answered, "a=crypto:5 AES_CM_128_HMAC_SHA1_32 inline:YWFh");
    assert_lacks(answered, "a=crypto:6");
    assert_int_equal(plan.streams[0].leg[0].keying, OFFER_SDES);
    assert_int_equal(plan.streams[0].leg[0].ours.tag, 5);
    assert_int_equal(plan.streams[0].leg[0].ours.suite, SUITE_AES_CM_128_HMAC_SHA1_32);
    assert_int_equal(plan.streams[0].leg[0].theirs.key[0], 'A');
    assert_int_equal(plan.streams[0].leg[1].keying, OFFER_PLAIN);
    for (unsigned i = 0; i < SUITES; i++) /* 32 is not one of ours: the next one */
        if (ours[0]->media[0].keys[i].suite == SUITE_AES_CM_128_HMAC_SHA1_32)
            ours[0]->media[0].keys[i].suite = SUITE_AEAD_AES_128_GCM;
    answer(HEAD "m=audio 4000 RTP/SAVP 0\n" CRYPTO("5", CM32, KEY_A) CRYPTO("6", CM80, KEY_A),
           OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 0\n");
    assert_holds(answered, "a=crypto:6 AES_CM_128_HMAC_SHA1_80");
}

static void the_callees_key_is_that_of_its_suite(void **state)
{
    (void)state;
    answer(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_SAVP,
           HEAD "m=audio 5000 RTP/SAVP 0\n" CRYPTO("3", CM32, KEY_B));
    const struct offer_leg *leg = &plan.streams[0].leg[1];
    assert_int_equal(leg->keying, OFFER_SDES);
    assert_int_equal(leg->ours.suite, SUITE_AES_CM_128_HMAC_SHA1_32);
    assert_int_equal(leg->ours.key[0], 'b');
    assert_int_equal(leg->theirs.key[0], '1');
    assert_lacks(answered, "crypto");
}

static void an_answer_without_the_keys_is_none(void **state)
{
    (void)state;
    static const struct {
        enum offer_profile profile;
        const char *answer;
    } rows[] = {
        {OFFER_SAVP, HEAD "m=audio 5000 RTP/SAVP 0\n"},
        {OFFER_SAVP, HEAD "m=audio 5000 RTP/AVP 0\n"},
        {OFFER_SAVP,
         HEAD "m=audio 5000 RTP/SAVP 0\na=crypto:1 F8_128_HMAC_SHA1_80 inline:" KEY_B "\n"},
        {OFFER_AVP,
         HEAD "m=audio 5000 RTP/AVP 0\na=crypto:1 F8_128_HMAC_SHA1_80 inline:" KEY_B "\n"},
        {OFFER_AVP, HEAD "m=audio 5000 RTP/SAVP 0\n"},
        {OFFER_DTLS_AVP, HEAD "m=audio 5000 UDP/TLS/RTP/SAVP 0\na=setup:active\n"},
        {OFFER_DTLS_AVP, HEAD "m=audio 5000 RTP/SAVP 0\n" CRYPTO("1", CM80, KEY_B)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(
            try_answer(HEAD "m=audio 4000 RTP/AVP 0\n", rows[i].profile, rows[i].answer),
            ERR_SYNTAX);
        assert_holds(last_why(), "callee: audio by ");
    }
}

/* RFC 8643 */
static void best_effort_takes_the_best_that_both_have(void **state)
{
    (void)state;
    static const char both[] =
        HEAD "m=audio 4000 RTP/AVP 0\na=setup:actpass\n" DTLS CRYPTO("1", CM80, KEY_A);
    answer(both, OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 0\na=setup:active\n" DTLS);
    assert_holds(passed, "m=audio 30000 RTP/AVP 0 ");
    assert_holds(passed, "a=fingerprint:sha-256 0F");
    assert_int_equal(plan.streams[0].leg[0].keying, OFFER_DTLS);
    assert_int_equal(plan.streams[0].leg[1].keying, OFFER_DTLS);
    assert_lacks(answered, "crypto"); /* §3.2: one method */
    answer(both, OFFER_AVP, HEAD "m=audio 5000 RTP/SAVP 0\n" CRYPTO("1", CM80, KEY_B));
    assert_int_equal(plan.streams[0].leg[1].keying, OFFER_SDES);
    answer(both, OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 0\n");
    assert_int_equal(plan.streams[0].leg[1].keying, OFFER_PLAIN);
    ours[0]->fingerprint = SV_NONE;
    answer(both, OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 0\n");
    assert_int_equal(plan.streams[0].leg[0].keying, OFFER_SDES);
    assert_holds(answered, "m=audio 30000 RTP/AVP 0\r\n");
}

static void savp_is_sdes_where_it_can_be(void **state)
{
    (void)state;
    answer(HEAD "m=audio 4000 RTP/SAVP 0\n" DTLS CRYPTO("1", CM80, KEY_A), OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 0\n");
    assert_int_equal(plan.streams[0].leg[0].keying, OFFER_SDES);
    answer(HEAD "m=audio 4000 UDP/TLS/RTP/SAVP 0\n" DTLS CRYPTO("1", CM80, KEY_A), OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 0\n");
    assert_int_equal(plan.streams[0].leg[0].keying, OFFER_DTLS);
    answer(HEAD "m=audio 4000 RTP/SAVPF 0\na=setup:actpass\n" DTLS, OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 0\n");
    assert_int_equal(plan.streams[0].leg[0].keying, OFFER_DTLS);
    assert_holds(answered, "m=audio 30000 RTP/SAVPF 0\r\n");
}

/* RFC 8842 §5.3; RFC 4145 §4 for those who do not say */
static void roles_are_complementary(void **state)
{
    (void)state;
    static const struct {
        const char *offered;
        enum sdp_setup fixed;
        const char *answered;
    } to_caller[] = {
        {"a=setup:actpass\n", SDP_ACTPASS, "passive"}, {"a=setup:actpass\n", SDP_ACTIVE, "active"},
        {"a=setup:actpass\n", SDP_PASSIVE, "passive"}, {"a=setup:active\n", SDP_ACTIVE, "passive"},
        {"a=setup:passive\n", SDP_PASSIVE, "active"},  {"", SDP_ACTPASS, "passive"},
    };
    for (size_t i = 0; i < sizeof to_caller / sizeof to_caller[0]; i++) {
        char offer[512], want[64];
        ours[0]->setup = to_caller[i].fixed;
        snprintf(offer, sizeof offer, HEAD "m=audio 4000 UDP/TLS/RTP/SAVP 0\n%s" DTLS,
                 to_caller[i].offered);
        snprintf(want, sizeof want, "a=setup:%s\r\n", to_caller[i].answered);
        answer(offer, OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 0\n");
        assert_holds(answered, want);
        assert_int_equal(plan.streams[0].leg[0].dtls_client,
                         strcmp(to_caller[i].answered, "active") == 0);
    }
    static const struct {
        const char *answer;
        enum sdp_setup fixed;
        bool client;
    } of_callee[] = {
        {"a=setup:active\n", SDP_ACTPASS, false},
        {"a=setup:passive\n", SDP_ACTPASS, true},
        {"", SDP_ACTPASS, true},
        {"a=setup:actpass\n", SDP_ACTPASS, true},
        {"a=setup:actpass\n", SDP_ACTIVE, true},
        {"a=setup:actpass\n", SDP_PASSIVE, false},
        {"", SDP_PASSIVE, false},
        {"a=setup:passive\n", SDP_PASSIVE, true},
        {"a=setup:active\n", SDP_ACTIVE, false},
    };
    for (size_t i = 0; i < sizeof of_callee / sizeof of_callee[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, HEAD "m=audio 5000 UDP/TLS/RTP/SAVP 0\n%s" DTLS,
                 of_callee[i].answer);
        ours[1]->setup = of_callee[i].fixed;
        answer(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_DTLS_AVP, text);
        assert_holds(passed, "a=setup:actpass\r\n");
        assert_int_equal(plan.streams[0].leg[1].dtls_client, of_callee[i].client);
        assert_int_equal(plan.streams[0].leg[1].fingerprints_n, 1);
    }
}

/* ---- policy ---- */

static void never_is_plain(void **state)
{
    (void)state;
    policy.srtp = OFFER_SRTP_NEVER;
    answer(HEAD "m=audio 4000 RTP/AVP 0\na=setup:actpass\n" DTLS CRYPTO("1", CM80, KEY_A),
           OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 0\n");
    assert_lacks(passed, "crypto");
    assert_lacks(passed, "fingerprint");
    assert_lacks(answered, "crypto");
    assert_int_equal(plan.streams[0].leg[0].keying, OFFER_PLAIN);
    assert_int_equal(try_pass(HEAD "m=audio 4000 RTP/SAVP 0\n" CRYPTO("1", CM80, KEY_A), OFFER_AVP),
                     ERR_DENIED);
    assert_holds(last_why(), "caller: audio");
    assert_int_equal(try_pass(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_SAVP), ERR_DENIED);
    assert_holds(last_why(), "callee: audio");
    assert_int_equal(try_accept(HEAD "m=audio 4000 UDP/TLS/RTP/SAVP 0\n" DTLS), ERR_DENIED);
}

static void require_says_which_side_cannot(void **state)
{
    (void)state;
    policy.srtp = OFFER_SRTP_REQUIRE;
    assert_int_equal(try_pass(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_SAVP), ERR_DENIED);
    assert_holds(last_why(), "caller: audio: it offers plain RTP");
    assert_int_equal(try_pass(HEAD "m=audio 4000 RTP/AVP 0\nm=message 9 TCP/MSRP *\n", OFFER_SAVP),
                     ERR_DENIED);
    assert_holds(last_why(), "caller: audio"); /* what decides stands last */
    static const char offer[] = HEAD "m=audio 4000 RTP/AVP 0\n" CRYPTO("1", CM80, KEY_A);
    pass(offer, OFFER_AVP);
    assert_holds(passed, "m=audio 30000 RTP/SAVP 0 "); /* not best effort */
    assert_int_equal(try_answer(offer, OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 0\n"), ERR_SYNTAX);
    assert_holds(last_why(), "callee: audio");
    assert_int_equal(try_accept(HEAD "m=audio 4000 RTP/AVP 0\n"), ERR_DENIED);
    assert_int_equal(try_accept(offer), ERR_OK);
    ours[1]->media[0].keys_n = 0;
    assert_int_equal(try_pass(offer, OFFER_SAVP), ERR_DENIED);
    ours[1]->fingerprint = SV_NONE;
    assert_int_equal(try_pass(offer, OFFER_DTLS_AVP), ERR_DENIED);
}

static void secure_without_a_key_that_we_know_is_denied(void **state)
{
    (void)state;
    assert_int_equal(try_pass(HEAD
                              "m=audio 4000 RTP/SAVP 0\n" CRYPTO("1", "F8_128_HMAC_SHA1_80", KEY_A),
                              OFFER_AVP),
                     ERR_DENIED);
    assert_int_equal(try_accept(HEAD "m=audio 4000 UDP/TLS/RTP/SAVP 0\n"), ERR_DENIED);
}

/* Two lines for one sound, one with SRTP and one without, were best effort before RFC 8643. */
static void one_of_two_sounds_is_enough(void **state)
{
    (void)state;
    policy.srtp = OFFER_SRTP_NEVER;
    pass(HEAD "m=audio 4000 RTP/SAVP 0\n" CRYPTO("1", CM80, KEY_A) "m=audio 4002 RTP/AVP 0\n",
         OFFER_AVP);
    assert_holds(passed, "m=audio 0 RTP/SAVP 0\r\n");
    assert_holds(passed, "m=audio 30004 RTP/AVP 0 ");
    policy.srtp = OFFER_SRTP_REQUIRE;
    pass(HEAD "m=audio 4000 RTP/SAVP 0\n" CRYPTO("1", CM80, KEY_A) "m=audio 4002 RTP/AVP 0\n",
         OFFER_AVP);
    assert_holds(passed, "m=audio 30000 RTP/SAVP 0 ");
    assert_holds(passed, "m=audio 0 RTP/AVP 0\r\n");
}

/* ---- ICE, rtcp-mux, bundles ---- */

static void ice_is_answered_and_mirrored(void **state)
{
    (void)state;
    answer(HEAD "m=audio 4000 RTP/AVP 0\n" ICE, OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 0\na=ice-ufrag:wxyz\na=ice-pwd:0123456789012345678901\n"
                "a=candidate:1 1 UDP 9 192.0.2.1 5000 typ host\n");
    assert_holds(passed, "a=ice-lite\r\n");
    assert_holds(passed, "a=candidate:1 2 UDP 2130706430 203.0.113.2 30001 typ host\r\n");
    assert_holds(answered, "a=candidate:1 1 UDP 2130706431 203.0.113.1 30000 typ host\r\n");
    assert_holds(answered, "a=ice-ufrag:ours\r\n");
    assert_true(plan.streams[0].leg[0].ice && plan.streams[0].leg[1].ice);
    assert_int_equal(plan.streams[0].leg[1].candidates_n, 1);
    assert_true(sv_eq(plan.streams[0].leg[1].ufrag, SV("wxyz")));
    answer(HEAD "m=audio 4000 RTP/AVP 0\n" ICE, OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 0\na=ice-ufrag:wxyz\na=ice-pwd:0123456789012345678901\n"
                "a=ice-mismatch\n");
    assert_false(plan.streams[0].leg[1].ice);
    answer(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 0\n" ICE);
    assert_lacks(passed, "ice-");
    assert_lacks(answered, "ice-");
    assert_false(plan.streams[0].leg[1].ice || sv_present(plan.streams[0].leg[1].ufrag));
    ours[1]->ice_full = true;
    pass(HEAD "m=audio 4000 RTP/AVP 0\n" ICE, OFFER_AVP);
    assert_lacks(passed, "ice-lite");
    ours[1]->ufrag = ours[1]->pwd = SV_NONE;
    pass(HEAD "m=audio 4000 RTP/AVP 0\n" ICE, OFFER_AVP);
    assert_lacks(passed, "a=ice");
}

static void further_candidates_go_with_one_component(void **state)
{
    (void)state;
    struct offer_ip more[] = {world_ip("2001:db8::1", 30000), world_ip("203.0.113.2", 30000)};
    ours[1]->media[0].more = more;
    ours[1]->media[0].more_n = 2;
    pass(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_WEB);
    assert_holds(passed, "a=candidate:1 1 UDP 2130706431 203.0.113.2 30000 typ host\r\n"
                         "a=candidate:2 1 UDP 2130706175 2001:db8::1 30000 typ host\r\na=rtcp-mux");
    pass(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_DTLS_AVP);
    assert_lacks(passed, "2001:db8::1");
    ours[1]->media[0].rtcp = (struct offer_ip){0};
    pass(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_DTLS_AVP);
    assert_holds(passed, "2001:db8::1");
    assert_holds(passed, "a=rtcp-mux-only\r\n");
}

static void rtcp_is_said_where_it_is_elsewhere(void **state)
{
    (void)state;
    pass(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_AVP);
    assert_lacks(passed, "a=rtcp");
    ours[1]->media[0].rtcp.port = 31000;
    pass(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_AVP);
    assert_holds(passed, "a=rtcp:31000\r\n");
    ours[1]->media[0].rtcp = world_ip("2001:db8::5", 31001);
    pass(HEAD "m=audio 4000 RTP/AVP 0\na=rtcp-mux\n", OFFER_AVP);
    assert_holds(passed, "a=rtcp-mux\r\na=rtcp:31001 IN IP6 2001:db8::5\r\n");
    ours[1]->media[0].rtcp = ours[1]->media[0].rtp;
    pass(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_AVP);
    assert_holds(passed, "a=rtcp-mux\r\na=rtcp-mux-only\r\n");
    answer(HEAD "m=audio 4000 RTP/AVP 0\na=rtcp-mux\n", OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 0\na=rtcp:5009\n");
    assert_holds(answered, "a=rtcp-mux\r\n");
    assert_true(plan.streams[0].leg[0].mux && !plan.streams[0].leg[1].mux);
    assert_int_equal(plan.streams[0].leg[1].rtcp.port, 5009);
    ours[1]->media[0].rtcp.port++;
    answer(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 0\na=rtcp-mux\n");
    assert_lacks(answered, "rtcp-mux");
    assert_false(plan.streams[0].leg[1].mux); /* it was not asked */
    answer(HEAD "m=audio 4000 RTP/AVP 0\na=rtcp-mux\n" ICE, OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 0\n");
    assert_lacks(answered, "30001"); /* one port, one component */
}

static const char browser[] =
    HEAD "a=group:BUNDLE x y z\nm=audio 9 UDP/TLS/RTP/SAVPF 0\na=mid:x\n" WEB_TAIL
         "m=video 9 UDP/TLS/RTP/SAVPF 31\na=mid:y\n" WEB_TAIL
         "m=video 0 UDP/TLS/RTP/SAVPF 34\na=bundle-only\na=mid:z\n";

static void a_bundle_is_answered_on_its_first_line(void **state)
{
    (void)state;
    answer(browser, OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 0\nm=video 5002 RTP/AVP 31\nm=video 5004 RTP/AVP 34\n");
    assert_holds(answered, "a=group:BUNDLE x y z\r\n");
    assert_holds(answered, "m=video 30000 UDP/TLS/RTP/SAVPF 31\r\na=mid:y\r\n"
                           "a=rtpmap:31 H261/90000\r\na=sendrecv\r\na=rtcp-mux\r\nm=video 30000 ");
    for (unsigned i = 0; i < 3; i++) {
        const struct offer_leg *leg = &plan.streams[i].leg[0];
        assert_int_equal(leg->bundled, i > 0);
        assert_true(leg->mux && leg->ice && leg->keying == OFFER_DTLS && leg->fingerprints_n == 1);
        assert_false(plan.streams[i].leg[1].bundled);
    }
    /* without the video that stands on its own: the third goes with the first */
    answer(browser, OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 0\nm=video 0 RTP/AVP 31\nm=video 5004 RTP/AVP 34\n");
    assert_holds(answered, "a=group:BUNDLE x z\r\n");
    assert_holds(answered, "m=video 0 UDP/TLS/RTP/SAVPF 31\r\na=mid:y\r\n");
    assert_int_equal(plan.streams[2].leg[0].bundle_with, 0);
}

/* RFC 9143 §7.3.1 */
static void the_next_line_heads_when_the_first_is_refused(void **state)
{
    (void)state;
    answer(browser, OFFER_AVP,
           HEAD "m=audio 0 RTP/AVP 0\nm=video 5002 RTP/AVP 31\nm=video 5004 RTP/AVP 34\n");
    assert_holds(answered, "a=group:BUNDLE y z\r\n");
    assert_false(plan.streams[1].leg[0].bundled);
    assert_true(plan.streams[2].leg[0].bundled && plan.streams[2].leg[0].bundle_with == 1);
    answer(browser, OFFER_AVP,
           HEAD "m=audio 0 RTP/AVP 0\nm=video 0 RTP/AVP 31\nm=video 5004 RTP/AVP 34\n");
    assert_true(plan.streams[2].refused); /* bundle-only heads nothing */
    assert_lacks(answered, "BUNDLE");
    /* its ICE is then theirs, and they had none from the first */
    answer(HEAD "a=group:BUNDLE x y z\nm=audio 9 UDP/TLS/RTP/SAVPF 0\na=mid:x\na=rtcp-mux\n" DTLS
                "m=video 9 UDP/TLS/RTP/SAVPF 31\na=mid:y\n" WEB_TAIL
                "m=video 0 UDP/TLS/RTP/SAVPF 34\na=bundle-only\na=mid:z\n",
           OFFER_AVP,
           HEAD "m=audio 0 RTP/AVP 0\nm=video 5002 RTP/AVP 31\nm=video 5004 RTP/AVP 34\n");
    assert_true(plan.streams[2].leg[0].bundled && plan.streams[2].leg[0].ice);
}

static void a_line_without_a_codec_heads_nothing(void **state)
{
    (void)state;
    static const char offer[] =
        HEAD "a=group:BUNDLE v a\nm=video 9 UDP/TLS/RTP/SAVPF 31\na=mid:v\n" WEB_TAIL
             "m=audio 9 UDP/TLS/RTP/SAVPF 0\na=mid:a\n" WEB_TAIL;
    answer(offer, OFFER_WEB,
           HEAD "a=group:BUNDLE v a\nm=video 5000 UDP/TLS/RTP/SAVPF 34\na=mid:v\n" WEB_TAIL
                "m=audio 5000 UDP/TLS/RTP/SAVPF 0\na=mid:a\n");
    assert_holds(answered, "a=group:BUNDLE a\r\n");
    assert_true(plan.streams[0].refused && !plan.streams[1].refused);
    assert_false(plan.streams[1].leg[0].bundled || plan.streams[1].leg[1].bundled);
    assert_true(plan.streams[1].leg[1].ice && plan.streams[1].leg[1].fingerprints_n == 1);
}

/* A browser that uses the place of an old line again lists that line's successor last. */
static void the_list_says_which_line_heads(void **state)
{
    (void)state;
    static const char offer[] =
        HEAD "a=group:BUNDLE old new\nm=video 0 UDP/TLS/RTP/SAVPF 31\na=bundle-only\na=mid:new\n"
             "m=audio 9 UDP/TLS/RTP/SAVPF 0\na=mid:old\n" WEB_TAIL;
    answer(offer, OFFER_WEB,
           HEAD "a=group:BUNDLE old new\nm=video 5000 UDP/TLS/RTP/SAVPF 31\na=mid:new\n"
                "m=audio 5000 UDP/TLS/RTP/SAVPF 0\na=mid:old\n" WEB_TAIL);
    assert_holds(answered, "a=group:BUNDLE old new\r\n");
    assert_holds(answered, "m=video 30004 UDP/TLS/RTP/SAVPF 31\r\na=mid:new\r\n"
                           "a=rtpmap:31 H261/90000\r\na=sendrecv\r\na=rtcp-mux\r\nm=audio 30004 ");
    for (int side = 0; side < 2; side++) {
        assert_true(plan.streams[0].leg[side].bundled && !plan.streams[1].leg[side].bundled);
        assert_int_equal(plan.streams[0].leg[side].bundle_with, 1);
        assert_true(plan.streams[0].leg[side].ice && plan.streams[0].leg[side].fingerprints_n == 1);
    }
}

static void bundles_need_no_port_of_their_own(void **state)
{
    (void)state;
    ours[0]->media[1].rtp.n = 0;
    answer(browser, OFFER_AVP,
           HEAD "m=audio 5000 RTP/AVP 0\nm=video 5002 RTP/AVP 31\nm=video 5004 RTP/AVP 34\n");
    assert_false(plan.streams[1].refused);
    ours[0]->media[0].rtp.n = 0;
    assert_int_equal(
        try_answer(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 0\n"),
        ERR_UNSUPPORTED);
    ours[1]->media[0].rtp.n = 0;
    assert_int_equal(try_pass(HEAD "m=audio 4000 RTP/AVP 0\n", OFFER_AVP), ERR_UNSUPPORTED);
    assert_holds(last_why(), "no port");
}

static void a_bundle_offered_is_a_bundle_answered(void **state)
{
    (void)state;
    static const char offer[] =
        HEAD "m=audio 4000 RTP/AVP 0 101\n" EVENTS "m=video 4002 RTP/AVP 31\n";
    answer(offer, OFFER_WEB,
           HEAD
           "a=group:BUNDLE 0 1\nm=audio 5000 UDP/TLS/RTP/SAVPF 0 101\na=mid:0\n" EVENTS WEB_TAIL
           "m=video 5000 UDP/TLS/RTP/SAVPF 31\na=mid:1\na=recvonly\n");
    assert_holds(passed, "a=group:BUNDLE 0 1\r\n");
    assert_holds(passed, "m=video 30004 ");
    assert_true(plan.streams[1].leg[1].bundled && plan.streams[1].leg[1].ice);
    assert_int_equal(plan.streams[1].leg[1].rtp.port, 5000);
    /* transport is shared, and nothing else */
    assert_true(plan.streams[0].leg[1].receive && !plan.streams[1].leg[1].receive);
    assert_int_equal(plan.streams[0].leg[1].event_pt, 101);
    assert_int_equal(plan.streams[1].leg[1].event_pt, OFFER_NO_PT);
    assert_lacks(answered, "mid");
    answer(offer, OFFER_WEB,
           HEAD "m=audio 5000 UDP/TLS/RTP/SAVPF 0\na=mid:0\n" WEB_TAIL
                "m=video 5002 UDP/TLS/RTP/SAVPF 31\na=mid:1\n" WEB_TAIL);
    assert_false(plan.streams[1].leg[1].bundled);
    /* once bundled it is offered so again (RFC 9143 §7.5) */
    ours[1]->media[1].rtp = ours[1]->media[0].rtp;
    pass(offer, OFFER_WEB);
    assert_holds(passed, "m=video 30000 UDP/TLS/RTP/SAVPF 31\r\na=mid:1\r\n"
                         "a=rtpmap:31 H261/90000\r\na=sendrecv\r\na=rtcp-mux\r\n");
}

static void mids_are_one_for_each(void **state)
{
    (void)state;
    pass(HEAD "m=audio 4000 RTP/AVP 0\na=mid:1\nm=video 4002 RTP/AVP 31\nm=video 4004 RTP/AVP 32\n"
              "a=mid:1\n",
         OFFER_WEB);
    assert_holds(passed, "a=group:BUNDLE 1 9 2\r\n");
    pass(HEAD "m=audio 4000 RTP/AVP 0\na=mid:1\n", OFFER_AVP);
    assert_lacks(passed, "mid:");
    /* RFC 5888 §4: a token; this one would be two in the group's list */
    pass(HEAD "m=audio 4000 RTP/AVP 0\na=mid:a b\nm=video 4002 RTP/AVP 31\na=mid:b\n", OFFER_WEB);
    assert_holds(passed, "a=group:BUNDLE 0 b\r\n");
}

/* RFC 5888 §4: unique; what is not is the first one's, as who reads our answer sees it */
static void a_mid_of_two_lines_is_the_first_ones(void **state)
{
    (void)state;
    answer(HEAD "a=group:BUNDLE 0\nm=audio 4000 UDP/TLS/RTP/SAVPF 0\na=mid:0\n" DTLS
                "m=video 4002 UDP/TLS/RTP/SAVPF 31\na=mid:0\n" WEB_TAIL,
           OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 0\nm=video 5002 RTP/AVP 31\n");
    assert_lacks(answered, "BUNDLE"); /* the first has no rtcp-mux */
    assert_false(plan.streams[1].leg[0].bundled);
    answer(HEAD "a=group:BUNDLE 0\nm=audio 4000 UDP/TLS/RTP/SAVPF 0\na=mid:0\n" WEB_TAIL
                "m=video 4002 UDP/TLS/RTP/SAVPF 31\na=mid:0\n" WEB_TAIL,
           OFFER_AVP, HEAD "m=audio 5000 RTP/AVP 0\nm=video 5002 RTP/AVP 31\n");
    assert_holds(answered, "a=group:BUNDLE 0\r\n");
    assert_false(plan.streams[1].leg[0].bundled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keys_are_offered_in_our_order),
        TEST(the_callers_first_suite_is_taken_with_its_tag),
        TEST(the_callees_key_is_that_of_its_suite),
        TEST(an_answer_without_the_keys_is_none),
        TEST(best_effort_takes_the_best_that_both_have),
        TEST(savp_is_sdes_where_it_can_be),
        TEST(roles_are_complementary),
        TEST(never_is_plain),
        TEST(require_says_which_side_cannot),
        TEST(secure_without_a_key_that_we_know_is_denied),
        TEST(one_of_two_sounds_is_enough),
        TEST(ice_is_answered_and_mirrored),
        TEST(further_candidates_go_with_one_component),
        TEST(rtcp_is_said_where_it_is_elsewhere),
        TEST(a_bundle_is_answered_on_its_first_line),
        TEST(the_next_line_heads_when_the_first_is_refused),
        TEST(a_line_without_a_codec_heads_nothing),
        TEST(the_list_says_which_line_heads),
        TEST(bundles_need_no_port_of_their_own),
        TEST(a_bundle_offered_is_a_bundle_answered),
        TEST(mids_are_one_for_each),
        TEST(a_mid_of_two_lines_is_the_first_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
