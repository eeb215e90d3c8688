/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_names.c: names of methods, header fields, statuses and transports. */
#include "sipmsg/sipmsg_priv.h"

static const sv method_names[SIP_METHODS] = {
    [SIP_EXTENSION] = {"", 0},
#define X(id, name, what) [SIP_##id] = {name, sizeof(name) - 1},
#include "sipmsg/methods.def"
#undef X
};

static const sv header_names[SIP_HEADERS] = {
    [SIP_H_OTHER] = {"", 0},
#define X(id, name, compact, kind, rfc) [SIP_H_##id] = {name, sizeof(name) - 1},
#include "sipmsg/headers.def"
#undef X
};

static const uint8_t header_kinds[SIP_HEADERS] = {
    [SIP_H_OTHER] = SIP_MANY,
#define X(id, name, compact, kind, rfc) [SIP_H_##id] = SIP_##kind,
#include "sipmsg/headers.def"
#undef X
};

/* One octet per name, from its length, first, middle and last octet; eight of them are compared at
 * a time. An equal octet only nominates: the whole name decides. */
#define HASH(n, first, mid, last) \
    (uint8_t)((n)*17u + ((first) | 0x20u) * 5u + ((mid) | 0x20u) * 3u + ((last) | 0x20u))
#define HASH_OF(s)                                                                  \
    HASH(sizeof(s) - 1, (unsigned char)s[0], (unsigned char)s[(sizeof(s) - 1) / 2], \
         (unsigned char)s[sizeof(s) - 2])
enum { LANES = 8, ROUNDED = (SIP_HEADERS + LANES - 1) / LANES * LANES };

static const uint8_t header_hashes[ROUNDED] = {
    0,
#define X(id, name, compact, kind, rfc) HASH_OF(name),
#include "sipmsg/headers.def"
#undef X
};
/* compact forms in the same order; 0: none */
static const uint8_t header_compacts[ROUNDED] = {
    0,
#define X(id, name, compact, kind, rfc) (uint8_t) compact[0],
#include "sipmsg/headers.def"
#undef X
};

sv sip_method_name(enum sip_method m)
{
    return (unsigned)m < SIP_METHODS ? method_names[m] : method_names[SIP_EXTENSION];
}

enum sip_method sip_method_of(sv token)
{
    for (unsigned m = 1; m < SIP_METHODS; m++)
        if (method_names[m].n == token.n && sv_eq(method_names[m], token))
            return (enum sip_method)m;
    return SIP_EXTENSION;
}

sv sip_header_name(enum sip_header h)
{
    return (unsigned)h < SIP_HEADERS ? header_names[h] : header_names[SIP_H_OTHER];
}

enum sip_kind sip_header_kind(enum sip_header h)
{
    return (enum sip_kind)header_kinds[h];
}

/* The lanes of table that hold want: bit 7 of their octets, lowest lane in the lowest octet. Lanes
 * above a hit may be wrong, which the compare of the whole name mends. */
static uint64_t find_lanes(const uint8_t *table, uint8_t want)
{
    uint64_t x;
    memcpy(&x, table, LANES);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    x ^= want * 0x0101010101010101u;
    return (x - 0x0101010101010101u) & ~x & 0x8080808080808080u;
}

static uint64_t load8(const char *p)
{
    uint64_t x;
    memcpy(&x, p, 8);
    return x | 0x2020202020202020u;
}

/* Without case. The names of the table are letters and '-', and a token holds no CR, the one other
 * octet that setting bit 5 would turn into '-'. */
static bool same_name(const char *known, const char *token, size_t n)
{
    size_t i = 0;
    for (; n - i >= 8; i += 8)
        if (load8(known + i) != load8(token + i))
            return false;
    for (; i < n; i++)
        if ((known[i] | 0x20) != (token[i] | 0x20))
            return false;
    return true;
}

static bool is_name(unsigned h, sv token)
{
    if (h == SIP_H_OTHER || h >= SIP_HEADERS)
        return false;
    if (token.n == 1)
        return header_compacts[h] == (uint8_t)sv_lower(token.p[0]);
    return header_names[h].n == token.n && same_name(header_names[h].p, token.p, token.n);
}

enum sip_header sip_header_lookup(sv token)
{
    const uint8_t *table = token.n == 1 ? header_compacts : header_hashes;
    uint8_t want =
        token.n == 1 ? (uint8_t)sv_lower(token.p[0])
                     : HASH(token.n, (unsigned char)token.p[0], (unsigned char)token.p[token.n / 2],
                            (unsigned char)token.p[token.n - 1]);
    for (unsigned i = 0; i < ROUNDED; i += LANES) {
        for (uint64_t hits = find_lanes(table + i, want); hits; hits &= hits - 1) {
            unsigned h = i + (unsigned)__builtin_ctzll(hits) / 8;
            if (is_name(h, token))
                return (enum sip_header)h;
        }
    }
    return SIP_H_OTHER;
}

enum sip_header sip_header_of(sv name)
{
    return sip_is_token(name) ? sip_header_lookup(name) : SIP_H_OTHER;
}

const char *sip_reason(uint16_t status)
{
    static const char *const classes[] = {"Unknown",
                                          "Unknown Progress",
                                          "Unknown Success",
                                          "Unknown Redirection",
                                          "Unknown Client Error",
                                          "Unknown Server Error",
                                          "Unknown Global Failure"};
    switch (status) {
#define X(code, reason) \
    case code:          \
        return reason;
#include "sipmsg/statuses.def"
#undef X
    }
    return classes[status >= 100 && status < 700 ? status / 100 : 0];
}

static const sv transport_names[] = {
    [SIP_T_NONE] = {"", 0},   [SIP_T_UDP] = {"UDP", 3}, [SIP_T_TCP] = {"TCP", 3},
    [SIP_T_TLS] = {"TLS", 3}, [SIP_T_WS] = {"WS", 2},   [SIP_T_WSS] = {"WSS", 3},
    [SIP_T_OTHER] = {"", 0},
};

sv sip_transport_name(enum sip_transport t)
{
    return (unsigned)t <= SIP_T_OTHER ? transport_names[t] : transport_names[SIP_T_NONE];
}

enum sip_transport sip_transport_of(sv token)
{
    if (token.n == 0)
        return SIP_T_NONE;
    for (unsigned t = SIP_T_UDP; t < SIP_T_OTHER; t++)
        if (sv_ieq(token, transport_names[t]))
            return (enum sip_transport)t;
    return SIP_T_OTHER;
}
