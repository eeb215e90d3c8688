/* SPDX-License-Identifier: MIT */
/* fuzz/quality_fuzz.c: any RTP and RTCP, relayed between two sides and ended here; figures stay within their bounds, and
 * what we report is RTCP.
 *
 * Input: records of a kind and a length (one octet each), then so many octets. */
#include <stdlib.h>

#include "quality/quality_leg.h"
#include "rtpmsg/rtpmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { KINDS = 8 };

/* A bound that holds: an abort is what the fuzzer sees. */
static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_span(const struct quality_span *s)
{
    must(s->loss >= 0 && s->loss <= 1 && (s->mos == 0 || (s->mos >= 1 && s->mos <= 4.5)));
    must(s->rating >= 0 && s->rating <= 100 && (s->mos == 0 || s->burst >= 1));
}

static void check(const struct quality_leg *l, const struct quality_leg *other)
{
    struct quality_span s, worst;
    quality_direction(l, other, &s, &worst);
    check_span(&s);
    check_span(&worst);
    check_span(&l->last_in);
    check_span(&l->last_out);
    must(l->in.total.received <= l->in.total.expected && l->in.window_n <= 64 && l->rtt >= 0);
    must(l->in.bursts.packets + l->in.window_n == l->in.total.expected);
}

static void rtp(struct quality_leg *l, sv octets, usec now)
{
    struct rtpmsg m;
    if (!rtpmsg_parse(octets, &m))
        (void)quality_rx_packet(&l->in, m.ssrc, m.seq, m.ts, m.payload.n, now);
}

static void report(struct quality_leg *l, usec now, bool bye)
{
    static const struct quality_rtcp ours = {
        .ssrc = 7, .cname = {"us", 2}, .voip = true, .rrtr = true, .jb_nominal_ms = 40};
    char mem[1000];
    struct buf b;
    buf_init(&b, mem, sizeof mem);
    if (bye)
        quality_rtcp_bye(l, &b, &ours, SV("bye"), now, now);
    else
        quality_rtcp_put(l, &b, &ours, now, now, (uint32_t)now * 2654435761U);
    must(b.rc == ERR_OK && (b.n == 0 || rtcpmsg_check(buf_sv(&b), RTCP_COMPOUND) == ERR_OK));
    must(bye || quality_rtcp_due(l) > now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct quality_leg side[2];
    usec now = USEC_S;
    quality_leg_init(&side[0], 8000);
    quality_leg_init(&side[1], 48000);
    while (size >= 2) {
        struct quality_leg *l = &side[data[0] & 1], *other = &side[!(data[0] & 1)];
        unsigned kind = data[0] / 2 % KINDS;
        size_t n = data[1] < size - 2 ? data[1] : size - 2;
        sv octets = {(const char *)data + 2, n};
        now += (usec)(data[0] >> 4) * 40 * USEC_MS;
        if (kind <= 1)
            rtp(l, octets, now);
        else if (kind == 2)
            (void)quality_passed(l, other, octets, now);
        else if (kind == 3)
            (void)quality_received(l, octets, now);
        else if (kind == 4)
            quality_interval(l, other, now);
        else if (kind == 5)
            quality_sent_packet(l, 7, 8000, data[1], data[1], now);
        else if (kind == 6)
            report(l, now, data[1] == 255);
        else
            quality_rx_clock(&l->in, 1U + data[1]);
        data += 2 + n;
        size -= 2 + n;
    }
    check(&side[0], &side[1]);
    check(&side[1], &side[0]);
    return 0;
}
