/* SPDX-License-Identifier: MIT */
/* INFO within a dialog whose media passes through us (RFC 6086): some of it is for who carries that media. */
#include "anchor/anchor_priv.h"
#include "log/log.h"

/* Who may be meant, by Content-Type. What none of them takes goes on untouched (RFC 6086 §4.2.3: packages are the
 * endpoints' own). */
static info_fn *const takers[] = {anchor_digit_info, anchor_trickle_info};

static void answer(struct anchor *a, struct stxn *txn, const struct info_answer *as)
{
    char tag[24];
    struct sip_reply r = {.status = as->status,
                          .reason = as->reason,
                          .to_tag = sip_random_tag(a->sip, tag),
                          .headers = as->headers};
    enum err rc = stxn_reply(txn, &r);
    if (rc)
        LOG_DEBUG("anchor", "info.unanswered", F_ERR(rc));
    stxn_drop(txn);
}

bool anchor_request(struct anchor *a, struct rx *rx, struct stxn *txn)
{
    struct info_answer as = {.status = 200};
    unsigned side;
    if (rx->msg.method != SIP_INFO)
        return false;
    struct dialog *d = dialog_of_request(a, rx, &side);
    if (!d || d->ended || d->session.generation == 0)
        return false;
    arena_reset(&a->scratch);
    for (size_t i = 0; i < sizeof(takers) / sizeof(takers[0]); i++) {
        if (takers[i](d, side, rx, &as)) {
            answer(a, txn, &as);
            return true;
        }
    }
    return false;
}
