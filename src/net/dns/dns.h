/* SPDX-License-Identifier: MIT */
/* dns/dns.h: questions to the DNS.                                              layer: net
 *
 * Shape   one question, one event with the raw answer parsed by wire/dnsmsg. No cache here.
 * Names   are absolute: no search domains, with or without a last dot.
 * Real    c-ares on the loop, a fresh channel now and then for fresh ports (D33). A and AAAA of a
 *         name in /etc/hosts (its first 64 KiB, read again within a minute) come from there, as
 *         programs on a host expect; a name that it has with one family only has none of the
 *         other. localhost and what lies under it are the loopback (RFC 6761 §6.3), of other types
 *         they have nothing. All else, SRV and NAPTR of names in /etc/hosts too, the DNS is
 *         asked. Simulated: zones in text.
 * Threads the owning loop's.
 */
#ifndef DNS_DNS_H
#define DNS_DNS_H
#include "dnsmsg/dnsmsg.h"
#include "loop/loop.h"

struct dns_query;
/* dns_fn(arg, rc, answer): once, in a later turn, unless cancelled. answer only with ERR_OK (rcode
 * may be NXDOMAIN), borrowed until return. rc: ERR_TIMEOUT, ERR_UNREACHABLE (no server),
 * ERR_CORRUPT (answer unusable). */
MUST_USE enum err dns_ask(struct loop *l, sv name, enum dns_type type, dns_fn *fn, void *arg,
                          struct dns_query **ret_query);
void dns_cancel(struct dns_query *q); /* NULL is fine; no call after it */

struct dns_query_ops {
    void (*cancel)(struct dns_query *q);
};
struct dns_query {
    const struct dns_query_ops *ops;
};

#endif
