/* SPDX-License-Identifier: MIT */
/* Problems: added, put in the order of the file, printed. */
#include "config/config_priv.h"

enum { REPORT_ARENA_MAX = 1024 * 1024 };

void config_report_init(struct config_report *r)
{
    *r = (struct config_report){.problems = NULL};
    arena_init(&r->arena, NULL, 0, REPORT_ARENA_MAX);
}

void config_report_done(struct config_report *r)
{
    arena_done(&r->arena);
    *r = (struct config_report){.problems = NULL};
}

static bool before(const struct config_problem *a, const struct config_problem *b)
{
    if (a->line == 0 || b->line == 0 || !sv_eq(a->file, b->file))
        return false;
    return a->line < b->line || (a->line == b->line && a->column < b->column);
}

/* By place within a file; files and problems without a place stay where they are. */
void config_report_sort(struct config_report *r)
{
    for (size_t i = 1; i < r->n; i++) {
        struct config_problem p = r->problems[i];
        size_t k = i;
        while (k > 0 && before(&p, &r->problems[k - 1])) {
            r->problems[k] = r->problems[k - 1];
            k--;
        }
        r->problems[k] = p;
    }
}

void config_report_print(const struct config_report *r, struct buf *b)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct config_problem *p = &r->problems[i];
        buf_printable(b, p->file);
        if (p->line > 0)
            buf_printf(b, ":%u:%u", p->line, p->column);
        buf_str(b, p->severity == CONFIG_ERROR ? ": error: " : ": finding: ");
        buf_printable(b, p->text);
        if (p->hint.n > 0) {
            buf_str(b, "; ");
            buf_printable(b, p->hint);
        }
        buf_char(b, '\n');
    }
    if (r->cut)
        buf_printf(b, "there are more problems than the %d shown\n", CONFIG_PROBLEMS_MAX);
}

__attribute__((format(printf, 5, 0))) static void add(struct config_reader *r,
                                                      enum config_severity severity,
                                                      struct config_place at, sv hint,
                                                      const char *fmt, va_list ap)
{
    struct config_report *rep = r->report;
    char mem[1024];
    if (severity == CONFIG_ERROR)
        rep->errors++;
    else
        rep->findings++;
    if (rep->n == CONFIG_PROBLEMS_MAX) {
        rep->cut = true;
        return;
    }
    if (!rep->problems)
        rep->problems = arena_calloc(&rep->arena, CONFIG_PROBLEMS_MAX, sizeof(*rep->problems));
    if (!rep->problems) {
        r->nomem = true;
        return;
    }
    int n = vsnprintf(mem, sizeof(mem), fmt, ap);
    sv text = {mem, n < 0 ? 0 : (size_t)n < sizeof(mem) ? (size_t)n : sizeof(mem) - 1};
    struct config_problem p = {.severity = severity, .line = at.line, .column = at.column};
    if (sv_dup(&rep->arena, at.file, &p.file) || sv_dup(&rep->arena, text, &p.text) ||
        sv_dup(&rep->arena, hint, &p.hint)) {
        rep->cut = true;
        return;
    }
    rep->problems[rep->n++] = p;
}

void config_error(struct config_reader *r, struct config_place at, sv hint, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(r, CONFIG_ERROR, at, hint, fmt, ap);
    va_end(ap);
}

void config_finding(struct config_reader *r, struct config_place at, sv hint, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(r, CONFIG_FINDING, at, hint, fmt, ap);
    va_end(ap);
}

const char *config_shown(const struct config_scalar *s, char mem[static CONFIG_SHOWN])
{
    /* What came from elsewhere may be a secret: it is never repeated. */
    sv t = sv_present(s->from) ? s->from : s->text;
    const char *more = t.n > CONFIG_SHOWN_MAX ? "…" : "";
    int n = (int)(t.n > CONFIG_SHOWN_MAX ? CONFIG_SHOWN_MAX : t.n);
    const char *fmt = sv_present(s->from) ? "the value of %.*s%s" : "'%.*s%s'";
    snprintf(mem, CONFIG_SHOWN, fmt, n, t.p ? t.p : "", more);
    return mem;
}

const char *config_place_text(struct config_place at, char mem[static CONFIG_SHOWN])
{
    /* The end of a long path says more than its beginning. */
    sv file =
        sv_sub(at.file, at.file.n > CONFIG_SHOWN_MAX ? at.file.n - CONFIG_SHOWN_MAX : 0, at.file.n);
    if (at.line > 0)
        snprintf(mem, CONFIG_SHOWN, SV_FMT ":%u", SV_ARG(file), at.line);
    else
        snprintf(mem, CONFIG_SHOWN, SV_FMT, SV_ARG(file));
    return mem;
}
