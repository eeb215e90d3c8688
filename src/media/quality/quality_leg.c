/* SPDX-License-Identifier: MIT */
/* quality/quality_leg.c: intervals, the whole call, and what they are worth. */
#include "quality/quality_leg.h"

#include "quality/quality_priv.h"

/* Of what a listener adds to the way: a packet that must be whole, and a jitter buffer. */
enum { PACKET_MS = 20, BUFFER_LEAST_MS = 40, BUFFER_MOST_MS = 200 };

void quality_leg_init(struct quality_leg *l, uint32_t clock_hz)
{
    *l = (struct quality_leg){
        .codec_in = &quality_unknown, .codec_out = &quality_unknown, .timer.next = USEC_NEVER};
    quality_rx_init(&l->in, clock_hz);
}

/* ---- worth ---- */

static double clamp(double v, double from, double to)
{
    return v < from ? from : v > to ? to : v;
}

/* variation_us: what a buffer must bear. listener: whose buffer it is; NULL: not known. */
static double one_way_ms(usec rtt, double variation_us, const struct quality_leg *listener)
{
    double buffer = clamp(variation_us / 1000, BUFFER_LEAST_MS, BUFFER_MOST_MS);
    if (listener && listener->out.has_voip && listener->out.voip.jb_nominal_ms > 0)
        buffer = clamp(listener->out.voip.jb_nominal_ms, 0, BUFFER_MOST_MS * 5);
    return (double)rtt / 2000 + PACKET_MS + buffer;
}

void quality_judge(struct quality_span *s, const struct quality_codec *codec, double variation_us,
                   const struct quality_leg *listener)
{
    struct quality_figures f = {s->loss, s->burst, one_way_ms(s->rtt_us, variation_us, listener)};
    s->rating = quality_rating(codec, &f);
    s->mos = quality_mos(s->rating);
}

usec quality_end_to_end(const struct quality_leg *l, const struct quality_leg *other)
{
    return l->rtt + (other ? other->rtt : 0);
}

void quality_keep_worst(struct quality_span *worst, const struct quality_span *s)
{
    if (worst->mos <= 0 || s->mos < worst->mos)
        *worst = *s;
}

/* ---- what arrives ---- */

static double share(uint64_t part, uint64_t whole)
{
    return whole ? clamp((double)part / (double)whole, 0, 1) : 0;
}

/* What was counted from a to b. */
static struct quality_span between(const struct quality_counts *a, const struct quality_counts *b)
{
    struct quality_span s = {.expected = b->expected - a->expected,
                             .late = b->late - a->late,
                             .duplicates = b->duplicates - a->duplicates,
                             .reordered = b->reordered - a->reordered};
    uint64_t received = b->received - a->received, n = b->jitter_n - a->jitter_n;
    /* one that was missing when a was counted may have come since */
    s.lost = s.expected > received ? s.expected - received : 0;
    s.loss = share(s.lost + s.late, s.expected);
    s.jitter_us = n ? (uint32_t)((b->jitter_sum - a->jitter_sum) / (double)n) : 0;
    return s;
}

void quality_interval(struct quality_leg *l, const struct quality_leg *other, usec now)
{
    struct quality_rx *q = &l->in;
    struct quality_span s = between(&l->before, &q->total);
    struct quality_bursts b = {.packets = q->bursts.packets,
                               .all_bad = q->bursts.all_bad - l->before_bad,
                               .runs = q->bursts.runs - l->before_runs};
    s.at = now;
    if (s.expected == 0) { /* silence is neither good nor bad, but it is what there was */
        l->last_in = (struct quality_span){.at = now};
        return;
    }
    b.packets = s.expected;
    struct quality_burst_figures figures;
    quality_bursts_figures(&b, &figures);
    s.burst = figures.ratio;
    s.spread_us = (uint32_t)clamp((double)quality_rx_spread(q), 0, UINT32_MAX);
    s.rtt_us = (uint32_t)clamp((double)quality_end_to_end(l, other), 0, UINT32_MAX);
    quality_judge(&s, l->codec_in, 2.0 * s.spread_us, other);
    l->last_in = s;
    quality_keep_worst(&l->worst_in, &s);
    l->spread_sum += s.spread_us;
    l->spread_n++;
    l->before = q->total;
    l->before_bad = q->bursts.all_bad;
    l->before_runs = q->bursts.runs;
    quality_rx_spread_reset(q);
}

/* Mean of the round trips; the last one where there is no mean. */
static usec mean_rtt(const struct quality_leg *l)
{
    return l && l->rtt_n ? (usec)(l->rtt_sum / l->rtt_n) : 0;
}

static uint32_t whole_rtt(const struct quality_leg *l, const struct quality_leg *other)
{
    return (uint32_t)clamp((double)(mean_rtt(l) + mean_rtt(other)), 0, UINT32_MAX);
}

void quality_in(const struct quality_leg *l, const struct quality_leg *other,
                struct quality_span *ret_span)
{
    static const struct quality_counts nothing;
    struct quality_span s = between(&nothing, &l->in.total);
    s.at = l->in.heard;
    struct quality_burst_figures figures;
    quality_rx_bursts(&l->in, &figures);
    s.burst = figures.ratio;
    /* the interval that goes on counts when it is the only one */
    s.spread_us = l->spread_n ? (uint32_t)(l->spread_sum / l->spread_n)
                              : (uint32_t)clamp((double)quality_rx_spread(&l->in), 0, UINT32_MAX);
    s.rtt_us = whole_rtt(l, other);
    if (s.expected > 0)
        quality_judge(&s, l->codec_in, 2.0 * s.spread_us, other);
    *ret_span = s;
}

bool quality_out(const struct quality_leg *l, const struct quality_leg *other,
                 struct quality_span *ret_span)
{
    const struct quality_theirs *t = &l->out;
    if (t->reports == 0)
        return false;
    struct quality_span s = {.at = t->at,
                             .expected = t->all_expected,
                             .lost = t->all_lost > 0 ? (uint64_t)t->all_lost : 0};
    s.loss = share(s.lost, s.expected);
    s.burst = 1;
    if (t->has_voip)
        quality_add_voip(&s, &t->voip);
    s.jitter_us = (uint32_t)clamp(t->jitter_sum / t->reports, 0, UINT32_MAX);
    s.rtt_us = whole_rtt(l, other);
    quality_judge(&s, l->codec_out, 2.0 * s.jitter_us, l);
    *ret_span = s;
    return true;
}

/* Two ways one behind the other: what is lost on either is lost. */
static void join(struct quality_span *s, const struct quality_span *second,
                 const struct quality_leg *to)
{
    s->at = s->at > second->at ? s->at : second->at;
    s->lost += second->lost;
    s->late += second->late;
    s->loss = 1 - (1 - s->loss) * (1 - second->loss);
    s->burst = s->burst > second->burst ? s->burst : second->burst;
    s->jitter_us = s->jitter_us > second->jitter_us ? s->jitter_us : second->jitter_us;
    quality_judge(s, to->codec_out, 2.0 * s->jitter_us, to);
}

void quality_direction(const struct quality_leg *from, const struct quality_leg *to,
                       struct quality_span *ret_span, struct quality_span *ret_worst)
{
    struct quality_span out;
    bool told = quality_out(to, from, &out), ended = to->tx.clock_hz > 0;
    quality_in(from, to, ret_span);
    *ret_worst = from->worst_in;
    if (told && ended) {
        if (ret_span->expected > 0)
            join(ret_span, &out, to);
        else
            *ret_span = out;
        if (to->worst_out.mos > 0)
            quality_keep_worst(ret_worst, &to->worst_out);
    } else if (
        told) { /* the report is of the whole way; duplicates and order are of the half that we see */
        out.duplicates = ret_span->duplicates;
        out.reordered = ret_span->reordered;
        *ret_span = out;
        *ret_worst = to->worst_out;
    }
}

bool quality_last(const struct quality_leg *from, const struct quality_leg *to,
                  struct quality_span *ret_last)
{
    bool told = to->last_out.mos > 0, ended = to->tx.clock_hz > 0;
    *ret_last = from->last_in;
    /* nothing came, so nothing was heard: its reports of before say nothing of now */
    if (ret_last->at > to->last_out.at && ret_last->expected == 0)
        return told;
    if (told && ended && ret_last->mos > 0)
        join(ret_last, &to->last_out, to);
    else if (told)
        *ret_last = to->last_out;
    return told;
}
