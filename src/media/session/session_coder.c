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
    l->coder_ssrc = p->ssrc;
    l->coder_spoke = true;
    buf_init(&b, out->p, out->cap);
    rtpmsg_print(&b, p);
    out->n = (uint32_t)b.n;
    if (!b.rc) {
        if (!l->coder_follows)
            session_quality_sent(l->session, &l->session->stream[l->line].leg[!l->side], out->p,
                                 out->n, l->coder_hz);
        session_forward(l->session, l->line, l->side, RELAY_RTP, out);
    }
    block_unref(out);
}

/* ---- keys ---- */

/* What comes by another way within this time is the same press. */
#define SAME USEC_S

/* As many at once as come in a second, and no more in each that follows. */
static bool may_tell(struct leg *l, usec now)
{
    if (l->digits_at < now - USEC_S)
        l->digits_at = now - USEC_S;
    if (l->digits_at >= now)
        return false;
    l->digits_at += USEC_S / SESSION_DIGITS;
    return true;
}

static void on_digit(void *arg, char digit, uint32_t ms)
{
    struct leg *l = arg;
    usec now = loop_now(l->session->all->loop);
    if (l->event_pt[0] != PT_NONE) {
        l->events_heard = true;
    } else {
        l->tone = digit;
        l->tone_at = now;
    }
    if (l->tells && may_tell(l, now))
        session_tell_digit(l->session, l->side, digit, ms);
}

static struct leg *leg_of_sound(struct session *s, unsigned side)
{
    for (unsigned i = 0; i < s->lines; i++) {
        if (s->stream[i].kind == OFFER_AUDIO && !s->stream[i].refused)
            return &s->stream[i].leg[side];
    }
    return NULL;
}

enum err session_digit(struct sessions *m, struct session_id id, unsigned side, char digit,
                       uint32_t ms, bool known)
{
    struct session *s = session_find(m, id);
    struct leg *l = s && !s->alone ? leg_of_sound(s, side) : NULL;
    usec now = loop_now(m->loop);
    if (!l)
        return ERR_NOTFOUND;
    if (!known && (l->events_heard || (l->tone == digit && now - l->tone_at < SAME)))
        return ERR_EXISTS;
    if (!l->coder)
        return ERR_UNSUPPORTED;
    TRY(transcode_send_digit(l->coder, now, digit, ms));
    if (!known)
        transcode_given(l->coder, now, digit);
    set_tick(l);
    return ERR_OK;
}

static void note_events(struct leg *l, const struct offer_map *map, unsigned n)
{
    unsigned k = 0;
    memset(l->event_pt, PT_NONE, sizeof(l->event_pt));
    for (unsigned i = 0; i < n && k < EVENTS; i++) {
        if (map[i].in.id == CODEC_EVENT)
            l->event_pt[k++] = map[i].from;
    }
}

/* ---- the coder ---- */

enum { PACKET_MS = 20 }; /* of which nothing else is known */

static const struct transcode_handler handler = {.send = on_send, .on_digit = on_digit};

void session_coder_done(struct leg *l)
{
    if (!l->coder)
        return;
    loop_timer_cancel(l->session->all->loop, &l->tick);
    transcode_free(l->coder);
    l->coder = NULL;
}

static uint32_t clock_of(const struct transcode_config *c)
{
    return c->out.codec ? c->out.codec->clock_hz : c->out.clock_hz;
}

static enum err make(struct leg *l, const struct transcode_config *c)
{
    l->coder_follows = c->follow;
    l->coder_hz = clock_of(c);
    timer_init(&l->tick, on_tick, l);
    return transcode_new(c, &handler, l, loop_now(l->session->all->loop), &l->coder);
}

/* ---- whose name it has ----
 *
 * RFC 3550 §8.2 lets a stream change its SSRC. Phones exist whose buffer is deaf to the next one if its numbers are lower:
 * who has heard a stream hears it go on, whether it passes or is made here. Not with another clock, which needs another
 * SSRC (RFC 7160 §4.1). */

static void begin_anew(struct leg *l, struct transcode_config *c)
{
    struct loop *loop = l->session->all->loop;
    uint64_t chance = loop_random(loop);
    c->ssrc = (uint32_t)loop_random(loop);
    c->seq = (uint16_t)chance;
    c->ts = (uint32_t)(chance >> 32);
    l->coder_spoke = false;
}

/* Behind what passed until now. The name is the source's: what it is called on the other side is session_source.c's to say.
 * False: nothing has passed that it could go on with. */
static bool begin_behind(struct leg *l, struct transcode_config *c, struct transcode_place *ret)
{
    const struct quality_rx *q = &l->quality.in;
    uint32_t ts, hz = q->clock_hz;
    uint16_t seq;
    if (!l->heard || hz != clock_of(c) || c->follow || !quality_rx_last(q, l->ssrc, &seq, &ts))
        return false;
    uint32_t length = q->step > 0 ? q->step : hz / (1000 / PACKET_MS);
    usec heard = l->session->heard[l->side];
    *ret = (struct transcode_place){.ssrc = l->ssrc,
                                    .seq = (uint16_t)(seq + 1),
                                    .ts = ts + length,
                                    .hz = hz,
                                    .due = heard + (usec)length * USEC_S / hz};
    c->ssrc = ret->ssrc;
    c->seq = ret->seq;
    c->ts = ret->ts;
    l->coder_spoke = true;
    if (quality_rx_valid(q) && q->ssrc == l->ssrc)
        quality_sent_passed(&l->session->stream[l->line].leg[!l->side].quality, &l->quality);
    return true;
}

/* The stream that it made goes on no more; next: what goes on in its place. */
static void ends(struct leg *l, uint32_t next)
{
    if (l->coder && l->coder_spoke && !l->coder_follows && l->coder_ssrc != next)
        session_quality_left(l->session, &l->session->stream[l->line].leg[!l->side]);
}

/* It goes on with what it was until now. */
static enum err make_next(struct leg *l, struct transcode_config *c)
{
    struct transcode *former = l->coder;
    struct transcode_place place = {.hz = 0};
    bool behind = !former && begin_behind(l, c, &place);
    if (former && clock_of(c) == l->coder_hz) {
        c->ssrc = l->coder_ssrc;
        transcode_position(former, &c->seq, &c->ts);
    } else if (!behind) {
        ends(l, 0);
        begin_anew(l, c);
    }
    l->coder_ssrc = c->ssrc;
    if (former)
        loop_timer_cancel(l->session->all->loop, &l->tick);
    l->coder = NULL;
    enum err rc = make(l, c);
    if (!rc && former)
        transcode_succeed(l->coder, former);
    else if (!rc && behind)
        transcode_behind(l->coder, &place);
    transcode_free(former);
    return rc;
}

enum err session_coder_apply(struct session *s, unsigned line, unsigned side,
                             const struct offer_map *map, unsigned n, const struct offer_leg *to)
{
    struct leg *l = &s->stream[line].leg[side];
    struct transcode_config c = {.ssrc = 0};
    bool ours = l->coder && l->coder_spoke && !l->coder_follows;
    note_events(l, map, n);
    l->tells = to->dtmf == OFFER_DTMF_INFO;
    enum err rc = transcode_config_of(map, n, to, ours, &c);
    if (!rc && ours && clock_of(&c) != l->coder_hz)
        rc = transcode_config_of(map, n, to, false, &c);
    if (rc == ERR_NOTFOUND) {
        ends(l, l->ssrc);
        session_coder_done(l);
        return ERR_OK;
    }
    TRY(rc);
    return make_next(l, &c);
}

enum err session_coder_resume(struct leg *l, const struct transcode_config *c)
{
    l->coder_ssrc = c->ssrc;
    l->coder_spoke = true;
    TRY(make(l, c));
    set_tick(l);
    return ERR_OK;
}

void session_coder_rtp(struct leg *l, const struct rtpmsg *m)
{
    transcode_rtp(l->coder, loop_now(l->session->all->loop), m);
    set_tick(l);
}
