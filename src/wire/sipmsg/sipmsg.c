/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg.c: pass one, and access to what it found. */
#include "sipmsg/sipmsg_priv.h"

struct pass {
    struct sipmsg *m;
    const char *p, *end;
    sip_controls_fn *controls;
    const char *block; /* the 64 octets whose controls are known; NULL: none yet */
    uint64_t known;
    enum err rc; /* of the first fault; reading goes on where lines can still be told apart */
    struct sipmsg_fault fault;
    uint16_t last[SIP_HEADERS]; /* field of each id that has a first one */
    struct sipmsg_field fields[SIPMSG_HEADERS_MAX];
};

static void fail(struct pass *s, enum err rc, const char *at, uint16_t status, const char *why)
{
    if (s->rc)
        return;
    s->rc = rc;
    s->fault = (struct sipmsg_fault){(uint32_t)(at - s->m->text.p), status, why};
}

/* Finds the controls of the block at s->block, which may reach beyond the end. */
static void know_block(struct pass *s)
{
    size_t n = (size_t)(s->end - s->block);
    if (n >= 64) {
        s->known = s->controls(s->block);
        return;
    }
    char rest[64];
    memcpy(rest, s->block, n);
    s->known = s->controls(rest) & (((uint64_t)1 << n) - 1);
}

/* The next control octet, once; after the last one the end. */
static inline const char *pop_control(struct pass *s)
{
    while (!s->known) {
        if (s->end - s->block <= 64)
            return s->end;
        s->block += 64;
        know_block(s);
    }
    const char *p = s->block + __builtin_ctzll(s->known);
    s->known &= s->known - 1;
    return p;
}

/* Forgets the LF behind a CR that was popped. */
static inline void drop_lf(struct pass *s)
{
    if (s->known)
        s->known &= s->known - 1;
    else
        (void)pop_control(s);
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
    for (; p < s->end; p = pop_control(s)) {
        if (is_crlf(s, p)) {
            drop_lf(s);
            if (!is_fold(s, p)) {
                l->end = p;
                s->p = p + 2;
                return true;
            }
            if (!l->fold)
                l->fold = p;
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
    const char *token_end = sip_span(line.p, line.p + line.n, SC_TOKEN);
    size_t sp = (size_t)(token_end - line.p), last = line.n;
    m->request = true;
    if (sp == 0 || sp == line.n || *token_end != ' ') {
        sp = sv_chr(line, ' ');
        if (sp < line.n || !sip_is_token(line))
            fail(s, ERR_SYNTAX, line.p, 400, "Bad method");
    }
    m->method_text = sv_sub(line, 0, s->rc ? 0 : sp);
    m->method = sip_method_of(sv_sub(line, 0, sp));
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
    if (!has_version_shape(version))
        fail(s, ERR_SYNTAX, version.p, 400, "Bad request line");
    else
        check_version(s, version);
    if (m->uri_text.n > URI_MAX)
        fail(s, ERR_TOOBIG, m->uri_text.p + URI_MAX, 414, "Request-URI Too Long");
}

static bool read_start_line(struct pass *s)
{
    struct line l;
    if (!read_line(s, pop_control(s), &l))
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

/* The next field, or NULL when there are too many. */
static struct sipmsg_field *add_field(struct pass *s, enum sip_header id, const char *name)
{
    struct sipmsg *m = s->m;
    uint16_t i = m->count;
    if (i == SIPMSG_HEADERS_MAX) {
        fail(s, ERR_TOOBIG, name, 513, "Too many header fields");
        return NULL;
    }
    if (!sipmsg_has(m, id)) {
        m->first[id] = i;
    } else {
        if (sip_header_kind(id) == SIP_ONE)
            fail(s, ERR_SYNTAX, name, 400, "Header field given twice");
        s->fields[s->last[id]].next = i;
    }
    s->last[id] = i;
    m->count++;
    return &s->fields[i];
}

/* A name that no colon follows at once, or that is not known: *ret_colon is NULL when it is none. */
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

/* odd: what the line has besides text; NULL: nothing. */
static inline void read_field(struct pass *s, const char *from, const char *end,
                              const struct line *odd)
{
    /* A known name right before the next colon is read at once, and is all token. */
    const char *colon = sip_near_colon(from, s->end);
    size_t name_n = (size_t)(colon - from);
    enum sip_header id = name_n ? sip_header_lookup((sv){from, name_n}) : SIP_H_OTHER;
    if (id == SIP_H_OTHER) {
        id = read_name(s, from, end, &name_n, &colon);
        if (!colon)
            return;
    }
    const char *p = sip_lws(colon + 1, end);
    while (end > p && sip_is_blank(end[-1]))
        end--;
    if (odd && odd->control &&
        (odd->control < p || !holds_display_name(id) ||
         !sip_text_clean((sv){p, (size_t)(end - p)}))) {
        fail(s, ERR_SYNTAX, odd->control, 400, "Control character in header section");
        return;
    }
    struct sipmsg_field *f = add_field(s, id, from);
    if (!f)
        return;
    const char *base = s->m->text.p;
    f->name = (uint16_t)(from - base);
    f->value = (uint16_t)(p - base);
    f->value_n = (uint16_t)(end - p);
    f->next = SIPMSG_NONE;
    f->name_n = (uint8_t)name_n;
    f->id = (uint8_t)id;
    f->flags = odd && odd->fold ? SIPMSG_FOLDED : 0;
    f->spare = 0;
}

/* True: the blank line was found, p stands at the body. */
static bool read_fields(struct pass *s)
{
    for (;;) {
        struct line l;
        const char *from = s->p, *stop = pop_control(s);
        bool crlf = is_crlf(s, stop), odd = !crlf || is_fold(s, stop);
        if (crlf && stop == from) {
            s->p += 2;
            return true;
        }
        if (!odd) {
            drop_lf(s);
            s->p = stop + 2;
        } else if (read_line(s, stop, &l)) {
            stop = l.end;
        } else {
            return false;
        }
        read_field(s, from, stop, odd ? &l : NULL);
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
    s->block = s->p;
    know_block(s);
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
    memset(m->first, 0xff, sizeof(m->first));
}

enum err sipmsg_parse(sv text, struct arena *a, struct sipmsg *ret_msg, struct sipmsg_fault *reterr)
{
    struct pass s;
    struct sipmsg *m = ret_msg;
    start_message(m, text, a);
    s.m = m;
    s.rc = ERR_OK;
    s.p = m->text.p;
    s.controls = sip_controls();
    if (m->text.n > UINT32_MAX)
        fail(&s, ERR_TOOBIG, s.p, 513, "Message Too Large");
    else
        read_all(&s);
    /* only the fields seen are kept: their number is known now */
    m->fields = arena_alloc(a, m->count * sizeof(m->fields[0]));
    if (m->fields) {
        memcpy(m->fields, s.fields, m->count * sizeof(m->fields[0]));
    } else {
        m->count = 0;
        memset(m->first, 0xff, sizeof(m->first));
        s.rc = ERR_OK;
        fail(&s, ERR_NOMEM, m->text.p, 503, "Out of memory");
    }
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
