/* SPDX-License-Identifier: MIT */
/* tandem user: the accounts. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli_priv.h"
#include "crypto/crypto.h"

enum { PASSWORD_MAX = 258, LINE_MAX_OCTETS = 4096, EXPORT_LINE_MAX = 64 * 1024 };

/* One line of fd without its end, octet by octet, so that no buffer keeps a copy.
 * NULL: fine; else what is wrong. */
static const char *read_line(int fd, char *mem, size_t cap)
{
    size_t n = 0;
    for (;;) {
        char c;
        ssize_t got = read(fd, &c, 1);
        if (got < 0)
            return strerror(errno);
        if (got == 0 && n == 0)
            return "there is none";
        if (got == 0 || c == '\n')
            break;
        if (c == '\0')
            return "it has a NUL in it";
        if (n + 1 == cap)
            return "it is too long";
        mem[n++] = c;
    }
    if (n > 0 && mem[n - 1] == '\r')
        n--;
    mem[n] = '\0';
    return NULL;
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signum)
{
    interrupted = signum;
}

/* Asks on the terminal without echo. However it ends, the terminal echoes again. */
static const char *prompt(const char *what, char *mem, size_t n)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    enum { ENDS = sizeof(ends) / sizeof(ends[0]) };
    struct sigaction catch = {.sa_handler = on_interrupt}, before[ENDS];
    struct termios was, quiet;
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || tcgetattr(fd, &was) != 0) {
        if (fd >= 0)
            close(fd);
        return "there is no terminal to ask on: use --password-stdin";
    }
    interrupted = 0;
    for (int i = 0; i < ENDS; i++)
        sigaction(ends[i], &catch, &before[i]); /* read(2) returns: no SA_RESTART */
    quiet = was;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    dprintf(fd, "%s: ", what);
    const char *why = tcsetattr(fd, TCSAFLUSH, &quiet) == 0 ? read_line(fd, mem, n)
                                                            : "the terminal cannot be kept quiet";
    tcsetattr(fd, TCSAFLUSH, &was);
    dprintf(fd, "\n");
    close(fd);
    for (int i = 0; i < ENDS; i++)
        sigaction(ends[i], &before[i], NULL);
    if (interrupted)
        raise(interrupted);
    return why;
}

/* From standard input, or asked twice. Not CLI_OK: mem holds nothing. */
static int read_password(struct cli *c, char mem[static PASSWORD_MAX])
{
    char again[PASSWORD_MAX] = "";
    bool piped = c->on[CLI_PASSWORD_STDIN];
    const char *why =
        piped ? read_line(STDIN_FILENO, mem, PASSWORD_MAX) : prompt("Password", mem, PASSWORD_MAX);
    if (!why && !piped)
        why = prompt("Again", again, sizeof(again));
    bool same = piped || why || strcmp(mem, again) == 0;
    crypto_wipe(again, sizeof(again));
    if (!why && same)
        return CLI_OK;
    crypto_wipe(mem, PASSWORD_MAX);
    if (why)
        fprintf(stderr, "tandem user: no password: %s\n", why);
    else
        fprintf(stderr, "tandem user: the two differ\n");
    return piped ? CLI_USAGE : why ? CLI_FAILED : CLI_NO;
}

/* jansson's copies of what is secret go as ours do. */
static void body_free(json_t *o)
{
    static const char *const names[] = {"password", "ha1_md5", "ha1_sha256"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        json_t *v = json_object_get(o, names[i]);
        if (json_is_string(v))
            crypto_wipe((char *)(uintptr_t)json_string_value(v), json_string_length(v));
    }
    json_decref(o);
}

/* "/api/v1/accounts/" and the address with what a path cannot hold escaped. */
static const char *account_path(const char *address, char mem[static 1024])
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()&=+$,;/@";
    struct buf b;
    buf_init(&b, mem, 1024);
    buf_str(&b, "/api/v1/accounts/");
    for (const char *p = address; *p; p++) {
        if (strchr(plain, *p))
            buf_char(&b, *p);
        else
            buf_printf(&b, "%%%02X", (unsigned char)*p);
    }
    buf_char(&b, '\0');
    return b.rc ? "/api/v1/accounts/-" : mem;
}

/* Takes body. Says which account was made (201). */
static int ask(struct cli *c, const char *method, const char *path, json_t *body,
               enum cli_offline offline, unsigned good)
{
    unsigned status;
    json_t *a;
    int code = cli_ask(c, method, path, body, offline, &status, &a);
    body_free(body);
    if (code)
        return code;
    if (status != good)
        return cli_refused(c, status, a);
    if (c->on[CLI_JSON]) {
        cli_print_json(a);
    } else if (status == 201) {
        cli_put(stdout, cli_member(a, "account"));
        printf("\n");
    }
    json_decref(a);
    return CLI_OK;
}

static int user_add(struct cli *c, const char *address)
{
    char password[PASSWORD_MAX];
    int code = read_password(c, password);
    if (code)
        return code;
    json_t *o = json_pack("{s:s, s:s}", "user", address, "password", password);
    crypto_wipe(password, sizeof(password));
    if (!o) {
        fprintf(stderr, "tandem user: the name or the password is not valid UTF-8\n");
        return CLI_USAGE;
    }
    json_t *numbers = json_array();
    bool good =
        !c->value[CLI_NAME] || json_object_set_new(o, "name", json_string(c->value[CLI_NAME])) == 0;
    for (unsigned i = 0; i < c->numbers_n && good; i++)
        good = json_array_append_new(numbers, json_string(c->numbers[i])) == 0;
    good = json_object_set_new(o, "numbers", numbers) == 0 && good;
    if (!good) {
        body_free(o);
        fprintf(stderr, "tandem user: a name or a number is not valid UTF-8\n");
        return CLI_USAGE;
    }
    return ask(c, "POST", "/api/v1/accounts", o, CLI_OFFLINE_NEW, 201);
}

static int user_passwd(struct cli *c, const char *address)
{
    char password[PASSWORD_MAX], path[1024];
    int code = read_password(c, password);
    if (code)
        return code;
    json_t *o = json_pack("{s:s}", "password", password);
    crypto_wipe(password, sizeof(password));
    if (!o) {
        fprintf(stderr, "tandem user: the password is not valid UTF-8\n");
        return CLI_USAGE;
    }
    return ask(c, "PUT", account_path(address, path), o, CLI_OFFLINE_NEW, 200);
}

static int user_remove(struct cli *c, const char *address)
{
    char path[1024];
    return ask(c, "DELETE", account_path(address, path), NULL, CLI_OFFLINE_KNOWN, 200);
}

static void print_account(json_t *x)
{
    size_t i;
    json_t *n;
    cli_put(stdout, cli_member(x, "user"));
    printf("@");
    cli_put(stdout, cli_member(x, "domain"));
    json_array_foreach(json_object_get(x, "numbers"), i, n)
    {
        printf("%s", i ? "," : "  ");
        cli_put(stdout, json_string_value(n));
    }
    printf("%s", cli_member(x, "name")[0] ? "  " : "");
    cli_put(stdout, cli_member(x, "name"));
    printf("%s%s\n", json_is_true(json_object_get(x, "password")) ? "" : "  (no password yet)",
           strcmp(cli_member(x, "origin"), "file") == 0 ? "  (configuration file)" : "");
}

/* All accounts, or the one whose address is given. */
static int user_list(struct cli *c, const char *address)
{
    unsigned status;
    json_t *a, *x;
    size_t i;
    int code = cli_ask(c, "GET", "/api/v1/accounts", NULL, CLI_OFFLINE_KNOWN, &status, &a);
    if (code)
        return code;
    if (status != 200)
        return cli_refused(c, status, a);
    if (!address) {
        cli_sort(a, "user", "domain");
        if (c->on[CLI_JSON])
            cli_print_json(a);
        else
            json_array_foreach(a, i, x) print_account(x);
        json_decref(a);
        return CLI_OK;
    }
    sv want = sv_of(address), user = sv_sub(want, 0, sv_chr(want, '@'));
    sv domain = sv_sub(want, user.n + 1, want.n);
    json_array_foreach(a, i, x)
    {
        if (!sv_eq(user, sv_of(cli_member(x, "user"))) ||
            (domain.n && !sv_ieq(domain, sv_of(cli_member(x, "domain")))))
            continue;
        if (c->on[CLI_JSON])
            cli_print_json(x);
        else
            print_account(x);
        json_decref(a);
        return CLI_OK;
    }
    json_decref(a);
    fprintf(stderr, "tandem user: no such account\n");
    return CLI_NO;
}

/* ---- import and export ---- */

/* %HH undone in place. False: a broken escape, or a NUL. */
static bool unescape(char *field)
{
    char *to = field;
    for (const char *p = field; *p; p++) {
        uint8_t octet = (uint8_t)*p;
        size_t n;
        if (*p == '%') {
            if (strlen(p) < 3 || crypto_unhex((sv){p + 1, 2}, &octet, 1, &n) || !octet)
                return false;
            p += 2;
        }
        *to++ = (char)octet;
    }
    *to = '\0';
    return true;
}

static bool set_text(json_t *o, const char *name, char *field)
{
    return !*field || (unescape(field) && json_object_set_new(o, name, json_string(field)) == 0);
}

static bool set_numbers(json_t *o, char *field)
{
    json_t *numbers = json_array();
    bool good = true;
    for (char *n; good && (n = strsep(&field, ","));)
        good = !*n || (unescape(n) && json_array_append_new(numbers, json_string(n)) == 0);
    return json_object_set_new(o, "numbers", numbers) == 0 && good;
}

json_t *cli_import_line(char *line)
{
    static const char *const names[] = {"user", "password", "ha1_md5", "ha1_sha256", "name"};
    enum { NAMES = sizeof(names) / sizeof(names[0]) };
    json_t *o = json_object();
    char *rest = line;
    bool good = o != NULL && strchr(line, ';');
    for (unsigned i = 0; rest && good; i++) {
        char *field = strsep(&rest, ";");
        good = i < NAMES ? set_text(o, names[i], field) : i == NAMES && set_numbers(o, field);
    }
    if (good && json_object_get(o, "user"))
        return o;
    body_free(o);
    return NULL;
}

static int import_one(struct cli *c, const char *path, unsigned at, char *line, bool *ret_good)
{
    unsigned status;
    json_t *a = NULL, *o = cli_import_line(line);
    int code = CLI_OK;
    const char *why = "not of the form user;password or user;;hash";
    *ret_good = false;
    if (o) {
        code = cli_ask(c, "POST", "/api/v1/accounts", o, CLI_OFFLINE_NEW, &status, &a);
        if (code == CLI_OK && status == 201)
            *ret_good = true;
        why = json_string_value(json_object_get(a, "error"));
        body_free(o);
    }
    if (code == CLI_OK && !*ret_good) {
        fprintf(stderr, "%s:%u: ", path, at);
        cli_put(stderr, why ? why : "refused");
        fprintf(stderr, "\n");
    }
    json_decref(a);
    return code;
}

static int user_import(struct cli *c, const char *path)
{
    char line[LINE_MAX_OCTETS], buffer[4096];
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    unsigned at = 0, good = 0, bad = 0;
    int code = CLI_OK;
    if (!f) {
        fprintf(stderr, "tandem user: %s: %s\n", path, strerror(errno));
        return CLI_FAILED;
    }
    setvbuf(f, buffer, _IOFBF, sizeof(buffer)); /* ours to wipe */
    while (!code && fgets(line, sizeof(line), f)) {
        bool taken;
        at++;
        size_t n = strlen(line);
        if (n + 1 == sizeof(line) && line[n - 1] != '\n') {
            fprintf(stderr, "%s:%u: the line is too long\n", path, at);
            code = CLI_NO;
            break;
        }
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            line[--n] = '\0';
        if (!line[0] || line[0] == '#')
            continue;
        code = import_one(c, path, at, line, &taken);
        if (!code)
            *(taken ? &good : &bad) += 1;
    }
    if (ferror(f)) {
        fprintf(stderr, "tandem user: %s: %s\n", path, strerror(errno));
        code = CLI_FAILED;
    }
    if (f != stdin)
        fclose(f);
    else
        setvbuf(f, NULL, _IONBF, 0);
    crypto_wipe(line, sizeof(line));
    crypto_wipe(buffer, sizeof(buffer));
    if (code != CLI_FAILED)
        printf("%u imported, %u refused\n", good, bad);
    return code ? code : bad ? CLI_NO : CLI_OK;
}

/* What would end a field, a line, or begin an escape or a comment, as %HH. */
static void put_field(struct buf *b, const char *text)
{
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == 0x7f || strchr(";,%#", c))
            buf_printf(b, "%%%02X", c);
        else
            buf_char(b, *p);
    }
}

void cli_export_line(struct buf *b, json_t *account)
{
    size_t i;
    json_t *n;
    put_field(b, cli_member(account, "user"));
    buf_char(b, '@');
    put_field(b, cli_member(account, "domain"));
    buf_str(b, ";;");
    put_field(b, cli_member(account, "ha1_md5"));
    buf_char(b, ';');
    put_field(b, cli_member(account, "ha1_sha256"));
    buf_char(b, ';');
    put_field(b, cli_member(account, "name"));
    json_array_foreach(json_object_get(account, "numbers"), i, n)
    {
        buf_char(b, i ? ',' : ';');
        put_field(b, json_string_value(n) ? json_string_value(n) : "");
    }
    buf_char(b, '\n');
}

static int user_export(struct cli *c)
{
    unsigned status;
    json_t *a, *x;
    size_t i;
    int code = cli_ask(c, "GET", "/api/v1/accounts/export", NULL, CLI_OFFLINE_KNOWN, &status, &a);
    if (code)
        return code;
    if (status != 200)
        return cli_refused(c, status, a);
    cli_sort(a, "user", "domain");
    if (c->on[CLI_JSON])
        cli_print_json(a);
    else
        json_array_foreach(a, i, x)
        {
            struct buf b;
            buf_init_heap(&b, EXPORT_LINE_MAX);
            cli_export_line(&b, x);
            fwrite(b.p ? b.p : "", 1, b.n, stdout);
            buf_done(&b);
        }
    json_decref(a);
    return CLI_OK;
}

/* Options that only some of the subcommands take. */
static int check_options(const struct cli *c, const char *sub)
{
    bool add = strcmp(sub, "add") == 0;
    if (!add && (c->on[CLI_NAME] || c->on[CLI_NUMBER]))
        return cli_usage(c, "--name and --number are for user add");
    if (!add && strcmp(sub, "passwd") != 0 && c->on[CLI_PASSWORD_STDIN])
        return cli_usage(c, "--password-stdin is for user add and user passwd");
    return CLI_OK;
}

int cli_user(struct cli *c)
{
    static const struct {
        const char *name;
        int (*fn)(struct cli *c, const char *argument);
    } with_argument[] = {
        {"add", user_add},   {"passwd", user_passwd}, {"remove", user_remove},
        {"show", user_list}, {"import", user_import},
    };
    static const char words[] = "add, list, show, passwd, remove, import or export";
    if (c->args_n == 0)
        return cli_usage(c, "%s", words);
    bool whole = strcmp(c->args[0], "list") == 0 || strcmp(c->args[0], "export") == 0;
    if (c->args_n > 1 && whole)
        return cli_usage(c, "user %s takes no argument%s", c->args[0],
                         strcmp(c->args[0], "list") == 0 ? "; one account: user show" : "");
    if (check_options(c, c->args[0]))
        return CLI_USAGE;
    if (strcmp(c->args[0], "list") == 0)
        return user_list(c, NULL);
    if (strcmp(c->args[0], "export") == 0)
        return user_export(c);
    for (size_t i = 0; i < sizeof(with_argument) / sizeof(with_argument[0]); i++) {
        if (strcmp(with_argument[i].name, c->args[0]) != 0)
            continue;
        if (c->args_n != 2)
            return cli_usage(c, "user %s needs one %s", c->args[0],
                             strcmp(c->args[0], "import") == 0 ? "FILE" : "USER@DOMAIN");
        return with_argument[i].fn(c, c->args[1]);
    }
    return cli_usage(c, "there is no user %s, but %s", c->args[0], words);
}
