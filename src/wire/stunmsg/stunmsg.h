/* SPDX-License-Identifier: MIT */
/* stunmsg/stunmsg.h: STUN messages: header, attributes, addresses, fingerprint.   layer: wire
 *
 * Spec    RFC 8489 (RFC 5389) §5, §6.3, §14; vectors RFC 5769. ICE and TURN are more methods and
 *         attribute types on the same walk and the same printing; their numbers stand with them.
 * Shape   a struct stunmsg is a set of views into the octets it was parsed from; it owns nothing.
 *         Attributes are walked in place: nothing is kept for each, so nothing is capped.
 * Life    valid while those octets are.
 * Limits  the length field: 65532 octets behind the header.
 * Threads any. No globals.
 */
#ifndef STUNMSG_STUNMSG_H
#define STUNMSG_STUNMSG_H
#include "str/buf.h"

enum { STUN_HEADER = 20, STUN_ID = 12 };

enum stun_class { STUN_REQUEST, STUN_INDICATION, STUN_SUCCESS, STUN_ERROR };
enum { STUN_BINDING = 0x001 }; /* methods: 12 bits */

/* RFC 8489 §18.3. Below 0x8000 the receiver must understand them (§14). */
enum stun_type {
    STUN_MAPPED_ADDRESS = 0x0001,
    STUN_USERNAME = 0x0006,
    STUN_MESSAGE_INTEGRITY = 0x0008,
    STUN_ERROR_CODE = 0x0009,
    STUN_UNKNOWN_ATTRIBUTES = 0x000a,
    STUN_REALM = 0x0014,
    STUN_NONCE = 0x0015,
    STUN_MESSAGE_INTEGRITY_SHA256 = 0x001c,
    STUN_PASSWORD_ALGORITHM = 0x001d,
    STUN_USERHASH = 0x001e,
    STUN_XOR_MAPPED_ADDRESS = 0x0020,
    STUN_SOFTWARE = 0x8022,
    STUN_FINGERPRINT = 0x8028,
};
enum { STUN_OPTIONAL = 0x8000 };

struct stunmsg {
    sv text; /* the whole message */
    uint16_t method;
    enum stun_class class;
    uint8_t id[STUN_ID];
    bool fingerprint; /* it has one, and it is right */
};

/* These octets are STUN and nothing else that shares the port: the first bits, the magic cookie
 * (RFC 8489 §5). Says nothing of the rest. */
bool stunmsg_is(sv octets);
/* A whole datagram: header, borders of all attributes, FINGERPRINT if there is one.
 * Errors: ERR_SYNTAX.                                                     RFC 8489 §6.3 */
MUST_USE enum err stunmsg_parse(sv octets, struct stunmsg *ret_msg);

/* ---- attributes ---- */

struct stun_attr {
    uint16_t type;
    sv value;
    size_t at; /* of its header, in text: what a MESSAGE-INTEGRITY covers ends there */
};
/* A walk; zero before the first. */
struct stun_walk {
    size_t at;
    bool signed1, signed256; /* an integrity attribute was passed */
};
/* The next one that counts: behind MESSAGE-INTEGRITY only the other kind and FINGERPRINT do (RFC 8489
 * §14.5, §14.6). False: no more. */
bool stunmsg_next(const struct stunmsg *m, struct stun_walk *w, struct stun_attr *ret_attr);
/* The first of this type (§14: duplicates may be ignored). */
bool stunmsg_find(const struct stunmsg *m, enum stun_type type, struct stun_attr *ret_attr);
/* One of those above: what a usage without extensions understands. */
bool stunmsg_is_basic(uint16_t type);
/* Comprehension-required attributes that knows() does not know, each once, max at most; their number. */
size_t stunmsg_unknown(const struct stunmsg *m, bool (*knows)(uint16_t type), uint16_t *ret_types,
                       size_t max);

/* ---- values ---- */

struct stun_addr {
    uint8_t family; /* 4, 6 */
    uint16_t port;  /* host order */
    uint8_t ip[16]; /* first 4 of IPv4 */
};
/* value of an XOR-MAPPED-ADDRESS of m. Errors: ERR_SYNTAX, ERR_UNSUPPORTED (another family). */
MUST_USE enum err stunmsg_xor_address(const struct stunmsg *m, sv value,
                                      struct stun_addr *ret_addr);
/* value of an ERROR-CODE. Errors: ERR_SYNTAX.  ret_reason: view. */
MUST_USE enum err stunmsg_error_code(sv value, unsigned *ret_code, sv *ret_reason);

/* ---- printing ---- */

/* A message being built in b, from where b stands now. Its length field is right after each call. Errors are
 * b's: ERR_TOOBIG. */
struct stun_out {
    struct buf *b;
    size_t at;
};
struct stun_out stunmsg_begin(struct buf *b, uint16_t method, enum stun_class class,
                              const uint8_t id[static STUN_ID]);
/* Padded with zeros. */
void stunmsg_put(const struct stun_out *o, uint16_t type, sv value);
void stunmsg_put_xor_address(const struct stun_out *o, uint16_t type, const struct stun_addr *a);
/* code: 300 to 699. */
void stunmsg_put_error(const struct stun_out *o, unsigned code, sv reason);
void stunmsg_put_unknown(const struct stun_out *o, const uint16_t *types, size_t n);
/* Last of all. */
void stunmsg_put_fingerprint(const struct stun_out *o);

#endif
