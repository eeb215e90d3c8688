/* SPDX-License-Identifier: MIT */
/* cli_priv.h: the verbs and what they share. */
#ifndef CLI_PRIV_H
#define CLI_PRIV_H
#include <jansson.h>
#include <stdio.h>

#include "config/config.h"
#include "daemon/daemon.h"

enum { CLI_OK, CLI_NO, CLI_USAGE, CLI_FAILED };
enum { CLI_ARGS_MAX = 8, CLI_SETS_MAX = 64, CLI_NUMBERS_MAX = 16 };

enum cli_option {
#define X(flag, name, argument, verbs, summary) CLI_##flag,
#include "cli/options.def"
#undef X
    CLI_OPTIONS
};

struct cli {
    const char *program; /* as it was called */
    const char *verb;
    const char *args[CLI_ARGS_MAX];
    unsigned args_n;
    bool on[CLI_OPTIONS];
    const char *value[CLI_OPTIONS]; /* the last one given */
    const char *sets[CLI_SETS_MAX];
    unsigned sets_n;
    const char *numbers[CLI_NUMBERS_MAX];
    unsigned numbers_n;
};

#define X(name, args, summary, fn) int fn(struct cli *c);
#include "cli/verbs.def"
#undef X

/* Where the configuration comes from, by the options. */
struct config_source cli_source(const struct cli *c);
/* "tandem VERB: text" to standard error; returns CLI_USAGE. */
__attribute__((format(printf, 2, 3))) int cli_usage(const struct cli *c, const char *fmt, ...);

/* When no server runs: */
enum cli_offline {
    CLI_ONLINE, /* that is the answer */
    /* one without SIP is started for this question, where there is a data folder */
    CLI_OFFLINE_KNOWN,
    CLI_OFFLINE_NEW, /* also where there is none yet */
};
/* Asks the running server. body NULL: none.
 *   ret_status  of HTTP
 *   ret_answer  parsed, the caller's to decref; NULL when it is not JSON
 * Returns CLI_OK, or CLI_FAILED, said why. */
int cli_ask(struct cli *c, const char *method, const char *path, const json_t *body,
            enum cli_offline offline, unsigned *ret_status, json_t **ret_answer);
/* A GET; prints JSON when asked to, else the text by fn.
 *   key  that its list is sorted by, or NULL */
int cli_show(struct cli *c, const char *path, const char *key, enum cli_offline offline,
             void (*fn)(json_t *a));
/* The text of this name; empty: there is none. */
const char *cli_member(json_t *o, const char *name);
/* The "error" of an answer to standard error. Returns CLI_NO, or CLI_FAILED when the server could
 * not. Takes answer. */
int cli_refused(const struct cli *c, unsigned status, json_t *answer);
/* Sorts a list of maps by their texts under these keys; then: NULL, or the second key. */
void cli_sort(json_t *list, const char *first, const char *then);
/* Prints answer as JSON to standard output. */
void cli_print_json(json_t *answer);
/* "1 d 2 h 3 min 4 s", from the largest unit that there is. */
void cli_put_duration(long long s);
/* Text fit for a terminal. */
void cli_put(FILE *f, const char *text);
/* One line of an import: "user[@domain];password" or
 * "user[@domain];;ha1-md5[;ha1-sha256[;name[;number,number]]]", with %HH for what would end a
 * field.
 * line is written to. NULL: not a line of this form. */
json_t *cli_import_line(char *line);
/* The same, from an account of the export. */
void cli_export_line(struct buf *b, json_t *account);
/* Ends the offline server, if one was started. */
void cli_offline_end(void);

#endif
