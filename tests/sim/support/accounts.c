/* SPDX-License-Identifier: MIT */
/* The directory of the server, in memory, that counts the call records that pass. */
#include "sqlite/sqlite.h"
#include "support/world.h"

struct accounts {
    struct store_directory dir;
    struct store_directory *inner;
    uint64_t records, stopped;
};

static struct store_directory *inner(const struct store_directory *d)
{
    return ((const struct accounts *)d)->inner;
}

static void find(struct store_directory *d, struct loop *l, struct store_find *f)
{
    inner(d)->ops->find(inner(d), l, f);
}

static bool has(const struct store_directory *d, sv aor)
{
    return inner(d)->ops->has(inner(d), aor);
}

static void change(struct store_directory *d, struct loop *l, struct store_change *c)
{
    inner(d)->ops->change(inner(d), l, c);
}

static void record(struct store_directory *d, struct loop *l, const struct call_record *r)
{
    struct accounts *a = (struct accounts *)d;
    a->records++;
    a->stopped += sv_eq(r->ended_by, SV("stop"));
    inner(d)->ops->record(inner(d), l, r);
}

static enum err each(struct store_directory *d, store_account_fn *fn, void *arg)
{
    return inner(d)->ops->each(inner(d), fn, arg);
}

static size_t count(const struct store_directory *d)
{
    return inner(d)->ops->count(inner(d));
}

static enum err fact(struct store_directory *d, sv key, struct arena *a, sv *ret_value)
{
    return inner(d)->ops->fact(inner(d), key, a, ret_value);
}

static enum err fact_set(struct store_directory *d, sv key, sv value)
{
    return inner(d)->ops->fact_set(inner(d), key, value);
}

static void close_it(struct store_directory *d)
{
    inner(d)->ops->close(inner(d));
    mem_free(d);
}

static const struct store_directory_ops ops = {.find = find,
                                               .has = has,
                                               .change = change,
                                               .record = record,
                                               .each = each,
                                               .count = count,
                                               .fact = fact,
                                               .fact_set = fact_set,
                                               .close = close_it};

enum err accounts_open(struct store_directory **ret_dir)
{
    struct accounts *a = MEM_NEW(struct accounts);
    struct sqlite_config c = {.path = ":memory:", .records_keep = 30 * USEC_DAY, .seed = {9}};
    const char *why;
    if (!a)
        return ERR_NOMEM;
    enum err rc = sqlite_directory_open(&c, &a->inner, &why);
    if (rc) {
        mem_free(a);
        return rc;
    }
    a->dir.ops = &ops;
    *ret_dir = &a->dir;
    return ERR_OK;
}

uint64_t accounts_records(const struct store_directory *dir)
{
    return ((const struct accounts *)dir)->records;
}

uint64_t accounts_stopped(const struct store_directory *dir)
{
    return ((const struct accounts *)dir)->stopped;
}
