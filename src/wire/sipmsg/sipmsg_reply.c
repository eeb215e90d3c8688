/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_reply.c: responses by RFC 3261 §8.2.6. */
#include "sipmsg/sipmsg_priv.h"

static void put_name(struct buf *b, enum sip_header h)
{
    buf_put(b, sip_header_name(h));
    buf_put(b, SV(": "));
}

static void put_line(struct buf *b, enum sip_header h, sv value)
{
    put_name(b, h);
    buf_put(b, value);
    buf_put(b, SV("\r\n"));
}

static void put_all(struct buf *b, const struct sipmsg *req, enum sip_header h)
{
    for (uint16_t i = req->first[h]; i != SIPMSG_NONE; i = req->fields[i].next)
        put_line(b, h, sipmsg_field_value(req, i));
}

static void put_first(struct buf *b, const struct sipmsg *req, enum sip_header h)
{
    if (sipmsg_has(req, h))
        put_line(b, h, sipmsg_value(req, h));
}

/* Parameters of the topmost Via with received and rport filled in (RFC 3261 §18.2.1, RFC 3581 §4);
 * everything else, folds too, as it came. */
static void put_via_params(struct buf *b, const struct sip_via *via, const struct sip_reply *r)
{
    const char *at = via->text.p;
    sv rest = via->params, name, value;
    enum err rc;
    bool has_received = false;
    while (sip_param_next(&rest, &name, &value, &rc)) {
        const char *name_end = name.p + name.n;
        if (r->received.p && sv_ieq(name, SV("received"))) {
            has_received = true;
            buf_put(b, (sv){at, (size_t)(value.p - at)});
            buf_put(b, r->received);
            at = value.p + value.n;
        } else if (r->rport && sv_ieq(name, SV("rport"))) {
            buf_put(b, (sv){at, (size_t)(name_end - at)});
            buf_char(b, '=');
            buf_u64(b, r->rport);
            at = value.n ? value.p + value.n : name_end;
        }
    }
    buf_put(b, (sv){at, (size_t)(via->text.p + via->text.n - at)});
    if (r->received.p && !has_received) {
        buf_put(b, SV(";received="));
        buf_put(b, r->received);
    }
}

static void put_vias(struct buf *b, const struct sipmsg *req, const struct sip_reply *r)
{
    for (uint16_t i = req->first[SIP_H_VIA]; i != SIPMSG_NONE; i = req->fields[i].next) {
        sv value = sipmsg_field_value(req, i), top;
        struct sip_via via;
        size_t at = 0;
        enum err rc;
        if (i != req->first[SIP_H_VIA] || (!r->received.p && !r->rport) ||
            !sip_list_next(value, &at, &top, &rc) || sip_via_parse(top, &via)) {
            put_line(b, SIP_H_VIA, value);
            continue;
        }
        put_name(b, SIP_H_VIA);
        put_via_params(b, &via, r);
        /* sip_list_next trimmed nothing in front: a field's value starts with its first octet */
        buf_put(b, sv_sub(value, top.n, value.n));
        buf_put(b, SV("\r\n"));
    }
}

/* RFC 3261 §8.2.6.2: a tag is added when To has none. A To that cannot be read goes back untouched.
 */
static void put_to(struct buf *b, const struct sipmsg *req, const struct sip_reply *r)
{
    struct sip_addr to;
    if (!sipmsg_has(req, SIP_H_TO))
        return;
    sv value = sipmsg_value(req, SIP_H_TO);
    put_name(b, SIP_H_TO);
    buf_put(b, value);
    if (r->to_tag.p && sip_addr_parse(value, false, &to) == ERR_OK && !to.tag.p) {
        buf_put(b, SV(";tag="));
        buf_put(b, r->to_tag);
    }
    buf_put(b, SV("\r\n"));
}

/* Whole lines: each "name: value CR LF", folds allowed, no blank line. */
static bool are_lines(sv s)
{
    if (!s.p)
        return true;
    const char *p = s.p, *end = s.p + s.n;
    while (p < end) {
        const char *stop = p, *name = p;
        while (stop < end && sip_is(*stop, SC_TOKEN))
            stop++;
        if (stop == name)
            return false;
        while (stop < end && (*stop == ' ' || *stop == '\t'))
            stop++;
        if (stop == end || *stop != ':')
            return false;
        do {
            stop = memchr(stop, '\n', (size_t)(end - stop));
            if (!stop || stop[-1] != '\r')
                return false;
            stop++;
        } while (stop < end && (*stop == ' ' || *stop == '\t'));
        if (!sip_text_clean((sv){p, (size_t)(stop - p) - 2}))
            return false;
        p = stop;
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
    buf_put(b, SV("Content-Length: "));
    buf_u64(b, r->body.n);
    buf_put(b, SV("\r\n\r\n"));
    buf_put(b, r->body);
    return b->rc;
}
