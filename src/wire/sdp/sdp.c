/* SPDX-License-Identifier: MIT */
/* sdp/sdp.c: octet classes, addresses, and what holds for a media description.
 * Spec RFC 8866 §5.7, §6.7, §9. */
#include "sdp/sdp.h"

#include "sdp/sdp_priv.h"
#include "uri/uri.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool sdp_is_token(sv s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '\0' || (!sv_is_alnum(c) && !strchr("!#$%&'*+-.^_`{|}~", c)))
            return false;
    }
    return s.n > 0;
}

bool sdp_is_text(sv s)
{
    return s.n == 0 ||
           (!memchr(s.p, '\0', s.n) && !memchr(s.p, '\r', s.n) && !memchr(s.p, '\n', s.n));
}

bool sdp_is_word(sv s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
            return false;
    return s.n > 0;
}

enum err sdp_digits(sv *rest, uint64_t max, uint64_t *ret_value)
{
    size_t n = 0;
    while (n < rest->n && rest->p[n] >= '0' && rest->p[n] <= '9')
        n++;
    TRY(sv_u64(sv_sub(*rest, 0, n), max, ret_value));
    *rest = sv_sub(*rest, n, rest->n);
    return ERR_OK;
}

enum err sdp_word_u64(sv *rest, uint64_t max, uint64_t *ret_value)
{
    sv word;
    if (!sdp_word_next(rest, &word))
        return ERR_SYNTAX;
    return sv_u64(word, max, ret_value);
}

/* RFC 8866 §9 FQDN, without its minimum of four octets: hosts are called "pbx" too. A last label of
 * digits is a broken IPv4 literal, not a name (RFC 1123 §2.1). */
static bool is_host(sv s)
{
    if (sv_ends(s, SV(".")))
        s.n--;
    size_t label_n = 0;
    bool digits = true;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '.') {
            if (label_n == 0)
                return false;
            label_n = 0;
            digits = true;
            continue;
        }
        if (!sv_is_alnum(c) && c != '-' && c != '_')
            return false;
        digits = digits && c >= '0' && c <= '9';
        label_n++;
    }
    return label_n > 0 && !digits;
}

/* IP4: ttl [ "/" numaddr ]; IP6: numaddr. Kept on unicast addresses too, where old senders put it.
 */
static enum err inet_scope(struct sdp_conn *c, bool ip4)
{
    sv rest = c->scope;
    uint64_t v;
    if (ip4) {
        TRY(sdp_digits(&rest, UINT8_MAX, &v));
        c->ttl = (uint8_t)v;
        if (rest.n == 0)
            return ERR_OK;
        if (rest.p[0] != '/')
            return ERR_SYNTAX;
        rest = sv_sub(rest, 1, rest.n);
    }
    TRY(sv_u64(rest, UINT16_MAX, &v));
    if (v == 0)
        return ERR_RANGE;
    c->addresses = (uint32_t)v;
    return ERR_OK;
}

/* Reads c->address as what addrtype says. */
static enum err inet_address(struct sdp_conn *c, bool scope_allowed)
{
    bool ip4 = sv_eq(c->addrtype, SV("IP4"));
    size_t slash = sv_chr(c->address, '/');
    if (slash < c->address.n) {
        if (!scope_allowed)
            return ERR_SYNTAX;
        c->scope = sv_sub(c->address, slash + 1, c->address.n);
        c->address = sv_sub(c->address, 0, slash);
        TRY(inet_scope(c, ip4));
    }
    size_t n;
    if (uri_host_ip(c->address, c->ip, &n) == ERR_OK) {
        c->ip_n = (uint8_t)n;
        return n == (ip4 ? 4 : 16) ? ERR_OK : ERR_SYNTAX;
    }
    return is_host(c->address) ? ERR_OK : ERR_SYNTAX;
}

enum err sdp_conn_take(sv *rest, bool scope_allowed, struct sdp_conn *ret_conn)
{
    struct sdp_conn c = {.addresses = 1};
    if (!sdp_word_next(rest, &c.nettype) || !sdp_word_next(rest, &c.addrtype) ||
        !sdp_word_next(rest, &c.address))
        return ERR_SYNTAX;
    if (!sdp_is_token(c.nettype) || !sdp_is_token(c.addrtype) || !sdp_is_word(c.address))
        return ERR_SYNTAX;
    if (sv_eq(c.nettype, SV("IN")) &&
        (sv_eq(c.addrtype, SV("IP4")) || sv_eq(c.addrtype, SV("IP6"))))
        TRY(inet_address(&c, scope_allowed));
    *ret_conn = c;
    return ERR_OK;
}

const struct sdp_conn *sdp_conn_of(const struct sdp *s, const struct sdp_media *m)
{
    return m->n_conns > 0 ? &m->conns[0] : s->conn;
}

enum err sdp_conn_set(sv address, struct sdp_conn *ret_conn)
{
    struct sdp_conn c = {.nettype = SV("IN"), .address = address, .addresses = 1};
    c.addrtype = sv_chr(address, ':') < address.n ? SV("IP6") : SV("IP4");
    TRY(inet_address(&c, false));
    *ret_conn = c;
    return ERR_OK;
}

const struct sdp_attr *sdp_attr_next(const struct sdp_attrs *l, const struct sdp_attr *after,
                                     sv name)
{
    for (size_t i = after ? (size_t)(after - l->v) + 1 : 0; i < l->n; i++)
        if (sv_eq(l->v[i].name, name))
            return &l->v[i];
    return NULL;
}

const struct sdp_attr *sdp_attr_find(const struct sdp_attrs *l, sv name)
{
    return sdp_attr_next(l, NULL, name);
}

const struct sdp_attr *sdp_attr_of(const struct sdp *s, const struct sdp_media *m, sv name)
{
    const struct sdp_attr *found = m ? sdp_attr_find(&m->attrs, name) : NULL;
    return found ? found : sdp_attr_find(&s->attrs, name);
}

bool sdp_word_next(sv *rest, sv *ret_word)
{
    size_t from = 0;
    while (from < rest->n && is_blank(rest->p[from]))
        from++;
    size_t to = from;
    while (to < rest->n && !is_blank(rest->p[to]))
        to++;
    if (to == from)
        return false;
    *ret_word = sv_sub(*rest, from, to);
    *rest = sv_sub(*rest, to, rest->n);
    return true;
}

sv sdp_direction_name(enum sdp_direction d)
{
    static const sv names[SDP_DIRECTIONS] = {[SDP_SENDRECV] = {"sendrecv", 8},
                                             [SDP_SENDONLY] = {"sendonly", 8},
                                             [SDP_RECVONLY] = {"recvonly", 8},
                                             [SDP_INACTIVE] = {"inactive", 8}};
    return names[d];
}

bool sdp_attrs_direction(const struct sdp_attrs *l, enum sdp_direction *ret_direction)
{
    for (size_t i = 0; i < l->n; i++)
        for (enum sdp_direction d = 0; d < SDP_DIRECTIONS; d++)
            if (sv_eq(l->v[i].name, sdp_direction_name(d))) {
                *ret_direction = d;
                return true;
            }
    return false;
}

enum sdp_direction sdp_direction_of(const struct sdp *s, const struct sdp_media *m)
{
    enum sdp_direction d;
    if (m && sdp_attrs_direction(&m->attrs, &d))
        return d;
    return sdp_attrs_direction(&s->attrs, &d) ? d : SDP_SENDRECV;
}

enum sdp_direction sdp_direction_reverse(enum sdp_direction d)
{
    switch (d) {
    case SDP_SENDONLY:
        return SDP_RECVONLY;
    case SDP_RECVONLY:
        return SDP_SENDONLY;
    case SDP_SENDRECV:
    case SDP_INACTIVE:
    case SDP_DIRECTIONS:
        break;
    }
    return d;
}
