/* SPDX-License-Identifier: MIT */
/* ice/ice_agent.c: what an agent is told and asked; its times. */
#include "ice/ice_agent.h"

#include <assert.h>

#include "crypto/crypto.h"
#include "ice/ice_priv.h"
#include "mem/mem.h"

/* ---- life ---- */

static void draw_secret(struct ice_agent *a)
{
    uint8_t seed[ICE_SEED];
    a->io.random(a->io.arg, seed, sizeof seed);
    ice_secret_make(seed, &a->ours);
    crypto_wipe(seed, sizeof seed);
}

static void component_clear(struct component *c)
{
    c->pair = c->nominating = PAIR_NONE;
    c->first_valid = USEC_NEVER;
    c->lost = false;
}

enum err ice_agent_new(const struct ice_config *config, const struct ice_io *io,
                       struct ice_agent **ret_agent)
{
    assert(config->streams >= 1 && config->streams <= ICE_STREAMS_MAX);
    struct ice_agent *a = mem_take_cleared(agent_size(config->streams));
    if (!a)
        return ERR_NOMEM;
    a->config = *config;
    a->io = *io;
    if (a->config.pairs_max == 0 || a->config.pairs_max > ICE_PAIRS_MAX)
        a->config.pairs_max = ICE_PAIRS_MAX;
    if (a->config.patience == 0)
        a->config.patience = ICE_PATIENCE_MS * USEC_MS;
    if (a->config.peer_lite)
        a->config.controlling = true;
    a->ta_next = a->pac = USEC_NEVER;
    for (unsigned i = 0; i < config->streams; i++) {
        struct stream *s = &a->stream[i];
        assert(config->components[i] >= 1 && config->components[i] <= ICE_COMPONENTS_MAX);
        s->components = config->components[i];
        for (unsigned k = 0; k < ICE_COMPONENTS_MAX; k++) {
            component_clear(&s->component[k]);
            s->component[k].consent_next = s->component[k].consent_ends = USEC_NEVER;
        }
    }
    draw_secret(a);
    a->io.random(a->io.arg, &a->tiebreaker, sizeof a->tiebreaker);
    *ret_agent = a;
    return ERR_OK;
}

void ice_agent_free(struct ice_agent *a)
{
    if (!a)
        return;
    size_t n = agent_size(a->config.streams);
    crypto_wipe(a, n);
    mem_give(a, n);
}

const struct ice_secret *ice_agent_secret(const struct ice_agent *a)
{
    return &a->ours;
}

bool ice_agent_controlling(const struct ice_agent *a)
{
    return a->config.controlling;
}

static struct stream *stream_of(struct ice_agent *a, unsigned stream)
{
    assert(stream < a->config.streams);
    return &a->stream[stream];
}

/* ---- candidates ---- */

/* §5.2.5 of RFC 5245, §6.1.2.2 of RFC 8445: a component that one side has no candidates for is none. */
static void reduce(struct ice_agent *a, struct stream *s)
{
    unsigned locals = 0, remotes = 0;
    for (unsigned i = 0; i < s->locals_n; i++)
        if (s->locals[i].component > locals)
            locals = s->locals[i].component;
    for (unsigned i = 0; i < s->remotes_n; i++)
        if (s->remotes[i].component > remotes)
            remotes = s->remotes[i].component;
    unsigned both = locals < remotes ? locals : remotes;
    if (s->local_end && s->remote_end && both >= 1 && both < s->components)
        s->components = (uint8_t)both;
    PAIR_EACH(p, a)
    if (pair_stream(a, p) == s && p->component > s->components)
        pair_drop(a, p);
}

enum err ice_agent_add_local(struct ice_agent *a, unsigned stream, const struct ice_candidate *c,
                             usec now)
{
    struct stream *s = stream_of(a, stream);
    if (s->local_end || s->state == STREAM_FAILED)
        return ERR_STATE;
    for (unsigned i = 0; i < s->locals_n; i++) {
        const struct ice_candidate *l = &s->locals[i];
        if (l->component == c->component && l->socket == c->socket &&
            addr_equal(&l->addr, &c->addr))
            return ERR_EXISTS;
    }
    if (s->locals_n == ICE_CANDIDATES_MAX)
        return ERR_TOOBIG;
    s->locals[s->locals_n] = *c;
    pairs_of_local(a, stream, s->locals_n++, now);
    return ERR_OK;
}

void ice_agent_end_local(struct ice_agent *a, unsigned stream, usec now)
{
    struct stream *s = stream_of(a, stream);
    s->local_end = true;
    reduce(a, s);
    client_update(a, stream, now);
}

/* An address that a check showed before it was told: it is what is told now, but for its priority, by which both sides
 * order their pairs (RFC 8838 §11 [4 A]). */
static void becomes(struct ice_candidate *known, const struct ice_candidate *told)
{
    uint32_t priority = known->priority;
    *known = *told;
    known->priority = priority;
}

enum err ice_agent_add_remote(struct ice_agent *a, unsigned stream, const struct ice_candidate *c,
                              usec now)
{
    struct stream *s = stream_of(a, stream);
    if (s->remote_end || s->state == STREAM_FAILED)
        return ERR_STATE;
    for (unsigned i = 0; i < s->remotes_n; i++) {
        struct ice_candidate *r = &s->remotes[i];
        if (r->component != c->component || !addr_equal(&r->addr, &c->addr))
            continue;
        if (r->type != ICE_PRFLX)
            return ERR_EXISTS;
        becomes(r, c);
        pairs_of_remote(a, stream, i, now);
        return ERR_OK;
    }
    if (s->remotes_n == ICE_CANDIDATES_MAX)
        return ERR_TOOBIG;
    s->remotes[s->remotes_n] = *c;
    pairs_of_remote(a, stream, s->remotes_n++, now);
    return ERR_OK;
}

void ice_agent_end_remote(struct ice_agent *a, unsigned stream, usec now)
{
    struct stream *s = stream_of(a, stream);
    s->remote_end = true;
    reduce(a, s);
    client_update(a, stream, now);
}

void ice_agent_mux(struct ice_agent *a, unsigned stream, usec now)
{
    struct stream *s = stream_of(a, stream);
    s->components = 1;
    reduce(a, s);
    client_update(a, stream, now);
}

/* ---- credentials ---- */

/* Checks of others that came early: of another branch of a forked call. */
static void drop_strangers(struct ice_agent *a, unsigned stream, sv ufrag)
{
    struct stream *s = &a->stream[stream];
    uint32_t mark = crypto_crc32c(0, ufrag.p, ufrag.n);
    for (unsigned i = 0; i < s->remotes_n; i++) {
        if (s->remotes[i].type != ICE_PRFLX || s->remote_of[i] == mark)
            continue;
        s->remotes[i].component = 0; /* nobody's */
        PAIR_EACH(p, a)
        if (p->stream == stream && p->remote == i)
            pair_drop(a, p);
    }
}

enum err ice_agent_set_remote(struct ice_agent *a, unsigned stream, sv ufrag, sv pwd, usec now)
{
    struct stream *s = stream_of(a, stream);
    if (!ice_credentials_hold(ufrag, pwd))
        return ERR_SYNTAX;
    if (s->remote_known)
        return sv_eq(ufrag, remote_ufrag(&s->remote)) && sv_eq(pwd, remote_pwd(&s->remote))
                   ? ERR_OK
                   : ERR_STATE;
    s->remote.ufrag_n = (uint16_t)ufrag.n;
    s->remote.pwd_n = (uint16_t)pwd.n;
    memcpy(s->remote.ufrag, ufrag.p, ufrag.n);
    memcpy(s->remote.pwd, pwd.p, pwd.n);
    s->remote_known = true;
    if (a->pac == USEC_NEVER) /* RFC 8863 §4 */
        a->pac = now + ICE_PAC_MS * USEC_MS;
    drop_strangers(a, stream, ufrag);
    pairs_kick(a, now);
    client_update(a, stream, now);
    return ERR_OK;
}

void agent_forget_former(struct ice_agent *a)
{
    if (!a->has_former)
        return;
    for (unsigned i = 0; i < a->config.streams; i++)
        for (unsigned k = 0; k < ICE_COMPONENTS_MAX; k++)
            if (a->stream[i].component[k].selected && a->stream[i].component[k].former)
                return;
    a->has_former = false;
    ice_secret_wipe(&a->former);
    for (unsigned i = 0; i < a->config.streams; i++)
        crypto_wipe(&a->stream[i].former, sizeof a->stream[i].former);
}

/* A second restart before the first has concluded: ways that are still of before the first lose their consent when others
 * of between come to be kept, for there is room for the credentials of one. */
static void stream_restart(struct ice_agent *a, unsigned stream)
{
    struct stream *s = &a->stream[stream];
    bool kept = false;
    pairs_drop_stream(a, stream);
    for (unsigned k = 0; k < ICE_COMPONENTS_MAX; k++) {
        struct component *c = &s->component[k];
        component_clear(c);
        if (c->selected && !c->former) {
            c->former = true;
            kept = true;
        }
    }
    if (kept)
        s->former = s->remote;
    s->locals_n = s->remotes_n = 0;
    s->local_end = s->remote_end = s->remote_known = s->ev_completed = s->ev_failed = false;
    s->components = a->config.components[stream];
    s->state = STREAM_RUNNING;
    crypto_wipe(&s->remote, sizeof s->remote);
}

void ice_agent_restart(struct ice_agent *a, usec now)
{
    bool fresh = false;
    (void)now;
    for (unsigned i = 0; i < a->config.streams; i++) {
        for (unsigned k = 0; k < ICE_COMPONENTS_MAX; k++)
            fresh =
                fresh || (a->stream[i].component[k].selected && !a->stream[i].component[k].former);
        stream_restart(a, i);
    }
    if (fresh)
        a->former = a->ours;
    a->has_former = true;
    a->pairs_end = 0;
    a->checked = false;
    a->ta_next = a->pac = USEC_NEVER;
    a->role_changes = 0;
    draw_secret(a);
    agent_forget_former(a);
}

/* ---- datagrams and times ---- */

static bool known(const struct ice_agent *a, unsigned stream, unsigned component)
{
    return stream < a->config.streams && component >= 1 &&
           component <= a->stream[stream].components;
}

void ice_agent_on_datagram(struct ice_agent *a, unsigned stream, unsigned component, uint8_t socket,
                           const struct addr *from, sv octets, usec now)
{
    struct stunmsg m;
    if (!known(a, stream, component) || stunmsg_parse(octets, &m) || m.method != STUN_BINDING)
        return;
    if (m.class == STUN_REQUEST)
        server_on_request(a, stream, component, socket, from, octets, now);
    else if (m.class != STUN_INDICATION)
        client_on_response(a, stream, component, socket, from, &m, now);
}

void ice_agent_unreachable(struct ice_agent *a, unsigned stream, unsigned component,
                           const struct ice_way *way, usec now)
{
    if (!known(a, stream, component))
        return;
    PAIR_EACH(p, a)
    {
        struct ice_way w = pair_way(a, p);
        if (p->stream == stream && p->component == component && p->state == PAIR_IN_PROGRESS &&
            w.socket == way->socket && addr_equal(&w.to, &way->to)) {
            client_fail(a, p, now);
            return;
        }
    }
}

static usec sooner(usec a, usec b)
{
    return a < b ? a : b;
}

usec ice_agent_next(const struct ice_agent *a)
{
    usec next = a->ta_next;
    bool waits = false;
    for (const struct pair *p = a->pair; p < a->pair + a->pairs_end; p++)
        if (p->used)
            next = sooner(next, stun_txn_next(&p->txn));
    for (unsigned i = 0; i < a->config.streams; i++) {
        const struct stream *s = &a->stream[i];
        next = sooner(next, client_patience(a, i));
        waits = waits || (s->state == STREAM_RUNNING && s->remote_known);
        for (unsigned k = 0; k < ICE_COMPONENTS_MAX; k++)
            if (s->component[k].selected)
                next = sooner(next,
                              sooner(s->component[k].consent_next, s->component[k].consent_ends));
    }
    return waits && a->pac != INT64_MIN ? sooner(next, a->pac) : next;
}

static void pace(struct ice_agent *a, usec now)
{
    if (now < a->ta_next)
        return;
    struct pair *p = pairs_pick(a);
    a->ta_next = USEC_NEVER;
    if (!p)
        return;
    a->ta_last = now;
    a->ta_next = now + ICE_TA_MS * USEC_MS;
    client_check(a, p, now);
}

void ice_agent_timer(struct ice_agent *a, usec now)
{
    PAIR_EACH(p, a)
    client_step(a, p, now);
    pace(a, now);
    for (unsigned i = 0; i < a->config.streams; i++) {
        client_update(a, i, now);
        for (unsigned k = 1; k <= ICE_COMPONENTS_MAX; k++)
            consent_step(a, i, k, now);
    }
    if (now >= a->pac)
        a->pac = INT64_MIN; /* it is over, and wakes nobody again */
}

/* ---- what happened ---- */

static bool take(bool *flag)
{
    bool was = *flag;
    *flag = false;
    return was;
}

bool ice_agent_event(struct ice_agent *a, struct ice_event *ret_event)
{
    struct ice_event e = {.kind = ICE_ROLE};
    bool any = take(&a->ev_role);
    for (unsigned i = 0; !any && i < a->config.streams; i++) {
        struct stream *s = &a->stream[i];
        e.stream = (uint8_t)i;
        for (unsigned k = 0; !any && k < ICE_COMPONENTS_MAX; k++) {
            struct component *c = &s->component[k];
            e.component = (uint8_t)(k + 1);
            if ((any = take(&c->ev_lost)))
                e.kind = ICE_LOST;
            else if ((any = take(&c->ev_selected)))
                e.kind = ICE_SELECTED;
        }
        if (any)
            break;
        e.component = 0;
        if ((any = take(&s->ev_completed)))
            e.kind = ICE_COMPLETED;
        else if ((any = take(&s->ev_failed)))
            e.kind = ICE_FAILED;
    }
    if (any)
        *ret_event = e;
    return any;
}

const struct ice_way *ice_agent_selected(const struct ice_agent *a, unsigned stream,
                                         unsigned component)
{
    if (stream >= a->config.streams || component < 1 || component > ICE_COMPONENTS_MAX)
        return NULL;
    const struct component *c = &a->stream[stream].component[component - 1];
    return c->selected ? &c->way : NULL;
}

bool ice_agent_valid(const struct ice_agent *a, unsigned stream, unsigned component,
                     struct ice_way *ret_way)
{
    const struct ice_way *way = ice_agent_selected(a, stream, component);
    const struct pair *best = NULL;
    if (!way && (stream >= a->config.streams || component < 1 || component > ICE_COMPONENTS_MAX ||
                 a->stream[stream].component[component - 1].lost))
        return false;
    for (const struct pair *p = a->pair; !way && p < a->pair + a->pairs_end; p++)
        if (p->used && p->stream == stream && p->component == component && p->valid &&
            (!best || p->valid_priority > best->valid_priority))
            best = p;
    if (way)
        *ret_way = *way;
    else if (best)
        *ret_way = pair_way(a, best);
    return way || best;
}

bool ice_agent_is_checked(const struct ice_agent *a, unsigned stream, unsigned component,
                          uint8_t socket, const struct addr *from)
{
    const struct ice_way *way = ice_agent_selected(a, stream, component);
    if (way && way->socket == socket && addr_equal(&way->to, from))
        return true;
    for (const struct pair *p = a->pair; p < a->pair + a->pairs_end; p++)
        if (p->used && p->stream == stream && p->component == component && (p->valid || p->heard) &&
            pair_local(a, p)->socket == socket && addr_equal(&pair_remote(a, p)->addr, from))
            return true;
    return false;
}
