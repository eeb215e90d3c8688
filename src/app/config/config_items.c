/* SPDX-License-Identifier: MIT */
/* Lists and maps with rows of their own: domains, listeners, files to include, accounts, levels
 * of modules. */
#include "config/config_priv.h"
#include "uri/uri.h"

/* ---- helpers ---- */

size_t config_list_n(struct config_reader *r, struct config_doc *d, yaml_node_t *node)
{
    if (node->type == YAML_SEQUENCE_NODE)
        return config_visit(r, d, node)
                   ? (size_t)(node->data.sequence.items.top - node->data.sequence.items.start)
                   : 0;
    return config_is_null(node) ? 0 : 1;
}

yaml_node_t *config_list_item(struct config_doc *d, yaml_node_t *node, size_t i)
{
    return node->type == YAML_SEQUENCE_NODE
               ? yaml_document_get_node(&d->yaml, node->data.sequence.items.start[i])
               : node;
}

bool config_host_name(struct config_reader *r, sv key, const struct config_scalar *s, sv *ret_name)
{
    char shown[CONFIG_SHOWN];
    sv name = s->text;
    if (name.n > 1 && name.p[name.n - 1] == '.') /* an absolute name */
        name.n--;
    if (name.n > 253 || !uri_is_host(name, false)) {
        config_error(r, s->at, SV("such as example.test"), SV_FMT ": %s is no domain name",
                     SV_ARG(key), config_shown(s, shown));
        return false;
    }
    if (!sv_dup_lower(r->arena, name, ret_name))
        return true;
    r->nomem = true;
    return false;
}

void config_digest(struct config_reader *r, struct config_doc *d, sv key, yaml_node_t *node,
                   struct auth_policy *p, bool *ret_listed)
{
    struct config_scalar s;
    if (node->type != YAML_SEQUENCE_NODE) {
        if (!config_scalar(r, d, node, key, &s))
            return;
        if (sv_eq(s.text, SV("auto"))) {
            *p = (struct auth_policy){.mode = AUTH_MODE_AUTO};
            *ret_listed = false;
        } else {
            *ret_listed = config_algorithm(r, key, &s, p);
        }
        return;
    }
    size_t n = config_list_n(r, d, node);
    if (n == 0)
        config_error(r, config_place_of(d, node), SV("auto, or a list of sha-256 and md5"),
                     SV_FMT ": the list is empty", SV_ARG(key));
    for (size_t i = 0; i < n && !d->tired; i++) {
        if (config_scalar(r, d, config_list_item(d, node, i), key, &s))
            *ret_listed = config_algorithm(r, key, &s, p);
    }
}

/* ---- domains ---- */

static void append_domain(struct config_reader *r, const struct config_domain *domain)
{
    struct config_domain *copy = ARENA_NEW(r->arena, struct config_domain);
    if (!copy) {
        r->nomem = true;
        return;
    }
    *copy = *domain;
    *r->c->domains_end = copy;
    r->c->domains_end = &copy->next;
    r->c->domains_n++;
}

static void domain_text(struct config_reader *r, const struct config_scalar *s)
{
    struct config_domain domain = {.at = s->at};
    if (config_host_name(r, SV("domains"), s, &domain.name))
        append_domain(r, &domain);
}

static void domain_aliases(struct config_reader *r, struct config_doc *d, yaml_node_t *node,
                           struct config_domain *domain)
{
    struct config_scalar s;
    size_t n = config_list_n(r, d, node);
    for (size_t i = 0; i < n && !d->tired; i++) {
        if (!config_scalar(r, d, config_list_item(d, node, i), SV("domains[].aliases"), &s))
            continue;
        if (domain->aliases_n == SETTINGS_ALIASES_MAX) {
            config_error(r, s.at, SV_NONE, "domains[].aliases: more than %d", SETTINGS_ALIASES_MAX);
            return;
        }
        if (config_host_name(r, SV("domains[].aliases"), &s, &domain->aliases[domain->aliases_n]))
            domain->aliases_n++;
    }
}

static void domain_map(struct config_reader *r, struct config_doc *d, yaml_node_t *node)
{
    struct config_domain domain = {.at = config_place_of(d, node)};
    size_t errors = r->report->errors, n = config_pairs(r, d, node, SV("domains[]"));
    bool named = false;
    for (size_t i = 0; i < n; i++) {
        struct config_pair pair;
        struct config_scalar s;
        if (!config_pair(r, d, node, i, SV("domains[]"), &pair))
            continue;
        if (sv_eq(pair.name, SV("name"))) {
            named = true;
            if (config_scalar(r, d, pair.value, SV("domains[].name"), &s))
                config_host_name(r, SV("domains[].name"), &s, &domain.name);
        } else if (sv_eq(pair.name, SV("realm"))) {
            if (config_scalar(r, d, pair.value, SV("domains[].realm"), &s) && s.text.n == 0)
                config_error(r, s.at, SV("leave it out for the name"), "domains[].realm: is empty");
            else
                domain.realm = s.text;
        } else if (sv_eq(pair.name, SV("aliases"))) {
            domain_aliases(r, d, pair.value, &domain);
        } else if (sv_eq(pair.name, SV("digest"))) {
            bool listed = false;
            config_digest(r, d, SV("domains[].digest"), pair.value, &domain.digest, &listed);
            domain.has_digest = true;
            domain.digest_at = config_place_of(d, pair.value);
        } else {
            config_unknown(r, pair.at, SV("domains[]."), pair.name);
        }
    }
    if (!named && r->report->errors == errors)
        config_error(r, domain.at, SV("such as {name: example.test}"), "domains[]: has no name");
    if (named && r->report->errors == errors)
        append_domain(r, &domain);
}

/* ---- listeners ---- */

static void append_listener(struct config_reader *r, const struct config_listener *listener)
{
    struct config_listener *l = ARENA_NEW(r->arena, struct config_listener);
    if (!l) {
        r->nomem = true;
        return;
    }
    *l = *listener;
    *r->c->listeners_end = l;
    r->c->listeners_end = &l->next;
    r->c->listeners_n++;
}

static void listen_text(struct config_reader *r, const struct config_scalar *s)
{
    struct config_listener l;
    if (config_listen_read(r, SV("listen"), s, &l))
        append_listener(r, &l);
}

static void listen_map(struct config_reader *r, struct config_doc *d, yaml_node_t *node)
{
    struct config_listener l;
    if (config_listen_map(r, d, node, &l))
        append_listener(r, &l);
}

/* ---- include ---- */

static void include_text(struct config_reader *r, const struct config_scalar *s)
{
    struct config_include *inc = ARENA_NEW(r->arena, struct config_include);
    if (!inc) {
        r->nomem = true;
        return;
    }
    *inc = (struct config_include){.pattern = s->text, .at = s->at};
    *r->c->includes_end = inc;
    r->c->includes_end = &inc->next;
}

/* ---- accounts ---- */

static bool user_clean(sv user)
{
    static const char set[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()&=+$,";
    for (size_t i = 0; i < user.n; i++) {
        if (!memchr(set, user.p[i], sizeof(set) - 1))
            return false;
    }
    return user.n > 0 && user.n <= 128;
}

bool config_user(struct config_reader *r, sv key, const struct config_scalar *s, sv *ret_user,
                 sv *ret_domain)
{
    char shown[CONFIG_SHOWN];
    size_t at = sv_chr(s->text, '@');
    sv user = sv_sub(s->text, 0, at);
    if (!user_clean(user)) {
        config_error(r, s->at,
                     SV("letters, digits and -_.!~*'()&=+$, such as alice or alice@example.test"),
                     SV_FMT ": %s is no user name", SV_ARG(key), config_shown(s, shown));
        return false;
    }
    struct buf b;
    char mem[256];
    buf_init(&b, mem, sizeof(mem));
    if (uri_user_canonical(user, &b) || sv_dup(r->arena, buf_sv(&b), ret_user)) {
        r->nomem = true;
        return false;
    }
    if (at == s->text.n)
        return true;
    struct config_scalar domain = *s;
    domain.text = sv_sub(s->text, at + 1, s->text.n);
    return config_host_name(r, key, &domain, ret_domain);
}

/* What a phone can dial: digits, *, #, a + in front. */
static bool number_clean(sv number)
{
    size_t i = number.n > 0 && number.p[0] == '+' ? 1 : 0;
    if (number.n == i || number.n > 64)
        return false;
    for (; i < number.n; i++) {
        if (!memchr("0123456789*#", number.p[i], 12))
            return false;
    }
    return true;
}

static void account_numbers(struct config_reader *r, struct config_doc *d, yaml_node_t *node,
                            struct config_account *a)
{
    struct config_scalar s;
    char shown[CONFIG_SHOWN];
    size_t n = config_list_n(r, d, node);
    for (size_t i = 0; i < n && !d->tired; i++) {
        if (!config_scalar(r, d, config_list_item(d, node, i), SV("accounts[].number"), &s))
            continue;
        if (!number_clean(s.text))
            config_error(r, s.at, SV("digits, * and #, such as 101, \"+41445550101\""),
                         "accounts[].number: %s is no number", config_shown(&s, shown));
        else if (a->numbers_n == STORE_NUMBERS_MAX)
            config_error(r, s.at, SV_NONE, "accounts[].number: more than %d", STORE_NUMBERS_MAX);
        else
            a->numbers[a->numbers_n++] = s.text;
    }
}

static void account_password(struct config_reader *r, const struct config_scalar *s,
                             struct config_account *a)
{
    if (!sv_present(s->from)) {
        config_error(r, s->at, SV("file:PATH, env:NAME, credential:NAME, or `tandem user passwd`"),
                     "accounts[].password: a password may not stand in the file itself");
        return;
    }
    a->password = s->text;
    a->password_from = s->from;
    a->password_at = s->at;
}

static void account_field(struct config_reader *r, struct config_doc *d,
                          const struct config_pair *pair, struct config_account *a, bool *named)
{
    struct config_scalar s;
    if (sv_eq(pair->name, SV("user"))) {
        *named = true;
        if (config_scalar(r, d, pair->value, SV("accounts[].user"), &s))
            config_user(r, SV("accounts[].user"), &s, &a->user, &a->domain);
    } else if (sv_eq(pair->name, SV("name"))) {
        if (config_scalar(r, d, pair->value, SV("accounts[].name"), &s))
            a->name = s.text;
    } else if (sv_eq(pair->name, SV("number"))) {
        account_numbers(r, d, pair->value, a);
    } else if (sv_eq(pair->name, SV("password"))) {
        if (config_scalar(r, d, pair->value, SV("accounts[].password"), &s))
            account_password(r, &s, a);
    } else {
        config_unknown(r, pair->at, SV("accounts[]."), pair->name);
    }
}

static void account_map(struct config_reader *r, struct config_doc *d, yaml_node_t *node)
{
    struct config_account a = {.at = config_place_of(d, node)};
    size_t errors = r->report->errors, n = config_pairs(r, d, node, SV("accounts[]"));
    bool named = false;
    for (size_t i = 0; i < n; i++) {
        struct config_pair pair;
        if (config_pair(r, d, node, i, SV("accounts[]"), &pair))
            account_field(r, d, &pair, &a, &named);
    }
    if (!named && r->report->errors == errors)
        config_error(r, a.at, SV("such as {user: alice, number: 101}"), "accounts[]: has no user");
    if (r->report->errors != errors)
        return;
    struct config_account *copy = ARENA_NEW(r->arena, struct config_account);
    if (!copy) {
        r->nomem = true;
        return;
    }
    *copy = a;
    *r->c->accounts_end = copy;
    r->c->accounts_end = &copy->next;
    r->c->accounts_n++;
}

/* ---- levels ---- */

static void levels_map(struct config_reader *r, struct config_doc *d, yaml_node_t *node)
{
    struct config_all *c = r->c;
    char shown[CONFIG_SHOWN], place[CONFIG_SHOWN];
    size_t n = config_pairs(r, d, node, SV("log.levels"));
    for (size_t i = 0; i < n; i++) {
        struct config_pair pair;
        struct config_scalar s;
        struct config_module m;
        if (!config_pair(r, d, node, i, SV("log.levels"), &pair) ||
            !config_scalar(r, d, pair.value, SV("log.levels"), &s))
            continue;
        m.at = pair.at;
        struct config_scalar name = {.text = pair.name};
        if (pair.name.n == 0 || pair.name.n > 31) {
            config_error(r, pair.at, SV("such as txn"), "log.levels: %s is no module",
                         config_shown(&name, shown));
            continue;
        }
        if (log_level_parse(s.text, &m.level)) {
            config_error(r, s.at, SV("error, warn, info, debug"), "log.levels: %s is no level",
                         config_shown(&s, shown));
            continue;
        }
        unsigned k = 0;
        while (k < c->modules_n && !sv_eq(c->modules[k].module, pair.name))
            k++;
        if (k < c->modules_n) {
            config_error(r, pair.at, SV("keep one of them"), "log.levels: %s is set in %s as well",
                         config_shown(&name, shown), config_place_text(c->modules[k].at, place));
        } else if (k == sizeof(c->modules) / sizeof(c->modules[0])) {
            config_error(r, pair.at, SV_NONE, "log.levels: more than %u modules", k);
        } else if (sv_dup(r->arena, pair.name, &m.module)) {
            r->nomem = true;
        } else {
            c->modules[c->modules_n++] = m;
        }
    }
}

/* ---- all ---- */

/* --set stands in the place of all that the files list. */
static void forget(struct config_all *c, const struct config_row *key)
{
    if (key->type == CONFIG_T_DOMAINS) {
        c->domains = NULL;
        c->domains_end = &c->domains;
        c->domains_n = 0;
    } else if (key->type == CONFIG_T_LISTEN) {
        c->listeners = NULL;
        c->listeners_end = &c->listeners;
        c->listeners_n = 0;
    } else if (key->id == CONFIG_K_LOCAL_NETWORKS) {
        c->local = NULL;
    } else if (key->id == CONFIG_K_SECURITY_TRUSTED) {
        c->trusted = NULL;
    } else if (key->id == CONFIG_K_TURN_PEERS) {
        c->turn_peers = NULL;
    } else if (key->type == CONFIG_T_DOORS) {
        c->doors = NULL;
        c->doors_end = &c->doors;
    } else if (key->type == CONFIG_T_ADDRS) {
        c->servers = NULL;
    }
}

void config_item_text(struct config_reader *r, const struct config_row *key,
                      const struct config_scalar *s)
{
    if (r->sets) {
        forget(r->c, key);
        r->c->values[key->id] = (struct config_value){.set = true, .at = s->at};
    }
    if (key->type == CONFIG_T_DOMAINS)
        domain_text(r, s);
    else if (key->type == CONFIG_T_LISTEN)
        listen_text(r, s);
    else if (key->type == CONFIG_T_DOORS)
        config_door_text(r, key, s);
    else if (key->type == CONFIG_T_INCLUDE)
        include_text(r, s);
    else if (key->type == CONFIG_T_NETWORKS)
        config_net_text(r, key, s);
    else if (key->type == CONFIG_T_ADDRS)
        config_address_text(r, key, s);
}

static void one_item(struct config_reader *r, struct config_doc *d, const struct config_row *key,
                     yaml_node_t *node)
{
    struct config_scalar s;
    if (key->type == CONFIG_T_ACCOUNTS)
        account_map(r, d, node);
    else if (key->type == CONFIG_T_SNI)
        config_sni_map(r, d, node);
    else if (key->type == CONFIG_T_EXEMPT)
        config_exempt_map(r, d, node);
    else if (key->type == CONFIG_T_ROUTES)
        config_route_map(r, d, node);
    else if (key->type == CONFIG_T_DOMAINS && node->type == YAML_MAPPING_NODE)
        domain_map(r, d, node);
    else if (key->type == CONFIG_T_LISTEN && node->type == YAML_MAPPING_NODE)
        listen_map(r, d, node);
    else if (config_scalar(r, d, node, key->path, &s))
        config_item_text(r, key, &s);
}

void config_items(struct config_reader *r, struct config_doc *d, const struct config_row *key,
                  yaml_node_t *node)
{
    struct config_value *v = &r->c->values[key->id];
    if (!v->set)
        *v = (struct config_value){.set = true, .at = config_place_of(d, node)};
    if (key->type == CONFIG_T_LEVELS) {
        levels_map(r, d, node);
        return;
    }
    if (key->type == CONFIG_T_ZONES) {
        config_zones(r, d, node);
        return;
    }
    size_t n = config_list_n(r, d, node);
    if (n == 0 && !d->tired && (key->type == CONFIG_T_DOMAINS || key->type == CONFIG_T_LISTEN))
        config_error(r, config_place_of(d, node), SV("name one, or leave the key out"),
                     SV_FMT ": the list is empty", SV_ARG(key->path));
    for (size_t i = 0; i < n && !r->nomem && !d->tired; i++)
        one_item(r, d, key, config_list_item(d, node, i));
}
