/* SPDX-License-Identifier: MIT */
/* sofia-sip: a copy of the octets in its own message, every header becomes a structure. */
#include "parse.h"
#include <sofia-sip/msg.h>
#include <sofia-sip/msg_addr.h>
#include <sofia-sip/msg_header.h>
#include <sofia-sip/sip.h>
#include <sofia-sip/sip_header.h>
#include <sofia-sip/sip_parser.h>
#include <sofia-sip/su.h>

static const msg_mclass_t *class;
static msg_t *msg;
static sip_t *sip;

static bool start(void)
{
    if (su_init())
        return false;
    class = sip_default_mclass();
    return class != NULL;
}

static void drop(void)
{
    msg_destroy(msg);
    msg = NULL;
}

static bool parse(const char *p, size_t n)
{
    msg = msg_make(class, 0, p, (ssize_t)n);
    sip = msg ? sip_object(msg) : NULL;
    if (sip && !(sip->sip_flags & MSG_FLG_ERROR) && !sip->sip_error)
        return true;
    drop();
    return false;
}

static bool read_it(const char *p, size_t n, struct reading *ret)
{
    if (!parse(p, n))
        return false;
    *ret = (struct reading){
        .max_forwards = PARSE_ABSENT, .expires = PARSE_ABSENT, .content_length = PARSE_ABSENT};
    if (sip->sip_request) {
        ret->method = text_z(sip->sip_request->rq_method_name);
        ret->uri_user = text_z(sip->sip_request->rq_url->url_user);
        ret->uri_host = text_z(sip->sip_request->rq_url->url_host);
    } else {
        ret->status = sip->sip_status->st_status;
    }
    if (sip->sip_via) {
        ret->via_host = text_z(sip->sip_via->v_host);
        ret->via_branch = text_z(sip->sip_via->v_branch);
    }
    for (const sip_via_t *via = sip->sip_via; via; via = via->v_next)
        ret->vias++;
    ret->from_tag = text_z(sip->sip_from->a_tag);
    ret->to_tag = text_z(sip->sip_to->a_tag);
    ret->call_id = text_z(sip->sip_call_id->i_id);
    ret->cseq = sip->sip_cseq->cs_seq;
    ret->cseq_method = text_z(sip->sip_cseq->cs_method_name);
    if (sip->sip_contact)
        ret->contact_host = text_z(sip->sip_contact->m_url->url_host);
    for (const sip_contact_t *contact = sip->sip_contact; contact; contact = contact->m_next)
        ret->contacts++;
    if (sip->sip_route)
        ret->route_host = text_z(sip->sip_route->r_url->url_host);
    for (const sip_route_t *route = sip->sip_route; route; route = route->r_next)
        ret->routes++;
    if (sip->sip_max_forwards)
        ret->max_forwards = (int64_t)sip->sip_max_forwards->mf_count;
    if (sip->sip_expires)
        ret->expires = (int64_t)sip->sip_expires->ex_delta;
    if (sip->sip_content_length)
        ret->content_length = (int64_t)sip->sip_content_length->l_length;
    return true;
}

static bool change(void)
{
    if (!sip->sip_request)
        return msg_header_remove(msg, (msg_pub_t *)sip, (msg_header_t *)sip->sip_via) == 0;
    sip_via_t *via = sip_via_make(msg_home(msg), PARSE_VIA);
    if (!via || msg_header_insert(msg, (msg_pub_t *)sip, (msg_header_t *)via))
        return false;
    if (sip->sip_max_forwards) {
        sip->sip_max_forwards->mf_count--;
        msg_fragment_clear(sip->sip_max_forwards->mf_common);
    }
    return true;
}

static size_t edit(const char *p, size_t n, char *out)
{
    msg_iovec_t pieces[128];
    size_t written = 0;
    if (!parse(p, n))
        return 0;
    if (change() && msg_serialize(msg, (msg_pub_t *)sip) >= 0 && msg_prepare(msg) >= 0) {
        isize_t count = msg_iovec(msg, pieces, 128);
        for (isize_t i = 0; i < count && count <= 128; i++) {
            if (pieces[i].mv_len > PARSE_OUT - written)
                break;
            memcpy(out + written, pieces[i].mv_base, pieces[i].mv_len);
            written += pieces[i].mv_len;
        }
    }
    drop();
    return written;
}

const struct parser parser = {"sofia", start, read_it, drop, edit};
