/* SPDX-License-Identifier: MIT */
/* transcode/transcode.h: one direction of a stream whose payload must change.    layer: media
 *
 * Spec    RFC 3550 §5.1 (sequence numbers, timestamps, marker), 3551 §4.1 (gaps), 3389 (comfort noise), 7587 (Opus),
 *         4733 (digits).
 * Shape   packets go in as they arrive and come out by send(), before the call returns: there is no jitter buffer,
 *         which stays in the endpoint, so that what is added is at most the wait for a longer frame. Sound has one
 *         time line: what goes out has timestamps of it in the other clock, its own sequence numbers without
 *         a gap, and a marker where sound begins anew.
 * Gaps    missing sequence numbers are repaired (Opus, from the next packet) or concealed, up to
 *         TRANSCODE_CONCEAL_MS; what is longer becomes a gap of time. A packet that comes behind a later one is too
 *         late. Time that passes without a missing packet was silence (DTX): it is left out here as well. Behind
 *         a CN or an Opus DTX packet, where the other side has no CN, noise is made until sound comes again.
 * Life    transcode_new takes all memory; nothing is allocated for a packet. Handlers must not free the stream, and
 *         are not called but from within a call on it.
 * Limits  codec.h; sound that comes faster than it can be heard is dropped (D40: what a peer can make us work).
 * Time    now is passed in. transcode_next() says when transcode_tick() is wanted; mostly it is not.
 * Threads one at a time. No globals.
 */
#ifndef TRANSCODE_TRANSCODE_H
#define TRANSCODE_TRANSCODE_H
#include "clock/clock.h"
#include "codec/codec.h"
#include "rtpmsg/rtpmsg.h"

enum {
    TRANSCODE_FORMATS_MAX = 8,
    TRANSCODE_NO_PT = 255,
    TRANSCODE_CONCEAL_MS = 120, /* of a gap */
    TRANSCODE_CREDIT_MS = 1000  /* of sound may come at once */
};

struct transcode_format {
    uint8_t pt;
    const struct codec *codec;
};

struct transcode_handler {
    /* To be sent: marker, pt, seq, ts, ssrc and payload are set (rtpmsg_put_header). Valid during the call. */
    void (*send)(void *arg, const struct rtpmsg *p);
};

struct transcode_config {
    /* What may come: the codecs of our answer to the sender. The first decides the rate of the sound. */
    struct transcode_format in[TRANSCODE_FORMATS_MAX];
    unsigned in_n;
    uint8_t in_cn; /* TRANSCODE_NO_PT: none */
    /* What is to go out. */
    struct transcode_format out;
    uint8_t out_cn;
    uint32_t ptime_ms; /* wished: what the codec can make of it is used; 0: 20 */
    struct codec_wish wish;
    /* The first packet's, which should be random (RFC 3550 §5.1); or where a stream goes on. */
    uint32_t ssrc, ts;
    uint16_t seq;
};

struct transcode_stats {
    uint64_t in, out;      /* packets */
    uint64_t concealed_ms; /* made up */
    uint64_t repaired_ms;  /* from repair data */
    uint64_t late;         /* or twice: not used */
    uint64_t odd;          /* payloads that are none, unknown types */
    uint64_t over;         /* more than can be heard */
};

struct transcode;
/* Errors: ERR_NOMEM, ERR_RANGE (no format, or too many), ERR_UNSUPPORTED. */
MUST_USE enum err transcode_new(const struct transcode_config *c, const struct transcode_handler *h,
                                void *arg, usec now, struct transcode **ret_transcode);
void transcode_free(struct transcode *t); /* NULL is fine */

/* A packet that came, decrypted, of the source that was agreed on; text is not looked at. */
void transcode_rtp(struct transcode *t, usec now, const struct rtpmsg *p);
/* When it wants transcode_tick; USEC_NEVER: not before the next packet. Changes with each call. */
usec transcode_next(const struct transcode *t);
void transcode_tick(struct transcode *t, usec now);

/* What the receiver reports lost (RTCP), 0 to 100: decides on repair data. */
void transcode_set_loss(struct transcode *t, unsigned percent);
/* Where the outgoing stream stands: the next packet's numbers. For what goes on with it. */
void transcode_position(const struct transcode *t, uint16_t *ret_seq, uint32_t *ret_ts);
const struct transcode_stats *transcode_stats(const struct transcode *t);

#endif
