/* SPDX-License-Identifier: MIT */
/* Addresses as values: text form by RFC 5952, classes by RFC 6890 and the registries it began. */
#include "sock/addr.h"
#include <arpa/inet.h>

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

static uint8_t full_bits(const struct addr *a)
{
    return a->family == 4 ? 32 : 128;
}

static bool has_prefix(const uint8_t *ip, const uint8_t *prefix, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(ip, prefix, whole) != 0)
        return false;
    return rest == 0 || (uint8_t)((ip[whole] ^ prefix[whole]) >> (8 - rest)) == 0;
}

struct addr addr_from_ip(const uint8_t *ip, size_t n, uint16_t port)
{
    struct addr a = {.port = port};
    if (n == 16 && memcmp(ip, mapped_prefix, sizeof(mapped_prefix)) == 0) {
        ip += 12; /* RFC 4291 §2.5.5.2: one canonical form before every check */
        n = 4;
    }
    if (n == 4 || n == 16) {
        memcpy(a.ip, ip, n);
        a.family = n == 4 ? 4 : 6;
    }
    return a;
}

enum err addr_parse_ip(sv text, uint16_t port, struct addr *ret_addr)
{
    bool brackets = text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']';
    sv inner = brackets ? sv_sub(text, 1, text.n - 1) : text;
    char z[INET6_ADDRSTRLEN];
    uint8_t ip[16];

    if (inner.n == 0 || inner.n >= sizeof(z) || memchr(inner.p, 0, inner.n))
        return ERR_SYNTAX;
    memcpy(z, inner.p, inner.n);
    z[inner.n] = 0;
    /* inet_pton refuses leading zeros and short forms, so nobody reads the text as octal elsewhere.
     */
    if (!brackets && inet_pton(AF_INET, z, ip) == 1)
        *ret_addr = addr_from_ip(ip, 4, port);
    else if (inet_pton(AF_INET6, z, ip) == 1)
        *ret_addr = addr_from_ip(ip, 16, port);
    else
        return ERR_SYNTAX;
    return ERR_OK;
}

enum err addr_parse(sv text, struct addr *ret_addr)
{
    size_t colon = text.n;
    uint64_t port;
    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    if (colon < 2)
        return ERR_SYNTAX;
    sv host = sv_sub(text, 0, colon - 1);
    /* IPv6 needs its brackets here: without them the last group would be taken for a port. */
    if (host.p[0] != '[' && sv_chr(host, ':') != host.n)
        return ERR_SYNTAX;
    TRY(sv_u64(sv_sub(text, colon, text.n), UINT16_MAX, &port));
    return addr_parse_ip(host, (uint16_t)port, ret_addr);
}

void addr_print_ip(struct buf *b, const struct addr *a)
{
    if (a->family == 4)
        buf_ip(b, a->ip, 4);
    else if (a->family == 6)
        buf_ip(b, a->ip, 16);
    else
        buf_char(b, '-');
}

void addr_print_host(struct buf *b, const struct addr *a)
{
    if (a->family == 6)
        buf_char(b, '[');
    addr_print_ip(b, a);
    if (a->family == 6)
        buf_char(b, ']');
}

void addr_print(struct buf *b, const struct addr *a)
{
    addr_print_host(b, a);
    buf_char(b, ':');
    buf_u64(b, a->port);
}

bool addr_equal_ip(const struct addr *a, const struct addr *b)
{
    return a->family == b->family && a->scope == b->scope &&
           memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
    return a->port == b->port && addr_equal_ip(a, b);
}

bool addr_is_any(const struct addr *a)
{
    static const uint8_t zero[16];
    return memcmp(a->ip, zero, sizeof(zero)) == 0;
}

#define IP4(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (d))

/* First match wins. RFC 6890 and the IANA special purpose registries. */
static const struct range4 {
    uint32_t prefix;
    uint8_t bits;
    uint8_t is; /* enum addr_class */
} ranges4[] = {
    {IP4(0, 0, 0, 0), 8, ADDR_SPECIAL},
    {IP4(10, 0, 0, 0), 8, ADDR_PRIVATE},
    {IP4(100, 64, 0, 0), 10, ADDR_PRIVATE},
    {IP4(127, 0, 0, 0), 8, ADDR_LOOPBACK},
    {IP4(169, 254, 0, 0), 16, ADDR_LINK_LOCAL},
    {IP4(172, 16, 0, 0), 12, ADDR_PRIVATE},
    {IP4(192, 0, 0, 0), 24, ADDR_SPECIAL},
    {IP4(192, 168, 0, 0), 16, ADDR_PRIVATE},
    {IP4(198, 18, 0, 0), 15, ADDR_SPECIAL},
    {IP4(224, 0, 0, 0), 4, ADDR_MULTICAST},
    {IP4(255, 255, 255, 255), 32, ADDR_MULTICAST},
    {IP4(240, 0, 0, 0), 4, ADDR_SPECIAL},
};

struct range6 {
    uint8_t prefix[16];
    uint8_t bits;
    enum addr_class is;
};

static const struct range6 ranges6[] = {
    {{[15] = 1}, 128, ADDR_LOOPBACK},
    {{0}, 96, ADDR_SPECIAL},                         /* unspecified, IPv4-compatible */
    {{0, 0x64, 0xff, 0x9b, 0, 1}, 48, ADDR_PRIVATE}, /* RFC 8215 */
    {{1}, 64, ADDR_SPECIAL},                         /* discard, RFC 6666 */
    {{0x20, 0x01, 0x0d, 0xb8}, 32, ADDR_GLOBAL},     /* documentation */
    {{0x20, 0x01}, 23, ADDR_SPECIAL},                /* protocol assignments, Teredo, ORCHID */
    {{0xfc}, 7, ADDR_PRIVATE},
    {{0xfe, 0x80}, 10, ADDR_LINK_LOCAL},
    {{0xfe, 0xc0}, 10, ADDR_SPECIAL}, /* site-local, RFC 3879 */
    {{0xff}, 8, ADDR_MULTICAST},
};

static enum addr_class class4(const uint8_t *octets)
{
    uint32_t ip = IP4(octets[0], octets[1], octets[2], octets[3]);
    for (size_t i = 0; i < sizeof(ranges4) / sizeof(ranges4[0]); i++)
        if ((ip ^ ranges4[i].prefix) >> (32 - ranges4[i].bits) == 0)
            return (enum addr_class)ranges4[i].is;
    return ADDR_GLOBAL;
}

static enum addr_class class6(const uint8_t *ip)
{
    for (size_t i = 0; i < sizeof(ranges6) / sizeof(ranges6[0]); i++)
        if (has_prefix(ip, ranges6[i].prefix, ranges6[i].bits))
            return ranges6[i].is;
    return ADDR_GLOBAL;
}

enum addr_class addr_class(const struct addr *a)
{
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};
    static const uint8_t six_to_four[2] = {0x20, 0x02};

    if (a->family == 4)
        return class4(a->ip);
    if (a->family != 6)
        return ADDR_SPECIAL;
    /* Addresses that a gateway turns into the IPv4 address inside are of that address' class. */
    if (has_prefix(a->ip, mapped_prefix, 96) || has_prefix(a->ip, nat64, 96))
        return class4(a->ip + 12);
    if (has_prefix(a->ip, six_to_four, 16))
        return class4(a->ip + 2);
    return class6(a->ip);
}

void addr_key(const struct addr *a, uint8_t ret_key[static ADDR_KEY])
{
    memset(ret_key, 0, ADDR_KEY);
    memcpy(ret_key, a->ip, 16);
    ret_key[16] = (uint8_t)(a->port >> 8);
    ret_key[17] = (uint8_t)a->port;
    ret_key[18] = a->family;
    memcpy(ret_key + 20, &a->scope, sizeof(a->scope));
}

enum err addr_net_parse(sv text, struct addr_net *ret_net)
{
    size_t slash = sv_chr(text, '/');
    sv host = sv_sub(text, 0, slash);
    struct addr_net net;
    uint64_t bits;

    TRY(addr_parse_ip(host, 0, &net.base));
    if (slash == text.n) {
        bits = full_bits(&net.base);
    } else {
        /* A mapped prefix was given in IPv6 bits although its base is IPv4 now. */
        bool mapped = net.base.family == 4 && sv_chr(host, ':') != host.n;
        TRY(sv_u64(sv_sub(text, slash + 1, text.n), mapped ? 128 : full_bits(&net.base), &bits));
        if (mapped && bits < 96)
            return ERR_RANGE;
        if (mapped)
            bits -= 96;
    }
    net.bits = (uint8_t)bits;
    for (unsigned i = net.bits; i < full_bits(&net.base); i++)
        if (net.base.ip[i / 8] >> (7 - i % 8) & 1)
            return ERR_RANGE; /* host bits: more likely a slip than meant */
    *ret_net = net;
    return ERR_OK;
}

bool addr_net_has(const struct addr_net *n, const struct addr *a)
{
    return n->base.family == a->family && has_prefix(a->ip, n->base.ip, n->bits);
}
