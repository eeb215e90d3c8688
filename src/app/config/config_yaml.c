/* SPDX-License-Identifier: MIT */
/* Files into nodes: what libyaml refuses is reported with its place and a hint, and what it
 * would let pass (a second document, anchors
 * without end, deep nesting) is refused before a document is made. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config_priv.h"

static enum err of_errno(int e)
{
    if (e == ENOENT || e == ENOTDIR)
        return ERR_NOTFOUND;
    return e == EACCES || e == EPERM ? ERR_DENIED : ERR_IO;
}

/* Reads fd to its end. */
static enum err read_all(struct arena *a, int fd, size_t max, sv *ret_octets)
{
    struct buf b;
    enum err rc = ERR_OK;
    buf_init_heap(&b, max + 1);
    for (;;) {
        char piece[16 * 1024];
        ssize_t n = read(fd, piece, sizeof(piece));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = of_errno(errno);
        if (n <= 0)
            break;
        buf_mem(&b, piece, (size_t)n);
        if (b.rc) {
            rc = b.rc;
            break;
        }
    }
    if (!rc && b.n > max)
        rc = ERR_TOOBIG;
    if (!rc)
        rc = sv_dup(a, buf_sv(&b), ret_octets);
    buf_done(&b);
    return rc;
}

static struct config_stamp stamp_of(const struct stat *st)
{
    return (struct config_stamp){
        .device = (uint64_t)st->st_dev,
        .inode = (uint64_t)st->st_ino,
        .size = (int64_t)st->st_size,
        .changed_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
    };
}

struct config_stamp config_stamp_of(sv path)
{
    char mem[4096];
    struct stat st;
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_put(&b, path);
    buf_char(&b, '\0');
    return b.rc || stat(mem, &st) != 0 ? (struct config_stamp){.size = 0} : stamp_of(&st);
}

bool config_stamp_same(const struct config_stamp *a, const struct config_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed_ns == b->changed_ns;
}

enum err config_slurp(struct arena *a, const char *path, size_t max, sv *ret_octets,
                      struct config_seen *ret_seen, unsigned *ret_mode)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return of_errno(errno);
    enum err rc = fstat(fd, &st) ? ERR_IO : ERR_OK;
    if (!rc && S_ISDIR(st.st_mode))
        rc = ERR_IO;
    if (!rc)
        rc = read_all(a, fd, max, ret_octets);
    close(fd);
    if (!rc && ret_seen)
        *ret_seen = (struct config_seen){st.st_dev, st.st_ino, stamp_of(&st)};
    if (!rc && ret_mode)
        *ret_mode = st.st_mode;
    return rc;
}

sv config_join(struct config_reader *r, sv folder, sv path)
{
    struct buf b;
    sv joined = SV_NONE;
    buf_init_heap(&b, 64 * 1024);
    if (path.n > 0 && path.p[0] != '/' && folder.n > 0) {
        buf_put(&b, folder);
        buf_char(&b, '/');
    }
    if (sv_starts(path, SV("./"))) /* the working directory's, or the folder's just written */
        path = sv_sub(path, folder.n > 0 ? 2 : 0, path.n);
    buf_put(&b, path);
    if (b.rc || sv_dup(r->arena, buf_sv(&b), &joined))
        r->nomem = true;
    buf_done(&b);
    return joined;
}

static struct config_place place_of_mark(const struct config_doc *d, yaml_mark_t m)
{
    return (struct config_place){d->name, (unsigned)m.line + 1, (unsigned)m.column + 1};
}

struct config_place config_place_of(const struct config_doc *d, const yaml_node_t *n)
{
    return place_of_mark(d, n->start_mark);
}

/* libyaml gives the offset of a broken octet, not its line. */
static struct config_place place_of_offset(const struct config_doc *d, size_t offset)
{
    struct config_place at = {d->name, 1, 1};
    for (size_t i = 0; i < offset && i < d->octets.n; i++) {
        at.column++;
        if (d->octets.p[i] == '\n') {
            at.line++;
            at.column = 1;
        }
    }
    return at;
}

sv config_octets_at(const struct config_doc *d, yaml_mark_t m)
{
    size_t at = 0, line = 0, column = 0;
    while (line < m.line && at < d->octets.n)
        line += d->octets.p[at++] == '\n';
    /* Columns count characters: octets that continue one (10xxxxxx) do not. */
    for (; at < d->octets.n; at++) {
        if (((unsigned char)d->octets.p[at] & 0xc0) != 0x80 && column++ == m.column)
            break;
    }
    return sv_sub(d->octets, at, d->octets.n);
}

static sv hint_of(const struct config_doc *d, const yaml_parser_t *p)
{
    sv context = sv_of(p->context), problem = sv_of(p->problem);
    sv rest = config_octets_at(d, p->problem_mark);
    if (sv_eq(context, SV("while scanning an alias")) ||
        sv_eq(problem, SV("found undefined alias")))
        return SV("* begins an alias: write it in quotes, such as \"*43\"");
    if (sv_eq(context, SV("while scanning an anchor")))
        return SV("& begins an anchor: write it in quotes");
    if (sv_starts(problem, SV("found character that cannot start any token"))) {
        if (rest.n > 0 && rest.p[0] == '\t')
            return SV("indent with spaces, not with a tab");
        return SV("write the value in quotes");
    }
    if (sv_starts(problem, SV("did not find expected ',' or")))
        return SV("a bracket is not closed, or a value with a comma or a colon needs quotes");
    if (sv_starts(problem, SV("mapping values are not allowed")))
        return SV("a value with ': ' in it needs quotes, or the line is indented wrongly");
    if (sv_starts(problem, SV("could not find expected ':'")))
        return SV("a key is followed by ': ' and its value");
    return SV_NONE;
}

static void yaml_refused(struct config_reader *r, const struct config_doc *d,
                         const yaml_parser_t *p)
{
    const char *problem = p->problem ? p->problem : "not YAML";
    if (p->error == YAML_MEMORY_ERROR) {
        r->nomem = true;
    } else if (p->error == YAML_READER_ERROR) {
        config_error(r, place_of_offset(d, p->problem_offset), SV("the file has to be UTF-8 text"),
                     "%s", problem);
    } else {
        config_error(r, place_of_mark(d, p->problem_mark), hint_of(d, p), "%s%s%s",
                     p->context ? p->context : "", p->context ? ": " : "", problem);
    }
}

static void parser_over(yaml_parser_t *p, const struct config_doc *d)
{
    yaml_parser_set_input_string(p, (const unsigned char *)d->octets.p, d->octets.n);
}

/* One event of the pass before loading; false: refused. */
static bool event_fits(struct config_reader *r, const struct config_doc *d, const yaml_event_t *e,
                       unsigned *documents, unsigned *anchors, unsigned *depth)
{
    const yaml_char_t *anchor = NULL;
    struct config_place at = place_of_mark(d, e->start_mark);
    switch ((int)e->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++*documents <= 1)
            return true;
        config_error(r, at, SV("take out the '---' or '...'"), "a second document begins here");
        return false;
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (++*depth > CONFIG_NESTING_MAX) {
            config_error(r, at, SV_NONE, "is nested more than %d deep", CONFIG_NESTING_MAX);
            return false;
        }
        anchor = e->type == YAML_MAPPING_START_EVENT ? e->data.mapping_start.anchor
                                                     : e->data.sequence_start.anchor;
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        --*depth;
        break;
    case YAML_SCALAR_EVENT:
        anchor = e->data.scalar.anchor;
        break;
    default:
        break;
    }
    if (!anchor || ++*anchors <= CONFIG_ANCHORS_MAX)
        return true;
    config_error(r, at, SV_NONE, "there are more than %d anchors", CONFIG_ANCHORS_MAX);
    return false;
}

static bool look_over(struct config_reader *r, const struct config_doc *d)
{
    yaml_parser_t p;
    unsigned documents = 0, anchors = 0, depth = 0;
    bool good = true, end = false;
    if (!yaml_parser_initialize(&p)) {
        r->nomem = true;
        return false;
    }
    parser_over(&p, d);
    while (good && !end) {
        yaml_event_t e;
        if (!yaml_parser_parse(&p, &e)) {
            yaml_refused(r, d, &p);
            good = false;
        } else {
            good = event_fits(r, d, &e, &documents, &anchors, &depth);
            end = e.type == YAML_STREAM_END_EVENT;
            yaml_event_delete(&e);
        }
    }
    yaml_parser_delete(&p);
    return good;
}

static void load(struct config_reader *r, struct config_doc *d)
{
    yaml_parser_t p;
    if (!look_over(r, d))
        return;
    if (!yaml_parser_initialize(&p)) {
        r->nomem = true;
        return;
    }
    parser_over(&p, d);
    if (yaml_parser_load(&p, &d->yaml)) {
        d->visits_max = (size_t)(d->yaml.nodes.top - d->yaml.nodes.start) + CONFIG_VISITS_EXTRA;
        config_walk(r, d);
        yaml_document_delete(&d->yaml);
        config_include(r, d);
    } else {
        yaml_refused(r, d, &p);
    }
    yaml_parser_delete(&p);
}

/* The folder of an absolute path. */
static sv folder_of(sv path)
{
    size_t n = path.n;
    while (n > 1 && path.p[n - 1] != '/')
        n--;
    return sv_sub(path, 0, n > 1 ? n - 1 : n);
}

/* From the disk, or from the files of an earlier load. */
static enum err read_octets(struct config_reader *r, sv path, sv *ret_octets,
                            struct config_seen *ret_seen)
{
    const struct config_source *src = r->source;
    if (!src->from_saved)
        return config_slurp(r->arena, path.p, CONFIG_FILE_MAX, ret_octets, ret_seen, NULL);
    for (size_t i = 0; i < src->saved_n; i++) {
        if (!sv_eq(src->saved[i].path, path))
            continue;
        *ret_seen = (struct config_seen){.inode = (ino_t)i + 1};
        return sv_dup(r->arena, src->saved[i].octets, ret_octets);
    }
    return ERR_NOTFOUND;
}

void config_read_file(struct config_reader *r, sv path, sv named, const struct config_place *at,
                      unsigned depth)
{
    struct config_doc d = {.name = named, .folder = folder_of(path), .depth = depth};
    struct config_place self = {named, 0, 0};
    struct config_seen seen;
    if (r->files == CONFIG_FILES_MAX) {
        config_error(r, *at, SV_NONE, "include: more than %d files", CONFIG_FILES_MAX);
        return;
    }
    enum err rc = read_octets(r, path, &d.octets, &seen);
    if (rc == ERR_NOMEM) {
        r->nomem = true;
    } else if (rc == ERR_TOOBIG) {
        config_error(r, self, SV_NONE, "is over %d MiB", CONFIG_FILE_MAX / (1024 * 1024));
    } else if (rc) {
        const char *why = rc == ERR_NOTFOUND ? "no such file"
                          : rc == ERR_DENIED ? "no permission"
                                             : "not a readable file";
        config_error(r, at ? *at : self, SV_NONE, "cannot read " SV_FMT ": %s",
                     SV_ARG(sv_sub(named, 0, 512)), why);
        if (!at && sv_dup(&r->report->arena, named, &r->report->unread_file) == ERR_OK)
            r->report->unread = why;
    } else {
        for (unsigned i = 0; i < r->files; i++) {
            if (r->seen[i].device == seen.device && r->seen[i].inode == seen.inode) {
                config_error(r, *at, SV_NONE, "include: " SV_FMT " is read twice",
                             SV_ARG(sv_sub(named, 0, 512)));
                return;
            }
        }
        r->read[r->files] = (struct config_file){path, d.octets};
        r->seen[r->files++] = seen;
        load(r, &d);
    }
}
