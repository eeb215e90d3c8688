/* SPDX-License-Identifier: MIT */
/* transcode/transcode_life.c: what a direction is made of. */
#include "transcode/transcode.h"

#include "mem/mem.h"
#include "transcode/transcode_priv.h"

enum { PTIME_MS = 20, RESAMPLE_SLACK = 16, EVENT_HZ = 8000 };

uint32_t transcode_decoder_rate(const struct transcode *t, const struct codec *c)
{
    return codec_takes(c, t->rate_hz) ? t->rate_hz : codec_best_rate(c);
}

static enum err make_resampler(struct transcode *t, const struct codec *c)
{
    uint32_t hz = transcode_decoder_rate(t, c);
    struct codec_resampler **at = &t->resampler[rate_index(hz)];
    return hz == t->rate_hz || *at ? ERR_OK : codec_resampler_new(hz, t->rate_hz, at);
}

static bool divides(uint32_t hz)
{
    return hz >= 1000 && LINE_HZ % hz == 0;
}

bool transcode_hears_passing(const struct transcode_config *c, const struct transcode_format *f)
{
    return c->listen && f->pass && (f->codec == &codec_pcmu || f->codec == &codec_pcma);
}

/* The first that is transcoded; NULL: none is. */
static const struct codec *first_codec(const struct transcode_config *c)
{
    for (unsigned i = 0; i < c->in_n; i++)
        if (!c->in[i].pass)
            return c->in[i].codec;
    return NULL;
}

static enum err check(struct transcode_config *c)
{
    if (c->in_n == 0 || c->in_n > TRANSCODE_FORMATS_MAX || !c->out.codec ||
        c->in_event_n > TRANSCODE_EVENTS_MAX)
        return ERR_RANGE;
    if (!c->out_event_hz)
        c->out_event_hz = EVENT_HZ;
    if (!divides(c->out_event_hz))
        return ERR_UNSUPPORTED;
    for (unsigned i = 0; i < c->in_event_n; i++) {
        if (!c->in_event[i].hz)
            c->in_event[i].hz = EVENT_HZ;
        if (!divides(c->in_event[i].hz))
            return ERR_UNSUPPORTED;
    }
    for (unsigned i = 0; i < c->in_n; i++)
        if ((!c->in[i].codec && !c->in[i].pass) || !divides(transcode_clock_of(&c->in[i])))
            return ERR_UNSUPPORTED;
    return ERR_OK;
}

static enum err make_parts(struct transcode *t)
{
    const struct transcode_config *c = &t->c;
    const struct codec *from = first_codec(c);
    uint32_t hz = codec_common_rate(from ? from : c->out.codec, c->out.codec);
    t->rate_hz = codec_takes(c->out.codec, hz) ? hz : codec_best_rate(c->out.codec);
    uint32_t ptime = codec_ptime(c->out.codec, c->ptime_ms ? c->ptime_ms : PTIME_MS);
    t->frame = t->rate_hz / 1000 * ptime;
    t->pcm_room = t->rate_hz / 1000 * (CODEC_MS_MAX + ptime) + RESAMPLE_SLACK;
    for (unsigned i = 0; i < c->in_n; i++) {
        if (c->in[i].pass && !transcode_hears_passing(c, &c->in[i]))
            continue;
        size_t n = codec_decoder_size(c->in[i].codec);
        if (n > t->decoder_room)
            t->decoder_room = n;
        TRY(make_resampler(t, c->in[i].codec));
    }
    if (t->decoder_room == 0) /* all pass */
        t->decoder_room = 1;
    if (c->listen)
        TRY(tones_detector_new(t->rate_hz, &t->detector));
    t->decoder_mem = mem_take(t->decoder_room);
    t->pcm = mem_take(t->pcm_room * sizeof(*t->pcm));
    if (!t->decoder_mem || !t->pcm)
        return ERR_NOMEM;
    return codec_encoder_new(c->out.codec, t->rate_hz, &c->wish, &t->encoder);
}

enum err transcode_new(const struct transcode_config *c, const struct transcode_handler *h,
                       void *arg, usec now, struct transcode **ret_transcode)
{
    struct transcode_config own = *c;
    TRY(check(&own));
    struct transcode *t = MEM_TAKE(struct transcode);
    if (!t)
        return ERR_NOMEM;
    t->c = own;
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
    transcode_dtmf_init(t);
    *ret_transcode = t;
    return ERR_OK;
}

void transcode_behind(struct transcode *t, const struct transcode_place *p)
{
    t->begun = true;
    t->marker = !t->c.follow;
    t->in_ssrc = p->ssrc;
    t->next_seq = p->seq;
    t->next_ts = p->ts;
    t->next_hz = p->hz;
    t->due = p->due;
}

void transcode_succeed(struct transcode *t, const struct transcode *former)
{
    transcode_event_succeed(t, former);
    if (!former->begun || (t->c.follow && t->c.ssrc != former->in_ssrc))
        return;
    transcode_behind(t, &(struct transcode_place){.ssrc = former->in_ssrc,
                                                  .ts = former->next_ts,
                                                  .hz = former->next_hz,
                                                  .seq = former->next_seq,
                                                  .due = former->due});
    t->anchor = former->anchor - transcode_pcm_begin(former); /* what waits there is lost */
}

void transcode_free(struct transcode *t)
{
    if (!t)
        return;
    for (unsigned i = 0; i < RATES; i++)
        codec_resampler_free(t->resampler[i]);
    tones_detector_free(t->detector);
    codec_encoder_free(t->encoder);
    if (t->decoder_mem)
        mem_give(t->decoder_mem, t->decoder_room);
    if (t->pcm)
        mem_give(t->pcm, t->pcm_room * sizeof(*t->pcm));
    MEM_GIVE(t);
}

/* ---- from a plan ---- */

static enum err read_sound(const struct offer_map *m, const struct offer_leg *to,
                           struct transcode_config *c)
{
    if (c->in_n == TRANSCODE_FORMATS_MAX)
        return ERR_TOOBIG;
    struct transcode_format *f = &c->in[c->in_n];
    *f = (struct transcode_format){.pt = m->from,
                                   .codec = codec_find(m->in.name, m->in.clock_hz, m->in.channels),
                                   .pass = !m->transcode,
                                   .as = m->to,
                                   .clock_hz = m->in.clock_hz};
    if (f->pass) {
        c->in_n += divides(m->in.clock_hz);
        return ERR_OK;
    }
    const struct codec *out = codec_find(m->out.name, m->out.clock_hz, m->out.channels);
    if (!f->codec || !out || (c->out.codec && (out != c->out.codec || m->to != c->out.pt)))
        return ERR_UNSUPPORTED;
    c->in_n++;
    c->out = (struct transcode_format){.pt = m->to, .codec = out};
    c->ptime_ms = to->ptime_us / 1000;
    codec_wish_read(m->out.fmtp, &c->wish);
    return ERR_OK;
}

static enum err read_map(const struct offer_map *m, const struct offer_leg *to,
                         struct transcode_config *c)
{
    if (m->in.id == CODEC_CN) {
        c->in_cn = m->from;
    } else if (m->in.id == CODEC_EVENT) {
        if (c->in_event_n == TRANSCODE_EVENTS_MAX)
            return ERR_TOOBIG;
        c->in_event[c->in_event_n++] = (struct transcode_event){m->from, m->in.clock_hz};
    } else if (m->to != OFFER_NO_PT) {
        return read_sound(m, to, c);
    }
    return ERR_OK;
}

/* All passes: what digits are put into is the first that we can make, else no more than its clock. */
static enum err follow(struct transcode_config *c)
{
    static const struct codec *const stand_in[] = {&codec_pcmu, &codec_opus};
    c->follow = true;
    for (unsigned i = 0; i < c->in_n; i++) {
        if (c->in[i].codec) {
            c->out = (struct transcode_format){.pt = c->in[i].as, .codec = c->in[i].codec};
            return ERR_OK;
        }
    }
    for (size_t i = 0; c->in_n > 0 && i < sizeof(stand_in) / sizeof(stand_in[0]); i++) {
        if (stand_in[i]->clock_hz == c->in[0].clock_hz) {
            c->out = (struct transcode_format){.pt = TRANSCODE_NO_PT, .codec = stand_in[i]};
            return c->dtmf == TRANSCODE_DTMF_TONES ? ERR_NOTFOUND : ERR_OK;
        }
    }
    return ERR_NOTFOUND;
}

enum err transcode_config_of(const struct offer_map *map, unsigned n, const struct offer_leg *to,
                             bool goes_on, struct transcode_config *ret)
{
    static const enum transcode_dtmf way[] = {[OFFER_DTMF_AUTO] = TRANSCODE_DTMF_TOLD,
                                              [OFFER_DTMF_EVENTS] = TRANSCODE_DTMF_EVENTS,
                                              [OFFER_DTMF_INFO] = TRANSCODE_DTMF_TOLD,
                                              [OFFER_DTMF_TONES] = TRANSCODE_DTMF_TONES};
    struct transcode_config c = {.in_cn = TRANSCODE_NO_PT,
                                 .out_cn = to->cn_pt,
                                 .out_event = to->event_pt,
                                 .out_event_hz = to->event_hz,
                                 .dtmf = way[to->dtmf],
                                 .listen = to->listen,
                                 .ssrc = ret->ssrc,
                                 .ts = ret->ts,
                                 .seq = ret->seq};
    bool changes = to->digits || to->listen;
    for (unsigned i = 0; i < n; i++)
        changes = changes || map[i].transcode;
    if (!changes && !goes_on)
        return ERR_NOTFOUND;
    enum err rc = ERR_OK;
    for (unsigned i = 0; i < n && !rc; i++)
        rc = read_map(&map[i], to, &c);
    if (!rc && !c.out.codec)
        rc = follow(&c);
    if (rc)
        return changes ? rc : ERR_NOTFOUND;
    c.follow = c.follow && !goes_on;
    *ret = c;
    return ERR_OK;
}

void transcode_set_loss(struct transcode *t, unsigned percent)
{
    codec_set_loss(t->encoder, percent);
}

void transcode_position(const struct transcode *t, uint16_t *ret_seq, uint32_t *ret_ts)
{
    *ret_seq = t->seq;
    *ret_ts = transcode_ts_at(t, transcode_pcm_begin(t));
}

const struct transcode_stats *transcode_stats(const struct transcode *t)
{
    return &t->stats;
}
