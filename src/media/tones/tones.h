/* SPDX-License-Identifier: MIT */
/* tones/tones.h: tones made and recognised: digits, the progress of a call, a sine.   layer: media
 *
 * Spec    ITU-T Q.23 (DTMF frequencies), Q.24 (what a receiver recognises), E.180 (call progress).
 * Shape   struct tones is a generator: what it plays is set by one of tones_...; tones_make gives the next samples.
 *         A detector is fed sound and says which digit begins and ends; it is spandsp's.
 * Levels  dBm0 without the sign, as RFC 4733 §2.3.4 has them: of a digit's both tones together. +3.14 dBm0 is the
 *         largest sine.
 * Life    a generator is a plain struct; a detector is from tones_detector_new.
 * Threads one at a time. No globals.
 */
#ifndef TONES_TONES_H
#define TONES_TONES_H
#include "str/sv.h"

enum tones_kind { TONES_DIAL, TONES_RINGBACK, TONES_BUSY, TONES_CONGESTION, TONES_KINDS };
enum tones_country { TONES_CH, TONES_DE, TONES_US, TONES_UK, TONES_COUNTRIES };
enum { TONES_PARTS = 4, TONES_LEVEL_MAX = 63, TONES_LEVEL_PROGRESS = 13 };

struct tones {
    uint32_t rate_hz;
    struct {
        double x, y, c, s; /* a point on a circle, and how far it goes on in a sample */
    } sine[2];
    unsigned sines;
    double amplitude; /* of each */
    /* Lengths of sound and silence in turns, in samples; 0 ends the row. repeat: and then anew. */
    uint64_t part[TONES_PARTS];
    unsigned at;
    uint64_t within;
    bool repeat, playing;
};

/* "CH", "DE", "US", "UK" or "GB", without case; others: TONES_COUNTRIES. */
enum tones_country tones_country(sv code);
/* Until another one is set. country beyond the table: as in CH. */
void tones_progress(struct tones *t, uint32_t rate_hz, enum tones_country country,
                    enum tones_kind kind);
/* One of 0-9 * # A-D, of any case. ms 0: until another one is set. false: no such digit, and nothing is played. */
bool tones_digit(struct tones *t, uint32_t rate_hz, char digit, uint32_t ms, unsigned level);
/* 1 Hz to half of the rate. */
void tones_sine(struct tones *t, uint32_t rate_hz, double hz, uint32_t ms, unsigned level);
/* The tone ends so many ms from now. */
void tones_rest(struct tones *t, uint32_t ms);
void tones_silence(struct tones *t, uint32_t rate_hz);
/* The next n samples, silence where there is no tone. Returns whether anything is still to come. */
bool tones_make(struct tones *t, int16_t *pcm, size_t n);

/* ---- which digit is heard ---- */

enum { TONES_NEWS_MAX = 32 };
/* Of one call: digit begins (down) or ends. at: how many samples of this detector's life had passed. */
struct tones_news {
    char digit;
    bool down;
    uint64_t at;
};
struct tones_detector;
/* 8, 16 or 48 kHz. Errors: ERR_NOMEM, ERR_UNSUPPORTED. */
MUST_USE enum err tones_detector_new(uint32_t rate_hz, struct tones_detector **ret_detector);
void tones_detector_free(struct tones_detector *d); /* NULL is fine */
/* At most 200 ms of sound; returns how much news there is. A digit is told 25 to 40 ms after it began. */
unsigned tones_detect(struct tones_detector *d, const int16_t *pcm, size_t n,
                      struct tones_news ret_news[static TONES_NEWS_MAX]);
/* What was heard last may be the begin of a digit: earlier by a block, and now and then wrong. */
bool tones_maybe(const struct tones_detector *d);

#endif
