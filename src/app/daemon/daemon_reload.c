/* SPDX-License-Identifier: MIT */
/* A new configuration, all or nothing: read by a helper thread, then taken by every worker, or
 * refused whole. */
#include <stdio.h>

#include "daemon/daemon_priv.h"

enum { REPORT_MAX = 1024 * 1024 };

void reload_print(const struct config_report *r)
{
    struct buf b;
    if (!r->n)
        return;
    buf_init_heap(&b, REPORT_MAX);
    config_report_print(r, &b);
    fwrite(b.p, 1, b.n, stderr);
    buf_done(&b);
}

enum err reload_complete(struct daemon *d, struct config *c)
{
    struct settings *s = c->settings;
    if (c->domains_given)
        return ERR_OK;
    TRY(sv_dup(&s->arena, sv_of(d->domain), &s->domains[0].name));
    s->domains[0].realm = s->domains[0].name;
    s->domains_n = 1;
    /* Accounts of the file without a domain belong to the first. */
    struct settings_account *accounts = (struct settings_account *)s->accounts;
    for (size_t i = 0; i < s->accounts_n; i++) {
        if (!accounts[i].domain.n)
            accounts[i].domain = s->domains[0].name;
    }
    return ERR_OK;
}

/* ---- the file's accounts, one after the other ---- */

struct file_accounts {
    struct daemon *d;
    struct settings *set;
    size_t at;
    struct store_find find;
    struct store_change change;
    struct arena arena;
    void (*done)(struct daemon *d);
};

static void next_account(struct file_accounts *f);

static void on_written(struct store_op *op, enum err rc)
{
    struct file_accounts *f = op->arg;
    const struct settings_account *a = &f->set->accounts[f->at];
    if (rc)
        LOG_ERROR("daemon", "account.refused", F_SV("user", a->user), F_SV("domain", a->domain),
                  F_SV("place", a->origin), F_ERR(rc));
    f->at++;
    next_account(f);
}

/* What the file says of it, over what the directory knows (a password set by `tandem user passwd`
 * stays). */
static void on_found(struct store_op *op, enum err rc)
{
    struct file_accounts *f = op->arg;
    const struct settings_account *a = &f->set->accounts[f->at];
    struct account *to = &f->change.account;
    *to = rc == ERR_OK ? f->find.account : (struct account){.user = a->user, .domain = a->domain};
    to->name = a->name.p ? a->name : SV("");
    to->from_file = true;
    to->changed = loop_wall(f->d->group->loop[0]);
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
    f->change.what = STORE_SET;
    store_op_init(&f->change.op, on_written, f);
    store_change(f->d->store, f->d->group->loop[0], &f->change);
}

static void next_account(struct file_accounts *f)
{
    struct daemon *d = f->d;
    if (f->at >= f->set->accounts_n || loop_stopping(d->group->loop[0])) {
        void (*done)(struct daemon *) = f->done;
        bool stopping = loop_stopping(d->group->loop[0]);
        settings_unref(f->set);
        arena_done(&f->arena);
        mem_free(f);
        if (!stopping)
            done(d);
        return;
    }
    const struct settings_account *a = &f->set->accounts[f->at];
    arena_reset(&f->arena);
    f->find = (struct store_find){.arena = &f->arena, .user = a->user, .domain = a->domain};
    store_op_init(&f->find.op, on_found, f);
    store_find(d->store, d->group->loop[0], &f->find);
}

void reload_accounts(struct daemon *d, struct settings *set, void (*fn)(struct daemon *d))
{
    struct file_accounts *f = MEM_NEW(struct file_accounts);
    if (!f) {
        LOG_ERROR("daemon", "accounts", F_ERR(ERR_NOMEM));
        fn(d);
        return;
    }
    f->d = d;
    f->set = settings_ref(set);
    f->done = fn;
    arena_init(&f->arena, NULL, 0, 64 * 1024);
    next_account(f);
}

/* ---- reload ---- */

struct reload {
    struct job job;
    struct daemon *d;
    struct control_request *rq;
    struct config_source source;
    struct config_report report;
    struct config *config;
    enum err rc;
};

struct settings_mail {
    struct mail mail;
    struct routing *routing;
    struct settings *set;
};

static void take_settings(struct loop *at, struct mail *m)
{
    struct settings_mail *sm = CONTAINER(m, struct settings_mail, mail);
    if (!loop_stopping(at))
        routing_settings(sm->routing, sm->set);
    settings_unref(sm->set);
    mem_free(sm);
}

static void work(struct job *j)
{
    struct reload *r = CONTAINER(j, struct reload, job);
    r->rc = config_load(&r->source, &r->report, &r->config);
}

static void put_lines(struct buf *b, const char *name, sv lines)
{
    buf_printf(b, ", \"%s\": [", name);
    for (bool first = true; lines.n; first = false) {
        size_t n = sv_chr(lines, '\n');
        buf_str(b, first ? "\"" : ", \"");
        buf_json(b, sv_sub(lines, 0, n));
        buf_char(b, '"');
        lines = sv_sub(lines, n + 1, lines.n);
    }
    buf_char(b, ']');
}

static void put_problems(struct buf *b, const struct config_report *r)
{
    buf_str(b, ", \"problems\": [");
    for (size_t i = 0; i < r->n; i++) {
        const struct config_problem *p = &r->problems[i];
        buf_str(b, i ? ", {\"file\": \"" : "{\"file\": \"");
        buf_json(b, p->file);
        buf_printf(b, "\", \"line\": %u, \"column\": %u, \"severity\": \"%s\", \"text\": \"",
                   p->line, p->column, p->severity == CONFIG_ERROR ? "error" : "finding");
        buf_json(b, p->text);
        buf_str(b, "\", \"hint\": \"");
        buf_json(b, p->hint);
        buf_str(b, "\"}");
    }
    buf_char(b, ']');
}

static void reload_end(struct reload *r, sv changed, sv restart)
{
    struct daemon *d = r->d;
    bool ok = r->rc == ERR_OK;
    d->env.reload_ok = ok;
    d->reloading = false;
    if (ok)
        LOG_INFO("daemon", "reload",
                 F_SV("config", d->config->file.p ? d->config->file : SV("embedded defaults")));
    else
        LOG_ERROR("daemon", "reload.refused", F_INT("errors", r->report.errors),
                  F_SV("first", r->report.n ? r->report.problems[0].text : SV("")),
                  F_INT("line", r->report.n ? r->report.problems[0].line : 0));
    if (r->rq) {
        struct buf b;
        buf_init_heap(&b, REPORT_MAX);
        buf_printf(&b, "{\"ok\": %s", ok ? "true" : "false");
        put_lines(&b, "changed", changed);
        put_lines(&b, "restart", restart);
        put_problems(&b, &r->report);
        buf_str(&b, "}\n");
        if (b.rc)
            control_error(r->rq, 500, "the report does not fit");
        else
            control_reply(r->rq, ok ? 200 : 422, SV("application/json"), buf_sv(&b));
        buf_done(&b);
    }
    config_report_done(&r->report);
    mem_free(r);
}

static void accounts_taken(struct daemon *d)
{
    LOG_DEBUG("daemon", "accounts", F_INT("accounts", store_accounts(d->store)));
}

/* Every worker gets the snapshot by mail; each is prepared before any is sent, so that it is all of
 * them or none. */
static enum err publish(struct daemon *d, struct settings *set)
{
    struct settings_mail *mails[LOOP_WORKERS_MAX] = {0};
    enum err rc = ERR_OK;
    for (unsigned i = 0; i < d->group->n && !rc; i++) {
        mails[i] = MEM_NEW(struct settings_mail);
        rc = mails[i] ? ERR_OK : ERR_NOMEM;
    }
    for (unsigned i = 0; i < d->group->n; i++) {
        if (rc) {
            mem_free(mails[i]);
            continue;
        }
        mails[i]->mail.fn = take_settings;
        mails[i]->routing = d->routing[i];
        mails[i]->set = settings_ref(set);
        if (loop_mail(d->group->loop[i], &mails[i]->mail)) {
            settings_unref(set);
            mem_free(mails[i]);
            LOG_ERROR("daemon", "reload.worker", F_INT("worker", i), F_ERR(ERR_BUSY));
        }
    }
    return rc;
}

static void done(struct loop *at, struct job *j)
{
    struct reload *r = CONTAINER(j, struct reload, job);
    struct daemon *d = r->d;
    struct buf changed, restart;
    buf_init_heap(&changed, REPORT_MAX);
    buf_init_heap(&restart, REPORT_MAX);
    if (!r->rc && !loop_stopping(at)) {
        struct config *old = d->config;
        r->rc = reload_complete(d, r->config);
        if (!r->rc) {
            config_diff(old, r->config, &changed, &restart);
            /* What is open stays open under its number: listeners change with a restart. */
            r->config->settings->sip = d->boot->sip;
            r->rc = publish(d, r->config->settings);
        }
        if (!r->rc) {
            d->config = r->config;
            r->config = NULL;
            d->env.settings = d->config->settings;
            d->env.config_file = d->config->file;
            config_free(old);
            reload_accounts(d, d->config->settings, accounts_taken);
        }
    }
    if (r->config)
        config_free(r->config);
    reload_end(r, buf_sv(&changed), buf_sv(&restart));
    buf_done(&changed);
    buf_done(&restart);
}

void reload_start(struct daemon *d, struct control_request *rq, bool rollback)
{
    if (rollback) {
        control_error(rq, 404, "there is no earlier configuration");
        return;
    }
    struct reload *r = d->reloading ? NULL : MEM_NEW(struct reload);
    if (!r) {
        if (rq)
            control_error(rq, 503, "another reload is under way");
        return;
    }
    r->d = d;
    r->rq = rq;
    r->source = *d->source;
    r->job.work = work;
    r->job.done = done;
    config_report_init(&r->report);
    d->reloading = true;
    if (loop_offload(d->group->loop[0], &r->job) == ERR_OK)
        return;
    d->reloading = false;
    if (rq)
        control_error(rq, 503, "no helper thread is free");
    config_report_done(&r->report);
    mem_free(r);
}
