/* SPDX-License-Identifier: MIT */
/* The dialog of a call that ends here: RFC 3261 §12.1.1, §12.2. Its Contact is a mark, bound to the Call-ID, and a
 * word that no other URI of ours has. */
#include "answer/answer_priv.h"
#include "location/location.h"

enum { ROOM = 1024 };
static const char word[] = "-here";
enum { WORD = sizeof(word) - 1 };
enum { SEPARATOR = 1 }; /* of routes: an octet that no header has */

/* ---- our Contact ---- */

static sv transport_param(const struct flow *f, bool sips)
{
    switch (f->transport) {
    case SIP_T_TCP:
        return SV(";transport=tcp");
    case SIP_T_TLS: /* without it a sip URI would say UDP */
        return sips ? SV_NONE : SV(";transport=tls");
    case SIP_T_WS:
    case SIP_T_WSS:
        return SV(";transport=ws");
    default:
        return SV_NONE;
    }
}

/* §12.1.1: sips, when what came asks for it. */
static bool asks_sips(struct rx *rx)
{
    const struct uri *u;
    const struct sip_addr *routes;
    size_t n;
    if (sipmsg_uri(&rx->msg, &u) == ERR_OK && u->scheme == URI_SIPS)
        return true;
    return sipmsg_addrs(&rx->msg, SIP_H_RECORD_ROUTE, &routes, &n) == ERR_OK && n > 0 &&
           routes[0].uri.scheme == URI_SIPS;
}

void answer_dialog_put_contact(const struct answer_call *c, struct buf *b, struct rx *rx)
{
    struct sip *s = c->answer->sip;
    struct home *home = sip_home(s);
    bool sips = asks_sips(rx);
    buf_str(b, sips ? "Contact: <sips:" : "Contact: <sip:");
    home_mark(home, c->slot, home_call(home, c->call_id), b);
    buf_str(b, word);
    buf_char(b, '@');
    sip_put_hostport(s, b, &rx->flow);
    buf_put(b, transport_param(&rx->flow, sips));
    buf_str(b, ">\r\n");
}

bool answer_dialog_is_ours(struct answer *a, struct rx *rx)
{
    const struct uri *u;
    uint64_t was, is;
    if (sipmsg_uri(&rx->msg, &u) || u->user.n != HOME_MARK_LEN + WORD ||
        memcmp(u->user.p + HOME_MARK_LEN, word, WORD) != 0 ||
        !sip_marked(a->sip, rx, u->user, &was) || !sip_is_local(a->sip, u->host, u->port))
        return false;
    is = home_call(sip_home(a->sip), sipmsg_value(&rx->msg, SIP_H_CALL_ID));
    return crypto_equal(&was, &is, sizeof(is));
}

struct answer_call *answer_dialog_find(struct answer *a, struct rx *rx)
{
    const struct sip_addr *from, *to;
    sv call_id;
    if (sipmsg_from(&rx->msg, &from) || sipmsg_to(&rx->msg, &to) ||
        sipmsg_call_id(&rx->msg, &call_id))
        return NULL;
    HASH_EACH (c, &a->calls, sip_call_key(a->sip, rx)->a, struct answer_call, by_call_id) {
        if (sv_eq(c->call_id, call_id) && sv_eq(c->local_tag, to->tag) &&
            sv_eq(c->remote_tag, from->tag))
            return c;
    }
    return NULL;
}

/* ---- the caller's side ---- */

/* The sender stands right behind the flow, or a route set begins there: our requests go back the same way. */
static struct dest place_of(const struct answer_call *c, struct rx *rx)
{
    const struct flow *f = &rx->flow;
    struct dest d = {.flow = *f, .addr = f->remote, .transport = f->transport, .or_connect = true};
    const struct sip_addr *contact;
    const struct sip_via *vias;
    struct dest named;
    size_t n;
    if (c->routes.n || (!sipmsg_vias(&rx->msg, &vias, &n) && n == 1))
        return d;
    if (sipmsg_addrs(&rx->msg, SIP_H_CONTACT, &contact, &n) == ERR_OK && n == 1 &&
        location_dest(&contact->uri, &named) == ERR_OK &&
        location_allowed(c->answer->sip, &named.addr, &f->remote))
        return named;
    return d;
}

static bool set_target(struct answer_call *c, struct rx *rx)
{
    const struct sip_addr *contact;
    size_t n;
    if (sipmsg_addrs(&rx->msg, SIP_H_CONTACT, &contact, &n) || n != 1 || contact->star ||
        contact->uri.text.n > ANSWER_TARGET_MAX)
        return false;
    sv text = contact->uri.text;
    if (sv_eq(text, c->target))
        return true;
    char *p = mem_alloc(text.n + 1);
    if (!p)
        return false;
    memcpy(p, text.p, text.n);
    mem_free((char *)c->target.p);
    c->target = (sv){p, text.n};
    return true;
}

void answer_dialog_heard(struct answer_call *c, struct rx *rx, bool refresh)
{
    if (refresh)
        (void)set_target(c, rx); /* without memory the old one stays */
    c->dest = place_of(c, rx);
}

static sv put(struct buf *b, sv text)
{
    size_t from = b->n;
    buf_put(b, text);
    return sv_sub(buf_sv(b), from, b->n);
}

enum err answer_dialog_learn(struct answer_call *c, struct rx *rx)
{
    const struct sip_addr *from;
    const struct sip_cseq *cseq;
    struct sip_walk w = {.m = &rx->msg, .id = SIP_H_RECORD_ROUTE};
    struct sip_item item;
    struct buf b;
    size_t routes = 0;
    while (sipmsg_next(&w, &item))
        routes += item.text.n + 1;
    if (w.rc || routes > ANSWER_ROUTES_MAX)
        return w.rc ? w.rc : ERR_TOOBIG;
    sv from_text = sipmsg_value(&rx->msg, SIP_H_FROM), to = sipmsg_value(&rx->msg, SIP_H_TO);
    sv call_id = sipmsg_value(&rx->msg, SIP_H_CALL_ID);
    TRY(sipmsg_from(&rx->msg, &from));
    TRY(sipmsg_cseq(&rx->msg, &cseq));
    size_t n = call_id.n + from_text.n + from->tag.n + to.n + routes + 1;
    char *mem = mem_alloc(n);
    if (!mem)
        return ERR_NOMEM;
    buf_init(&b, mem, n);
    c->call_id = put(&b, call_id);
    c->remote = put(&b, from_text);
    c->remote_tag = put(&b, from->tag);
    c->local = put(&b, to);
    size_t at = b.n;
    for (w = (struct sip_walk){.m = &rx->msg, .id = SIP_H_RECORD_ROUTE}; sipmsg_next(&w, &item);) {
        buf_put(&b, item.text);
        buf_char(&b, SEPARATOR);
    }
    c->routes = sv_sub(buf_sv(&b), at, b.n);
    c->invite_cseq = c->remote_cseq = cseq->number;
    c->slot = rx->slot;
    if (!set_target(c, rx))
        return ERR_SYNTAX;
    c->dest = place_of(c, rx);
    return ERR_OK;
}

void answer_dialog_forget(struct answer_call *c)
{
    mem_free((char *)c->call_id.p);
    mem_free((char *)c->target.p);
}

/* ---- our BYE ---- */

static bool next_route(sv *rest, sv *ret)
{
    size_t n = sv_chr(*rest, SEPARATOR);
    *ret = sv_sub(*rest, 0, n);
    *rest = sv_sub(*rest, n + 1, rest->n);
    return ret->n > 0;
}

/* §12.2.1.1: a strict router on top gets its own URI as the Request-URI, and the target at the end. */
static void put_head(const struct answer_call *c, struct buf *b, sv via)
{
    sv rest = c->routes, first = SV_NONE, route, flag;
    struct sip_addr addr;
    bool strict = next_route(&rest, &first) && sip_addr_parse(first, false, &addr) == ERR_OK &&
                  !uri_param(&addr.uri, SV("lr"), &flag);
    rest = strict ? rest : c->routes;
    buf_str(b, "BYE ");
    buf_put(b, strict ? addr.uri.text : c->target);
    buf_str(b, " SIP/2.0\r\n");
    buf_put(b, via);
    while (next_route(&rest, &route)) {
        buf_str(b, "Route: ");
        buf_put(b, route);
        buf_str(b, "\r\n");
    }
    if (strict) {
        buf_str(b, "Route: <");
        buf_put(b, c->target);
        buf_str(b, ">\r\n");
    }
}

static void put_bye(struct answer_call *c, struct buf *b, const struct flow *f,
                    struct txn_key *ret_key)
{
    struct sip *s = c->answer->sip;
    char mem[512];
    struct buf via;
    sv branch = SV_NONE;
    buf_init(&via, mem, sizeof(mem));
    buf_str(&via, "Via: ");
    sip_put_via(s, &via, f, c->slot, SV_NONE, &branch);
    *ret_key = ctxn_key(s, branch, SIP_BYE, SV("BYE"));
    buf_str(&via, "\r\nMax-Forwards: 70\r\n");
    if (via.rc && !b->rc)
        b->rc = via.rc;
    put_head(c, b, buf_sv(&via));
    buf_str(b, "From: ");
    buf_put(b, c->local);
    buf_str(b, ";tag=");
    buf_put(b, c->local_tag);
    buf_str(b, "\r\nTo: ");
    buf_put(b, c->remote);
    buf_str(b, "\r\nCall-ID: ");
    buf_put(b, c->call_id);
    buf_str(b, "\r\nCSeq: ");
    buf_u64(b, ++c->local_cseq);
    buf_str(b, " BYE\r\nContent-Length: 0\r\n\r\n");
}

void answer_dialog_bye(struct answer_call *c)
{
    static const struct ctxn_handler nobody = {.on_gone = NULL};
    struct sip *s = c->answer->sip;
    struct txn_key key;
    struct ctxn *txn;
    struct flow f;
    struct buf b;
    if (sip_flow_for(s, &c->dest, &f))
        return; /* §15.1.1: it is over all the same */
    struct block *octets = sip_block(s, ROOM + c->call_id.n + c->remote.n + c->local.n +
                                            2 * c->routes.n + 2 * c->target.n);
    if (!octets)
        return;
    buf_init(&b, octets->p, octets->cap);
    put_bye(c, &b, &f, &key);
    octets->n = (uint32_t)b.n;
    if (b.rc == ERR_OK && ctxn_new(s, &c->dest, octets, &key, &nobody, NULL, &txn) == ERR_OK)
        ctxn_drop(txn);
    block_unref(octets);
}
