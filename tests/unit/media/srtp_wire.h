/* SPDX-License-Identifier: MIT */
/* srtp_wire.h: protected packets between a pair of contexts. */
#ifndef SRTP_WIRE_H
#define SRTP_WIRE_H
#include "srtp_ends.h"

#define EACH_SUITE(suite) for (enum srtp_suite suite = 0; suite < SRTP_SUITES; suite++)

/* One protected packet. */
struct wire {
    uint8_t p[PACKET];
    size_t n;
};

static inline struct wire send_rtp(struct srtp_context *tx, uint32_t ssrc, uint16_t seq)
{
    struct wire w;
    w.n = sound(w.p, ssrc, seq, 160);
    assert_int_equal(srtp_rtp_protect(tx, w.p, &w.n, sizeof w.p), ERR_OK);
    return w;
}

static inline struct wire send_rtcp(struct srtp_context *tx, uint32_t ssrc)
{
    struct wire w;
    w.n = report(w.p, ssrc, 20);
    assert_int_equal(srtp_rtcp_protect(tx, w.p, &w.n, sizeof w.p), ERR_OK);
    return w;
}

/* By value: what arrives can arrive again. An authentic packet must be what was sent. */
static inline enum err take_rtp(struct srtp_context *rx, struct wire w)
{
    uint8_t was[PACKET];
    struct wire before = w;
    enum err rc = srtp_rtp_unprotect(rx, w.p, &w.n);
    if (rc) {
        assert_int_equal(w.n, before.n);
        assert_memory_equal(w.p, before.p, w.n);
        return rc;
    }
    uint32_t ssrc =
        (uint32_t)w.p[8] << 24 | (uint32_t)w.p[9] << 16 | (uint32_t)w.p[10] << 8 | w.p[11];
    assert_int_equal(w.n, sound(was, ssrc, (uint16_t)(w.p[2] << 8 | w.p[3]), w.n - 12));
    assert_memory_equal(w.p, was, w.n);
    return rc;
}

static inline enum err take_rtcp(struct srtp_context *rx, struct wire w)
{
    uint8_t was[PACKET];
    struct wire before = w;
    enum err rc = srtp_rtcp_unprotect(rx, w.p, &w.n);
    if (rc) {
        assert_int_equal(w.n, before.n);
        assert_memory_equal(w.p, before.p, w.n);
        return rc;
    }
    assert_int_equal(w.n, report(was,
                                 (uint32_t)w.p[4] << 24 | (uint32_t)w.p[5] << 16 |
                                     (uint32_t)w.p[6] << 8 | w.p[7],
                                 w.n - 8));
    assert_memory_equal(w.p, was, w.n);
    return rc;
}

static inline void rekey_both(struct ends *e, enum srtp_suite suite, uint64_t seed)
{
    struct test_key k = test_key(seed);
    assert_int_equal(srtp_context_rekey(&e->tx, suite, key_of(&k, suite), salt_of(&k, suite)),
                     ERR_OK);
    assert_int_equal(srtp_context_rekey(&e->rx, suite, key_of(&k, suite), salt_of(&k, suite)),
                     ERR_OK);
    e->suite = suite;
}

#endif
