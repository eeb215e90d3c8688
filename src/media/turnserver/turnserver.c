/* SPDX-License-Identifier: MIT */
/* The machine on a loop's sockets: UDP listeners, and the socket of each relayed address.
 *
 *   listener ──► turnserver_core_receive() ──► relay_send ──► relayed address ──► peer
 *   client ◄── to_client ◄── turnserver_core_relayed() ◄── relayed address ◄── peer */
#include "turnserver/turnserver.h"

#include <assert.h>

#include "loop/loop.h"
#include "tls/tls.h"
#include "turnserver/turnserver_priv.h"

/* ---- effects ---- */

static void to_client(void *arg, const struct turnserver_tuple *client, const sv *pieces, size_t n)
{
    struct turnserver *t = arg;
    if (client->transport != TURNSERVER_UDP) {
        turnserver_client_send(client->io, pieces, n);
        return;
    }
    struct turnserver_port *p = client->io;
    /* From where it was sent to (RFC 8489 §6.3.1.2). */
    if (udp_send(p->udp, addr_is_any(&p->local) ? &client->server : NULL, &client->client, pieces,
                 n))
        stat_turn_refuse(&t->loop->stats, STAT_TURN_NOT_SENT);
}

static void on_relayed(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    struct turnserver_socket *io = arg;
    (void)to;
    turnserver_core_relayed(io->server->core, io->relay, from, block_sv(b),
                            loop_now(io->server->loop));
}

static void on_refused(void *arg, const struct addr *to, enum err why, sv quoted)
{
    struct turnserver_socket *io = arg;
    (void)quoted;
    turnserver_core_refused(io->server->core, io->relay, to, why, loop_now(io->server->loop));
}

static const struct udp_handler relay_handler = {.on_datagram = on_relayed, .on_error = on_refused};

static enum err relay_open(void *arg, struct turnserver_relay *r)
{
    struct turnserver *t = arg;
    struct turnserver_socket *io = MEM_TAKE(struct turnserver_socket);
    if (!io)
        return ERR_NOMEM;
    *io = (struct turnserver_socket){.server = t, .relay = r};
    /* The kernel itself sees to it that nobody else of this process has the port. */
    enum err rc =
        r->tcp ? stream_listen(t->loop, &r->bound, &turnserver_relay_handler, io, &io->listener)
               : udp_open_flags(t->loop, &r->bound, SOCK_PRIVATE, &relay_handler, io, &io->udp);
    if (rc)
        MEM_GIVE(io);
    else
        r->io = io;
    return rc;
}

static bool relay_send(void *arg, struct turnserver_relay *r, const struct addr *to, sv octets)
{
    struct turnserver_socket *io = r->io;
    (void)arg;
    return udp_send(io->udp, NULL, to, &octets, 1) == ERR_OK;
}

static void relay_close(void *arg, struct turnserver_relay *r)
{
    struct turnserver_socket *io = r->io;
    (void)arg;
    r->io = NULL;
    udp_close(io->udp);
    listener_close(io->listener);
    MEM_GIVE(io);
}

/* The address that the routing table gives to what goes outside. RFC 5737, RFC 3849: nobody is there. */
static bool outer(struct turnserver *t, unsigned family, struct addr *ret_addr)
{
    struct addr far = {.family = (uint8_t)family, .port = 9, .ip = {192, 0, 2, 1}};
    if (family == 6)
        memcpy(far.ip, (uint8_t[16]){0x20, 0x01, 0x0d, 0xb8, [15] = 1}, 16);
    return sock_source_for(t->loop, &far, ret_addr) == ERR_OK;
}

/* The one that the client reached us at; of the other family, a listener's, or the way out. */
static bool bound_for(struct turnserver *t, const struct turnserver_tuple *client, unsigned family,
                      struct addr *ret_addr)
{
    if (client->server.family == family) {
        *ret_addr = client->server;
        return true;
    }
    for (unsigned i = 0; i < t->ports; i++) {
        const struct turnserver_port *p = &t->port[i];
        bool loopback = addr_class(&p->local) == ADDR_LOOPBACK;
        if (p->local.family != family || addr_is_any(&p->local) ||
            loopback != (addr_class(&client->server) == ADDR_LOOPBACK))
            continue;
        *ret_addr = p->local;
        return true;
    }
    return outer(t, family, ret_addr);
}

static bool relay_address(void *arg, const struct turnserver_tuple *client, unsigned family,
                          struct addr *ret_bound, struct addr *ret_told)
{
    struct turnserver *t = arg;
    if (!bound_for(t, client, family, ret_bound))
        return false;
    ret_bound->port = 0;
    *ret_told = *ret_bound;
    ret_told->scope = 0;
    const struct addr *public = &t->config.advertise[family == 6];
    /* Behind a NAT of ours who comes from outside is told what stands outside. */
    if (public->family == family && addr_class(ret_bound) == ADDR_PRIVATE &&
        addr_class(&client->client) == ADDR_GLOBAL)
        *ret_told = *public;
    ret_told->port = 0;
    return true;
}

/* To an address of its own a machine sends from that address. */
static bool is_ours(void *arg, const struct addr *a)
{
    struct turnserver *t = arg;
    struct addr from;
    return sock_source_for(t->loop, a, &from) == ERR_OK && from.family == a->family &&
           memcmp(from.ip, a->ip, sizeof(from.ip)) == 0;
}

static bool has_account(void *arg, sv account)
{
    struct turnserver *t = arg;
    return t->config.has_account(t->config.arg, account);
}

static void wrong(void *arg, const struct turnserver_tuple *client, sv user,
                  enum turnserver_wrong why)
{
    struct turnserver *t = arg;
    if (t->config.wrong)
        t->config.wrong(t->config.arg, client, user, why);
}

static void chance(void *arg, void *p, size_t n)
{
    struct turnserver *t = arg;
    loop_random_bytes(t->loop, p, n);
}

static const struct turnserver_ops ops = {
    .to_client = to_client,
    .relay_address = relay_address,
    .relay_open = relay_open,
    .relay_send = relay_send,
    .relay_close = relay_close,
    .is_ours = is_ours,
    .has_account = has_account,
    .wrong = wrong,
    .chance = chance,
    .peer_connect = turnserver_peer_connect,
    .peer_bind = turnserver_peer_bind,
    .peer_close = turnserver_peer_close,
};

/* ---- life ---- */

enum err turnserver_new(struct loop *l, struct turnserver_shared *sh,
                        const struct turnserver_config *c, struct turnserver **ret_server)
{
    struct turnserver *t = MEM_NEW(struct turnserver);
    if (!t)
        return ERR_NOMEM;
    t->loop = l;
    t->shared = sh;
    t->config = *c;
    list_init(&t->clients);
    enum err rc =
        turnserver_core_new(sh, l->worker, &c->limits, &ops, t, &l->wheel, &l->stats, &t->core);
    if (rc) {
        mem_free(t);
        return rc;
    }
    turnserver_splices_init(t);
    turnserver_enroll(sh, l->worker, t);
    *ret_server = t;
    return ERR_OK;
}

void turnserver_free(struct turnserver *t)
{
    if (!t)
        return;
    turnserver_enroll(t->shared, t->loop->worker, NULL);
    turnserver_clients_close(t);
    turnserver_core_free(t->core);
    turnserver_splices_done(t);
    for (unsigned i = 0; i < t->ports; i++) {
        udp_close(t->port[i].udp);
        listener_close(t->port[i].listener);
    }
    tls_unref(t->tls);
    mem_free(t);
}

static void on_datagram(void *arg, struct block *b, const struct addr *from, const struct addr *to)
{
    struct turnserver_port *p = arg;
    struct turnserver_tuple tuple = {*from, *to, TURNSERVER_UDP, p};
    turnserver_core_receive(p->server->core, &tuple, block_sv(b), loop_now(p->server->loop),
                            loop_wall(p->server->loop));
}

static const struct udp_handler listen_handler = {.on_datagram = on_datagram};

enum err turnserver_listen(struct turnserver *t, struct turnserver_listen *l)
{
    if (t->ports == TURNSERVER_LISTENERS_MAX)
        return ERR_TOOBIG;
    struct turnserver_port *p = &t->port[t->ports];
    *p = (struct turnserver_port){.server = t, .transport = l->transport};
    if (l->transport == TURNSERVER_UDP) {
        TRY(udp_open(t->loop, &l->bind, &listen_handler, p, &p->udp));
        p->local = p->udp->local;
    } else {
        TRY(stream_listen(t->loop, &l->bind, &turnserver_listener_handler, p, &p->listener));
        p->local = p->listener->local;
    }
    t->ports++;
    if (l->bind.port == 0) /* during set-up only: the other workers open what the first one found */
        l->bind.port = p->local.port;
    return ERR_OK;
}

void turnserver_tls(struct turnserver *t, struct tls *tls)
{
    tls_unref(t->tls);
    t->tls = tls ? tls_ref(tls) : NULL;
}

void turnserver_limits(struct turnserver *t, const struct turnserver_limits *l)
{
    t->config.limits = *l;
    turnserver_core_limits(t->core, l);
}

enum err turnserver_forbid(struct turnserver *t, const struct addr *list, size_t n)
{
    return turnserver_core_forbid(t->core, list, n);
}

void turnserver_put_listen(struct buf *b, const struct turnserver_listen *l)
{
    static const char *const names[] = {
        [TURNSERVER_UDP] = "udp:", [TURNSERVER_TCP] = "tcp:", [TURNSERVER_TLS] = "tls:"};
    buf_str(b, names[l->transport]);
    addr_print(b, &l->bind);
}

void turnserver_put_uri(struct buf *b, enum turnserver_transport t, sv host, uint16_t port)
{
    buf_str(b, t == TURNSERVER_TLS ? "turns:" : "turn:");
    buf_put(b, host);
    buf_char(b, ':');
    buf_u64(b, port);
    buf_str(b, t == TURNSERVER_UDP ? "?transport=udp" : "?transport=tcp");
}
