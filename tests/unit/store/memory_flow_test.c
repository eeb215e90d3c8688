/* SPDX-License-Identifier: MIT */
/* memory_flow_test.c: who was bound over a connection; changes that nobody waits for; walks of a part. */
#include "memory_run.h"
#include "sqlite/sqlite.h"

struct both {
    struct world w;
    struct store *s;
};

static void both_up(struct both *b, unsigned workers)
{
    struct store_directory *dir;
    const char *why;
    struct sqlite_config c = {.path = ":memory:"};
    world_up(&b->w, workers);
    assert_int_equal(sqlite_directory_open(&c, &dir, &why), ERR_OK);
    assert_int_equal(store_new(b->w.loc, dir, &b->s), ERR_OK);
}

static void both_down(struct both *b)
{
    sim_process_kill(b->w.h, false);
    store_close(b->s);
    b->w.loc = NULL;
    sim_process_free(b->w.h);
}

/* Binds aor over this connection, beside what it has. */
static void bind(struct both *b, unsigned worker, const char *aor, uint8_t owner, uint64_t conn,
                 uint32_t cseq)
{
    struct arena a;
    struct store_bindings now;
    arena_init(&a, NULL, 0, 1 << 20);
    assert_int_equal(world_get(&b->w, worker, aor, &a, &now), ERR_OK);
    struct binding *set = arena_calloc(&a, now.n + 1, sizeof(*set));
    assert_non_null(set);
    if (now.n)
        memcpy(set, now.bindings, now.n * sizeof(*set));
    set[now.n] = plain(&b->w, cseq, USEC_HOUR);
    set[now.n].worker = owner;
    set[now.n].conn = conn;
    set[now.n].epoch = b->w.loc->ops->epoch(b->w.loc);
    assert_int_equal(world_set(&b->w, worker, aor, set, now.n + 1, &now.version), ERR_OK);
    arena_done(&a);
}

static size_t bound(struct both *b, const char *aor)
{
    struct arena a;
    struct store_bindings now;
    arena_init(&a, NULL, 0, 1 << 20);
    assert_int_equal(world_get(&b->w, 0, aor, &a, &now), ERR_OK);
    arena_done(&a);
    return now.n;
}

struct connection {
    uint64_t conn;
    uint8_t worker;
};

static bool drop(struct binding *b, size_t *n, const void *arg)
{
    const struct connection *c = arg;
    size_t kept = 0, before = *n;
    for (size_t i = 0; i < *n; i++)
        if (b[i].conn != c->conn || b[i].worker != c->worker)
            b[kept++] = b[i];
    *n = kept;
    return kept != before;
}

static void end_connection(struct both *b, uint8_t worker, uint64_t conn)
{
    struct connection c = {conn, worker};
    store_amend_flow(b->s, b->w.g->loop[worker], worker, conn, drop, &c, sizeof(c));
    world_run(&b->w, 10 * USEC_MS);
}

static void a_connection_takes_its_bindings_along(void **state)
{
    (void)state;
    struct both b = {0};
    world_start(&b.w, 1);
    both_up(&b, 3);
    bind(&b, 0, "a@x", 1, 7, 1);
    bind(&b, 2, "a@x", 1, 8, 2); /* another connection of it */
    bind(&b, 2, "b@x", 1, 7, 3); /* whichever worker had the REGISTER */
    bind(&b, 0, "c@x", 2, 7, 4); /* another worker's connection with this number */
    bind(&b, 0, "d@x", 0, 0, 5); /* none */
    end_connection(&b, 0, 7);
    assert_int_equal(bound(&b, "a@x") + bound(&b, "b@x") + bound(&b, "c@x"), 4);
    end_connection(&b, 1, 7);
    assert_int_equal(bound(&b, "a@x"), 1);
    assert_int_equal(bound(&b, "b@x"), 0);
    assert_int_equal(bound(&b, "c@x"), 1);
    assert_int_equal(bound(&b, "d@x"), 1);
    assert_int_equal(loop_stat(b.w.g, STAT_FLOWS_GONE), 2);
    assert_int_equal(store_aors(b.s), 3);
    struct arena a;
    sv *aors;
    size_t n = 9;
    arena_init(&a, NULL, 0, 1 << 20);
    assert_int_equal(b.w.loc->ops->take_flow(b.w.loc, 1, 7, &a, &aors, &n), ERR_OK);
    assert_int_equal(n, 0); /* forgotten */
    arena_done(&a);
    end_connection(&b, 1, 7);
    assert_int_equal(loop_stat(b.w.g, STAT_FLOWS_GONE), 2);
    both_down(&b);
    /* Of another process: that the connection is dead shows by its epoch. */
    both_up(&b, 3);
    end_connection(&b, 1, 8);
    end_connection(&b, 2, 7);
    assert_int_equal(bound(&b, "a@x"), 1);
    assert_int_equal(bound(&b, "c@x"), 1);
    assert_int_equal(bound(&b, "b@x"), 0); /* in the journal too */
    bind(&b, 0, "a@x", 1, 3, 9);
    arena_init(&a, NULL, 0, 1 << 20);
    assert_int_equal(b.w.loc->ops->take_flow(b.w.loc, 1, 3, &a, &aors, &n), ERR_OK);
    assert_int_equal(n, 1);
    assert_true(sv_eq(aors[0], SV("a@x")));
    assert_int_equal(b.w.loc->ops->take_flow(b.w.loc, 1, 8, &a, &aors, &n), ERR_OK);
    assert_int_equal(n, 0);
    arena_done(&a);
    both_down(&b);
    world_end(&b.w);
}

static void many_addresses_of_one_connection_are_known_up_to_a_cap(void **state)
{
    (void)state;
    struct both b = {0};
    char aor[16];
    world_start(&b.w, 1);
    both_up(&b, 2);
    for (unsigned i = 0; i < STORE_FLOW_AORS + 3; i++) {
        snprintf(aor, sizeof aor, "u%u@x", i);
        bind(&b, i % 2, aor, 1, 9, i + 1);
        if (i % 3 == 0)
            bind(&b, i % 2, aor, 1, 9, i + 1); /* again: no place more */
    }
    end_connection(&b, 1, 9);
    assert_int_equal(store_aors(b.s), 3);
    both_down(&b);
    world_end(&b.w);
}

/* Somebody registers while the change is under way: it is done on top of that. */
static void a_change_that_was_late_is_made_again(void **state)
{
    (void)state;
    struct both b = {0};
    struct connection c = {7, 1};
    world_start(&b.w, 1);
    both_up(&b, 2);
    bind(&b, 0, "a@x", 1, 7, 1);
    struct waiter k = {0};
    struct arena a;
    struct store_bindings now;
    arena_init(&a, NULL, 0, 1 << 20);
    assert_int_equal(world_get(&b.w, 0, "a@x", &a, &now), ERR_OK);
    struct binding two[2] = {now.bindings[0], plain(&b.w, 2, USEC_HOUR)};
    struct store_update u = {.aor = SV("a@x"), .bindings = two, .n = 2, .version = now.version};
    store_op_init(&u.op, waiter_done, &k);
    store_amend(b.s, b.w.g->loop[1], SV("a@x"), drop, &c, sizeof(c)); /* reads now */
    store_update(b.s, b.w.g->loop[0], &u);                            /* and is overtaken */
    assert_int_equal(world_wait(&b.w, &k), ERR_OK);
    world_run(&b.w, 10 * USEC_MS);
    assert_int_equal(has(&b.w, "a@x"), 2);
    assert_int_equal(bound(&b, "a@x"), 1);
    assert_int_equal(loop_stat(b.w.g, STAT_FLOWS_GONE), 1);
    /* One that is under way when all ends. */
    bind(&b, 0, "a@x", 1, 7, 3);
    store_amend(b.s, b.w.g->loop[1], SV("a@x"), drop, &c, sizeof(c));
    arena_done(&a);
    both_down(&b);
    world_end(&b.w);
}

static bool count(sv aor, const struct binding *b, size_t n, void *arg)
{
    unsigned *seen = arg;
    assert_int_equal(n, 1);
    assert_true(aor.n > 2);
    seen[b->cseq]++;
    return true;
}

static void every_address_is_in_one_part(void **state)
{
    (void)state;
    struct both b = {0};
    char aor[16];
    unsigned seen[100] = {0}, parts = 0;
    world_start(&b.w, 1);
    both_up(&b, 2);
    for (uint32_t i = 0; i < 100; i++) {
        snprintf(aor, sizeof aor, "u%u@x", i);
        put(&b.w, aor, i, USEC_HOUR);
    }
    usec wall = loop_wall(b.w.g->loop[0]);
    /* Parts that do not begin where the table's shards do. */
    for (uint32_t from = 0, step = STORE_PLACES / 100; from < STORE_PLACES; from += step) {
        unsigned here[100] = {0}, any = 0;
        uint32_t to = from + step < STORE_PLACES ? from + step : STORE_PLACES;
        assert_int_equal(store_each_between(b.s, from, to, wall, count, here), ERR_OK);
        for (uint32_t k = 0; k < 100; k++) {
            snprintf(aor, sizeof aor, "u%u@x", k);
            uint32_t place = store_place(b.s, sv_of(aor));
            assert_int_equal(here[k], place >= from && place < to);
            seen[k] += here[k];
            any |= here[k];
        }
        parts += any > 0;
    }
    for (unsigned k = 0; k < 100; k++)
        assert_int_equal(seen[k], 1);
    assert_true(parts > 20);
    assert_int_equal(store_each_between(b.s, 0, STORE_PLACES + 1, wall, count, seen), ERR_RANGE);
    assert_int_equal(store_each_between(b.s, 2, 1, wall, count, seen), ERR_RANGE);
    assert_int_equal(store_each_between(b.s, STORE_PLACES, STORE_PLACES, wall, count, seen),
                     ERR_OK);
    both_down(&b);
    world_end(&b.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_takes_its_bindings_along),
        cmocka_unit_test(many_addresses_of_one_connection_are_known_up_to_a_cap),
        cmocka_unit_test(a_change_that_was_late_is_made_again),
        cmocka_unit_test(every_address_is_in_one_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
