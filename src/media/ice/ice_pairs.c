/* SPDX-License-Identifier: MIT */
/* ice/ice_pairs.c: checklists. All pairs lie in one array; a stream's checklist is those that name it (RFC 8445 §6.1.2,
 * RFC 8838 §10-§12). */
#include "ice/ice_priv.h"

/* ---- foundations ---- */

static bool same_foundation(const struct ice_agent *a, const struct pair *p, const struct pair *q)
{
    const struct ice_candidate *l = pair_local(a, p), *m = pair_local(a, q);
    const struct ice_candidate *r = pair_remote(a, p), *s = pair_remote(a, q);
    return sv_eq((sv){l->foundation, l->foundation_n}, (sv){m->foundation, m->foundation_n}) &&
           sv_eq((sv){r->foundation, r->foundation_n}, (sv){s->foundation, s->foundation_n});
}

/* p comes before q within their foundation: the lowest component, then the highest priority (§6.1.2.6). */
static bool before(const struct pair *p, const struct pair *q)
{
    return p->component != q->component ? p->component < q->component : p->priority > q->priority;
}

static bool is_topmost(struct ice_agent *a, const struct pair *p)
{
    PAIR_EACH(q, a)
    if (q != p && before(q, p) && same_foundation(a, p, q))
        return false;
    return true;
}

/* Before the first check: of each foundation the topmost waits (§6.1.2.6). After it: RFC 8838 §12. */
static void state_initial(struct ice_agent *a, struct pair *p)
{
    p->state = is_topmost(a, p) ? PAIR_WAITING : PAIR_FROZEN;
    PAIR_EACH(q, a)
    {
        if (q == p || !same_foundation(a, p, q))
            continue;
        if (q->state == PAIR_SUCCEEDED)
            p->state = PAIR_WAITING;
        if (!a->checked && p->state == PAIR_WAITING && q->state == PAIR_WAITING && !q->queued)
            q->state = PAIR_FROZEN;
    }
}

/* ---- making ---- */

static uint64_t priority_of(const struct ice_agent *a, uint32_t local, uint32_t remote)
{
    return ice_agent_controlling(a) ? ice_pair_priority(local, remote)
                                    : ice_pair_priority(remote, local);
}

static bool may_pair(const struct ice_candidate *local, const struct ice_candidate *remote)
{
    enum addr_class l = addr_class(&local->base), r = addr_class(&remote->addr);
    if (local->component != remote->component || local->base.family != remote->addr.family)
        return false;
    /* §6.1.2.2: link-local with link-local; and our own host is reached from itself alone (D16). */
    if (local->base.family == 6 && (l == ADDR_LINK_LOCAL) != (r == ADDR_LINK_LOCAL))
        return false;
    return (l == ADDR_LOOPBACK) == (r == ADDR_LOOPBACK);
}

struct pair *pair_find(struct ice_agent *a, unsigned stream, unsigned local, unsigned remote)
{
    PAIR_EACH(p, a)
    if (p->stream == stream && p->local == local && p->remote == remote)
        return p;
    return NULL;
}

void pair_drop(struct ice_agent *a, struct pair *p)
{
    struct component *c = pair_component(a, p);
    int at = (int)(p - a->pair);
    if (c->pair == at)
        c->pair = PAIR_NONE;
    if (c->nominating == at)
        c->nominating = PAIR_NONE;
    *p = (struct pair){0};
}

void pairs_drop_stream(struct ice_agent *a, unsigned stream)
{
    PAIR_EACH(p, a)
    if (p->stream == stream)
        pair_drop(a, p);
}

/* A place within the limit: one that failed gives way, or else one of a lower priority that was not yet checked
 * (RFC 8838 §10 [6]). */
static struct pair *make_room(struct ice_agent *a, uint64_t priority)
{
    struct pair *vacant = NULL, *failed = NULL, *least = NULL;
    unsigned n = 0;
    for (struct pair *p = a->pair; p < a->pair + a->pairs_end; p++) {
        n += p->used;
        if (!p->used)
            vacant = p;
        else if (p->state == PAIR_FAILED)
            failed = p;
        else if (p->state <= PAIR_WAITING && !p->queued && p->priority < priority &&
                 (!least || p->priority < least->priority))
            least = p;
    }
    if (n < a->config.pairs_max)
        return vacant ? vacant : &a->pair[a->pairs_end++];
    struct pair *p = failed ? failed : least;
    if (p)
        pair_drop(a, p);
    return p;
}

struct pair *pair_get(struct ice_agent *a, unsigned stream, unsigned local, unsigned remote)
{
    const struct stream *s = &a->stream[stream];
    const struct ice_candidate *l = &s->locals[local], *r = &s->remotes[remote];
    struct pair *p = pair_find(a, stream, local, remote);
    if (p || !may_pair(l, r))
        return p;
    uint64_t priority = priority_of(a, l->priority, r->priority);
    p = make_room(a, priority);
    if (!p)
        return NULL;
    *p = (struct pair){.used = true,
                       .stream = (uint8_t)stream,
                       .component = l->component,
                       .local = (uint8_t)local,
                       .remote = (uint8_t)remote,
                       .priority = priority};
    state_initial(a, p);
    return p;
}

/* The component still looks for a way. A peer-reflexive one is paired where it was seen alone (§7.3.1.3). */
static void consider(struct ice_agent *a, unsigned stream, unsigned local, unsigned remote)
{
    const struct stream *s = &a->stream[stream];
    const struct ice_candidate *l = &s->locals[local];
    /* A reflexive one is sent from its base, which is a candidate itself (§6.1.2.4): so it makes no pair. */
    if (l->type == ICE_SRFLX || s->remotes[remote].type == ICE_PRFLX ||
        l->component > s->components || s->component[l->component - 1].pair != PAIR_NONE)
        return;
    (void)pair_get(a, stream, local, remote);
}

void pairs_of_local(struct ice_agent *a, unsigned stream, unsigned local, usec now)
{
    for (unsigned i = 0; i < a->stream[stream].remotes_n; i++)
        consider(a, stream, local, i);
    pairs_kick(a, now);
}

void pairs_of_remote(struct ice_agent *a, unsigned stream, unsigned remote, usec now)
{
    for (unsigned i = 0; i < a->stream[stream].locals_n; i++)
        consider(a, stream, i, remote);
    pairs_kick(a, now);
}

void pairs_reprioritise(struct ice_agent *a)
{
    PAIR_EACH(p, a)
    p->priority = priority_of(a, pair_local(a, p)->priority, pair_remote(a, p)->priority);
}

void pairs_unfreeze(struct ice_agent *a, const struct pair *like)
{
    PAIR_EACH(p, a)
    if (p->state == PAIR_FROZEN && same_foundation(a, p, like))
        p->state = PAIR_WAITING;
}

/* ---- what is next ---- */

void pair_trigger(struct ice_agent *a, struct pair *p, usec now)
{
    p->state = PAIR_WAITING;
    if (!p->queued)
        p->queued = ++a->queue;
    pairs_kick(a, now);
}

/* Nobody knows where its peer's checks would be proven by. */
static bool may_check(const struct stream *s)
{
    return s->remote_known && s->state != STREAM_FAILED;
}

/* A foundation of which nothing is under way gives its topmost frozen pair (§6.1.4.2 step 2). */
static bool thaw(struct ice_agent *a, unsigned stream)
{
    bool any = false;
    PAIR_EACH(p, a)
    {
        if (p->stream != stream || p->state != PAIR_FROZEN)
            continue;
        bool busy = false;
        PAIR_EACH(q, a)
        if ((q->state == PAIR_WAITING || q->state == PAIR_IN_PROGRESS) && same_foundation(a, p, q))
            busy = true;
        if (busy)
            continue;
        p->state = PAIR_WAITING;
        any = true;
    }
    return any;
}

static struct pair *pick_of(struct ice_agent *a, unsigned stream, bool *ret_frozen)
{
    struct pair *first = NULL, *best = NULL;
    *ret_frozen = false;
    PAIR_EACH(p, a)
    {
        if (p->stream != stream)
            continue;
        if (p->queued && (!first || p->queued < first->queued))
            first = p;
        if (p->state == PAIR_FROZEN)
            *ret_frozen = true;
        if (p->state == PAIR_WAITING && !p->queued &&
            (!best || p->priority > best->priority ||
             (p->priority == best->priority && p->component < best->component)))
            best = p;
    }
    return first ? first : best;
}

struct pair *pairs_pick(struct ice_agent *a)
{
    for (unsigned i = 0; i < a->config.streams; i++) {
        unsigned stream = (a->turn + i) % a->config.streams;
        bool frozen;
        if (!may_check(&a->stream[stream]))
            continue;
        struct pair *p = pick_of(a, stream, &frozen);
        if (!p && frozen && thaw(a, stream))
            p = pick_of(a, stream, &frozen);
        if (p) {
            a->turn = stream + 1;
            return p;
        }
    }
    return NULL;
}

void pairs_kick(struct ice_agent *a, usec now)
{
    if (a->ta_next != USEC_NEVER)
        return;
    usec due = a->ta_last + ICE_TA_MS * USEC_MS;
    PAIR_EACH(p, a)
    {
        if (may_check(pair_stream(a, p)) && (p->queued || p->state <= PAIR_WAITING)) {
            a->ta_next = a->checked && due > now ? due : now;
            return;
        }
    }
}
