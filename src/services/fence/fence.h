/* SPDX-License-Identifier: MIT */
/* fence/fence.h: whom routes send calls to is no peer of a TURN client.         layer: services
 *
 * Spec    RFC 8656 §21.4, RFC 3263 (names as for a call); threats D22.
 * Shape   a server that a route names (`to: sip:…`) trusts the address that we send from, and a client of the TURN
 *         server sends from there, too. So this worker's TURN server forbids the addresses of those servers: those
 *         that stand there by number from the first moment, those of a name as soon as the DNS has said them. A
 *         name is asked about again when its answer ends.
 * Life    what a name has led to stays forbidden while routes have that name, also when the DNS says nothing, or
 *         another address: FENCE_ADDRESSES of each, the oldest gives way.
 * Limits  FENCE_SERVERS of all routes; beyond them a line in the log at each change of the configuration.
 * Threads its loop's; fence_new before it runs. */
#ifndef FENCE_FENCE_H
#define FENCE_FENCE_H
#include "locate/locate.h"
#include "settings/settings.h"
#include "turnserver/turnserver.h"

enum { FENCE_SERVERS = 1024, FENCE_ADDRESSES = 32 };

struct fence;
/* locate: NULL: only numbers are known. t and locate outlive it. Errors: ERR_NOMEM. */
MUST_USE enum err fence_new(struct loop *l, struct locate *locate, struct turnserver *t,
                            struct settings *set, struct fence **ret_fence);
void fence_free(struct fence *f); /* NULL is fine; what it has forbidden stays so */
/* The routes of a new snapshot. Errors: ERR_NOMEM: as before. */
MUST_USE enum err fence_settings(struct fence *f, struct settings *set);

#endif
