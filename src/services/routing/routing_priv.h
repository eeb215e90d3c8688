/* SPDX-License-Identifier: MIT */
/* routing_priv.h: the parts of routing among themselves.
 *
 *   routing.c         the endpoint's user: what kind of request is this
 *   routing_auth.c    who says so: challenge, verify, authorise
 *   routing_call.c    where to: accounts, numbers, bindings, the proxy; requests inside a dialog
 */
#ifndef ROUTING_PRIV_H
#define ROUTING_PRIV_H
#include "accounting/accounting.h"
#include "location/location.h"
#include "proxy/proxy.h"
#include "registrar/registrar.h"
#include "routing/routing.h"

struct routing {
    struct loop *loop;
    struct routing_shared shared;
    struct settings *set;
    struct sip *sip;
    struct proxy *proxy;
    struct accounting *accounting;
    struct link pending;
    bool draining;
    /* auth.failure lines in this second, and those that were not written (D25) */
    usec log_second;
    unsigned log_lines, log_left_out;
};

/* A request on its way through authentication and look-up. Once its sender is proved it holds the
 * server transaction until the registrar or the proxy takes it. */
struct pending {
    struct routing *r;
    struct link by_routing;
    struct settings *set; /* the snapshot that it began under */
    struct stxn *txn;     /* NULL: nothing is proved yet, answers are stateless */
    struct rx *rx;        /* a reference */
    struct proxy_route route;
    /* that the sender claims (From; To of a REGISTER); NULL: a stranger */
    const struct settings_domain *domain;
    const struct settings_domain *target; /* of the Request-URI */
    bool secure;                          /* a sips URI */
    struct auth_claim claim;
    struct store_find find;
    struct store_bindings bindings;
    struct dest hop;                 /* inside a dialog: where it goes */
    sv caller;                       /* user@domain once proved; else SV_NONE */
    sv callee;                       /* user@domain once found */
    void (*next)(struct pending *p); /* after the caller is known */
};

/* Why a request was answered here: at debug, for who asks why a phone gets what it gets. */
void routing_log(const struct rx *rx, uint16_t status, const char *why);
/* A stateless answer. */
void routing_refuse(struct routing *r, struct rx *rx, uint16_t status, const char *why, sv headers);

/* A pending request with its transaction made. NULL: refused and answered, or a repetition. */
struct pending *pending_new(struct routing *r, struct rx *rx, const struct proxy_route *route);
/* Answers, through the transaction when there is one, and ends p. */
void pending_answer(struct pending *p, uint16_t status, const char *why, sv headers);
/* Ends it without the transaction, which has gone to somebody else. */
void pending_free(struct pending *p);

/* Proves that the sender owns the address in header (From; To for a REGISTER), then calls next with
 * p->caller set. Without credentials: a stateless challenge, and no state. */
void routing_authenticate(struct routing *r, struct rx *rx, const struct proxy_route *route,
                          const struct settings_domain *domain, void (*next)(struct pending *p));

/* Outside a dialog, for a user of ours; p->caller proved, or a stranger whom policy lets ring. */
void routing_to_user(struct pending *p);
/* Follows a route set of ours. */
void routing_in_dialog(struct routing *r, struct rx *rx, const struct proxy_route *route);
/* The canonical user part in the request's arena; false: out of bounds. */
bool routing_canonical(struct rx *rx, sv user, sv *ret_user);
/* "user@domain" in the request's arena. */
bool routing_aor(struct rx *rx, sv user, sv domain, sv *ret_aor);

#define ROUTING_ALLOW                                                                         \
    "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, PRACK, SUBSCRIBE, NOTIFY, PUBLISH, " \
    "INFO, REFER, MESSAGE, UPDATE\r\n"

#endif
