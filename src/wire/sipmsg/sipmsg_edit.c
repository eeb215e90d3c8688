/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_edit.c: an edit list over the received octets; one pass writes it. */
#include "sipmsg/sipmsg_priv.h"

void sipedit_init(struct sipedit *e, const struct sipmsg *m)
{
    /* not the cuts: they are filled as they come */
    e->m = m;
    e->n = 0;
    e->order = 0;
    e->body = SV_NONE;
    e->rc = ERR_OK;
}

static void set_error(struct sipedit *e, enum err rc)
{
    if (!e->rc)
        e->rc = rc;
}

static uint32_t offset_of(const struct sipedit *e, const char *p)
{
    return (uint32_t)(p - e->m->text.p);
}

/* The next cut, its text still to be told; never NULL. */
static struct sipedit_cut *add(struct sipedit *e, uint32_t from, uint32_t to)
{
    if (e->n == SIPEDIT_MAX)
        set_error(e, ERR_TOOBIG);
    else if (from > to || to > e->m->text.n)
        set_error(e, ERR_STATE);
    struct sipedit_cut *cut = &e->cuts[e->rc ? 0 : e->n++]; /* after an error none is looked at */
    cut->from = from;
    cut->to = to;
    cut->text = SV_NONE;
    cut->order = e->order++;
    cut->line = cut->item = false;
    return cut;
}

static void add_text(struct sipedit *e, uint32_t from, uint32_t to, sv text)
{
    if (!sip_text_clean(text))
        set_error(e, ERR_SYNTAX);
    add(e, from, to)->text = text;
}

static void add_line(struct sipedit *e, uint32_t at, sv line)
{
    if (!sip_text_clean(line) || line.n == 0 || !sip_is(line.p[0], SC_TOKEN))
        set_error(e, ERR_SYNTAX);
    struct sipedit_cut *cut = add(e, at, at);
    cut->text = line;
    cut->line = true;
}

static bool inside(const struct sipedit *e, sv span)
{
    uintptr_t base = (uintptr_t)e->m->text.p, p = (uintptr_t)span.p;
    return span.p && p >= base && p - base <= e->m->text.n && span.n <= e->m->text.n - (p - base);
}

static bool has_field(struct sipedit *e, uint16_t field)
{
    if (field >= e->m->count)
        set_error(e, ERR_STATE);
    return field < e->m->count;
}

void sipedit_cut(struct sipedit *e, sv span, sv text)
{
    if (!inside(e, span)) {
        set_error(e, ERR_STATE);
        return;
    }
    uint32_t from = offset_of(e, span.p);
    add_text(e, from, from + (uint32_t)span.n, text);
}

void sipedit_uri(struct sipedit *e, sv uri_text)
{
    if (!e->m->request || uri_text.n == 0)
        set_error(e, ERR_STATE);
    for (size_t i = 0; i < uri_text.n; i++)
        if ((unsigned char)uri_text.p[i] <= ' ')
            set_error(e, ERR_SYNTAX);
    sipedit_cut(e, e->m->uri_text, uri_text);
}

void sipedit_status(struct sipedit *e, uint16_t status, sv reason)
{
    if (e->m->request || status < 100 || status > 699) {
        set_error(e, ERR_STATE);
        return;
    }
    if (memchr(reason.p ? reason.p : "", '\r', reason.n))
        set_error(e, ERR_SYNTAX); /* a start line has no folds */
    e->status[0] = (char)('0' + status / 100);
    e->status[1] = (char)('0' + status / 10 % 10);
    e->status[2] = (char)('0' + status % 10);
    uint32_t at = offset_of(e, e->m->reason.p);
    add_text(e, at - 4, at - 1, (sv){e->status, 3});
    add_text(e, at, at + (uint32_t)e->m->reason.n, reason);
}

void sipedit_value(struct sipedit *e, uint16_t field, sv value)
{
    if (!has_field(e, field))
        return;
    const struct sipmsg_field *f = &e->m->fields[field];
    add_text(e, f->value, (uint32_t)f->value + f->value_n, value);
}

/* The blank line: where lines are added at the end. */
static uint32_t section_end(const struct sipedit *e)
{
    return e->m->body_at >= 2 ? e->m->body_at - 2 : 0;
}

void sipedit_line_first(struct sipedit *e, enum sip_header h, sv line)
{
    const struct sipmsg *m = e->m;
    uint16_t field = sipmsg_has(m, h) ? m->first[h] : 0;
    add_line(e, m->count ? m->fields[field].name : section_end(e), line);
}

void sipedit_line_last(struct sipedit *e, sv line)
{
    add_line(e, section_end(e), line);
}

void sipedit_remove_field(struct sipedit *e, uint16_t field)
{
    if (has_field(e, field))
        add(e, e->m->fields[field].name, sipmsg_line_end(e->m, field));
}

void sipedit_remove(struct sipedit *e, enum sip_header h)
{
    for (uint16_t i = e->m->first[h]; i != SIPMSG_NONE; i = e->m->fields[i].next)
        sipedit_remove_field(e, i);
}

/* ---- values of lists ---- */

struct span {
    uint32_t from, to;
    bool gone;
};

/* Forgets earlier cuts of values in a field, marking what they took. */
static void take_back(struct sipedit *e, uint16_t field, struct span *items, unsigned n)
{
    const struct sipmsg_field *f = &e->m->fields[field];
    uint32_t line_end = sipmsg_line_end(e->m, field);
    unsigned kept = 0;
    for (unsigned c = 0; c < e->n; c++) {
        struct sipedit_cut cut = e->cuts[c];
        if (!cut.item || cut.from < f->name || cut.to > line_end) {
            e->cuts[kept++] = cut;
            continue;
        }
        for (unsigned i = 0; i < n; i++)
            items[i].gone |= items[i].from >= cut.from && items[i].to <= cut.to;
    }
    e->n = kept;
}

/* One cut per run of values that go: up to the value behind it, or from the end of the value before
 * it; the line when none is left. So runs never touch each other. */
static void cut_runs(struct sipedit *e, uint16_t field, const struct span *items, unsigned n)
{
    for (unsigned i = 0, k; i < n; i = k + 1) {
        for (k = i; k < n && items[k].gone; k++)
            continue;
        if (k == i)
            continue;
        uint32_t from = items[i].from, to;
        if (i == 0 && k == n) {
            from = e->m->fields[field].name;
            to = sipmsg_line_end(e->m, field);
        } else if (k == n) {
            from = items[i - 1].to;
            to = items[n - 1].to;
        } else {
            to = items[k].from;
        }
        add(e, from, to)->item = true;
    }
}

void sipedit_remove_item(struct sipedit *e, const struct sip_item *item)
{
    struct span items[SIPMSG_LIST_MAX];
    unsigned n = 0;
    size_t at = 0;
    sv text;
    enum err rc;
    if (e->rc || !has_field(e, item->field))
        return;
    if (item->only && e->n == 0) { /* as mostly: no cut was made that it would have to join */
        sipedit_remove_field(e, item->field);
        e->cuts[0].item = true;
        return;
    }
    sv value = sipmsg_field_value(e->m, item->field);
    while (n < SIPMSG_LIST_MAX && sip_list_next(value, &at, &text, &rc)) {
        uint32_t from = offset_of(e, text.p);
        items[n++] = (struct span){from, from + (uint32_t)text.n, false};
    }
    if (item->pos >= n) {
        set_error(e, ERR_STATE);
        return;
    }
    take_back(e, item->field, items, n);
    items[item->pos].gone = true;
    cut_runs(e, item->field, items, n);
}

/* ---- body ---- */

static void edit_length(struct sipedit *e, size_t n)
{
    const struct sipmsg *m = e->m;
    struct buf b;
    buf_init(&b, e->length, sizeof(e->length));
    buf_u64(&b, n);
    if (b.rc)
        set_error(e, b.rc);
    if (sipmsg_has(m, SIP_H_CONTENT_LENGTH)) {
        sipedit_value(e, m->first[SIP_H_CONTENT_LENGTH], buf_sv(&b));
    } else {
        add_text(e, section_end(e), section_end(e), SV("Content-Length: "));
        add_line(e, section_end(e), buf_sv(&b));
    }
}

void sipedit_body(struct sipedit *e, sv content_type, sv body)
{
    const struct sipmsg *m = e->m;
    if (e->body.p) {
        set_error(e, ERR_STATE);
        return;
    }
    e->body = body.p ? body : SV("");
    edit_length(e, body.n);
    if (content_type.p && sipmsg_has(m, SIP_H_CONTENT_TYPE)) {
        sipedit_value(e, m->first[SIP_H_CONTENT_TYPE], content_type);
    } else if (content_type.p) {
        add_text(e, section_end(e), section_end(e), SV("Content-Type: "));
        add_line(e, section_end(e), content_type);
    } else if (body.n == 0) {
        sipedit_remove(e, SIP_H_CONTENT_TYPE);
    }
}

/* Octets of the body, which may be any. */
static void cut_body(struct sipedit *e, sv span, sv text)
{
    uint32_t from = offset_of(e, span.p);
    add(e, from, from + (uint32_t)span.n)->text = text;
}

/* A line of it could be a delimiter (RFC 2046 §5.1.1). */
static bool may_delimit(sv text)
{
    return sv_starts(text, SV("--")) || (text.n && memmem(text.p, text.n, "\n--", 3) != NULL);
}

void sipedit_description(struct sipedit *e, const struct sip_description *d, sv text)
{
    sv whole = sipmsg_body(e->m);
    if (!inside(e, d->text) || d->text.p < whole.p) {
        set_error(e, ERR_STATE);
    } else if (text.n ? d->text.n == whole.n : !d->part.p) {
        sipedit_body(e, SV_NONE, text);
    } else if (text.n == 0) {
        cut_body(e, d->part, SV_NONE);
        edit_length(e, whole.n - d->part.n);
    } else if (may_delimit(text)) {
        set_error(e, ERR_SYNTAX);
    } else {
        if (d->length.n) /* a part needs none (RFC 2045 §3), and this one would lie */
            cut_body(e, d->length, SV_NONE);
        cut_body(e, d->text, text);
        edit_length(e, whole.n - d->length.n - d->text.n + text.n);
    }
}

/* ---- writing ---- */

/* Insertions come before a cut that starts at the same octet; equals keep the order of the calls.
 */
static bool goes_before(const struct sipedit_cut *a, const struct sipedit_cut *b)
{
    bool pure_a = a->from == a->to, pure_b = b->from == b->to;
    if (a->from != b->from)
        return a->from < b->from;
    return pure_a != pure_b ? pure_a : a->order < b->order;
}

static void sort_cuts(const struct sipedit *e, const struct sipedit_cut *sorted[static SIPEDIT_MAX])
{
    for (unsigned i = 0; i < e->n; i++) {
        unsigned k = i;
        for (; k > 0 && goes_before(&e->cuts[i], sorted[k - 1]); k--)
            sorted[k] = sorted[k - 1];
        sorted[k] = &e->cuts[i];
    }
}

static void put_length(const struct sipedit *e, struct buf *b)
{
    buf_put(b, SV("Content-Length: "));
    buf_u64(b, e->m->text.n - e->m->body_at);
    buf_put(b, SV("\r\n"));
}

enum err sipedit_write(const struct sipedit *e, struct buf *b)
{
    const struct sipedit_cut *sorted[SIPEDIT_MAX];
    sv text = e->m->text;
    size_t at = 0;
    TRY(e->rc);
    if (e->n == 0) {
        buf_put(b, text);
        return b->rc;
    }
    sort_cuts(e, sorted);
    for (unsigned i = 0; i < e->n; i++) {
        const struct sipedit_cut *c = sorted[i];
        if (c->from < at || (e->body.p && c->to > e->m->body_at))
            return ERR_STATE;
        buf_mem(b, text.p + at, c->from - at);
        buf_put(b, c->text);
        if (c->line)
            buf_mem(b, "\r\n", 2);
        at = c->to;
    }
    /* what is left of the section, a length if none is there, the blank line, the body */
    if (!e->body.p && (at > section_end(e) || sipmsg_has(e->m, SIP_H_CONTENT_LENGTH))) {
        buf_mem(b, text.p + at, text.n - at);
        return b->rc;
    }
    buf_put(b, sv_sub(text, at, section_end(e)));
    if (!e->body.p)
        put_length(e, b);
    buf_put(b, sv_sub(text, section_end(e), e->m->body_at));
    buf_put(b, e->body.p ? e->body : sipmsg_body(e->m));
    return b->rc;
}
