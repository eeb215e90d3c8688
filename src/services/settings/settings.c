/* SPDX-License-Identifier: MIT */
/* The snapshot of the configuration that services read. */
#include "settings/settings.h"
#include "mem/mem.h"

/* A snapshot is small; the cap keeps a hostile or mistaken file from taking the machine. */
enum { SETTINGS_ARENA_MAX = 64 * 1024 * 1024 };

enum err settings_new(struct settings **ret_settings)
{
    struct settings *s = MEM_NEW(struct settings);
    if (!s)
        return ERR_NOMEM;
    atomic_init(&s->refs, 1);
    arena_init(&s->arena, NULL, 0, SETTINGS_ARENA_MAX);
    *ret_settings = s;
    return ERR_OK;
}

enum err settings_default(sv domain, struct settings **ret_settings)
{
    struct settings *s;
    TRY(settings_new(&s));
    struct settings_domain *d = &s->domains[0];
    enum err rc = sv_dup_lower(&s->arena, domain, &d->name);
    if (rc) {
        settings_unref(s);
        return rc;
    }
    d->realm = d->name;
    s->domains_n = 1;
    s->sip = (struct sip_config){
        .t1 = 500 * USEC_MS,
        .t2 = 4 * USEC_S,
        .t4 = 5 * USEC_S,
        .max_message = 64 * 1024,
        .mtu = 1300,
        .connections = 8192,
        .connections_source = 200,
        .new_connections =
            0, /* a simulated crowd shares few addresses; the file's default is 20/s */
        .handshake = 5 * USEC_S,
        .zones = 1,
        .idle = 15 * USEC_MIN,
        .message_time = 10 * USEC_S,
        .transactions = 200000,
    };
    s->sip.zone[0].name = SV("default");
    s->ringing = 200 * USEC_S;
    s->server_hidden = true;
    s->breadth = SETTINGS_BREADTH_DEFAULT;
    s->session_timer = 30 * USEC_MIN;
    s->min_se = 90 * USEC_S;
    s->expires_min = 60 * USEC_S;
    s->expires_max = USEC_HOUR;
    s->keepalive = 25 * USEC_S;
    s->outbound = true;
    s->push.hold = 20 * USEC_S;
    s->media = (struct settings_media){
        .first_port = 20000,
        .last_port = 29999,
        .mode = MEDIA_AUTO,
        .srtp = MEDIA_SRTP_PREFER,
        .codecs = {SETTINGS_OPUS, SETTINGS_G722, SETTINGS_PCMA, SETTINGS_PCMU},
        .codecs_n = SETTINGS_CODECS,
        .transcode = true,
        .t38 = true,
        .latch = 5 * USEC_S,
        .silence = USEC_MIN,
        .dscp = 46,
    };
    s->turn.limits = (struct turnserver_limits){.lifetime = USEC_HOUR, .quota = 10};
    s->contacts = 10;
    s->digest.mode = AUTH_MODE_AUTO;
    s->password_min = 12;
    s->drain = 30 * USEC_S;
    s->calls_max = 100000;
    *ret_settings = s;
    return ERR_OK;
}

struct settings *settings_ref(struct settings *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void settings_unref(struct settings *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    arena_done(&s->arena);
    mem_free(s);
}

const struct settings_domain *settings_domain_of(const struct settings *s, const struct sip *sip,
                                                 sv host, uint16_t port)
{
    if (host.n > 1 && host.p[host.n - 1] == '.') /* an absolute name */
        host.n--;
    for (unsigned i = 0; i < s->domains_n; i++) {
        const struct settings_domain *d = &s->domains[i];
        if (sv_ieq(d->name, host))
            return d;
        for (unsigned k = 0; k < d->aliases_n; k++) {
            if (sv_ieq(d->aliases[k], host))
                return d;
        }
    }
    if (s->domains_n == 0 || !sip)
        return NULL;
    /* A phone may be at alice@192.0.2.1: our own addresses name the first domain; without a
     * port, whichever port we are at. */
    if (sip_is_local(sip, host, port))
        return &s->domains[0];
    const struct sip_config *c = sip_config(sip);
    for (unsigned i = 0; i < c->listeners && port == 0; i++) {
        if (sip_is_local(sip, host, c->listen[i].bind.port))
            return &s->domains[0];
    }
    return NULL;
}
