/* SPDX-License-Identifier: MIT */
/* Asking the running server: HTTP over its Unix socket, one question a connection. */
#include <errno.h>
#include <http_parser.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli_priv.h"

enum { ANSWER_MAX = 256 * 1024 * 1024, TRIED_MAX = 4096 };

static pid_t offline_pid;

struct answer {
    struct buf body;
    bool complete;
};

static int on_body(http_parser *p, const char *at, size_t n)
{
    struct answer *a = p->data;
    buf_mem(&a->body, at, n);
    return a->body.rc ? -1 : 0;
}

static int on_complete(http_parser *p)
{
    struct answer *a = p->data;
    a->complete = true;
    return 0;
}

static int dial(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof(un.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(un.sun_path, path, n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof(un)) != 0) {
        int e = errno;
        close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

/* Tries one place; every failure is remembered for the message. */
static int try_place(const char *path, struct buf *tried)
{
    int fd = dial(path);
    if (fd < 0)
        buf_printf(tried, "  %s: %s\n", path, strerror(errno));
    return fd;
}

/* The places where a server's socket may be: --socket, $TANDEM_SOCKET, the configuration's,
 * /run/tandem, ./tandem-data. */
static int find_server(struct cli *c, struct buf *tried, char *ret_default, size_t n)
{
    const char *env = getenv("TANDEM_SOCKET");
    if (c->value[CLI_SOCKET])
        return try_place(c->value[CLI_SOCKET], tried);
    if (env && *env)
        return try_place(env, tried);
    struct config_report report;
    struct config *config = NULL;
    struct config_source src = cli_source(c);
    struct buf b;
    config_report_init(&report);
    enum err rc = config_load(&src, &report, &config);
    config_report_done(&report);
    if (rc == ERR_OK) {
        buf_init(&b, ret_default, n);
        if (config->socket.n) {
            buf_put(&b, config->socket);
        } else {
            buf_put(&b, config->data);
            buf_str(&b, "/control.sock");
        }
        buf_char(&b, '\0');
        config_free(config);
        int fd = b.rc ? -1 : try_place(ret_default, tried);
        if (fd >= 0 || c->value[CLI_CONFIG])
            return fd;
    } else {
        buf_str(tried, "  the configuration cannot be read: see tandem check\n");
    }
    static const char *const places[] = {"/run/tandem/control.sock", "./tandem-data/control.sock"};
    for (size_t i = 0; i < 2; i++) {
        int fd = try_place(places[i], tried);
        if (fd >= 0)
            return fd;
    }
    return -1;
}

/* A server without SIP, in a process of its own, so that accounts can be made before the first
 * start. */
static int start_offline(struct cli *c, const char *path)
{
    struct config_source src = cli_source(c);
    fflush(NULL);
    offline_pid = fork();
    if (offline_pid == 0)
        _exit(daemon_serve(&src, DAEMON_OFFLINE));
    for (int i = 0; i < 500 && offline_pid > 0; i++) {
        int fd = dial(path);
        if (fd >= 0)
            return fd;
        if (waitpid(offline_pid, NULL, WNOHANG) == offline_pid) {
            offline_pid = 0;
            return -1;
        }
        struct timespec ts = {.tv_nsec = 10 * 1000 * 1000};
        nanosleep(&ts, NULL);
    }
    return -1;
}

void cli_offline_end(void)
{
    if (offline_pid <= 0)
        return;
    kill(offline_pid, SIGTERM);
    while (waitpid(offline_pid, NULL, 0) < 0 && errno == EINTR)
        ;
    offline_pid = 0;
}

static bool send_all(int fd, sv text)
{
    while (text.n) {
        ssize_t n = send(fd, text.p, text.n, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text = sv_sub(text, (size_t)n, text.n);
    }
    return true;
}

static int exchange(struct cli *c, int fd, sv request, unsigned *ret_status, json_t **ret_answer)
{
    static const http_parser_settings callbacks = {.on_body = on_body,
                                                   .on_message_complete = on_complete};
    struct answer a = {0};
    http_parser parser;
    char piece[65536];
    http_parser_init(&parser, HTTP_RESPONSE);
    parser.data = &a;
    buf_init_heap(&a.body, ANSWER_MAX);
    bool sent = send_all(fd, request);
    while (sent && !a.complete) {
        ssize_t n = recv(fd, piece, sizeof(piece), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        if (http_parser_execute(&parser, &callbacks, piece, (size_t)n) != (size_t)n || n == 0)
            break;
    }
    close(fd);
    if (!a.complete) {
        fprintf(stderr, "tandem %s: the server ended the conversation\n", c->verb);
        buf_done(&a.body);
        return CLI_FAILED;
    }
    *ret_status = parser.status_code;
    *ret_answer = json_loadb(a.body.p ? a.body.p : "", a.body.n, 0, NULL);
    buf_done(&a.body);
    return CLI_OK;
}

int cli_ask(struct cli *c, const char *method, const char *path, const json_t *body, bool offline,
            unsigned *ret_status, json_t **ret_answer)
{
    char tried_mem[TRIED_MAX], place[1200] = "";
    struct buf tried, request;
    *ret_answer = NULL;
    buf_init(&tried, tried_mem, sizeof(tried_mem));
    int fd = offline_pid > 0 ? -1 : find_server(c, &tried, place, sizeof(place));
    static char offline_place[1200];
    if (fd < 0 && offline_pid > 0)
        fd = dial(offline_place);
    if (fd < 0 && offline && place[0]) {
        memcpy(offline_place, place, sizeof(place));
        fd = start_offline(c, place);
    }
    if (fd < 0) {
        fprintf(stderr, "tandem %s: no server answers; tried\n%.*s", c->verb, (int)tried.n,
                tried_mem);
        return CLI_FAILED;
    }
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    buf_init_heap(&request, ANSWER_MAX);
    buf_printf(&request, "%s ", method);
    buf_str(&request, path);
    buf_printf(&request,
               " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
               text ? strlen(text) : 0);
    if (text)
        buf_str(&request, text);
    int code = exchange(c, fd, buf_sv(&request), ret_status, ret_answer);
    if (text)
        crypto_wipe(text, strlen(text));
    free(text);
    buf_done(&request);
    return code;
}

int cli_refused(const struct cli *c, json_t *answer)
{
    const char *why = json_string_value(json_object_get(answer, "error"));
    fprintf(stderr, "tandem %s: %s\n", c->verb, why ? why : "refused");
    json_decref(answer);
    return CLI_NO;
}

void cli_print_json(json_t *answer)
{
    char *text = json_dumps(answer, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    printf("%s\n", text ? text : "null");
    free(text);
}

void cli_put(const char *text)
{
    char mem[4096];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_printable(&b, sv_of(text ? text : ""));
    fwrite(mem, 1, b.n, stdout);
}
