/* SPDX-License-Identifier: MIT */
/* transcode/transcode_priv.h: the state of a direction.                         layer: media
 *
 * Time on the line counts in 1/48000 s: every clock and every rate divides it. The line holds, from left to right:
 *
 *      sent | waiting in pcm, pcm_n samples | at: what comes next, by the sender's clock next_ts
 */
#ifndef TRANSCODE_TRANSCODE_PRIV_H
#define TRANSCODE_TRANSCODE_PRIV_H
#include "dtmf/dtmf.h"
#include "tones/tones.h"
#include "transcode/transcode.h"

enum { LINE_HZ = 48000, RATES = 3, PIECE_MS = 20 /* in which sound is made up */ };

/* Who makes the sound when nothing comes. QUIET_DIGITS: nobody, but digits must go out. */
enum quiet { QUIET_NOT, QUIET_NOISE, QUIET_DECODER, QUIET_DIGITS };

/* A key of the sender's events. */
struct event_in {
    struct dtmf_rx rx;
    uint32_t hz; /* of durations */
    bool on;
    bool placed;      /* its timestamp fits to those of the sound */
    bool known;       /* it was given before: nothing more goes out for it */
    int64_t at;       /* where it began */
    unsigned segment; /* of what goes out */
    int64_t said;     /* of its time, has gone out */
    struct tones tone;
};
/* A key that was given, until then perhaps the sender's next event; digit 0: none. */
struct given {
    char digit;
    usec until;
};
enum { GIVEN_MAX = 4 };
/* Keys that we send: as events or as tones. */
struct event_out {
    struct dtmf_tx tx;
    struct tones tone;
    uint32_t begun, made; /* of a tone, by the clock of tx */
};

struct transcode {
    struct transcode_handler h;
    void *arg;
    struct transcode_config c;
    struct transcode_stats stats;

    /* in */
    const struct transcode_format *format; /* of the last sound; NULL: none yet */
    struct codec_decoder *decoder;         /* in decoder_mem */
    void *decoder_mem;
    size_t decoder_room;
    uint32_t decoder_hz;
    struct codec_resampler
        *resampler[RATES]; /* from each rate that is not ours; NULL: not needed */
    bool begun;
    uint32_t in_ssrc, next_ts,
        next_hz; /* of the sound behind the last, and its clock; next_hz 0: unknown */
    uint16_t next_seq, odd_seq;
    int64_t anchor;  /* where next_ts lies on the line */
    bool sound_last; /* the last packet held sound: a gap behind it is one of sound */
    usec due;        /* when the next one would come at the pace of the last */

    /* between */
    int64_t at;
    uint32_t rate_hz; /* of pcm and the encoder */
    size_t frame;     /* samples of an outgoing packet */
    int16_t *pcm;
    size_t pcm_n, pcm_room;
    usec credit, credited; /* sound that may still come; when that was reckoned */

    /* silence */
    enum quiet quiet;
    struct codec_noise noise;
    usec quiet_since;
    int64_t quiet_at; /* `at` at quiet_since */

    /* digits */
    struct event_in event_in;
    struct event_out event_out;
    struct given given[GIVEN_MAX];
    struct tones_detector *detector; /* of sound at rate_hz; NULL: nobody listens */
    char heard;                      /* a tone that it hears; 0: none */
    uint64_t heard_from, heard_at;   /* samples: its begin, the last that was told */

    /* out */
    struct codec_encoder *encoder;
    uint16_t seq;
    bool marker;
};

static inline int64_t line_of(uint32_t hz, int64_t n)
{
    return n * (LINE_HZ / (int64_t)hz);
}
static inline int64_t line_ms(int64_t ms)
{
    return ms * (LINE_HZ / 1000);
}
static inline usec us_of(int64_t line)
{
    return line * 1000 / (LINE_HZ / 1000);
}
static inline unsigned rate_index(uint32_t hz)
{
    return hz == 8000 ? 0 : hz == 16000 ? 1 : 2;
}

static inline uint32_t transcode_clock_of(const struct transcode_format *f)
{
    return f->codec ? f->codec->clock_hz : f->clock_hz;
}

/* f passes, and is listened to. */
bool transcode_hears_passing(const struct transcode_config *c, const struct transcode_format *f);
/* At which c is decoded: at ours, if it can be. */
uint32_t transcode_decoder_rate(const struct transcode *t, const struct codec *c);

/* ---- transcode_line.c: what is on the line, and what leaves it ---- */

uint32_t transcode_ts_at(const struct transcode *t, int64_t at);
int64_t transcode_pcm_begin(const struct transcode *t);
/* hz: of the timestamps of what is sent. */
void transcode_send(struct transcode *t, uint8_t pt, uint32_t hz, bool marker, int64_t at,
                    sv payload);
/* n samples were put behind pcm: sends what is full. */
void transcode_grown(struct transcode *t, size_t n);
/* The line goes on at `at`, which is later: what waits for a full frame gets silence for the rest, if that is
 * paid for: else each packet could cost a frame. */
void transcode_jump(struct transcode *t, int64_t at);
/* Sound is paid for; false: it is more than can be heard. */
bool transcode_pay(struct transcode *t, usec now, usec cost);
/* Sound of the sender, at rate hz: in pcm itself already where nothing stands between. */
void transcode_put(struct transcode *t, uint32_t hz, const int16_t *pcm, size_t n);
/* `line` of sound by the decoder's guess; of noise. */
void transcode_conceal(struct transcode *t, int64_t line);
void transcode_noise(struct transcode *t, int64_t line);

/* ---- transcode_dtmf.c ---- */

void transcode_dtmf_init(struct transcode *t);
/* The sender is another one: its key has ended. */
void transcode_event_forget(struct transcode *t, usec now);
void transcode_event_succeed(struct transcode *t, const struct transcode *former);
/* The tone that is heard has ended, as no more is to come. */
void transcode_hear_end(struct transcode *t);
/* A packet of events, in order. hz: of their durations. */
void transcode_on_event(struct transcode *t, usec now, const struct rtpmsg *p, uint32_t hz);
/* Sound of the sender before it goes on: tones in it are digits. True: it was silenced. */
bool transcode_hear(struct transcode *t, int16_t *pcm, size_t n);
/* A frame that is full: true, an event went out in its place. Tones are put into it. */
bool transcode_digit_frame(struct transcode *t, int16_t *pcm, int64_t at);
static inline bool transcode_digits_wait(const struct transcode *t)
{
    return dtmf_tx_busy(&t->event_out.tx);
}
/* The sender's key ends for want of packets, if it is time. */
void transcode_event_timeout(struct transcode *t, usec now);

#endif
