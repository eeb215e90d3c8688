/* SPDX-License-Identifier: MIT */
/* Listeners: TRANSPORT:[ADDRESS:]PORT, as the addresses to bind. */
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include "config/config_priv.h"

#define LISTEN_HINT \
    SV("such as udp:5060, tcp:192.0.2.1:5060, udp:[2001:db8::1]:5060, udp:eth0:5060")

static bool wrong(struct config_reader *r, const struct config_scalar *s, sv hint, const char *why)
{
    char shown[CONFIG_SHOWN];
    config_error(r, s->at, hint, "listen: %s %s", config_shown(s, shown), why);
    return false;
}

static bool later_transport(sv name)
{
    return sv_ieq(name, SV("tls")) || sv_ieq(name, SV("ws")) || sv_ieq(name, SV("wss"));
}

static void add(struct config_listener *l, struct addr a)
{
    if (l->addrs_n < CONFIG_LISTEN_ADDRS)
        l->addrs[l->addrs_n++] = a;
}

/* False: an address that is no sockaddr of IPv4 or IPv6. */
static bool of_sockaddr(const struct sockaddr *sa, uint16_t port, struct addr *ret_addr)
{
    if (sa && sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof(in));
        *ret_addr = addr_from_ip((const uint8_t *)&in.sin_addr, 4, port);
        return true;
    }
    if (sa && sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof(in6));
        *ret_addr = addr_from_ip(in6.sin6_addr.s6_addr, 16, port);
        ret_addr->scope = in6.sin6_scope_id;
        return true;
    }
    return false;
}

/* All addresses of the interface; link-local ones only when it has no other, since phones cannot
 * be told their zone. */
static void add_interface(struct config_listener *l, sv name, uint16_t port)
{
    struct ifaddrs *all;
    if (name.n >= IF_NAMESIZE || getifaddrs(&all))
        return;
    for (int local = 0; local < 2 && l->addrs_n == 0; local++) {
        for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
            struct addr a;
            if (sv_eq(sv_of(i->ifa_name), name) && of_sockaddr(i->ifa_addr, port, &a) &&
                (addr_class(&a) == ADDR_LINK_LOCAL) == (local == 1))
                add(l, a);
        }
    }
    freeifaddrs(all);
}

static bool read_address(struct config_reader *r, const struct config_scalar *s, sv address,
                         uint16_t port, struct config_listener *l)
{
    struct addr a;
    bool brackets = address.n > 1 && address.p[0] == '[' && address.p[address.n - 1] == ']';
    if (!brackets && sv_chr(address, ':') < address.n)
        return wrong(r, s, LISTEN_HINT, "has an IPv6 address without brackets, or too many parts");
    if (!addr_parse_ip(address, port, &a)) {
        if (addr_class(&a) == ADDR_MULTICAST)
            return wrong(r, s, SV_NONE, "names a multicast address");
        add(l, a);
        return true;
    }
    if (address.n == 0 || brackets)
        return wrong(r, s, LISTEN_HINT, "has an address that is none");
    add_interface(l, address, port);
    if (l->addrs_n > 0)
        return true;
    return wrong(r, s, LISTEN_HINT, "names neither an address nor an interface that has one");
}

bool config_listen_read(struct config_reader *r, const struct config_scalar *s,
                        struct config_listener *l)
{
    static const uint8_t any[16];
    sv text = s->text;
    size_t colon = sv_chr(text, ':');
    sv name = sv_sub(text, 0, colon), rest = sv_sub(text, colon + 1, text.n);
    *l = (struct config_listener){.text = text, .at = s->at};
    if (later_transport(name)) {
        char shown[CONFIG_SHOWN];
        config_error(r, s->at, SV("leave it out for now"),
                     "listen: %s: " SV_FMT " is not built yet", config_shown(s, shown),
                     SV_ARG(name));
        return false;
    }
    l->transport = sv_ieq(name, SV("udp"))   ? SIP_T_UDP
                   : sv_ieq(name, SV("tcp")) ? SIP_T_TCP
                                             : SIP_T_NONE;
    if (l->transport == SIP_T_NONE || colon == text.n)
        return wrong(r, s, LISTEN_HINT, "is no listener");
    size_t last = rest.n;
    while (last > 0 && rest.p[last - 1] != ':')
        last--;
    uint64_t port;
    if (sv_u64(sv_sub(rest, last, rest.n), 65535, &port))
        return wrong(r, s, LISTEN_HINT, "has no port from 0 to 65535 (0: one that is free)");
    if (last > 0)
        return read_address(r, s, sv_sub(rest, 0, last - 1), (uint16_t)port, l);
    add(l, addr_from_ip(any, 4, (uint16_t)port));
    add(l, addr_from_ip(any, 16, (uint16_t)port));
    return true;
}
