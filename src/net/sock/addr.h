/* SPDX-License-Identifier: MIT */
/* sock/addr.h: transport addresses as values.                                   layer: net
 *
 * Shape   IPv4 or IPv6 with port and scope. An IPv4-mapped IPv6 address is made IPv4 on entry, so
 *         that there is one canonical form before every check (D16, D22).
 * Spec    text: RFC 5952; classes: RFC 6890 (special purpose registries).
 * Threads any.
 */
#ifndef SOCK_ADDR_H
#define SOCK_ADDR_H
#include "str/buf.h"

struct addr {
    uint8_t ip[16]; /* network order; IPv4 in the first 4; the rest zero */
    uint32_t scope; /* IPv6 zone index of link-local addresses */
    uint16_t port;  /* host order */
    uint8_t family; /* 0 none, 4, 6 */
};

enum addr_class {
    ADDR_GLOBAL,
    ADDR_PRIVATE, /* RFC 1918, 100.64/10, fc00::/7 */
    ADDR_LOOPBACK,
    ADDR_LINK_LOCAL, /* 169.254/16, fe80::/10 */
    ADDR_MULTICAST,  /* and limited broadcast */
    ADDR_SPECIAL     /* unspecified, reserved, documentation is global here */
};

/* "192.0.2.1", "2001:db8::1", "[2001:db8::1]"; no port. Errors: ERR_SYNTAX. */
MUST_USE enum err addr_parse_ip(sv text, uint16_t port, struct addr *ret_addr);
/* "192.0.2.1:5060", "[2001:db8::1]:5060". Errors: ERR_SYNTAX, ERR_RANGE. */
MUST_USE enum err addr_parse(sv text, struct addr *ret_addr);
/* From 4 or 16 octets in network order. */
struct addr addr_from_ip(const uint8_t *ip, size_t n, uint16_t port);
void addr_print_ip(struct buf *b, const struct addr *a);   /* IPv6 without brackets */
void addr_print_host(struct buf *b, const struct addr *a); /* IPv6 in brackets: for URIs, Via */
void addr_print(struct buf *b, const struct addr *a);      /* host:port */
bool addr_equal(const struct addr *a, const struct addr *b);
bool addr_equal_ip(const struct addr *a, const struct addr *b);
bool addr_is_any(const struct addr *a);
enum addr_class addr_class(const struct addr *a);
/* Packed key for hashing and comparison: ip, port, family. */
enum { ADDR_KEY = 24 };
void addr_key(const struct addr *a, uint8_t ret_key[static ADDR_KEY]);

struct addr_net {
    struct addr base;
    uint8_t bits;
};
/* "10.0.0.0/8", "fc00::/7", a single address. Errors: ERR_SYNTAX, ERR_RANGE. Host bits set are an
 * error. */
MUST_USE enum err addr_net_parse(sv text, struct addr_net *ret_net);
bool addr_net_has(const struct addr_net *n, const struct addr *a);

#endif
