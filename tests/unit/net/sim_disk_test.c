/* SPDX-License-Identifier: MIT */
/* The simulated backend: disks that survive processes and tear when the power goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "sim/sim.h"

struct fixture {
    struct sim *s;
    struct sim_host *h;
    struct disk *d;
};

static void boot(struct fixture *f)
{
    struct loop_group *g;
    assert_int_equal(sim_process(f->h, 1, &g), ERR_OK);
    assert_ptr_equal(g->loop[0]->disk, f->d);
}

static void start(struct fixture *f, uint64_t seed)
{
    assert_int_equal(sim_new(seed, &f->s), ERR_OK);
    assert_int_equal(sim_host_new(f->s, "a", NULL, 0, &f->h), ERR_OK);
    f->d = sim_disk(f->h);
    boot(f);
    assert_int_equal(disk_mkdir(f->d, SV("/var/lib/t/"), 0700), ERR_OK);
}

static void crash(struct fixture *f, bool power)
{
    sim_process_kill(f->h, power);
    sim_process_free(f->h);
    boot(f);
}

static struct disk_file *open_at(struct fixture *f, const char *path, uint64_t size)
{
    struct disk_file *file;
    uint64_t is;
    assert_int_equal(disk_open(f->d, sv_of(path), false, &file, &is), ERR_OK);
    assert_int_equal(is, size);
    return file;
}

static void put(struct disk_file *file, const char *text)
{
    sv piece = sv_of(text);
    assert_int_equal(disk_append(file, &piece, 1), ERR_OK);
}

/* The file as text, up to 999 octets; NULL: it is not there. */
static const char *get(struct fixture *f, const char *path)
{
    static char text[1000];
    char *p;
    size_t n;
    enum err rc = disk_read(f->d, sv_of(path), sizeof(text) - 1, &p, &n);
    if (rc == ERR_NOTFOUND)
        return NULL;
    assert_int_equal(rc, ERR_OK);
    memcpy(text, p, n);
    text[n] = 0;
    mem_free(p);
    return text;
}

static void write_file(struct fixture *f, const char *path, const char *text)
{
    struct disk_file *file;
    uint64_t size;
    assert_int_equal(disk_open(f->d, sv_of(path), true, &file, &size), ERR_OK);
    assert_int_equal(size, 0);
    put(file, text);
    assert_int_equal(disk_sync(file), ERR_OK);
    disk_close(file);
}

static bool add_name(sv name, void *arg)
{
    struct buf *b = arg;
    buf_put(b, name);
    buf_char(b, ' ');
    return true;
}

static void keeps_files(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, 1);
    struct disk_file *file = open_at(&f, "/var/lib/t/log", 0);
    put(file, "one ");
    put(file, "two");
    disk_close(file);
    assert_string_equal(get(&f, "/var/lib/t/log"), "one two");
    disk_close(open_at(&f, "/var/lib/t/log", 7));
    assert_int_equal(disk_truncate(f.d, SV("/var/lib/t/log"), 3), ERR_OK);
    assert_string_equal(get(&f, "/var/lib/t/log"), "one");
    write_file(&f, "/var/lib/t/b", "new");
    write_file(&f, "/var/lib/t/a", "x");
    assert_int_equal(disk_rename(f.d, SV("/var/lib/t/b"), SV("/var/lib/t/log")), ERR_OK);
    assert_string_equal(get(&f, "/var/lib/t/log"), "new");
    assert_null(get(&f, "/var/lib/t/b"));
    assert_int_equal(disk_mkdir(f.d, SV("/var/lib/t/sub"), 0700), ERR_OK);
    assert_int_equal(disk_mkdir(f.d, SV("/var/lib/t/sub"), 0700), ERR_OK);
    write_file(&f, "/var/lib/t/sub/c", "x");
    char mem[100];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    assert_int_equal(disk_list(f.d, SV("/var/lib/t"), add_name, &b), ERR_OK);
    assert_true(sv_eq(buf_sv(&b), SV("a log ")));
    assert_int_equal(disk_remove(f.d, SV("/var/lib/t/a")), ERR_OK);
    assert_int_equal(disk_remove(f.d, SV("/var/lib/t/a")), ERR_NOTFOUND);
    uint64_t size;
    char *p;
    size_t n;
    assert_int_equal(disk_open(f.d, SV("/nowhere/x"), false, &file, &size), ERR_NOTFOUND);
    assert_int_equal(disk_mkdir(f.d, SV("/nowhere/x"), 0700), ERR_NOTFOUND);
    assert_int_equal(disk_list(f.d, SV("/nowhere"), add_name, &b), ERR_NOTFOUND);
    assert_int_equal(disk_read(f.d, SV("/var/lib/t/log"), 2, &p, &n), ERR_TOOBIG);
    sim_free(f.s);
}

static void kill_loses_no_octet(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct fixture f;
        start(&f, seed);
        struct disk_file *file = open_at(&f, "/var/lib/t/log", 0);
        put(file, "not synced");
        sv late = SV("x");
        sim_process_kill(f.h, false);
        assert_int_equal(disk_append(file, &late, 1), ERR_IO);
        assert_int_equal(disk_remove(f.d, SV("/var/lib/t/log")), ERR_IO);
        sim_process_free(f.h);
        boot(&f);
        assert_int_equal(disk_append(file, &late, 1), ERR_IO); /* a handle of an earlier life */
        disk_close(file);
        assert_string_equal(get(&f, "/var/lib/t/log"), "not synced");
        sim_free(f.s);
    }
}

static void power_loss_cuts_and_tears_what_was_not_synced(void **state)
{
    (void)state;
    unsigned none = 0, some = 0, all = 0, torn = 0;
    static const char tail[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
    size_t tail_n = sizeof(tail) - 1;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct fixture f;
        start(&f, seed);
        struct disk_file *file = open_at(&f, "/var/lib/t/log", 0);
        put(file, "synced:");
        assert_int_equal(disk_sync(file), ERR_OK);
        put(file, tail);
        crash(&f, true);
        disk_close(file);
        char *p;
        size_t n;
        assert_int_equal(disk_read(f.d, SV("/var/lib/t/log"), 1000, &p, &n), ERR_OK);
        assert_in_range(n, 7, 7 + tail_n);
        assert_memory_equal(p, "synced:", 7);
        none += n == 7;
        all += n == 7 + tail_n;
        some += n > 7 && n < 7 + tail_n;
        torn += memcmp(p + 7, tail, n - 7) != 0;
        mem_free(p);
        crash(&f, true); /* what a crash left is durable */
        char *again;
        size_t m;
        assert_int_equal(disk_read(f.d, SV("/var/lib/t/log"), 1000, &again, &m), ERR_OK);
        assert_int_equal(m, n);
        mem_free(again);
        sim_free(f.s);
    }
    assert_true(none > 30 && some > 60 && all > 30);
    assert_in_range(torn, 40, 110);
}

static void power_loss_undoes_names_that_were_not_synced(void **state)
{
    (void)state;
    unsigned old = 0, fresh = 0, gone = 0, back = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct fixture f;
        start(&f, seed);
        write_file(&f, "/var/lib/t/snap", "old");
        write_file(&f, "/var/lib/t/extra", "extra");
        write_file(&f, "/var/lib/t/snap.new", "new");
        assert_int_equal(disk_rename(f.d, SV("/var/lib/t/snap.new"), SV("/var/lib/t/snap")),
                         ERR_OK);
        assert_int_equal(disk_remove(f.d, SV("/var/lib/t/extra")), ERR_OK);
        bool synced = seed % 2;
        if (synced)
            assert_int_equal(disk_sync_dir(f.d, SV("/var/lib/t")), ERR_OK);
        crash(&f, true);
        const char *snap = get(&f, "/var/lib/t/snap");
        assert_non_null(snap);
        bool is_new = snap[0] == 'n';
        assert_string_equal(snap, is_new ? "new" : "old"); /* one or the other, whole */
        assert_true(is_new == !get(&f, "/var/lib/t/snap.new"));
        bool extra = get(&f, "/var/lib/t/extra") != NULL;
        if (synced) {
            assert_true(is_new && !extra);
        } else {
            old += !is_new;
            fresh += is_new;
            gone += !extra;
            back += extra;
        }
        sim_free(f.s);
    }
    assert_true(old > 10 && fresh > 10 && gone > 10 && back > 10);
}

static void power_loss_undoes_creation_and_truncation(void **state)
{
    (void)state;
    unsigned there = 0, longer = 0, shorter = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct fixture f;
        start(&f, seed);
        write_file(&f, "/var/lib/t/log", "0123456789");
        assert_int_equal(disk_truncate(f.d, SV("/var/lib/t/log"), 4), ERR_OK);
        disk_close(open_at(&f, "/var/lib/t/fresh", 0));
        struct disk_file *file = open_at(&f, "/var/lib/t/log", 4);
        if (seed % 2) {
            put(file, "ab");
            assert_int_equal(disk_sync(file), ERR_OK);
        }
        disk_close(file);
        crash(&f, true);
        there += get(&f, "/var/lib/t/fresh") != NULL;
        const char *log = get(&f, "/var/lib/t/log");
        if (seed % 2) {
            assert_string_equal(log, "0123ab");
        } else {
            longer += strcmp(log, "0123456789") == 0;
            shorter += strcmp(log, "0123") == 0;
        }
        sim_free(f.s);
    }
    assert_in_range(there, 20, 80);
    assert_true(longer > 10 && shorter > 10);
    assert_int_equal(longer + shorter, 50);
}

static void a_replaced_name_stays_replaced_once_the_new_file_is_synced(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct fixture f;
        start(&f, seed);
        write_file(&f, "/var/lib/t/log", "old");
        assert_int_equal(disk_remove(f.d, SV("/var/lib/t/log")), ERR_OK);
        write_file(&f, "/var/lib/t/log", "new");
        crash(&f, true);
        assert_string_equal(get(&f, "/var/lib/t/log"), "new");
        sim_free(f.s);
    }
}

static void the_nth_operation_is_the_crash(void **state)
{
    (void)state;
    unsigned partial = 0, renamed = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct fixture f;
        start(&f, seed);
        struct disk_file *file = open_at(&f, "/var/lib/t/log", 0);
        sv piece = SV("0123456789");
        sim_disk_fail_after(f.h, 3);
        assert_int_equal(disk_append(file, &piece, 1), ERR_OK);
        assert_int_equal(disk_sync(file), ERR_OK);
        assert_int_equal(disk_append(file, &piece, 1), ERR_IO);
        assert_int_equal(disk_append(file, &piece, 1), ERR_IO);
        assert_int_equal(disk_sync(file), ERR_IO);
        disk_close(file);
        crash(&f, false);
        size_t n = strlen(get(&f, "/var/lib/t/log"));
        assert_in_range(n, 10, 20);
        partial += n > 10 && n < 20;
        sim_disk_fail_after(f.h, 1);
        assert_int_equal(disk_rename(f.d, SV("/var/lib/t/log"), SV("/var/lib/t/x")), ERR_IO);
        sim_disk_fail_after(f.h, 0);
        bool moved = get(&f, "/var/lib/t/x") != NULL;
        assert_true(moved == !get(&f, "/var/lib/t/log"));
        renamed += moved;
        sim_free(f.s);
    }
    assert_in_range(partial, 30, 60);
    assert_in_range(renamed, 15, 45);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_files),
        cmocka_unit_test(kill_loses_no_octet),
        cmocka_unit_test(power_loss_cuts_and_tears_what_was_not_synced),
        cmocka_unit_test(power_loss_undoes_names_that_were_not_synced),
        cmocka_unit_test(power_loss_undoes_creation_and_truncation),
        cmocka_unit_test(a_replaced_name_stays_replaced_once_the_new_file_is_synced),
        cmocka_unit_test(the_nth_operation_is_the_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
