/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include "disk/disk.h"

/* The library's writev resolves to this one: the kernel's, or a reluctant one. */
static bool reluctant;

ssize_t writev(int fd, const struct iovec *iov, int n)
{
    static unsigned calls;
    if (!reluctant)
        return syscall(SYS_writev, fd, iov, n);
    if (++calls % 3 == 0) {
        errno = EINTR;
        return -1;
    }
    for (int i = 0; i < n; i++)
        if (iov[i].iov_len > 0)
            return syscall(SYS_write, fd, iov[i].iov_base, iov[i].iov_len > 2 ? 2 : 1);
    return 0;
}

static struct disk *d;
static char dir[64], text[128];

static sv at(const char *name)
{
    snprintf(text, sizeof(text), "%s/%s", dir, name);
    return sv_of(text);
}

static int setup(void **state)
{
    (void)state;
    d = disk_real();
    snprintf(dir, sizeof(dir), "/tmp/tandem-disk-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static bool remove_one(sv name, void *arg)
{
    char path[512];
    (void)arg;
    snprintf(path, sizeof(path), "%s/" SV_FMT, dir, SV_ARG(name));
    return unlink(path) == 0;
}

static int teardown(void **state)
{
    (void)state;
    if (disk_list(d, sv_of(dir), remove_one, NULL))
        return -1;
    return rmdir(dir);
}

static void expect_content(const char *name, const char *want)
{
    char *p;
    size_t n;
    assert_int_equal(disk_read(d, at(name), 1 << 20, &p, &n), ERR_OK);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(p, want, n);
    mem_free(p);
}

static void write_file(const char *name, const char *content)
{
    struct disk_file *f;
    uint64_t size;
    assert_int_equal(disk_open(d, at(name), true, &f, &size), ERR_OK);
    assert_int_equal(size, 0);
    assert_int_equal(disk_append(f, &(sv){content, strlen(content)}, 1), ERR_OK);
    disk_close(f);
}

static void appends_and_reads(void **state)
{
    struct disk_file *f;
    struct stat st;
    uint64_t size;
    sv pieces[200];
    (void)state;
    write_file("log", "one");
    assert_int_equal(stat(at("log").p, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(disk_open(d, at("log"), false, &f, &size), ERR_OK);
    assert_int_equal(size, 3);
    assert_int_equal(disk_append(f, (sv[]){SV("+two"), SV(""), SV("+three")}, 3), ERR_OK);
    assert_int_equal(disk_sync(f), ERR_OK);
    disk_close(f);
    expect_content("log", "one+two+three");

    reluctant = true;
    assert_int_equal(disk_open(d, at("log"), true, &f, &size), ERR_OK);
    assert_int_equal(disk_append(f, (sv[]){SV("abcde"), SV(""), SV("fghij"), SV("k")}, 4), ERR_OK);
    reluctant = false;
    disk_close(f);
    expect_content("log", "abcdefghijk");

    /* more pieces than go into one call */
    char want[201] = {0};
    for (int i = 0; i < 200; i++) {
        want[i] = (char)('a' + i % 26);
        pieces[i] = (sv){want + i, 1};
    }
    assert_int_equal(disk_open(d, at("many"), true, &f, &size), ERR_OK);
    assert_int_equal(disk_append(f, pieces, 200), ERR_OK);
    disk_close(f);
    expect_content("many", want);
}

static void reading_is_capped(void **state)
{
    char *p;
    size_t n;
    (void)state;
    write_file("five", "12345");
    assert_int_equal(disk_read(d, at("five"), 5, &p, &n), ERR_OK);
    assert_int_equal(n, 5);
    mem_free(p);
    assert_int_equal(disk_read(d, at("five"), 4, &p, &n), ERR_TOOBIG);
    write_file("none", "");
    expect_content("none", "");
    /* its size says 0 */
    assert_int_equal(disk_read(d, SV("/proc/self/status"), 10, &p, &n), ERR_TOOBIG);
    assert_int_equal(disk_read(d, SV("/proc/self/status"), 1 << 20, &p, &n), ERR_OK);
    assert_true(n > 10);
    mem_free(p);
    assert_int_equal(disk_read(d, at("absent"), 5, &p, &n), ERR_NOTFOUND);
    assert_int_equal(disk_read(d, sv_of(dir), 5, &p, &n), ERR_IO);
    assert_int_equal(disk_read(d, (sv){"a\0b", 3}, 5, &p, &n), ERR_NOTFOUND);
}

static void truncates_renames_removes(void **state)
{
    char to[128];
    (void)state;
    write_file("a", "0123456789");
    assert_int_equal(disk_truncate(d, at("a"), 4), ERR_OK);
    expect_content("a", "0123");
    write_file("b", "old");
    snprintf(to, sizeof(to), "%s/b", dir);
    assert_int_equal(disk_rename(d, at("a"), sv_of(to)), ERR_OK);
    expect_content("b", "0123");
    assert_int_equal(disk_remove(d, at("a")), ERR_NOTFOUND);
    assert_int_equal(disk_remove(d, at("b")), ERR_OK);
    assert_int_equal(disk_remove(d, at("b")), ERR_NOTFOUND);
    assert_int_equal(disk_sync_dir(d, sv_of(dir)), ERR_OK);
    assert_int_equal(disk_truncate(d, at("b"), 0), ERR_NOTFOUND);
}

struct names {
    char all[64];
    size_t n, stop;
};

static bool add_name(sv name, void *arg)
{
    struct names *s = arg;
    memcpy(s->all + s->n, name.p, name.n);
    s->n += name.n;
    s->all[s->n++] = ' ';
    return --s->stop > 0;
}

static void lists_in_order(void **state)
{
    struct names s = {.stop = 100};
    (void)state;
    write_file("x.2", "");
    write_file("x.10", "");
    write_file("x.1", "");
    assert_int_equal(disk_mkdir(d, at("folder"), 0700), ERR_OK);
    assert_int_equal(disk_mkdir(d, at("folder"), 0700), ERR_OK); /* there already */
    assert_int_equal(disk_mkdir(d, at("x.1"), 0700), ERR_EXISTS);
    assert_int_equal(disk_mkdir(d, at("no/where"), 0700), ERR_NOTFOUND);
    assert_int_equal(disk_list(d, sv_of(dir), add_name, &s), ERR_OK);
    assert_string_equal(s.all, "x.1 x.10 x.2 ");
    s = (struct names){.stop = 1};
    assert_int_equal(disk_list(d, sv_of(dir), add_name, &s), ERR_OK);
    assert_string_equal(s.all, "x.1 ");
    assert_int_equal(disk_list(d, at("nowhere"), add_name, &s), ERR_NOTFOUND);
    assert_int_equal(rmdir(at("folder").p), 0);
}

/* A file size limit stands for a full disk: the kernel writes a part, then nothing more. */
static void part_of_a_write_is_an_error(void **state)
{
    struct disk_file *f;
    uint64_t size;
    struct rlimit before, small;
    char octets[100];
    (void)state;
    memset(octets, 'x', sizeof(octets));
    getrlimit(RLIMIT_FSIZE, &before);
    small = (struct rlimit){150, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(disk_open(d, at("full"), true, &f, &size), ERR_OK);
    setrlimit(RLIMIT_FSIZE, &small);
    enum err first = disk_append(f, &(sv){octets, 100}, 1);
    enum err second = disk_append(f, &(sv){octets, 100}, 1);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(first, ERR_OK);
    assert_int_not_equal(second, ERR_OK);
    disk_close(f);
    disk_close(NULL);
}

static void missing_folder(void **state)
{
    struct disk_file *f;
    uint64_t size;
    size_t live = mem_live();
    (void)state;
    assert_int_equal(disk_open(d, at("no/such"), false, &f, &size), ERR_NOTFOUND);
    assert_int_equal(mem_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(appends_and_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(reading_is_capped, setup, teardown),
        cmocka_unit_test_setup_teardown(truncates_renames_removes, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(part_of_a_write_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(missing_folder, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
