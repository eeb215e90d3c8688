/* SPDX-License-Identifier: MIT */
/* uri/uri_equal.c: comparison, canonical user parts, escaping. */
#include "uri/uri_priv.h"

struct uri_char uri_next_char(sv *s)
{
    struct uri_char c = {(unsigned char)s->p[0], false};
    size_t n = 1;
    if (c.octet == '%' && s->n >= 3 && uri_is(s->p[1], UC_HEX) && uri_is(s->p[2], UC_HEX)) {
        c.octet = (unsigned char)(uri_hex_value(s->p[1]) << 4 | uri_hex_value(s->p[2]));
        c.escaped = true;
        n = 3;
    }
    *s = sv_sub(*s, n, s->n);
    return c;
}

bool uri_text_equal(sv a, sv b, bool fold)
{
    while (a.n && b.n) {
        struct uri_char x = uri_next_char(&a), y = uri_next_char(&b);
        char cx = (char)x.octet, cy = (char)y.octet;
        if (x.escaped != y.escaped && uri_is(cx, UC_RESERVED))
            return false;
        if (fold ? sv_lower(cx) != sv_lower(cy) : cx != cy)
            return false;
    }
    return a.n == b.n;
}

static bool host_equal(const struct uri *a, const struct uri *b)
{
    uint8_t x[16], y[16];
    size_t xn, yn;
    if (a->host_ip6 != b->host_ip6)
        return false;
    /* RFC 5954 §4.2: IPv6 addresses are compared as numbers, not as text. */
    if (a->host_ip6 && uri_host_ip(a->host, x, &xn) == ERR_OK &&
        uri_host_ip(b->host, y, &yn) == ERR_OK)
        return xn == yn && memcmp(x, y, xn) == 0;
    return sv_ieq(a->host, b->host);
}

/* Present in one URI only, these make it another URI; the rest is then ignored. RFC 3261 §19.1.4 */
static bool must_be_in_both(sv name)
{
    static const sv names[] = {
        {"user", 4}, {"ttl", 3}, {"method", 6}, {"maddr", 5}, {"transport", 9}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (uri_text_equal(name, names[i], true))
            return true;
    return false;
}

static bool params_match(const struct uri *a, const struct uri *b)
{
    sv rest = a->params, name, x, y;
    while (uri_param_next(&rest, &name, &x)) {
        if (!uri_param(b, name, &y)) {
            if (must_be_in_both(name))
                return false;
            continue;
        }
        /* method names are case sensitive (§7.1), all else is not */
        if (!uri_text_equal(x, y, !uri_text_equal(name, SV("method"), true)))
            return false;
    }
    return true;
}

static bool header_next(sv *rest, sv *ret_name, sv *ret_value)
{
    if (!rest->p || rest->n == 0)
        return false;
    size_t n = sv_chr(*rest, '&');
    sv one = sv_sub(*rest, 0, n);
    *rest = sv_sub(*rest, n + 1, rest->n);
    size_t eq = sv_chr(one, '=');
    *ret_name = sv_sub(one, 0, eq);
    *ret_value = sv_sub(one, eq + 1, one.n);
    return true;
}

/* As multisets: each of a finds a partner of its own in b, and none is left. */
static bool headers_equal(sv a, sv b)
{
    sv name, value, other, other_value, rest;
    uint64_t used = 0;
    unsigned an = 0, bn = 0;
    for (rest = b; header_next(&rest, &other, &other_value);)
        bn++;
    while (header_next(&a, &name, &value)) {
        unsigned i = 0;
        bool found = false;
        for (rest = b; !found && i < 64 && header_next(&rest, &other, &other_value); i++) {
            if (used >> i & 1 || !uri_text_equal(name, other, true) ||
                !uri_text_equal(value, other_value, false))
                continue;
            used |= (uint64_t)1 << i;
            found = true;
        }
        if (!found)
            return false;
        an++;
    }
    return an == bn;
}

static bool is_separator(char c)
{
    return c == '-' || c == '.' || c == '(' || c == ')';
}

/* Digits without visual separators, letters of either case. */
static bool digits_equal(sv a, sv b)
{
    size_t i = 0, k = 0;
    for (;;) {
        while (i < a.n && is_separator(a.p[i]))
            i++;
        while (k < b.n && is_separator(b.p[k]))
            k++;
        if (i == a.n || k == b.n)
            return i == a.n && k == b.n;
        if (sv_lower(a.p[i++]) != sv_lower(b.p[k++]))
            return false;
    }
}

/* RFC 3966 §4: every parameter of one is in the other and matches. */
static bool tel_params_match(const struct uri *a, const struct uri *b)
{
    sv rest = a->params, name, x, y;
    while (uri_param_next(&rest, &name, &x)) {
        if (!uri_param(b, name, &y))
            return false;
        bool digits = sv_ieq(name, SV("ext")) || (sv_ieq(name, SV("phone-context")) && x.n && y.n &&
                                                  x.p[0] == '+' && y.p[0] == '+');
        if (digits ? !digits_equal(x, y) : !uri_text_equal(x, y, true))
            return false;
    }
    return true;
}

bool uri_equal(const struct uri *a, const struct uri *b)
{
    if (a->scheme != b->scheme)
        return false;
    switch (a->scheme) {
    case URI_TEL:
        return digits_equal(a->opaque, b->opaque) && tel_params_match(a, b) &&
               tel_params_match(b, a);
    case URI_OTHER:
        return sv_ieq(a->scheme_text, b->scheme_text) && sv_eq(a->opaque, b->opaque);
    case URI_SIP:
    case URI_SIPS:
        break;
    }
    return sv_present(a->user) == sv_present(b->user) &&
           sv_present(a->password) == sv_present(b->password) && a->port == b->port &&
           uri_text_equal(a->user, b->user, false) &&
           uri_text_equal(a->password, b->password, false) && host_equal(a, b) &&
           params_match(a, b) && params_match(b, a) && headers_equal(a->headers, b->headers);
}

static uint16_t port_of(const struct uri *u)
{
    sv transport;
    bool tls = u->scheme == URI_SIPS ||
               (uri_param(u, SV("transport"), &transport) && sv_ieq(transport, SV("tls")));
    return u->port ? u->port : tls ? 5061 : 5060;
}

static bool param_equal(const struct uri *a, const struct uri *b, sv name)
{
    sv x = SV_NONE, y = SV_NONE;
    return uri_param(a, name, &x) == uri_param(b, name, &y) && uri_text_equal(x, y, true);
}

static bool is_sip(const struct uri *u)
{
    return u->scheme == URI_SIP || u->scheme == URI_SIPS;
}

bool uri_same_target(const struct uri *a, const struct uri *b)
{
    if (!is_sip(a) || !is_sip(b))
        return uri_equal(a, b);
    return uri_text_equal(a->user, b->user, true) && host_equal(a, b) &&
           (a->port == b->port || port_of(a) == port_of(b)) && param_equal(a, b, SV("maddr")) &&
           param_equal(a, b, SV("gr"));
}

static void put_escaped(struct buf *b, unsigned char octet)
{
    static const char hex[] = "0123456789ABCDEF";
    char text[3] = {'%', hex[octet >> 4], hex[octet & 15]};
    buf_mem(b, text, 3);
}

enum err uri_user_canonical(sv user, struct buf *b)
{
    while (user.n) {
        struct uri_char c = uri_next_char(&user);
        if (c.escaped && !uri_is((char)c.octet, UC_UNRESERVED))
            put_escaped(b, c.octet);
        else
            buf_char(b, (char)c.octet);
    }
    return b->rc;
}

void uri_put_user(struct buf *b, sv user)
{
    for (size_t i = 0; i < user.n; i++) {
        if (uri_is(user.p[i], UC_USER))
            buf_char(b, user.p[i]);
        else
            put_escaped(b, (unsigned char)user.p[i]);
    }
}
