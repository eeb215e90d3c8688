/* SPDX-License-Identifier: MIT */
/* Listeners: TRANSPORT:[ADDRESS:]PORT, as the addresses to bind. */
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include "config/config_priv.h"
#include "uri/uri.h"

#define LISTEN_HINT \
    SV("such as udp:5060, tcp:192.0.2.1:5060, udp:[2001:db8::1]:5060, udp:eth0:5060")

static bool wrong(struct config_reader *r, sv key, const struct config_scalar *s, sv hint,
                  const char *why)
{
    char shown[CONFIG_SHOWN];
    config_error(r, s->at, hint, SV_FMT ": %s %s", SV_ARG(key), config_shown(s, shown), why);
    return false;
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

static bool read_address(struct config_reader *r, sv key, const struct config_scalar *s, sv address,
                         uint16_t port, struct config_listener *l)
{
    struct addr a;
    bool brackets = address.n > 1 && address.p[0] == '[' && address.p[address.n - 1] == ']';
    if (!brackets && sv_chr(address, ':') < address.n)
        return wrong(r, key, s, LISTEN_HINT,
                     "has an IPv6 address without brackets, or too many parts");
    if (!addr_parse_ip(address, port, &a)) {
        if (addr_class(&a) == ADDR_MULTICAST)
            return wrong(r, key, s, SV_NONE, "names a multicast address");
        add(l, a);
        return true;
    }
    if (address.n == 0 || brackets)
        return wrong(r, key, s, LISTEN_HINT, "has an address that is none");
    add_interface(l, address, port);
    if (l->addrs_n > 0)
        return true;
    return wrong(r, key, s, LISTEN_HINT, "names neither an address nor an interface that has one");
}

static bool no_transport(struct config_reader *r, sv key, const struct config_scalar *s, sv name)
{
    static const sv words[] = {SV("udp"), SV("tcp"), SV("tls"), SV("ws"), SV("wss")};
    char mem[64];
    struct buf b;
    sv near = config_nearest(name, words, sizeof(words) / sizeof(words[0]));
    buf_init(&b, mem, sizeof(mem));
    buf_printf(&b, "did you mean '" SV_FMT "'?", SV_ARG(near));
    return wrong(r, key, s, sv_present(near) ? buf_sv(&b) : LISTEN_HINT, "is no listener");
}

bool config_listen_read(struct config_reader *r, sv key, const struct config_scalar *s,
                        struct config_listener *l)
{
    static const uint8_t any[16];
    sv text = s->text;
    size_t colon = sv_chr(text, ':');
    sv name = sv_sub(text, 0, colon), rest = sv_sub(text, colon + 1, text.n);
    *l = (struct config_listener){.text = text, .at = s->at};
    l->transport = sip_transport_of(name);
    if (l->transport == SIP_T_OTHER)
        l->transport = SIP_T_NONE;
    if (l->transport == SIP_T_NONE || colon == text.n)
        return no_transport(r, key, s, colon == text.n ? SV("") : name);
    size_t last = rest.n;
    while (last > 0 && rest.p[last - 1] != ':')
        last--;
    uint64_t port;
    if (sv_u64(sv_sub(rest, last, rest.n), 65535, &port))
        return wrong(r, key, s, LISTEN_HINT, "has no port from 0 to 65535 (0: one that is free)");
    if (last > 0)
        return read_address(r, key, s, sv_sub(rest, 0, last - 1), (uint16_t)port, l);
    add(l, addr_from_ip(any, 4, (uint16_t)port));
    add(l, addr_from_ip(any, 16, (uint16_t)port));
    return true;
}

/* ---- the long form ---- */

/* scheme "://" host [":" port], as browsers write it: lower case (RFC 6454 §6.2). */
static bool read_origin(struct config_reader *r, const struct config_scalar *s, sv *ret_origin)
{
    char shown[CONFIG_SHOWN];
    sv rest = SV_NONE;
    uint64_t port = 1;
    if (sv_starts(s->text, SV("https://")))
        rest = sv_sub(s->text, 8, s->text.n);
    else if (sv_starts(s->text, SV("http://")))
        rest = sv_sub(s->text, 7, s->text.n);
    size_t close = rest.n > 0 && rest.p[0] == '[' ? sv_chr(rest, ']') : 0;
    size_t colon = close + sv_chr(sv_sub(rest, close, rest.n), ':');
    sv host = sv_sub(rest, 0, colon);
    bool ip6 = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (ip6)
        host = sv_sub(host, 1, host.n - 1);
    bool good = rest.n > 0 && uri_is_host(host, ip6) &&
                (colon == rest.n || !sv_u64(sv_sub(rest, colon + 1, rest.n), 65535, &port));
    if (!good || port == 0) {
        config_error(r, s->at, SV("such as https://app.example.test, without a path"),
                     "listen[].origins: %s is no origin of a page", config_shown(s, shown));
        return false;
    }
    if (!sv_dup_lower(r->arena, s->text, ret_origin))
        return true;
    r->nomem = true;
    return false;
}

static void read_origins(struct config_reader *r, struct config_doc *d, yaml_node_t *node,
                         struct config_listener *l)
{
    struct config_scalar s;
    size_t n = config_list_n(r, d, node);
    for (size_t i = 0; i < n && !d->tired; i++) {
        if (!config_scalar(r, d, config_list_item(d, node, i), SV("listen[].origins"), &s))
            continue;
        if (l->origins_n == SIP_ORIGINS_MAX)
            config_error(r, s.at, SV_NONE, "listen[].origins: more than %d", SIP_ORIGINS_MAX);
        else if (read_origin(r, &s, &l->origins[l->origins_n]))
            l->origins_n++;
    }
}

static void read_field(struct config_reader *r, struct config_doc *d,
                       const struct config_pair *pair, struct config_listener *l)
{
    static const struct config_row freebind = {.path = SV("listen[].freebind"),
                                               .type = CONFIG_T_BOOL};
    struct config_scalar s;
    struct config_value v = {.n = 0};
    if (sv_eq(pair->name, SV("zone"))) {
        if (config_scalar(r, d, pair->value, SV("listen[].zone"), &s)) {
            l->zone = s.text;
            l->zone_at = s.at;
        }
    } else if (sv_eq(pair->name, SV("origins"))) {
        read_origins(r, d, pair->value, l);
    } else if (sv_eq(pair->name, SV("proxies"))) {
        config_nets(r, d, SV("listen[].proxies"), pair->value, SIP_PROXIES_MAX, &l->proxies,
                    &l->proxies_n);
    } else if (sv_eq(pair->name, SV("freebind"))) {
        config_field(r, d, &freebind, pair->value, &v);
        l->freebind = v.n != 0;
    } else {
        config_unknown(r, pair->at, SV("listen[]."), pair->name);
    }
}

bool config_listen_map(struct config_reader *r, struct config_doc *d, yaml_node_t *node,
                       struct config_listener *l)
{
    size_t errors = r->report->errors, n = config_pairs(r, d, node, SV("listen[]"));
    struct config_listener rest = {.is_long = true};
    struct config_place at = config_place_of(d, node);
    bool bound = false;
    *l = (struct config_listener){.at = at};
    for (size_t i = 0; i < n; i++) {
        struct config_pair pair;
        struct config_scalar s;
        if (!config_pair(r, d, node, i, SV("listen[]"), &pair))
            continue;
        if (!sv_eq(pair.name, SV("bind"))) {
            read_field(r, d, &pair, &rest);
            continue;
        }
        bound = true;
        if (config_scalar(r, d, pair.value, SV("listen[].bind"), &s))
            config_listen_read(r, SV("listen"), &s, l);
    }
    if (!bound && r->report->errors == errors)
        config_error(r, at, SV("such as {bind: udp:5060}"), "listen[]: has no bind");
    bool web = l->transport == SIP_T_WS || l->transport == SIP_T_WSS;
    if (bound && r->report->errors == errors && !web && (rest.origins_n || rest.proxies))
        config_error(r, at, SV("leave it out"), "listen[].%s: is for ws and wss alone",
                     rest.origins_n ? "origins" : "proxies");
    if (r->report->errors != errors)
        return false;
    rest.text = l->text;
    rest.transport = l->transport;
    rest.at = l->at;
    memcpy(rest.addrs, l->addrs, sizeof(rest.addrs));
    rest.addrs_n = l->addrs_n;
    *l = rest;
    return true;
}
