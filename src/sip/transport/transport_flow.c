/* SPDX-License-Identifier: MIT */
/* transport/transport_flow.c: flows as text, whether they are up, octets that are no message.
 *
 *   token   kind 1 | listener 1 | worker 1 | [conn 8] | local ip, port | remote ip, port | [scopes 4, 4]
 *
 * kind is the transport, FLOW_V6 and FLOW_SCOPES. One flow has one text: what is not written is not
 * read. */
#include "crypto/crypto.h"
#include "transport/transport_priv.h"

enum { FLOW_TRANSPORT = 7, FLOW_V6 = 8, FLOW_SCOPES = 16, FLOW_KINDS = 31 };
enum { TOKEN_OCTETS = 3 + 8 + 2 * (16 + 2) + 2 * 4 };
_Static_assert((TOKEN_OCTETS * 4 + 2) / 3 <= FLOW_TOKEN_MAX, "the longest flow fits its token");

bool flow_equal(const struct flow *a, const struct flow *b)
{
    return a->transport == b->transport && a->listener == b->listener && a->conn == b->conn &&
           (a->conn == 0 || a->worker == b->worker) && addr_equal(&a->local, &b->local) &&
           addr_equal(&a->remote, &b->remote);
}

/* ---- tokens ---- */

static uint8_t *put_number(uint8_t *p, uint64_t v, size_t octets)
{
    for (size_t i = 0; i < octets; i++)
        p[i] = (uint8_t)(v >> 8 * (octets - 1 - i));
    return p + octets;
}

static uint64_t get_number(const uint8_t **p, size_t octets)
{
    uint64_t v = 0;
    for (size_t i = 0; i < octets; i++)
        v = v << 8 | *(*p)++;
    return v;
}

static uint8_t *put_addr(uint8_t *p, const struct addr *a)
{
    size_t n = a->family == 6 ? 16 : 4;
    memcpy(p, a->ip, n);
    return put_number(p + n, a->port, 2);
}

void flow_put(struct buf *b, const struct flow *f)
{
    uint8_t octets[TOKEN_OCTETS], *p = octets;
    bool v6 = f->remote.family == 6, scopes = f->local.scope || f->remote.scope;
    if (f->transport < SIP_T_UDP || f->transport > SIP_T_WSS || f->remote.family == 0 ||
        f->local.family != f->remote.family) {
        if (!b->rc)
            b->rc = ERR_SYNTAX;
        return;
    }
    *p++ =
        (uint8_t)((unsigned)f->transport | (v6 ? FLOW_V6 : 0) | (v6 && scopes ? FLOW_SCOPES : 0));
    *p++ = f->listener;
    *p++ = f->worker;
    if (flow_reliable(f))
        p = put_number(p, f->conn, 8);
    p = put_addr(p, &f->local);
    p = put_addr(p, &f->remote);
    if (v6 && scopes) {
        p = put_number(p, f->local.scope, 4);
        p = put_number(p, f->remote.scope, 4);
    }
    crypto_base64url(b, octets, (size_t)(p - octets));
}

static bool get_addr(const uint8_t **p, bool v6, struct addr *ret_addr)
{
    size_t n = v6 ? 16 : 4;
    const uint8_t *ip = *p;
    *p += n;
    *ret_addr = addr_from_ip(ip, n, (uint16_t)get_number(p, 2));
    return ret_addr->family == (v6 ? 6 : 4); /* a mapped IPv4 address is not written as IPv6 */
}

enum err flow_read(sv token, struct flow *ret_flow)
{
    uint8_t octets[TOKEN_OCTETS];
    const uint8_t *p = octets;
    size_t n;
    if (crypto_base64url_decode(token, octets, sizeof octets, &n) || n < 3)
        return ERR_SYNTAX;
    unsigned kind = *p++;
    struct flow f = {.transport = (enum sip_transport)(kind & FLOW_TRANSPORT)};
    bool v6 = kind & FLOW_V6, scopes = kind & FLOW_SCOPES;
    size_t want = 3 + (flow_reliable(&f) ? 8u : 0u) + 2 * (v6 ? 18u : 6u) + (scopes ? 8u : 0u);
    if (f.transport < SIP_T_UDP || f.transport > SIP_T_WSS || kind > FLOW_KINDS || n != want ||
        (scopes && !v6))
        return ERR_SYNTAX;
    f.listener = *p++;
    f.worker = *p++;
    if (flow_reliable(&f))
        f.conn = get_number(&p, 8);
    if (!get_addr(&p, v6, &f.local) || !get_addr(&p, v6, &f.remote))
        return ERR_SYNTAX;
    if (scopes) {
        f.local.scope = (uint32_t)get_number(&p, 4);
        f.remote.scope = (uint32_t)get_number(&p, 4);
    }
    if (f.listener >= SIP_LISTENERS_MAX || f.worker >= LOOP_WORKERS_MAX || f.remote.port == 0 ||
        (f.conn != 0 && (f.conn & UINT32_MAX) == 0) ||
        (scopes && !f.local.scope && !f.remote.scope))
        return ERR_SYNTAX;
    *ret_flow = f;
    return ERR_OK;
}

/* ---- what is known of a flow ---- */

bool sip_flow_up(struct sip *s, const struct flow *f)
{
    const struct sip_shared *sh = s->shared;
    if (f->listener >= sh->config.listeners || !s->port[f->listener].open ||
        sh->config.listen[f->listener].transport != f->transport)
        return false;
    if (!flow_reliable(f))
        return true;
    return conn_of_flow(s, f) || conn_elsewhere(s, f);
}

bool sip_has_transport(const struct sip *s, enum sip_transport t, unsigned family)
{
    for (unsigned i = 0; i < s->shared->config.listeners; i++)
        if (s->port[i].open && s->shared->config.listen[i].transport == t &&
            (family == 0 || s->port[i].local.family == family))
            return true;
    return false;
}

unsigned sip_zone_of(const struct sip *s, const struct flow *f)
{
    return f->listener < s->shared->config.listeners ? s->shared->config.listen[f->listener].zone
                                                     : 0;
}
