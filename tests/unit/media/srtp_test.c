/* SPDX-License-Identifier: MIT */
/* srtp_test.c: which packets are taken, refused, remembered; keys that change. */
#include "srtp_wire.h"
#define ERR_STATE openssl_err_state /* OpenSSL has a type of this name, we a value */
#include <openssl/err.h>
#undef ERR_STATE

static void suites_have_their_names_numbers_and_lengths(void **state)
{
    (void)state;
    enum srtp_suite got;
    EACH_SUITE(suite)
    {
        const struct srtp_suite_info *i = srtp_suite_info(suite);
        assert_int_equal(srtp_suite_named(i->name, &got), ERR_OK);
        assert_int_equal(got, suite);
        assert_true(i->tag <= SRTP_ROOM && i->rtcp_tag + 4 <= SRTCP_ROOM);
        struct ends e = ends_new(suite, 7);
        struct wire w = send_rtp(&e.tx, 1, 1), r = send_rtcp(&e.tx, 1);
        assert_int_equal(w.n, 172 + i->tag);
        assert_int_equal(r.n, 28 + i->rtcp_tag + 4);
        ends_done(&e);
    }
    assert_int_equal(srtp_suite_of_profile(0x0001, &got), ERR_OK);
    assert_int_equal(got, SRTP_AES_CM_128_HMAC_SHA1_80);
    assert_int_equal(srtp_suite_of_profile(0x0008, &got), ERR_OK);
    assert_int_equal(got, SRTP_AEAD_AES_256_GCM);
    assert_int_equal(srtp_suite_of_profile(0, &got), ERR_NOTFOUND);
    assert_int_equal(srtp_suite_of_profile(0x0005, &got), ERR_NOTFOUND); /* in clear */
    assert_int_equal(srtp_suite_named(SV("F8_128_HMAC_SHA1_80"), &got), ERR_NOTFOUND);
    assert_int_equal(srtp_suite_named(SV("AES_CM_128_HMAC_SHA1_8"), &got), ERR_NOTFOUND);
}

static void keys_of_other_lengths_are_refused(void **state)
{
    (void)state;
    struct srtp_engine *e;
    struct srtp_context c;
    struct test_key k = test_key(3);
    assert_int_equal(srtp_engine_new(&e), ERR_OK);
    EACH_SUITE(suite)
    {
        sv key = key_of(&k, suite), salt = salt_of(&k, suite);
        sv few = {key.p, key.n - 1}, less = {salt.p, salt.n - 1}, more = {salt.p, salt.n + 1};
        assert_int_equal(srtp_context_init(&c, e, SRTP_SENDER, suite, few, salt), ERR_SYNTAX);
        assert_int_equal(srtp_context_init(&c, e, SRTP_SENDER, suite, key, less), ERR_SYNTAX);
        assert_int_equal(srtp_context_init(&c, e, SRTP_SENDER, suite, key, more), ERR_SYNTAX);
        assert_int_equal(srtp_context_init(&c, e, SRTP_SENDER, suite, SV_NONE, SV_NONE),
                         ERR_SYNTAX);
        srtp_context_done(&c);
    }
    srtp_engine_free(e);
}

static void the_window_is_128_wide_on_both_sides(void **state)
{
    (void)state;
    static struct wire w[300];
    EACH_SUITE(suite)
    {
        struct ends e = ends_new(suite, 11);
        struct srtp_context other = {0};
        struct test_key k = test_key(11);
        for (unsigned i = 0; i < 300; i++)
            w[i] = send_rtp(&e.tx, 5, (uint16_t)(1000 + i));
        assert_int_equal(take_rtp(&e.rx, w[200]), ERR_OK);
        assert_int_equal(take_rtp(&e.rx, w[200 - 127]), ERR_OK);
        assert_int_equal(take_rtp(&e.rx, w[200 - 128]), ERR_EXISTS); /* too old */
        assert_int_equal(take_rtp(&e.rx, w[200 - 127]), ERR_EXISTS);
        assert_int_equal(take_rtp(&e.rx, w[200 - 63]), ERR_OK);
        assert_int_equal(take_rtp(&e.rx, w[200 - 64]), ERR_OK);
        assert_int_equal(take_rtp(&e.rx, w[200]), ERR_EXISTS);
        assert_int_equal(take_rtp(&e.rx, w[264]), ERR_OK); /* by 64: from one half to the other */
        assert_int_equal(take_rtp(&e.rx, w[200]), ERR_EXISTS);
        assert_int_equal(take_rtp(&e.rx, w[200 - 63]), ERR_EXISTS);
        assert_int_equal(take_rtp(&e.rx, w[299]), ERR_OK);
        assert_int_equal(take_rtp(&e.rx, w[200]), ERR_EXISTS);
        assert_int_equal(take_rtp(&e.rx, w[201]), ERR_OK);
        /* The same of a sender, which may not encrypt two texts with one stream. */
        uint8_t p[PACKET];
        size_t n;
        for (unsigned i = 0; i < 300; i++) {
            n = sound(p, 5, (uint16_t)(1000 + i), 100);
            assert_int_equal(srtp_rtp_protect(&e.tx, p, &n, sizeof p), ERR_EXISTS);
        }
        assert_int_equal(srtp_context_init(&other, e.engine, SRTP_SENDER, suite, key_of(&k, suite),
                                           salt_of(&k, suite)),
                         ERR_OK);
        (void)send_rtp(&other, 5, 1200);
        (void)send_rtp(&other, 5, 1200 - 127);
        n = sound(p, 5, 1200 - 128, 100);
        assert_int_equal(srtp_rtp_protect(&other, p, &n, sizeof p), ERR_EXISTS);
        assert_int_equal(n, 112);
        n = sound(p, 5, 1200 - 127, 100);
        assert_int_equal(srtp_rtp_protect(&other, p, &n, sizeof p), ERR_EXISTS);
        srtp_context_done(&other);
        ends_done(&e);
    }
}

static void sequence_numbers_wrap_both_ways(void **state)
{
    (void)state;
    static struct wire w[40];
    EACH_SUITE(suite)
    {
        struct ends e = ends_new(suite, 12);
        for (unsigned round = 0; round < 3; round++) {
            for (unsigned i = 0; i < 40; i++) /* 65516 to 19 */
                w[i] = send_rtp(&e.tx, 9, (uint16_t)(65516 + i));
            for (unsigned i = 0; i < 40; i += 2) /* every second first, across the wrap and back */
                assert_int_equal(take_rtp(&e.rx, w[i]), ERR_OK);
            for (unsigned i = 1; i < 40; i += 2)
                assert_int_equal(take_rtp(&e.rx, w[i]), ERR_OK);
            for (unsigned i = 0; i < 40; i++)
                assert_int_equal(take_rtp(&e.rx, w[i]), ERR_EXISTS);
            assert_int_equal(e.rx.first.rtp.top >> 16, round + 1);
            for (unsigned seq = 30000; seq < 65516; seq += 30000) /* nearly half a round is lost */
                assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, (uint16_t)seq)), ERR_OK);
        }
        ends_done(&e);
    }
}

static void a_sender_protects_in_whatever_order_across_the_wrap(void **state)
{
    (void)state;
    static const uint16_t order[] = {65533, 1, 65534, 0, 65535, 3, 2, 5, 4};
    EACH_SUITE(suite)
    {
        struct ends e = ends_new(suite, 13);
        for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
            assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, order[i])), ERR_OK);
        assert_int_equal(e.tx.first.rtp.top, 0x10005);
        assert_int_equal(e.rx.first.rtp.top, 0x10005);
        ends_done(&e);
    }
}

/* RFC 4568 §6.4: "the receiver might not recognize that its ROC needs to be incremented". */
static void the_first_packets_may_be_lost_across_the_wrap(void **state)
{
    (void)state;
    EACH_SUITE(suite)
    {
        struct ends e = ends_new(suite, 14);
        struct wire lost = send_rtp(&e.tx, 9, 65534), late = send_rtp(&e.tx, 9, 65535);
        assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, 0)), ERR_OK);
        assert_int_equal(take_rtp(&e.rx, late), ERR_OK);
        for (unsigned i = 1; i < 10; i++)
            assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, (uint16_t)i)), ERR_OK);
        assert_int_equal(take_rtp(&e.rx, lost), ERR_OK);
        assert_int_equal(take_rtp(&e.rx, late), ERR_EXISTS);
        ends_done(&e);
    }
}

/* A packet from before the first one would be a round later: a receiver may read it otherwise. */
static void a_sender_has_nothing_before_its_first_packet(void **state)
{
    (void)state;
    uint8_t p[PACKET];
    struct ends e = ends_new(SRTP_AEAD_AES_128_GCM, 15);
    (void)send_rtp(&e.tx, 9, 3);
    size_t n = sound(p, 9, 65535, 100);
    assert_int_equal(srtp_rtp_protect(&e.tx, p, &n, sizeof p), ERR_EXISTS);
    (void)send_rtp(&e.tx, 9, 2);
    (void)send_rtp(&e.tx, 9, 4);
    assert_int_equal(e.tx.first.rtp.top, 4);
    ends_done(&e);
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    EACH_SUITE(suite)
    {
        struct ends e = ends_new(suite, 21);
        assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, 100)), ERR_OK);
        assert_int_equal(take_rtcp(&e.rx, send_rtcp(&e.tx, 9)), ERR_OK);
        struct wire w = send_rtp(&e.tx, 9, 101), r = send_rtcp(&e.tx, 9);
        for (size_t bit = 0; bit < 8 * w.n; bit++) {
            struct wire f = w;
            f.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_not_equal(take_rtp(&e.rx, f), ERR_OK);
        }
        for (size_t bit = 0; bit < 8 * r.n; bit++) {
            struct wire f = r;
            f.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_not_equal(take_rtcp(&e.rx, f), ERR_OK);
        }
        assert_int_equal(e.rx.streams, 1); /* none of the other SSRCs has left a trace */
        assert_int_equal(e.rx.keys.packets, 1);
        assert_int_equal(ERR_peek_error(), 0); /* nor in the library, where TLS would find it */
        assert_int_equal(take_rtp(&e.rx, w), ERR_OK);
        assert_int_equal(take_rtcp(&e.rx, r), ERR_OK);
        ends_done(&e);
    }
}

static void what_is_cut_off_is_refused(void **state)
{
    (void)state;
    EACH_SUITE(suite)
    {
        struct ends e = ends_new(suite, 22);
        struct wire w = send_rtp(&e.tx, 9, 1), r = send_rtcp(&e.tx, 9), f;
        for (f = w; f.n-- > 0;)
            assert_int_equal(take_rtp(&e.rx, f),
                             f.n < 12u + srtp_suite_info(suite)->tag ? ERR_SYNTAX : ERR_AUTH);
        for (f = r; f.n-- > 0;) {
            enum err rc = take_rtcp(&e.rx, f);
            assert_true(rc == ERR_AUTH || rc == ERR_SYNTAX);
        }
        w.p[w.n++] = 0;
        r.p[r.n++] = 0;
        assert_int_equal(take_rtp(&e.rx, w), ERR_AUTH);
        assert_int_not_equal(take_rtcp(&e.rx, r), ERR_OK);
        assert_int_equal(e.rx.streams, 0);
        ends_done(&e);
    }
}

static void what_is_no_rtp_is_refused(void **state)
{
    (void)state;
    uint8_t p[PACKET];
    struct ends e = ends_new(SRTP_AES_CM_128_HMAC_SHA1_80, 23);
    size_t n = sound(p, 9, 1, 160);
    p[0] = 0x40; /* version 1 */
    assert_int_equal(srtp_rtp_protect(&e.tx, p, &n, sizeof p), ERR_SYNTAX);
    assert_int_equal(srtp_rtp_unprotect(&e.rx, p, &n), ERR_SYNTAX);
    assert_int_equal(srtp_rtcp_protect(&e.tx, p, &n, sizeof p), ERR_SYNTAX);
    assert_int_equal(srtp_rtcp_unprotect(&e.rx, p, &n), ERR_SYNTAX);
    p[0] = 0x8f; /* 15 CSRCs: 72 octets */
    for (n = 0; n < 72; n++)
        assert_int_equal(srtp_rtp_protect(&e.tx, p, &n, sizeof p), ERR_SYNTAX);
    assert_int_equal(srtp_rtp_protect(&e.tx, p, &n, sizeof p), ERR_OK);
    p[0] = 0x91; /* a CSRC and an extension of 3 words */
    put16(p + 2, 2);
    put16(p + 18, 3);
    for (n = 0; n < 32; n++)
        assert_int_equal(srtp_rtp_protect(&e.tx, p, &n, sizeof p), ERR_SYNTAX);
    assert_int_equal(srtp_rtp_protect(&e.tx, p, &n, sizeof p), ERR_OK);
    for (n = 0; n < 8; n++) {
        assert_int_equal(srtp_rtcp_protect(&e.tx, p, &n, sizeof p), ERR_SYNTAX);
        assert_int_equal(srtp_rtcp_unprotect(&e.rx, p, &n), ERR_SYNTAX);
    }
    ends_done(&e);
}

static void header_and_extension_stay_in_clear(void **state)
{
    (void)state;
    EACH_SUITE(suite)
    {
        struct ends e = ends_new(suite, 24);
        uint8_t p[PACKET], was[PACKET];
        size_t n = sound(p, 9, 1, 160);
        p[0] = 0x92;
        put16(p + 22, 2); /* two CSRCs, two words of extension: 12 + 8 + 4 + 8 */
        memcpy(was, p, n);
        assert_int_equal(srtp_rtp_protect(&e.tx, p, &n, sizeof p), ERR_OK);
        assert_memory_equal(p, was, 32);
        for (size_t i = 32; i < 172; i += 4)
            assert_memory_not_equal(p + i, was + i, 4);
        assert_int_equal(srtp_rtp_unprotect(&e.rx, p, &n), ERR_OK);
        assert_int_equal(n, 172);
        assert_memory_equal(p, was, n);
        n = report(p, 9, 20);
        memcpy(was, p, n);
        assert_int_equal(srtp_rtcp_protect(&e.tx, p, &n, sizeof p), ERR_OK);
        assert_memory_equal(p, was, 8);
        for (size_t i = 8; i < 28; i += 4)
            assert_memory_not_equal(p + i, was + i, 4);
        ends_done(&e);
    }
}

static void room_is_asked_for_and_kept(void **state)
{
    (void)state;
    EACH_SUITE(suite)
    {
        struct ends e = ends_new(suite, 25);
        const struct srtp_suite_info *i = srtp_suite_info(suite);
        uint8_t p[PACKET];
        size_t n = sound(p, 9, 1, 100);
        assert_int_equal(srtp_rtp_protect(&e.tx, p, &n, n - 1), ERR_TOOBIG);
        assert_int_equal(srtp_rtp_protect(&e.tx, p, &n, n + i->tag - 1), ERR_TOOBIG);
        p[n + i->tag] = 0xa5;
        assert_int_equal(srtp_rtp_protect(&e.tx, p, &n, n + i->tag), ERR_OK);
        assert_int_equal(p[n], 0xa5);
        n = report(p, 9, 20);
        assert_int_equal(srtp_rtcp_protect(&e.tx, p, &n, n + i->rtcp_tag + 3), ERR_TOOBIG);
        p[n + i->rtcp_tag + 4] = 0xa5;
        assert_int_equal(srtp_rtcp_protect(&e.tx, p, &n, n + i->rtcp_tag + 4u), ERR_OK);
        assert_int_equal(p[n], 0xa5);
        static uint8_t large[SRTP_PACKET_MAX + 100];
        n = sound(large, 9, 2, SRTP_PACKET_MAX - 12);
        assert_int_equal(srtp_rtp_protect(&e.tx, large, &n, sizeof large), ERR_TOOBIG);
        n = SRTP_PACKET_MAX + 1;
        assert_int_equal(srtp_rtp_unprotect(&e.rx, large, &n), ERR_TOOBIG);
        n = sound(large, 9, 2, SRTP_PACKET_MAX - 12u - i->tag);
        assert_int_equal(srtp_rtp_protect(&e.tx, large, &n, sizeof large), ERR_OK);
        assert_int_equal(srtp_rtp_unprotect(&e.rx, large, &n), ERR_OK);
        ends_done(&e);
    }
}

static void only_authentic_ssrcs_have_state_and_only_so_many(void **state)
{
    (void)state;
    EACH_SUITE(suite)
    {
        struct ends e = ends_new(suite, 31);
        struct wire w = send_rtp(&e.tx, 1, 1), r = send_rtcp(&e.tx, 1);
        for (uint32_t ssrc = 2; ssrc < 300; ssrc++) {
            put_u32(w.p + 8, ssrc);
            put_u32(r.p + 4, ssrc);
            assert_int_equal(take_rtp(&e.rx, w), ERR_AUTH);
            assert_int_equal(take_rtcp(&e.rx, r), ERR_AUTH);
        }
        assert_int_equal(e.rx.streams, 0);
        for (uint32_t ssrc = 1; ssrc <= SRTP_SSRCS_MAX; ssrc++) { /* by RTP and by RTCP */
            assert_int_equal(srtp_context_worn(&e.tx, 0), ssrc > SRTP_SSRCS_MAX * 3 / 4);
            if (ssrc % 2)
                assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, ssrc, 7)), ERR_OK);
            else
                assert_int_equal(take_rtcp(&e.rx, send_rtcp(&e.tx, ssrc)), ERR_OK);
        }
        uint8_t p[PACKET];
        size_t n = sound(p, 1000, 1, 10);
        assert_int_equal(srtp_rtp_protect(&e.tx, p, &n, sizeof p), ERR_NOMEM);
        n = report(p, 1000, 20);
        assert_int_equal(srtp_rtcp_protect(&e.tx, p, &n, sizeof p), ERR_NOMEM);
        for (uint32_t ssrc = 1; ssrc <= SRTP_SSRCS_MAX; ssrc++) {
            assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, ssrc, 8)), ERR_OK);
            assert_int_equal(take_rtcp(&e.rx, send_rtcp(&e.tx, ssrc)), ERR_OK);
        }
        ends_done(&e);
    }
}

static void a_receiver_refuses_an_ssrc_too_many(void **state)
{
    (void)state;
    struct ends e = ends_new(SRTP_AES_CM_128_HMAC_SHA1_32, 32),
                other = ends_new(SRTP_AES_CM_128_HMAC_SHA1_32, 32);
    for (uint32_t ssrc = 1; ssrc <= SRTP_SSRCS_MAX; ssrc++)
        assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, ssrc, 7)), ERR_OK);
    struct wire w = send_rtp(&other.tx, 1000, 1);
    assert_int_equal(srtp_rtp_unprotect(&e.rx, w.p, &w.n), ERR_NOMEM);
    w = send_rtcp(&other.tx, 1000);
    assert_int_equal(srtp_rtcp_unprotect(&e.rx, w.p, &w.n), ERR_NOMEM);
    assert_int_equal(srtp_context_forget(&e.rx, 30), ERR_OK);
    assert_int_equal(take_rtp(&e.rx, send_rtp(&other.tx, 1000, 2)), ERR_OK);
    ends_done(&e);
    ends_done(&other);
}

static void a_receiver_forgets_an_ssrc_a_sender_none(void **state)
{
    (void)state;
    struct ends e = ends_new(SRTP_AEAD_AES_256_GCM, 33);
    struct wire w[5];
    for (uint32_t ssrc = 1; ssrc < 5; ssrc++)
        assert_int_equal(take_rtp(&e.rx, w[ssrc] = send_rtp(&e.tx, ssrc, 7)), ERR_OK);
    assert_int_equal(srtp_context_forget(&e.tx, 2), ERR_STATE);
    assert_int_equal(srtp_context_forget(&e.rx, 9), ERR_NOTFOUND);
    assert_int_equal(srtp_context_forget(&e.rx, 1), ERR_OK); /* the last takes its place */
    assert_int_equal(srtp_context_forget(&e.rx, 1), ERR_NOTFOUND);
    for (uint32_t ssrc = 2; ssrc < 5; ssrc++)
        assert_int_equal(take_rtp(&e.rx, w[ssrc]), ERR_EXISTS);
    assert_int_equal(take_rtp(&e.rx, w[1]), ERR_OK);
    ends_done(&e);
}

static void new_keys_leave_indices_as_they_are(void **state)
{
    (void)state;
    EACH_SUITE(suite)
    {
        struct ends e = ends_new(suite, 41);
        (void)send_rtp(&e.tx, 9, 65500);
        assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, 65535)), ERR_OK);
        assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, 0)), ERR_OK);
        assert_int_equal(take_rtcp(&e.rx, send_rtcp(&e.tx, 9)), ERR_OK);
        struct wire known = send_rtp(&e.tx, 9, 1), report_known = send_rtcp(&e.tx, 9);
        assert_int_equal(take_rtp(&e.rx, known), ERR_OK);
        assert_int_equal(take_rtcp(&e.rx, report_known), ERR_OK);
        struct wire before = send_rtp(&e.tx, 9, 2), report_before = send_rtcp(&e.tx, 9);
        struct wire late = send_rtp(&e.tx, 9, 3), report_late = send_rtcp(&e.tx, 9);
        rekey_both(&e, (suite + 1) % SRTP_SUITES, 42);
        assert_int_not_equal(take_rtp(&e.rx, known), ERR_OK);
        assert_int_not_equal(take_rtcp(&e.rx, report_known), ERR_OK);
        struct wire after = send_rtp(&e.tx, 9, 4), report_after = send_rtcp(&e.tx, 9);
        assert_int_equal(take_rtp(&e.rx, before), ERR_OK); /* was under way */
        assert_int_equal(take_rtp(&e.rx, after), ERR_OK);
        assert_int_equal(take_rtp(&e.rx, late), ERR_OK); /* and this was overtaken */
        assert_int_equal(take_rtcp(&e.rx, report_before), ERR_OK);
        assert_int_equal(take_rtcp(&e.rx, report_after), ERR_OK);
        assert_int_equal(take_rtcp(&e.rx, report_late), ERR_OK);
        struct wire again[] = {known, before, late, after};
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(take_rtp(&e.rx, again[i]), ERR_EXISTS);
        struct wire reports[] = {report_known, report_before, report_late, report_after};
        for (size_t i = 0; i < 4; i++)
            assert_int_not_equal(take_rtcp(&e.rx, reports[i]), ERR_OK);
        assert_int_equal(e.rx.first.rtp.top, 0x10004);
        assert_int_equal(e.rx.first.rtcp.top, 4);
        assert_int_equal(e.tx.first.rtcp.top, 4);
        uint8_t p[PACKET];
        size_t n = sound(p, 9, 1, 100);
        assert_int_equal(srtp_rtp_protect(&e.tx, p, &n, sizeof p), ERR_EXISTS);
        assert_non_null(e.rx.old);
        for (unsigned i = 0; i < SRTP_OLD_PACKETS; i++)
            assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, (uint16_t)(5 + i))), ERR_OK);
        assert_null(e.rx.old);
        assert_int_not_equal(take_rtp(&e.rx, before), ERR_OK);
        ends_done(&e);
    }
}

static void a_peer_may_begin_anew_with_new_keys(void **state)
{
    (void)state;
    static const uint16_t starts[] = {0, 5, 100, 999, 1000, 1001, 1100, 33000, 40000, 65535};
    EACH_SUITE(suite)
    for (size_t i = 0; i < 2 * sizeof starts / sizeof starts[0]; i++) {
        struct ends e = ends_new(suite, 43);
        struct test_key k = test_key(44);
        uint16_t start = starts[i / 2];
        if (i % 2) { /* it had wrapped */
            (void)send_rtp(&e.tx, 9, 60000);
            (void)send_rtp(&e.tx, 9, 0);
        }
        struct wire before = send_rtp(&e.tx, 9, 1000), report_before = send_rtcp(&e.tx, 9);
        assert_int_equal(take_rtp(&e.rx, before), ERR_OK);
        assert_int_equal(take_rtcp(&e.rx, report_before), ERR_OK);
        assert_int_equal(take_rtcp(&e.rx, send_rtcp(&e.tx, 9)), ERR_OK);
        rekey_both(&e, suite, 44);
        srtp_context_done(&e.tx);
        assert_int_equal(srtp_context_init(&e.tx, e.engine, SRTP_SENDER, suite, key_of(&k, suite),
                                           salt_of(&k, suite)),
                         ERR_OK);
        struct wire first = send_rtp(&e.tx, 9, start), report_first = send_rtcp(&e.tx, 9);
        assert_int_equal(take_rtp(&e.rx, first), ERR_OK);
        assert_int_equal(take_rtcp(&e.rx, report_first), ERR_OK);
        assert_int_not_equal(take_rtp(&e.rx, before), ERR_OK); /* also where it would be newer */
        assert_int_not_equal(take_rtcp(&e.rx, report_before), ERR_OK);
        for (unsigned j = 1; j < 300; j++)
            assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, (uint16_t)(start + j))), ERR_OK);
        assert_int_equal(take_rtcp(&e.rx, send_rtcp(&e.tx, 9)), ERR_OK);
        assert_int_equal(take_rtp(&e.rx, first), ERR_EXISTS);
        assert_int_equal(take_rtcp(&e.rx, report_first), ERR_EXISTS);
        assert_int_not_equal(take_rtp(&e.rx, before), ERR_OK);
        assert_int_not_equal(take_rtcp(&e.rx, report_before), ERR_OK);
        ends_done(&e);
    }
}

static void the_same_keys_again_change_nothing(void **state)
{
    (void)state;
    EACH_SUITE(suite)
    {
        struct ends e = ends_new(suite, 45);
        struct wire w = send_rtp(&e.tx, 9, 1);
        assert_int_equal(take_rtp(&e.rx, w), ERR_OK);
        rekey_both(&e, suite, 45);
        assert_null(e.rx.old);
        assert_int_equal(e.tx.keys.number, 1);
        assert_int_equal(take_rtp(&e.rx, w), ERR_EXISTS);
        uint8_t p[PACKET];
        size_t n = sound(p, 9, 1, 100);
        assert_int_equal(srtp_rtp_protect(&e.tx, p, &n, sizeof p), ERR_EXISTS);
        ends_done(&e);
    }
}

static void keys_are_used_up_one_day(void **state)
{
    (void)state;
    struct ends e = ends_new(SRTP_AES_CM_128_HMAC_SHA1_80, 46);
    uint8_t p[PACKET];
    size_t n = sound(p, 9, 1, 100);
    assert_false(srtp_context_worn(&e.tx, 0));
    assert_true(srtp_context_worn(&e.tx, 1) == false);
    e.tx.keys.packets = (1U << 20) - (1U << 16) - 1;
    assert_false(srtp_context_worn(&e.tx, 1U << 20));
    e.tx.keys.packets++;
    assert_true(srtp_context_worn(&e.tx, 1U << 20));
    assert_false(srtp_context_worn(&e.tx, 0));
    e.tx.keys.packets = SRTP_PACKETS_MAX - 1;
    assert_true(srtp_context_worn(&e.tx, 0) && srtp_context_worn(&e.tx, UINT64_MAX));
    (void)send_rtp(&e.tx, 9, 0);
    assert_int_equal(srtp_rtp_protect(&e.tx, p, &n, sizeof p), ERR_STATE);
    rekey_both(&e, SRTP_AES_CM_128_HMAC_SHA1_80, 47);
    (void)send_rtp(&e.tx, 9, 1);
    e.tx.first.rtp.top = SRTP_INDEX_MAX - 1; /* the last round ends */
    (void)send_rtp(&e.tx, 9, 65535);
    n = sound(p, 9, 0, 100);
    assert_int_equal(srtp_rtp_protect(&e.tx, p, &n, sizeof p), ERR_STATE);

    e.tx.keys.rtcp_packets = SRTCP_PACKETS_MAX - 1;
    assert_true(srtp_context_worn(&e.tx, 0));
    (void)send_rtcp(&e.tx, 9);
    n = report(p, 9, 20);
    assert_int_equal(srtp_rtcp_protect(&e.tx, p, &n, sizeof p), ERR_STATE);
    rekey_both(&e, SRTP_AES_CM_128_HMAC_SHA1_80, 48);
    e.tx.first.rtcp.top = SRTCP_INDEX_MAX;
    assert_int_equal(srtp_rtcp_protect(&e.tx, p, &n, sizeof p), ERR_STATE);
    ends_done(&e);

    e = ends_new(SRTP_AEAD_AES_128_GCM, 49);
    struct wire w = send_rtp(&e.tx, 9, 1), r = send_rtcp(&e.tx, 9);
    e.rx.keys.packets = SRTP_PACKETS_MAX;
    e.rx.keys.rtcp_packets = SRTCP_PACKETS_MAX;
    assert_int_equal(take_rtp(&e.rx, w), ERR_STATE);
    assert_int_equal(take_rtcp(&e.rx, r), ERR_STATE);
    e.rx.keys.packets = 0;
    assert_int_equal(take_rtp(&e.rx, w), ERR_OK);
    e.rx.first.rtp.top = SRTP_INDEX_MAX;
    assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, 2)), ERR_STATE);
    ends_done(&e);
}

/* ---- memory ---- */

static void packets_ask_for_no_memory(void **state)
{
    (void)state;
    EACH_SUITE(suite)
    {
        struct ends e = ends_new(suite, 61);
        assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, 0)), ERR_OK);
        assert_int_equal(take_rtcp(&e.rx, send_rtcp(&e.tx, 9)), ERR_OK);
        size_t calls = mem_calls(), live = mem_live();
        mem_fail_after(1);
        for (unsigned i = 1; i < 300; i++) {
            struct wire w = send_rtp(&e.tx, 9, (uint16_t)i);
            assert_int_equal(take_rtp(&e.rx, w), ERR_OK);
            w.p[20] ^= 1;
            assert_int_equal(take_rtp(&e.rx, w), ERR_EXISTS);
            w.p[3] ^= 128;
            assert_int_not_equal(take_rtp(&e.rx, w), ERR_OK);
            assert_int_equal(take_rtcp(&e.rx, send_rtcp(&e.tx, 9)), ERR_OK);
        }
        mem_fail_after(0);
        assert_int_equal(mem_calls(), calls);
        assert_int_equal(mem_live(), live);
        ends_done(&e);
    }
}

static void without_memory_all_is_as_before(void **state)
{
    (void)state;
    struct ends e = ends_new(SRTP_AES_CM_128_HMAC_SHA1_80, 62);
    struct test_key k = test_key(63);
    sv key = key_of(&k, e.suite), salt = salt_of(&k, e.suite);
    uint8_t p[PACKET];
    size_t n = sound(p, 10, 1, 10);
    assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, 0)), ERR_OK);
    mem_fail_after(1);
    assert_int_equal(srtp_rtp_protect(&e.tx, p, &n, sizeof p), ERR_NOMEM);
    mem_fail_after(1);
    assert_int_equal(srtp_context_rekey(&e.rx, e.suite, key, salt), ERR_NOMEM);
    mem_fail_after(0);
    assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, 1)), ERR_OK);
    struct wire w = send_rtp(&e.tx, 10, 1);
    struct wire lost = w;
    mem_fail_after(1);
    assert_int_equal(srtp_rtp_unprotect(&e.rx, lost.p, &lost.n), ERR_NOMEM);
    mem_fail_after(0);
    assert_int_equal(take_rtp(&e.rx, w), ERR_OK);
    ends_done(&e);
}

static void the_end_leaves_nothing(void **state)
{
    (void)state;
    static const struct srtp_context none;
    size_t live = mem_live();
    EACH_SUITE(suite)
    {
        struct ends e = ends_new(suite, 64);
        for (uint32_t ssrc = 0; ssrc < 9; ssrc++)
            assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, ssrc, 0)), ERR_OK);
        rekey_both(&e, (suite + 1) % SRTP_SUITES, 65);
        rekey_both(&e, suite, 66);
        srtp_context_done(&e.rx);
        assert_memory_equal(&e.rx, &none, sizeof none); /* no key stays */
        srtp_context_done(&e.rx);
        ends_done(&e);
    }
    srtp_context_done(NULL);
    srtp_engine_free(NULL);
    assert_int_equal(mem_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(suites_have_their_names_numbers_and_lengths),
        cmocka_unit_test(keys_of_other_lengths_are_refused),
        cmocka_unit_test(the_window_is_128_wide_on_both_sides),
        cmocka_unit_test(sequence_numbers_wrap_both_ways),
        cmocka_unit_test(a_sender_protects_in_whatever_order_across_the_wrap),
        cmocka_unit_test(the_first_packets_may_be_lost_across_the_wrap),
        cmocka_unit_test(a_sender_has_nothing_before_its_first_packet),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(what_is_cut_off_is_refused),
        cmocka_unit_test(what_is_no_rtp_is_refused),
        cmocka_unit_test(header_and_extension_stay_in_clear),
        cmocka_unit_test(room_is_asked_for_and_kept),
        cmocka_unit_test(only_authentic_ssrcs_have_state_and_only_so_many),
        cmocka_unit_test(a_receiver_refuses_an_ssrc_too_many),
        cmocka_unit_test(a_receiver_forgets_an_ssrc_a_sender_none),
        cmocka_unit_test(new_keys_leave_indices_as_they_are),
        cmocka_unit_test(a_peer_may_begin_anew_with_new_keys),
        cmocka_unit_test(the_same_keys_again_change_nothing),
        cmocka_unit_test(keys_are_used_up_one_day),
        cmocka_unit_test(packets_ask_for_no_memory),
        cmocka_unit_test(without_memory_all_is_as_before),
        cmocka_unit_test(the_end_leaves_nothing),
    };
    return crypto_start() || cmocka_run_group_tests(tests, NULL, NULL);
}
