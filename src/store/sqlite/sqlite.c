/* SPDX-License-Identifier: MIT */
/* sqlite/sqlite.c: the directory's life, and remembered facts. */
#include "sqlite/sqlite_priv.h"

static size_t count_op(const struct store_directory *dir)
{
    return table_count(CONTAINER(dir, const struct sqlite, base)->accounts);
}

static bool has_op(const struct store_directory *dir, sv aor)
{
    return table_has(CONTAINER(dir, const struct sqlite, base)->accounts, aor);
}

static enum err fact_op(struct store_directory *dir, sv key, struct arena *a, sv *ret_value)
{
    struct sqlite *d = sqlite_of(dir);
    pthread_mutex_lock(&d->db_lock);
    sqlite_bind_sv(d, SQL_FACT, 1, key);
    enum err rc = sqlite_row(d, SQL_FACT);
    if (!rc)
        rc = sv_dup(a, sqlite_column(d, SQL_FACT, 0), ret_value);
    sqlite_reset(d, SQL_FACT);
    pthread_mutex_unlock(&d->db_lock);
    return rc;
}

static enum err fact_set_op(struct store_directory *dir, sv key, sv value)
{
    struct sqlite *d = sqlite_of(dir);
    pthread_mutex_lock(&d->db_lock);
    sqlite_bind_sv(d, SQL_FACT_SET, 1, key);
    sqlite_bind_sv(d, SQL_FACT_SET, 2, value);
    enum err rc = sqlite_run(d, SQL_FACT_SET, NULL);
    pthread_mutex_unlock(&d->db_lock);
    return rc;
}

static void directory_free(struct sqlite *d)
{
    sqlite_db_close(d);
    table_free(d->accounts);
    table_free(d->numbers);
    pthread_mutex_destroy(&d->db_lock);
    mem_free(d);
}

static void close_op(struct store_directory *dir)
{
    struct sqlite *d = sqlite_of(dir);
    sqlite_records_close(d);
    directory_free(d);
}

static const struct store_directory_ops sqlite_ops = {
    .find = sqlite_find,
    .has = has_op,
    .change = sqlite_change,
    .record = sqlite_record,
    .each_record = sqlite_each_record,
    .each = sqlite_each,
    .count = count_op,
    .fact = fact_op,
    .fact_set = fact_set_op,
    .close = close_op,
};

enum err sqlite_directory_open(const struct sqlite_config *c, struct store_directory **ret_dir,
                               const char **reterr_why)
{
    const char *why = err_text(ERR_NOMEM);
    struct sqlite *d = MEM_NEW(struct sqlite);
    enum err rc = ERR_NOMEM;
    if (d) {
        d->base.ops = &sqlite_ops;
        d->records_keep = c->records_keep;
        pthread_mutex_init(&d->db_lock, NULL);
        rc = table_new(c->seed, 0, &d->accounts);
        if (!rc)
            rc = table_new(c->seed, 0, &d->numbers);
        if (!rc)
            rc = sqlite_db_open(d, c->path, &why);
        if (!rc && (rc = sqlite_accounts_load(d)))
            why = err_text(rc);
    }
    if (rc) {
        if (d)
            directory_free(d);
        *reterr_why = why;
        return rc;
    }
    *ret_dir = &d->base;
    return ERR_OK;
}
