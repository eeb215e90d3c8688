/* SPDX-License-Identifier: MIT */
/* Dialogs whose media may pass through us, and what the proxy asks about each message of theirs. */
#include "anchor/anchor_priv.h"
#include "log/log.h"

enum { SCRATCH_MAX = 1024 * 1024, DIALOGS_EXPECTED = 64 };

/* ---- texts ---- */

enum err text_set(struct text *t, sv from)
{
    char *p = NULL;
    if (from.n > ANCHOR_TEXT_MAX)
        return ERR_TOOBIG;
    if (from.n > 0) {
        p = mem_take(from.n);
        if (!p)
            return ERR_NOMEM;
        memcpy(p, from.p, from.n);
    }
    mem_give(t->p, t->n);
    *t = (struct text){p, from.n};
    return ERR_OK;
}

void text_done(struct text *t)
{
    mem_give(t->p, t->n);
    *t = (struct text){NULL, 0};
}

/* ---- dialogs ---- */

/* As a message's Call-ID is hashed for its home already. */
static uint64_t hash_of(const struct anchor *a, sv call_id)
{
    return home_key(sip_home(a->sip), call_id).a;
}

static void dialog_release(struct dialog *d)
{
    if (--d->users > 0)
        return;
    hash_remove(&d->anchor->dialogs, &d->by_call_id);
    loop_timer_cancel(d->anchor->loop, &d->late);
    loop_timer_cancel(d->anchor->loop, &d->ack);
    session_end(d->anchor->sessions, d->session);
    anchor_digit_done(d);
    d->anchor->count--;
    text_done(&d->call_id);
    text_done(&d->why);
    text_done(&d->refused);
    exchange_hold(&d->exchange, NULL);
    exchange_hold(&d->before, NULL);
    exchange_hold(&d->first, NULL);
    for (unsigned i = 0; i < SIDES; i++) {
        text_done(&d->tag[i]);
        reach_done(&d->reach[i]);
    }
    MEM_GIVE(d);
}

static void apart_leave(struct dialog *d)
{
    d->anchor->apart_n -= list_linked(&d->apart);
    list_unlink(&d->apart);
}

void dialog_end(struct dialog *d)
{
    if (d->ended)
        return;
    d->ended = true;
    apart_leave(d);
    loop_timer_cancel(d->anchor->loop, &d->late);
    loop_timer_cancel(d->anchor->loop, &d->ack);
    session_end(d->anchor->sessions, d->session);
    d->session = (struct session_id){0, 0};
    hash_remove(&d->anchor->dialogs, &d->by_call_id);
    if (d->stands)
        dialog_release(d);
}

void dialog_has_session(struct dialog *d)
{
    apart_leave(d);
    if (d->loss == LOST_SIGHT)
        loop_timer_cancel(d->anchor->loop, &d->late);
}

/* Its media is not ours, so that only its messages end it, or that there are none. */
static void apart_heard(struct dialog *d)
{
    struct anchor *a = d->anchor;
    list_unlink(&d->apart);
    list_push(&a->apart, &d->apart);
    d->loss = LOST_SIGHT;
    loop_timer(a->loop, &d->late, USEC_DAY);
}

static void apart_enter(struct dialog *d)
{
    struct anchor *a = d->anchor;
    if (a->apart_n > 0 && a->apart_n >= a->set->calls_max) {
        stat_refuse(&a->loop->stats, STAT_LIMIT_CALLS);
        dialog_end(CONTAINER(a->apart.next, struct dialog, apart));
    }
    a->apart_n++;
    apart_heard(d);
}

void dialog_has_none(struct dialog *d)
{
    session_end(d->anchor->sessions, d->session);
    d->session = (struct session_id){0, 0};
    apart_enter(d);
}

static struct dialog *dialog_new(struct anchor_passage *p, struct rx *rx)
{
    const struct sip_addr *from;
    sv call_id;
    struct dialog *d = MEM_TAKE(struct dialog);
    if (!d)
        return NULL;
    d->anchor = p->anchor;
    d->users = 1;
    d->slot = rx->slot;
    d->anchor->count++;
    anchor_digit_init(d);
    timer_init(&d->late, dialog_on_late, d);
    timer_init(&d->ack, dialog_on_no_ack, d);
    d->party[CALLER] = p->caller;
    d->payer = p->payer;
    d->call = p->call;
    if (sipmsg_from(&rx->msg, &from) || sipmsg_call_id(&rx->msg, &call_id) ||
        text_set(&d->call_id, call_id) || text_set(&d->tag[CALLER], from->tag)) {
        dialog_release(d);
        return NULL;
    }
    hash_insert(&d->anchor->dialogs, &d->by_call_id, sip_call_key(d->anchor->sip, rx)->a);
    return d;
}

/* Early dialogs of one branch share a session: the last one to speak is known. */
static struct dialog *dialog_of(struct anchor *a, uint64_t hash, sv call_id, sv tag, sv other,
                                unsigned *ret_side)
{
    HASH_EACH (d, &a->dialogs, hash, struct dialog, by_call_id) {
        if (!sv_eq(text_sv(&d->call_id), call_id))
            continue;
        unsigned side = sv_eq(text_sv(&d->tag[CALLER]), tag) ? CALLER : CALLEE;
        sv caller = side == CALLER ? tag : other, callee = side == CALLER ? other : tag;
        if (!sv_eq(text_sv(&d->tag[CALLER]), caller))
            continue;
        *ret_side = side;
        if (sv_eq(text_sv(&d->tag[CALLEE]), callee))
            return d;
    }
    return NULL;
}

struct dialog *dialog_of_request(struct anchor *a, struct rx *rx, unsigned *ret_side)
{
    const struct sip_addr *from, *to;
    sv call_id;
    if (a->dialogs.count == 0 || sipmsg_from(&rx->msg, &from) || sipmsg_to(&rx->msg, &to) ||
        sipmsg_call_id(&rx->msg, &call_id))
        return NULL;
    return dialog_of(a, sip_call_key(a->sip, rx)->a, call_id, from->tag, to->tag, ret_side);
}

/* ---- requests ---- */

static void passage_free(struct anchor_passage *p)
{
    if (p->exchange)
        p->exchange->asks = false;
    if (p->exchange && !p->answers)
        anchor_over(p->dialog, p->exchange);
    exchange_hold(&p->exchange, NULL);
    if (p->dialog)
        dialog_release(p->dialog);
    settings_unref(p->set);
    MEM_GIVE(p);
}

enum err anchor_passage(struct anchor *a, struct rx *rx, struct settings *set, sv payer, bool known,
                        struct anchor_passage **ret_passage)
{
    const struct sip_addr *to;
    const struct sip_cseq *cseq;
    unsigned side = CALLER;
    TRY(sipmsg_to(&rx->msg, &to));
    TRY(sipmsg_cseq(&rx->msg, &cseq));
    struct dialog *d = to->tag.n > 0 ? dialog_of_request(a, rx, &side) : NULL;
    /* A tag makes no dialog: who wrote it may have made it up. */
    bool begins = !d && !known && rx->msg.method == SIP_INVITE;
    if (!d && (!begins || set->media.mode == MEDIA_NEVER)) {
        *ret_passage = NULL;
        return ERR_OK;
    }
    struct anchor_passage *p = MEM_TAKE(struct anchor_passage);
    if (!p)
        return ERR_NOMEM;
    *ret_passage = p;
    p->anchor = a;
    p->set = settings_ref(set);
    p->method = rx->msg.method;
    p->cseq = cseq->number;
    p->sender = side;
    if (d) {
        p->dialog = d;
        d->users++;
        if (list_linked(&d->apart) && d->loss == LOST_SIGHT)
            apart_heard(d);
        if (session_source(a->sessions, d->session, side, &rx->source))
            LOG_DEBUG("anchor", "media.none", F_SV("call", text_sv(&d->call_id)));
        return ERR_OK;
    }
    party_of_sender(a, rx, &p->caller);
    p->payer = session_payer(a->sessions, payer);
    p->call = ++a->calls;
    return ERR_OK;
}

/* The callee of this leg is there; a session made for another place of ours is no use. */
static enum err meet(struct dialog *d, const struct settings *set, const struct proxy_passing *m)
{
    struct party callee;
    TRY(party_of_dest(d->anchor, set, m->target, m->dest, &callee));
    if (d->session.generation &&
        !addr_equal_ip(&callee.media.local, &d->party[CALLEE].media.local)) {
        session_end(d->anchor->sessions, d->session);
        d->session = (struct session_id){0, 0};
        exchange_hold(&d->first, NULL);
    }
    if (d->reach[CALLER].raise > 0)
        callee.profile = d->party[CALLEE].profile;
    d->party[CALLEE] = callee;
    if (d->session.generation &&
        session_source(d->anchor->sessions, d->session, CALLEE, &callee.media.source)) {
        d->session = (struct session_id){0, 0}; /* it has ended meanwhile */
        exchange_hold(&d->first, NULL);
    }
    return ERR_OK;
}

/* There may be a description in it that nobody can look at, and what is not encrypted is not to pass. */
static bool is_sealed(const struct settings *set, enum sip_method method, const char *why)
{
    return why && set->media.srtp == MEDIA_SRTP_REQUIRE &&
           (method == SIP_INVITE || method == SIP_UPDATE || method == SIP_PRACK ||
            method == SIP_ACK);
}

static enum proxy_body outside(struct anchor_passage *p, void **leg, const struct proxy_passing *m,
                               struct proxy_body_new *ret)
{
    struct dialog *d = *leg;
    if (!d)
        d = *leg = dialog_new(p, m->rx);
    if (!d) {
        ret->status = 503; /* what cannot be looked at does not go on */
        return PROXY_BODY_REFUSE;
    }
    if (is_sealed(p->set, p->method, m->why))
        return anchor_unread(m->why, m->arena, ret);
    if (meet(d, p->set, m))
        return PROXY_BODY_PASS; /* nothing can be sent there: that is the proxy's to say */
    anchor_digit_learn(d, CALLER, m->rx);
    enum proxy_body act = PROXY_BODY_PASS;
    if (sv_present(m->description)) {
        p->offered = true;
        act = anchor_offer(d, p->set, CALLER, m->description, &d->first, p->cseq, m->arena, ret);
    }
    if (!d->direct)
        reach_heard(d, CALLER, m->rx, NULL);
    (void)reach_number(d, CALLER, p->cseq); /* the first has its order */
    ret->raise = d->reach[CALLER].invite_raise = d->reach[CALLER].raise;
    return act;
}

/* In a dialog what comes while an offer waits for its answer is that (RFC 3262 §5), else an offer. */
/* RFC 3261 §14.2, 3311 §5.2: who has offered and waits takes no offer. Both sides have; the one that came first goes on. */
static bool crosses(const struct anchor_passage *p)
{
    const struct exchange *x = p->dialog->exchange;
    return x && x != p->exchange && x->asks && !x->answered && x->offerer != p->sender;
}

static enum proxy_body inside(struct anchor_passage *p, const struct proxy_passing *m,
                              struct proxy_body_new *ret)
{
    struct dialog *d = p->dialog;
    enum proxy_body act = PROXY_BODY_PASS;
    if (is_sealed(p->set, p->method, m->why))
        return anchor_unread(m->why, m->arena, ret);
    if (!reach_number(d, p->sender, p->cseq)) {
        ret->status = 500;
        ret->reason = SV("Out of Order");
        return PROXY_BODY_REFUSE;
    }
    anchor_digit_learn(d, p->sender, m->rx);
    anchor_digit_of(m->rx, &p->key);
    if (!p->exchange && p->method == SIP_PRACK && d->exchange && !d->exchange->answered &&
        d->exchange->offerer != p->sender) {
        exchange_hold(&p->exchange, d->exchange);
        p->answers = true;
    }
    if (sv_present(m->description) && !d->ended) {
        p->offered = !p->exchange || p->exchange->offerer == p->sender;
        if (p->offered && crosses(p)) {
            ret->status = 491;
            return PROXY_BODY_REFUSE;
        }
        act = p->offered
                  ? anchor_offer(d, p->set, p->sender, m->description, &p->exchange, p->cseq,
                                 m->arena, ret)
                  : anchor_answer(d, p->set, p->sender, m->description, p->exchange, m->arena, ret);
        if (p->offered && p->exchange)
            p->exchange->asks = act == PROXY_BODY_REPLACE;
    }
    struct reach *r = &d->reach[p->sender];
    if (!d->ended && !d->direct)
        reach_heard(d, p->sender, m->rx, NULL);
    reach_counts(d, p->sender, p->cseq + r->raise);
    if (p->method == SIP_INVITE)
        r->invite_raise = r->raise;
    ret->raise = r->raise;
    return act;
}

/* It is known for more than its first transaction: its media, its numbers, or whether it goes on as is required. */
static bool is_kept(const struct dialog *d, const struct settings *set)
{
    return !d->direct || d->reach[CALLER].raise || set->media.srtp == MEDIA_SRTP_REQUIRE;
}

static enum proxy_body on_request(void *arg, void **leg, const struct proxy_passing *m,
                                  struct proxy_body_new *ret)
{
    struct anchor_passage *p = arg;
    arena_reset(&p->anchor->scratch);
    if (m->why)
        LOG_INFO("anchor", "media.unread", F_STR("why", m->why));
    if (p->dialog) {
        const struct dialog *d = p->dialog;
        if (is_kept(d, p->set) || d->reach[CALLEE].raise)
            *leg = p; /* a 2xx that comes again is ours to change, too */
        return inside(p, m, ret);
    }
    return outside(p, leg, m, ret);
}

/* ---- responses ---- */

static void note_tag(struct dialog *d, struct rx *rx)
{
    const struct sip_addr *to;
    if (sipmsg_to(&rx->msg, &to) == ERR_OK && to->tag.n > 0 &&
        !sv_eq(text_sv(&d->tag[CALLEE]), to->tag) && text_set(&d->tag[CALLEE], to->tag))
        LOG_WARN("anchor", "memory");
}

/* The response is of this dialog, and not of another one that its branch brought (RFC 3261 §12.1.2). */
static bool is_of(const struct dialog *d, struct rx *rx)
{
    const struct sip_addr *to;
    return sipmsg_to(&rx->msg, &to) == ERR_OK &&
           (sv_eq(to->tag, text_sv(&d->tag[CALLEE])) || sv_eq(to->tag, text_sv(&d->tag[CALLER])));
}

/* A 2xx goes up. */
static void stand(struct anchor_passage *p, struct dialog *d, const struct proxy_passing *m)
{
    if (!p->dialog && !d->stands && !d->ended && is_kept(d, p->set)) {
        d->stands = true; /* held by the dialog itself from now on */
        d->users++;
        session_answered(d->anchor->sessions, d->session);
        if (d->session.generation == 0)
            apart_enter(d);
    }
    if (d->direct || !d->stands || !is_of(d, m->rx))
        return;
    reach_heard(d, p->dialog ? !p->sender : CALLEE, m->rx, m->dest);
    if (p->method == SIP_INVITE)
        dialog_await_ack(d, p->sender, p->cseq);
}

/* A 2xx to INVITE that cannot go up: the proxy says ACK and BYE to who answered, behind what he has seen. In a dialog that
 * stood the other one has to hear it, too. */
static void unfit(struct anchor_passage *p, struct dialog *d, const struct proxy_passing *m,
                  struct proxy_body_new *ret)
{
    const struct sip_cseq *cseq;
    const struct reach *r = &d->reach[p->dialog ? p->sender : CALLER];
    if (sipmsg_cseq(&m->rx->msg, &cseq) == ERR_OK && r->seen > cseq->number)
        ret->raise = r->seen - cseq->number;
    if (!p->offered)
        ret->description = anchor_decline(d, m->description, m->arena);
    if (p->dialog)
        dialog_unfit(d, p->sender);
}

/* A 2xx to INVITE whose offer was answered before goes up without it, another one not at all. */
static enum proxy_body sealed(const struct anchor_passage *p, const struct exchange *x,
                              const struct proxy_passing *m, struct proxy_body_new *ret)
{
    if (m->status >= 200 && p->method == SIP_INVITE && p->offered && x && x->answered) {
        ret->description = SV("");
        return PROXY_BODY_REPLACE;
    }
    return anchor_unread(m->why, m->arena, ret);
}

static bool is_media_refusal(uint16_t status)
{
    return status == 488 || status == 606 || status == 415;
}

static enum proxy_body on_response(void *arg, void **leg, const struct proxy_passing *m,
                                   struct proxy_body_new *ret)
{
    struct anchor_passage *p = arg;
    struct dialog *d = p->dialog ? p->dialog : *leg;
    if (!d)
        return PROXY_BODY_PASS;
    arena_reset(&p->anchor->scratch);
    bool success = m->status >= 200 && m->status < 300;
    if (!p->dialog && m->status < 300 && !d->stands && !d->ended) {
        note_tag(d, m->rx);
        reach_counts(d, CALLER, p->cseq + d->reach[CALLER].invite_raise); /* it has seen that */
    }
    enum proxy_body act = PROXY_BODY_PASS;
    if (m->status >= 200 && p->exchange)
        p->exchange->asks = false;
    if (m->status >= 300 && p->exchange && !p->answers)
        anchor_over(d, p->exchange);
    unsigned from = p->dialog ? !p->sender : CALLEE;
    struct exchange **slot = p->dialog ? &p->exchange : &d->first;
    if (m->status > 100 && m->status < 300)
        anchor_digit_learn(d, from, m->rx);
    else if (m->status >= 300 && p->key.digit)
        anchor_digit_refused(d, from, m->status, p->key.digit, p->key.ms);
    if (m->status < 300 && is_sealed(p->set, p->method, m->why))
        act = sealed(p, *slot, m, ret);
    else if (sv_present(m->description) && m->status < 300 && p->method != SIP_BYE)
        act = p->offered
                  ? anchor_answer(d, p->set, from, m->description, *slot, m->arena, ret)
                  : anchor_offer(d, p->set, from, m->description, slot, p->cseq, m->arena, ret);
    else if (success && p->method == SIP_INVITE && p->offered)
        act = anchor_no_answer(d, *slot, m->why, m->arena, ret);
    if (!p->dialog && p->offered && is_media_refusal(m->status))
        anchor_refused(d, p->set, m->rx, m->arena, ret);
    if (success && p->method == SIP_INVITE && act == PROXY_BODY_REFUSE)
        unfit(p, d, m, ret);
    else if (success)
        stand(p, d, m);
    if (success && *slot && (*slot)->answered)
        anchor_over(d, *slot);
    if (success && !p->dialog && d->direct && !d->stands) {
        /* nothing of it is ours to look at any more */
        *leg = NULL;
        dialog_end(d);
        dialog_release(d);
        return act;
    }
    return act;
}

/* The ways that are left to put an offer to a phone. */
static bool next_way(struct dialog *d, const struct settings *set)
{
    static const enum offer_profile next[] = {
        [OFFER_AVP] = OFFER_SAVP, [OFFER_SAVP] = OFFER_DTLS_AVP};
    struct party *p = &d->party[CALLEE];
    if (d->direct) {
        d->direct = false;
        d->relay = true;
        d->way = SV("relayed: what is offered directly the callee refuses");
        return true;
    }
    if (p->facts.web || p->profiled || p->profile > OFFER_SAVP ||
        set->media.srtp == MEDIA_SRTP_NEVER)
        return false;
    p->profile = next[p->profile];
    return true;
}

static bool on_refused(void *arg, void **leg, uint16_t status)
{
    struct anchor_passage *p = arg;
    struct dialog *d = *leg;
    if (!is_media_refusal(status) || p->dialog || !p->offered || !next_way(d, p->set))
        return false;
    arena_reset(&p->anchor->scratch);
    anchor_tried(d);
    exchange_hold(&d->first, NULL); /* what was made of it is not what is sent now */
    d->reach[CALLER].raise++;
    LOG_DEBUG("anchor", "media.again", F_SV("call", text_sv(&d->call_id)), F_INT("status", status));
    return true;
}

static void on_leg_gone(void *arg, void *leg)
{
    struct dialog *d = leg;
    if (leg == arg) /* a request within a dialog */
        return;
    if (!d->stands)
        dialog_end(d);
    else if (d->first)
        anchor_over(d, d->first);
    exchange_hold(&d->first, NULL);
    dialog_release(d);
}

static void on_gone(void *arg)
{
    passage_free(arg);
}

static enum proxy_body on_begin(void *arg, const struct proxy_passing *m,
                                struct proxy_body_new *ret)
{
    struct anchor_passage *p = arg;
    if (p->dialog || !sv_present(m->description))
        return PROXY_BODY_PASS;
    arena_reset(&p->anchor->scratch);
    return anchor_room(p, m->description, m->arena, ret);
}

static void on_told(void *arg, struct rx *rx, const struct proxy_body_new *why)
{
    struct anchor_passage *p = arg;
    anchor_log_refused(p->anchor, rx, why);
}

const struct proxy_bodies anchor_bodies = {.on_begin = on_begin,
                                           .on_told = on_told,
                                           .on_request = on_request,
                                           .on_response = on_response,
                                           .on_refused = on_refused,
                                           .on_leg_gone = on_leg_gone,
                                           .on_gone = on_gone};

/* The one that this ACK of side answers, if it brings a description: that of the 2xx before it. */
static struct exchange *acknowledged(const struct dialog *d, unsigned side, uint32_t cseq)
{
    struct exchange *known[] = {d->exchange, d->before, d->first};
    for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i] && known[i]->offerer != side && known[i]->cseq == cseq)
            return known[i];
    }
    return NULL;
}

void anchor_ack(struct anchor *a, struct rx *ack, struct proxy_body_new *ret)
{
    struct sip_description found;
    const struct sip_cseq *cseq;
    unsigned side;
    struct dialog *d = dialog_of_request(a, ack, &side);
    if (!d || sipmsg_cseq(&ack->msg, &cseq))
        return;
    d->confirmed = true;
    struct exchange *x = acknowledged(d, side, cseq->number);
    sipmsg_description(&ack->msg, &found);
    if (is_sealed(a->set, SIP_ACK, found.why))
        ret->description = SV(""); /* nobody refuses an ACK */
    if (sv_present(found.text) && !d->ended) {
        arena_reset(&a->scratch);
        enum proxy_body act = anchor_answer(d, a->set, side, found.text, x, &ack->arena, ret);
        if (act == PROXY_BODY_REFUSE)
            anchor_log_refused(a, ack, ret);
        if (act != PROXY_BODY_REPLACE)
            ret->description = SV_NONE;
    }
    dialog_acked(d, side, cseq->number);
    if (x)
        anchor_over(d, x);
    ret->raise = d->reach[side].invite_raise;
}

void anchor_hung_up(struct anchor *a, struct rx *bye, bool refused)
{
    unsigned side;
    struct dialog *d = dialog_of_request(a, bye, &side);
    if (d && refused)
        dialog_refused_bye(d, side);
    else if (d)
        dialog_end(d);
}

bool anchor_relays(struct anchor *a, struct rx *rx)
{
    unsigned side;
    const struct dialog *d = dialog_of_request(a, rx, &side);
    return d && d->stands && d->session.generation != 0;
}

bool anchor_find(struct anchor *a, sv call_id, sv caller_tag, sv callee_tag,
                 struct session_id *ret_id, sv *ret_why)
{
    unsigned side;
    const struct dialog *d =
        dialog_of(a, hash_of(a, call_id), call_id, caller_tag, callee_tag, &side);
    if (!d || d->session.generation == 0)
        return false;
    *ret_id = d->session;
    *ret_why = d->why.n > 0 ? text_sv(&d->why) : d->way;
    return true;
}

/* ---- life ---- */

static struct session_config config_of(const struct settings *set)
{
    const struct settings_media *m = &set->media;
    return (struct session_config){.relay = {.latch = m->latch, .dscp = m->dscp},
                                   .silence = m->silence,
                                   .bandwidth = m->bandwidth,
                                   .quota = m->quota * SETTINGS_PORTS_OF_CALL};
}

enum err anchor_new(struct sip *s, struct session_shared *shared, struct settings *set,
                    struct anchor **ret_anchor)
{
    struct session_config c = config_of(set);
    struct anchor *a = MEM_NEW(struct anchor);
    if (!a)
        return ERR_NOMEM;
    a->sip = s;
    a->loop = sip_loop(s);
    a->set = set;
    arena_init(&a->scratch, NULL, 0, SCRATCH_MAX);
    list_init(&a->apart);
    enum err rc = hash_init(&a->dialogs, DIALOGS_EXPECTED);
    if (!rc)
        rc = sessions_new(a->loop, shared, &c, &a->sessions);
    if (rc) {
        hash_done(&a->dialogs);
        mem_free(a);
        return rc;
    }
    *ret_anchor = a;
    return ERR_OK;
}

static bool forget(struct hash_node *n, void *arg)
{
    struct dialog *d = CONTAINER(n, struct dialog, by_call_id);
    (void)arg;
    d->users = 1;
    dialog_release(d);
    return true;
}

void anchor_free(struct anchor *a)
{
    if (!a)
        return;
    hash_walk(&a->dialogs, forget, NULL);
    sessions_free(a->sessions);
    hash_done(&a->dialogs);
    arena_done(&a->scratch);
    mem_free(a);
}

void anchor_settings(struct anchor *a, struct settings *set)
{
    struct session_config c = config_of(set);
    a->set = set;
    sessions_configure(a->sessions, &c);
}

struct sessions *anchor_sessions(struct anchor *a)
{
    return a->sessions;
}

void anchor_on_ended(struct anchor *a, anchor_ended_fn *fn, void *arg)
{
    a->ended = fn;
    a->ended_arg = arg;
}

size_t anchor_count(const struct anchor *a)
{
    return a->count;
}
