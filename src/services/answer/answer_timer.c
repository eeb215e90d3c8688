/* SPDX-License-Identifier: MIT */
/* Session timers: RFC 4028 §9, §10. The caller refreshes; who asks us to do it gets no timer at all, as by a
 * server without the extension. */
#include "answer/answer_priv.h"
#include "str/scan.h"

enum { MIN_SE = 90, EARLY = 32 }; /* seconds: §5, §10 */

static uint32_t seconds_of(usec t)
{
    return t / USEC_S > MIN_SE ? (uint32_t)(t / USEC_S) : MIN_SE;
}

/* §9: the interval; 0: none. */
static uint32_t interval(const struct answer_call *c, const struct sipmsg *m)
{
    const struct settings *set = c->answer->set;
    sv value = sipmsg_value(m, SIP_H_SESSION_EXPIRES), refresher;
    struct scan s = scan_of(value);
    size_t params = sv_chr(value, ';');
    uint64_t asked;
    if (!sipmsg_lists(m, SIP_H_SUPPORTED, SV("timer")))
        return 0;
    if (!sipmsg_has(m, SIP_H_SESSION_EXPIRES))
        return set->session_timer ? seconds_of(set->session_timer) : 0;
    if (scan_u64(&s, UINT32_MAX, &asked) || asked < MIN_SE)
        return 0;
    if (params < value.n &&
        sip_param(sv_sub(value, params + 1, value.n), SV("refresher"), &refresher) &&
        sv_ieq(refresher, SV("uas")))
        return 0;
    return (uint32_t)asked;
}

void answer_refresh(struct answer_call *c, struct rx *rx, struct buf *lines)
{
    struct loop *l = sip_loop(c->answer->sip);
    uint32_t n = interval(c, &rx->msg);
    loop_timer_cancel(l, &c->expiry);
    if (n == 0)
        return;
    /* §10: a little before it expires */
    uint32_t early = n / 3 < EARLY ? n / 3 : EARLY;
    loop_timer(l, &c->expiry, (usec)(n - early) * USEC_S);
    buf_str(lines, "Session-Expires: ");
    buf_u64(lines, n);
    buf_str(lines, ";refresher=uac\r\nRequire: timer\r\n");
}
