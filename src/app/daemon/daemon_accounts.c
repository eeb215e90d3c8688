/* SPDX-License-Identifier: MIT */
/* The accounts that the file names, brought into the directory one after the other.
 *
 *   1. leave   an account that an earlier file named and this one does not is removed; one whose
 *              numbers change first gives up those that it loses
 *   2. take    each account of the file is written as the file says, if it differs
 *
 * In two passes, since a number belongs to one account: it may move from one to another in the same
 * file, or two may swap theirs. */
#include <stdlib.h>

#include "daemon/daemon_priv.h"

enum { ARENA_MAX = 256 * 1024, GONE_ARENA_MAX = 256 * 1024 * 1024 };

struct gone {
    struct gone *next;
    sv user, domain;
};

struct accounts {
    struct daemon *d;
    struct settings *set;
    bool taking; /* the second pass */
    size_t at;
    const struct settings_account **by_name; /* those of set, in that order */
    struct gone *gone;
    struct store_find find;
    struct store_change change;
    struct arena arena, gone_arena;
    unsigned written, removed, refused;
    void (*done)(struct daemon *d);
};

static void accounts_free(struct accounts *f)
{
    store_op_cancel(&f->find.op);
    store_op_cancel(&f->change.op);
    crypto_wipe(&f->find.account, sizeof(f->find.account));
    crypto_wipe(&f->change.account, sizeof(f->change.account));
    settings_unref(f->set);
    arena_done(&f->arena);
    arena_done(&f->gone_arena);
    mem_free(f);
}

static void next(struct accounts *f);

static void on_written(struct store_op *op, enum err rc)
{
    struct accounts *f = op->arg;
    if (rc) {
        const struct settings_account *a = &f->set->accounts[f->at];
        f->refused++;
        LOG_ERROR("daemon", "account.refused", F_SV("user", a->user), F_SV("domain", a->domain),
                  F_SV("place", a->origin), F_ERR(rc));
    } else if (f->taking) {
        f->written++;
    }
    f->at++;
    next(f);
}

static void on_removed(struct store_op *op, enum err rc)
{
    struct accounts *f = op->arg;
    const struct gone *g = f->gone;
    if (rc && rc != ERR_NOTFOUND)
        LOG_ERROR("daemon", "account.kept", F_SV("user", g->user), F_SV("domain", g->domain),
                  F_ERR(rc));
    else
        LOG_INFO("daemon", "account.removed", F_SV("user", g->user), F_SV("domain", g->domain),
                 F_STR("why", "the configuration names it no more"));
    f->removed += !rc;
    f->gone = g->next;
    next(f);
}

static void change(struct accounts *f, int what, void (*done)(struct store_op *, enum err))
{
    f->change.what = what;
    f->change.account.changed = loop_wall(f->d->group->loop[0]);
    store_op_init(&f->change.op, done, f);
    store_change(f->d->store, f->d->group->loop[0], &f->change);
}

static bool has_number(const sv *numbers, unsigned n, sv number)
{
    for (unsigned i = 0; i < n; i++) {
        if (sv_eq(numbers[i], number))
            return true;
    }
    return false;
}

/* The first pass: false when it loses none. */
static bool give_up_numbers(struct accounts *f, const struct settings_account *a)
{
    struct account *to = &f->change.account;
    *to = f->find.account;
    to->numbers_n = 0;
    for (unsigned i = 0; i < f->find.account.numbers_n; i++) {
        sv number = f->find.account.numbers[i];
        if (has_number(a->numbers, a->numbers_n, number))
            to->numbers[to->numbers_n++] = number;
    }
    return to->numbers_n < f->find.account.numbers_n;
}

static bool same(const struct account *a, const struct account *b)
{
    bool same = a->from_file == b->from_file && sv_eq(a->name, b->name) &&
                sv_eq(a->realm, b->realm) && a->has_md5 == b->has_md5 &&
                a->has_sha256 == b->has_sha256 && a->numbers_n == b->numbers_n &&
                memcmp(a->md5, b->md5, sizeof(a->md5)) == 0 &&
                memcmp(a->sha256, b->sha256, sizeof(a->sha256)) == 0;
    for (unsigned i = 0; i < a->numbers_n && same; i++)
        same = sv_eq(a->numbers[i], b->numbers[i]);
    return same;
}

/* What the file says, over what the directory knows: a password set by `tandem user passwd` stays
 * unless the file has one. */
static void compose(struct accounts *f, const struct settings_account *a, bool known)
{
    struct account *to = &f->change.account;
    *to = known ? f->find.account : (struct account){.user = a->user, .domain = a->domain};
    to->name = a->name.p ? a->name : SV("");
    to->from_file = true;
    to->numbers_n = a->numbers_n;
    memcpy(to->numbers, a->numbers, sizeof(to->numbers));
    for (unsigned i = 0; i < f->set->domains_n; i++) {
        if (sv_eq(f->set->domains[i].name, a->domain) && (a->password.p || !to->realm.n))
            to->realm = f->set->domains[i].realm;
    }
    if (a->password.p) {
        struct auth_ha1 ha1;
        auth_ha1(a->user, to->realm, a->password, &ha1);
        memcpy(to->md5, ha1.md5, sizeof(to->md5));
        memcpy(to->sha256, ha1.sha256, sizeof(to->sha256));
        to->has_md5 = to->has_sha256 = true;
        crypto_wipe(&ha1, sizeof(ha1));
    }
}

static void on_found(struct store_op *op, enum err rc)
{
    struct accounts *f = op->arg;
    const struct settings_account *a = &f->set->accounts[f->at];
    bool known = rc == ERR_OK;
    if (rc && rc != ERR_NOTFOUND) {
        on_written(op, rc);
        return;
    }
    bool write = !f->taking && known && give_up_numbers(f, a);
    if (f->taking) {
        compose(f, a, known);
        write = !known || !same(&f->change.account, &f->find.account);
    }
    if (write) {
        change(f, STORE_SET, on_written);
        return;
    }
    f->at++;
    next(f);
}

/* Accounts of domains that the configuration does not name (any more). */
struct stranded {
    const struct settings *set;
    size_t n;
    struct buf domains; /* each once, while there is room */
    char mem[512];
};

static bool count_stranded(const struct account *a, void *arg)
{
    struct stranded *s = arg;
    for (unsigned i = 0; i < s->set->domains_n; i++) {
        if (sv_ieq(s->set->domains[i].name, a->domain))
            return true;
    }
    s->n++;
    for (sv rest = buf_sv(&s->domains); rest.n;) {
        size_t n = sv_chr(rest, ' ');
        if (sv_eq(sv_sub(rest, 0, n), a->domain))
            return true;
        rest = sv_sub(rest, n + 1, rest.n);
    }
    if (s->domains.n + a->domain.n + 1 < sizeof(s->mem)) {
        buf_str(&s->domains, s->domains.n ? " " : "");
        buf_put(&s->domains, a->domain);
    }
    return true;
}

static void report_stranded(struct daemon *d, const struct settings *set)
{
    struct stranded s = {.set = set};
    buf_init(&s.domains, s.mem, sizeof(s.mem));
    buf_reset(&d->stranded);
    if (d->mode == DAEMON_OFFLINE || store_each_account(d->store, count_stranded, &s) || s.n == 0)
        return;
    buf_printf(&d->stranded,
               "%zu account%s cannot register: the configuration does not have the domain " SV_FMT
               "\n",
               s.n, s.n == 1 ? "" : "s", SV_ARG(buf_sv(&s.domains)));
    LOG_WARN("daemon", "accounts.stranded", F_INT("accounts", s.n),
             F_SV("domain", buf_sv(&s.domains)),
             F_STR("why", "the configuration does not have the domain (any more)"));
}

static void next(struct accounts *f)
{
    struct daemon *d = f->d;
    if (f->gone) {
        f->change.account = (struct account){.user = f->gone->user, .domain = f->gone->domain};
        change(f, STORE_REMOVE, on_removed);
        return;
    }
    if (f->at == f->set->accounts_n && !f->taking) {
        f->taking = true;
        f->at = 0;
    }
    if (f->at == f->set->accounts_n) {
        void (*done)(struct daemon *) = f->done;
        if (f->written + f->removed + f->refused)
            LOG_INFO("daemon", "accounts", F_INT("written", f->written),
                     F_INT("removed", f->removed), F_INT("refused", f->refused));
        report_stranded(d, f->set);
        d->accounts = NULL;
        accounts_free(f);
        done(d);
        return;
    }
    const struct settings_account *a = &f->set->accounts[f->at];
    arena_reset(&f->arena);
    f->find = (struct store_find){.arena = &f->arena, .user = a->user, .domain = a->domain};
    store_op_init(&f->find.op, on_found, f);
    store_find(d->store, d->group->loop[0], &f->find);
}

static int by_name(const void *a, const void *b)
{
    const struct settings_account *x = *(const struct settings_account *const *)a;
    const struct settings_account *y = *(const struct settings_account *const *)b;
    int order = sv_cmp(x->domain, y->domain);
    return order ? order : sv_cmp(x->user, y->user);
}

static bool in_file(const struct accounts *f, const struct account *a)
{
    const struct settings_account key = {.user = a->user, .domain = a->domain}, *at = &key;
    return f->set->accounts_n > 0 &&
           bsearch(&at, f->by_name, f->set->accounts_n, sizeof(at), by_name) != NULL;
}

static bool collect_gone(const struct account *a, void *arg)
{
    struct accounts *f = arg;
    if (!a->from_file || in_file(f, a))
        return true;
    struct gone *g = ARENA_NEW(&f->gone_arena, struct gone);
    if (!g || sv_dup(&f->gone_arena, a->user, &g->user) ||
        sv_dup(&f->gone_arena, a->domain, &g->domain))
        return false; /* the next reload finds the rest */
    g->next = f->gone;
    f->gone = g;
    return true;
}

/* Without a file nothing is removed: that is a start by hand, not a decision on accounts. */
static enum err find_gone(struct accounts *f)
{
    size_t n = f->set->accounts_n;
    if (!f->d->config->file.p || f->d->mode == DAEMON_OFFLINE)
        return ERR_OK;
    f->by_name = arena_calloc(&f->gone_arena, n, sizeof(*f->by_name));
    if (!f->by_name)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        f->by_name[i] = &f->set->accounts[i];
    qsort(f->by_name, n, sizeof(*f->by_name), by_name);
    return store_each_account(f->d->store, collect_gone, f);
}

void accounts_start(struct daemon *d, struct settings *set, void (*fn)(struct daemon *d))
{
    struct accounts *f = MEM_NEW(struct accounts);
    if (!f) {
        LOG_ERROR("daemon", "accounts", F_ERR(ERR_NOMEM));
        fn(d);
        return;
    }
    f->d = d;
    f->set = settings_ref(set);
    f->done = fn;
    arena_init(&f->arena, NULL, 0, ARENA_MAX);
    arena_init(&f->gone_arena, NULL, 0, GONE_ARENA_MAX);
    d->accounts = f;
    enum err rc = find_gone(f);
    if (rc)
        LOG_ERROR("daemon", "accounts", F_ERR(rc));
    next(f);
}

void accounts_free_pending(struct daemon *d)
{
    if (d->accounts)
        accounts_free(d->accounts);
    d->accounts = NULL;
}
