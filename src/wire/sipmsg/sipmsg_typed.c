/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_typed.c: typed values, parsed on first use and remembered with their outcome. */
#include "sipmsg/sipmsg_priv.h"
#include "mem/arena.h"

/* All addresses of another header than the usual ones. */
struct sip_more_addrs {
    struct sip_more_addrs *next;
    struct sip_addrs found;
    enum sip_header id;
    enum err rc;
};

/* Whether a value is read only once says its place: how it was not good. Memory may come back. */
static inline enum err note(struct sipmsg *m, unsigned slot, enum err rc)
{
    if (rc != ERR_NOMEM)
        m->memo->rc[slot] = (uint8_t)rc;
    return rc;
}

static inline enum err known_fault(const struct sipmsg *m, unsigned slot)
{
    return (enum err)m->memo->rc[slot];
}

/* The usual form was tried by pass one. */
static enum err find_uri(const struct sipmsg *m, struct uri *ret_uri)
{
    const char *p = m->uri_text.p, *end = p + m->uri_text.n;
    if (m->uri_text.n > URI_MAX)
        return ERR_TOOBIG;
    TRY(uri_read(&p, end, ret_uri));
    return p == end ? ERR_OK : ERR_SYNTAX;
}

enum err sipmsg_read_uri(struct sipmsg *m, const struct uri **ret_uri)
{
    if (!m->request)
        return ERR_NOTFOUND;
    TRY(known_fault(m, SLOT_URI));
    TRY(note(m, SLOT_URI, find_uri(m, &m->memo->uri)));
    *ret_uri = m->known.uri = &m->memo->uri;
    return ERR_OK;
}

static enum err find_via(struct sipmsg *m, struct sip_via *ret_via)
{
    sv value = sipmsg_value(m, SIP_H_VIA);
    const char *end = value.p + value.n;
    if (sip_via_usual(&m->map, value.p, end, ret_via))
        return ERR_OK;
    return sip_via_read(&value.p, end, ret_via);
}

enum err sipmsg_read_via(struct sipmsg *m, const struct sip_via **ret_via)
{
    if (!sipmsg_has(m, SIP_H_VIA))
        return ERR_NOTFOUND;
    TRY(known_fault(m, SLOT_VIA));
    TRY(note(m, SLOT_VIA, find_via(m, &m->memo->via)));
    *ret_via = m->known.via = &m->memo->via;
    return ERR_OK;
}

/* Values of one header while they are read: an array that doubles, so that the arena holds at most
 * twice its size. */
struct list {
    size_t n, room;
    char *values;
};

/* Room at first for as many as there are fields, since most have one value. */
static inline enum err start_list(struct list *l, const struct sipmsg *m, uint16_t field,
                                  size_t size)
{
    l->n = l->room = 0;
    do
        l->room++;
    while ((field = m->fields[field].next) != SIPMSG_NONE && l->room < SIPMSG_LIST_MAX);
    l->values = arena_alloc(m->arena, l->room * size);
    return l->values ? ERR_OK : ERR_NOMEM;
}

/* Room for more when it is full. */
static __attribute__((noinline)) enum err grow(struct list *l, const struct sipmsg *m, size_t size)
{
    if (l->n == SIPMSG_LIST_MAX)
        return ERR_TOOBIG;
    char *values = arena_alloc(m->arena, 2 * l->room * size);
    if (!values)
        return ERR_NOMEM;
    l->values = memcpy(values, l->values, l->n * size);
    l->room *= 2;
    return ERR_OK;
}

/* All values of all fields of a header that is there. Both readers stop at a comma that is neither quoted
 * nor in brackets, as sipmsg_next does. */
static inline __attribute__((always_inline)) enum err
read_values(struct sipmsg *m, enum sip_header h, struct list *ret)
{
    const bool vias = h == SIP_H_VIA;
    const size_t size = vias ? sizeof(struct sip_via) : sizeof(struct sip_addr);
    struct list l;
    TRY(start_list(&l, m, m->first[h], size));
    for (uint16_t i = m->first[h]; i != SIPMSG_NONE; i = m->fields[i].next) {
        const char *p = m->text.p + m->fields[i].value, *end = p + m->fields[i].value_n;
        for (;; p = sip_lws(p + 1, end)) {
            if (l.n == l.room || l.n == SIPMSG_LIST_MAX)
                TRY(grow(&l, m, size));
            void *slot = l.values + l.n * size;
            const char *stop =
                vias ? sip_via_usual(&m->map, p, end, slot) : sip_addr_usual(&m->map, p, end, slot);
            if (stop)
                p = stop;
            else
                TRY(vias ? sip_via_read(&p, end, slot)
                         : sip_addr_read(&p, end, h == SIP_H_CONTACT, slot));
            l.n++;
            if (p == end)
                break;
        }
    }
    *ret = l;
    return ERR_OK;
}

/* One Via that was not read yet, as often; false: there are more, or it is of another form. */
static inline bool read_only_via(struct sipmsg *m)
{
    const struct sipmsg_field *f = &m->fields[m->first[SIP_H_VIA]];
    const char *p = m->text.p + f->value, *end = p + f->value_n;
    return !m->known.via && f->next == SIPMSG_NONE &&
           sip_via_usual(&m->map, p, end, &m->memo->via) == end;
}

static __attribute__((noinline)) enum err find_vias(struct sipmsg *m)
{
    struct list l;
    TRY(read_values(m, SIP_H_VIA, &l));
    m->known.vias = (struct sip_via *)(void *)l.values;
    m->known.vias_n = l.n;
    return ERR_OK;
}

enum err sipmsg_read_vias(struct sipmsg *m, const struct sip_via **ret_vias, size_t *ret_n)
{
    if (!sipmsg_has(m, SIP_H_VIA))
        return ERR_NOTFOUND;
    TRY(known_fault(m, SLOT_VIAS));
    if (read_only_via(m)) {
        m->known.vias = &m->memo->via;
        m->known.vias_n = 1;
    } else {
        TRY(note(m, SLOT_VIAS, find_vias(m)));
    }
    *ret_vias = m->known.via = m->known.vias;
    *ret_n = m->known.vias_n;
    return ERR_OK;
}

static inline enum err find_addr(struct sipmsg *m, enum sip_header h, struct sip_addr *ret_addr)
{
    sv value = sipmsg_value(m, h);
    const char *p = value.p, *end = p + value.n;
    const char *stop = sip_addr_usual(&m->map, p, end, ret_addr);
    if (stop == end)
        return ERR_OK;
    TRY(sip_addr_read(&p, end, false, ret_addr));
    return p == end ? ERR_OK : ERR_SYNTAX;
}

enum err sipmsg_read_from(struct sipmsg *m, const struct sip_addr **ret_addr)
{
    if (!sipmsg_has(m, SIP_H_FROM))
        return ERR_NOTFOUND;
    TRY(known_fault(m, SLOT_FROM));
    TRY(note(m, SLOT_FROM, find_addr(m, SIP_H_FROM, &m->memo->from)));
    *ret_addr = m->known.from = &m->memo->from;
    return ERR_OK;
}

enum err sipmsg_read_to(struct sipmsg *m, const struct sip_addr **ret_addr)
{
    if (!sipmsg_has(m, SIP_H_TO))
        return ERR_NOTFOUND;
    TRY(known_fault(m, SLOT_TO));
    TRY(note(m, SLOT_TO, find_addr(m, SIP_H_TO, &m->memo->to)));
    *ret_addr = m->known.to = &m->memo->to;
    return ERR_OK;
}

/* Up to nine digits, one blank, and the very method of the request's start line, or one of plain octets;
 * false: another form. */
static inline bool read_usual_cseq(const struct sipmsg *m, sv value, struct sip_cseq *ret)
{
    const char *p = value.p, *end = p + value.n;
    uint32_t number = 0;
    for (unsigned digit; (digit = (unsigned)(unsigned char)*p - '0') <= 9; p++)
        number = number * 10 + digit;
    if ((size_t)(p - value.p) - 1 >= 9 || *p++ != ' ' || p >= end)
        return false;
    ret->number = number;
    ret->method_text = (sv){p, (size_t)(end - p)};
    if (m->request && m->method_text.n == ret->method_text.n && ret->method_text.n <= 8 &&
        (sip_load8(p) ^ sip_load8(m->method_text.p)) << (64 - 8 * ret->method_text.n) == 0) {
        ret->method = m->method;
        return true;
    }
    if (octets_plain_end(&m->map, p) != end)
        return false;
    ret->method = sip_method_of(ret->method_text);
    return true;
}

static enum err find_cseq(const struct sipmsg *m, struct sip_cseq *ret)
{
    sv value = sipmsg_value(m, SIP_H_CSEQ);
    return read_usual_cseq(m, value, ret) ? ERR_OK : sip_cseq_parse(value, ret);
}

enum err sipmsg_read_cseq(struct sipmsg *m, const struct sip_cseq **ret_cseq)
{
    if (!sipmsg_has(m, SIP_H_CSEQ))
        return ERR_NOTFOUND;
    TRY(known_fault(m, SLOT_CSEQ));
    TRY(note(m, SLOT_CSEQ, find_cseq(m, &m->memo->cseq)));
    *ret_cseq = m->known.cseq = &m->memo->cseq;
    return ERR_OK;
}

/* callid = word [ "@" word ] */
static inline bool is_call_id(const struct octet_map *map, sv s)
{
    const char *end = s.p + s.n, *p = octets_plain_end(map, s.p);
    if (p > s.p && p < end && *p == '@') /* as mostly: of plain octets */
        p = octets_plain_end(map, p + 1);
    if (p == end && s.n && end[-1] != '@')
        return true;
    p = sip_run(map, s.p, end, SC_WORD);
    if (p == s.p || p == end)
        return p > s.p;
    return *p == '@' && end - p > 1 && sip_run(map, p + 1, end, SC_WORD) == end;
}

enum err sipmsg_read_call_id(struct sipmsg *m, sv *ret_call_id)
{
    if (!sipmsg_has(m, SIP_H_CALL_ID))
        return ERR_NOTFOUND;
    sv value = sipmsg_value(m, SIP_H_CALL_ID);
    *ret_call_id = value;
    TRY(known_fault(m, SLOT_CALL_ID));
    TRY(note(m, SLOT_CALL_ID, is_call_id(&m->map, value) ? ERR_OK : ERR_SYNTAX));
    m->known.call_id = value;
    return ERR_OK;
}

/* RFC 3261 §20.22: Max-Forwards is an integer in the range 0-255 */
static uint32_t number_max(enum sip_header h)
{
    return h == SIP_H_MAX_FORWARDS ? 255 : UINT32_MAX;
}

/* A number of any form. */
static enum err find_number(sv text, enum sip_header h, uint32_t *ret_value)
{
    uint64_t value;
    /* these three have parameters or a comment behind the number */
    if (h == SIP_H_SESSION_EXPIRES || h == SIP_H_MIN_SE || h == SIP_H_RETRY_AFTER) {
        size_t n = sv_chr(text, ';'), comment = sv_chr(text, '(');
        text = sv_trim(sv_sub(text, 0, n < comment ? n : comment));
    }
    TRY(sv_u64(text, number_max(h), &value));
    *ret_value = (uint32_t)value;
    return ERR_OK;
}

enum err sipmsg_read_number(struct sipmsg *m, enum sip_header h, uint32_t *ret_value)
{
    const unsigned i = (unsigned)h - SIP_H_MAX_FORWARDS;
    sv text = sipmsg_value(m, h);
    uint32_t value;
    if (!sip_read_digits(text, &value) || value > number_max(h))
        TRY(find_number(text, h, &value));
    if (i < SIPMSG_NUMBERS)
        m->known.numbers[i] = value;
    *ret_value = value;
    return ERR_OK;
}

/* One value, as mostly. False: there are more, or it is of another form. */
static inline bool find_only_addr(struct sipmsg *m, enum sip_header h, struct sip_addrs *ret)
{
    const struct sipmsg_field *f = &m->fields[m->first[h]];
    const char *p = m->text.p + f->value, *end = p + f->value_n;
    struct sip_addr *addr = f->next == SIPMSG_NONE ? arena_alloc(m->arena, sizeof(*addr)) : NULL;
    if (!addr || sip_addr_usual(&m->map, p, end, addr) != end)
        return false;
    *ret = (struct sip_addrs){addr, 1};
    return true;
}

static __attribute__((noinline)) enum err find_addrs(struct sipmsg *m, enum sip_header h,
                                                     struct sip_addrs *ret)
{
    struct list l;
    TRY(read_values(m, h, &l));
    *ret = (struct sip_addrs){(struct sip_addr *)(void *)l.values, l.n};
    return ERR_OK;
}

/* The same, remembered in a chain. */
static __attribute__((noinline)) enum err find_more_addrs(struct sipmsg *m, enum sip_header h,
                                                          struct sip_addrs *ret)
{
    struct sip_more_addrs *more = m->memo->others;
    while (more && more->id != h)
        more = more->next;
    if (!more) {
        more = arena_alloc(m->arena, sizeof(*more));
        if (!more)
            return ERR_NOMEM;
        *more = (struct sip_more_addrs){.next = m->memo->others, .id = h};
        more->rc = find_addrs(m, h, &more->found);
        if (more->rc == ERR_NOMEM)
            return ERR_NOMEM;
        m->memo->others = more;
    }
    *ret = more->found;
    return more->rc;
}

enum err sipmsg_read_addrs(struct sipmsg *m, enum sip_header h, struct sip_addrs *ret)
{
    unsigned list = (unsigned)h - SIP_H_CONTACT;
    if (list >= SIPMSG_LISTS)
        return find_more_addrs(m, h, ret);
    TRY(known_fault(m, SLOTS + list));
    if (!find_only_addr(m, h, &m->known.lists[list]))
        TRY(note(m, SLOTS + list, find_addrs(m, h, &m->known.lists[list])));
    *ret = m->known.lists[list];
    return ERR_OK;
}

_Static_assert(SIP_H_CONTENT_LENGTH - SIP_H_MAX_FORWARDS == SIPMSG_NUMBERS - 1, "and the numbers");
_Static_assert(SIP_H_PATH - SIP_H_CONTACT == SIPMSG_LISTS - 1, "the lists stand together");
