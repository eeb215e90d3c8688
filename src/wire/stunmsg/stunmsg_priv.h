/* SPDX-License-Identifier: MIT */
/* stunmsg/stunmsg_priv.h: what reading and printing share. */
#ifndef STUNMSG_STUNMSG_PRIV_H
#define STUNMSG_STUNMSG_PRIV_H
#include "stunmsg/stunmsg.h"

enum { STUN_COOKIE = 4 };
extern const uint8_t stun_cookie[STUN_COOKIE];

/* The value of a FINGERPRINT behind these octets (RFC 8489 §14.7). */
uint32_t stun_fingerprint(const void *p, size_t n);
/* With cookie and transaction id: n of their 16 octets (§14.2). */
void stun_xor(uint8_t *p, size_t n, const uint8_t id[static STUN_ID]);

#endif
