/* SPDX-License-Identifier: MIT */
/* Integrity and keys: the vectors of RFC 5769 and RFC 8489 Appendix B, every wrong octet, what may be cut, nonces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crypto/crypto.h"
#include "stunmsg/stunmsg.h"

#define OCTETS(lit) ((sv){"" lit, sizeof(lit) - 1})
#define COOKIE      "\x21\x12\xa4\x42"
#define ID          "\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae"
#define ID_LONG     "\x78\xad\x34\x33\xc6\xad\x72\xc0\x29\xda\x41\x2e"
#define MATRIX      "\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf\xe3\x82\xb9"

static const sv password = {"VOkJxbRl1RmTxUk/WvJxBt", 22};
/* RFC 5769 §2.1, §2.2, §2.3 */
static const sv short_term[] = {
    OCTETS("\x00\x01\x00\x58" COOKIE ID "\x80\x22\x00\x10STUN test client"
           "\x00\x24\x00\x04\x6e\x00\x01\xff"
           "\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36"
           "\x00\x06\x00\x09\x65\x76\x74\x6a\x3a\x68\x36\x76\x59\x20\x20\x20"
           "\x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49"
           "\xc1\xb5\x71\xa2"
           "\x80\x28\x00\x04\xe5\x7a\x3b\xcf"),
    OCTETS("\x01\x01\x00\x3c" COOKIE ID "\x80\x22\x00\x0btest vector "
           "\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43"
           "\x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53"
           "\xf0\x6b\xe7\xd7"
           "\x80\x28\x00\x04\xc0\x7d\x4c\x96"),
    OCTETS("\x01\x01\x00\x48" COOKIE ID "\x80\x22\x00\x0btest vector "
           "\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5"
           "\xbe\xd2\xb9\xd9"
           "\x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75"
           "\xbf\xe3\xed\x41"
           "\x80\x28\x00\x04\xc8\xfb\x0b\x4c"),
};
/* RFC 5769 §2.4 */
static const sv long_term =
    OCTETS("\x00\x01\x00\x60" COOKIE ID_LONG "\x00\x06\x00\x12" MATRIX "\x00\x00"
           "\x00\x15\x00\x1c\x66\x2f\x2f\x34\x39\x39\x6b\x39\x35\x34\x64\x36\x4f\x4c\x33\x34"
           "\x6f\x4c\x39\x46\x53\x54\x76\x79\x36\x34\x73\x41"
           "\x00\x14\x00\x0b\x65\x78\x61\x6d\x70\x6c\x65\x2e\x6f\x72\x67\x00"
           "\x00\x08\x00\x14\xf6\x70\x24\x65\x6d\xd6\x4a\x3e\x02\xb8\xe0\x71\x2e\x85\xc9\xa2"
           "\x8c\xa8\x96\x66");
/* RFC 8489 §B.1 */
static const sv long_term256 =
    OCTETS("\x00\x01\x00\x9c" COOKIE ID_LONG "\x00\x1e\x00\x20"
           "\x4a\x3c\xf3\x8f\xef\x69\x92\xbd\xa9\x52\xc6\x78\x04\x17\xda\x0f"
           "\x24\x81\x94\x15\x56\x9e\x60\xb2\x05\xc4\x6e\x41\x40\x7f\x17\x04"
           "\x00\x15\x00\x29obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA\0\0\0"
           "\x00\x14\x00\x0b"
           "example.org\0"
           "\x00\x1c\x00\x20"
           "\xe4\x68\x6c\x8f\x0e\xde\xb5\x90\x13\xe0\x70\x90\x01\x0a\x93\xef"
           "\xcc\xbc\xcc\x54\x4c\x0a\x45\xd9\xf8\x30\xaa\x6d\x6f\x73\x5a\x01");

static struct stunmsg msg;
static char mem[4096];
static struct buf b;

static int setup(void **state)
{
    (void)state;
    buf_init(&b, mem, sizeof mem);
    return crypto_start();
}

static struct stun_out begin(void)
{
    buf_reset(&b);
    return stunmsg_begin(&b, STUN_BINDING, STUN_REQUEST, (const uint8_t *)ID);
}

static void parse_printed(void)
{
    assert_int_equal(b.rc, ERR_OK);
    assert_int_equal(stunmsg_parse(buf_sv(&b), &msg), ERR_OK);
}

/* ---- vectors ---- */

static void the_samples_verify(void **state)
{
    uint8_t key[STUN_KEY_MAX];
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(stunmsg_parse(short_term[i], &msg), ERR_OK);
        assert_int_equal(stunmsg_integrity(&msg), STUN_SHA1);
        assert_int_equal(stunmsg_verify(&msg, password, 32), ERR_OK);
        assert_int_equal(stunmsg_verify(&msg, sv_sub(password, 0, 21), 32), ERR_AUTH);
    }
    assert_int_equal(stunmsg_parse(long_term, &msg), ERR_OK);
    size_t n = stun_key(STUN_ALGORITHM_MD5, SV(MATRIX), SV("example.org"), SV("TheMatrIX"), key);
    assert_int_equal(n, 16);
    assert_int_equal(stunmsg_verify(&msg, (sv){(const char *)key, n}, 32), ERR_OK);
    key[15] ^= 1;
    assert_int_equal(stunmsg_verify(&msg, (sv){(const char *)key, n}, 32), ERR_AUTH);
}

/* The RFC prints 20 octets less than the header of this sample says, and the MAC is of the header as printed. So it
 * is no message, but its hash, its key (of SHA-256, though no algorithm is named) and its MAC can be held against ours. */
static void the_sample_of_rfc_8489(void **state)
{
    uint8_t key[STUN_KEY_MAX], hash[STUN_USERHASH_LEN], mac[SHA256_LEN];
    (void)state;
    assert_int_equal(stunmsg_parse(long_term256, &msg), ERR_SYNTAX);
    stun_userhash(SV(MATRIX), SV("example.org"), hash);
    assert_memory_equal(long_term256.p + 24, hash, sizeof hash);
    size_t n = stun_key(STUN_ALGORITHM_SHA256, SV(MATRIX), SV("example.org"), SV("TheMatrIX"), key);
    sv covered = sv_sub(long_term256, 0, long_term256.n - 36);
    crypto_hmac_sha256((sv){(const char *)key, n}, &covered, 1, mac);
    assert_memory_equal(long_term256.p + long_term256.n - 32, mac, sizeof mac);

    /* with the length that it has, by our printer */
    struct stun_out o = stunmsg_begin(&b, STUN_BINDING, STUN_REQUEST, (const uint8_t *)"" ID_LONG);
    stunmsg_put(&o, STUN_USERHASH, (sv){(const char *)hash, sizeof hash});
    stunmsg_put(&o, STUN_NONCE, SV("obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA"));
    stunmsg_put(&o, STUN_REALM, SV("example.org"));
    assert_true(sv_eq(sv_sub(buf_sv(&b), 4, b.n), sv_sub(covered, 4, covered.n)));
    stunmsg_put_integrity(&o, STUN_SHA256, (sv){(const char *)key, n});
    parse_printed();
    assert_int_equal(stunmsg_integrity(&msg), STUN_SHA256);
    assert_int_equal(stunmsg_verify(&msg, (sv){(const char *)key, n}, 32), ERR_OK);
    char adjusted[256];
    memcpy(adjusted, covered.p, covered.n);
    adjusted[3] = (char)0x88;
    crypto_hmac_sha256((sv){(const char *)key, n}, &(sv){adjusted, covered.n}, 1, mac);
    assert_memory_equal(b.p + b.n - 32, mac, sizeof mac);
}

/* Ours are theirs, octet by octet. */
static void the_samples_are_signed(void **state)
{
    uint8_t key[STUN_KEY_MAX];
    (void)state;
    size_t n = stun_key(STUN_ALGORITHM_MD5, SV(MATRIX), SV("example.org"), SV("TheMatrIX"), key);
    struct stun_out o = stunmsg_begin(&b, STUN_BINDING, STUN_REQUEST, (const uint8_t *)"" ID_LONG);
    stunmsg_put(&o, STUN_USERNAME, SV(MATRIX));
    stunmsg_put(&o, STUN_NONCE, SV("f//499k954d6OL34oL9FSTvy64sA"));
    stunmsg_put(&o, STUN_REALM, SV("example.org"));
    stunmsg_put_integrity(&o, STUN_SHA1, (sv){(const char *)key, n});
    assert_true(sv_eq(buf_sv(&b), long_term));

    /* with a FINGERPRINT behind it, which the length that was signed does not count */
    o = begin();
    stunmsg_put(&o, STUN_SOFTWARE, SV("STUN test client"));
    stunmsg_put_u32(&o, STUN_PRIORITY, 0x6e0001ff);
    stunmsg_put_u64(&o, STUN_ICE_CONTROLLED, 0x932ff9b151263b36);
    stunmsg_put(&o, STUN_USERNAME, SV("evtj:h6vY"));
    memset(mem + b.n - 3, ' ', 3); /* theirs */
    stunmsg_put_integrity(&o, STUN_SHA1, password);
    stunmsg_put_fingerprint(&o);
    assert_true(sv_eq(buf_sv(&b), short_term[0]));
}

static void keys_are_hashes_of_user_realm_password(void **state)
{
    static const uint8_t want[] = {0x84, 0x93, 0xfb, 0xc5, 0x3b, 0xa5, 0x82, 0xfb,
                                   0x4c, 0x04, 0x4c, 0x45, 0x6b, 0xdc, 0x40, 0xeb};
    uint8_t key[STUN_KEY_MAX], want256[SHA256_LEN];
    (void)state;
    /* RFC 8489 §9.2.2 */
    assert_int_equal(stun_key(STUN_ALGORITHM_MD5, SV("user"), SV("realm"), SV("pass"), key), 16);
    assert_memory_equal(key, want, 16);
    stun_key(STUN_ALGORITHM_MD5, SV("\"user\"\0\0"), SV("\"realm\""), SV("pass\0"), key);
    assert_memory_equal(key, want, 16);
    sv whole = SV("user:realm:pass");
    crypto_sha256(&whole, 1, want256);
    assert_int_equal(stun_key(STUN_ALGORITHM_SHA256, SV("user"), SV("realm"), SV("pass"), key), 32);
    assert_memory_equal(key, want256, 32);
    stun_key(STUN_ALGORITHM_SHA256, SV("\""), SV("realm"), SV("pass"), key); /* one is no pair */
    whole = SV("\":realm:pass");
    crypto_sha256(&whole, 1, want256);
    assert_memory_equal(key, want256, 32);
}

/* ---- what breaks it ---- */

/* Both kinds: each octet up to the one that counts is covered, but for the length, which is given by where it
 * stands. */
static void every_wrong_octet_breaks_the_integrity(void **state)
{
    char copy[256];
    (void)state;
    for (int which = STUN_SHA1; which <= STUN_SHA256; which++) {
        struct stun_out o = begin();
        stunmsg_put(&o, STUN_USERNAME, SV("a:b"));
        stunmsg_put_u32(&o, STUN_PRIORITY, 1);
        stunmsg_put_integrity(&o, (enum stun_integrity)which, SV("key"));
        parse_printed();
        assert_int_equal(stunmsg_verify(&msg, SV("key"), 32), ERR_OK);
        for (size_t i = 0; i < b.n; i++) {
            memcpy(copy, b.p, b.n);
            copy[i] ^= 0x01;
            if (stunmsg_parse((sv){copy, b.n}, &msg) == ERR_OK)
                assert_int_not_equal(stunmsg_verify(&msg, SV("key"), 32), ERR_OK);
            else
                assert_true(i < 8 || (i >= 20 && i < 44)); /* cookie, length, borders */
        }
    }
}

static void both_may_stand_there_and_the_stronger_counts(void **state)
{
    (void)state;
    struct stun_out o = begin();
    stunmsg_put_integrity(&o, STUN_SHA1, SV("one"));
    stunmsg_put_integrity(&o, STUN_SHA256, SV("two"));
    stunmsg_put_fingerprint(&o);
    parse_printed();
    assert_int_equal(stunmsg_integrity(&msg), STUN_SHA256);
    assert_int_equal(stunmsg_verify(&msg, SV("two"), 32), ERR_OK);
    assert_int_equal(stunmsg_verify(&msg, SV("one"), 32), ERR_AUTH);
    /* without it the first holds by itself: its length field did not count the second */
    o = begin();
    stunmsg_put_integrity(&o, STUN_SHA1, SV("one"));
    stunmsg_put(&o, STUN_SOFTWARE, SV("does not count"));
    parse_printed();
    assert_int_equal(stunmsg_verify(&msg, SV("one"), 32), ERR_OK);
    assert_false(stunmsg_has(&msg, STUN_SOFTWARE));

    o = begin();
    stunmsg_put_integrity(&o, STUN_UNSIGNED, SV("key"));
    assert_int_equal(b.n, STUN_HEADER);
    parse_printed();
    assert_int_equal(stunmsg_verify(&msg, SV("key"), 32), ERR_NOTFOUND);
}

/* §14.6: the value is cut, and the length that was signed is of what is left. */
static void sha256_may_be_cut_where_the_usage_says_so(void **state)
{
    static const struct {
        size_t n, min;
        enum err rc;
    } row[] = {
        {32, 32, ERR_OK},     {28, 32, ERR_SYNTAX}, {28, 16, ERR_OK},     {16, 16, ERR_OK},
        {16, 20, ERR_SYNTAX}, {12, 16, ERR_SYNTAX}, {12, 0, ERR_SYNTAX},  {0, 0, ERR_SYNTAX},
        {18, 16, ERR_SYNTAX}, {36, 16, ERR_SYNTAX}, {36, 32, ERR_SYNTAX}, {20, 16, ERR_OK},
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        char mac[36] = {0};
        struct stun_out o = begin();
        stunmsg_put(&o, STUN_USERNAME, SV("abcd"));
        const char length[] = {0, (char)(8 + 4 + row[i].n)};
        const sv pieces[] = {{mem, 2}, {length, 2}, {mem + 4, b.n - 4}};
        crypto_hmac_sha256(SV("key"), pieces, 3, (uint8_t *)mac);
        stunmsg_put(&o, STUN_MESSAGE_INTEGRITY_SHA256, (sv){mac, row[i].n});
        parse_printed();
        assert_int_equal(stunmsg_verify(&msg, SV("key"), row[i].min), row[i].rc);
    }
    struct stun_out o = begin();
    stunmsg_put(&o, STUN_MESSAGE_INTEGRITY, SV("0123456789012345678"));
    parse_printed();
    assert_int_equal(stunmsg_verify(&msg, SV("key"), 16), ERR_SYNTAX);
}

/* ---- what goes with long-term credentials ---- */

static void algorithms_are_listed(void **state)
{
    static const uint16_t both[] = {STUN_ALGORITHM_SHA256, STUN_ALGORITHM_MD5};
    struct stun_attr a;
    uint16_t number;
    sv list, parameters;
    (void)state;
    struct stun_out o = begin();
    stunmsg_put_algorithms(&o, STUN_PASSWORD_ALGORITHMS, both, 2);
    parse_printed();
    assert_true(stunmsg_find(&msg, STUN_PASSWORD_ALGORITHMS, &a));
    list = a.value;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(stunmsg_algorithm_next(&list, &number, &parameters), ERR_OK);
        assert_int_equal(number, both[i]);
        assert_int_equal(parameters.n, 0);
    }
    assert_int_equal(stunmsg_algorithm_next(&list, &number, &parameters), ERR_NOTFOUND);
    list = OCTETS("\x00\x07\x00\x02xy  \x00\x01\x00\x01z");
    assert_int_equal(stunmsg_algorithm_next(&list, &number, &parameters), ERR_OK);
    assert_int_equal(number, 7);
    assert_true(sv_eq(parameters, SV("xy")));
    assert_int_equal(stunmsg_algorithm_next(&list, &number, &parameters), ERR_OK);
    assert_true(sv_eq(parameters, SV("z")));
    assert_int_equal(stunmsg_algorithm_next(&list, &number, &parameters), ERR_NOTFOUND);
    list = OCTETS("\x00\x01\x00");
    assert_int_equal(stunmsg_algorithm_next(&list, &number, &parameters), ERR_SYNTAX);
    list = OCTETS("\x00\x01\x00\x02x");
    assert_int_equal(stunmsg_algorithm_next(&list, &number, &parameters), ERR_SYNTAX);
}

static void nonces_begin_with_what_the_server_can(void **state)
{
    static const struct {
        uint32_t features;
        const char *text;
    } row[] = {
        {0, "obMatJos2AAAA"},
        {STUN_PASSWORD_ALGORITHMS_BIT, "obMatJos2gAAA"}, /* as in RFC 8656 §20 */
        {STUN_USERNAME_ANONYMITY_BIT, "obMatJos2QAAA"},
        {STUN_PASSWORD_ALGORITHMS_BIT | STUN_USERNAME_ANONYMITY_BIT, "obMatJos2wAAA"},
        {0xfffffe, "obMatJos2///+"},
    };
    static const sv none[] = {OCTETS(""), OCTETS("obMatJos2gAA"), OCTETS("obMatJos3gAAA"),
                              OCTETS("obMatJos2gA=A"), OCTETS("0bMatJos2gAAA")};
    uint32_t features;
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        buf_reset(&b);
        stun_put_nonce_cookie(&b, row[i].features);
        assert_true(sv_eq(buf_sv(&b), sv_of(row[i].text)));
        buf_str(&b, "adl7W7PeDU4hKE72jda");
        assert_true(stun_nonce_features(buf_sv(&b), &features));
        assert_int_equal(features, row[i].features);
    }
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_false(stun_nonce_features(none[i], &features));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_samples_verify, setup),
        cmocka_unit_test_setup(the_sample_of_rfc_8489, setup),
        cmocka_unit_test_setup(the_samples_are_signed, setup),
        cmocka_unit_test_setup(keys_are_hashes_of_user_realm_password, setup),
        cmocka_unit_test_setup(every_wrong_octet_breaks_the_integrity, setup),
        cmocka_unit_test_setup(both_may_stand_there_and_the_stronger_counts, setup),
        cmocka_unit_test_setup(sha256_may_be_cut_where_the_usage_says_so, setup),
        cmocka_unit_test_setup(algorithms_are_listed, setup),
        cmocka_unit_test_setup(nonces_begin_with_what_the_server_can, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
