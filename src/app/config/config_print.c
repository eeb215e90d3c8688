/* SPDX-License-Identifier: MIT */
/* The configuration as text: the effective file with origins, annotated defaults, what differs
 * between two. */
#include <stdlib.h>

#include "config/config_priv.h"

/* ---- as a file ---- */

struct writer {
    struct buf *b;
    const struct config_all *c;
    bool notes; /* the help of each key, instead of where its value comes from */
    sv section; /* of the key before, "" or "sip" or "security.limits" */
};

static void indent(struct buf *b, size_t depth)
{
    for (size_t i = 0; i < depth; i++)
        buf_str(b, "    ");
}

static size_t depth_of(sv path)
{
    size_t depth = 0;
    for (size_t i = 0; i < path.n; i++)
        depth += path.p[i] == '.';
    return depth;
}

static sv section_of(sv path)
{
    size_t n = path.n;
    while (n > 0 && path.p[n - 1] != '.')
        n--;
    return sv_sub(path, 0, n > 0 ? n - 1 : 0);
}

/* Heads of the sections that path is in and the key before was not. */
static void open_sections(struct writer *w, sv path)
{
    sv now = section_of(path);
    size_t at = 0, depth = 0;
    while (at < now.n) {
        size_t end = at + sv_chr(sv_sub(now, at, now.n), '.');
        sv upto = sv_sub(now, 0, end);
        bool open =
            sv_starts(w->section, upto) && (w->section.n == end || w->section.p[end] == '.');
        if (!open) {
            indent(w->b, depth);
            buf_put(w->b, sv_sub(now, at, end));
            buf_str(w->b, ":\n");
        }
        at = end + 1;
        depth++;
    }
    w->section = now;
}

static void origin(struct writer *w, struct config_place at)
{
    if (!w->notes) {
        buf_str(w->b, "  # ");
        buf_printable(w->b, at.file);
        if (at.line > 0)
            buf_printf(w->b, ":%u", at.line);
    }
    buf_char(w->b, '\n');
}

static void note(struct writer *w, const struct config_row *key, size_t depth)
{
    if (!w->notes)
        return;
    indent(w->b, depth);
    buf_str(w->b, "# ");
    buf_put(w->b, key->help);
    buf_str(w->b, key->restart ? " (restart)\n" : "\n");
    for (size_t i = 0; i < config_rows_n; i++) {
        const struct config_row *f = &config_rows[i];
        if (!config_is_field(f, key->path))
            continue;
        indent(w->b, depth);
        buf_printf(w->b, "#   " SV_FMT ": " SV_FMT ", " SV_FMT "\n",
                   SV_ARG(config_field_name(f, key->path)), SV_ARG(f->shape), SV_ARG(f->help));
    }
}

static void put_name(struct writer *w, const struct config_row *key, size_t depth, bool comment)
{
    sv section = section_of(key->path);
    indent(w->b, depth);
    buf_str(w->b, comment ? "# " : "");
    buf_put(w->b, sv_sub(key->path, section.n > 0 ? section.n + 1 : 0, key->path.n));
    buf_char(w->b, ':');
}

static void put_scalar(struct writer *w, const struct config_row *key, size_t depth)
{
    const struct config_value *v = &w->c->values[key->id];
    bool comment = !v->set && key->def.n == 0; /* found out at start: nothing to write down */
    put_name(w, key, depth, comment);
    if (!comment || v->text.n > 0) {
        buf_char(w->b, ' ');
        config_value_print(w->b, key, v);
    }
    origin(w, v->at);
}

static void begin_item(struct writer *w, size_t *n)
{
    if ((*n)++ == 0)
        buf_char(w->b, '\n');
    buf_str(w->b, "    - ");
}

/* Lists whose items have a line of their own each. */
static bool in_lines(enum config_id id)
{
    return id == CONFIG_K_DOMAINS || id == CONFIG_K_LISTEN || id == CONFIG_K_ACCOUNTS ||
           id == CONFIG_K_ROUTES;
}

static void put_list(struct writer *w, const struct config_row *key, size_t depth)
{
    const struct config_all *c = w->c;
    bool comment = (key->id == CONFIG_K_DOMAINS && !c->domains) ||
                   (key->id == CONFIG_K_ACCOUNTS && !c->accounts) ||
                   key->id == CONFIG_K_INCLUDE; /* what was included stands here already */
    size_t n = 0;
    put_name(w, key, depth, comment);
    if (comment || !in_lines(key->id) || (key->id == CONFIG_K_ROUTES && !c->routes)) {
        if (!comment) {
            buf_char(w->b, ' ');
            config_put_items(w->b, c, key->id);
        }
        origin(w, c->values[key->id].at);
        return;
    }
#define LINES(key_id, type, list, put)                                                           \
    for (const struct type *x = key->id == CONFIG_K_##key_id ? c->list : NULL; x; x = x->next) { \
        begin_item(w, &n);                                                                       \
        put(w->b, x);                                                                            \
        origin(w, x->at);                                                                        \
    }
    LINES(DOMAINS, config_domain, domains, config_put_domain)
    LINES(LISTEN, config_listener, listeners, config_put_listener)
    LINES(ACCOUNTS, config_account, accounts, config_put_account)
    LINES(ROUTES, config_route, routes, config_put_route)
#undef LINES
}

static enum err put_file(struct buf *b, const struct config_all *c, bool notes)
{
    struct writer w = {.b = b, .c = c, .notes = notes, .section = SV("")};
    for (size_t i = 0; i < config_rows_n; i++) {
        const struct config_row *row = &config_rows[i];
        if (row->kind != CONFIG_ROW_KEY)
            continue;
        size_t depth = depth_of(row->path);
        open_sections(&w, row->path);
        note(&w, row, depth);
        if (row->type <= CONFIG_T_SCALARS)
            put_scalar(&w, row, depth);
        else
            put_list(&w, row, depth);
    }
    return b->rc;
}

enum err config_print_effective(const struct config *c, struct buf *b)
{
    buf_str(b, "# ");
    buf_printable(b, sv_present(c->file) ? c->file : SV("no file: embedded defaults"));
    buf_char(b, '\n');
    return put_file(b, config_all_const(c), false);
}

enum err config_print_defaults(struct buf *b)
{
    struct config_report report;
    struct config_all *c = NULL;
    config_report_init(&report);
    enum err rc = config_embedded(&report, &c);
    if (!rc) {
        buf_str(b, "# Every key with its default. Keys in comments have none, or one that is found "
                   "out at start.\n");
        rc = put_file(b, c, true);
        config_free(&c->pub);
    }
    config_report_done(&report);
    return rc;
}

/* ---- what differs ---- */

enum { DIFF_MAX = 64 * 1024 };

static bool same_value(const struct config_row *key, const struct config_value *a,
                       const struct config_value *b)
{
    if (key->type == CONFIG_T_DIGEST) {
        bool same = a->digest.mode == b->digest.mode && a->digest.n == b->digest.n;
        for (unsigned i = 0; same && i < a->digest.n; i++)
            same = a->digest.list[i] == b->digest.list[i];
        return same;
    }
    return a->n == b->n && a->n2 == b->n2 && sv_eq(a->text, b->text) &&
           addr_equal(&a->addr, &b->addr) && sv_eq(a->pem.octets, b->pem.octets);
}

static void put_value(struct buf *b, const struct config_all *c, const struct config_row *key)
{
    const struct config_value *v = &c->values[key->id];
    if (key->type > CONFIG_T_SCALARS)
        config_put_items(b, c, key->id);
    else if (!v->set && key->def.n == 0 && v->text.n == 0)
        buf_str(b, "(default)");
    else
        config_value_print(b, key, v);
}

/* The files behind the same names may have changed. */
static bool same_sni(const struct config_all *a, const struct config_all *b)
{
    const struct config_pair_files *x = a->sni, *y = b->sni;
    while (x && y && sv_eq(x->certificate.pem.octets, y->certificate.pem.octets) &&
           sv_eq(x->key.pem.octets, y->key.pem.octets)) {
        x = x->next;
        y = y->next;
    }
    return !x && !y;
}

static void diff_key(const struct config_all *old, const struct config_all *now,
                     const struct config_row *key, struct buf *out)
{
    struct buf before, after;
    buf_init_heap(&before, DIFF_MAX);
    buf_init_heap(&after, DIFF_MAX);
    put_value(&before, old, key);
    put_value(&after, now, key);
    bool same_text = sv_eq(buf_sv(&before), buf_sv(&after));
    bool other_files = key->type == CONFIG_T_SNI && !same_sni(old, now);
    bool differs = key->type > CONFIG_T_SCALARS
                       ? !same_text || before.rc || after.rc || other_files
                       : !same_value(key, &old->values[key->id], &now->values[key->id]);
    if (differs && (same_text || before.rc || after.rc)) {
        buf_put(out, key->path);
        buf_str(out, ": changed\n"); /* behind the same env:, file: or credential: */
    } else if (differs) {
        buf_put(out, key->path);
        buf_str(out, ": ");
        buf_put(out, buf_sv(&before));
        buf_str(out, " -> ");
        buf_put(out, buf_sv(&after));
        buf_char(out, '\n');
    }
    buf_done(&before);
    buf_done(&after);
}

static int by_user(const void *x, const void *y)
{
    const struct config_account *a = *(const struct config_account *const *)x;
    const struct config_account *b = *(const struct config_account *const *)y;
    int c = sv_cmp(a->domain, b->domain);
    return c ? c : sv_cmp(a->user, b->user);
}

/* Accounts in order of their addresses. NULL: out of memory. */
static const struct config_account **sorted(const struct config_all *c)
{
    const struct config_account **list =
        mem_calloc(c->accounts_n + 1, sizeof(const struct config_account *));
    size_t n = 0;
    if (!list)
        return NULL;
    for (const struct config_account *a = c->accounts; a; a = a->next)
        list[n++] = a;
    qsort(list, n, sizeof(const struct config_account *), by_user);
    return list;
}

static bool same_account(const struct config_account *a, const struct config_account *b)
{
    bool same =
        sv_eq(a->name, b->name) && a->numbers_n == b->numbers_n && sv_eq(a->password, b->password);
    for (unsigned i = 0; same && i < a->numbers_n; i++)
        same = sv_eq(a->numbers[i], b->numbers[i]);
    return same;
}

static void say_account(struct buf *out, const struct config_account *a, const char *what)
{
    buf_str(out, "accounts: ");
    buf_put(out, a->user);
    if (sv_present(a->domain)) {
        buf_char(out, '@');
        buf_put(out, a->domain);
    }
    buf_printf(out, " %s\n", what);
}

static void diff_accounts(const struct config_all *old, const struct config_all *now,
                          struct buf *out)
{
    const struct config_account **before = sorted(old), **after = sorted(now);
    if (!before || !after)
        buf_str(out, "accounts: changed, perhaps\n");
    for (size_t i = 0, k = 0; before && after && (i < old->accounts_n || k < now->accounts_n);) {
        int c = i == old->accounts_n   ? 1
                : k == now->accounts_n ? -1
                                       : by_user(&before[i], &after[k]);
        if (c < 0)
            say_account(out, before[i], "removed");
        else if (c > 0)
            say_account(out, after[k], "added");
        else if (!same_account(before[i], after[k]))
            say_account(out, after[k], "changed");
        i += c <= 0;
        k += c >= 0;
    }
    mem_free(before);
    mem_free(after);
}

void config_diff(const struct config *old, const struct config *now, struct buf *changed,
                 struct buf *restart)
{
    for (size_t i = 0; i < config_rows_n; i++) {
        const struct config_row *row = &config_rows[i];
        if (row->kind != CONFIG_ROW_KEY || row->type == CONFIG_T_INCLUDE)
            continue;
        struct buf *out = row->restart ? restart : changed;
        if (!out)
            continue;
        if (row->type == CONFIG_T_ACCOUNTS)
            diff_accounts(config_all_const(old), config_all_const(now), out);
        else
            diff_key(config_all_const(old), config_all_const(now), row, out);
    }
}
