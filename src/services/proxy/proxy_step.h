/* SPDX-License-Identifier: MIT */
/* proxy/proxy_step.h: what a response context does next, as a pure function.    layer: services
 *
 * Spec    RFC 3261 §16.6 (ranks), §16.7 (response processing), §16.8 (Timer C), §16.9 (transport
 *         errors), §16.10 (CANCEL); RFC 3263 §4.3 (the next server); RFC 4320 §4.2 (no 408 to a request
 *         other than INVITE).
 * Shape   (context, event, branch, status) → effects; no clock, no message, no allocation. The driver
 *         (proxy.c) performs the effects in the order of the enum.
 *
 *           waiting ──rank begins──► trying ◄──► proceeding ──► final
 *                                      └─ a server fails and another is left: trying again
 * Threads any.
 */
#ifndef PROXY_STEP_H
#define PROXY_STEP_H
#include <stdbool.h>
#include <stdint.h>
#include "proxy/proxy.h"

/* WAITING: its rank has not begun. */
enum step_phase { STEP_TRYING, STEP_PROCEEDING, STEP_FINAL, STEP_WAITING };

struct step_branch {
    uint8_t phase; /* enum step_phase */
    bool cancelled;
    bool made_up;    /* no response of the branch: time-out or transport error */
    bool refused;    /* by us: its request did not leave */
    bool more;       /* another server of it has not been tried */
    bool other;      /* another flow of its phone has not (RFC 5626 §7) */
    uint16_t status; /* of its final response; made-up ones too (408, 503); 0: it gave way */
    uint16_t rank;   /* higher first */
};

struct step_context {
    unsigned n;
    bool invite;
    bool cancelled;                               /* by the caller */
    bool declined;                                /* by a 6xx */
    uint16_t sent;                                /* final status sent upstream; 0: none */
    uint32_t starting;                            /* mask for STEP_START */
    struct step_branch branch[PROXY_TARGETS_MAX]; /* n of them are used */
};

enum step_event {
    STEP_EV_PROVISIONAL, /* 101-199 */
    STEP_EV_SUCCESS,     /* 2xx */
    STEP_EV_FAILURE,     /* 300-699 */
    STEP_EV_TIMEOUT,     /* the client transaction gave up */
    STEP_EV_UNREACHABLE, /* transport error, or nowhere to send; status: what is said of it, 0: 503 */
    STEP_EV_REFUSED, /* not sent, with this status: Max-Breadth is used up (RFC 5393 §5.3.3), or who
                          * exchanges session descriptions cannot */
    STEP_EV_TIMER_C,
    STEP_EV_CANCEL,    /* from upstream; branch is ignored */
    STEP_EV_SILENT,    /* nothing was heard of this server in its share of the time */
    STEP_EV_LATE,      /* 2xx of a server that was given up */
    STEP_EV_RANK_TIME, /* the rank has rung long enough; branch is ignored */
    STEP_EV_REDIRECT,  /* 3xx that may be followed */
    STEP_EV_GAVE_WAY,  /* its redirection was followed: others ring in the place of it */
    STEP_EV_UNFIT, /* 2xx to INVITE that the caller cannot be given; status: what is said of it */
    STEP_EV_START, /* all branches wait; branch is ignored */
    STEP_EV_END,   /* by us, as if the caller had cancelled; branch is ignored */
    STEP_EV_CUT,   /* behind it: what has not ended is waited for no longer; branch is ignored */
    STEP_EVENTS
};

enum step_effect {
    STEP_CANCEL_OTHERS =
        1 << 0, /* CANCEL to each branch marked cancelled now and not before: see the mask */
    STEP_FORWARD = 1 << 1,  /* this response goes upstream */
    STEP_RESET_C = 1 << 2,  /* Timer C of this branch starts again */
    STEP_NEXT = 1 << 3,     /* this branch goes on to its next server */
    STEP_REDIRECT = 1 << 4, /* ask whether the redirection may be followed */
    STEP_START = 1 << 5,    /* the branches of the mask `starting` begin: the next rank */
    STEP_BEST = 1 << 6,     /* every branch has ended: send the best */
    STEP_SILENCE = 1 << 7   /* every branch has ended and nothing may be said (RFC 4320) */
};

/* Returns effects; *ret_cancel: mask of branches that get a CANCEL now. */
unsigned proxy_step(struct step_context *c, enum step_event ev, unsigned branch, uint16_t status,
                    uint32_t *ret_cancel);
/* The branch whose response is best (§16.7 step 6); all must be final. */
unsigned proxy_best(const struct step_context *c);
/* Every branch has a final response. */
bool proxy_all_final(const struct step_context *c);

#endif
