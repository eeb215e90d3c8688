/* SPDX-License-Identifier: MIT */
/* Digest, what both sides share, and the client's side. RFC 7616 §3.4, RFC 8760 §2. */
#include "auth/auth_priv.h"

sv auth_algorithm_name(enum auth_algorithm a)
{
    return a == AUTH_SHA256 ? SV("SHA-256") : SV("MD5");
}

bool auth_algorithm_of(sv text, enum auth_algorithm *ret)
{
    if (!text.p || sv_ieq(text, SV("MD5")))
        *ret = AUTH_MD5;
    else if (sv_ieq(text, SV("SHA-256")))
        *ret = AUTH_SHA256;
    else
        return false;
    return true;
}

/* Hash of n pieces; returns the length in octets. */
static size_t digest(enum auth_algorithm a, const sv *pieces, size_t n,
                     uint8_t ret[static SHA256_LEN])
{
    if (a == AUTH_SHA256) {
        crypto_sha256(pieces, n, ret);
        return SHA256_LEN;
    }
    crypto_md5(pieces, n, ret);
    return MD5_LEN;
}

static sv hex(const uint8_t *p, size_t n, char mem[static 2 * SHA256_LEN])
{
    struct buf b;
    buf_init(&b, mem, 2 * SHA256_LEN);
    buf_hex(&b, p, n);
    return buf_sv(&b);
}

void auth_ha1(sv user, sv realm, sv password, struct auth_ha1 *ret_ha1)
{
    sv pieces[] = {user, SV(":"), realm, SV(":"), password};
    crypto_md5(pieces, 5, ret_ha1->md5);
    crypto_sha256(pieces, 5, ret_ha1->sha256);
    ret_ha1->has_md5 = ret_ha1->has_sha256 = true;
}

/* H(A2) in hex. What was asked for last is mostly asked for again: a domain's phones register with one URI. */
static sv hash_of_a2(enum auth_algorithm a, sv method, sv uri, char mem[static 2 * SHA256_LEN])
{
    static _Thread_local struct {
        char text[128];
        size_t n; /* 0: nothing yet */
        enum auth_algorithm algorithm;
        char hash[2 * SHA256_LEN];
    } last;
    enum { SEPARATOR = 1 };
    size_t n = method.n + SEPARATOR + uri.n, hex_n = 2 * (a == AUTH_SHA256 ? SHA256_LEN : MD5_LEN);
    bool fits = n <= sizeof last.text && method.n > 0 && uri.n > 0;
    if (fits && last.n == n && last.algorithm == a && memcmp(last.text, method.p, method.n) == 0 &&
        last.text[method.n] == ':' && memcmp(last.text + method.n + SEPARATOR, uri.p, uri.n) == 0) {
        memcpy(mem, last.hash, hex_n);
        return (sv){mem, hex_n};
    }
    uint8_t raw[SHA256_LEN];
    sv two[] = {method, SV(":"), uri};
    sv text = hex(raw, digest(a, two, 3, raw), mem);
    if (fits) {
        memcpy(last.text, method.p, method.n);
        last.text[method.n] = ':';
        memcpy(last.text + method.n + SEPARATOR, uri.p, uri.n);
        memcpy(last.hash, text.p, text.n);
        last.n = n;
        last.algorithm = a;
    }
    return text;
}

size_t auth_response(const struct auth_claim *c, const struct auth_ha1 *ha1, sv method,
                     char ret_hex[static 2 * SHA256_LEN])
{
    uint8_t raw[SHA256_LEN];
    char ha1_mem[2 * SHA256_LEN], ha2_mem[2 * SHA256_LEN];
    bool md5 = c->algorithm == AUTH_MD5;
    sv a1 = hex(md5 ? ha1->md5 : ha1->sha256, md5 ? MD5_LEN : SHA256_LEN, ha1_mem);
    sv a2 = hash_of_a2(c->algorithm, method, c->uri, ha2_mem);
    sv all[] = {a1, SV(":"), c->nonce, SV(":"), c->nc_text, SV(":"), c->cnonce, SV(":auth:"), a2};
    size_t n = digest(c->algorithm, all, 9, raw);
    crypto_wipe(ha1_mem, sizeof(ha1_mem));
    return hex(raw, n, ret_hex).n;
}

/* ---- reading credentials ---- */

struct fields {
    sv username, realm, nonce, uri, response, cnonce, nc, qop, algorithm;
    bool has_username, has_userhash;
};

/* The parameters that are asked for, and where they go. */
static const struct {
    sv name;
    size_t to;
} known[] = {
    {{"username", 8}, offsetof(struct fields, username)},
    {{"realm", 5}, offsetof(struct fields, realm)},
    {{"nonce", 5}, offsetof(struct fields, nonce)},
    {{"uri", 3}, offsetof(struct fields, uri)},
    {{"response", 8}, offsetof(struct fields, response)},
    {{"cnonce", 6}, offsetof(struct fields, cnonce)},
    {{"nc", 2}, offsetof(struct fields, nc)},
    {{"qop", 3}, offsetof(struct fields, qop)},
    {{"algorithm", 9}, offsetof(struct fields, algorithm)},
};
enum { KNOWN = sizeof(known) / sizeof(known[0]) };

static sv *field_at(struct fields *f, size_t i)
{
    return (sv *)(void *)((char *)f + known[i].to);
}

/* NULL: nobody asks for it. */
static sv *field_of(struct fields *f, sv name)
{
    for (size_t i = 0; i < KNOWN; i++) {
        if (sv_ieq(name, known[i].name))
            return field_at(f, i);
    }
    return NULL;
}

/* The known name and "=" at p, as it is mostly written; NULL: another, or otherwise written. */
static sv *field_begun(struct fields *f, const char **p, const char *end)
{
    for (size_t i = 0; i < KNOWN; i++) {
        sv name = known[i].name;
        if ((size_t)(end - *p) > name.n && (*p)[name.n] == '=' && (*p)[0] == name.p[0] &&
            memcmp(*p, name.p, name.n) == 0) {
            *p += name.n + 1;
            return field_at(f, i);
        }
    }
    return NULL;
}

/* The first octet that is no printable ASCII, or does not stand for itself in a quoted string. */
static const char *plain_end(const char *p, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
    for (uint64_t x; end - p >= 8; p += 8) {
        memcpy(&x, p, 8);
        uint64_t quote = x ^ ones * '"', escape = x ^ ones * '\\';
        /* The high bit of an octet that is zero, below ' ', above '~'; perhaps of others too. */
        uint64_t odd =
            ((quote - ones) & ~quote) | ((escape - ones) & ~escape) | (x - ones * ' ') | (x + ones);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        if (odd & high) /* the first of them is surely one */
            return p + __builtin_ctzll(odd & high) / 8;
#else
        if (odd & high)
            break;
#endif
    }
    while (p < end && (unsigned)(*p - ' ') < 0x7f - ' ' && *p != '"' && *p != '\\')
        p++;
    return p;
}

/* The next parameter as nearly all are written: a known name in small letters, "=", and letters and digits, or a
 * quoted string of plain ASCII without a backslash. Returns where it goes; NULL: nothing is read, the general reader
 * says what it is. */
static sv *usual_param(struct fields *f, sv *rest, sv *ret_value)
{
    const char *p = rest->p, *end = p + rest->n;
    while (p < end && *p == ' ')
        p++;
    sv *to = field_begun(f, &p, end);
    if (!to || p == end)
        return NULL;
    const char *value = p + (*p == '"');
    if (*p == '"') {
        p = plain_end(value, end);
        if (p == end || *p != '"')
            return NULL;
        *ret_value = (sv){value, (size_t)(p++ - value)};
    } else {
        while (p < end && sv_is_alnum(*p))
            p++;
        *ret_value = (sv){value, (size_t)(p - value)};
        if (p == value)
            return NULL;
    }
    if (p < end && *p != ',')
        return NULL;
    *rest = p == end ? SV_NONE : (sv){p + 1, (size_t)(end - p - 1)};
    return to;
}

/* A parameter of any form. */
static enum err other_param(struct arena *a, sv name, sv value, struct fields *f)
{
    sv *to = field_of(f, name);
    if (to && to->p)
        return ERR_SYNTAX;
    if (to)
        return sip_unquote(a, value, to);
    if (sv_ieq(name, SV("username*")) ||
        (sv_ieq(name, SV("userhash")) && sv_ieq(value, SV("true"))))
        f->has_userhash = true;
    return ERR_OK;
}

/* Each parameter once (RFC 7235 §2.1); quoted or token; unknown ones are skipped. */
static enum err read_fields(struct arena *a, sv params, struct fields *f)
{
    sv name, value;
    enum err rc = ERR_OK;
    while (params.p) {
        sv *to = usual_param(f, &params, &value);
        if (to && to->p)
            return ERR_SYNTAX;
        if (to)
            *to = value;
        else if (sip_auth_param_next(&params, &name, &value, &rc))
            TRY(other_param(a, name, value, f));
    }
    return rc;
}

static enum err claim_of(const struct fields *f, struct auth_claim *c)
{
    uint8_t nc[4];
    size_t n;
    *c = (struct auth_claim){.username = f->username,
                             .realm = f->realm,
                             .nonce = f->nonce,
                             .uri = f->uri,
                             .response = f->response,
                             .cnonce = f->cnonce,
                             .nc_text = f->nc};
    if (f->has_userhash || !auth_algorithm_of(f->algorithm, &c->algorithm))
        return ERR_UNSUPPORTED;
    if (f->qop.p && !sv_ieq(f->qop, SV("auth")))
        return ERR_UNSUPPORTED; /* auth-int was not offered */
    if (!f->qop.p)
        return ERR_UNSUPPORTED; /* RFC 2069: replayable; challenged again */
    if (!f->username.n || !f->nonce.n || !f->uri.n || !f->response.n || !f->cnonce.n)
        return ERR_SYNTAX;
    if (f->nc.n != 8 || crypto_unhex(f->nc, nc, sizeof(nc), &n))
        return ERR_SYNTAX;
    c->nc = (uint32_t)nc[0] << 24 | (uint32_t)nc[1] << 16 | (uint32_t)nc[2] << 8 | nc[3];
    return c->nc == 0 ? ERR_SYNTAX : ERR_OK;
}

enum err auth_read(struct sipmsg *req, bool proxy, sv realm, struct auth_claim *ret_claim)
{
    enum sip_header h = proxy ? SIP_H_PROXY_AUTHORIZATION : SIP_H_AUTHORIZATION;
    enum err last = ERR_NOTFOUND;
    for (uint16_t i = req->first[h]; i != SIPMSG_NONE; i = req->fields[i].next) {
        struct sip_auth auth;
        struct fields f = {0};
        TRY(sip_auth_parse(sipmsg_field_value(req, i), &auth));
        if (!sv_ieq(auth.scheme, SV("Digest"))) {
            last = last == ERR_NOTFOUND ? ERR_UNSUPPORTED : last;
            continue;
        }
        TRY(read_fields(req->arena, auth.params, &f));
        if (!sv_eq(f.realm, realm))
            continue; /* another proxy's */
        last = claim_of(&f, ret_claim);
        if (last == ERR_OK)
            return ERR_OK;
    }
    return last;
}

/* ---- client ---- */

/* "auth" stands in the list. */
static bool offers_auth(sv qop)
{
    while (qop.n) {
        size_t comma = sv_chr(qop, ',');
        if (sv_ieq(sv_trim(sv_sub(qop, 0, comma)), SV("auth")))
            return true;
        qop = sv_sub(qop, comma + 1, qop.n);
    }
    return false;
}

/* What a client knows: a password, or an HA1 that was made for one realm. */
struct secret {
    sv password, realm;
    const struct auth_ha1 *ha1; /* NULL: password */
};

static bool can_answer(const struct secret *s, sv realm, enum auth_algorithm algorithm)
{
    if (!s->ha1)
        return true;
    return sv_eq(s->realm, realm) && (algorithm == AUTH_MD5 ? s->ha1->has_md5 : s->ha1->has_sha256);
}

static enum err best_challenge(struct sipmsg *resp, enum sip_header h, const struct secret *s,
                               struct fields *ret_best, enum auth_algorithm *ret_algorithm)
{
    bool found = false;
    for (uint16_t i = resp->first[h]; i != SIPMSG_NONE; i = resp->fields[i].next) {
        struct sip_auth auth;
        struct fields f = {0};
        enum auth_algorithm algorithm;
        if (sip_auth_parse(sipmsg_field_value(resp, i), &auth) ||
            !sv_ieq(auth.scheme, SV("Digest")))
            continue;
        TRY(read_fields(resp->arena, auth.params, &f));
        if (!f.realm.p || !f.nonce.n || !auth_algorithm_of(f.algorithm, &algorithm) ||
            !offers_auth(f.qop) || !can_answer(s, f.realm, algorithm))
            continue;
        if (found && algorithm <= *ret_algorithm)
            continue;
        found = true;
        *ret_best = f;
        *ret_algorithm = algorithm;
    }
    return found ? ERR_OK : ERR_NOTFOUND;
}

static enum err answer(struct buf *b, struct sipmsg *resp, sv method, sv uri, sv user,
                       const struct secret *s, sv cnonce, uint32_t nc)
{
    bool proxy = resp->status == 407;
    enum auth_algorithm algorithm = AUTH_MD5;
    struct fields f;
    TRY(best_challenge(resp, proxy ? SIP_H_PROXY_AUTHENTICATE : SIP_H_WWW_AUTHENTICATE, s, &f,
                       &algorithm));
    char nc_mem[8], response[2 * SHA256_LEN];
    struct buf t;
    uint8_t raw[4] = {(uint8_t)(nc >> 24), (uint8_t)(nc >> 16), (uint8_t)(nc >> 8), (uint8_t)nc};
    buf_init(&t, nc_mem, sizeof(nc_mem));
    buf_hex(&t, raw, sizeof(raw));
    struct auth_ha1 ha1;
    if (s->ha1)
        ha1 = *s->ha1;
    else
        auth_ha1(user, f.realm, s->password, &ha1);
    struct auth_claim c = {.username = user,
                           .realm = f.realm,
                           .nonce = f.nonce,
                           .uri = uri,
                           .cnonce = cnonce,
                           .nc_text = buf_sv(&t),
                           .algorithm = algorithm};
    size_t n = auth_response(&c, &ha1, method, response);
    crypto_wipe(&ha1, sizeof(ha1));
    buf_str(b, proxy ? "Proxy-Authorization: Digest username=\""
                     : "Authorization: Digest username=\"");
    buf_quoted(b, user);
    buf_str(b, "\", realm=\"");
    buf_quoted(b, f.realm);
    buf_str(b, "\", nonce=\"");
    buf_quoted(b, f.nonce);
    buf_str(b, "\", uri=\"");
    buf_quoted(b, uri);
    buf_str(b, "\", response=\"");
    buf_mem(b, response, n);
    buf_str(b, "\", algorithm=");
    buf_put(b, auth_algorithm_name(algorithm));
    buf_str(b, ", cnonce=\"");
    buf_quoted(b, cnonce);
    buf_str(b, "\", qop=auth, nc=");
    buf_put(b, c.nc_text);
    buf_str(b, "\r\n");
    return b->rc;
}

enum err auth_answer(struct buf *b, struct sipmsg *resp, sv method, sv uri, sv user, sv password,
                     sv cnonce, uint32_t nc)
{
    struct secret s = {.password = password};
    return answer(b, resp, method, uri, user, &s, cnonce, nc);
}

enum err auth_answer_ha1(struct buf *b, struct sipmsg *resp, sv method, sv uri, sv user, sv realm,
                         const struct auth_ha1 *ha1, sv cnonce, uint32_t nc)
{
    struct secret s = {.realm = realm, .ha1 = ha1};
    return answer(b, resp, method, uri, user, &s, cnonce, nc);
}
