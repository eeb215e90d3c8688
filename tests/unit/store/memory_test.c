/* SPDX-License-Identifier: MIT */
/* memory_test.c: bindings in memory: sets and versions, expiry, files read back, threads. Crashes: memory_crash_test.c. */
#include "memory_run.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include "crypto/crypto.h"
#include "worker/worker.h"

/* ---- sets ---- */

static struct binding full(struct world *w)
{
    return (struct binding){
        .uri = SV("sip:alice@[2001:db8::9]:5061;transport=tcp;ob"),
        .params = SV(";+sip.instance=\"<urn:uuid:1>\";q=0.5"),
        .call_id = SV("843817637684230@998sdasdh09"),
        .cseq = UINT32_MAX,
        .q = 500,
        .expires = loop_wall(w->g->loop[0]) + USEC_HOUR,
        .since = loop_wall(w->g->loop[0]) - USEC_HOUR,
        .agent = SV("Phone/1.0"),
        .path = SV("<sip:p1.example.com;lr>,<sip:p2.example.com;lr>"),
        .instance = SV("<urn:uuid:1>"),
        .reg_id = UINT32_MAX,
        .push = SV("pn-provider=webhook;pn-prid=a;pn-param=b"),
        .gruu = SV("seed"),
        .transport = 2,
        .listener = 255,
        .worker = 3,
        .by_flow = true,
        .conn = UINT64_MAX,
        .epoch = 7,
        .local = {.ip = {10, 0, 0, 1}, .port = 5060, .family = 4},
        .remote = {.ip = {0xfe, 0x80, [15] = 9}, .scope = 4, .port = 65535, .family = 6},
    };
}

static void expect_equal(const struct binding *a, const struct binding *b)
{
    assert_true(sv_eq(a->uri, b->uri));
    assert_true(sv_eq(a->params, b->params));
    assert_int_equal(sv_present(a->params), sv_present(b->params));
    assert_true(sv_eq(a->call_id, b->call_id));
    assert_int_equal(a->cseq, b->cseq);
    assert_int_equal(a->q, b->q);
    assert_int_equal(a->expires, b->expires);
    assert_int_equal(a->since, b->since);
    assert_true(sv_eq(a->agent, b->agent));
    assert_true(sv_eq(a->path, b->path));
    assert_int_equal(sv_present(a->path), sv_present(b->path));
    assert_true(sv_eq(a->instance, b->instance));
    assert_int_equal(sv_present(a->instance), sv_present(b->instance));
    assert_int_equal(a->reg_id, b->reg_id);
    assert_true(sv_eq(a->push, b->push));
    assert_true(sv_eq(a->gruu, b->gruu));
    assert_int_equal(a->transport, b->transport);
    assert_int_equal(a->listener, b->listener);
    assert_int_equal(a->worker, b->worker);
    assert_int_equal(a->by_flow, b->by_flow);
    assert_true(a->conn == b->conn && a->epoch == b->epoch);
    assert_true(addr_equal(&a->local, &b->local));
    assert_true(addr_equal(&a->remote, &b->remote));
}

static void every_field_survives_memory_log_and_snapshot(void **state)
{
    (void)state;
    struct world w;
    struct arena a;
    struct store_bindings got;
    uint64_t version = 0;
    world_start(&w, 1);
    world_up(&w, 2);
    arena_init(&a, NULL, 0, 1 << 20);
    struct binding set[3] = {full(&w), plain(&w, 1, USEC_HOUR), plain(&w, 2, USEC_HOUR)};
    set[1].params = SV("");
    assert_int_equal(world_set(&w, 1, "alice@example.com", set, 3, &version), ERR_OK);
    for (int round = 0; round < 4; round++) {
        assert_int_equal(world_get(&w, 0, "alice@example.com", &a, &got), ERR_OK);
        assert_int_equal(got.n, 3);
        assert_true(got.version == version);
        for (int i = 0; i < 3; i++)
            expect_equal(&got.bindings[i], &set[i]);
        if (round == 1) {
            memory_compact(w.loc, w.g->loop[1]);
            world_run(&w, USEC_S);
        }
        world_down(&w, round % 2 ? END_KILL : END_ORDERLY);
        world_up(&w, 1 + (unsigned)round);
        assert_int_equal(w.report.aors, 1);
        assert_int_equal(w.report.bindings, 3);
        assert_int_equal(w.report.records, 1);
        assert_int_equal(loop_stat(w.g, STAT_REGISTRATIONS), 1);
    }
    arena_done(&a);
    world_down(&w, END_ORDERLY);
    world_end(&w);
}

static void an_update_needs_the_version_that_was_read(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, 1);
    world_up(&w, 2);
    struct binding b = plain(&w, 1, USEC_HOUR);
    uint64_t version = 0, first, wrong = 99;
    assert_int_equal(world_set(&w, 0, "a@x", &b, 1, &wrong), ERR_BUSY);
    assert_int_equal(world_set(&w, 0, "a@x", NULL, 0, &version),
                     ERR_OK); /* none before, none now */
    assert_int_equal(loop_stat(w.g, STAT_JOURNAL_BYTES), 0);
    version = 0;
    assert_int_equal(world_set(&w, 0, "a@x", &b, 1, &version), ERR_OK);
    first = version;
    wrong = 0;
    assert_int_equal(world_set(&w, 1, "a@x", &b, 1, &wrong), ERR_BUSY);
    assert_int_equal(world_set(&w, 1, "a@x", &b, 1, &version), ERR_OK);
    assert_true(version > first);
    assert_int_equal(world_set(&w, 0, "a@x", NULL, 0, &first), ERR_BUSY);
    assert_int_equal(has(&w, "a@x"), 1);
    assert_int_equal(w.loc->ops->count(w.loc), 1);
    assert_int_equal(loop_stat(w.g, STAT_REGISTRATIONS), 1);
    int64_t octets = loop_stat(w.g, STAT_JOURNAL_BYTES);
    assert_true(octets > 0);
    assert_int_equal(world_set(&w, 0, "a@x", NULL, 0, &version), ERR_OK);
    assert_int_equal(has(&w, "a@x"), 0);
    assert_int_equal(w.loc->ops->count(w.loc), 0);
    assert_int_equal(loop_stat(w.g, STAT_REGISTRATIONS), 0);
    assert_true(loop_stat(w.g, STAT_JOURNAL_BYTES) > octets);
    world_run(&w, USEC_S);
    assert_in_range(loop_stat(w.g, STAT_JOURNAL_SYNCS), 1, 4);
    world_down(&w, END_KILL);
    world_up(&w, 1);
    assert_int_equal(has(&w, "a@x"), 0);
    assert_int_equal(w.report.records, 3);
    assert_int_equal(w.report.aors, 0);
    world_down(&w, END_ORDERLY);
    world_end(&w);
}

static void what_is_too_large_is_refused_and_leaves_no_trace(void **state)
{
    (void)state;
    struct world w;
    static char long_text[300000];
    uint64_t version = 0;
    memset(long_text, 'x', sizeof long_text);
    world_start(&w, 1);
    w.c.cap = 2;
    world_up(&w, 1);
    struct binding many[STORE_BINDINGS_MAX + 1];
    for (int i = 0; i <= STORE_BINDINGS_MAX; i++)
        many[i] = plain(&w, (uint32_t)i, USEC_HOUR);
    assert_int_equal(world_set(&w, 0, "a@x", many, STORE_BINDINGS_MAX + 1, &version), ERR_TOOBIG);
    assert_int_equal(world_set(&w, 0, "a@x", many, STORE_BINDINGS_MAX, &version), ERR_OK);
    version = 0;
    struct binding b = plain(&w, 1, USEC_HOUR);
    b.uri = (sv){long_text, sizeof long_text};
    assert_int_equal(world_set(&w, 0, "b@x", &b, 1, &version), ERR_TOOBIG);
    b = plain(&w, 1, USEC_HOUR);
    b.q = 1001;
    assert_int_equal(world_set(&w, 0, "b@x", &b, 1, &version), ERR_RANGE);
    b.q = 1000;
    long_text[5000] = 0;
    assert_int_equal(world_set(&w, 0, long_text, &b, 1, &version), ERR_TOOBIG);
    b.agent = (sv){long_text, 4000};
    assert_int_equal(world_set(&w, 0, "b@x", &b, 1, &version), ERR_OK);
    struct arena a;
    struct store_bindings got;
    arena_init(&a, NULL, 0, 1 << 20);
    assert_int_equal(world_get(&w, 0, "b@x", &a, &got), ERR_OK);
    assert_int_equal(got.bindings[0].agent.n, 128);
    arena_done(&a);
    version = 0;
    assert_int_equal(world_set(&w, 0, "c@x", &b, 1, &version), ERR_TOOBIG); /* the cap */
    world_down(&w, END_KILL);
    w.c.cap = 1; /* what is there stays */
    world_up(&w, 1);
    assert_int_equal(w.report.records, 2);
    assert_int_equal(w.report.aors, 2);
    assert_int_equal(world_set(&w, 0, "c@x", &b, 1, &version), ERR_TOOBIG);
    world_down(&w, END_ORDERLY);
    world_end(&w);
}

static void a_cancelled_operation_is_silent_and_its_change_stays(void **state)
{
    (void)state;
    struct world w;
    struct waiter k = {0};
    world_start(&w, 1);
    world_up(&w, 1);
    struct binding b = plain(&w, 5, USEC_HOUR);
    struct store_update u = {.aor = SV("a@x"), .bindings = &b, .n = 1}, busy = u;
    store_op_init(&u.op, waiter_done, &k);
    store_op_init(&busy.op, waiter_done, &k);
    w.loc->ops->update(w.loc, w.g->loop[0], &u);
    w.loc->ops->update(w.loc, w.g->loop[0], &busy);
    store_op_cancel(&u.op);
    store_op_cancel(&busy.op);
    world_run(&w, USEC_S);
    assert_false(k.done);
    world_down(&w, END_KILL);
    world_up(&w, 1);
    assert_int_equal(has(&w, "a@x"), 5);
    /* In flight when the process ends. */
    b = plain(&w, 6, USEC_HOUR);
    store_op_init(&u.op, waiter_done, &k);
    w.loc->ops->update(w.loc, w.g->loop[0], &u);
    world_down(&w, END_KILL);
    store_op_cancel(&u.op);
    assert_false(k.done);
    world_end(&w);
}

/* ---- the turn ---- */

struct burst {
    struct world *w;
    struct timer t;
    struct store_update u[50];
    struct binding b;
    char aor[50][16];
    unsigned done;
};

static void burst_done(struct store_op *op, enum err rc)
{
    struct burst *x = op->arg;
    assert_int_equal(rc, ERR_OK);
    x->done++;
}

static void burst_fire(struct timer *t, void *arg)
{
    struct burst *x = arg;
    (void)t;
    for (int i = 0; i < 50; i++) {
        snprintf(x->aor[i], sizeof x->aor[i], "u%d@x", i);
        x->u[i] = (struct store_update){.aor = sv_of(x->aor[i]), .bindings = &x->b, .n = 1};
        store_op_init(&x->u[i].op, burst_done, x);
        x->w->loc->ops->update(x->w->loc, x->w->g->loop[0], &x->u[i]);
    }
    assert_int_equal(x->done, 0);
}

static unsigned appends;
static void count_appends(sv line, void *arg)
{
    (void)arg;
    for (size_t i = 0; i + 11 <= line.n; i++)
        if (memcmp(line.p + i, "disk-append", 11) == 0) {
            appends++;
            return;
        }
}

static void a_turn_is_one_write(void **state)
{
    (void)state;
    struct world w;
    static struct burst x;
    world_start(&w, 1);
    world_up(&w, 1);
    x = (struct burst){.w = &w, .b = plain(&w, 1, USEC_HOUR)};
    timer_init(&x.t, burst_fire, &x);
    loop_timer(w.g->loop[0], &x.t, USEC_MS);
    appends = 0;
    sim_trace(w.s, count_appends, NULL);
    world_run(&w, 10 * USEC_MS);
    sim_trace(w.s, NULL, NULL);
    assert_int_equal(x.done, 50);
    assert_int_equal(appends, 1);
    world_down(&w, END_KILL);
    world_up(&w, 1);
    assert_int_equal(w.report.aors, 50);
    world_down(&w, END_ORDERLY);
    world_end(&w);
}

/* ---- expiry ---- */

static void what_has_expired_is_left_out_swept_and_not_recovered(void **state)
{
    (void)state;
    struct world w;
    struct arena a;
    struct store_bindings got;
    uint64_t version = 0;
    world_start(&w, 1);
    world_up(&w, 4);
    arena_init(&a, NULL, 0, 1 << 20);
    struct binding set[2] = {plain(&w, 1, 5 * USEC_S), plain(&w, 2, USEC_HOUR)};
    assert_int_equal(world_set(&w, 0, "two@x", set, 2, &version), ERR_OK);
    put(&w, "short@x", 3, 5 * USEC_S);
    put(&w, "longer@x", 4, 600 * USEC_S);
    put(&w, "longer@x", 5, 5 * USEC_S); /* shortened: the longer one must not come back */
    assert_int_equal(loop_stat(w.g, STAT_REGISTRATIONS), 3);
    world_run(&w, 5 * USEC_S);
    assert_int_equal(has(&w, "short@x"), 0);
    assert_int_equal(world_get(&w, 0, "two@x", &a, &got), ERR_OK);
    assert_int_equal(got.n, 1);
    assert_int_equal(got.bindings[0].cseq, 2);
    world_down(&w, END_KILL); /* not swept yet */
    world_up(&w, 4);
    assert_int_equal(w.report.aors, 1);
    assert_int_equal(w.report.bindings, 1);
    assert_int_equal(has(&w, "longer@x"), 0);
    assert_int_equal(has(&w, "two@x"), 2);
    put(&w, "short@x", 6, 5 * USEC_S);
    assert_int_equal(w.loc->ops->count(w.loc), 2);
    world_run(&w, 30 * USEC_S);
    assert_int_equal(w.loc->ops->count(w.loc), 1);
    assert_int_equal(loop_stat(w.g, STAT_REGISTRATIONS), 1);
    put(&w, "short@x", 7, USEC_HOUR); /* again after the sweep: newer than what the log has */
    world_down(&w, END_KILL);
    world_up(&w, 2);
    assert_int_equal(has(&w, "short@x"), 7);
    assert_int_equal(loop_stat(w.g, STAT_REGISTRATIONS), 2);
    arena_done(&a);
    world_down(&w, END_ORDERLY);
    world_end(&w);
}

static bool first_only(sv aor, const struct binding *b, size_t n, void *arg)
{
    unsigned *seen = arg;
    assert_true(sv_ends(aor, SV("@x")));
    assert_int_equal(n, 1);
    assert_true(b->cseq >= 1);
    return ++*seen < 3;
}

static void a_walk_meets_each_and_may_stop(void **state)
{
    (void)state;
    struct world w;
    char aor[16];
    unsigned seen = 0;
    world_start(&w, 1);
    world_up(&w, 1);
    put(&w, "gone@x", 1, USEC_S);
    world_run(&w, 2 * USEC_S);
    for (uint32_t i = 0; i < 2; i++) {
        snprintf(aor, sizeof aor, "u%u@x", i);
        put(&w, aor, i + 1, USEC_HOUR);
    }
    usec wall = loop_wall(w.g->loop[0]);
    assert_int_equal(w.loc->ops->each(w.loc, wall, first_only, &seen), ERR_OK);
    assert_int_equal(seen, 2);
    for (uint32_t i = 2; i < 9; i++) {
        snprintf(aor, sizeof aor, "u%u@x", i);
        put(&w, aor, i + 1, USEC_HOUR);
    }
    seen = 0;
    assert_int_equal(w.loc->ops->each(w.loc, wall, first_only, &seen), ERR_OK);
    assert_int_equal(seen, 3);
    world_down(&w, END_ORDERLY);
    world_end(&w);
}

static void each_process_has_an_epoch_of_its_own(void **state)
{
    (void)state;
    struct world w;
    uint64_t last = 0;
    world_start(&w, 1);
    for (int i = 0; i < 12; i++) {
        world_up(&w, 2);
        uint64_t epoch = w.loc->ops->epoch(w.loc);
        assert_true(epoch > last);
        last = epoch;
        if (i % 3 == 1)
            put(&w, "a@x", 1, USEC_HOUR);
        if (i % 4 == 2) {
            memory_compact(w.loc, w.g->loop[0]);
            world_run(&w, USEC_S);
            assert_true(w.loc->ops->epoch(w.loc) == epoch);
        }
        world_down(&w, i % 2 ? END_POWER : END_KILL);
    }
    world_end(&w);
}

/* ---- files ---- */

struct file {
    char name[96];
    char *p;
    size_t n;
};
static struct file kept[16];
static unsigned kept_n;

static bool keep_file(sv name, void *arg)
{
    struct world *w = arg;
    struct file *f = &kept[kept_n++];
    snprintf(f->name, sizeof f->name, "%s/" SV_FMT, folder, SV_ARG(name));
    assert_int_equal(disk_read(sim_disk(w->h), sv_of(f->name), 1 << 24, &f->p, &f->n), ERR_OK);
    return true;
}

static void keep_files(struct world *w)
{
    kept_n = 0;
    assert_int_equal(disk_list(sim_disk(w->h), sv_of(folder), keep_file, w), ERR_OK);
}

static struct file *kept_file(const char *name)
{
    for (unsigned i = 0; i < kept_n; i++)
        if (sv_ends(sv_of(kept[i].name), sv_of(name)))
            return &kept[i];
    fail_msg("no file %s", name);
    return NULL;
}

static void drop_kept(void)
{
    while (kept_n)
        mem_free(kept[--kept_n].p);
}

static bool remove_file(sv name, void *arg)
{
    char path[96];
    snprintf(path, sizeof path, "%s/" SV_FMT, folder, SV_ARG(name));
    assert_int_equal(disk_remove(arg, sv_of(path)), ERR_OK);
    return true;
}

static void write_file(struct world *w, const char *path, sv octets)
{
    struct disk_file *f;
    uint64_t size;
    assert_int_equal(disk_open(sim_disk(w->h), sv_of(path), true, &f, &size), ERR_OK);
    assert_int_equal(disk_append(f, &octets, 1), ERR_OK);
    disk_close(f);
}

/* The folder holds what was kept, the one file with other octets. */
static void restore(struct world *w, const struct file *changed, sv octets)
{
    struct disk *d = sim_disk(w->h);
    assert_int_equal(disk_list(d, sv_of(folder), remove_file, d), ERR_OK);
    for (unsigned i = 0; i < kept_n; i++)
        write_file(w, kept[i].name, &kept[i] == changed ? octets : (sv){kept[i].p, kept[i].n});
}

static void a_tail_cut_or_garbled_anywhere_is_dropped_and_reported(void **state)
{
    (void)state;
    struct world w;
    size_t end[4] = {32}; /* header, then three records */
    world_start(&w, 1);
    world_up(&w, 1);
    for (uint32_t i = 1; i <= 3; i++) {
        char aor[8];
        snprintf(aor, sizeof aor, "u%u@x", i);
        put(&w, aor, i, USEC_DAY);
        end[i] = 32 + (size_t)loop_stat(w.g, STAT_JOURNAL_BYTES);
    }
    world_down(&w, END_KILL);
    keep_files(&w);
    struct file *log = kept_file("location.1.0.log");
    assert_int_equal(log->n, end[3]);
    for (size_t cut = 0; cut < log->n; cut++) {
        unsigned whole = cut < end[1] ? 0 : cut < end[2] ? 1 : 2;
        restore(&w, log, (sv){log->p, cut});
        if (cut < end[0]) { /* never a torn header: see memory_file.c */
            assert_int_equal(world_try_up(&w, 1), ERR_CORRUPT);
            world_down(&w, END_KILL);
            continue;
        }
        world_up(&w, 1);
        assert_int_equal(w.report.aors, whole);
        assert_int_equal(w.report.records, whole);
        assert_int_equal(w.report.cut_octets, cut - end[whole]);
        assert_int_equal(w.report.cut_files, cut > end[whole]);
        if (cut > end[whole])
            assert_string_equal(w.report.cut_name, "location.1.0.log");
        assert_int_equal(has(&w, "u1@x"), whole >= 1);
        put(&w, "new@x", 9, USEC_DAY);
        world_down(&w, END_KILL);
        world_up(&w, 1); /* reported once */
        assert_int_equal(w.report.cut_files, 0);
        assert_int_equal(w.report.aors, whole + 1);
        world_down(&w, END_KILL);
    }
    for (size_t i = end[2]; i < end[3]; i++) {
        log->p[i] ^= 0x10;
        restore(&w, log, (sv){log->p, log->n});
        log->p[i] ^= 0x10;
        world_up(&w, 1);
        assert_int_equal(w.report.aors, 2);
        assert_int_equal(w.report.cut_octets, end[3] - end[2]);
        world_down(&w, END_KILL);
    }
    drop_kept();
    world_end(&w);
}

static void a_damaged_snapshot_or_header_throws_nothing_away(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, 1);
    world_up(&w, 1);
    put(&w, "a@x", 1, USEC_DAY);
    put(&w, "b@x", 2, USEC_DAY);
    memory_compact(w.loc, w.g->loop[0]);
    world_run(&w, USEC_S);
    put(&w, "c@x", 3, USEC_DAY);
    world_down(&w, END_KILL);
    keep_files(&w);
    assert_int_equal(kept_n, 2);
    for (unsigned f = 0; f < kept_n; f++) {
        bool snapshot = sv_ends(sv_of(kept[f].name), SV("snapshot"));
        size_t step = snapshot ? 7 : 1, most = snapshot ? kept[f].n : 32;
        for (size_t i = 0; i < most; i += step) {
            kept[f].p[i] ^= 1;
            restore(&w, NULL, SV_NONE);
            assert_int_equal(world_try_up(&w, 1), ERR_CORRUPT);
            world_down(&w, END_KILL);
            kept[f].p[i] ^= 1;
        }
        for (size_t cut = 0; cut < most; cut += step) {
            restore(&w, &kept[f], (sv){kept[f].p, cut});
            assert_int_equal(world_try_up(&w, 1), ERR_CORRUPT);
            world_down(&w, END_KILL);
        }
    }
    restore(&w, NULL, SV_NONE);
    struct file *log = kept_file(".log");
    write_file(&w, "/var/lib/tandem/location.9.0.log", (sv){log->p, log->n}); /* not of the 9th */
    assert_int_equal(world_try_up(&w, 1), ERR_CORRUPT);
    world_down(&w, END_KILL);
    restore(&w, NULL, SV_NONE);
    w.c.seed[0] ^= 1; /* another seed: other shards */
    assert_int_equal(world_try_up(&w, 1), ERR_CORRUPT);
    world_down(&w, END_KILL);
    w.c.seed[0] ^= 1;
    world_up(&w, 1);
    assert_int_equal(w.report.aors, 3);
    drop_kept();
    world_down(&w, END_KILL);
    world_end(&w);
}

static void put_u32(char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (char)(v >> 8 * i);
}

/* Every octet of a set is changed under a CRC that fits: it is refused, or read as something else that is sound. */
static void a_corrupt_set_under_a_good_checksum_is_refused(void **state)
{
    (void)state;
    struct world w;
    unsigned refused = 0;
    uint64_t version = 0;
    world_start(&w, 1);
    world_up(&w, 1);
    struct binding b = full(&w);
    assert_int_equal(world_set(&w, 0, "a@x", &b, 1, &version), ERR_OK);
    world_down(&w, END_KILL);
    keep_files(&w);
    struct file *log = kept_file("location.1.0.log");
    for (size_t i = 40; i < log->n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            log->p[i] ^= (char)(1 << bit);
            put_u32(log->p + 36,
                    crypto_crc32c(crypto_crc32c(0, log->p + 32, 4), log->p + 40, log->n - 40));
            restore(&w, NULL, SV_NONE);
            enum err rc = world_try_up(&w, 1);
            assert_true(rc == ERR_OK || rc == ERR_CORRUPT);
            refused += rc == ERR_CORRUPT;
            if (!rc)
                has(&w, "a@x");
            world_down(&w, END_KILL);
            log->p[i] ^= (char)(1 << bit);
        }
    }
    assert_true(refused > 50);
    static char longer[4096];
    memcpy(longer, log->p, log->n); /* an octet too many */
    put_u32(longer + 32, (uint32_t)(log->n + 1 - 40));
    put_u32(longer + 36,
            crypto_crc32c(crypto_crc32c(0, longer + 32, 4), longer + 40, log->n + 1 - 40));
    restore(&w, log, (sv){longer, log->n + 1});
    assert_int_equal(world_try_up(&w, 1), ERR_CORRUPT);
    world_down(&w, END_KILL);
    drop_kept();
    world_end(&w);
}

/* A worker that moved early may have written a set into its new log which another worker, not yet moved, removed
 * in its old one: that log is gone, the counter in the snapshot says that the removal was later. */
static void a_record_that_the_snapshot_knows_about_counts_no_more(void **state)
{
    (void)state;
    struct world w;
    struct arena a;
    struct store_bindings got;
    world_start(&w, 1);
    world_up(&w, 1);
    put(&w, "a@x", 1, USEC_DAY);
    world_down(&w, END_KILL);
    keep_files(&w);
    struct file *old = kept_file("location.1.0.log");
    world_up(&w, 1);
    arena_init(&a, NULL, 0, 1 << 20);
    assert_int_equal(world_get(&w, 0, "a@x", &a, &got), ERR_OK);
    assert_int_equal(world_set(&w, 0, "a@x", NULL, 0, &got.version), ERR_OK);
    arena_done(&a);
    memory_compact(w.loc, w.g->loop[0]);
    world_run(&w, USEC_S);
    world_down(&w, END_KILL);
    struct disk_file *f;
    uint64_t size;
    assert_int_equal(
        disk_open(sim_disk(w.h), SV("/var/lib/tandem/location.3.0.log"), false, &f, &size), ERR_OK);
    assert_int_equal(size, 32);
    assert_int_equal(disk_append(f, &(sv){old->p + 32, old->n - 32}, 1), ERR_OK);
    disk_close(f);
    drop_kept();
    world_up(&w, 1);
    assert_int_equal(w.report.records, 1);
    assert_int_equal(w.report.cut_files, 0);
    assert_int_equal(has(&w, "a@x"), 0);
    world_down(&w, END_ORDERLY);
    world_end(&w);
}

static unsigned names;
static bool count_name(sv name, void *arg)
{
    (void)name;
    (void)arg;
    names++;
    return true;
}

static void restarts_do_not_pile_up_files(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, 1);
    write_file(&w, "/var/lib/tandem/location.7.0.new", SV("torn"));
    write_file(&w, "/var/lib/tandem/location.snapshot.new", SV("torn"));
    write_file(&w, "/var/lib/tandem/notes.txt", SV("not ours"));
    for (uint32_t i = 1, last = 0; i < 90; i++) {
        world_up(&w, 4);
        assert_int_equal(has(&w, "a@x"), last);
        if (i % 30 < 20)
            put(&w, "a@x", last = i, USEC_DAY);
        world_run(&w, USEC_S);
        world_down(&w, END_KILL);
        names = 0;
        assert_int_equal(disk_list(sim_disk(w.h), sv_of(folder), count_name, NULL), ERR_OK);
        assert_true(names < 32);
    }
    world_end(&w);
}

static void running_out_of_memory_is_told_and_changes_nothing(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, 1);
    world_up(&w, 1);
    put(&w, "a@x", 1, USEC_DAY);
    struct waiter k;
    unsigned failed = 0;
    for (size_t n = 1;; n++) {
        struct binding b = plain(&w, 2, USEC_DAY);
        struct store_update u = {.aor = SV("b@x"), .bindings = &b, .n = 1};
        k = (struct waiter){0};
        store_op_init(&u.op, waiter_done, &k);
        mem_fail_after(n);
        w.loc->ops->update(w.loc, w.g->loop[0], &u);
        mem_fail_after(0);
        if (world_wait(&w, &k) == ERR_OK)
            break;
        assert_int_equal(k.rc, ERR_NOMEM);
        assert_int_equal(has(&w, "b@x"), 0);
        failed++;
    }
    assert_true(failed > 0);
    struct arena a;
    struct store_bindings got;
    arena_init(&a, NULL, 0, 64);
    assert_int_equal(world_get(&w, 0, "a@x", &a, &got), ERR_NOMEM);
    arena_done(&a);
    world_down(&w, END_KILL);
    enum err rc = ERR_NOMEM;
    for (size_t n = 1; rc; n += n < 20 || n > 1000 ? 1 : 97) {
        assert_int_equal(sim_process(w.h, 1, &w.g), ERR_OK);
        w.c.group = w.g;
        w.loc = NULL;
        mem_fail_after(n);
        rc = memory_open(&w.c, &w.loc, &w.report);
        mem_fail_after(0);
        assert_true(rc == ERR_OK || rc == ERR_NOMEM);
        if (!rc)
            assert_int_equal(w.report.aors, 2);
        world_down(&w, END_KILL);
    }
    world_end(&w);
}

/* ---- threads ---- */

enum { ADDERS = 16, ADDITIONS = 300, KEYS = 5 };

struct adder {
    struct store_location *loc;
    struct loop *loop;
    struct loop_group *g;
    struct timer start;
    struct arena arena;
    struct store_bindings read;
    struct store_update write;
    struct binding b;
    char aor[16];
    unsigned left;
};
static _Atomic unsigned adding;

static void add(struct adder *x)
{
    arena_reset(&x->arena);
    snprintf(x->aor, sizeof x->aor, "k%u@x", x->left % KEYS);
    x->read.arena = &x->arena;
    x->read.aor = x->write.aor = sv_of(x->aor);
    x->loc->ops->bindings(x->loc, x->loop, &x->read);
}

static void add_read(struct store_op *op, enum err rc)
{
    struct adder *x = op->arg;
    assert_int_equal(rc, ERR_OK);
    x->b = (struct binding){.uri = SV("sip:a@b"), .expires = USEC_NEVER};
    x->b.cseq = x->read.n ? x->read.bindings[0].cseq + 1 : 1;
    x->write.bindings = &x->b;
    x->write.n = 1;
    x->write.version = x->read.version;
    x->loc->ops->update(x->loc, x->loop, &x->write);
}

static void add_written(struct store_op *op, enum err rc)
{
    struct adder *x = op->arg;
    assert_true(rc == ERR_OK || rc == ERR_BUSY);
    if (rc == ERR_OK && --x->left == 0) {
        if (--adding == 0)
            worker_group_stop(x->g);
        return;
    }
    if (rc == ERR_OK && x->left % 100 == 0)
        memory_compact(x->loc, x->loop);
    add(x);
}

static void add_start(struct timer *t, void *arg)
{
    (void)t;
    add(arg);
}

static bool sum(sv aor, const struct binding *b, size_t n, void *arg)
{
    (void)aor;
    assert_int_equal(n, 1);
    *(unsigned *)arg += b->cseq;
    return true;
}

static bool unlink_one(sv name, void *arg)
{
    char path[128];
    snprintf(path, sizeof path, "%s/" SV_FMT, (const char *)arg, SV_ARG(name));
    return unlink(path) == 0;
}

/* Real loops, threads and files: every addition is there, also after the files are read back. */
static void threads_lose_no_update(void **state)
{
    (void)state;
    size_t live = mem_live();
    char dir[] = "/tmp/tandem-memory-XXXXXX";
    static struct adder adder[ADDERS];
    struct loop_group *g;
    assert_non_null(mkdtemp(dir));
    struct memory_config c = {
        .disk = disk_real(), .folder = sv_of(dir), .sync = USEC_MS, .compact_min = 50000};
    struct memory_report report;
    struct store_location *loc;
    assert_int_equal(worker_group_new(4, &g), ERR_OK);
    c.group = g;
    assert_int_equal(memory_open(&c, &loc, &report), ERR_OK);
    adding = ADDERS;
    for (unsigned i = 0; i < ADDERS; i++) {
        struct adder *x = &adder[i];
        *x = (struct adder){.loc = loc, .loop = g->loop[i % 4], .g = g, .left = ADDITIONS};
        arena_init(&x->arena, NULL, 0, 1 << 20);
        store_op_init(&x->read.op, add_read, x);
        store_op_init(&x->write.op, add_written, x);
        timer_init(&x->start, add_start, x);
        loop_timer(x->loop, &x->start, 0);
    }
    assert_int_equal(worker_group_run(g), ERR_OK);
    assert_int_equal(adding, 0);
    unsigned total = 0;
    assert_int_equal(loc->ops->each(loc, 0, sum, &total), ERR_OK);
    assert_int_equal(total, ADDERS * ADDITIONS);
    loc->ops->close(loc);
    for (unsigned i = 0; i < ADDERS; i++)
        arena_done(&adder[i].arena);
    worker_group_free(g);
    assert_int_equal(worker_group_new(1, &g), ERR_OK);
    c.group = g;
    assert_int_equal(memory_open(&c, &loc, &report), ERR_OK);
    assert_int_equal(report.aors, KEYS);
    assert_int_equal(report.cut_files, 0);
    total = 0;
    assert_int_equal(loc->ops->each(loc, 0, sum, &total), ERR_OK);
    assert_int_equal(total, ADDERS * ADDITIONS);
    loc->ops->close(loc);
    worker_group_free(g);
    assert_int_equal(disk_list(disk_real(), sv_of(dir), unlink_one, dir), ERR_OK);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(mem_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_survives_memory_log_and_snapshot),
        cmocka_unit_test(an_update_needs_the_version_that_was_read),
        cmocka_unit_test(what_is_too_large_is_refused_and_leaves_no_trace),
        cmocka_unit_test(a_cancelled_operation_is_silent_and_its_change_stays),
        cmocka_unit_test(a_turn_is_one_write),
        cmocka_unit_test(what_has_expired_is_left_out_swept_and_not_recovered),
        cmocka_unit_test(a_walk_meets_each_and_may_stop),
        cmocka_unit_test(each_process_has_an_epoch_of_its_own),
        cmocka_unit_test(a_tail_cut_or_garbled_anywhere_is_dropped_and_reported),
        cmocka_unit_test(a_damaged_snapshot_or_header_throws_nothing_away),
        cmocka_unit_test(a_corrupt_set_under_a_good_checksum_is_refused),
        cmocka_unit_test(a_record_that_the_snapshot_knows_about_counts_no_more),
        cmocka_unit_test(restarts_do_not_pile_up_files),
        cmocka_unit_test(running_out_of_memory_is_told_and_changes_nothing),
        cmocka_unit_test(threads_lose_no_update),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
