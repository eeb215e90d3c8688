/* SPDX-License-Identifier: MIT */
/* sim/sim.c: the simulation as a whole: hosts, processes, the run. */
#include "sim/sim_priv.h"
#include <stdlib.h>

enum { ZONE_MEMORY_MAX = 64 * 1024 * 1024 };

/* ---- the simulation ---- */

enum err sim_new(uint64_t seed, struct sim **ret_sim)
{
    struct sim *s = sim_need(calloc(1, sizeof(*s)));
    s->seed = seed;
    rng_seed(&s->rng, seed);
    rng_seed(&s->scenario, sim_mix(seed, 1));
    s->wire = (struct sim_wire){.delay_min = 200, .delay_max = 2 * USEC_MS};
    s->trace_hash = sim_mix(0, seed);
    list_init(&s->conns);
    arena_init(&s->zone_memory, NULL, 0, ZONE_MEMORY_MAX);
    if (hash_init(&s->by_ip, 64) || hash_init(&s->by_addr, 64) || hash_init(&s->zone, 64) ||
        block_pool_new(0, &s->blocks)) {
        sim_free(s);
        return ERR_NOMEM;
    }
    *ret_sim = s;
    return ERR_OK;
}

/* What an event that will not happen still holds. */
static void drop_event(struct event *e)
{
    if (e->kind == EV_DATAGRAM)
        block_unref(e->datagram.octets);
    else if (e->kind == EV_UDP_ERROR)
        block_unref(e->error.quoted);
    else if (e->kind >= EV_SYN)
        sim_stream_event_drop(e);
}

void sim_free(struct sim *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->hosts_n; i++) {
        struct sim_host *h = s->hosts[i];
        if (h->proc && !h->proc->dead && !h->proc->stopped)
            sim_process_stop(h);
        sim_process_free(h);
    }
    for (size_t i = 0; i < s->queue.n; i++)
        drop_event(s->queue.heap[i].ev);
    assert(list_empty(&s->conns)); /* ends and events were all that held them */
    for (size_t i = 0; i < s->hosts_n; i++) {
        sim_disk_done(&s->hosts[i]->disk);
        free(s->hosts[i]->ips);
        free(s->hosts[i]);
    }
    free(s->hosts);
    free(s->cuts);
    queue_done(&s->queue);
    hash_done(&s->by_ip);
    hash_done(&s->by_addr);
    hash_done(&s->zone);
    arena_done(&s->zone_memory);
    block_pool_free(s->blocks);
    free(s);
}

usec sim_now(const struct sim *s)
{
    return s->now;
}

uint64_t sim_random(struct sim *s)
{
    return rng_next(&s->scenario);
}

void sim_set_wire(struct sim *s, const struct sim_wire *w)
{
    s->wire = *w;
}

void sim_partition(struct sim *s, struct sim_host *a, struct sim_host *b, bool on)
{
    for (size_t i = s->cuts_n; i-- > 0;)
        if ((s->cuts[i][0] == a->id && s->cuts[i][1] == b->id) ||
            (s->cuts[i][0] == b->id && s->cuts[i][1] == a->id))
            memmove(s->cuts[i], s->cuts[--s->cuts_n], sizeof(s->cuts[i]));
    if (!on)
        return;
    SIM_GROW(s->cuts, s->cuts_n, s->cuts_cap);
    s->cuts[s->cuts_n][0] = a->id;
    s->cuts[s->cuts_n++][1] = b->id;
}

void sim_random_steering(struct sim *s, bool on)
{
    s->random_steering = on;
}

/* ---- hosts ---- */

enum err sim_host_new(struct sim *s, const char *name, const struct addr *ips, size_t n,
                      struct sim_host **ret_host)
{
    struct sim_host *h = sim_need(calloc(1, sizeof(*h)));
    h->sim = s;
    h->id = (unsigned)s->hosts_n;
    sv label = sv_sub(sv_of(name), 0, sizeof(h->name) - 1);
    memcpy(h->name, label.p, label.n);
    h->ips = sim_need(calloc(n ? n : 1, sizeof(*h->ips)));
    h->ips_n = n;
    h->next_port = (uint16_t)rng_next(&s->rng);
    for (size_t i = 0; i < n; i++) {
        h->ips[i].ip = ips[i];
        h->ips[i].ip.port = 0;
        h->ips[i].host = h;
        hash_insert(&s->by_ip, &h->ips[i].by_ip, sim_addr_hash(&h->ips[i].ip));
    }
    sim_disk_init(&h->disk, h);
    SIM_GROW(s->hosts, s->hosts_n, s->hosts_cap);
    s->hosts[s->hosts_n++] = h;
    *ret_host = h;
    return ERR_OK;
}

struct disk *sim_disk(struct sim_host *h)
{
    return &h->disk.disk;
}

void sim_disk_fail_after(struct sim_host *h, unsigned n)
{
    h->disk.fail_in = n;
    h->disk.failed = false;
}

bool sim_disk_failed(const struct sim_host *h)
{
    return h->disk.failed;
}

/* ---- processes ---- */

enum err sim_process(struct sim_host *h, unsigned workers, struct loop_group **ret_group)
{
    if (h->proc)
        return ERR_STATE;
    assert(workers >= 1 && workers <= LOOP_WORKERS_MAX);
    struct sim_process *p = sim_need(calloc(1, sizeof(*p)));
    p->host = h;
    p->loops = sim_need(calloc(workers, sizeof(*p->loops)));
    for (unsigned i = 0; i < workers; i++) {
        struct sim_loop *l = &p->loops[i];
        enum err rc = loop_init(&l->loop, &sim_loop_ops, &p->group, i, h->sim->now, 0);
        if (rc) {
            while (i-- > 0)
                loop_done(&p->loops[i].loop);
            free(p->loops);
            free(p);
            return rc;
        }
        p->group.loop[p->group.n++] = &l->loop;
        sim_loop_init(l, p, i);
        sim_loop_sync(l);
    }
    h->proc = p;
    h->sim->fresh = true;
    h->births++;
    h->down = false;
    sim_trace_host(h->sim, "start", h, SV_NONE, workers);
    *ret_group = &p->group;
    return ERR_OK;
}

/* A process may not end itself from its own callbacks: its frames are still on the stack. */
static void assert_not_own_turn(const struct sim_process *p)
{
    assert(!p->host->sim->turn || p->host->sim->turn->proc != p);
    (void)p;
}

static void stopping(struct sim_process *p)
{
    for (unsigned i = 0; i < p->group.n; i++)
        p->group.loop[i]->stopping = true;
}

void sim_process_stop(struct sim_host *h)
{
    struct sim_process *p = h->proc;
    if (!p || p->dead || p->stopped)
        return;
    assert_not_own_turn(p);
    sim_trace_host(h->sim, "stop", h, SV_NONE, 0);
    stopping(p);
    for (unsigned i = 0; i < p->group.n; i++)
        sim_loop_drain(&p->loops[i]);
    for (unsigned i = 0; i < p->group.n; i++) {
        loop_run_deferred(&p->loops[i].loop);
        sim_loop_unwake(&p->loops[i]);
    }
    p->stopped = true;
}

void sim_process_kill(struct sim_host *h, bool power)
{
    struct sim_process *p = h->proc;
    if (!p || p->dead)
        return;
    assert_not_own_turn(p);
    sim_trace_host(h->sim, "kill", h, SV_NONE, power);
    p->dead = true;
    h->down = power;
    sim_disk_kill(&h->disk, power);
    stopping(p);
    for (unsigned i = 0; i < p->group.n; i++) {
        sim_loop_unwake(&p->loops[i]);
        sim_udp_kill(&p->loops[i]);
        sim_streams_kill(&p->loops[i], power);
        sim_dns_kill(&p->loops[i]);
    }
    /* Jobs and mail in flight belong to nobody else: their handlers free them, seeing loop_stopping
     * and a dead disk. */
    for (unsigned i = 0; i < p->group.n; i++)
        sim_loop_drain(&p->loops[i]);
}

void sim_process_free(struct sim_host *h)
{
    struct sim_process *p = h->proc;
    if (!p)
        return;
    assert_not_own_turn(p);
    assert(p->dead || p->stopped);
    for (unsigned i = 0; i < p->group.n; i++) {
        struct sim_loop *l = &p->loops[i];
        sim_udp_free_all(l);
        sim_streams_free_all(l);
        sim_dns_free_all(l);
        loop_done(&l->loop);
    }
    sim_disk_revive(&h->disk);
    h->proc = NULL;
    free(p->loops);
    free(p);
}

/* ---- the run ---- */

static void happen(struct sim *s)
{
    struct event *e = sim_pop(s, &s->now);
    switch (e->kind) {
    case EV_WAKE:
        sim_on_wake(s, e);
        break;
    case EV_DATAGRAM:
        sim_on_datagram(s, e);
        break;
    case EV_UDP_ERROR:
        sim_on_udp_error(s, e);
        break;
    case EV_MAIL:
        sim_on_mail(s, e);
        break;
    case EV_WORK:
        sim_on_work(s, e);
        break;
    case EV_DONE:
        sim_on_done(s, e);
        break;
    case EV_DNS:
        sim_on_dns(s, e);
        break;
    case EV_SYN:
    case EV_OPEN:
    case EV_OCTETS:
    case EV_READ:
    case EV_ACK:
    case EV_FIN:
    case EV_RESET:
        sim_on_stream(s, e);
        break;
    }
    sim_event_free(s, e);
}

/* Clocks and wakes of all loops, for what is done between runs. */
static void sync_loops(struct sim *s)
{
    for (size_t i = 0; i < s->hosts_n; i++) {
        struct sim_process *p = s->hosts[i]->proc;
        for (unsigned k = 0; p && k < p->group.n; k++)
            sim_loop_sync(&p->loops[k]);
    }
}

bool sim_run_when(struct sim *s, usec t, bool (*pred)(void *arg), void *arg)
{
    bool held = pred && pred(arg);
    assert(!s->running && !s->turn);
    s->running = true;
    s->fresh = true;
    for (;;) {
        if (s->fresh)
            sync_loops(s);
        s->fresh = false;
        if (held || !s->queue.n || s->queue.heap[0].at > t)
            break;
        happen(s);
        held = pred && pred(arg);
    }
    if (!held && t != USEC_NEVER && t > s->now)
        s->now = t;
    sync_loops(s);
    s->running = false;
    return held;
}

void sim_run_until(struct sim *s, usec t)
{
    sim_run_when(s, t, NULL, NULL);
}
