/* SPDX-License-Identifier: MIT */
/* Networks and addresses: local networks, zones, trusted and exempt sources, DNS servers. */
#include "config/config_priv.h"
#include "worker/worker.h"

enum { DNS_PORT = 53 };

/* ---- reading ---- */

bool config_net_read(struct config_reader *r, sv key, const struct config_scalar *s,
                     struct addr_net *ret_net)
{
    char shown[CONFIG_SHOWN];
    enum err rc = addr_net_parse(s->text, ret_net);
    if (!rc)
        return true;
    config_error(r, s->at, SV("such as 10.0.0.0/8, 192.0.2.7, \"2001:db8::/32\""), SV_FMT ": %s %s",
                 SV_ARG(key), config_shown(s, shown),
                 rc == ERR_RANGE ? "has bits behind its prefix, or a prefix that is too long"
                                 : "is no network");
    return false;
}

static void append_net(struct config_reader *r, sv key, const struct config_scalar *s, unsigned max,
                       struct config_net **list, unsigned *n)
{
    struct config_net *x = ARENA_NEW(r->arena, struct config_net);
    if (!x) {
        r->nomem = true;
        return;
    }
    *x = (struct config_net){.at = s->at};
    if (!config_net_read(r, key, s, &x->net))
        return;
    if (*n == max) {
        config_error(r, s->at, SV_NONE, SV_FMT ": more than %u", SV_ARG(key), max);
        return;
    }
    while (*list)
        list = &(*list)->next;
    *list = x;
    ++*n;
}

void config_nets(struct config_reader *r, struct config_doc *d, sv key, yaml_node_t *node,
                 unsigned max, struct config_net **list, unsigned *n)
{
    struct config_scalar s;
    size_t items = config_list_n(r, d, node);
    for (size_t i = 0; i < items && !d->tired; i++) {
        if (config_scalar(r, d, config_list_item(d, node, i), key, &s))
            append_net(r, key, &s, max, list, n);
    }
}

static unsigned count(const struct config_net *list)
{
    unsigned n = 0;
    for (; list; list = list->next)
        n++;
    return n;
}

void config_net_text(struct config_reader *r, const struct config_row *key,
                     const struct config_scalar *s)
{
    struct config_net **list = &r->c->trusted;
    unsigned max = SIP_TRUSTED_MAX;
    if (key->id == CONFIG_K_LOCAL_NETWORKS) {
        list = &r->c->local;
        max = SIP_ZONE_NETWORKS_MAX;
    } else if (key->id == CONFIG_K_TURN_PEERS) {
        list = &r->c->turn_peers;
        max = TURNSERVER_PEERS_MAX;
    }
    unsigned n = count(*list);
    append_net(r, key->path, s, max, list, &n);
}

void config_address_text(struct config_reader *r, const struct config_row *key,
                         const struct config_scalar *s)
{
    char shown[CONFIG_SHOWN];
    struct config_address *x = ARENA_NEW(r->arena, struct config_address), **at = &r->c->servers;
    unsigned n = 0;
    if (!x) {
        r->nomem = true;
        return;
    }
    *x = (struct config_address){.at = s->at};
    bool good = !addr_parse_ip(s->text, DNS_PORT, &x->addr) || !addr_parse(s->text, &x->addr);
    if (!good || addr_is_any(&x->addr) || x->addr.port == 0) {
        config_error(r, s->at, SV("such as 192.0.2.53, 127.0.0.1:5353, \"[2001:db8::53]:53\""),
                     SV_FMT ": %s is neither ADDRESS nor ADDRESS:PORT", SV_ARG(key->path),
                     config_shown(s, shown));
        return;
    }
    for (; *at; at = &(*at)->next)
        n++;
    if (n == CONFIG_DNS_SERVERS_MAX)
        config_error(r, s->at, SV_NONE, SV_FMT ": more than %d", SV_ARG(key->path),
                     CONFIG_DNS_SERVERS_MAX);
    else
        *at = x;
}

static struct config_zone *zone_named(const struct config_reader *r, sv name)
{
    struct config_zone *z = r->c->zones;
    while (z && !sv_eq(z->name, name))
        z = z->next;
    return z;
}

static void zone_field(struct config_reader *r, struct config_doc *d,
                       const struct config_pair *pair, struct config_zone *z)
{
    struct config_row advertise = *config_key(CONFIG_K_ADVERTISE);
    advertise.path = SV("zones.NAME.advertise");
    if (sv_eq(pair->name, SV("networks")))
        config_nets(r, d, SV("zones.NAME.networks"), pair->value, SIP_ZONE_NETWORKS_MAX,
                    &z->networks, &z->networks_n);
    else if (sv_eq(pair->name, SV("advertise")))
        config_field(r, d, &advertise, pair->value, &z->advertise);
    else
        config_unknown(r, pair->at, SV("zones.NAME."), pair->name);
}

static bool zone_name(struct config_reader *r, const struct config_pair *pair, size_t zones)
{
    struct config_scalar name = {.text = pair->name};
    const struct config_zone *other = zone_named(r, pair->name);
    char shown[CONFIG_SHOWN], place[CONFIG_SHOWN];
    bool good = pair->name.n > 0 && pair->name.n <= 63;
    for (size_t i = 0; i < pair->name.n && good; i++) {
        char c = sv_lower(pair->name.p[i]);
        good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    }
    if (!good)
        config_error(r, pair->at, SV("letters, digits, - and _"), "zones: %s is no name",
                     config_shown(&name, shown));
    else if (other)
        config_error(r, pair->at, SV("keep one of them"), "zones: %s is set in %s as well",
                     config_shown(&name, shown), config_place_text(other->at, place));
    else if (zones >= SIP_ZONES_MAX - 1 && !sv_eq(pair->name, SV("default")))
        config_error(r, pair->at, SV_NONE, "zones: more than %d", SIP_ZONES_MAX - 1);
    else
        return true;
    return false;
}

void config_zones(struct config_reader *r, struct config_doc *d, yaml_node_t *node)
{
    size_t n = config_pairs(r, d, node, SV("zones")), zones = 0;
    for (const struct config_zone *z = r->c->zones; z; z = z->next)
        zones += !sv_eq(z->name, SV("default"));
    for (size_t i = 0; i < n && !r->nomem && !d->tired; i++) {
        struct config_pair pair;
        if (!config_pair(r, d, node, i, SV("zones"), &pair) || !zone_name(r, &pair, zones))
            continue;
        struct config_zone *z = ARENA_NEW(r->arena, struct config_zone);
        if (!z || sv_dup(r->arena, pair.name, &z->name)) {
            r->nomem = true;
            return;
        }
        z->at = pair.at;
        size_t fields = config_pairs(r, d, pair.value, SV("zones.NAME"));
        for (size_t k = 0; k < fields; k++) {
            struct config_pair field;
            if (config_pair(r, d, pair.value, k, SV("zones.NAME"), &field))
                zone_field(r, d, &field, z);
        }
        *r->c->zones_end = z;
        r->c->zones_end = &z->next;
        zones += !sv_eq(z->name, SV("default"));
    }
}

void config_exempt_map(struct config_reader *r, struct config_doc *d, yaml_node_t *node)
{
    struct config_row connections = *config_key(CONFIG_K_SECURITY_LIMITS_CONNECTIONS);
    struct config_row fresh = *config_key(CONFIG_K_SECURITY_LIMITS_NEW_CONNECTIONS);
    struct config_exempt e = {.at = config_place_of(d, node)};
    size_t errors = r->report->errors, n = config_pairs(r, d, node, SV("security.exempt[]"));
    bool has_from = false;
    connections.path = SV("security.exempt[].connections");
    fresh.path = SV("security.exempt[].new_connections");
    for (size_t i = 0; i < n; i++) {
        struct config_pair pair;
        struct config_scalar s;
        if (!config_pair(r, d, node, i, SV("security.exempt[]"), &pair))
            continue;
        if (sv_eq(pair.name, SV("from"))) {
            has_from = true;
            if (config_scalar(r, d, pair.value, SV("security.exempt[].from"), &s))
                config_net_read(r, SV("security.exempt[].from"), &s, &e.from);
        } else if (sv_eq(pair.name, SV("connections"))) {
            config_field(r, d, &connections, pair.value, &e.connections);
        } else if (sv_eq(pair.name, SV("new_connections"))) {
            config_field(r, d, &fresh, pair.value, &e.new_connections);
        } else {
            config_unknown(r, pair.at, SV("security.exempt[]."), pair.name);
        }
    }
    if (!has_from && r->report->errors == errors)
        config_error(r, e.at, SV("such as {from: 198.51.100.0/28, connections: 1000}"),
                     "security.exempt[]: has no from");
    if (r->report->errors != errors)
        return;
    struct config_exempt *copy = ARENA_NEW(r->arena, struct config_exempt);
    if (!copy) {
        r->nomem = true;
        return;
    }
    *copy = e;
    *r->c->exempt_end = copy;
    r->c->exempt_end = &copy->next;
}

/* ---- into the settings ---- */

/* Those of the file, then our own subnets as far as there is room. */
static void local_networks(struct config_reader *r)
{
    struct sip_config *c = &r->c->pub.settings->sip;
    struct addr_net own[SIP_ZONE_NETWORKS_MAX];
    size_t n = worker_subnets(own, SIP_ZONE_NETWORKS_MAX);
    if (!r->c->values[CONFIG_K_LOCAL_NETWORKS].set && !r->c->local)
        config_default_items(r, CONFIG_K_LOCAL_NETWORKS);
    for (const struct config_net *x = r->c->local; x; x = x->next)
        c->local[c->local_n++] = x->net;
    for (size_t i = 0; i < n && c->local_n < SIP_ZONE_NETWORKS_MAX; i++) {
        bool known = own[i].bits == 0; /* a tunnel to everywhere is no subnet */
        for (unsigned k = 0; k < c->local_n && !known; k++)
            known = c->local[k].bits <= own[i].bits && addr_net_has(&c->local[k], &own[i].base);
        if (!known)
            c->local[c->local_n++] = own[i];
    }
}

bool config_zone_of(const struct config_reader *r, sv name, unsigned *ret_zone)
{
    const struct sip_config *c = &r->c->pub.settings->sip;
    for (unsigned i = 0; i < c->zones; i++) {
        if (sv_eq(c->zone[i].name, name)) {
            *ret_zone = i;
            return true;
        }
    }
    return false;
}

static void zones(struct config_reader *r)
{
    struct settings *s = r->c->pub.settings;
    for (const struct config_zone *z = r->c->zones; z; z = z->next) {
        unsigned at;
        if (!config_zone_of(r, z->name, &at))
            at = s->sip.zones++;
        struct sip_zone *out = &s->sip.zone[at];
        if (sv_dup(&s->arena, z->name, &out->name))
            r->nomem = true;
        for (const struct config_net *n = z->networks; n; n = n->next)
            out->networks[out->networks_n++] = n->net;
    }
}

static void exempt(struct config_reader *r)
{
    struct sip_config *c = &r->c->pub.settings->sip;
    for (const struct config_net *n = r->c->trusted; n; n = n->next)
        c->trusted[c->trusted_n++] = n->net;
    for (const struct config_exempt *e = r->c->exempt; e; e = e->next) {
        if (c->exempt_n == SIP_EXEMPT_MAX) {
            config_error(r, e->at, SV_NONE, "security.exempt: more than %d", SIP_EXEMPT_MAX);
            return;
        }
        c->exempt[c->exempt_n++] = (struct sip_exempt){
            .from = e->from,
            .connections = e->connections.set ? (unsigned)e->connections.n : SIP_LIMIT_DEFAULT,
            .new_connections =
                e->new_connections.set ? (unsigned)e->new_connections.n : SIP_LIMIT_DEFAULT,
        };
    }
}

void config_apply_nets(struct config_reader *r)
{
    local_networks(r);
    zones(r);
    exempt(r);
    for (const struct config_address *a = r->c->servers; a; a = a->next)
        r->c->pub.dns_servers[r->c->pub.dns_servers_n++] = a->addr;
}
