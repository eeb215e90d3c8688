/* SPDX-License-Identifier: MIT */
/* uri/uri_priv.h: character classes shared by the files of this module.         layer: wire */
#ifndef URI_URI_PRIV_H
#define URI_URI_PRIV_H
#include "uri/uri.h"

/* RFC 3261 §25.1; each class holds the octets allowed unescaped. */
enum {
    UC_USER = 1 << 0,     /* unreserved / user-unreserved */
    UC_PASSWORD = 1 << 1, /* unreserved / & = + $ , */
    UC_PARAM = 1 << 2,    /* unreserved / param-unreserved */
    UC_HEADER = 1 << 3,   /* unreserved / hnv-unreserved */
    UC_URIC = 1 << 4,     /* unreserved / reserved */
    UC_RESERVED = 1 << 5,
    UC_UNRESERVED = 1 << 6,
    UC_ALPHA = 1 << 7,
    UC_DIGIT = 1 << 8,
    UC_HEX = 1 << 9,
    UC_SCHEME = 1 << 10,
    UC_PHONE = 1 << 11,     /* phonedigit of RFC 3966 */
    UC_PHONE_HEX = 1 << 12, /* phonedigit-hex of RFC 3966 */
    UC_HOST = 1 << 13,      /* letters, digits, "-", "." and "_" */
    UC_LABEL = 1 << 14,     /* the same without "." */
};
extern const uint16_t uri_class[256];

static inline bool uri_is(char c, unsigned mask)
{
    return (uri_class[(unsigned char)c] & mask) != 0;
}

/* The end of a run of octets of a class. */
static inline const char *uri_span(const char *p, const char *end, unsigned mask)
{
    for (; end - p >= 4; p += 4) {
        if (!uri_is(p[0], mask))
            return p;
        if (!uri_is(p[1], mask))
            return p + 1;
        if (!uri_is(p[2], mask))
            return p + 2;
        if (!uri_is(p[3], mask))
            return p + 3;
    }
    while (p < end && uri_is(*p, mask))
        p++;
    return p;
}

static inline uint32_t uri_load4(const char *p)
{
    uint32_t x;
    memcpy(&x, p, 4);
    return x;
}

static inline unsigned uri_hex_value(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a') + 10;
}

/* One character of an escaped text: the octet, its spelling undone. */
struct uri_char {
    unsigned char octet;
    bool escaped;
};
/* Steps over one; *s must not be empty. */
struct uri_char uri_next_char(sv *s);
/* Equality with escapes undone once: an escaped octet equals the bare one unless it is reserved.
 * RFC 3261 §19.1.4 */
bool uri_text_equal(sv a, sv b, bool fold);

#endif
