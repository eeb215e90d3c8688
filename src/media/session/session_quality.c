/* SPDX-License-Identifier: MIT */
/* What each side hears: counted as it passes, told by its RTCP; and RTCP of ours where a stream ends here. */
#include "session/session_priv.h"

#define INTERVAL    (5 * USEC_S)
#define BANDWIDTH   8000 /* octets a second of a stream that ends here: of sound */
#define RTCP_PACKET 1200

/* ---- what codec is heard ---- */

static const struct quality_codec *quality_of(enum offer_codec_id id)
{
    switch (id) {
    case CODEC_PCMU:
    case CODEC_PCMA:
        return &quality_g711;
    case CODEC_G722:
        return &quality_g722;
    case CODEC_OPUS:
        return &quality_opus;
    default:
        return &quality_unknown;
    }
}

/* As a=rtpmap has it. */
static void put_name(char *to, const struct offer_codec *c)
{
    struct buf b;
    buf_init(&b, to, SESSION_CODEC_MAX - 1);
    buf_put(&b, sv_sub(c->name, 0, 12));
    buf_char(&b, '/');
    buf_u64(&b, c->clock_hz);
    if (c->channels > 1) {
        buf_char(&b, '/');
        buf_u64(&b, c->channels);
    }
    to[b.n] = '\0';
}

static bool is_main(const struct offer_codec *c)
{
    return c->clock_hz > 0 && (c->id == CODEC_OTHER || c->id < CODEC_CN);
}

/* Who hears what comes from this side: an echo comes back to it, and so does a file. */
static unsigned listener(const struct session *s, const struct leg *l)
{
    return s->alone ? l->side : !l->side;
}

/* The codec that comes is l->type[i]. */
static void hear(struct session *s, struct leg *l, unsigned i)
{
    const struct sound_type *h = &l->type[i];
    l->type_now = (uint8_t)i;
    l->clock_hz = h->clock_hz;
    quality_rx_clock(&l->quality.in, h->clock_hz);
    l->quality.codec_in = h->worth;
    s->stream[l->line].leg[listener(s, l)].quality.codec_out = h->worth;
}

void session_quality_apply(struct session *s, unsigned line, unsigned side,
                           const struct offer_map *map, unsigned n)
{
    struct leg *l = &s->stream[line].leg[side];
    unsigned types = 0;
    for (unsigned i = 0; i < n && types < TYPES_MAX; i++) {
        if (!is_main(&map[i].in))
            continue;
        struct sound_type *h = &l->type[types++];
        *h = (struct sound_type){
            .pt = map[i].from, .clock_hz = map[i].in.clock_hz, .worth = quality_of(map[i].out.id)};
        put_name(h->name, &map[i].in);
        put_name(h->left_as, &map[i].out);
    }
    if (types == 0)
        return;
    const struct quality_codec *told = l->quality.codec_out; /* by the other side's map */
    if (l->clock_hz == 0) {
        quality_leg_init(&l->quality, l->type[0].clock_hz);
        l->quality.codec_out = told ? told : l->quality.codec_out;
    }
    l->types_n = (uint8_t)types;
    l->type_pt = PT_NONE;
    hear(s, l, 0);
}

/* Events, noise and repair data go by the clock of the sound that they come with. */
void session_quality_type(struct session *s, struct leg *l, uint8_t pt)
{
    l->type_pt = pt;
    for (unsigned i = 0; i < l->types_n; i++) {
        if (l->type[i].pt == pt && i != l->type_now)
            hear(s, l, i);
    }
}

/* ---- intervals ---- */

static void end_interval(struct session *s, struct leg *l, const struct leg *other)
{
    struct stats *stats = &s->all->loop->stats;
    const struct quality_counts *c = &l->quality.in.total;
    if (l->clock_hz == 0)
        return;
    uint64_t lost = c->expected > c->received ? c->expected - c->received : 0;
    if (lost > l->lost_told) {
        stat_add(stats, STAT_MEDIA_LOST, (int64_t)(lost - l->lost_told));
        l->lost_told = lost;
    }
    quality_interval(&l->quality, other->clock_hz ? &other->quality : NULL, loop_now(s->all->loop));
}

void session_on_interval(struct timer *t, void *arg)
{
    struct session *s = arg;
    for (unsigned i = 0; i < s->lines; i++) {
        for (unsigned side = 0; side < SESSION_SIDES; side++)
            end_interval(s, &s->stream[i].leg[side], &s->stream[i].leg[!side]);
    }
    loop_timer_about(s->all->loop, t, INTERVAL);
}

void session_quality_begin(struct session *s)
{
    loop_timer_about(s->all->loop, &s->interval, INTERVAL);
}

/* A file is heard by who called, and what he says meanwhile is not what he hears. */
static void figures_of_file(const struct leg *l, struct session_figures *ret)
{
    ret->told = quality_out(&l->quality, NULL, &ret->span);
    if (ret->told) {
        ret->worst = l->quality.worst_out;
        ret->last = l->quality.last_out;
    }
}

void session_quality_figures(const struct session *s, const struct leg *l,
                             struct session_figures *ret)
{
    const struct leg *to = &s->stream[l->line].leg[listener(s, l)];
    if (s->playing) {
        figures_of_file(l, ret);
    } else {
        quality_direction(&l->quality, &to->quality, &ret->span, &ret->worst);
        ret->told = quality_last(&l->quality, &to->quality, &ret->last);
    }
    quality_in(&l->quality, to->clock_hz > 0 ? &to->quality : NULL, &ret->here);
    memcpy(ret->codec, l->type[l->type_now].name, SESSION_CODEC_MAX);
    memcpy(ret->left_as, l->type[l->type_now].left_as, SESSION_CODEC_MAX);
}

/* The call's own score joins those of others. */
void session_quality_end(struct session *s)
{
    loop_timer_cancel(s->all->loop, &s->interval);
    for (unsigned i = 0; i < s->lines; i++) {
        for (unsigned side = 0; side < SESSION_SIDES; side++) {
            struct leg *l = &s->stream[i].leg[side], *other = &s->stream[i].leg[!side];
            struct session_figures f = {.told = false};
            loop_timer_cancel(s->all->loop, &l->report);
            if (l->clock_hz == 0 || s->stream[i].kind != OFFER_AUDIO)
                continue;
            end_interval(s, l, other);
            session_quality_figures(s, l, &f);
            if (f.span.mos > 0)
                stat_mos(&s->all->loop->stats, f.span.mos);
        }
    }
}

/* ---- RTCP ---- */

/* A stream that is made anew here, or ends here, has reports of ours. */
static bool ends_here(const struct session *s, const struct leg *l)
{
    const struct leg *both = s->stream[l->line].leg;
    bool made = false;
    for (unsigned i = 0; i < SESSION_SIDES; i++)
        made = made || (both[i].coder && !both[i].coder_follows);
    return s->alone || made;
}

bool session_quality_rtcp(struct session *s, unsigned line, unsigned side, sv datagram)
{
    struct leg *l = &s->stream[line].leg[side], *other = &s->stream[line].leg[!side];
    usec now = loop_now(s->all->loop);
    enum err rc = ERR_OK;
    if (l->clock_hz == 0)
        return !ends_here(s, l);
    if (ends_here(s, l)) {
        rc = quality_received(&l->quality, datagram, now);
        struct quality_span heard;
        if (!rc && other->coder && quality_out(&l->quality, NULL, &heard))
            transcode_set_loss(other->coder, (unsigned)(100 * heard.loss));
        return false;
    }
    rc = quality_passed(&l->quality, &other->quality, datagram, now);
    return !rc; /* what is no RTCP goes no further */
}

static void set_report(struct session *s, struct leg *l)
{
    loop_timer_at(s->all->loop, &l->report, quality_rtcp_due(&l->quality));
}

/* Of a stream of which nothing has left yet, the name is known all the same. */
static uint32_t our_ssrc(const struct session *s, const struct leg *l)
{
    const struct leg *other = &s->stream[l->line].leg[!l->side];
    if (l->quality.tx.clock_hz > 0)
        return l->quality.tx.ssrc;
    return other->coder ? other->coder_ssrc : s->ssrc;
}

/* A report to l; bye: the last. False: no memory. */
static bool report(struct session *s, struct leg *l, bool bye)
{
    struct loop *loop = s->all->loop;
    struct block *b = block_new(loop->blocks, RTCP_PACKET + SRTCP_ROOM);
    struct buf out;
    bool said = l->xr & OFFER_XR_SAID;
    struct quality_rtcp r = {.ssrc = our_ssrc(s, l),
                             .cname = s->cname_n ? (sv){s->cname, s->cname_n} : SV("-"),
                             .voip = said ? l->xr & OFFER_XR_VOIP : l->quality.out.has_voip,
                             .rrtr = l->xr & OFFER_XR_RTT};
    if (!b)
        return false;
    buf_init(&out, b->p, RTCP_PACKET);
    if (bye)
        quality_rtcp_bye(&l->quality, &out, &r, SV_NONE, loop_now(loop), loop_wall(loop));
    else
        quality_rtcp_put(&l->quality, &out, &r, loop_now(loop), loop_wall(loop),
                         (uint32_t)loop_random(loop));
    b->n = (uint32_t)out.n;
    if (!out.rc && b->n > 0 && l->transport && l->transport->open &&
        session_seal(l->transport, true, b))
        relay_send(&l->transport->relay, RELAY_RTCP, block_ref(b));
    block_unref(b);
    return true;
}

static void on_report(struct timer *t, void *arg)
{
    struct leg *l = arg;
    struct session *s = l->session;
    if (!ends_here(s, l)) /* any more: the sides' own reports pass */
        return;
    if (report(s, l, false))
        set_report(s, l);
    else
        loop_timer(s->all->loop, t, USEC_S);
}

static void begin_reports(struct session *s, struct leg *l)
{
    if (l->clock_hz == 0 || timer_armed(&l->report))
        return;
    timer_init(&l->report, on_report, l);
    quality_rtcp_start(&l->quality, BANDWIDTH, loop_now(s->all->loop),
                       (uint32_t)loop_random(s->all->loop));
    set_report(s, l);
}

void session_quality_reports(struct session *s)
{
    for (unsigned i = 0; i < s->lines; i++) {
        for (unsigned side = 0; side < SESSION_SIDES; side++) {
            struct leg *l = &s->stream[i].leg[side];
            if (l->transport && !s->stream[i].refused && ends_here(s, l))
                begin_reports(s, l);
        }
    }
}

void session_quality_left(struct session *s, struct leg *l)
{
    if (l->quality.tx.clock_hz == 0)
        return;
    (void)report(s, l, true);
    l->quality.tx = (struct quality_tx){.ssrc = 0};
}

void session_quality_bye(struct session *s)
{
    for (unsigned i = 0; i < s->lines; i++) {
        for (unsigned side = 0; side < SESSION_SIDES; side++) {
            struct leg *l = &s->stream[i].leg[side];
            if (l->clock_hz > 0 && !s->stream[i].refused && ends_here(s, l))
                (void)report(s, l, true);
        }
    }
}

void session_quality_sent(struct session *s, struct leg *l, const void *rtp, size_t n,
                          uint32_t clock_hz)
{
    if (l->clock_hz == 0 || n < RTP_HEADER)
        return;
    quality_sent_packet(&l->quality, rtpmsg_ssrc(rtp), clock_hz, rtpmsg_ts(rtp), n - RTP_HEADER,
                        loop_now(s->all->loop));
    begin_reports(s, l); /* of a session that another process began */
}
