/* SPDX-License-Identifier: MIT */
/* uri/uri_host.c: host names and addresses. No socket headers here: the octets alone decide. */
#include "uri/uri_priv.h"

/* Above 9: it is none. */
static unsigned digit(char c)
{
    return (unsigned)(unsigned char)c - '0';
}

/* The end of the IPv4 address at p, or NULL. dec-octet of RFC 3986: no leading zero, which some would
 * read as octal. */
static const char *ip4_end(const char *p, const char *end, uint8_t out[static 4])
{
    for (unsigned part = 0;; p++) {
        unsigned value = p < end ? digit(*p) : 10, next;
        if (value > 9)
            return NULL;
        if (++p < end && (next = digit(*p)) <= 9) {
            if (value == 0)
                return NULL;
            value = value * 10 + next;
            if (++p < end && (next = digit(*p)) <= 9) {
                value = value * 10 + next;
                p++;
                if (value > 255)
                    return NULL;
            }
        }
        out[part] = (uint8_t)value;
        if (++part == 4)
            return p;
        if (p >= end || *p != '.')
            return NULL;
    }
}

static bool read_ip4(sv s, uint8_t out[static 4])
{
    return ip4_end(s.p, s.p + s.n, out) == s.p + s.n;
}

/* One group of an IPv6 address at *i. */
static bool read_group(sv s, size_t *i, uint8_t out[static 2])
{
    unsigned value = 0;
    size_t from = *i;
    while (*i < s.n && *i - from < 4 && uri_is(s.p[*i], UC_HEX))
        value = value << 4 | uri_hex_value(s.p[(*i)++]);
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
    return *i > from;
}

/* RFC 5954 §4.1 (the grammar of RFC 3986). The grammar of RFC 2373, which RFC 3261 took over, lets
 * an embedded IPv4 address follow "::" with a third colon; RFC 5118 §4.10 wants that tolerated. */
static bool read_ip6(sv s, uint8_t out[static 16])
{
    size_t n = 0, gap = 17, i = 0;
    if (s.n >= 2 && s.p[0] == ':') {
        if (s.p[1] != ':')
            return false;
        gap = 0;
        i = 2;
    }
    while (i < s.n) {
        sv rest = sv_sub(s, i, s.n);
        bool third = gap == n && rest.p[0] == ':';
        if (n <= 12 && read_ip4(sv_sub(rest, third, rest.n), out + n)) {
            n += 4;
            i = s.n;
            break;
        }
        if (n == 16 || !read_group(s, &i, out + n))
            return false;
        n += 2;
        if (i == s.n)
            break;
        if (s.p[i++] != ':' || i == s.n)
            return false;
        if (s.p[i] == ':') {
            if (gap != 17)
                return false;
            gap = n;
            i++;
        }
    }
    if (gap == 17)
        return n == 16;
    if (n > 14) /* "::" stands for at least one group */
        return false;
    memmove(out + 16 - (n - gap), out + gap, n - gap);
    memset(out + gap, 0, 16 - n);
    return true;
}

enum err uri_host_ip(sv host, uint8_t ret_ip[static 16], size_t *ret_n)
{
    uint8_t ip[16] = {0};
    size_t n = 0;
    if (host.p && read_ip4(host, ip))
        n = 4;
    else if (host.p && host.n >= 2 && read_ip6(host, ip))
        n = 16;
    if (!n)
        return ERR_SYNTAX;
    memcpy(ret_ip, ip, 16);
    *ret_n = n;
    return ERR_OK;
}

/* *( domainlabel "." ) toplabel [ "." ], where a top label starts with a letter.
 * DEVIATES: "_" is taken as a letter or digit; container names have it and no second reading
 * arises. */
static const char *hostname_end(const char *p, const char *end)
{
    for (;;) {
        const char *label = p;
        p = uri_span(p, end, UC_LABEL);
        if (p == label || *label == '-' || p[-1] == '-')
            return NULL;
        bool dot = p < end && *p == '.';
        if (dot && end - p > 1 && uri_is(p[1], UC_HOST)) {
            p++;
            continue;
        }
        return uri_is(*label, UC_DIGIT) ? NULL : p + dot;
    }
}

const char *uri_host_end(const char *p, const char *end)
{
    uint8_t ip[4];
    if (p == end)
        return NULL;
    if (uri_is(*p, UC_DIGIT)) {
        const char *stop = ip4_end(p, end, ip);
        if (stop && (stop == end || !uri_is(*stop, UC_HOST)))
            return stop;
    }
    return hostname_end(p, end);
}

bool uri_is_host(sv host, bool ip6)
{
    uint8_t ip[16];
    if (!host.p || host.n == 0)
        return false;
    if (ip6)
        return host.n >= 2 && read_ip6(host, ip);
    return uri_host_end(host.p, host.p + host.n) == host.p + host.n;
}
