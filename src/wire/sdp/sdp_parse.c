/* SPDX-License-Identifier: MIT */
/* sdp/sdp_parse.c: from text to a description. Spec RFC 8866 §5, §9.
 *
 *   text ── split ──► lines ── a section is a run of lines ──► count a letter, check its cap,
 *                                                              allocate once, fill
 *   | v o s … a a | m c a a | m a |
 *     session       media[0]  media[1]
 */
#include "sdp/sdp.h"

#include "sdp/sdp_priv.h"

struct line {
    char type;
    sv value; /* behind '=' */
};

struct parse {
    struct arena *arena;
    const struct line *lines;
    size_t n;
    struct sdp_fault fault;
};

/* lines[from .. to-1] */
struct span {
    size_t from, to;
};

static enum err refuse(struct parse *p, size_t line, enum err rc, const char *why)
{
    p->fault = (struct sdp_fault){(uint32_t)line + 1, why};
    return rc;
}

/* As refuse, when rc is an error; the number's own error has its own text. */
static enum err check(struct parse *p, size_t line, enum err rc, const char *why)
{
    if (rc == ERR_OK)
        return ERR_OK;
    return refuse(p, line, rc, rc == ERR_RANGE ? "number outside its range" : why);
}

static enum err take(struct parse *p, size_t count, size_t size, void *ret_array)
{
    void *array = NULL;
    if (count > 0) {
        array = arena_calloc(p->arena, count, size);
        if (!array) {
            p->fault = (struct sdp_fault){0, "out of memory"};
            return ERR_NOMEM;
        }
    }
    memcpy(ret_array, &array, sizeof array);
    return ERR_OK;
}

/* One line of text at number i, without its end. */
static enum err split_line(struct parse *p, size_t i, sv text, struct line *ret_line)
{
    if (!sdp_is_text(text))
        return refuse(p, i, ERR_SYNTAX, "NUL or bare CR");
    if (text.n < 2 || text.p[1] != '=')
        return refuse(p, i, ERR_SYNTAX, text.n ? "not a type letter and '='" : "empty line");
    if (!strchr("vosiuepcbtrzkam", text.p[0]))
        return refuse(p, i, ERR_SYNTAX, "unknown type letter");
    *ret_line = (struct line){text.p[0], sv_sub(text, 2, text.n)};
    return ERR_OK;
}

/* RFC 8866 §5: lines end in CRLF, "parsers SHOULD be tolerant and also accept lines terminated with
 * a single newline character". The last may lack its end; empty lines may follow it. */
static enum err split(struct parse *p, sv text)
{
    while (text.n > 0 && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
        text.n--;
    size_t n = text.n > 0;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == '\n';
    if (n == 0)
        return refuse(p, 0, ERR_SYNTAX, "empty description");
    if (n > SDP_LINES_MAX)
        return refuse(p, SDP_LINES_MAX, ERR_TOOBIG, "too many lines");
    struct line *lines;
    TRY(take(p, n, sizeof *lines, &lines));
    for (size_t i = 0; i < n; i++) {
        size_t end = sv_chr(text, '\n');
        sv line = sv_sub(text, 0, end);
        text = sv_sub(text, end + 1, text.n);
        if (sv_ends(line, SV("\r")))
            line.n--;
        TRY(split_line(p, i, line, &lines[i]));
    }
    p->lines = lines;
    p->n = n;
    return ERR_OK;
}

/* Lines of a type in a span; more than max are refused at the first one too many. */
static enum err count(struct parse *p, struct span at, char type, size_t max, const char *why,
                      size_t *ret_n)
{
    size_t n = 0;
    for (size_t i = at.from; i < at.to; i++)
        if (p->lines[i].type == type && ++n > max)
            return refuse(p, i, max == 1 ? ERR_SYNTAX : ERR_TOOBIG, why);
    *ret_n = n;
    return ERR_OK;
}

/* The value of a line that stands once at most; SV_NONE: absent. */
static enum err once(struct parse *p, struct span at, char type, const char *why, sv *ret_value,
                     size_t *ret_line)
{
    size_t n;
    TRY(count(p, at, type, 1, why, &n));
    *ret_value = SV_NONE;
    for (size_t i = at.from; n > 0 && i < at.to; i++)
        if (p->lines[i].type == type) {
            *ret_value = p->lines[i].value;
            *ret_line = i;
        }
    return ERR_OK;
}

/* Values of repeated lines of plain text. */
static enum err texts(struct parse *p, struct span at, char type, const char *why,
                      const sv **ret_texts, size_t *ret_n)
{
    size_t n, k = 0;
    TRY(count(p, at, type, SDP_CONTACTS_MAX, why, &n));
    sv *list;
    TRY(take(p, n, sizeof *list, &list));
    for (size_t i = at.from; i < at.to; i++)
        if (p->lines[i].type == type)
            list[k++] = p->lines[i].value;
    *ret_texts = list;
    *ret_n = n;
    return ERR_OK;
}

/* A number of any length: "there is no upper limit" (RFC 8866 §5.2, §9: numeric-id). */
static bool is_digits(sv s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n > 0;
}

/* o=, read from the right: the five last fields are fixed, so a user name with blanks, or none, has
 * one reading although RFC 8866 §5.2 forbids it. */
static enum err origin(sv value, struct sdp_origin *ret_origin)
{
    sv user = sv_trim(value), rest;
    size_t at = user.n;
    for (unsigned field = 0; field < 5; field++) {
        while (at > 0 && (user.p[at - 1] == ' ' || user.p[at - 1] == '\t'))
            at--;
        while (at > 0 && user.p[at - 1] != ' ' && user.p[at - 1] != '\t')
            at--;
    }
    rest = sv_sub(user, at, user.n);
    struct sdp_origin o = {.username = sv_trim(sv_sub(user, 0, at))};
    if (!sdp_word_next(&rest, &o.session_id) || !sdp_word_next(&rest, &o.version) ||
        !is_digits(o.session_id) || !is_digits(o.version))
        return ERR_SYNTAX;
    TRY(sdp_conn_take(&rest, false, &o.addr));
    *ret_origin = o;
    return ERR_OK;
}

static enum err conn(struct parse *p, size_t i, struct sdp_conn *ret_conn)
{
    sv rest = p->lines[i].value, more;
    enum err rc = sdp_conn_take(&rest, true, ret_conn);
    if (rc == ERR_OK && sdp_word_next(&rest, &more))
        rc = ERR_SYNTAX;
    return check(p, i, rc, "c= is not network type, address type, address");
}

static enum err bandwidths(struct parse *p, struct span at, const struct sdp_bandwidth **ret_list,
                           size_t *ret_n)
{
    size_t n, k = 0;
    TRY(count(p, at, 'b', SDP_BANDWIDTHS_MAX, "too many b= lines", &n));
    struct sdp_bandwidth *list;
    TRY(take(p, n, sizeof *list, &list));
    for (size_t i = at.from; i < at.to; i++) {
        if (p->lines[i].type != 'b')
            continue;
        sv value = sv_trim(p->lines[i].value);
        size_t colon = sv_chr(value, ':');
        struct sdp_bandwidth *b = &list[k++];
        b->type = sv_sub(value, 0, colon);
        enum err rc = sv_u64(sv_sub(value, colon + 1, value.n), UINT64_MAX, &b->value);
        if (!sdp_is_token(b->type))
            rc = ERR_SYNTAX;
        TRY(check(p, i, rc, "b= is not type:number"));
    }
    *ret_list = list;
    *ret_n = n;
    return ERR_OK;
}

static enum err attributes(struct parse *p, struct span at, struct sdp_attrs *ret_attrs)
{
    size_t n, k = 0;
    TRY(count(p, at, 'a', SDP_ATTRS_MAX, "too many a= lines", &n));
    struct sdp_attr *list;
    TRY(take(p, n, sizeof *list, &list));
    enum sdp_direction first = SDP_DIRECTIONS, d;
    for (size_t i = at.from; i < at.to; i++) {
        if (p->lines[i].type != 'a')
            continue;
        sv text = p->lines[i].value;
        size_t colon = sv_chr(text, ':');
        struct sdp_attr *attr = &list[k++];
        if (colon < text.n)
            attr->value = sv_sub(text, colon + 1, text.n);
        else
            while (text.n > 0 && (text.p[text.n - 1] == ' ' || text.p[text.n - 1] == '\t'))
                colon = --text.n;
        attr->name = sv_sub(text, 0, colon);
        if (!sdp_is_token(attr->name))
            return refuse(p, i, ERR_SYNTAX, "attribute name is not a token");
        /* RFC 8866 §6.7: at most one; two that differ have no one reading */
        if (!sdp_attrs_direction(&(struct sdp_attrs){attr, 1}, &d))
            continue;
        if (first != SDP_DIRECTIONS && first != d)
            return refuse(p, i, ERR_SYNTAX, "two directions");
        first = d;
    }
    *ret_attrs = (struct sdp_attrs){list, n};
    return ERR_OK;
}

/* typed-time: digits and one of d h m s, in seconds (RFC 8866 §5.10). */
static enum err typed_time(sv text, uint64_t max, uint64_t *ret_s)
{
    static const struct {
        char letter;
        uint32_t seconds;
    } units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
    uint64_t unit = 1;
    for (size_t i = 0; text.n > 0 && i < sizeof units / sizeof units[0]; i++)
        if (text.p[text.n - 1] == units[i].letter) {
            unit = units[i].seconds;
            text.n--;
            break;
        }
    TRY(sv_u64(text, max / unit, ret_s));
    *ret_s *= unit;
    return ERR_OK;
}

static size_t words(sv text)
{
    size_t n = 0;
    for (sv word; sdp_word_next(&text, &word);)
        n++;
    return n;
}

static enum err repeat(struct parse *p, size_t i, struct sdp_repeat *r)
{
    sv rest = p->lines[i].value, word;
    size_t n = words(rest);
    if (n < 3)
        return refuse(p, i, ERR_SYNTAX, "r= is not interval, duration, offsets");
    if (n - 2 > SDP_OFFSETS_MAX)
        return refuse(p, i, ERR_TOOBIG, "too many offsets in r=");
    uint64_t *offsets;
    TRY(take(p, n - 2, sizeof *offsets, &offsets));
    for (size_t k = 0; sdp_word_next(&rest, &word); k++) {
        uint64_t *to = k == 0 ? &r->interval_s : k == 1 ? &r->duration_s : &offsets[k - 2];
        TRY(check(p, i, typed_time(word, INT64_MAX, to), "not a time in r="));
    }
    if (r->interval_s == 0)
        return refuse(p, i, ERR_RANGE, "r= repeats every 0 seconds");
    r->offsets_s = offsets;
    r->n_offsets = n - 2;
    return ERR_OK;
}

static enum err zones(struct parse *p, size_t i, struct sdp_time *t)
{
    sv rest = p->lines[i].value, word = SV_NONE;
    size_t n = words(rest);
    if (n == 0 || n % 2 != 0)
        return refuse(p, i, ERR_SYNTAX, "z= is not pairs of time and offset");
    n /= 2;
    if (n > SDP_ZONES_MAX)
        return refuse(p, i, ERR_TOOBIG, "too many adjustments in z=");
    struct sdp_zone *list;
    TRY(take(p, n, sizeof *list, &list));
    for (size_t k = 0; k < n; k++) {
        TRY(check(p, i, sdp_word_u64(&rest, UINT64_MAX, &list[k].at), "not a time in z="));
        bool minus = sdp_word_next(&rest, &word) && word.p[0] == '-';
        uint64_t s;
        enum err rc = typed_time(sv_sub(word, minus, word.n), INT64_MAX, &s);
        TRY(check(p, i, rc, "not an offset in z="));
        list[k].offset_s = minus ? -(int64_t)s : (int64_t)s;
    }
    t->zones = list;
    t->n_zones = n;
    return ERR_OK;
}

/* t= at lines[at.from] with the r= and z= up to the next t=. */
static enum err time_description(struct parse *p, struct span at, struct sdp_time *t)
{
    sv rest = p->lines[at.from].value, more;
    enum err rc = sdp_word_u64(&rest, UINT64_MAX, &t->start);
    if (rc == ERR_OK)
        rc = sdp_word_u64(&rest, UINT64_MAX, &t->stop);
    if (rc == ERR_OK && sdp_word_next(&rest, &more))
        rc = ERR_SYNTAX;
    TRY(check(p, at.from, rc, "t= is not start and stop"));
    size_t n, k = 0, z;
    TRY(count(p, at, 'r', SDP_REPEATS_MAX, "too many r= lines", &n));
    TRY(count(p, at, 'z', 1, "second z=", &z));
    struct sdp_repeat *repeats;
    TRY(take(p, n, sizeof *repeats, &repeats));
    for (size_t i = at.from; i < at.to; i++) {
        if (p->lines[i].type == 'r') {
            TRY(repeat(p, i, &repeats[k++]));
        } else if (p->lines[i].type == 'z') {
            /* RFC 8866 §5.11: z= without a preceding r= is a syntax error */
            if (k == 0)
                return refuse(p, i, ERR_SYNTAX, "z= without r=");
            TRY(zones(p, i, t));
        }
    }
    t->repeats = repeats;
    t->n_repeats = n;
    return ERR_OK;
}

static enum err times(struct parse *p, struct span at, struct sdp *s)
{
    size_t n, k = 0;
    TRY(count(p, at, 't', SDP_TIMES_MAX, "too many t= lines", &n));
    struct sdp_time *list;
    TRY(take(p, n > 0 ? n : 1, sizeof *list, &list));
    for (size_t i = at.from; i < at.to; i++) {
        char type = p->lines[i].type;
        if ((type == 'r' || type == 'z') && k == 0)
            return refuse(p, i, ERR_SYNTAX, "r= or z= without t=");
        if (type != 't')
            continue;
        struct span one = {i, i + 1};
        while (one.to < at.to && p->lines[one.to].type != 't')
            one.to++;
        TRY(time_description(p, one, &list[k++]));
    }
    s->times = list;
    s->n_times = n > 0 ? n : 1;
    return ERR_OK;
}

static enum err session(struct parse *p, struct span at, struct sdp *s)
{
    sv value;
    size_t i = 0;
    TRY(once(p, at, 'v', "second v=", &value, &i));
    if (p->lines[0].type != 'v')
        return refuse(p, 0, ERR_SYNTAX, "does not begin with v=");
    if (!sv_eq(sv_trim(value), SV("0")))
        return refuse(p, 0, ERR_SYNTAX, "version is not 0");
    TRY(once(p, at, 'o', "second o=", &value, &i));
    if (!sv_present(value))
        return refuse(p, at.to - 1, ERR_SYNTAX, "no o= line");
    TRY(check(p, i, origin(value, &s->origin), "o= is not user, id, version, address"));
    TRY(once(p, at, 's', "second s=", &s->name, &i));
    if (s->name.n == 0)
        s->name = SV("-"); /* RFC 8866 §5.3: "MUST NOT be empty" */
    TRY(once(p, at, 'i', "second i=", &s->info, &i));
    TRY(once(p, at, 'u', "second u=", &s->uri, &i));
    TRY(once(p, at, 'k', "second k=", &value, &i));
    TRY(texts(p, at, 'e', "too many e= lines", &s->emails, &s->n_emails));
    TRY(texts(p, at, 'p', "too many p= lines", &s->phones, &s->n_phones));
    TRY(once(p, at, 'c', "second c=", &value, &i));
    if (sv_present(value)) {
        struct sdp_conn *c;
        TRY(take(p, 1, sizeof *c, &c));
        TRY(conn(p, i, c));
        s->conn = c;
    }
    TRY(bandwidths(p, at, &s->bandwidths, &s->n_bandwidths));
    TRY(times(p, at, s));
    return attributes(p, at, &s->attrs);
}

/* m=media port[/ports] proto fmt... */
static enum err media_line(struct parse *p, size_t i, struct sdp_media *m)
{
    static const char why[] = "m= is not media, port, protocol, formats";
    sv rest = p->lines[i].value, port;
    if (!sdp_word_next(&rest, &m->type) || !sdp_word_next(&rest, &port) ||
        !sdp_word_next(&rest, &m->proto) || !sdp_is_token(m->type))
        return refuse(p, i, ERR_SYNTAX, why);
    size_t slash = sv_chr(port, '/');
    uint64_t v, ports = 1;
    TRY(check(p, i, sv_u64(sv_sub(port, 0, slash), UINT16_MAX, &v), why));
    if (slash < port.n) {
        enum err rc = sv_u64(sv_sub(port, slash + 1, port.n), UINT16_MAX, &ports);
        TRY(check(p, i, rc == ERR_OK && ports == 0 ? ERR_RANGE : rc, why));
    }
    m->port = (uint16_t)v;
    m->ports = (uint32_t)ports;
    for (sv proto = m->proto; proto.n > 0;) {
        size_t part = sv_chr(proto, '/');
        if (!sdp_is_token(sv_sub(proto, 0, part)) || part + 1 == proto.n)
            return refuse(p, i, ERR_SYNTAX, why);
        proto = sv_sub(proto, part + 1, proto.n);
    }
    size_t n = words(rest), k = 0;
    if (n > SDP_FORMATS_MAX)
        return refuse(p, i, ERR_TOOBIG, "too many formats");
    /* Refusals of a medium without any format are seen; there is nothing to misread in them. */
    if (n == 0 && m->port != 0)
        return refuse(p, i, ERR_SYNTAX, "m= without a format");
    sv *formats;
    TRY(take(p, n, sizeof *formats, &formats));
    while (k < n && sdp_word_next(&rest, &formats[k]))
        if (!sdp_is_token(formats[k++]))
            return refuse(p, i, ERR_SYNTAX, "format is not a token");
    m->formats = formats;
    m->n_formats = n;
    return ERR_OK;
}

static enum err media(struct parse *p, struct span at, bool session_conn, struct sdp_media *m)
{
    for (size_t i = at.from + 1; i < at.to; i++)
        if (!strchr("icbka", p->lines[i].type))
            return refuse(p, i, ERR_SYNTAX, "session line in a media description");
    TRY(media_line(p, at.from, m));
    sv value;
    size_t line, n, k = 0;
    TRY(once(p, at, 'i', "second i=", &m->info, &line));
    TRY(once(p, at, 'k', "second k=", &value, &line));
    TRY(count(p, at, 'c', SDP_CONNS_MAX, "too many c= lines", &n));
    /* RFC 8866 §5.7: in every media description or at the session level */
    if (n == 0 && !session_conn && m->port != 0)
        return refuse(p, at.from, ERR_SYNTAX, "no c= for this m=");
    struct sdp_conn *conns;
    TRY(take(p, n, sizeof *conns, &conns));
    for (size_t i = at.from; i < at.to; i++)
        if (p->lines[i].type == 'c')
            TRY(conn(p, i, &conns[k++]));
    m->conns = conns;
    m->n_conns = n;
    TRY(bandwidths(p, at, &m->bandwidths, &m->n_bandwidths));
    return attributes(p, at, &m->attrs);
}

static enum err description(struct parse *p, sv text, struct sdp *s)
{
    if (text.n > SDP_MAX) {
        p->fault = (struct sdp_fault){0, "description too long"};
        return ERR_TOOBIG;
    }
    TRY(split(p, text));
    struct span at = {0, 0};
    size_t n;
    TRY(count(p, (struct span){0, p->n}, 'm', SDP_MEDIA_MAX, "too many m= lines", &n));
    while (at.to < p->n && p->lines[at.to].type != 'm')
        at.to++;
    if (at.to == 0)
        return refuse(p, 0, ERR_SYNTAX, "does not begin with v=");
    TRY(session(p, at, s));
    struct sdp_media *list;
    TRY(take(p, n, sizeof *list, &list));
    for (size_t k = 0; k < n; k++) {
        at = (struct span){at.to, at.to + 1};
        while (at.to < p->n && p->lines[at.to].type != 'm')
            at.to++;
        TRY(media(p, at, s->conn != NULL, &list[k]));
    }
    s->media = list;
    s->n_media = n;
    return ERR_OK;
}

enum err sdp_parse(sv text, struct arena *a, struct sdp *ret_sdp, struct sdp_fault *reterr_fault)
{
    struct parse p = {.arena = a};
    struct sdp s = {0};
    enum err rc = description(&p, text, &s);
    if (rc == ERR_OK)
        *ret_sdp = s;
    else if (reterr_fault)
        *reterr_fault = p.fault;
    return rc;
}
