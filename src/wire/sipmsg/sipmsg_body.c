/* SPDX-License-Identifier: MIT */
/* Which part of a body describes the session: RFC 3261 §7.4, §20.11, §20.12; multipart bodies RFC 5621,
 * RFC 2046 §5.1. Two readings of one body are none: what cannot be told apart is said, never guessed. */
#include "sipmsg/sipmsg_priv.h"

enum { BOUNDARY_MAX = 70 }; /* RFC 2046 §5.1.1 */

static const char too_many[] = "Too Many Body Parts";
static const char two[] = "More Than One Session Description";
static const char sealed[] = "Body Is Signed or Encrypted";
static const char coded[] = "Body Is Encoded";
static const char malformed[] = "Malformed Multipart Body";
static const char untyped[] = "Body Without Content-Type";

/* A body, or a part of one, and what its header says of it; absent: SV_NONE. */
struct entity {
    sv type, disposition, coding, transfer;
    sv text; /* the content */
    sv part; /* with its delimiter, up to the next one; SV_NONE: the whole body */
    sv length;
    bool twice; /* a field came twice */
};

struct search {
    struct sip_description *ret;
    unsigned parts, depth;
};

static bool look(struct search *s, const struct entity *e);

/* ---- lines ---- */

static size_t behind_line(sv text, size_t at)
{
    const char *end = at < text.n ? memchr(text.p + at, '\n', text.n - at) : NULL;
    return end ? (size_t)(end - text.p) + 1 : text.n;
}

/* The end of what stands before the line at `at`: the line end there is the delimiter's (§5.1.1). */
static size_t before_line(sv text, size_t from, size_t at)
{
    if (at > from && text.p[at - 1] == '\n')
        at--;
    if (at > from && text.p[at - 1] == '\r')
        at--;
    return at;
}

struct delimiter {
    size_t from, to; /* of its line, with the line end */
    bool last;
};

static bool is_delimiter(sv line, sv boundary, bool *ret_last)
{
    if (!sv_starts(line, SV("--")) || !sv_starts(sv_sub(line, 2, line.n), boundary))
        return false;
    sv rest = sv_sub(line, 2 + boundary.n, line.n);
    *ret_last = sv_starts(rest, SV("--"));
    return sv_trim(sv_sub(rest, *ret_last ? 2 : 0, rest.n)).n == 0;
}

/* The next delimiter from the line at `at` on; false: none. */
static bool next_delimiter(sv text, size_t at, sv boundary, struct delimiter *ret)
{
    for (size_t end; at < text.n; at = end) {
        end = behind_line(text, at);
        if (is_delimiter(sv_sub(text, at, end), boundary, &ret->last)) {
            ret->from = at;
            ret->to = end;
            return true;
        }
    }
    return false;
}

/* ---- the header of a part ---- */

static void take_field(struct entity *e, sv name, sv value, sv line)
{
    sv *at = NULL;
    if (sv_ieq(name, SV("Content-Type")))
        at = &e->type;
    else if (sv_ieq(name, SV("Content-Disposition")))
        at = &e->disposition;
    else if (sv_ieq(name, SV("Content-Encoding")))
        at = &e->coding;
    else if (sv_ieq(name, SV("Content-Transfer-Encoding")))
        at = &e->transfer;
    else if (sv_ieq(name, SV("Content-Length"))) {
        at = &e->length;
        value = line;
    }
    if (!at)
        return;
    e->twice = e->twice || at->p;
    *at = value;
}

/* Header and content of a part: text runs up to its next delimiter's line end. */
static void read_part(struct entity *e, sv text)
{
    size_t at = 0;
    while (at < text.n) {
        size_t end = behind_line(text, at);
        sv line = sv_sub(text, at, end);
        if (sv_trim(line).n == 0) {
            at = end;
            break;
        }
        while (end < text.n && (text.p[end] == ' ' || text.p[end] == '\t'))
            end = behind_line(text, end);
        line = sv_sub(text, at, end);
        size_t colon = sv_chr(line, ':');
        if (colon < line.n)
            take_field(e, sv_trim(sv_sub(line, 0, colon)), sv_trim(sv_sub(line, colon + 1, line.n)),
                       line);
        at = end;
    }
    e->text = sv_sub(text, at, text.n);
}

/* ---- what it is ---- */

/* "type SLASH subtype *(;param)" */
static bool is_type(sv value, sv type, sv subtype)
{
    sv media = sv_sub(value, 0, sv_chr(value, ';'));
    size_t slash = sv_chr(media, '/');
    return sv_ieq(sv_trim(sv_sub(media, 0, slash)), type) &&
           (!subtype.p || sv_ieq(sv_trim(sv_sub(media, slash + 1, media.n)), subtype));
}

/* It describes the session: RFC 3261 §20.11: so it is when nothing is said of application/sdp. */
static bool for_session(const struct entity *e)
{
    sv what = sv_trim(sv_sub(e->disposition, 0, sv_chr(e->disposition, ';')));
    return !e->disposition.p || sv_ieq(what, SV("session"));
}

static bool is_coded(const struct entity *e)
{
    return (e->coding.n && !sv_ieq(e->coding, SV("identity"))) ||
           (e->transfer.n && !sv_ieq(e->transfer, SV("binary")) &&
            !sv_ieq(e->transfer, SV("8bit")) && !sv_ieq(e->transfer, SV("7bit")));
}

static void hidden(struct search *s, const char *why)
{
    if (!s->ret->why)
        s->ret->why = why;
}

static bool read_boundary(sv type, sv *ret)
{
    size_t semicolon = sv_chr(type, ';');
    sv value;
    if (semicolon >= type.n ||
        !sip_param(sv_sub(type, semicolon + 1, type.n), SV("boundary"), &value))
        return false;
    if (value.n > 1 && value.p[0] == '"')
        value = sv_sub(value, 1, value.n - 1);
    *ret = value;
    return value.n > 0 && value.n <= BOUNDARY_MAX && sv_chr(value, '\\') == value.n;
}

/* True: it holds the description and nothing else. */
static bool look_into(struct search *s, const struct entity *e)
{
    struct delimiter d, next;
    sv boundary, part = SV_NONE;
    unsigned n = 0;
    bool only = false;
    if (!read_boundary(e->type, &boundary) || !next_delimiter(e->text, 0, boundary, &d)) {
        hidden(s, malformed);
        return false;
    }
    if (s->depth == SIPMSG_NESTING_MAX) {
        hidden(s, too_many);
        return false;
    }
    s->depth++;
    for (; !d.last; d = next, n++) {
        bool more = next_delimiter(e->text, d.to, boundary, &next);
        size_t to = more ? before_line(e->text, d.to, next.from) : e->text.n;
        struct entity inner = {.part = sv_sub(e->text, d.from, more ? next.from : e->text.n)};
        if (s->parts++ == SIPMSG_PARTS_MAX) {
            hidden(s, too_many);
            break;
        }
        read_part(&inner, sv_sub(e->text, d.to, to));
        if (look(s, &inner)) {
            only = true;
            part = inner.part;
        }
        if (!more)
            next.last = true;
    }
    s->depth--;
    if (only && n > 1)
        s->ret->part = part;
    return only && n == 1;
}

/* True: it is the description and nothing else. */
static bool look(struct search *s, const struct entity *e)
{
    bool sdp = is_type(e->type, SV("application"), SV("sdp"));
    bool multipart = is_type(e->type, SV("multipart"), SV_NONE);
    bool choice = is_type(e->type, SV("multipart"), SV("alternative"));
    const char *why = NULL;
    if (e->twice) {
        hidden(s, malformed);
        return false;
    }
    if (is_type(e->type, SV("multipart"), SV("signed")) ||
        is_type(e->type, SV("multipart"), SV("encrypted")) ||
        is_type(e->type, SV("application"), SV("pkcs7-mime"))) {
        hidden(s, sealed);
        return false;
    }
    /* RFC 5621 §8.3: all parts of an alternative have its disposition. */
    if ((!sdp && !multipart) || e->text.n == 0 || ((sdp || choice) && !for_session(e)))
        return false;
    if (is_coded(e))
        why = coded;
    else if (sdp && s->ret->text.p)
        why = two;
    if (why) {
        hidden(s, why);
        return false;
    }
    if (multipart)
        return look_into(s, e);
    s->ret->text = e->text;
    s->ret->length = e->length;
    return true;
}

void sipmsg_description(const struct sipmsg *m, struct sip_description *ret)
{
    struct search s = {.ret = ret};
    struct entity e = {
        .type = sipmsg_value(m, SIP_H_CONTENT_TYPE),
        .disposition = sipmsg_value(m, SIP_H_CONTENT_DISPOSITION),
        .coding = sipmsg_value(m, SIP_H_CONTENT_ENCODING),
        .text = sipmsg_body(m),
    };
    *ret = (struct sip_description){.why = NULL};
    if (e.text.n == 0)
        return;
    /* As nearly all write it. */
    if (sv_eq(e.type, SV("application/sdp")) && !e.disposition.p && !e.coding.n) {
        ret->text = e.text;
        return;
    }
    if (!e.type.p)
        ret->why = untyped;
    else
        (void)look(&s, &e);
    if (ret->why)
        ret->text = ret->part = ret->length = SV_NONE;
}
