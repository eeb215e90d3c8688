/* SPDX-License-Identifier: MIT */
/* quality/quality_bursts.c: bursts and gaps (RFC 3611 §4.7.2), and whether losses come singly.
 *
 *    ....X....................X..XX....X..................
 *        alone: of the gap    '--------'
 *                              a burst: no QUALITY_GMIN good ones within, and two bad ones at least
 *
 * What is a burst shows when QUALITY_GMIN good ones have followed: until then the cluster may grow. */
#include "quality/quality_rx.h"

static void close_cluster(struct quality_bursts *b)
{
    if (b->bad >= 2) {
        b->bursts++;
        b->burst_packets += b->last - b->first + 1;
        b->burst_bad += b->bad;
        b->burst_end = b->last;
        b->burst_first = b->burst_first || b->first == 0;
    }
    b->bad = 0;
}

void quality_bursts_push(struct quality_bursts *b, bool bad, uint64_t n)
{
    if (n == 0)
        return;
    if (bad) {
        if (b->bad > 0 && b->packets - b->last - 1 >= QUALITY_GMIN)
            close_cluster(b);
        if (b->bad == 0)
            b->first = b->packets;
        b->last = b->packets + n - 1;
        b->bad += n;
        b->all_bad += n;
        b->runs += !b->last_bad;
    }
    b->last_bad = bad;
    b->packets += n;
}

static double share(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

/* G.107: the mean run of losses, beside that of random ones as frequent: 1 / (1 - loss). */
static double burst_ratio(const struct quality_bursts *b)
{
    double ratio = share(b->all_bad, b->runs) * (1 - share(b->all_bad, b->packets));
    return ratio > 1 ? ratio : 1;
}

void quality_bursts_figures(const struct quality_bursts *b, struct quality_burst_figures *ret)
{
    struct quality_bursts now = *b;
    close_cluster(&now);
    uint64_t gap_packets = now.packets - now.burst_packets;
    uint64_t gaps = now.packets > 0;
    if (now.bursts > 0)
        gaps = now.bursts - 1 + !now.burst_first + (now.burst_end + 1 < now.packets);
    *ret = (struct quality_burst_figures){
        .bursts = now.bursts,
        .gaps = gaps,
        .burst_density = share(now.burst_bad, now.burst_packets),
        .gap_density = share(now.all_bad - now.burst_bad, gap_packets),
        .burst_packets = share(now.burst_packets, now.bursts),
        .gap_packets = share(gap_packets, gaps),
        .ratio = burst_ratio(&now),
    };
}
