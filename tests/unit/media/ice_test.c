/* SPDX-License-Identifier: MIT */
/* What all ICE agents share: credentials, priorities, foundations, candidates as text, checks proven or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "crypto/crypto.h"
#include "ice/ice.h"

static char mem[1024];
static struct buf b;

static int setup(void **state)
{
    (void)state;
    buf_init(&b, mem, sizeof mem);
    return crypto_start();
}

static struct addr at(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(sv_of(text), &a), ERR_OK);
    return a;
}

/* ---- credentials ---- */

static void secrets_are_of_their_seed(void **state)
{
    uint8_t seed[ICE_SEED];
    struct ice_secret s, t;
    (void)state;
    for (size_t i = 0; i < sizeof seed; i++)
        seed[i] = (uint8_t)(i * 11 + 200);
    ice_secret_make(seed, &s);
    assert_true(ice_credentials_hold(ice_ufrag(&s), ice_pwd(&s)));
    for (size_t i = 0; i < sizeof seed; i++) { /* each octet of it counts */
        seed[i] ^= 1;
        ice_secret_make(seed, &t);
        assert_memory_not_equal(&s, &t, sizeof s);
        seed[i] ^= 1;
    }
    ice_secret_wipe(&s);
    assert_int_equal(s.pwd[3], 0);
}

static void credentials_have_their_grammar(void **state)
{
    char much[300];
    (void)state;
    memset(much, 'a', sizeof much);
    sv pwd = {much, 22};
    assert_true(ice_credentials_hold(SV("a+/9"), pwd));
    assert_false(ice_credentials_hold(SV("abc"), pwd));
    assert_false(ice_credentials_hold(SV("ab:d"), pwd));
    assert_false(ice_credentials_hold(SV("abcd"), (sv){much, 21}));
    assert_true(ice_credentials_hold((sv){much, 256}, (sv){much, 256}));
    assert_false(ice_credentials_hold((sv){much, 257}, pwd));
    assert_false(ice_credentials_hold(SV("abcd"), (sv){much, 257}));
    assert_false(ice_credentials_hold(SV("abcd"), SV("0123456789012345678901 ")));
}

/* ---- candidates ---- */

static void priorities_follow_the_formula(void **state)
{
    (void)state;
    assert_int_equal(ice_priority(ICE_HOST, 65535, 1), 2130706431u); /* RFC 8839's examples */
    assert_int_equal(ice_priority(ICE_SRFLX, 65535, 1), 1694498815u);
    assert_int_equal(ice_priority(ICE_PRFLX, 65535, 2), (110u << 24) + (65535u << 8) + 254);
    assert_int_equal(ice_priority(ICE_RELAY, 0, 1), 255);
    assert_true(ice_pair_priority(5, 3) == (3ull << 32) + 10 + 1);
    assert_true(ice_pair_priority(3, 5) == (3ull << 32) + 10);
    assert_true(ice_pair_priority(4, 4) == (4ull << 32) + 8);
    assert_true(ice_pair_priority(0x7fffffff, 0x7fffffff) == (0x7fffffffull << 32) + 0xfffffffe);
}

static void both_families_come_in_turn(void **state)
{
    struct addr a[8];
    uint16_t p[8];
    (void)state;
    for (size_t i = 0; i < 8; i++) /* RFC 8421 §4: two of IPv4 and six of IPv6 */
        a[i] = i < 2 ? at("192.0.2.1:1") : at("[2001:db8::1]:1");
    ice_local_preferences(a, 8, p);
    static const uint16_t want[] = {4, 6, 0, 1, 2, 3, 5, 7};
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(p[i], 65535 - want[i]);
    ice_local_preferences(a, 1, p);
    assert_int_equal(p[0], 65535);
    ice_local_preferences(a + 2, 3, p);
    assert_int_equal(p[2], 65533);
    for (size_t n4 = 0; n4 <= 8; n4++) { /* unique, whatever there is of each */
        for (size_t i = 0; i < 8; i++)
            a[i] = i < n4 ? at("192.0.2.1:1") : at("[2001:db8::1]:1");
        ice_local_preferences(a, 8, p);
        for (size_t i = 0; i < 8; i++)
            for (size_t k = 0; k < i; k++)
                assert_int_not_equal(p[i], p[k]);
    }
}

static void foundations_tell_what_is_alike(void **state)
{
    struct addr stun = at("192.0.2.9:3478"), turn = at("192.0.2.10:3478");
    struct ice_candidate c = {.type = ICE_HOST, .base = at("10.0.0.1:1000")}, d = c;
    (void)state;
    ice_foundation(&c, NULL);
    d.base.port = 1001; /* the port does not count */
    ice_foundation(&d, NULL);
    assert_int_equal(c.foundation_n, d.foundation_n);
    assert_memory_equal(c.foundation, d.foundation, c.foundation_n);
    struct ice_candidate others[] = {c, c, c, c};
    others[0].base = at("10.0.0.2:1000");
    ice_foundation(&others[0], NULL);
    others[1].type = ICE_SRFLX;
    ice_foundation(&others[1], &stun);
    others[2].type = ICE_SRFLX;
    ice_foundation(&others[2], &turn);
    others[3].type = ICE_RELAY;
    ice_foundation(&others[3], &turn);
    for (size_t i = 0; i < 4; i++) {
        sv f = {others[i].foundation, others[i].foundation_n};
        assert_false(sv_eq(f, (sv){c.foundation, c.foundation_n}));
        for (size_t k = 0; k < i; k++)
            assert_false(sv_eq(f, (sv){others[k].foundation, others[k].foundation_n}));
    }
}

static bool read_line(const char *line, struct ice_candidate *ret)
{
    struct sdp_candidate sdp;
    assert_int_equal(sdp_candidate_read(sv_of(line), &sdp), ERR_OK);
    return ice_candidate_read(&sdp, ret);
}

static void candidates_go_through_sdp(void **state)
{
    static const char *const line[] = {
        "1 1 UDP 2130706431 10.0.1.1 8998 typ host",
        "2 2 UDP 1694498814 192.0.2.3 45664 typ srflx raddr 10.0.1.1 rport 8998",
        "abc+/9 1 UDP 255 2001:db8::1 1 typ relay raddr 2001:db8::2 rport 9",
    };
    struct ice_candidate c;
    (void)state;
    for (size_t i = 0; i < sizeof line / sizeof line[0]; i++) {
        assert_true(read_line(line[i], &c));
        if (i == 1)
            c.base = at("10.0.1.1:8998");
        if (i == 2)
            c.base = at("[2001:db8::2]:9");
        buf_reset(&b);
        ice_candidate_put(&b, &c);
        assert_true(sv_eq(buf_sv(&b), sv_of(line[i])));
    }
    assert_true(read_line("1 1 udp 1 ::ffff:192.0.2.1 9 typ host", &c));
    assert_int_equal(c.addr.family, 4);
}

static void what_nobody_reaches_is_no_candidate(void **state)
{
    static const char *const line[] = {
        "1 1 TCP 1 10.0.1.1 9 typ host tcptype active",
        "1 3 UDP 1 10.0.1.1 9 typ host",
        "1 1 UDP 1 phone.local 9 typ host",
        "1 1 UDP 1 10.0.1.1 0 typ host",
        "1 1 UDP 1 10.0.1.1 9 typ else",
        "1 1 UDP 1 0.0.0.0 9 typ host",
        "1 1 UDP 1 :: 9 typ host",
        "1 1 UDP 1 224.0.0.1 9 typ host",
        "1 1 UDP 1 255.255.255.255 9 typ host",
        "1 1 UDP 1 ff02::1 9 typ host",
    };
    struct ice_candidate c;
    (void)state;
    for (size_t i = 0; i < sizeof line / sizeof line[0]; i++)
        assert_false(read_line(line[i], &c));
}

/* ---- checks ---- */

static const struct ice_secret ours = {"ourufrag", "our password of 24 octet"};

static struct stun_out request(const char *username)
{
    buf_reset(&b);
    struct stun_out o =
        stunmsg_begin(&b, STUN_BINDING, STUN_REQUEST, (const uint8_t *)"transaction.");
    if (username)
        stunmsg_put(&o, STUN_USERNAME, sv_of(username));
    return o;
}

static unsigned code_of(const struct stun_out *o, bool fingerprint)
{
    struct ice_check c;
    if (fingerprint)
        stunmsg_put_fingerprint(o);
    return ice_check_read(buf_sv(&b), &ours, &c) ? c.code : 1;
}

static void checks_are_proven(void **state)
{
    struct ice_check c;
    struct stun_out o;
    (void)state;
    for (int which = STUN_SHA1; which <= STUN_SHA256; which++) {
        o = request("ourufrag:theirs");
        stunmsg_put_u32(&o, STUN_PRIORITY, 77);
        stunmsg_put_flag(&o, STUN_USE_CANDIDATE);
        stunmsg_put_u64(&o, STUN_ICE_CONTROLLING, 99);
        stunmsg_put_integrity(&o, (enum stun_integrity)which, ice_pwd(&ours));
        stunmsg_put_fingerprint(&o);
        assert_true(ice_check_read(buf_sv(&b), &ours, &c));
        assert_int_equal(c.code, 0);
        assert_true(sv_eq(c.theirs, SV("theirs")));
        assert_true(c.use_candidate && c.has_priority);
        assert_int_equal(c.priority, 77);
        assert_int_equal(c.role, ICE_CONTROLLING);
        assert_int_equal(c.tiebreaker, 99);
        /* the answer is proven the same way, by the same password (RFC 8489 §9.1.3) */
        char answer_mem[256];
        struct buf answer;
        struct stunmsg m;
        struct addr from = at("192.0.2.7:7"), mapped;
        buf_init(&answer, answer_mem, sizeof answer_mem);
        ice_check_answer(&answer, &c, &from, &ours);
        assert_int_equal(stunmsg_parse(buf_sv(&answer), &m), ERR_OK);
        assert_int_equal(m.class, STUN_SUCCESS);
        assert_true(m.fingerprint);
        assert_int_equal(stunmsg_integrity(&m), which);
        assert_int_equal(stunmsg_verify(&m, ice_pwd(&ours), 32), ERR_OK);
        assert_int_equal(stun_xor_addr_of(&m, STUN_XOR_MAPPED_ADDRESS, &mapped), ERR_OK);
        assert_true(addr_equal(&mapped, &from));
        assert_true(answer.n <= b.n);
    }
    o = request("ourufrag:theirs"); /* consent needs no more (RFC 7675) */
    stunmsg_put_integrity(&o, STUN_SHA1, ice_pwd(&ours));
    assert_int_equal(code_of(&o, true), 0);
}

static void what_is_not_proven_says_why(void **state)
{
    static const char *const username[] = {
        "ourufrag",  "ourufraG:theirs", ":theirs", "ourufrag.theirs",
        "ourufra:g", "theirs:ourufrag", ""};
    struct stun_out o;
    (void)state;
    for (size_t i = 0; i < sizeof username / sizeof username[0]; i++) {
        o = request(username[i]);
        stunmsg_put_integrity(&o, STUN_SHA1, ice_pwd(&ours));
        assert_int_equal(code_of(&o, true), 401);
    }
    o = request("ourufrag:theirs");
    stunmsg_put_integrity(&o, STUN_SHA1, SV("another password"));
    assert_int_equal(code_of(&o, true), 401);
    o = request("ourufrag:theirs"); /* cut: not allowed here */
    stunmsg_put_integrity(&o, STUN_SHA256, ice_pwd(&ours));
    mem[b.n - 33] = 28;
    b.n -= 4;
    mem[3] = (char)(b.n - 20);
    assert_int_equal(code_of(&o, true), 401);
    o = request("ourufrag:theirs");
    assert_int_equal(code_of(&o, true), 400);
    o = request(NULL);
    stunmsg_put_integrity(&o, STUN_SHA1, ice_pwd(&ours));
    assert_int_equal(code_of(&o, true), 400);
    o = request("ourufrag:theirs");
    stunmsg_put_integrity(&o, STUN_SHA1, ice_pwd(&ours));
    assert_int_equal(code_of(&o, false), 1); /* no FINGERPRINT: ignored */
    o = request("ourufrag:theirs");
    stunmsg_put_u32(&o, STUN_LIFETIME, 1); /* TURN's */
    stunmsg_put_integrity(&o, STUN_SHA1, ice_pwd(&ours));
    assert_int_equal(code_of(&o, true), 420);
    o = request("ourufrag:theirs");
    stunmsg_put(&o, STUN_PRIORITY, SV("abc"));
    stunmsg_put_integrity(&o, STUN_SHA1, ice_pwd(&ours));
    assert_int_equal(code_of(&o, true), 400);
}

/* What has no proof is answered without one, and with less than it held. */
static void refusals_are_small(void **state)
{
    char answer_mem[256];
    struct buf answer;
    struct ice_check c;
    struct stunmsg m;
    struct stun_attr a;
    struct addr from = at("[2001:db8::7]:7");
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct stun_out o = request("ourufrag:theirs");
        if (i == 1)
            stunmsg_put_integrity(&o, STUN_SHA1, SV("wrong"));
        if (i == 2) {
            stunmsg_put(&o, 0x7000, SV(""));
            stunmsg_put_integrity(&o, STUN_SHA256, ice_pwd(&ours));
        }
        stunmsg_put_fingerprint(&o);
        assert_true(ice_check_read(buf_sv(&b), &ours, &c));
        buf_init(&answer, answer_mem, sizeof answer_mem);
        ice_check_answer(&answer, &c, &from, &ours);
        assert_int_equal(stunmsg_parse(buf_sv(&answer), &m), ERR_OK);
        assert_int_equal(m.class, STUN_ERROR);
        assert_int_equal(stunmsg_integrity(&m), i == 2 ? STUN_SHA256 : STUN_UNSIGNED);
        assert_true(answer.n <= b.n);
        assert_int_equal(stunmsg_find(&m, STUN_UNKNOWN_ATTRIBUTES, &a), i == 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(secrets_are_of_their_seed, setup),
        cmocka_unit_test_setup(credentials_have_their_grammar, setup),
        cmocka_unit_test_setup(priorities_follow_the_formula, setup),
        cmocka_unit_test_setup(both_families_come_in_turn, setup),
        cmocka_unit_test_setup(foundations_tell_what_is_alike, setup),
        cmocka_unit_test_setup(candidates_go_through_sdp, setup),
        cmocka_unit_test_setup(what_nobody_reaches_is_no_candidate, setup),
        cmocka_unit_test_setup(checks_are_proven, setup),
        cmocka_unit_test_setup(what_is_not_proven_says_why, setup),
        cmocka_unit_test_setup(refusals_are_small, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
