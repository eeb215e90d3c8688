/* SPDX-License-Identifier: MIT */
/* srtp_form_test.c: contexts that are written down, by who ends and by who goes on. */
#include "srtp_wire.h"

static void written_again(struct srtp_context *c, struct srtp_engine *e)
{
    struct buf b, again;
    buf_init_heap(&b, SRTP_SAVED_MAX);
    buf_init_heap(&again, SRTP_SAVED_MAX);
    srtp_context_save(c, &b);
    assert_int_equal(b.rc, ERR_OK);
    srtp_context_done(c);
    assert_int_equal(srtp_context_load(c, e, buf_sv(&b)), ERR_OK);
    srtp_context_save(c, &again);
    assert_true(sv_eq(buf_sv(&b), buf_sv(&again)));
    buf_done(&b);
    buf_done(&again);
}

struct turn {
    struct wire w;
    bool rtcp;
    enum err sent, taken;
};

/* One course of events, hanging on nothing but seed; written down at every how-manieth packet. */
static void course(enum srtp_suite suite, uint64_t seed, unsigned written, struct turn *turns,
                   unsigned n)
{
    struct ends e = ends_new(suite, seed);
    uint16_t seq[3] = {65500, 10, 32760};
    memset(turns, 0, n * sizeof *turns);
    for (unsigned i = 0; i < n; i++) {
        struct turn *t = &turns[i];
        uint32_t ssrc = (uint32_t)(chance(&seed) % 3);
        t->rtcp = chance(&seed) % 8 == 0;
        uint16_t back = (uint16_t)(chance(&seed) % 10 == 0 ? chance(&seed) % 200 : 0);
        if (!t->rtcp)
            t->w.n = sound(t->w.p, ssrc, (uint16_t)(++seq[ssrc] - back), 20);
        else
            t->w.n = report(t->w.p, ssrc, 20);
        t->sent = (t->rtcp ? srtp_rtcp_protect : srtp_rtp_protect)(&e.tx, t->w.p, &t->w.n, PACKET);
        struct turn *arrives = &turns[chance(&seed) % 6 ? i : i - chance(&seed) % (i + 1) % 150];
        if (arrives->sent == ERR_OK && chance(&seed) % 10 != 0)
            t->taken = arrives->rtcp ? take_rtcp(&e.rx, arrives->w) : take_rtp(&e.rx, arrives->w);
        if (i % 130 == 129)
            rekey_both(&e, (e.suite + 1) % SRTP_SUITES, seed);
        if (written && i % written == 0) {
            written_again(&e.tx, e.engine);
            written_again(&e.rx, e.engine);
        }
    }
    ends_done(&e);
}

static void written_down_and_read_at_any_packet_nothing_changes(void **state)
{
    (void)state;
    enum { TURNS = 400 };
    static struct turn plain[TURNS], with[TURNS];
    EACH_SUITE(suite)
    for (unsigned written = 1; written < 8; written += 3) {
        course(suite, 100 + suite, 0, plain, TURNS);
        course(suite, 100 + suite, written, with, TURNS);
        unsigned kinds[ERR_COUNT] = {0};
        for (unsigned i = 0; i < TURNS; i++) {
            assert_int_equal(plain[i].sent, with[i].sent);
            assert_int_equal(plain[i].taken, with[i].taken);
            assert_int_equal(plain[i].w.n, with[i].w.n);
            assert_memory_equal(plain[i].w.p, with[i].w.p, plain[i].w.n);
            kinds[plain[i].sent]++;
            kinds[plain[i].taken]++;
        }
        assert_true(kinds[ERR_EXISTS] > 20 && kinds[ERR_OK] > TURNS); /* the course has both */
    }
}

static void what_was_not_written_is_not_read(void **state)
{
    (void)state;
    struct ends e = ends_new(SRTP_AES_256_CM_HMAC_SHA1_80, 51);
    struct srtp_context c;
    struct buf b;
    for (uint32_t ssrc = 1; ssrc < 5; ssrc++) {
        assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, ssrc, 7)), ERR_OK);
        assert_int_equal(take_rtcp(&e.rx, send_rtcp(&e.tx, ssrc)), ERR_OK);
    }
    rekey_both(&e, SRTP_AEAD_AES_256_GCM, 52);
    buf_init_heap(&b, SRTP_SAVED_MAX);
    srtp_context_save(&e.rx, &b);
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(srtp_context_load(&c, e.engine, (sv){b.p, n}), ERR_CORRUPT);
    buf_char(&b, 0);
    assert_int_equal(srtp_context_load(&c, e.engine, buf_sv(&b)), ERR_CORRUPT);
    b.n--;
    for (size_t bit = 0; bit < 8 * b.n; bit++) {
        b.p[bit / 8] ^= (char)(1 << bit % 8);
        if (srtp_context_load(&c, e.engine, buf_sv(&b)) == ERR_OK) {
            struct buf again;
            buf_init_heap(&again, SRTP_SAVED_MAX);
            srtp_context_save(&c, &again);
            assert_true(sv_eq(buf_sv(&b), buf_sv(&again)));
            buf_done(&again);
            srtp_context_done(&c);
        } else {
            assert_null(c.engine);
        }
        b.p[bit / 8] ^= (char)(1 << bit % 8);
    }
    enum { STREAM = 60 }; /* the last SSRC is that of the one before it */
    memcpy(b.p + b.n - STREAM, b.p + b.n - 2 * STREAM, 4);
    assert_int_equal(srtp_context_load(&c, e.engine, buf_sv(&b)), ERR_CORRUPT);
    b.p[0]++; /* a later version */
    assert_int_equal(srtp_context_load(&c, e.engine, buf_sv(&b)), ERR_CORRUPT);
    buf_done(&b);
    ends_done(&e);
}

static void a_full_context_can_be_written(void **state)
{
    (void)state;
    struct ends e = ends_new(SRTP_AES_256_CM_HMAC_SHA1_80, 53);
    for (uint32_t ssrc = 0; ssrc < SRTP_SSRCS_MAX; ssrc++)
        assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, ssrc, 7)), ERR_OK);
    rekey_both(&e, SRTP_AES_256_CM_HMAC_SHA1_80, 54);
    written_again(&e.rx, e.engine);
    assert_int_equal(e.rx.streams, SRTP_SSRCS_MAX);
    ends_done(&e);
}

/* A sender that goes on after writing and one that reads the form: no index of an SSRC is ever both's, and the peer of
 * both follows. */
static void an_index_is_the_writers_or_the_readers(void **state)
{
    (void)state;
    EACH_SUITE(suite)
    {
        struct ends e = ends_new(suite, 55);
        struct srtp_context reader;
        struct buf b;
        uint8_t p[PACKET];
        uint16_t next;
        size_t n;
        bool behind;
        buf_init_heap(&b, SRTP_SAVED_MAX);
        for (unsigned i = 0; i < 10; i++)
            assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, (uint16_t)(65530 + i))), ERR_OK);
        assert_int_equal(take_rtcp(&e.rx, send_rtcp(&e.tx, 9)), ERR_OK);
        srtp_context_save_ahead(&e.tx, &b);
        assert_int_equal(srtp_context_load(&reader, e.engine, buf_sv(&b)), ERR_OK);
        /* the writer's: 4 to 3 + SRTP_AHEAD */
        assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, 4)), ERR_OK);
        assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, 3 + SRTP_AHEAD)), ERR_OK);
        n = sound(p, 9, 4 + SRTP_AHEAD, 20);
        assert_int_equal(srtp_rtp_protect(&e.tx, p, &n, sizeof p), ERR_EXISTS);
        assert_false(srtp_context_next(&e.tx, 9, &next, &behind));
        /* and every SSRC that it begins now */
        assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 10, 7)), ERR_OK);
        n = sound(p, 10, 8, 20);
        assert_int_equal(srtp_rtp_protect(&reader, p, &n, sizeof p), ERR_EXISTS);
        n = report(p, 10, 20);
        assert_int_equal(srtp_rtcp_protect(&reader, p, &n, sizeof p), ERR_EXISTS);
        /* the reader's */
        for (unsigned i = 0; i < 400; i++) {
            n = sound(p, 9, (uint16_t)(3 + SRTP_AHEAD - i), 20);
            assert_int_equal(srtp_rtp_protect(&reader, p, &n, sizeof p), ERR_EXISTS);
        }
        assert_true(srtp_context_next(&reader, 9, &next, &behind));
        assert_true(behind);
        assert_int_equal(next, 4 + SRTP_AHEAD);
        struct wire w = send_rtp(&reader, 9, next);
        assert_int_equal(take_rtp(&e.rx, w), ERR_OK);
        assert_true(srtp_context_next(&reader, 9, &next, &behind));
        assert_false(behind);
        assert_int_equal(take_rtcp(&e.rx, send_rtcp(&reader, 9)), ERR_OK);
        assert_int_equal(reader.first.rtcp.top, SRTP_AHEAD + 1);
        /* one of its own by chance */
        assert_int_equal(srtp_context_fresh(&reader, 9), ERR_EXISTS);
        assert_int_equal(srtp_context_fresh(&reader, 77), ERR_OK);
        assert_int_equal(take_rtp(&e.rx, send_rtp(&reader, 77, 7)), ERR_OK);
        assert_int_equal(take_rtcp(&e.rx, send_rtcp(&reader, 77)), ERR_OK);
        assert_int_equal(srtp_context_fresh(&e.rx, 78), ERR_STATE);
        srtp_context_done(&reader);
        buf_done(&b);
        ends_done(&e);
    }
}

/* The writer may write again and again; what was read and has not sent has nothing to give. */
static void forms_ahead_follow_one_another(void **state)
{
    (void)state;
    struct ends e = ends_new(SRTP_AEAD_AES_128_GCM, 56);
    struct srtp_context reader;
    struct buf b;
    uint16_t seq = 0, next;
    bool behind;
    buf_init_heap(&b, SRTP_SAVED_MAX);
    for (unsigned i = 0; i < 12; i++) { /* over three rounds */
        seq = (uint16_t)(seq + SRTP_AHEAD);
        assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, seq)), ERR_OK);
        buf_reset(&b);
        srtp_context_save_ahead(&e.tx, &b);
    }
    assert_int_equal(srtp_context_fresh(&e.tx, 10), ERR_OK); /* which has sent nothing */
    buf_reset(&b);
    srtp_context_save_ahead(&e.tx, &b);
    assert_int_equal(srtp_context_load(&reader, e.engine, buf_sv(&b)), ERR_OK);
    assert_false(srtp_context_next(&reader, 10, &next, &behind));
    assert_true(srtp_context_next(&reader, 9, &next, &behind));
    assert_int_equal(next, (uint16_t)(seq + SRTP_AHEAD + 1));
    buf_reset(&b);
    srtp_context_save_ahead(&reader, &b);
    srtp_context_done(&reader);
    assert_int_equal(srtp_context_load(&reader, e.engine, buf_sv(&b)), ERR_OK);
    assert_false(srtp_context_next(&reader, 9, &next, &behind));
    srtp_context_done(&reader);
    buf_done(&b);
    ends_done(&e);
}

/* What came after a receiver's form was written can be played to its reader before the stream's own first packet;
 * not behind it, and what came before is known. */
static void a_receiver_that_is_behind_closes_its_window(void **state)
{
    (void)state;
    struct ends e = ends_new(SRTP_AES_CM_128_HMAC_SHA1_80, 57);
    struct wire before = send_rtp(&e.tx, 9, 100), between, rtcp = send_rtcp(&e.tx, 9), rtcp_between;
    struct buf b;
    buf_init_heap(&b, SRTP_SAVED_MAX);
    assert_int_equal(take_rtp(&e.rx, before), ERR_OK);
    assert_int_equal(take_rtcp(&e.rx, rtcp), ERR_OK);
    srtp_context_save_ahead(&e.rx, &b);
    between = send_rtp(&e.tx, 9, 101);
    rtcp_between = send_rtcp(&e.tx, 9);
    srtp_context_done(&e.rx);
    assert_int_equal(srtp_context_load(&e.rx, e.engine, buf_sv(&b)), ERR_OK);
    assert_int_equal(take_rtp(&e.rx, before), ERR_EXISTS);
    assert_int_equal(take_rtcp(&e.rx, rtcp), ERR_EXISTS);
    assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, 110)), ERR_OK);
    assert_int_equal(take_rtcp(&e.rx, send_rtcp(&e.tx, 9)), ERR_OK);
    assert_int_equal(take_rtp(&e.rx, between), ERR_EXISTS);
    assert_int_equal(take_rtcp(&e.rx, rtcp_between), ERR_EXISTS);
    struct wire late = send_rtp(&e.tx, 9, 111);
    assert_int_equal(take_rtp(&e.rx, send_rtp(&e.tx, 9, 112)), ERR_OK);
    assert_int_equal(take_rtp(&e.rx, late), ERR_OK); /* from here on as ever */
    buf_done(&b);
    ends_done(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_down_and_read_at_any_packet_nothing_changes),
        cmocka_unit_test(what_was_not_written_is_not_read),
        cmocka_unit_test(a_full_context_can_be_written),
        cmocka_unit_test(an_index_is_the_writers_or_the_readers),
        cmocka_unit_test(forms_ahead_follow_one_another),
        cmocka_unit_test(a_receiver_that_is_behind_closes_its_window),
    };
    return crypto_start() || cmocka_run_group_tests(tests, NULL, NULL);
}
