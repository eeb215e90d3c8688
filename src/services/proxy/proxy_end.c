/* SPDX-License-Identifier: MIT */
/* The server ends: who still rings is cancelled, who still waits is told. RFC 3261 §16.10 and §9.1 say how: CANCEL to each
 * branch, as soon as it has answered anything; the caller hears when all have ended. We wait for that but a moment, so that
 * he hears of it from us at all; what they say later finds nobody, and is ended in his name (proxy_unfit.c). */
#include "proxy/proxy_priv.h"

#define WHY "the server ends"

/* Its caller has heard nothing final, and can. */
static bool is_unanswered(const struct context *c)
{
    return c->step.invite && c->step.sent == 0 && c->server && !stxn_final(c->server);
}

static void begin(struct context *c, const struct sip_reply *said)
{
    context_enter(c);
    c->ending = true;
    c->plan->otherwise = said->status;
    c->plan->otherwise_reason = said->reason;
    c->plan->otherwise_headers = said->headers;
    loop_timer(sip_loop(c->proxy->sip), &c->rank_time, PROXY_END_WAIT);
    c->reason = SV("SIP;cause=503;text=\"" WHY "\"");
    context_event(c, NULL, STEP_EV_END, NULL, 0);
    c->reason = SV_NONE;
    context_leave(c);
}

void context_cut(struct context *c)
{
    context_enter(c);
    for (unsigned i = 0; i < c->step.n; i++) {
        LIST_EACH_SAFE (a, &c->branch[i]->attempts, struct attempt, by_branch) {
            if (!a->done)
                unfit_await(a, 503, WHY);
        }
    }
    context_event(c, NULL, STEP_EV_CUT, NULL, 0);
    context_leave(c);
}

size_t proxy_end(struct proxy *p, const struct sip_reply *said, size_t *most)
{
    size_t n = 0;
    LIST_EACH_SAFE (c, &p->contexts, struct context, by_proxy) {
        if (!is_unanswered(c))
            continue;
        n++;
        if (!most)
            context_enter(c); /* it is needed behind its end */
        if (!c->ending && (!most || *most > 0)) {
            if (most)
                --*most;
            begin(c, said);
        }
        if (!most) {
            context_cut(c);
            context_leave(c);
        }
    }
    return n;
}

size_t proxy_unanswered(const struct proxy *p)
{
    size_t n = 0;
    LIST_EACH (c, &p->contexts, struct context, by_proxy)
        n += is_unanswered(c);
    return n;
}
