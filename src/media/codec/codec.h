/* SPDX-License-Identifier: MIT */
/* codec/codec.h: octets of a payload into sound and back; gaps, noise and rates between.   layer: media
 *
 * Spec    G.711 (PCMU, PCMA), G.722, RFC 7587 and 6716 (Opus), RFC 3551 §4.5 (payload formats, L16),
 *         RFC 3389 (comfort noise).
 * Shape   a struct codec is a table of functions; a decoder and an encoder are its states for one direction of a
 *         stream. Sound is 16-bit, mono, at a rate that the codec takes: 8, 16 or 48 kHz. Two channels are
 *         mixed into one. The RTP clock is the codec's, not that of the sound (RFC 3551 §4.5.2: G.722 counts
 *         8000 a second; RFC 7587 §4.1: Opus 48000).
 * Life    codec_decoder_new takes memory once; or the caller gives it and codec_decoder_init may be called on it as
 *         often as the codec changes. Nothing is allocated for a packet, and nothing is to be released.
 * Limits  CODEC_PAYLOAD_MAX octets and CODEC_MS_MAX of sound a packet; beyond them ERR_TOOBIG.
 * Threads one at a time for a state. No globals.
 */
#ifndef CODEC_CODEC_H
#define CODEC_CODEC_H
#include "str/sv.h"

enum {
    CODEC_PAYLOAD_MAX = 1500,
    CODEC_MS_MAX = 200, /* RFC 3551 §4.2 */
    CODEC_RATE_MAX = 48000,
    CODEC_SAMPLES_MAX = CODEC_RATE_MAX / 1000 * CODEC_MS_MAX,
    CODEC_DYNAMIC = 255 /* no payload type of its own */
};

/* What the receiver of a stream wishes of its encoder: the fmtp that it wrote (RFC 7587 §6.1). A zeroed one
 * wishes nothing. */
struct codec_wish {
    uint32_t bitrate;     /* maxaveragebitrate; 0: ours */
    uint32_t playback_hz; /* maxplaybackrate; 0: all */
    bool fec;             /* useinbandfec: it can repair with it */
    bool dtx;             /* usedtx */
    bool cbr;
    bool stereo;          /* read; we send one channel, which it must take */
    uint32_t minptime_ms; /* of browsers; 0: not said */
};
/* fmtp: the format's parameters, SV_NONE: none. What is odd or unknown counts as not said (RFC 7587 §6.1:
 * values outside the range SHOULD be ignored). */
void codec_wish_read(sv fmtp, struct codec_wish *ret_wish);

struct codec {
    const char *name;  /* as in a=rtpmap */
    uint8_t pt;        /* RFC 3551 §6, or CODEC_DYNAMIC */
    uint8_t channels;  /* as in a=rtpmap */
    uint32_t clock_hz; /* of RTP timestamps */
    uint32_t rates;    /* sets of enum codec_rate: of the sound that it takes and gives */
    /* What follows is for codec.c: call the functions below. */
    size_t (*decoder_size)(void);
    enum err (*decoder_init)(void *state, uint32_t rate_hz);
    enum err (*decode)(void *state, sv payload, int16_t *pcm, size_t room, size_t *ret_n);
    bool (*decode_fec)(void *state, sv next, int16_t *pcm, size_t n); /* NULL: it has none */
    void (*conceal)(void *state, int16_t *pcm, size_t n);
    size_t (*encoder_size)(void);
    enum err (*encoder_init)(void *state, uint32_t rate_hz, const struct codec_wish *w);
    enum err (*encode)(void *state, const int16_t *pcm, size_t n, uint8_t *out, size_t room,
                       size_t *ret_n);
    void (*set_loss)(void *state, unsigned percent); /* NULL: it does not care */
    enum err (*ticks)(sv payload, uint32_t *ret_ticks);
    bool (*frame_fits)(uint32_t ms); /* NULL: any whole ms does */
};
enum codec_rate { CODEC_8K = 1, CODEC_16K = 2, CODEC_48K = 4 };

extern const struct codec codec_pcmu, codec_pcma, codec_g722, codec_opus;
extern const struct codec codec_l16_8k, codec_l16_16k, codec_l16_48k;

/* By the fields of a=rtpmap; name without case. channels: 0 counts as 1. NULL: none of ours. */
const struct codec *codec_find(sv name, uint32_t clock_hz, unsigned channels);
/* The one with this static payload type (RFC 3551 §6); NULL: none of ours. */
const struct codec *codec_of_pt(uint8_t pt);
bool codec_takes(const struct codec *c, uint32_t rate_hz);
/* The highest rate that both take, no matter what else they can; if there is none, from's own highest one, and a
 * resampler must stand between. */
uint32_t codec_common_rate(const struct codec *from, const struct codec *to);
uint32_t codec_best_rate(const struct codec *c);
/* The longest frame in whole ms of at most ms that the codec can make; at least 10. */
uint32_t codec_ptime(const struct codec *c, uint32_t ms);
/* How long a payload lasts by the RTP clock, not decoded. Errors: ERR_SYNTAX, ERR_TOOBIG. */
MUST_USE enum err codec_ticks(const struct codec *c, sv payload, uint32_t *ret_ticks);

/* ---- from octets to sound ---- */

struct codec_decoder;
size_t codec_decoder_size(const struct codec *c);
/* On memory of at least that size, aligned as by mem_take. Errors: ERR_UNSUPPORTED (the rate). */
MUST_USE enum err codec_decoder_init(void *mem, const struct codec *c, uint32_t rate_hz,
                                     struct codec_decoder **ret_decoder);
/* Errors: ERR_NOMEM, ERR_UNSUPPORTED. Ended by codec_decoder_free; NULL is fine there. */
MUST_USE enum err codec_decoder_new(const struct codec *c, uint32_t rate_hz,
                                    struct codec_decoder **ret_decoder);
void codec_decoder_free(struct codec_decoder *d);
/* One payload. room: CODEC_SAMPLES_MAX is enough for any.
 * Errors: ERR_SYNTAX, ERR_TOOBIG; the state stays usable, and what was to be heard may be concealed. */
MUST_USE enum err codec_decode(struct codec_decoder *d, sv payload, int16_t *pcm, size_t room,
                               size_t *ret_n);
/* What the lost payloads before this one held, n samples, from the repair data in it; before it is decoded itself.
 * false: it holds none, or the codec knows none: conceal. */
bool codec_decode_fec(struct codec_decoder *d, sv next, int16_t *pcm, size_t n);
/* n samples (at most CODEC_SAMPLES_MAX) of what might have been heard; a long gap fades out. */
void codec_conceal(struct codec_decoder *d, int16_t *pcm, size_t n);

/* ---- from sound to octets ---- */

struct codec_encoder;
size_t codec_encoder_size(const struct codec *c);
MUST_USE enum err codec_encoder_init(void *mem, const struct codec *c, uint32_t rate_hz,
                                     const struct codec_wish *w,
                                     struct codec_encoder **ret_encoder);
/* w NULL: no wishes. Errors: ERR_NOMEM, ERR_UNSUPPORTED. */
MUST_USE enum err codec_encoder_new(const struct codec *c, uint32_t rate_hz,
                                    const struct codec_wish *w, struct codec_encoder **ret_encoder);
void codec_encoder_free(struct codec_encoder *e);
/* One frame, of a length that codec_ptime gave. *ret_n == 0: silence that need not be sent (DTX).
 * Errors: ERR_TOOBIG (room), ERR_RANGE (n). */
MUST_USE enum err codec_encode(struct codec_encoder *e, const int16_t *pcm, size_t n, uint8_t *out,
                               size_t room, size_t *ret_n);
/* What the receiver reports lost, 0 to 100: repair data is sent when some is, and only to who can use it. */
void codec_set_loss(struct codec_encoder *e, unsigned percent);

/* ---- comfort noise (RFC 3389) ---- */

enum { NOISE_ORDER_MAX = 12, NOISE_LEVEL_MAX = 127 };
struct codec_noise {
    uint32_t chance;
    float gain; /* of the excitation */
    unsigned order;
    float k[NOISE_ORDER_MAX],
        b[NOISE_ORDER_MAX]; /* a lattice: reflection coefficients, its memory */
};
/* Silence until something is read or set. */
void codec_noise_init(struct codec_noise *n, uint32_t seed);
/* A CN payload; coefficients beyond NOISE_ORDER_MAX are left out. Errors: ERR_SYNTAX (empty). §3 */
MUST_USE enum err codec_noise_read(struct codec_noise *n, sv payload);
/* Flat noise of -level dBov. */
void codec_noise_set(struct codec_noise *n, unsigned level);
void codec_noise_make(struct codec_noise *n, int16_t *pcm, size_t count);
/* -dBov of what is heard, 0 to 127: the CN payload of order 0 (§3.2) is this one octet. */
unsigned codec_noise_level(const int16_t *pcm, size_t count);

/* ---- between rates ---- */

struct codec_resampler;
/* From 1 to 192 kHz, to 8, 16 or 48 kHz. Errors: ERR_NOMEM, ERR_UNSUPPORTED. */
MUST_USE enum err codec_resampler_new(uint32_t from_hz, uint32_t to_hz,
                                      struct codec_resampler **ret_resampler);
void codec_resampler_free(struct codec_resampler *r); /* NULL is fine */
void codec_resampler_reset(struct codec_resampler *r);
/* All of n samples; gives exactly n * to / from of them, over a row of calls; room must hold two more.
 * Returns how many. */
size_t codec_resample(struct codec_resampler *r, const int16_t *pcm, size_t n, int16_t *out,
                      size_t room);

#endif
