/* SPDX-License-Identifier: MIT */
/* sdp/sdp_priv.h: what the parts of the module share.                            layer: wire */
#ifndef SDP_SDP_PRIV_H
#define SDP_SDP_PRIV_H
#include "sdp/sdp.h"

/* RFC 8866 §9 token. */
bool sdp_is_token(sv s);
/* Octets without NUL, CR and LF. */
bool sdp_is_text(sv s);
/* Text that is one field: not empty, no blanks (non-ws-string). */
bool sdp_is_word(sv s);
/* Takes the digits at the start of *rest, their value at most max. */
MUST_USE enum err sdp_digits(sv *rest, uint64_t max, uint64_t *ret_value);
/* The next word of *rest as a number at most max. */
MUST_USE enum err sdp_word_u64(sv *rest, uint64_t max, uint64_t *ret_value);
/* Takes "nettype addrtype address" from *rest. Errors: ERR_SYNTAX, ERR_RANGE. */
MUST_USE enum err sdp_conn_take(sv *rest, bool scope_allowed, struct sdp_conn *ret_conn);
/* The first direction attribute of l; false: none. */
bool sdp_attrs_direction(const struct sdp_attrs *l, enum sdp_direction *ret_direction);

#endif
