/* SPDX-License-Identifier: MIT */
/* srtp_peer_test.c: beside libsrtp2: what either protects both take, and both refuse the same.
 *
 * Where the two differ by choice it is left out of the courses, and shown apart:
 *   - libsrtp2 takes no first packet of an SSRC whose sequence number has wrapped before;
 *   - it protects what comes before the first packet as a round later;
 *   - its first SRTCP index is 1, ours is 0, as RFC 3711 §3.4 says;
 *   - with new keys it forgets which indices it has seen, takes nothing with those before, and nobody who begins
 *     anew. */
#include "srtp_ends.h"
#undef SRTP_SRTP_H /* theirs has this guard too */
#include <srtp2/srtp.h>

#define EACH_SUITE(suite) for (enum srtp_suite suite = 0; suite < SRTP_SUITES; suite++)

typedef void (*policy_fn)(srtp_crypto_policy_t *);
static const policy_fn rtp_policy[SRTP_SUITES] = {
    [SRTP_AES_CM_128_HMAC_SHA1_80] = srtp_crypto_policy_set_rtp_default,
    [SRTP_AES_CM_128_HMAC_SHA1_32] = srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32,
    [SRTP_AES_256_CM_HMAC_SHA1_80] = srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80,
    [SRTP_AES_256_CM_HMAC_SHA1_32] = srtp_crypto_policy_set_aes_cm_256_hmac_sha1_32,
    [SRTP_AEAD_AES_128_GCM] = srtp_crypto_policy_set_aes_gcm_128_16_auth,
    [SRTP_AEAD_AES_256_GCM] = srtp_crypto_policy_set_aes_gcm_256_16_auth,
};
static const policy_fn rtcp_policy[SRTP_SUITES] = {
    [SRTP_AES_CM_128_HMAC_SHA1_80] = srtp_crypto_policy_set_rtcp_default,
    [SRTP_AES_CM_128_HMAC_SHA1_32] = srtp_crypto_policy_set_rtcp_default,
    [SRTP_AES_256_CM_HMAC_SHA1_80] = srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80,
    [SRTP_AES_256_CM_HMAC_SHA1_32] = srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80,
    [SRTP_AEAD_AES_128_GCM] = srtp_crypto_policy_set_aes_gcm_128_16_auth,
    [SRTP_AEAD_AES_256_GCM] = srtp_crypto_policy_set_aes_gcm_256_16_auth,
};

static srtp_policy_t peer_policy(enum srtp_suite suite, enum srtp_role role, struct test_key *k)
{
    srtp_policy_t p = {.window_size = SRTP_WINDOW, .key = k->octets};
    p.ssrc.type = role == SRTP_SENDER ? ssrc_any_outbound : ssrc_any_inbound;
    rtp_policy[suite](&p.rtp);
    rtcp_policy[suite](&p.rtcp);
    return p;
}

/* Ours and theirs, with the same keys. */
struct both {
    struct ends ours;
    srtp_t tx, rx;
};

static struct both both_new(enum srtp_suite suite, uint64_t seed)
{
    struct both b = {.ours = ends_new(suite, seed)};
    struct test_key k = test_key(seed);
    srtp_policy_t tx = peer_policy(suite, SRTP_SENDER, &k),
                  rx = peer_policy(suite, SRTP_RECEIVER, &k);
    assert_int_equal(srtp_create(&b.tx, &tx), srtp_err_status_ok);
    assert_int_equal(srtp_create(&b.rx, &rx), srtp_err_status_ok);
    return b;
}

static void both_done(struct both *b)
{
    ends_done(&b->ours);
    srtp_dealloc(b->tx);
    srtp_dealloc(b->rx);
}

static void both_rekey(struct both *b, uint64_t seed)
{
    enum srtp_suite suite = b->ours.suite;
    struct test_key k = test_key(seed);
    srtp_policy_t tx = peer_policy(suite, SRTP_SENDER, &k),
                  rx = peer_policy(suite, SRTP_RECEIVER, &k);
    assert_int_equal(srtp_update(b->tx, &tx), srtp_err_status_ok);
    assert_int_equal(srtp_update(b->rx, &rx), srtp_err_status_ok);
    sv key = key_of(&k, suite), salt = salt_of(&k, suite);
    assert_int_equal(srtp_context_rekey(&b->ours.tx, suite, key, salt), ERR_OK);
    assert_int_equal(srtp_context_rekey(&b->ours.rx, suite, key, salt), ERR_OK);
}

/* A packet with the same octets of either sender, or none. */
struct wire {
    _Alignas(8) uint8_t p[PACKET];
    size_t n;
    bool rtcp;
};

static bool protect(struct both *b, struct wire *w)
{
    struct wire theirs = *w;
    int n = (int)w->n;
    enum err rc =
        (w->rtcp ? srtp_rtcp_protect : srtp_rtp_protect)(&b->ours.tx, w->p, &w->n, PACKET);
    srtp_err_status_t status = (w->rtcp ? srtp_protect_rtcp : srtp_protect)(b->tx, theirs.p, &n);
    assert_int_equal(rc == ERR_OK, status == srtp_err_status_ok);
    if (rc) {
        assert_int_equal(rc, ERR_EXISTS);
        assert_true(status == srtp_err_status_replay_fail || status == srtp_err_status_replay_old);
        return false;
    }
    assert_int_equal(w->n, n);
    assert_memory_equal(w->p, theirs.p, w->n);
    return true;
}

/* Both take it, with the same octets, or both refuse it; for the same reason, unless it is broken in several
 * ways at once. */
static enum err unprotect(struct both *b, struct wire w, bool broken)
{
    struct wire theirs = w;
    int n = (int)w.n;
    enum err rc = (w.rtcp ? srtp_rtcp_unprotect : srtp_rtp_unprotect)(&b->ours.rx, w.p, &w.n);
    srtp_err_status_t status = (w.rtcp ? srtp_unprotect_rtcp : srtp_unprotect)(b->rx, theirs.p, &n);
    assert_int_equal(rc == ERR_OK, status == srtp_err_status_ok);
    bool replayed = status == srtp_err_status_replay_fail || status == srtp_err_status_replay_old;
    assert_true(broken || (rc == ERR_EXISTS) == replayed);
    if (rc == ERR_OK) {
        assert_int_equal(w.n, n);
        assert_memory_equal(w.p, theirs.p, w.n);
    }
    return rc;
}

/* With CSRCs, an extension, padding, a marker, or without. */
static struct wire some_rtp(uint64_t *seed, uint32_t ssrc, uint16_t seq)
{
    struct wire w = {.n = 12};
    unsigned csrcs = chance(seed) % 3 ? 0 : chance(seed) % 16;
    some_octets(seed, w.p, sizeof w.p);
    w.p[0] = (uint8_t)(0x80 | csrcs);
    put16(w.p + 2, seq);
    put_u32(w.p + 8, ssrc);
    w.n += 4 * csrcs;
    if (chance(seed) % 3 == 0) {
        unsigned words = chance(seed) % 8;
        w.p[0] |= 0x10;
        put16(w.p + w.n + 2, words);
        w.n += 4 + 4 * words;
    }
    size_t payload = chance(seed) % 4 ? 160 : chance(seed) % 1400;
    if (chance(seed) % 5 == 0 && payload > 0) {
        w.p[0] |= 0x20;
        w.p[w.n + payload - 1] = (uint8_t)(1 + chance(seed) % payload);
    }
    w.n += payload;
    return w;
}

/* A compound of a report with blocks and a description, as the peer wants it in words. */
static struct wire some_rtcp(uint64_t *seed, uint32_t ssrc)
{
    struct wire w = {.rtcp = true};
    unsigned blocks = chance(seed) % 4;
    some_octets(seed, w.p, sizeof w.p);
    w.p[0] = (uint8_t)(0x80 | blocks);
    w.p[1] = chance(seed) % 2 ? 200 : 201;
    w.n = 8 + (w.p[1] == 200 ? 20 : 0) + 24 * blocks;
    put16(w.p + 2, (unsigned)w.n / 4 - 1);
    put_u32(w.p + 4, ssrc);
    if (chance(seed) % 2) {
        w.p[w.n] = 0x81;
        w.p[w.n + 1] = 202;
        put16(w.p + w.n + 2, 4);
        w.n += 20;
    }
    return w;
}

enum { SSRCS = 4, HELD = 200, TURNS = 6000 };

/* Packets of several SSRCs: lost, late, again, broken; with jumps, so that they wrap often. */
static void course(struct both *b, uint64_t seed, unsigned *kinds)
{
    static struct wire held[HELD];
    uint16_t seq[SSRCS] = {65530, 32760, 5, 50000};
    unsigned n_held = 0;
    for (uint32_t ssrc = 0; ssrc < SSRCS;
         ssrc++) { /* the first of each arrives; RTCP is at 1 then */
        uint8_t p[PACKET];
        size_t n = report(p, ssrc, 20);
        assert_int_equal(srtp_rtcp_protect(&b->ours.tx, p, &n, sizeof p), ERR_OK);
        struct wire w = some_rtp(&seed, ssrc, seq[ssrc]);
        assert_true(protect(b, &w));
        assert_int_equal(unprotect(b, w, false), ERR_OK);
    }
    for (unsigned i = 0; i < TURNS; i++) {
        if (i == TURNS / 2) {
            both_rekey(b, seed);
            n_held = 0;
            for (unsigned j = 0; j < SSRCS; j++)
                seq[j] = (uint16_t)(seq[j] + 200);
        }
        uint32_t ssrc = (uint32_t)(chance(&seed) % SSRCS);
        struct wire w;
        if (chance(&seed) % 6 == 0) {
            w = some_rtcp(&seed, ssrc);
        } else {
            seq[ssrc] =
                (uint16_t)(seq[ssrc] + 1 + (chance(&seed) % 30 ? 0 : chance(&seed) % 15000));
            uint16_t back = (uint16_t)(chance(&seed) % 8 ? 0 : chance(&seed) % 140);
            if (srtp_stream_find(&b->ours.tx, ssrc)->rtp.top < SRTP_WINDOW)
                back = 0;
            w = some_rtp(&seed, ssrc, (uint16_t)(seq[ssrc] - back));
        }
        if (!protect(b, &w)) {
            kinds[ERR_EXISTS]++;
            continue;
        }
        held[n_held < HELD ? n_held++ : chance(&seed) % HELD] = w;
        if (chance(&seed) % 20 == 0)
            continue; /* lost, or late */
        if (chance(&seed) % 5 == 0)
            w = held[chance(&seed) % n_held];
        bool flipped = chance(&seed) % 10 == 0, cut = chance(&seed) % 50 == 0;
        if (flipped)
            w.p[chance(&seed) % w.n] ^= (uint8_t)(1 << chance(&seed) % 8);
        if (cut)
            w.n = chance(&seed) % w.n;
        kinds[unprotect(b, w, flipped || cut)]++;
    }
}

static void either_takes_and_refuses_the_same(void **state)
{
    (void)state;
    EACH_SUITE(suite)
    for (uint64_t seed = 1; seed <= 5; seed++) {
        unsigned kinds[ERR_COUNT] = {0};
        struct both b = both_new(suite, seed);
        course(&b, seed * 7919, kinds);
        assert_true(kinds[ERR_OK] > TURNS / 2 && kinds[ERR_AUTH] > 100 && kinds[ERR_EXISTS] > 500);
        for (unsigned i = 0; i < SSRCS; i++) /* they have wrapped */
            assert_true((i ? b.ours.rx.more[i - 1] : b.ours.rx.first).rtp.top > 3 * 0x10000);
        both_done(&b);
    }
}

static void a_stream_that_wrapped_before_it_was_heard(void **state)
{
    (void)state;
    EACH_SUITE(suite)
    {
        struct both b = both_new(suite, 77);
        uint64_t seed = 77;
        struct wire first = some_rtp(&seed, 1, 65535), second = some_rtp(&seed, 1, 0), theirs;
        int n;
        assert_true(protect(&b, &first) && protect(&b, &second));
        theirs = second;
        n = (int)theirs.n;
        assert_int_equal(srtp_rtp_unprotect(&b.ours.rx, second.p, &second.n), ERR_OK);
        assert_int_equal(srtp_unprotect(b.rx, theirs.p, &n), srtp_err_status_auth_fail);
        both_done(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(either_takes_and_refuses_the_same),
        cmocka_unit_test(a_stream_that_wrapped_before_it_was_heard),
    };
    if (crypto_start() || srtp_init() != srtp_err_status_ok)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
