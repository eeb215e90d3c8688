/* SPDX-License-Identifier: MIT */
/* Ours: the octets stay where they are, the index and all values go into the message's arena. */
#include "parse.h"
#include "mem/arena.h"
#include "sipmsg/sipmsg.h"

enum { ARENA = 8192, ARENA_MAX = 65536 };

static char room[ARENA];
static struct arena arena;
static struct sipmsg msg;

static bool start(void)
{
    arena_init(&arena, room, sizeof(room), ARENA_MAX);
    return true;
}

static void drop(void)
{
    arena_reset(&arena);
}

static struct text text(sv s)
{
    return (struct text){s.p, s.n};
}

/* Both passes, as the server does with every message: nothing is read of one that is not checked. */
static bool parse(const char *p, size_t n)
{
    return sipmsg_parse((sv){p, n}, &arena, &msg, NULL) == ERR_OK &&
           sipmsg_check(&msg, NULL) == ERR_OK;
}

static int64_t number(enum sip_header h)
{
    uint32_t value;
    return sipmsg_number(&msg, h, &value) == ERR_OK ? (int64_t)value : PARSE_ABSENT;
}

static int64_t addresses(enum sip_header h, struct text *ret_host)
{
    const struct sip_addr *addrs;
    size_t n;
    *ret_host = (struct text){NULL, 0};
    if (sipmsg_addrs(&msg, h, &addrs, &n) != ERR_OK)
        return 0;
    *ret_host = text(addrs[0].uri.host);
    return (int64_t)n;
}

static bool read_it(const char *p, size_t n, struct reading *ret)
{
    const struct uri *uri;
    const struct sip_via *vias;
    const struct sip_addr *from, *to;
    const struct sip_cseq *cseq;
    size_t vias_n;
    sv call_id;
    if (!parse(p, n) || sipmsg_vias(&msg, &vias, &vias_n) || sipmsg_from(&msg, &from) ||
        sipmsg_to(&msg, &to) || sipmsg_cseq(&msg, &cseq) || sipmsg_call_id(&msg, &call_id))
        return false;
    *ret = (struct reading){.status = msg.status,
                            .vias = (int64_t)vias_n,
                            .via_host = text(vias[0].host),
                            .via_branch = text(vias[0].branch),
                            .from_tag = text(from->tag),
                            .to_tag = text(to->tag),
                            .call_id = text(call_id),
                            .cseq = cseq->number,
                            .cseq_method = text(cseq->method_text)};
    if (msg.request) {
        if (sipmsg_uri(&msg, &uri))
            return false;
        ret->method = text(msg.method_text);
        ret->uri_user = text(uri->user);
        ret->uri_host = text(uri->host);
    }
    ret->contacts = addresses(SIP_H_CONTACT, &ret->contact_host);
    ret->routes = addresses(SIP_H_ROUTE, &ret->route_host);
    ret->max_forwards = number(SIP_H_MAX_FORWARDS);
    ret->expires = number(SIP_H_EXPIRES);
    ret->content_length = number(SIP_H_CONTENT_LENGTH);
    return true;
}

static size_t edit(const char *p, size_t n, char *out)
{
    static struct sipedit e;
    char hops_text[4];
    uint32_t hops;
    struct buf b, digits;
    size_t written = 0;
    if (!parse(p, n))
        return 0;
    sipedit_init(&e, &msg);
    if (!msg.request) {
        struct sip_walk it = {.m = &msg, .id = SIP_H_VIA};
        struct sip_item item;
        if (sipmsg_next(&it, &item))
            sipedit_remove_item(&e, &item);
    } else {
        sipedit_line_first(&e, SIP_H_VIA, SV("Via: " PARSE_VIA));
        buf_init(&digits, hops_text, sizeof(hops_text));
        if (sipmsg_number(&msg, SIP_H_MAX_FORWARDS, &hops) == ERR_OK && hops > 0) {
            buf_u64(&digits, hops - 1);
            sipedit_value(&e, msg.first[SIP_H_MAX_FORWARDS], buf_sv(&digits));
        }
    }
    buf_init(&b, out, PARSE_OUT);
    if (sipedit_write(&e, &b) == ERR_OK)
        written = b.n;
    drop();
    return written;
}

const struct parser parser = {"tandem", start, read_it, drop, edit};
