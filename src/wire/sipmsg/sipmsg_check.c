/* SPDX-License-Identifier: MIT */
/* sipmsg/sipmsg_check.c: the typed check of all that a server acts on. */
#include "sipmsg/sipmsg_priv.h"

struct check {
    struct sipmsg *m;
    struct sipmsg_fault fault;
};

static enum err refuse(struct check *c, enum err rc, const char *at, const char *why)
{
    uint16_t status = rc == ERR_NOMEM ? 503 : 400;
    c->fault.at = at ? (uint32_t)(at - c->m->text.p) : 0;
    c->fault.status = c->m->request ? status : 0;
    c->fault.why = why;
    return rc;
}

#define CHECK(expr, at, why)                    \
    do {                                        \
        enum err rc_ = (expr);                  \
        if (rc_)                                \
            return refuse(c, rc_, (at), (why)); \
    } while (0)

/* The same for a field that must be there. */
#define CHECK_FIELD(expr, h, name) \
    CHECK(expr, sipmsg_value(c->m, (h)).p, sipmsg_has(c->m, (h)) ? "Bad " name : name " missing")

static enum err check_request_uri(struct check *c)
{
    const struct uri *uri;
    CHECK(sipmsg_uri(c->m, &uri), c->m->uri_text.p, "Bad Request-URI");
    /* RFC 3261 §19.1.1 table 1: headers are not allowed in a Request-URI (RFC 4475 §3.1.2.11). */
    if (uri->headers.p)
        return refuse(c, ERR_SYNTAX, uri->headers.p, "Headers in Request-URI");
    return ERR_OK;
}

static enum err check_cseq(struct check *c)
{
    const struct sip_cseq *cseq;
    CHECK_FIELD(sipmsg_cseq(c->m, &cseq), SIP_H_CSEQ, "CSeq");
    if (c->m->request && !sv_eq(cseq->method_text, c->m->method_text))
        return refuse(c, ERR_SYNTAX, cseq->method_text.p, "CSeq method differs");
    return ERR_OK;
}

/* RFC 3261 §8.1.1: To, From, CSeq, Call-ID, Max-Forwards, Via; Max-Forwards was optional in RFC
 * 2543. */
static enum err check_mandatory(struct check *c)
{
    struct sipmsg *m = c->m;
    const struct sip_via *vias;
    const struct sip_addr *addr;
    size_t n;
    sv call_id;
    CHECK_FIELD(sipmsg_vias(m, &vias, &n), SIP_H_VIA, "Via");
    /* A bare cookie promises a unique branch and gives none (RFC 4475 §3.2.1); the transaction
     * would match strangers. */
    if (m->request && sv_ieq(vias[0].branch, SV("z9hG4bK")))
        return refuse(c, ERR_SYNTAX, vias[0].branch.p, "Bad branch");
    CHECK_FIELD(sipmsg_from(m, &addr), SIP_H_FROM, "From");
    CHECK_FIELD(sipmsg_to(m, &addr), SIP_H_TO, "To");
    CHECK_FIELD(sipmsg_call_id(m, &call_id), SIP_H_CALL_ID, "Call-ID");
    return check_cseq(c);
}

static enum err check_numbers(struct check *c)
{
    static const struct {
        enum sip_header h;
        const char *why;
    } numbers[] = {{SIP_H_MAX_FORWARDS, "Bad Max-Forwards"}, {SIP_H_EXPIRES, "Bad Expires"}};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        uint32_t value;
        if (!sipmsg_has(c->m, numbers[i].h))
            continue;
        enum err rc = sipmsg_number(c->m, numbers[i].h, &value);
        if (rc)
            return refuse(c, rc, sipmsg_value(c->m, numbers[i].h).p, numbers[i].why);
    }
    return ERR_OK;
}

static enum err check_addresses(struct check *c)
{
    static const char *const why[SIPMSG_LISTS] = {"Bad Contact", "Bad Route", "Bad Record-Route",
                                                  "Bad Path"};
    for (unsigned h = SIP_H_CONTACT; h < SIP_H_CONTACT + SIPMSG_LISTS; h++) {
        const struct sip_addr *addrs;
        size_t n;
        if (!sipmsg_has(c->m, h))
            continue;
        CHECK(sipmsg_addrs(c->m, h, &addrs, &n), sipmsg_value(c->m, h).p, why[h - SIP_H_CONTACT]);
        /* but for Contact the grammar has no form without brackets */
        for (size_t k = 0; h != SIP_H_CONTACT && k < n; k++)
            if (!addrs[k].bracketed)
                return refuse(c, ERR_SYNTAX, addrs[k].text.p, why[h - SIP_H_CONTACT]);
    }
    return ERR_OK;
}

/* token *( COMMA token ): *count grows by each. The value that is none, or NULL when all are. */
static const char *find_no_token(const struct octet_map *map, sv value, size_t *count)
{
    const char *p = value.p, *end = p + value.n;
    for (;; p++) {
        const char *from = p = sip_lws(p, end);
        p = sip_run(map, p, end, SC_TOKEN);
        bool good = p > from;
        p = sip_lws(p, end);
        if (!good || (p < end && *p != ','))
            return from;
        ++*count;
        if (p == end)
            return NULL;
    }
}

static enum err check_option_tags(struct check *c)
{
    static const enum sip_header lists[] = {SIP_H_REQUIRE, SIP_H_PROXY_REQUIRE, SIP_H_SUPPORTED};
    const struct sipmsg *m = c->m;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        size_t count = 0;
        for (uint16_t f = m->first[lists[i]]; f != SIPMSG_NONE; f = m->fields[f].next) {
            sv value = sipmsg_field_value(m, f);
            if (value.n == 0 && lists[i] == SIP_H_SUPPORTED) /* RFC 3261 §25.1 lets it be empty */
                continue;
            const char *wrong = find_no_token(&m->map, value, &count);
            if (wrong && (wrong == value.p + value.n || *wrong == ','))
                return refuse(c, ERR_SYNTAX, wrong, "Bad list of option tags");
            if (wrong)
                return refuse(c, ERR_SYNTAX, wrong, "Bad option tag");
        }
        if (count > SIPMSG_LIST_MAX)
            return refuse(c, ERR_TOOBIG, sipmsg_value(m, lists[i]).p, "Too many option tags");
    }
    return ERR_OK;
}

/* media-type = type SLASH subtype *( SEMI attribute EQUAL value ) */
static bool is_media_type(const struct octet_map *map, const char *p, const char *end)
{
    const char *type = p;
    p = sip_run(map, p, end, SC_TOKEN);
    if (p == type)
        return false;
    p = sip_lws(p, end);
    if (p == end || *p != '/')
        return false;
    const char *subtype = p = sip_lws(p + 1, end);
    p = sip_run(map, p, end, SC_TOKEN);
    return p > subtype && sip_params_check(sip_lws(p, end), end) == ERR_OK;
}

static enum err check_content_type(struct check *c)
{
    sv value = sipmsg_value(c->m, SIP_H_CONTENT_TYPE);
    if (value.p && !is_media_type(&c->m->map, value.p, value.p + value.n))
        return refuse(c, ERR_SYNTAX, value.p, "Bad Content-Type");
    return ERR_OK;
}

static enum err check_all(struct check *c)
{
    if (c->m->request)
        TRY(check_request_uri(c));
    TRY(check_mandatory(c));
    TRY(check_numbers(c));
    TRY(check_addresses(c));
    TRY(check_option_tags(c));
    return check_content_type(c);
}

enum err sipmsg_check(struct sipmsg *m, struct sipmsg_fault *reterr)
{
    struct check c = {.m = m};
    enum err rc = check_all(&c);
    if (rc && reterr)
        *reterr = c.fault;
    return rc == ERR_NOTFOUND ? ERR_SYNTAX : rc;
}
