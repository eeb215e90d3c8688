/* SPDX-License-Identifier: MIT */
/* A directory without a file: a test makes its accounts anew at each start of its server. */
#include <stdlib.h>
#include "support/world.h"

struct accounts {
    struct store_directory dir;
    struct account account[WORLD_ACCOUNTS_MAX];
    char user[WORLD_ACCOUNTS_MAX][16];
    size_t n;
    uint64_t records;
};

static struct account *find_user(struct accounts *a, sv user)
{
    for (size_t i = 0; i < a->n; i++) {
        if (sv_eq(a->account[i].user, user))
            return &a->account[i];
    }
    return NULL;
}

static void find(struct store_directory *d, struct loop *l, struct store_find *f)
{
    struct account *a = f->user.n ? find_user((struct accounts *)d, f->user) : NULL;
    if (a)
        f->account = *a;
    store_op_complete(l, &f->op, a ? ERR_OK : ERR_NOTFOUND);
}

static void change(struct store_directory *d, struct loop *l, struct store_change *c)
{
    struct accounts *a = (struct accounts *)d;
    if (c->what != STORE_ADD || a->n == WORLD_ACCOUNTS_MAX ||
        c->account.user.n > sizeof(a->user[0]))
        abort();
    struct account *to = &a->account[a->n];
    *to = c->account;
    memcpy(a->user[a->n], c->account.user.p, c->account.user.n);
    to->user.p = a->user[a->n++];
    store_op_complete(l, &c->op, ERR_OK);
}

static void record(struct store_directory *d, struct loop *l, const struct call_record *r)
{
    (void)l;
    (void)r;
    ((struct accounts *)d)->records++;
}

static enum err each(struct store_directory *d, store_account_fn *fn, void *arg)
{
    struct accounts *a = (struct accounts *)d;
    for (size_t i = 0; i < a->n && fn(&a->account[i], arg); i++)
        ;
    return ERR_OK;
}

static size_t count(const struct store_directory *d)
{
    return ((const struct accounts *)d)->n;
}

static enum err fact(struct store_directory *d, sv key, struct arena *a, sv *ret_value)
{
    (void)d;
    (void)key;
    (void)a;
    (void)ret_value;
    return ERR_NOTFOUND;
}

static enum err fact_set(struct store_directory *d, sv key, sv value)
{
    (void)d;
    (void)key;
    (void)value;
    return ERR_OK;
}

static void close_it(struct store_directory *d)
{
    mem_free(d);
}

static const struct store_directory_ops ops = {.find = find,
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
    if (!a)
        return ERR_NOMEM;
    a->dir.ops = &ops;
    *ret_dir = &a->dir;
    return ERR_OK;
}

uint64_t accounts_records(const struct store_directory *dir)
{
    return ((const struct accounts *)dir)->records;
}
