/* SPDX-License-Identifier: MIT */
/* The request as it leaves: RFC 3261 §16.6, an edit list over the received octets. */
#include "proxy/proxy_priv.h"

enum { LINE_MAX = 512, VALUE_MAX = 4 * 1024 };

static void hash_text(uint64_t h, char ret_text[static PROXY_HASH_LEN])
{
    struct buf b;
    buf_init(&b, ret_text, PROXY_HASH_LEN);
    crypto_base64url(&b, &h, sizeof(h));
}

void proxy_loop_hash(struct proxy *p, struct rx *rx, char ret_text[static PROXY_HASH_LEN])
{
    struct sipmsg *m = &rx->msg;
    /* RFC 5393 §4.2.1: all that routing looks at, but not the Via, which differs on every pass. */
    sv pieces[] = {
        SV("loop"),
        m->uri_text,
        sipmsg_value(m, SIP_H_FROM),
        sipmsg_value(m, SIP_H_TO),
        sipmsg_value(m, SIP_H_CALL_ID),
        sipmsg_value(m, SIP_H_CSEQ),
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

/* A field with a number: its value, or a line of its own. */
static void edit_number(struct sipedit *e, struct rx *rx, enum sip_header h, uint32_t number)
{
    char mem[LINE_MAX];
    struct buf b;
    bool has = sipmsg_has(&rx->msg, h);
    sv text = SV_NONE;
    buf_init(&b, mem, sizeof(mem));
    if (!has) {
        buf_put(&b, sip_header_name(h));
        buf_str(&b, ": ");
    }
    buf_u64(&b, number);
    enum err rc = sv_dup(&rx->arena, buf_sv(&b), &text);
    if (rc)
        e->rc = rc;
    else if (has)
        sipedit_value(e, rx->msg.first[h], text);
    else
        sipedit_line_last(e, text);
}

/* §16.6 step 3: one less, or 70 when the caller (of RFC 2543) gave none. */
static void edit_max_forwards(struct sipedit *e, struct rx *rx)
{
    uint32_t hops;
    if (sipmsg_number(&rx->msg, SIP_H_MAX_FORWARDS, &hops) != ERR_OK)
        edit_number(e, rx, SIP_H_MAX_FORWARDS, 70);
    else
        edit_number(e, rx, SIP_H_MAX_FORWARDS, hops > 0 ? hops - 1 : 0);
}

static sv arena_text(struct sipedit *e, struct arena *a, const struct buf *b)
{
    sv text = SV_NONE;
    enum err rc = b->rc ? b->rc : sv_dup(a, buf_sv(b), &text);
    if (rc && !e->rc)
        e->rc = rc;
    return text;
}

static void put_record_route(struct proxy *p, struct rx *rx, struct buf *b, const struct flow *f,
                             uint16_t slot)
{
    char hash[PROXY_HASH_LEN];
    sv call_id = sipmsg_value(&rx->msg, SIP_H_CALL_ID);
    proxy_call_hash(p, call_id, hash);
    buf_str(b, "Record-Route: <sip:");
    home_mark(sip_home(p->sip), slot, loop_random(sip_loop(p->sip)), b);
    buf_char(b, '.');
    buf_mem(b, hash, sizeof(hash));
    buf_char(b, '@');
    sip_put_hostport(p->sip, b, f);
    if (f->transport != SIP_T_UDP) {
        sv name = sip_transport_name(f->transport);
        buf_str(b, ";transport=");
        for (size_t i = 0; i < name.n; i++)
            buf_char(b, sv_lower(name.p[i]));
    }
    buf_str(b, ";lr>");
}

/* The two sides see us under different names: each gets its own Record-Route (RFC 5658). */
static bool sides_differ(struct proxy *p, const struct flow *in, const struct flow *out)
{
    char a[LINE_MAX], b[LINE_MAX];
    struct buf ba, bb;
    buf_init(&ba, a, sizeof(a));
    buf_init(&bb, b, sizeof(b));
    sip_put_hostport(p->sip, &ba, in);
    sip_put_hostport(p->sip, &bb, out);
    return in->transport != out->transport || !sv_eq(buf_sv(&ba), buf_sv(&bb));
}

static void edit_record_route_of(struct proxy *p, struct sipedit *e, struct rx *rx,
                                 const struct flow *f, uint16_t slot)
{
    char mem[LINE_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    put_record_route(p, rx, &b, f, slot);
    sv line = arena_text(e, &rx->arena, &b);
    if (line.p)
        sipedit_line_first(e, SIP_H_RECORD_ROUTE, line);
}

static void edit_record_route(struct proxy *p, struct sipedit *e, struct rx *rx,
                              const struct flow *out, uint16_t slot)
{
    /* The topmost is the callee's first hop: the outgoing side. */
    edit_record_route_of(p, e, rx, out, slot);
    if (sides_differ(p, &rx->flow, out))
        edit_record_route_of(p, e, rx, &rx->flow, slot);
}

/* A contact's URI as a Request-URI: headers and the method parameter do not belong there (§19.1.1
 * table 1). */
static enum err request_uri(struct rx *rx, sv text, sv *ret)
{
    struct uri u;
    TRY(uri_parse(text, &u, NULL));
    sv method;
    if (!u.headers.p && !uri_param(&u, SV("method"), &method)) {
        *ret = text;
        return ERR_OK;
    }
    char mem[VALUE_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    sv params = u.params;
    u.params = SV_NONE;
    u.headers = SV_NONE;
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
    return sv_dup(&rx->arena, buf_sv(&b), ret);
}

/* Our Routes on top go; Path values come instead. §16.4, §16.6 step 6, RFC 3327 §5.3. */
static void edit_routes(struct sipedit *e, struct rx *rx, const struct proxy_route *route,
                        const struct proxy_target *t)
{
    struct sip_walk w = {.m = &rx->msg, .id = SIP_H_ROUTE};
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
        sv line = arena_text(e, &rx->arena, &b);
        if (line.p)
            sipedit_line_first(e, SIP_H_ROUTE, line);
    }
}

/* §16.6 step 6: the next hop is a strict router: it wants its own URI in the Request-URI and ours
 * at the end of the Routes. */
static enum err edit_strict(struct sipedit *e, struct rx *rx, const struct proxy_route *route,
                            sv uri)
{
    struct sip_walk w = {.m = &rx->msg, .id = SIP_H_ROUTE};
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
    sv line = arena_text(e, &rx->arena, &b);
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
static void edit_credentials(struct proxy *p, struct sipedit *e, struct rx *rx, enum sip_header h)
{
    struct sipmsg *m = &rx->msg;
    for (uint16_t f = m->first[h]; f != SIPMSG_NONE; f = m->fields[f].next) {
        struct sip_auth auth;
        sv name, value, text;
        enum err rc = ERR_OK;
        if (sip_auth_parse(sipmsg_field_value(m, f), &auth))
            continue;
        sv rest = auth.params;
        while (sip_auth_param_next(&rest, &name, &value, &rc)) {
            if (sv_ieq(name, SV("realm")) && sip_unquote(&rx->arena, value, &text) == ERR_OK &&
                is_our_realm(p, text)) {
                sipedit_remove_field(e, f);
                break;
            }
        }
    }
}

/* What says who the caller is in somebody's name that nobody trusts here (RFC 3325 §5, D7). */
static void edit_identity(struct sipedit *e, struct rx *rx)
{
    static const sv names[] = {{"Remote-Party-ID", 15}, {"P-Called-Party-ID", 17}};
    const struct sipmsg *m = &rx->msg;
    sipedit_remove(e, SIP_H_P_ASSERTED_IDENTITY);
    sipedit_remove(e, SIP_H_P_PREFERRED_IDENTITY);
    for (uint16_t f = m->first[SIP_H_OTHER]; f != SIPMSG_NONE; f = m->fields[f].next) {
        sv name = {m->text.p + m->fields[f].name, m->fields[f].name_n};
        if (sv_ieq(name, names[0]) || sv_ieq(name, names[1]))
            sipedit_remove_field(e, f);
    }
}

static void edit_via(struct proxy *p, struct sipedit *e, struct rx *rx, const struct flow *out,
                     uint16_t slot, bool stateless)
{
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
    }
    sv line = arena_text(e, &rx->arena, &b);
    if (line.p)
        sipedit_line_first(e, SIP_H_VIA, line);
}

/* §18.2.1: received and rport are written into the Via that the request came with. */
static void edit_received(struct sipedit *e, struct rx *rx)
{
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
            sv line = arena_text(e, &rx->arena, &b);
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
        sv line = arena_text(e, &rx->arena, &b);
        sv end = {via->text.p + via->text.n, 0};
        if (line.p) /* what the sender says of itself does not stay */
            sipedit_cut(e, via->received.p ? via->received : end, line);
    }
}

enum err proxy_build(struct proxy *p, struct rx *rx, const struct proxy_route *route,
                     const struct proxy_target *t, const struct flow *out, uint16_t slot,
                     bool record_route, unsigned breadth, struct buf *b)
{
    struct sipedit e;
    sipedit_init(&e, &rx->msg);
    sv uri = t->uri.p ? t->uri : route->uri;
    TRY(request_uri(rx, uri, &uri));
    edit_via(p, &e, rx, out, slot, breadth == 0);
    edit_received(&e, rx);
    if (record_route)
        edit_record_route(p, &e, rx, out, slot);
    edit_routes(&e, rx, route, t);
    if (route->next.p && !route->next_loose && !t->path.n)
        TRY(edit_strict(&e, rx, route, uri));
    else if (!sv_eq(uri, rx->msg.uri_text))
        sipedit_uri(&e, uri);
    edit_max_forwards(&e, rx);
    if (breadth)
        edit_number(&e, rx, SIP_H_MAX_BREADTH, breadth);
    edit_credentials(p, &e, rx, SIP_H_PROXY_AUTHORIZATION);
    edit_credentials(p, &e, rx, SIP_H_AUTHORIZATION);
    /* RFC 3325 §5: nobody who sends to us is trusted to assert an identity (D7). */
    edit_identity(&e, rx);
    return sipedit_write(&e, b);
}
