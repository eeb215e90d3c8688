/* SPDX-License-Identifier: MIT */
/* Asking the running server: HTTP over its Unix socket, one question a connection. */
#include <errno.h>
#include <http_parser.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli_priv.h"
#include "control/control.h"

enum { ANSWER_MAX = 256 * 1024 * 1024, TRIED_MAX = 4096, OFFLINE_TRIES = 1000 };

static pid_t offline_pid;
/* Where one was found: the next question goes there. Empty: none yet. */
static char server_place[1200];

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

/* What looking for a server found out. */
struct search {
    struct buf tried; /* a line for each place that failed */
    char tried_mem[TRIED_MAX];
    char place[1200];  /* where the configuration's server would be; empty: not known */
    char folder[1200]; /* its data */
    bool nobody;       /* nobody listens there: it may be started */
    bool lost;         /* the configuration that was named cannot be read: said already */
};

/* One of the lines of s->tried is of path. */
static bool was_tried(const struct search *s, const char *path)
{
    char mem[1300];
    struct buf b;
    buf_init(&b, mem, sizeof(mem));
    buf_str(&b, "  ");
    buf_printable(&b, sv_of(path));
    buf_str(&b, ": ");
    return !b.rc && memmem(s->tried.p, s->tried.n, b.p, b.n) != NULL;
}

static void set_path(char *mem, size_t n, sv path, const char *name)
{
    struct buf b;
    buf_init(&b, mem, n);
    buf_put(&b, path);
    buf_str(&b, name);
    buf_char(&b, '\0');
    if (b.rc)
        mem[0] = '\0';
}

static int try_place(struct search *s, const char *path)
{
    int fd = dial(path);
    if (fd < 0 && !was_tried(s, path)) {
        int e = errno;
        buf_str(&s->tried, "  ");
        buf_printable(&s->tried, sv_of(path));
        buf_printf(&s->tried, ": %s\n", strerror(e));
        errno = e;
    }
    if (fd >= 0)
        set_path(server_place, sizeof(server_place), sv_of(path), "");
    return fd;
}

static void put_sv(sv text)
{
    struct buf b;
    buf_init_heap(&b, ANSWER_MAX);
    buf_printable(&b, text);
    fwrite(b.p ? b.p : "", 1, b.n, stderr);
    buf_done(&b);
}

/* The configuration's own place. A file with mistakes still says where its server is. */
static int try_configured(struct cli *c, struct search *s, bool *ret_named)
{
    struct config_report report;
    struct config *config = NULL;
    struct config_source src = cli_source(c);
    config_report_init(&report);
    enum err rc = config_load(&src, &report, &config);
    *ret_named = c->value[CLI_CONFIG] || (getenv("TANDEM_CONFIG") && *getenv("TANDEM_CONFIG"));
    if (*ret_named && report.unread) {
        /* Its server is not known, and no other is meant. */
        fprintf(stderr, "tandem %s: cannot read ", c->verb);
        put_sv(report.unread_file);
        fprintf(stderr, ": %s\n", report.unread);
        s->lost = true;
        config_report_done(&report);
        return -1;
    }
    if (report.socket.n)
        set_path(s->place, sizeof(s->place), report.socket, "");
    else if (report.data.n)
        set_path(s->place, sizeof(s->place), report.data, "/control.sock");
    set_path(s->folder, sizeof(s->folder), report.data, "");
    int fd = s->place[0] ? try_place(s, s->place) : -1;
    s->nobody = fd < 0 && s->place[0] && !rc && (errno == ENOENT || errno == ECONNREFUSED);
    if (rc)
        buf_str(&s->tried, "  the configuration has mistakes: see tandem check\n");
    config_report_done(&report);
    config_free(config);
    return fd;
}

/* --socket, $TANDEM_SOCKET, the configuration's, /run/tandem, ./tandem-data. */
static int find_server(struct cli *c, struct search *s)
{
    static const char *const places[] = {"/run/tandem/control.sock", "./tandem-data/control.sock"};
    const char *env = getenv("TANDEM_SOCKET");
    bool named;
    buf_init(&s->tried, s->tried_mem, sizeof(s->tried_mem));
    if (c->value[CLI_SOCKET])
        return try_place(s, c->value[CLI_SOCKET]);
    if (env && *env)
        return try_place(s, env);
    int fd = try_configured(c, s, &named);
    /* Whoever names a configuration means its server and no other. */
    for (size_t i = 0; i < 2 && fd < 0 && !named; i++)
        fd = try_place(s, places[i]);
    return fd;
}

/* A server without SIP, in a process of its own, so that accounts can be made before the first
 * start. It ends with us, however we end. */
static int start_offline(struct cli *c, const char *path)
{
    struct config_source src = cli_source(c);
    pid_t self = getpid();
    fflush(NULL);
    offline_pid = fork();
    if (offline_pid == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != self)
            _exit(CLI_FAILED);
        _exit(daemon_serve(&src, DAEMON_OFFLINE, c->program));
    }
    for (int i = 0; i < OFFLINE_TRIES && offline_pid > 0; i++) {
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
    server_place[0] = '\0';
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

static int exchange(struct cli *c, int fd, const sv pieces[static 2], unsigned *ret_status,
                    json_t **ret_answer)
{
    static const http_parser_settings callbacks = {.on_body = on_body,
                                                   .on_message_complete = on_complete};
    struct answer a = {0};
    http_parser parser;
    char piece[65536];
    http_parser_init(&parser, HTTP_RESPONSE);
    parser.data = &a;
    buf_init_heap(&a.body, ANSWER_MAX);
    bool sent = send_all(fd, pieces[0]) && send_all(fd, pieces[1]);
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
    *ret_answer = json_loadb(a.body.p ? a.body.p : "", a.body.n, JSON_ALLOW_NUL, NULL);
    buf_done(&a.body);
    return CLI_OK;
}

/* A connection to the server, or to one started for this. */
static int reach(struct cli *c, enum cli_offline offline)
{
    struct search s = {.nobody = false};
    if (server_place[0]) {
        int again = dial(server_place);
        if (again < 0)
            fprintf(stderr, "tandem %s: the server has ended\n", c->verb);
        return again;
    }
    int fd = find_server(c, &s);
    if (fd < 0 && s.nobody && offline != CLI_ONLINE &&
        (offline == CLI_OFFLINE_NEW || access(s.folder, F_OK) == 0)) {
        fd = start_offline(c, s.place);
        if (fd >= 0)
            memcpy(server_place, s.place, sizeof(server_place));
    }
    if (fd < 0 && !s.lost)
        fprintf(stderr, "tandem %s: no server answers; tried\n%.*s", c->verb, (int)s.tried.n,
                s.tried_mem);
    return fd;
}

int cli_ask(struct cli *c, const char *method, const char *path, const json_t *body,
            enum cli_offline offline, unsigned *ret_status, json_t **ret_answer)
{
    struct buf request;
    *ret_answer = NULL;
    int fd = reach(c, offline);
    if (fd < 0)
        return CLI_FAILED;
    struct timeval most = {.tv_sec = CONTROL_ANSWER_TIME / USEC_S + 10};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    size_t text_n = text ? strlen(text) : 0;
    buf_init_heap(&request, ANSWER_MAX);
    buf_str(&request, method);
    buf_char(&request, ' ');
    buf_str(&request, path);
    buf_printf(&request,
               " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
               text_n);
    /* The body goes by itself: a password is copied no further. */
    sv pieces[] = {buf_sv(&request), {text, text_n}};
    int code = CLI_FAILED;
    if (request.rc || (body && !text)) {
        fprintf(stderr, "tandem %s: out of memory\n", c->verb);
        close(fd);
    } else {
        code = exchange(c, fd, pieces, ret_status, ret_answer);
    }
    if (text)
        crypto_wipe(text, text_n);
    free(text);
    buf_done(&request);
    return code;
}

int cli_refused(const struct cli *c, unsigned status, json_t *answer)
{
    const char *why = json_string_value(json_object_get(answer, "error"));
    fprintf(stderr, "tandem %s: ", c->verb);
    cli_put(stderr, why ? why : "refused");
    fprintf(stderr, "\n");
    json_decref(answer);
    return status >= 500 ? CLI_FAILED : CLI_NO;
}

void cli_print_json(json_t *answer)
{
    char *text = json_dumps(answer, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(10));
    printf("%s\n", text ? text : "null");
    free(text);
}

struct sorted {
    const char *first, *then;
    json_t *value;
};

static int by_text(const void *a, const void *b)
{
    const struct sorted *x = a, *y = b;
    int order = strcmp(x->first, y->first);
    return order ? order : strcmp(x->then, y->then);
}

static const char *text_at(json_t *o, const char *key)
{
    const char *text = key ? json_string_value(json_object_get(o, key)) : NULL;
    return text ? text : "";
}

void cli_sort(json_t *list, const char *first, const char *then)
{
    size_t i, n = json_array_size(list);
    json_t *v;
    struct sorted *all = mem_calloc(n + 1, sizeof(*all));
    if (!all)
        return; /* as the server sent it */
    json_array_foreach(list, i, v) all[i] =
        (struct sorted){text_at(v, first), text_at(v, then), json_incref(v)};
    qsort(all, n, sizeof(*all), by_text);
    for (i = 0; i < n; i++)
        json_array_set_new(list, i, all[i].value);
    mem_free(all);
}

void cli_put(FILE *f, const char *text)
{
    struct buf b;
    buf_init_heap(&b, ANSWER_MAX);
    buf_printable(&b, sv_of(text ? text : ""));
    fwrite(b.p ? b.p : "", 1, b.n, f);
    buf_done(&b);
}
