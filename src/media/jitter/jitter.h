/* SPDX-License-Identifier: MIT */
/* jitter/jitter.h: packets of sound, as late as they must be and no later, in order.   layer: media
 *
 * Spec    RFC 3550 §5.1, A.1; 3551 §4.1 (silence, marker); 7587 §4.1 (one of each at most).
 * Shape   packets are put as they come and got when sound is to be played. What is played lies `delay` behind the
 *         fastest way that packets took lately; the delay that is wanted is what all but a few of the last
 *         JITTER_WINDOW packets needed.
 * Delay   grows where nothing is there to be played: the listener conceals, and the next packet waits until the
 *         wanted delay has passed. It changes in silence, when the next words begin. It shrinks within words by a
 *         packet that is decoded but not played, if the listener says that it is quiet or if much is to be made up. The
 *         drift of the sender's clock is met by the same: 200 ppm are 20 ms in 100 s. Sound is never stretched.
 * Lost    is what has not come when a later one is there and its turn is. A packet behind that is late.
 * Life    jitter_new takes all memory; payloads are copied. Views that jitter_get gives are valid until the next
 *         jitter_put.
 * Limits  JITTER_PACKETS wait at most, the oldest give way; a payload is as long as was said.
 * Threads one at a time. No globals, no clock: now is passed in.
 */
#ifndef JITTER_JITTER_H
#define JITTER_JITTER_H
#include "clock/clock.h"
#include "rtpmsg/rtpmsg.h"

enum {
    JITTER_PACKETS = 64,
    JITTER_WINDOW = 256,
    JITTER_MIN_MS = 20, /* of delay, unless asked otherwise */
    JITTER_MAX_MS = 200,
    JITTER_PAYLOAD_MAX = 1500
};

struct jitter_config {
    uint32_t clock_hz;       /* of timestamps */
    unsigned min_ms, max_ms; /* 0: as above */
    size_t payload_max;      /* 0: JITTER_PAYLOAD_MAX */
};

enum jitter_what {
    JITTER_NOTHING, /* nothing to play yet: conceal or be silent, and ask again */
    JITTER_SOUND,   /* decode payload */
    JITTER_LOST, /* conceal `ticks`, or repair from payload, which is the next packet's, if there is one */
    JITTER_NOISE /* comfort noise: a payload says which one; without, it goes on */
};
struct jitter_out {
    enum jitter_what what;
    bool skip; /* JITTER_SOUND: decode it, play nothing of it, ask again */
    uint8_t pt;
    uint32_t ts, ticks; /* how long it lasts */
    sv payload;
};

struct jitter_stats {
    uint64_t received; /* usable packets */
    uint64_t played;   /* or skipped */
    uint64_t lost;     /* not there when their turn came */
    uint64_t late;     /* of those lost: they came */
    uint64_t duplicates, odd;
    uint64_t discarded; /* to catch up, or for want of room */
    uint64_t skipped;   /* to shrink the delay */
    uint64_t starved;   /* times that nothing was there within words */
    unsigned delay_ms, wanted_ms;
};

struct jitter;
/* Errors: ERR_NOMEM, ERR_RANGE. */
MUST_USE enum err jitter_new(const struct jitter_config *c, struct jitter **ret_jitter);
void jitter_free(struct jitter *j); /* NULL is fine */
/* What waits is forgotten; the next packet begins a stream. For another clock too. Errors: ERR_RANGE. */
MUST_USE enum err jitter_restart(struct jitter *j, uint32_t clock_hz);

/* A packet of sound that lasts `ticks`, or of noise (ticks 0). Another SSRC begins anew.
 * Errors: ERR_EXISTS (it came before), ERR_TIMEOUT (too late), ERR_TOOBIG, ERR_RANGE (over a second; a number that
 * nobody would believe). */
MUST_USE enum err jitter_put(struct jitter *j, usec now, const struct rtpmsg *p, uint32_t ticks);
/* What is to be played now. quiet: what was played last was hardly heard. */
void jitter_get(struct jitter *j, usec now, bool quiet, struct jitter_out *ret_out);
const struct jitter_stats *jitter_stats(const struct jitter *j);

#endif
