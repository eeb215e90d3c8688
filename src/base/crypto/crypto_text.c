/* SPDX-License-Identifier: MIT */
/* crypto/crypto_text.c: octets as base64 and from hex. */
#include "crypto/crypto.h"

static const char alphabet_std[65] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char alphabet_url[65] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* All or nothing, like every call on a buf. */
static void encode(struct buf *b, const uint8_t *p, size_t n, const char alphabet[65], bool pad)
{
    size_t before = b->n;
    for (size_t i = 0; i < n && !b->rc; i += 3) {
        size_t have = n - i < 3 ? n - i : 3;
        uint32_t word = (uint32_t)p[i] << 16;
        if (have > 1)
            word |= (uint32_t)p[i + 1] << 8;
        if (have > 2)
            word |= p[i + 2];
        char four[4];
        for (int k = 0; k < 4; k++)
            four[k] = alphabet[word >> (18 - 6 * k) & 63];
        for (size_t k = have + 1; k < 4; k++)
            four[k] = '=';
        buf_mem(b, four, pad ? 4 : have + 1);
    }
    if (b->rc)
        b->n = before;
}

void crypto_base64(struct buf *b, const void *p, size_t n)
{
    encode(b, p, n, alphabet_std, true);
}

void crypto_base64url(struct buf *b, const void *p, size_t n)
{
    encode(b, p, n, alphabet_url, false);
}

enum err crypto_base64url_decode(sv text, void *p, size_t cap, size_t *ret_n)
{
    size_t tail = text.n % 4, n = text.n / 4 * 3 + (tail ? tail - 1 : 0);
    if (tail == 1)
        return ERR_SYNTAX;
    if (n > cap)
        return ERR_TOOBIG;
    uint8_t *out = p;
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < text.n; i++) {
        const char *at = text.p[i] ? memchr(alphabet_url, text.p[i], 64) : NULL;
        if (!at)
            return ERR_SYNTAX;
        bits = bits << 6 | (uint32_t)(at - alphabet_url);
        have += 6;
        if (have >= 8) {
            have -= 8;
            *out++ = (uint8_t)(bits >> have);
            bits &= (1u << have) - 1;
        }
    }
    /* RFC 4648 §3.5: what is left must be zero, or two texts would mean the same octets. */
    if (bits)
        return ERR_SYNTAX;
    *ret_n = n;
    return ERR_OK;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = sv_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum err crypto_unhex(sv text, void *p, size_t cap, size_t *ret_n)
{
    uint8_t *out = p;
    if (text.n % 2)
        return ERR_SYNTAX;
    if (text.n / 2 > cap)
        return ERR_TOOBIG;
    for (size_t i = 0; i < text.n; i += 2) {
        int high = hex_value(text.p[i]), low = hex_value(text.p[i + 1]);
        if (high < 0 || low < 0)
            return ERR_SYNTAX;
        *out++ = (uint8_t)(high << 4 | low);
    }
    *ret_n = text.n / 2;
    return ERR_OK;
}
