/* SPDX-License-Identifier: MIT */
/* libosip2: every value becomes objects of its own, numbers stay text. */
#include "parse.h"
#include <osipparser2/osip_message.h>
#include <osipparser2/osip_parser.h>

static osip_message_t *msg;

static bool start(void)
{
    return parser_init() == 0;
}

static void drop(void)
{
    osip_message_free(msg);
    msg = NULL;
}

static bool parse(const char *p, size_t n)
{
    if (osip_message_init(&msg))
        return false;
    if (osip_message_parse(msg, p, n) == 0)
        return true;
    drop();
    return false;
}

static osip_header_t *header(const char *name)
{
    osip_header_t *h = NULL;
    osip_message_header_get_byname(msg, name, 0, &h);
    return h;
}

static int64_t number(const char *name)
{
    const osip_header_t *h = header(name);
    return text_number(text_z(h ? h->hvalue : NULL));
}

static struct text param(osip_generic_param_t *p)
{
    return text_z(p ? p->gvalue : NULL);
}

static void read_vias(struct reading *r)
{
    osip_generic_param_t *branch = NULL;
    osip_via_t *via = osip_list_get(&msg->vias, 0);
    r->vias = osip_list_size(&msg->vias);
    if (!via)
        return;
    osip_via_param_get_byname(via, "branch", &branch);
    r->via_host = text_z(via->host);
    r->via_branch = param(branch);
}

/* Call-IDs come in two pieces; put together as everybody else has them. */
static struct text call_id(void)
{
    static char whole[256];
    size_t n = strlen(msg->call_id->number);
    memcpy(whole, msg->call_id->number, n);
    if (msg->call_id->host) {
        whole[n++] = '@';
        memcpy(whole + n, msg->call_id->host, strlen(msg->call_id->host));
        n += strlen(msg->call_id->host);
    }
    return (struct text){whole, n};
}

static bool read_it(const char *p, size_t n, struct reading *ret)
{
    osip_generic_param_t *from_tag = NULL, *to_tag = NULL;
    if (!parse(p, n))
        return false;
    *ret = (struct reading){.status = msg->status_code};
    if (MSG_IS_REQUEST(msg)) {
        ret->status = 0;
        ret->method = text_z(msg->sip_method);
        ret->uri_user = text_z(msg->req_uri->username);
        ret->uri_host = text_z(msg->req_uri->host);
    }
    read_vias(ret);
    osip_from_get_tag(msg->from, &from_tag);
    osip_to_get_tag(msg->to, &to_tag);
    ret->from_tag = param(from_tag);
    ret->to_tag = param(to_tag);
    ret->call_id = call_id();
    ret->cseq = text_number(text_z(msg->cseq->number));
    ret->cseq_method = text_z(msg->cseq->method);
    osip_contact_t *contact = osip_list_get(&msg->contacts, 0);
    osip_route_t *route = osip_list_get(&msg->routes, 0);
    ret->contacts = osip_list_size(&msg->contacts);
    ret->routes = osip_list_size(&msg->routes);
    if (contact && contact->url)
        ret->contact_host = text_z(contact->url->host);
    if (route && route->url)
        ret->route_host = text_z(route->url->host);
    ret->max_forwards = number("max-forwards");
    ret->expires = number("expires");
    ret->content_length =
        text_number(text_z(msg->content_length ? msg->content_length->value : NULL));
    return true;
}

static void edit_request(void)
{
    osip_via_t *via;
    osip_header_t *hops = header("max-forwards");
    if (osip_via_init(&via) == 0) {
        osip_via_parse(via, PARSE_VIA);
        osip_list_add(&msg->vias, via, 0);
    }
    if (hops && hops->hvalue) {
        char text[8] = {0};
        unsigned value = (unsigned)text_number(text_z(hops->hvalue)) - 1, at = sizeof(text) - 1;
        do
            text[--at] = (char)('0' + value % 10);
        while (value /= 10);
        osip_free(hops->hvalue);
        hops->hvalue = osip_strdup(text + at);
    }
}

static size_t edit(const char *p, size_t n, char *out)
{
    char *text = NULL;
    size_t written = 0;
    if (!parse(p, n))
        return 0;
    if (MSG_IS_REQUEST(msg)) {
        edit_request();
    } else {
        osip_via_t *via = osip_list_get(&msg->vias, 0);
        osip_list_remove(&msg->vias, 0);
        osip_via_free(via);
    }
    osip_message_force_update(msg);
    if (osip_message_to_str(msg, &text, &written) || written > PARSE_OUT)
        written = 0;
    memcpy(out, text, written);
    osip_free(text);
    drop();
    return written;
}

const struct parser parser = {"osip", start, read_it, drop, edit};
