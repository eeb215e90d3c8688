/* SPDX-License-Identifier: MIT */
/* sqlite/sqlite_account.c: accounts in the file, and all of them in memory.
 *
 *   change ─► job: transaction ─► commit ─► tables ─► done
 *
 * Both happen under db_lock, so the tables change in the order of the commits. Readers take no
 * lock but a shard's:
 * who finds a number of an account that has just lost it looks again and says not found. */
#include "sqlite/sqlite_priv.h"
#include "crypto/crypto.h"
#include "pack/pack.h"

enum {
    PACKED_MAX = (STORE_NUMBERS_MAX + 4) * (SQLITE_TEXT_MAX + 4) + MD5_LEN + SHA256_LEN + 64,
    MEMORY_MAX = 3 * PACKED_MAX,
    HAS_MD5 = 1,
    HAS_SHA256 = 2,
    FROM_FILE = 4,
    OWN_REALM = 8, /* not its domain's name */
};

struct change {
    struct job job;
    struct sqlite *d;
    struct link caller; /* the caller's op hangs here until it is done or cancelled */
    int what;
    struct account account;
    struct arena arena; /* its texts */
    enum err rc;
};

/* ---- an account as octets ---- */

/* Without what its key, user@domain, says already. */
static void account_pack(struct buf *b, const struct account *a)
{
    bool own_realm = !sv_eq(a->realm, a->domain);
    buf_char(b, (char)((a->has_md5 ? HAS_MD5 : 0) | (a->has_sha256 ? HAS_SHA256 : 0) |
                       (a->from_file ? FROM_FILE : 0) | (own_realm ? OWN_REALM : 0)));
    if (a->has_md5)
        buf_mem(b, a->md5, sizeof a->md5);
    if (a->has_sha256)
        buf_mem(b, a->sha256, sizeof a->sha256);
    if (own_realm)
        pack_sv(b, a->realm);
    pack_u64(b, (uint64_t)a->changed);
    pack_sv(b, a->name);
    pack_varint(b, a->numbers_n);
    for (unsigned i = 0; i < a->numbers_n; i++)
        pack_sv(b, a->numbers[i]);
}

static bool unpack_hash(struct unpack *u, bool there, void *to, size_t n)
{
    sv hash = there ? unpack_octets(u, n) : SV_NONE;
    if (hash.n)
        memcpy(to, hash.p, n);
    return there;
}

static enum err account_unpack(sv key, sv octets, struct account *ret_account)
{
    struct unpack u = unpack_of(octets);
    uint8_t flags = unpack_u8(&u);
    size_t at = key.n; /* of the last @: a domain has none */
    while (at > 0 && key.p[at - 1] != '@')
        at--;
    struct account a = {.domain = sv_sub(key, at, key.n), .from_file = flags & FROM_FILE};
    a.user = sv_sub(key, 0, at ? at - 1 : 0);
    a.has_md5 = unpack_hash(&u, flags & HAS_MD5, a.md5, sizeof a.md5);
    a.has_sha256 = unpack_hash(&u, flags & HAS_SHA256, a.sha256, sizeof a.sha256);
    a.realm = flags & OWN_REALM ? unpack_sv(&u) : a.domain;
    a.changed = (usec)unpack_u64(&u);
    a.name = unpack_sv(&u);
    a.numbers_n = (unsigned)unpack_varint(&u, STORE_NUMBERS_MAX);
    for (unsigned i = 0; i < a.numbers_n; i++)
        a.numbers[i] = unpack_sv(&u);
    TRY(unpack_end(&u));
    *ret_account = a;
    return ERR_OK;
}

static sv key_of(char mem[static SQLITE_KEY_MAX], sv user, sv domain)
{
    struct buf b;
    buf_init(&b, mem, SQLITE_KEY_MAX);
    buf_put(&b, user);
    buf_char(&b, '@');
    buf_put(&b, domain);
    return b.rc ? SV_NONE : buf_sv(&b);
}

static bool has_number(const struct account *a, sv number)
{
    for (unsigned i = 0; i < a->numbers_n; i++)
        if (sv_eq(a->numbers[i], number))
            return true;
    return false;
}

/* ---- the tables ---- */

/* The account of key, as views into it and a. Errors: ERR_NOTFOUND, ERR_NOMEM, ERR_CORRUPT. */
static enum err get(struct sqlite *d, sv key, struct arena *a, struct account *ret_account,
                    uint64_t *ret_version)
{
    sv octets;
    TRY(table_get(d->accounts, key, a, &octets, ret_version));
    return *ret_version ? account_unpack(key, octets, ret_account) : ERR_NOTFOUND;
}

/* LOCK: db_lock held, or set-up: so nobody can be first. */
static enum err put(struct table *t, sv key, sv value)
{
    struct arena a;
    sv old;
    uint64_t version;
    arena_init(&a, NULL, 0, MEMORY_MAX);
    enum err rc = table_get(t, key, &a, &old, &version);
    if (!rc)
        rc = table_swap(t, key, version, value, &version);
    arena_done(&a);
    return rc;
}

/* Numbers of the account that it has no more. */
static enum err drop_numbers(struct sqlite *d, sv key, const struct account *now)
{
    struct arena a;
    struct account before;
    uint64_t version;
    arena_init(&a, NULL, 0, MEMORY_MAX);
    enum err rc = get(d, key, &a, &before, &version);
    for (unsigned i = 0; !rc && i < before.numbers_n; i++)
        if (!now || !has_number(now, before.numbers[i]))
            rc = put(d->numbers, before.numbers[i], SV_NONE);
    arena_done(&a);
    return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

static enum err tables_put(struct sqlite *d, const struct account *a)
{
    char key_mem[SQLITE_KEY_MAX];
    sv key = key_of(key_mem, a->user, a->domain);
    struct buf b;
    TRY(drop_numbers(d, key, a));
    buf_init_heap(&b, PACKED_MAX);
    account_pack(&b, a);
    enum err rc = b.rc ? b.rc : put(d->accounts, key, buf_sv(&b));
    for (unsigned i = 0; !rc && i < a->numbers_n; i++)
        rc = put(d->numbers, a->numbers[i], key);
    buf_done(&b);
    return rc;
}

static enum err tables_remove(struct sqlite *d, const struct account *a)
{
    char key_mem[SQLITE_KEY_MAX];
    sv key = key_of(key_mem, a->user, a->domain);
    TRY(drop_numbers(d, key, NULL));
    return put(d->accounts, key, SV_NONE);
}

static bool in_memory(struct sqlite *d, const struct account *a)
{
    char key_mem[SQLITE_KEY_MAX];
    return table_has(d->accounts, key_of(key_mem, a->user, a->domain));
}

/* ---- the file ---- */

static enum err file_numbers(struct sqlite *d, const struct account *a)
{
    for (unsigned i = 0; i < a->numbers_n; i++) {
        sqlite_bind_sv(d, SQL_NUMBER_ADD, 1, a->numbers[i]);
        sqlite_bind_sv(d, SQL_NUMBER_ADD, 2, a->user);
        sqlite_bind_sv(d, SQL_NUMBER_ADD, 3, a->domain);
        sqlite_bind_int(d, SQL_NUMBER_ADD, 4, i);
        TRY(sqlite_run(d, SQL_NUMBER_ADD, NULL));
    }
    return ERR_OK;
}

static enum err file_put(struct sqlite *d, enum sqlite_statement s, const struct account *a)
{
    sv md5 = {(const char *)a->md5, sizeof a->md5};
    sv sha256 = {(const char *)a->sha256, sizeof a->sha256};
    sqlite_bind_sv(d, s, 1, a->user);
    sqlite_bind_sv(d, s, 2, a->domain);
    sqlite_bind_sv(d, s, 3, a->realm);
    sqlite_bind_blob(d, s, 4, a->has_md5 ? md5 : SV_NONE);
    sqlite_bind_blob(d, s, 5, a->has_sha256 ? sha256 : SV_NONE);
    sqlite_bind_sv(d, s, 6, a->name);
    sqlite_bind_int(d, s, 7, a->from_file);
    sqlite_bind_int(d, s, 8, a->changed);
    TRY(sqlite_run(d, s, NULL));
    sqlite_bind_sv(d, SQL_NUMBERS_REMOVE, 1, a->user);
    sqlite_bind_sv(d, SQL_NUMBERS_REMOVE, 2, a->domain);
    TRY(sqlite_run(d, SQL_NUMBERS_REMOVE, NULL));
    return file_numbers(d, a);
}

static enum err file_remove(struct sqlite *d, const struct account *a)
{
    int n = 0;
    sqlite_bind_sv(d, SQL_ACCOUNT_REMOVE, 1, a->user);
    sqlite_bind_sv(d, SQL_ACCOUNT_REMOVE, 2, a->domain);
    TRY(sqlite_run(d, SQL_ACCOUNT_REMOVE, &n));
    return n ? ERR_OK : ERR_NOTFOUND;
}

/* A call goes to a name first and to a number second, so a name that is somebody else's number, or a
 * number that is somebody else's name, would hide one of the two. The unique key of the file keeps
 * numbers apart among themselves. LOCK: db_lock */
static enum err check_dialling(struct sqlite *d, const struct account *a)
{
    char own_mem[SQLITE_KEY_MAX], other_mem[SQLITE_KEY_MAX];
    sv own = key_of(own_mem, a->user, a->domain), owner;
    struct arena mem;
    uint64_t version;
    for (unsigned i = 0; i < a->numbers_n; i++) {
        sv other = key_of(other_mem, a->numbers[i], a->domain);
        if (!sv_eq(other, own) && table_has(d->accounts, other))
            return ERR_EXISTS;
    }
    arena_init(&mem, NULL, 0, MEMORY_MAX);
    enum err rc = table_get(d->numbers, a->user, &mem, &owner, &version);
    if (!rc && version && !sv_eq(owner, own)) {
        size_t at = sv_chr(owner, '@');
        if (sv_eq(sv_sub(owner, at + 1, owner.n), a->domain))
            rc = ERR_EXISTS;
    }
    arena_done(&mem);
    return rc;
}

static enum err change_now(struct sqlite *d, int what, const struct account *a)
{
    if (what != STORE_REMOVE)
        TRY(check_dialling(d, a));
    enum err rc = sqlite_run(d, SQL_BEGIN, NULL);
    if (!rc && what == STORE_REMOVE)
        rc = file_remove(d, a);
    else if (!rc)
        rc = file_put(d, what == STORE_ADD ? SQL_ACCOUNT_ADD : SQL_ACCOUNT_SET, a);
    rc = sqlite_end(d, rc);
    /* An earlier try may have been committed, and then have had no memory for the tables. */
    if (rc == ERR_NOTFOUND && in_memory(d, a))
        rc = ERR_OK;
    TRY(rc);
    return what == STORE_REMOVE ? tables_remove(d, a) : tables_put(d, a);
}

/* ---- loading ---- */

static enum err load_hash(sv column, void *to, size_t n, bool *ret_has)
{
    *ret_has = sv_present(column);
    if (*ret_has && column.n != n)
        return ERR_CORRUPT;
    if (*ret_has)
        memcpy(to, column.p, n);
    return ERR_OK;
}

static enum err load_numbers(struct sqlite *d, struct arena *mem, struct account *a)
{
    enum err rc;
    sqlite_bind_sv(d, SQL_NUMBERS, 1, a->user);
    sqlite_bind_sv(d, SQL_NUMBERS, 2, a->domain);
    while ((rc = sqlite_row(d, SQL_NUMBERS)) == ERR_OK) {
        if (a->numbers_n == STORE_NUMBERS_MAX) {
            rc = ERR_CORRUPT;
            break;
        }
        rc = sv_dup(mem, sqlite_column(d, SQL_NUMBERS, 0), &a->numbers[a->numbers_n++]);
        if (rc)
            break;
    }
    sqlite_reset(d, SQL_NUMBERS);
    return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

static enum err load_row(struct sqlite *d, struct arena *mem)
{
    struct account a = {
        .user = sqlite_column(d, SQL_ACCOUNTS, 0),
        .domain = sqlite_column(d, SQL_ACCOUNTS, 1),
        .realm = sqlite_column(d, SQL_ACCOUNTS, 2),
        .name = sqlite_column(d, SQL_ACCOUNTS, 5),
        .from_file = sqlite_column_int(d, SQL_ACCOUNTS, 6) != 0,
        .changed = sqlite_column_int(d, SQL_ACCOUNTS, 7),
    };
    TRY(load_hash(sqlite_column(d, SQL_ACCOUNTS, 3), a.md5, sizeof a.md5, &a.has_md5));
    TRY(load_hash(sqlite_column(d, SQL_ACCOUNTS, 4), a.sha256, sizeof a.sha256, &a.has_sha256));
    if (a.user.n > SQLITE_TEXT_MAX || a.domain.n > SQLITE_TEXT_MAX)
        return ERR_CORRUPT;
    TRY(load_numbers(d, mem, &a));
    return tables_put(d, &a);
}

enum err sqlite_accounts_load(struct sqlite *d)
{
    struct arena mem;
    enum err rc;
    arena_init(&mem, NULL, 0, MEMORY_MAX);
    while ((rc = sqlite_row(d, SQL_ACCOUNTS)) == ERR_OK) {
        arena_reset(&mem);
        rc = load_row(d, &mem);
        if (rc)
            break;
    }
    sqlite_reset(d, SQL_ACCOUNTS);
    arena_done(&mem);
    return rc == ERR_NOTFOUND ? ERR_OK : rc;
}

/* ---- operations ---- */

static enum err find(struct sqlite *d, struct store_find *f)
{
    char key_mem[SQLITE_KEY_MAX];
    uint64_t version;
    sv key;
    if (f->user.n) {
        key = key_of(key_mem, f->user, f->domain);
        if (!sv_present(key))
            return ERR_NOTFOUND;
        TRY(sv_dup(f->arena, key, &key)); /* the account has views into it */
        return get(d, key, f->arena, &f->account, &version);
    }
    TRY(table_get(d->numbers, f->number, f->arena, &key, &version));
    if (!version)
        return ERR_NOTFOUND;
    TRY(get(d, key, f->arena, &f->account, &version));
    return has_number(&f->account, f->number) ? ERR_OK : ERR_NOTFOUND;
}

void sqlite_find(struct store_directory *dir, struct loop *l, struct store_find *f)
{
    struct sqlite *d = sqlite_of(dir);
    sqlite_seen(d, l);
    store_op_complete(l, &f->op, find(d, f));
}

static void change_work(struct job *j)
{
    struct change *c = CONTAINER(j, struct change, job);
    pthread_mutex_lock(&c->d->db_lock);
    c->rc = change_now(c->d, c->what, &c->account);
    pthread_mutex_unlock(&c->d->db_lock);
}

static void change_free(struct change *c)
{
    list_pop(&c->caller);
    arena_done(&c->arena);
    crypto_wipe(&c->account, sizeof c->account);
    mem_free(c);
}

static void change_done(struct loop *at, struct job *j)
{
    struct change *c = CONTAINER(j, struct change, job);
    struct link *caller = list_pop(&c->caller);
    if (caller)
        store_op_complete(at, CONTAINER(caller, struct store_op, by_batch), c->rc);
    change_free(c);
}

static enum err copy_text(struct arena *a, sv *text)
{
    return text->n > SQLITE_TEXT_MAX ? ERR_TOOBIG : sv_dup(a, *text, text);
}

static enum err copy_account(struct change *c, const struct account *a)
{
    c->account = *a;
    TRY(copy_text(&c->arena, &c->account.user));
    TRY(copy_text(&c->arena, &c->account.domain));
    TRY(copy_text(&c->arena, &c->account.realm));
    TRY(copy_text(&c->arena, &c->account.name));
    if (a->user.n == 0 || a->domain.n == 0 || a->numbers_n > STORE_NUMBERS_MAX)
        return ERR_RANGE;
    for (unsigned i = 0; i < a->numbers_n; i++) {
        if (a->numbers[i].n == 0)
            return ERR_RANGE;
        TRY(copy_text(&c->arena, &c->account.numbers[i]));
    }
    return ERR_OK;
}

void sqlite_change(struct store_directory *dir, struct loop *l, struct store_change *change)
{
    struct sqlite *d = sqlite_of(dir);
    struct change *c = MEM_NEW(struct change);
    sqlite_seen(d, l);
    if (!c) {
        store_op_complete(l, &change->op, ERR_NOMEM);
        return;
    }
    c->d = d;
    c->what = change->what;
    c->job.work = change_work;
    c->job.done = change_done;
    list_init(&c->caller);
    arena_init(&c->arena, NULL, 0, MEMORY_MAX);
    enum err rc = copy_account(c, &change->account);
    if (!rc)
        rc = loop_offload(l, &c->job);
    if (rc) {
        change_free(c);
        store_op_complete(l, &change->op, rc);
        return;
    }
    list_push(&c->caller, &change->op.by_batch);
}

struct walk {
    store_account_fn *fn;
    void *arg;
    enum err rc;
};

static bool walk_one(sv key, sv value, uint64_t version, void *arg)
{
    struct walk *w = arg;
    struct account a;
    (void)version;
    w->rc = account_unpack(key, value, &a);
    return !w->rc && w->fn(&a, w->arg);
}

enum err sqlite_each(struct store_directory *dir, store_account_fn *fn, void *arg)
{
    struct walk w = {fn, arg, ERR_OK};
    TRY(table_each(sqlite_of(dir)->accounts, walk_one, &w));
    return w.rc;
}
