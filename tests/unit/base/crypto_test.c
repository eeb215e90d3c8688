/* SPDX-License-Identifier: MIT */
/* crypto_test.c: published vectors, and pieces against wholes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <pthread.h>
#include <sys/mman.h>
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

static void hmac_gives_the_values_of_rfc_2202(void **state)
{
    (void)state;
    uint8_t d[SHA1_LEN];
    char key[80];
    memset(key, 0x0b, 20);
    crypto_hmac_sha1((sv){key, 20}, (sv[]){SV("Hi "), SV("There")}, 2, d); /* §3, test case 1 */
    expect_hex(d, SHA1_LEN, "b617318655057264e28bc0b6fb378c8ef146be00");
    crypto_hmac_sha1(SV("Jefe"), (sv[]){SV("what do ya want for nothing?")}, 1, d); /* 2 */
    expect_hex(d, SHA1_LEN, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    memset(key, 0xaa, 80); /* 6: a key longer than a block */
    sv text = SV("Test Using Larger Than Block-Size Key - Hash Key First");
    crypto_hmac_sha1((sv){key, 80}, &text, 1, d);
    expect_hex(d, SHA1_LEN, "aa4ae5e15272d00e95705637ce8a3b55ed402112");
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
    struct table_key table = {{0}};
    memcpy(table.octets, key, sizeof key);
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
            crypto_table_hash_portable(&table, pieces, 3, got);
            assert_memory_equal(got, want, sizeof want);
        }
    }
    siphash_elsewhere(key, text, 0, 16, 2, 4, want);
    crypto_siphash128_list(key, NULL, 0, got);
    assert_memory_equal(got, want, sizeof want);
}

/* ---- table hashes ---- */

typedef void table_hash_fn(const struct table_key *key, const sv *pieces, size_t n,
                           uint64_t ret_hash[static 2]);

/* Those that this processor has. */
static size_t table_hashes(table_hash_fn *ret[static 2])
{
    size_t n = 0;
    ret[n++] = crypto_table_hash_portable;
#if defined(__x86_64__)
    if (crypto_has_aes())
        ret[n++] = crypto_table_hash_aes;
#endif
    return n;
}

static struct table_key table_key_of(const char *use)
{
    struct table_key key;
    crypto_table_key(SV("a secret"), (sv){(char *)use, strlen(use)}, &key);
    return key;
}

static uint8_t times(uint8_t a, uint8_t b) /* in AES's field (FIPS 197 §4.2) */
{
    uint8_t product = 0;
    for (; b; b >>= 1, a = (uint8_t)(a << 1 ^ (a & 0x80 ? 0x1b : 0)))
        if (b & 1)
            product ^= a;
    return product;
}

static uint8_t s_box(uint8_t x) /* FIPS 197 §5.1.1 */
{
    uint8_t inverse = 0, out = 0x63;
    for (int i = 1; i < 256; i++)
        if (times(x, (uint8_t)i) == 1)
            inverse = (uint8_t)i;
    for (int i = 0; i < 5; i++)
        out ^= (uint8_t)(inverse << i | inverse >> (8 - i));
    return out;
}

/* FIPS 197 §5.1: SubBytes, ShiftRows, MixColumns, AddRoundKey. */
static void aes_round(uint8_t state[static 16], const uint8_t *key)
{
    static uint8_t box[256];
    uint8_t in[16];
    if (box[0] == 0)
        for (int i = 0; i < 256; i++)
            box[i] = s_box((uint8_t)i);
    for (int i = 0; i < 16; i++)
        in[i] = box[state[(i + 4 * (i % 4)) % 16]];
    for (int i = 0; i < 16; i++) {
        const uint8_t *column = in + i / 4 * 4;
        state[i] = times(column[i % 4], 2) ^ times(column[(i + 1) % 4], 3) ^ column[(i + 2) % 4] ^
                   column[(i + 3) % 4] ^ key[i];
    }
}

static void absorb_plainly(uint8_t state[static 16], const uint8_t *block, const uint8_t *keys)
{
    for (int i = 0; i < 16; i++)
        state[i] ^= block[i];
    for (int i = 0; i < 4; i++)
        aes_round(state, keys + 16 * (size_t)i);
}

/* What crypto_table.c says at its head, octet by octet. */
static void table_hash_plainly(const struct table_key *key, const sv *pieces, size_t n,
                               uint64_t ret_hash[static 2])
{
    uint8_t state[16];
    memcpy(state, key->octets, sizeof state);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = (const uint8_t *)pieces[i].p;
        size_t octets = pieces[i].n, at = 8;
        uint8_t block[16] = {0};
        if (octets >= 8)
            memcpy(block, p, 8);
        else if (octets >= 4)
            memcpy(block, p, 4), memcpy(block + 4, p + octets - 4, 4);
        else if (octets > 0)
            block[0] = p[0], block[1] = p[octets / 2], block[2] = p[octets - 1];
        block[8] = (uint8_t)octets;
        block[9] = (uint8_t)(octets >> 8);
        block[12] = (uint8_t)(n - i);
        absorb_plainly(state, block, key->octets + 16);
        for (; at + 16 <= octets; at += 16)
            absorb_plainly(state, p + at, key->octets + 16);
        if (at < octets && octets >= 16) {
            absorb_plainly(state, p + octets - 16, key->octets + 16);
        } else if (at < octets) {
            memset(block, 0, sizeof block);
            memcpy(block, p + octets - 8, 8);
            absorb_plainly(state, block, key->octets + 16);
        }
    }
    memcpy(ret_hash, state, sizeof state);
}

static void table_hash_is_rounds_of_aes(void **state)
{
    (void)state;
#if defined(__x86_64__)
    struct table_key key = table_key_of("agreement");
    char text[420];
    uint64_t want[2], got[2];
    if (!crypto_has_aes())
        skip();
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 89 + 3);
    for (size_t n = 0; n <= 200; n++) {
        sv pieces[] = {{text + n % 16, n}, {text + 217, 200 - n}, SV("tail")};
        for (size_t count = 0; count <= 3; count++) {
            table_hash_plainly(&key, pieces, count, want);
            crypto_table_hash_aes(&key, pieces, count, got);
            assert_memory_equal(got, want, sizeof want);
        }
    }
#else
    skip();
#endif
}

static void table_hash_reads_the_pieces_alone(void **state)
{
    (void)state;
    enum { PAGE = 4096, MOST = 200 };
    struct table_key key = table_key_of("reads");
    table_hash_fn *hash[2];
    char copy[MOST];
    /* A page between two that nobody may read. */
    char *map = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    char *page = map + PAGE;
    assert_int_equal(mprotect(page, PAGE, PROT_READ | PROT_WRITE), 0);
    for (size_t i = 0; i < PAGE; i++)
        page[i] = (char)(i * 7 + i / 200);
    for (size_t f = table_hashes(hash); f-- > 0;) {
        for (size_t n = 0; n <= MOST; n++) {
            char *ends[] = {page, page + PAGE - n};
            for (size_t e = 0; e < 2; e++) {
                uint64_t want[2], got[2];
                memcpy(copy, ends[e], n);
                hash[f](&key, &(sv){copy, n}, 1, want);
                hash[f](&key, &(sv){ends[e], n}, 1, got);
                assert_memory_equal(got, want, sizeof want);
            }
        }
    }
    assert_int_equal(munmap(map, 3 * PAGE), 0);
}

static void table_hash_tells_lists_apart(void **state)
{
    (void)state;
    static const char text[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
    table_hash_fn *hash[2];
    struct table_key key = table_key_of("lists");
    static uint64_t seen[4000][2];
    for (size_t f = table_hashes(hash); f-- > 0;) {
        size_t n = 0;
        /* The same octets in one, two and three pieces, cut everywhere. */
        for (size_t a = 0; a <= 40; a++) {
            hash[f](&key, (sv[]){{text, a}, {text + a, 40 - a}}, 2, seen[n++]);
            hash[f](&key, (sv[]){{text, a}}, 1, seen[n++]);
            hash[f](&key, (sv[]){{text, a}, SV_NONE}, 2, seen[n++]);
            for (size_t b = a; a > 0 && a < 40 && b <= 40; b++)
                hash[f](&key, (sv[]){{text, a}, {text + a, b - a}, {text + b, 40 - b}}, 3,
                        seen[n++]);
        }
        /* Zeros of every length are no two alike. */
        static const char zeros[200];
        for (size_t a = 1; a <= sizeof zeros; a++)
            hash[f](&key, &(sv){zeros, a}, 1, seen[n++]);
        size_t same = 0;
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < i; k++)
                same += seen[i][0] == seen[k][0] || seen[i][1] == seen[k][1];
        /* {text, 40} as {text, 40}, {"", 0} comes twice: as a cut at 40, and with nothing behind it. */
        assert_int_equal(same, 1);
    }
}

/* A bit of the input changes each bit of the output half of the time, and those a table is indexed by
 * as well as any. */
static void table_hash_spreads_each_bit(void **state)
{
    (void)state;
    enum { OCTETS = 40, ROUNDS = 32 };
    table_hash_fn *hash[2];
    for (size_t f = table_hashes(hash); f-- > 0;) {
        unsigned flips[128] = {0};
        for (unsigned round = 0; round < ROUNDS; round++) {
            char text[OCTETS], use[] = {(char)('A' + round), 0};
            struct table_key key = table_key_of(use);
            uint64_t before[2], after[2];
            memset(text, (int)round, sizeof text);
            hash[f](&key, &(sv){text, OCTETS}, 1, before);
            for (size_t bit = 0; bit < 8 * OCTETS; bit++) {
                text[bit / 8] ^= (char)(1 << bit % 8);
                hash[f](&key, &(sv){text, OCTETS}, 1, after);
                text[bit / 8] ^= (char)(1 << bit % 8);
                unsigned changed = (unsigned)__builtin_popcountll(before[0] ^ after[0]) +
                                   (unsigned)__builtin_popcountll(before[1] ^ after[1]);
                assert_in_range(changed, 30, 98); /* 64 ± 6 deviations */
                for (size_t i = 0; i < 128; i++)
                    flips[i] += (before[i / 64] ^ after[i / 64]) >> i % 64 & 1;
            }
        }
        for (size_t i = 0; i < 128; i++) /* of 10,240, six deviations of 51 */
            assert_in_range(flips[i], 5120 - 306, 5120 + 306);
    }
}

static void table_keys_differ_by_secret_and_use(void **state)
{
    (void)state;
    struct table_key a = table_key_of("a"), again = table_key_of("a"), b = table_key_of("b"), c;
    crypto_table_key(SV("another secret"), SV("a"), &c);
    assert_memory_equal(&a, &again, sizeof a);
    for (size_t i = 0; i < sizeof a.octets; i += 16) { /* every round's key */
        assert_memory_not_equal(a.octets + i, b.octets + i, 16);
        assert_memory_not_equal(a.octets + i, c.octets + i, 16);
        for (size_t k = 0; k < i; k += 16)
            assert_memory_not_equal(a.octets + i, a.octets + k, 16);
    }
    table_hash_fn *hash[2];
    for (size_t f = table_hashes(hash); f-- > 0;) {
        uint64_t x[2], y[2], z[2];
        hash[f](&a, &SV("text"), 1, x);
        hash[f](&b, &SV("text"), 1, y);
        crypto_table_hash(&a, &SV("text"), 1, z);
        assert_true(x[0] != y[0] && x[1] != y[1]);
        assert_int_equal(memcmp(x, z, sizeof x) == 0, f == table_hashes(hash) - 1);
    }
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
        cmocka_unit_test(hmac_gives_the_values_of_rfc_2202),
        cmocka_unit_test(hmac_gives_the_values_of_rfc_4231),
        cmocka_unit_test(siphash_gives_the_values_of_its_paper),
        cmocka_unit_test(siphash_of_lists_is_the_one_of_their_octets),
        cmocka_unit_test(table_hash_is_rounds_of_aes),
        cmocka_unit_test(table_hash_reads_the_pieces_alone),
        cmocka_unit_test(table_hash_tells_lists_apart),
        cmocka_unit_test(table_hash_spreads_each_bit),
        cmocka_unit_test(table_keys_differ_by_secret_and_use),
        cmocka_unit_test(crc32c_agrees_with_its_definition),
        cmocka_unit_test(comparison_wiping_and_randomness),
        cmocka_unit_test(base64_gives_the_values_of_rfc_4648),
        cmocka_unit_test(base64url_is_read_in_one_way_only),
        cmocka_unit_test(hex_is_read_in_both_cases),
        cmocka_unit_test(threads_hash_beside_each_other),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
