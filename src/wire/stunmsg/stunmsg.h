/* SPDX-License-Identifier: MIT */
/* stunmsg/stunmsg.h: STUN messages: header, attributes, integrity, fingerprint.   layer: wire
 *
 * Spec    RFC 8489 (RFC 5389) §5, §6.3, §9, §14, §18; vectors RFC 5769. ICE (RFC 8445 §16.1) and TURN (RFC 8656
 *         §17, §18, RFC 6062 §6) are more methods and attribute types on the same walk and the same printing.
 * Shape   a struct stunmsg is a set of views into the octets it was parsed from; it owns nothing.
 *         Attributes are walked in place: nothing is kept for each, so nothing is capped.
 * Texts   user names, realms and passwords are taken as they are. ASCII without control characters is what
 *         OpaqueString (RFC 8265 §4.2) makes of itself; other text must have been through it: not done here.
 * Keys    crypto_start() comes before integrity and keys.
 * Life    valid while those octets are.
 * Limits  the length field: 65532 octets behind the header.
 * Threads any. No globals.
 */
#ifndef STUNMSG_STUNMSG_H
#define STUNMSG_STUNMSG_H
#include "str/buf.h"

enum { STUN_HEADER = 20, STUN_ID = 12 };

enum stun_class { STUN_REQUEST, STUN_INDICATION, STUN_SUCCESS, STUN_ERROR };
/* 12 bits. RFC 8489 §18.2, RFC 8656 §17, RFC 6062 §6.1. */
enum stun_method {
    STUN_BINDING = 0x001,
    STUN_ALLOCATE = 0x003,
    STUN_REFRESH = 0x004,
    STUN_SEND = 0x006, /* indications alone, as is the next */
    STUN_DATA_INDICATION = 0x007,
    STUN_CREATE_PERMISSION = 0x008,
    STUN_CHANNEL_BIND = 0x009,
    STUN_CONNECT = 0x00a,
    STUN_CONNECTION_BIND = 0x00b,
    STUN_CONNECTION_ATTEMPT = 0x00c /* an indication */
};

/* RFC 8489 §18.3, RFC 8445 §16.1, RFC 8656 §18, RFC 6062 §6.2. Below 0x8000 the receiver must understand them
 * (§14). */
enum stun_type {
    STUN_MAPPED_ADDRESS = 0x0001,
    STUN_USERNAME = 0x0006,
    STUN_MESSAGE_INTEGRITY = 0x0008,
    STUN_ERROR_CODE = 0x0009,
    STUN_UNKNOWN_ATTRIBUTES = 0x000a,
    STUN_CHANNEL_NUMBER = 0x000c,
    STUN_LIFETIME = 0x000d,
    STUN_XOR_PEER_ADDRESS = 0x0012,
    STUN_DATA = 0x0013,
    STUN_REALM = 0x0014,
    STUN_NONCE = 0x0015,
    STUN_XOR_RELAYED_ADDRESS = 0x0016,
    STUN_REQUESTED_ADDRESS_FAMILY = 0x0017,
    STUN_EVEN_PORT = 0x0018,
    STUN_REQUESTED_TRANSPORT = 0x0019,
    STUN_DONT_FRAGMENT = 0x001a,
    STUN_MESSAGE_INTEGRITY_SHA256 = 0x001c,
    STUN_PASSWORD_ALGORITHM = 0x001d,
    STUN_USERHASH = 0x001e,
    STUN_XOR_MAPPED_ADDRESS = 0x0020,
    STUN_RESERVATION_TOKEN = 0x0022,
    STUN_PRIORITY = 0x0024,
    STUN_USE_CANDIDATE = 0x0025,
    STUN_CONNECTION_ID = 0x002a,
    STUN_ADDITIONAL_ADDRESS_FAMILY = 0x8000,
    STUN_ADDRESS_ERROR_CODE = 0x8001,
    STUN_PASSWORD_ALGORITHMS = 0x8002,
    STUN_ALTERNATE_DOMAIN = 0x8003,
    STUN_ICMP = 0x8004,
    STUN_SOFTWARE = 0x8022,
    STUN_ALTERNATE_SERVER = 0x8023,
    STUN_FINGERPRINT = 0x8028,
    STUN_ICE_CONTROLLED = 0x8029,
    STUN_ICE_CONTROLLING = 0x802a
};
enum { STUN_OPTIONAL = 0x8000 };

/* RFC 8489 §14.8, RFC 8445 §16.2, RFC 8656 §19, RFC 6062 §6.3. */
enum stun_error {
    STUN_TRY_ALTERNATE = 300,
    STUN_BAD_REQUEST = 400,
    STUN_UNAUTHENTICATED = 401,
    STUN_FORBIDDEN = 403,
    STUN_UNKNOWN_ATTRIBUTE = 420,
    STUN_ALLOCATION_MISMATCH = 437,
    STUN_STALE_NONCE = 438,
    STUN_FAMILY_NOT_SUPPORTED = 440,
    STUN_WRONG_CREDENTIALS = 441,
    STUN_UNSUPPORTED_TRANSPORT = 442,
    STUN_PEER_FAMILY_MISMATCH = 443,
    STUN_CONNECTION_EXISTS = 446,
    STUN_CONNECTION_FAILED = 447,
    STUN_QUOTA_REACHED = 486,
    STUN_ROLE_CONFLICT = 487,
    STUN_SERVER_ERROR = 500,
    STUN_INSUFFICIENT_CAPACITY = 508
};

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
static inline bool stunmsg_has(const struct stunmsg *m, enum stun_type type)
{
    struct stun_attr a;
    return stunmsg_find(m, type, &a);
}
/* One of RFC 8489: what a usage without extensions understands; with those of ICE; with those of TURN. */
bool stunmsg_is_basic(uint16_t type);
bool stunmsg_is_ice(uint16_t type);
bool stunmsg_is_turn(uint16_t type);
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
/* MAPPED-ADDRESS, ALTERNATE-SERVER: the same, in the clear. */
MUST_USE enum err stunmsg_address(sv value, struct stun_addr *ret_addr);
/* value of an ERROR-CODE. Errors: ERR_SYNTAX.  ret_reason: view. */
MUST_USE enum err stunmsg_error_code(sv value, unsigned *ret_code, sv *ret_reason);
/* The i-th of UNKNOWN-ATTRIBUTES. False: no more. */
bool stunmsg_unknown_at(sv value, size_t i, uint16_t *ret_type);

/* Of four octets (PRIORITY, LIFETIME, CONNECTION-ID), of eight (ICE-CONTROLLED, ICE-CONTROLLING,
 * RESERVATION-TOKEN). Errors: ERR_SYNTAX. */
MUST_USE enum err stunmsg_u32(sv value, uint32_t *ret_value);
MUST_USE enum err stunmsg_u64(sv value, uint64_t *ret_value);
/* CHANNEL-NUMBER; which are allowed is TURN's to say. Errors: ERR_SYNTAX. */
MUST_USE enum err stunmsg_channel(sv value, uint16_t *ret_channel);
/* REQUESTED-ADDRESS-FAMILY, ADDITIONAL-ADDRESS-FAMILY.  ret_family: 4, 6
 * Errors: ERR_SYNTAX, ERR_UNSUPPORTED (another family). */
MUST_USE enum err stunmsg_family(sv value, uint8_t *ret_family);
/* EVEN-PORT: the next port is to be reserved as well. Errors: ERR_SYNTAX. */
MUST_USE enum err stunmsg_even_port(sv value, bool *ret_reserve);
/* REQUESTED-TRANSPORT: a protocol of IP, 17: UDP, 6: TCP. Errors: ERR_SYNTAX. */
MUST_USE enum err stunmsg_transport(sv value, uint8_t *ret_protocol);
/* ADDRESS-ERROR-CODE. Errors: ERR_SYNTAX, ERR_UNSUPPORTED (another family). */
MUST_USE enum err stunmsg_address_error(sv value, uint8_t *ret_family, unsigned *ret_code,
                                        sv *ret_reason);
struct stun_icmp {
    uint8_t type, code;
    uint32_t data; /* the next hop's MTU, or 0 */
};
MUST_USE enum err stunmsg_icmp(sv value, struct stun_icmp *ret_icmp);

/* ---- integrity ---- */

enum { STUN_KEY_MAX = 32, STUN_USERHASH_LEN = 32, STUN_SHA256_MIN = 16 };
enum stun_integrity { STUN_UNSIGNED, STUN_SHA1, STUN_SHA256 };

/* The one that counts: of both SHA-256 (§9.1.3, §9.2.4). What was verified says nothing of attributes behind it:
 * stunmsg_next() leaves them out. */
enum stun_integrity stunmsg_integrity(const struct stunmsg *m);
/* By the one that counts, in constant time.
 *   key         short-term credentials: the password; long-term: of stun_key()
 *   sha256_min  octets of a SHA-256 that are enough (§14.6): 32, or less, from 16 on and in fours, where the usage
 *               allows it to be cut. ICE and TURN do not.
 * Errors: ERR_NOTFOUND (there is none), ERR_SYNTAX (its length), ERR_AUTH (another key, or other octets). */
MUST_USE enum err stunmsg_verify(const struct stunmsg *m, sv key, size_t sha256_min);

/* RFC 8489 §18.5: how a password becomes a key. */
enum stun_algorithm { STUN_ALGORITHM_MD5 = 1, STUN_ALGORITHM_SHA256 = 2 };
/* Long-term credentials (§9.2.2): hash of user:realm:password, of MD5 the HA1 of SIP. Zeros at the end of each, and
 * quotes around user and realm, are no part of them. Returns its length, 16 or 32. The caller wipes it. */
size_t stun_key(enum stun_algorithm algorithm, sv user, sv realm, sv password,
                uint8_t ret_key[static STUN_KEY_MAX]);
/* USERHASH (§14.4): whom it means is found by comparing. */
void stun_userhash(sv user, sv realm, uint8_t ret_hash[static STUN_USERHASH_LEN]);
/* The next of PASSWORD-ALGORITHMS, or the one of PASSWORD-ALGORITHM.
 *   list  begins as the value; what is left
 * Errors: ERR_NOTFOUND (no more), ERR_SYNTAX. */
MUST_USE enum err stunmsg_algorithm_next(sv *list, uint16_t *ret_algorithm, sv *ret_parameters);

/* Security features (§18.1), as a nonce begins with them (§9.2): bit 0 is the most significant of 24. */
enum { STUN_NONCE_COOKIE = 13, STUN_NONCE_MAX = 127 };
enum { STUN_PASSWORD_ALGORITHMS_BIT = 1 << 23, STUN_USERNAME_ANONYMITY_BIT = 1 << 22 };
void stun_put_nonce_cookie(struct buf *b, uint32_t features);
/* False: it begins otherwise; its server is one of RFC 5389. */
bool stun_nonce_features(sv nonce, uint32_t *ret_features);

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
void stunmsg_put_address(const struct stun_out *o, uint16_t type, const struct stun_addr *a);
/* The same with the RFC's words for it. */
void stunmsg_put_error_of(const struct stun_out *o, enum stun_error code);
void stunmsg_put_flag(const struct stun_out *o, uint16_t type); /* USE-CANDIDATE, DONT-FRAGMENT */
void stunmsg_put_u32(const struct stun_out *o, uint16_t type, uint32_t v);
void stunmsg_put_u64(const struct stun_out *o, uint16_t type, uint64_t v);
void stunmsg_put_channel(const struct stun_out *o, uint16_t channel);
void stunmsg_put_family(const struct stun_out *o, uint16_t type, uint8_t family); /* 4, 6 */
void stunmsg_put_even_port(const struct stun_out *o, bool reserve);
void stunmsg_put_transport(const struct stun_out *o, uint8_t protocol);
void stunmsg_put_address_error(const struct stun_out *o, uint8_t family, unsigned code, sv reason);
void stunmsg_put_icmp(const struct stun_out *o, const struct stun_icmp *icmp);
/* PASSWORD-ALGORITHM or PASSWORD-ALGORITHMS of these, without parameters. */
void stunmsg_put_algorithms(const struct stun_out *o, uint16_t type, const uint16_t *algorithms,
                            size_t n);
/* MESSAGE-INTEGRITY, or MESSAGE-INTEGRITY-SHA256 in full, over what is there (§14.5, §14.6). Behind one only the
 * other and FINGERPRINT may stand; both: SHA-1 first. STUN_UNSIGNED: nothing. */
void stunmsg_put_integrity(const struct stun_out *o, enum stun_integrity which, sv key);
/* Last of all. */
void stunmsg_put_fingerprint(const struct stun_out *o);

#endif
