/* SPDX-License-Identifier: MIT */
/* serve --demo: two accounts, one call between them through the running server, and what to type
 * into a phone.
 *
 * The call is a real one: two user agents on the loopback, on the same stack, registered and called
 * through the server's own ports. */
#include <stdio.h>

#include "daemon/daemon_priv.h"
#include "useragent/useragent.h"

enum { PEOPLE = 2, LINES_MAX = 64, LABEL_MAX = 35, PASSWORD_GROUPS = 3, GROUP = 4 };
#define DEMO_TIME (10 * USEC_S)
#define TALK_TIME (300 * USEC_MS)

struct demo;

struct person {
    struct demo *demo;
    const char *user, *number, *name;
    char password[32]; /* only of an account made now */
    bool made;
    struct store_find find;
    struct store_change change;
    struct store_bindings bindings;
    struct useragent *ua;
};

struct line {
    char label[LABEL_MAX + 1];
    unsigned who; /* 0: between alice and the server, 1: bob */
    bool out;     /* from the phone */
};

struct demo {
    struct daemon *d;
    struct settings *set; /* of its start: a reload does not take it away */
    struct arena arena;
    struct person person[PEOPLE];
    unsigned at;
    struct line lines[LINES_MAX];
    unsigned lines_n;
    struct useragent_call *incoming, *outgoing;
    struct timer timer, limit;
    struct deferred end;
    const char *outcome;
    bool calling;
};

static const char sdp[] =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 9 RTP/AVP 0\r\na=inactive\r\n";

/* ---- what people see ---- */

static void print_diagram(const struct demo *m)
{
    enum { COLUMN = LABEL_MAX + 2 }; /* 80 columns in all */
    printf("\nalice%*standem%*sbob\n", COLUMN - 5, "", COLUMN - 3, "");
    for (unsigned i = 0; i < m->lines_n; i++) {
        const struct line *l = &m->lines[i];
        bool right = l->out == (l->who == 0);
        int fill = LABEL_MAX - (int)strlen(l->label);
        char arrow[160];
        struct buf b;
        buf_init(&b, arrow, sizeof(arrow));
        buf_str(&b, right ? "─" : "◄");
        buf_str(&b, l->label);
        for (int k = 0; k < fill; k++)
            buf_str(&b, "─");
        buf_str(&b, right ? "►" : "─");
        if (l->who == 0)
            printf("  │%.*s│%*s│\n", (int)b.n, arrow, COLUMN, "");
        else
            printf("  │%*s│%.*s│\n", COLUMN, "", (int)b.n, arrow);
    }
    printf("\n");
}

/* This machine as a phone on the network sees it: the first address that is not the loopback. */
static void put_own_address(const struct demo *m, struct buf *b)
{
    struct addr own[32];
    const struct sip_config *c = &m->d->boot->sip;
    size_t n = worker_addresses(own, 32);
    const struct addr *best = NULL;
    for (size_t i = 0; i < n; i++) {
        if (own[i].family == 4 && (!best || addr_class(best) == ADDR_LOOPBACK) &&
            addr_class(&own[i]) != ADDR_LINK_LOCAL)
            best = &own[i];
    }
    if (c->listeners && !addr_is_any(&c->listen[0].bind))
        best = &c->listen[0].bind;
    if (best)
        addr_print_host(b, best);
    else
        buf_str(b, "127.0.0.1");
}

/* The port of the first listener of this transport; 0: there is none. */
static uint16_t port_of(const struct demo *m, enum sip_transport t)
{
    const struct sip_config *c = &m->d->boot->sip;
    for (unsigned i = 0; i < c->listeners; i++) {
        if (c->listen[i].transport == t)
            return c->listen[i].bind.port;
    }
    return 0;
}

static void print_secure(const struct demo *m, sv host)
{
    uint16_t tls = port_of(m, SIP_T_TLS), wss = port_of(m, SIP_T_WSS);
    if (tls)
        printf("    With TLS: port %u.\n", tls);
    if (wss)
        printf("    Browser phones: wss://" SV_FMT ":%u (open https://" SV_FMT ":%u/ first).\n",
               SV_ARG(host), wss, SV_ARG(host), wss);
    if ((tls || wss) && m->d->certs && m->d->certs->own)
        printf("    These have to trust our own authority: %s cert ca >ca.pem\n", m->d->program);
    if (tls || wss)
        printf("\n");
}

static void print_accounts(const struct demo *m)
{
    char mem[80];
    struct buf b;
    uint16_t port = m->d->boot->sip.listeners ? m->d->boot->sip.listen[0].bind.port : 0;
    bool made = false;
    buf_init(&b, mem, sizeof(mem));
    put_own_address(m, &b);
    printf("    account   number   password\n");
    for (unsigned i = 0; i < PEOPLE; i++) {
        const struct person *p = &m->person[i];
        printf("    %-9s %-8s %s\n", p->user, p->number,
               p->password[0] ? p->password : "(shown when the account was made)");
        made = made || p->password[0];
    }
    if (!made)
        printf("    A forgotten password: %s user passwd alice\n", m->d->program);
    printf("\n    Type into a phone on this network: server %.*s:%u (UDP or TCP),\n"
           "    user alice or bob, and the password. Then dial 101 or 102.\n\n",
           (int)b.n, mem, port);
    print_secure(m, buf_sv(&b));
    printf("    Ctrl-C ends it. In another terminal, in this folder: %s status\n\n", m->d->program);
    fflush(stdout);
}

/* ---- the end ---- */

static void take_apart(struct demo *m)
{
    struct loop *l = m->d->group->loop[0];
    for (unsigned i = 0; i < PEOPLE; i++) {
        struct person *p = &m->person[i];
        useragent_free(p->ua);
        store_op_cancel(&p->find.op);
        store_op_cancel(&p->change.op);
        store_op_cancel(&p->bindings.op);
        crypto_wipe(p, sizeof(*p));
    }
    loop_defer_cancel(&m->end);
    loop_timer_cancel(l, &m->timer);
    loop_timer_cancel(l, &m->limit);
    m->d->demo = NULL;
    settings_unref(m->set);
    arena_done(&m->arena);
    mem_free(m);
}

static void on_end(struct deferred *def, void *arg)
{
    (void)def;
    struct demo *m = arg;
    if (m->calling)
        print_diagram(m);
    printf("%s\n\n", m->outcome);
    print_accounts(m);
    take_apart(m);
}

static void finish(struct demo *m, const char *outcome)
{
    if (m->outcome)
        return;
    m->outcome = outcome;
    loop_defer(m->d->group->loop[0], &m->end);
}

void demo_free(struct daemon *d)
{
    struct demo *m = d->demo;
    if (!m)
        return;
    /* A password is shown once, so it must be shown, whatever came of the call. */
    for (unsigned i = 0; i < PEOPLE; i++) {
        if (!m->person[i].made)
            m->person[i].password[0] = '\0';
    }
    if (m->person[0].made || m->person[1].made)
        print_accounts(m);
    take_apart(m);
}

static void on_limit(struct timer *t, void *arg)
{
    (void)t;
    finish(arg, "The call between alice and bob did not come about in time; see the log.");
}

/* ---- the call ---- */

static void on_registered(void *arg, uint16_t status, uint32_t expires_s, struct rx *rx)
{
    (void)rx;
    struct person *p = arg;
    struct demo *m = p->demo;
    char target[320];
    struct buf b;
    if (m->calling) {
        if (expires_s == 0)
            finish(m, "That was a call from alice to bob through this server.");
        return;
    }
    if (status != 200) {
        finish(m, "Bob could not register; see the log.");
        return;
    }
    m->calling = true;
    buf_init(&b, target, sizeof(target));
    buf_printf(&b, "sip:bob@%.*s", (int)m->set->domains[0].name.n, m->set->domains[0].name.p);
    if (useragent_call(m->person[0].ua, buf_sv(&b), sv_of(sdp), NULL, &m->outgoing))
        finish(m, "Alice could not call; see the log.");
}

static void on_incoming(void *arg, struct useragent_call *c, sv from, sv offer)
{
    (void)from;
    (void)offer;
    struct person *p = arg;
    p->demo->incoming = c;
    if (useragent_ring(c) == ERR_OK)
        loop_timer(p->demo->d->group->loop[0], &p->demo->timer, TALK_TIME);
}

/* Bob lifts the receiver; later alice hangs up. */
static void on_timer(struct timer *t, void *arg)
{
    struct demo *m = arg;
    if (m->incoming) {
        struct useragent_call *c = m->incoming;
        m->incoming = NULL;
        if (useragent_answer(c, sv_of(sdp)))
            finish(m, "Bob could not answer; see the log.");
        else
            loop_timer(m->d->group->loop[0], t, TALK_TIME * 2);
    } else if (m->outgoing) {
        useragent_hangup(m->outgoing);
    }
}

static void on_ended(void *arg, struct useragent_call *c, enum useragent_end why, uint16_t status)
{
    (void)status;
    struct person *p = arg;
    struct demo *m = p->demo;
    if (c == m->incoming)
        m->incoming = NULL;
    if (c != m->outgoing)
        return;
    m->outgoing = NULL;
    if (why != USERAGENT_BY_US)
        finish(m, "The call did not go through; see the log.");
    else if (useragent_unregister(m->person[1].ua, false))
        finish(m, "That was a call from alice to bob through this server.");
}

static void on_message(void *arg, bool out, const struct addr *peer, sv octets)
{
    (void)peer;
    struct person *p = arg;
    struct demo *m = p->demo;
    sv line = sv_sub(octets, 0, sv_chr(octets, '\r'));
    if (!m->calling || m->lines_n == LINES_MAX || sv_starts(line, SV("REGISTER ")) ||
        memmem(octets.p, octets.n, " REGISTER\r\n", 11))
        return;
    sv label = sv_starts(line, SV("SIP/2.0 ")) ? sv_sub(line, 8, line.n)
                                               : sv_sub(line, 0, sv_chr(line, ' '));
    struct line *l = &m->lines[m->lines_n++];
    struct buf b;
    buf_init(&b, l->label, LABEL_MAX);
    buf_char(&b, ' ');
    buf_printable(&b, sv_sub(label, 0, LABEL_MAX - 2));
    buf_char(&b, ' ');
    l->label[b.n] = '\0';
    l->who = p == &m->person[1];
    l->out = out;
}

static const struct useragent_handler handler = {
    .on_registered = on_registered,
    .on_incoming = on_incoming,
    .on_ended = on_ended,
    .on_message = on_message,
};

static enum err make_phone(struct demo *m, struct person *p)
{
    const struct sip_config *sip = &m->d->boot->sip;
    struct addr server = {0};
    for (unsigned i = 0; i < sip->listeners && !server.family; i++) {
        if (sip->listen[i].transport == SIP_T_UDP)
            server = sip->listen[i].bind;
    }
    if (!server.family)
        return ERR_UNREACHABLE;
    if (addr_is_any(&server))
        TRY(addr_parse_ip(server.family == 4 ? SV("127.0.0.1") : SV("::1"), server.port, &server));
    struct addr own = server;
    own.port = 0;
    const struct account *a = &p->find.account;
    struct useragent_config c = {
        .transport = SIP_T_UDP,
        .bind = own,
        .server = server,
        .user = a->user,
        .domain = a->domain,
        .name = a->name,
        .realm = a->realm,
    };
    memcpy(c.ha1.md5, a->md5, sizeof(c.ha1.md5));
    memcpy(c.ha1.sha256, a->sha256, sizeof(c.ha1.sha256));
    c.ha1.has_md5 = a->has_md5;
    c.ha1.has_sha256 = a->has_sha256;
    return useragent_new(m->d->group->loop[0], &c, &handler, p, &p->ua);
}

static void start_call(struct demo *m)
{
    for (unsigned i = 0; i < PEOPLE; i++) {
        if (m->person[i].bindings.n) {
            finish(m, "A phone of alice or bob is registered already: no call is shown, so that it "
                      "does not ring.");
            return;
        }
    }
    loop_timer(m->d->group->loop[0], &m->limit, DEMO_TIME);
    if (make_phone(m, &m->person[0]) || make_phone(m, &m->person[1]) ||
        useragent_register(m->person[1].ua, 60))
        finish(m, "The two phones of the demonstration could not be made; see the log.");
}

/* ---- the accounts ---- */

static void next_person(struct demo *m);

static void on_bindings(struct store_op *op, enum err rc)
{
    struct person *p = op->arg;
    if (rc)
        p->bindings.n = 0;
    p->demo->at++;
    next_person(p->demo);
}

static void on_found(struct store_op *op, enum err rc);

static void on_made(struct store_op *op, enum err rc)
{
    struct person *p = op->arg;
    struct demo *m = p->demo;
    if (rc) {
        LOG_ERROR("daemon", "demo.account", F_STR("user", p->user), F_ERR(rc));
        p->password[0] = '\0';
        finish(m, "The accounts of the demonstration could not be made; see the log.");
        return;
    }
    p->made = true;
    store_op_init(&p->find.op, on_found, p);
    store_find(m->d->store, m->d->group->loop[0], &p->find);
}

/* Short groups of what can be told apart and typed: no 0, O, 1, l, i. About 59 bits. */
static void make_password(struct loop *l, char *to)
{
    static const char alphabet[] = "abcdefghjkmnpqrstuvwxyz23456789";
    for (unsigned g = 0; g < PASSWORD_GROUPS; g++) {
        if (g)
            *to++ = '-';
        for (unsigned i = 0; i < GROUP; i++) {
            uint64_t r;
            do {
                r = loop_random(l) & 31;
            } while (r >= sizeof(alphabet) - 1);
            *to++ = alphabet[r];
        }
    }
    *to = '\0';
}

static void on_found(struct store_op *op, enum err rc)
{
    struct person *p = op->arg;
    struct demo *m = p->demo;
    struct daemon *d = m->d;
    struct loop *l = d->group->loop[0];
    const struct settings_domain *domain = &m->set->domains[0];
    if (rc == ERR_NOTFOUND) {
        struct auth_ha1 ha1;
        make_password(l, p->password);
        auth_ha1(sv_of(p->user), domain->realm, sv_of(p->password), &ha1);
        struct account *a = &p->change.account;
        *a = (struct account){.user = sv_of(p->user),
                              .domain = domain->name,
                              .realm = domain->realm,
                              .name = sv_of(p->name),
                              .has_md5 = true,
                              .has_sha256 = true,
                              .numbers_n = 1,
                              .changed = loop_wall(l)};
        a->numbers[0] = sv_of(p->number);
        memcpy(a->md5, ha1.md5, sizeof(a->md5));
        memcpy(a->sha256, ha1.sha256, sizeof(a->sha256));
        crypto_wipe(&ha1, sizeof(ha1));
        p->change.what = STORE_ADD;
        store_op_init(&p->change.op, on_made, p);
        store_change(d->store, l, &p->change);
        return;
    }
    struct buf b;
    char *aor = arena_alloc(&m->arena, 400);
    if (rc || !aor) {
        finish(m, "The accounts of the demonstration could not be read; see the log.");
        return;
    }
    buf_init(&b, aor, 400);
    buf_str(&b, p->user);
    buf_char(&b, '@');
    buf_put(&b, domain->name);
    p->bindings.arena = &m->arena;
    p->bindings.aor = buf_sv(&b);
    p->bindings.wall = loop_wall(l);
    store_op_init(&p->bindings.op, on_bindings, p);
    store_bindings(d->store, l, &p->bindings);
}

static void next_person(struct demo *m)
{
    struct daemon *d = m->d;
    if (m->at == PEOPLE) {
        start_call(m);
        return;
    }
    struct person *p = &m->person[m->at];
    p->find.arena = &m->arena;
    p->find.user = sv_of(p->user);
    p->find.domain = m->set->domains[0].name;
    store_op_init(&p->find.op, on_found, p);
    store_find(d->store, d->group->loop[0], &p->find);
}

void demo_start(struct daemon *d)
{
    struct demo *m = MEM_NEW(struct demo);
    if (!m) {
        LOG_ERROR("daemon", "demo", F_ERR(ERR_NOMEM));
        return;
    }
    d->demo = m;
    m->d = d;
    m->set = settings_ref(d->config->settings);
    arena_init(&m->arena, NULL, 0, 256 * 1024);
    m->person[0] = (struct person){.demo = m, .user = "alice", .number = "101", .name = "Alice"};
    m->person[1] = (struct person){.demo = m, .user = "bob", .number = "102", .name = "Bob"};
    timer_init(&m->timer, on_timer, m);
    timer_init(&m->limit, on_limit, m);
    deferred_init(&m->end, on_end, m);
    next_person(m);
}
