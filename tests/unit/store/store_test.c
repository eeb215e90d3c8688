/* SPDX-License-Identifier: MIT */
/* store_test.c: both halves behind one handle; the removal of an account with its bindings. */
#include "memory_run.h"
#include "sqlite/sqlite.h"

struct both {
    struct world w;
    struct store *s;
};

static void both_start(struct both *b)
{
    struct store_directory *dir;
    const char *why;
    struct sqlite_config c = {.path = ":memory:"};
    world_start(&b->w, 1);
    world_up(&b->w, 3);
    assert_int_equal(sqlite_directory_open(&c, &dir, &why), ERR_OK);
    assert_int_equal(store_new(b->w.loc, dir, &b->s), ERR_OK);
}

static void both_end(struct both *b)
{
    sim_process_stop(b->w.h);
    store_close(b->s);
    b->w.loc = NULL;
    sim_process_free(b->w.h);
    world_end(&b->w);
}

static struct loop *at(struct both *b, unsigned worker)
{
    return b->w.g->loop[worker];
}

static void change_begin(struct both *b, struct store_change *c, int what, const char *user,
                         struct waiter *k)
{
    *k = (struct waiter){0};
    *c = (struct store_change){.account = {.user = sv_of(user), .domain = SV("x")}};
    c->what = what;
    store_op_init(&c->op, waiter_done, k);
    store_change(b->s, at(b, 1), c);
}

static enum err change(struct both *b, int what, const char *user)
{
    struct store_change c;
    struct waiter k;
    change_begin(b, &c, what, user, &k);
    return world_wait(&b->w, &k);
}

static enum err find(struct both *b, const char *user)
{
    struct arena a;
    struct waiter k = {0};
    arena_init(&a, NULL, 0, 1 << 20);
    struct store_find f = {.arena = &a, .user = sv_of(user), .domain = SV("x")};
    store_op_init(&f.op, waiter_done, &k);
    store_find(b->s, at(b, 2), &f);
    enum err rc = world_wait(&b->w, &k);
    arena_done(&a);
    return rc;
}

static void removal_takes_the_bindings_too(void **state)
{
    struct both b;
    (void)state;
    both_start(&b);
    assert_int_equal(change(&b, STORE_ADD, "alice"), ERR_OK);
    assert_int_equal(change(&b, STORE_ADD, "bob"), ERR_OK);
    put(&b.w, "alice@x", 1, USEC_HOUR);
    put(&b.w, "bob@x", 2, USEC_HOUR);
    put(&b.w, "carol@x", 3, USEC_HOUR);
    assert_int_equal(store_accounts(b.s), 2);
    assert_int_equal(store_aors(b.s), 3);
    assert_int_equal(change(&b, STORE_REMOVE, "alice"), ERR_OK);
    assert_int_equal(find(&b, "alice"), ERR_NOTFOUND);
    assert_int_equal(find(&b, "bob"), ERR_OK);
    assert_int_equal(has(&b.w, "alice@x"), 0);
    assert_int_equal(has(&b.w, "bob@x"), 2);
    assert_int_equal(store_aors(b.s), 2);
    assert_int_equal(change(&b, STORE_REMOVE, "alice"), ERR_NOTFOUND);
    assert_int_equal(change(&b, STORE_REMOVE, "carol"), ERR_NOTFOUND);
    assert_int_equal(has(&b.w, "carol@x"), 3); /* no account of ours: no business of its removal */
    assert_int_equal(change(&b, STORE_ADD, "dave"), ERR_OK);
    assert_int_equal(change(&b, STORE_REMOVE, "dave"), ERR_OK); /* without bindings */
    both_end(&b);
}

/* The loser of a race against registrations tries again. */
struct rival {
    struct both *b;
    struct timer t;
    unsigned rounds;
    struct arena arena;
    struct store_bindings read;
    struct store_update write;
    struct binding binding;
};

static void rival_go(struct timer *t, void *arg)
{
    struct rival *r = arg;
    (void)t;
    if (r->rounds == 0)
        return;
    r->rounds--;
    arena_reset(&r->arena);
    r->read.arena = &r->arena;
    r->read.aor = SV("alice@x");
    store_bindings(r->b->s, at(r->b, 0), &r->read);
}

static void rival_read(struct store_op *op, enum err rc)
{
    struct rival *r = op->arg;
    assert_int_equal(rc, ERR_OK);
    r->binding = plain(&r->b->w, r->rounds + 1, USEC_HOUR);
    r->write.aor = r->read.aor;
    r->write.bindings = &r->binding;
    r->write.n = 1;
    r->write.version = r->read.version;
    store_update(r->b->s, at(r->b, 0), &r->write);
}

static void rival_written(struct store_op *op, enum err rc)
{
    struct rival *r = op->arg;
    assert_true(rc == ERR_OK || rc == ERR_BUSY);
    loop_timer(at(r->b, 0), &r->t, 1);
}

static void removal_outlasts_registrations(void **state)
{
    struct both b;
    (void)state;
    both_start(&b);
    for (int i = 0; i < 20; i++) {
        struct rival r = {.b = &b, .rounds = 400};
        struct store_change c;
        struct waiter k;
        arena_init(&r.arena, NULL, 0, 1 << 20);
        store_op_init(&r.read.op, rival_read, &r);
        store_op_init(&r.write.op, rival_written, &r);
        timer_init(&r.t, rival_go, &r);
        assert_int_equal(change(&b, STORE_ADD, "alice"), ERR_OK);
        put(&b.w, "alice@x", 1, USEC_HOUR);
        loop_timer(at(&b, 0), &r.t, 1);
        change_begin(&b, &c, STORE_REMOVE, "alice", &k);
        assert_int_equal(world_wait(&b.w, &k), ERR_OK);
        world_run(&b.w, 2 * USEC_S);
        assert_int_equal(find(&b, "alice"), ERR_NOTFOUND);
        arena_done(&r.arena);
    }
    both_end(&b);
}

/* As a process leaves it that ends between an account and its bindings. */
static void bindings_without_an_account_go(void **state)
{
    struct both b;
    char aor[16];
    (void)state;
    both_start(&b);
    assert_int_equal(change(&b, STORE_ADD, "alice"), ERR_OK);
    assert_int_equal(change(&b, STORE_ADD, "bob"), ERR_OK);
    put(&b.w, "alice@x", 1, USEC_HOUR);
    put(&b.w, "bob@x", 2, USEC_HOUR);
    put(&b.w, "alice@y", 3, USEC_HOUR);
    for (unsigned i = 0; i < 50; i++) {
        snprintf(aor, sizeof aor, "u%u@x", i);
        put(&b.w, aor, 4, USEC_HOUR);
    }
    assert_true(store_has_account(b.s, SV("alice@x")));
    assert_false(store_has_account(b.s, SV("alice@y")));
    store_unbind_strays(b.s, at(&b, 0));
    world_run(&b.w, USEC_S);
    assert_int_equal(store_aors(b.s), 2);
    assert_int_equal(has(&b.w, "alice@x"), 1);
    assert_int_equal(has(&b.w, "bob@x"), 2);
    store_unbind_strays(b.s, at(&b, 0)); /* none */
    store_unbind(b.s, at(&b, 2), SV("bob@x"));
    store_unbind(b.s, at(&b, 2), SV("nobody@x"));
    world_run(&b.w, USEC_S);
    assert_int_equal(has(&b.w, "bob@x"), 0);
    assert_int_equal(has(&b.w, "alice@x"), 1);
    both_end(&b);
}

/* A location that is always a little late, or fails at first. */
struct late {
    struct store_location base;
    unsigned reads, updates, errors;
};

static void late_bindings(struct store_location *loc, struct loop *l, struct store_bindings *b)
{
    b->version = ++CONTAINER(loc, struct late, base)->reads;
    store_op_complete(l, &b->op, ERR_OK);
}

static void late_update(struct store_location *loc, struct loop *l, struct store_update *u)
{
    struct late *x = CONTAINER(loc, struct late, base);
    assert_true(sv_eq(u->aor, SV("alice@x")));
    assert_int_equal(u->n, 0);
    assert_int_equal(u->version, x->reads);
    x->updates++;
    enum err rc = x->updates <= x->errors ? ERR_IO : x->updates < 5 ? ERR_BUSY : ERR_OK;
    store_op_complete(l, &u->op, rc);
}

static void late_close(struct store_location *loc)
{
    (void)loc;
}

static void late_start(struct late *late, struct both *b)
{
    static const struct store_location_ops ops = {
        .bindings = late_bindings, .update = late_update, .close = late_close};
    struct store_directory *dir;
    const char *why;
    struct sqlite_config c = {.path = ":memory:"};
    late->base.ops = &ops;
    world_start(&b->w, 1);
    assert_int_equal(sim_process(b->w.h, 3, &b->w.g), ERR_OK);
    assert_int_equal(sqlite_directory_open(&c, &dir, &why), ERR_OK);
    assert_int_equal(store_new(&late->base, dir, &b->s), ERR_OK);
    assert_int_equal(change(b, STORE_ADD, "alice"), ERR_OK);
}

static void removal_goes_on_after_an_error(void **state)
{
    struct late late = {.errors = 7};
    struct both b = {0};
    (void)state;
    late_start(&late, &b);
    assert_int_equal(change(&b, STORE_REMOVE, "alice"), ERR_IO);
    assert_int_equal(find(&b, "alice"), ERR_NOTFOUND);
    assert_int_equal(late.updates, 1);
    world_run(&b.w, 10 * USEC_MIN);
    assert_int_equal(late.updates, 8);
    late.errors = 9;
    late.updates = 0;
    assert_int_equal(change(&b, STORE_ADD, "alice"), ERR_OK);
    assert_int_equal(change(&b, STORE_REMOVE, "alice"), ERR_IO);
    both_end(&b); /* while it waits */
}

static void removal_reads_again_when_it_was_late(void **state)
{
    struct late late = {0};
    struct both b = {0};
    (void)state;
    late_start(&late, &b);
    assert_int_equal(change(&b, STORE_REMOVE, "alice"), ERR_OK);
    assert_int_equal(late.reads, 5);
    assert_int_equal(late.updates, 5);
    both_end(&b);
}

static void a_cancelled_removal_goes_on_in_silence(void **state)
{
    struct both b;
    struct waiter k;
    (void)state;
    both_start(&b);
    assert_int_equal(change(&b, STORE_ADD, "alice"), ERR_OK);
    put(&b.w, "alice@x", 1, USEC_HOUR);
    struct store_change *c = MEM_NEW(struct store_change);
    change_begin(&b, c, STORE_REMOVE, "alice", &k);
    store_op_cancel(&c->op);
    mem_free(c);
    world_run(&b.w, USEC_S);
    assert_false(k.done);
    assert_int_equal(find(&b, "alice"), ERR_NOTFOUND);
    assert_int_equal(has(&b.w, "alice@x"), 0);
    /* And one that is under way when the process ends. */
    assert_int_equal(change(&b, STORE_ADD, "alice"), ERR_OK);
    struct store_change last;
    change_begin(&b, &last, STORE_REMOVE, "alice", &k);
    sim_process_kill(b.w.h, false);
    store_close(b.s);
    store_op_cancel(&last.op);
    b.w.loc = NULL;
    sim_process_free(b.w.h);
    world_end(&b.w);
    assert_false(k.done);
}

static bool count_account(const struct account *a, void *arg)
{
    assert_true(a->user.n > 0);
    ++*(unsigned *)arg;
    return true;
}

static bool count_aor(sv aor, const struct binding *v, size_t n, void *arg)
{
    assert_true(aor.n > 0 && v && n == 1);
    ++*(unsigned *)arg;
    return true;
}

static void the_rest_goes_to_its_half(void **state)
{
    struct both b;
    struct arena a;
    sv value;
    unsigned n = 0;
    (void)state;
    both_start(&b);
    assert_int_equal(change(&b, STORE_ADD, "alice"), ERR_OK);
    put(&b.w, "alice@x", 1, USEC_HOUR);
    put(&b.w, "bob@x", 1, USEC_HOUR);
    assert_int_equal(store_each_account(b.s, count_account, &n), ERR_OK);
    assert_int_equal(n, 1);
    n = 0;
    assert_int_equal(store_each_aor(b.s, loop_wall(at(&b, 0)), count_aor, &n), ERR_OK);
    assert_int_equal(n, 2);
    assert_true(store_epoch(b.s) > 0);
    arena_init(&a, NULL, 0, 4096);
    assert_int_equal(store_fact(b.s, SV("k"), &a, &value), ERR_NOTFOUND);
    assert_int_equal(store_fact_set(b.s, SV("k"), SV("v")), ERR_OK);
    assert_int_equal(store_fact(b.s, SV("k"), &a, &value), ERR_OK);
    assert_true(sv_eq(value, SV("v")));
    arena_done(&a);
    struct call_record r = {.call_id = SV("c")};
    store_record(b.s, at(&b, 2), &r);
    both_end(&b);
    store_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(removal_takes_the_bindings_too),
        cmocka_unit_test(removal_outlasts_registrations),
        cmocka_unit_test(bindings_without_an_account_go),
        cmocka_unit_test(removal_reads_again_when_it_was_late),
        cmocka_unit_test(removal_goes_on_after_an_error),
        cmocka_unit_test(a_cancelled_removal_goes_on_in_silence),
        cmocka_unit_test(the_rest_goes_to_its_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
