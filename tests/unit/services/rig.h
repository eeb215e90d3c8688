/* SPDX-License-Identifier: MIT */
/* rig.h: one server of one worker made of the real services, and raw peers on datagrams, in virtual
 * time. Accounts: alice (101, +15550101), bob (102, 102@example.com is his too), password
 * "secret". */
#ifndef TESTS_SERVICES_RIG_H
#define TESTS_SERVICES_RIG_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "memory/memory.h"
#include "routing/routing.h"
#include "sim/sim.h"
#include "store/store.h"

/* Not every test uses all of it. */
#pragma GCC diagnostic ignored "-Wunused-function"

#define SERVER_IP "192.0.2.1"
enum { PEERS = 4, ALICE = 0, BOB = 1, DESK = 2, STRANGER = 3, KEPT = 24, MESSAGE = 16384 };

struct peer {
    struct addr addr;
    struct udp *udp;
    unsigned n;              /* datagrams so far */
    char got[KEPT][MESSAGE]; /* the first of them since rig_clear, marks replaced by * */
    char raw[KEPT][MESSAGE];
};

struct directory {
    struct store_directory dir;
    struct account account[2];
    bool hold;      /* look-ups wait for ever */
    unsigned held;  /* of them */
    unsigned asked; /* look-ups so far */
    unsigned records;
    struct call_record last; /* its texts are gone but these: */
    char ended_by[16], reason[512], caller[64], media[4100];
};

struct rig {
    struct sim *sim;
    struct sim_host *host, *outside;
    struct loop_group *group, *peer_group;
    struct settings *set;
    struct sip_shared *shared;
    struct directory dir;
    struct store *store;
    struct auth_verifier *verifier;
    struct ports *ports; /* and media: for who asks for them */
    struct session_shared *media;
    struct routing *routing;
    struct sip *sip;
    struct peer peer[PEERS];
    size_t stream_n;
    struct listener *listener;
    struct stream *stream;
    char stream_got[MESSAGE];
};

/* ---- the directory ---- */

static void dir_find(struct store_directory *d, struct loop *l, struct store_find *f)
{
    struct directory *dir = (struct directory *)d;
    dir->asked++;
    if (dir->hold) {
        dir->held++;
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        struct account *a = &dir->account[i];
        bool hit = f->user.n && sv_eq(a->user, f->user) && sv_eq(a->domain, f->domain);
        for (unsigned k = 0; !f->user.n && k < a->numbers_n; k++)
            hit = hit ||
                  (f->number.n && sv_eq(a->numbers[k], f->number) && sv_eq(a->domain, f->domain));
        if (hit) {
            f->account = *a;
            store_op_complete(l, &f->op, ERR_OK);
            return;
        }
    }
    store_op_complete(l, &f->op, ERR_NOTFOUND);
}

static bool dir_has(const struct store_directory *d, sv aor)
{
    const struct directory *dir = (const struct directory *)d;
    bool hit = false;
    for (unsigned i = 0; i < 2; i++) {
        const struct account *a = &dir->account[i];
        hit = hit || (sv_starts(aor, a->user) && sv_chr(aor, '@') == a->user.n &&
                      sv_eq(sv_sub(aor, a->user.n + 1, aor.n), a->domain));
    }
    return hit;
}

static void dir_record(struct store_directory *d, struct loop *l, const struct call_record *r)
{
    struct directory *dir = (struct directory *)d;
    (void)l;
    dir->records++;
    dir->last = *r;
    snprintf(dir->ended_by, sizeof(dir->ended_by), SV_FMT, SV_ARG(r->ended_by));
    snprintf(dir->reason, sizeof(dir->reason), SV_FMT, SV_ARG(r->reason));
    snprintf(dir->caller, sizeof(dir->caller), SV_FMT, SV_ARG(r->caller));
    snprintf(dir->media, sizeof(dir->media), SV_FMT, SV_ARG(r->media));
}

static void dir_close(struct store_directory *d)
{
    (void)d;
}

static const struct store_directory_ops dir_ops = {
    .find = dir_find, .has = dir_has, .record = dir_record, .close = dir_close};

static void add_account(struct account *a, sv user, sv number, sv other)
{
    struct auth_ha1 ha1;
    *a = (struct account){.user = user, .domain = SV("example.com"), .realm = SV("example.com")};
    auth_ha1(user, SV("example.com"), SV("secret"), &ha1);
    memcpy(a->md5, ha1.md5, sizeof(a->md5));
    memcpy(a->sha256, ha1.sha256, sizeof(a->sha256));
    a->has_md5 = a->has_sha256 = true;
    a->numbers[0] = number;
    a->numbers[1] = other;
    a->numbers_n = 2;
}

/* ---- peers ---- */

static bool is_mark_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

/* Our branches, which are a mark alone inside a dialog and a hash alone of an ACK without state, and
 * Record-Route users become "*". */
static void put_plain(char *out, sv text)
{
    size_t o = 0;
    for (size_t i = 0; i < text.n && o + 1 < MESSAGE;) {
        size_t run = 0, skip = 0;
        sv rest = sv_sub(text, i, text.n);
        if (sv_starts(rest, SV("z9hG4bK")))
            skip = 7;
        else if (sv_starts(rest, SV("<sip:")))
            skip = 5;
        else if (sv_starts(rest, SV("<sips:")))
            skip = 6;
        if (!skip) {
            out[o++] = text.p[i++];
            continue;
        }
        while (skip + run < rest.n && is_mark_char(rest.p[skip + run]))
            run++;
        memcpy(out + o, rest.p, skip);
        o += skip;
        i += skip;
        if (run == HOME_MARK_LEN || run >= HOME_MARK_LEN + 11 || (skip == 7 && run == 11)) {
            out[o++] = '*';
            if (run > HOME_MARK_LEN + 12) /* with a flow token */
                out[o++] = '+';
            i += run;
        }
    }
    out[o] = 0;
}

static void on_datagram(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    struct peer *p = arg;
    (void)from;
    (void)to;
    if (p->n < KEPT) {
        assert_true(b->n < MESSAGE);
        memcpy(p->raw[p->n], b->p, b->n);
        p->raw[p->n][b->n] = 0;
        put_plain(p->got[p->n], block_sv(b));
    }
    p->n++;
}
static const struct udp_handler peer_handler = {.on_datagram = on_datagram};

static void on_stream_data(void *arg, sv octets)
{
    struct rig *r = arg;
    char mem[MESSAGE];
    put_plain(mem, octets);
    r->stream_n += (size_t)snprintf(r->stream_got + r->stream_n, MESSAGE - r->stream_n, "%s", mem);
}
static void on_stream_close(void *arg, enum err why)
{
    (void)why;
    ((struct rig *)arg)->stream = NULL;
}
static const struct stream_handler stream_events = {.on_data = on_stream_data,
                                                    .on_close = on_stream_close};
static void on_accept(void *arg, struct stream *s)
{
    struct rig *r = arg;
    r->stream = s;
    stream_handle(s, &stream_events, r);
}
static const struct listener_handler accept_events = {.on_accept = on_accept};

/* ---- life ---- */

static struct addr address(const char *ip, uint16_t port)
{
    struct addr a;
    assert_int_equal(addr_parse_ip(sv_of(ip), port, &a), ERR_OK);
    return a;
}

static void rig_run(struct rig *r, usec by)
{
    sim_run_until(r->sim, sim_now(r->sim) + by);
}

static struct rig *rig_new_with(enum settings_authenticate authenticate, bool media)
{
    static const char *const ips[PEERS] = {"192.0.2.11", "192.0.2.12", "192.0.2.13", "203.0.113.9"};
    static const uint8_t secret[32] = "thirty-two octets for one test.";
    struct rig *r = MEM_NEW(struct rig);
    struct addr server = address(SERVER_IP, 5060), outside[PEERS];
    struct store_location *loc;
    struct memory_report report;
    assert_non_null(r);
    assert_int_equal(crypto_start(), ERR_OK);
    assert_int_equal(sim_new(11, &r->sim), ERR_OK);
    for (int i = 0; i < PEERS; i++)
        outside[i] = r->peer[i].addr = address(ips[i], 5060);
    assert_int_equal(sim_host_new(r->sim, "server", &server, 1, &r->host), ERR_OK);
    assert_int_equal(sim_host_new(r->sim, "outside", outside, PEERS, &r->outside), ERR_OK);
    assert_int_equal(sim_process(r->host, 1, &r->group), ERR_OK);
    assert_int_equal(sim_process(r->outside, 1, &r->peer_group), ERR_OK);
    struct loop *l = r->peer_group->loop[0];
    for (int i = 0; i < PEERS; i++)
        assert_int_equal(udp_open(l, &outside[i], &peer_handler, &r->peer[i], &r->peer[i].udp),
                         ERR_OK);
    assert_int_equal(stream_listen(l, &outside[DESK], &accept_events, r, &r->listener), ERR_OK);

    assert_int_equal(disk_mkdir(sim_disk(r->host), SV("/var/lib/tandem"), 0700), ERR_OK);
    struct memory_config mc = {.disk = sim_disk(r->host),
                               .folder = SV("/var/lib/tandem"),
                               .sync = 100 * USEC_MS,
                               .compact_min = 4 << 20,
                               .group = r->group,
                               .wall = r->group->loop[0]->wall};
    assert_int_equal(memory_open(&mc, &loc, &report), ERR_OK);
    r->dir.dir.ops = &dir_ops;
    add_account(&r->dir.account[0], SV("alice"), SV("101"), SV("+15550101"));
    add_account(&r->dir.account[1], SV("bob"), SV("102"), SV("+15550102"));
    assert_int_equal(store_new(loc, &r->dir.dir, &r->store), ERR_OK);

    assert_int_equal(settings_default(SV("Example.com"), &r->set), ERR_OK);
    r->set->authenticate = authenticate;
    r->set->domains[0].aliases[0] = SV("alias.example.net");
    r->set->domains[0].aliases_n = 1;
    r->set->sip.listen[0] = (struct sip_listen){.transport = SIP_T_UDP, .bind = server};
    r->set->sip.listen[1] = (struct sip_listen){.transport = SIP_T_TCP, .bind = server};
    r->set->sip.listeners = 2;
    assert_int_equal(auth_verifier_new(secret, 64, &r->verifier), ERR_OK);
    assert_int_equal(sip_shared_new(secret, r->group, &r->set->sip, &r->shared), ERR_OK);
    if (media) {
        assert_int_equal(ports_new(20000, 20099, &r->ports), ERR_OK);
        assert_int_equal(session_shared_new(r->ports, &r->media), ERR_OK);
    }
    struct routing_shared sh = {
        .sip = r->shared, .store = r->store, .verifier = r->verifier, .media = r->media};
    assert_int_equal(routing_new(r->group->loop[0], &sh, r->set, &r->routing), ERR_OK);
    r->sip = routing_sip(r->routing);
    assert_int_equal(sip_listen(r->sip, 0), ERR_OK);
    assert_int_equal(sip_listen(r->sip, 1), ERR_OK);
    return r;
}

static struct rig *rig_new(enum settings_authenticate authenticate)
{
    return rig_new_with(authenticate, false);
}

static void rig_free(struct rig *r)
{
    struct loop *l = r->group->loop[0];
    sim_process_stop(r->host);
    sim_process_stop(r->outside);
    for (int i = 0; i < PEERS; i++)
        udp_close(r->peer[i].udp);
    listener_close(r->listener);
    stream_close(r->stream, false);
    routing_free(r->routing);
    assert_int_equal(stat_get(&l->stats, STAT_SIP_TXN_LIVE), 0);
    assert_int_equal(stat_get(&l->stats, STAT_CALLS), 0);
    assert_int_equal(block_pool_live(l->blocks), 0);
    if (r->media) {
        session_shared_free(r->media);
        assert_int_equal(ports_taken(r->ports), 0);
        ports_free(r->ports);
    }
    sip_shared_free(r->shared);
    auth_verifier_free(r->verifier);
    store_close(r->store);
    settings_unref(r->set);
    sim_process_free(r->host);
    sim_process_free(r->outside);
    sim_free(r->sim);
    mem_free(r);
}

static void rig_clear(struct rig *r)
{
    for (int i = 0; i < PEERS; i++)
        r->peer[i].n = 0;
    r->stream_n = 0;
    r->stream_got[0] = 0;
}

/* Nothing is under way any more. */
static void rig_quiet(struct rig *r)
{
    rig_run(r, 5 * USEC_MIN);
    assert_int_equal(sip_transactions(r->sip), 0);
    assert_int_equal(routing_contexts(r->routing), 0);
}

static void say(struct rig *r, int from, const char *text)
{
    struct addr to = address(SERVER_IP, 5060);
    sv piece = sv_of(text);
    assert_int_equal(udp_send(r->peer[from].udp, NULL, &to, &piece, 1), ERR_OK);
    rig_run(r, 20 * USEC_MS);
}

/* How many of the datagrams begin so. */
static unsigned heard(const struct rig *r, int who, const char *begins)
{
    unsigned n = 0;
    for (unsigned i = 0; i < r->peer[who].n && i < KEPT; i++)
        n += strncmp(r->peer[who].got[i], begins, strlen(begins)) == 0;
    return n;
}

/* The first that begins so; "" without one. raw: marks as they are. */
static const char *find_raw(const struct rig *r, int who, const char *begins)
{
    for (unsigned i = 0; i < r->peer[who].n && i < KEPT; i++) {
        if (strncmp(r->peer[who].raw[i], begins, strlen(begins)) == 0)
            return r->peer[who].raw[i];
    }
    return "";
}
static const char *find_got(const struct rig *r, int who, const char *begins)
{
    for (unsigned i = 0; i < r->peer[who].n && i < KEPT; i++) {
        if (strncmp(r->peer[who].got[i], begins, strlen(begins)) == 0)
            return r->peer[who].got[i];
    }
    return "";
}

/* ---- messages ---- */

static char *scratch(void)
{
    static char mem[8][MESSAGE];
    static unsigned turn;
    return mem[turn++ % 8];
}

/* A request as this peer writes it; more: lines. CSeq 1. */
static const char *request(const struct rig *r, int from, const char *method, const char *uri,
                           const char *from_to, const char *call_id, const char *more)
{
    static unsigned serial; /* along a route set every request is one of its own */
    char *out = scratch(), ip[64], own[16] = "";
    struct buf b;
    if (strstr(more, "Route: "))
        snprintf(own, sizeof(own), ".%u", ++serial);
    buf_init(&b, ip, sizeof(ip) - 1);
    if (strstr(more, "X-Nat:")) /* behind one: its own address is another */
        buf_str(&b, "10.9.9.9:5060");
    else
        addr_print(&b, &r->peer[from].addr);
    ip[b.n] = 0;
    int n = snprintf(out, MESSAGE,
                     "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%s%s;rport\r\n%s"
                     "Call-ID: %s\r\nCSeq: 1 %s\r\n%s%sContent-Length: 0\r\n\r\n",
                     method, uri, ip, strcmp(method, "CANCEL") ? method : "INVITE", call_id, own,
                     from_to, call_id, method,
                     strstr(more, "Max-Forwards") ? "" : "Max-Forwards: 70\r\n", more);
    assert_true(n > 0 && n < MESSAGE);
    return out;
}

/* A response by this peer to the request that it got; more: lines. */
static const char *reply(const char *raw, unsigned status, const char *tag, const char *more)
{
    char *out = scratch();
    struct arena a;
    struct sipmsg m;
    struct buf b;
    static char copy[MESSAGE + BLOCK_SLACK];
    arena_init(&a, NULL, 0, 1 << 20);
    size_t n = strlen(raw);
    memcpy(copy, raw, n + 1);
    assert_int_equal(sipmsg_parse((sv){copy, n}, &a, &m, NULL), ERR_OK);
    buf_init(&b, out, MESSAGE - 1);
    struct sip_reply r = {.status = (uint16_t)status,
                          .to_tag = tag ? sv_of(tag) : SV_NONE,
                          .record_route = status < 300,
                          .headers = sv_of(more)};
    assert_int_equal(sipmsg_reply(&b, &m, &r), ERR_OK);
    arena_done(&a);
    out[b.n] = 0;
    return out;
}

/* The value of the first field of this name, as it stands. */
static const char *value(const char *raw, const char *name)
{
    char *out = scratch(), line[64];
    snprintf(line, sizeof(line), "\r\n%s: ", name);
    const char *p = strstr(raw, line);
    if (!p)
        return "";
    p += strlen(line);
    snprintf(out, MESSAGE, "%.*s", (int)strcspn(p, "\r"), p);
    return out;
}

/* ACK of the refusal that the first INVITE to uri got (RFC 3261 §17.1.1.3). */
static void ack_refusal(struct rig *r, const char *uri, const char *call_id, const char *response)
{
    char *text = scratch();
    const char *to = value(response, "To");
    snprintf(text, MESSAGE,
             "ACK %s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.11:5060;branch=z9hG4bKINVITE%s;"
             "rport\r\nFrom: <sip:alice@example.com>;tag=a1\r\nTo: %s\r\nCall-ID: %s\r\n"
             "CSeq: 1 ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
             uri, call_id, to, call_id);
    say(r, ALICE, text);
}

/* The account's credentials for the challenge in this response. */
static const char *credentials(const char *challenge, const char *method, const char *uri,
                               const char *user, const char *password, unsigned nc)
{
    char *out = scratch();
    struct arena a;
    struct sipmsg m;
    struct buf b;
    static char copy[MESSAGE + BLOCK_SLACK];
    arena_init(&a, NULL, 0, 1 << 20);
    size_t n = strlen(challenge);
    memcpy(copy, challenge, n + 1);
    assert_int_equal(sipmsg_parse((sv){copy, n}, &a, &m, NULL), ERR_OK);
    buf_init(&b, out, MESSAGE - 1);
    assert_int_equal(
        auth_answer(&b, &m, sv_of(method), sv_of(uri), sv_of(user), sv_of(password), SV("c"), nc),
        ERR_OK);
    arena_done(&a);
    out[b.n] = 0;
    return out;
}

/* Binds a contact without a REGISTER. */
static void on_bound(struct store_op *op, enum err rc)
{
    assert_int_equal(rc, ERR_OK);
    *(bool *)op->arg = true;
}
static void rig_bind(struct rig *r, const char *aor, const struct binding *b, size_t n)
{
    bool done = false;
    struct arena a;
    struct store_bindings read = {.arena = &a, .aor = sv_of(aor), .wall = r->group->loop[0]->wall};
    arena_init(&a, NULL, 0, 1 << 20);
    store_op_init(&read.op, on_bound, &done);
    store_bindings(r->store, r->group->loop[0], &read);
    rig_run(r, USEC_MS);
    assert_true(done);
    done = false;
    struct store_update u = {.aor = sv_of(aor), .bindings = b, .n = n, .version = read.version};
    store_op_init(&u.op, on_bound, &done);
    store_update(r->store, r->group->loop[0], &u);
    rig_run(r, 20 * USEC_MS);
    assert_true(done);
    arena_done(&a);
}

/* A binding of this contact, which came from peer. */
static struct binding binding_of(const struct rig *r, const char *uri, int peer)
{
    return (struct binding){.uri = sv_of(uri),
                            .params = SV(""),
                            .call_id = SV("reg"),
                            .cseq = 1,
                            .q = 1000,
                            .expires = r->group->loop[0]->wall + USEC_HOUR,
                            .since = r->group->loop[0]->wall,
                            .agent = SV(""),
                            .path = SV(""),
                            .transport = SIP_T_UDP,
                            .epoch = store_epoch(r->store),
                            .local = address(SERVER_IP, 5060),
                            .remote = r->peer[peer].addr};
}

#define TO_BOB "From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@example.com>\r\n"

#endif
