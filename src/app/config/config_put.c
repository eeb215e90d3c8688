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

void config_value_print(struct buf *b, const struct config_row *key, const struct config_value *v)
{
    if (sv_present(v->from)) {
        config_put_text(b, v->from);
        return;
    }
    switch (key->type) {
    case CONFIG_T_INT:
    case CONFIG_T_DURATION:
    case CONFIG_T_SIZE:
        config_put_number(b, key->type, v->n);
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
    case CONFIG_T_DIGEST:
        config_put_digest(b, &v->digest);
        break;
    case CONFIG_T_DOMAINS:
    case CONFIG_T_LISTEN:
    case CONFIG_T_INCLUDE:
    case CONFIG_T_ACCOUNTS:
    case CONFIG_T_LEVELS:
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

void config_put_items(struct buf *b, const struct config_all *c, enum config_id id)
{
    const char *comma = "";
    buf_char(b, id == CONFIG_K_LOG_LEVELS ? '{' : '[');
    for (const struct config_domain *d = id == CONFIG_K_DOMAINS ? c->domains : NULL; d;
         d = d->next, comma = ", ") {
        buf_str(b, comma);
        config_put_domain(b, d);
    }
    for (const struct config_listener *l = id == CONFIG_K_LISTEN ? c->listeners : NULL; l;
         l = l->next, comma = ", ") {
        buf_str(b, comma);
        config_put_text(b, l->text);
    }
    for (const struct config_account *a = id == CONFIG_K_ACCOUNTS ? c->accounts : NULL; a;
         a = a->next, comma = ", ") {
        buf_str(b, comma);
        config_put_account(b, a);
    }
    for (unsigned i = 0; id == CONFIG_K_LOG_LEVELS && i < c->modules_n; i++, comma = ", ") {
        buf_str(b, comma);
        config_put_text(b, c->modules[i].module);
        buf_str(b, ": ");
        buf_put(b, config_word(config_key(CONFIG_K_LOG_LEVEL)->words, c->modules[i].level));
    }
    buf_char(b, id == CONFIG_K_LOG_LEVELS ? '}' : ']');
}
