/* SPDX-License-Identifier: MIT */
/* uri/uri.h: SIP, SIPS and tel URIs: parse, print, compare.                     layer: wire
 *
 * Spec    RFC 3261 §19.1, §25.1; comparison §19.1.4; tel: RFC 3966; IPv6: RFC 5954, RFC 5118 §4.10.
 * Shape   a struct uri is a set of views into the text it was parsed from; it owns nothing.
 * Life    valid while those octets are; uri_dup() copies into an arena.
 * Limits  URI_MAX octets, URI_PARAMS_MAX parameters and headers each; beyond them ERR_TOOBIG.
 * Threads any. No globals.
 */
#ifndef URI_URI_H
#define URI_URI_H
#include "octets/octets.h"
#include "str/buf.h"

enum { URI_MAX = 4096, URI_PARAMS_MAX = 32 };
enum uri_scheme { URI_OTHER, URI_SIP, URI_SIPS, URI_TEL };

struct arena;

struct uri {
    sv text; /* the whole of it */
    enum uri_scheme scheme;
    sv scheme_text;
    sv user, password, host; /* as received; host of an IPv6 reference excludes the brackets */
    uint16_t port;           /* host order; 0 = absent */
    bool host_ip6;           /* host stood in brackets */
    sv params;               /* after the first ';', without it; p == NULL absent */
    sv headers;              /* after '?'; p == NULL absent */
    sv opaque;               /* tel: the number; other schemes: all behind the ':' */
};

/* Parse all of text; trailing octets are an error. Other schemes than sip, sips, tel are checked as
 * an absolute URI of RFC 3986 and left opaque.
 *   ret_uri    views into text
 *   reterr_at  optional; offset of the first offending octet, 0..text.n
 * Errors: ERR_SYNTAX, ERR_TOOBIG, ERR_RANGE (port, ttl).              RFC 3261 §25.1 */
MUST_USE enum err uri_parse(sv text, struct uri *ret_uri, size_t *reterr_at);

/* As uri_parse, but only as far as the grammar reaches: *pp moves from the first octet to the one
 * behind the URI, or, after an error, to the offending one. *ret_uri is written in any case. */
MUST_USE enum err uri_read(const char **pp, const char *end, struct uri *ret_uri);

/* The same for a URI as nearly all are written, by the kinds of the octets. NULL: it is of another
 * form, which says nothing about whether it is one; *ret_uri is then undefined. Else what is behind
 * the URI: '>', or end.
 *   map  of a text that has p..end in it and a line's end behind end */
const char *uri_read_usual(const struct octet_map *map, const char *p, const char *end,
                           struct uri *ret_uri);
/* The same for a host name or an IPv4 address: false, it is of another form. All of p..stop is plain,
 * and *stop is not; 64 octets behind it can be read. */
bool uri_is_usual_host(const char *p, const char *stop);
/* An IPv4 address. 16 octets at it can be read. */
bool uri_is_usual_ip4(sv host);
/* 1*DIGIT, 1..65535. NULL: another form. */
const char *uri_read_usual_port(const char *p, uint16_t *ret_port);

/* Deep copy into a.  Errors: ERR_NOMEM.  Owner of the copy: the arena. */
MUST_USE enum err uri_dup(struct arena *a, const struct uri *src, struct uri *ret_uri);

/* Value of a parameter; names compare without case. Absent: false. A flag (;lr) has *ret_value.p
 * set, n == 0. */
bool uri_find_param(const struct uri *u, sv name, sv *ret_value);
static inline bool uri_param(const struct uri *u, sv name, sv *ret_value)
{
    return u->params.p && uri_find_param(u, name, ret_value);
}
/* Walks parameters: start with *rest = u->params; false at the end. */
bool uri_param_next(sv *rest, sv *ret_name, sv *ret_value);

/* Equality by RFC 3261 §19.1.4 (sip, sips), RFC 3966 §4 (tel), RFC 3986 text equality (others). */
bool uri_equal(const struct uri *a, const struct uri *b);
/* A Request-URI and the Contact that it was made of: as above, but for what may not be in the one (§19.1.1) and what its
 * writers change: case, password, a port that is the usual one, and parameters but those that lead elsewhere (maddr, gr). */
bool uri_same_target(const struct uri *a, const struct uri *b);

/* Octets with %HH undone where the escaped octet is unreserved; used to key user parts. Never
 * twice. Errors: ERR_TOOBIG. */
MUST_USE enum err uri_user_canonical(sv user, struct buf *b);

/* u in canonical order, from its parts (not from text). */
void uri_print(struct buf *b, const struct uri *u);

/* An IPv4 address, or an IPv6 address without brackets, with the tolerance of RFC 5118 §4.10.
 *   ret_ip  4 or 16 octets, network order;  ret_n their number
 * Errors: ERR_SYNTAX: a host name or nothing valid. */
MUST_USE enum err uri_host_ip(sv host, uint8_t ret_ip[static 16], size_t *ret_n);

/* A host by RFC 3261 §25.1: a host name or an IPv4 address; with ip6 an IPv6 address without
 * brackets. */
bool uri_is_host(sv host, bool ip6);
/* The end of the host name or IPv4 address that starts at p; NULL: there is none, or what follows
 * could be part of one. */
const char *uri_host_end(const char *p, const char *end);

/* Octets of user that must be escaped become %HH. */
void uri_put_user(struct buf *b, sv user);

#endif
