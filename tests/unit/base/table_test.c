/* SPDX-License-Identifier: MIT */
/* table_test.c: the sharded table alone, and under threads. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <pthread.h>
#include <cmocka.h>
#include "ds/table.h"
#include "mem/mem.h"

static const uint8_t seed[16] = {1, 2, 3};

static sv key_of(char *mem, size_t cap, unsigned i)
{
    return (sv){mem, (size_t)snprintf(mem, cap, "sip:%u@example.com", i)};
}

static uint64_t swap(struct table *t, sv key, uint64_t expected, sv value)
{
    uint64_t version = 0;
    assert_int_equal(table_swap(t, key, expected, value, &version), ERR_OK);
    return version;
}

static void expect(struct table *t, sv key, sv value, uint64_t version)
{
    struct arena a;
    sv got;
    uint64_t v;
    arena_init(&a, NULL, 0, 4096);
    assert_int_equal(table_get(t, key, &a, &got, &v), ERR_OK);
    assert_true(sv_eq(got, value));
    assert_int_equal(sv_present(got), sv_present(value));
    assert_int_equal(v, version);
    assert_int_equal(table_has(t, key), sv_present(value));
    arena_done(&a);
}

static void a_value_changes_only_from_the_version_that_was_read(void **state)
{
    (void)state;
    size_t live = mem_live();
    struct table *t;
    uint64_t version = 99;
    assert_int_equal(table_new(seed, 0, &t), ERR_OK);
    expect(t, SV("a"), SV_NONE, 0);
    uint64_t one = swap(t, SV("a"), 0, SV("first"));
    expect(t, SV("a"), SV("first"), one);
    assert_int_equal(table_swap(t, SV("a"), 0, SV("x"), &version), ERR_BUSY);
    assert_int_equal(table_swap(t, SV("a"), one + 1, SV("x"), &version), ERR_BUSY);
    assert_int_equal(version, 99);
    uint64_t two = swap(t, SV("a"), one, SV(""));
    assert_true(two > one);
    expect(t, SV("a"), SV(""), two);
    uint64_t gone = swap(t, SV("a"), two, SV_NONE);
    assert_true(gone > two);
    expect(t, SV("a"), SV_NONE, 0);
    assert_int_equal(table_count(t), 0);
    assert_int_equal(table_swap(t, SV("a"), two, SV("x"), &version), ERR_BUSY);
    uint64_t again = swap(t, SV("a"), 0, SV("back"));
    assert_true(again > gone); /* rises across removal */
    expect(t, SV("a"), SV("back"), again);
    expect(t, SV("A"), SV_NONE, 0);
    expect(t, SV(""), SV_NONE, 0);
    swap(t, SV(""), 0, SV("empty key"));
    assert_int_equal(table_count(t), 2);
    table_free(t);
    table_free(NULL);
    assert_int_equal(mem_live(), live);
}

static void the_cap_counts_entries(void **state)
{
    (void)state;
    struct table *t;
    char mem[32];
    uint64_t version;
    assert_int_equal(table_new(seed, 100, &t), ERR_OK);
    for (unsigned i = 0; i < 100; i++)
        swap(t, key_of(mem, sizeof mem, i), 0, SV("v"));
    assert_int_equal(table_swap(t, SV("new"), 0, SV("v"), &version), ERR_TOOBIG);
    assert_int_equal(table_restore(t, SV("new"), 1000, SV("v")), ERR_TOOBIG);
    expect(t, SV("new"), SV_NONE, 0);
    struct arena a;
    sv value;
    arena_init(&a, NULL, 0, 4096);
    sv key = key_of(mem, sizeof mem, 7);
    assert_int_equal(table_get(t, key, &a, &value, &version), ERR_OK);
    version = swap(t, key, version, SV("w")); /* replacing takes no place */
    swap(t, key, version, SV_NONE);
    swap(t, SV("new"), 0, SV("v"));
    assert_int_equal(table_count(t), 100);
    arena_done(&a);
    table_free(t);
}

static void recovery_sets_versions_and_refuses_older_ones(void **state)
{
    (void)state;
    struct table *t;
    assert_int_equal(table_new(seed, 0, &t), ERR_OK);
    assert_int_equal(table_restore(t, SV("k"), 0, SV("v0")), ERR_EXISTS);
    assert_int_equal(table_restore(t, SV("k"), 50, SV("v50")), ERR_OK);
    expect(t, SV("k"), SV("v50"), 50);
    assert_int_equal(table_restore(t, SV("k"), 50, SV("x")), ERR_EXISTS);
    assert_int_equal(table_restore(t, SV("k"), 49, SV("x")), ERR_EXISTS);
    assert_int_equal(table_restore(t, SV("k"), 60, SV("v60")), ERR_OK);
    assert_int_equal(table_restore(t, SV("k"), 70, SV_NONE), ERR_OK);
    expect(t, SV("k"), SV_NONE, 0);
    assert_true(swap(t, SV("k"), 0, SV("new")) > 70); /* the removal counted too */
    table_free(t);
}

static void the_cap_may_come_after_recovery(void **state)
{
    (void)state;
    struct table *t;
    uint64_t version;
    assert_int_equal(table_new(seed, 0, &t), ERR_OK);
    assert_int_equal(table_restore(t, SV("a"), 1, SV("v")), ERR_OK);
    assert_int_equal(table_restore(t, SV("b"), 1, SV("v")), ERR_OK);
    table_set_cap(t, 1);
    assert_int_equal(table_count(t), 2);
    assert_int_equal(table_swap(t, SV("c"), 0, SV("v"), &version), ERR_TOOBIG);
    table_set_cap(t, 3);
    swap(t, SV("c"), 0, SV("v"));
    table_free(t);
}

struct counted {
    uint64_t counter, highest;
    unsigned n;
};

static bool see_counted(sv key, sv value, uint64_t version, void *arg)
{
    struct counted *c = arg;
    (void)key;
    (void)value;
    assert_true(version <= c->counter); /* it is there before the first call */
    if (version > c->highest)
        c->highest = version;
    c->n++;
    return true;
}

static void a_shard_tells_its_counter_of_removals_too(void **state)
{
    (void)state;
    struct table *t;
    assert_int_equal(table_new(seed, 0, &t), ERR_OK);
    unsigned shard = table_shard_of(t, SV("k"));
    assert_true(shard < table_shards(t));
    struct counted c = {0};
    uint64_t one = swap(t, SV("k"), 0, SV("v"));
    assert_int_equal(table_each_shard(t, shard, see_counted, &c, &c.counter), ERR_OK);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.counter, one);
    uint64_t gone = swap(t, SV("k"), one, SV_NONE);
    c = (struct counted){0};
    assert_int_equal(table_each_shard(t, shard, see_counted, &c, &c.counter), ERR_OK);
    assert_int_equal(c.n, 0);
    assert_int_equal(c.counter, gone);
    table_raise(t, shard, 1000);
    table_raise(t, shard, 10); /* never down */
    assert_int_equal(table_each_shard(t, shard, see_counted, &c, &c.counter), ERR_OK);
    assert_int_equal(c.counter, 1000);
    assert_int_equal(swap(t, SV("k"), 0, SV("v")), 1001);
    char mem[32];
    for (unsigned i = 0; i < 100; i++) { /* the walk of a shard sees exactly its keys */
        sv key = key_of(mem, sizeof mem, i);
        c = (struct counted){0};
        uint64_t version = swap(t, key, 0, SV("v"));
        assert_int_equal(table_each_shard(t, table_shard_of(t, key), see_counted, &c, &c.counter),
                         ERR_OK);
        assert_int_equal(c.highest, version);
    }
    table_free(t);
}

struct seen {
    unsigned count[5000];
    unsigned total, stop_at;
    struct table *table;
};

static bool see(sv key, sv value, uint64_t version, void *arg)
{
    struct seen *s = arg;
    uint64_t i;
    assert_int_equal(sv_u64(value, 4999, &i), ERR_OK);
    char mem[32];
    assert_true(sv_eq(key, key_of(mem, sizeof mem, (unsigned)i)));
    assert_true(version > 0);
    s->count[i]++;
    /* No lock is held: the walk may change what it walks. */
    if (i % 2)
        swap(s->table, key, version, SV_NONE);
    return ++s->total != s->stop_at;
}

static void a_walk_sees_each_entry_once_and_may_change_the_table(void **state)
{
    (void)state;
    size_t live = mem_live();
    struct table *t;
    assert_int_equal(table_new(seed, 0, &t), ERR_OK);
    for (unsigned i = 0; i < 5000; i++) {
        char key[32], value[8];
        swap(t, key_of(key, sizeof key, i), 0,
             (sv){value, (size_t)snprintf(value, sizeof value, "%u", i)});
    }
    static struct seen s;
    s = (struct seen){.table = t};
    assert_int_equal(table_each(t, see, &s), ERR_OK);
    assert_int_equal(s.total, 5000);
    for (unsigned i = 0; i < 5000; i++)
        assert_int_equal(s.count[i], 1);
    assert_int_equal(table_count(t), 2500);
    s = (struct seen){.table = t};
    for (unsigned i = 0; i < table_shards(t); i++)
        assert_int_equal(table_each_shard(t, i, see, &s, NULL), ERR_OK);
    assert_int_equal(s.total, 2500);
    assert_int_equal(table_each_shard(t, table_shards(t), see, &s, NULL), ERR_RANGE);
    s = (struct seen){.table = t, .stop_at = 3};
    assert_int_equal(table_each(t, see, &s), ERR_OK);
    assert_int_equal(s.total, 3);
    table_free(t);
    assert_int_equal(mem_live(), live);
}

static void running_out_of_memory_changes_nothing(void **state)
{
    (void)state;
    size_t live = mem_live();
    struct table *t;
    uint64_t one = 0, version;
    mem_fail_after(1);
    assert_int_equal(table_new(seed, 0, &t), ERR_NOMEM);
    mem_fail_after(0);
    assert_int_equal(mem_live(), live);
    assert_int_equal(table_new(seed, 0, &t), ERR_OK);
    for (size_t n = 1; one == 0; n++) { /* of the first entry: the heap's, then the shard's */
        size_t before = mem_live();
        mem_fail_after(n);
        enum err rc = table_swap(t, SV("a"), 0, SV("v"), &one);
        mem_fail_after(0);
        assert_true(rc == ERR_OK || rc == ERR_NOMEM);
        assert_true(rc == ERR_OK || n < 6);
        assert_true(rc == ERR_OK || mem_live() <= before + 2); /* a chunk may stay for the next */
        expect(t, SV("a"), rc ? SV_NONE : SV("v"), one);
    }
    struct arena a;
    sv got;
    arena_init(&a, NULL, 0, 4096);
    mem_fail_after(1);
    assert_int_equal(table_swap(t, SV("a"), one, SV("w"), &version), ERR_NOMEM);
    assert_int_equal(table_get(t, SV("a"), &a, &got, &version), ERR_NOMEM);
    assert_int_equal(table_each(t, see, NULL), ERR_NOMEM);
    mem_fail_after(0);
    expect(t, SV("a"), SV("v"), one);
    arena_done(&a);
    table_free(t);
    assert_int_equal(mem_live(), live);
}

/* Random changes beside a plain array that says what must come of them. */
enum { MODEL_KEYS = 400, MODEL_CHANGES = 60000, MODEL_SIZE_MAX = 40000 };

struct model {
    struct {
        uint64_t version;
        size_t n; /* of the value, all octets of which are the key's number */
        bool there, seen;
    } key[MODEL_KEYS];
    size_t count;
};

static bool meets_model(sv key, sv value, uint64_t version, void *arg)
{
    struct model *m = arg;
    uint64_t i;
    assert_int_equal(sv_u64(sv_sub(key, 4, sv_chr(key, '@')), MODEL_KEYS - 1, &i), ERR_OK);
    assert_true(m->key[i].there && !m->key[i].seen);
    assert_true(version == m->key[i].version && value.n == m->key[i].n);
    for (size_t k = 0; k < value.n; k++)
        assert_int_equal((unsigned char)value.p[k], i & 255);
    m->key[i].seen = true;
    m->count++;
    return true;
}

static void expect_model(struct table *t, struct model *m)
{
    size_t there = 0;
    m->count = 0;
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        there += m->key[i].there;
        m->key[i].seen = false;
    }
    assert_int_equal(table_each(t, meets_model, m), ERR_OK);
    assert_int_equal(m->count, there);
    assert_int_equal(table_count(t), there);
}

static unsigned chance(unsigned *state, unsigned below)
{
    *state = *state * 1103515245u + 12345u;
    return (*state >> 8) % below;
}

static void it_does_what_a_plain_array_does(void **state)
{
    (void)state;
    static struct model m;
    static char value[MODEL_SIZE_MAX];
    size_t live = mem_live();
    unsigned dice = 7;
    struct table *t;
    assert_int_equal(table_new(seed, 0, &t), ERR_OK);
    for (unsigned i = 0; i < MODEL_CHANGES; i++) {
        char mem[32];
        unsigned k = chance(&dice, i / 20000 == 1 ? MODEL_KEYS : MODEL_KEYS / 4);
        sv key = key_of(mem, sizeof mem, k);
        bool goes = m.key[k].there && chance(&dice, 3) == 0;
        /* mostly small; now and then of a coarser class, or alone in its chunk */
        size_t n = chance(&dice, chance(&dice, 50) ? 300 : MODEL_SIZE_MAX);
        memset(value, (int)k, n);
        m.key[k].version =
            swap(t, key, m.key[k].there ? m.key[k].version : 0, goes ? SV_NONE : (sv){value, n});
        m.key[k].there = !goes;
        m.key[k].n = n;
        if (i % 6000 == 0)
            expect_model(t, &m);
    }
    expect_model(t, &m);
    table_free(t);
    assert_int_equal(mem_live(), live);
}

static void replacing_calls_no_allocator(void **state)
{
    (void)state;
    struct table *t;
    static uint64_t version[3000];
    char mem[32], value[200] = {0};
    assert_int_equal(table_new(seed, 0, &t), ERR_OK);
    for (unsigned i = 0; i < 3000; i++)
        version[i] = swap(t, key_of(mem, sizeof mem, i), 0, (sv){value, sizeof value});
    size_t live = mem_live();
    for (unsigned k = 0; k < 10; k++)
        for (unsigned i = 0; i < 3000; i++)
            version[i] = swap(t, key_of(mem, sizeof mem, i), version[i], (sv){value, sizeof value});
    assert_int_equal(mem_live(), live);
    for (unsigned i = 0; i < 3000; i++) /* all of another class: what they left goes back */
        version[i] = swap(t, key_of(mem, sizeof mem, i), version[i], (sv){value, 40});
    assert_true(mem_live() < live);
    table_free(t);
}

/* Threads add one to shared counters by get, compute, swap; others read and walk. Every addition
 * must be there at the end, and no reader may see a key's version fall or its value be half of one.
 */
enum { WRITERS = 3, KEYS = 40, ADDITIONS = 4000, COPIES = 20 };

struct stress {
    struct table *table;
    _Atomic int writing;
    _Atomic unsigned wrong;
};
struct value {
    uint64_t n, copy[COPIES]; /* all the same */
};

static bool whole(sv s, struct value *ret_value)
{
    if (s.n != sizeof *ret_value)
        return false;
    memcpy(ret_value, s.p, s.n);
    for (int i = 0; i < COPIES; i++)
        if (ret_value->copy[i] != ret_value->n)
            return false;
    return true;
}

static void *writer(void *arg)
{
    struct stress *s = arg;
    struct arena a;
    char mem[32];
    arena_init(&a, NULL, 0, 65536);
    for (unsigned i = 0; i < ADDITIONS; i++) {
        sv key = key_of(mem, sizeof mem, i % KEYS), got;
        uint64_t version;
        enum err rc;
        do {
            struct value v = {0};
            arena_reset(&a);
            rc = table_get(s->table, key, &a, &got, &version);
            if (rc || (version && !whole(got, &v)))
                s->wrong++;
            v.n++;
            for (int k = 0; k < COPIES; k++)
                v.copy[k] = v.n;
            rc = table_swap(s->table, key, version, (sv){(char *)&v, sizeof v}, &version);
        } while (rc == ERR_BUSY);
        if (rc)
            s->wrong++;
        /* Entries that come and go make the shards grow and chains change meanwhile. */
        sv passing = key_of(mem, sizeof mem, 1000 + i * 7 % 4000);
        if (table_swap(s->table, passing, 0, SV_NONE, &version) == ERR_OK)
            (void)!table_swap(s->table, passing, 0,
                              (sv){(char *)&(struct value){0}, sizeof(struct value)}, &version);
    }
    arena_done(&a);
    s->writing--;
    return NULL;
}

static bool check_whole(sv key, sv value, uint64_t version, void *arg)
{
    struct stress *s = arg;
    struct value v;
    (void)key;
    if (!whole(value, &v) || version == 0)
        s->wrong++;
    return true;
}

static void *reader(void *arg)
{
    struct stress *s = arg;
    uint64_t last[KEYS] = {0}, last_n[KEYS] = {0};
    struct arena a;
    char mem[32];
    arena_init(&a, NULL, 0, 65536);
    while (s->writing > 0) {
        for (unsigned i = 0; i < KEYS; i++) {
            sv got;
            uint64_t version;
            struct value v = {0};
            arena_reset(&a);
            if (table_get(s->table, key_of(mem, sizeof mem, i), &a, &got, &version) ||
                (version && !whole(got, &v)) || version < last[i] || v.n < last_n[i])
                s->wrong++;
            last[i] = version;
            last_n[i] = v.n;
        }
        if (table_each(s->table, check_whole, s))
            s->wrong++;
    }
    arena_done(&a);
    return NULL;
}

static void no_update_is_lost_between_threads(void **state)
{
    (void)state;
    size_t live = mem_live();
    struct stress s = {.writing = WRITERS};
    pthread_t thread[WRITERS + 1];
    assert_int_equal(table_new(seed, 0, &s.table), ERR_OK);
    for (int i = 0; i <= WRITERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, i < WRITERS ? writer : reader, &s), 0);
    for (int i = 0; i <= WRITERS; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(s.wrong, 0);
    struct arena a;
    char mem[32];
    arena_init(&a, NULL, 0, 1 << 20);
    for (unsigned i = 0; i < KEYS; i++) {
        sv got;
        uint64_t version;
        struct value v = {0};
        assert_int_equal(table_get(s.table, key_of(mem, sizeof mem, i), &a, &got, &version),
                         ERR_OK);
        assert_true(whole(got, &v));
        assert_int_equal(v.n, WRITERS * (ADDITIONS / KEYS));
    }
    arena_done(&a);
    table_free(s.table);
    assert_int_equal(mem_live(), live);
}

/* The cap holds when many threads reach for the last places. */
static void *filler(void *arg)
{
    struct stress *s = arg;
    char mem[32];
    for (unsigned i = 0; i < 3000; i++) {
        uint64_t version;
        (void)!table_swap(s->table, key_of(mem, sizeof mem, i), 0, SV("v"), &version);
        if (table_count(s->table) > 500 + WRITERS)
            s->wrong++;
    }
    return NULL;
}

static void the_cap_holds_between_threads(void **state)
{
    (void)state;
    struct stress s = {0};
    pthread_t thread[WRITERS];
    assert_int_equal(table_new(seed, 500, &s.table), ERR_OK);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, filler, &s), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(s.wrong, 0);
    assert_int_equal(table_count(s.table), 500);
    table_free(s.table);
}

/* Threads that insert make the same shards grow at the same time; no entry is lost on the way. */
enum { GROWN = 6000 };

static void *grower(void *arg)
{
    struct stress *s = arg;
    unsigned first = (unsigned)atomic_fetch_add(&s->writing, 1) * GROWN;
    char mem[32];
    for (unsigned i = first; i < first + GROWN; i++) {
        uint64_t version;
        if (table_swap(s->table, key_of(mem, sizeof mem, i), 0, SV("v"), &version))
            s->wrong++;
    }
    return NULL;
}

static void shards_grow_under_several_threads(void **state)
{
    (void)state;
    struct stress s = {0};
    pthread_t thread[WRITERS];
    char mem[32];
    assert_int_equal(table_new(seed, 0, &s.table), ERR_OK);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, grower, &s), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(s.wrong, 0);
    assert_int_equal(table_count(s.table), WRITERS * GROWN);
    for (unsigned i = 0; i < WRITERS * GROWN; i++)
        assert_true(table_has(s.table, key_of(mem, sizeof mem, i)));
    table_free(s.table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_changes_only_from_the_version_that_was_read),
        cmocka_unit_test(the_cap_counts_entries),
        cmocka_unit_test(recovery_sets_versions_and_refuses_older_ones),
        cmocka_unit_test(the_cap_may_come_after_recovery),
        cmocka_unit_test(a_shard_tells_its_counter_of_removals_too),
        cmocka_unit_test(a_walk_sees_each_entry_once_and_may_change_the_table),
        cmocka_unit_test(running_out_of_memory_changes_nothing),
        cmocka_unit_test(it_does_what_a_plain_array_does),
        cmocka_unit_test(replacing_calls_no_allocator),
        cmocka_unit_test(no_update_is_lost_between_threads),
        cmocka_unit_test(the_cap_holds_between_threads),
        cmocka_unit_test(shards_grow_under_several_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
