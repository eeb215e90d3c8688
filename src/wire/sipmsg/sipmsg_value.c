/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_value.c: parsers of single values. */
#include "sipmsg/sipmsg_priv.h"
#include "mem/arena.h"

static sv view(const char *from, const char *to)
{
    return (sv){from, (size_t)(to - from)};
}

static sv take(const char **p, const char *end, unsigned mask)
{
    const char *from = *p;
    *p = sip_span(from, end, mask);
    return view(from, *p);
}

struct param {
    sv name, value;
    bool token; /* the value is one */
};

/* token [ EQUAL ( token / host / quoted-string ) ], blanks behind it skipped. */
static inline enum err read_param(const char **pp, const char *end, struct param *ret)
{
    const char *p = sip_lws(*pp, end);
    ret->name = take(&p, end, SC_TOKEN);
    ret->value = (sv){p, 0};
    ret->token = false;
    if (ret->name.n == 0)
        return ERR_SYNTAX;
    if (p < end && *p != '=')
        p = sip_lws(p, end);
    if (p < end && *p == '=') {
        const char *from = p = sip_lws(p + 1, end);
        if (p < end && *p == '"') {
            p = sip_quoted_end(p, end);
            if (!p)
                return ERR_SYNTAX;
        } else {
            p = sip_span(p, end, SC_TOKEN);
            ret->token = p == end || !sip_is(*p, SC_VALUE);
            if (!ret->token)
                p = sip_span(p, end, SC_VALUE);
        }
        if (p == from)
            return ERR_SYNTAX;
        ret->value = view(from, p);
        p = sip_lws(p, end);
    }
    *pp = p;
    return ERR_OK;
}

enum err sip_params_check(const char *p, const char *end)
{
    struct param one;
    while (p < end && *p == ';') {
        p++;
        TRY(read_param(&p, end, &one));
    }
    return p == end ? ERR_OK : ERR_SYNTAX;
}

/* Walk of parameters with a separator. After the last one *rest is absent; behind a separator there
 * must be more. */
static bool next_param(sv *rest, char separator, sv *ret_name, sv *ret_value, enum err *ret_rc)
{
    *ret_rc = ERR_OK;
    if (!rest->p)
        return false;
    struct param one;
    const char *p = rest->p, *end = p + rest->n;
    *ret_rc = read_param(&p, end, &one);
    if (*ret_rc == ERR_OK && p < end && *p != separator)
        *ret_rc = ERR_SYNTAX;
    if (*ret_rc) {
        *rest = SV_NONE;
        return false;
    }
    *ret_name = one.name;
    *ret_value = one.value;
    *rest = p == end ? SV_NONE : view(p + 1, end);
    return true;
}

bool sip_param_next(sv *rest, sv *ret_name, sv *ret_value, enum err *ret_rc)
{
    return next_param(rest, ';', ret_name, ret_value, ret_rc);
}

bool sip_auth_param_next(sv *rest, sv *ret_name, sv *ret_value, enum err *ret_rc)
{
    bool more = next_param(rest, ',', ret_name, ret_value, ret_rc);
    /* auth-param = auth-param-name EQUAL ( token / quoted-string ) */
    if (more && ret_value->n == 0) {
        *ret_rc = ERR_SYNTAX;
        *rest = SV_NONE;
        return false;
    }
    return more;
}

bool sip_param(sv params, sv name, sv *ret_value)
{
    sv one, value;
    enum err rc;
    while (sip_param_next(&params, &one, &value, &rc)) {
        if (sv_ieq(one, name)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

bool sip_feature(sv params, sv name)
{
    sv value;
    return sip_param(params, name, &value) && (value.n == 0 || sv_ieq(value, SV("\"TRUE\"")));
}

/* 1*DIGIT, 1..65535, as far as there are digits. */
static enum err read_port(const char **pp, const char *end, uint16_t *ret_port)
{
    const char *p = *pp;
    uint32_t port = 0;
    for (unsigned digit; p < end && (digit = (unsigned)(unsigned char)*p - '0') <= 9; p++) {
        port = port * 10 + digit;
        if (port > 65535)
            return ERR_RANGE;
    }
    if (p == *pp)
        return ERR_SYNTAX;
    *pp = p;
    *ret_port = (uint16_t)port;
    return port ? ERR_OK : ERR_RANGE;
}

/* ---- Via ---- */

static sv without_brackets(sv host)
{
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        return sv_sub(host, 1, host.n - 1);
    return host;
}

/* "SIP" SLASH "2.0" SLASH transport LWS */
static enum err read_sent_protocol(const char **pp, const char *end, struct sip_via *v)
{
    const char *p = *pp;
    /* as everybody writes it */
    if (end - p > 8 && memcmp(p, "SIP/2.0/", 8) == 0 && sip_is(p[8], SC_TOKEN)) {
        p += 8;
    } else {
        if (!sv_ieq(take(&p, end, SC_TOKEN), SV("SIP")))
            return ERR_SYNTAX;
        p = sip_lws(p, end);
        if (p == end || *p++ != '/')
            return ERR_SYNTAX;
        p = sip_lws(p, end);
        if (!sv_eq(take(&p, end, SC_TOKEN), SV("2.0")))
            return ERR_SYNTAX;
        p = sip_lws(p, end);
        if (p == end || *p++ != '/')
            return ERR_SYNTAX;
        p = sip_lws(p, end);
    }
    v->transport_text = take(&p, end, SC_TOKEN);
    v->transport = sip_transport_of(v->transport_text);
    const char *blank = p;
    p = sip_lws(p, end);
    if (v->transport_text.n == 0 || p == blank)
        return ERR_SYNTAX;
    *pp = p;
    return ERR_OK;
}

static enum err read_sent_by(const char **pp, const char *end, struct sip_via *v)
{
    const char *p = *pp, *from = p;
    if (p < end && *p == '[') {
        const char *close = memchr(p, ']', (size_t)(end - p));
        if (!close)
            return ERR_SYNTAX;
        v->host = view(from + 1, close);
        v->host_ip6 = true;
        p = close + 1;
        if (!uri_is_host(v->host, true))
            return ERR_SYNTAX;
    } else {
        p = uri_host_end(p, end);
        if (!p)
            return ERR_SYNTAX;
        v->host = view(from, p);
    }
    p = sip_lws(p, end);
    if (p < end && *p == ':') {
        p = sip_lws(p + 1, end);
        TRY(read_port(&p, end, &v->port));
        p = sip_lws(p, end);
    }
    *pp = p;
    return ERR_OK;
}

/* Each parameter that we act on may be given once: two of them would have two readings. */
static enum err set_once(sv *slot, sv value)
{
    if (slot->p || value.n == 0)
        return ERR_SYNTAX;
    *slot = value;
    return ERR_OK;
}

static enum err via_host_param(struct sip_via *v, sv name, sv value)
{
    sv host = without_brackets(value);
    if (sv_ieq(name, SV("maddr")))
        return uri_is_host(host, host.n != value.n) ? set_once(&v->maddr, host) : ERR_SYNTAX;
    /* received; RFC 5118 §4.5: brackets are taken, never made */
    uint8_t ip[16];
    size_t n;
    TRY(uri_host_ip(host, ip, &n));
    return set_once(&v->received, host);
}

static enum err via_param(struct sip_via *v, const struct param *one)
{
    sv name = one->name, value = one->value;
    const char *end = value.p + value.n;
    uint64_t ttl;
    switch (name.n) {
    case 3:
        return sv_ieq(name, SV("ttl")) ? sv_u64(value, 255, &ttl) : ERR_OK;
    case 5:
        if (sv_ieq(name, SV("maddr")))
            return via_host_param(v, name, value);
        if (!sv_ieq(name, SV("rport"))) /* RFC 3581 §3 */
            return ERR_OK;
        if (v->rport)
            return ERR_SYNTAX;
        v->rport = true;
        v->rport_text = (sv){name.p + name.n, 0};
        if (value.n == 0)
            return ERR_OK;
        v->rport_text.n = (size_t)(end - v->rport_text.p);
        TRY(read_port(&value.p, value.p + value.n, &v->rport_value));
        return value.p == end ? ERR_OK : ERR_SYNTAX;
    case 6:
        if (!sv_ieq(name, SV("branch")))
            return ERR_OK;
        return one->token ? set_once(&v->branch, value) : ERR_SYNTAX;
    case 8:
        return sv_ieq(name, SV("received")) ? via_host_param(v, name, value) : ERR_OK;
    }
    return ERR_OK;
}

enum err sip_via_read(const char **pp, const char *end, struct sip_via *ret_via)
{
    struct sip_via *v = ret_via;
    const char *p = sip_lws(*pp, end), *from = p, *stop;
    v->branch = v->received = v->maddr = v->params = v->rport_text = SV_NONE;
    v->port = v->rport_value = 0;
    v->host_ip6 = v->rport = false;
    TRY(read_sent_protocol(&p, end, v));
    TRY(read_sent_by(&p, end, v));
    stop = p;
    while (p < end && *p == ';') {
        struct param one;
        p++;
        if (!v->params.p)
            v->params.p = p;
        TRY(read_param(&p, end, &one));
        TRY(via_param(v, &one));
        stop = p;
    }
    if (p < end && *p != ',')
        return ERR_SYNTAX;
    while (sip_is_blank(stop[-1])) /* the value does not end with one: it holds a host */
        stop--;
    if (v->params.p)
        v->params.n = (size_t)(stop - v->params.p);
    v->text = view(from, stop);
    *pp = p;
    return ERR_OK;
}

enum err sip_via_parse(sv value, struct sip_via *ret_via)
{
    struct sip_via via;
    value = sv_trim(value);
    if (value.n == 0)
        return ERR_SYNTAX;
    const char *p = value.p, *end = p + value.n;
    TRY(sip_via_read(&p, end, &via));
    if (p < end)
        return ERR_SYNTAX;
    *ret_via = via;
    return ERR_OK;
}

/* ---- addresses ---- */

/* name-addr: [ display-name ] "<" addr-spec ">". *pp stands behind the '>' afterwards. */
static enum err read_name_addr(const char *open, const char **pp, const char *end,
                               struct sip_addr *a)
{
    const char *p = open + 1;
    a->bracketed = true;
    TRY(uri_read(&p, end, &a->uri));
    if (p == end || *p != '>')
        return ERR_SYNTAX;
    *pp = p + 1;
    return ERR_OK;
}

/* addr-spec without brackets: RFC 3261 §20: a comma, question mark or semicolon would have needed
 * them. */
static enum err read_addr_spec(const char **pp, const char *end, struct sip_addr *a)
{
    const char *p = *pp;
    while (p < end && *p != ';' && *p != '?' && *p != ',' && *p != ' ' && *p != '\t' && *p != '\r')
        p++;
    TRY(uri_read(pp, p, &a->uri));
    return *pp == p ? ERR_OK : ERR_SYNTAX;
}

static enum err read_address(const char **pp, const char *end, struct sip_addr *a)
{
    const char *p = *pp, *from = p;
    if (p < end && *p == '<')
        return read_name_addr(p, pp, end, a);
    if (p < end && *p == '"') {
        p = sip_quoted_end(p, end);
        if (!p)
            return ERR_SYNTAX;
        a->display = view(from, p);
        p = sip_lws(p, end);
        if (p == end || *p != '<')
            return ERR_SYNTAX;
        return read_name_addr(p, pp, end, a);
    }
    /* display-name = *(token LWS); RFC 4475 §3.1.1.6: no LWS is needed before the '<' */
    const char *last = p; /* end of the last token */
    for (const char *next = p;; p = next) {
        if (take(&p, end, SC_TOKEN).n)
            last = p;
        next = sip_lws(p, end);
        if (next == p)
            break;
    }
    if (p < end && *p == '<') {
        if (last > from)
            a->display = view(from, last);
        return read_name_addr(p, pp, end, a);
    }
    return read_addr_spec(pp, end, a);
}

/* Contact's star, alone in its value. */
static bool is_star(const char *p, const char *end)
{
    if (p == end || *p != '*')
        return false;
    p = sip_lws(p + 1, end);
    return p == end || *p == ',';
}

/* Header parameters; only the tag is for us. The end of the last one. */
static enum err read_addr_params(const char **pp, const char *end, struct sip_addr *a,
                                 const char **ret_stop)
{
    const char *p = *pp;
    a->params.p = p + 1;
    while (p < end && *p == ';') {
        struct param one;
        p++;
        TRY(read_param(&p, end, &one));
        if (one.name.n != 3 || !sv_ieq(one.name, SV("tag")))
            continue;
        if (!one.token)
            return ERR_SYNTAX;
        TRY(set_once(&a->tag, one.value));
    }
    *ret_stop = *pp = p;
    return ERR_OK;
}

enum err sip_addr_read(const char **pp, const char *end, bool star_ok, struct sip_addr *ret_addr)
{
    struct sip_addr *a = ret_addr;
    const char *p = sip_lws(*pp, end), *from = p, *stop;
    a->display = a->params = a->tag = SV_NONE;
    a->star = a->bracketed = false;
    if (star_ok && is_star(p, end)) {
        a->uri = (struct uri){.text = SV_NONE};
        a->star = true;
        stop = p + 1;
        p = sip_lws(stop, end);
    } else {
        TRY(read_address(&p, end, a));
        stop = p;
        p = sip_lws(p, end);
        if (p < end && *p == ';')
            TRY(read_addr_params(&p, end, a, &stop));
    }
    if (p < end && *p != ',')
        return ERR_SYNTAX;
    while (sip_is_blank(stop[-1])) /* the value does not end with one: it holds a URI or the star */
        stop--;
    if (a->params.p)
        a->params.n = (size_t)(stop - a->params.p);
    a->text = view(from, stop);
    *pp = p;
    return ERR_OK;
}

enum err sip_addr_parse(sv value, bool star_ok, struct sip_addr *ret_addr)
{
    value = sv_trim(value);
    if (value.n == 0)
        return ERR_SYNTAX;
    struct sip_addr addr;
    const char *p = value.p, *end = p + value.n;
    TRY(sip_addr_read(&p, end, star_ok, &addr));
    if (p < end)
        return ERR_SYNTAX;
    *ret_addr = addr;
    return ERR_OK;
}

/* ---- CSeq, credentials, quoted strings ---- */

enum err sip_cseq_parse(sv value, struct sip_cseq *ret_cseq)
{
    struct sip_cseq c;
    value = sv_trim(value);
    if (!value.p)
        return ERR_SYNTAX;
    const char *p = value.p, *end = p + value.n;
    uint64_t number;
    /* RFC 3261 §8.1.1.5: less than 2**31 */
    TRY(sv_u64(take(&p, end, SC_DIGIT), INT32_MAX, &number));
    const char *blank = p;
    p = sip_lws(p, end);
    c.method_text = view(p, end);
    if (p == blank || !sip_token_at(p, end))
        return ERR_SYNTAX;
    c.number = (uint32_t)number;
    c.method = sip_method_of(c.method_text);
    *ret_cseq = c;
    return ERR_OK;
}

enum err sip_auth_parse(sv value, struct sip_auth *ret_auth)
{
    struct sip_auth a;
    value = sv_trim(value);
    if (!value.p)
        return ERR_SYNTAX;
    const char *p = value.p, *end = p + value.n;
    a.scheme = take(&p, end, SC_TOKEN);
    const char *blank = p;
    p = sip_lws(p, end);
    a.params = view(p, end);
    if (a.scheme.n == 0 || p == blank || p == end)
        return ERR_SYNTAX;
    *ret_auth = a;
    return ERR_OK;
}

enum err sip_unquote(struct arena *a, sv quoted, sv *ret_text)
{
    bool is_quoted = quoted.n && quoted.p[0] == '"';
    const char *p = quoted.p ? quoted.p : "", *end = p + quoted.n;
    if (is_quoted && sip_quoted_end(p, end) != end)
        return ERR_SYNTAX;
    if (is_quoted) {
        p++;
        end--;
    }
    size_t n = (size_t)(end - p);
    if (!memchr(p, '\\', n) && !memchr(p, '\r', n)) {
        *ret_text = (sv){p, n};
        return ERR_OK;
    }
    char *to = arena_alloc(a, n), *q = to;
    if (!to)
        return ERR_NOMEM;
    while (p < end) {
        const char *next = *p == '\r' ? sip_lws(p, end) : p;
        if (next > p) {
            /* a fold, with the blanks around it, reads as one SP (RFC 3261 §7.3.1) */
            while (q > to && (q[-1] == ' ' || q[-1] == '\t'))
                q--;
            *q++ = ' ';
            p = next;
            continue;
        }
        if (is_quoted && *p == '\\')
            p++;
        *q++ = *p++;
    }
    *ret_text = (sv){to, (size_t)(q - to)};
    return ERR_OK;
}
