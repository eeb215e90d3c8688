/* SPDX-License-Identifier: MIT */
/* registrar/registrar.h: REGISTER: an address of record and where it can be reached.
 * layer: services
 *
 * Spec    RFC 3261 §10.3 in full; q §20.10; 423 and Min-Expires §10.2.8, §20.23; Date in the 200
 *         §20.17; RFC 3327 §5.3 (Path); RFC 5626 §6 (instances and flows); RFC 5627 §5 (GRUU);
 *         RFC 5630 §5.2 (sips contacts); RFC 8599 §5.6.1 (push parameters). Service-Route (RFC 3608)
 *         is never given: the phone's next hop is us already.
 * Shape   registrar_apply is a pure function: (bindings, request, limits, now) → bindings or a
 *         refusal. registrar_request drives it: reads the set, applies, swaps it; when another worker
 *         was first it reads again. The 200 leaves after the journal has the change. Nothing stays bound
 *         to an account that went meanwhile: 404.
 * Rule    the caller has authenticated and authorised the request: the account owns the address of
 *         record (D5). A Path counts for no more than its sender's word (D15).
 * Threads the worker's own.
 */
#ifndef REGISTRAR_REGISTRAR_H
#define REGISTRAR_REGISTRAR_H
#include "settings/settings.h"
#include "store/store.h"
#include "txn/txn.h"

struct registrar_limits {
    uint32_t expires_min_s, expires_max_s, expires_default_s;
    unsigned contacts;
    bool outbound; /* RFC 5626: bindings by instance and reg-id */
};

struct registrar_input {
    const struct sip *sip; /* knows our own addresses and our secret; NULL: there are none */
    struct sipmsg *req;
    const struct flow *flow; /* that it came on */
    sv aor;                  /* user@domain */
    const struct binding *old;
    size_t old_n;
    uint64_t epoch;  /* store_epoch */
    uint64_t chance; /* loop_random: seeds of temporary GRUUs */
    usec now;        /* wall */
};

struct registrar_result {
    uint16_t status;          /* 200, or the refusal: 400, 403, 420, 423, 439, 500, 503 */
    const char *why;          /* static reason phrase or NULL */
    bool changed;             /* bindings differ from before: must be stored */
    struct binding *bindings; /* the new set, in the arena, by q then by recency */
    size_t n;
    bool outbound; /* RFC 5626 §6 was applied: Require: outbound in the 200 */
    bool direct;   /* no proxy stands between */
};

/* The new bindings live as long as the request, the old set, and a. Errors: ERR_NOMEM. Everything else
 * is a result.   RFC 3261 §10.3 steps 6-8 */
MUST_USE enum err registrar_apply(const struct registrar_input *in,
                                  const struct registrar_limits *lim, struct arena *a,
                                  struct registrar_result *ret_result);

/* Answers the REGISTER of this transaction for aor (user@domain, in the request's arena). The
 * transaction becomes the registrar's. */
void registrar_request(struct sip *s, struct store *st, struct settings *set, struct stxn *t,
                       sv aor);

/* ---- flows that end (RFC 5626 §7) ---- */

/* A connection ended (sip_user.on_flow_gone): what hangs on it is unbound, whoever
 * registered it. A phone that can be woken (RFC 8599) stays bound, asleep. */
void registrar_flow_gone(struct sip *s, struct store *st, const struct flow *f);
/* The target of aor with this Request-URI was answered 430, or its flow is gone (as proxy_watch.
 * on_unreachable says): that outbound registration ends, unless the phone came again meanwhile.
 *   flow  it was to go by; transport SIP_T_NONE: by a Path */
void registrar_unreachable(struct sip *s, struct store *st, sv aor, sv uri,
                           const struct flow *flow);

/* ---- GRUU (RFC 5627) ---- */

/* A Request-URI of one of our domains, read as a GRUU. */
struct registrar_gruu {
    bool temporary;
    /* temporary: whose it is; public: empty, as the URI's user and domain say */
    sv user, domain;
    sv instance; /* public: that the bindings must have */
    sv seed;     /* temporary: that the bindings must have */
};
/* Errors: ERR_NOTFOUND (no GRUU: an address of record as any), ERR_DENIED (has the form of one, but
 * is none that we gave: 404, RFC 5627 §6.1), ERR_NOMEM. Views into u and a. */
MUST_USE enum err registrar_gruu_read(const struct sip *s, const struct uri *u, struct arena *a,
                                      struct registrar_gruu *ret_gruu);
/* The bindings that g means come first in b, in their order. Returns how many; 0: of a public one
 * 480, of a temporary one 404 (RFC 5627 §5.3, §6.1). */
size_t registrar_gruu_bindings(const struct registrar_gruu *g, struct binding *b, size_t n);

#endif
