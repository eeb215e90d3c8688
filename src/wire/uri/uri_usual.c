/* SPDX-License-Identifier: MIT */
/* uri/uri_usual.c: URIs as nearly all are written: "sip:" [ user "@" ] host [ ":" port ] and parameters,
 * all of plain octets. What is of another form goes the long way (uri.c), which knows the whole
 * grammar; what is taken here reads there as the same. No bounds are looked at on the way: each step
 * ends at an odd octet, and behind the end there is one. */
#include "uri/uri_priv.h"

enum { HOST_MAX = 56 };

static inline unsigned digit(char c)
{
    return (unsigned)(unsigned char)c - '0';
}

/* dec-octet of RFC 3986; NULL: none. */
static inline const char *dec_octet(const char *p)
{
    unsigned a = digit(p[0]), b, c;
    if (a > 9)
        return NULL;
    b = digit(p[1]);
    if (b > 9)
        return p + 1;
    if (a == 0)
        return NULL;
    c = digit(p[2]);
    if (c > 9)
        return p + 2;
    return a * 100 + b * 10 + c <= 255 ? p + 3 : NULL;
}

static bool is_ip4(const char *p, const char *stop)
{
    for (unsigned dots = 0;; dots++, p++) {
        p = dec_octet(p);
        if (!p || dots == 3)
            return p == stop;
        if (*p != '.')
            return false;
    }
}

bool uri_is_usual_ip4(sv host)
{
    return is_ip4(host.p, host.p + host.n);
}

static inline __attribute__((always_inline)) bool is_host(const struct octet_map *map,
                                                          const char *p, const char *stop)
{
    size_t n = (size_t)(stop - p);
    if (n - 1 >= HOST_MAX)
        return false;
    if (digit(*p) <= 9)
        return is_ip4(p, stop);
    /* Labels of letters and digits, joined by single dots and hyphens. */
    uint64_t last = (uint64_t)1 << (n - 1), top = 0;
    uint64_t joints = octets_window(map->marks, (size_t)(p - map->base)) & (2 * last - 1);
    if (joints & (joints >> 1 | last | 1))
        return false;
    for (; joints; joints &= joints - 1) {
        unsigned at = (unsigned)__builtin_ctzll(joints);
        if (p[at] == '.')
            top = at + 1;
        else if (p[at] != '-')
            return false;
    }
    return digit(p[top]) > 9; /* the top label starts with a letter */
}

bool uri_is_usual_host(const struct octet_map *map, const char *p, const char *stop)
{
    return is_host(map, p, stop);
}

const char *uri_read_usual_port(const char *p, uint16_t *ret_port)
{
    const char *from = p;
    unsigned port = 0;
    for (unsigned d; (d = digit(*p)) <= 9; p++) {
        port = port * 10 + d;
        if (p - from == 5)
            return NULL;
    }
    *ret_port = (uint16_t)port;
    return port - 1 < 65535 ? p : NULL;
}

/* Is it one whose value must be looked at? Those, and what could be one of them, go the long way. */
static inline bool is_known_param(sv name, sv value, char first)
{
    return (name.n == 9 && value.n == 0) || (name.n == 3 && first == 't') ||
           (name.n == 5 && first == 'm');
}

/* p stands at the first ';'. RFC 3261 §19.1.1: any given parameter-name MUST NOT appear more than once:
 * two names of one mark, which length and first octet make, go the long way. */
static inline const char *read_params(const struct octet_map *map, const char *p, sv *ret)
{
    const char *from = p + 1;
    uint64_t marks = 0;
    for (unsigned n = 0; *p == ';'; n++) {
        sv name, value;
        p = octets_param(map, p + 1, &name, &value);
        if (!p || n == URI_PARAMS_MAX)
            return NULL;
        char first = (char)(name.p[0] | 0x20);
        uint64_t mark = (uint64_t)1 << (((unsigned char)first + 11 * name.n) % 64);
        if (is_known_param(name, value, first) || (marks & mark))
            return NULL;
        marks |= mark;
    }
    *ret = (sv){from, (size_t)(p - from)};
    return p;
}

const char *uri_read_usual(const struct octet_map *map, const char *p, const char *end,
                           struct uri *ret_uri)
{
    struct uri *u = ret_uri;
    const char *from = p, *stop;
    if (end - p < 5 || (uri_load4(p) | uri_load4("   ")) != uri_load4("sip:"))
        return NULL;
    u->scheme = URI_SIP;
    u->scheme_text = (sv){p, 3};
    u->user = u->password = u->params = u->headers = u->opaque = SV_NONE;
    u->port = 0;
    u->host_ip6 = false;
    p += 4;
    stop = octets_plain_end(map, p);
    if (*stop == '@' && stop > p) {
        u->user = (sv){p, (size_t)(stop - p)};
        p = stop + 1;
        stop = octets_plain_end(map, p);
    }
    if (!is_host(map, p, stop))
        return NULL;
    u->host = (sv){p, (size_t)(stop - p)};
    p = stop;
    if (*p == ':' && !(p = uri_read_usual_port(p + 1, &u->port)))
        return NULL;
    if (*p == ';' && !(p = read_params(map, p, &u->params)))
        return NULL;
    if ((p != end && (p > end || *p != '>')) || p - from > URI_MAX)
        return NULL;
    u->text = (sv){from, (size_t)(p - from)};
    return p;
}
