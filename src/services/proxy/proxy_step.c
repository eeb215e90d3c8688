/* SPDX-License-Identifier: MIT */
/* The pure part of the proxy: RFC 3261 §16.7. */
#include "proxy/proxy_step.h"
#include <limits.h>

_Static_assert(PROXY_TARGETS_MAX <= 32, "branches fit a mask");

bool proxy_all_final(const struct step_context *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        if (c->branch[i].phase != STEP_FINAL)
            return false;
    }
    return true;
}

/* Behind all of what was heard; and behind that, who could not be asked at all. */
enum { RANK_REFUSED = 600, RANK_NOBODY = 1200 };

/* Lower is better. §16.7 step 6: a 6xx beats all; else the lowest class; within 4xx those that help
 * the caller try again come first. What this proxy made up, and 487 of branches that it cancelled
 * itself, come last in their class. That we could not ask a phone says nothing where another one has
 * answered, or the caller has given up. */
static unsigned rank(const struct step_branch *b)
{
    unsigned class_ = b->status / 100;
    unsigned r = class_ == 6 ? 0 : class_ * 100;
    if (b->status ==
        0) /* §16.7 step 4: what was followed is no response of this context any more */
        return UINT_MAX;
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
    r += b->refused ? RANK_REFUSED : b->made_up && class_ == 5 ? RANK_NOBODY : 0;
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

static bool waiting(const struct step_branch *b)
{
    return b->phase == STEP_WAITING;
}

static bool pending(const struct step_branch *b)
{
    return b->phase == STEP_TRYING || b->phase == STEP_PROCEEDING;
}

/* Branches still pending, not yet cancelled, except one. They are cancelled from now on. */
static uint32_t cancel_pending(struct step_context *c, unsigned except)
{
    uint32_t mask = 0;
    for (unsigned i = 0; i < c->n; i++) {
        struct step_branch *b = &c->branch[i];
        if (i == except || !pending(b) || b->cancelled)
            continue;
        b->cancelled = true;
        mask |= UINT32_C(1) << i;
    }
    return mask;
}

/* It is decided: the ranks that have not begun never will. */
static void end_waiting(struct step_context *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        struct step_branch *b = &c->branch[i];
        if (!waiting(b))
            continue;
        b->phase = STEP_FINAL;
        b->cancelled = true;
        b->made_up = true;
        b->status = 487;
    }
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

/* §16.6: when nobody of the ranks before rings any more, the highest that waits begins. One that
 * was cancelled holds it up no longer, even if its final response is still to come. */
static unsigned advance(struct step_context *c)
{
    int top = -1;
    for (unsigned i = 0; i < c->n; i++) {
        const struct step_branch *b = &c->branch[i];
        if (pending(b) && !b->cancelled)
            return 0;
        if (waiting(b) && b->rank > top)
            top = b->rank;
    }
    if (top < 0 || c->sent)
        return ended(c);
    c->starting = 0;
    for (unsigned i = 0; i < c->n; i++) {
        if (waiting(&c->branch[i]) && c->branch[i].rank == top) {
            c->branch[i].phase = STEP_TRYING;
            c->starting |= UINT32_C(1) << i;
        }
    }
    return STEP_START;
}

static unsigned fail(struct step_context *c, struct step_branch *b, uint16_t status, bool made_up)
{
    b->phase = STEP_FINAL;
    b->status = status;
    b->made_up = made_up;
    return advance(c);
}

static bool wanted(const struct step_context *c, const struct step_branch *b)
{
    return !b->cancelled && !c->sent && !c->declined;
}

/* RFC 3263 §4.3: this server has failed; another is left and still wanted; or, RFC 5626 §7, nobody was
 * at this flow, and the phone has another. */
static bool goes_on(const struct step_context *c, const struct step_branch *b)
{
    return (b->more || b->other) && wanted(c, b);
}

static unsigned next_server(struct step_branch *b)
{
    b->phase = STEP_TRYING;
    return STEP_NEXT;
}

static unsigned on_success(struct step_context *c, struct step_branch *b, unsigned except,
                           uint16_t status, uint32_t *ret_cancel)
{
    /* §16.7 step 5: every 2xx to INVITE goes upstream at once, forks and repetitions too; step
     * 10: the others are cancelled. */
    bool forward = c->invite || !c->sent;
    if (b) {
        b->phase = STEP_FINAL;
        b->status = status;
        b->made_up = false;
    }
    if (forward && !c->sent)
        c->sent = status;
    if (c->invite)
        *ret_cancel = cancel_pending(c, except);
    end_waiting(c);
    return (*ret_cancel ? STEP_CANCEL_OTHERS : 0u) | (forward ? STEP_FORWARD : 0u);
}

static unsigned on_failure(struct step_context *c, struct step_branch *b, unsigned branch,
                           uint16_t status, uint32_t *ret_cancel)
{
    if (status == 503 && b->more && wanted(c, b))
        return next_server(b);
    if ((status == 408 || status == 430) && b->other && !b->more && wanted(c, b))
        return next_server(b);
    /* A 6xx is not forwarded at once: a 2xx may still win the race; but nobody else shall ring
     * on. */
    if (status >= 600) {
        c->declined = true;
        if (c->invite)
            *ret_cancel = cancel_pending(c, branch);
        end_waiting(c);
    }
    return (*ret_cancel ? STEP_CANCEL_OTHERS : 0u) | fail(c, b, status, false);
}

/* Nothing was heard of a server. A request other than INVITE cannot wait for it as long as
 * its client transaction would: the caller's own one ends then. */
static unsigned on_silence(struct step_context *c, struct step_branch *b)
{
    if (goes_on(c, b) && b->phase == STEP_TRYING)
        return next_server(b);
    return c->invite ? 0 : fail(c, b, 408, true);
}

static unsigned cancel_all(struct step_context *c, uint32_t *ret_cancel)
{
    *ret_cancel = cancel_pending(c, PROXY_TARGETS_MAX);
    end_waiting(c);
    return *ret_cancel ? STEP_CANCEL_OTHERS : 0;
}

/* What a cancelled branch that stays silent counts as (§16.7 step 2, §9.1), at once. */
static unsigned cut(struct step_context *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        struct step_branch *b = &c->branch[i];
        if (!pending(b))
            continue;
        b->phase = STEP_FINAL;
        b->made_up = true;
        b->status = 487;
    }
    return ended(c);
}

unsigned proxy_step(struct step_context *c, enum step_event ev, unsigned branch, uint16_t status,
                    uint32_t *ret_cancel)
{
    struct step_branch *b = &c->branch[branch];
    *ret_cancel = 0;
    switch (ev) {
    case STEP_EV_SUCCESS:
        return on_success(c, b, branch, status, ret_cancel);
    case STEP_EV_LATE:
        return on_success(c, NULL, PROXY_TARGETS_MAX, status, ret_cancel);
    case STEP_EV_CANCEL:
        c->cancelled = true;
        return cancel_all(c, ret_cancel);
    case STEP_EV_END:
        return cancel_all(c, ret_cancel);
    case STEP_EV_CUT:
        return cut(c);
    case STEP_EV_RANK_TIME:
        *ret_cancel = cancel_pending(c, PROXY_TARGETS_MAX);
        return *ret_cancel ? STEP_CANCEL_OTHERS | advance(c) : 0;
    case STEP_EV_START:
        return advance(c);
    default:
        break;
    }
    if (!pending(b))
        return 0;
    switch (ev) {
    case STEP_EV_PROVISIONAL:
        b->phase = STEP_PROCEEDING;
        return STEP_RESET_C | (c->sent ? 0 : STEP_FORWARD);
    case STEP_EV_FAILURE:
        return on_failure(c, b, branch, status, ret_cancel);
    case STEP_EV_TIMEOUT:
        if (goes_on(c, b) && b->phase == STEP_TRYING)
            return next_server(b);
        /* §16.7 step 2, §9.1: a cancelled branch that stays silent counts as cancelled. */
        return fail(c, b, c->cancelled && b->cancelled ? 487 : 408, true);
    case STEP_EV_UNREACHABLE:
        if (goes_on(c, b))
            return next_server(b);
        return fail(c, b, status ? status : 503, true); /* §16.9 */
    case STEP_EV_SILENT:
        return on_silence(c, b);
    case STEP_EV_REFUSED:
        b->refused = true;
        return fail(c, b, status, true);
    case STEP_EV_UNFIT: /* as its response: no other server is asked, who answered was there */
        return fail(c, b, status, false);
    case STEP_EV_TIMER_C:
        if (b->cancelled)
            return 0;
        b->cancelled = true;
        *ret_cancel = UINT32_C(1) << branch;
        return STEP_CANCEL_OTHERS | advance(c);
    case STEP_EV_REDIRECT:
        if (b->cancelled || c->sent || c->declined)
            return fail(c, b, status, false);
        b->phase = STEP_PROCEEDING;
        return STEP_REDIRECT;
    case STEP_EV_GAVE_WAY:
        return fail(c, b, 0, true);
    default:
        return 0;
    }
}
