/* SPDX-License-Identifier: MIT */
/* transport/transport_port.c: listeners, own addresses, which listener reaches whom, what it is called. */
#include "transport/transport_priv.h"
#include <assert.h>

#define BRANCH ";branch=z9hG4bK" /* and RFC 3261's cookie */

static void put_protocol(struct buf *b, enum sip_transport t)
{
    buf_put(b, SV("SIP/2.0/"));
    buf_put(b, sip_transport_name(t));
    buf_char(b, ' ');
}

/* ---- listening ---- */

/* What is asked of its address with every message. */
static void name_port(struct sip_port *p, enum sip_transport t)
{
    struct buf host, via;
    buf_init(&host, p->host, sizeof p->host);
    buf_init(&via, p->via, sizeof p->via);
    if (!addr_is_any(&p->local)) {
        addr_print_ip(&host, &p->local);
        put_protocol(&via, t);
        size_t from = via.n;
        addr_print(&via, &p->local);
        p->hostport = sv_sub(buf_sv(&via), from, via.n);
        buf_put(&via, SV(BRANCH));
    }
    assert(!host.rc && !via.rc);
    p->host_n = (uint8_t)host.n;
    p->via_n = (uint8_t)via.n;
    p->loopback = addr_class(&p->local) == ADDR_LOOPBACK;
}

/* When one listener alone has this transport and family, and is bound to an address, the way to a peer need
 * not be asked for. */
static void note_only(struct sip *s, enum sip_transport t, unsigned family)
{
    struct sip_port *only = NULL;
    unsigned n = 0;
    for (unsigned i = 0; i < s->shared->config.listeners; i++) {
        struct sip_port *p = &s->port[i];
        if (!p->open || s->shared->config.listen[i].transport != t || p->local.family != family)
            continue;
        only = p;
        n++;
    }
    s->only[t][family == 6] = n == 1 && !addr_is_any(&only->local) ? only : NULL;
}

enum err sip_listen(struct sip *s, unsigned i)
{
    struct sip_listen *c = &s->shared->config.listen[i];
    struct sip_port *p = &s->port[i];
    unsigned flags = c->freebind ? SOCK_FREEBIND : 0;
    assert(i < s->shared->config.listeners);
    if (p->open)
        return ERR_STATE;
    if (c->transport < SIP_T_UDP || c->transport > SIP_T_WSS)
        return ERR_UNSUPPORTED;
    if (c->transport == SIP_T_UDP) {
        TRY(udp_open_flags(s->loop, &c->bind, flags, &sip_udp_handler, p, &p->udp));
        p->local = p->udp->local;
    } else {
        TRY(stream_listen_flags(s->loop, &c->bind, flags, &sip_listener_handler, p, &p->listener));
        p->local = p->listener->local;
    }
    name_port(p, c->transport);
    p->open = true;
    note_only(s, c->transport, p->local.family);
    /* During set-up only: the other workers open the port that the first one found. */
    if (c->bind.port == 0)
        c->bind.port = p->local.port;
    return ERR_OK;
}

/* ---- own addresses ---- */

static bool known(const struct sip *s, const struct addr *ip)
{
    for (unsigned i = 0; i < s->known_n; i++)
        if (addr_equal_ip(&s->known[i], ip))
            return true;
    return false;
}

void sip_learn(struct sip *s, const struct addr *local)
{
    if (s->known_n < SIP_KNOWN && local->family && !addr_is_any(local) && !known(s, local))
        s->known[s->known_n++] = *local;
}

/* ip is an address of this machine: octets came to it, or the routing table says that the way to it
 * starts at it. */
static bool own_ip(struct sip *s, const struct addr *ip)
{
    struct addr from;
    if (known(s, ip))
        return true;
    if (addr_is_any(ip) || addr_class(ip) == ADDR_MULTICAST ||
        sock_source_for(s->loop, ip, &from) || !addr_equal_ip(&from, ip))
        return false;
    sip_learn(s, ip);
    return true;
}

/* RFC 3261 §19.1.2, RFC 7118 §5.5. */
static uint16_t default_port(enum sip_transport t)
{
    switch (t) {
    case SIP_T_TLS:
        return SIPS_PORT;
    case SIP_T_WS:
        return 80;
    case SIP_T_WSS:
        return 443;
    default:
        return SIP_PORT;
    }
}

static struct addr numeric(sv host)
{
    uint8_t ip[16];
    size_t n = 0;
    return uri_host_ip(host, ip, &n) ? (struct addr){0} : addr_from_ip(ip, n, 0);
}

/* A listener is called so: as text, or as a number however it is written. */
static bool advertised(sv advertise, sv host, const struct addr *ip)
{
    struct addr own = {0};
    if (host.n && sv_ieq(advertise, host))
        return true;
    if (ip->family)
        own = numeric(advertise);
    return own.family && addr_equal_ip(&own, ip);
}

/* host: and, when it is a number, ip. */
static bool port_is(struct sip *s, unsigned i, sv host, const struct addr *ip)
{
    const struct sip_port *p = &s->port[i];
    sv advertise = s->shared->config.listen[i].advertise;
    if (sv_present(advertise) && advertised(advertise, host, ip))
        return true;
    if (ip->family == 0 || ip->family != p->local.family)
        return false;
    return addr_is_any(&p->local) ? own_ip(s, ip) : addr_equal_ip(&p->local, ip);
}

static bool port_has(const struct sip *s, unsigned i, uint16_t port)
{
    const struct sip_port *p = &s->port[i];
    return p->open &&
           p->local.port == (port ? port : default_port(s->shared->config.listen[i].transport));
}

bool sip_is_local(const struct sip *cs, sv host, uint16_t port)
{
    struct sip *s = (struct sip *)cs; /* what is learnt is a cache */
    unsigned listeners = s->shared->config.listeners, candidates = 0;
    for (unsigned i = 0; i < listeners; i++) {
        if (!port_has(s, i, port))
            continue;
        /* As we write it ourselves it is what mostly comes back. */
        if (host.n > 0 && sv_eq(host, (sv){s->port[i].host, s->port[i].host_n}))
            return true;
        candidates++;
    }
    if (candidates == 0)
        return false;
    struct addr ip = numeric(host);
    for (unsigned i = 0; i < listeners; i++)
        if (port_has(s, i, port) && port_is(s, i, host, &ip))
            return true;
    return false;
}

bool sip_is_own(const struct sip *cs, const struct addr *a)
{
    struct sip *s = (struct sip *)cs;
    for (unsigned i = 0; i < s->shared->config.listeners; i++)
        if (port_has(s, i, a->port) && port_is(s, i, SV_NONE, a))
            return true;
    return false;
}

bool sip_port_is(struct sip *s, unsigned listener, sv host)
{
    struct addr ip = numeric(host);
    return port_is(s, listener, host, &ip);
}

/* ---- which listener ---- */

/* How well a listener suits requests to `to`; 0: not at all. */
static int suits(const struct sip_port *p, const struct addr *source, const struct addr *to)
{
    const struct addr *local = &p->local;
    if (local->family != to->family)
        return 0;
    if (addr_is_any(local))
        return source->family ? 2 : 0;
    if (addr_equal_ip(local, source))
        return 3;
    /* The kernel sends nothing from a loopback address to the outside. */
    return p->loopback && addr_class(to) != ADDR_LOOPBACK ? 0 : 1;
}

/* Bits of the zone's longest network that holds `to`, and one; 0: none does. */
static int zone_holds(const struct sip_config *c, unsigned zone, const struct addr *to)
{
    int most = 0;
    if (zone >= c->zones)
        return 0;
    for (unsigned i = 0; i < c->zone[zone].networks_n; i++) {
        const struct addr_net *n = &c->zone[zone].networks[i];
        if (n->bits + 1 > most && addr_net_has(n, to))
            most = n->bits + 1;
    }
    return most;
}

/* The one listener that can reach `to` at all, when it is bound to an address: then the way there does not
 * matter. NULL: there is none such. */
static struct sip_port *only_port(struct sip *s, enum sip_transport t, const struct addr *to)
{
    struct sip_port *p = s->only[t][to->family == 6];
    bool reaches =
        p && p->local.family == to->family && (!p->loopback || addr_class(to) == ADDR_LOOPBACK);
    return reaches ? p : NULL;
}

enum err sip_port_for(struct sip *s, enum sip_transport t, const struct addr *to,
                      struct sip_port **ret_port, struct addr *ret_local)
{
    enum { ZONE_WEIGHT = 4 }; /* above every rank of suits() */
    const struct sip_config *c = &s->shared->config;
    struct addr source = {0};
    struct sip_port *best = only_port(s, t, to);
    int best_rank = 0;
    if (best) {
        *ret_port = best;
        *ret_local = best->local;
        return ERR_OK;
    }
    if (sock_source_for(s->loop, to, &source))
        source = (struct addr){0};
    for (unsigned i = 0; i < c->listeners; i++) {
        struct sip_port *p = &s->port[i];
        if (!p->open || c->listen[i].transport != t)
            continue;
        int rank = suits(p, &source, to);
        if (rank)
            rank += ZONE_WEIGHT * zone_holds(c, c->listen[i].zone, to);
        if (rank > best_rank) {
            best_rank = rank;
            best = p;
        }
    }
    if (!best)
        return ERR_UNREACHABLE;
    *ret_port = best;
    *ret_local = best->local;
    if (addr_is_any(&best->local)) {
        *ret_local = source;
        ret_local->port = best->local.port;
        sip_learn(s, ret_local);
    }
    return ERR_OK;
}

enum err sip_flow_for(struct sip *s, const struct dest *d, struct flow *ret_flow)
{
    if (d->flow.transport != SIP_T_NONE && (d->flow.conn || !flow_reliable(&d->flow))) {
        *ret_flow = d->flow;
        return ERR_OK;
    }
    bool by_flow = d->flow.transport != SIP_T_NONE;
    const struct addr *to = by_flow ? &d->flow.remote : &d->addr;
    enum sip_transport t = by_flow ? d->flow.transport : d->transport;
    if (!sip_connects(t))
        return ERR_UNREACHABLE;
    struct conn *c = t == SIP_T_UDP ? NULL : conn_to(s, t, to, d->name);
    if (c) {
        *ret_flow = c->flow;
        return ERR_OK;
    }
    struct sip_port *p;
    struct addr local;
    TRY(sip_port_for(s, t, to, &p, &local));
    *ret_flow = (struct flow){.transport = t,
                              .listener = p->index,
                              .worker = (uint8_t)s->loop->worker,
                              .local = local,
                              .remote = *to};
    return ERR_OK;
}

/* ---- what we are called ---- */

static bool told_real(const struct sip_config *c, const struct addr *peer)
{
    for (unsigned i = 0; i < c->local_n; i++)
        if (addr_net_has(&c->local[i], peer))
            return true;
    return false;
}

/* Peers on this flow are told the listener's own address, as it was written when that opened. */
static bool told_written(const struct sip *s, const struct flow *f)
{
    const struct sip_config *c = &s->shared->config;
    const struct sip_port *p = &s->port[f->listener];
    return p->via_n > 0 && addr_equal(&p->local, &f->local) &&
           (!sv_present(c->listen[f->listener].advertise) || told_real(c, &f->remote));
}

void sip_put_hostport(struct sip *s, struct buf *b, const struct flow *f)
{
    const struct sip_config *c = &s->shared->config;
    sv advertise = c->listen[f->listener].advertise;
    if (told_written(s, f)) {
        buf_put(b, s->port[f->listener].hostport);
    } else if (sv_present(advertise) && !told_real(c, &f->remote)) {
        buf_put(b, advertise);
        buf_char(b, ':');
        buf_u64(b, f->local.port);
    } else {
        addr_print(b, &f->local);
    }
}

/* A quoted-string's text: what cannot stand in one becomes a blank. */
static void put_quoted(struct buf *b, sv text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '"' || c == '\\')
            buf_char(b, '\\');
        buf_char(b, (unsigned char)c < ' ' || c == 0x7f ? ' ' : c);
    }
}

void sip_put_warning(struct sip *s, struct buf *b, const struct flow *f, uint16_t code, sv text)
{
    buf_str(b, "Warning: ");
    buf_u64(b, code);
    buf_char(b, ' ');
    sip_put_hostport(s, b, f);
    buf_str(b, " \"");
    put_quoted(b, text);
    buf_str(b, "\"\r\n");
}

void sip_put_said(struct buf *b, uint16_t status, sv reason, sv warning)
{
    buf_put(b, sv_present(reason) ? reason : sv_of(sip_reason(status)));
    size_t at = sv_chr(warning, '"') + 1;
    if (at < warning.n)
        buf_str(b, ": ");
    for (; at < warning.n && warning.p[at] != '"'; at++) {
        at += warning.p[at] == '\\' && at + 1 < warning.n;
        buf_char(b, warning.p[at]);
    }
}

void sip_put_via_start(struct sip *s, struct buf *b, const struct flow *f)
{
    const struct sip_port *p = &s->port[f->listener];
    if (s->shared->config.listen[f->listener].transport == f->transport && told_written(s, f)) {
        buf_mem(b, p->via, p->via_n);
        return;
    }
    put_protocol(b, f->transport);
    sip_put_hostport(s, b, f);
    buf_put(b, SV(BRANCH));
}

void sip_put_via(struct sip *s, struct buf *b, const struct flow *f, uint16_t slot, sv suffix,
                 sv *ret_branch)
{
    sip_put_via_start(s, b, f);
    size_t from = b->n - SV("z9hG4bK").n;
    home_mark(s->shared->home, slot, loop_random(s->loop), b);
    buf_put(b, suffix);
    size_t to = b->n;
    /* RFC 3581 §3: the client adds rport; over streams the answer comes back on the connection. */
    if (f->transport == SIP_T_UDP)
        buf_put(b, SV(";rport"));
    /* RFC 5923 §8.1: whom we connect to over TLS may send us requests on that connection. */
    if (f->transport == SIP_T_TLS && conn_is_ours(s, f))
        buf_put(b, SV(";alias"));
    *ret_branch = sv_sub(buf_sv(b), from, to);
}
