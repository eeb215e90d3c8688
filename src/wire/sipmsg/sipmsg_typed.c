/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_typed.c: typed values, parsed on first use and remembered with their outcome. */
#include "sipmsg/sipmsg_priv.h"
#include "mem/arena.h"

struct addr_list {
    struct addr_list *next;
    struct sip_addr *addrs;
    size_t n;
    enum sip_header id;
    enum err rc;
};

enum { LISTS = 4 }; /* Contact, Route, Record-Route and Path are looked at in every message */

enum slot { URI, VIA, VIAS, FROM, TO, CSEQ, CALL_ID, SLOTS };

struct sipmsg_memo {
    bool known[SLOTS];
    uint8_t rc[SLOTS]; /* enum err */
    struct uri uri;
    struct sip_via via;
    struct sip_via *vias;
    size_t vias_n;
    struct sip_addr from, to;
    struct sip_cseq cseq;
    struct addr_list *lists, room[LISTS]; /* the first ones lie here */
    unsigned used;                        /* of room */
};

static enum err memo_of(struct sipmsg *m, struct sipmsg_memo **ret_memo)
{
    if (!m->memo) {
        struct sipmsg_memo *memo = arena_alloc(m->arena, sizeof(*memo));
        if (!memo)
            return ERR_NOMEM;
        memset(memo->known, 0, sizeof(memo->known));
        memo->lists = NULL;
        memo->used = 0;
        m->memo = memo;
    }
    *ret_memo = m->memo;
    return ERR_OK;
}

static enum err note(struct sipmsg_memo *memo, enum slot slot, enum err rc)
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
    if (m->map.odd && uri_read_usual(&m->map, p, end, ret_uri) == end)
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
    return sip_via_read(sip_map(m), &value.p, value.p + value.n, ret_via);
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

/* All values of all fields. Both readers stop at a comma that is neither quoted nor in brackets, as
 * sipmsg_next does. */
static enum err read_values(struct list *l)
{
    const struct sipmsg *m = l->m;
    const struct octet_map *map = sip_map(m);
    bool star_ok = l->id == SIP_H_CONTACT;
    for (uint16_t i = m->first[l->id]; i != SIPMSG_NONE; i = m->fields[i].next) {
        const char *p = m->text.p + m->fields[i].value, *end = p + m->fields[i].value_n;
        for (;; p++) {
            if (l->n == l->room || l->n == SIPMSG_LIST_MAX)
                TRY(grow(l));
            void *slot = l->values + l->n * l->size;
            TRY(l->id == SIP_H_VIA ? sip_via_read(map, &p, end, slot)
                                   : sip_addr_read(map, &p, end, star_ok, slot));
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
    TRY(sip_addr_read(sip_map(m), &p, end, false, ret_addr));
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

enum err sipmsg_cseq(struct sipmsg *m, const struct sip_cseq **ret_cseq)
{
    struct sipmsg_memo *memo;
    if (!sipmsg_has(m, SIP_H_CSEQ))
        return ERR_NOTFOUND;
    TRY(memo_of(m, &memo));
    if (!memo->known[CSEQ])
        (void)note(memo, CSEQ, sip_cseq_parse(sipmsg_value(m, SIP_H_CSEQ), &memo->cseq));
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
        (void)note(memo, CALL_ID, is_call_id(sip_map(m), value) ? ERR_OK : ERR_SYNTAX);
    *ret_call_id = value;
    return (enum err)memo->rc[CALL_ID];
}

enum err sipmsg_number(struct sipmsg *m, enum sip_header h, uint32_t *ret_value)
{
    uint64_t value;
    if (!sipmsg_has(m, h))
        return ERR_NOTFOUND;
    sv text = sipmsg_value(m, h);
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

static enum err parse_addrs(struct sipmsg *m, struct addr_list *list)
{
    struct list l = {.m = m, .id = list->id, .size = sizeof(struct sip_addr)};
    TRY(read_values(&l));
    list->addrs = (struct sip_addr *)(void *)l.values;
    list->n = l.n;
    return ERR_OK;
}

enum err sipmsg_addrs(struct sipmsg *m, enum sip_header h, const struct sip_addr **ret_addrs,
                      size_t *ret_n)
{
    struct sipmsg_memo *memo;
    struct addr_list *list;
    if (!sipmsg_has(m, h))
        return ERR_NOTFOUND;
    TRY(memo_of(m, &memo));
    for (list = memo->lists; list && list->id != h;)
        list = list->next;
    if (!list) {
        bool here = memo->used < LISTS;
        list = here ? &memo->room[memo->used] : arena_alloc(m->arena, sizeof(*list));
        if (!list)
            return ERR_NOMEM;
        list->id = h;
        list->rc = parse_addrs(m, list);
        if (list->rc == ERR_NOMEM)
            return ERR_NOMEM;
        memo->used += here;
        list->next = memo->lists;
        memo->lists = list;
    }
    if (list->rc)
        return list->rc;
    *ret_addrs = list->addrs;
    *ret_n = list->n;
    return ERR_OK;
}
