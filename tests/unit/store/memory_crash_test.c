/* SPDX-License-Identifier: MIT */
/* memory_crash_test.c: what was acknowledged is there after any crash.
 *
 * Clients on every worker read, change and remove the sets of a few addresses of record, while logs are
 * synced and compacted. Every change has a number of its own (the cseq of its binding). What is recovered
 * must be the last acknowledged change of each address, or one that was under way and came after it. */
#include "memory_run.h"

enum { AORS_MAX = 80, CLIENTS = 8, CHANGES_MAX = 20000 };

struct change {
    unsigned aor;
    uint32_t cseq;    /* 0: a removal */
    uint64_t version; /* as the table gave it; 0: it never got one */
    bool acked;
    usec at; /* when it was acknowledged */
};

struct client {
    struct scenario *sc;
    struct loop *loop;
    struct timer next;
    struct arena arena;
    struct store_bindings read;
    struct store_update write;
    struct binding binding;
    unsigned change; /* under way, with write */
    bool writing;
};

struct scenario {
    struct world w;
    struct client client[CLIENTS];
    struct change change[CHANGES_MAX]; /* the first: what was recovered, one an address */
    unsigned n;
    unsigned acked, refused, removed, busy;
    unsigned aors;
    bool once; /* the disk fails for the first refused change only */
    uint32_t cseq;
};

static char aor_name[AORS_MAX][16];

static void again(struct client *k)
{
    loop_timer(k->loop, &k->next, 1 + (usec)(loop_random(k->loop) % (8 * USEC_MS)));
}

static void on_written(struct store_op *op, enum err rc)
{
    struct client *k = op->arg;
    struct scenario *sc = k->sc;
    struct change *c = &sc->change[k->change];
    k->writing = false;
    if (rc == ERR_BUSY) {
        sc->busy++;
        sc->change[k->change].version = 0;
    } else {
        c->version = k->write.version;
        c->acked = rc == ERR_OK;
        c->at = loop_now(k->loop);
        sc->acked += c->acked;
        sc->removed += c->acked && !c->cseq;
        sc->refused += rc == ERR_IO;
        if (rc == ERR_IO && sc->once)
            sim_disk_fail_after(sc->w.h, 0);
        assert_true(rc == ERR_OK || rc == ERR_IO);
        if (rc == ERR_IO && c->version == k->read.version)
            c->version = 0; /* refused before the table saw it */
    }
    again(k);
}

static void on_read(struct store_op *op, enum err rc)
{
    struct client *k = op->arg;
    struct scenario *sc = k->sc;
    assert_int_equal(rc, ERR_OK);
    bool remove = k->read.version && loop_random(k->loop) % 3 == 0;
    assert_true(sc->n < CHANGES_MAX);
    k->change = sc->n++;
    struct change *c = &sc->change[k->change];
    *c = (struct change){.cseq = remove ? 0 : ++sc->cseq};
    while (!sv_eq(k->read.aor, sv_of(aor_name[c->aor])))
        c->aor++;
    k->binding = plain(&sc->w, c->cseq, USEC_DAY);
    k->write.aor = k->read.aor;
    k->write.bindings = &k->binding;
    k->write.n = !remove;
    k->write.version = k->read.version;
    k->writing = true;
    sc->w.loc->ops->update(sc->w.loc, k->loop, &k->write);
}

static void on_next(struct timer *t, void *arg)
{
    struct client *k = arg;
    (void)t;
    arena_reset(&k->arena);
    k->read.arena = &k->arena;
    k->read.aor = sv_of(aor_name[loop_random(k->loop) % k->sc->aors]);
    k->read.wall = loop_wall(k->loop);
    k->sc->w.loc->ops->bindings(k->sc->w.loc, k->loop, &k->read);
}

static void clients_start(struct scenario *sc)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *k = &sc->client[i];
        *k = (struct client){.sc = sc, .loop = sc->w.g->loop[i % sc->w.g->n]};
        arena_init(&k->arena, NULL, 0, 1 << 20);
        store_op_init(&k->read.op, on_read, k);
        store_op_init(&k->write.op, on_written, k);
        timer_init(&k->next, on_next, k);
        again(k);
    }
}

static void clients_pause(struct scenario *sc)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        loop_timer_cancel(sc->client[i].loop, &sc->client[i].next);
}

/* The process is gone. Changes under way may have happened, if the table had seen them. */
static void clients_end(struct scenario *sc)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *k = &sc->client[i];
        if (k->writing && k->write.version != k->read.version)
            sc->change[k->change].version = k->write.version;
        arena_done(&k->arena);
    }
}

static void fail_at(const struct scenario *sc, unsigned aor, const char *what, uint64_t got,
                    uint64_t want)
{
    (void)sc;
    print_error("%s: %s: version %llu, last acknowledged %llu\n", aor_name[aor], what,
                (unsigned long long)got, (unsigned long long)want);
    fail();
}

/* What is there now is allowed by the history up to `promised` (acknowledged by then: there). The history begins anew with it. */
static void check(struct scenario *sc, usec promised)
{
    struct change now[AORS_MAX];
    for (unsigned i = 0; i < sc->aors; i++) {
        struct arena a;
        struct store_bindings b;
        uint64_t last = 0;
        arena_init(&a, NULL, 0, 1 << 20);
        assert_int_equal(world_get(&sc->w, 0, aor_name[i], &a, &b), ERR_OK);
        now[i] = (struct change){.aor = i, .version = b.version, .acked = true};
        if (b.version) {
            assert_int_equal(b.n, 1);
            now[i].cseq = b.bindings[0].cseq;
        }
        arena_done(&a);
        for (unsigned c = 0; c < sc->n; c++)
            if (sc->change[c].aor == i && sc->change[c].acked && sc->change[c].at <= promised &&
                sc->change[c].version > last)
                last = sc->change[c].version;
        bool found = b.version == 0 && last == 0;
        for (unsigned c = 0; c < sc->n && !found; c++)
            found = sc->change[c].aor == i && sc->change[c].version >= last &&
                    sc->change[c].version && sc->change[c].cseq == now[i].cseq &&
                    (sc->change[c].version == b.version || !now[i].cseq);
        if (!found)
            fail_at(sc, i, now[i].cseq ? "not what it should be" : "lost", b.version, last);
    }
    memcpy(sc->change, now, sc->aors * sizeof now[0]);
    sc->n = sc->aors;
}

static struct scenario *scenario(uint64_t seed)
{
    static struct scenario sc;
    memset(&sc, 0, sizeof sc);
    for (unsigned i = 0; i < AORS_MAX; i++)
        snprintf(aor_name[i], sizeof aor_name[i], "u%u@example.com", i);
    world_start(&sc.w, seed);
    sc.w.c.sync = 20 * USEC_MS;
    sc.w.c.compact_min = 3000;
    sc.aors = 6;
    return &sc;
}

/* The failing operation of a run is its nth; then the process dies, and the next one recovers. False: it had fewer. */
static bool crash_at(uint64_t seed, unsigned n, enum world_end how, unsigned *acked)
{
    struct scenario *sc = scenario(seed);
    usec never = how == END_POWER ? -1 : USEC_NEVER;
    world_up(&sc->w, 4);
    clients_start(sc);
    sim_disk_fail_after(sc->w.h, n);
    world_run(&sc->w, 150 * USEC_MS);
    bool failed = sc->refused > 0;
    world_down(&sc->w, how);
    clients_end(sc);
    world_up(&sc->w, 2); /* fewer workers read what more have written */
    /* After power loss in a broken disk only this is promised: nothing that never was. */
    check(sc, never);
    *acked += sc->acked;
    clients_start(sc);
    world_run(&sc->w, 40 * USEC_MS);
    world_down(&sc->w, END_KILL);
    clients_end(sc);
    world_up(&sc->w, 4);
    check(sc, USEC_NEVER);
    world_down(&sc->w, END_ORDERLY);
    world_up(&sc->w, 1);
    check(sc, USEC_NEVER);
    world_down(&sc->w, END_ORDERLY);
    world_end(&sc->w);
    return failed;
}

static void a_crash_inside_any_disk_operation_loses_nothing_acknowledged(void **state)
{
    (void)state;
    unsigned n = 0, acked = 0, quiet = 0;
    while (quiet < 25 && n < 2000) {
        n++;
        quiet = crash_at(77, n, END_KILL, &acked) ? 0 : quiet + 1;
    }
    print_message("%u operations, %u changes acknowledged before the crashes\n", n, acked);
    assert_in_range(n, 150, 1999);
    assert_true(acked > 5000);
}

static void power_lost_inside_any_disk_operation_leaves_only_what_was(void **state)
{
    (void)state;
    unsigned acked = 0;
    for (unsigned n = 1; n < 250; n += 2)
        crash_at(1000 + n, n, END_POWER, &acked);
}

/* Recovery is interrupted too, at each of its operations; the next one finds all. */
static bool recovery_crash_at(unsigned n, enum world_end how)
{
    struct scenario *sc = scenario(5);
    world_up(&sc->w, 4);
    clients_start(sc);
    world_run(&sc->w, 100 * USEC_MS);
    clients_pause(sc);
    world_run(&sc->w, 200 * USEC_MS); /* all is synced */
    world_down(&sc->w, END_KILL);
    clients_end(sc);
    assert_true(sc->acked > 100);
    sim_disk_fail_after(sc->w.h, n);
    bool failed = world_try_up(&sc->w, 3) != ERR_OK;
    world_down(&sc->w, how);
    world_up(&sc->w, 2);
    check(sc, USEC_NEVER);
    world_down(&sc->w, END_KILL);
    world_end(&sc->w);
    return failed;
}

static void a_crash_during_recovery_loses_nothing(void **state)
{
    (void)state;
    for (int how = END_KILL; how <= END_POWER; how++) {
        unsigned n = 1;
        while (recovery_crash_at(n, (enum world_end)how))
            n++;
        assert_in_range(n, 20, 200);
    }
}

static void power_loss_takes_at_most_what_was_not_synced(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (unsigned i = 0; i < 60; i++) {
        struct scenario *sc = scenario(i);
        sc->aors = AORS_MAX; /* so many that most have not changed again since they were synced */
        if (i % 2)
            sc->w.c.compact_min = 1 << 20; /* the first generation must last, too */
        world_up(&sc->w, 4);
        clients_start(sc);
        for (unsigned round = 0; round < 4; round++) {
            world_run(&sc->w, 30 * USEC_MS + (usec)(sim_random(sc->w.s) % (200 * USEC_MS)));
            /* sync, and the latest start and end of its job in the simulation */
            usec promised = sim_now(sc->w.s) - (sc->w.c.sync + 2 * 20 * USEC_MS + 2 * USEC_MS);
            unsigned before = sc->n;
            uint64_t last[AORS_MAX] = {0};
            world_down(&sc->w, END_POWER);
            clients_end(sc);
            for (unsigned c = 0; c < before; c++)
                if (sc->change[c].acked && sc->change[c].version > last[sc->change[c].aor])
                    last[sc->change[c].aor] = sc->change[c].version;
            world_up(&sc->w, 4);
            check(sc, promised);
            for (unsigned a = 0; a < sc->aors; a++)
                lost += sc->change[a].version && sc->change[a].version < last[a];
            clients_start(sc);
        }
        world_down(&sc->w, END_ORDERLY);
        clients_end(sc);
        world_end(&sc->w);
    }
    assert_true(lost > 0); /* the simulation does take what is not synced */
}

static unsigned files;
static bool count_file(sv name, void *arg)
{
    (void)arg;
    files += sv_starts(name, SV("location."));
    return true;
}

/* Changes from four workers form one history: each is made on top of the one before. */
static void changes_of_four_workers_are_one_history(void **state)
{
    (void)state;
    struct scenario *sc = scenario(3);
    sc->w.c.compact_min = 20000;
    world_up(&sc->w, 4);
    clients_start(sc);
    world_run(&sc->w, 5 * USEC_S);
    world_down(&sc->w, END_KILL);
    clients_end(sc);
    assert_true(sc->busy > 10);
    assert_true(sc->removed > 100);
    for (unsigned i = 0; i < sc->n; i++)
        for (unsigned k = 0; k < i; k++)
            if (sc->change[i].aor == sc->change[k].aor && sc->change[i].version)
                assert_int_not_equal(sc->change[i].version, sc->change[k].version);
    world_up(&sc->w, 4);
    check(sc, USEC_NEVER);
    files = 0;
    assert_int_equal(disk_list(sim_disk(sc->w.h), sv_of(folder), count_file, NULL), ERR_OK);
    assert_in_range(files, 5, 16); /* compaction removes what it covers */
    world_down(&sc->w, END_KILL);
    world_end(&sc->w);
}

static void a_disk_that_comes_back_is_healed(void **state)
{
    (void)state;
    unsigned failures = 0;
    for (unsigned n = 1; n < 60; n++) {
        struct scenario *sc = scenario(n);
        world_up(&sc->w, 4);
        clients_start(sc);
        world_run(&sc->w, 50 * USEC_MS);
        sim_disk_fail_after(sc->w.h, n);
        world_run(&sc->w, 100 * USEC_MS);
        sim_disk_fail_after(sc->w.h, 0);
        failures += sc->refused;
        clients_pause(sc);
        world_run(&sc->w, 12 * USEC_S); /* the longest wait between two tries is less */
        for (unsigned i = 0; i < CLIENTS; i++)
            again(&sc->client[i]);
        sc->refused = 0;
        unsigned before = sc->acked;
        world_run(&sc->w, 200 * USEC_MS);
        assert_true(sc->acked > before + 50);
        assert_int_equal(sc->refused, 0);
        world_down(&sc->w, END_KILL);
        clients_end(sc);
        world_up(&sc->w, 4);
        check(sc, USEC_NEVER);
        world_down(&sc->w, END_KILL);
        world_end(&sc->w);
    }
    assert_true(failures > 100);
}

/* A write that broke in its middle has left a torn record in its log. What is acknowledged after it must not be
 * lost behind it. */
static void nothing_is_written_behind_a_broken_record(void **state)
{
    (void)state;
    unsigned broken = 0;
    for (unsigned n = 1; n < 120; n++) {
        struct scenario *sc = scenario(n);
        sc->w.c.compact_min = 1 << 20;
        sc->w.c.sync = 10 * USEC_S;
        sc->once = true;
        world_up(&sc->w, 4);
        clients_start(sc);
        sim_disk_fail_after(sc->w.h, n);
        world_run(&sc->w, 300 * USEC_MS);
        broken += sc->refused > 0;
        world_down(&sc->w, END_KILL);
        clients_end(sc);
        world_up(&sc->w, 4);
        check(sc, USEC_NEVER);
        world_down(&sc->w, END_KILL);
        world_end(&sc->w);
    }
    assert_true(broken > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_inside_any_disk_operation_loses_nothing_acknowledged),
        cmocka_unit_test(power_lost_inside_any_disk_operation_leaves_only_what_was),
        cmocka_unit_test(a_crash_during_recovery_loses_nothing),
        cmocka_unit_test(power_loss_takes_at_most_what_was_not_synced),
        cmocka_unit_test(changes_of_four_workers_are_one_history),
        cmocka_unit_test(nothing_is_written_behind_a_broken_record),
        cmocka_unit_test(a_disk_that_comes_back_is_healed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
