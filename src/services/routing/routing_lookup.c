/* SPDX-License-Identifier: MIT */
/* The places that a list of TARGETs stands for: accounts and numbers become their phones, one look-up
 * after the other; URIs stay as they are and are found by the proxy (RFC 3263). */
#include "routing/routing_priv.h"

/* Ranks of the proxy: the steps of a route from above, within a step the q of the contacts. */
enum { Q_RANKS = 1001, STEPS_MAX = UINT16_MAX / Q_RANKS };
_Static_assert((STEPS_MAX - 1) * Q_RANKS + Q_RANKS <= UINT16_MAX, "ranks fit, none is 0");

static void next(struct lookup *k);

static uint16_t rank_of(const struct settings_target *t, unsigned q)
{
    unsigned step = t->step < STEPS_MAX ? t->step : STEPS_MAX - 1;
    return (uint16_t)((STEPS_MAX - 1 - step) * Q_RANKS + q + 1);
}

static void failed(struct lookup *k, uint16_t status)
{
    /* That somebody is there, only not now, says more than that one of a list is nobody. */
    if (k->status == 0 || k->status == 404)
        k->status = status;
}

/* The next free target; NULL: at the cap, which is counted, or no memory. */
static struct proxy_target *room(struct lookup *k)
{
    if (k->found == PROXY_TARGETS_MAX) {
        stat_refuse(&k->r->loop->stats, STAT_LIMIT_BRANCHES);
        return NULL;
    }
    if (k->found == k->room) {
        unsigned more = k->room ? 2 * k->room : 1;
        struct proxy_target *wider = arena_alloc(k->arena, more * sizeof(*wider));
        if (!wider) {
            failed(k, 500);
            return NULL;
        }
        if (k->found)
            memcpy(wider, k->targets, k->found * sizeof(*wider));
        k->targets = wider;
        k->room = more;
    }
    struct proxy_target *t = &k->targets[k->found];
    *t = (struct proxy_target){.uri = SV_NONE};
    return t;
}

/* parsed: may be NULL. trusted: the configuration wrote the URI. */
static void add_uri(struct lookup *k, const struct settings_target *t, sv uri,
                    const struct uri *parsed, bool trusted)
{
    struct proxy_target *out = room(k);
    if (!out)
        return;
    out->uri = uri;
    out->parsed = parsed;
    out->trusted = trusted;
    out->rank = rank_of(t, Q_RANKS - 1);
    k->found++;
}

/* The bindings that are meant: of a GRUU only those of its phone (RFC 5627 §5.3). */
static size_t meant(struct lookup *k, const struct settings_target *t)
{
    size_t n = k->bindings.n;
    if (k->gruu && t->kind != TARGET_ACCOUNT) {
        n = registrar_gruu_bindings(k->gruu, k->bindings.bindings, n);
        if (n == 0)
            failed(k, k->gruu->temporary ? 404 : 480);
    }
    return n;
}

void routing_phone_target(struct proxy_target *ret, const struct location_target *phone, sv aor)
{
    sv params = phone->binding->params;
    *ret = (struct proxy_target){
        .uri = phone->uri,
        .parsed = phone->parsed,
        .dest = phone->dest,
        .path = phone->path,
        .rank = phone->rank,
        .flow_only = phone->flow_only,
        .alternative = phone->alternative,
        .held = phone->asleep,
        .ice = sip_feature(sv_sub(params, 1, params.n), SV("+sip.ice")), /* behind its first ';' */
        .account = aor,
    };
}

static void add_phones(struct lookup *k, const struct settings_target *t)
{
    struct routing *r = k->r;
    struct location_query q = {
        .sip = r->sip,
        .epoch = store_epoch(r->shared.store),
        .secure = k->secure,
        .push = r->shared.fetch && k->set->push.url.n > 0,
    };
    struct location_target *phones;
    size_t n = meant(k, t);
    unsigned before = k->found;
    if (location_targets(&q, k->bindings.bindings, n, k->arena, &phones, &n)) {
        failed(k, 500);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct proxy_target *out = room(k);
        if (!out)
            break;
        routing_phone_target(out, &phones[i], k->bindings.aor);
        out->rank = rank_of(t, phones[i].rank);
        out->alternative = phones[i].alternative && k->found > before;
        if (out->alternative)
            out->rank = k->targets[k->found - 1].rank;
        k->found++;
    }
    if (k->found == before)
        failed(k, 480);
}

static void on_bindings(struct store_op *op, enum err rc)
{
    struct lookup *k = op->arg;
    if (rc || k->nobody)
        failed(k, rc ? 500 : 404);
    else
        add_phones(k, &k->list[k->at]);
    k->at++;
    next(k);
}

/* False: no memory; else done comes. */
static bool find_bindings(struct lookup *k, sv user, sv domain,
                          void (*done)(struct store_op *op, enum err rc))
{
    if (!routing_aor(k->arena, user, domain, &k->bindings.aor)) {
        failed(k, 500);
        return false;
    }
    k->bindings.arena = k->arena;
    k->bindings.wall = loop_wall(k->r->loop);
    store_op_init(&k->bindings.op, done, k);
    store_bindings(k->r->shared.store, k->r->loop, &k->bindings);
    return true;
}

/* Whose number it is, unless an account has the name. */
static void on_number(struct store_op *op, enum err rc)
{
    struct lookup *k = op->arg;
    const struct account *a = &k->find->account;
    bool owned = !k->there && !rc;
    if (rc && rc != ERR_NOTFOUND) {
        on_bindings(op, rc);
        return;
    }
    k->nobody = !k->there && !owned;
    if (find_bindings(k, owned ? a->user : k->of_user, owned ? a->domain : k->of_domain,
                      on_bindings))
        return;
    k->at++;
    next(k);
}

/* Nobody is bound to the name. Whether there is an account of that name, one with that number, or nobody:
 * from here on the same is asked, so that the time of the answer tells no stranger which (D1). */
static void on_account(struct store_op *op, enum err rc)
{
    struct lookup *k = op->arg;
    if (rc && rc != ERR_NOTFOUND) {
        on_bindings(op, rc);
        return;
    }
    k->there = !rc;
    k->find->number = k->find->user;
    k->find->user = SV_NONE;
    store_op_init(&k->find->op, on_number, k);
    store_find(k->r->shared.store, k->r->loop, k->find);
}

/* The account is asked for only where nobody is bound: bindings are made by accounts and go with them
 * (registrar, store_change). */
static void on_own_bindings(struct store_op *op, enum err rc)
{
    struct lookup *k = op->arg;
    if (!rc && !k->bindings.n && !k->find && !(k->find = ARENA_NEW(k->arena, struct store_find)))
        rc = ERR_NOMEM;
    if (rc || k->bindings.n) {
        on_bindings(op, rc);
        return;
    }
    *k->find = (struct store_find){.arena = k->arena, .user = k->of_user, .domain = k->of_domain};
    store_op_init(&k->find->op, on_account, k);
    store_find(k->r->shared.store, k->r->loop, k->find);
}

/* True: an event comes. */
static bool find_account(struct lookup *k, sv user, sv domain)
{
    if (domain.n == 0 || user.n == 0) {
        failed(k, 404);
        return false;
    }
    k->of_user = user;
    k->of_domain = domain;
    k->there = k->nobody = false;
    return find_bindings(k, user, domain, on_own_bindings);
}

static bool look_up(struct lookup *k, const struct settings_target *t)
{
    switch (t->kind) {
    case TARGET_LOCAL:
        return find_account(k, k->user, k->domain);
    case TARGET_ACCOUNT: /* without a domain: of the first, as accounts are */
        return find_account(k, t->user, t->domain.n ? t->domain : k->set->domains[0].name);
    case TARGET_SIP:
        add_uri(k, t, t->uri, NULL, true);
        return false;
    case TARGET_URI:
        /* What points at us is ours to answer. */
        if (k->domain.n && !k->routed)
            return find_account(k, k->user, k->domain);
        add_uri(k, t, k->uri->text, k->uri, false);
        return false;
    case TARGET_REJECT:
        k->reject = t->status;
        k->reason = t->reason;
        k->at = k->n; /* nothing behind it is reached */
        return false;
    case TARGET_ECHO:
    case TARGET_PLAY:
        return false; /* they stand alone: routing_outside */
    }
    return false;
}

static void next(struct lookup *k)
{
    while (k->at < k->n) {
        if (look_up(k, &k->list[k->at]))
            return;
        k->at++;
    }
    k->done(k);
}

void lookup_start(struct lookup *k)
{
    static const struct settings_target local = {.kind = TARGET_LOCAL};
    if (!k->list) {
        k->list = &local;
        k->n = 1;
    }
    next(k);
}

void lookup_cancel(struct lookup *k)
{
    if (k->find)
        store_op_cancel(&k->find->op);
    if (k->bindings.op.done)
        store_op_cancel(&k->bindings.op);
}
