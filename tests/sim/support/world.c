/* SPDX-License-Identifier: MIT */
#include "support/world.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "memory/memory.h"

const sv world_sdp = {
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n",
    sizeof("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
           "m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n") -
        1};

static void need(enum err rc, const char *what)
{
    if (rc == ERR_OK)
        return;
    fprintf(stderr, "world: %s: %s\n", what, err_text(rc));
    abort();
}

void world_init(struct world *w, const struct world_config *c)
{
    *w = (struct world){.c = *c, .accounts = 0};
    need(sim_new(c->seed, &w->sim), "simulation");
    sim_set_wire(w->sim, &c->wire);
    sim_random_steering(w->sim, true);
    for (unsigned i = 0; i < HOME_SECRET; i++)
        w->secret[i] = (uint8_t)(c->seed >> (8 * (i % 8)) ^ i);
    need(addr_parse_ip(SV("10.0.0.1"), 0, &w->server_ip), "address");
    need(sim_host_new(w->sim, "server", &w->server_ip, 1, &w->server.host), "host");
    w->server_ip.port = 5060;
}

void world_done(struct world *w)
{
    for (unsigned i = 0; i < w->phones; i++)
        phone_off(&w->phone[i], false);
    if (w->server.group)
        world_server_kill(w, false);
    sim_free(w->sim);
}

void world_fail(struct world *w, const char *fmt, ...)
{
    va_list ap;
    if (w->failed)
        return;
    w->failed = true;
    va_start(ap, fmt);
    vsnprintf(w->why, sizeof(w->why), fmt, ap);
    va_end(ap);
    printf("FAILED at seed %llu, %lld.%06lld s: %s\n  replay: %s --seeds %llu%s%s --trace\n",
           (unsigned long long)w->c.seed, (long long)(sim_now(w->sim) / USEC_S),
           (long long)(sim_now(w->sim) % USEC_S), w->why, w->c.program,
           (unsigned long long)w->c.seed, w->c.replay ? " " : "", w->c.replay ? w->c.replay : "");
    fflush(stdout);
}

void world_run(struct world *w, usec duration)
{
    sim_run_until(w->sim, sim_now(w->sim) + duration);
}

sv world_uri(unsigned account, char mem[static 64])
{
    struct buf b;
    buf_init(&b, mem, 64);
    buf_printf(&b, "sip:user%u@" WORLD_DOMAIN, account);
    return buf_sv(&b);
}

/* ---- the server ---- */

static struct settings *make_settings(struct world *w)
{
    struct settings *set;
    need(settings_default(SV(WORLD_DOMAIN), &set), "settings");
    struct sip_config *s = &set->sip;
    s->listen[0] = (struct sip_listen){.transport = SIP_T_UDP, .bind = w->server_ip};
    s->listen[1] = (struct sip_listen){.transport = SIP_T_TCP, .bind = w->server_ip};
    s->listeners = 2;
    /* Ample for these worlds, small enough to be made a thousand times. */
    s->connections = 256;
    s->transactions = 8192;
    set->calls_max = 4096;
    if (w->c.ringing)
        set->ringing = w->c.ringing;
    if (w->c.configure)
        w->c.configure(set);
    return set;
}

static void change_done(struct store_op *op, enum err rc)
{
    *(enum err *)op->arg = rc;
}

static void add_accounts(struct world *w)
{
    struct store_change change[WORLD_ACCOUNTS_MAX];
    char user[WORLD_ACCOUNTS_MAX][16];
    enum err rc[WORLD_ACCOUNTS_MAX];
    for (unsigned i = 0; i < w->accounts; i++) {
        struct store_change *c = &change[i];
        struct auth_ha1 ha1;
        *c = (struct store_change){.what = STORE_ADD};
        store_op_init(&c->op, NULL, NULL);
        int n = snprintf(user[i], sizeof(user[i]), "user%u", i);
        sv name = {user[i], (size_t)n};
        auth_ha1(name, SV(WORLD_DOMAIN), SV(WORLD_PASSWORD), &ha1);
        c->account = (struct account){.user = name,
                                      .domain = SV(WORLD_DOMAIN),
                                      .realm = SV(WORLD_DOMAIN),
                                      .has_md5 = true,
                                      .has_sha256 = true};
        memcpy(c->account.md5, ha1.md5, sizeof(ha1.md5));
        memcpy(c->account.sha256, ha1.sha256, sizeof(ha1.sha256));
    }
    for (unsigned i = 0; i < w->accounts; i++) {
        change[i].op.done = change_done;
        change[i].op.arg = &rc[i];
        rc[i] = ERR_MORE;
        store_change(w->server.store, w->server.group->loop[0], &change[i]);
        for (unsigned k = 0; k < 1000 && rc[i] == ERR_MORE; k++)
            world_run(w, USEC_MS);
        need(rc[i], "account");
    }
}

void world_server_start(struct world *w)
{
    struct server *s = &w->server;
    struct store_location *loc;
    struct store_directory *dir;
    struct memory_report report;
    uint8_t secret[32] = {1};
    need(sim_process(s->host, w->c.workers, &s->group), "process");
    enum err rc = disk_mkdir(sim_disk(s->host), SV("/var/lib/tandem"), 0700);
    need(rc, "folder");
    struct memory_config mc = {.disk = sim_disk(s->host),
                               .folder = SV("/var/lib/tandem"),
                               .seed = {7},
                               .sync = 100 * USEC_MS,
                               .compact_min = w->c.compact_min ? w->c.compact_min : 4 * 1024 * 1024,
                               .group = s->group,
                               .wall = s->group->loop[0]->wall};
    need(memory_open(&mc, &loc, &report), "location");
    need(accounts_open(&dir), "directory");
    need(store_new(loc, dir, &s->store), "store");
    s->directory = dir;
    s->set = make_settings(w);
    need(auth_verifier_new(secret, 4096, &s->verifier), "verifier");
    need(sip_shared_new(w->secret, s->group, &s->set->sip, &s->shared), "endpoint");
    need(locate_shared_new(secret, 256, &s->names), "names");
    if (w->c.media) {
        need(ports_new(20000, 29999, &s->ports), "ports");
        need(session_shared_new(s->ports, &s->media), "media");
    }
    struct routing_shared sh = {.sip = s->shared,
                                .store = s->store,
                                .verifier = s->verifier,
                                .locate = s->names,
                                .media = s->media};
    for (unsigned i = 0; i < s->group->n; i++) {
        need(routing_new(s->group->loop[i], &sh, s->set, &s->routing[i]), "routing");
        for (unsigned k = 0; k < s->set->sip.listeners; k++)
            need(sip_listen(routing_sip(s->routing[i]), k), "listener");
    }
    s->starts++;
    add_accounts(w);
}

static void free_server(struct world *w)
{
    struct server *s = &w->server;
    for (unsigned i = 0; i < s->group->n; i++) {
        routing_free(s->routing[i]);
        s->routing[i] = NULL;
    }
    session_shared_free(s->media);
    ports_free(s->ports);
    s->media = NULL;
    s->ports = NULL;
    sip_shared_free(s->shared);
    locate_shared_free(s->names);
    auth_verifier_free(s->verifier);
    store_close(s->store);
    settings_unref(s->set);
    sim_process_free(s->host);
    s->group = NULL;
}

void world_server_kill(struct world *w, bool power)
{
    sim_process_kill(w->server.host, power);
    free_server(w);
}

void world_server_stop(struct world *w)
{
    sim_process_stop(w->server.host);
    free_server(w);
}

size_t world_server_load(struct world *w, struct buf *b)
{
    struct server *s = &w->server;
    size_t transactions = 0, contexts = 0, calls = 0;
    for (unsigned i = 0; i < s->group->n; i++) {
        transactions += sip_transactions(routing_sip(s->routing[i]));
        contexts += routing_contexts(s->routing[i]);
        calls += accounting_count(routing_accounting(s->routing[i]));
    }
    size_t entries = home_entries(sip_home(routing_sip(s->routing[0])));
    if (b && transactions + contexts + calls + entries)
        buf_printf(b, "%zu transactions, %zu requests in progress, %zu standing calls, %zu homes",
                   transactions, contexts, calls, entries);
    return transactions + contexts + calls + entries;
}

/* ---- phones ---- */

struct phone *world_phone(struct world *w, unsigned account, enum sip_transport t)
{
    struct phone *p = &w->phone[w->phones];
    char name[32], ip[32];
    if (w->phones == WORLD_PHONES_MAX)
        abort();
    *p = (struct phone){.world = w, .index = w->phones, .account = account, .transport = t};
    snprintf(name, sizeof(name), "phone%u", p->index);
    snprintf(ip, sizeof(ip), "10.0.1.%u", p->index + 1);
    need(addr_parse_ip(sv_of(ip), 0, &p->ip), "address");
    need(sim_host_new(w->sim, name, &p->ip, 1, &p->host), "host");
    w->phones++;
    phone_on(p);
    return p;
}

void phone_on(struct phone *p)
{
    struct world *w = p->world;
    struct loop_group *g;
    char user[16];
    int n = snprintf(user, sizeof(user), "user%u", p->account);
    need(sim_process(p->host, 1, &g), "phone");
    p->loop = g->loop[0];
    p->status = 0;
    p->bound_s = 0;
    struct useragent_config c = {
        .transport = p->transport,
        .bind = p->ip,
        .server = w->server_ip,
        .user = {user, (size_t)n},
        .domain = SV(WORLD_DOMAIN),
        .calls = 64,
        /* Both algorithms of the challenge are met. */
        .agent = p->index % 2 ? SV("Tandem/0.1") : SV("Plain/1.0"),
    };
    if (p->index % 3)
        c.password = SV(WORLD_PASSWORD);
    else {
        c.realm = SV(WORLD_DOMAIN);
        auth_ha1(c.user, c.realm, SV(WORLD_PASSWORD), &c.ha1);
    }
    c.bind.port = 5060;
    need(useragent_new(p->loop, &c, w->handler, p, &p->ua), "user agent");
}

void phone_off(struct phone *p, bool power)
{
    if (!p->loop)
        return;
    sim_process_kill(p->host, power);
    useragent_free(p->ua);
    sim_process_free(p->host);
    p->ua = NULL;
    p->loop = NULL;
}

void phone_on_registered(void *arg, uint16_t status, uint32_t expires_s, struct rx *rx)
{
    struct phone *p = arg;
    (void)rx;
    p->status = status;
    p->bound_s = expires_s;
}

void phone_show(struct phone *p, bool out, sv octets)
{
    struct world *w = p->world;
    if (!w->c.trace)
        return;
    printf("%lld.%06lld phone%u (user%u) %s\n", (long long)(sim_now(w->sim) / USEC_S),
           (long long)(sim_now(w->sim) % USEC_S), p->index, p->account, out ? "sends" : "gets");
    while (octets.n) {
        size_t n = sv_chr(octets, '\n');
        printf("    | " SV_FMT "\n", SV_ARG(sv_trim(sv_sub(octets, 0, n))));
        octets = sv_sub(octets, n + 1, octets.n);
    }
}

void phone_register(struct phone *p, uint32_t expires_s)
{
    enum err rc = useragent_register(p->ua, expires_s);
    if (rc)
        world_fail(p->world, "phone %u cannot send REGISTER: %s", p->index, err_text(rc));
}

static bool all_registered(void *arg)
{
    struct world *w = arg;
    for (unsigned i = 0; i < w->phones; i++) {
        if (w->phone[i].loop && !w->phone[i].outside && !w->phone[i].bound_s)
            return false;
    }
    return true;
}

bool world_register_all(struct world *w, usec within)
{
    for (unsigned i = 0; i < w->phones; i++) {
        if (w->phone[i].loop && !w->phone[i].outside && !w->phone[i].bound_s)
            phone_register(&w->phone[i], 3600);
    }
    return sim_run_when(w->sim, sim_now(w->sim) + within, all_registered, w);
}
