/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_reply.c: responses by RFC 3261 §8.2.6. */
#include "sipmsg/sipmsg_priv.h"

/* Octets from..to of the request. */
static void put_span(struct buf *b, const char *from, const char *to)
{
    buf_put(b, (sv){from, (size_t)(to - from)});
}

static void put_line(struct buf *b, enum sip_header h, sv value)
{
    buf_put(b, sip_header_name(h));
    buf_put(b, SV(": "));
    buf_put(b, value);
    buf_put(b, SV("\r\n"));
}

/* The beginning of a field's line up to its value; false: it is not written as we write it (its
 * compact form, no or more blanks), so the name was put by itself and the value's end, not the
 * line's, is followed by a CR LF. */
static bool begin_line(struct buf *b, const struct sipmsg *req, uint16_t i, const char **ret_from)
{
    const struct sipmsg_field *f = &req->fields[i];
    if (f->name_n > 1 && f->value == f->name + f->name_n + 2u &&
        memcmp(req->text.p + f->name + f->name_n, ": ", 2) == 0 &&
        memcmp(req->text.p + f->value + f->value_n, "\r\n", 2) == 0) {
        *ret_from = req->text.p + f->name;
        return true;
    }
    buf_put(b, sip_header_name((enum sip_header)f->id));
    buf_put(b, SV(": "));
    *ret_from = req->text.p + f->value;
    return false;
}

/* What is left of a line whose value ends at end. */
static void end_line(struct buf *b, bool whole, const char *from, const char *end)
{
    put_span(b, from, whole ? end + 2 : end);
    if (!whole)
        buf_put(b, SV("\r\n"));
}

static void put_field(struct buf *b, const struct sipmsg *req, uint16_t i)
{
    const char *from;
    bool whole = begin_line(b, req, i, &from);
    sv value = sipmsg_field_value(req, i);
    end_line(b, whole, from, value.p + value.n);
}

static void put_all(struct buf *b, const struct sipmsg *req, enum sip_header h)
{
    for (uint16_t i = req->first[h]; i != SIPMSG_NONE; i = req->fields[i].next)
        put_field(b, req, i);
}

static void put_first(struct buf *b, const struct sipmsg *req, enum sip_header h)
{
    if (sipmsg_has(req, h))
        put_field(b, req, req->first[h]);
}

/* The value of received, with the brackets that it may have; what goes out has none. */
static const char *put_received(struct buf *b, const char *at, const struct sip_via *via,
                                sv received)
{
    const char *from = via->received.p, *to = from + via->received.n;
    bool brackets = from[-1] == '[';
    put_span(b, at, from - brackets);
    buf_put(b, received);
    return to + brackets;
}

static const char *put_rport(struct buf *b, const char *at, const struct sip_via *via,
                             uint16_t port)
{
    put_span(b, at, via->rport_text.p);
    buf_char(b, '=');
    buf_u64(b, port);
    return via->rport_text.p + via->rport_text.n;
}

/* The topmost Via from at on, with received and rport filled in (RFC 3261 §18.2.1, RFC 3581 §4);
 * everything else, folds too, as it came. Returns its end. */
static const char *put_top_via(struct buf *b, const char *at, const struct sip_via *via,
                               const struct sip_reply *r)
{
    const char *end = via->text.p + via->text.n;
    bool received = r->received.p && via->received.p, rport = r->rport && via->rport;
    if (rport && (!received || via->rport_text.p < via->received.p)) {
        at = put_rport(b, at, via, r->rport);
        rport = false;
    }
    if (received)
        at = put_received(b, at, via, r->received);
    if (rport)
        at = put_rport(b, at, via, r->rport);
    put_span(b, at, end);
    if (r->received.p && !received) {
        buf_put(b, SV(";received="));
        buf_put(b, r->received);
    }
    return end;
}

/* The topmost Via: what is remembered of it, or read into room. NULL: it cannot be read. */
static const struct sip_via *find_top_via(const struct sipmsg *req, struct sip_via *room)
{
    const struct sip_via *known = req->known.via;
    sv value = sipmsg_value(req, SIP_H_VIA);
    if (known)
        return known;
    return sip_via_read(&value.p, value.p + value.n, room) == ERR_OK ? room : NULL;
}

static void put_vias(struct buf *b, const struct sipmsg *req, const struct sip_reply *r)
{
    struct sip_via room;
    const struct sip_via *via = NULL;
    uint16_t i = req->first[SIP_H_VIA];
    if (i == SIPMSG_NONE)
        return;
    if (r->received.p || r->rport)
        via = find_top_via(req, &room);
    if (via) {
        const char *from;
        bool whole = begin_line(b, req, i, &from);
        sv value = sipmsg_field_value(req, i);
        end_line(b, whole, put_top_via(b, from, via, r), value.p + value.n);
        i = req->fields[i].next;
    }
    for (; i != SIPMSG_NONE; i = req->fields[i].next)
        put_field(b, req, i);
}

/* True: To can be read, and has no tag. */
static bool lacks_tag(const struct sipmsg *req)
{
    struct sip_addr room;
    const struct sip_addr *to = req->known.to;
    if (!to && sip_addr_parse(sipmsg_value(req, SIP_H_TO), false, &room) == ERR_OK)
        to = &room;
    return to && !to->tag.p;
}

/* RFC 3261 §8.2.6.2: a tag is added when To has none. A To that cannot be read goes back untouched. */
static void put_to(struct buf *b, const struct sipmsg *req, const struct sip_reply *r)
{
    const char *from;
    uint16_t i = req->first[SIP_H_TO];
    if (i == SIPMSG_NONE)
        return;
    bool whole = begin_line(b, req, i, &from);
    sv value = sipmsg_field_value(req, i);
    if (r->to_tag.p && lacks_tag(req)) {
        put_span(b, from, value.p + value.n);
        buf_put(b, SV(";tag="));
        buf_put(b, r->to_tag);
        from = value.p + value.n;
    }
    end_line(b, whole, from, value.p + value.n);
}

/* The end of the line that starts at p, its CR LF included; NULL: there is none, or it holds what could
 * start a line of its own. */
static const char *line_end(const char *p, const char *end)
{
    bool odd = false; /* a control that a quoted string may hold */
    for (const char *at = p; (at = sip_next_control(at, end)) < end; at++) {
        if (*at == '\n')
            return NULL;
        if (*at != '\r' || end - at < 2 || at[1] != '\n') {
            odd |= *at != '\t';
            continue;
        }
        if (end - at == 2 || (at[2] != ' ' && at[2] != '\t'))
            return !odd || sip_text_clean((sv){p, (size_t)(at - p)}) ? at + 2 : NULL;
        at += 2;
    }
    return NULL;
}

/* Whole lines: each "name: value CR LF", folds allowed, no blank line. */
static bool are_lines(sv s)
{
    if (!s.p)
        return true;
    for (const char *p = s.p, *end = s.p + s.n; p < end;) {
        const char *stop = sip_span(p, end, SC_TOKEN);
        if (stop == p)
            return false;
        while (stop < end && (*stop == ' ' || *stop == '\t'))
            stop++;
        if (stop == end || *stop != ':')
            return false;
        p = line_end(p, end);
        if (!p)
            return false;
    }
    return true;
}

static enum err check_texts(const struct sip_reply *r)
{
    uint8_t ip[16];
    size_t n;
    if (r->status < 100 || r->status > 699)
        return ERR_STATE;
    if (!sip_text_clean(r->reason) || (r->reason.p && memchr(r->reason.p, '\r', r->reason.n)))
        return ERR_SYNTAX;
    if (r->to_tag.p && !sip_is_token(r->to_tag))
        return ERR_SYNTAX;
    if (r->received.p)
        TRY(uri_host_ip(r->received, ip, &n));
    return are_lines(r->headers) && sip_text_clean(r->content_type) ? ERR_OK : ERR_SYNTAX;
}

enum err sipmsg_reply(struct buf *b, const struct sipmsg *req, const struct sip_reply *r)
{
    TRY(check_texts(r));
    buf_put(b, SV("SIP/2.0 "));
    buf_u64(b, r->status);
    buf_char(b, ' ');
    buf_put(b, r->reason.p ? r->reason : sv_of(sip_reason(r->status)));
    buf_put(b, SV("\r\n"));
    put_vias(b, req, r);
    if (r->record_route)
        put_all(b, req, SIP_H_RECORD_ROUTE);
    put_first(b, req, SIP_H_FROM);
    put_to(b, req, r);
    put_first(b, req, SIP_H_CALL_ID);
    put_first(b, req, SIP_H_CSEQ);
    /* RFC 3261 §8.2.6.1: any Timestamp of the request MUST be copied into the 100 */
    if (r->status == 100)
        put_first(b, req, SIP_H_TIMESTAMP);
    buf_put(b, r->headers);
    if (r->content_type.p)
        put_line(b, SIP_H_CONTENT_TYPE, r->content_type);
    if (r->body.n == 0) {
        buf_put(b, SV("Content-Length: 0\r\n\r\n"));
        return b->rc;
    }
    buf_put(b, SV("Content-Length: "));
    buf_u64(b, r->body.n);
    buf_put(b, SV("\r\n\r\n"));
    buf_put(b, r->body);
    return b->rc;
}
