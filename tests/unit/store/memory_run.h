/* SPDX-License-Identifier: MIT */
/* A location service on a simulated host, for tests: life of its process, operations that wait. */
#ifndef MEMORY_RUN_H
#define MEMORY_RUN_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "memory/memory.h"
#include "sim/sim.h"

static const char folder[] = "/var/lib/tandem";

struct world {
    struct sim *s;
    struct sim_host *h;
    struct loop_group *g;
    struct store_location *loc; /* NULL: down */
    struct memory_config c;
    struct memory_report report;
    size_t live;
};

static inline void world_start(struct world *w, uint64_t seed)
{
    struct addr ip;
    *w = (struct world){.live = mem_live()};
    assert_int_equal(addr_parse_ip(SV("192.0.2.1"), 0, &ip), ERR_OK);
    assert_int_equal(sim_new(seed, &w->s), ERR_OK);
    assert_int_equal(sim_host_new(w->s, "a", &ip, 1, &w->h), ERR_OK);
    assert_int_equal(disk_mkdir(sim_disk(w->h), sv_of(folder), 0700), ERR_OK);
    w->c = (struct memory_config){
        .disk = sim_disk(w->h),
        .folder = sv_of(folder),
        .seed = {1, 2, 3},
        .sync = 100 * USEC_MS,
        .compact_min = 4 << 20,
    };
}

/* A process that recovers, and what memory_open said. */
static inline enum err world_try_up(struct world *w, unsigned workers)
{
    assert_int_equal(sim_process(w->h, workers, &w->g), ERR_OK);
    sim_run_until(w->s, sim_now(w->s)); /* sets the clocks */
    w->c.group = w->g;
    w->c.wall = loop_wall(w->g->loop[0]);
    w->loc = NULL;
    return memory_open(&w->c, &w->loc, &w->report);
}

static inline void world_up(struct world *w, unsigned workers)
{
    assert_int_equal(world_try_up(w, workers), ERR_OK);
}

enum world_end { END_ORDERLY, END_KILL, END_POWER };

static inline void world_down(struct world *w, enum world_end how)
{
    if (how == END_ORDERLY)
        sim_process_stop(w->h);
    else
        sim_process_kill(w->h, how == END_POWER);
    if (w->loc)
        w->loc->ops->close(w->loc);
    w->loc = NULL;
    sim_process_free(w->h);
}

static inline void world_end(struct world *w)
{
    sim_free(w->s);
    assert_int_equal(mem_live(), w->live);
}

static inline void world_run(struct world *w, usec d)
{
    sim_run_until(w->s, sim_now(w->s) + d);
}

/* ---- operations that wait ---- */

struct waiter {
    bool done;
    enum err rc;
};

static inline void waiter_done(struct store_op *op, enum err rc)
{
    struct waiter *k = op->arg;
    assert_false(k->done);
    *k = (struct waiter){true, rc};
}

static inline bool waiter_is_done(void *arg)
{
    return ((struct waiter *)arg)->done;
}

static inline enum err world_wait(struct world *w, struct waiter *k)
{
    assert_false(k->done); /* never before the call returns */
    assert_true(sim_run_when(w->s, sim_now(w->s) + USEC_MIN, waiter_is_done, k));
    return k->rc;
}

/* The caller's binding takes the place of all of aor; NULL removes. version: in and out. */
static inline enum err world_set(struct world *w, unsigned worker, const char *aor,
                                 const struct binding *b, size_t n, uint64_t *version)
{
    struct waiter k = {0};
    struct store_update u = {.aor = sv_of(aor), .bindings = b, .n = n, .version = *version};
    store_op_init(&u.op, waiter_done, &k);
    w->loc->ops->update(w->loc, w->g->loop[worker], &u);
    enum err rc = world_wait(w, &k);
    *version = u.version;
    return rc;
}

static inline enum err world_get(struct world *w, unsigned worker, const char *aor, struct arena *a,
                                 struct store_bindings *ret)
{
    struct waiter k = {0};
    struct store_bindings b = {.arena = a, .aor = sv_of(aor)};
    b.wall = loop_wall(w->g->loop[worker]);
    store_op_init(&b.op, waiter_done, &k);
    w->loc->ops->bindings(w->loc, w->g->loop[worker], &b);
    enum err rc = world_wait(w, &k);
    *ret = b;
    return rc;
}

/* One plain binding, told by its cseq. */
static inline struct binding plain(struct world *w, uint32_t cseq, usec lasts)
{
    return (struct binding){
        .uri = SV("sip:alice@192.0.2.9:5060"),
        .call_id = SV("c1@192.0.2.9"),
        .cseq = cseq,
        .expires = loop_wall(w->g->loop[0]) + lasts,
        .remote = {.ip = {192, 0, 2, 9}, .port = 5060, .family = 4},
    };
}

static inline void put(struct world *w, const char *aor, uint32_t cseq, usec lasts)
{
    struct arena a;
    struct store_bindings now;
    struct binding b = plain(w, cseq, lasts);
    arena_init(&a, NULL, 0, 1 << 20);
    assert_int_equal(world_get(w, 0, aor, &a, &now), ERR_OK);
    assert_int_equal(world_set(w, 0, aor, &b, 1, &now.version), ERR_OK);
    arena_done(&a);
}

/* The cseq of the one binding of aor; 0: none. */
static inline uint32_t has(struct world *w, const char *aor)
{
    struct arena a;
    struct store_bindings now;
    arena_init(&a, NULL, 0, 1 << 20);
    assert_int_equal(world_get(w, 0, aor, &a, &now), ERR_OK);
    uint32_t cseq = now.n ? now.bindings[0].cseq : 0;
    arena_done(&a);
    return cseq;
}

#endif
