/* SPDX-License-Identifier: MIT */
/* fuzz/transcode_fuzz.c: any packets, at any times, into a direction between any two codecs. What comes out is always a
 * stream: numbers without a gap but those of what passes, time that does not go back, payloads that the other codec reads, and no more sound than
 * time has passed. */
#include <stdlib.h>

#include "transcode/transcode_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADER = 8, PACKETS_MAX = 24, CN = 13, EVENT_IN = 101, EVENT_OUT = 110 };

static void must(bool holds)
{
    if (!holds)
        abort();
}

struct out {
    const struct transcode_config *c;
    uint16_t seq;
    unsigned lost; /* of numbers, before what passes: the receiver may see it */
    int64_t ts;    /* since the first */
    uint32_t last;
    bool any;
    uint64_t sent_ms; /* of sound */
};

static void on_packet(void *arg, const struct rtpmsg *p)
{
    struct out *o = arg;
    unsigned gap = (uint16_t)(p->seq - o->seq);
    must(gap <= o->lost && p->payload.n > 0 && p->payload.n <= CODEC_PAYLOAD_MAX);
    o->lost -= gap;
    o->seq = (uint16_t)(p->seq + 1);
    if (p->pt == EVENT_OUT) {
        must(p->payload.n == 4);
        return; /* named by its begin */
    }
    if (p->pt == 18)
        return; /* another clock */
    must(!o->any || (int32_t)(p->ts - o->last) >= 0);
    o->last = p->ts;
    o->any = true;
    if (p->pt == o->c->out_cn)
        return;
    uint32_t ticks = 0;
    must(p->pt == o->c->out.pt && codec_ticks(o->c->out.codec, p->payload, &ticks) == ERR_OK);
    o->sent_ms += ticks / (o->c->out.codec->clock_hz / 1000);
}

/* Numbers that are missing before p. */
static unsigned lost_before(const struct transcode *t, const struct rtpmsg *p)
{
    int16_t ahead = (int16_t)(p->seq - t->next_seq);
    return t->begun && p->ssrc == t->in_ssrc && ahead > 0 ? (unsigned)ahead : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct codec *const codecs[] = {&codec_opus, &codec_g722, &codec_pcma, &codec_pcmu,
                                                 &codec_l16_16k};
    /* Opus seldom: it takes all the time there is */
    static const struct codec *const outs[] = {&codec_pcma, &codec_g722,    &codec_pcmu,
                                               &codec_pcma, &codec_l16_16k, &codec_pcmu,
                                               &codec_g722, &codec_opus};
    if (size < 2)
        return 0;
    struct transcode_config c = {.in = {{.pt = 96, .codec = codecs[data[0] % 5]},
                                        {.pt = 0, .codec = &codec_pcmu},
                                        {.pt = 9, .codec = &codec_g722},
                                        {.pt = 18, .pass = true, .as = 18, .clock_hz = 8000}},
                                 .in_n = 4,
                                 .in_cn = CN,
                                 .in_event = {{.pt = EVENT_IN}, {.pt = EVENT_IN + 1, .hz = 48000}},
                                 .in_event_n = 2,
                                 .out_event = EVENT_OUT,
                                 .out = {.pt = 97, .codec = outs[data[0] / 5 % 8]},
                                 .out_cn = data[1] & 1 ? CN : TRANSCODE_NO_PT,
                                 .ptime_ms = (data[1] >> 1) % 70,
                                 .dtmf = (enum transcode_dtmf)((data[1] >> 1) % 3),
                                 .out_event_hz = data[1] & 64 ? 48000 : 8000,
                                 .listen = data[1] & 2,
                                 .ts = UINT32_MAX - 100,
                                 .seq = UINT16_MAX - 3};
    struct out o = {.c = &c, .seq = c.seq};
    struct transcode_handler h = {.send = on_packet};
    struct transcode *t;
    if (transcode_new(&c, &h, &o, 0, &t))
        return 0;
    struct rtpmsg p = {.seq = 7, .ts = 1000, .ssrc = 1};
    usec now = 0;
    size_t at = 2;
    for (int i = 0; i < PACKETS_MAX && size - at >= HEADER; i++) {
        const uint8_t *d = data + at;
        static const uint8_t types[] = {96, 96, 0, 9, CN, EVENT_IN, EVENT_IN + 1, 18};
        p.pt = types[d[0] & 7];
        p.seq = (uint16_t)(p.seq + (d[0] & 8 ? (int8_t)d[1] * (d[0] & 16 ? 97 : 1) : 1));
        p.ts += (uint32_t)(int16_t)(d[2] << 8 | d[3]) * (d[0] & 32 ? 4099U : 1U);
        p.ssrc = d[0] & 64 ? d[4] : p.ssrc;
        now += (usec)(d[5] + 1) * (d[0] & 128 ? 5000 : 200);
        size_t n = (size_t)(d[6] & 7) << 8 | d[7];
        at += HEADER;
        n = n < size - at ? n : size - at;
        p.payload = (sv){(const char *)data + at, n};
        at += n;
        while (transcode_next(t) <= now && data[1] & 0x80)
            transcode_tick(t, transcode_next(t));
        transcode_tick(t, now);
        o.lost += p.pt == 18 ? lost_before(t, &p) : 0;
        transcode_rtp(t, now, &p);
        if (d[0] == 255 && !transcode_send_digit(t, now, (char)d[1], d[2]) && d[2] & 1)
            transcode_given(t, now, (char)d[1]);
    }
    /* what may come at once, what time allows and a little more, and a frame */
    must(o.sent_ms <= TRANSCODE_CREDIT_MS + (uint64_t)now / 400 + 300);
    transcode_set_loss(t, data[0]);
    transcode_free(t);
    return 0;
}
