/* SPDX-License-Identifier: MIT */
/* fuzz/rtcpmsg_fuzz.c: any octets as RTCP; every reader stays within, and what has a printer survives print and
 * parse: printed once and twice are the same octets. */
#include <stdlib.h>

#include "rtcpmsg/rtcpmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ENTRIES_MAX = 20000 /* of a datagram, by far */ };

/* A bound that holds: an abort is what the fuzzer sees. */
static void must(bool holds)
{
    if (!holds)
        abort();
}

static bool within(sv part, sv whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void print_report(const struct rtcp_report *r, struct buf *b)
{
    struct rtcp_block blocks[RTCP_COUNT_MAX];
    must(r->blocks <= RTCP_COUNT_MAX);
    for (unsigned i = 0; i < r->blocks; i++) {
        blocks[i] = rtcpmsg_block(r, i);
        must(blocks[i].lost <= 0x7fffff && blocks[i].lost >= -0x800000);
    }
    if (r->has_sender)
        rtcpmsg_put_sr(b, r->ssrc, &r->sender, blocks, r->blocks);
    else
        rtcpmsg_put_rr(b, r->ssrc, blocks, r->blocks);
}

static void print_bye(const struct rtcp_bye *bye, struct buf *b)
{
    uint32_t ssrcs[RTCP_COUNT_MAX];
    must(bye->n <= RTCP_COUNT_MAX);
    for (unsigned i = 0; i < bye->n; i++)
        ssrcs[i] = rtcpmsg_bye_ssrc(bye, i);
    rtcpmsg_put_bye(b, ssrcs, bye->n, bye->reason);
}

static void print_feedback(const struct rtcp_feedback *fb, struct buf *b)
{
    static struct rtcp_nack nacks[ENTRIES_MAX];
    static struct rtcp_fir firs[ENTRIES_MAX];
    must(fb->n <= fb->fci.n / 4 && fb->n <= ENTRIES_MAX);
    for (unsigned i = 0; i < fb->n; i++) {
        nacks[i] = rtcpmsg_nack(fb, i);
        firs[i] = rtcpmsg_fir(fb, i);
        (void)rtcpmsg_tmmb(fb, i);
    }
    if (fb->kind == RTCP_FB_PLI)
        rtcpmsg_put_pli(b, fb->sender, fb->media);
    if (fb->kind == RTCP_FB_NACK)
        rtcpmsg_put_nack(b, fb->sender, fb->media, nacks, fb->n);
    if (fb->kind == RTCP_FB_FIR)
        rtcpmsg_put_fir(b, fb->sender, firs, fb->n);
}

static void print_xr(sv datagram, const struct rtcpmsg *m, struct buf *b)
{
    static struct rtcp_dlrr dlrrs[ENTRIES_MAX];
    struct rtcp_xr_walk w = {0};
    struct rtcp_summary summary;
    struct rtcp_voip voip;
    uint64_t ntp;
    size_t n = 0;
    struct rtcp_xr out = rtcpmsg_xr_begin(b, rtcpmsg_sender(m));
    for (struct rtcp_xr_block x; rtcpmsg_xr_next(m, &w, &x); n++) {
        must(within(x.body, datagram));
        if (!rtcpmsg_xr_rrtr(&x, &ntp))
            rtcpmsg_xr_put_rrtr(&out, ntp);
        if (!rtcpmsg_xr_voip(&x, &voip))
            rtcpmsg_xr_put_voip(&out, &voip);
        if (!rtcpmsg_xr_summary(&x, &summary))
            must(summary.hops <= RTCP_HOPS_LIMIT);
        unsigned subs = rtcpmsg_xr_dlrrs(&x);
        must(subs <= ENTRIES_MAX);
        for (unsigned i = 0; i < subs; i++)
            dlrrs[i] = rtcpmsg_xr_dlrr(&x, i);
        if (subs)
            rtcpmsg_xr_put_dlrr(&out, dlrrs, subs);
    }
    must(n <= datagram.n / 4);
}

/* What of a packet has a printer, printed. */
static void print_again(sv datagram, const struct rtcpmsg *m, struct buf *b)
{
    struct rtcp_report report;
    struct rtcp_bye bye;
    struct rtcp_app app;
    struct rtcp_feedback fb;
    struct rtcp_sdes_walk w = {0};
    size_t n = 0;
    if (!rtcpmsg_report(m, &report)) {
        must(within(report.block_octets, datagram) && within(report.extension, datagram));
        print_report(&report, b);
    }
    for (struct rtcp_item item; rtcpmsg_sdes_next(m, &w, &item); n++) {
        must(within(item.text, datagram) && item.type != RTCP_SDES_END);
        if (item.type == RTCP_SDES_CNAME)
            rtcpmsg_put_cname(b, item.ssrc, item.text);
    }
    must(n <= datagram.n / 2);
    if (!rtcpmsg_bye(m, &bye)) {
        must(within(bye.ssrcs, datagram) && within(bye.reason, datagram));
        print_bye(&bye, b);
    }
    if (!rtcpmsg_app(m, &app))
        must(app.name.n == 4 && within(app.name, datagram) && within(app.data, datagram));
    if (!rtcpmsg_feedback(m, &fb)) {
        must(within(fb.fci, datagram));
        print_feedback(&fb, b);
    }
    if (m->type == RTCP_XR && m->body.n >= 4)
        print_xr(datagram, m, b);
}

static size_t print_all(sv datagram, struct buf *b)
{
    struct rtcp_walk w = {0};
    size_t n = 0;
    for (struct rtcpmsg m; rtcpmsg_next(datagram, &w, &m); n++) {
        must(within(m.body, datagram) && w.at <= datagram.n && m.at + 4 + m.body.n <= w.at);
        print_again(datagram, &m, b);
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sv datagram = {(const char *)data, size};
    struct buf once, twice;
    if (size > UINT16_MAX)
        return 0;
    buf_init_heap(&once, 16 * size + 64); /* a CNAME of two octets becomes a packet */
    buf_init_heap(&twice, 16 * size + 64);
    size_t n = print_all(datagram, &once);
    must(n <= size / 4 && once.rc == ERR_OK);
    if (rtcpmsg_check(datagram, RTCP_COMPOUND) == ERR_OK)
        must(n > 0 && rtcpmsg_check(datagram, RTCP_REDUCED) == ERR_OK);
    if (once.n > 0) {
        must(rtcpmsg_check(buf_sv(&once), RTCP_REDUCED) == ERR_OK);
        (void)print_all(buf_sv(&once), &twice);
        must(twice.rc == ERR_OK && sv_eq(buf_sv(&once), buf_sv(&twice)));
    }
    buf_done(&once);
    buf_done(&twice);
    return 0;
}
