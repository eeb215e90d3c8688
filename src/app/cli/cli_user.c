/* SPDX-License-Identifier: MIT */
/* tandem user: the accounts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli_priv.h"
#include "crypto/crypto.h"

enum { PASSWORD_MAX = 256, LINE_MAX_OCTETS = 4096 };

static void cut_newline(char *line)
{
    line[strcspn(line, "\r\n")] = '\0';
}

/* Asks on the terminal without echo. */
static bool prompt(const char *what, char *mem, size_t n)
{
    FILE *tty = fopen("/dev/tty", "r+e");
    struct termios was, quiet;
    if (!tty)
        return false;
    int fd = fileno(tty);
    fprintf(tty, "%s: ", what);
    fflush(tty);
    bool ok = tcgetattr(fd, &was) == 0;
    if (ok) {
        quiet = was;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        ok = tcsetattr(fd, TCSAFLUSH, &quiet) == 0 && fgets(mem, (int)n, tty) != NULL;
        tcsetattr(fd, TCSAFLUSH, &was);
    }
    fprintf(tty, "\n");
    fclose(tty);
    if (ok)
        cut_newline(mem);
    return ok;
}

/* From standard input, or asked twice. */
static int read_password(struct cli *c, char mem[static PASSWORD_MAX])
{
    char again[PASSWORD_MAX];
    if (c->on[CLI_PASSWORD_STDIN]) {
        if (!fgets(mem, PASSWORD_MAX, stdin)) {
            fprintf(stderr, "tandem user: standard input has no password\n");
            return CLI_USAGE;
        }
        cut_newline(mem);
        return CLI_OK;
    }
    if (!prompt("Password", mem, PASSWORD_MAX) || !prompt("Again", again, sizeof(again))) {
        fprintf(stderr, "tandem user: no terminal to ask for the password; use --password-stdin\n");
        return CLI_FAILED;
    }
    bool same = strcmp(mem, again) == 0;
    crypto_wipe(again, sizeof(again));
    if (!same) {
        fprintf(stderr, "tandem user: the two differ\n");
        return CLI_NO;
    }
    return CLI_OK;
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

static int ask(struct cli *c, const char *method, const char *path, json_t *body, unsigned good)
{
    unsigned status;
    json_t *a;
    int code = cli_ask(c, method, path, body, true, &status, &a);
    json_decref(body);
    if (code)
        return code;
    if (status != good)
        return cli_refused(c, a);
    if (c->on[CLI_JSON])
        cli_print_json(a);
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
    if (c->value[CLI_NAME])
        json_object_set_new(o, "name", json_string(c->value[CLI_NAME]));
    json_t *numbers = json_array();
    for (unsigned i = 0; i < c->numbers_n; i++)
        json_array_append_new(numbers, json_string(c->numbers[i]));
    json_object_set_new(o, "numbers", numbers);
    return ask(c, "POST", "/api/v1/accounts", o, 201);
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
    return ask(c, "PUT", account_path(address, path), o, 200);
}

static int user_remove(struct cli *c, const char *address)
{
    char path[1024];
    return ask(c, "DELETE", account_path(address, path), NULL, 200);
}

static void print_account(json_t *x)
{
    size_t i;
    json_t *n;
    cli_put(json_string_value(json_object_get(x, "user")));
    printf("@");
    cli_put(json_string_value(json_object_get(x, "domain")));
    printf("  ");
    json_array_foreach(json_object_get(x, "numbers"), i, n)
    {
        printf("%s", i ? "," : "");
        cli_put(json_string_value(n));
    }
    printf("  ");
    cli_put(json_string_value(json_object_get(x, "name")));
    printf("%s%s\n", json_is_true(json_object_get(x, "password")) ? "" : "  (no password yet)",
           strcmp(json_string_value(json_object_get(x, "origin")), "file") == 0
               ? "  (configuration file)"
               : "");
}

/* All accounts, or the one whose address is given. */
static int user_list(struct cli *c, const char *address)
{
    unsigned status;
    json_t *a, *x;
    size_t i;
    int code = cli_ask(c, "GET", "/api/v1/accounts", NULL, true, &status, &a);
    if (code)
        return code;
    if (status != 200)
        return cli_refused(c, a);
    if (!address) {
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
        if (!sv_eq(user, sv_of(json_string_value(json_object_get(x, "user")))) ||
            (domain.n && !sv_ieq(domain, sv_of(json_string_value(json_object_get(x, "domain"))))))
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

/* A line "user[@domain];password" or "user[@domain];;ha1-md5[;ha1-sha256[;name[;number,number]]]".
 */
static json_t *import_line(char *line)
{
    static const char *const names[] = {"user", "password", "ha1_md5", "ha1_sha256", "name"};
    json_t *o = json_object();
    char *rest = line;
    for (unsigned i = 0; rest; i++) {
        char *field = strsep(&rest, ";");
        if (i < 5 && *field)
            json_object_set_new(o, names[i], json_string(field));
        if (i == 5) {
            json_t *numbers = json_array();
            for (char *n; (n = strsep(&field, ","));) {
                if (*n)
                    json_array_append_new(numbers, json_string(n));
            }
            json_object_set_new(o, "numbers", numbers);
        }
    }
    return o;
}

static int user_import(struct cli *c, const char *path)
{
    char line[LINE_MAX_OCTETS];
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    unsigned at = 0, good = 0, bad = 0;
    if (!f) {
        fprintf(stderr, "tandem user: %s: %s\n", path, strerror(errno));
        return CLI_FAILED;
    }
    int code = CLI_OK;
    while (fgets(line, sizeof(line), f)) {
        unsigned status;
        json_t *a;
        at++;
        cut_newline(line);
        if (!line[0] || line[0] == '#')
            continue;
        json_t *o = import_line(line);
        code = cli_ask(c, "POST", "/api/v1/accounts", o, true, &status, &a);
        json_decref(o);
        if (code)
            break;
        if (status == 201) {
            good++;
        } else {
            const char *why = json_string_value(json_object_get(a, "error"));
            fprintf(stderr, "%s:%u: %s\n", path, at, why ? why : "refused");
            bad++;
        }
        json_decref(a);
    }
    crypto_wipe(line, sizeof(line));
    if (f != stdin)
        fclose(f);
    if (!code)
        printf("%u imported, %u refused\n", good, bad);
    return code ? code : bad ? CLI_NO : CLI_OK;
}

static int user_export(struct cli *c)
{
    unsigned status;
    json_t *a, *x, *n;
    size_t i, k;
    int code = cli_ask(c, "GET", "/api/v1/accounts/export", NULL, true, &status, &a);
    if (code)
        return code;
    if (status != 200)
        return cli_refused(c, a);
    json_array_foreach(a, i, x)
    {
        printf("%s@%s;;%s;%s;%s;", json_string_value(json_object_get(x, "user")),
               json_string_value(json_object_get(x, "domain")),
               json_string_value(json_object_get(x, "ha1_md5")),
               json_string_value(json_object_get(x, "ha1_sha256")),
               json_string_value(json_object_get(x, "name")));
        json_array_foreach(json_object_get(x, "numbers"), k, n)
            printf("%s%s", k ? "," : "", json_string_value(n));
        printf("\n");
    }
    json_decref(a);
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
    if (c->args_n == 0)
        return cli_usage(c, "add, list, show, passwd, remove, import or export");
    if (c->args_n == 1 && strcmp(c->args[0], "list") == 0)
        return user_list(c, NULL);
    if (c->args_n == 1 && strcmp(c->args[0], "export") == 0)
        return user_export(c);
    for (size_t i = 0; i < sizeof(with_argument) / sizeof(with_argument[0]); i++) {
        if (strcmp(with_argument[i].name, c->args[0]) != 0)
            continue;
        if (c->args_n != 2)
            return cli_usage(c, "user %s needs one argument", c->args[0]);
        return with_argument[i].fn(c, c->args[1]);
    }
    return cli_usage(c, "there is no user %s", c->args[0]);
}
