/* SPDX-License-Identifier: MIT */
/* push/push.h: waking a phone that sleeps, through the operator's push provider.   layer: services
 *
 * Spec    RFC 8599 §4.1, §5.3, §5.6: a phone registers with pn-provider, pn-prid and pn-param in its
 *         contact; a request for it is held while it is woken, until it registers anew.
 * Shape   push_wake posts to the webhook of the configuration (push.url):
 *             {"event":"wake","provider":…,"prid":…,"param":…,"account":…,"method":…,"call_id":…,"from":…,"time":…}
 *         signed in a header: `Tandem-Signature: t=SECONDS,v1=HEX`, where HEX is HMAC-SHA256 under
 *         push.secret of SECONDS, a dot, and the body. Whether it was heard is not waited for: the
 *         phone's registration is what counts. What fails is logged.
 * Limits  FETCH_QUEUE calls in a process; one wake-up per contact in PUSH_AGAIN; beyond:
 *         STAT_LIMIT_PUSH.
 * Threads the worker's own.
 */
#ifndef PUSH_PUSH_H
#define PUSH_PUSH_H
#include "fetch/fetch.h"
#include "settings/settings.h"
#include "store/store.h"
#include "transport/transport.h"

#define PUSH_AGAIN (2 * USEC_S)
#define PUSH_TIME  (5 * USEC_S)

struct push;

/* f: NULL: nothing can be woken. Errors: ERR_NOMEM. */
MUST_USE enum err push_new(struct loop *l, struct fetch *f, struct push **ret_push);
void push_free(struct push *p); /* NULL is fine */
/* The contact can be woken: it has what a provider needs, and there is one. */
bool push_can_wake(const struct push *p, const struct settings *set, const struct binding *b);
/* aor: user@domain that is called by rx. */
void push_wake(struct push *p, const struct settings *set, const struct binding *b, sv aor,
               const struct rx *rx);

#endif
