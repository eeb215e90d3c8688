/* SPDX-License-Identifier: MIT */
/* dnsmsg/dnsmsg_print.c: queries and answers as octets. Spec RFC 1035 §4.1. Names are not
 * compressed. */
#include "dnsmsg/dnsmsg.h"

#include "dnsmsg/dnsmsg_priv.h"

static void put_u16(struct buf *b, uint16_t v)
{
    uint8_t octets[] = {(uint8_t)(v >> 8), (uint8_t)v};
    buf_mem(b, octets, sizeof octets);
}

static void put_u32(struct buf *b, uint32_t v)
{
    put_u16(b, (uint16_t)(v >> 16));
    put_u16(b, (uint16_t)v);
}

static void put_header(struct buf *b, uint16_t id, uint16_t flags, const uint16_t counts[static 4])
{
    put_u16(b, id);
    put_u16(b, flags);
    for (size_t i = 0; i < 4; i++)
        put_u16(b, counts[i]);
}

static enum err put_name(struct buf *b, sv name)
{
    uint8_t wire[DNS_NAME_MAX];
    size_t n;
    TRY(dns_name_wire(name, wire, &n));
    buf_mem(b, wire, n);
    return ERR_OK;
}

static enum err put_question(struct buf *b, sv name, uint16_t type)
{
    TRY(put_name(b, name));
    put_u16(b, type);
    put_u16(b, DNS_CLASS_IN);
    return ERR_OK;
}

static enum err put_char_string(struct buf *b, sv s)
{
    if (s.n > UINT8_MAX)
        return ERR_TOOBIG;
    buf_char(b, (char)s.n);
    buf_put(b, s);
    return ERR_OK;
}

static enum err put_data(struct buf *b, const struct dns_rr *rr)
{
    switch (rr->type) {
    case DNS_A:
        buf_mem(b, rr->ip, 4);
        return ERR_OK;
    case DNS_AAAA:
        buf_mem(b, rr->ip, 16);
        return ERR_OK;
    case DNS_CNAME:
        return put_name(b, rr->cname);
    case DNS_SRV:
        put_u16(b, rr->srv.priority);
        put_u16(b, rr->srv.weight);
        put_u16(b, rr->srv.port);
        return put_name(b, rr->srv.target);
    case DNS_NAPTR:
        put_u16(b, rr->naptr.order);
        put_u16(b, rr->naptr.preference);
        TRY(put_char_string(b, rr->naptr.flags));
        TRY(put_char_string(b, rr->naptr.service));
        TRY(put_char_string(b, rr->naptr.regexp));
        return put_name(b, rr->naptr.replacement);
    case DNS_SOA:
        break;
    }
    return ERR_UNSUPPORTED;
}

static enum err put_record(struct buf *b, const struct dns_rr *rr)
{
    enum { DATA_MAX = 4 + 3 * (1 + UINT8_MAX) + DNS_NAME_MAX }; /* NAPTR, the largest */
    char mem[DATA_MAX];
    struct buf data;
    buf_init(&data, mem, sizeof mem);
    TRY(put_data(&data, rr));
    TRY(data.rc);
    TRY(put_name(b, rr->name));
    put_u16(b, (uint16_t)rr->type);
    put_u16(b, DNS_CLASS_IN);
    put_u32(b, rr->ttl_s);
    put_u16(b, (uint16_t)data.n);
    buf_put(b, buf_sv(&data));
    return ERR_OK;
}

/* The SOA that carries a negative TTL; its names are the root. */
static void put_soa(struct buf *b, uint32_t ttl_s)
{
    buf_char(b, 0);
    put_u16(b, DNS_SOA);
    put_u16(b, DNS_CLASS_IN);
    put_u32(b, ttl_s);
    put_u16(b, 1 + 1 + 5 * 4);
    put_u16(b, 0); /* MNAME, RNAME */
    for (unsigned field = 0; field < 4; field++)
        put_u32(b, 0);
    put_u32(b, ttl_s); /* MINIMUM */
}

enum err dnsmsg_print_query(struct buf *b, uint16_t id, sv name, enum dns_type type)
{
    enum { RD = 0x0100 };
    char mem[DNS_HEADER + DNS_NAME_MAX + 4];
    struct buf query;
    buf_init(&query, mem, sizeof mem);
    put_header(&query, id, RD, (uint16_t[]){1, 0, 0, 0});
    TRY(put_question(&query, name, (uint16_t)type));
    buf_put(b, buf_sv(&query));
    return b->rc;
}

enum err dnsmsg_print_answer(struct buf *b, const struct dnsmsg *m)
{
    enum { QR = 0x8000, TC = 0x0200, RD = 0x0100, RA = 0x0080, RCODE = 0x000f };
    size_t from = b->n;
    if (m->n > DNSMSG_RRS_MAX)
        return ERR_TOOBIG;
    uint16_t flags = RD | RA | (m->response ? QR : 0) | (m->truncated ? TC : 0);
    flags |= m->rcode & RCODE;
    bool asked = sv_present(m->question), soa = m->negative_ttl_s > 0;
    put_header(b, m->id, flags, (uint16_t[]){asked, (uint16_t)m->n, soa, 0});
    if (asked)
        TRY(put_question(b, m->question, m->question_type));
    for (size_t i = 0; i < m->n; i++)
        TRY(put_record(b, &m->rrs[i]));
    if (soa)
        put_soa(b, m->negative_ttl_s);
    TRY(b->rc);
    return b->n - from > UINT16_MAX ? ERR_TOOBIG : ERR_OK;
}
