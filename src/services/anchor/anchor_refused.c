/* SPDX-License-Identifier: MIT */
/* What a phone refuses. It seldom says why: the caller and the log hear what it was offered, in each way that it was put
 * to it, the last one first. What does not fit is left out. */
#include "anchor/anchor_priv.h"

enum { POLICY_ROOM = 64 }; /* for what our own configuration says of it */

static const char before[] = ", before that ";

static void put_line(struct buf *b, const struct offer_media *m)
{
    buf_printf(b, SV_FMT " by " SV_FMT, SV_ARG(m->text->type), SV_ARG(m->text->proto));
    for (unsigned k = 0; m->kind == OFFER_AUDIO && k < m->codecs_n; k++)
        buf_printf(b, "%s " SV_FMT, k ? "," : " with", SV_ARG(m->codecs[k].name));
}

/* What this description offers. False: it cannot be said. */
static bool put_offer(const struct dialog *d, sv text, struct buf *b)
{
    struct arena *a = &d->anchor->scratch;
    struct sdp *sdp = ARENA_NEW(a, struct sdp);
    struct offer_session *offer = ARENA_NEW(a, struct offer_session);
    struct sdp_fault fault;
    if (!sdp || !offer || sdp_parse(text, a, sdp, &fault) || offer_read(sdp, a, offer, &fault))
        return false;
    for (unsigned i = 0; i < offer->n; i++) {
        buf_str(b, i ? "; " : "");
        put_line(b, &offer->media[i]);
    }
    return !b->rc;
}

/* Of the ways before, the latest that fit behind what b has. */
static sv former(const struct dialog *d, const struct buf *b)
{
    sv all = text_sv(&d->refused);
    size_t n = all.n, room = b->cap - b->n;
    while (n > 0 && (n + POLICY_ROOM > room ||
                     (n < all.n && !sv_starts(sv_sub(all, n, all.n), sv_of(before)))))
        n--;
    return sv_sub(all, 0, n);
}

void anchor_tried(struct dialog *d)
{
    char mem[REFUSED_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_str(&b, before);
    if (!d->first || !put_offer(d, text_sv(&d->first->passed), &b))
        return;
    buf_put(&b, former(d, &b));
    if (text_set(&d->refused, buf_sv(&b)))
        text_done(&d->refused);
}

/* The caller's own offer, as it passed at first; not said again when ours was the same to it. */
static void put_direct(const struct dialog *d, struct buf *b)
{
    char mem[REFUSED_MAX];
    struct buf direct;
    buf_init(&direct, mem, sizeof(mem));
    if (!put_offer(d, text_sv(&d->first->offer), &direct) || sv_ends(buf_sv(b), buf_sv(&direct)) ||
        b->cap - b->n < sizeof(before) + direct.n + POLICY_ROOM)
        return;
    buf_str(b, before);
    buf_put(b, buf_sv(&direct));
}

void anchor_refused(const struct dialog *d, const struct settings *set, struct rx *rx,
                    struct arena *out, struct proxy_body_new *ret)
{
    static const char *const srtp[] = {[MEDIA_SRTP_NEVER] = "; SRTP is not to be used here",
                                       [MEDIA_SRTP_REQUIRE] = "; SRTP is required"};
    struct buf b;
    char mem[REFUSED_MAX];
    buf_init(&b, mem, sizeof(mem));
    buf_str(&b, "callee refuses ");
    if (!d->first || !put_offer(d, text_sv(&d->first->passed), &b))
        return;
    sv ways = former(d, &b);
    buf_put(&b, ways);
    if (d->relay && ways.n == d->refused.n)
        put_direct(d, &b);
    buf_str(&b, srtp[set->media.srtp] ? srtp[set->media.srtp] : "");
    buf_str(&b, set->media.transcode ? "" : "; transcoding is off");
    if (b.rc || sv_dup(out, buf_sv(&b), &ret->warning_text))
        return;
    ret->warning = 399;
    ret->status = rx->msg.status;
    anchor_log_refused(d->anchor, rx, ret);
}
