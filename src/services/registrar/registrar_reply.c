/* SPDX-License-Identifier: MIT */
/* The header lines of a 200 to REGISTER. */
#include "registrar/registrar_priv.h"

/* RFC 8599 §5.5: a phone is asked to refresh its binding two minutes before it expires, at the
 * latest; what lasts no longer cannot be (§5.6.1.1). PNSREG_S is what a phone that wakes itself is
 * told (more than 120). */
enum { PUSH_LEAST_S = 120, PNSREG_S = 130, PUSH_KINDS = 4 };

void registrar_put_bindings(struct buf *b, const struct registrar_input *in,
                            const struct binding *bindings, size_t n, bool gruu)
{
    for (size_t i = 0; i < n; i++) {
        const struct binding *x = &bindings[i];
        buf_str(b, "Contact: <");
        buf_put(b, x->uri);
        buf_char(b, '>');
        if (x->q != 1000) {
            char digits[3] = {(char)('0' + x->q / 100), (char)('0' + x->q / 10 % 10),
                              (char)('0' + x->q % 10)};
            buf_str(b, ";q=0.");
            buf_mem(b, digits, sizeof(digits));
        }
        buf_put(b, x->params);
        if (gruu)
            gruu_put(b, in, x);
        usec left = x->expires - in->now;
        buf_str(b, ";expires=");
        buf_i64(b, left > 0 ? (left + USEC_S - 1) / USEC_S : 0);
        buf_str(b, "\r\n");
    }
    buf_str(b, "Date: ");
    clock_rfc1123(b, in->now);
    buf_str(b, "\r\n");
}

/* RFC 3327 §5.3: the phone is told who stands between. */
static void put_path(struct buf *b, const struct sipmsg *req)
{
    struct sip_walk walk = {.m = req, .id = SIP_H_PATH};
    struct sip_item item;
    while (sipmsg_next(&walk, &item)) {
        buf_str(b, "Path: ");
        for (size_t i = 0; i < item.text.n; i++) /* a fold becomes blanks */
            buf_char(b, item.text.p[i] == '\r' || item.text.p[i] == '\n' ? ' ' : item.text.p[i]);
        buf_str(b, "\r\n");
    }
}

/* RFC 8599 §5.6.1: whom this request asked us to wake, or whether we could. Any kind is served: the
 * operator's hook knows them. */
static void put_push(struct buf *b, const struct registrar_input *in,
                     const struct registrar_result *r, sv call_id)
{
    sv said[PUSH_KINDS];
    unsigned n = 0;
    for (size_t i = 0; i < r->n && n < PUSH_KINDS; i++) {
        const struct binding *x = &r->bindings[i];
        struct uri u;
        sv provider, prid, flag;
        bool again = false;
        if (x->call_id.p != call_id.p || uri_parse(x->uri, &u, NULL) ||
            !uri_param(&u, SV("pn-provider"), &provider) || !sip_is_token(provider))
            continue;
        bool asks = !uri_param(&u, SV("pn-prid"), &prid) || prid.n == 0;
        if (!asks && (x->push.n == 0 || x->expires - in->now <= PUSH_LEAST_S * USEC_S))
            continue;
        for (unsigned k = 0; k < n; k++)
            again = again || sv_ieq(said[k], provider);
        if (again)
            continue;
        said[n++] = provider;
        buf_str(b, "Feature-Caps: *;+sip.pns=\"");
        buf_put(b, provider);
        buf_char(b, '"');
        sv params = sv_sub(x->params, 1, x->params.n); /* without its first ';' */
        if (!asks && sip_param(params, SV("+sip.pnsreg"), &flag) &&
            x->expires - in->now > PNSREG_S * USEC_S)
            buf_printf(b, ";+sip.pnsreg=\"%d\"", PNSREG_S);
        buf_str(b, "\r\n");
    }
}

void registrar_put_headers(struct buf *b, const struct registrar_input *in,
                           const struct registrar_result *r, const struct settings *set)
{
    sv call_id;
    registrar_put_bindings(b, in, r->bindings, r->n,
                           sipmsg_lists(in->req, SIP_H_SUPPORTED, SV("gruu")));
    put_path(b, in->req);
    if (r->outbound) {
        buf_str(b, "Require: outbound\r\n");
        /* RFC 5626 §5.4, of the last hop before the phone. */
        if (r->direct && set->keepalive >= USEC_S) {
            buf_str(b, "Flow-Timer: ");
            buf_i64(b, set->keepalive / USEC_S);
            buf_str(b, "\r\n");
        }
    }
    if (set->push.url.n && sipmsg_call_id(in->req, &call_id) == ERR_OK)
        put_push(b, in, r, call_id);
}
