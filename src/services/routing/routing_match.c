/* SPDX-License-Identifier: MIT */
/* Which route a request takes: the first whose `when` holds and whose `not` does not. Pure. */
#include "routing/routing_match.h"

static bool from_holds(const struct settings_source *s, const struct routing_facts *f)
{
    switch (s->kind) {
    case FROM_ACCOUNTS:
        return f->account_user.n > 0;
    case FROM_ACCOUNT:
        return f->account_user.n > 0 && sv_eq(s->user, f->account_user) &&
               (s->domain.n == 0 || sv_eq(s->domain, f->account_domain));
    case FROM_STRANGERS:
        return f->account_user.n == 0;
    case FROM_NETWORK:
        return addr_net_has(&s->network, &f->source);
    case FROM_TLS:
        return f->peer && tls_peer_is(f->peer, s->name);
    }
    return false;
}

static bool user_holds(sv pattern, sv user)
{
    if (pattern.n > 0 && pattern.p[pattern.n - 1] == '*')
        return sv_starts(user, sv_sub(pattern, 0, pattern.n - 1));
    return sv_eq(pattern, user);
}

static bool domain_holds(sv pattern, const struct routing_facts *f)
{
    return sv_eq(pattern, SV("local")) ? f->domain_ours : sv_eq(pattern, f->domain);
}

static bool any_from(const struct settings_when *w, const struct routing_facts *f)
{
    for (unsigned i = 0; i < w->from_n; i++) {
        if (from_holds(&w->from[i], f))
            return true;
    }
    return w->from_n == 0;
}

static bool any_user(const struct settings_when *w, const struct routing_facts *f)
{
    for (unsigned i = 0; i < w->user_n; i++) {
        if (user_holds(w->user[i], f->user) || (f->number.n && user_holds(w->user[i], f->number)))
            return true;
    }
    return w->user_n == 0;
}

static bool any_domain(const struct settings_when *w, const struct routing_facts *f)
{
    for (unsigned i = 0; i < w->domain_n; i++) {
        if (domain_holds(w->domain[i], f))
            return true;
    }
    return w->domain_n == 0;
}

static bool any_method(const struct settings_when *w, const struct routing_facts *f)
{
    for (unsigned i = 0; i < w->method_n; i++) {
        if (sv_eq(w->method[i], f->method))
            return true;
    }
    return w->method_n == 0;
}

static bool zone_holds(const struct settings_when *w, const struct routing_facts *f)
{
    return w->zones == 0 || (f->zone < 32 && (w->zones >> f->zone & 1));
}

bool routing_when(const struct settings_when *w, const struct routing_facts *f)
{
    return !w->never && any_from(w, f) && any_user(w, f) && any_domain(w, f) && any_method(w, f) &&
           zone_holds(w, f);
}

const struct settings_route *routing_match(const struct settings *set,
                                           const struct routing_facts *f)
{
    for (size_t i = 0; i < set->routes_n; i++) {
        const struct settings_route *r = &set->routes[i];
        if (routing_when(&r->when, f) && !(r->has_unless && routing_when(&r->unless, f)))
            return r;
    }
    return NULL;
}
