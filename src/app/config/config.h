/* SPDX-License-Identifier: MIT */
/* config/config.h: the configuration file: found, read, checked in full, bound by one table.
 * layer: app
 *
 * Shape   config.def lists every scalar key (path, type, bounds, default, reload or restart,
 *         help); reading, checking, `tandem config`, the reference
 *         page and the JSON Schema come from it. Lists of maps (domains, listen, accounts) have
 *         rows of their own. All problems are
 *         reported with file:line:column and a hint; nothing takes effect unless there is none.
 * Rules   types come from the key, never from YAML's guesses; duplicate keys, second documents,
 *         unknown keys (with the nearest known one), bare numbers
 *         where a unit belongs are errors. No file at all is a working configuration.
 * Life    a struct config owns its settings snapshot and an arena.
 * Threads main thread; a helper thread may load one for itself.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H
#include "log/log.h"
#include "settings/settings.h"

enum config_severity { CONFIG_ERROR, CONFIG_FINDING };
struct config_problem {
    enum config_severity severity;
    sv file;               /* as named; "default" or "--set" when there is no file */
    unsigned line, column; /* from 1; 0: none */
    sv text;               /* what is wrong, naming the key */
    sv hint;               /* what to write instead; may be empty */
};
enum { CONFIG_PROBLEMS_MAX = 200, CONFIG_FILE_MAX = 4 * 1024 * 1024 };
struct config_report {
    struct arena arena;
    struct config_problem *problems;
    size_t n, errors, findings;
    bool cut;        /* more than CONFIG_PROBLEMS_MAX */
    sv data, socket; /* as in struct config, also of a load that failed: where its server is */
    /* Why the file that was named, or found, could not be read at all: "no such file"; NULL: it was
     * read, or there is none. The file. */
    const char *unread;
    sv unread_file;
};
void config_report_init(struct config_report *r);
void config_report_done(struct config_report *r);
/* "file:line:column: error: text; hint" lines. */
void config_report_print(const struct config_report *r, struct buf *b);

/* One file of a configuration, as it was read. */
struct config_file {
    sv path; /* absolute */
    sv octets;
};

/* What tells that a file is another one now. All zero: it is not there. */
struct config_stamp {
    uint64_t device, inode;
    int64_t size, changed_ns;
};
/* A PEM file, as it was read. */
struct config_pem {
    sv octets;
    sv path; /* absolute or as the working directory has it; absent: no file to watch */
    struct config_stamp stamp;
};
/* Reads path again: octets into a, stamp. Blocking. Errors: ERR_NOTFOUND, ERR_DENIED, ERR_TOOBIG,
 * ERR_IO, ERR_NOMEM. */
MUST_USE enum err config_pem_read(struct arena *a, struct config_pem *pem);
/* The stamp that the file has now. Blocking. */
struct config_stamp config_stamp_of(sv path);
bool config_stamp_same(const struct config_stamp *a, const struct config_stamp *b);
struct config_pair_pem {
    struct config_pem certificate, key;
};
struct config_tls {
    struct config_pair_pem pairs[TLS_PAIRS_MAX]; /* none: our own authority */
    unsigned n;
    struct config_pem ca; /* no octets: the system's store */
    enum tls_clients clients;
    bool only_13;
};

enum { CONFIG_DNS_SERVERS_MAX = 8 };
struct config_level {
    sv module;
    enum log_level level;
};

struct config {
    struct arena arena;
    const struct config_file *files; /* all that were read, the main one first */
    size_t files_n;
    sv file; /* absolute path; SV_NONE: embedded defaults */
    /* sealed; domains_n == 0: the host name, which the daemon remembers and fills in before use */
    struct settings *settings;
    bool domains_given;
    unsigned workers; /* 0: one per core */
    sv data;          /* folder */
    bool data_given;  /* by file, --set or environment */
    sv run_as;        /* user name; empty */
    sv socket;        /* control.socket; empty: default */
    struct addr http; /* control.http; family 0: never */
    bool http_given;
    enum log_level log_level;
    enum { CONFIG_LOG_AUTO, CONFIG_LOG_TEXT, CONFIG_LOG_JSON } log_format;
    struct config_level levels[32];
    unsigned levels_n;
    usec store_sync;
    /* store.compact, not in the file: from TANDEM_JOURNAL_MIN for tests; 4 MiB */
    uint64_t journal_min;
    usec records_keep;
    bool listen_given;
    struct config_tls tls;
    struct addr dns_servers[CONFIG_DNS_SERVERS_MAX]; /* none: the system's */
    unsigned dns_servers_n;
    unsigned dns_cache; /* answers */
};

struct config_source {
    /* --config; NULL: $TANDEM_CONFIG, then /etc/tandem/tandem.yaml, then none */
    const char *path;
    const char *const *sets; /* --set KEY=VALUE */
    size_t sets_n;
    /* Instead of what the disk holds now: the files of an earlier load (none: embedded defaults).
     * What they name outside, such as file:PATH, is read as it is now. */
    bool from_saved;
    const struct config_file *saved;
    size_t saved_n;
};
/* Finds and reads. With errors in the report: ERR_SYNTAX and no config. A file that was named
 * but is missing: one problem too. Errors: ERR_SYNTAX, ERR_NOMEM. */
MUST_USE enum err config_load(const struct config_source *src, struct config_report *report,
                              struct config **ret_config);
void config_free(struct config *c);

/* What differs between two, for reload: lines "key: old -> new" (secrets never), and keys that
 * need a restart. changed, restart: NULL when it is not asked for. */
void config_diff(const struct config *old, const struct config *now, struct buf *changed,
                 struct buf *restart);
/* `tandem config`: the effective file as YAML, each value with its origin as comment;
 * --defaults: annotated defaults; --schema: JSON Schema. */
MUST_USE enum err config_print_effective(const struct config *c, struct buf *b);
MUST_USE enum err config_print_defaults(struct buf *b);
MUST_USE enum err config_print_schema(struct buf *b);
/* docs: the reference as Markdown. */
MUST_USE enum err config_print_reference(struct buf *b);

#endif
