/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_names.c: names of methods, header fields, statuses and transports. */
#include "sipmsg/sipmsg_priv.h"
#include "sipmsg/header_slots.h"

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

/* compact forms in the same order; 0: none */
static const uint8_t header_compacts[SIP_HEADERS] = {
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

/* Octets without case. The names of the table are letters and '-', and a token holds no CR, the one
 * other octet that setting bit 5 would turn into '-'. */
static bool same8(const char *a, const char *b)
{
    uint64_t x, y;
    memcpy(&x, a, 8);
    memcpy(&y, b, 8);
    return ((x ^ y) & ~0x2020202020202020u) == 0;
}

static bool same4(const char *a, const char *b)
{
    uint32_t x, y;
    memcpy(&x, a, 4);
    memcpy(&y, b, 4);
    return ((x ^ y) & ~0x20202020u) == 0;
}

static bool same_name(const char *known, const char *token, size_t n)
{
    size_t i = 0;
    if (n >= 8) {
        for (; n - i > 8; i += 8)
            if (!same8(known + i, token + i))
                return false;
        return same8(known + n - 8, token + n - 8);
    }
    if (n >= 4)
        return same4(known, token) && same4(known + n - 4, token + n - 4);
    for (; i < n; i++)
        if ((known[i] | 0x20) != (token[i] | 0x20))
            return false;
    return true;
}

enum sip_header sip_header_lookup(sv token)
{
    unsigned h =
        header_slots[SIP_HASH_SLOT(sip_hash_key(token.p, token.n), SIP_HASH_FACTOR, SIP_HASH_BITS)];
    bool same = token.n == 1 ? header_compacts[h] == (uint8_t)sv_lower(token.p[0])
                             : header_names[h].n == token.n &&
                                   same_name(header_names[h].p, token.p, token.n);
    return same ? (enum sip_header)h : SIP_H_OTHER;
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
