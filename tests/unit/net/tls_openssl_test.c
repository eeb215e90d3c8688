/* SPDX-License-Identifier: MIT */
/* Against the openssl tool, both ways. Without the tool the tests are skipped. */
#include "net_run.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tls_pems.h"

enum { OUT_MAX = 64 * 1024, COMMAND_MAX = 1024 };

static char dir[] = "/tmp/tandem-tls-XXXXXX";
static bool have_tool;
static struct pem authority, leaf;
static char out[OUT_MAX]; /* what the tool said */

static void write_file(const char *name, sv text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text.p, 1, text.n, f), text.n);
    fclose(f);
}

static void read_out(void)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/out", dir);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(out, 1, sizeof(out) - 1, f);
    out[n] = '\0';
    fclose(f);
}

/* In dir; what it prints is in `out` afterwards. */
static int run(const char *command)
{
    char line[COMMAND_MAX + 128];
    snprintf(line, sizeof(line), "cd %s && { %s; } >out 2>&1", dir, command);
    int rc = system(line);
    read_out();
    return WIFEXITED(rc) ? WEXITSTATUS(rc) : -1;
}

static void need_tool(void)
{
    if (!have_tool)
        skip();
}

static void assert_said(const char *text)
{
    if (!strstr(out, text))
        fail_msg("\"%s\" is not in:\n%s", text, out);
}

/* ---- certificates ---- */

static void the_tool_verifies_our_certificates(void **state)
{
    struct buf print;
    char line[160];
    (void)state;
    need_tool();
    assert_int_equal(run("openssl verify -x509_strict -CAfile ca.pem leaf.pem"), 0);
    assert_int_equal(run("openssl verify -x509_strict -CAfile ca.pem -purpose sslserver "
                         "-verify_hostname example.test leaf.pem"),
                     0);
    assert_int_equal(run("openssl verify -x509_strict -CAfile ca.pem -purpose sslclient "
                         "-verify_ip 127.0.0.1 leaf.pem"),
                     0);
    assert_int_not_equal(run("openssl verify -CAfile leaf.pem ca.pem"), 0);
    buf_init_heap(&print, 256);
    assert_int_equal(tls_cert_fingerprint(buf_sv(&leaf.cert), &print), ERR_OK);
    snprintf(line, sizeof(line), "Fingerprint=%.*s\n", SV_ARG(buf_sv(&print)));
    assert_int_equal(run("openssl x509 -in leaf.pem -noout -fingerprint -sha256"), 0);
    assert_said(line);
    buf_done(&print);
    assert_int_equal(run("openssl x509 -in ca.pem -noout -text"), 0);
    assert_said("X509v3 Name Constraints: critical");
    assert_said("pathlen:0");
}

/* ---- the tool as client ---- */

static struct tls *tls;
static struct stream *peer;
static unsigned opened, closed;
static enum err why;
static bool verified;

static void on_open(void *arg)
{
    (void)arg;
    opened++;
    verified = peer->tls_peer->verified && tls_peer_is(peer->tls_peer, SV("example.test"));
}

static void on_data(void *arg, sv s)
{
    (void)arg;
    assert_true(sv_starts(s, SV("hello")));
    assert_int_equal(stream_send(peer, &SV("welcome\n"), 1), ERR_OK);
    stream_close(peer, true);
    peer = NULL;
}

static void on_close(void *arg, enum err rc)
{
    (void)arg;
    closed++;
    why = rc;
    peer = NULL;
}

static const struct stream_handler handler = {
    .on_open = on_open, .on_data = on_data, .on_close = on_close};

static void on_accept(void *arg, struct stream *lower)
{
    (void)arg;
    assert_null(peer);
    assert_int_equal(tls_accept(tls, lower, &handler, NULL, &peer), ERR_OK);
}

static const struct listener_handler accepting = {on_accept};

struct tool {
    struct job job;
    char command[COMMAND_MAX];
    int rc;
};

static void tool_work(struct job *j)
{
    struct tool *t = CONTAINER(j, struct tool, job);
    t->rc = run(t->command);
}

static void tool_done(struct loop *l, struct job *j)
{
    (void)l;
    (void)j;
    net_stop();
}

/* One connection of s_client with these options; returns how it ended. */
static int s_client(const struct tls_config *c, const char *options)
{
    static struct tool t;
    struct listener *listener;
    struct addr any = net_addr("127.0.0.1:0");
    t = (struct tool){.job = {.work = tool_work, .done = tool_done}, .rc = -1};
    opened = closed = 0;
    why = ERR_COUNT;
    verified = false;
    net_setup(1);
    tls = pem_tls(c);
    assert_int_equal(stream_listen(at, &any, &accepting, NULL, &listener), ERR_OK);
    snprintf(t.command, sizeof(t.command),
             "echo hello | timeout 20 openssl s_client -connect 127.0.0.1:%u -CAfile ca.pem "
             "-verify_return_error -verify_hostname example.test -ign_eof %s",
             listener->local.port, options);
    assert_int_equal(loop_offload(at, &t.job), ERR_OK);
    net_run();
    stream_close(peer, false);
    peer = NULL;
    listener_close(listener);
    tls_unref(tls);
    net_end();
    return t.rc;
}

static struct tls_pair pair;

static struct tls_config config(void)
{
    pair = pem_pair(&leaf);
    return (struct tls_config){.pairs = &pair, .n = 1, .ca = buf_sv(&authority.cert)};
}

static void s_client_connects_and_comes_again(void **state)
{
    /* what everybody must have is taken first */
    static const char *const version[][2] = {
        {"-tls1_2", "TLSv1.2, Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"},
        {"-tls1_3", "TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256"}};
    struct tls_config c = config();
    char options[128], line[96];
    (void)state;
    need_tool();
    for (int i = 0; i < 2; i++) {
        snprintf(options, sizeof(options), "%s -sess_out session.pem", version[i][0]);
        assert_int_equal(s_client(&c, options), 0);
        assert_int_equal(opened, 1);
        assert_false(verified);
        assert_said("welcome");
        assert_said("Verification: OK");
        snprintf(line, sizeof(line), "New, %s", version[i][1]);
        assert_said(line);
        snprintf(options, sizeof(options), "%s -sess_in session.pem", version[i][0]);
        assert_int_equal(s_client(&c, options), 0);
        snprintf(line, sizeof(line), "Reused, %s", version[i][1]);
        assert_said(line);
        assert_said("welcome");
    }
}

static void s_client_shows_a_certificate(void **state)
{
    static const char *const version[] = {"-tls1_2", "-tls1_3"};
    struct tls_config c = config();
    char options[160];
    (void)state;
    need_tool();
    c.clients = TLS_CLIENTS_REQUIRED;
    for (int i = 0; i < 2; i++) {
        /* and again with a ticket: who it is, is known from it */
        for (int again = 0; again < 2; again++) {
            snprintf(options, sizeof(options), "%s -cert leaf.pem -key leaf.key -sess_%s s.pem",
                     version[i], again ? "in" : "out");
            assert_int_equal(s_client(&c, options), 0);
            assert_true(verified);
            assert_said(again ? "Reused, " : "New, ");
        }
        assert_int_not_equal(s_client(&c, version[i]), 0);
        assert_int_equal(opened, 0);
        assert_int_equal(why, ERR_AUTH);
    }
}

static void s_client_of_old_is_refused(void **state)
{
    static const char *const options[] = {
        "-tls1 -cipher ALL:@SECLEVEL=0",
        "-tls1_1 -cipher ALL:@SECLEVEL=0",
        "-tls1_2 -cipher AES128-SHA",                /* no forward secrecy */
        "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA256", /* no AEAD */
        "-tls1_2 -sigalgs ECDSA+SHA1 -cipher ALL:@SECLEVEL=0",
    };
    struct tls_config c = config();
    (void)state;
    need_tool();
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        assert_int_not_equal(s_client(&c, options[i]), 0);
        assert_int_equal(opened, 0);
        assert_int_equal(closed, 1);
        assert_int_equal(why, ERR_CORRUPT);
    }
    c.only_13 = true;
    assert_int_not_equal(s_client(&c, "-tls1_2"), 0);
    assert_int_equal(s_client(&c, "-tls1_3"), 0);
}

/* ---- the tool as server ---- */

static void on_client_open(void *arg)
{
    on_open(arg);
    assert_int_equal(stream_send(peer, &SV("hello\n"), 1), ERR_OK);
}

static void on_client_data(void *arg, sv s)
{
    (void)arg;
    assert_true(sv_eq(s, SV("olleh\n")));
    stream_close(peer, true);
    peer = NULL;
    net_stop();
}

static void on_client_close(void *arg, enum err rc)
{
    on_close(arg, rc);
    net_stop();
}

static const struct stream_handler client_handler = {
    .on_open = on_client_open, .on_data = on_client_data, .on_close = on_client_close};

/* s_server, listening; its port is what it says itself. */
static pid_t s_server(char *const argv[], uint16_t *ret_port)
{
    int fds[2];
    unsigned port = 0;
    char line[256];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(fds[1], 1);
        dup2(null, 2);
        close(fds[0]);
        if (chdir(dir) == 0)
            execvp("openssl", argv);
        _exit(127);
    }
    close(fds[1]);
    FILE *f = fdopen(fds[0], "r");
    while (port == 0 && fgets(line, sizeof(line), f))
        (void)sscanf(line, "ACCEPT 127.0.0.1:%u", &port);
    fclose(f);
    assert_true(port > 0);
    *ret_port = (uint16_t)port;
    return pid;
}

static void we_connect_to_s_server(void **state)
{
    static const struct {
        const char *version, *client;
    } row[] = {{"-tls1_2", "-no_ticket"}, {"-tls1_3", "-no_ticket"}, {"-tls1_3", "-Verify"}};
    struct tls_config c = config();
    (void)state;
    need_tool();
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char *argv[] = {"openssl",
                        "s_server",
                        "-accept",
                        "127.0.0.1:0",
                        "-cert",
                        "leaf.pem",
                        "-key",
                        "leaf.key",
                        "-CAfile",
                        "ca.pem",
                        "-rev",
                        "-verify_return_error",
                        (char *)row[i].version,
                        (char *)row[i].client,
                        i == 2 ? "1" : NULL,
                        NULL};
        struct addr to = net_addr("127.0.0.1:0");
        int status;
        pid_t pid = s_server(argv, &to.port);
        opened = closed = 0;
        net_setup(1);
        tls = pem_tls(&c);
        assert_int_equal(
            tls_connect(tls, at, NULL, &to, SV("example.test"), true, &client_handler, NULL, &peer),
            ERR_OK);
        net_run();
        assert_int_equal(opened, 1);
        assert_int_equal(closed, 0);
        assert_true(verified);
        tls_unref(tls);
        net_end();
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tool_verifies_our_certificates),
        cmocka_unit_test(s_client_connects_and_comes_again),
        cmocka_unit_test(s_client_shows_a_certificate),
        cmocka_unit_test(s_client_of_old_is_refused),
        cmocka_unit_test(we_connect_to_s_server),
    };
    char line[64];
    assert_int_equal(crypto_start(), ERR_OK);
    assert_non_null(mkdtemp(dir));
    have_tool = run("openssl version") == 0;
    pem_make(&authority, NULL, "example.test");
    pem_make(&leaf, &authority, "example.test");
    write_file("ca.pem", buf_sv(&authority.cert));
    write_file("leaf.pem", buf_sv(&leaf.cert));
    write_file("leaf.key", buf_sv(&leaf.key));
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    pem_done(&authority);
    pem_done(&leaf);
    snprintf(line, sizeof(line), "rm -r %s", dir);
    return system(line) == 0 ? rc : 1;
}
