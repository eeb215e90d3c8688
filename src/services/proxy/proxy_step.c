/* SPDX-License-Identifier: MIT */
/* The pure part of the proxy: RFC 3261 §16.7. */
#include "proxy/proxy_step.h"

_Static_assert(PROXY_TARGETS_MAX <= 32, "branches fit a mask");

bool proxy_all_final(const struct step_context *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        if (c->branch[i].phase != STEP_FINAL)
            return false;
    }
    return true;
}

/* Lower is better. §16.7 step 6: a 6xx beats all; else the lowest class; within 4xx those that help
 * the caller try again come first. What this proxy made up, and 487 of branches that it cancelled
 * itself, come last in their class. */
static unsigned rank(const struct step_branch *b)
{
    unsigned class_ = b->status / 100;
    unsigned r = class_ == 6 ? 0 : class_ * 100;
    switch (b->status) {
    case 401:
    case 407:
        break;
    case 415:
    case 420:
    case 484:
        r += 1;
        break;
    case 408:
        r += 80;
        break;
    case 487:
        r += 90;
        break;
    default:
        r += 10;
        break;
    }
    return r * 2 + (b->made_up ? 1 : 0);
}

unsigned proxy_best(const struct step_context *c)
{
    unsigned best = 0;
    for (unsigned i = 1; i < c->n; i++) {
        if (rank(&c->branch[i]) < rank(&c->branch[best]))
            best = i;
    }
    return best;
}

/* Branches still pending, not yet cancelled, except one. They are cancelled from now on. */
static uint32_t cancel_pending(struct step_context *c, unsigned except)
{
    uint32_t mask = 0;
    for (unsigned i = 0; i < c->n; i++) {
        struct step_branch *b = &c->branch[i];
        if (i == except || b->phase == STEP_FINAL || b->cancelled)
            continue;
        b->cancelled = true;
        mask |= UINT32_C(1) << i;
    }
    return mask;
}

static unsigned ended(struct step_context *c)
{
    if (c->sent || !proxy_all_final(c))
        return 0;
    /* RFC 4320 §4.2: a late 408 to a request other than INVITE helps nobody and can loop. */
    if (!c->invite && c->branch[proxy_best(c)].status == 408)
        return STEP_SILENCE;
    return STEP_BEST;
}

static unsigned fail(struct step_context *c, struct step_branch *b, uint16_t status, bool made_up)
{
    b->phase = STEP_FINAL;
    b->status = status;
    b->made_up = made_up;
    return ended(c);
}

unsigned proxy_step(struct step_context *c, enum step_event ev, unsigned branch, uint16_t status,
                    uint32_t *ret_cancel)
{
    struct step_branch *b = &c->branch[branch];
    *ret_cancel = 0;
    switch (ev) {
    case STEP_EV_PROVISIONAL:
        if (b->phase == STEP_FINAL)
            return 0;
        b->phase = STEP_PROCEEDING;
        return STEP_RESET_C | (c->sent ? 0 : STEP_FORWARD);
    case STEP_EV_SUCCESS: {
        /* §16.7 step 5: every 2xx to INVITE goes upstream at once, forks and repetitions too; step
         * 10: the others are cancelled. */
        bool forward = c->invite || !c->sent;
        b->phase = STEP_FINAL;
        b->status = status;
        b->made_up = false;
        if (forward && !c->sent)
            c->sent = status;
        if (c->invite)
            *ret_cancel = cancel_pending(c, branch);
        return (*ret_cancel ? STEP_CANCEL_OTHERS : 0u) | (forward ? STEP_FORWARD : 0u);
    }
    case STEP_EV_FAILURE:
        if (b->phase == STEP_FINAL)
            return 0;
        /* A 6xx is not forwarded at once: a 2xx may still win the race; but nobody else shall ring
         * on. */
        if (status >= 600 && c->invite)
            *ret_cancel = cancel_pending(c, branch);
        return (*ret_cancel ? STEP_CANCEL_OTHERS : 0u) | fail(c, b, status, false);
    case STEP_EV_TIMEOUT:
        if (b->phase == STEP_FINAL)
            return 0;
        /* §16.7 step 2, §9.1: a cancelled branch that stays silent counts as cancelled. */
        return fail(c, b, c->cancelled && b->cancelled ? 487 : 408, true);
    case STEP_EV_UNREACHABLE:
        if (b->phase == STEP_FINAL)
            return 0;
        return fail(c, b, 503, true); /* §16.9 */
    case STEP_EV_BREADTH:
        if (b->phase == STEP_FINAL)
            return 0;
        return fail(c, b, 440, true);
    case STEP_EV_TIMER_C:
        if (b->phase == STEP_FINAL || b->cancelled)
            return 0;
        b->cancelled = true;
        *ret_cancel = UINT32_C(1) << branch;
        return STEP_CANCEL_OTHERS;
    case STEP_EV_CANCEL:
        c->cancelled = true;
        *ret_cancel = cancel_pending(c, PROXY_TARGETS_MAX);
        return *ret_cancel ? STEP_CANCEL_OTHERS : 0;
    case STEP_EVENTS:
        break;
    }
    return 0;
}
