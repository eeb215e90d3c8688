/* SPDX-License-Identifier: MIT */
/* The SSRC under which a source leaves. Mostly its own. Not where a stream cannot go on under it:
 *
 *   - it went back (it began anew, or plays a file over and over): under the keys of the other side no index may be used
 *     twice, so its receiver could not follow;
 *   - it has the SSRC of the other side's source (RFC 3550 §8.2): each would hear its own name;
 *   - the session was read from a form that may be older than its last packet (session_form.c);
 *   - the keys have no room for one more (SRTP_SSRCS_MAX).
 *
 * Then it has another SSRC, made of chance, or goes on with its numbers moved to where the stream stands; and
 * RTCP of both sides says so. What keeps a key stream from being used twice is srtp.h alone: it refuses. What is known
 * here only brings the stream on again, so that it may be forgotten: the name unused for longest gives way. A sender
 * that changes its SSRC again and again uses up the names of its own direction, and then goes on under its last ones. */
#include "rtcpmsg/rtcpmsg.h"
#include "session/session_priv.h"

/* FAR, NEAR: packets in order, all refused, after which a source is believed to have begun anew; near to the newest they
 * may be a burst of doubles. IN_ORDER: numbers that one may be ahead of the one before. */
enum { FAR = 3, NEAR = 16, IN_ORDER = 16, DRAWS = 4 };

/* ---- what is known ---- */

static struct outgoing *find(const struct transport *t, uint32_t ssrc)
{
    struct outgoings *o = t->outgoing;
    for (unsigned i = 0; o && i < o->n; i++) {
        if (o->e[i].in == ssrc)
            return &o->e[i];
    }
    return NULL;
}

/* By the name that the side knows; two may have it one after the other. */
static const struct outgoing *find_out(const struct transport *t, uint32_t ssrc)
{
    const struct outgoings *o = t->outgoing;
    const struct outgoing *found = NULL;
    for (unsigned i = 0; o && i < o->n; i++) {
        if (o->e[i].out == ssrc && (!found || found->used < o->e[i].used))
            found = &o->e[i];
    }
    return found;
}

static struct outgoing *enter(struct transport *t, uint32_t ssrc)
{
    struct outgoing *e = find(t, ssrc);
    if (e)
        return e;
    if (!t->outgoing && !(t->outgoing = MEM_TAKE(struct outgoings)))
        return NULL;
    struct outgoings *o = t->outgoing;
    if (o->n < OUTGOING) {
        e = &o->e[o->n++];
    } else {
        e = &o->e[0];
        for (unsigned i = 1; i < OUTGOING; i++)
            e = o->e[i].used < e->used ? &o->e[i] : e;
    }
    *e = (struct outgoing){.in = ssrc, .out = ssrc, .used = ++o->used};
    return e;
}

void session_source_done(struct transport *t)
{
    if (t->outgoing)
        MEM_GIVE(t->outgoing);
    t->outgoing = NULL;
}

/* ---- RTCP ---- */

static void put_out(const struct transport *t, uint8_t *p)
{
    const struct outgoing *e = find(t, rtpmsg_u32(p, 0));
    if (e)
        rtpmsg_set_u32(p, 0, e->out);
}

static uint16_t put_in(const struct transport *t, uint8_t *p)
{
    const struct outgoing *e = find_out(t, rtpmsg_u32(p, 0));
    if (!e)
        return 0;
    rtpmsg_set_u32(p, 0, e->in);
    return e->ahead;
}

static void rename_chunks(const struct transport *t, uint8_t *p, size_t n, unsigned chunks)
{
    for (size_t at = 0; chunks > 0 && at + 4 <= n; chunks--) {
        put_out(t, p + at);
        at += 4;
        while (at + 1 < n && p[at] != RTCP_SDES_END)
            at += 2u + p[at + 1];
        at = at / 4 * 4 + 4; /* the end, up to a whole word */
    }
}

/* Whoever speaks: its own names. */
static void rename_speaker(const struct transport *t, struct block *b)
{
    struct rtcp_walk w = {0};
    for (struct rtcpmsg m; rtcpmsg_next(block_sv(b), &w, &m);) {
        uint8_t *p = (uint8_t *)b->p + m.at + RTCP_HEADER;
        size_t ssrcs = m.type == RTCP_BYE ? m.count : 1;
        if (m.type == RTCP_SDES)
            rename_chunks(t, p, m.body.n, m.count);
        else
            for (size_t i = 0; i < ssrcs && 4 * i + 4 <= m.body.n; i++)
                put_out(t, p + 4 * i);
    }
}

static void move_u16(uint8_t *p, uint16_t by)
{
    rtpmsg_set_u16(p, 0, (uint16_t)(rtpmsg_u16(p, 0) - by));
}

/* Entries of so many octets that begin with an SSRC. */
static void restore_each(const struct transport *t, uint8_t *p, size_t n, size_t size)
{
    for (size_t at = 0; at + size <= n; at += size)
        (void)put_in(t, p + at);
}

static void restore_blocks(const struct transport *t, uint8_t *p, size_t n, unsigned blocks)
{
    for (size_t at = 0; blocks > 0 && at + 24 <= n; at += 24, blocks--)
        rtpmsg_set_u32(p + at, 8, rtpmsg_u32(p + at, 8) - put_in(t, p + at));
}

static void restore_feedback(const struct transport *t, const struct rtcpmsg *m, uint8_t *p,
                             size_t n)
{
    struct rtcp_feedback f;
    if (n < 8 || rtcpmsg_feedback(m, &f))
        return;
    uint16_t ahead = put_in(t, p + 4);
    switch (f.kind) {
    case RTCP_FB_NACK:
        for (size_t at = 8; at + 4 <= n; at += 4)
            move_u16(p + at, ahead);
        break;
    case RTCP_FB_TMMBR:
    case RTCP_FB_TMMBN:
    case RTCP_FB_FIR:
        restore_each(t, p + 8, n - 8, 8);
        break;
    case RTCP_FB_REMB: /* its name, how many SSRCs and how much; then they */
        if (n > 16)
            restore_each(t, p + 16, n - 16, 4);
        break;
    default:
        break;
    }
}

static void restore_xr(const struct transport *t, const struct rtcpmsg *m, uint8_t *p)
{
    struct rtcp_xr_walk w = {0};
    for (struct rtcp_xr_block x; rtcpmsg_xr_next(m, &w, &x);) {
        uint8_t *q = p + (x.body.p - m->body.p);
        if (x.type == RTCP_XR_DLRR)
            restore_each(t, q, x.body.n, 12);
        else if (x.type != RTCP_XR_RRTR && x.body.n >= 4) {
            uint16_t ahead = put_in(t, q);
            if (x.type != RTCP_XR_VOIP && x.body.n >= 8) { /* RFC 3611 §4.1 to §4.3, §4.6 */
                move_u16(q + 4, ahead);
                move_u16(q + 6, ahead);
            }
        }
    }
}

void session_source_restore(struct transport *t, struct block *b)
{
    struct rtcp_walk w = {0};
    if (!t->outgoing)
        return;
    for (struct rtcpmsg m; rtcpmsg_next(block_sv(b), &w, &m);) {
        uint8_t *p = (uint8_t *)b->p + m.at + RTCP_HEADER;
        size_t n = m.body.n;
        if (m.type == RTCP_SR && n >= 24)
            restore_blocks(t, p + 24, n - 24, m.count);
        else if (m.type == RTCP_RR && n >= 4)
            restore_blocks(t, p + 4, n - 4, m.count);
        else if (m.type == RTCP_RTPFB || m.type == RTCP_PSFB)
            restore_feedback(t, &m, p, n);
        else if (m.type == RTCP_XR)
            restore_xr(t, &m, p);
    }
}

/* ---- packets ---- */

static void rename_as(const struct outgoing *e, uint16_t seq, struct block *b)
{
    rtpmsg_set_ssrc(b->p, e->out);
    rtpmsg_set_seq(b->p, (uint16_t)(seq + e->ahead));
}

void session_source_rename(struct transport *t, bool rtcp, struct block *b)
{
    if (rtcp) {
        rename_speaker(t, b);
        return;
    }
    struct outgoing *e = find(t, rtpmsg_ssrc(b->p));
    if (!e)
        return;
    e->used = ++t->outgoing->used;
    rename_as(e, rtpmsg_seq(b->p), b);
}

/* A name that nobody has, with the keys of both. */
static bool fresh(struct transport *t, struct outgoing *e)
{
    for (unsigned i = 0; i < DRAWS; i++) {
        uint32_t ssrc = (uint32_t)loop_random(t->session->all->loop);
        enum err rc = ERR_OK;
        for (unsigned c = 0; c < RELAY_COMPONENTS && !rc; c++)
            rc = t->out[c] ? srtp_context_fresh(t->out[c], ssrc) : ERR_OK;
        if (rc == ERR_EXISTS)
            continue;
        if (rc)
            return false;
        e->out = ssrc;
        e->ahead = 0;
        return true;
    }
    return false;
}

/* One more of this source was refused. True: so many in order that it must have begun anew. */
static bool begun_anew(struct stuck *r, uint32_t ssrc, uint16_t seq, uint16_t back)
{
    uint16_t ahead = (uint16_t)(seq - r->seq);
    bool row = r->n > 0 && r->ssrc == ssrc && ahead > 0 && ahead <= IN_ORDER;
    *r = (struct stuck){ssrc, seq, row ? (uint8_t)(r->n + 1) : 1};
    return r->n >= (back >= SRTP_WINDOW ? FAR : NEAR);
}

static bool renew_rtp(struct transport *t, uint32_t ssrc, uint16_t seq, struct block *b)
{
    struct srtp_context *c = t->out[RELAY_RTP];
    struct outgoing *e = find(t, ssrc);
    uint16_t next = 0, ahead = e ? e->ahead : 0;
    bool behind = false, goes_on = srtp_context_next(c, e ? e->out : ssrc, &next, &behind);
    uint16_t back = (uint16_t)(next - 1 - (uint16_t)(seq + ahead));
    if (goes_on && !behind && !begun_anew(&t->stuck, ssrc, seq, back))
        return false;
    e = enter(t, ssrc);
    if (!e)
        return false;
    /* what goes on after its session was read keeps its name; what began anew gets one while there are enough */
    bool keeps = goes_on && (behind || srtp_context_worn(c, 0));
    if (keeps || !fresh(t, e)) {
        if (!goes_on)
            return false;
        e->ahead = (uint16_t)(next - seq);
    }
    t->stuck.n = 0;
    rename_as(e, seq, b);
    return true;
}

bool session_source_renew(struct transport *t, bool rtcp, uint32_t ssrc, uint16_t seq,
                          struct block *b)
{
    if (!rtcp)
        return renew_rtp(t, ssrc, seq, b);
    struct outgoing *e = enter(t, ssrc);
    if (!e || !fresh(t, e))
        return false;
    rtpmsg_set_u32(b->p, 4, ssrc); /* as it came, if it had another name already */
    rename_speaker(t, b);
    return true;
}

/* ---- another source ---- */

static void part(struct transport *t, uint32_t ssrc)
{
    struct outgoing *e = t && !find(t, ssrc) ? enter(t, ssrc) : NULL;
    if (e)
        (void)fresh(t, e);
}

/* No room for another under these keys: it takes the place of the one before it. */
static void succeed(struct transport *t, uint32_t ssrc, uint32_t before)
{
    struct srtp_context *c = t->out[RELAY_RTP];
    const struct outgoing *was = find(t, before);
    uint32_t out = was ? was->out : before;
    uint16_t next;
    bool behind;
    if (!c || c->streams < SRTP_SSRCS_MAX || find(t, ssrc) ||
        srtp_context_next(c, ssrc, &next, &behind))
        return;
    struct outgoing *e = enter(t, ssrc);
    if (e)
        e->out = out; /* its first packets are refused; then it goes on where that stands */
}

void session_source_heard(struct leg *l, uint32_t ssrc)
{
    struct leg *other = &l->session->stream[l->line].leg[!l->side];
    uint32_t before = l->ssrc;
    bool first = !l->heard;
    l->ssrc = ssrc;
    l->heard = true;
    if (l->coder || l->session->alone || !other->transport || !l->transport)
        return;
    if (other->heard && other->ssrc == ssrc) {
        part(other->transport, ssrc);
        part(l->transport, ssrc);
    } else if (!first) {
        succeed(other->transport, ssrc, before);
    }
}
