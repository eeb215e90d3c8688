/* SPDX-License-Identifier: MIT */
/* One value at a node: its text, or what env:, file: and credential: name. */
#include <stdlib.h>

#include "config/config_priv.h"

sv config_text_of(const yaml_node_t *node)
{
    return (sv){(const char *)node->data.scalar.value, node->data.scalar.length};
}

/* !tags would have a say in types, which are the key's alone. */
bool config_tag_fits(struct config_reader *r, struct config_doc *d, const yaml_node_t *node)
{
    const char *wanted = node->type == YAML_SCALAR_NODE     ? YAML_DEFAULT_SCALAR_TAG
                         : node->type == YAML_SEQUENCE_NODE ? YAML_DEFAULT_SEQUENCE_TAG
                                                            : YAML_DEFAULT_MAPPING_TAG;
    if (!node->tag || sv_eq(sv_of((const char *)node->tag), sv_of(wanted)))
        return true;
    config_error(r, config_place_of(d, node), SV("a value that begins with ! needs quotes"),
                 "tags have no meaning here");
    return false;
}

static bool clean(sv text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c < 0x20 || c == 0x7f)
            return false;
    }
    return true;
}

/* The rest of the line that the value should stand in is a comment: `echo: #8`. */
static bool hash_follows(const struct config_doc *d, const yaml_node_t *node)
{
    sv rest = config_octets_at(d, node->start_mark);
    size_t i = 0;
    while (i < rest.n && (rest.p[i] == ' ' || rest.p[i] == '\t'))
        i++;
    return i < rest.n && rest.p[i] == '#';
}

static bool outside_file(struct config_reader *r, sv key, struct config_scalar *s, sv path)
{
    sv octets;
    enum err rc = config_slurp(r->arena, path.p, CONFIG_OUTSIDE_MAX, &octets, NULL, NULL);
    if (rc == ERR_NOMEM) {
        r->nomem = true;
        return false;
    }
    if (rc) {
        config_error(r, s->at, SV_NONE, SV_FMT ": cannot read " SV_FMT ": %s", SV_ARG(key),
                     SV_ARG(sv_sub(path, 0, 512)),
                     rc == ERR_NOTFOUND ? "no such file"
                     : rc == ERR_DENIED ? "no permission"
                     : rc == ERR_TOOBIG ? "too long"
                                        : "not a readable file");
        return false;
    }
    while (octets.n > 0 && (octets.p[octets.n - 1] == '\n' || octets.p[octets.n - 1] == '\r'))
        octets.n--;
    s->text = octets;
    return true;
}

static bool outside_env(struct config_reader *r, sv key, struct config_scalar *s, sv name)
{
    sv copy;
    if (sv_dup(r->arena, name, &copy)) {
        r->nomem = true;
        return false;
    }
    const char *value = getenv(copy.p);
    if (!value) {
        config_error(r, s->at, SV_NONE, SV_FMT ": the environment has no " SV_FMT, SV_ARG(key),
                     SV_ARG(sv_sub(name, 0, CONFIG_SHOWN_MAX)));
        return false;
    }
    return !sv_dup(r->arena, sv_of(value), &s->text) || (r->nomem = true, false);
}

sv config_credential(struct config_reader *r, sv key, const struct config_scalar *s, sv name)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (name.n == 0 || sv_chr(name, '/') < name.n || sv_eq(name, SV(".."))) {
        config_error(r, s->at, SV("such as credential:alice"),
                     SV_FMT ": a credential is a name without /", SV_ARG(key));
        return SV_NONE;
    }
    if (!folder || !*folder) {
        config_error(r, s->at, SV("start it by systemd with LoadCredential=, or use file:PATH"),
                     SV_FMT ": there are no credentials: $CREDENTIALS_DIRECTORY is not set",
                     SV_ARG(key));
        return SV_NONE;
    }
    return config_join(r, sv_of(folder), name);
}

static bool outside_credential(struct config_reader *r, sv key, struct config_scalar *s, sv name)
{
    sv path = config_credential(r, key, s, name);
    return sv_present(path) && outside_file(r, key, s, path);
}

sv config_prefixed(struct config_reader *r, sv prefix, sv text)
{
    struct buf b;
    sv all = SV_NONE;
    buf_init_heap(&b, 128 * 1024);
    buf_put(&b, prefix);
    buf_put(&b, text);
    if (b.rc || sv_dup(r->arena, buf_sv(&b), &all))
        r->nomem = true;
    buf_done(&b);
    return all;
}

bool config_outside(struct config_reader *r, sv key, struct config_scalar *s)
{
    sv all = s->text;
    bool good = true;
    if (!clean(all)) {
        config_error(r, s->at, SV_NONE, SV_FMT ": has a control character or a line break",
                     SV_ARG(key));
        return false;
    }
    if (sv_starts(all, SV("env:"))) {
        s->from = all;
        good = outside_env(r, key, s, sv_sub(all, 4, all.n));
    } else if (sv_starts(all, SV("credential:"))) {
        s->from = all;
        good = outside_credential(r, key, s, sv_sub(all, 11, all.n));
    } else if (sv_starts(all, SV("file:"))) {
        /* Printed by `tandem config` it has to name the same file: the path is made whole. */
        sv path = config_join(r, s->folder, sv_sub(all, 5, all.n));
        s->from = config_prefixed(r, SV("file:"), path);
        good = sv_present(path) && outside_file(r, key, s, path);
    }
    if (!good)
        return false;
    if (!clean(s->text)) {
        config_error(r, s->at, SV_NONE,
                     SV_FMT ": the value of " SV_FMT " has a control character or a line break",
                     SV_ARG(key), SV_ARG(sv_sub(all, 0, CONFIG_SHOWN_MAX)));
        return false;
    }
    if (s->text.n <= CONFIG_TEXT_MAX)
        return true;
    config_error(r, s->at, SV_NONE, SV_FMT ": is longer than %d octets", SV_ARG(key),
                 CONFIG_TEXT_MAX);
    return false;
}

bool config_plain(struct config_reader *r, struct config_doc *d, yaml_node_t *node, sv key,
                  struct config_scalar *ret_s)
{
    struct config_place at = config_place_of(d, node);
    if (!config_visit(r, d, node) || !config_tag_fits(r, d, node))
        return false;
    if (node->type != YAML_SCALAR_NODE) {
        config_error(r, at, SV_NONE, SV_FMT ": one value belongs here, not a %s", SV_ARG(key),
                     node->type == YAML_SEQUENCE_NODE ? "list" : "map");
        return false;
    }
    if (config_is_null(node)) {
        config_error(r, at,
                     hash_follows(d, node)
                         ? SV("# begins a comment: write it in quotes, such as \"#8\"")
                         : SV("give it one, or leave the key out; \"\" is an empty text"),
                     SV_FMT ": has no value", SV_ARG(key));
        return false;
    }
    *ret_s = (struct config_scalar){.folder = d->folder, .at = at};
    if (sv_dup(r->arena, config_text_of(node), &ret_s->text)) {
        r->nomem = true;
        return false;
    }
    return true;
}

bool config_scalar(struct config_reader *r, struct config_doc *d, yaml_node_t *node, sv key,
                   struct config_scalar *ret_s)
{
    return config_plain(r, d, node, key, ret_s) && config_outside(r, key, ret_s);
}
