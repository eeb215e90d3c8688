/* SPDX-License-Identifier: MIT */
/* The standing calls of a worker: dialogs followed from outside. */
#include "accounting/accounting.h"
#include "ds/hash.h"
#include "location/location.h"
#include "log/log.h"
#include "within/within.h"

enum { LOOK_MAX = 64, SAME_MAX = 64 };
/* Of one remembered text; longer ones are not remembered. Call-IDs and tags are no longer. */
enum { TEXT_MAX = WITHIN_ID_MAX };
enum { AGENT_MAX = 128 };

/* Of a call, in this order in one piece of memory. Those of the legs follow the caller's. */
enum text {
    CALL_ID,
    FROM,
    TO,
    CALLER,
    AGENT,
    TAG,
    CONTACT, /* the last that it told */
    BEFORE,  /* the one before it, as long as the other end may not know the last */
    ROUTES,  /* the route set toward it, as in within.h */
    CALLEE_TAG,
    CALLEE_CONTACT,
    CALLEE_BEFORE,
    CALLEE_ROUTES,
    TEXTS
};
enum { LEG_TEXTS = CALLEE_TAG - TAG };

struct call {
    struct hash_node by_call_id;
    struct link by_silence; /* front: silent longest */
    struct home_key key;    /* of its Call-ID */
    uint16_t end[TEXTS];    /* where each text ends in `text`; where the one before does: none */
    uint16_t status, slot;
    uint8_t state; /* enum call_state */
    bool in_setup; /* a response context still reports to it */
    bool claimed;
    bool unacked;      /* a 2xx of the callee went up, its ACK has not come */
    bool lost_way[2];  /* to this leg: its route set could not be kept */
    bool asks[2];      /* this leg's contact is of a request that no 2xx has come to yet */
    bool phone[2];     /* this leg is who speaks with us, unless its route set says otherwise */
    uint16_t upstream; /* Record-Routes that the INVITE came with */
    char *text;
    usec since, answered;
    usec began;    /* monotonic, for the set-up time */
    usec taken[2]; /* likewise: when this leg's contact was told by an answer, or taken */
    struct session_id session;
    struct dest
        dest[2]; /* of each leg; of one reached by its address flow.remote is whom we heard */
};

struct accounting {
    struct sip *sip;
    struct loop *loop;
    struct store *store;
    struct home *home;
    struct hash calls;
    struct link by_silence;
    size_t cap, bytes, unacked;
    bool leaving;               /* the server is about to end */
    accounting_media_fn *media; /* NULL: nobody knows */
    void *media_arg;
};

enum err accounting_new(struct sip *s, struct store *st, size_t cap, struct accounting **ret_a)
{
    struct accounting *a = MEM_NEW(struct accounting);
    if (!a)
        return ERR_NOMEM;
    if (hash_init(&a->calls, 1024)) {
        mem_free(a);
        return ERR_NOMEM;
    }
    a->sip = s;
    a->loop = sip_loop(s);
    a->store = st;
    a->home = sip_home(s);
    a->cap = cap;
    list_init(&a->by_silence);
    *ret_a = a;
    return ERR_OK;
}

static sv text_of(const struct call *c, enum text which)
{
    size_t at = which ? c->end[which - 1] : 0, n = c->end[which] - at;
    return n ? (sv){c->text + at, n} : SV_NONE;
}

static size_t text_octets(const struct call *c)
{
    return c->end[TEXTS - 1];
}

/* What of a text is remembered. */
static uint16_t kept(sv text)
{
    return text.n <= TEXT_MAX ? (uint16_t)text.n : 0;
}

static char *put(char *at, const char *p, size_t n)
{
    if (n)
        memcpy(at, p, n);
    return at + n;
}

/* All texts of a new call. False: no memory. */
static bool set_texts(struct accounting *a, struct call *c, const sv texts[static TEXTS])
{
    uint16_t n = 0;
    for (enum text i = 0; i < TEXTS; i++)
        c->end[i] = n += kept(texts[i]);
    c->text = mem_take(n);
    if (!c->text)
        return false;
    char *at = c->text;
    for (enum text i = 0; i < TEXTS; i++)
        at = put(at, texts[i].p, kept(texts[i]));
    a->bytes += n;
    return true;
}

/* One of a leg's, `which` being the caller's. */
static sv leg_text(const struct call *c, unsigned leg, enum text which)
{
    return text_of(c, which + leg * LEG_TEXTS);
}

/* A leg's texts from `first` on change, in their order; the others do not. No memory: they stay as they were. */
static void set_leg(struct accounting *a, struct call *c, unsigned leg, enum text first,
                    const sv *texts, unsigned texts_n)
{
    first += leg * LEG_TEXTS;
    enum text behind = first + texts_n;
    size_t was = text_octets(c), from = c->end[first - 1], to = c->end[behind - 1];
    size_t n = from + (was - to);
    bool same = true;
    for (enum text i = first; i < behind; i++) {
        n += kept(texts[i - first]);
        same = same && sv_eq(text_of(c, i), texts[i - first]);
    }
    char *mem = same ? NULL : mem_take(n);
    if (!mem)
        return;
    char *at = put(mem, c->text, from);
    for (enum text i = first; i < behind; i++) {
        at = put(at, texts[i - first].p, kept(texts[i - first]));
        c->end[i] = (uint16_t)(at - mem);
    }
    put(at, c->text + to, was - to);
    mem_give(c->text, was);
    a->bytes += n - was;
    c->text = mem;
    for (enum text i = behind; i < TEXTS; i++)
        c->end[i] = (uint16_t)(c->end[i] + n - was);
}

static void acknowledge(struct accounting *a, struct call *c)
{
    a->unacked -= c->unacked;
    c->unacked = false;
}

static void call_free(struct accounting *a, struct call *c)
{
    acknowledge(a, c);
    if (c->claimed)
        home_release(a->home, &c->key);
    hash_remove(&a->calls, &c->by_call_id);
    list_unlink(&c->by_silence);
    a->bytes -= sizeof(*c) + text_octets(c);
    if (c->state != CALL_ENDING)
        stat_add(&a->loop->stats, STAT_CALLS, -1);
    mem_give(c->text, text_octets(c));
    MEM_GIVE(c);
}

static bool free_each(struct hash_node *n, void *arg)
{
    call_free(arg, CONTAINER(n, struct call, by_call_id));
    return true;
}

void accounting_free(struct accounting *a)
{
    if (!a)
        return;
    hash_walk(&a->calls, free_each, a);
    hash_done(&a->calls);
    mem_free(a);
}

static struct call_view view_of(const struct call *c, const struct call_leg *legs)
{
    return (struct call_view){.call_id = text_of(c, CALL_ID),
                              .from = text_of(c, FROM),
                              .to = text_of(c, TO),
                              .state = (enum call_state)c->state,
                              .since = c->since,
                              .answered = c->answered,
                              .legs = legs,
                              .session = c->session};
}

/* What is to be kept of its media, in mem. */
static sv media_of(struct accounting *a, const struct call *c, char mem[ACCOUNTING_MEDIA_MAX])
{
    const struct call_leg legs[2] = {accounting_leg(c, 0), accounting_leg(c, 1)};
    struct call_view v = view_of(c, legs);
    struct buf b;
    buf_init(&b, mem, ACCOUNTING_MEDIA_MAX);
    if (a->media && c->answered)
        a->media(a->media_arg, &v, &b);
    return b.rc ? SV("") : buf_sv(&b); /* half a text would be none */
}

/* ago: since when it is over */
static void record(struct accounting *a, const struct call *c, sv ended_by, sv reason, usec ago)
{
    char media[ACCOUNTING_MEDIA_MAX];
    struct call_record r = {
        .call_id = text_of(c, CALL_ID),
        .from = text_of(c, FROM),
        .to = text_of(c, TO),
        .caller = text_of(c, CALLER),
        .callee = text_of(c, TO),
        .start = c->since,
        .answer = c->answered,
        .end = loop_wall(a->loop) - ago,
        .status = c->status >= 200 ? c->status : 0,
        .ended_by = ended_by,
        .reason = reason,
        .agent = text_of(c, AGENT),
        .media = media_of(a, c, media),
    };
    store_record(a->store, a->loop, &r);
    LOG_DEBUG("call", "call.end", F_SV("call_id", r.call_id), F_SV("from", r.from),
              F_SV("to", r.to), F_INT("status", r.status), F_SV("ended_by", ended_by),
              F_SV("reason", reason));
}

/* The call is over: its record is written, it is forgotten, but for the response context that still reports to it.
 *   ago  since when it is over */
static void end(struct accounting *a, struct call *c, sv ended_by, sv reason, usec ago)
{
    record(a, c, ended_by, reason, ago);
    acknowledge(a, c);
    if (!c->in_setup) {
        call_free(a, c);
        return;
    }
    c->state = CALL_ENDING;
    stat_add(&a->loop->stats, STAT_CALLS, -1);
}

static bool stop_each(struct hash_node *n, void *arg)
{
    struct call *c = CONTAINER(n, struct call, by_call_id);
    if (c->state != CALL_ENDING)
        end(arg, c, SV("stop"), SV(""), 0);
    return true;
}

void accounting_leave(struct accounting *a)
{
    a->leaving = true;
}

size_t accounting_unacknowledged(const struct accounting *a)
{
    usec since = loop_wall(a->loop) - 64 * sip_config(a->sip)->t1;
    size_t n = 0;
    if (a->unacked == 0)
        return 0;
    LIST_EACH (c, &a->by_silence, struct call, by_silence)
        n += c->unacked && c->answered > since;
    return n;
}

void accounting_acknowledged(struct accounting *a, struct call *c, unsigned leg)
{
    if (leg == 1)
        acknowledge(a, c);
}

void accounting_stop(struct accounting *a)
{
    hash_walk(&a->calls, stop_each, a);
}

/* scheme:user@host of a From or To, without port and parameters, into b. */
static sv put_aor(struct buf *b, const struct sip_addr *addr)
{
    size_t at = b->n;
    const struct uri *u = &addr->uri;
    if (u->scheme == URI_SIP || u->scheme == URI_SIPS) {
        struct uri bare = {.scheme = u->scheme,
                           .scheme_text = u->scheme_text,
                           .user = u->user,
                           .host = u->host,
                           .host_ip6 = u->host_ip6};
        uri_print(b, &bare);
    } else {
        buf_put(b, u->text);
    }
    return (sv){b->p + at, b->n - at};
}

/* How the sender of m is reached from now on, and his Contact's URI. False: no target refresh. */
static bool read_leg(struct accounting *a, struct sipmsg *m, const struct flow *flow, bool by_flow,
                     struct dest *ret_dest, sv *ret_contact)
{
    const struct sip_addr *contact = NULL;
    size_t n = 0;
    if (sipmsg_addrs(m, SIP_H_CONTACT, &contact, &n) || n != 1 || contact->star)
        return false;
    struct dest d;
    if (location_sender(&contact->uri, flow, by_flow, &d) ||
        (d.flow.transport == SIP_T_NONE && !location_allowed(a->sip, &d.addr, &flow->remote)))
        d = (struct dest){.flow = *flow, .addr = flow->remote, .transport = flow->transport};
    if (d.flow.transport == SIP_T_NONE)
        d.flow.remote = flow->remote;
    *ret_dest = d;
    *ret_contact = contact->uri.text;
    return true;
}

/* The same contact, from the same place as before: what follows from them is known, as after a 180 mostly. */
static bool knows_leg(const struct call *c, unsigned leg, sv tag, struct sipmsg *m,
                      const struct flow *flow, bool by_flow)
{
    const struct dest *d = &c->dest[leg];
    const struct sip_addr *contact;
    size_t n;
    bool there = by_flow ? flow_equal(&d->flow, flow)
                         : flow->transport == SIP_T_UDP && d->flow.transport == SIP_T_NONE &&
                               addr_equal(&d->flow.remote, &flow->remote);
    return there && sv_eq(leg_text(c, leg, TAG), tag) &&
           !sipmsg_addrs(m, SIP_H_CONTACT, &contact, &n) && n == 1 &&
           sv_eq(contact->uri.text, leg_text(c, leg, CONTACT));
}

/* tag: of the sender of m, known until now or not. */
static void learn_leg(struct accounting *a, struct call *c, unsigned leg, sv tag, struct sipmsg *m,
                      const struct flow *flow, bool by_flow)
{
    sv was = leg_text(c, leg, CONTACT), contact = was, before = leg_text(c, leg, BEFORE);
    if (knows_leg(c, leg, tag, m, flow, by_flow))
        return;
    (void)read_leg(a, m, flow, by_flow, &c->dest[leg], &contact);
    if (!sv_eq(leg_text(c, leg, TAG), tag)) {
        before = SV_NONE; /* another dialog's */
    } else if (!sv_eq(contact, was)) {
        before = c->asks[leg] ? before : was;
        c->asks[leg] = m->request;
        c->taken[leg] = loop_now(a->loop);
    }
    set_leg(a, c, leg, TAG, (const sv[]){tag, contact, before}, 3);
}

/* Toward the sender of m, which begins the dialog: the route set stays (§12.2). b: room for it. */
static sv read_way(struct accounting *a, struct call *c, unsigned leg, struct sipmsg *m,
                   struct buf *b)
{
    if (sipmsg_has(m, SIP_H_RECORD_ROUTE))
        within_routes(a->sip, m, c->upstream, b);
    c->lost_way[leg] = b->rc || b->n > TEXT_MAX;
    return c->lost_way[leg] ? SV_NONE : buf_sv(b);
}

static void learn_way(struct accounting *a, struct call *c, struct sipmsg *m)
{
    char mem[WITHIN_ROUTES_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    sv way = read_way(a, c, 1, m, &b);
    set_leg(a, c, 1, ROUTES, &way, 1);
}

/* The call that was silent longest and that no response context reports to; NULL: none near the
 * front. */
static struct call *silent_longest(struct accounting *a)
{
    unsigned looked = 0;
    LIST_EACH (c, &a->by_silence, struct call, by_silence) {
        if (!c->in_setup)
            return c;
        if (++looked == LOOK_MAX)
            break;
    }
    return NULL;
}

/* What is known when it begins. False: no memory. */
static bool set_first_texts(struct accounting *a, struct call *c, struct rx *invite, sv caller)
{
    struct sipmsg *m = &invite->msg;
    const struct sip_addr *from, *to;
    char mem[2 * URI_MAX], way[WITHIN_ROUTES_MAX];
    struct buf b, routes;
    sv texts[TEXTS] = {[CALLER] = caller};
    if (sipmsg_from(m, &from) || sipmsg_to(m, &to) || sipmsg_call_id(m, &texts[CALL_ID]))
        return false;
    buf_init(&b, mem, sizeof(mem));
    texts[FROM] = put_aor(&b, from);
    texts[TO] = put_aor(&b, to);
    texts[TAG] = from->tag;
    (void)read_leg(a, m, &invite->flow, location_behind_nat(m, &invite->flow), &c->dest[0],
                   &texts[CONTACT]);
    texts[AGENT] = sv_sub(sipmsg_value(m, SIP_H_USER_AGENT), 0, AGENT_MAX);
    buf_init(&routes, way, sizeof(way));
    texts[ROUTES] = read_way(a, c, 0, m, &routes);
    c->upstream = (uint16_t)sipmsg_count(m, SIP_H_RECORD_ROUTE);
    return b.rc == ERR_OK && set_texts(a, c, texts);
}

/* So many calls of one Call-ID stand that the oldest, unless a response context reports to it, gives way: they
 * are one chain. */
static void bound_same(struct accounting *a, const struct home_key *key)
{
    struct call *oldest = NULL;
    unsigned n = 0;
    HASH_EACH (c, &a->calls, key->a, struct call, by_call_id) {
        if (!home_key_equal(&c->key, key))
            continue;
        n++;
        oldest = c->in_setup ? oldest : c;
    }
    if (n < SAME_MAX)
        return;
    stat_refuse(&a->loop->stats, STAT_LIMIT_CALLS);
    if (oldest)
        end(a, oldest, SV("lost"), SV(""), 0);
}

/* In no list. NULL: no memory. */
static struct call *call_new(struct accounting *a, struct rx *invite, sv caller)
{
    struct call *c = MEM_TAKE(struct call);
    if (!c || !set_first_texts(a, c, invite, caller)) {
        if (c)
            MEM_GIVE(c);
        return NULL;
    }
    a->bytes += sizeof(*c);
    c->since = loop_wall(a->loop);
    return c;
}

void accounting_refused(struct accounting *a, struct rx *invite, sv caller, uint16_t status,
                        sv said)
{
    struct call *c = call_new(a, invite, caller);
    if (!c)
        return;
    c->status = status;
    record(a, c, SV(""), said, 0);
    c->state = CALL_ENDING; /* it was never counted */
    call_free(a, c);
}

struct call *accounting_begin(struct accounting *a, struct rx *invite, sv caller, bool phone)
{
    sv call_id;
    if (sipmsg_call_id(&invite->msg, &call_id) || call_id.n > TEXT_MAX)
        return NULL;
    if (a->calls.count >= a->cap) {
        stat_refuse(&a->loop->stats, STAT_LIMIT_CALLS);
        if (list_empty(&a->by_silence))
            return NULL;
        struct call *victim = silent_longest(a);
        if (!victim)
            return NULL;
        end(a, victim, SV("lost"), SV(""), 0);
    }
    struct call *c = call_new(a, invite, caller);
    if (!c)
        return NULL;
    bound_same(a, sip_call_key(a->sip, invite));
    c->state = CALL_CALLING;
    c->in_setup = true;
    c->phone[0] = phone;
    c->began = invite->at;
    c->slot = invite->slot;
    c->key = *sip_call_key(a->sip, invite);
    uint16_t slot;
    c->claimed = home_claim(a->home, &c->key, c->slot, &slot) != HOME_NOT_HELD;
    hash_insert(&a->calls, &c->by_call_id, c->key.a);
    list_push(&a->by_silence, &c->by_silence);
    stat_inc(&a->loop->stats, STAT_CALLS);
    stat_inc(&a->loop->stats, STAT_CALLS_TOTAL);
    LOG_DEBUG("call", "call.start", F_SV("call_id", call_id), F_SV("from", text_of(c, FROM)),
              F_SV("to", text_of(c, TO)));
    return c;
}

void accounting_response(struct accounting *a, struct call *c, struct rx *rx, uint16_t status,
                         sv said, const struct dest *via, bool phone)
{
    const struct sip_addr *to;
    if (status >= 300) {
        if (c->state < CALL_UP) {
            c->status = status;
            end(a, c,
                status == 487       ? SV("caller")
                : !rx && a->leaving ? SV("stop")
                                    : SV(""),
                said, 0);
        }
        return;
    }
    if (!rx || sipmsg_to(&rx->msg, &to) || !to->tag.p || c->state >= CALL_UP)
        return; /* the dialog that stands is the first one confirmed; other forks are torn down by
                   the caller (§13.2.2.4) */
    c->state = status < 200 ? CALL_RINGING : CALL_UP;
    c->status = status;
    c->phone[1] = phone;
    learn_leg(a, c, 1, to->tag, &rx->msg, &rx->flow, via->flow.transport != SIP_T_NONE);
    if (c->state == CALL_UP) {
        learn_way(a, c, &rx->msg);
        c->answered = loop_wall(a->loop);
        c->unacked = true;
        a->unacked++;
        stat_setup_time(&a->loop->stats, loop_now(a->loop) - c->began);
    }
}

void accounting_answered(struct accounting *a, struct call *c, sv tag)
{
    if (c->state >= CALL_UP)
        return;
    c->state = CALL_UP;
    c->status = 200;
    set_leg(a, c, 1, TAG, (const sv[LEG_TEXTS]){tag}, LEG_TEXTS);
    c->answered = loop_wall(a->loop);
    stat_setup_time(&a->loop->stats, loop_now(a->loop) - c->began);
}

void accounting_session(struct call *c, struct session_id id)
{
    c->session = id;
}

void accounting_on_record(struct accounting *a, accounting_media_fn *fn, void *arg)
{
    a->media = fn;
    a->media_arg = arg;
}

void accounting_ended(struct accounting *a, struct call *c, sv ended_by, sv reason)
{
    if (c->state != CALL_ENDING)
        end(a, c, ended_by, reason, 0);
}

void accounting_setup_gone(struct accounting *a, struct call *c)
{
    c->in_setup = false;
    if (c->state == CALL_ENDING)
        call_free(a, c);
    else if (c->state != CALL_UP)
        end(a, c, c->status == 487 ? SV("caller") : SV(""), SV(""), 0);
}

struct call *accounting_find(struct accounting *a, struct rx *req, unsigned *ret_leg)
{
    struct sipmsg *m = &req->msg;
    const struct sip_addr *from, *to;
    sv call_id;
    if (sipmsg_from(m, &from) || sipmsg_to(m, &to) || sipmsg_call_id(m, &call_id) || !to->tag.p)
        return NULL;
    HASH_EACH (c, &a->calls, sip_call_key(a->sip, req)->a, struct call, by_call_id) {
        if (!sv_eq(text_of(c, CALL_ID), call_id) || c->state == CALL_ENDING)
            continue;
        sv caller = text_of(c, TAG), callee = text_of(c, CALLEE_TAG);
        bool from_caller = sv_eq(caller, from->tag) && sv_eq(callee, to->tag);
        if (from_caller || (sv_eq(callee, from->tag) && sv_eq(caller, to->tag))) {
            *ret_leg = from_caller;
            return c;
        }
    }
    return NULL;
}

void accounting_ended_dialog(struct accounting *a, sv call_id, sv caller_tag, sv callee_tag,
                             sv ended_by, sv reason)
{
    struct home_key key = home_key(a->home, call_id);
    HASH_EACH (c, &a->calls, key.a, struct call, by_call_id) {
        if (c->state != CALL_UP || !sv_eq(text_of(c, CALL_ID), call_id) ||
            !sv_eq(text_of(c, TAG), caller_tag) || !sv_eq(text_of(c, CALLEE_TAG), callee_tag))
            continue;
        end(a, c, ended_by, reason, 0);
        return;
    }
}

struct call_leg accounting_leg(const struct call *c, unsigned leg)
{
    return (struct call_leg){
        .dest = &c->dest[leg], .tag = leg_text(c, leg, TAG), .contact = leg_text(c, leg, CONTACT)};
}

bool accounting_stands(const struct call *c)
{
    return c->state >= CALL_UP;
}

static bool is_target(sv contact, const struct uri *target)
{
    struct uri known;
    if (contact.n == 0 || sv_eq(contact, target->text))
        return contact.n > 0;
    return !uri_parse(contact, &known, NULL) && uri_same_target(&known, target);
}

/* The first of them. */
static bool is_way(sv kept, const struct sip_addr *routes, size_t n)
{
    struct sip_addr known;
    for (size_t i = 0; i < n; i++) {
        size_t end = sv_chr(kept, WITHIN_END);
        if (sip_addr_parse(sv_sub(kept, 0, end), false, &known) ||
            !uri_equal(&known.uri, &routes[i].uri))
            return false;
        kept = sv_sub(kept, end + 1, kept.n);
    }
    return n == 0 || kept.n == 0;
}

/* The other end may not know the last contact yet, or has sent what comes now before it did. */
static bool is_late(const struct accounting *a, const struct call *c, unsigned leg)
{
    return c->asks[leg] || loop_now(a->loop) - c->taken[leg] <= 64 * sip_config(a->sip)->t1;
}

bool accounting_leads(const struct accounting *a, const struct call *c, unsigned leg,
                      const struct uri *target, const struct sip_addr *routes, size_t n)
{
    sv contact = leg_text(c, leg, CONTACT), way = leg_text(c, leg, ROUTES);
    if (!c->lost_way[leg] && !is_way(way, routes, n))
        return false;
    if (c->phone[leg] && !c->lost_way[leg] && way.n == 0 && c->dest[leg].transport != SIP_T_NONE)
        return true;
    return contact.n == 0 || is_target(contact, target) ||
           (is_late(a, c, leg) && is_target(leg_text(c, leg, BEFORE), target));
}

void accounting_request(struct accounting *a, struct call *c, struct rx *req, unsigned to_leg)
{
    unsigned sender = 1 - to_leg;
    if (req->msg.method == SIP_BYE)
        return; /* mostly it is over in a moment */
    list_unlink(&c->by_silence);
    list_push(&a->by_silence, &c->by_silence);
    if (req->msg.method == SIP_INVITE || req->msg.method == SIP_UPDATE)
        /* §12.2: only these refresh the target of an INVITE's dialog. */
        learn_leg(a, c, sender, leg_text(c, sender, TAG), &req->msg, &req->flow,
                  location_behind_nat(&req->msg, &req->flow));
}

void accounting_refreshed(struct accounting *a, struct call *c, unsigned leg, struct rx *rx,
                          const struct dest *via)
{
    if (c->asks[!leg])
        c->taken[!leg] = loop_now(a->loop);
    c->asks[!leg] = false;
    learn_leg(a, c, leg, leg_text(c, leg, TAG), &rx->msg, &rx->flow,
              via->flow.transport != SIP_T_NONE);
}

void accounting_hung_up(struct accounting *a, struct call *c, unsigned leg, usec at)
{
    if (c->state >=
        CALL_UP) /* an early dialog: what the INVITE is answered says whether there is a call (§15.1.2) */
        end(a, c, leg == 1 ? SV("caller") : SV("callee"), SV(""), loop_now(a->loop) - at);
}

size_t accounting_count(const struct accounting *a)
{
    return a->calls.count;
}

size_t accounting_bytes(const struct accounting *a)
{
    return a->bytes;
}

void accounting_each(struct accounting *a, bool (*fn)(const struct call_view *c, void *arg),
                     void *arg)
{
    LIST_EACH_SAFE (c, &a->by_silence, struct call, by_silence) {
        const struct call_leg legs[2] = {accounting_leg(c, 0), accounting_leg(c, 1)};
        struct call_view v = view_of(c, legs);
        if (c->state != CALL_ENDING && !fn(&v, arg))
            return;
    }
}
