/* SPDX-License-Identifier: MIT */
/* A call's figures as JSON. What they mean is quality_leg.h's and session.h's business. */
#include "figures/figures.h"

enum { LINE_MAX_OCTETS = 2048, TAIL = 24 /* what ends a list that was cut short */ };

static double seconds(uint32_t us)
{
    return (double)us / (double)USEC_S;
}

static void put_text(struct buf *b, const char *name, sv value)
{
    buf_printf(b, "\"%s\": \"", name);
    buf_json(b, value);
    buf_char(b, '"');
}

static double worst_of(const struct session_figures *f)
{
    return f->worst.mos > 0 && f->worst.mos < f->span.mos ? f->worst.mos : f->span.mos;
}

/* ---- one direction ---- */

static void put_counts(struct buf *b, const struct quality_span *s)
{
    buf_printf(b, "\"packets\": %llu, \"lost\": %llu, ", (unsigned long long)s->expected,
               (unsigned long long)s->lost);
}

static void put_received(struct buf *b, const struct session_figures *f)
{
    static const char *const keys[OFFER_KEYINGS] = {"plain", "sdes", "dtls"};
    buf_str(b, "\"received\": {");
    if (f->codec[0]) {
        put_text(b, "codec", sv_of(f->codec));
        buf_str(b, ", ");
    }
    buf_printf(b,
               "\"packets\": %llu, \"lost\": %llu, \"jitter\": %.6f, \"octets\": %llu, "
               "\"keys\": \"%s\", \"foreign\": %llu, \"refused\": %llu}",
               (unsigned long long)f->packets, (unsigned long long)f->here.lost,
               seconds(f->here.jitter_us), (unsigned long long)f->octets, keys[f->keying],
               (unsigned long long)f->foreign, (unsigned long long)f->refused);
}

static void put_live(struct buf *b, const struct session_figures *f)
{
    if (f->last.at) {
        buf_str(b, ", \"interval\": {");
        put_counts(b, &f->last);
        buf_printf(b, "\"loss\": %.4f, \"jitter\": %.6f", f->last.loss, seconds(f->last.jitter_us));
        if (f->last.mos > 0)
            buf_printf(b, ", \"mos\": %.2f", f->last.mos);
        buf_char(b, '}');
    }
    if (f->remote.family) {
        buf_str(b, ", \"address\": \"");
        addr_print(b, &f->remote);
        buf_char(b, '"');
    }
}

static void put_way(struct buf *b, const struct session_figures *f, bool live)
{
    buf_char(b, '{');
    if (f->left_as[0]) {
        put_text(b, "codec", sv_of(f->left_as));
        buf_str(b, ", ");
    }
    put_counts(b, &f->span);
    buf_printf(b, "\"late\": %llu, \"loss\": %.4f, \"jitter\": %.6f, \"round_trip\": %.6f, ",
               (unsigned long long)f->span.late, f->span.loss, seconds(f->span.jitter_us),
               seconds(f->span.rtt_us));
    if (f->span.mos > 0)
        buf_printf(b, "\"mos\": %.2f, \"worst_mos\": %.2f, ", f->span.mos, worst_of(f));
    buf_printf(b, "\"reported\": %s, ", f->told ? "true" : "false");
    put_received(b, f);
    if (live)
        put_live(b, f);
    buf_char(b, '}');
}

/* ---- the whole ---- */

/* Who hears what comes from a side: an echo comes back to it. */
static const char *listener(bool here, unsigned side)
{
    return (here ? side : !side) == SESSION_OFFERER ? "caller" : "callee";
}

struct whole {
    struct sessions *sessions;
    struct session_id id;
    unsigned sides;
    bool here, live;
    size_t from; /* where it begins in the buffer */
};

static void put_hears(struct buf *b, const struct whole *w)
{
    struct session_figures f;
    for (unsigned i = 0, sound = 0; i < session_streams(w->sessions, w->id) && !sound; i++) {
        for (unsigned side = 0; side < w->sides; side++) {
            if (session_figures(w->sessions, w->id, i, side, &f) || f.kind != OFFER_AUDIO)
                continue;
            sound = 1;
            if (f.span.mos <= 0)
                continue;
            buf_printf(b, ", \"%s\": {\"mos\": %.2f, \"worst_mos\": %.2f, ",
                       listener(w->here, side), f.span.mos, worst_of(&f));
            put_counts(b, &f.span);
            buf_printf(b, "\"loss\": %.4f, \"jitter\": %.6f, \"round_trip\": %.6f}", f.span.loss,
                       seconds(f.span.jitter_us), seconds(f.span.rtt_us));
        }
    }
}

static void put_line(struct buf *b, const struct whole *w, unsigned line)
{
    static const char *const kinds[] = {"audio", "video", "text", "t38", "other"};
    struct session_figures f;
    for (unsigned side = 0; side < w->sides; side++) {
        if (session_figures(w->sessions, w->id, line, side, &f))
            return;
        if (side == 0)
            buf_printf(b, "{\"kind\": \"%s\"", kinds[f.kind]);
        buf_printf(b, ", \"%s\": ", listener(w->here, side));
        put_way(b, &f, w->live);
    }
    buf_char(b, '}');
}

/* Lines that do not fit are counted. */
static void put_lines(struct buf *b, const struct whole *w)
{
    size_t most = w->live ? FIGURES_LIVE_MAX : FIGURES_RECORD_MAX;
    unsigned more = 0;
    bool any = false;
    buf_str(b, ", \"lines\": [");
    for (unsigned i = 0; i < session_streams(w->sessions, w->id); i++) {
        char mem[LINE_MAX_OCTETS];
        struct buf line;
        buf_init(&line, mem, sizeof(mem));
        put_line(&line, w, i);
        if (line.rc || b->n - w->from + line.n + TAIL > most) {
            more++;
            continue;
        }
        buf_str(b, any ? ", " : "");
        buf_put(b, buf_sv(&line));
        any = true;
    }
    buf_char(b, ']');
    if (more)
        buf_printf(b, ", \"more\": %u", more);
}

static void put_why(struct buf *b, sv why)
{
    buf_str(b, ", \"why\": [");
    for (bool any = false; why.n > 0; any = true) {
        size_t n = sv_chr(why, '\n');
        buf_str(b, any ? ", \"" : "\"");
        buf_json(b, sv_sub(why, 0, n));
        buf_char(b, '"');
        why = sv_sub(why, n < why.n ? n + 1 : n, why.n);
    }
    buf_char(b, ']');
}

static sv way_of(struct anchor *a, const struct settings *set, const struct call_view *c,
                 struct whole *w, sv *ret_why)
{
    w->id = c->session;
    w->here = c->session.generation != 0;
    if (w->here) {
        w->sides = 1;
        *ret_why = SV("the call ends here");
        return SV("here");
    }
    if (a && anchor_find(a, c->call_id, c->legs[0].tag, c->legs[1].tag, &w->id, ret_why)) {
        w->sides = SESSION_SIDES;
        return SV("relay");
    }
    *ret_why = set->media.mode == MEDIA_NEVER
                   ? SV("media.mode is never")
                   : SV("direct: both sides are alike and reach each other");
    return SV("direct");
}

void figures_put(struct buf *b, struct anchor *a, const struct settings *set,
                 const struct call_view *c, bool live)
{
    struct whole w = {.live = live, .from = b->n};
    sv why;
    if (c->answered == 0)
        return;
    sv way = way_of(a, set, c, &w, &why);
    put_text(b, "media", way);
    put_why(b, why);
    if (w.sides == 0)
        return;
    w.sessions = anchor_sessions(a);
    put_hears(b, &w);
    put_lines(b, &w);
}
