/* SPDX-License-Identifier: MIT */
/* auth_priv.h: what both sides of Digest share. */
#ifndef AUTH_PRIV_H
#define AUTH_PRIV_H
#include "auth/auth.h"

sv auth_algorithm_name(enum auth_algorithm a);
/* "MD5", "SHA-256"; absent: MD5 (RFC 7616 §3.3). False: another one. */
bool auth_algorithm_of(sv text, enum auth_algorithm *ret);
/* The response (RFC 7616 §3.4.1, qop=auth) as lower-case hex without NUL; its length. */
size_t auth_response(const struct auth_claim *c, const struct auth_ha1 *ha1, sv method,
                     char ret_hex[static 2 * SHA256_LEN]);

#endif
