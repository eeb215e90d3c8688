/* SPDX-License-Identifier: MIT */
/* crypto/crypto_text.c: octets as base64 and from hex. */
#include "crypto/crypto.h"

static const char alphabet_std[65] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char alphabet_url[65] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

enum { PART = 48 }; /* octets that are encoded at once */

/* Up to three octets as four characters, '=' for those that are not there. */
static void encode_three(const uint8_t *p, size_t n, const char alphabet[65], char four[static 4])
{
    uint32_t word = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);
    four[0] = alphabet[word >> 18];
    four[1] = alphabet[word >> 12 & 63];
    four[2] = n > 1 ? alphabet[word >> 6 & 63] : '=';
    four[3] = n > 2 ? alphabet[word & 63] : '=';
}

/* All or nothing, like every call on a buf. */
static void encode(struct buf *b, const uint8_t *p, size_t n, const char alphabet[65], bool pad)
{
    size_t before = b->n;
    while (n > 0 && !b->rc) {
        char text[PART / 3 * 4];
        size_t part = n < PART ? n : PART, at = 0;
        for (size_t i = 0; i < part; i += 3, at += 4)
            encode_three(p + i, part - i, alphabet, text + at);
        buf_mem(b, text, pad ? at : (part * 4 + 2) / 3);
        p += part;
        n -= part;
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

/* What a character of the URL alphabet stands for, and one more; 0: it is none. */
static const uint8_t value_url[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['-'] = 63, ['_'] = 64,
};

/* n characters (two to four) as so many times six bits; false: one is none of the alphabet's. */
static inline bool decode_part(const uint8_t *in, size_t n, uint32_t *ret_bits)
{
    uint32_t bits = 0;
    bool good = true;
    for (size_t i = 0; i < n; i++) {
        uint32_t value = value_url[in[i]];
        good = good && value != 0;
        bits = bits << 6 | (value - 1);
    }
    *ret_bits = bits;
    return good;
}

enum err crypto_base64url_decode(sv text, void *p, size_t cap, size_t *ret_n)
{
    size_t tail = text.n % 4, whole = text.n - tail, n = whole / 4 * 3 + (tail ? tail - 1 : 0);
    const uint8_t *in = (const uint8_t *)text.p;
    uint8_t *out = p;
    uint32_t bits;
    if (tail == 1)
        return ERR_SYNTAX;
    if (n > cap)
        return ERR_TOOBIG;
    for (size_t i = 0; i < whole; i += 4) {
        if (!decode_part(in + i, 4, &bits))
            return ERR_SYNTAX;
        *out++ = (uint8_t)(bits >> 16);
        *out++ = (uint8_t)(bits >> 8);
        *out++ = (uint8_t)bits;
    }
    if (tail) {
        unsigned spare = tail == 2 ? 4 : 2;
        /* RFC 4648 §3.5: what is left must be zero, or two texts would mean the same octets. */
        if (!decode_part(in + whole, tail, &bits) || bits & ((1u << spare) - 1))
            return ERR_SYNTAX;
        bits >>= spare;
        if (tail == 3)
            *out++ = (uint8_t)(bits >> 8);
        *out = (uint8_t)bits;
    }
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
