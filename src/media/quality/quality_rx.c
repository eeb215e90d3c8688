/* SPDX-License-Identifier: MIT */
/* quality/quality_rx.c: what arrives (RFC 3550 A.1, A.3, A.8).
 *
 * The last 64 numbers are kept as bits, so that one that comes late is told from one that comes twice. What leaves
 * the window is passed on to the bursts, lost or not, once and in order:
 *
 *    highest, 0                                     63
 *    seen   1 1 0 1 1 1 1 …                          1  --> quality_bursts_push()
 */
#include "quality/quality_rx.h"

#include <math.h>

#define AGAIN   USEC_S       /* comparison begins anew */
#define STRETCH (8 * USEC_S) /* clocks drift apart by a millisecond or two in it */
enum { WINDOW = 64, STEPS = 5 /* of a second: packets of 200 ms at most */ };

/* ---- time ---- */

static void set_clock(struct quality_rx *q, uint32_t clock_hz)
{
    q->clock_hz = clock_hz;
    q->step = 0;
    q->us_per_unit = (double)USEC_S / clock_hz;
    q->comparing = false;
}

void quality_rx_init(struct quality_rx *q, uint32_t clock_hz)
{
    *q = (struct quality_rx){0};
    set_clock(q, clock_hz);
}

void quality_rx_clock(struct quality_rx *q, uint32_t clock_hz)
{
    if (clock_hz != q->clock_hz)
        set_clock(q, clock_hz);
}

usec quality_rx_spread(const struct quality_rx *q)
{
    usec now = q->comparing ? (q->slow - q->fast) / 2 : 0;
    return now > q->spread ? now : q->spread;
}

void quality_rx_spread_reset(struct quality_rx *q)
{
    q->spread = 0;
    q->slow = q->fast = q->delay_fresh;
}

/* Delays from here on are compared with this packet's. */
static void begin_comparing(struct quality_rx *q, uint32_t ts, usec now)
{
    q->spread = quality_rx_spread(q);
    q->began = now;
    q->units = 0;
    q->ts = q->last_ts = ts;
    q->delay = q->delay_fresh = q->slow = q->fast = 0;
    q->fastest[0] = q->fastest[1] = 0;
    q->fastest_since = now;
    q->comparing = true;
}

static void note_fastest(struct quality_rx *q, usec delay, usec now)
{
    if (now - q->fastest_since >= STRETCH) {
        q->fastest[1] = q->fastest[0];
        q->fastest[0] = delay;
        q->fastest_since = now;
    } else if (delay < q->fastest[0]) {
        q->fastest[0] = delay;
    }
}

/* A packet with a timestamp that the one before had not. Returns whether it is late. */
static bool fresh(struct quality_rx *q, usec delay, usec now)
{
    usec fastest = q->fastest[0] < q->fastest[1] ? q->fastest[0] : q->fastest[1];
    usec d = delay - q->delay_fresh;
    q->delay_fresh = delay;
    q->total.jitter_sum += (double)(d < 0 ? -d : d);
    q->total.jitter_n++;
    if (delay > q->slow)
        q->slow = delay;
    if (delay < q->fast)
        q->fast = delay;
    note_fastest(q, delay, now);
    return delay - fastest >= QUALITY_LATE;
}

/* A packet's time under way, whether it is the highest number or not. Returns whether it is late. */
static bool timing(struct quality_rx *q, uint32_t ts, usec now, bool highest)
{
    bool late = false;
    if (!q->comparing || now - q->heard >= AGAIN) {
        begin_comparing(q, ts, now);
        return false;
    }
    int64_t units = q->units + (int32_t)(ts - q->ts);
    usec delay = now - q->began - (usec)llrint((double)units * q->us_per_unit);
    usec d = delay - q->delay;
    if (d >= AGAIN || d <= -AGAIN) {
        /* of one that is out of order its own clock is not known */
        if (highest)
            begin_comparing(q, ts, now);
        return !highest;
    }
    /* A.8: s->jitter += (1./16.) * ((double)d - s->jitter) */
    q->jitter += ((double)(d < 0 ? -d : d) - q->jitter) / 16;
    q->delay = delay;
    if (ts != q->last_ts)
        late = fresh(q, delay, now);
    q->last_ts = ts;
    if (highest) {
        q->units = units;
        q->ts = ts;
    }
    return late;
}

uint32_t quality_rx_jitter(const struct quality_rx *q)
{
    double units = q->jitter / q->us_per_unit;
    return units < UINT32_MAX ? (uint32_t)units : UINT32_MAX;
}

/* ---- numbers ---- */

/* All that is in the window has passed. */
static void flush(const struct quality_rx *q, struct quality_bursts *b)
{
    for (unsigned i = q->window_n; i-- > 0;)
        quality_bursts_push(b, !(q->good >> i & 1), 1);
}

void quality_rx_bursts(const struct quality_rx *q, struct quality_burst_figures *ret)
{
    struct quality_bursts b = q->bursts;
    flush(q, &b);
    quality_bursts_figures(&b, ret);
}

/* The highest number is n further on. */
static void advance(struct quality_rx *q, unsigned n)
{
    unsigned leave = q->window_n + n > WINDOW ? q->window_n + n - WINDOW : 0;
    unsigned known = leave < q->window_n ? leave : q->window_n;
    for (unsigned i = 0; i < known; i++)
        quality_bursts_push(&q->bursts, !(q->good >> (q->window_n - 1 - i) & 1), 1);
    quality_bursts_push(&q->bursts, true, leave - known);
    q->seen = n < WINDOW ? q->seen << n | 1 : 1;
    q->good = n < WINDOW ? q->good << n | 1 : 1;
    q->window_n = (uint8_t)(q->window_n + n - leave);
    q->total.expected += n;
}

/* A.1 init_seq(): a source begins, or begins anew. */
static void begin(struct quality_rx *q, uint32_t ssrc, uint16_t seq)
{
    flush(q, &q->bursts);
    if (ssrc != q->ssrc || !q->valid)
        q->comparing = false;
    q->ssrc = ssrc;
    q->seq = seq;
    q->base_seq = seq;
    q->cycles = 0;
    q->received = q->expected_prior = q->received_prior = 0;
    q->window_n = 0;
    q->valid = true;
    q->next_valid = false;
    advance(q, 1);
}

/* A.1: what is not believed from one packet. */
static bool is_second(struct quality_rx *q, uint32_t ssrc, uint16_t seq, uint32_t ts)
{
    bool second = q->next_valid && q->next_ssrc == ssrc && q->next_seq == seq;
    q->next_ssrc = ssrc;
    q->next_seq = (uint16_t)(seq + 1);
    q->next_ts = ts;
    q->next_valid = true;
    return second;
}

bool quality_rx_last(const struct quality_rx *q, uint32_t ssrc, uint16_t *ret_seq, uint32_t *ret_ts)
{
    bool believed = q->valid && q->ssrc == ssrc;
    *ret_seq = believed ? q->seq : (uint16_t)(q->next_seq - 1);
    *ret_ts = believed ? q->ts : q->next_ts;
    return believed || (q->next_valid && q->next_ssrc == ssrc);
}

/* A packet behind the highest one. */
static enum quality_packet behind(struct quality_rx *q, unsigned back, uint32_t ts, usec now)
{
    q->received++;
    if (back >= q->window_n) { /* too far, or before the first */
        q->total.reordered++;
        q->total.late += back >= WINDOW;
        return QUALITY_LATE_PACKET;
    }
    uint64_t bit = (uint64_t)1 << back;
    if (q->seen & bit) {
        q->total.duplicates++;
        return QUALITY_DUPLICATE;
    }
    q->seen |= bit;
    q->total.received++;
    q->total.reordered++;
    if (timing(q, ts, now, false)) {
        q->total.late++;
        return QUALITY_LATE_PACKET;
    }
    q->good |= bit;
    return QUALITY_GOOD;
}

enum quality_packet quality_rx_packet(struct quality_rx *q, uint32_t ssrc, uint16_t seq,
                                      uint32_t ts, size_t octets, usec now)
{
    unsigned ahead = (uint16_t)(seq - q->seq);
    enum quality_packet is = QUALITY_GOOD;
    if (q->valid && ssrc == q->ssrc && ahead != 0 && ahead < QUALITY_DROPOUT) {
        if (seq < q->seq)
            q->cycles += 65536;
        if (ahead == 1 && ts - q->ts - 1 < q->clock_hz / STEPS)
            q->step = ts - q->ts;
        q->seq = seq;
        advance(q, ahead);
    } else if (q->valid && ssrc == q->ssrc && (ahead == 0 || ahead > 65536 - QUALITY_MISORDER)) {
        is = behind(q, ahead ? 65536 - ahead : 0, ts, now);
        q->total.octets += is == QUALITY_DUPLICATE ? 0 : octets;
        q->heard = now;
        return is;
    } else {
        if (!is_second(q, ssrc, seq, ts))
            return QUALITY_UNSURE;
        begin(q, ssrc, seq);
    }
    q->received++;
    q->total.received++;
    q->total.octets += octets;
    if (timing(q, ts, now, true)) {
        q->good &= ~(uint64_t)1;
        q->total.late++;
        is = QUALITY_LATE_PACKET;
    }
    q->heard = now;
    return is;
}

/* ---- the report ---- */

bool quality_rx_block(struct quality_rx *q, struct rtcp_block *ret_block)
{
    if (!q->valid)
        return false;
    uint32_t highest = quality_rx_highest(q), expected = highest - q->base_seq + 1;
    int32_t lost_interval;
    uint32_t expected_interval = expected - q->expected_prior;
    lost_interval = (int32_t)(expected_interval - (q->received - q->received_prior));
    q->expected_prior = expected;
    q->received_prior = q->received;
    struct rtcp_block r = {.ssrc = q->ssrc,
                           .lost = (int32_t)(expected - q->received),
                           .highest = highest,
                           .jitter = quality_rx_jitter(q)};
    if (expected_interval > 0 && lost_interval > 0) {
        uint64_t fraction = ((uint64_t)lost_interval << 8) / expected_interval;
        r.fraction = fraction > UINT8_MAX ? UINT8_MAX : (uint8_t)fraction;
    }
    *ret_block = r;
    return true;
}
