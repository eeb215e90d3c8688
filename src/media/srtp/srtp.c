/* SPDX-License-Identifier: MIT */
/* srtp/srtp.c: packets of RTP and RTCP: which index they have, whether they may have it, in which order what
 * happens to them (RFC 3711 §3.3, §3.4).
 *
 *   RTP    header, CSRCs, extension | payload |                  tag
 *          in clear                 | AES     |
 *   RTCP   8 octets                 | the rest | E, index (31)   tag        AEAD: tag, then E and index
 */
#include "srtp/srtp_priv.h"
#include "rtpmsg/rtpmsg.h"
#include <assert.h>

enum { IN_CLEAR = 8, E_AND_INDEX = 4 }; /* of RTCP: the first octets, those behind */
enum { SEQ_HALF = 0x8000, ATTEMPTS = 3 };

/* Octets before the payload. n: without what SRTP adds. 0: no RTP. */
static size_t rtp_header(const uint8_t *p, size_t n)
{
    struct rtpmsg m;
    return rtpmsg_parse_protected((sv){(const char *)p, n}, &m) ? 0 : rtpmsg_payload_at(&m);
}

/* ---- windows (RFC 3711 §3.3.2) ---- */

/* index was not there yet and is not too old to tell. */
static bool window_allows(const struct srtp_window *w, uint64_t index)
{
    if (index > w->top || srtp_window_empty(w))
        return true;
    uint64_t back = w->top - index;
    return back < SRTP_WINDOW && !(w->seen[back / 64] >> back % 64 & 1);
}

static void window_move(struct srtp_window *w, uint64_t by)
{
    if (by >= SRTP_WINDOW) {
        w->seen[0] = w->seen[1] = 0;
    } else if (by >= 64) {
        w->seen[1] = w->seen[0] << (by - 64);
        w->seen[0] = 0;
    } else if (by > 0) {
        w->seen[1] = w->seen[1] << by | w->seen[0] >> (64 - by);
        w->seen[0] <<= by;
    }
}

static void window_take(struct srtp_window *w, uint64_t index)
{
    if (srtp_window_empty(w) || index > w->top) {
        window_move(w, srtp_window_empty(w) ? SRTP_WINDOW : index - w->top);
        w->top = index;
    }
    uint64_t back = w->top - index;
    w->seen[back / 64] |= 1ULL << back % 64;
}

/* One of a receiver that was read from a form which is behind: what lies before the first packet that comes now may
 * have come in between, so that it is too old to tell. */
static void window_take_behind(struct srtp_window *w, uint64_t index, bool *behind)
{
    bool newer = *behind && index > w->top;
    window_take(w, index);
    if (newer) {
        w->seen[0] = w->seen[1] = UINT64_MAX;
        *behind = false;
    }
}

/* Only this one was seen. */
static void window_begin(struct srtp_window *w, uint64_t index)
{
    *w = (struct srtp_window){.top = index, .seen = {1, 0}};
}

/* ---- indices ---- */

/* RFC 3711 §3.3.1: of the three that seq may stand for the one that is nearest to the newest. There is none below
 * zero: then the first round counts. May be one more than there are. */
static uint64_t estimate(const struct srtp_window *w, uint16_t seq)
{
    if (srtp_window_empty(w))
        return seq;
    uint64_t roc = w->top >> 16;
    uint16_t newest = (uint16_t)w->top;
    if (newest < SEQ_HALF && seq > newest + SEQ_HALF && roc > 0)
        roc--;
    else if (newest >= SEQ_HALF && seq < newest - SEQ_HALF)
        roc++;
    return roc << 16 | seq;
}

/* Before the first packet of a stream: a few below zero. To take them for a whole round later would be allowed,
 * and make a receiver that follows RFC 3711 to the letter lose the stream. */
static bool before_first(const struct srtp_window *w, uint16_t seq)
{
    uint16_t back = (uint16_t)((uint16_t)w->top - seq);
    return !srtp_window_empty(w) && w->top < SRTP_WINDOW && back > (uint16_t)w->top &&
           back < SRTP_WINDOW;
}

/* ---- sending ---- */

enum err srtp_rtp_protect(struct srtp_context *c, uint8_t *p, size_t *n, size_t cap)
{
    static const struct srtp_window none;
    assert(c->engine && c->role == SRTP_SENDER);
    size_t header = rtp_header(p, *n), tag = srtp_suite_info(c->keys.suite)->tag;
    if (header == 0)
        return ERR_SYNTAX;
    if (*n > SRTP_PACKET_MAX - tag || *n > cap || cap - *n < tag)
        return ERR_TOOBIG;
    uint16_t seq = rtpmsg_seq(p);
    uint32_t ssrc = rtpmsg_ssrc(p);
    struct srtp_stream *s = srtp_stream_find(c, ssrc);
    const struct srtp_window *w = s ? &s->rtp : &none;
    uint64_t index = estimate(w, seq);
    if (index > SRTP_INDEX_MAX || c->keys.packets >= SRTP_PACKETS_MAX)
        return ERR_STATE;
    /* an SSRC that a form which is behind does not know may have been used by who wrote it */
    if (s ? index > s->rtp_end || !window_allows(w, index) || before_first(w, seq) : c->behind)
        return ERR_EXISTS;
    if (!s && !(s = srtp_stream_add(c, ssrc)))
        return ERR_NOMEM;
    struct srtp_packet q = {&c->keys, c->engine, p, header, *n, ssrc, index};
    *n += srtp_seal_rtp(&q);
    window_take(&s->rtp, index);
    s->rtp_behind = false;
    srtp_stream_used(c, s);
    c->keys.packets++;
    return ERR_OK;
}

enum err srtp_rtcp_protect(struct srtp_context *c, uint8_t *p, size_t *n, size_t cap)
{
    assert(c->engine && c->role == SRTP_SENDER);
    size_t more = srtp_suite_info(c->keys.suite)->rtcp_tag + (size_t)E_AND_INDEX;
    if (*n < IN_CLEAR || p[0] >> 6 != 2)
        return ERR_SYNTAX;
    if (*n > SRTP_PACKET_MAX - more || *n > cap || cap - *n < more)
        return ERR_TOOBIG;
    uint32_t ssrc = rtpmsg_u32(p, 4);
    struct srtp_stream *s = srtp_stream_find(c, ssrc);
    /* §3.4: zero before the first, one more with each, not reset by new keys. */
    uint64_t index = s && !srtp_window_empty(&s->rtcp) ? s->rtcp.top + 1 : 0;
    if (index > SRTCP_INDEX_MAX || c->keys.rtcp_packets >= SRTCP_PACKETS_MAX)
        return ERR_STATE;
    if (s ? index > s->rtcp_end : c->behind)
        return ERR_EXISTS;
    if (!s && !(s = srtp_stream_add(c, ssrc)))
        return ERR_NOMEM;
    struct srtp_packet q = {&c->keys, c->engine, p, IN_CLEAR, *n, ssrc, index};
    *n += srtp_seal_rtcp(&q);
    window_take(&s->rtcp, index);
    srtp_stream_used(c, s);
    c->keys.rtcp_packets++;
    return ERR_OK;
}

/* ---- receiving ---- */

/* Keys and an index to try a packet of RTP with. */
struct attempt {
    struct srtp_keys *keys;
    uint64_t index;
    bool old;
};

static unsigned add_attempt(struct attempt *a, unsigned n, struct srtp_keys *keys, uint64_t index,
                            bool old)
{
    for (unsigned i = 0; i < n; i++)
        if (a[i].keys == keys && a[i].index == index)
            return n;
    a[n] = (struct attempt){keys, index, old};
    return n + 1;
}

/* What a packet may be, likeliest first. One of a stream in its course has one index with one key, which must be
 * new. Beyond that:
 *   - while keys change, packets with the old ones are under way;
 *   - with the first packet under new keys a sender may have begun anew (RFC 4568 §7.1.4);
 *   - of a new SSRC the first packets may be lost and its sequence number have wrapped already, which RFC 4568
 *     §6.4 knows as a gap of the protocol. The authentication covers ROC, so that it tells.
 * Errors: ERR_EXISTS, ERR_STATE; there are none then. */
static enum err attempts(struct srtp_context *c, const struct srtp_stream *s, uint16_t seq,
                         struct attempt *a, unsigned *ret_n)
{
    static const struct srtp_window none;
    const struct srtp_window *w = s ? &s->rtp : &none;
    uint64_t index = estimate(w, seq);
    bool fits = index <= SRTP_INDEX_MAX, fresh = fits && window_allows(w, index);
    unsigned n = 0;
    if (!srtp_window_empty(w) && s->rtp_key == c->keys.number) {
        if (!fresh)
            return fits ? ERR_EXISTS : ERR_STATE;
        n = add_attempt(a, n, &c->keys, index, false);
        if (c->old)
            n = add_attempt(a, n, c->old, index, true);
    } else {
        if (c->old && fresh)
            n = add_attempt(a, n, c->old, index, true);
        if (fits)
            n = add_attempt(a, n, &c->keys, index, false);
        uint64_t other = srtp_window_empty(w) && seq < SEQ_HALF ? 0x10000U | seq : seq;
        n = add_attempt(a, n, &c->keys, other, false);
    }
    *ret_n = n;
    return ERR_OK;
}

/* An authentic packet changes what is known of its SSRC. What the old keys have protected is older than all with
 * the present ones: an index that is not above it belongs to a stream that began anew. */
static void rtp_received(struct srtp_context *c, struct srtp_stream *s, const struct attempt *a)
{
    bool first = s->rtp_key != a->keys->number;
    bool anew = first && !a->old && !srtp_window_empty(&s->rtp) && a->index <= s->rtp.top;
    if (anew)
        window_begin(&s->rtp, a->index);
    else
        window_take_behind(&s->rtp, a->index, &s->rtp_behind);
    if (!a->old || s->rtp_key == 0)
        s->rtp_key = a->keys->number;
    srtp_stream_used(c, s);
    a->keys->packets++;
    if (!a->old)
        srtp_keys_proven(c, anew);
}

enum err srtp_rtp_unprotect(struct srtp_context *c, uint8_t *p, size_t *n)
{
    assert(c->engine && c->role == SRTP_RECEIVER);
    if (*n > SRTP_PACKET_MAX)
        return ERR_TOOBIG;
    if (rtp_header(p, *n) == 0)
        return ERR_SYNTAX;
    struct attempt a[ATTEMPTS] = {0};
    unsigned count = 0;
    uint32_t ssrc = rtpmsg_ssrc(p);
    struct srtp_stream *s = srtp_stream_find(c, ssrc);
    if (c->keys.packets >= SRTP_PACKETS_MAX)
        return ERR_STATE;
    TRY(attempts(c, s, rtpmsg_seq(p), a, &count));
    enum err rc = ERR_SYNTAX;
    for (unsigned i = 0; i < count; i++) {
        size_t tag = srtp_suite_info(a[i].keys->suite)->tag;
        size_t header = *n > tag ? rtp_header(p, *n - tag) : 0;
        if (header == 0)
            continue; /* too short for this suite */
        struct srtp_packet q = {a[i].keys, c->engine, p, header, *n - tag, ssrc, a[i].index};
        if (srtp_open_rtp(&q)) {
            if (!s && !(s = srtp_stream_add(c, ssrc)))
                return ERR_NOMEM;
            *n = q.n;
            rtp_received(c, s, &a[i]);
            return ERR_OK;
        }
        rc = ERR_AUTH;
    }
    return rc;
}

/* One with these keys. Errors: ERR_SYNTAX, ERR_EXISTS, ERR_AUTH.
 *   checked   whether its index must be new */
static enum err rtcp_open(struct srtp_context *c, const struct srtp_keys *k,
                          const struct srtp_stream *s, uint8_t *p, size_t n, bool checked,
                          struct srtp_packet *ret_q)
{
    const struct srtp_suite_info *suite = srtp_suite_info((enum srtp_suite)k->suite);
    size_t more = suite->rtcp_tag + (size_t)E_AND_INDEX;
    if (n < IN_CLEAR + more)
        return ERR_SYNTAX;
    uint32_t word = rtpmsg_u32(p, n - (suite->aead ? (size_t)E_AND_INDEX : more));
    if (!(word >> 31))
        return ERR_SYNTAX;
    uint64_t index = word & SRTCP_INDEX_MAX;
    if (checked && s && !window_allows(&s->rtcp, index))
        return ERR_EXISTS;
    *ret_q = (struct srtp_packet){k, c->engine, p, IN_CLEAR, n - more, rtpmsg_u32(p, 4), index};
    return srtp_open_rtcp(ret_q) ? ERR_OK : ERR_AUTH;
}

enum err srtp_rtcp_unprotect(struct srtp_context *c, uint8_t *p, size_t *n)
{
    assert(c->engine && c->role == SRTP_RECEIVER);
    if (*n > SRTP_PACKET_MAX)
        return ERR_TOOBIG;
    if (*n < IN_CLEAR || p[0] >> 6 != 2)
        return ERR_SYNTAX;
    if (c->keys.rtcp_packets >= SRTCP_PACKETS_MAX)
        return ERR_STATE;
    uint32_t ssrc = rtpmsg_u32(p, 4);
    struct srtp_packet q;
    struct srtp_stream *s = srtp_stream_find(c, ssrc);
    bool first = !s || s->rtcp_key != c->keys.number, old = false;
    enum err rc = rtcp_open(c, &c->keys, s, p, *n, !first, &q);
    if (rc && c->old) {
        old = true;
        enum err rc_old = rtcp_open(c, c->old, s, p, *n, true, &q);
        rc = rc_old == ERR_OK || rc == ERR_SYNTAX ? rc_old : rc;
    }
    if (rc)
        return rc;
    if (!s && !(s = srtp_stream_add(c, ssrc)))
        return ERR_NOMEM;
    *n = q.n;
    struct srtp_keys *k = old ? c->old : &c->keys;
    bool anew = first && !old && !srtp_window_empty(&s->rtcp) && q.index <= s->rtcp.top;
    if (anew)
        window_begin(&s->rtcp, q.index);
    else
        window_take_behind(&s->rtcp, q.index, &s->rtcp_behind);
    if (!old || s->rtcp_key == 0)
        s->rtcp_key = k->number;
    srtp_stream_used(c, s);
    k->rtcp_packets++;
    if (!old)
        srtp_keys_proven(c, anew);
    return ERR_OK;
}
