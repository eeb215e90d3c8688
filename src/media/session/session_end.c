/* SPDX-License-Identifier: MIT */
/* Sessions of one side: what comes from it goes back to it, or a file is played to it. */
#include <assert.h>

#include "session/session_priv.h"

enum { FRAME_MS = 20, FRAME_MAX = 960 };
#define FRAME (FRAME_MS * USEC_MS)

/* What is played, and how far it is. */
struct playing {
    struct session *session;
    struct file_sound *sound;
    struct file_player player;
    struct codec_encoder *encoder;
    const struct codec *codec;
    struct timer timer;
    usec due; /* the next frame */
    uint32_t ts;
    uint16_t seq;
    uint8_t pt;
    bool begun;
};

static void send_block(struct leg *l, struct block *b)
{
    struct transport *t = l->transport;
    session_quality_sent(l->session, l, b->p, b->n, l->clock_hz);
    if (l->send && t && t->open && session_seal(t, false, b) &&
        relay_send(&t->relay, RELAY_RTP, block_ref(b)))
        l->sent++;
}

void session_echo(struct session *s, unsigned line, struct block *b)
{
    struct leg *l = &s->stream[line].leg[SESSION_OFFERER];
    if (s->playing)
        return;
    rtpmsg_set_ssrc(b->p, s->ssrc); /* one's own SSRC coming back is a collision (RFC 3550 §8.2) */
    send_block(l, b);
}

/* ---- playing ---- */

static void send_frame(struct playing *x, const int16_t *pcm, size_t n)
{
    struct session *s = x->session;
    struct block *b = block_new(s->all->loop->blocks, RTP_HEADER + CODEC_PAYLOAD_MAX + SRTP_ROOM);
    size_t payload = 0;
    uint32_t ticks = x->codec->clock_hz / 1000 * FRAME_MS;
    if (b &&
        codec_encode(x->encoder, pcm, n, (uint8_t *)b->p + RTP_HEADER, CODEC_PAYLOAD_MAX,
                     &payload) == ERR_OK &&
        payload > 0) {
        rtpmsg_put_header((uint8_t *)b->p, !x->begun, x->pt, x->seq++, x->ts, s->ssrc);
        b->n = (uint32_t)(RTP_HEADER + payload);
        x->begun = true;
        send_block(&s->stream[s->sound_line].leg[SESSION_OFFERER], b);
    }
    x->ts += ticks;
    block_unref(b);
}

static void on_frame(struct timer *t, void *arg)
{
    struct playing *x = arg;
    struct session *s = x->session;
    struct loop *l = s->all->loop;
    int16_t pcm[FRAME_MAX];
    size_t n = x->sound->rate_hz / 1000 * FRAME_MS;
    bool more = true;
    /* a turn that was late makes up for it */
    for (; more && x->due <= loop_now(l); x->due += FRAME) {
        more = file_next(&x->player, pcm, n);
        send_frame(x, pcm, n);
    }
    s->heard[SESSION_OFFERER] = loop_now(l); /* who listens need not speak */
    if (more)
        loop_timer(l, t, x->due - loop_now(l));
    else
        session_tell(s, SESSION_PLAYED, SESSION_OFFERER, SV("the end of the file"));
}

void session_play_done(struct session *s)
{
    struct playing *x = s->playing;
    if (!x)
        return;
    loop_timer_cancel(s->all->loop, &x->timer);
    codec_encoder_free(x->encoder);
    file_free(x->sound);
    MEM_GIVE(x);
    s->playing = NULL;
}

enum err session_sound(struct sessions *m, struct session_id id, uint32_t *ret_hz)
{
    const struct session *s = session_find(m, id);
    if (!s || !s->sound)
        return ERR_NOTFOUND;
    *ret_hz = codec_best_rate(s->sound);
    return ERR_OK;
}

enum err session_play(struct sessions *m, struct session_id id, struct file_sound *sound, bool loop)
{
    struct session *s = session_find(m, id);
    struct playing *x = s && s->sound ? MEM_TAKE(struct playing) : NULL;
    if (!x) {
        file_free(sound);
        return s ? ERR_NOMEM : ERR_NOTFOUND;
    }
    session_play_done(s);
    s->playing = x;
    *x = (struct playing){.session = s,
                          .sound = sound,
                          .codec = s->sound,
                          .pt = s->sound_pt,
                          .due = loop_now(m->loop),
                          .ts = (uint32_t)loop_random(m->loop),
                          .seq = (uint16_t)loop_random(m->loop)};
    assert(sound->rate_hz <= CODEC_RATE_MAX);
    timer_init(&x->timer, on_frame, x);
    file_play(&x->player, sound, loop);
    enum err rc = codec_encoder_new(s->sound, sound->rate_hz, &s->sound_wish, &x->encoder);
    if (rc) {
        session_play_done(s);
        return rc;
    }
    loop_timer(m->loop, &x->timer, 0);
    return ERR_OK;
}

/* The codec of the first line that has sound of ours. */
void session_sound_of(struct session *s, const struct offer_plan *plan)
{
    s->sound = NULL;
    for (unsigned i = 0; i < plan->n && !s->sound; i++) {
        const struct offer_stream *o = &plan->streams[i];
        if (o->refused || o->kind != OFFER_AUDIO || o->map_n[0] == 0)
            continue;
        const struct offer_codec *c = &o->map[0][0].in;
        s->sound = codec_find(c->name, c->clock_hz, c->channels);
        s->sound_pt = c->pt;
        s->sound_line = (uint8_t)i;
        codec_wish_read(c->fmtp, &s->sound_wish);
    }
    if (s->playing && s->sound == s->playing->codec)
        s->playing->pt = s->sound_pt;
    else
        session_play_done(s);
}
