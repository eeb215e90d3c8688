/* SPDX-License-Identifier: MIT */
/* routing_priv.h: the parts of routing among themselves.
 *
 *   routing.c         the endpoint's user: what kind of request is this
 *   routing_auth.c    who says so: challenge, verify, authorise
 *   routing_identity.c  who is shown as the caller, and to whom
 *   routing_match.c   which route of the configuration
 *   routing_where.c   where to, outside a dialog: destination, route, answer or targets
 *   routing_lookup.c  targets: accounts, numbers, bindings
 *   routing_redirect.c  a phone redirects
 *   routing_wake.c    a phone sleeps
 *   routing_call.c    handed to the proxy; requests inside a dialog
 *   routing_leave.c   the server ends: calls that ring, calls that cannot go on without us
 */
#ifndef ROUTING_PRIV_H
#define ROUTING_PRIV_H
#include "accounting/accounting.h"
#include "anchor/anchor.h"
#include "announce/announce.h"
#include "ds/hash.h"
#include "location/location.h"
#include "keepalive/keepalive.h"
#include "locate/locate.h"
#include "log/log.h"
#include "overload/overload.h"
#include "proxy/proxy.h"
#include "push/push.h"
#include "registrar/registrar.h"
#include "routing/routing.h"
#include "routing/routing_match.h"

struct routing {
    struct loop *loop;
    struct routing_shared shared;
    struct settings *set;
    struct sip *sip;
    struct proxy *proxy;
    struct locate *locate; /* NULL: only numeric targets */
    struct push *push;
    struct keepalive *keepalive;
    struct answer *answer;
    const struct routing_media *media; /* NULL: no media service */
    void *media_arg;
    struct link wakes; /* held requests */
    unsigned wakes_n;
    struct overload overload;
    struct overload_probe probe;
    struct accounting *accounting;
    struct anchor *anchor;     /* NULL: media never passes through us */
    struct announce *announce; /* NULL with it */
    struct link pending;
    struct hash unproved; /* those of them that wait for their sender's account, by Call-ID */
    bool draining;
    struct timer leave;
    size_t leave_most;       /* calls that hear of it at once */
    void (*left)(void *arg); /* NULL: told, or nobody asks */
    void *left_arg;
    struct log_brake failures, unreachable; /* auth.failure, target.unreachable */
};

/* Where a URI points, in one form for every check (D42). */
struct destination {
    const struct uri *uri; /* as it came; NULL: not read yet */
    sv user;               /* canonical, or the digits of a number; empty: none */
    sv number;             /* the same as a gateway would read it: what routes look at besides */
    sv domain;             /* the domain of ours, or lower case */
    const struct settings_domain *ours; /* NULL: foreign */
    bool secure;                        /* sips */
    const struct registrar_gruu *gruu;  /* one phone is meant (RFC 5627); NULL: all */
};

/* Targets being looked up. done: once, perhaps before lookup_start returns, unless cancelled. */
struct lookup {
    struct routing *r;
    struct settings *set;
    struct arena *arena;
    const struct settings_target *list; /* NULL: `local` alone */
    unsigned n, at;
    /* of the request: what `uri` and `local` mean; domain empty: foreign */
    const struct uri *uri;
    sv user, domain;
    const struct registrar_gruu *gruu;
    bool routed; /* a Route is left that leads on */
    bool secure;
    sv of_user, of_domain;   /* whose bindings are asked for */
    struct store_find *find; /* asked where nobody is bound; in the arena; NULL: not asked */
    bool there;              /* an account has that name */
    bool nobody;             /* no account has it, as its name or as its number */
    struct store_bindings bindings;
    struct proxy_target *targets; /* out, with room for so many */
    unsigned found, room;
    uint16_t status; /* out: why nothing was found; 0: nothing was asked for */
    uint16_t reject; /* out: the list ends with a refusal */
    sv reason;
    void (*done)(struct lookup *k);
};

/* Where a request inside a dialog goes; dest without flow and address: where its URI points. */
struct hop {
    struct dest dest;
    bool flow_only;
    bool known; /* the other end of a dialog whose ends we know: no proof is asked for */
};

/* A request on its way through authentication and look-up. Once its sender is proved, or it is to be
 * forwarded, it holds the server transaction until the registrar or the proxy takes it. */
struct pending {
    struct routing *r;
    struct link by_routing;
    struct hash_node by_call_id; /* while nothing is proved */
    struct settings *set;        /* the snapshot that it began under */
    struct stxn *txn;            /* NULL: none so far, answers are stateless */
    struct rx *rx;               /* a reference */
    struct proxy_route route;
    /* that the sender claims (From; To of a REGISTER); NULL: a stranger */
    const struct settings_domain *domain;
    bool anybody; /* policy asks for no proof: `authenticate: register` */
    struct destination to;
    const struct settings_route *rule; /* NULL: built in */
    struct auth_claim claim;
    bool by_certificate; /* the account is named by a verified certificate: no digest */
    struct lookup lookup;
    sv caller;                          /* user@domain once proved; else SV_NONE */
    sv payer;                           /* for whom media of ours counts; SV_NONE: nobody */
    void (*next)(struct pending *p);    /* after the caller, or the payer, is known */
    const struct settings_target *what; /* the call ends here */
    struct store_find find; /* the caller's account, once proved; last, for pending_new */
};

/* Why a request was answered here: at debug, for who asks why a phone gets what it gets. */
void routing_log(const struct rx *rx, uint16_t status, const char *why);
/* A server of somebody else's could not be asked: for who wonders why calls fail. At most so many lines a
 * second (D25). */
void routing_log_unreachable(struct routing *r, const struct proxy_target *t, enum err why);
/* A stateless answer. */
void routing_refuse(struct routing *r, struct rx *rx, uint16_t status, const char *why, sv headers);

/* A server transaction for rx. False: refused and answered. */
bool routing_transaction(struct routing *r, struct rx *rx, const struct stxn_handler *h, void *arg,
                         struct stxn **ret_txn);
/* A pending request without a transaction. NULL: refused and answered. */
struct pending *pending_new(struct routing *r, struct rx *rx, const struct proxy_route *route);
/* Makes its transaction. False: none can be made; answered, or a repetition; p is gone. */
MUST_USE bool pending_transaction(struct pending *p);
/* Answers, through the transaction when there is one, and ends p. */
void pending_answer(struct pending *p, uint16_t status, const char *why, sv headers);
/* Ends it without the transaction, which has gone to somebody else. */
void pending_free(struct pending *p);

/* Proves that the sender owns the address in header (From; To for a REGISTER), then calls next with
 * p->caller set. Without credentials: a stateless challenge, and no state. */
void routing_authenticate(struct routing *r, struct rx *rx, const struct proxy_route *route,
                          const struct settings_domain *domain, void (*next)(struct pending *p));

/* Outside a dialog: route, look up, forward; p->caller proved, or a stranger. */
void routing_outside(struct pending *p);
/* Inside a dialog: a route of the configuration lets the proved caller send to this Route's URI. */
bool routing_may_follow(struct pending *p, const struct uri *next);
/* The configuration has a route for this request of somebody unproved. */
bool routing_strangers_route(struct routing *r, const struct rx *rx, const struct destination *to);
/* uri, which lives as long as rx, as a destination; callers: the domain of who asks, or NULL. False:
 * no memory. */
bool destination_read(struct routing *r, const struct settings *set, struct rx *rx,
                      const struct uri *uri, const struct settings_domain *callers,
                      struct destination *ret);
/* What routes look at, but for the account. */
struct routing_facts routing_facts_of(struct routing *r, const struct rx *rx,
                                      const struct destination *d);
/* A request that the proxy has: what befalls it is told to the books, and redirections are judged. */
struct watched {
    struct routing *r;
    struct call *call; /* NULL: no call, or it goes on unseen */
    struct rx *rx;     /* the request; the texts below are in it */
    struct settings *set;
    bool secure;
    struct link redirected, wakes;
};
/* Answers redirect, now or later. */
void routing_redirected(struct watched *w, struct proxy_redirect *redirect,
                        const struct proxy_target *t, struct rx *rx);
void routing_redirects_end(struct watched *w);
/* Wakes the phone and answers held when it has registered, or will not. */
void routing_held(struct watched *w, struct proxy_redirect *held, const struct proxy_target *t);
void routing_wakes_end(struct watched *w);
/* phone as a target of the proxy. */
void routing_phone_target(struct proxy_target *ret, const struct location_target *phone, sv aor);

void lookup_start(struct lookup *k);
void lookup_cancel(struct lookup *k);
/* what is TARGET_ECHO or TARGET_PLAY: the call ends here. */
void routing_local(struct pending *p, const struct settings_target *what);
/* ---- routing_leave.c ---- */
/* What a caller hears while the server ends; its reason ends with NUL. */
extern const struct sip_reply routing_gone;
void routing_on_leave(struct timer *t, void *arg);
/* p's targets are found: the proxy takes it. */
void routing_forward(struct pending *p);

/* Whose name a request bears: the domain of ours that its sender claims to be of; NULL: none. */
const struct settings_domain *routing_claimed(struct routing *r, struct rx *rx);
/* The address that the sender claims is the account that was proved, or one of its numbers. */
bool routing_owns(struct pending *p);
/* Finds out whom the media of an INVITE that goes on counts for (who was proved; else who has registered by the same
 * flow), then calls next, perhaps at once. p has its transaction. */
void routing_payer(struct pending *p, void (*next)(struct pending *p));
/* "P-Asserted-Identity: …" lines for the proved caller, in the request's arena; SV_NONE: a stranger. */
sv routing_identity(struct pending *p);
/* Follows a route set of ours. */
void routing_in_dialog(struct routing *r, struct rx *rx, const struct proxy_route *route);
/* The canonical user part in the request's arena; false: out of bounds. */
bool routing_canonical(struct rx *rx, sv user, sv *ret_user);
/* "user@domain" in a. */
bool routing_aor(struct arena *a, sv user, sv domain, sv *ret_aor);

#define ROUTING_ALLOW                                                                         \
    "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, PRACK, SUBSCRIBE, NOTIFY, PUBLISH, " \
    "INFO, REFER, MESSAGE, UPDATE\r\n"

#endif
