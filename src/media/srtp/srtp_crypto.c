/* SPDX-License-Identifier: MIT */
/* srtp/srtp_crypto.c: AES in counter mode, HMAC-SHA1, AES-GCM and the derivation of keys, over libcrypto.
 *
 * A packet of sound has ten blocks of AES and four of SHA-1, so what surrounds them counts. The key stream of
 * counter mode is made by one call that encrypts the counters (ECB), which spares the library's setting of an IV.
 * SHA-1 is what libcrypto has had before EVP: there alone can a state be copied without an allocation, and
 * the two blocks of HMAC's key be hashed once for all packets. */
#define OPENSSL_SUPPRESS_DEPRECATED /* SHA1_Update; see above */
#include "srtp/srtp_priv.h"
#include <endian.h>
#include <openssl/sha.h>
#include <stdlib.h>

enum { CM_BLOCKS = 32, SHA1_BLOCK = 64, LAST = 8 * SHA1_BLOCK };

static void check(int ok)
{
    if (ok != 1)
        abort(); /* with fetched algorithms and memory of their own these have no way to fail */
}

static void put32(uint8_t *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, sizeof v);
}

static void xor32(uint8_t *p, uint32_t v)
{
    uint32_t was;
    memcpy(&was, p, sizeof was);
    was ^= htobe32(v);
    memcpy(p, &was, sizeof was);
}

/* ---- AES in counter mode (RFC 3711 §4.1.1) ---- */

static void xor_octets(uint8_t *p, const uint8_t *with, size_t n)
{
    typedef uint64_t pair __attribute__((vector_size(16)));
    size_t i = 0;
    for (; n - i >= sizeof(pair); i += sizeof(pair)) {
        pair a, b;
        memcpy(&a, p + i, sizeof a);
        memcpy(&b, with + i, sizeof b);
        a ^= b;
        memcpy(p + i, &a, sizeof a);
    }
    for (; i < n; i++)
        p[i] ^= with[i];
}

/* The key stream that begins at iv over n octets: the last two octets of iv count blocks from 0. */
static void counter_mode(EVP_CIPHER_CTX *ecb, const uint8_t iv[static AES_BLOCK], uint8_t *p,
                         size_t n)
{
    uint8_t stream[CM_BLOCKS * AES_BLOCK];
    int got;
    for (unsigned block = 0; n > 0;) {
        size_t part = n < sizeof stream ? n : sizeof stream, room = 0;
        for (; room < part; room += AES_BLOCK, block++) {
            memcpy(stream + room, iv, AES_BLOCK);
            stream[room + 14] = (uint8_t)(block >> 8);
            stream[room + 15] = (uint8_t)block;
        }
        check(EVP_EncryptUpdate(ecb, stream, &got, stream, (int)room));
        xor_octets(p, stream, part);
        p += part;
        n -= part;
    }
}

/* IV = salt XOR SSRC and index, each in its place: behind 4 octets (RFC 3711 §4.1.1) or behind 2 (RFC 7714
 * §8.1, §9.1, where the 31 bits of SRTCP stand as in 48). */
static void make_iv(uint8_t iv[static AES_BLOCK], const uint8_t salt[static AES_BLOCK], bool aead,
                    uint32_t ssrc, uint64_t index)
{
    uint8_t *at = iv + (aead ? 2 : 4);
    memcpy(iv, salt, AES_BLOCK);
    xor32(at, ssrc);
    at[4] ^= (uint8_t)(index >> 40);
    at[5] ^= (uint8_t)(index >> 32);
    xor32(at + 6, (uint32_t)index);
}

void srtp_derive(struct srtp_engine *e, sv key, sv salt, uint8_t label, uint8_t *ret, size_t n)
{
    /* x = label, 48 bits of zero (no derivation rate), XOR salt; then times 2^16. A salt of 96 bits is padded
     * behind. */
    uint8_t iv[AES_BLOCK] = {0};
    memcpy(iv, salt.p, salt.n);
    iv[7] ^= label;
    EVP_CIPHER_CTX *ecb = e->ecb_once[key.n == SRTP_KEY_MAX];
    check(EVP_EncryptInit_ex2(ecb, NULL, (const uint8_t *)key.p, NULL, NULL));
    memset(ret, 0, n);
    counter_mode(ecb, iv, ret, n);
    crypto_wipe(iv, sizeof iv);
}

/* ---- HMAC-SHA1 (RFC 2104) ---- */

static void state_get(const SHA_CTX *s, uint32_t h[static 5])
{
    h[0] = s->h0;
    h[1] = s->h1;
    h[2] = s->h2;
    h[3] = s->h3;
    h[4] = s->h4;
}

/* A state behind its first block, or as good as: the length is written by us. */
static void state_set(SHA_CTX *s, const uint32_t h[static 5])
{
    s->h0 = h[0];
    s->h1 = h[1];
    s->h2 = h[2];
    s->h3 = h[3];
    s->h4 = h[4];
    s->Nl = s->Nh = 0;
    s->num = 0;
}

static void state_put(const SHA_CTX *s, uint8_t ret[static SHA1_LEN])
{
    put32(ret, s->h0);
    put32(ret + 4, s->h1);
    put32(ret + 8, s->h2);
    put32(ret + 12, s->h3);
    put32(ret + 16, s->h4);
}

void srtp_hmac_key(struct srtp_hmac *h, const uint8_t key[static SHA1_LEN])
{
    uint8_t pad[SHA1_BLOCK] = {0};
    SHA_CTX s;
    memcpy(pad, key, SHA1_LEN);
    for (size_t i = 0; i < sizeof pad; i++)
        pad[i] ^= 0x36;
    check(SHA1_Init(&s) && SHA1_Update(&s, pad, sizeof pad));
    state_get(&s, h->inner);
    for (size_t i = 0; i < sizeof pad; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    check(SHA1_Init(&s) && SHA1_Update(&s, pad, sizeof pad));
    state_get(&s, h->outer);
    crypto_wipe(pad, sizeof pad);
    crypto_wipe(&s, sizeof s);
}

/* The padding of FIPS 180-4 §5.1.1 behind n octets of the last blocks; octets counts all, from the key's block
 * on. The size of those blocks. */
static size_t pad_last(uint8_t last[static LAST], size_t n, size_t octets)
{
    size_t size = (n + 9 + SHA1_BLOCK - 1) / SHA1_BLOCK * SHA1_BLOCK;
    memset(last + n, 0, size - n);
    last[n] = 0x80;
    put32(last + size - 4, (uint32_t)(octets * 8));
    return size;
}

/* What is short is put together with its padding: SHA-1 takes blocks two by two. */
void srtp_hmac(const struct srtp_hmac *h, const uint8_t *p, size_t n,
               uint8_t ret_mac[static SHA1_LEN])
{
    uint8_t last[LAST];
    size_t whole = n + 9 <= LAST ? 0 : n - n % SHA1_BLOCK;
    SHA_CTX s;
    state_set(&s, h->inner);
    if (whole > 0)
        check(SHA1_Update(&s, p, whole));
    memcpy(last, p + whole, n - whole);
    check(SHA1_Update(&s, last, pad_last(last, n - whole, SHA1_BLOCK + n)));

    state_put(&s, last);
    state_set(&s, h->outer);
    check(SHA1_Update(&s, last, pad_last(last, SHA1_LEN, SHA1_BLOCK + SHA1_LEN)));
    state_put(&s, ret_mac);
}

/* ---- AES-GCM (RFC 7714 §8, §9) ---- */

static void gcm_seal(EVP_CIPHER_CTX *gcm, const uint8_t *iv, const uint8_t *aad, size_t aad_n,
                     uint8_t *p, size_t n)
{
    int got;
    check(EVP_EncryptInit_ex2(gcm, NULL, NULL, iv, NULL));
    check(EVP_EncryptUpdate(gcm, NULL, &got, aad, (int)aad_n));
    check(EVP_EncryptUpdate(gcm, p, &got, p, (int)n));
    check(EVP_EncryptFinal_ex(gcm, p + n, &got));
    check(EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_GET_TAG, GCM_TAG, p + n));
}

/* tag: of those octets. They are written before it is known whether they may be: a second pass puts back what
 * was there. */
static bool gcm_open(EVP_CIPHER_CTX *gcm, const uint8_t *iv, const uint8_t *aad, size_t aad_n,
                     uint8_t *p, size_t n, uint8_t *tag)
{
    int got;
    check(EVP_DecryptInit_ex2(gcm, NULL, NULL, iv, NULL));
    check(EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_SET_TAG, GCM_TAG, tag));
    check(EVP_DecryptUpdate(gcm, NULL, &got, aad, (int)aad_n));
    check(EVP_DecryptUpdate(gcm, p, &got, p, (int)n));
    if (EVP_DecryptFinal_ex(gcm, p + n, &got) == 1)
        return true;
    check(EVP_DecryptInit_ex2(gcm, NULL, NULL, iv, NULL));
    check(EVP_DecryptUpdate(gcm, p, &got, p, (int)n));
    return false;
}

/* ---- packets ---- */

size_t srtp_seal_rtp(const struct srtp_packet *q)
{
    const struct srtp_suite_info *suite = srtp_suite_info(q->keys->suite);
    const struct srtp_keys *k = q->keys;
    uint8_t iv[AES_BLOCK], mac[SHA1_LEN];
    make_iv(iv, k->salt, suite->aead, q->ssrc, q->index);
    if (suite->aead) {
        gcm_seal(k->cipher, iv, q->p, q->header, q->p + q->header, q->n - q->header);
    } else {
        counter_mode(k->cipher, iv, q->p + q->header, q->n - q->header);
        put32(q->p + q->n, (uint32_t)(q->index >> 16)); /* M = packet, ROC (§4.2) */
        srtp_hmac(&k->hmac, q->p, q->n + 4, mac);
        memcpy(q->p + q->n, mac, suite->tag);
    }
    return suite->tag;
}

bool srtp_open_rtp(const struct srtp_packet *q)
{
    const struct srtp_suite_info *suite = srtp_suite_info(q->keys->suite);
    const struct srtp_keys *k = q->keys;
    uint8_t iv[AES_BLOCK], mac[SHA1_LEN], tag[SHA1_LEN];
    make_iv(iv, k->salt, suite->aead, q->ssrc, q->index);
    if (suite->aead)
        return gcm_open(k->cipher, iv, q->p, q->header, q->p + q->header, q->n - q->header,
                        q->p + q->n);
    memcpy(tag, q->p + q->n, suite->tag);
    put32(q->p + q->n, (uint32_t)(q->index >> 16));
    srtp_hmac(&k->hmac, q->p, q->n + 4, mac);
    memcpy(q->p + q->n, tag, suite->tag);
    if (!crypto_equal(mac, tag, suite->tag))
        return false;
    counter_mode(k->cipher, iv, q->p + q->header, q->n - q->header);
    return true;
}

/* The cipher of RTCP, with its key. */
static EVP_CIPHER_CTX *cipher_once(const struct srtp_packet *q, bool aead, bool encrypts)
{
    bool wide = srtp_suite_info(q->keys->suite)->key == SRTP_KEY_MAX;
    EVP_CIPHER_CTX *c = aead ? q->engine->gcm_once[wide] : q->engine->ecb_once[wide];
    check(EVP_CipherInit_ex2(c, NULL, q->keys->rtcp_key, NULL, encrypts || !aead, NULL));
    return c;
}

/* AEAD: header, ciphertext, tag, E and index; the associated data is the header with E and index behind it
 * (RFC 7714 §9.2). Else E and index come before the tag and are covered by it (RFC 3711 §3.4). */
size_t srtp_seal_rtcp(const struct srtp_packet *q)
{
    const struct srtp_suite_info *suite = srtp_suite_info(q->keys->suite);
    uint8_t iv[AES_BLOCK], mac[SHA1_LEN], aad[12];
    uint8_t *text = q->p + q->header, *end = q->p + q->n;
    size_t n = q->n - q->header;
    EVP_CIPHER_CTX *cipher = cipher_once(q, suite->aead, true);
    make_iv(iv, q->keys->rtcp_salt, suite->aead, q->ssrc, q->index);
    if (suite->aead) {
        put32(end + GCM_TAG, 0x80000000U | (uint32_t)q->index);
        memcpy(aad, q->p, q->header);
        memcpy(aad + q->header, end + GCM_TAG, 4);
        gcm_seal(cipher, iv, aad, q->header + 4, text, n);
    } else {
        counter_mode(cipher, iv, text, n);
        put32(end, 0x80000000U | (uint32_t)q->index);
        srtp_hmac(&q->keys->rtcp_hmac, q->p, q->n + 4, mac);
        memcpy(end + 4, mac, suite->rtcp_tag);
    }
    return suite->rtcp_tag + 4u;
}

bool srtp_open_rtcp(const struct srtp_packet *q)
{
    const struct srtp_suite_info *suite = srtp_suite_info(q->keys->suite);
    uint8_t iv[AES_BLOCK], mac[SHA1_LEN], aad[12];
    uint8_t *text = q->p + q->header, *end = q->p + q->n;
    size_t n = q->n - q->header;
    make_iv(iv, q->keys->rtcp_salt, suite->aead, q->ssrc, q->index);
    if (suite->aead) {
        memcpy(aad, q->p, q->header);
        memcpy(aad + q->header, end + GCM_TAG, 4);
        return gcm_open(cipher_once(q, true, false), iv, aad, q->header + 4, text, n, end);
    }
    srtp_hmac(&q->keys->rtcp_hmac, q->p, q->n + 4, mac);
    if (!crypto_equal(mac, end + 4, suite->rtcp_tag))
        return false;
    counter_mode(cipher_once(q, false, true), iv, text, n);
    return true;
}
