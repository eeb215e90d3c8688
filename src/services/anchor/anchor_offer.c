/* SPDX-License-Identifier: MIT */
/* An offer on its way, and its answer: read, decided on by wire/offer, done by media/session. */
#include "anchor/anchor_priv.h"
#include "log/log.h"

/* A description of a side, read. */
struct reading {
    struct sdp sdp;
    struct offer_session offer;
};

static enum err read_text(struct arena *a, sv text, struct reading **ret, struct sdp_fault *fault)
{
    struct reading *r = ARENA_NEW(a, struct reading);
    if (!r)
        return ERR_NOMEM;
    TRY(sdp_parse(text, a, &r->sdp, fault));
    TRY(offer_read(&r->sdp, a, &r->offer, fault));
    *ret = r;
    return ERR_OK;
}

/* ---- why ---- */

static void log_reasons(const struct dialog *d, const char *event, const struct offer_reasons *why)
{
    for (unsigned i = 0; i < why->n; i++)
        LOG_DEBUG("anchor", event, F_SV("call", text_sv(&d->call_id)), F_SV("why", why->line[i]));
}

/* What was agreed on is kept as long as it holds, for who asks; what does not fit is left out. */
static void keep_reasons(struct dialog *d, const struct offer_reasons *why)
{
    char mem[WHY_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_put(&b, d->way);
    for (unsigned i = 0; i < why->n; i++) {
        if (b.n + 1 + why->line[i].n > sizeof(mem))
            break;
        buf_char(&b, '\n');
        buf_put(&b, why->line[i]);
    }
    if (text_set(&d->why, buf_sv(&b)))
        LOG_WARN("anchor", "memory");
}

static sv last_reason(const struct offer_reasons *why)
{
    return why->n > 0 ? why->line[why->n - 1] : SV("the session descriptions do not fit");
}

void anchor_log_refused(struct anchor *a, struct rx *rx, const struct proxy_body_new *why)
{
    struct log_brake *b = &a->refusals;
    if (!why->warning || !log_may(b, loop_now(a->loop)))
        return;
    LOG_INFO("anchor", "media.refused", F_SV("call", sipmsg_value(&rx->msg, SIP_H_CALL_ID)),
             F_INT("status", why->status), F_SV("why", why->warning_text),
             F_INT("left_out", b->left_out));
    b->left_out = 0;
}

/* 488 with what was in the way (RFC 3261 §21.4.26), or what says that it is not the caller's fault. */
static enum proxy_body refuse(enum err rc, sv why, struct arena *out, struct proxy_body_new *ret)
{
    bool ours = rc == ERR_NOMEM || rc == ERR_BUSY || rc == ERR_UNREACHABLE;
    /* §20.43: 305 is about formats that do not fit, 399 about whatever else. */
    *ret = (struct proxy_body_new){.status = ours ? 503 : 488,
                                   .warning = rc == ERR_UNSUPPORTED ? 305 : 399};
    if (sv_dup(out, why, &ret->warning_text))
        ret->warning = 0;
    return PROXY_BODY_REFUSE;
}

/* RFC 3261 §20.43: 370 Insufficient bandwidth. */
static enum proxy_body refuse_bandwidth(struct arena *out, struct proxy_body_new *ret)
{
    refuse(ERR_BUSY, SV("Insufficient bandwidth"), out, ret);
    ret->status = 488;
    if (ret->warning)
        ret->warning = 370;
    return PROXY_BODY_REFUSE;
}

enum proxy_body anchor_unread(const char *why, struct arena *out, struct proxy_body_new *ret)
{
    char mem[REFUSED_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_printf(&b, "session description that cannot be looked at: %s; SRTP is required", why);
    return refuse(ERR_SYNTAX, buf_sv(&b), out, ret);
}

/* As much as his account may have he has. Not 503: the server is well, and another one of it would say the same. */
static enum proxy_body refuse_quota(struct arena *out, struct proxy_body_new *ret)
{
    refuse(ERR_DENIED, SV("the caller's account has as many relayed calls as it may"), out, ret);
    ret->status = 403;
    return PROXY_BODY_REFUSE;
}

static sv fault_text(struct arena *a, enum err rc, const struct sdp_fault *f)
{
    struct buf b;
    char mem[160];
    sv out;
    buf_init(&b, mem, sizeof(mem));
    if (f->why)
        buf_printf(&b, "session description, line %u: %s", (unsigned)f->line, f->why);
    else
        buf_str(&b, err_text(rc));
    return b.rc || sv_dup(a, buf_sv(&b), &out) ? SV("session description") : out;
}

static enum proxy_body replace(struct arena *out, sv text, struct proxy_body_new *ret)
{
    *ret = (struct proxy_body_new){.type = SV_NONE};
    enum err rc = sv_dup(out, text, &ret->description);
    return rc ? refuse(rc, SV("no memory"), out, ret) : PROXY_BODY_REPLACE;
}

/* ---- offers ---- */

static const struct session_handler handler;

/* A session of another phone that rings for the same call; generation 0: none. */
static struct session_id beside(const struct dialog *d)
{
    HASH_EACH (o, &d->anchor->dialogs, d->by_call_id.hash, struct dialog, by_call_id) {
        if (o != d && o->call == d->call && o->session.generation)
            return o->session;
    }
    return (struct session_id){0, 0};
}

static enum err session_of(struct dialog *d)
{
    if (d->session.generation)
        return ERR_OK;
    struct session_party party[SESSION_SIDES] = {d->party[CALLER].media, d->party[CALLEE].media};
    d->agreed = 0;
    d->planned = false;
    TRY(session_new(d->anchor->sessions, party, 0, &handler, d, &d->session));
    dialog_has_session(d);
    TRY(session_pay(d->anchor->sessions, d->session, d->payer, beside(d)));
    if (d->stands) /* a call of its own, whatever else came of its INVITE */
        session_answered(d->anchor->sessions, d->session);
    return ERR_OK;
}

/* As long as an offer waits for its answer either may hold, this or what was agreed on before (RFC 3264 §8). */
static bool fits(struct dialog *d, const struct offer_session *offer)
{
    uint64_t bits = offer_bandwidth(offer, NULL);
    return session_reserve(d->anchor->sessions, d->session, bits > d->agreed ? bits : d->agreed) ==
           ERR_OK;
}

void anchor_settle(struct dialog *d)
{
    struct sessions *m = d->anchor->sessions;
    const struct exchange *x = d->exchange;
    bool waits = timer_armed(&d->ack) && (!d->planned || (x && !x->answered));
    if (d->ended || d->session.generation == 0 || waits || (x && x->open))
        return;
    if (session_reserve(m, d->session, d->agreed))
        LOG_DEBUG("anchor", "media.none", F_SV("call", text_sv(&d->call_id)));
    session_settle(m, d->session);
    if (d->stands && !d->planned && !timer_armed(&d->late))
        dialog_has_none(d);
}

void anchor_over(struct dialog *d, struct exchange *x)
{
    x->open = false;
    anchor_settle(d);
}

void anchor_log_media(sv call_id, enum session_event e, unsigned side, sv why)
{
    static const char *const name[] = {[SESSION_SILENT] = "media.silent",
                                       [SESSION_SECURED] = "media.secured",
                                       [SESSION_KEY_FAULT] = "media.key-fault",
                                       [SESSION_PLAYED] = "media.played",
                                       [SESSION_LOST] = "media.lost"};
    LOG_AT(e == SESSION_PLAYED ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "anchor", name[e],
           F_SV("call", call_id),
           F_STR("side", side == CALLER   ? "caller"
                         : side == CALLEE ? "callee"
                                          : "either"),
           F_SV("why", why));
}

static void on_event(void *arg, struct session_id id, enum session_event e, unsigned side, sv why)
{
    struct dialog *d = arg;
    (void)id;
    anchor_log_media(text_sv(&d->call_id), e, side, why);
    dialog_on_media(d, e, side);
}
static const struct session_handler handler = {.on_event = on_event, .on_digit = anchor_on_digit};

/* What media.srtp says of who passes by us, too: a phone that demands SRTP is answered with it. */
static bool keys_as_wanted(enum settings_media_srtp srtp, const struct offer_session *offer)
{
    for (unsigned i = 0; i < offer->n; i++) {
        const struct offer_media *m = &offer->media[i];
        if (m->refused || m->kind > OFFER_TEXT)
            continue;
        if ((srtp == MEDIA_SRTP_REQUIRE && !m->secure) ||
            (srtp == MEDIA_SRTP_NEVER && m->keying != OFFER_PLAIN))
            return false;
    }
    return true;
}

static enum offer_way way_of(const struct settings *set, const struct offer_session *offer,
                             const struct offer_party *from, const struct offer_party *to,
                             sv *ret_why)
{
    *ret_why = SV("media.mode is never");
    if (set->media.mode == MEDIA_ALWAYS) {
        *ret_why = SV("relayed: media.mode is always");
        return OFFER_RELAY;
    }
    if (set->media.mode == MEDIA_AUTO && !keys_as_wanted(set->media.srtp, offer)) {
        *ret_why = SV("relayed: media.srtp says otherwise than the offer");
        return OFFER_RELAY;
    }
    return set->media.mode == MEDIA_AUTO ? offer_way(offer, from, to, ret_why) : OFFER_DIRECT;
}

/* Nobody hears this offer without us: not even who is like him that makes it, with ICE or without. */
static bool always_relayed(const struct settings *set, const struct offer_session *offer,
                           const struct offer_party *from)
{
    struct offer_party like = *from, ice = *from;
    sv why;
    like.nat = ice.nat = like.ice = false;
    ice.ice = true;
    return way_of(set, offer, from, &like, &why) == OFFER_RELAY &&
           way_of(set, offer, from, &ice, &why) == OFFER_RELAY;
}

/* Both sides can hear each other by themselves. */
static bool stays_out(struct dialog *d, const struct settings *set, unsigned from,
                      const struct offer_session *offer)
{
    sv why;
    enum offer_way way = way_of(set, offer, &d->party[from].facts, &d->party[!from].facts, &why);
    d->way = why;
    LOG_DEBUG("anchor", way == OFFER_DIRECT ? "media.direct" : "media.relay",
              F_SV("call", text_sv(&d->call_id)), F_SV("why", why));
    return way == OFFER_DIRECT;
}

/* It need not be read to see that we stay out (stays_out): most calls are such. */
static bool is_plain(const struct dialog *d, const struct settings *set, unsigned from, sv text)
{
    sv why;
    if (d->session.generation || d->relay || set->media.mode != MEDIA_AUTO ||
        set->media.srtp == MEDIA_SRTP_REQUIRE ||
        !offer_way_plain(text, &d->party[from].facts, &d->party[!from].facts, &why))
        return false;
    LOG_DEBUG("anchor", "media.direct", F_SV("call", text_sv(&d->call_id)), F_SV("why", why));
    return true;
}

static enum err pass(struct dialog *d, const struct settings *set, unsigned from,
                     const struct offer_session *offer, struct arena *a, sv *ret_text,
                     struct offer_reasons *why)
{
    struct offer_ours *ours = ARENA_NEW(a, struct offer_ours);
    struct offer_policy p = anchor_policy(set);
    if (!ours)
        return ERR_NOMEM;
    TRY(session_ours(d->anchor->sessions, d->session, !from, SESSION_NEXT, ours));
    ours->ice_wanted = d->party[!from].facts.ice;
    return offer_pass(offer, &p, d->party[!from].profile, ours, a, ret_text, why);
}

/* ---- exchanges ---- */

void exchange_hold(struct exchange **slot, struct exchange *x)
{
    struct exchange *former = *slot;
    *slot = x;
    if (x)
        x->users++;
    if (!former || --former->users > 0)
        return;
    text_done(&former->offer);
    text_done(&former->passed);
    text_done(&former->answer);
    text_done(&former->told);
    MEM_GIVE(former);
}

/* It is the dialog's last, and its transaction's. */
static enum err exchange_begin(struct dialog *d, unsigned from, sv text, sv passed, uint32_t cseq,
                               struct exchange **slot)
{
    struct exchange *made = MEM_TAKE(struct exchange), *x = NULL;
    if (!made)
        return ERR_NOMEM;
    exchange_hold(&x, made);
    x->offerer = from;
    x->cseq = cseq;
    x->open = true;
    enum err rc = text_set(&x->offer, text);
    if (!rc)
        rc = text_set(&x->passed, passed);
    if (!rc) {
        exchange_hold(&d->before, d->exchange);
        exchange_hold(&d->exchange, x);
        exchange_hold(slot, x);
    }
    exchange_hold(&x, NULL);
    return rc;
}

/* Another offer of a call that does without us: it may not become one that has no keys where they are required. */
static enum proxy_body passes_by(const struct dialog *d, const struct settings *set, sv text,
                                 struct arena *out, struct proxy_body_new *ret)
{
    struct arena *a = &d->anchor->scratch;
    struct sdp_fault fault = {0};
    struct reading *r;
    if (set->media.srtp != MEDIA_SRTP_REQUIRE || set->media.mode == MEDIA_NEVER)
        return PROXY_BODY_PASS;
    enum err rc = read_text(a, text, &r, &fault);
    if (rc)
        return refuse(rc, fault_text(a, rc, &fault), out, ret);
    return keys_as_wanted(set->media.srtp, &r->offer)
               ? PROXY_BODY_PASS
               : refuse(ERR_DENIED, SV("SRTP is required"), out, ret);
}

static const sv no_ports = {"no media ports", sizeof("no media ports") - 1};

enum proxy_body anchor_room(struct anchor_passage *p, sv text, struct arena *out,
                            struct proxy_body_new *ret)
{
    struct anchor *a = p->anchor;
    struct sdp_fault fault;
    struct reading *r;
    if (session_room(a->sessions, p->payer, OFFER_MEDIA_MAX) == ERR_OK ||
        read_text(&a->scratch, text, &r, &fault) ||
        !always_relayed(p->set, &r->offer, &p->caller.facts))
        return PROXY_BODY_PASS;
    switch (session_room(a->sessions, p->payer, r->offer.n)) {
    case ERR_DENIED:
        stat_refuse(&a->loop->stats, STAT_LIMIT_MEDIA_QUOTA);
        return refuse_quota(out, ret);
    case ERR_BUSY:
        stat_refuse(&a->loop->stats, STAT_LIMIT_MEDIA_PORTS);
        return refuse(ERR_BUSY, no_ports, out, ret);
    default:
        return PROXY_BODY_PASS;
    }
}

enum proxy_body anchor_offer(struct dialog *d, const struct settings *set, unsigned from, sv text,
                             struct exchange **slot, uint32_t cseq, struct arena *out,
                             struct proxy_body_new *ret)
{
    struct arena *a = &d->anchor->scratch;
    struct offer_reasons why = {.n = 0};
    struct sdp_fault fault = {0};
    struct reading *r;
    sv passed;
    if (d->direct)
        return passes_by(d, set, text, out, ret);
    if (*slot && ((*slot)->open || (*slot)->answered) && (*slot)->offerer == from &&
        sv_eq(text_sv(&(*slot)->offer), text))
        return replace(out, text_sv(&(*slot)->passed), ret); /* the same, to the next server */
    if (d->ended)
        return PROXY_BODY_PASS;
    if (is_plain(d, set, from, text)) {
        d->direct = true;
        return PROXY_BODY_PASS;
    }
    enum err rc = read_text(a, text, &r, &fault);
    if (rc) /* what cannot be read cannot be exchanged; to whom it may mean something it goes on */
        return set->media.mode == MEDIA_ALWAYS || set->media.srtp == MEDIA_SRTP_REQUIRE ||
                       d->session.generation
                   ? refuse(rc, fault_text(a, rc, &fault), out, ret)
                   : PROXY_BODY_PASS;
    if (!d->session.generation && !d->relay && stays_out(d, set, from, &r->offer)) {
        d->direct = true;
        return PROXY_BODY_PASS;
    }
    party_profile(&d->party[from], &r->offer, anchor_policy(set).srtp);
    party_ice(&d->party[from], &r->offer);
    rc = session_of(d);
    if (!rc && !fits(d, &r->offer)) {
        anchor_settle(d);
        return refuse_bandwidth(out, ret);
    }
    if (!rc)
        rc = session_offered(d->anchor->sessions, d->session, &r->offer);
    if (rc == ERR_DENIED) {
        anchor_settle(d);
        return refuse_quota(out, ret);
    }
    if (!rc)
        rc = pass(d, set, from, &r->offer, a, &passed, &why);
    log_reasons(d, "media.offer", &why);
    if (!rc)
        rc = exchange_begin(d, from, text, passed, cseq, slot);
    if (rc)
        anchor_settle(d);
    if (rc)
        return refuse(rc, rc == ERR_BUSY ? no_ports : last_reason(&why), out, ret);
    return replace(out, passed, ret);
}

/* ---- answers ---- */

sv anchor_decline(struct dialog *d, sv offer, struct arena *out)
{
    struct arena *a = &d->anchor->scratch;
    struct sdp from,
        to = {.origin = {.username = SV("-"), .session_id = SV("0"), .version = SV("0")}};
    struct buf b;
    sv text = SV_NONE;
    struct sdp_media *media;
    if (sdp_parse(offer, a, &from, NULL) || sdp_conn_set(SV("0.0.0.0"), &to.origin.addr) ||
        !(media = arena_calloc(a, from.n_media + 1, sizeof(*media))))
        return SV_NONE;
    for (size_t i = 0; i < from.n_media; i++)
        media[i] = (struct sdp_media){.type = from.media[i].type,
                                      .ports = 1,
                                      .proto = from.media[i].proto,
                                      .formats = from.media[i].formats,
                                      .n_formats = from.media[i].n_formats > 0};
    to.media = media;
    to.n_media = from.n_media;
    char *mem = arena_alloc(a, offer.n + 256);
    if (!mem)
        return SV_NONE;
    buf_init(&b, mem, offer.n + 256);
    sdp_print(&b, &to);
    return b.rc || sv_dup(out, buf_sv(&b), &text) ? SV_NONE : text;
}

static enum err answer(struct dialog *d, const struct settings *set, unsigned from, sv text,
                       const struct exchange *x, unsigned next, struct arena *a, sv *ret_text,
                       struct offer_reasons *why, struct sdp_fault *fault)
{
    struct reading *offer, *passed, *answer;
    struct sessions *m = d->anchor->sessions;
    struct offer_ours *ours_a = ARENA_NEW(a, struct offer_ours),
                      *ours_b = ARENA_NEW(a, struct offer_ours);
    struct offer_plan *plan = ARENA_NEW(a, struct offer_plan);
    struct offer_policy p = anchor_policy(set);
    if (!ours_a || !ours_b || !plan)
        return ERR_NOMEM;
    anchor_digit_policy(d, !from, &p);
    TRY(read_text(a, text_sv(&x->offer), &offer, fault));
    TRY(read_text(a, text_sv(&x->passed), &passed, fault));
    TRY(read_text(a, text, &answer, fault));
    if (next && session_restarts(m, d->session, !from, &offer->offer))
        next |= SESSION_RESTART;
    TRY(session_ours(m, d->session, !from, next, ours_a));
    TRY(session_ours(m, d->session, from, 0, ours_b));
    TRY(offer_answer(&offer->offer, &passed->offer, &answer->offer, &p, ours_a, ours_b, a, ret_text,
                     plan, why));
    if (!d->party[from].profiled)
        party_profile(&d->party[from], &answer->offer, p.srtp);
    party_ice(&d->party[from], &answer->offer);
    uint64_t bits = offer_bandwidth(&offer->offer, plan);
    TRY(session_reserve(m, d->session, bits)); /* no more than was reserved with the offer */
    TRY(session_apply(m, d->session, !from, plan));
    d->agreed = bits;
    d->planned = true;
    anchor_digit_planned(d, !from, plan);
    return ERR_OK;
}

void anchor_plan_again(struct dialog *d)
{
    struct offer_reasons why = {.n = 0};
    struct sdp_fault fault = {0};
    const struct exchange *x = d->exchange && !d->exchange->answered ? d->before : d->exchange;
    sv told;
    if (d->direct || d->ended || !x || !x->answered)
        return;
    arena_reset(&d->anchor->scratch);
    enum err rc = answer(d, d->anchor->set, !x->offerer, text_sv(&x->answer), x, 0,
                         &d->anchor->scratch, &told, &why, &fault);
    log_reasons(d, "media.again", &why);
    if (rc)
        LOG_INFO("anchor", "media.unplanned", F_SV("call", text_sv(&d->call_id)), F_ERR(rc));
}

enum proxy_body anchor_answer(struct dialog *d, const struct settings *set, unsigned from, sv text,
                              struct exchange *x, struct arena *out, struct proxy_body_new *ret)
{
    struct offer_reasons why = {.n = 0};
    struct sdp_fault fault = {0};
    sv told;
    if (d->direct || !x || x->offerer == from)
        return PROXY_BODY_PASS;
    bool past = d->ended || x != d->exchange;
    if (x->answered && (past || sv_eq(text_sv(&x->answer), text))) {
        if (!past)
            session_retold(d->anchor->sessions, d->session, !from);
        return replace(out, text_sv(&x->told), ret);
    }
    if (past)
        return refuse(ERR_STATE, SV("what it answers is over"), out, ret);
    enum err rc =
        answer(d, set, from, text, x, SESSION_NEXT, &d->anchor->scratch, &told, &why, &fault);
    log_reasons(d, "media.answer", &why);
    if (!rc)
        rc = text_set(&x->answer, text);
    if (!rc)
        rc = text_set(&x->told, told);
    if (!rc) {
        x->answered = true;
        keep_reasons(d, &why);
        return replace(out, told, ret);
    }
    refuse(rc, fault.why ? fault_text(&d->anchor->scratch, rc, &fault) : last_reason(&why), out,
           ret);
    if (rc == ERR_SYNTAX || rc == ERR_TOOBIG) /* §21.5.3: what came is no good */
        ret->status = 502;
    return PROXY_BODY_REFUSE;
}

enum proxy_body anchor_no_answer(struct dialog *d, const struct exchange *x, const char *why,
                                 struct arena *out, struct proxy_body_new *ret)
{
    if (d->direct || !x || x->answered)
        return PROXY_BODY_PASS;
    refuse(ERR_SYNTAX, why ? sv_of(why) : SV("the 2xx has no answer to the offer"), out, ret);
    ret->status = 502;
    return PROXY_BODY_REFUSE;
}
