/* SPDX-License-Identifier: MIT */
/* The proxies between a phone and us: RFC 3327 §5.3, and what RFC 5626 §6 asks of the first of them. */
#include "registrar/registrar_priv.h"

enum { PATH_HOPS = 16 };

static void put_value(struct buf *b, sv text)
{
    for (size_t i = 0; i < text.n; i++) /* a fold becomes blanks: it goes into other lines */
        buf_char(b, text.p[i] == '\r' || text.p[i] == '\n' ? ' ' : text.p[i]);
}

enum err path_read(const struct sip *s, struct sipmsg *req, struct arena *a, struct path *ret_path)
{
    const struct sip_addr *hops;
    size_t n = 0, i = 0;
    sv flag;
    bool first_hop = sipmsg_count(req, SIP_H_VIA) == 1;
    *ret_path = (struct path){.direct = first_hop, .ob = first_hop, .secure = true};
    enum err rc = sipmsg_addrs(req, SIP_H_PATH, &hops, &n);
    if (rc == ERR_NOTFOUND)
        return ERR_OK;
    TRY(rc);
    char mem[PATH_MAX_OCTETS];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    if (n > PATH_HOPS)
        return ERR_TOOBIG;
    for (size_t k = 0; k < n; k++) {
        if (hops[k].star || (hops[k].uri.scheme != URI_SIP && hops[k].uri.scheme != URI_SIPS))
            return ERR_SYNTAX;
        ret_path->secure = ret_path->secure && hops[k].uri.scheme == URI_SIPS;
    }
    /* What came through ourselves comes back to ourselves. */
    while (i < n && s && sip_is_local(s, hops[i].uri.host, hops[i].uri.port))
        i++;
    if (i < n)
        ret_path->first = hops[i];
    for (; i < n; i++) {
        if (b.n)
            buf_str(&b, ", ");
        put_value(&b, hops[i].text);
    }
    TRY(b.rc);
    TRY(sv_dup(a, buf_sv(&b), &ret_path->stored));
    ret_path->any = true;
    ret_path->direct = first_hop && ret_path->stored.n == 0;
    /* RFC 5626 §6 "the first URI": of the first hop, which wrote itself in before all others and so
     * stands at the bottom (§5.1: nobody else may write ;ob). */
    ret_path->ob = first_hop || uri_param(&hops[n - 1].uri, SV("ob"), &flag);
    return ERR_OK;
}
