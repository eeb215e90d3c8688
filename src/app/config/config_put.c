/* SPDX-License-Identifier: MIT */
/* Values as they would stand in a file. */
#include "config/config_priv.h"

void config_put_digest(struct buf *b, const struct auth_policy *p)
{
    if (p->mode == AUTH_MODE_AUTO) {
        buf_str(b, "auto");
        return;
    }
    buf_char(b, '[');
    for (unsigned i = 0; i < p->n; i++) {
        buf_str(b, i == 0 ? "" : ", ");
        buf_put(b, config_algorithms[p->list[i]]);
    }
    buf_char(b, ']');
}

/* Plain where no YAML reader could take it for anything else than this text, in quotes
 * otherwise; the inside of a JSON string
 * is the inside of a double-quoted scalar (YAML 1.2 §1.2). */
void config_put_text(struct buf *b, sv text)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-";
    bool plain = text.n > 0 && text.p[0] != '-' && text.p[0] != '.';
    for (size_t i = 0; i < text.n && plain; i++)
        plain = memchr(safe, text.p[i], sizeof(safe) - 1) != NULL;
    if (plain) {
        buf_put(b, text);
        return;
    }
    buf_char(b, '"');
    buf_json(b, text);
    buf_char(b, '"');
}

static void put_chosen(struct buf *b, const struct config_row *key, const struct config_value *v)
{
    buf_char(b, '[');
    for (unsigned i = 0; i < config_words_n(v); i++) {
        buf_str(b, i == 0 ? "" : ", ");
        buf_put(b, config_word(key->words, config_words_at(v, i)));
    }
    buf_char(b, ']');
}

void config_value_print(struct buf *b, const struct config_row *key, const struct config_value *v)
{
    if (sv_present(v->from)) {
        config_put_text(b, v->from);
        return;
    }
    switch (key->type) {
    case CONFIG_T_DURATION:
        if (key->words.n > 0 && v->n == 0) {
            buf_put(b, key->words);
            break;
        }
        config_put_number(b, key->type, v->n);
        break;
    case CONFIG_T_INT:
    case CONFIG_T_SIZE:
    case CONFIG_T_RATE:
        config_put_number(b, key->type, v->n);
        break;
    case CONFIG_T_BOOL:
        buf_str(b, v->n ? "true" : "false");
        break;
    case CONFIG_T_COUNT:
        if (v->n == 0)
            buf_put(b, key->words);
        else
            buf_i64(b, v->n);
        break;
    case CONFIG_T_RANGE:
        config_put_number(b, key->type, v->n);
        buf_char(b, '-');
        config_put_number(b, key->type, v->n2);
        break;
    case CONFIG_T_ENUM:
        buf_put(b, config_word(key->words, (size_t)v->n));
        break;
    case CONFIG_T_TEXT:
    case CONFIG_T_PATH:
    case CONFIG_T_PEM:
        config_put_text(b, v->text);
        break;
    case CONFIG_T_HOST:
        config_put_text(b, v->text.n > 0 ? v->text : key->words);
        break;
    case CONFIG_T_BIND:
        if (v->addr.family == 0) {
            buf_put(b, key->words);
        } else { /* "[::1]:8080" would begin a list */
            buf_char(b, '"');
            addr_print(b, &v->addr);
            buf_char(b, '"');
        }
        break;
    case CONFIG_T_PORTS:
        buf_printf(b, "%d-%d", (int)v->n, (int)v->n2);
        break;
    case CONFIG_T_BITRATE:
        config_put_number(b, key->type, v->n);
        break;
    case CONFIG_T_WORDS:
        put_chosen(b, key, v);
        break;
    case CONFIG_T_DIGEST:
        config_put_digest(b, &v->digest);
        break;
    case CONFIG_T_DOMAINS:
    case CONFIG_T_LISTEN:
    case CONFIG_T_DOORS:
    case CONFIG_T_INCLUDE:
    case CONFIG_T_ACCOUNTS:
    case CONFIG_T_LEVELS:
    case CONFIG_T_SECRET: /* only from elsewhere */
    case CONFIG_T_NETWORKS:
    case CONFIG_T_ADDRS:
    case CONFIG_T_ZONES:
    case CONFIG_T_SNI:
    case CONFIG_T_EXEMPT:
    case CONFIG_T_ROUTES:
    case CONFIG_TYPES:
        break;
    }
}

void config_put_domain(struct buf *b, const struct config_domain *d)
{
    if (!sv_present(d->realm) && d->aliases_n == 0 && !d->has_digest) {
        config_put_text(b, d->name);
        return;
    }
    buf_str(b, "{name: ");
    config_put_text(b, d->name);
    if (sv_present(d->realm)) {
        buf_str(b, ", realm: ");
        config_put_text(b, d->realm);
    }
    for (unsigned i = 0; i < d->aliases_n; i++) {
        buf_str(b, i == 0 ? ", aliases: [" : ", ");
        config_put_text(b, d->aliases[i]);
    }
    if (d->aliases_n > 0)
        buf_char(b, ']');
    if (d->has_digest) {
        buf_str(b, ", digest: ");
        config_put_digest(b, &d->digest);
    }
    buf_char(b, '}');
}

void config_put_account(struct buf *b, const struct config_account *a)
{
    char mem[512];
    struct buf user;
    buf_init(&user, mem, sizeof(mem));
    buf_put(&user, a->user);
    if (sv_present(a->domain)) {
        buf_char(&user, '@');
        buf_put(&user, a->domain);
    }
    buf_str(b, "{user: ");
    config_put_text(b, buf_sv(&user));
    if (sv_present(a->name)) {
        buf_str(b, ", name: ");
        config_put_text(b, a->name);
    }
    for (unsigned i = 0; i < a->numbers_n; i++) {
        buf_str(b, i == 0 ? ", number: [" : ", ");
        config_put_text(b, a->numbers[i]);
    }
    if (a->numbers_n > 0)
        buf_char(b, ']');
    if (sv_present(a->password_from)) {
        buf_str(b, ", password: ");
        config_put_text(b, a->password_from);
    }
    buf_char(b, '}');
}

/* Items between commas. */
static void next_item(struct buf *b, const char **comma)
{
    buf_str(b, *comma);
    *comma = ", ";
}

static void put_net(struct buf *b, const struct addr_net *net)
{
    buf_char(b, '"');
    addr_print_ip(b, &net->base);
    buf_printf(b, "/%u\"", net->bits);
}

static void put_nets(struct buf *b, const struct config_net *list)
{
    const char *comma = "";
    buf_char(b, '[');
    for (const struct config_net *n = list; n; n = n->next) {
        next_item(b, &comma);
        put_net(b, &n->net);
    }
    buf_char(b, ']');
}

void config_put_listener(struct buf *b, const struct config_listener *l)
{
    if (!l->is_long) {
        config_put_text(b, l->text);
        return;
    }
    buf_str(b, "{bind: ");
    config_put_text(b, l->text);
    if (sv_present(l->zone)) {
        buf_str(b, ", zone: ");
        config_put_text(b, l->zone);
    }
    for (unsigned i = 0; i < l->origins_n; i++) {
        buf_str(b, i == 0 ? ", origins: [" : ", ");
        config_put_text(b, l->origins[i]);
    }
    buf_str(b, l->origins_n ? "]" : "");
    if (l->proxies) {
        buf_str(b, ", proxies: ");
        put_nets(b, l->proxies);
    }
    buf_str(b, l->freebind ? ", freebind: true}" : "}");
}

static void put_zone(struct buf *b, const struct config_zone *z)
{
    config_put_text(b, z->name);
    buf_str(b, ": {");
    if (z->advertise.set) {
        buf_str(b, "advertise: ");
        config_value_print(b, config_key(CONFIG_K_ADVERTISE), &z->advertise);
        buf_str(b, z->networks ? ", " : "");
    }
    if (z->networks) {
        buf_str(b, "networks: ");
        put_nets(b, z->networks);
    }
    buf_char(b, '}');
}

static void put_exempt(struct buf *b, const struct config_exempt *e)
{
    buf_str(b, "{from: ");
    put_net(b, &e->from);
    if (e->connections.set) {
        buf_str(b, ", connections: ");
        config_value_print(b, config_key(CONFIG_K_SECURITY_LIMITS_CONNECTIONS), &e->connections);
    }
    if (e->new_connections.set) {
        buf_str(b, ", new_connections: ");
        config_value_print(b, config_key(CONFIG_K_SECURITY_LIMITS_NEW_CONNECTIONS),
                           &e->new_connections);
    }
    buf_char(b, '}');
}

/* Words of a list; those of one step in a list of their own. */
static void put_words(struct buf *b, const struct config_word *list)
{
    buf_char(b, '[');
    for (const struct config_word *w = list, *before = NULL; w; before = w, w = w->next) {
        bool more = w->next && w->next->step == w->step;
        bool inside = before && before->step == w->step;
        buf_str(b, before ? ", " : "");
        buf_str(b, more && !inside ? "[" : "");
        config_put_text(b, w->text);
        buf_str(b, inside && !more ? "]" : "");
    }
    buf_char(b, ']');
}

static void put_when(struct buf *b, const struct config_when *w, const struct config_when *unless)
{
    const struct {
        const char *name;
        const struct config_word *words;
    } fields[] = {{"from", w->from},
                  {"user", w->user},
                  {"domain", w->domain},
                  {"method", w->method},
                  {"zone", w->zone}};
    const char *comma = "";
    buf_char(b, '{');
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (!fields[i].words)
            continue;
        next_item(b, &comma);
        buf_printf(b, "%s: ", fields[i].name);
        put_words(b, fields[i].words);
    }
    if (unless) {
        next_item(b, &comma);
        buf_str(b, "not: ");
        put_when(b, unless, NULL);
    }
    buf_char(b, '}');
}

void config_put_route(struct buf *b, const struct config_route *x)
{
    buf_char(b, '{');
    if (sv_present(x->name)) {
        buf_str(b, "name: ");
        config_put_text(b, x->name);
        buf_str(b, ", ");
    }
    buf_str(b, "when: ");
    put_when(b, &x->when, x->has_unless ? &x->unless : NULL);
    if (x->action == ACTION_REJECT) {
        buf_str(b, ", reject: ");
        config_put_text(b, x->reject);
    } else {
        buf_str(b, x->action == ACTION_TO ? ", to: " : ", redirect: ");
        put_words(b, x->targets);
    }
    if (x->timeout.set) {
        buf_str(b, ", timeout: ");
        config_put_number(b, CONFIG_T_DURATION, x->timeout.n);
    }
    buf_char(b, '}');
}

static void put_sni(struct buf *b, const struct config_pair_files *p)
{
    buf_str(b, "{certificate: ");
    config_value_print(b, config_key(CONFIG_K_TLS_CERTIFICATE), &p->certificate);
    buf_str(b, ", key: ");
    config_value_print(b, config_key(CONFIG_K_TLS_KEY), &p->key);
    buf_char(b, '}');
}

static void put_levels(struct buf *b, const struct config_all *c)
{
    const char *comma = "";
    for (unsigned i = 0; i < c->modules_n; i++) {
        next_item(b, &comma);
        config_put_text(b, c->modules[i].module);
        buf_str(b, ": ");
        buf_put(b, config_word(config_key(CONFIG_K_LOG_LEVEL)->words, c->modules[i].level));
    }
}

void config_put_items(struct buf *b, const struct config_all *c, enum config_id id)
{
    const char *comma = "";
    bool map = id == CONFIG_K_LOG_LEVELS || id == CONFIG_K_ZONES;
    if (config_key(id)->type == CONFIG_T_NETWORKS) {
        put_nets(b, id == CONFIG_K_LOCAL_NETWORKS ? c->local
                    : id == CONFIG_K_TURN_PEERS   ? c->turn_peers
                                                  : c->trusted);
        return;
    }
    buf_char(b, map ? '{' : '[');
    if (id == CONFIG_K_LOG_LEVELS)
        put_levels(b, c);
#define ITEMS(key, type, list, put)                                                      \
    for (const struct type *x = id == CONFIG_K_##key ? c->list : NULL; x; x = x->next) { \
        next_item(b, &comma);                                                            \
        put(b, x);                                                                       \
    }
    ITEMS(DOMAINS, config_domain, domains, config_put_domain)
    ITEMS(LISTEN, config_listener, listeners, config_put_listener)
    ITEMS(TURN_LISTEN, config_listener, doors, config_put_listener)
    ITEMS(ACCOUNTS, config_account, accounts, config_put_account)
    ITEMS(ZONES, config_zone, zones, put_zone)
    ITEMS(TLS_SNI, config_pair_files, sni, put_sni)
    ITEMS(SECURITY_EXEMPT, config_exempt, exempt, put_exempt)
    ITEMS(ROUTES, config_route, routes, config_put_route)
#undef ITEMS
    for (const struct config_address *a = id == CONFIG_K_DNS_SERVERS ? c->servers : NULL; a;
         a = a->next) {
        next_item(b, &comma);
        buf_char(b, '"');
        addr_print(b, &a->addr);
        buf_char(b, '"');
    }
    buf_char(b, map ? '}' : ']');
}
