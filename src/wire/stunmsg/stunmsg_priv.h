/* SPDX-License-Identifier: MIT */
/* stunmsg/stunmsg_priv.h: what reading and printing share. */
#ifndef STUNMSG_STUNMSG_PRIV_H
#define STUNMSG_STUNMSG_PRIV_H
#include "stunmsg/stunmsg.h"

enum { STUN_COOKIE = 4, STUN_FAMILY_IPV4 = 1, STUN_FAMILY_IPV6 = 2 };
extern const uint8_t stun_cookie[STUN_COOKIE];

/* The value of a FINGERPRINT behind these octets (RFC 8489 §14.7). */
uint32_t stun_fingerprint(const void *p, size_t n);
/* With cookie and transaction id: n of their 16 octets (§14.2). */
void stun_xor(uint8_t *p, size_t n, const uint8_t id[static STUN_ID]);

static inline uint8_t stun_octet(sv s, size_t at)
{
    return (uint8_t)s.p[at];
}
static inline uint16_t stun_get_u16(sv s, size_t at)
{
    return (uint16_t)(stun_octet(s, at) << 8 | stun_octet(s, at + 1));
}
static inline uint32_t stun_get_u32(sv s, size_t at)
{
    return (uint32_t)stun_get_u16(s, at) << 16 | stun_get_u16(s, at + 2);
}
static inline size_t stun_padded(size_t n)
{
    return (n + 3) & ~(size_t)3;
}

/* As it is written. */
static inline uint8_t stun_family_of(uint8_t family)
{
    return family == 4 ? STUN_FAMILY_IPV4 : STUN_FAMILY_IPV6;
}

enum { STUN_SHA1_VALUE = 20, STUN_SHA256_VALUE = 32 };
/* The whole MAC of the first `end` octets of message, as an integrity attribute with a value of value_n octets
 * behind them has it: its length field says that the message ends with that one (§14.5, §14.6). */
void stun_mac(enum stun_integrity which, sv key, sv message, size_t end, size_t value_n,
              uint8_t ret_mac[static STUN_SHA256_VALUE]);

#endif
