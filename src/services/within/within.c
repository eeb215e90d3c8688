/* SPDX-License-Identifier: MIT */
/* Requests within a dialog: RFC 3261 §12.2.1.1. */
#include "within/within.h"

#include "location/location.h"

enum { ROOM = 1024, VIA_MAX = 512 };

/* ---- what is learned from messages ---- */

sv within_target(struct sipmsg *m)
{
    const struct sip_addr *contact;
    size_t n;
    if (sipmsg_addrs(m, SIP_H_CONTACT, &contact, &n) || n != 1 || contact->star)
        return SV_NONE;
    return contact->uri.text;
}

static void put_route(struct buf *b, sv value)
{
    buf_put(b, value);
    buf_char(b, WITHIN_END);
}

static bool is_ours(struct sip *s, const struct sip_addr *a)
{
    return sip_is_local(s, a->uri.host, a->uri.port);
}

void within_routes(struct sip *s, struct sipmsg *m, size_t upstream, struct buf *b)
{
    const struct sip_addr *routes;
    size_t n;
    if (sipmsg_addrs(m, SIP_H_RECORD_ROUTE, &routes, &n))
        return;
    if (m->request) {
        for (size_t i = 0; i < n; i++)
            put_route(b, routes[i].text);
        return;
    }
    /* Ours are one, or one for each side (RFC 5658). */
    n -= upstream < n ? upstream : n;
    for (unsigned ours = 0; ours < 2 && n > 0 && is_ours(s, &routes[n - 1]); ours++)
        n--;
    for (; n > 0; n--)
        put_route(b, routes[n - 1].text);
}

struct dest within_dest(struct sip *s, struct sipmsg *m, const struct flow *flow,
                        const struct dest *via, bool routed)
{
    struct dest d = {
        .flow = *flow, .addr = flow->remote, .transport = flow->transport, .or_connect = true};
    struct dest named;
    const struct sip_addr *contact;
    size_t n;
    bool by_flow = via ? via->flow.transport != SIP_T_NONE : location_behind_nat(m, flow);
    if (via)
        d = *via;
    if (routed || sipmsg_addrs(m, SIP_H_CONTACT, &contact, &n) || n != 1 || contact->star ||
        location_sender(&contact->uri, flow, by_flow, &named))
        return d;
    if (named.flow.transport == SIP_T_NONE && !location_allowed(s, &named.addr, &flow->remote))
        return d;
    return named;
}

/* ---- the request ---- */

void within_put_reason(struct buf *b, uint16_t cause, sv why)
{
    buf_printf(b, "Reason: SIP;cause=%u;text=\"", cause);
    for (size_t i = 0; i < why.n && i < WITHIN_WORDS; i++) {
        char c = why.p[i];
        buf_char(b, c == '"' || c == '\\' || (unsigned char)c < ' ' || c == 0x7f ? '\'' : c);
    }
    buf_str(b, "\"\r\n");
}

static bool next_route(sv *rest, sv *ret)
{
    size_t n = sv_chr(*rest, WITHIN_END);
    *ret = sv_sub(*rest, 0, n);
    *rest = sv_sub(*rest, n + 1, rest->n);
    return ret->n > 0;
}

/* A strict router on top gets its own URI as the Request-URI, and the target at the end. */
static void put_head(const struct within_dialog *d, enum sip_method m, sv via, struct buf *b)
{
    sv rest = d->routes, first = SV_NONE, route, flag;
    struct sip_addr addr;
    bool strict = next_route(&rest, &first) && sip_addr_parse(first, false, &addr) == ERR_OK &&
                  !uri_param(&addr.uri, SV("lr"), &flag);
    rest = strict ? rest : d->routes;
    buf_put(b, sip_method_name(m));
    buf_char(b, ' ');
    buf_put(b, strict ? addr.uri.text : d->target);
    buf_str(b, " SIP/2.0\r\n");
    buf_put(b, via);
    while (next_route(&rest, &route)) {
        buf_str(b, "Route: ");
        buf_put(b, route);
        buf_str(b, "\r\n");
    }
    if (strict) {
        buf_str(b, "Route: <");
        buf_put(b, d->target);
        buf_str(b, ">\r\n");
    }
}

static void put_request(struct sip *s, const struct within_dialog *d,
                        const struct within_request *r, const struct flow *f, struct buf *b,
                        struct txn_key *ret_key)
{
    char mem[VIA_MAX];
    struct buf via;
    sv branch = SV_NONE;
    buf_init(&via, mem, sizeof(mem));
    buf_str(&via, "Via: ");
    sip_put_via(s, &via, f, d->slot, SV_NONE, &branch);
    *ret_key = ctxn_key(s, branch, r->method, sip_method_name(r->method));
    buf_str(&via, "\r\nMax-Forwards: 70\r\n");
    if (via.rc && !b->rc)
        b->rc = via.rc;
    put_head(d, r->method, buf_sv(&via), b);
    buf_str(b, "From: ");
    buf_put(b, d->local);
    if (d->local_tag.n) {
        buf_str(b, ";tag=");
        buf_put(b, d->local_tag);
    }
    buf_str(b, "\r\nTo: ");
    buf_put(b, d->remote);
    buf_str(b, "\r\nCall-ID: ");
    buf_put(b, d->call_id);
    buf_str(b, "\r\nCSeq: ");
    buf_u64(b, r->cseq);
    buf_char(b, ' ');
    buf_put(b, sip_method_name(r->method));
    buf_str(b, "\r\n");
    buf_put(b, r->headers);
    if (r->body.n) {
        buf_str(b, "Content-Type: ");
        buf_put(b, r->type);
        buf_str(b, "\r\n");
    }
    buf_str(b, "Content-Length: ");
    buf_u64(b, r->body.n);
    buf_str(b, "\r\n\r\n");
    buf_put(b, r->body);
}

static enum err send(struct sip *s, const struct within_dialog *d, const struct within_request *r,
                     struct block *octets, const struct txn_key *key, const struct ctxn_handler *h,
                     void *arg, struct ctxn **ret_txn)
{
    static const struct ctxn_handler nobody = {.on_gone = NULL};
    struct ctxn *txn;
    if (r->method == SIP_ACK)
        return sip_send(s, d->dest, octets, NULL);
    TRY(ctxn_new(s, d->dest, octets, key, ret_txn ? h : &nobody, arg, &txn));
    if (ret_txn)
        *ret_txn = txn;
    else
        ctxn_drop(txn);
    return ERR_OK;
}

enum err within_send(struct sip *s, const struct within_dialog *d, const struct within_request *r,
                     const struct ctxn_handler *h, void *arg, struct ctxn **ret_txn)
{
    struct txn_key key;
    struct flow f;
    struct buf b;
    TRY(sip_flow_for(s, d->dest, &f));
    struct block *octets =
        sip_block(s, ROOM + d->call_id.n + d->remote.n + d->local.n + 2 * d->routes.n +
                         2 * d->target.n + r->headers.n + r->type.n + r->body.n);
    if (!octets)
        return ERR_NOMEM;
    buf_init(&b, octets->p, octets->cap);
    put_request(s, d, r, &f, &b, &key);
    octets->n = (uint32_t)b.n;
    enum err rc = b.rc ? b.rc : send(s, d, r, octets, &key, h, arg, ret_txn);
    block_unref(octets);
    return rc;
}
