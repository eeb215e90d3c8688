/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_fields.c: the header section: lines, names of fields, the index of them. */
#include "sipmsg/sipmsg_priv.h"
#include "sipmsg/header_slots.h"

/* ---- names ---- */

static const sv header_names[SIP_HEADERS] = {
    [SIP_H_OTHER] = {"", 0},
#define X(id, name, compact, kind, rfc) [SIP_H_##id] = {name, sizeof(name) - 1},
#include "sipmsg/headers.def"
#undef X
};

static const uint8_t header_kinds[SIP_HEADERS] = {
    [SIP_H_OTHER] = SIP_MANY,
#define X(id, name, compact, kind, rfc) [SIP_H_##id] = SIP_##kind,
#include "sipmsg/headers.def"
#undef X
};

/* compact forms in the same order; 0: none */
static const uint8_t header_compacts[SIP_HEADERS] = {
    0,
#define X(id, name, compact, kind, rfc) (uint8_t) compact[0],
#include "sipmsg/headers.def"
#undef X
};

sv sip_header_name(enum sip_header h)
{
    return (unsigned)h < SIP_HEADERS ? header_names[h] : header_names[SIP_H_OTHER];
}

/* Octets without case. The names of the table are letters and '-', and a token holds no CR, the one
 * other octet that setting bit 5 would turn into '-'. */
static inline bool same8(const char *a, const char *b)
{
    uint64_t x, y;
    memcpy(&x, a, 8);
    memcpy(&y, b, 8);
    return ((x ^ y) & ~0x2020202020202020u) == 0;
}

static inline bool same4(const char *a, const char *b)
{
    uint32_t x, y;
    memcpy(&x, a, 4);
    memcpy(&y, b, 4);
    return ((x ^ y) & ~0x20202020u) == 0;
}

static inline unsigned slot_of(const char *p, size_t n)
{
    return header_slots[SIP_HASH_SLOT(sip_hash_key(p, n), SIP_HASH_FACTOR, SIP_HASH_BITS)];
}

/* Names of more than 16 octets. */
static __attribute__((noinline)) enum sip_header lookup_long(const char *p, size_t n)
{
    unsigned h = slot_of(p, n);
    bool same = header_names[h].n == n;
    for (size_t i = 0; same && n - i > 8; i += 8)
        same = same8(header_names[h].p + i, p + i);
    return same && same8(header_names[h].p + n - 8, p + n - 8) ? (enum sip_header)h : SIP_H_OTHER;
}

/* Names of less than four octets: Via, To and compact forms. */
static enum sip_header lookup_short(const char *p, size_t n)
{
    unsigned h = slot_of(p, n);
    const char *known = header_names[h].p;
    bool same = n == 1 ? header_compacts[h] == (uint8_t)(p[0] | 0x20)
                       : header_names[h].n == n && (p[0] | 0x20) == (known[0] | 0x20) &&
                             (p[1] | 0x20) == known[1] && (p[n - 1] | 0x20) == known[n - 1];
    return same ? (enum sip_header)h : SIP_H_OTHER;
}

/* The id of a name that is known to be a token. */
static inline __attribute__((always_inline)) enum sip_header lookup(const char *p, size_t n)
{
    if (n < 4)
        return lookup_short(p, n);
    if (n > 16)
        return lookup_long(p, n);
    unsigned h = slot_of(p, n);
    const char *known = header_names[h].p;
    if (header_names[h].n != n)
        return SIP_H_OTHER;
    bool same = n < 8 ? same4(known, p) && same4(known + n - 4, p + n - 4)
                      : same8(known, p) && same8(known + n - 8, p + n - 8);
    return same ? (enum sip_header)h : SIP_H_OTHER;
}

enum sip_header sip_header_of(sv name)
{
    return sip_is_token(name) ? lookup(name.p, name.n) : SIP_H_OTHER;
}

/* ---- lines ---- */

/* The next control at p or later, or the end; p stands behind a control of the run popped last. */
static const char *next_control(struct sip_pass *s, const char *p)
{
    if (p < s->end && sip_is_control(*p))
        return p;
    p = sip_pop_run(&s->runs);
    return p ? p : s->end;
}

static inline bool is_crlf(const struct sip_pass *s, const char *p)
{
    return s->end - p >= 2 && p[0] == '\r' && p[1] == '\n';
}

static inline bool is_fold(const struct sip_pass *s, const char *crlf)
{
    return s->end - crlf > 2 && (crlf[2] == ' ' || crlf[2] == '\t');
}

bool sip_read_line(struct sip_pass *s, const char *p, struct sip_line *ret_line)
{
    struct sip_line *l = ret_line;
    *l = (struct sip_line){.from = s->p};
    for (; p < s->end; p = next_control(s, p)) {
        if (is_crlf(s, p)) {
            if (!is_fold(s, p)) {
                l->end = p;
                s->p = p + 2;
                return true;
            }
            if (!l->fold)
                l->fold = p;
            p += 2;
            continue;
        }
        if (*p == '\r' && s->end - p == 1) {
            p = s->end;
            break;
        }
        if (*p == '\r' || *p == '\n') {
            sip_fail(s, ERR_SYNTAX, p, 400, "Bare CR or LF");
            return false;
        }
        const char **seen = *p == '\t' ? &l->tab : &l->control;
        if (!*seen)
            *seen = p;
        p++;
    }
    sip_fail(s, ERR_SYNTAX, p, 400, "Header section does not end");
    return false;
}

/* ---- fields ---- */

/* Fields whose values hold quoted strings in which RFC 3261 lets a quoted pair be any octet but CR
 * and LF. */
static bool holds_display_name(enum sip_header h)
{
    switch ((int)h) {
    case SIP_H_FROM:
    case SIP_H_TO:
    case SIP_H_CONTACT:
    case SIP_H_ROUTE:
    case SIP_H_RECORD_ROUTE:
    case SIP_H_REPLY_TO:
        return true;
    }
    return false;
}

/* A field; text without blanks at its ends is its value. */
static inline void put_field(struct sipmsg_field *f, enum sip_header id, const char *base, sv name,
                             sv text)
{
    f->name = (uint16_t)(name.p - base);
    f->value = (uint16_t)(text.p - base);
    f->value_n = (uint16_t)text.n;
    f->next = SIPMSG_NONE;
    f->name_n = (uint8_t)name.n;
    f->id = (uint8_t)id;
    f->flags = f->spare = 0;
}

/* Hangs the ith field behind those of its id. */
static void chain_field(struct sip_pass *s, uint16_t i, enum sip_header id, const char *name)
{
    if (header_kinds[id] == SIP_ONE)
        sip_fail(s, ERR_SYNTAX, name, 400, "Header field given twice");
    s->fields[s->last[id]].next = i;
}

/* The next field; false when there are too many. */
static bool add_field(struct sip_pass *s, enum sip_header id, sv name, sv text)
{
    struct sipmsg *m = s->m;
    if (m->count == SIPMSG_HEADERS_MAX) {
        sip_fail(s, ERR_TOOBIG, name.p, 513, "Too many header fields");
        return false;
    }
    if (sipmsg_has(m, id))
        chain_field(s, m->count, id, name.p);
    else
        m->first[id] = m->count;
    s->last[id] = m->count;
    put_field(&s->fields[m->count++], id, m->text.p, name, text);
    return true;
}

/* A name that holds other marks, or that no colon follows at once: *ret_colon is NULL when it is none. */
static enum sip_header read_name(struct sip_pass *s, const char *from, const char *end,
                                 size_t *ret_name_n, const char **ret_colon)
{
    const char *p = sip_span(from, end, SC_TOKEN);
    *ret_name_n = (size_t)(p - from);
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    *ret_colon = NULL;
    if (*ret_name_n == 0 || p == end || *p != ':')
        sip_fail(s, ERR_SYNTAX, p, 400, "Header field without a name");
    else if (*ret_name_n > UINT8_MAX)
        sip_fail(s, ERR_TOOBIG, from, 400, "Header field name too long");
    else
        *ret_colon = p;
    return *ret_colon ? lookup(from, *ret_name_n) : SIP_H_OTHER;
}

/* A line in any of its forms. */
static void read_field(struct sip_pass *s, const struct sip_line *l)
{
    size_t name_n;
    const char *colon, *end = l->end;
    enum sip_header id = read_name(s, l->from, end, &name_n, &colon);
    if (!colon)
        return;
    const char *p = sip_lws(colon + 1, end);
    while (end > p && sip_is_blank(end[-1]))
        end--;
    sv text = {p, (size_t)(end - p)};
    if (l->control && (l->control < p || !holds_display_name(id) || !sip_text_clean(text)))
        sip_fail(s, ERR_SYNTAX, l->control, 400, "Control character in header section");
    else if (add_field(s, id, (sv){l->from, name_n}, text) && l->fold)
        s->fields[s->m->count - 1].flags = SIPMSG_FOLDED;
}

/* Lines as nearly all are: "name: value" and a CR LF, each in one piece. Returns the first line that
 * is of another form, or the blank line; *ret_stop is its first control, or NULL if that was not
 * looked for. */
static const char *read_usual_fields(struct sip_pass *s, const char *from, const char **ret_stop)
{
    struct sipmsg *m = s->m;
    struct sip_runs runs = s->runs;
    const struct octet_map map = m->map;
    unsigned count = m->count;
    struct sipmsg_field *f = &s->fields[count];
    const char *stop, *end = s->end;
    for (;; from = stop + 2) {
        stop = sip_pop_run(&runs);
        if (!stop || end - stop < 3 || memcmp(stop, "\r\n", 2) != 0)
            break;
        char next = stop[2];
        if (((unsigned char)next <= ' ' && next != '\r') || next == 0x7f) /* a fold, or a control */
            break;
        /* a plain run before a colon is a name: all of it is token */
        const char *colon = octets_plain_end(&map, from), *p = colon + 1;
        size_t name_n = (size_t)(colon - from);
        if (*colon != ':' || name_n - 1 >= UINT8_MAX || count == SIPMSG_HEADERS_MAX)
            break;
        p += *p == ' ';
        if ((unsigned char)*p <= ' ' || (unsigned char)stop[-1] <= ' ')
            break;
        enum sip_header id = lookup(from, name_n);
        if (sipmsg_has(m, id))
            chain_field(s, (uint16_t)count, id, from);
        else
            m->first[id] = (uint16_t)count;
        s->last[id] = (uint16_t)count++;
        put_field(f++, id, map.base, (sv){from, name_n}, (sv){p, (size_t)(stop - p)});
        if (next == '\r') {
            from = stop + 2;
            stop = NULL;
            break;
        }
    }
    *ret_stop = stop;
    s->runs = runs;
    m->count = (uint16_t)count;
    return from;
}

bool sip_read_fields(struct sip_pass *s)
{
    for (;;) {
        struct sip_line l;
        const char *stop = NULL;
        if (s->p < s->end && !sip_is_control(*s->p))
            s->p = read_usual_fields(s, s->p, &stop);
        stop = stop ? stop : next_control(s, s->p);
        if (is_crlf(s, stop) && stop == s->p) {
            s->p += 2;
            return true;
        }
        if (!sip_read_line(s, stop, &l))
            return false;
        read_field(s, &l);
    }
}
