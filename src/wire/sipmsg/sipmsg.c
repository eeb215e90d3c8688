/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg.c: pass one, and access to what it found. */
#include "sipmsg/sipmsg_priv.h"

/* The runs of controls that were not popped yet. */
struct runs {
    uint64_t known; /* what is left of the bits of at[0..63] */
    const char *at;
    const uint64_t *next, *stop; /* the bits behind them */
};

struct pass {
    struct sipmsg *m;
    const char *p, *end;
    struct runs runs;
    enum err rc; /* of the first fault; reading goes on where lines can still be told apart */
    struct sipmsg_fault fault;
    uint16_t last[SIP_HEADERS]; /* field of each id that has a first one */
    struct sipmsg_field fields[SIPMSG_HEADERS_MAX];
    struct octets_bits bits;
};

static void fail(struct pass *s, enum err rc, const char *at, uint16_t status, const char *why)
{
    if (s->rc)
        return;
    s->rc = rc;
    s->fault = (struct sipmsg_fault){(uint32_t)(at - s->m->text.p), status, why};
}

/* Where the next run of controls begins, once; after the last one NULL. */
static inline const char *pop_run(struct runs *r)
{
    while (!r->known) {
        if (r->next == r->stop)
            return NULL;
        r->known = *r->next++;
        r->at += 64;
    }
    const char *p = r->at + (unsigned)__builtin_ctzll(r->known);
    r->known &= r->known - 1;
    return p;
}

/* The next control at p or later, or the end; p stands behind a control of the run popped last. */
static const char *next_control(struct pass *s, const char *p)
{
    if (p < s->end && sip_is_control(*p))
        return p;
    p = pop_run(&s->runs);
    return p ? p : s->end;
}

/* A line, folds included; p moves behind its CR LF. */
struct line {
    const char *from, *end; /* without the CR LF */
    const char *control; /* first control octet that is neither HTAB nor part of a fold, or NULL */
    const char *tab, *fold; /* first of each, or NULL */
};

static inline bool is_crlf(const struct pass *s, const char *p)
{
    return s->end - p >= 2 && p[0] == '\r' && p[1] == '\n';
}

static inline bool is_fold(const struct pass *s, const char *crlf)
{
    return s->end - crlf > 2 && (crlf[2] == ' ' || crlf[2] == '\t');
}

/* The line at s->p, whose first control is p. False: no line can be told from here on. */
static bool read_line(struct pass *s, const char *p, struct line *ret_line)
{
    struct line *l = ret_line;
    *l = (struct line){.from = s->p};
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
            fail(s, ERR_SYNTAX, p, 400, "Bare CR or LF");
            return false;
        }
        const char **seen = *p == '\t' ? &l->tab : &l->control;
        if (!*seen)
            *seen = p;
        p++;
    }
    fail(s, ERR_SYNTAX, p, 400, "Header section does not end");
    return false;
}

/* ---- start line ---- */

static bool has_version_shape(sv s)
{
    return s.n > 4 && sv_ieq(sv_sub(s, 0, 4), SV("SIP/"));
}

/* "SIP" "/" 1*DIGIT "." 1*DIGIT, any case. Only 2.0 is spoken here. */
static void check_version(struct pass *s, sv version)
{
    sv number = sv_sub(version, 4, version.n);
    size_t dot = sv_chr(number, '.');
    uint64_t part;
    if (sv_eq(number, SV("2.0")))
        return;
    if (sv_u64(sv_sub(number, 0, dot), UINT64_MAX, &part) == ERR_SYNTAX ||
        sv_u64(sv_sub(number, dot + 1, number.n), UINT64_MAX, &part) == ERR_SYNTAX)
        fail(s, ERR_SYNTAX, version.p, 400, "Bad SIP version");
    else
        fail(s, ERR_SYNTAX, version.p, 505, "Version Not Supported");
}

static void read_status_line(struct pass *s, sv line)
{
    struct sipmsg *m = s->m;
    size_t sp = sv_chr(line, ' ');
    sv rest = sv_sub(line, sp + 1, line.n);
    uint64_t status = 0;
    check_version(s, sv_sub(line, 0, sp));
    if (rest.n < 4 || rest.p[3] != ' ' || sv_u64(sv_sub(rest, 0, 3), 699, &status) || status < 100)
        fail(s, ERR_SYNTAX, rest.p, 0, "Bad status code");
    m->status = (uint16_t)status;
    m->reason = sv_sub(rest, 4, rest.n);
}

static void read_request_line(struct pass *s, sv line)
{
    struct sipmsg *m = s->m;
    const char *token_end = sip_run(&m->map, line.p, line.p + line.n, SC_TOKEN);
    size_t sp = (size_t)(token_end - line.p);
    m->request = true;
    if (sp == 0 || sp == line.n || *token_end != ' ') {
        sp = sv_chr(line, ' ');
        if (sp < line.n || !sip_is_token(line))
            fail(s, ERR_SYNTAX, line.p, 400, "Bad method");
    }
    m->method_text = sv_sub(line, 0, s->rc ? 0 : sp);
    m->method = sip_method_of(sv_sub(line, 0, sp));
    /* as everybody writes it */
    bool usual = line.n > sp + 8 && memcmp(line.p + line.n - 8, " SIP/2.0", 8) == 0;
    size_t last = usual ? line.n - 7 : line.n;
    while (last > sp && line.p[last - 1] != ' ')
        last--;
    sv version = sv_sub(line, last, line.n);
    m->uri_text = sv_sub(line, sp + 1, last > sp + 1 ? last - 1 : sp + 1);
    if (last <= sp + 1)
        fail(s, ERR_SYNTAX, line.p + line.n, 400, "Bad request line");
    /* RFC 3261 §7.1: no LWS but a single SP between the elements, none behind the last. */
    size_t blank = sv_chr(m->uri_text, ' ');
    if (m->uri_text.n == 0 || blank < m->uri_text.n)
        fail(s, ERR_SYNTAX, m->uri_text.p + blank, 400, "Blank in request line");
    if (!usual && !has_version_shape(version))
        fail(s, ERR_SYNTAX, version.p, 400, "Bad request line");
    else if (!usual)
        check_version(s, version);
    if (m->uri_text.n > URI_MAX)
        fail(s, ERR_TOOBIG, m->uri_text.p + URI_MAX, 414, "Request-URI Too Long");
}

static bool read_start_line(struct pass *s)
{
    struct line l;
    const char *stop = pop_run(&s->runs);
    if (!read_line(s, stop ? stop : s->end, &l))
        return false;
    sv text = {l.from, (size_t)((l.fold ? l.fold : l.end) - l.from)};
    if (has_version_shape(text))
        read_status_line(s, text);
    else
        read_request_line(s, text);
    /* a Reason-Phrase may hold HTAB; nothing else in a start line may */
    bool tab = l.tab && l.tab < text.p + text.n && (s->m->request || l.tab < s->m->reason.p);
    if (l.fold || l.control || tab)
        fail(s, ERR_SYNTAX,
             l.control ? l.control
             : l.fold  ? l.fold
                       : l.tab,
             400, "Control character in start line");
    return true;
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

/* A field, the ith; text without blanks at its ends is its value. */
static inline void put_field(struct pass *s, uint16_t i, enum sip_header id, sv name, sv text)
{
    const char *base = s->m->text.p;
    struct sipmsg_field *f = &s->fields[i];
    f->name = (uint16_t)(name.p - base);
    f->value = (uint16_t)(text.p - base);
    f->value_n = (uint16_t)text.n;
    f->next = SIPMSG_NONE;
    f->name_n = (uint8_t)name.n;
    f->id = (uint8_t)id;
    f->flags = f->spare = 0;
    s->last[id] = i;
}

/* Hangs the ith field behind those of its id. */
static void chain_field(struct pass *s, uint16_t i, enum sip_header id, const char *name)
{
    if (sip_header_kind(id) == SIP_ONE)
        fail(s, ERR_SYNTAX, name, 400, "Header field given twice");
    s->fields[s->last[id]].next = i;
}

/* The next field; false when there are too many. */
static bool add_field(struct pass *s, enum sip_header id, sv name, sv text)
{
    struct sipmsg *m = s->m;
    if (m->count == SIPMSG_HEADERS_MAX) {
        fail(s, ERR_TOOBIG, name.p, 513, "Too many header fields");
        return false;
    }
    if (sipmsg_has(m, id))
        chain_field(s, m->count, id, name.p);
    else
        m->first[id] = m->count;
    put_field(s, m->count++, id, name, text);
    return true;
}

/* A name that holds other marks, or that no colon follows at once: *ret_colon is NULL when it is none. */
static enum sip_header read_name(struct pass *s, const char *from, const char *end,
                                 size_t *ret_name_n, const char **ret_colon)
{
    const char *p = sip_span(from, end, SC_TOKEN);
    *ret_name_n = (size_t)(p - from);
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    *ret_colon = NULL;
    if (*ret_name_n == 0 || p == end || *p != ':')
        fail(s, ERR_SYNTAX, p, 400, "Header field without a name");
    else if (*ret_name_n > UINT8_MAX)
        fail(s, ERR_TOOBIG, from, 400, "Header field name too long");
    else
        *ret_colon = p;
    return *ret_colon ? sip_header_lookup((sv){from, *ret_name_n}) : SIP_H_OTHER;
}

/* A line in any of its forms. */
static void read_field(struct pass *s, const struct line *l)
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
        fail(s, ERR_SYNTAX, l->control, 400, "Control character in header section");
    else if (add_field(s, id, (sv){l->from, name_n}, text) && l->fold)
        s->fields[s->m->count - 1].flags = SIPMSG_FOLDED;
}

/* A line as nearly all are: "name: value", CR LF at stop, and no fold behind it. False: nothing was
 * done. */
static inline bool read_usual_field(struct pass *s, const char *from, const char *stop)
{
    struct sipmsg *m = s->m;
    if (s->end - stop < 3 || memcmp(stop, "\r\n", 2) != 0 || stop[2] == ' ' || stop[2] == '\t')
        return false;
    /* a plain run before a colon is a name: all of it is token */
    const char *colon = octets_plain_end(&m->map, from), *p = colon + 1;
    size_t name_n = (size_t)(colon - from);
    if (*colon != ':' || name_n - 1 >= UINT8_MAX)
        return false;
    p += *p == ' ';
    if ((unsigned char)*p <= ' ' || (unsigned char)stop[-1] <= ' ' ||
        m->count == SIPMSG_HEADERS_MAX)
        return false;
    enum sip_header id = sip_header_lookup((sv){from, name_n});
    uint16_t i = m->count++;
    if (sipmsg_has(m, id))
        chain_field(s, i, id, from);
    else
        m->first[id] = i;
    put_field(s, i, id, (sv){from, name_n}, (sv){p, (size_t)(stop - p)});
    return true;
}

/* True: the blank line was found, p stands at the body. */
static bool read_fields(struct pass *s)
{
    for (;;) {
        struct line l;
        struct runs runs = s->runs;
        const char *from = s->p, *stop = NULL;
        while (from < s->end && !sip_is_control(*from)) {
            stop = pop_run(&runs);
            if (!stop || !read_usual_field(s, from, stop))
                break;
            from = stop + 2;
            stop = NULL;
        }
        s->runs = runs;
        s->p = from;
        stop = stop ? stop : next_control(s, from);
        if (is_crlf(s, stop) && stop == from) {
            s->p += 2;
            return true;
        }
        if (!read_line(s, stop, &l))
            return false;
        read_field(s, &l);
    }
}

/* RFC 3261 §18.3: octets beyond Content-Length are dropped, fewer are an error; without one the
 * body ends with the datagram. */
static void read_content_length(struct pass *s)
{
    struct sipmsg *m = s->m;
    if (!sipmsg_has(m, SIP_H_CONTENT_LENGTH))
        return;
    const struct sipmsg_field *f = &s->fields[m->first[SIP_H_CONTENT_LENGTH]];
    sv value = {m->text.p + f->value, f->value_n};
    uint64_t n;
    enum err rc = sv_u64(value, UINT32_MAX, &n);
    if (rc)
        fail(s, rc, value.p, 400, "Bad Content-Length");
    else if (n > m->text.n - m->body_at)
        fail(s, ERR_SYNTAX, value.p, 400, "Body shorter than Content-Length");
    else
        m->text.n = m->body_at + (size_t)n;
}

static void read_all(struct pass *s)
{
    struct sipmsg *m = s->m;
    size_t most = m->text.n < SIPMSG_SECTION_MAX ? m->text.n : SIPMSG_SECTION_MAX;
    s->end = s->p + most;
    octets_scan(s->p, most, &s->bits);
    m->map = (struct octet_map){s->p, s->bits.odd, s->bits.marks};
    s->runs = (struct runs){0, s->p - 64, s->bits.runs, s->bits.runs + s->bits.words};
    if (!read_start_line(s) || !read_fields(s)) {
        if (m->text.n > SIPMSG_SECTION_MAX && s->fault.at >= SIPMSG_SECTION_MAX) {
            s->rc = ERR_TOOBIG;
            s->fault.status = 513;
            s->fault.why = "Header section too large";
        }
        m->body_at = (uint32_t)m->text.n;
        return;
    }
    m->body_at = (uint32_t)(s->p - m->text.p);
    read_content_length(s);
}

/* What nothing was found of yet. */
static void start_message(struct sipmsg *m, sv text, struct arena *a)
{
    m->text = text.p ? text : SV("");
    m->body_at = 0;
    m->request = false;
    m->method = SIP_EXTENSION;
    m->method_text = m->uri_text = m->reason = SV_NONE;
    m->status = 0;
    m->fields = NULL;
    m->count = 0;
    m->arena = a;
    m->memo = NULL;
    m->map = (struct octet_map){m->text.p, NULL, NULL};
    memset(m->first, 0xff, sizeof(m->first));
}

/* Only the fields and the bits seen are kept: their number is known now. */
static void keep(struct pass *s)
{
    struct sipmsg *m = s->m;
    size_t fields = m->count * sizeof(m->fields[0]), bits = 0;
    if (m->map.odd)
        bits = (s->bits.words + 1) * sizeof(m->map.odd[0]);
    char *room = arena_alloc(m->arena, 2 * bits + fields);
    if (room) {
        if (bits) {
            memcpy(room, s->bits.odd, bits);
            memcpy(room + bits, s->bits.marks, bits);
            m->map.odd = (const uint64_t *)(const void *)room;
            m->map.marks = m->map.odd + s->bits.words + 1;
        }
        memcpy(room + 2 * bits, s->fields, fields);
        m->fields = (struct sipmsg_field *)(void *)(room + 2 * bits);
        return;
    }
    m->count = 0;
    m->map.odd = NULL;
    memset(m->first, 0xff, sizeof(m->first));
    s->rc = ERR_OK;
    fail(s, ERR_NOMEM, m->text.p, 503, "Out of memory");
}

enum err sipmsg_parse(sv text, struct arena *a, struct sipmsg *ret_msg, struct sipmsg_fault *reterr)
{
    struct pass s;
    struct sipmsg *m = ret_msg;
    start_message(m, text, a);
    s.m = m;
    s.rc = ERR_OK;
    s.p = m->text.p;
    if (m->text.n > UINT32_MAX)
        fail(&s, ERR_TOOBIG, s.p, 513, "Message Too Large");
    else
        read_all(&s);
    keep(&s);
    if (s.rc && !m->request)
        s.fault.status = 0;
    if (s.rc && reterr)
        *reterr = s.fault;
    return s.rc;
}

/* ---- access ---- */

sv sipmsg_value(const struct sipmsg *m, enum sip_header h)
{
    return sipmsg_has(m, h) ? sipmsg_field_value(m, m->first[h]) : SV_NONE;
}

sv sipmsg_value_named(const struct sipmsg *m, sv name)
{
    enum sip_header id = sip_header_of(name);
    if (id != SIP_H_OTHER)
        return sipmsg_value(m, id);
    for (uint16_t i = m->first[SIP_H_OTHER]; i != SIPMSG_NONE; i = m->fields[i].next)
        if (sv_ieq((sv){m->text.p + m->fields[i].name, m->fields[i].name_n}, name))
            return sipmsg_field_value(m, i);
    return SV_NONE;
}

/* Lists that RFC 3261 §25.1 lets be empty. */
static bool may_be_empty(enum sip_header h)
{
    return h == SIP_H_SUPPORTED || h == SIP_H_ALLOW || h == SIP_H_ACCEPT ||
           h == SIP_H_ACCEPT_ENCODING || h == SIP_H_ACCEPT_LANGUAGE;
}

bool sipmsg_next(struct sip_walk *it, struct sip_item *ret_item)
{
    if (it->rc)
        return false;
    if (!it->begun) {
        it->begun = true;
        it->field = it->m->first[it->id];
    }
    while (it->field != SIPMSG_NONE) {
        sv value = sipmsg_field_value(it->m, it->field), text;
        bool skip = value.n == 0 && may_be_empty(it->id);
        if (!skip && sip_list_next(value, &it->at, &text, &it->rc)) {
            if (++it->count > SIPMSG_LIST_MAX) {
                it->rc = ERR_TOOBIG;
                return false;
            }
            bool only = it->pos == 0 && it->at > value.n;
            *ret_item = (struct sip_item){text, it->field, it->pos++, only};
            return true;
        }
        if (it->rc)
            return false;
        it->field = it->m->fields[it->field].next;
        it->pos = 0;
        it->at = 0;
    }
    return false;
}

size_t sipmsg_count(const struct sipmsg *m, enum sip_header h)
{
    struct sip_walk it = {.m = m, .id = h};
    struct sip_item item;
    size_t n = 0;
    while (sipmsg_next(&it, &item))
        n++;
    return n;
}

bool sipmsg_lists(const struct sipmsg *m, enum sip_header h, sv token)
{
    struct sip_walk it = {.m = m, .id = h};
    struct sip_item item;
    while (sipmsg_next(&it, &item))
        if (sv_ieq(item.text, token))
            return true;
    return false;
}
