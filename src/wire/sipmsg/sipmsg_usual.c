/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_usual.c: Vias and addresses as nearly all are written, by the kinds of the octets: runs
 * of plain octets between delimiters, one blank where one is needed, else none but before a ';' or ','
 * and, of a display name, '<', where lines are folded. What is of
 * another form goes the long way (sipmsg_value.c), which knows the whole grammar; what is taken here
 * reads there as the same. No bounds are looked at on the way: each step ends at an odd octet, and
 * behind the end there is one. */
#include "sipmsg/sipmsg_priv.h"

/* Behind the blanks and folds that may stand before a ';', ',' or '<'. end: of the value */
static inline const char *skip_blanks(const char *p, const char *end)
{
    return (unsigned char)*p > ' ' || p >= end ? p : sip_lws(p, end);
}

/* Do the usual parameters stand at p, a ';'? */
static inline bool is_tag(const char *p)
{
    return ((sip_load4(p + 1) ^ sip_load4("tag=")) & ~0x00202020u) == 0;
}

static inline bool is_branch(const char *p)
{
    return ((sip_load8(p) ^ sip_load8(";branch=")) & ~0x0020202020202000u) == 0;
}

/* The plain value at from, which must not be empty, of a parameter that may be given once; its end. */
static inline const char *read_once(const struct octet_map *map, const char *from, sv *slot)
{
    const char *stop = octets_plain_end(map, from);
    if (slot->p || stop == from)
        return NULL;
    *slot = (sv){from, (size_t)(stop - from)};
    return stop;
}

/* ---- Via ---- */

/* "UDP " and the like: the transport and the octet behind its blank. */
static inline const char *read_transport(const char *p, struct sip_via *v)
{
    uint32_t word = sip_load4(p);
    v->transport = word == sip_load4("UDP ")   ? SIP_T_UDP
                   : word == sip_load4("TCP ") ? SIP_T_TCP
                   : word == sip_load4("TLS ") ? SIP_T_TLS
                   : word == sip_load4("WSS ") ? SIP_T_WSS
                                               : SIP_T_NONE;
    v->transport_text = (sv){p, 3};
    return v->transport == SIP_T_NONE ? NULL : p + 4;
}

static inline bool take_rport(struct sip_via *v, sv name, sv value)
{
    const char *name_end = name.p + name.n;
    if (v->rport)
        return false;
    v->rport = true;
    v->rport_text = (sv){name_end, (size_t)(value.p + value.n - name_end)};
    return value.n == 0 || uri_read_usual_port(value.p, &v->rport_value) == value.p + value.n;
}

/* Parameters with a meaning to us; false: what it says must be looked at more closely. */
static inline bool take_via_param(struct sip_via *v, sv name, sv value)
{
    switch (name.n) {
    case 3:
        return !SIP_IS_WORD(name, "ttl");
    case 5:
        return SIP_IS_WORD(name, "rport") ? take_rport(v, name, value)
                                          : !SIP_IS_WORD(name, "maddr");
    case 6:
        return !SIP_IS_WORD(name, "branch"); /* without a value */
    case 8:
        if (!SIP_IS_WORD(name, "received"))
            return true;
        if (v->received.p || !uri_is_usual_ip4(value))
            return false;
        v->received = value;
        return true;
    }
    return true;
}

const char *sip_via_usual(const struct octet_map *map, const char *p, const char *end,
                          struct sip_via *ret_via)
{
    struct sip_via *v = ret_via;
    const char *from = p, *stop;
    sv name, value;
    if (end - p < 14 || memcmp(p, "SIP/2.0/", 8) != 0 || !(p = read_transport(p + 8, v)))
        return NULL;
    v->branch = v->received = v->maddr = v->params = v->rport_text = SV_NONE;
    v->port = v->rport_value = 0;
    v->host_ip6 = v->rport = false;
    stop = octets_plain_end(map, p);
    if (!uri_is_usual_host(p, stop))
        return NULL;
    v->host = (sv){p, (size_t)(stop - p)};
    if (*stop == ':' && !(stop = uri_read_usual_port(stop + 1, &v->port)))
        return NULL;
    p = skip_blanks(stop, end);
    if (*p == ';')
        v->params.p = p + 1;
    while (*p == ';') {
        if (is_branch(p))
            stop = read_once(map, p + sizeof(";branch=") - 1, &v->branch);
        else if ((stop = octets_param(map, p + 1, &name, &value)) &&
                 !take_via_param(v, name, value))
            return NULL;
        if (!stop)
            return NULL;
        p = skip_blanks(stop, end);
    }
    if (p != end && (p > end || *p != ','))
        return NULL;
    if (v->params.p)
        v->params.n = (size_t)(stop - v->params.p);
    v->text = (sv){from, (size_t)(stop - from)};
    return p;
}

/* ---- addresses ---- */

/* Behind a quoted string without a backslash or a fold; p stands at its first quote. NULL: another form. */
static inline const char *quoted_end(const struct octet_map *map, const char *p)
{
    do
        p = octets_plain_end(map, p + 1);
    while (sip_is(*p, SC_QDTEXT));
    return *p == '"' ? p + 1 : NULL;
}

/* A quoted string or one plain run, and a blank; p afterwards stands at the '<'. NULL: another form. */
static const char *read_display(const struct octet_map *map, const char *p, const char *end,
                                sv *ret)
{
    const char *stop = *p == '"' ? quoted_end(map, p) : octets_plain_end(map, p);
    if (!stop)
        return NULL;
    *ret = (sv){p, (size_t)(stop - p)};
    p = sip_lws(stop, end);
    return ret->n && p > stop && *p == '<' ? p : NULL;
}

/* The end of a header parameter that is no tag; NULL: another form. */
static inline const char *other_param_end(const struct octet_map *map, const char *p)
{
    const char *stop = octets_plain_end(map, p), *from = stop + 1;
    if (stop == p || SIP_IS_WORD(((sv){p, (size_t)(stop - p)}), "tag"))
        return NULL;
    if (*stop != '=')
        return stop;
    if (*from == '"')
        return quoted_end(map, from);
    stop = octets_plain_end(map, from);
    return stop > from ? stop : NULL;
}

const char *sip_addr_usual(const struct octet_map *map, const char *p, const char *end,
                           struct sip_addr *ret_addr)
{
    struct sip_addr *a = ret_addr;
    const char *from = p, *stop;
    a->display = a->params = a->tag = SV_NONE;
    a->star = false;
    a->bracketed = true;
    if (*p != '<' && !(p = read_display(map, p, end, &a->display)))
        return NULL;
    p = uri_read_usual(map, p + 1, end, &a->uri);
    if (!p || *p++ != '>')
        return NULL;
    stop = p;
    p = skip_blanks(p, end);
    if (*p == ';')
        a->params.p = p + 1;
    while (*p == ';') {
        stop = is_tag(p) ? read_once(map, p + sizeof(";tag=") - 1, &a->tag)
                         : other_param_end(map, p + 1);
        if (!stop)
            return NULL;
        p = skip_blanks(stop, end);
    }
    if (p != end && (p > end || *p != ','))
        return NULL;
    if (a->params.p)
        a->params.n = (size_t)(stop - a->params.p);
    a->text = (sv){from, (size_t)(stop - from)};
    return p;
}
