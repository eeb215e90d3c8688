/* SPDX-License-Identifier: MIT */
/* cli_priv.h: the verbs and what they share. */
#ifndef CLI_PRIV_H
#define CLI_PRIV_H
#include <jansson.h>

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

/* Asks the running server. body NULL: none. offline: when no server runs, one without SIP is
 * started for this question. ret_status  of HTTP;  ret_answer  parsed, the caller's to decref; NULL
 * when it is not JSON Returns CLI_OK, or CLI_FAILED, said why. */
int cli_ask(struct cli *c, const char *method, const char *path, const json_t *body, bool offline,
            unsigned *ret_status, json_t **ret_answer);
/* The "error" of an answer to standard error; CLI_NO. */
int cli_refused(const struct cli *c, json_t *answer);
/* Prints answer as JSON to standard output. */
void cli_print_json(json_t *answer);
/* Text fit for a terminal. */
void cli_put(const char *text);
/* Ends the offline server, if one was started. */
void cli_offline_end(void);

#endif
