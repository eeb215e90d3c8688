/* SPDX-License-Identifier: MIT */
/* tandem VERB: the tables, and what is printed from them. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/cli_priv.h"

static const struct {
    const char *name, *args, *summary;
    int (*fn)(struct cli *c);
} verbs[] = {
#define X(name, args, summary, fn) {name, args, summary, fn},
#include "cli/verbs.def"
#undef X
};
enum { VERBS = sizeof(verbs) / sizeof(verbs[0]) };

static const struct {
    const char *name, *argument, *verbs, *summary;
} options[CLI_OPTIONS] = {
#define X(flag, name, argument, verbs, summary) {name, argument, verbs, summary},
#include "cli/options.def"
#undef X
};

/* word stands in the blank-separated list; NULL lists all. */
static bool listed(const char *list, const char *word)
{
    if (!list)
        return true;
    size_t n = strlen(word);
    for (const char *p = list; *p;) {
        size_t k = strcspn(p, " ");
        if (k == n && memcmp(p, word, n) == 0)
            return true;
        p += k + (p[k] == ' ');
    }
    return false;
}

static int verb_index(const char *name)
{
    for (int i = 0; i < VERBS; i++) {
        if (strcmp(verbs[i].name, name) == 0)
            return i;
    }
    return -1;
}

static void print_options(FILE *f, const char *verb)
{
    for (int i = 0; i < CLI_OPTIONS; i++) {
        if (!listed(options[i].verbs, verb))
            continue;
        int n = fprintf(f, "  --%s%s%s", options[i].name, options[i].argument ? " " : "",
                        options[i].argument ? options[i].argument : "");
        fprintf(f, "%*s%s\n", n < 24 ? 24 - n : 2, "", options[i].summary);
    }
}

static void print_verb_help(FILE *f, int i)
{
    fprintf(f, "usage: tandem %s %s%s[options]\n\n%s\n\n", verbs[i].name, verbs[i].args,
            verbs[i].args[0] ? " " : "", verbs[i].summary);
    print_options(f, verbs[i].name);
}

static void print_help(FILE *f)
{
    fprintf(f, "usage: tandem VERB [options]\n\n");
    for (int i = 0; i < VERBS; i++)
        fprintf(f, "  %-16s%s\n", verbs[i].name, verbs[i].summary);
    fprintf(f, "\ntandem help VERB, or tandem VERB --help, says more. Exit: 0 done, 1 the answer "
               "is no, 2 usage, "
               "3 could not ask or start.\n");
}

/* Text for the man macros: a hyphen that is one, no backslash of ours, no line that is a
 * request. */
static void put_roff(const char *text)
{
    for (const char *p = text; *p; p++) {
        if (p == text && (*p == '.' || *p == '\''))
            fputs("\\&", stdout);
        if (*p == '-')
            fputs("\\-", stdout);
        else if (*p == '\\')
            fputs("\\e", stdout);
        else
            fputc(*p, stdout);
    }
}

static void put_man_option(int k)
{
    fputs(".TP\n.B ", stdout);
    put_roff("--");
    put_roff(options[k].name);
    if (options[k].argument) {
        fputc(' ', stdout);
        put_roff(options[k].argument);
    }
    fputc('\n', stdout);
    put_roff(options[k].summary);
    fputc('\n', stdout);
}

/* The manual page, in the man macros. */
static void print_man(void)
{
    printf(".TH TANDEM 1 \"\" \"tandem %s\" \"User Commands\"\n.SH NAME\ntandem \\- a phone system "
           "over SIP\n.SH SYNOPSIS\n.B tandem\n.I VERB\n[options]\n.SH VERBS\n",
           daemon_version);
    for (int i = 0; i < VERBS; i++) {
        printf(".SS ");
        put_roff(verbs[i].name);
        fputc(verbs[i].args[0] ? ' ' : '\n', stdout);
        put_roff(verbs[i].args);
        fputs(verbs[i].args[0] ? "\n" : "", stdout);
        put_roff(verbs[i].summary);
        fputc('\n', stdout);
        for (int k = 0; k < CLI_OPTIONS; k++) {
            if (options[k].verbs && listed(options[k].verbs, verbs[i].name))
                put_man_option(k);
        }
    }
    printf(".SH OPTIONS OF EVERY VERB\n");
    for (int k = 0; k < CLI_OPTIONS; k++) {
        if (!options[k].verbs)
            put_man_option(k);
    }
    printf(".SH EXIT STATUS\n0 done; 1 the answer is no; 2 usage; 3 could not ask or start.\n"
           ".SH FILES\n/etc/tandem/tandem.yaml, ./tandem\\-data\n.SH ENVIRONMENT\n"
           "TANDEM_CONFIG, TANDEM_DATA, TANDEM_SOCKET\n");
}

/* The words of "a|b|c [REST]", each followed by a blank. */
static void put_words(const char *args)
{
    size_t n = strcspn(args, " ");
    if (args[0] == '[' || !memchr(args, '|', n))
        return;
    for (size_t i = 0; i < n; i++)
        fputc(args[i] == '|' ? ' ' : args[i], stdout);
    fputc(' ', stdout);
}

/* word is one of "a|b|c [REST]". */
static bool has_word(const char *args, const char *word)
{
    size_t n = strcspn(args, " "), k;
    if (args[0] == '[' || !memchr(args, '|', n))
        return false;
    for (const char *p = args; p < args + n; p += k + 1) {
        k = strcspn(p, "| ");
        if (k == strlen(word) && memcmp(p, word, k) == 0)
            return true;
    }
    return false;
}

int cli_help(struct cli *c)
{
    if (c->on[CLI_MAN]) {
        print_man();
        return CLI_OK;
    }
    if (c->args_n == 0) {
        print_help(stdout);
        return CLI_OK;
    }
    int i = verb_index(c->args[0]);
    if (i < 0)
        return cli_usage(c, "there is no verb '%s'", c->args[0]);
    /* "help user add" is answered by the help of user. */
    if (c->args_n > 2 || (c->args_n == 2 && !has_word(verbs[i].args, c->args[1])))
        return cli_usage(c, "one verb at a time: tandem help %s", verbs[i].name);
    print_verb_help(stdout, i);
    return CLI_OK;
}

int cli_completion(struct cli *c)
{
    if (c->args_n > 1 || (c->args_n == 1 && strcmp(c->args[0], "bash") != 0))
        return cli_usage(c, "there is a completion for bash only");
    printf("_tandem() {\n    local word=${COMP_WORDS[COMP_CWORD]}\n    local words=''\n"
           "    if [ \"$COMP_CWORD\" = 1 ]; then\n        words='");
    for (int i = 0; i < VERBS; i++)
        printf("%s%s", i ? " " : "", verbs[i].name);
    printf("'\n    else\n        case ${COMP_WORDS[1]} in\n");
    for (int i = 0; i < VERBS; i++) {
        printf("        %s) words='", verbs[i].name);
        put_words(verbs[i].args);
        for (int k = 0; k < CLI_OPTIONS; k++) {
            if (listed(options[k].verbs, verbs[i].name))
                printf("--%s ", options[k].name);
        }
        printf("' ;;\n");
    }
    printf("        esac\n    fi\n    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\n"
           "complete -o default -F _tandem tandem\n");
    return CLI_OK;
}

int cli_version(struct cli *c)
{
    if (c->args_n)
        return cli_usage(c, "no arguments are wanted");
    printf(c->on[CLI_JSON] ? "{\"version\": \"%s\"}\n" : "tandem %s\n", daemon_version);
    return CLI_OK;
}

int cli_usage(const struct cli *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "tandem%s%s: ", c->verb ? " " : "", c->verb ? c->verb : "");
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "; see tandem %s%s--help\n", c->verb ? c->verb : "", c->verb ? " " : "");
    va_end(ap);
    return CLI_USAGE;
}

struct config_source cli_source(const struct cli *c)
{
    return (struct config_source){
        .path = c->value[CLI_CONFIG], .sets = c->sets, .sets_n = c->sets_n};
}

/* One "--name", "--name=value" or "--name value". */
static int take_option(struct cli *c, int argc, char **argv, int *at)
{
    const char *word = argv[*at] + 2;
    size_t n = strcspn(word, "=");
    for (int i = 0; i < CLI_OPTIONS; i++) {
        if (strlen(options[i].name) != n || memcmp(options[i].name, word, n) != 0)
            continue;
        if (!listed(options[i].verbs, c->verb))
            return cli_usage(c, "--%s is no option of this verb", options[i].name);
        c->on[i] = true;
        if (!options[i].argument)
            return word[n] ? cli_usage(c, "--%s takes no value", options[i].name) : CLI_OK;
        const char *value = word[n] ? word + n + 1 : *at + 1 < argc ? argv[++*at] : NULL;
        if (!value)
            return cli_usage(c, "--%s needs %s", options[i].name, options[i].argument);
        c->value[i] = value;
        if (i == CLI_SET && c->sets_n < CLI_SETS_MAX)
            c->sets[c->sets_n++] = value;
        else if (i == CLI_NUMBER && c->numbers_n < CLI_NUMBERS_MAX)
            c->numbers[c->numbers_n++] = value;
        else if (i == CLI_SET || i == CLI_NUMBER)
            return cli_usage(c, "too many --%s", options[i].name);
        return CLI_OK;
    }
    return cli_usage(c, "there is no option --%.*s", (int)n, word);
}

int cli_main(int argc, char **argv)
{
    struct cli c = {0};
    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return CLI_OK;
    }
    const char *name = strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
    int verb = verb_index(name);
    if (verb < 0)
        return cli_usage(&c, "there is no verb '%s'", name);
    c.program = argv[0];
    c.verb = verbs[verb].name;
    for (int i = 2; i < argc; i++) {
        int code = CLI_OK;
        if (strcmp(argv[i], "-h") == 0)
            c.on[CLI_HELP] = true;
        else if (argv[i][0] == '-' && argv[i][1] == '-' && argv[i][2])
            code = take_option(&c, argc, argv, &i);
        else if (argv[i][0] == '-' && argv[i][1])
            code = cli_usage(&c, "there is no option %s", argv[i]);
        else if (c.args_n < CLI_ARGS_MAX)
            c.args[c.args_n++] = argv[i];
        else
            code = cli_usage(&c, "too many arguments");
        if (code)
            return code;
    }
    if (c.on[CLI_HELP]) {
        print_verb_help(stdout, verb);
        return CLI_OK;
    }
    int code = verbs[verb].fn(&c);
    cli_offline_end();
    if (fflush(stdout) != 0 || ferror(stdout)) { /* a full disk is no success */
        fprintf(stderr, "tandem %s: standard output cannot be written\n", c.verb);
        return CLI_FAILED;
    }
    return code;
}
