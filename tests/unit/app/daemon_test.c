/* SPDX-License-Identifier: MIT */
/* The parts of the daemon that the whole one cannot be made to show: the data folder, the kept
 * configurations, taken ports, and every early end of the set-up, in a process of its own each. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/daemon_priv.h"

static char folder[64];
static char logged[64 * 1024];
static size_t logged_n;

static void keep_log(sv line, void *arg)
{
    (void)arg;
    if (logged_n + line.n < sizeof(logged)) {
        memcpy(logged + logged_n, line.p, line.n);
        logged_n += line.n;
        logged[logged_n] = '\0';
    }
}

static const char *path_of(const char *name)
{
    static char path[4][256];
    static int next;
    char *mem = path[next++ & 3];
    snprintf(mem, 256, "%s/%s", folder, name);
    return mem;
}

static void put(const char *name, const char *text, size_t n, mode_t mode)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), n);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static mode_t mode_of(const char *name)
{
    struct stat st;
    assert_int_equal(stat(path_of(name), &st), 0);
    return st.st_mode & 07777;
}

static void remove_all(const char *path)
{
    char command[300];
    snprintf(command, sizeof(command), "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
}

static int up(void **state)
{
    (void)state;
    umask(0022);
    snprintf(folder, sizeof(folder), "/tmp/tandem-daemon-XXXXXX");
    logged_n = 0;
    logged[0] = '\0';
    log_sink(keep_log, NULL);
    return mkdtemp(folder) && chmod(folder, 0755) == 0 ? 0 : 1;
}

static int down(void **state)
{
    (void)state;
    log_sink(NULL, NULL);
    remove_all(folder);
    return 0;
}

/* A daemon with no more than a data folder. */
static void bare(struct daemon *d, struct config *c)
{
    memset(d, 0, sizeof(*d));
    memset(c, 0, sizeof(*c));
    d->lock_fd = -1;
    d->config = c;
    c->data = sv_of(path_of("data"));
}

/* ---- the data folder ---- */

static void the_folder_is_made_closed_and_locked(void **state)
{
    (void)state;
    struct daemon d, other;
    struct config c, c2;
    char pid[32];
    bare(&d, &c);
    assert_int_equal(state_open(&d), 0);
    assert_int_equal(mode_of("data"), 0700);
    assert_int_equal(mode_of("data/lock"), 0600);
    bare(&other, &c2);
    assert_int_equal(state_open(&other), 3);
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    assert_non_null(strstr(logged, pid));
    state_close(&other);
    state_close(&d);
    bare(&d, &c);
    assert_int_equal(state_open(&d), 0); /* the lock goes with its owner */
    state_close(&d);
}

static void an_open_folder_is_closed_or_refused(void **state)
{
    (void)state;
    struct daemon d;
    struct config c;
    assert_int_equal(mkdir(path_of("data"), 0755), 0);
    bare(&d, &c);
    assert_int_equal(state_open(&d), 0);
    assert_int_equal(mode_of("data"), 0700);
    state_close(&d);
    assert_int_equal(chmod(path_of("data"), 0755), 0); /* ours: it has our lock */
    assert_int_equal(state_open(&d), 0);
    assert_int_equal(mode_of("data"), 0700);
    state_close(&d);
    assert_int_equal(unlink(path_of("data/lock")), 0);
    put("data/somebody's", "x", 1, 0644);
    assert_int_equal(chmod(path_of("data"), 0755), 0);
    bare(&d, &c);
    assert_int_equal(state_open(&d), 3);
    assert_int_equal(mode_of("data"), 0755); /* and left as it was */
    assert_int_equal(access(path_of("data/lock"), F_OK), -1);
    state_close(&d);
}

static void a_folder_that_is_none_is_refused(void **state)
{
    (void)state;
    struct daemon d;
    struct config c;
    put("data", "x", 1, 0644);
    bare(&d, &c);
    assert_int_equal(state_open(&d), 3);
    c.data = sv_of(path_of("no/such/parent"));
    logged_n = 0;
    assert_int_equal(state_open(&d), 3);
    assert_non_null(strstr(logged, "that it would be in is missing"));
    assert_non_null(strstr(logged, "/no/such"));
    assert_null(strstr(logged, "/no/such/parent"));
    char *long_name = malloc(5000);
    memset(long_name, 'a', 5000);
    c.data = (sv){long_name, 5000};
    assert_int_equal(state_open(&d), 3);
    free(long_name);
    /* A lock that leads elsewhere is not followed. */
    assert_int_equal(unlink(path_of("data")), 0);
    assert_int_equal(mkdir(path_of("data"), 0700), 0);
    put("victim", "precious", 8, 0644);
    assert_int_equal(symlink(path_of("victim"), path_of("data/lock")), 0);
    c.data = sv_of(path_of("data"));
    assert_int_equal(state_open(&d), 3);
    struct stat st;
    assert_int_equal(stat(path_of("victim"), &st), 0);
    assert_int_equal(st.st_size, 8);
    state_close(&d);
}

static void secrets_are_made_once_and_kept_private(void **state)
{
    (void)state;
    struct daemon d, again;
    struct config c, c2;
    umask(0);
    bare(&d, &c);
    assert_int_equal(state_open(&d), 0);
    assert_int_equal(state_secrets(&d), 0);
    assert_int_equal(mode_of("data/secret"), 0600);
    assert_int_equal(mode_of("data/control.token"), 0600);
    assert_int_equal(strlen(d.token), 32);
    assert_memory_not_equal(d.secrets.marks, d.secrets.nonces, sizeof(d.secrets.marks));
    assert_memory_not_equal(d.secrets.tickets, d.secrets.tickets + SHA256_LEN, SHA256_LEN);
    state_close(&d);
    assert_int_equal(chmod(path_of("data/control.token"), 0666), 0);
    bare(&again, &c2);
    assert_int_equal(state_open(&again), 0);
    assert_int_equal(state_secrets(&again), 0);
    assert_memory_equal(&d.secrets, &again.secrets, sizeof(d.secrets));
    assert_string_equal(d.token, again.token);
    assert_int_equal(mode_of("data/control.token"), 0600);
    static const char *const wrong[] = {"", "short", "one octet more than the 32 it has"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        put("data/secret", wrong[i], strlen(wrong[i]), 0600);
        assert_int_equal(state_secrets(&again), 3);
    }
    state_close(&again);
}

/* ---- kept configurations ---- */

static struct config *load(const struct config_source *src)
{
    struct config_report report;
    struct config *c = NULL;
    config_report_init(&report);
    enum err rc = config_load(src, &report, &c);
    if (rc)
        fail_msg(SV_FMT, SV_ARG(report.problems[0].text));
    config_report_done(&report);
    return c;
}

static void write_files(const char *main_text, const char *a, const char *b)
{
    put("t.yaml", main_text, strlen(main_text), 0644);
    mkdir(path_of("more"), 0755);
    put("more/a.yaml", a, strlen(a), 0644);
    put("more/b.yaml", b, strlen(b), 0644);
}

static void a_kept_configuration_is_read_as_it_was(void **state)
{
    (void)state;
    struct daemon d;
    struct config bare_c;
    struct arena a;
    const struct config_file *files;
    size_t n;
    char main_path[256];
    snprintf(main_path, sizeof(main_path), "%s", path_of("t.yaml"));
    struct config_source src = {.path = main_path};
    write_files("domains: [one.test]\ndata: ./here\ninclude: more/*.yaml\n",
                "accounts: [{user: a, number: 1}]\n", "accounts: [{user: b, number: 2}]\n");
    bare(&d, &bare_c);
    assert_int_equal(state_open(&d), 0);
    arena_init(&a, NULL, 0, 1024 * 1024);
    assert_int_equal(saved_read(&d, "config.last", &a, &files, &n), ERR_NOTFOUND);
    struct config *first = load(&src);
    assert_int_equal(first->files_n, 3);
    assert_int_equal(saved_keep(&d, first), ERR_OK);
    assert_int_equal(saved_keep(&d, first), ERR_OK); /* the same again is no step */
    assert_int_equal(saved_read(&d, "config.previous", &a, &files, &n), ERR_NOTFOUND);
    assert_int_equal(mode_of("data/config.last"), 0600);

    /* Main file and includes change, one goes, one comes. */
    write_files("domains: [two.test]\ndata: ./there\ninclude: more/*.yaml\n",
                "accounts: [{user: c, number: 3}]\n", "");
    unlink(path_of("more/b.yaml"));
    put("more/z.yaml", "accounts: [{user: z, number: 9}]\n", 33, 0644);
    struct config *second = load(&src);
    assert_int_equal(saved_keep(&d, second), ERR_OK);
    assert_int_equal(saved_read(&d, "config.previous", &a, &files, &n), ERR_OK);
    assert_int_equal(n, 3);
    struct config_source back = {
        .path = main_path, .from_saved = true, .saved = files, .saved_n = n};
    remove_all(path_of("more")); /* nothing of it is read from the disk */
    unlink(path_of("t.yaml"));
    struct config *third = load(&back);
    assert_true(sv_eq(third->file, first->file));
    assert_true(sv_eq(third->data, first->data)); /* relative paths start where they did */
    assert_true(sv_eq(third->settings->domains[0].name, SV("one.test")));
    assert_int_equal(third->settings->accounts_n, 2);
    assert_true(sv_eq(third->settings->accounts[1].user, SV("b")));
    /* It took effect: the two change places, and again. */
    assert_int_equal(saved_keep(&d, third), ERR_OK);
    assert_int_equal(saved_read(&d, "config.previous", &a, &files, &n), ERR_OK);
    assert_int_equal(n, 3);
    assert_true(sv_starts(files[0].octets, SV("domains: [two.test]")));
    config_free(first);
    config_free(second);
    config_free(third);
    arena_done(&a);
    state_close(&d);
}

static void no_file_at_all_is_kept_too(void **state)
{
    (void)state;
    struct daemon d;
    struct config bare_c;
    struct arena a;
    const struct config_file *files;
    size_t n = 7;
    struct config_source none = {.from_saved = true};
    bare(&d, &bare_c);
    assert_int_equal(state_open(&d), 0);
    arena_init(&a, NULL, 0, 1024 * 1024);
    struct config *c = load(&none);
    assert_false(sv_present(c->file));
    assert_int_equal(saved_keep(&d, c), ERR_OK);
    assert_int_equal(saved_read(&d, "config.last", &a, &files, &n), ERR_OK);
    assert_int_equal(n, 0);
    config_free(c);
    arena_done(&a);
    state_close(&d);
}

static void a_damaged_one_is_refused(void **state)
{
    (void)state;
    static const char good[] = "tandem configuration 1\n2 5\n/aa: 1\n3 0\n/bb";
    static const char *const wrong[] = {
        "tandem configuration 2\n",
        "tandem configuration 1\nx",
        "tandem configuration 1\n2 99\n/aa: 1\n",
        "tandem configuration 1\n-1 5\n",
        "tandem configuration 1\n0 1\na",
        "tandem configuration 1\n18446744073709551615 2\n/a",
        "tandem configuration 1\n2 18446744073709551615\n/a",
        "tandem configuration 1\n2  5\n/aa: 1\n",
    };
    struct daemon d;
    struct config c;
    struct arena a;
    const struct config_file *files;
    size_t n;
    bare(&d, &c);
    assert_int_equal(state_open(&d), 0);
    arena_init(&a, NULL, 0, 1024 * 1024);
    for (size_t cut = 0; cut < sizeof(good); cut++) {
        put("data/config.last", good, cut, 0600);
        enum err rc = saved_read(&d, "config.last", &a, &files, &n);
        bool whole = cut == sizeof(good) - 1 || cut == 23 || cut == 34;
        if ((rc == ERR_OK) != whole || (rc && rc != ERR_CORRUPT))
            fail_msg("cut at %zu: %s", cut, err_name(rc));
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        put("data/config.last", wrong[i], strlen(wrong[i]), 0600);
        assert_int_equal(saved_read(&d, "config.last", &a, &files, &n), ERR_CORRUPT);
    }
    arena_done(&a);
    state_close(&d);
}

/* ---- ports ---- */

static int hold(int type, uint16_t *ret_port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(in);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(type == SOCK_STREAM ? listen(fd, 1) : 0, 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
    *ret_port = ntohs(in.sin_port);
    return fd;
}

static void a_taken_port_is_named_or_passed_over(void **state)
{
    (void)state;
    static const int types[] = {SOCK_DGRAM, SOCK_STREAM};
    char pid[64];
    snprintf(pid, sizeof(pid), "(process %ld)", (long)getpid());
    for (int i = 0; i < 2; i++) {
        struct daemon d;
        struct config c;
        struct settings *set;
        uint16_t port;
        int fd = hold(types[i], &port);
        bare(&d, &c);
        assert_int_equal(settings_default(SV("x.test"), &set), ERR_OK);
        c.settings = set;
        set->sip.listeners = 1;
        set->sip.listen[0].transport = i ? SIP_T_TCP : SIP_T_UDP;
        assert_int_equal(addr_parse_ip(SV("127.0.0.1"), port, &set->sip.listen[0].bind), ERR_OK);
        c.file = SV("/some/file");
        logged_n = 0;
        assert_int_equal(ports_check(&d), 3);
        assert_non_null(strstr(logged, pid));
        c.file = SV_NONE;
        c.listen_given = true; /* by --set */
        assert_int_equal(ports_check(&d), 3);
        c.listen_given = false;
        assert_int_equal(ports_check(&d), 0);
        assert_true(set->sip.listen[0].bind.port != port);
        assert_non_null(strstr(logged, "port.moved"));
        if (i == 1) {
            struct addr http;
            assert_int_equal(addr_parse_ip(SV("127.0.0.1"), port, &http), ERR_OK);
            assert_int_equal(ports_check_http(&http, false), 3);
            assert_int_equal(ports_check_http(&http, true), 0);
            assert_true(http.port != port);
        }
        settings_unref(set);
        close(fd);
    }
}

static void only_the_door_that_is_taken_moves(void **state)
{
    (void)state;
    static const enum sip_transport transports[] = {SIP_T_UDP, SIP_T_TCP, SIP_T_TLS, SIP_T_WSS};
    struct daemon d;
    struct config c;
    struct settings *set;
    uint16_t port, free_port, plain;
    int fd = hold(SOCK_STREAM, &port), other = hold(SOCK_STREAM, &free_port);
    char want[64];
    close(other);
    bare(&d, &c);
    assert_int_equal(settings_default(SV("x.test"), &set), ERR_OK);
    c.settings = set;
    struct sip_listen *l = set->sip.listen;
    set->sip.listeners = 4;
    for (unsigned i = 0; i < 4; i++) {
        /* UDP and TCP are one door, whose TCP is taken; TLS stands where that one would go. */
        uint16_t at = i < 2 ? port : i == 2 ? (uint16_t)(port + 1) : free_port;
        l[i].transport = transports[i];
        assert_int_equal(addr_parse_ip(SV("127.0.0.1"), at, &l[i].bind), ERR_OK);
    }
    if (free_port == port + 1)
        l[3].bind.port = 0;
    plain = l[3].bind.port;
    logged_n = 0;
    assert_int_equal(ports_check(&d), 0);
    assert_true(l[0].bind.port > port + 1);
    assert_int_equal(l[0].bind.port, l[1].bind.port);
    assert_true(l[2].bind.port != l[0].bind.port);
    assert_int_equal(l[3].bind.port, plain);
    snprintf(want, sizeof(want), "from=%u to=%u", port, l[0].bind.port);
    assert_non_null(strstr(logged, want));
    assert_non_null(strstr(logged, "transport=udp,tcp"));
    assert_null(strstr(logged, "wss"));
    settings_unref(set);
    close(fd);
}

static void a_port_that_cannot_be_is_explained(void **state)
{
    (void)state;
    struct daemon d;
    struct config c;
    struct addr http;
    bare(&d, &c);
    assert_int_equal(addr_parse_ip(SV("192.0.2.77"), 5060, &http), ERR_OK); /* RFC 5737: nobody's */
    assert_int_equal(ports_check_http(&http, false), 3);
    assert_non_null(strstr(logged, "no interface of this machine has this address"));
    assert_null(strstr(logged, "by="));
    assert_null(strstr(logged, "\"by\""));
}

/* ---- the folder of the control socket ---- */

static void the_folder_of_the_socket_is_made(void **state)
{
    (void)state;
    struct daemon d;
    struct config c;
    bare(&d, &c);
    sv socket = sv_of(path_of("run/control.sock"));
    assert_int_equal(state_socket_folder(&d, socket, true), 0); /* nobody to make it for */
    assert_int_equal(access(path_of("run"), F_OK), -1);
    umask(0077);
    assert_int_equal(state_socket_folder(&d, socket, false), 0);
    assert_int_equal(mode_of("run"), 0750);
    assert_int_equal(chmod(path_of("run"), 0700), 0);
    assert_int_equal(state_socket_folder(&d, socket, false), 0);
    assert_int_equal(mode_of("run"), 0700); /* what is there stays as it is */
    assert_int_equal(state_socket_folder(&d, sv_of(path_of("a/b/control.sock")), false), 3);
    assert_non_null(strstr(logged, "/a/b"));
    assert_int_equal(access(path_of("a"), F_OK), -1);
}

/* ---- our own authority ---- */

struct own {
    struct daemon d;
    struct config c;
    struct settings *set;
    struct arena arena;
    struct ca ca;
};

static void own_up(struct own *o)
{
    bare(&o->d, &o->c);
    assert_int_equal(state_open(&o->d), 0);
    assert_int_equal(settings_default(SV("example.test"), &o->set), ERR_OK);
    arena_init(&o->arena, NULL, 0, 16 * 1024 * 1024);
}

static void own_down(struct own *o)
{
    settings_unref(o->set);
    arena_done(&o->arena);
    state_close(&o->d);
}

static void ensure(struct own *o, enum ca_change change, usec wall)
{
    logged_n = 0;
    logged[0] = '\0';
    assert_int_equal(ca_ensure(&o->d, o->set, change, wall, &o->arena, &o->ca), ERR_OK);
}

static bool is_covered(const struct own *o, const char *ip)
{
    struct addr a;
    bool covers;
    usec expires;
    assert_int_equal(addr_parse_ip(sv_of(ip), 0, &a), ERR_OK);
    const struct tls_names n = {.ips = &a, .ips_n = 1};
    assert_int_equal(tls_cert_covers(o->ca.leaf, &n, &covers, &expires), ERR_OK);
    return covers;
}

static void an_authority_is_made_once_and_stays(void **state)
{
    (void)state;
    struct own o;
    const usec wall = 1800000000 * USEC_S, day = USEC_DAY;
    own_up(&o);
    ensure(&o, CA_FOR_NAMES, wall);
    assert_non_null(strstr(logged, "tls.ca"));
    static const char *const files[] = {"data/ca.pem",  "data/ca.key",  "data/ca.names",
                                        "data/tls.pem", "data/tls.key", "data/tls.names"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        assert_int_equal(mode_of(files[i]), 0600);
    assert_true(is_covered(&o, "127.0.0.1") && is_covered(&o, "::1"));
    struct ca first = o.ca;
    ensure(&o, CA_FOR_NAMES, wall + day);
    assert_string_equal(logged, "");
    assert_true(sv_eq(o.ca.ca, first.ca) && sv_eq(o.ca.leaf, first.leaf));
    assert_true(ca_stands(o.set, wall + day, &o.ca));
    /* A third of its life is left. */
    assert_true(ca_stands(o.set, wall + 59 * day, &o.ca));
    assert_false(ca_stands(o.set, wall + 60 * day, &o.ca));
    ensure(&o, CA_FOR_NAMES, wall + 61 * day);
    assert_string_equal(logged, "");
    assert_true(sv_eq(o.ca.ca, first.ca));
    assert_false(sv_eq(o.ca.leaf, first.leaf));
    /* And so with the authority itself, while a certificate's life is left of it. */
    ensure(&o, CA_FOR_NAMES, wall + 3600 * day);
    assert_non_null(strstr(logged, "it expires"));
    assert_false(sv_eq(o.ca.ca, first.ca));
    own_down(&o);
}

static void a_name_that_it_does_not_permit_makes_a_new_one(void **state)
{
    (void)state;
    struct own o;
    const usec wall = 1800000000 * USEC_S;
    own_up(&o);
    ensure(&o, CA_FOR_NAMES, wall);
    struct ca first = o.ca;
    struct settings_domain *domain = &o.set->domains[0];
    domain->aliases[domain->aliases_n++] = SV("pbx.example.test");
    assert_false(ca_stands(o.set, wall, &o.ca));
    ensure(&o, CA_FOR_NAMES, wall);
    assert_string_equal(logged, ""); /* what is under a name that it permits it permits */
    assert_true(sv_eq(o.ca.ca, first.ca));
    assert_false(sv_eq(o.ca.leaf, first.leaf));
    domain->aliases[domain->aliases_n++] = SV("xexample.test");
    ensure(&o, CA_FOR_NAMES, wall);
    assert_non_null(strstr(logged, "a name of ours is new"));
    assert_false(sv_eq(o.ca.ca, first.ca));
    assert_non_null(strstr(logged, "must trust the new one"));
    assert_true(o.ca.replaced);
    /* The one before can be put back. */
    static const char *const old[] = {"data/ca.pem.old", "data/ca.key.old", "data/ca.names.old"};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(mode_of(old[i]), 0600);
    for (size_t i = 0; i < 3; i++) {
        char to[256];
        snprintf(to, sizeof(to), "%.*s", (int)strlen(path_of(old[i])) - 4, path_of(old[i]));
        assert_int_equal(rename(path_of(old[i]), to), 0);
    }
    domain->aliases_n--;
    ensure(&o, CA_FOR_NAMES, wall);
    assert_true(sv_eq(o.ca.ca, first.ca));
    assert_false(o.ca.replaced);
    own_down(&o);
}

static void what_nobody_asked_for_is_left_out(void **state)
{
    (void)state;
    struct own o;
    const usec wall = 1800000000 * USEC_S;
    own_up(&o);
    ensure(&o, CA_FOR_NAMES, wall);
    struct ca first = o.ca;
    o.set->sip.listeners = 1;
    assert_int_equal(addr_parse_ip(SV("198.51.100.9"), 0, &o.set->sip.listen[0].bind), ERR_OK);
    static const enum ca_change both[] = {CA_STAYS, CA_FOR_NAMES};
    for (size_t i = 0; i < 2; i++) { /* while it runs, and at a start */
        assert_int_equal(ca_stands(o.set, wall, &o.ca), i == 1);
        ensure(&o, both[i], wall);
        assert_non_null(strstr(logged, "tls.left_out"));
        assert_non_null(strstr(logged, "198.51.100.9"));
        assert_null(strstr(logged, "tls.ca "));
        assert_true(sv_eq(o.ca.ca, first.ca) && sv_eq(o.ca.leaf, first.leaf));
        assert_false(is_covered(&o, "198.51.100.9"));
    }
    /* A name waits for a start or a reload, and a check says what that will do. */
    struct settings_domain *domain = &o.set->domains[0];
    o.c.settings = o.set;
    o.c.data = sv_of(o.d.data);
    o.set->sip.listen[0].transport = SIP_T_TLS;
    assert_false(daemon_new_authority(&o.c));
    domain->aliases[domain->aliases_n++] = SV("other.test");
    assert_true(daemon_new_authority(&o.c));
    o.c.tls.n = 1; /* one's own certificate */
    assert_false(daemon_new_authority(&o.c));
    assert_false(ca_stands(o.set, wall, &o.ca));
    ensure(&o, CA_STAYS, wall);
    assert_non_null(strstr(logged, "other.test"));
    assert_true(sv_eq(o.ca.ca, first.ca) && sv_eq(o.ca.leaf, first.leaf));
    ensure(&o, CA_FOR_NAMES, wall);
    assert_false(sv_eq(o.ca.ca, first.ca));
    assert_null(strstr(logged, "tls.left_out"));
    assert_true(is_covered(&o, "198.51.100.9"));
    own_down(&o);
}

static void files_that_are_not_whole_are_made_again(void **state)
{
    (void)state;
    struct own o;
    const usec wall = 1800000000 * USEC_S;
    own_up(&o);
    ensure(&o, CA_FOR_NAMES, wall);
    struct ca first = o.ca;
    put("data/tls.key", "junk", 4, 0600);
    ensure(&o, CA_FOR_NAMES, wall);
    assert_string_equal(logged, "");
    assert_true(sv_eq(o.ca.ca, first.ca));
    assert_false(sv_eq(o.ca.leaf, first.leaf));
    unlink(path_of("data/tls.names"));
    put("data/ca.key", first.leaf_key.p, first.leaf_key.n, 0600); /* another's */
    ensure(&o, CA_FOR_NAMES, wall);
    assert_non_null(strstr(logged, "its files are not whole"));
    assert_false(sv_eq(o.ca.ca, first.ca));
    unlink(path_of("data/ca.names")); /* ended in the middle of making one */
    ensure(&o, CA_FOR_NAMES, wall);
    assert_non_null(strstr(logged, "its files are not whole"));
    unlink(path_of("data/ca.names"));
    assert_int_equal(mkdir(path_of("data/ca.names"), 0700), 0);
    put("data/ca.names/x", "", 0, 0600);
    assert_int_equal(ca_ensure(&o.d, o.set, CA_FOR_NAMES, wall, &o.arena, &o.ca), ERR_IO);
    own_down(&o);
}

/* ---- the whole, in a process of its own ---- */

static int child(const char *config, bool leaks)
{
    static char main_path[256];
    put("t.yaml", config, strlen(config), 0644);
    snprintf(main_path, sizeof(main_path), "%s", path_of("t.yaml"));
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct config_source src = {.path = main_path};
        size_t before = mem_live();
        log_sink(NULL, NULL);
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 2);
        int code = daemon_serve(&src, DAEMON_SERVE, "tandem");
        if (leaks && mem_live() != before)
            code = 100;
        _exit(code);
    }
    return (int)pid;
}

static int ended(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run(const char *fmt, ...)
{
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    assert_true(n > 0 && (size_t)n < sizeof(text));
    return ended(child(text, true));
}

/* Each leaves at another step of the set-up: the exit says so, nothing is leaked, no socket stays. */
static void every_early_end_frees_what_was_made(void **state)
{
    (void)state;
    uint16_t udp, tcp;
    int u = hold(SOCK_DGRAM, &udp), t = hold(SOCK_STREAM, &tcp);
    const char *data = path_of("data");
    char common[512], long_path[300];
    snprintf(common, sizeof(common), "domains: [x.test]\ndata: %s\n", data);
    memset(long_path, 'a', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    assert_int_equal(run("lissten: 1\n"), 1);
    assert_int_equal(run("%srun_as: no-such-user\n", common), 3);
    assert_int_equal(run("domains: [x.test]\ndata: %s/t.yaml/data\n", folder), 3);
    assert_int_equal(run("%slisten: [\"udp:127.0.0.1:%u\"]\ncontrol: {http: never}\n", common, udp),
                     3);
    assert_int_equal(run("%slisten: [\"tcp:127.0.0.1:%u\"]\ncontrol: {http: never}\n", common, tcp),
                     3);
    assert_int_equal(
        run("%slisten: [\"udp:127.0.0.1:0\"]\ncontrol: {http: \"127.0.0.1:%u\"}\n", common, tcp),
        3);
    assert_int_equal(run("%slisten: [\"udp:127.0.0.1:0\"]\ncontrol: {http: never, socket: %s/%s}\n",
                         common, folder, long_path),
                     3);
    assert_int_equal(run("%slisten: [\"udp:127.0.0.1:0\"]\ncontrol: {http: never, socket: %s}\n",
                         common, folder),
                     3);
    assert_int_equal(access(path_of("data/control.sock"), F_OK), -1);
    assert_int_equal(mkdir(path_of("data/ca.key.new"), 0700), 0);
    put("data/ca.key.new/x", "", 0, 0600);
    assert_int_equal(run("%slisten: [\"tls:127.0.0.1:0\"]\ncontrol: {http: never}\n", common), 3);
    assert_int_equal(access(path_of("data/ca.pem"), F_OK), -1);
    remove_all(path_of("data/ca.key.new"));
    assert_int_equal(run("%slisten: [\"wss:127.0.0.1:0\", \"tcp:127.0.0.1:%u\"]\ncontrol: {http: "
                         "never}\n",
                         common, tcp),
                     3);
    put("data/secret", "short", 5, 0600);
    assert_int_equal(run("%slisten: [\"udp:127.0.0.1:0\"]\ncontrol: {http: never}\n", common), 3);
    unlink(path_of("data/secret"));
    static const char no_db[] = "this is not a database, whatever its name may say; and it is long "
                                "enough to have a head of a hundred octets";
    put("data/tandem.db", no_db, sizeof(no_db), 0600);
    assert_int_equal(run("%slisten: [\"udp:127.0.0.1:0\"]\ncontrol: {http: never}\n", common), 3);
    close(u);
    close(t);
}

static int notified(int *ret_fd)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path_of("notify"));
    *ret_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct timeval most = {.tv_sec = 60};
    setsockopt(*ret_fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
    setenv("NOTIFY_SOCKET", un.sun_path, 1);
    return bind(*ret_fd, (struct sockaddr *)&un, sizeof(un)) || chmod(un.sun_path, 0777);
}

static void assert_said(int fd, const char *want)
{
    char text[64] = "";
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
    assert_true(n > 0);
    assert_string_equal(text, want);
}

static void systemd_is_told_and_nothing_stays_behind(void **state)
{
    (void)state;
    static const int ends[] = {SIGTERM, SIGINT};
    char text[512];
    int fd;
    assert_int_equal(notified(&fd), 0);
    snprintf(text, sizeof(text),
             "domains: [x.test]\ndata: %s\nlisten: [\"udp:127.0.0.1:0\", \"tcp:127.0.0.1:0\", "
             "\"tls:127.0.0.1:0\", \"ws:127.0.0.1:0\"]\n"
             "control: {http: never}\naccounts: [{user: a, number: 1}]\n",
             path_of("data"));
    for (int i = 0; i < 2; i++) {
        pid_t pid = child(text, true);
        assert_said(fd, "READY=1");
        assert_int_equal(mode_of("data/control.sock"), 0660);
        kill(pid, SIGHUP);
        kill(pid, ends[i]);
        assert_said(fd, "STOPPING=1\nEXTEND_TIMEOUT_USEC=66300000"); /* drain and more */
        /* again, while it is taken down */
        for (int k = 0; k < 3; k++) {
            nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
            kill(pid, ends[i]);
        }
        assert_int_equal(ended(pid), 0);
        assert_int_equal(access(path_of("data/control.sock"), F_OK), -1);
    }
    /* Asked to end at each step of the set-up: in good order too, whatever it had made by then. */
    static const char *const steps[] = {
        "data",        "data/lock",      "data/secret",      "data/tandem.db",
        "data/ca.key", "data/tls.names", "data/config.last", "data/control.sock"};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        remove_all(path_of("data"));
        pid_t pid = child(text, true);
        while (access(path_of(steps[i]), F_OK) != 0)
            sched_yield();
        kill(pid, SIGTERM);
        assert_int_equal(ended(pid), 0);
        assert_int_equal(access(path_of("data/control.sock"), F_OK), -1);
    }
    unsetenv("NOTIFY_SOCKET");
    close(fd);
}

static void root_becomes_another_and_his_are_the_files(void **state)
{
    (void)state;
    struct passwd *pw = getpwnam("nobody");
    if (geteuid() != 0 || !pw)
        skip();
    static const char *const files[] = {
        "",        "/lock",   "/secret",  "/control.token", "/tandem.db",
        "/ca.key", "/ca.pem", "/tls.key", "/config.last",   "/control.sock"};
    char text[512];
    int fd;
    uid_t uid = pw->pw_uid;
    assert_int_equal(notified(&fd), 0);
    for (int i = 0; i < 2; i++) { /* the second: a folder that root used before */
        if (i == 1) {
            remove_all(path_of("data"));
            assert_int_equal(mkdir(path_of("data"), 0700), 0);
            put("data/lock", "1\n", 2, 0600);
            put("data/secret", "0123456789abcdef0123456789abcdef", 32, 0600);
            put("victim", "", 0, 0644);
            assert_int_equal(link(path_of("victim"), path_of("data/link")), 0);
        }
        snprintf(text, sizeof(text),
                 "domains: [x.test]\ndata: %s\nlisten: [\"udp:127.0.0.1:0\", \"tls:127.0.0.1:0\"]\n"
                 "control: {http: never%s%s}\nrun_as: nobody\n",
                 path_of("data"), i ? ", socket: " : "", i ? path_of("run/control.sock") : "");
        pid_t pid = child(text, true);
        assert_said(fd, "READY=1");
        struct stat st;
        if (i == 1) { /* a folder that was made for him, for the socket */
            assert_int_equal(lstat(path_of("run"), &st), 0);
            assert_int_equal(st.st_uid, uid);
            assert_int_equal(st.st_mode & 07777, 0750);
        }
        for (size_t k = 0; k < sizeof(files) / sizeof(files[0]) - (size_t)i; k++) {
            char name[64];
            snprintf(name, sizeof(name), "data%s", files[k]);
            assert_int_equal(lstat(path_of(name), &st), 0);
            assert_int_equal(st.st_uid, uid);
        }
        char status[64], line[256];
        snprintf(status, sizeof(status), "/proc/%d/status", (int)pid);
        FILE *f = fopen(status, "r");
        unsigned real = 1, effective = 1, saved = 1;
        while (f && fgets(line, sizeof(line), f))
            sscanf(line, "Uid: %u %u %u", &real, &effective, &saved);
        if (f)
            fclose(f);
        assert_true(real == uid && effective == uid && saved == uid);
        kill(pid, SIGTERM);
        assert_said(fd, "STOPPING=1\nEXTEND_TIMEOUT_USEC=66300000"); /* drain and more */
        assert_int_equal(ended(pid), 0);
        assert_int_equal(access(path_of("data/control.sock"), F_OK), -1);
    }
    struct stat st;
    assert_int_equal(stat(path_of("victim"), &st), 0);
    assert_int_equal(st.st_uid, 0); /* a second name of the file may be anybody's */
    unsetenv("NOTIFY_SOCKET");
    close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, up, down)
    const struct CMUnitTest tests[] = {
        TEST(the_folder_is_made_closed_and_locked),
        TEST(an_open_folder_is_closed_or_refused),
        TEST(a_folder_that_is_none_is_refused),
        TEST(secrets_are_made_once_and_kept_private),
        TEST(a_kept_configuration_is_read_as_it_was),
        TEST(no_file_at_all_is_kept_too),
        TEST(a_damaged_one_is_refused),
        TEST(a_taken_port_is_named_or_passed_over),
        TEST(only_the_door_that_is_taken_moves),
        TEST(a_port_that_cannot_be_is_explained),
        TEST(the_folder_of_the_socket_is_made),
        TEST(an_authority_is_made_once_and_stays),
        TEST(a_name_that_it_does_not_permit_makes_a_new_one),
        TEST(what_nobody_asked_for_is_left_out),
        TEST(files_that_are_not_whole_are_made_again),
        TEST(every_early_end_frees_what_was_made),
        TEST(systemd_is_told_and_nothing_stays_behind),
        TEST(root_becomes_another_and_his_are_the_files),
    };
    if (crypto_start())
        return 1;
    unsetenv("TANDEM_CONFIG");
    unsetenv("TANDEM_DATA");
    unsetenv("TANDEM_SOCKET");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
