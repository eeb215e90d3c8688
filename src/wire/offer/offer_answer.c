/* SPDX-License-Identifier: MIT */
/* offer/offer_answer.c: what the callee answered, as the caller is to hear it, and the plan for the relay; and an
 * answer of our own.
 *
 * Spec RFC 3264 §6, §7; 4568 §5.1.2, 5763 §5, 8842 §5.3, 5761 §5.1.1, 9143 §7.3. */
#include "offer/offer.h"

#include "offer/offer_priv.h"

struct answering {
    struct offer_why why;
    const struct offer_session *offer, *passed,
        *answer; /* the last two NULL: an answer of our own */
    const struct offer_policy *policy;
    const struct offer_ours *ours[2];
    struct offer_draft draft;
    struct offer_plan *plan;
    int head[2]; /* of each side's bundle; -1: none yet */
};

typedef enum err line_fn(struct answering *s, unsigned i);

/* ---- the transport of both sides ---- */

static bool may_send(enum sdp_direction d)
{
    return d == SDP_SENDRECV || d == SDP_SENDONLY;
}

static bool may_receive(enum sdp_direction d)
{
    return d == SDP_SENDRECV || d == SDP_RECVONLY;
}

static enum sdp_direction direction_of(bool send, bool receive)
{
    return send ? (receive ? SDP_SENDRECV : SDP_SENDONLY) : receive ? SDP_RECVONLY : SDP_INACTIVE;
}

static void fill_leg(struct offer_leg *leg, const struct offer_media *m,
                     const struct offer_keyed *k, const struct offer_ours *ours)
{
    leg->keying = k->keying;
    leg->ours = k->ours;
    leg->theirs = k->theirs;
    if (k->keying == OFFER_DTLS) {
        leg->fingerprints = m->fingerprints;
        leg->fingerprints_n = m->fingerprints_n;
        leg->dtls_client = k->setup == SDP_ACTIVE;
    }
    leg->ice = m->ice && ours->ufrag.n > 0;
    if (leg->ice) {
        leg->ice_lite = m->ice_lite;
        leg->ufrag = m->ufrag;
        leg->pwd = m->pwd;
        leg->candidates = m->candidates;
        leg->candidates_n = m->candidates_n;
    }
    leg->rtp = m->rtp;
    leg->rtcp = m->rtcp;
    leg->ptime_us = m->ptime_us;
    leg->xr = m->xr;
    leg->event_pt = leg->cn_pt = OFFER_NO_PT;
}

/* A member of a bundle behind its head: all that is transport is the head's. */
static void share_leg(struct answering *s, int side, unsigned i)
{
    struct offer_leg *leg = &s->plan->streams[i].leg[side], own = *leg;
    *leg = s->plan->streams[s->head[side]].leg[side];
    leg->bundled = true;
    leg->bundle_with = (uint8_t)s->head[side];
    leg->ptime_us = own.ptime_us;
    leg->xr = own.xr;
    leg->event_pt = own.event_pt;
    leg->cn_pt = own.cn_pt;
    leg->send = own.send;
    leg->receive = own.receive;
}

static const char *keying_name(enum offer_keying keying)
{
    static const char *const names[OFFER_KEYINGS] = {
        [OFFER_PLAIN] = "plain RTP", [OFFER_SDES] = "SDES-SRTP", [OFFER_DTLS] = "DTLS-SRTP"};
    return names[keying];
}

static void tell_transport(struct answering *s, const char *side, const struct offer_media *m,
                           const struct offer_leg *leg)
{
    offer_because(&s->why, "%s: " SV_FMT " by %s%s%s%s", side, SV_ARG(m->text->type),
                  keying_name(leg->keying), leg->ice ? ", ICE" : "", leg->mux ? ", rtcp-mux" : "",
                  leg->bundled ? ", bundled" : "");
}

static enum err has_port(struct answering *s, const struct offer_media *m,
                         const struct offer_ours_media *mine)
{
    if (mine->rtp.n > 0)
        return ERR_OK;
    offer_because(&s->why, "caller: " SV_FMT " is refused: there is no port for it",
                  SV_ARG(m->text->type));
    return ERR_UNSUPPORTED;
}

/* Our line toward the caller. Errors: ERR_DENIED, ERR_UNSUPPORTED. */
static enum err answer_transport(struct answering *s, unsigned i)
{
    const struct offer_media *m = &s->offer->media[i];
    const struct offer_ours *ours = s->ours[0];
    const struct offer_ours_media *mine = &ours->media[i];
    struct offer_line *l = &s->draft.lines[i];
    struct offer_leg *leg = &s->plan->streams[i].leg[0];
    struct offer_keyed keyed;
    TRY(offer_key_caller(&s->why, m, s->policy->srtp, ours, mine, &keyed));
    fill_leg(leg, m, &keyed, ours);
    leg->mux = m->mux;
    l->proto = m->text->proto; /* RFC 3264 §6: the same */
    l->rtp = mine->rtp;
    if (!m->mux && mine->rtcp.n > 0 && !offer_ip_equal(&mine->rtcp, &mine->rtp))
        l->rtcp = mine->rtcp;
    l->more = mine->more;
    l->more_n = mine->more_n;
    l->mux = m->mux;
    l->ice = leg->ice;
    l->dtls = keyed.keying == OFFER_DTLS;
    l->setup = keyed.setup;
    if (keyed.keying == OFFER_SDES) {
        l->cryptos[0] = offer_key_of(mine, keyed.ours.suite);
        l->tags[0] = keyed.ours.tag;
        l->cryptos_n = 1;
    }
    /* Its whole bundle or nothing: only browsers and their kin offer it, with DTLS and rtcp-mux. */
    if (!m->bundle || !l->dtls || !l->mux) {
        if (m->text->port > 0)
            return has_port(s, m, mine);
        offer_because(&s->why, "caller: " SV_FMT " is bundle-only, and it cannot be bundled",
                      SV_ARG(m->text->type));
        return ERR_UNSUPPORTED;
    }
    l->grouped = true;
    if (s->head[0] < 0) {
        s->head[0] = (int)i;
        return has_port(s, m, mine);
    }
    l->bundled = true;
    l->rtp = s->draft.lines[s->head[0]].rtp;
    share_leg(s, 0, i);
    return ERR_OK;
}

/* What the callee chose. Errors: ERR_DENIED, ERR_SYNTAX. */
static enum err take_transport(struct answering *s, unsigned i)
{
    const struct offer_media *p = &s->passed->media[i], *b = &s->answer->media[i];
    struct offer_leg *leg = &s->plan->streams[i].leg[1];
    struct offer_keyed keyed;
    TRY(offer_key_callee(&s->why, p, b, s->policy->srtp, s->ours[1], &s->ours[1]->media[i],
                         &keyed));
    fill_leg(leg, b, &keyed, s->ours[1]);
    leg->ice = leg->ice && p->ice;
    if (!leg->ice) {
        leg->ice_lite = false;
        leg->ufrag = leg->pwd = SV_NONE;
        leg->candidates = NULL;
        leg->candidates_n = 0;
    }
    leg->mux = p->mux && b->mux;
    return ERR_OK;
}

/* What the callee bundled of what we accept: behind the first of them in its list. */
static void share_callee(struct answering *s)
{
    const struct offer_media *b = s->answer->media;
    for (int share = 0; share < 2; share++) /* first the head, then the others */
        for (unsigned i = 0; i < s->offer->n; i++) {
            if (s->plan->streams[i].refused || !s->passed->media[i].bundle || !b[i].bundle)
                continue;
            if (share && (int)i != s->head[1])
                share_leg(s, 1, i);
            else if (!share && (s->head[1] < 0 || b[i].bundle_rank < b[s->head[1]].bundle_rank))
                s->head[1] = (int)i;
        }
}

/* RFC 3264 §6.1: the answer's direction is seen from who answers, on both legs; it says no more than the offer lets it.
 */
static void settle_direction(struct answering *s, unsigned i)
{
    const struct offer_media *o = &s->offer->media[i];
    const struct offer_media *p = s->passed ? &s->passed->media[i] : o;
    struct offer_stream *st = &s->plan->streams[i];
    bool send = may_receive(p->direction), receive = may_send(p->direction);
    if (s->answer) {
        const struct offer_media *b = &s->answer->media[i];
        send = send && may_send(b->direction);
        receive = receive && may_receive(b->direction) && !b->hold;
    }
    send = send && may_receive(o->direction) && !o->hold;
    receive = receive && may_send(o->direction);
    s->draft.lines[i].direction = direction_of(send, receive);
    st->leg[0].send = st->leg[1].receive = send;
    st->leg[0].receive = st->leg[1].send = receive;
}

/* ---- lines ---- */

static enum err no_codec(struct answering *s, const struct offer_media *o,
                         const struct offer_media *b)
{
    offer_because(&s->why,
                  "no codec for both: caller offers " SV_FMT "; callee answers " SV_FMT "%s",
                  SV_ARG(offer_codec_names(&s->why, o->codecs, o->codecs_n)),
                  SV_ARG(offer_codec_names(&s->why, b->codecs, b->codecs_n)),
                  s->policy->transcode ? "" : "; transcoding is off");
    return ERR_UNSUPPORTED;
}

static void tell_keys(struct answering *s, const struct offer_stream *st)
{
    static const char *const how[] = {[OFFER_DTMF_AUTO] = "as they come",
                                      [OFFER_DTMF_EVENTS] = "as events",
                                      [OFFER_DTMF_INFO] = "by INFO",
                                      [OFFER_DTMF_TONES] = "as tones"};
    static const char *const side[] = {"caller", "callee"};
    for (int i = 0; i < 2 && st->kind == OFFER_AUDIO; i++) {
        const struct offer_leg *to = &st->leg[i];
        offer_because(&s->why, "%s: keys %s%s%s", side[i], how[to->dtmf],
                      to->digits ? "; those that come by INFO are put in" : "",
                      to->listen ? "; tones in the other's sound are keys" : "");
    }
}

static enum err answer_codecs(struct answering *s, unsigned i)
{
    const struct offer_media *o = &s->offer->media[i], *b = &s->answer->media[i];
    struct offer_line *l = &s->draft.lines[i];
    struct offer_stream *st = &s->plan->streams[i];
    struct offer_match m;
    if (!offer_match(o, &s->passed->media[i], b, s->policy, &m))
        return no_codec(s, o, b);
    memcpy(l->codecs, m.list, sizeof l->codecs);
    memcpy(l->source_pt, m.source_pt, sizeof l->source_pt);
    l->codecs_n = m.list_n;
    l->aligned = m.aligned;
    l->remade = !m.common;
    offer_match_maps(&m, s->policy, st);
    if (m.common)
        offer_because(&s->why, "both: " SV_FMT " passes",
                      SV_ARG(offer_codec_names(&s->why, m.list, m.list_n)));
    else
        offer_because(&s->why, "both: transcoding, caller " SV_FMT ", callee " SV_FMT,
                      SV_ARG(offer_codec_names(&s->why, &m.best_a, 1)),
                      SV_ARG(offer_codec_names(&s->why, &m.best_b, 1)));
    tell_keys(s, st);
    return ERR_OK;
}

static bool has_feedback(const struct offer_media *m)
{
    return m->feedback || sdp_attr_find(&m->text->attrs, SV("rtcp-fb"));
}

/* Errors: ERR_UNSUPPORTED, ERR_DENIED: this line cannot be; ERR_SYNTAX, ERR_NOMEM: nothing can. */
static enum err answer_line(struct answering *s, unsigned i)
{
    const struct offer_media *o = &s->offer->media[i], *p = &s->passed->media[i];
    const struct offer_media *b = &s->answer->media[i];
    struct offer_line *l = &s->draft.lines[i];
    l->from = b->text;
    if (o->kind == OFFER_T38) {
        struct offer_keyed plain = {.keying = OFFER_PLAIN};
        TRY(has_port(s, o, &s->ours[0]->media[i]));
        fill_leg(&s->plan->streams[i].leg[0], o, &plain, s->ours[0]);
        fill_leg(&s->plan->streams[i].leg[1], b, &plain, s->ours[1]);
        l->proto = o->text->proto;
        l->rtp = s->ours[0]->media[i].rtp;
        settle_direction(s, i);
        return ERR_OK;
    }
    TRY(take_transport(s, i));
    enum err rc = answer_transport(s, i);
    if (rc == ERR_OK)
        rc = answer_codecs(s, i);
    if (rc)
        return rc;
    l->web = o->web && p->web;
    l->limit = o;
    l->feedback = has_feedback(o) && has_feedback(p);
    settle_direction(s, i);
    tell_transport(s, "caller", o, &s->plan->streams[i].leg[0]);
    tell_transport(s, "callee", b, &s->plan->streams[i].leg[1]);
    return ERR_OK;
}

/* Which lines are refused before one looks into them; *ret_rc: the answer is none. */
static bool is_refused(struct answering *s, unsigned i)
{
    const struct offer_media *o = &s->offer->media[i];
    if (o->refused || (o->kind == OFFER_OTHER && s->answer))
        return true;
    /* bundle-only cannot stand alone, nor be the head (RFC 9143 §7.3.1) */
    if (o->text->port == 0 && s->head[0] < 0)
        return true;
    if (!s->answer)
        return false;
    if (s->passed->media[i].refused)
        return true;
    if (s->answer->media[i].refused) {
        offer_because(&s->why, "callee: " SV_FMT " is refused", SV_ARG(o->text->type));
        return true;
    }
    return false;
}

static bool fits(const struct offer_session *passed, const struct offer_session *answer)
{
    if (passed->text->n_media != answer->text->n_media)
        return false;
    for (unsigned i = 0; i < answer->n; i++)
        if (answer->media[i].kind != passed->media[i].kind && !answer->media[i].refused &&
            !passed->media[i].refused)
            return false;
    return true;
}

/* ---- the whole ---- */

static enum err begin(struct answering *s, struct arena *a, struct offer_plan *plan,
                      struct offer_reasons *why)
{
    *why = (struct offer_reasons){0};
    s->why = (struct offer_why){.arena = a, .reasons = why};
    s->plan = plan;
    s->head[0] = s->head[1] = -1;
    memset(plan, 0, sizeof *plan);
    plan->n = s->offer->n;
    s->draft = (struct offer_draft){.ours = s->ours[0],
                                    .like = s->offer->text,
                                    .from = s->answer ? s->answer->text : NULL,
                                    .answer = true,
                                    .n = s->offer->n};
    s->draft.lines = arena_calloc(a, s->offer->n, sizeof *s->draft.lines);
    return s->draft.lines ? ERR_OK : ERR_NOMEM;
}

static void refuse_line(struct answering *s, unsigned i)
{
    const struct offer_media *o = &s->offer->media[i];
    s->plan->streams[i] = (struct offer_stream){.kind = o->kind, .refused = true};
    s->draft.lines[i] =
        (struct offer_line){.like = o->text, .kind = o->kind, .refused = true, .mid = o->mid};
}

static enum err one_line(struct answering *s, unsigned i, line_fn *line)
{
    if (is_refused(s, i))
        return ERR_OK;
    s->draft.lines[i].refused = s->plan->streams[i].refused = false;
    enum err rc = line(s, i);
    if (s->why.rc)
        return s->why.rc;
    if (rc && rc != ERR_UNSUPPORTED && rc != ERR_DENIED)
        return rc;
    offer_line_done(&s->why, s->offer->media[i].kind, rc);
    if (rc == ERR_OK)
        return ERR_OK;
    refuse_line(s, i);
    if (s->head[0] == (int)i) /* the bundle goes on without it */
        s->head[0] = -1;
    return ERR_OK;
}

/* Members of the caller's bundle in the order of its list, so that the head comes first (RFC 9143 §7.3.1). */
static enum err each_line(struct answering *s, line_fn *line)
{
    const struct offer_media *o = s->offer->media;
    for (unsigned i = 0; i < s->offer->n; i++)
        refuse_line(s, i);
    for (unsigned rank = 0; rank <= UINT8_MAX; rank++)
        for (unsigned i = 0; i < s->offer->n; i++)
            if (o[i].bundle && o[i].bundle_rank == rank)
                TRY(one_line(s, i, line));
    for (unsigned i = 0; i < s->offer->n; i++)
        if (!o[i].bundle)
            TRY(one_line(s, i, line));
    return offer_lines_done(&s->why);
}

static enum err finish(struct answering *s, enum err rc, struct arena *a, sv *ret_text)
{
    if (rc == ERR_OK)
        rc = s->why.rc;
    return rc ? rc : offer_print(&s->draft, a, ret_text);
}

enum err offer_answer(const struct offer_session *offer, const struct offer_session *passed,
                      const struct offer_session *answer, const struct offer_policy *p,
                      const struct offer_ours *ours_a, const struct offer_ours *ours_b,
                      struct arena *a, sv *ret_text, struct offer_plan *ret_plan,
                      struct offer_reasons *ret_why)
{
    struct answering s = {
        .offer = offer, .passed = passed, .answer = answer, .policy = p, .ours = {ours_a, ours_b}};
    TRY(begin(&s, a, ret_plan, ret_why));
    if (passed->n != offer->n || !fits(passed, answer)) {
        offer_because(&s.why, "callee: its answer has other m= lines than the offer");
        return s.why.rc ? s.why.rc : ERR_SYNTAX;
    }
    enum err rc = each_line(&s, answer_line);
    if (rc == ERR_OK)
        share_callee(&s);
    return finish(&s, rc, a, ret_text);
}

/* ---- an answer of our own ---- */

/* The first of the policy's that it offers, or any that we can do; and its events. */
static const struct offer_codec *choose(const struct answering *s, const struct offer_media *o)
{
    const struct offer_policy *p = s->policy;
    const struct offer_codec *any = NULL;
    for (unsigned k = 0; k < p->codecs_n && k < sizeof p->codecs / sizeof p->codecs[0]; k++)
        for (unsigned i = 0; i < o->codecs_n; i++)
            if (o->codecs[i].id == p->codecs[k] && offer_codec_can(&o->codecs[i]))
                return &o->codecs[i];
    for (unsigned i = 0; i < o->codecs_n && !any; i++)
        if (offer_codec_can(&o->codecs[i]))
            any = &o->codecs[i];
    return any;
}

static void accept_codec(struct answering *s, unsigned i, const struct offer_codec *c, sv fmtp)
{
    struct offer_line *l = &s->draft.lines[i];
    struct offer_stream *st = &s->plan->streams[i];
    l->codecs[l->codecs_n] = *c;
    l->codecs[l->codecs_n].fmtp = fmtp;
    l->source_pt[l->codecs_n++] = OFFER_NO_PT;
    st->map[0][st->map_n[0]++] =
        (struct offer_map){.from = c->pt, .to = c->pt, .in = *c, .out = *c};
}

static enum err accept_line(struct answering *s, unsigned i)
{
    const struct offer_media *o = &s->offer->media[i];
    struct offer_stream *st = &s->plan->streams[i];
    if (s->head[1] >= 0) { /* the one that we took */
        refuse_line(s, i);
        return ERR_OK;
    }
    if (o->kind != OFFER_AUDIO) {
        offer_because(&s->why, "caller: " SV_FMT " is refused: there is only sound",
                      SV_ARG(o->text->type));
        return ERR_UNSUPPORTED;
    }
    TRY(answer_transport(s, i));
    const struct offer_codec *c = choose(s, o);
    if (!c) {
        offer_because(&s->why, "no codec for both: caller offers " SV_FMT,
                      SV_ARG(offer_codec_names(&s->why, o->codecs, o->codecs_n)));
        return ERR_UNSUPPORTED;
    }
    struct offer_codec beside[OFFER_CODECS_MAX + 1];
    beside[0] = *c;
    memcpy(beside + 1, o->codecs, o->codecs_n * sizeof *beside);
    const struct offer_codec *event = offer_companion(beside, o->codecs_n + 1, CODEC_EVENT);
    accept_codec(s, i, c, c->id == CODEC_OPUS ? SV("useinbandfec=1") : SV_NONE);
    if (event)
        accept_codec(s, i, event, SV("0-16"));
    st->leg[0].event_pt = event ? event->pt : OFFER_NO_PT;
    s->head[1] = (int)i;
    settle_direction(s, i);
    offer_because(&s->why, "caller: " SV_FMT, SV_ARG(offer_codec_names(&s->why, c, 1)));
    tell_transport(s, "caller", o, &st->leg[0]);
    return ERR_OK;
}

enum err offer_accept(const struct offer_session *offer, const struct offer_policy *p,
                      const struct offer_ours *ours, struct arena *a, sv *ret_text,
                      struct offer_plan *ret_plan, struct offer_reasons *ret_why)
{
    struct answering s = {.offer = offer, .policy = p, .ours = {ours, NULL}};
    TRY(begin(&s, a, ret_plan, ret_why));
    return finish(&s, each_line(&s, accept_line), a, ret_text);
}
