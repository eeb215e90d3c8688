/* SPDX-License-Identifier: MIT */
/* The server ends: calls that ring are given up, calls that cannot go on without us hear BYE, not all at once. */
#include "routing/routing_priv.h"

/* All of them within SPREAD, and so few need not wait. */
enum { LEAST = 8 };
#define STEP   (10 * USEC_MS)
#define SPREAD (2 * USEC_S)
#define LOOK   (50 * USEC_MS) /* for answers, among all transactions */

/* RFC 3261 §21.5.4, §16.7 step 6: this whole server is out of service, so a caller that knows of others asks the next one
 * (RFC 3263 §4.3). 487 would be for a caller who gave up himself, and he would ask nobody. Without Retry-After it would count
 * as a 500; with a long one, a phone that knows but us would stay away when we are back, mostly some seconds from now. */
const struct sip_reply routing_gone = {
    .status = 503, .reason = SV("Shutting Down"), .headers = SV("Retry-After: 10\r\n")};

/* Those that are being looked up have neither rung nor a call. */
static void refuse_pending(struct routing *r)
{
    LIST_EACH_SAFE (p, &r->pending, struct pending, by_routing) {
        if (p->rx->msg.method == SIP_INVITE)
            pending_answer(p, routing_gone.status, routing_gone.reason.p, routing_gone.headers);
    }
}

/* How many are left. most: as for proxy_end, anchor_hang_up and answer_hang_up. */
static size_t hang_up(struct routing *r, size_t *most)
{
    refuse_pending(r);
    size_t left = proxy_end(r->proxy, &routing_gone, most);
    left += r->anchor ? anchor_hang_up(r->anchor, most) : 0;
    return left + answer_hang_up(r->answer, &routing_gone, most);
}

static size_t unanswered(const struct routing *r)
{
    return ctxn_awaited(r->sip, SIP_BYE) + ctxn_awaited(r->sip, SIP_INVITE) + stxn_awaited(r->sip) +
           accounting_unacknowledged(r->accounting);
}

/* It goes on when all are gone: one whose CANCEL came too late may stand by now. */
void routing_on_leave(struct timer *t, void *arg)
{
    struct routing *r = arg;
    size_t most = r->leave_most;
    size_t left = hang_up(r, &most);
    loop_timer(r->loop, t, left ? STEP : LOOK);
    if (left || !r->left || unanswered(r))
        return;
    void (*tell)(void *arg) = r->left;
    r->left = NULL;
    tell(r->left_arg);
}

void routing_rest(const struct routing *r, struct routing_rest *ret)
{
    *ret = (struct routing_rest){.calls = accounting_count(r->accounting),
                                 .ringing = proxy_unanswered(r->proxy),
                                 .relayed = (size_t)stat_get(&r->loop->stats, STAT_MEDIA_SESSIONS),
                                 .unanswered = unanswered(r)};
}

void routing_leave(struct routing *r, void (*left)(void *arg), void *arg)
{
    size_t calls = proxy_unanswered(r->proxy) + answer_count(r->answer) +
                   (r->anchor ? anchor_count(r->anchor) : 0);
    r->draining = true;
    r->left = left;
    r->left_arg = arg;
    r->leave_most = LEAST + calls * STEP / SPREAD;
    accounting_leave(r->accounting);
    loop_timer(r->loop, &r->leave, 0);
}

void routing_cut(struct routing *r, struct routing_rest *ret_rest)
{
    routing_rest(r, ret_rest);
    r->draining = true;
    r->left = NULL;
    accounting_leave(r->accounting);
    (void)hang_up(r, NULL);
}
