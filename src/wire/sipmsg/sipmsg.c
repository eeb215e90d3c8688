/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg.c: pass one, and access to what it found. */
#include "sipmsg/sipmsg_priv.h"

/* ---- start line ---- */

static bool has_version_shape(sv s)
{
    return s.n > 4 && SIP_IS_WORD(((sv){s.p, 3}), "sip") && s.p[3] == '/';
}

/* "SIP" "/" 1*DIGIT "." 1*DIGIT, any case. Only 2.0 is spoken here. */
static void check_version(struct sip_pass *s, sv version)
{
    sv number = sv_sub(version, 4, version.n);
    size_t dot = sv_chr(number, '.');
    uint64_t part;
    if (sv_eq(number, SV("2.0")))
        return;
    if (sv_u64(sv_sub(number, 0, dot), UINT64_MAX, &part) == ERR_SYNTAX ||
        sv_u64(sv_sub(number, dot + 1, number.n), UINT64_MAX, &part) == ERR_SYNTAX)
        sip_fail(s, ERR_SYNTAX, version.p, 400, "Bad SIP version");
    else
        sip_fail(s, ERR_SYNTAX, version.p, 505, "Version Not Supported");
}

static void read_status_line(struct sip_pass *s, sv line)
{
    struct sipmsg *m = s->m;
    size_t sp = sv_chr(line, ' ');
    sv rest = sv_sub(line, sp + 1, line.n);
    uint64_t status = 0;
    check_version(s, sv_sub(line, 0, sp));
    if (rest.n < 4 || rest.p[3] != ' ' || sv_u64(sv_sub(rest, 0, 3), 699, &status) || status < 100)
        sip_fail(s, ERR_SYNTAX, rest.p, 0, "Bad status code");
    m->status = (uint16_t)status;
    m->reason = sv_sub(rest, 4, rest.n);
}

static void read_request_line(struct sip_pass *s, sv line)
{
    struct sipmsg *m = s->m;
    const char *token_end = sip_run(&m->map, line.p, line.p + line.n, SC_TOKEN);
    size_t sp = (size_t)(token_end - line.p);
    m->request = true;
    if (sp == 0 || sp == line.n || *token_end != ' ') {
        sp = sv_chr(line, ' ');
        if (sp < line.n || !sip_is_token(line))
            sip_fail(s, ERR_SYNTAX, line.p, 400, "Bad method");
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
        sip_fail(s, ERR_SYNTAX, line.p + line.n, 400, "Bad request line");
    /* RFC 3261 §7.1: no LWS but a single SP between the elements, none behind the last. */
    if (!sip_find_usual_uri(m)) {
        size_t blank = sv_chr(m->uri_text, ' ');
        if (m->uri_text.n == 0 || blank < m->uri_text.n)
            sip_fail(s, ERR_SYNTAX, m->uri_text.p + blank, 400, "Blank in request line");
    }
    if (!usual && !has_version_shape(version))
        sip_fail(s, ERR_SYNTAX, version.p, 400, "Bad request line");
    else if (!usual)
        check_version(s, version);
    if (m->uri_text.n > URI_MAX)
        sip_fail(s, ERR_TOOBIG, m->uri_text.p + URI_MAX, 414, "Request-URI Too Long");
}

/* The first line, as it mostly is: without controls, and without a fold. */
static bool read_usual_line(struct sip_pass *s, const char *stop, struct sip_line *ret_line)
{
    if (!s->bits.blank || memcmp(stop, "\r\n", 2) != 0 || (unsigned char)stop[2] <= ' ')
        return false;
    *ret_line = (struct sip_line){.from = s->p, .end = stop};
    s->p = stop + 2;
    return true;
}

static bool read_start_line(struct sip_pass *s)
{
    struct sip_line l;
    size_t stop = sip_pop_run(&s->runs);
    const char *at = stop == SIZE_MAX ? s->end : s->p + stop;
    if (!read_usual_line(s, at, &l) && !sip_read_line(s, at, &l))
        return false;
    sv text = {l.from, (size_t)((l.fold ? l.fold : l.end) - l.from)};
    if (has_version_shape(text))
        read_status_line(s, text);
    else
        read_request_line(s, text);
    /* a Reason-Phrase may hold HTAB; nothing else in a start line may */
    bool tab = l.tab && l.tab < text.p + text.n && (s->m->request || l.tab < s->m->reason.p);
    if (l.fold || l.control || tab)
        sip_fail(s, ERR_SYNTAX,
                 l.control ? l.control
                 : l.fold  ? l.fold
                           : l.tab,
                 400, "Control character in start line");
    return true;
}

/* RFC 3261 §18.3: octets beyond Content-Length are dropped, fewer are an error; without one the
 * body ends with the datagram. */
static void read_content_length(struct sip_pass *s)
{
    struct sipmsg *m = s->m;
    if (!sipmsg_has(m, SIP_H_CONTENT_LENGTH))
        return;
    const struct sipmsg_field *f = &s->fields[m->first[SIP_H_CONTENT_LENGTH]];
    sv value = {m->text.p + f->value, f->value_n};
    uint32_t digits;
    uint64_t n;
    enum err rc = ERR_OK;
    if (sip_read_digits(value, &digits))
        n = digits;
    else
        rc = sv_u64(value, UINT32_MAX, &n);
    if (rc) {
        sip_fail(s, rc, value.p, 400, "Bad Content-Length");
        return;
    }
    m->known.numbers[SIP_H_CONTENT_LENGTH - SIP_H_MAX_FORWARDS] = (int64_t)n;
    if (n > m->text.n - m->body_at)
        sip_fail(s, ERR_SYNTAX, value.p, 400, "Body shorter than Content-Length");
    else
        m->text.n = m->body_at + (size_t)n;
}

static void read_all(struct sip_pass *s)
{
    struct sipmsg *m = s->m;
    size_t most = m->text.n < SIPMSG_SECTION_MAX ? m->text.n : SIPMSG_SECTION_MAX;
    s->end = s->p + most;
    size_t bits_n = OCTETS_ROOM(most) * sizeof(s->bits.odd[0]);
    m->memo = arena_alloc(m->arena, sizeof(*m->memo) + bits_n);
    if (!m->memo) {
        sip_fail(s, ERR_NOMEM, s->p, 503, "Out of memory");
        return;
    }
    memset(m->memo->rc, ERR_OK, sizeof(m->memo->rc));
    m->memo->others = NULL;
    s->bits.odd = (uint64_t *)(void *)(m->memo + 1);
    octets_scan(s->p, most, &s->bits);
    m->map = (struct octet_map){s->p, s->bits.odd};
    s->runs = (struct sip_runs){0, (size_t)-64, s->bits.runs, s->bits.runs + s->bits.words};
    if (!read_start_line(s) || !sip_read_fields(s)) {
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
    m->known.uri = NULL;
    m->known.via = m->known.vias = NULL;
    m->known.from = m->known.to = NULL;
    m->known.cseq = NULL;
    m->known.call_id = SV_NONE;
    for (unsigned i = 0; i < SIPMSG_LISTS; i++)
        m->known.lists[i].addrs = NULL;
    for (unsigned i = 0; i < SIPMSG_NUMBERS; i++)
        m->known.numbers[i] = -1;
    m->memo = NULL;
    m->map = (struct octet_map){m->text.p, NULL};
    memset(m->first, 0xff, sizeof(m->first));
}

/* Only the fields seen are kept: their number is known now. */
static void keep_fields(struct sip_pass *s)
{
    struct sipmsg *m = s->m;
    m->fields = arena_alloc(m->arena, m->count * sizeof(m->fields[0]));
    if (m->fields) {
        memcpy(m->fields, s->fields, m->count * sizeof(m->fields[0]));
        return;
    }
    m->count = 0;
    memset(m->first, 0xff, sizeof(m->first));
    s->rc = ERR_OK;
    sip_fail(s, ERR_NOMEM, m->text.p, 503, "Out of memory");
}

enum err sipmsg_parse(sv text, struct arena *a, struct sipmsg *ret_msg, struct sipmsg_fault *reterr)
{
    struct sip_pass s;
    struct sipmsg *m = ret_msg;
    start_message(m, text, a);
    s.m = m;
    s.rc = ERR_OK;
    s.p = m->text.p;
    if (m->text.n > UINT32_MAX)
        sip_fail(&s, ERR_TOOBIG, s.p, 513, "Message Too Large");
    else
        read_all(&s);
    keep_fields(&s);
    if (s.rc && !m->request)
        s.fault.status = 0;
    if (s.rc && reterr)
        *reterr = s.fault;
    return s.rc;
}

/* ---- access ---- */

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
