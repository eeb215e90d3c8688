/* SPDX-License-Identifier: MIT */
/* jitter/jitter.c: a ring of packets by number, and how late the last ones were.
 *
 * Of each packet is kept by how much it came behind its timestamp, on a scale that has no begin. The least of these
 * is the fastest way, the base; what lies behind it by more than the wanted delay comes too late. */
#include "jitter/jitter.h"

#include "mem/mem.h"

enum {
    MISORDER_MAX = 100, /* RFC 3550 A.1 */
    DROPOUT_MAX = 3000,
    BEGIN_BACK = 16,    /* numbers that may come late at the begin */
    BINS = 256,         /* of a millisecond */
    PER_MILLE = 970,    /* of packets are to be in time */
    RECKON_EVERY = 8,   /* packets */
    HYSTERESIS_MS = 20, /* more than wanted, before a quiet packet is skipped */
    MUCH_MS = 60,       /* before any is */
    SKIP_PAUSE = 10,    /* packets between two */
    LOST_MAX_MS = 500,  /* of a gap that is played as one */
    LOST_PIECE_MS = 20,
    LASTS_MAX_MS = 1000,
    CLOCK_MIN = 1000,
    CLOCK_MAX = 192000
};

struct slot {
    bool used, noise;
    uint8_t pt;
    uint16_t seq;
    uint16_t n;
    uint32_t ts, ticks;
};

struct jitter {
    struct jitter_config c;
    struct jitter_stats stats;
    bool begun, fresh, playing,
        noise; /* fresh: nothing of this stream was played. noise: it is silent by its own word */
    uint32_t ssrc;
    uint16_t next_seq, odd_seq;
    uint16_t
        top_seq; /* the highest of those that wait lies less than the ring's length behind next_seq */
    uint32_t play_ts;   /* what is to be played next */
    uint32_t lost_left; /* ticks of a gap */
    unsigned waiting;   /* slots used */
    unsigned since_skip;

    /* how late packets are */
    uint32_t last_ts;
    usec last_line; /* last_ts on the line */
    usec behind[JITTER_WINDOW];
    unsigned behind_n, behind_at;
    usec base, wanted;

    struct slot slots[JITTER_PACKETS];
    uint8_t octets[]; /* payload_max for each slot */
};

static usec us_of(const struct jitter *j, int64_t ticks)
{
    return ticks * 1000000 / j->c.clock_hz;
}

static usec line_at(const struct jitter *j, uint32_t ts)
{
    return j->last_line + us_of(j, (int32_t)(ts - j->last_ts));
}

/* How long ago the fastest way would have brought ts. */
static usec delay_of(const struct jitter *j, uint32_t ts, usec now)
{
    return now - line_at(j, ts) - j->base;
}

static struct slot *slot_of(struct jitter *j, uint16_t seq)
{
    return &j->slots[seq % JITTER_PACKETS];
}

static sv payload_of(const struct jitter *j, const struct slot *s)
{
    return (sv){(const char *)j->octets + (size_t)(s - j->slots) * j->c.payload_max, s->n};
}

/* The first one that waits, at or behind next_seq. */
static struct slot *first(struct jitter *j)
{
    if (j->waiting == 0)
        return NULL;
    for (unsigned i = 0; i < JITTER_PACKETS; i++) {
        struct slot *s = slot_of(j, (uint16_t)(j->next_seq + i));
        if (s->used)
            return s;
    }
    return NULL;
}

static void release(struct jitter *j, struct slot *s)
{
    s->used = false;
    j->waiting--;
}

/* ---- how late ---- */

static void reckon(struct jitter *j)
{
    uint16_t bins[BINS] = {0};
    usec base = j->behind[0];
    for (unsigned i = 1; i < j->behind_n; i++)
        if (j->behind[i] < base)
            base = j->behind[i];
    for (unsigned i = 0; i < j->behind_n; i++) {
        usec ms = (j->behind[i] - base + 999) / 1000;
        bins[ms < BINS ? ms : BINS - 1]++;
    }
    unsigned enough = (j->behind_n * PER_MILLE + 999) / 1000, have = 0, ms = 0;
    for (; ms < BINS - 1; ms++)
        if ((have += bins[ms]) >= enough)
            break;
    if (ms < j->c.min_ms)
        ms = j->c.min_ms;
    if (ms > j->c.max_ms)
        ms = j->c.max_ms;
    j->base = base;
    j->wanted = (usec)ms * 1000;
    j->stats.wanted_ms = ms;
}

static void note(struct jitter *j, uint32_t ts, usec now)
{
    usec line = line_at(j, ts);
    if ((int32_t)(ts - j->last_ts) > 0) {
        j->last_ts = ts;
        j->last_line = line;
    }
    usec behind = now - line;
    j->behind[j->behind_at] = behind;
    j->behind_at = (j->behind_at + 1) % JITTER_WINDOW;
    if (j->behind_n < JITTER_WINDOW)
        j->behind_n++;
    if (behind < j->base || j->behind_n < 2 * RECKON_EVERY || j->behind_at % RECKON_EVERY == 0)
        reckon(j);
}

/* ---- in ---- */

static void forget(struct jitter *j)
{
    for (unsigned i = 0; i < JITTER_PACKETS; i++)
        j->slots[i].used = false;
    j->waiting = 0;
    j->begun = j->playing = j->noise = false;
    j->lost_left = 0;
    j->behind_n = j->behind_at = 0;
}

static void begin(struct jitter *j, usec now, const struct rtpmsg *p)
{
    j->stats.discarded += j->waiting;
    forget(j);
    j->begun = j->fresh = true;
    j->ssrc = p->ssrc;
    j->next_seq = j->top_seq = p->seq;
    j->last_ts = p->ts;
    j->last_line = now;
    j->base = 0;
    j->since_skip = 0;
}

/* Room for a packet so far ahead that the ring has none: the oldest give way. */
static void make_room(struct jitter *j, uint16_t seq)
{
    while ((uint16_t)(seq - j->next_seq) >= JITTER_PACKETS) {
        struct slot *s = slot_of(j, j->next_seq);
        if (s->used) {
            release(j, s);
            j->stats.discarded++;
        } else {
            j->stats.lost++;
        }
        j->next_seq++;
        j->playing = false;
        j->lost_left = 0;
    }
}

enum err jitter_put(struct jitter *j, usec now, const struct rtpmsg *p, uint32_t ticks)
{
    if (p->payload.n > j->c.payload_max)
        return ERR_TOOBIG;
    if (ticks > j->c.clock_hz / 1000 * LASTS_MAX_MS)
        return ERR_RANGE;
    if (!j->begun || p->ssrc != j->ssrc)
        begin(j, now, p);
    int ahead = rtpmsg_seq_ahead(p->seq, j->next_seq);
    usec jump = us_of(j, rtpmsg_ts_ahead(p->ts, j->last_ts));
    if (ahead < -MISORDER_MAX || ahead > DROPOUT_MAX || jump < -5 * USEC_S || jump > 120 * USEC_S) {
        if (p->seq != j->odd_seq) { /* two in a row are needed to believe it */
            j->odd_seq = (uint16_t)(p->seq + 1);
            j->stats.odd++;
            return ERR_RANGE;
        }
        begin(j, now, p);
        ahead = 0;
    }
    if (ahead < 0 && !(j->fresh && ahead >= -BEGIN_BACK)) {
        j->stats.late++;
        note(j, p->ts, now);
        return ERR_TIMEOUT;
    }
    struct slot *s = slot_of(j, p->seq);
    if (s->used && s->seq == p->seq) {
        j->stats.duplicates++;
        return ERR_EXISTS;
    }
    if (ahead < 0) {
        if ((uint16_t)(j->top_seq - p->seq) >= JITTER_PACKETS) {
            j->stats.late++;
            return ERR_TIMEOUT;
        }
        j->next_seq = p->seq;
    }
    make_room(j, p->seq);
    *s = (struct slot){.used = true,
                       .noise = ticks == 0,
                       .pt = p->pt,
                       .seq = p->seq,
                       .n = (uint16_t)p->payload.n,
                       .ts = p->ts,
                       .ticks = ticks};
    if (p->payload.n > 0)
        memcpy(j->octets + (size_t)(s - j->slots) * j->c.payload_max, p->payload.p, p->payload.n);
    j->waiting++;
    if (rtpmsg_seq_ahead(p->seq, j->top_seq) > 0)
        j->top_seq = p->seq;
    j->stats.received++;
    note(j, p->ts, now);
    return ERR_OK;
}

/* ---- out ---- */

/* Far too much lies here, after the network stood still: the oldest are not worth hearing. */
static void catch_up(struct jitter *j, usec now)
{
    struct slot *s;
    while ((s = first(j)) && j->waiting > 1 &&
           delay_of(j, s->ts, now) > (usec)(j->c.max_ms + MUCH_MS) * 1000) {
        j->stats.lost += (uint16_t)(s->seq - j->next_seq);
        j->next_seq = (uint16_t)(s->seq + 1);
        release(j, s);
        j->stats.discarded++;
        j->playing = false;
        j->lost_left = 0;
    }
}

/* The stream goes on with s: with what was lost before it, or after a silence. false: it has to wait. */
static bool turn_to(struct jitter *j, struct slot *s, usec now)
{
    unsigned missing = (uint16_t)(s->seq - j->next_seq);
    int32_t gap = (int32_t)(s->ts - j->play_ts);
    j->stats.lost += missing;
    j->next_seq = s->seq;
    if (j->playing && gap <= 0)
        return true;
    if (j->playing && missing > 0 && us_of(j, gap) <= (usec)LOST_MAX_MS * 1000) {
        j->lost_left = (uint32_t)gap;
        return true;
    }
    j->playing = delay_of(j, s->ts, now) >= j->wanted;
    j->play_ts = s->ts;
    return j->playing;
}

static void give_lost(struct jitter *j, const struct slot *next, struct jitter_out *ret_out)
{
    uint32_t piece = j->c.clock_hz / 1000 * LOST_PIECE_MS;
    if (next && next->ticks > 0) /* what it can repair is as long as it is */
        piece = next->ticks;
    uint32_t ticks = j->lost_left < piece ? j->lost_left : piece;
    j->lost_left -= ticks;
    *ret_out = (struct jitter_out){.what = JITTER_LOST, .ts = j->play_ts, .ticks = ticks};
    if (j->lost_left == 0 && next && !next->noise) {
        ret_out->pt = next->pt;
        ret_out->payload = payload_of(j, next);
    }
    j->play_ts += ticks;
}

static void give(struct jitter *j, struct slot *s, usec now, bool quiet, struct jitter_out *ret_out)
{
    usec delay = delay_of(j, s->ts, now), more = delay - j->wanted;
    bool skip = !s->noise && j->waiting > 1 && ++j->since_skip > SKIP_PAUSE &&
                more > (usec)(quiet ? HYSTERESIS_MS : MUCH_MS) * 1000;
    *ret_out = (struct jitter_out){.what = s->noise ? JITTER_NOISE : JITTER_SOUND,
                                   .skip = skip,
                                   .pt = s->pt,
                                   .ts = s->ts,
                                   .ticks = s->ticks,
                                   .payload = payload_of(j, s)};
    if (skip) {
        j->stats.skipped++;
        j->since_skip = 0;
    }
    j->stats.played++;
    j->stats.delay_ms = delay < 0 ? 0 : (unsigned)(delay / 1000);
    j->noise = s->noise;
    j->playing = !s->noise;
    j->fresh = false;
    j->play_ts = s->ts + s->ticks;
    j->next_seq = (uint16_t)(s->seq + 1);
    release(j, s);
}

void jitter_get(struct jitter *j, usec now, bool quiet, struct jitter_out *ret_out)
{
    *ret_out = (struct jitter_out){.what = j->noise ? JITTER_NOISE : JITTER_NOTHING};
    catch_up(j, now);
    struct slot *s = first(j);
    if (j->lost_left > 0) {
        give_lost(j, s, ret_out);
        return;
    }
    if (!s) {
        j->stats.starved += j->playing;
        j->playing = false;
        return;
    }
    if (!turn_to(j, s, now))
        return;
    if (j->lost_left > 0)
        give_lost(j, s, ret_out);
    else
        give(j, s, now, quiet, ret_out);
}

/* ---- life ---- */

static bool clock_fits(uint32_t hz)
{
    return hz >= CLOCK_MIN && hz <= CLOCK_MAX;
}

enum err jitter_new(const struct jitter_config *c, struct jitter **ret_jitter)
{
    struct jitter_config own = *c;
    if (!own.min_ms)
        own.min_ms = JITTER_MIN_MS;
    if (!own.max_ms)
        own.max_ms = JITTER_MAX_MS;
    if (!own.payload_max)
        own.payload_max = JITTER_PAYLOAD_MAX;
    if (!clock_fits(own.clock_hz) || own.min_ms > own.max_ms || own.max_ms >= BINS ||
        own.payload_max > JITTER_PAYLOAD_MAX)
        return ERR_RANGE;
    struct jitter *j = mem_take_cleared(sizeof(*j) + own.payload_max * JITTER_PACKETS);
    if (!j)
        return ERR_NOMEM;
    j->c = own;
    *ret_jitter = j;
    return ERR_OK;
}

void jitter_free(struct jitter *j)
{
    if (j)
        mem_give(j, sizeof(*j) + j->c.payload_max * JITTER_PACKETS);
}

enum err jitter_restart(struct jitter *j, uint32_t clock_hz)
{
    if (!clock_fits(clock_hz))
        return ERR_RANGE;
    j->stats.discarded += j->waiting;
    forget(j);
    j->c.clock_hz = clock_hz;
    return ERR_OK;
}

const struct jitter_stats *jitter_stats(const struct jitter *j)
{
    return &j->stats;
}
