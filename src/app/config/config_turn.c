/* SPDX-License-Identifier: MIT */
/* The TURN server's keys: its listeners, and whom its clients may reach. */
#include "config/config_priv.h"

#define LISTEN_DEFAULT SV("udp:3478 tcp:3478 tls:5349")

static void append(struct config_reader *r, const struct config_listener *l)
{
    struct config_listener *copy = ARENA_NEW(r->arena, struct config_listener);
    if (!copy) {
        r->nomem = true;
        return;
    }
    *copy = *l;
    *r->c->doors_end = copy;
    r->c->doors_end = &copy->next;
}

void config_door_text(struct config_reader *r, const struct config_row *key,
                      const struct config_scalar *s)
{
    struct config_listener l;
    char shown[CONFIG_SHOWN];
    if (!config_listen_read(r, key->path, s, &l))
        return;
    if (l.transport != SIP_T_UDP && l.transport != SIP_T_TCP && l.transport != SIP_T_TLS)
        config_error(r, s->at, SV("udp, tcp or tls"), SV_FMT ": %s is nothing that TURN runs over",
                     SV_ARG(key->path), config_shown(s, shown));
    else
        append(r, &l);
}

static void default_listeners(struct config_reader *r)
{
    sv def = LISTEN_DEFAULT;
    for (size_t at = 0; at < def.n;) {
        size_t end = at + sv_chr(sv_sub(def, at, def.n), ' ');
        struct config_scalar s = {.text = sv_sub(def, at, end), .at = {SV("default"), 0, 0}};
        config_door_text(r, config_key(CONFIG_K_TURN_LISTEN), &s);
        at = end + 1;
    }
}

static bool is_present(const struct config_reader *r)
{
    static const enum config_id keys[] = {CONFIG_K_TURN_LISTEN, CONFIG_K_TURN_LIFETIME,
                                          CONFIG_K_TURN_QUOTA, CONFIG_K_TURN_PEERS};
    bool present = r->c->turn;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        present |= r->c->values[keys[i]].set;
    return present;
}

/* All but UDP are TCP below. */
static bool meets(const struct addr *a, bool a_udp, const struct addr *b, bool b_udp)
{
    return a->port != 0 && a_udp == b_udp && addr_equal(a, b);
}

static void check_address(struct config_reader *r, const struct config_listener *l,
                          const struct addr *a)
{
    const struct settings *s = r->c->pub.settings;
    bool udp = l->transport == SIP_T_UDP, taken = false;
    for (unsigned i = 0; i < s->sip.listeners; i++)
        taken |= meets(a, udp, &s->sip.listen[i].bind, s->sip.listen[i].transport == SIP_T_UDP);
    for (unsigned i = 0; i < s->turn.listeners; i++)
        taken |=
            meets(a, udp, &s->turn.listen[i].bind, s->turn.listen[i].transport == TURNSERVER_UDP);
    if (taken)
        config_error(r, l->at, SV("give it a port of its own"),
                     "turn.listen: " SV_FMT " is bound by another listener as well",
                     SV_ARG(sv_sub(l->text, 0, CONFIG_SHOWN_MAX)));
    if (udp && a->port >= s->media.first_port && a->port <= s->media.last_port)
        config_error(r, l->at, SV("such as udp:3478"),
                     "turn.listen: " SV_FMT " is one of media.ports",
                     SV_ARG(sv_sub(l->text, 0, CONFIG_SHOWN_MAX)));
}

static void one_listener(struct config_reader *r, const struct config_listener *l)
{
    struct settings_turn *t = &r->c->pub.settings->turn;
    for (unsigned i = 0; i < l->addrs_n; i++) {
        if (t->listeners == TURNSERVER_LISTENERS_MAX) {
            config_error(r, l->at, SV_NONE, "turn.listen: more than %d addresses",
                         TURNSERVER_LISTENERS_MAX);
            return;
        }
        check_address(r, l, &l->addrs[i]);
        t->listen[t->listeners++] =
            (struct turnserver_listen){l->transport == SIP_T_UDP   ? TURNSERVER_UDP
                                       : l->transport == SIP_T_TCP ? TURNSERVER_TCP
                                                                   : TURNSERVER_TLS,
                                       l->addrs[i]};
    }
}

static void peers(struct config_reader *r)
{
    struct turnserver_limits *l = &r->c->pub.settings->turn.limits;
    for (const struct config_net *n = r->c->turn_peers; n; n = n->next) {
        l->peers[l->peers_n++] = n->net;
        if (n->net.bits == 0)
            config_finding(r, n->at, SV("name the networks that are meant"),
                           "turn.peers: whoever has an account reaches every private network that "
                           "this machine reaches");
    }
}

void config_apply_turn(struct config_reader *r)
{
    struct settings_turn *t = &r->c->pub.settings->turn;
    const struct config_value *v = r->c->values;
    t->limits = (struct turnserver_limits){.lifetime = v[CONFIG_K_TURN_LIFETIME].n,
                                           .quota = (unsigned)v[CONFIG_K_TURN_QUOTA].n};
    if (is_present(r) && !v[CONFIG_K_TURN_LISTEN].set)
        default_listeners(r);
    for (const struct config_listener *l = r->c->doors; l; l = l->next)
        one_listener(r, l);
    peers(r);
    struct addr a = v[CONFIG_K_ADVERTISE].addr;
    if (a.family)
        t->advertise[a.family == 6] = a;
}
