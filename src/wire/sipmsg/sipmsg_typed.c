/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_typed.c: typed values, parsed on first use and remembered with their outcome. */
#include "sipmsg/sipmsg_priv.h"
#include "mem/arena.h"

/* All addresses of one header. */
struct addr_list {
    struct addr_list *next;
    struct sip_addr *addrs;
    size_t n;
    enum sip_header id;
    enum err rc;
};

enum slot { URI, VIA, VIAS, FROM, TO, CSEQ, CALL_ID, SLOTS };

/* The lists that every message is asked for have a place; others are chained. */
enum { CONTACT, ROUTE, RECORD_ROUTE, PATH, PLACES };

struct sipmsg_memo {
    bool known[SLOTS], listed[PLACES];
    uint8_t rc[SLOTS]; /* enum err */
    struct uri uri;
    struct sip_via via;
    struct sip_via *vias;
    size_t vias_n;
    struct sip_addr from, to;
    struct sip_cseq cseq;
    struct addr_list places[PLACES], *others;
};

static inline enum err memo_of(struct sipmsg *m, struct sipmsg_memo **ret_memo)
{
    if (!m->memo) {
        struct sipmsg_memo *memo = arena_alloc(m->arena, sizeof(*memo));
        if (!memo)
            return ERR_NOMEM;
        memset(memo->known, 0, sizeof(memo->known));
        memset(memo->listed, 0, sizeof(memo->listed));
        memo->others = NULL;
        m->memo = memo;
    }
    *ret_memo = m->memo;
    return ERR_OK;
}

static inline enum err note(struct sipmsg_memo *memo, enum slot slot, enum err rc)
{
    memo->known[slot] = rc != ERR_NOMEM; /* memory may come back */
    memo->rc[slot] = (uint8_t)rc;
    return rc;
}

static enum err find_uri(struct sipmsg *m, struct uri *ret_uri)
{
    const char *p = m->uri_text.p, *end = p + m->uri_text.n;
    if (m->uri_text.n > URI_MAX)
        return ERR_TOOBIG;
    if (uri_read_usual(&m->map, p, end, ret_uri) == end)
        return ERR_OK;
    TRY(uri_read(&p, end, ret_uri));
    return p == end ? ERR_OK : ERR_SYNTAX;
}

enum err sipmsg_uri(struct sipmsg *m, const struct uri **ret_uri)
{
    struct sipmsg_memo *memo;
    if (!m->request)
        return ERR_NOTFOUND;
    TRY(memo_of(m, &memo));
    if (!memo->known[URI])
        (void)note(memo, URI, find_uri(m, &memo->uri));
    *ret_uri = &memo->uri;
    return (enum err)memo->rc[URI];
}

static enum err find_via(struct sipmsg *m, struct sip_via *ret_via)
{
    if (!sipmsg_has(m, SIP_H_VIA))
        return ERR_NOTFOUND;
    sv value = sipmsg_value(m, SIP_H_VIA);
    const char *end = value.p + value.n;
    if (sip_via_usual(&m->map, value.p, end, ret_via))
        return ERR_OK;
    return sip_via_read(&value.p, end, ret_via);
}

enum err sipmsg_via(struct sipmsg *m, const struct sip_via **ret_via)
{
    struct sipmsg_memo *memo;
    TRY(memo_of(m, &memo));
    if (!memo->known[VIA] && memo->known[VIAS] && !memo->rc[VIAS]) {
        *ret_via = memo->vias;
        return ERR_OK;
    }
    if (!memo->known[VIA])
        (void)note(memo, VIA, find_via(m, &memo->via));
    *ret_via = &memo->via;
    return (enum err)memo->rc[VIA];
}

const struct sip_via *sip_known_via(const struct sipmsg *m)
{
    const struct sipmsg_memo *memo = m->memo;
    if (memo && memo->known[VIAS] && !memo->rc[VIAS])
        return memo->vias;
    return memo && memo->known[VIA] && !memo->rc[VIA] ? &memo->via : NULL;
}

const struct sip_addr *sip_known_to(const struct sipmsg *m)
{
    const struct sipmsg_memo *memo = m->memo;
    return memo && memo->known[TO] && !memo->rc[TO] ? &memo->to : NULL;
}

/* Values of one header while they are read: an array that doubles, so that the arena holds at most
 * twice its size. */
struct list {
    struct sipmsg *m;
    enum sip_header id;
    size_t size, n, room;
    char *values;
};

/* Room for one more: at first for as many as there are fields, since most have one value. */
static enum err grow(struct list *l)
{
    size_t room = 2 * l->room;
    if (l->n == SIPMSG_LIST_MAX)
        return ERR_TOOBIG;
    if (!room)
        for (uint16_t i = l->m->first[l->id]; i != SIPMSG_NONE && room < SIPMSG_LIST_MAX; room++)
            i = l->m->fields[i].next;
    char *values = arena_alloc(l->m->arena, room * l->size);
    if (!values)
        return ERR_NOMEM;
    if (l->n)
        memcpy(values, l->values, l->n * l->size);
    l->values = values;
    l->room = room;
    return ERR_OK;
}

/* The value at p, which may have one blank before it; returns where it ends. */
static inline const char *read_value(const struct list *l, const char *p, const char *end,
                                     void *slot, enum err *ret_rc)
{
    const struct octet_map *map = &l->m->map;
    const char *from = p + (*p == ' ');
    const char *stop = l->id == SIP_H_VIA ? sip_via_usual(map, from, end, slot)
                                          : sip_addr_usual(map, from, end, slot);
    if (stop)
        return stop;
    *ret_rc = l->id == SIP_H_VIA ? sip_via_read(&p, end, slot)
                                 : sip_addr_read(&p, end, l->id == SIP_H_CONTACT, slot);
    return p;
}

/* One field with one value, as nearly always; false: there are more, or it is of another form. */
static inline bool read_only_value(struct list *l)
{
    const struct sipmsg_field *f = &l->m->fields[l->m->first[l->id]];
    const char *p = l->m->text.p + f->value, *end = p + f->value_n, *stop;
    if (f->next != SIPMSG_NONE || !(l->values = arena_alloc(l->m->arena, l->size)))
        return false;
    l->room = 1;
    stop = l->id == SIP_H_VIA ? sip_via_usual(&l->m->map, p, end, (void *)l->values)
                              : sip_addr_usual(&l->m->map, p, end, (void *)l->values);
    l->n = stop == end;
    return stop == end;
}

/* All values of all fields. Both readers stop at a comma that is neither quoted nor in brackets, as
 * sipmsg_next does. */
static enum err read_values(struct list *l)
{
    const struct sipmsg *m = l->m;
    enum err rc = ERR_OK;
    for (uint16_t i = m->first[l->id]; i != SIPMSG_NONE; i = m->fields[i].next) {
        const char *p = m->text.p + m->fields[i].value, *end = p + m->fields[i].value_n;
        for (;; p++) {
            if (l->n == l->room || l->n == SIPMSG_LIST_MAX)
                TRY(grow(l));
            p = read_value(l, p, end, l->values + l->n * l->size, &rc);
            TRY(rc);
            l->n++;
            if (p == end)
                break;
        }
    }
    return ERR_OK;
}

static enum err find_vias(struct sipmsg *m, struct sip_via **ret_vias, size_t *ret_n)
{
    struct list l = {.m = m, .id = SIP_H_VIA, .size = sizeof(struct sip_via)};
    if (!sipmsg_has(m, SIP_H_VIA))
        return ERR_NOTFOUND;
    if (!read_only_value(&l))
        TRY(read_values(&l));
    *ret_vias = (struct sip_via *)(void *)l.values;
    *ret_n = l.n;
    return ERR_OK;
}

enum err sipmsg_vias(struct sipmsg *m, const struct sip_via **ret_vias, size_t *ret_n)
{
    struct sipmsg_memo *memo;
    TRY(memo_of(m, &memo));
    if (!memo->known[VIAS])
        (void)note(memo, VIAS, find_vias(m, &memo->vias, &memo->vias_n));
    if (memo->rc[VIAS])
        return (enum err)memo->rc[VIAS];
    *ret_vias = memo->vias;
    *ret_n = memo->vias_n;
    return ERR_OK;
}

static enum err find_addr(struct sipmsg *m, enum sip_header h, struct sip_addr *ret_addr)
{
    sv value = sipmsg_value(m, h);
    const char *p = value.p, *end = p + value.n;
    const char *stop = sip_addr_usual(&m->map, p, end, ret_addr);
    if (stop == end)
        return ERR_OK;
    TRY(sip_addr_read(&p, end, false, ret_addr));
    return p == end ? ERR_OK : ERR_SYNTAX;
}

static enum err single_addr(struct sipmsg *m, enum sip_header h, enum slot slot,
                            const struct sip_addr **ret_addr)
{
    struct sipmsg_memo *memo;
    if (!sipmsg_has(m, h))
        return ERR_NOTFOUND;
    TRY(memo_of(m, &memo));
    struct sip_addr *addr = slot == FROM ? &memo->from : &memo->to;
    if (!memo->known[slot])
        (void)note(memo, slot, find_addr(m, h, addr));
    *ret_addr = addr;
    return (enum err)memo->rc[slot];
}

enum err sipmsg_from(struct sipmsg *m, const struct sip_addr **ret_addr)
{
    return single_addr(m, SIP_H_FROM, FROM, ret_addr);
}

enum err sipmsg_to(struct sipmsg *m, const struct sip_addr **ret_addr)
{
    return single_addr(m, SIP_H_TO, TO, ret_addr);
}

/* Digits, one blank, and for a request the very method of its start line; false: another form. */
static bool read_usual_cseq(const struct sipmsg *m, sv value, struct sip_cseq *ret)
{
    sv method = m->method_text;
    size_t digits = value.n - method.n - 1;
    if (!m->request || value.n < method.n + 2 || digits > 9 || value.p[digits] != ' ' ||
        memcmp(value.p + digits + 1, method.p, method.n) != 0)
        return false;
    uint32_t number = 0;
    for (size_t i = 0; i < digits; i++) {
        unsigned digit = (unsigned)(unsigned char)value.p[i] - '0';
        if (digit > 9)
            return false;
        number = number * 10 + digit;
    }
    *ret = (struct sip_cseq){number, m->method, {value.p + digits + 1, method.n}};
    return true;
}

static enum err find_cseq(const struct sipmsg *m, struct sip_cseq *ret)
{
    sv value = sipmsg_value(m, SIP_H_CSEQ);
    return read_usual_cseq(m, value, ret) ? ERR_OK : sip_cseq_parse(value, ret);
}

enum err sipmsg_cseq(struct sipmsg *m, const struct sip_cseq **ret_cseq)
{
    struct sipmsg_memo *memo;
    if (!sipmsg_has(m, SIP_H_CSEQ))
        return ERR_NOTFOUND;
    TRY(memo_of(m, &memo));
    if (!memo->known[CSEQ])
        (void)note(memo, CSEQ, find_cseq(m, &memo->cseq));
    *ret_cseq = &memo->cseq;
    return (enum err)memo->rc[CSEQ];
}

/* callid = word [ "@" word ] */
static bool is_call_id(const struct octet_map *map, sv s)
{
    const char *end = s.p + s.n, *p = sip_run(map, s.p, end, SC_WORD);
    if (p == s.p || p == end)
        return p > s.p;
    return *p == '@' && end - p > 1 && sip_run(map, p + 1, end, SC_WORD) == end;
}

enum err sipmsg_call_id(struct sipmsg *m, sv *ret_call_id)
{
    struct sipmsg_memo *memo;
    if (!sipmsg_has(m, SIP_H_CALL_ID))
        return ERR_NOTFOUND;
    TRY(memo_of(m, &memo));
    sv value = sipmsg_value(m, SIP_H_CALL_ID);
    if (!memo->known[CALL_ID])
        (void)note(memo, CALL_ID, is_call_id(&m->map, value) ? ERR_OK : ERR_SYNTAX);
    *ret_call_id = value;
    return (enum err)memo->rc[CALL_ID];
}

/* As many digits as always fit, and nothing else. */
static bool read_digits(sv text, uint32_t *ret)
{
    uint32_t value = 0;
    if (text.n - 1 >= 9)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        unsigned digit = (unsigned)(unsigned char)text.p[i] - '0';
        if (digit > 9)
            return false;
        value = value * 10 + digit;
    }
    *ret = value;
    return true;
}

enum err sipmsg_number(struct sipmsg *m, enum sip_header h, uint32_t *ret_value)
{
    uint64_t value;
    uint32_t small;
    if (!sipmsg_has(m, h))
        return ERR_NOTFOUND;
    sv text = sipmsg_value(m, h);
    if (read_digits(text, &small) && (h != SIP_H_MAX_FORWARDS || small <= 255)) {
        *ret_value = small;
        return ERR_OK;
    }
    /* these three have parameters or a comment behind the number */
    if (h == SIP_H_SESSION_EXPIRES || h == SIP_H_MIN_SE || h == SIP_H_RETRY_AFTER) {
        size_t n = sv_chr(text, ';'), comment = sv_chr(text, '(');
        text = sv_trim(sv_sub(text, 0, n < comment ? n : comment));
    }
    /* RFC 3261 §20.22: Max-Forwards is an integer in the range 0-255 */
    TRY(sv_u64(text, h == SIP_H_MAX_FORWARDS ? 255 : UINT32_MAX, &value));
    *ret_value = (uint32_t)value;
    return ERR_OK;
}

static enum err parse_addrs(struct sipmsg *m, enum sip_header h, struct addr_list *list)
{
    struct list l = {.m = m, .id = h, .size = sizeof(struct sip_addr)};
    list->id = h;
    list->rc = read_only_value(&l) ? ERR_OK : read_values(&l);
    list->addrs = (struct sip_addr *)(void *)l.values;
    list->n = l.n;
    return list->rc;
}

static unsigned place_of(enum sip_header h)
{
    switch ((int)h) {
    case SIP_H_CONTACT:
        return CONTACT;
    case SIP_H_ROUTE:
        return ROUTE;
    case SIP_H_RECORD_ROUTE:
        return RECORD_ROUTE;
    case SIP_H_PATH:
        return PATH;
    }
    return PLACES;
}

/* The list of a header that is there, read now or before; NULL: out of memory. */
static const struct addr_list *addrs_of(struct sipmsg *m, struct sipmsg_memo *memo,
                                        enum sip_header h)
{
    struct addr_list *list;
    unsigned place = place_of(h);
    if (place < PLACES) {
        list = &memo->places[place];
        if (!memo->listed[place])
            memo->listed[place] = parse_addrs(m, h, list) != ERR_NOMEM;
        return memo->listed[place] ? list : NULL;
    }
    for (list = memo->others; list && list->id != h;)
        list = list->next;
    if (list)
        return list;
    list = arena_alloc(m->arena, sizeof(*list));
    if (!list || parse_addrs(m, h, list) == ERR_NOMEM)
        return NULL;
    list->next = memo->others;
    memo->others = list;
    return list;
}

enum err sipmsg_addrs(struct sipmsg *m, enum sip_header h, const struct sip_addr **ret_addrs,
                      size_t *ret_n)
{
    struct sipmsg_memo *memo;
    if (!sipmsg_has(m, h))
        return ERR_NOTFOUND;
    TRY(memo_of(m, &memo));
    const struct addr_list *list = addrs_of(m, memo, h);
    if (!list || list->rc)
        return list ? list->rc : ERR_NOMEM;
    *ret_addrs = list->addrs;
    *ret_n = list->n;
    return ERR_OK;
}
