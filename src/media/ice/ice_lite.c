/* SPDX-License-Identifier: MIT */
/* ice/ice_lite.c: checks are answered, and show where the peer is. */
#include "ice/ice_lite.h"

#include <assert.h>

/* SETTLE_S: as long as a nomination may be one of several that were sent at once (RFC 5245 §8.1.1.2). REPEATS_S: a
 * check that comes later after a nomination is no repetition of the one that nominated. */
enum { SETTLE_S = 1, REPEATS_S = 10 };

void ice_lite_init(struct ice_lite *l, const struct ice_secret *ours, unsigned components,
                   usec silence)
{
    assert(components >= 1 && components <= ICE_COMPONENTS_MAX);
    *l = (struct ice_lite){.ours = *ours, .components = (uint8_t)components, .silence = silence};
    for (size_t i = 0; i < ICE_COMPONENTS_MAX; i++)
        l->component[i].selected = -1;
}

void ice_lite_done(struct ice_lite *l)
{
    ice_secret_wipe(&l->ours);
    ice_secret_wipe(&l->former);
}

void ice_lite_mux(struct ice_lite *l)
{
    l->components = 1;
}

/* A pair that is in use is of before the restart that is still under way. */
static bool is_of_former(const struct ice_lite *l)
{
    for (size_t i = 0; i < l->components; i++) {
        const struct ice_lite_component *c = &l->component[i];
        if (c->selected >= 0 && c->pair[c->selected].former)
            return true;
    }
    return false;
}

void ice_lite_restart(struct ice_lite *l, const struct ice_secret *ours)
{
    /* what nobody has taken up, because its description did not arrive, is skipped */
    if (!is_of_former(l))
        l->former = l->ours;
    l->restarting = false;
    for (size_t i = 0; i < l->components; i++) {
        struct ice_lite_component *c = &l->component[i];
        if (c->selected < 0) {
            c->n = 0;
            continue;
        }
        c->pair[0] = c->pair[c->selected];
        c->pair[0].former = true;
        c->n = 1;
        c->selected = 0;
        l->restarting = true;
    }
    l->ours = *ours;
    if (!l->restarting)
        ice_secret_wipe(&l->former);
}

/* ---- pairs ---- */

static struct ice_lite_component *component_of(struct ice_lite *l, unsigned component)
{
    return component >= 1 && component <= l->components ? &l->component[component - 1] : NULL;
}

static struct ice_lite_pair *pair_find(struct ice_lite_component *c, uint8_t socket,
                                       const struct addr *from, bool former)
{
    for (size_t i = 0; i < c->n; i++) {
        struct ice_lite_pair *p = &c->pair[i];
        if (p->socket == socket && p->former == former && addr_equal(&p->remote, from))
            return p;
    }
    return NULL;
}

/* Room for one more: the one heard of longest ago gives way. */
static struct ice_lite_pair *pair_new(struct ice_lite_component *c)
{
    if (c->n < ICE_LITE_PAIRS)
        return &c->pair[c->n++];
    struct ice_lite_pair *oldest = NULL;
    for (int i = 0; i < c->n; i++)
        if (i != c->selected && (!oldest || c->pair[i].heard < oldest->heard))
            oldest = &c->pair[i];
    return oldest;
}

static void pair_drop(struct ice_lite_component *c, int at)
{
    int last = --c->n;
    c->pair[at] = c->pair[last];
    if (c->selected == at)
        c->selected = -1;
    else if (c->selected == last)
        c->selected = (int8_t)at;
}

static void restart_concludes(struct ice_lite *l)
{
    if (is_of_former(l))
        return;
    l->restarting = false;
    ice_secret_wipe(&l->former);
}

/* Data moves to p, unless what is selected was nominated just now with a higher priority. */
static unsigned nominate(struct ice_lite *l, struct ice_lite_component *c, struct ice_lite_pair *p,
                         usec now)
{
    const struct ice_lite_pair *old = c->selected >= 0 ? &c->pair[c->selected] : NULL;
    bool ready = ice_lite_ready(l);
    bool settles = old && !old->former && old != p && old->priority > p->priority &&
                   now - old->nominated < SETTLE_S * USEC_S;
    p->nominated = now;
    if (p->since == USEC_NEVER)
        p->since = now;
    if (old == p || settles)
        return 0;
    int former = old && old->former ? c->selected : -1;
    c->selected = (int8_t)(p - c->pair);
    if (former >= 0)
        pair_drop(c, former);
    if (l->restarting)
        restart_concludes(l);
    return ICE_LITE_SELECTED | (!ready && ice_lite_ready(l) ? ICE_LITE_READY : 0);
}

static unsigned learn(struct ice_lite *l, struct ice_lite_component *c, const struct ice_check *k,
                      uint8_t socket, const struct addr *from, usec now)
{
    unsigned changed = 0;
    struct ice_lite_pair *p = pair_find(c, socket, from, false);
    if (!p) {
        p = pair_new(c);
        *p = (struct ice_lite_pair){.remote = *from, .socket = socket, .since = USEC_NEVER};
        changed |= ICE_LITE_CHECKED;
    }
    p->heard = now;
    if (p->since != USEC_NEVER && now - p->since >= REPEATS_S * USEC_S)
        p->repeats = true;
    if (k->has_priority)
        p->priority = k->priority;
    return changed | (k->use_candidate ? nominate(l, c, p, now) : 0);
}

/* ---- datagrams ---- */

static struct ice_lite_pair *selected_of(struct ice_lite_component *c)
{
    return c->selected >= 0 ? &c->pair[c->selected] : NULL;
}

void ice_lite_watch_data(struct ice_lite *l, bool on, usec now)
{
    for (size_t i = 0; i < l->components && on && !l->watched; i++) {
        struct ice_lite_pair *p = selected_of(&l->component[i]);
        if (p)
            p->heard = now;
    }
    l->watched = on;
}

unsigned ice_lite_data(struct ice_lite *l, unsigned component, const struct addr *from, usec now)
{
    struct ice_lite_component *c = component_of(l, component);
    if (!c)
        return 0;
    struct ice_lite_pair *p = selected_of(c);
    bool back = !p && c->lost.remote.family && addr_equal(&c->lost.remote, from);
    if (back) {
        p = pair_find(c, c->lost.socket, from, c->lost.former);
        if (!p) {
            p = pair_new(c);
            *p = c->lost;
        }
        c->selected = (int8_t)(p - c->pair);
        c->lost.remote.family = 0;
    }
    if (!p || !addr_equal(&p->remote, from))
        return 0;
    for (size_t i = 0; i < l->components; i++) {
        struct ice_lite_pair *one = selected_of(&l->component[i]);
        if (one == p || (one && addr_equal_ip(&one->remote, from)))
            one->heard = now;
    }
    return back ? ICE_LITE_SELECTED : 0;
}

/* RFC 8445 §11: what keeps the way open while no data comes. It is not proven, and no substitute for consent. */
static void keepalive(struct ice_lite_component *c, uint8_t socket, const struct addr *from,
                      sv octets, usec now)
{
    struct stunmsg m;
    struct ice_lite_pair *p = selected_of(c);
    if (p && !p->repeats && p->socket == socket && addr_equal(&p->remote, from) &&
        !stunmsg_parse(octets, &m) && m.class == STUN_INDICATION && m.method == STUN_BINDING &&
        m.fingerprint)
        p->heard = now;
}

/* A check under the credentials of before the restart: it keeps its pair alive, no more. */
static bool former_check(struct ice_lite *l, struct ice_lite_component *c, sv octets,
                         uint8_t socket, const struct addr *from, usec now,
                         struct ice_check *ret_check)
{
    struct ice_lite_pair *p = pair_find(c, socket, from, true);
    if (!l->restarting || !p || !ice_check_read(octets, &l->former, ret_check) || ret_check->code)
        return false;
    p->heard = now;
    p->repeats = true;
    return true;
}

unsigned ice_lite_on_datagram(struct ice_lite *l, unsigned component, uint8_t socket,
                              const struct addr *from, sv octets, usec now, struct buf *b)
{
    struct ice_check k;
    struct ice_lite_component *c = component_of(l, component);
    const struct ice_secret *secret = &l->ours;
    unsigned changed = 0;
    if (!c)
        return 0;
    if (!ice_check_read(octets, secret, &k)) {
        keepalive(c, socket, from, octets, now);
        return 0;
    }
    if (k.code == STUN_UNAUTHENTICATED && former_check(l, c, octets, socket, from, now, &k))
        secret = &l->former;
    else if (k.code == 0 && k.role == ICE_CONTROLLED)
        k.code = STUN_ROLE_CONFLICT;
    else if (k.code == 0)
        changed = learn(l, c, &k, socket, from, now);
    ice_check_answer(b, &k, from, secret);
    return changed | (b->rc == ERR_OK ? ICE_LITE_ANSWER : 0);
}

/* ---- what stands ---- */

const struct ice_lite_pair *ice_lite_selected(const struct ice_lite *l, unsigned component)
{
    if (component < 1 || component > l->components)
        return NULL;
    const struct ice_lite_component *c = &l->component[component - 1];
    return c->selected >= 0 ? &c->pair[c->selected] : NULL;
}

bool ice_lite_is_checked(const struct ice_lite *l, unsigned component, uint8_t socket,
                         const struct addr *from)
{
    if (component < 1 || component > l->components)
        return false;
    const struct ice_lite_component *c = &l->component[component - 1];
    for (size_t i = 0; i < c->n; i++)
        if (c->pair[i].socket == socket && addr_equal(&c->pair[i].remote, from))
            return true;
    return false;
}

bool ice_lite_ready(const struct ice_lite *l)
{
    for (size_t i = 0; i < l->components; i++)
        if (l->component[i].selected < 0)
            return false;
    return true;
}

static usec pair_ends(const struct ice_lite *l, const struct ice_lite_component *c, int at)
{
    const struct ice_lite_pair *p = &c->pair[at];
    return l->silence == 0 || (at == c->selected && !p->repeats && !l->watched)
               ? USEC_NEVER
               : p->heard + l->silence;
}

usec ice_lite_next(const struct ice_lite *l)
{
    usec next = USEC_NEVER;
    for (size_t i = 0; i < l->components; i++) {
        const struct ice_lite_component *c = &l->component[i];
        for (int k = 0; k < c->n; k++)
            if (pair_ends(l, c, k) < next)
                next = pair_ends(l, c, k);
    }
    return next;
}

unsigned ice_lite_timer(struct ice_lite *l, usec now)
{
    unsigned lost = 0;
    for (size_t i = 0; i < l->components; i++) {
        struct ice_lite_component *c = &l->component[i];
        for (int k = c->n - 1; k >= 0; k--) {
            if (now < pair_ends(l, c, k))
                continue;
            if (k == c->selected) {
                lost |= 1U << i;
                c->lost = c->pair[k];
                c->lost.former = false;
            }
            pair_drop(c, k);
        }
    }
    if (lost && l->restarting)
        restart_concludes(l);
    return lost;
}
