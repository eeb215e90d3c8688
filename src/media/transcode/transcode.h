/* SPDX-License-Identifier: MIT */
/* transcode/transcode.h: one direction of a stream whose payload must change.    layer: media
 *
 * Spec    RFC 3550 §5.1 (sequence numbers, timestamps, marker), 3551 §4.1 (gaps), 3389 (comfort noise), 7587 (Opus),
 *         4733 (digits).
 * Shape   packets go in as they arrive and come out by send(), before the call returns: there is no jitter buffer,
 *         which stays in the endpoint, so that what is added is at most the wait for a longer frame. Sound has one
 *         time line: what goes out has timestamps of it in the other clock, its own sequence numbers without
 *         a gap (but before what passes, where the receiver may mend it), and a marker where sound begins anew.
 * Gaps    missing sequence numbers are repaired (Opus, from the next packet) or concealed, up to
 *         TRANSCODE_CONCEAL_MS; what is longer becomes a gap of time. A packet that comes behind a later one is too
 *         late. Time that passes without a missing packet was silence (DTX): it is left out here as well. Behind
 *         a CN or an Opus DTX packet, where the other side has no CN, noise is made until sound comes again.
 * Digits  events, tones in the sound and digits given by transcode_send_digit go out as events, as tones, or not at all,
 *         each once. Sound that comes beside an event is not used (RFC 4733 §2.5.2.2); a tone that is made an event is
 *         silenced from when it is known, 25 to 40 ms after its begin.
 * Pass    where all formats pass, only digits change: what goes out follows the stream that comes, with its SSRC, its
 *         timestamps and the gaps in its numbers. Digits take the place of packets of it.
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
#include "offer/offer.h"
#include "rtpmsg/rtpmsg.h"
#include "str/form.h"

enum {
    TRANSCODE_FORMATS_MAX = 8,
    TRANSCODE_EVENTS_MAX = 4,
    TRANSCODE_NO_PT = 255,
    TRANSCODE_CONCEAL_MS = 120, /* of a gap */
    TRANSCODE_CREDIT_MS = 1000, /* of sound may come at once */
    TRANSCODE_SAME_US = 1000000 /* what comes by another way within this time is the same press */
};

struct transcode_format {
    uint8_t pt;
    const struct codec *codec; /* NULL: none of ours, which can only pass */
    bool pass;                 /* the other side takes it as it is: renumbered, not decoded */
    uint8_t as;                /* pass: its payload type there */
    uint32_t clock_hz;         /* without a codec: of its timestamps */
};

/* How the receiver is to get digits. */
enum transcode_dtmf {
    TRANSCODE_DTMF_EVENTS, /* RFC 4733; without out_event: TOLD */
    TRANSCODE_DTMF_TONES,  /* in the sound */
    TRANSCODE_DTMF_TOLD    /* not in this stream: on_digit is for that */
};

/* Events that come. Their timestamps are those of the sound (RFC 4733 §2.1), whatever their own rate is. */
struct transcode_event {
    uint8_t pt;
    uint32_t hz; /* of durations; 0: 8000 */
};

struct transcode_handler {
    /* To be sent: marker, pt, seq, ts, ssrc and payload are set (rtpmsg_put_header). Valid during the call. */
    void (*send)(void *arg, const struct rtpmsg *p);
    /* A digit of the sender has ended, whichever way it came: each once. NULL: nobody asks. */
    void (*on_digit)(void *arg, char digit, uint32_t ms);
};

struct transcode_config {
    /* What may come: the codecs of our answer to the sender. The first decides the rate of the sound. */
    struct transcode_format in[TRANSCODE_FORMATS_MAX];
    unsigned in_n;
    uint8_t in_cn; /* TRANSCODE_NO_PT: none */
    struct transcode_event in_event[TRANSCODE_EVENTS_MAX];
    unsigned in_event_n;
    bool
        listen; /* tones in the sound are digits: for a sender without events; of what passes, in G.711 alone */
    /* What is to go out. pt TRANSCODE_NO_PT, where all pass: none of ours, its codec lends its clock, and only events
     * can be put in. */
    struct transcode_format out;
    uint8_t out_cn, out_event;
    uint32_t out_event_hz; /* 0: 8000 */
    enum transcode_dtmf dtmf;
    uint32_t ptime_ms; /* wished: what the codec can make of it is used; 0: 20 */
    struct codec_wish wish;
    /* Nothing but digits changes: see Pass. ssrc and the numbers are then those until a packet of another one comes. */
    bool follow;
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
    uint64_t digits;       /* of the sender */
};

/* What a stream's plan says of one direction: its map, and the leg it leads to. ssrc, ts and seq are left as they are.
 *   goes_on  the receiver has heard a stream of ours, which goes on if all passes, too (its numbers stay ours)
 * Errors: ERR_NOTFOUND: nothing in it changes, ERR_TOOBIG, ERR_UNSUPPORTED: two codecs to transcode to. */
MUST_USE enum err transcode_config_of(const struct offer_map *map, unsigned n,
                                      const struct offer_leg *to, bool goes_on,
                                      struct transcode_config *ret);

/* Where what comes stands, when it is not heard from its beginning on. */
struct transcode_place {
    uint32_t ssrc, ts, hz; /* of the sound behind the last; the clock of ts */
    uint16_t seq;          /* behind the last */
    usec due;              /* when it would come at the pace of the last */
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

/* A digit that the sender gave by another way (INFO) goes out as the receiver wants them, after those before it; ms 0: a
 * usual one. on_digit is not called. Errors: ERR_RANGE: no digit, ERR_TOOBIG: too many wait, ERR_UNSUPPORTED: TOLD. */
MUST_USE enum err transcode_send_digit(struct transcode *t, usec now, char digit, uint32_t ms);

/* The sender may say this digit, which was given just now, as an event too: one that begins within TRANSCODE_SAME_US is the
 * same press, and is told by on_digit alone. */
void transcode_given(struct transcode *t, usec now, char digit);

/* t, which is new, has its place in what comes behind that of former: what is lost or silent between the two is seen, and
 * what still comes of a key that has ended there is not news. */
void transcode_succeed(struct transcode *t, const struct transcode *former);
/* The same behind what passed by without one. */
void transcode_behind(struct transcode *t, const struct transcode_place *p);
/* What the receiver reports lost (RTCP), 0 to 100: decides on repair data. */
void transcode_set_loss(struct transcode *t, unsigned percent);
/* Where the outgoing stream stands: the next packet's numbers. For what goes on with it. */
void transcode_position(const struct transcode *t, uint16_t *ret_seq, uint32_t *ret_ts);
/* Its configuration, as it stands, in octets: for one that goes on with the stream elsewhere, and whose codecs begin
 * anew. Errors are b's; r's. What is read is checked by transcode_new. */
void transcode_save(const struct transcode *t, struct buf *b);
void transcode_load(struct form_reader *r, struct transcode_config *ret);
const struct transcode_stats *transcode_stats(const struct transcode *t);

#endif
