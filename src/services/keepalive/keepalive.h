/* SPDX-License-Identifier: MIT */
/* keepalive/keepalive.h: NATs are kept open towards phones that registered over UDP.
 * layer: services
 *
 * Spec    RFC 3261 §7.5 (CRLFs before a message are ignored), RFC 5626 §4.4.2 (NATs forget within 30
 *         seconds). Phones on a connection keep it alive themselves (RFC 5626 §4.4.1).
 * Shape   one for each worker. Every settings.keepalive each phone that is reached by its flow over
 *         UDP gets CR LF CR LF from the listener that it registered on. Each worker serves its share
 *         of the store's places; when within the interval an address of record gets its turn hangs on its
 *         name alone. So datagrams are spread evenly, and the time between two of them to one phone does not
 *         change with who comes and goes. A turn walks about KEEPALIVE_WALK addresses of record; a server
 *         without such phones wakes once a second.
 * Limits  KEEPALIVE_WINDOW phones collected at a time; of what is beyond, other ones each time would not
 *         help any of them: the first are served, each other counts (STAT_LIMIT_KEEPALIVE).
 * Threads the worker's own.
 */
#ifndef KEEPALIVE_KEEPALIVE_H
#define KEEPALIVE_KEEPALIVE_H
#include "settings/settings.h"
#include "store/store.h"
#include "transport/transport.h"

enum { KEEPALIVE_WALK = 1000, KEEPALIVE_WINDOW = 65536 };

struct keepalive;

/* set: read at once and not kept. Nothing is sent while its keepalive is 0. Errors: ERR_NOMEM. */
MUST_USE enum err keepalive_new(struct sip *s, struct store *st, const struct settings *set,
                                struct keepalive **ret_keepalive);
/* A new snapshot: another interval begins at once. */
void keepalive_settings(struct keepalive *k, const struct settings *set);
void keepalive_free(struct keepalive *k); /* before the endpoint and the store; NULL is fine */

#endif
