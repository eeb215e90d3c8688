/* SPDX-License-Identifier: MIT */
/* location/location.h: from a contact to the place where it is reached.         layer: services
 *
 * Shape   a phone is reached either by the address that it wrote into its Contact, or by the flow
 * that it came on: when a NAT stands between, when it sits on a connection, or when what it wrote
 * is no address. Decided once, when the contact is learned. Rule    special addresses (threats D16,
 * architecture §3): nobody makes us send to a class of addresses that he is not in himself, nor to
 * ourselves. Spec    RFC 3261 §18.2.2, RFC 3581, RFC 5626 §5 (in part); numeric targets of RFC 3263
 * §4. Threads any.
 */
#ifndef LOCATION_LOCATION_H
#define LOCATION_LOCATION_H
#include "store/store.h"
#include "transport/transport.h"

/* The sender's Via and its source address disagree. */
bool location_behind_nat(struct sipmsg *req, const struct flow *flow);
/* The contact is to be reached by the flow. */
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
/* The flow of a binding; its connection is dead when it belongs to an earlier process. */
struct flow location_flow(const struct binding *b, uint64_t epoch);

#endif
