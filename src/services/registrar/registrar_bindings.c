/* SPDX-License-Identifier: MIT */
/* What a REGISTER does to a set of bindings: RFC 3261 §10.3 steps 6 to 8 with RFC 5626 §6, as a pure
 * function. All or nothing: a refusal leaves the old set as it was. */
#include "registrar/registrar_priv.h"
#include "location/location.h"

enum { AGENT_MAX = 128 };
/* §20.10: a malformed expires parameter counts as one hour. §10.3: only intervals below an hour may
 * be refused as too brief. */
enum { HOUR_S = 3600 };

struct apply {
    const struct registrar_input *in;
    const struct registrar_limits *lim;
    struct arena *arena;
    sv call_id;
    uint32_t cseq;
    bool has_expires;
    uint32_t expires_s; /* the header's */
    bool nat;           /* one stands between the phone and us */
    bool sips;          /* the Request-URI, every Path and this hop are secure */
    bool outbound;      /* reg-ids count */
    bool added;         /* a contact that was not there */
    struct path path;
    struct registrar_result *out;
};

static void refuse(struct registrar_result *out, uint16_t status, const char *why)
{
    out->status = status;
    out->why = why;
    out->changed = out->outbound = false;
}

static enum err make_binding(const struct apply *ap, const struct contact *c, uint32_t expires_s,
                             struct binding *ret)
{
    const struct flow *flow = ap->in->flow;
    bool behind_proxies = ap->path.stored.n > 0;
    sv agent = sipmsg_value(ap->in->req, SIP_H_USER_AGENT);
    *ret = (struct binding){
        .uri = c->addr->uri.text,
        .call_id = ap->call_id,
        .cseq = ap->cseq,
        .q = c->q,
        .expires = ap->in->now + expires_s * USEC_S,
        .since = ap->in->now,
        .agent = sv_sub(agent, 0, AGENT_MAX),
        .path = ap->path.stored,
        .instance = c->instance,
        .reg_id = c->reg_id,
        .push = c->push,
        .transport = (uint8_t)flow->transport,
        .listener = flow->listener,
        .worker = flow->worker,
        /* Behind proxies the connection is theirs: it says nothing of the phone. */
        .conn = behind_proxies ? 0 : flow->conn,
        .epoch = ap->in->epoch,
        .local = flow->local,
        .remote = flow->remote,
        .by_flow = !behind_proxies && (c->reg_id || location_by_flow(&c->addr->uri, flow, ap->nat)),
    };
    return contact_params(ap->arena, c->addr->params, &ret->params);
}

/* §10.3 step 7: an update from the same Call-ID needs a higher CSeq. What this request itself has
 * made a moment ago (a contact that it names twice) is in order. */
static bool in_order(const struct apply *ap, const struct binding *b)
{
    return b->call_id.p == ap->call_id.p || !sv_eq(b->call_id, ap->call_id) || ap->cseq > b->cseq;
}

/* peer may make us send to this numeric address (D5, D15, D16). */
static bool may_name(const struct apply *ap, const struct addr *named)
{
    const struct addr *peer = &ap->in->flow->remote;
    /* On the open network a phone speaks for its own address only: else anybody with an account could
     * aim calls at anybody (D15). */
    if (addr_class(named) == ADDR_GLOBAL && !addr_equal_ip(named, peer))
        return false;
    return !ap->in->sip || location_allowed(ap->in->sip, named, peer);
}

/* A contact that calls would be sent to must be an address that this peer may name. */
static bool reachable(const struct apply *ap, const struct contact *c)
{
    const struct uri *u = &c->addr->uri;
    const struct sip *s = ap->in->sip;
    struct dest d;
    uint8_t ip[16];
    size_t n;
    if (uri_host_ip(u->host, ip, &n))
        return true; /* a name: only ever reached by the flow, or by others */
    struct addr named = addr_from_ip(ip, n, u->port ? u->port : 5060);
    if (ap->path.stored.n || c->reg_id || location_by_flow(u, ap->in->flow, ap->nat))
        return !s || !sip_is_local(s, u->host, named.port);
    return location_dest(u, &d) == ERR_OK && may_name(ap, &d.addr);
}

/* The next hop of requests to these contacts. A proxy of the operator's may be named by anybody that
 * it lets through; another one must be who it says. */
static bool path_allowed(const struct apply *ap)
{
    const struct uri *u = &ap->path.first.uri;
    const struct sip *s = ap->in->sip;
    uint8_t ip[16];
    size_t n;
    if (ap->path.stored.n == 0)
        return true;
    const struct sip_config *c = s ? sip_config(s) : NULL;
    for (unsigned i = 0; c && i < c->trusted_n; i++)
        if (addr_net_has(&c->trusted[i], &ap->in->flow->remote))
            return true;
    sv maddr; /* it would lead elsewhere than the host says */
    if (uri_host_ip(u->host, ip, &n) || uri_param(u, SV("maddr"), &maddr))
        return false;
    struct addr named = addr_from_ip(ip, n, u->port ? u->port : 5060);
    return may_name(ap, &named);
}

/* Why this Contact is not taken; NULL: it may be. */
static const char *objection(const struct apply *ap, const struct contact *c, uint16_t *ret_status)
{
    const struct uri *u = &c->addr->uri;
    *ret_status = 400;
    if (u->scheme != URI_SIP && u->scheme != URI_SIPS) {
        if (c->instance.n)
            *ret_status = 403; /* RFC 5627 §5.1 */
        return "Contact Is Not a SIP URI";
    }
    if (u->text.n > CONTACT_MAX)
        return "Contact Is Too Long";
    if (c->expires_s == 0)
        return NULL;
    /* RFC 5630 §5.2 */
    if (u->scheme == URI_SIPS && !ap->sips)
        return "SIPS Contact Needs SIPS All the Way";
    *ret_status = 403;
    /* RFC 5627 §5.1: it would be a loop. */
    if (c->instance.n && contact_is_aor(u, ap->in->aor))
        return "Contact Is the Address of Record";
    return reachable(ap, c) ? NULL : "Contact Address Not Allowed";
}

/* Takes away all that c means. False: one of them is newer than this request.
 *   ret_since  of the eldest, or as it was */
static bool take_away(struct apply *ap, const struct contact *c, usec *ret_since)
{
    struct registrar_result *out = ap->out;
    size_t kept = 0;
    for (size_t i = 0; i < out->n; i++)
        if (contact_means(c, &out->bindings[i]) && !in_order(ap, &out->bindings[i]))
            return false;
    for (size_t i = 0; i < out->n; i++) {
        if (!contact_means(c, &out->bindings[i])) {
            out->bindings[kept++] = out->bindings[i];
            continue;
        }
        if (out->bindings[i].since < *ret_since)
            *ret_since = out->bindings[i].since;
    }
    out->changed = out->changed || kept < out->n;
    out->n = kept;
    return true;
}

/* One Contact. A refusal stands in the result. */
static enum err apply_contact(struct apply *ap, const struct contact *c)
{
    struct registrar_result *out = ap->out;
    uint32_t expires_s = c->expires_s;
    usec since = ap->in->now;
    struct binding made = {0};
    uint16_t status;
    const char *why = objection(ap, c, &status);
    if (why) {
        refuse(out, status, why);
        return ERR_OK;
    }
    if (expires_s > 0 && expires_s < HOUR_S && expires_s < ap->lim->expires_min_s) {
        refuse(out, 423, NULL);
        return ERR_OK;
    }
    if (expires_s > ap->lim->expires_max_s)
        expires_s = ap->lim->expires_max_s;
    if (expires_s) {
        enum err rc = make_binding(ap, c, expires_s, &made);
        if (rc == ERR_SYNTAX || rc == ERR_TOOBIG) {
            refuse(out, 400, "Contact Parameters Are Malformed");
            return ERR_OK;
        }
        TRY(rc);
        TRY(gruu_seed(ap->in, out->bindings, out->n, &made, ap->arena));
    }
    size_t before = out->n;
    if (!take_away(ap, c, &since)) {
        refuse(out, 500, "CSeq Out of Order");
        return ERR_OK;
    }
    if (!expires_s)
        return ERR_OK;
    if (out->n >= 2 * (size_t)ap->lim->contacts && out->n == before) {
        refuse(out, 403, "Too Many Contacts"); /* whatever follows: no more are compared */
        return ERR_OK;
    }
    ap->added = ap->added || out->n == before;
    made.since = since;
    out->bindings[out->n++] = made;
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

/* RFC 5626 §6, before any Contact is looked at on its own. */
static void check_outbound(struct apply *ap, const struct sip_addr *contacts, size_t n)
{
    bool supported = sipmsg_lists(ap->in->req, SIP_H_SUPPORTED, SV("outbound"));
    unsigned reg_ids = 0, lasting = 0, lasting_reg_ids = 0;
    for (size_t i = 0; i < n && !contacts[i].star; i++) {
        struct contact c;
        sv text;
        bool has = sip_param(contacts[i].params, SV("reg-id"), &text);
        uint32_t default_s = ap->has_expires ? ap->expires_s : ap->lim->expires_default_s;
        bool lasts = contact_read(&contacts[i], default_s, ap->arena, &c) == ERR_OK && c.expires_s;
        reg_ids += has;
        lasting += lasts;
        lasting_reg_ids += lasts && c.reg_id;
        ap->out->outbound = ap->out->outbound || (has && c.reg_id);
    }
    ap->out->outbound = ap->out->outbound && ap->path.ob && supported;
    ap->outbound = ap->path.ob;
    if (!ap->path.ob && reg_ids && supported)
        refuse(ap->out, 439, NULL);
    else if (ap->path.ob && lasting > 1 && lasting_reg_ids)
        refuse(ap->out, 400, "One Contact With reg-id at a Time");
}

/* What the request says beside its Contacts. A refusal stands in the result. */
static enum err read_request(struct apply *ap)
{
    struct sipmsg *req = ap->in->req;
    struct registrar_result *out = ap->out;
    const struct sip_cseq *cseq;
    const struct uri *uri;
    if (sipmsg_cseq(req, &cseq) || sipmsg_call_id(req, &ap->call_id) || sipmsg_uri(req, &uri)) {
        refuse(out, 400, NULL);
        return ERR_OK;
    }
    ap->cseq = cseq->number;
    ap->has_expires = sipmsg_has(req, SIP_H_EXPIRES);
    if (ap->has_expires && sipmsg_number(req, SIP_H_EXPIRES, &ap->expires_s))
        ap->expires_s = HOUR_S;
    ap->nat = location_behind_nat(req, ap->in->flow);
    enum err rc = path_read(ap->in->sip, req, ap->arena, &ap->path);
    if (rc == ERR_NOMEM)
        return rc;
    if (rc)
        refuse(out, 400, "Path Is Malformed");
    /* RFC 3327 §5.3: the recommended policy; so a phone hears of proxies that should not be there. */
    else if (ap->path.any && !sipmsg_lists(req, SIP_H_SUPPORTED, SV("path")))
        refuse(out, 420, NULL);
    else if (!path_allowed(ap))
        refuse(out, 403, "Path Address Not Allowed");
    ap->sips = uri->scheme == URI_SIPS && ap->path.secure && flow_secure(ap->in->flow);
    out->direct = ap->path.direct;
    return ERR_OK;
}

static enum err apply_contacts(struct apply *ap, const struct sip_addr *contacts, size_t n)
{
    struct registrar_result *out = ap->out;
    uint32_t default_s = ap->has_expires ? ap->expires_s : ap->lim->expires_default_s;
    /* A proxy before us that wakes the phones up says so, and we leave it to it (RFC 8599 §5.6.1.1).
     */
    bool woken =
        sip_param(sipmsg_value_named(ap->in->req, SV("Feature-Caps")), SV("+sip.pns"), &(sv){0});
    for (size_t i = 0; i < n && out->status == 200; i++) {
        struct contact c;
        if (contacts[i].star) {
            apply_star(ap, n);
            continue;
        }
        enum err rc = contact_read(&contacts[i], default_s, ap->arena, &c);
        if (rc == ERR_NOMEM)
            return rc;
        if (rc) {
            refuse(out, 400, "Contact Parameters Are Malformed");
            break;
        }
        if (!ap->outbound)
            c.reg_id = 0;
        if (woken)
            c.push = SV_NONE;
        TRY(apply_contact(ap, &c));
    }
    return ERR_OK;
}

enum err registrar_apply(const struct registrar_input *in, const struct registrar_limits *lim,
                         struct arena *a, struct registrar_result *ret_result)
{
    struct registrar_result *out = ret_result;
    *out = (struct registrar_result){.status = 200};
    struct apply ap = {.in = in, .lim = lim, .arena = a, .out = out};
    const struct sip_addr *contacts = NULL;
    size_t n = 0;
    TRY(read_request(&ap));
    if (out->status != 200)
        return ERR_OK;
    enum err rc = sipmsg_addrs(in->req, SIP_H_CONTACT, &contacts, &n);
    if (rc != ERR_OK && rc != ERR_NOTFOUND) {
        if (rc == ERR_NOMEM)
            return rc;
        refuse(out, 400, "Contact Is Malformed");
        return ERR_OK;
    }
    if (lim->outbound)
        check_outbound(&ap, contacts, n);
    if (out->status != 200)
        return ERR_OK;
    out->bindings = arena_calloc(a, in->old_n + n + 1, sizeof(*out->bindings));
    if (!out->bindings)
        return ERR_NOMEM;
    if (in->old_n)
        memcpy(out->bindings, in->old, in->old_n * sizeof(*in->old));
    out->n = in->old_n;
    TRY(apply_contacts(&ap, contacts, n));
    /* The set that comes out counts: a phone may replace its contact at the cap. */
    if (out->status == 200 && ap.added && out->n > lim->contacts)
        refuse(out, 403, "Too Many Contacts");
    if (out->status == 200)
        sort_bindings(out->bindings, out->n);
    return ERR_OK;
}
