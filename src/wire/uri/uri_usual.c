/* SPDX-License-Identifier: MIT */
/* uri/uri_usual.c: URIs as nearly all are written: "sip:" [ user "@" ] host [ ":" port ] and parameters,
 * all of plain octets. What is of another form goes the long way (uri.c), which knows the whole
 * grammar; what is taken here reads there as the same. No bounds are looked at on the way: each step
 * ends at an odd octet, and behind the end there is one. */
#include "uri/uri_priv.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { HOST_MAX = 64 };

static inline unsigned digit(char c)
{
    return (unsigned)(unsigned char)c - '0';
}

/* A number of three digits from 200 on that no octet holds? */
static inline bool is_too_large(const char *p)
{
    return 100 * digit(p[0]) + 10 * digit(p[1]) + digit(p[2]) > 255;
}

#ifdef __SSE2__
/* Four dec-octets of RFC 3986, by the sets of places where something stands. */
static bool is_ip4(const char *p, size_t n)
{
    const __m128i nine = _mm_set1_epi8(9), zero = _mm_set1_epi8('0');
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p), value = _mm_sub_epi8(x, zero);
    __m128i is_digit = _mm_cmpeq_epi8(_mm_min_epu8(value, nine), value);
    if (n - 7 > 15 - 7)
        return false;
    unsigned all = (1u << n) - 1;
    unsigned digits = (unsigned)_mm_movemask_epi8(is_digit) & all;
    unsigned dots = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8('.'))) & all;
    unsigned zeros = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, zero));
    unsigned ones = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8('1')));
    unsigned starts = dots << 1 | 1, pairs = digits & digits >> 1, triples = pairs & pairs >> 1;
    unsigned second = dots & (dots - 1), third = second & (second - 1);
    if ((digits | dots) != all || (starts & ~digits) || !third || (third & (third - 1)) ||
        (triples & triples >> 1) || (zeros & starts & pairs))
        return false;
    for (unsigned large = triples & ~ones; large; large &= large - 1)
        if (is_too_large(p + __builtin_ctz(large)))
            return false;
    return true;
}
#else
/* dec-octet of RFC 3986; NULL: none. */
static inline const char *dec_octet(const char *p)
{
    if (digit(p[0]) > 9)
        return NULL;
    if (digit(p[1]) > 9)
        return p + 1;
    if (p[0] == '0')
        return NULL;
    if (digit(p[2]) > 9)
        return p + 2;
    return is_too_large(p) ? NULL : p + 3;
}

static bool is_ip4(const char *p, size_t n)
{
    const char *stop = p + n;
    for (unsigned dots = 0;; dots++, p++) {
        p = dec_octet(p);
        if (!p || dots == 3)
            return p == stop;
        if (*p != '.')
            return false;
    }
}
#endif

bool uri_is_usual_ip4(sv host)
{
    return is_ip4(host.p, host.n);
}

/* Where a name has dots, and where dots or hyphens; false: something else stands in it that is neither
 * letter, digit nor '_'. All of it is plain. */
static inline bool find_joints(const char *p, size_t n, uint64_t *ret_dots, uint64_t *ret_joints)
{
    uint64_t dots = 0, joints = 0;
#ifdef __SSE2__
    uint64_t others = 0;
    for (size_t i = 0; i < n; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i y =
            _mm_sub_epi8(x, _mm_set1_epi8('-')); /* '-' 0, '.' 1, other marks below but for '~' */
        __m128i other = _mm_or_si128(y, _mm_add_epi8(x, _mm_set1_epi8(0x80 - '~')));
        __m128i dot = _mm_cmpeq_epi8(x, _mm_set1_epi8('.'));
        others |= (uint64_t)(unsigned)_mm_movemask_epi8(other) << i;
        dots |= (uint64_t)(unsigned)_mm_movemask_epi8(dot) << i;
        joints |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmplt_epi8(y, _mm_set1_epi8(2))) << i;
    }
    unsigned behind = 64 - (unsigned)n;
    *ret_dots = dots << behind >> behind;
    *ret_joints = joints << behind >> behind;
    return others << behind == 0;
#else
    for (size_t i = 0; i < n; i++) {
        if (!uri_is(p[i], UC_HOST))
            return false;
        dots |= (uint64_t)(p[i] == '.') << i;
        joints |= (uint64_t)(p[i] == '.' || p[i] == '-') << i;
    }
    *ret_dots = dots;
    *ret_joints = joints;
    return true;
#endif
}

static inline __attribute__((always_inline)) bool is_host(const char *p, size_t n)
{
    uint64_t dots, joints, last = (uint64_t)1 << (n - 1) % 64;
    if (n - 1 >= HOST_MAX)
        return false;
    if (digit(*p) <= 9)
        return is_ip4(p, n);
    /* Labels of letters and digits, joined by single dots and hyphens. */
    if (!find_joints(p, n, &dots, &joints) || (joints & (joints >> 1 | last | 1)))
        return false;
    size_t top = dots ? 64 - (size_t)__builtin_clzll(dots) : 0;
    return digit(p[top]) > 9; /* the top label starts with a letter */
}

bool uri_is_usual_host(const char *p, const char *stop)
{
    return is_host(p, (size_t)(stop - p));
}

/* Four digits at once, as most ports have: a sum of 0x80 or more in an octet is none. */
static inline bool read_four_digits(const char *p, unsigned *ret)
{
    uint32_t x = uri_load4(p) ^ uri_load4("0000");
    if (((x + 0x76767676) | x) & 0x80808080)
        return false;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap32(x);
#endif
    x = (x * 10 + (x >> 8)) & 0x00ff00ff; /* two pairs */
    *ret = (x * 100 + (x >> 16)) & 0xffff;
    return true;
}

static inline const char *read_port(const char *p, uint16_t *ret_port)
{
    const char *from = p;
    unsigned port = 0;
    if (read_four_digits(p, &port))
        p += 4;
    for (unsigned d; (d = digit(*p)) <= 9; p++) {
        port = port * 10 + d;
        if (p - from == 5)
            return NULL;
    }
    *ret_port = (uint16_t)port;
    return port - 1 < 65535 ? p : NULL;
}

const char *uri_read_usual_port(const char *p, uint16_t *ret_port)
{
    return read_port(p, ret_port);
}

/* A bit for a parameter's name, which its length and first octet make. */
static inline uint64_t mark_of(char first, size_t n)
{
    return (uint64_t)1 << (((unsigned char)first | 0x20) + 7 * n) % 64;
}

/* p stands at the first ';'. RFC 3261 §19.1.1: any given parameter-name MUST NOT appear more than once:
 * two names of one mark go the long way, and those whose values must be looked at. */
static inline const char *read_params(const struct octet_map *map, const char *p, sv *ret)
{
    const char *from = p + 1;
    uint64_t marks = mark_of('t', sizeof("ttl") - 1) | mark_of('m', sizeof("maddr") - 1);
    for (unsigned n = 0; *p == ';'; n++) {
        sv name, value;
        p = octets_param(map, p + 1, &name, &value);
        if (!p || n == URI_PARAMS_MAX)
            return NULL;
        uint64_t mark = mark_of(name.p[0], name.n);
        bool no_transport = value.n == 0 && name.n == sizeof("transport") - 1;
        if ((marks & mark) || no_transport)
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
    if (!is_host(p, (size_t)(stop - p)))
        return NULL;
    u->host = (sv){p, (size_t)(stop - p)};
    p = stop;
    if (*p == ':' && !(p = read_port(p + 1, &u->port)))
        return NULL;
    if (*p == ';' && !(p = read_params(map, p, &u->params)))
        return NULL;
    if ((p != end && (p > end || *p != '>')) || p - from > URI_MAX)
        return NULL;
    u->text = (sv){from, (size_t)(p - from)};
    return p;
}
