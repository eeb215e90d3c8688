/* SPDX-License-Identifier: MIT */
/* ice/ice_client.c: checks that are sent, their answers, and nomination (RFC 8445 §7.2, §8.1).
 *
 *   frozen ──► waiting ──check──► in progress ──► succeeded: valid ──USE-CANDIDATE──► nominated: selected
 *                 ▲                   │ └────────► failed
 *                 └── triggered ──────┘ (the one under way is cancelled; its answer still counts) */
#include "ice/ice_priv.h"

enum { ROLE_CHANGES_MAX = 32, RELAYED_PATIENCE = 3 };

/* ---- sending ---- */

void client_put(const struct ice_agent *a, const struct remote_secret *to,
                const struct ice_secret *ours, const uint8_t id[static STUN_ID], uint32_t priority,
                bool use, struct buf *b)
{
    char name[ICE_UFRAG_MAX + 1 + ICE_UFRAG_LEN];
    struct buf n;
    buf_init(&n, name, sizeof name);
    buf_put(&n, remote_ufrag(to));
    buf_char(&n, ':');
    buf_put(&n, ice_ufrag(ours));
    struct stun_out o = stunmsg_begin(b, STUN_BINDING, STUN_REQUEST, id);
    stunmsg_put(&o, STUN_USERNAME, buf_sv(&n));
    stunmsg_put_u32(&o, STUN_PRIORITY, priority);
    if (use)
        stunmsg_put_flag(&o, STUN_USE_CANDIDATE);
    stunmsg_put_u64(&o, a->config.controlling ? STUN_ICE_CONTROLLING : STUN_ICE_CONTROLLED,
                    a->tiebreaker);
    /* SHA-1 is what every peer knows; RFC 8489 §9.1.2 leaves it to the usage. */
    stunmsg_put_integrity(&o, STUN_SHA1, remote_pwd(to));
    stunmsg_put_fingerprint(&o);
}

/* §7.1.1: what a peer-reflexive candidate would have that this check shows. */
static uint32_t reflexive_priority(const struct ice_candidate *local)
{
    return ice_priority(ICE_PRFLX, (uint16_t)(local->priority >> 8), local->component);
}

static void transmit(struct ice_agent *a, const struct pair *p)
{
    char mem[ICE_CHECK_MAX];
    struct buf b;
    struct ice_way way = pair_way(a, p);
    buf_init(&b, mem, sizeof mem);
    client_put(a, &pair_stream(a, p)->remote, &a->ours, p->txn.id,
               reflexive_priority(pair_local(a, p)), p->now.use, &b);
    if (!b.rc)
        a->io.send(a->io.arg, p->stream, p->component, &way, buf_sv(&b));
}

/* §14.3, without the factor N by which one lost request would cost many seconds: other ways to reckon are allowed. */
static usec rto(struct ice_agent *a)
{
    usec busy = 0;
    PAIR_EACH(p, a)
    busy += p->state == PAIR_WAITING || p->state == PAIR_IN_PROGRESS;
    usec paced = busy * ICE_TA_MS * USEC_MS;
    return paced > STUN_RTO_MS * USEC_MS ? paced : STUN_RTO_MS * USEC_MS;
}

void client_check(struct ice_agent *a, struct pair *p, usec now)
{
    struct stun_timing timing = {rto(a), STUN_RC, STUN_RM};
    if (p->txn.running) { /* cancelled: its answer still counts */
        memmove(p->before + 1, p->before, (BEFORES - 1) * sizeof p->before[0]);
        p->before[0] = p->now;
        p->before[0].until = now + timing.rto * STUN_RM;
    }
    a->io.random(a->io.arg, p->now.id, STUN_ID);
    p->now.use = p->use && a->config.controlling;
    p->now.controlling = a->config.controlling;
    p->queued = 0;
    p->state = PAIR_IN_PROGRESS;
    a->checked = true;
    stun_txn_start(&p->txn, p->now.id, &timing, now);
    client_step(a, p, now);
}

void client_step(struct ice_agent *a, struct pair *p, usec now)
{
    switch (stun_txn_step(&p->txn, now)) {
    case STUN_WAIT:
        return;
    case STUN_TRANSMIT:
        transmit(a, p);
        return;
    case STUN_TIMED_OUT:
        client_fail(a, p, now); /* §7.2.5.2.3 */
        return;
    }
}

/* ---- what became of it ---- */

static void stream_fail(struct stream *s)
{
    s->state = STREAM_FAILED;
    s->ev_failed = true;
}

void client_fail(struct ice_agent *a, struct pair *p, usec now)
{
    unsigned stream = p->stream;
    bool nominates = p->now.use || pair_component(a, p)->nominating == (int)(p - a->pair);
    stun_txn_end(&p->txn);
    p->state = PAIR_FAILED;
    p->queued = 0;
    p->valid = p->wanted = p->use = false;
    /* §7.2.5.3.4: MUST. DEVIATES where the peer controls: one of RFC 5245 nominates many at once, and those that
     * fail say nothing of the others. */
    if (nominates && a->config.controlling && pair_stream(a, p)->state == STREAM_RUNNING)
        stream_fail(pair_stream(a, p));
    pairs_kick(a, now); /* others of its foundation have waited for it */
    client_update(a, stream, now);
}

/* §7.2.5.3.1, §7.2.5.3.2: the priority of the local candidate that the answer showed. */
static uint32_t mapped_priority(const struct ice_agent *a, const struct pair *p,
                                const struct addr *mapped)
{
    const struct stream *s = &a->stream[p->stream];
    for (unsigned i = 0; i < s->locals_n; i++)
        if (s->locals[i].component == p->component && addr_equal(&s->locals[i].addr, mapped))
            return s->locals[i].priority;
    return reflexive_priority(pair_local(a, p));
}

/* What loses its chance when a component has its way (§8.1.2). */
static void component_concludes(struct ice_agent *a, const struct pair *chosen)
{
    PAIR_EACH(p, a)
    if (p != chosen && p->stream == chosen->stream && p->component == chosen->component &&
        p->state != PAIR_SUCCEEDED)
        pair_drop(a, p);
}

static void select_way(struct ice_agent *a, struct pair *p, usec now)
{
    struct component *c = pair_component(a, p);
    struct ice_way way = pair_way(a, p);
    bool same =
        c->selected && !c->former && c->way.socket == way.socket && addr_equal(&c->way.to, &way.to);
    c->pair = (int)(p - a->pair);
    c->nominating = PAIR_NONE;
    c->way = way;
    c->selected = true;
    c->former = false;
    c->lost = c->ev_lost = false;
    if (same)
        return;
    c->ev_selected = true;
    consent_start(a, c, now);
    agent_forget_former(a);
}

void client_nominated(struct ice_agent *a, struct pair *p, usec now)
{
    struct component *c = pair_component(a, p);
    p->nominated = true;
    p->use = p->wanted = false;
    /* §8.1.1: of several that a peer of RFC 5245 nominated the highest priority. */
    if (c->pair != PAIR_NONE && a->pair[c->pair].valid_priority >= p->valid_priority)
        return;
    select_way(a, p, now);
    component_concludes(a, p);
    pairs_kick(a, now);
}

static void succeed(struct ice_agent *a, struct pair *p, const struct asked *asked,
                    const struct addr *mapped, usec now)
{
    bool nominates = p->txn.running && p->now.use && !asked->use; /* that one goes on */
    struct component *c = pair_component(a, p);
    uint32_t local = mapped_priority(a, p, mapped), remote = pair_remote(a, p)->priority;
    if (!nominates) {
        stun_txn_end(&p->txn);
        p->state = PAIR_SUCCEEDED;
        p->queued = 0;
    }
    p->valid = true;
    p->valid_priority =
        a->config.controlling ? ice_pair_priority(local, remote) : ice_pair_priority(remote, local);
    if (c->first_valid == USEC_NEVER)
        c->first_valid = now;
    pairs_unfreeze(a, p);
    if (a->config.controlling ? asked->use : p->wanted)
        client_nominated(a, p, now);
    else if (p->use && a->config.controlling && !nominates) /* it still is to nominate */
        pair_trigger(a, p, now);
    pairs_kick(a, now);
    client_update(a, p->stream, now);
}

/* ---- answers ---- */

void client_role(struct ice_agent *a, bool controlling)
{
    if (a->config.controlling == controlling)
        return;
    a->config.controlling = controlling;
    a->ev_role = true;
    a->role_changes++;
    PAIR_EACH(p, a)
    p->use = p->wanted = false;
    for (unsigned i = 0; i < a->config.streams; i++)
        for (unsigned k = 0; k < ICE_COMPONENTS_MAX; k++)
            a->stream[i].component[k].nominating = PAIR_NONE;
    pairs_reprioritise(a);
}

/* 487 (§7.2.5.1). If the role has changed since the request was sent, another's 487 or request did it. */
static void on_conflict(struct ice_agent *a, struct pair *p, const struct asked *asked, usec now)
{
    if (a->config.peer_lite ||
        a->role_changes >= ROLE_CHANGES_MAX) { /* a lite one cannot control */
        client_fail(a, p, now);
        return;
    }
    if (a->config.controlling == asked->controlling) {
        client_role(a, !asked->controlling);
        a->io.random(a->io.arg, &a->tiebreaker, sizeof a->tiebreaker);
    }
    stun_txn_end(&p->txn);
    pair_trigger(a, p, now);
}

static unsigned error_of(const struct stunmsg *m)
{
    struct stun_attr at;
    unsigned code;
    sv reason;
    return stunmsg_find(m, STUN_ERROR_CODE, &at) && !stunmsg_error_code(at.value, &code, &reason)
               ? code
               : 0;
}

static struct asked *asked_before(struct pair *p, const struct stunmsg *m, usec now)
{
    for (unsigned i = 0; i < BEFORES; i++)
        if (now < p->before[i].until && memcmp(p->before[i].id, m->id, STUN_ID) == 0)
            return &p->before[i];
    return NULL;
}

/* Which request of which pair it answers. */
static struct pair *find(struct ice_agent *a, const struct stunmsg *m, usec now,
                         struct asked **ret_asked)
{
    PAIR_EACH(p, a)
    {
        *ret_asked = stun_txn_is_of(&p->txn, m) ? &p->now : asked_before(p, m, now);
        if (*ret_asked)
            return p;
    }
    return NULL;
}

void client_on_response(struct ice_agent *a, unsigned stream, unsigned component, uint8_t socket,
                        const struct addr *from, const struct stunmsg *m, usec now)
{
    struct asked *request, asked;
    struct addr mapped;
    uint16_t unknown;
    if (consent_on_response(a, stream, component, socket, from, m, now))
        return;
    struct pair *p = find(a, m, now, &request);
    /* RFC 8489 §9.1.4: what is not proven as it was asked for counts as never received. */
    if (!p || p->stream != stream || p->component != component || !m->fingerprint ||
        stunmsg_integrity(m) != STUN_SHA1 ||
        stunmsg_verify(m, remote_pwd(&a->stream[stream].remote), STUN_KEY_MAX))
        return;
    asked = *request;
    request->until = 0;
    if (m->class == STUN_ERROR &&
        p->state == PAIR_SUCCEEDED) /* of a request that another has overtaken */
        return;
    if (m->class == STUN_ERROR && error_of(m) == STUN_ROLE_CONFLICT)
        on_conflict(a, p, &asked, now);
    else if (m->class == STUN_ERROR || pair_local(a, p)->socket != socket ||
             !addr_equal(&pair_remote(a, p)->addr, from) || /* §7.2.5.2.1 */
             stunmsg_unknown(m, stunmsg_is_ice, &unknown, 1) > 0 ||
             stun_xor_addr_of(m, STUN_XOR_MAPPED_ADDRESS, &mapped))
        client_fail(a, p, now);
    else
        succeed(a, p, &asked, &mapped, now);
}

/* ---- nomination, and states ---- */

static const struct pair *best_valid(const struct ice_agent *a, unsigned stream, unsigned component)
{
    const struct pair *best = NULL;
    for (const struct pair *p = a->pair; p < a->pair + a->pairs_end; p++)
        if (p->used && p->stream == stream && p->component == component && p->valid &&
            p->state == PAIR_SUCCEEDED && (!best || p->valid_priority > best->valid_priority))
            best = p;
    return best;
}

static usec patience_of(const struct ice_agent *a, const struct pair *p)
{
    bool relayed = pair_local(a, p)->type == ICE_RELAY || pair_remote(a, p)->type == ICE_RELAY;
    return a->config.patience * (relayed ? RELAYED_PATIENCE : 1);
}

/* Nothing better than p can come any more. */
static bool is_best(struct ice_agent *a, const struct pair *p)
{
    const struct stream *s = &a->stream[p->stream];
    PAIR_EACH(q, a)
    if (q->stream == p->stream && q->component == p->component && q->priority > p->valid_priority &&
        q->state <= PAIR_IN_PROGRESS)
        return false;
    return s->local_end && s->remote_end;
}

static void nominate(struct ice_agent *a, unsigned stream, unsigned component, usec now)
{
    struct component *c = &a->stream[stream].component[component - 1];
    if (c->pair != PAIR_NONE || c->nominating != PAIR_NONE)
        return;
    const struct pair *best = best_valid(a, stream, component);
    if (!best || (!is_best(a, best) && now - c->first_valid < patience_of(a, best)))
        return;
    c->nominating = (int)(best - a->pair);
    struct pair *p = &a->pair[c->nominating];
    p->use = true;
    pair_trigger(a, p, now); /* §8.1.1: the check is repeated with USE-CANDIDATE */
}

usec client_patience(const struct ice_agent *a, unsigned stream)
{
    const struct stream *s = &a->stream[stream];
    usec next = USEC_NEVER;
    if (!a->config.controlling || s->state != STREAM_RUNNING)
        return next;
    for (unsigned i = 0; i < s->components; i++) {
        const struct component *c = &s->component[i];
        const struct pair *p = best_valid(a, stream, i + 1);
        if (p && c->pair == PAIR_NONE && c->nominating == PAIR_NONE &&
            c->first_valid + patience_of(a, p) < next)
            next = c->first_valid + patience_of(a, p);
    }
    return next;
}

/* All pairs are through, no more will come, and a component has none that is valid (§7.2.5.4, RFC 8838 §8, RFC 8863). */
static bool has_failed(struct ice_agent *a, unsigned stream, usec now)
{
    const struct stream *s = &a->stream[stream];
    if (!s->local_end || !s->remote_end || now < a->pac)
        return false;
    PAIR_EACH(p, a)
    if (p->stream == stream && (p->state <= PAIR_IN_PROGRESS || p->queued))
        return false;
    for (unsigned i = 1; i <= s->components; i++)
        if (!best_valid(a, stream, i))
            return true;
    return false;
}

static bool has_completed(const struct stream *s)
{
    for (unsigned i = 0; i < s->components; i++)
        if (s->component[i].pair == PAIR_NONE)
            return false;
    return true;
}

void client_update(struct ice_agent *a, unsigned stream, usec now)
{
    struct stream *s = &a->stream[stream];
    if (s->state != STREAM_RUNNING || !s->remote_known)
        return;
    for (unsigned i = 1; a->config.controlling && i <= s->components; i++)
        nominate(a, stream, i, now);
    if (has_completed(s)) {
        s->state = STREAM_COMPLETED;
        s->ev_completed = true;
    } else if (has_failed(a, stream, now)) {
        stream_fail(s);
    }
}
