/* SPDX-License-Identifier: MIT */
/* Calls that end here with sound. Dialogs are answer's, media is session's; this is what lies between. */
#include "announce/announce.h"

#include "log/log.h"

enum { SCRATCH_MAX = 1024 * 1024 };

struct announce {
    struct loop *loop;
    struct anchor *anchor;
    struct settings *set;
    struct link calls;
    size_t count;
    struct log_brake refusals;
};

enum { PATH_TOLD = 200 }; /* octets of a path, from its end */

struct spoken {
    struct announce *all;
    struct link by_all;
    struct answer_call *call; /* NULL: it has ended */
    struct session_id session;
    struct file_loading *loading; /* NULL: nothing is being read */
    bool play;
    sv text;              /* our answer, until it is given; of our own memory */
    char file[PATH_TOLD]; /* for the log */
};

static void spoken_free(struct spoken *x)
{
    if (x->loading)
        file_load_cancel(x->loading);
    session_end(anchor_sessions(x->all->anchor), x->session);
    mem_give((void *)(uintptr_t)x->text.p, x->text.n);
    list_unlink(&x->by_all);
    x->all->count--;
    MEM_GIVE(x);
}

/* ---- descriptions ---- */

/* Why an offer was not taken. */
struct refusal {
    bool narrow; /* for bandwidth */
    bool full;   /* for its account's quota */
    struct offer_reasons why;
};

/* What we answer to this offer, in a; the session does it from now on. */
static enum err read_and_apply(struct spoken *x, sv offer, struct arena *a, sv *ret_text,
                               struct refusal *no)
{
    struct sessions *m = anchor_sessions(x->all->anchor);
    struct offer_policy p = anchor_policy(x->all->set);
    struct sdp *sdp = ARENA_NEW(a, struct sdp);
    struct offer_session *read = ARENA_NEW(a, struct offer_session);
    struct offer_ours *ours = ARENA_NEW(a, struct offer_ours);
    struct offer_plan *plan = ARENA_NEW(a, struct offer_plan);
    if (!sdp || !read || !ours || !plan)
        return ERR_NOMEM;
    TRY(sdp_parse(offer, a, sdp, NULL));
    TRY(offer_read(sdp, a, read, NULL));
    enum err rc = session_offered(m, x->session, read);
    no->full = rc == ERR_DENIED;
    TRY(rc);
    unsigned flags = session_restarts(m, x->session, SESSION_OFFERER, read) ? SESSION_RESTART : 0;
    TRY(session_ours(m, x->session, SESSION_OFFERER, SESSION_NEXT | flags, ours));
    TRY(offer_accept(read, &p, ours, a, ret_text, plan, &no->why));
    rc = session_reserve(m, x->session, offer_bandwidth(read, plan));
    no->narrow = rc == ERR_BUSY;
    return rc ? rc : session_apply(m, x->session, SESSION_OFFERER, plan);
}

static enum err agree(struct spoken *x, sv offer, struct arena *a, sv *ret_text, struct refusal *no)
{
    enum err rc = read_and_apply(x, offer, a, ret_text, no);
    session_settle(anchor_sessions(x->all->anchor), x->session);
    return rc;
}

/* What is said of it, and the log has it. event: which. */
static struct answer_reply said(struct spoken *x, const char *event, enum err rc,
                                const struct refusal *no)
{
    const struct offer_reasons *why = &no->why;
    struct log_brake *b = &x->all->refusals;
    struct answer_reply r = {.status = 488};
    if (no->full)
        r = (struct answer_reply){403, .warning = 399,
                                  .text = SV("this account has as many relayed calls as it may")};
    else if (no->narrow)
        r = (struct answer_reply){488, .warning = 370, .text = SV("Insufficient bandwidth")};
    else if (rc == ERR_NOMEM || rc == ERR_BUSY)
        r.status = 503;
    else if (why->n > 0)
        r = (struct answer_reply){488, .warning = rc == ERR_UNSUPPORTED ? 305 : 399,
                                  .text = why->line[why->n - 1]};
    if (!log_may(b, loop_now(x->all->loop)))
        return r;
    LOG_INFO("announce", event, F_SV("call", answer_call_id(x->call)), F_INT("status", r.status),
             F_ERR(rc), F_SV("why", r.text), F_INT("left_out", b->left_out));
    b->left_out = 0;
    return r;
}

static void refuse(struct spoken *x, enum err rc, const struct refusal *no)
{
    struct answer_reply r = said(x, "call.refused", rc, no);
    if (r.warning)
        answer_refuse(x->call, r.status, r.warning, r.text);
    else
        answer_reject(x->call, r.status, SV_NONE);
}

/* ---- the call ---- */

static void on_offer(void *arg, struct answer_call *c, struct rx *rx, sv offer,
                     struct answer_reply *ret)
{
    struct spoken *x = arg;
    struct arena a;
    struct refusal no = {.full = false};
    sv text;
    (void)c;
    arena_init(&a, NULL, 0, SCRATCH_MAX);
    /* one that asks for an offer of ours: what we have said already is one */
    enum err rc =
        sv_present(offer) && offer.n > 0 ? agree(x, offer, &a, &text, &no) : ERR_UNSUPPORTED;
    if (!rc)
        rc = sv_dup(&rx->arena, text, &ret->description);
    if (rc)
        *ret = said(x, "media.refused", rc, &no);
    if (sv_dup(&rx->arena, ret->text, &ret->text)) /* it may lie in ours */
        ret->warning = 0;
    arena_done(&a);
}

static uint16_t on_info(void *arg, struct answer_call *c, struct rx *rx)
{
    (void)arg, (void)c, (void)rx;
    return 200; /* a digit, most likely: nobody asks for one here */
}

static void on_end(void *arg, struct answer_call *c, enum answer_end why)
{
    (void)c, (void)why;
    spoken_free(arg);
}

static const struct answer_handler call_handler = {
    .on_offer = on_offer, .on_info = on_info, .on_end = on_end};

static void on_event(void *arg, struct session_id id, enum session_event e, unsigned side, sv why)
{
    static const struct answer_cause silent = {408, SV("no media from the caller"), SV("media")};
    static const struct answer_cause keyless = {488, SV("no keys with the caller: DTLS failed"),
                                                SV("media")};
    struct spoken *x = arg;
    (void)id;
    anchor_log_media(answer_call_id(x->call), e, side, why);
    if (e == SESSION_SILENT || e == SESSION_PLAYED || e == SESSION_KEY_FAULT)
        answer_end(x->call, e == SESSION_SILENT      ? &silent
                            : e == SESSION_KEY_FAULT ? &keyless
                                                     : NULL);
}
static const struct session_handler media_handler = {.on_event = on_event};

/* What was wrong with a file that could not be read, as file_load says it. */
static const char *file_fault(enum err rc)
{
    switch ((int)rc) {
    case ERR_NOTFOUND:
        return "no such file";
    case ERR_DENIED:
        return "the server may not read it";
    case ERR_UNSUPPORTED:
        return "no file of sound, or of an unknown kind";
    case ERR_TOOBIG:
        return "it is too long";
    case ERR_CORRUPT:
        return "there is no sound in it that can be read";
    default:
        return err_text(rc);
    }
}

static void on_loaded(void *arg, enum err rc, struct file_sound *sound)
{
    struct spoken *x = arg;
    const char *fault = file_fault(rc);
    x->loading = NULL;
    if (!rc) {
        rc = session_play(anchor_sessions(x->all->anchor), x->session, sound, false);
        fault = err_text(rc);
    }
    if (rc) {
        LOG_WARN("announce", "play.failed", F_SV("call", answer_call_id(x->call)),
                 F_SV("file", sv_of(x->file)), F_STR("error", fault));
        answer_reject(x->call, 480, SV("Announcement Not Available"));
    } else if (answer_accept(x->call, x->text)) {
        answer_end(x->call, NULL);
    }
}

static enum err load(struct spoken *x, sv file)
{
    uint32_t hz;
    TRY(session_sound(anchor_sessions(x->all->anchor), x->session, &hz));
    return file_load_start(x->all->loop, file, hz, on_loaded, x, &x->loading);
}

static enum err begin(struct spoken *x, sv payer, const struct settings_target *what,
                      struct arena *a, struct refusal *no)
{
    struct session_party party[SESSION_SIDES] = {{.trusted = false}};
    sv text;
    anchor_sender(x->all->anchor, answer_rx(x->call), &party[SESSION_OFFERER]);
    struct sessions *m = anchor_sessions(x->all->anchor);
    TRY(session_new(m, party, 0, &media_handler, x, &x->session));
    TRY(session_pay(m, x->session, session_payer(m, payer), (struct session_id){0, 0}));
    answer_session(x->call, x->session);
    if (!sv_present(answer_offer(x->call)))
        return ERR_UNSUPPORTED; /* DEVIATES: RFC 3261 §13.2.1 lets us make the offer */
    TRY(agree(x, answer_offer(x->call), a, &text, no));
    if (!x->play)
        return answer_accept(x->call, text);
    char *kept = mem_take(text.n);
    if (!kept)
        return ERR_NOMEM;
    memcpy(kept, text.p, text.n);
    x->text = (sv){kept, text.n};
    size_t from = what->file.n < PATH_TOLD ? 0 : what->file.n - PATH_TOLD + 1;
    memcpy(x->file, what->file.p + from, what->file.n - from); /* the rest is 0 */
    return load(x, what->file);
}

void announce_call(struct announce *a, struct answer_call *call, sv payer,
                   const struct settings_target *what)
{
    struct refusal no = {.full = false};
    struct spoken *x = MEM_TAKE(struct spoken);
    struct arena scratch;
    if (!x) {
        answer_reject(call, 503, SV_NONE);
        return;
    }
    x->all = a;
    x->call = call;
    x->play = what->kind == TARGET_PLAY;
    list_push(&a->calls, &x->by_all);
    a->count++;
    answer_handle(call, &call_handler, x);
    arena_init(&scratch, NULL, 0, SCRATCH_MAX);
    enum err rc = begin(x, payer, what, &scratch, &no);
    if (rc)
        refuse(x, rc, &no);
    arena_done(&scratch);
}

/* ---- life ---- */

enum err announce_new(struct loop *l, struct anchor *anchor, struct settings *set,
                      struct announce **ret_announce)
{
    struct announce *a = MEM_NEW(struct announce);
    if (!a)
        return ERR_NOMEM;
    a->loop = l;
    a->anchor = anchor;
    a->set = set;
    list_init(&a->calls);
    *ret_announce = a;
    return ERR_OK;
}

void announce_free(struct announce *a)
{
    if (!a)
        return;
    LIST_EACH_SAFE (x, &a->calls, struct spoken, by_all)
        answer_end(x->call, NULL);
    mem_free(a);
}

void announce_settings(struct announce *a, struct settings *set)
{
    a->set = set;
}

size_t announce_count(const struct announce *a)
{
    return a->count;
}
