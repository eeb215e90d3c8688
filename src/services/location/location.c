/* SPDX-License-Identifier: MIT */
/* From a contact to the place where it is reached. */
#include "location/location.h"

bool location_behind_nat(struct sipmsg *req, const struct flow *flow)
{
    const struct sip_via *via;
    uint8_t ip[16];
    size_t n;
    if (sipmsg_via(req, &via) || uri_host_ip(via->host, ip, &n))
        return true;
    struct addr sent_by = addr_from_ip(ip, n, via->port ? via->port : 5060);
    if (!addr_equal_ip(&sent_by, &flow->remote))
        return true;
    /* On a stream the sent-by is where the client listens; only a datagram's port can be compared,
     * and one that asks for rport says itself that it may differ. */
    return flow->transport == SIP_T_UDP && sent_by.port != flow->remote.port;
}

/* The address that a host names by number; false: it is a name. */
static bool numeric(sv host, uint16_t port, struct addr *ret_addr)
{
    uint8_t ip[16];
    size_t n;
    if (uri_host_ip(host, ip, &n))
        return false;
    *ret_addr = addr_from_ip(ip, n, port);
    return true;
}

/* As location_by_flow; host: the contact's, NULL: a name, such as <random>.invalid. */
static bool by_flow_alone(const struct addr *host, const struct flow *flow, bool behind_nat)
{
    if (flow->transport != SIP_T_UDP && flow->transport != SIP_T_TCP)
        return true;
    if (behind_nat || !host)
        return true;
    return flow_reliable(flow) && addr_equal_ip(host, &flow->remote);
}

bool location_by_flow(const struct uri *contact, const struct flow *flow, bool behind_nat)
{
    struct addr host;
    bool number = numeric(contact->host, contact->port, &host);
    return by_flow_alone(number ? &host : NULL, flow, behind_nat);
}

enum sip_transport location_transport(const struct uri *u)
{
    sv name;
    if (uri_param(u, SV("transport"), &name)) {
        enum sip_transport t = sip_transport_of(name);
        return t == SIP_T_NONE ? SIP_T_OTHER : t;
    }
    return u->scheme == URI_SIPS ? SIP_T_TLS : SIP_T_UDP;
}

/* As location_dest; host: what its host names by number, NULL: a name. */
static enum err dest_at(const struct uri *u, const struct addr *host, struct dest *ret_dest)
{
    struct addr there;
    sv maddr;
    if (u->scheme != URI_SIP && u->scheme != URI_SIPS)
        return ERR_UNREACHABLE;
    if (uri_param(u, SV("maddr"), &maddr)) /* RFC 3263 §4: maddr names the target */
        host = numeric(maddr, 0, &there) ? &there : NULL;
    if (!host)
        return ERR_UNREACHABLE;
    enum sip_transport t = location_transport(u);
    *ret_dest = (struct dest){.addr = *host, .transport = t};
    ret_dest->addr.port = u->port ? u->port : t == SIP_T_TLS || t == SIP_T_WSS ? 5061 : 5060;
    /* Over TLS too: who listens there shows a certificate for the address. */
    return t == SIP_T_UDP || t == SIP_T_TCP || t == SIP_T_TLS ? ERR_OK : ERR_UNREACHABLE;
}

enum err location_dest(const struct uri *u, struct dest *ret_dest)
{
    struct addr host;
    return dest_at(u, numeric(u->host, 0, &host) ? &host : NULL, ret_dest);
}

bool location_allowed(const struct sip *s, const struct addr *named, const struct addr *peer)
{
    enum addr_class c = addr_class(named);
    if (c == ADDR_MULTICAST || c == ADDR_SPECIAL || (c != ADDR_GLOBAL && c != addr_class(peer)))
        return false;
    return !sip_is_own(s, named);
}

enum err location_contact(const struct uri *contact, const struct flow *flow, bool by_flow,
                          struct dest *ret_dest)
{
    if (by_flow && flow->transport != SIP_T_NONE) {
        struct dest listens;
        *ret_dest =
            (struct dest){.flow = *flow, .addr = flow->remote, .transport = flow->transport};
        /* A phone whose connection died may still be where its contact says that it listens, if no
         * NAT rewrote the address on the way. Not over TLS: phones have no certificates. */
        if (flow->transport == SIP_T_TCP && location_dest(contact, &listens) == ERR_OK &&
            addr_equal_ip(&listens.addr, &flow->remote) && listens.transport == flow->transport) {
            ret_dest->addr = listens.addr;
            ret_dest->or_connect = true;
        }
        return ERR_OK;
    }
    return location_dest(contact, ret_dest);
}

enum err location_sender(const struct uri *contact, const struct flow *flow, bool by_flow,
                         struct dest *ret_dest)
{
    struct addr host;
    bool number = numeric(contact->host, contact->port, &host);
    const struct addr *at = number ? &host : NULL;
    if (by_flow || by_flow_alone(at, flow, false))
        return location_contact(contact, flow, true, ret_dest);
    return dest_at(contact, at, ret_dest);
}

struct flow location_flow(const struct binding *b, uint64_t epoch)
{
    struct flow f = {.transport = (enum sip_transport)b->transport,
                     .listener = b->listener,
                     .worker = b->worker,
                     .conn = b->conn,
                     .local = b->local,
                     .remote = b->remote};
    if (binding_conn_dead(b, epoch))
        f = (struct flow){.transport = SIP_T_NONE};
    return f;
}
