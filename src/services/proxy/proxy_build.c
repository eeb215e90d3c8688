/* SPDX-License-Identifier: MIT */
/* The request as it leaves: RFC 3261 §16.6, an edit list over the received octets. */
#include "location/location.h"
#include "proxy/proxy_priv.h"

/* TEXTS: octets of all that is put in; the largest, a Path or a URI, has URI_MAX. */
enum { TEXTS = 16 * 1024, PLACE_MAX = 512, SCRATCH = 1024, SCRATCH_MAX = 64 * 1024 };

/* One request in the making. */
struct making {
    struct proxy *p;
    const struct outgoing *o;
    struct sipmsg *m;       /* what came */
    const struct flow *out; /* what it leaves on */
    struct buf text;        /* what is put in, piece by piece: the edit list borrows it */
    sv user;                /* of our Record-Routes, but for the token; SV_NONE: not written yet */
    bool sips;              /* the Request-URI as it leaves is */
    struct sipedit *e;      /* large, and not to be cleared */
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
    hash_text(home_tag(sip_home(p->sip), pieces, sizeof(pieces) / sizeof(pieces[0])), ret_text);
}

void proxy_token_hash(struct proxy *p, sv call_id, sv token, bool connection,
                      char ret_text[static PROXY_HASH_LEN])
{
    sv epoch = {(const char *)&p->epoch, sizeof p->epoch};
    sv pieces[] = {SV("flow"), call_id, token, connection ? epoch : SV("")};
    hash_text(home_hash(sip_home(p->sip), pieces, 4), ret_text);
}

/* The piece that began at `from`. */
static sv piece(struct making *k, size_t from)
{
    if (k->text.rc && !k->e->rc)
        k->e->rc = k->text.rc;
    return sv_sub(buf_sv(&k->text), from, k->text.n);
}

/* A field with a number: its value, or a line of its own. */
static void edit_number(struct making *k, enum sip_header h, uint32_t number)
{
    size_t from = k->text.n;
    bool has = sipmsg_has(k->m, h);
    if (!has) {
        buf_put(&k->text, sip_header_name(h));
        buf_put(&k->text, SV(": "));
    }
    buf_u64(&k->text, number);
    if (has)
        sipedit_value(k->e, k->m->first[h], piece(k, from));
    else
        sipedit_line_last(k->e, piece(k, from));
}

/* CSeq, and what RAck repeats of an INVITE's (RFC 3262 §7.2). */
static void edit_raised(struct making *k, uint32_t raise)
{
    const struct sip_cseq *cseq;
    sv rack = sipmsg_value(k->m, SIP_H_RACK);
    size_t from = k->text.n, blank = sv_chr(rack, ' ');
    uint64_t of;
    if (sipmsg_cseq(k->m, &cseq))
        return;
    buf_u64(&k->text, cseq->number + raise);
    buf_char(&k->text, ' ');
    buf_put(&k->text, cseq->method_text);
    sipedit_value(k->e, k->m->first[SIP_H_CSEQ], piece(k, from));
    sv rest = sv_trim(sv_sub(rack, blank, rack.n));
    size_t end = sv_chr(rest, ' ');
    if (!sipmsg_has(k->m, SIP_H_RACK) || sv_u64(sv_sub(rest, 0, end), UINT32_MAX, &of))
        return;
    from = k->text.n;
    buf_put(&k->text, sv_sub(rack, 0, blank));
    buf_char(&k->text, ' ');
    buf_u64(&k->text, (uint32_t)of + raise);
    buf_put(&k->text, sv_sub(rest, end, rest.n));
    sipedit_value(k->e, k->m->first[SIP_H_RACK], piece(k, from));
}

/* §16.6 step 3: one less, or 70 when the caller (of RFC 2543) gave none. */
static void edit_max_forwards(struct making *k)
{
    uint32_t hops;
    if (sipmsg_number(k->m, SIP_H_MAX_FORWARDS, &hops) != ERR_OK)
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

static void put_token(struct making *k, const struct flow *f)
{
    char hash[PROXY_HASH_LEN], mem[FLOW_TOKEN_MAX + 1];
    struct buf token;
    buf_init(&token, mem, sizeof(mem));
    flow_put(&token, f);
    if (token.rc)
        return;
    proxy_token_hash(k->p, sipmsg_value(k->m, SIP_H_CALL_ID), buf_sv(&token), f->conn != 0, hash);
    buf_char(&k->text, '.');
    buf_mem(&k->text, hash, sizeof(hash));
    buf_put(&k->text, buf_sv(&token));
}

/* What leads a request of this call home; the same on both sides. */
static void put_user(struct making *k)
{
    struct home *home = sip_home(k->p->sip);
    size_t from = k->text.n;
    if (k->user.p) {
        buf_put(&k->text, k->user);
        return;
    }
    /* The mark is written with what binds it to the Call-ID. */
    home_mark(home, k->o->rx->slot, home_call(home, sipmsg_value(k->m, SIP_H_CALL_ID)), &k->text);
    k->user = piece(k, from);
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
    size_t from = k->text.n;
    buf_put(&k->text, s->sips ? SV("Record-Route: <sips:") : SV("Record-Route: <sip:"));
    put_user(k);
    if (s->token)
        put_token(k, s->flow);
    buf_char(&k->text, '@');
    sip_put_hostport(k->p->sip, &k->text, s->flow);
    buf_put(&k->text, transport_param(s->flow, s->sips));
    buf_put(&k->text, SV(";lr>"));
    sipedit_line_first(k->e, SIP_H_RECORD_ROUTE, piece(k, from));
}

/* The two sides see us under different names, or one of them is reached by its flow: each gets its
 * own Record-Route (RFC 5658). */
static bool sides_differ(struct making *k, const struct side *in, const struct side *out)
{
    char a[PLACE_MAX], b[PLACE_MAX];
    struct buf ba, bb;
    if (in->token || out->token || in->sips != out->sips ||
        in->flow->transport != out->flow->transport)
        return true;
    if (in->flow->listener == out->flow->listener &&
        addr_equal(&in->flow->remote, &out->flow->remote))
        return false;
    buf_init(&ba, a, sizeof(a));
    buf_init(&bb, b, sizeof(b));
    sip_put_hostport(k->p->sip, &ba, in->flow);
    sip_put_hostport(k->p->sip, &bb, out->flow);
    return !sv_eq(buf_sv(&ba), buf_sv(&bb));
}

/* What came asks for sips. */
static bool asks_sips(struct making *k)
{
    const struct uri *u;
    return sipmsg_uri(k->m, &u) == ERR_OK && u->scheme == URI_SIPS;
}

static void edit_record_route(struct making *k)
{
    const struct outgoing *o = k->o;
    const struct flow *came = &o->rx->flow;
    const struct uri *next = o->plan->route.next;
    const struct sip_via *vias;
    size_t vias_n;
    struct side in = {.flow = came, .sips = asks_sips(k)};
    struct side out = {.flow = k->out};
    /* Only who stands right behind the flow can be reached by it: a phone, no other proxy. */
    in.token = !sipmsg_vias(k->m, &vias, &vias_n) && vias_n == 1 &&
               (flow_reliable(came) || location_behind_nat(k->m, came));
    out.sips = o->plan->secure || k->sips || (next && next->scheme == URI_SIPS);
    out.token = o->dest->flow.transport != SIP_T_NONE && !o->target->path.n && !next;
    if (out.token)
        out.flow = &o->dest->flow;
    /* The topmost is the callee's first hop: the outgoing side. */
    edit_record_route_of(k, &out);
    if (sides_differ(k, &in, &out))
        edit_record_route_of(k, &in);
}

/* ---- Request-URI and Routes ---- */

/* A contact's URI as a Request-URI: headers and the method parameter do not belong there (§19.1.1
 * table 1); what was asked for by sip does not become sips (RFC 5630 §5.3), though TLS stays. */
static sv request_uri(struct making *k)
{
    struct uri u = *k->o->uri;
    size_t from = k->text.n;
    sv method, params = u.params, name, value;
    bool plain = u.scheme == URI_SIPS && !k->o->plan->secure && !asks_sips(k);
    k->sips = u.scheme == URI_SIPS && !plain;
    if (!plain && !u.headers.p && !uri_param(&u, SV("method"), &method))
        return u.text;
    u.params = SV_NONE;
    u.headers = SV_NONE;
    if (plain) {
        u.scheme = URI_SIP;
        u.scheme_text = SV("sip");
    }
    uri_print(&k->text, &u);
    while (uri_param_next(&params, &name, &value)) {
        if (sv_ieq(name, SV("method")))
            continue;
        buf_char(&k->text, ';');
        buf_put(&k->text, name);
        if (value.p && value.n) {
            buf_char(&k->text, '=');
            buf_put(&k->text, value);
        }
    }
    return piece(k, from);
}

static void remove_value(struct sipedit *e, const struct sip_item *item)
{
    if (item->only)
        sipedit_remove_field(e, item->field);
    else
        sipedit_remove_item(e, item);
}

/* Our Routes on top go. §16.4 */
static void remove_routes(struct making *k)
{
    const struct proxy_route *route = &k->o->plan->route;
    struct sip_walk w = {.m = k->m, .id = SIP_H_ROUTE};
    struct sip_item item, last = {0};
    size_t total = 0;
    if (!route->pop && !route->strict)
        return;
    if (!route->next && !route->strict) { /* there are no others */
        sipedit_remove(k->e, SIP_H_ROUTE);
        return;
    }
    while ((total < route->pop || route->strict) && sipmsg_next(&w, &item)) {
        if (total < route->pop)
            remove_value(k->e, &item);
        last = item;
        total++;
    }
    if (route->strict && total > route->pop)
        remove_value(k->e, &last); /* its URI became the Request-URI */
}

/* Path values come on top: §16.6 step 6, RFC 3327 §5.3. */
static void edit_routes(struct making *k)
{
    size_t from = k->text.n;
    remove_routes(k);
    if (!k->o->target->path.n)
        return;
    buf_put(&k->text, SV("Route: "));
    buf_put(&k->text, k->o->target->path);
    sipedit_line_first(k->e, SIP_H_ROUTE, piece(k, from));
}

/* §16.6 step 6: the next hop is a strict router: it wants its own URI in the Request-URI and ours
 * as the last Route. */
static void edit_strict(struct making *k, sv uri)
{
    const struct proxy_route *route = &k->o->plan->route;
    struct sip_walk w = {.m = k->m, .id = SIP_H_ROUTE};
    struct sip_item item;
    size_t at = 0, from = k->text.n;
    while (sipmsg_next(&w, &item) && at < route->pop)
        at++;
    remove_value(k->e, &item);
    sipedit_uri(k->e, route->next->text);
    buf_put(&k->text, SV("Route: <"));
    buf_put(&k->text, uri);
    buf_char(&k->text, '>');
    sipedit_line_last(k->e, piece(k, from));
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
    struct sipmsg *m = k->m;
    char mem[SCRATCH];
    struct arena scratch;
    if (!sipmsg_has(m, h))
        return;
    arena_init(&scratch, mem, sizeof(mem), SCRATCH_MAX);
    for (uint16_t f = m->first[h]; f != SIPMSG_NONE; f = m->fields[f].next) {
        struct sip_auth auth;
        sv name, value, text;
        enum err rc = ERR_OK;
        if (sip_auth_parse(sipmsg_field_value(m, f), &auth))
            continue;
        sv rest = auth.params;
        while (sip_auth_param_next(&rest, &name, &value, &rc)) {
            if (sv_ieq(name, SV("realm")) && sip_unquote(&scratch, value, &text) == ERR_OK &&
                is_our_realm(k->p, text)) {
                sipedit_remove_field(k->e, f);
                break;
            }
        }
    }
    arena_done(&scratch);
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
    const struct sipmsg *m = k->m;
    struct sipedit *e = k->e;
    sipedit_remove(e, SIP_H_P_ASSERTED_IDENTITY);
    sipedit_remove(e, SIP_H_P_PREFERRED_IDENTITY);
    for (uint16_t f = m->first[SIP_H_OTHER]; f != SIPMSG_NONE; f = m->fields[f].next) {
        sv name = {m->text.p + m->fields[f].name, m->fields[f].name_n};
        if (sv_ieq(name, names[0]) || sv_ieq(name, names[1]))
            sipedit_remove_field(e, f);
    }
    /* Who it is, unless he asked not to be named where nobody is trusted to keep it (RFC 3325 §7). */
    sv rest = wants_no_name(m) ? SV_NONE : k->o->plan->identity;
    while (rest.n) {
        size_t n = sv_chr(rest, '\n');
        sv line = sv_trim(sv_sub(rest, 0, n));
        rest = sv_sub(rest, n < rest.n ? n + 1 : n, rest.n);
        if (line.n)
            sipedit_line_last(e, line);
    }
}

/* ---- Via ---- */

/* §16.11: the same request forwarded again carries the same branch. By its topmost Via it is the same,
 * unless who wrote that knows no branches (RFC 2543). */
static uint64_t stateless_hash(struct making *k)
{
    const struct sip_via *via;
    struct sipmsg *m = k->m;
    bool branch = !sipmsg_via(m, &via) && sv_starts(via->branch, SV("z9hG4bK"));
    sv pieces[] = {
        SV("stateless"),
        sipmsg_value(m, SIP_H_VIA),
        m->uri_text,
        sipmsg_value(m, SIP_H_FROM),
        sipmsg_value(m, SIP_H_TO),
        sipmsg_value(m, SIP_H_CALL_ID),
        sipmsg_value(m, SIP_H_CSEQ),
    };
    return home_tag(sip_home(k->p->sip), pieces, branch ? 2 : sizeof(pieces) / sizeof(pieces[0]));
}

/* No response comes to an ACK: its branch needs nothing that leads one home. */
static void put_stateless_via(struct making *k)
{
    uint64_t hash = stateless_hash(k);
    sip_put_via_start(k->p->sip, &k->text, k->out);
    crypto_base64url(&k->text, &hash, sizeof(hash));
}

static void edit_via(struct making *k)
{
    const struct outgoing *o = k->o;
    size_t from = k->text.n;
    sv branch;
    buf_put(&k->text, SV("Via: "));
    if (o->breadth == 0) {
        put_stateless_via(k);
    } else {
        sip_put_via(k->p->sip, &k->text, k->out, o->rx->slot, o->plan->loop, &branch);
        if (o->ret_key)
            *o->ret_key = ctxn_key(k->p->sip, branch, k->m->method, k->m->method_text);
        if (o->server)
            buf_put(&k->text, SV(";oc;oc-algo=\"loss\""));
    }
    sipedit_line_first(k->e, SIP_H_VIA, piece(k, from));
}

/* §18.2.1: received and rport are written into the Via that the request came with. */
static void edit_received(struct making *k)
{
    struct sip_reply r = {0};
    const struct sip_via *via;
    char mem[64];
    sip_reply_via(k->o->rx, &r, mem);
    if ((!r.received.p && !r.rport) || sipmsg_via(k->m, &via))
        return;
    if (r.rport && via->rport && !via->rport_value) {
        /* ;rport gets its value where it stands. */
        size_t from = k->text.n;
        buf_char(&k->text, '=');
        buf_u64(&k->text, r.rport);
        sipedit_cut(k->e, (sv){via->rport_text.p, 0}, piece(k, from));
    }
    if (r.received.p) {
        size_t from = k->text.n;
        if (!via->received.p)
            buf_put(&k->text, SV(";received="));
        buf_put(&k->text, r.received);
        sv end = {via->text.p + via->text.n, 0};
        /* what the sender says of itself does not stay */
        sipedit_cut(k->e, via->received.p ? via->received : end, piece(k, from));
    }
}

/* ---- all of it ---- */

enum err proxy_build(struct proxy *p, const struct outgoing *o, const struct flow *out,
                     struct buf *b)
{
    const struct proxy_route *route = &o->plan->route;
    char texts[TEXTS];
    struct sipedit e;
    struct making k = {.p = p, .o = o, .m = &o->rx->msg, .out = out, .e = &e};
    buf_init(&k.text, texts, sizeof(texts));
    sipedit_init(k.e, k.m);
    sv uri = request_uri(&k);
    edit_via(&k);
    edit_received(&k);
    if (o->plan->record_route)
        edit_record_route(&k);
    edit_routes(&k);
    if (route->next && !route->next_loose && !o->target->path.n)
        edit_strict(&k, uri);
    else if (!sv_eq(uri, k.m->uri_text))
        sipedit_uri(k.e, uri);
    edit_max_forwards(&k);
    if (o->breadth)
        edit_number(&k, SIP_H_MAX_BREADTH, o->breadth);
    edit_credentials(&k, SIP_H_PROXY_AUTHORIZATION);
    edit_credentials(&k, SIP_H_AUTHORIZATION);
    /* RFC 3325 §5: nobody who sends to us is trusted to assert an identity (D7). */
    edit_identity(&k);
    session_request(k.e, k.m, &o->plan->session, &k.text);
    if (o->raise)
        edit_raised(&k, o->raise);
    if (o->exchange)
        body_edit(k.e, o->exchange);
    return sipedit_write(k.e, b);
}
