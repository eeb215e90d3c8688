/* SPDX-License-Identifier: MIT */
/* Keys that a side presses, by whichever way they come. */
#include "anchor/anchor_priv.h"
#include "dtmf/dtmf.h"

/* 400 that says where (RFC 6086 §4.2.2 leaves a malformed body to RFC 3261 §21.4.1). */
static void malformed(struct rx *rx, unsigned line, struct info_answer *ret)
{
    struct buf b;
    char mem[64];
    buf_init(&b, mem, sizeof(mem));
    if (line > 0)
        buf_printf(&b, "Malformed Key: Line %u of the Body", line);
    else
        buf_str(&b, "Malformed Key: No Signal in the Body");
    *ret = (struct info_answer){.status = 400};
    if (b.rc || sv_dup(&rx->arena, buf_sv(&b), &ret->reason))
        ret->reason = SV_NONE;
}

bool anchor_digit_info(struct dialog *d, unsigned from, struct rx *rx, struct info_answer *ret)
{
    enum dtmf_info form;
    uint8_t event;
    uint32_t ms;
    unsigned line;
    (void)d, (void)from;
    if (!dtmf_info_of(sipmsg_value(&rx->msg, SIP_H_CONTENT_TYPE), &form))
        return false;
    if (dtmf_info_parse(form, sipmsg_body(&rx->msg), &event, &ms, &line) == ERR_OK)
        return false;
    malformed(rx, line, ret);
    return true;
}
