/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg.c: pass one, and access to what it found. */
#include "sipmsg/sipmsg_priv.h"

struct pass {
    struct sipmsg *m;
    const char *p, *end;
    struct sipmsg_fault fault;
    enum err rc; /* of the first fault; reading goes on where lines can still be told apart */
    struct sipmsg_field fields[SIPMSG_HEADERS_MAX];
};

static void fail(struct pass *s, enum err rc, const char *at, uint16_t status, const char *why)
{
    if (s->rc)
        return;
    s->rc = rc;
    s->fault = (struct sipmsg_fault){(uint32_t)(at - s->m->text.p), status, why};
}

/* A line of the header section, folds included; p moves behind its CR LF. */
struct line {
    const char *from, *end; /* without the CR LF */
    const char *control; /* first control octet that is neither HTAB nor part of a fold, or NULL */
    bool folded;
};

/* False: no line can be told from here on. */
static bool read_line(struct pass *s, struct line *ret_line)
{
    struct line l = {.from = s->p};
    const char *p = s->p;
    while ((p = sip_next_control(p, s->end)) < s->end) {
        if (*p == '\r' && s->end - p > 1 && p[1] == '\n') {
            if (s->end - p < 3 || (p[2] != ' ' && p[2] != '\t')) {
                l.end = p;
                s->p = p + 2;
                *ret_line = l;
                return true;
            }
            l.folded = true;
            p += 3;
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
        if (*p != '\t' && !l.control)
            l.control = p;
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
    size_t sp = sv_chr(line, ' '), last = line.n;
    m->request = true;
    m->method_text = sv_sub(line, 0, sp);
    m->method = sip_method_of(m->method_text);
    if (!sip_is_token(m->method_text)) {
        fail(s, ERR_SYNTAX, line.p, 400, "Bad method");
        m->method_text = (sv){line.p, 0};
    }
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
    if (!read_line(s, &l))
        return false;
    const char *fold = l.folded ? memchr(l.from, '\r', (size_t)(l.end - l.from)) : NULL;
    sv text = {l.from, (size_t)((fold ? fold : l.end) - l.from)};
    const char *tab = memchr(l.from, '\t', text.n);
    if (has_version_shape(text))
        read_status_line(s, text);
    else
        read_request_line(s, text);
    /* a Reason-Phrase may hold HTAB; nothing else in a start line may */
    if (fold || l.control || (tab && (s->m->request || tab < s->m->reason.p)))
        fail(s, ERR_SYNTAX,
             l.control ? l.control
             : fold    ? fold
                       : tab,
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

static void add_field(struct pass *s, struct sipmsg_field f)
{
    struct sipmsg *m = s->m;
    if (m->count == SIPMSG_HEADERS_MAX) {
        fail(s, ERR_TOOBIG, m->text.p + f.name, 513, "Too many header fields");
        return;
    }
    if (f.id != SIP_H_OTHER && sipmsg_has(m, f.id) && sip_header_kind(f.id) == SIP_ONE)
        fail(s, ERR_SYNTAX, m->text.p + f.name, 400, "Header field given twice");
    uint16_t i = m->count++;
    f.next = SIPMSG_NONE;
    if (m->last[f.id] != SIPMSG_NONE)
        s->fields[m->last[f.id]].next = i;
    else
        m->first[f.id] = i;
    m->last[f.id] = i;
    s->fields[i] = f;
}

static void read_field(struct pass *s, const struct line *l)
{
    const char *p = l->from, *end = l->end;
    while (p < end && sip_is(*p, SC_TOKEN))
        p++;
    sv name = {l->from, (size_t)(p - l->from)};
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    if (name.n == 0 || p == end || *p != ':') {
        fail(s, ERR_SYNTAX, p, 400, "Header field without a name");
        return;
    }
    if (name.n > UINT8_MAX) {
        fail(s, ERR_TOOBIG, l->from, 400, "Header field name too long");
        return;
    }
    p = sip_lws(p + 1, end);
    while (end > p && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r' || end[-1] == '\n'))
        end--;
    enum sip_header id = sip_header_lookup(name);
    sv value = {p, (size_t)(end - p)};
    if (l->control && (l->control < p || !holds_display_name(id) || !sip_text_clean(value))) {
        fail(s, ERR_SYNTAX, l->control, 400, "Control character in header section");
        return;
    }
    const char *base = s->m->text.p;
    add_field(s, (struct sipmsg_field){.name = (uint16_t)(name.p - base),
                                       .value = (uint16_t)(p - base),
                                       .value_n = (uint16_t)value.n,
                                       .name_n = (uint8_t)name.n,
                                       .id = (uint8_t)id,
                                       .flags = l->folded ? SIPMSG_FOLDED : 0});
}

/* True: the blank line was found, p stands at the body. */
static bool read_fields(struct pass *s)
{
    for (;;) {
        if (s->end - s->p >= 2 && s->p[0] == '\r' && s->p[1] == '\n') {
            s->p += 2;
            return true;
        }
        struct line l;
        if (!read_line(s, &l))
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

enum err sipmsg_parse(sv text, struct arena *a, struct sipmsg *ret_msg, struct sipmsg_fault *reterr)
{
    struct pass s;
    struct sipmsg *m = ret_msg;
    *m = (struct sipmsg){.text = text.p ? text : SV(""), .arena = a};
    memset(m->first, 0xff, sizeof(m->first));
    memset(m->last, 0xff, sizeof(m->last));
    s.m = m;
    s.rc = ERR_OK;
    s.p = m->text.p;
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
        memset(m->last, 0xff, sizeof(m->last));
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
