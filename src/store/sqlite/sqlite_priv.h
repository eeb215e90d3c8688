/* SPDX-License-Identifier: MIT */
/* sqlite/sqlite_priv.h: what the parts of sqlite share.
 *
 * Parts   sqlite.c life, facts, operations; sqlite_db.c the connection, schema and statements;
 *         sqlite_account.c accounts in the file and in memory; sqlite_record.c call records.
 * Locks   db_lock covers the connection, its statements, and the order of commits and of the table
 *         changes that follow them. It is taken by helper threads, and at set-up and close.
 */
#ifndef SQLITE_SQLITE_PRIV_H
#define SQLITE_SQLITE_PRIV_H
#include <pthread.h>
#include <sqlite3.h>
#include "ds/table.h"
#include "sqlite/sqlite.h"

enum { SQLITE_MEDIA_MAX = 4096 }; /* of what a call record says of media */
enum { SQLITE_TEXT_MAX = 1024, SQLITE_KEY_MAX = 2 * SQLITE_TEXT_MAX + 1 };

/* A call record, and SQLITE_RECORDS of them in one statement: two thirds of the work. */
#define SQLITE_RECORD_ADD                                                                     \
    "INSERT INTO record (call_id, from_uri, to_uri, caller, callee, began, answered, ended, " \
    "status, ended_by, reason, agent, media) VALUES "
#define SQLITE_RECORD_ROW "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
#define SQLITE_RECORD_ROWS4 \
    SQLITE_RECORD_ROW "," SQLITE_RECORD_ROW "," SQLITE_RECORD_ROW "," SQLITE_RECORD_ROW
#define SQLITE_RECORD_ROWS \
    SQLITE_RECORD_ROWS4 "," SQLITE_RECORD_ROWS4 "," SQLITE_RECORD_ROWS4 "," SQLITE_RECORD_ROWS4
enum { SQLITE_RECORDS = 16, SQLITE_RECORD_VALUES = 13 };

/* Every statement: X(name, text). Values are bound, never printed into the text. (D26) */
#define SQLITE_STATEMENT_LIST(X)                                                                  \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                   \
    X(COMMIT, "COMMIT")                                                                           \
    X(ROLLBACK, "ROLLBACK")                                                                       \
    X(ACCOUNT_ADD, "INSERT INTO account (user, domain, realm, md5, sha256, name, from_file, "     \
                   "changed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")                            \
    X(ACCOUNT_SET, "INSERT INTO account (user, domain, realm, md5, sha256, name, from_file, "     \
                   "changed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (user, domain) " \
                   "DO UPDATE SET realm = ?3, md5 = ?4, sha256 = ?5, name = ?6, from_file = ?7, " \
                   "changed = ?8")                                                                \
    X(ACCOUNT_REMOVE, "DELETE FROM account WHERE user = ?1 AND domain = ?2")                      \
    X(ACCOUNTS, "SELECT user, domain, realm, md5, sha256, name, from_file, changed FROM account") \
    X(NUMBER_ADD, "INSERT INTO number (number, user, domain, position) VALUES (?1, ?2, ?3, ?4)")  \
    X(NUMBERS_REMOVE, "DELETE FROM number WHERE user = ?1 AND domain = ?2")                       \
    X(NUMBERS, "SELECT number FROM number WHERE user = ?1 AND domain = ?2 ORDER BY position")     \
    X(RECORD_ADD, SQLITE_RECORD_ADD SQLITE_RECORD_ROW)                                            \
    X(RECORDS_ADD, SQLITE_RECORD_ADD SQLITE_RECORD_ROWS)                                          \
    X(RECORDS_LAST, "SELECT call_id, from_uri, to_uri, caller, callee, began, answered, ended, "  \
                    "status, ended_by, reason, agent, media FROM record "                         \
                    "ORDER BY ended DESC, id DESC LIMIT ?1")                                      \
    X(RECORDS_PRUNE, "DELETE FROM record WHERE id IN "                                            \
                     "(SELECT id FROM record WHERE ended < ?1 LIMIT ?2)")                         \
    X(FACT, "SELECT value FROM fact WHERE key = ?1")                                              \
    X(FACT_SET, "INSERT INTO fact (key, value) VALUES (?1, ?2) "                                  \
                "ON CONFLICT (key) DO UPDATE SET value = ?2")
enum sqlite_statement {
#define X(name, text) SQL_##name,
    SQLITE_STATEMENT_LIST(X)
#undef X
        SQL_COUNT
};

struct sqlite_worker {
    struct sqlite *d;
    struct loop *loop; /* NULL: not seen yet */
    /* call records */
    struct link queue; /* oldest first */
    size_t queued;
    struct timer due;
    struct job job;
    bool writing; /* the job is under way; it has batch */
    struct link batch;
    size_t batch_n;
    enum err rc;
    /* worker 0: removal of old records */
    struct timer daily;
    struct job prune;
    bool pruning;
    usec cutoff;
};

struct sqlite {
    struct store_directory base;
    pthread_mutex_t db_lock;
    sqlite3 *db;                        /* LOCK: db_lock */
    sqlite3_stmt *statement[SQL_COUNT]; /* LOCK: db_lock */
    struct table *accounts;             /* user@domain -> packed account */
    struct table *numbers;              /* number -> user@domain */
    usec records_keep;
    _Atomic size_t pending; /* records not yet written, of all workers */
    struct sqlite_worker worker[LOOP_WORKERS_MAX];
};

static inline struct sqlite *sqlite_of(struct store_directory *dir)
{
    return CONTAINER(dir, struct sqlite, base);
}

/* ---- sqlite_db.c; LOCK: db_lock held ---- */
enum err sqlite_err(int code);
/* Opens, configures, migrates, prepares. What was done is undone by sqlite_db_close.
 *   reterr_why  static text */
MUST_USE enum err sqlite_db_open(struct sqlite *d, const char *path, const char **reterr_why);
void sqlite_db_close(struct sqlite *d);
/* Parameters are numbered from 1; what is bound must live until the statement has run. */
void sqlite_bind_sv(struct sqlite *d, enum sqlite_statement s, int i, sv v);
void sqlite_bind_blob(struct sqlite *d, enum sqlite_statement s, int i, sv v); /* absent: NULL */
void sqlite_bind_int(struct sqlite *d, enum sqlite_statement s, int i, int64_t v);
/* Runs a statement that gives no rows. ret_changes may be NULL. */
MUST_USE enum err sqlite_run(struct sqlite *d, enum sqlite_statement s, int *ret_changes);
/* The next row. Errors: ERR_NOTFOUND when there is none (left). End with sqlite_reset. */
MUST_USE enum err sqlite_row(struct sqlite *d, enum sqlite_statement s);
void sqlite_reset(struct sqlite *d, enum sqlite_statement s);
/* A column of the row, valid until the next step. */
sv sqlite_column(struct sqlite *d, enum sqlite_statement s, int i);
int64_t sqlite_column_int(struct sqlite *d, enum sqlite_statement s, int i);
/* Commits if rc is ERR_OK, rolls back otherwise; returns the first error. */
MUST_USE enum err sqlite_end(struct sqlite *d, enum err rc);

/* ---- sqlite_account.c ---- */
MUST_USE enum err sqlite_accounts_load(struct sqlite *d);
void sqlite_find(struct store_directory *dir, struct loop *l, struct store_find *f);
void sqlite_change(struct store_directory *dir, struct loop *l, struct store_change *c);
enum err sqlite_each(struct store_directory *dir, store_account_fn *fn, void *arg);

/* ---- sqlite_record.c ---- */
void sqlite_record(struct store_directory *dir, struct loop *l, const struct call_record *r);
/* fn is called with the lock. */
enum err sqlite_each_record(struct store_directory *dir, size_t n, store_record_fn *fn, void *arg);
/* A worker is seen: its timers can be armed. */
void sqlite_seen(struct sqlite *d, struct loop *l);
/* Writes what is left; blocks. */
void sqlite_records_close(struct sqlite *d);

#endif
