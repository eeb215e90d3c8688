/* SPDX-License-Identifier: MIT */
/* Nodes to keys: the walk through maps, unknown keys with the nearest known one, --set. */
#include "config/config_priv.h"

const struct config_row config_rows[] = {
#define CONFIG_KEY(id, path, type, lo, hi, words, def, change, help)               \
    {CONFIG_ROW_KEY, CONFIG_K_##id, SV(path),        CONFIG_T_##type, lo,      hi, \
     SV(words),      SV(def),       CONFIG_##change, SV_NONE,         SV(help)},
#define CONFIG_FIELD(path, shape, help)                                 \
    {CONFIG_ROW_FIELD, CONFIG_KEYS, SV(path), CONFIG_TYPES, 0,       0, \
     SV_NONE,          SV_NONE,     false,    SV(shape),    SV(help)},
#define CONFIG_LATER(path)                                             \
    {CONFIG_ROW_LATER, CONFIG_KEYS, SV(path), CONFIG_TYPES, 0,      0, \
     SV_NONE,          SV_NONE,     false,    SV_NONE,      SV_NONE},
#define CONFIG_RELOAD  false
#define CONFIG_RESTART true
#include "config/config.def"
};
const size_t config_rows_n = sizeof(config_rows) / sizeof(config_rows[0]);

const struct config_row *config_key(enum config_id id)
{
    for (size_t i = 0; i < config_rows_n; i++) {
        if (config_rows[i].kind == CONFIG_ROW_KEY && config_rows[i].id == id)
            return &config_rows[i];
    }
    return NULL;
}

const struct config_row *config_row_of(sv path)
{
    for (size_t i = 0; i < config_rows_n; i++) {
        if (sv_eq(config_rows[i].path, path))
            return &config_rows[i];
    }
    return NULL;
}

/* "listen[].bind" of "listen", "zones.NAME.networks" of "zones". */
sv config_field_name(const struct config_row *row, sv list)
{
    sv rest = sv_sub(row->path, list.n, row->path.n);
    return sv_starts(rest, SV("[].")) ? sv_sub(rest, 3, rest.n) : sv_sub(rest, 6, rest.n);
}

bool config_is_field(const struct config_row *row, sv list)
{
    sv rest = sv_sub(row->path, list.n, row->path.n);
    return row->kind == CONFIG_ROW_FIELD && sv_starts(row->path, list) &&
           (sv_starts(rest, SV("[].")) || sv_starts(rest, SV(".NAME.")));
}

static bool is_section(sv path)
{
    for (size_t i = 0; i < config_rows_n; i++) {
        sv p = config_rows[i].path;
        if (p.n > path.n && p.p[path.n] == '.' && sv_starts(p, path))
            return true;
    }
    return false;
}

/* ---- unknown keys ---- */

enum { NAME_MAX_SHOWN = 40 };

/* Letters inserted, left out, replaced or swapped with their neighbour to make b of a. */
static unsigned distance(sv a, sv b)
{
    unsigned d[NAME_MAX_SHOWN + 1][NAME_MAX_SHOWN + 1];
    if (a.n > NAME_MAX_SHOWN || b.n > NAME_MAX_SHOWN)
        return NAME_MAX_SHOWN;
    for (size_t i = 0; i <= a.n; i++) {
        for (size_t k = 0; k <= b.n; k++) {
            if (i == 0 || k == 0) {
                d[i][k] = (unsigned)(i + k);
                continue;
            }
            unsigned same = sv_lower(a.p[i - 1]) == sv_lower(b.p[k - 1]) ? 0 : 1;
            unsigned best = d[i - 1][k - 1] + same;
            if (d[i - 1][k] + 1 < best)
                best = d[i - 1][k] + 1;
            if (d[i][k - 1] + 1 < best)
                best = d[i][k - 1] + 1;
            if (i > 1 && k > 1 && a.p[i - 1] == b.p[k - 2] && a.p[i - 2] == b.p[k - 1] &&
                d[i - 2][k - 2] + 1 < best)
                best = d[i - 2][k - 2] + 1;
            d[i][k] = best;
        }
    }
    return d[a.n][b.n];
}

/* From here on it is too far to be meant. */
static unsigned too_far(sv name)
{
    return (unsigned)(name.n / 3 > 0 ? name.n / 3 : 1) + 1;
}

sv config_nearest(sv name, const sv *words, size_t n)
{
    sv found = SV_NONE;
    unsigned best = too_far(name);
    for (size_t i = 0; i < n; i++) {
        unsigned far = distance(name, words[i]);
        if (far < best && far < words[i].n) {
            best = far;
            found = words[i];
        }
    }
    return found;
}

/* The name in prefix that is nearest to name, if near enough to be meant; else one that begins so.
 */
static sv nearest(sv prefix, sv name)
{
    sv found = SV_NONE, begun = SV_NONE;
    unsigned best = too_far(name);
    for (size_t i = 0; i < config_rows_n; i++) {
        sv p = config_rows[i].path;
        if (p.n <= prefix.n || !sv_starts(p, prefix))
            continue;
        sv rest = sv_sub(p, prefix.n, p.n);
        sv one = sv_sub(rest, 0, sv_chr(rest, '.'));
        if (one.n > 2 && sv_ends(one, SV("[]")))
            one.n -= 2;
        unsigned far = distance(name, one);
        if (far < best && far < one.n) {
            best = far;
            found = one;
        }
        if (name.n >= 3 && sv_starts(one, name) && !sv_present(begun))
            begun = one;
    }
    return sv_present(found) ? found : begun;
}

/* A key of that name in another section. */
static sv elsewhere(sv name)
{
    for (size_t i = 0; i < config_rows_n; i++) {
        sv p = config_rows[i].path;
        if (config_rows[i].kind == CONFIG_ROW_KEY && p.n > name.n && sv_ends(p, name) &&
            p.p[p.n - name.n - 1] == '.')
            return p;
    }
    return SV_NONE;
}

void config_unknown(struct config_reader *r, struct config_place at, sv prefix, sv name)
{
    char mem[256];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_put(&b, prefix);
    buf_put(&b, name);
    const struct config_row *row = b.rc ? NULL : config_row_of(buf_sv(&b));
    if (row && row->kind == CONFIG_ROW_LATER) {
        config_error(r, at, SV("leave it out for now"), SV_FMT ": is not built yet",
                     SV_ARG(row->path));
        return;
    }
    buf_reset(&b);
    sv near = nearest(prefix, name);
    sv far = sv_present(near) ? SV_NONE : elsewhere(name);
    sv whole = prefix.n == 0 && config_row_of(name) ? name : SV_NONE;
    if (sv_present(whole))
        buf_str(&b, "a point does not nest: write the section, and the key under it");
    else if (sv_present(near))
        buf_printf(&b, "did you mean '" SV_FMT "'?", SV_ARG(near));
    else if (sv_present(far))
        buf_printf(&b, "did you mean " SV_FMT "?", SV_ARG(far));
    config_error(r, at, buf_sv(&b), SV_FMT SV_FMT "%s: no such key", SV_ARG(prefix),
                 SV_ARG(sv_sub(name, 0, CONFIG_SHOWN_MAX)), name.n > CONFIG_SHOWN_MAX ? "…" : "");
}

/* ---- nodes ---- */

bool config_visit(struct config_reader *r, struct config_doc *d, const yaml_node_t *node)
{
    if (d->visits < d->visits_max) {
        d->visits++;
        return true;
    }
    if (!d->tired)
        config_error(r, config_place_of(d, node), SV_NONE, "aliases make this file too large");
    d->tired = true;
    return false;
}

bool config_is_null(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.length == 0 &&
           node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

size_t config_pairs(struct config_reader *r, struct config_doc *d, yaml_node_t *map, sv key)
{
    if (!config_visit(r, d, map) || !config_tag_fits(r, d, map))
        return 0;
    if (map->type != YAML_MAPPING_NODE) {
        if (!config_is_null(map))
            config_error(r, config_place_of(d, map), SV("such as {name: value}"),
                         SV_FMT "%skeys and values belong here", SV_ARG(key),
                         key.n > 0 ? ": " : "");
        return 0;
    }
    size_t n = (size_t)(map->data.mapping.pairs.top - map->data.mapping.pairs.start);
    if (n <= CONFIG_PAIRS_MAX)
        return n;
    config_error(r, config_place_of(d, map), SV_NONE, SV_FMT "%smore than %d keys", SV_ARG(key),
                 key.n > 0 ? ": " : "", CONFIG_PAIRS_MAX);
    return 0;
}

static yaml_node_t *key_node(struct config_doc *d, yaml_node_t *map, size_t i)
{
    return yaml_document_get_node(&d->yaml, map->data.mapping.pairs.start[i].key);
}

bool config_pair(struct config_reader *r, struct config_doc *d, yaml_node_t *map, size_t i, sv key,
                 struct config_pair *ret_pair)
{
    yaml_node_t *name = key_node(d, map, i);
    yaml_node_t *value = yaml_document_get_node(&d->yaml, map->data.mapping.pairs.start[i].value);
    if (!config_visit(r, d, name))
        return false;
    struct config_place at = config_place_of(d, name);
    const char *colon = key.n > 0 ? ": " : "";
    if (name->type != YAML_SCALAR_NODE) {
        config_error(r, at, SV_NONE, SV_FMT "%sa key is a word, not a list or map", SV_ARG(key),
                     colon);
        return false;
    }
    *ret_pair = (struct config_pair){config_text_of(name), at, value};
    for (size_t k = 0; k < i; k++) {
        yaml_node_t *other = key_node(d, map, k);
        if (other->type != YAML_SCALAR_NODE || !sv_eq(config_text_of(other), ret_pair->name))
            continue;
        struct config_scalar s = {.text = ret_pair->name};
        char shown[CONFIG_SHOWN];
        config_error(r, at, SV_NONE,
                     SV_FMT "%s%s stands here a second time; the first is in line %u", SV_ARG(key),
                     colon, config_shown(&s, shown), config_place_of(d, other).line);
        return false;
    }
    return true;
}

/* ---- the walk ---- */

bool config_take(struct config_reader *r, const struct config_row *key,
                 const struct config_scalar *s)
{
    struct config_value *v = &r->c->values[key->id],
                        fresh = {.set = true, .from = s->from, .at = s->at};
    char place[CONFIG_SHOWN];
    if (!config_value_read(r, key, s, &fresh))
        return false;
    if (v->set && !r->sets) {
        config_error(r, s->at, SV("keep one of them"), SV_FMT ": is set in %s as well",
                     SV_ARG(key->path), config_place_text(v->at, place));
        return false;
    }
    *v = fresh;
    return true;
}

static void take_digest(struct config_reader *r, struct config_doc *d, const struct config_row *key,
                        yaml_node_t *node)
{
    struct config_value *v = &r->c->values[key->id];
    char place[CONFIG_SHOWN];
    bool listed = false;
    struct auth_policy p = v->digest_listed ? v->digest : (struct auth_policy){.n = 0};
    size_t errors = r->report->errors;
    config_digest(r, d, key->path, node, &p, &listed);
    if (r->report->errors != errors)
        return;
    /* Lists append; the word auto is a scalar like any other. */
    if (v->set && !(v->digest_listed && listed)) {
        config_error(r, config_place_of(d, node), SV("keep one of them"),
                     SV_FMT ": is set in %s as well", SV_ARG(key->path),
                     config_place_text(v->at, place));
        return;
    }
    *v = (struct config_value){
        .set = true, .digest = p, .digest_listed = listed, .at = config_place_of(d, node)};
}

/* A list, or one of its words. Lists of several files append. */
static void take_words(struct config_reader *r, struct config_doc *d, const struct config_row *key,
                       yaml_node_t *node)
{
    struct config_value *v = &r->c->values[key->id];
    struct config_scalar s;
    struct config_value fresh = {
        .set = true, .n = v->set ? v->n : 0, .at = config_place_of(d, node)};
    bool list = node->type == YAML_SEQUENCE_NODE;
    size_t n = list ? config_list_n(r, d, node) : 1;
    size_t errors = r->report->errors;
    if (n == 0)
        config_error(r, config_place_of(d, node), SV_NONE, SV_FMT ": the list is empty",
                     SV_ARG(key->path));
    for (size_t i = 0; i < n && !d->tired; i++) {
        if (config_scalar(r, d, list ? config_list_item(d, node, i) : node, key->path, &s))
            config_words_add(r, key, &s, &fresh);
    }
    if (r->report->errors == errors)
        *v = fresh;
}

static void walk_map(struct config_reader *r, struct config_doc *d, yaml_node_t *map, sv prefix)
{
    sv section = sv_sub(prefix, 0, prefix.n > 0 ? prefix.n - 1 : 0);
    size_t n = config_pairs(r, d, map, section);
    for (size_t i = 0; i < n && !r->nomem; i++) {
        struct config_pair pair;
        struct config_scalar s;
        char mem[128];
        struct buf b;
        if (!config_pair(r, d, map, i, section, &pair))
            continue;
        buf_init(&b, mem, sizeof(mem));
        buf_put(&b, prefix);
        buf_put(&b, pair.name);
        bool plain =
            !b.rc && sv_chr(pair.name, '.') == pair.name.n && sv_chr(pair.name, '[') == pair.name.n;
        const struct config_row *row = plain ? config_row_of(buf_sv(&b)) : NULL;
        if (row && row->kind == CONFIG_ROW_KEY) {
            if (row->type == CONFIG_T_DIGEST)
                take_digest(r, d, row, pair.value);
            else if (row->type == CONFIG_T_WORDS)
                take_words(r, d, row, pair.value);
            else if (row->type > CONFIG_T_SCALARS)
                config_items(r, d, row, pair.value);
            else if (row->type == CONFIG_T_PEM ? config_plain(r, d, pair.value, row->path, &s)
                                               : config_scalar(r, d, pair.value, row->path, &s))
                config_take(r, row, &s);
        } else if (plain && !row && is_section(buf_sv(&b))) {
            r->c->turn |= sv_eq(buf_sv(&b), SV("turn"));
            buf_char(&b, '.'); /* sections nest as deep as config.def, no deeper */
            walk_map(r, d, pair.value, buf_sv(&b));
        } else {
            config_unknown(r, pair.at, prefix, pair.name);
        }
    }
}

void config_walk(struct config_reader *r, struct config_doc *d)
{
    yaml_node_t *root = yaml_document_get_root_node(&d->yaml);
    if (root) /* else: nothing but comments */
        walk_map(r, d, root, SV(""));
}

void config_set(struct config_reader *r, const char *set)
{
    sv all = sv_of(set);
    size_t eq = sv_chr(all, '=');
    sv path = sv_sub(all, 0, eq);
    struct config_scalar s = {.text = sv_sub(all, eq + 1, all.n), .at = {SV("--set"), 0, 0}};
    const struct config_row *row = config_row_of(path);
    if (eq == all.n) {
        config_error(r, s.at, SV("KEY=VALUE, such as log.level=debug"),
                     "'" SV_FMT "' has no =", SV_ARG(sv_sub(all, 0, CONFIG_SHOWN_MAX)));
        return;
    }
    if (row && row->kind == CONFIG_ROW_KEY &&
        (row->type <= CONFIG_T_SCALARS || row->type == CONFIG_T_DOMAINS ||
         row->type == CONFIG_T_LISTEN || row->type == CONFIG_T_DOORS ||
         row->type == CONFIG_T_NETWORKS || row->type == CONFIG_T_ADDRS)) {
        if (row->type != CONFIG_T_PEM && !config_outside(r, row->path, &s))
            return;
        if (row->type <= CONFIG_T_SCALARS)
            config_take(r, row, &s);
        else
            config_item_text(r, row, &s);
    } else if (row && row->kind == CONFIG_ROW_KEY) {
        config_error(r, s.at, SV("write it into a file"), SV_FMT ": is not a single value",
                     SV_ARG(row->path));
    } else if (is_section(path)) {
        config_error(r, s.at, SV("name one key of it"), SV_FMT ": is a section", SV_ARG(path));
    } else {
        size_t dot = path.n;
        while (dot > 0 && path.p[dot - 1] != '.')
            dot--;
        sv prefix = sv_sub(path, 0, dot);
        if (prefix.n == 0 || is_section(sv_sub(prefix, 0, prefix.n - 1)))
            config_unknown(r, s.at, prefix, sv_sub(path, dot, path.n));
        else
            config_unknown(r, s.at, SV(""), path);
    }
}
