/* SPDX-License-Identifier: MIT */
/* Dialogs: RFC 3261 §12. */
#include "useragent/useragent_priv.h"
#include "location/location.h"

static void on_bye_response(struct request *r, struct rx *rx, uint16_t status)
{
    struct dialog *d = r->dialog;
    struct useragent_call *c = d->call;
    (void)rx;
    if (status < 200)
        return;
    /* §15.1.1: whatever the answer, also 408 and 481, the dialog is over. */
    if (d == c->dialog)
        useragent_finish(c, c->no_ack ? USERAGENT_NO_ACK : USERAGENT_BY_US,
                         c->status ? c->status : 200);
    useragent_settle(c);
}

static void drop_routes(struct dialog *d)
{
    for (unsigned i = 0; i < d->routes; i++)
        useragent_set_text(&d->route[i], SV_NONE);
    d->routes = 0;
}

void dialog_free(struct dialog *d)
{
    request_drop(&d->bye);
    drop_routes(d);
    useragent_set_text(&d->remote_tag, SV_NONE);
    useragent_set_text(&d->remote_target, SV_NONE);
    block_unref(d->ack);
    list_unlink(&d->by_call);
    d->call->dialogs_n--;
    if (d->call->dialog == d)
        d->call->dialog = NULL;
    mem_free(d);
}

void dialog_refresh(struct dialog *d, struct rx *rx)
{
    const struct sip_addr *contact;
    size_t n;
    if (sipmsg_addrs(&rx->msg, SIP_H_CONTACT, &contact, &n) == ERR_OK && n == 1 && !contact->star)
        useragent_set_text(&d->remote_target, contact->uri.text);
}

/* §12.1.1: Record-Routes in order; §12.1.2: for the caller in reverse order. */
bool dialog_learn(struct dialog *d, struct rx *rx)
{
    struct sip_walk w = {.m = &rx->msg, .id = SIP_H_RECORD_ROUTE};
    struct sip_item item;
    bool ok = true;
    drop_routes(d);
    while (sipmsg_next(&w, &item)) {
        ok = ok && d->routes < USERAGENT_ROUTES;
        if (ok)
            ok = useragent_set_text(&d->route[d->routes++], item.text);
    }
    for (unsigned i = 0; !rx->msg.request && i < d->routes / 2; i++) {
        sv swap = d->route[i];
        d->route[i] = d->route[d->routes - 1 - i];
        d->route[d->routes - 1 - i] = swap;
    }
    dialog_refresh(d, rx);
    return ok && !w.rc;
}

struct dialog *dialog_new(struct useragent_call *c, struct rx *rx)
{
    const struct sip_addr *remote;
    const struct sip_cseq *cseq;
    struct dialog *d = c->dialogs_n < USERAGENT_FORKS ? MEM_NEW(struct dialog) : NULL;
    if (!d)
        return NULL;
    list_push(&c->dialogs, &d->by_call);
    c->dialogs_n++;
    d->call = c;
    d->bye = (struct request){
        .ua = c->ua, .method = SIP_BYE, .dialog = d, .call = c, .on_response = on_bye_response};
    enum err rc = rx->msg.request ? sipmsg_from(&rx->msg, &remote) : sipmsg_to(&rx->msg, &remote);
    if (!rc)
        rc = sipmsg_cseq(&rx->msg, &cseq);
    if (rc || !useragent_set_text(&d->remote_tag, remote->tag) || !dialog_learn(d, rx)) {
        dialog_free(d);
        return NULL;
    }
    d->local_cseq = c->outgoing ? c->cseq : 0;
    d->remote_cseq = c->outgoing ? 0 : cseq->number;
    return d;
}

struct dialog *dialog_find(struct useragent_call *c, sv remote_tag)
{
    LIST_EACH (d, &c->dialogs, struct dialog, by_call) {
        if (sv_eq(d->remote_tag, remote_tag))
            return d;
    }
    return NULL;
}

struct dialog *dialog_match(struct useragent *ua, struct rx *rx)
{
    const struct sip_addr *from, *to;
    sv call_id;
    if (sipmsg_from(&rx->msg, &from) || sipmsg_to(&rx->msg, &to) || !to->tag.p ||
        sipmsg_call_id(&rx->msg, &call_id))
        return NULL;
    uint64_t key = crypto_siphash(ua->seed, call_id.p, call_id.n);
    HASH_EACH (c, &ua->calls, key, struct useragent_call, by_call_id) {
        if (!sv_eq(c->call_id, call_id) || !sv_eq(c->local_tag, to->tag))
            continue;
        struct dialog *d = dialog_find(c, from->tag);
        if (d)
            return d;
    }
    return NULL;
}

void dialog_bye(struct dialog *d)
{
    if (d->over)
        return;
    d->over = true;
    /* What cannot be sent is over all the same (§15.1.1). */
    if (request_send(&d->bye) != ERR_OK)
        on_bye_response(&d->bye, NULL, 503);
}

/* ---- the next hop ---- */

/* URI of the first route; loose: it carries ;lr. Absent: false. */
static bool first_route(const struct dialog *d, sv *ret_uri, bool *ret_loose)
{
    struct sip_addr addr;
    sv flag;
    if (d->routes == 0 || sip_addr_parse(d->route[0], false, &addr))
        return false;
    *ret_uri = addr.uri.text;
    *ret_loose = uri_param(&addr.uri, SV("lr"), &flag);
    return true;
}

/* §12.2.1.1: a strict router on top gets its own URI as the Request-URI, and the target at the end.
 */
sv dialog_uri(const struct dialog *d)
{
    sv uri;
    bool loose;
    return first_route(d, &uri, &loose) && !loose ? uri : d->remote_target;
}

void dialog_put_routes(const struct dialog *d, struct buf *b)
{
    sv uri;
    bool loose = true;
    if (!first_route(d, &uri, &loose))
        return;
    for (unsigned i = loose ? 0 : 1; i < d->routes; i++) {
        buf_str(b, "Route: ");
        buf_put(b, d->route[i]);
        buf_str(b, "\r\n");
    }
    if (!loose) {
        buf_str(b, "Route: <");
        buf_put(b, d->remote_target);
        buf_str(b, ">\r\n");
    }
}

/* The address that the first route or the target names; a name goes to our server, which is our
 * outbound proxy (§8.1.2). */
struct dest dialog_hop(const struct dialog *d)
{
    const struct useragent_config *c = &d->call->ua->c;
    struct dest hop = {.addr = c->server, .transport = c->transport};
    struct uri u;
    sv uri;
    bool loose;
    if (!first_route(d, &uri, &loose))
        uri = d->remote_target;
    struct dest named;
    if (uri_parse(uri, &u, NULL) == ERR_OK && location_dest(&u, &named) == ERR_OK &&
        named.transport == c->transport)
        hop = named;
    return hop;
}
