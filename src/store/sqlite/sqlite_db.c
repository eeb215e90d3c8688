/* SPDX-License-Identifier: MIT */
/* sqlite/sqlite_db.c: the connection: settings, migrations, prepared statements. */
#include "sqlite/sqlite_priv.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { BUSY_MS = 5000 };

/* The nth takes a file from version n to n + 1, in one transaction. They are only ever added to. */
static const char *const migrations[] = {
    "CREATE TABLE account ("
    " user TEXT NOT NULL, domain TEXT NOT NULL, realm TEXT NOT NULL, md5 BLOB, sha256 BLOB,"
    " name TEXT NOT NULL, from_file INTEGER NOT NULL, changed INTEGER NOT NULL,"
    " PRIMARY KEY (user, domain)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE number ("
    " number TEXT NOT NULL PRIMARY KEY, user TEXT NOT NULL, domain TEXT NOT NULL,"
    " position INTEGER NOT NULL,"
    " FOREIGN KEY (user, domain) REFERENCES account (user, domain) ON DELETE CASCADE"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX number_of_account ON number (user, domain);"
    "CREATE TABLE record ("
    " id INTEGER PRIMARY KEY, call_id TEXT NOT NULL, from_uri TEXT NOT NULL,"
    " to_uri TEXT NOT NULL, caller TEXT NOT NULL, callee TEXT NOT NULL, began INTEGER NOT NULL,"
    " answered INTEGER NOT NULL, ended INTEGER NOT NULL, status INTEGER NOT NULL,"
    " ended_by TEXT NOT NULL, agent TEXT NOT NULL) STRICT;"
    "CREATE INDEX record_by_end ON record (ended);"
    "CREATE TABLE fact (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "PRAGMA user_version = 1;",
    "ALTER TABLE record ADD COLUMN media TEXT NOT NULL DEFAULT '';"
    "PRAGMA user_version = 2;",
    "ALTER TABLE record ADD COLUMN reason TEXT NOT NULL DEFAULT '';"
    "PRAGMA user_version = 3;",
};
enum { VERSION = sizeof migrations / sizeof migrations[0] };

static const char *const statement_text[SQL_COUNT] = {
#define X(name, text) [SQL_##name] = text,
    SQLITE_STATEMENT_LIST(X)
#undef X
};

enum err sqlite_err(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return ERR_OK;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_CONSTRAINT:
        return ERR_EXISTS;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_BUSY;
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY:
        return ERR_DENIED;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR: /* the file has not the tables of its version */
        return ERR_CORRUPT;
    case SQLITE_TOOBIG:
        return ERR_TOOBIG;
    default:
        return ERR_IO;
    }
}

static int exec(struct sqlite *d, const char *text)
{
    return sqlite3_exec(d->db, text, NULL, NULL, NULL);
}

static int version_of(struct sqlite *d, int *ret_version)
{
    sqlite3_stmt *s;
    int code = sqlite3_prepare_v2(d->db, "PRAGMA user_version", -1, &s, NULL);
    if (code)
        return code;
    code = sqlite3_step(s);
    if (code == SQLITE_ROW) {
        *ret_version = sqlite3_column_int(s, 0);
        code = SQLITE_OK;
    }
    sqlite3_finalize(s);
    return code;
}

static int migrate(struct sqlite *d, int from)
{
    for (int i = from; i < VERSION; i++) {
        int code = exec(d, "BEGIN IMMEDIATE");
        if (!code)
            code = exec(d, migrations[i]);
        if (!code)
            code = exec(d, "COMMIT");
        if (code) {
            exec(d, "ROLLBACK");
            return code;
        }
    }
    return SQLITE_OK;
}

static int prepare(struct sqlite *d)
{
    int code = SQLITE_OK;
    for (int i = 0; i < SQL_COUNT && !code; i++)
        code = sqlite3_prepare_v3(d->db, statement_text[i], -1, SQLITE_PREPARE_PERSISTENT,
                                  &d->statement[i], NULL);
    return code;
}

/* SQLite would create it for everybody to read; its companions get the mode of the file. */
static enum err create(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        close(fd);
        return ERR_OK;
    }
    return errno == EACCES || errno == EPERM || errno == EROFS ? ERR_DENIED : ERR_IO;
}

static int configure(struct sqlite *d)
{
    sqlite3_extended_result_codes(d->db, 1);
    sqlite3_busy_timeout(d->db, BUSY_MS);
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
    /* Accounts are read from our own tables: pages are kept for writing alone, and the system has them too. */
    return exec(
        d, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -256;");
}

enum err sqlite_db_open(struct sqlite *d, const char *path, const char **reterr_why)
{
    int version = 0;
    if (strcmp(path, ":memory:") != 0) {
        enum err rc = create(path);
        if (rc) {
            *reterr_why = "cannot create or write the file";
            return rc;
        }
    }
    int code = sqlite3_open_v2(path, &d->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (!code)
        code = configure(d);
    if (!code)
        code = version_of(d, &version);
    if (!code && (version < 0 || version > VERSION)) {
        *reterr_why = "the file was written by a newer version";
        return ERR_UNSUPPORTED;
    }
    if (!code)
        code = migrate(d, version);
    if (!code)
        code = prepare(d);
    if (!code)
        return ERR_OK;
    *reterr_why = sqlite3_errstr(code);
    return sqlite_err(code);
}

void sqlite_db_close(struct sqlite *d)
{
    for (int i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(d->statement[i]);
    sqlite3_close(d->db);
}

/* A failed binding leaves NULL there, which the NOT NULL columns refuse. */
void sqlite_bind_sv(struct sqlite *d, enum sqlite_statement s, int i, sv v)
{
    sqlite3_bind_text64(d->statement[s], i, v.p ? v.p : "", v.n, SQLITE_STATIC, SQLITE_UTF8);
}

void sqlite_bind_blob(struct sqlite *d, enum sqlite_statement s, int i, sv v)
{
    sqlite3_bind_blob64(d->statement[s], i, v.p, v.n, SQLITE_STATIC);
}

void sqlite_bind_int(struct sqlite *d, enum sqlite_statement s, int i, int64_t v)
{
    sqlite3_bind_int64(d->statement[s], i, v);
}

enum err sqlite_row(struct sqlite *d, enum sqlite_statement s)
{
    int code = sqlite3_step(d->statement[s]);
    if (code == SQLITE_ROW)
        return ERR_OK;
    return code == SQLITE_DONE ? ERR_NOTFOUND : sqlite_err(code);
}

void sqlite_reset(struct sqlite *d, enum sqlite_statement s)
{
    sqlite3_reset(d->statement[s]);
    sqlite3_clear_bindings(d->statement[s]);
}

enum err sqlite_run(struct sqlite *d, enum sqlite_statement s, int *ret_changes)
{
    enum err rc = sqlite_row(d, s);
    sqlite_reset(d, s);
    if (rc != ERR_NOTFOUND)
        return rc;
    if (ret_changes)
        *ret_changes = sqlite3_changes(d->db);
    return ERR_OK;
}

sv sqlite_column(struct sqlite *d, enum sqlite_statement s, int i)
{
    if (sqlite3_column_type(d->statement[s], i) == SQLITE_NULL)
        return SV_NONE;
    const char *p = sqlite3_column_blob(d->statement[s], i); /* before its size: it may convert */
    return (sv){p ? p : "", (size_t)sqlite3_column_bytes(d->statement[s], i)};
}

int64_t sqlite_column_int(struct sqlite *d, enum sqlite_statement s, int i)
{
    return sqlite3_column_int64(d->statement[s], i);
}

enum err sqlite_end(struct sqlite *d, enum err rc)
{
    if (!rc)
        rc = sqlite_run(d, SQL_COMMIT, NULL);
    if (rc && !sqlite3_get_autocommit(d->db)) {
        enum err back = sqlite_run(d, SQL_ROLLBACK, NULL);
        (void)back; /* fails only when SQLite has rolled back by itself */
    }
    return rc;
}
