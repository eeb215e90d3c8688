/* SPDX-License-Identifier: MIT */
/* transcode/transcode_form.c: what a direction was set up with, in octets. */
#include "transcode/transcode_priv.h"

/* A field that is not written is lost: whoever adds one adds it to both below. */
_Static_assert(sizeof(void *) != 8 || sizeof(struct transcode_config) == 312,
               "a field is not written");

static const struct codec *const codecs[] = {NULL,           &codec_pcmu,   &codec_pcma,
                                             &codec_g722,    &codec_opus,   &codec_l16_8k,
                                             &codec_l16_16k, &codec_l16_48k};
enum { CODECS = sizeof(codecs) / sizeof(codecs[0]) };

static void put_format(struct buf *b, const struct transcode_format *f)
{
    unsigned i = 0;
    while (i + 1 < CODECS && codecs[i] != f->codec)
        i++;
    form_put(b, f->pt, 1);
    form_put(b, i, 1);
    form_put(b, f->pass, 1);
    form_put(b, f->as, 1);
    form_put(b, f->clock_hz, 4);
}

static void get_format(struct form_reader *r, struct transcode_format *ret)
{
    ret->pt = (uint8_t)form_get(r, 1, UINT8_MAX);
    ret->codec = codecs[form_get(r, 1, CODECS - 1)];
    ret->pass = form_get_bool(r);
    ret->as = (uint8_t)form_get(r, 1, UINT8_MAX);
    ret->clock_hz = (uint32_t)form_get(r, 4, UINT32_MAX);
}

void transcode_save(const struct transcode *t, struct buf *b)
{
    const struct transcode_config *c = &t->c;
    uint16_t seq;
    uint32_t ts;
    transcode_position(t, &seq, &ts);
    form_put(b, c->in_n, 1);
    for (unsigned i = 0; i < c->in_n; i++)
        put_format(b, &c->in[i]);
    form_put(b, c->in_cn, 1);
    form_put(b, c->in_event_n, 1);
    for (unsigned i = 0; i < c->in_event_n; i++) {
        form_put(b, c->in_event[i].pt, 1);
        form_put(b, c->in_event[i].hz, 4);
    }
    form_put(b, c->listen, 1);
    put_format(b, &c->out);
    form_put(b, c->out_cn, 1);
    form_put(b, c->out_event, 1);
    form_put(b, c->out_event_hz, 4);
    form_put(b, c->dtmf, 1);
    form_put(b, c->ptime_ms, 4);
    form_put(b, c->wish.bitrate, 4);
    form_put(b, c->wish.playback_hz, 4);
    form_put(b, c->wish.fec, 1);
    form_put(b, c->wish.dtx, 1);
    form_put(b, c->wish.cbr, 1);
    form_put(b, c->wish.stereo, 1);
    form_put(b, c->wish.minptime_ms, 4);
    form_put(b, c->follow, 1);
    form_put(b, c->ssrc, 4);
    form_put(b, ts, 4);
    form_put(b, seq, 2);
}

void transcode_load(struct form_reader *r, struct transcode_config *ret)
{
    struct transcode_config c = {.in_n = (unsigned)form_get(r, 1, TRANSCODE_FORMATS_MAX)};
    for (unsigned i = 0; i < c.in_n; i++)
        get_format(r, &c.in[i]);
    c.in_cn = (uint8_t)form_get(r, 1, UINT8_MAX);
    c.in_event_n = (unsigned)form_get(r, 1, TRANSCODE_EVENTS_MAX);
    for (unsigned i = 0; i < c.in_event_n; i++) {
        c.in_event[i].pt = (uint8_t)form_get(r, 1, UINT8_MAX);
        c.in_event[i].hz = (uint32_t)form_get(r, 4, UINT32_MAX);
    }
    c.listen = form_get_bool(r);
    get_format(r, &c.out);
    c.out_cn = (uint8_t)form_get(r, 1, UINT8_MAX);
    c.out_event = (uint8_t)form_get(r, 1, UINT8_MAX);
    c.out_event_hz = (uint32_t)form_get(r, 4, UINT32_MAX);
    c.dtmf = (enum transcode_dtmf)form_get(r, 1, TRANSCODE_DTMF_TOLD);
    c.ptime_ms = (uint32_t)form_get(r, 4, CODEC_MS_MAX);
    c.wish.bitrate = (uint32_t)form_get(r, 4, UINT32_MAX);
    c.wish.playback_hz = (uint32_t)form_get(r, 4, UINT32_MAX);
    c.wish.fec = form_get_bool(r);
    c.wish.dtx = form_get_bool(r);
    c.wish.cbr = form_get_bool(r);
    c.wish.stereo = form_get_bool(r);
    c.wish.minptime_ms = (uint32_t)form_get(r, 4, UINT32_MAX);
    c.follow = form_get_bool(r);
    c.ssrc = (uint32_t)form_get(r, 4, UINT32_MAX);
    c.ts = (uint32_t)form_get(r, 4, UINT32_MAX);
    c.seq = (uint16_t)form_get(r, 2, UINT16_MAX);
    *ret = c;
}
