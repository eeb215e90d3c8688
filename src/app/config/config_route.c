/* SPDX-License-Identifier: MIT */
/* Routes as they stand in the file: words with their places. What they mean is config_policy.c's. */
#include "config/config_priv.h"

#define ROUTE_HINT SV("such as {when: {user: \"9*\"}, to: sip:gateway.example.test}")

static bool append(struct config_reader *r, struct config_word ***end,
                   const struct config_scalar *s, unsigned step)
{
    struct config_word *w = ARENA_NEW(r->arena, struct config_word);
    if (!w) {
        r->nomem = true;
        return false;
    }
    *w = (struct config_word){.text = s->text, .folder = s->folder, .at = s->at, .step = step};
    **end = w;
    *end = &w->next;
    return true;
}

/* A list of words, or one; at most max. */
static void words(struct config_reader *r, struct config_doc *d, sv key, yaml_node_t *node,
                  struct config_word **list)
{
    struct config_scalar s;
    struct config_word **end = list;
    size_t n = config_list_n(r, d, node), taken = 0;
    if (n == 0 && !d->tired)
        config_error(r, config_place_of(d, node), SV("name one, or leave the key out"),
                     SV_FMT ": the list is empty", SV_ARG(key));
    for (size_t i = 0; i < n && !d->tired; i++) {
        if (!config_scalar(r, d, config_list_item(d, node, i), key, &s))
            continue;
        if (taken++ == SETTINGS_MATCH_MAX) {
            config_error(r, s.at, SV("make two routes of it"), SV_FMT ": more than %d", SV_ARG(key),
                         SETTINGS_MATCH_MAX);
            return;
        }
        if (!append(r, &end, &s, 0))
            return;
    }
}

/* TARGETs: a list is tried in order, a list inside it rings together. */
static void targets(struct config_reader *r, struct config_doc *d, sv key, yaml_node_t *node,
                    struct config_word **list)
{
    struct config_scalar s;
    struct config_word **end = list;
    size_t n = config_list_n(r, d, node), taken = 0;
    if (n == 0 && !d->tired)
        config_error(r, config_place_of(d, node), SV("such as local"), SV_FMT ": the list is empty",
                     SV_ARG(key));
    for (size_t i = 0; i < n && !d->tired; i++) {
        yaml_node_t *x = config_list_item(d, node, i);
        size_t inner = config_list_n(r, d, x);
        if (inner == 0 && !d->tired)
            config_error(r, config_place_of(d, x), SV_NONE, SV_FMT ": the list is empty",
                         SV_ARG(key));
        for (size_t k = 0; k < inner && !d->tired; k++) {
            if (!config_scalar(r, d, config_list_item(d, x, k), key, &s))
                continue;
            if (taken++ == SETTINGS_TARGETS_MAX) {
                config_error(r, s.at, SV_NONE, SV_FMT ": more than %d", SV_ARG(key),
                             SETTINGS_TARGETS_MAX);
                return;
            }
            if (!append(r, &end, &s, (unsigned)i))
                return;
        }
    }
}

/* x: of the route, for `not`; NULL inside one. */
static void read_when(struct config_reader *r, struct config_doc *d, yaml_node_t *node,
                      struct config_when *w, struct config_route *x)
{
    const struct {
        sv name, key;
        struct config_word **words;
    } fields[] = {
        {SV("from"), SV("routes[].when.from"), &w->from},
        {SV("user"), SV("routes[].when.user"), &w->user},
        {SV("domain"), SV("routes[].when.domain"), &w->domain},
        {SV("method"), SV("routes[].when.method"), &w->method},
        {SV("zone"), SV("routes[].when.zone"), &w->zone},
    };
    size_t errors = r->report->errors, n = config_pairs(r, d, node, SV("routes[].when"));
    w->at = config_place_of(d, node);
    for (size_t i = 0; i < n && !r->nomem; i++) {
        struct config_pair pair;
        size_t k = 0;
        if (!config_pair(r, d, node, i, SV("routes[].when"), &pair))
            continue;
        while (k < sizeof(fields) / sizeof(fields[0]) && !sv_eq(pair.name, fields[k].name))
            k++;
        if (k < sizeof(fields) / sizeof(fields[0])) {
            words(r, d, fields[k].key, pair.value, fields[k].words);
        } else if (x && sv_eq(pair.name, SV("not"))) {
            x->has_unless = true;
            read_when(r, d, pair.value, &x->unless, NULL);
        } else if (sv_eq(pair.name, SV("not"))) {
            config_error(r, pair.at, SV("once is enough"), "routes[].when.not: inside another not");
        } else {
            config_unknown(r, pair.at, SV("routes[].when."), pair.name);
        }
    }
    bool any = w->from || w->user || w->domain || w->method || w->zone;
    if (!x && !any && r->report->errors == errors) /* would turn everything round */
        config_error(r, w->at, SV("leave it out"), "routes[].when.not: is empty");
}

static void read_action(struct config_reader *r, struct config_doc *d,
                        const struct config_pair *pair, struct config_route *x)
{
    struct config_scalar s;
    x->actions++;
    if (sv_eq(pair->name, SV("to"))) {
        x->action = ACTION_TO;
        targets(r, d, SV("routes[].to"), pair->value, &x->targets);
    } else if (sv_eq(pair->name, SV("redirect"))) {
        x->action = ACTION_REDIRECT;
        targets(r, d, SV("routes[].redirect"), pair->value, &x->targets);
    } else if (config_scalar(r, d, pair->value, SV("routes[].reject"), &s)) {
        x->action = ACTION_REJECT;
        x->reject = s.text;
        x->reject_at = s.at;
    }
}

static void read_name(struct config_reader *r, struct config_doc *d, yaml_node_t *node,
                      struct config_route *x)
{
    struct config_scalar s;
    char place[CONFIG_SHOWN], shown[CONFIG_SHOWN];
    if (!config_scalar(r, d, node, SV("routes[].name"), &s))
        return;
    if (s.text.n == 0 || s.text.n > 64)
        config_error(r, s.at, SV("1 to 64 characters"), "routes[].name: %s is no name",
                     config_shown(&s, shown));
    for (const struct config_route *o = r->c->routes; o; o = o->next) {
        if (sv_present(o->name) && sv_eq(o->name, s.text))
            config_error(r, s.at, SV("each route has a name of its own"),
                         "routes[].name: %s is that of %s as well", config_shown(&s, shown),
                         config_place_text(o->at, place));
    }
    x->name = s.text;
}

void config_route_map(struct config_reader *r, struct config_doc *d, yaml_node_t *node)
{
    static const struct config_row timeout = {.path = SV("routes[].timeout"),
                                              .type = CONFIG_T_DURATION,
                                              .lo = USEC_S,
                                              .hi = USEC_HOUR,
                                              .words = SV("")};
    struct config_route x = {.at = config_place_of(d, node)};
    size_t errors = r->report->errors, n = config_pairs(r, d, node, SV("routes[]"));
    bool has_when = false;
    for (size_t i = 0; i < n && !r->nomem; i++) {
        struct config_pair pair;
        if (!config_pair(r, d, node, i, SV("routes[]"), &pair))
            continue;
        if (sv_eq(pair.name, SV("when"))) {
            has_when = true;
            read_when(r, d, pair.value, &x.when, &x);
        } else if (sv_eq(pair.name, SV("to")) || sv_eq(pair.name, SV("redirect")) ||
                   sv_eq(pair.name, SV("reject"))) {
            read_action(r, d, &pair, &x);
        } else if (sv_eq(pair.name, SV("timeout"))) {
            config_field(r, d, &timeout, pair.value, &x.timeout);
        } else if (sv_eq(pair.name, SV("name"))) {
            read_name(r, d, pair.value, &x);
        } else {
            config_unknown(r, pair.at, SV("routes[]."), pair.name);
        }
    }
    if (r->report->errors == errors && !has_when)
        config_error(r, x.at, SV("when: {} takes everything"), "routes[]: has no when");
    if (r->report->errors == errors && x.actions != 1)
        config_error(r, x.at, ROUTE_HINT, "routes[]: %s of to, redirect and reject",
                     x.actions ? "has more than one" : "has none");
    if (r->report->errors == errors && x.timeout.set && x.action != ACTION_TO)
        config_error(r, x.timeout.at, SV("leave it out"), "routes[].timeout: is for `to` alone");
    if (r->report->errors != errors)
        return;
    struct config_route *copy = ARENA_NEW(r->arena, struct config_route);
    if (!copy) {
        r->nomem = true;
        return;
    }
    *copy = x;
    *r->c->routes_end = copy;
    r->c->routes_end = &copy->next;
    r->c->routes_n++;
}
