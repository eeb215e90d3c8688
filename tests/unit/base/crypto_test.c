/* SPDX-License-Identifier: MIT */
/* crypto_test.c: published vectors, and pieces against wholes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <pthread.h>
#include <cmocka.h>
#include "crypto/crypto.h"
#include "crypto/crypto_priv.h"
#define ERR_STATE openssl_err_state /* OpenSSL has a type of this name, we a value */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#undef ERR_STATE

static void expect_hex(const void *p, size_t n, const char *want)
{
    char mem[128];
    struct buf b;
    buf_init(&b, mem, sizeof mem);
    buf_hex(&b, p, n);
    buf_char(&b, 0);
    assert_string_equal(mem, want);
}

static void digests_give_the_published_values(void **state)
{
    (void)state;
    uint8_t d[SHA256_LEN];
    sv pieces[] = {SV("a"), SV_NONE, SV("b"), SV("c")};
    crypto_md5(pieces, 4, d); /* RFC 1321 §A.5 */
    expect_hex(d, MD5_LEN, "900150983cd24fb0d6963f7d28e17f72");
    crypto_md5(NULL, 0, d);
    expect_hex(d, MD5_LEN, "d41d8cd98f00b204e9800998ecf8427e");
    crypto_sha256(pieces, 4, d); /* FIPS 180-2 §B.1 */
    expect_hex(d, SHA256_LEN, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void digests_of_pieces_are_those_of_the_whole(void **state)
{
    (void)state;
    char text[1200];
    uint8_t want[SHA256_LEN], got[SHA256_LEN];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 31 + 7);
    sv whole = {text, sizeof text};
    crypto_sha256(&whole, 1, want);
    static const size_t step[] = {1, 7, 100, 128, 255, 256, 257, 300, 599};
    for (size_t k = 0; k < sizeof step / sizeof step[0]; k++) {
        sv pieces[1200];
        size_t n = 0;
        for (size_t at = 0; at < sizeof text; at += pieces[n++].n)
            pieces[n] = sv_sub(whole, at, at + (n % 2 ? 3 : step[k]));
        crypto_sha256(pieces, n, got);
        assert_memory_equal(got, want, sizeof want);
    }
}

static void hmac_gives_the_values_of_rfc_4231(void **state)
{
    (void)state;
    uint8_t d[SHA256_LEN];
    char key[131];
    memset(key, 0x0b, 20);
    crypto_hmac_sha256((sv){key, 20}, (sv[]){SV("Hi "), SV("There")}, 2, d); /* §4.2 */
    expect_hex(d, SHA256_LEN, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    crypto_hmac_sha256(SV("Jefe"), (sv[]){SV("what do ya want for nothing?")}, 1, d); /* §4.3 */
    expect_hex(d, SHA256_LEN, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, 131); /* §4.7: a key longer than a block */
    sv text = SV("Test Using Larger Than Block-Size Key - Hash Key First");
    crypto_hmac_sha256((sv){key, 131}, &text, 1, d);
    expect_hex(d, SHA256_LEN, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void siphash_gives_the_values_of_its_paper(void **state)
{
    (void)state;
    uint8_t key[SIPHASH_KEY], text[64];
    for (int i = 0; i < 64; i++)
        text[i] = (uint8_t)i;
    memcpy(key, text, sizeof key);
    /* Appendix A, and the first entries of the reference implementation's list */
    assert_true(crypto_siphash(key, text, 15) == 0xa129ca6149be45e5u);
    assert_true(crypto_siphash(key, text, 0) == 0x726fdb47dd0e0e31u);
    assert_true(crypto_siphash(key, text, 1) == 0x74f839c593dc67fdu);
    assert_true(crypto_siphash(key, text, 8) == 0x93f5f5799a932462u);
    for (size_t n = 1; n <= 64; n++) {
        uint64_t want = crypto_siphash(key, text, n);
        text[n - 1] ^= 0x80;
        assert_true(crypto_siphash(key, text, n) != want);
        text[n - 1] ^= 0x80;
    }
}

/* By OpenSSL, of octets in one run. */
static void siphash_elsewhere(const uint8_t key[static SIPHASH_KEY], const uint8_t *p, size_t n,
                              size_t size, unsigned c_rounds, unsigned d_rounds, uint64_t *ret_hash)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t("size", &size),
                           OSSL_PARAM_construct_uint("c-rounds", &c_rounds),
                           OSSL_PARAM_construct_uint("d-rounds", &d_rounds),
                           OSSL_PARAM_construct_end()};
    size_t got = 0;
    uint8_t out[16];
    assert_int_equal(EVP_MAC_init(ctx, key, SIPHASH_KEY, params), 1);
    assert_int_equal(EVP_MAC_update(ctx, p, n), 1);
    assert_int_equal(EVP_MAC_final(ctx, out, &got, sizeof out), 1);
    assert_int_equal(got, size);
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    for (size_t i = 0; i < size / 8; i++) {
        ret_hash[i] = 0;
        for (size_t k = 0; k < 8; k++)
            ret_hash[i] |= (uint64_t)out[8 * i + k] << (8 * k);
    }
}

/* One piece of a list: its length, its octets, zeros to the next word. */
static size_t put_piece(uint8_t *at, const uint8_t *p, size_t n)
{
    size_t whole = (n + 7) / 8 * 8;
    memset(at, 0, 8 + whole);
    at[0] = (uint8_t)n;
    if (n > 0)
        memcpy(at + 8, p, n);
    return 8 + whole;
}

static void siphash_of_lists_is_the_one_of_their_octets(void **state)
{
    (void)state;
    uint8_t key[SIPHASH_KEY], text[64], octets[192];
    uint64_t want[2], got[2];
    for (int i = 0; i < 64; i++)
        text[i] = (uint8_t)(i * 37 + 11);
    memcpy(key, text + 3, sizeof key);
    for (size_t n = 0; n <= 64; n++) {
        siphash_elsewhere(key, text, n, 8, 2, 4, want);
        assert_true(crypto_siphash(key, text, n) == want[0]);
        for (size_t cut = 0; cut <= n; cut++) {
            sv pieces[] = {{(char *)text, cut}, SV_NONE, {(char *)text + cut, n - cut}};
            size_t at = put_piece(octets, text, cut);
            at += put_piece(octets + at, NULL, 0);
            at += put_piece(octets + at, text + cut, n - cut);
            siphash_elsewhere(key, octets, at, 8, 2, 4, want);
            assert_true(crypto_siphash_list(key, pieces, 3) == want[0]);
            siphash_elsewhere(key, octets, at, 16, 2, 4, want);
            crypto_siphash128_list(key, pieces, 3, got);
            assert_memory_equal(got, want, sizeof want);
            siphash_elsewhere(key, octets, at, 16, 1, 3, want);
            crypto_siphash13_list(key, pieces, 3, got);
            assert_memory_equal(got, want, sizeof want);
        }
    }
    siphash_elsewhere(key, text, 0, 16, 2, 4, want);
    crypto_siphash128_list(key, NULL, 0, got);
    assert_memory_equal(got, want, sizeof want);
}

static uint32_t crc_by_bits(const uint8_t *p, size_t n)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static void crc32c_agrees_with_its_definition(void **state)
{
    (void)state;
    uint8_t p[64] = {0};
    assert_int_equal(crypto_crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(crypto_crc32c(0, p, 32), 0x8a9136aau); /* RFC 3720 §B.4 */
    for (int i = 0; i < 64; i++)
        p[i] = (uint8_t)(i * 37 + 11);
    for (size_t from = 0; from < 8; from++)
        for (size_t n = 0; from + n <= 64; n++) {
            uint32_t want = crc_by_bits(p + from, n);
            assert_int_equal(crypto_crc32c(0, p + from, n), want);
            assert_int_equal(crypto_crc32c_portable(0, p + from, n), want);
            assert_int_equal(
                crypto_crc32c(crypto_crc32c(0, p + from, n / 3), p + from + n / 3, n - n / 3),
                want);
        }
}

static void comparison_wiping_and_randomness(void **state)
{
    (void)state;
    char a[] = "secret", b[] = "secret";
    assert_true(crypto_equal(a, b, 6));
    b[5] ^= 1;
    assert_false(crypto_equal(a, b, 6));
    assert_true(crypto_equal(a, b, 5));
    assert_true(crypto_equal(a, b, 0));
    crypto_wipe(a, 6);
    assert_memory_equal(a, "\0\0\0\0\0\0", 6);
    uint8_t r[600] = {0}, s[600] = {0};
    assert_int_equal(crypto_random(r, sizeof r), ERR_OK);
    assert_int_equal(crypto_random(s, sizeof s), ERR_OK);
    assert_memory_not_equal(r, s, 300);
    assert_memory_not_equal(r + 584, s + 584, 16); /* to the end */
}

static void base64_gives_the_values_of_rfc_4648(void **state)
{
    (void)state;
    static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
    static const char *const coded[] = {"",         "Zg==",     "Zm8=",    "Zm9v",
                                        "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    char mem[32];
    struct buf b;
    for (size_t i = 0; i < 7; i++) { /* §10 */
        buf_init(&b, mem, sizeof mem);
        crypto_base64(&b, plain[i], strlen(plain[i]));
        assert_true(sv_eq(buf_sv(&b), sv_of(coded[i])));
    }
    buf_init(&b, mem, 5);
    crypto_base64(&b, "foob", 4);
    assert_int_equal(b.rc, ERR_TOOBIG);
    assert_int_equal(b.n, 0);
    buf_init(&b, mem, sizeof mem);
    crypto_base64url(&b, "\xfb\xff\xfe\x01", 4);
    assert_true(sv_eq(buf_sv(&b), SV("-__-AQ")));
}

static void base64url_is_read_in_one_way_only(void **state)
{
    (void)state;
    uint8_t octets[40], back[40];
    char mem[64];
    for (size_t n = 0; n <= 40; n++) {
        for (size_t i = 0; i < n; i++)
            octets[i] = (uint8_t)(i * 73 + n);
        struct buf b;
        size_t got = 99;
        buf_init(&b, mem, sizeof mem);
        crypto_base64url(&b, octets, n);
        assert_int_equal(crypto_base64url_decode(buf_sv(&b), back, n, &got), ERR_OK);
        assert_int_equal(got, n);
        assert_memory_equal(back, octets, n);
        if (n > 0)
            assert_int_equal(crypto_base64url_decode(buf_sv(&b), back, n - 1, &got), ERR_TOOBIG);
    }
    static const char *const wrong[] = {"A",  "AAAAA", "Zg==", "Z/",     "Z+",
                                        "Z ", "Zh",    "Zm9",  "Zm9vY\n"};
    size_t got;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(crypto_base64url_decode(sv_of(wrong[i]), back, sizeof back, &got),
                         ERR_SYNTAX);
    assert_int_equal(crypto_base64url_decode(SV("Z\0"), back, sizeof back, &got), ERR_SYNTAX);
}

static void hex_is_read_in_both_cases(void **state)
{
    (void)state;
    uint8_t p[4];
    size_t n = 9;
    assert_int_equal(crypto_unhex(SV("00aFF9"), p, sizeof p, &n), ERR_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(p, "\x00\xaf\xf9", 3);
    assert_int_equal(crypto_unhex(SV(""), p, 0, &n), ERR_OK);
    assert_int_equal(n, 0);
    assert_int_equal(crypto_unhex(SV("0"), p, sizeof p, &n), ERR_SYNTAX);
    assert_int_equal(crypto_unhex(SV("0g"), p, sizeof p, &n), ERR_SYNTAX);
    assert_int_equal(crypto_unhex(SV("0:"), p, sizeof p, &n), ERR_SYNTAX);
    assert_int_equal(crypto_unhex(SV("0011223344"), p, sizeof p, &n), ERR_TOOBIG);
}

static void *hash_much(void *arg)
{
    uint8_t d[SHA256_LEN], m[MD5_LEN];
    sv s = SV("abc");
    for (int i = 0; i < 2000; i++) {
        crypto_sha256(&s, 1, d);
        crypto_md5(&s, 1, m);
        if (d[0] != 0xba || m[0] != 0x90)
            return arg;
    }
    return NULL;
}

static void threads_hash_beside_each_other(void **state)
{
    (void)state;
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&t[i], NULL, hash_much, t), 0);
    for (int i = 0; i < 3; i++) {
        void *wrong;
        pthread_join(t[i], &wrong);
        assert_null(wrong);
    }
}

static int start(void **state)
{
    (void)state;
    return crypto_start() || crypto_start(); /* twice is harmless */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_give_the_published_values),
        cmocka_unit_test(digests_of_pieces_are_those_of_the_whole),
        cmocka_unit_test(hmac_gives_the_values_of_rfc_4231),
        cmocka_unit_test(siphash_gives_the_values_of_its_paper),
        cmocka_unit_test(siphash_of_lists_is_the_one_of_their_octets),
        cmocka_unit_test(crc32c_agrees_with_its_definition),
        cmocka_unit_test(comparison_wiping_and_randomness),
        cmocka_unit_test(base64_gives_the_values_of_rfc_4648),
        cmocka_unit_test(base64url_is_read_in_one_way_only),
        cmocka_unit_test(hex_is_read_in_both_cases),
        cmocka_unit_test(threads_hash_beside_each_other),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
