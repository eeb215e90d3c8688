/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_names.c: names of methods, statuses and transports. */
#include "sipmsg/sipmsg_priv.h"

static const sv method_names[SIP_METHODS] = {
    [SIP_EXTENSION] = {"", 0},
#define X(id, name, what) [SIP_##id] = {name, sizeof(name) - 1},
#include "sipmsg/methods.def"
#undef X
};

sv sip_method_name(enum sip_method m)
{
    return (unsigned)m < SIP_METHODS ? method_names[m] : method_names[SIP_EXTENSION];
}

/* First four octets of a name, 0 behind one of three: no two methods share them. */
#define HEAD(s) \
    ((uint32_t)(s)[0] | (uint32_t)(s)[1] << 8 | (uint32_t)(s)[2] << 16 | (uint32_t)(s)[3] << 24)
static const uint32_t method_heads[SIP_METHODS] = {
    0,
#define X(id, name, what) HEAD(name),
#include "sipmsg/methods.def"
#undef X
};

enum sip_method sip_method_of(sv token)
{
    if (token.n < 3)
        return SIP_EXTENSION;
    const unsigned char *p = (const unsigned char *)token.p;
    uint32_t head = token.n > 3 ? sip_load4(token.p) : p[0] | p[1] << 8 | (uint32_t)p[2] << 16;
    for (unsigned m = 1; m < SIP_METHODS; m++)
        if (method_heads[m] == head)
            return token.n == 3 || sv_eq(method_names[m], token) ? (enum sip_method)m
                                                                 : SIP_EXTENSION;
    return SIP_EXTENSION;
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
