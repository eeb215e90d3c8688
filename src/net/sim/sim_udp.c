/* SPDX-License-Identifier: MIT */
/* sim/sim_udp.c: addresses, ports and datagrams.
 *
 *   send ─ loss? ─ duplicate? ─ delay (+ reorder) ─► arrival ─ port? ─► a worker's socket
 *                                                       └─ none: ICMP back to the sending socket
 *
 * A datagram between two addresses of one host is neither lost nor doubled. A host without power,
 * or an address nobody has, is silence. */
#include "sim/sim_priv.h"
#include <stdlib.h>

enum { DATAGRAM_MAX = 65507, PORT_FIRST = 32768, PORTS = 28232, ICMP_LOST_PERMILLE = 100 };
static const usec local_min = 5, local_max = 40;

/* ---- addresses ---- */

uint64_t sim_addr_hash(const struct addr *a)
{
    uint64_t w[2];
    memcpy(w, a->ip, sizeof(w));
    return sim_mix(sim_mix(w[0], w[1]), (uint64_t)a->port << 8 | a->family);
}

static uint64_t ip_hash(const struct addr *a)
{
    struct addr ip = *a;
    ip.port = 0;
    return sim_addr_hash(&ip);
}

static bool same_ip(const struct addr *a, const struct addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

static bool is_loopback(const struct addr *a)
{
    return addr_class(a) == ADDR_LOOPBACK;
}

bool sim_host_has(const struct sim_host *h, const struct addr *ip)
{
    for (size_t i = 0; i < h->ips_n; i++)
        if (same_ip(&h->ips[i].ip, ip))
            return true;
    return is_loopback(ip);
}

struct sim_host *sim_route(struct sim_host *h, const struct addr *ip)
{
    HASH_EACH (it, &h->sim->by_ip, ip_hash(ip), struct sim_ip, by_ip) {
        if (same_ip(&it->ip, ip))
            return it->host;
    }
    return is_loopback(ip) ? h : NULL;
}

enum err sim_source(struct sim_host *h, const struct addr *bound, const struct addr *to,
                    struct addr *ret_from)
{
    struct addr from = *bound;
    if (bound->family != to->family)
        return ERR_UNREACHABLE;
    struct sim_host *dst = sim_route(h, to);
    if (addr_is_any(bound)) {
        const struct addr *ip =
            dst == h ? to : NULL; /* to itself from the same address, as Linux does */
        for (size_t i = 0; !ip && i < h->ips_n; i++)
            if (h->ips[i].ip.family == to->family)
                ip = &h->ips[i].ip;
        if (!ip)
            return ERR_UNREACHABLE;
        memcpy(from.ip, ip->ip, sizeof(from.ip));
    } else if (!sim_host_has(h, bound) || (is_loopback(bound) && dst != h)) {
        return ERR_UNREACHABLE;
    }
    *ret_from = from;
    return ERR_OK;
}

bool sim_cut(const struct sim *s, const struct sim_host *a, const struct sim_host *b)
{
    for (size_t i = 0; i < s->cuts_n; i++)
        if ((s->cuts[i][0] == a->id && s->cuts[i][1] == b->id) ||
            (s->cuts[i][0] == b->id && s->cuts[i][1] == a->id))
            return true;
    return false;
}

usec sim_delay(struct sim *s, const struct sim_host *a, const struct sim_host *b)
{
    if (a == b)
        return rng_between(&s->rng, local_min, local_max);
    return rng_between(&s->rng, s->wire.delay_min, s->wire.delay_max);
}

/* ---- ports ---- */

static uint64_t port_hash(const struct sim_host *h, enum port_kind kind, const struct addr *a,
                          sv path)
{
    uint64_t what = kind == PORT_UNIX ? sim_hash(path.p, path.n) : sim_addr_hash(a);
    return sim_mix(what, (uint64_t)h->id << 2 | kind);
}

static struct sim_port *find_exact(struct sim_host *h, enum port_kind kind, const struct addr *a,
                                   sv path)
{
    HASH_EACH (p, &h->sim->by_addr, port_hash(h, kind, a, path), struct sim_port, by_addr) {
        if (p->host != h || p->kind != kind)
            continue;
        if (kind == PORT_UNIX ? sv_eq((sv){p->path, p->path_n}, path)
                              : p->local.port == a->port && same_ip(&p->local, a))
            return p;
    }
    return NULL;
}

struct sim_port *sim_port_find(struct sim_host *h, enum port_kind kind, const struct addr *a,
                               sv path)
{
    struct sim_port *p = find_exact(h, kind, a, path);
    if (p || kind == PORT_UNIX)
        return p;
    struct addr any = {.family = a->family, .port = a->port};
    return find_exact(h, kind, &any, path);
}

uint16_t sim_free_port(struct sim_host *h, enum port_kind kind, const struct addr *a)
{
    struct addr want = *a;
    for (unsigned i = 0; i < PORTS; i++) {
        want.port = (uint16_t)(PORT_FIRST + (h->next_port++ % PORTS));
        if (!sim_port_find(h, kind, &want, SV_NONE))
            return want.port;
    }
    return 0;
}

enum err sim_bind(struct sim_loop *l, enum port_kind kind, const struct addr *a, sv path,
                  struct sim_bound *b)
{
    struct sim_host *h = l->proc->host;
    struct addr local = a ? *a : (struct addr){0};
    local.scope = 0;
    if (!sim_alive(l) || l->loop.stopping)
        return ERR_STATE;
    if (kind != PORT_UNIX) {
        if ((local.family != 4 && local.family != 6) ||
            !(addr_is_any(&local) || sim_host_has(h, &local)))
            return ERR_UNREACHABLE;
        if (!local.port && !(local.port = sim_free_port(h, kind, &local)))
            return ERR_BUSY;
    }
    struct sim_port *p = find_exact(h, kind, &local, path);
    if (p && (kind == PORT_UNIX || p->bound[l->loop.worker]))
        return ERR_BUSY;
    if (!p) {
        p = sim_need(calloc(1, sizeof(*p)));
        p->host = h;
        p->kind = kind;
        p->local = local;
        if (path.n)
            memcpy(p->path, path.p, path.n);
        p->path_n = path.n;
        hash_insert(&h->sim->by_addr, &p->by_addr, port_hash(h, kind, &local, path));
    }
    p->bound[l->loop.worker] = b;
    p->n++;
    b->loop = l;
    b->port = p;
    return ERR_OK;
}

void sim_unbind(struct sim_bound *b)
{
    struct sim_port *p = b->port;
    b->port = NULL;
    if (!p)
        return;
    p->bound[b->loop->loop.worker] = NULL;
    if (--p->n)
        return;
    hash_remove(&p->host->sim->by_addr, &p->by_addr);
    free(p);
}

struct sim_bound *sim_steer(struct sim *s, struct sim_port *p, const struct addr *from)
{
    uint64_t pick = 0;
    if (p->n > 1)
        pick = (s->random_steering ? rng_next(&s->rng)
                                   : sim_mix(sim_addr_hash(from), sim_addr_hash(&p->local))) %
               p->n;
    for (unsigned i = 0; i < LOOP_WORKERS_MAX; i++)
        if (p->bound[i] && pick-- == 0)
            return p->bound[i];
    return NULL;
}

/* ---- sending ---- */

static void lose(struct sim *s, const struct event *e)
{
    sim_trace_addrs(s, "lost", &e->datagram.from, &e->datagram.to, SV_NONE, e->datagram.octets->n);
}

static void drop(struct sim *s, struct event *e)
{
    block_unref(e->datagram.octets);
    sim_event_free(s, e);
}

/* One copy goes on the wire between two hosts, or is lost. Takes over e. */
static void launch(struct sim *s, struct event *e)
{
    const struct sim_wire *w = &s->wire;
    const struct sim_host *src = e->datagram.src, *dst = e->datagram.dst;
    if (rng_permille(&s->rng, w->loss_permille) || (w->mtu && e->datagram.octets->n > w->mtu) ||
        (s->cuts_n && sim_cut(s, src, dst))) {
        lose(s, e);
        drop(s, e);
        return;
    }
    usec at = s->now + sim_delay(s, src, dst);
    if (rng_permille(&s->rng, w->reorder_permille))
        at += rng_between(&s->rng, 0, w->reorder_by);
    sim_push(s, e, at);
}

static void push_error(struct sim *s, struct sim_host *h, unsigned worker, const struct addr *from,
                       const struct addr *to, enum err why, struct block *quoted, usec at)
{
    struct event *e = sim_event_new(s, EV_UDP_ERROR);
    e->error.host = h;
    e->error.worker = worker;
    e->error.from = *from;
    e->error.to = *to;
    e->error.why = why;
    e->error.quoted = quoted;
    sim_push(s, e, at);
}

static struct block *gather(struct sim *s, const sv *pieces, size_t n, size_t total)
{
    struct block *b = block_new(s->blocks, total);
    if (!b)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].n)
            memcpy(b->p + b->n, pieces[i].p, pieces[i].n);
        b->n += (uint32_t)pieces[i].n;
    }
    return b;
}

static enum err send_op(struct udp *udp, const struct addr *from, const struct addr *to,
                        const sv *pieces, size_t n)
{
    struct sim_udp *u = CONTAINER(udp, struct sim_udp, udp);
    struct sim_loop *l = u->bound.loop;
    struct sim *s = l->sim;
    struct sim_host *h = l->proc->host;
    struct addr src = from && !addr_is_any(from) ? *from : udp->local;
    size_t total = 0;
    if (l->proc->dead)
        return ERR_STATE;
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].n > DATAGRAM_MAX - total)
            return ERR_TOOBIG;
        total += pieces[i].n;
    }
    src.port = udp->local.port;
    if (sim_source(h, &src, to, &src)) {
        push_error(s, h, l->loop.worker, &udp->local, to, ERR_UNREACHABLE,
                   gather(s, pieces, n, total), s->now + local_min);
        return ERR_OK;
    }
    struct sim_host *dst = sim_route(h, to);
    struct block *b = dst ? gather(s, pieces, n, total) : NULL;
    if (!b) { /* nobody there, or no memory: lost without a word */
        sim_trace_addrs(s, "lost", &src, to, SV_NONE, total);
        return ERR_OK;
    }
    struct event *e = sim_event_new(s, EV_DATAGRAM);
    e->datagram.octets = b;
    e->datagram.src = h;
    e->datagram.dst = dst;
    e->datagram.from = src;
    e->datagram.to = *to;
    if (dst == h) {
        sim_push(s, e, s->now + sim_delay(s, h, h));
        return ERR_OK;
    }
    if (rng_permille(&s->rng, s->wire.dup_permille)) {
        struct event *twin = sim_event_new(s, EV_DATAGRAM);
        twin->datagram = e->datagram;
        block_ref(b);
        launch(s, twin);
    }
    launch(s, e);
    return ERR_OK;
}

/* ---- arrival ---- */

static void refuse(struct sim *s, const struct event *e)
{
    struct sim_host *src = e->datagram.src, *dst = e->datagram.dst;
    sim_trace_addrs(s, "refused", &e->datagram.from, &e->datagram.to, SV_NONE,
                    e->datagram.octets->n);
    if (src != dst &&
        (rng_permille(&s->rng, s->wire.loss_permille) || rng_permille(&s->rng, ICMP_LOST_PERMILLE)))
        return;
    /* As SO_REUSEPORT does it: any of the workers may be told, whoever has sent. */
    struct sim_port *p = sim_port_find(src, PORT_UDP, &e->datagram.from, SV_NONE);
    struct sim_bound *told = p ? sim_steer(s, p, &e->datagram.to) : NULL;
    if (told)
        push_error(s, src, told->loop->loop.worker, &e->datagram.from, &e->datagram.to, ERR_REFUSED,
                   block_ref(e->datagram.octets), s->now + sim_delay(s, dst, src));
}

static void deliver(struct sim *s, const struct event *e, struct sim_loop *l)
{
    sv octets = block_sv(e->datagram.octets);
    struct block *b = block_new(l->loop.blocks, octets.n);
    if (!b) { /* the worker holds too much: the kernel's queue overflows */
        lose(s, e);
        return;
    }
    memcpy(b->p, octets.p, octets.n);
    b->n = (uint32_t)octets.n;
    sim_trace_addrs(s, "udp", &e->datagram.from, &e->datagram.to, octets, octets.n);
    sim_turn_begin(l);
    /* A timer of this turn may have closed the socket. */
    struct sim_port *p = sim_port_find(l->proc->host, PORT_UDP, &e->datagram.to, SV_NONE);
    struct sim_bound *bound = p ? p->bound[l->loop.worker] : NULL;
    if (bound) {
        struct sim_udp *u = CONTAINER(bound, struct sim_udp, bound);
        u->h->on_datagram(u->arg, b, &e->datagram.from, &e->datagram.to);
    }
    block_unref(b);
    sim_turn_end(l);
}

void sim_on_datagram(struct sim *s, struct event *e)
{
    struct sim_host *dst = e->datagram.dst;
    if (dst->down || (s->cuts_n && sim_cut(s, e->datagram.src, dst))) {
        lose(s, e);
    } else {
        struct sim_port *p = sim_port_find(dst, PORT_UDP, &e->datagram.to, SV_NONE);
        struct sim_bound *b = p ? sim_steer(s, p, &e->datagram.from) : NULL;
        if (!b)
            refuse(s, e);
        else if (sim_alive(b->loop))
            deliver(s, e, b->loop);
        else
            lose(s, e);
    }
    block_unref(e->datagram.octets);
}

static void tell_error(const struct event *e)
{
    struct sim *s = e->error.host->sim;
    struct sim_port *p = sim_port_find(e->error.host, PORT_UDP, &e->error.from, SV_NONE);
    struct sim_bound *b = p ? p->bound[e->error.worker] : NULL;
    if (!b || !sim_alive(b->loop))
        return;
    struct sim_loop *l = b->loop;
    sim_trace_addrs(s, "icmp", &e->error.from, &e->error.to, SV_NONE, e->error.why);
    sim_turn_begin(l);
    p = sim_port_find(e->error.host, PORT_UDP, &e->error.from, SV_NONE);
    b = p ? p->bound[l->loop.worker] : NULL;
    struct sim_udp *u = b ? CONTAINER(b, struct sim_udp, bound) : NULL;
    if (u && u->h->on_error)
        u->h->on_error(u->arg, &e->error.to, e->error.why,
                       e->error.quoted ? block_sv(e->error.quoted) : SV(""));
    sim_turn_end(l);
}

void sim_on_udp_error(struct sim *s, struct event *e)
{
    (void)s;
    tell_error(e);
    block_unref(e->error.quoted);
}

/* ---- sockets ---- */

static void free_socket(struct sim_udp *u)
{
    sim_unbind(&u->bound);
    list_unlink(&u->bound.by_loop);
    mem_free(u);
}

static void close_op(struct udp *udp)
{
    free_socket(CONTAINER(udp, struct sim_udp, udp));
}

static const struct udp_ops udp_ops = {.send = send_op, .close = close_op};

enum err sim_udp_open(struct loop *loop, const struct addr *bind, unsigned flags,
                      const struct udp_handler *h, void *arg, struct udp **ret_udp)
{
    (void)flags; /* addresses of simulated hosts neither come nor go */
    struct sim_loop *l = sim_loop_of(loop);
    struct sim_udp *u = MEM_NEW(struct sim_udp);
    if (!u)
        return ERR_NOMEM;
    enum err rc = sim_bind(l, PORT_UDP, bind, SV_NONE, &u->bound);
    if (rc) {
        mem_free(u);
        return rc;
    }
    u->udp = (struct udp){.ops = &udp_ops, .loop = loop, .local = u->bound.port->local};
    u->h = h;
    u->arg = arg;
    list_push(&l->udps, &u->bound.by_loop);
    *ret_udp = &u->udp;
    return ERR_OK;
}

enum err sim_source_for(struct loop *loop, const struct addr *to, struct addr *ret_local)
{
    struct sim_loop *l = sim_loop_of(loop);
    struct addr any = {.family = to->family};
    if (!sim_alive(l))
        return ERR_STATE;
    return sim_source(l->proc->host, &any, to, ret_local);
}

void sim_udp_kill(struct sim_loop *l)
{
    LIST_EACH (b, &l->udps, struct sim_bound, by_loop)
        sim_unbind(b);
}

void sim_udp_free_all(struct sim_loop *l)
{
    LIST_EACH_SAFE (b, &l->udps, struct sim_bound, by_loop)
        free_socket(CONTAINER(b, struct sim_udp, bound));
}
