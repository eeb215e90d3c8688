/* SPDX-License-Identifier: MIT */
/* location/location.h: from a contact to the place where it is reached.         layer: services
 *
 * Spec    RFC 3261 §18.2.2, RFC 3581; RFC 3327 §5.4 (Path); RFC 5626 §7 (flows); RFC 5630 §5.3
 *         (sips); RFC 8599 §5.6.2 (sleeping phones); numeric targets of RFC 3263 §4.
 * Shape   a phone is reached by the proxies that its REGISTER came through, by the flow that it came
 *         on (when a NAT stands between, when it sits on a connection, or when what it wrote is no
 *         address), or by the address that it wrote into its Contact. Decided once, when the contact
 *         is learned.
 * Rule    special addresses (threats D16, architecture §3): nobody makes us send to a class of
 *         addresses that he is not in himself, nor to ourselves.
 * Threads any.
 */
#ifndef LOCATION_LOCATION_H
#define LOCATION_LOCATION_H
#include "store/store.h"
#include "transport/transport.h"

/* The sender's Via and its source address disagree. */
bool location_behind_nat(struct sipmsg *req, const struct flow *flow);
/* The contact is to be reached by the flow. Over TLS, WS and WSS always: nobody else could prove to
 * be that phone. */
bool location_by_flow(const struct uri *contact, const struct flow *flow, bool behind_nat);
/* The transport that a URI asks for: its transport parameter, else UDP; sips: TLS. SIP_T_OTHER: one
 * that we do not have. */
enum sip_transport location_transport(const struct uri *u);
/* A numeric URI's address and transport. Errors: ERR_UNREACHABLE (a name, or another scheme). */
MUST_USE enum err location_dest(const struct uri *u, struct dest *ret_dest);
/* peer may name this address. */
bool location_allowed(const struct sip *s, const struct addr *named, const struct addr *peer);
/* Where this contact is: by flow if so decided and it is usable, else by address. Errors:
 * ERR_UNREACHABLE. */
MUST_USE enum err location_contact(const struct uri *contact, const struct flow *flow, bool by_flow,
                                   struct dest *ret_dest);
/* The same of who has just sent this contact: by the flow, too, where location_by_flow says so. */
MUST_USE enum err location_sender(const struct uri *contact, const struct flow *flow, bool by_flow,
                                  struct dest *ret_dest);
/* The flow of a binding; its connection is dead when it belongs to an earlier process, or was seen
 * to end. */
struct flow location_flow(const struct binding *b, uint64_t epoch);
/* Nothing but its connection leads to this phone: when that ends, so does the binding. */
bool location_hangs_on_flow(const struct binding *b);

/* ---- all that are bound to an address of record, as targets ---- */

/* One place to send to. Its members are those of a struct proxy_target. */
struct location_target {
    sv uri; /* the new Request-URI: the contact's, with the scheme that RFC 5630 §5.3 demands */
    const struct uri *parsed; /* the same; NULL: another scheme than the contact's */
    /* by flow or address; with a path neither: RFC 3263 with its first URI */
    struct dest dest;
    sv path;       /* Route values to put on top (RFC 3327 §5.4); SV_NONE: none */
    uint16_t rank; /* q: higher first, equal ones together */
    /* RFC 5626 §7: no other way than the flow; when it is gone: 430 */
    bool flow_only;
    /* RFC 5626 §7, RFC 5627 §6.1: the same phone as the target before it, another way to it: to be
     * tried only when that one ended with 408 or 430 or could not be sent; never rung beside it,
     * never after any other answer. */
    bool alternative;
    /* RFC 8599: a phone with push parameters that nobody can say is awake: wake it up (b->push)
     * and look its bindings up again; where dest leads (if anywhere) it may not listen. */
    bool asleep;
    const struct binding *binding; /* of the set given */
};
struct location_query {
    const struct sip *sip;
    uint64_t epoch; /* store_epoch */
    bool secure;    /* the request asks for sips */
    bool push;      /* sleeping phones can be woken (settings.push); else none is asleep */
};
/* The bindings, in the order to be tried: by q, then the newest first, each phone's alternatives
 * behind it. Those that cannot be reached (a dead connection that was the only way; an address that
 * may not be named; not over TLS when secure) are left out. Errors: ERR_NOMEM.
 *   ret_targets  in a; at most n */
MUST_USE enum err location_targets(const struct location_query *q, const struct binding *b,
                                   size_t n, struct arena *a, struct location_target **ret_targets,
                                   size_t *ret_n);
/* Instance ids name the same phone (RFC 5626 §4.1; URNs ignore case where it matters). */
static inline bool location_same_instance(sv a, sv b)
{
    return a.n && sv_ieq(a, b);
}

#endif
