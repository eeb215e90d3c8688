/* SPDX-License-Identifier: MIT */
/* routing/routing_match.h: which route of the configuration a request takes.    layer: services
 *
 * Shape   facts about a request → the first route whose `when` holds; a pure function. Texts in the
 *         facts are in one canonical form (D42): the user as uri_user_canonical writes it, or the
 *         digits of a number; the domain lower case, the first name of a domain of ours for its aliases.
 * Threads any.
 */
#ifndef ROUTING_MATCH_H
#define ROUTING_MATCH_H
#include "settings/settings.h"

struct routing_facts {
    sv method;
    struct addr source;
    const struct tls_peer *peer;     /* verified or not; NULL: none */
    unsigned zone;                   /* of the listener that it came to */
    sv account_user, account_domain; /* whose call it is, proved; empty: a stranger's */
    sv user, domain;                 /* of the Request-URI */
    sv number; /* its user without visual separators; either form matches (D42) */
    bool domain_ours;
};

/* `when` holds: everything given, any of each list. */
bool routing_when(const struct settings_when *w, const struct routing_facts *f);
/* NULL: none does; then the built-in rules decide. */
const struct settings_route *routing_match(const struct settings *set,
                                           const struct routing_facts *f);

#endif
