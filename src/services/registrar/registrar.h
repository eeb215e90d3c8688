/* SPDX-License-Identifier: MIT */
/* registrar/registrar.h: REGISTER: an address of record and where it can be reached.   layer:
 * services
 *
 * Spec    RFC 3261 §10.3 in full; q §20.10; 423 and Min-Expires §10.2.8, §20.23; Date in the 200
 * §20.17. Shape   registrar_apply is a pure function: (bindings, request, limits, now) → bindings
 * or a refusal. registrar_request drives it: reads the set, applies, swaps it; when another worker
 * was first it reads again. The 200 leaves after the journal has the change. Rule    the caller has
 * authenticated and authorised the request: the account owns the address of record (D5). Threads
 * the worker's own.
 */
#ifndef REGISTRAR_REGISTRAR_H
#define REGISTRAR_REGISTRAR_H
#include "settings/settings.h"
#include "store/store.h"
#include "txn/txn.h"

struct registrar_limits {
    uint32_t expires_min_s, expires_max_s, expires_default_s;
    unsigned contacts;
};

struct registrar_result {
    uint16_t status;          /* 200, or the refusal: 400, 403, 423, 500, 503 */
    const char *why;          /* static reason phrase or NULL */
    bool changed;             /* bindings differ from before: must be stored */
    struct binding *bindings; /* the new set, in the arena, by q then by recency */
    size_t n;
};

/* s: knows our own addresses; NULL: none are. The flow of new bindings is flow. now: wall. Errors:
 * ERR_NOMEM. Everything else is a result.   RFC 3261 §10.3 steps 6-8 */
MUST_USE enum err registrar_apply(const struct sip *s, struct sipmsg *req, const struct flow *flow,
                                  uint64_t epoch, const struct binding *old, size_t old_n,
                                  const struct registrar_limits *lim, usec now, struct arena *a,
                                  struct registrar_result *ret_result);

/* Answers the REGISTER of this transaction for aor (user@domain, in the request's arena). The
 * transaction becomes the registrar's. */
void registrar_request(struct sip *s, struct store *st, struct settings *set, struct stxn *t,
                       sv aor);

#endif
