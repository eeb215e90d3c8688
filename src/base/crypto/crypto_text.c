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
    size_t tail = n % 3, end = tail == 0 ? 0 : pad ? 4 : tail + 1;
    char *out = n > 0 ? buf_room(b, n / 3 * 4 + end) : NULL;
    if (!out)
        return;
    b->n += n / 3 * 4 + end;
    for (const uint8_t *whole = p + (n - tail); p < whole; p += 3) {
        uint32_t word = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        *out++ = alphabet[word >> 18];
        *out++ = alphabet[word >> 12 & 63];
        *out++ = alphabet[word >> 6 & 63];
        *out++ = alphabet[word & 63];
    }
    if (tail == 0)
        return;
    uint32_t word = (uint32_t)p[0] << 16 | (tail == 2 ? (uint32_t)p[1] << 8 : 0);
    *out++ = alphabet[word >> 18];
    *out++ = alphabet[word >> 12 & 63];
    if (tail == 2)
        *out++ = alphabet[word >> 6 & 63];
    for (size_t i = tail + 1; i < end; i++)
        *out++ = '=';
}

void crypto_base64(struct buf *b, const void *p, size_t n)
{
    encode(b, p, n, alphabet_std, true);
}

void crypto_base64url(struct buf *b, const void *p, size_t n)
{
    encode(b, p, n, alphabet_url, false);
}

/* What a character of the URL alphabet stands for, and IN; 0: it is none. */
enum { IN = 64 };
static const uint8_t value_url[256] = {
    ['A'] = 64,  ['B'] = 65,  ['C'] = 66,  ['D'] = 67,  ['E'] = 68,  ['F'] = 69,  ['G'] = 70,
    ['H'] = 71,  ['I'] = 72,  ['J'] = 73,  ['K'] = 74,  ['L'] = 75,  ['M'] = 76,  ['N'] = 77,
    ['O'] = 78,  ['P'] = 79,  ['Q'] = 80,  ['R'] = 81,  ['S'] = 82,  ['T'] = 83,  ['U'] = 84,
    ['V'] = 85,  ['W'] = 86,  ['X'] = 87,  ['Y'] = 88,  ['Z'] = 89,  ['a'] = 90,  ['b'] = 91,
    ['c'] = 92,  ['d'] = 93,  ['e'] = 94,  ['f'] = 95,  ['g'] = 96,  ['h'] = 97,  ['i'] = 98,
    ['j'] = 99,  ['k'] = 100, ['l'] = 101, ['m'] = 102, ['n'] = 103, ['o'] = 104, ['p'] = 105,
    ['q'] = 106, ['r'] = 107, ['s'] = 108, ['t'] = 109, ['u'] = 110, ['v'] = 111, ['w'] = 112,
    ['x'] = 113, ['y'] = 114, ['z'] = 115, ['0'] = 116, ['1'] = 117, ['2'] = 118, ['3'] = 119,
    ['4'] = 120, ['5'] = 121, ['6'] = 122, ['7'] = 123, ['8'] = 124, ['9'] = 125, ['-'] = 126,
    ['_'] = 127,
};

enum err crypto_base64url_decode(sv text, void *p, size_t cap, size_t *ret_n)
{
    size_t tail = text.n % 4, n = text.n / 4 * 3 + (tail ? tail - 1 : 0);
    const uint8_t *in = (const uint8_t *)text.p, *v = value_url;
    uint8_t *out = p, all = IN;
    if (tail == 1)
        return ERR_SYNTAX;
    if (n > cap)
        return ERR_TOOBIG;
    for (size_t left = text.n / 4; left > 0; left--, in += 4, out += 3) {
        uint8_t a = v[in[0]], b = v[in[1]], c = v[in[2]], d = v[in[3]];
        all &= a & b & c & d;
        out[0] = (uint8_t)(a << 2 | (b >> 4 & 3));
        out[1] = (uint8_t)(b << 4 | (c >> 2 & 15));
        out[2] = (uint8_t)(c << 6 | (d & 63));
    }
    if (tail) {
        uint8_t a = v[in[0]], b = v[in[1]], c = tail == 3 ? v[in[2]] : IN;
        /* RFC 4648 §3.5: what is left must be zero, or two texts would mean the same octets. */
        uint8_t spare = tail == 3 ? c & 3 : b & 15;
        all &= spare ? 0 : a & b & c;
        out[0] = (uint8_t)(a << 2 | (b >> 4 & 3));
        if (tail == 3)
            out[1] = (uint8_t)(b << 4 | (c >> 2 & 15));
    }
    if (!(all & IN))
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
