/* SPDX-License-Identifier: MIT */
/* The standing calls of a worker: dialogs followed from outside. */
#include "accounting/accounting.h"
#include "ds/hash.h"
#include "location/location.h"
#include "log/log.h"

enum { LOOK_MAX = 64 };
enum { TEXT_MAX = 2048 }; /* of one remembered text; longer ones are not remembered */

struct call {
    struct hash_node by_call_id;
    struct link by_silence; /* front: silent longest */
    enum call_state state;
    bool in_setup; /* a response context still reports to it */
    uint16_t status;
    usec since, answered;
    usec began; /* monotonic, for the set-up time */
    uint16_t slot;
    struct home_key key; /* of its Call-ID */
    bool claimed;
    struct call_leg leg[2];              /* texts are heap copies */
    sv call_id, from, to, caller, agent; /* in one piece of memory, behind the struct */
    size_t bytes;
};

struct accounting {
    struct sip *sip;
    struct loop *loop;
    struct store *store;
    struct home *home;
    struct hash calls;
    struct link by_silence;
    size_t cap, bytes;
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

/* A heap copy instead of what *at holds; absent or too long: none. */
static void remember(struct accounting *a, struct call *c, sv *at, sv text)
{
    if (sv_eq(*at, text))
        return;
    a->bytes -= at->n;
    c->bytes -= at->n;
    mem_free((char *)at->p);
    *at = SV_NONE;
    if (!text.p || text.n == 0 || text.n > TEXT_MAX)
        return;
    char *p = mem_alloc(text.n);
    if (!p)
        return;
    memcpy(p, text.p, text.n);
    *at = (sv){p, text.n};
    a->bytes += text.n;
    c->bytes += text.n;
}

static void call_free(struct accounting *a, struct call *c)
{
    for (unsigned i = 0; i < 2; i++) {
        remember(a, c, &c->leg[i].tag, SV_NONE);
        remember(a, c, &c->leg[i].contact, SV_NONE);
    }
    if (c->claimed)
        home_release(a->home, &c->key);
    hash_remove(&a->calls, &c->by_call_id);
    list_unlink(&c->by_silence);
    a->bytes -= c->bytes;
    if (c->state != CALL_ENDING)
        stat_add(&a->loop->stats, STAT_CALLS, -1);
    mem_free(c);
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

static void record(struct accounting *a, const struct call *c, sv ended_by)
{
    struct call_record r = {
        .call_id = c->call_id,
        .from = c->from,
        .to = c->to,
        .caller = c->caller,
        .callee = c->to,
        .start = c->since,
        .answer = c->answered,
        .end = loop_wall(a->loop),
        .status = c->status,
        .ended_by = ended_by,
        .agent = c->agent,
    };
    store_record(a->store, a->loop, &r);
    LOG_DEBUG("call", "call.end", F_SV("call_id", c->call_id), F_SV("from", c->from),
              F_SV("to", c->to), F_INT("status", c->status), F_SV("ended_by", ended_by));
}

/* The call is over for everybody but the response context that still reports to it. */
static void close_call(struct accounting *a, struct call *c, sv ended_by)
{
    record(a, c, ended_by);
    c->state = CALL_ENDING;
    stat_add(&a->loop->stats, STAT_CALLS, -1);
}

/* The call is over: its record is written, it is forgotten. */
static void end(struct accounting *a, struct call *c, sv ended_by)
{
    record(a, c, ended_by);
    call_free(a, c);
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

static sv put_text(struct buf *b, sv text)
{
    size_t at = b->n;
    buf_put(b, text);
    return (sv){b->p + at, b->n - at};
}

/* How the sender of m is reached from now on. */
static void learn_leg(struct accounting *a, struct call *c, unsigned i, struct sipmsg *m,
                      const struct flow *flow, bool by_flow)
{
    const struct sip_addr *contact = NULL;
    size_t n = 0;
    struct call_leg *leg = &c->leg[i];
    if (sipmsg_addrs(m, SIP_H_CONTACT, &contact, &n) || n != 1 || contact->star)
        return; /* no target refresh */
    struct dest d;
    if (location_contact(&contact->uri, flow,
                         by_flow || location_by_flow(&contact->uri, flow, false), &d) ||
        (d.flow.transport == SIP_T_NONE && !location_allowed(a->sip, &d.addr, &flow->remote)))
        d = (struct dest){.flow = *flow, .addr = flow->remote, .transport = flow->transport};
    leg->dest = d;
    remember(a, c, &leg->contact, contact->uri.text);
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

struct call *accounting_begin(struct accounting *a, struct rx *invite, sv caller)
{
    struct sipmsg *m = &invite->msg;
    const struct sip_addr *from, *to;
    sv call_id;
    if (sipmsg_from(m, &from) || sipmsg_to(m, &to) || sipmsg_call_id(m, &call_id) ||
        call_id.n > TEXT_MAX)
        return NULL;
    if (a->calls.count >= a->cap) {
        stat_refuse(&a->loop->stats, STAT_LIMIT_CALLS);
        if (list_empty(&a->by_silence))
            return NULL;
        struct call *victim = silent_longest(a);
        if (!victim)
            return NULL;
        end(a, victim, SV("lost"));
    }
    sv agent = sv_sub(sipmsg_value(m, SIP_H_USER_AGENT), 0, 128);
    size_t room = call_id.n + from->uri.text.n + to->uri.text.n + caller.n + agent.n + 64;
    struct call *c = mem_calloc(1, sizeof(*c) + room);
    if (!c)
        return NULL;
    struct buf b;
    buf_init(&b, c + 1, room);
    c->call_id = put_text(&b, call_id);
    c->from = put_aor(&b, from);
    c->to = put_aor(&b, to);
    c->caller = put_text(&b, caller);
    c->agent = put_text(&b, agent);
    if (b.rc) {
        mem_free(c);
        return NULL;
    }
    c->bytes = sizeof(*c) + room;
    a->bytes += c->bytes;
    c->state = CALL_CALLING;
    c->in_setup = true;
    c->since = loop_wall(a->loop);
    c->began = invite->at;
    c->slot = invite->slot;
    c->key = *sip_call_key(a->sip, invite);
    uint16_t slot;
    c->claimed = home_claim(a->home, &c->key, c->slot, &slot);
    remember(a, c, &c->leg[0].tag, from->tag);
    learn_leg(a, c, 0, m, &invite->flow, location_behind_nat(m, &invite->flow));
    hash_insert(&a->calls, &c->by_call_id, c->key.a);
    list_push(&a->by_silence, &c->by_silence);
    stat_inc(&a->loop->stats, STAT_CALLS);
    stat_inc(&a->loop->stats, STAT_CALLS_TOTAL);
    LOG_DEBUG("call", "call.start", F_SV("call_id", c->call_id), F_SV("from", c->from),
              F_SV("to", c->to));
    return c;
}

void accounting_response(struct accounting *a, struct call *c, struct rx *rx, uint16_t status,
                         const struct dest *via)
{
    const struct sip_addr *to;
    if (status >= 300) {
        if (c->state < CALL_UP) {
            c->status = status;
            close_call(a, c, status == 487 ? SV("caller") : SV(""));
        }
        return;
    }
    if (!rx || sipmsg_to(&rx->msg, &to) || !to->tag.p || c->state >= CALL_UP)
        return; /* the dialog that stands is the first one confirmed; other forks are torn down by
                   the caller (§13.2.2.4) */
    c->state = status < 200 ? CALL_RINGING : CALL_UP;
    c->status = status;
    remember(a, c, &c->leg[1].tag, to->tag);
    learn_leg(a, c, 1, &rx->msg, &rx->flow, via->flow.transport != SIP_T_NONE);
    if (c->state == CALL_UP) {
        c->answered = loop_wall(a->loop);
        stat_setup_time(&a->loop->stats, loop_now(a->loop) - c->began);
    }
}

void accounting_setup_gone(struct accounting *a, struct call *c)
{
    c->in_setup = false;
    if (c->state == CALL_ENDING)
        call_free(a, c);
    else if (c->state != CALL_UP)
        end(a, c, c->status == 487 ? SV("caller") : SV(""));
}

struct call *accounting_find(struct accounting *a, struct rx *req, unsigned *ret_leg)
{
    struct sipmsg *m = &req->msg;
    const struct sip_addr *from, *to;
    sv call_id;
    if (sipmsg_from(m, &from) || sipmsg_to(m, &to) || sipmsg_call_id(m, &call_id) || !to->tag.p)
        return NULL;
    HASH_EACH (c, &a->calls, sip_call_key(a->sip, req)->a, struct call, by_call_id) {
        if (!sv_eq(c->call_id, call_id) || c->state == CALL_ENDING)
            continue;
        for (unsigned leg = 0; leg < 2; leg++) {
            if (sv_eq(c->leg[1 - leg].tag, from->tag) && sv_eq(c->leg[leg].tag, to->tag)) {
                *ret_leg = leg;
                return c;
            }
        }
    }
    return NULL;
}

const struct call_leg *accounting_leg(const struct call *c, unsigned leg)
{
    return &c->leg[leg];
}

void accounting_request(struct accounting *a, struct call *c, struct rx *req, unsigned to_leg)
{
    unsigned sender = 1 - to_leg;
    list_unlink(&c->by_silence);
    list_push(&a->by_silence, &c->by_silence);
    if (req->msg.method == SIP_INVITE || req->msg.method == SIP_UPDATE) {
        /* §12.2: only these refresh the target of an INVITE's dialog. */
        learn_leg(a, c, sender, &req->msg, &req->flow, location_behind_nat(&req->msg, &req->flow));
        return;
    }
    if (req->msg.method != SIP_BYE)
        return;
    sv by = sender == 0 ? SV("caller") : SV("callee");
    if (!c->in_setup) {
        end(a, c, by);
        return;
    }
    close_call(a, c, by);
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
        struct call_view v = {.call_id = c->call_id,
                              .from = c->from,
                              .to = c->to,
                              .state = c->state,
                              .since = c->since,
                              .answered = c->answered,
                              .legs = c->leg};
        if (c->state != CALL_ENDING && !fn(&v, arg))
            return;
    }
}
