/* SPDX-License-Identifier: MIT */
/* The request as it leaves: RFC 3261 §16.6, an edit list over the received octets. */
#include "location/location.h"
#include "proxy/proxy_priv.h"

enum { LINE_MAX = 512, VALUE_MAX = 4 * 1024, SCRATCH = 4 * 1024, SCRATCH_MAX = 64 * 1024 };

/* One request in the making. */
struct making {
    struct proxy *p;
    struct rx *rx;
    const struct plan *plan;
    const struct proxy_target *t;
    const struct dest *d;
    const struct flow *out;
    bool server;
    struct arena *a; /* of the texts that are put in: one request may be built many times */
    struct sipedit e;
};

static void hash_text(uint64_t h, char ret_text[static PROXY_HASH_LEN])
{
    struct buf b;
    buf_init(&b, ret_text, PROXY_HASH_LEN);
    crypto_base64url(&b, &h, sizeof(h));
}

void proxy_loop_hash(struct proxy *p, struct rx *rx, char ret_text[static PROXY_HASH_LEN])
{
    struct sipmsg *m = &rx->msg;
    sv cseq = sipmsg_value(m, SIP_H_CSEQ); /* §16.6 step 8: the method stays out of it */
    cseq = sv_sub(cseq, 0, sv_chr(cseq, ' '));
    /* RFC 5393 §4.2.1: all that routing looks at, but not the Via, which differs on every pass. */
    sv pieces[] = {
        SV("loop"),
        m->uri_text,
        sipmsg_value(m, SIP_H_FROM),
        sipmsg_value(m, SIP_H_TO),
        sipmsg_value(m, SIP_H_CALL_ID),
        cseq,
        sipmsg_value(m, SIP_H_ROUTE),
        sipmsg_value(m, SIP_H_PROXY_REQUIRE),
        sipmsg_value(m, SIP_H_PROXY_AUTHORIZATION),
    };
    hash_text(home_hash(sip_home(p->sip), pieces, sizeof(pieces) / sizeof(pieces[0])), ret_text);
}

void proxy_call_hash(struct proxy *p, sv call_id, char ret_text[static PROXY_HASH_LEN])
{
    sv pieces[] = {SV("route"), call_id};
    hash_text(home_hash(sip_home(p->sip), pieces, 2), ret_text);
}

void proxy_token_hash(struct proxy *p, sv call_id, sv token, bool connection,
                      char ret_text[static PROXY_HASH_LEN])
{
    sv epoch = {(const char *)&p->epoch, sizeof p->epoch};
    sv pieces[] = {SV("flow"), call_id, token, connection ? epoch : SV("")};
    hash_text(home_hash(sip_home(p->sip), pieces, 4), ret_text);
}

static sv arena_text(struct making *k, const struct buf *b)
{
    sv text = SV_NONE;
    enum err rc = b->rc ? b->rc : sv_dup(k->a, buf_sv(b), &text);
    if (rc && !k->e.rc)
        k->e.rc = rc;
    return text;
}

/* A field with a number: its value, or a line of its own. */
static void edit_number(struct making *k, enum sip_header h, uint32_t number)
{
    char mem[LINE_MAX];
    struct buf b;
    bool has = sipmsg_has(&k->rx->msg, h);
    buf_init(&b, mem, sizeof(mem));
    if (!has) {
        buf_put(&b, sip_header_name(h));
        buf_str(&b, ": ");
    }
    buf_u64(&b, number);
    sv text = arena_text(k, &b);
    if (text.p && has)
        sipedit_value(&k->e, k->rx->msg.first[h], text);
    else if (text.p)
        sipedit_line_last(&k->e, text);
}

/* §16.6 step 3: one less, or 70 when the caller (of RFC 2543) gave none. */
static void edit_max_forwards(struct making *k)
{
    uint32_t hops;
    if (sipmsg_number(&k->rx->msg, SIP_H_MAX_FORWARDS, &hops) != ERR_OK)
        edit_number(k, SIP_H_MAX_FORWARDS, 70);
    else
        edit_number(k, SIP_H_MAX_FORWARDS, hops > 0 ? hops - 1 : 0);
}

/* ---- Record-Route (§16.6 step 4) ---- */

/* One side of us, as the peers there see it. */
struct side {
    const struct flow *flow;
    bool sips;  /* that side speaks of us by a sips URI */
    bool token; /* who is there is reached by the flow alone (RFC 5626 §5.3) */
};

static void put_token(struct making *k, struct buf *b, const struct flow *f)
{
    char hash[PROXY_HASH_LEN], mem[FLOW_TOKEN_MAX + 1];
    struct buf token;
    buf_init(&token, mem, sizeof(mem));
    flow_put(&token, f);
    if (token.rc)
        return;
    proxy_token_hash(k->p, sipmsg_value(&k->rx->msg, SIP_H_CALL_ID), buf_sv(&token), f->conn != 0,
                     hash);
    buf_char(b, '.');
    buf_mem(b, hash, sizeof(hash));
    buf_put(b, buf_sv(&token));
}

static sv transport_param(const struct flow *f, bool sips)
{
    switch (f->transport) {
    case SIP_T_TCP:
        return SV(";transport=tcp");
    case SIP_T_TLS:
        /* DEVIATES: RFC 5630 §5.3 has no transport=tls. Without it a sip URI would say UDP, and every
         * phone that was asked by sip over TLS takes it so. */
        return sips ? SV_NONE : SV(";transport=tls");
    case SIP_T_WS: /* RFC 7118 §5.2.1 knows one name for both */
    case SIP_T_WSS:
        return SV(";transport=ws");
    default:
        return SV_NONE;
    }
}

static void edit_record_route_of(struct making *k, const struct side *s)
{
    char hash[PROXY_HASH_LEN], mem[LINE_MAX];
    struct sip *sip = k->p->sip;
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    proxy_call_hash(k->p, sipmsg_value(&k->rx->msg, SIP_H_CALL_ID), hash);
    buf_str(&b, s->sips ? "Record-Route: <sips:" : "Record-Route: <sip:");
    home_mark(sip_home(sip), k->rx->slot, loop_random(sip_loop(sip)), &b);
    buf_char(&b, '.');
    buf_mem(&b, hash, sizeof(hash));
    if (s->token)
        put_token(k, &b, s->flow);
    buf_char(&b, '@');
    sip_put_hostport(sip, &b, s->flow);
    buf_put(&b, transport_param(s->flow, s->sips));
    buf_str(&b, ";lr>");
    sv line = arena_text(k, &b);
    if (line.p)
        sipedit_line_first(&k->e, SIP_H_RECORD_ROUTE, line);
}

/* The two sides see us under different names, or one of them is reached by its flow: each gets its
 * own Record-Route (RFC 5658). */
static bool sides_differ(struct making *k, const struct side *in, const struct side *out)
{
    char a[LINE_MAX], b[LINE_MAX];
    struct buf ba, bb;
    buf_init(&ba, a, sizeof(a));
    buf_init(&bb, b, sizeof(b));
    sip_put_hostport(k->p->sip, &ba, in->flow);
    sip_put_hostport(k->p->sip, &bb, out->flow);
    return in->token || out->token || in->sips != out->sips ||
           in->flow->transport != out->flow->transport || !sv_eq(buf_sv(&ba), buf_sv(&bb));
}

static bool is_sips(sv uri)
{
    struct uri u;
    return uri.p && uri_parse(uri, &u, NULL) == ERR_OK && u.scheme == URI_SIPS;
}

static void edit_record_route(struct making *k, sv uri)
{
    struct rx *rx = k->rx;
    struct side in = {.flow = &rx->flow, .sips = is_sips(rx->msg.uri_text)};
    struct side out = {.flow = k->out};
    /* Only who stands right behind the flow can be reached by it: a phone, no other proxy. */
    in.token = sipmsg_count(&rx->msg, SIP_H_VIA) == 1 &&
               (flow_reliable(&rx->flow) || location_behind_nat(&rx->msg, &rx->flow));
    out.sips = k->plan->secure || is_sips(uri) || is_sips(k->plan->route.next);
    out.token = k->d->flow.transport != SIP_T_NONE && !k->t->path.n && !k->plan->route.next.p;
    if (out.token)
        out.flow = &k->d->flow;
    /* The topmost is the callee's first hop: the outgoing side. */
    edit_record_route_of(k, &out);
    if (sides_differ(k, &in, &out))
        edit_record_route_of(k, &in);
}

/* ---- Request-URI and Routes ---- */

/* A contact's URI as a Request-URI: headers and the method parameter do not belong there (§19.1.1
 * table 1); what was asked for by sip does not become sips (RFC 5630 §5.3), though TLS stays. */
static enum err request_uri(struct making *k, sv text, sv *ret)
{
    struct uri u;
    TRY(uri_parse(text, &u, NULL));
    sv method;
    bool plain = u.scheme == URI_SIPS && !k->plan->secure && !is_sips(k->rx->msg.uri_text);
    if (!plain && !u.headers.p && !uri_param(&u, SV("method"), &method)) {
        *ret = text;
        return ERR_OK;
    }
    char mem[VALUE_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    sv params = u.params;
    u.params = SV_NONE;
    u.headers = SV_NONE;
    if (plain) {
        u.scheme = URI_SIP;
        u.scheme_text = SV("sip");
    }
    uri_print(&b, &u);
    sv name, value;
    while (uri_param_next(&params, &name, &value)) {
        if (sv_ieq(name, SV("method")))
            continue;
        buf_char(&b, ';');
        buf_put(&b, name);
        if (value.p && value.n) {
            buf_char(&b, '=');
            buf_put(&b, value);
        }
    }
    TRY(b.rc);
    return sv_dup(k->a, buf_sv(&b), ret);
}

/* Our Routes on top go; Path values come instead. §16.4, §16.6 step 6, RFC 3327 §5.3. */
static void edit_routes(struct making *k)
{
    struct sipedit *e = &k->e;
    const struct proxy_route *route = &k->plan->route;
    const struct proxy_target *t = k->t;
    struct sip_walk w = {.m = &k->rx->msg, .id = SIP_H_ROUTE};
    struct sip_item item, last = {0};
    size_t total = 0;
    while (sipmsg_next(&w, &item)) {
        if (total < route->pop)
            sipedit_remove_item(e, &item);
        last = item;
        total++;
    }
    if (route->strict && total > route->pop)
        sipedit_remove_item(e, &last); /* its URI became the Request-URI */
    if (t->path.p && t->path.n) {
        char mem[VALUE_MAX];
        struct buf b;
        buf_init(&b, mem, sizeof(mem));
        buf_str(&b, "Route: ");
        buf_put(&b, t->path);
        sv line = arena_text(k, &b);
        if (line.p)
            sipedit_line_first(e, SIP_H_ROUTE, line);
    }
}

/* §16.6 step 6: the next hop is a strict router: it wants its own URI in the Request-URI and ours
 * at the end of the Routes. */
static enum err edit_strict(struct making *k, sv uri)
{
    struct sipedit *e = &k->e;
    const struct proxy_route *route = &k->plan->route;
    struct sip_walk w = {.m = &k->rx->msg, .id = SIP_H_ROUTE};
    struct sip_item item;
    size_t at = 0;
    while (sipmsg_next(&w, &item) && at < route->pop)
        at++;
    struct sip_addr addr;
    TRY(sip_addr_parse(item.text, false, &addr));
    sipedit_remove_item(e, &item);
    sipedit_uri(e, addr.uri.text);
    char mem[VALUE_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_str(&b, "Route: <");
    buf_put(&b, uri);
    buf_char(&b, '>');
    sv line = arena_text(k, &b);
    if (line.p)
        sipedit_line_last(e, line);
    return e->rc;
}

static bool is_our_realm(const struct proxy *p, sv realm)
{
    for (unsigned i = 0; i < p->set->domains_n; i++) {
        if (sv_ieq(p->set->domains[i].realm, realm))
            return true;
    }
    return false;
}

/* §22.3: credentials for our realms end here; those for others travel on. Authorization too: a
 * callee who answers with a challenge in our name shall not get a digest of the caller's password
 * (D4). */
static void edit_credentials(struct making *k, enum sip_header h)
{
    struct sipmsg *m = &k->rx->msg;
    for (uint16_t f = m->first[h]; f != SIPMSG_NONE; f = m->fields[f].next) {
        struct sip_auth auth;
        sv name, value, text;
        enum err rc = ERR_OK;
        if (sip_auth_parse(sipmsg_field_value(m, f), &auth))
            continue;
        sv rest = auth.params;
        while (sip_auth_param_next(&rest, &name, &value, &rc)) {
            if (sv_ieq(name, SV("realm")) && sip_unquote(k->a, value, &text) == ERR_OK &&
                is_our_realm(k->p, text)) {
                sipedit_remove_field(&k->e, f);
                break;
            }
        }
    }
}

/* Privacy: id, among others (RFC 3323 §4.2, RFC 3325 §9.3). */
static bool wants_no_name(const struct sipmsg *m)
{
    sv rest = sipmsg_value(m, SIP_H_PRIVACY);
    while (rest.n) {
        size_t n = sv_chr(rest, ';');
        if (sv_ieq(sv_trim(sv_sub(rest, 0, n)), SV("id")))
            return true;
        rest = sv_sub(rest, n < rest.n ? n + 1 : n, rest.n);
    }
    return false;
}

/* What says who the caller is in somebody's name that nobody trusts here (RFC 3325 §5, D7). */
static void edit_identity(struct making *k)
{
    static const sv names[] = {{"Remote-Party-ID", 15}, {"P-Called-Party-ID", 17}};
    const struct sipmsg *m = &k->rx->msg;
    struct sipedit *e = &k->e;
    sipedit_remove(e, SIP_H_P_ASSERTED_IDENTITY);
    sipedit_remove(e, SIP_H_P_PREFERRED_IDENTITY);
    for (uint16_t f = m->first[SIP_H_OTHER]; f != SIPMSG_NONE; f = m->fields[f].next) {
        sv name = {m->text.p + m->fields[f].name, m->fields[f].name_n};
        if (sv_ieq(name, names[0]) || sv_ieq(name, names[1]))
            sipedit_remove_field(e, f);
    }
    /* Who it is, unless he asked not to be named where nobody is trusted to keep it (RFC 3325 §7). */
    sv rest = wants_no_name(m) ? SV_NONE : k->plan->identity;
    while (rest.n) {
        size_t n = sv_chr(rest, '\n');
        sv line = sv_trim(sv_sub(rest, 0, n));
        rest = sv_sub(rest, n < rest.n ? n + 1 : n, rest.n);
        if (line.n)
            sipedit_line_last(e, line);
    }
}

static void edit_via(struct making *k, bool stateless)
{
    struct proxy *p = k->p;
    struct rx *rx = k->rx;
    const struct flow *out = k->out;
    uint16_t slot = rx->slot;
    char hash[PROXY_HASH_LEN], mem[LINE_MAX];
    proxy_loop_hash(p, rx, hash);
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_str(&b, "Via: ");
    if (stateless) {
        /* §16.11: the same request forwarded again carries the same branch. */
        sv pieces[] = {SV("stateless"), sipmsg_value(&rx->msg, SIP_H_VIA),
                       sipmsg_value(&rx->msg, SIP_H_CALL_ID), sipmsg_value(&rx->msg, SIP_H_CSEQ),
                       sipmsg_value(&rx->msg, SIP_H_TO)};
        buf_str(&b, "SIP/2.0/");
        buf_put(&b, sip_transport_name(out->transport));
        buf_char(&b, ' ');
        sip_put_hostport(p->sip, &b, out);
        buf_str(&b, ";branch=z9hG4bK");
        home_mark(sip_home(p->sip), slot, home_hash(sip_home(p->sip), pieces, 5), &b);
        buf_mem(&b, hash, sizeof(hash));
    } else {
        sv branch;
        sip_put_via(p->sip, &b, out, slot, (sv){hash, sizeof(hash)}, &branch);
        if (k->server)
            buf_str(&b, ";oc;oc-algo=\"loss\"");
    }
    sv line = arena_text(k, &b);
    if (line.p)
        sipedit_line_first(&k->e, SIP_H_VIA, line);
}

/* §18.2.1: received and rport are written into the Via that the request came with. */
static void edit_received(struct making *k)
{
    struct sipedit *e = &k->e;
    struct rx *rx = k->rx;
    struct sip_reply r = {0};
    char mem[64], text[VALUE_MAX];
    sip_reply_via(rx, &r, mem);
    if (!r.received.p && !r.rport)
        return;
    const struct sip_via *via;
    if (sipmsg_via(&rx->msg, &via))
        return;
    struct buf b;
    buf_init(&b, text, sizeof(text));
    if (r.rport && via->rport && !via->rport_value) {
        /* ;rport gets its value where it stands. */
        sv rest = via->params, name, value;
        enum err rc = ERR_OK;
        while (sip_param_next(&rest, &name, &value, &rc)) {
            if (!sv_ieq(name, SV("rport")))
                continue;
            buf_printf(&b, "=%u", r.rport);
            sv span = {name.p + name.n, 0};
            sv line = arena_text(k, &b);
            if (line.p)
                sipedit_cut(e, span, line);
            break;
        }
    }
    if (r.received.p) {
        buf_reset(&b);
        if (!via->received.p)
            buf_str(&b, ";received=");
        buf_put(&b, r.received);
        sv line = arena_text(k, &b);
        sv end = {via->text.p + via->text.n, 0};
        if (line.p) /* what the sender says of itself does not stay */
            sipedit_cut(e, via->received.p ? via->received : end, line);
    }
}

static enum err make(struct making *k, unsigned breadth, struct buf *b)
{
    const struct proxy_route *route = &k->plan->route;
    struct sipmsg *m = &k->rx->msg;
    sipedit_init(&k->e, m);
    sv uri = k->t->uri.p ? k->t->uri : route->uri;
    TRY(request_uri(k, uri, &uri));
    edit_via(k, breadth == 0);
    edit_received(k);
    if (k->plan->record_route)
        edit_record_route(k, uri);
    edit_routes(k);
    if (route->next.p && !route->next_loose && !k->t->path.n)
        TRY(edit_strict(k, uri));
    else if (!sv_eq(uri, m->uri_text))
        sipedit_uri(&k->e, uri);
    edit_max_forwards(k);
    if (breadth)
        edit_number(k, SIP_H_MAX_BREADTH, breadth);
    edit_credentials(k, SIP_H_PROXY_AUTHORIZATION);
    edit_credentials(k, SIP_H_AUTHORIZATION);
    /* RFC 3325 §5: nobody who sends to us is trusted to assert an identity (D7). */
    edit_identity(k);
    session_request(&k->e, m, &k->plan->session, k->a);
    return sipedit_write(&k->e, b);
}

enum err proxy_build(struct proxy *p, struct rx *rx, const struct plan *plan,
                     const struct proxy_target *t, const struct dest *d, const struct flow *out,
                     unsigned breadth, bool server, struct buf *b)
{
    char scratch[SCRATCH];
    struct arena a;
    arena_init(&a, scratch, sizeof(scratch), SCRATCH_MAX);
    struct making k = {
        .p = p, .rx = rx, .plan = plan, .t = t, .d = d, .out = out, .server = server, .a = &a};
    enum err rc = make(&k, breadth, b);
    arena_done(&a);
    return rc;
}
