/* SPDX-License-Identifier: MIT */
/* transcode/transcode_line.c: sound on the line, and the frames that leave it. */
#include "transcode/transcode_priv.h"

enum {
    COST_LEAST_US = 1000, /* of any packet */
    /* credit grows a quarter faster than time: a sender's clock may be fast, and packets short */
    CREDIT_GAIN = 5,
    CREDIT_OF = 4
};

/* ---- out ---- */

uint32_t transcode_ts_at(const struct transcode *t, int64_t at)
{
    return t->c.ts + (uint32_t)(at / (LINE_HZ / (int64_t)t->c.out.codec->clock_hz));
}

int64_t transcode_pcm_begin(const struct transcode *t)
{
    return t->at - line_of(t->rate_hz, (int64_t)t->pcm_n);
}

void transcode_send(struct transcode *t, uint8_t pt, uint32_t hz, bool marker, int64_t at,
                    sv payload)
{
    struct rtpmsg p = {.pt = pt,
                       .marker = marker,
                       .seq = t->seq++,
                       .ts = t->c.ts + (uint32_t)(at / (LINE_HZ / (int64_t)hz)),
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
        if (transcode_digits_wait(t) && transcode_digit_frame(t, t->pcm + done, at)) {
            done += t->frame;
            continue;
        }
        if (t->c.out.pt == TRANSCODE_NO_PT) {
            t->marker = true;
        } else if (codec_encode(t->encoder, t->pcm + done, t->frame, out, sizeof(out), &n) ==
                   ERR_OK) {
            if (n > 0) {
                transcode_send(t, t->c.out.pt, t->c.out.codec->clock_hz, t->marker, at,
                               (sv){(const char *)out, n});
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
void transcode_grown(struct transcode *t, size_t n)
{
    t->pcm_n += n;
    t->at += line_of(t->rate_hz, (int64_t)n);
    drain(t);
}

/* Sound is paid for: false, it is more than can be heard. */
bool transcode_pay(struct transcode *t, usec now, usec cost)
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

/* The line goes on at `at`, which is later: what waits for a full frame gets silence for the rest. */
void transcode_jump(struct transcode *t, int64_t at)
{
    if (t->pcm_n > 0) {
        size_t rest = t->frame - t->pcm_n;
        if (transcode_pay(t, t->credited, us_of(line_of(t->rate_hz, (int64_t)rest)))) {
            memset(t->pcm + t->pcm_n, 0, rest * sizeof(*t->pcm));
            transcode_grown(t, rest);
        } else {
            t->pcm_n = 0;
        }
    }
    if (at > t->at)
        t->at = at;
    t->marker = true;
}

/* ---- sound that nobody sent ---- */

/* Room for what is decoded at rate hz: in pcm itself where nothing stands between. */
void transcode_put(struct transcode *t, uint32_t hz, const int16_t *pcm, size_t n)
{
    struct codec_resampler *r = t->resampler[rate_index(hz)];
    int16_t *to = t->pcm + t->pcm_n;
    if (hz != t->rate_hz && r)
        n = codec_resample(r, pcm, n, to, t->pcm_room - t->pcm_n);
    else if (pcm != to)
        memcpy(to, pcm, n * sizeof(*pcm));
    if (t->detector)
        (void)transcode_hear(t, to, n);
    transcode_grown(t, n);
}

/* `line` of it by the decoder's guess. */
void transcode_conceal(struct transcode *t, int64_t line)
{
    int16_t pcm[CODEC_RATE_MAX / 1000 * PIECE_MS];
    size_t left = (size_t)(line * t->decoder_hz / LINE_HZ);
    while (left > 0) {
        size_t n = t->decoder_hz / 1000 * PIECE_MS;
        if (n > left)
            n = left;
        codec_conceal(t->decoder, pcm, n);
        transcode_put(t, t->decoder_hz, pcm, n);
        left -= n;
    }
}

void transcode_noise(struct transcode *t, int64_t line)
{
    size_t left = (size_t)(line * t->rate_hz / LINE_HZ);
    while (left > 0) {
        size_t n = t->rate_hz / 1000 * PIECE_MS;
        if (n > left)
            n = left;
        codec_noise_make(&t->noise, t->pcm + t->pcm_n, n);
        transcode_grown(t, n);
        left -= n;
    }
}
