/* SPDX-License-Identifier: MIT */
/* What may stand in the file, for editors (JSON Schema) and for people (Markdown). */
#include <jansson.h>
#include <stdlib.h>

#include "config/config_priv.h"

/* ---- JSON Schema, draft 2020-12 ---- */

static json_t *text(sv s)
{
    return json_stringn(s.p, s.n);
}

/* Adds and drops the reference, also when there is no memory; then *bad. */
static void member(json_t *o, const char *name, json_t *value, bool *bad)
{
    if (json_object_set_new(o, name, value))
        *bad = true;
}

static json_t *pattern(const char *expression)
{
    return json_pack("{s:s, s:s}", "type", "string", "pattern", expression);
}

static json_t *whole(int64_t lo, int64_t hi)
{
    return json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum", (json_int_t)lo, "maximum",
                     (json_int_t)hi);
}

static json_t *words(sv list, bool *bad)
{
    json_t *all = json_array();
    sv word;
    for (size_t i = 0; sv_present(word = config_word(list, i)); i++) {
        *bad |= json_array_append_new(all, text(word)) != 0;
        if (word.n > 0 && word.p[0] >= '0' && word.p[0] <= '9') /* 1.2 is a number to an editor */
            *bad |= json_array_append_new(all, json_real(strtod(word.p, NULL))) != 0;
    }
    return json_pack("{s:o}", "enum", all);
}

/* What of its own a value may be; beside it stands always what comes from elsewhere. */
static json_t *own_schema(const struct config_row *key, bool *bad)
{
    switch (key->type) {
    case CONFIG_T_INT:
        return whole(key->lo, key->hi);
    case CONFIG_T_COUNT:
        return json_pack("{s:[o, o]}", "anyOf", whole(key->lo, key->hi), words(key->words, bad));
    case CONFIG_T_DURATION:
        if (key->words.n > 0)
            return json_pack("{s:[o, o]}", "anyOf", pattern("^[0-9]+(ms|s|m|h|d)$"),
                             words(key->words, bad));
        return pattern("^[0-9]+(ms|s|m|h|d)$");
    case CONFIG_T_RANGE:
        return pattern("^[0-9]+(ms|s|m|h|d)(-[0-9]+(ms|s|m|h|d))?$");
    case CONFIG_T_SIZE:
        return pattern("^[0-9]+(B|KiB|MiB|GiB)$");
    case CONFIG_T_PORTS:
        return pattern("^[0-9]+-[0-9]+$");
    case CONFIG_T_BITRATE:
        return json_pack("{s:[o, o]}", "anyOf", pattern("^[0-9]+(kbit/s|Mbit/s|Gbit/s)$"),
                         whole(0, 0));
    case CONFIG_T_WORDS:
        return json_pack("{s:[o, {s:s, s:i, s:o}]}", "anyOf", words(key->words, bad), "type",
                         "array", "minItems", 1, "items", words(key->words, bad));
    case CONFIG_T_ENUM:
        return words(key->words, bad);
    case CONFIG_T_DIGEST:
        return json_pack("{s:[o, o, {s:s, s:i, s:o}]}", "anyOf", words(SV("auto"), bad),
                         words(SV("sha-256|md5"), bad), "type", "array", "minItems", 1, "items",
                         words(SV("sha-256|md5"), bad));
    case CONFIG_T_INCLUDE:
        return json_pack("{s:[{s:s}, {s:s, s:{s:s}}]}", "anyOf", "type", "string", "type", "array",
                         "items", "type", "string");
    case CONFIG_T_LEVELS:
        return json_pack("{s:s, s:o}", "type", "object", "additionalProperties",
                         words(config_key(CONFIG_K_LOG_LEVEL)->words, bad));
    case CONFIG_T_BOOL:
        return json_pack("{s:s}", "type", "boolean");
    case CONFIG_T_RATE:
        return pattern("^[0-9]+/s$");
    case CONFIG_T_SECRET:
        return pattern("^(env|file|credential):");
    case CONFIG_T_DOORS:
    case CONFIG_T_NETWORKS:
    case CONFIG_T_ADDRS:
        return json_pack("{s:[{s:s}, {s:s, s:{s:s}}]}", "anyOf", "type", "string", "type", "array",
                         "items", "type", "string");
    case CONFIG_T_TEXT:
    case CONFIG_T_PATH:
    case CONFIG_T_PEM:
    case CONFIG_T_HOST:
    case CONFIG_T_BIND:
    case CONFIG_T_DOMAINS:
    case CONFIG_T_LISTEN:
    case CONFIG_T_ACCOUNTS:
    case CONFIG_T_ZONES:
    case CONFIG_T_SNI:
    case CONFIG_T_EXEMPT:
    case CONFIG_T_ROUTES:
    case CONFIG_TYPES:
        break;
    }
    /* A text may be written like a number or a truth: the key decides, not YAML. */
    return json_pack("{s:[s, s, s]}", "type", "string", "number", "boolean");
}

static json_t *scalar(void)
{
    return json_pack("{s:[s, s, s]}", "type", "string", "number", "boolean");
}

static json_t *one_or_list(json_t *item)
{
    return json_pack("{s:[O, {s:s, s:o}]}", "anyOf", item, "type", "array", "items", item);
}

static json_t *field_schema(const struct config_row *f, bool *bad)
{
    json_t *o;
    if (sv_eq(f->shape, SV("BOOL")))
        o = json_pack("{s:s}", "type", "boolean");
    else if (sv_eq(f->shape, SV("map")))
        o = json_pack("{s:s}", "type", "object");
    else if (sv_eq(f->shape, SV("list of TARGET"))) /* a list inside it rings together */
        o = one_or_list(one_or_list(scalar()));
    else if (sv_starts(f->shape, SV("list")) || sv_eq(f->shape, SV("DIGEST")))
        o = one_or_list(scalar());
    else
        o = scalar();
    member(o, "description", text(f->help), bad);
    return o;
}

/* The map that the last part of name is a member of: "when.from" is from in the properties of when. */
static json_t *field_map(json_t *fields, sv name, sv *ret_last, bool *bad)
{
    char section[64];
    size_t dot = sv_chr(name, '.');
    *ret_last = dot == name.n ? name : sv_sub(name, dot + 1, name.n);
    if (dot == name.n)
        return fields;
    snprintf(section, sizeof(section), SV_FMT, SV_ARG(sv_sub(name, 0, dot)));
    json_t *inner = json_object_get(fields, section);
    if (!inner) {
        inner = json_pack("{s:[s, s], s:{}, s:b}", "type", "object", "null", "properties",
                          "additionalProperties", 0);
        member(fields, section, inner, bad);
    }
    return json_object_get(inner, "properties");
}

/* A map by the rows of its fields. must: a field that it has; NULL: none. */
static json_t *map_schema(const struct config_row *key, const char *must, bool *bad)
{
    json_t *fields = json_object();
    for (size_t i = 0; i < config_rows_n; i++) {
        const struct config_row *f = &config_rows[i];
        sv last;
        if (!config_is_field(f, key->path))
            continue;
        json_t *at = field_map(fields, config_field_name(f, key->path), &last, bad);
        /* Rows are literals: NUL-terminated. */
        member(at, last.p, field_schema(f, bad), bad);
    }
    json_t *map = json_pack("{s:s, s:o, s:b}", "type", "object", "properties", fields,
                            "additionalProperties", 0);
    if (must)
        member(map, "required", json_pack("[s]", must), bad);
    return map;
}

/* Lists of maps and maps of maps; an item of domains and listen may be one text. */
static json_t *items_schema(const struct config_row *key, bool *bad)
{
    static const char *const must[CONFIG_TYPES] = {
        [CONFIG_T_DOMAINS] = "name",    [CONFIG_T_LISTEN] = "bind", [CONFIG_T_ACCOUNTS] = "user",
        [CONFIG_T_SNI] = "certificate", [CONFIG_T_EXEMPT] = "from", [CONFIG_T_ROUTES] = "when",
    };
    json_t *map = map_schema(key, must[key->type], bad);
    if (key->type == CONFIG_T_ZONES)
        return json_pack("{s:[s, s], s:o}", "type", "object", "null", "additionalProperties", map);
    if (key->type == CONFIG_T_DOMAINS || key->type == CONFIG_T_LISTEN)
        map = json_pack("{s:[{s:s}, o]}", "anyOf", "type", "string", map);
    return one_or_list(map);
}

static json_t *key_schema(const struct config_row *key, bool *bad)
{
    char mem[512];
    struct buf b;
    json_t *o;
    if (key->type == CONFIG_T_DOMAINS || key->type == CONFIG_T_LISTEN ||
        key->type == CONFIG_T_ACCOUNTS || key->type == CONFIG_T_ZONES ||
        key->type == CONFIG_T_SNI || key->type == CONFIG_T_EXEMPT || key->type == CONFIG_T_ROUTES)
        o = items_schema(key, bad);
    else if (key->type > CONFIG_T_SCALARS)
        o = own_schema(key, bad);
    else
        o = json_pack("{s:[o, {s:s}]}", "anyOf", own_schema(key, bad), "$ref", "#/$defs/elsewhere");
    if (!o) {
        *bad = true;
        return NULL;
    }
    buf_init(&b, mem, sizeof(mem));
    buf_put(&b, key->help);
    buf_str(&b, key->restart ? " (restart)" : "");
    member(o, "description", text(buf_sv(&b)), bad);
    if (key->type <= CONFIG_T_SCALARS && key->def.n > 0)
        member(o, "default",
               key->type == CONFIG_T_INT    ? json_integer(strtoll(key->def.p, NULL, 10))
               : key->type == CONFIG_T_BOOL ? json_boolean(sv_eq(key->def, SV("true")))
                                            : text(key->def),
               bad);
    return o;
}

/* The properties of the map that path's last part is a key of; made where they are missing. */
static json_t *properties_at(json_t *root, sv path, sv *ret_last, bool *bad)
{
    json_t *at = json_object_get(root, "properties");
    size_t from = 0;
    for (;;) {
        size_t end = from + sv_chr(sv_sub(path, from, path.n), '.');
        char name[64];
        *ret_last = sv_sub(path, from, end);
        if (end == path.n || !at)
            return at;
        snprintf(name, sizeof(name), SV_FMT, SV_ARG(*ret_last));
        json_t *section = json_object_get(at, name);
        if (!section) {
            section = json_pack("{s:[s, s], s:{}, s:b}", "type", "object", "null", "properties",
                                "additionalProperties", 0);
            member(at, name, section, bad);
        }
        at = json_object_get(section, "properties");
        from = end + 1;
    }
}

enum err config_print_schema(struct buf *b)
{
    bool bad = false;
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:b, s:{}, s:{s:o}}", "$schema",
                  "https://json-schema.org/draft/2020-12/schema", "title",
                  "Configuration of Tandem", "type", "object", "additionalProperties", 0,
                  "properties", "$defs", "elsewhere", pattern("^(env|file|credential):"));
    for (size_t i = 0; root && i < config_rows_n; i++) {
        const struct config_row *row = &config_rows[i];
        sv last;
        if (row->kind != CONFIG_ROW_KEY)
            continue;
        json_t *at = properties_at(root, row->path, &last, &bad);
        member(at, last.p, key_schema(row, &bad), &bad); /* the last part ends with the literal */
    }
    char *out = root && !bad ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    if (!out)
        return ERR_NOMEM;
    buf_str(b, out);
    buf_char(b, '\n');
    free(out);
    return b->rc;
}

/* ---- Markdown ---- */

static void put_cell(struct buf *b, sv s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '|')
            buf_char(b, '\\');
        buf_char(b, s.p[i]);
    }
}

static void put_type(struct buf *b, const struct config_row *key)
{
    static const char *const names[CONFIG_TYPES] = {
        [CONFIG_T_INT] = "",
        [CONFIG_T_COUNT] = "",
        [CONFIG_T_DURATION] = "DURATION",
        [CONFIG_T_RANGE] = "RANGE",
        [CONFIG_T_SIZE] = "SIZE",
        [CONFIG_T_ENUM] = "",
        [CONFIG_T_TEXT] = "TEXT",
        [CONFIG_T_PATH] = "PATH",
        [CONFIG_T_HOST] = "address or host name",
        [CONFIG_T_BIND] = "ADDRESS:PORT",
        [CONFIG_T_PORTS] = "PORT-PORT",
        [CONFIG_T_BITRATE] = "BITRATE",
        [CONFIG_T_WORDS] = "list of",
        [CONFIG_T_DIGEST] = "DIGEST",
        [CONFIG_T_DOMAINS] = "list of TEXT or maps",
        [CONFIG_T_LISTEN] = "list of LISTENER or maps",
        [CONFIG_T_INCLUDE] = "list of PATH",
        [CONFIG_T_ACCOUNTS] = "list of maps",
        [CONFIG_T_LEVELS] = "map of levels",
        [CONFIG_T_BOOL] = "`true`, `false`",
        [CONFIG_T_RATE] = "RATE",
        [CONFIG_T_SECRET] = "SECRET",
        [CONFIG_T_PEM] = "PATH",
        [CONFIG_T_DOORS] = "list of LISTENER",
        [CONFIG_T_NETWORKS] = "list of CIDR",
        [CONFIG_T_ADDRS] = "list of addresses",
        [CONFIG_T_ZONES] = "map of maps",
        [CONFIG_T_SNI] = "list of maps",
        [CONFIG_T_EXEMPT] = "list of maps",
        [CONFIG_T_ROUTES] = "list of maps",
    };
    sv word;
    buf_str(b, names[key->type]);
    if (key->hi > 0) {
        buf_str(b, names[key->type][0] ? " " : "");
        config_put_bounds(b, key);
    }
    for (size_t i = 0;
         key->hi == 0 && key->words.n > 0 && sv_present(word = config_word(key->words, i)); i++) {
        buf_str(b, i > 0 || names[key->type][0] ? ", " : "");
        buf_printf(b, "`" SV_FMT "`", SV_ARG(word));
    }
}

static void put_fields(struct buf *b, const struct config_row *key)
{
    bool any = false;
    for (size_t i = 0; i < config_rows_n; i++) {
        const struct config_row *f = &config_rows[i];
        if (!config_is_field(f, key->path))
            continue;
        if (!any)
            buf_printf(b, "\nItems of `" SV_FMT "`:\n\n| field | type | meaning |\n|---|---|---|\n",
                       SV_ARG(key->path));
        any = true;
        buf_printf(b, "| `" SV_FMT "` | " SV_FMT " | ", SV_ARG(config_field_name(f, key->path)),
                   SV_ARG(f->shape));
        put_cell(b, f->help);
        buf_str(b, " |\n");
    }
}

enum err config_print_reference(struct buf *b)
{
    buf_str(b, "# Every key of the configuration\n\n"
               "DURATION is a number and `ms`, `s`, `m`, `h` or `d`; RANGE two of them with a dash "
               "between; SIZE a number and\n"
               "`B`, `KiB`, `MiB` or `GiB`; RATE a number and `/s`; BITRATE a number and `kbit/s`, "
               "`Mbit/s` or `Gbit/s`; CIDR a network or an address; "
               "LISTENER `TRANSPORT:[ADDRESS:]PORT`; TARGET\n"
               "where a call can go. A PATH that is relative starts at the folder of its "
               "file. Any single value may\n"
               "come from elsewhere: `env:NAME`, `file:PATH`, `credential:NAME`; a SECRET has to. "
               "One value may stand where\n"
               "a list may. A key `a.b` is written as `a: {b: …}`.\n\n"
               "| key | type | default | change | meaning |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < config_rows_n; i++) {
        const struct config_row *row = &config_rows[i];
        if (row->kind != CONFIG_ROW_KEY)
            continue;
        buf_printf(b, "| `" SV_FMT "` | ", SV_ARG(row->path));
        put_type(b, row);
        buf_str(b, " | ");
        if (row->def.n > 0)
            buf_printf(b, "`" SV_FMT "`", SV_ARG(row->def));
        buf_printf(b, " | %s | ", row->restart ? "restart" : "reload");
        put_cell(b, row->help);
        buf_str(b, " |\n");
    }
    for (size_t i = 0; i < config_rows_n; i++) {
        if (config_rows[i].kind == CONFIG_ROW_KEY)
            put_fields(b, &config_rows[i]);
    }
    buf_str(b, "\nNames kept for what is not built yet (writing one is an error that says so):");
    for (size_t i = 0, n = 0; i < config_rows_n; i++) {
        if (config_rows[i].kind == CONFIG_ROW_LATER)
            buf_printf(b, "%s `" SV_FMT "`", n++ ? "," : "", SV_ARG(config_rows[i].path));
    }
    buf_str(b, ".\n");
    return b->rc;
}
