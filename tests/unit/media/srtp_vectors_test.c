/* SPDX-License-Identifier: MIT */
/* srtp_vectors_test.c: the numbers of the RFCs. */
#include "srtp_ends.h"
#include <openssl/hmac.h>
#include <stdlib.h>

static size_t hex(const char *text, uint8_t *p, size_t cap)
{
    char joint[512];
    size_t n = 0, got = 0;
    for (; *text; text++)
        if (*text != ' ')
            joint[n++] = *text;
    assert_int_equal(crypto_unhex((sv){joint, n}, p, cap, &got), ERR_OK);
    return got;
}

static void assert_hex(const uint8_t *p, size_t n, const char *want)
{
    uint8_t octets[256];
    size_t want_n = hex(want, octets, sizeof octets);
    assert_int_equal(n, want_n);
    assert_memory_equal(p, octets, n);
}

/* Keys that are given as they are used. */
static struct srtp_keys session(struct srtp_engine *e, enum srtp_role role, enum srtp_suite suite,
                                const char *key, const char *salt)
{
    struct srtp_keys k = {.suite = (uint8_t)suite};
    struct srtp_session s = {0};
    hex(key, s.key, sizeof s.key);
    hex(salt, s.salt, sizeof s.salt);
    assert_int_equal(srtp_keys_session(&k, e, role, &s, &s), ERR_OK);
    return k;
}

#define KEY_128 "000102030405060708090a0b0c0d0e0f"
#define KEY_256 KEY_128 "101112131415161718191a1b1c1d1e1f"

static void counter_mode_has_the_key_stream_of_rfc3711_b2(void **state)
{
    (void)state;
    enum { SEGMENT = 1044512, HEADER = 12 };
    struct srtp_engine *e;
    assert_int_equal(srtp_engine_new(&e), ERR_OK);
    struct srtp_keys k =
        session(e, SRTP_SENDER, SRTP_AES_CM_128_HMAC_SHA1_80, "2B7E151628AED2A6ABF7158809CF4F3C",
                "F0F1F2F3F4F5F6F7F8F9FAFBFCFD");
    uint8_t *p = calloc(1, HEADER + SEGMENT + SRTP_ROOM);
    assert_non_null(p);
    struct srtp_packet q = {&k, e, p, HEADER, HEADER + SEGMENT, 0, 0};
    assert_int_equal(srtp_seal_rtp(&q), 10);
    assert_hex(p + HEADER, 48,
               "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB"
               "41E95B3BB0A2E8DD477901E4FCA894C0");
    assert_hex(p + HEADER + 0xfeff * 16, 48,
               "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE"
               "6A2CC3787889374FBEB4C81B17BA6C44");
    free(p);
    srtp_keys_done(&k);
    srtp_engine_free(e);
}

static void counter_mode_has_the_key_stream_of_rfc6188_7_1(void **state)
{
    (void)state;
    struct srtp_engine *e;
    uint8_t p[12 + 48 + SRTP_ROOM] = {0};
    assert_int_equal(srtp_engine_new(&e), ERR_OK);
    struct srtp_keys k = session(e, SRTP_SENDER, SRTP_AES_256_CM_HMAC_SHA1_80,
                                 "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98",
                                 "f0f1f2f3f4f5f6f7f8f9fafbfcfd");
    struct srtp_packet q = {&k, e, p, 12, 12 + 48, 0, 0};
    assert_int_equal(srtp_seal_rtp(&q), 10);
    assert_hex(p + 12, 48,
               "92bdd28a93c3f52511c677d08b5515a4 9da71b2378a854f67050756ded165bac"
               "63c4868b7096d88421b563b8c94c9a31");
    srtp_keys_done(&k);
    srtp_engine_free(e);
}

struct derivation {
    const char *key, *salt, *cipher_key, *cipher_salt, *auth;
};

static void keys_are_derived_as_in_rfc3711_b3_and_rfc6188_7_2(void **state)
{
    (void)state;
    static const struct derivation known[] = {
        {"E1F97A0D3E018BE0D64FA32C06DE4139", "0EC675AD498AFEEBB6960B3AABE6",
         "C61E7A93744F39EE10734AFE3FF7A087", "30CBBC08863D8C85D49DB34A9AE1",
         "CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE"
         "E049646C43D9327AD175578EF7227098 6371C10C9A369AC2F94A8C5FBCDDDC25"
         "6D6E919A48B610EF17C2041E47403576 6B68642C59BBFC2F34DB60DBDFB2"},
        {"f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6",
         "3b04803de51ee7c96423ab5b78d2",
         "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4",
         "fa31791685ca444a9e07c6c64e93", "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"},
    };
    struct srtp_engine *e;
    assert_int_equal(srtp_engine_new(&e), ERR_OK);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint8_t key[32], salt[14], got[94];
        sv k = {(const char *)key, hex(known[i].key, key, sizeof key)};
        sv s = {(const char *)salt, hex(known[i].salt, salt, sizeof salt)};
        size_t auth = i == 0 ? 94 : 20;
        srtp_derive(e, k, s, 0, got, k.n);
        assert_hex(got, k.n, known[i].cipher_key);
        srtp_derive(e, k, s, 1, got, auth);
        assert_hex(got, auth, known[i].auth);
        srtp_derive(e, k, s, 2, got, s.n);
        assert_hex(got, s.n, known[i].cipher_salt);
    }
    srtp_engine_free(e);
}

static void hmac_is_that_of_rfc2202_and_of_the_library(void **state)
{
    (void)state;
    uint8_t key[20], data[700], mac[20], want[EVP_MAX_MD_SIZE];
    struct srtp_hmac h;
    memset(key, 0x0b, sizeof key);
    srtp_hmac_key(&h, key);
    srtp_hmac(&h, (const uint8_t *)"Hi There", 8, mac);
    assert_hex(mac, sizeof mac, "b617318655057264e28bc0b6fb378c8ef146be00");
    memset(key, 0xaa, sizeof key);
    memset(data, 0xdd, 50);
    srtp_hmac_key(&h, key);
    srtp_hmac(&h, data, 50, mac);
    assert_hex(mac, sizeof mac, "125d7342b9ac11cd91a39af48aa17b4f63f175d3");
    for (size_t n = 0; n <= sizeof data; n++) { /* each way to end a block */
        data[n % sizeof data] = (uint8_t)(n * 31);
        assert_non_null(HMAC(EVP_sha1(), key, sizeof key, data, n, want, NULL));
        srtp_hmac(&h, data, n, mac);
        assert_memory_equal(mac, want, sizeof mac);
    }
}

#define QUID_PRO_QUO "51756964 2070726f 2071756f"
#define RTP_PLAIN                                                             \
    "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976" \
    "69736120 696e2070 61727465 73207472 6573"
#define RTCP_PLAIN                                                            \
    "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61" \
    "deadbeef deadbeef deadbeef deadbeef deadbeef"

struct packet_vector {
    enum srtp_suite suite;
    const char *key, *text;
};

static void gcm_has_the_packets_of_rfc7714_16(void **state)
{
    (void)state;
    static const struct packet_vector known[] = {
        {SRTP_AEAD_AES_128_GCM, KEY_128,
         "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5"
         "0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce"},
        {SRTP_AEAD_AES_256_GCM, KEY_256,
         "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238"
         "9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13"},
    };
    struct srtp_engine *e;
    assert_int_equal(srtp_engine_new(&e), ERR_OK);
    for (size_t i = 0; i < 2; i++) {
        uint8_t p[PACKET];
        size_t n = hex(RTP_PLAIN, p, sizeof p);
        struct srtp_keys tx = session(e, SRTP_SENDER, known[i].suite, known[i].key, QUID_PRO_QUO);
        struct srtp_keys rx = session(e, SRTP_RECEIVER, known[i].suite, known[i].key, QUID_PRO_QUO);
        struct srtp_packet q = {&tx, e, p, 12, n, 0x5501a0b2, 0xf17b};
        assert_int_equal(srtp_seal_rtp(&q), 16);
        assert_hex(p, n + 16, known[i].text);
        q.keys = &rx;
        assert_true(srtp_open_rtp(&q));
        assert_hex(p, n, RTP_PLAIN);
        srtp_keys_done(&tx);
        srtp_keys_done(&rx);
    }
    srtp_engine_free(e);
}

static void gcm_has_the_packets_of_rfc7714_17(void **state)
{
    (void)state;
    static const struct packet_vector known[] = {
        {SRTP_AEAD_AES_128_GCM, KEY_128,
         "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d"
         "c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade "
         "800005d4"},
        {SRTP_AEAD_AES_256_GCM, KEY_256,
         "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50"
         "a2eaa5c1 110555be 8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be "
         "800005d4"},
    };
    struct srtp_engine *e;
    assert_int_equal(srtp_engine_new(&e), ERR_OK);
    for (size_t i = 0; i < 2; i++) {
        uint8_t p[PACKET];
        size_t n = hex(RTCP_PLAIN, p, sizeof p);
        struct srtp_keys k = session(e, SRTP_SENDER, known[i].suite, known[i].key, QUID_PRO_QUO);
        struct srtp_packet q = {&k, e, p, 8, n, 0x4d617273, 0x5d4};
        assert_int_equal(srtp_seal_rtcp(&q), 20);
        assert_hex(p, n + 20, known[i].text);
        assert_true(srtp_open_rtcp(&q));
        assert_hex(p, n, RTCP_PLAIN);
        srtp_keys_done(&k);
    }
    srtp_engine_free(e);
}

static void keys_are_wiped(void **state)
{
    (void)state;
    static const struct srtp_keys none;
    struct srtp_engine *e;
    assert_int_equal(srtp_engine_new(&e), ERR_OK);
    struct srtp_keys k = session(e, SRTP_SENDER, SRTP_AEAD_AES_256_GCM, KEY_256, QUID_PRO_QUO);
    srtp_keys_done(&k);
    assert_memory_equal(&k, &none, sizeof k);
    srtp_engine_free(e);
}

/* §17.3, §17.4 are authentic and in clear, which nobody has agreed to. */
static void rtcp_in_clear_is_not_taken(void **state)
{
    (void)state;
    struct ends e = ends_new(SRTP_AEAD_AES_128_GCM, 1);
    srtp_keys_done(&e.rx.keys);
    e.rx.keys = session(e.engine, SRTP_RECEIVER, SRTP_AEAD_AES_128_GCM, KEY_128, QUID_PRO_QUO);
    e.rx.keys.number = 1;
    uint8_t p[PACKET];
    size_t n = hex(RTCP_PLAIN "841dd968 3dd78ec9 2ae58790 125f62b3 000005d4", p, sizeof p);
    assert_int_equal(srtp_rtcp_unprotect(&e.rx, p, &n), ERR_SYNTAX);
    n = hex(
        "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d"
        "c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
        p, sizeof p);
    assert_int_equal(srtp_rtcp_unprotect(&e.rx, p, &n), ERR_OK);
    ends_done(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counter_mode_has_the_key_stream_of_rfc3711_b2),
        cmocka_unit_test(counter_mode_has_the_key_stream_of_rfc6188_7_1),
        cmocka_unit_test(keys_are_derived_as_in_rfc3711_b3_and_rfc6188_7_2),
        cmocka_unit_test(hmac_is_that_of_rfc2202_and_of_the_library),
        cmocka_unit_test(gcm_has_the_packets_of_rfc7714_16),
        cmocka_unit_test(gcm_has_the_packets_of_rfc7714_17),
        cmocka_unit_test(keys_are_wiped),
        cmocka_unit_test(rtcp_in_clear_is_not_taken),
    };
    return crypto_start() || cmocka_run_group_tests(tests, NULL, NULL);
}
