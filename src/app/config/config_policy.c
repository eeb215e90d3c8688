/* SPDX-License-Identifier: MIT */
/* What the routes mean: words resolved against domains, zones and accounts; routes that nothing can
 * reach, and routes that would let anybody through. */
#include "config/config_priv.h"
#include "uri/uri.h"

#define TARGET_HINT                                                                                      \
    SV("local, uri, sip:…, sips:…, tel:…, an account or its number, reject 486; alone also echo, " \
       "play:FILE")
#define FROM_HINT SV("accounts, alice, strangers, 10.0.0.0/8, tls:sbc.example.test")

static void copy(struct config_reader *r, sv from, sv *ret_to)
{
    if (sv_dup(&r->c->pub.settings->arena, from, ret_to))
        r->nomem = true;
}

/* The domain of ours that goes by this name, its own or an alias. */
static const struct settings_domain *domain_of(const struct settings *s, sv name)
{
    for (unsigned i = 0; i < s->domains_n; i++) {
        if (sv_eq(s->domains[i].name, name))
            return &s->domains[i];
        for (unsigned k = 0; k < s->domains[i].aliases_n; k++) {
            if (sv_eq(s->domains[i].aliases[k], name))
                return &s->domains[i];
        }
    }
    return NULL;
}

/* False: the file names accounts, and none has this name or number. */
static bool is_account(const struct settings *s, sv user, sv domain)
{
    for (size_t i = 0; i < s->accounts_n; i++) {
        const struct settings_account *a = &s->accounts[i];
        if (domain.n && a->domain.n && !sv_eq(domain, a->domain))
            continue;
        if (sv_eq(a->user, user))
            return true;
        for (unsigned k = 0; k < a->numbers_n; k++) {
            if (sv_eq(a->numbers[k], user))
                return true;
        }
    }
    return s->accounts_n == 0;
}

/* The file names it. */
static bool has_account(const struct settings *s, sv user)
{
    return s->accounts_n > 0 && is_account(s, user, SV(""));
}

/* Begins with one of the words, each up to a '|'. */
static bool begins(sv text, const char *const *words)
{
    for (; *words; words++) {
        if (sv_starts(text, sv_of(*words)))
            return true;
    }
    return false;
}

static void not_yet(struct config_reader *r, sv key, const struct config_word *w, sv hint)
{
    struct config_scalar s = {.text = w->text};
    char shown[CONFIG_SHOWN];
    config_error(r, w->at, hint, SV_FMT ": %s is not there yet", SV_ARG(key),
                 config_shown(&s, shown));
}

/* user and domain of an account's name. False: reported. */
static bool account(struct config_reader *r, sv key, const struct config_word *w, sv *ret_user,
                    sv *ret_domain)
{
    struct config_scalar s = {.text = w->text, .at = w->at};
    char shown[CONFIG_SHOWN];
    sv user, domain = SV_NONE;
    if (!config_user(r, key, &s, &user, &domain))
        return false;
    const struct settings_domain *ours = domain_of(r->c->pub.settings, domain);
    if (sv_present(domain) && !ours && r->c->pub.settings->domains_n > 0) {
        config_error(r, w->at, SV("sip:… leads to other domains"),
                     SV_FMT ": %s is in none of our domains", SV_ARG(key), config_shown(&s, shown));
        return false;
    }
    if (ours)
        domain = ours->name;
    if (!is_account(r->c->pub.settings, user, domain))
        config_finding(r, w->at, SV("unless it was made with `tandem user add`"),
                       SV_FMT ": no account of the file is %s", SV_ARG(key),
                       config_shown(&s, shown));
    copy(r, user, ret_user);
    copy(r, sv_present(domain) ? domain : SV(""), ret_domain);
    return true;
}

/* ---- when ---- */

/* tls:NAME: only a peer that connects and shows a certificate has one. */
static void source_tls(struct config_reader *r, sv key, const struct config_word *w,
                       struct settings_source *out)
{
    struct config_scalar s = {.text = sv_sub(w->text, 4, w->text.n), .at = w->at};
    sv name;
    out->kind = FROM_TLS;
    if (!config_host_name(r, key, &s, &name))
        return;
    copy(r, name, &out->name);
    if (r->c->pub.tls.clients == TLS_CLIENTS_NONE)
        config_error(r, w->at, SV("tls: {clients: optional, ca: FILE}"),
                     SV_FMT ": tls.clients is none: nobody who connects is asked for a certificate",
                     SV_ARG(key));
}

/* A word that was meant, where an account's name stands. */
static void nearly_a_word(struct config_reader *r, sv key, const struct config_word *w)
{
    static const sv words[] = {SV("accounts"), SV("strangers")};
    struct config_scalar s = {.text = w->text};
    sv near = config_nearest(w->text, words, sizeof(words) / sizeof(words[0]));
    char mem[64], shown[CONFIG_SHOWN];
    struct buf b;
    if (!sv_present(near) || has_account(r->c->pub.settings, w->text))
        return;
    buf_init(&b, mem, sizeof(mem));
    buf_printf(&b, "did you mean '" SV_FMT "'?", SV_ARG(near));
    config_finding(r, w->at, buf_sv(&b), SV_FMT ": %s is taken for an account", SV_ARG(key),
                   config_shown(&s, shown));
}

static void source(struct config_reader *r, const struct config_word *w,
                   struct settings_source *out)
{
    static const sv key = {"routes[].when.from", 18};
    static const char *const later[] = {"trunk:", "group:", NULL};
    struct config_scalar s = {.text = w->text, .at = w->at};
    enum err net = addr_net_parse(w->text, &out->network);
    if (begins(w->text, later)) {
        not_yet(r, key, w, FROM_HINT);
    } else if (sv_eq(w->text, SV("accounts"))) {
        out->kind = FROM_ACCOUNTS;
    } else if (sv_eq(w->text, SV("strangers"))) {
        out->kind = FROM_STRANGERS;
    } else if (sv_starts(w->text, SV("tls:"))) {
        source_tls(r, key, w, out);
    } else if (!net) {
        out->kind = FROM_NETWORK;
    } else if (net == ERR_RANGE || sv_chr(w->text, '/') < w->text.n ||
               sv_chr(w->text, ':') < w->text.n) {
        config_net_read(r, key, &s, &out->network);
    } else {
        out->kind = FROM_ACCOUNT;
        nearly_a_word(r, key, w);
        account(r, key, w, &out->user, &out->domain);
    }
}

static void user(struct config_reader *r, const struct config_word *w, sv *out)
{
    char mem[512], shown[CONFIG_SHOWN];
    struct buf b;
    struct config_scalar s = {.text = w->text};
    size_t at = sv_chr(w->text, '@');
    buf_init(&b, mem, sizeof(mem));
    if (w->text.n == 0 || at < w->text.n || uri_user_canonical(w->text, &b))
        config_error(r, w->at, SV("alice, \"9*\", \"+4144*\"; the domain has a field of its own"),
                     "routes[].when.user: %s is no user", config_shown(&s, shown));
    else
        copy(r, buf_sv(&b), out);
}

static void domain(struct config_reader *r, const struct config_word *w, sv *out)
{
    struct config_scalar s = {.text = w->text, .at = w->at};
    struct addr a;
    sv name;
    if (!addr_parse_ip(w->text, 0, &a)) {
        copy(r, w->text, out);
        return;
    }
    if (!config_host_name(r, SV("routes[].when.domain"), &s, &name))
        return;
    const struct settings_domain *ours = domain_of(r->c->pub.settings, name);
    copy(r, ours ? ours->name : name, out); /* requests are asked for by the first name, too */
}

/* Other methods go the same way, so it may be meant. */
static void known_method(struct config_reader *r, const struct config_word *w)
{
#define X(id, name, what) SV(name),
    static const sv words[] = {
#include "sipmsg/methods.def"
    };
#undef X
    const size_t n = sizeof(words) / sizeof(words[0]);
    struct config_scalar s = {.text = w->text};
    sv near = config_nearest(w->text, words, n);
    char mem[64], shown[CONFIG_SHOWN];
    struct buf b;
    for (size_t i = 0; i < n; i++) {
        if (sv_eq(words[i], w->text))
            return;
    }
    buf_init(&b, mem, sizeof(mem));
    if (sv_present(near))
        buf_printf(&b, "did you mean '" SV_FMT "'?", SV_ARG(near));
    config_finding(r, w->at, buf_sv(&b), "routes[].when.method: %s is none of the known methods",
                   config_shown(&s, shown));
}

static void method(struct config_reader *r, const struct config_word *w, sv *out)
{
    static const char set[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~";
    struct config_scalar s = {.text = w->text};
    char shown[CONFIG_SHOWN];
    bool good = w->text.n > 0 && w->text.n <= 32, small = false;
    for (size_t i = 0; i < w->text.n; i++) {
        good = good && memchr(set, w->text.p[i], sizeof(set) - 1);
        small = small || (w->text.p[i] >= 'a' && w->text.p[i] <= 'z');
    }
    if (!good || small)
        config_error(r, w->at, SV("in capitals, such as INVITE"),
                     "routes[].when.method: %s is no method", config_shown(&s, shown));
    else
        copy(r, w->text, out);
    if (good && !small)
        known_method(r, w);
}

static void fill_when(struct config_reader *r, const struct config_when *w,
                      struct settings_when *out)
{
    for (const struct config_word *x = w->from; x; x = x->next)
        source(r, x, &out->from[out->from_n++]);
    for (const struct config_word *x = w->user; x; x = x->next)
        user(r, x, &out->user[out->user_n++]);
    for (const struct config_word *x = w->domain; x; x = x->next)
        domain(r, x, &out->domain[out->domain_n++]);
    for (const struct config_word *x = w->method; x; x = x->next)
        method(r, x, &out->method[out->method_n++]);
    for (const struct config_word *x = w->zone; x; x = x->next) {
        unsigned zone;
        if (config_zone_of(r, x->text, &zone))
            out->zones |= 1u << zone;
        else
            config_error(r, x->at, SV("name it under zones"),
                         "routes[].when.zone: there is no zone " SV_FMT,
                         SV_ARG(sv_sub(x->text, 0, CONFIG_SHOWN_MAX)));
    }
}

/* ---- targets ---- */

/* "486", "403 Not from here". False: reported. */
static bool rejection(struct config_reader *r, sv key, sv text, struct config_place at,
                      uint16_t *ret_status, sv *ret_reason)
{
    struct config_scalar s = {.text = text};
    char shown[CONFIG_SHOWN];
    size_t blank = sv_chr(text, ' ');
    uint64_t status;
    if (sv_u64(sv_sub(text, 0, blank), 699, &status) || status < 400 || status == 401 ||
        status == 407 || blank + 1 == text.n) {
        config_error(r, at,
                     SV("400 to 699, but for the challenges 401 and 407; such as 403 Not "
                        "from here"),
                     SV_FMT ": %s is no status to reject with", SV_ARG(key),
                     config_shown(&s, shown));
        return false;
    }
    *ret_status = (uint16_t)status;
    copy(r, blank < text.n ? sv_sub(text, blank + 1, text.n) : SV(""), ret_reason);
    return true;
}

/* A host without its scheme, gateway.example.net:5060;transport=tls: an account of that name, which
 * is what it would be taken for, is hardly meant. */
static bool is_bare_host(const struct settings *s, sv text)
{
    sv host = sv_sub(text, 0, sv_chr(text, ';'));
    host = sv_sub(host, 0, sv_chr(host, ':'));
    return sv_chr(host, '.') < host.n && uri_is_host(host, false) && !has_account(s, text);
}

static void bare_host(struct config_reader *r, sv key, const struct config_word *w)
{
    struct config_scalar s = {.text = w->text};
    char mem[256], shown[CONFIG_SHOWN];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_printf(&b, "sip:" SV_FMT "; an account with a dot in its name is named with its domain",
               SV_ARG(sv_sub(w->text, 0, CONFIG_SHOWN_MAX)));
    config_error(r, w->at, buf_sv(&b), SV_FMT ": %s has no scheme", SV_ARG(key),
                 config_shown(&s, shown));
}

/* A call that ends at this server. */
static bool is_here(sv text)
{
    return sv_eq(text, SV("echo")) || sv_starts(text, SV("play:"));
}

static void target_here(struct config_reader *r, const struct config_route *route,
                        const struct config_word *w, struct settings_target *out)
{
    sv play = SV("play:"), file = sv_sub(w->text, play.n, w->text.n);
    struct config_scalar s = {.text = w->text};
    char shown[CONFIG_SHOWN];
    out->kind = sv_starts(w->text, play) ? TARGET_PLAY : TARGET_ECHO;
    if (out->kind == TARGET_PLAY && file.n == 0)
        config_error(r, w->at, SV("such as play:sounds/closed.wav"),
                     "routes[].to: %s names no file", config_shown(&s, shown));
    else if (out->kind == TARGET_PLAY)
        copy(r, config_join(r, w->folder, file), &out->file);
    if (route->targets->next)
        config_error(r, w->at, SV("make a route of its own of it"),
                     "routes[].to: %s stands alone, nothing rings beside it or before it",
                     config_shown(&s, shown));
}

static void target(struct config_reader *r, const struct config_route *route,
                   const struct config_word *w, struct settings_target *out)
{
    static const char *const later[] = {"trunk:", "group:", "voicemail", "conference:", NULL};
    static const char *const uris[] = {"sip:", "sips:", "tel:", NULL};
    bool redirect = route->action == ACTION_REDIRECT;
    sv key = redirect ? SV("routes[].redirect") : SV("routes[].to");
    struct config_scalar s = {.text = w->text};
    char shown[CONFIG_SHOWN];
    struct uri u;
    out->step = (uint8_t)w->step;
    if (begins(w->text, later) || sv_eq(w->text, SV("enum"))) {
        not_yet(r, key, w, TARGET_HINT);
    } else if (sv_eq(w->text, SV("local"))) {
        out->kind = TARGET_LOCAL;
    } else if (redirect && (sv_eq(w->text, SV("uri")) || sv_starts(w->text, SV("reject")) ||
                            is_here(w->text))) {
        config_error(r, w->at, SV("local, sip:…, sips:…, tel:…, an account"),
                     SV_FMT ": %s is no contact to redirect to", SV_ARG(key),
                     config_shown(&s, shown));
    } else if (sv_eq(w->text, SV("uri"))) {
        out->kind = TARGET_URI;
    } else if (is_here(w->text)) {
        target_here(r, route, w, out);
    } else if (sv_starts(w->text, SV("reject "))) {
        out->kind = TARGET_REJECT;
        rejection(r, key, sv_sub(w->text, 7, w->text.n), w->at, &out->status, &out->reason);
    } else if (begins(w->text, uris)) {
        out->kind = TARGET_SIP;
        if (uri_parse(w->text, &u, NULL))
            config_error(r, w->at, SV("such as sip:gateway.example.test;transport=tls"),
                         SV_FMT ": %s is no URI", SV_ARG(key), config_shown(&s, shown));
        else
            copy(r, w->text, &out->uri);
    } else if (is_bare_host(r->c->pub.settings, w->text)) {
        bare_host(r, key, w);
    } else {
        out->kind = TARGET_ACCOUNT;
        account(r, key, w, &out->user, &out->domain);
    }
}

static void fill_route(struct config_reader *r, struct config_route *x, struct settings_route *out)
{
    char place[CONFIG_SHOWN];
    copy(r, sv_of(config_place_text(x->at, place)), &out->place);
    if (sv_present(x->name))
        copy(r, x->name, &out->name);
    else
        out->name = out->place;
    fill_when(r, &x->when, &out->when);
    out->has_unless = x->has_unless;
    if (x->has_unless)
        fill_when(r, &x->unless, &out->unless);
    out->action = x->action;
    for (const struct config_word *w = x->targets; w; w = w->next)
        target(r, x, w, &out->target[out->targets_n++]);
    if (x->action == ACTION_REJECT)
        rejection(r, SV("routes[].reject"), x->reject, x->reject_at, &out->status, &out->reason);
    out->timeout = x->timeout.set ? x->timeout.n : 0;
    x->out = out;
}

/* ---- which requests: is all of b in a? ---- */

static bool source_in(const struct settings_source *b, const struct settings_source *a)
{
    if (a->kind == FROM_ACCOUNTS)
        return b->kind == FROM_ACCOUNTS || b->kind == FROM_ACCOUNT;
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case FROM_ACCOUNT:
        return sv_eq(a->user, b->user) && (a->domain.n == 0 || sv_eq(a->domain, b->domain));
    case FROM_NETWORK:
        return a->network.bits <= b->network.bits && addr_net_has(&a->network, &b->network.base);
    case FROM_TLS:
        return sv_eq(a->name, b->name);
    case FROM_ACCOUNTS:
    case FROM_STRANGERS:
        break;
    }
    return true;
}

/* Of every address there is. */
static bool is_everybody(const struct settings_when *w)
{
    bool any4 = false, any6 = false;
    for (unsigned i = 0; i < w->from_n; i++) {
        if (w->from[i].kind == FROM_NETWORK && w->from[i].network.bits == 0) {
            any4 = any4 || w->from[i].network.base.family == 4;
            any6 = any6 || w->from[i].network.base.family == 6;
        }
    }
    return w->from_n == 0 || (any4 && any6);
}

static bool user_in(sv b, sv a)
{
    bool any = a.n > 0 && a.p[a.n - 1] == '*';
    if (!any)
        return sv_eq(a, b);
    a.n--;
    if (b.n > 0 && b.p[b.n - 1] == '*')
        b.n--;
    return sv_starts(b, a);
}

static bool domain_in(const struct settings *s, sv b, sv a)
{
    return sv_eq(a, b) || (sv_eq(a, SV("local")) && domain_of(s, b));
}

static bool froms_in(const struct settings_when *b, const struct settings_when *a)
{
    if (is_everybody(a))
        return true;
    for (unsigned i = 0; i < b->from_n; i++) {
        unsigned k = 0;
        while (k < a->from_n && !source_in(&b->from[i], &a->from[k]))
            k++;
        if (k == a->from_n)
            return false;
    }
    return b->from_n > 0;
}

static bool texts_in(const struct settings *s, const sv *b, unsigned bn, const sv *a, unsigned an,
                     bool (*in)(const struct settings *s, sv b, sv a))
{
    for (unsigned i = 0; i < bn && an > 0; i++) {
        unsigned k = 0;
        while (k < an && !in(s, b[i], a[k]))
            k++;
        if (k == an)
            return false;
    }
    return an == 0 || bn > 0;
}

static bool in_user(const struct settings *s, sv b, sv a)
{
    (void)s;
    return user_in(b, a);
}

static bool in_same(const struct settings *s, sv b, sv a)
{
    (void)s;
    return sv_eq(a, b);
}

/* Each request that b takes, a takes too. */
static bool when_in(const struct settings *s, const struct settings_when *b,
                    const struct settings_when *a)
{
    return froms_in(b, a) && texts_in(s, b->user, b->user_n, a->user, a->user_n, in_user) &&
           texts_in(s, b->domain, b->domain_n, a->domain, a->domain_n, domain_in) &&
           texts_in(s, b->method, b->method_n, a->method, a->method_n, in_same) &&
           (a->zones == 0 || (b->zones != 0 && (b->zones & ~a->zones) == 0));
}

static void unreachable(struct config_reader *r, const struct config_route *x)
{
    const struct settings *s = r->c->pub.settings;
    char place[CONFIG_SHOWN];
    if (x->has_unless && when_in(s, &x->out->when, &x->out->unless)) {
        config_error(r, x->at, SV("take the route out, or the not"),
                     "routes[]: `not` takes away all that `when` takes");
        return;
    }
    for (const struct config_route *o = r->c->routes; o != x; o = o->next) {
        if (o->out->has_unless || !when_in(s, &x->out->when, &o->out->when))
            continue;
        config_error(r, x->at, SV("put it before that one, or take it out"),
                     "routes[]: is never reached: the route in %s takes all that it could",
                     config_place_text(o->at, place));
        return;
    }
}

/* ---- who gets where ---- */

/* Everybody whom it takes has shown who he is, or comes from a network that was named. */
static bool is_for_known(const struct settings_route *x)
{
    bool known = x->when.from_n > 0;
    for (unsigned i = 0; i < x->when.from_n; i++)
        known = known && x->when.from[i].kind != FROM_STRANGERS &&
                (x->when.from[i].kind != FROM_NETWORK || x->when.from[i].network.bits > 0);
    const struct settings_when *u = &x->unless;
    bool alone = x->has_unless && u->user_n + u->domain_n + u->method_n == 0 && u->zones == 0;
    for (unsigned i = 0; i < u->from_n && alone; i++)
        known = known || u->from[i].kind == FROM_STRANGERS;
    return known;
}

/* Threats D6: what strangers send goes no further than to a local user. */
static void open_relay(struct config_reader *r, const struct config_route *x)
{
    const struct settings_route *out = x->out;
    if (out->action != ACTION_TO || is_for_known(out))
        return;
    const struct config_word *w = x->targets;
    for (unsigned i = 0; i < out->targets_n; i++, w = w->next) {
        struct uri u;
        bool away = out->target[i].kind == TARGET_URI;
        char mem[256];
        struct buf host;
        buf_init(&host, mem, sizeof(mem));
        if (out->target[i].kind == TARGET_SIP && !uri_parse(out->target[i].uri, &u, NULL)) {
            for (size_t k = 0; k < u.host.n; k++)
                buf_char(&host, sv_lower(u.host.p[k]));
            away = u.scheme == URI_TEL || host.rc || !domain_of(r->c->pub.settings, buf_sv(&host));
        }
        if (!away)
            continue;
        config_error(r, w->at, SV("say in when.from who may: accounts, a CIDR, tls:NAME"),
                     "routes[].to: " SV_FMT " lets strangers call on through us, anywhere and at "
                     "our cost",
                     SV_ARG(sv_sub(w->text, 0, CONFIG_SHOWN_MAX)));
        return;
    }
}

void config_apply_routes(struct config_reader *r)
{
    struct settings *s = r->c->pub.settings;
    size_t n = r->c->routes_n, i = 0, errors = r->report->errors;
    if (n == 0)
        return;
    if (n > SETTINGS_ROUTES_MAX) {
        config_error(r, r->c->values[CONFIG_K_ROUTES].at, SV_NONE, "routes: more than %d",
                     SETTINGS_ROUTES_MAX);
        return;
    }
    struct settings_route *out = arena_calloc(&s->arena, n, sizeof(*out));
    if (!out) {
        r->nomem = true;
        return;
    }
    for (struct config_route *x = r->c->routes; x && !r->nomem; x = x->next, i++)
        fill_route(r, x, &out[i]);
    /* Of words that were refused nothing follows. */
    for (struct config_route *x = r->c->routes; x && !r->nomem && r->report->errors == errors;
         x = x->next)
        unreachable(r, x);
    for (struct config_route *x = r->c->routes; x && !r->nomem; x = x->next)
        open_relay(r, x);
    s->routes = out;
    s->routes_n = n;
}
