/* SPDX-License-Identifier: MIT */
/* sqlite_test.c: accounts, call records and facts: in memory, in the file, over restarts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>
#include "disk/disk.h"
#include "sim/sim.h"
#include "sqlite/sqlite.h"
#include "worker/worker.h"

struct world {
    struct sim *s;
    struct sim_host *h;
    struct loop_group *g;
    struct loop *l;
    struct store_directory *dir;
    struct sqlite_config c;
    char folder[64], path[96];
    size_t live;
};

static void world_open(struct world *w)
{
    const char *why = "nothing";
    enum err rc = sqlite_directory_open(&w->c, &w->dir, &why);
    if (rc)
        print_error("%s\n", why);
    assert_int_equal(rc, ERR_OK);
}

static void world_start(struct world *w, bool file)
{
    struct addr ip;
    *w = (struct world){.live = mem_live(), .folder = "/tmp/tandem-sqlite-XXXXXX"};
    assert_int_equal(addr_parse_ip(SV("192.0.2.1"), 0, &ip), ERR_OK);
    assert_int_equal(sim_new(1, &w->s), ERR_OK);
    assert_int_equal(sim_host_new(w->s, "a", &ip, 1, &w->h), ERR_OK);
    assert_int_equal(sim_process(w->h, 2, &w->g), ERR_OK);
    w->l = w->g->loop[0];
    w->c.path = ":memory:";
    if (file) {
        assert_non_null(mkdtemp(w->folder));
        snprintf(w->path, sizeof w->path, "%s/tandem.db", w->folder);
        w->c.path = w->path;
    }
    world_open(w);
}

static bool unlink_one(sv name, void *arg)
{
    char path[128];
    snprintf(path, sizeof path, "%s/" SV_FMT, (const char *)arg, SV_ARG(name));
    return unlink(path) == 0;
}

static void world_close(struct world *w)
{
    sim_process_stop(w->h);
    w->dir->ops->close(w->dir);
    w->dir = NULL;
    sim_process_free(w->h);
}

static void world_again(struct world *w)
{
    assert_int_equal(sim_process(w->h, 2, &w->g), ERR_OK);
    w->l = w->g->loop[0];
    world_open(w);
}

static void world_reopen(struct world *w)
{
    world_close(w);
    world_again(w);
}

static void world_end(struct world *w)
{
    if (w->dir)
        world_close(w);
    sim_free(w->s);
    assert_int_equal(mem_live(), w->live);
    if (w->path[0]) {
        assert_int_equal(disk_list(disk_real(), sv_of(w->folder), unlink_one, w->folder), ERR_OK);
        assert_int_equal(rmdir(w->folder), 0);
    }
}

struct waiter {
    bool done;
    enum err rc;
};

static void waiter_done(struct store_op *op, enum err rc)
{
    struct waiter *k = op->arg;
    assert_false(k->done);
    *k = (struct waiter){true, rc};
}

static bool is_done(void *arg)
{
    return ((struct waiter *)arg)->done;
}

static enum err wait_for(struct world *w, struct waiter *k)
{
    assert_false(k->done);
    assert_true(sim_run_when(w->s, sim_now(w->s) + USEC_MIN, is_done, k));
    return k->rc;
}

static enum err change(struct world *w, int what, const struct account *a)
{
    struct waiter k = {0};
    struct store_change c = {.account = *a};
    c.what = what;
    store_op_init(&c.op, waiter_done, &k);
    w->dir->ops->change(w->dir, w->l, &c);
    return wait_for(w, &k);
}

static enum err find(struct world *w, struct arena *a, const char *user, const char *domain,
                     const char *number, struct account *ret)
{
    struct waiter k = {0};
    struct store_find f = {
        .arena = a, .user = sv_of(user), .domain = sv_of(domain), .number = sv_of(number)};
    store_op_init(&f.op, waiter_done, &k);
    w->dir->ops->find(w->dir, w->l, &f);
    enum err rc = wait_for(w, &k);
    if (!rc)
        *ret = f.account;
    return rc;
}

static enum err find_user(struct world *w, const char *user)
{
    struct arena a;
    struct account found;
    arena_init(&a, NULL, 0, 1 << 20);
    enum err rc = find(w, &a, user, "example.com", NULL, &found);
    if (!rc)
        assert_true(sv_eq(found.user, sv_of(user)));
    arena_done(&a);
    return rc;
}

/* The user of a number; "" when there is none. */
static const char *user_of(struct world *w, const char *number)
{
    static char user[64];
    struct arena a;
    struct account found;
    arena_init(&a, NULL, 0, 1 << 20);
    enum err rc = find(w, &a, NULL, NULL, number, &found);
    assert_true(rc == ERR_OK || rc == ERR_NOTFOUND);
    snprintf(user, sizeof user, SV_FMT, SV_ARG(rc ? SV("") : found.user));
    arena_done(&a);
    return user;
}

static struct account account(const char *user)
{
    return (struct account){.user = sv_of(user),
                            .domain = SV("example.com"),
                            .realm = SV("example.com"),
                            .md5 = {1, 2, [15] = 3},
                            .has_md5 = true,
                            .name = SV(""),
                            .changed = 1767225600 * USEC_S};
}

static void expect_alice(struct world *w)
{
    struct arena a;
    struct account f;
    arena_init(&a, NULL, 0, 1 << 20);
    assert_int_equal(find(w, &a, "alice'; DROP TABLE account; --", "example.com", NULL, &f),
                     ERR_OK);
    assert_true(sv_eq(f.user, SV("alice'; DROP TABLE account; --")));
    assert_true(sv_eq(f.domain, SV("example.com")));
    assert_true(sv_eq(f.realm, SV("phones")));
    assert_true(sv_eq(f.name, SV("Alice \"A\" \xc3\xa9")));
    assert_true(f.has_md5 && f.has_sha256 && f.from_file);
    assert_int_equal(f.md5[0], 1);
    assert_int_equal(f.md5[15], 3);
    assert_int_equal(f.sha256[0], 9);
    assert_int_equal(f.sha256[31], 8);
    assert_int_equal(f.numbers_n, 3);
    assert_true(sv_eq(f.numbers[0], SV("+4989123")));
    assert_true(sv_eq(f.numbers[1], SV("101")));
    assert_true(sv_eq(f.numbers[2], SV("102")));
    assert_int_equal(f.changed, 1767225600 * USEC_S);
    assert_int_equal(find(w, &a, NULL, NULL, "101", &f), ERR_OK);
    assert_true(sv_eq(f.realm, SV("phones")));
    arena_done(&a);
}

static void an_account_is_found_by_user_and_by_number_also_later(void **state)
{
    struct world w;
    struct account a = account("alice'; DROP TABLE account; --");
    (void)state;
    world_start(&w, true);
    a.realm = SV("phones");
    a.name = SV("Alice \"A\" \xc3\xa9");
    a.sha256[0] = 9;
    a.sha256[31] = 8;
    a.has_sha256 = a.from_file = true;
    a.numbers[0] = SV("+4989123");
    a.numbers[1] = SV("101");
    a.numbers[2] = SV("102");
    a.numbers_n = 3;
    assert_int_equal(change(&w, STORE_ADD, &a), ERR_OK);
    struct account bob = account("bob");
    bob.has_md5 = false;
    assert_int_equal(change(&w, STORE_ADD, &bob), ERR_OK);
    for (int round = 0; round < 2; round++) {
        expect_alice(&w);
        assert_int_equal(find_user(&w, "bob"), ERR_OK);
        assert_int_equal(find_user(&w, "carol"), ERR_NOTFOUND);
        assert_string_equal(user_of(&w, "103"), "");
        assert_int_equal(w.dir->ops->count(w.dir), 2);
        struct arena arena;
        struct account f;
        arena_init(&arena, NULL, 0, 1 << 20);
        assert_int_equal(find(&w, &arena, "bob", "example.com", NULL, &f), ERR_OK);
        assert_false(f.has_md5 || f.has_sha256 || f.from_file);
        assert_int_equal(f.numbers_n, 0);
        assert_int_equal(find(&w, &arena, "bob", "example.org", NULL, &f), ERR_NOTFOUND);
        arena_done(&arena);
        world_reopen(&w);
    }
    struct stat st;
    assert_int_equal(stat(w.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    world_end(&w);
}

static void changes_keep_users_and_numbers_unique(void **state)
{
    struct world w;
    struct account a = account("alice"), b = account("bob");
    (void)state;
    world_start(&w, true);
    a.numbers[0] = SV("101");
    a.numbers[1] = SV("102");
    a.numbers_n = 2;
    assert_int_equal(change(&w, STORE_ADD, &a), ERR_OK);
    assert_int_equal(change(&w, STORE_ADD, &a), ERR_EXISTS);
    b.numbers[0] = SV("102");
    b.numbers_n = 1;
    assert_int_equal(change(&w, STORE_ADD, &b), ERR_EXISTS);
    assert_int_equal(find_user(&w, "bob"), ERR_NOTFOUND); /* nothing of it stays */
    assert_int_equal(change(&w, STORE_SET, &b), ERR_EXISTS);
    assert_string_equal(user_of(&w, "102"), "alice");
    a.numbers[0] = SV("102");
    a.numbers[1] = SV("103");
    a.name = SV("Alice");
    assert_int_equal(change(&w, STORE_SET, &a), ERR_OK); /* keeps one, loses one, gets one */
    assert_string_equal(user_of(&w, "101"), "");
    assert_string_equal(user_of(&w, "102"), "alice");
    assert_string_equal(user_of(&w, "103"), "alice");
    b.numbers[0] = SV("101");
    assert_int_equal(change(&w, STORE_SET, &b), ERR_OK); /* adds */
    assert_string_equal(user_of(&w, "101"), "bob");
    b.numbers[1] = SV("101");
    b.numbers_n = 2;
    assert_int_equal(change(&w, STORE_SET, &b), ERR_EXISTS); /* twice the same */
    for (int round = 0; round < 2; round++) {
        assert_string_equal(user_of(&w, "101"), "bob");
        assert_string_equal(user_of(&w, "103"), "alice");
        world_reopen(&w);
    }
    assert_int_equal(change(&w, STORE_REMOVE, &a), ERR_OK);
    assert_int_equal(change(&w, STORE_REMOVE, &a), ERR_NOTFOUND);
    assert_string_equal(user_of(&w, "102"), "");
    b.numbers[1] = SV("102");
    assert_int_equal(change(&w, STORE_SET, &b), ERR_OK);
    world_reopen(&w);
    assert_int_equal(find_user(&w, "alice"), ERR_NOTFOUND);
    assert_string_equal(user_of(&w, "102"), "bob");
    assert_int_equal(w.dir->ops->count(w.dir), 1);
    world_end(&w);
}

static void a_name_is_nobody_elses_number(void **state)
{
    struct world w;
    struct account named = account("555"), carol = account("carol"), dan = account("dan");
    (void)state;
    world_start(&w, true);
    assert_int_equal(change(&w, STORE_ADD, &named), ERR_OK);
    carol.numbers[0] = SV("555");
    carol.numbers_n = 1;
    assert_int_equal(change(&w, STORE_ADD, &carol), ERR_EXISTS);
    assert_int_equal(change(&w, STORE_SET, &carol), ERR_EXISTS);
    assert_int_equal(find_user(&w, "carol"), ERR_NOTFOUND);
    dan.numbers[0] = SV("777");
    dan.numbers_n = 1;
    assert_int_equal(change(&w, STORE_ADD, &dan), ERR_OK);
    named.user = SV("777");
    assert_int_equal(change(&w, STORE_ADD, &named), ERR_EXISTS);
    named.domain = SV("other.test"); /* there it is dialled by another name */
    assert_int_equal(change(&w, STORE_ADD, &named), ERR_OK);
    named = account("555"); /* its own name may be its number */
    named.numbers[0] = SV("555");
    named.numbers_n = 1;
    assert_int_equal(change(&w, STORE_SET, &named), ERR_OK);
    world_end(&w);
}

static void unfit_accounts_are_refused(void **state)
{
    struct world w;
    static char text[2000];
    struct account a = account("alice");
    (void)state;
    world_start(&w, false);
    memset(text, 'x', sizeof text);
    a.user = (sv){text, 1025};
    assert_int_equal(change(&w, STORE_ADD, &a), ERR_TOOBIG);
    a.user.n = 1024;
    a.domain = (sv){text, 1024};
    assert_int_equal(change(&w, STORE_ADD, &a), ERR_OK);
    a = account("");
    assert_int_equal(change(&w, STORE_ADD, &a), ERR_RANGE);
    a = account("alice");
    a.numbers_n = STORE_NUMBERS_MAX + 1;
    assert_int_equal(change(&w, STORE_ADD, &a), ERR_RANGE);
    a.numbers_n = 1;
    assert_int_equal(change(&w, STORE_ADD, &a), ERR_RANGE); /* an empty number */
    assert_int_equal(w.dir->ops->count(w.dir), 1);
    struct arena arena;
    struct account f;
    arena_init(&arena, NULL, 0, 1 << 20);
    text[1999] = 0;
    assert_int_equal(find(&w, &arena, text, text, NULL, &f), ERR_NOTFOUND);
    arena_done(&arena);
    arena_init(&arena, NULL, 0, 16);
    a = account("alice");
    assert_int_equal(change(&w, STORE_ADD, &a), ERR_OK);
    assert_int_equal(find(&w, &arena, "alice", "example.com", NULL, &f), ERR_NOMEM);
    arena_done(&arena);
    world_end(&w);
}

static void a_cancelled_change_is_silent(void **state)
{
    struct world w;
    struct waiter k = {0};
    (void)state;
    world_start(&w, false);
    struct store_change *c = MEM_NEW(struct store_change);
    c->account = account("alice");
    c->what = STORE_ADD;
    store_op_init(&c->op, waiter_done, &k);
    w.dir->ops->change(w.dir, w.l, c);
    store_op_cancel(&c->op);
    mem_free(c); /* the job needs nothing of it */
    sim_run_until(w.s, sim_now(w.s) + USEC_S);
    assert_false(k.done);
    assert_int_equal(find_user(&w, "alice"), ERR_OK);
    world_end(&w);
}

static bool see(const struct account *a, void *arg)
{
    assert_true(sv_starts(a->user, SV("u")));
    return ++*(unsigned *)arg < 7;
}

static void a_walk_meets_each_and_may_stop(void **state)
{
    struct world w;
    char user[16];
    unsigned n = 0;
    (void)state;
    world_start(&w, false);
    for (int i = 0; i < 10; i++) {
        snprintf(user, sizeof user, "u%d", i);
        struct account a = account(user);
        assert_int_equal(change(&w, STORE_ADD, &a), ERR_OK);
        if (i == 4) {
            assert_int_equal(w.dir->ops->each(w.dir, see, &n), ERR_OK);
            assert_int_equal(n, 5);
        }
    }
    n = 0;
    assert_int_equal(w.dir->ops->each(w.dir, see, &n), ERR_OK);
    assert_int_equal(n, 7);
    world_end(&w);
}

static void facts_are_remembered(void **state)
{
    struct world w;
    struct arena a;
    sv value;
    (void)state;
    world_start(&w, true);
    arena_init(&a, NULL, 0, 4096);
    assert_int_equal(w.dir->ops->fact(w.dir, SV("realm"), &a, &value), ERR_NOTFOUND);
    assert_int_equal(w.dir->ops->fact_set(w.dir, SV("realm"), SV("example.com")), ERR_OK);
    assert_int_equal(w.dir->ops->fact_set(w.dir, SV("realm"), SV("example.org")), ERR_OK);
    assert_int_equal(w.dir->ops->fact_set(w.dir, SV("empty"), SV("")), ERR_OK);
    world_reopen(&w);
    assert_int_equal(w.dir->ops->fact(w.dir, SV("realm"), &a, &value), ERR_OK);
    assert_true(sv_eq(value, SV("example.org")));
    assert_int_equal(w.dir->ops->fact(w.dir, SV("empty"), &a, &value), ERR_OK);
    assert_true(sv_present(value) && value.n == 0);
    arena_done(&a);
    world_end(&w);
}

/* ---- records ---- */

static int64_t query(struct world *w, const char *text)
{
    sqlite3 *db;
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_open_v2(w->path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &s, NULL), SQLITE_OK);
    int code = sqlite3_step(s);
    int64_t value = code == SQLITE_ROW ? sqlite3_column_int64(s, 0) : -1;
    sqlite3_finalize(s);
    sqlite3_close(db);
    return value;
}

static void record(struct world *w, unsigned worker, usec start, const char *agent)
{
    char id[32];
    static unsigned n;
    snprintf(id, sizeof id, "call-%u", n++);
    struct call_record r = {
        .call_id = sv_of(id),
        .from = SV("sip:alice@example.com"),
        .to = SV("sip:bob@example.com"),
        .caller = SV("alice@example.com"),
        .callee = SV("bob@example.com"),
        .start = start,
        .answer = start + USEC_S,
        .end = start + 2 * USEC_S,
        .status = 200,
        .ended_by = SV("caller"),
        .reason = SV("Busy Here: out"),
        .agent = sv_of(agent),
        .media = start == 1000 ? SV("{\"media\": \"direct\"}") : SV(""),
    };
    w->dir->ops->record(w->dir, w->g->loop[worker], &r);
}

static void records_are_written_within_a_second_or_at_close(void **state)
{
    struct world w;
    (void)state;
    world_start(&w, true);
    record(&w, 0, 1000, "x'); DROP TABLE record; --");
    record(&w, 1, 2000, NULL);
    assert_int_equal(query(&w, "SELECT count(*) FROM record"), 0);
    sim_run_until(w.s, sim_now(w.s) + USEC_S + 100 * USEC_MS);
    assert_int_equal(query(&w, "SELECT count(*) FROM record"), 2);
    assert_int_equal(query(&w, "SELECT count(*) FROM record WHERE agent LIKE 'x%DROP%' AND "
                               "began = 1000 AND answered = 1001000 AND ended = 2001000 AND "
                               "media = '{\"media\": \"direct\"}' AND "
                               "status = 200 AND ended_by = 'caller' AND call_id = 'call-0' AND "
                               "reason = 'Busy Here: out' AND "
                               "from_uri = 'sip:alice@example.com' AND "
                               "to_uri = 'sip:bob@example.com' AND "
                               "caller = 'alice@example.com' AND callee = 'bob@example.com'"),
                     1);
    for (int i = 0; i < 1200; i++) /* enough for two transactions at once */
        record(&w, 0, 1000, "");
    sim_run_until(w.s, sim_now(w.s) + 100 * USEC_MS);
    assert_int_equal(query(&w, "SELECT count(*) FROM record"), 1002);
    record(&w, 1, 1000, "");
    world_close(&w);
    assert_int_equal(query(&w, "SELECT count(*) FROM record"), 1203);
    /* whether alone or many in one statement */
    assert_int_equal(query(&w, "SELECT count(DISTINCT call_id) FROM record WHERE began = 1000 AND "
                               "answered = 1001000 AND ended = 2001000 AND status = 200 AND "
                               "media = '{\"media\": \"direct\"}' AND "
                               "ended_by = 'caller' AND from_uri = 'sip:alice@example.com' AND "
                               "reason = 'Busy Here: out' AND "
                               "to_uri = 'sip:bob@example.com' AND caller = 'alice@example.com' "
                               "AND callee = 'bob@example.com' AND call_id LIKE 'call-%'"),
                     1202);
    world_end(&w);
}

struct last {
    usec began[8];
    size_t n, most;
};

static bool see_record(const struct call_record *r, void *arg)
{
    struct last *s = arg;
    assert_true(s->n < 8);
    s->began[s->n++] = r->start;
    if (r->start == 3000) {
        assert_true(sv_starts(r->call_id, SV("call-")));
        assert_true(sv_eq(r->from, SV("sip:alice@example.com")));
        assert_true(sv_eq(r->to, SV("sip:bob@example.com")));
        assert_true(sv_eq(r->caller, SV("alice@example.com")));
        assert_true(sv_eq(r->callee, SV("bob@example.com")));
        assert_int_equal(r->answer, 3000 + USEC_S);
        assert_int_equal(r->end, 3000 + 2 * USEC_S);
        assert_int_equal(r->status, 200);
        assert_true(sv_eq(r->ended_by, SV("caller")));
        assert_true(sv_eq(r->reason, SV("Busy Here: out")));
        assert_true(sv_eq(r->agent, SV("a phone")));
        assert_int_equal(r->media.n, 0);
    } else if (r->start == 1000) {
        assert_true(sv_eq(r->media, SV("{\"media\": \"direct\"}")));
    }
    return s->n < s->most;
}

static size_t last_records(struct world *w, size_t n, size_t most, struct last *s)
{
    *s = (struct last){.most = most};
    assert_int_equal(w->dir->ops->each_record(w->dir, n, see_record, s), ERR_OK);
    return s->n;
}

static void the_last_records_are_read_the_newest_first(void **state)
{
    struct world w;
    struct last s;
    (void)state;
    world_start(&w, true);
    assert_int_equal(last_records(&w, 8, 8, &s), 0);
    record(&w, 0, 3000, "a phone"); /* of two workers, in any order */
    record(&w, 1, 4000, "a phone");
    record(&w, 0, 1000, "a phone");
    record(&w, 1, 2000, "a phone");
    sim_run_until(w.s, sim_now(w.s) + 2 * USEC_S);
    assert_int_equal(last_records(&w, 8, 8, &s), 4);
    for (usec i = 0; i < 4; i++)
        assert_int_equal(s.began[i], (4 - i) * 1000);
    assert_int_equal(last_records(&w, 2, 8, &s), 2);
    assert_int_equal(s.began[1], 3000);
    assert_int_equal(last_records(&w, 8, 1, &s), 1); /* it may stop */
    world_reopen(&w);
    assert_int_equal(last_records(&w, 8, 8, &s), 4);
    world_end(&w);
}

static void too_many_records_push_out_the_oldest(void **state)
{
    struct world w;
    (void)state;
    world_start(&w, true);
    for (int i = 0; i < 50010; i++) /* all in one turn: nothing is written meanwhile */
        record(&w, 0, i, "");
    assert_int_equal(atomic_load(&w.l->stats.refusals[STAT_LIMIT_OFFLOAD]), 10);
    world_close(&w);
    assert_int_equal(query(&w, "SELECT count(*) FROM record"), 50000);
    /* 500 were being written already; the ten after them are gone. */
    assert_int_equal(query(&w, "SELECT count(*) FROM record WHERE began BETWEEN 500 AND 509"), 0);
    world_end(&w);
}

static void a_locked_file_delays_records_and_loses_none(void **state)
{
    struct world w;
    sqlite3 *db;
    (void)state;
    world_start(&w, true);
    assert_int_equal(sqlite3_open_v2(w.path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "ALTER TABLE record RENAME TO away", NULL, NULL, NULL),
                     SQLITE_OK);
    for (int i = 0; i < 700; i++)
        record(&w, 0, i, "");
    sim_run_until(w.s, sim_now(w.s) + 5 * USEC_S);
    assert_int_equal(query(&w, "SELECT count(*) FROM away"), 0);
    assert_int_equal(sqlite3_exec(db, "ALTER TABLE away RENAME TO record", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    sim_run_until(w.s, sim_now(w.s) + 3 * USEC_S);
    assert_int_equal(query(&w, "SELECT count(*) FROM record"), 700);
    assert_int_equal(query(&w, "SELECT count(*) FROM record WHERE id = began + 1"), 700);
    world_end(&w);
}

static void old_records_are_removed(void **state)
{
    struct world w;
    (void)state;
    world_start(&w, true);
    world_close(&w);
    assert_int_equal(sim_process(w.h, 2, &w.g), ERR_OK);
    w.l = w.g->loop[0];
    w.c.records_keep = 2 * USEC_DAY;
    world_open(&w);
    sim_run_until(w.s, sim_now(w.s));
    usec now = loop_wall(w.l);
    for (int i = 0; i < 2500; i++)
        record(&w, 0, now - 3 * USEC_DAY, "");
    record(&w, 0, now - USEC_DAY - USEC_HOUR, "");
    record(&w, 0, now, "");
    sim_run_until(w.s, sim_now(w.s) + 5 * USEC_S);
    assert_int_equal(query(&w, "SELECT count(*) FROM record"), 2502);
    sim_run_until(w.s, sim_now(w.s) + 10 * USEC_S);
    assert_int_equal(query(&w, "SELECT count(*) FROM record"), 2);
    sim_run_until(w.s, sim_now(w.s) + USEC_DAY + USEC_MIN);
    assert_int_equal(query(&w, "SELECT count(*) FROM record"), 1);
    world_end(&w);
}

/* ---- files ---- */

static enum err try_open(struct world *w)
{
    const char *why = NULL;
    enum err rc = sqlite_directory_open(&w->c, &w->dir, &why);
    if (rc)
        assert_true(why && why[0]);
    return rc;
}

static void files_that_are_not_ours_are_left_alone(void **state)
{
    struct world w;
    (void)state;
    world_start(&w, true);
    struct account a = account("alice");
    assert_int_equal(change(&w, STORE_ADD, &a), ERR_OK);
    world_close(&w);
    query(&w, "PRAGMA user_version = 99");
    assert_int_equal(try_open(&w), ERR_UNSUPPORTED);
    assert_int_equal(query(&w, "SELECT count(*) FROM account"), 1);
    query(&w, "PRAGMA user_version = 3");
    query(&w, "UPDATE account SET md5 = x'0102'");
    assert_int_equal(try_open(&w), ERR_CORRUPT);
    FILE *f = fopen(w.path, "w");
    assert_non_null(f);
    for (int i = 0; i < 1000; i++)
        fputs("this is no database\n", f);
    fclose(f);
    assert_int_equal(try_open(&w), ERR_CORRUPT);
    w.c.path = "/nonexistent/tandem.db";
    assert_int_equal(try_open(&w), ERR_IO);
    world_end(&w);
}

/* A file of the first version: its records stay, without what they did not know. */
static void a_file_of_before_is_brought_up(void **state)
{
    struct world w;
    (void)state;
    world_start(&w, true);
    record(&w, 0, 1000, "");
    world_close(&w);
    query(&w, "ALTER TABLE record DROP COLUMN media");
    query(&w, "ALTER TABLE record DROP COLUMN reason");
    query(&w, "PRAGMA user_version = 1");
    world_again(&w);
    record(&w, 0, 1000, "");
    world_close(&w);
    assert_int_equal(query(&w, "SELECT count(*) FROM record WHERE media = ''"), 1);
    assert_int_equal(query(&w, "SELECT count(*) FROM record WHERE media <> ''"), 1);
    assert_int_equal(query(&w, "SELECT count(*) FROM record WHERE reason = ''"), 1);
    assert_int_equal(query(&w, "SELECT count(*) FROM record WHERE reason <> ''"), 1);
    world_end(&w);
}

static void running_out_of_memory_is_told(void **state)
{
    struct world w;
    struct account a = account("alice");
    (void)state;
    world_start(&w, false);
    a.numbers[0] = SV("101");
    a.numbers_n = 1;
    enum err rc = ERR_NOMEM;
    for (size_t n = 1; rc; n++) {
        struct waiter k = {0};
        struct store_change c = {.account = a};
        c.what = STORE_SET;
        store_op_init(&c.op, waiter_done, &k);
        mem_fail_after(n);
        w.dir->ops->change(w.dir, w.l, &c);
        rc = wait_for(&w, &k);
        mem_fail_after(0);
        assert_true(rc == ERR_OK || rc == ERR_NOMEM);
    }
    assert_string_equal(user_of(&w, "101"), "alice");
    rc = ERR_NOMEM;
    unsigned failed = 0;
    for (size_t n = 1; rc; n++) {
        struct waiter k = {0};
        struct store_change c = {.account = a};
        c.what = STORE_REMOVE;
        store_op_init(&c.op, waiter_done, &k);
        mem_fail_after(n);
        w.dir->ops->change(w.dir, w.l, &c);
        rc = wait_for(&w, &k);
        mem_fail_after(0);
        failed += rc == ERR_NOMEM;
        assert_true(rc == ERR_OK || rc == ERR_NOMEM); /* even when the file has lost it already */
    }
    assert_true(failed > 1);
    assert_int_equal(find_user(&w, "alice"), ERR_NOTFOUND);
    assert_string_equal(user_of(&w, "101"), "");
    mem_fail_after(1);
    record(&w, 0, 0, "");
    mem_fail_after(0);
    assert_int_equal(atomic_load(&w.l->stats.refusals[STAT_LIMIT_OFFLOAD]), 1);
    world_end(&w);
}

/* ---- threads ---- */

enum { CHANGERS = 8, CHANGES = 60 };

struct changer {
    struct store_directory *dir;
    struct loop *loop;
    struct loop_group *g;
    struct timer start;
    struct arena arena;
    struct store_change c;
    struct store_find f;
    char user[16], number[16];
    unsigned left;
};
static _Atomic unsigned changing;

static void changer_next(struct changer *x)
{
    arena_reset(&x->arena);
    snprintf(x->user, sizeof x->user, "u%u", x->left % 5);
    snprintf(x->number, sizeof x->number, "10%u", x->left % 3);
    x->c.account = account(x->user);
    x->c.account.numbers[0] = sv_of(x->number);
    x->c.account.numbers_n = 1;
    x->c.what = x->left % 4 ? STORE_SET : STORE_REMOVE;
    x->dir->ops->change(x->dir, x->loop, &x->c);
}

static void on_changed(struct store_op *op, enum err rc)
{
    struct changer *x = op->arg;
    assert_true(rc == ERR_OK || rc == ERR_EXISTS || rc == ERR_NOTFOUND);
    struct call_record r = {.call_id = SV("c"), .status = 486};
    x->dir->ops->record(x->dir, x->loop, &r);
    x->f.arena = &x->arena;
    x->f.number = sv_of(x->number);
    x->dir->ops->find(x->dir, x->loop, &x->f);
}

static void on_found(struct store_op *op, enum err rc)
{
    struct changer *x = op->arg;
    assert_true(rc == ERR_OK || rc == ERR_NOTFOUND);
    if (!rc)
        assert_true(sv_eq(x->f.account.numbers[0], x->f.number));
    if (--x->left)
        changer_next(x);
    else if (--changing == 0)
        worker_group_stop(x->g);
}

static void on_start(struct timer *t, void *arg)
{
    (void)t;
    changer_next(arg);
}

struct seen {
    unsigned n;
    char user[8][16], number[8][16];
};

static bool note(const struct account *a, void *arg)
{
    struct seen *s = arg;
    snprintf(s->user[s->n], 16, SV_FMT, SV_ARG(a->user));
    snprintf(s->number[s->n++], 16, SV_FMT, SV_ARG(a->numbers[0]));
    return true;
}

static void the_tables_follow_the_file_under_threads(void **state)
{
    (void)state;
    size_t live = mem_live();
    static struct changer changer[CHANGERS];
    char dir[] = "/tmp/tandem-sqlite-XXXXXX", path[64];
    const char *why;
    struct loop_group *g;
    struct store_directory *d;
    struct seen before = {0}, after = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/tandem.db", dir);
    struct sqlite_config c = {.path = path};
    assert_int_equal(worker_group_new(4, &g), ERR_OK);
    assert_int_equal(sqlite_directory_open(&c, &d, &why), ERR_OK);
    changing = CHANGERS;
    for (unsigned i = 0; i < CHANGERS; i++) {
        struct changer *x = &changer[i];
        *x = (struct changer){.dir = d, .loop = g->loop[i % 4], .g = g, .left = CHANGES + i};
        arena_init(&x->arena, NULL, 0, 1 << 20);
        store_op_init(&x->c.op, on_changed, x);
        store_op_init(&x->f.op, on_found, x);
        timer_init(&x->start, on_start, x);
        loop_timer(x->loop, &x->start, 0);
    }
    assert_int_equal(worker_group_run(g), ERR_OK);
    assert_int_equal(changing, 0);
    assert_int_equal(d->ops->each(d, note, &before), ERR_OK);
    d->ops->close(d);
    for (unsigned i = 0; i < CHANGERS; i++)
        arena_done(&changer[i].arena);
    worker_group_free(g);
    assert_int_equal(sqlite_directory_open(&c, &d, &why), ERR_OK);
    assert_int_equal(d->ops->each(d, note, &after), ERR_OK);
    d->ops->close(d);
    assert_int_equal(after.n, before.n);
    for (unsigned i = 0; i < before.n; i++) {
        unsigned k = 0;
        while (k < after.n && strcmp(before.user[i], after.user[k]))
            k++;
        assert_true(k < after.n);
        assert_string_equal(before.number[i], after.number[k]);
    }
    assert_int_equal(disk_list(disk_real(), sv_of(dir), unlink_one, dir), ERR_OK);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(mem_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_account_is_found_by_user_and_by_number_also_later),
        cmocka_unit_test(changes_keep_users_and_numbers_unique),
        cmocka_unit_test(a_name_is_nobody_elses_number),
        cmocka_unit_test(unfit_accounts_are_refused),
        cmocka_unit_test(a_cancelled_change_is_silent),
        cmocka_unit_test(a_walk_meets_each_and_may_stop),
        cmocka_unit_test(facts_are_remembered),
        cmocka_unit_test(records_are_written_within_a_second_or_at_close),
        cmocka_unit_test(the_last_records_are_read_the_newest_first),
        cmocka_unit_test(too_many_records_push_out_the_oldest),
        cmocka_unit_test(a_locked_file_delays_records_and_loses_none),
        cmocka_unit_test(old_records_are_removed),
        cmocka_unit_test(a_file_of_before_is_brought_up),
        cmocka_unit_test(files_that_are_not_ours_are_left_alone),
        cmocka_unit_test(running_out_of_memory_is_told),
        cmocka_unit_test(the_tables_follow_the_file_under_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
