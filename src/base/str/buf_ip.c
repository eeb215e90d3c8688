/* SPDX-License-Identifier: MIT */
/* Addresses as text. */
#include "str/buf.h"

/* 0..255 in decimal; behind it. */
static char *put_octet(char *at, unsigned v)
{
    if (v >= 100)
        *at++ = (char)('0' + v / 100);
    if (v >= 10)
        *at++ = (char)('0' + v / 10 % 10);
    *at++ = (char)('0' + v % 10);
    return at;
}

static void print_ip4(struct buf *b, const uint8_t ip[4])
{
    char text[sizeof "255.255.255.255"], *at = text;
    for (int i = 0; i < 4; i++) {
        at = put_octet(at, ip[i]);
        *at++ = '.';
    }
    buf_mem(b, text, (size_t)(at - text) - 1);
}

/* 0..ffff without leading zeros; behind it. */
static char *put_group(char *at, unsigned v)
{
    unsigned digits = v ? (unsigned)(35 - __builtin_clz(v)) / 4 : 1;
    while (digits-- > 0)
        *at++ = "0123456789abcdef"[v >> (4 * digits) & 15];
    return at;
}

/* RFC 5952 §4: lower case, no leading zeros, the longest run of two or more zero groups (the first
 * of equals) as "::". */
static void print_ip6(struct buf *b, const uint8_t ip[16])
{
    unsigned group[8], best = 8, best_n = 1;
    for (unsigned i = 0; i < 8; i++)
        group[i] = (unsigned)ip[2 * i] << 8 | ip[2 * i + 1];
    for (unsigned i = 0; i < 8; i++) {
        unsigned n = 0;
        while (i + n < 8 && group[i + n] == 0)
            n++;
        if (n > best_n) {
            best = i;
            best_n = n;
        }
    }
    char text[sizeof "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"], *at = text;
    for (unsigned i = 0; i < 8;) {
        if (i == best) {
            *at++ = ':';
            *at++ = ':';
            i += best_n;
            continue;
        }
        if (i != 0 && i != best + best_n)
            *at++ = ':';
        at = put_group(at, group[i++]);
    }
    buf_mem(b, text, (size_t)(at - text));
}

void buf_ip(struct buf *b, const uint8_t *ip, size_t n)
{
    if (n == 4)
        print_ip4(b, ip);
    else
        print_ip6(b, ip);
}
