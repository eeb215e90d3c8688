/* SPDX-License-Identifier: MIT */
/* dnsmsg/dnsmsg.h: answers of the DNS: five record types.                       layer: wire
 *
 * Spec    RFC 1035 §4; A, AAAA (RFC 3596), SRV (RFC 2782), NAPTR (RFC 3403), CNAME.
 * Shape   a parsed answer is an array of records in the arena; names are lower-case text without
 *         the last dot ("" is the root).
 * Life    that of the arena: nothing points into the octets.
 * Limits  DNSMSG_RRS_MAX records of the answer section; a name of 255 octets; compression pointers
 *         only go back.
 * Threads any.
 */
#ifndef DNSMSG_DNSMSG_H
#define DNSMSG_DNSMSG_H
#include "mem/arena.h"
#include "str/buf.h"

enum dns_type {
    DNS_A = 1,
    DNS_CNAME = 5,
    DNS_SOA = 6,
    DNS_AAAA = 28,
    DNS_SRV = 33,
    DNS_NAPTR = 35
};
enum { DNSMSG_RRS_MAX = 64 };

struct dns_rr {
    sv name;
    enum dns_type type;
    uint32_t ttl_s;
    union {
        uint8_t ip[16]; /* A: first 4; AAAA: 16; network order */
        sv cname;
        struct {
            uint16_t priority, weight, port;
            sv target;
        } srv;
        struct {
            uint16_t order, preference;
            sv flags, service, regexp, replacement;
        } naptr;
    };
};

struct dnsmsg {
    uint16_t id;
    bool response, truncated;
    uint8_t rcode; /* 0 NOERROR, 3 NXDOMAIN */
    sv question;   /* lower case */
    uint16_t question_type;
    const struct dns_rr *rrs;
    size_t n;
    uint32_t negative_ttl_s; /* from the authority's SOA; 0 = none */
};

/* Errors: ERR_SYNTAX, ERR_TOOBIG, ERR_NOMEM. Records of other types and classes are skipped; a name
 * with a label that has no text (a dot or a control octet inside) is ERR_SYNTAX. */
MUST_USE enum err dnsmsg_parse(sv octets, struct arena *a, struct dnsmsg *ret_msg);
/* A query with one question, recursion desired. Errors: ERR_SYNTAX (name), ERR_TOOBIG. */
MUST_USE enum err dnsmsg_print_query(struct buf *b, uint16_t id, sv name, enum dns_type type);
/* An answer (for simulated servers and tests), its flags as m says. Errors: ERR_SYNTAX (name),
 * ERR_TOOBIG, ERR_UNSUPPORTED (a record of another type). */
MUST_USE enum err dnsmsg_print_answer(struct buf *b, const struct dnsmsg *m);

#endif
