/* SPDX-License-Identifier: MIT */
/* libre: reads From, To, CSeq and the URI itself, the rest is decoded header by header. It prints no
 * message that it has read. */
#include "parse.h"
#include <re.h>

static struct sip_msg *msg;

static bool start(void)
{
    return libre_init() == 0;
}

static void drop(void)
{
    msg = mem_deref(msg);
}

static struct text text(const struct pl *pl)
{
    return (struct text){pl->p, pl->l};
}

/* Its sent-by still has the port. */
static struct text host(struct text sent_by)
{
    const char *colon = sent_by.n ? memchr(sent_by.p, ':', sent_by.n) : NULL;
    if (colon)
        sent_by.n = (size_t)(colon - sent_by.p);
    return sent_by;
}

static bool on_via(const struct sip_hdr *hdr, const struct sip_msg *m, void *arg)
{
    struct reading *r = arg;
    struct sip_via via;
    (void)m;
    if (sip_via_decode(&via, &hdr->val))
        return true;
    if (r->vias++ == 0) {
        r->via_host = host(text(&via.sentby));
        r->via_branch = text(&via.branch);
    }
    return false;
}

static bool decode(const struct sip_hdr *hdr, int64_t *count, struct text *ret_host)
{
    struct sip_addr addr;
    if (sip_addr_decode(&addr, &hdr->val))
        return true;
    if ((*count)++ == 0)
        *ret_host = text(&addr.uri.host);
    return false;
}

static bool on_contact(const struct sip_hdr *hdr, const struct sip_msg *m, void *arg)
{
    struct reading *r = arg;
    (void)m;
    return decode(hdr, &r->contacts, &r->contact_host);
}

static bool on_route(const struct sip_hdr *hdr, const struct sip_msg *m, void *arg)
{
    struct reading *r = arg;
    (void)m;
    return decode(hdr, &r->routes, &r->route_host);
}

static bool read_it(const char *p, size_t n, struct reading *ret)
{
    struct mbuf *mb = mbuf_alloc(n); /* a copy, as its receiving makes */
    *ret = (struct reading){.vias = 0};
    if (!mb)
        return false;
    (void)mbuf_write_mem(mb, (const uint8_t *)p, n);
    mb->pos = 0;
    int rc = sip_msg_decode(&msg, mb);
    mem_deref(mb);
    if (rc)
        return false;
    if (sip_msg_hdr_apply(msg, true, SIP_HDR_VIA, on_via, ret) ||
        sip_msg_hdr_apply(msg, true, SIP_HDR_CONTACT, on_contact, ret) ||
        sip_msg_hdr_apply(msg, true, SIP_HDR_ROUTE, on_route, ret)) {
        drop();
        return false;
    }
    if (msg->req) {
        ret->method = text(&msg->met);
        ret->uri_user = text(&msg->uri.user);
        ret->uri_host = text(&msg->uri.host);
    }
    ret->status = msg->req ? 0 : msg->scode;
    ret->from_tag = text(&msg->from.tag);
    ret->to_tag = text(&msg->to.tag);
    ret->call_id = text(&msg->callid);
    ret->cseq = msg->cseq.num;
    ret->cseq_method = text(&msg->cseq.met);
    ret->max_forwards = text_number(text(&msg->maxfwd));
    ret->expires = text_number(text(&msg->expires));
    ret->content_length = text_number(text(&msg->clen));
    return true;
}

const struct parser parser = {"re", start, read_it, drop, NULL};
