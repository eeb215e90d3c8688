/* SPDX-License-Identifier: MIT */
/* transcode/transcode.c: packet by packet: where it lies on the line, what is missing before it, and its sound. */
#include "transcode/transcode.h"

#include "transcode/transcode_priv.h"

enum {
    MISORDER_MAX = 100, /* RFC 3550 A.1 */
    DROPOUT_MAX = 3000,
    SILENCE_MAX_MS = 120000, /* of timestamps ahead, and back: what is more is another clock */
    BACK_MAX_MS = 5000,
    FILL_MAX_MS = 60,  /* silence shorter than this is made up, not left out */
    CATCH_UP_MS = 200, /* of noise at once */
    OPUS_DTX_OCTETS = 2
};

/* `line` of what nobody sent: made up to `most`, if that is paid for; the rest is left out. */
static void fill(struct transcode *t, usec now, int64_t line, int64_t most)
{
    int64_t to = t->at + line, made = line < most ? line : most;
    if ((t->quiet == QUIET_NOISE || t->decoder) && transcode_pay(t, now, us_of(made))) {
        if (t->quiet == QUIET_NOISE)
            transcode_noise(t, made);
        else
            transcode_conceal(t, made);
    }
    if (to > t->at + LINE_HZ / 1000)
        transcode_jump(t, to);
}

/* ---- silence that the sender announced ---- */

static void quiet_begin(struct transcode *t, enum quiet kind, usec now)
{
    t->quiet = kind;
    t->quiet_since = now;
    t->quiet_at = t->at;
}

/* When the next frame of a silence is due. */
static usec frame_due(const struct transcode *t)
{
    int64_t full = transcode_pcm_begin(t) + line_of(t->rate_hz, (int64_t)t->frame);
    return t->quiet_since + us_of(full - t->quiet_at);
}

usec transcode_next(const struct transcode *t)
{
    usec event = dtmf_rx_due(&t->event_in.rx), next = USEC_NEVER;
    bool digits = transcode_digits_wait(t);
    if (t->quiet != QUIET_NOT && (t->c.out_cn == TRANSCODE_NO_PT || digits))
        next = frame_due(t);
    else if (t->quiet == QUIET_NOT && (digits || t->heard))
        next = t->due + (usec)FILL_MAX_MS * 1000;
    return event < next ? event : next;
}

/* Digits must go out, but there is no sound that they could take the place of. */
static void digits_alone(struct transcode *t, usec now)
{
    usec idle = now - t->due;
    if (idle > (usec)CATCH_UP_MS * 1000) /* else a key may be down: its time is made up */
        transcode_jump(t, t->at + line_ms(idle / 1000));
    codec_noise_set(&t->noise, NOISE_LEVEL_MAX);
    quiet_begin(t, QUIET_DIGITS, idle > (usec)CATCH_UP_MS * 1000 ? now : t->due);
}

void transcode_tick(struct transcode *t, usec now)
{
    int64_t frame = line_of(t->rate_hz, (int64_t)t->frame);
    transcode_event_timeout(t, now);
    if (now >= transcode_next(t) && t->quiet == QUIET_NOT) {
        transcode_hear_end(t);
        if (transcode_digits_wait(t))
            digits_alone(t, now);
    }
    while (now >= transcode_next(t)) {
        usec late = now - frame_due(t);
        if (late > (usec)CATCH_UP_MS * 1000) { /* nobody called for long */
            transcode_jump(t, t->at + line_ms(late / 1000) / frame * frame);
            continue;
        }
        int64_t rest = frame - line_of(t->rate_hz, (int64_t)t->pcm_n);
        if (t->quiet == QUIET_DECODER)
            transcode_conceal(t, rest);
        else
            transcode_noise(t, rest);
        if (t->quiet == QUIET_DIGITS && !transcode_digits_wait(t)) {
            t->quiet = QUIET_NOT;
            t->marker = true;
            t->due = now;
        }
    }
}

/* RFC 3389 §4: "the RTP timestamp designates the beginning of the comfort noise period". */
static void on_noise(struct transcode *t, usec now, const struct rtpmsg *p)
{
    if (codec_noise_read(&t->noise, p->payload)) {
        t->stats.odd++;
        return;
    }
    quiet_begin(t, QUIET_NOISE, now);
    if (t->c.out_cn != TRANSCODE_NO_PT) {
        transcode_jump(t, t->at); /* what waits goes first */
        transcode_send(t, t->c.out_cn, t->c.out.codec->clock_hz, false, t->at,
                       sv_sub(p->payload, 0, 1 + (size_t)NOISE_ORDER_MAX));
        t->marker = true;
    }
}

/* Opus has fallen silent: what it made of that is the level of the noise. */
static void on_dtx(struct transcode *t, usec now, unsigned level)
{
    bool first = t->quiet == QUIET_NOT;
    quiet_begin(t, QUIET_DECODER, now);
    if (t->c.out_cn == TRANSCODE_NO_PT || !first)
        return;
    transcode_jump(t, t->at);
    char payload = (char)level;
    transcode_send(t, t->c.out_cn, t->c.out.codec->clock_hz, false, t->at, (sv){&payload, 1});
    t->marker = true;
}

/* ---- in ---- */

static const struct transcode_format *format_of(const struct transcode *t, uint8_t pt)
{
    if (t->format && t->format->pt == pt)
        return t->format;
    for (unsigned i = 0; i < t->c.in_n; i++)
        if (t->c.in[i].pt == pt)
            return &t->c.in[i];
    return NULL;
}

static const struct transcode_event *event_of(const struct transcode *t, uint8_t pt)
{
    for (unsigned i = 0; i < t->c.in_event_n; i++)
        if (t->c.in_event[i].pt == pt)
            return &t->c.in_event[i];
    return NULL;
}

/* A fresh decoder of f, in the same memory. */
static bool take_format(struct transcode *t, const struct transcode_format *f)
{
    t->decoder_hz = transcode_decoder_rate(t, f->codec);
    if (codec_decoder_init(t->decoder_mem, f->codec, t->decoder_hz, &t->decoder))
        return false;
    if (t->resampler[rate_index(t->decoder_hz)])
        codec_resampler_reset(t->resampler[rate_index(t->decoder_hz)]);
    t->format = f;
    return true;
}

/* Timestamps say nothing of the time since the last packet: it has passed by our clock, if it is more than the network's
 * whim. */
static void another_clock(struct transcode *t, usec now)
{
    int64_t passed = line_ms((now - t->due) / 1000);
    if (passed <= line_ms(FILL_MAX_MS))
        return;
    transcode_jump(t, t->at + passed);
    t->due = now;
}

/* What goes out is the sender's stream from here on; p of it lies at the end of the line. */
static void follow(struct transcode *t, const struct rtpmsg *p)
{
    const struct transcode_format *f = format_of(t, p->pt);
    uint32_t hz = f ? transcode_clock_of(f) : t->c.out.codec->clock_hz;
    t->c.ts = p->ts - (uint32_t)(t->at / (LINE_HZ / (int64_t)hz));
    t->c.ssrc = p->ssrc;
    t->seq = p->seq;
    t->marker = false;
}

/* The stream begins, or another one does (another source, other numbers): its time goes on with ours. */
static void begin(struct transcode *t, usec now, const struct rtpmsg *p)
{
    if (t->begun) {
        t->decoder = NULL;
        t->format = NULL;
        t->quiet = QUIET_NOT;
        transcode_event_forget(t, now);
        another_clock(t, now);
    } else {
        t->marker = true;
    }
    t->begun = true;
    t->in_ssrc = p->ssrc;
    t->next_seq = p->seq;
    t->next_ts = p->ts;
    t->next_hz = 0;
    t->anchor = t->at;
    if (t->c.follow && p->ssrc != t->c.ssrc)
        follow(t, p);
}

/* RFC 3550 A.1. ret_lost: packets missing before it. false: it is not to be used. */
static bool in_order(struct transcode *t, usec now, const struct rtpmsg *p, unsigned *ret_lost)
{
    if (!t->begun || p->ssrc != t->in_ssrc)
        begin(t, now, p);
    int16_t ahead = (int16_t)(p->seq - t->next_seq);
    if (ahead < -MISORDER_MAX || ahead > DROPOUT_MAX) {
        if (p->seq != t->odd_seq) { /* two in a row are needed to believe it */
            t->odd_seq = (uint16_t)(p->seq + 1);
            t->stats.odd++;
            return false;
        }
        begin(t, now, p);
        ahead = 0;
    }
    if (ahead < 0) {
        t->stats.late++;
        return false;
    }
    *ret_lost = (unsigned)ahead;
    return true;
}

/* What was lost, from the packet behind it. */
static bool repair(struct transcode *t, usec now, const struct rtpmsg *p, int64_t gap)
{
    int16_t pcm[CODEC_SAMPLES_MAX];
    size_t n = (size_t)(gap * t->decoder_hz / LINE_HZ);
    if (gap > line_ms(TRANSCODE_CONCEAL_MS) || t->format->pt != p->pt ||
        !codec_decode_fec(t->decoder, p->payload, pcm, n))
        return false;
    t->stats.repaired_ms += n / (t->decoder_hz / 1000);
    if (transcode_pay(t, now, us_of(gap)))
        transcode_put(t, t->decoder_hz, pcm, n);
    return true;
}

/* What lies between the last sound and this packet, in its clock of hz. */
static void bridge(struct transcode *t, usec now, const struct rtpmsg *p, uint32_t hz,
                   unsigned lost)
{
    int64_t gap = line_of(hz, (int32_t)(p->ts - t->next_ts));
    if (gap > line_ms(SILENCE_MAX_MS) || gap < -line_ms(BACK_MAX_MS) || hz != t->next_hz) {
        another_clock(t, now); /* RFC 7160 §4.1: a change of rate leaves no relation between them */
        return;
    }
    gap +=
        t->anchor - t->at; /* noise was made by our clock: what it still lacks, by the sender's */
    if (gap <= 0)
        return; /* where it should be, or overlapping: numbers are in order, so its time is now */
    if (t->quiet != QUIET_NOT && t->c.out_cn != TRANSCODE_NO_PT) {
        transcode_jump(t, t->at + gap);
    } else if (t->quiet != QUIET_NOT || lost == 0 || !t->sound_last || !t->decoder) {
        fill(t, now, gap, line_ms(FILL_MAX_MS));
    } else if (!repair(t, now, p, gap)) {
        int64_t made = gap < line_ms(TRANSCODE_CONCEAL_MS) ? gap : line_ms(TRANSCODE_CONCEAL_MS);
        t->stats.concealed_ms += (uint64_t)us_of(made) / 1000;
        fill(t, now, gap, made);
    }
}

/* What comes next is the sender's ts, at its rate hz; the last packet lasted so long. */
static void passed(struct transcode *t, usec now, uint32_t ts, uint32_t hz, uint32_t ticks)
{
    t->next_ts = ts;
    t->next_hz = hz;
    t->anchor = t->at;
    t->due = now + us_of(line_of(hz, ticks));
}

static void on_sound(struct transcode *t, usec now, const struct rtpmsg *p,
                     const struct transcode_format *f, unsigned lost)
{
    uint32_t ticks;
    if (codec_ticks(f->codec, p->payload, &ticks)) {
        t->stats.odd++;
        return;
    }
    if (!transcode_pay(t, now, us_of(line_of(f->codec->clock_hz, ticks))))
        return;
    bridge(t, now, p, f->codec->clock_hz, lost);
    if (t->format != f && !take_format(t, f))
        return;
    int16_t own[CODEC_SAMPLES_MAX];
    int16_t *pcm = t->decoder_hz == t->rate_hz ? t->pcm + t->pcm_n : own;
    size_t n = 0, room = t->decoder_hz / 1000 * CODEC_MS_MAX;
    if (codec_decode(t->decoder, p->payload, pcm, room, &n)) {
        t->stats.odd++;
        n = (size_t)ticks * (t->decoder_hz / 1000) / (f->codec->clock_hz / 1000);
        codec_conceal(t->decoder, pcm, n);
    }
    bool dtx = f->codec == &codec_opus && p->payload.n <= OPUS_DTX_OCTETS;
    unsigned level = dtx ? codec_noise_level(pcm, n) : 0;
    transcode_put(t, t->decoder_hz, pcm, n);
    passed(t, now, p->ts + ticks, f->codec->clock_hz, ticks);
    if (dtx)
        on_dtx(t, now, level);
    else
        t->quiet = QUIET_NOT;
}

/* In the place of what passes: a digit that waits, or the silence that a tone leaves. */
static bool digit_instead(struct transcode *t, const struct rtpmsg *p,
                          const struct transcode_format *f, uint32_t ticks)
{
    int16_t pcm[CODEC_SAMPLES_MAX];
    size_t n = 0;
    bool tone = false;
    if (transcode_hears_passing(&t->c, f) && (t->format == f || take_format(t, f)) &&
        codec_decode(t->decoder, p->payload, pcm, t->decoder_hz / 1000 * CODEC_MS_MAX, &n) ==
            ERR_OK)
        tone = transcode_hear(t, pcm, n);
    if (!tone && !transcode_digits_wait(t))
        return false;
    n = (size_t)ticks * (t->rate_hz / 1000) / (transcode_clock_of(f) / 1000);
    memset(t->pcm + t->pcm_n, 0, n * sizeof(*t->pcm));
    transcode_grown(t, n);
    return true;
}

/* What the receiver takes as it is: only its numbers are ours. */
static void on_pass(struct transcode *t, usec now, const struct rtpmsg *p,
                    const struct transcode_format *f, unsigned lost)
{
    uint32_t hz = transcode_clock_of(f), ticks = 0;
    if (p->payload.n == 0 || p->payload.n > CODEC_PAYLOAD_MAX ||
        (f->codec && codec_ticks(f->codec, p->payload, &ticks))) {
        t->stats.odd++;
        return;
    }
    if (!transcode_pay(t, now, 0))
        return;
    int64_t gap = line_of(hz, (int32_t)(p->ts - t->next_ts));
    if (hz != t->next_hz || gap > line_ms(SILENCE_MAX_MS) || gap < -line_ms(BACK_MAX_MS))
        another_clock(t, now);
    else if (t->anchor + gap > t->at && t->pcm_n > 0)
        transcode_jump(t, t->anchor + gap);
    else if (t->anchor + gap > t->at)
        t->at = t->anchor + gap;
    if (lost > 0 && t->pcm_n > 0) /* what waits came before it */
        transcode_jump(t, t->at);
    t->seq = (uint16_t)(t->seq + lost); /* the receiver sees it, and may mend it */
    uint32_t length = f->codec ? ticks : hz / 1000 * PIECE_MS; /* a guess, of what we do not know */
    if (digit_instead(t, p, f, length)) {
        ticks = length;
    } else {
        if (t->pcm_n > 0)
            transcode_jump(t, t->at);
        transcode_send(t, f->as, hz, p->marker || (t->c.follow && t->marker), t->at, p->payload);
        t->at += line_of(hz, ticks);
        t->marker = t->marker && !t->c.follow;
    }
    passed(t, now, p->ts + ticks, hz, ticks);
    t->quiet = QUIET_NOT;
    if (!transcode_hears_passing(&t->c, f)) {
        t->format = NULL;
        t->decoder = NULL;
    }
}

static void on_silence(struct transcode *t, usec now, const struct rtpmsg *p, unsigned lost)
{
    uint32_t hz = t->next_hz ? t->next_hz : transcode_clock_of(&t->c.in[0]);
    if (!transcode_pay(t, now, 0))
        return;
    bridge(t, now, p, hz, lost);
    on_noise(t, now, p);
    passed(t, now, p->ts, hz, 0);
}

void transcode_rtp(struct transcode *t, usec now, const struct rtpmsg *p)
{
    unsigned lost;
    t->stats.in++;
    const struct transcode_format *f = format_of(t, p->pt);
    const struct transcode_event *event = event_of(t, p->pt);
    bool noise = p->pt == t->c.in_cn;
    if ((!f && !noise && !event) || p->pt > RTP_PT_MAX) {
        t->stats.odd++;
        return;
    }
    if (!in_order(t, now, p, &lost))
        return;
    t->next_seq = (uint16_t)(p->seq + 1);
    if (event)
        transcode_on_event(t, now, p, event->hz);
    else if (t->event_in.on) /* RFC 4733 §2.5.2.2: "render only the telephone-event payload" */
        return;
    else if (noise)
        on_silence(t, now, p, lost);
    else if (f->pass)
        on_pass(t, now, p, f, lost);
    else
        on_sound(t, now, p, f, lost);
    t->sound_last = f != NULL;
}
