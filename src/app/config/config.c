/* SPDX-License-Identifier: MIT */
/* The configuration: found, read file by file, overridden by --set, applied. */
#include <errno.h>
#include <fnmatch.h>
#include <glob.h>
#include <stdlib.h>
#include <unistd.h>

#include "config/config_priv.h"

enum { CONFIG_ARENA_MAX = 256 * 1024 * 1024 };

static enum err config_new(struct config_all **ret_c)
{
    struct config_all *c = MEM_NEW(struct config_all);
    if (!c)
        return ERR_NOMEM;
    arena_init(&c->pub.arena, NULL, 0, CONFIG_ARENA_MAX);
    c->domains_end = &c->domains;
    c->listeners_end = &c->listeners;
    c->accounts_end = &c->accounts;
    c->includes_end = &c->includes;
    c->zones_end = &c->zones;
    c->doors_end = &c->doors;
    c->sni_end = &c->sni;
    c->exempt_end = &c->exempt;
    c->routes_end = &c->routes;
    *ret_c = c;
    return ERR_OK;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    settings_unref(c->settings);
    arena_done(&c->arena);
    mem_free(config_all(c));
}

/* Defaults are read as a file's values are. */
static void defaults(struct config_reader *r)
{
    for (size_t i = 0; i < config_rows_n; i++) {
        const struct config_row *row = &config_rows[i];
        if (row->kind != CONFIG_ROW_KEY)
            continue;
        struct config_value *v = &r->c->values[row->id];
        struct config_scalar s = {.text = row->def, .at = {SV("default"), 0, 0}};
        if (row->type <= CONFIG_T_SCALARS && row->def.n > 0)
            config_value_read(r, row, &s, v);
        v->set = false;
        v->at = s.at;
    }
}

void config_default_items(struct config_reader *r, enum config_id id)
{
    const struct config_row *key = config_key(id);
    for (size_t at = 0; at < key->def.n;) {
        size_t end = at + sv_chr(sv_sub(key->def, at, key->def.n), ' ');
        struct config_scalar s = {.text = sv_sub(key->def, at, end), .at = {SV("default"), 0, 0}};
        config_item_text(r, key, &s);
        at = end + 1;
    }
}

enum err config_embedded(struct config_report *report, struct config_all **ret_c)
{
    struct config_all *c;
    TRY(config_new(&c));
    struct config_reader *r = MEM_NEW(struct config_reader);
    bool good = r != NULL;
    if (r) {
        *r = (struct config_reader){.c = c, .report = report, .arena = &c->pub.arena};
        defaults(r);
        config_default_items(r, CONFIG_K_LISTEN);
        config_default_items(r, CONFIG_K_LOCAL_NETWORKS);
        good = !r->nomem;
    }
    mem_free(r);
    if (good)
        *ret_c = c;
    else
        config_free(&c->pub);
    return good ? ERR_OK : ERR_NOMEM;
}

/* ---- include ---- */

/* A folder that is not there holds no files; one that may not be read is a mistake. */
static int folder_unread(const char *path, int e)
{
    (void)path;
    return e != ENOENT && e != ENOTDIR;
}

/* One that is included: where, how deep. */
struct including {
    const struct config_include *inc;
    sv folder, named_folder;
    unsigned depth;
};

static void include_one(struct config_reader *r, const struct including *at, sv found)
{
    sv path, pattern = at->inc->pattern;
    /* Named as the file that includes it was named: relative to the same place. */
    bool inside = sv_starts(found, at->folder) && pattern.n > 0 && pattern.p[0] != '/';
    sv named = found;
    if (inside)
        named = config_join(r, at->named_folder, sv_sub(found, at->folder.n + 1, found.n));
    if (sv_dup(r->arena, found, &path) || sv_dup(r->arena, named, &named))
        r->nomem = true;
    else
        config_read_file(r, path, named, &at->inc->at, at->depth);
}

/* Of the files of an earlier load those that the pattern found then: they are in that order. */
static void include_saved(struct config_reader *r, const struct including *at, const char *pattern)
{
    const struct config_source *src = r->source;
    for (size_t i = 0; i < src->saved_n && !r->nomem; i++) {
        if (fnmatch(pattern, src->saved[i].path.p, FNM_PATHNAME | FNM_PERIOD) == 0)
            include_one(r, at, src->saved[i].path);
    }
}

/* Files of one pattern, in order of name. */
static void include(struct config_reader *r, const struct including *at)
{
    const struct config_include *inc = at->inc;
    sv pattern = config_join(r, at->folder, inc->pattern);
    glob_t g;
    if (!sv_present(pattern))
        return;
    if (r->source->from_saved) {
        include_saved(r, at, pattern.p);
        return;
    }
    int rc = glob(pattern.p, 0, folder_unread, &g);
    if (rc == GLOB_NOSPACE) {
        r->nomem = true;
        return;
    }
    bool wild = strpbrk(pattern.p, "*?[") != NULL;
    if (rc == GLOB_ABORTED || (rc == GLOB_NOMATCH && !wild))
        config_error(r, inc->at, SV_NONE, "include: cannot read '" SV_FMT "': %s",
                     SV_ARG(sv_sub(inc->pattern, 0, 512)),
                     rc == GLOB_NOMATCH ? "no such file" : "a folder cannot be read");
    for (size_t i = 0; rc == 0 && i < g.gl_pathc && !r->nomem; i++)
        include_one(r, at, sv_of(g.gl_pathv[i]));
    if (rc == 0)
        globfree(&g);
}

void config_include(struct config_reader *r, const struct config_doc *d)
{
    struct config_include *list = r->c->includes;
    size_t slash = d->name.n;
    while (slash > 0 && d->name.p[slash - 1] != '/')
        slash--;
    sv named_folder = sv_sub(d->name, 0, slash > 1 ? slash - 1 : slash);
    /* The list belongs to this file now; files below make their own. */
    r->c->includes = NULL;
    r->c->includes_end = &r->c->includes;
    for (const struct config_include *i = list; i && !r->nomem; i = i->next) {
        if (d->depth == CONFIG_INCLUDE_DEPTH)
            config_error(r, i->at, SV_NONE, "include: files include files more than %d deep",
                         CONFIG_INCLUDE_DEPTH);
        else
            include(r, &(struct including){i, d->folder, named_folder, d->depth + 1});
    }
}

/* ---- loading ---- */

/* The file to read, as named; absent: none, embedded defaults. */
static sv find_file(const struct config_source *src)
{
    static const char standard[] = "/etc/tandem/tandem.yaml";
    const char *named = getenv("TANDEM_CONFIG");
    if (src->from_saved)
        return src->saved_n ? src->saved[0].path : SV_NONE;
    if (src->path)
        return sv_of(src->path);
    if (named && *named)
        return sv_of(named);
    if (access(standard, F_OK) == 0 || errno == EACCES)
        return sv_of(standard);
    return SV_NONE;
}

static void read_main(struct config_reader *r, sv named)
{
    char here[4096];
    sv copy;
    if (sv_dup(r->arena, named, &copy)) {
        r->nomem = true;
        return;
    }
    bool absolute = copy.n > 0 && copy.p[0] == '/';
    if (!absolute && !getcwd(here, sizeof(here))) {
        config_error(r, (struct config_place){.file = copy}, SV_NONE,
                     "cannot be found: no working directory");
        return;
    }
    r->c->pub.file = absolute ? copy : config_join(r, sv_of(here), copy);
    if (sv_present(r->c->pub.file))
        config_read_file(r, r->c->pub.file, copy, NULL, 0);
}

/* What was read stays with the configuration: for a later load of the same. */
static void keep_files(struct config_reader *r)
{
    struct config_file *files = arena_calloc(r->arena, r->files, sizeof(*files));
    if (!files) {
        r->nomem = true;
        return;
    }
    memcpy(files, r->read, r->files * sizeof(*files));
    r->c->pub.files = files;
    r->c->pub.files_n = r->files;
}

static void load(struct config_reader *r, const struct config_source *src)
{
    sv named = find_file(src);
    defaults(r);
    if (sv_present(named))
        read_main(r, named);
    r->sets = true;
    for (size_t i = 0; i < src->sets_n && !r->nomem; i++)
        config_set(r, src->sets[i]);
    r->sets = false;
    if (!r->nomem)
        config_apply(r);
}

enum err config_load(const struct config_source *src, struct config_report *report,
                     struct config **ret_config)
{
    struct config_all *c;
    TRY(config_new(&c));
    struct config_reader *r = MEM_NEW(struct config_reader);
    enum err rc = ERR_NOMEM;
    if (r) {
        r->c = c;
        r->report = report;
        r->arena = &c->pub.arena;
        r->source = src;
        size_t errors = report->errors;
        load(r, src);
        keep_files(r);
        config_report_sort(report);
        rc = r->nomem ? ERR_NOMEM : report->errors > errors ? ERR_SYNTAX : ERR_OK;
        if (rc != ERR_NOMEM && (sv_dup(&report->arena, c->pub.data, &report->data) ||
                                sv_dup(&report->arena, c->pub.socket, &report->socket)))
            rc = ERR_NOMEM;
    }
    mem_free(r);
    if (rc)
        config_free(&c->pub);
    else
        *ret_config = &c->pub;
    return rc;
}
