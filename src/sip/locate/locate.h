/* SPDX-License-Identifier: MIT */
/* locate/locate.h: from a URI to the servers to try, in order.                  layer: sip
 *
 * Spec    RFC 3263 §4 (requests), §5 (responses); SRV order and weights RFC 2782; families: RFC 7984
 *         §4 (both are looked up, the order is kept, neither is waited for alone); sips: TLS only.
 * Shape   a query gives one set of targets, every request uses such a set: locate_start for a URI,
 *         locate_numeric for what needs no DNS. What failed is remembered with the set (until its
 *         TTL ends, at most LOCATE_FAILED_MAX) by locate_failed, and comes after all others, or is
 *         left out while others are left.
 * Cache   answers by name and type for the whole process, by TTL (floor 1 s, cap 1 day), negative
 *         ones by the SOA (cap 5 min); LOCATE_CACHE entries; the oldest go first. Questions to the same
 *         name and type at the same time are one question.
 * Safety  answers are judged as threats D33 asks: special addresses are dropped unless `peer` is in
 *         that class itself (location's rule, given by the caller as allowed()); ports 0 dropped; CNAME
 *         chains of 8; LOCATE_QUESTIONS questions a query; LOCATE_TIME in all.
 * Threads struct locate: its worker's; locate_shared: any.
 */
#ifndef LOCATE_LOCATE_H
#define LOCATE_LOCATE_H
#include "dns/dns.h"
#include "transport/transport.h"

enum { LOCATE_TARGETS_MAX = 16, LOCATE_QUESTIONS = 40, LOCATE_CACHE = 10000 };
#define LOCATE_TIME       (10 * USEC_S)
#define LOCATE_FAILED_MAX (5 * USEC_MIN)

struct locate_shared; /* the cache and the memory of failures of a process */
struct locate;

MUST_USE enum err locate_shared_new(const uint8_t seed[static 16], size_t cache,
                                    struct locate_shared **ret_shared);
void locate_shared_free(struct locate_shared *sh);
MUST_USE enum err locate_new(struct sip *s, struct locate_shared *sh, struct locate **ret_locate);
void locate_free(struct locate *l); /* queries end without a call */

/* Targets to try, first first. Each is an address with a transport, and the name that TLS must show. */
struct locate_set {
    struct dest dest[LOCATE_TARGETS_MAX];
    unsigned n;
    usec until; /* monotonic: the TTL of what it rests on */
};

/* The URI names its target by number (host or maddr): the set, at once. sips and transport=tls ask
 * for TLS. Errors: ERR_MORE (a name: locate_start), ERR_UNREACHABLE (a scheme or transport that we cannot
 * send to). */
MUST_USE enum err locate_numeric(struct locate *l, const struct uri *u, struct locate_set *ret_set);

struct locate_query; /* embedded by nobody: made here */
/* done: once, in a later turn, unless cancelled. ERR_OK: set has n >= 1; ERR_NOTFOUND: no such name or
 * nothing usable; ERR_TIMEOUT, ERR_UNREACHABLE: the DNS does not answer. The query is gone after it. */
typedef void locate_fn(void *arg, enum err rc, const struct locate_set *set);
/* allowed: may this address be sent to for whom we ask; NULL: any. Transports that we have no listener
 * for are not considered. Errors: ERR_NOMEM, ERR_BUSY (too many at once). */
MUST_USE enum err locate_start(struct locate *l, const struct uri *u,
                               bool (*allowed)(void *arg, const struct addr *a), locate_fn *done,
                               void *arg, struct locate_query **ret_query);
void locate_cancel(struct locate_query *q); /* NULL is fine */

/* d did not answer, refused, or asked for time (503; retry_after 0: none given). Until the end of set's TTL, or
 * retry_after. */
void locate_failed(struct locate *l, const struct dest *d, usec ttl_left, usec retry_after);
void locate_worked(struct locate *l, const struct dest *d);
bool locate_is_failed(const struct locate *l, const struct dest *d);

#endif
