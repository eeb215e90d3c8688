/* SPDX-License-Identifier: MIT */
/* What a REGISTER does to a set of bindings: RFC 3261 §10.3 steps 6 to 8, as a pure function.
 * All or nothing: a refusal leaves the old set as it was. */
#include "registrar/registrar_priv.h"
#include "location/location.h"

enum { AGENT_MAX = 128, PARAMS_MAX = 1024, CONTACT_MAX = 1024 };
/* §20.10: a malformed expires parameter counts as one hour. §10.3: only intervals below an hour may
 * be refused as too brief. */
enum { HOUR_S = 3600 };

struct apply {
    struct sipmsg *req;
    const struct flow *flow;
    const struct registrar_limits *lim;
    usec now;
    uint64_t epoch;
    struct arena *arena;
    sv call_id;
    uint32_t cseq;
    bool has_expires;
    uint32_t expires_s; /* the header's */
    bool nat;           /* one stands between the phone and us */
    bool added;         /* a contact that was not there */
    const struct sip *sip;
    struct registrar_result *out;
};

static void refuse(struct registrar_result *out, uint16_t status, const char *why)
{
    out->status = status;
    out->why = why;
    out->changed = false;
}

/* Numbers of an expires parameter; what is malformed counts as 3600 (RFC 3261 §20.10). */
static uint32_t expires_of(const struct apply *ap, sv contact_params)
{
    sv text;
    if (!sip_param(contact_params, SV("expires"), &text))
        return ap->has_expires ? ap->expires_s : ap->lim->expires_default_s;
    uint64_t v;
    if (sv_u64(text, UINT32_MAX, &v) != ERR_OK)
        return HOUR_S;
    return (uint32_t)v;
}

/* qvalue = "0" ["." 0*3DIGIT] / "1" ["." 0*3("0")] */
static enum err q_of(sv contact_params, uint16_t *ret_q)
{
    sv text;
    *ret_q = 1000;
    if (!sip_param(contact_params, SV("q"), &text))
        return ERR_OK;
    if (text.n == 0 || text.n > 5 || (text.p[0] != '0' && text.p[0] != '1'))
        return ERR_SYNTAX;
    unsigned q = (unsigned)(text.p[0] - '0') * 1000;
    if (text.n > 1 && text.p[1] != '.')
        return ERR_SYNTAX;
    for (size_t i = 2, unit = 100; i < text.n; i++, unit /= 10) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return ERR_SYNTAX;
        q += (unsigned)((text.p[i] - '0') * (int)unit);
    }
    if (q > 1000)
        return ERR_SYNTAX;
    *ret_q = (uint16_t)q;
    return ERR_OK;
}

/* All parameters but expires and q come back as they came. */
static enum err kept_params(struct arena *a, sv params, sv *ret)
{
    char mem[PARAMS_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    sv name, value;
    enum err rc = ERR_OK;
    while (sip_param_next(&params, &name, &value, &rc)) {
        if (sv_ieq(name, SV("expires")) || sv_ieq(name, SV("q")))
            continue;
        buf_char(&b, ';');
        buf_put(&b, name);
        if (value.p && value.n) {
            buf_char(&b, '=');
            for (size_t i = 0; i < value.n;
                 i++) /* a fold becomes blanks: it goes into other lines */
                buf_char(&b, value.p[i] == '\r' || value.p[i] == '\n' ? ' ' : value.p[i]);
        }
    }
    TRY(rc);
    TRY(b.rc);
    return sv_dup(a, buf_sv(&b), ret);
}

static enum err make_binding(const struct apply *ap, const struct sip_addr *c, uint32_t expires_s,
                             struct binding *ret)
{
    sv agent = sipmsg_value(ap->req, SIP_H_USER_AGENT);
    *ret = (struct binding){
        .uri = c->uri.text,
        .call_id = ap->call_id,
        .cseq = ap->cseq,
        .expires = ap->now + expires_s * USEC_S,
        .since = ap->now,
        .agent = sv_sub(agent, 0, AGENT_MAX),
        .transport = (uint8_t)ap->flow->transport,
        .listener = ap->flow->listener,
        .worker = ap->flow->worker,
        .conn = ap->flow->conn,
        .epoch = ap->epoch,
        .local = ap->flow->local,
        .remote = ap->flow->remote,
        .by_flow = location_by_flow(&c->uri, ap->flow, ap->nat),
    };
    TRY(q_of(c->params, &ret->q));
    return kept_params(ap->arena, c->params, &ret->params);
}

/* §10.3 step 7: an update from the same Call-ID needs a higher CSeq. What this request itself has
 * made a moment ago (a contact that it names twice) is in order. */
static bool in_order(const struct apply *ap, const struct binding *b)
{
    return b->call_id.p == ap->call_id.p || !sv_eq(b->call_id, ap->call_id) || ap->cseq > b->cseq;
}

static struct binding *find(struct binding *set, size_t n, const struct uri *u)
{
    for (size_t i = 0; i < n; i++) {
        struct uri have;
        if (uri_parse(set[i].uri, &have, NULL) == ERR_OK && uri_equal(&have, u))
            return &set[i];
    }
    return NULL;
}

/* A contact that calls would be sent to must be an address that this peer may name (D5, D16). */
static bool reachable(const struct apply *ap, const struct uri *u)
{
    struct dest d;
    uint8_t ip[16];
    size_t n;
    if (uri_host_ip(u->host, ip, &n))
        return true; /* a name: only ever reached by the flow */
    struct addr named = addr_from_ip(ip, n, u->port ? u->port : 5060);
    if (location_by_flow(u, ap->flow, ap->nat))
        return !ap->sip || !sip_is_local(ap->sip, u->host, named.port);
    if (location_dest(u, &d))
        return false;
    /* On the open network a phone speaks for its own address only: else anybody with an account could
     * aim calls at anybody (D15). */
    if (addr_class(&d.addr) == ADDR_GLOBAL && !addr_equal_ip(&d.addr, &ap->flow->remote))
        return false;
    return !ap->sip || location_allowed(ap->sip, &d.addr, &ap->flow->remote);
}

/* One Contact. A refusal stands in the result. */
static enum err apply_contact(struct apply *ap, const struct sip_addr *c)
{
    struct registrar_result *out = ap->out;
    if (c->uri.scheme != URI_SIP && c->uri.scheme != URI_SIPS) {
        refuse(out, 400, "Contact Is Not a SIP URI");
        return ERR_OK;
    }
    if (c->uri.text.n > CONTACT_MAX) {
        refuse(out, 400, "Contact Is Too Long");
        return ERR_OK;
    }
    uint32_t expires_s = expires_of(ap, c->params);
    if (expires_s > 0 && !reachable(ap, &c->uri)) {
        refuse(out, 403, "Contact Address Not Allowed");
        return ERR_OK;
    }
    if (expires_s > 0 && expires_s < HOUR_S && expires_s < ap->lim->expires_min_s) {
        refuse(out, 423, NULL);
        return ERR_OK;
    }
    if (expires_s > ap->lim->expires_max_s)
        expires_s = ap->lim->expires_max_s;

    struct binding *have = find(out->bindings, out->n, &c->uri);
    if (have && !in_order(ap, have)) {
        refuse(out, 500, "CSeq Out of Order");
        return ERR_OK;
    }
    if (expires_s == 0) {
        if (have) {
            *have = out->bindings[--out->n];
            out->changed = true;
        }
        return ERR_OK;
    }
    struct binding made;
    enum err rc = make_binding(ap, c, expires_s, &made);
    if (rc == ERR_SYNTAX || rc == ERR_TOOBIG) {
        refuse(out, 400, "Contact Parameters Are Malformed");
        return ERR_OK;
    }
    TRY(rc);
    if (have) {
        made.since = have->since;
        *have = made;
    } else if (out->n >= 2 * (size_t)ap->lim->contacts) {
        refuse(out, 403, "Too Many Contacts"); /* whatever follows: no more are compared */
        return ERR_OK;
    } else {
        out->bindings[out->n++] = made;
        ap->added = true;
    }
    out->changed = true;
    return ERR_OK;
}

/* §10.3 step 6: "Contact: *" stands alone and with Expires: 0. */
static void apply_star(const struct apply *ap, size_t contacts)
{
    struct registrar_result *out = ap->out;
    if (contacts != 1 || !ap->has_expires || ap->expires_s != 0) {
        refuse(out, 400, "Contact * Needs Expires 0 and No Other Contact");
        return;
    }
    for (size_t i = 0; i < out->n; i++) {
        if (!in_order(ap, &out->bindings[i])) {
            refuse(out, 500, "CSeq Out of Order");
            return;
        }
    }
    out->changed = out->n > 0;
    out->n = 0;
}

static void sort_bindings(struct binding *b, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct binding x = b[i];
        size_t k = i;
        for (; k > 0 && (b[k - 1].q < x.q || (b[k - 1].q == x.q && b[k - 1].expires < x.expires));
             k--)
            b[k] = b[k - 1];
        b[k] = x;
    }
}

enum err registrar_apply(const struct sip *s, struct sipmsg *req, const struct flow *flow,
                         uint64_t epoch, const struct binding *old, size_t old_n,
                         const struct registrar_limits *lim, usec now, struct arena *a,
                         struct registrar_result *ret_result)
{
    struct registrar_result *out = ret_result;
    *out = (struct registrar_result){.status = 200};
    struct apply ap = {.sip = s,
                       .req = req,
                       .flow = flow,
                       .lim = lim,
                       .now = now,
                       .epoch = epoch,
                       .arena = a,
                       .out = out};
    const struct sip_cseq *cseq;
    if (sipmsg_cseq(req, &cseq) || sipmsg_call_id(req, &ap.call_id)) {
        refuse(out, 400, NULL);
        return ERR_OK;
    }
    ap.cseq = cseq->number;
    ap.has_expires = sipmsg_has(req, SIP_H_EXPIRES);
    if (ap.has_expires && sipmsg_number(req, SIP_H_EXPIRES, &ap.expires_s))
        ap.expires_s = HOUR_S;
    ap.nat = location_behind_nat(req, flow);

    const struct sip_addr *contacts = NULL;
    size_t n = 0;
    enum err rc = sipmsg_addrs(req, SIP_H_CONTACT, &contacts, &n);
    if (rc != ERR_OK && rc != ERR_NOTFOUND) {
        if (rc == ERR_NOMEM)
            return rc;
        refuse(out, 400, "Contact Is Malformed");
        return ERR_OK;
    }
    out->bindings = arena_calloc(a, old_n + n + 1, sizeof(*out->bindings));
    if (!out->bindings)
        return ERR_NOMEM;
    if (old_n)
        memcpy(out->bindings, old, old_n * sizeof(*old));
    out->n = old_n;

    for (size_t i = 0; i < n && out->status == 200; i++) {
        if (contacts[i].star)
            apply_star(&ap, n);
        else
            TRY(apply_contact(&ap, &contacts[i]));
    }
    /* The set that comes out counts: a phone may replace its contact at the cap. */
    if (out->status == 200 && ap.added && out->n > lim->contacts)
        refuse(out, 403, "Too Many Contacts");
    if (out->status == 200)
        sort_bindings(out->bindings, out->n);
    return ERR_OK;
}

void registrar_put_bindings(struct buf *b, const struct binding *bindings, size_t n, usec now)
{
    for (size_t i = 0; i < n; i++) {
        const struct binding *x = &bindings[i];
        buf_str(b, "Contact: <");
        buf_put(b, x->uri);
        buf_char(b, '>');
        if (x->q != 1000)
            buf_printf(b, ";q=0.%03u", x->q);
        buf_put(b, x->params);
        usec left = x->expires - now;
        buf_printf(b, ";expires=%lld\r\n",
                   (long long)(left > 0 ? (left + USEC_S - 1) / USEC_S : 0));
    }
    buf_str(b, "Date: ");
    clock_rfc1123(b, now);
    buf_str(b, "\r\n");
}
