/* SPDX-License-Identifier: MIT */
/* The command line as a library: what it prints, how it ends, and what it makes of a server that
 * says odd things. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/cli_priv.h"

enum { OUT_MAX = 256 * 1024 };

static char folder[64], out[OUT_MAX], err[OUT_MAX];

static size_t slurp(FILE *f, char *to)
{
    rewind(f);
    size_t n = fread(to, 1, OUT_MAX - 1, f);
    to[n] = '\0';
    return n;
}

/* tandem ARGS...; standard output and error in out and err. input: what standard input holds. */
static int run_with(const char *input, const char *const *args)
{
    char *argv[16] = {(char *)(uintptr_t) "tandem"};
    int argc = 1, saved[3];
    FILE *f[3];
    for (; args[argc - 1]; argc++) {
        assert_true(argc < 15);
        argv[argc] = (char *)(uintptr_t)args[argc - 1];
    }
    fflush(NULL);
    for (int i = 0; i < 3; i++) {
        f[i] = tmpfile();
        assert_non_null(f[i]);
        if (i == 0) {
            fputs(input, f[0]);
            fflush(f[0]);
            rewind(f[0]);
            lseek(fileno(f[0]), 0, SEEK_SET);
        }
        saved[i] = dup(i);
        assert_true(saved[i] >= 0 && dup2(fileno(f[i]), i) == i);
    }
    int code = cli_main(argc, argv);
    fflush(NULL);
    for (int i = 0; i < 3; i++) {
        dup2(saved[i], i);
        close(saved[i]);
    }
    slurp(f[1], out);
    slurp(f[2], err);
    for (int i = 0; i < 3; i++)
        fclose(f[i]);
    return code;
}

#define RUN(...) run_with("", (const char *const[]){__VA_ARGS__, NULL})

static const char *const verb_names[] = {
#define X(name, args, summary, fn) name,
#include "cli/verbs.def"
#undef X
};
enum { VERB_NAMES = sizeof(verb_names) / sizeof(verb_names[0]) };

/* ---- what is printed from the tables ---- */

static void every_verb_has_help(void **state)
{
    (void)state;
    for (int i = 0; i < VERB_NAMES; i++) {
        char usage[64];
        snprintf(usage, sizeof(usage), "usage: tandem %s", verb_names[i]);
        assert_int_equal(RUN(verb_names[i], "--help"), CLI_OK);
        assert_non_null(strstr(out, usage));
        assert_non_null(strstr(out, "--config FILE"));
        assert_int_equal(RUN("help", verb_names[i]), CLI_OK);
        assert_non_null(strstr(out, usage));
        assert_int_equal(RUN(verb_names[i], "-h"), CLI_OK);
        assert_string_equal(err, "");
    }
    assert_int_equal(RUN("--help"), CLI_OK);
    for (int i = 0; i < VERB_NAMES; i++)
        assert_non_null(strstr(out, verb_names[i]));
}

static void the_manual_page_names_all(void **state)
{
    (void)state;
    assert_int_equal(RUN("help", "--man"), CLI_OK);
    assert_true(strncmp(out, ".TH TANDEM 1", 12) == 0);
    for (int i = 0; i < VERB_NAMES; i++)
        assert_non_null(strstr(out, verb_names[i]));
    assert_non_null(strstr(out, "\\-\\-password\\-stdin"));
    /* No line is a request that man does not know. */
    static const char *const known[] = {".TH ", ".SH ", ".SS ", ".TP", ".B ", ".I "};
    for (const char *p = out; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL) {
        bool good = *p != '.' && *p != '\'';
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]) && !good; i++)
            good = strncmp(p, known[i], strlen(known[i])) == 0;
        if (!good)
            fail_msg("%.40s", p);
    }
}

static void completion_knows_verbs_and_options(void **state)
{
    (void)state;
    assert_int_equal(RUN("completion"), CLI_OK);
    assert_non_null(strstr(out, "user) words='add list show passwd remove import export "));
    assert_non_null(strstr(out, "reload) words='--help --config --socket --json --rollback "));
    assert_int_equal(RUN("completion", "bash"), CLI_OK);
    assert_int_equal(RUN("completion", "fish"), CLI_USAGE);
}

static void version_has_two_forms(void **state)
{
    (void)state;
    assert_int_equal(RUN("version"), CLI_OK);
    assert_string_equal(out, "tandem " TANDEM_VERSION "\n");
    assert_int_equal(RUN("--version"), CLI_OK);
    assert_int_equal(RUN("version", "--json"), CLI_OK);
    assert_string_equal(out, "{\"version\": \"" TANDEM_VERSION "\"}\n");
}

static void wrong_usage_is_exit_2(void **state)
{
    (void)state;
    static const char *const wrong[][4] = {
        {"frobnicate"},
        {"status", "--frobnicate"},
        {"status", "--strict"},
        {"status", "extra"},
        {"status", "--json=yes"},
        {"status", "--config"},
        {"status", "-x"},
        {"reload", "now"},
        {"serve", "now"},
        {"config", "now"},
        {"check", "a", "b"},
        {"user"},
        {"user", "add"},
        {"user", "frob"},
        {"user", "list", "alice"},
        {"user", "list", "--name=x"},
        {"user", "show", "a", "--password-stdin"},
        {"user", "export", "x"},
        {"help", "user", "add", "x"},
        {"help", "calls", "add"},
        {"help", "frob"},
        {"help", "user", "status"},
        {"version", "x"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const char *args[5] = {wrong[i][0], wrong[i][1], wrong[i][2], wrong[i][3], NULL};
        if (run_with("", args) != CLI_USAGE)
            fail_msg("%s %s", wrong[i][0], wrong[i][1] ? wrong[i][1] : "");
        assert_string_equal(out, "");
        assert_non_null(strstr(err, "tandem"));
    }
    const char *const none[] = {NULL};
    assert_int_equal(run_with("", none), CLI_USAGE);
}

static void help_knows_the_words_of_a_verb(void **state)
{
    (void)state;
    assert_int_equal(RUN("help", "user", "passwd"), CLI_OK);
    assert_non_null(strstr(out, "usage: tandem user "));
    assert_int_equal(RUN("user", "list", "x"), CLI_USAGE);
    assert_non_null(strstr(err, "user list takes no argument"));
    assert_int_equal(RUN("user", "frob"), CLI_USAGE);
    assert_non_null(strstr(err, "there is no user frob, but add, list"));
    assert_int_equal(RUN("help", "user", "frob"), CLI_USAGE);
    assert_non_null(strstr(err, "tandem help user;"));
}

static void check_says_no_and_yes(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof(path), "%s/wrong.yaml", folder);
    FILE *f = fopen(path, "w");
    fputs("lissten: 1\nworkers: many\n", f);
    fclose(f);
    assert_int_equal(RUN("check", path), CLI_NO);
    assert_non_null(strstr(out, "wrong.yaml:1:1: error"));
    assert_int_equal(RUN("check", "--json", "--config", path), CLI_NO);
    json_t *o = json_loads(out, 0, NULL);
    assert_true(json_is_false(json_object_get(o, "ok")));
    assert_int_equal(json_integer_value(json_object_get(o, "errors")), 2);
    assert_int_equal(json_array_size(json_object_get(o, "problems")), 2);
    json_decref(o);
    f = fopen(path, "w");
    fputs("domains: [example.test]\n", f);
    fclose(f);
    assert_int_equal(RUN("check", path), CLI_OK);
    assert_int_equal(RUN("check", path, "--set", "workers=many"), CLI_NO);
    assert_non_null(strstr(out, "\n1 error, 0 findings\n"));
    assert_int_equal(RUN("check", path, "--set=security.authenticate=register"), CLI_OK);
    assert_int_equal(RUN("check", path, "--strict", "--set=security.authenticate=register"),
                     CLI_NO);
    assert_int_equal(RUN("config", "--config", path, "--set=workers=3"), CLI_OK);
    assert_non_null(strstr(out, "workers: 3"));
    unlink(path);
}

/* ---- a server that answers as it is told ---- */

static pid_t server(const char *path, const char *answer)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    assert_int_equal(listen(fd, 4), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        char request[8192];
        int s = accept(fd, NULL, NULL);
        ssize_t n = recv(s, request, sizeof(request), 0);
        if (n > 0 && send(s, answer, strlen(answer), MSG_NOSIGNAL) < 0)
            _exit(1);
        shutdown(s, SHUT_WR);
        while (recv(s, request, sizeof(request), 0) > 0)
            continue;
        _exit(0);
    }
    close(fd);
    return pid;
}

/* The verb's exit when the server answers so. */
static int answered(unsigned status, const char *body, const char *verb, const char *sub)
{
    static char answer[OUT_MAX];
    char path[128];
    snprintf(path, sizeof(path), "%s/s.sock", folder);
    if (status)
        snprintf(answer, sizeof(answer), "HTTP/1.1 %u X\r\nContent-Length: %zu\r\n\r\n%s", status,
                 strlen(body), body);
    else
        snprintf(answer, sizeof(answer), "%s", body);
    pid_t pid = server(path, answer);
    int code = sub ? RUN(verb, sub, "--socket", path) : RUN(verb, "--socket", path);
    int ended;
    assert_int_equal(waitpid(pid, &ended, 0), pid);
    unlink(path);
    return code;
}

static void the_answer_decides_the_exit(void **state)
{
    (void)state;
    assert_int_equal(answered(200, "[]", "calls", NULL), CLI_OK);
    assert_string_equal(out, "no calls\n");
    assert_int_equal(answered(200, "[]", "registrations", NULL), CLI_OK);
    assert_string_equal(out, "nobody is registered\n");
    assert_int_equal(answered(200, "[]", "registrations", "--json"), CLI_OK);
    assert_string_equal(out, "[]\n");
    assert_int_equal(answered(403, "{\"error\": \"no\"}", "calls", NULL), CLI_NO);
    assert_non_null(strstr(err, "no"));
    assert_int_equal(answered(503, "{\"error\": \"busy\"}", "calls", NULL), CLI_FAILED);
    assert_int_equal(answered(500, "not JSON", "calls", NULL), CLI_FAILED);
    assert_int_equal(answered(200,
                              "{\"ok\": true, \"changed\": [\"a: 1 -> 2\"], \"restart\": [],"
                              " \"problems\": []}",
                              "reload", NULL),
                     CLI_OK);
    assert_string_equal(out, "changed: a: 1 -> 2\nreloaded\n");
    assert_int_equal(
        answered(422,
                 "{\"ok\": false, \"changed\": [], \"restart\": [], \"problems\": [{\"file\": "
                 "\"f\", \"line\": 3, \"column\": 4, \"severity\": \"error\", \"text\": \"t\", "
                 "\"hint\": \"h\"}]}",
                 "reload", "--rollback"),
        CLI_NO);
    assert_non_null(strstr(out, "f:3:4: error: t; h\n"));
    assert_int_equal(
        answered(200,
                 "{\"ok\": true, \"changed\": [], \"restart\": [], \"warnings\": [\"w\"], "
                 "\"problems\": [{\"file\": \"f\", \"line\": 0, \"column\": 0, \"severity\": "
                 "\"finding\", \"text\": \"t\", \"hint\": \"\"}]}",
                 "reload", NULL),
        CLI_OK);
    assert_string_equal(out, "f: finding: t\nwarning: w\nreloaded\n");
    assert_int_equal(answered(200, "{\"uptime\": 90061, \"needs_restart\": []}", "status", NULL),
                     CLI_OK);
    assert_string_equal(out, "uptime         1 d 1 h 1 min 1 s\n");
    assert_int_equal(
        answered(200, "{\"uptime\": 59, \"needs_restart\": [\"listen\"]}", "status", NULL), CLI_OK);
    assert_string_equal(out, "uptime         59 s\nneeds_restart  listen\n");
    assert_int_equal(answered(200, "{\"uptime\": 59, \"media_ports_used\": 4}", "status", NULL),
                     CLI_OK);
    assert_string_equal(out, "uptime           59 s\nmedia_ports_used 4\n");
    assert_int_equal(answered(200,
                              "[{\"call_id\": \"id\", \"state\": \"up\", \"from\": \"a\", "
                              "\"to\": \"b\", \"since\": \"then\", \"quality\": {\"media\": "
                              "\"relay\", \"callee\": {\"mos\": 4.26}}}]",
                              "calls", NULL),
                     CLI_OK);
    assert_string_equal(out, "up a -> b  since then  id  relay  MOS callee 4.3\n");
    assert_int_equal(answered(200,
                              "[{\"call_id\": \"id\", \"from\": \"a\", \"to\": \"b\", \"since\": "
                              "\"then\", \"duration\": 61, \"status\": 200, \"ended_by\": "
                              "\"stop\", \"reason\": \"r\\u001b\", \"quality\": {\"media\": "
                              "\"relay\", \"caller\": {\"mos\": 4.0}, \"callee\": {\"mos\": 3}}}]",
                              "calls", "--ended"),
                     CLI_OK);
    assert_non_null(strstr(out, "then  200 a -> b  1 min 1 s, ended by stop: r"));
    assert_non_null(strstr(out, "  id  relay  MOS caller 4.0, callee 3.0\n"));
    assert_null(strchr(out, 0x1b));
    assert_int_equal(answered(200,
                              "[{\"call_id\": \"id\", \"from\": \"a\", \"to\": \"b\", \"since\": "
                              "\"then\", \"status\": 0, \"ended_by\": \"stop\", \"quality\": {}}]",
                              "calls", "--ended"),
                     CLI_OK);
    assert_string_equal(out, "then  - a -> b  not answered, ended by stop  id\n");
    assert_int_equal(answered(404, "{\"error\": \"none\"}", "reload", "--rollback"), CLI_NO);
    /* What is no answer at all */
    assert_int_equal(answered(0, "", "calls", NULL), CLI_FAILED);
    assert_int_equal(answered(0, "SIP/2.0 200 OK\r\n\r\n", "calls", NULL), CLI_FAILED);
    assert_int_equal(answered(0, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[]", "calls", NULL),
                     CLI_FAILED);
}

static void lists_are_in_order_of_account(void **state)
{
    (void)state;
    const char *mixed = "[{\"account\": \"b@x\", \"contacts\": []}, {\"account\": \"a@x\", "
                        "\"contacts\": []}]";
    assert_int_equal(answered(200, mixed, "registrations", NULL), CLI_OK);
    assert_string_equal(out, "a@x\nb@x\n");
    assert_int_equal(answered(200, mixed, "registrations", "--json"), CLI_OK);
    assert_true(strstr(out, "a@x") < strstr(out, "b@x"));
    assert_int_equal(answered(200,
                              "[{\"user\": \"b\", \"domain\": \"x\", \"password\": true},"
                              " {\"user\": \"a\", \"domain\": \"y\", \"password\": true},"
                              " {\"user\": \"a\", \"domain\": \"x\", \"password\": true}]",
                              "user", "list"),
                     CLI_OK);
    assert_string_equal(out, "a@x\na@y\nb@x\n");
}

/* Whoever names a configuration means its server, and no other. */
static void a_configuration_that_cannot_be_read_is_said(void **state)
{
    (void)state;
    char path[128], want[256];
    snprintf(path, sizeof(path), "%s/none.yaml", folder);
    snprintf(want, sizeof(want), "tandem status: cannot read %s: no such file\n", path);
    assert_int_equal(RUN("status", "--config", path), CLI_FAILED);
    assert_string_equal(err, want);
    assert_int_equal(RUN("user", "remove", "a", "--config", path), CLI_FAILED);
    assert_non_null(strstr(err, "no such file"));
    setenv("TANDEM_CONFIG", path, 1);
    assert_int_equal(RUN("status"), CLI_FAILED);
    assert_string_equal(err, want);
    setenv("TANDEM_CONFIG", folder, 1);
    assert_int_equal(RUN("status"), CLI_FAILED);
    assert_non_null(strstr(err, ": not a readable file\n"));
    unsetenv("TANDEM_CONFIG");
    /* A place is tried once, whatever names it. */
    char here[4096];
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(RUN("status"), CLI_FAILED);
    assert_int_equal(chdir(here), 0);
    const char *first = strstr(err, "./tandem-data/control.sock");
    assert_non_null(first);
    assert_null(strstr(first + 1, "./tandem-data/control.sock"));
}

static void without_a_server_it_is_3_and_names_the_places(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof(path), "%s/nobody.sock", folder);
    for (int i = 0; i < 4; i++) {
        static const char *const verbs[] = {"status", "registrations", "calls", "reload"};
        assert_int_equal(RUN(verbs[i], "--socket", path), CLI_FAILED);
        assert_non_null(strstr(err, path));
    }
    /* A name with an escape sequence is not obeyed by the terminal. */
    assert_int_equal(RUN("status", "--socket", "/tmp/\x1b[31m"), CLI_FAILED);
    assert_null(strchr(err, 0x1b));
}

/* Values of any shape, and hostile ones: the text has no control octet but the line's end. */
static void hostile_answers_are_printed_harmlessly(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "null",
        "1",
        "{}",
        "[null, 1, {}]",
        "[[]]",
        "[{\"contacts\": 1}]",
        "{\"a\": {\"b\": []}}",
        "[{\"account\": \"\\u001b[2J\\r\\n\", \"contacts\": [{\"uri\": \"\\u0007\", \"transport\": "
        "\"\\u001b]0;x\\u0007\", \"source\": \"\\u009b31m\", \"expires\": \"x\", \"agent\": "
        "\"a\\u0000b\\u001b\"}], \"state\": \"\\u001b\", \"from\": \"\\u001b\", \"to\": "
        "\"\\u001b\", "
        "\"since\": \"\\u001b\", \"call_id\": \"\\u001b\", \"user\": \"\\u001b\", \"domain\": "
        "\"\\u001b\", \"name\": \"\\u001b\", \"numbers\": [\"\\u001b\", 1], \"origin\": 3}]",
        "{\"version\": \"\\u001b[31m\", \"listen\": [\"\\u001b\", 1]}",
    };
    static const char *const verbs[][2] = {{"status"}, {"registrations"}, {"calls"},
                                           {"reload"}, {"user", "list"},  {"user", "export"}};
    for (size_t v = 0; v < sizeof(verbs) / sizeof(verbs[0]); v++) {
        for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
            answered(200, bodies[i], verbs[v][0], verbs[v][1]);
            for (const char *p = out; *p; p++) {
                if (((unsigned char)*p < 0x20 && *p != '\n') || *p == 0x7f)
                    fail_msg("%s %s: %s", verbs[v][0], bodies[i], out);
            }
            assert_null(strstr(out, "\xc2\x9b"));
        }
    }
}

static void a_password_is_never_cut_short(void **state)
{
    (void)state;
    char input[400];
    const char *const args[] = {"user",     "add",          "x", "--password-stdin",
                                "--socket", "/nonexistent", NULL};
    assert_int_equal(run_with("", args), CLI_USAGE);
    memset(input, 'a', sizeof(input) - 1);
    input[sizeof(input) - 1] = '\0';
    assert_int_equal(run_with(input, args), CLI_USAGE);
    assert_non_null(strstr(err, "too long"));
    assert_int_equal(run_with("right-password\r\n", args), CLI_FAILED); /* only nobody to ask */
    assert_int_equal(run_with("not \xff UTF-8\n", args), CLI_USAGE);
}

/* ---- import and export ---- */

static void export_and_import_undo_each_other(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",           "Alice Meier", "a;b",    "a,b",      "100%",    "%41",        "#",
        "line\nline", "\r",          "'\";--", "\x1b[31m", "${IFS}`", "Zo\xc3\xab", "\t",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:[s,s]}", "user", "#a;b%2C", "domain",
                              "example.test", "ha1_md5", "00ff", "ha1_sha256", "", "name", names[i],
                              "numbers", "101", "#8");
        struct buf b;
        buf_init_heap(&b, 4096);
        cli_export_line(&b, o);
        buf_char(&b, '\0');
        assert_int_equal(b.rc, ERR_OK);
        assert_true(strchr(b.p, '\n') == b.p + b.n - 2); /* one line */
        assert_true(b.p[0] != '#');                      /* no comment */
        b.p[b.n - 2] = '\0';
        json_t *back = cli_import_line(b.p);
        assert_non_null(back);
        assert_string_equal(json_string_value(json_object_get(back, "user")),
                            "#a;b%2C@example.test");
        assert_null(json_object_get(back, "password"));
        assert_string_equal(json_string_value(json_object_get(back, "ha1_md5")), "00ff");
        const char *name = json_string_value(json_object_get(back, "name"));
        assert_string_equal(name ? name : "", names[i]);
        json_t *numbers = json_object_get(back, "numbers");
        assert_int_equal(json_array_size(numbers), 2);
        assert_string_equal(json_string_value(json_array_get(numbers, 1)), "#8");
        json_decref(back);
        json_decref(o);
        buf_done(&b);
    }
    static const char *const wrong[] = {"",       ";password",     "a",     "a%;", "a%4;", "a%zz;",
                                        "a%00b;", "a;b;c;d;e;f;g", "a;\xff"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char line[64];
        snprintf(line, sizeof(line), "%s", wrong[i]);
        json_t *o = cli_import_line(line);
        if (o)
            fail_msg("'%s' was taken", wrong[i]);
    }
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/tandem-cli-XXXXXX");
    unsetenv("TANDEM_CONFIG");
    unsetenv("TANDEM_SOCKET");
    return mkdtemp(folder) ? 0 : 1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_verb_has_help),
        cmocka_unit_test(the_manual_page_names_all),
        cmocka_unit_test(completion_knows_verbs_and_options),
        cmocka_unit_test(version_has_two_forms),
        cmocka_unit_test(wrong_usage_is_exit_2),
        cmocka_unit_test(help_knows_the_words_of_a_verb),
        cmocka_unit_test(check_says_no_and_yes),
        cmocka_unit_test(lists_are_in_order_of_account),
        cmocka_unit_test(a_configuration_that_cannot_be_read_is_said),
        cmocka_unit_test(the_answer_decides_the_exit),
        cmocka_unit_test(without_a_server_it_is_3_and_names_the_places),
        cmocka_unit_test(hostile_answers_are_printed_harmlessly),
        cmocka_unit_test(a_password_is_never_cut_short),
        cmocka_unit_test(export_and_import_undo_each_other),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
