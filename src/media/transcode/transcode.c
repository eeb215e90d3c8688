/* SPDX-License-Identifier: MIT */
/* transcode/transcode.c: packet by packet: where it lies on the line, what is missing before it, its sound, and the
 * frames that are full by then. */
#include "transcode/transcode.h"

#include <stddef.h>

#include "mem/mem.h"
#include "transcode/transcode_priv.h"

enum {
    PTIME_MS = 20,
    MISORDER_MAX = 100, /* RFC 3550 A.1 */
    DROPOUT_MAX = 3000,
    SILENCE_MAX_MS = 120000, /* of timestamps ahead, and back: what is more is another clock */
    BACK_MAX_MS = 5000,
    FILL_MAX_MS = 60,  /* silence shorter than this is made up, not left out */
    PIECE_MS = 20,     /* in which sound is made up */
    CATCH_UP_MS = 200, /* of noise at once */
    RESAMPLE_SLACK = 16,
    COST_LEAST_US = 1000, /* of any packet */
    OPUS_DTX_OCTETS = 2,
    /* credit grows a quarter faster than time: a sender's clock may be fast, and packets short */
    CREDIT_GAIN = 5,
    CREDIT_OF = 4
};

static unsigned rate_index(uint32_t hz)
{
    return hz == 8000 ? 0 : hz == 16000 ? 1 : 2;
}

static usec us_of(int64_t line)
{
    return line * 1000 / (LINE_HZ / 1000);
}

static int64_t line_ms(int64_t ms)
{
    return ms * (LINE_HZ / 1000);
}

/* ---- out ---- */

static uint32_t timestamp_at(const struct transcode *t, int64_t at)
{
    return t->c.ts + (uint32_t)(at / (LINE_HZ / (int64_t)t->c.out.codec->clock_hz));
}

static int64_t pcm_begin(const struct transcode *t)
{
    return t->at - line_of(t->rate_hz, (int64_t)t->pcm_n);
}

static void send_packet(struct transcode *t, uint8_t pt, bool marker, int64_t at, sv payload)
{
    struct rtpmsg p = {.pt = pt,
                       .marker = marker,
                       .seq = t->seq++,
                       .ts = timestamp_at(t, at),
                       .ssrc = t->c.ssrc,
                       .payload = payload};
    t->stats.out++;
    t->h.send(t->arg, &p);
}

/* Sends what is full. */
static void drain(struct transcode *t)
{
    uint8_t out[CODEC_PAYLOAD_MAX];
    size_t done = 0, n;
    while (t->pcm_n - done >= t->frame) {
        int64_t at = t->at - line_of(t->rate_hz, (int64_t)(t->pcm_n - done));
        if (codec_encode(t->encoder, t->pcm + done, t->frame, out, sizeof(out), &n) == ERR_OK) {
            if (n > 0) {
                send_packet(t, t->c.out.pt, t->marker, at, (sv){(const char *)out, n});
                t->marker = false;
            } else {
                t->marker = true; /* RFC 3551 §4.1: the first packet after silence */
            }
        }
        done += t->frame;
    }
    if (done == 0)
        return;
    t->pcm_n -= done;
    memmove(t->pcm, t->pcm + done, t->pcm_n * sizeof(*t->pcm));
}

/* n samples were put behind pcm. */
static void grown(struct transcode *t, size_t n)
{
    t->pcm_n += n;
    t->at += line_of(t->rate_hz, (int64_t)n);
    drain(t);
}

/* The line goes on at `at`, which is later: what waits for a full frame gets silence for the rest. */
static void jump(struct transcode *t, int64_t at)
{
    if (t->pcm_n > 0) {
        size_t rest = t->frame - t->pcm_n;
        memset(t->pcm + t->pcm_n, 0, rest * sizeof(*t->pcm));
        grown(t, rest);
    }
    if (at > t->at)
        t->at = at;
    t->marker = true;
}

/* Sound is paid for: false, it is more than can be heard. */
static bool pay(struct transcode *t, usec now, usec cost)
{
    if (now > t->credited) {
        t->credit += (now - t->credited) / CREDIT_OF * CREDIT_GAIN;
        if (t->credit > (usec)TRANSCODE_CREDIT_MS * 1000)
            t->credit = (usec)TRANSCODE_CREDIT_MS * 1000;
        t->credited = now;
    }
    if (cost < COST_LEAST_US)
        cost = COST_LEAST_US;
    if (cost > t->credit) {
        t->stats.over++;
        return false;
    }
    t->credit -= cost;
    return true;
}

/* ---- sound that nobody sent ---- */

/* Room for what is decoded at rate hz: in pcm itself where nothing stands between. */
static void put(struct transcode *t, uint32_t hz, const int16_t *pcm, size_t n)
{
    struct codec_resampler *r = t->resampler[rate_index(hz)];
    int16_t *to = t->pcm + t->pcm_n;
    if (hz == t->rate_hz || !r) {
        if (pcm != to)
            memcpy(to, pcm, n * sizeof(*pcm));
        grown(t, n);
        return;
    }
    grown(t, codec_resample(r, pcm, n, to, t->pcm_room - t->pcm_n));
}

/* `line` of it by the decoder's guess. */
static void conceal(struct transcode *t, int64_t line)
{
    int16_t pcm[CODEC_RATE_MAX / 1000 * PIECE_MS];
    size_t left = (size_t)(line * t->decoder_hz / LINE_HZ);
    while (left > 0) {
        size_t n = t->decoder_hz / 1000 * PIECE_MS;
        if (n > left)
            n = left;
        codec_conceal(t->decoder, pcm, n);
        put(t, t->decoder_hz, pcm, n);
        left -= n;
    }
}

static void make_noise(struct transcode *t, int64_t line)
{
    size_t left = (size_t)(line * t->rate_hz / LINE_HZ);
    while (left > 0) {
        size_t n = t->rate_hz / 1000 * PIECE_MS;
        if (n > left)
            n = left;
        codec_noise_make(&t->noise, t->pcm + t->pcm_n, n);
        grown(t, n);
        left -= n;
    }
}

/* `line` of what nobody sent: made up to `most`, if that is paid for; the rest is left out. */
static void fill(struct transcode *t, usec now, int64_t line, int64_t most)
{
    int64_t to = t->at + line, made = line < most ? line : most;
    if ((t->quiet == QUIET_NOISE || t->decoder) && pay(t, now, us_of(made))) {
        if (t->quiet == QUIET_NOISE)
            make_noise(t, made);
        else
            conceal(t, made);
    }
    if (to > t->at + LINE_HZ / 1000)
        jump(t, to);
}

/* ---- silence that the sender announced ---- */

static void quiet_begin(struct transcode *t, enum quiet kind, usec now)
{
    t->quiet = kind;
    t->quiet_since = now;
    t->quiet_at = t->at;
}

usec transcode_next(const struct transcode *t)
{
    if (t->quiet == QUIET_NOT || t->c.out_cn != TRANSCODE_NO_PT)
        return USEC_NEVER;
    int64_t full = pcm_begin(t) + line_of(t->rate_hz, (int64_t)t->frame);
    return t->quiet_since + us_of(full - t->quiet_at);
}

void transcode_tick(struct transcode *t, usec now)
{
    int64_t frame = line_of(t->rate_hz, (int64_t)t->frame);
    while (now >= transcode_next(t)) {
        if (now - transcode_next(t) > (usec)CATCH_UP_MS * 1000) { /* nobody called for long */
            jump(t, t->at + line_ms((now - transcode_next(t)) / 1000) / frame * frame);
            continue;
        }
        int64_t rest = frame - line_of(t->rate_hz, (int64_t)t->pcm_n);
        if (t->quiet == QUIET_NOISE)
            make_noise(t, rest);
        else
            conceal(t, rest);
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
        if (t->pcm_n > 0)
            make_noise(t, line_of(t->rate_hz, (int64_t)(t->frame - t->pcm_n)));
        send_packet(t, t->c.out_cn, false, t->at,
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
    char payload = (char)level;
    send_packet(t, t->c.out_cn, false, t->at, (sv){&payload, 1});
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

static uint32_t decoder_rate(const struct transcode *t, const struct codec *c)
{
    return codec_takes(c, t->rate_hz) ? t->rate_hz : codec_best_rate(c);
}

/* A fresh decoder of f, in the same memory. */
static bool take_format(struct transcode *t, const struct transcode_format *f)
{
    t->decoder_hz = decoder_rate(t, f->codec);
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
    if (passed > line_ms(FILL_MAX_MS))
        jump(t, t->at + passed);
}

/* The stream begins, or another one does (another source, other numbers): its time goes on with ours. */
static void begin(struct transcode *t, usec now, const struct rtpmsg *p)
{
    if (t->begun) {
        t->decoder = NULL;
        t->format = NULL;
        t->quiet = QUIET_NOT;
        another_clock(t, now);
    } else {
        t->marker = true;
    }
    t->begun = true;
    t->in_ssrc = p->ssrc;
    t->next_seq = p->seq;
    t->next_ts = p->ts;
    t->next_hz = 0;
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
    if (pay(t, now, us_of(gap)))
        put(t, t->decoder_hz, pcm, n);
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
    if (t->quiet != QUIET_NOT)      /* noise was made by our clock: */
        gap += t->quiet_at - t->at; /* what it still lacks, by the sender's */
    if (gap <= 0)
        return; /* where it should be, or overlapping: numbers are in order, so its time is now */
    if (t->quiet != QUIET_NOT && t->c.out_cn != TRANSCODE_NO_PT) {
        jump(t, t->at + gap);
    } else if (t->quiet != QUIET_NOT || lost == 0 || !t->sound_last || !t->decoder) {
        fill(t, now, gap, line_ms(FILL_MAX_MS));
    } else if (!repair(t, now, p, gap)) {
        int64_t made = gap < line_ms(TRANSCODE_CONCEAL_MS) ? gap : line_ms(TRANSCODE_CONCEAL_MS);
        t->stats.concealed_ms += (uint64_t)us_of(made) / 1000;
        fill(t, now, gap, made);
    }
}

static void on_sound(struct transcode *t, usec now, const struct rtpmsg *p,
                     const struct transcode_format *f, unsigned lost)
{
    uint32_t ticks;
    if (codec_ticks(f->codec, p->payload, &ticks)) {
        t->stats.odd++;
        return;
    }
    if (!pay(t, now, us_of(line_of(f->codec->clock_hz, ticks))))
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
    put(t, t->decoder_hz, pcm, n);
    t->next_ts = p->ts + ticks;
    t->next_hz = f->codec->clock_hz;
    t->due = now + us_of(line_of(t->next_hz, ticks));
    if (dtx)
        on_dtx(t, now, level);
    else
        t->quiet = QUIET_NOT;
}

void transcode_rtp(struct transcode *t, usec now, const struct rtpmsg *p)
{
    unsigned lost;
    t->stats.in++;
    const struct transcode_format *f = format_of(t, p->pt);
    bool noise = p->pt == t->c.in_cn && p->pt != TRANSCODE_NO_PT;
    if (!f && !noise) {
        t->stats.odd++;
        return;
    }
    if (!in_order(t, now, p, &lost))
        return;
    t->next_seq = (uint16_t)(p->seq + 1);
    if (noise && pay(t, now, 0)) {
        uint32_t hz = t->format ? t->format->codec->clock_hz : t->c.in[0].codec->clock_hz;
        bridge(t, now, p, hz, lost);
        on_noise(t, now, p);
        t->next_ts = p->ts;
        t->next_hz = hz;
        t->due = now;
    } else if (f) {
        on_sound(t, now, p, f, lost);
    }
    t->sound_last = f != NULL;
}

/* ---- life ---- */

static enum err make_resampler(struct transcode *t, const struct codec *c)
{
    uint32_t hz = decoder_rate(t, c);
    struct codec_resampler **at = &t->resampler[rate_index(hz)];
    return hz == t->rate_hz || *at ? ERR_OK : codec_resampler_new(hz, t->rate_hz, at);
}

static enum err make_parts(struct transcode *t)
{
    const struct transcode_config *c = &t->c;
    uint32_t hz = codec_common_rate(c->in[0].codec, c->out.codec);
    t->rate_hz = codec_takes(c->out.codec, hz) ? hz : codec_best_rate(c->out.codec);
    uint32_t ptime = codec_ptime(c->out.codec, c->ptime_ms ? c->ptime_ms : PTIME_MS);
    t->frame = t->rate_hz / 1000 * ptime;
    t->pcm_room = t->rate_hz / 1000 * (CODEC_MS_MAX + ptime) + RESAMPLE_SLACK;
    for (unsigned i = 0; i < c->in_n; i++) {
        size_t n = codec_decoder_size(c->in[i].codec);
        if (n > t->decoder_room)
            t->decoder_room = n;
        TRY(make_resampler(t, c->in[i].codec));
    }
    t->decoder_mem = mem_take(t->decoder_room);
    t->pcm = mem_take(t->pcm_room * sizeof(*t->pcm));
    if (!t->decoder_mem || !t->pcm)
        return ERR_NOMEM;
    return codec_encoder_new(c->out.codec, t->rate_hz, &c->wish, &t->encoder);
}

enum err transcode_new(const struct transcode_config *c, const struct transcode_handler *h,
                       void *arg, usec now, struct transcode **ret_transcode)
{
    if (c->in_n == 0 || c->in_n > TRANSCODE_FORMATS_MAX)
        return ERR_RANGE;
    struct transcode *t = MEM_TAKE(struct transcode);
    if (!t)
        return ERR_NOMEM;
    t->c = *c;
    t->h = *h;
    t->arg = arg;
    t->seq = c->seq;
    t->due = t->credited = now;
    t->credit = (usec)TRANSCODE_CREDIT_MS * 1000;
    codec_noise_init(&t->noise, c->ssrc);
    enum err rc = make_parts(t);
    if (rc) {
        transcode_free(t);
        return rc;
    }
    *ret_transcode = t;
    return ERR_OK;
}

void transcode_free(struct transcode *t)
{
    if (!t)
        return;
    for (unsigned i = 0; i < RATES; i++)
        codec_resampler_free(t->resampler[i]);
    codec_encoder_free(t->encoder);
    if (t->decoder_mem)
        mem_give(t->decoder_mem, t->decoder_room);
    if (t->pcm)
        mem_give(t->pcm, t->pcm_room * sizeof(*t->pcm));
    MEM_GIVE(t);
}

void transcode_set_loss(struct transcode *t, unsigned percent)
{
    codec_set_loss(t->encoder, percent);
}

void transcode_position(const struct transcode *t, uint16_t *ret_seq, uint32_t *ret_ts)
{
    *ret_seq = t->seq;
    *ret_ts = timestamp_at(t, pcm_begin(t));
}

const struct transcode_stats *transcode_stats(const struct transcode *t)
{
    return &t->stats;
}
