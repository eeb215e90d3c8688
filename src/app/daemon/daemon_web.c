/* SPDX-License-Identifier: MIT */
/* What a browser sees that comes to a WebSocket port with a question instead. */
#include "daemon/daemon_priv.h"
#include "web/web.h"

enum { DOOR_MAX = 300, DOORS_MAX = 2 * SIP_LISTENERS_MAX };

void page_show(struct page *p, struct settings *set, struct certs *certs)
{
    struct settings *old = p->set;
    p->set = settings_ref(set);
    settings_unref(old);
    if (!certs)
        return;
    certs_ref(certs);
    certs_unref(p->certs);
    p->certs = certs;
}

void page_done(struct page *p)
{
    settings_unref(p->set);
    certs_unref(p->certs);
    *p = (struct page){.d = p->d};
}

struct doors {
    struct arena *arena;
    sv list[DOORS_MAX];
    size_t n;
    bool local; /* the visitor is on this machine */
};

static void put_door(struct doors *doors, const struct sip_listen *l, sv host)
{
    char mem[DOOR_MAX];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_str(&b, l->transport == SIP_T_WSS ? "wss://" : "ws://");
    buf_put(&b, host);
    if (l->bind.port != (l->transport == SIP_T_WSS ? 443 : 80))
        buf_printf(&b, ":%u", l->bind.port);
    for (size_t i = 0; i < doors->n; i++) {
        if (sv_eq(doors->list[i], buf_sv(&b)))
            return;
    }
    if (!b.rc && doors->n < DOORS_MAX && !sv_dup(doors->arena, buf_sv(&b), &doors->list[doors->n]))
        doors->n++;
}

/* A loopback address leads to us from this machine alone. */
static void put_address(struct doors *doors, const struct sip_listen *l, const struct addr *a)
{
    char mem[64];
    struct buf b;
    if (addr_class(a) == ADDR_LOOPBACK && !doors->local)
        return;
    buf_init(&b, mem, sizeof(mem));
    addr_print_host(&b, a);
    put_door(doors, l, buf_sv(&b));
}

/* Names first; then the address that this browser came to, which is known to lead here. */
static void find_doors(const struct page *p, const struct flow *f, struct doors *doors)
{
    const struct sip_config *c = sip_config(routing_sip(p->d->routing[p->worker]));
    for (unsigned i = 0; i < c->listeners; i++) {
        const struct sip_listen *l = &c->listen[i];
        if (l->transport != SIP_T_WSS && l->transport != SIP_T_WS)
            continue;
        if (l->advertise.n) {
            struct addr a;
            if (!addr_parse_ip(l->advertise, 0, &a))
                put_address(doors, l, &a);
            else
                put_door(doors, l, l->advertise);
        }
        if (!addr_is_any(&l->bind)) {
            put_address(doors, l, &l->bind);
            continue;
        }
        put_door(doors, l, p->set->domains[0].name);
        if (f->local.family == l->bind.family)
            put_address(doors, l, &f->local);
    }
}

void page_answer(void *arg, struct http *h, const struct http_request *rq, const struct flow *f)
{
    const struct page *p = arg;
    const struct certs *c = p->certs;
    struct doors *doors = ARENA_NEW(rq->arena, struct doors);
    char mem[128];
    struct buf print;
    sv domains[SETTINGS_DOMAINS_MAX];
    if (!doors) {
        http_reply(h, 503, SV_NONE, SV_NONE, SV_NONE);
        return;
    }
    doors->arena = rq->arena;
    /* What came through a web server of this machine says so. */
    doors->local =
        addr_class(&f->remote) == ADDR_LOOPBACK && http_field_count(rq, SV("X-Forwarded-For")) == 0;
    find_doors(p, f, doors);
    for (unsigned i = 0; i < p->set->domains_n; i++)
        domains[i] = p->set->domains[i].name;
    buf_init(&print, mem, sizeof(mem));
    bool has_ca = c && c->ca.ca.n && !tls_cert_fingerprint(c->ca.ca, &print);
    web_answer(
        &(struct web_env){
            .domains = domains,
            .domains_n = p->set->domains_n,
            .doors = doors->list,
            .doors_n = doors->n,
            .ca = has_ca ? c->ca.ca : SV_NONE,
            .ca_fingerprint = has_ca ? buf_sv(&print) : SV_NONE,
            .fingerprint = c ? c->fingerprint : SV_NONE,
        },
        h, rq);
}
