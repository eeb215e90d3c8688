/* SPDX-License-Identifier: MIT */
/* The server ends: calls that cannot go on without us hear BYE, not all at once. */
#include "routing/routing_priv.h"

/* All of them within SPREAD, and so few need not wait. */
enum { LEAST = 8 };
#define STEP   (10 * USEC_MS)
#define SPREAD (2 * USEC_S)

/* It goes on when all are gone: one that rang may be answered yet. */
void routing_on_leave(struct timer *t, void *arg)
{
    struct routing *r = arg;
    size_t most = r->leave_most;
    size_t left = r->anchor ? anchor_hang_up(r->anchor, &most) : 0;
    left += answer_hang_up(r->answer, &most);
    r->leave_said = r->leave_said || most < r->leave_most;
    loop_timer(r->loop, t, STEP);
    if (left || !r->left || (r->leave_said && ctxn_awaited(r->sip, SIP_BYE)))
        return;
    void (*tell)(void *arg) = r->left;
    r->left = NULL;
    tell(r->left_arg);
}

void routing_leave(struct routing *r, void (*left)(void *arg), void *arg)
{
    size_t calls = answer_count(r->answer) + (r->anchor ? anchor_count(r->anchor) : 0);
    r->draining = true;
    r->left = left;
    r->left_arg = arg;
    r->leave_most = LEAST + calls * STEP / SPREAD;
    loop_timer(r->loop, &r->leave, 0);
}
