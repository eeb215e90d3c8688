/* SPDX-License-Identifier: MIT */
/* dnsmsg/dnsmsg.c: reading an answer. Spec RFC 1035 §4.1, RFC 2782, RFC 3403 §4.1, RFC 3596 §2.2.
 *
 *   header | question | answer records | authority records | additional records
 *     12        0..1     kept by type      only the SOA         not read
 */
#include "dnsmsg/dnsmsg.h"

#include "dnsmsg/dnsmsg_priv.h"

/* The fixed part of a record; data[] is [at, end) of the message. */
struct rr_head {
    size_t name; /* offset of the owner's name */
    uint16_t type, class_;
    uint32_t ttl_s;
    size_t at, end;
};

/* Reads a record's fixed part and steps over its data. */
static enum err read_head(struct dns_reader *r, struct rr_head *ret_head)
{
    struct rr_head h = {.name = r->at};
    uint16_t length;
    TRY(dns_skip_name(r));
    TRY(dns_read_u16(r, &h.type));
    TRY(dns_read_u16(r, &h.class_));
    TRY(dns_read_u32(r, &h.ttl_s));
    TRY(dns_read_u16(r, &length));
    if (r->end - r->at < length)
        return ERR_SYNTAX;
    /* RFC 2181 §8: a TTL with the top bit set is 0 */
    if (h.ttl_s > INT32_MAX)
        h.ttl_s = 0;
    h.at = r->at;
    h.end = r->at += length;
    *ret_head = h;
    return ERR_OK;
}

static enum err name_text(struct dns_reader *r, struct arena *a, sv *ret_name)
{
    struct dns_name name;
    TRY(dns_read_name(r, &name));
    return sv_dup(a, (sv){name.text, name.n}, ret_name);
}

/* <character-string>: a length octet and as many octets (RFC 1035 §3.3). */
static enum err char_string(struct dns_reader *r, struct arena *a, sv *ret_text)
{
    uint8_t n;
    TRY(dns_read_u8(r, &n));
    if (r->end - r->at < n)
        return ERR_SYNTAX;
    TRY(sv_dup(a, (sv){(const char *)r->p + r->at, n}, ret_text));
    r->at += n;
    return ERR_OK;
}

static enum err address(struct dns_reader *r, size_t n, struct dns_rr *rr)
{
    if (r->end - r->at != n)
        return ERR_SYNTAX;
    memcpy(rr->ip, r->p + r->at, n);
    r->at += n;
    return ERR_OK;
}

static enum err read_srv(struct dns_reader *r, struct arena *a, struct dns_rr *rr)
{
    TRY(dns_read_u16(r, &rr->srv.priority));
    TRY(dns_read_u16(r, &rr->srv.weight));
    TRY(dns_read_u16(r, &rr->srv.port));
    return name_text(r, a, &rr->srv.target);
}

static enum err read_naptr(struct dns_reader *r, struct arena *a, struct dns_rr *rr)
{
    TRY(dns_read_u16(r, &rr->naptr.order));
    TRY(dns_read_u16(r, &rr->naptr.preference));
    TRY(char_string(r, a, &rr->naptr.flags));
    TRY(char_string(r, a, &rr->naptr.service));
    TRY(char_string(r, a, &rr->naptr.regexp));
    return name_text(r, a, &rr->naptr.replacement);
}

static bool kept(const struct rr_head *h)
{
    if (h->class_ != DNS_CLASS_IN)
        return false;
    return h->type == DNS_A || h->type == DNS_AAAA || h->type == DNS_CNAME || h->type == DNS_SRV ||
           h->type == DNS_NAPTR;
}

/* A kept record; its data must be used up exactly. */
static enum err read_record(const struct dns_reader *msg, const struct rr_head *h, struct arena *a,
                            struct dns_rr *rr)
{
    struct dns_reader name = {msg->p, h->name, msg->end};
    struct dns_reader data = {msg->p, h->at, h->end};
    TRY(name_text(&name, a, &rr->name));
    rr->type = (enum dns_type)h->type;
    rr->ttl_s = h->ttl_s;
    switch (rr->type) {
    case DNS_A:
        TRY(address(&data, 4, rr));
        break;
    case DNS_AAAA:
        TRY(address(&data, 16, rr));
        break;
    case DNS_CNAME:
        TRY(name_text(&data, a, &rr->cname));
        break;
    case DNS_SRV:
        TRY(read_srv(&data, a, rr));
        break;
    case DNS_NAPTR:
        TRY(read_naptr(&data, a, rr));
        break;
    case DNS_SOA:
        break;
    }
    return data.at == data.end ? ERR_OK : ERR_SYNTAX;
}

static enum err read_answers(struct dns_reader *r, uint16_t count, struct arena *a,
                             struct dnsmsg *m)
{
    struct dns_reader again = *r;
    struct rr_head h;
    size_t n = 0;
    for (uint16_t i = 0; i < count; i++) {
        TRY(read_head(r, &h));
        n += kept(&h);
    }
    if (n > DNSMSG_RRS_MAX)
        return ERR_TOOBIG;
    struct dns_rr *rrs = arena_calloc(a, n, sizeof *rrs);
    if (!rrs)
        return ERR_NOMEM;
    n = 0;
    for (uint16_t i = 0; i < count; i++) {
        TRY(read_head(&again, &h));
        if (kept(&h))
            TRY(read_record(r, &h, a, &rrs[n++]));
    }
    m->rrs = rrs;
    m->n = n;
    return ERR_OK;
}

/* RFC 2308 §5: the lesser of the SOA's own TTL and its MINIMUM field. */
static enum err read_soa(const struct dns_reader *msg, const struct rr_head *h, uint32_t *ret_ttl_s)
{
    struct dns_reader data = {msg->p, h->at, h->end};
    uint32_t v = 0;
    TRY(dns_skip_name(&data));                   /* MNAME */
    TRY(dns_skip_name(&data));                   /* RNAME */
    for (unsigned field = 0; field < 5; field++) /* SERIAL REFRESH RETRY EXPIRE MINIMUM */
        TRY(dns_read_u32(&data, &v));
    if (data.at != data.end)
        return ERR_SYNTAX;
    *ret_ttl_s = v < h->ttl_s ? v : h->ttl_s;
    return ERR_OK;
}

static enum err read_authority(struct dns_reader *r, uint16_t count, struct dnsmsg *m)
{
    struct rr_head h;
    bool found = false;
    for (uint16_t i = 0; i < count; i++) {
        TRY(read_head(r, &h));
        if (found || h.type != DNS_SOA || h.class_ != DNS_CLASS_IN)
            continue;
        TRY(read_soa(r, &h, &m->negative_ttl_s));
        found = true;
    }
    return ERR_OK;
}

enum err dnsmsg_parse(sv octets, struct arena *a, struct dnsmsg *ret_msg)
{
    enum { QR = 0x8000, TC = 0x0200, RCODE = 0x000f };
    struct dns_reader r = {(const uint8_t *)octets.p, 0, octets.n};
    struct dnsmsg m = {0};
    uint16_t flags, questions, answers, authorities, additionals, class_;
    if (octets.n > UINT16_MAX)
        return ERR_TOOBIG;
    TRY(dns_read_u16(&r, &m.id));
    TRY(dns_read_u16(&r, &flags));
    TRY(dns_read_u16(&r, &questions));
    TRY(dns_read_u16(&r, &answers));
    TRY(dns_read_u16(&r, &authorities));
    TRY(dns_read_u16(&r, &additionals));
    m.response = flags & QR;
    m.truncated = flags & TC;
    m.rcode = flags & RCODE;
    /* RFC 9619 §4: one question; refusals may come without it */
    if (questions > 1)
        return ERR_SYNTAX;
    if (questions == 1) {
        TRY(name_text(&r, a, &m.question));
        TRY(dns_read_u16(&r, &m.question_type));
        TRY(dns_read_u16(&r, &class_));
    }
    TRY(read_answers(&r, answers, a, &m));
    TRY(read_authority(&r, authorities, &m));
    *ret_msg = m;
    return ERR_OK;
}
