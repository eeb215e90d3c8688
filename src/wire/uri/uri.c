/* SPDX-License-Identifier: MIT */
/* uri/uri.c: parsing and printing. */
#include "uri/uri_priv.h"
#include "mem/arena.h"

#define ALNUM                                                                                      \
    (UC_LABEL | UC_HOST | UC_USER | UC_PASSWORD | UC_PARAM | UC_HEADER | UC_URIC | UC_UNRESERVED | \
     UC_SCHEME)
#define MARK (UC_USER | UC_PASSWORD | UC_PARAM | UC_HEADER | UC_URIC | UC_UNRESERVED)
#define RSVD (UC_URIC | UC_RESERVED)

const uint16_t uri_class[256] = {
    ['0' ... '9'] = ALNUM | UC_DIGIT | UC_HEX | UC_PHONE | UC_PHONE_HEX,
    ['A' ... 'F'] = ALNUM | UC_ALPHA | UC_HEX | UC_PHONE_HEX,
    ['G' ... 'Z'] = ALNUM | UC_ALPHA,
    ['a' ... 'f'] = ALNUM | UC_ALPHA | UC_HEX | UC_PHONE_HEX,
    ['g' ... 'z'] = ALNUM | UC_ALPHA,
    ['-'] = MARK | UC_LABEL | UC_HOST | UC_SCHEME | UC_PHONE | UC_PHONE_HEX,
    ['.'] = MARK | UC_HOST | UC_SCHEME | UC_PHONE | UC_PHONE_HEX,
    ['('] = MARK | UC_PHONE | UC_PHONE_HEX,
    [')'] = MARK | UC_PHONE | UC_PHONE_HEX,
    ['*'] = MARK | UC_PHONE_HEX,
    ['_'] = MARK | UC_LABEL | UC_HOST,
    ['!'] = MARK,
    ['~'] = MARK,
    ['\''] = MARK,
    ['#'] = UC_PHONE_HEX,
    [';'] = RSVD | UC_USER,
    ['/'] = RSVD | UC_USER | UC_PARAM | UC_HEADER,
    ['?'] = RSVD | UC_USER | UC_HEADER,
    [':'] = RSVD | UC_PARAM | UC_HEADER,
    ['@'] = RSVD,
    ['&'] = RSVD | UC_USER | UC_PASSWORD | UC_PARAM,
    ['='] = RSVD | UC_USER | UC_PASSWORD,
    ['+'] = RSVD | UC_USER | UC_PASSWORD | UC_PARAM | UC_HEADER | UC_SCHEME,
    ['$'] = RSVD | UC_USER | UC_PASSWORD | UC_PARAM | UC_HEADER,
    [','] = RSVD | UC_USER | UC_PASSWORD,
    ['['] = UC_PARAM | UC_HEADER,
    [']'] = UC_PARAM | UC_HEADER,
};

/* What is being parsed; p only moves forward and stands at the offending octet after a failure. */
struct cursor {
    const char *p, *end;
    bool escapes; /* %HH came by */
};

static bool at(const struct cursor *c, char want)
{
    return c->p < c->end && *c->p == want;
}

/* Octets of a class and escapes; the end of the run. */
static sv run(struct cursor *c, unsigned mask)
{
    const char *p = uri_span(c->p, c->end, mask);
    while (c->end - p >= 3 && *p == '%' && uri_is(p[1], UC_HEX) && uri_is(p[2], UC_HEX)) {
        c->escapes = true;
        p = uri_span(p + 3, c->end, mask);
    }
    sv s = {c->p, (size_t)(p - c->p)};
    c->p = p;
    return s;
}

/* Names of parameters; texts without escapes differ as soon as their lengths do. */
static bool same_param(const struct cursor *c, sv a, sv b)
{
    return c->escapes ? uri_text_equal(a, b, true) : sv_ieq(a, b);
}

/* A value that a server would act on must be usable. */
static enum err check_known(const struct cursor *c, sv name, sv value)
{
    if (same_param(c, name, SV("transport")))
        return value.n ? ERR_OK : ERR_SYNTAX;
    if (same_param(c, name, SV("ttl"))) {
        uint64_t ttl;
        return sv_u64(value, 255, &ttl);
    }
    if (same_param(c, name, SV("maddr"))) {
        if (value.n > 2 && value.p[0] == '[' && value.p[value.n - 1] == ']')
            return uri_is_host(sv_sub(value, 1, value.n - 1), true) ? ERR_OK : ERR_SYNTAX;
        return uri_is_host(value, false) ? ERR_OK : ERR_SYNTAX;
    }
    return ERR_OK;
}

/* *( ";" pname [ "=" pvalue ] ); c stands at the first ';'. */
static enum err parse_params(struct cursor *c, unsigned name_class, unsigned value_class, sv *ret)
{
    const char *from = c->p + 1;
    sv names[URI_PARAMS_MAX];
    unsigned n = 0;
    while (at(c, ';')) {
        if (n == URI_PARAMS_MAX)
            return ERR_TOOBIG;
        c->p++;
        sv name = run(c, name_class), value = {c->p, 0};
        if (name.n == 0)
            return ERR_SYNTAX;
        if (at(c, '=')) {
            c->p++;
            value = run(c, value_class);
            if (value.n == 0)
                return ERR_SYNTAX;
        }
        /* RFC 3261 §19.1.1: any given parameter-name MUST NOT appear more than once. */
        enum err rc = check_known(c, name, value);
        for (unsigned i = 0; i < n && !rc; i++)
            if (same_param(c, names[i], name))
                rc = ERR_SYNTAX;
        if (rc) {
            c->p = name.p;
            return rc;
        }
        names[n++] = name;
    }
    *ret = (sv){from, (size_t)(c->p - from)};
    return ERR_OK;
}

/* "?" hname "=" hvalue *( "&" … ); c stands at the '?'. */
static enum err parse_headers(struct cursor *c, sv *ret)
{
    const char *from = c->p + 1;
    unsigned n = 0;
    do {
        if (n++ == URI_PARAMS_MAX)
            return ERR_TOOBIG;
        c->p++;
        if (run(c, UC_HEADER).n == 0 || !at(c, '='))
            return ERR_SYNTAX;
        c->p++;
        (void)run(c, UC_HEADER);
    } while (at(c, '&'));
    *ret = (sv){from, (size_t)(c->p - from)};
    return ERR_OK;
}

static enum err parse_port(struct cursor *c, uint16_t *ret_port)
{
    const char *from = c->p;
    uint32_t port = 0;
    for (; c->p < c->end && uri_is(*c->p, UC_DIGIT); c->p++) {
        port = port * 10 + (uint32_t)(*c->p - '0');
        if (port > 65535)
            return ERR_RANGE;
    }
    if (c->p == from)
        return ERR_SYNTAX;
    if (port == 0) {
        c->p = from;
        return ERR_RANGE;
    }
    *ret_port = (uint16_t)port;
    return ERR_OK;
}

static enum err parse_hostport(struct cursor *c, struct uri *u)
{
    const char *from = c->p, *stop;
    if (at(c, '[')) {
        const char *close = memchr(from, ']', (size_t)(c->end - from));
        if (!close)
            return ERR_SYNTAX;
        u->host = (sv){from + 1, (size_t)(close - from) - 1};
        u->host_ip6 = true;
        stop = uri_is_host(u->host, true) ? close + 1 : NULL;
    } else {
        stop = uri_host_end(from, c->end);
        u->host = (sv){from, stop ? (size_t)(stop - from) : 0};
    }
    if (!stop)
        return ERR_SYNTAX;
    c->p = stop;
    if (!at(c, ':'))
        return ERR_OK;
    c->p++;
    return parse_port(c, &u->port);
}

/* All behind the scheme and the userinfo. */
static enum err parse_place(struct cursor *c, struct uri *u)
{
    TRY(parse_hostport(c, u));
    if (at(c, ';'))
        TRY(parse_params(c, UC_PARAM, UC_PARAM, &u->params));
    if (at(c, '?'))
        TRY(parse_headers(c, &u->headers));
    return ERR_OK;
}

/* True: userinfo and its '@' are there, and c stands behind them. False: c stands where it stood.
 * '@' is allowed nowhere else, so whatever a user part may hold before it, ';' and '?' too, is of
 * it. */
static bool parse_userinfo(struct cursor *c, struct uri *u)
{
    const char *from = c->p;
    sv user = run(c, UC_USER), password = SV_NONE;
    if (at(c, ':')) {
        c->p++;
        password = run(c, UC_PASSWORD);
    }
    if (user.n == 0 || !at(c, '@')) {
        c->p = from;
        return false;
    }
    c->p++;
    u->user = user;
    u->password = password;
    return true;
}

static bool of_userinfo(char c)
{
    return uri_is(c, UC_USER) || c == '%' || c == '@';
}

static enum err parse_sip(struct cursor *c, struct uri *u)
{
    /* Host names, and most user parts, are of these octets alone: what follows says which it was. */
    const char *from = c->p, *stop = uri_span(from, c->end, UC_HOST);
    if (stop < c->end && *stop == '@' && stop > from) {
        u->user = (sv){from, (size_t)(stop - from)};
        c->p = stop + 1;
    } else if (stop < c->end && of_userinfo(*stop) && *stop != ';' && *stop != '?') {
        (void)parse_userinfo(c, u);
    }
    for (;;) {
        enum err rc = parse_place(c, u);
        if (u->user.p || (rc == ERR_OK && (c->p == c->end || !of_userinfo(*c->p))))
            return rc;
        /* ';', '?' and ':' may also be of a userinfo whose '@' is yet to come */
        struct cursor again = {from, c->end, false};
        struct uri other = {.scheme = u->scheme, .scheme_text = u->scheme_text};
        if (!parse_userinfo(&again, &other))
            return rc;
        *c = again;
        *u = other;
    }
}

/* descriptor = domainname / global-number-digits. */
static bool is_phone_context(sv s)
{
    if (s.n && s.p[0] == '+') {
        bool digit = false;
        for (size_t i = 1; i < s.n; i++) {
            if (!uri_is(s.p[i], UC_PHONE))
                return false;
            digit |= uri_is(s.p[i], UC_DIGIT);
        }
        return digit;
    }
    return uri_is_host(s, false);
}

/* RFC 3966 §3: a local number has a phone-context; without it the digits mean something else
 * everywhere. */
static enum err parse_tel(struct cursor *c, struct uri *u)
{
    const char *from = c->p;
    bool global = at(c, '+'), digit = false;
    c->p += global;
    unsigned mask = global ? UC_PHONE : UC_PHONE_HEX;
    for (; c->p < c->end && uri_is(*c->p, mask); c->p++)
        digit |= uri_is(*c->p, UC_HEX) || *c->p == '*' || *c->p == '#';
    u->opaque = (sv){from, (size_t)(c->p - from)};
    if (!digit)
        return ERR_SYNTAX;
    if (at(c, ';'))
        TRY(parse_params(c, UC_SCHEME, UC_PARAM, &u->params));
    sv value;
    if (uri_param(u, SV("ext"), &value)) {
        for (size_t i = 0; i < value.n; i++)
            if (!uri_is(value.p[i], UC_PHONE))
                return ERR_SYNTAX;
    }
    bool context = uri_param(u, SV("phone-context"), &value);
    if (context ? !is_phone_context(value) : !global) {
        c->p = from;
        return ERR_SYNTAX;
    }
    return ERR_OK;
}

/* An absolute URI of RFC 3986: hier-part and query, opaque to us. Brackets only as an authority's.
 */
static enum err parse_other(struct cursor *c, struct uri *u)
{
    const char *from = c->p;
    if (c->end - c->p > 2 && c->p[0] == '/' && c->p[1] == '/') {
        c->p += 2;
        const char *open = c->p;
        while (open < c->end && (uri_is(*open, UC_URIC) || *open == '%') && *open != '/' &&
               *open != '?')
            open++;
        if (open < c->end && *open == '[') {
            (void)run(c, UC_URIC);
            if (c->p != open)
                return ERR_SYNTAX;
            const char *close = memchr(open, ']', (size_t)(c->end - open));
            if (!close || !uri_is_host((sv){open + 1, (size_t)(close - open) - 1}, true))
                return ERR_SYNTAX;
            c->p = close + 1;
        }
    }
    (void)run(c, UC_URIC);
    u->opaque = (sv){from, (size_t)(c->p - from)};
    return u->opaque.n ? ERR_OK : ERR_SYNTAX;
}

/* Three letters in any case and a colon: setting bit 5 makes no other octet a letter. */
static bool is_scheme3(const char *p, const char *want)
{
    return (uri_load4(p) | uri_load4("   ")) == uri_load4(want);
}

/* The scheme and its colon. */
static enum err parse_scheme(struct cursor *c, struct uri *u)
{
    const char *from = c->p;
    if (c->end - from > 4 && is_scheme3(from, "sip:")) {
        u->scheme = URI_SIP;
        u->scheme_text = (sv){from, 3};
        c->p += 4;
        return ERR_OK;
    }
    if (c->p == c->end || !uri_is(*c->p, UC_ALPHA))
        return ERR_SYNTAX;
    c->p = uri_span(c->p, c->end, UC_SCHEME);
    if (!at(c, ':'))
        return ERR_SYNTAX;
    sv s = {from, (size_t)(c->p - from)};
    u->scheme_text = s;
    u->scheme = sv_ieq(s, SV("sip"))    ? URI_SIP
                : sv_ieq(s, SV("sips")) ? URI_SIPS
                : sv_ieq(s, SV("tel"))  ? URI_TEL
                                        : URI_OTHER;
    c->p++;
    return ERR_OK;
}

static enum err parse_any(struct cursor *c, struct uri *u)
{
    TRY(parse_scheme(c, u));
    switch (u->scheme) {
    case URI_SIP:
    case URI_SIPS:
        return parse_sip(c, u);
    case URI_TEL:
        return parse_tel(c, u);
    case URI_OTHER:
        break;
    }
    return parse_other(c, u);
}

enum err uri_read(const char **pp, const char *end, struct uri *ret_uri)
{
    struct cursor c = {*pp, end, false};
    struct uri *u = ret_uri;
    /* field by field: as a whole the compiler makes a string instruction of it, which starts slowly */
    u->user = u->password = u->host = u->params = u->headers = u->opaque = SV_NONE;
    u->port = 0;
    u->host_ip6 = false;
    enum err rc = parse_any(&c, u);
    u->text = (sv){*pp, (size_t)(c.p - *pp)};
    *pp = c.p;
    return rc == ERR_OK && u->text.n > URI_MAX ? ERR_TOOBIG : rc;
}

enum err uri_parse(sv text, struct uri *ret_uri, size_t *reterr_at)
{
    struct uri u;
    if (!text.p)
        text = SV("");
    const char *p = text.p, *end = p + text.n;
    enum err rc = ERR_TOOBIG;
    if (text.n <= URI_MAX)
        rc = uri_read(&p, end, &u);
    else
        p += URI_MAX;
    if (rc == ERR_OK && p < end)
        rc = ERR_SYNTAX;
    if (rc) {
        if (reterr_at)
            *reterr_at = (size_t)(p - text.p);
        return rc;
    }
    *ret_uri = u;
    return ERR_OK;
}

bool uri_param_next(sv *rest, sv *ret_name, sv *ret_value)
{
    if (!rest->p || rest->n == 0)
        return false;
    size_t n = sv_chr(*rest, ';');
    sv one = sv_sub(*rest, 0, n);
    *rest = sv_sub(*rest, n + 1, rest->n);
    size_t eq = sv_chr(one, '=');
    *ret_name = sv_sub(one, 0, eq);
    *ret_value = sv_sub(one, eq + 1, one.n);
    return true;
}

bool uri_find_param(const struct uri *u, sv name, sv *ret_value)
{
    sv rest = u->params, one, value;
    while (uri_param_next(&rest, &one, &value)) {
        if (uri_text_equal(one, name, true)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

static enum err move_view(struct arena *a, sv from, sv to, sv *view)
{
    if (!view->p)
        return ERR_OK;
    uintptr_t base = (uintptr_t)from.p, p = (uintptr_t)view->p;
    if (from.p && p >= base && p - base <= from.n && view->n <= from.n - (p - base)) {
        view->p = to.p + (p - base);
        return ERR_OK;
    }
    /* a uri put together by hand: its parts lie anywhere */
    return sv_dup(a, *view, view);
}

enum err uri_dup(struct arena *a, const struct uri *src, struct uri *ret_uri)
{
    struct uri u = *src;
    if (src->text.p)
        TRY(sv_dup(a, src->text, &u.text));
    sv *views[] = {&u.scheme_text, &u.user, &u.password, &u.host, &u.params, &u.headers, &u.opaque};
    for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++)
        TRY(move_view(a, src->text, u.text, views[i]));
    *ret_uri = u;
    return ERR_OK;
}

void uri_print(struct buf *b, const struct uri *u)
{
    static const sv names[] = {
        [URI_SIP] = {"sip", 3}, [URI_SIPS] = {"sips", 4}, [URI_TEL] = {"tel", 3}};
    buf_put(b, u->scheme == URI_OTHER ? u->scheme_text : names[u->scheme]);
    buf_char(b, ':');
    if (u->scheme == URI_OTHER || u->scheme == URI_TEL) {
        buf_put(b, u->opaque);
    } else {
        if (u->user.p) {
            buf_put(b, u->user);
            if (u->password.p) {
                buf_char(b, ':');
                buf_put(b, u->password);
            }
            buf_char(b, '@');
        }
        if (u->host_ip6)
            buf_char(b, '[');
        buf_put(b, u->host);
        if (u->host_ip6)
            buf_char(b, ']');
        if (u->port) {
            buf_char(b, ':');
            buf_u64(b, u->port);
        }
    }
    if (u->params.p) {
        buf_char(b, ';');
        buf_put(b, u->params);
    }
    if (u->headers.p) {
        buf_char(b, '?');
        buf_put(b, u->headers);
    }
}
