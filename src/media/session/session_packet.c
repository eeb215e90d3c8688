/* SPDX-License-Identifier: MIT */
/* The way of a packet: keys, source, line, payload type, keys, port. See relay.h for whom a port listens to. */
#include "rtpmsg/rtpmsg.h"
#include "session/session_priv.h"

static struct stats *stats_of(const struct transport *t)
{
    return &relay_loop(t->relay.relay)->stats;
}

/* ---- which line ---- */

/* The one line that says this payload type of this side; lines: none or several. */
static unsigned line_of_type(const struct session *s, const struct transport *t, uint8_t pt)
{
    unsigned found = s->lines;
    for (unsigned i = 0; i < s->lines; i++) {
        const struct leg *l = &s->stream[i].leg[t->side];
        if (l->transport != t || l->to[pt] == PT_NONE)
            continue;
        if (found != s->lines)
            return s->lines;
        found = i;
    }
    return found;
}

static unsigned line_of_source(const struct transport *t, uint32_t ssrc)
{
    for (unsigned i = 0; i < t->sources_n; i++) {
        if (t->source[i].ssrc == ssrc)
            return t->source[i].line;
    }
    return t->session->lines;
}

/* RFC 9143 §9.2: by its source, once that is known, else by its payload type. */
static unsigned line_of_rtp(struct transport *t, const struct rtpmsg *m)
{
    struct session *s = t->session;
    if (!t->shared)
        return t->line;
    unsigned line = line_of_source(t, m->ssrc);
    if (line == s->lines) {
        line = line_of_type(s, t, m->pt);
        if (line == s->lines)
            return line;
        unsigned at = t->sources_n < SOURCES ? t->sources_n++ : m->ssrc % SOURCES;
        t->source[at].ssrc = m->ssrc;
        t->source[at].line = (uint8_t)line;
    }
    return line;
}

/* RTCP by who sent it, or by whom it speaks of; else the line that the transport was made for. */
static unsigned line_of_rtcp(struct transport *t, sv octets)
{
    struct session *s = t->session;
    if (!t->shared || octets.n < 8)
        return t->line;
    unsigned line = s->lines;
    for (size_t at = 4; at <= 8 && at + 4 <= octets.n && line == s->lines; at += 4) {
        line = line_of_source(t, rtpmsg_u32(octets.p, at));
    }
    return line == s->lines ? t->line : line;
}

/* ---- on ---- */

void session_forward(struct session *s, unsigned line, unsigned side, enum relay_component c,
                     struct block *b)
{
    struct leg *from = &s->stream[line].leg[side], *to = &s->stream[line].leg[!side];
    if (!from->receive || !to->send || !to->transport || !to->transport->open)
        return;
    if (session_seal(to->transport, c == RELAY_RTCP, b) &&
        relay_send(&to->transport->relay, c, block_ref(b)))
        from->sent++;
}

static void take_rtp(struct transport *t, struct block *b)
{
    struct rtpmsg m;
    if (rtpmsg_parse(block_sv(b), &m))
        return;
    unsigned line = line_of_rtp(t, &m);
    if (line >= t->session->lines || t->session->stream[line].refused)
        return;
    struct leg *l = &t->session->stream[line].leg[t->side];
    l->packets++;
    l->octets += b->n;
    if (!l->heard || l->ssrc != m.ssrc)
        session_source_heard(l, m.ssrc);
    if (m.pt != l->type_pt)
        session_quality_type(t->session, l, m.pt);
    if (l->clock_hz > 0)
        quality_rx_packet(&l->quality.in, m.ssrc, m.seq, m.ts, m.payload.n,
                          loop_now(t->session->all->loop));
    if (t->session->alone) {
        session_echo(t->session, line, b);
        return;
    }
    session_note_event(l, m.pt);
    if (l->coder) {
        session_coder_rtp(l, &m);
        return;
    }
    uint8_t to = l->to[m.pt];
    if (to > RTP_PT_MAX) {
        stat_add(stats_of(t), STAT_MEDIA_UNKNOWN_TYPE, 1);
        return;
    }
    if (to != m.pt)
        rtpmsg_set_pt((uint8_t *)b->p, to);
    session_forward(t->session, line, t->side, RELAY_RTP, b);
}

static void on_packet(void *arg, struct relay_transport *rt, enum relay_component c, bool rtcp,
                      struct block *b, const struct addr *from)
{
    struct transport *t = arg;
    struct session *s = t->session;
    usec now = loop_now(relay_loop(rt->relay));
    if (!s->applied || !session_unseal(t, c, rtcp, b))
        return;
    const uint8_t *p = (const uint8_t *)b->p;
    if (t->relay.mux)
        c = RELAY_RTP;
    else if (rtcp && !t->relay.opaque)
        c = RELAY_RTCP; /* wherever it came in: it does not say where RTP is to go */
    struct relay_path *path = &t->relay.path[c];
    if (t->relay.opaque) {
        if (relay_path_hear(path, from, 0, 0, now)) {
            s->heard[t->side] = now;
            session_forward(s, t->line, t->side, c, b);
        }
        return;
    }
    uint32_t ssrc = rtcp ? rtpmsg_u32(p, 4) : rtpmsg_ssrc(p);
    uint16_t seq = rtcp ? 0 : rtpmsg_seq(p);
    if (!relay_path_hear(path, from, ssrc, seq, now)) {
        t->foreign++;
        stat_add(stats_of(t), STAT_MEDIA_FOREIGN, 1);
        return;
    }
    s->heard[t->side] = now;
    if (path->ice)
        session_ice_heard(t, c, from);
    if (!rtcp) {
        take_rtp(t, b);
        return;
    }
    session_source_restore(t, b);
    unsigned line = line_of_rtcp(t, block_sv(b));
    if (!s->stream[line].refused && session_quality_rtcp(s, line, t->side, block_sv(b)))
        session_forward(s, line, t->side, RELAY_RTCP, b);
}

const struct relay_handler session_packets = {.on_other = session_on_other, .on_packet = on_packet};
