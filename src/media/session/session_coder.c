/* SPDX-License-Identifier: MIT */
/* Directions whose payload changes on its way: sound that two sides have no codec in common for. */
#include "session/session_priv.h"

static void set_tick(struct leg *l)
{
    loop_timer_at(l->session->all->loop, &l->tick, transcode_next(l->coder));
}

static void on_tick(struct timer *t, void *arg)
{
    struct leg *l = arg;
    (void)t;
    transcode_tick(l->coder, loop_now(l->session->all->loop));
    set_tick(l);
}

/* What came out goes the way of any other packet. */
static void on_send(void *arg, const struct rtpmsg *p)
{
    struct leg *l = arg;
    struct buf b;
    struct block *out =
        block_new(l->session->all->loop->blocks, RTP_HEADER + p->payload.n + SRTP_ROOM);
    if (!out)
        return;
    buf_init(&b, out->p, out->cap);
    rtpmsg_print(&b, p);
    out->n = (uint32_t)b.n;
    if (!b.rc) {
        session_quality_sent(l->session, &l->session->stream[l->line].leg[!l->side], out->p, out->n,
                             l->coder_hz);
        session_forward(l->session, l->line, l->side, RELAY_RTP, out);
    }
    block_unref(out);
}

static const struct transcode_handler handler = {.send = on_send};

void session_coder_done(struct leg *l)
{
    if (!l->coder)
        return;
    loop_timer_cancel(l->session->all->loop, &l->tick);
    transcode_free(l->coder);
    l->coder = NULL;
}

static enum err make(struct leg *l, const struct transcode_config *c)
{
    l->coder_hz = c->out.codec ? c->out.codec->clock_hz : c->out.clock_hz;
    timer_init(&l->tick, on_tick, l);
    return transcode_new(c, &handler, l, loop_now(l->session->all->loop), &l->coder);
}

enum err session_coder_apply(struct session *s, unsigned line, unsigned side,
                             const struct offer_map *map, unsigned n, const struct offer_leg *to)
{
    struct leg *l = &s->stream[line].leg[side];
    struct transcode_config c;
    enum err rc = transcode_config_of(map, n, to, &c);
    if (rc == ERR_NOTFOUND) {
        session_coder_done(l);
        return ERR_OK;
    }
    TRY(rc);
    if (l->coder) { /* the receiver hears one stream go on */
        c.ssrc = l->coder_ssrc;
        transcode_position(l->coder, &c.seq, &c.ts);
    } else {
        uint64_t chance = loop_random(s->all->loop);
        c.ssrc = l->coder_ssrc = (uint32_t)loop_random(s->all->loop);
        c.seq = (uint16_t)chance;
        c.ts = (uint32_t)(chance >> 32);
    }
    session_coder_done(l);
    return make(l, &c);
}

enum err session_coder_resume(struct leg *l, const struct transcode_config *c)
{
    l->coder_ssrc = c->ssrc;
    TRY(make(l, c));
    set_tick(l);
    return ERR_OK;
}

void session_coder_rtp(struct leg *l, const struct rtpmsg *m)
{
    transcode_rtp(l->coder, loop_now(l->session->all->loop), m);
    set_tick(l);
}
