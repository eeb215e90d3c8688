/* SPDX-License-Identifier: MIT */
/* srtp/srtp_form.c: a context in octets: version, role, whether it is behind, keys, old keys or none, SSRCs. */
#include <assert.h>

#include "srtp/srtp_priv.h"
#include "str/form.h"

enum { FORM = 2 };

/* ---- writing ---- */

static void put_keys(struct buf *b, const struct srtp_keys *k)
{
    const struct srtp_suite_info *suite = srtp_suite_info((enum srtp_suite)k->suite);
    form_put(b, k->suite, 1);
    form_put(b, k->number, 4);
    form_put(b, k->packets, 8);
    form_put(b, k->rtcp_packets, 8);
    buf_mem(b, k->master, (size_t)suite->key + suite->salt);
}

static void put_window(struct buf *b, const struct srtp_window *w)
{
    form_put(b, w->top, 8);
    form_put(b, w->seen[0], 8);
    form_put(b, w->seen[1], 8);
}

static void put_stream(struct buf *b, const struct srtp_stream *s)
{
    form_put(b, s->ssrc, 4);
    form_put(b, s->rtp_key, 4);
    form_put(b, s->rtcp_key, 4);
    put_window(b, &s->rtp);
    put_window(b, &s->rtcp);
}

static void put_head(struct buf *b, const struct srtp_context *c, bool behind)
{
    assert(c->engine);
    form_put(b, FORM, 1);
    form_put(b, c->role, 1);
    form_put(b, behind, 1);
    put_keys(b, &c->keys);
    form_put(b, c->old != NULL, 1);
    if (c->old)
        put_keys(b, c->old);
    form_put(b, c->streams, 2);
}

void srtp_context_save(const struct srtp_context *c, struct buf *b)
{
    put_head(b, c, c->behind);
    for (unsigned i = 0; i < c->streams; i++)
        put_stream(b, srtp_stream_at(c, i));
}

/* All up to here is the writer's. */
static struct srtp_window reserved(uint64_t end)
{
    return (struct srtp_window){.top = end, .seen = {UINT64_MAX, UINT64_MAX}};
}

/* A stream without a packet may begin anywhere: nothing of it is left for another. Nor of one that has only been read:
 * its peer has last seen what comes before two reserves, and would take the index for one of the round before. */
static uint64_t end_of(const struct srtp_window *w, bool behind, uint64_t max)
{
    bool some = !behind && !srtp_window_empty(w) && w->top <= max - SRTP_AHEAD;
    return some ? w->top + SRTP_AHEAD : max;
}

void srtp_context_save_ahead(struct srtp_context *c, struct buf *b)
{
    put_head(b, c, true);
    for (unsigned i = 0; i < c->streams; i++) {
        struct srtp_stream *s = srtp_stream_at(c, i), ahead = *s;
        if (c->role == SRTP_SENDER) {
            s->rtp_end = end_of(&s->rtp, s->rtp_behind, SRTP_INDEX_MAX);
            /* SRTCP begins with zero */
            s->rtcp_end = srtp_window_empty(&s->rtcp)
                              ? SRTP_AHEAD
                              : (uint32_t)end_of(&s->rtcp, false, SRTCP_INDEX_MAX);
            ahead.rtp = reserved(s->rtp_end);
            ahead.rtcp = reserved(s->rtcp_end);
        }
        put_stream(b, &ahead);
    }
}

/* ---- reading ---- */

static enum err get_keys(struct form_reader *r, struct srtp_keys *k, struct srtp_engine *e,
                         enum srtp_role role)
{
    enum srtp_suite suite = (enum srtp_suite)form_get(r, 1, SRTP_SUITES - 1);
    uint32_t number = (uint32_t)form_get(r, 4, UINT32_MAX);
    uint64_t packets = form_get(r, 8, SRTP_PACKETS_MAX);
    uint64_t rtcp_packets = form_get(r, 8, SRTCP_PACKETS_MAX);
    const struct srtp_suite_info *info = srtp_suite_info(suite);
    const uint8_t *master = form_get_mem(r, (size_t)info->key + info->salt);
    if (!master)
        return ERR_CORRUPT;
    TRY(srtp_keys_init(k, e, role, suite, master));
    k->number = number;
    k->packets = packets;
    k->rtcp_packets = rtcp_packets;
    return ERR_OK;
}

/* The newest one was seen; nothing was seen before the first. */
static void get_window(struct form_reader *r, struct srtp_window *w, uint64_t max)
{
    w->top = form_get(r, 8, max);
    w->seen[0] = form_get(r, 8, UINT64_MAX);
    w->seen[1] = form_get(r, 8, UINT64_MAX);
    bool none = w->top == 0 && w->seen[0] == 0 && w->seen[1] == 0;
    if (!none && srtp_window_empty(w))
        r->bad = true;
}

static enum err get_old(struct srtp_context *c, struct form_reader *r)
{
    if (form_get(r, 1, c->role == SRTP_RECEIVER) == 0)
        return ERR_OK;
    c->old = MEM_TAKE(struct srtp_keys);
    if (!c->old)
        return ERR_NOMEM;
    enum err rc = get_keys(r, c->old, c->engine, (enum srtp_role)c->role);
    if (rc) {
        MEM_GIVE(c->old);
        c->old = NULL;
    }
    return rc;
}

static enum err get_streams(struct srtp_context *c, struct form_reader *r)
{
    for (uint64_t left = form_get(r, 2, SRTP_SSRCS_MAX); left > 0 && !r->bad; left--) {
        uint32_t ssrc = (uint32_t)form_get(r, 4, UINT32_MAX);
        if (r->bad || srtp_stream_find(c, ssrc))
            return ERR_CORRUPT;
        struct srtp_stream *s = srtp_stream_add(c, ssrc);
        if (!s)
            return ERR_NOMEM;
        s->rtp_behind = s->rtcp_behind = c->behind;
        s->rtp_key = (uint32_t)form_get(r, 4, c->keys.number);
        s->rtcp_key = (uint32_t)form_get(r, 4, c->keys.number);
        get_window(r, &s->rtp, SRTP_INDEX_MAX);
        get_window(r, &s->rtcp, SRTCP_INDEX_MAX);
    }
    return r->bad || form_left(r) > 0 ? ERR_CORRUPT : ERR_OK;
}

enum err srtp_context_load(struct srtp_context *c, struct srtp_engine *e, sv octets)
{
    struct form_reader r = form_reader(octets);
    *c = (struct srtp_context){0};
    uint64_t form = form_get(&r, 1, FORM);
    c->role = (uint8_t)form_get(&r, 1, SRTP_RECEIVER);
    c->behind = form_get_bool(&r);
    if (r.bad || form != FORM)
        return ERR_CORRUPT;
    enum err rc = get_keys(&r, &c->keys, e, (enum srtp_role)c->role);
    if (rc)
        return rc;
    c->engine = e;
    rc = get_old(c, &r);
    if (!rc)
        rc = get_streams(c, &r);
    if (rc)
        srtp_context_done(c);
    return rc;
}
