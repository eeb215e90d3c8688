/* SPDX-License-Identifier: MIT */
/* locate/locate.h: from a URI to the servers to try, in order.                  layer: sip
 *
 * Spec    RFC 3263 §4 (requests), §5 (responses); NAPTR RFC 3403 §4.1 (the lowest order that we can
 *         use, alone); SRV order and weights RFC 2782; families: RFC 7984 §4 (both are looked up, the
 *         order of servers is kept, neither is waited for alone); sips: TLS only; localhost and
 *         invalid: RFC 6761 §6.3, §6.4.
 * Shape   a query gives one set of targets, every request uses such a set: locate_start for a URI,
 *         locate_numeric for what needs no DNS, locate_response for a response whose connection is
 *         gone. What failed is remembered by locate_failed (until the set's TTL ends, at most
 *         LOCATE_FAILED_MAX) and left out while others are left; when all have failed they are
 *         there again, those that may be asked soonest first.
 * Order   the server's: NAPTR by preference, SRV by priority and chance of weight, within one name
 *         IPv6 and IPv4 by turns. Without NAPTR: _sips._tcp alone when it is there, for it is better
 *         to fail than to be talked out of TLS; else _sip._udp, then _sip._tcp.
 * Cache   answers by name and type for the whole process, by TTL (floor 1 s, cap 1 day), negative
 *         ones by the SOA (cap 5 min), failures 5 s; in small sets, in each of which what ends first
 *         goes first. Questions to the same name and type at the same time are one question.
 * Safety  answers are judged as threats D33 asks: special addresses are dropped unless allowed()
 *         wants them; port 0 dropped; NAPTR with a regular expression dropped; only records that the
 *         question leads to are believed; CNAME chains of 8; LOCATE_QUESTIONS questions a query;
 *         LOCATE_TIME in all. What is refused counts as limit "dns".
 * Threads struct locate: its worker's; locate_shared: any.
 */
#ifndef LOCATE_LOCATE_H
#define LOCATE_LOCATE_H
#include "dns/dns.h"
#include "transport/transport.h"

enum { LOCATE_TARGETS_MAX = 16, LOCATE_QUESTIONS = 40, LOCATE_CACHE = 10000 };
#define LOCATE_TIME       (10 * USEC_S)
#define LOCATE_FAILED_MAX (5 * USEC_MIN)
#define LOCATE_RETRY_MAX  (60 * USEC_MIN)

struct locate_shared; /* the cache and the memory of failures of a process */
struct locate;

/* cache: answers kept, rounded up to a power of two; seed: of its hashes. Errors: ERR_NOMEM. */
MUST_USE enum err locate_shared_new(const uint8_t seed[static 16], size_t cache,
                                    struct locate_shared **ret_shared);
void locate_shared_free(struct locate_shared *sh);
/* sh and s outlive it. Errors: ERR_NOMEM. */
MUST_USE enum err locate_new(struct sip *s, struct locate_shared *sh, struct locate **ret_locate);
void locate_free(struct locate *l); /* queries end without a call */

/* Targets to try, first first. Each is an address with a transport, and the name that TLS must show. */
struct locate_set {
    struct dest dest[LOCATE_TARGETS_MAX];
    unsigned n;
    usec until; /* monotonic: the TTL of what it rests on; USEC_NEVER: a numeric URI's */
};

/* The URI names its target by number (host or maddr): the set, at once. sips and transport=tls ask
 * for TLS. Errors: ERR_MORE (a name: locate_start), ERR_UNREACHABLE (a scheme or transport that we cannot
 * send to). */
MUST_USE enum err locate_numeric(struct locate *l, const struct uri *u, struct locate_set *ret_set);

struct locate_query; /* embedded by nobody: made here */
/* done: once, at the end of this turn or in a later one (never inside locate_start), unless
 * cancelled. ERR_OK: set has n >= 1, borrowed until return; ERR_NOTFOUND: no such name or nothing
 * usable; ERR_TIMEOUT, ERR_UNREACHABLE: the DNS does not answer; ERR_NOMEM, ERR_BUSY. The query is
 * gone before it: it may start and cancel others. */
typedef void locate_fn(void *arg, enum err rc, const struct locate_set *set);
/* allowed: may this address be sent to for whom we ask; NULL: any. Transports that we have no listener
 * for are not considered. A numeric URI is answered too. Errors: ERR_UNREACHABLE (a scheme or transport
 * that we cannot send to, no host name), ERR_NOMEM, ERR_BUSY (too many at once). u may end. */
MUST_USE enum err locate_start(struct locate *l, const struct uri *u,
                               bool (*allowed)(void *arg, const struct addr *a), locate_fn *done,
                               void *arg, struct locate_query **ret_query);
/* The same for a response that its connection or source did not take, from the topmost Via (RFC 3263
 * §5): its transport; sent-by with a port or by number: addresses, else SRV, else addresses. */
MUST_USE enum err locate_response(struct locate *l, const struct sip_via *via,
                                  bool (*allowed)(void *arg, const struct addr *a), locate_fn *done,
                                  void *arg, struct locate_query **ret_query);
void locate_cancel(struct locate_query *q); /* NULL is fine */

/* d did not answer, refused, or asked for time (503; retry_after 0: none given). For ttl_left (what
 * is left until the set's `until`; from 1 s to LOCATE_FAILED_MAX), or for retry_after (at most
 * LOCATE_RETRY_MAX, RFC 3261 §21.5.4). */
void locate_failed(struct locate *l, const struct dest *d, usec ttl_left, usec retry_after);
void locate_worked(struct locate *l, const struct dest *d);
bool locate_is_failed(const struct locate *l, const struct dest *d);

#endif
