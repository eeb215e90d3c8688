/* SPDX-License-Identifier: MIT */
/* srtp_ends.h: packets, keys and pairs of contexts for the tests of srtp. */
#ifndef SRTP_ENDS_H
#define SRTP_ENDS_H
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "crypto/crypto.h"
#include "srtp/srtp_priv.h"

enum { PACKET = 2048 };

static inline uint64_t chance(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed * 0x2545f4914f6cdd1dULL >> 16;
}

static inline void some_octets(uint64_t *seed, uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)chance(seed);
}

static inline void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void put_u32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v & 0xffff);
}

/* A packet of sound: 12 octets of header, the rest hangs on seq and ssrc. */
static inline size_t sound(uint8_t *p, uint32_t ssrc, uint16_t seq, size_t payload)
{
    p[0] = 0x80;
    p[1] = 0;
    put16(p + 2, seq);
    put_u32(p + 4, 160U * seq);
    put_u32(p + 8, ssrc);
    for (size_t i = 0; i < payload; i++)
        p[12 + i] = (uint8_t)(seq * 7 + ssrc + i);
    return 12 + payload;
}

/* A sender report with so many octets behind the SSRC. */
static inline size_t report(uint8_t *p, uint32_t ssrc, size_t more)
{
    p[0] = 0x80;
    p[1] = 200;
    put16(p + 2, (unsigned)(4 + more) / 4);
    put_u32(p + 4, ssrc);
    for (size_t i = 0; i < more; i++)
        p[8 + i] = (uint8_t)(ssrc + i);
    return 8 + more;
}

struct test_key {
    uint8_t octets[SRTP_KEY_MAX + SRTP_SALT_MAX];
};
static inline struct test_key test_key(uint64_t seed)
{
    struct test_key k;
    seed = seed * 2654435761U + 88172645463325252ULL;
    some_octets(&seed, k.octets, sizeof k.octets);
    return k;
}
static inline sv key_of(const struct test_key *k, enum srtp_suite suite)
{
    return (sv){(const char *)k->octets, srtp_suite_info(suite)->key};
}
static inline sv salt_of(const struct test_key *k, enum srtp_suite suite)
{
    return (sv){(const char *)k->octets + srtp_suite_info(suite)->key,
                srtp_suite_info(suite)->salt};
}

/* A sender and its receiver. */
struct ends {
    struct srtp_engine *engine;
    struct srtp_context tx, rx;
    enum srtp_suite suite;
};
static inline struct ends ends_new(enum srtp_suite suite, uint64_t seed)
{
    struct ends e = {.suite = suite};
    struct test_key k = test_key(seed);
    assert_int_equal(srtp_engine_new(&e.engine), ERR_OK);
    assert_int_equal(srtp_context_init(&e.tx, e.engine, SRTP_SENDER, suite, key_of(&k, suite),
                                       salt_of(&k, suite)),
                     ERR_OK);
    assert_int_equal(srtp_context_init(&e.rx, e.engine, SRTP_RECEIVER, suite, key_of(&k, suite),
                                       salt_of(&k, suite)),
                     ERR_OK);
    return e;
}
static inline void ends_done(struct ends *e)
{
    srtp_context_done(&e->tx);
    srtp_context_done(&e->rx);
    srtp_engine_free(e->engine);
}

#endif
