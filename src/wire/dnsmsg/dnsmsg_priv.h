/* SPDX-License-Identifier: MIT */
/* dnsmsg/dnsmsg_priv.h: domain names, both ways.                                layer: wire */
#ifndef DNSMSG_DNSMSG_PRIV_H
#define DNSMSG_DNSMSG_PRIV_H
#include "dnsmsg/dnsmsg.h"

enum {
    DNS_HEADER = 12,    /* octets */
    DNS_NAME_MAX = 255, /* octets of a name on the wire, RFC 1035 §2.3.4 */
    DNS_LABEL_MAX = 63,
    DNS_CLASS_IN = 1
};

/* Checked getters over one message. A getter that fails leaves *at where it was. */
struct dns_reader {
    const uint8_t *p;
    size_t at, end; /* end: of what may be read now (the message, or one record's data) */
};

MUST_USE enum err dns_read_u8(struct dns_reader *r, uint8_t *ret_v);
MUST_USE enum err dns_read_u16(struct dns_reader *r, uint16_t *ret_v);
MUST_USE enum err dns_read_u32(struct dns_reader *r, uint32_t *ret_v);

/* A name's text in memory that the caller has. */
struct dns_name {
    char text[DNS_NAME_MAX];
    size_t n;
};
/* The name at r, lower case, without the last dot ("" is the root). Labels must be visible ASCII
 * without dots: others have no text that reads back.
 * Errors: ERR_SYNTAX (past the end, a pointer that does not go back, an octet), ERR_TOOBIG (255).
 */
MUST_USE enum err dns_read_name(struct dns_reader *r, struct dns_name *ret_name);
/* Steps over a name whatever its labels hold. Errors: ERR_SYNTAX. */
MUST_USE enum err dns_skip_name(struct dns_reader *r);

/* text as labels, no compression; a last dot is allowed; "" is the root.
 * Errors: ERR_SYNTAX (empty or long label, an octet), ERR_TOOBIG (255). */
MUST_USE enum err dns_name_wire(sv text, uint8_t ret_wire[static DNS_NAME_MAX], size_t *ret_n);

#endif
