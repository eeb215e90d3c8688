/* SPDX-License-Identifier: MIT */
/* Candidates that a side sends behind its description (RFC 8840). Its ICE is with us, who answer checks and make none: we
 * need no candidate of it, and the other side has no use for them. */
#include "anchor/anchor_priv.h"
#include "log/log.h"
#include "trickle/trickle.h"

static void malformed(struct rx *rx, enum err rc, const struct sdp_fault *fault,
                      struct info_answer *ret)
{
    char mem[96];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_printf(&b, "Malformed Candidates: Line %u: %s", (unsigned)fault->line, fault->why);
    *ret = (struct info_answer){.status = rc == ERR_TOOBIG ? 413 : 400};
    if (b.rc || sv_dup(&rx->arena, buf_sv(&b), &ret->reason))
        ret->reason = SV_NONE;
}

/* §4.4: what is not of the credentials that stand is discarded. So is all else here: what changes is what is known of
 * the side, for who looks into the log. */
bool anchor_trickle_info(struct dialog *d, unsigned from, struct rx *rx, struct info_answer *ret)
{
    struct trickle t;
    struct sdp_fault fault = {0};
    unsigned ends = 0;
    if (!trickle_is(sipmsg_value(&rx->msg, SIP_H_CONTENT_TYPE)))
        return false;
    enum err rc = trickle_parse(sipmsg_body(&rx->msg), &t, &fault);
    if (rc) {
        malformed(rx, rc, &fault, ret);
        return true;
    }
    for (unsigned i = 0; i < t.n; i++)
        ends += t.media[i].end;
    LOG_DEBUG("anchor", "media.candidates", F_SV("call", text_sv(&d->call_id)),
              F_STR("side", from == CALLER ? "caller" : "callee"),
              F_INT("candidates", t.candidates),
              F_STR("end", t.end || (t.n > 0 && ends == t.n) ? "all"
                           : ends > 0                        ? "some"
                                                             : "none"));
    return true;
}
